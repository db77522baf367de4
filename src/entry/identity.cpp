// identity: ids and tie keys, see core/identity.hpp.

#include "pg/boundary.hpp"
#include "pg/convert.hpp"

namespace {

using namespace attribution;

core::AllocationKey allocation_key(FunctionCallInfo fcinfo) {
    return {.tenant_id = pg::uuid_of(PG_GETARG_DATUM(0)),
            .event_id = pg::uuid_of(PG_GETARG_DATUM(1)),
            .model_version = pg::text_of(PG_GETARG_DATUM(2)),
            .channel = pg::text_of(PG_GETARG_DATUM(3))};
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
    const std::int64_t occurred_at_ms = pg::unix_milliseconds(PG_GETARG_TIMESTAMPTZ(4));
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
    if (PG_ARGISNULL(0) || (PG_ARGISNULL(1) && PG_ARGISNULL(2)))
        PG_RETURN_NULL();
    const bool external = !PG_ARGISNULL(1);
    const core::Uuid tenant_id = pg::uuid_of(PG_GETARG_DATUM(0));
    const std::string_view business_key = pg::text_of(PG_GETARG_DATUM(external ? 1 : 2));
    core::Uuid id;
    pg::guarded([&] {
        id = core::keyed_event_id(tenant_id,
                                  external ? core::BusinessKeyKind::external_event_id
                                           : core::BusinessKeyKind::correlation_id,
                                  business_key);
    });
    PG_RETURN_DATUM(pg::uuid_datum(id));
}
