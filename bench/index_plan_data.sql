-- The data of bench/index_plan, first part: tenants, journeys, and the procedures that make everything else of them.
-- :events is a multiple of 100,000. Deterministic: the same :events gives the same rows everywhere.
--
-- A journey is five events: 1 to 5 touches (3 on average) and a conversion, and a refund (3 of 20) or a touch without a
-- session. Journeys belong to 1,000 tenants by Zipf's law: the n-th has 1/n of what the first has, which is 13 % of all.
-- Three model versions share 15 allocations per journey: 1.0.0 gives 3 channels (and is posted), 2.0.0 gives 5, and
-- 3.0.0 gives 12 to 40 channels to one journey of five. Parts are equal up to a cent, so refunds never exceed them.

SET client_min_messages = warning;
CREATE EXTENSION attribution;
CREATE EXTENSION pg_prewarm;
CREATE SCHEMA bench;

CREATE FUNCTION bench.hash(n bigint, seed bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashint8extended(n, seed) & 9007199254740991;
-- As uuid_v7() would have given it at that time.
CREATE FUNCTION bench.time_id(at timestamptz, n bigint, seed bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(bench.hash(n, seed) & 4095), 3, '0')
            || '8' || lpad(to_hex(bench.hash(n, seed + 1)), 15, '0'))::uuid;
CREATE FUNCTION bench.payload() RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{"id": 820982911946154508, "currency": "USD", "financial_status": "paid", "processed_at": "2025-03-01T12:00:00-05:00", "total_price": "404.95", "name": "#1001", "line_items": [{"id": 1, "title": "A thing", "price": "200.00"}, {"id": 2, "title": "Shipping", "price": "4.95"}], "test": false, "source_name": "web"}'::jsonb;

-- Names are nearly unique. Tenants of two other currencies are a tenth each.
CREATE TABLE bench.tenants AS
SELECT n AS number, bench.time_id('2024-01-01Z'::timestamptz + n * interval '5 hours', n, 10) AS id, 'shop ' || n % 990 AS name,
       CASE n % 10 WHEN 3 THEN 'EUR' WHEN 7 THEN 'JPY' ELSE 'USD' END AS currency
FROM generate_series(1, 1000) AS n;
ALTER TABLE bench.tenants ADD PRIMARY KEY (number);
INSERT INTO attribution.tenants (id, name, currency) SELECT id, name, currency FROM bench.tenants ORDER BY number;
SELECT count(attribution.define_model(t.id, v.model_version, 'custom')) AS models
FROM bench.tenants t, (VALUES ('1.0.0'), ('2.0.0'), ('3.0.0')) AS v (model_version) \gset

-- 20,000 equal chances, of which the smallest tenant has two or three.
CREATE TABLE bench.slots AS
WITH shares AS (SELECT array_agg(sum ORDER BY number) AS limits
                FROM (SELECT number, sum(1.0 / number) OVER (ORDER BY number) / sum(1.0 / number) OVER () AS sum FROM bench.tenants) s)
SELECT slot, least(1000, 1 + width_bucket((slot + 0.5) / 20000, limits)) AS tenant
FROM shares, generate_series(0, 19999) AS slot;
ALTER TABLE bench.slots ADD PRIMARY KEY (slot);

-- The equal parts of a whole among :count channels.
CREATE TABLE bench.shares AS
SELECT c AS count, i AS place,
       ((100000 / c + CASE WHEN i < 100000 % c THEN 1 ELSE 0 END) / 100000.0)::numeric(6,5) AS ratio, 1::numeric AS weight
FROM unnest('{3,5,12,24,40}'::integer[]) AS c, generate_series(0, c - 1) AS i;

-- Runs: the 50 largest tenants reconcile each week, the others every 60 days; one of 33 fails. Five are running.
CREATE TABLE bench.runs AS
SELECT t.number AS tenant, p.period, r.at, bench.time_id(r.at, t.number * 1000 + p.period, 20) AS id,
       CASE WHEN r.is_last AND t.number IN (3, 77, 300, 501, 900) THEN 'running'
            WHEN bench.hash(t.number * 1000 + p.period, 22) % 33 = 0 THEN 'failed' ELSE 'completed' END AS state
FROM bench.tenants t
CROSS JOIN LATERAL (SELECT CASE WHEN t.number <= 50 THEN 7 ELSE 60 END AS days) l
CROSS JOIN LATERAL generate_series(0, 355 / l.days - 1) AS p (period)
CROSS JOIN LATERAL (SELECT '2025-01-01Z'::timestamptz + (p.period + 1) * l.days * interval '1 day' + interval '30 hours' + t.number * interval '1 second',
                           p.period = 355 / l.days - 1) AS r (at, is_last);
ALTER TABLE bench.runs ADD PRIMARY KEY (tenant, period);

CREATE TABLE bench.journeys AS
SELECT j AS number, t.number AS tenant, t.id AS tenant_id, md5('session ' || j)::uuid AS session_id, s.started_at,
       k.touches, s.started_at + (k.touches + 1) * interval '1 hour' AS converted_at, k.source,
       k.conversion_key, k.correlation_id, attribution.keyed_event_id(t.id, k.conversion_key, k.correlation_id) AS conversion_id,
       k.cents, r.refund_key, r.refund_cents,
       CASE WHEN r.refund_key IS NOT NULL THEN attribution.keyed_event_id(t.id, r.refund_key, NULL) END AS refund_id,
       s.started_at + interval '80 hours' AS refunded_at,
       CASE k.pattern WHEN 10 THEN 12 WHEN 11 THEN 24 WHEN 12 THEN 40 WHEN 13 THEN 40 END AS long_count,
       j < :events / 5 * 0.96 AS is_posted,
       CASE WHEN t.number <= 50 THEN 7 ELSE 60 END AS period_days
FROM generate_series(0, :events / 5 - 1) AS j
JOIN bench.slots l ON l.slot = j * 7919::bigint % 20000
JOIN bench.tenants t ON t.number = l.tenant,
     LATERAL (SELECT '2025-01-01Z'::timestamptz + j * (interval '364 days' / (:events / 5))) AS s (started_at),
     LATERAL (SELECT (j + j / 20000) % 20 AS pattern, 1 + (j / 20 + j / 20000) % 5 AS touches, 100 + bench.hash(j, 1) % 50000 AS cents,
                     CASE bench.hash(j, 2) % 8 WHEN 0 THEN 'paypal' WHEN 1 THEN 'woocommerce' WHEN 2 THEN 'stripe' WHEN 3 THEN 'stripe' ELSE 'shopify' END AS source) AS q,
     LATERAL (SELECT q.pattern, q.touches, q.cents, q.source,
                     CASE q.source WHEN 'shopify' THEN 'shopify:order:' || 820982911946154508 + j WHEN 'paypal' THEN 'paypal:capture:' || upper(substr(md5('paypal ' || j), 1, 17))
                                   WHEN 'woocommerce' THEN 'woocommerce:order:' || j END AS conversion_key,
                     CASE q.source WHEN 'stripe' THEN 'pi_' || substr(md5('stripe ' || j), 1, 24) END AS correlation_id) AS k,
     LATERAL (SELECT CASE WHEN k.pattern < 3 THEN CASE k.source WHEN 'stripe' THEN 'stripe:refund:re_' || substr(md5('refund ' || j), 1, 24) ELSE k.source || ':refund:' || j END END,
                     CASE WHEN k.pattern < 3 THEN CASE WHEN k.pattern = 0 THEN k.cents ELSE 1 + bench.hash(j, 3) % k.cents END END) AS r (refund_key, refund_cents);
ALTER TABLE bench.journeys ADD PRIMARY KEY (number);
VACUUM (ANALYZE) bench.tenants, bench.slots, bench.shares, bench.runs, bench.journeys;

-- Eight channels that everybody uses, and a long tail of campaigns, few of which are large.
CREATE FUNCTION bench.channel(place bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN place < 8 THEN ('{affiliate,direct,display,email,organic,paid_search,paid_social,referral}'::text[])[place + 1]
                ELSE 'campaign-' || place END;

CREATE FUNCTION bench.events_of(first bigint, last bigint) RETURNS SETOF attribution.attribution_events
    LANGUAGE sql STABLE AS $$
    SELECT e.tenant_id, e.id, e.event_type, e.occurred_at, e.external_event_id, e.correlation_id, e.session_id, e.channel, e.source, e.refund_of,
           e.revenue_cents, CASE WHEN e.event_type <> 'touch' THEN bench.payload() END, e.occurred_at, e.occurred_at
    FROM (
        SELECT j.tenant_id, bench.time_id(t.at, j.number * 6 + n, 30) AS id, 'touch' AS event_type, t.at AS occurred_at,
               NULL AS external_event_id, NULL AS correlation_id, j.session_id, bench.channel(bench.hash(j.number * 6 + n, 32) % 8) AS channel, 'pixel' AS source,
               NULL::uuid AS refund_of, 0::bigint AS revenue_cents
        FROM bench.journeys j, LATERAL generate_series(1, j.touches) AS n, LATERAL (SELECT j.started_at + n * interval '1 hour' - bench.hash(j.number * 6 + n, 33) % 3000 * interval '1 second') AS t (at)
        WHERE j.number BETWEEN first AND last
        UNION ALL
        SELECT j.tenant_id, j.conversion_id, 'conversion', j.converted_at, j.conversion_key, j.correlation_id, j.session_id, NULL, j.source, NULL, j.cents
        FROM bench.journeys j WHERE j.number BETWEEN first AND last
        UNION ALL
        SELECT j.tenant_id, j.refund_id, 'refund', j.refunded_at, j.refund_key, j.correlation_id, NULL, NULL, j.source, j.conversion_id, -j.refund_cents
        FROM bench.journeys j WHERE j.number BETWEEN first AND last AND j.refund_id IS NOT NULL
        UNION ALL
        SELECT j.tenant_id, bench.time_id(j.started_at, j.number * 6, 30), 'touch', j.started_at, NULL, NULL, NULL, bench.channel(bench.hash(j.number, 34) % 8), 'pixel', NULL, 0
        FROM bench.journeys j WHERE j.number BETWEEN first AND last AND j.refund_id IS NULL) e
    ORDER BY e.occurred_at
    $$;

-- The channels of a journey under a model version are neighbours, so that none comes twice: any of the eight, or, where there
-- are many, all of the eight and campaigns.
CREATE FUNCTION bench.allocations_of(first bigint, last bigint) RETURNS SETOF attribution.attribution_allocations
    LANGUAGE sql STABLE AS $$
    SELECT j.tenant_id, attribution.allocation_id(j.tenant_id, e.id, m.model_version, c.channel, e.at), e.id, m.model_version, c.channel, s.weight, s.ratio,
           e.sign * (e.cents / s.count + CASE WHEN s.place < e.cents % s.count THEN 1 ELSE 0 END), NULL::jsonb, j.correlation_id,
           date_trunc('minute', e.at) + interval '1 hour', date_trunc('minute', e.at) + interval '1 hour'
    FROM bench.journeys j
    CROSS JOIN LATERAL (VALUES (j.conversion_id, j.converted_at, j.cents, 1), (j.refund_id, j.refunded_at, j.refund_cents, -1)) AS e (id, at, cents, sign)
    CROSS JOIN LATERAL (VALUES ('1.0.0', 3), ('2.0.0', 5), ('3.0.0', j.long_count)) AS m (model_version, count)
    JOIN bench.shares s ON s.count = m.count
    CROSS JOIN LATERAL (SELECT bench.channel(CASE
        WHEN m.count < 8 THEN (bench.hash(j.number, 40) + s.place) % 8
        WHEN s.place < 8 THEN s.place
        ELSE 8 + (2000 * power(bench.hash(j.number, 41) % 1000 / 1000.0::float8, 3))::bigint + s.place END)) AS c (channel)
    WHERE j.number BETWEEN first AND last AND e.id IS NOT NULL
    ORDER BY e.at, j.number, m.model_version
    $$;

-- Posted each night; verified by the run of the period, but for a tenth that the settlement does not have. Of one journey of a
-- thousand the posting is reversed a day later.
CREATE FUNCTION bench.postings_of(first bigint, last bigint) RETURNS SETOF attribution.revenue_ledger
    LANGUAGE sql STABLE AS $$
    SELECT p.* FROM (
        SELECT j.tenant_id, bench.time_id(p.posted_at, e.number, 50 + s.place) AS id, j.conversion_id,
               attribution.allocation_id(j.tenant_id, e.id, '1.0.0', bench.channel((bench.hash(j.number, 40) + s.place) % 8), e.at), NULL::uuid, r.id,
               (e.sign * (e.cents / 3 + CASE WHEN s.place < e.cents % 3 THEN 1 ELSE 0 END))::bigint, r.id IS NOT NULL, r.at, p.posted_at, p.posted_at AS created_at, coalesce(r.at, p.posted_at)
        FROM bench.journeys j
        CROSS JOIN LATERAL (VALUES (2 * j.number, j.conversion_id, j.converted_at, j.cents, 1), (2 * j.number + 1, j.refund_id, j.refunded_at, j.refund_cents, -1)) AS e (number, id, at, cents, sign)
        CROSS JOIN LATERAL (SELECT date_trunc('day', e.at) + interval '26 hours') AS p (posted_at)
        JOIN bench.shares s ON s.count = 3
        LEFT JOIN bench.runs r ON r.tenant = j.tenant AND r.period = extract(epoch FROM p.posted_at - '2025-01-01Z')::bigint / 86400 / j.period_days
             AND r.state = 'completed' AND bench.hash(j.number, 51) % 10 > 0 AND j.number % 1000 <> 500
        WHERE j.number BETWEEN first AND last AND j.is_posted AND e.id IS NOT NULL
        UNION ALL
        SELECT j.tenant_id, bench.time_id(p.posted_at + interval '1 day', 2 * j.number, 60 + s.place), j.conversion_id, NULL, bench.time_id(p.posted_at, 2 * j.number, 50 + s.place), NULL,
               -(j.cents / 3 + CASE WHEN s.place < j.cents % 3 THEN 1 ELSE 0 END), false, NULL, p.posted_at + interval '1 day', p.posted_at + interval '1 day', p.posted_at + interval '1 day'
        FROM bench.journeys j
        CROSS JOIN LATERAL (SELECT date_trunc('day', j.converted_at) + interval '26 hours') AS p (posted_at)
        JOIN bench.shares s ON s.count = 3
        WHERE j.number BETWEEN first AND last AND j.is_posted AND j.number % 1000 = 500) p
    ORDER BY p.created_at
    $$;

CREATE FUNCTION bench.dead_events_of(first bigint, last bigint, total bigint) RETURNS SETOF attribution.dead_events
    LANGUAGE sql STABLE AS $$
    SELECT t.id, bench.time_id(a.at, d, 70), a.at,
           (ARRAY['shopify', 'shopify', 'shopify', 'shopify', 'stripe', 'stripe', 'paypal', 'woocommerce'])[1 + bench.hash(d, 71) % 8],
           (ARRAY['invalid_json', 'missing_field', 'bad_amount', 'unknown_currency', 'wrong_currency', 'unknown_topic', 'unknown_conversion',
                  'content_changed', 'refund_exceeds_conversion', 'bad_time', 'too_large', 'internal'])[1 + least(bench.hash(d, 72) % 12, bench.hash(d, 73) % 12)],
           '{"message": "field is missing", "field": "total_price_set.shop_money.amount"}'::jsonb, bench.payload(), NULL, 'shopify:order:' || d, 'orders/paid', NULL::jsonb,
           (bench.hash(d, 74) % 5)::integer, NULL::timestamptz, NULL::timestamptz,
           CASE WHEN bench.hash(d, 75) % 5 > 0 THEN a.at + interval '2 days' END, CASE WHEN bench.hash(d, 75) % 5 > 0 THEN 'ingested' END,
           CASE WHEN bench.hash(d, 75) % 5 > 0 THEN 'postgres'::name END, NULL::uuid, NULL
    FROM generate_series(first, last) AS d
    JOIN bench.slots l ON l.slot = d * 7919::bigint % 20000
    JOIN bench.tenants t ON t.number = l.tenant,
         LATERAL (SELECT '2025-01-01Z'::timestamptz + d * (interval '364 days' / total)) AS a (at)
    $$;

-- Written past triggers, foreign keys and indexes, for speed; what must hold of the rows is proved at the end. Indexes that
-- are not ready are not written, and REINDEX builds them.
CREATE TABLE bench.triggers AS
SELECT tgrelid::regclass AS relation, tgname AS name, tgenabled AS enabled
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'attribution'::regnamespace AND tgenabled IN ('A', 'R');

CREATE PROCEDURE bench.open_tables()
    LANGUAGE plpgsql AS $$
DECLARE
    t name;
BEGIN
    FOREACH t IN ARRAY '{attribution_events,attribution_allocations,ledger_books,revenue_ledger,dead_events,reconciliation_runs,event_aliases}'::name[] LOOP
        EXECUTE format('ALTER TABLE attribution.%I DISABLE TRIGGER ALL', t);
        UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = format('attribution.%I', t)::regclass;
    END LOOP;
END $$;

CREATE PROCEDURE bench.close_tables()
    LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT DISTINCT relation FROM bench.triggers LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER ALL', t.relation);
    END LOOP;
    FOR t IN SELECT * FROM bench.triggers LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.relation,
                       CASE t.enabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, t.name);
    END LOOP;
    IF EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
               WHERE c.relnamespace = 'attribution'::regnamespace AND NOT (i.indisvalid AND i.indisready AND i.indislive)) THEN
        RAISE EXCEPTION 'an index is not valid';
    END IF;
END $$;

-- Chunks in turn with other workers: what happened at about the same time lies together, as if it had been written then.
CREATE PROCEDURE bench.load(worker integer, workers integer, events bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    size constant bigint := 20000;
BEGIN
    FOR chunk IN 0 .. events / 5 / size - 1 LOOP
        CONTINUE WHEN chunk % workers <> worker;
        INSERT INTO attribution.attribution_events SELECT * FROM bench.events_of(chunk * size, chunk * size + size - 1);
        INSERT INTO attribution.attribution_allocations SELECT * FROM bench.allocations_of(chunk * size, chunk * size + size - 1);
        INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version, created_at)
        SELECT j.tenant_id, j.conversion_id, '1.0.0', date_trunc('day', j.converted_at) + interval '26 hours'
        FROM bench.journeys j WHERE j.is_posted AND j.number BETWEEN chunk * size AND chunk * size + size - 1;
        INSERT INTO attribution.revenue_ledger SELECT * FROM bench.postings_of(chunk * size, chunk * size + size - 1);
        COMMIT;
    END LOOP;
    IF worker = 0 THEN
        INSERT INTO attribution.dead_events SELECT * FROM bench.dead_events_of(0, events / 200 - 1, events / 200);
        INSERT INTO attribution.reconciliation_runs (tenant_id, id, state, last_run_at, error_message, run_metadata, created_at, updated_at)
        SELECT t.id, r.id, r.state, r.at, CASE r.state WHEN 'failed' THEN 'settlements were not there' END, '{"books": 100}', r.at, r.at
        FROM bench.runs r JOIN bench.tenants t ON t.number = r.tenant ORDER BY r.at;
        INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id, created_at)
        SELECT j.tenant_id, 'stripe:refunded:' || j.number, j.refund_id, j.refunded_at
        FROM bench.journeys j WHERE j.source = 'stripe' AND j.refund_id IS NOT NULL;
    END IF;
END $$;

CALL bench.open_tables();
