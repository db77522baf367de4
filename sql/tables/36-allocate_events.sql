-- allocate_events: allocating in bulk, and what became of each run.

CREATE TABLE attribution.allocation_runs (
    tenant_id           uuid        NOT NULL,
    id                  uuid        NOT NULL DEFAULT attribution.uuid_v7(),
    model_version       text        NOT NULL,
    occurred_from       timestamptz,
    occurred_to         timestamptz,
    batch_size          integer     NOT NULL,
    state               text        NOT NULL DEFAULT 'running',
    backend_pid         integer     NOT NULL,
    events_allocated    bigint      NOT NULL DEFAULT 0,
    allocations_written bigint      NOT NULL DEFAULT 0,
    events_failed       bigint      NOT NULL DEFAULT 0,
    last_occurred_at    timestamptz,
    error_message       text,
    started_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT allocation_runs_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT allocation_runs_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES attribution.tenants (id) ON DELETE CASCADE,
    CONSTRAINT allocation_runs_state CHECK (state IN ('running', 'completed', 'failed'))
);
COMMENT ON TABLE attribution.allocation_runs IS 'Calls of allocate_events(), kept current while they run. allocation_progress also knows which were killed.';
COMMENT ON COLUMN attribution.allocation_runs.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.allocation_runs.id IS 'UUID, version 7: later runs have higher ids.';
COMMENT ON COLUMN attribution.allocation_runs.model_version IS 'The model version.';
COMMENT ON COLUMN attribution.allocation_runs.occurred_from IS 'Events from this time on; NULL: no bound.';
COMMENT ON COLUMN attribution.allocation_runs.occurred_to IS 'Events before this time; NULL: no bound.';
COMMENT ON COLUMN attribution.allocation_runs.batch_size IS 'Events per transaction.';
COMMENT ON COLUMN attribution.allocation_runs.state IS 'running, completed, or failed with an error_message. A run that was killed stays running here.';
COMMENT ON COLUMN attribution.allocation_runs.backend_pid IS 'Process id of its session.';
COMMENT ON COLUMN attribution.allocation_runs.events_allocated IS 'Conversions and refunds allocated so far.';
COMMENT ON COLUMN attribution.allocation_runs.allocations_written IS 'Rows written for them.';
COMMENT ON COLUMN attribution.allocation_runs.events_failed IS 'Events that could not be allocated: see allocation_failures.';
COMMENT ON COLUMN attribution.allocation_runs.last_occurred_at IS 'Events up to about this time have been looked at.';
COMMENT ON COLUMN attribution.allocation_runs.error_message IS 'Why the run failed: SQLSTATE and message.';
COMMENT ON COLUMN attribution.allocation_runs.started_at IS 'When the run started.';
COMMENT ON COLUMN attribution.allocation_runs.updated_at IS 'When its last batch was committed, or when it ended.';

CREATE TABLE attribution.allocation_failures (
    tenant_id  uuid        NOT NULL,
    run_id     uuid        NOT NULL,
    event_id   uuid        NOT NULL,
    error_code text        NOT NULL,
    message    text,
    detail     text,
    hint       text,
    failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT allocation_failures_pkey PRIMARY KEY (tenant_id, run_id, event_id),
    CONSTRAINT allocation_failures_run_fkey FOREIGN KEY (tenant_id, run_id)
        REFERENCES attribution.allocation_runs (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE attribution.allocation_failures IS 'Events that a run of allocate_events() could not allocate, and why. The next run tries them again.';
COMMENT ON COLUMN attribution.allocation_failures.tenant_id IS 'The tenant.';
COMMENT ON COLUMN attribution.allocation_failures.run_id IS 'The run.';
COMMENT ON COLUMN attribution.allocation_failures.event_id IS 'The conversion or refund.';
COMMENT ON COLUMN attribution.allocation_failures.error_code IS 'SQLSTATE of the error.';
COMMENT ON COLUMN attribution.allocation_failures.message IS 'Its message.';
COMMENT ON COLUMN attribution.allocation_failures.detail IS 'Its detail.';
COMMENT ON COLUMN attribution.allocation_failures.hint IS 'Its hint.';
COMMENT ON COLUMN attribution.allocation_failures.failed_at IS 'When it failed.';

ALTER TABLE attribution.allocation_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.allocation_runs
    USING (tenant_id = attribution.current_tenant());
ALTER TABLE attribution.allocation_failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON attribution.allocation_failures
    USING (tenant_id = attribution.current_tenant());

-- backend_start is hidden from those who may not see other roles' sessions: then the pid alone decides.
CREATE VIEW attribution.allocation_progress WITH (security_invoker = true) AS
SELECT r.tenant_id, r.id, r.model_version, r.occurred_from, r.occurred_to,
       CASE WHEN r.state = 'running' AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_stat_activity a
                WHERE a.pid = r.backend_pid AND coalesce(a.backend_start, '-infinity') <= r.started_at)
            THEN 'interrupted' ELSE r.state END AS state,
       r.events_allocated, r.allocations_written, r.events_failed, r.last_occurred_at, r.error_message,
       r.started_at, r.updated_at, r.updated_at - r.started_at AS elapsed
FROM attribution.allocation_runs r;
COMMENT ON VIEW attribution.allocation_progress IS
'Runs of allocate_events() with their state: running, completed, failed, or interrupted when the session is gone. CALL allocate_events() again takes up what an interrupted or failed run left.';
