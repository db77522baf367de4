#!/bin/bash
# Many sessions write to few events at once, rightly and wrongly, at random isolation levels, while backends are
# ended and one is killed, which restarts the server. At the end nothing in the tables is wrong, and every
# kind of violation was caught at least once. Then the extension's own functions, each in a transaction of
# its own: no deadlock.
#
#   SOAK_SECONDS=600 SOAK_CLIENTS=16 SOAK_SEED=7 test/run soak
#
# The seeds say what each session sends; how the sessions meet is up to the machine.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

seconds=${SOAK_SECONDS:-15} clients=${SOAK_CLIENTS:-8} seed=${SOAK_SEED:-1}
script=$ATTRIBUTION_ROOT/test/suites/soak.awk
work=$ATTRIBUTION_TMP/soak
mkdir -p "$work"
touch "$work/ended" "$work/killed"
also_remove+=("$work")

# A server of its own: killing a backend ends the sessions of all others.
server_start 'deadlock_timeout = 100ms' "max_connections = $((clients + 20))"

main() {
    printf '#   seeds %s to %s, %s s\n' "$((seed * 1000000))" "$((seed * 1000000 + clients * 10000))" "$seconds"
    prepare
    any_writes
    own_functions
    suite_end
}

prepare() {
    psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
CREATE EXTENSION attribution;
INSERT INTO attribution.tenants (id, name) VALUES ('11111111-1111-4111-8111-111111111111', 'soak');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, session_id)
SELECT '11111111-1111-4111-8111-111111111111', ('eeeeeeee-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'conversion', '2026-01-01Z', 1000 * n + 1,
       ('55555555-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
FROM generate_series(1, 11) AS n;
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, channel, session_id)
SELECT '11111111-1111-4111-8111-111111111111', 'touch', '2025-12-31Z', c, ('55555555-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
FROM generate_series(1, 10) AS n, unnest('{ads,email,tv}'::text[]) AS c;
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, refund_of)
SELECT tenant_id, 'refund', '2026-01-02Z', -revenue_cents / 3, id
FROM attribution.attribution_events WHERE event_type = 'conversion' AND revenue_cents > 5000;
SELECT attribution.define_model('11111111-1111-4111-8111-111111111111', v, 'linear')
FROM (SELECT 'own' || n FROM generate_series(0, 49) AS n UNION ALL VALUES ('1'), ('2')) AS m (v);
SQL
}

# --- The sessions -------------------------------------------------------------------------------------

# run KIND: the sessions, until the time is over.
run() {
    local kind=$1 client until=$((SECONDS + seconds)) pids=()
    rm -f "$work"/out.* "$work"/err.*
    for ((client = 1; client <= clients; ++client)); do
        session "$client" "$kind" "$until" &
        pids+=($!)
    done
    if [ "$kind" = any ]; then end_some "$until" || true; fi
    wait "${pids[@]}"
}

# A session lost is a session anew, with the next seed.
session() {
    local client=$1 kind=$2 until=$3 part=0
    while [ $SECONDS -lt "$until" ]; do
        part=$((part + 1))
        awk -f "$script" -v seed=$((seed * 1000000 + client * 10000 + part)) -v count=40 -v kind="$kind" |
            PGAPPNAME=soak psql -X -v VERBOSITY=verbose >>"$work/out.$client" 2>>"$work/err.$client" || sleep 0.1
    done
}

# Ends a session every now and then; halfway one with SIGKILL, which PostgreSQL answers with a restart.
end_some() {
    local until=$1 half=$(($1 - seconds / 2)) killed='' victim
    while [ $SECONDS -lt "$until" ]; do
        sleep 0.3
        if [ -z "$killed" ] && [ $SECONDS -ge $half ]; then
            victim=$(ask "SELECT pid FROM pg_stat_activity WHERE application_name = 'soak' AND state <> 'idle' ORDER BY pid LIMIT 1") || continue
            if [ -n "$victim" ] && kill -KILL "$victim"; then
                killed=1
                echo "$victim" >>"$work/killed"
            fi
        else
            ask "SELECT pid FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'soak' AND state = 'active' ORDER BY random() LIMIT 1) p
                 WHERE pg_terminate_backend(pid)" >>"$work/ended" 2>/dev/null || true
        fi
    done
}

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# --- What they met -----------------------------------------------------------------------------------

# The errors by SQLSTATE and constraint, with their number.
errors() {
    cat "$work"/err.* | awk '
        function count_last() { if (state != "") ++n[state (state ~ /^(23|40001)/ && name != "" ? " " name : "")]; state = name = "" }
        /(ERROR|FATAL):  [0-9A-Z]+: / { count_last(); match($0, /(ERROR|FATAL):  [0-9A-Z]+: /); state = substr($0, RSTART, RLENGTH - 2); sub(/.*:  /, "", state) }
        /^CONSTRAINT NAME:  / { name = $3 }
        END { count_last(); for (i in n) print i, n[i] }' | sort
}

any_writes() {
    local errors kind
    run any
    until ask 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
    errors=$(errors)
    printf '#   %s\n' "${errors//$'\n'/$'\n#   '}"
    printf '#   %s transactions committed, %s sessions ended, %s killed\n' "$(cat "$work"/out.* | grep -c '^COMMIT$')" \
        "$(wc -l <"$work/ended")" "$(wc -l <"$work/killed")"

    for kind in '23514 allocation_sum_equals_revenue' '23514 refunds_do_not_exceed_conversion' '23514 channel_is_not_below_zero' \
        '23514 allocation_key_is_immutable' '40001 allocation_sum_equals_revenue'; do
        if grep -q "^$kind " <<<"$errors"; then ok "caught: $kind"; else not_ok "caught: $kind"; fi
    done
    only_known "$errors" '22023|23503|23505|23514|25P02|3B001|40001|40P01|57P0[123]'
    nothing_is_wrong
    is "$(grep -c 'terminated by signal' "$server_dir/log")" "$(wc -l <"$work/killed")" 'no backend ended but by our signals'
    is "$(grep -cE 'PANIC|TRAP' "$server_dir/log")" 0 'no PANIC'
    if [ -s "$work/ended" ] && [ -s "$work/killed" ]; then ok 'sessions were ended and killed'; else not_ok 'sessions were ended and killed'; fi
}

own_functions() {
    local errors
    run own
    errors=$(errors)
    printf '#   own: %s\n' "${errors//$'\n'/$'\n#   own: '}"
    is "$(grep '^40P01 ' <<<"$errors" || true)" '' 'the functions do not deadlock'
    only_known "$errors" '22023|23505|23514|40001'
    nothing_is_wrong
}

# only_known ERRORS STATES
only_known() {
    is "$(grep -vE "^($2) " <<<"$1" || true)" '' 'no error of another kind'
}

nothing_is_wrong() {
    is "$(ask 'SELECT count(*) FROM attribution.unbalanced_allocations()')" 0 'no wrong sum is in the tables'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events c
               JOIN (SELECT refund_of, sum(revenue_cents) AS cents FROM attribution.attribution_events GROUP BY refund_of) r ON r.refund_of = c.id
               WHERE c.revenue_cents + r.cents < 0")" 0 'no conversion is refunded beyond its revenue'
    is "$(ask "SELECT count(*) FROM (SELECT sum(a.allocated_revenue_cents) AS cents FROM attribution.attribution_allocations a
               JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
               GROUP BY coalesce(e.refund_of, e.id), a.model_version, a.channel) s WHERE cents < 0")" 0 'no channel is below zero'
    is "$(ask "SELECT (SELECT count(*) FROM attribution.attribution_allocations) > 0, (SELECT count(*) FROM attribution.attribution_events WHERE event_type = 'refund') > 0")" \
        't|t' 'there are allocations and refunds'
}

main
