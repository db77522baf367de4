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
