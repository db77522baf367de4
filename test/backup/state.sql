-- All that a copy of a database must have, one line each, in an order that depends on no oid: for `psql -XqAt -F ' '`.
-- Tables are found in the catalog, so that those of later versions are here by themselves.
\set ON_ERROR_STOP on
SET search_path = pg_catalog;

-- The number and the digest of the rows of every table; the owner's tables elsewhere too.
SELECT format('SELECT ''rows %1$s'', count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM %1$s t', c.oid::regclass)
FROM pg_class c
WHERE c.relnamespace IN ('attribution'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'p') ORDER BY c.oid::regclass::text \gexec

CREATE TEMP VIEW relation AS
SELECT c.*, c.oid::regclass::text AS name FROM pg_class c
WHERE c.relnamespace IN ('attribution'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I');

SELECT 'relation', r.name, r.relkind, r.relowner::regrole, r.relpersistence, r.relrowsecurity, r.relforcerowsecurity, r.relreplident, r.relispartition, r.relispopulated,
       a.amname, (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(r.reloptions) o)
FROM relation r LEFT JOIN pg_am a ON a.oid = r.relam ORDER BY r.name;
SELECT 'column', r.name, c.attnum - (SELECT count(*) FROM pg_attribute g WHERE g.attrelid = r.oid AND g.attisdropped AND g.attnum BETWEEN 1 AND c.attnum), c.attname,
       format_type(c.atttypid, c.atttypmod), c.attnotnull, c.attidentity, c.attgenerated, c.attstorage, c.attcompression, coalesce(nullif(c.attstattarget, -1), 0),
       c.attcollation::regcollation, (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(c.attoptions) o WHERE o NOT LIKE 'pg\_attver=%'), pg_get_expr(d.adbin, d.adrelid)
FROM relation r JOIN pg_attribute c ON c.attrelid = r.oid AND c.attnum > 0 AND NOT c.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = c.attnum
WHERE r.relkind NOT IN ('i', 'I') ORDER BY r.name, c.attnum;
SELECT 'constraint', r.name, n.conname, n.convalidated, replace(pg_get_constraintdef(n.oid), E'\n', ' ') FROM relation r JOIN pg_constraint n ON n.conrelid = r.oid ORDER BY r.name, n.conname;
SELECT 'index', r.name, i.indisvalid, i.indisclustered, i.indisreplident, pg_get_indexdef(r.oid) FROM relation r JOIN pg_index i ON i.indexrelid = r.oid ORDER BY r.name;
SELECT 'trigger', r.name, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal ORDER BY r.name, t.tgname;
SELECT 'policy', r.name, p.polname, p.polcmd, p.polpermissive, (SELECT string_agg(o::regrole::text, ',' ORDER BY o::regrole::text) FROM unnest(p.polroles) o),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
FROM relation r JOIN pg_policy p ON p.polrelid = r.oid ORDER BY r.name, p.polname;
SELECT 'view', r.name, replace(pg_get_viewdef(r.oid), E'\n', ' ') FROM relation r WHERE r.relkind IN ('v', 'm') ORDER BY r.name;
SELECT 'rule', r.name, w.rulename, w.ev_enabled, pg_get_ruledef(w.oid) FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN' ORDER BY r.name, w.rulename;
SELECT 'statistics', s.stxname, s.stxowner::regrole, s.stxstattarget, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s ORDER BY s.stxname;
SELECT 'publication', p.pubname, p.pubowner::regrole, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot FROM pg_publication p ORDER BY p.pubname;
SELECT 'published', p.* FROM pg_publication_tables p ORDER BY p.pubname, p.schemaname, p.tablename;
SELECT 'schema', n.nspname, n.nspowner::regrole FROM pg_namespace n WHERE n.nspname LIKE 'attribution%' ORDER BY n.nspname;
SELECT 'event trigger', e.evtname, e.evtevent, e.evtenabled, e.evttags FROM pg_event_trigger e ORDER BY e.evtname;
SELECT 'function', p.oid::regprocedure, p.proowner::regrole, md5(pg_get_functiondef(p.oid)) FROM pg_proc p
WHERE p.pronamespace IN (SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('attribution', 'attribution_internal', 'public'))
ORDER BY p.oid::regprocedure::text;
SELECT 'comment', o.identity, c.description FROM pg_description c, pg_identify_object(c.classoid, c.objoid, c.objsubid) o
WHERE c.objoid >= 16384 AND (o.identity LIKE '%attribution%' OR o.identity LIKE '%public.%') ORDER BY o.identity, o.type;

-- Rights. Where nothing was granted they are the default ones.
SELECT 'right', a.what, CASE WHEN x.grantee = 0 THEN 'public' ELSE x.grantee::regrole::text END,
       string_agg(x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END, ',' ORDER BY x.privilege_type)
FROM (SELECT r.name AS what, coalesce(r.relacl, acldefault('r', r.relowner)) AS acl FROM relation r WHERE r.relkind NOT IN ('i', 'I')
      UNION ALL SELECT r.name || '.' || c.attname, c.attacl FROM relation r JOIN pg_attribute c ON c.attrelid = r.oid
      UNION ALL SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p
                WHERE p.pronamespace IN (SELECT n.oid FROM pg_namespace n WHERE n.nspname LIKE 'attribution%')
      UNION ALL SELECT n.nspname, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n WHERE n.nspname LIKE 'attribution%') a,
     aclexplode(a.acl) x
GROUP BY a.what, x.grantee ORDER BY a.what, x.grantee::regrole::text;

-- What the extension has for itself, none of which may depend on a table or a view that it let go, or on its type.
SELECT 'member', o.type, o.identity FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
     pg_identify_object(d.classid, d.objid, d.objsubid) o WHERE e.extname = 'attribution' ORDER BY o.type, o.identity;
SELECT 'a member depends on a table:', pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
FROM pg_extension e
JOIN pg_depend m ON m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'
JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid AND d.deptype <> 'e'
LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
LEFT JOIN pg_type element ON element.typarray = t.oid
JOIN pg_class c ON c.oid = CASE WHEN d.refclassid = 'pg_class'::regclass THEN d.refobjid ELSE coalesce(nullif(t.typrelid, 0), element.typrelid) END
WHERE e.extname = 'attribution' AND c.relkind IN ('r', 'p', 'v', 'm')
AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e' AND x.refobjid = e.oid)
AND c.relnamespace <> 'pg_catalog'::regnamespace ORDER BY 2, 3;

-- What the extension itself says.
SELECT 'create_tables()', p.* FROM attribution.create_tables(true) p;
SELECT 'check_backup()', p.* FROM attribution.check_backup() p;
SELECT 'check_index_plan()', p.index_name, p.problem FROM attribution.check_index_plan() p WHERE p.problem IS NOT NULL ORDER BY p.index_name;
