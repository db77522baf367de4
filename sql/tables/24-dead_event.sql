-- dead_event: how many wait.

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
