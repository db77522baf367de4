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
'Sends dead events of a tenant through ingest_webhook() again, oldest first, at most limit_rows (1 to 10000) of those with the source and error code that arrived in [ingested_from, ingested_to); NULL means all. Returns how many had which outcome. After each try that fails an event waits twice as long as before, from 1 minute up to 17 hours, unless ignore_backoff; the first try is due at once. Those that another session retries are left out.';
REVOKE ALL ON FUNCTION attribution.retry_dead_events(uuid, text, text, integer, timestamptz, timestamptz, boolean) FROM PUBLIC;

CREATE FUNCTION attribution.discard_dead_events(
    tenant_id uuid, source text DEFAULT NULL, error_code text DEFAULT NULL, limit_rows integer DEFAULT 1000,
    ingested_from timestamptz DEFAULT NULL, ingested_to timestamptz DEFAULT NULL, note text DEFAULT NULL,
    OUT discarded bigint)
    LANGUAGE sql VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH chosen AS MATERIALIZED (
        SELECT d.tenant_id, d.id FROM attribution.dead_events d
        WHERE d.tenant_id = attribution.check_tenant(discard_dead_events.tenant_id)
          AND d.resolved_at IS NULL
          AND (discard_dead_events.source IS NULL OR d.source = discard_dead_events.source)
          AND (discard_dead_events.error_code IS NULL OR d.error_code = discard_dead_events.error_code)
          AND d.ingested_at >= coalesce(discard_dead_events.ingested_from, '-infinity'::timestamptz)
          AND d.ingested_at < coalesce(discard_dead_events.ingested_to, 'infinity'::timestamptz)
        ORDER BY d.ingested_at, d.id
        LIMIT greatest(discard_dead_events.limit_rows, 0)
        FOR UPDATE SKIP LOCKED),
    discarded AS (
        UPDATE attribution.dead_events d
        SET resolved_at = now(), resolution = 'discarded', resolved_by = session_user,
            resolution_note = discard_dead_events.note, next_retry_at = NULL
        FROM chosen c WHERE d.tenant_id = c.tenant_id AND d.id = c.id
        RETURNING 1)
    SELECT count(*) FROM discarded;
END;
COMMENT ON FUNCTION attribution.discard_dead_events(uuid, text, text, integer, timestamptz, timestamptz, text) IS
'Gives up dead events of a tenant, oldest first, at most limit_rows of those with the source and error code that arrived in [ingested_from, ingested_to); NULL means all. They stay in dead_events with when, by whom and note. Returns their number.';
REVOKE ALL ON FUNCTION attribution.discard_dead_events(uuid, text, text, integer, timestamptz, timestamptz, text) FROM PUBLIC;

CREATE VIEW attribution.dead_event_depth WITH (security_invoker = true) AS
SELECT d.tenant_id, d.source, d.error_code,
       count(*) AS events,
       min(d.ingested_at) AS oldest_ingested_at,
       extract(epoch FROM clock_timestamp() - min(d.ingested_at)) AS oldest_age_seconds,
       max(d.retry_count) AS most_retries,
       count(*) FILTER (WHERE d.next_retry_at IS NULL OR d.next_retry_at <= clock_timestamp()) AS due
FROM attribution.dead_events d
WHERE d.resolved_at IS NULL
GROUP BY d.tenant_id, d.source, d.error_code;
COMMENT ON VIEW attribution.dead_event_depth IS
'Dead events that wait, per tenant, source and error code: how many, how old the oldest is, and how many may be retried now.';

CREATE FUNCTION attribution.prune_dead_events(older_than interval DEFAULT '90 days', include_unresolved boolean DEFAULT false)
    RETURNS bigint
    LANGUAGE sql VOLATILE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM attribution.dead_events d
        WHERE coalesce(d.resolved_at, d.ingested_at) < now() - prune_dead_events.older_than
          AND (d.resolved_at IS NOT NULL OR prune_dead_events.include_unresolved)
        RETURNING 1)
    SELECT count(*) FROM gone;
END;
COMMENT ON FUNCTION attribution.prune_dead_events(interval, boolean) IS
'Deletes dead events that were resolved longer ago than that, and where asked also those that still wait since; returns their number. Row security applies to the caller: an operator prunes its own tenant, the owner of the tables all of them. For a scheduler.';
REVOKE ALL ON FUNCTION attribution.prune_dead_events(interval, boolean) FROM PUBLIC;

CREATE FUNCTION attribution.erase_personal_data(
    tenant_id uuid, session_ids uuid[] DEFAULT NULL, keys text[] DEFAULT NULL, containing text DEFAULT NULL,
    OUT events bigint, OUT dead_events bigint)
    LANGUAGE sql VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH wanted AS MATERIALIZED (
        SELECT attribution.check_tenant(erase_personal_data.tenant_id) AS tenant_id,
               coalesce(erase_personal_data.session_ids, '{}') AS session_ids,
               coalesce(erase_personal_data.keys, '{}') AS keys,
               nullif(erase_personal_data.containing, '') AS containing),
    matched AS MATERIALIZED (
        SELECT e.tenant_id, e.id, e.session_id, e.refund_of
        FROM wanted w JOIN attribution.attribution_events e ON e.tenant_id = w.tenant_id
        WHERE e.session_id = ANY (w.session_ids) OR e.external_event_id = ANY (w.keys) OR e.correlation_id = ANY (w.keys)
           OR strpos(lower(e.raw_payload::text), lower(w.containing)) > 0),
    -- With the conversion of a refund, the rest of the journey, and the refunds of its conversions.
    conversions AS MATERIALIZED (
        SELECT m.tenant_id, m.id, m.session_id FROM matched m
        UNION
        SELECT e.tenant_id, e.id, e.session_id FROM matched m
        JOIN attribution.attribution_events e ON e.tenant_id = m.tenant_id AND e.id = m.refund_of),
    journeys AS MATERIALIZED (
        SELECT c.tenant_id, c.id FROM conversions c
        UNION
        SELECT e.tenant_id, e.id FROM conversions c
        JOIN attribution.attribution_events e ON e.session_id = c.session_id AND e.tenant_id = c.tenant_id),
    family AS MATERIALIZED (
        SELECT j.tenant_id, j.id FROM journeys j
        UNION
        SELECT e.tenant_id, e.id FROM journeys j
        JOIN attribution.attribution_events e ON e.tenant_id = j.tenant_id AND e.refund_of = j.id),
    erased AS (
        UPDATE attribution.attribution_events e SET raw_payload = NULL, session_id = NULL
        FROM family f
        WHERE e.tenant_id = f.tenant_id AND e.id = f.id AND (e.raw_payload IS NOT NULL OR e.session_id IS NOT NULL)
        RETURNING 1),
    erased_dead AS (
        UPDATE attribution.dead_events d
        SET raw_payload = NULL, headers = NULL, error_detail = NULL, next_retry_at = NULL, resolution_note = NULL,
            resolved_at = coalesce(d.resolved_at, now()),
            resolution = CASE WHEN d.resolved_at IS NULL THEN 'erased' ELSE d.resolution END,
            resolved_by = CASE WHEN d.resolved_at IS NULL THEN session_user ELSE d.resolved_by END
        FROM wanted w
        WHERE d.tenant_id = w.tenant_id AND (d.raw_payload IS NOT NULL OR d.headers IS NOT NULL)
          AND (d.external_event_id = ANY (w.keys) OR d.correlation_id = ANY (w.keys)
               OR EXISTS (SELECT FROM family f JOIN attribution.attribution_events e ON e.tenant_id = f.tenant_id AND e.id = f.id
                          WHERE d.external_event_id = e.external_event_id OR d.correlation_id = e.correlation_id)
               OR EXISTS (SELECT FROM unnest(w.session_ids) AS s (id) WHERE strpos(lower(d.raw_payload::text), s.id::text) > 0)
               OR strpos(lower(d.raw_payload::text), lower(w.containing)) > 0
               OR strpos(lower(d.headers::text), lower(w.containing)) > 0)
        RETURNING 1)
    SELECT (SELECT count(*) FROM erased), (SELECT count(*) FROM erased_dead);
END;
COMMENT ON FUNCTION attribution.erase_personal_data(uuid, uuid[], text[], text) IS
'Erases payload and session of events, and payload, headers and detail of dead events, that belong to a person: by sessions, by business keys (external event ids, correlation ids), or by a text that their payloads contain, such as an e-mail address (reads all payloads of the tenant). The rest of a journey and the refunds of a conversion go along. Amounts, channels, times and keys stay, so no sum changes; what is not allocated yet loses its touches. Dead events that waited can no longer be retried. Returns how many rows were erased.';
REVOKE ALL ON FUNCTION attribution.erase_personal_data(uuid, uuid[], text[], text) FROM PUBLIC;
