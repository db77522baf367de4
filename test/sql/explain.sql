-- explain: explain_allocation() says why each cent of a stored allocation went where it is.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';

\set tenant '''e8b1a100-0000-4000-8000-00000000000a'''
\set other '''e8b1a100-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'explain'), (:other, 'explain, other');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, channel, refund_of, revenue_cents) VALUES
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e0', 'touch', '2024-03-01 11:00Z', 'email', NULL, 0),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 100),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e2', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 1001),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e3', 'refund', '2024-03-02 12:00Z', NULL, 'e8b1a100-0000-4000-8000-0000000000e2', -100),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e4', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 9223372036854775807),
    (:other, 'e8b1a100-0000-4000-8000-0000000000e1', 'conversion', '2024-03-01 12:00Z', NULL, NULL, 200);
CREATE FUNCTION pg_temp.allocate(event text, model_version text, channels text[], weights numeric[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM attribution.allocate_event('e8b1a100-0000-4000-8000-00000000000a', ('e8b1a100-0000-4000-8000-0000000000' || event)::uuid,
                                                    model_version, channels, weights) $$;
CREATE FUNCTION pg_temp.explain(event text, model_version text, OUT channel text, OUT weight numeric, OUT exact_share text, OUT floor_cents bigint,
                                OUT remainder text, OUT rank integer, OUT tie_key numeric, OUT cents bigint, OUT stored_cents bigint)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT * FROM attribution.explain_allocation('e8b1a100-0000-4000-8000-00000000000a', ('e8b1a100-0000-4000-8000-0000000000' || event)::uuid, model_version) $$;

--
-- By hand. 100 by 1, 1, 1: one cent is left over, all remainders are 1/3, the smallest key has it.
--
SELECT pg_temp.allocate('e1', '1', '{tv,email,organic}', '{1,1,1}');
SELECT * FROM pg_temp.explain('e1', '1');
-- Ratios are all that counts: other weights, the same fractions.
SELECT pg_temp.allocate('e1', '2', '{tv,email,organic}', '{0.37,0.37,0.370}');
SELECT channel, weight, exact_share, floor_cents, remainder, cents FROM pg_temp.explain('e1', '2');
-- 10.01 by 0.5, 0.3, 0.2: the table of doc/allocate.md. In the order of the bytes of the channels.
SELECT pg_temp.allocate('e2', '1', '{メール,email,Email}', '{0.2,0.3,0.5}');
SELECT channel, weight, exact_share, floor_cents, remainder, rank, cents, stored_cents FROM pg_temp.explain('e2', '1');
-- 100 by 3, 0, 1: nothing is left over, and weight 0 gets nothing.
SELECT pg_temp.allocate('e1', 'zero', '{a,b,c}', '{3,0,1}');
SELECT channel, weight, exact_share, floor_cents, remainder, cents, stored_cents FROM pg_temp.explain('e1', 'zero');
-- The largest amount; 2^63-1 = 7 * 7 * 73 * 127 * 337 * 92737 * 649657.
SELECT pg_temp.allocate('e4', '7', '{a,b,c}', '{1,2,4}');
SELECT channel, exact_share, floor_cents, remainder, cents, stored_cents FROM pg_temp.explain('e4', '7');
SELECT pg_temp.allocate('e4', 'half', '{a,b}', '{1e131071,1e131071}');
SELECT channel, exact_share, floor_cents, remainder, cents - floor_cents AS more, tie_key = min(tie_key) OVER () AS smaller_key FROM pg_temp.explain('e4', 'half');
SELECT pg_temp.allocate('e1', 'long', '{a,b}', '{0.333333333333333333333333333333,0.666666666666666666666666666667}');
SELECT channel, exact_share, floor_cents, remainder, rank, cents FROM pg_temp.explain('e1', 'long');
SELECT pg_temp.allocate('e1', 'far', '{a,b}', '{1e200,1e-200}');
SELECT channel, exact_share = CASE channel WHEN 'a' THEN '1' || repeat('0', 402) ELSE '100' END || '/1' || repeat('0', 399) || '1' AS right_share,
       left(exact_share, 5) AS exact_share, length(exact_share) AS long, floor_cents, rank, cents FROM pg_temp.explain('e1', 'far');
-- A refund, allocated with its conversion: its weights are what was left to each channel, 100 * 501 / 1001 and so on.
SELECT channel, weight, exact_share, floor_cents, remainder, rank, cents, stored_cents FROM pg_temp.explain('e3', '1');
-- Rows by hand may hold other cents, and show it.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, weight, allocated_revenue_cents) VALUES
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'by hand', 'a', 1, 51),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'by hand', 'b', 1, 49);
SELECT channel, exact_share, cents, stored_cents FROM pg_temp.explain('e1', 'by hand');

--
-- 3,000 events with weights from an arithmetic sequence. What is explained is what is stored, and
-- the rule followed in numeric.
--
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :tenant, ('e8b1a100-0000-4000-8001-' || lpad(to_hex(i), 12, '0'))::uuid, 'conversion', '2024-03-03 00:00Z',
       CASE i % 4 WHEN 0 THEN 1 + i % 7 WHEN 1 THEN i * 7919 % 1000003 WHEN 2 THEN (i::numeric * 2862933555777941757 % 9007199254740993)::bigint + 1
                  ELSE 9223372036854775807 - i END
FROM generate_series(1, 3000) AS i;
SELECT count(DISTINCT a.event_id) AS events, count(*) AS rows
FROM (
    SELECT i, array_agg('channel ' || k ORDER BY k) AS channels,
           array_agg(CASE (i + k) % 5 WHEN 0 THEN 0 WHEN 1 THEN 1 WHEN 2 THEN ((i * 31 + k * 17) % 10) * 0.1
                                      WHEN 3 THEN (i * 104729::bigint + k * 7919) % 1000003
                                      ELSE ((i * 15485863::bigint + k * 32452843) % 999999937) * 0.000000001 END + CASE k WHEN 1 THEN 0.5 ELSE 0 END ORDER BY k) AS weights
    FROM generate_series(1, 3000) AS i, generate_series(1, 8) AS k
    WHERE k <= 1 + i % 8
    GROUP BY i) AS input,
    attribution.allocate_event(:tenant, ('e8b1a100-0000-4000-8001-' || lpad(to_hex(i), 12, '0'))::uuid, 'many', channels, weights) AS a;
CREATE TEMP TABLE explained AS
SELECT e.id, e.revenue_cents AS total, x.*, split_part(x.exact_share, '/', 1)::numeric AS n, coalesce(nullif(split_part(x.exact_share, '/', 2), ''), '1')::numeric AS d,
       split_part(x.remainder, '/', 1)::numeric AS rest_n, coalesce(nullif(split_part(x.remainder, '/', 2), ''), '1')::numeric AS rest_d,
       sum(x.weight) OVER (PARTITION BY e.id) AS weights
FROM attribution.attribution_events AS e, attribution.explain_allocation(e.tenant_id, e.id, 'many') AS x
WHERE e.tenant_id = :tenant AND e.id >= 'e8b1a100-0000-4000-8001-000000000000';
SELECT count(DISTINCT id) AS events, count(*) AS rows, count(*) FILTER (WHERE remainder <> '0') AS with_remainder,
       count(*) FILTER (WHERE cents <> floor_cents) > 3000 AS with_leftover_cents FROM explained;
-- Every stored row is explained as it is.
SELECT a.event_id, a.channel FROM attribution.attribution_allocations AS a
LEFT JOIN explained AS x ON x.id = a.event_id AND x.channel = a.channel
WHERE a.tenant_id = :tenant AND a.model_version = 'many'
  AND (x.cents, x.stored_cents, x.weight, x.tie_key) IS DISTINCT FROM
      (a.allocated_revenue_cents, a.allocated_revenue_cents, a.weight, attribution.allocation_tie_key(a.tenant_id, a.event_id, a.model_version, a.channel))
ORDER BY 1, 2;
-- The fractions are right and reduced, floor and remainder are their parts.
SELECT id, channel, exact_share, remainder FROM explained
WHERE n * weights <> total * weight * d OR gcd(n, d) <> 1 OR d < 1
   OR rest_n * d <> (n - floor_cents * d) * rest_d OR gcd(rest_n, rest_d) <> 1 OR rest_n < 0 OR rest_n >= rest_d
   OR floor_cents <> div(n, d)
ORDER BY 1, 2;
-- The ranks, and who has the cents left over.
SELECT id, channel, rank FROM (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY total * weight - floor_cents * weights DESC, tie_key) AS place,
           total - sum(floor_cents) OVER (PARTITION BY id) AS left_over FROM explained) AS x
WHERE rank <> place OR cents <> floor_cents + CASE WHEN place <= left_over THEN 1 ELSE 0 END ORDER BY 1, 2;

--
-- What is refused
--
CALL pg_temp.attempt($$SELECT attribution.explain_allocation(NULL, 'e8b1a100-0000-4000-8000-0000000000e1', '1')$$);
CALL pg_temp.attempt($$SELECT attribution.explain_allocation('e8b1a100-0000-4000-8000-00000000000a', NULL, '1')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e1', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.explain_allocation('e8b1a100-0000-4000-8000-00000000000f', 'e8b1a100-0000-4000-8000-0000000000e1', '1')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('ef', '1')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e1', '3')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e1', '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e0', '1')$$);
-- An event of another tenant is another event, even if it has the same id, and allocated it is not.
CALL pg_temp.attempt($$SELECT attribution.explain_allocation('e8b1a100-0000-4000-8000-00000000000b', 'e8b1a100-0000-4000-8000-0000000000e2', '1')$$);
CALL pg_temp.attempt($$SELECT attribution.explain_allocation('e8b1a100-0000-4000-8000-00000000000b', 'e8b1a100-0000-4000-8000-0000000000e1', '1')$$);
-- Rows without weights, and rows whose weights give no share.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, weight, allocated_revenue_cents) VALUES
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'imported', 'a', 1, 50),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'imported', 'b', NULL, 50),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'all zero', 'a', 0, 50),
    (:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'all zero', 'b', 0, 50);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e1', 'imported')$$);
CALL pg_temp.attempt($$SELECT pg_temp.explain('e1', 'all zero')$$);
-- Like every stable function it sees what its own statement saw at first, and reads in read-only transactions.
CALL pg_temp.attempt($$SELECT (attribution.explain_allocation(tenant_id, event_id, model_version)).cents
    FROM attribution.allocate_event('e8b1a100-0000-4000-8000-00000000000a', 'e8b1a100-0000-4000-8000-0000000000e1', 'at once', '{a}', '{1}')$$);
BEGIN READ ONLY;
SELECT channel, cents FROM pg_temp.explain('e2', '1');
ROLLBACK;

--
-- Row security is the caller's.
--
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, weight, allocated_revenue_cents) VALUES
    (:other, 'e8b1a100-0000-4000-8000-0000000000e1', '1', 'secret', 1, 200);
CREATE ROLE regress_attribution_explainer;
SET ROLE regress_attribution_explainer;
SELECT cents FROM attribution.explain_allocation(:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
RESET ROLE;
SELECT attribution.grant_access('regress_attribution_explainer', 'reader');
SET ROLE regress_attribution_explainer;
SELECT cents FROM attribution.explain_allocation(:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
SET attribution.tenant_id = 'e8b1a100-0000-4000-8000-00000000000a';
SELECT channel, cents FROM attribution.explain_allocation(:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
SELECT channel, cents FROM attribution.explain_allocation(:other, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
SET attribution.tenant_id = 'e8b1a100-0000-4000-8000-00000000000b';
SELECT channel, cents FROM attribution.explain_allocation(:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
SELECT channel, cents FROM attribution.explain_allocation(:other, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
RESET attribution.tenant_id;
RESET ROLE;
SELECT channel, cents FROM attribution.explain_allocation(:other, 'e8b1a100-0000-4000-8000-0000000000e1', '1');
DROP OWNED BY regress_attribution_explainer;
DROP ROLE regress_attribution_explainer;

-- A cancel does not wait for the last fraction: 3,000 of 16,000 digits take half a minute.
SELECT pg_temp.allocate('e1', 'slow', (SELECT array_agg('c' || i) FROM generate_series(1, 3000) AS i),
                        (SELECT array_agg((repeat('7', 8000) || i)::numeric) FROM generate_series(1001, 4000) AS i));
SET statement_timeout = '500ms';
SELECT count(*) FROM attribution.explain_allocation(:tenant, 'e8b1a100-0000-4000-8000-0000000000e1', 'slow');
RESET statement_timeout;
SELECT channel, cents FROM pg_temp.explain('e2', '1');

-- Other tests count what is there.
DELETE FROM attribution.attribution_allocations WHERE tenant_id IN (:tenant, :other);
DELETE FROM attribution.attribution_events WHERE tenant_id IN (:tenant, :other) AND event_type = 'refund';
DELETE FROM attribution.attribution_events WHERE tenant_id IN (:tenant, :other);
DELETE FROM attribution.attribution_models WHERE tenant_id IN (:tenant, :other);
DELETE FROM attribution.tenants WHERE id IN (:tenant, :other);
