#!/bin/bash
# pg_upgrade to every later PostgreSQL of this machine (test/matrix has 15, 17 and 18 in one chroot), with copied files
# and with linked ones: rows, rights, triggers and what the owner has added to our tables are there, views and what
# waits for them too; wrong rows are refused, and everything goes on.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

work=$(mktemp -d "$ATTRIBUTION_TMP/pg_upgrade.XXXXXX")
also_remove+=("$work")
sql=$ATTRIBUTION_ROOT/test/backup
# shellcheck source=test/backup/compare.sh
. "$sql/compare.sh"
conf=('autovacuum = off' 'wal_level = logical')

main() {
    local config later=() old_bin
    for config in /usr/lib/postgresql/*/bin/pg_config; do
        if [[ $config =~ /postgresql/([0-9]+)/ ]] && [ "${BASH_REMATCH[1]}" -gt "$PG_MAJOR" ] && [ -e "$("$config" --pgxs)" ]; then later+=("$config"); fi
    done
    if [ ${#later[@]} = 0 ]; then
        skip "no PostgreSQL later than $PG_MAJOR to upgrade to"
        suite_end
    fi
    server_start "${conf[@]}"
    old_bin=$PG_BIN
    make_source
    server_stop keep
    server_park old
    for config in "${later[@]}"; do
        prefix_add "$config"
        upgrade "$(major_of "$("$config" --version)")" copy
        upgrade "$(major_of "$("$config" --version)")" link
        upgrade "$(major_of "$("$config" --version)")" cut
    done
    server_use old
    rm -rf "$server_dir"
    suite_end
}

# What is dumped elsewhere, and changes that no refresh has seen.
make_source() {
    fresh_database shop 'CREATE EXTENSION attribution'
    psql -Xq -f "$sql/source.sql" >"$work/source.log" 2>&1 || { cat "$work/source.log"; die 'the source could not be made'; }
    psql -Xq -v ON_ERROR_STOP=1 -o "$work/changes.log" <<'SQL'
SELECT a.* FROM attribution.attribution_events e, attribution.allocate_event(e.tenant_id, e.id, 'late', '{email,direct}', '{2,1}') a
WHERE e.event_type = 'conversion' AND e.revenue_cents < 5000;
UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL
WHERE (tenant_id, id) IN (SELECT DISTINCT ON (tenant_id) tenant_id, id FROM attribution.revenue_ledger WHERE is_verified ORDER BY tenant_id, id);
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'failed' FROM attribution.tenants;
SQL
    is "$(psql -XqAtc 'SELECT bool_and(pending_changes > 0 AND doubt IS NULL) FROM attribution.refresh_status')" t 'the views lack what was done'
    state_of_any_major >"$work/state"
}

# Without texts that a later version prints in another way, and what it counts in addition: a right, constraints for NOT
# NULL, row types of members as members.
state_of_any_major() {
    state | sed -E '/^(view|function) /d; /^constraint .* NOT NULL [a-z_A-Z0-9" ]+$/d; s/,MAINTAIN\*?//; /^member type /d; s/^(statistics [^ ]+ [^ ]+) -1 /\1  /'
}

# upgrade MAJOR copy|link|cut; cut: by copying, after pg_upgrade and its servers were killed while they loaded the schema
upgrade() {
    local major=$1 how=$2 old=${server_parked[old]#*:} what="$PG_MAJOR to $1, $2" words=() initdb=() PG_BIN=$prefix_bin
    server_make_directory
    cp -a "$old/data" "$server_dir/old"
    # What 18 does by default, and the old cluster has not.
    [ "$major" -lt 18 ] || initdb=(--no-data-checksums)
    new_cluster "${initdb[@]}"
    words=(--old-bindir="$old_bin" --new-bindir="$PG_BIN" --old-datadir="$server_dir/old" --new-datadir="$server_dir/data" --socketdir="$server_dir/s" -U postgres)
    case $how in
        link) words+=(--link) ;;
        cut)
            cut_off "${words[@]}"
            new_cluster "${initdb[@]}"
            ;;
    esac
    [ "$how" = cut ] || is "$(pg_upgrade "${words[@]}" --check)" '*Clusters are compatible*' "$what: pg_upgrade --check"
    is "$(pg_upgrade "${words[@]}")" '' "$what: pg_upgrade"
    printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$server_dir/s'" 'fsync = off' 'dynamic_shared_memory_type = mmap' "timezone = 'UTC'" "${conf[@]}" \
        >>"$server_dir/data/postgresql.conf"
    export PGHOST=$server_dir/s PGDATABASE=shop
    server_run
    holds
    server_stop
}

# An empty cluster in server_dir/data, whatever was there.
new_cluster() {
    rm -rf "$server_dir/data"
    mkdir -m 700 "$server_dir/data"
    if [ ${#as_server[@]} -gt 0 ]; then chown postgres: "$server_dir/data"; fi
    step in_directory "$server_dir" "${as_server[@]}" "$PG_BIN/initdb" -D "$server_dir/data" -U postgres --auth=trust \
        --no-locale --encoding=UTF8 --no-sync --no-instructions "$@" >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; die 'initdb failed'; }
}

# True while a process works in the directory, as the processes of a server do in its data.
is_home() {
    local process
    for process in /proc/[0-9]*; do
        if [ "$(readlink "$process/cwd" 2>/dev/null)" = "$1" ]; then return 0; fi
    done
    return 1
}

# Kills pg_upgrade and the servers it has started as soon as the tables are in the new cluster, but not yet all that
# belongs to them. The old cluster is untouched until files are copied, so it is enough to
# begin again with a new one.
cut_off() {
    local code=0 data pid started=$SECONDS
    set -m
    in_directory "$server_dir" "${as_server[@]}" "$PG_BIN/pg_upgrade" "$@" >"$work/cut.log" 2>&1 </dev/null &
    local victim=$!
    set +m
    until grep -qs 'CREATE EXTENSION\|creating EXTENSION\|creating TABLE' "$server_dir"/data/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log; do
        if [ $((SECONDS - started)) -ge 60 ] || ! kill -0 "$victim" 2>/dev/null; then break; fi
        sleep 0.01
    done
    kill -KILL -- "-$victim" 2>/dev/null || true
    for data in data old; do
        if pid=$(head -n 1 "$server_dir/$data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ]; then
            kill -KILL "$pid" 2>/dev/null || true
            while is_home "$server_dir/$data"; do sleep 0.02; done # its other processes notice by themselves
        fi
    done
    wait "$victim" || code=$?
    is "$([ "$code" = 0 ] || echo killed)" killed "$what: pg_upgrade was killed while it loaded the schema"
}

# What it says, if it fails; of a check its last line.
pg_upgrade() {
    local code=0
    step in_directory "$server_dir" "${as_server[@]}" "$PG_BIN/pg_upgrade" "$@" >"$work/pg_upgrade.log" 2>&1 || code=$?
    if [ "$code" != 0 ]; then
        cat "$work/pg_upgrade.log"
        find "$server_dir/data/pg_upgrade_output.d" -name '*.txt' -exec cat {} + 2>/dev/null || true
    elif [ "${*: -1}" = --check ]; then
        grep -v '^$' "$work/pg_upgrade.log" | tail -n 1
    fi
}

holds() {
    state_of_any_major >"$work/state.new"
    same "$work/state" "$work/state.new" "$what: the same rows, schema, rights, comments and objects of the owner, and nothing is missing"
    is "$(psql -XqAtc 'SELECT bool_and(pending_changes > 0 OR doubt IS NOT NULL) FROM attribution.refresh_status')" t "$what: what the views lack is known, or in doubt"
    psql -Xqc 'CALL attribution.refresh_all()'
    is "$(psql -XqAt -f - <<'SQL'
SELECT format('SELECT %L, count(*) FROM ((TABLE %2$s EXCEPT ALL (%3$s)) UNION ALL ((%3$s) EXCEPT ALL TABLE %2$s)) d', relname, oid::regclass, rtrim(pg_get_viewdef(oid), ';'))
FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'm' ORDER BY relname \gexec
SQL
)" $'mv_allocation_summary|0\nmv_realtime_revenue|0\nmv_reconciliation_status|0' "$what: the first refresh makes them right"
    promises >"$work/promises"
    same "$sql/promises.out" "$work/promises" "$what: reads, refuses, follows and writes as before"
    is "$(grep -E 'PANIC|TRAP|terminated by signal' "$server_dir/log" || true)" '' "$what: no backend ended by itself"
}

main
