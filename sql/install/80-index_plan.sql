-- index_plan: why each index exists, for which query, and how fast that must be. check_index_plan() compares it with
-- the server, index_report() with what the server does. The table and its rows are in sql/tables. Functions that read it
-- have their text in quotes: BEGIN ATOMIC would make them depend on a table that is no part of the extension.

CREATE FUNCTION attribution_internal.index_obstacle(index_name name, is_insertion boolean) RETURNS text
    LANGUAGE c VOLATILE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_indexscan = on
    SET enable_bitmapscan = on
    AS 'MODULE_PATHNAME', 'attribution_index_obstacle';
COMMENT ON FUNCTION attribution_internal.index_obstacle(name, boolean) IS
'Why an index cannot serve the sample query of the plan, or its insertion check; NULL when it can: with enable_seqscan off, and as if it were the only index of its table, the planner reads it by its first column or because its predicate holds, or ON CONFLICT chooses it. Plans and executes nothing.';
REVOKE ALL ON FUNCTION attribution_internal.index_obstacle(name, boolean) FROM PUBLIC;

-- Entries are 8 bytes and the key, and 4 that point at them; equal keys of an index that is not unique share one,
-- with 6 bytes a row, where equal keys are equal bytes and there is nothing but keys. Pages are 90 % full when an index
-- is built, unless it says otherwise.
CREATE FUNCTION attribution_internal.index_bloat(index_id oid) RETURNS numeric
    LANGUAGE sql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT round(greatest(0, 1 - least(1, ceil(1 + b.bytes / ((b.block_size - 40) * b.fill)) * 1.01 / nullif(b.pages, 0))), 3)
    FROM (
        SELECT k.pages, k.block_size, k.fill,
               CASE WHEN k.is_shared AND k.distinct_keys < k.tuples
                    THEN 6 * k.tuples + (16 + k.key_bytes) * greatest(k.distinct_keys, k.tuples * 6 / 800)
                    ELSE k.tuples * (12 + k.key_bytes) END AS bytes
        FROM (
            SELECT c.reltuples::numeric AS tuples,
                   current_setting('block_size')::numeric AS block_size,
                   pg_relation_size(i.indexrelid) / current_setting('block_size')::numeric AS pages,
                   8 * ceil(sum(coalesce(s.avg_width, CASE WHEN a.attlen > 0 THEN a.attlen ELSE 16 END)) / 8.0) AS key_bytes,
                   coalesce((SELECT o.option_value::numeric FROM pg_options_to_table(c.reloptions) o
                             WHERE o.option_name = 'fillfactor'), 90) / 100 AS fill,
                   -- An operator class says by its function 4 that equal keys are equal bytes.
                   NOT i.indisunique AND i.indnkeyatts = i.indnatts
                   AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
                                   WHERE o.option_name = 'deduplicate_items' AND NOT o.option_value::boolean)
                   AND bool_and(EXISTS (SELECT FROM pg_opclass f JOIN pg_amproc e ON e.amprocfamily = f.opcfamily
                                        AND e.amproclefttype = f.opcintype AND e.amprocrighttype = f.opcintype AND e.amprocnum = 4
                                        WHERE f.oid = i.indclass[x.attnum - 1])
                                AND NOT EXISTS (SELECT FROM pg_collation l
                                                WHERE l.oid = i.indcollation[x.attnum - 1] AND NOT l.collisdeterministic)) AS is_shared,
                   -- Columns as if they were independent, in logarithms: a product may be too large for a number.
                   CASE WHEN c.reltuples > 0 THEN exp(least(ln(c.reltuples::numeric), sum(ln(greatest(1, CASE
                       WHEN s.n_distinct IS NULL THEN c.reltuples
                       WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(1, t.reltuples)
                       ELSE s.n_distinct END)::numeric)))) ELSE 0 END AS distinct_keys
            FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_class t ON t.oid = i.indrelid
            JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
            JOIN pg_attribute x ON x.attrelid = i.indexrelid AND x.attnum > 0
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[x.attnum - 1]
            LEFT JOIN pg_namespace n ON n.oid = t.relnamespace
            LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname AND NOT s.inherited
            WHERE i.indexrelid = index_bloat.index_id AND 0 <> ALL (i.indkey::smallint[]) AND c.reltuples >= 0 AND t.reltuples >= 0
            GROUP BY i.indexrelid, i.indisunique, i.indnkeyatts, i.indnatts, c.reltuples, c.reloptions, t.reltuples) k
        ) b;
$$;
COMMENT ON FUNCTION attribution_internal.index_bloat(oid) IS
'The share of a btree''s pages that REINDEX would free, estimated from statistics: 0 to 1. Random insertions leave a healthy index at 0.2 to 0.3. NULL for an index that was never vacuumed or analyzed, or is no btree of columns alone.';
REVOKE ALL ON FUNCTION attribution_internal.index_bloat(oid) FROM PUBLIC;

CREATE FUNCTION attribution_internal.lock_planned() RETURNS void
    LANGUAGE c VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_lock_planned';
COMMENT ON FUNCTION attribution_internal.lock_planned() IS
'Locks the tables and materialized views of index_plan in ACCESS SHARE mode, as a query of them does, until the transaction ends: none of their indexes goes meanwhile.';
REVOKE ALL ON FUNCTION attribution_internal.lock_planned() FROM PUBLIC;

CREATE FUNCTION attribution.check_index_plan(
    OUT index_name name, OUT relation name, OUT state text, OUT exists_as_declared boolean, OUT is_valid boolean,
    OUT is_of_right_kind boolean, OUT can_serve boolean, OUT bloat_ratio numeric, OUT problem text)
    RETURNS SETOF record
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off -- definitions are compared as text
AS $$
    SELECT attribution_internal.lock_planned(); -- before the catalog is read
    SELECT c.index_name, c.relation, c.state, c.exists_as_declared, c.is_valid, c.is_of_right_kind,
           CASE WHEN c.indexrelid IS NOT NULL THEN c.obstacle IS NULL END,
           CASE WHEN c.indexrelid IS NOT NULL THEN attribution_internal.index_bloat(c.indexrelid) END,
           CASE
               WHEN c.indexrelid IS NULL AND c.state = 'deferred' THEN NULL
               WHEN c.indexrelid IS NULL THEN 'does not exist'
               WHEN NOT c.is_valid THEN 'is not valid: REINDEX it'
               WHEN NOT c.is_of_right_kind THEN 'is of another kind: ' || c.actual
               WHEN NOT c.exists_as_declared THEN 'is declared differently: ' || c.actual
               ELSE c.obstacle
           END
    FROM (
        SELECT p.index_name, p.relation, p.state, i.indexrelid,
               pg_get_indexdef(i.indexrelid) AS actual,
               CASE WHEN i.indexrelid IS NOT NULL OR p.state = 'active' THEN
                   i.indexrelid IS NOT NULL AND pg_get_indexdef(i.indexrelid) = p.definition
                   AND t.relname = p.relation AND t.relnamespace = x.relnamespace END AS exists_as_declared,
               i.indisvalid AND i.indisready AND i.indislive AS is_valid,
               m.amname = substring(p.definition FROM ' USING ([a-z]+) ') AND i.indisunique = (p.definition LIKE 'CREATE UNIQUE INDEX %')
                   AND i.indisprimary = (p.serves = 'primary key') AND i.indimmediate AS is_of_right_kind,
               CASE WHEN i.indexrelid IS NOT NULL THEN coalesce(
                   attribution_internal.index_obstacle(p.index_name, false),
                   CASE WHEN p.insertion_check IS NOT NULL THEN attribution_internal.index_obstacle(p.index_name, true) END) END AS obstacle
        FROM attribution.index_plan p
        LEFT JOIN pg_class x ON x.relname = p.index_name AND x.relkind IN ('i', 'I')
            AND x.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
        LEFT JOIN pg_am m ON m.oid = x.relam
        LEFT JOIN pg_index i ON i.indexrelid = x.oid
        LEFT JOIN pg_class t ON t.oid = i.indrelid) c
    ORDER BY c.index_name;
$$;
COMMENT ON FUNCTION attribution.check_index_plan() IS
'One row per index of index_plan: whether it exists as declared, is valid and of the right kind (access method, unique, primary), and can serve its sample query and its insertion check (see index_obstacle; the insertion check needs a server that is no standby); the share of its pages that REINDEX would free, estimated (NULL before VACUUM or ANALYZE; no problem in itself); and the problem, NULL when there is none. A deferred index is no problem as long as it does not exist, or exists as declared. Plans the queries and runs none; takes the locks of reading and inserting.';
REVOKE ALL ON FUNCTION attribution.check_index_plan() FROM PUBLIC;

CREATE FUNCTION attribution.index_report(
    min_age interval DEFAULT '30 days',
    OUT index_name name, OUT relation name, OUT is_planned boolean, OUT scans bigint, OUT tuples_read bigint, OUT tuples_fetched bigint,
    OUT size_bytes bigint, OUT entries_written numeric, OUT write_share numeric, OUT last_scan timestamptz,
    OUT counters_since timestamptz, OUT verdict text, OUT reason text)
    RETURNS SETOF record
    LANGUAGE sql STABLE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.index_name, r.relation, r.query_path IS NOT NULL, r.scans, r.tuples_read, r.tuples_fetched, r.size_bytes,
           r.entries_written, round(r.entries_written / nullif(sum(r.entries_written) OVER (PARTITION BY r.table_id), 0), 4),
           r.last_scan, r.counters_since, v.verdict, v.reason
    FROM (
        SELECT s.indexrelid, s.indexrelname AS index_name, s.relid AS table_id, s.relname AS relation, p.query_path,
               s.idx_scan AS scans, s.idx_tup_read AS tuples_read, s.idx_tup_fetch AS tuples_fetched,
               pg_relation_size(s.indexrelid) AS size_bytes,
               -- An update in place writes no entry; a partial index has entries of some rows only.
               round((t.n_tup_ins + t.n_tup_upd - t.n_tup_hot_upd)
                     * CASE WHEN i.indpred IS NULL OR x.reltuples < 0 OR h.reltuples <= 0 THEN 1
                            ELSE least(1, x.reltuples::numeric / h.reltuples::numeric) END) AS entries_written,
               -- Known from PostgreSQL 16 on.
               (to_jsonb(s) ->> 'last_idx_scan')::timestamptz AS last_scan,
               -- A new database has no counters of its own time: nothing was scanned in it before it was there.
               greatest(c.since, f.installed_at, p.created_at) AS counters_since,
               i.indisvalid AND i.indisready AND i.indislive AS is_valid, i.indisprimary, i.indisunique, i.indisexclusion,
               i.indisreplident, i.indisclustered,
               i.indpred IS NOT NULL AS is_partial,
               -- It begins with columns of the key alone, those that select among them: the tenant's rows may be many. Of
               -- whatever access method: equality is what all of them can look for.
               (SELECT string_agg(k.conname, ', ' ORDER BY k.conname)
                FROM pg_constraint k
                WHERE k.conrelid = i.indrelid AND k.contype = 'f' AND EXISTS (
                    SELECT FROM generate_series(1, cardinality(k.conkey)) AS n
                    WHERE (i.indkey::smallint[])[0:n - 1] <@ k.conkey
                      AND (SELECT array_agg(a.attnum) FROM pg_attribute a
                           WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
                             AND (a.attname <> 'tenant_id' OR cardinality(k.conkey) = 1)) <@ (i.indkey::smallint[])[0:n - 1])) AS foreign_keys
        FROM pg_stat_user_indexes s
        JOIN pg_index i ON i.indexrelid = s.indexrelid
        JOIN pg_class x ON x.oid = s.indexrelid
        JOIN pg_class h ON h.oid = s.relid
        JOIN pg_stat_user_tables t ON t.relid = s.relid
        LEFT JOIN attribution.index_plan p ON p.index_name = s.indexrelname AND p.state = 'active'
        -- A crash empties all counters, and says so only where it set them anew.
        CROSS JOIN (
            SELECT greatest(d.stats_reset, least(b.stats_reset, w.stats_reset, a.stats_reset)) AS since
            FROM pg_stat_database d, pg_stat_bgwriter b, pg_stat_wal w, pg_stat_archiver a
            WHERE d.datname = current_database()) c
        CROSS JOIN attribution_internal.installation f
        WHERE s.schemaname IN ('attribution', 'attribution_internal')) r
    CROSS JOIN LATERAL (SELECT
        CASE
            WHEN NOT r.is_valid THEN 'invalid'
            WHEN r.scans > 0 THEN 'used'
            WHEN r.indisprimary OR r.indisunique OR r.indisexclusion OR r.indisreplident OR r.indisclustered
                 OR r.foreign_keys IS NOT NULL OR r.is_partial THEN 'needed'
            WHEN NOT current_setting('track_counts')::boolean THEN 'unknown'
            WHEN r.counters_since IS NULL OR r.counters_since > now() - index_report.min_age THEN 'unknown'
            ELSE 'droppable'
        END AS verdict,
        CASE
            WHEN NOT r.is_valid THEN 'not valid: REINDEX or drop it'
            WHEN r.scans > 0 THEN 'scanned since the counters run'
            WHEN r.indisprimary THEN 'not scanned, but the primary key'
            WHEN r.indisunique THEN 'not scanned, but keeps rows unique: insertions check it without counting as scans'
            WHEN r.indisexclusion THEN 'not scanned, but an exclusion constraint: insertions check it without counting as scans'
            WHEN r.indisreplident THEN 'not scanned, but the replica identity'
            WHEN r.indisclustered THEN 'not scanned, but CLUSTER orders the table by it'
            WHEN r.foreign_keys IS NOT NULL THEN 'not scanned, but serves ' || r.foreign_keys || ' when a referenced row goes'
            WHEN r.is_partial THEN 'not scanned, but partial: it costs its few rows only, and is there for the day they are many'
            WHEN NOT current_setting('track_counts')::boolean THEN 'not scanned, but nothing is counted: track_counts is off'
            WHEN r.counters_since IS NULL THEN 'not scanned, since nobody knows when'
            WHEN r.counters_since > now() - index_report.min_age THEN 'not scanned, but the counters are younger than ' || index_report.min_age
            WHEN r.query_path IS NOT NULL THEN 'not scanned: droppable if nothing here asks for "' || r.query_path || '"'
            ELSE 'not scanned, and not of the plan'
        END AS reason) v
    ORDER BY r.relation, r.index_name;
$$;
COMMENT ON FUNCTION attribution.index_report(interval) IS
'Every index on the tables of the extension, those of users among them, from the statistics of this server: scans, tuples, size in bytes; entries written to it (inserts and updates that are not in place, for a partial index the share of rows in it; an estimate) and their share in those of all indexes of the table; last scan (NULL before PostgreSQL 16); since when the counters run, at the latest: since they were emptied, or the extension was installed (an index of yours may be younger). verdict: used; needed (not scanned, but a primary key, unique, an exclusion constraint, a replica identity, what CLUSTER orders by, serving a foreign key, or partial); unknown (not scanned, but the counters are younger than min_age, or track_counts is off); droppable; invalid. Counters are those of this server alone: a standby has its own.';
REVOKE ALL ON FUNCTION attribution.index_report(interval) FROM PUBLIC;
