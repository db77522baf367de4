-- ingest: one event.

CREATE FUNCTION attribution.ingest_event(
    tenant_id uuid, source text, event_type text, occurred_at timestamptz,
    revenue_cents bigint DEFAULT NULL, external_event_id text DEFAULT NULL, correlation_id text DEFAULT NULL,
    session_id uuid DEFAULT NULL, channel text DEFAULT NULL, refund_of uuid DEFAULT NULL,
    raw_payload jsonb DEFAULT NULL,
    OUT event_id uuid, OUT outcome text)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_ingest_event';
COMMENT ON FUNCTION attribution.ingest_event(uuid, text, text, timestamptz, bigint, text, text, uuid, text, uuid, jsonb) IS
'Takes in one event, once per business key (external_event_id, else correlation_id). outcome: ingested, or duplicate with the id of the first event. revenue_cents in minor units; NULL means 0. The same key with another type, amount or refunded conversion is refused (23505, event_content_is_unchanged). A refund is taken in up to what is left of its conversion (23514, refunds_do_not_exceed_conversion). Without a key every call is a new event. 22004 NULL argument, 22023 invalid argument or unknown conversion, 54000 a text of more than 255 bytes, 23503 unknown tenant, 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.ingest_event(uuid, text, text, timestamptz, bigint, text, text, uuid, text, uuid, jsonb) FROM PUBLIC;
