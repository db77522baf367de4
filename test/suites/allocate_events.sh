#!/bin/bash
# A run of allocate_events() that is killed, cancelled or crowded loses nothing and does nothing twice:
# 40,000 conversions and 12,000 refunds, interrupted in every way there is and taken up again, end in
# the rows of a run that nobody disturbed; so do two runs at once beside sessions that ingest refunds
# and allocate single events. A server of its own: backends are killed here.
#
# When a run is hit depends on the clock; what is asked of it does not.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

work=$(mktemp -d "$ATTRIBUTION_TMP/events.XXXXXX")
also_remove+=("$work")
tenant="'aaaaaaaa-0000-4000-8000-000000000000'"
patience=60 # seconds until a run that should have ended counts as hung

main() {
    server_start 'track_commit_timestamp = on'
    make_source
    copy_of_source whole
    ask whole "CALL attribution.allocate_events($tenant, 'm', batch_size => 5000)" >/dev/null
    rows_of whole >"$work/whole"
    is "$(counts_of whole)" '52000 events of 52000, 0 unbalanced' 'a run that nobody disturbs allocates everything'
    interrupted_runs
    crowded_runs
    waiting_run
    suite_end
}

# --- What is allocated --------------------------------------------------------------------------------

# Conversions of 0 to 4 touches, ten in the same minute; every fifth is refunded, every tenth twice.
make_source() {
    fresh_database source 'CREATE EXTENSION attribution'
    psql -Xqd source -v ON_ERROR_STOP=1 >"$work/source.log" <<'SQL'
INSERT INTO attribution.tenants (id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a');
SELECT attribution.define_model(id, 'm', 'position_based') FROM attribution.tenants;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, channel)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('touch ' || n || ' ' || k)::uuid, 'touch',
       '2026-01-01Z'::timestamptz + (n / 10 - k) * interval '1 minute', md5('session ' || n)::uuid, 'channel ' || (n * k) % 9
FROM generate_series(1, 40000) AS n, generate_series(1, 4) AS k WHERE k <= n % 5;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, session_id, revenue_cents)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('conversion ' || n)::uuid, 'conversion',
       '2026-01-01Z'::timestamptz + n / 10 * interval '1 minute', md5('session ' || n)::uuid, 100 + n
FROM generate_series(1, 40000) AS n;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
SELECT 'aaaaaaaa-0000-4000-8000-000000000000', md5('refund ' || n || ' ' || k)::uuid, 'refund',
       '2026-01-01Z'::timestamptz + (n / 10 + 300 * k) * interval '1 minute', md5('conversion ' || n)::uuid, -10 * k
FROM generate_series(5, 40000, 5) AS n, generate_series(1, 2) AS k WHERE k = 1 OR n % 10 = 0;
VACUUM ANALYZE;
SQL
}

copy_of_source() {
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c "CREATE DATABASE $1 TEMPLATE source"
}

ask() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' -c "$2"
}

# Every allocation, without its clocks; not those of refunds that only crowded_runs has.
rows_of() {
    ask "$1" "COPY (SELECT a.id, a.event_id, a.model_version, a.channel, a.weight, a.allocation_ratio, a.allocated_revenue_cents, a.correlation_id, a.model_metadata
                    FROM attribution.attribution_allocations a JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
                    WHERE e.external_event_id IS NULL ORDER BY a.tenant_id, a.id) TO STDOUT"
}

same_rows() {
    rows_of "$1" >"$work/$1"
    if cmp "$work/whole" "$work/$1" >"$work/cmp" 2>&1; then
        ok "$2"
    else
        not_ok "$2"
        { cat "$work/cmp"; diff "$work/whole" "$work/$1" | head -n 10; } | sed 's/^/#   /'
    fi
}

# That a key is there twice the database refuses; that an event is allocated twice over shows in its sum.
counts_of() {
    ask "$1" "SELECT (SELECT count(DISTINCT event_id) FROM attribution.attribution_allocations) || ' events of '
                  || (SELECT count(*) FROM attribution.attribution_events WHERE event_type <> 'touch') || ', '
                  || (SELECT count(*) FROM attribution.unbalanced_allocations()) || ' unbalanced'"
}

# --- Interruptions ------------------------------------------------------------------------------------

# One run after the other takes up what the one before it left.
interrupted_runs() {
    copy_of_source killed
    before=0 hits=0
    interrupt 'statement_timeout' 'failed 57014: canceling statement due to statement timeout' true -c statement_timeout=1s
    interrupt 'kill -9' interrupted kill_backend
    interrupt 'pg_cancel_backend' 'failed 57014: canceling statement due to user request' cancel_backend
    interrupt 'kill -9, again' interrupted kill_backend
    interrupt 'pg_terminate_backend' interrupted terminate_backend
    interrupt 'kill -9, a third time' interrupted kill_backend
    interrupt 'a crash of the server' interrupted crash
    if [ "$hits" -ge 4 ]; then ok 'most interruptions came in time'; else not_ok "only $hits interruptions came in time"; fi
    is "$(ask killed "CALL attribution.allocate_events($tenant, 'm', batch_size => 500)" | cut -d '|' -f 4)" 0 'the last run comes to its end'
    is "$(counts_of killed)" '52000 events of 52000, 0 unbalanced' 'everything is allocated, once'
    is "$(ask killed 'SELECT count(*), sum(allocations_written) = (SELECT count(*) FROM attribution.attribution_allocations), sum(events_failed) FROM attribution.allocation_runs')" \
        '8|t|0' 'the runs together account for every row'
    same_rows killed 'in the rows of the run that nobody disturbed'
    is "$(ask killed "CALL attribution.allocate_events($tenant, 'm', batch_size => 500)" | cut -d '|' -f 2-4)" '0|0|0' 'and one more run has nothing to do'
}

# interrupt HOW STATE COMMAND [SETTING...]: starts a run, lets it commit a batch or two, does the
# command, and looks at what the run has left.
interrupt() {
    local how=$1 state=$2 command=$3 since call backend='' last allocated events ended=1
    shift 3
    since=$(ask killed "SELECT coalesce(max(started_at), '-infinity') FROM attribution.allocation_runs")
    PGOPTIONS="$*" psql -Xqd killed -c "CALL attribution.allocate_events($tenant, 'm', batch_size => 500)" >"$work/call.log" 2>&1 &
    call=$!
    if [ "$command" != true ]; then
        backend=$(in_progress)
        sleep "0.0$((RANDOM % 10))"
        [ -z "$backend" ] || "$command"
    fi
    ended_within $patience "$call" || ended=
    wait_for_server
    if [ -z "$ended" ]; then
        not_ok "$how: the run ends within $patience s"
        ask killed "SELECT pg_terminate_backend(backend_pid) FROM attribution.allocation_runs WHERE state = 'running'" >/dev/null
        wait "$call" || true
        return 0
    fi
    wait "$call" || true
    last=$(ask killed "SELECT concat_ws(' ', state, error_message) FROM attribution.allocation_progress ORDER BY started_at DESC, id DESC LIMIT 1")
    if [ "$last" = completed ]; then
        skip "$how: the run was over before"
        return 0
    fi
    hits=$((hits + 1))
    is "$last" "$state" "$how: the run is $state"
    allocated=$(ask killed 'SELECT count(DISTINCT event_id) FROM attribution.attribution_allocations')
    events=$(ask killed 'SELECT sum(events_allocated) FROM attribution.allocation_runs')
    # Afterwards it says more, in a transaction of its own, unless it is gone.
    if [ "$state" = interrupted ]; then
        is "$(ask killed "SELECT pg_xact_commit_timestamp(xmin) = (SELECT max(pg_xact_commit_timestamp(x)) FROM (SELECT DISTINCT xmin AS x FROM attribution.attribution_allocations) a)
                          FROM attribution.allocation_runs ORDER BY started_at DESC LIMIT 1")" t "$how: a batch and its progress are one transaction"
    fi
    is "$events" "$allocated" "$how: what the runs say they allocated is allocated, and no more"
    if [ "$allocated" -gt "$before" ]; then ok "$how: batches that were committed stay"; else not_ok "$how: batches that were committed stay ($before before, $allocated now)"; fi
    is "$(ask killed 'SELECT count(*) FROM attribution.unbalanced_allocations()')" 0 "$how: nothing is half allocated"
    before=$allocated
}

# Waits until the run that started after `since` has committed something, and says whose it is; nothing
# when it is over.
in_progress() {
    local deadline=$((SECONDS + patience)) answer
    while [ $SECONDS -lt $deadline ] && kill -0 "$call" 2>/dev/null; do
        answer=$(ask killed "SELECT backend_pid FROM attribution.allocation_runs WHERE started_at > '$since' AND state = 'running' AND events_allocated > 0")
        if [ -n "$answer" ]; then
            printf '%s' "$answer"
            return 0
        fi
        sleep 0.02
    done
}

# The server's own user owns the process; we are that user, or root.
kill_backend() {
    kill -KILL "$backend" || true
}

cancel_backend() {
    ask killed "SELECT pg_cancel_backend($backend)" >/dev/null
}

terminate_backend() {
    ask killed "SELECT pg_terminate_backend($backend)" >/dev/null
}

crash() {
    server_stop keep immediate
    server_run
}

# Killing a backend makes the server start over, by itself.
wait_for_server() {
    local deadline=$((SECONDS + patience))
    until psql -XqAtd killed -c 'SELECT 1' >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || die "the server did not come back within $patience s"
        sleep 0.05
    done
}

# ended_within SECONDS PID: our own child, so that its pid is nobody else's before we wait for it.
ended_within() {
    local deadline=$((SECONDS + $1))
    while kill -0 "$2" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.02
    done
}

# --- Company ------------------------------------------------------------------------------------------

# Two runs at once, refunds that come in while they run, and single events allocated here and there.
crowded_runs() {
    local pids=() pid code=0
    copy_of_source crowded
    for n in $(seq 1 1000); do
        printf "SELECT FROM attribution.ingest_event($tenant, 'shop', 'refund', '2026-02-01Z', -7, 'shop:refund:%s', refund_of => md5('conversion %s')::uuid);\n" "$n" "$((n * 35 + 1))"
    done >"$work/ingest.sql"
    for n in $(seq 1 1000); do
        printf "SELECT count(*) FROM attribution.allocate_event($tenant, md5('conversion %s')::uuid, 'm');\n" "$((n * 7919 % 40000 + 1))"
    done >"$work/single.sql"
    psql -Xqd crowded -v ON_ERROR_STOP=1 -c "CALL attribution.allocate_events($tenant, 'm', batch_size => 500)" >"$work/first.log" 2>&1 & pids+=($!)
    psql -Xqd crowded -v ON_ERROR_STOP=1 -c "CALL attribution.allocate_events($tenant, 'm', batch_size => 700)" >"$work/second.log" 2>&1 & pids+=($!)
    psql -Xqd crowded -v ON_ERROR_STOP=1 -f "$work/ingest.sql" >"$work/ingest.log" 2>&1 & pids+=($!)
    psql -Xqd crowded -v ON_ERROR_STOP=1 -f "$work/single.sql" >"$work/single.log" 2>&1 & pids+=($!)
    for pid in "${pids[@]}"; do
        ended_within $patience "$pid" || { not_ok "every session ends within $patience s"; kill "$pid" 2>/dev/null || true; }
        wait "$pid" || code=1
    done
    is "$code$(grep -hE 'ERROR|WARNING|FATAL|DETAIL:  Key' "$work"/{first,second,ingest,single}.log || true)" 0 'two runs, refunds and single events at once: no session fails'
    is "$(ask crowded "SELECT count(*), count(*) FILTER (WHERE state = 'completed') FROM attribution.allocation_progress")" '2|2' 'both runs are completed'
    is "$(ask crowded 'SELECT count(*) FROM attribution.allocation_failures')" 0 'no event is told to have failed'
    ask crowded "CALL attribution.allocate_events($tenant, 'm')" >/dev/null
    is "$(counts_of crowded)" '53000 events of 53000, 0 unbalanced' 'with one more run everything is allocated, once'
    is "$(ask crowded "SELECT sum(events_allocated) <= 53000, sum(allocations_written) <= (SELECT count(*) FROM attribution.attribution_allocations) FROM attribution.allocation_runs")" 't|t' \
        'and no run counts what another one wrote'
    is "$(ask crowded "SELECT count(*) FROM (SELECT 1 FROM attribution.attribution_allocations a JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
                       GROUP BY coalesce(e.refund_of, e.id), a.channel HAVING sum(a.allocated_revenue_cents) < 0) x")" 0 'no channel is below zero'
    same_rows crowded 'and what the refunds did not touch is as the undisturbed run has it'
}

# A row that somebody holds: lock_timeout ends the run, which says so; the next one goes on. In a range
# of 3,000 conversions, of which number 30,000 is one.
waiting_run() {
    local holder call="CALL attribution.allocate_events($tenant, 'w', '2026-01-03Z', '2026-01-03 05:00Z', batch_size => 500)"
    ask whole "SELECT attribution.define_model($tenant, 'w', 'linear')" >/dev/null
    PGAPPNAME=holder psql -Xqd whole -c BEGIN -c "SELECT FROM attribution.attribution_events WHERE id = md5('conversion 30000')::uuid FOR UPDATE" -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
    holder=$!
    until [ "$(ask whole "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND query LIKE '%pg_sleep%'")" = 1 ]; do sleep 0.02; done
    is "$(PGOPTIONS='-c lock_timeout=50ms' ask whole "$call" 2>&1 | grep -o 'canceling statement due to lock timeout')" \
        'canceling statement due to lock timeout' 'a row that is held: lock_timeout ends the run'
    is "$(ask whole "SELECT state, error_message, events_allocated > 0,
                         events_allocated = (SELECT count(DISTINCT event_id) FROM attribution.attribution_allocations WHERE model_version = 'w'), events_failed
                     FROM attribution.allocation_progress WHERE model_version = 'w'")" \
        'failed|55P03: canceling statement due to lock timeout|t|t|0' 'which says so, and keeps what was committed'
    ask whole "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'" >/dev/null
    wait "$holder" || true
    ask whole "$call" >/dev/null
    is "$(ask whole "SELECT count(*) FROM attribution.attribution_allocations a JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
                     WHERE a.model_version = 'w' AND e.event_type = 'conversion' AND a.event_id = md5('conversion 30000')::uuid")" 1 'the next run goes on'
}

main
