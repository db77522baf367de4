#!/bin/bash
# A synchronous standby: it answers what is read and refuses what is written, while it follows a load; when the primary
# is gone and it is promoted, everything that was acknowledged is there, and everything goes on. (That a standby has
# the views, the log and the state of its primary is in the suite refresh.)

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

work=$(mktemp -d "$ATTRIBUTION_TMP/standby.XXXXXX")
also_remove+=("$work")
a="'aaaaaaaa-0000-4000-8000-000000000000'"
writers=3 orders=3000

main() {
    server_start 'wal_level = replica' 'hot_standby_feedback = on' 'wal_receiver_status_interval = 1s' 'max_connections = 40'
    make_shop
    server_client pg_basebackup -D "$server_dir/standby" -R -X stream -c fast --no-sync >"$work/backup.log" 2>&1 || die "pg_basebackup: $(cat "$work/backup.log")"
    ask "ALTER SYSTEM SET synchronous_standby_names = '*'" "ALTER SYSTEM SET synchronous_commit = remote_apply" 'SELECT pg_reload_conf()' >/dev/null
    server_park primary
    server_start_from "${server_parked[primary]#*:}/standby"
    server_park standby
    server_use primary
    wait_for 30 "SELECT bool_or(sync_state = 'sync') FROM pg_stat_replication"
    reads_answer
    writes_are_refused
    fail_over
    is "$(grep -E 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" '' 'no backend of the standby ended by itself'
    server_stop
    suite_end
}

ask() {
    local statement words=()
    for statement; do words+=(-c "$statement"); done
    psql -XqAt -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "${words[@]}"
}

make_shop() {
    fresh_database shop 'CREATE EXTENSION attribution'
    psql -Xq -v ON_ERROR_STOP=1 >"$work/shop.log" <<'SQL'
CREATE ROLE reader_on_standby;
SELECT attribution.grant_access('reader_on_standby', 'reader');
INSERT INTO attribution.tenants (id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a'), ('bbbbbbbb-0000-4000-8000-000000000000', 'b');
SELECT attribution.define_model(id, 'm', 'linear') FROM attribution.tenants;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel, revenue_cents)
SELECT t.id, md5(t.name || k || n)::uuid, k, '2026-01-01Z'::timestamptz + n * interval '1 minute', md5('session ' || n)::uuid,
       CASE k WHEN 'touch' THEN 'channel ' || n % 5 END, CASE k WHEN 'conversion' THEN 100 + n ELSE 0 END
FROM attribution.tenants t, generate_series(1, 1500) AS n, unnest('{touch,conversion}'::text[]) AS k;
CALL attribution.allocate_events('aaaaaaaa-0000-4000-8000-000000000000', 'm');
SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', 'm', NULL, '2026-01-01 04:00Z');
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'completed' FROM attribution.tenants;
SELECT attribution.ingest_webhook('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'orders/paid', '{}');
CALL attribution.refresh_all();
SELECT count(*) FROM attribution.attribution_events e, attribution.allocate_event(e.tenant_id, e.id, 'm') WHERE e.tenant_id = 'bbbbbbbb-0000-4000-8000-000000000000'
    AND e.event_type = 'conversion' AND e.occurred_at < '2026-01-01 01:00Z';

CREATE FUNCTION public.state_of(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- Everything in the schema that can be called, with values of the right types.
CREATE VIEW public.calls AS
SELECT p.oid::regproc::text AS name, p.provolatile = 'v' AS is_volatile,
       format(CASE p.prokind WHEN 'p' THEN 'CALL %s(%s)' WHEN 'w' THEN 'SELECT %s(%s) OVER ()' ELSE 'SELECT %s(%s)' END, p.oid::regproc,
              (SELECT string_agg(CASE t.type WHEN 'uuid'::regtype THEN $$'aaaaaaaa-0000-4000-8000-000000000000'$$ WHEN 'text'::regtype THEN $$'reader'$$
                                             WHEN 'name'::regtype THEN $$'reader_on_standby'$$ WHEN 'interval'::regtype THEN $$'1 day'$$ WHEN 'bigint'::regtype THEN '100'
                                             WHEN 'integer'::regtype THEN '1' WHEN 'numeric[]'::regtype THEN $$'{1}'$$ WHEN 'numeric'::regtype THEN '1' WHEN 'oid'::regtype THEN '1259'
                                             WHEN 'boolean'::regtype THEN 'false' ELSE 'NULL' END || '::' || t.type::regtype, ', ' ORDER BY t.n)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, n))) AS call
FROM pg_proc p WHERE p.pronamespace = 'attribution'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype);
SQL
}

# --- Reading and writing on the standby ---------------------------------------------------------------

# Both servers give the same answers, as the owner and as a reader; the age of a view is the clock's.
reads_answer() {
    local event
    event=$(ask "SELECT event_id FROM attribution.attribution_allocations WHERE tenant_id = $a ORDER BY id LIMIT 1")
    cat >"$work/reads.sql" <<SQL
SET client_min_messages = warning;
SET attribution.tenant_id = $a;
SELECT count(*), md5(string_agg(c::text, ' ' ORDER BY c.channel)) FROM attribution.channel_performance($a, 'm') c;
SELECT * FROM attribution.explain_allocation($a, '$event', 'm');
SELECT * FROM attribution.reconciliation_status($a);
SELECT count(*) FROM attribution.unbalanced_allocations();
SELECT total_revenue_cents, verified, as_of FROM attribution.realtime_revenue($a);
SELECT c.* FROM attribution.conservation($a) c;
SELECT attribution.current_tenant();
SET ROLE reader_on_standby;
SELECT attribution.current_tenant(), (SELECT count(*) FROM attribution.attribution_events), (SELECT count(d) FROM attribution.reconciliation_runs r, attribution.reconciliation_differences($a, r.id) d);
SELECT count(*), sum(revenue_cents) FROM attribution.channel_performance($a, 'm');
SELECT total_revenue_cents FROM attribution.realtime_revenue($a);
RESET ROLE;
SELECT view_name, doubt, pending_changes, refreshed_at FROM attribution.refresh_status ORDER BY 1;
SELECT index_name, problem FROM attribution.check_index_plan() WHERE problem IS NOT NULL;
SELECT count(*) FILTER (WHERE can_serve) = count(*) FILTER (WHERE state = 'active') FROM attribution.check_index_plan();
SELECT count(*) > 40, bool_and(verdict <> 'invalid') FROM attribution.index_report();
SELECT attribution.allocate_cents(100, 3), attribution.keyed_event_id($a, 'k', NULL), attribution.uuid_v7() IS NOT NULL;
SELECT format('SELECT %L, count(*) FROM %s', oid::regclass, oid::regclass) FROM pg_class
WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'v' ORDER BY relname \gexec
\i $ATTRIBUTION_ROOT/test/suites/tables.sql
SQL
    psql -XqAt -f "$work/reads.sql" >"$work/primary.answers" 2>&1
    server_park primary
    server_use standby
    psql -XqAt -f "$work/reads.sql" >"$work/standby.answers" 2>&1
    is "$(diff "$work/primary.answers" "$work/standby.answers")" '' 'functions that read, views and tables give the answers of the primary'
    is "$(grep -c ERROR "$work/standby.answers" || true)" 0 'and no error'
}

# A volatile function writes, with these exceptions.
writes_are_refused() {
    is "$(ask "SELECT name, public.state_of(call) FROM public.calls WHERE NOT is_volatile AND public.state_of(call) ~ '^(25|XX|0A|55|57)' ORDER BY 1")" '' \
        'no function that reads is refused'
    is "$(ask "SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM public.calls WHERE is_volatile AND public.state_of(call) <> '25006'")" \
        'attribution.check_index_plan attribution.conservation attribution.uuid_v7' \
        'every function that writes is refused as read-only'
    is "$(ask "SELECT count(*) > 20 FROM public.calls WHERE is_volatile AND public.state_of(call) = '25006'")" t 'which are many'
    is "$(psql -XqAt -c '\set VERBOSITY verbose' -c "CALL attribution.allocate_events($a, 'm')" -c 'CALL attribution.refresh_all()' 2>&1 | grep -c '25006')" 2 'as are procedures that commit'
}

# --- Failover -----------------------------------------------------------------------------------------

# The statements of a session. After each acknowledgement it prints what was acknowledged.
session_of() {
    awk -v first=$(($1 * orders + 1)) -v orders=$orders -v a="$a" 'BEGIN {
        for (n = first; n < first + orders; ++n) {
            print "BEGIN;"
            print "SELECT FROM attribution.ingest_event(" a ", '\''web'\'', '\''touch'\'', '\''2026-02-01Z'\'', external_event_id => '\''touch:" n "'\'', session_id => md5('\''order " n "'\'')::uuid, channel => '\''channel " n % 7 "'\'');"
            print "SELECT FROM attribution.ingest_event(" a ", '\''shop'\'', '\''conversion'\'', '\''2026-02-02Z'\'', " n ", '\''order:" n "'\'', session_id => md5('\''order " n "'\'')::uuid);"
            print "SELECT count(*) FROM attribution.allocate_event(" a ", attribution.keyed_event_id(" a ", '\''order:" n "'\'', NULL), '\''m'\'');"
            print "COMMIT;\n\\echo order " n
            if (n % 4 == 0) {
                print "SELECT FROM attribution.ingest_event(" a ", '\''shop'\'', '\''refund'\'', '\''2026-02-03Z'\'', -1, '\''refund:" n "'\'', refund_of => attribution.keyed_event_id(" a ", '\''order:" n "'\'', NULL));"
                print "\\echo refund " n
            }
        }
    }'
}

load_start() {
    local i
    # The last conversion that allocate_events() of tenant b comes to is held, so that the run is not over before.
    PGAPPNAME=holder psql -XqAt -c BEGIN -c "SELECT FROM attribution.attribution_events WHERE id = md5('bconversion1500')::uuid FOR UPDATE" -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
    sessions+=($!)
    wait_for 10 "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'"
    for ((i = 0; i < writers; ++i)); do
        [ -e "$work/session$i.sql" ] || session_of $i >"$work/session$i.sql"
        psql -XqAt -v ON_ERROR_STOP=1 -f "$work/session$i.sql" >"$work/acknowledged$i" 2>"$work/errors$i" &
        sessions+=($!)
    done
    { for ((i = 0; i < 2000; ++i)); do echo "SELECT 'posted ' || attribution.post_allocations($a, 'm');"; done; } |
        psql -XqAt -v ON_ERROR_STOP=1 >"$work/acknowledged.posts" 2>"$work/errors.posts" &
    sessions+=($!)
    { for ((i = 0; i < 2000; ++i)); do echo 'CALL attribution.refresh_all();'; done; } | psql -XqAt -v ON_ERROR_STOP=1 >/dev/null 2>"$work/errors.refresh" &
    sessions+=($!)
    psql -XqAt -v ON_ERROR_STOP=1 -c "CALL attribution.allocate_events('bbbbbbbb-0000-4000-8000-000000000000', 'm', batch_size => 1)" >/dev/null 2>"$work/errors.allocate" &
    sessions+=($!)
}

fail_over() {
    local i until sessions=() seen=0 posted_before lost
    server_park standby
    server_use primary
    posted_before=$(ask "SELECT count(*) FROM attribution.revenue_ledger WHERE tenant_id = $a")
    load_start
    # Every snapshot of the standby is one of whole transactions.
    server_park primary
    server_use standby
    until=$((SECONDS + 3))
    for ((i = 0; i < 3 || SECONDS < until; ++i)); do
        ask "SELECT (SELECT count(*) FROM attribution.unbalanced_allocations()), (SELECT count(*) FROM attribution.conservation($a) c WHERE c.holds IS NOT TRUE)" || echo error
        sleep 0.1
    done >"$work/snapshots"
    is "$(sort -u "$work/snapshots")" '0|0' 'the standby is in balance at every moment of the load'
    server_park standby
    server_use primary
    server_stop immediate
    for i in "${sessions[@]}"; do wait "$i" || true; done
    server_use standby
    ask 'SELECT pg_promote()' >/dev/null
    is "$(ask 'SELECT pg_is_in_recovery()')" f 'the primary is gone and the standby promoted'

    grep -hE '^(order|refund) ' "$work"/acknowledged? >"$work/acknowledged"
    seen=$(wc -l <"$work/acknowledged")
    if [ "$seen" -gt 100 ] && [ "$(grep -c . "$work/errors1")" -gt 0 ]; then ok 'in the middle of the load'; else not_ok "in the middle of the load ($seen acknowledged)"; cat "$work"/errors*; fi
    # Orders and refunds that were acknowledged, and are not there or not allocated.
    lost=$({
        echo 'CREATE TEMPORARY TABLE acknowledged (kind text, n text);'
        echo "COPY acknowledged FROM STDIN (DELIMITER ' ');"
        cat "$work/acknowledged"
        echo '\.'
        cat <<SQL
SELECT count(*) FROM acknowledged k LEFT JOIN attribution.attribution_events e ON e.tenant_id = $a AND e.external_event_id = k.kind || ':' || k.n
WHERE e.id IS NULL OR (k.kind = 'order' AND NOT EXISTS (SELECT FROM attribution.attribution_allocations l WHERE l.tenant_id = e.tenant_id AND l.event_id = e.id AND l.model_version = 'm'));
SQL
    } | psql -XqAt -v ON_ERROR_STOP=1)
    is "$lost" 0 'nothing that was acknowledged is lost'
    is "$(ask "SELECT count(*) - $posted_before >= $(awk '$1 == "posted" { n += $2 } END { print n + 0 }' "$work/acknowledged.posts") FROM attribution.revenue_ledger WHERE tenant_id = $a")" t \
        'nor is a posting'
    is "$(ask 'SELECT (SELECT count(*) FROM attribution.unbalanced_allocations()), (SELECT count(*) FROM attribution.tenants t, attribution.conservation(t.id) c WHERE c.holds IS NOT TRUE)
               , (SELECT count(doubt) FROM attribution.refresh_status)')" '0|0|0' 'everything is in balance, and no view in doubt'
    is "$(ask "SELECT state FROM attribution.allocation_progress ORDER BY started_at DESC LIMIT 1")" interrupted 'a run of the old primary is interrupted'
    goes_on
}

# The same sessions again, from the start: what is there is left.
goes_on() {
    local i
    for ((i = 0; i < writers; ++i)); do head -n 2000 "$work/session$i.sql" >"$work/again$i.sql"; done
    for ((i = 0; i < writers; ++i)); do
        psql -XqAt -v ON_ERROR_STOP=1 -f "$work/again$i.sql" >/dev/null 2>"$work/errors$i" &
        sessions+=($!)
    done
    for i in "${sessions[@]: -writers}"; do wait "$i" || not_ok "writes go on: $(cat "$work"/errors?)"; done
    ask "CALL attribution.allocate_events($a, 'm')" "CALL attribution.allocate_events('bbbbbbbb-0000-4000-8000-000000000000', 'm')" \
        "SELECT attribution.post_allocations(id, 'm') FROM attribution.tenants" 'CALL attribution.refresh_all()' >/dev/null
    is "$(ask "SELECT string_agg(DISTINCT mode, ' ') FROM (SELECT DISTINCT ON (view_name) mode FROM attribution.refresh_log ORDER BY view_name, id DESC) l")" incremental 'refreshes go on where the log says'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events e WHERE e.event_type <> 'touch'
               AND NOT EXISTS (SELECT FROM attribution.attribution_allocations l WHERE l.tenant_id = e.tenant_id AND l.event_id = e.id)")" 0 'everything is allocated'
    is "$(ask 'SELECT bool_and(holds) AND sum(pending_cents) = 0 FROM attribution.tenants t, attribution.conservation(t.id) c')" t 'and posted and conserved, with nothing pending'
}

main
