-- The tables of bench/index_plan, from its figures.

\pset footer off
\pset null -
SET client_min_messages = warning;
CREATE TEMP TABLE figures (
    size bigint, mode text, path text, kind text, answer text, target_ms integer, samples bigint, p50 numeric, p95 numeric, p99 numeric, mean numeric,
    rows_read numeric, rows_per_second numeric, plan text);
COPY figures FROM :'figures' WITH (NULL '');
CREATE TEMP TABLE inserted (relation text, index_name text, round integer, variant text, rows numeric, wall_us numeric, cpu_us numeric);
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

\echo 'Growth: p50 and p95 while warm, milliseconds, and the rows read, at each size; and how many times as much for ten times the events.'
SELECT coalesce(s[1], 0) AS s1, coalesce(s[2], 0) AS s2, coalesce(s[3], 0) AS s3, 'p95 ' || coalesce(s[1], 0) AS c1, 'p95 ' || coalesce(s[2], 0) AS c2, 'p95 ' || coalesce(s[3], 0) AS c3
FROM (SELECT array_agg(DISTINCT size ORDER BY size) FROM figures WHERE mode = 'warm') AS x (s) \gset
CREATE FUNCTION pg_temp.a_decade(a numeric, b numeric, a_size bigint, b_size bigint) RETURNS numeric LANGUAGE sql
    RETURN CASE WHEN a > 0 AND b > 0 AND a_size > 0 AND b_size > a_size THEN round(exp(ln(b / a) / log(b_size::numeric / a_size)), 1) END;
SELECT p.path, p.answer, pg_temp.ms(a.p95) AS :"c1", pg_temp.ms(b.p95) AS :"c2", pg_temp.ms(c.p95) AS :"c3",
       pg_temp.a_decade(a.p95, b.p95, :s1, :s2) AS "x", pg_temp.a_decade(b.p95, c.p95, :s2, :s3) AS "then x",
       pg_temp.a_decade(a.p50, b.p50, :s1, :s2) AS "p50 x", pg_temp.a_decade(b.p50, c.p50, :s2, :s3) AS "then x",
       round(a.rows_read) AS "rows read", round(b.rows_read) AS "then", round(c.rows_read) AS "then"
FROM (SELECT DISTINCT path, kind, answer FROM figures WHERE mode = 'warm') p
LEFT JOIN figures a ON a.mode = 'warm' AND a.size = :s1 AND a.path = p.path
LEFT JOIN figures b ON b.mode = 'warm' AND b.size = :s2 AND b.path = p.path
LEFT JOIN figures c ON c.mode = 'warm' AND c.size = :s3 AND c.path = p.path
ORDER BY array_position('{query,insertion,api}', p.kind), p.path;

\echo 'Plans, with the planner as it is: from the root to the leaves; * a subplan.'
SELECT f.path, f.plan FROM figures f
WHERE f.mode = 'warm' AND f.size = (SELECT max(size) FROM figures WHERE mode = 'warm') ORDER BY array_position('{query,insertion,api}', f.kind), f.path;

\echo 'Through row security: a reader beside a superuser, rounds in turn.'
SELECT r.size, r.path, r.samples, pg_temp.ms(r.p50) AS "reader p50", pg_temp.ms(s.p50) AS "superuser p50", pg_temp.ms(r.p95) AS "reader p95", pg_temp.ms(s.p95) AS "superuser p95",
       round(r.p50 / s.p50, 2) AS "p50 x", round(r.p95 / s.p95, 2) AS "p95 x"
FROM figures r JOIN figures s ON s.mode = 'superuser' AND s.size = r.size AND s.path = r.path
WHERE r.mode = 'reader' ORDER BY r.size, r.path;

\echo 'What each index costs when rows are inserted: CPU with it and without it, pairs in turn, medians of their ratios.'
WITH pairs AS (
    SELECT w.relation, w.index_name, a.cpu_us / a.rows AS whole, 1 - w.cpu_us / a.cpu_us AS share
    FROM inserted w JOIN inserted a ON a.index_name = w.index_name AND a.round = w.round AND a.variant = 'all' WHERE w.variant = 'without'),
whole AS (SELECT relation, percentile_cont(0.5) WITHIN GROUP (ORDER BY whole)::numeric AS whole FROM pairs GROUP BY relation),
medians AS (
    SELECT relation, index_name, count(*) AS pairs, percentile_cont(0.5) WITHIN GROUP (ORDER BY share)::numeric AS share,
           percentile_cont(0.25) WITHIN GROUP (ORDER BY share)::numeric AS low, percentile_cont(0.75) WITHIN GROUP (ORDER BY share)::numeric AS high
    FROM pairs GROUP BY relation, index_name)
SELECT s.index_name, round(100 * m.share) AS "% of the insert", round(100 * m.low) AS "25 %", round(100 * m.high) AS "75 %", round(m.share * w.whole, 2) AS "us a row",
       round(w.whole, 1) AS "all indexes us a row", m.pairs, round(s.wall_us / s.rows, 1) AS "bytes a row", round(s.cpu_us / s.rows, 1) AS "table bytes a row"
FROM inserted s LEFT JOIN medians m USING (relation, index_name) LEFT JOIN whole w USING (relation)
WHERE s.variant = 'size' AND s.rows > 2000
ORDER BY s.relation, m.share DESC NULLS LAST, s.index_name;
