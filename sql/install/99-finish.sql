-- finish: tables where the database is new, and rights.

-- Default privileges of the installing role would open what has just been made, the logs of all tenants among it. Only
-- the owner has rights, and PUBLIC those on functions above.
DO $$
DECLARE
    is_new boolean := EXISTS (
        SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'attribution'
        WHERE d.classid = 'pg_namespace'::regclass AND d.objid = 'attribution'::regnamespace
          AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e');
    statement text;
BEGIN
    FOR statement IN
        SELECT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.relnamespace = 'attribution_internal'::regnamespace AND a.grantee <> c.relowner
        UNION
        SELECT format('REVOKE ALL ON ROUTINE %s FROM %s', p.oid::regprocedure, quote_ident(pg_get_userbyid(a.grantee)))
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND a.grantee NOT IN (0, p.proowner)
        UNION
        SELECT format('REVOKE ALL ON SCHEMA %s FROM %s', n.oid::regnamespace,
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE (n.nspname = 'attribution_internal' OR n.nspname = 'attribution' AND is_new) AND a.grantee <> n.nspowner
    LOOP
        EXECUTE statement;
    END LOOP;
    IF is_new THEN
        PERFORM attribution.create_tables();
        ALTER EXTENSION attribution DROP SCHEMA attribution;
    END IF;
END;
$$;

-- The last statement: what the extension is now is what a restore will bring.
SELECT attribution_internal.record_parts();
