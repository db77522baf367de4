-- refund: each refund is taken from what is left of its conversion per channel, whoever allocates it, in whatever calls.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET client_min_messages = warning; -- not how much each CALL allocated
\set tenant '''4ef00000-0000-4000-8000-00000000000a'''
\set other '''4ef00000-0000-4000-8000-00000000000b'''
\set c1 '''4ef00000-0000-4000-8000-0000000000c1'''
\set c2 '''4ef00000-0000-4000-8000-0000000000c2'''
\set r1 '''4ef00000-0000-4000-8000-0000000000f1'''
\set r2 '''4ef00000-0000-4000-8000-0000000000f2'''
\set r3 '''4ef00000-0000-4000-8000-0000000000f3'''
\set r4 '''4ef00000-0000-4000-8000-0000000000f4'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'refund'), (:other, 'refund, other');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, refund_of, revenue_cents, correlation_id) VALUES
    (:tenant, '4ef00000-0000-4000-8000-0000000000e1', 'touch', '2024-06-01 01:00Z', :c1, 'email', NULL, 0, NULL),
    (:tenant, '4ef00000-0000-4000-8000-0000000000e2', 'touch', '2024-06-01 02:00Z', :c1, 'tv', NULL, 0, NULL),
    (:tenant, :c1, 'conversion', '2024-06-01 12:00Z', :c1, NULL, NULL, 101, 'pi_1'),
    (:other, :c1, 'conversion', '2024-06-01 12:00Z', NULL, NULL, NULL, 101, NULL),
    (:tenant, :r1, 'refund', '2024-06-02 12:00Z', NULL, NULL, :c1, -40, 'pi_1r');
SELECT attribution.define_model(:tenant, v.version, v.method, v.parameters::jsonb)
FROM (VALUES ('linear', 'linear', '{}'), ('last', 'last_touch', '{}'), ('1:3', 'custom', '{"channel_weights": {"email": 1, "tv": 3}}'), ('given', 'custom', '{}')) AS v (version, method, parameters)
\g /dev/null
CREATE FUNCTION pg_temp.allocated(event_id uuid, model_version text, OUT channel text, OUT weight numeric, OUT ratio numeric, OUT cents bigint) RETURNS SETOF record LANGUAGE sql
BEGIN ATOMIC
    SELECT a.channel, a.weight, a.allocation_ratio, a.allocated_revenue_cents FROM attribution.attribution_allocations AS a
    WHERE a.tenant_id = '4ef00000-0000-4000-8000-00000000000a' AND a.event_id = allocated.event_id AND a.model_version = allocated.model_version
    ORDER BY a.channel COLLATE "C";
END;

-- A refund of what is not allocated has nothing to be taken from; nor is it allocated by weights.
CALL pg_temp.attempt($$SELECT attribution.allocate_event('4ef00000-0000-4000-8000-00000000000a', '4ef00000-0000-4000-8000-0000000000f1', '1:3')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('4ef00000-0000-4000-8000-00000000000a', '4ef00000-0000-4000-8000-0000000000f1', 'unknown')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('4ef00000-0000-4000-8000-00000000000a', '4ef00000-0000-4000-8000-0000000000f1', '1:3', '{email}', '{1}')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('4ef00000-0000-4000-8000-00000000000b', '4ef00000-0000-4000-8000-0000000000f1', '1:3')$$);
SELECT count(*) AS rows FROM attribution.attribution_allocations WHERE tenant_id IN (:tenant, :other);

-- The conversion takes its refund with it: 101 are 25.25 and 75.75, so 25 and 76; 40 of 101 by these are 9.9 and 30.1.
SELECT channel, weight, allocation_ratio, allocated_revenue_cents FROM attribution.allocate_event(:tenant, :c1, '1:3');
SELECT * FROM pg_temp.allocated(:r1, '1:3');
SELECT event_id = :r1 AS is_refund, correlation_id, id = attribution.allocation_id(tenant_id, event_id, model_version, channel, CASE event_id WHEN :c1 THEN '2024-06-01 12:00Z'::timestamptz ELSE '2024-06-02 12:00Z' END) AS own_id
FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = '1:3' ORDER BY event_id, channel;
-- A repeat returns what is stored.
SELECT channel, weight, allocation_ratio, allocated_revenue_cents FROM attribution.allocate_event(:tenant, :r1, '1:3');
-- A later one: 15 and 46 are left; 59 of these are 14.5 and 44.5, and the smaller tie key takes the cent.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES (:tenant, :r2, 'refund', '2024-06-03 12:00Z', :c1, -59);
SELECT channel, weight, allocation_ratio, allocated_revenue_cents FROM attribution.allocate_event(:tenant, :r2, '1:3');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:tenant, :r3, 'refund', '2024-06-04 12:00Z', :c1, -1), (:tenant, :r4, 'refund', '2024-06-05 12:00Z', :c1, -1);
-- Allocating a refund allocates those before it, and those after it as well.
SELECT channel, weight, allocation_ratio, allocated_revenue_cents FROM attribution.allocate_event(:tenant, :r4, '1:3');
SELECT * FROM pg_temp.allocated(:r3, '1:3');
SELECT channel, sum(allocated_revenue_cents) AS left, count(*) AS rows FROM attribution.attribution_allocations
WHERE tenant_id = :tenant AND model_version = '1:3' GROUP BY channel ORDER BY channel;
-- Another version is another split of the same refunds, in one call.
SELECT count(*) FROM attribution.allocate_event(:tenant, :c1, 'last');
SELECT count(*) FROM attribution.allocate_event(:tenant, :c1, 'given', '{a,b,c,d}', '{1,1,1,0}');
SELECT model_version, channel, array_agg(allocated_revenue_cents ORDER BY right(event_id::text, 2)) FILTER (WHERE model_version = 'last') AS cents,
       sum(allocated_revenue_cents) AS left, count(*) FILTER (WHERE allocated_revenue_cents > 0 AND event_id <> :c1) AS wrong_sign
FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version IN ('last', 'given') GROUP BY model_version, channel ORDER BY model_version, channel;
-- Nothing is taken from a channel that has nothing.
SELECT count(*) AS rows FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = 'given' AND channel = 'd' AND event_id <> :c1;
-- The other tenant's conversion of the same id has no refunds.
SELECT count(*) AS rows, sum(allocated_revenue_cents) AS cents FROM attribution.allocate_event(:other, :c1, 'given', '{a}', '{1}');
SELECT count(*) AS rows FROM attribution.attribution_allocations WHERE tenant_id = :other;

-- A new version of a conversion takes its refunds with it, whatever the range; a refund in the range does not take its conversion.
SELECT count(*) AS refunded FROM attribution.attribution_events WHERE tenant_id = :tenant AND event_type = 'refund' AND occurred_at < '2024-06-02 00:00Z';
DO $$ BEGIN PERFORM attribution.define_model('4ef00000-0000-4000-8000-00000000000a', 'range', 'linear'); END $$;
CALL attribution.allocate_events(:tenant, 'range', '2024-06-02 00:00Z', NULL) \g /dev/null
SELECT count(*) AS rows FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = 'range';
CALL attribution.allocate_events(:tenant, 'range', NULL, '2024-06-02 00:00Z') \g /dev/null
SELECT right(event_id::text, 2) AS event, sum(allocated_revenue_cents) AS cents FROM attribution.attribution_allocations
WHERE tenant_id = :tenant AND model_version = 'range' GROUP BY event_id ORDER BY event_id;
-- A version of the caller's weights allocates refunds only, of what is allocated.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:tenant, :c2, 'conversion', '2024-06-10 12:00Z', NULL, 10), (:tenant, '4ef00000-0000-4000-8000-0000000000f6', 'refund', '2024-06-11 12:00Z', :c2, -3);
CALL attribution.allocate_events(:tenant, 'given') \g /dev/null
SELECT count(*) AS rows FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND event_id IN (:c2, '4ef00000-0000-4000-8000-0000000000f6');
SELECT count(*) FROM attribution.allocate_event(:tenant, :c2, 'given', '{a,b}', '{2,3}');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:tenant, '4ef00000-0000-4000-8000-0000000000f7', 'refund', '2024-06-12 12:00Z', :c2, -5),
    -- It comes late, and is taken from what the others have left.
    (:tenant, '4ef00000-0000-4000-8000-0000000000f5', 'refund', '2024-06-10 13:00Z', :c2, -1);
CALL attribution.allocate_events(:tenant, 'given', '2024-06-12 00:00Z') \g /dev/null
SELECT right(event_id::text, 2) AS event, string_agg(format('%s %s of %s', channel, allocated_revenue_cents, weight), ', ' ORDER BY channel) AS cents
FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND event_id IN (:c2, '4ef00000-0000-4000-8000-0000000000f5', '4ef00000-0000-4000-8000-0000000000f6', '4ef00000-0000-4000-8000-0000000000f7')
GROUP BY event_id ORDER BY 1;
-- The same weights again return the conversion and take what has been refunded since.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:tenant, '4ef00000-0000-4000-8000-0000000000f8', 'refund', '2024-06-13 12:00Z', :c2, -1);
SELECT channel, allocated_revenue_cents FROM attribution.allocate_event(:tenant, :c2, 'given', '{a,b}', '{4,6}');
SELECT sum(allocated_revenue_cents) AS left, min(allocated_revenue_cents) FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = 'given' AND event_id <> :c1
AND event_id NOT IN (SELECT id FROM attribution.attribution_events WHERE tenant_id = :tenant AND refund_of = :c1);
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id IN (:tenant, :other);

-- Under one snapshot too, a refund is taken from what those before it have left.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:tenant, '4ef00000-0000-4000-8000-0000000000c3', 'conversion', '2024-06-20 12:00Z', NULL, 3),
    (:tenant, '4ef00000-0000-4000-8000-0000000000d1', 'refund', '2024-06-21 12:00Z', '4ef00000-0000-4000-8000-0000000000c3', -1),
    (:tenant, '4ef00000-0000-4000-8000-0000000000d2', 'refund', '2024-06-22 12:00Z', '4ef00000-0000-4000-8000-0000000000c3', -1),
    (:tenant, '4ef00000-0000-4000-8000-0000000000d3', 'refund', '2024-06-23 12:00Z', '4ef00000-0000-4000-8000-0000000000c3', -1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM attribution.allocate_event(:tenant, '4ef00000-0000-4000-8000-0000000000c3', 'given', '{a,b,c}', '{1,1,1}');
SELECT allocated_revenue_cents, weight FROM attribution.allocate_event(:tenant, '4ef00000-0000-4000-8000-0000000000d3', 'given') ORDER BY 1;
COMMIT;
SELECT count(DISTINCT channel) AS channels, count(*) AS rows, bool_and(left_over = 0) AS zero
FROM (SELECT channel, sum(allocated_revenue_cents) OVER (PARTITION BY channel) AS left_over FROM attribution.attribution_allocations
      WHERE tenant_id = :tenant AND model_version = 'given'
        AND event_id::text ~ '0000000000(c3|d.)$') AS x;

--
-- Some hundred sequences: every way to allocate them gives what another computation gives
--
\set generated '''4ef00000-0000-4000-8000-00000000000c'''
INSERT INTO attribution.tenants (id, name) VALUES (:generated, 'refund, generated');
SELECT attribution.define_model(:generated, v.version, v.method, v.parameters::jsonb)
FROM (VALUES ('linear', 'linear', '{}'), ('decay', 'time_decay', '{"half_life_days": 0.1}'), ('given', 'custom', '{}')) AS v (version, method, parameters)
\g /dev/null
CREATE FUNCTION pg_temp.drawn(n integer, k integer, what text, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN ('x' || left(md5(format('%s/%s/%s', n, k, what)), 15))::bit(60)::bigint % below;
-- 80 conversions, so 240 sequences: of 1 cent to some thousands, 1 to 8 channels, 1 to 9 refunds; every other one is refunded in full.
CREATE TEMP TABLE planned AS SELECT * FROM attribution.attribution_events WHERE false;
DO $$
DECLARE
    cents bigint;
    left_over bigint;
    taken bigint;
    refunds bigint;
BEGIN
    FOR n IN 1 .. 80 LOOP
        cents := 1 + pg_temp.drawn(n, 0, 'cents', (ARRAY[4, 12, 100, 5000])[1 + n % 4]);
        INSERT INTO planned (id, event_type, occurred_at, session_id, channel, revenue_cents)
        SELECT md5(format('touch %s/%s', n, k))::uuid, 'touch', '2024-07-01Z'::timestamptz + n * interval '1 hour' - k * interval '17 minutes', md5('session ' || n)::uuid, 'channel ' || k, 0
        FROM generate_series(1, 1 + pg_temp.drawn(n, 0, 'channels', 8)) AS k;
        INSERT INTO planned (id, event_type, occurred_at, session_id, revenue_cents)
        VALUES (md5('conversion ' || n)::uuid, 'conversion', '2024-07-01Z'::timestamptz + n * interval '1 hour', md5('session ' || n)::uuid, cents);
        left_over := cents;
        refunds := 1 + pg_temp.drawn(n, 0, 'refunds', 9);
        FOR k IN 1 .. refunds LOOP
            EXIT WHEN left_over = 0;
            taken := CASE WHEN k = refunds AND n % 2 = 0 THEN left_over ELSE 1 + pg_temp.drawn(n, k, 'taken', (left_over + 1) / 2) END;
            left_over := left_over - taken;
            -- Several at the same moment, some before the conversion.
            INSERT INTO planned (id, event_type, occurred_at, refund_of, revenue_cents)
            VALUES (md5(format('refund %s/%s', n, k))::uuid, 'refund', '2024-07-01Z'::timestamptz + n * interval '1 hour' + (pg_temp.drawn(n, k, 'time', 30) - 3) * interval '1 day',
                    md5('conversion ' || n)::uuid, -taken);
        END LOOP;
    END LOOP;
    UPDATE planned SET tenant_id = '4ef00000-0000-4000-8000-00000000000c', created_at = now(), updated_at = now();
END $$;
SELECT count(*) FILTER (WHERE event_type = 'conversion') AS conversions, count(*) FILTER (WHERE event_type = 'refund') > 200 AS many_refunds FROM planned;

-- By weights from the caller: channel k weighs k, or nothing where k is divisible by 3.
CREATE FUNCTION pg_temp.give(conversion_id uuid, model_version text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF model_version <> 'given' THEN
        RETURN count(*) FROM attribution.allocate_event('4ef00000-0000-4000-8000-00000000000c', conversion_id, model_version);
    END IF;
    RETURN (SELECT count(a) FROM (
                SELECT array_agg(t.channel) AS channels, array_agg((CASE WHEN split_part(t.channel, ' ', 2)::int % 3 = 0 THEN 0 ELSE split_part(t.channel, ' ', 2)::numeric END)) AS weights
                FROM planned AS c JOIN planned AS t ON t.session_id = c.session_id AND t.event_type = 'touch' WHERE c.id = conversion_id) AS w,
            LATERAL attribution.allocate_event('4ef00000-0000-4000-8000-00000000000c', conversion_id, 'given', w.channels, w.weights) AS a);
END $$;
CREATE VIEW pg_temp.outcome AS
    SELECT event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents, id FROM attribution.attribution_allocations
    WHERE tenant_id = '4ef00000-0000-4000-8000-00000000000c';
-- Allocates everything in one way, returns a digest of all rows and takes it back.
CREATE FUNCTION pg_temp.digest_of(way text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    version text;
    r planned;
    digest text;
BEGIN
    INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'touch';
    INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'conversion';
    IF way = 'with the conversion' THEN
        INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'refund';
    END IF;
    FOREACH version IN ARRAY '{linear,decay,given}'::text[] LOOP
        PERFORM pg_temp.give(p.id, version) FROM planned AS p WHERE p.event_type = 'conversion' ORDER BY p.id;
    END LOOP;
    IF way = 'one by one' THEN
        FOR r IN SELECT * FROM planned WHERE event_type = 'refund' ORDER BY occurred_at, id LOOP
            INSERT INTO attribution.attribution_events VALUES (r.*);
            PERFORM attribution.allocate_event(r.tenant_id, r.id, v) FROM unnest('{decay,given,linear}'::text[]) AS v;
        END LOOP;
    ELSIF way = 'the last first' THEN
        INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'refund';
        PERFORM attribution.allocate_event(p.tenant_id, p.id, v) FROM unnest('{decay,given,linear}'::text[]) AS v, LATERAL (SELECT * FROM planned WHERE event_type = 'refund' ORDER BY occurred_at DESC, id DESC) AS p;
    ELSIF way = 'by the conversion again' THEN
        INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'refund';
        PERFORM pg_temp.give(p.id, v) FROM unnest('{decay,given,linear}'::text[]) AS v, planned AS p WHERE p.event_type = 'conversion';
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
    digest := (SELECT count(*) || ' ' || md5(string_agg(o::text, E'\n' ORDER BY o::text)) FROM pg_temp.outcome AS o);
    RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN digest;
END $$;
CREATE TEMP TABLE digests (way text, digest text);
INSERT INTO digests SELECT way, pg_temp.digest_of(way) FROM unnest('{with the conversion,one by one,the last first,by the conversion again}'::text[]) AS way;
SELECT count(*) AS rows FROM pg_temp.outcome;

-- allocate_events(), in large batches and in small: conversion and refunds in the same one and in different ones, refunds after and before.
INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type <> 'refund';
DO $$ BEGIN PERFORM pg_temp.give(id, 'given') FROM planned WHERE event_type = 'conversion'; END $$;
INSERT INTO attribution.attribution_events SELECT * FROM planned WHERE event_type = 'refund';
CREATE PROCEDURE pg_temp.note(way text) LANGUAGE sql AS $$
    INSERT INTO digests SELECT way, count(*) || ' ' || md5(string_agg(o::text, E'\n' ORDER BY o::text)) FROM pg_temp.outcome AS o;
$$;
CALL attribution.allocate_events(:generated, 'linear', batch_size => 1000) \g /dev/null
CALL attribution.allocate_events(:generated, 'decay', batch_size => 1) \g /dev/null
CALL attribution.allocate_events(:generated, 'given', batch_size => 13) \g /dev/null
CALL pg_temp.note('CALL 1000, 1, 13');
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :generated AND (model_version <> 'given' OR event_id IN (SELECT id FROM planned WHERE refund_of IS NOT NULL));
CALL attribution.allocate_events(:generated, 'linear', batch_size => 1) \g /dev/null
CALL attribution.allocate_events(:generated, 'decay', '2024-07-04Z', batch_size => 7) \g /dev/null
CALL attribution.allocate_events(:generated, 'decay', '2024-07-03Z', '2024-07-04Z', batch_size => 7) \g /dev/null
CALL attribution.allocate_events(:generated, 'decay', batch_size => 50) \g /dev/null
CALL attribution.allocate_events(:generated, 'given', batch_size => 1) \g /dev/null
CALL pg_temp.note('CALL 1, 7, 1');
SELECT count(*) AS ways, count(DISTINCT digest) AS results, count(digest) AS kept FROM digests;
SELECT way, digest FROM digests WHERE digest <> (SELECT digest FROM digests WHERE way = 'one by one');

-- The other computation: floors of what each refund takes of what is left, then a cent each to the largest remainders, equal ones by the tie key.
CREATE FUNCTION pg_temp.expected() RETURNS TABLE (event_id uuid, model_version text, channel text, weight numeric, cents numeric) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    CREATE TEMP TABLE remaining AS SELECT a.event_id AS conversion_id, a.model_version AS version, a.channel AS name, a.allocated_revenue_cents::numeric AS cents
    FROM pg_temp.outcome AS a JOIN planned AS p ON p.id = a.event_id AND p.event_type = 'conversion';
    CREATE INDEX ON remaining (conversion_id, version);
    CREATE TEMP TABLE taken (event_id uuid, version text, conversion_id uuid, name text, weight numeric, cents numeric);
    FOR r IN SELECT * FROM planned WHERE event_type = 'refund' ORDER BY occurred_at, id LOOP
        WITH floors AS (
            SELECT m.version, m.name, m.cents, div(-r.revenue_cents * m.cents, m.whole) AS floor_cents, mod(-r.revenue_cents * m.cents, m.whole) AS rest
            FROM (SELECT x.*, sum(x.cents) OVER (PARTITION BY x.version) AS whole FROM remaining AS x WHERE x.conversion_id = r.refund_of AND x.cents > 0) AS m),
        ranked AS (
            SELECT f.*, row_number() OVER (PARTITION BY f.version ORDER BY f.rest DESC, attribution.allocation_tie_key(r.tenant_id, r.id, f.version, f.name)) AS place,
                   -r.revenue_cents - sum(f.floor_cents) OVER (PARTITION BY f.version) AS left_over
            FROM floors AS f)
        INSERT INTO taken SELECT r.id, k.version, r.refund_of, k.name, k.cents, -(k.floor_cents + (k.place <= k.left_over)::int) FROM ranked AS k;
        UPDATE remaining AS m SET cents = m.cents + t.cents FROM taken AS t
        WHERE t.event_id = r.id AND m.conversion_id = r.refund_of AND (m.conversion_id, m.version, m.name) = (t.conversion_id, t.version, t.name);
    END LOOP;
    RETURN QUERY SELECT t.event_id, t.version, t.name, t.weight, t.cents FROM taken AS t;
END $$;
CREATE TEMP TABLE expected AS SELECT * FROM pg_temp.expected();
CREATE TEMP TABLE found AS SELECT o.event_id, o.model_version, o.channel, o.weight, o.allocated_revenue_cents::numeric AS cents FROM pg_temp.outcome AS o JOIN planned AS p ON p.id = o.event_id AND p.event_type = 'refund';
SELECT count(*) > 1500 AS many FROM found;
(TABLE expected EXCEPT ALL TABLE found) UNION ALL (TABLE found EXCEPT ALL TABLE expected) ORDER BY 1, 2, 3;
-- After no refund is any channel below zero, and a full refund leaves nothing anywhere; sums and ratios are exact.
WITH running AS (
    SELECT coalesce(p.refund_of, p.id) AS conversion_id, o.model_version, o.channel, p.refund_of,
           sum(o.allocated_revenue_cents) OVER (PARTITION BY coalesce(p.refund_of, p.id), o.model_version, o.channel ORDER BY p.refund_of IS NOT NULL, p.occurred_at, p.id) AS left_over,
           sum(o.allocated_revenue_cents) OVER (PARTITION BY coalesce(p.refund_of, p.id), o.model_version, o.channel) AS at_the_end,
           sum(o.allocated_revenue_cents) OVER (PARTITION BY coalesce(p.refund_of, p.id), o.model_version) AS of_all
    FROM pg_temp.outcome AS o JOIN planned AS p ON p.id = o.event_id)
SELECT count(DISTINCT conversion_id) FILTER (WHERE of_all = 0) >= 40 AS many_in_full, count(*) FILTER (WHERE left_over < 0) AS below_zero, count(*) FILTER (WHERE of_all = 0 AND at_the_end <> 0) AS not_zero_at_the_end
FROM running;
SELECT event_id, model_version FROM pg_temp.outcome GROUP BY event_id, model_version HAVING sum(allocation_ratio) <> 1;
SELECT v.model_version, count(*) AS not_allocated FROM planned AS p, unnest('{linear,decay,given}'::text[]) AS v (model_version)
WHERE p.event_type <> 'touch' AND NOT EXISTS (SELECT FROM pg_temp.outcome AS o WHERE (o.event_id, o.model_version) = (p.id, v.model_version)) GROUP BY 1;
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id = :generated;
-- What is posted nets to zero per channel of a conversion that was refunded in full.
SELECT attribution.post_allocations(:generated, 'linear') = (SELECT count(*) FROM pg_temp.outcome WHERE model_version = 'linear') AS all_posted;
SELECT count(*) AS channels, count(*) FILTER (WHERE posted = 0) = count(*) AS all_zero
FROM (SELECT l.conversion_id, a.channel, sum(l.revenue_cents) AS posted, sum(sum(l.revenue_cents)) OVER (PARTITION BY l.conversion_id) AS net
      FROM attribution.revenue_ledger AS l JOIN attribution.attribution_allocations AS a ON a.tenant_id = l.tenant_id AND a.id = l.allocation_id
      WHERE l.tenant_id = :generated GROUP BY l.conversion_id, a.channel) AS p
WHERE net = 0;
