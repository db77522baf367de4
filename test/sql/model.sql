-- model: a model version is defined once, strictly; and what each method gives to whom.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set tenant '''30de1000-0000-4000-8000-00000000000a'''
\set other '''30de1000-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'model'), (:other, 'model, other');

--
-- define_model
--
-- What a definition comes to: ok (and nothing stays of it), or SQLSTATE, message and detail.
CREATE FUNCTION pg_temp.defined(method text, parameters jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    BEGIN
        PERFORM attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'tried', method, parameters);
        RAISE SQLSTATE 'UNDO0';
    EXCEPTION
        WHEN SQLSTATE 'UNDO0' THEN RETURN 'ok';
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            RETURN concat_ws(': ', SQLSTATE, SQLERRM, left(nullif(detail, ''), 60));
    END;
END $$;
-- Each parameter of each method, and none of another's.
SELECT p.key AS parameter, string_agg(m.method, ' ' ORDER BY m.method) FILTER (WHERE d.outcome = 'ok') AS methods,
       string_agg(DISTINCT left(d.outcome, 5), ' ') FILTER (WHERE d.outcome <> 'ok') AS others
FROM (VALUES ('lookback_days', '30'::jsonb), ('exclude_channels', '["a"]'), ('direct_channels', '["a"]'), ('half_life_days', '7'),
             ('position_weights', '{"first": 1, "middle": 2, "last": 3}'), ('channel_weights', '{"a": 1}'), ('default_weight', '1'),
             ('Lookback_days', '30'), ('lookback', '30'), ('', '30'), ('weights', '{"a": 1}')) AS p (key, value)
CROSS JOIN unnest('{first_touch,last_touch,last_non_direct,linear,position_based,time_decay,custom}'::text[]) AS m (method)
CROSS JOIN LATERAL pg_temp.defined(m.method, jsonb_build_object(p.key, p.value) || CASE WHEN m.method = 'custom' AND p.key !~ 'weight' THEN '{"default_weight": 1}' ELSE '{}' END::jsonb) AS d (outcome)
GROUP BY p.key ORDER BY p.key COLLATE "C";
SELECT m.method, pg_temp.defined(m.method, '{}') FROM unnest('{first_touch,last_touch,last_non_direct,linear,position_based,time_decay,custom}'::text[]) AS m (method);
SELECT m.method, pg_temp.defined(m.method, '{}')
FROM unnest('{"",Linear,"linear ",LINEAR,linear2,line,NULL,first,shapley}'::text[]) AS m (method);
-- Values: numbers.
SELECT v.value, pg_temp.defined('linear', jsonb_build_object('lookback_days', v.value)) AS lookback_days,
       left(pg_temp.defined('time_decay', jsonb_build_object('half_life_days', v.value)), 5) AS half_life_days
FROM (VALUES ('1'::jsonb), ('0.000001'), ('36500'), ('36500.000000'), ('1e-6'), ('1.50000000000'), ('36500.000001'), ('36501'), ('0'), ('0.0'), ('-1'), ('-0.000001'),
             ('0.0000001'), ('1.0000001'), ('1e10'), ('1e20'), ('"30"'), ('"30 days"'), ('null'), ('true'), ('[30]'), ('{"days": 30}'), ('[]'), ('{}'), ('""')) AS v (value);
SELECT v.value, pg_temp.defined('custom', jsonb_build_object('default_weight', v.value)) AS default_weight,
       pg_temp.defined('custom', jsonb_build_object('channel_weights', jsonb_build_object('a', v.value))) AS channel_weight
FROM (VALUES ('1'::jsonb), ('0.000001'), ('1000000'), ('1000000.0'), ('1000000.000001'), ('1000001'), ('-1'), ('-0.000001'), ('0.0000001'), ('0.1234567'), ('1e19'),
             ('"1"'), ('null'), ('true'), ('[1]'), ('{"a": 1}')) AS v (value);
SELECT v.value, pg_temp.defined('position_based', jsonb_build_object('position_weights', jsonb_build_object('first', v.value, 'middle', 1, 'last', 1))) AS outcome
FROM (VALUES ('0'::jsonb), ('1'), ('1000000'), ('1000001'), ('-1'), ('0.5'), ('40.0'), ('1e7'), ('"40"'), ('null'), ('[40]'), ('{"a": 1}'), ('false')) AS v (value);
SELECT v.value, pg_temp.defined('position_based', jsonb_build_object('position_weights', v.value)) AS outcome
FROM (VALUES ('{"first": 0, "middle": 0, "last": 1}'::jsonb), ('{"first": 0, "middle": 0, "last": 0}'), ('{"first": 1, "middle": 1}'), ('{}'), ('[40, 20, 40]'), ('40'), ('null'),
             ('{"first": 1, "middle": 1, "last": 1, "other": 1}'), ('{"First": 1, "middle": 1, "last": 1}'), ('{"first": 1, "middle": 1, "": 1}')) AS v (value);
-- As many digits as numeric has, before and after the point: out of range, whatever the scale.
SELECT v.value, left(pg_temp.defined('linear', ('{"lookback_days": ' || v.value || '}')::jsonb), 5) AS lookback_days,
       left(pg_temp.defined('time_decay', ('{"half_life_days": ' || v.value || '}')::jsonb), 5) AS half_life_days,
       left(pg_temp.defined('custom', ('{"default_weight": ' || v.value || '}')::jsonb), 5) AS default_weight,
       left(pg_temp.defined('custom', ('{"channel_weights": {"a": ' || v.value || '}}')::jsonb), 5) AS channel_weight,
       left(pg_temp.defined('position_based', ('{"position_weights": {"first": ' || v.value || ', "middle": 1, "last": 1}}')::jsonb), 5) AS position_weight
FROM (VALUES ('1e400'), ('-1e400'), ('1e-400'), ('1e131071'), ('-1e131071'), ('1e-16383'), ('9999999999999999999999999999999999')) AS v (value);
-- Values: lists of channels.
SELECT v.value, pg_temp.defined('last_non_direct', jsonb_build_object('direct_channels', v.value)) AS direct_channels,
       left(pg_temp.defined('linear', jsonb_build_object('exclude_channels', v.value)), 5) AS exclude_channels
FROM (VALUES ('[]'::jsonb), ('["a"]'), ('["メール", "a", "a"]'), ('[""]'), ('[1]'), ('[null]'), ('[["a"]]'), ('[{"a": 1}]'), ('["a", ["b"]]'), ('"a"'), ('1'), ('null'), ('{"a": 1}'), ('{}')) AS v (value);
SELECT v.value, pg_temp.defined('custom', jsonb_build_object('channel_weights', v.value)) AS channel_weights
FROM (VALUES ('{"a": 0}'::jsonb), ('{"a": 1, "メール": 0.5}'), ('{"": 1}'), ('{}'), ('["a"]'), ('[]'), ('"a"'), ('1'), ('null'), ('{"a": {"b": 1}}'), ('{"a": [1]}')) AS v (value);
SELECT n, left(pg_temp.defined('linear', jsonb_build_object('exclude_channels', (SELECT jsonb_agg('c' || i) FROM generate_series(1, n) AS i))), 90) AS excluded,
       left(pg_temp.defined('custom', jsonb_build_object('channel_weights', (SELECT jsonb_object_agg('c' || i, 1) FROM generate_series(1, n) AS i))), 5) AS weights
FROM unnest('{1000,1001}'::int[]) AS n;
SELECT pg_temp.defined('linear', jsonb_build_object('exclude_channels', ARRAY[repeat('é', 127) || 'x'])) AS bytes_255,
       pg_temp.defined('linear', jsonb_build_object('exclude_channels', ARRAY[repeat('é', 128)])) AS bytes_256,
       left(pg_temp.defined('custom', jsonb_build_object('channel_weights', jsonb_build_object(repeat('é', 128), 1))), 5) AS key_of_256;
-- Custom needs weights, or no parameters at all.
SELECT v.value, pg_temp.defined('custom', v.value) AS outcome
FROM (VALUES ('{"default_weight": 0}'::jsonb), ('{"channel_weights": {}}'), ('{"lookback_days": 7}'), ('{"exclude_channels": []}'), ('{"channel_weights": {}, "default_weight": 1}'),
             ('{"default_weight": 0, "channel_weights": {"a": 0}}')) AS v (value);
-- The parameters themselves.
SELECT v.value, pg_temp.defined('linear', v.value) AS outcome
FROM (VALUES ('[]'::jsonb), ('[{}]'), ('"lookback_days"'), ('1'), ('null'), ('true'), ('{"lookback_days": 1, "exclude_channels": ["a"]}'), ('{"lookback_days": 1, "x": 1}')) AS v (value);
-- Messages with their hints.
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'last touch', '{}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'time_decay', '{"half_life": 7}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'position_based', '{"half_life_days": 7}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'last_non_direct', '{"direct": []}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'custom', '{"weights": {}}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'linear', '{"half_life_days": 7}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'linear', '{"lookback_days": 0}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'linear', '{"exclude_channels": "a"}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'custom', '{"channel_weights": []}')$$);
-- Names, tenants, NULL.
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', repeat('é', 128), 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000f', '1', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model(NULL, '1', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', NULL, 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', '1', 'linear', NULL)$$);
BEGIN READ ONLY;
SELECT attribution.define_model(:tenant, '1', 'linear');
ROLLBACK;
SELECT count(*) AS models_of_bad_calls FROM attribution.attribution_models WHERE tenant_id = :tenant;
-- Once: the same again changes nothing, in any spelling; another definition is refused, and so is every change.
SELECT attribution.define_model(:tenant, 'once', 'time_decay', '{"half_life_days": 7, "lookback_days": 30}');
CREATE TEMP TABLE defined_once AS SELECT * FROM attribution.attribution_models WHERE tenant_id = :tenant;
SELECT attribution.define_model(:tenant, 'once', 'time_decay', '{"lookback_days": 30.0, "half_life_days": 7.00}');
SELECT attribution.define_model(:tenant, method => 'time_decay', model_version => 'once', parameters => '{"half_life_days": 1, "half_life_days": 7, "lookback_days": 30}');
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'once', 'time_decay', '{"half_life_days": 8, "lookback_days": 30}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'once', 'time_decay')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'once', 'linear', '{"lookback_days": 30}')$$);
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'once', 'linear', '{"lookback_days": 0}')$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_models SET method = 'linear', parameters = '{}' WHERE tenant_id = '30de1000-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_models SET created_at = '2020-01-01' WHERE tenant_id = '30de1000-0000-4000-8000-00000000000a'$$);
-- Names differ by case; versions belong to tenants.
SELECT attribution.define_model(:tenant, 'Once', 'linear');
SELECT attribution.define_model(:other, 'once', 'first_touch');
SELECT attribution.define_model(:tenant, repeat('é', 127) || 'x', 'linear');
SELECT * FROM defined_once EXCEPT ALL SELECT * FROM attribution.attribution_models;
SELECT left(model_version, 5) AS model_version, method, parameters, tenant_id = :tenant AS own
FROM attribution.attribution_models WHERE tenant_id IN (:tenant, :other) ORDER BY tenant_id, model_version COLLATE "C";
-- A version that a caller's weights made is custom without parameters.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:tenant, '30de1000-0000-4000-8000-0000000000c0', 'conversion', '2024-05-01 12:00Z', 100);
SELECT count(*) FROM attribution.allocate_event(:tenant, '30de1000-0000-4000-8000-0000000000c0', 'by caller', '{a}', '{1}');
SELECT attribution.define_model(:tenant, 'by caller', 'custom');
CALL pg_temp.attempt($$SELECT attribution.define_model('30de1000-0000-4000-8000-00000000000a', 'by caller', 'custom', '{"default_weight": 1}')$$);

--
-- What each method gives to whom
--
SELECT attribution.define_model(:tenant, v.version, v.method, v.parameters::jsonb)
FROM (VALUES ('first', 'first_touch', '{}'), ('last', 'last_touch', '{}'), ('non direct', 'last_non_direct', '{}'),
             ('non owned', 'last_non_direct', '{"direct_channels": ["direct", "email"]}'), ('none direct', 'last_non_direct', '{"direct_channels": []}'),
             ('linear', 'linear', '{}'), ('week', 'linear', '{"lookback_days": 7}'), ('second', 'linear', '{"lookback_days": 0.000012}'),
             ('no email', 'linear', '{"exclude_channels": ["email", "unknown"]}'), ('no email last', 'last_touch', '{"exclude_channels": ["email"]}'),
             ('position', 'position_based', '{}'), ('ends', 'position_based', '{"position_weights": {"first": 50, "middle": 0, "last": 50}}'),
             ('middle', 'position_based', '{"position_weights": {"first": 0, "middle": 100, "last": 0}}'),
             ('uneven', 'position_based', '{"position_weights": {"first": 1, "middle": 2, "last": 5}}'),
             ('decay', 'time_decay', '{}'), ('decay of a day', 'time_decay', '{"half_life_days": 1}'),
             ('weights', 'custom', '{"channel_weights": {"email": 3, "tv": 0.5, "メール": 0.000001}}'),
             ('weights too', 'custom', '{"channel_weights": {"email": 3, "tv": 0}, "default_weight": 1.5}')) AS v (version, method, parameters)
ORDER BY v.version \g /dev/null
-- A conversion on 2024-05-31 12:00, and its journey: channel and how long before. Ids are numbered in the order given.
CREATE FUNCTION pg_temp.journey(n integer, touches text[], cents bigint DEFAULT 10000) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, revenue_cents)
    SELECT '30de1000-0000-4000-8000-00000000000a'::uuid, format('30de1000-0000-4000-%s-%s', 8000 + n, lpad(i::text, 12, '0'))::uuid, 'touch',
           '2024-05-31 12:00Z'::timestamptz - split_part(touch, '@', 2)::interval, format('30de1000-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid, split_part(touch, '@', 1), 0::bigint
    FROM unnest(touches) WITH ORDINALITY AS t (touch, i)
    UNION ALL
    SELECT '30de1000-0000-4000-8000-00000000000a', format('30de1000-0000-4000-a000-%s', lpad(n::text, 12, '0'))::uuid, 'conversion',
           '2024-05-31 12:00Z', format('30de1000-0000-4000-9000-%s', lpad(n::text, 12, '0'))::uuid, NULL, cents;
END;
CREATE FUNCTION pg_temp.credit(n integer, model_version text) RETURNS TABLE (channel text, weight numeric, ratio numeric, cents bigint) LANGUAGE sql
BEGIN ATOMIC
    SELECT a.channel, a.weight, a.allocation_ratio, a.allocated_revenue_cents
    FROM attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', format('30de1000-0000-4000-a000-%s', lpad(n::text, 12, '0'))::uuid, model_version) AS a;
END;
-- The same on one line.
CREATE FUNCTION pg_temp.credits(n integer, model_version text) RETURNS text LANGUAGE sql
    RETURN (SELECT string_agg(format('%s %s: %s', c.channel, c.weight, c.cents), ', ' ORDER BY c.channel COLLATE "C") FROM pg_temp.credit(n, model_version) AS c);

-- Touches at the conversion count, a microsecond later not. Rows come in the order of the channels' bytes.
SELECT pg_temp.journey(1, '{email@3 days,メール@2 days,Zeta@1 day,ärger@0,tv@-1 microsecond,tv@-1 day}');
SELECT * FROM pg_temp.credit(1, 'linear');
SELECT v AS model_version, pg_temp.credits(1, v) FROM unnest('{first,last,position}'::text[]) AS v;
-- The lookback: exactly at its bound counts, a microsecond before not. 30 days unless said otherwise.
SELECT pg_temp.journey(2, '{tv@30 days 1 microsecond,email@30 days,search@7 days 1 microsecond,direct@7 days,radio@1 day}');
SELECT v AS model_version, pg_temp.credits(2, v) FROM unnest('{linear,week,first}'::text[]) AS v;
-- Days have 24 hours, also where the clocks changed in between.
SET timezone = 'Europe/Berlin';
SELECT pg_temp.journey(102, '{tv@1680 hours 1 microsecond,email@1680 hours,radio@1679 hours}');
SELECT attribution.define_model(:tenant, '70 days', 'linear', '{"lookback_days": 70}');
SELECT pg_temp.credits(102, '70 days');
SET timezone = 'UTC';
SELECT pg_temp.journey(3, '{tv@00:00:01.036801,email@00:00:01.0368,radio@0}');
SELECT pg_temp.credits(3, 'second');
-- Excluded channels are as if they were not there.
SELECT v AS model_version, pg_temp.credits(2, v) FROM unnest('{no email,no email last}'::text[]) AS v;
SELECT pg_temp.journey(4, '{tv@3 days,radio@2 days,email@1 day}');
SELECT v AS model_version, pg_temp.credits(4, v) FROM unnest('{no email,no email last,last}'::text[]) AS v;
SELECT pg_temp.journey(5, '{email@3 days,email@2 days}');
SELECT v AS model_version, pg_temp.credits(5, v) FROM unnest('{no email,no email last,last}'::text[]) AS v;
-- Direct channels: "direct" unless said otherwise; if all are direct, the last one.
SELECT pg_temp.journey(6, '{tv@4 days,email@3 days,Direct@2 days,direct@1 day}');
SELECT pg_temp.journey(7, '{tv@4 days,email@3 days,direct@1 day}');
SELECT pg_temp.journey(8, '{direct@4 days,email@3 days}');
SELECT v AS model_version, pg_temp.credits(6, v), pg_temp.credits(7, v), pg_temp.credits(8, v) FROM unnest('{non direct,non owned,none direct}'::text[]) AS v;
-- Several touches of a channel are one row.
SELECT pg_temp.journey(9, '{email@5 days,tv@4 days,email@3 days,email@2 days,radio@1 day,email@1 hour}');
SELECT v AS model_version, pg_temp.credits(9, v) FROM unnest('{linear,position,ends,middle,uneven}'::text[]) AS v;
-- Positions of 1, 2, 3 and 4 touches.
SELECT pg_temp.journey(11, '{a@4 days}'), pg_temp.journey(12, '{a@4 days,b@3 days}'), pg_temp.journey(13, '{a@4 days,b@3 days,c@2 days}'),
       pg_temp.journey(14, '{a@4 days,b@3 days,c@2 days,d@1 day}') \g /dev/null
SELECT v AS model_version, pg_temp.credits(11, v), pg_temp.credits(12, v), pg_temp.credits(13, v), pg_temp.credits(14, v) FROM unnest('{position,ends,middle,uneven}'::text[]) AS v;
-- Touches of the same moment are in the order of their ids: number 1 is the first of them.
SELECT pg_temp.journey(15, '{z@1 day,y@1 day,x@1 day,w@1 day}');
SELECT v AS model_version, pg_temp.credits(15, v) FROM unnest('{first,last,position}'::text[]) AS v;
-- Time decay: half for each half-life, relative to the newest touch.
SELECT pg_temp.journey(16, '{a@21 days,b@14 days,c@7 days,d@0}'), pg_temp.journey(17, '{a@5 days,b@4 days,c@3 days}'), pg_temp.journey(18, '{a@30 days,b@1 day}'),
       pg_temp.journey(19, '{a@36 hours,b@24 hours,b@12 hours}') \g /dev/null
SELECT * FROM pg_temp.credit(16, 'decay');
SELECT * FROM pg_temp.credit(17, 'decay of a day');
SELECT * FROM pg_temp.credit(18, 'decay of a day');
SELECT * FROM pg_temp.credit(19, 'decay of a day');
-- Custom weights count once per touch; channels without weight get no row, unless nobody has one.
SELECT pg_temp.journey(20, '{email@5 days,tv@4 days,radio@3 days,tv@2 days}'), pg_temp.journey(21, '{メール@2 days,email@1 day}'), pg_temp.journey(22, '{radio@2 days,radio@1 day}'),
       pg_temp.journey(23, '{tv@2 days,tv@1 day}') \g /dev/null
SELECT n, v AS model_version, pg_temp.credits(n, v) FROM generate_series(20, 23) AS n, unnest('{weights,weights too}'::text[]) AS v ORDER BY n, v;
-- No touch at all: unattributed, which weighs 1 in every method.
SELECT pg_temp.journey(24, '{}');
SELECT pg_temp.journey(25, '{tv@31 days,tv@-1 day}');
SELECT method, bool_and((c.channel, c.weight, c.ratio, c.cents) = ('unattributed', 1, 1, 10000)) AS unattributed, count(*) AS rows
FROM attribution.attribution_models AS m, unnest('{24,25}'::int[]) AS n, pg_temp.credit(n, m.model_version) AS c
WHERE m.tenant_id = :tenant AND m.model_version NOT IN ('by caller', '70 days') GROUP BY method ORDER BY method;
-- No session; a channel of the conversion's own is no touch; another tenant's touches in the same session are not ours; neither are refunds and other conversions.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, refund_of, revenue_cents) VALUES
    (:tenant, '30de1000-0000-4000-a000-000000000026', 'conversion', '2024-05-31 12:00Z', NULL, 'email', NULL, 10000),
    (:tenant, '30de1000-0000-4000-8026-000000000001', 'touch', '2024-05-31 11:00Z', NULL, 'tv', NULL, 0),
    (:tenant, '30de1000-0000-4000-a000-000000000027', 'conversion', '2024-05-31 12:00Z', '30de1000-0000-4000-9000-000000000027', 'own', NULL, 10000),
    (:tenant, '30de1000-0000-4000-a000-000000000127', 'conversion', '2024-05-31 11:00Z', '30de1000-0000-4000-9000-000000000027', 'earlier', NULL, 500),
    (:tenant, '30de1000-0000-4000-8027-000000000001', 'refund', '2024-05-31 11:30Z', '30de1000-0000-4000-9000-000000000027', 'refund', '30de1000-0000-4000-a000-000000000127', -100),
    (:tenant, '30de1000-0000-4000-8027-000000000002', 'touch', '2024-05-31 10:00Z', '30de1000-0000-4000-9000-000000000027', 'tv', NULL, 0),
    (:other, '30de1000-0000-4000-8027-000000000003', 'touch', '2024-05-31 10:00Z', '30de1000-0000-4000-9000-000000000027', 'theirs', NULL, 0),
    (:other, '30de1000-0000-4000-8027-000000000004', 'conversion', '2024-05-31 12:00Z', '30de1000-0000-4000-9000-000000000027', NULL, NULL, 700);
SELECT n, pg_temp.credits(n, 'linear') FROM unnest('{26,27,127}'::int[]) AS n;
SELECT attribution.define_model(:other, 'linear', 'linear');
SELECT channel, allocated_revenue_cents FROM attribution.allocate_event(:other, '30de1000-0000-4000-8027-000000000004', 'linear');

-- What is stored is returned, never recomputed: a touch that arrives late does not restate history.
SELECT pg_temp.journey(30, '{tv@2 days}');
SELECT pg_temp.credits(30, 'linear');
CREATE TEMP TABLE stored AS SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :tenant;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel) VALUES
    (:tenant, '30de1000-0000-4000-8030-000000000009', 'touch', '2024-05-30 00:00Z', '30de1000-0000-4000-9000-000000000030', 'late');
SELECT pg_temp.credits(30, 'linear') AS linear, pg_temp.credits(30, 'last') AS last;
SELECT * FROM stored EXCEPT ALL SELECT * FROM attribution.attribution_allocations;

-- Refused.
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-a000-000000000001', 'unknown')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-a000-000000000001', 'by caller')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-8001-000000000001', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-8027-000000000004', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000f', '30de1000-0000-4000-a000-000000000001', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-a000-000000000001', '')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event(NULL, '30de1000-0000-4000-a000-000000000001', 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', NULL, 'linear')$$);
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-a000-000000000001', NULL)$$);
BEGIN READ ONLY;
SELECT attribution.allocate_event(:tenant, '30de1000-0000-4000-a000-000000000001', 'linear');
ROLLBACK;
-- Too many channels for one event.
SELECT pg_temp.journey(31, (SELECT array_agg(format('c%s@1 day', i)) FROM generate_series(1, 10001) AS i));
CALL pg_temp.attempt($$SELECT attribution.allocate_event('30de1000-0000-4000-8000-00000000000a', '30de1000-0000-4000-a000-000000000031', 'linear')$$);
SELECT pg_temp.credits(31, 'last');
SELECT attribution.define_model(:tenant, 'one less', 'linear', '{"exclude_channels": ["c77"]}');
SELECT count(*), min(cents), max(cents), sum(cents), sum(ratio) FROM pg_temp.credit(31, 'one less');

--
-- Some hundred journeys against another computation: weights by window functions, cents by the rule in numeric
--
\set generated '''30de1000-0000-4000-8000-00000000000c'''
INSERT INTO attribution.tenants (id, name) VALUES (:generated, 'model, generated');
INSERT INTO attribution.attribution_models (tenant_id, model_version, method, parameters)
SELECT :generated, m.model_version, m.method, m.parameters FROM attribution.attribution_models AS m
WHERE m.tenant_id = :tenant AND m.model_version NOT IN ('by caller', 'Once', 'one less', 'second') AND octet_length(m.model_version) < 255;
CREATE FUNCTION pg_temp.drawn(n integer, k integer, what text, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN ('x' || left(md5(format('%s/%s/%s', n, k, what)), 15))::bit(60)::bigint % below;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, revenue_cents)
SELECT :generated, md5('conversion ' || n)::uuid, 'conversion', '2024-06-01Z'::timestamptz + n * interval '7 hours', md5('session ' || n)::uuid,
       1 + pg_temp.drawn(n, 0, 'cents', (ARRAY[3, 100, 100000, 9000000000000])[1 + n % 4])
FROM generate_series(1, 240) AS n;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel)
SELECT :generated, md5(format('touch %s/%s', n, k))::uuid, 'touch',
       '2024-06-01Z'::timestamptz + n * interval '7 hours'
       - CASE pg_temp.drawn(n, k, 'kind', 8) WHEN 0 THEN interval '0' WHEN 1 THEN interval '30 days' WHEN 2 THEN interval '7 days' WHEN 3 THEN interval '-1 microsecond'
              ELSE pg_temp.drawn(n, k, 'age', 35::bigint * 86400 * 1000000) * interval '1 microsecond' END,
       md5('session ' || n)::uuid, (ARRAY['email', 'direct', 'tv', 'メール', 'Zeta', 'ärger', 'paid search'])[1 + pg_temp.drawn(n, k, 'channel', 7)]
FROM generate_series(1, 240) AS n, generate_series(1, 40) AS k
WHERE k <= CASE WHEN n % 10 = 0 THEN 40 ELSE pg_temp.drawn(n, 0, 'touches', 9) END;
CREATE TEMP TABLE allocated AS
SELECT e.id AS event_id, m.model_version, m.method, a.channel, a.weight, a.allocation_ratio AS ratio, a.allocated_revenue_cents AS cents, e.revenue_cents AS total, a.ordinality AS place
FROM attribution.attribution_events AS e
JOIN attribution.attribution_models AS m ON m.tenant_id = e.tenant_id,
LATERAL attribution.allocate_event(e.tenant_id, e.id, m.model_version) WITH ORDINALITY AS a
WHERE e.tenant_id = :generated AND e.event_type = 'conversion';
-- The weights. Time decay is left to the next query.
CREATE TEMP TABLE counting AS
SELECT c.id AS event_id, m.model_version, m.method, m.parameters AS p, t.channel, c.occurred_at - t.occurred_at AS age,
       row_number() OVER w AS i, count(*) OVER (PARTITION BY c.id, m.model_version) AS n,
       coalesce(m.parameters -> 'direct_channels', '["direct"]') ? t.channel AS is_direct
FROM attribution.attribution_models AS m
JOIN attribution.attribution_events AS c ON c.tenant_id = m.tenant_id AND c.event_type = 'conversion'
JOIN attribution.attribution_events AS t ON t.tenant_id = c.tenant_id AND t.event_type = 'touch' AND t.session_id = c.session_id
WHERE m.tenant_id = :generated AND t.occurred_at <= c.occurred_at
  AND extract(epoch FROM c.occurred_at - t.occurred_at) <= coalesce((m.parameters ->> 'lookback_days')::numeric, 30) * 86400
  AND NOT coalesce(m.parameters -> 'exclude_channels' ? t.channel, false)
WINDOW w AS (PARTITION BY c.id, m.model_version ORDER BY t.occurred_at, t.id);
CREATE TEMP TABLE weighed AS
SELECT event_id, model_version, channel, sum(weight) AS weight
FROM (
    SELECT c.event_id, c.model_version, c.channel,
           CASE c.method
               WHEN 'first_touch' THEN (i = 1)::int
               WHEN 'last_touch' THEN (i = n)::int
               WHEN 'last_non_direct' THEN (i = coalesce(max(i) FILTER (WHERE NOT is_direct) OVER (PARTITION BY event_id, model_version), n))::int
               WHEN 'linear' THEN 1
               WHEN 'position_based' THEN CASE
                   WHEN n = 1 OR (n = 2 AND f + l = 0) THEN 1
                   WHEN i = 1 THEN f * greatest(n - 2, 1)
                   WHEN i = n THEN l * greatest(n - 2, 1)
                   ELSE m END
               WHEN 'custom' THEN coalesce((p -> 'channel_weights' ->> channel)::numeric, (p ->> 'default_weight')::numeric, 0)
           END AS weight
    FROM counting AS c, coalesce((p -> 'position_weights' ->> 'first')::int, 40) AS f, coalesce((p -> 'position_weights' ->> 'middle')::int, 20) AS m,
         coalesce((p -> 'position_weights' ->> 'last')::int, 40) AS l
    WHERE method <> 'time_decay') AS t
GROUP BY event_id, model_version, channel
HAVING sum(weight) > 0;
INSERT INTO weighed
SELECT DISTINCT event_id, model_version, 'unattributed', 1 FROM allocated AS a
WHERE method <> 'time_decay' AND NOT EXISTS (SELECT FROM weighed AS w WHERE (w.event_id, w.model_version) = (a.event_id, a.model_version));
SELECT count(*) > 4000 AS many, count(DISTINCT method) AS methods, count(DISTINCT model_version) AS versions, count(DISTINCT event_id) AS events,
       count(*) FILTER (WHERE channel = 'unattributed') > 100 AS some_unattributed FROM allocated;
(SELECT event_id, model_version, channel, weight FROM allocated WHERE method <> 'time_decay' EXCEPT ALL SELECT event_id, model_version, channel, weight FROM weighed)
UNION ALL
(SELECT event_id, model_version, channel, weight FROM weighed EXCEPT ALL SELECT event_id, model_version, channel, weight FROM allocated WHERE method <> 'time_decay')
ORDER BY 1, 2, 3;
-- Decay: as near to the power of two as twelve decimals are, touch by touch; a channel whose touches are too old to weigh anything has no row.
WITH exact AS (
    SELECT event_id, model_version, channel, count(*) AS touches,
           sum(power(2::numeric, -((extract(epoch FROM age) - extract(epoch FROM newest)) / (coalesce((p ->> 'half_life_days')::numeric, 7) * 86400))::numeric(60, 40))) AS weight
    FROM (SELECT *, min(age) OVER (PARTITION BY event_id, model_version) AS newest FROM counting WHERE method = 'time_decay') AS c
    GROUP BY event_id, model_version, channel)
SELECT a.event_id, a.model_version, channel, a.weight, x.weight AS exact
FROM (SELECT * FROM allocated WHERE method = 'time_decay' AND channel <> 'unattributed') AS a
FULL JOIN exact AS x USING (event_id, model_version, channel)
WHERE abs(coalesce(a.weight, 0) - coalesce(x.weight, 0)) > 1.01e-12 * coalesce(x.touches, 0) OR a.weight <= 0
ORDER BY 1, 2, 3;
-- The cents: floors, then a cent each to the largest remainders, equal ones by the tie key. So are the ratios.
WITH floors AS (
    SELECT *, total * weight - div(total * weight, whole) * whole AS rest, div(total * weight, whole) AS floor_cents,
           100000 * weight - div(100000 * weight, whole) * whole AS ratio_rest, div(100000 * weight, whole) AS floor_ratio,
           attribution.allocation_tie_key('30de1000-0000-4000-8000-00000000000c', event_id, model_version, channel) AS tie_key
    FROM (SELECT *, sum(weight) OVER (PARTITION BY event_id, model_version) AS whole FROM allocated) AS a),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY event_id, model_version ORDER BY rest DESC, tie_key) AS rank,
           row_number() OVER (PARTITION BY event_id, model_version ORDER BY ratio_rest DESC, tie_key) AS ratio_rank,
           total - sum(floor_cents) OVER (PARTITION BY event_id, model_version) AS left_over,
           100000 - sum(floor_ratio) OVER (PARTITION BY event_id, model_version) AS ratio_left_over
    FROM floors)
SELECT event_id, model_version, channel, weight, cents, ratio FROM ranked
WHERE cents <> floor_cents + (rank <= left_over)::int OR ratio * 100000 <> floor_ratio + (ratio_rank <= ratio_left_over)::int
ORDER BY 1, 2, 3;
SELECT event_id, model_version, sum(cents), min(total), sum(ratio) FROM allocated
GROUP BY event_id, model_version HAVING sum(cents) <> min(total) OR sum(ratio) <> 1 OR min(cents) < 0;
-- Rows came in the order of the channels' bytes.
SELECT event_id, model_version FROM allocated GROUP BY event_id, model_version
HAVING array_agg(channel ORDER BY place) <> array_agg(channel ORDER BY channel COLLATE "C");
-- Scaling every weight of a custom model changes no more than who wins a tie: another version, another tie key.
SELECT attribution.define_model(:generated, v.version, 'custom', v.parameters::jsonb)
FROM (VALUES ('one', '{"channel_weights": {"email": 1, "tv": 3}, "default_weight": 7}'), ('many', '{"channel_weights": {"email": 0.000011, "tv": 0.000033}, "default_weight": 0.000077}')) AS v (version, parameters)
\g /dev/null
SELECT count(*) AS events, count(*) FILTER (WHERE abs(a.cents - b.cents) > 1) AS different
FROM attribution.attribution_events AS e,
LATERAL (SELECT x.channel, x.allocated_revenue_cents AS cents FROM attribution.allocate_event(e.tenant_id, e.id, 'one') AS x) AS a
JOIN LATERAL (SELECT x.channel, x.allocated_revenue_cents AS cents FROM attribution.allocate_event(e.tenant_id, e.id, 'many') AS x) AS b USING (channel)
WHERE e.tenant_id = :generated AND e.event_type = 'conversion';
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id IN (:tenant, :other, :generated);
