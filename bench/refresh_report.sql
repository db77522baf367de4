-- Prints the medians of what bench/refresh has measured (tab-separated: :runs, a refresh per line; :latencies, a
-- transaction per line, of cases of :seconds) for its :parts, and writes every refresh, and the percentiles of the latencies, to :csv.

SET client_min_messages = warning;
CREATE TABLE runs (
    part text, keys integer, change text, changed integer, what text, round integer,
    detail text, ms numeric, server_ms numeric, rows_changed bigint);
COPY runs FROM :'runs';
CREATE TABLE latencies (keys integer, what text, round integer, kind text, us bigint);
COPY latencies FROM :'latencies';

CREATE FUNCTION median(numeric[]) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n)::numeric FROM unnest($1) AS n);
CREATE FUNCTION places(numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    RETURN round($1, CASE WHEN $1 < 10 THEN 2 WHEN $1 < 100 THEN 1 ELSE 0 END);

CREATE VIEW medians AS
SELECT part, keys, change, changed, what, median(array_agg(ms)) AS ms, max(ms) / min(ms) AS spread,
       string_agg(DISTINCT detail, ', ' ORDER BY detail) AS mode, count(*) AS rounds
FROM runs GROUP BY part, keys, change, changed, what;

CREATE VIEW percentiles AS
SELECT keys, what, round, kind, count(*) AS transactions,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY us) / 1000 AS p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY us) / 1000 AS p95,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY us) / 1000 AS p99, max(us) / 1000.0 AS longest
FROM latencies GROUP BY keys, what, round, kind;

\pset format csv
\o :csv
SELECT part, keys, change, changed, what, round, detail, ms, server_ms, rows_changed FROM runs
UNION ALL
SELECT 'readers', keys, kind, NULL, what, round, p.name, p.ms::numeric(20,3), NULL, NULL
FROM percentiles, LATERAL (VALUES ('p50', p50), ('p95', p95), ('p99', p99), ('max', longest)) AS p (name, ms)
ORDER BY 1, 2, 3, 4, 5, 6, 7;
\o
\pset format aligned
\pset footer off
\pset null '-'

SELECT 'speed' = ANY (string_to_array(:'parts', ' ')) AS speed,
       'crossover' = ANY (string_to_array(:'parts', ' ')) AS crossover,
       'readers' = ANY (string_to_array(:'parts', ' ')) AS readers \gset

\if :speed
CREATE VIEW speed AS
SELECT keys, change, changed,
       max(ms) FILTER (WHERE what = 'cold') AS cold, max(ms) FILTER (WHERE what = 'new') AS new,
       max(ms) FILTER (WHERE what = 'warm') AS warm, max(ms) FILTER (WHERE what = 'concurrent') AS concurrent,
       max(ms) FILTER (WHERE what = 'full') AS "full",
       max(spread) FILTER (WHERE what = 'cold') AS cold_spread, max(spread) FILTER (WHERE what = 'new') AS new_spread,
       max(spread) FILTER (WHERE what = 'warm') AS warm_spread,
       max(spread) FILTER (WHERE what = 'concurrent') AS concurrent_spread
FROM medians WHERE part = 'speed' GROUP BY keys, change, changed;
\echo 'Speed: milliseconds, the client''s, with COMMIT; incremental cold, new and warm.'
SELECT keys, change, changed, places(cold) AS "cold ms", places(new) AS "new ms", places(warm) AS "warm ms",
       places(concurrent) AS "concurrent ms", places("full") AS "full ms",
       places(concurrent / cold) AS "concurrent x cold", places(concurrent / new) AS "x new", places(concurrent / warm) AS "x warm",
       round(cold_spread, 2) AS "spread: cold", round(new_spread, 2) AS new, round(warm_spread, 2) AS warm,
       round(concurrent_spread, 2) AS concurrent
FROM speed ORDER BY change, keys;

\echo 'Growth: how many times as long for ten times the keys.'
WITH steps AS (
    SELECT *, lag(keys) OVER w AS keys_before, lag(cold) OVER w AS cold_before, lag(new) OVER w AS new_before,
           lag(warm) OVER w AS warm_before, lag(concurrent) OVER w AS concurrent_before, lag("full") OVER w AS full_before
    FROM speed WINDOW w AS (PARTITION BY change ORDER BY keys)),
decades AS (SELECT *, 1 / log(keys::numeric / keys_before) AS per_decade FROM steps WHERE keys_before IS NOT NULL)
SELECT change, keys_before AS "from keys", keys AS "to keys", round((cold / cold_before) ^ per_decade, 2) AS cold,
       round((new / new_before) ^ per_decade, 2) AS new, round((warm / warm_before) ^ per_decade, 2) AS warm,
       round((concurrent / concurrent_before) ^ per_decade, 2) AS concurrent,
       round(("full" / full_before) ^ per_decade, 2) AS "full"
FROM decades ORDER BY change, keys;
\endif

\if :crossover
\echo 'Crossover: milliseconds, the client''s, with COMMIT.'
WITH modes AS (
    SELECT keys, change, changed, max(ms) FILTER (WHERE what = 'incremental') AS incremental,
           max(ms) FILTER (WHERE what = 'concurrent') AS concurrent, max(ms) FILTER (WHERE what = 'auto') AS auto,
           max(mode) FILTER (WHERE what = 'auto') AS chose, max(spread) AS spread, max(rounds) AS rounds
    FROM medians WHERE part = 'crossover' GROUP BY keys, change, changed)
SELECT keys, change, changed, round(100.0 * changed / keys, 2) AS "% of keys",
       places(incremental) AS "incremental ms", places(concurrent) AS "concurrent ms",
       places(concurrent / incremental) AS "concurrent x incremental",
       places(incremental / changed * 1000) AS "incremental us a key",
       places(auto) AS "auto ms", chose AS "auto chose", round(auto / least(incremental, concurrent), 2) AS "auto x best",
       rounds, round(spread, 2) AS spread
FROM modes ORDER BY change, keys, changed;
\endif

\if :readers
\echo 'Readers and writers: milliseconds from the scheduled start, medians of the rounds.'
WITH medians AS (
    SELECT keys, kind, what, sum(transactions) AS transactions, count(*) AS rounds, median(array_agg(p50::numeric)) AS p50,
           median(array_agg(p95::numeric)) AS p95, median(array_agg(p99::numeric)) AS p99, max(longest) AS longest
    FROM percentiles GROUP BY keys, kind, what)
SELECT m.keys, m.kind AS transaction, m.what AS beside, m.transactions,
       round(m.transactions / (m.rounds * (:seconds - 2)::numeric), 1) AS "a second", round(m.p50, 3) AS p50, round(m.p95, 3) AS p95,
       round(m.p99, 3) AS p99, round(m.longest, 1) AS longest,
       round(m.p50 / a.p50, 2) AS "p50 x alone", round(m.p95 / a.p95, 2) AS "p95 x alone",
       round(m.p50 / w.p50, 2) AS "p50 x writers", round(m.p95 / w.p95, 2) AS "p95 x writers",
       round(m.p99 / w.p99, 2) AS "p99 x writers"
FROM medians m
    LEFT JOIN medians a ON a.keys = m.keys AND a.kind = m.kind AND a.what = 'alone'
    LEFT JOIN medians w ON w.keys = m.keys AND w.kind = m.kind AND w.what = 'writers'
ORDER BY m.keys, array_position('{summary,revenue,order,amend}', m.kind),
         array_position('{alone,writers,busy,second,continuous,concurrent}', m.what);

\echo 'Refreshes meanwhile: the server''s milliseconds, without COMMIT.'
SELECT keys, what AS beside, change AS view, detail AS refresh, sum(changed) AS number,
       round(sum(rows_changed)::numeric / sum(changed), 1) AS "rows each", round(median(array_agg(ms)), 2) AS "median ms",
       round(max(server_ms), 2) AS "longest ms"
FROM runs WHERE part = 'refreshes' GROUP BY keys, what, change, detail
ORDER BY keys, array_position('{second,continuous,concurrent}', what), change, detail;
\endif
