-- webhook: every topic of every provider, in every order, and what cannot be read.
-- Payloads have the shapes of the providers' and are made up.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
SET client_min_messages = warning;
INSERT INTO attribution.tenants (id, name, currency) VALUES
    ('3eb00c00-0000-4000-8000-00000000000a', 'webhook usd', 'USD'),
    ('3eb00c00-0000-4000-8000-00000000000b', 'webhook jpy', 'JPY'),
    ('3eb00c00-0000-4000-8000-00000000000c', 'webhook kwd', 'KWD'),
    ('3eb00c00-0000-4000-8000-00000000000d', 'webhook isk', 'ISK'),
    ('3eb00c00-0000-4000-8000-00000000000e', 'webhook mga', 'MGA'),
    ('3eb00c00-0000-4000-8000-00000000000f', 'webhook empty', 'USD');
\set a '''3eb00c00-0000-4000-8000-00000000000a'''

-- Sends deliveries one after the other and says what became of each: outcome, the event, the dead letter.
CREATE TEMP TABLE deliveries (n serial, label text, source text, topic text, payload jsonb, tenant char DEFAULT 'a');
CREATE FUNCTION pg_temp.deliver() RETURNS TABLE (label text, outcome text, event text, dead text) LANGUAGE plpgsql AS $$
DECLARE
    d record;
    r record;
    t uuid;
BEGIN
    FOR d IN SELECT * FROM deliveries ORDER BY n LOOP
        t := '3eb00c00-0000-4000-8000-00000000000' || d.tenant;
        r := attribution.ingest_webhook(t, d.source, d.topic, d.payload);
        label := d.label;
        outcome := r.outcome;
        SELECT e.event_type || ' ' || e.revenue_cents || ' ' || coalesce(e.external_event_id, e.correlation_id)
            INTO event FROM attribution.attribution_events e WHERE e.tenant_id = t AND e.id = r.event_id;
        dead := NULL;
        IF r.outcome = 'dead' THEN
            SELECT x.error_code || coalesce(' ' || (x.error_detail ->> 'field'), '') || coalesce(' "' || (x.error_detail ->> 'value') || '"', '')
                INTO dead FROM attribution.dead_events x WHERE x.tenant_id = t ORDER BY x.id DESC LIMIT 1;
        END IF;
        RETURN NEXT;
    END LOOP;
    DELETE FROM deliveries;
END
$$;
CREATE FUNCTION pg_temp.shopify(id text, total text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', id::numeric, 'currency', 'USD', 'financial_status', 'paid', 'processed_at', '2026-03-01T12:00:00-05:00',
        'total_price', total, 'total_price_set', jsonb_build_object('shop_money', jsonb_build_object('amount', total, 'currency_code', 'USD'))) || more
$$;
CREATE FUNCTION pg_temp.shopify_refund(id text, order_id text, amounts text[], more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', id::numeric, 'order_id', order_id::numeric, 'created_at', '2026-03-02T12:00:00-05:00', 'transactions',
        (SELECT jsonb_agg(jsonb_build_object('kind', 'refund', 'status', 'success', 'amount', x, 'currency', NULL)) FROM unnest(amounts) AS x)) || more
$$;
CREATE FUNCTION pg_temp.stripe(type text, object jsonb, before jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', 'evt_1', 'type', type, 'created', 1772366400, 'data',
        jsonb_build_object('object', '{"currency": "usd", "created": 1772366400}'::jsonb || object) || before)
$$;
CREATE FUNCTION pg_temp.paypal(resource jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', 'WH-1', 'resource', '{"status": "COMPLETED", "create_time": "2026-03-01T12:00:00Z"}'::jsonb || resource)
$$;
CREATE FUNCTION pg_temp.woo(id text, status text, total text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', id::numeric, 'status', status, 'currency', 'USD', 'total', total, 'order_key', 'wc_order_' || id,
        'date_modified_gmt', '2026-03-03T12:00:00', 'date_paid_gmt', '2026-03-01T12:00:00', 'refunds', '[]'::jsonb) || more
$$;
\set ECHO queries

--
-- Shopify
--
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('created, not paid', 'shopify', 'orders/create', pg_temp.shopify('9007199254740993', '404.95', '{"financial_status": "pending"}')),
    ('authorized', 'shopify', 'orders/create', pg_temp.shopify('9007199254740993', '404.95', '{"financial_status": "authorized"}')),
    ('refund too early', 'shopify', 'refunds/create', pg_temp.shopify_refund('71', '9007199254740993', '{1.00}')),
    ('paid', 'shopify', 'orders/paid', pg_temp.shopify('9007199254740993', '404.95')),
    ('paid again', 'shopify', 'orders/paid', pg_temp.shopify('9007199254740993', '404.95')),
    ('created, late', 'shopify', 'orders/create', pg_temp.shopify('9007199254740993', '404.95')),
    ('other amount', 'shopify', 'orders/paid', pg_temp.shopify('9007199254740993', '404.96')),
    ('another order, one beyond a double', 'shopify', 'orders/paid', pg_temp.shopify('9007199254740992', '1.00')),
    ('paid, whatever the status says', 'shopify', 'orders/paid', pg_temp.shopify('31', '5.00', '{"financial_status": "voided"}')),
    ('refund', 'shopify', 'refunds/create', pg_temp.shopify_refund('72', '9007199254740993', '{75.00,10.00}')),
    ('refund again', 'shopify', 'refunds/create', pg_temp.shopify_refund('72', '9007199254740993', '{75.00,10.00}')),
    ('refund of nothing', 'shopify', 'refunds/create', pg_temp.shopify_refund('73', '9007199254740993', '{0.00}')),
    ('refund pending', 'shopify', 'refunds/create', pg_temp.shopify_refund('74', '9007199254740993', '{}', '{"transactions": [{"kind": "refund", "status": "pending", "amount": "1.00"}]}')),
    ('refund of too much', 'shopify', 'refunds/create', pg_temp.shopify_refund('75', '9007199254740993', '{319.96}')),
    ('refund of the rest', 'shopify', 'refunds/create', pg_temp.shopify_refund('76', '9007199254740993', '{319.95}')),
    ('refund in another currency', 'shopify', 'refunds/create', pg_temp.shopify_refund('77', '31', '{}', '{"transactions": [{"kind": "refund", "status": "success", "amount": "1.00", "currency": "EUR"}]}')),
    ('cancelled with its refund, first of all', 'shopify', 'orders/cancelled', pg_temp.shopify('32', '20.00', jsonb_build_object('financial_status', 'refunded', 'refunds', jsonb_build_array(pg_temp.shopify_refund('78', '32', '{20.00}'))))),
    ('its payment, after that', 'shopify', 'orders/paid', pg_temp.shopify('32', '20.00')),
    ('its refund, after that', 'shopify', 'refunds/create', pg_temp.shopify_refund('78', '32', '{20.00}')),
    ('cancelled unpaid', 'shopify', 'orders/cancelled', pg_temp.shopify('33', '20.00', '{"financial_status": "voided"}')),
    ('cancelled, money kept', 'shopify', 'orders/cancelled', pg_temp.shopify('34', '20.00')),
    ('free', 'shopify', 'orders/paid', pg_temp.shopify('35', '0.00')),
    ('plain fields', 'shopify', 'orders/paid', pg_temp.shopify('36', '1', '{"total_price": 10.5, "total_price_set": null}')),
    ('shop money counts', 'shopify', 'orders/paid', pg_temp.shopify('37', '1', '{"currency": "EUR", "total_price": "9.00", "total_price_set": {"shop_money": {"amount": "10.00", "currency_code": "USD"}, "presentment_money": {"amount": "9.00", "currency_code": "EUR"}}}')),
    ('chargeback', 'shopify', 'disputes/create', '{"id": 91, "order_id": 31, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "needs_response", "initiated_at": "2026-04-01T00:00:00Z"}'),
    ('chargeback again', 'shopify', 'disputes/update', '{"id": 91, "order_id": 31, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "under_review", "initiated_at": "2026-04-01T00:00:00Z"}'),
    ('chargeback won', 'shopify', 'disputes/update', '{"id": 91, "order_id": 31, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "won", "initiated_at": "2026-04-01T00:00:00Z", "finalized_on": "2026-05-01T00:00:00Z"}'),
    ('inquiry', 'shopify', 'disputes/create', '{"id": 92, "order_id": 31, "type": "inquiry", "amount": "5.00", "currency": "USD", "status": "needs_response"}'),
    ('won, never heard of', 'shopify', 'disputes/update', '{"id": 93, "order_id": 31, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "won", "initiated_at": "2026-04-01T00:00:00Z"}'),
    ('about something else', 'shopify', 'products/update', '{"id": 1}');
SELECT * FROM pg_temp.deliver();

--
-- Stripe
--
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('checkout, not paid', 'stripe', 'checkout.session.completed', pg_temp.stripe('', '{"id": "cs_1", "payment_intent": "pi_1", "payment_status": "unpaid", "amount_total": 1099}')),
    ('charge, not captured', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "captured": false, "amount": 1099}')),
    ('  given up', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_0", "payment_intent": "pi_0", "captured": false, "amount": 1099, "amount_refunded": 1099}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('intent', 'stripe', NULL, pg_temp.stripe('payment_intent.succeeded', '{"id": "pi_1", "amount": 1099, "amount_received": 1099}')),
    ('charge', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "captured": true, "amount": 1099, "amount_captured": 1099}')),
    ('checkout', 'stripe', 'checkout.session.completed', pg_temp.stripe('', '{"id": "cs_1", "payment_intent": {"id": "pi_1", "object": "payment_intent"}, "payment_status": "paid", "amount_total": 1099}')),
    ('invoice', 'stripe', 'invoice.paid', pg_temp.stripe('', '{"id": "in_1", "payment_intent": "pi_1", "amount_paid": 1099}')),
    ('subscription', 'stripe', 'checkout.session.completed', pg_temp.stripe('', '{"id": "cs_2", "payment_intent": null, "mode": "subscription", "payment_status": "paid", "amount_total": 1099}')),
    ('payment without intent', 'stripe', 'checkout.session.completed', pg_temp.stripe('', '{"id": "cs_3", "mode": "payment", "payment_status": "paid", "amount_total": 1099}')),
    ('other amount', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount": 1100}')),
    ('refund named, then as a sum', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_1", "payment_intent": "pi_1", "charge": "ch_1", "amount": 100, "status": "succeeded"}')),
    ('  the sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 100}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  the sum again', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 100}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  named again', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_1", "payment_intent": "pi_1", "charge": "ch_1", "amount": 100, "status": "succeeded"}')),
    ('refund as a sum, then named', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 300}', '{"previous_attributes": {"amount_refunded": 100}}')),
    ('  named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_2", "payment_intent": "pi_1", "amount": 200, "status": "succeeded"}')),
    ('  named again', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_2", "payment_intent": "pi_1", "amount": 200, "status": "succeeded"}')),
    ('  named with another amount', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_2", "payment_intent": "pi_1", "amount": 201, "status": "succeeded"}')),
    ('a sum, the one before unknown', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 350}')),
    ('  again', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 350}')),
    ('  less', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 300}')),
    ('the fourth before the third', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 500}', '{"previous_attributes": {"amount_refunded": 400}}')),
    ('  the third', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 400}', '{"previous_attributes": {"amount_refunded": 350}}')),
    ('  both named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_5", "payment_intent": "pi_1", "amount": 100, "status": "succeeded"}')),
    ('  both named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_4", "payment_intent": "pi_1", "amount": 50, "status": "succeeded"}')),
    ('pending refund', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_6", "payment_intent": "pi_1", "amount": 45, "status": "pending"}')),
    ('refund that failed, never taken in', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_6", "payment_intent": "pi_1", "amount": 45, "status": "failed"}')),
    ('refund that failed after all', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_1", "payment_intent": "pi_1", "amount": 100, "status": "failed"}')),
    ('too much', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_7", "payment_intent": "pi_1", "amount": 600, "status": "succeeded"}')),
    ('old charge without intent', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_old", "amount": 61798, "captured": true}')),
    ('old refunds inside', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_old", "amount": 61798, "amount_refunded": 10000, "refunds": {"data": [{"id": "re_old", "amount": 10000, "charge": "ch_old", "created": 1473318604, "currency": "usd", "status": "succeeded"}]}}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('dispute', 'stripe', 'charge.dispute.created', pg_temp.stripe('', '{"id": "dp_1", "charge": "ch_old", "amount": 50000, "status": "needs_response"}')),
    ('dispute lost', 'stripe', 'charge.dispute.closed', pg_temp.stripe('', '{"id": "dp_1", "charge": "ch_old", "amount": 50000, "status": "lost"}')),
    ('dispute won', 'stripe', 'charge.dispute.closed', pg_temp.stripe('', '{"id": "dp_1", "charge": "ch_old", "amount": 50000, "status": "won"}')),
    ('funds reinstated', 'stripe', 'charge.dispute.funds_reinstated', pg_temp.stripe('', '{"id": "dp_1", "charge": "ch_old", "amount": 50000, "status": "won"}')),
    ('inquiry', 'stripe', 'charge.dispute.created', pg_temp.stripe('', '{"id": "dp_2", "charge": "ch_old", "amount": 1, "status": "warning_needs_response"}')),
    ('about something else', 'stripe', 'customer.created', pg_temp.stripe('', '{"id": "cus_1"}')),
    ('amount as a string', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_9", "amount": "1000"}')),
    ('amount with decimals', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_9", "amount": 10.5}'));
SELECT * FROM pg_temp.deliver();
-- What is refunded of pi_1 in all: what was refunded, each once.
SELECT r.revenue_cents, r.external_event_id, a.external_event_id AS alias
FROM attribution.attribution_events c
JOIN attribution.attribution_events r ON r.tenant_id = c.tenant_id AND r.refund_of = c.id
LEFT JOIN attribution.event_aliases a ON a.tenant_id = r.tenant_id AND a.event_id = r.id
WHERE c.tenant_id = :a AND c.correlation_id = 'pi_1' AND c.external_event_id IS NULL ORDER BY r.external_event_id;
-- A refund that fails is money back however it had been announced: by its id, by a sum that got its id, by a sum alone.
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('failed before its payment is known', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_80", "payment_intent": "pi_8", "amount": 100, "status": "failed"}')),
    ('payment', 'stripe', 'payment_intent.succeeded', pg_temp.stripe('', '{"id": "pi_8", "amount_received": 1000}')),
    ('a sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_8", "payment_intent": "pi_8", "amount_refunded": 300}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_81", "payment_intent": "pi_8", "amount": 300, "status": "succeeded"}')),
    ('  failed', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_81", "payment_intent": "pi_8", "amount": 300, "status": "failed"}')),
    ('  failed, under its other topic', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_81", "payment_intent": "pi_8", "amount": 300, "status": "failed"}')),
    ('pending', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_82", "payment_intent": "pi_8", "amount": 200, "status": "pending"}')),
    ('  but in the sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_8", "payment_intent": "pi_8", "amount_refunded": 500}', '{"previous_attributes": {"amount_refunded": 300}}')),
    ('  failed', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_82", "payment_intent": "pi_8", "amount": 200, "status": "failed"}')),
    ('  failed again', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_82", "payment_intent": "pi_8", "amount": 200, "status": "failed"}'));
SELECT * FROM pg_temp.deliver();
SELECT sum(revenue_cents) AS left_of_1000 FROM attribution.attribution_events WHERE tenant_id = :a AND correlation_id = 'pi_8';
-- Money that came back can be refunded again: all of it twice, and no more than came back.
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('payment', 'stripe', 'payment_intent.succeeded', pg_temp.stripe('', '{"id": "pi_9", "amount_received": 1000}')),
    ('all refunded', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_91", "payment_intent": "pi_9", "amount": 1000, "status": "succeeded"}')),
    ('  failed', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_91", "payment_intent": "pi_9", "amount": 1000, "status": "failed"}')),
    ('all refunded in another way', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_92", "payment_intent": "pi_9", "amount": 1000, "status": "succeeded"}')),
    ('  again', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_92", "payment_intent": "pi_9", "amount": 1000, "status": "succeeded"}')),
    ('  with another amount', 'stripe', 'refund.updated', pg_temp.stripe('', '{"id": "re_92", "payment_intent": "pi_9", "amount": 999, "status": "succeeded"}')),
    ('  failed as well', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_92", "payment_intent": "pi_9", "amount": 1000, "status": "failed"}')),
    ('too much', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_93", "payment_intent": "pi_9", "amount": 1001, "status": "succeeded"}')),
    ('a part', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_94", "payment_intent": "pi_9", "amount": 400, "status": "succeeded"}')),
    ('the rest', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_95", "payment_intent": "pi_9", "amount": 600, "status": "succeeded"}')),
    ('  the part as a sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_9", "payment_intent": "pi_9", "amount_refunded": 400}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  the rest as a sum, the one before unknown', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_9", "payment_intent": "pi_9", "amount_refunded": 1000}')),
    ('and one more', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_96", "payment_intent": "pi_9", "amount": 1, "status": "succeeded"}')),
    ('another payment', 'stripe', 'payment_intent.succeeded', pg_temp.stripe('', '{"id": "pi_10", "amount_received": 1000}')),
    ('all refunded, as a sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_10", "payment_intent": "pi_10", "amount_refunded": 1000}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  failed', 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_101", "payment_intent": "pi_10", "amount": 1000, "status": "failed"}')),
    ('a part, as a sum', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_10", "payment_intent": "pi_10", "amount_refunded": 400}', '{"previous_attributes": {"amount_refunded": 0}}')),
    ('  named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_102", "payment_intent": "pi_10", "amount": 400, "status": "succeeded"}')),
    ('more, as a sum, the one before unknown', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_10", "payment_intent": "pi_10", "amount_refunded": 500}')),
    ('  named', 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_103", "payment_intent": "pi_10", "amount": 100, "status": "succeeded"}')),
    ('order', 'shopify', 'orders/paid', pg_temp.shopify('41', '5.00')),
    ('chargeback', 'shopify', 'disputes/create', '{"id": 95, "order_id": 41, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "needs_response", "initiated_at": "2026-04-01T00:00:00Z"}'),
    ('  won', 'shopify', 'disputes/update', '{"id": 95, "order_id": 41, "type": "chargeback", "amount": "5.00", "currency": "USD", "status": "won", "initiated_at": "2026-04-01T00:00:00Z"}'),
    ('refunded after that', 'shopify', 'refunds/create', pg_temp.shopify_refund('79', '41', '{5.00}')),
    ('  again', 'shopify', 'refunds/create', pg_temp.shopify_refund('79', '41', '{5.00}'));
SELECT * FROM pg_temp.deliver();
SELECT correlation_id, sum(revenue_cents) AS left_of_1000 FROM attribution.attribution_events WHERE tenant_id = :a AND correlation_id IN ('pi_9', 'pi_10') GROUP BY 1 ORDER BY 1;

--
-- PayPal
--
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('capture pending', 'paypal', 'PAYMENT.CAPTURE.COMPLETED', pg_temp.paypal('{"id": "CAP1", "status": "PENDING", "amount": {"value": "21.12", "currency_code": "USD"}}')),
    ('capture', 'paypal', 'PAYMENT.CAPTURE.COMPLETED', pg_temp.paypal('{"id": "CAP1", "amount": {"value": "21.12", "currency_code": "USD"}, "supplementary_data": {"related_ids": {"order_id": "ORD1"}}}')),
    ('the same as a sale', 'paypal', 'PAYMENT.SALE.COMPLETED', pg_temp.paypal('{"id": "CAP1", "state": "completed", "amount": {"total": "21.12", "currency": "USD"}, "parent_payment": "PAY-1"}')),
    ('refund', 'paypal', 'PAYMENT.CAPTURE.REFUNDED', pg_temp.paypal('{"id": "REF1", "amount": {"value": "1.12", "currency_code": "USD"}, "links": [{"rel": "self", "href": "https://api.example/v2/payments/refunds/REF1"}, {"rel": "up", "href": "https://api.example/v2/payments/captures/CAP1"}]}')),
    ('refund again', 'paypal', 'PAYMENT.CAPTURE.REFUNDED', pg_temp.paypal('{"id": "REF1", "amount": {"value": "1.12", "currency_code": "USD"}, "links": [{"rel": "up", "href": "https://api.example/v2/payments/captures/CAP1"}]}')),
    ('refund of a sale', 'paypal', 'PAYMENT.SALE.REFUNDED', pg_temp.paypal('{"id": "REF2", "sale_id": "CAP1", "state": "completed", "amount": {"total": "-2.00", "currency": "USD"}}')),
    ('refund without a parent', 'paypal', 'PAYMENT.CAPTURE.REFUNDED', pg_temp.paypal('{"id": "REF3", "amount": {"value": "1.12", "currency_code": "USD"}, "links": []}')),
    ('dispute won, nothing was taken', 'paypal', 'CUSTOMER.DISPUTE.RESOLVED', '{"resource": {"dispute_id": "PP-D-1", "dispute_outcome": {"outcome_code": "RESOLVED_SELLER_FAVOUR"}, "dispute_amount": {"value": "18.00", "currency_code": "USD"}, "disputed_transactions": [{"seller_transaction_id": "CAP1"}], "update_time": "2026-05-01T00:00:00Z"}}'),
    ('reversed', 'paypal', 'PAYMENT.CAPTURE.REVERSED', pg_temp.paypal('{"id": "REV1", "amount": {"value": "18.00", "currency_code": "USD"}, "links": [{"rel": "up", "href": "https://api.example/v2/payments/captures/CAP1"}]}')),
    ('dispute opened', 'paypal', 'CUSTOMER.DISPUTE.CREATED', '{"resource": {"dispute_id": "PP-D-1"}}'),
    ('dispute won', 'paypal', 'CUSTOMER.DISPUTE.RESOLVED', '{"resource": {"dispute_id": "PP-D-1", "dispute_outcome": {"outcome_code": "RESOLVED_SELLER_FAVOUR"}, "dispute_amount": {"value": "18.00", "currency_code": "USD"}, "disputed_transactions": [{"seller_transaction_id": "CAP1"}], "update_time": "2026-05-01T00:00:00Z"}}'),
    ('dispute lost', 'paypal', 'CUSTOMER.DISPUTE.RESOLVED', '{"resource": {"dispute_id": "PP-D-2", "dispute_outcome": {"outcome_code": "RESOLVED_BUYER_FAVOUR"}}}'),
    ('no resource', 'paypal', 'PAYMENT.CAPTURE.COMPLETED', '{"id": "WH-1"}'),
    ('topic from the payload', 'paypal', NULL, pg_temp.paypal('{"id": "CAP2", "amount": {"value": "1.00", "currency_code": "USD"}}') || '{"event_type": "PAYMENT.CAPTURE.COMPLETED"}'),
    ('about something else', 'paypal', 'CHECKOUT.ORDER.APPROVED', '{"resource": {}}');
SELECT * FROM pg_temp.deliver();

--
-- WooCommerce
--
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('pending', 'woocommerce', 'order.created', pg_temp.woo('727', 'pending', '29.35', '{"date_paid_gmt": null}')),
    ('on hold', 'woocommerce', 'order.updated', pg_temp.woo('727', 'on-hold', '29.35', '{"date_paid_gmt": null}')),
    ('cash on delivery', 'woocommerce', 'order.updated', pg_temp.woo('727', 'processing', '29.35', '{"date_paid_gmt": null}')),
    ('processing', 'woocommerce', 'order.updated', pg_temp.woo('727', 'processing', '29.35')),
    ('completed', 'woocommerce', 'order.updated', pg_temp.woo('727', 'completed', '29.35')),
    ('with a refund', 'woocommerce', 'order.updated', pg_temp.woo('727', 'completed', '29.35', '{"refunds": [{"id": 728, "total": "-9.35"}]}')),
    ('with two', 'woocommerce', 'order.updated', pg_temp.woo('727', 'refunded', '29.35', '{"refunds": [{"id": 729, "total": "-20.00"}, {"id": 728, "total": "-9.35"}]}')),
    ('again', 'woocommerce', 'order.updated', pg_temp.woo('727', 'refunded', '29.35', '{"refunds": [{"id": 729, "total": "-20.00"}, {"id": 728, "total": "-9.35"}]}')),
    ('refunded at first sight', 'woocommerce', 'order.updated', pg_temp.woo('730', 'refunded', '10.00', '{"refunds": [{"id": 731, "total": "-10.00"}]}')),
    ('a refund too much', 'woocommerce', 'order.updated', pg_temp.woo('732', 'completed', '10.00', '{"refunds": [{"id": 733, "total": "-4.00"}, {"id": 734, "total": "-6.01"}]}')),
    ('a refund too much, then one that fits', 'woocommerce', 'order.updated', pg_temp.woo('732', 'completed', '10.00', '{"refunds": [{"id": 733, "total": "-4.00"}, {"id": 734, "total": "-6.01"}, {"id": 738, "total": "-1.00"}]}')),
    ('another total and a new refund', 'woocommerce', 'order.updated', pg_temp.woo('732', 'completed', '9.00', '{"refunds": [{"id": 733, "total": "-4.00"}, {"id": 739, "total": "-2.00"}]}')),
    ('failed', 'woocommerce', 'order.updated', pg_temp.woo('735', 'failed', '10.00')),
    ('cancelled after payment', 'woocommerce', 'order.updated', pg_temp.woo('736', 'cancelled', '10.00')),
    ('deleted', 'woocommerce', 'order.deleted', '{"id": 727}'),
    ('no status', 'woocommerce', 'order.updated', '{"id": 727}'),
    ('about something else', 'woocommerce', 'coupon.created', '{"id": 727}');
SELECT * FROM pg_temp.deliver();
SELECT external_event_id, revenue_cents FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id ~ ':73[2-9]$' AND occurred_at = '2026-03-03 12:00Z' ORDER BY 1;

--
-- Currencies count differently
--
INSERT INTO deliveries (label, tenant, source, topic, payload) VALUES
    ('yen', 'b', 'woocommerce', 'order.updated', pg_temp.woo('1', 'completed', '1000', '{"currency": "JPY"}')),
    ('yen with zeros', 'b', 'woocommerce', 'order.updated', pg_temp.woo('2', 'completed', '1000.00', '{"currency": "JPY"}')),
    ('half a yen', 'b', 'woocommerce', 'order.updated', pg_temp.woo('3', 'completed', '1000.5', '{"currency": "JPY"}')),
    ('yen of Stripe', 'b', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "amount": 500, "currency": "jpy"}')),
    ('dinar', 'c', 'woocommerce', 'order.updated', pg_temp.woo('1', 'completed', '12.345', '{"currency": "KWD"}')),
    ('dinar of Stripe', 'c', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "amount": 12340, "currency": "kwd"}')),
    ('krona of Stripe', 'd', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "amount": 50000, "currency": "isk"}')),
    ('half a krona of Stripe', 'd', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_2", "amount": 50050, "currency": "isk"}')),
    ('ariary of Stripe', 'e', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_1", "amount": 500, "currency": "mga"}')),
    ('not the tenant''s', 'a', 'woocommerce', 'order.updated', pg_temp.woo('801', 'completed', '10.00', '{"currency": "EUR"}')),
    ('of no country', 'a', 'woocommerce', 'order.updated', pg_temp.woo('802', 'completed', '10.00', '{"currency": "ZZZ"}')),
    ('lower case', 'a', 'woocommerce', 'order.updated', pg_temp.woo('803', 'completed', '10.00', '{"currency": "usd"}')),
    ('none', 'a', 'woocommerce', 'order.updated', pg_temp.woo('804', 'completed', '10.00', '{"currency": null}'));
SELECT * FROM pg_temp.deliver();

--
-- What cannot be read
--
INSERT INTO deliveries (label, source, topic, payload)
SELECT v.label, 'woocommerce', 'order.updated', pg_temp.woo('900', 'completed', '10.00', v.more::jsonb)
FROM (VALUES
    ('three decimals', '{"total": "10.005"}'), ('as a number', '{"total": 10.005}'), ('exponent in a string', '{"total": "1e3"}'),
    ('empty', '{"total": ""}'), ('null', '{"total": null}'), ('negative', '{"total": "-1.00"}'), ('comma', '{"total": "1,00"}'),
    ('blank', '{"total": " 1.00"}'), ('true', '{"total": true}'), ('an object', '{"total": {"amount": "1"}}'), ('an array', '{"total": ["1"]}'),
    ('huge', '{"total": "92233720368547758.08"}'), ('NaN', '{"total": "NaN"}'), ('a full-width digit', '{"total": "１"}'),
    ('id with decimals', '{"id": 1.5}'), ('id negative', '{"id": -1}'), ('id null', '{"id": null}'), ('id empty', '{"id": ""}'), ('id an object', '{"id": {}}'),
    ('id true', '{"id": true}'), ('status a number', '{"status": 7}'), ('time', '{"date_paid_gmt": "yesterday"}'), ('time before 1970', '{"date_paid_gmt": "1969-12-31T23:59:59"}'),
    ('time a number', '{"date_paid_gmt": 7}'), ('currency a number', '{"currency": 840}'),
    ('refund without id', '{"refunds": [{"total": "-1.00"}]}'), ('refund without total', '{"refunds": [{"id": 1}]}')) AS v (label, more);
-- Lists of refunds that are none: PHP makes an object of an array with gaps.
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('refunds an object', 'woocommerce', 'order.updated', pg_temp.woo('907', 'completed', '10.00', '{"refunds": {"1": {"id": 9201, "total": "-1.00"}}}')),
    ('refunds a string', 'woocommerce', 'order.updated', pg_temp.woo('907', 'completed', '10.00', '{"refunds": "9201"}')),
    ('refund a number', 'woocommerce', 'order.updated', pg_temp.woo('907', 'completed', '10.00', '{"refunds": [{"id": 9201, "total": "-1.00"}, 9202]}')),
    ('refunds null', 'woocommerce', 'order.updated', pg_temp.woo('907', 'completed', '10.00', '{"refunds": null}')),
    ('refunds an object', 'shopify', 'orders/updated', pg_temp.shopify('908', '10.00', '{"refunds": {"1": {"id": 9201}}}')),
    ('transactions an object', 'shopify', 'refunds/create', pg_temp.shopify_refund('9203', '37', '{}', '{"transactions": {"kind": "refund", "status": "success", "amount": "1.00"}}')),
    ('transaction a string', 'shopify', 'refunds/create', pg_temp.shopify_refund('9203', '37', '{}', '{"transactions": ["refund"]}')),
    ('transaction without status', 'shopify', 'refunds/create', pg_temp.shopify_refund('9203', '37', '{}', '{"transactions": [{"kind": "refund", "amount": "1.00"}]}')),
    ('transaction without kind', 'shopify', 'refunds/create', pg_temp.shopify_refund('9203', '37', '{}', '{"transactions": [{"status": "success", "amount": "1.00"}]}')),
    ('refunds an object', 'stripe', 'charge.refunded', pg_temp.stripe('', '{"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 500, "refunds": {"data": {"1": {"id": "re_9201"}}}}'));
-- A number in JSON may be anything that numeric is.
INSERT INTO deliveries (label, source, topic, payload) VALUES
    ('exponent', 'woocommerce', 'order.updated', pg_temp.woo('901', 'completed', '', '{"total": 1e3}')),
    ('tiny', 'woocommerce', 'order.updated', pg_temp.woo('902', 'completed', '', '{"total": 1e-1000}')),
    ('enormous', 'woocommerce', 'order.updated', pg_temp.woo('903', 'completed', '', '{"total": 1e100000}')),
    ('an enormous id', 'woocommerce', 'order.updated', pg_temp.woo('904', 'completed', '1.00', '{"id": 1e100000}')),
    ('enormous after many of that kind', 'woocommerce', 'order.updated', pg_temp.woo('907', 'completed', '', '{"total": 1e100000}') || jsonb_build_object('x', array_fill(1e131071, '{10}'))),
    ('an id of 255 bytes with its prefix', 'woocommerce', 'order.updated', pg_temp.woo('905', 'completed', '1.00', jsonb_build_object('id', repeat('x', 237)))),
    ('and one more', 'woocommerce', 'order.updated', pg_temp.woo('905', 'completed', '1.00', jsonb_build_object('id', repeat('x', 238)))),
    ('an array', 'woocommerce', 'order.updated', '[1]'), ('a string', 'woocommerce', 'order.updated', '"order"'), ('null', 'woocommerce', 'order.updated', 'null'),
    ('an order and 1000 refunds', 'woocommerce', 'order.updated', pg_temp.woo('906', 'completed', '10.00', jsonb_build_object('refunds', (SELECT jsonb_agg(jsonb_build_object('id', 9000 + i, 'total', '-0.01')) FROM generate_series(1, 1000) AS i)))),
    ('nothing', 'woocommerce', 'order.updated', '{}'), ('unknown source', 'magento', 'order', '{}'), ('no topic', 'shopify', NULL, '{}'), ('no topic', 'stripe', NULL, '{"type": 7}');
SELECT label, outcome, left(event, 60) AS event, left(dead, 100) AS dead FROM pg_temp.deliver();
SELECT (attribution.ingest_webhook(:a, 'shopify', NULL, pg_temp.shopify('38', '3.00'), '{"x-shopify-topic": "orders/paid"}')).outcome;
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook(NULL, 'shopify', 'orders/paid', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-00000000000a', NULL, 'orders/paid', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-00000000000a', 'shopify', 'orders/paid', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook_text('3eb00c00-0000-4000-8000-00000000000a', 'shopify', 'orders/paid', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-00000000000a', '', 'orders/paid', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-00000000000a', 'shopify', repeat('x', 256), '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-0000000000ff', 'shopify', 'orders/paid', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook_text('3eb00c00-0000-4000-8000-0000000000ff', 'shopify', 'orders/paid', 'x')$$);
CALL pg_temp.attempt($$SELECT attribution.retry_dead_events(NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.retry_dead_events('3eb00c00-0000-4000-8000-00000000000a', limit_rows => 0)$$);
CALL pg_temp.attempt($$SELECT attribution.retry_dead_events('3eb00c00-0000-4000-8000-00000000000a', limit_rows => 10001)$$);

--
-- A body that may be no JSON: the server stays up, the transaction goes on, and nothing is lost
--
BEGIN;
CREATE TEMP TABLE bodies (n serial, label text, body text, outcome text);
INSERT INTO bodies (label, body) VALUES
    ('order', pg_temp.shopify('39', '4.00')::text), ('no JSON', 'oops'), ('empty', ''), ('cut off', '{"id": 1, "total'),
    ('NUL escape', '{"id": 1, "x": "\u0000"}'), ('lone surrogate', '{"id": 1, "x": "\ud800"}'), ('number beyond numeric', '{"id": 1e1000000}'),
    ('form', 'id=1&total=2'), ('deep', repeat('[', 200000) || repeat(']', 200000)), ('10 MB', repeat('x', 10 * 1024 * 1024)),
    ('10 MB of JSON', '{"id": 1, "x": "' || repeat('y', 10 * 1024 * 1024) || '"}');
DELETE FROM attribution.dead_events WHERE tenant_id = :a;
UPDATE bodies SET outcome = (attribution.ingest_webhook_text(:a, 'shopify', 'orders/paid', body)).outcome;
-- The dead ones in the order of their ids.
SELECT b.label, b.outcome, d.error_code, jsonb_typeof(d.raw_payload) AS kept_as,
       CASE jsonb_typeof(d.raw_payload) WHEN 'string' THEN d.raw_payload #>> '{}' = b.body ELSE d.raw_payload = b.body::jsonb END AS kept_whole
FROM (SELECT x.*, count(*) FILTER (WHERE outcome = 'dead') OVER (ORDER BY n) AS k FROM bodies x) b
LEFT JOIN (SELECT x.*, row_number() OVER (ORDER BY id) AS k FROM attribution.dead_events x WHERE tenant_id = :a) d ON b.outcome = 'dead' AND d.k = b.k
ORDER BY b.n;
ROLLBACK;
-- As jsonb: nested as deep as it goes, and wide.
SELECT (attribution.ingest_webhook(:a, 'shopify', 'orders/paid', pg_temp.shopify('40', '4.00', jsonb_build_object('x', (repeat('[', 5000) || repeat(']', 5000))::jsonb, 'y', repeat('z', 10 * 1024 * 1024))))).outcome;

--
-- Where the customer came from: a channel alone is a journey of one touch, a session is the journey
--
SELECT attribution.define_model(:a, 'last', 'last_touch');
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, session_id, channel)
VALUES (:a, 'touch', '2026-02-28', '5e551000-0000-4000-8000-000000000001', 'newsletter');
CREATE TEMP TABLE origins (n serial, label text, source text, topic text, payload jsonb);
INSERT INTO origins (label, source, topic, payload) VALUES
    ('note attribute', 'shopify', 'orders/paid', pg_temp.shopify('50', '1.00', '{"note_attributes": [{"name": "utm_source", "value": "google"}, {"name": "gift", "value": "yes"}]}')),
    ('channel counts more', 'shopify', 'orders/paid', pg_temp.shopify('51', '1.00', '{"note_attributes": [{"name": "utm_source", "value": "google"}, {"name": "channel", "value": "paid search"}]}')),
    ('landing site', 'shopify', 'orders/paid', pg_temp.shopify('52', '1.00', '{"landing_site": "/p?utm_medium=cpc&utm_source=bing%20ads"}')),
    ('landing site in no encoding', 'shopify', 'orders/paid', pg_temp.shopify('53', '1.00', '{"landing_site": "/p?utm_source=%ff%00"}')),
    ('session', 'shopify', 'orders/paid', pg_temp.shopify('54', '1.00', '{"landing_site": "/p?utm_source=bing", "note_attributes": [{"name": "session_id", "value": "5e551000-0000-4000-8000-000000000001"}]}')),
    ('session that is none', 'shopify', 'orders/paid', pg_temp.shopify('55', '1.00', '{"note_attributes": [{"name": "session_id", "value": "abc"}]}')),
    ('nothing', 'shopify', 'orders/paid', pg_temp.shopify('56', '1.00')),
    ('metadata', 'stripe', 'charge.succeeded', pg_temp.stripe('', '{"id": "ch_50", "amount": 100, "metadata": {"utm_source": "google"}}')),
    ('custom_id', 'paypal', 'PAYMENT.CAPTURE.COMPLETED', pg_temp.paypal('{"id": "CAP50", "custom_id": "order=7&channel=affiliate", "amount": {"value": "1.00", "currency_code": "USD"}}')),
    ('order attribution', 'woocommerce', 'order.updated', pg_temp.woo('750', 'completed', '1.00', '{"meta_data": [{"id": 1, "key": "_wc_order_attribution_utm_source", "value": "(direct)"}]}'));
CREATE TEMP TABLE arrived AS SELECT o.n, o.label, w.* FROM origins o, LATERAL attribution.ingest_webhook(:a, o.source, o.topic, o.payload) AS w;
SELECT w.label, w.outcome, e.channel, e.session_id IS NOT NULL AS has_session,
       (SELECT string_agg(a.channel || ' ' || a.allocated_revenue_cents, ', ') FROM attribution.allocate_event(:a, w.event_id, 'last') AS a) AS allocated
FROM arrived w JOIN attribution.attribution_events e ON e.tenant_id = :a AND e.id = w.event_id ORDER BY w.n;
-- Again: no touch more.
SELECT DISTINCT w.outcome FROM origins o, LATERAL attribution.ingest_webhook(:a, o.source, o.topic, o.payload) AS w;
SELECT external_event_id, channel FROM attribution.attribution_events WHERE tenant_id = :a AND event_type = 'touch' ORDER BY 1;

--
-- What is personal is not stored: events, dead events, headers, pairs of name and value, text
--
SELECT (attribution.ingest_webhook(:a, 'shopify', 'orders/paid', pg_temp.shopify('60', '1.00', '{"email": "x@example.com", "Customer": {"firstName": "X"},
    "deep": [{"a": {"billing_address": {"zip": "1"}, "E-Mail": "x@example.com", "keep": 1}}], "note_attributes": [{"name": "email", "value": "x@example.com"}, {"name": "gift", "value": "yes"}, {"Name": "Email", "VALUE": "x@example.com"}],
    "meta": [{"key": "_billing_email", "value": {"x": ["x@example.com"]}, "id": 3}]}'), '{"X-Forwarded-For": "192.0.2.1", "X-Shopify-Topic": "orders/paid"}')).outcome;
SELECT raw_payload - 'total_price_set' AS raw_payload FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'shopify:order:60';
-- What an invoice, a dispute and the attribution of an order say of people.
SELECT (attribution.ingest_webhook(:a, 'stripe', 'invoice.paid', pg_temp.stripe('', '{"id": "in_60", "payment_intent": "pi_60", "amount_paid": 100, "customer_address": {"line1": "example.com"}, "customer_phone": "example.com",
    "customer_shipping": {"name": "example.com"}, "customer_tax_ids": [{"value": "example.com"}]}'))).outcome;
SELECT (attribution.ingest_webhook(:a, 'paypal', 'CUSTOMER.DISPUTE.RESOLVED', '{"resource": {"dispute_id": "", "disputed_transactions": [{"buyer": {"name": "example.com"}}]}}')).outcome;
SELECT (attribution.ingest_webhook(:a, 'woocommerce', 'order.updated', pg_temp.woo('61', 'completed', '1.00', '{"meta_data": [{"key": "_wc_order_attribution_user_agent", "value": "example.com"}]}'))).outcome;
SELECT (attribution.ingest_webhook(:a, 'shopify', 'orders/paid', '{"email": "x@example.com", "id": null}', '{"Cookie": "x@example.com", "X-Shopify-Topic": "orders/paid"}')).outcome;
SELECT raw_payload, headers FROM attribution.dead_events WHERE tenant_id = :a ORDER BY id DESC LIMIT 1;
SELECT (attribution.ingest_webhook_text(:a, 'shopify', 'orders/paid', '{"email": "x@example.com", "id": 7, "x": "\u0000"}')).outcome;
SELECT raw_payload FROM attribution.dead_events WHERE tenant_id = :a ORDER BY id DESC LIMIT 1;
SELECT outcome FROM attribution.ingest_event(:a, 's', 'conversion', '2026-03-01', 1, external_event_id => 'redact', raw_payload => '{"phone": "1", "x": [{"phone": 2}], "y": 3}');
SELECT raw_payload FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'redact';
-- Inside strings: URLs, JSON once more; and where all of the message is a string.
SELECT outcome FROM attribution.ingest_event(:a, 's', 'conversion', '2026-03-01', 1, external_event_id => 'in strings',
    raw_payload => '{"landing_site": "/p?email=x%40example.com&utm_source=y#e-mail=x@example.com", "body": "{\"phone\":7,\"to\":{\"email\":\"x@example.com\"},\"total\":\"1.00\"}", "list": ["first_name=example.com&x=1", "email"], "a": "=\""}');
SELECT raw_payload FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'in strings';
SELECT (attribution.ingest_webhook(:a, 'shopify', 'orders/paid', to_jsonb('{"id": 62, "phone": 7, "email": "x@example.com", "currency": "USD", "total_price": "1.00", "processed_at": "2026-03-01T12:00:00Z"}'::text), to_jsonb('email=x@example.com'::text))).outcome;
SELECT raw_payload, headers FROM attribution.dead_events WHERE tenant_id = :a ORDER BY id DESC LIMIT 1;
SELECT count(*) AS personal FROM attribution.attribution_events e FULL JOIN attribution.dead_events d ON false
WHERE concat(e.raw_payload, d.raw_payload, d.headers) LIKE '%example.com%';
-- Another list, and none.
SET attribution.redacted_keys = 'secret code, ,x';
SELECT outcome FROM attribution.ingest_event(:a, 's', 'conversion', '2026-03-01', 1, external_event_id => 'redact 2', raw_payload => '{"phone": "1", "SecretCode": 2, "X": 3}');
SET attribution.redacted_keys = '';
SELECT outcome FROM attribution.ingest_event(:a, 's', 'conversion', '2026-03-01', 1, external_event_id => 'redact 3', raw_payload => '{"phone": "1", "email": 3}');
SELECT external_event_id, raw_payload FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id LIKE 'redact %' ORDER BY 1;
RESET attribution.redacted_keys;

--
-- Dead events: how many, again, and given up
--
\set f '''3eb00c00-0000-4000-8000-00000000000f'''
SELECT (attribution.ingest_webhook(:f, 'shopify', 'refunds/create', pg_temp.shopify_refund('2', '1', '{4.00}'))).outcome;
SELECT (attribution.ingest_webhook(:f, 'shopify', 'orders/paid', pg_temp.shopify('1', '4.005'))).outcome;
SELECT (attribution.ingest_webhook(:f, 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_1", "payment_intent": "pi_1", "amount": 1, "status": "succeeded"}'))).outcome;
SELECT (attribution.ingest_webhook_text(:f, 'shopify', 'orders/paid', 'oops')).outcome;
SELECT source, error_code, events, oldest_age_seconds >= 0 AS has_age, most_retries, due FROM attribution.dead_event_depth WHERE tenant_id = :f ORDER BY 1, 2;
-- Nothing has changed; the wait begins.
SELECT * FROM attribution.retry_dead_events(:f);
SELECT source, error_code, events, most_retries, due FROM attribution.dead_event_depth WHERE tenant_id = :f ORDER BY 1, 2;
SELECT * FROM attribution.retry_dead_events(:f);
SELECT error_code, retry_count, next_retry_at - last_retry_at AS wait FROM attribution.dead_events WHERE tenant_id = :f ORDER BY error_code, source;
SELECT * FROM attribution.retry_dead_events(:f, ignore_backoff => true);
SELECT DISTINCT retry_count, next_retry_at - last_retry_at AS wait FROM attribution.dead_events WHERE tenant_id = :f;
-- The order comes, and what waited for it heals.
SELECT (attribution.ingest_webhook(:f, 'shopify', 'orders/paid', pg_temp.shopify('1', '4.00'))).outcome;
SELECT * FROM attribution.retry_dead_events(:f, 'shopify', 'unknown_original', ignore_backoff => true);
SELECT * FROM attribution.retry_dead_events(:f, 'shopify', 'unknown_original', ignore_backoff => true);
SELECT d.resolution, d.resolved_by = session_user AS by_me, d.resolved_at IS NOT NULL AS has_time, e.external_event_id, e.revenue_cents
FROM attribution.dead_events d JOIN attribution.attribution_events e ON e.tenant_id = d.tenant_id AND e.id = d.resolved_event_id WHERE d.tenant_id = :f;
-- A refund died before its payment, then failed: its failure waits for it, though that is not due as long.
SELECT (attribution.ingest_webhook(:f, 'stripe', 'refund.created', pg_temp.stripe('', '{"id": "re_11", "payment_intent": "pi_11", "amount": 1, "status": "succeeded"}'))).outcome;
SELECT * FROM attribution.retry_dead_events(:f, 'stripe', 'unknown_original');
SELECT (attribution.ingest_webhook(:f, 'stripe', 'payment_intent.succeeded', pg_temp.stripe('', '{"id": "pi_11", "amount_received": 5}'))).outcome;
SELECT (attribution.ingest_webhook(:f, 'stripe', 'refund.failed', pg_temp.stripe('', '{"id": "re_11", "payment_intent": "pi_11", "amount": 1, "status": "failed"}'))).outcome;
SELECT * FROM attribution.retry_dead_events(:f, 'stripe', 'unknown_original');
SELECT * FROM attribution.retry_dead_events(:f, 'stripe', 'unknown_original', ignore_backoff => true);
SELECT event_type, revenue_cents, external_event_id FROM attribution.attribution_events WHERE tenant_id = :f AND correlation_id = 'pi_11' ORDER BY revenue_cents;
-- Both died, the refund first: one call takes in both.
INSERT INTO attribution.dead_events (tenant_id, source, topic, error_code, raw_payload, ingested_at) VALUES
    (:f, 'shopify', 'refunds/create', 'unknown_original', pg_temp.shopify_refund('12', '11', '{1.00}'), '2026-01-01'),
    (:f, 'shopify', 'orders/paid', 'rejected', pg_temp.shopify('11', '4.00'), '2026-01-02');
SELECT * FROM attribution.retry_dead_events(:f, ingested_to => '2026-01-03');
-- An error inside is that event's alone.
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not on a sunday'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON attribution.attribution_events FOR EACH ROW WHEN (NEW.external_event_id = 'shopify:order:13') EXECUTE FUNCTION pg_temp.refuse();
INSERT INTO attribution.dead_events (tenant_id, source, topic, error_code, raw_payload, ingested_at) VALUES
    (:f, 'shopify', 'orders/paid', 'rejected', pg_temp.shopify('13', '4.00'), '2026-01-01'), (:f, 'shopify', 'orders/paid', 'rejected', pg_temp.shopify('14', '4.00'), '2026-01-02');
SELECT * FROM attribution.retry_dead_events(:f, ingested_to => '2026-01-03');
SELECT error_code, error_detail FROM attribution.dead_events WHERE tenant_id = :f AND ingested_at = '2026-01-01' AND resolved_at IS NULL;
DROP TRIGGER refuse ON attribution.attribution_events;
-- What is listed as personal by now goes before anything is stored.
BEGIN;
INSERT INTO attribution.dead_events (tenant_id, source, topic, error_code, raw_payload) VALUES
    (:f, 'shopify', 'orders/paid', 'by hand', pg_temp.shopify('15', '4.00', '{"favourite_colour": "blue"}'));
SET LOCAL attribution.redacted_keys = 'favourite-colour';
SELECT ingested FROM attribution.retry_dead_events(:f, error_code => 'by hand');
SELECT raw_payload ? 'id' AS has_payload, raw_payload ? 'favourite_colour' AS has_personal_data
FROM attribution.attribution_events WHERE tenant_id = :f AND external_event_id = 'shopify:order:15';
ROLLBACK;
-- In bounded batches, the oldest first.
SELECT * FROM attribution.discard_dead_events(:f, limit_rows => 1, note => 'test');
SELECT * FROM attribution.discard_dead_events(:f, error_code => 'invalid_json');
SELECT error_code, resolution, resolution_note, resolved_at IS NULL AS waits FROM attribution.dead_events WHERE tenant_id = :f ORDER BY ingested_at, error_code;
SELECT * FROM attribution.retry_dead_events(:f, 'shopify', 'invalid_json', ignore_backoff => true);
-- Pruning takes what is resolved, and what waits only when told to.
BEGIN;
SELECT attribution.prune_dead_events('1 day');
SELECT count(*) = attribution.prune_dead_events('-1 day') AS none_left FROM attribution.dead_events WHERE resolved_at IS NOT NULL;
SELECT count(*) FROM attribution.dead_events WHERE tenant_id = :f;
SELECT attribution.prune_dead_events('-1 day', include_unresolved => true) > 0 AS all_gone;
SELECT count(*) FROM attribution.dead_events;
ROLLBACK;

--
-- Erasure: payload and session go, amounts stay
--
CREATE TEMP TABLE amounts AS SELECT tenant_id, id, event_type, revenue_cents, channel, external_event_id, correlation_id, refund_of FROM attribution.attribution_events;
CREATE TEMP TABLE allocated AS SELECT * FROM attribution.attribution_allocations;
SELECT * FROM attribution.erase_personal_data(:a, keys => '{shopify:refund:72}');
SELECT external_event_id FROM attribution.attribution_events WHERE tenant_id = :a AND raw_payload IS NULL AND event_type <> 'touch' ORDER BY 1;
SELECT * FROM attribution.erase_personal_data(:a, session_ids => '{5e551000-0000-4000-8000-000000000001}');
SELECT count(*) FROM attribution.attribution_events WHERE session_id = '5e551000-0000-4000-8000-000000000001';
SELECT * FROM attribution.erase_personal_data(:a, containing => 'BING%20');
SELECT external_event_id, channel, session_id FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id IN ('shopify:order:52', 'shopify:touch:52') ORDER BY 1;
SELECT * FROM attribution.erase_personal_data(:f, containing => '4.005');
SELECT error_code, resolution, raw_payload, headers, error_detail FROM attribution.dead_events WHERE tenant_id = :f AND resolution = 'erased';
SELECT * FROM attribution.retry_dead_events(:f, error_code => 'invalid_amount', ignore_backoff => true);
SELECT * FROM attribution.erase_personal_data(:a);
SELECT * FROM attribution.erase_personal_data(:a, '{}', '{}', '');
(SELECT * FROM amounts EXCEPT ALL SELECT tenant_id, id, event_type, revenue_cents, channel, external_event_id, correlation_id, refund_of FROM attribution.attribution_events) UNION ALL
(SELECT tenant_id, id, event_type, revenue_cents, channel, external_event_id, correlation_id, refund_of FROM attribution.attribution_events EXCEPT ALL SELECT * FROM amounts);
(SELECT * FROM allocated EXCEPT ALL SELECT * FROM attribution.attribution_allocations) UNION ALL (SELECT * FROM attribution.attribution_allocations EXCEPT ALL SELECT * FROM allocated);

--
-- The whole way: an order, refunds in three parts up to all of it, allocated and posted: nothing is left of any channel
--
SELECT attribution.define_model(:f, 'way', 'linear');
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, session_id, channel)
SELECT :f, 'touch', '2026-02-28', '5e551000-0000-4000-8000-000000000077', c FROM unnest('{email,search,tv}'::text[]) AS c;
SELECT (attribution.ingest_webhook(:f, 'shopify', 'orders/paid', pg_temp.shopify('77', '1.00', '{"note_attributes": [{"name": "session_id", "value": "5e551000-0000-4000-8000-000000000077"}]}'))).outcome;
SELECT count(a) AS allocated FROM attribution.attribution_events e, attribution.allocate_event(:f, e.id, 'way') AS a WHERE e.tenant_id = :f AND e.external_event_id = 'shopify:order:77';
SELECT attribution.post_allocations(:f, 'way') AS posted;
SELECT (attribution.ingest_webhook(:f, 'shopify', 'refunds/create', pg_temp.shopify_refund(i::text, '77', ARRAY[x]))).outcome FROM (VALUES (771, '0.10'), (772, '0.57'), (773, '0.33')) AS r (i, x);
CALL attribution.allocate_events(:f, 'way') \gset
SELECT attribution.post_allocations(:f, 'way') > 0 AS posted, attribution.post_allocations(:f, 'way') AS again;
SELECT a.channel, count(*) AS postings, sum(l.revenue_cents) AS cents
FROM attribution.revenue_ledger l JOIN attribution.attribution_allocations a ON a.tenant_id = l.tenant_id AND a.id = l.allocation_id
JOIN attribution.attribution_events c ON c.tenant_id = l.tenant_id AND c.id = l.conversion_id
WHERE l.tenant_id = :f AND c.external_event_id = 'shopify:order:77' GROUP BY a.channel ORDER BY a.channel;
SELECT bool_and(holds IS NOT FALSE) AS conserved FROM attribution.conservation(:f);

--
-- Who may: a writer takes in and retries for its own tenant, an operator discards and erases
--
CREATE ROLE regress_attribution_hook;
SELECT attribution.grant_access('regress_attribution_hook', 'writer');
SET ROLE regress_attribution_hook;
SET attribution.tenant_id = '3eb00c00-0000-4000-8000-00000000000f';
SELECT (attribution.ingest_webhook(:f, 'shopify', 'orders/paid', '{"id": 21, "currency": "USD", "total_price": "1.00", "processed_at": "2026-03-01T12:00:00Z"}')).outcome;
SELECT (attribution.ingest_webhook(:f, 'shopify', 'orders/paid', '{"id": 22, "currency": "USD", "total_price": "1.00"}')).outcome;
SELECT dead FROM attribution.retry_dead_events(:f, error_code => 'missing_field');
SELECT source, error_code, events FROM attribution.dead_event_depth ORDER BY 1, 2;
CALL pg_temp.attempt($$SELECT attribution.ingest_webhook('3eb00c00-0000-4000-8000-00000000000a', 'shopify', 'orders/paid', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.retry_dead_events('3eb00c00-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$SELECT attribution.discard_dead_events('3eb00c00-0000-4000-8000-00000000000f')$$);
CALL pg_temp.attempt($$SET attribution.redacted_keys = ''$$);
RESET ROLE;
SELECT attribution.grant_access('regress_attribution_hook', 'operator');
SET ROLE regress_attribution_hook;
CALL pg_temp.attempt($$SELECT attribution.discard_dead_events('3eb00c00-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$SELECT attribution.erase_personal_data('3eb00c00-0000-4000-8000-00000000000a', containing => 'x')$$);
SELECT * FROM attribution.discard_dead_events(:f, error_code => 'missing_field');
RESET ROLE;
RESET attribution.tenant_id;
DROP OWNED BY regress_attribution_hook;
DROP ROLE regress_attribution_hook;

-- The codes that were met: all of doc/webhook.md.
SELECT DISTINCT error_code FROM attribution.dead_events WHERE tenant_id::text LIKE '3eb00c00%' ORDER BY 1;
