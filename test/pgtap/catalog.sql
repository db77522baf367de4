-- The schema keeps its promises: tables that can be distributed by tenant, the index plan, a comment
-- on every object. Rules ask the catalog, so that a new table is held to them without a new test.
--
-- A rule is a query of offenders that must be empty, and each set it looks at is first shown not to be
-- empty itself.

BEGIN;
SELECT plan(30 + 22);

-- The extension's members, and the tables and views, which are none.
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'attribution' AND d.deptype = 'e';
CREATE TEMP VIEW ours AS
TABLE member
UNION ALL
SELECT 'pg_class'::regclass, c.oid FROM pg_class c
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f');

CREATE TEMP VIEW our_relation AS
SELECT c.oid, c.relname, c.relkind
FROM pg_class c JOIN ours o ON o.objid = c.oid AND o.classid = 'pg_class'::regclass;

-- tenant_bindings says which login role belongs to which tenant: its subject is the role, and roles
-- belong to the whole server, so that it is keyed by role and never distributed.
CREATE TEMP VIEW tenant_relation AS
SELECT r.*, a.attnum AS tenant_column
FROM our_relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attname = CASE r.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
WHERE r.relkind IN ('r', 'p', 'm') AND r.relname <> 'tenant_bindings';

-- What is true of this server alone: what waits for a refresh, and whether that is all; what is installed. Neither rows of
-- tenants nor to be distributed: materialized views, which no publication sends and no dump fills.
CREATE TEMP TABLE server_state (name text);
INSERT INTO server_state VALUES
    ('allocation_summary_changes'), ('realtime_revenue_changes'), ('reconciliation_status_changes'), ('refresh_state'), ('refresh_doubts'),
    ('installation'), ('required_pieces'), ('parts_as_made');

CREATE TEMP VIEW our_index AS
SELECT i.indexrelid AS oid, x.relname, r.oid AS relation_id, r.relname AS relation, i.indisunique, i.indisprimary,
       i.indpred, i.indisvalid, m.amname, i.indkey::smallint[] AS columns,
       regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') AS definition,
       obj_description(i.indexrelid, 'pg_class') AS comment
FROM pg_index i
JOIN our_relation r ON r.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam;

CREATE TEMP VIEW our_foreign_key AS
SELECT k.oid, k.conname, k.conrelid, k.conrelid::regclass AS relation, k.confrelid, k.conkey, k.confkey, k.confupdtype, k.confdeltype
FROM pg_constraint k JOIN our_relation r ON r.oid = k.conrelid
WHERE k.contype = 'f';

-- --- What there is -----------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT t.relation || '.' || c.column_name AS missing
    FROM (VALUES
        ('tenants', 'id name currency created_at updated_at'),
        ('attribution_events', 'tenant_id id event_type occurred_at external_event_id correlation_id session_id channel source refund_of revenue_cents raw_payload created_at updated_at'),
        ('dead_events', 'tenant_id id ingested_at source error_code error_detail raw_payload correlation_id external_event_id retry_count last_retry_at resolved_at'),
        ('attribution_models', 'tenant_id model_version method parameters created_at'),
        ('attribution_allocations', 'tenant_id id event_id model_version channel weight allocation_ratio allocated_revenue_cents model_metadata correlation_id created_at updated_at'),
        ('ledger_books', 'tenant_id conversion_id model_version'),
        ('revenue_ledger', 'tenant_id id conversion_id allocation_id reverses_id reconciliation_run_id revenue_cents is_verified verified_at posted_at created_at updated_at'),
        ('reconciliation_runs', 'tenant_id id state last_run_at error_message run_metadata created_at updated_at'),
        ('reconciliation_settlements', 'tenant_id reconciliation_run_id key amount_cents'),
        ('settlement_differences', 'tenant_id reconciliation_run_id kind key conversion_id ledger_cents settlement_cents'),
        ('mv_realtime_revenue', 'tenant_id total_revenue verified last_updated_at'),
        ('mv_reconciliation_status', 'tenant_id state last_run_at reconciliation_run_id'),
        ('mv_allocation_summary', 'tenant_id event_id model_version total_allocated_cents event_revenue_cents is_balanced drift_cents')
    ) AS t (relation, columns), unnest(string_to_array(t.columns, ' ')) AS c (column_name)
    WHERE NOT EXISTS (
        SELECT 1 FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid
        WHERE r.relname = t.relation AND a.attname = c.column_name AND NOT a.attisdropped)
$$, 'every table and materialized view has the columns users rely on');

SELECT is_empty($$
    SELECT r.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type
    FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid
    WHERE (r.relkind = 'r' OR r.relname IN (SELECT name FROM server_state))
      AND a.attname LIKE '%\_cents' AND a.atttypid <> 'bigint'::regtype
$$, 'cents are bigint in every table and log');

SELECT set_eq(
    $$ SELECT relname::text FROM our_relation WHERE relkind = 'm' $$,
    $$ VALUES ('mv_allocation_summary'), ('mv_realtime_revenue'), ('mv_reconciliation_status') UNION ALL SELECT name FROM server_state $$,
    'the three materialized views are materialized views, and so is what belongs to this server alone');

-- --- Fit to be distributed by tenant -----------------------------------------------------------------

SELECT cmp_ok((SELECT count(*) FROM tenant_relation WHERE relkind = 'r'), '>=', 8::bigint, 'the rules below find the tenant tables');

SELECT is_empty($$
    SELECT r.relname
    FROM tenant_relation r
    WHERE r.relkind = 'r' AND NOT EXISTS (SELECT 1 FROM our_index i WHERE i.relation_id = r.oid AND i.indisprimary)
$$, 'every tenant table has a primary key');

SELECT is_empty($$
    SELECT i.relation, i.relname, i.definition
    FROM our_index i JOIN tenant_relation r ON r.oid = i.relation_id
    WHERE i.indisunique AND i.columns[0] IS DISTINCT FROM r.tenant_column
$$, 'tenant_id comes first in every primary key and unique index');

SELECT is_empty($$
    SELECT k.relation, k.conname
    FROM our_foreign_key k
    JOIN tenant_relation child ON child.oid = k.conrelid
    JOIN tenant_relation parent ON parent.oid = k.confrelid
    WHERE array_position(k.conkey, child.tenant_column) IS NULL
       OR array_position(k.conkey, child.tenant_column) IS DISTINCT FROM array_position(k.confkey, parent.tenant_column)
$$, 'every foreign key between tenant tables carries tenant_id at the same position');

SELECT is_empty($$
    SELECT k.relation, k.conname, k.confupdtype, k.confdeltype
    FROM our_foreign_key k
    WHERE k.confupdtype NOT IN ('a', 'r', 'c') OR k.confdeltype NOT IN ('a', 'r', 'c')
$$, 'foreign-key actions are CASCADE, RESTRICT or NO ACTION');

SELECT is_empty($$
    SELECT c.relname AS offender
    FROM pg_class c
    WHERE c.relkind = 'S' AND (
        c.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
        OR EXISTS (SELECT 1 FROM pg_depend d JOIN our_relation r ON d.refobjid = r.oid AND d.refclassid = 'pg_class'::regclass
                   WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT format('%s.%s', r.relname, a.attname)
    FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid
    WHERE a.attidentity <> ''
    UNION ALL
    SELECT format('%s.%s', r.relname, a.attname)
    FROM our_relation r JOIN pg_attrdef f ON f.adrelid = r.oid JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = f.adnum
    WHERE pg_get_expr(f.adbin, f.adrelid) LIKE '%nextval(%'
$$, 'no sequence, serial or identity column');

SELECT is_empty($$
    SELECT what, name, octet_length(name) AS bytes
    FROM (
        SELECT 'relation' AS what, relname::text AS name FROM our_relation
        UNION SELECT 'index', relname::text FROM our_index
        UNION SELECT 'column', a.attname::text FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid
        UNION SELECT 'constraint', k.conname::text FROM pg_constraint k JOIN our_relation r ON r.oid = k.conrelid
        UNION SELECT 'trigger', t.tgname::text FROM pg_trigger t JOIN our_relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
        UNION SELECT 'policy', p.polname::text FROM pg_policy p JOIN our_relation r ON r.oid = p.polrelid
        UNION SELECT 'function', p.proname::text FROM pg_proc p JOIN ours o ON o.objid = p.oid AND o.classid = 'pg_proc'::regclass
        UNION SELECT 'argument', a.name FROM pg_proc p JOIN ours o ON o.objid = p.oid AND o.classid = 'pg_proc'::regclass, unnest(p.proargnames) AS a (name)
    ) n
    WHERE octet_length(name) > 56
$$, 'no identifier is longer than 56 bytes: shards append a suffix');

-- --- The index plan ----------------------------------------------------------------------------------

CREATE TEMP TABLE index_plan (name text, relation text, is_unique boolean, definition text, target_ms integer);
INSERT INTO index_plan VALUES
    ('idx_tenants_name', 'tenants', false, 'btree (name)', 10),
    ('idx_attribution_events_tenant_occurred_at', 'attribution_events', false, 'btree (tenant_id, occurred_at DESC)', 50),
    ('idx_attribution_events_tenant_external_event_id', 'attribution_events', true,
        'btree (tenant_id, external_event_id) WHERE (external_event_id IS NOT NULL)', 10),
    ('idx_attribution_events_tenant_correlation_id', 'attribution_events', true,
        'btree (tenant_id, correlation_id) WHERE ((correlation_id IS NOT NULL) AND (external_event_id IS NULL))', 10),
    ('idx_attribution_events_session_id', 'attribution_events', false, 'btree (session_id) WHERE (session_id IS NOT NULL)', 50),
    ('idx_dead_events_tenant_ingested_at', 'dead_events', false, 'btree (tenant_id, ingested_at DESC)', 50),
    ('idx_dead_events_source', 'dead_events', false, 'btree (source)', 50),
    ('idx_dead_events_error_code', 'dead_events', false, 'btree (error_code)', 50),
    ('idx_attribution_allocations_tenant_created_at', 'attribution_allocations', false, 'btree (tenant_id, created_at DESC)', 50),
    ('idx_attribution_allocations_event_id', 'attribution_allocations', false, 'btree (event_id)', 50),
    ('idx_attribution_allocations_channel', 'attribution_allocations', false, 'btree (channel)', 50),
    ('idx_attribution_allocations_tenant_event_model_channel', 'attribution_allocations', true,
        'btree (tenant_id, event_id, model_version, channel) WHERE (model_version IS NOT NULL)', 10),
    ('idx_attribution_allocations_tenant_model_version', 'attribution_allocations', false, 'btree (tenant_id, model_version)', 50),
    ('idx_revenue_ledger_tenant_updated_at', 'revenue_ledger', false, 'btree (tenant_id, updated_at DESC)', 50),
    ('idx_revenue_ledger_is_verified', 'revenue_ledger', false, 'btree (is_verified) WHERE (is_verified = true)', 50),
    ('idx_revenue_ledger_tenant_allocation_id', 'revenue_ledger', true,
        'btree (tenant_id, allocation_id) WHERE (allocation_id IS NOT NULL)', 10),
    ('idx_reconciliation_runs_tenant_last_run_at', 'reconciliation_runs', false, 'btree (tenant_id, last_run_at DESC)', 50),
    ('idx_reconciliation_runs_state', 'reconciliation_runs', false, 'btree (state)', 50),
    ('idx_mv_realtime_revenue_tenant_id', 'mv_realtime_revenue', true, 'btree (tenant_id)', 50),
    ('idx_mv_reconciliation_status_tenant_id', 'mv_reconciliation_status', true, 'btree (tenant_id)', 50),
    ('idx_mv_allocation_summary_key', 'mv_allocation_summary', true, 'btree (tenant_id, event_id, model_version)', 50),
    ('idx_mv_allocation_summary_drift', 'mv_allocation_summary', false, 'btree (drift_cents) WHERE (drift_cents > (1)::numeric)', 50);

SELECT is((SELECT count(*) FROM index_plan), 22::bigint, 'the plan has 22 indexes');

SELECT is(
    (SELECT format('%s on %s %s', CASE WHEN i.indisunique THEN 'unique' ELSE 'plain' END, i.relation, i.definition)
     FROM our_index i WHERE i.relname = p.name),
    format('%s on %s %s', CASE WHEN p.is_unique THEN 'unique' ELSE 'plain' END, p.relation, p.definition),
    'index ' || p.name)
FROM index_plan p;

SELECT is_empty($$
    SELECT i.relname, i.comment
    FROM our_index i JOIN index_plan p ON p.name = i.relname
    WHERE i.comment IS NULL OR i.comment !~ ('^Query path: \S.*\. Target p95: ' || p.target_ms || ' ms\.$')
$$, 'the comment of an index of the plan names the query path and the planned target');

SELECT is_empty($$
    SELECT i.relname, i.comment
    FROM our_index i
    WHERE i.relname NOT IN (SELECT name FROM index_plan)
      AND NOT coalesce(i.indisprimary AND i.comment ~ ('^Serves the primary key of ' || i.relation || '\. Target p95: [0-9]+ ms\.$'), false)
      AND NOT coalesce(i.indisunique AND i.comment ~ '^Serves the constraint \S.* Target p95: [0-9]+ ms\.$', false)
      AND NOT EXISTS (
        SELECT 1 FROM our_foreign_key k
        WHERE k.conrelid = i.relation_id
          AND i.comment ~ ('^Serves the foreign key ' || k.conname || '\M.* Target p95: [0-9]+ ms\.$'))
$$, 'beyond the plan there are only indexes whose comment names the key or constraint they serve');

SELECT set_eq(
    $$ SELECT p.index_name::text, p.relation::text, p.target_p95_ms FROM attribution.index_plan p WHERE p.state = 'active' AND p.serves = 'query' $$,
    $$ SELECT name, relation, target_ms FROM index_plan $$,
    'the table index_plan has these 22 as indexes of queries');

SELECT is_empty($$
    (SELECT i.relname::text, i.relation::text, pg_get_indexdef(i.oid) FROM our_index i
     EXCEPT ALL SELECT p.index_name, p.relation, p.definition FROM attribution.index_plan p WHERE p.state = 'active')
    UNION ALL
    (SELECT p.index_name, p.relation, p.definition FROM attribution.index_plan p WHERE p.state = 'active'
     EXCEPT ALL SELECT i.relname, i.relation, pg_get_indexdef(i.oid) FROM our_index i)
$$, 'the table index_plan and the catalog have the same indexes');

SELECT is_empty($$
    SELECT relname FROM our_index WHERE NOT indisvalid
$$, 'every index is valid');

SELECT is_empty($$ SELECT * FROM attribution.check_index_plan() WHERE problem IS NOT NULL $$, 'every index can serve its query');

SELECT is_empty($$
    SELECT i.relname, a.attname
    FROM our_index i JOIN pg_attribute a ON a.attrelid = i.oid
    WHERE i.amname <> 'btree' OR a.atttypid = 'jsonb'::regtype
$$, 'no GIN index and no index on jsonb: neither has a query path');

-- Served: the index begins with columns of the key alone, those that select among them. The partial
-- ones leave out only rows that reference nothing.
SELECT is_empty($$
    SELECT k.relation, k.conname
    FROM our_foreign_key k
    LEFT JOIN tenant_relation r ON r.oid = k.conrelid
    WHERE NOT EXISTS (
        SELECT 1
        FROM our_index i, generate_series(1, cardinality(k.conkey)) AS n
        WHERE i.relation_id = k.conrelid
          AND i.columns[0:n - 1] <@ k.conkey
          AND CASE WHEN cardinality(k.conkey) = 1 THEN k.conkey ELSE array_remove(k.conkey, r.tenant_column) END <@ i.columns[0:n - 1]
          AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.relation_id) IN (
              SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute a
              WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))))
$$, 'every foreign key is served by an index on the referencing side');

SELECT cmp_ok((SELECT count(*) FROM our_foreign_key), '>=', 11::bigint, 'the rules above find the foreign keys');

-- --- Comments ----------------------------------------------------------------------------------------

SELECT isnt(obj_description('attribution'::regnamespace, 'pg_namespace'), NULL, 'the schema has a comment');

SELECT isnt(obj_description('attribution_internal'::regnamespace, 'pg_namespace'), NULL, 'and that of what only the extension uses');

SELECT is_empty($$
    SELECT r.relkind, r.relname FROM our_relation r
    WHERE r.relkind IN ('r', 'p', 'v', 'm') AND coalesce(obj_description(r.oid, 'pg_class'), '') !~ '\S'
$$, 'every table, view and materialized view has a comment');

SELECT is_empty($$
    SELECT r.relname, a.attname
    FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE r.relkind IN ('r', 'p', 'm') AND coalesce(col_description(r.oid, a.attnum), '') !~ '\S'
$$, 'every column of a table or materialized view has a comment');

SELECT is_empty($$
    SELECT i.relname FROM our_index i WHERE coalesce(i.comment, '') !~ '\S'
$$, 'every index has a comment');

SELECT is_empty($$
    SELECT p.oid::regprocedure
    FROM pg_proc p JOIN ours o ON o.objid = p.oid AND o.classid = 'pg_proc'::regclass
    WHERE coalesce(obj_description(p.oid, 'pg_proc'), '') !~ '\S'
$$, 'every function and procedure has a comment');

-- --- Materialized views are filled by a refresh and by nothing else ----------------------------------

SELECT is_empty($$
    SELECT c.relname FROM pg_class c JOIN our_relation r USING (oid) WHERE r.relkind = 'm' AND c.relispopulated
      AND r.relname NOT IN (SELECT name FROM server_state)
$$, 'the installation populates no materialized view');

-- What could not be read could not say that it is empty.
SELECT is(
    (SELECT count(*) FROM attribution_internal.allocation_summary_changes) + (SELECT count(*) FROM attribution_internal.realtime_revenue_changes)
    + (SELECT count(*) FROM attribution_internal.reconciliation_status_changes) + (SELECT count(*) FROM attribution_internal.refresh_state)
    + (SELECT count(*) FROM attribution_internal.refresh_doubts), 0::bigint, 'but what belongs to this server, which is empty');

SELECT is_empty($$
    SELECT r.relname, l.outcome, l.error
    FROM our_relation r, attribution.refresh(r.relname::text) l
    WHERE r.relkind = 'm' AND r.relname NOT IN (SELECT name FROM server_state) AND l.outcome IS DISTINCT FROM 'refreshed'
$$, 'each can be refreshed');

SELECT is_empty($$
    SELECT c.relname FROM pg_class c JOIN our_relation r USING (oid) WHERE r.relkind = 'm' AND NOT c.relispopulated
$$, 'and is populated afterwards');

SELECT * FROM finish();
ROLLBACK;
