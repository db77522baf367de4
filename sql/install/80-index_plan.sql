-- index_plan: why each index exists, for which query, and how fast that must be. The comments of the indexes are
-- made from it; check_index_plan() compares it with the server, index_report() with what the server does.

CREATE TABLE attribution.index_plan (
    index_name      name     NOT NULL,
    relation        name     NOT NULL,
    state           text     NOT NULL,
    serves          text     NOT NULL,
    target_p95_ms   integer  NOT NULL,
    definition      text     NOT NULL,
    query_path      text     NOT NULL,
    answer          text     NOT NULL,
    parameters      text[]   NOT NULL,
    sample_query    text     NOT NULL,
    insertion_check text,
    justification   text     NOT NULL,
    is_shipped      boolean  NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT index_plan_pkey PRIMARY KEY (index_name),
    CONSTRAINT index_plan_state CHECK (state IN ('active', 'deferred')),
    CONSTRAINT index_plan_serves CHECK (serves IN ('query', 'foreign key', 'constraint', 'primary key')),
    CONSTRAINT index_plan_answer CHECK (answer IN ('row', 'page', 'aggregate')),
    CONSTRAINT index_plan_target_range CHECK (target_p95_ms > 0)
);
COMMENT ON TABLE attribution.index_plan IS 'Every index of the extension, and those left out on purpose. Rows added by users, for their own indexes on its tables, are dumped.';
COMMENT ON COLUMN attribution.index_plan.index_name IS 'The index, in schema attribution.';
COMMENT ON COLUMN attribution.index_plan.relation IS 'The table or materialized view it is on.';
COMMENT ON COLUMN attribution.index_plan.state IS 'active: there; deferred: left out, and why.';
COMMENT ON COLUMN attribution.index_plan.serves IS 'query: a query path alone; foreign key, constraint, primary key: also or only that.';
COMMENT ON COLUMN attribution.index_plan.target_p95_ms IS 'What 95 of 100 runs of the sample query must stay below, in milliseconds.';
COMMENT ON COLUMN attribution.index_plan.definition IS 'What pg_get_indexdef() says of it.';
COMMENT ON COLUMN attribution.index_plan.query_path IS 'What it is for.';
COMMENT ON COLUMN attribution.index_plan.answer IS 'row: at most one row; page: 50 rows, or as many as a parameter says, whose cost must not follow the size of the table; aggregate: reads all rows it sums up, whose number the cost follows.';
COMMENT ON COLUMN attribution.index_plan.parameters IS 'Name and type of $1, $2, ... of both queries.';
COMMENT ON COLUMN attribution.index_plan.sample_query IS 'The query as an application or an operator runs it.';
COMMENT ON COLUMN attribution.index_plan.insertion_check IS 'An insertion that finds the row that is there: ON CONFLICT must choose this index. NULL where nothing is inserted that way.';
COMMENT ON COLUMN attribution.index_plan.justification IS 'Why it is worth what it costs; of a deferred one, why it is not.';
COMMENT ON COLUMN attribution.index_plan.is_shipped IS 'True for the rows of the extension itself, which are not dumped.';
COMMENT ON COLUMN attribution.index_plan.created_at IS 'When the row was inserted, and with it the index: at the installation, which a restore is too.';

INSERT INTO attribution.index_plan
    (index_name, relation, state, serves, target_p95_ms, definition, query_path, answer, parameters, sample_query, insertion_check, justification)
VALUES
    ('idx_tenants_name', 'tenants', 'active', 'query', 10,
     'CREATE INDEX idx_tenants_name ON attribution.tenants USING btree (name)',
     'tenant lookup by name',
     'page', '{name text}',
     'SELECT t.id, t.name, t.currency FROM attribution.tenants t WHERE t.name = $1 ORDER BY t.id LIMIT 50',
     NULL,
     'Sign-in and imports know a tenant by its name. Names are not unique, so the key is no constraint.'),
    ('idx_attribution_events_tenant_occurred_at', 'attribution_events', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_events_tenant_occurred_at ON attribution.attribution_events USING btree (tenant_id, occurred_at DESC)',
     'realtime revenue, newest events of a tenant',
     'page', '{tenant_id uuid,occurred_before timestamptz,before_id uuid,page_size bigint}',
     'SELECT e.id, e.event_type, e.occurred_at, e.channel, e.revenue_cents FROM attribution.attribution_events e WHERE e.tenant_id = $1 AND (e.occurred_at, e.id) < ($2, $3) ORDER BY e.occurred_at DESC, e.id DESC LIMIT $4',
     NULL,
     'Ordered as it is read: a page costs its rows, however many the tenant has. Also cuts allocate_events and bounded postings to their time.'),
    ('idx_attribution_events_tenant_external_event_id', 'attribution_events', 'active', 'query', 10,
     'CREATE UNIQUE INDEX idx_attribution_events_tenant_external_event_id ON attribution.attribution_events USING btree (tenant_id, external_event_id) WHERE (external_event_id IS NOT NULL)',
     'idempotent ingestion by external event id (Shopify, PayPal, WooCommerce)',
     'row', '{tenant_id uuid,external_event_id text}',
     'SELECT e.id, e.event_type, e.revenue_cents, e.refund_of FROM attribution.attribution_events e WHERE e.tenant_id = $1 AND e.external_event_id = $2',
     'INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, external_event_id) VALUES ($1, ''conversion'', ''2026-01-01Z'', 1, $2) ON CONFLICT (tenant_id, external_event_id) WHERE external_event_id IS NOT NULL DO NOTHING',
     'One event per business key, also when deliveries race. Partial: touches and Stripe conversions have no external id.'),
    ('idx_attribution_events_tenant_correlation_id', 'attribution_events', 'active', 'query', 10,
     'CREATE UNIQUE INDEX idx_attribution_events_tenant_correlation_id ON attribution.attribution_events USING btree (tenant_id, correlation_id) WHERE ((correlation_id IS NOT NULL) AND (external_event_id IS NULL))',
     'idempotent ingestion by correlation id (Stripe)',
     'row', '{tenant_id uuid,correlation_id text}',
     'SELECT e.id, e.event_type, e.revenue_cents FROM attribution.attribution_events e WHERE e.tenant_id = $1 AND e.correlation_id = $2 AND e.external_event_id IS NULL',
     'INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, correlation_id) VALUES ($1, ''conversion'', ''2026-01-01Z'', 1, $2) ON CONFLICT (tenant_id, correlation_id) WHERE correlation_id IS NOT NULL AND external_event_id IS NULL DO NOTHING',
     'One conversion per payment intent. Partial: a refund has its own external id and may share the correlation id.'),
    ('idx_attribution_events_session_id', 'attribution_events', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_events_session_id ON attribution.attribution_events USING btree (session_id) WHERE (session_id IS NOT NULL)',
     'journey of a session',
     'page', '{session_id uuid,tenant_id uuid}',
     'SELECT e.id, e.occurred_at, e.channel FROM attribution.attribution_events e WHERE e.session_id = $1 AND e.tenant_id = $2 AND e.event_type = ''touch'' ORDER BY e.occurred_at, e.id LIMIT 50',
     NULL,
     'Allocation reads the touches before a conversion. A session is a few rows of one tenant, so the tenant need not be in the key.'),
    ('idx_dead_events_tenant_ingested_at', 'dead_events', 'active', 'query', 50,
     'CREATE INDEX idx_dead_events_tenant_ingested_at ON attribution.dead_events USING btree (tenant_id, ingested_at DESC)',
     'recent failures of a tenant, page by page',
     'page', '{tenant_id uuid,ingested_before timestamptz,before_id uuid,page_size bigint}',
     'SELECT d.id, d.ingested_at, d.source, d.error_code, d.external_event_id, d.retry_count FROM attribution.dead_events d WHERE d.tenant_id = $1 AND (d.ingested_at, d.id) < ($2, $3) ORDER BY d.ingested_at DESC, d.id DESC LIMIT $4',
     NULL,
     'Triage reads the newest failures first.'),
    ('idx_dead_events_source', 'dead_events', 'active', 'query', 50,
     'CREATE INDEX idx_dead_events_source ON attribution.dead_events USING btree (source)',
     'failures by source',
     'aggregate', '{source text}',
     'SELECT d.error_code, count(*) AS depth, min(d.ingested_at) AS oldest, max(d.ingested_at) AS newest FROM attribution.dead_events d WHERE d.source = $1 AND d.resolved_at IS NULL GROUP BY d.error_code ORDER BY depth DESC, d.error_code',
     NULL,
     'An operator sees that one provider fails, over all tenants, and why. Reads the dead events of that source and no others.'),
    ('idx_dead_events_error_code', 'dead_events', 'active', 'query', 50,
     'CREATE INDEX idx_dead_events_error_code ON attribution.dead_events USING btree (error_code)',
     'failures by error type',
     'aggregate', '{error_code text}',
     'SELECT d.source, count(*) AS depth, min(d.ingested_at) AS oldest, max(d.ingested_at) AS newest FROM attribution.dead_events d WHERE d.error_code = $1 AND d.resolved_at IS NULL GROUP BY d.source ORDER BY depth DESC, d.source',
     NULL,
     'What to retry once a cause is mended: retry_dead_events() by error code. Reads the dead events of that code and no others.'),
    ('idx_attribution_allocations_tenant_created_at', 'attribution_allocations', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_allocations_tenant_created_at ON attribution.attribution_allocations USING btree (tenant_id, created_at DESC)',
     'channel performance over time',
     'aggregate', '{tenant_id uuid,created_from timestamptz,created_to timestamptz,model_version text}',
     'SELECT a.channel, sum(a.allocated_revenue_cents) AS revenue_cents, count(*) AS allocations FROM attribution.attribution_allocations a WHERE a.tenant_id = $1 AND a.created_at >= $2 AND a.created_at < $3 AND a.model_version = $4 GROUP BY a.channel ORDER BY revenue_cents DESC, a.channel',
     NULL,
     'A report of a day reads that day, not all the tenant has. channel_performance() reports by the time of the events instead.'),
    ('idx_attribution_allocations_event_id', 'attribution_allocations', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_allocations_event_id ON attribution.attribution_allocations USING btree (event_id)',
     'all allocations of an event, joins',
     'page', '{event_id uuid}',
     'SELECT a.id, a.model_version, a.channel, a.allocated_revenue_cents FROM attribution.attribution_allocations a WHERE a.event_id = $1 ORDER BY a.model_version, a.channel LIMIT 50',
     NULL,
     'Joins from events, over all model versions, and the foreign key to events. An event id is of one tenant in practice; row security adds the rest.'),
    ('idx_attribution_allocations_channel', 'attribution_allocations', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_allocations_channel ON attribution.attribution_allocations USING btree (channel)',
     'all allocations of a channel',
     'page', '{channel text}',
     'SELECT a.tenant_id, a.id, a.event_id, a.model_version, a.allocated_revenue_cents FROM attribution.attribution_allocations a WHERE a.channel = $1 ORDER BY a.channel LIMIT 50',
     NULL,
     'Renaming or auditing a channel over all tenants: a cursor reads them page by page, in the order of the index, which is no order among the rows of a channel.'),
    ('idx_attribution_allocations_tenant_event_model_channel', 'attribution_allocations', 'active', 'query', 10,
     'CREATE UNIQUE INDEX idx_attribution_allocations_tenant_event_model_channel ON attribution.attribution_allocations USING btree (tenant_id, event_id, model_version, channel) WHERE (model_version IS NOT NULL)',
     'idempotent allocation, sum check',
     'page', '{tenant_id uuid,event_id uuid,model_version text}',
     'SELECT a.channel, a.weight, a.allocated_revenue_cents FROM attribution.attribution_allocations a WHERE a.tenant_id = $1 AND a.event_id = $2 AND a.model_version = $3 ORDER BY a.channel LIMIT 50',
     'INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES ($1, $2, $3, ''ads'', 0) ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL DO NOTHING',
     'One row per event, model version and channel, also when allocations race; the sum check at COMMIT reads a group from it.'),
    ('idx_attribution_allocations_tenant_model_version', 'attribution_allocations', 'active', 'query', 50,
     'CREATE INDEX idx_attribution_allocations_tenant_model_version ON attribution.attribution_allocations USING btree (tenant_id, model_version)',
     'model rollups, validation per model',
     'aggregate', '{tenant_id uuid,model_version text}',
     'SELECT count(*) AS allocations, sum(a.allocated_revenue_cents) AS revenue_cents FROM attribution.attribution_allocations a WHERE a.tenant_id = $1 AND a.model_version = $2',
     NULL,
     'What a model version gives in all, and unbalanced_allocations() of one: reads its rows and not those of the other versions.'),
    ('idx_revenue_ledger_tenant_updated_at', 'revenue_ledger', 'active', 'query', 50,
     'CREATE INDEX idx_revenue_ledger_tenant_updated_at ON attribution.revenue_ledger USING btree (tenant_id, updated_at DESC)',
     'realtime revenue',
     'page', '{tenant_id uuid,updated_since timestamptz,page_size bigint}',
     'SELECT l.id, l.conversion_id, l.revenue_cents, l.is_verified, l.updated_at FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.updated_at >= $2 ORDER BY l.updated_at DESC LIMIT $3',
     NULL,
     'What was posted or verified since a moment, newest first: a feed. What one transaction posted has one time, so nothing is ordered within it and pages would have to sort it all. The total is in mv_realtime_revenue.'),
    ('idx_revenue_ledger_is_verified', 'revenue_ledger', 'active', 'query', 50,
     'CREATE INDEX idx_revenue_ledger_is_verified ON attribution.revenue_ledger USING btree (is_verified) WHERE (is_verified = true)',
     'verified revenue',
     'aggregate', '{}',
     'SELECT l.tenant_id, count(*) AS postings, sum(l.revenue_cents) AS revenue_cents FROM attribution.revenue_ledger l WHERE l.is_verified = true GROUP BY l.tenant_id ORDER BY l.tenant_id',
     NULL,
     'An audit of what is verified, over all tenants, from the ledger itself. Reads every verified entry, and keeps its target only while these are few: read mv_realtime_revenue, which has verified_revenue_cents of every tenant, where they are not.'),
    ('idx_revenue_ledger_tenant_allocation_id', 'revenue_ledger', 'active', 'query', 10,
     'CREATE UNIQUE INDEX idx_revenue_ledger_tenant_allocation_id ON attribution.revenue_ledger USING btree (tenant_id, allocation_id) WHERE (allocation_id IS NOT NULL)',
     'idempotent posting',
     'row', '{tenant_id uuid,allocation_id uuid}',
     'SELECT l.id, l.revenue_cents, l.posted_at FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.allocation_id = $2',
     'INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id, revenue_cents) SELECT l.tenant_id, l.conversion_id, l.allocation_id, l.revenue_cents FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.allocation_id = $2 ON CONFLICT (tenant_id, allocation_id) WHERE allocation_id IS NOT NULL DO NOTHING',
     'An allocation is posted once, also when postings race; a posted allocation is frozen. Partial: reversing entries have no allocation.'),
    ('idx_reconciliation_runs_tenant_last_run_at', 'reconciliation_runs', 'active', 'query', 50,
     'CREATE INDEX idx_reconciliation_runs_tenant_last_run_at ON attribution.reconciliation_runs USING btree (tenant_id, last_run_at DESC)',
     'reconciliation status of a tenant',
     'page', '{tenant_id uuid}',
     'SELECT r.id, r.state, r.last_run_at, r.error_message FROM attribution.reconciliation_runs r WHERE r.tenant_id = $1 ORDER BY r.last_run_at DESC, r.id DESC LIMIT 50',
     NULL,
     'The latest run first; reconciliation_status() takes one row of it.'),
    ('idx_reconciliation_runs_state', 'reconciliation_runs', 'active', 'query', 50,
     'CREATE INDEX idx_reconciliation_runs_state ON attribution.reconciliation_runs USING btree (state)',
     'all running reconciliations',
     'page', '{state text}',
     'SELECT r.tenant_id, r.id, r.last_run_at FROM attribution.reconciliation_runs r WHERE r.state = $1 ORDER BY r.last_run_at, r.id LIMIT 50',
     NULL,
     'What runs, over all tenants, longest first; few rows whatever the table holds. Asked for completed runs it would read them all.'),
    ('idx_mv_realtime_revenue_tenant_id', 'mv_realtime_revenue', 'active', 'query', 50,
     'CREATE UNIQUE INDEX idx_mv_realtime_revenue_tenant_id ON attribution.mv_realtime_revenue USING btree (tenant_id)',
     'realtime revenue of a tenant',
     'row', '{tenant_id uuid}',
     'SELECT m.total_revenue, m.total_revenue_cents, m.verified_revenue_cents, m.verified FROM attribution.mv_realtime_revenue m WHERE m.tenant_id = $1',
     NULL,
     'realtime_revenue(). Unique, as REFRESH CONCURRENTLY and incremental refresh need it.'),
    ('idx_mv_reconciliation_status_tenant_id', 'mv_reconciliation_status', 'active', 'query', 50,
     'CREATE UNIQUE INDEX idx_mv_reconciliation_status_tenant_id ON attribution.mv_reconciliation_status USING btree (tenant_id)',
     'status of a tenant',
     'row', '{tenant_id uuid}',
     'SELECT m.state, m.last_run_at, m.reconciliation_run_id FROM attribution.mv_reconciliation_status m WHERE m.tenant_id = $1',
     NULL,
     'A dashboard of all tenants reads the view. Unique, as REFRESH CONCURRENTLY and incremental refresh need it.'),
    ('idx_mv_allocation_summary_key', 'mv_allocation_summary', 'active', 'query', 50,
     'CREATE UNIQUE INDEX idx_mv_allocation_summary_key ON attribution.mv_allocation_summary USING btree (tenant_id, event_id, model_version)',
     'balance of one event and model',
     'row', '{tenant_id uuid,event_id uuid,model_version text}',
     'SELECT m.total_allocated_cents, m.event_revenue_cents, m.is_balanced FROM attribution.mv_allocation_summary m WHERE m.tenant_id = $1 AND m.event_id = $2 AND m.model_version = $3',
     NULL,
     'One balance without adding it up. Unique, as REFRESH CONCURRENTLY and incremental refresh need it.'),
    ('idx_mv_allocation_summary_drift', 'mv_allocation_summary', 'active', 'query', 50,
     'CREATE INDEX idx_mv_allocation_summary_drift ON attribution.mv_allocation_summary USING btree (drift_cents) WHERE (drift_cents > (1)::numeric)',
     'unbalanced allocations',
     'page', '{}',
     'SELECT m.tenant_id, m.event_id, m.model_version, m.drift_cents FROM attribution.mv_allocation_summary m WHERE m.drift_cents > 1 ORDER BY m.drift_cents DESC, m.tenant_id, m.event_id, m.model_version LIMIT 50',
     NULL,
     'The worst drift first. Empty as long as no check was bypassed, so it costs next to nothing.'),
    ('idx_tenants_currency', 'tenants', 'active', 'foreign key', 50,
     'CREATE INDEX idx_tenants_currency ON attribution.tenants USING btree (currency)',
     'foreign key tenants_currency_fkey',
     'page', '{currency char(3)}',
     'SELECT t.id FROM attribution.tenants t WHERE t.currency = $1 LIMIT 50',
     NULL,
     'Deleting a currency looks for its tenants.'),
    ('idx_tenant_bindings_tenant_id', 'tenant_bindings', 'active', 'foreign key', 50,
     'CREATE INDEX idx_tenant_bindings_tenant_id ON attribution.tenant_bindings USING btree (tenant_id)',
     'foreign key tenant_bindings_tenant_fkey',
     'page', '{tenant_id uuid}',
     'SELECT b.role_name FROM attribution.tenant_bindings b WHERE b.tenant_id = $1 LIMIT 50',
     NULL,
     'Deleting a tenant looks for its roles.'),
    ('idx_attribution_events_tenant_refund_of', 'attribution_events', 'active', 'foreign key', 50,
     'CREATE INDEX idx_attribution_events_tenant_refund_of ON attribution.attribution_events USING btree (tenant_id, refund_of) WHERE (refund_of IS NOT NULL)',
     'foreign key attribution_events_refund_of_fkey: refunds of a conversion',
     'page', '{tenant_id uuid,conversion_id uuid}',
     'SELECT e.id, e.revenue_cents, e.occurred_at FROM attribution.attribution_events e WHERE e.tenant_id = $1 AND e.refund_of = $2 ORDER BY e.occurred_at, e.id LIMIT 50',
     NULL,
     'Refunds are checked against their conversion at COMMIT, and allocated after it. Partial: most events are no refunds.'),
    ('idx_event_aliases_tenant_event_id', 'event_aliases', 'active', 'foreign key', 10,
     'CREATE INDEX idx_event_aliases_tenant_event_id ON attribution.event_aliases USING btree (tenant_id, event_id)',
     'foreign key event_aliases_event_fkey: other keys of an event',
     'page', '{tenant_id uuid,event_id uuid}',
     'SELECT a.external_event_id FROM attribution.event_aliases a WHERE a.tenant_id = $1 AND a.event_id = $2 LIMIT 50',
     NULL,
     'Deleting an event deletes its other keys.'),
    ('idx_revenue_ledger_tenant_conversion_id', 'revenue_ledger', 'active', 'foreign key', 50,
     'CREATE INDEX idx_revenue_ledger_tenant_conversion_id ON attribution.revenue_ledger USING btree (tenant_id, conversion_id)',
     'foreign key revenue_ledger_book_fkey: the book of a conversion',
     'page', '{tenant_id uuid,conversion_id uuid}',
     'SELECT l.id, l.revenue_cents, l.posted_at FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.conversion_id = $2 ORDER BY l.posted_at, l.id LIMIT 50',
     NULL,
     'All postings of an order and its refunds; reconciliation verifies by it.'),
    ('idx_revenue_ledger_tenant_reconciliation_run_id', 'revenue_ledger', 'active', 'foreign key', 50,
     'CREATE INDEX idx_revenue_ledger_tenant_reconciliation_run_id ON attribution.revenue_ledger USING btree (tenant_id, reconciliation_run_id) WHERE (reconciliation_run_id IS NOT NULL)',
     'foreign key revenue_ledger_run_fkey: what a run verified',
     'page', '{tenant_id uuid,reconciliation_run_id uuid}',
     'SELECT l.id, l.revenue_cents FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.reconciliation_run_id = $2 LIMIT 50',
     NULL,
     'Deleting a run looks for what it verified. Partial: unverified entries have no run.'),
    ('idx_revenue_ledger_tenant_reverses_id', 'revenue_ledger', 'active', 'constraint', 10,
     'CREATE UNIQUE INDEX idx_revenue_ledger_tenant_reverses_id ON attribution.revenue_ledger USING btree (tenant_id, reverses_id) WHERE (reverses_id IS NOT NULL)',
     'constraint that a posting is reversed once; foreign key revenue_ledger_reverses_fkey',
     'row', '{tenant_id uuid,reverses_id uuid}',
     'SELECT l.id FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.reverses_id = $2',
     'INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents) SELECT l.tenant_id, l.conversion_id, l.id, -l.revenue_cents FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.id = $2 ON CONFLICT (tenant_id, reverses_id) WHERE reverses_id IS NOT NULL DO NOTHING',
     'Two reversals of one posting would take the money twice. Partial: most entries reverse nothing.'),
    ('idx_reconciliation_runs_one_running', 'reconciliation_runs', 'active', 'constraint', 10,
     'CREATE UNIQUE INDEX idx_reconciliation_runs_one_running ON attribution.reconciliation_runs USING btree (tenant_id) WHERE (state = ''running''::text)',
     'constraint that one reconciliation of a tenant runs at a time',
     'row', '{tenant_id uuid}',
     'SELECT r.id FROM attribution.reconciliation_runs r WHERE r.tenant_id = $1 AND r.state = ''running''',
     'INSERT INTO attribution.reconciliation_runs (tenant_id, state) VALUES ($1, ''running'') ON CONFLICT (tenant_id) WHERE state = ''running'' DO NOTHING',
     'Two runs of one tenant would verify the same entries.'),
    ('currencies_pkey', 'currencies', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX currencies_pkey ON attribution.currencies USING btree (code)',
     'primary key of currencies',
     'row', '{code char(3)}',
     'SELECT * FROM attribution.currencies x WHERE x.code = $1',
     NULL,
     'Decimals of a currency.'),
    ('tenants_pkey', 'tenants', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX tenants_pkey ON attribution.tenants USING btree (id)',
     'primary key of tenants',
     'row', '{id uuid}',
     'SELECT * FROM attribution.tenants x WHERE x.id = $1',
     NULL,
     'Every row of a tenant refers to it.'),
    ('tenant_bindings_pkey', 'tenant_bindings', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX tenant_bindings_pkey ON attribution.tenant_bindings USING btree (role_name)',
     'primary key of tenant_bindings',
     'row', '{role_name name}',
     'SELECT * FROM attribution.tenant_bindings x WHERE x.role_name = $1',
     NULL,
     'Which tenant a role is bound to.'),
    ('attribution_events_pkey', 'attribution_events', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX attribution_events_pkey ON attribution.attribution_events USING btree (tenant_id, id)',
     'primary key of attribution_events',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.attribution_events x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'Allocations, refunds and books refer to it; ids are ordered by time, so inserts stay local.'),
    ('event_aliases_pkey', 'event_aliases', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX event_aliases_pkey ON attribution.event_aliases USING btree (tenant_id, external_event_id)',
     'primary key of event_aliases',
     'row', '{tenant_id uuid,external_event_id text}',
     'SELECT * FROM attribution.event_aliases x WHERE x.tenant_id = $1 AND x.external_event_id = $2',
     NULL,
     'One event per further key.'),
    ('dead_events_pkey', 'dead_events', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX dead_events_pkey ON attribution.dead_events USING btree (tenant_id, id)',
     'primary key of dead_events',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.dead_events x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'Retrying and discarding one.'),
    ('attribution_models_pkey', 'attribution_models', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX attribution_models_pkey ON attribution.attribution_models USING btree (tenant_id, model_version)',
     'primary key of attribution_models',
     'row', '{tenant_id uuid,model_version text}',
     'SELECT * FROM attribution.attribution_models x WHERE x.tenant_id = $1 AND x.model_version = $2',
     NULL,
     'The parameters of a version; serves the foreign key to tenants.'),
    ('attribution_allocations_pkey', 'attribution_allocations', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX attribution_allocations_pkey ON attribution.attribution_allocations USING btree (tenant_id, id)',
     'primary key of attribution_allocations',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.attribution_allocations x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'The ledger refers to it; serves distribution by tenant.'),
    ('allocation_runs_pkey', 'allocation_runs', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX allocation_runs_pkey ON attribution.allocation_runs USING btree (tenant_id, id)',
     'primary key of allocation_runs',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.allocation_runs x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'Progress of a run; serves the foreign key to tenants.'),
    ('allocation_failures_pkey', 'allocation_failures', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX allocation_failures_pkey ON attribution.allocation_failures USING btree (tenant_id, run_id, event_id)',
     'primary key of allocation_failures',
     'row', '{tenant_id uuid,run_id uuid,event_id uuid}',
     'SELECT * FROM attribution.allocation_failures x WHERE x.tenant_id = $1 AND x.run_id = $2 AND x.event_id = $3',
     NULL,
     'Failures of a run; serves the foreign key to runs.'),
    ('ledger_books_pkey', 'ledger_books', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX ledger_books_pkey ON attribution.ledger_books USING btree (tenant_id, conversion_id)',
     'primary key of ledger_books',
     'row', '{tenant_id uuid,conversion_id uuid}',
     'SELECT * FROM attribution.ledger_books x WHERE x.tenant_id = $1 AND x.conversion_id = $2',
     NULL,
     'One model version per conversion and its refunds; serves the foreign key to events.'),
    ('revenue_ledger_pkey', 'revenue_ledger', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX revenue_ledger_pkey ON attribution.revenue_ledger USING btree (tenant_id, id)',
     'primary key of revenue_ledger',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.revenue_ledger x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'Reversing entries refer to it; serves the foreign key to tenants.'),
    ('reconciliation_runs_pkey', 'reconciliation_runs', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX reconciliation_runs_pkey ON attribution.reconciliation_runs USING btree (tenant_id, id)',
     'primary key of reconciliation_runs',
     'row', '{tenant_id uuid,id uuid}',
     'SELECT * FROM attribution.reconciliation_runs x WHERE x.tenant_id = $1 AND x.id = $2',
     NULL,
     'Ledger entries, settlements and differences refer to it.'),
    ('reconciliation_settlements_pkey', 'reconciliation_settlements', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX reconciliation_settlements_pkey ON attribution.reconciliation_settlements USING btree (tenant_id, reconciliation_run_id, key)',
     'primary key of reconciliation_settlements',
     'row', '{tenant_id uuid,reconciliation_run_id uuid,key text}',
     'SELECT * FROM attribution.reconciliation_settlements x WHERE x.tenant_id = $1 AND x.reconciliation_run_id = $2 AND x.key = $3',
     NULL,
     'One settlement per key and run; serves the foreign key to runs.'),
    ('settlement_differences_pkey', 'settlement_differences', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX settlement_differences_pkey ON attribution.settlement_differences USING btree (tenant_id, reconciliation_run_id, id)',
     'primary key of settlement_differences',
     'row', '{tenant_id uuid,reconciliation_run_id uuid,id uuid}',
     'SELECT * FROM attribution.settlement_differences x WHERE x.tenant_id = $1 AND x.reconciliation_run_id = $2 AND x.id = $3',
     NULL,
     'Differences of a run; serves the foreign key to runs.'),
    ('refresh_log_pkey', 'refresh_log', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX refresh_log_pkey ON attribution.refresh_log USING btree (id)',
     'primary key of refresh_log',
     'row', '{id uuid}',
     'SELECT * FROM attribution.refresh_log x WHERE x.id = $1',
     NULL,
     'Ordered by time: the last refresh of a view is read from its end.'),
    ('index_plan_pkey', 'index_plan', 'active', 'primary key', 10,
     'CREATE UNIQUE INDEX index_plan_pkey ON attribution.index_plan USING btree (index_name)',
     'primary key of index_plan',
     'row', '{index_name name}',
     'SELECT * FROM attribution.index_plan x WHERE x.index_name = $1',
     NULL,
     'The plan of one index.'),
    ('idx_attribution_events_raw_payload', 'attribution_events', 'deferred', 'query', 50,
     'CREATE INDEX idx_attribution_events_raw_payload ON attribution.attribution_events USING gin (raw_payload jsonb_path_ops)',
     'rows by the contents of raw_payload',
     'page', '{tenant_id uuid,contains jsonb}',
     'SELECT e.id, e.occurred_at FROM attribution.attribution_events e WHERE e.tenant_id = $1 AND e.raw_payload @> $2 ORDER BY e.occurred_at DESC, e.id DESC LIMIT 50',
     NULL,
     'Nothing looks an event up by its payload: what is looked for has a column. It would cost every ingested event an entry per key of its payload.'),
    ('idx_dead_events_raw_payload', 'dead_events', 'deferred', 'query', 50,
     'CREATE INDEX idx_dead_events_raw_payload ON attribution.dead_events USING gin (raw_payload jsonb_path_ops)',
     'rows by the contents of raw_payload',
     'page', '{tenant_id uuid,contains jsonb}',
     'SELECT d.id, d.ingested_at FROM attribution.dead_events d WHERE d.tenant_id = $1 AND d.raw_payload @> $2 ORDER BY d.ingested_at DESC, d.id DESC LIMIT 50',
     NULL,
     'Dead events are few, and found by tenant, source and error code. Payloads of 10 MB are kept whole and would be indexed whole.'),
    ('idx_dead_events_error_detail', 'dead_events', 'deferred', 'query', 50,
     'CREATE INDEX idx_dead_events_error_detail ON attribution.dead_events USING gin (error_detail jsonb_path_ops)',
     'rows by the contents of error_detail',
     'page', '{contains jsonb}',
     'SELECT d.id, d.ingested_at FROM attribution.dead_events d WHERE d.error_detail @> $1 ORDER BY d.ingested_at DESC, d.id DESC LIMIT 50',
     NULL,
     'error_code is the closed list to select by; the detail is read by people.'),
    ('idx_attribution_allocations_model_metadata', 'attribution_allocations', 'deferred', 'query', 50,
     'CREATE INDEX idx_attribution_allocations_model_metadata ON attribution.attribution_allocations USING gin (model_metadata jsonb_path_ops)',
     'rows by the contents of model_metadata',
     'page', '{tenant_id uuid,contains jsonb}',
     'SELECT a.id, a.event_id FROM attribution.attribution_allocations a WHERE a.tenant_id = $1 AND a.model_metadata @> $2 ORDER BY a.event_id, a.id LIMIT 50',
     NULL,
     'No function reads it. The largest table would pay on every row.'),
    ('idx_reconciliation_runs_run_metadata', 'reconciliation_runs', 'deferred', 'query', 50,
     'CREATE INDEX idx_reconciliation_runs_run_metadata ON attribution.reconciliation_runs USING gin (run_metadata jsonb_path_ops)',
     'rows by the contents of run_metadata',
     'page', '{tenant_id uuid,contains jsonb}',
     'SELECT r.id, r.last_run_at FROM attribution.reconciliation_runs r WHERE r.tenant_id = $1 AND r.run_metadata @> $2 ORDER BY r.last_run_at DESC, r.id DESC LIMIT 50',
     NULL,
     'A tenant has few runs; reading them all is as fast.');

UPDATE attribution.index_plan SET is_shipped = true;
-- Rows of the script would collide on restore: only what users added is dumped.
SELECT pg_extension_config_dump('attribution.index_plan', 'WHERE NOT is_shipped');

DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('COMMENT ON INDEX attribution.%I IS %L', p.index_name, format('%s%s. Target p95: %s ms.',
                      CASE p.serves WHEN 'query' THEN 'Query path: ' ELSE 'Serves the ' END, p.query_path, p.target_p95_ms))
        FROM attribution.index_plan p
        WHERE p.state = 'active'
    LOOP
        EXECUTE statement;
    END LOOP;
END;
$$;

CREATE FUNCTION attribution.index_obstacle(index_name name, is_insertion boolean) RETURNS text
    LANGUAGE c VOLATILE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_indexscan = on
    SET enable_bitmapscan = on
    AS 'MODULE_PATHNAME', 'attribution_index_obstacle';
COMMENT ON FUNCTION attribution.index_obstacle(name, boolean) IS
'Why an index cannot serve the sample query of the plan, or its insertion check; NULL when it can: with enable_seqscan off, and as if it were the only index of its table, the planner reads it by its first column or because its predicate holds, or ON CONFLICT chooses it. Plans and executes nothing.';
REVOKE ALL ON FUNCTION attribution.index_obstacle(name, boolean) FROM PUBLIC;

-- Entries are 8 bytes and the key, and 4 that point at them; equal keys of an index that is not unique share one,
-- with 6 bytes a row, where equal keys are equal bytes and there is nothing but keys. Pages are 90 % full when an index
-- is built, unless it says otherwise.
CREATE FUNCTION attribution.index_bloat(index_id oid) RETURNS numeric
    LANGUAGE sql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT round(greatest(0, 1 - least(1, ceil(1 + b.bytes / ((b.block_size - 40) * b.fill)) * 1.01 / nullif(b.pages, 0))), 3)
    FROM (
        SELECT k.pages, k.block_size, k.fill,
               CASE WHEN k.is_shared AND k.distinct_keys < k.tuples
                    THEN 6 * k.tuples + (16 + k.key_bytes) * greatest(k.distinct_keys, k.tuples * 6 / 800)
                    ELSE k.tuples * (12 + k.key_bytes) END AS bytes
        FROM (
            SELECT c.reltuples::numeric AS tuples,
                   current_setting('block_size')::numeric AS block_size,
                   pg_relation_size(i.indexrelid) / current_setting('block_size')::numeric AS pages,
                   8 * ceil(sum(coalesce(s.avg_width, CASE WHEN a.attlen > 0 THEN a.attlen ELSE 16 END)) / 8.0) AS key_bytes,
                   coalesce((SELECT o.option_value::numeric FROM pg_options_to_table(c.reloptions) o
                             WHERE o.option_name = 'fillfactor'), 90) / 100 AS fill,
                   -- An operator class says by its function 4 that equal keys are equal bytes.
                   NOT i.indisunique AND i.indnkeyatts = i.indnatts
                   AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
                                   WHERE o.option_name = 'deduplicate_items' AND NOT o.option_value::boolean)
                   AND bool_and(EXISTS (SELECT FROM pg_opclass f JOIN pg_amproc e ON e.amprocfamily = f.opcfamily
                                        AND e.amproclefttype = f.opcintype AND e.amprocrighttype = f.opcintype AND e.amprocnum = 4
                                        WHERE f.oid = i.indclass[x.attnum - 1])
                                AND NOT EXISTS (SELECT FROM pg_collation l
                                                WHERE l.oid = i.indcollation[x.attnum - 1] AND NOT l.collisdeterministic)) AS is_shared,
                   -- Columns as if they were independent, in logarithms: a product may be too large for a number.
                   CASE WHEN c.reltuples > 0 THEN exp(least(ln(c.reltuples::numeric), sum(ln(greatest(1, CASE
                       WHEN s.n_distinct IS NULL THEN c.reltuples
                       WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(1, t.reltuples)
                       ELSE s.n_distinct END)::numeric)))) ELSE 0 END AS distinct_keys
            FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_class t ON t.oid = i.indrelid
            JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
            JOIN pg_attribute x ON x.attrelid = i.indexrelid AND x.attnum > 0
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[x.attnum - 1]
            LEFT JOIN pg_namespace n ON n.oid = t.relnamespace
            LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname AND NOT s.inherited
            WHERE i.indexrelid = index_bloat.index_id AND 0 <> ALL (i.indkey::smallint[]) AND c.reltuples >= 0 AND t.reltuples >= 0
            GROUP BY i.indexrelid, i.indisunique, i.indnkeyatts, i.indnatts, c.reltuples, c.reloptions, t.reltuples) k
        ) b;
END;
COMMENT ON FUNCTION attribution.index_bloat(oid) IS
'The share of a btree''s pages that REINDEX would free, estimated from statistics: 0 to 1. Random insertions leave a healthy index at 0.2 to 0.3. NULL for an index that was never vacuumed or analyzed, or is no btree of columns alone.';
REVOKE ALL ON FUNCTION attribution.index_bloat(oid) FROM PUBLIC;

CREATE FUNCTION attribution.lock_planned() RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_lock_planned';
COMMENT ON FUNCTION attribution.lock_planned() IS
'Locks the tables and materialized views of index_plan in ACCESS SHARE mode, as a query of them does, until the transaction ends: none of their indexes goes meanwhile.';
REVOKE ALL ON FUNCTION attribution.lock_planned() FROM PUBLIC;

CREATE FUNCTION attribution.check_index_plan(
    OUT index_name name, OUT relation name, OUT state text, OUT exists_as_declared boolean, OUT is_valid boolean,
    OUT is_of_right_kind boolean, OUT can_serve boolean, OUT bloat_ratio numeric, OUT problem text)
    RETURNS SETOF record
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off -- definitions are compared as text
BEGIN ATOMIC
    SELECT attribution.lock_planned(); -- before the catalog is read
    SELECT c.index_name, c.relation, c.state, c.exists_as_declared, c.is_valid, c.is_of_right_kind,
           CASE WHEN c.indexrelid IS NOT NULL THEN c.obstacle IS NULL END,
           CASE WHEN c.indexrelid IS NOT NULL THEN attribution.index_bloat(c.indexrelid) END,
           CASE
               WHEN c.indexrelid IS NULL AND c.state = 'deferred' THEN NULL
               WHEN c.indexrelid IS NULL THEN 'does not exist'
               WHEN NOT c.is_valid THEN 'is not valid: REINDEX it'
               WHEN NOT c.is_of_right_kind THEN 'is of another kind: ' || c.actual
               WHEN NOT c.exists_as_declared THEN 'is declared differently: ' || c.actual
               ELSE c.obstacle
           END
    FROM (
        SELECT p.index_name, p.relation, p.state, i.indexrelid,
               pg_get_indexdef(i.indexrelid) AS actual,
               CASE WHEN i.indexrelid IS NOT NULL OR p.state = 'active' THEN
                   i.indexrelid IS NOT NULL AND pg_get_indexdef(i.indexrelid) = p.definition
                   AND (i.indrelid::regclass = to_regclass('attribution.' || quote_ident(p.relation))) END AS exists_as_declared,
               i.indisvalid AND i.indisready AND i.indislive AS is_valid,
               m.amname = substring(p.definition FROM ' USING ([a-z]+) ') AND i.indisunique = (p.definition LIKE 'CREATE UNIQUE INDEX %')
                   AND i.indisprimary = (p.serves = 'primary key') AND i.indimmediate AS is_of_right_kind,
               CASE WHEN i.indexrelid IS NOT NULL THEN coalesce(
                   attribution.index_obstacle(p.index_name, false),
                   CASE WHEN p.insertion_check IS NOT NULL THEN attribution.index_obstacle(p.index_name, true) END) END AS obstacle
        FROM attribution.index_plan p
        LEFT JOIN pg_class x ON x.relname = p.index_name AND x.relnamespace = 'attribution'::regnamespace AND x.relkind IN ('i', 'I')
        LEFT JOIN pg_am m ON m.oid = x.relam
        LEFT JOIN pg_index i ON i.indexrelid = x.oid) c
    ORDER BY c.index_name;
END;
COMMENT ON FUNCTION attribution.check_index_plan() IS
'One row per index of index_plan: whether it exists as declared, is valid and of the right kind (access method, unique, primary), and can serve its sample query and its insertion check (see index_obstacle; the insertion check needs a server that is no standby); the share of its pages that REINDEX would free, estimated (NULL before VACUUM or ANALYZE; no problem in itself); and the problem, NULL when there is none. A deferred index is no problem as long as it does not exist, or exists as declared. Plans the queries and runs none; takes the locks of reading and inserting.';
REVOKE ALL ON FUNCTION attribution.check_index_plan() FROM PUBLIC;

CREATE FUNCTION attribution.index_report(
    min_age interval DEFAULT '30 days',
    OUT index_name name, OUT relation name, OUT is_planned boolean, OUT scans bigint, OUT tuples_read bigint, OUT tuples_fetched bigint,
    OUT size_bytes bigint, OUT entries_written numeric, OUT write_share numeric, OUT last_scan timestamptz,
    OUT counters_since timestamptz, OUT verdict text, OUT reason text)
    RETURNS SETOF record
    LANGUAGE sql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT r.index_name, r.relation, r.query_path IS NOT NULL, r.scans, r.tuples_read, r.tuples_fetched, r.size_bytes,
           r.entries_written, round(r.entries_written / nullif(sum(r.entries_written) OVER (PARTITION BY r.table_id), 0), 4),
           r.last_scan, r.counters_since, v.verdict, v.reason
    FROM (
        SELECT s.indexrelid, s.indexrelname AS index_name, s.relid AS table_id, s.relname AS relation, p.query_path,
               s.idx_scan AS scans, s.idx_tup_read AS tuples_read, s.idx_tup_fetch AS tuples_fetched,
               pg_relation_size(s.indexrelid) AS size_bytes,
               -- An update in place writes no entry; a partial index has entries of some rows only.
               round((t.n_tup_ins + t.n_tup_upd - t.n_tup_hot_upd)
                     * CASE WHEN i.indpred IS NULL OR x.reltuples < 0 OR h.reltuples <= 0 THEN 1
                            ELSE least(1, x.reltuples::numeric / h.reltuples::numeric) END) AS entries_written,
               -- Known from PostgreSQL 16 on.
               (to_jsonb(s) ->> 'last_idx_scan')::timestamptz AS last_scan,
               -- A new database has no counters of its own time: nothing was scanned in it before it was there.
               greatest(c.since, coalesce(p.created_at, f.created_at)) AS counters_since,
               i.indisvalid AND i.indisready AND i.indislive AS is_valid, i.indisprimary, i.indisunique, i.indisexclusion,
               i.indisreplident, i.indisclustered,
               i.indpred IS NOT NULL AS is_partial,
               -- It begins with columns of the key alone, those that select among them: the tenant's rows may be many. Of
               -- whatever access method: equality is what all of them can look for.
               (SELECT string_agg(k.conname, ', ' ORDER BY k.conname)
                FROM pg_constraint k
                WHERE k.conrelid = i.indrelid AND k.contype = 'f' AND EXISTS (
                    SELECT FROM generate_series(1, cardinality(k.conkey)) AS n
                    WHERE (i.indkey::smallint[])[0:n - 1] <@ k.conkey
                      AND (SELECT array_agg(a.attnum) FROM pg_attribute a
                           WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
                             AND (a.attname <> 'tenant_id' OR cardinality(k.conkey) = 1)) <@ (i.indkey::smallint[])[0:n - 1])) AS foreign_keys
        FROM pg_stat_user_indexes s
        JOIN pg_index i ON i.indexrelid = s.indexrelid
        JOIN pg_class x ON x.oid = s.indexrelid
        JOIN pg_class h ON h.oid = s.relid
        JOIN pg_stat_user_tables t ON t.relid = s.relid
        LEFT JOIN attribution.index_plan p ON p.index_name = s.indexrelname AND p.state = 'active'
        -- A crash empties all counters, and says so only where it set them anew.
        CROSS JOIN (
            SELECT greatest(d.stats_reset, least(b.stats_reset, w.stats_reset, a.stats_reset)) AS since
            FROM pg_stat_database d, pg_stat_bgwriter b, pg_stat_wal w, pg_stat_archiver a
            WHERE d.datname = current_database()) c
        CROSS JOIN (SELECT min(x.created_at) AS created_at FROM attribution.index_plan x) f
        WHERE s.schemaname = 'attribution') r
    CROSS JOIN LATERAL (SELECT
        CASE
            WHEN NOT r.is_valid THEN 'invalid'
            WHEN r.scans > 0 THEN 'used'
            WHEN r.indisprimary OR r.indisunique OR r.indisexclusion OR r.indisreplident OR r.indisclustered
                 OR r.foreign_keys IS NOT NULL OR r.is_partial THEN 'needed'
            WHEN NOT current_setting('track_counts')::boolean THEN 'unknown'
            WHEN r.counters_since IS NULL OR r.counters_since > now() - index_report.min_age THEN 'unknown'
            ELSE 'droppable'
        END AS verdict,
        CASE
            WHEN NOT r.is_valid THEN 'not valid: REINDEX or drop it'
            WHEN r.scans > 0 THEN 'scanned since the counters run'
            WHEN r.indisprimary THEN 'not scanned, but the primary key'
            WHEN r.indisunique THEN 'not scanned, but keeps rows unique: insertions check it without counting as scans'
            WHEN r.indisexclusion THEN 'not scanned, but an exclusion constraint: insertions check it without counting as scans'
            WHEN r.indisreplident THEN 'not scanned, but the replica identity'
            WHEN r.indisclustered THEN 'not scanned, but CLUSTER orders the table by it'
            WHEN r.foreign_keys IS NOT NULL THEN 'not scanned, but serves ' || r.foreign_keys || ' when a referenced row goes'
            WHEN r.is_partial THEN 'not scanned, but partial: it costs its few rows only, and is there for the day they are many'
            WHEN NOT current_setting('track_counts')::boolean THEN 'not scanned, but nothing is counted: track_counts is off'
            WHEN r.counters_since IS NULL THEN 'not scanned, since nobody knows when'
            WHEN r.counters_since > now() - index_report.min_age THEN 'not scanned, but the counters are younger than ' || index_report.min_age
            WHEN r.query_path IS NOT NULL THEN 'not scanned: droppable if nothing here asks for "' || r.query_path || '"'
            ELSE 'not scanned, and not of the plan'
        END AS reason) v
    ORDER BY r.relation, r.index_name;
END;
COMMENT ON FUNCTION attribution.index_report(interval) IS
'Every index on the tables of the extension, those of users among them, from the statistics of this server: scans, tuples, size in bytes; entries written to it (inserts and updates that are not in place, for a partial index the share of rows in it; an estimate) and their share in those of all indexes of the table; last scan (NULL before PostgreSQL 16); since when the counters run, at the latest: since they were emptied, or the extension was installed (an index of yours may be younger). verdict: used; needed (not scanned, but a primary key, unique, an exclusion constraint, a replica identity, what CLUSTER orders by, serving a foreign key, or partial); unknown (not scanned, but the counters are younger than min_age, or track_counts is off); droppable; invalid. Counters are those of this server alone: a standby has its own.';
REVOKE ALL ON FUNCTION attribution.index_report(interval) FROM PUBLIC;
