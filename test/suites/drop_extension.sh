#!/bin/bash
# CREATE EXTENSION takes over no function that is there already and no schema of others; what goes with a DROP is what
# was said, and no row of a tenant goes with it unless the session says that too; what was dropped comes back, in
# sessions that have used it before as well.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

[ -n "${PGHOST:-}" ] || server_start
work=$(mktemp -d "$ATTRIBUTION_TMP/drop.XXXXXX")
also_remove+=("$work")

main() {
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'CREATE ROLE drop_user LOGIN' -c 'CREATE ROLE drop_reader'
    fresh_database clean 'CREATE EXTENSION attribution'
    catalog_of clean >"$work/clean"
    installs
    into_a_schema
    drops
    comes_back_to_its_tables
    comes_back_in_a_session
    loses_no_row
    lets_rows_go
    never_stands_in_the_way
    hostile_surroundings
    suite_end
}

# --- Installing ---------------------------------------------------------------------------------------

installs() {
    fresh_database installs
    everything_in installs >"$work/before"

    refuses 42501 'CREATE EXTENSION attribution' 'to a role that is no superuser' -U drop_user
    psql -Xqd postgres -c 'ALTER DATABASE installs OWNER TO drop_user'
    refuses 42501 'CREATE EXTENSION attribution' 'to the owner of the database' -U drop_user
    psql -Xqd postgres -c "ALTER DATABASE installs OWNER TO $PGUSER"
    refuses 0A000 'CREATE EXTENSION attribution SCHEMA public' 'into another schema'
    is "$(everything_in installs | diff "$work/before" - || true)" '' 'a refused CREATE EXTENSION leaves nothing'

    psql -Xqd installs -f "$("$PG_CONFIG" --sharedir | sed "s|^|$ATTRIBUTION_TMP|")/extension/attribution--$(version).sql" >"$work/sourced" 2>&1 || true
    is "$(cat "$work/sourced")" 'Use "CREATE EXTENSION attribution" to load this file.' 'the script says how to use it when it is run by hand'
    is "$(everything_in installs | diff "$work/before" - || true)" '' 'and does nothing'

    run_in installs 'CREATE EXTENSION attribution'
    refuses 0A000 'ALTER EXTENSION attribution SET SCHEMA public' 'to move to another schema'
    is "$(ask installs 'SELECT extversion FROM pg_extension WHERE extname = '"'attribution'")" "$(version)" 'the version installed is that of the control file'
}

version() {
    sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$ATTRIBUTION_ROOT/attribution.control"
}

# A schema that is there is a restore's: only code comes. Whoever might have put something into it is asked for.
into_a_schema() {
    fresh_database schemas 'GRANT CREATE ON DATABASE schemas TO drop_user'
    psql -Xqd schemas -U drop_user -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA attribution' -c 'CREATE TABLE attribution.tenants (id uuid, name text)'
    everything_in schemas >"$work/before"
    refuses_in schemas 42P06 'CREATE EXTENSION attribution' 'CREATE EXTENSION is refused into a schema of somebody else'
    refuses_in schemas 42P06 'CREATE EXTENSION attribution CASCADE' 'even with CASCADE'
    is "$(everything_in schemas | diff "$work/before" - || true)" '' 'whose contents stay what they were'

    run_in schemas "ALTER SCHEMA attribution OWNER TO $PGUSER" 'CREATE FUNCTION attribution.current_tenant() RETURNS uuid LANGUAGE sql AS $$ SELECT gen_random_uuid() $$'
    refuses_in schemas 42P06 'CREATE EXTENSION attribution' 'and into one that has functions'
    run_in schemas 'DROP FUNCTION attribution.current_tenant()' 'CREATE EXTENSION attribution'
    is "$(ask schemas "SELECT string_agg(c.relname || ' ' || c.relowner::regrole, ',') FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace")" \
        'tenants drop_user' 'into one of its own only code comes'
    refuses_in schemas 42501 'SELECT attribution.create_tables()' 'nobody makes tables as the owner of another one' -U drop_user
    refuses_in schemas 55000 "SELECT attribution.bind_tenant('drop_reader', gen_random_uuid())" 'and with what others have prepared nothing works'
    run_in schemas 'DROP TABLE attribution.tenants' 'SELECT attribution.create_tables()'
    # The comment of the schema is its maker's.
    is "$(catalog_of schemas | diff "$work/clean" - | grep -v '^[<>] schema|attribution|' | grep '^[<>]' || true)" '' \
        'create_tables() makes the tables that CREATE EXTENSION makes by itself'

    fresh_database prepared 'CREATE SCHEMA attribution' 'GRANT CREATE, USAGE ON SCHEMA attribution TO drop_user'
    psql -Xqd prepared -U drop_user -v ON_ERROR_STOP=1 -c 'CREATE TABLE attribution.currencies (code char(3) PRIMARY KEY, decimals smallint, is_shipped boolean, unit numeric)'
    run_in prepared 'CREATE EXTENSION attribution'
    psql -Xqd prepared -c 'SELECT attribution.create_tables()' >"$work/prepared" 2>&1 || true
    refuses_in prepared 55000 "SELECT attribution.bind_tenant('drop_reader', gen_random_uuid())" 'a table that belongs to another role than the rest is no table of the extension'
}

# --- Dropping -----------------------------------------------------------------------------------------

drops() {
    fresh_database drops
    everything_in drops >"$work/before"
    run_in drops 'CREATE EXTENSION attribution'
    use drops
    refuses_in drops 2BP01 'DROP EXTENSION attribution' 'DROP EXTENSION is refused, for the tables depend on it'
    refuses_in drops 2BP01 'DROP SCHEMA attribution' 'DROP SCHEMA is refused'
    refuses_in drops 2BP01 'SELECT attribution.drop_tables()' 'drop_tables() is refused while tenants have rows'
    run_in drops 'SET attribution.allow_drop_with_rows = on' 'DROP SCHEMA attribution CASCADE'
    is "$(everything_in drops | diff "$work/before" - || true)" '' 'DROP SCHEMA CASCADE leaves nothing behind, nor of the extension'

    run_in drops 'CREATE EXTENSION attribution' 'SELECT attribution.drop_tables()' 'DROP EXTENSION attribution' 'DROP SCHEMA attribution'
    is "$(everything_in drops | diff "$work/before" - || true)" '' 'nor do drop_tables(), DROP EXTENSION and DROP SCHEMA'

    run_in drops 'CREATE EXTENSION attribution'
    use drops
    run_in drops 'SET attribution.allow_drop_with_rows = on' 'DROP EXTENSION attribution CASCADE' 'DROP SCHEMA attribution CASCADE'
    is "$(everything_in drops | diff "$work/before" - || true)" '' 'nor do DROP EXTENSION CASCADE and DROP SCHEMA CASCADE'
    is "$(psql -Xqd postgres -c 'DROP ROLE drop_reader' -c 'CREATE ROLE drop_reader' 2>&1)" '' 'a role that had access can be dropped'
}

# DROP EXTENSION CASCADE leaves the rows, the tables and what is the users'; CREATE EXTENSION and create_tables() bring
# back the rest. Only rights on functions have to be granted again.
comes_back_to_its_tables() {
    fresh_database returns 'CREATE EXTENSION attribution'
    use returns
    psql -Xqd returns -v ON_ERROR_STOP=1 >"$work/users" <<'SQL'
CREATE TABLE public.notes (tenant_id uuid, event_id uuid, note text,
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id));
INSERT INTO public.notes SELECT tenant_id, id, 'mine' FROM attribution.attribution_events;
CREATE TABLE public.ids (id uuid DEFAULT attribution.uuid_v7(), n int);
INSERT INTO public.ids (n) VALUES (1);
CREATE FUNCTION public.note_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER note_event AFTER INSERT ON attribution.attribution_events FOR EACH ROW EXECUTE FUNCTION public.note_event();
ALTER TABLE attribution.attribution_events ADD COLUMN of_mine int DEFAULT 7;
CREATE INDEX of_mine ON attribution.attribution_events (of_mine);
CREATE VIEW public.sales AS SELECT * FROM attribution.attribution_events;
SQL
    catalog_of returns | without_rights >"$work/catalog"
    rows_of returns >"$work/rows"
    refuses_in returns 2BP01 'DROP EXTENSION attribution CASCADE' 'DROP EXTENSION CASCADE is refused while tenants have rows'
    is "$(catalog_of returns | without_rights | diff "$work/catalog" - || true)" '' 'and drops nothing'
    run_in returns 'SET attribution.allow_drop_with_rows = on' 'DROP EXTENSION attribution CASCADE'
    is "$(rows_of returns | diff "$work/rows" - || true)" '' 'with the setting it leaves every row'
    is "$(ask returns "SELECT (SELECT count(*) FROM public.notes WHERE note = 'mine'), (SELECT count(*) FROM public.ids),
        (SELECT count(*) FROM public.sales WHERE of_mine = 7), (SELECT count(*) FROM pg_trigger WHERE tgname = 'note_event')")" '4|1|4|1' 'and what is of the users'
    run_in returns 'CREATE EXTENSION attribution'
    refuses_in returns 55000 "SELECT attribution.bind_tenant('drop_reader', gen_random_uuid())" 'CREATE EXTENSION alone brings no function to work'
    run_in returns 'SELECT attribution.create_tables()'
    is "$(catalog_of returns | without_rights | diff "$work/catalog" - || true)" '' 'create_tables() brings back all but rights on functions and on two views that read what is internal'
    is "$(rows_of returns | diff "$work/rows" - || true)" '' 'and changes no row'
    run_in returns "SELECT attribution.grant_access('drop_reader', 'operator')" 'CALL attribution.refresh_all()'
    is "$(ask returns 'SELECT DISTINCT doubt IS NULL FROM attribution.refresh_status')" t 'which are granted, and the views filled, as ever'
}

# Two views read what is the extension's: they go and come with it.
without_rights() {
    awk -F'|' -v OFS='|' '/^function\|/ { $3 = "" } /^relation\|attribution\.refresh_(log|status)\|/ { $4 = "" } { print }'
}

# What a session has loaded and remembered of a dropped extension must not meet the new one.
comes_back_in_a_session() {
    fresh_database again
    usage >"$work/usage.sql"
    sessions_of >"$work/again" <<SQL
SET client_min_messages = warning;
SET attribution.allow_drop_with_rows = on;
CREATE EXTENSION attribution;
\\i $work/usage.sql
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
\\i $work/usage.sql
BEGIN;
DROP SCHEMA attribution CASCADE;
ROLLBACK;
SELECT count(*) FROM attribution.unbalanced_allocations();
DROP EXTENSION attribution CASCADE;
CREATE EXTENSION attribution;
SELECT count(*) > 0 FROM attribution.create_tables();
CALL attribution.refresh_all();
SELECT count(*) FROM attribution.unbalanced_allocations();
BEGIN;
DROP SCHEMA attribution CASCADE;
CREATE EXTENSION attribution;
COMMIT;
\\i $work/usage.sql
SQL
    run_in again 'SET attribution.allow_drop_with_rows = on' 'DROP SCHEMA attribution CASCADE' 'CREATE EXTENSION attribution'
    sessions_of <"$work/usage.sql" >"$work/once"
    is "$(cat "$work/again")" "$(cat "$work/once" "$work/once")"$'\n0\nt\n0\n'"$(cat "$work/once")" \
        'in one session the extension can be dropped, created and used again'
}

# What a session says, errors included, without the place where psql met them.
sessions_of() {
    { psql -XqAtd again -v ON_ERROR_STOP=1 2>&1 || true; } | sed 's/^psql:[^ ]* //'
}

# --- Rows of tenants ----------------------------------------------------------------------------------

# Every way to say it, each in a session of its own, to which nothing of the extension was known before.
loses_no_row() {
    fresh_database rows 'CREATE EXTENSION attribution'
    use rows
    run_in rows 'CREATE SCHEMA other' "CREATE PROCEDURE other.drop_all() LANGUAGE plpgsql AS 'BEGIN DROP SCHEMA attribution CASCADE; END'" \
        "CREATE FUNCTION other.drop_one(name text) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN EXECUTE format('DROP TABLE attribution.%I CASCADE', name); END \$\$" \
        'CREATE ROLE drop_owner LOGIN' 'ALTER DATABASE rows OWNER TO drop_owner'
    psql -Xqd rows -v ON_ERROR_STOP=1 <<'SQL'
ALTER SCHEMA attribution OWNER TO drop_owner;
SELECT format('ALTER TABLE %s OWNER TO drop_owner', c.oid::regclass) FROM pg_class c
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind IN ('r', 'v', 'm') \gexec
SQL
    catalog_of rows >"$work/catalog"
    rows_of rows >"$work/rows"
    local table tables
    tables=$(ask rows "SELECT string_agg(split_part(r, ' ', 1), ' ') FROM unnest(string_to_array('$(tables_with_rows rows)', ',')) AS r")
    is "$(wc -w <<<"$tables" | awk '{ print ($1 > 5) }')" 1 'many tables have rows of tenants'

    keeps 'DROP SCHEMA attribution CASCADE' 'DROP SCHEMA'
    keeps 'DROP SCHEMA attribution CASCADE' 'by the owner, who is no superuser' -U drop_owner
    keeps 'DROP SCHEMA other, attribution CASCADE' 'among others'
    for table in $tables; do
        keeps "DROP TABLE attribution.$table CASCADE" "DROP TABLE $table CASCADE"
    done
    keeps "DROP TABLE ${tables// /, }" 'DROP TABLE of all by the search path' -c 'SET search_path = attribution'
    keeps 'DROP TABLE attribution.currencies, attribution.tenants CASCADE' 'of several tables' -U drop_owner
    keeps 'DROP OWNED BY drop_owner' 'DROP OWNED'
    keeps 'DROP OWNED BY drop_reader, drop_owner CASCADE' 'DROP OWNED of several'
    keeps 'DROP OWNED BY SESSION_USER' 'DROP OWNED of oneself' -U drop_owner
    keeps 'DROP EXTENSION attribution CASCADE' 'DROP EXTENSION'
    keeps 'BEGIN; DROP SCHEMA attribution CASCADE; COMMIT' 'in a transaction'
    keeps 'SELECT 1; DROP SCHEMA attribution CASCADE' 'behind another statement'
    keeps 'CALL other.drop_all()' 'in a procedure'
    keeps "SELECT other.drop_one('tenants')" 'by EXECUTE'
    keeps 'DO $$ BEGIN DROP TABLE attribution.revenue_ledger CASCADE; END $$' 'in DO'
    keeps 'DROP SCHEMA attribution CASCADE' 'where triggers are off' -c 'SET session_replication_role = replica'
    keeps 'DROP SCHEMA attribution CASCADE' 'where the setting is no boolean' -c 'SET attribution.allow_drop_with_rows = maybe'
    keeps 'DROP SCHEMA attribution CASCADE' 'where the setting was set back' -c 'SET attribution.allow_drop_with_rows = on' -c 'RESET attribution.allow_drop_with_rows'
    echo 'DROP SCHEMA attribution CASCADE;' >"$work/prepared.sql"
    is "$(pgbench -n -t 1 -M prepared -f "$work/prepared.sql" rows 2>&1 | grep -c 'because tenants have rows')" 1 'as a prepared statement: refused'
    is "$(catalog_of rows | diff "$work/catalog" - || true)" '' 'none of them has dropped anything'
    is "$(rows_of rows | diff "$work/rows" - || true)" '' 'nor lost a row'
}

# keeps STATEMENT TEXT [OPTION...]: what it comes to is our error and not another one.
keeps() {
    local said
    said=$(psql -Xqd rows -v VERBOSITY=verbose "${@:3}" -c "$1" 2>&1) || true
    case $said in
        *'ERROR:  2BP01: '*' because tenants have rows'*'HINT:'*allow_drop_with_rows*) ok "$2: refused" ;;
        *) not_ok "$2: refused"; printf '#   %s\n' "$said" ;;
    esac
}

# The same pass with the setting, however it is set, and without it as long as there is no row.
lets_rows_go() {
    local way
    for way in "PGOPTIONS='-c attribution.allow_drop_with_rows=on'" 'SET' 'ALTER ROLE' 'empty'; do
        fresh_database goes 'CREATE EXTENSION attribution' 'ALTER SCHEMA attribution OWNER TO drop_owner'
        [ "$way" = empty ] || use goes
        case $way in
            PGOPTIONS*) PGOPTIONS='-c attribution.allow_drop_with_rows=on -c client_min_messages=warning' psql -Xqd goes -U drop_owner -c 'DROP SCHEMA attribution CASCADE' ;;
            SET) psql -Xqd goes -c "SET client_min_messages = warning" -c 'SET attribution.allow_drop_with_rows = on' -c 'DROP OWNED BY drop_owner CASCADE' ;;
            'ALTER ROLE')
                psql -Xqd goes -c 'ALTER ROLE drop_owner SET attribution.allow_drop_with_rows = on' -c 'ALTER ROLE drop_owner SET client_min_messages = warning'
                psql -Xqd goes -U drop_owner -c 'DROP SCHEMA attribution CASCADE'
                psql -Xqd goes -c 'ALTER ROLE drop_owner RESET ALL' ;;
            empty) psql -Xqd goes -c "SET client_min_messages = warning" -c 'DROP SCHEMA attribution CASCADE' ;;
        esac >"$work/goes" 2>&1 || true
        is "$(cat "$work/goes")$(ask goes "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'attribution%'")" 0 "rows go by $way"
    done

    fresh_database goes 'CREATE EXTENSION attribution'
    use goes
    # Whoever deletes the rows has said so.
    run_in goes 'ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER USER' 'BEGIN' 'DELETE FROM attribution.tenant_bindings' \
        'DROP TABLE attribution.tenant_bindings' 'COMMIT'
    is "$(ask goes "SELECT to_regclass('attribution.tenant_bindings') IS NULL")" t 'a table goes whose rows were deleted before, in the same transaction'
}

# --- Other statements ---------------------------------------------------------------------------------

never_stands_in_the_way() {
    # Half of the extension, as between two statements of its script or of a restore.
    fresh_database half 'CREATE EXTENSION attribution'
    run_in half 'SELECT attribution.drop_tables()' 'CREATE TABLE attribution.tenants (tenant_id uuid)' 'CREATE TABLE public.t (id int)' 'DROP TABLE public.t' 'DROP TABLE attribution.tenants' 'CREATE SCHEMA s' 'DROP SCHEMA s CASCADE' 'DROP OWNED BY drop_reader'
    run_in half 'DROP SCHEMA attribution CASCADE' 'CREATE TABLE public.t (id int)' 'DROP TABLE public.t'
    ok 'with half of the tables other statements go on'

    # Who cannot see the schema, and a database whose tables nobody could look at.
    fresh_database blind 'CREATE EXTENSION attribution' 'GRANT CREATE ON SCHEMA public TO drop_user'
    use blind
    run_in blind 'REVOKE ALL ON SCHEMA attribution, attribution_internal FROM PUBLIC, drop_reader'
    psql -Xqd blind -U drop_user -v ON_ERROR_STOP=1 -c 'CREATE TABLE public.tenants (id int)' -c 'CREATE TABLE public.heir () INHERITS (public.tenants)' \
        -c 'SET client_min_messages = error' -c 'DROP TABLE public.tenants CASCADE' -c 'CREATE TEMP TABLE t (id int)' -c 'DROP TABLE pg_temp.t' -c 'DROP OWNED BY drop_user CASCADE' &&
        ok 'whoever cannot see the schema drops what is his'
    refuses_in blind 42501 'DROP TABLE attribution.tenants CASCADE' 'and learns nothing of its rows' -U drop_user

    # A DROP of another table waits for nobody who works with ours.
    mkfifo "$work/locked"
    psql -XqAtd blind -v ON_ERROR_STOP=1 <"$work/locked" >"$work/locked.out" 2>&1 &
    local locker=$!
    exec 3>"$work/locked"
    echo "BEGIN; LOCK TABLE attribution.tenants, attribution.revenue_ledger; SELECT 'locked';" >&3
    until grep -q locked "$work/locked.out"; do sleep 0.05; done
    PGOPTIONS='-c lock_timeout=2s -c client_min_messages=warning' psql -Xqd blind -v ON_ERROR_STOP=1 -c 'CREATE TABLE public.t (id int)' -c 'DROP TABLE public.t' \
        -c 'CREATE SCHEMA s' -c 'DROP SCHEMA s CASCADE' -c 'DROP OWNED BY drop_user' && ok 'a DROP of something else waits for no lock on the tables'
    PGOPTIONS='-c lock_timeout=100ms' refuses_in blind 55P03 'DROP TABLE attribution.tenants CASCADE' 'a DROP of the table does'
    exec 3>&-
    wait "$locker"

    # What the page tells to do where the library is gone.
    fresh_database gone 'CREATE EXTENSION attribution' 'CREATE TABLE public.t (id int)'
    run_in gone "UPDATE pg_proc SET probin = '\$libdir/attribution-gone' WHERE oid = 'attribution_internal.guard_drop'::regproc"
    refuses_in gone 58P01 'DROP TABLE public.t' 'without the library no table can be dropped'
    run_in gone 'ALTER EVENT TRIGGER attribution_guards_drop DISABLE' 'DROP TABLE public.t' && ok 'until the event trigger is disabled'
    if [ "$(ask gone 'SHOW server_version_num')" -ge 170000 ]; then
        run_in gone 'ALTER EVENT TRIGGER attribution_guards_drop ENABLE ALWAYS' 'CREATE TABLE public.t (id int)' 'SET event_triggers = off' 'DROP TABLE public.t' &&
            ok 'or all of them are'
    else
        skip 'event_triggers: 17 and later have it'
    fi
}

# --- Surroundings -------------------------------------------------------------------------------------

hostile_surroundings() {
    fresh_database hostile 'GRANT CREATE ON SCHEMA public TO drop_user'
    psql -Xqd hostile -U drop_user -v ON_ERROR_STOP=1 <<'SQL'
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::timestamptz $$;
CREATE FUNCTION public.sum(bigint) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric';
CREATE FUNCTION public.count() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION public.abs(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric';
CREATE FUNCTION public.octet_length(text) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'object'::text $$;
CREATE FUNCTION public.string_to_array(text, text) RETURNS text[] LANGUAGE sql AS $$ SELECT '{}'::text[] $$;
CREATE FUNCTION public.pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION public.uuid_v7() RETURNS uuid LANGUAGE sql AS $$ SELECT '00000000-0000-0000-0000-000000000000'::uuid $$;
CREATE FUNCTION public.current_tenant() RETURNS uuid LANGUAGE sql AS $$ SELECT NULL::uuid $$;
CREATE FUNCTION public.yes_uuid(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR public.= (FUNCTION = public.yes_uuid, LEFTARG = uuid, RIGHTARG = uuid);
CREATE FUNCTION public.yes_text(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR public.= (FUNCTION = public.yes_text, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR public.~ (FUNCTION = public.yes_text, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION public.yes_bigint(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR public.> (FUNCTION = public.yes_bigint, LEFTARG = bigint, RIGHTARG = bigint);
CREATE DOMAIN public.uuid AS pg_catalog.text;
CREATE DOMAIN public.numeric AS pg_catalog.float8;
CREATE TABLE public.tenants (id int);
CREATE TABLE public.attribution_events (id int);
CREATE TABLE public.refresh_log (id int);
SQL
    psql -Xqd hostile -v ON_ERROR_STOP=1 -c 'SET search_path = public, pg_catalog' \
        -c 'CREATE TEMP TABLE tenants (id int)' -c 'CREATE TEMP TABLE uuid (id int)' -c 'CREATE TEMP TABLE text (id int)' \
        -c "SET default_tablespace = ''" -c 'SET check_function_bodies = off' -c 'SET standard_conforming_strings = on' \
        -c 'CREATE EXTENSION attribution'
    is "$(catalog_of hostile)" "$(cat "$work/clean")" 'what others have put into public or pg_temp changes nothing of what is installed'
    is "$(ask hostile "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner = 'drop_user'::regrole AND relkind = 'r'")" 3 \
        'nor is any of it taken over'

    fresh_database defaults 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC' 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO drop_reader' \
        'ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO drop_reader' 'ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC' \
        'CREATE EXTENSION attribution'
    is "$(ask defaults "
        SELECT 'schema to ' || grantee::regrole FROM pg_namespace n, aclexplode(nspacl) WHERE n.nspname LIKE 'attribution%' AND grantee <> nspowner
        UNION SELECT relname || ' to ' || grantee::regrole FROM pg_class, aclexplode(relacl)
              WHERE relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND grantee <> relowner
        UNION SELECT proname || ' to ' || grantee::regrole FROM pg_proc, aclexplode(proacl)
              WHERE pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND grantee NOT IN (proowner, 0)
        ORDER BY 1" | paste -sd, | cut -c 1-200)" '' 'default privileges open nothing: a materialized view knows no row security'
}

# --- Using it -----------------------------------------------------------------------------------------

use() {
    usage | psql -XqAtd "$1" -v ON_ERROR_STOP=1 >"$work/used" 2>&1 || { cat "$work/used"; not_ok "the extension can be used in $1"; }
}

# Something of everything; prints nothing that differs between two runs.
usage() {
    cat <<'SQL'
INSERT INTO attribution.tenants (id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a');
SELECT outcome FROM attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-01Z', 1000, 'shop:order:1');
SELECT outcome FROM attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-01Z', 1000, 'shop:order:1');
SELECT outcome FROM generate_series(2, 4) AS n, attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-01Z', n, 'shop:order:' || n);
SELECT a.channel, a.allocated_revenue_cents FROM attribution.attribution_events e, attribution.allocate_event(e.tenant_id, e.id, '1.0.0', '{x,y}', '{1,1}') a
WHERE e.revenue_cents >= 4 ORDER BY e.revenue_cents, a.channel;
\set ON_ERROR_STOP 0
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 0;
\set ON_ERROR_STOP 1
SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', '1.0.0');
\set ON_ERROR_STOP 0
UPDATE attribution.tenants SET currency = 'EUR';
\set ON_ERROR_STOP 1
SELECT attribution.bind_tenant('drop_reader', 'aaaaaaaa-0000-4000-8000-000000000000'), attribution.grant_access('drop_reader', 'operator');
SET SESSION AUTHORIZATION drop_reader;
SELECT attribution.current_tenant(), (SELECT count(*) FROM attribution.attribution_events);
RESET SESSION AUTHORIZATION;
CALL attribution.refresh_all();
SELECT total_revenue_cents FROM attribution.realtime_revenue('aaaaaaaa-0000-4000-8000-000000000000');
SELECT state FROM attribution.reconciliation_status('aaaaaaaa-0000-4000-8000-000000000000');
INSERT INTO attribution.tenants (name) VALUES ('b');
SELECT mode, rows_changed FROM attribution.refresh('mv_realtime_revenue');
REFRESH MATERIALIZED VIEW attribution.mv_realtime_revenue;
SELECT attribution_internal.refresh_doubt('mv_realtime_revenue');
CALL attribution.refresh_all();
SELECT DISTINCT doubt IS NULL FROM attribution.refresh_status;
SQL
}

# --- What a database holds ----------------------------------------------------------------------------

# run_in DATABASE STATEMENT...: in one session, up to the first error.
run_in() {
    local database=$1 statement words=()
    shift
    for statement; do words+=(-c "$statement"); done
    psql -Xqd "$database" -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "${words[@]}" >"$work/run" || { not_ok "$database: $*"; return 1; }
}

ask() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c "$2"
}

# refuses SQLSTATE COMMAND WHERE [OPTION...]
refuses() {
    refuses_in installs "$1" "$2" "CREATE EXTENSION is refused $3" "${@:4}"
}

refuses_in() {
    local said
    said=$(psql -Xqd "$1" "${@:5}" -v VERBOSITY=verbose -c "$3" 2>&1) || true
    case $said in
        ERROR:*"  $2: "*) ok "$4" ;;
        *) not_ok "$4"; printf '#   %s\n' "$said" ;;
    esac
}

# Every object that is not PostgreSQL's own, by description, and what catalogs keep beside objects.
everything_in() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 <<'SQL'
SELECT c.relname || ': ' || count FROM pg_class c, LATERAL (
    SELECT (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', c.oid::regclass), false, true, '')))[1]::text AS count) n
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
  AND c.relname NOT IN ('pg_statistic', 'pg_namespace', 'pg_authid', 'pg_database', 'pg_shdepend', 'pg_auth_members') ORDER BY 1;
SELECT 'on shared objects: ' || count(*) FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
SELECT pg_describe_object('pg_class'::regclass, oid, 0) FROM pg_class WHERE oid >= 16384 ORDER BY 1;
SELECT pg_describe_object('pg_proc'::regclass, oid, 0) FROM pg_proc WHERE oid >= 16384 ORDER BY 1;
SELECT pg_describe_object('pg_namespace'::regclass, oid, 0) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY 1;
SELECT extname FROM pg_extension ORDER BY 1;
SQL
}

# Every row of every table of the schema.
rows_of() {
    PGOPTIONS='-c search_path=pg_catalog' psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c "SELECT format('SELECT %L, r FROM %s r ORDER BY r::text', c.relname, c.oid::regclass)
        FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' ORDER BY c.relname" >"$work/rows.sql"
    sed -i 's/$/;/' "$work/rows.sql"
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -f "$work/rows.sql"
}

# Tables of tenants that have a row, with commas between them.
tables_with_rows() {
    PGOPTIONS='-c search_path=pg_catalog' psql -XqAtd "$1" -v ON_ERROR_STOP=1 <<'SQL'
SELECT string_agg(c.relname, ',' ORDER BY c.relname) FROM pg_class c
WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r'
  AND (c.relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'))
  AND (xpath('count(/table/row)', query_to_xml(format('SELECT 1 FROM %s LIMIT 1', c.oid::regclass), false, false, '')))[1]::text <> '0';
SQL
}

# The extension in full: what each object is, not which number it has.
catalog_of() {
    PGOPTIONS='-c search_path=pg_catalog' psql -XqAtd "$1" -v ON_ERROR_STOP=1 <<'SQL'
SELECT 'schema', nspname, nspacl, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname LIKE 'attribution%' ORDER BY nspname;
CREATE TEMP VIEW c AS SELECT *, oid::regclass::text AS name FROM pg_class WHERE relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND relkind <> 'c';
SELECT 'relation', name, relkind, relacl, reloptions, relrowsecurity, relpersistence, obj_description(oid, 'pg_class') FROM c ORDER BY name;
SELECT 'column', c.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(c.oid, a.attnum)
FROM c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND c.relkind <> 'i' ORDER BY c.name, a.attnum;
SELECT 'constraint', c.name, k.conname, pg_get_constraintdef(k.oid) FROM c JOIN pg_constraint k ON k.conrelid = c.oid ORDER BY c.name, k.conname;
SELECT 'index', c.name, pg_get_indexdef(c.oid) FROM c WHERE relkind = 'i' ORDER BY name;
SELECT 'view', c.name, pg_get_viewdef(c.oid) FROM c WHERE relkind IN ('v', 'm') ORDER BY name;
SELECT 'trigger', c.name, t.tgenabled, pg_get_triggerdef(t.oid) FROM c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal ORDER BY c.name, t.tgname;
SELECT 'event trigger', evtname, evtevent, evttags, evtenabled, evtfoid::regproc, obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger ORDER BY evtname;
SELECT 'policy', c.name, p.polname, p.polcmd, p.polroles, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid)
FROM c JOIN pg_policy p ON p.polrelid = c.oid ORDER BY c.name, p.polname;
SELECT 'function', p.oid::regprocedure, p.proacl, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE p.pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) ORDER BY p.oid::regprocedure::text;
SELECT 'member', pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attribution') ORDER BY 2;
SELECT 'currencies', count(*), md5(string_agg(c::text, ' ' ORDER BY code)) FROM attribution.currencies c;
SQL
}

main
