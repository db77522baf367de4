-- What makes an extension a hole in the database it is installed in, asked of the catalog: every rule
-- enumerates its offenders among the extension's members and must find none.

BEGIN;
SELECT plan(38);

-- The extension's members, and the tables and views, which are none.
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'attribution' AND d.deptype = 'e';
CREATE TEMP VIEW ours AS
TABLE member
UNION ALL
SELECT 'pg_class'::regclass, c.oid FROM pg_class c
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f');

CREATE TEMP VIEW our_relation AS
SELECT c.oid, c.oid::regclass AS name, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity
FROM pg_class c JOIN ours o ON o.objid = c.oid AND o.classid = 'pg_class'::regclass;

CREATE TEMP VIEW our_function AS
SELECT p.oid, p.oid::regprocedure AS name, p.proname, l.lanname, p.prosecdef, p.provolatile, p.proparallel, p.proisstrict,
       p.proleakproof, p.prokind, p.proowner, p.pronargs, p.proargtypes, p.prorettype,
       (SELECT substr(s, length('search_path=') + 1) FROM unnest(p.proconfig) AS s WHERE s LIKE 'search\_path=%') AS search_path,
       EXISTS (SELECT 1 FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
               WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') AS is_public
FROM pg_proc p
JOIN ours o ON o.objid = p.oid AND o.classid = 'pg_proc'::regclass
JOIN pg_language l ON l.oid = p.prolang;

CREATE TEMP VIEW our_trigger AS
SELECT t.oid, t.tgname, r.name AS relation, t.tgfoid::regprocedure AS function, t.tgfoid, t.tgconstraint, t.tgenabled, t.tgtype,
       t.tgargs, t.tgrelid
FROM pg_trigger t JOIN our_relation r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal;

-- Tables whose rows belong to tenants; so does what says which role may act for which tenant.
CREATE TEMP VIEW tenant_table AS
SELECT r.*
FROM our_relation r
WHERE r.relkind IN ('r', 'p') AND (r.relname = 'tenants' OR EXISTS (
    SELECT 1 FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped));

SELECT cmp_ok((SELECT count(*) FROM our_function), '>=', 25::bigint, 'the rules below find the functions');
SELECT cmp_ok((SELECT count(*) FROM our_trigger), '>=', 15::bigint, 'the triggers');
SELECT cmp_ok((SELECT count(*) FROM tenant_table), '>=', 9::bigint, 'and the tenant tables');

-- --- Where objects live and whose they are -----------------------------------------------------------

SELECT is_empty($$
    SELECT pg_describe_object(m.classid, m.objid, 0) AS outside
    FROM member m
    WHERE NOT EXISTS (
        SELECT 1 FROM pg_depend d
        WHERE d.classid = m.classid AND d.objid = m.objid AND d.refclassid = 'pg_namespace'::regclass
          AND d.refobjid IN ('attribution_internal'::regnamespace, CASE m.classid WHEN 'pg_proc'::regclass THEN 'attribution'::regnamespace END))
      AND (m.classid, m.objid) <> ('pg_namespace'::regclass, 'attribution_internal'::regnamespace)
      AND m.classid NOT IN ('pg_cast'::regclass, 'pg_event_trigger'::regclass)
      -- The row type of a relation lives where its relation lives.
      AND NOT EXISTS (SELECT 1 FROM pg_type t WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid
                      AND t.typnamespace = 'attribution_internal'::regnamespace)
$$, 'every member lives in the schema attribution_internal, and functions to call in attribution');

SELECT is_empty($$
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'attribution_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      AND c.oid NOT IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
    UNION ALL
    SELECT p.proname FROM pg_proc p
    WHERE p.pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND p.oid NOT IN (SELECT oid FROM our_function)
$$, 'and both schemas hold nothing else but the tables and views that are none');

SELECT is_empty($$
    SELECT d.what, d.owner::regrole
    FROM (
        SELECT nspname AS what, nspowner AS owner FROM pg_namespace WHERE nspname IN ('attribution', 'attribution_internal')
        UNION ALL SELECT name::text, relowner FROM our_relation
        UNION ALL SELECT name::text, proowner FROM our_function
        UNION ALL SELECT t.typname, t.typowner FROM pg_type t JOIN ours o ON o.objid = t.oid AND o.classid = 'pg_type'::regclass
    ) d
    WHERE d.owner <> (SELECT extowner FROM pg_extension WHERE extname = 'attribution')
$$, 'the owner of all of it is who installed the extension');

-- --- Names are resolved by us, not by the caller -----------------------------------------------------

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.lanname IN ('sql', 'plpgsql') AND f.search_path IS NULL
$$, 'SQL and PL/pgSQL functions pin their search_path');

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.prosecdef AND f.search_path IS NULL
$$, 'so do SECURITY DEFINER functions in any language');

SELECT is_empty($$
    SELECT f.name, f.search_path FROM our_function f
    WHERE f.search_path IS NOT NULL
      AND btrim((string_to_array(f.search_path, ','))[cardinality(string_to_array(f.search_path, ','))], ' "') <> 'pg_temp'
$$, 'the last entry of a pinned search_path is pg_temp: else it comes first, unseen');

SELECT is_empty($$
    SELECT f.name, f.search_path, s.entry
    FROM our_function f, unnest(string_to_array(f.search_path, ',')) AS s (entry)
    WHERE btrim(s.entry, ' "') NOT IN ('pg_catalog', 'attribution', 'pg_temp')
$$, 'a pinned search_path names no schema that others write to');

-- --- What anybody may call ---------------------------------------------------------------------------

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.prosecdef AND f.is_public
$$, 'no SECURITY DEFINER function is executable by PUBLIC');

SELECT set_eq($$ SELECT f.name::text FROM our_function f WHERE f.is_public $$, ARRAY[
    -- pure: they read nothing but their arguments
    'attribution.allocate_cents(bigint,integer)',
    'attribution.allocate_cents(bigint,numeric[])',
    'attribution.allocate_share(bigint,numeric)',
    'attribution.allocation_id(uuid,uuid,text,text,timestamp with time zone)',
    'attribution.allocation_tie_key(uuid,uuid,text,text)',
    'attribution.keyed_event_id(uuid,text,text)',
    'attribution.uuid_v7()',
    -- what row security itself calls
    'attribution.current_tenant()',
    'attribution.check_tenant(uuid)',
    -- what triggers ask in their WHEN clauses, with the rights of whoever writes
    'attribution_internal.is_replicated_row()'
], 'PUBLIC may execute pure functions and what concerns its own session, nothing else');

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.proleakproof
$$, 'no function claims to be leakproof: it would be run on rows before row security');

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE 'internal'::regtype::oid = ANY (f.proargtypes) OR f.prorettype = 'internal'::regtype
$$, 'no function takes or returns internal');

-- --- What a function says of itself ------------------------------------------------------------------

-- None of these uses SPI or reads a table. A new one: read its code before adding it here.
SELECT set_eq($$ SELECT f.name::text FROM our_function f WHERE f.provolatile = 'i' $$, ARRAY[
    'attribution.allocate_cents(bigint,integer)',
    'attribution.allocate_cents(bigint,numeric[])',
    'attribution.allocate_share(bigint,numeric)',
    'attribution.allocation_id(uuid,uuid,text,text,timestamp with time zone)',
    'attribution.allocation_tie_key(uuid,uuid,text,text)',
    'attribution.keyed_event_id(uuid,text,text)',
    'attribution_internal.table_definitions()',
    'attribution_internal.table_upgrades()',
    'attribution_internal.table_version()'
], 'only pure functions are immutable');

SELECT set_eq($$ SELECT f.name::text FROM our_function f WHERE f.proparallel = 's' AND f.provolatile = 'v' $$,
    ARRAY['attribution.uuid_v7()'],
    'only uuid_v7() is parallel safe and volatile');

SELECT is_empty($$
    SELECT f.name FROM our_function f WHERE f.proparallel <> 'u' AND f.provolatile = 'v' AND f.proname <> 'uuid_v7'
$$, 'what may write stays out of parallel queries');

-- A function that handles NULL itself says why by being here; each is called with NULLs below.
SELECT set_eq($$
    SELECT f.name::text FROM our_function f
    WHERE NOT f.proisstrict AND f.pronargs > 0
$$, ARRAY[
    'attribution.allocate_event(uuid,uuid,text)',
    'attribution.allocate_event(uuid,uuid,text,text[],numeric[])',
    'attribution.allocate_events(uuid,text,timestamp with time zone,timestamp with time zone,integer,uuid,bigint,bigint,bigint)',
    'attribution.allocate_share(bigint,numeric)',
    'attribution.bind_tenant(name,uuid)',
    'attribution.channel_performance(uuid,text,timestamp with time zone,timestamp with time zone)',
    'attribution.create_tables(boolean)',
    'attribution.define_model(uuid,text,text,jsonb)',
    'attribution.conservation(uuid)',
    'attribution.discard_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,text)',
    'attribution.erase_personal_data(uuid,uuid[],text[],text)',
    'attribution.explain_allocation(uuid,uuid,text)',
    'attribution.fail_reconciliation(uuid,uuid,text)',
    'attribution.finish_reconciliation(uuid,uuid)',
    'attribution.grant_access(name,text)',
    'attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)',
    'attribution.ingest_webhook(uuid,text,text,jsonb,jsonb)',
    'attribution.ingest_webhook_text(uuid,text,text,text,jsonb)',
    'attribution.keyed_event_id(uuid,text,text)',
    'attribution.post_allocations(uuid,text,timestamp with time zone,timestamp with time zone)',
    'attribution.prune_dead_events(interval,boolean)',
    'attribution.prune_refresh_log(interval)',
    'attribution.reconcile(uuid,jsonb,uuid,timestamp with time zone,timestamp with time zone)',
    'attribution.reconciliation_status(uuid)',
    'attribution.refresh(text,text)',
    'attribution.refresh_all(text)',
    'attribution.reverse_posting(uuid,uuid)',
    'attribution.retry_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,boolean)',
    'attribution.settle(uuid,uuid,jsonb)',
    'attribution.start_reconciliation(uuid,timestamp with time zone,timestamp with time zone)',
    'attribution.unbalanced_allocations(uuid,text)'
], 'functions are strict but for those that answer to NULL');

CREATE FUNCTION pg_temp.sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0'; -- what the call did is undone
EXCEPTION WHEN OTHERS THEN
    RETURN replace(SQLSTATE, 'UNDO0', '00000');
END $$;

-- 2D000: refresh_all() would have committed. 00000 is a NULL or no row.
SELECT is_empty($$
    SELECT f.name, s.sqlstate
    FROM our_function f, pg_temp.sqlstate_of(format('%s %s(%s)%s',
        CASE f.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, f.oid::regproc,
        (SELECT string_agg(format('NULL::%s', a.type::regtype), ', ' ORDER BY a.n) FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY AS a (type, n)),
        CASE f.prokind WHEN 'w' THEN ' OVER ()' END)) AS s (sqlstate)
    WHERE f.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND s.sqlstate NOT IN ('00000', '22004', '2D000')
$$, 'a call with NULLs alone returns or is refused with 22004');

SELECT is_empty($$
    SELECT f.name, f.provolatile, f.proisstrict, f.proparallel, f.is_public, f.lanname
    FROM our_function f
    WHERE f.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
      AND (f.provolatile, f.proisstrict, f.proparallel, f.is_public, f.lanname) IS DISTINCT FROM ('v', false, 'u', false, 'c')
$$, 'trigger functions are volatile C functions for triggers alone');

SELECT is_empty($$
    SELECT f.name, s.sqlstate
    FROM our_function f, pg_temp.sqlstate_of(format('SELECT %s', f.name)) AS s (sqlstate)
    WHERE f.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AND s.sqlstate NOT IN ('0A000', '39P01')
$$, 'and refuse to be called by hand');

-- --- Row security ------------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT t.name, t.relrowsecurity FROM tenant_table t WHERE NOT t.relrowsecurity
$$, 'every table of tenants has row security');

SELECT is_empty($$
    SELECT t.name, count(p.oid) AS policies
    FROM tenant_table t LEFT JOIN pg_policy p ON p.polrelid = t.oid AND p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
    GROUP BY t.oid, t.name
    HAVING count(p.oid) <> 1 OR (SELECT count(*) FROM pg_policy q WHERE q.polrelid = t.oid) <> 1
$$, 'and one policy, for every command and role: permissive policies add up like an OR');

SELECT is_empty($$
    SELECT t.name, pg_get_expr(p.polqual, t.oid) AS expression, pg_get_expr(p.polwithcheck, t.oid) AS check_expression
    FROM tenant_table t JOIN pg_policy p ON p.polrelid = t.oid
    WHERE pg_get_expr(p.polqual, t.oid)
          IS DISTINCT FROM format('(%s = attribution.current_tenant())', CASE t.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END)
       OR coalesce(pg_get_expr(p.polwithcheck, t.oid), pg_get_expr(p.polqual, t.oid)) <> pg_get_expr(p.polqual, t.oid)
       OR pg_get_expr(p.polqual, t.oid) ~* '\yOR\y'
$$, 'its expression is one comparison with the tenant of the session, no OR: an OR costs the index');

-- FORCE ROW LEVEL SECURITY would filter the refresher, which is the owner.
SELECT is_empty($$
    SELECT t.name FROM tenant_table t WHERE t.relforcerowsecurity
$$, 'the owner stands outside row security, or a materialized view would hold the last refresher''s tenant');

SELECT is_empty($$
    SELECT r.name, a.grantee, a.privilege_type
    FROM our_relation r, aclexplode(r.relacl) AS a
    WHERE a.grantee = 0
    UNION ALL
    SELECT c.attrelid::regclass, a.grantee, a.privilege_type
    FROM our_relation r JOIN pg_attribute c ON c.attrelid = r.oid, aclexplode(c.attacl) AS a
    WHERE a.grantee = 0
    UNION ALL
    SELECT NULL, a.grantee, a.privilege_type
    FROM pg_namespace n, aclexplode(n.nspacl) AS a
    WHERE n.nspname IN ('attribution', 'attribution_internal') AND a.grantee = 0
$$, 'nothing is granted to PUBLIC: no table, no column, no view, no materialized view, not the schemas');

SELECT is_empty($$
    SELECT r.name, a.grantee::regrole, a.privilege_type
    FROM our_relation r, aclexplode(r.relacl) AS a
    WHERE a.grantee <> r.relowner
$$, 'and nothing to a role by the installation itself');

-- A view reads with the rights of its owner, who stands outside row security. Logs of changes may be
-- counted, which depends on none of their columns; refresh_state and refresh_doubts have no row of a tenant.
SELECT is_empty($$
    SELECT v.name, read.name AS reads, d.refobjsubid AS reads_column
    FROM our_relation v
    JOIN pg_class c ON c.oid = v.oid
    JOIN pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
    JOIN our_relation read ON read.oid = d.refobjid
    WHERE v.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)
      AND (read.relkind = 'm' OR read.oid IN (SELECT oid FROM tenant_table))
      AND NOT (v.relname = 'refresh_status' AND read.relname IN ('refresh_state', 'refresh_doubts'))
      AND NOT (v.relname = 'refresh_status' AND d.refobjsubid = 0 AND read.relname IN (
          'allocation_summary_changes', 'realtime_revenue_changes', 'reconciliation_status_changes'))
$$, 'no view of the owner''s rights reads rows of tenants');

SELECT is_empty($$
    SELECT a.attname
    FROM pg_attribute a
    WHERE a.attrelid IN ('attribution_internal.refresh_state'::regclass, 'attribution_internal.refresh_doubts'::regclass, 'attribution.refresh_status'::regclass)
      AND (a.atttypid = 'uuid'::regtype OR a.attname ~ 'tenant|cents')
$$, 'what says how views are refreshed has no column for a tenant or an amount');

SELECT is_empty($$
    SELECT r.name, pg_get_viewdef(r.oid) AS definition
    FROM our_relation r
    WHERE r.relkind = 'm' AND r.relname <> 'installation' AND pg_get_viewdef(r.oid) ~* '\y(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|current_\w+|localtime\w*|session_user|current_setting|random|gen_random_uuid|uuid_v7|age)\y'
$$, 'no materialized view stores what depends on the clock or on who refreshes, but for the time of the installation');

-- --- Triggers ----------------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT t.relation, t.tgname, t.function
    FROM our_trigger t WHERE t.tgfoid NOT IN (SELECT oid FROM our_function)
$$, 'every trigger on our tables calls a function of ours');

SELECT is_empty($$
    SELECT t.relation, t.tgname, t.tgenabled FROM our_trigger t WHERE t.tgconstraint <> 0 AND t.tgenabled <> 'A'
$$, 'constraint triggers are enabled always, under session_replication_role = replica too');

-- touch_updated_at() promises nothing: a replica keeps the times of its source. What notices rows of
-- logical replication is enabled where such rows come in, and nowhere else.
SELECT is_empty($$
    SELECT t.relation, t.tgname, t.tgenabled FROM our_trigger t
    WHERE t.tgenabled <> CASE WHEN t.tgname LIKE '%\_follows\_replication' THEN 'R' ELSE 'A' END
      AND t.function <> 'attribution_internal.touch_updated_at()'::regprocedure
$$, 'so is every other trigger that keeps a promise');

-- tgtype: 1 row, 4 insert, 8 delete, 16 update, 32 truncate. Neither BEFORE (2) nor INSTEAD (64).
SELECT is_empty($$
    SELECT t.relation, t.tgname, t.function, t.tgtype FROM our_trigger t
    WHERE t.tgname LIKE '%\_follows\_replication'
      AND (t.tgtype <> 1 + 4 + 8 + 16 OR t.function <> 'attribution_internal.doubt_view()'::regprocedure
           OR pg_get_triggerdef(t.oid) !~ 'WHEN \(attribution_internal\.is_replicated_row\(\)\)')
$$, 'a trigger for logical replication is fired by every row of it');

-- The insert of an event is no change: it has no allocations yet. Row triggers of currencies are enabled always, so they
-- fire for replicated rows, too.
SELECT is_empty($$
    SELECT v.name, read.name AS reads, missing.what
    FROM our_relation v
    JOIN pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    JOIN our_relation read ON read.oid = d.refobjid AND read.relkind = 'r'
    CROSS JOIN (VALUES (4, 'insert'), (8, 'delete'), (16, 'update'), (32, 'truncate'), (0, 'replication')) AS missing (bit, what)
    WHERE v.relkind = 'm' AND (read.relname, missing.what) <> ('attribution_events', 'insert') AND (read.relname, missing.what) <> ('currencies', 'replication')
      AND NOT EXISTS (
          SELECT 1 FROM our_trigger t
          WHERE t.tgrelid = read.oid AND t.tgargs = convert_to(v.relname, 'UTF8') || '\x00'::bytea
            AND (t.tgname LIKE '%\_follows\_replication') = (missing.what = 'replication')
            AND t.tgtype & missing.bit = missing.bit)
$$, 'every table that a materialized view reads logs its changes for it, or puts it in doubt');

SELECT set_eq(
    $$ SELECT e.evtname::text, e.evtevent::text, e.evtenabled::text FROM pg_event_trigger e
       JOIN ours o ON o.objid = e.oid AND o.classid = 'pg_event_trigger'::regclass $$,
    $$ VALUES ('attribution_notices_refresh', 'ddl_command_end', 'A'), ('attribution_guards_drop', 'ddl_command_start', 'A') $$,
    'a refresh by hand and a DROP are noticed, always');

-- --- Dumps -------------------------------------------------------------------------------------------

-- A table that is no member is dumped with whatever its owner has added. Of a member pg_dump would dump the rows alone, for
-- a table as the script makes it: so what is a member belongs to the server, not to the data.
SELECT is_empty($$
    SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'attribution'
$$, 'no row of a member is dumped');

SELECT is_empty($$
    SELECT r.name FROM tenant_table r WHERE r.oid IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
$$, 'and no table of tenants is one');

SELECT * FROM finish();
ROLLBACK;
