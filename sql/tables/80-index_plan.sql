-- index_plan: why each index exists, for which query, and how fast that must be. check_index_plan() compares it with
-- the server, index_report() with what the server does. 82-index_plan_rows.sql has the rows.

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
COMMENT ON TABLE attribution.index_plan IS 'Every index of the extension, and those left out on purpose. You may add rows for your own indexes on its tables.';
COMMENT ON COLUMN attribution.index_plan.index_name IS 'The index, in schema attribution or attribution_internal.';
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
COMMENT ON COLUMN attribution.index_plan.is_shipped IS 'True for the rows of the extension itself, which create_tables() and upgrade_tables() keep as they ship.';
COMMENT ON COLUMN attribution.index_plan.created_at IS 'When the row was inserted, and with it the index.';
