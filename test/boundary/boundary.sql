-- What crosses src/pg/boundary.hpp, in pgTAP. Run by test/suites/boundary.sh, which makes the module.
BEGIN;
SELECT no_plan();

CREATE FUNCTION boundary_live_objects() RETURNS bigint LANGUAGE c STRICT AS '$libdir/boundary_test';
CREATE FUNCTION boundary_throw(text) RETURNS void LANGUAGE c STRICT AS '$libdir/boundary_test';
CREATE FUNCTION boundary_call(text) RETURNS void LANGUAGE c STRICT AS '$libdir/boundary_test';
CREATE FUNCTION boundary_nested(text) RETURNS void LANGUAGE c STRICT AS '$libdir/boundary_test';
CREATE FUNCTION boundary_attempt(text) RETURNS text LANGUAGE c STRICT AS '$libdir/boundary_test';

-- Everything an error carries.
CREATE FUNCTION caught(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; detail text; hint text; constraint_name text; context text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS OR QUERY_CANCELED THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, constraint_name = CONSTRAINT_NAME, context = PG_EXCEPTION_CONTEXT;
    RETURN concat_ws('|', state, message, detail, hint, constraint_name,
                     substring(context FROM 'SQL statement "[^"]*"'));
END $$;
SELECT pg_backend_pid() AS backend \gset

SELECT is(caught($$SELECT boundary_throw('invalid_value')$$),
    '22023|bad value|the detail|the hint||SQL statement "SELECT boundary_throw(''invalid_value'')"',
    'an error of the core: code, detail, hint and context');
SELECT is(caught($$SELECT boundary_throw('null_value')$$), '22004|null||||SQL statement "SELECT boundary_throw(''null_value'')"', 'null value');
SELECT matches(caught($$SELECT boundary_throw('out_of_range')$$), '^22003\|out of range\|', 'out of range');
SELECT matches(caught($$SELECT boundary_throw('limit_exceeded')$$), '^54000\|too many\|', 'limit exceeded');
SELECT matches(caught($$SELECT boundary_throw('runtime_error')$$), '^XX000\|100% wrong\|', 'std::runtime_error, a percent sign in its text');
SELECT matches(caught($$SELECT boundary_throw('logic_error')$$), '^XX000\|a bug\|', 'std::logic_error');
SELECT matches(caught($$SELECT boundary_throw('length_error')$$), '^XX000\|', 'std::length_error');
SELECT matches(caught($$SELECT boundary_throw('bad_alloc')$$), '^53200\|out of memory\|', 'std::bad_alloc');
SELECT matches(caught($$SELECT boundary_throw('int')$$), '^XX000\|unknown C\+\+ exception', 'something that is no exception class');
SELECT ok(starts_with(caught($$SELECT boundary_throw('long_text')$$), '22023|ä' || repeat('m', 509) || '|d' || repeat('ä', 511) || '|'),
    'long texts are cut between characters');
SELECT is(caught($$SELECT boundary_throw('nothing')$$), 'no error', 'nothing thrown, nothing raised');

SELECT is(caught($$SELECT boundary_call('raise')$$),
    '23514|raised inside|detail inside|hint inside|constraint_inside|SQL statement "SELECT boundary_call(''raise'')"',
    'an error of PostgreSQL crosses C++ unchanged');
SELECT matches(caught($$SELECT boundary_call('division')$$), '^22012\|division by zero\|', 'an error of a PostgreSQL function');
SELECT is(caught($$SELECT boundary_call('nothing')$$), 'no error', 'no error, no trace');
SELECT matches(caught($$SELECT boundary_nested('invalid_value')$$), '^22023\|bad value\|the detail\|the hint\|', 'C++ over PostgreSQL over C++');
SELECT matches(caught($$SELECT boundary_nested('int')$$), '^XX000\|unknown C\+\+ exception', 'the same for an int');

SELECT is(boundary_attempt('invalid_value'), 'bad value', 'attempt returns the error');
SELECT is(boundary_attempt('nothing'), NULL, 'attempt returns nothing when it went well');

SET LOCAL statement_timeout = '100ms';
SELECT matches(caught($$SELECT boundary_call('sleep')$$), '^57014\|canceling statement due to statement timeout\|', 'a timeout stays a timeout');
RESET statement_timeout;

SELECT is(boundary_live_objects(), 0::bigint, 'no object is alive');

-- 40,000 caught errors of every kind.
DO $$
DECLARE
    kind text;
BEGIN
    FOR i IN 1 .. 4000 LOOP
        FOREACH kind IN ARRAY ARRAY['invalid_value', 'runtime_error', 'bad_alloc', 'length_error', 'int'] LOOP
            BEGIN
                PERFORM boundary_throw(kind);
                RAISE EXCEPTION 'nothing was thrown';
            EXCEPTION WHEN OTHERS THEN
                IF SQLERRM = 'nothing was thrown' THEN RAISE; END IF;
            END;
            BEGIN
                PERFORM boundary_nested(kind);
                RAISE EXCEPTION 'nothing was thrown';
            EXCEPTION WHEN OTHERS THEN
                IF SQLERRM = 'nothing was thrown' THEN RAISE; END IF;
            END;
        END LOOP;
    END LOOP;
END $$;
SELECT is(boundary_live_objects(), 0::bigint, 'no object is alive after 40,000 errors');

-- The planner's hook is the extension's only while it asks about an index.
CREATE FUNCTION boundary_hook_planner() RETURNS void LANGUAGE c AS '$libdir/boundary_test';
CREATE FUNCTION boundary_planner_hook() RETURNS text LANGUAGE c AS '$libdir/boundary_test';
CREATE FUNCTION boundary_planned_relations() RETURNS bigint LANGUAGE c AS '$libdir/boundary_test';
CREATE EXTENSION attribution;
SELECT is(attribution.current_tenant(), NULL, 'the extension is loaded');
SELECT is(boundary_planner_hook(), 'none', 'it does not hook into the planner');
SELECT is(count(problem), 0::bigint, 'every index can serve its query') FROM attribution.check_index_plan();
SELECT is(boundary_planner_hook(), 'none', 'after asking there is no hook');
UPDATE attribution.index_plan SET sample_query = 'SELECT id FROM attribution.tenants WHERE name = $1 AND 1 / 0 = 1'
WHERE index_name = 'idx_tenants_name';
SELECT is(attribution_internal.index_obstacle('idx_tenants_name', false), 'sample query cannot be planned: division by zero',
    'an error while the planner is asked');
SELECT is(boundary_planner_hook(), 'none', 'after the error there is no hook');
-- The planner evaluates what is constant: that may ask about another index, also of the same table.
CREATE FUNCTION public.ask(index_name name) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN attribution_internal.index_obstacle(index_name, false) IS NULL;
END $$;
UPDATE attribution.index_plan SET sample_query = 'SELECT id FROM attribution.tenants WHERE name = $1 AND public.ask(''tenants_pkey'')'
WHERE index_name = 'idx_tenants_name';
SELECT is(attribution_internal.index_obstacle('idx_tenants_name', false), NULL, 'a question within a question');
SELECT is(boundary_planner_hook(), 'none', 'after both there is no hook');
-- Another extension's hook is called while the planner is asked, and stays.
SELECT boundary_hook_planner();
SELECT boundary_planned_relations() AS before \gset
SELECT is(attribution_internal.index_obstacle('idx_tenants_name', false), NULL, 'a question beside another hook');
SELECT cmp_ok(boundary_planned_relations(), '>=', (:before + 2)::bigint, 'the other hook was called in both questions');
SELECT is(boundary_planner_hook(), 'the test''s', 'the other hook is still there');

SELECT is(pg_backend_pid(), :backend, 'the backend is still the same');

SELECT * FROM finish();
ROLLBACK;
