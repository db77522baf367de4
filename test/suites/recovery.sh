#!/bin/bash
# A base backup that was taken while others wrote, and the archive of the log, recover to any moment: into the middle of
# allocate_events, of a refresh, of post_allocations. What was committed is there and in balance; what was under way
# is as if it had never been; called again, all three end in the rows of the server that nobody disturbed.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

work=$(mktemp -d "$ATTRIBUTION_TMP/recovery.XXXXXX")
also_remove+=("$work")
a="'aaaaaaaa-0000-4000-8000-000000000000'"
settings=('full_page_writes = on' 'max_wal_size = 4GB' 'track_commit_timestamp = on')

main() {
    server_start "${settings[@]}" 'wal_level = replica' 'archive_mode = on' "archive_command = 'cp %p ../archive/%f.part && mv ../archive/%f.part ../archive/%f'"
    backup=$server_dir/backup archive=$server_dir/archive
    mkdir "$archive"
    server_owns "$archive"
    make_shop
    load
    finish >/dev/null
    result >"$work/result"
    psql -Xqc 'SELECT pg_switch_wal()' -o "$work/switch"
    wait_for 30 "SELECT last_archived_wal >= pg_walfile_name('$post_end') FROM pg_stat_archiver"
    recover_all
    server_use primary
    server_stop
    suite_end
}

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' -c "$1"
}

# --- What is recovered --------------------------------------------------------------------------------

# Tenant a has 4,000 conversions with up to four touches and 1,200 refunds, of which the first quarter is allocated,
# posted and refreshed. Tenant b is written while the others are at work.
make_shop() {
    fresh_database shop 'CREATE EXTENSION attribution'
    psql -Xq -v ON_ERROR_STOP=1 >"$work/shop.log" <<'SQL'
INSERT INTO attribution.tenants (id, name, currency) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a', 'USD'), ('bbbbbbbb-0000-4000-8000-000000000000', 'b', 'JPY');
SELECT attribution.define_model(id, 'm', 'position_based') FROM attribution.tenants;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('touch ' || n || ' ' || k)::uuid, 'touch',
       '2026-01-01Z'::timestamptz + (n - k) * interval '1 minute', md5('session ' || n)::uuid, 'channel ' || (n * k) % 9
FROM generate_series(1, 4000) AS n, generate_series(1, 4) AS k WHERE k <= n % 5;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, revenue_cents)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('conversion ' || n)::uuid, 'conversion',
       '2026-01-01Z'::timestamptz + n * interval '1 minute', md5('session ' || n)::uuid, 100 + n
FROM generate_series(1, 4000) AS n;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('refund ' || n || ' ' || k)::uuid, 'refund',
       '2026-01-01Z'::timestamptz + (n + 300 * k) * interval '1 minute', md5('conversion ' || n)::uuid, -10 * k
FROM generate_series(5, 4000, 5) AS n, generate_series(1, 2) AS k WHERE k = 1 OR n % 10 = 0;
CALL attribution.allocate_events('aaaaaaaa-0000-4000-8000-000000000000', 'm', occurred_to => '2026-01-01 16:40Z');
SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', 'm', NULL, '2026-01-01 16:40Z');
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'completed' FROM attribution.tenants;
CALL attribution.refresh_all();
-- Rows of a view that differ from those of its query.
CREATE FUNCTION public.wrong_rows(view regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    query text := rtrim(pg_get_viewdef(view), ';');
    count bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d', view, query) INTO count;
    RETURN count;
END $$;
-- What create_tables() would make.
CREATE FUNCTION public.missing_objects() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint := 0;
BEGIN
    IF to_regprocedure('attribution.create_tables(boolean)') IS NOT NULL THEN
        EXECUTE 'SELECT count(*) FROM attribution.create_tables(true)' INTO count;
    END IF;
    RETURN count;
END $$;
SQL
    local n
    for n in $(seq 1 600); do
        printf "BEGIN; SELECT FROM attribution.ingest_event('bbbbbbbb-0000-4000-8000-000000000000', 'web', 'touch', '2026-02-01Z', external_event_id => 'touch:%s', session_id => md5('b %s')::uuid, channel => 'channel %s');\n" "$n" "$n" $((n % 7))
        printf "SELECT FROM attribution.ingest_event('bbbbbbbb-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-02-02Z', %s, 'order:%s', session_id => md5('b %s')::uuid); COMMIT;\n" $((n * 7)) "$n" "$n"
        [ $((n % 3)) != 0 ] || printf "SELECT count(*) FROM attribution.allocate_event('bbbbbbbb-0000-4000-8000-000000000000', attribution.keyed_event_id('bbbbbbbb-0000-4000-8000-000000000000', 'order:%s', NULL), 'm');\n" "$n"
        [ $((n % 10)) != 0 ] || printf "SELECT attribution.post_allocations('bbbbbbbb-0000-4000-8000-000000000000', 'm');\n"
    done >"$work/writer.sql"
}

# What is done while tenant b is written, and the places in the log where it began and ended.
load() {
    local writer call
    (until [ -e "$work/over" ]; do psql -Xq -v ON_ERROR_STOP=1 -f "$work/writer.sql"; done >"$work/writer.log" 2>&1) &
    writer=$!
    psql -Xq -v ON_ERROR_STOP=1 -c "CALL attribution.allocate_events($a, 'm', occurred_to => '2026-01-02 09:20Z', batch_size => 50)" >"$work/call.log" 2>&1 &
    call=$!
    server_client pg_basebackup -D "$backup" -X none -c fast --no-sync >"$work/backup.log" 2>&1 || die "pg_basebackup: $(cat "$work/backup.log")"
    touch "$backup/recovery.signal"
    wait "$call"

    allocated_before=$(ask "SELECT count(DISTINCT event_id) FROM attribution.attribution_allocations WHERE tenant_id = $a")
    posted_before=$(ask "SELECT count(*) FROM attribution.revenue_ledger WHERE tenant_id = $a")
    allocate_begin=$(ask 'SELECT pg_current_wal_insert_lsn()')
    psql -Xq -v ON_ERROR_STOP=1 -c "CALL attribution.allocate_events($a, 'm', batch_size => 50)" >>"$work/call.log" 2>&1 &
    call=$!
    wait_for 30 "SELECT bool_or(events_allocated > 500) FROM attribution.allocation_runs WHERE state = 'running'"
    ask "SELECT pg_create_restore_point('in the middle')" >/dev/null
    wait "$call"
    allocate_end=$(ask 'SELECT pg_current_wal_insert_lsn()')
    refresh_begin=$allocate_end
    ask 'CALL attribution.refresh_all()'
    refresh_end=$(ask 'SELECT pg_current_wal_insert_lsn()')
    post_begin=$refresh_end
    ask "SELECT attribution.post_allocations($a, 'm')" >"$work/posted"
    post_end=$(ask 'SELECT pg_current_wal_insert_lsn()')
    touch "$work/over"
    wait "$writer" || not_ok "the writer: $(tail -n 3 "$work/writer.log")"
}

# Everything again, until there is nothing left to do.
finish() {
    psql -Xq -v ON_ERROR_STOP=1 -v VERBOSITY=terse 2>&1 <<SQL
SET client_min_messages = warning;
\i $work/writer.sql
CALL attribution.allocate_events($a, 'm', batch_size => 500);
CALL attribution.allocate_events('bbbbbbbb-0000-4000-8000-000000000000', 'm');
SELECT attribution.post_allocations(id, 'm') FROM attribution.tenants;
CALL attribution.refresh_all();
SQL
}

# Ids, cents, weights; not the clocks, nor what is known of runs and refreshes. Only the ids of the ledger are not
# computed from what they are for.
result() {
    psql -XqAt -v ON_ERROR_STOP=1 -v columns=money -v leave_out='^(allocation_runs|allocation_failures|refresh_.*)$' \
        -v extra='^revenue_ledger[.](id|reverses_id)$' -f "$ATTRIBUTION_ROOT/test/suites/tables.sql"
}

# --- Recoveries ---------------------------------------------------------------------------------------

# at BEGIN END PERCENT: a place in the log.
at() {
    ask "SELECT '$1'::pg_lsn + trunc(('$2'::pg_lsn - '$1'::pg_lsn) * 0.01 * $3)"
}

# Two at a time: most of a recovery is one process that works.
recover_all() {
    local lane lanes=()
    targets >"$work/targets"
    server_park primary
    for lane in 0 1; do
        (
            while IFS='|' read -r -u 3 number phase target; do
                if [ $((number % 2)) = $lane ]; then recover "$phase" "$target"; fi
            done 3<"$work/targets"
        ) >"$work/lane$lane" 2>&1 &
        lanes+=($!)
    done
    for lane in 0 1; do
        wait "${lanes[lane]}" || not_ok "recoveries end (lane $lane)"
        cat "$work/lane$lane"
    done
    ! grep -q '^not ok' "$work"/lane? || suite_failed=1
}

# number|phase|line of postgresql.conf
targets() {
    local batch xid
    batch=$(ask "SELECT percentile_disc(0.8) WITHIN GROUP (ORDER BY pg_xact_commit_timestamp(x)) FROM (SELECT DISTINCT xmin AS x
                 FROM attribution.attribution_allocations WHERE tenant_id = $a) b")
    # The rows are of a subtransaction, and recovery looks for the transaction, whose id is the lowest with that time.
    xid=$(ask "SELECT min(x) FROM (SELECT max(xmin::text::bigint) AS top FROM attribution.attribution_allocations
                                   WHERE tenant_id = $a AND pg_xact_commit_timestamp(xmin) = '$batch') b, generate_series(top - 50, top) AS x
               WHERE pg_xact_commit_timestamp(x::text::xid) = '$batch'")
    awk '{ print NR "|" $0 }' <<TARGETS
allocate|recovery_target_lsn = '$(at "$allocate_begin" "$allocate_end" 15)'
refresh|recovery_target_lsn = '$(at "$refresh_begin" "$refresh_end" 5)'
allocate|recovery_target_name = 'in the middle'
refresh|recovery_target_lsn = '$(at "$refresh_begin" "$refresh_end" 50)'
allocate|recovery_target_xid = '$xid'
refresh|recovery_target_lsn = '$(at "$refresh_begin" "$refresh_end" 90)'
allocate|recovery_target_time = '$batch'
post|recovery_target_lsn = '$(at "$post_begin" "$post_end" 10)'
post|recovery_target_lsn = '$(at "$post_begin" "$post_end" 90)'
TARGETS
}

# recover PHASE TARGET
recover() {
    local what="$1, to ${2#recovery_target_}"
    server_start_from "$backup" "${settings[@]}" 'archive_mode = off' "restore_command = 'cp $archive/%f %p'" \
        "recovery_target_timeline = current" 'recovery_target_action = promote' "$2"
    wait_for 60 'SELECT NOT pg_is_in_recovery()'
    is "$(ask "$(state_at "$1")")" 'in the middle t, counted t, unbalanced 0, not conserved 0, in doubt 0, missing 0' "$what: what was committed is there, and holds"
    is "$(refreshed)" 'incremental incremental incremental|0 wrong' "$what: the views follow the log"
    finish >"$work/finish$number" || cat "$work/finish$number"
    result >"$work/result$number"
    is "$(diff "$work/result" "$work/result$number")" '' "$what: called again, everything ends in the rows of the server that nobody disturbed"
    is "$(ask "$(state_at over)")|$(refreshed)" 'in the middle t, counted t, unbalanced 0, not conserved 0, in doubt 0, missing 0|incremental incremental incremental|0 wrong' \
        "$what: and holds"
    is "$(grep -E 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" '' "$what: no backend ended by itself"
    server_stop immediate
}

# state_at PHASE: whether the middle of the phase was met, and what is broken. A batch counts itself, so that the runs
# together have the number of events that are allocated.
state_at() {
    local middle
    case $1 in
        allocate) middle="refreshes = 3 AND allocated > $allocated_before AND allocated < events" ;;
        refresh) middle="refreshes BETWEEN 3 AND 5 AND allocated = events AND posted = $posted_before" ;;
        post) middle="refreshes = 6 AND allocated = events AND posted = $posted_before" ;;
        over) middle="refreshes >= 6 AND allocated = events AND posted > $posted_before" ;;
    esac
    cat <<SQL
SELECT format('in the middle %s, counted %s, unbalanced %s, not conserved %s, in doubt %s, missing %s', $middle, counted = allocated,
    (SELECT count(*) FROM attribution.unbalanced_allocations()),
    (SELECT count(*) FROM attribution.tenants t, attribution.conservation(t.id) c WHERE c.holds IS NOT TRUE),
    (SELECT count(doubt) FROM attribution.refresh_status), public.missing_objects())
FROM (SELECT (SELECT count(DISTINCT event_id) FROM attribution.attribution_allocations WHERE tenant_id = $a) AS allocated,
             (SELECT sum(events_allocated) FROM attribution.allocation_runs WHERE tenant_id = $a) AS counted,
             (SELECT count(*) FROM attribution.attribution_events WHERE tenant_id = $a AND event_type <> 'touch') AS events,
             (SELECT count(*) FROM attribution.revenue_ledger WHERE tenant_id = $a) AS posted,
             (SELECT count(*) FROM attribution.refresh_log WHERE outcome = 'refreshed') AS refreshes) done
SQL
}

# The modes that refresh_all() chose, and how many rows of the views are wrong afterwards.
refreshed() {
    local since
    since=$(ask 'SELECT attribution.uuid_v7()')
    ask 'CALL attribution.refresh_all()'
    ask "SELECT string_agg(mode, ' ' ORDER BY view_name), (SELECT sum(public.wrong_rows(oid)) FROM pg_class WHERE relkind = 'm' AND relname LIKE 'mv\_%') || ' wrong'
         FROM attribution.refresh_log WHERE id > '$since'"
}

main
