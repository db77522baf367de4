// finish: the settlements of a run are compared with the books of its tenant, and every difference
// is recorded.
//
// One statement compares, verifies and records, hence under one snapshot: what is posted while a
// run finishes is in neither the net of a book nor among the rows that are verified, so it waits
// for the next run. A row that is verified stays so, and from then on counts only for the net of
// its book.

#include <optional>
#include <tuple>

#include "entry/books/reconciliation_run.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Conversions that occurred in this time are expected to be settled.
struct Bounds {
    pg::OptionalTime occurred_from, occurred_to; // nothing: no bound

    using Columns = std::tuple<pg::OptionalTime, pg::OptionalTime>;
};

Bounds bounds_of_run(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constinit pg::Statement<Bounds(core::Uuid, core::Uuid)> find{R"sql(
        SELECT r.occurred_from, r.occurred_to
        FROM attribution.reconciliation_runs r
        WHERE r.tenant_id = $1 AND r.id = $2)sql"};
    return find.run(tenant_id, run_id)[0];
}

/// Compares the settlements of run $2 of tenant $1 with the books, and returns counts and sums. $3
/// and $4 bound the conversions that must be settled.
///
/// A settlement's key is the external_event_id of a conversion before it is a correlation_id, which
/// counts only for a conversion that has no external_event_id. Both are look-ups of a unique index
/// for each settlement, and OFFSET 0 keeps them apart from the rest; everything else is joined by
/// hash (enable_nestloop is off), which goes to disk past work_mem. The statement is planned for
/// each call: the tables may have grown, and nobody may have analyzed them.
constexpr const char* comparison = R"sql(
    WITH settled AS MATERIALIZED (
        SELECT s.key, s.amount_cents, coalesce(x.id, y.id) AS conversion_id
        FROM attribution.reconciliation_settlements s
        LEFT JOIN LATERAL
             (SELECT e.id FROM attribution.attribution_events e
              WHERE e.tenant_id = $1 AND e.external_event_id = s.key
                AND e.event_type = 'conversion' OFFSET 0) x ON true
        LEFT JOIN LATERAL
             (SELECT e.id FROM attribution.attribution_events e
              WHERE x.id IS NULL AND e.tenant_id = $1 AND e.correlation_id = s.key
                AND e.external_event_id IS NULL AND e.event_type = 'conversion' OFFSET 0) y ON true
        WHERE s.tenant_id = $1 AND s.reconciliation_run_id = $2),
    book AS MATERIALIZED (
        SELECT l.conversion_id, sum(l.revenue_cents) AS cents,
               count(*) FILTER (WHERE NOT l.is_verified) AS unverified
        FROM attribution.revenue_ledger l
        WHERE l.tenant_id = $1 GROUP BY l.conversion_id),
    pair AS MATERIALIZED (
        SELECT s.key IS NOT NULL AS is_settled, s.key, s.amount_cents,
               coalesce(b.conversion_id, s.conversion_id) AS conversion_id, b.cents, b.unverified
        FROM settled s FULL JOIN book b ON b.conversion_id = s.conversion_id),
    judged AS MATERIALIZED (
        SELECT p.is_settled, coalesce(p.key, e.key) AS key, p.amount_cents, p.conversion_id,
               p.cents, p.unverified,
               CASE WHEN p.cents IS NULL
                    THEN CASE WHEN p.amount_cents <> 0 THEN 'missing_in_ledger' END
                    WHEN p.is_settled
                    THEN CASE WHEN p.cents <> p.amount_cents THEN 'amount_mismatch' END
                    WHEN p.cents <> 0 THEN 'missing_in_settlement' END AS kind
        FROM pair p
        LEFT JOIN LATERAL
             (SELECT coalesce(e.external_event_id, e.correlation_id) AS key, e.occurred_at
              FROM attribution.attribution_events e
              WHERE NOT p.is_settled AND p.unverified > 0
                AND e.tenant_id = $1 AND e.id = p.conversion_id OFFSET 0) e ON true
        WHERE p.is_settled OR (e.occurred_at >= coalesce($3, '-infinity')
                               AND e.occurred_at < coalesce($4, 'infinity'))),
    recorded AS (
        INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind,
            key, conversion_id, ledger_cents, settlement_cents)
        SELECT $1, $2, j.kind, j.key, j.conversion_id, j.cents::bigint, j.amount_cents
        FROM judged j WHERE j.kind IS NOT NULL),
    verified AS (
        UPDATE attribution.revenue_ledger l
        SET is_verified = true, verified_at = now(), reconciliation_run_id = $2
        FROM judged j
        WHERE j.kind IS NULL AND j.unverified > 0 AND l.tenant_id = $1
          AND l.conversion_id = j.conversion_id AND NOT l.is_verified
        RETURNING l.revenue_cents)
    SELECT jsonb_build_object(
        'settlements', count(*) FILTER (WHERE j.is_settled),
        'settled_cents', coalesce(sum(j.amount_cents), 0),
        'matched', count(*) FILTER (WHERE j.is_settled AND j.kind IS NULL AND j.cents IS NOT NULL),
        'missing_in_ledger', count(*) FILTER (WHERE j.kind = 'missing_in_ledger'),
        'missing_in_settlement', count(*) FILTER (WHERE j.kind = 'missing_in_settlement'),
        'amount_mismatch', count(*) FILTER (WHERE j.kind = 'amount_mismatch'),
        'verified_entries', (SELECT count(*) FROM verified),
        'verified_cents', (SELECT coalesce(sum(v.revenue_cents), 0) FROM verified v))
    FROM judged j)sql";

/// Returns an object of counts and sums, which lives as long as the SPI connection.
pg::JsonbDatum compare(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    const Bounds bounds = bounds_of_run(tenant_id, run_id);
    pg::Statement<pg::JsonbDatum(core::Uuid, core::Uuid, pg::OptionalTime, pg::OptionalTime)>
        finish{comparison, pg::Plan::once};
    return finish.run(tenant_id, run_id, bounds.occurred_from, bounds.occurred_to)[0];
}

Datum end_run_as_finished(const core::Uuid& tenant_id, const core::Uuid& run_id,
                          MemoryContext memory) {
    if (lock_run(tenant_id, run_id) == ReconciliationState::completed)
        return run_row(tenant_id, run_id, memory);
    join_run(tenant_id, run_id);
    return complete_run(tenant_id, run_id, compare(tenant_id, run_id), memory);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_finish_reconciliation) {
    entry::require_tables();
    PreventCommandIfReadOnly("finish_reconciliation()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto run_id = pg::argument<core::Uuid>(fcinfo, 1, "reconciliation_run_id");
    entry::check_tenant(tenant_id);
    const MemoryContext memory = CurrentMemoryContext;
    SPI_connect();
    const Datum run = entry::end_run_as_finished(tenant_id, run_id, memory);
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_reconciliation_differences) {
    entry::require_tables();
    static constinit pg::Statement<pg::Slot(core::Uuid, core::Uuid)> find{R"sql(
        SELECT d.key, d.kind, d.ledger_cents, d.settlement_cents,
               coalesce(d.ledger_cents, 0)::numeric - coalesce(d.settlement_cents, 0)::numeric,
               d.conversion_id
        FROM attribution.settlement_differences d
        WHERE d.tenant_id = $1 AND d.reconciliation_run_id = $2
        ORDER BY d.key COLLATE "C", d.conversion_id)sql"};
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto run_id = pg::argument<core::Uuid>(fcinfo, 1, "reconciliation_run_id");
    pg::ResultRows rows(fcinfo);
    SPI_connect();
    find.stream_as_of(
        GetActiveSnapshot(), [&](pg::Slot row) { rows.add_slot(row.slot); }, tenant_id, run_id);
    SPI_finish();
    PG_RETURN_NULL();
}
