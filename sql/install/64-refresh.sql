-- refresh: what keeps the materialized views fresh.

-- The log belongs to this server, not to the data: it is not dumped.
CREATE TABLE attribution_internal.refresh_log (
    id           uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    view_name    text        NOT NULL,
    mode         text        NOT NULL,
    rows_changed bigint,
    started_at   timestamptz NOT NULL,
    elapsed_ms   numeric(12,3) NOT NULL,
    outcome      text        NOT NULL,
    error        text,
    CONSTRAINT refresh_log_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_log_outcome CHECK (outcome IN ('refreshed', 'skipped', 'failed'))
);
COMMENT ON TABLE attribution_internal.refresh_log IS 'Every run of refresh(); the view attribution.refresh_log shows it. Not dumped.';
COMMENT ON COLUMN attribution_internal.refresh_log.id IS 'UUID, version 7: ordered by time.';
COMMENT ON COLUMN attribution_internal.refresh_log.view_name IS 'The materialized view, without its schema.';
COMMENT ON COLUMN attribution_internal.refresh_log.mode IS 'The mode that was used; of a run that was skipped, the mode asked for.';
COMMENT ON COLUMN attribution_internal.refresh_log.rows_changed IS 'Rows written. NULL unless refreshed.';
COMMENT ON COLUMN attribution_internal.refresh_log.started_at IS 'When the run began.';
COMMENT ON COLUMN attribution_internal.refresh_log.elapsed_ms IS 'Duration without the commit, in milliseconds.';
COMMENT ON COLUMN attribution_internal.refresh_log.outcome IS 'refreshed, skipped or failed.';
COMMENT ON COLUMN attribution_internal.refresh_log.error IS 'The error of a run that failed.';
COMMENT ON INDEX attribution_internal.refresh_log_pkey IS 'Serves the primary key of refresh_log. Target p95: 10 ms.';

CREATE FUNCTION attribution_internal.refresh_doubt(view_name text) RETURNS text
    LANGUAGE c STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_refresh_doubt';
COMMENT ON FUNCTION attribution_internal.refresh_doubt(text) IS
'Why the log of changes does not tell all that a materialized view lacks, so that its next refresh computes the whole view; NULL when it does, and the refresh can be incremental.';
REVOKE ALL ON FUNCTION attribution_internal.refresh_doubt(text) FROM PUBLIC;

CREATE FUNCTION attribution.refresh(
    OUT id uuid, INOUT view_name text, INOUT mode text DEFAULT 'auto', OUT rows_changed bigint,
    OUT started_at timestamptz, OUT elapsed_ms numeric, OUT outcome text, OUT error text)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET row_security = off -- a refresh that would be filtered fails
    AS 'MODULE_PATHNAME', 'attribution_refresh';
COMMENT ON FUNCTION attribution.refresh(text, text) IS
'Refreshes one materialized view and returns the row it wrote to refresh_log. mode: auto (incremental when it is known what changed and that is less work, else concurrent, or full when the view was never populated or has no unique index), incremental (55000 when it is not known what changed), concurrent, full. Skips at once (outcome skipped) while another refresher is at work on the view. A failure of the refresh itself is logged and reported as a WARNING (outcome failed); cancelling raises. READ COMMITTED only (25001).';
REVOKE ALL ON FUNCTION attribution.refresh(text, text) FROM PUBLIC;

CREATE PROCEDURE attribution.refresh_all(mode text DEFAULT 'auto')
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_refresh_all';
COMMENT ON PROCEDURE attribution.refresh_all(text) IS
'Refreshes the three materialized views one after the other and commits after each, as refresh() does. A view that fails is logged and does not stop the others. Not inside a transaction block (2D000).';
REVOKE ALL ON PROCEDURE attribution.refresh_all(text) FROM PUBLIC;

-- Texts of SQL are in quotes: a parsed body is printed by each major in its own way, and check_backup() compares.
CREATE FUNCTION attribution.prune_refresh_log(older_than interval DEFAULT '30 days') RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM attribution_internal.refresh_log l WHERE l.started_at < now() - prune_refresh_log.older_than RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION attribution.prune_refresh_log(interval) IS
'Deletes the rows of refresh_log that are older than older_than and returns their number. For a scheduler.';
REVOKE ALL ON FUNCTION attribution.prune_refresh_log(interval) FROM PUBLIC;

CREATE FUNCTION attribution.realtime_revenue(
    INOUT tenant_id uuid, OUT total_revenue numeric, OUT total_revenue_cents numeric, OUT verified boolean,
    OUT data_freshness_seconds numeric, OUT as_of timestamptz)
    RETURNS SETOF record
    LANGUAGE c STABLE STRICT SECURITY DEFINER ROWS 1
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_realtime_revenue';
COMMENT ON FUNCTION attribution.realtime_revenue(uuid) IS
'Ledger revenue of a tenant as of the last refresh of mv_realtime_revenue: in currency units and in minor units, whether all of it is verified, and how old that is in seconds (NULL after a REFRESH by hand, until the next refresh). 42501 for a tenant the caller may not act for; 55000 before the first refresh; no row for a tenant newer than the last refresh.';
REVOKE ALL ON FUNCTION attribution.realtime_revenue(uuid) FROM PUBLIC;
