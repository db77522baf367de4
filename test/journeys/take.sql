-- From journeys.file, the file as it is, to events of a tenant in Kuwaiti dinars (three decimals). A row is:
--
--   touches      one per channel of its path, in the path's order, one hour apart, in one session
--   conversion   one, worth total_conversion_value, an hour after the last touch
--
-- A row without conversions or without value has no conversion: its touches are stored all the same, and must
-- earn nothing. The same holds for a value that rounds to 0. Values finer than a fils are rounded here, once,
-- half up, and counted; from then on nothing is.

CREATE VIEW journeys.journeys AS
SELECT row, string_to_array(path, ' > ') AS path, total_conversion_value::numeric AS value,
       CASE WHEN total_conversions::numeric > 0 THEN round(total_conversion_value::numeric * 1000)::bigint ELSE 0 END AS units,
       -- Ten journeys and more end at the same moment.
       '2025-01-01 00:00:00+00'::timestamptz + row % 700 * interval '1 hour' AS ends_at,
       md5('session:' || row)::uuid AS session_id, md5('conversion:' || row)::uuid AS event_id
FROM journeys.file;

CREATE VIEW journeys.tenant AS SELECT '11111111-1111-4111-8111-111111111111'::uuid AS id;

INSERT INTO attribution.tenants (id, name, currency) SELECT id, 'journeys', 'KWD' FROM journeys.tenant;

-- In no order: what is stored first means nothing.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, revenue_cents)
SELECT t.id, e.*
FROM journeys.tenant t, (
    SELECT md5('touch:' || row || ':' || place)::uuid AS event_id, 'touch',
           ends_at - (cardinality(path) - place + 1) * interval '1 hour', session_id, channel, 0 AS units
    FROM journeys.journeys, unnest(path) WITH ORDINALITY AS c (channel, place)
    UNION ALL
    SELECT event_id, 'conversion', ends_at, session_id, NULL, units FROM journeys.journeys WHERE units > 0) AS e
ORDER BY e.event_id;
ANALYZE attribution.attribution_events;

SELECT attribution.define_model(id, method, method)
FROM journeys.tenant, unnest('{first_touch,last_touch,linear}'::text[]) AS method;
