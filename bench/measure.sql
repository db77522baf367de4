-- Writes all events of this database in the way of :shape and prints: seconds, seconds of the backend's
-- CPU, bytes of WAL. Then checks what is in the table; that is not timed. The process id is in the file
-- :begun while the clock runs, and the file :ended is written after it: the sampler of memory reads them.

SET client_min_messages = warning;

-- Every page that will be read is in memory, and no checkpoint is due.
SELECT count(pg_prewarm(c.oid)) AS relations
FROM pg_class c
WHERE c.relnamespace IN ('bench'::regnamespace, 'attribution'::regnamespace, 'pg_catalog'::regnamespace)
    AND c.relkind IN ('r', 'i') \gset
CHECKPOINT;

-- The first call in a session reads catalogs and makes plans.
BEGIN;
CALL bench.write_one(1);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;

SELECT pg_backend_pid() AS pid \gset
\o :begun
\qecho :pid
\o

SELECT pg_current_wal_insert_lsn() AS lsn, bench.cpu_seconds() AS cpu, clock_timestamp() AS clock \gset
CALL bench.write(:'shape', :events);
SELECT extract(epoch FROM clock_timestamp() - :'clock') AS seconds, bench.cpu_seconds() - :cpu AS cpu_seconds,
       pg_current_wal_insert_lsn() - :'lsn'::pg_lsn AS wal_bytes;
\o :ended
\qecho
\o

-- `today` breaks ties differently, and two right answers differ by a cent at most. All others give the same
-- rows to the bit.
SELECT count(*) = 5 * (:events + 20000) AND count(p.number) = 5 * :events AS complete,
       (SELECT count(*) FROM attribution.unbalanced_allocations()) = 0 AS balanced
FROM attribution.attribution_allocations a
    LEFT JOIN bench.allocations p ON p.tenant_id = a.tenant_id AND p.event_id = a.event_id
        AND p.model_version = a.model_version AND p.channel = a.channel
        AND CASE WHEN :'variant' = 'today' THEN abs(p.allocated_revenue_cents - a.allocated_revenue_cents) <= 1
            ELSE (p.id, p.weight::text, p.allocation_ratio, p.allocated_revenue_cents, p.correlation_id)
                IS NOT DISTINCT FROM (a.id, a.weight::text, a.allocation_ratio, a.allocated_revenue_cents, a.correlation_id)
            END \gset
-- What is captured is logged, every event, of a view that is known; else nothing is.
SELECT CASE WHEN :'variant' IN ('batches', 'ours', 'captured')
            THEN count(DISTINCT (c.tenant_id, c.event_id)) = :events
                AND attribution_internal.refresh_doubt('mv_allocation_summary') IS NULL
            ELSE count(*) = 0 END AS logged
FROM attribution_internal.allocation_summary_changes c \gset
\if :complete
\else
DO $$ BEGIN RAISE EXCEPTION 'rows are missing or wrong'; END $$;
\endif
\if :balanced
\else
DO $$ BEGIN RAISE EXCEPTION 'sums are wrong'; END $$;
\endif
\if :logged
\else
DO $$ BEGIN RAISE EXCEPTION 'the log of changes is wrong'; END $$;
\endif
