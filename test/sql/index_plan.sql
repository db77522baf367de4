-- index_plan: the plan is what the server has, each index can serve its query, and each way of losing that is found.
-- A database of its own: it breaks indexes, and asks for counters and plans.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_index_plan;
CREATE DATABASE regression_index_plan;
\set home :DBNAME
\c regression_index_plan
SET client_min_messages = warning;
CREATE EXTENSION attribution;

-- --- The plan and the catalog ------------------------------------------------------------------------

CREATE VIEW actual AS
SELECT c.relname AS index_name, t.relname AS relation, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace);
CREATE VIEW planned AS SELECT index_name, relation, definition FROM attribution.index_plan WHERE state = 'active';
TABLE actual EXCEPT ALL TABLE planned;
TABLE planned EXCEPT ALL TABLE actual;
SELECT state, serves, count(*) FROM attribution.index_plan GROUP BY state, serves ORDER BY state, serves;
-- A GIN index costs every insertion: each is deferred, and none is there.
SELECT index_name, definition FROM attribution.index_plan WHERE state = 'deferred' ORDER BY index_name;
SELECT count(*) FROM attribution.index_plan p JOIN pg_class c ON c.relname = p.index_name WHERE p.state = 'deferred';
-- What returns a page says how long it is.
SELECT index_name FROM attribution.index_plan WHERE answer = 'page' AND sample_query !~ ' LIMIT (50|\$[34])$' OR answer <> 'page' AND sample_query ~ 'LIMIT';
SELECT index_name FROM attribution.index_plan WHERE answer = 'page' AND serves = 'query' AND sample_query !~ ' ORDER BY ';
SELECT index_name FROM attribution.index_plan WHERE definition LIKE 'CREATE UNIQUE INDEX idx%' AND relation NOT LIKE 'mv%' AND insertion_check IS NULL;
SELECT obj_description('attribution.idx_tenants_name'::regclass), obj_description('attribution.idx_tenants_currency'::regclass);

-- --- Its queries run ---------------------------------------------------------------------------------

CALL attribution.refresh_all();
CREATE FUNCTION run_sample(p attribution.index_plan) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    types text := (SELECT '(' || string_agg(substr(t, strpos(t, ' ') + 1), ', ' ORDER BY n) || ')' FROM unnest(p.parameters) WITH ORDINALITY AS u (t, n));
    rows bigint;
BEGIN
    EXECUTE format('PREPARE sample %s AS %s', types, p.sample_query);
    EXECUTE 'EXECUTE sample' || coalesce((SELECT '(' || string_agg('NULL', ', ') || ')' FROM unnest(p.parameters)), '');
    GET DIAGNOSTICS rows = ROW_COUNT;
    DEALLOCATE sample;
    RETURN CASE WHEN rows > 1 THEN rows || ' rows' END;
END;
$$;
SELECT index_name, run_sample(p) FROM attribution.index_plan p WHERE run_sample(p) IS NOT NULL;

-- Insertions that find the row that is there insert nothing.
\set tenant '''11111111-1111-4111-8111-111111111111'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'one');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, external_event_id, correlation_id) VALUES
    (:tenant, 'eeeeeeee-0000-4000-8000-000000000001', 'conversion', '2026-01-01Z', 1000, 'shopify:order:1', NULL),
    (:tenant, 'eeeeeeee-0000-4000-8000-000000000002', 'conversion', '2026-01-01Z', 1000, NULL, 'pi_1');
SELECT count(*) FROM attribution.allocate_event(:tenant, 'eeeeeeee-0000-4000-8000-000000000001', '1', '{ads,tv}', '{1,1}');
SELECT attribution.post_allocations(:tenant, '1');
INSERT INTO attribution.reconciliation_runs (tenant_id, state) VALUES (:tenant, 'running');
SELECT attribution.reverse_posting(:tenant, id) IS NOT NULL FROM attribution.revenue_ledger ORDER BY id LIMIT 1;
CREATE FUNCTION run_insertion(name, VARIADIC parameters text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    p attribution.index_plan := (SELECT x FROM attribution.index_plan x WHERE x.index_name = $1);
    rows bigint;
BEGIN
    EXECUTE format('PREPARE insertion (%s) AS %s',
        (SELECT string_agg(substr(t, strpos(t, ' ') + 1), ', ' ORDER BY n) FROM unnest(p.parameters) WITH ORDINALITY AS u (t, n)), p.insertion_check);
    EXECUTE format('EXECUTE insertion (%s)', (SELECT string_agg(quote_literal(t), ', ' ORDER BY n) FROM unnest(parameters) WITH ORDINALITY AS u (t, n)));
    GET DIAGNOSTICS rows = ROW_COUNT;
    DEALLOCATE insertion;
    RETURN rows;
END;
$$;
SELECT run_insertion('idx_attribution_events_tenant_external_event_id', :tenant, 'shopify:order:1') AS external,
       run_insertion('idx_attribution_events_tenant_correlation_id', :tenant, 'pi_1') AS correlation,
       run_insertion('idx_attribution_allocations_tenant_event_model_channel', :tenant, 'eeeeeeee-0000-4000-8000-000000000001', '1') AS allocation,
       run_insertion('idx_revenue_ledger_tenant_allocation_id', :tenant, (SELECT allocation_id::text FROM attribution.revenue_ledger WHERE allocation_id IS NOT NULL LIMIT 1)) AS posting,
       run_insertion('idx_revenue_ledger_tenant_reverses_id', :tenant, (SELECT reverses_id::text FROM attribution.revenue_ledger WHERE reverses_id IS NOT NULL)) AS reversal,
       run_insertion('idx_reconciliation_runs_one_running', :tenant) AS running;
SELECT count(*) FROM attribution.index_plan WHERE insertion_check IS NOT NULL;

-- --- check_index_plan() ------------------------------------------------------------------------------

SELECT count(*), count(*) FILTER (WHERE exists_as_declared AND is_valid AND is_of_right_kind AND can_serve) AS good,
       count(*) FILTER (WHERE state = 'deferred' AND exists_as_declared IS NULL AND can_serve IS NULL) AS deferred, count(problem) AS problems
FROM attribution.check_index_plan();
-- It reads, and it leaves nothing behind: no plan of the session is planned as if indexes were alone.
BEGIN READ ONLY;
SELECT count(*), count(problem) FROM attribution.check_index_plan();
SET LOCAL enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM attribution.attribution_events WHERE tenant_id = :tenant AND external_event_id = 'x';
EXPLAIN (COSTS off) SELECT id FROM attribution.attribution_events WHERE session_id = :tenant;
ROLLBACK;

CREATE VIEW problems AS
SELECT index_name, exists_as_declared AS declared, is_valid AS valid, is_of_right_kind AS kind, can_serve AS serves, problem
FROM attribution.check_index_plan() WHERE problem IS NOT NULL;
-- Gone.
BEGIN;
DROP INDEX attribution.idx_tenants_name;
TABLE problems;
ROLLBACK;
-- The columns of another order; a direction lost, which a page can do without; a column more.
BEGIN;
DROP INDEX attribution.idx_attribution_events_tenant_occurred_at;
CREATE INDEX idx_attribution_events_tenant_occurred_at ON attribution.attribution_events (channel, tenant_id, occurred_at DESC);
DROP INDEX attribution.idx_dead_events_tenant_ingested_at;
CREATE INDEX idx_dead_events_tenant_ingested_at ON attribution.dead_events (tenant_id, ingested_at);
DROP INDEX attribution.idx_attribution_allocations_channel;
CREATE INDEX idx_attribution_allocations_channel ON attribution.attribution_allocations (tenant_id, channel);
TABLE problems;
SELECT index_name, exists_as_declared, can_serve FROM attribution.check_index_plan() WHERE index_name IN
    ('idx_attribution_events_tenant_occurred_at', 'idx_dead_events_tenant_ingested_at', 'idx_attribution_allocations_channel') ORDER BY index_name;
ROLLBACK;
-- Of another kind: not unique, no btree.
BEGIN;
DROP INDEX attribution.idx_attribution_events_tenant_external_event_id, attribution.idx_attribution_events_session_id;
CREATE INDEX idx_attribution_events_tenant_external_event_id ON attribution.attribution_events (tenant_id, external_event_id) WHERE external_event_id IS NOT NULL;
CREATE INDEX idx_attribution_events_session_id ON attribution.attribution_events USING hash (session_id) WHERE session_id IS NOT NULL;
TABLE problems;
ROLLBACK;
-- Another predicate: of rows that the query does not ask for.
BEGIN;
DROP INDEX attribution.idx_mv_allocation_summary_drift, attribution.idx_revenue_ledger_is_verified;
CREATE INDEX idx_mv_allocation_summary_drift ON attribution.mv_allocation_summary (drift_cents) WHERE drift_cents > 2;
CREATE INDEX idx_revenue_ledger_is_verified ON attribution.revenue_ledger (is_verified) WHERE is_verified = false;
TABLE problems;
SELECT index_name, can_serve FROM attribution.check_index_plan()
WHERE index_name IN ('idx_mv_allocation_summary_drift', 'idx_revenue_ledger_is_verified') ORDER BY index_name;
ROLLBACK;
-- Of the right rows by predicate alone, and more of them than are asked for: read from end to end.
BEGIN;
DROP INDEX attribution.idx_attribution_events_session_id, attribution.idx_revenue_ledger_tenant_reconciliation_run_id;
CREATE INDEX idx_attribution_events_session_id ON attribution.attribution_events (channel) WHERE session_id IS NOT NULL;
CREATE INDEX idx_revenue_ledger_tenant_reconciliation_run_id ON attribution.revenue_ledger (is_verified) WHERE tenant_id IS NOT NULL;
SELECT index_name, can_serve FROM attribution.check_index_plan()
WHERE index_name IN ('idx_attribution_events_session_id', 'idx_revenue_ledger_tenant_reconciliation_run_id') ORDER BY index_name;
SET LOCAL enable_bitmapscan = off;
SELECT attribution_internal.index_obstacle('idx_attribution_events_session_id', false);
ROLLBACK;
-- On another table.
BEGIN;
DROP INDEX attribution.idx_attribution_events_session_id;
CREATE INDEX idx_attribution_events_session_id ON attribution.tenants (id) WHERE id IS NOT NULL;
TABLE problems;
ROLLBACK;
-- What CREATE INDEX CONCURRENTLY leaves when it fails.
BEGIN;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'attribution.idx_attribution_events_session_id'::regclass;
TABLE problems;
ROLLBACK;
-- A column gone from under the queries.
BEGIN;
ALTER TABLE attribution.revenue_ledger RENAME posted_at TO booked_at;
TABLE problems;
ROLLBACK;
-- A deferred index may be built as it is declared, and not otherwise.
BEGIN;
DO $$ BEGIN EXECUTE (SELECT definition FROM attribution.index_plan WHERE index_name = 'idx_dead_events_error_detail'); END $$;
TABLE problems;
SELECT index_name, state, exists_as_declared, can_serve FROM attribution.check_index_plan() WHERE index_name = 'idx_dead_events_error_detail';
DROP INDEX attribution.idx_dead_events_error_detail;
CREATE INDEX idx_dead_events_error_detail ON attribution.dead_events USING gin (error_detail);
TABLE problems;
ROLLBACK;
-- A better index beside it takes nothing away.
BEGIN;
CREATE INDEX better ON attribution.tenants (name, id) INCLUDE (currency);
TABLE problems;
ROLLBACK;
TABLE problems;
-- Nor do the settings of the session.
SET enable_indexscan = off;
SET enable_bitmapscan = off;
TABLE problems;
RESET enable_indexscan;
RESET enable_bitmapscan;
SET quote_all_identifiers = on;
TABLE problems;
RESET quote_all_identifiers;
SELECT attribution_internal.index_obstacle('nothing', false);
SELECT attribution_internal.index_obstacle('idx_dead_events_error_detail', false);

-- --- Bloat -------------------------------------------------------------------------------------------

SELECT bool_and(bloat_ratio IS NULL) FROM attribution.check_index_plan() WHERE relation = 'refresh_log';
INSERT INTO attribution_internal.refresh_log (view_name, mode, started_at, elapsed_ms, outcome)
SELECT 'x', 'full', now(), 1, 'refreshed' FROM generate_series(1, 20000);
VACUUM (ANALYZE) attribution_internal.refresh_log;
SELECT bloat_ratio < 0.2 AS is_full FROM attribution.check_index_plan() WHERE index_name = 'refresh_log_pkey';
-- As deletions leave it, which another session's snapshot may hold up.
ALTER INDEX attribution_internal.refresh_log_pkey SET (fillfactor = 10);
REINDEX TABLE attribution_internal.refresh_log;
ALTER INDEX attribution_internal.refresh_log_pkey RESET (fillfactor);
SELECT bloat_ratio > 0.7 AS is_empty FROM attribution.check_index_plan() WHERE index_name = 'refresh_log_pkey';
REINDEX TABLE attribution_internal.refresh_log;
SELECT bloat_ratio < 0.2 AS is_full FROM attribution.check_index_plan() WHERE index_name = 'refresh_log_pkey';
-- Equal keys share an entry: an index of few keys is small, and that is no negative bloat.
INSERT INTO attribution.dead_events (tenant_id, source, error_code)
SELECT :tenant, (ARRAY['shopify', 'stripe', 'paypal'])[1 + n % 3], 'invalid_amount' FROM generate_series(1, 20000) AS n;
VACUUM (ANALYZE) attribution.dead_events;
REINDEX TABLE attribution.dead_events;
SELECT index_name, bloat_ratio < 0.2 AS is_full FROM attribution.check_index_plan() WHERE relation = 'dead_events' AND state = 'active' ORDER BY index_name;
-- Nor are columns beside the key, room that was asked for, keys that share nothing, or widths nobody knows.
CREATE COLLATION alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE INDEX of_include ON attribution.dead_events (source) INCLUDE (retry_count);
CREATE INDEX of_collation ON attribution.dead_events (source COLLATE alike);
CREATE INDEX of_own_entries ON attribution.dead_events (source) WITH (deduplicate_items = off);
CREATE INDEX of_half ON attribution.dead_events (ingested_at) WITH (fillfactor = 50);
CREATE INDEX of_expression ON attribution.dead_events (retry_count, (repeat(source, 10)));
SELECT c.relname, attribution_internal.index_bloat(c.oid) < 0.2 AS is_full FROM pg_class c
WHERE c.relname IN ('of_include', 'of_collation', 'of_own_entries', 'of_half', 'of_expression') ORDER BY c.relname;
DROP INDEX attribution.of_include, attribution.of_collation, attribution.of_own_entries, attribution.of_half, attribution.of_expression;
DROP COLLATION alike;

-- --- index_report() ----------------------------------------------------------------------------------

CREATE INDEX of_mine ON attribution.tenants (updated_at);
CREATE INDEX of_mine_partial ON attribution.tenants (updated_at) WHERE name >= 'tenant 50';
CREATE INDEX of_mine_invalid ON attribution.tenants (created_at);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'attribution.of_mine_invalid'::regclass;
SELECT pg_stat_reset();
SET enable_seqscan = off;
SELECT count(*) FROM attribution.tenants WHERE name = 'one';
RESET enable_seqscan;
SELECT pg_stat_force_next_flush();
SELECT pg_stat_clear_snapshot();
CREATE VIEW of_tenants AS SELECT * FROM attribution.index_report('1 day') WHERE relation = 'tenants';
SELECT index_name, is_planned, scans > 0 AS scanned, size_bytes > 0 AS has_size, verdict, reason FROM of_tenants ORDER BY index_name;
-- Counters that are old enough.
SELECT index_name, verdict, reason FROM attribution.index_report('-1 s') WHERE relation = 'tenants' AND verdict <> 'needed' ORDER BY index_name;
SELECT index_name, reason FROM attribution.index_report('-1 s')
WHERE relation IN ('attribution_allocations', 'revenue_ledger') AND verdict IN ('needed', 'droppable') ORDER BY index_name;
SELECT bool_and(counters_since BETWEEN now() - interval '1 min' AND now()) AS since_reset, bool_and(last_scan IS NULL OR scans > 0) AS last,
       count(*) = (SELECT count(*) FROM pg_indexes WHERE schemaname IN ('attribution', 'attribution_internal')) AS whole
FROM attribution.index_report();
-- What is checked, ordered by or looked up without a scan that is counted is not to be dropped.
BEGIN;
ALTER TABLE attribution.tenants ADD CONSTRAINT of_mine_exclusion EXCLUDE USING hash (name WITH =) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE attribution.tenants ADD parent char(3) CONSTRAINT of_mine_fkey REFERENCES attribution.currencies;
CREATE INDEX of_mine_hash ON attribution.tenants USING hash (parent);
CREATE INDEX of_mine_order ON attribution.tenants (created_at);
ALTER TABLE attribution.tenants CLUSTER ON of_mine_order;
SELECT index_name, verdict, reason FROM attribution.index_report('-1 s') WHERE index_name LIKE 'of\_mine\_%' ORDER BY index_name;
ROLLBACK;
-- Where nothing is counted, nothing is known.
SET track_counts = off;
SELECT index_name, verdict, reason FROM attribution.index_report('-1 s') WHERE index_name = 'of_mine';
RESET track_counts;
-- Counters are no older than the installation, however old those of the server are.
BEGIN;
UPDATE attribution.index_plan SET created_at = now() + interval '1 hour' WHERE index_name = 'idx_tenants_name';
SELECT index_name, counters_since > now() AS young FROM attribution.index_report() WHERE index_name IN ('idx_tenants_name', 'of_mine') ORDER BY index_name;
REFRESH MATERIALIZED VIEW attribution_internal.installation;
SELECT bool_and(counters_since >= now()) AS young FROM attribution.index_report();
ROLLBACK;
-- What was written, and where it went.
SELECT pg_stat_reset();
INSERT INTO attribution.tenants (name) SELECT 'tenant ' || n FROM generate_series(1, 99) AS n;
ANALYZE attribution.tenants;
SELECT pg_stat_force_next_flush();
SELECT pg_stat_clear_snapshot();
SELECT index_name, entries_written, write_share FROM of_tenants ORDER BY index_name;

-- --- Whose -------------------------------------------------------------------------------------------

CREATE ROLE index_writer;
CREATE ROLE index_operator;
SELECT attribution.grant_access('index_writer', 'writer');
SELECT attribution.grant_access('index_operator', 'operator');
SET ROLE index_writer;
SELECT count(*) FROM attribution.check_index_plan();
SELECT count(*) FROM attribution.index_report();
SELECT count(*) FROM attribution.index_plan;
SET ROLE index_operator;
SELECT count(problem) FROM attribution.check_index_plan();
SELECT count(*) > 0 FROM attribution.index_report();
SELECT count(*) FROM attribution.index_plan;
SELECT attribution_internal.index_obstacle('idx_tenants_name', false);
UPDATE attribution.index_plan SET sample_query = 'SELECT 1';
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA attribution FROM index_writer, index_operator;
DROP OWNED BY index_writer, index_operator;
DROP ROLE index_writer, index_operator;
\c :home
DROP DATABASE regression_index_plan;
