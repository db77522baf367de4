// allocate: cents to shares, and an event's revenue to channels.

#include <algorithm>
#include <array>

#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

constexpr std::size_t max_channels = 10'000;
constexpr std::size_t max_text_bytes = 255;

template <class Value>
std::span<Value> make_span(std::size_t count) {
    return {static_cast<Value*>(palloc0(sizeof(Value) * std::max<std::size_t>(count, 1))), count};
}

Datum bigint_array(std::span<const core::Cents> values) {
    const auto elements = make_span<Datum>(values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        elements[i] = Int64GetDatum(values[i]);
    return PointerGetDatum(construct_array(elements.data(), static_cast<int>(elements.size()),
                                           INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

std::span<core::Decimal> decimals_of(std::span<const Datum> numerics) {
    const auto decimals = make_span<core::Decimal>(numerics.size());
    for (std::size_t i = 0; i < numerics.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        decimals[i] = pg::decimal_of(numerics[i]);
    }
    return decimals;
}

// ---------------------------------------------------------------------------------------------
// allocate_event

/// The event as it is stored.
struct Event {
    Datum tenant_id, id;
    core::Cents revenue_cents;
    std::int64_t occurred_at_ms;
    Datum correlation_id;
    bool has_correlation_id;
};

/// One channel of an allocation: what was asked for and what it got.
struct Part {
    std::string_view channel;
    Datum channel_datum, weight_datum;
    core::Decimal weight;
    core::AllocationIdentity identity;
    core::Cents cents;
    core::Cents ratio; // hundred-thousandths
};

[[noreturn]] void raise_unknown_event(Datum tenant_id, Datum event_id) {
    static constinit pg::Query find_tenant = {.sql =
                                                  "SELECT 1 FROM attribution.tenants WHERE id = $1",
                                              .parameter_count = 1,
                                              .parameter_types = {UUIDOID},
                                              .cursor_options = 0,
                                              .plan = nullptr};
    pg::run(find_tenant, &tenant_id);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tenant %s does not exist", pg::uuid_text(tenant_id)),
                        errhint("Row security hides every tenant but attribution.tenant_id.")));
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("event %s does not exist", pg::uuid_text(event_id)),
                    errdetail("Tenant %s has no such event.", pg::uuid_text(tenant_id)),
                    errhint("Ingest the event first.")));
    pg_unreachable();
}

Event read_conversion(Datum tenant_id, Datum event_id) {
    static constinit pg::Query find_event = {
        .sql = "SELECT event_type, revenue_cents, occurred_at, correlation_id "
               "FROM attribution.attribution_events WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum values[] = {tenant_id, event_id};
    pg::run(find_event, values);
    if (SPI_processed == 0)
        raise_unknown_event(tenant_id, event_id);

    bool isnull;
    const std::string_view type = pg::text_of(pg::result_value(0, 1, &isnull));
    if (type == "touch")
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a touch has no revenue to allocate"),
                        errdetail("Event %s is a touch.", pg::uuid_text(event_id)),
                        errhint("Allocate the conversion of its journey.")));
    if (type == "refund")
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a refund is not allocated by weights"),
                        errdetail("Event %s is a refund: it takes back what its conversion gave to "
                                  "each channel.",
                                  pg::uuid_text(event_id)),
                        errhint("This version allocates conversions only.")));
    Event event{.tenant_id = tenant_id,
                .id = event_id,
                .revenue_cents = DatumGetInt64(pg::result_value(0, 2, &isnull)),
                .occurred_at_ms =
                    pg::unix_milliseconds(DatumGetTimestampTz(pg::result_value(0, 3, &isnull))),
                .correlation_id = 0,
                .has_correlation_id = false};
    const Datum correlation_id = pg::result_value(0, 4, &isnull);
    event.has_correlation_id = !isnull;
    if (!isnull)
        event.correlation_id = pg::text_datum(pg::text_of(correlation_id));
    return event;
}

void check_text(std::string_view text, const char* name) {
    if (text.empty())
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", name)));
    if (text.size() > max_text_bytes)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is too long", name),
                        errdetail("It has %zu bytes, at most %zu are allowed.", text.size(),
                                  max_text_bytes)));
}

/// Channels and weights as given, in the order of the channels' bytes.
std::span<Part> read_parts(ArrayType* channels, ArrayType* weights) {
    const std::span<Datum> channel_datums = pg::array_elements(channels, "channels", max_channels);
    const std::span<Datum> weight_datums = pg::array_elements(weights, "weights", max_channels);
    if (channel_datums.size() != weight_datums.size())
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("channels and weights differ in length"),
                        errdetail("There are %zu channels and %zu weights.", channel_datums.size(),
                                  weight_datums.size()),
                        errhint("Pass one weight per channel.")));

    const auto parts = make_span<Part>(channel_datums.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
        parts[i].channel_datum = channel_datums[i];
        parts[i].channel = pg::text_of(channel_datums[i]);
        parts[i].weight_datum = weight_datums[i];
        parts[i].weight = pg::decimal_of(weight_datums[i]);
        check_text(parts[i].channel, "channel");
    }
    const Part* duplicate = nullptr;
    pg::guarded([&] {
        std::sort(parts.begin(), parts.end(),
                  [](const Part& a, const Part& b) { return a.channel < b.channel; });
        const auto twice =
            std::adjacent_find(parts.begin(), parts.end(),
                               [](const Part& a, const Part& b) { return a.channel == b.channel; });
        duplicate = twice == parts.end() ? nullptr : &*twice;
    });
    if (duplicate != nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("channel is given twice"),
                 errdetail("Channel \"%.*s\" appears more than once.",
                           static_cast<int>(duplicate->channel.size()), duplicate->channel.data()),
                 errhint("Add its weights up and pass them once.")));
    return parts;
}

/// Fills in identity, cents and ratio of every part.
void compute_parts(const Event& event, std::string_view model_version, std::span<Part> parts) {
    const core::Uuid tenant_id = pg::uuid_of(event.tenant_id);
    const core::Uuid event_id = pg::uuid_of(event.id);
    const auto weights = make_span<core::Decimal>(parts.size());
    const auto tie_keys = make_span<std::uint64_t>(parts.size());
    const auto cents = make_span<core::Cents>(parts.size());
    const auto ratios = make_span<core::Cents>(parts.size());
    pg::guarded([&] {
        for (std::size_t i = 0; i < parts.size(); ++i) {
            parts[i].identity = core::identify_allocation({.tenant_id = tenant_id,
                                                           .event_id = event_id,
                                                           .model_version = model_version,
                                                           .channel = parts[i].channel},
                                                          event.occurred_at_ms);
            weights[i] = parts[i].weight;
            tie_keys[i] = parts[i].identity.tie_key;
        }
        core::apportion(event.revenue_cents, weights, tie_keys, cents);
        core::apportion(core::ratio_units, weights, tie_keys, ratios);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            parts[i].cents = cents[i];
            parts[i].ratio = ratios[i];
        }
    });
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
void compare_with_stored(std::span<const Part> parts, Datum event_id, Datum model_version) {
    const std::size_t count = SPI_processed;
    const auto channels = make_span<std::string_view>(count);
    const auto weights = make_span<core::Decimal>(count);
    const auto weight_texts = make_span<const char*>(count);
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
    const auto given = make_span<core::Decimal>(parts.size());
    bool same_channels = false;
    bool same = false;
    pg::guarded([&] {
        for (std::size_t i = 0; i < parts.size(); ++i)
            given[i] = parts[i].weight;
        same_channels = std::equal(
            parts.begin(), parts.end(), channels.begin(), channels.end(),
            [](const Part& part, std::string_view channel) { return part.channel == channel; });
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
    for (std::size_t i = 0; i < std::min(parts.size(), shown); ++i)
        appendStringInfo(&given_list, "%s\"%.*s\" %s", i == 0 ? "" : ", ",
                         static_cast<int>(parts[i].channel.size()), parts[i].channel.data(),
                         DatumGetCString(DirectFunctionCall1(numeric_out, parts[i].weight_datum)));
    const std::string_view name = pg::text_of(model_version);
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("event is already allocated under model version \"%.*s\" with other weights",
                    static_cast<int>(name.size()), name.data()),
             errdetail("Event %s: stored are %s%s; given are %s%s.", pg::uuid_text(event_id),
                       stored_list.data, count > shown ? ", ..." : "", given_list.data,
                       parts.size() > shown ? ", ..." : ""),
             errhint("Changing your mind is a new model version."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_allocations"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "allocation_is_unchanged")));
}

/// Inserts the parts and leaves them as the last result, as select_stored does; fewer when other
/// sessions have stored some.
void insert_parts(const Event& event, Datum model_version, std::span<const Part> parts) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.attribution_allocations AS a (tenant_id, id, event_id, "
               "model_version, channel, weight, allocation_ratio, allocated_revenue_cents, "
               "correlation_id) "
               "SELECT $1, k.id, $2, $3, k.channel, k.weight, k.ratio * 0.00001, k.cents, $4 "
               "FROM unnest($5, $6, $7, $8, $9) AS k (id, channel, weight, ratio, cents) "
               "ON CONFLICT (tenant_id, event_id, model_version, channel) "
               "WHERE model_version IS NOT NULL DO NOTHING RETURNING a.channel, a.weight, a",
        .parameter_count = 9,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID, TEXTOID, UUIDARRAYOID, TEXTARRAYOID,
                            NUMERICARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    const int count = static_cast<int>(parts.size());
    const auto ids = make_span<Datum>(parts.size());
    const auto channels = make_span<Datum>(parts.size());
    const auto weights = make_span<Datum>(parts.size());
    const auto ratios = make_span<core::Cents>(parts.size());
    const auto cents = make_span<core::Cents>(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
        ids[i] = pg::uuid_datum(parts[i].identity.id);
        channels[i] = parts[i].channel_datum;
        weights[i] = parts[i].weight_datum;
        ratios[i] = parts[i].ratio;
        cents[i] = parts[i].cents;
    }
    Datum values[] = {
        event.tenant_id,
        event.id,
        model_version,
        event.correlation_id,
        PointerGetDatum(
            construct_array(ids.data(), count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(channels.data(), count, TEXTOID, -1, false, TYPALIGN_INT)),
        PointerGetDatum(
            construct_array(weights.data(), count, NUMERICOID, -1, false, TYPALIGN_INT)),
        bigint_array(ratios),
        bigint_array(cents)};
    const char nulls[] = {' ', ' ', ' ', event.has_correlation_id ? ' ' : 'n', ' ', ' ',
                          ' ', ' ', ' '};
    pg::run(insert, values, nulls);
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
    pg::run(select, values);
}

/// Puts the whole rows of the last result into the function's result set.
void return_stored(ReturnSetInfo* result) {
    for (uint64 row = 0; row < SPI_processed; ++row) {
        bool isnull;
        const Datum whole = pg::result_value(row, 3, &isnull);
        HeapTupleHeader header = DatumGetHeapTupleHeader(whole);
        HeapTupleData tuple{};
        tuple.t_len = HeapTupleHeaderGetDatumLength(header);
        tuple.t_data = header;
        tuplestore_puttuple(result->setResult, &tuple);
    }
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_allocate_cents) {
    const core::Cents total = PG_GETARG_INT64(0);
    const std::span<core::Decimal> weights = entry::decimals_of(
        pg::array_elements(PG_GETARG_ARRAYTYPE_P(1), "weights", core::max_shares));
    const auto shares = entry::make_span<core::Cents>(weights.size());

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
    const auto shares = entry::make_span<core::Cents>(static_cast<std::size_t>(parts));

    pg::guarded([&] { core::split_equally(total, shares); });

    PG_RETURN_DATUM(entry::bigint_array(shares));
}

ATTRIBUTION_FUNCTION(attribution_allocate_event_by_weights) {
    static constexpr std::array argument_names = {"tenant_id", "event_id", "model_version",
                                                  "channels", "weights"};
    PreventCommandIfReadOnly("allocate_event()");
    for (int i = 0; i < 5; ++i)
        if (PG_ARGISNULL(i))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", argument_names[i])));
    const Datum tenant_id = PG_GETARG_DATUM(0);
    const Datum event_id = PG_GETARG_DATUM(1);
    const Datum model_version = PG_GETARG_DATUM(2);
    entry::check_text(pg::text_of(model_version), "model_version");
    const std::span<entry::Part> parts =
        entry::read_parts(PG_GETARG_ARRAYTYPE_P(3), PG_GETARG_ARRAYTYPE_P(4));
    InitMaterializedSRF(fcinfo, 0);
    SPI_connect();
    const entry::Event event = entry::read_conversion(tenant_id, event_id);

    entry::compute_parts(event, pg::text_of(model_version), parts);

    entry::use_custom_model(tenant_id, model_version);
    entry::select_stored(tenant_id, event_id, model_version);
    bool found = SPI_processed > 0;
    if (!found) {
        entry::insert_parts(event, model_version, parts);
        // Another session may have been faster: what it stored counts.
        found = SPI_processed < parts.size();
        if (found)
            entry::select_stored(tenant_id, event_id, model_version);
    }
    if (found)
        entry::compare_with_stored(parts, event_id, model_version);
    entry::return_stored(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_keep_model) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "keep_model");
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("a model version never changes"),
                    errdetail("A row of \"%s\" would be updated.",
                              RelationGetRelationName(trigger->tg_relation)),
                    errhint("Changing your mind is a new model version."),
                    errtableconstraint(trigger->tg_relation, "model_version_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
