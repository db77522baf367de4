-- What comes out: is it all there, and what does it say. Views, to be read again under --keep.

-- Revenue and its allocations per merchant and model, refunds included.
CREATE VIEW demo.model_totals AS
SELECT t.name AS merchant, t.currency, a.model_version AS model, count(DISTINCT a.event_id) AS events, count(*) AS allocations,
       (SELECT sum(e.revenue_cents) FROM attribution.attribution_events e WHERE e.tenant_id = t.id) AS revenue_cents,
       sum(a.allocated_revenue_cents) AS allocated_cents
FROM attribution.tenants t
JOIN attribution.attribution_allocations a ON a.tenant_id = t.id
GROUP BY t.id, t.name, t.currency, a.model_version;

-- The channels under both models. A conversion counts for each channel that took part in it; under last
-- touch that is one. Beyond the twenty best, channels are taken together.
CREATE FUNCTION demo.channel_report(currency text)
    RETURNS TABLE (channel text, took_part bigint, closed bigint, linear_cents numeric, last_touch_cents numeric)
    LANGUAGE sql STABLE
AS $$
    SELECT r.label, sum(r.took_part)::bigint, sum(r.closed)::bigint, sum(r.linear_cents), sum(r.last_touch_cents)
    FROM (SELECT CASE WHEN row_number() OVER best > 20 THEN 'other channels' ELSE channel END AS label, row_number() OVER best AS place,
                 coalesce(l.conversions, 0) AS took_part, coalesce(t.conversions, 0) AS closed,
                 coalesce(l.revenue_cents, 0) AS linear_cents, coalesce(t.revenue_cents, 0) AS last_touch_cents
          FROM attribution.channel_performance(demo.tenant(currency), 'linear-1') AS l
          FULL JOIN attribution.channel_performance(demo.tenant(currency), 'last-touch-1') AS t USING (channel)
          WINDOW best AS (ORDER BY coalesce(l.revenue_cents, 0) DESC, channel)) AS r
    GROUP BY r.label ORDER BY min(r.place);
$$;

CREATE FUNCTION demo.printed_channel_report(currency text)
    RETURNS TABLE (channel text, "took part" text, closed text, linear text, "last touch" text, "last touch - linear" text)
    LANGUAGE sql STABLE
AS $$
    WITH report AS (SELECT * FROM demo.channel_report(currency) WITH ORDINALITY)
    SELECT channel, demo.count(took_part), demo.count(closed), demo.money(linear_cents, currency),
           demo.money(last_touch_cents, currency), demo.money(last_touch_cents - linear_cents, currency, 'FMSG')
    FROM (TABLE report
          UNION ALL
          SELECT 'sum, ' || currency, NULL, sum(closed)::bigint, sum(linear_cents), sum(last_touch_cents), 1000 FROM report) AS lines
    ORDER BY ordinality;
$$;

-- The claim of the demo, one row per merchant. One statement reads all of it, hence in one snapshot. The
-- ledger has the books of linear-1.
CREATE VIEW demo.conservation AS
SELECT t.name AS merchant, t.currency, e.cents AS events_cents, l.cents AS linear_cents, k.cents AS last_touch_cents,
       b.cents AS ledger_cents, v.total_revenue_cents AS view_cents, r.linear_cents AS report_linear_cents,
       r.last_touch_cents AS report_last_touch_cents,
       e.cents > 0 AND e.cents = ALL (ARRAY[l.cents, k.cents, b.cents, v.total_revenue_cents, r.linear_cents, r.last_touch_cents]) AS equal
FROM attribution.tenants t
CROSS JOIN LATERAL (SELECT sum(x.revenue_cents) AS cents FROM attribution.attribution_events x WHERE x.tenant_id = t.id) AS e
CROSS JOIN LATERAL (SELECT sum(x.allocated_revenue_cents) AS cents FROM attribution.attribution_allocations x
                    WHERE x.tenant_id = t.id AND x.model_version = 'linear-1') AS l
CROSS JOIN LATERAL (SELECT sum(x.allocated_revenue_cents) AS cents FROM attribution.attribution_allocations x
                    WHERE x.tenant_id = t.id AND x.model_version = 'last-touch-1') AS k
CROSS JOIN LATERAL (SELECT sum(x.revenue_cents) AS cents FROM attribution.revenue_ledger x WHERE x.tenant_id = t.id) AS b
CROSS JOIN LATERAL attribution.realtime_revenue(t.id) AS v
CROSS JOIN LATERAL (SELECT sum(x.linear_cents) AS linear_cents, sum(x.last_touch_cents) AS last_touch_cents
                    FROM demo.channel_report(t.currency) AS x) AS r;
