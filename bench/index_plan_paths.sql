-- What bench/index_plan runs: every query path of the index plan, its insertion checks and the API, with parameters that exist.
-- 1 to 5000 are run warm, 5001 to 6000 cold. p1, p2, ... stand for $1, $2, ...

SET client_min_messages = warning;

CREATE TABLE bench.paths (
    path text PRIMARY KEY, kind text NOT NULL, index_name name, answer text NOT NULL, target_ms integer NOT NULL,
    types text[] NOT NULL, query text NOT NULL, explained text);
CREATE TABLE bench.parameters (path text, n integer, p1 text, p2 text, p3 text, p4 text, PRIMARY KEY (path, n));

INSERT INTO bench.paths
SELECT regexp_replace(p.index_name, '^idx_', ''), 'query', p.index_name, p.answer, p.target_p95_ms,
       ARRAY(SELECT substring(x FROM ' (.*)$') FROM unnest(p.parameters) WITH ORDINALITY AS u (x, o) ORDER BY o), p.sample_query
FROM attribution.index_plan p WHERE p.serves = 'query' AND p.state = 'active'
UNION ALL
SELECT regexp_replace(p.index_name, '^idx_', '') || ' (insertion)', 'insertion', p.index_name, 'row', p.target_p95_ms,
       ARRAY(SELECT substring(x FROM ' (.*)$') FROM unnest(p.parameters) WITH ORDINALITY AS u (x, o) ORDER BY o), p.insertion_check
FROM attribution.index_plan p WHERE p.insertion_check IS NOT NULL;

-- The same over the largest tenant alone.
INSERT INTO bench.paths
SELECT path || ' (largest)', kind, index_name, answer, target_ms, types, query
FROM bench.paths WHERE path IN ('attribution_allocations_tenant_created_at', 'attribution_allocations_tenant_model_version');

INSERT INTO bench.paths VALUES
    ('realtime_revenue()', 'api', NULL, 'row', 50, '{uuid}', 'SELECT * FROM attribution.realtime_revenue($1)'),
    ('reconciliation_status()', 'api', NULL, 'row', 50, '{uuid}', 'SELECT * FROM attribution.reconciliation_status($1)'),
    ('channel_performance() of a week', 'api', NULL, 'aggregate', 50, '{uuid,text,timestamptz,timestamptz}', 'SELECT * FROM attribution.channel_performance($1, $2, $3, $4)'),
    ('channel_performance() of a week (largest)', 'api', NULL, 'aggregate', 50, '{uuid,text,timestamptz,timestamptz}', 'SELECT * FROM attribution.channel_performance($1, $2, $3, $4)'),
    ('channel_performance() of all time', 'api', NULL, 'aggregate', 50, '{uuid,text}', 'SELECT * FROM attribution.channel_performance($1, $2)'),
    ('unbalanced_allocations()', 'api', NULL, 'aggregate', 50, '{uuid}', 'SELECT * FROM attribution.unbalanced_allocations($1)'),
    ('tenant by id', 'api', NULL, 'row', 10, '{uuid}', 'SELECT t.id, t.name, t.currency FROM attribution.tenants t WHERE t.id = $1');
INSERT INTO bench.paths
SELECT n.path, 'api', NULL, p.answer, p.target_ms, p.types, p.query
FROM (VALUES ('tenant by name', 'tenants_name'), ('page of dead events', 'dead_events_tenant_ingested_at'),
             ('page of events', 'attribution_events_tenant_occurred_at')) AS n (path, original)
JOIN bench.paths p ON p.path = n.original;
INSERT INTO bench.paths VALUES
    ('dead_event_depth', 'api', NULL, 'aggregate', 50, '{uuid}', 'SELECT * FROM attribution.dead_event_depth d WHERE d.tenant_id = $1');

-- EXPLAIN does not look into functions: their queries, which are planned without knowing the parameters.
UPDATE bench.paths SET explained = 'SELECT t.id, coalesce(r.state, ''idle''), r.last_run_at, r.id
    FROM attribution.tenants t
    LEFT JOIN LATERAL (SELECT x.state, x.last_run_at, x.id FROM attribution.reconciliation_runs x
                       WHERE x.tenant_id = t.id ORDER BY x.last_run_at DESC, x.id DESC LIMIT 1) r ON true
    WHERE t.id = $1' WHERE path = 'reconciliation_status()';
UPDATE bench.paths SET explained = 'SELECT a.channel, sum(a.cents), count(*) FILTER (WHERE e.event_type = ''conversion'')
    FROM (SELECT x.id, x.event_type FROM attribution.attribution_events x
          WHERE x.tenant_id = $1 AND x.event_type <> ''touch'' AND x.occurred_at >= coalesce($3, ''-infinity'') AND x.occurred_at < coalesce($4, ''infinity'')
          ORDER BY x.occurred_at DESC OFFSET 0) e
    CROSS JOIN LATERAL (SELECT y.channel, y.allocated_revenue_cents AS cents FROM attribution.attribution_allocations y
                        WHERE y.tenant_id = $1 AND y.event_id >= e.id AND y.event_id <= e.id
                          AND y.model_version IS NOT NULL AND y.model_version COLLATE "C" = $2
                        ORDER BY y.event_id OFFSET 0) a
    GROUP BY a.channel ORDER BY 2 DESC, 1', types = '{uuid,text,timestamptz,timestamptz}' WHERE path LIKE 'channel_performance%';
UPDATE bench.paths SET explained = 'SELECT s.tenant_id, s.model_version, s.event_id, s.revenue_cents, s.allocated_cents,
           abs(s.allocated_cents - coalesce(s.revenue_cents, 0))
    FROM (SELECT t.tenant_id, t.event_id, t.model_version, t.allocated_cents, e.revenue_cents
          FROM (SELECT a.tenant_id, a.event_id, a.model_version, sum(a.allocated_revenue_cents) AS allocated_cents
                FROM attribution.attribution_allocations a
                WHERE $2 IS NULL OR a.model_version = $2
                GROUP BY a.tenant_id, a.event_id, a.model_version) t
          LEFT JOIN attribution.attribution_events e ON e.tenant_id = t.tenant_id AND e.id = t.event_id
          WHERE $1 IS NULL AND t.allocated_cents IS DISTINCT FROM e.revenue_cents
          UNION ALL
          SELECT t.tenant_id, t.event_id, t.model_version, t.allocated_cents, e.revenue_cents
          FROM (SELECT a.tenant_id, a.event_id, a.model_version, sum(a.allocated_revenue_cents) AS allocated_cents
                FROM attribution.attribution_allocations a
                WHERE a.tenant_id = $1
                  AND ($2 IS NULL OR a.model_version = $2)
                GROUP BY a.tenant_id, a.event_id, a.model_version) t
          LEFT JOIN attribution.attribution_events e ON e.tenant_id = $1 AND e.id = t.event_id
          WHERE t.allocated_cents IS DISTINCT FROM e.revenue_cents) s
    ORDER BY s.tenant_id, s.event_id, s.model_version', types = '{uuid,text}' WHERE path LIKE 'unbalanced_allocations%';

-- By rows: the journey of a row drawn at random, so large tenants come more often. By tenants: all alike.
CREATE TABLE bench.by_rows AS
SELECT n, j.* FROM generate_series(1, 6000) AS n JOIN bench.journeys j ON j.number = bench.hash(n, 80) % (SELECT count(*) FROM bench.journeys);
CREATE TABLE bench.by_tenants AS
SELECT n, t.*, '2025-01-01Z'::timestamptz + bench.hash(n, 82) % 356 * interval '1 day' AS day
FROM generate_series(1, 6000) AS n JOIN bench.tenants t ON t.number = 1 + (n * 389) % 1000;
CREATE TABLE bench.refunded AS
SELECT n, j.* FROM generate_series(1, 6000) AS n
JOIN (SELECT *, row_number() OVER (ORDER BY number) - 1 AS place, count(*) OVER () AS count FROM bench.journeys WHERE is_posted AND refund_id IS NOT NULL) j
     ON j.place = bench.hash(n, 83) % j.count;

CREATE PROCEDURE bench.parameters_of(paths text[], query text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TEMP TABLE drawn AS SELECT q.n, q.p1::text, q.p2::text, q.p3::text, q.p4::text FROM (%s) AS q (n, p1, p2, p3, p4)', query);
    INSERT INTO bench.parameters SELECT p, d.* FROM unnest(paths) AS p, drawn d;
    DROP TABLE drawn;
END $$;

CALL bench.parameters_of('{tenants_name,tenant by name}', 'SELECT b.n, t.name, t.id, NULL, NULL FROM bench.by_rows b JOIN bench.tenants t ON t.number = b.tenant');
CALL bench.parameters_of('{attribution_events_tenant_occurred_at,page of events}', 'SELECT b.n, b.tenant_id, b.converted_at, b.conversion_id, 50 FROM bench.by_rows b');
CALL bench.parameters_of('{attribution_events_tenant_external_event_id,attribution_events_tenant_external_event_id (insertion)}',
    'SELECT b.n, j.tenant_id, j.conversion_key, NULL, NULL FROM bench.by_rows b
     CROSS JOIN LATERAL (SELECT * FROM bench.journeys j WHERE j.number >= b.number - 200 AND j.conversion_key IS NOT NULL ORDER BY j.number LIMIT 1) j');
CALL bench.parameters_of('{attribution_events_tenant_correlation_id,attribution_events_tenant_correlation_id (insertion)}',
    'SELECT b.n, j.tenant_id, j.correlation_id, NULL, NULL FROM bench.by_rows b
     CROSS JOIN LATERAL (SELECT * FROM bench.journeys j WHERE j.number >= b.number - 200 AND j.correlation_id IS NOT NULL ORDER BY j.number LIMIT 1) j');
CALL bench.parameters_of('{attribution_events_session_id}', 'SELECT b.n, b.session_id, b.tenant_id, NULL, NULL FROM bench.by_rows b');
CALL bench.parameters_of('{dead_events_tenant_ingested_at,page of dead events}',
    'SELECT n, d.tenant_id, d.ingested_at, d.id, 50 FROM generate_series(1, 6000) AS n
     JOIN (SELECT *, row_number() OVER (ORDER BY ingested_at, id) - 1 AS place, count(*) OVER () AS count FROM attribution.dead_events) d ON d.place = bench.hash(n, 84) % d.count');
CALL bench.parameters_of('{dead_events_source}', 'SELECT n, (ARRAY[''shopify'', ''stripe'', ''paypal'', ''woocommerce''])[1 + n % 4], NULL, NULL, NULL FROM generate_series(1, 6000) AS n');
CALL bench.parameters_of('{dead_events_error_code}',
    'SELECT n, e.error_code, NULL, NULL, NULL FROM generate_series(1, 6000) AS n
     JOIN (SELECT error_code, row_number() OVER (ORDER BY error_code) - 1 AS place, count(*) OVER () AS count FROM attribution.dead_events GROUP BY error_code) e ON e.place = n % e.count');
CALL bench.parameters_of('{attribution_allocations_tenant_created_at}', 'SELECT n, id, day, day + interval ''1 day'', ''1.0.0'' FROM bench.by_tenants');
CALL bench.parameters_of('{attribution_allocations_tenant_created_at (largest)}', 'SELECT b.n, t.id, b.day, b.day + interval ''1 day'', ''1.0.0'' FROM bench.by_tenants b, bench.tenants t WHERE t.number = 1');
CALL bench.parameters_of('{attribution_allocations_event_id}', 'SELECT b.n, coalesce(b.refund_id, b.conversion_id), NULL, NULL, NULL FROM bench.by_rows b');
-- Half of them the common ones, half campaigns.
CALL bench.parameters_of('{attribution_allocations_channel}',
    'SELECT b.n, CASE WHEN b.n % 2 = 0 THEN bench.channel(b.n % 8) ELSE bench.channel(8 + (2000 * power(bench.hash(b.number, 41) % 1000 / 1000.0::float8, 3))::bigint + 8) END, NULL, NULL, NULL FROM bench.by_rows b');
CALL bench.parameters_of('{attribution_allocations_tenant_event_model_channel,mv_allocation_summary_key}',
    'SELECT b.n, b.tenant_id, b.conversion_id, CASE WHEN b.long_count > 0 THEN ''3.0.0'' WHEN b.n % 2 = 0 THEN ''2.0.0'' ELSE ''1.0.0'' END, NULL FROM bench.by_rows b');
-- The channel of the check is ads: it inserts nothing only where the row is there, so the bench puts one there.
CALL bench.parameters_of('{attribution_allocations_tenant_model_version}', 'SELECT n, id, ''1.0.0'', NULL, NULL FROM bench.by_tenants');
CALL bench.parameters_of('{attribution_allocations_tenant_model_version (largest)}', 'SELECT b.n, t.id, ''1.0.0'', NULL, NULL FROM bench.by_tenants b, bench.tenants t WHERE t.number = 1');
CALL bench.parameters_of('{revenue_ledger_tenant_updated_at}',
    'SELECT b.n, l.tenant_id, l.updated_at, 50, NULL FROM bench.by_rows b
     JOIN bench.journeys j ON j.number = b.number % (SELECT count(*) FROM bench.journeys WHERE is_posted)
     CROSS JOIN LATERAL (SELECT * FROM attribution.revenue_ledger l WHERE l.tenant_id = j.tenant_id AND l.conversion_id = j.conversion_id ORDER BY l.id LIMIT 1) l');
CALL bench.parameters_of('{revenue_ledger_tenant_allocation_id,revenue_ledger_tenant_allocation_id (insertion)}',
    'SELECT b.n, l.tenant_id, l.allocation_id, NULL, NULL FROM bench.refunded b
     CROSS JOIN LATERAL (SELECT * FROM attribution.revenue_ledger l WHERE l.tenant_id = b.tenant_id AND l.conversion_id = b.conversion_id AND l.allocation_id IS NOT NULL ORDER BY l.id LIMIT 1) l');
CALL bench.parameters_of('{revenue_ledger_is_verified,mv_allocation_summary_drift}', 'SELECT n, NULL, NULL, NULL, NULL FROM generate_series(1, 6000) AS n');
CALL bench.parameters_of('{reconciliation_runs_tenant_last_run_at,mv_realtime_revenue_tenant_id,mv_reconciliation_status_tenant_id,realtime_revenue(),reconciliation_status(),tenant by id}',
    'SELECT b.n, b.tenant_id, NULL, NULL, NULL FROM bench.by_rows b');
CALL bench.parameters_of('{reconciliation_runs_state}', 'SELECT n, ''running'', NULL, NULL, NULL FROM generate_series(1, 6000) AS n');
CALL bench.parameters_of('{channel_performance() of a week}', 'SELECT n, id, ''1.0.0'', day, day + interval ''7 days'' FROM bench.by_tenants');
CALL bench.parameters_of('{channel_performance() of a week (largest)}', 'SELECT b.n, t.id, ''1.0.0'', b.day, b.day + interval ''7 days'' FROM bench.by_tenants b, bench.tenants t WHERE t.number = 1');
CALL bench.parameters_of('{channel_performance() of all time}', 'SELECT n, id, ''1.0.0'', NULL, NULL FROM bench.by_tenants');
CALL bench.parameters_of('{unbalanced_allocations(),dead_event_depth}', 'SELECT n, id, NULL, NULL, NULL FROM bench.by_tenants');
CALL bench.parameters_of('{revenue_ledger_tenant_reverses_id (insertion)}',
    'SELECT n, l.tenant_id, l.reverses_id, NULL, NULL FROM generate_series(1, 6000) AS n
     JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS count FROM attribution.revenue_ledger WHERE reverses_id IS NOT NULL) l ON l.place = bench.hash(n, 85) % l.count');
CALL bench.parameters_of('{reconciliation_runs_one_running (insertion)}',
    'SELECT n, r.tenant_id, NULL, NULL, NULL FROM generate_series(1, 6000) AS n
     JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS count FROM attribution.reconciliation_runs WHERE state = ''running'') r ON r.place = bench.hash(n, 86) % r.count');

-- The insertion check of allocations names the channel ads: events that have one, with its cent taken from the first channel of a
-- model version of their own.
INSERT INTO attribution.attribution_models (tenant_id, model_version, method) SELECT id, 'ads', 'custom' FROM bench.tenants;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents, created_at, updated_at)
SELECT DISTINCT b.tenant_id, b.conversion_id, 'ads', 'ads', 1, 1.00000, b.cents, b.converted_at + interval '1 hour', b.converted_at + interval '1 hour' FROM bench.by_rows b;
CALL bench.parameters_of('{attribution_allocations_tenant_event_model_channel (insertion)}', 'SELECT b.n, b.tenant_id, b.conversion_id, ''ads'', NULL FROM bench.by_rows b');
CALL attribution.refresh_all();
DROP TABLE bench.by_rows, bench.by_tenants, bench.refunded, bench.journeys;

DO $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(path, ', ') INTO missing FROM bench.paths b WHERE (SELECT count(*) FROM bench.parameters p WHERE p.path = b.path) <> 6000;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'not 6000 parameters: %', missing;
    END IF;
END $$;

-- What the planner does with the statement of a path for the first :count rows of its parameters, prepared, as a session that has
-- run it often does it: scans and what is above them, rows read, milliseconds.
CREATE FUNCTION bench.explain(path text, count integer, OUT plan text, OUT rows_read numeric, OUT rows_per_second numeric)
    LANGUAGE plpgsql AS $$
DECLARE
    b bench.paths;
    words text;
    answer jsonb;
    p record;
    begun timestamptz := clock_timestamp();
    rows numeric := 0;
    ms numeric := 0;
    runs integer := 0;
    shape text;
    plans jsonb := '{}';
BEGIN
    SELECT * INTO STRICT b FROM bench.paths x WHERE x.path = explain.path;
    EXECUTE format('PREPARE measured %s AS %s', CASE WHEN b.types <> '{}' THEN '(' || array_to_string(b.types, ', ') || ')' ELSE '' END, coalesce(b.explained, b.query));
    PERFORM set_config('plan_cache_mode', CASE WHEN b.explained IS NULL THEN 'auto' ELSE 'force_generic_plan' END, true);
    FOR p IN SELECT * FROM bench.parameters x WHERE x.path = explain.path AND x.n BETWEEN 5000 - explain.count - 5 AND 5000 ORDER BY x.n LOOP
        words := CASE WHEN b.types <> '{}' THEN (SELECT '(' || string_agg(quote_nullable(v), ', ' ORDER BY o) || ')'
            FROM unnest((ARRAY[p.p1, p.p2, p.p3, p.p4])[1:cardinality(b.types)]) WITH ORDINALITY AS u (v, o)) ELSE '' END;
        runs := runs + 1;
        EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON) EXECUTE measured ' || words INTO answer;
        -- Five custom plans come first, then the server decides.
        CONTINUE WHEN runs <= 5 AND explain.count > 1;
        ms := ms + (answer #>> '{0,Execution Time}')::numeric;
        WITH RECURSIVE nodes AS (
            SELECT answer #> '{0,Plan}' AS node, 0 AS depth, ARRAY[1::bigint] AS place
            UNION ALL
            SELECT c.node, n.depth + 1, n.place || c.o
            FROM nodes n, LATERAL jsonb_array_elements(n.node -> 'Plans') WITH ORDINALITY AS c (node, o))
        SELECT coalesce(sum(((node ->> 'Actual Rows')::numeric + coalesce((node ->> 'Rows Removed by Filter')::numeric, 0)
                    + coalesce((node ->> 'Rows Removed by Index Recheck')::numeric, 0)) * (node ->> 'Actual Loops')::numeric)
                   FILTER (WHERE node ->> 'Node Type' ~ 'Scan$' AND node ->> 'Node Type' NOT IN ('Bitmap Index Scan', 'Subquery Scan', 'Function Scan')), 0),
               string_agg(CASE node ->> 'Node Type' WHEN 'ModifyTable' THEN coalesce('ON CONFLICT ' || (node -> 'Conflict Arbiter Indexes' ->> 0), node ->> 'Node Type')
                          ELSE (CASE WHEN node ->> 'Parent Relationship' IN ('InitPlan', 'SubPlan') THEN '*' ELSE '' END) || (node ->> 'Node Type') END
                          || coalesce(' ' || coalesce(node ->> 'Index Name', node ->> 'Relation Name', node ->> 'Function Name'), ''), ' < ' ORDER BY place)
        INTO STRICT p.n, shape FROM nodes;
        rows := rows + p.n;
        plans := plans || jsonb_build_object(shape, coalesce((plans ->> shape)::integer, 0) + 1);
        EXIT WHEN clock_timestamp() - begun > interval '8 seconds' AND runs > 5 + 2;
    END LOOP;
    DEALLOCATE measured;
    runs := runs - CASE WHEN explain.count > 1 THEN 5 ELSE 0 END;
    rows_read := round(rows / nullif(runs, 0), 1);
    rows_per_second := round(rows / nullif(ms, 0) * 1000);
    SELECT string_agg(CASE WHEN n::integer = runs THEN '' ELSE round(100.0 * n::integer / runs) || ' %: ' END || s, '; ' ORDER BY n::integer DESC) INTO plan FROM jsonb_each_text(plans) AS x (s, n);
END $$;

CREATE ROLE bench_reader LOGIN;
SELECT attribution.grant_access('bench_reader', 'reader');
GRANT USAGE ON SCHEMA bench TO bench_reader;
GRANT SELECT ON bench.parameters TO bench_reader;
VACUUM (ANALYZE) bench.parameters, bench.paths;
VACUUM (ANALYZE) attribution.attribution_allocations;
CHECKPOINT;
