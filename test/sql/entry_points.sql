-- entry_points: whatever of the extension SQL can call, called in ways it is not made for, ends in a result or an
-- error, never in a crash. What can be called comes from the catalog, so a new function is tried as well.
-- A database of its own: what is called here writes, and attaches the extension's triggers to tables of others.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_entry_points;
CREATE DATABASE regression_entry_points;
\set home :DBNAME
\c regression_entry_points
SET client_min_messages = error;
CREATE EXTENSION attribution;
SELECT pg_backend_pid() AS backend \gset

-- Every call, with what became of it: 'ok', or SQLSTATE and message. What a call did is undone.
CREATE TABLE outcomes (way text, call text, outcome text);
CREATE FUNCTION try(way text, VARIADIC statements text[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    outcome text := 'ok';
BEGIN
    BEGIN
        FOREACH statement IN ARRAY statements LOOP
            EXECUTE statement;
        END LOOP;
        SET CONSTRAINTS ALL IMMEDIATE;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE <> 'UNDO0' THEN outcome := SQLSTATE || ': ' || SQLERRM; END IF;
    END;
    INSERT INTO outcomes VALUES (way, array_to_string(statements, '; '), outcome);
    RETURN true;
END;
$$;

-- --- Functions and procedures ------------------------------------------------------------------------

-- Arguments: ordinary ones, and those at the ends of their types.
CREATE TABLE dummies (type regtype PRIMARY KEY, ordinary text, extreme text);
INSERT INTO dummies VALUES
    ('uuid', '11111111-1111-4111-8111-111111111111', '00000000-0000-0000-0000-000000000000'),
    ('text', 'x', ''),
    ('name', 'tenants_pkey', ''),
    ('bigint', '1', '-9223372036854775808'),
    ('integer', '1', '-2147483648'),
    ('oid', '1259', '4294967295'),
    ('numeric', '1', 'NaN'),
    ('boolean', 'true', 'false'),
    ('jsonb', '{"x": 1}', '[null]'),
    ('timestamptz', '2024-03-01Z', 'infinity'),
    ('interval', '1 day', '-178000000 years'),
    ('text[]', '{x}', '{NULL}'),
    ('uuid[]', '{11111111-1111-4111-8111-111111111111}', '{{NULL}}'),
    ('numeric[]', '{1}', '{}');

CREATE VIEW routines AS
SELECT p.oid, p.prokind AS kind, p.proretset AS is_set, p.prorettype::regtype AS result, p.pronargs::int AS arguments,
       format('%I.%I', p.pronamespace::regnamespace, p.proname) AS name, string_to_array(p.proargtypes::text, ' ')::oid[]::regtype[] AS types
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'attribution'
WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype);
-- A type without dummies would be called with null only.
SELECT DISTINCT t AS type_without_dummies FROM routines r, unnest(r.types) AS t WHERE t NOT IN (SELECT d.type FROM dummies d);

-- The lists of arguments that a routine is called with: all null, ordinary, extreme, and each of them null.
CREATE FUNCTION argument_lists(types regtype[]) RETURNS SETOF text[] LANGUAGE sql AS $$
    SELECT ARRAY(
        SELECT format('%s::%s', CASE WHEN variant IN (0, 2 + n) THEN 'NULL' ELSE quote_nullable(CASE variant WHEN 1 THEN d.ordinary WHEN 2 THEN d.extreme ELSE d.ordinary END) END, t)
        FROM unnest(types) WITH ORDINALITY AS u (t, n) LEFT JOIN dummies d ON d.type = t ORDER BY n)
    FROM generate_series(0, 2 + cardinality(types)) AS variant
    WHERE variant < 2 OR cardinality(types) > 0
$$;

-- By name, where a value stands and where rows stand, and as a window function whatever it is.
SELECT count(try('by name', format(CASE r.kind WHEN 'p' THEN 'CALL %s(%s)' WHEN 'w' THEN 'SELECT %s(%s) OVER () FROM generate_series(1, 3)' ELSE 'SELECT %s(%s)' END, r.name, array_to_string(a, ', ')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a;
SELECT count(try('as rows', format('SELECT * FROM %s(%s) WITH ORDINALITY', r.name, array_to_string(a, ', ')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.kind <> 'p';
SELECT count(try('in a condition', format('SELECT 1 WHERE (%s(%s)) IS NULL', r.name, array_to_string(a, ', ')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.kind <> 'p';
SELECT count(try('over a window', format('SELECT %s(%s) OVER () FROM generate_series(1, 3)', r.name, array_to_string(a, ', ')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.kind <> 'p';
-- In a row, an array, a sort key and a set operation.
SELECT count(try('inside', format('SELECT ROW(%1$s(%2$s)), ARRAY[%1$s(%2$s)::text] ORDER BY %1$s(%2$s)', r.name, array_to_string(a, ', ')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.kind <> 'p';
-- CREATE OPERATOR takes every kind of routine.
SELECT count(try('as operator',
           format('CREATE OPERATOR public.@#@ (FUNCTION = %s, %sRIGHTARG = %s)', r.name,
                  CASE r.arguments WHEN 2 THEN format('LEFTARG = %s, ', r.types[1]) END, r.types[r.arguments]),
           format('SELECT %s OPERATOR(public.@#@) %s', CASE r.arguments WHEN 2 THEN a[1] END, a[r.arguments]))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.arguments IN (1, 2);
-- As a cast, and as the functions of an aggregate.
SELECT count(try('as cast', format('CREATE CAST (%s AS %s) WITH FUNCTION %s', r.types[1], r.result, r.oid::regprocedure),
           format('SELECT CAST(%s AS %s)', a[1], r.result))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.arguments BETWEEN 1 AND 3;
SELECT count(try('as transition function',
           format('CREATE AGGREGATE public.aggregate (%s) (SFUNC = %s, STYPE = %s)', coalesce(nullif(array_to_string(r.types[2:], ', '), ''), '*'), r.name, r.types[1]),
           format('SELECT public.aggregate(%s) FROM generate_series(1, 3)', coalesce(nullif(array_to_string(a[2:], ', '), ''), '*')))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.arguments > 0;
SELECT count(try('as final function',
           format('CREATE FUNCTION public.last(%1$s, %1$s) RETURNS %1$s LANGUAGE sql RETURN $2', r.types[1]),
           format('CREATE AGGREGATE public.aggregate (%1$s) (SFUNC = public.last, STYPE = %1$s, FINALFUNC = %2$s)', r.types[1], r.name),
           format('SELECT public.aggregate(%s) FROM generate_series(1, 3)', a[1]))) > 0 AS tried
FROM routines r, argument_lists(r.types) AS a WHERE r.arguments = 1;

-- --- Trigger functions -------------------------------------------------------------------------------

CREATE VIEW trigger_functions AS
SELECT p.oid, format('%I.%I', p.pronamespace::regnamespace, p.proname) AS name, p.prorettype = 'event_trigger'::regtype AS is_of_events
FROM pg_proc p WHERE p.pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype);
SELECT count(try('trigger function by name', format('SELECT %s()', name))) > 0 AS tried FROM trigger_functions;

-- Tables with a column of each name that the extension has, all of one type; a table with none of them; a view.
CREATE VIEW column_names AS
SELECT DISTINCT a.attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped;
SELECT format('CREATE TABLE of_%s (%s)', t, string_agg(format('%I %s', c.name, t), ', ' ORDER BY c.name)) FROM column_names c, unnest('{text,integer,uuid,jsonb}'::text[]) AS t GROUP BY t \gexec
CREATE TABLE of_none (a integer);
CREATE VIEW of_view AS SELECT * FROM of_text;
-- Rows: all null, and all columns with a value; and what changes every column from the one to the other.
CREATE FUNCTION assignments(table_name text, OUT columns text, OUT nulls text, OUT filled text) LANGUAGE sql AS $$
    SELECT string_agg(quote_ident(a.attname), ', '), string_agg('NULL', ', '), string_agg(quote_literal(v.value), ', ')
    FROM pg_attribute a
    JOIN (VALUES ('text', 'x'), ('integer', '1'), ('uuid', '11111111-1111-4111-8111-111111111111'), ('jsonb', '{}')) AS v (type, value) ON v.type::regtype = a.atttypid
    WHERE a.attrelid = table_name::regclass AND a.attnum > 0
$$;
CREATE FUNCTION insertions(table_name text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('INSERT INTO %s VALUES (%s)', table_name, row) FROM assignments(table_name) AS a, unnest(ARRAY[a.nulls, a.filled]) AS row
$$;
CREATE FUNCTION action(event text, table_name text, insertion text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE event
        WHEN 'INSERT' THEN insertion
        WHEN 'UPDATE' THEN format('UPDATE %s SET (%s) = ROW(%s)', table_name, a.columns, CASE WHEN insertion LIKE '%NULL%' THEN a.filled ELSE a.nulls END)
        WHEN 'DELETE' THEN format('DELETE FROM %s', table_name)
        ELSE format('TRUNCATE %s', table_name)
    END
    FROM assignments(table_name) AS a
$$;
-- Each function, at each time, for each event, for rows and statements, deferred, and with transition tables.
SELECT count(try('trigger', insertion,
                 format('CREATE TRIGGER t %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s()', time, event, table_name, level, f.name),
                 action(event, table_name, insertion))) > 0 AS tried
FROM trigger_functions f, unnest('{BEFORE,AFTER,INSTEAD OF}'::text[]) AS time, unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS event,
     unnest('{ROW,STATEMENT}'::text[]) AS level,
     unnest('{of_text,of_integer,of_uuid,of_jsonb,of_none,of_view}'::text[]) AS table_name, insertions(table_name) AS insertion
WHERE NOT f.is_of_events AND (time = 'INSTEAD OF') = (table_name = 'of_view' AND level = 'ROW') AND (event <> 'TRUNCATE' OR (level = 'STATEMENT' AND table_name <> 'of_view'));
SELECT count(try('deferred', insertion,
                 format('CREATE CONSTRAINT TRIGGER t AFTER %s ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %s()', event, table_name, f.name),
                 action(event, table_name, insertion))) > 0 AS tried
FROM trigger_functions f, unnest('{INSERT,UPDATE,DELETE}'::text[]) AS event,
     unnest('{of_text,of_integer,of_uuid,of_jsonb,of_none}'::text[]) AS table_name, insertions(table_name) AS insertion
WHERE NOT f.is_of_events;
SELECT count(try('transition tables', insertion,
                 format('CREATE TRIGGER t AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION %s()', event, table_name,
                        concat_ws(' ', CASE WHEN event <> 'INSERT' THEN 'OLD TABLE AS ' || names[1] END, CASE WHEN event <> 'DELETE' THEN 'NEW TABLE AS ' || names[2] END), f.name),
                 action(event, table_name, insertion))) > 0 AS tried
FROM trigger_functions f, unnest('{INSERT,UPDATE,DELETE}'::text[]) AS event,
     unnest('{of_text,of_integer,of_uuid,of_jsonb,of_none}'::text[]) AS table_name, insertions(table_name) AS insertion,
     (VALUES ('{old_rows,new_rows}'::text[]), ('{a,b}')) AS v (names)
WHERE NOT f.is_of_events;
SELECT count(try('event trigger', format('CREATE EVENT TRIGGER t ON %s EXECUTE FUNCTION %s()', event, f.name),
           'CREATE TABLE public.one AS SELECT 1 AS a', 'CREATE MATERIALIZED VIEW public.many AS SELECT 1 AS a', 'REFRESH MATERIALIZED VIEW public.many',
           'ALTER TABLE public.one ALTER COLUMN a TYPE bigint', 'DROP MATERIALIZED VIEW public.many', 'DROP TABLE public.one')) > 0 AS tried
FROM trigger_functions f, unnest('{ddl_command_start,ddl_command_end,sql_drop,table_rewrite}'::text[]) AS event;

-- --- What became of it -------------------------------------------------------------------------------

SELECT pg_backend_pid() = :backend AS backend_lives;
-- Each way leads somewhere: into a function that answers, or refuses with an error of its own.
SELECT way, bool_or(outcome = 'ok') AS some_answer, bool_or(outcome LIKE '22%' OR outcome LIKE '39%') AS some_refuse FROM outcomes GROUP BY way ORDER BY way;
-- An internal error is a fault, or a message that nobody understands.
SELECT way, outcome, min(call) AS for_example FROM outcomes WHERE outcome LIKE 'XX%' GROUP BY way, outcome ORDER BY way, outcome;
-- A window function needs a window, and a trigger function columns of the types it knows.
SELECT DISTINCT outcome FROM outcomes WHERE way = 'as operator' AND call LIKE '%allocate_share%' ORDER BY outcome;
SELECT DISTINCT outcome FROM outcomes WHERE call LIKE '%touch_updated_at%' AND outcome LIKE '42%: column %' ORDER BY outcome;
\c :home
DROP DATABASE regression_entry_points;
