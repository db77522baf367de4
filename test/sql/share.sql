-- share: allocate_share() splits a total over the rows of a window partition.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';

--
-- One partition
--
SELECT channel, weight, attribution.allocate_share(1001, weight) OVER (ORDER BY channel) AS cents
FROM (VALUES ('a', 50), ('b', 30), ('c', 20)) AS v (channel, weight);
-- Ties go to the earlier row in the order of the window.
SELECT k, attribution.allocate_share(-100, 1) OVER (ORDER BY k) AS first, attribution.allocate_share(-100, 1) OVER (ORDER BY k DESC) AS last
FROM generate_series(1, 3) AS k ORDER BY k;
-- Without ORDER BY, and among peers: in the order in which the window gets them.
SELECT k, attribution.allocate_share(200, 1) OVER () AS unordered, attribution.allocate_share(200, 1) OVER (ORDER BY k / 10) AS peers
FROM generate_series(1, 3) AS k;
-- Weight 0, total 0, one row, fewer cents than rows, no row.
SELECT attribution.allocate_share(5, weight) OVER (ORDER BY k) AS cents FROM (VALUES (1, 0), (2, 7), (3, 0.00)) AS v (k, weight);
SELECT attribution.allocate_share(0, 3.5) OVER (ORDER BY k) AS cents FROM generate_series(1, 2) AS k;
SELECT attribution.allocate_share(42, 1e-16383) OVER () AS cents;
SELECT attribution.allocate_share(2, 1) OVER (ORDER BY k) AS cents FROM generate_series(1, 5) AS k;
SELECT attribution.allocate_share(100, 1) OVER () AS cents FROM generate_series(1, 0);
-- Both ends of bigint, and weights that no double holds.
SELECT attribution.allocate_share(9223372036854775807, 1) OVER (ORDER BY k) AS highest,
       attribution.allocate_share(-9223372036854775808, 1) OVER (ORDER BY k) AS lowest,
       attribution.allocate_share(100, CASE k WHEN 1 THEN 1e131071 ELSE 1e131071 + 1e-16383 END) OVER (ORDER BY k) AS wide
FROM generate_series(1, 3) AS k;

--
-- Many partitions: the same as allocate_cents() on arrays. The cases come from an arithmetic
-- sequence; their rows are stored interleaved.
--
CREATE TEMP TABLE input AS
SELECT i, k, weight,
       CASE i % 6
           WHEN 0 THEN i                                             -- small
           WHEN 1 THEN -(i * 7919 % 100003)                          -- negative
           WHEN 2 THEN (i::numeric * 2862933555777941757 % 9007199254740993)::bigint
           WHEN 3 THEN 9223372036854775807 - i                       -- the ends
           WHEN 4 THEN (-9223372036854775808)::bigint + i
           ELSE i % 13                                               -- fewer cents than rows
       END AS total
FROM (
    SELECT i, k,
           CASE (i + k) % 7
               WHEN 0 THEN 0
               WHEN 1 THEN 1
               WHEN 2 THEN ((i * 31 + k * 17) % 10) * 0.1
               WHEN 3 THEN (i * 104729 + k * 7919) % 1000003
               WHEN 4 THEN ((i * 15485863::bigint + k * 32452843) % 999999937) * 0.000000001
               WHEN 5 THEN ((i * 15485863::bigint + k) % 1000003) * 100000000000000000000.000000000000000000001
               ELSE 1
           END AS weight
    FROM generate_series(1, 2000) AS i, generate_series(1, 12) AS k
    WHERE k <= 1 + i % 12) AS v
WHERE EXISTS (SELECT FROM generate_series(1, 1 + i % 12) AS one WHERE (i + one) % 7 IN (1, 6))
ORDER BY k * 7 % 13, i * 1117 % 2003;
CREATE TEMP TABLE shares AS
SELECT i, k, total, weight, attribution.allocate_share(total, weight) OVER (PARTITION BY i ORDER BY k) AS cents FROM input;
SELECT count(DISTINCT i) AS cases, count(*) AS shares, count(DISTINCT cents) > 2000 AS different FROM shares;
SELECT i, total, sum(cents) FROM shares GROUP BY i, total HAVING sum(cents) <> total ORDER BY i;
SELECT i FROM shares GROUP BY i, total
HAVING array_agg(cents ORDER BY k) IS DISTINCT FROM attribution.allocate_cents(total, array_agg(weight ORDER BY k)) ORDER BY i;
-- The other way round, ties go the other way.
SELECT i
FROM (SELECT i, k, total, weight, attribution.allocate_share(total, weight) OVER (PARTITION BY i ORDER BY k DESC) AS cents FROM input) AS s
GROUP BY i, total
HAVING array_agg(cents ORDER BY k DESC) IS DISTINCT FROM attribution.allocate_cents(total, array_agg(weight ORDER BY k DESC)) ORDER BY i;
-- In any order the cents are all there, and none strays further than a cent.
SELECT i
FROM (SELECT i, total, weight, sum(weight) OVER (PARTITION BY i) AS sum, attribution.allocate_share(total, weight) OVER (PARTITION BY i) AS cents FROM input) AS s
GROUP BY i, total HAVING sum(cents) <> total OR bool_or(abs(cents * sum - total * weight) >= sum) ORDER BY i;
-- The frame does not matter.
SELECT count(*) AS rows, count(*) FILTER (WHERE cents = b AND cents = c AND cents = d AND cents = e) AS same
FROM (
    SELECT attribution.allocate_share(total, weight) OVER w AS cents,
           attribution.allocate_share(total, weight) OVER (w ROWS BETWEEN CURRENT ROW AND CURRENT ROW) AS b,
           attribution.allocate_share(total, weight) OVER (w ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING) AS c,
           attribution.allocate_share(total, weight) OVER (w GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) AS d,
           attribution.allocate_share(total, weight) OVER (w ROWS UNBOUNDED PRECEDING EXCLUDE GROUP) AS e
    FROM input WINDOW w AS (PARTITION BY i ORDER BY k)) AS s;
-- Two splits of one partition, and a subquery that runs again for each outer row.
SELECT t, (SELECT array_agg(s.cents ORDER BY s.k) FROM (SELECT k, attribution.allocate_share(t, k) OVER (ORDER BY k) AS cents FROM generate_series(1, t) AS k) AS s) AS shares
FROM generate_series(1, 6) AS t;
SELECT k, attribution.allocate_share(100, k) OVER w AS up, attribution.allocate_share(7, 4 - k) OVER w AS down
FROM generate_series(1, 3) AS k WINDOW w AS (ORDER BY k);

-- As many rows as the limit says, more than work_mem holds; each of them gets its own.
SELECT count(*) AS rows, sum(cents) AS cents, min(cents), max(cents), count(*) FILTER (WHERE cents = k - 1) AS exact
FROM (SELECT k, attribution.allocate_share(499999500000, k - 1) OVER (ORDER BY k) AS cents FROM generate_series(1, 1000000) AS k) AS s;
CALL pg_temp.attempt($$SELECT attribution.allocate_share(1, 1) OVER () FROM generate_series(1, 1000001)$$);

--
-- Totals that are NULL: no total, no shares, and nobody looks at the weights, as in a strict function.
--
SELECT attribution.allocate_share(NULL, weight) OVER (ORDER BY k) AS cents FROM (VALUES (1, 1), (2, NULL), (3, -1)) AS v (k, weight);
SELECT p, attribution.allocate_share(total, 1) OVER (PARTITION BY p ORDER BY k) AS cents
FROM (VALUES (1, 1, 3), (1, 2, 3), (2, 1, NULL), (2, 2, NULL), (3, 1, -3), (3, 2, -3)) AS v (p, k, total) ORDER BY p, k;

--
-- What is refused
--
CREATE FUNCTION pg_temp.share(totals bigint[], weights numeric[]) RETURNS bigint[] LANGUAGE sql
    RETURN (SELECT array_agg(cents) FROM (
        SELECT attribution.allocate_share(total, weight) OVER (ORDER BY k) AS cents FROM unnest(totals, weights) WITH ORDINALITY AS v (total, weight, k)) AS s);
SELECT pg_temp.share('{10, 10}', '{1, 1}');
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10, 11}', '{1, 1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{-9223372036854775808, 9223372036854775807}', '{1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10, NULL}', '{1, 1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{NULL, 10, 10}', '{1, 1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{NULL, 0}', '{1, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{1, NULL}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{1, -0.5}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{NaN, 1}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{1, Infinity}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{1, -Infinity}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{10, 10}', '{0, 0.00}')$$);
CALL pg_temp.attempt($$SELECT pg_temp.share('{0}', '{0}')$$);
-- One bad partition among good ones.
CALL pg_temp.attempt($$SELECT attribution.allocate_share(10, k / 5) OVER (PARTITION BY k / 3) FROM generate_series(0, 20) AS k$$);
-- Too far apart, and too long: the first are read to the end, of the others there are 10 GB.
CALL pg_temp.attempt($$SELECT attribution.allocate_share(100, CASE k WHEN 1 THEN 1e131071 ELSE 1e-16383 END) OVER () FROM generate_series(1, 1001) AS k$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_share(100, long.weight) OVER ()
    FROM (SELECT repeat('7', 131072)::numeric AS weight) AS long, generate_series(1, 200000) AS k$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_share(100, 1)$$);
-- An operator takes a window function, and has no window.
CREATE OPERATOR pg_temp.@@@ (FUNCTION = attribution.allocate_share, LEFTARG = bigint, RIGHTARG = numeric);
CALL pg_temp.attempt($$SELECT 10::bigint OPERATOR(pg_temp.@@@) 3::numeric$$);
DROP OPERATOR pg_temp.@@@ (bigint, numeric);
CALL pg_temp.attempt($$SELECT attribution.allocate_share(9223372036854775808, 1) OVER ()$$);

-- A cancelled call ends before its last row, which would raise 22004, and leaves the session as it was.
SET statement_timeout = '500ms';
SELECT attribution.allocate_share(100, CASE WHEN k < 200000 THEN ln(k + 0.5::numeric(250, 200)) END) OVER () FROM generate_series(1, 200000) AS k;
RESET statement_timeout;
SELECT attribution.allocate_share(100, k) OVER (ORDER BY k) AS cents FROM generate_series(1, 3) AS k;

--
-- Allocations by hand: one statement for many events, and the check at COMMIT agrees.
--
\set tenant '''5ba4e000-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'share');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :tenant, ('5ba4e000-0000-4000-8001-' || lpad(to_hex(i), 12, '0'))::uuid, 'conversion', '2024-03-01 12:00Z', 1 + i * 7919 % 100003
FROM generate_series(1, 500) AS i;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, weight, allocated_revenue_cents)
SELECT e.tenant_id, e.id, 'by hand', c.channel, c.weight,
       attribution.allocate_share(e.revenue_cents, c.weight) OVER (PARTITION BY e.tenant_id, e.id ORDER BY c.channel COLLATE "C")
FROM attribution.attribution_events AS e, (VALUES ('email', 0.4), ('organic', 0.35), ('tv', 1.1)) AS c (channel, weight)
WHERE e.tenant_id = :tenant;
SELECT count(*) AS rows, count(DISTINCT event_id) AS events, sum(allocated_revenue_cents) = (
           SELECT sum(revenue_cents) FROM attribution.attribution_events WHERE tenant_id = :tenant) AS exact
FROM attribution.attribution_allocations WHERE tenant_id = :tenant;
-- A partition that mixes events is noticed.
CALL pg_temp.attempt($$SELECT attribution.allocate_share(revenue_cents, 1) OVER (PARTITION BY tenant_id ORDER BY id)
    FROM attribution.attribution_events WHERE tenant_id = '5ba4e000-0000-4000-8000-00000000000a'$$);
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :tenant;
DELETE FROM attribution.attribution_events WHERE tenant_id = :tenant;
DELETE FROM attribution.tenants WHERE id = :tenant;
