#!/bin/bash
# Views that follow their changes, through what else befalls a server: cancelled and killed refreshes, crashes,
# a standby that is promoted, logical replication, and a soak of writers and refreshers of all kinds.
#
#   SOAK_SECONDS=600 REFRESH_SEED=7 test/run refresh
#
# The oracle is always the same: refresh_all() in mode auto, and then no row of a view differs from its query,
# and a refresh of the whole view changes nothing.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

seconds=${SOAK_SECONDS:-10} seed=${REFRESH_SEED:-1}
server_start 'wal_level = logical' 'max_connections = 60' 'wal_receiver_status_interval = 1s' \
    'wal_retrieve_retry_interval = 100ms' 'autovacuum_naptime = 1s'
work=$(mktemp -d "$ATTRIBUTION_TMP/refresh.XXXXXX")
also_remove+=("$work")
background=() # pids of sessions

main() {
    interrupted
    crashes
    soak
    standby
    replication
    server_use primary
    is "$(grep -cE 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" 0 'no backend ended by itself'
    server_stop
    suite_end
}

# --- Rows ---------------------------------------------------------------------------------------------

# shop NAME: a database of three tenants with 30 conversions each, of which some are allocated and posted.
shop() {
    fresh_database "$1" 'CREATE EXTENSION attribution'
    helpers
    psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
INSERT INTO attribution.tenants (id, name, currency)
SELECT tenant_id(n), 'shop ' || n, (ARRAY['USD', 'JPY', 'KWD'])[n] FROM generate_series(1, 3) AS n;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT tenant_id(t), event_id(t, n), 'conversion', '2026-01-01Z', 1000 * n + t FROM generate_series(1, 3) AS t, generate_series(1, 30) AS n;
SELECT count(a) FROM generate_series(1, 3) AS t, generate_series(1, 10) AS n,
    attribution.allocate_event(tenant_id(t), event_id(t, n), 'B', '{ads,email}', ARRAY[n, t]) a;
SELECT attribution.post_allocations(tenant_id(t), 'B') FROM generate_series(1, 3) AS t;
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT tenant_id(t), 'completed' FROM generate_series(1, 2) AS t;
CALL attribution.refresh_all();
SQL
}

helpers() {
    psql -Xq -v ON_ERROR_STOP=1 <<'SQL'
CREATE FUNCTION tenant_id(t int) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT ('11111111-0000-4000-8000-' || lpad(t::text, 12, '0'))::uuid $$;
CREATE FUNCTION event_id(t int, n int) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$ SELECT ('eeeeeeee-0000-4000-800' || t || '-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION wrong_rows(view text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    query text := rtrim(pg_get_viewdef(view::regclass), ';');
    count bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d', view, query) INTO count;
    RETURN count;
END $$;
-- Each view with the number of rows that are wrong, that a refresh of the whole view changes, and what is in doubt.
CREATE FUNCTION judged(OUT view text, OUT wrong bigint, OUT changed bigint, OUT doubt text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOREACH view IN ARRAY ARRAY['mv_allocation_summary', 'mv_realtime_revenue', 'mv_reconciliation_status'] LOOP
        wrong := wrong_rows('attribution.' || view);
        doubt := attribution_internal.refresh_doubt(view);
        SELECT l.rows_changed INTO changed FROM attribution.refresh(view, 'concurrent') l;
        RETURN NEXT;
    END LOOP;
END $$;
SQL
}

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# refreshed TEXT [MODES]: after refresh_all() everything is right; the modes it chose.
refreshed() {
    local since modes
    since=$(ask 'SELECT attribution.uuid_v7()')
    psql -Xq -v ON_ERROR_STOP=1 -c 'CALL attribution.refresh_all()'
    modes=$(ask "SELECT string_agg(l.mode, ' ' ORDER BY l.view_name) FROM attribution.refresh_log l WHERE l.id > '$since'")
    is "$(ask 'SELECT j.view, j.wrong, j.changed, j.doubt FROM judged() j')" \
        $'mv_allocation_summary|0|0|\nmv_realtime_revenue|0|0|\nmv_reconciliation_status|0|0|' "$1"
    [ -z "${2:-}" ] || is "$modes" "$2" "$1: by the modes expected"
}

digest() {
    ask "SELECT md5(string_agg(v::text, ' ' ORDER BY v::text)) FROM attribution.$1 v"
}

doubts() {
    ask "SELECT coalesce(string_agg(s.doubt, ', ' ORDER BY s.view_name), 'none') FROM attribution.refresh_status s"
}

# --- Interrupted refreshes ----------------------------------------------------------------------------

interrupted() {
    local keys=30000 took before share by ended left=0
    shop interrupted
    psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<SQL
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT tenant_id(1), event_id(1, n), 'conversion', '2026-01-01Z', n FROM generate_series(1001, 1000 + $keys) AS n;
CALL attribution.refresh_all();
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT e.tenant_id, e.id, 'A', 'ads', e.revenue_cents FROM attribution.attribution_events e WHERE e.tenant_id = tenant_id(1) AND e.id >= event_id(1, 1001);
SQL
    before=$(state)
    took=$(ask "BEGIN; SELECT ceil(l.elapsed_ms) FROM attribution.refresh('mv_allocation_summary', 'incremental') l WHERE l.rows_changed = $keys; ROLLBACK")
    for share in 5 20 40 60 80; do
        PGOPTIONS="-c statement_timeout=$((took * share / 100 + 1))" try
        [ "$(state)" = "$before" ] || left=1
    done
    for by in pg_cancel_backend pg_terminate_backend pg_cancel_backend pg_terminate_backend; do
        PGAPPNAME=victim try &
        until [ "$(ask "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim' AND query LIKE 'SELECT%'")" = 1 ]; do kill -0 $! 2>/dev/null || break; done
        sleep "0.$((took % 3))$((took % 10))"
        ask "SELECT $by(pid) FROM pg_stat_activity WHERE application_name = 'victim'" >/dev/null
        wait $! || true
        [ "$(state)" = "$before" ] || left=1
    done
    ended=$(grep -cE 'canceling statement|terminating connection' "$work/tried" || true)
    if [ "$ended" -ge 3 ]; then ok "refreshes of $took ms are ended early"; else not_ok "refreshes of $took ms are ended early ($ended were)"; fi
    is "$left" 0 'what ended early has changed neither view, log nor state'
    is "$(ask "SELECT l.mode, l.rows_changed FROM attribution.refresh('mv_allocation_summary', 'incremental') l")" "incremental|$keys" 'the next one does all of it'
    refreshed 'and all is right' 'incremental incremental incremental'
}

# A refresh that is not to be, even where it is not ended.
try() {
    psql -XqAt -c BEGIN -c "SELECT l.outcome FROM attribution.refresh('mv_allocation_summary', 'incremental') l" -c ROLLBACK >>"$work/tried" 2>&1 || true
}

state() {
    ask "SELECT s.pending_changes, s.doubt, s.refreshed_at FROM attribution.refresh_status s WHERE s.view_name = 'mv_allocation_summary'"
    digest mv_allocation_summary
}

# --- Sessions -----------------------------------------------------------------------------------------

# Transactions for psql, a seed and a number: allocations, revenue, postings, verifications, runs, tenants.
transactions() {
    awk -v seed="$1" -v count="$2" '
        function pick(n) { return int(rand() * n) }
        function allocate(model) { print "SELECT count(*) FROM attribution.allocate_event(" T ", " E ", '\''" model "'\'', ARRAY['\''ads'\'','\''tv'\'','\''email'\''], ARRAY[" 1 + pick(9) "," pick(9) "," pick(9) "]);" }
        function clear() { print "DELETE FROM attribution.attribution_allocations WHERE tenant_id = " T " AND event_id = " E " AND model_version = '\''A'\'';" }
        function act(which) {
            if (which < 4) { clear(); allocate("A") }
            else if (which == 4) clear()
            # Events above 20 are never posted: their revenue may change.
            else if (which < 7 && n > 20) { clear(); print "UPDATE attribution.attribution_events SET revenue_cents = " 1 + pick(5000) " WHERE tenant_id = " T " AND id = " E ";"; if (pick(3)) allocate("A") }
            else if (which < 9) {
                if (n <= 20) print "SELECT count(*) FROM attribution.allocate_event(" T ", " E ", '\''B'\'', ARRAY['\''ads'\''], ARRAY[1]) WHERE NOT EXISTS (SELECT FROM attribution.attribution_allocations a WHERE a.tenant_id = " T " AND a.event_id = " E " AND a.model_version = '\''B'\'');"
                print "SELECT attribution.post_allocations(" T ", '\''B'\'');"
            }
            else if (which < 11) print "UPDATE attribution.revenue_ledger SET is_verified = NOT is_verified, verified_at = CASE WHEN is_verified THEN NULL ELSE now() END WHERE tenant_id = " T " AND conversion_id = " E ";"
            else if (which == 11) print "INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at) VALUES (" T ", '\''failed'\'', now() - " pick(100) " * interval '\''1 s'\'');"
            else if (which == 12) print "UPDATE attribution.reconciliation_runs SET state = '\''idle'\'' WHERE tenant_id = " T " AND id = (SELECT m.reconciliation_run_id FROM attribution.mv_reconciliation_status m WHERE m.tenant_id = " T ");"
            else if (which == 13) print "INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents) SELECT l.tenant_id, l.conversion_id, l.id, -l.revenue_cents FROM attribution.revenue_ledger l WHERE l.tenant_id = " T " AND l.conversion_id = " E " AND l.reverses_id IS NULL AND NOT EXISTS (SELECT FROM attribution.revenue_ledger r WHERE r.tenant_id = l.tenant_id AND r.reverses_id = l.id);"
            else print "INSERT INTO attribution.tenants (name) VALUES ('\''new'\'');"
        }
        BEGIN {
            srand(seed)
            for (i = 0; i < count; ++i) {
                t = 1 + pick(3); n = 1 + pick(30); T = "tenant_id(" t ")"; E = "event_id(" t "," n ")"
                print "BEGIN;"
                act(pick(15))
                if (pick(4) == 0) { print "SAVEPOINT s;"; act(pick(15)); print "ROLLBACK TO s;" }
                if (pick(3) == 0) act(pick(15))
                if (pick(5) == 0) print "SELECT pg_sleep(0.02);"
                print pick(6) == 0 ? "ROLLBACK;" : "COMMIT;"
            }
        }'
}

# session NAME COMMAND...: what the command prints goes to sessions of psql, one after the other, until the file
# `over` is there.
session() {
    local name=$1 part=0
    shift
    while [ ! -e "$work/over" ]; do
        part=$((part + 1))
        "$@" $part | PGAPPNAME=$name PGOPTIONS='-c client_min_messages=warning' psql -X -v VERBOSITY=verbose >>"$work/$name.out" 2>>"$work/$name.err" || sleep 0.05
    done
}

writing() { transactions $((seed * 1000000 + $1 * 10000 + $2)) 25; }
refreshing() { for ((i = 0; i < 10; ++i)); do echo 'CALL attribution.refresh_all(); SELECT pg_sleep(0.01);'; done; }
by_hand() {
    local views=(mv_allocation_summary mv_realtime_revenue mv_reconciliation_status) how=(CONCURRENTLY '')
    echo "SELECT pg_sleep(0.4); REFRESH MATERIALIZED VIEW ${how[$1 % 2]} attribution.${views[$1 % 3]};"
}

# sessions_start N KIND...: N writers, two refreshers, and what else there is to be.
sessions_start() {
    local i kind
    rm -f "$work/over" "$work"/soak*
    for ((i = 1; i <= $1; ++i)); do
        session "soak writer $i" writing "$i" &
        background+=($!)
    done
    for kind in refreshing refreshing "${@:2}"; do
        session "soak $kind" "$kind" &
        background+=($!)
    done
}

sessions_end() {
    touch "$work/over"
    wait "${background[@]}" || true
    background=()
}

# --- Crashes ------------------------------------------------------------------------------------------

crashes() {
    local round modes incremental=0
    shop crashes
    for round in 1 2 3 4; do
        sessions_start 2
        sleep "$((round % 2)).$((round * 37 % 100))"
        if [ $((round % 2)) = 1 ]; then kill_all; else server_stop immediate keep; fi
        sessions_end
        server_run
        modes=$(ask "SELECT count(*) FROM attribution.refresh_status s WHERE s.doubt IS NULL")
        [ "$modes" != 3 ] || incremental=$((incremental + 1))
        refreshed "after crash $round all is right" 'incremental incremental incremental'
    done
    is "$incremental" 4 'a crash puts nothing in doubt'
    is "$(ask "SELECT count(*) > 20 FROM attribution.refresh_log l WHERE l.rows_changed > 0 AND l.mode = 'incremental'")" t 'refreshes were at work'
    is "$(errors '23505|23514|40001|57P0[123]')" '' 'no error of another kind'
}

# As if the machine had lost them, but not its memory: SIGKILL for the server and its children.
kill_all() {
    local children
    kill -STOP "$server_pid" # no new ones
    children=$(pgrep -P "$server_pid" | paste -sd' ')
    # shellcheck disable=SC2086 # words
    kill -KILL "$server_pid" $children 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    # shellcheck disable=SC2086
    while kill -0 $children 2>/dev/null; do sleep 0.02; done
    server_pid=
}

# errors STATES: what sessions said of other SQLSTATEs than those. Writers may deadlock, of whom one updates the
# revenue of an event and then allocates it, and the other the other way round; refreshes never.
errors() {
    local file states
    for file in "$work"/soak*.err; do
        states="$1|25P02|3B001"
        case $file in *'/soak writer '*) states+='|40P01' ;; esac
        grep -E '(ERROR|FATAL|WARNING):  [0-9A-Z]{5}: ' "$file" | grep -vE "(ERROR|FATAL|WARNING):  ($states): " || true
    done | sort | uniq -c | head -n 20
}

# --- Soak ---------------------------------------------------------------------------------------------

soak() {
    local until
    shop soak
    ask 'CREATE EXTENSION amcheck' >/dev/null 2>&1 || true
    until=$((SECONDS + seconds))
    sessions_start 3 by_hand
    while [ $SECONDS -lt $until ]; do
        sleep 0.7
        ask "SELECT pid FROM (SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'soak%' AND state <> 'idle' ORDER BY random() LIMIT 1) p
             WHERE pg_terminate_backend(pid)" >>"$work/ended" || true
    done
    sessions_end
    printf '#   %s transactions committed, %s sessions ended, refreshes by mode: %s\n' "$(cat "$work"/soak\ writer*.out | grep -c '^COMMIT$')" "$(wc -l <"$work/ended")" \
        "$(ask "SELECT string_agg(m, ', ') FROM (SELECT mode || ' ' || outcome || ' ' || count(*) AS m FROM attribution.refresh_log GROUP BY mode, outcome ORDER BY 1) l")"
    is "$(errors '23505|23514|40001|57P01')" '' 'soak: no error of another kind'
    is "$(ask "SELECT count(*) FROM attribution.refresh_log WHERE outcome = 'failed'")" 0 'soak: no refresh failed'
    is "$(ask "SELECT string_agg(DISTINCT mode, ' ' ORDER BY mode) FROM attribution.refresh_log WHERE outcome = 'refreshed'")" 'concurrent full incremental' 'soak: by every mode'
    refreshed 'soak: all is right'
    is "$(ask 'SELECT sum(l.revenue_cents) FILTER (WHERE l.allocation_id IS NOT NULL) = sum(a.allocated_revenue_cents) AND bool_and(l.allocation_id IS NULL OR a.id IS NOT NULL),
                      sum(l.revenue_cents) = (SELECT sum(m.total_revenue_cents) FROM attribution.mv_realtime_revenue m)
               FROM attribution.revenue_ledger l LEFT JOIN attribution.attribution_allocations a ON a.tenant_id = l.tenant_id AND a.id = l.allocation_id')" 't|t' \
        'soak: no cent is lost'
    refreshed 'soak: and again' 'incremental incremental incremental'
    if [ "$(ask "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'")" = 1 ]; then
        is "$(ask "SELECT count(bt_index_check(i.indexrelid, true)) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND c.relkind = 'm'" 2>&1)" \
            4 'soak: every row of the views is in their indexes'
    else
        skip 'there is no amcheck beside this PostgreSQL'
    fi
}

# --- A standby ----------------------------------------------------------------------------------------

standby() {
    local lsn backup=$server_dir/standby
    shop standby
    server_client pg_basebackup -D "$backup" -R -X stream -c fast --no-sync
    transactions "$seed" 60 | psql -Xq >/dev/null 2>&1
    psql -Xq -c 'CALL attribution.refresh_all()'
    transactions $((seed + 1)) 20 | psql -Xq >/dev/null 2>&1
    lsn=$(ask 'SELECT pg_current_wal_lsn()')
    for view in mv_allocation_summary mv_realtime_revenue mv_reconciliation_status; do digest $view; done >"$work/primary"
    status >>"$work/primary"
    server_park primary
    server_start_from "$backup"
    wait_for 30 "SELECT pg_last_wal_replay_lsn() >= '$lsn'"
    for view in mv_allocation_summary mv_realtime_revenue mv_reconciliation_status; do digest $view; done >"$work/standby"
    status >>"$work/standby"
    is "$(cat "$work/standby")" "$(cat "$work/primary")" 'a standby has the same rows, the same log, the same state'
    ask 'SELECT pg_promote()' >/dev/null
    transactions $((seed + 2)) 20 | psql -Xq >/dev/null 2>&1
    refreshed 'promoted, it goes on where the log says' 'incremental incremental incremental'
    server_park standby
}

status() {
    ask 'SELECT s.view_name, s.pending_changes, s.refreshed_at, s.doubt FROM attribution.refresh_status s ORDER BY 1'
}

# --- Logical replication ------------------------------------------------------------------------------

replication() {
    local since
    server_use primary
    shop published
    psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE PUBLICATION everything FOR ALL TABLES'
    is "$(ask "SELECT count(*) FROM pg_publication_tables p JOIN pg_class c ON c.relname = p.tablename AND c.relnamespace = p.schemaname::regnamespace AND c.relkind = 'm'")" 0 \
        'no log, no state and no view is published'
    is "$(ask "SELECT string_agg(p.tablename, ' ') FROM pg_publication_tables p WHERE p.schemaname = 'attribution_internal'")" refresh_log \
        'of what only the extension uses, the log of refreshes, which has a key'
    transactions "$seed" 100 >"$work/some.sql"
    psql -Xq -v VERBOSITY=sqlstate -f "$work/some.sql" 2>&1 >/dev/null | grep -oE '[0-9A-Z]{5}$' | grep -vE '^(23514|23505|25P02)$' >"$work/refused" || true
    is "$(cat "$work/refused")" '' 'writers are not disturbed by a publication'
    refreshed 'nor are refreshes' 'incremental incremental incremental'
    ask "SELECT attribution.prune_refresh_log('0')" >/dev/null

    server_use standby
    fresh_database subscribed 'CREATE EXTENSION attribution' 'DELETE FROM attribution.currencies' 'DELETE FROM attribution.index_plan' 'DELETE FROM attribution.schema_version' 'CALL attribution.refresh_all()'
    helpers
    refreshed 'before the subscription' 'incremental incremental incremental'
    psql -Xq -v ON_ERROR_STOP=1 -c "CREATE SUBSCRIPTION sub CONNECTION 'host=${server_parked[primary]#*:}/s port=$PGPORT user=postgres dbname=published' PUBLICATION everything" 2>/dev/null
    wait_for 30 "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
    is "$(ask 'SELECT count(*) FROM attribution.refresh_status s WHERE s.doubt IS NULL')" 0 'the copy puts the views of a subscriber in doubt'
    refreshed 'and the next refresh takes it in' 'concurrent concurrent concurrent'
    is "$(ask 'SELECT count(*) FROM attribution.mv_allocation_summary')" "$(published 'SELECT count(*) FROM attribution.mv_allocation_summary')" 'with the rows of the publisher'
    is "$(ask 'SELECT sum(total_revenue_cents) FROM attribution.mv_realtime_revenue')" "$(published 'SELECT sum(total_revenue_cents) FROM attribution.mv_realtime_revenue')" \
        'and its sums'

    since=$(ask 'SELECT s.view_name, s.refreshed_at FROM attribution.refresh_status s ORDER BY 1')
    transactions $((seed + 5)) 60 >"$work/some.sql"
    server_use primary
    PGDATABASE=published psql -Xq -f "$work/some.sql" >/dev/null 2>&1
    PGDATABASE=published psql -Xq -c 'CALL attribution.refresh_all()'
    PGDATABASE=published caught_up
    is "$(ask 'SELECT s.view_name, s.refreshed_at FROM attribution.refresh_status s ORDER BY 1')" "$since" 'a refresh of the publisher is none of the subscriber'
    is "$(doubts | sed -E 's/[a-z_]+ came/TABLE came/g; s/rows of TABLE came by logical replication/replicated/g')" 'replicated, replicated, replicated' 'rows that are applied put the views in doubt'
    refreshed 'and the next refresh takes them in' 'concurrent concurrent concurrent'
    is "$(digest mv_allocation_summary)" "$(published "SELECT md5(string_agg(v::text, ' ' ORDER BY v::text)) FROM attribution.mv_allocation_summary v")" 'it ends in the same rows'
    psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT tenant_id(t), 'idle' FROM generate_series(1, 3) AS t;
INSERT INTO attribution.tenants (name) VALUES ('of the subscriber');
SELECT count(a) FROM attribution.allocate_event(tenant_id(1), event_id(1, 30), 'C', '{x}', '{1}') a;
SQL
    refreshed 'its own changes it follows' 'incremental incremental incremental'

    # Nobody truncates a ledger, but for who steps over its trigger, on both sides.
    psql -Xq -v ON_ERROR_STOP=1 -c 'ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ledger_is_never_truncated'
    server_use primary
    PGDATABASE=published psql -Xq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' \
        -c 'ALTER TABLE attribution.revenue_ledger DISABLE TRIGGER ledger_is_never_truncated' -c 'TRUNCATE attribution.reconciliation_runs, attribution.reconciliation_settlements, attribution.settlement_differences, attribution.revenue_ledger'
    PGDATABASE=published caught_up
    is "$(doubts | grep -o 'was truncated' | wc -l)" 2 'so does TRUNCATE'
    refreshed 'and the next refresh takes it in'
    is "$(ask 'SELECT sum(total_revenue_cents), (SELECT count(*) FROM attribution.mv_reconciliation_status) FROM attribution.mv_realtime_revenue')" '0|0' 'which leaves nothing'

    # The first copy may come in an order that a check refuses; it is tried again.
    is "$(ask 'SELECT apply_error_count FROM pg_stat_subscription_stats')" 0 'the subscriber went on without an error'
    psql -Xq -v ON_ERROR_STOP=1 -c 'DROP SUBSCRIPTION sub' 2>/dev/null
    is "$(grep -cE 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" 0 'and none of its backends ended by itself'
    server_stop
    server_park standby
}

published() {
    PGHOST=${server_parked[primary]#*:}/s PGDATABASE=published ask "$1"
}

# Called on the publisher, which it leaves for the subscriber.
caught_up() {
    local lsn
    lsn=$(ask 'SELECT pg_current_wal_lsn()')
    wait_for 30 "SELECT replay_lsn >= '$lsn' FROM pg_stat_replication WHERE application_name = 'sub'"
    server_use standby
}

main
