-- refresh: views that follow the tables, a log of every run, and one failure that stops nothing else.
-- (Two refreshers at once are an isolation test.)
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set a '''4ef4e500-0000-4000-8000-00000000000a'''
\set e1 '''4ef4e500-0000-4000-8000-0000000000e1'''
-- Unpopulated views, whatever ran before.
REFRESH MATERIALIZED VIEW attribution.mv_allocation_summary WITH NO DATA;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue WITH NO DATA;
REFRESH MATERIALIZED VIEW attribution.mv_reconciliation_status WITH NO DATA;
REFRESH MATERIALIZED VIEW attribution_internal.refresh_state;
DELETE FROM attribution.refresh_log;
INSERT INTO attribution.tenants (id, name, currency) VALUES
    (:a, 'refresh a', 'USD'),
    ('4ef4e500-0000-4000-8000-00000000000b', 'refresh b', 'JPY'),
    ('4ef4e500-0000-4000-8000-00000000000c', 'refresh c', 'KWD'),
    ('4ef4e500-0000-4000-8000-00000000000d', 'refresh d', 'CLF');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT id, :e1, 'conversion', '2024-03-01 12:00Z', 12345 FROM attribution.tenants WHERE name LIKE 'refresh _';
SELECT count(*) FROM attribution.tenants AS t, attribution.allocate_event(t.id, :e1, '1', '{email, tv}', '{1, 2}') WHERE t.name LIKE 'refresh _';
SELECT t.name, attribution.post_allocations(t.id, '1') FROM attribution.tenants AS t WHERE t.name IN ('refresh a', 'refresh b', 'refresh c') ORDER BY t.name;
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at) VALUES
    (:a, '4ef4e500-0000-4000-8000-0000000000c1', 'completed', '2024-03-01 00:00Z'),
    -- Two runs at the same time: the larger id is the later one.
    (:a, '4ef4e500-0000-4000-8000-0000000000c3', 'failed', '2024-03-02 00:00Z'),
    (:a, '4ef4e500-0000-4000-8000-0000000000c2', 'idle', '2024-03-02 00:00Z');

-- What a run says, without clocks.
CREATE FUNCTION pg_temp.refresh(view_name text, mode text DEFAULT 'auto', OUT mode_used text, OUT rows_changed bigint, OUT outcome text, OUT error text)
    LANGUAGE sql RETURN (SELECT ROW(l.mode, l.rows_changed, l.outcome, l.error) FROM attribution.refresh(view_name, mode) AS l);
-- The oracle: view and its definition, both ways.
CREATE PROCEDURE pg_temp.compare() LANGUAGE plpgsql AS $$
DECLARE
    view_name text;
    differences bigint;
BEGIN
    FOREACH view_name IN ARRAY '{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[] LOOP
        EXECUTE format('SELECT count(*) FROM ((TABLE attribution.%1$I EXCEPT ALL %2$s) UNION ALL ((%2$s) EXCEPT ALL TABLE attribution.%1$I)) AS d',
                       view_name, '(' || rtrim(pg_get_viewdef(('attribution.' || view_name)::regclass), ';') || ')')
        INTO differences;
        RAISE INFO '%: % rows differ from its definition', view_name, differences;
    END LOOP;
END $$;

--
-- Before the first refresh
--
CALL pg_temp.attempt($$SELECT attribution.realtime_revenue('4ef4e500-0000-4000-8000-00000000000a')$$);
SELECT view_name, mode, outcome, refreshed_at, staleness_seconds FROM attribution.refresh_status ORDER BY view_name;
-- The status of a reconciliation is read from the table.
SELECT * FROM attribution.reconciliation_status(:a);
SELECT * FROM attribution.reconciliation_status('4ef4e500-0000-4000-8000-00000000000b');
SELECT * FROM attribution.reconciliation_status('4ef4e500-0000-4000-8000-0000000000ff');

--
-- Modes
--
-- Concurrent mode cannot fill a view that was never filled, nor can incremental mode: a failure, logged, with a warning.
SELECT * FROM pg_temp.refresh('mv_allocation_summary', 'concurrent');
SELECT * FROM pg_temp.refresh('mv_allocation_summary', 'incremental');
-- auto can.
CREATE TEMP TABLE run AS SELECT * FROM pg_temp.refresh('mv_allocation_summary');
SELECT mode_used, outcome, error, rows_changed = (SELECT count(*) FROM attribution.mv_allocation_summary) AS all_rows FROM run;
SELECT mode_used, outcome, error FROM pg_temp.refresh('mv_realtime_revenue', 'full');
SELECT mode_used, outcome, error FROM pg_temp.refresh('attribution.mv_reconciliation_status');
CALL pg_temp.compare();
SELECT tenant_id, right(event_id::text, 2) AS event, model_version, total_allocated_cents, event_revenue_cents, is_balanced, drift_cents
FROM attribution.mv_allocation_summary WHERE tenant_id = :a;
SELECT state, last_run_at, right(reconciliation_run_id::text, 2) AS run FROM attribution.mv_reconciliation_status WHERE tenant_id = :a;
-- Minor units of 0, 2 and 3 decimals; a tenant without postings has none, and they are not verified.
SELECT t.name, m.total_revenue, m.total_revenue_cents, m.verified, m.posting_count, m.last_updated_at IS NOT NULL AS has_time
FROM attribution.mv_realtime_revenue AS m JOIN attribution.tenants AS t ON t.id = m.tenant_id
WHERE t.name LIKE 'refresh _' ORDER BY t.name;
SELECT tenant_id, total_revenue, total_revenue_cents, verified, data_freshness_seconds BETWEEN 0 AND 60 AS is_fresh, as_of <= now() AS as_of_is_past
FROM attribution.realtime_revenue(:a);
-- No change, no row written, in auto and in concurrent mode.
SELECT * FROM pg_temp.refresh('mv_allocation_summary');
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'concurrent');
SELECT * FROM pg_temp.refresh('mv_reconciliation_status');
-- A change writes what changed: a row that is new; a row that differs; one that is gone.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e1, '2', 'radio', 12345);
SELECT * FROM pg_temp.refresh('mv_allocation_summary');
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 12346 WHERE tenant_id = '4ef4e500-0000-4000-8000-00000000000d';
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1 WHERE tenant_id = '4ef4e500-0000-4000-8000-00000000000d' AND channel = 'tv';
COMMIT;
SELECT * FROM pg_temp.refresh('mv_allocation_summary');
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version = '2';
SELECT * FROM pg_temp.refresh('mv_allocation_summary');
UPDATE attribution.reconciliation_runs SET state = 'running' WHERE tenant_id = :a AND id = '4ef4e500-0000-4000-8000-0000000000c3';
SELECT * FROM pg_temp.refresh('mv_reconciliation_status', 'incremental');
-- Concurrent mode deletes and inserts a row that differs, and the log has nothing left to tell.
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-03-05 00:00Z' WHERE tenant_id = :a;
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'concurrent');
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'incremental');
SELECT total_revenue, verified, verified_revenue_cents, verified_count FROM attribution.mv_realtime_revenue WHERE tenant_id = :a;
CALL pg_temp.compare();
-- A view that drifted from its tables is seen by the oracle.
INSERT INTO attribution.tenants (id, name) VALUES ('4ef4e500-0000-4000-8000-00000000000e', 'refresh e');
CALL pg_temp.compare();
SELECT * FROM attribution.realtime_revenue('4ef4e500-0000-4000-8000-00000000000e');
-- Inside a transaction block, and rolled back with it.
BEGIN;
SELECT * FROM pg_temp.refresh('mv_realtime_revenue');
SELECT * FROM pg_temp.refresh('mv_realtime_revenue');
CALL pg_temp.compare();
ROLLBACK;
SELECT count(*) AS rows_of_e FROM attribution.mv_realtime_revenue WHERE tenant_id = '4ef4e500-0000-4000-8000-00000000000e';

--
-- refresh_all
--
DELETE FROM attribution.refresh_log;
CALL attribution.refresh_all();
CALL pg_temp.compare();
CALL attribution.refresh_all('full');
CALL attribution.refresh_all(mode => 'concurrent');
SELECT view_name, mode, rows_changed = 0 AS unchanged, outcome, error, elapsed_ms >= 0 AS has_time FROM attribution.refresh_log ORDER BY id;
SELECT view_name, mode, rows_changed, outcome, error, refreshed_at = started_at AS refreshed_last, staleness_seconds BETWEEN 0 AND 60 AS is_fresh
FROM attribution.refresh_status ORDER BY view_name;
-- It commits after each view, so it cannot run inside a transaction.
BEGIN;
CALL attribution.refresh_all();
ROLLBACK;
DO $$ BEGIN CALL attribution.refresh_all(); END $$;
CALL pg_temp.attempt('CALL attribution.refresh_all()');

--
-- One view's failure does not stop the others
--
DELETE FROM attribution.refresh_log;
DROP INDEX attribution.idx_mv_realtime_revenue_tenant_id;
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at) VALUES
    ('4ef4e500-0000-4000-8000-00000000000b', '4ef4e500-0000-4000-8000-0000000000c4', 'completed', '2024-03-01 00:00Z');
CALL attribution.refresh_all('concurrent');
SELECT view_name, mode, rows_changed, outcome, error FROM attribution.refresh_log ORDER BY id;
SELECT view_name, outcome, error, refreshed_at IS NULL AS never_refreshed FROM attribution.refresh_status ORDER BY view_name;
-- The function warns too, and what the transaction did before stays.
BEGIN;
INSERT INTO attribution.tenants (id, name) VALUES ('4ef4e500-0000-4000-8000-00000000000f', 'refresh f');
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'incremental');
COMMIT;
SELECT name FROM attribution.tenants WHERE id = '4ef4e500-0000-4000-8000-00000000000f';
SELECT count(*) AS failures FROM attribution.refresh_log WHERE outcome = 'failed';
-- Full mode needs no unique index, so auto goes back to it. An index with a condition, or on an expression, is none.
SELECT mode_used, outcome, error FROM pg_temp.refresh('mv_realtime_revenue');
CALL pg_temp.compare();
CREATE UNIQUE INDEX partial ON attribution.mv_realtime_revenue (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX computed ON attribution.mv_realtime_revenue ((tenant_id::text));
SELECT mode_used, outcome, error FROM pg_temp.refresh('mv_realtime_revenue');
DROP INDEX attribution.partial, attribution.computed;
INSERT INTO attribution.tenants (id, name) VALUES ('4ef4e500-0000-4000-8000-0000000000f1', 'refresh f1');
CREATE UNIQUE INDEX idx_mv_realtime_revenue_tenant_id ON attribution.mv_realtime_revenue (tenant_id);
COMMENT ON INDEX attribution.idx_mv_realtime_revenue_tenant_id IS 'Query path: realtime revenue of a tenant. Target p95: 50 ms.';
-- With the index again, the next one is incremental.
SELECT * FROM pg_temp.refresh('mv_realtime_revenue');
CALL pg_temp.compare();

--
-- Incremental mode refuses when the log does not tell what changed (test/sql/capture.sql has all reasons)
--
DELETE FROM attribution.refresh_log;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
INSERT INTO attribution.tenants (id, name) VALUES ('4ef4e500-0000-4000-8000-0000000000f2', 'refresh f2');
CALL attribution.refresh_all('incremental');
SELECT view_name, mode, rows_changed, outcome, error FROM attribution.refresh_log ORDER BY id;
SELECT view_name, outcome, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;
CALL attribution.refresh_all();
SELECT view_name, mode, rows_changed, outcome, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;
CALL attribution.refresh_all('incremental');
SELECT view_name, mode, rows_changed, outcome, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;
CALL pg_temp.compare();
DELETE FROM attribution.refresh_log;

--
-- Arguments
--
CALL pg_temp.attempt($$SELECT attribution.refresh(NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_realtime_revenue', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_unknown')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('tenants')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('public.mv_realtime_revenue')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('MV_REALTIME_REVENUE')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_realtime_revenue', 'fast')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_realtime_revenue', '')$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_realtime_revenue', 'Incremental')$$);
CALL attribution.refresh_all(NULL);
CALL attribution.refresh_all('fast');
CALL pg_temp.attempt($$SELECT attribution_internal.refresh_doubt('mv_unknown')$$);
SELECT attribution_internal.refresh_doubt(NULL);
-- A snapshot that is already taken would fill the view with the past.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT attribution.refresh('mv_realtime_revenue');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT attribution.refresh('mv_realtime_revenue');
ROLLBACK;
BEGIN READ ONLY;
SELECT attribution.refresh('mv_realtime_revenue');
ROLLBACK;
SET default_transaction_isolation = 'repeatable read';
CALL attribution.refresh_all();
RESET default_transaction_isolation;
SET default_transaction_read_only = on;
CALL attribution.refresh_all();
RESET default_transaction_read_only;
-- Nothing of that was logged. A view that is being read is not refreshed under its reader.
SELECT count(*) AS logged FROM attribution.refresh_log;
BEGIN;
DECLARE c CURSOR FOR SELECT tenant_id FROM attribution.mv_realtime_revenue;
FETCH 0 FROM c;
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'full');
SELECT * FROM pg_temp.refresh('mv_realtime_revenue', 'incremental');
ROLLBACK;

--
-- Who refreshes: an operator, for all tenants whatever its own is
--
CREATE ROLE regress_attribution_operator;
SELECT attribution.grant_access('regress_attribution_operator', 'operator');
SET ROLE regress_attribution_operator;
SET attribution.tenant_id = '4ef4e500-0000-4000-8000-00000000000a';
SELECT mode_used, rows_changed, outcome, error FROM pg_temp.refresh('mv_allocation_summary');
CALL attribution.refresh_all('full');
RESET attribution.tenant_id;
CALL attribution.refresh_all();
SELECT * FROM attribution.mv_allocation_summary;
\set VERBOSITY sqlstate
REFRESH MATERIALIZED VIEW attribution.mv_allocation_summary;
\set VERBOSITY default
DELETE FROM attribution.refresh_log;
SELECT count(*) >= 7 AS sees_log FROM attribution.refresh_log;
RESET ROLE;
CALL pg_temp.compare();
-- FORCE ROW LEVEL SECURITY on an owner that is no superuser would leave one tenant's rows: the refresh fails instead.
CREATE ROLE regress_attribution_owner;
BEGIN;
GRANT USAGE, CREATE ON SCHEMA attribution TO regress_attribution_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA attribution TO regress_attribution_owner;
ALTER TABLE attribution.reconciliation_runs OWNER TO regress_attribution_owner;
ALTER MATERIALIZED VIEW attribution.mv_reconciliation_status OWNER TO regress_attribution_owner;
ALTER TABLE attribution.reconciliation_runs FORCE ROW LEVEL SECURITY;
SET LOCAL attribution.tenant_id = '4ef4e500-0000-4000-8000-00000000000a';
SELECT mode_used, outcome, error FROM pg_temp.refresh('mv_reconciliation_status', 'full');
SELECT count(DISTINCT tenant_id) > 1 AS all_tenants FROM attribution.mv_reconciliation_status;
ROLLBACK;
DROP OWNED BY regress_attribution_operator, regress_attribution_owner;
DROP ROLE regress_attribution_operator, regress_attribution_owner;
-- A view that is gone is said to be.
BEGIN;
ALTER MATERIALIZED VIEW attribution.mv_reconciliation_status RENAME TO mv_other;
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_reconciliation_status')$$);
ROLLBACK;

--
-- What slipped past the check is in the live function and in the refreshed summary alike
--
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER allocation_sum_equals_revenue;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, :e1, 'wrong', 'tv', 12343), ('4ef4e500-0000-4000-8000-00000000000d', :e1, 'wrong', 'tv', 12300), (:a, :e1, 'right', 'tv', 12345);
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER allocation_sum_equals_revenue;
SELECT (pg_temp.refresh('mv_allocation_summary')).outcome;
SELECT right(tenant_id::text, 1) AS tenant, model_version, event_revenue_cents, allocated_cents, drift_cents
FROM attribution.unbalanced_allocations() WHERE event_id = :e1 ORDER BY 1, 2;
WITH live AS (SELECT tenant_id, event_id, model_version, allocated_cents, event_revenue_cents, drift_cents FROM attribution.unbalanced_allocations()),
     summary AS (SELECT tenant_id, event_id, model_version, total_allocated_cents, event_revenue_cents, drift_cents FROM attribution.mv_allocation_summary WHERE NOT is_balanced)
SELECT (SELECT count(*) FROM (TABLE live EXCEPT ALL TABLE summary) AS d) AS only_live, (SELECT count(*) FROM (TABLE summary EXCEPT ALL TABLE live) AS d) AS only_summary;
DELETE FROM attribution.attribution_allocations WHERE model_version IN ('wrong', 'right');
