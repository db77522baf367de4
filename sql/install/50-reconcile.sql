-- reconcile: runs that compare the ledger with what was settled.

CREATE FUNCTION attribution.reconciliation_status(
    INOUT tenant_id uuid, OUT state text, OUT last_run_at timestamptz, OUT reconciliation_run_id uuid)
    RETURNS SETOF record
    -- Without settings, which would cost more than the query: the library qualifies its names and prefers indexes.
    LANGUAGE c STABLE PARALLEL SAFE CALLED ON NULL INPUT ROWS 1
    AS 'MODULE_PATHNAME', 'attribution_reconciliation_status';
COMMENT ON FUNCTION attribution.reconciliation_status(uuid) IS
'The latest reconciliation of a tenant, read from the table now: state idle and NULLs before the first run; no row for a tenant the caller may not see.';
REVOKE ALL ON FUNCTION attribution.reconciliation_status(uuid) FROM PUBLIC;

CREATE FUNCTION attribution.start_reconciliation(
    INOUT tenant_id uuid, OUT id uuid, OUT state text, OUT last_run_at timestamptz, OUT error_message text, OUT run_metadata jsonb,
    INOUT occurred_from timestamptz DEFAULT NULL, INOUT occurred_to timestamptz DEFAULT NULL, OUT backend_pid integer, OUT backend_start timestamptz,
    OUT created_at timestamptz, OUT updated_at timestamptz)
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_start_reconciliation';
COMMENT ON FUNCTION attribution.start_reconciliation(uuid, timestamptz, timestamptz) IS
'Starts a reconciliation of a tenant and returns its run. Conversions that occurred in [occurred_from, occurred_to) and are posted are expected to be settled; NULL means no bound. Never waits: 55P03 while another run of the tenant is running. A run whose server process is gone ends as failed, and the new one starts.';
REVOKE ALL ON FUNCTION attribution.start_reconciliation(uuid, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION attribution.settle(
    tenant_id uuid, reconciliation_run_id uuid, settlements jsonb,
    OUT received bigint, OUT added bigint, OUT duplicates bigint)
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_settle';
COMMENT ON FUNCTION attribution.settle(uuid, uuid, jsonb) IS
'Adds settlements to a running reconciliation: an array of {"key": business key of the conversion, "amount_cents": what was paid, net of refunds}, other fields are ignored. Returns how many it got, how many of them are new and how many repeat what the run has. The same key with another amount is refused (23505, settlement_is_unchanged). 22023 for what is no such array or an unknown run, 55000 for a run that has ended.';
REVOKE ALL ON FUNCTION attribution.settle(uuid, uuid, jsonb) FROM PUBLIC;

CREATE FUNCTION attribution.finish_reconciliation(
    INOUT tenant_id uuid, reconciliation_run_id uuid,
    OUT id uuid, OUT state text, OUT last_run_at timestamptz, OUT error_message text, OUT run_metadata jsonb,
    OUT occurred_from timestamptz, OUT occurred_to timestamptz, OUT backend_pid integer, OUT backend_start timestamptz,
    OUT created_at timestamptz, OUT updated_at timestamptz)
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- without statistics a million rows look like one, and would be joined in loops
    SET jit = off
    AS 'MODULE_PATHNAME', 'attribution_finish_reconciliation';
COMMENT ON FUNCTION attribution.finish_reconciliation(uuid, uuid) IS
'Compares the settlements of a run with the net of each book (sale, refunds, reversals), marks the ledger rows of books that agree as verified and records every difference, as of one snapshot; returns the run, completed, with counts and sums in run_metadata. Books of net 0 that are not settled agree. Rows that are verified already stay as they are. A completed run is returned unchanged; 55000 for one that failed, 22023 for an unknown one.';
REVOKE ALL ON FUNCTION attribution.finish_reconciliation(uuid, uuid) FROM PUBLIC;

CREATE FUNCTION attribution.fail_reconciliation(
    INOUT tenant_id uuid, reconciliation_run_id uuid, message text,
    OUT id uuid, OUT state text, OUT last_run_at timestamptz, OUT error_message text, OUT run_metadata jsonb,
    OUT occurred_from timestamptz, OUT occurred_to timestamptz, OUT backend_pid integer, OUT backend_start timestamptz,
    OUT created_at timestamptz, OUT updated_at timestamptz)
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_fail_reconciliation';
COMMENT ON FUNCTION attribution.fail_reconciliation(uuid, uuid, text) IS
'Ends a reconciliation as failed, with a message, and returns its run. A failed run is returned unchanged; 55000 for a completed one, 22023 for an unknown one.';
REVOKE ALL ON FUNCTION attribution.fail_reconciliation(uuid, uuid, text) FROM PUBLIC;

CREATE PROCEDURE attribution.reconcile(
    tenant_id uuid, settlements jsonb, INOUT reconciliation_run_id uuid DEFAULT NULL,
    occurred_from timestamptz DEFAULT NULL, occurred_to timestamptz DEFAULT NULL)
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_reconcile';
COMMENT ON PROCEDURE attribution.reconcile(uuid, jsonb, uuid, timestamptz, timestamptz) IS
'start_reconciliation(), settle() and finish_reconciliation() in one, with a commit after each, so that others see the run while it is running. A failure ends in state failed with its message and a WARNING; reconciliation_run_id returns the run, what is passed for it is ignored. Raises what keeps a run from starting (55P03 another run is running, 42501, 22004, 22023 unknown tenant), when it is cancelled, and inside a transaction block (2D000).';
REVOKE ALL ON PROCEDURE attribution.reconcile(uuid, jsonb, uuid, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION attribution.reconciliation_differences(
    tenant_id uuid, reconciliation_run_id uuid,
    OUT key text, OUT kind text, OUT ledger_cents bigint, OUT settlement_cents bigint, OUT difference_cents numeric,
    OUT conversion_id uuid)
    RETURNS SETOF record
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_reconciliation_differences';
COMMENT ON FUNCTION attribution.reconciliation_differences(uuid, uuid) IS
'The differences that a completed run has recorded, in the order of their keys: missing_in_ledger (ledger_cents NULL), missing_in_settlement (settlement_cents NULL), amount_mismatch. difference_cents is ledger less settlement; all in minor units. key is NULL for a conversion that has none, conversion_id where no conversion has the key. No rows for a tenant the caller may not see.';
REVOKE ALL ON FUNCTION attribution.reconciliation_differences(uuid, uuid) FROM PUBLIC;

CREATE FUNCTION attribution.prune_tenant_settlements(tenant_id uuid, older_than interval) RETURNS bigint
    LANGUAGE c VOLATILE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- what a planner without statistics takes for a small table may be large
    AS 'MODULE_PATHNAME', 'attribution_prune_tenant_settlements';
COMMENT ON FUNCTION attribution.prune_tenant_settlements(uuid, interval) IS
'Deletes the settlements of runs of one tenant that ended more than older_than ago, and returns their number. Differences stay. 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.prune_tenant_settlements(uuid, interval) FROM PUBLIC;

-- The tenants that the caller may see, by row security.
CREATE FUNCTION attribution.prune_settlements(older_than interval DEFAULT '90 days') RETURNS bigint
    LANGUAGE c VOLATILE STRICT
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_prune_settlements';
COMMENT ON FUNCTION attribution.prune_settlements(interval) IS
'Deletes the settlements of runs that ended more than older_than ago, of every tenant that the caller may see, and returns their number. Differences stay. For a scheduler.';
REVOKE ALL ON FUNCTION attribution.prune_settlements(interval) FROM PUBLIC;
