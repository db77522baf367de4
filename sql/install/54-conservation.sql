-- conservation: from events to views, no cent more and none less.

CREATE FUNCTION attribution.conservation(
    tenant_id uuid,
    OUT equation text, OUT model_version text, OUT event_id uuid, OUT expected_cents numeric, OUT actual_cents numeric,
    OUT pending_cents numeric, OUT difference_cents numeric, OUT holds boolean)
    RETURNS SETOF record
    LANGUAGE c VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- everything is read once, whatever is known of the tables
    SET jit = off -- what is switched off counts as costly where nothing else will do, and would be compiled
    AS 'MODULE_PATHNAME', 'attribution_conservation';
COMMENT ON FUNCTION attribution.conservation(uuid) IS
'Proves in one snapshot that expected = actual + pending on each step of a tenant''s money: events and allocations per model version (pending: not allocated under it), allocations and ledger per model version of the books (pending: not posted, or reversed), ledger and mv_realtime_revenue, allocations and mv_allocation_summary (pending: in the log of changes). First the totals, event_id NULL; holds is NULL where a view was never refreshed or is in doubt. Then each row that breaks a rule: events that are not balanced, ledger rows that differ from their allocation or posting, keys of the summary that differ and do not wait, refunds of more than their conversion, channels below zero. Minor units. 42501 for a tenant the caller may not act for.';
REVOKE ALL ON FUNCTION attribution.conservation(uuid) FROM PUBLIC;
