-- Prints 10,000 customer journeys as CSV, in the form that R's ChannelAttribution and its like read:
-- path, total_conversions, total_conversion_value (three decimals, as Kuwaiti dinars have), total_null.
-- Drawn by demo.draw(): every run prints the same bytes.

COPY (
WITH channels (name, opens, between, closes) AS (VALUES
    -- Of a hundred touches at that place of the path.
    ('paid search',    14, 18, 27), ('organic search', 17, 16, 14), ('direct',     4, 12, 22), ('email',    3, 14, 15),
    ('paid social',    20, 13,  6), ('organic social', 11,  8,  3), ('referral',   5,  5,  4), ('affiliate', 4, 4,  5),
    ('display',        13,  6,  1), ('video',           6,  2,  1), ('sms',        1,  1,  1), ('podcast',  2,  1,  1)),
decks AS (
    SELECT array_agg(name ORDER BY name) FILTER (WHERE i <= opens) AS opening,
           array_agg(name ORDER BY name) FILTER (WHERE i <= between) AS middle,
           array_agg(name ORDER BY name) FILTER (WHERE i <= closes) AS closing
    FROM channels CROSS JOIN generate_series(1, 100) AS i),
journeys AS MATERIALIZED (
    -- Half of the paths have up to four touches, one in twenty more than fifteen, the longest 89.
    SELECT row, 1 + CASE WHEN u < 80 THEN 17 + least(71, demo.draw(row, 2, 80)) ELSE 57 * (10000 - u) / (10 * (u + 3100)) END AS length,
           CASE WHEN c < 18 THEN 0 WHEN c < 91 THEN 1 WHEN c < 96 THEN 2 WHEN c < 98 THEN 3 ELSE 4 + demo.draw(row, 4, 9) END AS conversions,
           900 + demo.draw(row, 5, 200) * demo.draw(row, 6, 400) AS basket
    FROM generate_series(1, 10000) AS row,
         LATERAL (SELECT demo.draw(row, 1, 10000) AS u, demo.draw(row, 3, 100) AS c) AS drawn)
SELECT string_agg(CASE WHEN place = length THEN closing[1 + demo.draw(touch, 10, 100)]
                       WHEN place = 1 THEN opening[1 + demo.draw(touch, 11, 100)]
                       -- People come back the way they came: a third of the visits between are of one channel.
                       WHEN demo.draw(touch, 12, 3) = 0 THEN middle[1 + demo.draw(row, 13, 100)]
                       ELSE middle[1 + demo.draw(touch, 14, 100)] END, ' > ' ORDER BY place) AS path,
       conversions AS total_conversions,
       CASE WHEN conversions = 0 THEN '0' ELSE ((conversions * basket + demo.draw(row, 7, 1000)) * 0.001)::text END AS total_conversion_value,
       demo.draw(row, 8, 7) AS total_null
FROM decks CROSS JOIN journeys
CROSS JOIN LATERAL (SELECT place, row * 100 + place AS touch FROM generate_series(1, length) AS place) AS touches
GROUP BY row, conversions, basket
ORDER BY row
) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (path));
