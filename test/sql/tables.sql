-- tables: create_tables() makes what is missing of the tables and leaves all else, and no function works while a piece of
-- them is missing. What there is of them is found by the catalog, so that a new table is tried as well.
-- In a database of its own: it takes the tables apart.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_tables;
CREATE DATABASE regression_tables;
\set home :DBNAME
\c regression_tables
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET client_min_messages = warning;
SET timezone = 'UTC';
\set ECHO all

-- --- Whole -------------------------------------------------------------------------------------------

SELECT * FROM attribution.create_tables(true);
SELECT * FROM attribution.create_tables();
CALL pg_temp.attempt('SELECT attribution.create_tables(NULL)');
BEGIN READ ONLY;
SELECT * FROM attribution.create_tables(dry_run => true);
SELECT * FROM attribution.create_tables();
ROLLBACK;

-- Every piece of the tables as a text that says all of it, but for the order of columns and for whom they let in.
CREATE VIEW public.piece AS
WITH ours AS (SELECT c.* FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'i'))
SELECT 'pg_class'::regclass AS catalog, c.oid, c.oid AS relation, c.relkind::text AS kind, c.relname::text AS name,
       concat_ws(' ', c.relkind, c.relrowsecurity, pg_get_userbyid(c.relowner), c.reloptions, c.relpersistence, c.reltablespace) AS says
FROM ours c
UNION ALL
SELECT NULL, NULL, a.attrelid, 'column', c.relname || '.' || a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
FROM ours c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'i'
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'pg_constraint'::regclass, k.oid, c.oid, 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
FROM ours c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype NOT IN ('t', 'n')
UNION ALL
SELECT NULL, NULL, i.indrelid, 'index', c.relname || '.' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
FROM ours c JOIN pg_index i ON i.indrelid = c.oid
UNION ALL
SELECT 'pg_trigger'::regclass, t.oid, c.oid, 'trigger', c.relname || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM ours c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'pg_policy'::regclass, p.oid, c.oid, 'policy', c.relname || '.' || p.polname,
       concat_ws(' ', p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
FROM ours c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'pg_rewrite'::regclass, r.oid, c.oid, 'definition', c.relname, pg_get_viewdef(c.oid)
FROM ours c JOIN pg_rewrite r ON r.ev_class = c.oid
UNION ALL
SELECT NULL, NULL, c.oid, 'comment', c.relname || coalesce('.' || a.attname, ''), d.description
FROM ours c JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid;
CREATE FUNCTION public.shipped() RETURNS TABLE (says text) LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY
SELECT 'currencies ' || (to_jsonb(c))::text AS says FROM attribution.currencies c
UNION ALL SELECT 'index_plan ' || (to_jsonb(p) - 'created_at')::text FROM attribution.index_plan p
UNION ALL SELECT 'schema_version ' || v.version FROM attribution.schema_version v;
END $$;
CREATE TABLE public.whole AS SELECT concat_ws(' ', kind, name, says) AS says FROM public.piece UNION ALL SELECT says FROM public.shipped();
SELECT kind, count(*) > 1 AS several FROM public.piece GROUP BY kind ORDER BY kind;

-- Does some damage, and says what a dry run lists; how many things more or fewer create_tables() then said; how many it
-- says again; and what is not as it was before. All of that is undone.
CREATE FUNCTION public.mended(VARIADIC damage text[]) RETURNS TABLE (listed text[], otherwise_made text[], again bigint, not_as_before text[]) LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    made text[];
BEGIN
    BEGIN
        FOREACH statement IN ARRAY damage LOOP EXECUTE statement; END LOOP;
        listed := ARRAY(SELECT c.object || ' ' || c.problem FROM attribution.create_tables(true) c);
        made := ARRAY(SELECT c.object || ' ' || c.problem FROM attribution.create_tables() c);
        otherwise_made := ARRAY(SELECT '+ ' || m FROM unnest(made) AS m WHERE m <> ALL (listed) UNION ALL SELECT '- ' || l FROM unnest(listed) AS l WHERE l <> ALL (made));
        again := (SELECT count(*) FROM attribution.create_tables());
        PERFORM set_config('search_path', 'public', true), set_config('quote_all_identifiers', 'off', true);
        not_as_before := ARRAY(
            WITH now AS (SELECT concat_ws(' ', p.kind, p.name, p.says) AS says FROM public.piece p UNION ALL SELECT s.says FROM public.shipped() s)
            SELECT '- ' || x.says FROM (TABLE public.whole EXCEPT ALL TABLE now) AS x
            UNION ALL SELECT '+ ' || x.says FROM (TABLE now EXCEPT ALL TABLE public.whole) AS x);
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
        RETURN NEXT;
    END;
END;
$$;

-- --- Each kind of piece ------------------------------------------------------------------------------

\x on
SELECT * FROM public.mended('DROP TABLE attribution.tenant_bindings');
SELECT * FROM public.mended('ALTER TABLE attribution.dead_events DROP COLUMN topic');
SELECT * FROM public.mended('ALTER TABLE attribution.tenants ALTER COLUMN currency DROP DEFAULT');
SELECT * FROM public.mended('ALTER TABLE attribution.tenants ALTER COLUMN name DROP NOT NULL');
SELECT * FROM public.mended('ALTER TABLE attribution.attribution_events DROP CONSTRAINT attribution_events_type');
SELECT * FROM public.mended('ALTER TABLE attribution.attribution_events DROP CONSTRAINT attribution_events_refund_of_fkey');
SELECT * FROM public.mended('ALTER TABLE attribution.ledger_books DROP CONSTRAINT ledger_books_pkey CASCADE');
SELECT * FROM public.mended('DROP INDEX attribution.idx_attribution_events_session_id');
SELECT * FROM public.mended('DROP TRIGGER ledger_is_append_only ON attribution.revenue_ledger');
SELECT * FROM public.mended('DROP TRIGGER allocation_sum_equals_revenue ON attribution.attribution_allocations');
SELECT * FROM public.mended('ALTER TABLE attribution.revenue_ledger ENABLE TRIGGER ledger_is_append_only');
SELECT * FROM public.mended('ALTER TABLE attribution.tenants DISABLE TRIGGER revenue_follows_replication');
SELECT * FROM public.mended('DROP POLICY tenant_isolation ON attribution.dead_events');
SELECT * FROM public.mended('ALTER TABLE attribution.dead_events DISABLE ROW LEVEL SECURITY');
SELECT * FROM public.mended('DROP VIEW attribution.dead_event_depth');
SELECT * FROM public.mended('DROP MATERIALIZED VIEW attribution.mv_allocation_summary');
SELECT * FROM public.mended('COMMENT ON TABLE attribution.tenants IS NULL', 'COMMENT ON COLUMN attribution.tenants.id IS NULL', 'COMMENT ON INDEX attribution.idx_tenants_name IS NULL');
SELECT * FROM public.mended('DELETE FROM attribution.currencies WHERE code IN (''EUR'', ''USD'')');
SELECT * FROM public.mended('DELETE FROM attribution.index_plan WHERE index_name = ''tenants_pkey''', 'UPDATE attribution.index_plan SET justification = ''none'' WHERE index_name = ''idx_tenants_name''');
SELECT * FROM public.mended('DELETE FROM attribution.schema_version');
-- A trigger that calls another function is somebody's, and stays.
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT * FROM public.mended('DROP TRIGGER ledger_is_append_only ON attribution.revenue_ledger',
                            'CREATE TRIGGER ledger_is_append_only AFTER UPDATE ON attribution.revenue_ledger FOR EACH ROW EXECUTE FUNCTION public.nothing()',
                            'ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER ledger_is_append_only');
-- So are other versions of a row that is shipped, but for the plan of an index.
SELECT * FROM public.mended('UPDATE attribution.currencies SET decimals = 4 WHERE code = ''JPY''');
\x off

-- --- Each piece --------------------------------------------------------------------------------------

-- Tables and views one by one, with what hangs on them; what belongs to them, for each table all of a kind at once.
CREATE VIEW public.damage AS
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE 'materialized view' END AS kind, relname::text AS relation,
       format('DROP %s %s CASCADE', CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, oid::regclass) AS statement
FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND relkind IN ('r', 'v', 'm')
UNION ALL
SELECT kind, relation, statement FROM (
    -- A column that is part of a primary key goes with its table; a table that has rows lets no column in that is NOT NULL.
    SELECT 'column' AS kind, c.relname::text AS relation, format('ALTER TABLE %s %s', c.oid::regclass, string_agg(format('DROP COLUMN IF EXISTS %I CASCADE', a.attname), ', ' ORDER BY a.attnum)) AS statement
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('currencies', 'index_plan', 'schema_version')
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey))
    GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'constraint', c.relname, format('ALTER TABLE %s %s', c.oid::regclass, string_agg(format('DROP CONSTRAINT IF EXISTS %I CASCADE', k.conname), ', ' ORDER BY k.conname))
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype NOT IN ('t', 'n') WHERE c.relnamespace = 'attribution'::regnamespace GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'default', c.relname, format('ALTER TABLE %s %s', c.oid::regclass, string_agg(format('ALTER COLUMN %I DROP DEFAULT', a.attname), ', ' ORDER BY a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.atthasdef AND a.attgenerated = '' WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'not null', c.relname, format('ALTER TABLE %s %s', c.oid::regclass, string_agg(format('ALTER COLUMN %I DROP NOT NULL', a.attname), ', ' ORDER BY a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
    WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)) GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'index', c.relname, format('DROP INDEX %s', string_agg(i.indexrelid::regclass::text, ', '))
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.relnamespace = 'attribution'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'firing', c.relname, format('ALTER TABLE %s %s', c.oid::regclass, string_agg(format('DISABLE TRIGGER %I', t.tgname), ', '))
    FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'O' WHERE c.relnamespace = 'attribution'::regnamespace GROUP BY c.oid, c.relname
    UNION ALL
    SELECT 'row security', c.relname, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', c.oid::regclass)
    FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relrowsecurity
) AS of_a_table;
CREATE TABLE public.outcome AS SELECT d.*, m.* FROM public.damage d, public.mended(d.statement) m;
-- Triggers, policies and comments have no list in their statements.
CREATE FUNCTION public.drop_each(kind text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE kind = 'trigger' AND c.relnamespace = 'attribution'::regnamespace AND NOT t.tgisinternal
        UNION ALL SELECT format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE kind = 'policy' AND c.relnamespace = 'attribution'::regnamespace
        UNION ALL SELECT format('COMMENT ON %s %s IS NULL', CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'INDEX' END, c.oid::regclass)
        FROM pg_class c WHERE kind = 'comment' AND c.relnamespace = 'attribution'::regnamespace
        UNION ALL SELECT format('COMMENT ON COLUMN %s.%I IS NULL', c.oid::regclass, a.attname)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE kind = 'comment' AND c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'v', 'm')
    LOOP
        EXECUTE statement;
    END LOOP;
    RETURN kind;
END;
$$;
INSERT INTO public.outcome
SELECT k.kind, 'all', s.statement, m.*
FROM unnest('{trigger,policy,comment}'::text[]) AS k (kind), format('SELECT public.drop_each(%L)', k.kind) AS s (statement), public.mended(s.statement) m;
-- And all at once.
INSERT INTO public.outcome
SELECT 'schema', 'all', 'all', m.*
FROM public.mended(VARIADIC ARRAY(SELECT regexp_replace(d.statement, '^DROP (TABLE|VIEW|MATERIALIZED VIEW)', 'DROP \1 IF EXISTS') FROM public.damage d WHERE d.kind IN ('table', 'view', 'materialized view'))) m;
SELECT kind, count(*) > 0 AS tried, bool_and(cardinality(listed) > 0) AS all_noticed, sum(cardinality(otherwise_made)) AS otherwise_made,
       sum(again) AS again, sum(cardinality(not_as_before)) AS not_as_before
FROM public.outcome GROUP BY kind ORDER BY kind;
SELECT kind, relation, otherwise_made FROM public.outcome WHERE otherwise_made <> '{}' ORDER BY kind, relation;
SELECT kind, relation, not_as_before FROM public.outcome WHERE not_as_before <> '{}' ORDER BY kind, relation;

-- --- Who, and how the session is set -----------------------------------------------------------------

CREATE ROLE regress_attribution_tables;
CREATE ROLE regress_attribution_superuser SUPERUSER;
SET ROLE regress_attribution_tables;
SELECT attribution.create_tables();
RESET ROLE;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_tables;
GRANT EXECUTE ON FUNCTION attribution.create_tables(boolean) TO regress_attribution_tables;
SET ROLE regress_attribution_tables;
SELECT attribution.create_tables();
RESET ROLE;
-- What another superuser makes belongs to the owner of the tables, whichever of them is missing, and opens to nobody.
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE regress_attribution_superuser GRANT ALL ON TABLES TO regress_attribution_tables;
ALTER DEFAULT PRIVILEGES IN SCHEMA attribution GRANT SELECT ON TABLES TO regress_attribution_tables;
SELECT count(*) > 0 AS tried, array_agg(d.relation) FILTER (WHERE m.not_as_before <> '{}') AS of_others
FROM public.damage d, public.mended(d.statement, 'SET LOCAL SESSION AUTHORIZATION regress_attribution_superuser') m
WHERE d.kind IN ('table', 'view', 'materialized view');
BEGIN;
DROP TABLE attribution.tenants, attribution.schema_version CASCADE;
SET LOCAL SESSION AUTHORIZATION regress_attribution_superuser;
SELECT count(*) > 0 AS made FROM attribution.create_tables();
SELECT DISTINCT pg_get_userbyid(relowner) = :'USER' AS is_owners FROM pg_class WHERE relnamespace = 'attribution'::regnamespace;
SELECT relname, relacl FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND (relacl::text LIKE '%regress%' OR relacl::text ~ '[{,]=');
ROLLBACK;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE regress_attribution_superuser REVOKE ALL ON TABLES FROM regress_attribution_tables;
ALTER DEFAULT PRIVILEGES IN SCHEMA attribution REVOKE SELECT ON TABLES FROM regress_attribution_tables;
-- Names are those of PostgreSQL, whatever the session would find before them.
CREATE SCHEMA hostile;
CREATE DOMAIN hostile.text AS pg_catalog.int4;
CREATE DOMAIN hostile.uuid AS pg_catalog.int4;
CREATE FUNCTION hostile.now() RETURNS pg_catalog.timestamptz LANGUAGE sql AS 'SELECT NULL::pg_catalog.timestamptz';
CREATE FUNCTION hostile.octet_length(pg_catalog.text) RETURNS pg_catalog.int4 LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION hostile.equal(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR hostile.= (FUNCTION = hostile.equal, LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text);
CREATE TABLE hostile.tenants (a pg_catalog.int4);
CREATE TABLE public.hostility AS
SELECT s.setting, m.* FROM (VALUES
    ('SET LOCAL search_path = hostile, pg_catalog'),
    ('SET LOCAL quote_all_identifiers = on'),
    ('SET LOCAL standard_conforming_strings = off'),
    ('SET LOCAL check_function_bodies = off'),
    ('SET LOCAL row_security = off'),
    ('SET LOCAL session_replication_role = replica'),
    ('SET LOCAL default_toast_compression = pglz'),
    ('SET LOCAL transform_null_equals = on'),
    ('SET LOCAL createrole_self_grant = ''set, inherit''')) AS s (setting),
    public.mended(VARIADIC CASE WHEN s.setting LIKE '%createrole%' AND current_setting('server_version_num')::int < 160000 THEN '{}'
                                ELSE ARRAY(SELECT regexp_replace(d.statement, '^DROP (TABLE|VIEW|MATERIALIZED VIEW)', 'DROP \1 IF EXISTS') FROM public.damage d WHERE d.kind IN ('table', 'view', 'materialized view')) || s.setting END) m;
SELECT setting, otherwise_made, again, not_as_before FROM public.hostility WHERE (otherwise_made, again, not_as_before) IS DISTINCT FROM ('{}', 0, '{}');
DROP SCHEMA hostile CASCADE;
-- Where the session puts new tables, they come.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_attribution_tablespace LOCATION '';
BEGIN;
DROP TABLE attribution.tenant_bindings;
SET LOCAL default_tablespace = regress_attribution_tablespace;
SELECT * FROM attribution.create_tables();
SELECT c.relname, t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE c.relnamespace = 'attribution'::regnamespace ORDER BY c.relname;
ROLLBACK;
DROP TABLESPACE regress_attribution_tablespace;
-- What was made goes with its transaction.
BEGIN;
DROP TABLE attribution.tenant_bindings;
SELECT count(*) FROM attribution.create_tables();
ROLLBACK;
BEGIN;
SELECT attribution.bind_tenant('regress_attribution_tables', NULL);
DROP TABLE attribution.tenant_bindings;
SAVEPOINT s;
SELECT count(*) FROM attribution.create_tables();
SELECT attribution.bind_tenant('regress_attribution_tables', NULL);
ROLLBACK TO s;
SELECT attribution.bind_tenant('regress_attribution_tables', NULL);
ROLLBACK;
SELECT attribution.bind_tenant('regress_attribution_tables', NULL);

-- --- What others have added --------------------------------------------------------------------------

ALTER TABLE attribution.tenants ADD COLUMN of_mine text DEFAULT 'x', ADD CONSTRAINT of_mine CHECK (of_mine <> ''), ALTER COLUMN currency SET DEFAULT 'EUR',
    SET (fillfactor = 70), ALTER COLUMN name SET STATISTICS 500;
CREATE INDEX of_mine ON attribution.tenants (of_mine);
CREATE TRIGGER of_mine AFTER UPDATE ON attribution.tenants FOR EACH ROW EXECUTE FUNCTION public.nothing();
CREATE POLICY of_mine ON attribution.tenants FOR SELECT TO regress_attribution_tables USING (true);
CREATE STATISTICS attribution.of_mine ON name, currency FROM attribution.tenants;
CREATE VIEW attribution.view_of_mine AS SELECT t.id, t.of_mine FROM attribution.tenants t;
CREATE TABLE attribution.table_of_mine (id uuid REFERENCES attribution.tenants);
COMMENT ON TABLE attribution.tenants IS 'Ours.';
COMMENT ON COLUMN attribution.tenants.of_mine IS 'Ours, too.';
GRANT SELECT ON attribution.tenants TO regress_attribution_tables;
DROP INDEX attribution.idx_tenants_name;
CREATE INDEX idx_tenants_name ON attribution.tenants (lower(name));
INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 2);
INSERT INTO attribution.index_plan (index_name, relation, state, serves, target_p95_ms, definition, query_path, answer, parameters, sample_query, justification)
VALUES ('of_mine', 'tenants', 'active', 'query', 1, 'CREATE INDEX of_mine ON attribution.tenants USING btree (of_mine)', 'mine', 'row', '{}', 'SELECT 1', 'mine');
SELECT * FROM attribution.create_tables(true);
SELECT * FROM attribution.create_tables();
DELETE FROM public.whole;
INSERT INTO public.whole SELECT concat_ws(' ', kind, name, says) FROM public.piece UNION ALL SELECT says FROM public.shipped();
-- They stay where something beside them is mended.
SELECT count(*) AS tried, array_agg(relation) FILTER (WHERE not_as_before <> '{}') AS with_losses FROM public.damage d, public.mended(d.statement) m
WHERE d.kind IN ('not null', 'firing', 'row security') AND relation IN ('tenants', 'attribution_events')
   OR d.kind IN ('constraint', 'default', 'index', 'column') AND relation = 'attribution_events'
   OR d.kind = 'table' AND d.relation NOT IN ('tenants', 'currencies', 'index_plan', 'table_of_mine');
SELECT * FROM public.mended('ALTER TABLE attribution.tenants DROP COLUMN updated_at');
DROP TABLE attribution.table_of_mine;
DROP VIEW attribution.view_of_mine;
REVOKE SELECT ON attribution.tenants FROM regress_attribution_tables;
ALTER TABLE attribution.tenants DROP COLUMN of_mine, ALTER COLUMN currency SET DEFAULT 'USD', RESET (fillfactor);
DROP POLICY of_mine ON attribution.tenants;
DROP TRIGGER of_mine ON attribution.tenants;
DROP STATISTICS attribution.of_mine;
DROP INDEX attribution.idx_tenants_name;
COMMENT ON TABLE attribution.tenants IS NULL;
DELETE FROM attribution.currencies WHERE code = 'XTS';
DELETE FROM attribution.index_plan WHERE index_name = 'of_mine';
SELECT * FROM attribution.create_tables();

-- --- Nothing works while a piece is missing ----------------------------------------------------------

\set tenant '''7ab1e500-0000-4000-8000-00000000000a'''
\set event '''7ab1e500-0000-4000-8000-0000000000e1'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'tables');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:tenant, :event, 'conversion', '2026-01-01Z', 100);
-- Does some damage, asks, and undoes the damage: 'ok', or SQLSTATE, message, detail and hint. Who installed the extension,
-- and which version, is no matter here.
CREATE FUNCTION public.answer(damage text, VARIADIC questions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    question text;
    answer text;
    details text;
    way_out text;
BEGIN
    BEGIN
        IF damage <> '' THEN EXECUTE damage; END IF;
        FOREACH question IN ARRAY questions LOOP
            BEGIN
                EXECUTE question;
                answer := concat_ws(E'\n', answer, 'ok');
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS details = PG_EXCEPTION_DETAIL, way_out = PG_EXCEPTION_HINT;
                answer := concat_ws(E'\n', answer, SQLSTATE || ': ' || SQLERRM, nullif(details, ''), nullif(way_out, ''));
            END;
        END LOOP;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
        RETURN replace(replace(answer, format('"%s"', current_user), '"OWNER"'), attribution_internal.table_version(), 'VERSION');
    END;
END;
$$;
\set ask '''SELECT attribution.ingest_event(''''7ab1e500-0000-4000-8000-00000000000a'''', ''''shop'''', ''''touch'''', ''''2026-01-01Z'''', channel => ''''x'''')'', ''SELECT count(*) FROM attribution.channel_performance(''''7ab1e500-0000-4000-8000-00000000000a'''', ''''m'''')'''
SELECT public.answer('', :ask);
-- Each table, key and trigger, alone.
CREATE VIEW public.required AS
SELECT 'table' AS kind, c.relname::text AS name, format('DROP TABLE %s CASCADE', c.oid::regclass) AS damage
FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT 'key', k.conname, format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', k.conrelid::regclass, k.conname)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE c.relnamespace = 'attribution'::regnamespace AND k.contype IN ('p', 'f', 'u')
UNION ALL
SELECT 'trigger', c.relname || '.' || t.tgname, format('DROP TRIGGER %I ON %s', t.tgname, c.oid::regclass)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'attribution'::regnamespace AND NOT t.tgisinternal;
SET attribution.allow_drop_with_rows = on;
CREATE TABLE public.refusal AS SELECT r.kind, r.name, public.answer(r.damage, :ask) FROM public.required r;
RESET attribution.allow_drop_with_rows;
SELECT kind, count(*) > 10 AS many, bool_and(answer ~ '^55000: .*\n55000: ') AS all_refuse FROM public.refusal GROUP BY kind ORDER BY kind;
SELECT kind, name, answer FROM public.refusal WHERE answer !~ '^55000: .*\n55000: ' ORDER BY kind, name;
SELECT answer FROM public.refusal WHERE name IN ('revenue_ledger', 'ledger_books_pkey', 'revenue_ledger.ledger_is_append_only') ORDER BY answer;
-- Functions that answer although a trigger is missing, in a session that has found everything before.
CREATE TABLE public.asked AS
SELECT p.oid::regprocedure::text AS function,
       public.answer('DROP TRIGGER ledger_is_append_only ON attribution.revenue_ledger',
           format(CASE p.prokind WHEN 'p' THEN 'CALL %s(%s)' WHEN 'w' THEN 'SELECT %s(%s) OVER ()' ELSE 'SELECT %s(%s)' END, p.oid::regproc,
                  (SELECT string_agg(format('%L::%s', CASE t::regtype WHEN 'uuid'::regtype THEN :tenant WHEN 'timestamptz'::regtype THEN '2026-01-01Z' WHEN 'jsonb'::regtype THEN '[]'
                                                      WHEN 'numeric[]'::regtype THEN '{1}' WHEN 'text[]'::regtype THEN '{x}' WHEN 'uuid[]'::regtype THEN '{}'
                                                      WHEN 'interval'::regtype THEN '1 day' WHEN 'boolean'::regtype THEN 'true' WHEN 'text'::regtype THEN 'x' WHEN 'name'::regtype THEN current_user
                                                      ELSE '1' END, t::regtype), ', ' ORDER BY n)
                   FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (t, n)))) AS answer
FROM pg_proc p WHERE p.pronamespace = 'attribution'::regnamespace;
SELECT count(*) > 20 AS many FROM public.asked WHERE answer LIKE '55000%';
SELECT function, answer FROM public.asked WHERE answer NOT LIKE '55000%' ORDER BY function COLLATE "C";
-- What was written by hand meanwhile is found afterwards.
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER allocation_sum_equals_revenue;
DROP TRIGGER allocation_sum_equals_revenue ON attribution.attribution_allocations;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:tenant, :event, 'm', 'x', 99);
SELECT * FROM attribution.unbalanced_allocations();
SELECT * FROM attribution.create_tables();
SELECT event_id, event_revenue_cents, allocated_cents, drift_cents FROM attribution.unbalanced_allocations();
CALL pg_temp.attempt('UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 98');
CALL pg_temp.attempt('DELETE FROM attribution.attribution_allocations');

-- --- Whose, and of which version ---------------------------------------------------------------------

SELECT public.answer('ALTER TABLE attribution.dead_events OWNER TO regress_attribution_tables', :ask);
SELECT public.answer('ALTER TABLE attribution.schema_version OWNER TO regress_attribution_superuser', :ask);
CREATE FUNCTION public.give_all_to(role_name name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', relation, role_name);
    END LOOP;
END;
$$;
SELECT public.answer('SELECT public.give_all_to(''regress_attribution_tables'')', :ask);
SELECT public.answer('SELECT public.give_all_to(''regress_attribution_superuser'')', :ask);
SELECT public.answer('', :ask);
SELECT public.answer('UPDATE attribution.schema_version SET version = ''0.0.9''', 'SELECT attribution.create_tables()', 'SELECT attribution.create_tables(true)', :ask);
SELECT public.answer('UPDATE attribution.schema_version SET version = ''999.0''', 'SELECT attribution.create_tables()', :ask);
SELECT public.answer('DELETE FROM attribution.schema_version', :ask);
CALL pg_temp.attempt('INSERT INTO attribution.schema_version (is_only, version) VALUES (false, ''1'')');

-- --- What others have put under our names ------------------------------------------------------------

-- While a table is missing, whoever may create in the schema may put something else there. Nobody runs its code, and a
-- table that is none is not read as one.
GRANT CREATE, USAGE ON SCHEMA attribution TO regress_attribution_tables;
CREATE FUNCTION public.betray() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
CREATE FUNCTION public.betray_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
CREATE FUNCTION public.instead(gone text, planted text) RETURNS text LANGUAGE sql
AS $$ SELECT format('DROP %s CASCADE; SET LOCAL ROLE regress_attribution_tables; %s; RESET ROLE', gone, planted) $$;
SET attribution.allow_drop_with_rows = on;
\set ask_life_cycle '''SELECT attribution.create_tables(true)'', ''SELECT attribution.create_tables()'', ''SELECT attribution.upgrade_tables()'''
SELECT public.answer(public.instead('TABLE attribution.schema_version', 'CREATE VIEW attribution.schema_version AS SELECT public.betray() AS version'), :ask_life_cycle, :ask);
SELECT public.answer(public.instead('TABLE attribution.schema_version', 'CREATE TABLE attribution.schema_version (version text) PARTITION BY LIST (version)'), :ask);
SELECT public.answer(public.instead('TABLE attribution.currencies', $$
    CREATE TABLE attribution.currencies (code char(3) CONSTRAINT currencies_pkey PRIMARY KEY, decimals smallint NOT NULL, is_shipped boolean NOT NULL DEFAULT false);
    CREATE TRIGGER betray BEFORE INSERT ON attribution.currencies FOR EACH STATEMENT EXECUTE FUNCTION public.betray_trigger()$$), :ask_life_cycle);
SELECT public.answer(public.instead('TABLE attribution.tenant_bindings', 'CREATE VIEW attribution.tenant_bindings AS SELECT public.betray()::name AS role_name, NULL::uuid AS tenant_id'),
                     'SELECT attribution.current_tenant()', 'SELECT attribution.check_backup()', 'SELECT attribution.create_tables(true)');
\set ask_view '''SELECT attribution.realtime_revenue(''''7ab1e500-0000-4000-8000-00000000000a'''')'', ''SELECT attribution.conservation(''''7ab1e500-0000-4000-8000-00000000000a'''')'', ''SELECT attribution_internal.refresh_doubt(''''mv_realtime_revenue'''')'', ''SELECT attribution.create_tables()'''
\set columns '''7ab1e500-0000-4000-8000-00000000000a''::uuid AS tenant_id, 1::numeric AS total_revenue, 1::numeric AS total_revenue_cents'
SELECT public.answer(public.instead('MATERIALIZED VIEW attribution.mv_realtime_revenue', 'CREATE VIEW attribution.mv_realtime_revenue AS SELECT ' || :'columns' || ', public.betray() IS NULL AS verified'), :ask_view);
SELECT public.answer(public.instead('MATERIALIZED VIEW attribution.mv_realtime_revenue', 'CREATE MATERIALIZED VIEW attribution.mv_realtime_revenue AS SELECT ' || :'columns' || ', true AS verified'), :ask_view);
RESET attribution.allow_drop_with_rows;
REVOKE ALL ON SCHEMA attribution FROM regress_attribution_tables;
SELECT * FROM attribution.create_tables(true);

-- --- What is on a view that an upgrade makes again ------------------------------------------------------

BEGIN;
CREATE OR REPLACE FUNCTION attribution_internal.table_version() RETURNS text LANGUAGE sql IMMUTABLE RETURN '999.0';
CREATE FUNCTION public.versions() RETURNS text LANGUAGE sql AS 'SELECT version FROM attribution.schema_version';
DO $do$ BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION attribution_internal.table_upgrades() RETURNS text[] LANGUAGE sql IMMUTABLE AS %L',
        format('SELECT ARRAY[%L, %L, %L, %L]', public.versions(), '', '999.0', 'DROP VIEW attribution.dead_event_depth; DROP MATERIALIZED VIEW attribution.mv_allocation_summary'));
END $do$;
CREATE ROLE "regress_attribution"" ; --";
CREATE TRIGGER "of mine" INSTEAD OF INSERT ON attribution.dead_event_depth FOR EACH ROW EXECUTE FUNCTION public.nothing();
CREATE RULE "of mine" AS ON UPDATE TO attribution.dead_event_depth DO INSTEAD NOTHING;
CREATE INDEX "of "" mine" ON attribution.mv_allocation_summary (tenant_id);
GRANT SELECT ON attribution.dead_event_depth TO "regress_attribution"" ; --" WITH GRANT OPTION;
GRANT SELECT (event_id) ON attribution.mv_allocation_summary TO "regress_attribution"" ; --";
CREATE VIEW public.on_views AS
SELECT c.relname AS view, 'trigger ' || t.tgname AS what FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('v', 'm')
UNION ALL SELECT c.relname, 'rule ' || r.rulename FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE c.relnamespace = 'attribution'::regnamespace AND r.rulename <> '_RETURN'
UNION ALL SELECT c.relname, 'index ' || i.indexrelid::regclass FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'm'
UNION ALL SELECT c.relname, concat_ws(' ', 'right', a.privilege_type, a.is_grantable) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'attribution'::regnamespace AND a.grantee <> c.relowner AND c.relkind IN ('v', 'm')
UNION ALL SELECT c.relname, concat_ws(' ', 'right on', k.attname, a.privilege_type) FROM pg_class c JOIN pg_attribute k ON k.attrelid = c.oid, aclexplode(k.attacl) a WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('v', 'm');
CREATE TABLE public.on_views_before AS TABLE public.on_views;
SELECT * FROM attribution.upgrade_tables();
SELECT count(*) > 5 AS some FROM public.on_views_before;
SELECT '-' AS change, * FROM (TABLE public.on_views_before EXCEPT ALL TABLE public.on_views) AS gone
UNION ALL SELECT '+', * FROM (TABLE public.on_views EXCEPT ALL TABLE public.on_views_before) AS come;
ROLLBACK;

-- --- What is a part of the extension -----------------------------------------------------------------

CREATE VIEW public.member AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'attribution' AND d.deptype = 'e';
-- No part depends on a table or its row type, nor does what belongs to a part: a dump that restores it before the tables would fail.
WITH RECURSIVE part AS (
    SELECT classid, objid FROM public.member
    UNION
    SELECT d.classid, d.objid FROM pg_depend d JOIN part p ON p.classid = d.refclassid AND p.objid = d.refobjid WHERE d.deptype IN ('i', 'a'))
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS part, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS depends_on
FROM part p JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid
LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
WHERE 'attribution'::regnamespace IN (c.relnamespace, t.typnamespace);
SELECT count(*) > 50 AS some FROM public.member;
-- What \df attribution.* shows is for calling.
SELECT p.oid::regprocedure, p.prorettype::regtype FROM pg_proc p
WHERE p.pronamespace = 'attribution'::regnamespace
  AND (p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) OR obj_description(p.oid, 'pg_proc') ~* '^internal|trigger:');
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'attribution'::regnamespace AND NOT EXISTS (SELECT FROM public.member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid);

-- --- Triggers that are disabled ------------------------------------------------------------------------

ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ALL;
ALTER TABLE attribution.tenants DISABLE TRIGGER touch_updated_at;
SELECT attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');
SELECT * FROM attribution.create_tables();
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'attribution.revenue_ledger'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT count(*) FROM attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');

-- --- CREATE EXTENSION where the schema is there ------------------------------------------------------

\c :home
DROP DATABASE regression_tables;
CREATE DATABASE regression_tables;
\c regression_tables
CREATE SCHEMA attribution AUTHORIZATION regress_attribution_tables;
\set SHOW_CONTEXT never
CREATE EXTENSION attribution;
ALTER SCHEMA attribution OWNER TO regress_attribution_superuser;
CREATE FUNCTION attribution.current_tenant() RETURNS uuid LANGUAGE sql RETURN NULL::uuid;
CREATE EXTENSION attribution;
DROP FUNCTION attribution.current_tenant();
CREATE EXTENSION attribution;
DROP EXTENSION attribution;
DROP SCHEMA attribution;
CREATE SCHEMA attribution;
COMMENT ON SCHEMA attribution IS 'Ours.';
GRANT USAGE ON SCHEMA attribution TO regress_attribution_tables;
CREATE EXTENSION attribution;
SELECT count(*) AS tables FROM pg_class WHERE relnamespace = 'attribution'::regnamespace;
SELECT attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');
SELECT count(*) > 100 AS many FROM attribution.create_tables(true);
SELECT count(*) > 100 AS many FROM attribution.create_tables();
SELECT * FROM attribution.create_tables();
SELECT count(*) FROM attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');
SELECT attribution.grant_access('regress_attribution_tables', 'reader');
SELECT obj_description('attribution'::regnamespace), has_schema_privilege('regress_attribution_tables', 'attribution', 'USAGE');
DROP OWNED BY regress_attribution_tables;
-- The extension goes, and comes back to its tables.
ALTER TABLE attribution.tenants ADD COLUMN of_mine integer DEFAULT 7;
INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 2);
SET client_min_messages = warning;
DROP EXTENSION attribution CASCADE;
CREATE EXTENSION attribution;
RESET client_min_messages;
SELECT attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');
SELECT split_part(object, ' ', 1) AS kind, problem, count(*) > 0 AS some FROM attribution.create_tables() GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM attribution.channel_performance('7ab1e500-0000-4000-8000-00000000000a', 'm');
SELECT attname FROM pg_attribute WHERE attrelid = 'attribution.tenants'::regclass AND attname = 'of_mine';
SELECT code FROM attribution.currencies WHERE NOT is_shipped;
\c :home
DROP DATABASE regression_tables;
DROP ROLE regress_attribution_tables, regress_attribution_superuser;
