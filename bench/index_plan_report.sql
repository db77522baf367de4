-- The tables of bench/index_plan, from its figures.

\pset footer off
\pset null -
SET client_min_messages = warning;
CREATE TEMP TABLE figures (
    size bigint, mode text, path text, kind text, answer text, target_ms integer, samples bigint, p50 numeric, p95 numeric, p99 numeric, mean numeric,
    rows_read numeric, rows_per_second numeric, plan text);
COPY figures FROM :'figures' WITH (NULL '');
CREATE TEMP TABLE inserted (relation text, index_name text, round integer, rows numeric, wall_us numeric, cpu_us numeric);
COPY inserted FROM :'inserted' WITH (NULL '');

CREATE FUNCTION pg_temp.ms(v numeric) RETURNS text LANGUAGE sql
    RETURN CASE WHEN v IS NULL THEN NULL WHEN v < 1 THEN round(v, 3)::text WHEN v < 10 THEN round(v, 2)::text WHEN v < 100 THEN round(v, 1)::text ELSE round(v)::text END;

\echo 'Query paths: milliseconds of the client.'
WITH paths AS (SELECT DISTINCT ON (size, path) * FROM figures WHERE mode IN ('warm', 'cold', 'mixed') ORDER BY size, path, mode DESC)
SELECT x.size, x.path, x.answer, x.target_ms AS target, pg_temp.ms(w.p50) AS p50, pg_temp.ms(w.p95) AS p95, pg_temp.ms(w.p99) AS p99, w.samples,
       pg_temp.ms(c.p50) AS "cold p50", pg_temp.ms(c.p95) AS "cold p95", pg_temp.ms(m.p95) AS "mixed p95", pg_temp.ms(m.p99) AS "mixed p99",
       w.rows_read AS "rows read", CASE WHEN x.answer = 'aggregate' THEN w.rows_per_second END AS "rows a second"
FROM paths x
LEFT JOIN figures w ON w.size = x.size AND w.path = x.path AND w.mode = 'warm'
LEFT JOIN figures c ON c.size = x.size AND c.path = x.path AND c.mode = 'cold'
LEFT JOIN figures m ON m.size = x.size AND m.path = x.path AND m.mode = 'mixed'
ORDER BY x.size, array_position('{query,insertion,api}', x.kind), x.path;

\echo 'Above the target, or above a millisecond at p95 while warm.'
SELECT f.size, f.mode, f.path, f.answer, f.target_ms AS target, pg_temp.ms(f.p50) AS p50, pg_temp.ms(f.p95) AS p95, f.rows_read AS "rows read",
       CASE WHEN f.p95 > f.target_ms THEN 'above the target' ELSE 'above 1 ms' END AS which
FROM figures f WHERE f.mode IN ('warm', 'cold', 'mixed') AND f.p95 > CASE f.mode WHEN 'warm' THEN 1 ELSE f.target_ms END
ORDER BY f.size, f.mode DESC, f.p95 DESC;

\echo 'Growth: warm p95, and how many times as much for ten times the events.'
SELECT a.path, a.answer, a.size AS "from", b.size AS "to", pg_temp.ms(a.p95) AS "p95 from", pg_temp.ms(b.p95) AS "p95 to",
       round(exp(ln(b.p95 / a.p95) / log(b.size::numeric / a.size)), 2) AS "p95 x a decade",
       round(exp(ln(b.p50 / a.p50) / log(b.size::numeric / a.size)), 2) AS "p50 x a decade",
       CASE WHEN a.rows_read > 0 AND b.rows_read > 0 THEN round(exp(ln(b.rows_read / a.rows_read) / log(b.size::numeric / a.size)), 2) END AS "rows x a decade"
FROM figures a
JOIN figures b ON b.mode = 'warm' AND b.path = a.path AND b.size = (SELECT min(size) FROM figures n WHERE n.mode = 'warm' AND n.path = a.path AND n.size > a.size)
WHERE a.mode = 'warm' AND a.p95 > 0 AND a.p50 > 0
ORDER BY array_position('{query,insertion,api}', a.kind), a.path, a.size;

\echo 'Plans, with the planner as it is: from the root to the leaves; * a subplan.'
SELECT f.path, f.plan FROM figures f
WHERE f.mode = 'warm' AND f.size = (SELECT max(size) FROM figures WHERE mode = 'warm') ORDER BY array_position('{query,insertion,api}', f.kind), f.path;

\echo 'Through row security: a reader beside a superuser, rounds in turn.'
SELECT r.size, r.path, r.samples, pg_temp.ms(r.p50) AS "reader p50", pg_temp.ms(s.p50) AS "superuser p50", pg_temp.ms(r.p95) AS "reader p95", pg_temp.ms(s.p95) AS "superuser p95",
       round(r.p50 / s.p50, 2) AS "p50 x", round(r.p95 / s.p95, 2) AS "p95 x"
FROM figures r JOIN figures s ON s.mode = 'superuser' AND s.size = r.size AND s.path = r.path
WHERE r.mode = 'reader' ORDER BY r.size, r.path;

\echo 'What each index costs when rows are inserted: microseconds a row of CPU, medians of the rounds.'
WITH medians AS (
    SELECT w.relation, w.index_name, percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.cpu_us - w.cpu_us) / w.rows) AS cost,
           percentile_cont(0.25) WITHIN GROUP (ORDER BY (a.cpu_us - w.cpu_us) / w.rows) AS low, percentile_cont(0.75) WITHIN GROUP (ORDER BY (a.cpu_us - w.cpu_us) / w.rows) AS high,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.wall_us - w.wall_us) / w.rows) AS wall,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY a.cpu_us / a.rows) AS whole
    FROM inserted w JOIN inserted a ON a.relation = w.relation AND a.round = w.round AND a.index_name IS NULL
    WHERE w.round > 0 AND w.index_name IS NOT NULL GROUP BY w.relation, w.index_name)
SELECT s.relation, s.index_name, round(m.cost::numeric, 2) AS "us a row", round((100 * m.cost / m.whole)::numeric) AS "% of the insert", round(m.low::numeric, 2) AS "25 %", round(m.high::numeric, 2) AS "75 %",
       round(m.wall::numeric, 2) AS "wall us a row", round(m.whole::numeric, 1) AS "all indexes us a row", round(s.wall_us / s.rows, 1) AS "bytes a row", round(s.cpu_us / s.rows, 1) AS "table bytes a row"
FROM inserted s LEFT JOIN medians m USING (relation, index_name)
WHERE s.round = 0 AND s.wall_us > 8192 AND s.rows > 100
ORDER BY s.relation, m.cost DESC NULLS LAST, s.index_name;
