-- column_types: where the owner of a table has given a column another type, whoever reads the column names it in an error.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set t '''c0177135-0000-4000-8000-00000000000a'''
INSERT INTO attribution.tenants (id, name) VALUES (:t, 'column_types');
CREATE FUNCTION pg_temp.event(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN format('c0177135-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid;
CREATE FUNCTION pg_temp.session(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN format('c0177135-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid;
-- 11 and its refund 12 are allocated, 21 and its refund 22 wait.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, correlation_id, refund_of, revenue_cents)
SELECT :t, pg_temp.event(n), type, '2024-01-01Z'::timestamptz + n * interval '1 hour', pg_temp.session(session), channel, 'order ' || n,
       CASE WHEN type = 'refund' THEN pg_temp.event(n - 1) END, cents
FROM (VALUES (1, 'touch', 1, 'email', 0), (2, 'touch', 1, 'tv', 0), (11, 'conversion', 1, NULL, 1000), (12, 'refund', 1, NULL, -300),
             (3, 'touch', 2, 'tv', 0), (4, 'touch', 2, 'email', 0), (21, 'conversion', 2, NULL, 2001), (22, 'refund', 2, NULL, -2001))
     AS e (n, type, session, channel, cents);
SELECT attribution.define_model(:t, 'linear', 'linear'), attribution.define_model(:t, 'given', 'custom') \g /dev/null
SELECT count(*) FROM attribution.allocate_event(:t, pg_temp.event(11), 'linear');
SELECT count(*) FROM attribution.allocate_event(:t, pg_temp.event(11), 'given', '{email,tv}', '{2,1}');

-- How a statement ends, the checks of COMMIT included. What it did is undone.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    RAISE SQLSTATE 'ZZ000';
EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN RETURN 'ok';
    WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE TEMP TABLE calls (place integer, name text, statement text);
INSERT INTO calls VALUES
    (1, 'allocate conversion',  $$SELECT count(*) FROM attribution.allocate_event('c0177135-0000-4000-8000-00000000000a', pg_temp.event(21), 'linear')$$),
    (2, 'allocate by weights',  $$SELECT count(*) FROM attribution.allocate_event('c0177135-0000-4000-8000-00000000000a', pg_temp.event(21), 'given', '{email,tv}', '{2,1}')$$),
    (3, 'stored conversion',    $$SELECT count(*) FROM attribution.allocate_event('c0177135-0000-4000-8000-00000000000a', pg_temp.event(11), 'linear')$$),
    (4, 'stored weights',       $$SELECT count(*) FROM attribution.allocate_event('c0177135-0000-4000-8000-00000000000a', pg_temp.event(11), 'given', '{email,tv}', '{2,1}')$$),
    (5, 'stored refund',        $$SELECT count(*) FROM attribution.allocate_event('c0177135-0000-4000-8000-00000000000a', pg_temp.event(12), 'linear')$$),
    (6, 'define model again',   $$SELECT attribution.define_model('c0177135-0000-4000-8000-00000000000a', 'linear', 'linear')$$),
    (7, 'define another model', $$SELECT attribution.define_model('c0177135-0000-4000-8000-00000000000a', 'new', 'last_touch')$$),
    (8, 'explain',              $$SELECT count(*) FROM attribution.explain_allocation('c0177135-0000-4000-8000-00000000000a', pg_temp.event(11), 'linear')$$);
-- The outcomes of all calls beside an altered table, which is then as it was before.
CREATE FUNCTION pg_temp.altered(alteration text) RETURNS TABLE (outcome text, calls text) LANGUAGE plpgsql AS $$
DECLARE
    outcomes text[] := '{}';
    names text[] := '{}';
    entry record;
BEGIN
    BEGIN
        EXECUTE 'ALTER TABLE attribution.' || alteration;
        FOR entry IN SELECT * FROM calls ORDER BY place LOOP
            outcomes := outcomes || pg_temp.outcome(entry.statement);
            names := names || entry.name;
        END LOOP;
        RAISE SQLSTATE 'ZZ000';
    EXCEPTION
        WHEN SQLSTATE 'ZZ000' THEN NULL;
    END;
    RETURN QUERY SELECT o, string_agg(name, ', ' ORDER BY place)
                 FROM unnest(outcomes, names) WITH ORDINALITY AS u (o, name, place) GROUP BY 1 ORDER BY min(place);
END $$;
SELECT * FROM pg_temp.altered('attribution_allocations SET (fillfactor = 100)');
SELECT * FROM pg_temp.altered('attribution_allocations ALTER weight TYPE double precision');
SELECT * FROM pg_temp.altered('attribution_allocations ALTER weight TYPE text USING weight::text, DROP CONSTRAINT attribution_allocations_weight_range');
SELECT * FROM pg_temp.altered('attribution_allocations ALTER allocation_ratio TYPE double precision');
SELECT * FROM pg_temp.altered('attribution_allocations ALTER correlation_id TYPE varchar(300)');
SELECT * FROM pg_temp.altered('attribution_events ALTER correlation_id TYPE bytea USING correlation_id::bytea');
SELECT * FROM pg_temp.altered('attribution_events ALTER session_id TYPE text');
SELECT * FROM pg_temp.altered('attribution_events ALTER channel TYPE bytea USING channel::bytea');
SELECT * FROM pg_temp.altered('attribution_models ALTER parameters TYPE json, ALTER parameters DROP DEFAULT, DROP CONSTRAINT attribution_models_parameters_object');
SELECT * FROM pg_temp.altered('attribution_models ALTER parameters DROP DEFAULT, DROP CONSTRAINT attribution_models_parameters_object, ALTER parameters TYPE text');
SELECT * FROM pg_temp.altered('attribution_models DROP CONSTRAINT attribution_models_method, ALTER method TYPE bytea USING method::bytea');
SELECT * FROM pg_temp.altered('attribution_models ALTER method TYPE name');

-- In bulk, which commits: the run ends, and the next one allocates what waits.
\set VERBOSITY terse
ALTER TABLE attribution.attribution_events ALTER correlation_id TYPE bytea USING correlation_id::bytea;
CALL attribution.allocate_events(:t, 'linear');
ALTER TABLE attribution.attribution_events ALTER correlation_id TYPE text USING convert_from(correlation_id, 'UTF8');
CALL attribution.allocate_events(:t, 'linear') \gset
SELECT :events_allocated AS events_allocated, :events_failed AS events_failed;
