-- webhook: deliveries of providers, and other names of events.

CREATE TABLE attribution.event_aliases (
    tenant_id         uuid        NOT NULL,
    external_event_id text        NOT NULL,
    event_id          uuid        NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_aliases_pkey PRIMARY KEY (tenant_id, external_event_id),
    CONSTRAINT event_aliases_event_fkey FOREIGN KEY (tenant_id, event_id)
        REFERENCES attribution.attribution_events (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT event_aliases_text_length CHECK (octet_length(external_event_id) >= 1 AND octet_length(external_event_id) <= 255)
);
COMMENT ON TABLE attribution.event_aliases IS
'Second keys of events that are announced in two ways: a refund of Stripe by its own id and as part of the sum refunded of a charge.';
COMMENT ON COLUMN attribution.event_aliases.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.event_aliases.external_event_id IS 'The second key; at most 255 bytes.';
COMMENT ON COLUMN attribution.event_aliases.event_id IS 'The event.';
COMMENT ON COLUMN attribution.event_aliases.created_at IS 'When the row was inserted.';
CREATE INDEX idx_event_aliases_tenant_event_id ON attribution.event_aliases (tenant_id, event_id);
ALTER TABLE attribution.event_aliases ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.event_aliases
    USING (tenant_id = attribution.current_tenant());
