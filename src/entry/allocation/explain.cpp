// explain: why each cent of a stored allocation went where it is.
//
// The one idea: what is stored explains itself. The weights in the rows and the revenue of the
// event are all that the rule needs; journeys and models may have changed since, and are not asked.

#include "core/explain.hpp"

#include "entry/allocation/event.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"

namespace attribution::entry {
namespace {

/// One stored row and what the core says of it.
struct ExplainedRow {
    Datum channel, weight, stored_cents;
    core::Decimal decimal;
    Datum exact_share, remainder;
    core::Cents floor, cents;
    std::size_t rank;
};

/// Runs a query as a stable function does: under the snapshot of the caller's query, so that the
/// event and its rows are of one moment.
void run_stable(pg::Query& query, Datum* values, long limit = 0) {
    const int result = SPI_execute_plan(pg::prepared(query), values, nullptr, true, limit);
    if (result < 0)
        elog(ERROR, "%s: %s", SPI_result_code_string(result), query.sql);
}

core::Cents read_revenue(Datum tenant_id, Datum event_id) {
    static constinit pg::Query find_event = {
        .sql = "SELECT revenue_cents FROM attribution.attribution_events "
               "WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum values[] = {tenant_id, event_id};
    run_stable(find_event, values);
    if (SPI_processed == 0)
        raise_unknown_event(pg::uuid_of(tenant_id), pg::uuid_of(event_id));
    bool isnull;
    return DatumGetInt64(pg::result_value(0, 1, &isnull));
}

/// The stored rows, in the order of the channels' bytes. COLLATE keeps a planner without statistics
/// from the index on (tenant_id, model_version).
std::span<ExplainedRow> read_rows(Datum tenant_id, Datum event_id, Datum model_version) {
    static constinit pg::Query select = {
        .sql = "SELECT a.channel, a.weight, a.allocated_revenue_cents "
               "FROM attribution.attribution_allocations a "
               "WHERE a.tenant_id = $1 AND a.event_id = $2 AND a.model_version IS NOT NULL "
               "AND a.model_version COLLATE \"C\" = $3 "
               "ORDER BY a.channel COLLATE \"C\"",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, event_id, model_version};
    run_stable(select, values, core::max_shares + 1); // one too many, for the core to refuse
    const std::string_view name = pg::text_of(model_version);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("event is not allocated under model version \"%.*s\"",
                               static_cast<int>(name.size()), name.data()),
                        errdetail("Event %s has no allocations under it.", pg::uuid_text(event_id)),
                        errhint("Allocate the event, or name a model version it is allocated "
                                "under.")));

    const auto rows = pg::make_span<ExplainedRow>(SPI_processed);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        bool isnull;
        rows[i] = ExplainedRow{};
        rows[i].channel = pg::result_value(i, 1, &isnull);
        rows[i].stored_cents = pg::result_value(i, 3, &isnull);
        rows[i].weight = pg::result_value(i, 2, &isnull);
        if (isnull) {
            const std::string_view channel = pg::text_of(rows[i].channel);
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("allocations without weights cannot be explained"),
                     errdetail("Event %s, model version \"%.*s\": channel \"%.*s\" has no weight.",
                               pg::uuid_text(event_id), static_cast<int>(name.size()), name.data(),
                               static_cast<int>(channel.size()), channel.data()),
                     errhint("The rows were imported with their cents alone.")));
        }
        rows[i].decimal = pg::decimal_of(rows[i].weight);
    }
    return rows;
}

std::span<std::uint64_t> tie_keys_of(Datum tenant_id, Datum event_id, Datum model_version,
                                     std::span<const ExplainedRow> rows) {
    const auto channels = pg::make_span<std::string_view>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        channels[i] = pg::text_of(rows[i].channel);
    core::AllocationKey key{.tenant_id = pg::uuid_of(tenant_id),
                            .event_id = pg::uuid_of(event_id),
                            .model_version = pg::text_of(model_version),
                            .channel = {}};
    const auto tie_keys = pg::make_span<std::uint64_t>(rows.size());
    pg::guarded([&] {
        for (std::size_t i = 0; i < channels.size(); ++i) {
            key.channel = channels[i];
            tie_keys[i] = core::identify_allocation(key, 0).tie_key;
        }
    });
    return tie_keys;
}

/// Fills in what the core says. A fraction may have a hundred thousand digits and be one of
/// thousands: each becomes a text as soon as it is there, and a cancel need not wait for the rest.
void explain_rows(core::Cents total, std::span<ExplainedRow> rows,
                  std::span<const std::uint64_t> tie_keys) {
    const auto weights = pg::make_span<core::Decimal>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        weights[i] = rows[i].decimal;
    std::size_t next = 0;
    pg::guarded([&] {
        core::explain(total, weights, tie_keys, [&](const core::Explanation& explanation) {
            ExplainedRow& row = rows[next];
            ++next;
            row.floor = explanation.floor;
            row.cents = explanation.cents;
            row.rank = explanation.rank;
            pg::pg_call([&] {
                CHECK_FOR_INTERRUPTS();
                row.exact_share = pg::text_datum(explanation.exact_share);
                row.remainder = pg::text_datum(explanation.remainder);
            });
        });
    });
}

void return_rows(ReturnSetInfo* result, std::span<const ExplainedRow> rows,
                 std::span<const std::uint64_t> tie_keys) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK_FOR_INTERRUPTS();
        const ExplainedRow& row = rows[i];
        Datum values[] = {row.channel,
                          row.weight,
                          row.exact_share,
                          Int64GetDatum(row.floor),
                          row.remainder,
                          Int32GetDatum(static_cast<int32>(row.rank)),
                          pg::tie_key_datum(tie_keys[i]),
                          Int64GetDatum(row.cents),
                          row.stored_cents};
        bool nulls[std::size(values)] = {};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_explain_allocation) {
    static constexpr const char* argument_names[] = {"tenant_id", "event_id", "model_version"};
    for (int i = 0; i < 3; ++i)
        if (PG_ARGISNULL(i))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", argument_names[i])));
    const Datum tenant_id = PG_GETARG_DATUM(0);
    const Datum event_id = PG_GETARG_DATUM(1);
    const Datum model_version = PG_GETARG_DATUM(2);
    InitMaterializedSRF(fcinfo, 0);
    SPI_connect();
    const core::Cents revenue = entry::read_revenue(tenant_id, event_id);
    const std::span<entry::ExplainedRow> rows =
        entry::read_rows(tenant_id, event_id, model_version);
    const std::span<std::uint64_t> tie_keys =
        entry::tie_keys_of(tenant_id, event_id, model_version, rows);

    entry::explain_rows(revenue, rows, tie_keys);

    entry::return_rows(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), rows, tie_keys);
    SPI_finish();
    PG_RETURN_NULL();
}
