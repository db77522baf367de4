#!/bin/bash
# Logical replication of the tables, by the commands of doc/backup-physical.md: what works, and how loudly the rest fails. After
# each step every table of the publication, found by the catalog, has the rows of the publisher. (How views follow rows
# that are applied is in the suite refresh.)

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

a="'aaaaaaaa-0000-4000-8000-000000000000'"
# What every database has of its own.
own='^(currencies|index_plan|schema_version|refresh_.*)$'

main() {
    server_start 'wal_level = logical' 'wal_retrieve_retry_interval = 200ms' 'max_worker_processes = 20' \
        'max_logical_replication_workers = 12' 'max_sync_workers_per_subscription = 6'
    make_publisher
    whole_schema_collides
    by_the_page
    streaming
    both_write
    owners_column
    is "$(grep -E 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" '' 'no backend ended by itself'
    server_stop
    suite_end
}

# ask DATABASE STATEMENT...
ask() {
    local database=$1 statement words=()
    shift
    for statement; do words+=(-c "$statement"); done
    psql -XqAtd "$database" -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "${words[@]}"
}

# wait_for SECONDS DATABASE QUERY: until the query says t.
wait_for() {
    local deadline=$((SECONDS + $1))
    until [ "$(ask "$2" "$3" 2>&1)" = t ]; do
        [ $SECONDS -lt $deadline ] || { not_ok "within $1 s: $3"; return 0; }
        sleep 0.05
    done
}

make_publisher() {
    fresh_database published 'CREATE EXTENSION attribution'
    psql -Xq -v ON_ERROR_STOP=1 -o /dev/null <<'SQL'
SET client_min_messages = warning;
INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 3);
INSERT INTO attribution.tenants (id, name, currency) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a', 'USD'), ('bbbbbbbb-0000-4000-8000-000000000000', 'b', 'XTS');
SELECT attribution.define_model(id, 'm', 'position_based') FROM attribution.tenants;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, revenue_cents, external_event_id)
SELECT t.id, coalesce(attribution.keyed_event_id(t.id, CASE k WHEN 'conversion' THEN 'order:' || n END, NULL), md5(t.name || n)::uuid), k, '2026-01-01Z'::timestamptz + n * interval '1 minute', md5('session ' || n)::uuid,
       CASE k WHEN 'touch' THEN 'channel ' || n % 5 END, CASE k WHEN 'conversion' THEN 100 + n ELSE 0 END, CASE k WHEN 'conversion' THEN 'order:' || n END
FROM attribution.tenants t, generate_series(1, 500) AS n, unnest('{touch,conversion}'::text[]) AS k;
SELECT attribution.ingest_event(e.tenant_id, 'shop', 'refund', e.occurred_at + interval '1 day', -5, 'refund:' || e.external_event_id, refund_of => e.id)
FROM attribution.attribution_events e WHERE e.event_type = 'conversion' AND e.revenue_cents % 10 = 0;
CALL attribution.allocate_events('aaaaaaaa-0000-4000-8000-000000000000', 'm');
SELECT attribution.post_allocations(id, 'm', NULL, '2026-01-01 04:00Z') FROM attribution.tenants;
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'completed' FROM attribution.tenants;
SELECT attribution.ingest_webhook('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'orders/paid', '{"id": null}');
CALL attribution.refresh_all();
SQL
}

# subscriber NAME PUBLICATION...: a database with empty tables that subscribes. Both are of one server, so the slot
# comes first.
subscriber() {
    local name=$1
    shift
    fresh_database "$name" 'CREATE EXTENSION attribution'
    subscribe "$name" "$@"
}

subscribe() {
    local name=$1 publications
    shift
    publications=$(IFS=,; echo "$*")
    ask published "SELECT pg_create_logical_replication_slot('$name', 'pgoutput')" >/dev/null
    ask "$name" "CREATE SUBSCRIPTION $name CONNECTION 'host=$PGHOST port=$PGPORT user=postgres dbname=published' PUBLICATION $publications WITH (create_slot = false)"
}

unsubscribe() {
    ask "$1" "DROP SUBSCRIPTION $1"
}

copied() {
    wait_for 30 "$1" "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
}

# Until the subscriber has what the publisher has committed by now.
caught_up() {
    wait_for 30 published "SELECT bool_and(replay_lsn >= '$(ask published 'SELECT pg_current_wal_insert_lsn()')') FROM pg_stat_replication WHERE application_name = '$1'"
}

rows() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -v leave_out="$own" -v extra='[.]owner_' -f "$ATTRIBUTION_ROOT/test/suites/tables.sql"
}

# same_rows SUBSCRIBER TEXT
same_rows() {
    is "$(rows "$1")" "$(rows published)" "$2: every table has the rows of the publisher"
}

# holds SUBSCRIBER TEXT: the sums and, after a refresh, the views.
holds() {
    ask "$1" 'CALL attribution.refresh_all()'
    is "$(ask "$1" "SELECT (SELECT count(*) FROM attribution.unbalanced_allocations()), (SELECT count(*) FROM attribution.tenants t, attribution.conservation(t.id) c WHERE c.holds IS NOT TRUE),
                           (SELECT count(doubt) FROM attribution.refresh_status)")" '0|0|0' "$2: sums and views hold"
}

# --- The whole schema ---------------------------------------------------------------------------------

# The rows that CREATE EXTENSION brought are there already: their tables are not copied, and say so; the others are.
whole_schema_collides() {
    ask published 'CREATE PUBLICATION whole FOR TABLES IN SCHEMA attribution'
    subscriber collides whole
    wait_for 30 collides "SELECT count(*) FILTER (WHERE srsubstate <> 'r') BETWEEN 1 AND 3 FROM pg_subscription_rel"
    is "$(ask collides "SELECT string_agg(srrelid::regclass::text, ' ' ORDER BY srrelid::regclass::text) FROM pg_subscription_rel
                        WHERE srsubstate <> 'r' AND srrelid::regclass::text NOT IN ('attribution.schema_version', 'attribution.index_plan')")" 'attribution.currencies' \
        'a publication of the whole schema: rows that both have collide'
    is "$(ask collides 'SELECT sum(sync_error_count) > 0 FROM pg_stat_subscription_stats')" t 'which pg_stat_subscription_stats tells'
    same_rows collides 'the rest is copied all the same'
    unsubscribe collides
}

# --- The commands of the page -------------------------------------------------------------------------

# The block of the page that begins with the comment.
page() {
    awk '/^```/ { inside = 0 } inside; /^```sql/ { getline; if (index($0, mark)) inside = 1 }' mark="-- $1" "$ATTRIBUTION_ROOT/doc/backup-physical.md"
}

by_the_page() {
    page 'on the publisher' | psql -Xqd published -v ON_ERROR_STOP=1
    is "$(ask published "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class c WHERE relnamespace = 'attribution'::regnamespace AND relkind IN ('r', 'p')
                         AND NOT EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname LIKE 'attribution%' AND p.schemaname = 'attribution' AND p.tablename = c.relname)
                         AND relname !~ '$own'")" '' 'the publication of the page has every table'
    subscriber copy attribution attribution_currencies
    copied copy
    same_rows copy 'the initial copy'
    is "$(ask copy "SELECT count(*) FROM attribution.currencies WHERE NOT is_shipped")" 1 'the initial copy: and the currencies that were added'
    is "$(ask copy 'SELECT count(*) FROM attribution.refresh_status WHERE doubt IS NULL')" 0 'no view passes for right'
    holds copy 'the initial copy'
}

# --- Streaming ----------------------------------------------------------------------------------------

streaming() {
    psql -Xqd published -v ON_ERROR_STOP=1 -o /dev/null <<SQL
SET client_min_messages = warning;
INSERT INTO attribution.currencies (code, decimals) VALUES ('XXX', 0);
INSERT INTO attribution.tenants (id, name, currency) VALUES ('cccccccc-0000-4000-8000-000000000000', 'c', 'XXX');
SELECT attribution.ingest_event('cccccccc-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-05Z', n, 'order:' || n) FROM generate_series(1, 50) AS n;
SELECT attribution.define_model('cccccccc-0000-4000-8000-000000000000', 'm', 'linear');
SELECT attribution.ingest_event(e.tenant_id, 'shop', 'refund', e.occurred_at + interval '2 days', -7, 'second:' || e.external_event_id, refund_of => e.id)
FROM attribution.attribution_events e WHERE e.event_type = 'conversion' AND e.revenue_cents % 20 = 0 AND e.tenant_id = $a;
CALL attribution.allocate_events($a, 'm');
CALL attribution.allocate_events('bbbbbbbb-0000-4000-8000-000000000000', 'm', batch_size => 100);
CALL attribution.allocate_events('cccccccc-0000-4000-8000-000000000000', 'm');
SELECT attribution.post_allocations(id, 'm') FROM attribution.tenants;
SELECT attribution.reverse_posting(l.tenant_id, l.id) FROM attribution.revenue_ledger l JOIN attribution.attribution_events e ON e.tenant_id = l.tenant_id AND e.id = l.conversion_id
WHERE l.tenant_id = $a AND l.allocation_id IS NOT NULL AND l.revenue_cents > 0 ORDER BY l.id LIMIT 5;
SELECT attribution.discard_dead_events($a, note => 'none of ours');
SELECT attribution.erase_personal_data($a, keys => '{order:7}');
UPDATE attribution.tenants SET name = 'renamed' WHERE id = 'bbbbbbbb-0000-4000-8000-000000000000';
SELECT attribution.bind_tenant('postgres', NULL);
DELETE FROM attribution.allocation_runs WHERE tenant_id = 'cccccccc-0000-4000-8000-000000000000';
SELECT jsonb_agg(jsonb_build_object('key', 'order:' || n, 'amount_cents', 100 + n)) AS settlements FROM generate_series(1, 500) AS n \gset
CALL attribution.reconcile($a, :'settlements');
CALL attribution.refresh_all();
SQL
    caught_up copy
    same_rows copy 'events, allocations, postings, refunds, a reconciliation'
    is "$(ask copy "SELECT count(*) FROM attribution.currencies WHERE NOT is_shipped")" 2 'and a currency'
    holds copy 'what was streamed'
    is "$(ask copy 'SELECT sum(apply_error_count) FROM pg_stat_subscription_stats')" 0 'without an error'
    is "$(ask copy "SELECT count(*) FROM attribution.channel_performance($a, 'm')")" "$(ask published "SELECT count(*) FROM attribution.channel_performance($a, 'm')")" 'a subscriber can be read'
}

# --- Conflicts ----------------------------------------------------------------------------------------

# An event that both take in has one id on both: the row that comes collides with the one that is there.
both_write() {
    local event="attribution.ingest_event($a, 'shop', 'conversion', '2026-01-06Z', 100, 'order:both')"
    ask copy "SELECT $event" >/dev/null
    ask published "SELECT $event" "SELECT attribution.ingest_event($a, 'shop', 'conversion', '2026-01-06Z', 100, 'order:after')" >/dev/null
    wait_for 30 copy 'SELECT sum(apply_error_count) > 0 FROM pg_stat_subscription_stats'
    is "$(ask copy "SELECT count(*) FROM attribution.attribution_events WHERE external_event_id = 'order:after'")" 0 'an event that both took in: nothing passes it'
    ask copy "DELETE FROM attribution.attribution_events WHERE external_event_id = 'order:both'"
    caught_up copy
    same_rows copy 'when the row of the subscriber is gone, it goes on'
    holds copy 'and'
}

# --- A column of the owner ------------------------------------------------------------------------------

owners_column() {
    ask copy "ALTER TABLE attribution.attribution_events ADD COLUMN owner_note text DEFAULT 'of the subscriber'" "ALTER TABLE attribution.revenue_ledger ADD COLUMN owner_batch int"
    ask published "SELECT attribution.ingest_event($a, 'shop', 'conversion', '2026-01-07Z', n, 'note:' || n) FROM generate_series(1, 20) AS n" "CALL attribution.allocate_events($a, 'm')" \
        "SELECT attribution.post_allocations($a, 'm')" >/dev/null
    caught_up copy
    same_rows copy 'a column that only the subscriber has'
    is "$(ask copy "SELECT count(*) FROM attribution.attribution_events WHERE external_event_id LIKE 'note:%' AND owner_note = 'of the subscriber'")" 20 'has its default'
    holds copy 'and'

    # One that the publisher has and publishes stops the subscriber until it has it too.
    ask published 'ALTER TABLE attribution.attribution_allocations ADD COLUMN owner_flag boolean'
    ask published "SELECT attribution.ingest_event($a, 'shop', 'conversion', '2026-01-08Z', n, 'flag:' || n) FROM generate_series(1, 20) AS n" "CALL attribution.allocate_events($a, 'm')" >/dev/null
    local deadline=$((SECONDS + 30)) said='attribution_allocations" is missing replicated column: "owner_flag"'
    until grep -q "$said" "$server_dir/log" || [ $SECONDS -ge $deadline ]; do sleep 0.05; done
    is "$(grep -om1 "$said" "$server_dir/log" || true)" "$said" 'a column that only the publisher has is an error that names it'
    ask copy 'ALTER TABLE attribution.attribution_allocations ADD COLUMN owner_flag boolean'
    caught_up copy
    same_rows copy 'with the column it goes on'
    holds copy 'and'
    unsubscribe copy
    ask published "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active" >/dev/null
}

main
