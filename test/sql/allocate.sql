-- allocate: cents are split without losing one, and an event is allocated once.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';

--
-- allocate_cents(total, weights). Two functions have this name, so a literal needs its type.
--
SELECT attribution.allocate_cents(100, '{1, 1, 1}'::numeric[]);
SELECT attribution.allocate_cents(-100, '{1, 1, 1}'::numeric[]);
SELECT attribution.allocate_cents(0, '{1, 1, 1}'::numeric[]);
SELECT attribution.allocate_cents(100, '{0, 5, 0}'::numeric[]);
SELECT attribution.allocate_cents(1, '{0.1, 0.2, 0.7}'::numeric[]);
SELECT attribution.allocate_cents(7, '{1}'::numeric[]);
-- The caller's array bounds do not matter.
SELECT attribution.allocate_cents(100, '[0:1]={1, 3}'::numeric[]);
-- Both ends of bigint.
SELECT attribution.allocate_cents(9223372036854775807, '{1, 1}'::numeric[]);
SELECT attribution.allocate_cents(-9223372036854775808, '{1, 1}'::numeric[]);
SELECT attribution.allocate_cents(-9223372036854775808, '{1, 1, 1}'::numeric[]);
SELECT attribution.allocate_cents(-9223372036854775808, '{1}'::numeric[]);
SELECT attribution.allocate_cents(9223372036854775807, '{1e-16383, 1e-16383}'::numeric[]);
SELECT attribution.allocate_cents(9223372036854775807, '{9223372036854775806, 1}'::numeric[]);
-- Doubles would answer {100, 0} here and get the last cents wrong there.
SELECT attribution.allocate_cents(100, '{1e131071, 1e131071}'::numeric[]);
SELECT attribution.allocate_cents(1000000000000000000, '{0.333333333333333333333333333333, 0.666666666666666666666666666667}'::numeric[]);
-- Strict.
SELECT attribution.allocate_cents(NULL, '{1}'::numeric[]) IS NULL AS no_total, attribution.allocate_cents(1, NULL::numeric[]) IS NULL AS no_weights;

CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{0, 0.000, -0}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(0, '{0}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{1, -0.0001}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{1, 2, NaN}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{Infinity, 1}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{1, -Infinity}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{1, NULL}'::numeric[])$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, '{{1, 2}, {3, 4}}'::numeric[])$$);
-- The limits are stated.
SELECT cardinality(shares) AS shares, shares[1] AS first, shares[1000000] AS last
FROM attribution.allocate_cents(1000001, array_fill(1::numeric, '{1000000}')) AS shares;
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, array_fill(1::numeric, '{1000001}'))$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, array_fill(1e-16383, '{1000}') || 1e131071)$$);

--
-- allocate_cents(total, parts)
--
SELECT attribution.allocate_cents(100, 3);
SELECT attribution.allocate_cents(-100, 3);
SELECT attribution.allocate_cents(2, 5);
SELECT attribution.allocate_cents(100, 1);
SELECT attribution.allocate_cents(0, 2);
SELECT attribution.allocate_cents(9223372036854775807, 2);
SELECT attribution.allocate_cents(-9223372036854775808, 3);
SELECT attribution.allocate_cents(NULL, 3) IS NULL AS no_total, attribution.allocate_cents(1, NULL::integer) IS NULL AS no_parts;
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, 0)$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, -1)$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_cents(100, 1000001)$$);
SELECT cardinality(attribution.allocate_cents(100, 1000000)) AS parts;

--
-- The rules of money, against an oracle in numeric. Totals and weights come from an arithmetic
-- sequence, so that every run and machine sees the same 3,000 cases.
--
CREATE TEMP TABLE cases AS
SELECT i,
       CASE i % 6
           WHEN 0 THEN i                                             -- small
           WHEN 1 THEN -(i * 7919 % 100003)                          -- negative
           WHEN 2 THEN (i::numeric * 2862933555777941757 % 9007199254740993)::bigint
           WHEN 3 THEN 9223372036854775807 - i                       -- the ends
           WHEN 4 THEN (-9223372036854775808)::bigint + i
           ELSE i % 13                                               -- fewer cents than channels
       END AS total,
       w.weights
FROM generate_series(1, 3000) AS i
CROSS JOIN LATERAL (
    SELECT array_agg(CASE (i + k) % 7
                         WHEN 0 THEN 0
                         WHEN 1 THEN 1
                         WHEN 2 THEN ((i * 31 + k * 17) % 10) * 0.1
                         WHEN 3 THEN (i * 104729 + k * 7919) % 1000003
                         WHEN 4 THEN ((i * 15485863::bigint + k * 32452843) % 999999937) * 0.000000001
                         WHEN 5 THEN ((i * 15485863::bigint + k) % 1000003) * 100000000000000000000.000000000000000000001
                         ELSE 1
                     END ORDER BY k) AS weights
    FROM generate_series(1, 1 + i % 12) AS k) AS w
WHERE (SELECT sum(weight) FROM unnest(w.weights) AS weight) > 0;
CREATE TEMP TABLE shares AS
SELECT c.i, c.total, s.k, s.weight, s.cents, sum(s.weight) OVER (PARTITION BY c.i) AS weight_sum
FROM cases AS c
CROSS JOIN LATERAL unnest(c.weights, attribution.allocate_cents(c.total, c.weights))
    WITH ORDINALITY AS s (weight, cents, k);
SELECT count(DISTINCT i) AS cases, count(*) AS shares FROM shares;

-- 1. The parts sum to the total.
SELECT i, total, sum(cents) FROM shares GROUP BY i, total HAVING sum(cents) <> total ORDER BY i;
-- 2. Each part is the floor or the ceiling of its exact share: |cents - total * weight / sum| < 1,
--    multiplied out, since numeric division rounds.
SELECT i, k FROM shares WHERE abs(cents * weight_sum - total * weight) >= weight_sum ORDER BY i, k;
-- 3. allocate(-x) = -allocate(x).
SELECT i
FROM cases JOIN (SELECT i, array_agg(-cents ORDER BY k) AS opposite FROM shares GROUP BY i) AS s USING (i)
WHERE attribution.allocate_cents(-total, weights) IS DISTINCT FROM opposite
ORDER BY i;
-- 4. Weight 0 gets 0.
SELECT i, k FROM shares WHERE weight = 0 AND cents <> 0 ORDER BY i, k;
-- 5. Only the ratios count.
SELECT i FROM cases
WHERE attribution.allocate_cents(total, (SELECT array_agg(weight * 0.00000000000000000000000000000037 ORDER BY k)
                                         FROM unnest(weights) WITH ORDINALITY AS w (weight, k)))
      IS DISTINCT FROM attribution.allocate_cents(total, weights)
ORDER BY i;
-- 7. and 8. Equal weights differ by at most a cent, a larger one never gets less.
SELECT a.i, a.k, b.k FROM shares AS a JOIN shares AS b USING (i)
WHERE (a.weight = b.weight AND abs(a.cents - b.cents) > 1)
   OR (a.weight > b.weight AND abs(a.cents) < abs(b.cents))
ORDER BY a.i, a.k, b.k;
-- The whole rule: floors, then one cent each to the largest remainders, the lower index first.
WITH floors AS (
    SELECT i, k, cents, total, div(abs(total::numeric) * weight, weight_sum) AS floor_cents,
           abs(total::numeric) * weight - div(abs(total::numeric) * weight, weight_sum) * weight_sum AS remainder
    FROM shares),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY i ORDER BY remainder DESC, k) AS place,
           abs(total::numeric) - sum(floor_cents) OVER (PARTITION BY i) AS left_over
    FROM floors)
SELECT i, k, cents FROM ranked
WHERE cents <> sign(total::numeric) * (floor_cents + CASE WHEN place <= left_over THEN 1 ELSE 0 END)
ORDER BY i, k;
-- Equal parts are equal weights.
SELECT i FROM cases
WHERE attribution.allocate_cents(total, cardinality(weights)) IS DISTINCT FROM
      attribution.allocate_cents(total, array_fill(2.5, ARRAY[cardinality(weights)]))
ORDER BY i;

--
-- allocate_event
--
\set tenant '''a110ca7e-0000-4000-8000-00000000000a'''
\set other '''a110ca7e-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'allocate'), (:other, 'allocate, other');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, channel, refund_of, revenue_cents, correlation_id) VALUES
    (:tenant, 'a110ca7e-0000-4000-8000-0000000000e0', 'touch', '2024-03-01 11:00Z', 'email', NULL, 0, NULL),
    (:tenant, 'a110ca7e-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 10000, 'pi_1'),
    (:tenant, 'a110ca7e-0000-4000-8000-0000000000e2', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 1, NULL),
    (:tenant, 'a110ca7e-0000-4000-8000-0000000000e3', 'refund', '2024-03-02 12:00Z', NULL, 'a110ca7e-0000-4000-8000-0000000000e1', -100, NULL),
    (:tenant, 'a110ca7e-0000-4000-8000-0000000000e4', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 9223372036854775807, NULL),
    (:other, 'a110ca7e-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 500, NULL);

-- Rows come in the order of the channels, with the weights as given and ratios that sum to 1.
SELECT channel, weight, allocation_ratio, allocated_revenue_cents, correlation_id, model_version,
       id = attribution.allocation_id(tenant_id, event_id, model_version, channel, '2024-03-01 12:00Z') AS own_id
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
                                '{paid search, organic, email, Email, メール}', '{1, 1, 1, 0.50, 0}');
SELECT sum(allocated_revenue_cents) AS cents, sum(allocation_ratio) AS ratio, count(*) AS rows
FROM attribution.attribution_allocations
WHERE tenant_id = :tenant AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1';
-- The model version is recorded as custom.
SELECT model_version, method, parameters FROM attribution.attribution_models WHERE tenant_id = :tenant;

-- The same call returns the same rows and writes nothing; so do weights of the same ratios in another order.
CREATE TEMP TABLE stored AS SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant;
SELECT count(*) AS returned, count(s.id) AS stored, bool_and(ROW(a.*) IS NOT DISTINCT FROM ROW(s.*)) AS same
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
                                '{paid search, organic, email, Email, メール}', '{1, 1, 1, 0.50, 0}') AS a
LEFT JOIN stored AS s ON s.id = a.id;
SELECT channel, weight, allocated_revenue_cents
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
                                '{Email, email, organic, paid search, メール}', '{1, 2, 2, 2, 0}');
(SELECT * FROM stored EXCEPT ALL SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant)
UNION ALL
(SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant EXCEPT ALL SELECT * FROM stored);

-- Others are refused with the difference, whatever it is.
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ca7e-0000-4000-8000-00000000000a', 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
    '{paid search, organic, email, Email, メール}', '{1, 1, 1, 0.51, 0}')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ca7e-0000-4000-8000-00000000000a', 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
    '{paid search, organic, email, Email}', '{1, 1, 1, 0.5}')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ca7e-0000-4000-8000-00000000000a', 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
    '{paid search, organic, email, Email, メール, tv}', '{1, 1, 1, 0.5, 0, 0}')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ca7e-0000-4000-8000-00000000000a', 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
    '{tv}', '{1}')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('a110ca7e-0000-4000-8000-00000000000a', 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0',
    '{a, b, c, d, e, f, g, h, i}', '{1, 2, 3, 4, 5, 6, 7, 8, 9}')$$);
(SELECT * FROM stored EXCEPT ALL SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant)
UNION ALL
(SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant EXCEPT ALL SELECT * FROM stored);

-- Another model version is another allocation of the same event.
SELECT channel, weight, allocated_revenue_cents
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e1', '1.1.0', '{tv}', '{1}');

-- Ties: not the first, but the smaller key gets the cent, whatever the order of the input.
SELECT channel, allocated_revenue_cents,
       rank() OVER (ORDER BY attribution.allocation_tie_key(tenant_id, event_id, model_version, channel)) AS tie_rank
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e2', '1.0.0', '{c, b, a}', '{1, 1, 1}')
ORDER BY channel;
SELECT channel, allocated_revenue_cents,
       rank() OVER (ORDER BY attribution.allocation_tie_key(tenant_id, event_id, model_version, channel)) AS tie_rank
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e2', '2', '{a, b, c}', '{1, 1, 1}')
ORDER BY channel;
-- Over many events no channel is favoured: of 1,000 single cents each of three takes about a third.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :tenant, ('a110ca7e-0000-4000-8001-' || lpad(to_hex(i), 12, '0'))::uuid, 'conversion', '2024-03-03 00:00Z', 1
FROM generate_series(1, 1000) AS i;
SELECT a.channel, sum(a.allocated_revenue_cents) AS cents
FROM generate_series(1, 1000) AS i,
     attribution.allocate_event(:tenant, ('a110ca7e-0000-4000-8001-' || lpad(to_hex(i), 12, '0'))::uuid, 'fair', '{a, b, c}', '{1, 1, 1}') AS a
GROUP BY a.channel ORDER BY a.channel;

-- The largest amount, and ratios by the rule of the cents.
SELECT channel, allocation_ratio, allocated_revenue_cents
FROM attribution.allocate_event(:tenant, 'a110ca7e-0000-4000-8000-0000000000e4', '1.0.0', '{a, b, c, d, e, f, g}', '{1, 1, 1, 1, 1, 1, 1}');

-- The tenant is part of the key: another tenant's event of the same id is another event.
SELECT tenant_id, channel, allocated_revenue_cents
FROM attribution.allocate_event(:other, 'a110ca7e-0000-4000-8000-0000000000e1', '1.0.0', '{tv}', '{1}');

-- Bad input: nothing is written.
CREATE FUNCTION pg_temp.allocate(channels text[], weights numeric[], model_version text DEFAULT 'bad',
                                 event_id uuid DEFAULT 'a110ca7e-0000-4000-8000-0000000000e4',
                                 tenant_id uuid DEFAULT 'a110ca7e-0000-4000-8000-00000000000a')
    RETURNS SETOF attribution.attribution_allocations LANGUAGE sql
    BEGIN ATOMIC SELECT * FROM attribution.allocate_event(tenant_id, event_id, model_version, channels, weights); END;
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{}', '{}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, NULL}', '{1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{1, NULL}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{0, 0}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{1, -1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{1, NaN}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{Infinity, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{{a, b}}', '{1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b}', '{{1, 1}}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, b, a}', '{1, 1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a, ""}', '{1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate(ARRAY[repeat('é', 128)], '{1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate((SELECT array_agg('c' || i) FROM generate_series(1, 10001) AS i), '{1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', array_fill(1::numeric, '{10001}'))$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate(NULL, '{1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', repeat('m', 256))$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', event_id => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', tenant_id => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', tenant_id => 'a110ca7e-0000-4000-8000-00000000000f')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', event_id => 'a110ca7e-0000-4000-8000-0000000000ef')$$);
-- An event of another tenant does not exist.
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', tenant_id => 'a110ca7e-0000-4000-8000-00000000000b')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', event_id => 'a110ca7e-0000-4000-8000-0000000000e0')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', event_id => 'a110ca7e-0000-4000-8000-0000000000e3')$$);
SELECT count(*) AS rows_of_bad_calls FROM attribution.attribution_allocations WHERE tenant_id = :tenant AND model_version = 'bad';
SELECT count(*) AS models_of_bad_calls FROM attribution.attribution_models WHERE tenant_id = :tenant AND model_version IN ('', 'bad');
-- A model that makes its weights itself takes none from the caller.
INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES (:tenant, 'linear', 'linear');
INSERT INTO attribution.attribution_models (tenant_id, model_version, method, parameters) VALUES (:tenant, 'weighted', 'custom', '{"email": 2}');
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', 'linear')$$);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', 'weighted')$$);
-- As many channels as the limit says, and texts as long.
SELECT count(*) AS rows, sum(allocated_revenue_cents) AS cents, sum(allocation_ratio) AS ratio
FROM pg_temp.allocate((SELECT array_agg(rpad('c' || i, 255, '.')) FROM generate_series(1, 10000) AS i),
                      (SELECT array_agg(i::numeric) FROM generate_series(1, 10000) AS i), repeat('m', 255));
-- Read-only.
BEGIN READ ONLY;
SELECT pg_temp.allocate('{a}', '{1}');
ROLLBACK;

-- The key of an allocation never changes, its amount may as long as the sum holds.
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET channel = 'radio' WHERE tenant_id = 'a110ca7e-0000-4000-8000-00000000000a' AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET model_version = '9' WHERE tenant_id = 'a110ca7e-0000-4000-8000-00000000000a' AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET event_id = 'a110ca7e-0000-4000-8000-0000000000e2' WHERE tenant_id = 'a110ca7e-0000-4000-8000-00000000000a' AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET tenant_id = 'a110ca7e-0000-4000-8000-00000000000b' WHERE tenant_id = 'a110ca7e-0000-4000-8000-00000000000a' AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET channel = channel, model_version = model_version, model_metadata = '{}' WHERE tenant_id = 'a110ca7e-0000-4000-8000-00000000000a' AND event_id = 'a110ca7e-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
-- Rows that were imported without weights cannot be compared with weights.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:tenant, 'a110ca7e-0000-4000-8000-0000000000e2', 'imported', 'a', 1);
CALL pg_temp.attempt($$SELECT pg_temp.allocate('{a}', '{1}', 'imported', 'a110ca7e-0000-4000-8000-0000000000e2')$$);
