-- The first hour in a copy: what reads is asked before anything was done, what the original refused is refused, what was
-- done there is known, and new rows go the whole way. For `psql -XqAt -v VERBOSITY=verbose`; statistics are nowhere.
SET statement_timeout = '60s';
SET client_min_messages = warning;
SET timezone = 'UTC';
SET search_path = pg_catalog;

\echo # The first calls answer, or say what to do
-- Where a materialized view was not filled by the copy itself, the way out is never REFRESH MATERIALIZED VIEW, which puts it in doubt.
DO $$
DECLARE
    statement text;
    hint text;
BEGIN
    FOREACH statement IN ARRAY ARRAY['realtime_revenue(t.id)', 'reconciliation_status(t.id)', $f$channel_performance(t.id, '1.0.0')$f$, 'conservation(t.id)', 'unbalanced_allocations(t.id)'] LOOP
        BEGIN
            EXECUTE 'SELECT count(*) FROM attribution.tenants t, attribution.' || statement;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            IF hint NOT LIKE '%attribution.refresh_all()%' THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;
SELECT t.currency, c.equation, c.model_version, c.event_id FROM attribution.tenants t, attribution.conservation(t.id) c WHERE NOT c.holds;
SELECT u.* FROM attribution.unbalanced_allocations() u;
SELECT count(*) > 0 FROM attribution.tenants t, attribution.channel_performance(t.id, '1.0.0');

\echo # Wrong rows are refused
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1
WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_allocations WHERE model_version = '2.0.0' AND allocated_revenue_cents BETWEEN 0 AND 1000000 LIMIT 1);
DELETE FROM attribution.attribution_allocations WHERE (tenant_id, id) = (
    SELECT tenant_id, id FROM attribution.attribution_allocations WHERE model_version = '2.0.0' AND allocated_revenue_cents BETWEEN 1 AND 1000000 LIMIT 1);
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT tenant_id, id, 'another', 'email', revenue_cents - 1 FROM attribution.attribution_events WHERE event_type = 'conversion' LIMIT 1;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT tenant_id, 'dddddddd-0000-4000-8000-000000000000', 'another', 'email', 0 FROM attribution.attribution_events LIMIT 1;
UPDATE attribution.attribution_allocations SET channel = 'another'
WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_allocations WHERE model_version = '2.0.0' LIMIT 1);
UPDATE attribution.attribution_allocations SET weight = 2
WHERE (tenant_id, id) = (SELECT tenant_id, allocation_id FROM attribution.revenue_ledger WHERE allocation_id IS NOT NULL LIMIT 1);
DELETE FROM attribution.attribution_allocations
WHERE (tenant_id, event_id, model_version) = (SELECT tenant_id, conversion_id, model_version FROM attribution.ledger_books LIMIT 1);
UPDATE attribution.attribution_events SET revenue_cents = revenue_cents + 1
WHERE (tenant_id, id) = (SELECT tenant_id, event_id FROM attribution.attribution_allocations WHERE allocated_revenue_cents BETWEEN 1 AND 1000000 LIMIT 1);
UPDATE attribution.attribution_events SET revenue_cents = revenue_cents - 1 WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_events WHERE event_type = 'refund' AND revenue_cents > -1000000 LIMIT 1);
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents)
SELECT tenant_id, 'refund', occurred_at, refund_of, -1 FROM attribution.attribution_events WHERE event_type = 'refund' LIMIT 1;
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents)
SELECT tenant_id, 'refund', occurred_at, id, -1 FROM attribution.attribution_events WHERE event_type = 'touch' LIMIT 1;
UPDATE attribution.attribution_events SET event_type = 'touch', revenue_cents = 0, channel = 'email' WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_events WHERE event_type = 'conversion' LIMIT 1);
INSERT INTO attribution.attribution_events SELECT * FROM attribution.attribution_events WHERE event_type = 'touch' LIMIT 1;
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, channel, dba_note) SELECT id, 'touch', now(), 'email', repeat('x', 100) FROM attribution.tenants LIMIT 1;
DELETE FROM attribution.revenue_ledger;
TRUNCATE attribution.revenue_ledger;
UPDATE attribution.revenue_ledger SET revenue_cents = revenue_cents + 1 WHERE revenue_cents < 1000;
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
SELECT tenant_id, conversion_id, id, -revenue_cents + 1 FROM attribution.revenue_ledger WHERE reverses_id IS NULL AND revenue_cents BETWEEN 50 AND 1000 ORDER BY id LIMIT 1;
DELETE FROM attribution.ledger_books;
UPDATE attribution.attribution_models SET method = 'first_touch';
UPDATE attribution.tenants SET currency = 'EUR';
INSERT INTO attribution.tenants (name, currency) VALUES ('of no country', 'QQQ');
INSERT INTO attribution.dead_events (tenant_id, source, error_code, resolution) SELECT id, 'x', 'y', 'z' FROM attribution.tenants LIMIT 1;
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT tenant_id, state FROM attribution.reconciliation_runs WHERE state = 'running';
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id, revenue_cents)
SELECT tenant_id, conversion_id, allocation_id, revenue_cents FROM attribution.revenue_ledger WHERE allocation_id IS NOT NULL LIMIT 1;

\echo # What was done is known
SELECT DISTINCT r.outcome FROM attribution.attribution_events e,
    attribution.ingest_event(e.tenant_id, CASE e.source WHEN 'shop' THEN CASE WHEN e.external_event_id IS NULL THEN 'stripe' ELSE 'shopify' END ELSE e.source END,
                             e.event_type, e.occurred_at, e.revenue_cents, e.external_event_id, e.correlation_id, refund_of => e.refund_of) r
WHERE e.external_event_id IS NOT NULL OR e.correlation_id IS NOT NULL;
SELECT sum(attribution.post_allocations(id, '1.0.0', NULL, '2026-02-10Z')) FROM attribution.tenants;
SELECT count(DISTINCT attribution.reverse_posting(l.tenant_id, l.reverses_id) = l.id) FROM attribution.revenue_ledger l WHERE l.reverses_id IS NOT NULL;
SELECT count(attribution.define_model(id, 'linear', 'linear', '{"lookback_days": 7, "exclude_channels": ["direct"]}')) FROM attribution.tenants;
SELECT count(attribution.define_model(id, 'linear', 'first_touch')) FROM attribution.tenants;
SELECT count(attribution.start_reconciliation(id)) FROM attribution.tenants;

\echo # Views follow
CALL attribution.refresh_all();
SELECT s.view_name, s.outcome, s.pending_changes, s.doubt FROM attribution.refresh_status s ORDER BY s.view_name;
SELECT bool_and(c.holds IS TRUE) FROM attribution.tenants t, attribution.conservation(t.id) c;
SELECT format('SELECT %1$L, (SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d), ''rows differ''', oid::regclass, rtrim(pg_get_viewdef(oid), ';')) AS query
FROM pg_class WHERE relkind = 'm' AND relnamespace = 'attribution'::regnamespace ORDER BY relname \gexec
SELECT r.total_revenue_cents, r.verified, r.data_freshness_seconds IS NOT NULL FROM attribution.tenants t, attribution.realtime_revenue(t.id) r ORDER BY t.id;

\echo # New rows go the whole way
INSERT INTO attribution.tenants (id, name) VALUES ('eeeeeeee-0000-4000-8000-000000000000', 'new');
SELECT count(attribution.define_model(id, 'linear', 'linear')) FROM attribution.tenants WHERE name = 'new';
SELECT i.outcome FROM attribution.tenants t, generate_series(1, 3) AS n, attribution.ingest_event(t.id, 'journal', 'touch', '2026-04-01Z'::timestamptz + n * interval '1 hour',
    external_event_id => 'journal:touch:' || n, session_id => '00000000-0000-4000-8000-00000000abcd', channel => 'channel ' || n) i WHERE t.name = 'new';
SELECT i.outcome FROM attribution.tenants t, attribution.ingest_event(t.id, 'journal', 'conversion', '2026-04-02Z', 10000, 'journal:order:1', session_id => '00000000-0000-4000-8000-00000000abcd') i WHERE t.name = 'new';
SELECT i.outcome FROM attribution.tenants t, attribution.ingest_event(t.id, 'journal', 'refund', '2026-04-03Z', -101, 'journal:refund:1',
    refund_of => attribution.keyed_event_id(t.id, 'journal:order:1', NULL)) i WHERE t.name = 'new';
-- Written by the trigger of the owner and by the one that is enabled always.
SELECT what, count(*) FROM public.journal GROUP BY what ORDER BY what;
SELECT i.outcome FROM attribution.tenants t, attribution.ingest_webhook(t.id, 'paypal', 'PAYMENT.CAPTURE.COMPLETED', '{"id": "WH-x"}') i WHERE t.name = 'new';
SELECT d.error_code, d.events FROM attribution.tenants t JOIN attribution.dead_event_depth d ON d.tenant_id = t.id WHERE t.name = 'new';
CALL attribution.allocate_events('eeeeeeee-0000-4000-8000-000000000000', 'linear') \gset
SELECT :events_allocated, :allocations_written, :events_failed;
SELECT a.channel, a.allocated_revenue_cents, a."Dba Rank" FROM attribution.attribution_allocations a JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
WHERE a.tenant_id = 'eeeeeeee-0000-4000-8000-000000000000' ORDER BY e.occurred_at, a.channel;
SELECT x.channel, x.exact_share, x.cents FROM attribution.explain_allocation('eeeeeeee-0000-4000-8000-000000000000',
    attribution.keyed_event_id('eeeeeeee-0000-4000-8000-000000000000', 'journal:order:1', NULL), 'linear') x;
SELECT attribution.post_allocations('eeeeeeee-0000-4000-8000-000000000000', 'linear');
CALL attribution.reconcile('eeeeeeee-0000-4000-8000-000000000000', '[{"key": "journal:order:1", "amount_cents": 9899}]') \gset
SELECT s.state FROM attribution.reconciliation_status('eeeeeeee-0000-4000-8000-000000000000') s;
SELECT count(*), bool_and(l.is_verified) FROM attribution.revenue_ledger l WHERE l.tenant_id = 'eeeeeeee-0000-4000-8000-000000000000';
DELETE FROM attribution.attribution_allocations WHERE model_version = '2.0.0' AND tenant_id = 'aaaaaaaa-0000-4000-8000-000000000000';
CALL attribution.refresh_all();
SELECT s.view_name, s.mode, s.rows_changed > 0, s.doubt FROM attribution.refresh_status s ORDER BY s.view_name;
SELECT format('SELECT %1$L, (SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d), ''rows differ''', oid::regclass, rtrim(pg_get_viewdef(oid), ';'))
FROM pg_class WHERE relkind = 'm' AND relnamespace = 'attribution'::regnamespace AND relispopulated ORDER BY relname \gexec
SELECT r.total_revenue_cents, r.verified FROM attribution.realtime_revenue('eeeeeeee-0000-4000-8000-000000000000') r;
SELECT bool_and(c.holds IS TRUE) FROM attribution.tenants t, attribution.conservation(t.id) c;
SELECT count(*) FROM attribution.unbalanced_allocations();

\echo # Rights
SELECT count(attribution.bind_tenant('backup_writer', 'eeeeeeee-0000-4000-8000-000000000000'));
SET SESSION AUTHORIZATION backup_writer;
SELECT count(*), count(DISTINCT e.tenant_id) FROM attribution.attribution_events e;
SELECT i.outcome FROM attribution.ingest_event(attribution.current_tenant(), 'web', 'touch', '2026-04-04Z', channel => 'email') i;
SELECT attribution.refresh('mv_realtime_revenue');
UPDATE attribution.revenue_ledger SET is_verified = false;
SET attribution.tenant_id = 'aaaaaaaa-0000-4000-8000-000000000000';
SELECT count(*) FROM attribution.attribution_events e;
RESET SESSION AUTHORIZATION;
