-- check_backup() is a test that people can put into their own suites: empty in a healthy database, whatever the session
-- has set, for the owner of the tables. What it finds, and that this is what a dump loses, is test/suites/check_backup.sh.

BEGIN;
\ir include/two_tenants.sql
SELECT plan(10);
PREPARE check_backup AS SELECT * FROM attribution.check_backup();

SELECT is_empty('SELECT * FROM attribution.check_backup()', 'a healthy database has no finding');

SELECT set_eq(
    $$SELECT object FROM attribution_internal.parts_as_made WHERE aspect = 'definition' AND stands_on IS NULL$$,
    $$SELECT i.type || ' ' || i.identity
      FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
      pg_identify_object(d.classid, d.objid, 0) AS i
      WHERE e.extname = 'attribution'
        -- From 18 on the row types of tables are parts as well.
        AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid AND o.deptype = 'i')$$,
    'every part of the extension is written down');

SET LOCAL quote_all_identifiers = on;
SET LOCAL search_path = attribution_internal, attribution, pg_catalog;
SET LOCAL extra_float_digits = -15;
SET LOCAL IntervalStyle = sql_standard;
SELECT count(*) AS found FROM attribution.check_backup() \gset
RESET search_path;
RESET quote_all_identifiers;
RESET extra_float_digits;
RESET IntervalStyle;
SELECT is(:found, 0, 'nor has it one in a session with other settings');

CREATE ROLE backup_gone;
SELECT attribution.bind_tenant('backup_gone', pg_temp.a());
SELECT is_empty('check_backup', 'a binding is no finding');
ALTER ROLE backup_gone RENAME TO "backup's own";
SELECT results_eq('SELECT object, carried_by, remedy FROM attribution.check_backup()',
    $$VALUES ('binding of role backup_gone', NULL::text, 'DELETE FROM attribution.tenant_bindings WHERE role_name = ''backup_gone''')$$,
    'one of a role that has another name now is');
SELECT lives_ok((SELECT remedy FROM attribution.check_backup()), 'its remedy can be run');
SELECT is_empty('check_backup', 'and ends it');

SET LOCAL ROLE "backup's own";
SELECT throws_ok('SELECT * FROM attribution.check_backup()', '42501', NULL, 'it is for the owner of the tables');
RESET ROLE;

SET CONSTRAINTS ALL IMMEDIATE;
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s OWNER TO "backup''s own"', c.oid::regclass) FROM pg_class c
        WHERE c.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND c.relkind IN ('r', 'v', 'm')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO "backup''s own"', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
    LOOP
        EXECUTE command;
    END LOOP;
END;
$$;
GRANT USAGE ON SCHEMA attribution, attribution_internal TO "backup's own";
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO "backup's own";
SET LOCAL ROLE "backup's own";
CREATE TEMP TABLE said AS SELECT * FROM attribution.check_backup();
RESET ROLE;
SELECT set_eq('TABLE said', 'check_backup', 'which needs not be a superuser');
SELECT is((SELECT remedy FROM said WHERE object = 'table attribution.tenants'), 'ALTER TABLE attribution.tenants OWNER TO postgres',
    'but should be one: a restore gives the functions to one');

SELECT * FROM finish();
ROLLBACK;
