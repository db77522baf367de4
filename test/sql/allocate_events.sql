-- allocate_events: everything that waits is allocated in batches that commit, and what cannot be is told.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- Hints and contexts name the run, which is another each time; errors are shown by their SQLSTATE as well.
\set VERBOSITY terse
\set tenant '''a110cae5-0000-4000-8000-00000000000a'''
\set other '''a110cae5-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'allocate_events'), (:other, 'allocate_events, other');
SELECT attribution.define_model(t, v.version, v.method) FROM unnest(ARRAY[:tenant, :other]::uuid[]) AS t, (VALUES ('linear', 'linear'), ('last', 'last_touch'), ('given', 'custom')) AS v (version, method)
\g /dev/null
-- Touch n and conversion n + 10 of a session on day n of January; refund n + 20 a day later.
CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN format('a110cae5-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, refund_of, revenue_cents)
SELECT :tenant::uuid, pg_temp.id(n), 'touch', '2024-01-01Z'::timestamptz + (n - 1) * interval '1 day', pg_temp.id(n), 'email', NULL::uuid, 0 FROM generate_series(1, 5) AS n
UNION ALL SELECT :tenant, pg_temp.id(n + 10), 'conversion', '2024-01-01Z'::timestamptz + (n - 1) * interval '1 day', pg_temp.id(n), NULL, NULL, 100 * n FROM generate_series(1, 5) AS n
UNION ALL SELECT :tenant, pg_temp.id(n + 20), 'refund', '2024-01-02Z'::timestamptz + (n - 1) * interval '1 day', NULL, NULL, pg_temp.id(n + 10), -n FROM generate_series(1, 3) AS n
UNION ALL SELECT :other, pg_temp.id(n + 10), 'conversion', '2024-01-01Z'::timestamptz + (n - 1) * interval '1 day', pg_temp.id(n), NULL, NULL, 100 * n FROM generate_series(1, 5) AS n;
CREATE FUNCTION pg_temp.allocated(model_version text, OUT events text, OUT rows bigint, OUT cents numeric) LANGUAGE sql
BEGIN ATOMIC
    SELECT string_agg(DISTINCT ltrim(right(a.event_id::text, 6), '0'), ' '), count(*), sum(a.allocated_revenue_cents)
    FROM attribution.attribution_allocations AS a WHERE a.tenant_id = 'a110cae5-0000-4000-8000-00000000000a' AND a.model_version = allocated.model_version;
END;

--
-- Results
--
-- A range is half open, and takes the refunds of its conversions, and refunds of what is allocated.
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-02Z', '2024-01-03Z') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, a.* FROM pg_temp.allocated('linear') AS a;
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-02Z', '2024-01-03Z') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed;
-- Empty and upside-down ranges.
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-03Z', '2024-01-03Z') \gset
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-05Z', '2024-01-03Z') \gset
CALL attribution.allocate_events(:tenant, 'linear', 'infinity', NULL) \gset
CALL attribution.allocate_events(:tenant, 'linear', NULL, '-infinity') \gset
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-03 00:00:00.000001Z', '2024-01-04Z') \gset
-- NULL is no bound.
CALL attribution.allocate_events(:tenant, 'linear', NULL, '2024-01-01 00:00:00.000001Z') \gset
SELECT :events_allocated AS events_allocated, a.* FROM pg_temp.allocated('linear') AS a;
CALL attribution.allocate_events(:tenant, 'linear', '2024-01-05Z', NULL) \gset
SELECT :events_allocated AS events_allocated, a.* FROM pg_temp.allocated('linear') AS a;
CALL attribution.allocate_events(:tenant, 'linear') \gset
SELECT :events_allocated AS events_allocated, a.* FROM pg_temp.allocated('linear') AS a;
CALL attribution.allocate_events(:tenant, 'linear', '-infinity', 'infinity') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed;
-- All arguments by name; what is passed for the results is ignored.
CALL attribution.allocate_events(tenant_id => :tenant, model_version => 'last', occurred_from => '2024-01-01Z', occurred_to => '2025-01-01Z', batch_size => 2,
                                 run_id => :tenant, events_allocated => 7, allocations_written => NULL, events_failed => 1) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, :'run_id' <> :tenant AS own_run, a.* FROM pg_temp.allocated('last') AS a;
-- The other tenant's events of the same ids wait still.
SELECT count(*) AS rows_of_other FROM attribution.attribution_allocations WHERE tenant_id = :other;

-- A touch that arrives late does not restate what is allocated; a conversion that arrives late is taken, and so is a refund.
CREATE TEMP TABLE stored AS SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, refund_of, revenue_cents) VALUES
    (:tenant, pg_temp.id(6), 'touch', '2023-12-31Z', pg_temp.id(1), 'late', NULL, 0),
    (:tenant, pg_temp.id(19), 'conversion', '2024-01-01Z', pg_temp.id(1), NULL, NULL, 1000),
    (:tenant, pg_temp.id(29), 'refund', '2024-01-01Z', NULL, NULL, pg_temp.id(14), -400);
CALL attribution.allocate_events(:tenant, 'linear') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written;
TABLE stored EXCEPT ALL SELECT * FROM attribution.attribution_allocations;
SELECT ltrim(right(event_id::text, 6), '0') AS event, channel, allocated_revenue_cents FROM attribution.attribution_allocations
WHERE tenant_id = :tenant AND id NOT IN (SELECT id FROM stored) ORDER BY event_id, channel;

-- A version of the caller's weights: conversions are the caller's to allocate, refunds are not.
SELECT count(*) FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = 'given';
CALL attribution.allocate_events(:tenant, 'given') \gset
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES (:tenant, pg_temp.id(18), 'conversion', '2024-01-20Z', NULL, 9);
SELECT count(*) FROM attribution.allocate_event(:tenant, pg_temp.id(18), 'given', '{a,b}', '{1,2}');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES (:tenant, pg_temp.id(28), 'refund', '2024-01-21Z', pg_temp.id(18), -6);
CALL attribution.allocate_events(:tenant, 'given', '2024-01-20Z', '2024-01-21Z') \gset
CALL attribution.allocate_events(:tenant, 'given') \gset
SELECT a.* FROM pg_temp.allocated('given') AS a;

-- At the two ends of time.
INSERT INTO attribution.tenants (id, name) VALUES ('a110cae5-0000-4000-8000-0000000000ee', 'allocate_events, ends');
SELECT attribution.define_model('a110cae5-0000-4000-8000-0000000000ee', '1', 'linear');
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents) VALUES
    ('a110cae5-0000-4000-8000-0000000000ee', 'conversion', '1970-01-01 00:00Z', 1), ('a110cae5-0000-4000-8000-0000000000ee', 'conversion', '294276-12-31 23:59:59.999999Z', 2);
CALL attribution.allocate_events('a110cae5-0000-4000-8000-0000000000ee', '1', '4714-11-24 00:00:00+00 BC', '1970-01-01Z') \gset
SELECT last_occurred_at, state FROM attribution.allocation_progress WHERE id = :'run_id';
CALL attribution.allocate_events('a110cae5-0000-4000-8000-0000000000ee', '1', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999Z') \gset
SELECT last_occurred_at, state FROM attribution.allocation_progress WHERE id = :'run_id';
CALL attribution.allocate_events('a110cae5-0000-4000-8000-0000000000ee', '1') \gset
SELECT last_occurred_at, state FROM attribution.allocation_progress WHERE id = :'run_id';

--
-- Refused
--
CALL attribution.allocate_events(:tenant, 'unknown');
\echo :SQLSTATE
CALL attribution.allocate_events('a110cae5-0000-4000-8000-0000000000ff', 'linear');
\echo :SQLSTATE
CALL attribution.allocate_events(NULL, 'linear');
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, NULL);
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, '');
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, repeat('m', 256));
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, 'linear', batch_size => NULL);
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, 'linear', batch_size => 0);
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, 'linear', batch_size => -1);
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, 'linear', batch_size => 100001);
\echo :SQLSTATE
CALL attribution.allocate_events(:tenant, 'linear', batch_size => 100000) \gset
-- It commits: not in a transaction block, nor in a function, nor where something else called it atomically.
BEGIN;
CALL attribution.allocate_events(:tenant, 'linear');
\echo :SQLSTATE
ROLLBACK;
CALL pg_temp.attempt($$CALL attribution.allocate_events('a110cae5-0000-4000-8000-00000000000a', 'linear')$$);
DO $$
DECLARE
    run_id uuid;
    events bigint;
    allocations bigint;
    failed bigint;
BEGIN
    CALL attribution.allocate_events('a110cae5-0000-4000-8000-00000000000a', 'linear', NULL, NULL, 10, run_id, events, allocations, failed);
    RAISE NOTICE 'in a DO block that may commit: % %', events, failed;
END $$;
BEGIN READ ONLY;
CALL attribution.allocate_events(:tenant, 'linear');
\echo :SQLSTATE
ROLLBACK;
SET default_transaction_read_only = on;
CALL attribution.allocate_events(:tenant, 'linear');
\echo :SQLSTATE
RESET default_transaction_read_only;
-- None of these left a run.
SELECT count(*) FROM attribution.allocation_runs WHERE tenant_id = :tenant AND model_version = 'unknown' OR state <> 'completed' AND tenant_id = :tenant;

--
-- Isolation: a run is READ COMMITTED, whatever the default is, and leaves that as it was
--
CREATE FUNCTION pg_temp.isolation() RETURNS text LANGUAGE sql RETURN current_setting('transaction_isolation');
SELECT attribution.define_model(:tenant, v, 'linear') FROM unnest('{repeatable read,serializable,read uncommitted}'::text[]) AS v \g /dev/null
CREATE TABLE public.regress_isolation (model_version text, isolation text);
CREATE FUNCTION public.regress_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.regress_isolation VALUES (NEW.model_version, pg_temp.isolation());
    RETURN NEW;
END $$;
CREATE TRIGGER regress_look BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_look();
SET default_transaction_isolation = 'repeatable read';
CALL attribution.allocate_events(:tenant, 'repeatable read', batch_size => 2) \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, pg_temp.isolation();
SET default_transaction_isolation = 'serializable';
CALL attribution.allocate_events(:tenant, 'serializable', batch_size => 2) \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, pg_temp.isolation();
SET default_transaction_isolation = 'read uncommitted';
CALL attribution.allocate_events(:tenant, 'read uncommitted', batch_size => 2) \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, pg_temp.isolation();
RESET default_transaction_isolation;
SELECT isolation, count(*), count(DISTINCT model_version) AS versions FROM public.regress_isolation GROUP BY isolation;
DROP TRIGGER regress_look ON attribution.attribution_allocations;
DROP FUNCTION public.regress_look;
DROP TABLE public.regress_isolation;
SELECT v AS model_version, (pg_temp.allocated(v)).* FROM unnest('{repeatable read,serializable,read uncommitted}'::text[]) AS v;

--
-- The runs
--
SELECT count(*) AS runs, count(*) FILTER (WHERE state <> 'completed' OR error_message IS NOT NULL) AS not_completed, bool_and(backend_pid = pg_backend_pid()) AS own,
       bool_and(updated_at >= started_at AND started_at > now() - interval '1 hour') AS clocks
FROM attribution.allocation_runs WHERE tenant_id = :tenant;
SELECT model_version, occurred_from, occurred_to, batch_size, state, events_allocated, allocations_written, events_failed, last_occurred_at, error_message FROM attribution.allocation_runs
WHERE tenant_id = :tenant AND model_version IN ('last', 'given') OR tenant_id = :tenant AND occurred_from = '2024-01-02Z' ORDER BY id;
SELECT count(*) AS runs, bool_and((p.state, p.events_allocated, p.allocations_written, p.events_failed) = (r.state, r.events_allocated, r.allocations_written, r.events_failed)
       AND p.elapsed = r.updated_at - r.started_at AND p.elapsed >= interval '0') AS same
FROM attribution.allocation_progress AS p JOIN attribution.allocation_runs AS r USING (tenant_id, id) WHERE tenant_id = :tenant;
-- A run whose session is gone was interrupted; so was one whose process id now belongs to a younger session.
INSERT INTO attribution.allocation_runs (tenant_id, id, model_version, batch_size, backend_pid, started_at) VALUES
    (:other, pg_temp.id(91), 'linear', 1, 2147483647, now()), (:other, pg_temp.id(92), 'linear', 1, pg_backend_pid(), '2020-01-01Z'), (:other, pg_temp.id(93), 'linear', 1, pg_backend_pid(), clock_timestamp());
SELECT ltrim(right(id::text, 6), '0') AS run, state FROM attribution.allocation_progress WHERE tenant_id = :other ORDER BY id;
DELETE FROM attribution.allocation_runs WHERE tenant_id = :other;

--
-- Batches of any size give the rows that allocate_event() gives
--
\set generated '''a110cae5-0000-4000-8000-00000000000c'''
INSERT INTO attribution.tenants (id, name) VALUES (:generated, 'allocate_events, generated');
SELECT attribution.define_model(:generated, 'm', 'position_based');
-- 150 conversions, many at the same moment, some with a key; 0 to 4 touches; every third one refunded, some twice, some by refunds older than they are.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, correlation_id, refund_of, revenue_cents)
SELECT :generated::uuid, md5(format('touch %s %s', n, k))::uuid, 'touch', '2024-02-01Z'::timestamptz + (n / 20 - k) * interval '1 hour', md5('session ' || n)::uuid, 'channel ' || (n * k) % 7, NULL, NULL::uuid, 0
FROM generate_series(1, 150) AS n, generate_series(1, 4) AS k WHERE k <= n % 5
UNION ALL SELECT :generated, md5('conversion ' || n)::uuid, 'conversion', '2024-02-01Z'::timestamptz + n / 20 * interval '1 hour', md5('session ' || n)::uuid, NULL, CASE WHEN n % 4 = 0 THEN 'pi_' || n END, NULL, 1 + n * n
FROM generate_series(1, 150) AS n
UNION ALL SELECT :generated, md5(format('refund %s %s', n, k))::uuid, 'refund', '2024-02-01Z'::timestamptz + (n / 20 + 40 * (n % 5) - k) * interval '1 hour', NULL, NULL, NULL, md5('conversion ' || n)::uuid, - n * n / (2 * k) - 1
FROM generate_series(3, 150, 3) AS n, generate_series(1, 2) AS k WHERE k = 1 OR n % 2 = 0;
CREATE TEMP TABLE one_by_one AS
SELECT a.* FROM attribution.attribution_events AS e, LATERAL attribution.allocate_event(e.tenant_id, e.id, 'm') AS a WHERE e.tenant_id = :generated AND e.event_type = 'conversion';
INSERT INTO one_by_one SELECT a.* FROM attribution.attribution_allocations AS a WHERE a.tenant_id = :generated AND a.id NOT IN (SELECT id FROM one_by_one);
SELECT count(DISTINCT event_id) AS events, count(*) > 300 AS many_rows FROM one_by_one;
CREATE VIEW pg_temp.difference AS
    WITH stored AS (SELECT to_jsonb(a) - '{created_at,updated_at}'::text[] AS row FROM one_by_one AS a),
         found AS (SELECT to_jsonb(a) - '{created_at,updated_at}'::text[] AS row FROM attribution.attribution_allocations AS a WHERE a.tenant_id = 'a110cae5-0000-4000-8000-00000000000c')
    SELECT count(*) AS different FROM ((TABLE stored EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE stored)) AS d;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :generated;
CALL attribution.allocate_events(:generated, 'm', batch_size => 1000) \gset
TABLE pg_temp.difference;
SELECT :events_allocated AS events_allocated, :allocations_written = (SELECT count(*) FROM one_by_one) AS all_rows;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :generated;
CALL attribution.allocate_events(:generated, 'm', batch_size => 7) \gset
TABLE pg_temp.difference;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :generated;
CALL attribution.allocate_events(:generated, 'm', batch_size => 1) \gset
TABLE pg_temp.difference;
SELECT :events_allocated AS events_allocated, :allocations_written = (SELECT count(*) FROM one_by_one) AS all_rows;
-- A part is there already, some of it without its refunds.
DELETE FROM attribution.attribution_allocations AS a USING attribution.attribution_events AS e
WHERE a.tenant_id = :generated AND e.tenant_id = a.tenant_id AND e.id = a.event_id
  AND (e.event_type = 'refund' OR e.revenue_cents % 2 = 0 AND NOT EXISTS (SELECT FROM attribution.attribution_events AS r WHERE r.tenant_id = e.tenant_id AND r.refund_of = e.id));
CALL attribution.allocate_events(:generated, 'm', batch_size => 7) \gset
TABLE pg_temp.difference;
CALL attribution.allocate_events(:generated, 'm', batch_size => 7) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed;
SELECT * FROM attribution.unbalanced_allocations(:generated);

--
-- Events that cannot be allocated
--
\set failing '''a110cae5-0000-4000-8000-00000000000d'''
INSERT INTO attribution.tenants (id, name) VALUES (:failing, 'allocate_events, failing');
SELECT attribution.define_model(:failing, v, 'linear') FROM unnest('{1,2,3,4,5}'::text[]) AS v \g /dev/null
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, refund_of, revenue_cents)
SELECT :failing::uuid, pg_temp.id(n + 300), 'touch', '2024-03-01Z'::timestamptz, pg_temp.id(n), 'email', NULL::uuid, 0 FROM generate_series(101, 110) AS n
UNION ALL SELECT :failing, pg_temp.id(n + 400), 'touch', '2024-03-01Z', pg_temp.id(n), 'tv', NULL, 0 FROM generate_series(101, 110) AS n
UNION ALL SELECT :failing, pg_temp.id(n), 'conversion', '2024-03-01Z'::timestamptz + n * interval '1 minute', pg_temp.id(n), NULL, NULL, 100 FROM generate_series(101, 110) AS n
UNION ALL SELECT :failing, pg_temp.id(n + 100), 'refund', '2024-03-02Z'::timestamptz + n * interval '1 minute', NULL, NULL, pg_temp.id(n), -10 FROM generate_series(101, 110) AS n
UNION ALL SELECT :failing, pg_temp.id(n + 200), 'refund', '2024-03-03Z'::timestamptz + n * interval '1 minute', NULL, NULL, pg_temp.id(n), -20 FROM generate_series(101, 110) AS n;
-- A trigger of the user's: refuses conversion 103, gives a cent too much to 105, refuses the first refund of 107, and the second one of 109.
CREATE FUNCTION public.regress_spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE ltrim(right(NEW.event_id::text, 6), '0')
        WHEN '103' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = 'P0007', DETAIL = 'some detail', HINT = 'some hint';
        WHEN '105' THEN NEW.allocated_revenue_cents := NEW.allocated_revenue_cents + (NEW.channel = 'tv')::int;
        WHEN '207' THEN RAISE division_by_zero;
        WHEN '309' THEN RAISE no_data_found;
        ELSE NULL;
    END CASE;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_spoil BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_spoil();
-- Out of order of refunds nothing is taken: after the refund that fails the next one of its conversion waits; it does not fail.
CREATE FUNCTION pg_temp.failures(run_id uuid) RETURNS TABLE (event text, error_code text, message text, detail text, hint text) LANGUAGE sql
BEGIN ATOMIC
    SELECT ltrim(right(f.event_id::text, 6), '0'), f.error_code, f.message, f.detail, f.hint FROM attribution.allocation_failures AS f
    WHERE f.tenant_id = 'a110cae5-0000-4000-8000-00000000000d' AND f.run_id = failures.run_id ORDER BY f.event_id;
END;
CREATE FUNCTION pg_temp.waiting(model_version text) RETURNS text LANGUAGE sql
    RETURN (SELECT string_agg(ltrim(right(e.id::text, 6), '0'), ' ' ORDER BY e.id) FROM attribution.attribution_events AS e
            WHERE e.tenant_id = 'a110cae5-0000-4000-8000-00000000000d' AND e.event_type <> 'touch' AND NOT EXISTS (
                SELECT FROM attribution.attribution_allocations AS a WHERE a.tenant_id = e.tenant_id AND a.event_id = e.id AND a.model_version = waiting.model_version));
CALL attribution.allocate_events(:failing, '1') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('1');
SELECT * FROM pg_temp.failures(:'run_id');
SELECT state, events_allocated, allocations_written, events_failed, last_occurred_at, error_message FROM attribution.allocation_progress WHERE tenant_id = :failing AND id = :'run_id';
SELECT count(*) AS rows, bool_and(failed_at >= r.started_at AND failed_at <= clock_timestamp()) AS clocks
FROM attribution.allocation_failures AS f JOIN attribution.allocation_runs AS r ON r.tenant_id = f.tenant_id AND r.id = f.run_id WHERE f.tenant_id = :failing;
-- The same in batches of any size, also where conversion and refunds are in different ones.
CALL attribution.allocate_events(:failing, '2', batch_size => 1) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('2');
SELECT event, error_code FROM pg_temp.failures(:'run_id');
CALL attribution.allocate_events(:failing, '3', batch_size => 3) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('3');
SELECT event, error_code FROM pg_temp.failures(:'run_id');
CALL attribution.allocate_events(:failing, '4', batch_size => 13) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('4');
-- The next run tries them again; what was recorded stays with its run.
CALL attribution.allocate_events(:failing, '1') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed;
SELECT event, error_code FROM pg_temp.failures(:'run_id');
DROP TRIGGER regress_spoil ON attribution.attribution_allocations;
CALL attribution.allocate_events(:failing, '1') \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('1') IS NULL AS nothing_waits;
CALL attribution.allocate_events(:failing, '2', batch_size => 1) \gset
SELECT count(DISTINCT run_id) AS runs, count(*) AS failures FROM attribution.allocation_failures WHERE tenant_id = :failing;
SELECT e.refund_of IS NULL AS is_conversion, count(DISTINCT a.event_id) AS events, sum(a.allocated_revenue_cents) AS cents FROM attribution.attribution_allocations AS a
JOIN attribution.attribution_events AS e ON e.tenant_id = a.tenant_id AND e.id = a.event_id WHERE a.tenant_id = :failing AND a.model_version IN ('1', '2') GROUP BY 1 ORDER BY 1;
SELECT * FROM attribution.unbalanced_allocations(:failing);

-- What no event is to blame for ends the run; batches that were committed stay.
SELECT attribution.define_model(:failing, 'full', 'linear');
CREATE FUNCTION public.regress_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF right(NEW.event_id::text, 3) = '105' THEN
        RAISE disk_full USING MESSAGE = 'no space left';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_full BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_full();
CALL attribution.allocate_events(:failing, 'full', batch_size => 2);
\echo :SQLSTATE
SELECT state, events_allocated, allocations_written, events_failed, last_occurred_at, error_message FROM attribution.allocation_progress WHERE tenant_id = :failing AND model_version = 'full' ORDER BY id;
DROP TRIGGER regress_full ON attribution.attribution_allocations;
CALL attribution.allocate_events(:failing, 'full', batch_size => 2) \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, pg_temp.waiting('full') IS NULL AS nothing_waits;
-- What may succeed when it is tried again is, five times.
SELECT attribution.define_model(:failing, v, 'linear') FROM unnest('{again,never}'::text[]) AS v \g /dev/null
CREATE SEQUENCE public.regress_tries;
CREATE FUNCTION public.regress_busy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF right(NEW.event_id::text, 3) = '105' AND (NEW.model_version = 'never' OR nextval('public.regress_tries') < 5) THEN
        RAISE serialization_failure;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_busy BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_busy();
CALL attribution.allocate_events(:failing, 'again', batch_size => 4) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed, pg_temp.waiting('again') IS NULL AS nothing_waits;
CALL attribution.allocate_events(:failing, 'never', batch_size => 4);
\echo :SQLSTATE
SELECT state, events_allocated, events_failed, last_occurred_at, error_message FROM attribution.allocation_progress WHERE tenant_id = :failing AND model_version = 'never';
DROP TRIGGER regress_busy ON attribution.attribution_allocations;
DROP FUNCTION public.regress_spoil, public.regress_full, public.regress_busy;
DROP SEQUENCE public.regress_tries;

--
-- Rights
--
CREATE ROLE regress_attribution_batch;
CREATE ROLE regress_attribution_less;
SELECT attribution.grant_access('regress_attribution_batch', 'writer'), attribution.grant_access('regress_attribution_less', 'writer') \g /dev/null
REVOKE INSERT ON attribution.attribution_allocations FROM regress_attribution_less;
-- Without the right to insert: the run says so.
SET SESSION AUTHORIZATION regress_attribution_less;
SET attribution.tenant_id = 'a110cae5-0000-4000-8000-00000000000b';
CALL attribution.allocate_events(:other, 'linear');
\echo :SQLSTATE
SELECT state, events_allocated, events_failed, error_message FROM attribution.allocation_progress ORDER BY id;
SELECT count(*) AS failures FROM attribution.allocation_failures;
RESET SESSION AUTHORIZATION;
-- A writer for its own tenant; another one, none, or one that does not exist has no such thing.
SET SESSION AUTHORIZATION regress_attribution_batch;
CALL attribution.allocate_events(:tenant, 'linear');
\echo :SQLSTATE
CALL attribution.allocate_events('a110cae5-0000-4000-8000-0000000000ff', 'linear');
\echo :SQLSTATE
CALL attribution.allocate_events(:other, 'linear', batch_size => 2) \gset
SELECT :events_allocated AS events_allocated, :allocations_written AS allocations_written, :events_failed AS events_failed;
SELECT count(DISTINCT tenant_id) AS tenants, count(*) AS runs FROM attribution.allocation_progress;
SELECT channel, count(*), sum(allocated_revenue_cents) FROM attribution.attribution_allocations GROUP BY channel;
-- Its runs are not its own to write.
UPDATE attribution.allocation_runs SET state = 'completed';
DELETE FROM attribution.allocation_failures;
INSERT INTO attribution.allocation_runs (tenant_id, model_version, batch_size, backend_pid) VALUES (:other, 'x', 1, 1);
SET attribution.tenant_id = '';
CALL attribution.allocate_events(:other, 'linear');
\echo :SQLSTATE
SELECT count(*) AS runs FROM attribution.allocation_progress;
RESET SESSION AUTHORIZATION;
-- As the tenant of all the generated rows: its events, nobody else's.
SELECT attribution.define_model(:generated, 'rights', 'linear') \g /dev/null
SET SESSION AUTHORIZATION regress_attribution_batch;
SET attribution.tenant_id = 'a110cae5-0000-4000-8000-00000000000c';
CALL attribution.allocate_events(:generated, 'rights', batch_size => 40) \gset
RESET SESSION AUTHORIZATION;
RESET attribution.tenant_id;
SELECT tenant_id = :generated AS own, count(DISTINCT event_id) AS events FROM attribution.attribution_allocations WHERE model_version = 'rights' GROUP BY tenant_id;
-- Nothing of the caller's runs with the owner's rights, whatever its search_path says: run, progress and failures are written by the owner.
SELECT attribution.define_model(:failing, v, 'linear') FROM unnest('{hostile,failing}'::text[]) AS v \g /dev/null
CREATE SCHEMA regress_hostile AUTHORIZATION regress_attribution_batch;
SET SESSION AUTHORIZATION regress_attribution_batch;
SET attribution.tenant_id = 'a110cae5-0000-4000-8000-00000000000d';
CREATE FUNCTION regress_hostile.seen() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regress_attribution_batch' THEN
        RAISE WARNING 'runs as somebody else';
    END IF;
    RETURN true;
END $$;
DO $$
DECLARE
    type text;
    operator text;
BEGIN
    FOREACH type IN ARRAY '{uuid,text,bigint,integer,timestamptz,boolean}'::text[] LOOP
        FOREACH operator IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
            EXECUTE format('CREATE FUNCTION regress_hostile.%I(%s, %2$s) RETURNS boolean LANGUAGE sql AS ''SELECT regress_hostile.seen()''', 'op' || operator, type);
            EXECUTE format('CREATE OPERATOR regress_hostile.%s (FUNCTION = regress_hostile.%I, LEFTARG = %s, RIGHTARG = %3$s)', operator, 'op' || operator, type);
        END LOOP;
    END LOOP;
    FOREACH operator IN ARRAY '{clock_timestamp,now}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION regress_hostile.%s() RETURNS timestamptz LANGUAGE sql AS ''SELECT pg_catalog.transaction_timestamp() WHERE regress_hostile.seen()''', operator);
    END LOOP;
END $$;
CREATE TEMP TABLE attribution_events (id integer);
CREATE TEMP TABLE allocation_runs (id integer);
SET search_path = regress_hostile, pg_temp, pg_catalog;
CALL attribution.allocate_events(:failing, 'hostile', batch_size => 3) \gset
RESET search_path;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.regress_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE TRIGGER regress_refuse BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_refuse();
SET SESSION AUTHORIZATION regress_attribution_batch;
SET search_path = regress_hostile, pg_temp, pg_catalog;
CALL attribution.allocate_events(:failing, 'failing', batch_size => 3) \gset
RESET search_path;
RESET SESSION AUTHORIZATION;
RESET attribution.tenant_id;
DROP TRIGGER regress_refuse ON attribution.attribution_allocations;
DROP FUNCTION public.regress_refuse;
SELECT model_version, state, events_allocated, events_failed FROM attribution.allocation_runs WHERE tenant_id = :failing AND model_version IN ('hostile', 'failing') ORDER BY id;
DROP OWNED BY regress_attribution_batch, regress_attribution_less;
DROP ROLE regress_attribution_batch, regress_attribution_less;

-- Runs go with their tenant.
INSERT INTO attribution.tenants (id, name) VALUES ('a110cae5-0000-4000-8000-0000000000ef', 'allocate_events, gone');
INSERT INTO attribution.allocation_runs (tenant_id, id, model_version, batch_size, backend_pid) VALUES ('a110cae5-0000-4000-8000-0000000000ef', pg_temp.id(1), '1', 1, 1);
INSERT INTO attribution.allocation_failures (tenant_id, run_id, event_id, error_code) VALUES ('a110cae5-0000-4000-8000-0000000000ef', pg_temp.id(1), pg_temp.id(1), '22012');
DELETE FROM attribution.tenants WHERE id = 'a110cae5-0000-4000-8000-0000000000ef';
SELECT count(*) FROM attribution.allocation_failures WHERE tenant_id = 'a110cae5-0000-4000-8000-0000000000ef';
