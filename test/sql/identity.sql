-- identity: ids and tie keys that are computed are frozen: past cents and stored ids depend on them.
-- The numbers come from an independent implementation of SipHash-2-4-128 (checked against the
-- reference vectors of its authors) and of the layouts in src/core/identity.hpp. They never change.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';

-- Allocations: (tenant, event, model version, channel) and the time of the event.
CREATE TEMP TABLE frozen_allocations (tenant_id uuid, event_id uuid, model_version text, channel text,
                                      occurred_at timestamptz, tie_key numeric, id uuid);
INSERT INTO frozen_allocations
SELECT '1d000000-0000-4000-8000-000000000001', '1d000000-0000-4000-8000-0000000000e1', v.*
FROM (VALUES
    ('1.0.0', 'email',        '2024-03-01 12:00+00'::timestamptz,  2111122492807960694, '018df9e2-b200-8876-b76a-a94d1e455b93'::uuid),
    ('1.0.0', 'organic',      '2024-03-01 12:00+00',              13035800544587308014, '018df9e2-b200-8bee-b92a-460e0b8c917a'),
    ('1.0.0', 'paid search',  '2024-03-01 12:00+00',               2771280317148992102, '018df9e2-b200-8266-8106-619b4f7a2df1'),
    -- The length of the model version is hashed: the same letters in a row are another key.
    ('1.0',   '.0email',      '2024-03-01 12:00+00',               8609444468123701378, '018df9e2-b200-8082-85b3-73d3a2b6b729'),
    ('2.0.0', 'email',        '2024-03-01 12:00+00',              10425943258494286091, '018df9e2-b200-890b-90b7-29cb839f5fd8'),
    (repeat('m', 255), repeat('c', 255), '1970-01-01 00:00:00.001+00', 10507627222188809433, '00000000-0001-8cd9-afba-534df6c83add'),
    -- The time: the last millisecond of the year 9999, before 1970 and past 48 bits.
    ('1',     'x',            '9999-12-31 23:59:59.999+00',        3498091897456350086, 'e677d21f-dbff-8386-b6fc-bb2ae3359ee6'),
    ('1',     'x',            '1969-12-31 23:59:59.999+00',        3498091897456350086, '00000000-0000-8386-b6fc-bb2ae3359ee6'),
    ('1',     'x',            '294276-12-31 23:59:59.999+00',      3498091897456350086, 'ffffffff-ffff-8386-b6fc-bb2ae3359ee6')
) AS v;
INSERT INTO frozen_allocations VALUES
    ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', '', '',
     '1970-01-01 00:00+00', 4847928313378957040, '00000000-0000-86f0-9ae0-e68ef47ba65c'),
    -- Bytes decide: UTF-8 here, and microseconds below the millisecond do not count.
    ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'versión', 'メール',
     '2024-03-01 12:00:00.123999+00', 10110457555519923676, '018df9e2-b27b-85dc-b961-e356fbfe99b0');

SELECT count(*) AS frozen,
       count(*) FILTER (WHERE attribution.allocation_tie_key(tenant_id, event_id, model_version, channel) = tie_key) AS same_tie_key,
       count(*) FILTER (WHERE attribution.allocation_id(tenant_id, event_id, model_version, channel, occurred_at) = id) AS same_id
FROM frozen_allocations;
SELECT left(model_version, 8) AS model_version, left(channel, 12) AS channel, occurred_at, tie_key, id,
       attribution.allocation_tie_key(tenant_id, event_id, model_version, channel) AS tie_key_now,
       attribution.allocation_id(tenant_id, event_id, model_version, channel, occurred_at) AS id_now
FROM frozen_allocations
WHERE attribution.allocation_tie_key(tenant_id, event_id, model_version, channel) IS DISTINCT FROM tie_key
   OR attribution.allocation_id(tenant_id, event_id, model_version, channel, occurred_at) IS DISTINCT FROM id
ORDER BY id;

-- An infinite time is taken as the nearest one that fits.
SELECT attribution.allocation_id('1d000000-0000-4000-8000-000000000001', '1d000000-0000-4000-8000-0000000000e1',
                                 '1', 'x', occurred_at) AS id
FROM unnest('{-infinity, infinity}'::timestamptz[]) AS t (occurred_at) ORDER BY occurred_at;

-- Version 8 and the variant of RFC 9562 whatever the input; other input, other id.
WITH ids AS (
    SELECT attribution.allocation_id('1d000000-0000-4000-8000-000000000001', '1d000000-0000-4000-8000-0000000000e1',
                                     '1.0.0', 'channel ' || i, '2024-03-01 12:00+00') AS id
    FROM generate_series(1, 2000) AS i)
SELECT count(*) AS ids, count(DISTINCT id) AS distinct_ids,
       count(*) FILTER (WHERE id::text ~ '^018df9e2-b200-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS well_formed
FROM ids;

-- A later event has a larger id: allocations are inserted at the right end of the index.
WITH ids AS (
    SELECT t, attribution.allocation_id('1d000000-0000-4000-8000-000000000001', '1d000000-0000-4000-8000-0000000000e1',
                                        '1.0.0', 'channel ' || t % 7, '2024-03-01 12:00+00'::timestamptz + t * interval '1 ms') AS id
    FROM generate_series(0, 999) AS t)
SELECT count(*) AS pairs_out_of_order
FROM (SELECT id, lag(id) OVER (ORDER BY t) AS previous FROM ids) AS p WHERE id <= previous;

-- NULL in, NULL out.
SELECT attribution.allocation_tie_key(NULL, NULL, NULL, NULL) IS NULL AS tie_key_is_null,
       attribution.allocation_id('1d000000-0000-4000-8000-000000000001', NULL, '1', 'x', now()) IS NULL AS id_is_null;

-- Keyed events: the external id is the key, else the correlation id; both kinds are kept apart.
CREATE TEMP TABLE frozen_events (tenant_id uuid, external_event_id text, correlation_id text, id uuid);
INSERT INTO frozen_events VALUES
    ('1d000000-0000-4000-8000-000000000001', 'shopify:order:820982911946154508', NULL, 'e603387a-d86b-8182-aa66-ab47a2c05b82'),
    ('1d000000-0000-4000-8000-000000000001', 'shopify:order:820982911946154508', 'any correlation', 'e603387a-d86b-8182-aa66-ab47a2c05b82'),
    ('1d000000-0000-4000-8000-000000000001', 'paypal:capture:42311647XV020574X', NULL, '1e7c6e5d-3cba-8bff-bfa2-7f9983eb11aa'),
    ('1d000000-0000-4000-8000-000000000001', NULL, 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq', '0df819f0-58cc-8d15-a3c7-0aa9c9d30b40'),
    ('1d000000-0000-4000-8000-000000000001', 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq', NULL, '9dca18f7-7f63-8c98-9a01-017324aeb289'),
    ('00000000-0000-0000-0000-000000000000', 'x', NULL, '1448543a-52fb-83bc-a66c-1bf234c16a4c'),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff', NULL, repeat('k', 255), '198dd801-4929-8688-a13a-4e55f6e719e2'),
    ('1d000000-0000-4000-8000-000000000001', NULL, NULL, NULL),
    (NULL, 'x', 'y', NULL);
SELECT count(*) AS frozen,
       count(*) FILTER (WHERE attribution.keyed_event_id(tenant_id, external_event_id, correlation_id) IS NOT DISTINCT FROM id) AS same_id
FROM frozen_events;
SELECT left(external_event_id, 40) AS external_event_id, left(correlation_id, 40) AS correlation_id, id,
       attribution.keyed_event_id(tenant_id, external_event_id, correlation_id) AS id_now
FROM frozen_events
WHERE attribution.keyed_event_id(tenant_id, external_event_id, correlation_id) IS DISTINCT FROM id
ORDER BY id;
WITH ids AS (
    SELECT attribution.keyed_event_id('1d000000-0000-4000-8000-000000000001', 'shopify:order:' || i, NULL) AS id
    FROM generate_series(1, 2000) AS i
    UNION ALL
    SELECT attribution.keyed_event_id('1d000000-0000-4000-8000-000000000001', NULL, 'shopify:order:' || i)
    FROM generate_series(1, 2000) AS i)
SELECT count(*) AS ids, count(DISTINCT id) AS distinct_ids,
       count(*) FILTER (WHERE id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS well_formed
FROM ids;

-- New ids: version 7, never the same twice, and in the order of their microseconds.
WITH ids AS MATERIALIZED (SELECT attribution.uuid_v7() AS id FROM generate_series(1, 5000))
SELECT count(*) AS ids, count(DISTINCT id) AS distinct_ids,
       count(*) FILTER (WHERE id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS well_formed
FROM ids;
-- The time in an id is the clock's: between two readings of it, to the quarter of a microsecond that
-- twelve bits of a millisecond can tell.
CREATE FUNCTION pg_temp.time_of(id uuid) RETURNS numeric LANGUAGE sql AS $$
    SELECT ('x' || left(hex, 12))::bit(48)::bigint + ('x' || substr(hex, 14, 3))::bit(12)::integer / 4096.0
    FROM replace(id::text, '-', '') AS hex
$$;
DO $$
DECLARE
    before timestamptz;
    id uuid;
    previous uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    FOR i IN 1 .. 200 LOOP
        before := clock_timestamp();
        -- ids of the same microsecond are in any order
        WHILE clock_timestamp() <= before LOOP NULL; END LOOP;
        id := attribution.uuid_v7();
        ASSERT id > previous, format('%s came after %s', id, previous);
        ASSERT pg_temp.time_of(id) BETWEEN extract(epoch FROM before) * 1000 - 0.001
            AND extract(epoch FROM clock_timestamp()) * 1000, format('%s is not of this moment', id);
        previous := id;
    END LOOP;
END $$;
