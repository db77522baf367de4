-- reconcile: runs that compare the ledger with what was settled.

CREATE TABLE attribution.reconciliation_runs (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    state         text        NOT NULL DEFAULT 'idle',
    last_run_at   timestamptz NOT NULL DEFAULT now(),
    error_message text,
    run_metadata  jsonb,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reconciliation_runs_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT reconciliation_runs_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id),
    CONSTRAINT reconciliation_runs_state CHECK (state IN ('idle', 'running', 'failed', 'completed'))
);
COMMENT ON TABLE attribution.reconciliation_runs IS 'Comparisons of the ledger with settlements; at most one running per tenant.';
COMMENT ON COLUMN attribution.reconciliation_runs.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.reconciliation_runs.id IS 'UUID, version 7 by default.';
COMMENT ON COLUMN attribution.reconciliation_runs.state IS 'idle, running, failed or completed.';
COMMENT ON COLUMN attribution.reconciliation_runs.last_run_at IS 'When the run last started.';
COMMENT ON COLUMN attribution.reconciliation_runs.error_message IS 'Why it failed.';
COMMENT ON COLUMN attribution.reconciliation_runs.run_metadata IS 'Counts and whatever the caller wants to keep.';
COMMENT ON COLUMN attribution.reconciliation_runs.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.reconciliation_runs.updated_at IS 'When the row was last updated (kept by a trigger).';
SELECT pg_extension_config_dump('attribution.reconciliation_runs', '');

CREATE INDEX idx_reconciliation_runs_tenant_last_run_at ON attribution.reconciliation_runs (tenant_id, last_run_at DESC);
COMMENT ON INDEX attribution.idx_reconciliation_runs_tenant_last_run_at IS 'Query path: reconciliation status of a tenant. Target p95: 50 ms.';
CREATE INDEX idx_reconciliation_runs_state ON attribution.reconciliation_runs (state);
COMMENT ON INDEX attribution.idx_reconciliation_runs_state IS 'Query path: all running reconciliations. Target p95: 50 ms.';
CREATE UNIQUE INDEX idx_reconciliation_runs_one_running ON attribution.reconciliation_runs (tenant_id) WHERE state = 'running';
COMMENT ON INDEX attribution.idx_reconciliation_runs_one_running IS 'Constraint: at most one running reconciliation per tenant. Target p95: 10 ms.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.reconciliation_runs
    FOR EACH ROW EXECUTE FUNCTION attribution.touch_updated_at();

ALTER TABLE attribution.reconciliation_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.reconciliation_runs
    USING (tenant_id = attribution.current_tenant());

CREATE FUNCTION attribution.reconciliation_status(
    INOUT tenant_id uuid, OUT state text, OUT last_run_at timestamptz, OUT reconciliation_run_id uuid)
    RETURNS SETOF record
    LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.id, coalesce(r.state, 'idle'), r.last_run_at, r.id
    FROM attribution.tenants t
    LEFT JOIN LATERAL (
        SELECT x.state, x.last_run_at, x.id
        FROM attribution.reconciliation_runs x
        WHERE x.tenant_id = t.id
        ORDER BY x.last_run_at DESC, x.id DESC
        LIMIT 1) r ON true
    WHERE t.id = reconciliation_status.tenant_id;
END;
COMMENT ON FUNCTION attribution.reconciliation_status(uuid) IS
'The latest reconciliation of a tenant, read from the table now: state idle and NULLs before the first run; no row for a tenant the caller may not see.';
REVOKE ALL ON FUNCTION attribution.reconciliation_status(uuid) FROM PUBLIC;
