-- Fills a template database: 20,000 conversions that are allocated already, and :events that are not, with a
-- journey of five touches each, and beside the tables the rows that allocating them leads to. Deterministic:
-- the same :events gives the same rows everywhere.
--
-- Why something is there already: plans made for tables that were never analysed are guesses, and a plan of a
-- trigger is kept for the whole session. README.md says what that costs.

SET client_min_messages = warning;
CREATE EXTENSION attribution;
CREATE EXTENSION pg_prewarm;
CREATE SCHEMA bench;

CREATE FUNCTION bench.below(bound integer, seed text) RETURNS integer
    LANGUAGE sql IMMUTABLE
    RETURN mod(('x' || left(md5(seed), 7))::bit(28)::integer, bound);

-- What a caller has in hand: ten tenants, five of eight channels, each touched once. The ids are those that
-- ingest_event() gives to orders, so they have no order in time. Numbers up to 0 are the history.
CREATE TABLE bench.conversions AS
SELECT n - 20000 AS number, t.tenant_id,
       attribution.keyed_event_id(t.tenant_id, 'shopify:order:' || n, NULL) AS event_id,
       'shopify:order:' || n AS external_event_id,
       '2026-01-01 00:00:00+00'::timestamptz + n * interval '7 seconds' AS occurred_at,
       100 + bench.below(100000, n::text) AS revenue_cents,
       md5('session:' || n)::uuid AS session_id,
       c.channels, array_fill(1::numeric, '{5}') AS weights
FROM generate_series(1, 20000 + :events) AS n,
     LATERAL (SELECT ('00000000-0000-7000-8000-' || lpad((n % 10)::text, 12, '0'))::uuid) AS t (tenant_id),
     LATERAL (SELECT array_agg(('{affiliate,direct,display,email,organic,paid_search,paid_social,referral}'
                               ::text[])[(n + k) % 8 + 1] ORDER BY k)
              FROM generate_series(1, 5) AS k) AS c (channels);

CREATE TABLE bench.journeys AS
SELECT number, tenant_id, event_id, channels, weights
FROM bench.conversions WHERE number > 0 ORDER BY number;
ALTER TABLE bench.journeys ADD PRIMARY KEY (number);

CREATE PROCEDURE bench.allocate_history(first integer, last integer)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*)
    FROM (SELECT * FROM bench.conversions WHERE number BETWEEN first AND last ORDER BY number OFFSET 0) c,
         LATERAL attribution.allocate_event(c.tenant_id, c.event_id, '1.0.0', c.channels, c.weights);
END $$;

-- All conversions, with touches one hour apart before them where they are wanted, in the order in which they
-- happened: the touches of a journey lie among those of others. And allocations of a hundred conversions, so
-- that there is something to analyse.
CREATE PROCEDURE bench.start(with_touches boolean)
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attribution.tenants (id, name)
    SELECT DISTINCT tenant_id, 'shop ' || right(tenant_id::text, 1) FROM bench.conversions;
    INSERT INTO attribution.attribution_events
        (tenant_id, id, event_type, occurred_at, external_event_id, session_id, channel, source, revenue_cents)
    SELECT c.tenant_id, coalesce(attribution.keyed_event_id(c.tenant_id, t.key, NULL), c.event_id),
           CASE WHEN k = 6 THEN 'conversion' ELSE 'touch' END, c.occurred_at - (6 - k) * interval '1 hour',
           coalesce(t.key, c.external_event_id), c.session_id, c.channels[k],
           CASE WHEN k = 6 THEN 'shopify' ELSE 'pixel' END, CASE WHEN k = 6 THEN c.revenue_cents ELSE 0 END
    FROM bench.conversions c CROSS JOIN generate_series(CASE WHEN with_touches THEN 1 ELSE 6 END, 6) AS k,
         LATERAL (SELECT CASE WHEN k < 6 THEN 'pixel:touch:' || c.number || ':' || k END) AS t (key)
    ORDER BY 4, 2;
    CALL bench.allocate_history(-19999, -19900);
    ANALYZE attribution.attribution_events;
    ANALYZE attribution.attribution_allocations;
END $$;

-- The rows that allocating leaves, in the order in which it writes them.
CALL bench.start(false);
CREATE TABLE bench.allocations AS
SELECT j.number, a.*
FROM bench.journeys j,
     LATERAL attribution.allocate_event(j.tenant_id, j.event_id, '1.0.0', j.channels, j.weights) AS a
ORDER BY j.number, a.channel COLLATE "C";
CREATE INDEX ON bench.allocations (number);

-- They are the measure of every variant, so they are checked by other means: all there, each the floor
-- or the ceiling of its exact share, and equal to the revenue in sum.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT * FROM bench.conversions WHERE number > 0) j
            LEFT JOIN bench.allocations a USING (number),
            LATERAL (SELECT sum(w) FROM unnest(j.weights) AS w) AS t (total)
        GROUP BY number
        HAVING count(a.channel) <> 5 OR sum(a.allocated_revenue_cents) <> min(j.revenue_cents)
            OR bool_or(abs(a.allocated_revenue_cents * t.total - j.revenue_cents * a.weight) >= t.total))
    THEN
        RAISE EXCEPTION 'the precomputed allocations are wrong';
    END IF;
END $$;

-- Tables without a dead row.
SET attribution.allow_drop_with_rows = on;
DROP EXTENSION attribution CASCADE;
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
CALL bench.start(true);
CALL bench.allocate_history(-19899, 0);
DROP TABLE bench.conversions;
-- Of a view that was never refreshed, changes are not logged for ever.
CALL attribution.refresh_all('full');

\ir cpu_seconds.sql

VACUUM (FREEZE, ANALYZE);
