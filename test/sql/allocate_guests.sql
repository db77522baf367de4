-- allocate_guests: triggers, keys and rules of users on attribution_allocations keep their promises when it is
-- allocated in bulk, and what they refuse is told.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
-- Hints name the run.
\set VERBOSITY terse
\set t '''a110ce65-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:t, 'allocate_guests');
SELECT attribution.define_model(:t, 'v' || n, 'linear') FROM generate_series(1, 9) AS n
\g /dev/null
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :t, format('a110ce65-0000-4000-8000-0000000000e%s', n)::uuid, 'conversion', '2024-01-01Z'::timestamptz + n * interval '1 hour', 100 * n FROM generate_series(1, 4) AS n;
CREATE TABLE public.regress_channels (channel text PRIMARY KEY);
CREATE TABLE public.regress_audit (id uuid, channel text REFERENCES public.regress_channels);
CREATE FUNCTION public.regress_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.regress_audit VALUES (NEW.id, NEW.channel);
    RETURN NULL;
END $$;

-- What a trigger writes elsewhere has its foreign keys checked, whether the trigger fires always or not.
CREATE TRIGGER regress_audit AFTER INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_audit();
CALL attribution.allocate_events(:t, 'v1') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, (SELECT count(*) FROM public.regress_audit) AS audited;
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER regress_audit;
CALL attribution.allocate_events(:t, 'v1') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, (SELECT count(*) FROM public.regress_audit) AS audited;
SELECT DISTINCT error_code, message FROM attribution.allocation_failures WHERE tenant_id = :t AND run_id = :'run_id';
INSERT INTO public.regress_channels VALUES ('unattributed');
CALL attribution.allocate_events(:t, 'v1') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed, (SELECT count(*) FROM public.regress_audit) AS audited;
DROP TRIGGER regress_audit ON attribution.attribution_allocations;

-- Another foreign key to the events is checked too.
ALTER TABLE attribution.attribution_events ADD CONSTRAINT regress_key UNIQUE (tenant_id, id, channel);
ALTER TABLE attribution.attribution_allocations ADD CONSTRAINT regress_fkey
    FOREIGN KEY (tenant_id, event_id, channel) REFERENCES attribution.attribution_events (tenant_id, id, channel) NOT VALID;
CALL attribution.allocate_events(:t, 'v2') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed;
SELECT DISTINCT error_code FROM attribution.allocation_failures WHERE tenant_id = :t AND run_id = :'run_id';
ALTER TABLE attribution.attribution_allocations DROP CONSTRAINT regress_fkey;
ALTER TABLE attribution.attribution_events DROP CONSTRAINT regress_key;
CALL attribution.allocate_events(:t, 'v2') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed;

-- An error of the kind that everybody would have, but one event has it: the others go on. All have it: the run ends.
CREATE FUNCTION public.regress_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.event_id::text LIKE TG_ARGV[0] THEN
        RAISE insufficient_privilege USING MESSAGE = 'not this one';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_refuse BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_refuse('%e2');
CALL attribution.allocate_events(:t, 'v3') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed;
SELECT right(event_id::text, 2) AS event, error_code, message FROM attribution.allocation_failures WHERE tenant_id = :t AND run_id = :'run_id';
DROP TRIGGER regress_refuse ON attribution.attribution_allocations;
CREATE TRIGGER regress_refuse BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_refuse('%');
CALL attribution.allocate_events(:t, 'v4');
SELECT state, events_allocated, events_failed, error_message FROM attribution.allocation_runs WHERE tenant_id = :t AND model_version = 'v4';
DROP TRIGGER regress_refuse ON attribution.attribution_allocations;

-- Rows that a trigger turns away are missed, by every way to allocate.
CREATE FUNCTION public.regress_drop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER regress_drop BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.regress_drop();
CALL attribution.allocate_events(:t, 'v5') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed;
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ce65-0000-4000-8000-00000000000a', 'a110ce65-0000-4000-8000-0000000000e1', 'v5')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ce65-0000-4000-8000-00000000000a', 'a110ce65-0000-4000-8000-0000000000e1', 'given', '{a}', '{1}')$$);
DROP TRIGGER regress_drop ON attribution.attribution_allocations;

-- A rule is refused: it would read the computed rows twice.
CREATE RULE regress_rule AS ON INSERT TO attribution.attribution_allocations DO ALSO INSERT INTO public.regress_audit VALUES (NEW.id, 'unattributed');
CALL attribution.allocate_events(:t, 'v6') \gset
SELECT DISTINCT error_code, message FROM attribution.allocation_failures WHERE tenant_id = :t AND run_id = :'run_id';
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ce65-0000-4000-8000-00000000000a', 'a110ce65-0000-4000-8000-0000000000e1', 'v6')$$);
DROP RULE regress_rule ON attribution.attribution_allocations;

-- What the caller does after the run has the caller's isolation level.
SET default_transaction_isolation = 'serializable';
DO $$
DECLARE
    run uuid; events bigint; allocations bigint; failed bigint;
BEGIN
    CALL attribution.allocate_events('a110ce65-0000-4000-8000-00000000000a', 'v7', NULL, NULL, 2, run, events, allocations, failed);
    RAISE INFO '% events, then %', events, current_setting('transaction_isolation');
END $$;
RESET default_transaction_isolation;

-- Imported a cent short, with a tolerance: a full refund takes what there is.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
VALUES (:t, 'a110ce65-0000-4000-8000-0000000000ea', 'conversion', '2024-02-01Z', 10000);
BEGIN;
SET LOCAL attribution.sum_tolerance_cents = 1;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:t, 'a110ce65-0000-4000-8000-0000000000ea', 'import', 'x', 3333), (:t, 'a110ce65-0000-4000-8000-0000000000ea', 'import', 'y', 6666);
COMMIT;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
VALUES (:t, 'a110ce65-0000-4000-8000-0000000000eb', 'refund', '2024-02-02Z', 'a110ce65-0000-4000-8000-0000000000ea', -10000);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ce65-0000-4000-8000-00000000000a', 'a110ce65-0000-4000-8000-0000000000eb', 'import')$$);
BEGIN;
SET LOCAL attribution.sum_tolerance_cents = 1;
SELECT channel, allocated_revenue_cents FROM attribution.allocate_event(:t, 'a110ce65-0000-4000-8000-0000000000eb', 'import');
COMMIT;

DROP FUNCTION public.regress_audit, public.regress_refuse, public.regress_drop;
DROP TABLE public.regress_audit, public.regress_channels;
