-- Fills a database for bench/refresh: :keys conversions of ten tenants with three allocations each, so as many
-- rows of mv_allocation_summary; where :ledger is 1, the first tenth of them posted. Then the views are refreshed.

SET client_min_messages = warning;
CREATE EXTENSION attribution;
CREATE SCHEMA bench;

CREATE FUNCTION bench.tenant(number integer) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('00000000-0000-7000-8000-' || lpad(number::text, 12, '0'))::uuid;

INSERT INTO attribution.tenants (id, name)
SELECT bench.tenant(n), 'shop ' || n FROM generate_series(0, 9) AS n;

-- Written past the triggers, for speed. Some of them are enabled always or for replicas alone, and so they
-- must be again: refresh() looks.
CREATE TABLE bench.triggers AS
SELECT tgrelid::regclass AS relation, tgname AS name, tgenabled AS enabled
FROM pg_trigger
WHERE tgrelid IN ('attribution.attribution_events'::regclass, 'attribution.attribution_allocations'::regclass)
    AND tgenabled IN ('A', 'R');
ALTER TABLE attribution.attribution_events DISABLE TRIGGER ALL;
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER ALL;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, external_event_id, source, revenue_cents)
SELECT bench.tenant(n % 10), md5(n::text)::uuid, 'conversion', '2026-01-01Z'::timestamptz + n * interval '1 second',
       'shopify:order:' || n, 'shopify', 1000 + n % 1000
FROM generate_series(1, :keys) AS n;
INSERT INTO attribution.attribution_allocations
    (tenant_id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents)
SELECT e.tenant_id, e.id, '1.0.0', c.channel, 1, 0.33333,
       e.revenue_cents / 3 + CASE WHEN c.channel = 'direct' THEN e.revenue_cents % 3 ELSE 0 END
FROM attribution.attribution_events e, (VALUES ('direct'), ('email'), ('organic')) AS c (channel);
ALTER TABLE attribution.attribution_events ENABLE TRIGGER ALL;
ALTER TABLE attribution.attribution_allocations ENABLE TRIGGER ALL;
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT * FROM bench.triggers LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.relation,
                       CASE t.enabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, t.name);
    END LOOP;
END $$;
VACUUM (ANALYZE) attribution.attribution_events, attribution.attribution_allocations;

-- The keys in an order that is random to the tables and their indexes.
CREATE TABLE bench.keys AS
SELECT row_number() OVER (ORDER BY md5('place ' || n))::integer AS place, bench.tenant(n % 10) AS tenant_id,
       md5(n::text)::uuid AS event_id
FROM generate_series(1, :keys) AS n;
ALTER TABLE bench.keys ADD PRIMARY KEY (place);

SELECT :ledger = 1 AS with_ledger \gset
\if :with_ledger
SELECT count(attribution.define_model(t.id, '1.0.0', 'custom')) AS models FROM attribution.tenants t \gset
SELECT sum(attribution.post_allocations(t.id, '1.0.0', NULL, '2026-01-01Z'::timestamptz + (:keys / 10 + 1) * interval '1 second'))
    AS posted
FROM attribution.tenants t \gset
\endif

-- A statement per table changes the keys from place :first_place to :last_place; bench/refresh says how. Planned
-- each time: a few keys are looked up, many are joined.
CREATE PROCEDURE bench.change(kind text, first_place integer, last_place integer)
    LANGUAGE plpgsql AS $$
DECLARE
    keys text := format('SELECT k.tenant_id, k.event_id FROM bench.keys k WHERE k.place BETWEEN %s AND %s',
                        first_place, last_place);
    changed bigint;
BEGIN
    IF kind = 'amend' THEN
        EXECUTE format(
            'UPDATE attribution.attribution_events e SET revenue_cents = e.revenue_cents + 1
             FROM (%s) k WHERE e.tenant_id = k.tenant_id AND e.id = k.event_id', keys);
        EXECUTE format(
            'UPDATE attribution.attribution_allocations a SET allocated_revenue_cents = a.allocated_revenue_cents + 1
             FROM (%s) k WHERE a.tenant_id = k.tenant_id AND a.event_id = k.event_id AND a.channel = ''direct''', keys);
        GET DIAGNOSTICS changed = ROW_COUNT;
    ELSIF kind = 'move' THEN
        EXECUTE format(
            'UPDATE attribution.attribution_allocations a
             SET allocated_revenue_cents = a.allocated_revenue_cents + CASE a.channel WHEN ''direct'' THEN 1 ELSE -1 END
             FROM (%s) k WHERE a.tenant_id = k.tenant_id AND a.event_id = k.event_id AND a.model_version = ''1.0.0''
             AND a.channel IN (''direct'', ''email'')', keys);
        GET DIAGNOSTICS changed = ROW_COUNT;
    ELSE
        EXECUTE format(
            'DELETE FROM attribution.attribution_allocations a USING (%s) k
             WHERE a.tenant_id = k.tenant_id AND a.event_id = k.event_id AND a.model_version = ''2.0.0''', keys);
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed = 0 THEN
            EXECUTE format(
                'INSERT INTO attribution.attribution_allocations
                     (tenant_id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents)
                 SELECT a.tenant_id, a.event_id, ''2.0.0'', a.channel, a.weight, a.allocation_ratio, a.allocated_revenue_cents
                 FROM attribution.attribution_allocations a, (%s) k
                 WHERE a.tenant_id = k.tenant_id AND a.event_id = k.event_id AND a.model_version = ''1.0.0''', keys);
            GET DIAGNOSTICS changed = ROW_COUNT;
        END IF;
    END IF;
    IF changed < last_place - first_place + 1 THEN
        RAISE EXCEPTION 'only % rows changed', changed;
    END IF;
END $$;

CREATE PROCEDURE bench.check_view(view_name text)
    LANGUAGE plpgsql AS $$
DECLARE
    relation regclass := format('attribution.%I', view_name)::regclass;
    query text := rtrim(pg_get_viewdef(relation), ';');
    differences bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) AS d',
                   relation, query) INTO differences;
    IF differences > 0 THEN
        RAISE EXCEPTION '% differs from its query in % rows', view_name, differences;
    END IF;
END $$;

CALL attribution.refresh_all('full');
VACUUM (ANALYZE);
DO $$
BEGIN
    IF (SELECT count(*) FROM attribution.refresh_status WHERE doubt IS NULL AND outcome = 'refreshed') < 3 THEN
        RAISE EXCEPTION 'not refreshed: %', (SELECT string_agg(coalesce(error, doubt), '; ') FROM attribution.refresh_status);
    END IF;
END $$;
CHECKPOINT;
