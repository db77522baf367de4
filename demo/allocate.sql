-- Who gets the credit: weights per conversion under two models, and what refunds take back.

-- One row per conversion and model version. Touches of the conversion's session, not after it, count:
--   linear-1       as many times as the channel was touched
--   last-touch-1   the last one alone
-- No touch: all of it is unattributed, which is an answer, not a gap.
CREATE TABLE demo.credit AS
WITH journeys AS (
    SELECT c.tenant_id, c.id, t.channel,
           row_number() OVER (PARTITION BY c.tenant_id, c.id ORDER BY t.occurred_at DESC, t.id DESC) AS from_the_end
    FROM attribution.attribution_events c
    LEFT JOIN attribution.attribution_events t ON t.tenant_id = c.tenant_id AND t.session_id = c.session_id
        AND t.event_type = 'touch' AND t.occurred_at <= c.occurred_at
    WHERE c.event_type = 'conversion'),
weights AS (
    SELECT tenant_id, id, 'linear-1' AS model_version, coalesce(channel, 'unattributed') AS channel, count(*)::numeric AS weight
    FROM journeys GROUP BY 1, 2, 4
    UNION ALL
    SELECT tenant_id, id, 'last-touch-1', coalesce(channel, 'unattributed'), 1
    FROM journeys WHERE from_the_end = 1)
SELECT row_number() OVER (PARTITION BY model_version ORDER BY tenant_id, id) AS n, tenant_id, id AS event_id, model_version,
       array_agg(channel ORDER BY channel) AS channels, array_agg(weight ORDER BY channel) AS weights
FROM weights GROUP BY tenant_id, id, model_version;
ALTER TABLE demo.credit ADD PRIMARY KEY (model_version, n);
ANALYZE demo.credit, attribution.attribution_events;

CREATE FUNCTION demo.allocate(model_version text, first bigint, last bigint) RETURNS bigint
    LANGUAGE sql
AS $$
    SELECT count(*)
    FROM demo.credit c
    CROSS JOIN LATERAL attribution.allocate_event(c.tenant_id, c.event_id, c.model_version, c.channels, c.weights) AS a
    WHERE c.model_version = allocate.model_version AND c.n BETWEEN first AND last;
$$;

-- A refund takes from each channel of its conversion what is left of it, by largest remainder over those
-- rests: none ever falls below zero, and a full refund leaves zero everywhere. Splitting it by the first
-- weights would not do that. Equal remainders are decided by the tie key of the refund, as
-- allocate_event() decides them. (allocate_event() takes no refunds yet: this is its rule in SQL.)
CREATE PROCEDURE demo.allocate_refund(tenant_id uuid, refund_id uuid, model_version text)
    LANGUAGE sql
AS $$
    WITH rests AS (
        SELECT r.tenant_id, r.id AS event_id, r.occurred_at, r.revenue_cents, a.channel, sum(a.allocated_revenue_cents) AS rest
        FROM attribution.attribution_events r
        JOIN attribution.attribution_events e ON e.tenant_id = r.tenant_id AND (e.id = r.refund_of OR e.refund_of = r.refund_of)
        JOIN attribution.attribution_allocations a ON a.tenant_id = e.tenant_id AND a.event_id = e.id
        WHERE r.tenant_id = allocate_refund.tenant_id AND r.id = allocate_refund.refund_id
          AND a.model_version = allocate_refund.model_version AND e.id <> r.id
        GROUP BY 1, 2, 3, 4, 5),
    arrays AS (
        SELECT tenant_id, event_id, occurred_at, revenue_cents, array_agg(channel ORDER BY tie_key) AS channels, array_agg(rest ORDER BY tie_key) AS rests
        FROM (SELECT *, attribution.allocation_tie_key(tenant_id, event_id, allocate_refund.model_version, channel) AS tie_key
              FROM rests) AS keyed
        GROUP BY 1, 2, 3, 4)
    INSERT INTO attribution.attribution_allocations
        (tenant_id, id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents)
    SELECT r.tenant_id, attribution.allocation_id(r.tenant_id, r.event_id, allocate_refund.model_version, x.channel, r.occurred_at),
           r.event_id, allocate_refund.model_version, x.channel, x.rest, x.ratio * 0.00001, x.cents
    FROM arrays r
    CROSS JOIN LATERAL unnest(r.channels, r.rests, attribution.allocate_cents(100000, r.rests),
                              attribution.allocate_cents(r.revenue_cents, r.rests)) AS x (channel, rest, ratio, cents)
    ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL DO NOTHING;
$$;

-- One after the other, in the order they happened: each needs to know what the one before left.
CREATE PROCEDURE demo.allocate_refunds(model_version text)
    LANGUAGE plpgsql
AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT e.tenant_id, e.id FROM attribution.attribution_events e WHERE e.event_type = 'refund'
             ORDER BY e.tenant_id, e.occurred_at, e.id LOOP
        CALL demo.allocate_refund(r.tenant_id, r.id, model_version);
    END LOOP;
END;
$$;

-- Channels that a refund pushed below zero: none.
CREATE VIEW demo.overdrawn_channels AS
SELECT a.tenant_id, coalesce(e.refund_of, e.id) AS conversion_id, a.model_version, a.channel, sum(a.allocated_revenue_cents) AS rest
FROM attribution.attribution_allocations a
JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
GROUP BY 1, 2, 3, 4 HAVING sum(a.allocated_revenue_cents) < 0;

-- The conversion that the demo tries to break: the largest sale.
CREATE VIEW demo.largest_sale AS
SELECT tenant_id, id, revenue_cents FROM attribution.attribution_events
WHERE tenant_id = demo.tenant('USD') ORDER BY revenue_cents DESC, id LIMIT 1;

-- Two sessions wait here for each other. A sequence, because its value is seen before COMMIT.
CREATE SEQUENCE demo.arrivals;
CREATE PROCEDURE demo.meet()
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM nextval('demo.arrivals');
    FOR i IN 1..3000 LOOP
        IF (SELECT last_value FROM demo.arrivals) >= 2 THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE EXCEPTION 'the other session did not come';
END;
$$;
