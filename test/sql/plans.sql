-- plans: a plan that a session made while the tables were small finds what it wants by one key when they are large.
-- Counted in rows that are read, so the size of the tables shows and the machine does not.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET client_min_messages = warning;
\set t '''91a45000-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:t, 'plans');
SELECT attribution.define_model(:t, m, m) FROM unnest('{linear, last_touch}'::text[]) AS m
\g /dev/null

-- Conversions first .. last with two touches each, and a refund of every tenth.
CREATE PROCEDURE pg_temp.load(first integer, last integer) LANGUAGE sql AS $$
    INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, revenue_cents, external_event_id)
    SELECT '91a45000-0000-4000-8000-00000000000a', md5(n || '.' || k)::uuid, CASE k WHEN 3 THEN 'conversion' ELSE 'touch' END,
           '2024-01-01Z'::timestamptz + n * interval '1 minute' - (3 - k) * interval '1 second', md5('s' || n)::uuid,
           CASE WHEN k < 3 THEN 'channel ' || k END, CASE k WHEN 3 THEN 1000 ELSE 0 END, CASE k WHEN 3 THEN 'plans:order:' || n END
    FROM generate_series(first, last) AS n, generate_series(1, 3) AS k;
$$;
-- Every function that looks events or allocations up, once for conversion n.
CREATE PROCEDURE pg_temp.use(n integer) LANGUAGE plpgsql AS $$
DECLARE
    t uuid := '91a45000-0000-4000-8000-00000000000a';
    conversion uuid := md5(n || '.3')::uuid;
BEGIN
    PERFORM attribution.ingest_event(t, 'plans', 'conversion', '2024-01-01Z', 1000, external_event_id => 'plans:order:' || n);
    PERFORM attribution.allocate_event(t, conversion, 'linear');
    PERFORM attribution.allocate_event(t, conversion, 'linear');
    PERFORM attribution.allocate_event(t, conversion, 'given', '{a, b}', '{1, 2}');
    PERFORM attribution.ingest_event(t, 'plans', 'refund', '2024-02-01Z', -7, external_event_id => 'plans:refund:' || n, refund_of => conversion);
    PERFORM attribution.ingest_event(t, 'plans', 'refund', '2024-02-01Z', -7, external_event_id => 'plans:refund:' || n, refund_of => conversion);
    PERFORM attribution.allocate_event(t, e.id, 'linear') FROM attribution.attribution_events AS e WHERE e.tenant_id = t AND e.external_event_id = 'plans:refund:' || n;
    PERFORM attribution.explain_allocation(t, conversion, 'linear');
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
END
$$;
-- Rows of events, allocations and ledger that were read, of all sessions.
CREATE FUNCTION pg_temp.fetched() RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables
    WHERE schemaname = 'attribution' AND relname IN ('attribution_events', 'attribution_allocations', 'revenue_ledger')
$$;
CREATE FUNCTION pg_temp.flush() RETURNS void LANGUAGE sql AS $$ SELECT pg_stat_force_next_flush(); SELECT pg_stat_clear_snapshot() $$;

-- Plans are made here, on a handful of rows, and kept: six uses, so that none is custom any more.
CALL pg_temp.load(1, 7);
CALL pg_temp.use(1);
CALL pg_temp.use(2);
CALL pg_temp.use(3);
CALL pg_temp.use(4);
CALL pg_temp.use(5);
CALL pg_temp.use(6);
CALL attribution.allocate_events(:t, 'last_touch', batch_size => 2) \gset
SELECT attribution.post_allocations(:t, 'linear') > 0 AS posted;

-- 2,000 conversions later; and what is known of the tables is of a moment when most allocations were of one model version.
ANALYZE attribution.attribution_events, attribution.attribution_allocations, attribution.ledger_books, attribution.revenue_ledger;
CALL pg_temp.load(8, 2007);
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() AS before \gset
CALL pg_temp.use(1001);
CALL pg_temp.use(1002);
CALL pg_temp.use(1003);
CALL pg_temp.use(1004);
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() - :before < 4 * 500 AS single_calls_read_little;
SELECT pg_temp.fetched() AS before \gset
CALL attribution.allocate_events(:t, 'last_touch') \gset
SELECT pg_temp.flush() \g /dev/null
SELECT :events_allocated AS events_allocated, pg_temp.fetched() - :before < :events_allocated * 50 AS a_run_reads_little;
ANALYZE attribution.attribution_events, attribution.attribution_allocations, attribution.ledger_books, attribution.revenue_ledger;
SELECT pg_temp.fetched() AS before \gset
SELECT attribution.post_allocations(:t, 'linear') AS posted \gset
SELECT pg_temp.flush() \g /dev/null
SELECT :posted > 0 AS posted, pg_temp.fetched() - :before < 10000 AS posting_reads_little;

-- An application role, whose queries row security makes longer: what is not leakproof would be no condition of an index.
CREATE PROCEDURE pg_temp.deliver(n integer) LANGUAGE plpgsql AS $$
DECLARE
    t uuid := '91a45000-0000-4000-8000-00000000000a';
    object jsonb := jsonb_build_object('payment_intent', 'pi_plans' || n, 'created', 1704067200, 'currency', 'usd', 'amount', 500, 'status', 'succeeded', 'captured', true);
    d record;
BEGIN
    FOR d IN VALUES ('charge.succeeded', jsonb_build_object('id', 'ch_plans' || n)), ('refund.created', jsonb_build_object('id', 're_plans' || n)),
                    ('refund.failed', jsonb_build_object('id', 're_plans' || n, 'status', 'failed'))
    LOOP
        IF (attribution.ingest_webhook(t, 'stripe', d.column1,
                jsonb_build_object('id', 'evt_' || n, 'created', 1704067200, 'data', jsonb_build_object('object', object || d.column2)))).outcome <> 'ingested' THEN
            RAISE EXCEPTION '%: %', d.column1, (SELECT ROW(x.error_code, x.error_detail) FROM attribution.dead_events x WHERE x.tenant_id = t LIMIT 1);
        END IF;
    END LOOP;
END
$$;
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, external_event_id, refund_of)
SELECT :t, 'refund', '2024-02-01Z', -1, 'plans:other_refund:' || n, md5(n || '.3')::uuid FROM generate_series(8, 1000) AS n;
CREATE ROLE regress_attribution_planner;
SELECT attribution.grant_access('regress_attribution_planner', 'writer') \g /dev/null
SET ROLE regress_attribution_planner;
SET attribution.tenant_id = '91a45000-0000-4000-8000-00000000000a';
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() AS before \gset
CALL pg_temp.use(1005);
CALL pg_temp.use(1006);
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() - :before < 2 * 500 AS single_calls_read_little;
SELECT pg_temp.fetched() AS before \gset
CALL pg_temp.deliver(1);
CALL pg_temp.deliver(2);
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() - :before < 2 * 500 AS deliveries_read_little;
SELECT pg_temp.fetched() AS before \gset
SELECT sum(conversions) FROM attribution.channel_performance(:t, 'last_touch', '2024-01-01 10:00Z', '2024-01-01 10:05Z');
SELECT pg_temp.flush() \g /dev/null
SELECT pg_temp.fetched() - :before < 500 AS a_report_reads_little;
-- The latest run is found by its index, also by a plan that was made when there were few.
RESET ROLE;
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at) VALUES (:t, 'completed', '2024-01-01Z');
ANALYZE attribution.reconciliation_runs, attribution.tenants;
SET ROLE regress_attribution_planner;
SELECT state, last_run_at FROM attribution.reconciliation_status(:t);
RESET ROLE;
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at)
SELECT :t, 'completed', '2024-01-01Z'::timestamptz + n * interval '1 minute' FROM generate_series(1, 1000) AS n;
SET ROLE regress_attribution_planner;
CREATE FUNCTION pg_temp.runs_read() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'attribution.reconciliation_runs'::regclass
$$;
BEGIN;
SELECT pg_temp.runs_read() AS before \gset
SELECT state, last_run_at FROM attribution.reconciliation_status(:t);
SELECT pg_temp.runs_read() - :before <= 2 AS the_status_reads_little;
COMMIT;
RESET attribution.tenant_id;
RESET ROLE;
DROP OWNED BY regress_attribution_planner;
DROP ROLE regress_attribution_planner;
