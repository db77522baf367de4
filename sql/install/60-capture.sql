-- capture: what has changed since the materialized views were refreshed.
-- Logs, states and doubts are materialized views that the module writes: src/entry/views/README.md says why.

CREATE MATERIALIZED VIEW attribution.allocation_summary_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id, NULL::uuid AS event_id, NULL::text AS model_version WHERE false;
COMMENT ON MATERIALIZED VIEW attribution.allocation_summary_changes IS
'The log of mv_allocation_summary: keys whose allocations or revenue changed, until a refresh looks at them. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution.allocation_summary_changes.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.allocation_summary_changes.event_id IS 'The event.';
COMMENT ON COLUMN attribution.allocation_summary_changes.model_version IS 'The model version; NULL: all of the event.';

CREATE MATERIALIZED VIEW attribution.realtime_revenue_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id, NULL::bigint AS revenue_cents, NULL::bigint AS verified_cents,
       NULL::bigint AS posting_count, NULL::bigint AS verified_count WHERE false;
COMMENT ON MATERIALIZED VIEW attribution.realtime_revenue_changes IS
'The log of mv_realtime_revenue: by how much the sums of a tenant changed, until a refresh adds it. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution.realtime_revenue_changes.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.realtime_revenue_changes.revenue_cents IS 'Added to the ledger, in minor units.';
COMMENT ON COLUMN attribution.realtime_revenue_changes.verified_cents IS 'Added to what is verified of it, in minor units.';
COMMENT ON COLUMN attribution.realtime_revenue_changes.posting_count IS 'Ledger rows added.';
COMMENT ON COLUMN attribution.realtime_revenue_changes.verified_count IS 'Verified ledger rows added.';

CREATE MATERIALIZED VIEW attribution.reconciliation_status_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id WHERE false;
COMMENT ON MATERIALIZED VIEW attribution.reconciliation_status_changes IS
'The log of mv_reconciliation_status: tenants whose runs changed, until a refresh looks at them. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution.reconciliation_status_changes.tenant_id IS 'The tenant.';

CREATE MATERIALIZED VIEW attribution.refresh_state WITH (fillfactor = 50) AS
SELECT NULL::text AS view_name, NULL::timestamptz AS refreshed_at, NULL::text AS captured_by, NULL::text AS doubt WHERE false;
COMMENT ON MATERIALIZED VIEW attribution.refresh_state IS
'Internal: a row per materialized view that refresh() has refreshed on this server. Not dumped, not replicated to subscribers.';
COMMENT ON COLUMN attribution.refresh_state.view_name IS 'The materialized view.';
COMMENT ON COLUMN attribution.refresh_state.refreshed_at IS 'When its last refresh began: the contents are at least as new.';
COMMENT ON COLUMN attribution.refresh_state.captured_by IS 'The view, its log, and the triggers and functions that write it, as they were then; NULL: they did not capture everything.';
COMMENT ON COLUMN attribution.refresh_state.doubt IS 'Why the contents are not known to follow the log; NULL: they are.';

CREATE MATERIALIZED VIEW attribution.refresh_doubts AS
SELECT NULL::text AS view_name, NULL::text AS kind, NULL::text AS reason, NULL::timestamptz AS raised_at WHERE false;
COMMENT ON MATERIALIZED VIEW attribution.refresh_doubts IS
'Internal: what happened since the last refresh that the log of a materialized view does not tell. The next refresh computes the whole view.';
COMMENT ON COLUMN attribution.refresh_doubts.view_name IS 'The materialized view.';
COMMENT ON COLUMN attribution.refresh_doubts.kind IS 'truncated, replicated, altered, log_full or refreshed_by_hand; after the last one nobody knows how old the contents are.';
COMMENT ON COLUMN attribution.refresh_doubts.reason IS 'What happened.';
COMMENT ON COLUMN attribution.refresh_doubts.raised_at IS 'When.';

CREATE FUNCTION attribution.capture_summary_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_summary_change';
COMMENT ON FUNCTION attribution.capture_summary_change() IS
'Trigger: logs which keys of mv_allocation_summary changed.';
REVOKE ALL ON FUNCTION attribution.capture_summary_change() FROM PUBLIC;
CREATE FUNCTION attribution.capture_revenue_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_revenue_change';
COMMENT ON FUNCTION attribution.capture_revenue_change() IS
'Trigger: logs by how much the sums of mv_realtime_revenue changed, per tenant.';
REVOKE ALL ON FUNCTION attribution.capture_revenue_change() FROM PUBLIC;
CREATE FUNCTION attribution.capture_status_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_status_change';
COMMENT ON FUNCTION attribution.capture_status_change() IS
'Trigger: logs for which tenants mv_reconciliation_status may have changed.';
REVOKE ALL ON FUNCTION attribution.capture_status_change() FROM PUBLIC;
CREATE FUNCTION attribution.doubt_view() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_doubt_view';
COMMENT ON FUNCTION attribution.doubt_view() IS
'Trigger: raises a doubt about the materialized view that its argument names, because its log does not contain the change; the next refresh computes the whole view.';
REVOKE ALL ON FUNCTION attribution.doubt_view() FROM PUBLIC;
CREATE FUNCTION attribution.is_replicated_row() RETURNS boolean
    LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'attribution_is_replicated_row';
COMMENT ON FUNCTION attribution.is_replicated_row() IS
'Internal: true in a process that applies logical replication, whose rows fire no statement triggers.';

-- mv_allocation_summary: the allocations, and of the events what their revenue was. An event that is new has no allocations.
CREATE TRIGGER summary_follows_insert AFTER INSERT ON attribution.attribution_allocations
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_insert;
CREATE TRIGGER summary_follows_update AFTER UPDATE ON attribution.attribution_allocations
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_update;
CREATE TRIGGER summary_follows_delete AFTER DELETE ON attribution.attribution_allocations
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_delete;
CREATE TRIGGER summary_follows_truncate AFTER TRUNCATE ON attribution.attribution_allocations
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_truncate;
CREATE TRIGGER summary_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_allocations
    FOR EACH ROW WHEN (attribution.is_replicated_row()) EXECUTE FUNCTION attribution.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE REPLICA TRIGGER summary_follows_replication;
-- For each row: other columns change more often, and without transition tables that costs nothing.
CREATE TRIGGER summary_follows_update AFTER UPDATE ON attribution.attribution_events
    FOR EACH ROW WHEN (OLD.revenue_cents IS DISTINCT FROM NEW.revenue_cents)
    EXECUTE FUNCTION attribution.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_update;
-- An event takes its allocations along, but not where foreign keys are not enforced.
CREATE TRIGGER summary_follows_delete AFTER DELETE ON attribution.attribution_events
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_delete;
CREATE TRIGGER summary_follows_truncate AFTER TRUNCATE ON attribution.attribution_events
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_truncate;
CREATE TRIGGER summary_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_events
    FOR EACH ROW WHEN (attribution.is_replicated_row()) EXECUTE FUNCTION attribution.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE REPLICA TRIGGER summary_follows_replication;

-- mv_realtime_revenue: the ledger; a row per tenant; the decimals of its currency.
CREATE TRIGGER revenue_follows_insert AFTER INSERT ON attribution.revenue_ledger
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_insert;
CREATE TRIGGER revenue_follows_update AFTER UPDATE ON attribution.revenue_ledger
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_update;
CREATE TRIGGER revenue_follows_delete AFTER DELETE ON attribution.revenue_ledger
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_delete;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.revenue_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_truncate;
CREATE TRIGGER revenue_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.revenue_ledger
    FOR EACH ROW WHEN (attribution.is_replicated_row()) EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE REPLICA TRIGGER revenue_follows_replication;
CREATE TRIGGER revenue_follows_insert AFTER INSERT ON attribution.tenants
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_insert;
CREATE TRIGGER revenue_follows_update AFTER UPDATE ON attribution.tenants
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_update;
CREATE TRIGGER revenue_follows_delete AFTER DELETE ON attribution.tenants
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_delete;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_truncate;
CREATE TRIGGER revenue_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.tenants
    FOR EACH ROW WHEN (attribution.is_replicated_row()) EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE REPLICA TRIGGER revenue_follows_replication;
CREATE TRIGGER revenue_follows_change AFTER INSERT OR UPDATE OR DELETE ON attribution.currencies
    FOR EACH ROW EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.currencies ENABLE ALWAYS TRIGGER revenue_follows_change;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.currencies
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.currencies ENABLE ALWAYS TRIGGER revenue_follows_truncate;

-- mv_reconciliation_status: the runs.
CREATE TRIGGER status_follows_insert AFTER INSERT ON attribution.reconciliation_runs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_insert;
CREATE TRIGGER status_follows_update AFTER UPDATE ON attribution.reconciliation_runs
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_update;
CREATE TRIGGER status_follows_delete AFTER DELETE ON attribution.reconciliation_runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_delete;
CREATE TRIGGER status_follows_truncate AFTER TRUNCATE ON attribution.reconciliation_runs
    FOR EACH STATEMENT EXECUTE FUNCTION attribution.doubt_view('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_truncate;
CREATE TRIGGER status_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.reconciliation_runs
    FOR EACH ROW WHEN (attribution.is_replicated_row()) EXECUTE FUNCTION attribution.doubt_view('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE REPLICA TRIGGER status_follows_replication;

CREATE FUNCTION attribution.notice_refresh() RETURNS event_trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_notice_refresh';
COMMENT ON FUNCTION attribution.notice_refresh() IS
'Event trigger: a REFRESH by hand puts the view in doubt, for its snapshot may be older than what an incremental refresh has consumed from the log.';
REVOKE ALL ON FUNCTION attribution.notice_refresh() FROM PUBLIC;
CREATE EVENT TRIGGER attribution_notices_refresh ON ddl_command_end
    WHEN TAG IN ('REFRESH MATERIALIZED VIEW')
    EXECUTE FUNCTION attribution.notice_refresh();
ALTER EVENT TRIGGER attribution_notices_refresh ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER attribution_notices_refresh IS 'Notices a REFRESH by hand of the materialized views of attribution; of no other.';
