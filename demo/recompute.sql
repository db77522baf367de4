-- Who should have got what, computed a second time, in plain SQL and numeric, from the events. Nothing of
-- the extension decides here but allocation_tie_key(), which says who is first among equal remainders.

-- Touches of the conversion's session, not after it, count:
--   linear-1       as many times as the channel was touched
--   last-touch-1   the last one alone
-- No touch: all of it is unattributed, which is an answer, not a gap.
CREATE VIEW demo.credit AS
WITH journeys AS (
    SELECT c.tenant_id, c.id, coalesce(t.channel, 'unattributed') AS channel,
           row_number() OVER (PARTITION BY c.tenant_id, c.id ORDER BY t.occurred_at DESC, t.id DESC) AS from_the_end
    FROM attribution.attribution_events c
    LEFT JOIN attribution.attribution_events t ON t.tenant_id = c.tenant_id AND t.session_id = c.session_id
        AND t.event_type = 'touch' AND t.occurred_at <= c.occurred_at
    WHERE c.event_type = 'conversion')
SELECT tenant_id, id AS event_id, 'linear-1' AS model_version, channel, count(*)::numeric AS weight
FROM journeys GROUP BY tenant_id, id, channel
UNION ALL
SELECT tenant_id, id, 'last-touch-1', channel, 1 FROM journeys WHERE from_the_end = 1;

-- A refund takes back by what is left of each channel: the conversion's cents and those of the refunds
-- before it. What is left of nothing is nobody's to give.
CREATE VIEW demo.left_before AS
SELECT r.tenant_id, r.id AS event_id, a.model_version, a.channel, sum(a.allocated_revenue_cents) AS weight
FROM attribution.attribution_events r
JOIN attribution.attribution_events e ON e.tenant_id = r.tenant_id
    AND (e.id = r.refund_of OR e.refund_of = r.refund_of AND (e.occurred_at, e.id) < (r.occurred_at, r.id))
JOIN attribution.attribution_allocations a ON a.tenant_id = e.tenant_id AND a.event_id = e.id
WHERE r.event_type = 'refund'
GROUP BY r.tenant_id, r.id, a.model_version, a.channel
HAVING sum(a.allocated_revenue_cents) > 0;

-- Hamilton: everybody the whole cents of the exact share, then a cent each to the largest remainders.
CREATE TABLE demo.recomputed AS
WITH floors AS (
    SELECT w.*, sign(e.revenue_cents::numeric) AS sign, abs(e.revenue_cents::numeric) AS total,
           div(abs(e.revenue_cents::numeric) * w.weight, w.weights) AS floor_cents,
           abs(e.revenue_cents::numeric) * w.weight % w.weights AS remainder
    FROM (SELECT *, sum(weight) OVER (PARTITION BY tenant_id, event_id, model_version) AS weights
          FROM (TABLE demo.credit UNION ALL TABLE demo.left_before) AS both_kinds) AS w
    JOIN attribution.attribution_events e ON e.tenant_id = w.tenant_id AND e.id = w.event_id),
ranked AS (
    SELECT *, total - sum(floor_cents) OVER (PARTITION BY tenant_id, event_id, model_version) AS left_over,
           row_number() OVER (PARTITION BY tenant_id, event_id, model_version
                              ORDER BY remainder DESC, attribution.allocation_tie_key(tenant_id, event_id, model_version, channel)) AS rank
    FROM floors)
SELECT tenant_id, event_id, model_version, channel, weight, left_over,
       (sign * (floor_cents + CASE WHEN rank <= left_over THEN 1 ELSE 0 END))::bigint AS cents
FROM ranked;

-- What is stored, against that: no row may come out.
CREATE VIEW demo.allocation_differences AS
SELECT tenant_id, event_id, model_version, channel, r.weight, r.cents, a.weight AS stored_weight, a.allocated_revenue_cents AS stored_cents
FROM demo.recomputed r
FULL JOIN attribution.attribution_allocations a USING (tenant_id, event_id, model_version, channel)
WHERE (r.weight, r.cents) IS DISTINCT FROM (a.weight, a.allocated_revenue_cents);

-- Channels that a refund pushed below zero: none.
CREATE VIEW demo.overdrawn_channels AS
SELECT a.tenant_id, coalesce(e.refund_of, e.id) AS conversion_id, a.model_version, a.channel, sum(a.allocated_revenue_cents) AS rest
FROM attribution.attribution_allocations a
JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
GROUP BY 1, 2, 3, 4 HAVING sum(a.allocated_revenue_cents) < 0;

-- A sale of three to five channels whose cents did not come out even: as many left over as there are.
CREATE VIEW demo.odd_sale AS
SELECT tenant_id, event_id, model_version, max(left_over) AS left_over, sum(cents) AS cents
FROM demo.recomputed
GROUP BY tenant_id, event_id, model_version
HAVING sum(cents) > 0 AND max(left_over) > 0
ORDER BY count(*) BETWEEN 3 AND 5 DESC, count(DISTINCT weight) DESC, max(left_over) DESC, event_id
LIMIT 1;
