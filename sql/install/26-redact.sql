-- redact: personal data in what is stored.

CREATE FUNCTION attribution.erase_personal_data(
    tenant_id uuid, session_ids uuid[] DEFAULT NULL, keys text[] DEFAULT NULL, containing text DEFAULT NULL,
    OUT events bigint, OUT dead_events bigint)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_erase_personal_data';
COMMENT ON FUNCTION attribution.erase_personal_data(uuid, uuid[], text[], text) IS
'Erases payload and session of events, and payload, headers and detail of dead events, that belong to a person: by sessions, by business keys (external event ids, correlation ids), or by a text that their payloads contain, such as an e-mail address (reads all payloads of the tenant). The rest of a journey and the refunds of a conversion go along. Amounts, channels, times and keys stay, so no sum changes; what is not allocated yet loses its touches. Dead events that waited can no longer be retried. Returns how many events and how many dead events were erased. 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.erase_personal_data(uuid, uuid[], text[], text) FROM PUBLIC;
