// explain: why each cent of a stored allocation went where it is.
//
// The one idea: what is stored explains itself. The weights in the rows and the revenue of the
// event are all that the rule needs; journeys and models may have changed since, and are not asked.

#include "core/explain.hpp"

#include "entry/allocation/event.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Whose allocation is explained.
struct Subject {
    core::Uuid tenant_id, event_id;
    std::string_view model_version;
};

/// One stored row; the texts point into SPI's result.
struct WeightedRow {
    std::string_view channel;
    pg::NumericDatum weight;
    core::Cents cents;
};

/// The revenue of the event. Raises 22023 when there is no such event. Runs as a stable function
/// does, under the snapshot of the caller's query, so that the event and its rows are of one
/// moment.
core::Cents read_revenue(const Subject& subject) {
    static constinit pg::Statement<core::Cents(core::Uuid, core::Uuid)> find{
        R"sql(
        SELECT revenue_cents
        FROM attribution.attribution_events
        WHERE tenant_id = $1 AND id = $2)sql",
        pg::Plan::chosen};
    const auto revenue = find.run_stable(subject.tenant_id, subject.event_id).first();
    if (!revenue)
        raise_unknown_event(subject.tenant_id, subject.event_id);
    return *revenue;
}

[[noreturn]] void raise_not_allocated(const Subject& subject) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("event is not allocated under model version \"%.*s\"",
                    static_cast<int>(subject.model_version.size()), subject.model_version.data()),
             errdetail("Event %s has no allocations under it.", pg::uuid_text(subject.event_id)),
             errhint("Allocate the event, or name a model version it is allocated under.")));
    pg_unreachable();
}

[[noreturn]] void raise_without_weight(const Subject& subject, std::string_view channel) {
    ereport(
        ERROR,
        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
         errmsg("cannot explain allocations without weights"),
         errdetail("Event %s, model version \"%.*s\": channel \"%.*s\" has no weight.",
                   pg::uuid_text(subject.event_id), static_cast<int>(subject.model_version.size()),
                   subject.model_version.data(), static_cast<int>(channel.size()), channel.data()),
         errhint("The rows were imported with their cents alone.")));
    pg_unreachable();
}

/// The stored rows, in the order of the channels' bytes; never none. Raises 22023 for an event that
/// is not allocated and for a row without a weight.
std::span<WeightedRow> read_rows(const Subject& subject) {
    // COLLATE keeps a planner without statistics from the index on (tenant_id, model_version).
    // LIMIT: one row more than the core accepts, so that the core refuses the weights.
    using Row = std::tuple<std::string_view, std::optional<pg::NumericDatum>, core::Cents>;
    static constinit pg::Statement<Row(core::Uuid, core::Uuid, std::string_view)> find{
        R"sql(
        SELECT a.channel, a.weight, a.allocated_revenue_cents
        FROM attribution.attribution_allocations a
        WHERE a.tenant_id = $1 AND a.event_id = $2
            AND a.model_version IS NOT NULL AND a.model_version COLLATE "C" = $3
        ORDER BY a.channel COLLATE "C"
        LIMIT 1000001)sql"};
    static_assert(core::max_shares == 1'000'000);
    const auto found = find.run_stable(subject.tenant_id, subject.event_id, subject.model_version);
    if (found.empty())
        raise_not_allocated(subject);
    const auto rows = pg::make_span<WeightedRow>(found.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        const auto [channel, weight, cents] = found[i];
        if (!weight)
            raise_without_weight(subject, channel);
        rows[i] = {.channel = channel, .weight = *weight, .cents = cents};
    }
    return rows;
}

/// The weights of the rows as the core reads them.
std::span<const core::Decimal> weights_of(std::span<const WeightedRow> rows) {
    const auto weights = pg::make_span<core::Decimal>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        weights[i] = pg::decimal_of(rows[i].weight.datum);
    }
    return weights;
}

/// The tie keys of the rows: among equal remainders the smaller key gets the cent.
std::span<const std::uint64_t> tie_keys_of(const Subject& subject,
                                           std::span<const WeightedRow> rows) {
    const auto tie_keys = pg::make_span<std::uint64_t>(rows.size());
    pg::guarded([&] {
        const core::AllocationIdentifier identify(subject.tenant_id, subject.event_id,
                                                  subject.model_version, 0);
        for (std::size_t i = 0; i < rows.size(); ++i)
            tie_keys[i] = identify.of(rows[i].channel).tie_key;
    });
    return tie_keys;
}

/// Adds one result row for each stored row. A fraction may have a hundred thousand digits and be
/// one of thousands: each becomes a row as soon as the core has it, and a cancel need not wait for
/// the rest.
void explain_rows(core::Cents revenue, std::span<const WeightedRow> rows,
                  std::span<const std::uint64_t> tie_keys, pg::ResultRows& result) {
    const std::span<const core::Decimal> weights = weights_of(rows);
    const MemoryContext row_memory = AllocSetContextCreate(
        CurrentMemoryContext, "explain_allocation row", ALLOCSET_DEFAULT_SIZES);
    std::size_t next = 0;
    pg::guarded([&] {
        core::explain(revenue, weights, tie_keys, [&](const core::Explanation& explanation) {
            const WeightedRow& row = rows[next];
            const std::uint64_t tie_key = tie_keys[next];
            ++next;
            pg::pg_call([&] {
                CHECK_FOR_INTERRUPTS();
                const MemoryContext before = MemoryContextSwitchTo(row_memory);
                result.add(row.channel, row.weight, std::string_view(explanation.exact_share),
                           explanation.floor, std::string_view(explanation.remainder),
                           static_cast<std::int32_t>(explanation.rank),
                           pg::NumericDatum{pg::tie_key_datum(tie_key)}, explanation.cents,
                           row.cents);
                MemoryContextSwitchTo(before);
                MemoryContextReset(row_memory);
            });
        });
    });
    Assert(next == rows.size());
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_explain_allocation) {
    entry::require_tables();
    const entry::Subject subject = {.tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
                                    .event_id = pg::argument<core::Uuid>(fcinfo, 1, "event_id"),
                                    .model_version =
                                        pg::argument<std::string_view>(fcinfo, 2, "model_version")};
    pg::ResultRows result(fcinfo);
    SPI_connect();
    const core::Cents revenue = entry::read_revenue(subject);
    const std::span<const entry::WeightedRow> rows = entry::read_rows(subject);
    entry::explain_rows(revenue, rows, entry::tie_keys_of(subject, rows), result);
    SPI_finish();
    PG_RETURN_NULL();
}
