// conservation: no cent appeared or got lost on the way from events to views.
//
// The one idea: each step of the way is an equation, expected = actual + pending, whose two sides
// are summed from different tables in one statement, hence one snapshot. What is pending is known
// by itself (not allocated yet, not posted yet, in a log of changes), never as the difference of
// the two sides. Where an equation does not hold, its rows are listed.
//
// The snapshot is taken after the views are locked. A REFRESH that held the lock until then has put
// new rows into its view, which older snapshots see as well, and has emptied the view's log, which
// they do not see.

#include "entry/views/view_state.hpp"
#include "entry/allocation/model.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/owner.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

// The statement is put together from the following parts, since a view that was never refreshed
// cannot be read: what is said of such a view comes from another part. Its parameters are
//     $1  the tenant
//     $2  whether it is known what mv_realtime_revenue lacks
//     $3  the same of mv_allocation_summary
//
// Everything is read once per tenant and joined by hash: enable_nestloop is off in this function.

/// The tenant's money as the tables have it.
///     event      conversions, refunds, and those touches that somebody allocated, to 0 cents, by
///                hand: the others have no money, and these are looked up one by one
///     allocated  per event and model version
///     total      of all events: what is allocated under a model version, and what is not yet
///     bookable   the events of open books, and the model version of their book. On its own, since
///                the model version alone would join every book with every allocation, which a
///                planner without statistics takes for cheap
///     booked     allocations of open books: what is in the ledger, and what is not posted or was
///                reversed
constexpr const char* tables_part = R"sql(
    WITH conversion_or_refund AS MATERIALIZED (
        SELECT e.id, e.revenue_cents, e.refund_of, coalesce(e.refund_of, e.id) AS conversion_id
        FROM attribution.attribution_events e
        WHERE e.tenant_id = $1 AND e.event_type <> 'touch'),
    allocation AS MATERIALIZED (
        SELECT a.id, a.event_id, a.model_version, a.channel, a.allocated_revenue_cents AS cents
        FROM attribution.attribution_allocations a
        WHERE a.tenant_id = $1),
    allocated_touch AS MATERIALIZED (
        SELECT t.id, t.revenue_cents, t.refund_of, t.id AS conversion_id
        FROM (SELECT DISTINCT a.event_id FROM allocation a
              WHERE NOT EXISTS (SELECT 1 FROM conversion_or_refund x WHERE x.id = a.event_id)) o,
             LATERAL (SELECT x.id, x.revenue_cents, x.refund_of
                      FROM attribution.attribution_events x
                      WHERE x.tenant_id = $1 AND x.id = o.event_id OFFSET 0) t),
    event AS NOT MATERIALIZED (
        SELECT * FROM conversion_or_refund UNION ALL SELECT * FROM allocated_touch),
    ledger AS MATERIALIZED (
        SELECT l.id, l.conversion_id, l.allocation_id, l.reverses_id, l.revenue_cents AS cents,
               b.model_version
        FROM attribution.revenue_ledger l
        LEFT JOIN attribution.ledger_books b
               ON b.tenant_id = $1 AND b.conversion_id = l.conversion_id
        WHERE l.tenant_id = $1),
    allocated AS MATERIALIZED (
        SELECT s.event_id, s.model_version, s.cents, e.revenue_cents, e.id IS NULL AS is_orphan
        FROM (SELECT a.event_id, a.model_version, sum(a.cents) AS cents
              FROM allocation a GROUP BY a.event_id, a.model_version) s
        LEFT JOIN event e ON e.id = s.event_id),
    total AS MATERIALIZED (
        SELECT coalesce(sum(revenue_cents), 0) AS cents FROM event),
    model AS (
        SELECT m.model_version, sum(m.cents) AS cents, coalesce(sum(m.revenue_cents), 0) AS revenue
        FROM allocated m GROUP BY m.model_version),
    bookable AS MATERIALIZED (
        SELECT e.id AS event_id, b.model_version
        FROM event e
        JOIN attribution.ledger_books b ON b.tenant_id = $1
                                       AND b.conversion_id = e.conversion_id),
    booked AS MATERIALIZED (
        SELECT a.id, a.event_id, a.model_version, a.cents,
               p.id AS posting_id, p.cents AS posted, r.cents AS reversed
        FROM allocation a
        JOIN bookable e ON e.event_id = a.event_id AND e.model_version = a.model_version
        LEFT JOIN ledger p ON p.allocation_id = a.id
        LEFT JOIN ledger r ON r.reverses_id = p.id),)sql";

/// mv_allocation_summary beside the allocations. A key of the view waits when the view's log has
/// it, or has its event with all model versions.
constexpr const char* summary_part = R"sql(
    compared AS MATERIALIZED (
        SELECT coalesce(x.event_id, v.event_id) AS event_id,
               coalesce(x.model_version, v.model_version) AS model_version,
               coalesce(x.cents, 0) AS live, coalesce(v.total_allocated_cents, 0) AS viewed,
               w.event_id IS NOT NULL OR u.event_id IS NOT NULL AS waits
        FROM allocated x
        FULL JOIN (SELECT * FROM attribution.mv_allocation_summary m WHERE m.tenant_id = $1) v
               ON v.event_id = x.event_id AND v.model_version = x.model_version
        LEFT JOIN (SELECT DISTINCT c.event_id, c.model_version
                   FROM attribution_internal.allocation_summary_changes c
                   WHERE c.tenant_id = $1 AND c.model_version IS NOT NULL) w
               ON w.event_id = coalesce(x.event_id, v.event_id)
              AND w.model_version = coalesce(x.model_version, v.model_version)
        LEFT JOIN (SELECT DISTINCT c.event_id
                   FROM attribution_internal.allocation_summary_changes c
                   WHERE c.tenant_id = $1 AND c.model_version IS NULL) u
               ON u.event_id = coalesce(x.event_id, v.event_id)),)sql";

/// The equations of the tables, and the rows that break a rule.
constexpr const char* rows_part = R"sql(
    row AS (
        SELECT 1 AS step, 'events = allocations' AS equation, m.model_version,
               NULL::uuid AS event_id, t.cents AS expected, coalesce(m.cents, 0) AS actual,
               t.cents - coalesce(m.revenue, 0) AS pending, true AS is_known
        FROM total t LEFT JOIN model m ON true
        UNION ALL
        SELECT 1, 'events = allocations', x.model_version, x.event_id,
               coalesce(x.revenue_cents, 0), x.cents, 0, true
        FROM allocated x WHERE x.cents IS DISTINCT FROM x.revenue_cents
        UNION ALL
        SELECT 2, 'allocations = ledger', m.model_version, NULL,
               coalesce(b.expected, 0), m.cents, coalesce(b.pending, 0), true
        FROM (SELECT l.model_version, sum(l.cents) AS cents
              FROM ledger l GROUP BY l.model_version) m
        LEFT JOIN (SELECT k.model_version, sum(k.cents) AS expected,
                          sum(CASE WHEN k.posting_id IS NULL THEN k.cents ELSE 0 END)
                          - sum(coalesce(k.reversed, 0)) AS pending
                   FROM booked k GROUP BY k.model_version) b ON b.model_version = m.model_version
        UNION ALL
        SELECT 2, 'allocations = ledger', l.model_version, a.event_id,
               coalesce(a.cents, 0), l.cents, 0, true
        FROM ledger l
        LEFT JOIN allocation a ON a.id = l.allocation_id
        LEFT JOIN event e ON e.id = a.event_id
        WHERE l.reverses_id IS NULL
          AND (a.cents IS DISTINCT FROM l.cents
               OR a.model_version IS DISTINCT FROM l.model_version
               OR e.conversion_id IS DISTINCT FROM l.conversion_id)
        UNION ALL
        SELECT 2, 'reversing entry = posting', l.model_version, l.conversion_id,
               -p.cents::numeric, l.cents, 0, true
        FROM ledger l LEFT JOIN ledger p ON p.id = l.reverses_id
        WHERE l.reverses_id IS NOT NULL
          AND (p.cents IS DISTINCT FROM -l.cents::numeric
               OR p.conversion_id IS DISTINCT FROM l.conversion_id OR p.reverses_id IS NOT NULL)
        UNION ALL
        SELECT 5, 'refunds <= conversion', NULL, r.refund_of,
               coalesce(c.revenue_cents, 0), r.cents, 0, true
        FROM (SELECT e.refund_of, -sum(e.revenue_cents) AS cents
              FROM event e WHERE e.refund_of IS NOT NULL GROUP BY e.refund_of) r
        LEFT JOIN event c ON c.id = r.refund_of
        WHERE r.cents > coalesce(c.revenue_cents, 0)
        UNION ALL
        SELECT 6, 'channels >= 0', n.model_version, n.conversion_id, 0, n.cents, 0, true
        FROM (SELECT e.conversion_id, a.model_version, a.channel, sum(a.cents) AS cents
              FROM allocation a JOIN event e ON e.id = a.event_id
              GROUP BY e.conversion_id, a.model_version, a.channel) n
        WHERE n.cents < 0)sql";

constexpr const char* revenue_rows_part = R"sql(
        UNION ALL
        SELECT 3, 'ledger = mv_realtime_revenue', NULL, NULL,
               (SELECT coalesce(sum(l.cents), 0) FROM ledger l),
               coalesce(v.total_revenue_cents, 0),
               (SELECT coalesce(sum(c.revenue_cents), 0)
                FROM attribution_internal.realtime_revenue_changes c WHERE c.tenant_id = $1), $2
        FROM (VALUES (1)) AS one
        LEFT JOIN attribution.mv_realtime_revenue v ON v.tenant_id = $1)sql";
constexpr const char* no_revenue_rows_part = R"sql(
        UNION ALL
        SELECT 3, 'ledger = mv_realtime_revenue', NULL, NULL,
               (SELECT coalesce(sum(l.cents), 0) FROM ledger l), NULL, NULL, false)sql";

constexpr const char* summary_rows_part = R"sql(
        UNION ALL
        SELECT 4, 'allocations = mv_allocation_summary', NULL, NULL,
               coalesce(sum(k.live), 0), coalesce(sum(k.viewed), 0),
               coalesce(sum(k.live - k.viewed) FILTER (WHERE k.waits), 0), $3
        FROM compared k
        UNION ALL
        SELECT 4, 'allocations = mv_allocation_summary', k.model_version, k.event_id,
               k.live, k.viewed, 0, $3
        FROM compared k WHERE NOT k.waits AND k.live <> k.viewed)sql";
constexpr const char* no_summary_rows_part = R"sql(
        UNION ALL
        SELECT 4, 'allocations = mv_allocation_summary', NULL, NULL,
               (SELECT coalesce(sum(a.cents), 0) FROM allocation a), NULL, NULL, false)sql";

/// First the totals, then each row that breaks a rule.
constexpr const char* answer_part = R"sql(
    )
    SELECT r.equation, r.model_version, r.event_id, r.expected, r.actual, r.pending,
           CASE WHEN r.is_known THEN r.expected - coalesce(r.actual, 0) - r.pending END,
           CASE WHEN r.step <= 4 AND r.event_id IS NULL
                THEN CASE WHEN r.is_known THEN r.expected = r.actual + r.pending END
                WHEN r.is_known THEN false END
    FROM row r
    ORDER BY r.event_id IS NOT NULL, r.step, r.model_version, r.event_id)sql";

/// A view that takes part, locked against a REFRESH that replaces its contents.
struct View {
    Relation relation;
    bool is_populated; // it was refreshed at least once
};

View open_view(const char* name) {
    Relation relation = open_own_view(name, AccessShareLock);
    return {.relation = relation, .is_populated = RelationIsPopulated(relation)};
}

/// Whether the view's log has all that the view lacks, as the snapshot sees both.
bool is_known(const View& view, Snapshot snapshot) {
    return view.is_populated && is_view_known(RelationGetRelationName(view.relation), snapshot);
}

const char* equations(const View& revenue, const View& summary) {
    return psprintf("%s%s%s%s%s%s", tables_part, summary.is_populated ? summary_part : "",
                    rows_part, revenue.is_populated ? revenue_rows_part : no_revenue_rows_part,
                    summary.is_populated ? summary_rows_part : no_summary_rows_part, answer_part);
}

void prove(const core::Uuid& tenant_id, pg::ResultRows* rows) {
    const View revenue = open_view("mv_realtime_revenue");
    const View summary = open_view("mv_allocation_summary");
    CommandCounterIncrement();
    const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    const bool revenue_is_known = is_known(revenue, snapshot);
    const bool summary_is_known = is_known(summary, snapshot);
    // Planned for each call: the tables may have grown, and nobody may have analyzed them.
    pg::Statement<pg::Slot(core::Uuid, bool, bool)> statement{equations(revenue, summary),
                                                              pg::Plan::once};
    statement.stream_as_of(
        snapshot, [&](pg::Slot row) { rows->add_slot(row.slot); }, tenant_id, revenue_is_known,
        summary_is_known);
    UnregisterSnapshot(snapshot);
    table_close(revenue.relation, NoLock);
    table_close(summary.relation, NoLock);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_conservation) {
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    entry::check_tenant(tenant_id);
    pg::ResultRows rows(fcinfo);
    SPI_connect();
    entry::check_tenant_exists(tenant_id);
    entry::prove(tenant_id, &rows);
    SPI_finish();
    PG_RETURN_NULL();
}
