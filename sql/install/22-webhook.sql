-- webhook: deliveries of providers.

CREATE FUNCTION attribution.ingest_webhook(
    tenant_id uuid, source text, topic text, payload jsonb, headers jsonb DEFAULT NULL,
    OUT event_id uuid, OUT outcome text)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    SET jit = off -- where one conversion has most refunds, lookups of refunds count as costly and would be compiled
    AS 'MODULE_PATHNAME', 'attribution_ingest_webhook';
COMMENT ON FUNCTION attribution.ingest_webhook(uuid, text, text, jsonb, jsonb) IS
'Takes in a delivery of shopify, stripe, paypal or woocommerce, once per order, payment and refund whatever the topics and deliveries (doc/webhook.md). topic NULL: as headers or payload say. outcome: ingested, duplicate, ignored (no money moved, or not yet) or dead (stored in dead_events with an error code; the transaction goes on). event_id: the event, NULL where there is none. Signatures are not checked: that needs the body as it came. 22004 NULL argument, 22023 unknown tenant or empty text, 54000 a text of more than 255 bytes; what is wrong with the delivery itself raises nothing.';
REVOKE ALL ON FUNCTION attribution.ingest_webhook(uuid, text, text, jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION attribution.ingest_webhook_text(
    tenant_id uuid, source text, topic text, body text, headers jsonb DEFAULT NULL,
    OUT event_id uuid, OUT outcome text)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET jit = off
    AS 'MODULE_PATHNAME', 'attribution_ingest_webhook_text';
COMMENT ON FUNCTION attribution.ingest_webhook_text(uuid, text, text, text, jsonb) IS
'ingest_webhook() of a body that may be no JSON, or none that jsonb can hold: such a body becomes a dead event (invalid_json) instead of an error.';
REVOKE ALL ON FUNCTION attribution.ingest_webhook_text(uuid, text, text, text, jsonb) FROM PUBLIC;
