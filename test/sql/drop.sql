-- drop: a DROP does not take rows of tenants along unless the session says so, and it lets everything else pass.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude

-- What a statement comes to, whatever it does undone: `passes`, or SQLSTATE and message, and DETAIL of ours.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RAISE 'undo' USING ERRCODE = 'UNDOO';
EXCEPTION
    WHEN SQLSTATE 'UNDOO' THEN
        RETURN 'passes';
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        IF hint !~ 'allow_drop_with_rows' THEN
            RETURN format('%s: %s', SQLSTATE, message);
        END IF;
        RETURN format(E'%s: %s\n        %s', SQLSTATE, message, detail);
END $$;
\set show 'SELECT statement || E''\n    '' || pg_temp.outcome(statement) FROM statements ORDER BY nr'
CREATE TEMP TABLE statements (nr integer GENERATED ALWAYS AS IDENTITY, statement text);
\pset format unaligned
\pset tuples_only on
\set ECHO all
SELECT attribution.uuid_v7() IS NOT NULL AS is_loaded;
SHOW attribution.allow_drop_with_rows;

-- All in one transaction, with tables of its own, and undone.
BEGIN;
SET LOCAL client_min_messages = error;
SET LOCAL attribution.allow_drop_with_rows = on;
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
SET LOCAL attribution.allow_drop_with_rows = off;
CREATE SCHEMA regress_other;
CREATE TABLE regress_other."attribution.tenants" (id int);
CREATE TABLE regress_other.parent (event_id uuid);
CREATE VIEW regress_other.v AS SELECT 1;

INSERT INTO statements (statement) VALUES
    ('DROP SCHEMA attribution CASCADE'),
    ('DROP SCHEMA IF EXISTS missing, attribution CASCADE'),
    ('DROP SCHEMA regress_other, attribution CASCADE'),
    ('DROP TABLE attribution.tenants CASCADE'),
    ('SET LOCAL search_path = pg_catalog, "attribution"; DROP TABLE IF EXISTS tenants CASCADE'),
    ('DROP TABLE regress_other.parent, attribution.event_aliases, attribution.tenants CASCADE'),
    ('DROP TABLE attribution.event_aliases'),
    ('DROP TABLE regression_is_no_database.attribution.event_aliases'),
    ('DROP EXTENSION attribution CASCADE'),
    ('DROP EXTENSION IF EXISTS missing, attribution CASCADE'),
    ('DO $do$ BEGIN EXECUTE ''DROP SCHEMA attribution CASCADE''; END $do$'),
    -- The core refuses these, rows or not.
    ('DROP SCHEMA attribution'),
    ('DROP SCHEMA attribution_internal CASCADE'),
    ('DROP EXTENSION attribution'),
    ('DROP EVENT TRIGGER attribution_guards_drop'),
    ('DROP FUNCTION attribution_internal.guard_drop() CASCADE'),
    ('DROP SCHEMA attribution.tenants'),
    ('DROP TABLE missing'),
    ('DROP TABLE missing.tenants'),
    ('DROP TABLE a.b.c.d'),
    ('DROP TABLE regress_other.v'),
    ('DROP TYPE missing'),
    ('DROP OWNED BY missing'),
    ('DROP OWNED BY PUBLIC'),
    -- These lose no row of a tenant.
    ('DROP SCHEMA regress_other CASCADE'),
    ('DROP TABLE regress_other."attribution.tenants"'),
    ('DROP TABLE regress_other.parent'),
    ('DROP TABLE IF EXISTS missing, missing.tenants, attribution.missing CASCADE'),
    ('CREATE TEMP TABLE tenants (tenant_id uuid); INSERT INTO tenants SELECT gen_random_uuid(); DROP TABLE pg_temp.tenants'),
    ('CREATE TEMP TABLE tenants (tenant_id uuid); INSERT INTO tenants SELECT gen_random_uuid(); DROP TABLE tenants CASCADE'),
    ('DROP MATERIALIZED VIEW attribution.mv_realtime_revenue CASCADE'),
    ('CREATE TYPE regress_other.e AS ENUM (''a''); CREATE TYPE regress_other.t AS (a int); DROP TYPE regress_other.e, regress_other.t CASCADE'),
    ('CREATE TABLE attribution.mine (id int); INSERT INTO attribution.mine VALUES (1); DROP TABLE attribution.mine');

-- No tenant has a row.
:show;

-- Now one has.
INSERT INTO attribution.tenants (id, name) VALUES ('d409d409-0000-4000-8000-000000000000', 'drop');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
VALUES ('d409d409-0000-4000-8000-000000000000', 'd409d409-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01Z', 5);
INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id) VALUES ('d409d409-0000-4000-8000-000000000000', 'a', 'd409d409-0000-4000-8000-0000000000e1');
SET CONSTRAINTS ALL IMMEDIATE;
:show;

-- And the session says so.
SET LOCAL attribution.allow_drop_with_rows = on;
SELECT pg_temp.outcome(statement) AS outcome, count(*) FROM statements WHERE nr <= 11 GROUP BY 1 ORDER BY 1;
SET LOCAL attribution.allow_drop_with_rows = off;

-- A row that this transaction has deleted is no row, nor is one that was never committed.
DELETE FROM attribution.event_aliases;
SELECT pg_temp.outcome('DROP TABLE attribution.event_aliases');
SELECT pg_temp.outcome('INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id) SELECT tenant_id, ''a'', id FROM attribution.attribution_events; SET CONSTRAINTS ALL IMMEDIATE; DROP TABLE attribution.event_aliases');

-- pg_dump --clean drops the key before the table, and so may you.
INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id) SELECT tenant_id, 'a', id FROM attribution.attribution_events;
SET CONSTRAINTS ALL IMMEDIATE;
TRUNCATE statements;
INSERT INTO statements (statement) VALUES
    ('ALTER TABLE attribution.event_aliases DROP CONSTRAINT event_aliases_pkey CASCADE; DROP TABLE attribution.event_aliases'),
    ('ALTER TABLE attribution.event_aliases DROP CONSTRAINT event_aliases_pkey CASCADE; DROP TABLE attribution.event_aliases CASCADE');
CREATE TABLE attribution.mine (tenant_id uuid PRIMARY KEY);
INSERT INTO attribution.mine SELECT id FROM attribution.tenants;
INSERT INTO statements (statement) VALUES
    ('DROP TABLE attribution.mine'),
    ('ALTER TABLE attribution.mine DROP CONSTRAINT mine_pkey; DROP TABLE attribution.mine'),
    ('ALTER TABLE attribution.mine DROP CONSTRAINT mine_pkey; DROP TABLE attribution.mine CASCADE'),
    -- What else takes a table along.
    ('CREATE TABLE regress_other.heirs (tenant_id uuid); ALTER TABLE attribution.mine INHERIT regress_other.heirs; DROP TABLE regress_other.heirs CASCADE'),
    ('CREATE TABLE regress_other.heirs (tenant_id uuid); ALTER TABLE attribution.mine INHERIT regress_other.heirs; DROP SCHEMA regress_other CASCADE'),
    ('CREATE TABLE regress_other.whole (tenant_id uuid NOT NULL) PARTITION BY LIST (tenant_id); ALTER TABLE regress_other.whole ATTACH PARTITION attribution.mine DEFAULT; DROP TABLE regress_other.whole'),
    ('CREATE TYPE regress_other.t AS (tenant_id uuid); ALTER TABLE attribution.mine OF regress_other.t; DROP TYPE regress_other.t CASCADE'),
    ('CREATE TYPE regress_other.t AS (tenant_id uuid); ALTER TABLE attribution.mine OF regress_other.t; SET LOCAL search_path = regress_other; DROP TYPE t CASCADE'),
    ('CREATE ACCESS METHOD regress_heap TYPE TABLE HANDLER heap_tableam_handler; ALTER TABLE attribution.mine SET ACCESS METHOD regress_heap; DROP ACCESS METHOD regress_heap CASCADE'),
    ('CREATE FOREIGN DATA WRAPPER regress_fdw; CREATE SERVER regress_server FOREIGN DATA WRAPPER regress_fdw; CREATE FOREIGN TABLE regress_other.far (tenant_id uuid) SERVER regress_server; ALTER TABLE attribution.mine INHERIT regress_other.far; DROP FOREIGN TABLE regress_other.far CASCADE'),
    -- What goes with a table, wherever it is.
    ('CREATE TABLE regress_other.heir () INHERITS (attribution.mine); INSERT INTO regress_other.heir TABLE attribution.mine; DELETE FROM ONLY attribution.mine; DROP TABLE attribution.mine CASCADE'),
    ('CREATE TABLE regress_other.heir () INHERITS (attribution.mine); INSERT INTO regress_other.heir TABLE attribution.mine; DROP SCHEMA regress_other CASCADE'),
    ('CREATE TEMP TABLE heir () INHERITS (attribution.mine); INSERT INTO heir TABLE attribution.mine; DELETE FROM ONLY attribution.mine; DROP TABLE attribution.mine CASCADE'),
    ('DROP VIEW attribution.dead_event_depth; ALTER TABLE attribution.dead_events SET SCHEMA regress_other; CREATE TABLE attribution.dead_events (LIKE regress_other.dead_events) PARTITION BY LIST (tenant_id); ALTER TABLE attribution.dead_events ATTACH PARTITION regress_other.dead_events DEFAULT; INSERT INTO attribution.dead_events (tenant_id, id, ingested_at, retry_count, source, error_code) SELECT id, id, now(), 0, ''x'', ''x'' FROM attribution.tenants; SELECT attribution.drop_tables()'),
    ('ALTER EXTENSION attribution ADD TABLE attribution.mine; DROP EXTENSION attribution CASCADE');
:show;
SAVEPOINT before;
DROP TABLE attribution.mine;
ROLLBACK TO before;
SET LOCAL attribution.allow_drop_with_rows = on;
DROP TABLE attribution.mine;
ROLLBACK TO before;
DELETE FROM attribution.mine;
DROP TABLE attribution.mine;

-- DROP OWNED, and who may know what has rows.
CREATE ROLE regress_attribution_owner;
CREATE ROLE regress_attribution_stranger;
TRUNCATE statements;
INSERT INTO statements (statement) VALUES
    ('DROP OWNED BY regress_attribution_owner'),
    ('DROP OWNED BY regress_attribution_stranger, regress_attribution_owner CASCADE'),
    ('SET LOCAL ROLE regress_attribution_owner; DROP OWNED BY CURRENT_USER'),
    ('SET LOCAL ROLE regress_attribution_owner; DROP SCHEMA attribution CASCADE'),
    ('SET LOCAL ROLE regress_attribution_owner; DROP TABLE attribution.tenants CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; DROP OWNED BY CURRENT_ROLE'),
    ('SET LOCAL ROLE regress_attribution_stranger; DROP OWNED BY regress_attribution_owner CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; DROP SCHEMA attribution CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; DROP TABLE attribution.tenants CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; SET LOCAL search_path = attribution; DROP TABLE tenants CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; DROP EXTENSION attribution CASCADE'),
    ('SET LOCAL ROLE regress_attribution_stranger; CREATE TEMP TABLE tenants (id int); DROP TABLE tenants');
:show;
-- Of the tables that the role owns, one has a row.
ALTER TABLE attribution.tenants OWNER TO regress_attribution_owner;
ALTER TABLE attribution.dead_events OWNER TO regress_attribution_owner;
:show;
-- Of the schema only.
ALTER TABLE attribution.tenants OWNER TO CURRENT_USER;
ALTER TABLE attribution.dead_events OWNER TO CURRENT_USER;
ALTER SCHEMA attribution OWNER TO regress_attribution_owner;
:show;
ALTER SCHEMA attribution OWNER TO CURRENT_USER;

-- drop_tables() asks no setting.
TRUNCATE statements;
INSERT INTO statements (statement) VALUES
    ('SELECT attribution.drop_tables()'),
    ('SET LOCAL attribution.allow_drop_with_rows = on; SELECT attribution.drop_tables()'),
    ('SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.drop_tables()'),
    ('GRANT EXECUTE ON FUNCTION attribution.drop_tables() TO regress_attribution_stranger; GRANT USAGE ON SCHEMA attribution TO regress_attribution_stranger; SET LOCAL ROLE regress_attribution_stranger; SELECT attribution.drop_tables()'),
    ('CREATE VIEW regress_other.w AS SELECT * FROM attribution.tenants; SELECT attribution.drop_tables()'),
    ('CREATE VIEW attribution.w AS SELECT * FROM attribution.currencies; SELECT attribution.drop_tables()'),
    ('CREATE TABLE attribution.mine (id int); INSERT INTO attribution.mine VALUES (1); SELECT attribution.drop_tables()'),
    ('SET TRANSACTION READ ONLY; SELECT attribution.drop_tables()'),
    ('SELECT attribution_internal.guard_drop()');
:show;
DELETE FROM attribution.attribution_events;
DELETE FROM attribution.tenants;
:show;

-- What is left of the schema without them is what belongs to the extension.
SELECT attribution.drop_tables();
SELECT attribution.drop_tables();
SELECT count(*) FROM pg_class WHERE relnamespace = 'attribution'::regnamespace;
SELECT pg_temp.outcome('SELECT attribution.bind_tenant(''x'', gen_random_uuid())');
SELECT pg_temp.outcome('DROP EXTENSION attribution; DROP SCHEMA attribution');
SELECT count(*) > 100 FROM attribution.create_tables();
SELECT count(*) FROM attribution.create_tables(dry_run => true);
INSERT INTO attribution.tenants (id, name) VALUES ('d409d409-0000-4000-8000-000000000000', 'drop');
SELECT (attribution.refresh('mv_realtime_revenue')).outcome;
SELECT total_revenue_cents FROM attribution.realtime_revenue('d409d409-0000-4000-8000-000000000000');
ROLLBACK;
