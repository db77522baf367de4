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
    CONSTRAINT attribution_models_model_version_length CHECK (octet_length(model_version) BETWEEN 1 AND 255)
);
COMMENT ON TABLE attribution.attribution_models IS 'Ways of giving credit. A row never changes: changing your mind is a new version.';
COMMENT ON COLUMN attribution.attribution_models.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.attribution_models.model_version IS 'The name of the version, such as 1.0.0; at most 255 bytes.';
COMMENT ON COLUMN attribution.attribution_models.method IS 'How weights come about. custom without parameters: the caller gives the weights of each event.';
COMMENT ON COLUMN attribution.attribution_models.parameters IS 'Parameters of the method.';
COMMENT ON COLUMN attribution.attribution_models.created_at IS 'When the row was inserted.';
SELECT pg_extension_config_dump('attribution.attribution_models', '');

CREATE FUNCTION attribution.keep_model() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_keep_model';
COMMENT ON FUNCTION attribution.keep_model() IS 'Trigger: refuses (23514, model_version_is_immutable) every update of a model version.';
REVOKE ALL ON FUNCTION attribution.keep_model() FROM PUBLIC;
CREATE TRIGGER model_version_is_immutable AFTER UPDATE ON attribution.attribution_models
    FOR EACH ROW EXECUTE FUNCTION attribution.keep_model();
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
    CONSTRAINT attribution_allocations_ratio_range CHECK (allocation_ratio BETWEEN 0 AND 1),
    CONSTRAINT attribution_allocations_text_length CHECK (
        octet_length(model_version) BETWEEN 1 AND 255
        AND octet_length(channel) BETWEEN 1 AND 255
        AND octet_length(correlation_id) BETWEEN 1 AND 255)
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
SELECT pg_extension_config_dump('attribution.attribution_allocations', '');

CREATE INDEX idx_attribution_allocations_tenant_created_at ON attribution.attribution_allocations (tenant_id, created_at DESC);
CREATE INDEX idx_attribution_allocations_event_id ON attribution.attribution_allocations (event_id);
CREATE INDEX idx_attribution_allocations_channel ON attribution.attribution_allocations (channel);
CREATE UNIQUE INDEX idx_attribution_allocations_tenant_event_model_channel
    ON attribution.attribution_allocations (tenant_id, event_id, model_version, channel)
    WHERE model_version IS NOT NULL;
CREATE INDEX idx_attribution_allocations_tenant_model_version ON attribution.attribution_allocations (tenant_id, model_version);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.attribution_allocations
    FOR EACH ROW EXECUTE FUNCTION attribution.touch_updated_at();

ALTER TABLE attribution.attribution_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.attribution_models
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.attribution_allocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.attribution_allocations
    USING (tenant_id = attribution.current_tenant());

CREATE FUNCTION attribution.allocate_cents(total bigint, weights numeric[]) RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_allocate_cents';
COMMENT ON FUNCTION attribution.allocate_cents(bigint, numeric[]) IS
'Splits total (minor units) by weights so that the parts sum to total: Hamilton''s largest remainder on the absolute amount, ties to the lower index. One-dimensional array of at most 1000000 non-negative weights, not all zero. 22023 bad weights, 22004 NULL weight, 54000 too many.';

CREATE FUNCTION attribution.allocate_cents(total bigint, parts integer) RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_allocate_cents_equally';
COMMENT ON FUNCTION attribution.allocate_cents(bigint, integer) IS
'Splits total (minor units) into equal parts; the first parts take the cents left over. 1 to 1000000 parts; 22023 below, 54000 above.';

CREATE FUNCTION attribution.allocate_event(
    tenant_id uuid, event_id uuid, model_version text, channels text[], weights numeric[])
    RETURNS SETOF attribution.attribution_allocations
    LANGUAGE c VOLATILE CALLED ON NULL INPUT ROWS 5
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_allocate_event_by_weights';
COMMENT ON FUNCTION attribution.allocate_event(uuid, uuid, text, text[], numeric[]) IS
'Allocates the revenue of a conversion to channels by the caller''s weights and returns the stored rows in the order of their channels. Ties are decided by allocation_tie_key(). Idempotent: weights of the same ratios return the stored rows, others are refused (23505, allocation_is_unchanged). An unknown model version is recorded as custom. At most 10000 channels (54000). 22004 NULL argument, 22023 bad weights or channels, an unknown event, a touch, a refund, or a model version that computes its weights itself.';
REVOKE ALL ON FUNCTION attribution.allocate_event(uuid, uuid, text, text[], numeric[]) FROM PUBLIC;

CREATE FUNCTION attribution.allocate_event(tenant_id uuid, event_id uuid, model_version text)
    RETURNS SETOF attribution.attribution_allocations
    LANGUAGE c VOLATILE CALLED ON NULL INPUT ROWS 5
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_allocate_event';
COMMENT ON FUNCTION attribution.allocate_event(uuid, uuid, text) IS
'Allocates a conversion to the channels of its journey by the weights of the model version, or a refund to what is left per channel of its conversion, and returns the stored rows in the order of their channels. Allocating a conversion allocates its refunds with it, allocating a refund those before it. Idempotent: what is stored is returned, never recomputed. 22004 NULL argument, 22023 an unknown event or model version, a touch, a refund whose conversion is not allocated, or a model version without weights of its own; 54000 too many touches or channels; 23514 a refund of more than is left.';
REVOKE ALL ON FUNCTION attribution.allocate_event(uuid, uuid, text) FROM PUBLIC;

CREATE FUNCTION attribution.define_model(tenant_id uuid, model_version text, method text, parameters jsonb DEFAULT '{}')
    RETURNS void
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_define_model';
COMMENT ON FUNCTION attribution.define_model(uuid, text, text, jsonb) IS
'Defines a model version of a tenant, once: the same definition again changes nothing, another one is refused (23505). method: first_touch, last_touch, last_non_direct, linear, position_based, time_decay, custom. parameters of all methods: lookback_days (30), exclude_channels; of last_non_direct: direct_channels (["direct"]); of position_based: position_weights ({"first": 40, "middle": 20, "last": 40}); of time_decay: half_life_days (7); of custom: channel_weights ({channel: weight}), default_weight (0), or none at all when the caller gives the weights of each event. 22023 for anything else.';
REVOKE ALL ON FUNCTION attribution.define_model(uuid, text, text, jsonb) FROM PUBLIC;
