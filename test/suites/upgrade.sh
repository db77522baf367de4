#!/bin/bash
# Updating a filled database to a next version: ALTER EXTENSION UPDATE leaves the same catalog as a new installation of
# that version, the rows and everything that the owner has put on the tables; a dump of the old version comes to the
# same by upgrade_tables(); sessions go on; library and extension that do not fit say so.
#
# Version A is the tree as it is. Version B is a copy of it that test/upgrade/next_version gives a change of each kind,
# and its script is what sql/make_upgrade writes. Both are installed into a prefix of their own. The databases are
# filled, described and tried by what the suite of backups has for that (test/backup).

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
# shellcheck source=test/faults.sh
. "$ATTRIBUTION_ROOT/test/faults.sh"
cd "$ATTRIBUTION_ROOT"

tree=$ATTRIBUTION_ROOT
sql=$tree/test/backup
page=$tree/doc/versions.md
work=$ATTRIBUTION_TMP/upgrade
mkdir -p "$work/copy"

main() {
    install_both
    make_databases
    update_that_is_rolled_back
    library_that_is_newer
    update
    dump_of_an_older_version
    library_that_is_older
    versions_that_do_not_fit
    cut_off_in_the_middle
    sessions_go_on
    under_load
    suites_pass
    suite_end
}

# --- Both versions in one prefix ------------------------------------------------------------------------

# The server of this suite is of the copy's prefix: what the copy's server.sh says of it holds from here on.
install_both() {
    local copy=$work/copy
    locked cp -a Makefile attribution.control META.json README.md CHANGELOG.md CONTRIBUTING.md LICENSE sql src doc test expected "$copy"
    locked cp -a attribution-* "$copy"
    mkdir -p "$copy/build" "$copy/bench"
    cp -a bench/README.md "$copy/bench"
    cp -a build/pgxs-built-for "$copy/build"
    unset ATTRIBUTION_TMP PG_BIN
    TMPDIR=$work
    # shellcheck source=test/server.sh
    . "$copy/test/server.sh"
    also_remove+=("$work")
    server_start 'autovacuum = off' 'max_prepared_transactions = 10' 'wal_level = logical'
    library=$(echo "$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)"/attribution-*.so)
    cp "$library" "$work/library.a"
    # As a release leaves it: the objects of the older version are there, and make knows what has changed.
    "$copy/test/upgrade/next_version" "$copy" || die 'there is no next version'
    from=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$tree/attribution.control")
    to=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$copy/attribution.control")
    touch "$work/before_build"
    build
    is "$(find "$copy/src" -name '*.o' -newer "$work/before_build" | sed "s|$copy/||" | sort | paste -sd' ')" \
        'src/entry/module.o src/entry/tables/library_version.o' 'another version compiles only what has changed'
    mkdir -p "$copy/sql/upgrade"
    "$tree/sql/make_upgrade" "$copy/attribution--$from.sql" "$copy/attribution--$to.sql" >"$copy/sql/upgrade/attribution--$from--$to.sql" 2>"$work/by_hand"
    is "$(cat "$work/by_hand")" '' 'nothing of the script is to be written by hand'
    prefix_install
    cp "$library" "$work/library.b"
}

# Renamed: a session that has loaded the file goes on with it.
use_library() {
    cp "$work/library.$1" "$library.new" && mv "$library.new" "$library"
}

# --- Databases ------------------------------------------------------------------------------------------

# old: filled, of version A. new: the same made by version B. dump.sql: a dump of old.
make_databases() {
    use_library a
    fresh_database old "CREATE EXTENSION attribution VERSION '$from'"
    fill
    pg_dump old >"$work/dump.sql" 2>"$work/pg_dump.log"
    state >"$work/old.state"
    is "$(grep '^rows .* 0 ' "$work/old.state" || true)" 'rows public.journal 0 ' 'every table has rows'
    psql -XqAt -v ON_ERROR_STOP=1 >"$work/digests.sql" <<'SQL'
SELECT format('SELECT %L, count(*), md5(string_agg(r::text, E''\n'' ORDER BY r::text)) FROM (SELECT %s FROM %s) r;', c.oid::regclass,
              (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
              c.oid::regclass)
FROM pg_class c WHERE c.relnamespace IN ('attribution'::regnamespace, 'public'::regnamespace) AND c.relkind = 'r'
  AND c.relname NOT IN ('schema_version', 'index_plan') ORDER BY c.oid::regclass::text;
SELECT $$SELECT 'index_plan', md5(string_agg(p::text, E'\n' ORDER BY p.index_name)) FROM attribution.index_plan p WHERE NOT p.is_shipped;$$;
SQL
    # What version B calls it.
    sed -i '/attribution.settlement_differences/s/created_at/found_at AS created_at/' "$work/digests.sql"
    sed 's/found_at AS created_at/created_at/' "$work/digests.sql" | psql -XqAt -v ON_ERROR_STOP=1 >"$work/old.digests"
    use_library b
    fresh_database new 'CREATE EXTENSION attribution'
    fill
    state >"$work/new.state"
}

# Roles are the server's: there are none to make the second time. Beside the owner's objects of the backups, some on
# views that the next version changes.
fill() {
    local log=$work/fill.log
    if { sed "$(if [ -e "$work/old.state" ]; then echo '/^CREATE ROLE /d'; fi)" "$sql/source.sql"
        cat <<'SQL'
CREATE INDEX dba_state ON attribution.mv_reconciliation_status (state, tenant_id);
GRANT SELECT ON attribution.mv_reconciliation_status TO backup_reader;
GRANT SELECT (source, events) ON attribution.dead_event_depth TO "backup's ""bound""" WITH GRANT OPTION;
SQL
        } | psql -Xq >"$log" 2>&1; then
        return
    fi
    cat "$log"
    die 'the database could not be filled'
}

# But the order of columns, which an added one is the last of, the name that PostgreSQL 18 gives to a NOT NULL, and a view
# whose columns are those that the table had when it was made.
state() {
    { psql -XqAt -F ' ' -f "$sql/state.sql" 2>&1 || true; } | sed -E 's/^(column [^ ]+) [0-9]+ /\1 /
        s/^(published [^{]*)\{.*/\1/
        /public\.big_sales/d
        s/settlement_differences_created_at_not_null/settlement_differences_found_at_not_null/' | sort
}

# Rows differ where they were made twice: ids and times are drawn.
same_catalog() {
    grep -v '^rows ' "$work/$1.state" >"$work/$1.catalog"
    grep -v '^rows ' "$work/$2.state" >"$work/$2.catalog"
    same "$work/$1.catalog" "$work/$2.catalog" "$3"
}

promises() {
    psql -XqAt -F ' ' -v VERBOSITY=verbose -f "$sql/promises.sql" 2>&1 |
        sed -nE '/^(DETAIL|HINT|LOCATION|SCHEMA NAME|TABLE NAME|CONTEXT|QUERY): /d
                 s/^CONSTRAINT NAME:  /constraint /
                 /^LINE [0-9]+:|^ +\^$/d
                 s/^psql:.* ERROR:  ([0-9A-Z]{5}): (new row|duplicate|insert or|update or) .*/\1/
                 s/^psql:.* ERROR:  ([0-9A-Z]{5}): /\1 /
                 p'
}

digests() {
    psql -XqAt -v ON_ERROR_STOP=1 -f "$work/digests.sql"
}

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1" 2>&1
}

# A copy of a database that nobody is connected to.
copy_of() {
    PGOPTIONS='-c client_min_messages=warning' psql -Xqd postgres -v ON_ERROR_STOP=1 -c "DROP DATABASE IF EXISTS $2 (FORCE)" -c "CREATE DATABASE $2 TEMPLATE $1"
    export PGDATABASE=$2
}

# --- Tests ----------------------------------------------------------------------------------------------

update_that_is_rolled_back() {
    copy_of old tried
    psql -Xq -v ON_ERROR_STOP=1 -c BEGIN -c 'ALTER EXTENSION attribution UPDATE' -c 'SELECT locks.* FROM (
            SELECT DISTINCT l.mode, l.relation::regclass::text AS relation
            FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('"'r', 'm', 'v'"')
              AND c.relnamespace::regnamespace::text IN ('"'attribution', 'attribution_internal'"')) locks' \
        -At -F ' ' -c ROLLBACK >"$work/locks"
    holds_what_the_page_says
    state >"$work/tried.state"
    same "$work/old.state" "$work/tried.state" 'an update that is rolled back has changed nothing'
}

# The list of the page: what every update holds, and on tables that this one changes nothing stronger than they need.
holds_what_the_page_says() {
    sed -n '/^| every update |/,/^$/s/^| every update | `\([^`]*\)` | `\([^`]*\)` |.*/\1 \2/p' "$page" |
        while read -r relation mode; do echo "$(tr '[:lower:]' '[:upper:]' <<<"${mode:0:1}")${mode:1} $relation"; done | strongest >"$work/locks.page"
    local changed='attribution_events|settlement_differences|event_aliases|tenants|ledger_books|dead_event_depth|mv_reconciliation_status|event_notes|refresh_log'
    grep -vE "(^AccessShareLock )|attribution(_internal)?\.($changed)$" "$work/locks" | strongest >"$work/locks.others"
    if [ -s "$work/locks.page" ]; then ok 'doc/versions.md lists locks'; else not_ok 'doc/versions.md lists locks'; fi
    same "$work/locks.page" "$work/locks.others" 'an update holds the locks that doc/versions.md says on what it does not change'
    is "$(sed -nE "s/^(AccessExclusiveLock) attribution\.//p" "$work/locks" | sort | paste -sd' ')" \
        'attribution_events dead_event_depth event_aliases event_notes ledger_books mv_reconciliation_status settlement_differences tenants' \
        'and excludes readers from what it changes alone'
}

# Of several locks on a relation the strongest.
strongest() {
    awk 'BEGIN { n = split("AccessShareLock RowShareLock RowExclusiveLock ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock", modes)
                 for (i = 1; i <= n; ++i) strength[modes[i]] = i }
         strength[$1] > strength[best[$2]] { best[$2] = $1 }
         END { for (relation in best) print best[relation], relation }' | sort
}

# A package is installed before the databases are updated.
library_that_is_newer() {
    copy_of old newer
    promises >"$work/newer.promises"
    same "$sql/promises.out" "$work/newer.promises" 'a newer library works for the older extension'
}

update() {
    copy_of old updated
    is "$(ask 'ALTER EXTENSION attribution UPDATE')" '' 'ALTER EXTENSION UPDATE says nothing'
    is "$(ask "SELECT extversion FROM pg_extension WHERE extname = 'attribution'")" "$to" 'the extension is of the new version'
    digests >"$work/updated.digests"
    same "$work/old.digests" "$work/updated.digests" 'every row is what it was, in every column that the old version has'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events WHERE arrived_on IS DISTINCT FROM (created_at AT TIME ZONE 'UTC')::date")" 0 \
        'a new column has the value that follows from the row'
    psql -XqAtc 'CALL attribution.refresh_all()'
    state >"$work/updated.state"
    same_catalog new updated 'the catalog is that of a new installation, the objects of the owner in their places'
    is "$(ask 'SELECT count(*) FROM attribution.upgrade_tables()')" 0 'upgrade_tables() finds nothing to do'
    state >"$work/again.state"
    same "$work/updated.state" "$work/again.state" 'and does nothing'
    is "$(ask 'SELECT attribution_internal.library_version()')" "$to" 'a new function works'
    copy_of updated promised
    promises >"$work/updated.promises"
    same "$sql/promises.out" "$work/updated.promises" 'functions read, refuse, follow and write as before'
}

dump_of_an_older_version() {
    local way="a dump of $from under $to"
    fresh_database restored
    psql -Xq -v ON_ERROR_STOP=1 -f "$work/dump.sql" >"$work/restore.log" 2>&1 || cat "$work/restore.log"
    refused 55000 'upgrade_tables()' "SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', '1.0.0')" "$way: a function"
    refused 55000 'upgrade_tables()' 'SELECT * FROM attribution.create_tables()' "$way: create_tables()"
    two_at_a_time
    is "$(cat "$work"/upgrade.?)" "tables were older than version $to" "$way: of two upgrade_tables() one says what it does, the other finds nothing to do"
    digests >"$work/restored.digests"
    same "$work/old.digests" "$work/restored.digests" "$way: every row is there"
    psql -XqAtc 'CALL attribution.refresh_all()'
    state >"$work/restored.state"
    same_catalog updated restored "$way: the catalog is that of a database that was updated"
    promises >"$work/restored.promises"
    same "$sql/promises.out" "$work/restored.promises" "$way: functions read, refuse, follow and write as before"
}

# Both have begun before one of them can go on.
two_at_a_time() {
    local n both=()
    session_start
    tell BEGIN 'LOCK TABLE attribution.attribution_events IN SHARE MODE'
    for n in 1 2; do
        psql -XqAt -c "SELECT object || ' ' || problem FROM attribution.upgrade_tables() LIMIT 1" >"$work/upgrade.$n" 2>&1 &
        both+=($!)
    done
    await waiting 2
    tell COMMIT
    wait "${both[@]}" || true
    session_end
}

# Somebody has copied an older library over it, or a session has loaded it before the package was installed.
library_that_is_older() {
    local said
    export PGDATABASE=updated
    use_library a
    refused 55000 "Install version $to" "SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', '1.0.0')" 'a function of an older library'
    refused 55000 "Install version $to" 'SELECT attribution.upgrade_tables()' 'upgrade_tables() of an older library'
    copy_of old older
    refused 55000 "Install version $to" 'ALTER EXTENSION attribution UPDATE' 'ALTER EXTENSION UPDATE by an older library'
    fresh_database older
    refused 55000 "Install version $to" 'CREATE EXTENSION attribution' 'CREATE EXTENSION by an older library'
    copy_of old older
    session_start
    tell "$(work_of_a_session 1)"
    use_library b
    psql -Xqc 'ALTER EXTENSION attribution UPDATE'
    tell "$(work_of_a_session 2)"
    session_end
    said=$(cat "$work/session.said")
    case $said in
        *'ERROR:  55000: library of the extension attribution is older'*"HINT:  Install version $to, and connect again."*)
            ok 'a session that has loaded the older library must connect again' ;;
        *) not_ok 'a session that has loaded the older library must connect again'; printf '%s\n' "$said" | sed 's/^/#   /' ;;
    esac
}

versions_that_do_not_fit() {
    copy_of updated misfit
    psql -Xqc "UPDATE attribution.schema_version SET version = '9.0.0'"
    refused 55000 'ALTER EXTENSION attribution UPDATE' 'SELECT attribution.upgrade_tables()' 'tables that are newer than the extension'
    psql -Xqc "UPDATE attribution.schema_version SET version = '0.1.5'"
    refused 55000 'schema_version' 'SELECT attribution.upgrade_tables()' 'a version that never was'
    psql -Xqc 'DELETE FROM attribution.schema_version'
    refused 55000 'restored' 'SELECT attribution.upgrade_tables()' 'tables without a version'
    psql -Xqc 'CREATE ROLE somebody' -c 'GRANT USAGE ON SCHEMA attribution TO somebody' -c 'GRANT EXECUTE ON FUNCTION attribution.upgrade_tables() TO somebody'
    is "$(psql -Xq -v VERBOSITY=sqlstate -c 'SET ROLE somebody' -c 'SELECT attribution.upgrade_tables()' 2>&1)" 'ERROR:  42501' 'upgrade_tables() is for the owner of the tables'
}

# By kill -9 and by a full disk: the update, and upgrade_tables() of a dump of the older version.
cut_off_in_the_middle() {
    killed alter_extension
    killed upgrade_restored
    on_a_full_disk alter_extension upgrade_restored
    psql -Xqd postgres -c 'DROP DATABASE IF EXISTS faults'
}
faulty() {
    PGOPTIONS='-c client_min_messages=error' psql -XqAtd faults -v ON_ERROR_STOP=1 "$@"
}
prepare_alter_extension() { copy_of old faults; }
alter_extension() { faulty -c 'ALTER EXTENSION attribution UPDATE'; }
undone_alter_extension() { faulty -c "SELECT extversion FROM pg_extension WHERE extname = 'attribution'" -c 'SELECT version FROM attribution.schema_version' -c 'SELECT count(*) FROM pg_attribute'; }
prepare_upgrade_restored() {
    if [ ! -e "$work/unfinished" ]; then
        fresh_database unfinished
        psql -Xq -v ON_ERROR_STOP=1 -f "$work/dump.sql" >"$work/unfinished" 2>&1
    fi
    copy_of unfinished faults
}
upgrade_restored() { faulty -c 'SELECT count(*) FROM attribution.upgrade_tables()' >"$work/upgraded"; }
undone_upgrade_restored() { undone_alter_extension; }
is_done() {
    local said
    said=$(faulty -c "SELECT extversion FROM pg_extension WHERE extname = 'attribution'" -c 'SELECT version FROM attribution.schema_version' \
        -c 'SELECT object, problem FROM attribution.create_tables(true)' -c 'SELECT count(*) FROM attribution.unbalanced_allocations()' 2>&1)
    if [ "$said" = "$to"$'\n'"$to"$'\n0' ]; then echo complete; else printf '%s\n' "$said"; fi
}

# A session with cached plans, one in a transaction that the update must wait for, and two updates at once.
sessions_go_on() {
    copy_of old going
    session_start
    tell "$(work_of_a_session 1)"
    tell 'BEGIN' "$(work_of_a_session 2)"
    psql -Xqc 'ALTER EXTENSION attribution UPDATE' >"$work/waiting" 2>&1 &
    local updating=$! other
    await waiting 1
    psql -XqAtc 'SELECT count(*) FROM attribution.upgrade_tables()' >"$work/second" 2>&1 &
    other=$!
    tell "$(work_of_a_session 3)" 'COMMIT'
    wait "$updating" || true
    wait "$other" || true
    tell "$(work_of_a_session 4)" 'BEGIN ISOLATION LEVEL REPEATABLE READ' "$(work_of_a_session 5)" 'COMMIT'
    session_end
    is "$(cat "$work/session.said" "$work/waiting")" "$(for n in 1 2 3 4 5; do printf '%s ingested 100 100\n' $n; done)" \
        'a session goes on with its plans, and what it holds is waited for'
    is "$(cat "$work/second")" 0 'a second upgrade waits, and finds nothing to do'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events WHERE external_event_id LIKE 'session:%'"),$(wrong)" 5,0 'what it wrote is there'
}

waiting() {
    [ "$(ask "SELECT count(*) FROM pg_locks WHERE NOT granted")" = "$1" ]
}

answers() {
    [ "$(cat "$work"/load.? | wc -l)" -gt "$1" ]
}

work_of_a_session() {
    printf "SELECT %s, i.outcome, sum(a.allocated_revenue_cents), attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', 'linear', '2026-05-0%sZ', '2026-05-0%sZ'::timestamptz + interval '1 day') * 100
        FROM attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'conversion', '2026-05-0%sZ', 100, 'session:%s') i,
             attribution.allocate_event('aaaaaaaa-0000-4000-8000-000000000000', i.event_id, 'linear') a GROUP BY i.outcome;" "$1" "$1" "$1" "$1" "$1"
}

# Two sessions ingest and allocate while the update tries for its locks, for so long that nobody runs into a deadlock.
under_load() {
    local tries=0 loops=() n
    copy_of old loaded
    for n in 1 2; do
        ( for batch in $(seq 400); do
            [ ! -e "$work/enough" ] || break
            for i in 1 2 3 4 5; do
                printf "SELECT i.outcome, count(a.*) FROM attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'conversion', '2026-06-01Z', %s, 'load:%s:%s:%s') i,
                    attribution.allocate_event('aaaaaaaa-0000-4000-8000-000000000000', i.event_id, 'linear') a GROUP BY 1;\n" "$((batch * 7 + i))" "$n" "$batch" "$i"
            done
          done | psql -XqAt -F ' ' -v VERBOSITY=verbose >"$work/load.$n" 2>&1 ) &
        loops+=($!)
    done
    touch "$work/load.1" "$work/load.2"
    await answers 40
    until PGOPTIONS="-c lock_timeout=500ms" psql -Xqc 'ALTER EXTENSION attribution UPDATE' 2>"$work/load.update" || [ $tries -gt 20 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    n=$(cat "$work"/load.? | wc -l)
    await answers $((n + 40))
    touch "$work/enough"
    wait "${loops[@]}"
    is "$(ask "SELECT extversion FROM pg_extension WHERE extname = 'attribution'")" "$to" "under load: the update comes through (after $tries refusals)"
    is "$(sort -u "$work"/load.? )" 'ingested 1' 'under load: no session sees an error'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events e JOIN attribution.attribution_allocations a ON a.tenant_id = e.tenant_id AND a.event_id = e.id
               WHERE e.external_event_id LIKE 'load:%' AND a.allocated_revenue_cents = e.revenue_cents"),$(wrong)" "$(cat "$work"/load.? | wc -l),0" \
        'under load: nothing that a session was told is lost'
}

wrong() {
    ask "SELECT (SELECT count(*) FROM attribution.unbalanced_allocations()) + (SELECT count(*) FROM attribution.tenants t, attribution.conservation(t.id) c WHERE NOT c.holds)"
}

# The suites of version B in databases that were of version A, both at a time.
suites_pass() {
    local taps=''
    if [ -e "$("$PG_CONFIG" --sharedir)/extension/pgtap.control" ] && command -v pg_prove >/dev/null; then
        fresh_database taps 'CREATE EXTENSION pgtap' "CREATE EXTENSION attribution VERSION '$from'" 'ALTER EXTENSION attribution UPDATE'
        pg_prove --nocolor "$work"/copy/test/pgtap/*.sql >"$work/taps.log" 2>&1 &
        taps=$!
    else
        skip 'there is no pgtap beside this PostgreSQL'
    fi
    fresh_database regression "CREATE EXTENSION attribution VERSION '$from'" 'ALTER EXTENSION attribution UPDATE'
    mkdir "$work/regress"
    ln -s "$work/copy/expected" "$work/regress/expected" # where 15 looks for them
    in_directory "$work/copy" "$(dirname "$("$PG_CONFIG" --pgxs)")/../../src/test/regress/pg_regress" --use-existing --dbname=regression \
        --inputdir=test --outputdir="$work/regress" --bindir="$PG_BIN" ingest allocate ledger refresh validate >"$work/regress.log" 2>&1 &
    ended_well $! 'tests of regress in an updated database' "$work/regress.log" "$work/regress/regression.diffs"
    [ -z "$taps" ] || ended_well "$taps" 'pgtap in an updated database' "$work/taps.log"
}

# PID WHAT LOG [DIFFERENCES]
ended_well() {
    if wait "$1"; then
        ok "$2"
        return
    fi
    not_ok "$2"
    { grep -A 12 -E '^# +Failed' "$3" || true; cat "${@:4}"; tail -n 20 "$3"; } 2>&1 | head -n 80 | cut -c1-300 | sed 's/^/#   /'
}

# --- A session beside this one --------------------------------------------------------------------------

mark=0

session_start() {
    rm -f "$work/session.in"
    mkfifo "$work/session.in"
    psql -XqAt -F ' ' -v VERBOSITY=verbose <"$work/session.in" >"$work/session.out" 2>&1 &
    session=$!
    exec 8>"$work/session.in"
}

# Sends statements and waits until they are answered.
tell() {
    local statement
    mark=$((mark + 1))
    for statement; do printf '%s;\n' "$statement" >&8; done
    printf '\\echo answered %s\n' "$mark" >&8
    await grep -q "^answered $mark$" "$work/session.out"
}

# Ends the session; what it has printed is in session.said.
session_end() {
    exec 8>&-
    wait "$session" || true
    grep -vE '^(answered |$)' "$work/session.out" >"$work/session.said" || true
}

# Runs a command until it is true, for a minute at most.
await() {
    local deadline=$((SECONDS + 60))
    until "$@"; do
        [ $SECONDS -lt $deadline ] || die "waited in vain for $*"
        sleep 0.05
    done
}

# SQLSTATE HINT COMMAND WHAT
refused() {
    local said
    said=$(printf '%s\n' "$3" | psql -Xq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose 2>&1) || true
    case $said in
        *"ERROR:  $1: "*HINT:*"$2"*) ok "$4 is refused, and HINT has the way" ;;
        *) not_ok "$4 is refused, and HINT has the way"; printf '%s\n' "$said" | head -n 20 | sed 's/^/#   /' ;;
    esac
}

main
