-- What an application does with the deliveries of its providers: it hands them to ingest_webhook(), as they come and as
-- often as they come. And with the visits that its tracker saw: they are touches.

CREATE TABLE demo.outcomes (
    delivery bigint NOT NULL,
    event_id uuid,
    outcome  text NOT NULL
);

-- Three days before the sale, and twenty minutes.
SELECT attribution.ingest_event(
    tenant_id => demo.tenant('USD'), source => 'tracker', event_type => 'touch', occurred_at => s.at - t.before,
    external_event_id => 'tracker:touch:' || s.n || '-' || t.i, session_id => v.session_id, channel => t.channel)
FROM demo.visits v JOIN demo.sales s USING (n)
CROSS JOIN LATERAL (VALUES (1, interval '3 days', v.first_channel), (2, interval '20 minutes', v.channel)) AS t (i, before, channel)
WHERE t.channel IS NOT NULL
\g /dev/null

-- In the order of arrival; what came too early would wait in dead_events.
CREATE PROCEDURE demo.take_webhooks(first bigint, last bigint)
    LANGUAGE sql
AS $$
    INSERT INTO demo.outcomes
    SELECT d.n, w.* FROM (SELECT * FROM demo.deliveries WHERE n BETWEEN first AND last ORDER BY n) d,
        attribution.ingest_webhook(demo.tenant('USD'), d.source, d.topic, d.payload) AS w;
$$;

CREATE VIEW demo.webhook_summary AS
SELECT d.source, d.topic, count(*) AS deliveries,
       count(*) FILTER (WHERE o.outcome = 'ingested') AS ingested,
       count(*) FILTER (WHERE o.outcome = 'duplicate') AS duplicates,
       count(*) FILTER (WHERE o.outcome = 'ignored') AS "not paid yet",
       count(*) FILTER (WHERE o.outcome = 'dead') AS dead
FROM demo.deliveries d JOIN demo.outcomes o ON o.delivery = d.n
GROUP BY d.source, d.topic
ORDER BY array_position('{shopify,stripe,paypal,woocommerce}', d.source), min(d.n);

-- What was taken in, against what make_webhooks.sql sold: no row may differ.
CREATE VIEW demo.webhook_differences AS
WITH made AS (
    SELECT source, 'conversion' AS event_type, count(*) AS events, sum(cents) AS cents FROM demo.sales GROUP BY 1
    UNION ALL
    SELECT s.source, 'refund', count(*), -sum(r.cents) FROM demo.refunds r JOIN demo.sales s USING (n) GROUP BY 1),
taken AS (
    SELECT source, event_type, count(*) AS events, sum(revenue_cents) AS cents
    FROM attribution.attribution_events WHERE tenant_id = demo.tenant('USD') AND event_type <> 'touch' GROUP BY 1, 2)
SELECT source, event_type, made.events AS made, made.cents AS made_cents, taken.events AS taken, taken.cents AS taken_cents
FROM made FULL JOIN taken USING (source, event_type)
WHERE (made.events, made.cents) IS DISTINCT FROM (taken.events, taken.cents);

-- How many of these would be wrong if read as doubles, as JavaScript and most JSON parsers do.
CREATE VIEW demo.doubles AS
SELECT count(*) FILTER (WHERE kind = 'id') AS ids,
       count(*) FILTER (WHERE kind = 'id' AND number::bigint::float8::bigint <> number::bigint) AS wrong_ids,
       count(*) FILTER (WHERE kind = 'amount') AS amounts,
       count(*) FILTER (WHERE kind = 'amount' AND trunc(number::float8 * 100) <> number::numeric * 100) AS wrong_amounts
FROM (SELECT DISTINCT x.kind, x.number, d.payload->>'id'
      FROM demo.deliveries d
      CROSS JOIN LATERAL (VALUES ('id', CASE d.source WHEN 'shopify' THEN d.payload->>'id' END),
          ('amount', coalesce(d.payload->>'total_price', d.payload #>> '{resource,amount,value}', d.payload->>'total'))) AS x (kind, number)
      WHERE x.number IS NOT NULL) AS numbers;
