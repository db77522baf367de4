-- conservation: every step of the money of a tenant holds, says what is pending, and names what breaks it.
-- In a database of its own: its views were never refreshed.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_conservation;
CREATE DATABASE regression_conservation;
\set home :DBNAME
\c regression_conservation
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET client_min_messages = warning;
\set a '''c0450000-0000-4000-8000-00000000000a'''
\set b '''c0450000-0000-4000-8000-00000000000b'''
CREATE VIEW pg_temp.proof AS
SELECT t.name, c.equation, c.model_version, right(c.event_id::text, 2) AS event, c.expected_cents AS expected, c.actual_cents AS actual,
       c.pending_cents AS pending, c.difference_cents AS difference, c.holds
FROM attribution.tenants t, attribution.conservation(t.id) WITH ORDINALITY AS c WHERE t.id::text LIKE 'c0450000%' ORDER BY t.name, c.ordinality;
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'a'), (:b, 'b');
\set ECHO queries
-- Nothing at all, and views that were never refreshed.
SELECT * FROM pg_temp.proof;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, channel, refund_of, revenue_cents, session_id)
SELECT t, ('c0450000-0000-4000-8000-0000000000' || e.id)::uuid, e.type, '2026-01-01Z'::timestamptz + e.at * interval '1 hour', e.channel,
       ('c0450000-0000-4000-8000-0000000000' || e.refund_of)::uuid, e.cents, '5e550000-0000-4000-8000-000000000001'
FROM (VALUES (:a::uuid), (:b::uuid)) AS tenants (t), (VALUES ('t1', 'touch', 0, 'email', NULL, 0), ('t2', 'touch', 1, 'search', NULL, 0), ('c1', 'conversion', 2, NULL, NULL, 101),
    ('c2', 'conversion', 3, NULL, NULL, 50), ('f1', 'refund', 4, NULL, 'c1', -40)) AS x (id, type, at, channel, refund_of, cents),
    LATERAL (SELECT translate(x.id, 't', 'a') AS id, x.type, x.at, x.channel, x.refund_of, x.cents) AS e;
SELECT * FROM pg_temp.proof WHERE name = 'a';
SELECT attribution.define_model(t, m, m) FROM unnest(ARRAY[:a, :b]::uuid[]) AS t, unnest('{linear, last_touch}'::text[]) AS m
\g /dev/null
SELECT count(a) FROM attribution.allocate_event(:a, 'c0450000-0000-4000-8000-0000000000c1', 'linear') AS a;
CALL attribution.allocate_events(:a, 'last_touch') \gset
CALL attribution.allocate_events(:b, 'linear') \gset
SELECT * FROM pg_temp.proof WHERE name = 'a';
CALL attribution.refresh_all();
SELECT attribution.post_allocations(:a, 'linear', NULL, '2026-01-01 04:00Z'), attribution.post_allocations(:b, 'linear');
-- Posted and not refreshed: what waits in the logs is pending.
SELECT * FROM pg_temp.proof;
CALL attribution.refresh_all();
CALL attribution.allocate_events(:a, 'linear') \gset
SELECT * FROM pg_temp.proof WHERE name = 'a';
-- A posting that was taken back is pending again; after all is posted and refreshed, nothing is.
SELECT count(attribution.reverse_posting(l.tenant_id, l.id)) FROM (SELECT * FROM attribution.revenue_ledger WHERE tenant_id = :a ORDER BY revenue_cents DESC, id LIMIT 1) AS l;
SELECT * FROM pg_temp.proof WHERE name = 'a' AND equation ~ 'ledger';
SELECT attribution.post_allocations(:a, 'linear');
CALL attribution.refresh_all();
SELECT * FROM pg_temp.proof WHERE name = 'a';
SELECT name, bool_and(holds) AS holds, count(event) AS offending, sum(pending) FILTER (WHERE equation !~ 'events') AS pending FROM pg_temp.proof GROUP BY name ORDER BY name;

--
-- What the checks would refuse is found where they were switched off
--
CREATE PROCEDURE pg_temp.break(statement text) LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    SET LOCAL session_replication_role = replica;
    ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER USER;
    ALTER TABLE attribution.attribution_events DISABLE TRIGGER USER;
    ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER USER;
    ALTER TABLE attribution.ledger_books DISABLE TRIGGER USER;
    EXECUTE statement;
    FOR r IN SELECT * FROM pg_temp.proof WHERE name = 'a' AND holds IS NOT TRUE LOOP
        RAISE INFO '% % % %', r.equation, coalesce(r.model_version, '-'), coalesce(r.event, 'total'), concat_ws(' ', 'expected', r.expected, 'actual', r.actual, 'difference', r.difference, 'holds', r.holds);
    END LOOP;
    IF EXISTS (SELECT FROM pg_temp.proof WHERE name = 'b' AND NOT holds) THEN
        RAISE INFO 'tenant b suffers';
    END IF;
    ROLLBACK;
END $$;
CALL pg_temp.break($$UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1 WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND model_version = 'linear' AND channel = 'email' AND allocated_revenue_cents > 30$$);
CALL pg_temp.break($$DELETE FROM attribution.attribution_allocations WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND model_version = 'last_touch' AND event_id::text LIKE '%f1'$$);
CALL pg_temp.break($$UPDATE attribution.attribution_events SET revenue_cents = -140 WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND id::text LIKE '%f1'$$);
CALL pg_temp.break($$DELETE FROM attribution.attribution_events WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND id::text LIKE '%c2'$$);
CALL pg_temp.break($$UPDATE attribution.revenue_ledger SET revenue_cents = revenue_cents - 1 WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND reverses_id IS NOT NULL$$);
CALL pg_temp.break($$DELETE FROM attribution.revenue_ledger WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND reverses_id IS NULL AND revenue_cents < 0$$);
CALL pg_temp.break($$UPDATE attribution.ledger_books SET model_version = 'last_touch' WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND conversion_id::text LIKE '%c2'$$);
CALL pg_temp.break($$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    ('c0450000-0000-4000-8000-00000000000a', 'c0450000-0000-4000-8000-0000000000f1', 'odd', 'tv', -40)$$);
-- A reversing entry that was taken back, as much as bigint can hold, and refunds of what is gone.
CALL pg_temp.break($$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
    SELECT tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a' AND reverses_id IS NOT NULL$$);
CALL pg_temp.break($$UPDATE attribution.revenue_ledger SET revenue_cents = -9223372036854775808 WHERE tenant_id = 'c0450000-0000-4000-8000-00000000000a'
    AND id IN (SELECT reverses_id FROM attribution.revenue_ledger)$$);
CALL pg_temp.break($$INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
    VALUES ('c0450000-0000-4000-8000-00000000000a', 'c0450000-0000-4000-8000-0000000000f9', 'refund', '2026-01-02Z', 'c0450000-0000-4000-8000-0000000000c9', -10)$$);
-- Touches that were allocated by hand, to nothing, break nothing.
BEGIN;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, 'c0450000-0000-4000-8000-0000000000a1', 'linear', 'email', 0);
SELECT attribution.post_allocations(:a, 'linear');
SELECT equation, model_version, event, expected, actual, holds FROM pg_temp.proof WHERE name = 'a';
ROLLBACK;

--
-- Whose tenant
--
CALL pg_temp.attempt($$SELECT attribution.conservation(NULL)$$);
CREATE ROLE regress_attribution_prover;
SELECT attribution.grant_access('regress_attribution_prover', 'reader');
SET ROLE regress_attribution_prover;
CALL pg_temp.attempt($$SELECT attribution.conservation('c0450000-0000-4000-8000-00000000000a')$$);
SET attribution.tenant_id = 'c0450000-0000-4000-8000-00000000000a';
SELECT count(*) FILTER (WHERE holds) AS holding, count(*) FROM attribution.conservation(:a);
CALL pg_temp.attempt($$SELECT attribution.conservation('c0450000-0000-4000-8000-00000000000b')$$);
RESET ROLE;
RESET attribution.tenant_id;
DROP OWNED BY regress_attribution_prover;
DROP ROLE regress_attribution_prover;
\c :home
DROP DATABASE regression_conservation;
