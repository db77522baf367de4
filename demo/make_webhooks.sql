-- Makes the deliveries of four providers for 400 invented sales. Structure, kinds of ids and kinds of
-- amounts are those of the providers' published samples (ids beyond 2^53, decimal strings, integers in
-- minor units, JSON numbers, cumulative refunds); the values are drawn, nobody's data. Providers send
-- again, and tell of one sale under several topics: so do these.

-- What was sold, in cents: the truth that ingest_webhook() must find again.
CREATE TABLE demo.sales AS
SELECT n, CASE WHEN n <= 150 THEN 'shopify' WHEN n <= 250 THEN 'stripe' WHEN n <= 325 THEN 'paypal' ELSE 'woocommerce' END AS source,
       499 + demo.draw(n, 1, 400) * demo.draw(n, 2, 110) + demo.draw(n, 3, 100) AS cents,
       '2025-01-06 08:00:00+00'::timestamptz + demo.draw(n, 4, 7000000) * interval '1 second' AS at
FROM generate_series(1, 400) AS n;

-- Every eighth sale is refunded: in part, some in two parts, every fifth of them as a whole.
CREATE TABLE demo.refunds AS
SELECT s.n, r.part, r.cents, s.at + r.part * interval '3 days' AS at
FROM demo.sales s
CROSS JOIN LATERAL (VALUES
    (1, CASE WHEN s.n % 40 = 0 THEN s.cents ELSE 100 + demo.draw(s.n, 5, s.cents / 2 - 100) END),
    (2, CASE WHEN s.n % 24 = 0 AND s.n % 40 <> 0 THEN 1 + demo.draw(s.n, 6, s.cents / 3) END)) AS r (part, cents)
WHERE s.n % 8 = 0 AND s.source <> 'paypal' AND r.cents IS NOT NULL;

-- How the buyer came: unknown (every seventh), by one visit, or by two. The shop's own tracker saw the visits and
-- put the session into the order, where each provider has room for it.
CREATE TABLE demo.visits AS
SELECT s.n, md5('session of ' || s.n)::uuid AS session_id, f.channel AS first_channel, l.channel,
       jsonb_build_object('session_id', md5('session of ' || s.n)::uuid) AS attributes
FROM demo.sales s
JOIN (VALUES (0, 'paid search'), (1, 'email'), (2, 'paid search'), (3, 'affiliate'), (4, 'organic search'), (5, 'email')) AS l (i, channel)
    ON l.i = demo.draw(s.n, 9, 6)
LEFT JOIN (VALUES (0, 'paid social'), (1, 'organic search'), (2, 'referral'), (3, 'paid social'), (4, 'display')) AS f (i, channel)
    ON f.i = demo.draw(s.n, 8, 5) AND demo.draw(s.n, 7, 100) < 60
WHERE s.n % 7 <> 0;

CREATE FUNCTION demo.query_string(utm jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN (SELECT string_agg(key || '=' || value, '&' ORDER BY key) FROM jsonb_each_text(utm));

CREATE FUNCTION demo.decimal_string(cents bigint) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN to_char(cents * 0.01, 'FM999999990.00');

CREATE FUNCTION demo.money_set(cents bigint) RETURNS jsonb
    LANGUAGE sql IMMUTABLE STRICT
    RETURN jsonb_build_object('shop_money', jsonb_build_object('amount', demo.decimal_string(cents), 'currency_code', 'USD'),
                              'presentment_money', jsonb_build_object('amount', demo.decimal_string(cents), 'currency_code', 'USD'));

-- ids: Shopify's are numbers beyond 2^53, PayPal's and Stripe's are letters and digits, WooCommerce counts.
CREATE FUNCTION demo.shopify_id(n bigint, kind integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT
    RETURN 810000000000000000 + kind * 20000000000000000 + n * 27182818284591;
CREATE FUNCTION demo.stripe_id(n bigint, prefix text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN prefix || '_3' || demo.token(n, 20 + length(prefix), 23, '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz');
CREATE FUNCTION demo.paypal_id(n bigint, stream integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    RETURN demo.token(n, 30 + stream, 17, '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ');
CREATE FUNCTION demo.gmt(at timestamptz) RETURNS text
    LANGUAGE sql STABLE STRICT
    RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS');

CREATE TABLE demo.deliveries (
    n       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order of arrival
    source  text NOT NULL,
    topic   text NOT NULL,
    arrived timestamptz NOT NULL,
    payload jsonb NOT NULL
);

INSERT INTO demo.deliveries (source, topic, arrived, payload)
WITH
shopify_paid AS (
    SELECT s.n, 'shopify' AS source, 'orders/paid' AS topic, s.at AS arrived, jsonb_build_object(
        'id', demo.shopify_id(s.n, 0), 'admin_graphql_api_id', 'gid://shopify/Order/' || demo.shopify_id(s.n, 0),
        'name', '#' || 1000 + s.n, 'order_number', 1000 + s.n, 'financial_status', 'paid', 'currency', 'USD', 'source_name', 'web',
        'created_at', demo.gmt(s.at) || '+00:00', 'processed_at', demo.gmt(s.at) || '+00:00', 'updated_at', demo.gmt(s.at) || '+00:00',
        'total_price', demo.decimal_string(s.cents), 'total_price_set', demo.money_set(s.cents),
        'current_total_price', demo.decimal_string(s.cents), 'current_total_price_set', demo.money_set(s.cents),
        'landing_site', '/collections/all', 'referring_site', NULL,
        'note_attributes', coalesce((SELECT jsonb_agg(jsonb_build_object('name', key, 'value', value)) FROM jsonb_each(v.attributes)), '[]'),
        'email', 'buyer' || s.n || '@example.com', 'customer', jsonb_build_object('first_name', 'Buyer', 'last_name', s.n),
        'refunds', '[]'::jsonb) AS payload
    FROM demo.sales s LEFT JOIN demo.visits v USING (n) WHERE s.source = 'shopify'),
-- The money that went back is in the transactions, here in one or two of them; the refund lines are
-- JSON numbers and need not sum to it.
shopify_refund AS (
    SELECT r.n, 'shopify', 'refunds/create', r.at, jsonb_build_object(
        'id', demo.shopify_id(r.n * 10 + r.part, 4), 'admin_graphql_api_id', 'gid://shopify/Refund/' || demo.shopify_id(r.n * 10 + r.part, 4),
        'order_id', demo.shopify_id(r.n, 0), 'created_at', demo.gmt(r.at) || '+00:00', 'processed_at', demo.gmt(r.at) || '+00:00', 'note', NULL,
        'refund_line_items', jsonb_build_array(jsonb_build_object(
            'id', demo.shopify_id(r.n * 10 + r.part, 6), 'quantity', 1, 'subtotal', s.cents * 0.01, 'total_tax', 0, 'subtotal_set', demo.money_set(s.cents))),
        'transactions', (SELECT jsonb_agg(jsonb_build_object(
            'id', demo.shopify_id(r.n * 100 + r.part * 10 + i, 7), 'order_id', demo.shopify_id(r.n, 0), 'kind', 'refund', 'status', status,
            'amount', demo.decimal_string(amount), 'currency', NULL) ORDER BY i)
            FROM (VALUES (1, 'success', r.cents - r.cents / 3), (2, 'success', r.cents / 3), (3, 'failure', r.cents)) AS t (i, status, amount)))
    FROM demo.refunds r JOIN demo.sales s USING (n) WHERE s.source = 'shopify'),
-- One payment, two topics: the intent and its charge.
stripe_paid AS (
    SELECT s.n, 'stripe', t.topic, s.at + t.later, jsonb_build_object(
        'id', demo.stripe_id(s.n * 10 + t.i, 'evt'), 'object', 'event', 'type', t.topic, 'created', extract(epoch FROM s.at + t.later)::bigint, 'livemode', false,
        'data', jsonb_build_object('object', CASE t.i
            WHEN 1 THEN jsonb_build_object('id', demo.stripe_id(s.n, 'pi'), 'object', 'payment_intent', 'amount', s.cents, 'amount_received', s.cents,
                'latest_charge', demo.stripe_id(s.n, 'ch'))
            ELSE jsonb_build_object('id', demo.stripe_id(s.n, 'ch'), 'object', 'charge', 'payment_intent', demo.stripe_id(s.n, 'pi'),
                'amount', s.cents, 'amount_captured', s.cents, 'amount_refunded', 0, 'captured', true, 'paid', true, 'refunded', false)
            END || jsonb_build_object('currency', 'usd', 'created', extract(epoch FROM s.at)::bigint, 'status', 'succeeded',
                'metadata', jsonb_build_object('order_id', (6000 + s.n)::text) || coalesce(v.attributes, '{}'))))
    FROM demo.sales s LEFT JOIN demo.visits v USING (n)
    -- Which topic comes first is nobody's promise.
    CROSS JOIN LATERAL (VALUES (1, 'payment_intent.succeeded', demo.draw(s.n, 10, 5) * interval '1 second'),
                               (2, 'charge.succeeded', interval '2 seconds')) AS t (i, topic, later)
    WHERE s.source = 'stripe'),
-- amount_refunded and the list are cumulative: the second delivery tells of the first refund again.
stripe_refund AS (
    SELECT r.n, 'stripe', 'charge.refunded', r.at, jsonb_build_object(
        'id', demo.stripe_id(r.n * 10 + 5 + r.part, 'evt'), 'object', 'event', 'type', 'charge.refunded', 'created', extract(epoch FROM r.at)::bigint, 'livemode', false,
        'data', jsonb_build_object(
            'object', jsonb_build_object('id', demo.stripe_id(r.n, 'ch'), 'object', 'charge', 'payment_intent', demo.stripe_id(r.n, 'pi'),
                'amount', s.cents, 'amount_refunded', l.refunded, 'currency', 'usd', 'created', extract(epoch FROM s.at)::bigint,
                'status', 'succeeded', 'refunds', jsonb_build_object('object', 'list', 'has_more', false, 'data', l.list)),
            'previous_attributes', jsonb_build_object('amount_refunded', l.refunded - r.cents)))
    FROM demo.refunds r JOIN demo.sales s USING (n)
    CROSS JOIN LATERAL (
        SELECT sum(x.cents)::bigint AS refunded, jsonb_agg(jsonb_build_object('id', demo.stripe_id(x.n * 10 + x.part, 're'), 'object', 'refund',
            'amount', x.cents, 'charge', demo.stripe_id(x.n, 'ch'), 'created', extract(epoch FROM x.at)::bigint, 'currency', 'usd', 'status', 'succeeded') ORDER BY x.part DESC) AS list
        FROM demo.refunds x WHERE x.n = r.n AND x.part <= r.part) AS l
    WHERE s.source = 'stripe'),
paypal AS (
    SELECT s.n, 'paypal', 'PAYMENT.CAPTURE.COMPLETED', s.at, jsonb_build_object(
        'id', 'WH-' || demo.paypal_id(s.n, 1) || '-' || demo.paypal_id(s.n, 2), 'event_version', '1.0', 'create_time', demo.gmt(s.at) || '.338Z',
        'resource_type', 'capture', 'resource_version', '2.0', 'event_type', 'PAYMENT.CAPTURE.COMPLETED',
        'summary', 'Payment completed for $ ' || demo.decimal_string(s.cents) || ' USD',
        'resource', jsonb_build_object('id', demo.paypal_id(s.n, 3), 'status', 'COMPLETED', 'create_time', demo.gmt(s.at) || 'Z', 'final_capture', true,
            'amount', jsonb_build_object('value', demo.decimal_string(s.cents), 'currency_code', 'USD'),
            'custom_id', demo.query_string(v.attributes),
            'supplementary_data', jsonb_build_object('related_ids', jsonb_build_object('order_id', demo.paypal_id(s.n, 4))),
            'seller_receivable_breakdown', jsonb_build_object(
                'gross_amount', jsonb_build_object('value', demo.decimal_string(s.cents), 'currency_code', 'USD'))))
    FROM demo.sales s LEFT JOIN demo.visits v USING (n) WHERE s.source = 'paypal'),
-- order.updated fires for every change: not paid yet, paid, sent, refunded. There is no event id.
woocommerce AS (
    SELECT s.n, 'woocommerce', 'order.updated', c.at, jsonb_build_object(
        'id', 400 + s.n, 'number', (400 + s.n)::text, 'order_key', 'wc_order_' || demo.token(s.n, 40, 11, '0123456789abcdef'),
        'status', c.status, 'currency', 'USD', 'total', demo.decimal_string(s.cents), 'total_tax', '0.00',
        'date_created_gmt', demo.gmt(s.at - interval '2 minutes'), 'date_modified_gmt', demo.gmt(c.at),
        'date_paid_gmt', CASE WHEN c.status <> 'pending' THEN demo.gmt(s.at) END,
        'line_items', jsonb_build_array(jsonb_build_object('id', 9000 + s.n, 'quantity', 1, 'total', demo.decimal_string(s.cents), 'price', s.cents * 0.01)),
        'meta_data', coalesce((SELECT jsonb_agg(jsonb_build_object('key', '_' || key, 'value', value) ORDER BY key)
                               FROM jsonb_each(v.attributes)), '[]'),
        'refunds', coalesce((SELECT jsonb_agg(jsonb_build_object('id', 5000 + r.n * 10 + r.part, 'reason', '', 'total', '-' || demo.decimal_string(r.cents)) ORDER BY r.part)
                             FROM demo.refunds r WHERE r.n = s.n AND r.part <= c.refunds), '[]'))
    FROM demo.sales s LEFT JOIN demo.visits v USING (n)
    CROSS JOIN LATERAL (
        SELECT 'pending', s.at - interval '2 minutes', 0
        UNION ALL SELECT 'processing', s.at, 0
        UNION ALL SELECT 'completed', s.at + interval '1 day', 0 WHERE s.n % 2 = 0
        UNION ALL SELECT 'completed', r.at, r.part FROM demo.refunds r WHERE r.n = s.n) AS c (status, at, refunds)
    WHERE s.source = 'woocommerce'),
once AS (TABLE shopify_paid UNION ALL TABLE shopify_refund UNION ALL TABLE stripe_paid UNION ALL TABLE stripe_refund
         UNION ALL TABLE paypal UNION ALL TABLE woocommerce)
SELECT source, topic, arrived, payload FROM (
    TABLE once
    UNION ALL -- An answer that came too late: the same delivery again, an hour later.
    SELECT n, source, topic, arrived + interval '1 hour', payload FROM once WHERE n % 9 IN (0, 8)) AS all_deliveries
ORDER BY arrived, n, topic;
