// allocate: cents to shares, and an event's revenue to channels.

#include <algorithm>

#include "entry/allocation/journeys.hpp"
#include "entry/allocation/model.hpp"
#include "entry/allocation/refunds.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

std::span<core::Decimal> decimals_of(std::span<const Datum> numerics) {
    const auto decimals = pg::make_span<core::Decimal>(numerics.size());
    for (std::size_t i = 0; i < numerics.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        decimals[i] = pg::decimal_of(numerics[i]);
    }
    return decimals;
}

// ---------------------------------------------------------------------------------------------
// The event

/// The arguments that both forms of allocate_event have.
struct AllocationRequest {
    core::Uuid tenant_id, event_id;
    std::string_view model_version;
};

AllocationRequest read_allocation_request(FunctionCallInfo fcinfo) {
    return {.tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
            .event_id = pg::argument<core::Uuid>(fcinfo, 1, "event_id"),
            .model_version = pg::argument<std::string_view>(fcinfo, 2, "model_version")};
}

/// The conversion or refund that is to be allocated.
struct Target {
    Event event;
    bool is_refund;
    core::Uuid conversion_id; // the event itself unless it is a refund
    bool has_refunds;         // a conversion that was refunded
};

/// The row of the event.
struct FoundEvent {
    core::Cents revenue_cents;
    pg::Timestamptz occurred_at;
    std::optional<std::string_view> correlation_id;
    std::optional<core::Uuid> session_id, refund_of;
    std::string_view event_type;
    bool has_refunds;
    using Columns =
        std::tuple<core::Cents, pg::Timestamptz, std::optional<std::string_view>,
                   std::optional<core::Uuid>, std::optional<core::Uuid>, std::string_view, bool>;
};

Target find_target(const AllocationRequest& request) {
    static constinit pg::Statement<FoundEvent(core::Uuid, core::Uuid)> find{R"sql(
        SELECT e.revenue_cents, e.occurred_at, e.correlation_id, e.session_id, e.refund_of,
               e.event_type,
               EXISTS (
                 SELECT 1 FROM attribution.attribution_events r
                 WHERE r.tenant_id = $1 AND r.refund_of = $2 OFFSET 0) AS has_refunds
        FROM attribution.attribution_events e
        WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id <= $2
        ORDER BY e.id LIMIT 1)sql"};
    const std::optional<FoundEvent> found = find.run(request.tenant_id, request.event_id).first();
    if (!found)
        raise_unknown_event(request.tenant_id, request.event_id);
    if (found->event_type == "touch")
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("cannot allocate a touch"),
                        errdetail("Event %s is a touch, which has no revenue.",
                                  pg::uuid_text(request.event_id)),
                        errhint("Allocate the conversion of its journey.")));
    const bool is_refund = found->event_type == "refund";
    Assert(is_refund == found->refund_of.has_value());
    return {.event = copied_event({.id = request.event_id,
                                   .revenue_cents = found->revenue_cents,
                                   .occurred_at = found->occurred_at,
                                   .correlation_id = found->correlation_id,
                                   .session_id = found->session_id}),
            .is_refund = is_refund,
            .conversion_id = found->refund_of.value_or(request.event_id),
            .has_refunds = found->has_refunds};
}

/// Allocates the refunds of the event's conversion that wait, under its lock.
void allocate_waiting_refunds(Rows* rows, const Target& target) {
    if (!target.is_refund && !target.has_refunds)
        return;
    const std::span<const core::Uuid> conversion(&target.conversion_id, 1);
    lock_conversions(rows->tenant_id, conversion, LockAgainst::refunds);
    core::Uuid current;
    std::uint64_t row_count = 0;
    allocate_refunds(rows, conversion, false, &current, &row_count);
}

[[noreturn]] void raise_conversion_not_allocated(const AllocationRequest& request,
                                                 const Target& target) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("refunded conversion is not allocated under model version \"%.*s\"",
                    static_cast<int>(request.model_version.size()), request.model_version.data()),
             errdetail("Tenant %s, refund %s of conversion %s: a refund is taken from the channels "
                       "that its conversion is allocated to.",
                       pg::uuid_text(request.tenant_id), pg::uuid_text(target.event.id),
                       pg::uuid_text(target.conversion_id)),
             errhint("Allocate the conversion: its refunds are allocated with it.")));
    pg_unreachable();
}

// ---------------------------------------------------------------------------------------------
// What is stored

/// The stored rows of the event, in the order of the channels' bytes.
/// COLLATE keeps a planner without statistics from the index on (tenant_id, model_version).
pg::Rows<StoredAllocation> find_stored_allocations(const AllocationRequest& request) {
    static constinit pg::Statement<StoredAllocation(core::Uuid, core::Uuid, std::string_view)> find{
        R"sql(
        SELECT )sql" STORED_ALLOCATION_COLUMNS R"sql(
        FROM attribution.attribution_allocations a
        WHERE a.tenant_id = $1 AND a.event_id = $2 AND a.model_version IS NOT NULL
          AND a.model_version COLLATE "C" = $3
        ORDER BY a.channel COLLATE "C")sql"};
    return find.run_latest(request.tenant_id, request.event_id, request.model_version);
}

void return_stored(const pg::Rows<StoredAllocation>& stored, pg::ResultRows* result) {
    for (const StoredAllocation& row : stored)
        add_stored(row, result);
}

/// Writes the rows that wait, returns them and leaves `stored` empty; or finds what another session
/// has stored of the event meanwhile.
void write_or_find(const AllocationRequest& request, Rows* rows, pg::Rows<StoredAllocation>* stored,
                   pg::ResultRows* result) {
    Assert(stored->empty());
    if (write_rows_unless_stored(rows, result))
        return;
    *stored = find_stored_allocations(request);
    if (stored->empty()) {
        // The event has no stored rows, so another conflict kept the rows out. An INSERT without ON
        // CONFLICT raises the error of that conflict.
        write_rows(rows, false);
        *stored = find_stored_allocations(request);
    }
    discard_rows(rows);
}

// ---------------------------------------------------------------------------------------------
// By weights from the caller

/// A channel and what it weighs, from the caller.
struct GivenWeight {
    std::string_view channel;
    pg::NumericDatum numeric;
    core::Decimal weight; // the same number
};

/// Sorts by the bytes of the channels. Raises 22023 for a channel that is given twice.
void sort_by_channel(std::span<GivenWeight> given) {
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
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("channel \"%.*s\" specified more than once",
                        static_cast<int>(duplicate->channel.size()), duplicate->channel.data()),
                 errhint("Add its weights up and pass them once.")));
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
                    .numeric = {weight_datums[i]},
                    .weight = pg::decimal_of(weight_datums[i])};
    }
    sort_by_channel(given);
    return given;
}

/// Adds the rows of a conversion by weights that are in the order of the channels' bytes.
void add_by_weights(Rows* rows, const Event& conversion, std::span<const GivenWeight> given) {
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    const auto shares = pg::make_span<ChannelShare>(given.size());
    const auto weights = pg::make_span<core::Decimal>(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
        shares[i].channel = given[i].channel;
        shares[i].weight = given[i].numeric;
        weights[i] = given[i].weight;
    }
    add_conversion(rows, conversion, shares, std::span<const core::Decimal>(weights));
    MemoryContextSwitchTo(before);
    MemoryContextReset(rows->scratch);
}

/// Records the model version as custom when it is new. Raises 22023 for a model version that
/// computes its weights itself.
void use_custom_model(const AllocationRequest& request) {
    static constinit pg::Statement<std::tuple<std::string_view, std::string_view>(core::Uuid,
                                                                                  std::string_view)>
        find{R"sql(
        SELECT method, parameters::text
        FROM attribution.attribution_models
        WHERE tenant_id = $1 AND model_version = $2)sql",
             pg::Plan::chosen};
    static constinit pg::Statement<void(core::Uuid, std::string_view)> insert{R"sql(
        INSERT INTO attribution.attribution_models (tenant_id, model_version, method)
        VALUES ($1, $2, 'custom')
        ON CONFLICT (tenant_id, model_version) DO NOTHING)sql",
                                                                              pg::Plan::chosen};
    auto found = find.run(request.tenant_id, request.model_version).first();
    if (!found) {
        insert.run(request.tenant_id, request.model_version);
        found = find.run(request.tenant_id, request.model_version).first();
    }
    if (!found)
        return; // inserted by a transaction that this snapshot does not see: unless as custom, a
                // later step fails
    const auto [method, parameters] = *found;
    if (method != "custom" || parameters != "{}")
        ereport(
            ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("cannot pass weights to model version \"%.*s\"",
                    static_cast<int>(request.model_version.size()), request.model_version.data()),
             errdetail("The model version computes its weights itself, by the method %.*s.",
                       static_cast<int>(method.size()), method.data()),
             errhint("Use another model version for the caller's weights.")));
}

/// `"email" 1, "organic" 2, ...`: the first few of a list of channels and weights.
class WeightList {
public:
    WeightList() { initStringInfo(&list_); }

    void add(std::string_view channel, std::optional<pg::NumericDatum> weight) {
        constexpr int shown = 8;
        if (count_ < shown)
            appendStringInfo(
                &list_, "%s\"%.*s\" %s", count_ == 0 ? "" : ", ", static_cast<int>(channel.size()),
                channel.data(),
                weight ? DatumGetCString(DirectFunctionCall1(numeric_out, weight->datum)) : "none");
        else if (count_ == shown)
            appendStringInfoString(&list_, ", ...");
        ++count_;
    }

    [[nodiscard]] const char* text() const { return list_.data; }

private:
    StringInfoData list_{};
    int count_ = 0;
};

[[noreturn]] void raise_other_weights(const AllocationRequest& request,
                                      std::span<const GivenWeight> given,
                                      const pg::Rows<StoredAllocation>& stored) {
    WeightList stored_list, given_list;
    for (const StoredAllocation& row : stored)
        stored_list.add(row.channel, row.weight);
    for (const GivenWeight& entry : given)
        given_list.add(entry.channel, entry.numeric);
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("event is already allocated under model version \"%.*s\" with other weights",
                    static_cast<int>(request.model_version.size()), request.model_version.data()),
             errdetail("Event %s: stored are %s; given are %s.", pg::uuid_text(request.event_id),
                       stored_list.text(), given_list.text()),
             errhint("Use a new model version for other weights."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_allocations"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "allocation_is_unchanged")));
    pg_unreachable();
}

/// Raises 23505 unless the stored rows are of the given channels, and of weights with the same
/// ratios.
void compare_with_stored_allocations(const AllocationRequest& request,
                                     std::span<const GivenWeight> given,
                                     const pg::Rows<StoredAllocation>& stored) {
    bool is_same = given.size() == stored.size();
    const auto stored_weights = pg::make_span<core::Decimal>(given.size());
    const auto given_weights = pg::make_span<core::Decimal>(given.size());
    for (std::size_t i = 0; is_same && i < given.size(); ++i) {
        const StoredAllocation row = stored[i];
        is_same = row.weight.has_value() && row.channel == given[i].channel;
        given_weights[i] = given[i].weight;
        if (is_same)
            stored_weights[i] = pg::decimal_of(row.weight->datum);
    }
    if (is_same)
        pg::guarded([&] { is_same = core::same_ratios(stored_weights, given_weights); });
    if (!is_same)
        raise_other_weights(request, given, stored);
}

/// Allocates a conversion by the caller's weights unless it is allocated already, and returns its
/// rows.
void allocate_by_weights(const AllocationRequest& request, const Event& conversion,
                         std::span<const GivenWeight> given, Rows* rows, pg::ResultRows* result) {
    add_by_weights(rows, conversion, given);
    use_custom_model(request);
    pg::Rows<StoredAllocation> stored = find_stored_allocations(request);
    if (stored.empty())
        write_or_find(request, rows, &stored, result);
    else
        discard_rows(rows);
    if (stored.empty())
        return; // write_or_find() has written and returned the rows
    compare_with_stored_allocations(request, given, stored);
    return_stored(stored, result);
}

// ---------------------------------------------------------------------------------------------
// By the model

/// The definition of the model version. Raises 22023 when there is none, or when its weights come
/// from the caller.
const core::ModelDefinition* find_weighing_model(const AllocationRequest& request) {
    const core::ModelDefinition* definition =
        find_model(request.tenant_id, request.model_version, CurrentMemoryContext);
    if (definition == nullptr)
        raise_unknown_model(request.tenant_id, request.model_version);
    if (definition->weights_come_from_caller)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("model version \"%.*s\" takes its weights from the caller",
                               static_cast<int>(request.model_version.size()),
                               request.model_version.data()),
                        errdetail("Its method is custom, without parameters."),
                        errhint("Pass channels and weights to allocate_event().")));
    return definition;
}

/// Allocates a conversion by the model unless it is allocated already, and returns its rows.
void allocate_conversion(const AllocationRequest& request, const Event& conversion, Rows* rows,
                         pg::ResultRows* result) {
    pg::Rows<StoredAllocation> stored = find_stored_allocations(request);
    if (stored.empty()) {
        add_by_model(rows, *find_weighing_model(request), {&conversion, 1});
        write_or_find(request, rows, &stored, result);
    }
    return_stored(stored, result);
}

/// Allocates a refund, with the other refunds of its conversion that wait, unless it is allocated
/// already, and returns its rows.
void allocate_refund(const AllocationRequest& request, const Target& target, Rows* rows,
                     pg::ResultRows* result) {
    pg::Rows<StoredAllocation> stored = find_stored_allocations(request);
    if (stored.empty()) {
        allocate_waiting_refunds(rows, target);
        stored = find_stored_allocations(request);
        if (stored.empty())
            raise_conversion_not_allocated(request, target);
    }
    return_stored(stored, result);
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

    PG_RETURN_DATUM(pg::SqlType<std::span<const core::Cents>>::to_datum(shares));
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

    PG_RETURN_DATUM(pg::SqlType<std::span<const core::Cents>>::to_datum(shares));
}

ATTRIBUTION_FUNCTION(attribution_allocate_event_by_weights) {
    entry::require_tables();
    PreventCommandIfReadOnly("allocate_event()");
    const entry::AllocationRequest request = entry::read_allocation_request(fcinfo);
    const Datum channels = pg::argument<pg::Opaque<TEXTARRAYOID>>(fcinfo, 3, "channels").datum;
    const Datum weights = pg::argument<pg::Opaque<NUMERICARRAYOID>>(fcinfo, 4, "weights").datum;
    pg::check_text(request.model_version, "model_version");
    const std::span<entry::GivenWeight> given =
        entry::read_weights(DatumGetArrayTypeP(channels), DatumGetArrayTypeP(weights));

    pg::ResultRows result(fcinfo);
    SPI_connect();
    const int settings = pg::pin_settings();
    const entry::Target target = entry::find_target(request);
    if (target.is_refund)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("cannot allocate a refund by weights"),
                        errdetail("Event %s is a refund: it takes back what its conversion gave to "
                                  "each channel.",
                                  pg::uuid_text(request.event_id)),
                        errhint("Call allocate_event(tenant_id, event_id, model_version).")));
    entry::Rows* rows = entry::start_rows(request.tenant_id, request.model_version);
    entry::allocate_by_weights(request, target.event, given, rows, &result);
    entry::allocate_waiting_refunds(rows, target);
    pg::restore_settings(settings);
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_allocate_event) {
    entry::require_tables();
    PreventCommandIfReadOnly("allocate_event()");
    const entry::AllocationRequest request = entry::read_allocation_request(fcinfo);
    pg::check_text(request.model_version, "model_version");

    pg::ResultRows result(fcinfo);
    SPI_connect();
    const int settings = pg::pin_settings();
    const entry::Target target = entry::find_target(request);
    entry::Rows* rows = entry::start_rows(request.tenant_id, request.model_version);
    if (target.is_refund) {
        entry::allocate_refund(request, target, rows, &result);
    } else {
        entry::allocate_conversion(request, target.event, rows, &result);
        entry::allocate_waiting_refunds(rows, target);
    }
    pg::restore_settings(settings);
    SPI_finish();
    PG_RETURN_NULL();
}
