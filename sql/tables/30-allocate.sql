-- allocate: models, allocations and the functions that make them.

CREATE TABLE attribution.attribution_models (
    tenant_id     uuid        NOT NULL,
    model_version text        NOT NULL,
    method        text        NOT NULL,
    parameters    jsonb       NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attribution_models_pkey PRIMARY KEY (tenant_id, model_version),
    CONSTRAINT attribution_models_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id),
    CONSTRAINT attribution_models_method CHECK (method IN (
        'first_touch', 'last_touch', 'last_non_direct', 'linear', 'position_based', 'time_decay', 'custom')),
    CONSTRAINT attribution_models_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT attribution_models_model_version_length CHECK (octet_length(model_version) >= 1 AND octet_length(model_version) <= 255)
);
COMMENT ON TABLE attribution.attribution_models IS 'Ways of giving credit. A row never changes: changing your mind is a new version.';
COMMENT ON COLUMN attribution.attribution_models.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.attribution_models.model_version IS 'The name of the version, such as 1.0.0; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_models.method IS 'How weights come about. custom without parameters: the caller gives the weights of each event.';
COMMENT ON COLUMN attribution.attribution_models.parameters IS 'Parameters of the method.';
COMMENT ON COLUMN attribution.attribution_models.created_at IS 'When the row was inserted.';
CREATE TRIGGER model_version_is_immutable AFTER UPDATE ON attribution.attribution_models
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.keep_model();
ALTER TABLE attribution.attribution_models ENABLE ALWAYS TRIGGER model_version_is_immutable;

CREATE TABLE attribution.attribution_allocations (
    tenant_id               uuid         NOT NULL,
    id                      uuid         NOT NULL DEFAULT attribution.uuid_v7(),
    event_id                uuid         NOT NULL,
    model_version           text         NOT NULL,
    channel                 text         NOT NULL,
    weight                  numeric,
    allocation_ratio        numeric(6,5),
    allocated_revenue_cents bigint       NOT NULL,
    model_metadata          jsonb,
    correlation_id          text,
    created_at              timestamptz  NOT NULL DEFAULT now(),
    updated_at              timestamptz  NOT NULL DEFAULT now(),
    CONSTRAINT attribution_allocations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT attribution_allocations_event_fkey FOREIGN KEY (tenant_id, event_id)
        REFERENCES attribution.attribution_events (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT attribution_allocations_weight_range CHECK (weight >= 0 AND weight < 'Infinity'),
    CONSTRAINT attribution_allocations_ratio_range CHECK (allocation_ratio >= 0 AND allocation_ratio <= 1),
    CONSTRAINT attribution_allocations_text_length CHECK (
        octet_length(model_version) >= 1 AND octet_length(model_version) <= 255
        AND octet_length(channel) >= 1 AND octet_length(channel) <= 255
        AND octet_length(correlation_id) >= 1 AND octet_length(correlation_id) <= 255)
);
COMMENT ON TABLE attribution.attribution_allocations IS
'The cents each channel gets of an event under a model version. At COMMIT they sum to the revenue of the event, or there are none.';
COMMENT ON COLUMN attribution.attribution_allocations.tenant_id IS 'The tenant. Never changes.';
COMMENT ON COLUMN attribution.attribution_allocations.id IS 'UUID: allocation_id() where the extension allocates, version 7 by default.';
COMMENT ON COLUMN attribution.attribution_allocations.event_id IS 'The event. Never changes.';
COMMENT ON COLUMN attribution.attribution_allocations.model_version IS 'The model version, at most 255 bytes. Never changes.';
COMMENT ON COLUMN attribution.attribution_allocations.channel IS 'The channel, at most 255 bytes. Never changes.';
COMMENT ON COLUMN attribution.attribution_allocations.weight IS 'The weight that was used; only ratios within the event matter. NULL where the allocation was imported without one.';
COMMENT ON COLUMN attribution.attribution_allocations.allocation_ratio IS 'Share of the whole in hundred-thousandths; 1.00000 in sum per event and model version. NULL where imported without one.';
COMMENT ON COLUMN attribution.attribution_allocations.allocated_revenue_cents IS 'Minor units of the tenant''s currency.';
COMMENT ON COLUMN attribution.attribution_allocations.model_metadata IS 'Anything the caller wants to keep.';
COMMENT ON COLUMN attribution.attribution_allocations.correlation_id IS 'The event''s correlation id when it was allocated.';
COMMENT ON COLUMN attribution.attribution_allocations.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.attribution_allocations.updated_at IS 'When the row was last updated (kept by a trigger).';

CREATE INDEX idx_attribution_allocations_tenant_created_at ON attribution.attribution_allocations (tenant_id, created_at DESC);
CREATE INDEX idx_attribution_allocations_event_id ON attribution.attribution_allocations (event_id);
CREATE INDEX idx_attribution_allocations_channel ON attribution.attribution_allocations (channel);
CREATE UNIQUE INDEX idx_attribution_allocations_tenant_event_model_channel
    ON attribution.attribution_allocations (tenant_id, event_id, model_version, channel)
    WHERE model_version IS NOT NULL;
CREATE INDEX idx_attribution_allocations_tenant_model_version ON attribution.attribution_allocations (tenant_id, model_version);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.attribution_allocations
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.touch_updated_at();

ALTER TABLE attribution.attribution_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.attribution_models
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.attribution_allocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.attribution_allocations
    USING (tenant_id = attribution.current_tenant());
