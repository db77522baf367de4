-- Two tenants with rows in every table, and a way to act as a role of one of them. Included by tests
-- (\ir) inside their transaction.
--
-- A is the tenant one acts for, B the one to stay away from. Every id of B begins with bbbbbbbb, every
-- text of B contains SECRET-B and its amounts contain 987654; so what leaks can be seen wherever it
-- turns up, also in tables and messages that the test knows nothing about.

-- GRANT warns of every privilege that one does not have.
SET LOCAL client_min_messages = error;

CREATE FUNCTION pg_temp.a(n integer DEFAULT 0) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('aaaaaaaa-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.b(n integer DEFAULT 0) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('bbbbbbbb-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

-- The ids of a tenant: 0 itself, 1 touch, 2 conversion, 3 refund, 4 conversion without allocations,
-- 5 dead event, 6 to 8 reconciliation runs, 9 session, 10 run of allocate_events().
DO $$
DECLARE
    ids uuid[];
    secret text;
    cents bigint;
    posting record;
BEGIN
    FOR secret, cents IN VALUES ('of A', 1000), ('SECRET-B', 987654321) LOOP
        SELECT array_agg(CASE WHEN secret = 'SECRET-B' THEN pg_temp.b(n) ELSE pg_temp.a(n) END ORDER BY n)
        INTO ids FROM generate_series(0, 10) AS n;

        INSERT INTO attribution.tenants (id, name) VALUES (ids[1], 'tenant ' || secret);
        INSERT INTO attribution.attribution_events
            (tenant_id, id, event_type, occurred_at, external_event_id, correlation_id, session_id, channel, source, refund_of, revenue_cents, raw_payload)
        VALUES
            (ids[1], ids[2], 'touch', '2026-01-01 10:00Z', NULL, NULL, ids[10], 'channel ' || secret, 'web ' || secret, NULL, 0, NULL),
            (ids[1], ids[3], 'conversion', '2026-01-02 10:00Z', 'shop:order:' || secret, 'pi_' || secret, ids[10], NULL, 'shop ' || secret, NULL, cents,
                jsonb_build_object('secret', secret)),
            (ids[1], ids[4], 'refund', '2026-01-03 10:00Z', 'shop:refund:' || secret, NULL, NULL, NULL, 'shop ' || secret, ids[3], -100, NULL),
            (ids[1], ids[5], 'conversion', '2026-01-04 10:00Z', NULL, 'pi_2_' || secret, ids[10], NULL, 'pay ' || secret, NULL, cents + 1, NULL);
        INSERT INTO attribution.dead_events (tenant_id, id, source, error_code, error_detail, raw_payload, correlation_id, external_event_id)
        VALUES (ids[1], ids[6], 'shop ' || secret, 'error ' || secret, jsonb_build_object('detail', secret), jsonb_build_object('raw', secret),
                'pi_3_' || secret, 'shop:order:3:' || secret);
        INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id) VALUES (ids[1], 'alias ' || secret, ids[4]);
        PERFORM attribution.allocate_event(ids[1], ids[3], 'model ' || secret, ARRAY['channel ' || secret, 'other ' || secret], ARRAY[2, 1]);
        -- The refund was allocated with it.
        UPDATE attribution.attribution_allocations a SET model_metadata = jsonb_build_object('note', secret)
        WHERE a.tenant_id = ids[1] AND a.event_id = ids[4];
        PERFORM attribution.post_allocations(ids[1], 'model ' || secret);
        -- What is posted never changes; this is not posted.
        PERFORM attribution.allocate_event(ids[1], ids[3], 'draft ' || secret, ARRAY['channel ' || secret], ARRAY[1]);
        PERFORM attribution.define_model(ids[1], 'linear ' || secret, 'linear', jsonb_build_object('exclude_channels', jsonb_build_array('hidden ' || secret)));
        INSERT INTO attribution.allocation_runs (tenant_id, id, model_version, batch_size, state, backend_pid, error_message)
        VALUES (ids[1], ids[11], 'linear ' || secret, 1, 'failed', 1, 'failure ' || secret);
        INSERT INTO attribution.allocation_failures (tenant_id, run_id, event_id, error_code, message, detail, hint)
        VALUES (ids[1], ids[11], ids[5], 'P0001', 'message ' || secret, 'detail ' || secret, 'hint ' || secret);
        INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at, error_message, run_metadata) VALUES
            (ids[1], ids[7], 'completed', '2026-01-05 10:00Z', NULL, jsonb_build_object('note', secret)),
            (ids[1], ids[8], 'failed', '2026-01-06 10:00Z', 'failure ' || secret, NULL),
            (ids[1], ids[9], 'running', '2026-01-07 10:00Z', NULL, NULL);
        INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents)
        VALUES (ids[1], ids[7], 'settled ' || secret, cents), (ids[1], ids[9], 'shop:order:' || secret, cents);
        INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind, key, settlement_cents)
        VALUES (ids[1], ids[7], 'missing_in_ledger', 'settled ' || secret, cents);
        UPDATE attribution.revenue_ledger l SET reconciliation_run_id = ids[7], is_verified = true, verified_at = '2026-01-05 10:00Z'
        WHERE l.tenant_id = ids[1] AND l.revenue_cents > 0;
        SELECT l.id, l.revenue_cents INTO STRICT posting FROM attribution.revenue_ledger l
        WHERE l.tenant_id = ids[1] AND l.revenue_cents < 0 ORDER BY l.revenue_cents LIMIT 1;
        INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents) VALUES (ids[1], ids[3], posting.id, -posting.revenue_cents);
    END LOOP;
END $$;

-- One role of each access, and one each that is tied to tenant A as well.
CREATE ROLE tap_reader; CREATE ROLE tap_writer; CREATE ROLE tap_operator;
CREATE ROLE tap_bound_reader; CREATE ROLE tap_bound_writer; CREATE ROLE tap_bound_operator;
CREATE ROLE tap_bound_to_b;
CREATE ROLE tap_nobody;
SELECT attribution.grant_access('tap_' || bound || access, access) IS NULL,
       bound = '' OR attribution.bind_tenant('tap_' || bound || access, pg_temp.a()) IS NULL
FROM unnest(ARRAY['reader', 'writer', 'operator']) AS access, unnest(ARRAY['', 'bound_']) AS bound
\g /dev/null
SELECT attribution.bind_tenant('tap_bound_to_b', pg_temp.b())
\g /dev/null

-- Refreshed by somebody whose tenant is A: the views hold all tenants all the same.
SET LOCAL attribution.tenant_id = 'aaaaaaaa-0000-4000-8000-000000000000';
SELECT attribution.refresh(view_name) FROM unnest(ARRAY['mv_allocation_summary', 'mv_realtime_revenue', 'mv_reconciliation_status']) AS view_name
\g /dev/null
RESET attribution.tenant_id;

-- What has changed since waits in the logs.
SELECT attribution.allocate_event(t.id, t.conversion_id, 'late ' || t.secret, ARRAY['channel ' || t.secret], ARRAY[1])
FROM (VALUES (pg_temp.a(), pg_temp.a(2), 'of A'), (pg_temp.b(), pg_temp.b(2), 'SECRET-B')) AS t (id, conversion_id, secret)
\g /dev/null
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2026-01-08 10:00Z' WHERE reverses_id IS NOT NULL;
UPDATE attribution.reconciliation_runs SET last_run_at = '2026-01-08 10:00Z' WHERE state = 'running';

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
SELECT c.oid, c.oid::regclass::text AS name, c.relname, c.relkind
FROM pg_class c JOIN ours o ON o.objid = c.oid AND o.classid = 'pg_class'::regclass
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f');

CREATE TEMP VIEW our_column AS
SELECT r.oid, r.name AS relation, quote_ident(a.attname) AS name
FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped;

CREATE TEMP VIEW our_function AS
SELECT p.oid::regprocedure::text AS name, p.oid
FROM pg_proc p JOIN ours o ON o.objid = p.oid AND o.classid = 'pg_proc'::regclass
WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype);

CREATE TEMP VIEW tenant_table AS
SELECT r.*, CASE r.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END AS tenant_column
FROM our_relation r
WHERE r.relkind IN ('r', 'p') AND (r.relname = 'tenants' OR EXISTS (
    SELECT 1 FROM our_column c WHERE c.oid = r.oid AND c.name = 'tenant_id'));

-- All rows of B in all tables, as one number. One query, planned once: it is asked after every statement.
DO $do$
BEGIN
    EXECUTE format('CREATE FUNCTION pg_temp.digest_of_b() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT md5(string_agg(r, E''\n'' ORDER BY r)) FROM (%s) AS u (r)); END $$',
        (SELECT string_agg(format('SELECT t::pg_catalog.text FROM %s t WHERE %I = %L', name, tenant_column, pg_temp.b()), ' UNION ALL ') FROM tenant_table));
END $do$;

-- Runs a statement as a session of the role with attribution.tenant_id = tenant, and takes everything
-- back. A query says what its first column was, other statements how many rows they changed. Deferred
-- constraints are checked. `harmed`: the statement left the rows of B otherwise than they were at the
-- first call.
CREATE FUNCTION pg_temp.run_as(role_name name, tenant text, statement text, settings text DEFAULT '',
                               OUT state text, OUT result text, OUT message text, OUT harmed boolean)
LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
    detail text;
    hint text;
    is_query boolean := statement ~* '^\s*(SELECT|WITH)';
    before text := coalesce(nullif(current_setting('tap.digest_of_b', true), ''), pg_temp.digest_of_b());
BEGIN
    PERFORM set_config('tap.digest_of_b', before, true); -- whatever is changed here is taken back
    state := '00000';
    PERFORM set_config('attribution.tenant_id', tenant, true);
    BEGIN
        BEGIN
            EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', role_name);
            IF settings <> '' THEN
                EXECUTE settings;
            END IF;
            -- From here on the names are the role's to resolve: no operator, no function of our own.
            IF is_query THEN
                EXECUTE statement INTO result;
            ELSE
                EXECUTE statement;
                GET DIAGNOSTICS changed = ROW_COUNT;
                result := changed;
            END IF;
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            message := concat_ws(' | ', message, detail, hint);
            result := NULL;
        END;
        SET LOCAL SESSION AUTHORIZATION DEFAULT;
        SET LOCAL search_path = pg_catalog;
        harmed := pg_temp.digest_of_b() <> before;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
        NULL;
    END;
    PERFORM set_config('attribution.tenant_id', '', true);
END $$;
