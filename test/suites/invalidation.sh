#!/bin/bash
# Triggers read the catalog's own copy of the tables while others make it anew: ANALYZE and ALTER TABLE in a loop
# beside deletes that fire thousands of triggers. A trigger that keeps a pointer into what was rebuilt fails with
# errors that no statement deserves, such as "could not open relation with OID 2950".

set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

[ -n "${PGHOST:-}" ] || server_start
rounds=8

psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION attribution' \
    -c "INSERT INTO attribution.tenants (id, name) VALUES ('11111111-0000-4000-8000-000000000000', 'x')"

# Until the file is gone, which goes with the directory at the latest.
rebuild() {
    while [ -e "$ATTRIBUTION_TMP/rebuilding" ]; do
        psql -Xq -v ON_ERROR_STOP=1 -c 'ANALYZE attribution.attribution_events' -c 'ANALYZE attribution.attribution_allocations' \
            -c 'ALTER TABLE attribution.attribution_events ALTER COLUMN source SET STATISTICS 10' || return
        printf '.'
    done
}
touch "$ATTRIBUTION_TMP/rebuilding"
also_remove+=("$ATTRIBUTION_TMP/rebuilding")
rebuild >"$ATTRIBUTION_TMP/rebuilds" 2>&1 &
rebuilder=$!

work() {
    psql -Xq -v ON_ERROR_STOP=1 <<'SQL'
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT '11111111-0000-4000-8000-000000000000', md5(n::text)::uuid, 'conversion', '2026-01-01Z', 100 FROM generate_series(1, 3000) AS n;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, refund_of)
SELECT tenant_id, md5(id::text)::uuid, 'refund', '2026-01-02Z', -1, id FROM attribution.attribution_events;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT tenant_id, id, '1', 'email', revenue_cents FROM attribution.attribution_events;
DELETE FROM attribution.attribution_events WHERE refund_of IS NOT NULL;
DELETE FROM attribution.attribution_events;
SQL
}
for ((round = 1; round <= rounds; round++)); do
    is "$(work 2>&1)" '' "round $round: no error while the tables are analyzed and altered"
done
rm "$ATTRIBUTION_TMP/rebuilding"
wait "$rebuilder"
is "$(tr -d . <"$ATTRIBUTION_TMP/rebuilds")" '' 'and none there'
if [ "$(wc -c <"$ATTRIBUTION_TMP/rebuilds")" -ge "$rounds" ]; then ok 'they were, all the time'; else not_ok 'they were, all the time'; fi
suite_end
