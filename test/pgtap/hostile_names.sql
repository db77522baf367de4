-- Names that users choose are values, whatever is in them: quotes, statements, line breaks, format
-- characters. They go in, come out the same, and appear in messages as they are.

BEGIN;
SELECT plan(16);
\ir include/two_tenants.sql

CREATE TEMP TABLE hostile (n serial, name text);
INSERT INTO hostile (name) VALUES
    ('it''s'), ('"quoted"'), ('''; DROP TABLE attribution.tenants; --'), ('"; DROP SCHEMA attribution CASCADE; --'),
    (E'two\nlines'), (E'tab\tand\rreturn'), (E'back\\slash \\'' \\n'), ('$$ dollar $a$'), ('%s %n %d %L %%'), ('{a,"b",NULL}'), ('NULL'), ('null'),
    ('a,b'), ('(1,2)'), (':name :''name'''), ('$1'), ('--'), ('/* '), ('*'), (' leading and trailing '), ('ÄÖÜ 漢字 🙂'), (E'\u202Eesrever'), ('public'), ('current_user'),
    (repeat('x', 254)), (repeat('é', 127));

CREATE TEMP VIEW objects AS
SELECT count(*) AS count, md5(string_agg(c.oid::text || c.relname, ',' ORDER BY c.oid)) AS names
FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace;
CREATE TEMP TABLE objects_before AS SELECT * FROM objects;

-- --- Values -------------------------------------------------------------------------------------------

-- A conversion with the name as source, key and channel, allocated under the name, posted and reported.
-- NULL when each step gave the name back.
CREATE FUNCTION pg_temp.misunderstood(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t uuid := pg_temp.a();
    e record;
    channel text;
    version text := left(name, 100) || ' model';
    message text;
    detail text;
BEGIN
    FOR channel IN SELECT * FROM unnest(ARRAY[name, name || '2']) LOOP
        PERFORM attribution.ingest_event(t, name, 'touch', '2026-02-01', NULL, 'touch ' || md5(channel), session_id => md5(name)::uuid, channel => channel);
    END LOOP;
    SELECT * INTO e FROM attribution.ingest_event(t, name, 'conversion', '2026-02-02', 1001, name, name, md5(name)::uuid);
    IF NOT EXISTS (SELECT FROM attribution.attribution_events v WHERE v.tenant_id = t AND v.id = e.event_id
                   AND (v.source, v.external_event_id, v.correlation_id) = (name, name, name)) THEN
        RETURN 'ingest_event';
    END IF;
    IF (SELECT outcome FROM attribution.ingest_event(t, name, 'conversion', '2026-02-02', 1001, name, name)) <> 'duplicate' THEN
        RETURN 'ingest_event again';
    END IF;
    IF (SELECT array_agg(a.channel ORDER BY a.channel COLLATE "C") FROM attribution.allocate_event(t, e.event_id, name, ARRAY[name, name || '2'], ARRAY[1, 1]) a)
       IS DISTINCT FROM (SELECT array_agg(x ORDER BY x COLLATE "C") FROM unnest(ARRAY[name, name || '2']) x) THEN
        RETURN 'allocate_event';
    END IF;
    PERFORM attribution.define_model(t, version, 'custom', jsonb_build_object(
        'channel_weights', jsonb_build_object(name, 1, name || '2', 3), 'exclude_channels', jsonb_build_array(name || 'x')));
    IF (SELECT string_agg(a.channel || a.weight, ',' ORDER BY a.weight) FROM attribution.allocate_event(t, e.event_id, version) a)
       IS DISTINCT FROM name || '1,' || name || '23' THEN
        RETURN 'channel_weights';
    END IF;
    PERFORM attribution.define_model(t, version || '2', 'linear', jsonb_build_object('exclude_channels', jsonb_build_array(name)));
    IF (SELECT string_agg(a.channel, ',') FROM attribution.allocate_event(t, e.event_id, version || '2') a) IS DISTINCT FROM name || '2' THEN
        RETURN 'exclude_channels';
    END IF;
    PERFORM attribution.define_model(t, version || '3', 'last_non_direct', jsonb_build_object('direct_channels', jsonb_build_array(name || '2')));
    IF (SELECT string_agg(a.channel, ',') FROM attribution.allocate_event(t, e.event_id, version || '3') a) IS DISTINCT FROM name THEN
        RETURN 'direct_channels';
    END IF;
    BEGIN
        PERFORM attribution.define_model(t, version, 'linear', jsonb_build_object('exclude_channels', jsonb_build_array(name || 'y')));
        RETURN 'another definition';
    EXCEPTION WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        IF strpos(message, version) = 0 OR strpos(detail, to_jsonb(name || 'y')::text) = 0 THEN RETURN 'the message of define_model: ' || message || detail; END IF;
    END;
    BEGIN
        PERFORM attribution.allocate_event(t, e.event_id, version || 'unknown');
        RETURN 'an unknown version';
    EXCEPTION WHEN invalid_parameter_value THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        IF strpos(message, version || 'unknown') = 0 THEN RETURN 'the message of an unknown version: ' || message; END IF;
    END;
    IF attribution.post_allocations(t, name) <> 2 THEN
        RETURN 'post_allocations';
    END IF;
    IF (SELECT array_agg(p.channel ORDER BY p.channel COLLATE "C") FROM attribution.channel_performance(t, name) p)
       IS DISTINCT FROM (SELECT array_agg(x ORDER BY x COLLATE "C") FROM unnest(ARRAY[name, name || '2']) x) THEN
        RETURN 'channel_performance';
    END IF;
    IF (SELECT count(*) FROM attribution.unbalanced_allocations(t, name)) <> 0 THEN
        RETURN 'unbalanced_allocations';
    END IF;

    BEGIN
        PERFORM attribution.ingest_event(t, name, 'conversion', '2026-02-02', 1002, name);
        RETURN 'another amount';
    EXCEPTION WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
        IF strpos(message, name) = 0 THEN RETURN 'the message of ingest_event: ' || message; END IF;
    END;
    BEGIN
        PERFORM attribution.allocate_event(t, e.event_id, name, ARRAY[name], ARRAY[1]);
        RETURN 'other weights';
    EXCEPTION WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        IF strpos(message, name) = 0 OR strpos(detail, name) = 0 THEN RETURN 'the message of allocate_event: ' || message || detail; END IF;
    END;
    BEGIN
        INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
        VALUES (t, pg_temp.a(4), name, name, 1);
        SET CONSTRAINTS ALL IMMEDIATE;
        RETURN 'a wrong sum';
    EXCEPTION WHEN check_violation THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        IF strpos(detail, name) = 0 THEN RETURN 'the detail of the sum: ' || detail; END IF;
    END;
    BEGIN
        UPDATE attribution.attribution_allocations a SET channel = 'other' WHERE a.tenant_id = t AND a.model_version = name AND a.channel = name;
        RETURN 'another channel';
    EXCEPTION WHEN check_violation THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        IF strpos(detail, name) = 0 THEN RETURN 'the detail of the key: ' || detail; END IF;
    END;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

SELECT is_empty($$
    SELECT h.name, m FROM hostile h, pg_temp.misunderstood(h.name) AS m WHERE m IS NOT NULL
$$, 'sources, keys, channels and model versions are taken as they are, up to their limit');

SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT attribution.refresh(%L)', h.name)) AS s
    WHERE s.state <> '22023' OR strpos(s.message, h.name) = 0
$$, 'a name that is no view is refused by refresh(), in words');
SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT attribution.refresh(''mv_realtime_revenue'', %L)', h.name)) AS s
    WHERE s.state <> '22023'
$$, 'so is a mode that is none');
SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT attribution.grant_access(''tap_reader'', %L)', h.name)) AS s
    WHERE s.state <> '22023'
$$, 'and an access that is none');
SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT set_config(''attribution.tenant_id'', %L, true)', h.name)) AS s
    WHERE s.state <> '22023'
$$, 'and a tenant that is none');
SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT attribution.define_model(%L, ''m'', %L)', pg_temp.a(), h.name)) AS s
    WHERE s.state <> '22023' OR strpos(s.message, h.name) = 0
$$, 'and a method that is none, in words');
SELECT is_empty($$
    SELECT name, state FROM hostile h,
        pg_temp.run_as(current_user, '', format('SELECT attribution.define_model(%L, ''m'', ''linear'', jsonb_build_object(%L, 1))', pg_temp.a(), h.name)) AS s
    WHERE s.state <> '22023' OR strpos(s.message, h.name) = 0
$$, 'and a parameter that is none, in words');

-- --- Roles --------------------------------------------------------------------------------------------

-- A name of a role has at most 63 bytes; "public" and "none" cannot be one.
CREATE TEMP TABLE hostile_role (name name);
INSERT INTO hostile_role SELECT name FROM hostile WHERE octet_length(name) <= 63 AND name NOT IN ('public', 'none');
INSERT INTO hostile_role VALUES (repeat('y', 63)::name), ('UPPER'), ('select'), ('session_user'), ('tap_reader, tap_nobody'), ('tap_nobody WITH GRANT OPTION');
DO $$
DECLARE
    role name;
BEGIN
    FOR role IN SELECT name FROM hostile_role LOOP
        EXECUTE format('CREATE ROLE %I', role);
    END LOOP;
END $$;

SELECT is_empty($$
    SELECT name, s.state, s.message FROM hostile_role, pg_temp.run_as(current_user, '', format('SELECT attribution.grant_access(%L, ''operator'')', name)) AS s
    WHERE s.state <> '00000'
$$, 'access can be granted to a role of any name');
SELECT is_empty($$
    SELECT name FROM hostile_role WHERE attribution.grant_access(name, 'reader') IS NULL OR attribution.bind_tenant(name, pg_temp.a()) IS NULL
$$, 'granted and bound');
SELECT is_empty($$
    SELECT h.name, s.state, s.result FROM hostile_role h, pg_temp.run_as(h.name, '', 'SELECT count(*) FROM attribution.tenants') AS s
    WHERE (s.state, s.result) IS DISTINCT FROM ('00000', '1')
$$, 'and then sees its own tenant');
SELECT is_empty($$
    SELECT h.name, s.state, s.message FROM hostile_role h, pg_temp.run_as(h.name, pg_temp.b()::text, 'SELECT attribution.current_tenant()') AS s
    WHERE s.state <> '42501' OR strpos(s.message, h.name) = 0
$$, 'and no other, which the message says with its name');
SELECT is_empty($$
    SELECT DISTINCT a.grantee::regrole
    FROM pg_class c, aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'attribution'::regnamespace
      AND (a.grantee = 0 OR a.grantee = 'tap_nobody'::regrole)
$$, 'nobody else got anything');
SELECT throws_ok($$ SELECT attribution.grant_access('no such role', 'reader') $$, '42704', NULL, 'a role that does not exist gets nothing');
SELECT throws_ok($$ SELECT attribution.bind_tenant('no such role', pg_temp.a()) $$, '42704', NULL, 'nor is it bound');
-- GRANT takes "public" for everybody, even in quotes.
SELECT throws_ok($$ SELECT attribution.grant_access('public', 'reader') $$, '42704', NULL, 'PUBLIC is no role either');

SELECT results_eq('SELECT * FROM objects', 'SELECT * FROM objects_before', 'and everything is still there');

SELECT * FROM finish();
ROLLBACK;
