-- reconcile: settlements beside the ledger, in steps and all in one.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET intervalstyle = 'postgres';

\set a '''4ec04c11-0000-4000-8000-00000000000a'''
\set b '''4ec04c11-0000-4000-8000-00000000000b'''
CREATE FUNCTION pg_temp.e(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN ('4ec04c11-0000-4000-8000-0000000000' || lpad(n::text, 2, '0'))::uuid;
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'reconcile a'), (:b, 'reconcile b');
-- Both tenants have the same events. Nr. 3 has the key of Stripe; 7 has none; what is 10 for one is a touch; 12 has as
-- correlation id what is the external id of 11.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, external_event_id, correlation_id, channel, refund_of, revenue_cents)
SELECT t.id, pg_temp.e(v.n), v.type, '2024-03-01 12:00Z'::timestamptz + v.n * interval '1 day', v.key, v.correlation, v.channel, pg_temp.e(v.refund_of), v.cents
FROM attribution.tenants AS t, (VALUES
    (1, 'conversion', 'shop:order:1', 'pi_1', NULL, NULL, 100),
    (2, 'conversion', 'shop:order:2', NULL, NULL, NULL, 100),
    (22, 'refund', 'shop:refund:2', NULL, NULL, 2, -30),
    (3, 'conversion', NULL, 'pi_3', NULL, NULL, 50),
    (23, 'refund', 'stripe:refund:re_3', 'pi_3', NULL, 3, -10),
    (4, 'conversion', 'shop:order:4', NULL, NULL, NULL, 80),
    (5, 'conversion', 'shop:order:5', NULL, NULL, NULL, 60),
    (6, 'conversion', 'shop:order:6', NULL, NULL, NULL, 10),
    (7, 'conversion', NULL, NULL, NULL, NULL, 20),
    (8, 'conversion', 'shop:order:8', NULL, NULL, NULL, 40),
    (28, 'refund', 'shop:refund:8', NULL, NULL, 8, -40),
    (9, 'conversion', 'shop:order:9', NULL, NULL, NULL, 30),
    (10, 'touch', 'web:visit:10', NULL, 'tv', NULL, 0),
    (11, 'conversion', 'pi_11', NULL, NULL, NULL, 11),
    (12, 'conversion', NULL, 'pi_11', NULL, NULL, 12)) AS v (n, type, key, correlation, channel, refund_of, cents)
WHERE t.id IN (:a, :b);
SELECT count(*) AS allocated FROM attribution.attribution_events AS e,
    attribution.allocate_event(e.tenant_id, e.id, '1', '{email, tv}', '{2, 1}')
WHERE e.tenant_id IN (:a, :b) AND e.event_type = 'conversion' AND e.id <> pg_temp.e(6);
SELECT attribution.post_allocations(:a, '1'), attribution.post_allocations(:b, '1');
-- Nr. 9 is taken back in the ledger.
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
SELECT tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger WHERE tenant_id = :a AND conversion_id = pg_temp.e(9);
-- One more row: what the ledger of a tenant looks like.
CREATE FUNCTION pg_temp.ledger(tenant uuid) RETURNS TABLE (conversion text, entries bigint, net numeric, verified bigint, by_run boolean) LANGUAGE sql AS $$
    SELECT right(l.conversion_id::text, 2), count(*), sum(l.revenue_cents), count(*) FILTER (WHERE l.is_verified),
           bool_or(l.reconciliation_run_id IS NOT NULL)
    FROM attribution.revenue_ledger AS l WHERE l.tenant_id = tenant GROUP BY l.conversion_id ORDER BY 1
$$;

--
-- In steps
--
SELECT state, error_message, run_metadata, occurred_from, occurred_to, backend_pid = pg_backend_pid() AS of_this_session,
       backend_start = (SELECT a.backend_start FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid()) AS of_this_process, id AS run
FROM attribution.start_reconciliation(:a) \gset run_
SELECT :'run_state' AS state, :'run_of_this_session' AS of_this_session, :'run_of_this_process' AS of_this_process;
SELECT state, reconciliation_run_id = :'run_run' AS this_run FROM attribution.reconciliation_status(:a);
SELECT * FROM attribution.settle(:a, :'run_run', '[]');
SELECT * FROM attribution.settle(:a, :'run_run', '[{"key": "shop:order:1", "amount_cents": 100}, {"key": "shop:order:2", "amount_cents": 70, "currency": "USD"}]');
-- Whole numbers of any spelling.
SELECT * FROM attribution.settle(:a, :'run_run', '[{"key": "pi_3", "amount_cents": 4e1}, {"key": "shop:order:4", "amount_cents": 79.00}, {"key": "pi_11", "amount_cents": 11}]');
-- Once more, within a call and beside what is there.
SELECT * FROM attribution.settle(:a, :'run_run', '[{"key": "shop:order:6", "amount_cents": 10}, {"key": "shop:order:6", "amount_cents": 10}, {"key": "pi_3", "amount_cents": 40}]');
SELECT * FROM attribution.settle(:a, :'run_run', '[{"key": "shop:order:unknown", "amount_cents": -5}, {"key": "shop:order:zero", "amount_cents": 0},
    {"key": "shop:order:9", "amount_cents": 30}, {"key": "web:visit:10", "amount_cents": 7}, {"key": "shop:refund:2", "amount_cents": -30}]');
SELECT key, amount_cents FROM attribution.reconciliation_settlements WHERE tenant_id = :a ORDER BY key COLLATE "C";
-- Another amount is refused, and with it the whole call.
CREATE FUNCTION pg_temp.settle(settlements jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    run uuid := (SELECT id FROM attribution.reconciliation_runs WHERE tenant_id = '4ec04c11-0000-4000-8000-00000000000a' AND state = 'running');
    detail text;
    constraint_name text;
BEGIN
    PERFORM attribution.settle('4ec04c11-0000-4000-8000-00000000000a', run, settlements);
    RAISE INFO 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, constraint_name = CONSTRAINT_NAME;
    RAISE INFO '% %: %', SQLSTATE, constraint_name, SQLERRM USING DETAIL = replace(detail, run::text, '<run>');
END $$;
SELECT pg_temp.settle('[{"key": "new", "amount_cents": 1}, {"key": "pi_3", "amount_cents": 50}]');
SELECT pg_temp.settle('[{"key": "new", "amount_cents": 1}, {"key": "new", "amount_cents": 2}]');
SELECT count(*) AS new FROM attribution.reconciliation_settlements WHERE tenant_id = :a AND key = 'new';
-- What is no settlement, with its position.
SELECT pg_temp.settle('{}');
SELECT pg_temp.settle('5');
SELECT pg_temp.settle('null');
SELECT pg_temp.settle('"x"');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1}, 5]');
SELECT pg_temp.settle('[null]');
SELECT pg_temp.settle('[[{"key": "x", "amount_cents": 1}]]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1}, {"amount_cents": 1}]');
SELECT pg_temp.settle('[{"key": null, "amount_cents": 1}]');
SELECT pg_temp.settle('[{"key": 5, "amount_cents": 1}]');
SELECT pg_temp.settle('[{"key": {"a": 1}, "amount_cents": 1}]');
SELECT pg_temp.settle('[{"key": "", "amount_cents": 1}]');
SELECT pg_temp.settle(jsonb_build_array(jsonb_build_object('key', repeat('é', 128), 'amount_cents', 1)));
SELECT pg_temp.settle('[{"key": "x"}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": null}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": "1"}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1.5}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 0.10}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1e-1}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 9223372036854775808}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1e1000}]');
SELECT pg_temp.settle('[{"key": "x", "amount_cents": 1}, {"key": "y", "amount_cents": [1]}]');
-- The ends of the range, beyond what a double holds.
BEGIN;
SELECT * FROM attribution.settle(:a, :'run_run', '[{"key": "most", "amount_cents": 9223372036854775807}, {"key": "least", "amount_cents": -9223372036854775808}, {"key": "odd", "amount_cents": 9007199254740993}]');
SELECT key, amount_cents FROM attribution.reconciliation_settlements WHERE tenant_id = :a AND key IN ('most', 'least', 'odd') ORDER BY amount_cents;
SELECT attribution.settle(:a, :'run_run', jsonb_build_array(jsonb_build_object('key', repeat('x', 255), 'amount_cents', 1)));
ROLLBACK;
-- Runs of this tenant only, and such that run.
CALL pg_temp.attempt($$SELECT attribution.settle('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000ff', '[]')$$);
CALL pg_temp.attempt($$SELECT attribution.finish_reconciliation('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$SELECT attribution.fail_reconciliation('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000ff', 'x')$$);
SELECT count(*) AS runs_of_b FROM attribution.reconciliation_runs WHERE tenant_id = :b;
DO $$ BEGIN
    PERFORM attribution.settle('4ec04c11-0000-4000-8000-00000000000b', r.id, '[]') FROM attribution.reconciliation_runs AS r WHERE r.tenant_id = '4ec04c11-0000-4000-8000-00000000000a';
EXCEPTION WHEN invalid_parameter_value THEN RAISE INFO 'no run of b';
END $$;
-- One at a time per tenant.
CREATE FUNCTION pg_temp.start(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    PERFORM attribution.start_reconciliation(tenant);
    RAISE INFO 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    detail := replace(detail, pg_backend_pid()::text, '<pid>');
    RAISE INFO '%: %', SQLSTATE, SQLERRM USING DETAIL = regexp_replace(regexp_replace(detail, 'run [0-9a-f-]{36}', 'run <id>'), 'since .*', 'since <time>.'), HINT = hint;
END $$;
SELECT pg_temp.start(:a);
\set VERBOSITY sqlstate
CALL attribution.reconcile(:a, '[]');
\set VERBOSITY default
-- Finished: matches are verified, differences recorded.
SELECT state, error_message, run_metadata FROM attribution.finish_reconciliation(:a, :'run_run');
SELECT * FROM attribution.reconciliation_differences(:a, :'run_run');
SELECT * FROM pg_temp.ledger(:a);
SELECT count(*) AS touched_of_b FROM pg_temp.ledger(:b) WHERE verified > 0;
SELECT DISTINCT reconciliation_run_id = :'run_run' AS this_run, verified_at IS NOT NULL AS has_time FROM attribution.revenue_ledger WHERE tenant_id = :a AND is_verified;
SELECT state FROM attribution.reconciliation_status(:a);
-- Again: unchanged. Anything else: it has ended.
SELECT md5(string_agg(l::text, ',' ORDER BY l.id)) AS before FROM attribution.revenue_ledger AS l \gset
SELECT state, r::text = (SELECT x::text FROM attribution.reconciliation_runs AS x WHERE x.id = r.id) AS unchanged
FROM attribution.finish_reconciliation(:a, :'run_run') AS r;
SELECT count(*) AS differences FROM attribution.reconciliation_differences(:a, :'run_run');
DO $$
DECLARE
    run uuid := (SELECT id FROM attribution.reconciliation_runs WHERE tenant_id = '4ec04c11-0000-4000-8000-00000000000a');
    detail text;
BEGIN
    BEGIN
        PERFORM attribution.settle('4ec04c11-0000-4000-8000-00000000000a', run, '[]');
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RAISE INFO '% %', SQLSTATE, detail;
    END;
    BEGIN
        PERFORM attribution.fail_reconciliation('4ec04c11-0000-4000-8000-00000000000a', run, 'x');
    EXCEPTION WHEN OTHERS THEN
        RAISE INFO '%', SQLSTATE;
    END;
END $$;

--
-- All in one
--
-- A repeat finds the same, and verifies nothing twice. Later settlements mend what was missing.
SELECT jsonb_agg(jsonb_build_object('key', key, 'amount_cents', amount_cents) ORDER BY key) AS settlements FROM attribution.reconciliation_settlements WHERE tenant_id = :a \gset
CALL attribution.reconcile(:a, :'settlements', :'run_run') \gset again_
SELECT :'again_reconciliation_run_id' <> :'run_run' AS another_run;
SELECT state, run_metadata FROM attribution.reconciliation_runs WHERE tenant_id = :a AND id = :'again_reconciliation_run_id';
SELECT :'before' = (SELECT md5(string_agg(l::text, ',' ORDER BY l.id)) FROM attribution.revenue_ledger AS l) AS ledger_unchanged;
SELECT array_agg(d ORDER BY d.key, d.kind) = (SELECT array_agg(d ORDER BY d.key, d.kind) FROM attribution.reconciliation_differences(:a, :'run_run') AS d) AS same_differences
FROM attribution.reconciliation_differences(:a, :'again_reconciliation_run_id') AS d;
-- A refund after the sale was verified: the next settlement has the new net, and the refund is verified by it.
SELECT outcome FROM attribution.ingest_event(:a, 'shop', 'refund', '2024-03-20 12:00Z', -15, 'shop:refund:1', refund_of => pg_temp.e(1));
SELECT count(*) FROM attribution.allocate_event(:a, (SELECT id FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'shop:refund:1'), '1');
SELECT attribution.post_allocations(:a, '1');
CALL attribution.reconcile(:a, '[{"key": "shop:order:1", "amount_cents": 100}, {"key": "shop:order:4", "amount_cents": 80}]') \gset third_
SELECT * FROM attribution.reconciliation_differences(:a, :'third_reconciliation_run_id');
CALL attribution.reconcile(:a, '[{"key": "shop:order:1", "amount_cents": 85}]', NULL) \gset fourth_
SELECT * FROM attribution.reconciliation_differences(:a, :'fourth_reconciliation_run_id');
SELECT conversion, entries, net, verified FROM pg_temp.ledger(:a) WHERE conversion IN ('01', '04');
-- Bounds: of what must be settled, not of what may be.
CALL attribution.reconcile(:a, '[]', NULL, '2024-03-05 00:00Z', '2024-03-07 00:00Z') \gset bound_
SELECT occurred_from, occurred_to FROM attribution.reconciliation_runs WHERE id = :'bound_reconciliation_run_id';
SELECT * FROM attribution.reconciliation_differences(:a, :'bound_reconciliation_run_id');
CALL attribution.reconcile(:a, '[{"key": "shop:order:5", "amount_cents": 60}]', NULL, '2024-03-09 00:00Z', NULL) \gset bound_
SELECT * FROM attribution.reconciliation_differences(:a, :'bound_reconciliation_run_id');
CALL attribution.reconcile(:a, '[]', NULL, NULL, '2024-03-01 00:00Z') \gset bound_
SELECT run_metadata FROM attribution.reconciliation_runs WHERE id = :'bound_reconciliation_run_id';
-- A net of zero is verified within the bounds only.
CALL attribution.reconcile(:b, '[]', NULL, NULL, '2024-03-09 00:00Z') \gset bound_
SELECT conversion, net, verified FROM pg_temp.ledger(:b) WHERE conversion = '08';
CALL attribution.reconcile(:b, '[]', NULL, '2024-03-09 00:00Z', '2024-03-10 00:00Z') \gset bound_
SELECT conversion, net, verified FROM pg_temp.ledger(:b) WHERE conversion = '08';
-- A failure is no error: the run says why.
\set SHOW_CONTEXT never
CALL attribution.reconcile(:a, '{"key": "x", "amount_cents": 1}') \gset failed_
SELECT state, error_message, run_metadata FROM attribution.reconciliation_runs WHERE id = :'failed_reconciliation_run_id';
CALL attribution.reconcile(:a, '[{"key": "x", "amount_cents": 1}, {"key": "x", "amount_cents": "y"}]') \gset failed_
SELECT state, error_message FROM attribution.reconciliation_runs WHERE id = :'failed_reconciliation_run_id';
SELECT state FROM attribution.reconciliation_status(:a);
-- In finish, too; what was settled stays with the run, the ledger as it was.
CREATE FUNCTION public.regress_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = 'P0009', DETAIL = 'It rains.'; END $$;
CREATE TRIGGER regress_refuse BEFORE INSERT ON attribution.settlement_differences FOR EACH ROW EXECUTE FUNCTION public.regress_refuse();
CALL attribution.reconcile(:b, '[{"key": "shop:order:1", "amount_cents": 100}, {"key": "shop:order:2", "amount_cents": 1}]') \gset failed_
SELECT state, error_message FROM attribution.reconciliation_runs WHERE id = :'failed_reconciliation_run_id';
SELECT count(*) AS settled FROM attribution.reconciliation_settlements WHERE reconciliation_run_id = :'failed_reconciliation_run_id';
SELECT conversion, verified FROM pg_temp.ledger(:b) WHERE conversion IN ('01', '02');
DROP TRIGGER regress_refuse ON attribution.settlement_differences;
-- A constraint of the user that waits for the commit.
CREATE CONSTRAINT TRIGGER regress_refuse AFTER INSERT ON attribution.settlement_differences DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.regress_refuse();
CALL attribution.reconcile(:b, '[{"key": "shop:order:1", "amount_cents": 100}]') \gset failed_
SELECT state, error_message FROM attribution.reconciliation_runs WHERE id = :'failed_reconciliation_run_id';
DROP TRIGGER regress_refuse ON attribution.settlement_differences;
-- A row trigger of the user on settlements fires: the check of the run is not skipped then.
CREATE TRIGGER regress_refuse BEFORE INSERT ON attribution.reconciliation_settlements FOR EACH ROW EXECUTE FUNCTION public.regress_refuse();
CALL attribution.reconcile(:b, '[{"key": "shop:order:1", "amount_cents": 100}]') \gset failed_
SELECT state, error_message FROM attribution.reconciliation_runs WHERE id = :'failed_reconciliation_run_id';
DROP TRIGGER regress_refuse ON attribution.reconciliation_settlements;
DROP FUNCTION public.regress_refuse();
-- What keeps a run from starting is an error, and leaves none.
SELECT count(*) AS runs FROM attribution.reconciliation_runs \gset
CALL attribution.reconcile(NULL, '[]');
CALL attribution.reconcile(:a, NULL);
CALL attribution.reconcile('4ec04c11-0000-4000-8000-0000000000ff', '[]');
BEGIN;
CALL attribution.reconcile(:a, '[]');
ROLLBACK;
CALL pg_temp.attempt($$CALL attribution.reconcile('4ec04c11-0000-4000-8000-00000000000a', '[]')$$);
SELECT count(*) - :runs AS runs_more FROM attribution.reconciliation_runs;
BEGIN READ ONLY;
SELECT attribution.start_reconciliation(:a);
ROLLBACK;
-- Whatever the isolation level of the session is.
SET default_transaction_isolation = 'serializable';
CALL attribution.reconcile(:b, '[{"key": "shop:order:1", "amount_cents": 100}]') \gset serial_
RESET default_transaction_isolation;
SELECT state, run_metadata -> 'matched' AS matched FROM attribution.reconciliation_runs WHERE id = :'serial_reconciliation_run_id';
-- Called by a block that may commit.
DO $$
DECLARE
    run uuid;
BEGIN
    CALL attribution.reconcile('4ec04c11-0000-4000-8000-00000000000b', '[{"key": "shop:order:1", "amount_cents": 100}]', run);
    RAISE INFO '%', (SELECT state FROM attribution.reconciliation_runs WHERE id = run);
END $$;

--
-- Failing by hand; runs that nobody is at work on
--
SELECT id AS run FROM attribution.start_reconciliation(:a) \gset
SELECT state, error_message FROM attribution.fail_reconciliation(:a, :'run', 'the file ended early');
SELECT state, error_message FROM attribution.fail_reconciliation(:a, :'run', 'once more');
CALL pg_temp.attempt($$SELECT attribution.fail_reconciliation('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000ff', NULL)$$);
\set VERBOSITY sqlstate
SELECT state FROM attribution.finish_reconciliation(:a, :'run');
\set VERBOSITY default
-- Of a process that is gone, of one that has the number of ours but started at another time, of none.
CREATE FUNCTION pg_temp.leave(pid integer, started timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at, backend_pid, backend_start)
    VALUES ('4ec04c11-0000-4000-8000-00000000000a', attribution.uuid_v7(), 'running', '2024-04-01 12:00Z', pid, started)
$$;
SELECT pg_temp.leave(2147483647, '2024-04-01 11:00Z');
SELECT pg_temp.start(:a);
SELECT id AS left FROM attribution.reconciliation_runs WHERE tenant_id = :a AND state = 'running' \gset
SELECT state FROM attribution.fail_reconciliation(:a, :'left', 'done');
SELECT pg_temp.leave(pg_backend_pid(), (SELECT backend_start - interval '1 microsecond' FROM pg_stat_activity WHERE pid = pg_backend_pid()));
CALL attribution.reconcile(:a, '[]') \gset taken_
SELECT pg_temp.leave(NULL, NULL);
CALL attribution.reconcile(:a, '[]') \gset taken_
SELECT pg_temp.leave(pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()));
SELECT pg_temp.start(:a);
SELECT state, replace(error_message, pg_backend_pid()::text, '<pid>') AS error_message, count(*) FROM attribution.reconciliation_runs
WHERE tenant_id = :a AND last_run_at = '2024-04-01 12:00Z' GROUP BY 1, 2 ORDER BY 1, 2;
-- A step makes a run this session's, whosever it was.
UPDATE attribution.reconciliation_runs SET backend_pid = 2147483647 WHERE tenant_id = :a AND state = 'running' RETURNING id AS left \gset
SELECT * FROM attribution.settle(:a, :'left', '[{"key": "shop:order:5", "amount_cents": 60}]');
SELECT backend_pid = pg_backend_pid() AS ours FROM attribution.reconciliation_runs WHERE id = :'left';
SELECT pg_temp.start(:a);
SELECT state FROM attribution.finish_reconciliation(:a, :'left');
-- A trigger of the user's may suppress the run: then there is none to return.
BEGIN;
CREATE FUNCTION pg_temp.suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER a_suppress BEFORE INSERT ON attribution.reconciliation_runs FOR EACH ROW EXECUTE FUNCTION pg_temp.suppress();
CALL pg_temp.attempt($$SELECT attribution.start_reconciliation('4ec04c11-0000-4000-8000-00000000000a')$$);
ROLLBACK;
-- Runs that were made by hand.
INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, run_metadata) VALUES (:a, '4ec04c11-0000-4000-8000-0000000000c1', 'idle', NULL), (:a, '4ec04c11-0000-4000-8000-0000000000c2', 'running', '{"note": "by hand"}');
CALL pg_temp.attempt($$SELECT attribution.settle('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000c1', '[]')$$);
SELECT state, run_metadata ->> 'note' AS note FROM attribution.finish_reconciliation(:a, '4ec04c11-0000-4000-8000-0000000000c2');

--
-- Rights, and tenants
--
CREATE ROLE regress_attribution_reader;
CREATE ROLE regress_attribution_operator;
SELECT attribution.grant_access('regress_attribution_reader', 'writer'), attribution.grant_access('regress_attribution_operator', 'operator');
SET attribution.tenant_id = '4ec04c11-0000-4000-8000-00000000000a';
SET ROLE regress_attribution_reader;
SELECT count(*) > 0 AS reads, count(*) FILTER (WHERE tenant_id <> :a) AS of_others FROM attribution.settlement_differences;
SELECT count(*) > 0 AS reads, count(*) FILTER (WHERE tenant_id <> :a) AS of_others FROM attribution.reconciliation_settlements;
SELECT count(*) AS differences FROM attribution.reconciliation_differences(:a, :'run_run');
SELECT count(*) AS differences_of_b FROM attribution.settlement_differences AS d, attribution.reconciliation_differences(:b, d.reconciliation_run_id);
CALL pg_temp.attempt($$SELECT attribution.start_reconciliation('4ec04c11-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$SELECT attribution.prune_settlements()$$);
CALL attribution.reconcile(:a, '[]');
SET ROLE regress_attribution_operator;
CALL attribution.reconcile(:a, '[{"key": "shop:order:1", "amount_cents": 85}]') \gset operator_
SELECT state, run_metadata -> 'matched' AS matched FROM attribution.reconciliation_runs WHERE id = :'operator_reconciliation_run_id';
CALL attribution.reconcile(:b, '[]');
CALL pg_temp.attempt($$SELECT attribution.start_reconciliation('4ec04c11-0000-4000-8000-00000000000b')$$);
CALL pg_temp.attempt($$SELECT attribution.settle('4ec04c11-0000-4000-8000-00000000000b', '4ec04c11-0000-4000-8000-0000000000c2', '[]')$$);
CALL pg_temp.attempt($$SELECT attribution.finish_reconciliation('4ec04c11-0000-4000-8000-00000000000b', '4ec04c11-0000-4000-8000-0000000000c2')$$);
CALL pg_temp.attempt($$SELECT attribution.fail_reconciliation('4ec04c11-0000-4000-8000-00000000000b', '4ec04c11-0000-4000-8000-0000000000c2', 'x')$$);
CALL pg_temp.attempt($$SELECT attribution.prune_tenant_settlements('4ec04c11-0000-4000-8000-00000000000b', '1 day')$$);
CALL pg_temp.attempt($$DELETE FROM attribution.reconciliation_settlements$$);
CALL pg_temp.attempt($$INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind) VALUES ('4ec04c11-0000-4000-8000-00000000000a', '4ec04c11-0000-4000-8000-0000000000c2', 'amount_mismatch')$$);
RESET attribution.tenant_id;
CALL attribution.reconcile(:a, '[]');
RESET ROLE;

--
-- Pruning
--
-- Settlements of ended runs go, those of the run at work and all differences stay.
SELECT id AS run FROM attribution.start_reconciliation(:a) \gset
SELECT * FROM attribution.settle(:a, :'run', '[{"key": "at work", "amount_cents": 1}]');
SELECT count(*) AS differences FROM attribution.settlement_differences \gset
SELECT count(*) > 0 AS of_b FROM attribution.reconciliation_settlements WHERE tenant_id = :b;
SELECT attribution.prune_settlements() AS older_than_90_days, attribution.prune_settlements(NULL) AS older_than_unknown;
SET attribution.tenant_id = '4ec04c11-0000-4000-8000-00000000000a';
SET ROLE regress_attribution_operator;
SELECT attribution.prune_settlements('-1 day') > 0 AS pruned;
RESET ROLE;
RESET attribution.tenant_id;
SELECT string_agg(key, ',') AS left FROM attribution.reconciliation_settlements WHERE tenant_id = :a;
SELECT count(*) > 0 AS of_b FROM attribution.reconciliation_settlements WHERE tenant_id = :b;
SELECT attribution.prune_settlements('-1 day') > 0 AS pruned;
SELECT string_agg(key, ',') AS left FROM attribution.reconciliation_settlements WHERE tenant_id IN (:a, :b);
SELECT count(*) - :differences AS differences_more FROM attribution.settlement_differences;
SELECT state FROM attribution.fail_reconciliation(:a, :'run', 'end of the test');

DROP OWNED BY regress_attribution_reader, regress_attribution_operator;
DROP ROLE regress_attribution_reader, regress_attribution_operator;
