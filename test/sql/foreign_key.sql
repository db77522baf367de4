-- foreign_key: rows whose parents are locked are inserted without a check of their foreign keys. That must not
-- reach anything else that the INSERT runs: what a default, a CHECK, a generated column, an index, a policy, a
-- domain or a cast writes elsewhere is checked there, and triggers there fire.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\set allocate :inputdir '/sql/include/foreign_key_allocate.sql'
\set post :inputdir '/sql/include/foreign_key_post.sql'
\i :prelude
SET timezone = 'UTC';
-- Hints name the run.
\set VERBOSITY terse
\set t '''f02e1620-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:t, 'foreign_key');
SELECT attribution.define_model(:t, version, 'linear') FROM (SELECT 'v' || n FROM generate_series(1, 20) AS n UNION ALL SELECT 'post') AS v (version)
\g /dev/null
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :t, format('f02e1620-0000-4000-8000-0000000000e%s', n)::uuid, 'conversion', '2024-01-01Z'::timestamptz + n * interval '1 hour', 100 * n FROM generate_series(1, 3) AS n;
CREATE SEQUENCE public.regress_versions;
CREATE SEQUENCE public.regress_events START 10;
-- How many were posted, or the SQLSTATE.
CREATE FUNCTION public.regress_post(tenant_id uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN attribution.post_allocations(regress_post.tenant_id, 'post');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

-- Elsewhere: a table with a foreign key and a trigger that leaves a trail.
CREATE TABLE public.regress_parents (id int PRIMARY KEY);
INSERT INTO public.regress_parents VALUES (1);
CREATE TABLE public.regress_audit (parent_id int REFERENCES public.regress_parents);
CREATE TABLE public.regress_trail (parent_id int);
CREATE FUNCTION public.regress_leave_trail() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.regress_trail VALUES (NEW.parent_id); RETURN NEW; END $$;
CREATE TRIGGER leave_trail AFTER INSERT ON public.regress_audit FOR EACH ROW EXECUTE FUNCTION public.regress_leave_trail();
CREATE FUNCTION public.regress_elsewhere(OUT is_written boolean, OUT orphans bigint, OUT without_trail bigint) LANGUAGE sql AS $$
    SELECT count(*) > 0, count(*) FILTER (WHERE p.id IS NULL), count(*) - (SELECT count(*) FROM public.regress_trail)
    FROM public.regress_audit AS a LEFT JOIN public.regress_parents AS p ON p.id = a.parent_id $$;
-- These write there, whatever they say of themselves.
CREATE FUNCTION public.regress_write() RETURNS bigint LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.regress_audit VALUES (current_setting('regress.parent')::int); RETURN 1; END $$;
CREATE FUNCTION public.regress_write(anyelement) RETURNS bigint LANGUAGE plpgsql VOLATILE AS
$$ BEGIN RETURN public.regress_write(); END $$;

-- A column default.
ALTER TABLE attribution.attribution_allocations ADD COLUMN hole bigint;
ALTER TABLE attribution.attribution_allocations ALTER COLUMN hole SET DEFAULT public.regress_write();
\i :allocate
-- A built-in function that runs what it is given.
ALTER TABLE attribution.attribution_allocations ALTER COLUMN hole
    SET DEFAULT octet_length(query_to_xml('SELECT public.regress_write()', true, true, '')::text);
\i :allocate
ALTER TABLE attribution.attribution_allocations DROP COLUMN hole;
-- A CHECK.
ALTER TABLE attribution.attribution_allocations ADD CONSTRAINT hole CHECK (public.regress_write(channel) = 1) NOT VALID;
\i :allocate
ALTER TABLE attribution.attribution_allocations DROP CONSTRAINT hole;
-- What has to be immutable: a generated column, an index on an expression, a partial index.
ALTER FUNCTION public.regress_write(anyelement) IMMUTABLE;
SET regress.parent = 1;
ALTER TABLE attribution.attribution_allocations ADD COLUMN hole bigint GENERATED ALWAYS AS (public.regress_write(channel)) STORED;
\i :allocate
ALTER TABLE attribution.attribution_allocations DROP COLUMN hole;
SET regress.parent = 1;
CREATE INDEX hole ON attribution.attribution_allocations (public.regress_write(channel));
\i :allocate
DROP INDEX attribution.hole;
SET regress.parent = 1;
CREATE INDEX hole ON attribution.attribution_allocations (channel) WHERE public.regress_write(channel) = 1;
\i :allocate
DROP INDEX attribution.hole;
-- A domain.
CREATE DOMAIN public.regress_domain AS bigint CHECK (public.regress_write(VALUE) = 1);
ALTER TABLE attribution.attribution_allocations ADD COLUMN hole public.regress_domain;
SET regress.parent = 1;
ALTER TABLE attribution.attribution_allocations ALTER COLUMN hole SET DEFAULT 1;
\i :allocate
ALTER TABLE attribution.attribution_allocations DROP COLUMN hole;
DROP DOMAIN public.regress_domain;
-- A cast that the values of the extension go through.
CREATE FUNCTION public.regress_cast(text) RETURNS bytea LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.regress_write(); RETURN convert_to($1, 'UTF8'); END $$;
CREATE CAST (text AS bytea) WITH FUNCTION public.regress_cast(text) AS ASSIGNMENT;
ALTER TABLE attribution.attribution_allocations ALTER COLUMN correlation_id TYPE bytea USING NULL;
UPDATE attribution.attribution_events SET correlation_id = 'pi_' || id, external_event_id = 'order:' || id;
\i :allocate
ALTER TABLE attribution.attribution_allocations ALTER COLUMN correlation_id TYPE text USING NULL;
DROP CAST (text AS bytea);
DROP FUNCTION public.regress_cast(text);
-- A policy, for those whom row security concerns.
CREATE ROLE regress_fk_writer;
SELECT attribution.grant_access('regress_fk_writer', 'writer');
GRANT ALL ON public.regress_audit, public.regress_trail, public.regress_parents, public.regress_versions TO regress_fk_writer;
CREATE POLICY hole ON attribution.attribution_allocations AS RESTRICTIVE FOR INSERT TO regress_fk_writer
    WITH CHECK (public.regress_write(channel) = 1);
SET ROLE regress_fk_writer;
SET attribution.tenant_id = :t;
\i :allocate
RESET attribution.tenant_id;
RESET ROLE;
DROP POLICY hole ON attribution.attribution_allocations;
-- A function of the extension that somebody replaced is not the extension's own any more.
SELECT pg_get_functiondef('attribution.uuid_v7()'::regprocedure) AS uuid_v7 \gset
CREATE OR REPLACE FUNCTION attribution.uuid_v7() RETURNS uuid LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.regress_write(); RETURN gen_random_uuid(); END $$;
\i :post
:uuid_v7;
-- Nothing of that: nothing is written elsewhere.
\i :allocate
\i :post

-- The ledger, its books and settlements.
ALTER TABLE attribution.revenue_ledger ADD CONSTRAINT hole CHECK (public.regress_write(revenue_cents) = 1) NOT VALID;
\i :post
ALTER TABLE attribution.revenue_ledger DROP CONSTRAINT hole;
ALTER TABLE attribution.revenue_ledger ADD COLUMN hole bigint;
ALTER TABLE attribution.revenue_ledger ALTER COLUMN hole SET DEFAULT public.regress_write();
\i :post
ALTER TABLE attribution.revenue_ledger DROP COLUMN hole;
ALTER TABLE attribution.ledger_books ADD COLUMN hole bigint;
ALTER TABLE attribution.ledger_books ALTER COLUMN hole SET DEFAULT public.regress_write();
\i :post
ALTER TABLE attribution.ledger_books DROP COLUMN hole;
ALTER TABLE attribution.reconciliation_settlements ADD COLUMN hole bigint;
ALTER TABLE attribution.reconciliation_settlements ALTER COLUMN hole SET DEFAULT public.regress_write();
TRUNCATE public.regress_audit, public.regress_trail;
SELECT id AS run FROM attribution.start_reconciliation(:t) \gset
SET regress.parent = 2;
CALL pg_temp.attempt(format('SELECT attribution.settle(%L, %L, ''[{"key": "order:e1", "amount_cents": 100}]'')', :t, :'run'));
SELECT * FROM public.regress_elsewhere();
SET regress.parent = 1;
SELECT * FROM attribution.settle(:t, :'run', '[{"key": "order:e1", "amount_cents": 100}]');
SELECT * FROM public.regress_elsewhere();
ALTER TABLE attribution.reconciliation_settlements DROP COLUMN hole;
-- A function of the extension that writes: the user's trigger on the ledger fires.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
VALUES (:t, 'f02e1620-0000-4000-8000-0000000000f1', 'conversion', '2024-01-03Z', 100);
SELECT FROM attribution.allocate_event(:t, 'f02e1620-0000-4000-8000-0000000000f1', 'post') \g /dev/null
CREATE FUNCTION public.regress_refuse_posting() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'the trigger of the user fires'; END $$;
CREATE TRIGGER hole AFTER INSERT ON attribution.revenue_ledger FOR EACH ROW EXECUTE FUNCTION public.regress_refuse_posting();
ALTER TABLE attribution.reconciliation_settlements ADD COLUMN hole bigint;
ALTER TABLE attribution.reconciliation_settlements ALTER COLUMN hole
    SET DEFAULT attribution.post_allocations('f02e1620-0000-4000-8000-00000000000a', 'post');
CALL pg_temp.attempt(format('SELECT attribution.settle(%L, %L, ''[{"key": "order:e4", "amount_cents": 100}]'')', :t, :'run'));
ALTER TABLE attribution.reconciliation_settlements DROP COLUMN hole;
DROP TRIGGER hole ON attribution.revenue_ledger;
DROP FUNCTION public.regress_refuse_posting();
-- The key of a partitioned table that the extension's table has become a partition of.
CREATE TABLE public.regress_partitioned (LIKE attribution.reconciliation_settlements) PARTITION BY LIST (public.regress_write(key));
ALTER TABLE public.regress_partitioned ATTACH PARTITION attribution.reconciliation_settlements FOR VALUES IN (1);
TRUNCATE public.regress_audit, public.regress_trail;
SET regress.parent = 2;
CALL pg_temp.attempt(format('SELECT attribution.settle(%L, %L, ''[{"key": "order:e2", "amount_cents": 100}]'')', :t, :'run'));
SELECT * FROM public.regress_elsewhere();
ALTER TABLE public.regress_partitioned DETACH PARTITION attribution.reconciliation_settlements;
DROP TABLE public.regress_partitioned;
DROP TABLE public.regress_trail, public.regress_audit, public.regress_parents;
DROP SEQUENCE public.regress_versions, public.regress_events;
DROP FUNCTION public.regress_post(uuid), public.regress_write(anyelement), public.regress_write(), public.regress_elsewhere(), public.regress_leave_trail();
DROP OWNED BY regress_fk_writer;
DROP ROLE regress_fk_writer;
