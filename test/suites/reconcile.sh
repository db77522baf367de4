#!/bin/bash
# Reconciliations that other sessions watch, that are killed, and of a million settlements, on a server of its own.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
server_start
export PGOPTIONS='-c client_min_messages=warning'
tenant=aaaaaaaa-0000-4000-8000-000000000000

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# wait_for QUERY: until it says t, 60 seconds at most.
wait_for() {
    local deadline=$((SECONDS + 60))
    until [ "$(ask "$1" 2>&1 || true)" = t ]; do
        [ $SECONDS -lt $deadline ] || { not_ok "never came true: $1"; return; }
        sleep 0.1
    done
}

main() {
    ask "CREATE EXTENSION attribution; INSERT INTO attribution.tenants (id, name) VALUES ('$tenant', 'a')"
    ask "INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, external_event_id)
         SELECT '$tenant', 'conversion', '2026-01-01Z'::timestamptz + n * interval '1 second', 100, 'shop:order:' || n FROM generate_series(1, 20000) AS n;
         SELECT attribution.define_model('$tenant', '1', 'linear')" >/dev/null
    ask "CALL attribution.allocate_events('$tenant', '1')" >/dev/null
    is "$(ask "SELECT attribution.post_allocations('$tenant', '1')")" 20000 'a ledger of 20,000 conversions'
    watched
    killed
    a_million
    suite_end
}

# A trigger of the test holds the second step until the first session is told to go on.
watched() {
    ask "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END \$\$;
         CREATE TRIGGER hold AFTER INSERT ON attribution.reconciliation_settlements FOR EACH STATEMENT EXECUTE FUNCTION hold()"
    psql -XqAt <<<'SELECT pg_advisory_lock(4711); SELECT pg_sleep(1000)' >/dev/null 2>&1 &
    local holder=$!
    wait_for "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND granted"
    psql -XqAt -v ON_ERROR_STOP=1 -c "CALL attribution.reconcile('$tenant', '[{\"key\": \"shop:order:1\", \"amount_cents\": 100}]', NULL)" >/dev/null 2>"$ATTRIBUTION_TMP/reconcile.err" &
    local runner=$!
    wait_for "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
    is "$(ask "SELECT state FROM attribution.reconciliation_status('$tenant')")" running 'others see a run while it runs'
    is "$(ask "SELECT attribution.start_reconciliation('$tenant')" 2>&1 | grep -c 'another reconciliation of the tenant is running')" 1 'and cannot start another'
    ask "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND granted" >/dev/null
    wait $runner || not_ok 'the run ended badly'
    wait $holder || true
    is "$(ask "SELECT state, (SELECT count(*) FROM attribution.revenue_ledger WHERE is_verified) FROM attribution.reconciliation_status('$tenant')")" 'completed|1' 'it comes to its end'
}

# kill -9 in the middle of the second step: the server restarts, the run is left running, the next one takes its place.
killed() {
    psql -XqAt <<<'SELECT pg_advisory_lock(4711); SELECT pg_sleep(1000)' >/dev/null 2>&1 &
    local holder=$!
    wait_for "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND granted"
    psql -XqAt -c "CALL attribution.reconcile('$tenant', '[{\"key\": \"shop:order:2\", \"amount_cents\": 100}]', NULL)" >/dev/null 2>&1 &
    local runner=$!
    wait_for "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
    kill -9 "$(ask "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted")"
    wait $runner || true
    wait $holder || true
    wait_for 'SELECT true'
    is "$(ask "SELECT state FROM attribution.reconciliation_status('$tenant')")" running 'after kill -9 a run is left running'
    ask 'DROP TRIGGER hold ON attribution.reconciliation_settlements; DROP FUNCTION hold()'
    is "$(ask "SELECT state FROM attribution.start_reconciliation('$tenant')")" running 'the next one starts all the same'
    is "$(ask "SELECT count(*) FROM attribution.reconciliation_runs WHERE state = 'failed' AND error_message LIKE 'its server process % is gone'")" 1 \
        'and the one before has failed, and says why'
    is "$(ask 'SELECT count(*) FROM attribution.reconciliation_settlements')" 1 'nothing of the killed step stays'
    ask "SELECT attribution.fail_reconciliation(tenant_id, id, 'test') FROM attribution.reconciliation_runs WHERE state = 'running'" >/dev/null
}

# 20,000 that agree among a million, 50,000 a call. Memory of the backend, sampled after each step.
a_million() {
    {
        echo "CREATE TEMP TABLE memory (step text, anon_mb numeric);
              CREATE FUNCTION pg_temp.note(step text) RETURNS void LANGUAGE sql AS \$\$ INSERT INTO memory
                  SELECT step, substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::numeric / 1024 \$\$;
              SELECT id AS run FROM attribution.start_reconciliation('$tenant') \gset"
        local n
        for n in $(seq 0 19); do
            echo "SELECT attribution.settle('$tenant', :'run', (SELECT jsonb_agg(jsonb_build_object('key', 'shop:order:' || i, 'amount_cents', 100))
                      FROM generate_series($n * 50000 + 1, $n * 50000 + 50000) AS i)) \g /dev/null
                  SELECT pg_temp.note('settle') \g /dev/null"
        done
        echo "SELECT state, run_metadata -> 'matched', run_metadata -> 'missing_in_ledger', run_metadata -> 'verified_entries'
                  FROM attribution.finish_reconciliation('$tenant', :'run');
              SELECT pg_temp.note('finish') \g /dev/null
              SELECT 'memory ' || round(max(anon_mb)) FROM memory"
    } >"$ATTRIBUTION_TMP/million.sql"
    psql -XqAt -v ON_ERROR_STOP=1 -f "$ATTRIBUTION_TMP/million.sql" >"$ATTRIBUTION_TMP/million.out"
    is "$(head -1 "$ATTRIBUTION_TMP/million.out")" 'completed|20000|980000|19999' 'a million settlements: what is posted agrees, and is verified once'
    local most
    most=$(sed -n 's/^memory //p' "$ATTRIBUTION_TMP/million.out")
    printf "# RssAnon at most: %s MB\n" "$most"
    if [ "$most" -lt 300 ]; then
        ok "in bounded memory"
    else
        not_ok "in $most MB of memory"
    fi
    is "$(ask "SELECT count(*) FROM attribution.settlement_differences WHERE kind = 'missing_in_ledger'")" 980000 'every difference is recorded'
}

main
