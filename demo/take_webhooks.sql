-- From a provider's webhook to attribution.ingest_event(): which key, how much, when, through which
-- channel. A function of the extension will do this one day; until then this file is what an
-- application would write, and it shows what has to be right:
--
--   provider     event        business key                              amount
--   shopify      conversion   shopify:order:<id>                        total_price_set.shop_money.amount, a string
--   shopify      refund       shopify:refund:<id>                       sum of the refund transactions that succeeded
--   stripe       conversion   correlation_id <payment intent>, no other amount_received or amount_captured, cents
--   stripe       refund       stripe:refund:<re_...>                    refunds.data[].amount, cents
--   paypal       conversion   paypal:capture:<resource.id>              resource.amount.value, a string
--   woocommerce  conversion   woocommerce:order:<id>                    total, a string, once date_paid_gmt is set
--   woocommerce  refund       woocommerce:refund:<id>                   refunds[].total, a string with a minus sign
--
-- Never the id of a delivery: it differs each time. Ids are read with ->> from jsonb, which keeps
-- numbers as written, and amounts with minor_units(): nothing passes through a double.

CREATE TABLE demo.outcomes (
    delivery   bigint NOT NULL,
    event_type text,          -- NULL: the delivery is no event
    event_id   uuid,
    outcome    text NOT NULL
);

-- "a=1&b=2" as an object. UTM values of the demo need no percent-decoding.
CREATE FUNCTION demo.parameters(query_string text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(jsonb_object_agg(split_part(pair, '=', 1), split_part(pair, '=', 2)), '{}')
            FROM string_to_table(query_string, '&') AS pair WHERE pair LIKE '%=%');

CREATE FUNCTION demo.channel(utm_source text, utm_medium text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN utm_medium IN ('cpc', 'ppc') THEN 'paid search'
                WHEN utm_medium = 'organic' THEN 'organic search'
                WHEN utm_medium = 'paid_social' THEN 'paid social'
                WHEN utm_medium = 'social' THEN 'organic social'
                ELSE coalesce(utm_medium, utm_source) END;

-- The money in a message: no row, a conversion, or refunds. utm is the visit that led to the sale and,
-- under first_..., the visit that began it, wherever the provider has room for them.
CREATE FUNCTION demo.money_events(source text, topic text, payload jsonb)
    RETURNS TABLE (event_type text, occurred_at timestamptz, cents bigint, currency text, external_event_id text,
                   correlation_id text, conversion_external_id text, utm jsonb)
    LANGUAGE sql STABLE
AS $$
    -- Shopify
    SELECT 'conversion', (payload->>'processed_at')::timestamptz,
           demo.minor_units(payload #>> '{total_price_set,shop_money,amount}', payload #>> '{total_price_set,shop_money,currency_code}'),
           payload #>> '{total_price_set,shop_money,currency_code}', 'shopify:order:' || (payload->>'id'), NULL, NULL,
           demo.parameters(split_part(payload->>'landing_site', '?', 2)) ||
               (SELECT coalesce(jsonb_object_agg(a->>'name', a->>'value'), '{}') FROM jsonb_array_elements(payload->'note_attributes') AS a)
    WHERE source = 'shopify' AND topic = 'orders/paid'
    UNION ALL -- A transaction without a currency is in that of the order, which here is the shop's.
    SELECT 'refund', (payload->>'processed_at')::timestamptz,
           -(SELECT sum(demo.minor_units(t->>'amount', coalesce(t->>'currency', 'USD'))) FROM jsonb_array_elements(payload->'transactions') AS t
             WHERE t->>'kind' = 'refund' AND t->>'status' = 'success')::bigint,
           'USD', 'shopify:refund:' || (payload->>'id'), NULL, 'shopify:order:' || (payload->>'order_id'), NULL
    WHERE source = 'shopify' AND topic = 'refunds/create'
    -- Stripe: amounts are minor units already. (True of USD; Stripe has its own decimals for some currencies.)
    UNION ALL
    SELECT 'conversion', to_timestamp((payload->>'created')::bigint),
           coalesce(o->>'amount_received', o->>'amount_captured')::bigint, upper(o->>'currency'),
           NULL, coalesce(o->>'payment_intent', o->>'id'), NULL, o->'metadata'
    FROM (SELECT payload #> '{data,object}' AS o) AS data
    WHERE source = 'stripe' AND topic IN ('payment_intent.succeeded', 'charge.succeeded') AND o->>'status' = 'succeeded'
    UNION ALL -- The list is cumulative; each refund has its own key, so those known already come out as duplicates.
    SELECT 'refund', to_timestamp((r->>'created')::bigint), -(r->>'amount')::bigint, upper(r->>'currency'),
           'stripe:refund:' || (r->>'id'), payload #>> '{data,object,payment_intent}', NULL, NULL
    FROM jsonb_array_elements(payload #> '{data,object,refunds,data}') AS r
    WHERE source = 'stripe' AND topic = 'charge.refunded' AND r->>'status' = 'succeeded'
    -- PayPal
    UNION ALL
    SELECT 'conversion', (o->>'create_time')::timestamptz, demo.minor_units(o #>> '{amount,value}', o #>> '{amount,currency_code}'),
           o #>> '{amount,currency_code}', 'paypal:capture:' || (o->>'id'), NULL, NULL, demo.parameters(o->>'custom_id')
    FROM (SELECT payload->'resource' AS o) AS resource
    WHERE source = 'paypal' AND topic = 'PAYMENT.CAPTURE.COMPLETED' AND o->>'status' = 'COMPLETED'
    -- WooCommerce: the same order under every status; it is revenue once it is paid.
    UNION ALL
    SELECT 'conversion', (payload->>'date_paid_gmt' || 'Z')::timestamptz, demo.minor_units(payload->>'total', payload->>'currency'),
           payload->>'currency', 'woocommerce:order:' || (payload->>'id'), NULL, NULL,
           (SELECT coalesce(jsonb_object_agg(replace(m->>'key', '_wc_order_attribution_', ''), m->>'value'), '{}')
            FROM jsonb_array_elements(payload->'meta_data') AS m)
    WHERE source = 'woocommerce' AND topic = 'order.updated' AND payload->>'date_paid_gmt' IS NOT NULL
    UNION ALL
    SELECT 'refund', (payload->>'date_modified_gmt' || 'Z')::timestamptz, demo.minor_units(r->>'total', payload->>'currency'),
           payload->>'currency', 'woocommerce:refund:' || (r->>'id'), NULL, 'woocommerce:order:' || (payload->>'id'), NULL
    FROM jsonb_array_elements(payload->'refunds') AS r
    WHERE source = 'woocommerce' AND topic = 'order.updated'
$$;

-- One delivery: the sale with the touches before it, or its refunds. As it comes, as often as it comes.
CREATE PROCEDURE demo.take_webhook(delivery bigint, source text, topic text, payload jsonb)
    LANGUAGE plpgsql
AS $$
DECLARE
    money     record;
    taken     record;
    seen      boolean := false;
    touch_key text;
BEGIN
    FOR money IN SELECT m.*, coalesce(m.external_event_id, 'stripe:' || m.correlation_id) AS key,
                        demo.tenant(m.currency) AS tenant_id
                 FROM demo.money_events(source, topic, payload) AS m
    LOOP
        seen := true;
        IF money.tenant_id IS NULL THEN
            RAISE EXCEPTION 'no tenant sells in %', money.currency USING ERRCODE = '22023';
        END IF;
        -- The touches of the session, three days and twenty minutes before the sale.
        touch_key := regexp_replace(money.key, '^([a-z]+):([a-z]+:)?', '\1:touch:');
        INSERT INTO demo.outcomes (delivery, event_type, event_id, outcome)
        SELECT take_webhook.delivery, 'touch', i.event_id, i.outcome
        FROM (VALUES (1, interval '3 days', demo.channel(money.utm->>'first_utm_source', money.utm->>'first_utm_medium')),
                     (2, interval '20 minutes', demo.channel(money.utm->>'utm_source', money.utm->>'utm_medium'))) AS t (i, before, channel)
        CROSS JOIN LATERAL attribution.ingest_event(
            tenant_id => money.tenant_id, source => take_webhook.source, event_type => 'touch', occurred_at => money.occurred_at - t.before,
            external_event_id => touch_key || ':' || t.i, session_id => md5(money.key)::uuid, channel => t.channel) AS i
        WHERE money.event_type = 'conversion' AND t.channel IS NOT NULL;

        SELECT i.* INTO STRICT taken FROM attribution.ingest_event(
            tenant_id => money.tenant_id, source => take_webhook.source, event_type => money.event_type,
            occurred_at => money.occurred_at, revenue_cents => money.cents,
            external_event_id => money.external_event_id, correlation_id => money.correlation_id,
            session_id => CASE money.event_type WHEN 'conversion' THEN md5(money.key)::uuid END,
            refund_of => CASE money.event_type WHEN 'refund' THEN attribution.keyed_event_id(money.tenant_id,
                money.conversion_external_id, CASE WHEN money.conversion_external_id IS NULL THEN money.correlation_id END) END,
            raw_payload => payload) AS i;
        INSERT INTO demo.outcomes VALUES (take_webhook.delivery, money.event_type, taken.event_id, taken.outcome);
    END LOOP;
    IF NOT seen THEN
        INSERT INTO demo.outcomes VALUES (take_webhook.delivery, NULL, NULL, 'ignored');
    END IF;
END;
$$;

-- In the order of arrival: a refund names a conversion that is there.
CREATE PROCEDURE demo.take_webhooks(first bigint, last bigint)
    LANGUAGE plpgsql
AS $$
DECLARE
    d record;
BEGIN
    FOR d IN SELECT * FROM demo.deliveries WHERE n BETWEEN first AND last ORDER BY n LOOP
        CALL demo.take_webhook(d.n, d.source, d.topic, d.payload);
    END LOOP;
END;
$$;

CREATE VIEW demo.webhook_summary AS
SELECT d.source, d.topic, count(DISTINCT d.n) AS deliveries,
       count(*) FILTER (WHERE o.event_type = 'conversion' AND o.outcome = 'ingested') AS sales,
       count(*) FILTER (WHERE o.event_type = 'refund' AND o.outcome = 'ingested') AS refunds,
       count(*) FILTER (WHERE o.event_type <> 'touch' AND o.outcome = 'duplicate') AS duplicates,
       count(*) FILTER (WHERE o.outcome = 'ignored') AS "not paid yet",
       count(*) FILTER (WHERE o.event_type = 'touch' AND o.outcome = 'ingested') AS touches
FROM demo.deliveries d JOIN demo.outcomes o ON o.delivery = d.n
GROUP BY d.source, d.topic
ORDER BY array_position('{shopify,stripe,paypal,woocommerce}', d.source), min(d.n);

-- What the mapping found, against what make_webhooks.sql sold: no row may differ.
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
