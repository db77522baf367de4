// identity: ids and tie keys, see core/identity.hpp.

#include "pg/boundary.hpp"
#include "pg/call.hpp"

namespace {

using namespace attribution;

/// The key in the first four arguments.
core::AllocationKey allocation_key(FunctionCallInfo fcinfo) {
    return {.tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
            .event_id = pg::argument<core::Uuid>(fcinfo, 1, "event_id"),
            .model_version = pg::argument<std::string_view>(fcinfo, 2, "model_version"),
            .channel = pg::argument<std::string_view>(fcinfo, 3, "channel")};
}

} // namespace

ATTRIBUTION_FUNCTION(attribution_uuid_v7) {
    std::uint64_t random_bits;
    if (!pg_strong_random(&random_bits, sizeof random_bits))
        ereport(ERROR,
                (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
    constexpr std::int64_t epoch_us =
        std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;
    PG_RETURN_DATUM(pg::uuid_datum(core::uuid_v7(GetCurrentTimestamp() + epoch_us, random_bits)));
}

ATTRIBUTION_FUNCTION(attribution_allocation_id) {
    const core::AllocationKey key = allocation_key(fcinfo);
    const std::int64_t occurred_at_ms =
        pg::unix_milliseconds(pg::argument<pg::Timestamptz>(fcinfo, 4, "occurred_at").value);
    core::AllocationIdentity identity;
    pg::guarded([&] { identity = core::identify_allocation(key, occurred_at_ms); });
    PG_RETURN_DATUM(pg::uuid_datum(identity.id));
}

ATTRIBUTION_FUNCTION(attribution_allocation_tie_key) {
    const core::AllocationKey key = allocation_key(fcinfo);
    core::AllocationIdentity identity;
    pg::guarded([&] { identity = core::identify_allocation(key, 0); });
    PG_RETURN_DATUM(pg::tie_key_datum(identity.tie_key));
}

ATTRIBUTION_FUNCTION(attribution_keyed_event_id) {
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto external_event_id =
        pg::argument<std::optional<std::string_view>>(fcinfo, 1, "external_event_id");
    const auto correlation_id =
        pg::argument<std::optional<std::string_view>>(fcinfo, 2, "correlation_id");
    if (!tenant_id || (!external_event_id && !correlation_id))
        PG_RETURN_NULL();
    core::Uuid id;
    pg::guarded([&] {
        id = external_event_id
                 ? core::keyed_event_id(*tenant_id, core::BusinessKeyKind::external_event_id,
                                        *external_event_id)
                 : core::keyed_event_id(*tenant_id, core::BusinessKeyKind::correlation_id,
                                        *correlation_id);
    });
    PG_RETURN_DATUM(pg::uuid_datum(id));
}
