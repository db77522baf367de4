-- From a CSV of customer journeys to events. What a row becomes:
--
--   touches      one per channel of the path, in its order, in one session
--   conversion   one, worth total_conversion_value, at the end of the session; none where that is 0
--
-- A row counts alike journeys: total_conversions sales of together total_conversion_value. How the value
-- divides between those sales is not in the file, so the row stays one conversion; since all of them took
-- the same path, the channels' shares are those of the sum. total_null, journeys that ended without a
-- sale, is no money and is checked, not stored. The file has no times: rows get invented ones, twelve
-- minutes apart. Keys come from the row number, so the same file again changes nothing.

CREATE TABLE demo.journey_rows (
    row                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path                   text,
    total_conversions      text, -- text: what is wrong is said by row and column, below
    total_conversion_value text,
    total_null             text
);

-- Numbers are written plainly or, as R writes 100000, as 1e+05.
CREATE VIEW demo.journey_errors AS
SELECT r.row, e.message
FROM demo.journey_rows r
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN r.path !~ '\S' OR r.path IS NULL THEN 'path is empty'
        WHEN EXISTS (SELECT FROM string_to_table(r.path, '>') AS c WHERE c !~ '\S') THEN format('path has an empty channel: "%s"', left(r.path, 60))
        WHEN EXISTS (SELECT FROM string_to_table(r.path, '>') AS c WHERE octet_length(btrim(c)) > 255) THEN 'path has a channel of more than 255 bytes'
        WHEN cardinality(string_to_array(r.path, '>')) > 10000 THEN 'path has more than 10000 channels'
        END
    UNION ALL
    SELECT CASE
        WHEN c.value IS NULL THEN format('%s is empty', c.name)
        WHEN c.value !~ '^[0-9]{1,18}(\.[0-9]{0,30})?([eE][+]?[0-9]{1,2})?$' AND c.value !~ '^[0-9]{1,18}(\.[0-9]{0,30})?[eE]-[0-9]{1,2}$'
            THEN format('%s is not a number of at least 0: "%s"', c.name, left(c.value, 60))
        WHEN c.value::numeric >= 1e15 THEN format('%s is too large: "%s"', c.name, c.value)
        WHEN c.name <> 'total_conversion_value' AND c.value::numeric % 1 <> 0 THEN format('%s is not a whole number: "%s"', c.name, c.value)
        WHEN c.name = 'total_conversion_value' AND c.value::numeric > 0 AND btrim(r.total_conversions, '0.') = ''
            THEN format('total_conversion_value is %s, but total_conversions is 0', c.value)
        END
    FROM (VALUES ('total_conversions', r.total_conversions), ('total_conversion_value', r.total_conversion_value),
                 ('total_null', r.total_null)) AS c (name, value)) AS e (message)
WHERE e.message IS NOT NULL
ORDER BY r.row;

-- The value of a row in fils. Averages and float arithmetic left some files with values finer than the
-- currency: those are rounded here, once, half up, and counted. From then on nothing is rounded.
CREATE VIEW demo.journeys AS
SELECT r.row, r.path, r.total_conversion_value::numeric AS value, round(r.total_conversion_value::numeric * 1000)::bigint AS cents,
       '2025-01-01 00:00:00+00'::timestamptz + r.row % 10000 * interval '12 minutes' AS ends_at,
       md5('journeys:' || r.row)::uuid AS session_id, 'journeys:row:' || r.row AS key
FROM demo.journey_rows r;

-- Bulk: two statements straight into the table, with the ids that ingest_event() would give. Touches are
-- three hours apart.
CREATE PROCEDURE demo.take_journeys(first bigint, last bigint)
    LANGUAGE sql
AS $$
    INSERT INTO attribution.attribution_events
        (tenant_id, id, event_type, occurred_at, external_event_id, session_id, channel, source)
    SELECT t.tenant_id, attribution.keyed_event_id(t.tenant_id, x.key, NULL), 'touch', j.ends_at - (x.length - x.place + 1) * interval '3 hours',
           x.key, j.session_id, x.channel, 'journeys'
    FROM (SELECT demo.tenant('KWD') AS tenant_id) AS t
    CROSS JOIN demo.journeys j
    CROSS JOIN LATERAL (
        SELECT btrim(channel) AS channel, place, count(*) OVER () AS length, 'journeys:touch:' || j.row || ':' || place AS key
        FROM string_to_table(j.path, '>') WITH ORDINALITY AS c (channel, place)) AS x
    WHERE j.row BETWEEN first AND last
    ON CONFLICT (tenant_id, external_event_id) WHERE external_event_id IS NOT NULL DO NOTHING;

    INSERT INTO attribution.attribution_events
        (tenant_id, id, event_type, occurred_at, external_event_id, session_id, source, revenue_cents, raw_payload)
    SELECT t.tenant_id, attribution.keyed_event_id(t.tenant_id, j.key, NULL), 'conversion', j.ends_at, j.key, j.session_id, 'journeys', j.cents,
           (SELECT to_jsonb(r) FROM demo.journey_rows r WHERE r.row = j.row)
    FROM (SELECT demo.tenant('KWD') AS tenant_id) AS t
    CROSS JOIN demo.journeys j
    WHERE j.row BETWEEN first AND last AND j.cents > 0
    ON CONFLICT (tenant_id, external_event_id) WHERE external_event_id IS NOT NULL DO NOTHING;
$$;

CREATE VIEW demo.journey_summary AS
SELECT count(*) AS rows, count(*) FILTER (WHERE j.cents > 0) AS with_revenue, coalesce(sum(j.cents), 0) AS cents,
       count(*) FILTER (WHERE j.value * 1000 <> j.cents) AS rounded, coalesce(sum(j.cents) - sum(j.value * 1000), 0) AS moved,
       coalesce(sum(cardinality(string_to_array(j.path, '>'))), 0) AS touches, coalesce(max(cardinality(string_to_array(j.path, '>'))), 0) AS longest
FROM demo.journeys j;

-- What is stored, against the file: no row may come out.
CREATE VIEW demo.journey_differences AS
SELECT s.touches, s.with_revenue, s.cents, e.*
FROM demo.journey_summary s
CROSS JOIN (SELECT count(*) FILTER (WHERE event_type = 'touch') AS stored_touches,
                   count(*) FILTER (WHERE event_type = 'conversion') AS stored_conversions, coalesce(sum(revenue_cents), 0) AS stored_cents
            FROM attribution.attribution_events WHERE tenant_id = demo.tenant('KWD')) AS e
WHERE (s.touches, s.with_revenue, s.cents) IS DISTINCT FROM (e.stored_touches, e.stored_conversions, e.stored_cents);
