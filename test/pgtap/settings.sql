-- What a caller has set changes no outcome: not how literals are read, not how values are written as text, not how
-- plans are made. Every function is called, and every trigger fired, in a session that has set all of this before its
-- first statement, so that every text becomes a statement under it; and in a new session that has set nothing. The
-- outcomes must be the same.

-- --- Set at the beginning -----------------------------------------------------------------------------

SET client_min_messages = error; -- escape_string_warning warns of this test, too
SET standard_conforming_strings = off;
SET backslash_quote = off;
SET transform_null_equals = on;
SET array_nulls = off;
SET quote_all_identifiers = on;
SET DateStyle = 'ISO, DMY'; -- how times are read; in which form they are shown is the caller's wish
SET IntervalStyle = sql_standard;
SET extra_float_digits = -15;
SET bytea_output = escape;
SET xmloption = document;
SET default_transaction_deferrable = on;
SET plpgsql.variable_conflict = use_column;

BEGIN;
\ir include/two_tenants.sql
\ir include/battery.sql
SELECT jsonb_agg(jsonb_build_array(b.role_name, b.statement, r.state, replace(r.result, now()::text, 'now'), replace(r.message, now()::text, 'now')))::text AS hostile
FROM battery b, pg_temp.run_as(b.role_name, pg_temp.a()::text, b.statement) r \gset
ROLLBACK;

-- The extension's script is read by CREATE EXTENSION as the session reads everything.
BEGIN;
SET LOCAL client_min_messages = error;
DROP EXTENSION attribution CASCADE;
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off;
SET LOCAL IntervalStyle = postgres;
\set definitions 'SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.connamespace IN (''attribution''::regnamespace, ''attribution_internal''::regnamespace) UNION ALL SELECT pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relkind IN (''v'', ''m'') AND c.relnamespace IN (''attribution''::regnamespace, ''attribution_internal''::regnamespace) UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace IN (''attribution''::regnamespace, ''attribution_internal''::regnamespace)'
SELECT jsonb_agg(d)::text AS created FROM (:definitions) AS x (d) \gset
ROLLBACK;

-- --- Compared with nothing set ------------------------------------------------------------------------

\connect -
BEGIN;
SELECT plan(4);
\ir include/two_tenants.sql
\ir include/battery.sql
CREATE TEMP TABLE outcome AS
SELECT b.role_name::text, b.name, b.statement, r.state, replace(r.result, now()::text, 'now') AS result, replace(r.message, now()::text, 'now') AS message
FROM battery b, pg_temp.run_as(b.role_name, pg_temp.a()::text, b.statement) r;
CREATE TEMP TABLE hostile AS
SELECT h ->> 0 AS role_name, h ->> 1 AS statement, h ->> 2 AS state, h ->> 3 AS result, h ->> 4 AS message
FROM jsonb_array_elements(:'hostile') AS h;

SELECT set_eq('SELECT role_name, statement FROM hostile', 'SELECT role_name, statement FROM outcome', 'the same statements were run');
-- PostgreSQL quotes the columns of a key in a DETAIL of its own. Which index comes first in the catalog is chance.
SELECT is_empty($$
    SELECT o.role_name, o.name, o.state, o.result, o.message, h.state, h.result, h.message
    FROM outcome o JOIN hostile h USING (role_name, statement)
    WHERE (o.state, o.result, replace(o.message, '"', '')) IS DISTINCT FROM (h.state, h.result, replace(h.message, '"', ''))
      AND o.name <> 'attribution_internal.index_bloat(oid)'
$$, 'every outcome is the same as with nothing set');
SELECT is_empty($$
    SELECT DISTINCT h.statement, h.state, h.result FROM hostile h
    WHERE h.statement ~ 'attribution\.refresh\(' AND coalesce(h.result !~ ',[0-9]+,refreshed,', true)
$$, 'a refresh is one');
CREATE TEMP VIEW definition AS :definitions;
CREATE TEMP TABLE created AS SELECT jsonb_array_elements_text(:'created');
SELECT bag_eq('TABLE created', 'TABLE definition', 'CREATE EXTENSION creates the same');

SELECT * FROM finish();
ROLLBACK;
