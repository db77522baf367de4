// allocate: cents to shares, and an event's revenue to channels.

#include <algorithm>
#include <array>

#include "entry/allocation/allocation.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

Datum bigint_array(std::span<const core::Cents> values) {
    const auto elements = pg::make_span<Datum>(values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        elements[i] = Int64GetDatum(values[i]);
    return PointerGetDatum(construct_array(elements.data(), static_cast<int>(elements.size()),
                                           INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

std::span<core::Decimal> decimals_of(std::span<const Datum> numerics) {
    const auto decimals = pg::make_span<core::Decimal>(numerics.size());
    for (std::size_t i = 0; i < numerics.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        decimals[i] = pg::decimal_of(numerics[i]);
    }
    return decimals;
}

// ---------------------------------------------------------------------------------------------
// allocate_event

/// What a call is about.
struct Target {
    Event event;
    bool is_refund;
    Datum conversion_id; // the event itself unless it is a refund
    bool has_refunds;    // a conversion that was refunded
};

Target find_target(Datum tenant_id, Datum event_id) {
    static constinit pg::Query find = {
        .sql = "SELECT e.event_type, e.revenue_cents, e.occurred_at, e.correlation_id, "
               "e.session_id, e.refund_of, EXISTS (SELECT 1 FROM attribution.attribution_events r "
               "WHERE r.tenant_id = $1 AND r.refund_of = $2 OFFSET 0) "
               "FROM attribution.attribution_events e WHERE e.tenant_id = $1 "
               "AND e.id >= $2 AND e.id <= $2 ORDER BY e.id LIMIT 1",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, event_id};
    pg::run(find, values);
    if (SPI_processed == 0)
        raise_unknown_event(tenant_id, event_id);
    bool isnull;
    const std::string_view type = pg::text_of(pg::result_value(0, 1, &isnull));
    if (type == "touch")
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a touch has no revenue to allocate"),
                        errdetail("Event %s is a touch.", pg::uuid_text(event_id)),
                        errhint("Allocate the conversion of its journey.")));
    Target target{};
    target.event.id = event_id;
    target.event.revenue_cents = DatumGetInt64(pg::result_value(0, 2, &isnull));
    target.event.occurred_at = DatumGetTimestampTz(pg::result_value(0, 3, &isnull));
    const Datum correlation_id = pg::result_value(0, 4, &isnull);
    target.event.has_correlation_id = !isnull;
    if (!isnull)
        target.event.correlation_id = datumCopy(correlation_id, false, -1);
    const Datum session_id = pg::result_value(0, 5, &isnull);
    target.event.has_session_id = !isnull;
    if (!isnull)
        target.event.session_id = datumCopy(session_id, false, UUID_LEN);
    target.is_refund = type == "refund";
    const Datum refund_of = pg::result_value(0, 6, &isnull);
    target.conversion_id = target.is_refund ? datumCopy(refund_of, false, UUID_LEN) : event_id;
    target.has_refunds = DatumGetBool(pg::result_value(0, 7, &isnull));
    return target;
}

/// Channels and weights as given, in the order of the channels' bytes.
std::span<GivenWeight> read_weights(ArrayType* channels, ArrayType* weights) {
    const std::span<Datum> channel_datums = pg::array_elements(channels, "channels", max_channels);
    const std::span<Datum> weight_datums = pg::array_elements(weights, "weights", max_channels);
    if (channel_datums.size() != weight_datums.size())
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("channels and weights differ in length"),
                        errdetail("There are %zu channels and %zu weights.", channel_datums.size(),
                                  weight_datums.size()),
                        errhint("Pass one weight per channel.")));

    const auto given = pg::make_span<GivenWeight>(channel_datums.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
        pg::check_text(channel_datums[i], "channel");
        given[i] = {.channel = pg::text_of(channel_datums[i]),
                    .datum = weight_datums[i],
                    .weight = pg::decimal_of(weight_datums[i])};
    }
    const GivenWeight* duplicate = nullptr;
    pg::guarded([&] {
        std::sort(given.begin(), given.end(),
                  [](const GivenWeight& a, const GivenWeight& b) { return a.channel < b.channel; });
        const auto twice = std::adjacent_find(
            given.begin(), given.end(),
            [](const GivenWeight& a, const GivenWeight& b) { return a.channel == b.channel; });
        duplicate = twice == given.end() ? nullptr : &*twice;
    });
    if (duplicate != nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("channel is given twice"),
                 errdetail("Channel \"%.*s\" appears more than once.",
                           static_cast<int>(duplicate->channel.size()), duplicate->channel.data()),
                 errhint("Add its weights up and pass them once.")));
    return given;
}

/// Records the model version as custom when it is new; refuses one that makes its own weights.
void use_custom_model(Datum tenant_id, Datum model_version) {
    static constinit pg::Query find_model = {
        .sql = "SELECT method, parameters::text FROM attribution.attribution_models "
               "WHERE tenant_id = $1 AND model_version = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = 0,
        .plan = nullptr};
    static constinit pg::Query insert_model = {
        .sql = "INSERT INTO attribution.attribution_models (tenant_id, model_version, method) "
               "VALUES ($1, $2, 'custom') ON CONFLICT (tenant_id, model_version) DO NOTHING",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum values[] = {tenant_id, model_version};
    pg::run(find_model, values);
    if (SPI_processed == 0) {
        pg::run(insert_model, values);
        pg::run(find_model, values);
    }
    if (SPI_processed == 0)
        return; // inserted by a transaction this one cannot see; then it was custom or fails later
    bool isnull;
    const std::string_view method = pg::text_of(pg::result_value(0, 1, &isnull));
    const std::string_view parameters = pg::text_of(pg::result_value(0, 2, &isnull));
    if (method != "custom" || parameters != "{}") {
        const std::string_view name = pg::text_of(model_version);
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("model version \"%.*s\" makes its own weights",
                        static_cast<int>(name.size()), name.data()),
                 errdetail("Its method is %.*s.", static_cast<int>(method.size()), method.data()),
                 errhint("Use another model version for the caller's weights.")));
    }
}

/// The stored rows in the last result refuse or confirm what was asked for.
void compare_with_stored(std::span<const GivenWeight> weights_given, Datum event_id,
                         Datum model_version) {
    const std::size_t count = SPI_processed;
    const auto channels = pg::make_span<std::string_view>(count);
    const auto weights = pg::make_span<core::Decimal>(count);
    const auto weight_texts = pg::make_span<const char*>(count);
    bool complete = true;
    for (std::size_t i = 0; i < count; ++i) {
        bool isnull;
        channels[i] = pg::text_of(pg::result_value(i, 1, &isnull));
        const Datum weight = pg::result_value(i, 2, &isnull);
        complete = complete && !isnull;
        weight_texts[i] =
            isnull ? "none" : DatumGetCString(DirectFunctionCall1(numeric_out, weight));
        if (!isnull)
            weights[i] = pg::decimal_of(weight);
    }

    // The first position at which stored and given rows differ, count if there is none.
    const auto given = pg::make_span<core::Decimal>(weights_given.size());
    bool same_channels = false;
    bool same = false;
    pg::guarded([&] {
        for (std::size_t i = 0; i < given.size(); ++i)
            given[i] = weights_given[i].weight;
        same_channels =
            std::equal(weights_given.begin(), weights_given.end(), channels.begin(), channels.end(),
                       [](const GivenWeight& entry, std::string_view channel) {
                           return entry.channel == channel;
                       });
        same = same_channels && complete && core::same_ratios(weights, given);
    });
    if (same)
        return;

    StringInfoData stored_list, given_list;
    initStringInfo(&stored_list);
    initStringInfo(&given_list);
    constexpr std::size_t shown = 8;
    for (std::size_t i = 0; i < std::min(count, shown); ++i)
        appendStringInfo(&stored_list, "%s\"%.*s\" %s", i == 0 ? "" : ", ",
                         static_cast<int>(channels[i].size()), channels[i].data(), weight_texts[i]);
    for (std::size_t i = 0; i < std::min(given.size(), shown); ++i)
        appendStringInfo(&given_list, "%s\"%.*s\" %s", i == 0 ? "" : ", ",
                         static_cast<int>(weights_given[i].channel.size()),
                         weights_given[i].channel.data(),
                         DatumGetCString(DirectFunctionCall1(numeric_out, weights_given[i].datum)));
    const std::string_view name = pg::text_of(model_version);
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("event is already allocated under model version \"%.*s\" with other weights",
                    static_cast<int>(name.size()), name.data()),
             errdetail("Event %s: stored are %s%s; given are %s%s.", pg::uuid_text(event_id),
                       stored_list.data, count > shown ? ", ..." : "", given_list.data,
                       given.size() > shown ? ", ..." : ""),
             errhint("Changing your mind is a new model version."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_allocations"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "allocation_is_unchanged")));
}

/// The stored rows of the event, in the order of the channels' bytes: channel, weight, whole row.
/// COLLATE keeps a planner without statistics from the index on (tenant_id, model_version).
void select_stored(Datum tenant_id, Datum event_id, Datum model_version) {
    static constinit pg::Query select = {
        .sql = "SELECT a.channel, a.weight, a FROM attribution.attribution_allocations a "
               "WHERE a.tenant_id = $1 AND a.event_id = $2 AND a.model_version IS NOT NULL "
               "AND a.model_version COLLATE \"C\" = $3 "
               "ORDER BY a.channel COLLATE \"C\"",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, event_id, model_version};
    pg::run_latest(select, values);
}

/// Puts the whole rows of the last result into the function's result set.
void return_stored(ReturnSetInfo* result) {
    for (uint64 row = 0; row < SPI_processed; ++row) {
        bool isnull;
        const Datum whole = pg::result_value(row, 3, &isnull);
        HeapTupleHeader header = pg::row_of(whole);
        HeapTupleData tuple{};
        tuple.t_len = HeapTupleHeaderGetDatumLength(header);
        tuple.t_data = header;
        tuplestore_puttuple(result->setResult, &tuple);
    }
}

/// A model version that makes weights of its own.
const ModelDefinition* find_weighing_model(Datum tenant_id, Datum model_version) {
    const ModelDefinition* definition = find_model(tenant_id, model_version, CurrentMemoryContext);
    if (definition == nullptr)
        raise_unknown_model(tenant_id, model_version);
    if (definition->weights_come_from_caller) {
        const std::string_view name = pg::text_of(model_version);
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("model version \"%.*s\" takes its weights from the caller",
                               static_cast<int>(name.size()), name.data()),
                        errdetail("Its method is custom, without parameters."),
                        errhint("Pass channels and weights to allocate_event().")));
    }
    return definition;
}

/// Takes the refunds that wait, under the lock of their conversion.
void allocate_refunds_of(Rows* rows, const Target& target) {
    if (!target.is_refund && !target.has_refunds)
        return;
    const std::span<const Datum> conversion(&target.conversion_id, 1);
    lock_conversions(rows->tenant_id, conversion, LockAgainst::refunds);
    pg_uuid_t current;
    std::uint64_t row_count = 0;
    allocate_refunds(rows, conversion, false, &current, &row_count);
}

[[noreturn]] void raise_conversion_not_allocated(const Target& target, Datum tenant_id,
                                                 Datum model_version) {
    const std::string_view name = pg::text_of(model_version);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the refunded conversion is not allocated under model version \"%.*s\"",
                           static_cast<int>(name.size()), name.data()),
                    errdetail("Tenant %s, refund %s of conversion %s: a refund takes back what its "
                              "conversion gave to each channel.",
                              pg::uuid_text(tenant_id), pg::uuid_text(target.event.id),
                              pg::uuid_text(target.conversion_id)),
                    errhint("Allocate the conversion: its refunds are allocated with it.")));
    pg_unreachable();
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_allocate_cents) {
    const core::Cents total = PG_GETARG_INT64(0);
    const std::span<core::Decimal> weights = entry::decimals_of(
        pg::array_elements(PG_GETARG_ARRAYTYPE_P(1), "weights", core::max_shares));
    const auto shares = pg::make_span<core::Cents>(weights.size());

    pg::guarded([&] { core::apportion(total, weights, {}, shares); });

    PG_RETURN_DATUM(entry::bigint_array(shares));
}

ATTRIBUTION_FUNCTION(attribution_allocate_cents_equally) {
    const core::Cents total = PG_GETARG_INT64(0);
    const int parts = PG_GETARG_INT32(1);
    if (parts < 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("number of parts must be positive"),
                        errdetail("%d parts were asked for.", parts)));
    if (static_cast<std::size_t>(parts) > core::max_shares)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many shares"),
                        errdetail("%d shares asked for, at most %zu are allowed.", parts,
                                  core::max_shares)));
    const auto shares = pg::make_span<core::Cents>(static_cast<std::size_t>(parts));

    pg::guarded([&] { core::split_equally(total, shares); });

    PG_RETURN_DATUM(entry::bigint_array(shares));
}

ATTRIBUTION_FUNCTION(attribution_allocate_event_by_weights) {
    static constexpr std::array argument_names = {"tenant_id", "event_id", "model_version",
                                                  "channels", "weights"};
    PreventCommandIfReadOnly("allocate_event()");
    pg::check_not_null(fcinfo, argument_names);
    const Datum tenant_id = PG_GETARG_DATUM(0);
    const Datum event_id = PG_GETARG_DATUM(1);
    const Datum model_version = PG_GETARG_DATUM(2);
    pg::check_text(model_version, "model_version");
    const std::span<entry::GivenWeight> given =
        entry::read_weights(PG_GETARG_ARRAYTYPE_P(3), PG_GETARG_ARRAYTYPE_P(4));
    InitMaterializedSRF(fcinfo, 0);
    SPI_connect();
    const int settings = pg::pin_settings();
    const entry::Target target = entry::find_target(tenant_id, event_id);
    if (target.is_refund)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a refund is not allocated by weights"),
                        errdetail("Event %s is a refund: it takes back what its conversion gave to "
                                  "each channel.",
                                  pg::uuid_text(event_id)),
                        errhint("Call allocate_event(tenant_id, event_id, model_version).")));
    entry::Rows* rows = entry::start_rows(tenant_id, model_version);
    entry::add_by_weights(rows, target.event, given);

    entry::use_custom_model(tenant_id, model_version);
    entry::select_stored(tenant_id, event_id, model_version);
    bool found = SPI_processed > 0;
    if (found) {
        entry::discard_rows(rows);
    } else if (!entry::write_rows_unless_stored(rows)) {
        found = true;
        entry::select_stored(tenant_id, event_id, model_version);
        if (SPI_processed == 0)
            entry::raise_turned_away(given.size(), 0);
    }
    if (found)
        entry::compare_with_stored(given, event_id, model_version);
    entry::return_stored(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    entry::allocate_refunds_of(rows, target);
    pg::restore_settings(settings);
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_allocate_event) {
    static constexpr std::array argument_names = {"tenant_id", "event_id", "model_version"};
    PreventCommandIfReadOnly("allocate_event()");
    pg::check_not_null(fcinfo, argument_names);
    const Datum tenant_id = PG_GETARG_DATUM(0);
    const Datum event_id = PG_GETARG_DATUM(1);
    const Datum model_version = PG_GETARG_DATUM(2);
    pg::check_text(model_version, "model_version");
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    InitMaterializedSRF(fcinfo, 0);
    SPI_connect();
    const int settings = pg::pin_settings();
    const entry::Target target = entry::find_target(tenant_id, event_id);
    entry::Rows* rows = entry::start_rows(tenant_id, model_version);
    entry::select_stored(tenant_id, event_id, model_version);
    if (target.is_refund) {
        if (SPI_processed == 0) {
            entry::allocate_refunds_of(rows, target);
            entry::select_stored(tenant_id, event_id, model_version);
        }
        if (SPI_processed == 0)
            entry::raise_conversion_not_allocated(target, tenant_id, model_version);
        entry::return_stored(result);
    } else {
        if (SPI_processed == 0) {
            entry::add_by_model(rows, *entry::find_weighing_model(tenant_id, model_version),
                                {&target.event, 1});
            const auto expected = static_cast<std::uint64_t>(tuplestore_tuple_count(rows->store));
            if (!entry::write_rows_unless_stored(rows))
                entry::select_stored(tenant_id, event_id, model_version);
            if (SPI_processed == 0)
                entry::raise_turned_away(expected, 0);
        }
        entry::return_stored(result);
        entry::allocate_refunds_of(rows, target);
    }
    pg::restore_settings(settings);
    SPI_finish();
    PG_RETURN_NULL();
}
