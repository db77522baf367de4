-- backup: what of this database a dump would lose.
--
-- pg_dump dumps no definition of what is a part of an extension, and nothing of what others have put on it or changed
-- in it. So the extension writes down what its parts are when its script has made them; what differs from that is lost.

CREATE FUNCTION attribution_internal.parts_now(
    OUT object text, OUT stands_on text, OUT aspect text, OUT value text, OUT way_there text, OUT way_back text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off -- definitions, costs and defaults are compared as text
    SET extra_float_digits = 1
    SET standard_conforming_strings = on
    SET IntervalStyle = postgres
AS $$
    WITH part AS (
        SELECT d.classid, d.objid, i.type, i.identity, pg_get_userbyid(e.extowner) AS owner
        FROM pg_extension e
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
        pg_identify_object(d.classid, d.objid, 0) AS i
        WHERE e.extname = 'attribution'
          -- pg_upgrade makes parts of row types as well, which belong to their tables.
          AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid AND o.objsubid = 0 AND o.deptype = 'i')
    ), relation AS (
        SELECT p.*, c.* FROM part p JOIN pg_class c ON p.classid = 'pg_class'::regclass AND c.oid = p.objid
    ), found (stands_on, classid, objid, objsubid, aspect, value, way_there, way_back) AS (
        SELECT NULL, classid, objid, 0, 'definition', '',
               format('ALTER EXTENSION attribution ADD %s %s', type, identity),
               format('ALTER EXTENSION attribution DROP %s %s', type, identity)
        FROM part
    UNION ALL
        SELECT NULL, p.classid, p.objid, 0, 'owner', CASE WHEN r.rolsuper THEN 'a superuser' ELSE r.rolname END,
               format('ALTER %s %s OWNER TO %I', p.type, p.identity, p.owner), NULL
        FROM part p
        LEFT JOIN pg_proc f ON p.classid = 'pg_proc'::regclass AND f.oid = p.objid
        LEFT JOIN pg_class c ON p.classid = 'pg_class'::regclass AND c.oid = p.objid
        LEFT JOIN pg_namespace n ON p.classid = 'pg_namespace'::regclass AND n.oid = p.objid
        LEFT JOIN pg_event_trigger t ON p.classid = 'pg_event_trigger'::regclass AND t.oid = p.objid
        JOIN pg_roles r ON r.oid = coalesce(f.proowner, c.relowner, n.nspowner, t.evtowner)
    UNION ALL -- functions and procedures
        SELECT NULL, p.classid, p.objid, 0, o.aspect, o.value, format('ALTER %s %s %s', p.type, p.identity, o.clause), NULL
        FROM part p JOIN pg_proc f ON p.classid = 'pg_proc'::regclass AND f.oid = p.objid,
        LATERAL (VALUES
            ('cost', f.procost::text, 'COST ' || f.procost),
            ('rows', f.prorows::text, 'ROWS ' || f.prorows),
            ('volatility', CASE f.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
             CASE f.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END),
            ('strictness', f.proisstrict::text, CASE WHEN f.proisstrict THEN 'STRICT' ELSE 'CALLED ON NULL INPUT' END),
            ('security', CASE WHEN f.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END,
             'SECURITY ' || CASE WHEN f.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END),
            ('leakproof', f.proleakproof::text, CASE WHEN f.proleakproof THEN '' ELSE 'NOT ' END || 'LEAKPROOF'),
            ('parallel', f.proparallel::text,
             'PARALLEL ' || CASE f.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END)
        ) AS o (aspect, value, clause)
    UNION ALL
        SELECT NULL, p.classid, p.objid, 0, 'body',
               md5(concat_ws(' ', f.prosrc, f.probin, pg_get_function_sqlbody(f.oid), pg_get_function_arguments(f.oid), pg_get_function_result(f.oid))),
               pg_get_functiondef(f.oid), NULL
        FROM part p JOIN pg_proc f ON p.classid = 'pg_proc'::regclass AND f.oid = p.objid
    UNION ALL
        SELECT NULL, p.classid, p.objid, 0, 'setting ' || s.name, s.value,
               format('ALTER %s %s SET %s TO %s', p.type, p.identity, s.name,
                      CASE s.name WHEN 'search_path' THEN s.value ELSE quote_literal(s.value) END),
               format('ALTER %s %s RESET %s', p.type, p.identity, s.name)
        FROM part p JOIN pg_proc f ON p.classid = 'pg_proc'::regclass AND f.oid = p.objid,
        unnest(f.proconfig) AS c (setting),
        LATERAL (SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)) AS s (name, value)
    UNION ALL
        SELECT NULL, p.classid, p.objid, 0, 'firing', t.evtenabled::text,
               format('ALTER EVENT TRIGGER %s ENABLE ALWAYS', p.identity), NULL
        FROM part p JOIN pg_event_trigger t ON p.classid = 'pg_event_trigger'::regclass AND t.oid = p.objid
    UNION ALL -- tables and materialized views
        SELECT NULL, r.classid, r.objid, 0, o.aspect, o.value, format('ALTER TABLE %s %s', r.identity, o.clause), NULL
        FROM relation r,
        LATERAL (VALUES
            ('row security', r.relrowsecurity::text, CASE WHEN r.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END || ' ROW LEVEL SECURITY'),
            ('forced row security', r.relforcerowsecurity::text, CASE WHEN r.relforcerowsecurity THEN '' ELSE 'NO ' END || 'FORCE ROW LEVEL SECURITY'),
            ('replica identity', r.relreplident::text, 'REPLICA IDENTITY DEFAULT'),
            ('persistence', r.relpersistence::text, 'SET ' || CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END)
        ) AS o (aspect, value, clause)
        WHERE r.relkind IN ('r', 'm')
    UNION ALL
        SELECT NULL, r.classid, r.objid, 0, 'option ' || split_part(o, '=', 1), split_part(o, '=', 2),
               format('ALTER TABLE %s SET (%s)', r.identity, o),
               format('ALTER TABLE %s RESET (%s)', r.identity, split_part(o, '=', 1))
        FROM relation r, unnest(r.reloptions) AS o
    UNION ALL
        SELECT r.type || ' ' || r.identity, r.classid, r.objid, a.attnum, 'definition', format_type(a.atttypid, a.atttypmod),
               format('ALTER TABLE %s ADD COLUMN %I %s', r.identity, a.attname, format_type(a.atttypid, a.atttypmod)),
               format('ALTER TABLE %s DROP COLUMN %I', r.identity, a.attname)
        FROM relation r JOIN pg_attribute a ON a.attrelid = r.objid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
        SELECT r.type || ' ' || r.identity, r.classid, r.objid, a.attnum, o.aspect, o.value, format('ALTER TABLE %s ALTER %I %s', r.identity, a.attname, o.clause), NULL
        FROM relation r
        JOIN pg_attribute a ON a.attrelid = r.objid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum,
        LATERAL (VALUES
            ('not null', a.attnotnull::text, CASE WHEN a.attnotnull THEN 'SET' ELSE 'DROP' END || ' NOT NULL'),
            ('default', coalesce(pg_get_expr(d.adbin, d.adrelid), ''), coalesce('SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), 'DROP DEFAULT')),
            ('statistics target', coalesce(nullif(a.attstattarget, -1)::text, ''), 'SET STATISTICS ' || coalesce(a.attstattarget, -1)),
            ('storage', a.attstorage::text, 'SET STORAGE ' ||
             CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
        ) AS o (aspect, value, clause)
    UNION ALL -- what stands on them
        SELECT r.type || ' ' || r.identity, 'pg_class'::regclass, i.indexrelid, 0, 'definition', pg_get_indexdef(i.indexrelid),
               pg_get_indexdef(i.indexrelid), format('DROP INDEX %s', i.indexrelid::regclass)
        FROM relation r JOIN pg_index i ON i.indrelid = r.objid
        WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = r.objid)
    UNION ALL -- NOT NULL is a constraint from 18 on: columns say it
        SELECT r.type || ' ' || r.identity, 'pg_constraint'::regclass, k.oid, 0, 'definition', pg_get_constraintdef(k.oid),
               format('ALTER TABLE %s ADD CONSTRAINT %I %s', r.identity, k.conname, pg_get_constraintdef(k.oid)),
               format('ALTER TABLE %s DROP CONSTRAINT %I', r.identity, k.conname)
        FROM relation r JOIN pg_constraint k ON k.conrelid = r.objid AND k.contype <> 'n'
    UNION ALL
        SELECT r.type || ' ' || r.identity, 'pg_trigger'::regclass, t.oid, 0, 'definition', pg_get_triggerdef(t.oid), pg_get_triggerdef(t.oid),
               format('DROP TRIGGER %I ON %s', t.tgname, r.identity)
        FROM relation r JOIN pg_trigger t ON t.tgrelid = r.objid AND NOT t.tgisinternal
    UNION ALL
        SELECT r.type || ' ' || r.identity, 'pg_rewrite'::regclass, w.oid, 0, 'definition', pg_get_ruledef(w.oid), pg_get_ruledef(w.oid),
               format('DROP RULE %I ON %s', w.rulename, r.identity)
        FROM relation r JOIN pg_rewrite w ON w.ev_class = r.objid AND w.rulename <> '_RETURN'
    UNION ALL
        SELECT r.type || ' ' || r.identity, 'pg_policy'::regclass, p.oid, 0, 'definition', '', NULL, format('DROP POLICY %I ON %s', p.polname, r.identity)
        FROM relation r JOIN pg_policy p ON p.polrelid = r.objid
    UNION ALL
        SELECT r.type || ' ' || r.identity, 'pg_statistic_ext'::regclass, s.oid, 0, 'definition', pg_get_statisticsobjdef(s.oid), pg_get_statisticsobjdef(s.oid),
               format('DROP STATISTICS %I.%I', s.stxnamespace::regnamespace::name, s.stxname)
        FROM relation r JOIN pg_statistic_ext s ON s.stxrelid = r.objid
    UNION ALL
        SELECT r.type || ' ' || r.identity, 'pg_publication_rel'::regclass, l.oid, 0, 'definition', '', NULL,
               format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, r.identity)
        FROM relation r JOIN pg_publication_rel l ON l.prrelid = r.objid JOIN pg_publication p ON p.oid = l.prpubid
        WHERE current_setting('server_version_num')::integer < 180000 -- from 18 on a dump has them
    )
    SELECT i.type || ' ' || i.identity, f.stands_on, f.aspect, f.value, f.way_there, f.way_back
    FROM found f, pg_identify_object(f.classid, f.objid, f.objsubid) AS i
UNION ALL
    SELECT i.type || ' ' || i.identity, f.stands_on, t.aspect, t.value,
           format('%s %s %s IS %L', t.command, w.word, i.identity, t.value), format('%s %s %s IS NULL', t.command, w.word, i.identity)
    FROM (SELECT DISTINCT stands_on, classid, objid FROM found WHERE objsubid = 0 AND aspect = 'definition') AS f
    JOIN (
        SELECT classoid, objoid, objsubid, 'comment', description, 'COMMENT ON' FROM pg_description
        UNION ALL
        SELECT classoid, objoid, objsubid, 'security label of ' || provider, label, format('SECURITY LABEL FOR %I ON', provider) FROM pg_seclabel
    ) AS t (classid, objid, objsubid, aspect, value, command) USING (classid, objid),
    pg_identify_object(t.classid, t.objid, t.objsubid) AS i,
    LATERAL (SELECT CASE
        WHEN i.type LIKE '% column' THEN 'COLUMN'
        WHEN i.type LIKE '% constraint' THEN 'CONSTRAINT'
        ELSE upper(replace(i.type, ' object', '')) END) AS w (word)
$$;
COMMENT ON FUNCTION attribution_internal.parts_now() IS
'What the parts of the extension are in this moment, and what stands on its tables: a row for each aspect that a dump leaves out, with the command that gives the object this value and the one that takes it away. Grants are not among them: a dump has those.';
REVOKE ALL ON FUNCTION attribution_internal.parts_now() FROM PUBLIC;

-- A materialized view and no table: a publication FOR ALL TABLES would send it to other servers. REFRESH writes into a
-- table pg_temp_N, which is a part of the extension for that moment when a script of it refreshes.
CREATE MATERIALIZED VIEW attribution_internal.parts_as_made AS
SELECT p.object, p.stands_on, p.aspect, p.value, p.way_there FROM attribution_internal.parts_now() p
WHERE concat_ws(' ', p.object, p.stands_on) !~ 'attribution_internal[.]pg_temp_[0-9]'
WITH NO DATA;
COMMENT ON MATERIALIZED VIEW attribution_internal.parts_as_made IS 'What the parts of the extension were when its script had made them: what a restore brings. Not dumped.';
COMMENT ON COLUMN attribution_internal.parts_as_made.object IS 'Type and identity, as pg_identify_object says them in every language.';
COMMENT ON COLUMN attribution_internal.parts_as_made.stands_on IS 'The table that it is a column, an index, a trigger or the like of; NULL for parts themselves.';
COMMENT ON COLUMN attribution_internal.parts_as_made.aspect IS 'Which of its properties; definition: that it exists at all.';
COMMENT ON COLUMN attribution_internal.parts_as_made.value IS 'Its value, as text that every version of PostgreSQL prints alike.';
COMMENT ON COLUMN attribution_internal.parts_as_made.way_there IS 'The command that gives it this value again.';

CREATE FUNCTION attribution_internal.record_parts() RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
    REFRESH MATERIALIZED VIEW attribution_internal.parts_as_made;
$$;
COMMENT ON FUNCTION attribution_internal.record_parts() IS
'Writes down what the parts of the extension are. The last statement of its script, and of each script that leads to another version.';
REVOKE ALL ON FUNCTION attribution_internal.record_parts() FROM PUBLIC;

CREATE FUNCTION attribution.check_backup(OUT object text, OUT problem text, OUT remedy text, OUT carried_by text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    tables_schema oid := to_regnamespace('attribution');
BEGIN
    -- Parts of the extension that are not as it made them. Of what is only here or only there no more is said than that,
    -- and nothing of what stands on it.
    RETURN QUERY
    WITH now AS (
        SELECT * FROM attribution_internal.parts_now()
    ), in_both AS (
        SELECT object FROM now WHERE aspect = 'definition'
        INTERSECT
        SELECT object FROM attribution_internal.parts_as_made WHERE aspect = 'definition'
    )
    SELECT object,
           CASE
               WHEN aspect = 'body' THEN 'has another body; a restore brings back the one that the extension made'
               WHEN aspect <> 'definition' THEN
                   format('%s is %s; a restore brings %s', aspect, coalesce(quote_literal(n.value), 'not set'), coalesce(quote_literal(m.value), 'none'))
               WHEN m.value IS NULL THEN 'is a part of the extension or stands on one, but was not made by it; no dump has it'
               WHEN n.value IS NULL THEN 'was a part of the extension, and is none any more, or has another name or schema; a restore brings it back'
               ELSE 'is defined in another way; a restore brings back what the extension made'
           END,
           coalesce(m.way_there, n.way_back),
           NULL
    FROM now n FULL JOIN attribution_internal.parts_as_made m USING (object, aspect)
    WHERE n.value IS DISTINCT FROM m.value
      AND (aspect = 'definition' OR object IN (SELECT object FROM in_both))
      AND (coalesce(n.stands_on, m.stands_on) IS NULL OR coalesce(n.stands_on, m.stands_on) IN (SELECT object FROM in_both));

    -- A dump has the grants that are not among the initial ones of a part, which are those it had when it became one.
    RETURN QUERY
    SELECT i.type || ' ' || i.identity,
           format('had a grant to %s when it became a part of the extension; no dump has it', string_agg(DISTINCT quote_ident(r.rolname), ', ')),
           format('%s; ALTER EXTENSION attribution DROP %s; ALTER EXTENSION attribution ADD %2$s; %s',
                  string_agg(format('REVOKE ALL ON %s %s FROM %I', k.kind, i.identity, r.rolname), '; '),
                  i.type || ' ' || i.identity,
                  string_agg(format('GRANT %s ON %s %s TO %I', a.privilege_type, k.kind, i.identity, r.rolname), '; ')),
           NULL
    FROM pg_init_privs p
    JOIN pg_depend d ON d.classid = p.classoid AND d.objid = p.objoid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'attribution',
    pg_identify_object(p.classoid, p.objoid, 0) AS i,
    LATERAL (SELECT CASE WHEN p.classoid = 'pg_class'::regclass THEN 'TABLE' ELSE i.type END) AS k (kind),
    aclexplode(p.initprivs) AS a
    JOIN pg_roles r ON r.oid = a.grantee
    WHERE p.objsubid = 0 AND a.grantee <> a.grantor
      AND EXISTS (SELECT FROM attribution_internal.parts_as_made AS m WHERE m.object = i.type || ' ' || i.identity)
    GROUP BY i.type, i.identity;

    -- Tables, views and functions that became parts of another extension.
    RETURN QUERY
    SELECT i.type || ' ' || i.identity,
           format('is a part of the extension %s; no dump has its definition or its rows', quote_ident(e.extname)),
           format('ALTER EXTENSION %I DROP %s %s', e.extname, i.type, i.identity), NULL
    FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname <> 'attribution'
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_proc f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid,
    pg_identify_object(d.classid, d.objid, 0) AS i
    WHERE d.deptype = 'e'
      AND (tables_schema IN (c.relnamespace, f.pronamespace)
           OR d.classid = 'pg_namespace'::regclass AND d.objid = tables_schema);

    -- Owners: a restore gives the extension to the superuser who runs it.
    RETURN QUERY
    SELECT 'schema attribution',
           format('belongs to role %s, which is no superuser; the extension does not come into a schema of such a role, so nothing is restored',
                  quote_ident(o.rolname)),
           format('ALTER SCHEMA attribution OWNER TO %I', pg_get_userbyid(e.extowner)), NULL
    FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner AND NOT o.rolsuper, pg_extension e
    WHERE n.oid = tables_schema AND e.extname = 'attribution';
    RETURN QUERY
    SELECT i.type || ' ' || i.identity,
           format('belongs to role %s, which is no superuser; after a restore the functions belong to a superuser and refuse its tables',
                  quote_ident(o.rolname)),
           format('ALTER TABLE %s OWNER TO %I', i.identity, pg_get_userbyid(e.extowner)), NULL
    FROM regexp_matches(attribution_internal.table_definitions(), '^CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) attribution[.]([[:alnum:]_]+)', 'gn') AS m
    JOIN pg_class c ON c.relnamespace = tables_schema AND c.relname = m[1]
    JOIN pg_roles o ON o.oid = c.relowner AND NOT o.rolsuper
    JOIN pg_extension e ON e.extname = 'attribution',
    pg_identify_object('pg_class'::regclass, c.oid, 0) AS i;

    -- Tables whose rows are not where one looks for them.
    RETURN QUERY
    SELECT 'table ' || c.oid::regclass,
           format('has row security for its owner %s too; a dump by that role ends with an error', quote_ident(o.rolname)),
           format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', c.oid::regclass), NULL
    FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner AND NOT o.rolsuper AND NOT o.rolbypassrls
    WHERE c.relnamespace = tables_schema AND c.relrowsecurity AND c.relforcerowsecurity
    UNION ALL
    SELECT 'table ' || c.oid::regclass,
           'is unlogged; a crash, a standby and a base backup leave it empty',
           format('ALTER TABLE %s SET LOGGED', c.oid::regclass), 'pg_dump'
    FROM pg_class c
    WHERE c.relnamespace = tables_schema AND c.relkind = 'r' AND c.relpersistence = 'u';

    -- What pg_dump leaves out of a table's definition.
    RETURN QUERY
    SELECT 'index ' || i.indexrelid::regclass, 'is not valid; no dump has it',
           format('REINDEX INDEX CONCURRENTLY %s', i.indexrelid::regclass), NULL
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = tables_schema AND NOT i.indisvalid AND c.relkind IN ('r', 'm')
    UNION ALL
    SELECT i.type || ' ' || i.identity,
           'is not enforced, for its triggers are disabled; a restore enforces it, and fails where rows break it',
           (SELECT string_agg(format('ALTER TABLE %s ENABLE TRIGGER %I', t.tgrelid::regclass, t.tgname), '; ' ORDER BY t.tgname)
            FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O'), NULL
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid, pg_identify_object('pg_constraint'::regclass, k.oid, 0) AS i
    WHERE c.relnamespace = tables_schema AND k.contype = 'f'
      AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgisinternal AND t.tgenabled <> 'O');

    -- Functions of others that run while rows are restored, with an empty search_path, and name something without its
    -- schema. pg_depend does not know what a body in a string names: its words are compared with what there is.
    RETURN QUERY
    WITH called AS (
        SELECT d.refobjid AS oid
        FROM pg_depend d
        LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype = 'c'
        LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
        LEFT JOIN pg_attribute g ON g.attrelid = a.adrelid AND g.attnum = a.adnum AND g.attgenerated <> ''
        LEFT JOIN pg_index x ON d.classid = 'pg_class'::regclass AND x.indexrelid = d.objid
        LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        JOIN pg_class c ON c.oid = coalesce(k.conrelid, g.attrelid, x.indrelid, w.ev_class)
        WHERE d.refclassid = 'pg_proc'::regclass
          AND (c.relnamespace = tables_schema AND w.oid IS NULL
               OR c.relkind = 'm' AND EXISTS (
                   SELECT FROM pg_depend s JOIN pg_class r ON s.refclassid = 'pg_class'::regclass AND r.oid = s.refobjid
                   WHERE s.classid = 'pg_rewrite'::regclass AND s.objid = w.oid AND r.relnamespace = tables_schema))
    ), named AS (
        SELECT p.proname AS name, p.pronamespace::regnamespace::text AS schema
        FROM pg_proc p WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        UNION
        SELECT c.relname, c.relnamespace::regnamespace::text FROM pg_class c
        WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    ), word AS (
        SELECT p.oid, m[1] AS name
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c'),
        regexp_matches(lower(p.prosrc), '(?<![[:alnum:]_".$])([a-z_][[:alnum:]_$]*)', 'g') AS m
        WHERE p.oid IN (SELECT oid FROM called) AND p.oid >= 16384 AND p.prosqlbody IS NULL
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s WHERE starts_with(s, 'search_path='))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    )
    SELECT i.type || ' ' || i.identity,
           format('names %s without a schema and runs while rows are restored, with an empty search_path, where it is not found',
                  string_agg(DISTINCT quote_ident(w.name), ', ')),
           format('ALTER %s %s SET search_path = pg_catalog, %s, pg_temp', i.type, i.identity, string_agg(DISTINCT n.schema, ', ')), NULL
    FROM word w JOIN named n ON n.name = w.name, pg_identify_object('pg_proc'::regclass, w.oid, 0) AS i
    GROUP BY i.type, i.identity;

    -- Settings of this database. Those of roles and of the server are none of its own.
    RETURN QUERY
    SELECT CASE WHEN s.setrole = 0 THEN format('database %I', current_database())
                ELSE format('role %I in database %I', pg_get_userbyid(s.setrole), current_database()) END,
           format('has the setting %s, which pg_dump without --create leaves out', c),
           format('Use pg_dump --create, or set it in postgresql.conf or for roles and ALTER %s RESET %s',
                  CASE WHEN s.setrole = 0 THEN format('DATABASE %I', current_database())
                       ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), current_database()) END,
                  split_part(c, '=', 1)),
           'pg_dump --create'
    FROM pg_db_role_setting s, unnest(s.setconfig) AS c
    WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c LIKE 'attribution.%';

    -- Bindings name roles, which are the server's. What somebody else has put in the place of the table may run his code.
    IF EXISTS (SELECT FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner, pg_extension e
               WHERE c.relnamespace = tables_schema AND c.relname = 'tenant_bindings' AND c.relkind IN ('r', 'p')
                 AND (o.rolsuper OR c.relowner = e.extowner) AND e.extname = 'attribution') THEN
        RETURN QUERY EXECUTE $query$
            SELECT format('binding of role %I', b.role_name), 'binds a role that does not exist: it was dropped or has another name now',
                   format('DELETE FROM attribution.tenant_bindings WHERE role_name = %L', b.role_name), NULL
            FROM attribution.tenant_bindings b
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = b.role_name)$query$;
    END IF;
END;
$$;
COMMENT ON FUNCTION attribution.check_backup() IS
'What of this database a plain pg_dump would lose, or why its restore would fail: a row for each finding with the command that ends it. Empty in a healthy database. carried_by names the way that does carry it, NULL where none does. Says nothing of what create_tables(true) says, of roles, of settings of roles and of the server, and of what is not meant to be dumped (attribution_internal). For the owner of the tables.';
REVOKE ALL ON FUNCTION attribution.check_backup() FROM PUBLIC;
