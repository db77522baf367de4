-- What a caller has in its search_path changes nothing: not functions and operators that stand before
-- PostgreSQL's own, not temporary tables called like ours, nor such whose row types are called like
-- PostgreSQL's types. Every function is called, and every trigger fired, with and without them; the
-- outcome must be the same to the letter.

BEGIN;
SELECT plan(8);
\ir include/two_tenants.sql

-- --- The attack ---------------------------------------------------------------------------------------

-- A copy of every operator and function of PostgreSQL's on the types we use, which raises HIJAK.
CREATE ROLE tap_attacker;
CREATE SCHEMA hostile;
GRANT CREATE ON SCHEMA hostile TO tap_attacker;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;

CREATE FUNCTION pg_temp.build_attack() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    our_types oid[] := ARRAY['uuid', 'uuid[]', 'text', 'text[]', 'numeric', 'numeric[]', 'bigint', 'bigint[]', 'integer', 'smallint',
        'boolean', 'timestamptz', 'interval', 'jsonb', 'name', 'character', 'oid', 'regclass']::regtype[]::oid[];
    built bigint := 0;
    f record;
    body text := $body$ AS 'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''HIJAK''; END' $body$;
BEGIN
    SET LOCAL SESSION AUTHORIZATION tap_attacker;
    FOR f IN
        SELECT o.oprname, o.oprleft, o.oprright, o.oprresult FROM pg_operator o
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft = ANY (our_types || 0::oid) AND o.oprright = ANY (our_types)
    LOOP
        built := built + 1;
        EXECUTE format('CREATE FUNCTION hostile.op_%s(%s) RETURNS %s LANGUAGE plpgsql %s', built,
            concat_ws(', ', CASE WHEN f.oprleft <> 0 THEN format_type(f.oprleft, NULL) END, format_type(f.oprright, NULL)), format_type(f.oprresult, NULL), body);
        EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.op_%s, %s RIGHTARG = %s)', f.oprname, built,
            CASE WHEN f.oprleft <> 0 THEN format('LEFTARG = %s,', format_type(f.oprleft, NULL)) END, format_type(f.oprright, NULL));
    END LOOP;
    FOR f IN
        SELECT DISTINCT p.proname, oidvectortypes(p.proargtypes) AS arguments, p.prorettype FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proargtypes::oid[] <@ our_types AND p.prorettype = ANY (our_types) AND NOT p.proretset
        UNION
        -- Those PostgreSQL has for any type.
        SELECT n.proname, t.type::regtype::text, 'bigint'::regtype
        FROM unnest(our_types) AS t (type), unnest(ARRAY['count', 'unnest', 'array_agg', 'num_nonnulls', 'coalesce', 'greatest', 'max', 'min']) AS n (proname)
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql %s', f.proname, f.arguments, format_type(f.prorettype, NULL), body);
            built := built + 1;
        EXCEPTION WHEN duplicate_function THEN
            NULL;
        END;
    END LOOP;
    SET LOCAL SESSION AUTHORIZATION DEFAULT;
    RETURN built;
END $$;
SELECT cmp_ok(pg_temp.build_attack(), '>=', 500::bigint, 'the attack has objects');

-- Run before each statement, by the role itself.
SELECT string_agg(format('CREATE TEMP TABLE %I (id int, tenant_id int, event_id int)', n.name), '; ') AS temp_tables
FROM (
    SELECT relname::text FROM our_relation
    UNION SELECT unnest(ARRAY['uuid', 'text', 'numeric', 'int8', 'int4', 'bool', 'timestamptz', 'jsonb', 'name', 'record', 'pg_class', 'pg_trigger', 'pg_constraint'])
) AS n (name) \gset

SELECT is((SELECT state FROM pg_temp.run_as('tap_writer', '', 'SELECT 1::pg_catalog.int8 = 1::pg_catalog.int8', 'SET LOCAL search_path = hostile, pg_catalog')),
    'HIJAK', 'an operator without its schema is hijacked');
SELECT is((SELECT state FROM pg_temp.run_as('tap_writer', '', 'SELECT (''x''::uuid).tenant_id', :'temp_tables')),
    '22P02', 'so is a type');

-- --- What must not notice -----------------------------------------------------------------------------

\ir include/battery.sql

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.name NOT IN (SELECT name FROM battery)
$$, 'every function is called');

CREATE TEMP TABLE outcome AS
SELECT b.*, plain.state AS plain_state, plain.result AS plain_result, plain.message AS plain_message, attack.name AS attack, attacked.state, attacked.result, attacked.message
FROM battery b,
     (VALUES ('functions and operators', 'SET LOCAL search_path = hostile, pg_catalog'),
             ('tables and types', :'temp_tables'),
             ('both', :'temp_tables' || '; SET LOCAL search_path = hostile, pg_temp, pg_catalog'),
             ('nothing', 'SET LOCAL search_path = ''''')) AS attack (name, settings),
     pg_temp.run_as(b.role_name, pg_temp.a()::text, b.statement, '') AS plain,
     pg_temp.run_as(b.role_name, pg_temp.a()::text, b.statement, attack.settings) AS attacked;

SELECT is_empty($$
    SELECT DISTINCT role_name, statement, attack, state, message FROM outcome WHERE state = 'HIJAK' OR message LIKE '%hijacked%'
$$, 'nothing of the attacker''s is called');
SELECT is_empty($$
    SELECT role_name, name, attack, plain_state, plain_result, plain_message, state, result, message
    FROM outcome
    WHERE (plain_state, plain_result, plain_message) IS DISTINCT FROM (state, result, message)
$$, 'every outcome is the same as without the attack');
-- A refresh that fails is a result.
SELECT is_empty($$
    SELECT DISTINCT statement, plain_state, plain_result FROM outcome
    WHERE name = 'attribution.refresh(text,text)' AND coalesce(plain_result !~ ',[0-9]+,refreshed,' OR statement ~ 'incremental' AND plain_result ~ ',0,', true)
$$, 'a refresh is one, and an incremental one writes rows');
SELECT cmp_ok((SELECT count(DISTINCT name) FROM outcome WHERE plain_state = '00000'), '>=', 25::bigint, 'and most of them are successes');

SELECT * FROM finish();
ROLLBACK;
