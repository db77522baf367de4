-- Prints the medians of the runs in the file :runs (tab-separated, one line per run), and what memory they took.

CREATE TABLE runs (
    shape text, allocations integer, round integer, variant text,
    seconds numeric, cpu_seconds numeric, wal_bytes numeric,
    anon_start_kb integer, anon_middle_kb integer, anon_end_kb integer, anon_max_kb integer, hwm_kb integer);
COPY runs FROM :'runs';

CREATE VIEW medians AS
SELECT shape, allocations, variant, count(*) AS rounds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu_seconds) AS cpu_seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY wal_bytes) AS wal_bytes,
       max(seconds) / min(seconds) AS spread
FROM runs GROUP BY shape, allocations, variant;

\pset footer off
SELECT m.shape, m.allocations, m.variant,
       round(m.seconds::numeric, 3) AS "s",
       round((m.seconds / m.allocations * 1e6)::numeric, 2) AS "us each",
       round((m.seconds / l.seconds)::numeric, 2) AS "x limit",
       round((m.seconds / k.seconds)::numeric, 2) AS "x check",
       round((m.seconds / s.seconds * s.allocations / m.allocations)::numeric, 2) AS growth,
       round((m.cpu_seconds / m.allocations * 1e6)::numeric, 2) AS "cpu us each",
       round((m.cpu_seconds / l.cpu_seconds)::numeric, 2) AS "cpu x limit",
       round((m.cpu_seconds / k.cpu_seconds)::numeric, 2) AS "cpu x check",
       round((m.cpu_seconds / s.cpu_seconds * s.allocations / m.allocations)::numeric, 2) AS "cpu growth",
       round((m.wal_bytes / 1e6)::numeric, 1) AS "wal MB",
       round((m.wal_bytes / l.wal_bytes)::numeric, 2) AS "wal x limit",
       m.rounds, round(m.spread, 2) AS spread
FROM medians m
    JOIN medians l ON l.shape = m.shape AND l.allocations = m.allocations AND l.variant = 'limit'
    LEFT JOIN medians k ON k.shape = m.shape AND k.allocations = m.allocations AND k.variant = 'check'
    JOIN LATERAL (
        SELECT * FROM medians s WHERE s.shape = m.shape AND s.variant = m.variant ORDER BY s.allocations LIMIT 1
    ) s ON true
ORDER BY array_position('{statement,statements,transactions}', m.shape), m.allocations,
         array_position('{limit,check,captured,statement_trigger,row_trigger,today,ours,batches}', m.variant);

-- Memory of the backend in its last round.
SELECT DISTINCT ON (r.shape, r.allocations, r.variant) r.shape, r.allocations, r.variant,
       round(anon_start_kb / 1024.0, 1) AS "anon MB: start", round(anon_middle_kb / 1024.0, 1) AS middle,
       round(anon_end_kb / 1024.0, 1) AS "end", round(anon_max_kb / 1024.0, 1) AS max,
       round(hwm_kb / 1024.0, 1) AS "VmHWM MB"
FROM runs r
ORDER BY r.shape, r.allocations, r.variant, r.round DESC;
