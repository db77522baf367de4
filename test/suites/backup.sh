#!/bin/bash
# Every way people back up with pg_dump: what comes out of it is the same database, to the last row, right, comment and
# trigger, those of the owner's own on our tables included; and it works at once, without ANALYZE, and refuses what the
# original refused. What cannot be restored says so before anything is lost, with the way that works in its HINT.
#
# test/backup/source.sql makes what is dumped, state.sql prints all that a copy must have, and promises.sql is the first
# hour in one. Ways run two at a time, each into a database of its own.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

# Nothing counts the rows of a table unless somebody says ANALYZE.
server_start 'autovacuum = off' 'wal_level = logical'
sql=$ATTRIBUTION_ROOT/test/backup
# shellcheck source=test/backup/compare.sh
. "$sql/compare.sh"
work=$(mktemp -d "$ATTRIBUTION_TMP/backup.XXXXXX")
also_remove+=("$work")
source=shop

main() {
    make_source
    make_dumps
    in_background 'pg_dumpall' into_another_cluster

    complete 'plain, psql' file plain.sql
    complete 'plain, psql -1' file plain.sql -1
    complete 'custom, pg_restore' custom
    complete 'custom, pg_restore -1' custom -1
    complete 'directory of 4 jobs, pg_restore of 4 jobs' directory -j 4
    complete '--inserts' file inserts.sql
    complete '--column-inserts' file column_inserts.sql
    complete '--rows-per-insert=100' file rows_per_insert.sql
    complete '--section=pre-data, data and post-data' in_sections
    complete 'the same of rows as INSERT' in_sections_of_inserts
    complete 'schema, then data, psql' schema_then_data
    complete 'schema, then data, pg_restore' schema_then_data_of_custom
    complete 'data with --disable-triggers' without_triggers
    complete '-n attribution -e attribution' schema_by_itself
    complete '-n attribution into a schema with the extension' schema_into_extension
    complete 'pg_restore -n attribution into a schema with the extension' schema_of_custom
    complete 'another superuser, --no-owner' as_another_superuser
    complete 'batches of rows, the triggers after them' in_batches
    complete 'CREATE EXTENSION before the restore, then drop_tables()' after_the_extension

    over_itself 'plain with --clean' changed file clean.sql
    over_itself 'plain with --clean --if-exists' changed file clean_if_exists.sql
    over_itself 'custom, pg_restore --clean' changed custom --clean
    over_itself 'a table that was dropped' dropped_table
    over_itself 'the rows of a table that was emptied' emptied_table

    in_background 'without statistics' reads_each_row_once
    in_background 'schema, then --inserts of data' inserts_of_data_are_refused
    in_background 'schema, then data of a whole dump' data_of_whole_is_refused
    in_background 'schema, then batches of rows' batches_are_refused
    wait_for_all
    suite_end
}

# --- Ways to restore, into the database PGDATABASE -----------------------------------------------------

file() {
    psql -Xq -v ON_ERROR_STOP=1 "${@:2}" -f "$work/$1"
}

custom() {
    pg_restore --exit-on-error --dbname="$PGDATABASE" "$@" "$work/custom"
}

directory() {
    pg_restore --exit-on-error --dbname="$PGDATABASE" "$@" "$work/directory"
}

in_sections() {
    custom --section=pre-data && custom --section=data && custom --section=post-data
}

in_sections_of_inserts() {
    file pre-data.sql && file inserts_of_data.sql && file post-data.sql
}

schema_then_data() {
    file schema.sql && file data.sql
}

schema_then_data_of_custom() {
    custom --schema-only && pg_restore --exit-on-error --dbname="$PGDATABASE" "$work/custom_data"
}

# ENABLE TRIGGER ALL, with which this ends, makes ordinary triggers of those that were enabled always, or for rows from a
# publisher, and of those that were disabled. create_tables() knows those of the extension, the owner its own.
without_triggers() {
    custom --schema-only && custom --data-only --disable-triggers || return
    ask "SELECT 'trigger', regexp_replace(p.object, '.* ', '') FROM attribution.create_tables(true) p" >"$work/weakened"
    ask 'SELECT p.object FROM attribution.create_tables() p' >"$work/mended"
    psql -Xq -v ON_ERROR_STOP=1 -c 'ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER dba_journal_always' \
        -c 'ALTER TABLE attribution.attribution_events DISABLE TRIGGER dba_journal_off'
    is "$(wc -l <"$work/weakened")" "$(grep -c '^trigger .* [AR] CREATE .*attribution_internal' "$work/state")" 'create_tables(true) tells of every weaker trigger'
}

# What triggers of the owner call lies in another schema, which this dump is not of.
schema_by_itself() {
    owners_functions && file by_itself.sql
}

schema_into_extension() {
    owners_functions && psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA attribution' -c 'CREATE EXTENSION attribution' || return
    refused 55000 'attribution.create_tables()' "SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', '1.0.0')" "$way: a call before the dump"
    psql -Xq -f "$work/schema_alone.sql" 2>"$work/alone.log"
    grep -v ' ERROR:  schema "attribution" already exists$' "$work/alone.log" >&2
    again_grant
}

schema_of_custom() {
    owners_functions && psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA attribution' -c 'CREATE EXTENSION attribution' \
        -c 'CREATE PUBLICATION dba_publication' 2>/dev/null &&
        pg_restore --exit-on-error --dbname="$PGDATABASE" -n attribution "$work/custom" && again_grant
}

owners_functions() {
    custom --section=pre-data -t journal && pg_restore -f - -P 'write_journal()' "$work/custom" | psql -Xq -v ON_ERROR_STOP=1 >/dev/null
}

# Without its extension a dump has no rights on functions, and what pg_restore chooses of one has none on the schema.
again_grant() {
    psql -XqAt -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
SELECT attribution.grant_access('backup_reader', 'reader'), attribution.grant_access('backup_writer', 'writer'), attribution.grant_access('backup''s "bound"', 'operator');
SQL
}

as_another_superuser() {
    PGUSER=postgres_other custom --no-owner
}

in_batches() {
    file pre-data.sql && psql -Xq -v ON_ERROR_STOP=1 -f "$work/batches.sql" && file post-data.sql
}

after_the_extension() {
    psql -Xqc 'CREATE EXTENSION attribution'
    file plain.sql 2>"$work/after.log" || true
    grep -q ' ERROR:  schema "attribution" already exists$' "$work/after.log" || not_ok 'a database that has the tables refuses the dump'
    psql -Xq -v ON_ERROR_STOP=1 -c 'SELECT attribution.drop_tables()' -c 'DROP EXTENSION attribution' -c 'DROP SCHEMA attribution' &&
        file plain.sql
}

# FUNCTION [ARGUMENT...]: into what is no longer the source.
changed() {
    psql -Xq -v ON_ERROR_STOP=1 -c 'DELETE FROM attribution.dead_events' -c "INSERT INTO attribution.tenants (name) VALUES ('since the dump')" \
        -c 'ALTER TABLE attribution.attribution_models ADD COLUMN since_the_dump int' && "$@"
}

# With the view that reads it, which CASCADE takes along.
dropped_table() {
    refused 2BP01 'attribution.allow_drop_with_rows' 'DROP TABLE attribution.dead_events CASCADE' "$way: to drop it with rows"
    psql -Xq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' -c 'SET attribution.allow_drop_with_rows = on' \
        -c 'DROP TABLE attribution.dead_events CASCADE'
    refused 55000 'attribution.create_tables()' "SELECT attribution.ingest_webhook(id, 'paypal', 'x', '{}') FROM attribution.tenants" "$way: a call meanwhile"
    file dead_events.sql
}

emptied_table() {
    psql -Xq -v ON_ERROR_STOP=1 -c 'DELETE FROM attribution.dead_events' && file dead_events_data.sql
}

# --- Ways that are refused ----------------------------------------------------------------------------

inserts_of_data_are_refused() {
    fresh_database "$1"
    file schema.sql >/dev/null
    if psql -Xq -v ON_ERROR_STOP=1 -f "$work/inserts_of_data.sql" >"$work/refused.log" 2>&1; then
        not_ok "$way: is refused"
    else
        ok "$way: is refused"
    fi
    fresh_database "$1"
    file schema.sql >/dev/null
    file before_allocations.sql >/dev/null
    refused 23514 'pre-data, data, post-data' "\\i $work/inserts_of_allocations.sql" "$way: a row"
    is "$(ask 'SELECT count(*) FROM attribution.attribution_allocations')" 0 "$way: and leaves no row behind"
}

# pg_dump -a puts tables in the order of their foreign keys, pg_restore -a leaves them in that of their names.
data_of_whole_is_refused() {
    fresh_database "$1"
    custom --schema-only
    if custom --data-only >"$work/whole.log" 2>&1; then not_ok "$way: is refused"; else ok "$way: is refused"; fi
    is "$(grep -c 'violates foreign key constraint' "$work/whole.log")" 1 "$way: by a foreign key"
}

batches_are_refused() {
    fresh_database "$1"
    file schema.sql >/dev/null
    file before_allocations.sql >/dev/null
    refused 23514 'pre-data, data, post-data' "\\i $work/batches_of_allocations.sql" "$way: a batch"
}

# --- What must hold -----------------------------------------------------------------------------------

# WAY FUNCTION [ARGUMENT...]: restores into a new database.
complete() {
    in_background "$1" into_new_database "${@:2}"
}

# The same into a copy of the source, whose rows and objects are not what they were.
over_itself() {
    in_background "$1" into_copy "${@:2}"
}

into_new_database() {
    psql -Xqd postgres -c "CREATE DATABASE $1 TEMPLATE template0$(if [ "$2" = as_another_superuser ]; then echo ' OWNER postgres_other'; fi)"
    export PGDATABASE=$1
    without_error "${@:2}" && same_as_source "$2"
}

into_copy() {
    psql -Xqd postgres -c "CREATE DATABASE $1 TEMPLATE $source"
    export PGDATABASE=$1
    without_error "${@:2}" && same_as_source "$2"
}

without_error() {
    local code=0
    "$@" >"$work/$PGDATABASE.out" 2>"$work/$PGDATABASE.err" || code=$?
    grep -E '^(ok|not ok|#) ' "$work/$PGDATABASE.out" || true
    is "$code$(head -n 20 "$work/$PGDATABASE.err")" 0 "$way: no error, no warning"
    return "$code"
}

# WAY: the copy PGDATABASE has what the source has but for what is_elsewhere() says of the way, and keeps its promises.
same_as_source() {
    state | is_elsewhere_or_same "$1"
    promises >"$work/$PGDATABASE.promises"
    same "$sql/promises.out" "$work/$PGDATABASE.promises" "$way: reads, refuses, follows and writes as before"
}

is_elsewhere_or_same() {
    local elsewhere='' filled='s/^$/&/'
    case $1 in
        # What is in no schema, or in another one, is not in a dump of this one.
        schema_by_itself|schema_into_extension|schema_of_custom)
            elsewhere='/public\.notes/d; /public\.big_sales/d; /^publi/d; /^comment attribution /d' ;;
        as_another_superuser) elsewhere='s/\<postgres\>/postgres_other/g' ;;
    esac
    # Neither a plain dump of the schema nor one of data has a REFRESH.
    case $1 in
        schema_then_data)
            filled='s/^\(relation attribution\.mv_[a-z_]* m [^ ]* p f f [a-z] f\) t/\1 f/' ;;
    esac
    sed -e "$elsewhere" -e "$filled" "$work/state" >"$work/$PGDATABASE.wanted"
    sed -e "$(if [ "$1" = as_another_superuser ]; then echo; else echo "$elsewhere"; fi)" >"$work/$PGDATABASE.state"
    same "$work/$PGDATABASE.wanted" "$work/$PGDATABASE.state" "$way: the same rows, schema, rights and comments, and nothing is missing"
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

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# Roles come with pg_dumpall; that of the one who made the cluster is there already.
into_another_cluster() {
    server_pid='' server_dir='' also_remove=()
    trap cleanup EXIT
    server_start 'autovacuum = off' 'wal_level = logical'
    psql -Xqd postgres -f "$work/all.sql" >/dev/null 2>"$work/all.log"
    is "$(grep -v 'ERROR:  role "postgres" already exists$' "$work/all.log" || true)" '' "$way: no error, no warning"
    export PGDATABASE=$source
    same_as_source pg_dumpall
    server_stop
}

# What a planner without statistics takes for cheap: no step of a plan gives more rows than a few times those of the
# largest table, whatever is called first.
reads_each_row_once() {
    local largest
    psql -Xqd postgres -c "CREATE DATABASE $1 TEMPLATE template0"
    export PGDATABASE=$1
    file plain.sql >/dev/null
    psql -XqAt -v ON_ERROR_STOP=1 >"$work/plans" 2>&1 <<'SQL'
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET client_min_messages = log;
SELECT count(c.*) FROM attribution.tenants t, attribution.conservation(t.id) c;
SELECT count(u.*) FROM attribution.unbalanced_allocations() u;
SELECT count(p.*) FROM attribution.tenants t, attribution.channel_performance(t.id, '1.0.0') p;
SELECT count(r.*) FROM attribution.tenants t, attribution.realtime_revenue(t.id) r;
SELECT attribution.define_model(id, 'last', 'last_touch') FROM attribution.tenants;
CALL attribution.allocate_events('bbbbbbbb-0000-4000-8000-000000000000', 'last');
SELECT attribution.post_allocations(id, '1.0.0') FROM attribution.tenants;
SELECT jsonb_agg(jsonb_build_object('key', 'shopify:order:' || n, 'amount_cents', n * 97 + 1)) AS settlements FROM generate_series(1, 200) AS n \gset
CALL attribution.reconcile('bbbbbbbb-0000-4000-8000-000000000000', :'settlements');
CALL attribution.refresh_all();
SELECT count(c.*) FROM attribution.tenants t, attribution.conservation(t.id) c;
SQL
    largest=$(ask 'SELECT count(*) FROM attribution.attribution_allocations')
    is "$(grep -c 'actual rows=' "$work/plans" | awk '{ print ($1 > 100) }')" 1 "$way: plans were looked at"
    is "$(sed -nE 's/^ *(->  )?(.*)  \(cost.*\(actual rows=([0-9.]+) loops=([0-9]+)\).*/\3 \4 \2/p' "$work/plans" |
        awk -v most=$((3 * largest)) '$1 * $2 > most')" '' "$way: nothing is joined with everything"
}

# --- Two at a time ------------------------------------------------------------------------------------

ways=0 pids=()

# WAY FUNCTION [ARGUMENT...]: calls FUNCTION with the name of a database and the arguments.
in_background() {
    ways=$((ways + 1))
    if [ "$ways" -gt 2 ]; then wait -n || true; fi
    one_way "$ways" "$@" >"$work/way.$ways" 2>&1 &
    pids+=("$!")
}

# A way that ends early, or says nothing, is broken.
one_way() {
    local number=$1 code=0
    way=$2
    ( "$3" "copy_$number" "${@:4}" ) || code=$?
    if [ "$code" = 0 ]; then echo "ok - $way: to its end"; else echo "not ok - $way: ended with $code"; fi
    psql -Xqd "dbname=postgres" -c "DROP DATABASE IF EXISTS copy_$number (FORCE)" 2>/dev/null || true
}

wait_for_all() {
    local number
    wait "${pids[@]}" || true
    for number in $(seq "$ways"); do
        grep -v ': to its end$' "$work/way.$number"
        if ! grep -q ': to its end$' "$work/way.$number" || grep -q '^not ok ' "$work/way.$number"; then suite_failed=1; fi
    done
}

# --- What is dumped -----------------------------------------------------------------------------------

make_source() {
    psql -Xqd postgres -c 'CREATE ROLE postgres_other SUPERUSER LOGIN'
    fresh_database "$source" 'CREATE EXTENSION attribution'
    psql -Xqd "$source" -f "$sql/source.sql" >"$work/source.log" 2>&1 || { cat "$work/source.log"; die 'the source could not be made'; }
    PGDATABASE=$source state >"$work/state"
    is "$(grep -c '^rows attribution\.' "$work/state")" "$(ask "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'attribution'::regnamespace")" \
        'every table of the schema is compared'
    is "$(grep '^rows .* 0 ' "$work/state" || true)" 'rows public.journal 0 ' 'every table of the source has rows'
    is "$(grep -E '^(create_tables|check_backup|check_index_plan|a member)' "$work/state" || true)" '' 'the source is healthy, and no member depends on a table'
}

make_dumps() {
    {
        pg_dumpall >"$work/all.sql"
        pg_dump "$source" >"$work/plain.sql"
        pg_dump -Fc -f "$work/custom" "$source"
        pg_dump -Fd -j 4 -f "$work/directory" "$source"
        pg_dump --inserts "$source" >"$work/inserts.sql"
        pg_dump --column-inserts "$source" >"$work/column_inserts.sql"
        pg_dump --rows-per-insert=100 "$source" >"$work/rows_per_insert.sql"
        pg_dump --clean "$source" >"$work/clean.sql"
        pg_dump --clean --if-exists "$source" >"$work/clean_if_exists.sql"
        pg_dump -s "$source" >"$work/schema.sql"
        pg_dump -a "$source" >"$work/data.sql"
        pg_dump -Fc -a -f "$work/custom_data" "$source"
        pg_dump --inserts -a "$source" >"$work/inserts_of_data.sql"
        pg_dump --section=pre-data "$source" >"$work/pre-data.sql"
        pg_dump --section=post-data "$source" >"$work/post-data.sql"
        pg_dump -n attribution "$source" >"$work/schema_alone.sql"
        pg_dump -n attribution -e attribution "$source" >"$work/by_itself.sql"
        pg_dump -t attribution.dead_events -t attribution.dead_event_depth "$source" >"$work/dead_events.sql"
        pg_dump -a -t attribution.dead_events "$source" >"$work/dead_events_data.sql"
        pg_dump -a -T attribution.attribution_allocations -T attribution.ledger_books -T attribution.revenue_ledger "$source" >"$work/before_allocations.sql"
        pg_dump --inserts -a -t attribution.attribution_allocations "$source" >"$work/inserts_of_allocations.sql"
        pg_dump -a -t attribution.attribution_allocations "$source" >"$work/allocations.sql"
    } 2>"$work/pg_dump.log"
    # Rows that refer to their own table, in a dump of data alone: within one COPY they may.
    is "$(grep -vE 'circular foreign-key|detail: (attribution_events|revenue_ledger)$|hint:' "$work/pg_dump.log" || true)" '' \
        'pg_dump warns of nothing but rows that refer to their own table'
    batches "$work/data.sql" 100 >"$work/batches.sql"
    batches "$work/allocations.sql" 7 >"$work/batches_of_allocations.sql"
}

# FILE ROWS: the COPY statements of a dump of data, each cut into ones of so many rows.
batches() {
    awk -v rows="$2" '
        /^COPY / { head = $0; n = 0; inside = 1; print; next }
        inside && $0 == "\\." { inside = 0; print; next }
        inside && n == rows { print "\\."; print head; n = 0 }
        inside { n++ }
        { print }' "$1"
}

main
