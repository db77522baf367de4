-- ingest: what happened (events) and what could not be taken in (dead events).

CREATE TABLE attribution.attribution_events (
    tenant_id         uuid        NOT NULL,
    id                uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    event_type        text        NOT NULL,
    occurred_at       timestamptz NOT NULL,
    external_event_id text,
    correlation_id    text,
    session_id        uuid,
    channel           text,
    source            text,
    refund_of         uuid,
    revenue_cents     bigint      NOT NULL DEFAULT 0,
    raw_payload       jsonb,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attribution_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT attribution_events_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id),
    CONSTRAINT attribution_events_refund_of_fkey FOREIGN KEY (tenant_id, refund_of)
        REFERENCES attribution.attribution_events (tenant_id, id),
    CONSTRAINT attribution_events_type CHECK (event_type IN ('touch', 'conversion', 'refund')),
    CONSTRAINT attribution_events_revenue_sign CHECK (CASE event_type
        WHEN 'touch' THEN revenue_cents = 0
        WHEN 'conversion' THEN revenue_cents > 0
        WHEN 'refund' THEN revenue_cents < 0 END),
    CONSTRAINT attribution_events_touch_has_channel CHECK (event_type <> 'touch' OR channel IS NOT NULL),
    CONSTRAINT attribution_events_refund_names_conversion CHECK ((event_type = 'refund') = (refund_of IS NOT NULL)),
    CONSTRAINT attribution_events_occurred_at_range CHECK (
        occurred_at >= '1970-01-01 00:00:00+00'::timestamptz AND occurred_at < 'infinity'::timestamptz),
    CONSTRAINT attribution_events_text_length CHECK (
        octet_length(external_event_id) >= 1 AND octet_length(external_event_id) <= 255
        AND octet_length(correlation_id) >= 1 AND octet_length(correlation_id) <= 255
        AND octet_length(channel) >= 1 AND octet_length(channel) <= 255
        AND octet_length(source) >= 1 AND octet_length(source) <= 255)
);
COMMENT ON TABLE attribution.attribution_events IS
'What happened: touches (a channel, no revenue), conversions (revenue above zero) and refunds (revenue below zero, of a conversion). Events that share a session_id are a journey.';
COMMENT ON COLUMN attribution.attribution_events.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.attribution_events.id IS 'UUID: version 7 by default, keyed_event_id() where ingest_event() was given a business key.';
COMMENT ON COLUMN attribution.attribution_events.event_type IS 'touch, conversion or refund.';
COMMENT ON COLUMN attribution.attribution_events.occurred_at IS 'When it happened; finite, not before 1970.';
COMMENT ON COLUMN attribution.attribution_events.external_event_id IS 'Business key source:kind:id, unique per tenant; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_events.correlation_id IS 'The provider''s id that ties events together; the business key where there is no external_event_id; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_events.session_id IS 'The journey.';
COMMENT ON COLUMN attribution.attribution_events.channel IS 'The marketing channel; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_events.source IS 'Where the event came from, such as shopify; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_events.refund_of IS 'The conversion a refund takes back.';
COMMENT ON COLUMN attribution.attribution_events.revenue_cents IS 'Minor units of the tenant''s currency: 0 for a touch, above zero for a conversion, below zero for a refund.';
COMMENT ON COLUMN attribution.attribution_events.raw_payload IS 'The message as it came; the functions store it without redacted keys.';
COMMENT ON COLUMN attribution.attribution_events.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.attribution_events.updated_at IS 'When the row was last updated (kept by a trigger).';

CREATE INDEX idx_attribution_events_tenant_occurred_at ON attribution.attribution_events (tenant_id, occurred_at DESC);
CREATE UNIQUE INDEX idx_attribution_events_tenant_external_event_id ON attribution.attribution_events (tenant_id, external_event_id)
    WHERE external_event_id IS NOT NULL;
CREATE UNIQUE INDEX idx_attribution_events_tenant_correlation_id ON attribution.attribution_events (tenant_id, correlation_id)
    WHERE correlation_id IS NOT NULL AND external_event_id IS NULL;
CREATE INDEX idx_attribution_events_session_id ON attribution.attribution_events (session_id)
    WHERE session_id IS NOT NULL;
CREATE INDEX idx_attribution_events_tenant_refund_of ON attribution.attribution_events (tenant_id, refund_of)
    WHERE refund_of IS NOT NULL;

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.attribution_events
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.touch_updated_at();

CREATE TABLE attribution.dead_events (
    tenant_id         uuid        NOT NULL,
    id                uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    ingested_at       timestamptz NOT NULL DEFAULT now(),
    source            text        NOT NULL,
    error_code        text        NOT NULL,
    error_detail      jsonb,
    raw_payload       jsonb,
    correlation_id    text,
    external_event_id text,
    topic             text,
    headers           jsonb,
    retry_count       integer     NOT NULL DEFAULT 0,
    last_retry_at     timestamptz,
    next_retry_at     timestamptz,
    resolved_at       timestamptz,
    resolution        text,
    resolved_by       name,
    resolved_event_id uuid,
    resolution_note   text,
    CONSTRAINT dead_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT dead_events_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id),
    CONSTRAINT dead_events_retry_count_range CHECK (retry_count >= 0),
    CONSTRAINT dead_events_resolution CHECK (resolution IN ('ingested', 'duplicate', 'ignored', 'discarded', 'erased')),
    CONSTRAINT dead_events_resolution_has_time CHECK (resolution IS NULL OR resolved_at IS NOT NULL),
    CONSTRAINT dead_events_text_length CHECK (
        octet_length(source) >= 1 AND octet_length(source) <= 255 AND octet_length(error_code) >= 1 AND octet_length(error_code) <= 255)
);
COMMENT ON TABLE attribution.dead_events IS 'Messages that could not become events, kept whole but for redacted keys until they are retried or discarded, and as an audit after that.';
COMMENT ON COLUMN attribution.dead_events.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.dead_events.id IS 'UUID, version 7 by default.';
COMMENT ON COLUMN attribution.dead_events.ingested_at IS 'When the message arrived.';
COMMENT ON COLUMN attribution.dead_events.source IS 'Where it came from, such as shopify; at most 255 bytes.';
COMMENT ON COLUMN attribution.dead_events.error_code IS 'Why it could not be taken in; doc/webhook.md lists the codes. At most 255 bytes.';
COMMENT ON COLUMN attribution.dead_events.error_detail IS 'What exactly was wrong: message, field, value.';
COMMENT ON COLUMN attribution.dead_events.raw_payload IS 'The message as it came, without redacted keys; a JSON string holds a text that is no JSON.';
COMMENT ON COLUMN attribution.dead_events.correlation_id IS 'The provider''s id, if it could be read.';
COMMENT ON COLUMN attribution.dead_events.external_event_id IS 'The business key, if it could be read.';
COMMENT ON COLUMN attribution.dead_events.retry_count IS 'How often it was retried.';
COMMENT ON COLUMN attribution.dead_events.topic IS 'The topic of a webhook.';
COMMENT ON COLUMN attribution.dead_events.headers IS 'Its headers, without redacted keys.';
COMMENT ON COLUMN attribution.dead_events.last_retry_at IS 'When it was last retried.';
COMMENT ON COLUMN attribution.dead_events.next_retry_at IS 'Before that time it is not retried, unless asked to; NULL: at any time.';
COMMENT ON COLUMN attribution.dead_events.resolved_at IS 'When it was taken in or discarded; NULL while it is dead.';
COMMENT ON COLUMN attribution.dead_events.resolution IS 'How: ingested, duplicate or ignored by a retry, discarded, or erased.';
COMMENT ON COLUMN attribution.dead_events.resolved_by IS 'The session user who did it.';
COMMENT ON COLUMN attribution.dead_events.resolved_event_id IS 'The event that a retry led to.';
COMMENT ON COLUMN attribution.dead_events.resolution_note IS 'Why it was discarded.';

CREATE INDEX idx_dead_events_tenant_ingested_at ON attribution.dead_events (tenant_id, ingested_at DESC);
CREATE INDEX idx_dead_events_source ON attribution.dead_events (source);
CREATE INDEX idx_dead_events_error_code ON attribution.dead_events (error_code);

ALTER TABLE attribution.attribution_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.attribution_events
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.dead_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.dead_events
    USING (tenant_id = attribution.current_tenant());
