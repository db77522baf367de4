-- identity: ids and tie keys. src/core/identity.hpp holds the definitions.

CREATE FUNCTION attribution.uuid_v7() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_uuid_v7';
COMMENT ON FUNCTION attribution.uuid_v7() IS
'A new time-ordered UUID, version 7 (RFC 9562): 48 bits of milliseconds, 12 bits of fraction, 62 random bits.';

CREATE FUNCTION attribution.allocation_id(tenant_id uuid, event_id uuid, model_version text, channel text, occurred_at timestamptz)
    RETURNS uuid
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_allocation_id';
COMMENT ON FUNCTION attribution.allocation_id(uuid, uuid, text, text, timestamptz) IS
'The deterministic id of an allocation: UUID version 8 (RFC 9562), the event time in milliseconds followed by bits of SipHash-2-4-128 of (tenant, event, model version, channel).';

CREATE FUNCTION attribution.allocation_tie_key(tenant_id uuid, event_id uuid, model_version text, channel text)
    RETURNS numeric
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_allocation_tie_key';
COMMENT ON FUNCTION attribution.allocation_tie_key(uuid, uuid, text, text) IS
'The 64-bit key, 0 to 2^64-1, that decides a tie when an event is allocated: the smaller key gets the cent. First word of SipHash-2-4-128 under the key "attribution.tie1".';

CREATE FUNCTION attribution.keyed_event_id(tenant_id uuid, external_event_id text, correlation_id text)
    RETURNS uuid
    LANGUAGE c IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_keyed_event_id';
COMMENT ON FUNCTION attribution.keyed_event_id(uuid, text, text) IS
'The deterministic id of an event that has a business key: its external_event_id, else its correlation_id; NULL without a key. UUID version 8 (RFC 9562) from SipHash-2-4-128 under the key "attribution.evt1".';
