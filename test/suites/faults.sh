#!/bin/bash
# What is cut off in its middle can be done again: CREATE EXTENSION, create_tables() and a restore, each ended by
# kill -9 and by a full disk. Afterwards nothing is half there, or the functions refuse to work with it, and the same
# command completes. The suites upgrade and pg_upgrade do so with what they make.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
# shellcheck source=test/faults.sh
. "$ATTRIBUTION_ROOT/test/faults.sh"

work=$(mktemp -d "$ATTRIBUTION_TMP/faults.XXXXXX")
chmod 755 "$work" # a tablespace of the server lies in it
also_remove+=("$work")
tenant=aaaaaaaa-0000-4000-8000-000000000000

main() {
    # A crash of one backend restarts all; with fsync off a crash of the server alone loses nothing.
    server_start 'max_prepared_transactions = 10' 'restart_after_crash = on'
    make_dumps
    killed create_extension
    killed mend
    killed restore_at_once
    killed_restore
    on_a_full_disk create_extension mend restore_at_once
    unfinished
    suite_end
}

# --- The commands -------------------------------------------------------------------------------------
# Each has a state before it (prepare_X), the command (X, in database `faults`), and what must hold when
# it was undone (undone_X) and when it was done (is_done).

say() {
    PGOPTIONS='-c client_min_messages=error' psql -XqAtd "${database:-faults}" -v ON_ERROR_STOP=1 "$@"
}

prepare_create_extension() { fresh_database faults; }
create_extension() { say -c 'CREATE EXTENSION attribution'; }
undone_create_extension() { say -c "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'attribution%'"; }

# What DROP EXTENSION CASCADE leaves: rows without triggers, defaults and policies.
prepare_mend() {
    fresh_database faults
    psql -Xqd faults -f "$work/filled.sql" >/dev/null 2>&1
    say -c "SET attribution.allow_drop_with_rows = on" -c 'DROP EXTENSION attribution CASCADE' -c 'CREATE EXTENSION attribution'
}
mend() { say -c 'SELECT count(*) FROM attribution.create_tables()' >/dev/null; }
undone_mend() { say -c "SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'attribution'::regnamespace) AND NOT tgisinternal"; }

prepare_restore_at_once() { fresh_database faults; }
restore_at_once() { PGOPTIONS='-c client_min_messages=error' psql -Xqd faults -v ON_ERROR_STOP=1 -1 -f "$work/filled.sql" >/dev/null; }
undone_restore_at_once() { undone_create_extension; }

make_dumps() {
    fresh_database source 'CREATE EXTENSION attribution'
    psql -Xqd source -v ON_ERROR_STOP=1 >/dev/null <<SQL
INSERT INTO attribution.tenants (id, name) VALUES ('$tenant', 'a');
SELECT count(attribution.ingest_event('$tenant', 'web', 'touch', '2026-01-01Z'::timestamptz + n * interval '1 minute',
    session_id => ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, channel => (ARRAY['email', 'search'])[n % 2 + 1]))
FROM generate_series(1, 1500) AS n;
SELECT count(attribution.ingest_event('$tenant', 'shop', 'conversion', '2026-01-02Z'::timestamptz + n * interval '1 minute', n * 97,
    'shop:order:' || n, session_id => ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid))
FROM generate_series(1, 1500) AS n;
SELECT attribution.define_model('$tenant', '1.0.0', 'linear');
CALL attribution.allocate_events('$tenant', '1.0.0');
SELECT attribution.post_allocations('$tenant', '1.0.0');
CALL attribution.refresh_all();
SQL
    pg_dump source >"$work/filled.sql" 2>/dev/null
    pg_dump --format=custom --file="$work/filled.custom" source 2>/dev/null
    database=source digest >"$work/digest"
}

# The rows of every table that decide money.
digest() {
    say <<'SQL'
SELECT format('SELECT %1$L, count(*), md5(string_agg(md5(t::text), '''' ORDER BY t::text)) FROM %1$s t', c.oid::regclass)
FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' ORDER BY c.relname \gexec
SQL
}

# Nothing is missing, and the functions work.
is_done() {
    local said
    said=$(say -c 'SELECT object, problem FROM attribution.create_tables(true)' \
        -c "INSERT INTO attribution.tenants (id, name) VALUES (attribution.uuid_v7(), 'new')" \
        -c "SELECT r.outcome FROM attribution.tenants t, attribution.ingest_event(t.id, 'shop', 'conversion', '2026-01-01Z', 5, 'new') r WHERE t.name = 'new'" \
        -c "SELECT count(*) FROM attribution.unbalanced_allocations()" -c 'CALL attribution.refresh_all()' 2>&1)
    if [ "$said" = $'ingested\n0' ]; then echo complete; else printf '%s\n' "$said"; fi
}

# --- A restore by steps -------------------------------------------------------------------------------

# Statement by statement: what was restored stays. The functions refuse until all is there, and a restore
# into a new database completes.
killed_restore() {
    local took step cut=0 refused=0 said
    fresh_database faults
    restore_by_steps() { PGOPTIONS='-c client_min_messages=error' psql -Xqd faults -v ON_ERROR_STOP=1 -f "$work/filled.sql" >/dev/null; }
    prepare_restore_by_steps() { fresh_database faults; }
    took=$(duration_of restore_by_steps)
    for step in 1 2 3 4 5; do
        fresh_database faults
        if cut_off restore_by_steps $((took * step / 6)); then
            cut=$((cut + 1))
            said=$(say -v VERBOSITY=verbose -c "SELECT attribution.post_allocations('$tenant', '1.0.0')" 2>&1 || true)
            case $said in
                *' 55000: '*|*' 3F000: '*|*' 42883: '*) refused=$((refused + 1)) ;; # the extension itself may not be there
                *) printf '# %s\n' "$said" ;;
            esac
        fi
    done
    is "$refused" "$cut" "a restore by steps, killed at $cut of 5 moments: the functions refuse to work with what is there"
    fresh_database faults
    restore_by_steps
    is "$(digest)" "$(cat "$work/digest")" 'a restore into a new database completes: every row is there'
}

# --- While it is unfinished ---------------------------------------------------------------------------

# Rows that somebody writes by hand where the rules are not there yet are found when they are.
unfinished() {
    fresh_database faults
    pg_restore --dbname=faults --section=pre-data --section=data "$work/filled.custom"
    say -c "UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1
            WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_allocations ORDER BY id LIMIT 1)"
    is "$(say -v VERBOSITY=verbose -c "SELECT attribution.post_allocations('$tenant', '1.0.0')" 2>&1 | sed -n 's/.*ERROR:  \(55000\).*/\1/p' || true)" 55000 \
        'before keys and triggers are there the functions refuse'
    say -c 'SELECT count(*) FROM attribution.create_tables()' >/dev/null
    is "$(say -c 'SELECT drift_cents FROM attribution.unbalanced_allocations()')" 1 'and what was written meanwhile by hand is found'
    is "$(say -c "SELECT count(*) FROM attribution.conservation('$tenant') c WHERE NOT c.holds" -c 'SELECT object FROM attribution.create_tables(true)')" \
        "$(say -c "SELECT count(*) FROM attribution.conservation('$tenant') c WHERE NOT c.holds")" 'create_tables() completes such a database'
    is "$(say -c "SELECT count(*) > 0 FROM attribution.conservation('$tenant') c WHERE NOT c.holds")" t 'conservation() tells of it as well'
}

main
