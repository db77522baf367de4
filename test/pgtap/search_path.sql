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

-- Literals without types and names with schemas: what is hijacked here is the extension's doing.
CREATE TEMP TABLE battery (role_name name, name text, statement text);
INSERT INTO battery
SELECT r.role_name, v.name, format(v.statement, pg_temp.a(), pg_temp.a(2), pg_temp.a(4))
FROM (VALUES
    ('tap_writer', 'attribution.allocate_cents(bigint,integer)', 'SELECT attribution.allocate_cents(10, 3)'),
    ('tap_writer', 'attribution.allocate_cents(bigint,numeric[])', 'SELECT attribution.allocate_cents(10, ''{1,2,0.5}'')'),
    ('tap_writer', 'attribution.allocate_share(bigint,numeric)', 'SELECT attribution.allocate_share(10, ''0.5'') OVER ()'),
    ('tap_writer', 'attribution.allocation_id(uuid,uuid,text,text,timestamp with time zone)',
        'SELECT attribution.allocation_id(%1$L, %2$L, ''m'', ''c'', ''2026-01-01'')'),
    ('tap_writer', 'attribution.allocation_tie_key(uuid,uuid,text,text)', 'SELECT attribution.allocation_tie_key(%1$L, %2$L, ''m'', ''c'')'),
    ('tap_writer', 'attribution.keyed_event_id(uuid,text,text)', 'SELECT attribution.keyed_event_id(%1$L, ''x'', NULL)'),
    ('tap_writer', 'attribution.uuid_v7()', 'SELECT pg_catalog.length(attribution.uuid_v7()::pg_catalog.text)'),
    ('tap_writer', 'attribution.current_tenant()', 'SELECT attribution.current_tenant()'),
    ('tap_writer', 'attribution.check_tenant(uuid)', 'SELECT attribution.check_tenant(%1$L)'),
    ('tap_writer', 'attribution.realtime_revenue(uuid)',
        'SELECT ROW(r.total_revenue, r.total_revenue_cents, r.verified) FROM attribution.realtime_revenue(%1$L) r'),
    ('tap_writer', 'attribution.reconciliation_status(uuid)', 'SELECT r FROM attribution.reconciliation_status(%1$L) r'),
    ('tap_writer', 'attribution.channel_performance(uuid,text,timestamp with time zone,timestamp with time zone)',
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.channel_performance(%1$L, ''model of A'', ''2000-01-01'', ''2100-01-01'') r'),
    ('tap_writer', 'attribution.explain_allocation(uuid,uuid,text)',
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.explain_allocation(%1$L, %2$L, ''model of A'') r'),
    ('tap_writer', 'attribution.explain_allocation(uuid,uuid,text)', 'SELECT r FROM attribution.explain_allocation(%1$L, %3$L, ''model of A'') r'),
    ('tap_writer', 'attribution.unbalanced_allocations(uuid,text)', 'SELECT pg_catalog.count(*) FROM attribution.unbalanced_allocations(%1$L, ''model of A'')'),
    ('tap_writer', 'attribution.unbalanced_allocations(uuid,text)', 'SELECT pg_catalog.count(*) FROM attribution.unbalanced_allocations()'),
    ('tap_writer', 'attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)',
        'SELECT r FROM attribution.ingest_event(%1$L, ''shop'', ''conversion'', ''2026-01-01'', 5, ''shop:order:new'') r'),
    ('tap_writer', 'attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)',
        'SELECT r FROM attribution.ingest_event(%1$L, ''shop'', ''conversion'', ''2026-01-01'', 1000, ''shop:order:of A'') r'),
    ('tap_writer', 'attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)',
        'SELECT r FROM attribution.ingest_event(%1$L, ''shop'', ''refund'', ''2026-01-09'', -5, ''shop:refund:new'', refund_of => %2$L, raw_payload => ''{"a": 1}'') r'),
    ('tap_writer', 'attribution.ingest_event(uuid,text,text,timestamp with time zone,bigint,text,text,uuid,text,uuid,jsonb)',
        'SELECT r FROM attribution.ingest_event(%1$L, ''shop'', ''conversion'', ''2026-01-01'', 7, correlation_id => ''pi_2_of A'') r'),
    ('tap_writer', 'attribution.ingest_webhook(uuid,text,text,jsonb,jsonb)', 'SELECT r.outcome FROM attribution.ingest_webhook(%1$L, ''shopify'', ''orders/paid'', ''{"id": 5, "currency": "USD", "total_price": "5.00", "processed_at": "2026-01-01T00:00:00Z", "note_attributes": [{"name": "utm_source", "value": "x"}]}'') r'),
    ('tap_writer', 'attribution.ingest_webhook(uuid,text,text,jsonb,jsonb)', 'SELECT r.outcome FROM attribution.ingest_webhook(%1$L, ''stripe'', NULL, ''{"type": "charge.refunded", "created": 1772366400, "data": {"object": {"id": "ch_1", "payment_intent": "pi_2_of A", "currency": "usd", "amount_refunded": 3}}}'') r'),
    ('tap_writer', 'attribution.ingest_webhook(uuid,text,text,jsonb,jsonb)', 'SELECT r.outcome FROM attribution.ingest_webhook(%1$L, ''shopify'', ''orders/paid'', ''{"id": 6}'') r'),
    ('tap_writer', 'attribution.ingest_webhook_text(uuid,text,text,text,jsonb)', 'SELECT r.outcome FROM attribution.ingest_webhook_text(%1$L, ''shopify'', ''orders/paid'', ''oops'') r'),
    ('tap_writer', 'attribution.retry_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,boolean)', 'SELECT r FROM attribution.retry_dead_events(%1$L) r'),
    ('tap_writer', 'attribution.conservation(uuid)', 'SELECT pg_catalog.string_agg(c::pg_catalog.text, '' '') FROM attribution.conservation(%1$L) c'),
    ('tap_operator', 'attribution.reverse_posting(uuid,uuid)', 'SELECT pg_catalog.count(attribution.reverse_posting(l.tenant_id, l.id)) FROM attribution.revenue_ledger l WHERE l.reverses_id IS NULL'),
    ('tap_operator', 'attribution.discard_dead_events(uuid,text,text,integer,timestamp with time zone,timestamp with time zone,text)', 'SELECT r FROM attribution.discard_dead_events(%1$L, note => ''x'') r'),
    ('tap_operator', 'attribution.prune_dead_events(interval,boolean)', 'SELECT attribution.prune_dead_events(''-1 day'', true)'),
    ('tap_operator', 'attribution.erase_personal_data(uuid,uuid[],text[],text)', 'SELECT r FROM attribution.erase_personal_data(%1$L, containing => ''of A'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text,text[],numeric[])',
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.allocate_event(%1$L, %3$L, ''2.0.0'', ''{x,y,z}'', ''{1,1,1.5}'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text,text[],numeric[])',
        'SELECT pg_catalog.count(*) FROM attribution.allocate_event(%1$L, %2$L, ''model of A'', ''{channel of A,other of A}'', ''{2,1}'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text,text[],numeric[])',
        'SELECT pg_catalog.count(*) FROM attribution.allocate_event(%1$L, %2$L, ''model of A'', ''{channel of A,other of A}'', ''{1,2}'') r'),
    ('tap_writer', 'attribution.define_model(uuid,text,text,jsonb)',
        'SELECT attribution.define_model(%1$L, ''m'', ''custom'', ''{"lookback_days": 1.5, "exclude_channels": ["x"], "channel_weights": {"a": 1, "b": 0.5}, "default_weight": 2}'')'),
    ('tap_writer', 'attribution.define_model(uuid,text,text,jsonb)', 'SELECT attribution.define_model(%1$L, ''m'', ''position_based'', ''{"position_weights": {"first": 1, "middle": 2, "last": 3}}'')'),
    ('tap_writer', 'attribution.define_model(uuid,text,text,jsonb)', 'SELECT attribution.define_model(%1$L, ''m'', ''time_decay'', ''{"half_life_days": 1e400}'')'),
    ('tap_writer', 'attribution.define_model(uuid,text,text,jsonb)', 'SELECT attribution.define_model(%1$L, ''linear of A'', ''linear'', ''{"exclude_channels": ["hidden of A"]}'')'),
    ('tap_writer', 'attribution.define_model(uuid,text,text,jsonb)', 'SELECT attribution.define_model(%1$L, ''linear of A'', ''last_touch'')'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text)',
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.allocate_event(%1$L, %3$L, ''linear of A'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text)', -- with its refund
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.allocate_event(%1$L, %2$L, ''linear of A'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text)',
        'SELECT pg_catalog.string_agg(r::pg_catalog.text, '' '') FROM attribution.allocate_event(%1$L, ''aaaaaaaa-0000-4000-8000-000000000003'', ''model of A'') r'),
    ('tap_writer', 'attribution.allocate_event(uuid,uuid,text)',
        'SELECT r FROM attribution.allocate_event(%1$L, ''aaaaaaaa-0000-4000-8000-000000000003'', ''linear of A'') r'),
    -- What it does outside a function, under attack too: test/sql/allocate_events.sql.
    ('tap_writer', 'attribution.allocate_events(uuid,text,timestamp with time zone,timestamp with time zone,integer,uuid,bigint,bigint,bigint)',
        'CALL attribution.allocate_events(%1$L, ''linear of A'')'),
    ('tap_writer', 'attribution.post_allocations(uuid,text,timestamp with time zone,timestamp with time zone)',
        'SELECT attribution.post_allocations(%1$L, ''model of A'', ''2000-01-01'', ''2100-01-01'')'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_allocation_summary'', ''full'') r'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_realtime_revenue'', ''concurrent'') r'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_reconciliation_status'') r'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_allocation_summary'', ''incremental'') r'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_realtime_revenue'', ''incremental'') r'),
    ('tap_operator', 'attribution.refresh(text,text)',
        'SELECT ROW(r.view_name, r.mode, r.rows_changed, r.outcome, r.error) FROM attribution.refresh(''mv_reconciliation_status'', ''incremental'') r'),
    ('tap_operator', 'attribution.refresh_all(text)', 'CALL attribution.refresh_all()'),
    ('tap_operator', 'attribution.refresh_doubt(text)', 'SELECT attribution.refresh_doubt(''mv_allocation_summary'')'),
    ('tap_operator', 'refresh_status', 'SELECT pg_catalog.string_agg(ROW(s.view_name, s.mode, s.pending_changes, s.doubt)::pg_catalog.text, '' '') FROM attribution.refresh_status s'),
    ('tap_operator', 'attribution.prune_refresh_log(interval)', 'SELECT attribution.prune_refresh_log(''-1 day'')'),
    ('tap_operator', 'attribution.start_reconciliation(uuid,timestamp with time zone,timestamp with time zone)',
        'SELECT ROW(r.state, r.occurred_from) FROM attribution.start_reconciliation(%1$L, ''2026-01-01'') r'),
    ('tap_operator', 'attribution.settle(uuid,uuid,jsonb)',
        'SELECT r FROM attribution.settle(%1$L, ''aaaaaaaa-0000-4000-8000-000000000008'', ''[{"key": "x", "amount_cents": 1}, {"key": "x", "amount_cents": 1.0}]'') r'),
    ('tap_operator', 'attribution.settle(uuid,uuid,jsonb)',
        'SELECT r FROM attribution.settle(%1$L, ''aaaaaaaa-0000-4000-8000-000000000008'', ''[{"key": "shop:order:of A", "amount_cents": 1}]'') r'),
    ('tap_operator', 'attribution.finish_reconciliation(uuid,uuid)',
        'SELECT ROW(r.state, r.run_metadata) FROM attribution.finish_reconciliation(%1$L, ''aaaaaaaa-0000-4000-8000-000000000008'') r'),
    ('tap_operator', 'attribution.fail_reconciliation(uuid,uuid,text)',
        'SELECT ROW(r.state, r.error_message) FROM attribution.fail_reconciliation(%1$L, ''aaaaaaaa-0000-4000-8000-000000000008'', ''x'') r'),
    -- What it does outside a function: test/sql/reconcile.sql.
    ('tap_operator', 'attribution.reconcile(uuid,jsonb,uuid,timestamp with time zone,timestamp with time zone)', 'CALL attribution.reconcile(%1$L, ''[]'')'),
    ('tap_operator', 'attribution.reconciliation_differences(uuid,uuid)',
        'SELECT r FROM attribution.reconciliation_differences(%1$L, ''aaaaaaaa-0000-4000-8000-000000000006'') r'),
    ('tap_operator', 'attribution.prune_tenant_settlements(uuid,interval)', 'SELECT attribution.prune_tenant_settlements(%1$L, ''-1 day'')'),
    ('tap_operator', 'attribution.prune_settlements(interval)', 'SELECT attribution.prune_settlements(''-1 day'')'),
    ('tap_operator', 'attribution.check_index_plan()', 'SELECT pg_catalog.string_agg(ROW(c.index_name, c.exists_as_declared, c.is_of_right_kind, c.can_serve, c.problem)::pg_catalog.text, '' '') FROM attribution.check_index_plan() c'),
    ('tap_operator', 'attribution.index_obstacle(name,boolean)', 'SELECT attribution.index_obstacle(''idx_tenants_name'', false)'),
    ('tap_operator', 'attribution.index_bloat(oid)', 'SELECT attribution.index_bloat(i.indexrelid) FROM pg_catalog.pg_index i LIMIT 1'),
    ('tap_operator', 'attribution.lock_planned()', 'SELECT attribution.lock_planned()'),
    ('tap_operator', 'attribution.index_report(interval)', 'SELECT pg_catalog.string_agg(ROW(r.index_name, r.is_planned)::pg_catalog.text, '' '') FROM attribution.index_report() r'),
    ('tap_writer', 'attribution.is_replicated_row()', 'SELECT attribution.is_replicated_row()'),
    ('owner', 'refresh by hand', 'REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue'),
    ('owner', 'attribution.grant_access(name,text)', 'SELECT attribution.grant_access(''tap_nobody'', ''operator'')'),
    ('owner', 'attribution.bind_tenant(name,uuid)', 'SELECT attribution.bind_tenant(''tap_nobody'', %1$L)'),
    ('owner', 'attribution.bind_tenant(name,uuid)', 'SELECT attribution.bind_tenant(''tap_bound_reader'', NULL)'),
    -- Triggers, constraints and policies.
    ('tap_writer', 'sum right', 'INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) '
        'VALUES (%1$L, %3$L, ''m'', ''x'', 1000), (%1$L, %3$L, ''m'', ''y'', 1)'),
    ('tap_writer', 'sum wrong', 'INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) '
        'VALUES (%1$L, %3$L, ''m'', ''x'', 1000), (%1$L, %3$L, ''m'', ''y'', 2)'),
    ('tap_writer', 'sum of an update', 'UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 0'),
    ('tap_writer', 'delete', 'DELETE FROM attribution.attribution_allocations'),
    ('tap_writer', 'dead event', 'INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES (%1$L, ''shop'', ''e'')'),
    ('tap_writer', 'other tenant', 'INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES (''bbbbbbbb-0000-4000-8000-000000000000'', ''shop'', ''e'')'),
    ('owner', 'revenue', 'UPDATE attribution.attribution_events SET revenue_cents = 5 WHERE event_type OPERATOR(pg_catalog.=) ''conversion'''),
    ('owner', 'revenue of what is not allocated', 'UPDATE attribution.attribution_events SET revenue_cents = 5 WHERE id OPERATOR(pg_catalog.=) %3$L'),
    ('owner', 'key of an allocation', 'UPDATE attribution.attribution_allocations SET channel = ''z'' WHERE channel OPERATOR(pg_catalog.=) ''channel of A'''),
    ('owner', 'decimals', 'UPDATE attribution.currencies SET decimals = 4 WHERE code OPERATOR(pg_catalog.=) ''USD'''),
    ('owner', 'truncated tables', 'TRUNCATE attribution.attribution_allocations CASCADE'),
    ('owner', 'currency', 'UPDATE attribution.tenants SET currency = ''EUR'''),
    ('owner', 'name', 'UPDATE attribution.tenants SET name = ''x'' WHERE id OPERATOR(pg_catalog.=) %1$L'),
    ('owner', 'model', 'UPDATE attribution.attribution_models SET method = ''linear'''),
    ('owner', 'ledger', 'UPDATE attribution.revenue_ledger SET revenue_cents = 1'),
    ('owner', 'verification', 'UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL WHERE is_verified'),
    ('owner', 'books', 'DELETE FROM attribution.ledger_books'),
    ('owner', 'truncated ledger', 'TRUNCATE attribution.revenue_ledger'),
    ('owner', 'second running run', 'INSERT INTO attribution.reconciliation_runs (tenant_id, state) VALUES (%1$L, ''running'')')
) AS v (role_name, name, statement)
JOIN (VALUES ('tap_writer', 'tap_writer'::name), ('tap_operator', 'tap_operator'), ('owner', current_user), ('tap_writer', current_user), ('tap_operator', current_user))
    AS r (of, role_name) ON r.of = v.role_name;

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
