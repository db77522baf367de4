-- What the allocations must be, from the file alone, in integers, and where they are not. The tie key is the
-- one thing taken from the extension: it is a documented hash, and frozen by tests of its own.

-- How often the channel is in the path, of how many.
CREATE TABLE journeys.counts AS
SELECT row, event_id, units::numeric, channel, count(*)::numeric AS touches, cardinality(path)::numeric AS length
FROM journeys.journeys, unnest(path) AS channel
WHERE units > 0
GROUP BY row, event_id, units, channel, path;

CREATE TABLE journeys.expected AS
SELECT 'first_touch' AS model, event_id, path[1] AS channel, units::numeric FROM journeys.journeys WHERE units > 0
UNION ALL
SELECT 'last_touch', event_id, path[cardinality(path)], units FROM journeys.journeys WHERE units > 0
UNION ALL
-- Largest remainder: floors, and a unit each to the largest remainders, ties to the smaller key.
SELECT 'linear', event_id, channel,
       whole + CASE WHEN row_number() OVER (PARTITION BY event_id ORDER BY remainder DESC, tie_key)
                         <= units - sum(whole) OVER (PARTITION BY event_id) THEN 1 ELSE 0 END
FROM (SELECT c.*, div(units * touches, length) AS whole, mod(units * touches, length) AS remainder,
             attribution.allocation_tie_key(t.id, event_id, 'linear', channel) AS tie_key
      FROM journeys.counts c, journeys.tenant t) AS divided;

CREATE VIEW journeys.stored AS
SELECT a.model_version AS model, a.event_id, a.channel, a.allocated_revenue_cents AS units
FROM attribution.attribution_allocations a, journeys.tenant t
WHERE a.tenant_id = t.id;

-- Event by event. No row may come out, of this nor of the next two.
CREATE VIEW journeys.differences AS
SELECT model, event_id, channel, e.units AS expected, s.units AS stored
FROM journeys.expected e FULL JOIN journeys.stored s USING (model, event_id, channel)
WHERE e.units IS DISTINCT FROM s.units;

-- By fractions, without a rule for who gets the spare unit: each share is less than one unit from its exact
-- value, so the floor or the ceiling, and what is a whole number is given as it is.
CREATE VIEW journeys.wrong_shares AS
SELECT event_id, channel, c.units, c.touches, c.length, s.units AS stored
FROM journeys.counts c FULL JOIN (SELECT * FROM journeys.stored WHERE model = 'linear') s USING (event_id, channel)
WHERE (abs(s.units * c.length - c.units * c.touches) < c.length) IS NOT TRUE;

-- The sum of a channel, against the exact sum of its fractions, over their common denominator: rounding may
-- move less than one unit per event.
CREATE TABLE journeys.denominators AS
WITH RECURSIVE multiples (length, value) AS (
    SELECT 1, 1::numeric
    UNION ALL
    SELECT length + 1, lcm(value, (length + 1)::numeric) FROM multiples
    WHERE length < (SELECT max(length) FROM journeys.counts))
SELECT max(value) AS common FROM multiples;

CREATE VIEW journeys.wrong_sums AS
SELECT channel, exact, allocated * common AS stored, events, common
FROM (SELECT channel, sum(units * touches * div(common, length)) AS exact, count(*) AS events, common
      FROM journeys.counts, journeys.denominators GROUP BY channel, common) AS e
FULL JOIN (SELECT channel, sum(units) AS allocated FROM journeys.stored WHERE model = 'linear' GROUP BY channel) AS s
    USING (channel)
WHERE (abs(allocated * common - exact) < events * common) IS NOT TRUE;
