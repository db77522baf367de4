-- dead_event: what became of deliveries that could not be taken in.

CREATE FUNCTION attribution.retry_dead_events(
    tenant_id uuid, source text DEFAULT NULL, error_code text DEFAULT NULL, limit_rows integer DEFAULT 1000,
    ingested_from timestamptz DEFAULT NULL, ingested_to timestamptz DEFAULT NULL, ignore_backoff boolean DEFAULT false,
    OUT ingested bigint, OUT duplicate bigint, OUT ignored bigint, OUT dead bigint)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET jit = off
    AS 'MODULE_PATHNAME', 'attribution_retry_dead_events';
COMMENT ON FUNCTION attribution.retry_dead_events(uuid, text, text, integer, timestamptz, timestamptz, boolean) IS
'Sends dead events of a tenant through ingest_webhook() again, oldest first, at most limit_rows (1 to 10000) of those with the source and error code that arrived in [ingested_from, ingested_to); NULL means all. Returns how many had which outcome. After each try that fails an event waits twice as long as before, from 1 minute up to 17 hours, unless ignore_backoff; the first try is due at once. Those that another session retries are left out. 22004 NULL tenant, 22023 limit_rows out of range, 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.retry_dead_events(uuid, text, text, integer, timestamptz, timestamptz, boolean) FROM PUBLIC;

CREATE FUNCTION attribution.discard_dead_events(
    tenant_id uuid, source text DEFAULT NULL, error_code text DEFAULT NULL, limit_rows integer DEFAULT 1000,
    ingested_from timestamptz DEFAULT NULL, ingested_to timestamptz DEFAULT NULL, note text DEFAULT NULL,
    OUT discarded bigint)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    SET jit = off
    AS 'MODULE_PATHNAME', 'attribution_discard_dead_events';
COMMENT ON FUNCTION attribution.discard_dead_events(uuid, text, text, integer, timestamptz, timestamptz, text) IS
'Gives up dead events of a tenant, oldest first, at most limit_rows of those with the source and error code that arrived in [ingested_from, ingested_to); NULL means all. They stay in dead_events, with time, role and note. Returns their number. 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.discard_dead_events(uuid, text, text, integer, timestamptz, timestamptz, text) FROM PUBLIC;

CREATE FUNCTION attribution.prune_dead_events(older_than interval DEFAULT '90 days', include_unresolved boolean DEFAULT false)
    RETURNS bigint
    LANGUAGE c VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_prune_dead_events';
COMMENT ON FUNCTION attribution.prune_dead_events(interval, boolean) IS
'Deletes dead events that were resolved more than older_than ago, and with include_unresolved also unresolved ones that arrived more than older_than ago; returns their number. Row security applies to the caller: an operator prunes its own tenant, the owner of the tables all of them. For a scheduler.';
REVOKE ALL ON FUNCTION attribution.prune_dead_events(interval, boolean) FROM PUBLIC;
