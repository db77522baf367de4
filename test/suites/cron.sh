#!/bin/bash
# pg_cron refreshes the views: a real job that calls refresh_all(), run by pg_cron's own background
# worker in a server of its own. Waits for runs, since only waiting proves it: up to a minute where pg_cron
# knows no seconds (before 1.5, Debian 12), and then for no second run.

set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

library=$("${PG_CONFIG:-pg_config}" --pkglibdir)/pg_cron.so
if [ ! -e "$library" ]; then
    skip "pg_cron is not installed beside this PostgreSQL"
    exit 0
fi
server_start "shared_preload_libraries = 'pg_cron'" "cron.database_name = 'postgres'" 'cron.use_background_workers = on' \
    'max_worker_processes = 20'

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# wait_for SECONDS QUERY: until the query says t.
wait_for() {
    local deadline=$((SECONDS + $1))
    until [ "$(ask "$2")" = t ]; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.2
    done
}

# The views with the number of rows in which they differ from their queries.
views() {
    psql -XqAt -v ON_ERROR_STOP=1 <<'SQL' | paste -sd, | sed 's/,/, /g'
SELECT format('SELECT %3$L || '' '' || count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d', oid::regclass, rtrim(pg_get_viewdef(oid), ';'), relname)
FROM pg_class WHERE relkind = 'm' AND relname LIKE 'mv\_%' AND relnamespace = 'attribution'::regnamespace ORDER BY relname \gexec
SQL
}

psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
CREATE EXTENSION pg_cron;
CREATE EXTENSION attribution;
CREATE ROLE cron_operator LOGIN;
SELECT attribution.grant_access('cron_operator', 'operator');
GRANT USAGE ON SCHEMA cron TO cron_operator;

INSERT INTO attribution.tenants (id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a'), ('bbbbbbbb-0000-4000-8000-000000000000', 'b');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT t.id, attribution.keyed_event_id(t.id, n::text, NULL), 'conversion', '2026-01-01Z', n * 100 FROM attribution.tenants t, generate_series(1, 10) AS n;
SELECT count(a) FROM attribution.attribution_events e, attribution.allocate_event(e.tenant_id, e.id, '1.0.0', '{email,search}', '{1,2}') a;
SELECT attribution.post_allocations(id, '1.0.0') FROM attribution.tenants;
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'completed' FROM attribution.tenants;
SQL
is "$(ask "SELECT count(*) FROM pg_class WHERE relkind = 'm' AND relname LIKE 'mv\_%' AND relispopulated AND relnamespace = 'attribution'::regnamespace")" 0 \
    'before the first run the views are empty'

# The two jobs write the same log; that of the operator proves that nobody needs to be the owner.
schedule='* * * * *' patience=90
if [ "$(ask "SELECT string_to_array(split_part(extversion, '-', 1), '.')::int[] >= '{1,5}' FROM pg_extension WHERE extname = 'pg_cron'")" = t ]; then
    schedule='2 seconds' patience=30
fi
ask "SELECT cron.schedule('owner', '$schedule', 'CALL attribution.refresh_all()')" >/dev/null
psql -XqAt -U cron_operator -v ON_ERROR_STOP=1 -c "SELECT cron.schedule('operator', '$schedule', 'CALL attribution.refresh_all()')" >/dev/null

for job in owner operator; do
    if wait_for $patience "SELECT EXISTS (SELECT FROM cron.job_run_details d JOIN cron.job j USING (jobid)
                                          WHERE j.jobname = '$job' AND d.status IN ('succeeded', 'failed'))"; then
        is "$(ask "SELECT DISTINCT d.status FROM cron.job_run_details d JOIN cron.job j USING (jobid)
                   WHERE j.jobname = '$job' AND d.status IN ('succeeded', 'failed')")" succeeded "the job of the $job succeeded" || true
        ask "SELECT '#   ' || d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid)
             WHERE j.jobname = '$job' AND d.status = 'failed' LIMIT 1"
    else
        not_ok "the job of the $job ran within $patience s"
        ask 'SELECT d FROM cron.job_run_details d' | sed 's/^/#   /'
    fi
done

# Of two jobs at the same moment one may skip: then the other has refreshed.
is "$(ask "SELECT string_agg(DISTINCT view_name, ' ' ORDER BY view_name) FROM attribution.refresh_log WHERE outcome = 'refreshed'")" \
    'mv_allocation_summary mv_realtime_revenue mv_reconciliation_status' 'each view was refreshed and logged'
is "$(ask "SELECT count(*) FROM attribution.refresh_log WHERE outcome NOT IN ('refreshed', 'skipped')")" 0 'no refresh failed'
is "$(ask "SELECT count(*), sum(total_allocated_cents), bool_and(is_balanced) FROM attribution.mv_allocation_summary")" '20|11000|t' 'the allocation summary is right'
is "$(ask "SELECT string_agg(total_revenue || ' ' || verified, ', ' ORDER BY tenant_id) FROM attribution.mv_realtime_revenue")" \
    '55.00 false, 55.00 false' 'realtime revenue is right, for all tenants'
is "$(ask "SELECT count(*) FROM attribution.mv_reconciliation_status WHERE state = 'completed'")" 2 'the reconciliation status is right'
is "$(ask "SELECT r.total_revenue FROM attribution.realtime_revenue('aaaaaaaa-0000-4000-8000-000000000000') r WHERE r.data_freshness_seconds < 120")" 55.00 \
    'and its freshness is known'

# Both jobs go on beside a writer: they meet, and what they do follows what changed. A minute more where there
# are no seconds is not worth it.
interval=60
if [ "$patience" = 30 ]; then
    interval=2
    since=$(ask 'SELECT attribution.uuid_v7()')
    ask "UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = now()"
    for ((round = 0; round < 8; ++round)); do
        ask "INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'failed' FROM attribution.tenants"
        sleep 1
    done
    if wait_for $patience 'SELECT sum(s.pending_changes) = 0 FROM attribution.refresh_status s'; then
        ok 'later runs take in what has changed'
    else
        not_ok 'later runs take in what has changed'
    fi
    is "$(ask 'SELECT bool_and(verified) FROM attribution.mv_realtime_revenue')" t 'realtime revenue is verified now'
    is "$(ask "SELECT string_agg(DISTINCT l.mode, ' ') FROM attribution.refresh_log l WHERE l.id > '$since' AND l.outcome = 'refreshed'")" incremental \
        'later runs are incremental'
fi
is "$(ask "SELECT DISTINCT d.status FROM cron.job_run_details d WHERE d.status IN ('succeeded', 'failed')")" succeeded 'no run of the two jobs failed'
is "$(ask "SELECT count(*) FROM attribution.refresh_log WHERE outcome NOT IN ('refreshed', 'skipped')")" 0 'and no refresh'
is "$(ask "SELECT count(*) FROM attribution.refresh_status s WHERE s.staleness_seconds < $interval + 5 AND s.doubt IS NULL")" 3 \
    "no view is older than the interval of $interval s"
is "$(views)" 'mv_allocation_summary 0, mv_realtime_revenue 0, mv_reconciliation_status 0' 'each is what its query says'
suite_end
