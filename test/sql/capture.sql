-- capture: what writers log for the next refresh, and what puts a view in doubt.
-- After every step the three views are refreshed in auto mode and compared with their definitions.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set a '''ca974e00-0000-4000-8000-00000000000a'''
\set b '''ca974e00-0000-4000-8000-00000000000b'''
\set e1 '''ca974e00-0000-4000-8000-0000000000e1'''
\set e2 '''ca974e00-0000-4000-8000-0000000000e2'''
\set e3 '''ca974e00-0000-4000-8000-0000000000e3'''
\set e4 '''ca974e00-0000-4000-8000-0000000000e4'''

-- Rows in which a view differs from its definition, as text: 0 is not 0.00.
CREATE FUNCTION pg_temp.differences(view_name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    differences bigint;
BEGIN
    EXECUTE format('WITH m AS (SELECT m::text AS r FROM attribution.%1$I AS m), q AS (SELECT q::text AS r FROM (%2$s) AS q)
                    SELECT count(*) FROM ((TABLE m EXCEPT ALL TABLE q) UNION ALL (TABLE q EXCEPT ALL TABLE m)) AS d',
                   view_name, rtrim(pg_get_viewdef(('attribution.' || view_name)::regclass), ';'))
    INTO differences;
    RETURN differences;
END $$;
-- Refreshes all three and says how; says so, too, where that left a difference. At the end of a section a concurrent
-- refresh must have nothing to write either.
CREATE PROCEDURE pg_temp.follow(mode text DEFAULT 'auto', again boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
    said text := '';
    view_name text;
    run attribution.refresh_log;
    differences bigint;
BEGIN
    FOREACH view_name IN ARRAY '{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[] LOOP
        run := attribution.refresh(view_name, mode);
        said := said || format('%s: %s%s%s', split_part(view_name, '_', 3), run.mode,
            CASE WHEN run.outcome <> 'refreshed' THEN ' ' || run.outcome WHEN run.mode = 'incremental' THEN ' ' || run.rows_changed END,
            CASE WHEN view_name <> 'mv_reconciliation_status' THEN ', ' END);
        differences := pg_temp.differences(view_name);
        IF differences <> 0 THEN
            RAISE WARNING '% differs from its definition in % rows', view_name, differences;
        END IF;
        IF again THEN
            run := attribution.refresh(view_name, 'concurrent');
            IF run.rows_changed IS DISTINCT FROM 0 THEN
                RAISE WARNING 'a concurrent refresh of % wrote % rows: %', view_name, run.rows_changed, run.error;
            END IF;
        END IF;
    END LOOP;
    RAISE INFO '%', said;
END $$;
-- Keys that wait, and why the views are in doubt.
CREATE VIEW pg_temp.waiting AS
SELECT right(tenant_id::text, 1) AS tenant, right(event_id::text, 2) AS event, coalesce(model_version, 'all') AS model, count(*)
FROM attribution_internal.allocation_summary_changes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
CREATE VIEW pg_temp.waiting_revenue AS
SELECT right(tenant_id::text, 1) AS tenant, sum(revenue_cents) AS revenue, sum(verified_cents) AS verified, sum(posting_count) AS postings, sum(verified_count) AS verified_postings
FROM attribution_internal.realtime_revenue_changes GROUP BY 1 ORDER BY 1;
CREATE VIEW pg_temp.doubts AS
SELECT view_name, pending_changes AS pending, doubt FROM attribution.refresh_status WHERE doubt IS NOT NULL ORDER BY view_name;

-- Empty logs in new files, and known views, whatever ran before.
REFRESH MATERIALIZED VIEW attribution_internal.allocation_summary_changes;
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
REFRESH MATERIALIZED VIEW attribution_internal.reconciliation_status_changes;
CALL attribution.refresh_all('full');
SELECT view_name, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;

--
-- Tenants and events
--
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'capture a'), (:b, 'capture b');
TABLE pg_temp.waiting_revenue;
CALL pg_temp.follow();
-- New events, and what is said of them beside their revenue, are no change of the views.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT t.id, e.id::uuid, 'conversion', '2024-03-01 12:00Z', 100 FROM unnest(ARRAY[:a, :b]::uuid[]) AS t (id), unnest(ARRAY[:e1, :e2, :e3, :e4]) AS e (id);
UPDATE attribution.attribution_events SET source = 'shop' WHERE tenant_id IN (:a, :b);
SELECT sum(pending_changes) AS pending FROM attribution.refresh_status;

--
-- Allocations, by every statement
--
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, :e1, '1', 'tv', 40), (:a, :e1, '1', 'web', 60), (:a, :e1, '2', 'tv', 100), (:b, :e1, '1', 'tv', 100), (:a, :e2, '1', 'tv', 100);
TABLE pg_temp.waiting;
CALL pg_temp.follow();
SELECT count(*) AS waiting FROM pg_temp.waiting;
COPY attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) FROM STDIN;
ca974e00-0000-4000-8000-00000000000a	ca974e00-0000-4000-8000-0000000000e3	1	tv	70
ca974e00-0000-4000-8000-00000000000a	ca974e00-0000-4000-8000-0000000000e3	1	web	30
ca974e00-0000-4000-8000-00000000000b	ca974e00-0000-4000-8000-0000000000e3	1	tv	100
\.
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- ON CONFLICT: one key is inserted, one updated, one neither.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e4, '1', 'tv', 100), (:a, :e2, '1', 'tv', 100)
ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL DO UPDATE SET correlation_id = 'again';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, '1', 'tv', 1) ON CONFLICT DO NOTHING;
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- MERGE: deletes one key, moves cents within another, inserts a third.
MERGE INTO attribution.attribution_allocations AS m
USING (VALUES (:a::uuid, :e4::uuid, '1', 'tv', NULL::bigint), (:a, :e3, '1', 'tv', 71), (:a, :e3, '1', 'web', 29), (:a, :e2, '2', 'tv', 100)) AS n (tenant_id, event_id, model_version, channel, cents)
ON (m.tenant_id, m.event_id, m.model_version, m.channel) = (n.tenant_id, n.event_id, n.model_version, n.channel)
WHEN MATCHED AND n.cents IS NULL THEN DELETE
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = n.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (n.tenant_id, n.event_id, n.model_version, n.channel, n.cents);
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- A writable CTE: three statements in one.
WITH gone AS (DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e2 AND model_version = '2' RETURNING *),
     changed AS (UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 100 - allocated_revenue_cents WHERE tenant_id = :a AND event_id = :e1 AND model_version = '1'),
     added AS (INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) SELECT tenant_id, :e4, model_version, channel, allocated_revenue_cents FROM gone)
SELECT count(*) AS gone FROM gone;
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- By the extension's functions.
SELECT count(*) AS allocated FROM attribution.allocate_event(:b, :e2, '1', '{tv, web, radio}', '{1, 1, 1}');
CALL pg_temp.follow();
-- Revenue: of an event with two model versions, and of one without allocations.
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 101 WHERE tenant_id = :a AND id = :e1;
UPDATE attribution.attribution_events SET revenue_cents = 102 WHERE tenant_id = :b AND id = :e4;
TABLE pg_temp.waiting;
CALL pg_temp.follow();
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1 WHERE tenant_id = :a AND event_id = :e1 AND channel = 'tv';
CALL pg_temp.follow();
COMMIT;
CALL pg_temp.follow();
SELECT right(event_id::text, 2) AS event, model_version, total_allocated_cents, event_revenue_cents, drift_cents
FROM attribution.mv_allocation_summary WHERE tenant_id = :a ORDER BY 1, 2;
-- A model version that came and went since the last refresh, and events that take their allocations along.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e3, 'short-lived', 'tv', 100);
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version = 'short-lived';
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id IN (:e3, :e4);
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- A statement that changes no row logs none.
UPDATE attribution.attribution_allocations SET weight = 1 WHERE tenant_id = :a AND model_version = 'none';
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e3;
SELECT count(*) AS waiting FROM pg_temp.waiting;
-- More model versions in one statement than are told apart at a time, each twice.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT :a, :e2, 'm' || m, c, 50 FROM unnest('{tv, web}'::text[]) AS c, generate_series(1, 150) AS m ORDER BY c, m;
SELECT count(DISTINCT model) AS models FROM pg_temp.waiting;
CALL pg_temp.follow();
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 102 WHERE tenant_id = :a AND id = :e2;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + CASE WHEN model_version = '1' THEN 2 ELSE 1 END WHERE tenant_id = :a AND event_id = :e2;
COMMIT;
CALL pg_temp.follow();
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version LIKE 'm%';
CALL pg_temp.follow(again => true);

--
-- Transactions
--
-- What is rolled back logs nothing, whole or to a savepoint; what is released stays.
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b;
UPDATE attribution.tenants SET name = 'rolled back' WHERE id = :b;
ROLLBACK;
BEGIN;
SAVEPOINT one;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b AND event_id = :e1;
ROLLBACK TO one;
SAVEPOINT two;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b AND event_id = :e2;
RELEASE two;
COMMIT;
TABLE pg_temp.waiting;
CALL pg_temp.follow();
-- A refresh sees what its transaction wrote, and again what it wrote after that; it is undone with it.
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b AND event_id = :e1;
CALL pg_temp.follow();
CALL pg_temp.follow();
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, '1', 'web', 100);
SAVEPOINT one;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, '2', 'web', 100);
CALL pg_temp.follow();
ROLLBACK TO one;
CALL pg_temp.follow();
ROLLBACK;
SELECT count(*) AS waiting FROM pg_temp.waiting;
CALL pg_temp.follow();
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b AND event_id = :e1;
CALL pg_temp.follow();
COMMIT;
CALL pg_temp.follow(again => true);

--
-- Ledger: differences, not keys
--
SELECT attribution.post_allocations(:a, '1'), attribution.post_allocations(:b, '1');
TABLE pg_temp.waiting_revenue;
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-03-05 00:00Z' WHERE tenant_id = :a AND revenue_cents = 102;
TABLE pg_temp.waiting_revenue;
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-03-05 00:00Z' WHERE tenant_id IN (:a, :b);
CALL pg_temp.follow();
SELECT right(tenant_id::text, 1) AS tenant, total_revenue, verified, total_revenue_cents, verified_revenue_cents, posting_count, verified_count
FROM attribution.mv_realtime_revenue WHERE tenant_id IN (:a, :b) ORDER BY 1;
UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL WHERE tenant_id = :b;
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
SELECT tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger WHERE tenant_id = :a AND conversion_id = :e1;
TABLE pg_temp.waiting_revenue;
CALL pg_temp.follow();
-- Written by the statement that refreshes, before its triggers have logged it: what is not logged yet would be counted twice.
WITH n AS (INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
           SELECT tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger WHERE tenant_id = :a AND conversion_id = :e2 RETURNING revenue_cents)
SELECT n.revenue_cents, l.mode, l.outcome, l.error FROM n, attribution.refresh('mv_realtime_revenue', 'full') AS l;
CALL pg_temp.follow();
-- What the log has while a transaction is refreshed twice, and rolled back.
BEGIN;
UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL WHERE tenant_id = :a;
CALL pg_temp.follow();
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-03-06 00:00Z' WHERE tenant_id = :a;
CALL pg_temp.follow();
ROLLBACK;
CALL pg_temp.follow();
-- Amounts at the ends of bigint: sums leave its range within a statement, and -2^63 has no negative.
BEGIN;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ledger_is_append_only;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER posting_matches_allocation;
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents, is_verified, verified_at)
SELECT tenant_id, conversion_id, id, CASE row_number() OVER (ORDER BY revenue_cents, id) % 2 WHEN 0 THEN -9223372036854775808 ELSE 9223372036854775807 END, true, '2024-03-07 00:00Z'
FROM attribution.revenue_ledger AS l WHERE tenant_id IN (:a, :b) AND NOT EXISTS (SELECT FROM attribution.revenue_ledger AS r WHERE r.tenant_id = l.tenant_id AND r.reverses_id = l.id);
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET revenue_cents = -9223372036854775808 WHERE verified_at = '2024-03-07 00:00Z';
SELECT count(*) >= 4 AS has_rows, sum(revenue_cents) FILTER (WHERE revenue_cents < 0) < -9223372036854775808::numeric * 3 AS beyond FROM attribution.revenue_ledger WHERE tenant_id IN (:a, :b);
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL WHERE revenue_cents = -9223372036854775808;
CALL pg_temp.follow();
UPDATE attribution.revenue_ledger SET revenue_cents = 9223372036854775807 WHERE revenue_cents = -9223372036854775808;
CALL pg_temp.follow();
DELETE FROM attribution.revenue_ledger WHERE revenue_cents = 9223372036854775807;
TABLE pg_temp.waiting_revenue;
CALL pg_temp.follow();
ROLLBACK;
CALL pg_temp.follow();
-- A ledger that is emptied row by row leaves a tenant without postings.
BEGIN;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ledger_is_append_only;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER posting_matches_allocation;
DELETE FROM attribution.revenue_ledger WHERE tenant_id = :b;
CALL pg_temp.follow();
SELECT total_revenue, verified, total_revenue_cents, verified_revenue_cents, posting_count, verified_count, last_updated_at FROM attribution.mv_realtime_revenue WHERE tenant_id = :b;
CALL pg_temp.follow();
ROLLBACK;

--
-- Tenants and currencies
--
INSERT INTO attribution.tenants (id, name, currency) VALUES ('ca974e00-0000-4000-8000-00000000000c', 'capture c', 'JPY'), ('ca974e00-0000-4000-8000-00000000000d', 'capture d', 'KWD');
CALL pg_temp.follow();
UPDATE attribution.tenants SET name = 'capture c, renamed' WHERE name = 'capture c';
CALL pg_temp.follow();
UPDATE attribution.tenants SET currency = 'CLF' WHERE name = 'capture d';
CALL pg_temp.follow();
SELECT total_revenue FROM attribution.mv_realtime_revenue WHERE tenant_id = 'ca974e00-0000-4000-8000-00000000000d';
UPDATE attribution.tenants SET id = 'ca974e00-0000-4000-8000-0000000000dd' WHERE name = 'capture d';
CALL pg_temp.follow();
DELETE FROM attribution.tenants WHERE name = 'capture d';
CALL pg_temp.follow();
-- Decimals are those of all tenants of a currency: a doubt.
BEGIN;
UPDATE attribution.currencies SET decimals = 3 WHERE code = 'USD';
TABLE pg_temp.doubts;
CALL pg_temp.follow();
SELECT total_revenue, total_revenue_cents FROM attribution.mv_realtime_revenue WHERE tenant_id = :a;
-- Doubted again, in the same transaction.
UPDATE attribution.currencies SET decimals = 4 WHERE code = 'USD';
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
SAVEPOINT one;
UPDATE attribution.currencies SET decimals = 1 WHERE code = 'USD';
ROLLBACK TO one;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
UPDATE attribution.currencies SET decimals = 2 WHERE code = 'USD';
COMMIT;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow(again => true);

--
-- Reconciliation runs
--
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at) VALUES
    (:a, 'ca974e00-0000-4000-8000-0000000000c1', 'completed', '2024-03-01 00:00Z'), (:a, 'ca974e00-0000-4000-8000-0000000000c2', 'failed', '2024-03-02 00:00Z'),
    (:b, 'ca974e00-0000-4000-8000-0000000000c3', 'idle', '2024-03-01 00:00Z');
SELECT right(tenant_id::text, 1) AS tenant, count(*) FROM attribution_internal.reconciliation_status_changes GROUP BY 1 ORDER BY 1;
CALL pg_temp.follow();
-- One that is not the latest; one as late, with a larger id; the latest becomes older; is gone; the last one is gone.
UPDATE attribution.reconciliation_runs SET state = 'failed' WHERE tenant_id = :a AND id = 'ca974e00-0000-4000-8000-0000000000c1';
CALL pg_temp.follow();
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at) VALUES (:a, 'ca974e00-0000-4000-8000-0000000000c4', 'running', '2024-03-02 00:00Z');
CALL pg_temp.follow();
UPDATE attribution.reconciliation_runs SET last_run_at = '2024-02-01 00:00Z' WHERE tenant_id = :a AND id = 'ca974e00-0000-4000-8000-0000000000c4';
CALL pg_temp.follow();
DELETE FROM attribution.reconciliation_runs WHERE tenant_id = :a AND id = 'ca974e00-0000-4000-8000-0000000000c2';
CALL pg_temp.follow();
DELETE FROM attribution.reconciliation_runs WHERE tenant_id = :b;
CALL pg_temp.follow();
SELECT right(tenant_id::text, 1) AS tenant, state, right(reconciliation_run_id::text, 2) AS run FROM attribution.mv_reconciliation_status WHERE tenant_id IN (:a, :b);

--
-- Larger statements than are held in memory at a time, some keys twice and far apart
--
-- As a replica: foreign keys are checked by plans that this session made while the tables were small.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO attribution.tenants (id, name) SELECT ('ca974e01-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'many' FROM generate_series(1, 65537) AS n;
UPDATE attribution.tenants SET name = 'many' WHERE name = 'many' AND id::text LIKE '%1';
INSERT INTO attribution.reconciliation_runs (tenant_id, last_run_at)
SELECT ('ca974e01-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, '2024-03-01 00:00Z' FROM generate_series(1, 65537) AS n, generate_series(1, CASE n WHEN 1 THEN 3 ELSE 1 END);
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT :a, ('ca974e02-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, m, c, 1
FROM unnest('{tv, web}'::text[]) AS c, unnest('{1, 2}'::text[]) AS m, generate_series(1, 33000) AS n WHERE c = 'tv' OR n % 1000 = 0;
SELECT count(DISTINCT (tenant_id, event_id, model_version)) AS keys, count(*) AS logged FROM attribution_internal.allocation_summary_changes;
SELECT count(DISTINCT tenant_id) AS keys, count(*) AS logged FROM attribution_internal.realtime_revenue_changes;
SELECT count(DISTINCT tenant_id) AS keys, count(*) AS logged FROM attribution_internal.reconciliation_status_changes;
ROLLBACK;
CALL pg_temp.follow();
-- More is logged than is worth looking at one by one: auto computes the whole, incremental mode does as told.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :a, ('ca974e02-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'conversion', '2024-03-01 12:00Z', 1 FROM generate_series(1, 12000) AS n;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT :a, id, '1', 'tv', 1 FROM attribution.attribution_events WHERE tenant_id = :a AND id::text LIKE 'ca974e02%';
SAVEPOINT one;
CALL pg_temp.follow('incremental');
ROLLBACK TO one;
CALL pg_temp.follow();
ROLLBACK;
CALL pg_temp.follow();
-- Empty logs in new files.
REFRESH MATERIALIZED VIEW attribution_internal.allocation_summary_changes;
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
REFRESH MATERIALIZED VIEW attribution_internal.reconciliation_status_changes;
VACUUM attribution.tenants, attribution.attribution_events, attribution.attribution_allocations, attribution.reconciliation_runs;
CALL attribution.refresh_all('full');
CALL pg_temp.follow(again => true);

--
-- Doubts: TRUNCATE, in transactions that are rolled back
--
CREATE PROCEDURE pg_temp.truncate(table_name text) LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ledger_is_never_truncated;
    ALTER TABLE attribution.ledger_books DISABLE TRIGGER ledger_is_never_truncated;
    SET LOCAL client_min_messages = warning;
    EXECUTE format('TRUNCATE attribution.%I CASCADE', table_name);
END $$;
BEGIN;
CALL pg_temp.truncate('reconciliation_runs');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
CALL pg_temp.truncate('revenue_ledger');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.truncate('attribution_allocations');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.truncate('attribution_events');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.truncate('tenants');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.truncate('currencies');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ROLLBACK;
TABLE pg_temp.doubts;
CALL pg_temp.follow(again => true);

--
-- Doubts: triggers that were not there all the time
--
ALTER TABLE attribution.reconciliation_runs DISABLE TRIGGER status_follows_insert;
TABLE pg_temp.doubts;
CALL attribution.refresh_all('incremental');
INSERT INTO attribution.reconciliation_runs (tenant_id, id, last_run_at) VALUES (:b, 'ca974e00-0000-4000-8000-0000000000c5', '2024-03-01 00:00Z');
CALL pg_temp.follow();
CALL pg_temp.follow();
INSERT INTO attribution.reconciliation_runs (tenant_id, id, last_run_at) VALUES (:b, 'ca974e00-0000-4000-8000-0000000000c6', '2024-03-02 00:00Z');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_insert;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
CALL pg_temp.follow();
-- Disabled and enabled within a transaction.
BEGIN;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER revenue_follows_update;
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-03-08 00:00Z' WHERE tenant_id IN (:a, :b);
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_update;
COMMIT;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- All of a table; enabled as by pg_dump --disable-triggers, not as they were; then as they were.
ALTER TABLE attribution.tenants DISABLE TRIGGER USER;
ALTER TABLE attribution.tenants ENABLE TRIGGER USER;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
SET session_replication_role = replica;
INSERT INTO attribution.tenants (id, name) VALUES ('ca974e00-0000-4000-8000-00000000000f', 'capture f');
RESET session_replication_role;
CALL pg_temp.follow();
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER tenant_currency_is_fixed, ENABLE ALWAYS TRIGGER revenue_follows_insert, ENABLE ALWAYS TRIGGER revenue_follows_update,
    ENABLE ALWAYS TRIGGER revenue_follows_delete, ENABLE ALWAYS TRIGGER revenue_follows_truncate;
-- The one for logical replication is still enabled everywhere, where no such row comes in.
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ALTER TABLE attribution.tenants ENABLE REPLICA TRIGGER revenue_follows_replication;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- Dropped, and made anew.
DROP TRIGGER summary_follows_delete ON attribution.attribution_events;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
CREATE TRIGGER summary_follows_delete AFTER DELETE ON attribution.attribution_events
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
TABLE pg_temp.doubts;
CALL pg_temp.follow();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_delete;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- A trigger of the user's own changes nothing.
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER of_the_user AFTER INSERT ON attribution.tenants REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.nothing();
TABLE pg_temp.doubts;
DROP TRIGGER of_the_user ON attribution.tenants;

--
-- As a replica
--
-- Statement triggers are enabled always: what a session writes as a replica is logged as ever.
SET session_replication_role = replica;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e3, 'conversion', '2024-03-01 12:00Z', 100), (:a, :e4, 'conversion', '2024-03-01 12:00Z', 100);
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e3, '1', 'tv', 100), (:a, :e3, '2', 'tv', 100), (:a, :e4, '1', 'tv', 100);
UPDATE attribution.tenants SET name = 'capture c, again' WHERE name LIKE 'capture c%';
RESET session_replication_role;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
-- An event that leaves its allocations behind is logged; that it comes again would not be, so the view is in doubt meanwhile.
SET session_replication_role = replica;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e3;
RESET session_replication_role;
TABLE pg_temp.waiting;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e3, 'conversion', '2024-03-01 12:00Z', 100);
CALL pg_temp.follow();
TABLE pg_temp.doubts;
CALL pg_temp.follow();
-- Gone and back between two refreshes.
SET session_replication_role = replica;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e3;
RESET session_replication_role;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e3, 'conversion', '2024-03-01 12:00Z', 100);
CALL pg_temp.follow();
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id IN (:e3, :e4);
CALL pg_temp.follow();
-- Of a role that owns nothing and may do little else, too.
CREATE ROLE regress_attribution_replica;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_replica;
GRANT SELECT, INSERT, UPDATE (allocated_revenue_cents), DELETE ON attribution.attribution_allocations TO regress_attribution_replica;
GRANT INSERT ON attribution.attribution_events, attribution.tenants, attribution.revenue_ledger, attribution.reconciliation_runs, attribution.currencies TO regress_attribution_replica;
GRANT SET ON PARAMETER session_replication_role TO regress_attribution_replica;
SET ROLE regress_attribution_replica;
SET session_replication_role = replica;
SET attribution.tenant_id = 'ca974e00-0000-4000-8000-00000000000a';
BEGIN;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e4, 'conversion', '2024-03-01 12:00Z', 100);
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e4, '1', 'tv', 90), (:a, :e4, '1', 'web', 10);
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 50 WHERE event_id = :e4;
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at) VALUES (:a, 'completed', '2024-03-05 00:00Z');
INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 2);
COMMIT;
\set VERBOSITY sqlstate
SELECT count(*) FROM attribution_internal.allocation_summary_changes;
SELECT attribution.refresh('mv_allocation_summary');
SELECT attribution_internal.refresh_doubt('mv_allocation_summary');
SELECT attribution.prune_refresh_log();
\set VERBOSITY default
RESET attribution.tenant_id;
RESET session_replication_role;
RESET ROLE;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
DELETE FROM attribution.currencies WHERE code = 'XTS';
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e4;
DROP OWNED BY regress_attribution_replica;
DROP ROLE regress_attribution_replica;
CALL pg_temp.follow(again => true);

--
-- REFRESH by hand
--
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
REFRESH MATERIALIZED VIEW CONCURRENTLY attribution.mv_allocation_summary;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
REFRESH MATERIALIZED VIEW attribution.mv_reconciliation_status WITH NO DATA;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- Wherever it stands, under whatever path.
DO $$ BEGIN REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue; END $$;
CREATE FUNCTION pg_temp.by_hand() RETURNS void LANGUAGE sql AS 'REFRESH MATERIALIZED VIEW CONCURRENTLY attribution.mv_allocation_summary';
SELECT pg_temp.by_hand();
SET search_path = attribution;
SET session_replication_role = replica;
REFRESH MATERIALIZED VIEW mv_reconciliation_status;
RESET session_replication_role;
RESET search_path;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- Rolled back, it was not run; nor on a view of somebody else.
BEGIN;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
ROLLBACK;
BEGIN;
SAVEPOINT one;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
ROLLBACK TO one;
COMMIT;
CREATE SCHEMA regress_capture;
CREATE MATERIALIZED VIEW regress_capture.mv_realtime_revenue AS SELECT 1 AS a;
REFRESH MATERIALIZED VIEW regress_capture.mv_realtime_revenue;
TABLE pg_temp.doubts;
DROP MATERIALIZED VIEW regress_capture.mv_realtime_revenue;
DROP SCHEMA regress_capture;
CALL pg_temp.follow();
-- Between two refreshes of one transaction.
BEGIN;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
CALL pg_temp.follow();
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
COMMIT;
CALL pg_temp.follow();
-- Of a log: what waited is lost.
UPDATE attribution.tenants SET currency = 'KWD' WHERE name LIKE 'capture c%';
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e4, '1', 'tv', 102);
REFRESH MATERIALIZED VIEW attribution_internal.allocation_summary_changes;
UPDATE attribution.reconciliation_runs SET state = 'completed' WHERE tenant_id = :b;
REFRESH MATERIALIZED VIEW attribution_internal.reconciliation_status_changes;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- Of the state, and of the doubts.
REFRESH MATERIALIZED VIEW attribution_internal.refresh_state;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
UPDATE attribution.currencies SET decimals = decimals WHERE code = 'USD';
REFRESH MATERIALIZED VIEW attribution_internal.refresh_doubts;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- No statement of SQL writes them.
CALL pg_temp.attempt('DELETE FROM attribution_internal.allocation_summary_changes');
CALL pg_temp.attempt('INSERT INTO attribution_internal.realtime_revenue_changes DEFAULT VALUES');
CALL pg_temp.attempt('UPDATE attribution_internal.refresh_state SET doubt = NULL');
CALL pg_temp.attempt('TRUNCATE attribution_internal.refresh_doubts');
CALL pg_temp.attempt('COPY attribution_internal.reconciliation_status_changes FROM STDIN');
CALL pg_temp.attempt('SELECT 1 FROM attribution_internal.refresh_state FOR UPDATE');

--
-- How much is logged
--
-- Of a view that was never refreshed about 1 MB, since nobody may ever come for it.
INSERT INTO attribution.tenants (id, name) SELECT ('ca974e03-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'more' FROM generate_series(1, 1000) AS n;
REFRESH MATERIALIZED VIEW attribution_internal.refresh_state;
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
DO $$ BEGIN FOR i IN 1..16 LOOP UPDATE attribution.tenants SET name = 'more' WHERE name = 'more'; END LOOP; END $$;
SELECT pg_relation_size('attribution_internal.realtime_revenue_changes') BETWEEN 1000000 AND 1300000 AS about_1_mb;
CALL pg_temp.follow();
-- What is known is logged whatever its size is, up to attribution.change_log_limit.
DO $$ BEGIN FOR i IN 1..16 LOOP UPDATE attribution.tenants SET name = 'more' WHERE name = 'more'; END LOOP; END $$;
SELECT count(*) AS waiting FROM attribution_internal.realtime_revenue_changes;
CALL pg_temp.follow();
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
CALL pg_temp.follow();
SET attribution.change_log_limit = '1MB';
BEGIN;
DO $$ BEGIN FOR i IN 1..16 LOOP UPDATE attribution.tenants SET name = 'more' WHERE name = 'more'; END LOOP; END $$;
SELECT count(*) BETWEEN 13000 AND 16000 AS about_1_mb FROM attribution_internal.realtime_revenue_changes;
SELECT view_name, doubt FROM pg_temp.doubts;
COMMIT;
SELECT count(*) AS doubts FROM attribution_internal.refresh_doubts;
-- What comes now is not logged, and not lost.
UPDATE attribution.tenants SET currency = 'JPY' WHERE name = 'more';
SELECT count(*) BETWEEN 13000 AND 16000 AS about_1_mb FROM attribution_internal.realtime_revenue_changes;
CALL pg_temp.follow();
TABLE pg_temp.doubts;
SELECT count(*) AS waiting FROM attribution_internal.realtime_revenue_changes;
RESET attribution.change_log_limit;
CALL pg_temp.follow();
DELETE FROM attribution.tenants WHERE name = 'more';
CALL pg_temp.follow();
REFRESH MATERIALIZED VIEW attribution_internal.realtime_revenue_changes;
VACUUM attribution.tenants;
CALL pg_temp.follow(again => true);

--
-- A few hundred transactions of whatever there is, from a fixed sequence
--
CREATE SEQUENCE pg_temp.drawn;
-- 0 to sides - 1.
CREATE FUNCTION pg_temp.die(sides integer) RETURNS integer LANGUAGE sql VOLATILE AS
$$ SELECT ('x' || left(md5('capture' || nextval('pg_temp.drawn')), 7))::bit(28)::integer % sides $$;
CREATE FUNCTION pg_temp.id_of(kind text, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('ca974e0' || kind || '-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.one_change() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t uuid := pg_temp.id_of('a', pg_temp.die(4));
    e uuid := pg_temp.id_of('b', pg_temp.die(12));
    m text := 'm' || pg_temp.die(3);
    n integer := pg_temp.die(1000) + 1;
    kind integer := pg_temp.die(24);
    r record;
BEGIN
    CASE
    WHEN kind <= 3 THEN -- an event, and its allocations
        INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (t, e, 'conversion', '2024-03-01 12:00Z', n) ON CONFLICT DO NOTHING;
        DELETE FROM attribution.attribution_allocations WHERE tenant_id = t AND event_id = e AND model_version = m;
        INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
        SELECT t, e, m, c.channel, c.cents FROM attribution.attribution_events AS v, LATERAL (VALUES ('tv', v.revenue_cents / 3), ('web', v.revenue_cents - v.revenue_cents / 3)) AS c (channel, cents)
        WHERE v.tenant_id = t AND v.id = e;
    WHEN kind <= 5 THEN -- its revenue
        UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + n WHERE tenant_id = t AND event_id = e AND channel = 'tv';
        UPDATE attribution.attribution_events SET revenue_cents = revenue_cents + n WHERE tenant_id = t AND id = e;
    WHEN kind = 6 THEN
        DELETE FROM attribution.attribution_allocations WHERE tenant_id = t AND event_id = e AND model_version = m;
    WHEN kind = 7 THEN
        DELETE FROM attribution.attribution_events WHERE tenant_id = t AND id = e;
    WHEN kind = 8 THEN
        UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + CASE channel WHEN 'tv' THEN 1 ELSE -1 END WHERE tenant_id = t AND event_id = e;
    WHEN kind <= 10 THEN
        PERFORM attribution.post_allocations(t, m);
    WHEN kind <= 12 THEN
        UPDATE attribution.revenue_ledger SET is_verified = NOT is_verified, verified_at = CASE WHEN NOT is_verified THEN '2024-03-05 00:00Z'::timestamptz END
        WHERE tenant_id = t AND (n % 3 = 0 OR conversion_id = e);
    WHEN kind = 13 THEN
        INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
        SELECT l.tenant_id, l.conversion_id, l.id, -l.revenue_cents FROM attribution.revenue_ledger AS l
        WHERE l.tenant_id = t AND l.conversion_id = e AND l.reverses_id IS NULL AND NOT EXISTS (SELECT FROM attribution.revenue_ledger AS x WHERE x.tenant_id = t AND x.reverses_id = l.id);
    WHEN kind = 14 THEN -- one without anything
        INSERT INTO attribution.tenants (id, name, currency) VALUES (pg_temp.id_of('c', n % 5), 'random', 'JPY') ON CONFLICT (id) DO UPDATE SET currency = CASE tenants.currency WHEN 'JPY' THEN 'KWD' ELSE 'JPY' END;
    WHEN kind = 15 THEN
        DELETE FROM attribution.tenants WHERE id = pg_temp.id_of('c', n % 5);
    WHEN kind <= 18 THEN
        INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at) VALUES (t, pg_temp.id_of('d', n % 10), 'idle', '2024-03-01 00:00Z'::timestamptz + n % 7 * interval '1 hour')
        ON CONFLICT (tenant_id, id) DO UPDATE SET last_run_at = excluded.last_run_at, state = 'completed';
    WHEN kind = 19 THEN
        DELETE FROM attribution.reconciliation_runs WHERE tenant_id = t AND id = pg_temp.id_of('d', n % 10);
    WHEN kind = 20 AND n % 3 = 0 THEN
        UPDATE attribution.currencies SET decimals = n % 5 WHERE code = 'USD';
    WHEN kind = 20 AND n % 3 = 1 THEN
        REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
    WHEN kind = 20 THEN
        ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER summary_follows_insert;
        ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_insert;
    WHEN kind = 21 AND n % 4 = 0 THEN -- its allocations stay
        PERFORM set_config('session_replication_role', 'replica', true);
        DELETE FROM attribution.attribution_events AS v WHERE v.tenant_id = t AND v.id = e
        AND NOT EXISTS (SELECT FROM attribution.ledger_books AS b WHERE b.tenant_id = t AND b.conversion_id = e);
        PERFORM set_config('session_replication_role', 'origin', true);
    ELSE
        FOR r IN SELECT x.outcome FROM unnest('{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[]) AS v, attribution.refresh(v) AS x LOOP
            IF r.outcome <> 'refreshed' THEN
                RAISE EXCEPTION 'refresh %', r.outcome;
            END IF;
        END LOOP;
    END CASE;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    IF pg_temp.die(5) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    END IF;
    RETURN 'done';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN
        RETURN 'rolled back';
    WHEN integrity_constraint_violation OR invalid_parameter_value OR SQLSTATE '55006' THEN
        RETURN 'refused ' || SQLSTATE;
END $$;
CREATE TEMP TABLE random_change (batch integer, outcome text);
CREATE TEMP TABLE random_refresh (batch integer, view_name text, mode text, outcome text, differences bigint);
CREATE PROCEDURE pg_temp.random_batches(batches integer) LANGUAGE plpgsql AS $$
DECLARE
    done text;
    batch_of_loop integer;
BEGIN
    FOR batch_of_loop IN 1..batches LOOP
        FOR i IN 0..pg_temp.die(8) LOOP
            done := pg_temp.one_change();
            INSERT INTO random_change VALUES (batch_of_loop, done);
        END LOOP;
        IF pg_temp.die(6) = 0 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
        IF pg_temp.die(3) > 0 THEN
            INSERT INTO random_refresh
            SELECT batch_of_loop, v, x.mode, x.outcome FROM unnest('{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[]) AS v, attribution.refresh(v) AS x;
            UPDATE random_refresh AS r SET differences = pg_temp.differences(r.view_name) WHERE r.batch = batch_of_loop;
            COMMIT;
        END IF;
    END LOOP;
END $$;
INSERT INTO attribution.tenants (id, name) SELECT pg_temp.id_of('a', n), 'random' FROM generate_series(0, 3) AS n;
INSERT INTO attribution.attribution_models (tenant_id, model_version, method) SELECT pg_temp.id_of('a', n), 'm' || m, 'custom' FROM generate_series(0, 3) AS n, generate_series(0, 2) AS m;
CALL pg_temp.random_batches(200);
SELECT count(*) AS refreshes, count(*) FILTER (WHERE differences <> 0) AS wrong, count(*) FILTER (WHERE outcome <> 'refreshed') AS failed FROM random_refresh;
SELECT view_name, mode, count(*) FROM random_refresh GROUP BY view_name, mode ORDER BY view_name, mode;
SELECT outcome, count(*) FROM random_change GROUP BY outcome ORDER BY outcome;
SELECT batch, view_name, mode, differences FROM random_refresh WHERE differences <> 0 ORDER BY batch, view_name;
DELETE FROM attribution.attribution_allocations AS a
WHERE NOT EXISTS (SELECT FROM attribution.attribution_events AS e WHERE e.tenant_id = a.tenant_id AND e.id = a.event_id);
UPDATE attribution.currencies SET decimals = 2 WHERE code = 'USD';
CALL pg_temp.follow();
CALL pg_temp.follow(again => true);

--
-- An operator
--
CREATE ROLE regress_attribution_operator;
SELECT attribution.grant_access('regress_attribution_operator', 'operator');
UPDATE attribution.currencies SET decimals = decimals WHERE code = 'USD';
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b AND event_id = :e4;
SELECT view_name, attribution_internal.refresh_doubt(view_name) IS NOT DISTINCT FROM doubt AS same FROM attribution.refresh_status ORDER BY view_name;
SELECT attribution_internal.refresh_doubt('attribution.mv_realtime_revenue');
SET ROLE regress_attribution_operator;
SELECT view_name, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;
CALL attribution.refresh_all();
SELECT view_name, mode, rows_changed, outcome, pending_changes, doubt FROM attribution.refresh_status ORDER BY view_name;
SELECT attribution.prune_refresh_log() AS older_than_30_days;
SELECT attribution.prune_refresh_log(NULL) AS older_than_unknown;
SELECT attribution.prune_refresh_log('-1 day') > 0 AS all_of_it;
SELECT count(*) AS left FROM attribution.refresh_log;
SELECT view_name, mode, outcome, refreshed_at IS NOT NULL AS is_refreshed, staleness_seconds BETWEEN 0 AND 60 AS is_fresh FROM attribution.refresh_status ORDER BY view_name;
\set VERBOSITY sqlstate
TABLE attribution_internal.allocation_summary_changes;
TABLE attribution_internal.refresh_state;
TABLE attribution_internal.refresh_doubts;
TABLE attribution_internal.refresh_log;
SELECT attribution_internal.refresh_doubt('mv_realtime_revenue');
SET attribution.change_log_limit = '1MB';
\set VERBOSITY default
RESET ROLE;
DROP OWNED BY regress_attribution_operator;
DROP ROLE regress_attribution_operator;
CALL pg_temp.follow();

--
-- Doubts: what a trigger row does not show at once
--
-- Disabled and enabled again, twice, in one transaction with a refresh between: the row that the refresh saw is another.
BEGIN;
ALTER TABLE attribution.reconciliation_runs DISABLE TRIGGER status_follows_insert;
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_insert;
CALL pg_temp.follow();
ALTER TABLE attribution.reconciliation_runs DISABLE TRIGGER status_follows_insert;
INSERT INTO attribution.reconciliation_runs (tenant_id, id, last_run_at) VALUES (:b, 'ca974e00-0000-4000-8000-0000000000f1', '2024-04-01 00:00Z');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_insert;
COMMIT;
TABLE pg_temp.doubts;
CALL pg_temp.follow(again => true);
-- The event trigger, which notices a REFRESH by hand.
ALTER EVENT TRIGGER attribution_notices_refresh DISABLE;
TABLE pg_temp.doubts;
REFRESH MATERIALIZED VIEW CONCURRENTLY attribution.mv_reconciliation_status;
ALTER EVENT TRIGGER attribution_notices_refresh ENABLE;
TABLE pg_temp.doubts;
ALTER EVENT TRIGGER attribution_notices_refresh ENABLE ALWAYS;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
-- A trigger that is made anew otherwise captures less than the one that was installed: with a condition, without the old
-- rows, for some columns; or more, when there is another one like it.
CREATE PROCEDURE pg_temp.replace_trigger(definition text) LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER status_follows_update ON attribution.reconciliation_runs;
    EXECUTE format(definition, 'CREATE TRIGGER status_follows_update AFTER UPDATE', 'ON attribution.reconciliation_runs',
                   'EXECUTE FUNCTION attribution_internal.capture_status_change(''mv_reconciliation_status'')');
    ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_update;
END $$;
BEGIN;
CALL pg_temp.replace_trigger('%s %s REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT WHEN (false) %s');
CALL pg_temp.follow();
UPDATE attribution.reconciliation_runs SET state = 'failed' WHERE tenant_id = :a;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.replace_trigger('%s %s REFERENCING NEW TABLE AS n FOR EACH STATEMENT %s');
CALL pg_temp.follow();
CALL pg_temp.follow();
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
ROLLBACK;
BEGIN;
CALL pg_temp.replace_trigger('%s OF id %s FOR EACH ROW %s');
CALL pg_temp.follow();
UPDATE attribution.reconciliation_runs SET state = 'failed' WHERE tenant_id = :a;
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CREATE TRIGGER status_follows_again AFTER UPDATE ON attribution.reconciliation_runs REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_status_change('mv_reconciliation_status');
TABLE pg_temp.doubts;
ROLLBACK;
-- What it has for arguments besides the view makes no difference.
BEGIN;
CREATE TRIGGER revenue_follows_again AFTER INSERT ON attribution.revenue_ledger REFERENCING NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue', 'again');
TABLE pg_temp.doubts;
ROLLBACK;
-- Where a condition is required, it is that one, however the session writes names.
BEGIN;
SET LOCAL quote_all_identifiers = on;
TABLE pg_temp.doubts;
DROP TRIGGER summary_follows_update ON attribution.attribution_events;
CREATE TRIGGER summary_follows_update AFTER UPDATE ON attribution.attribution_events FOR EACH ROW
    WHEN (OLD.revenue_cents < NEW.revenue_cents) EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_update;
SELECT mode FROM attribution.refresh('mv_allocation_summary');
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
DROP TRIGGER status_follows_replication ON attribution.reconciliation_runs;
CREATE TRIGGER status_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.reconciliation_runs
    FOR EACH ROW WHEN (NOT attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE REPLICA TRIGGER status_follows_replication;
SELECT mode FROM attribution.refresh('mv_reconciliation_status');
TABLE pg_temp.doubts;
ROLLBACK;
-- An event trigger for other commands notices no REFRESH.
BEGIN;
ALTER EXTENSION attribution DROP EVENT TRIGGER attribution_notices_refresh;
DROP EVENT TRIGGER attribution_notices_refresh;
CREATE EVENT TRIGGER attribution_notices_refresh ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION attribution_internal.notice_refresh();
ALTER EVENT TRIGGER attribution_notices_refresh ENABLE ALWAYS;
SELECT mode FROM attribution.refresh('mv_reconciliation_status');
TABLE pg_temp.doubts;
ROLLBACK;
-- A function that was replaced captures nothing, whatever its triggers are. Put back, it did not for a while.
CREATE PROCEDURE pg_temp.replace_function(name text, result text, body text, language text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION attribution_internal.%I() RETURNS %s LANGUAGE %s AS %L', name, result, language, body);
END $$;
CREATE TEMP TABLE definition AS
SELECT p.proname, pg_get_functiondef(p.oid) AS definition FROM pg_proc AS p
WHERE p.pronamespace = 'attribution_internal'::regnamespace
  AND p.proname IN ('capture_summary_change', 'capture_revenue_change', 'capture_status_change', 'doubt_view', 'is_replicated_row', 'notice_refresh');
CREATE PROCEDURE pg_temp.restore_functions() LANGUAGE plpgsql AS $$
DECLARE
    d record;
BEGIN
    FOR d IN SELECT * FROM definition ORDER BY proname LOOP
        EXECUTE d.definition;
    END LOOP;
END $$;
BEGIN;
CALL pg_temp.replace_function('capture_status_change', 'trigger', 'BEGIN RETURN NULL; END', 'plpgsql');
UPDATE attribution.reconciliation_runs SET state = 'failed' WHERE tenant_id = :a;
TABLE pg_temp.doubts;
CALL pg_temp.follow();
UPDATE attribution.reconciliation_runs SET state = 'completed' WHERE tenant_id = :a;
CALL pg_temp.follow();
CALL pg_temp.restore_functions();
TABLE pg_temp.doubts;
CALL pg_temp.follow();
CALL pg_temp.follow();
ROLLBACK;
BEGIN;
CALL pg_temp.replace_function('capture_summary_change', 'trigger', 'BEGIN RETURN NULL; END', 'plpgsql');
CALL pg_temp.replace_function('capture_revenue_change', 'trigger', 'BEGIN RETURN NULL; END', 'plpgsql');
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
CALL pg_temp.replace_function('doubt_view', 'trigger', 'BEGIN RETURN NULL; END', 'plpgsql');
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
CALL pg_temp.replace_function('is_replicated_row', 'boolean', 'SELECT false', 'sql');
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
CALL pg_temp.replace_function('notice_refresh', 'event_trigger', 'BEGIN END', 'plpgsql');
TABLE pg_temp.doubts;
ROLLBACK;
BEGIN;
ALTER FUNCTION attribution_internal.doubt_view() SET search_path = public;
TABLE pg_temp.doubts;
ROLLBACK;
-- With the same definition, it was still another one for a moment, as far as anybody knows.
BEGIN;
CALL pg_temp.restore_functions();
TABLE pg_temp.doubts;
ROLLBACK;
CALL pg_temp.follow();
-- After a REFRESH by hand nobody knows how old the contents are.
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
SELECT view_name, refreshed_at IS NULL AS unknown FROM attribution.refresh_status WHERE doubt IS NOT NULL;
CALL pg_temp.follow();
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
-- Nor after a REFRESH by hand of a view that was in doubt already.
UPDATE attribution.currencies SET decimals = decimals WHERE code = 'USD';
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
BEGIN;
UPDATE attribution.currencies SET decimals = decimals WHERE code = 'USD';
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
COMMIT;
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
SELECT view_name, refreshed_at IS NULL AS unknown, doubt FROM attribution.refresh_status WHERE doubt IS NOT NULL;
-- Again and again, that is said once.
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
SELECT view_name, kind, reason FROM attribution_internal.refresh_doubts ORDER BY raised_at;
CALL pg_temp.follow();
SELECT data_freshness_seconds IS NOT NULL AS has_age, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
-- A table that inherits has rows that nothing follows.
CREATE TABLE public.more_runs () INHERITS (attribution.reconciliation_runs);
INSERT INTO public.more_runs (tenant_id, id, last_run_at) VALUES (:b, 'ca974e00-0000-4000-8000-0000000000f2', '2024-05-01 00:00Z');
CALL pg_temp.follow();
DROP TABLE public.more_runs;
CALL pg_temp.follow();
VACUUM attribution.reconciliation_runs;
ANALYZE attribution.reconciliation_runs;
CALL pg_temp.follow(again => true);
-- Nothing would keep an index on a log in step.
BEGIN;
CREATE INDEX ON attribution_internal.reconciliation_status_changes (tenant_id);
CALL pg_temp.attempt($$UPDATE attribution.reconciliation_runs SET state = state$$);
ROLLBACK;
-- Code in an index on the state runs with the rights of the state's owner, not of who installed the extension.
CREATE ROLE regress_attribution_state_owner;
BEGIN;
ALTER MATERIALIZED VIEW attribution_internal.refresh_state OWNER TO regress_attribution_state_owner;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_state_owner;
CREATE FUNCTION public.who(value timestamptz) RETURNS timestamptz IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'index function runs as %', current_user; RETURN value; END $$;
CREATE INDEX ON attribution_internal.refresh_state (public.who(refreshed_at));
SELECT (attribution.refresh('mv_reconciliation_status')).outcome;
ROLLBACK;
DROP ROLE regress_attribution_state_owner;
CALL pg_temp.follow();

--
-- Columns that were altered: an error that names the column, in a session that has read them before
--
BEGIN;
ALTER TABLE attribution.reconciliation_runs RENAME COLUMN tenant_id TO tenant;
ALTER TABLE attribution.reconciliation_runs ADD COLUMN tenant_id text DEFAULT 'x';
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
ROLLBACK;
BEGIN;
ALTER TABLE attribution.reconciliation_runs RENAME COLUMN tenant_id TO tenant;
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
ALTER TABLE attribution.reconciliation_runs ADD COLUMN tenant_id uuid;
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
ROLLBACK;
BEGIN;
ALTER TABLE attribution.revenue_ledger RENAME COLUMN revenue_cents TO cents;
ALTER TABLE attribution.revenue_ledger ADD COLUMN revenue_cents numeric DEFAULT 1;
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER USER, ENABLE ALWAYS TRIGGER revenue_follows_update;
CALL pg_temp.attempt('UPDATE attribution.revenue_ledger SET is_verified = is_verified');
ROLLBACK;
BEGIN;
ALTER TABLE attribution.revenue_ledger RENAME COLUMN is_verified TO verified;
ALTER TABLE attribution.revenue_ledger ADD COLUMN is_verified text DEFAULT 'true';
ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER USER, ENABLE ALWAYS TRIGGER revenue_follows_update;
CALL pg_temp.attempt('UPDATE attribution.revenue_ledger SET verified = verified');
ROLLBACK;
BEGIN;
ALTER TABLE attribution.tenants RENAME COLUMN id TO tenant;
ALTER TABLE attribution.tenants ADD COLUMN id bigint DEFAULT 1;
CALL pg_temp.attempt('UPDATE attribution.tenants SET name = name');
ROLLBACK;
BEGIN;
ALTER TABLE attribution.attribution_allocations RENAME COLUMN model_version TO model;
ALTER TABLE attribution.attribution_allocations ADD COLUMN model_version integer DEFAULT 1;
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER USER, ENABLE ALWAYS TRIGGER summary_follows_update;
CALL pg_temp.attempt('UPDATE attribution.attribution_allocations SET weight = weight');
ROLLBACK;
-- A type of the same bytes is none other.
BEGIN;
CREATE DOMAIN public.tenant_key AS uuid;
ALTER TABLE attribution.reconciliation_runs RENAME COLUMN tenant_id TO tenant;
ALTER TABLE attribution.reconciliation_runs ADD COLUMN tenant_id public.tenant_key DEFAULT 'ca974e00-0000-4000-8000-00000000000a';
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
ROLLBACK;
-- The logs, the states and the doubts are read and written by number.
BEGIN;
ALTER MATERIALIZED VIEW attribution_internal.reconciliation_status_changes RENAME TO former;
CREATE MATERIALIZED VIEW attribution_internal.reconciliation_status_changes AS SELECT 1 AS tenant_id WHERE false;
CALL pg_temp.attempt('UPDATE attribution.reconciliation_runs SET state = state');
SELECT outcome, error FROM attribution.refresh('mv_reconciliation_status');
ROLLBACK;
BEGIN;
ALTER MATERIALIZED VIEW attribution_internal.refresh_state RENAME TO former;
CREATE MATERIALIZED VIEW attribution_internal.refresh_state AS SELECT 1 AS view_name, 2 AS refreshed_at, 3 AS captured_by, 4 AS doubt;
SELECT outcome, error FROM attribution.refresh('mv_reconciliation_status');
CALL pg_temp.attempt($$SELECT attribution_internal.refresh_doubt('mv_reconciliation_status')$$);
ROLLBACK;
BEGIN;
ALTER MATERIALIZED VIEW attribution_internal.refresh_doubts RENAME TO former;
CREATE MATERIALIZED VIEW attribution_internal.refresh_doubts AS SELECT 1 AS view_name, 2 AS kind, 3 AS reason, 4 AS raised_at;
CALL pg_temp.attempt($$UPDATE attribution.currencies SET decimals = decimals WHERE code = 'USD'$$);
SELECT outcome, error FROM attribution.refresh('mv_reconciliation_status');
ROLLBACK;
CALL pg_temp.follow(again => true);

--
-- An extension that is dropped and created again in the same session has tables and functions of its own
--
BEGIN;
SET LOCAL client_min_messages = error;
SET LOCAL attribution.allow_drop_with_rows = on;
DROP EXTENSION attribution CASCADE;
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
RESET client_min_messages;
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'capture a');
SELECT v, (attribution.refresh(v)).mode, attribution_internal.refresh_doubt(v) FROM unnest('{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[]) AS v;
UPDATE attribution.tenants SET currency = 'JPY' WHERE id = :a;
SELECT v, l.mode, l.rows_changed FROM unnest('{mv_allocation_summary, mv_realtime_revenue, mv_reconciliation_status}'::text[]) AS v, attribution.refresh(v) AS l;
SELECT total_revenue, as_of IS NOT NULL AS has_time FROM attribution.realtime_revenue(:a);
ROLLBACK;
