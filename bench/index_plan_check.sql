-- The data of bench/index_plan, last part: the views, statistics, and the proof that what was written past the triggers is
-- what they would have let through.

SET client_min_messages = warning;
CALL bench.close_tables();
CALL attribution.refresh_all('full');
VACUUM (ANALYZE);

DO $$
DECLARE
    found text;
BEGIN
    SELECT string_agg(what, '; ') INTO found FROM (
        SELECT 'unbalanced allocations' AS what WHERE EXISTS (SELECT FROM attribution.unbalanced_allocations())
        UNION ALL
        SELECT format('%s of %s does not hold', c.equation, t.name)
        FROM bench.tenants t, LATERAL attribution.conservation(t.id) AS c
        WHERE t.number IN (3, 50, 333, 1000) AND c.holds IS DISTINCT FROM true
        UNION ALL
        SELECT 'a posting without a book' WHERE EXISTS (
            SELECT FROM attribution.revenue_ledger l
            WHERE NOT EXISTS (SELECT FROM attribution.ledger_books b WHERE b.tenant_id = l.tenant_id AND b.conversion_id = l.conversion_id))
        UNION ALL
        SELECT 'a book without a conversion' WHERE EXISTS (
            SELECT FROM attribution.ledger_books b
            WHERE NOT EXISTS (SELECT FROM attribution.attribution_events e WHERE e.tenant_id = b.tenant_id AND e.id = b.conversion_id AND e.event_type = 'conversion'))
        UNION ALL
        SELECT 'a posting of an unknown run' WHERE EXISTS (
            SELECT FROM attribution.revenue_ledger l
            WHERE l.is_verified AND NOT EXISTS (SELECT FROM attribution.reconciliation_runs r WHERE r.tenant_id = l.tenant_id AND r.id = l.reconciliation_run_id AND r.state = 'completed'))
        UNION ALL
        SELECT 'refreshing: ' || coalesce(s.error, s.doubt) FROM attribution.refresh_status s WHERE s.doubt IS NOT NULL OR s.outcome <> 'refreshed') f;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'the data is wrong: %', found;
    END IF;
END $$;

SELECT format('%s tenants, the largest with %s %% of the events; %s events, %s allocations, %s postings of which %s verified, %s books, %s dead events, %s runs, %s rows of mv_allocation_summary; %s',
    (SELECT count(*) FROM attribution.tenants),
    (SELECT round(100.0 * count(*) FILTER (WHERE tenant_id = (SELECT id FROM bench.tenants WHERE number = 1)) / count(*), 1) FROM attribution.attribution_events),
    (SELECT count(*) FROM attribution.attribution_events), (SELECT count(*) FROM attribution.attribution_allocations),
    (SELECT count(*) FROM attribution.revenue_ledger), (SELECT count(*) FROM attribution.revenue_ledger WHERE is_verified),
    (SELECT count(*) FROM attribution.ledger_books), (SELECT count(*) FROM attribution.dead_events), (SELECT count(*) FROM attribution.reconciliation_runs),
    (SELECT count(*) FROM attribution.mv_allocation_summary), pg_size_pretty(pg_database_size(current_database())));
CHECKPOINT;
