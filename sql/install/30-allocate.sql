-- allocate: models, and the functions that make allocations.

CREATE FUNCTION attribution_internal.keep_model() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_keep_model';
COMMENT ON FUNCTION attribution_internal.keep_model() IS 'Trigger: refuses (23514, model_version_is_immutable) every update of a model version.';
REVOKE ALL ON FUNCTION attribution_internal.keep_model() FROM PUBLIC;

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
    INOUT tenant_id uuid, OUT id uuid, INOUT event_id uuid, INOUT model_version text, OUT channel text,
    channels text[], weights numeric[],
    OUT weight numeric, OUT allocation_ratio numeric, OUT allocated_revenue_cents bigint, OUT model_metadata jsonb,
    OUT correlation_id text, OUT created_at timestamptz, OUT updated_at timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE CALLED ON NULL INPUT ROWS 5
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_allocate_event_by_weights';
COMMENT ON FUNCTION attribution.allocate_event(uuid, uuid, text, text[], numeric[]) IS
'Allocates the revenue of a conversion to channels by the caller''s weights and returns the stored rows in the order of their channels. Ties are decided by allocation_tie_key(). Idempotent: weights of the same ratios return the stored rows, others are refused (23505, allocation_is_unchanged). An unknown model version is recorded as custom. At most 10000 channels (54000). 22004 NULL argument, 22023 bad weights or channels, an unknown event, a touch, a refund, or a model version that computes its weights itself.';
REVOKE ALL ON FUNCTION attribution.allocate_event(uuid, uuid, text, text[], numeric[]) FROM PUBLIC;

CREATE FUNCTION attribution.allocate_event(
    INOUT tenant_id uuid, OUT id uuid, INOUT event_id uuid, INOUT model_version text, OUT channel text,
    OUT weight numeric, OUT allocation_ratio numeric, OUT allocated_revenue_cents bigint, OUT model_metadata jsonb,
    OUT correlation_id text, OUT created_at timestamptz, OUT updated_at timestamptz)
    RETURNS SETOF record
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
