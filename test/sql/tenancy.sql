-- tenancy: a session sees and writes one tenant, on every table, view and function; without a tenant, nothing.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set a '''7e4a4700-0000-4000-8000-00000000000a'''
\set b '''7e4a4700-0000-4000-8000-00000000000b'''
\set e1 '''7e4a4700-0000-4000-8000-0000000000e1'''
-- Both tenants have the same rows but for the amounts: what belongs to b has a 9 in it.
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'tenancy a'), (:b, 'tenancy b');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, external_event_id) VALUES
    (:a, :e1, 'conversion', '2024-03-01 12:00Z', 100, 'test:order:1'),
    (:b, :e1, 'conversion', '2024-03-01 12:00Z', 900, 'test:order:1');
INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES (:a, 'test', 'a'), (:b, 'test', 'b');
SELECT allocated_revenue_cents FROM attribution.allocate_event(:a, :e1, '1', '{email}', '{1}');
SELECT allocated_revenue_cents FROM attribution.allocate_event(:b, :e1, '1', '{email}', '{1}');
SELECT attribution.post_allocations(:a, '1'), attribution.post_allocations(:b, '1');
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at) VALUES (:a, 'completed', '2024-03-01 00:00Z'), (:b, 'failed', '2024-03-01 00:00Z');
CALL attribution.refresh_all();

--
-- The setting
--
SELECT attribution.current_tenant();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT attribution.current_tenant();
SET attribution.tenant_id = '{7E4A4700-0000-4000-8000-00000000000B}';
SELECT attribution.current_tenant();
SET attribution.tenant_id = '';
SELECT attribution.current_tenant();
RESET attribution.tenant_id;
SELECT attribution.current_tenant();
SET attribution.tenant_id = 'a shop';
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000';
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000aa';
SET attribution.tenant_id = '--7e4a4700-0000-4000-8000-00000000000a';
RESET attribution.tenant_id;
-- The spellings of uuid are those of PostgreSQL.
SELECT spelling, set_config('attribution.tenant_id', spelling, true) = spelling AND attribution.current_tenant() = spelling::uuid AS same
FROM unnest(ARRAY['7E4A4700-0000-4000-8000-00000000000A', '7e4a470000004000800000000000000a', '7e4a-4700-0000-4000-8000-0000-0000-000a']) AS spelling
ORDER BY spelling COLLATE "C";
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a-';
SET attribution.tenant_id = '7e4a470-00000-4000-8000-00000000000a';
SET attribution.tenant_id = '{7e4a4700-0000-4000-8000-00000000000a';
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a}';
SET attribution.tenant_id = ' 7e4a4700-0000-4000-8000-00000000000a';
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000g';
SELECT attribution.current_tenant();
-- It ends with the transaction when it is set with LOCAL, and goes back with a savepoint.
BEGIN;
SET LOCAL attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SAVEPOINT s;
SET LOCAL attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
ROLLBACK TO SAVEPOINT s;
SELECT attribution.current_tenant();
COMMIT;
SELECT attribution.current_tenant();

--
-- grant_access
--
CREATE ROLE regress_attribution_nobody LOGIN;
CREATE ROLE regress_attribution_reader LOGIN;
CREATE ROLE regress_attribution_writer LOGIN;
CREATE ROLE "regress_attribution ""operator""" LOGIN;
CALL pg_temp.attempt($$SELECT attribution.grant_access('regress_attribution_reader', 'admin')$$);
CALL pg_temp.attempt($$SELECT attribution.grant_access('regress_attribution_reader', '')$$);
CALL pg_temp.attempt($$SELECT attribution.grant_access('regress_attribution_reader', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.grant_access(NULL, 'reader')$$);
CALL pg_temp.attempt($$SELECT attribution.grant_access('regress_attribution_unknown', 'reader')$$);
-- Nobody is called public: GRANT would take it for everybody.
CALL pg_temp.attempt($$SELECT attribution.grant_access('public', 'reader')$$);
SELECT attribution.grant_access('regress_attribution_reader', 'reader');
SELECT attribution.grant_access('regress_attribution_writer', 'writer');
SELECT attribution.grant_access('regress_attribution "operator"', 'operator');
-- Who may do what, from the catalog: nothing is given to PUBLIC but functions that look at their arguments only.
CREATE FUNCTION pg_temp.who(object text, privilege text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    who text := '';
    holder record;
    may boolean;
BEGIN
    FOR holder IN SELECT * FROM (VALUES ('nobody', 'regress_attribution_nobody'), ('reader', 'regress_attribution_reader'),
                                 ('writer', 'regress_attribution_writer'), ('operator', 'regress_attribution "operator"')) AS v (short, role) LOOP
        IF privilege = 'EXECUTE' THEN
            may := has_function_privilege(holder.role::name, object::regprocedure, privilege);
        ELSE
            may := has_table_privilege(holder.role::name, object::regclass, privilege)
                OR (privilege = 'UPDATE' AND has_any_column_privilege(holder.role::name, object::regclass, privilege));
        END IF;
        IF may THEN who := concat_ws(' ', nullif(who, ''), holder.short); END IF;
    END LOOP;
    RETURN who;
END $$;
SELECT oid::regclass AS relation, relkind,
       pg_temp.who(oid::regclass::text, 'SELECT') AS may_select, pg_temp.who(oid::regclass::text, 'INSERT') AS may_insert,
       pg_temp.who(oid::regclass::text, 'UPDATE') AS may_update, pg_temp.who(oid::regclass::text, 'DELETE') AS may_delete,
       pg_temp.who(oid::regclass::text, 'TRUNCATE') AS may_truncate
FROM pg_class WHERE relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND relkind IN ('r', 'v', 'm')
ORDER BY relnamespace::regnamespace::text, relname COLLATE "C";
SELECT pronamespace::regnamespace AS schema, proname, prosecdef AS definer, pg_temp.who(oid::regprocedure::text, 'EXECUTE') AS may_execute
FROM pg_proc WHERE pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND prorettype <> 'trigger'::regtype
ORDER BY pronamespace::regnamespace::text, proname COLLATE "C", pronargs;
SELECT proname FROM pg_proc
WHERE pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND prorettype = 'trigger'::regtype AND pg_temp.who(oid::regprocedure::text, 'EXECUTE') <> ''
ORDER BY proname COLLATE "C";
-- What only the extension uses is in a schema that none of them gets into, whatever a view needs of it.
SELECT r.rolname FROM pg_roles AS r
WHERE r.rolname LIKE 'regress\_attribution%' AND has_schema_privilege(r.oid, 'attribution_internal', 'USAGE, CREATE');
SET ROLE "regress_attribution ""operator""";
SELECT attribution_internal.refresh_doubt('mv_realtime_revenue');
TABLE attribution_internal.refresh_log;
RESET ROLE;
-- Nobody gets into the schema.
SET ROLE regress_attribution_nobody;
SELECT * FROM attribution.tenants;
SELECT attribution.current_tenant();
RESET ROLE;

--
-- Every table that has tenants: what a writer of tenant a sees, and of b, and without a tenant
--
CREATE FUNCTION pg_temp.visible() RETURNS TABLE (table_name name, rows_of_a bigint, rows_of_b bigint, rows_of_others bigint) LANGUAGE plpgsql AS $$
DECLARE
    tenant_column name;
BEGIN
    FOR table_name, tenant_column IN
        SELECT c.relname, CASE c.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
        FROM pg_class AS c
        WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r'
          AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute AS t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id'))
          AND has_table_privilege(c.oid, 'SELECT')
        ORDER BY c.relname COLLATE "C"
    LOOP
        EXECUTE format('SELECT count(*) FILTER (WHERE %1$I = %2$L), count(*) FILTER (WHERE %1$I = %3$L), count(*) FILTER (WHERE %1$I NOT IN (%2$L, %3$L)) FROM attribution.%4$I',
                       tenant_column, '7e4a4700-0000-4000-8000-00000000000a', '7e4a4700-0000-4000-8000-00000000000b', table_name)
        INTO rows_of_a, rows_of_b, rows_of_others;
        RETURN NEXT;
    END LOOP;
END $$;
-- Every table with tenants has row security and one policy.
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r'
  AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute AS t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id'))
  AND (NOT c.relrowsecurity OR (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid) <> 1)
ORDER BY c.relname COLLATE "C";
SET ROLE regress_attribution_writer;
SELECT * FROM pg_temp.visible();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT * FROM pg_temp.visible();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
SELECT * FROM pg_temp.visible();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-0000000000ff';
SELECT * FROM pg_temp.visible();
-- currencies are everybody's, read only.
SELECT count(*) > 100 AS currencies FROM attribution.currencies;

--
-- Writing
--
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
-- Rows of another tenant, or of none, are refused; those of its own are not.
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents) VALUES ('7e4a4700-0000-4000-8000-00000000000b', 'conversion', '2024-03-01 12:00Z', 1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('7e4a4700-0000-4000-8000-00000000000b', 's', 'e')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('7e4a4700-0000-4000-8000-00000000000b', 'x', 'linear')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('7e4a4700-0000-4000-8000-00000000000b', '7e4a4700-0000-4000-8000-0000000000e1', '2', 'tv', 900)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ('7e4a4700-0000-4000-8000-00000000000a', '7e4a4700-0000-4000-8000-0000000000e1', '2', 'tv', 100)$$);
-- What is not seen is not changed.
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b RETURNING channel;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 0 WHERE tenant_id = :b RETURNING channel;
COMMIT;
-- What a writer may not do at all.
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name) VALUES ('mine')$$);
CALL pg_temp.attempt($$UPDATE attribution.tenants SET name = 'mine'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET revenue_cents = 1$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET channel = 'x'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_models$$);
CALL pg_temp.attempt($$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents) SELECT tenant_id, conversion_id, id, 1 FROM attribution.revenue_ledger$$);
CALL pg_temp.attempt($$TRUNCATE attribution.attribution_allocations$$);
CALL pg_temp.attempt($$SELECT * FROM attribution.mv_realtime_revenue$$);
CALL pg_temp.attempt($$SELECT * FROM attribution.tenant_bindings$$);
CALL pg_temp.attempt($$SELECT attribution.refresh('mv_realtime_revenue')$$);
CALL pg_temp.attempt($$CALL attribution.refresh_all()$$);
CALL pg_temp.attempt($$SELECT attribution.grant_access('regress_attribution_writer', 'operator')$$);
CALL pg_temp.attempt($$SELECT attribution.bind_tenant('regress_attribution_writer', NULL)$$);

--
-- Every function with a tenant: called for a, for b, and without a tenant
--
SELECT * FROM attribution.ingest_event(:a, 'test', 'conversion', '2024-03-02 12:00Z', 7, 'test:order:2');
CALL pg_temp.attempt($$SELECT attribution.ingest_event('7e4a4700-0000-4000-8000-00000000000b', 'test', 'conversion', '2024-03-02 12:00Z', 7, 'test:order:2')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_event('7e4a4700-0000-4000-8000-00000000000b', 'test', 'conversion', '2024-03-01 12:00Z', 900, 'test:order:1')$$);
SELECT channel, allocated_revenue_cents FROM attribution.allocate_event(:a, :e1, '3', '{tv}', '{1}');
CALL pg_temp.attempt($$SELECT attribution.allocate_event('7e4a4700-0000-4000-8000-00000000000b', '7e4a4700-0000-4000-8000-0000000000e1', '3', '{tv}', '{1}')$$);
SELECT attribution.post_allocations(:a, '1');
CALL pg_temp.attempt($$SELECT attribution.post_allocations('7e4a4700-0000-4000-8000-00000000000b', '1')$$);
SELECT total_revenue_cents FROM attribution.realtime_revenue(:a);
CALL pg_temp.attempt($$SELECT attribution.realtime_revenue('7e4a4700-0000-4000-8000-00000000000b')$$);
SELECT state FROM attribution.reconciliation_status(:a);
SELECT state FROM attribution.reconciliation_status(:b);
SELECT * FROM attribution.channel_performance(:a, '1');
SELECT * FROM attribution.channel_performance(:b, '1');
SELECT attribution.check_tenant(:a);
CALL pg_temp.attempt($$SELECT attribution.check_tenant('7e4a4700-0000-4000-8000-00000000000b')$$);
SELECT count(*) FROM attribution.unbalanced_allocations();
SELECT count(*) FROM attribution.unbalanced_allocations(:b);
-- Without a tenant.
SET attribution.tenant_id = '';
CALL pg_temp.attempt($$SELECT attribution.ingest_event('7e4a4700-0000-4000-8000-00000000000a', 'test', 'conversion', '2024-03-02 12:00Z', 7, 'test:order:3')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('7e4a4700-0000-4000-8000-00000000000a', '7e4a4700-0000-4000-8000-0000000000e1', '3', '{tv}', '{1}')$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('7e4a4700-0000-4000-8000-00000000000a', '1')$$);
CALL pg_temp.attempt($$SELECT attribution.realtime_revenue('7e4a4700-0000-4000-8000-00000000000a')$$);
SELECT state FROM attribution.reconciliation_status(:a);
SELECT * FROM attribution.channel_performance(:a, '1');
CALL pg_temp.attempt($$SELECT attribution.check_tenant('7e4a4700-0000-4000-8000-00000000000a')$$);
SELECT attribution.check_tenant(NULL) IS NULL AS no_tenant_no_check;
RESET ROLE;
RESET attribution.tenant_id;
-- Wrong sums of another tenant are not shown: make one, past the trigger.
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER allocation_sum_equals_revenue;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'off', 'tv', 1), (:b, :e1, 'off', 'tv', 9);
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER allocation_sum_equals_revenue;
SET ROLE regress_attribution_reader;
SELECT allocated_cents FROM attribution.unbalanced_allocations();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT allocated_cents FROM attribution.unbalanced_allocations();
SELECT allocated_cents FROM attribution.unbalanced_allocations(:b);
RESET attribution.tenant_id;
RESET ROLE;
SELECT allocated_cents FROM attribution.unbalanced_allocations(:b);
DELETE FROM attribution.attribution_allocations WHERE model_version = 'off' AND tenant_id IN (:a, :b);
-- A reader reads.
SET ROLE regress_attribution_reader;
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT total_revenue_cents FROM attribution.realtime_revenue(:a);
CALL pg_temp.attempt($$SELECT attribution.ingest_event('7e4a4700-0000-4000-8000-00000000000a', 'test', 'conversion', '2024-03-02 12:00Z', 7, 'test:order:3')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('7e4a4700-0000-4000-8000-00000000000a', 's', 'e')$$);
RESET ROLE;
RESET attribution.tenant_id;
-- A function of somebody else's that runs as the owner of the tables gives the caller's tenant, not the owner's rights.
CREATE FUNCTION public.regress_revenue(tenant_id uuid) RETURNS numeric LANGUAGE sql SECURITY DEFINER
    RETURN (SELECT total_revenue_cents FROM attribution.realtime_revenue(regress_revenue.tenant_id));
SET ROLE regress_attribution_reader;
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT public.regress_revenue(:a);
CALL pg_temp.attempt($$SELECT public.regress_revenue('7e4a4700-0000-4000-8000-00000000000b')$$);
RESET ROLE;
RESET attribution.tenant_id;
DROP FUNCTION public.regress_revenue(uuid);

--
-- bind_tenant: a login role that may act for one tenant only
--
CALL pg_temp.attempt($$SELECT attribution.bind_tenant(NULL, '7e4a4700-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$SELECT attribution.bind_tenant('regress_attribution_unknown', '7e4a4700-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$SELECT attribution.bind_tenant('regress_attribution_writer', '7e4a4700-0000-4000-8000-0000000000ff')$$);
SELECT attribution.bind_tenant('regress_attribution_writer', :a);
SET SESSION AUTHORIZATION regress_attribution_writer;
-- Its tenant without a setting, and with the setting that says the same.
SELECT attribution.current_tenant();
SELECT count(*) AS events, min(revenue_cents) AS cents FROM attribution.attribution_events WHERE external_event_id = 'test:order:1';
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT attribution.current_tenant();
-- Another is refused wherever it matters.
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
SELECT attribution.current_tenant();
SELECT count(*) FROM attribution.attribution_events;
CALL pg_temp.attempt($$SELECT attribution.current_tenant()$$);
SELECT attribution.post_allocations(:b, '1');
CALL pg_temp.attempt($$SELECT attribution.realtime_revenue('7e4a4700-0000-4000-8000-00000000000b')$$);
RESET attribution.tenant_id;
SELECT attribution.post_allocations(:b, '1');
RESET SESSION AUTHORIZATION;
-- SET ROLE does not shake it off, and who borrows a bound role is bound too: any acting role counts.
SET ROLE regress_attribution_writer;
SELECT attribution.current_tenant();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
SELECT attribution.current_tenant();
RESET attribution.tenant_id;
RESET ROLE;
GRANT regress_attribution_reader TO regress_attribution_writer;
SET SESSION AUTHORIZATION regress_attribution_writer;
SET ROLE regress_attribution_reader;
SELECT attribution.current_tenant();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
SELECT count(*) FROM attribution.attribution_events;
RESET attribution.tenant_id;
RESET SESSION AUTHORIZATION;
-- Bound again: the new tenant, at once. Unbound: the setting.
SELECT attribution.bind_tenant('regress_attribution_writer', :b);
SET SESSION AUTHORIZATION regress_attribution_writer;
SELECT attribution.current_tenant();
RESET SESSION AUTHORIZATION;
SELECT role_name, tenant_id FROM attribution.tenant_bindings WHERE role_name LIKE 'regress%' ORDER BY role_name;
SELECT attribution.bind_tenant('regress_attribution_writer', NULL);
SELECT attribution.bind_tenant('regress_attribution_writer', NULL);
SET SESSION AUTHORIZATION regress_attribution_writer;
SELECT attribution.current_tenant();
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000b';
SELECT attribution.current_tenant();
RESET attribution.tenant_id;
RESET SESSION AUTHORIZATION;
-- A binding that is rolled back never was.
BEGIN;
SELECT attribution.bind_tenant('regress_attribution_writer', :a);
ROLLBACK;
SET SESSION AUTHORIZATION regress_attribution_writer;
SELECT attribution.current_tenant();
RESET SESSION AUTHORIZATION;
-- A bound superuser is limited where the extension asks: check_tenant.
CREATE ROLE regress_attribution_super SUPERUSER LOGIN;
SELECT attribution.bind_tenant('regress_attribution_super', :a);
SET SESSION AUTHORIZATION regress_attribution_super;
SELECT attribution.check_tenant(:a);
CALL pg_temp.attempt($$SELECT attribution.check_tenant('7e4a4700-0000-4000-8000-00000000000b')$$);
RESET SESSION AUTHORIZATION;
SELECT attribution.bind_tenant('regress_attribution_super', NULL);
-- Who stands outside row security and is not bound passes every tenant.
SELECT attribution.check_tenant('7e4a4700-0000-4000-8000-0000000000ff');
-- A tenant that a role is bound to stays.
SELECT attribution.bind_tenant('regress_attribution_writer', :a);
INSERT INTO attribution.tenants (id, name) VALUES ('7e4a4700-0000-4000-8000-00000000000c', 'tenancy c');
SELECT attribution.bind_tenant('regress_attribution_writer', '7e4a4700-0000-4000-8000-00000000000c');
CALL pg_temp.attempt($$DELETE FROM attribution.tenants WHERE id = '7e4a4700-0000-4000-8000-00000000000c'$$);
SELECT attribution.bind_tenant('regress_attribution_writer', NULL);

-- The bindings are read by the names of their columns, and not at all when these have types of their own.
SELECT attribution.bind_tenant('regress_attribution_writer', :a);
BEGIN;
ALTER TABLE attribution.tenant_bindings ADD COLUMN login name;
UPDATE attribution.tenant_bindings SET login = role_name;
ALTER TABLE attribution.tenant_bindings DROP COLUMN role_name;
ALTER TABLE attribution.tenant_bindings RENAME COLUMN login TO role_name;
INSERT INTO attribution.tenant_bindings VALUES ('7e4a4700-0000-4000-8000-00000000000b', NULL);
SET LOCAL ROLE regress_attribution_writer;
SELECT attribution.current_tenant();
ROLLBACK;
BEGIN;
ALTER TABLE attribution.tenant_bindings ALTER COLUMN role_name TYPE integer USING 1;
SELECT attribution.current_tenant();
ROLLBACK;
BEGIN;
DROP POLICY tenant_isolation ON attribution.tenant_bindings;
ALTER TABLE attribution.tenant_bindings DROP CONSTRAINT tenant_bindings_tenant_fkey, ALTER COLUMN tenant_id TYPE integer USING 1;
SELECT attribution.current_tenant();
ROLLBACK;
SELECT attribution.bind_tenant('regress_attribution_writer', NULL);

-- Parallel workers read the binding as well.
CREATE ROLE regress_attribution_parallel;
SELECT attribution.grant_access('regress_attribution_parallel', 'reader');
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET ROLE regress_attribution_parallel;
SET attribution.tenant_id = '7e4a4700-0000-4000-8000-00000000000a';
SELECT count(*), sum(revenue_cents) FROM attribution.attribution_events WHERE tenant_id::text LIKE '7e4a4700%';
RESET attribution.tenant_id;
RESET ROLE;
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

-- An index function that a superuser's ANALYZE runs acts for nobody.
CREATE ROLE regress_attribution_evil;
SELECT attribution.grant_access('regress_attribution_evil', 'reader');
SELECT attribution.bind_tenant('regress_attribution_evil', :a);
CREATE SCHEMA evil AUTHORIZATION regress_attribution_evil;
SET ROLE regress_attribution_evil;
CREATE FUNCTION evil.look(i integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN i; END $$;
CREATE TABLE evil.bait AS SELECT i FROM generate_series(1, 3) AS i;
CREATE INDEX bait_look ON evil.bait (evil.look(i));
CREATE TABLE evil.loot (what text);
CREATE OR REPLACE FUNCTION evil.look(i integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('attribution.tenant_id', '7e4a4700-0000-4000-8000-00000000000b', true);
    BEGIN
        INSERT INTO evil.loot SELECT 'event ' || revenue_cents FROM attribution.attribution_events;
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO evil.loot VALUES (SQLSTATE || ' ' || SQLERRM);
    END;
    BEGIN
        INSERT INTO evil.loot SELECT 'revenue ' || total_revenue_cents
        FROM attribution.realtime_revenue('7e4a4700-0000-4000-8000-00000000000b');
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO evil.loot VALUES (SQLSTATE || ' ' || SQLERRM);
    END;
    RETURN i;
END $$;
RESET ROLE;
ANALYZE evil.bait;
SELECT DISTINCT what FROM evil.loot ORDER BY 1;
SELECT attribution.bind_tenant('regress_attribution_evil', NULL);
DROP SCHEMA evil CASCADE;
DROP OWNED BY regress_attribution_evil, regress_attribution_parallel;
DROP ROLE regress_attribution_evil, regress_attribution_parallel;

-- Who writes through a view of somebody else needs no rights of the schema that its table is in. In a session that
-- has looked up nothing yet.
CREATE SCHEMA regress_shop;
CREATE VIEW regress_shop.events AS SELECT * FROM attribution.attribution_events;
CREATE VIEW regress_shop.allocations AS SELECT * FROM attribution.attribution_allocations;
CREATE VIEW regress_shop.tenants AS SELECT * FROM attribution.tenants;
GRANT USAGE ON SCHEMA regress_shop TO regress_attribution_nobody;
GRANT ALL ON ALL TABLES IN SCHEMA regress_shop TO regress_attribution_nobody;
\c
SET ROLE regress_attribution_nobody;
BEGIN;
INSERT INTO regress_shop.events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, '7e4a4700-0000-4000-8000-0000000000e7', 'conversion', '2024-03-01Z', 5);
INSERT INTO regress_shop.allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, '7e4a4700-0000-4000-8000-0000000000e7', '1', 'email', 5);
COMMIT;
UPDATE regress_shop.tenants SET currency = 'EUR' WHERE id = :a;
DELETE FROM regress_shop.events WHERE id = '7e4a4700-0000-4000-8000-0000000000e7';
RESET ROLE;
DROP SCHEMA regress_shop CASCADE;

DROP OWNED BY regress_attribution_nobody, regress_attribution_reader, regress_attribution_writer, "regress_attribution ""operator""", regress_attribution_super;
DROP ROLE regress_attribution_nobody, regress_attribution_reader, regress_attribution_writer, "regress_attribution ""operator""", regress_attribution_super;
