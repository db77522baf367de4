-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION attribution" to load this file. \quit

-- Two schemas. What people call, read and add to is in `attribution`, which is no part of the extension, nor are the
-- tables and views in it: pg_dump dumps them as it dumps a user's own. What only the extension uses is in
-- `attribution_internal`, which is a part of it.
--
-- pg_dump restores schemas before extensions. So the schema is the sign: where it is missing the database is new, and
-- this script makes the tables as well; where it is there a dump is being restored, or the extension comes back to its
-- tables, and the script makes functions only. doc/versions.md tells more.
--
-- The script runs with search_path = pg_catalog, pg_temp (schema = pg_catalog in the control file).
DO $$
DECLARE
    present record;
BEGIN
    SELECT n.oid, n.nspowner, r.rolsuper INTO present
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname = 'attribution';
    IF NOT FOUND THEN
        CREATE SCHEMA attribution; -- a part of the extension until the last statement of this script
        COMMENT ON SCHEMA attribution IS
        'Revenue attribution to the exact cent: events, allocations that sum to their revenue at every COMMIT, ledger, reconciliation and refreshed views. All tables belong to a tenant.';
        RETURN;
    END IF;
    -- Whoever owns the schema may put functions and tables in it that this script would take for its own.
    IF NOT present.rolsuper AND present.nspowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'schema "attribution" belongs to role "%"', pg_get_userbyid(present.nspowner)
            USING ERRCODE = '42P06',
                  DETAIL = 'The extension only comes into a schema of its own role or of a superuser.',
                  HINT = 'Drop the schema, or ALTER SCHEMA attribution OWNER TO a superuser after looking at what is in it.';
    END IF;
    IF EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = present.oid) THEN
        RAISE EXCEPTION 'schema "attribution" has functions'
            USING ERRCODE = '42P06',
                  DETAIL = (SELECT format('One of them is %s.', p.oid::regprocedure) FROM pg_proc p WHERE p.pronamespace = present.oid
                            ORDER BY p.oid LIMIT 1),
                  HINT = 'Move them to another schema: ALTER FUNCTION ... SET SCHEMA.';
    END IF;
END;
$$;
CREATE SCHEMA attribution_internal;
COMMENT ON SCHEMA attribution_internal IS
'What only the extension attribution itself uses: trigger functions, logs of changes, what is known of the materialized views. Nothing here is dumped.';

-- First of all: without it a library that was left behind would be found out by the first function that it lacks.
CREATE FUNCTION attribution_internal.check_library_version() RETURNS void
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'attribution_check_library_version';
COMMENT ON FUNCTION attribution_internal.check_library_version() IS
'Raises 55000 when the library is older than the extension. Scripts that install or update the extension begin with it.';
REVOKE ALL ON FUNCTION attribution_internal.check_library_version() FROM PUBLIC;
SELECT attribution_internal.check_library_version();

-- A materialized view and no table: a publication FOR ALL TABLES would send it to other servers.
CREATE MATERIALIZED VIEW attribution_internal.installation AS SELECT now() AS installed_at;
COMMENT ON MATERIALIZED VIEW attribution_internal.installation IS 'One row: when the extension came into this database, which a restore is too. Not dumped.';
COMMENT ON COLUMN attribution_internal.installation.installed_at IS 'The time of CREATE EXTENSION.';
