#!/bin/bash
# CREATE EXTENSION takes over nothing that is there already, whoever made it; DROP EXTENSION leaves
# nothing and takes nothing else; and both again in a session that has used the extension before.

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
    drops
    comes_back
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

    psql -Xqd installs -c 'GRANT CREATE ON DATABASE installs TO drop_user'
    psql -Xqd installs -U drop_user -v ON_ERROR_STOP=1 -c 'CREATE SCHEMA attribution' \
        -c 'CREATE TABLE attribution.tenants (id uuid, name text)'
    refuses 42P06 'CREATE EXTENSION attribution' 'into a schema that somebody has prepared'
    refuses 42P06 'CREATE EXTENSION attribution CASCADE' 'even with CASCADE'
    is "$(ask installs "SELECT count(*) FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'r' AND relowner = 'drop_user'::regrole")" 1 \
        'whose contents stay what they were'
    psql -Xqd installs -U drop_user -c 'DROP TABLE attribution.tenants' -c 'DROP SCHEMA attribution'

    psql -Xqd installs -f "$("$PG_CONFIG" --sharedir | sed "s|^|$ATTRIBUTION_TMP|")/extension/attribution--$(version).sql" >"$work/sourced" 2>&1 || true
    is "$(cat "$work/sourced")" 'Use "CREATE EXTENSION attribution" to load this file.' 'the script says how to use it when it is run by hand'
    is "$(everything_in installs | diff "$work/before" - || true)" '' 'and does nothing'

    psql -Xqd installs -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION attribution'
    refuses 0A000 'ALTER EXTENSION attribution SET SCHEMA public' 'to move to another schema'
    is "$(ask installs 'SELECT extversion FROM pg_extension WHERE extname = '"'attribution'")" "$(version)" 'the version installed is that of the control file'
}

version() {
    sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$ATTRIBUTION_ROOT/attribution.control"
}

# --- Dropping -----------------------------------------------------------------------------------------

drops() {
    fresh_database drops
    everything_in drops >"$work/before"
    psql -Xqd drops -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION attribution'
    use drops
    psql -Xqd drops -v ON_ERROR_STOP=1 -c 'DROP EXTENSION attribution'
    is "$(everything_in drops | diff "$work/before" - || true)" '' 'DROP EXTENSION leaves nothing behind'

    psql -Xqd drops -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION attribution'
    use drops
    psql -Xqd drops -v ON_ERROR_STOP=1 >"$work/users" <<'SQL'
CREATE TABLE public.notes (tenant_id uuid, event_id uuid, note text,
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id));
INSERT INTO public.notes SELECT tenant_id, id, 'mine' FROM attribution.attribution_events;
CREATE TABLE public.ids (id uuid DEFAULT attribution.uuid_v7(), n int);
INSERT INTO public.ids (n) VALUES (1);
CREATE TABLE public.copied (LIKE attribution.attribution_allocations);
INSERT INTO public.copied SELECT * FROM attribution.attribution_allocations;
CREATE VIEW public.sales AS SELECT * FROM attribution.attribution_events;
CREATE FUNCTION public.note_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER note_event AFTER INSERT ON attribution.attribution_events FOR EACH ROW EXECUTE FUNCTION public.note_event();
CREATE FUNCTION public.revenue(tenant uuid) RETURNS numeric LANGUAGE sql AS 'SELECT total_revenue FROM attribution.realtime_revenue(tenant)';
SQL
    refuses_in drops 2BP01 'DROP EXTENSION attribution' 'DROP EXTENSION while objects of users depend on it is refused'
    is "$(ask drops "SELECT count(*) FROM attribution.attribution_events")" 4 'and loses nothing'
    psql -Xqd drops -v ON_ERROR_STOP=1 -c 'SET client_min_messages = error' -c 'DROP EXTENSION attribution CASCADE'
    is "$(ask drops "SELECT (SELECT count(*) FROM public.notes WHERE note = 'mine'), (SELECT count(*) FROM public.ids), (SELECT count(*) FROM public.copied)")" \
        '4|1|4' 'with CASCADE the tables of users keep their rows'
    is "$(ask drops "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")" \
        'note_event revenue' 'and their functions stay'
    is "$(ask drops "SELECT count(*) FROM pg_class WHERE relname = 'sales'")" 0 'only what was made of ours is gone'
    is "$(psql -Xqd postgres -c 'DROP ROLE drop_reader' -c 'CREATE ROLE drop_reader' 2>&1)" '' 'a role that had access can be dropped'
}

# What a session has loaded and remembered of a dropped extension must not meet the new one.
comes_back() {
    fresh_database again
    usage >"$work/usage.sql"
    sessions_of >"$work/again" <<SQL
CREATE EXTENSION attribution;
\\i $work/usage.sql
DROP EXTENSION attribution;
CREATE EXTENSION attribution;
\\i $work/usage.sql
BEGIN;
DROP EXTENSION attribution;
ROLLBACK;
SELECT count(*) FROM attribution.unbalanced_allocations();
BEGIN;
DROP EXTENSION attribution;
CREATE EXTENSION attribution;
COMMIT;
\\i $work/usage.sql
SQL
    psql -Xqd again -v ON_ERROR_STOP=1 -c 'DROP EXTENSION attribution' -c 'CREATE EXTENSION attribution'
    sessions_of <"$work/usage.sql" >"$work/once"
    is "$(cat "$work/again")" "$(cat "$work/once" "$work/once")"$'\n0\n'"$(cat "$work/once")" \
        'in one session the extension can be dropped, created and used again'
}

# What a session says, errors included, without the place where psql met them.
sessions_of() {
    { psql -XqAtd again -v ON_ERROR_STOP=1 2>&1 || true; } | sed 's/^psql:[^ ]* //'
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
        SELECT 'schema to ' || grantee::regrole FROM pg_namespace n, aclexplode(nspacl) WHERE n.nspname = 'attribution' AND grantee <> nspowner
        UNION SELECT relname || ' to ' || grantee::regrole FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'attribution'::regnamespace AND grantee <> relowner
        UNION SELECT proname || ' to ' || grantee::regrole FROM pg_proc, aclexplode(proacl) WHERE pronamespace = 'attribution'::regnamespace AND grantee NOT IN (proowner, 0)
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

# The extension in full: what each object is, not which number it has.
catalog_of() {
    PGOPTIONS='-c search_path=pg_catalog' psql -XqAtd "$1" -v ON_ERROR_STOP=1 <<'SQL'
SELECT 'schema', nspacl, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'attribution';
CREATE TEMP VIEW c AS SELECT * FROM pg_class WHERE relnamespace = 'attribution'::regnamespace AND relkind <> 'c';
SELECT 'relation', relname, relkind, relacl, reloptions, relrowsecurity, relpersistence, obj_description(oid, 'pg_class') FROM c ORDER BY relname;
SELECT 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(c.oid, a.attnum)
FROM c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND c.relkind <> 'i' ORDER BY c.relname, a.attnum;
SELECT 'constraint', c.relname, k.conname, pg_get_constraintdef(k.oid) FROM c JOIN pg_constraint k ON k.conrelid = c.oid ORDER BY c.relname, k.conname;
SELECT 'index', c.relname, pg_get_indexdef(c.oid) FROM c WHERE relkind = 'i' ORDER BY relname;
SELECT 'view', c.relname, pg_get_viewdef(c.oid) FROM c WHERE relkind IN ('v', 'm') ORDER BY relname;
SELECT 'trigger', c.relname, t.tgenabled, pg_get_triggerdef(t.oid) FROM c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal ORDER BY c.relname, t.tgname;
SELECT 'event trigger', evtname, evtevent, evttags, evtenabled, evtfoid::regproc, obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger ORDER BY evtname;
SELECT 'policy', c.relname, p.polname, p.polcmd, p.polroles, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid)
FROM c JOIN pg_policy p ON p.polrelid = c.oid ORDER BY c.relname, p.polname;
SELECT 'function', p.oid::regprocedure, p.proacl, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE p.pronamespace = 'attribution'::regnamespace ORDER BY p.oid::regprocedure::text;
SELECT 'dumped', id::oid::regclass, condition FROM pg_extension, unnest(extconfig, extcondition) AS x (id, condition) WHERE extname = 'attribution' ORDER BY id::oid::regclass::text;
SELECT 'currencies', count(*), md5(string_agg(c::text, ' ' ORDER BY code)) FROM attribution.currencies c;
SQL
}

main
