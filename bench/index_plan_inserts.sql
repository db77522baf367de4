-- Batches of 20,000 rows like those that are there, with new keys, for bench/index_plan inserts.

SET client_min_messages = warning;

\ir cpu_seconds.sql

-- The rows of a few days, a year later; :run makes their keys new.
DROP TABLE IF EXISTS bench.recent_events, bench.recent_allocations, bench.recent_postings, bench.recent_dead;
CREATE TABLE bench.recent_events AS
SELECT e.* FROM attribution.attribution_events e ORDER BY e.occurred_at DESC LIMIT 20000;
CREATE TABLE bench.recent_allocations AS
SELECT a.* FROM attribution.attribution_allocations a WHERE a.model_version <> 'ads' ORDER BY a.created_at DESC LIMIT 20000;
CREATE TABLE bench.recent_postings AS
SELECT l.* FROM attribution.revenue_ledger l WHERE l.allocation_id IS NOT NULL ORDER BY l.posted_at DESC LIMIT 20000;
CREATE TABLE bench.recent_dead AS
SELECT d.* FROM attribution.dead_events d ORDER BY d.ingested_at DESC LIMIT 20000;

CREATE OR REPLACE PROCEDURE bench.make_batch(target text, run integer)
    SET client_min_messages = warning
    LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS pg_temp.batch;
    EXECUTE format('CREATE TEMP TABLE batch (LIKE attribution.%I)', target);
    CASE target
    WHEN 'attribution_events' THEN
        INSERT INTO pg_temp.batch
        SELECT e.tenant_id, CASE WHEN e.event_type = 'touch' THEN bench.time_id(e.occurred_at + run * interval '1 year', hashtext(e.id::text), run)
                                 ELSE md5(run || e.id::text)::uuid END AS id,
               e.event_type, e.occurred_at + run * interval '1 day', e.external_event_id || ':' || run, e.correlation_id || ':' || run, md5(run || e.session_id::text)::uuid,
               e.channel, e.source, e.refund_of, e.revenue_cents, e.raw_payload, e.created_at, e.updated_at
        FROM bench.recent_events e ORDER BY e.occurred_at;
    WHEN 'attribution_allocations' THEN
        INSERT INTO pg_temp.batch
        SELECT a.tenant_id, bench.time_id(a.created_at + run * interval '1 day', hashtext(a.id::text), run) AS id, md5(run || a.event_id::text)::uuid, a.model_version, a.channel,
               a.weight, a.allocation_ratio, a.allocated_revenue_cents, a.model_metadata, a.correlation_id, a.created_at + run * interval '1 day', a.updated_at
        FROM bench.recent_allocations a ORDER BY a.created_at, a.event_id, a.model_version;
    WHEN 'revenue_ledger' THEN
        -- A third of them verified and reversed already, so that the partial indexes have something to do.
        INSERT INTO pg_temp.batch
        SELECT l.tenant_id, bench.time_id(l.posted_at + run * interval '1 day', hashtext(l.id::text), run) AS id, l.conversion_id,
               CASE WHEN v.place <> 2 THEN md5(run || l.id::text)::uuid END, CASE WHEN v.place = 2 THEN md5(run || l.id::text)::uuid END,
               CASE WHEN v.place = 1 THEN md5(run || l.tenant_id::text)::uuid END, l.revenue_cents, v.place = 1, CASE WHEN v.place = 1 THEN l.posted_at END,
               l.posted_at, l.created_at, l.updated_at + run * interval '1 day'
        FROM bench.recent_postings l, LATERAL (SELECT abs(hashtext(l.id::text)) % 3) AS v (place) ORDER BY l.posted_at, l.id;
    WHEN 'dead_events' THEN
        INSERT INTO pg_temp.batch
        SELECT d.tenant_id, bench.time_id(d.ingested_at + run * interval '1 year', hashtext(d.id::text), run) AS id, d.ingested_at + run * interval '1 day', d.source, d.error_code, d.error_detail,
               d.raw_payload, d.correlation_id, d.external_event_id, d.topic, d.headers, d.retry_count, d.last_retry_at, d.next_retry_at, d.resolved_at, d.resolution,
               d.resolved_by, d.resolved_event_id, d.resolution_note
        FROM bench.recent_dead d ORDER BY d.ingested_at;
    WHEN 'reconciliation_runs' THEN
        INSERT INTO pg_temp.batch
        SELECT r.tenant_id, bench.time_id(r.last_run_at + run * interval '1 year', hashtext(r.id::text), run) AS id, 'completed', r.last_run_at + run * interval '1 day',
               r.error_message, r.run_metadata, r.occurred_from, r.occurred_to, r.backend_pid, r.backend_start, r.created_at, r.updated_at
        FROM attribution.reconciliation_runs r ORDER BY r.last_run_at DESC LIMIT 20000;
    END CASE;
END $$;

CREATE OR REPLACE FUNCTION bench.insert_batch(target text, OUT rows bigint, OUT wall_us numeric, OUT cpu_us numeric)
    LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    cpu numeric;
BEGIN
    begun := clock_timestamp();
    cpu := bench.cpu_seconds();
    EXECUTE format('INSERT INTO attribution.%I SELECT * FROM pg_temp.batch', target);
    GET DIAGNOSTICS rows = ROW_COUNT;
    cpu_us := (bench.cpu_seconds() - cpu) * 1e6;
    wall_us := extract(epoch FROM clock_timestamp() - begun) * 1e6;
END $$;
