-- reconcile: runs that compare the ledger with what was settled.

CREATE TABLE attribution.reconciliation_runs (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    state         text        NOT NULL DEFAULT 'idle',
    last_run_at   timestamptz NOT NULL DEFAULT now(),
    error_message text,
    run_metadata  jsonb,
    occurred_from timestamptz,
    occurred_to   timestamptz,
    backend_pid   integer,
    backend_start timestamptz,
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
COMMENT ON COLUMN attribution.reconciliation_runs.run_metadata IS 'Counts and sums of a completed run, and whatever the caller wants to keep.';
COMMENT ON COLUMN attribution.reconciliation_runs.occurred_from IS 'Conversions from this time on are expected to be settled; NULL: no bound.';
COMMENT ON COLUMN attribution.reconciliation_runs.occurred_to IS 'Conversions before this time are expected to be settled; NULL: no bound.';
COMMENT ON COLUMN attribution.reconciliation_runs.backend_pid IS 'Process id of the session that worked on it last; NULL: not known.';
COMMENT ON COLUMN attribution.reconciliation_runs.backend_start IS 'When that process started: a process id is given out again.';
COMMENT ON COLUMN attribution.reconciliation_runs.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN attribution.reconciliation_runs.updated_at IS 'When the row was last updated (kept by a trigger).';

CREATE INDEX idx_reconciliation_runs_tenant_last_run_at ON attribution.reconciliation_runs (tenant_id, last_run_at DESC);
CREATE INDEX idx_reconciliation_runs_state ON attribution.reconciliation_runs (state);
CREATE UNIQUE INDEX idx_reconciliation_runs_one_running ON attribution.reconciliation_runs (tenant_id) WHERE state = 'running';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON attribution.reconciliation_runs
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.touch_updated_at();

ALTER TABLE attribution.reconciliation_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.reconciliation_runs
    USING (tenant_id = attribution.current_tenant());

CREATE TABLE attribution.reconciliation_settlements (
    tenant_id             uuid        NOT NULL,
    -- Named: the name that PostgreSQL 18 makes of table and column is too long for shards.
    reconciliation_run_id uuid        CONSTRAINT settlements_run_id_not_null NOT NULL,
    key                   text        NOT NULL,
    amount_cents          bigint      NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reconciliation_settlements_pkey PRIMARY KEY (tenant_id, reconciliation_run_id, key),
    CONSTRAINT reconciliation_settlements_run_fkey FOREIGN KEY (tenant_id, reconciliation_run_id)
        REFERENCES attribution.reconciliation_runs (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT reconciliation_settlements_key_length CHECK (octet_length(key) >= 1 AND octet_length(key) <= 255)
);
COMMENT ON TABLE attribution.reconciliation_settlements IS 'What the payment provider says was paid, per run. prune_settlements() deletes those of ended runs.';
COMMENT ON COLUMN attribution.reconciliation_settlements.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.reconciliation_settlements.reconciliation_run_id IS 'The run.';
COMMENT ON COLUMN attribution.reconciliation_settlements.key IS 'Business key of the conversion: its external_event_id, or its correlation_id where it has none; at most 255 bytes.';
COMMENT ON COLUMN attribution.reconciliation_settlements.amount_cents IS 'What was paid, net of refunds, in minor units of the tenant''s currency.';
COMMENT ON COLUMN attribution.reconciliation_settlements.created_at IS 'When the row was inserted.';

CREATE TABLE attribution.settlement_differences (
    tenant_id             uuid        NOT NULL,
    reconciliation_run_id uuid        NOT NULL,
    id                    uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    kind                  text        NOT NULL,
    key                   text,
    conversion_id         uuid,
    ledger_cents          bigint,
    settlement_cents      bigint,
    created_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT settlement_differences_pkey PRIMARY KEY (tenant_id, reconciliation_run_id, id),
    CONSTRAINT settlement_differences_run_fkey FOREIGN KEY (tenant_id, reconciliation_run_id)
        REFERENCES attribution.reconciliation_runs (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT settlement_differences_kind CHECK (kind IN ('missing_in_ledger', 'missing_in_settlement', 'amount_mismatch'))
);
COMMENT ON TABLE attribution.settlement_differences IS 'Where ledger and settlements differed when a run was finished. Read it through reconciliation_differences().';
COMMENT ON COLUMN attribution.settlement_differences.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.settlement_differences.reconciliation_run_id IS 'The run.';
COMMENT ON COLUMN attribution.settlement_differences.id IS 'UUID, version 7 by default.';
COMMENT ON COLUMN attribution.settlement_differences.kind IS 'missing_in_ledger, missing_in_settlement or amount_mismatch.';
COMMENT ON COLUMN attribution.settlement_differences.key IS 'Business key; NULL: the conversion has none.';
COMMENT ON COLUMN attribution.settlement_differences.conversion_id IS 'The conversion; NULL: no conversion has the key.';
COMMENT ON COLUMN attribution.settlement_differences.ledger_cents IS 'Net of the conversion''s book in minor units; NULL: nothing is posted.';
COMMENT ON COLUMN attribution.settlement_differences.settlement_cents IS 'What was paid in minor units; NULL: it is not settled.';
COMMENT ON COLUMN attribution.settlement_differences.created_at IS 'When the row was inserted.';

ALTER TABLE attribution.reconciliation_settlements ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.reconciliation_settlements
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.settlement_differences ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.settlement_differences
    USING (tenant_id = attribution.current_tenant());
