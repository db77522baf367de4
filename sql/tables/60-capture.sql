-- capture: the triggers that log what changes the materialized views.

-- mv_allocation_summary: the allocations, and of the events what their revenue was. An event that is new has no allocations.
CREATE TRIGGER summary_follows_insert AFTER INSERT ON attribution.attribution_allocations
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_insert;
CREATE TRIGGER summary_follows_update AFTER UPDATE ON attribution.attribution_allocations
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_update;
CREATE TRIGGER summary_follows_delete AFTER DELETE ON attribution.attribution_allocations
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_delete;
CREATE TRIGGER summary_follows_truncate AFTER TRUNCATE ON attribution.attribution_allocations
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER summary_follows_truncate;
CREATE TRIGGER summary_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_allocations
    FOR EACH ROW WHEN (attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_allocations ENABLE REPLICA TRIGGER summary_follows_replication;
-- For each row: other columns change more often, and without transition tables that costs nothing.
CREATE TRIGGER summary_follows_update AFTER UPDATE ON attribution.attribution_events
    FOR EACH ROW WHEN (OLD.revenue_cents IS DISTINCT FROM NEW.revenue_cents)
    EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_update;
-- An event takes its allocations along, but not where foreign keys are not enforced.
CREATE TRIGGER summary_follows_delete AFTER DELETE ON attribution.attribution_events
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_summary_change('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_delete;
CREATE TRIGGER summary_follows_truncate AFTER TRUNCATE ON attribution.attribution_events
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER summary_follows_truncate;
CREATE TRIGGER summary_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_events
    FOR EACH ROW WHEN (attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_allocation_summary');
ALTER TABLE attribution.attribution_events ENABLE REPLICA TRIGGER summary_follows_replication;

-- mv_realtime_revenue: the ledger; a row per tenant; the decimals of its currency.
CREATE TRIGGER revenue_follows_insert AFTER INSERT ON attribution.revenue_ledger
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_insert;
CREATE TRIGGER revenue_follows_update AFTER UPDATE ON attribution.revenue_ledger
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_update;
CREATE TRIGGER revenue_follows_delete AFTER DELETE ON attribution.revenue_ledger
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_delete;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.revenue_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE ALWAYS TRIGGER revenue_follows_truncate;
CREATE TRIGGER revenue_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.revenue_ledger
    FOR EACH ROW WHEN (attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.revenue_ledger ENABLE REPLICA TRIGGER revenue_follows_replication;
CREATE TRIGGER revenue_follows_insert AFTER INSERT ON attribution.tenants
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_insert;
CREATE TRIGGER revenue_follows_update AFTER UPDATE ON attribution.tenants
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_update;
CREATE TRIGGER revenue_follows_delete AFTER DELETE ON attribution.tenants
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_revenue_change('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_delete;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE ALWAYS TRIGGER revenue_follows_truncate;
CREATE TRIGGER revenue_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.tenants
    FOR EACH ROW WHEN (attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.tenants ENABLE REPLICA TRIGGER revenue_follows_replication;
CREATE TRIGGER revenue_follows_change AFTER INSERT OR UPDATE OR DELETE ON attribution.currencies
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.currencies ENABLE ALWAYS TRIGGER revenue_follows_change;
CREATE TRIGGER revenue_follows_truncate AFTER TRUNCATE ON attribution.currencies
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_realtime_revenue');
ALTER TABLE attribution.currencies ENABLE ALWAYS TRIGGER revenue_follows_truncate;

-- mv_reconciliation_status: the runs.
CREATE TRIGGER status_follows_insert AFTER INSERT ON attribution.reconciliation_runs
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_insert;
CREATE TRIGGER status_follows_update AFTER UPDATE ON attribution.reconciliation_runs
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_update;
CREATE TRIGGER status_follows_delete AFTER DELETE ON attribution.reconciliation_runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.capture_status_change('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_delete;
CREATE TRIGGER status_follows_truncate AFTER TRUNCATE ON attribution.reconciliation_runs
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.doubt_view('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE ALWAYS TRIGGER status_follows_truncate;
CREATE TRIGGER status_follows_replication AFTER INSERT OR UPDATE OR DELETE ON attribution.reconciliation_runs
    FOR EACH ROW WHEN (attribution_internal.is_replicated_row()) EXECUTE FUNCTION attribution_internal.doubt_view('mv_reconciliation_status');
ALTER TABLE attribution.reconciliation_runs ENABLE REPLICA TRIGGER status_follows_replication;
