-- refresh: the materialized views and what keeps them fresh.
-- Nothing that depends on the clock is stored: it would make every refresh rewrite every row. Pages have room for
-- rows that are updated in place. 60-capture.sql logs what changes them: it must know every table they read.

CREATE MATERIALIZED VIEW attribution.mv_realtime_revenue WITH (fillfactor = 85) AS
SELECT t.id AS tenant_id,
       coalesce(l.total_cents, 0) * c.unit AS total_revenue,
       coalesce(l.verified_count = l.posting_count, false) AS verified,
       coalesce(l.total_cents, 0) AS total_revenue_cents,
       coalesce(l.verified_cents, 0) AS verified_revenue_cents,
       coalesce(l.posting_count, 0) AS posting_count,
       coalesce(l.verified_count, 0) AS verified_count,
       l.last_updated_at
FROM attribution.tenants t
JOIN attribution.currencies c ON c.code = t.currency
LEFT JOIN (
    SELECT r.tenant_id,
           sum(r.revenue_cents) AS total_cents,
           coalesce(sum(r.revenue_cents) FILTER (WHERE r.is_verified), 0) AS verified_cents,
           count(*) AS posting_count,
           count(*) FILTER (WHERE r.is_verified) AS verified_count,
           max(r.updated_at) AS last_updated_at
    FROM attribution.revenue_ledger r
    GROUP BY r.tenant_id) l ON l.tenant_id = t.id
WITH NO DATA;
COMMENT ON MATERIALIZED VIEW attribution.mv_realtime_revenue IS 'Ledger revenue per tenant. Read it through realtime_revenue(). Empty until the first refresh.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.total_revenue IS 'Ledger total in units of the tenant''s currency.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.verified IS 'True when there are postings and all are verified.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.total_revenue_cents IS 'Ledger total in minor units.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.verified_revenue_cents IS 'The verified part of it in minor units.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.posting_count IS 'Number of ledger rows.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.verified_count IS 'Number of verified ledger rows.';
COMMENT ON COLUMN attribution.mv_realtime_revenue.last_updated_at IS 'Latest change of a ledger row of the tenant.';
CREATE UNIQUE INDEX idx_mv_realtime_revenue_tenant_id ON attribution.mv_realtime_revenue (tenant_id);

CREATE MATERIALIZED VIEW attribution.mv_reconciliation_status WITH (fillfactor = 85) AS
SELECT DISTINCT ON (r.tenant_id)
       r.tenant_id, r.state, r.last_run_at, r.id AS reconciliation_run_id
FROM attribution.reconciliation_runs r
ORDER BY r.tenant_id, r.last_run_at DESC, r.id DESC
WITH NO DATA;
COMMENT ON MATERIALIZED VIEW attribution.mv_reconciliation_status IS 'The latest reconciliation run per tenant; of two at the same time the one with the larger id. Empty until the first refresh.';
COMMENT ON COLUMN attribution.mv_reconciliation_status.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.mv_reconciliation_status.state IS 'State of the run.';
COMMENT ON COLUMN attribution.mv_reconciliation_status.last_run_at IS 'When it last started.';
COMMENT ON COLUMN attribution.mv_reconciliation_status.reconciliation_run_id IS 'The run.';
CREATE UNIQUE INDEX idx_mv_reconciliation_status_tenant_id ON attribution.mv_reconciliation_status (tenant_id);

CREATE MATERIALIZED VIEW attribution.mv_allocation_summary WITH (fillfactor = 85) AS
SELECT s.tenant_id, s.event_id, s.model_version,
       s.total_allocated_cents,
       e.revenue_cents AS event_revenue_cents,
       s.total_allocated_cents IS NOT DISTINCT FROM e.revenue_cents AS is_balanced,
       abs(s.total_allocated_cents - coalesce(e.revenue_cents, 0)) AS drift_cents
FROM (SELECT a.tenant_id, a.event_id, a.model_version, sum(a.allocated_revenue_cents) AS total_allocated_cents
      FROM attribution.attribution_allocations a
      GROUP BY a.tenant_id, a.event_id, a.model_version) s
LEFT JOIN attribution.attribution_events e ON e.tenant_id = s.tenant_id AND e.id = s.event_id
WITH NO DATA;
COMMENT ON MATERIALIZED VIEW attribution.mv_allocation_summary IS 'Allocated and event revenue per (tenant, event, model version). Empty until the first refresh.';
COMMENT ON COLUMN attribution.mv_allocation_summary.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.mv_allocation_summary.event_id IS 'The event.';
COMMENT ON COLUMN attribution.mv_allocation_summary.model_version IS 'The model version.';
COMMENT ON COLUMN attribution.mv_allocation_summary.total_allocated_cents IS 'Sum of the allocations in minor units.';
COMMENT ON COLUMN attribution.mv_allocation_summary.event_revenue_cents IS 'Revenue of the event in minor units; NULL if the event is gone, which only a bypass of the foreign key can do.';
COMMENT ON COLUMN attribution.mv_allocation_summary.is_balanced IS 'True when both are equal.';
COMMENT ON COLUMN attribution.mv_allocation_summary.drift_cents IS 'Their absolute difference in minor units.';
CREATE UNIQUE INDEX idx_mv_allocation_summary_key ON attribution.mv_allocation_summary (tenant_id, event_id, model_version);
CREATE INDEX idx_mv_allocation_summary_drift ON attribution.mv_allocation_summary (drift_cents) WHERE drift_cents > 1;

CREATE VIEW attribution.refresh_log AS
SELECT l.id, l.view_name, l.mode, l.rows_changed, l.started_at, l.elapsed_ms, l.outcome, l.error
FROM attribution_internal.refresh_log l;
COMMENT ON VIEW attribution.refresh_log IS 'Every run of refresh() on this server. Not dumped: prune_refresh_log() deletes old ones.';
COMMENT ON COLUMN attribution.refresh_log.id IS 'UUID, version 7: ordered by time.';
COMMENT ON COLUMN attribution.refresh_log.view_name IS 'The materialized view, without its schema.';
COMMENT ON COLUMN attribution.refresh_log.mode IS 'The mode that was used: incremental, concurrent or full; of a run that was skipped, the mode asked for.';
COMMENT ON COLUMN attribution.refresh_log.rows_changed IS 'Rows written: by incremental mode inserted, updated and deleted; by concurrent mode inserted and deleted; by full mode all rows of the view. NULL unless refreshed.';
COMMENT ON COLUMN attribution.refresh_log.started_at IS 'When the run began; the contents are at least as new.';
COMMENT ON COLUMN attribution.refresh_log.elapsed_ms IS 'Duration without the commit, in milliseconds.';
COMMENT ON COLUMN attribution.refresh_log.outcome IS 'refreshed, skipped (another refresher was at work) or failed.';
COMMENT ON COLUMN attribution.refresh_log.error IS 'SQLSTATE and message of a failure.';

-- Ids are ordered by time: the primary key leads to the last run.
CREATE VIEW attribution.refresh_status WITH (security_barrier = true) AS
SELECT v.view_name,
       last_run.mode, last_run.rows_changed, last_run.started_at, last_run.elapsed_ms, last_run.outcome, last_run.error,
       s.refreshed_at,
       extract(epoch FROM clock_timestamp() - s.refreshed_at) AS staleness_seconds,
       v.pending_changes,
       attribution_internal.refresh_doubt(v.view_name) AS doubt
FROM (VALUES ('mv_allocation_summary', (SELECT count(*) FROM attribution_internal.allocation_summary_changes)),
             ('mv_realtime_revenue', (SELECT count(*) FROM attribution_internal.realtime_revenue_changes)),
             ('mv_reconciliation_status', (SELECT count(*) FROM attribution_internal.reconciliation_status_changes)))
     AS v (view_name, pending_changes)
LEFT JOIN LATERAL (
    SELECT l.* FROM attribution_internal.refresh_log l
    WHERE l.view_name = v.view_name ORDER BY l.id DESC LIMIT 1) last_run ON true
-- A REFRESH by hand may have put back contents that are older than the last refresh.
LEFT JOIN attribution_internal.refresh_state s ON s.view_name = v.view_name AND NOT EXISTS (
    SELECT FROM attribution_internal.refresh_doubts d WHERE d.view_name = v.view_name AND d.kind = 'refreshed_by_hand');
COMMENT ON VIEW attribution.refresh_status IS
'One row per materialized view: its last run; when its contents were last computed (the start of that run) and how many seconds ago, NULL after a REFRESH by hand; how many logged changes wait, several of one key among them; and why the next refresh will be of the whole view, NULL when it can be incremental.';
