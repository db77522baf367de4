-- webhook: deliveries of providers, and other names of events.

CREATE TABLE attribution.event_aliases (
    tenant_id         uuid        NOT NULL,
    external_event_id text        NOT NULL,
    event_id          uuid        NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_aliases_pkey PRIMARY KEY (tenant_id, external_event_id),
    CONSTRAINT event_aliases_event_fkey FOREIGN KEY (tenant_id, event_id)
        REFERENCES attribution.attribution_events (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT event_aliases_text_length CHECK (octet_length(external_event_id) BETWEEN 1 AND 255)
);
COMMENT ON TABLE attribution.event_aliases IS
'Second keys of events that are announced in two ways: a refund of Stripe by its own id and as part of the sum refunded of a charge.';
COMMENT ON COLUMN attribution.event_aliases.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.event_aliases.external_event_id IS 'The second key; at most 255 bytes.';
COMMENT ON COLUMN attribution.event_aliases.event_id IS 'The event.';
COMMENT ON COLUMN attribution.event_aliases.created_at IS 'When the row was inserted.';
SELECT pg_extension_config_dump('attribution.event_aliases', '');
CREATE INDEX idx_event_aliases_tenant_event_id ON attribution.event_aliases (tenant_id, event_id);
ALTER TABLE attribution.event_aliases ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.event_aliases
    USING (tenant_id = attribution.current_tenant());

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
