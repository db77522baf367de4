-- capture: what has changed since the materialized views were refreshed.
-- Logs, states and doubts are materialized views that the module writes: src/entry/views/README.md says why.

CREATE MATERIALIZED VIEW attribution_internal.allocation_summary_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id, NULL::uuid AS event_id, NULL::text AS model_version WHERE false;
COMMENT ON MATERIALIZED VIEW attribution_internal.allocation_summary_changes IS
'The log of mv_allocation_summary: keys whose allocations or revenue changed, until a refresh looks at them. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution_internal.allocation_summary_changes.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution_internal.allocation_summary_changes.event_id IS 'The event.';
COMMENT ON COLUMN attribution_internal.allocation_summary_changes.model_version IS 'The model version; NULL: all of the event.';

CREATE MATERIALIZED VIEW attribution_internal.realtime_revenue_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id, NULL::bigint AS revenue_cents, NULL::bigint AS verified_cents,
       NULL::bigint AS posting_count, NULL::bigint AS verified_count WHERE false;
COMMENT ON MATERIALIZED VIEW attribution_internal.realtime_revenue_changes IS
'The log of mv_realtime_revenue: by how much the sums of a tenant changed, until a refresh adds it. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution_internal.realtime_revenue_changes.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution_internal.realtime_revenue_changes.revenue_cents IS 'Added to the ledger, in minor units.';
COMMENT ON COLUMN attribution_internal.realtime_revenue_changes.verified_cents IS 'Added to what is verified of it, in minor units.';
COMMENT ON COLUMN attribution_internal.realtime_revenue_changes.posting_count IS 'Ledger rows added.';
COMMENT ON COLUMN attribution_internal.realtime_revenue_changes.verified_count IS 'Verified ledger rows added.';

CREATE MATERIALIZED VIEW attribution_internal.reconciliation_status_changes
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1) AS
SELECT NULL::uuid AS tenant_id WHERE false;
COMMENT ON MATERIALIZED VIEW attribution_internal.reconciliation_status_changes IS
'The log of mv_reconciliation_status: tenants whose runs changed, until a refresh looks at them. Written by triggers; REFRESH by hand loses what waits, and is noticed.';
COMMENT ON COLUMN attribution_internal.reconciliation_status_changes.tenant_id IS 'The tenant.';

CREATE MATERIALIZED VIEW attribution_internal.refresh_state WITH (fillfactor = 50) AS
SELECT NULL::text AS view_name, NULL::timestamptz AS refreshed_at, NULL::text AS captured_by, NULL::text AS doubt WHERE false;
COMMENT ON MATERIALIZED VIEW attribution_internal.refresh_state IS
'Internal: a row per materialized view that refresh() has refreshed on this server. Not dumped, not replicated to subscribers.';
COMMENT ON COLUMN attribution_internal.refresh_state.view_name IS 'The materialized view.';
COMMENT ON COLUMN attribution_internal.refresh_state.refreshed_at IS 'When its last refresh began: the contents are at least as new.';
COMMENT ON COLUMN attribution_internal.refresh_state.captured_by IS 'The view, its log, and the triggers and functions that write it, as they were then; NULL: they did not capture everything.';
COMMENT ON COLUMN attribution_internal.refresh_state.doubt IS 'Why the contents are not known to follow the log; NULL: they are.';

CREATE MATERIALIZED VIEW attribution_internal.refresh_doubts AS
SELECT NULL::text AS view_name, NULL::text AS kind, NULL::text AS reason, NULL::timestamptz AS raised_at WHERE false;
COMMENT ON MATERIALIZED VIEW attribution_internal.refresh_doubts IS
'Internal: what happened since the last refresh that the log of a materialized view does not tell. The next refresh computes the whole view.';
COMMENT ON COLUMN attribution_internal.refresh_doubts.view_name IS 'The materialized view.';
COMMENT ON COLUMN attribution_internal.refresh_doubts.kind IS 'truncated, replicated, altered, log_full or refreshed_by_hand; after the last one nobody knows how old the contents are.';
COMMENT ON COLUMN attribution_internal.refresh_doubts.reason IS 'What happened.';
COMMENT ON COLUMN attribution_internal.refresh_doubts.raised_at IS 'When.';

CREATE FUNCTION attribution_internal.capture_summary_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_summary_change';
COMMENT ON FUNCTION attribution_internal.capture_summary_change() IS
'Trigger: logs which keys of mv_allocation_summary changed.';
REVOKE ALL ON FUNCTION attribution_internal.capture_summary_change() FROM PUBLIC;
CREATE FUNCTION attribution_internal.capture_revenue_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_revenue_change';
COMMENT ON FUNCTION attribution_internal.capture_revenue_change() IS
'Trigger: logs by how much the sums of mv_realtime_revenue changed, per tenant.';
REVOKE ALL ON FUNCTION attribution_internal.capture_revenue_change() FROM PUBLIC;
CREATE FUNCTION attribution_internal.capture_status_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_capture_status_change';
COMMENT ON FUNCTION attribution_internal.capture_status_change() IS
'Trigger: logs for which tenants mv_reconciliation_status may have changed.';
REVOKE ALL ON FUNCTION attribution_internal.capture_status_change() FROM PUBLIC;
CREATE FUNCTION attribution_internal.doubt_view() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_doubt_view';
COMMENT ON FUNCTION attribution_internal.doubt_view() IS
'Trigger: raises a doubt about the materialized view that its argument names, because its log does not contain the change; the next refresh computes the whole view.';
REVOKE ALL ON FUNCTION attribution_internal.doubt_view() FROM PUBLIC;
CREATE FUNCTION attribution_internal.is_replicated_row() RETURNS boolean
    LANGUAGE c STABLE PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'attribution_is_replicated_row';
COMMENT ON FUNCTION attribution_internal.is_replicated_row() IS
'Internal: true in a process that applies logical replication, whose rows fire no statement triggers.';

CREATE FUNCTION attribution_internal.notice_refresh() RETURNS event_trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_notice_refresh';
COMMENT ON FUNCTION attribution_internal.notice_refresh() IS
'Event trigger: a REFRESH by hand puts the view in doubt, for its snapshot may be older than what an incremental refresh has consumed from the log.';
REVOKE ALL ON FUNCTION attribution_internal.notice_refresh() FROM PUBLIC;
CREATE EVENT TRIGGER attribution_notices_refresh ON ddl_command_end
    WHEN TAG IN ('REFRESH MATERIALIZED VIEW')
    EXECUTE FUNCTION attribution_internal.notice_refresh();
ALTER EVENT TRIGGER attribution_notices_refresh ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER attribution_notices_refresh IS 'Notices a REFRESH by hand of the materialized views of attribution; of no other.';
