-- A role of tenant A sees and writes nothing of tenant B, whatever its access, on every table, view,
-- materialized view and function that the catalog knows; a session without a tenant sees nothing.
--
-- New relations and functions are found by themselves: the test fails until somebody says below what
-- they are.

BEGIN;
SELECT plan(42);
\ir include/two_tenants.sql

CREATE TEMP TABLE access (role_name name, level integer, is_bound boolean);
INSERT INTO access VALUES
    ('tap_reader', 1, false), ('tap_writer', 2, false), ('tap_operator', 3, false),
    ('tap_bound_reader', 1, true), ('tap_bound_writer', 2, true), ('tap_bound_operator', 3, true),
    ('tap_nobody', 0, false);

-- --- Relations: what the test knows ------------------------------------------------------------------

-- No rows of tenants in these.
CREATE TEMP TABLE shared_relation (name text);
INSERT INTO shared_relation VALUES ('attribution.currencies'), ('attribution.refresh_log'), ('attribution.refresh_status'),
    ('attribution.schema_version'), ('attribution.index_plan'),
    ('attribution_internal.refresh_state'), ('attribution_internal.refresh_doubts'), ('attribution_internal.refresh_log'),
    ('attribution_internal.installation'), ('attribution_internal.required_pieces'), ('attribution_internal.parts_as_made');

CREATE TEMP TABLE owner_sees AS
SELECT r.name, (pg_temp.run_as(current_user, '', format('SELECT count(*) FROM %s t WHERE t::text ~ ''bbbbbbbb|SECRET-B|987654''', r.name))).result::bigint AS rows_of_b
FROM our_relation r;

SELECT is_empty($$
    SELECT name FROM owner_sees WHERE rows_of_b = 0 AND name NOT IN (SELECT name FROM shared_relation)
$$, 'tenant B has rows in every relation (else: give it some in include/two_tenants.sql)');

SELECT is_empty($$
    SELECT name, rows_of_b FROM owner_sees WHERE rows_of_b <> 0 AND name IN (SELECT name FROM shared_relation)
$$, 'but for those that all tenants share');

-- --- Reading ------------------------------------------------------------------------------------------

CREATE TEMP TABLE seen AS
SELECT a.*, t.tenant, r.name AS relation, r.relkind, s.*
FROM access a, our_relation r, (VALUES ('A', pg_temp.a()::text), ('none', ''), ('unknown', 'cccccccc-0000-4000-8000-000000000000')) AS t (tenant, id),
     pg_temp.run_as(a.role_name, t.id, format('SELECT count(*) FROM %s', r.name)) AS s;

SELECT set_eq($$
    SELECT relation FROM seen WHERE role_name = 'tap_reader' AND tenant = 'A' AND result::bigint > 0
$$, ARRAY[
    'attribution.currencies', 'attribution.tenants', 'attribution.attribution_events', 'attribution.dead_events', 'attribution.attribution_models',
    'attribution.attribution_allocations', 'attribution.ledger_books', 'attribution.revenue_ledger', 'attribution.reconciliation_runs',
    'attribution.allocation_runs', 'attribution.allocation_failures', 'attribution.allocation_progress', 'attribution.event_aliases',
    'attribution.dead_event_depth', 'attribution.reconciliation_settlements', 'attribution.settlement_differences'
], 'a reader sees rows of its own tenant');

SELECT set_eq($$
    SELECT relation FROM seen WHERE role_name = 'tap_operator' AND tenant = 'A' AND state = '00000'
    EXCEPT SELECT relation FROM seen WHERE role_name = 'tap_reader' AND tenant = 'A' AND state = '00000'
$$, ARRAY['attribution.refresh_log', 'attribution.refresh_status', 'attribution.index_plan'], 'an operator sees the log of refreshes and the index plan besides');

SELECT is_empty($$
    SELECT w.relation FROM seen w JOIN seen r USING (relation, tenant)
    WHERE w.role_name = 'tap_writer' AND r.role_name = 'tap_reader' AND (w.state, w.result) IS DISTINCT FROM (r.state, r.result)
$$, 'a writer sees what a reader sees');

SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result, s.message
    FROM seen s
    WHERE s.tenant = 'A' AND s.state = '00000' AND s.relation NOT IN (SELECT name FROM shared_relation)
      AND s.result::bigint <> (SELECT result::bigint FROM pg_temp.run_as(current_user, '',
          format('SELECT count(*) FROM %s WHERE %s = %L', s.relation,
              coalesce((SELECT tenant_column FROM tenant_table t WHERE t.name = s.relation), 'tenant_id'), pg_temp.a())))
$$, 'each role sees exactly the rows of its tenant, no fewer and no more');

SELECT is_empty($$
    SELECT c.relation, c.name, a.role_name, s.state, s.result, s.message
    FROM access a, our_column c,
         pg_temp.run_as(a.role_name, pg_temp.a()::text,
            format('SELECT count(*) FROM %s WHERE %s::text ~ ''bbbbbbbb|SECRET-B|987654''', c.relation, c.name)) AS s
    WHERE s.state NOT IN ('00000', '42501') OR s.result <> '0' OR s.message ~ 'bbbbbbbb|SECRET-B|987654'
$$, 'no role sees a value of tenant B in any column of any relation');

SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result FROM seen s
    WHERE s.relkind = 'm' AND s.state <> '42501'
$$, 'no role reads a materialized view directly');

SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result FROM seen s
    WHERE s.role_name = 'tap_nobody' AND s.state <> '42501'
$$, 'a role without access reads nothing at all');

SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result, s.message FROM seen s
    WHERE s.tenant = 'none' AND NOT s.is_bound AND s.relation NOT IN (SELECT name FROM shared_relation)
      AND s.state <> '42501' AND (s.state, s.result) IS DISTINCT FROM ('00000', '0')
$$, 'without a tenant a role sees no row');

SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result, s.message FROM seen s
    WHERE s.tenant = 'unknown' AND NOT s.is_bound AND s.relation NOT IN (SELECT name FROM shared_relation)
      AND s.state <> '42501' AND (s.state, s.result) IS DISTINCT FROM ('00000', '0')
$$, 'nor with a tenant that does not exist');

SELECT is_empty($$
    SELECT r.name, a.role_name, s.state, s.result
    FROM access a, tenant_table r,
         pg_temp.run_as(a.role_name, pg_temp.a()::text, format('SELECT count(*) FROM %s', r.name), 'SET LOCAL row_security = off') AS s
    WHERE s.state <> '42501'
$$, 'row_security = off makes reading an error, not a view of everything');

-- A function of the reader's own, cheaper than the policy, that shouts when it is shown a secret.
CREATE FUNCTION public.tap_leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.000001 AS $$
BEGIN
    IF value ~ 'SECRET-B|bbbbbbbb|987654' THEN
        RAISE EXCEPTION 'seen: %', value USING ERRCODE = 'LEAK0';
    END IF;
    RETURN true;
END $$;
SELECT is_empty($$
    SELECT c.relation, c.name, a.role_name, s.state, s.message
    FROM access a, our_column c,
         pg_temp.run_as(a.role_name, pg_temp.a()::text, format('SELECT count(*) FROM %s WHERE public.tap_leak(%s::text)', c.relation, c.name)) AS s
    WHERE s.state NOT IN ('00000', '42501')
$$, 'row security comes before the conditions of a query, however cheap they are');

-- --- The tenant of the session ------------------------------------------------------------------------

SELECT is((SELECT result FROM pg_temp.run_as('tap_reader', '', 'SELECT coalesce(attribution.current_tenant()::text, ''none'')')), 'none',
    'a session without the setting has no tenant');
SELECT is((SELECT result FROM pg_temp.run_as('tap_reader', pg_temp.a()::text, 'SELECT attribution.current_tenant()')), pg_temp.a()::text,
    'the setting is the tenant');
SELECT is((SELECT result FROM pg_temp.run_as('tap_bound_reader', '', 'SELECT attribution.current_tenant()')), pg_temp.a()::text,
    'a bound role has its tenant without the setting');
SELECT is((SELECT state FROM pg_temp.run_as('tap_bound_reader', pg_temp.b()::text, 'SELECT attribution.current_tenant()')), '42501',
    'and no other');
SELECT is((SELECT state FROM pg_temp.run_as('tap_bound_reader', pg_temp.b()::text, 'SELECT attribution.check_tenant(pg_temp.b())')), '42501',
    'nor does it pass for another tenant');
SELECT is_empty($$
    SELECT a.role_name, r.name, s.state, s.result
    FROM access a, tenant_table r, pg_temp.run_as(a.role_name, pg_temp.b()::text, format('SELECT count(*) FROM %s', r.name)) AS s
    WHERE a.is_bound AND s.state <> '42501'
$$, 'a bound role that sets another tenant is refused on every table');
SELECT is_empty($$
    SELECT s.role_name, s.relation, s.state, s.result
    FROM seen s JOIN seen o USING (role_name, relation)
    WHERE s.is_bound AND s.tenant = 'none' AND o.tenant = 'A' AND (s.state, s.result) IS DISTINCT FROM (o.state, o.result)
$$, 'a bound role without the setting sees its own tenant');

GRANT tap_writer TO tap_bound_reader;
SELECT is((SELECT state FROM pg_temp.run_as('tap_bound_reader', pg_temp.b()::text, 'SELECT count(*) FROM attribution.tenants', 'SET LOCAL ROLE tap_writer')), '42501',
    'a bound login role stays bound after SET ROLE');
REVOKE tap_writer FROM tap_bound_reader;

SELECT throws_ok($$ SET LOCAL attribution.tenant_id = 'not a tenant' $$, '22023', NULL, 'what is no UUID cannot be the tenant');
SELECT is((SELECT state FROM pg_temp.run_as(a.role_name, '', 'SELECT set_config(''attribution.sum_tolerance_cents'', ''1'', true)')), '42501',
    a.role_name || ' may not widen the tolerance of the sum check')
FROM access a WHERE a.level = 3 AND NOT a.is_bound;

-- --- Writing ------------------------------------------------------------------------------------------

-- A row of B as it is stored, and a new one.
CREATE TEMP TABLE row_of_b AS
SELECT t.name, t.tenant_column, (pg_temp.run_as(current_user, '', format('SELECT r::text FROM %s r WHERE %s = %L LIMIT 1', t.name, t.tenant_column, pg_temp.b()))).result AS stored
FROM tenant_table t;

CREATE TEMP TABLE attempt AS
SELECT a.*, w.kind, w.relation, w.statement, s.*
FROM access a, (
    SELECT 'insert' AS kind, b.name AS relation, format('INSERT INTO %1$s SELECT (%2$L::%1$s).*', b.name, b.stored) AS statement FROM row_of_b b
    UNION ALL SELECT 'insert', b.name, format('INSERT INTO %1$s SELECT (%2$L::%1$s).* ON CONFLICT DO NOTHING', b.name, b.stored) FROM row_of_b b
    UNION ALL SELECT 'theirs', t.name, format('UPDATE %s SET %s = %s WHERE %s = %L', t.name, c.name, c.name, t.tenant_column, pg_temp.b())
        FROM tenant_table t JOIN our_column c USING (oid)
    UNION ALL SELECT 'theirs', t.name, format('DELETE FROM %s WHERE %s = %L', t.name, t.tenant_column, pg_temp.b()) FROM tenant_table t
    UNION ALL SELECT 'theirs', t.name, format('WITH r AS (SELECT 1 FROM %s WHERE %s = %L FOR UPDATE) SELECT count(*) FROM r', t.name, t.tenant_column, pg_temp.b()) FROM tenant_table t
    UNION ALL SELECT 'theirs', t.name, format('WITH r AS (SELECT 1 FROM %s WHERE %s = %L FOR KEY SHARE) SELECT count(*) FROM r', t.name, t.tenant_column, pg_temp.b()) FROM tenant_table t
    UNION ALL SELECT 'any', t.name, format('UPDATE %s SET %s = %s', t.name, c.name, c.name) FROM tenant_table t JOIN our_column c USING (oid)
    UNION ALL SELECT 'any', t.name, format('DELETE FROM %s', t.name) FROM tenant_table t
    UNION ALL SELECT 'give', t.name, format('UPDATE %s SET %s = %L', t.name, t.tenant_column, pg_temp.b()) FROM tenant_table t
    UNION ALL SELECT 'owner', r.name, format('TRUNCATE %s CASCADE', r.name) FROM our_relation r WHERE r.relkind = 'r'
    UNION ALL SELECT 'owner', r.name, format('ALTER TABLE %s DISABLE TRIGGER ALL', r.name) FROM our_relation r WHERE r.relkind = 'r'
    UNION ALL SELECT 'owner', r.name, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', r.name) FROM our_relation r WHERE r.relkind = 'r'
    UNION ALL SELECT 'owner', r.name, format('REFRESH MATERIALIZED VIEW %s', r.name) FROM our_relation r WHERE r.relkind = 'm'
    UNION ALL SELECT 'owner', r.name, format('GRANT SELECT ON %s TO PUBLIC', r.name) FROM our_relation r
    UNION ALL SELECT 'owner', NULL, 'CREATE TABLE attribution.mine ()'
    UNION ALL SELECT 'owner', NULL, 'SET LOCAL session_replication_role = replica'
    UNION ALL SELECT 'owner', 'attribution.currencies', 'INSERT INTO attribution.currencies (code, decimals) VALUES (''XXX'', 2)'
    UNION ALL SELECT 'owner', 'attribution.currencies', 'UPDATE attribution.currencies SET decimals = 0'
    UNION ALL SELECT 'owner', 'attribution.refresh_log', 'DELETE FROM attribution.refresh_log'
) w, pg_temp.run_as(a.role_name, pg_temp.a()::text, w.statement) AS s;

SELECT is_empty($$ SELECT role_name, statement, state, result FROM attempt WHERE harmed $$, 'no statement of any role changes a row of tenant B');
SELECT is_empty($$
    SELECT role_name, statement, state, message FROM attempt WHERE kind = 'insert' AND state <> '42501'
$$, 'inserting a row for tenant B is refused');
SELECT is_empty($$
    SELECT role_name, statement, state, result, message FROM attempt WHERE kind = 'theirs' AND state <> '42501' AND (state, result) IS DISTINCT FROM ('00000', '0')
$$, 'there is no row of tenant B to update, delete or lock');
SELECT is_empty($$
    SELECT role_name, statement, state, result, message FROM attempt WHERE kind = 'give' AND state <> '42501'
$$, 'no row can be given to tenant B');
SELECT is_empty($$
    SELECT role_name, statement, state, message FROM attempt WHERE kind = 'owner' AND state <> '42501' AND NOT (statement LIKE 'GRANT%' AND state = '00000')
$$, 'what is the owner''s to do is refused');
SELECT is((SELECT count(*) FROM pg_class c JOIN our_relation r USING (oid), aclexplode(c.relacl) a WHERE a.grantee = 0), 0::bigint, 'and a GRANT of what one does not own grants nothing');
SELECT is_empty($$
    SELECT role_name, statement, message FROM attempt WHERE message ~ 'SECRET-B|987654' AND kind <> 'insert'
$$, 'no message tells of tenant B');

SELECT set_eq($$
    SELECT DISTINCT relation FROM attempt WHERE role_name = 'tap_writer' AND kind = 'any' AND state = '00000' AND result <> '0'
    UNION
    SELECT DISTINCT t.name FROM tenant_table t, pg_temp.run_as('tap_writer', pg_temp.a()::text,
        'INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES (''aaaaaaaa-0000-4000-8000-000000000000'', ''x'', ''y'')') AS s
    WHERE t.name = 'attribution.dead_events' AND (s.state, s.result) = ('00000', '1')
    UNION
    SELECT DISTINCT t.name FROM tenant_table t, pg_temp.run_as('tap_writer', pg_temp.a()::text,
        'UPDATE attribution.attribution_allocations SET weight = 2 WHERE model_version LIKE ''draft %''') AS s
    WHERE t.name = 'attribution.attribution_allocations' AND (s.state, s.result) = ('00000', '2')
$$, ARRAY['attribution.attribution_allocations', 'attribution.dead_events'], 'a writer does write rows of its own tenant');
SELECT is_empty($$
    SELECT relation, statement FROM attempt WHERE level IN (0, 1) AND kind IN ('insert', 'any', 'give') AND state <> '42501'
$$, 'a reader writes nothing');

-- --- Functions ----------------------------------------------------------------------------------------

-- How each function is called for a tenant: %1$s is the tenant, %2$s a conversion of it that is not
-- allocated, %3$s its model version. `level` is the access it takes (4: the owner's), `reads` what it
-- tells about: nothing of tenants, or the tenant it is given.
CREATE TEMP TABLE call (name text, level integer, is_pure boolean, statement text);
INSERT INTO call VALUES
    ('attribution.allocate_cents(bigint,integer)', 1, true, 'SELECT attribution.allocate_cents(10, 3)'),
    ('attribution.allocate_cents(bigint,numeric[])', 1, true, 'SELECT attribution.allocate_cents(10, ARRAY[1, 2]::numeric[])'),
    ('attribution.allocate_share(bigint,numeric)', 1, true, 'SELECT attribution.allocate_share(10, 3) OVER ()'),
    ('attribution.allocation_id(uuid,uuid,text,text,timestamp with time zone)', 1, true,
        'SELECT attribution.allocation_id(%1$L, %2$L, %3$L, ''channel'', ''2026-01-01'')'),
    ('attribution.allocation_tie_key(uuid,uuid,text,text)', 1, true, 'SELECT attribution.allocation_tie_key(%1$L, %2$L, %3$L, ''channel'')'),
    ('attribution.keyed_event_id(uuid,text,text)', 1, true, 'SELECT attribution.keyed_event_id(%1$L, ''x'', NULL)'),
    ('attribution.uuid_v7()', 1, true, 'SELECT attribution.uuid_v7()'),
    ('attribution.current_tenant()', 1, true, 'SELECT attribution.current_tenant()'),
    ('attribution.check_tenant(uuid)', 1, false, 'SELECT attribution.check_tenant(%1$L)'),
    ('attribution.realtime_revenue(uuid)', 1, false, 'SELECT string_agg(r::text, '' '') FROM attribution.realtime_revenue(%1$L) r'),
    ('attribution.reconciliation_status(uuid)', 1, false, 'SELECT string_agg(r::text, '' '') FROM attribution.reconciliation_status(%1$L) r'),
    ('attribution.channel_performance(uuid,text,timestamp with time zone,timestamp with time zone)', 1, false,
        'SELECT string_agg(r::text, '' '') FROM attribution.channel_performance(%1$L, %3$L) r'),
    -- The event that is allocated has the id before.
    ('attribution.explain_allocation(uuid,uuid,text)', 1, false,
        'SELECT string_agg(r::text, '' '') FROM attribution.explain_allocation(%1$L, overlay(%2$L placing ''2'' from 36)::uuid, %3$L) r'),
    -- Balanced tenants have no row to show; whether it keeps them apart is tested below.
    ('attribution.unbalanced_allocations(uuid,text)', 1, true, 'SELECT count(*) FROM attribution.unbalanced_allocations(%1$L, NULL)'),
    ('attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)', 2, false,
        'SELECT r::text FROM attribution.ingest_event(%1$L, ''shop'', ''conversion'', ''2026-01-01'', 5, ''shop:order:new'') r'),
    ('attribution.ingest_webhook(uuid,text,text,jsonb,jsonb)', 2, false, 'SELECT r::text FROM attribution.ingest_webhook(%1$L, ''shopify'', ''orders/paid'', ''{"id": 5, "currency": "USD", "total_price": "5.00", "processed_at": "2026-01-01T00:00:00Z", "note_attributes": [{"name": "utm_source", "value": "x"}]}'') r'),
    ('attribution.ingest_webhook_text(uuid,text,text,text,jsonb)', 2, false, 'SELECT r::text FROM attribution.ingest_webhook_text(%1$L, ''shopify'', ''orders/paid'', ''oops'') r'),
    ('attribution.retry_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,boolean)', 2, false, 'SELECT r::text FROM attribution.retry_dead_events(%1$L) r'),
    ('attribution.conservation(uuid)', 1, false, 'SELECT string_agg(c::text, '' '') FROM attribution.conservation(%1$L) c'),
    ('attribution.reverse_posting(uuid,uuid)', 3, false,
        'SELECT attribution.reverse_posting(%1$L, coalesce((SELECT l.id FROM attribution.revenue_ledger l WHERE l.tenant_id = %1$L AND l.reverses_id IS NULL ORDER BY l.id LIMIT 1), %2$L))'),
    ('attribution.discard_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,text)', 3, false, 'SELECT r::text FROM attribution.discard_dead_events(%1$L) r'),
    ('attribution.prune_dead_events(interval,boolean)', 3, true, 'SELECT attribution.prune_dead_events(''-1 day'', true)'),
    ('attribution.erase_personal_data(uuid,uuid[],text[],text)', 3, false, 'SELECT r::text FROM attribution.erase_personal_data(%1$L, containing => ''e'') r'),
    ('attribution.allocate_event(uuid,uuid,text,text[],numeric[])', 2, false,
        'SELECT string_agg(r::text, '' '') FROM attribution.allocate_event(%1$L, %2$L, ''2.0.0'', ARRAY[''x''], ARRAY[1]) r'),
    ('attribution.allocate_event(uuid,uuid,text)', 2, false,
        'SELECT string_agg(r::text, '' '') FROM attribution.allocate_event(%1$L, %2$L, replace(%3$L, ''model'', ''linear'')) r'),
    ('attribution.define_model(uuid,text,text,jsonb)', 2, false, 'SELECT attribution.define_model(%1$L, ''new'', ''linear'')'),
    -- test/sql/allocate_events.sql lets it run.
    ('attribution.allocate_events(uuid,text,timestamp with time zone,timestamp with time zone,integer,uuid,bigint,bigint,bigint)', 2, true,
        'CALL attribution.allocate_events(%1$L, replace(%3$L, ''model'', ''linear''))'),
    ('attribution.post_allocations(uuid,text,timestamp with time zone,timestamp with time zone)', 2, false,
        'SELECT attribution.post_allocations(%1$L, %3$L)'),
    ('attribution.refresh(text,text)', 3, true, 'SELECT attribution.refresh(''mv_realtime_revenue'')'),
    ('attribution.refresh_all(text)', 3, true, 'CALL attribution.refresh_all()'),
    ('attribution_internal.refresh_doubt(text)', 4, true, 'SELECT coalesce(attribution_internal.refresh_doubt(''mv_realtime_revenue''), ''none'')'),
    ('attribution.prune_refresh_log(interval)', 3, true, 'SELECT attribution.prune_refresh_log()'),
    ('attribution.reconciliation_differences(uuid,uuid)', 1, false,
        'SELECT string_agg(r::text, '' '') FROM attribution.reconciliation_differences(%1$L, overlay(%2$L placing ''6'' from 36)::uuid) r'),
    ('attribution.start_reconciliation(uuid,timestamp with time zone,timestamp with time zone)', 3, false, 'SELECT r.state FROM attribution.start_reconciliation(%1$L) r'),
    -- The run that is running has the id 8.
    ('attribution.settle(uuid,uuid,jsonb)', 3, false,
        'SELECT r::text FROM attribution.settle(%1$L, overlay(%2$L placing ''8'' from 36)::uuid, ''[{"key": "x", "amount_cents": 1}]'') r'),
    ('attribution.finish_reconciliation(uuid,uuid)', 3, false, 'SELECT r.state FROM attribution.finish_reconciliation(%1$L, overlay(%2$L placing ''8'' from 36)::uuid) r'),
    ('attribution.fail_reconciliation(uuid,uuid,text)', 3, false, 'SELECT r.state FROM attribution.fail_reconciliation(%1$L, overlay(%2$L placing ''8'' from 36)::uuid, ''x'') r'),
    -- test/sql/reconcile.sql lets it run.
    ('attribution.reconcile(uuid,jsonb,uuid,timestamp with time zone,timestamp with time zone)', 3, true, 'CALL attribution.reconcile(%1$L, ''[]'')'),
    ('attribution.prune_tenant_settlements(uuid,interval)', 3, false, 'SELECT attribution.prune_tenant_settlements(%1$L, ''-1 day'')'),
    ('attribution.prune_settlements(interval)', 3, true, 'SELECT attribution.prune_settlements(''-1 day'')'),
    ('attribution.check_index_plan()', 3, true, 'SELECT count(*) FROM attribution.check_index_plan()'),
    ('attribution_internal.index_obstacle(name,boolean)', 4, true, 'SELECT coalesce(attribution_internal.index_obstacle(''idx_tenants_name'', false), ''none'')'),
    ('attribution_internal.index_bloat(oid)', 4, true, 'SELECT coalesce(attribution_internal.index_bloat(''attribution.tenants_pkey''::regclass), 0)'),
    ('attribution_internal.lock_planned()', 4, true, 'SELECT attribution_internal.lock_planned()'),
    ('attribution.index_report(interval)', 3, true, 'SELECT count(*) FROM attribution.index_report()'),
    ('attribution_internal.is_replicated_row()', 4, true, 'SELECT attribution_internal.is_replicated_row()'),
    ('attribution_internal.table_definitions()', 4, true, 'SELECT attribution_internal.table_definitions()'),
    ('attribution_internal.table_version()', 4, true, 'SELECT attribution_internal.table_version()'),
    ('attribution_internal.parse_required_pieces()', 4, true, 'SELECT count(*) FROM attribution_internal.parse_required_pieces()'),
    ('attribution_internal.table_upgrades()', 4, true, 'SELECT attribution_internal.table_upgrades()::text'),
    ('attribution_internal.check_library_version()', 4, true, 'SELECT attribution_internal.check_library_version()'),
    ('attribution.upgrade_tables()', 4, true, 'SELECT count(*) FROM attribution.upgrade_tables()'),
    ('attribution.create_tables(boolean)', 4, true, 'SELECT count(*) FROM attribution.create_tables(true)'),
    ('attribution_internal.parts_now()', 4, true, 'SELECT count(*) FROM attribution_internal.parts_now()'),
    ('attribution_internal.record_parts()', 4, true, 'SELECT attribution_internal.record_parts()'),
    ('attribution.drop_tables()', 4, true, 'SELECT attribution.drop_tables()'),
    ('attribution.check_backup()', 4, true, 'SELECT count(*) FROM attribution.check_backup()'),
    ('attribution.grant_access(name,text)', 4, false, 'SELECT attribution.grant_access(''tap_nobody'', ''operator'')'),
    ('attribution.bind_tenant(name,uuid)', 4, false, 'SELECT attribution.bind_tenant(''tap_nobody'', %1$L)');

SELECT set_eq('SELECT name FROM our_function', 'SELECT name FROM call', 'the test knows how to call every function');

CREATE TEMP TABLE called AS
SELECT a.role_name, a.level AS access, a.is_bound, t.tenant, g.given, c.name, c.level, c.is_pure, s.*
FROM access a, call c,
     (VALUES ('A', pg_temp.a()::text), ('none', '')) AS t (tenant, id),
     (VALUES ('A', pg_temp.a(), pg_temp.a(4), 'model of A'), ('B', pg_temp.b(), pg_temp.b(4), 'model SECRET-B'),
             ('unknown', 'cccccccc-0000-4000-8000-000000000000', pg_temp.a(4), 'model of A')) AS g (given, id, event_id, model_version),
     pg_temp.run_as(a.role_name, t.id, format(c.statement, g.id, g.event_id, g.model_version)) AS s
WHERE a.level > 0;

-- 2D000: they would have committed.
SELECT is_empty($$
    SELECT role_name, name, state, message, result FROM called
    WHERE tenant = 'A' AND given = 'A' AND access >= level
      AND NOT (state = '00000' AND result IS NOT NULL) AND (regexp_replace(name, '\(.*', ''), state) NOT IN
          (('attribution.refresh_all', '2D000'), ('attribution.allocate_events', '2D000'), ('attribution.reconcile', '2D000'))
$$, 'each role can do for its own tenant what its access says');
SELECT is_empty($$
    SELECT role_name, name, tenant, given, state, result FROM called WHERE access < level AND state <> '42501'
$$, 'and nothing beyond');
SELECT is_empty($$
    SELECT role_name, name, tenant, given, state, result, message FROM called
    WHERE NOT is_pure AND (given <> 'A' OR (tenant = 'none' AND NOT is_bound))
      AND NOT (state IN ('42501', '22023') OR (state = '00000' AND result IS NULL))
$$, 'for another tenant, an unknown one or without a tenant every function refuses or finds nothing');
SELECT is_empty($$
    SELECT role_name, name, tenant, given, state, result, message FROM called
    WHERE coalesce(result, '') ~ 'SECRET-B|987654|bbbbbbbb' AND NOT is_pure OR harmed OR replace(coalesce(message, ''), 'model SECRET-B', '') ~ 'SECRET-B|987654'
$$, 'no function tells of tenant B or changes a row of it');
SELECT is_empty($$
    SELECT b.role_name, b.name, b.state, u.state
    FROM called b JOIN called u USING (role_name, name, tenant)
    WHERE b.given = 'B' AND u.given = 'unknown' AND b.state <> u.state
$$, 'that a tenant exists shows in no error code');
SELECT is_empty($$
    SELECT c.name, s.state, s.result
    FROM call c, pg_temp.run_as('tap_nobody', pg_temp.a()::text, format(c.statement, pg_temp.a(), pg_temp.a(4), 'model of A')) AS s
    WHERE s.state <> '42501'
$$, 'a role without access calls nothing: it may not even look into the schema');

-- Events of B under the own tenant, and the key of an event of B.
SELECT is_empty($$
    SELECT a.role_name, s.state, s.result, s.message
    FROM access a, unnest(ARRAY[2, 3, 4]) AS n,
         pg_temp.run_as(a.role_name, pg_temp.a()::text,
            format('SELECT r::text FROM attribution.allocate_event(%L, %L, ''linear of A'') r', pg_temp.a(), pg_temp.b(n))) AS s
    WHERE a.level >= 2 AND s.state <> '22023'
    UNION ALL
    SELECT a.role_name, s.state, s.result, s.message
    FROM access a, pg_temp.run_as(a.role_name, pg_temp.a()::text,
        format('SELECT r::text FROM attribution.allocate_event(%L, %L, ''2.0.0'', ARRAY[''x''], ARRAY[1]) r', pg_temp.a(), pg_temp.b(4))) AS s
    WHERE a.level >= 2 AND s.state <> '22023'
    UNION ALL
    SELECT a.role_name, s.state, s.result, s.message
    FROM access a, pg_temp.run_as(a.role_name, pg_temp.a()::text,
        format('SELECT r::text FROM attribution.ingest_event(%L, ''shop'', ''refund'', ''2026-01-05'', -1, ''x'', refund_of => %L) r', pg_temp.a(), pg_temp.b(2))) AS s
    WHERE a.level >= 2 AND s.state <> '22023'
    UNION ALL
    SELECT a.role_name, s.state, s.result, s.message
    FROM access a, pg_temp.run_as(a.role_name, pg_temp.a()::text,
        format('SELECT r.outcome FROM attribution.ingest_event(%L, ''shop'', ''conversion'', ''2026-01-05'', 1, ''shop:order:SECRET-B'') r', pg_temp.a())) AS s
    WHERE a.level >= 2 AND (s.state, s.result) IS DISTINCT FROM ('00000', 'ingested')
    UNION ALL
    SELECT a.role_name, s.state, s.result, s.message
    FROM access a, pg_temp.run_as(a.role_name, pg_temp.a()::text, format(
        'INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (%L, %L, ''m'', ''c'', 1)',
        pg_temp.a(), pg_temp.b(4))) AS s
    WHERE a.level >= 2 AND s.state <> '23503'
$$, 'events and keys of tenant B mean nothing under tenant A');

-- An imbalance of both tenants, which the tolerance let in.
SET LOCAL attribution.sum_tolerance_cents = 1000;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 7 WHERE event_id IN (pg_temp.a(2), pg_temp.b(2)) AND model_version LIKE 'draft %';
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
RESET attribution.sum_tolerance_cents;
SELECT is((SELECT count(*) FROM attribution.unbalanced_allocations()), 2::bigint, 'the owner sees the imbalance of both tenants');
SELECT is_empty($$
    SELECT a.role_name, q.given, s.state, s.result
    FROM access a, (VALUES ('NULL', '1'), (quote_literal(pg_temp.a()), '1'), (quote_literal(pg_temp.b()), '0')) AS q (given, rows),
         pg_temp.run_as(a.role_name, pg_temp.a()::text, format('SELECT count(*) FROM attribution.unbalanced_allocations(%s)', q.given)) AS s
    WHERE a.level > 0 AND (s.state, s.result) IS DISTINCT FROM ('00000', q.rows)
$$, 'a role sees that of its own tenant');

SELECT * FROM finish();
ROLLBACK;
