-- Two ways of giving credit, for both merchants. A model version is defined once and never changes; the
-- same definition again changes nothing. Ten years of lookback: a long path of a journeys file goes back
-- that far, since its touches are given times three hours apart.
SELECT count(attribution.define_model(t.id, m.version, m.method, '{"lookback_days": 3650}')) AS defined
FROM attribution.tenants t
CROSS JOIN (VALUES ('linear-1', 'linear'), ('last-touch-1', 'last_touch')) AS m (version, method)
\gset

-- After a load of so many rows: autovacuum would do it within a minute or two, the demo does not wait.
ANALYZE attribution.attribution_events;

-- The conversion that the demo tries to break: the largest sale.
CREATE VIEW demo.largest_sale AS
SELECT tenant_id, id, revenue_cents FROM attribution.attribution_events
WHERE tenant_id = demo.tenant('USD') ORDER BY revenue_cents DESC, id LIMIT 1;

-- Two sessions wait here for each other. A sequence, because its value is seen before COMMIT.
CREATE SEQUENCE demo.arrivals;
CREATE PROCEDURE demo.meet()
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM nextval('demo.arrivals');
    FOR i IN 1..3000 LOOP
        IF (SELECT last_value FROM demo.arrivals) >= 2 THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE EXCEPTION 'the other session did not come';
END;
$$;
