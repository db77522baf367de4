#!/bin/bash
# check_backup() says what a plain pg_dump loses: no less and no more. Whatever the owner of a database may do to it is
# done here, the database is dumped and restored, and everything that both hold is compared. The objects that differ must
# be those that check_backup() named before; then its commands are run, and neither differs any more.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

[ -n "${PGHOST:-}" ] || server_start
work=$(mktemp -d "$ATTRIBUTION_TMP/check.XXXXXX")
also_remove+=("$work")
export PGOPTIONS='-c client_min_messages=error' # it warns of publications while wal_level is replica

main() {
    write_state_query
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'CREATE ROLE check_reader LOGIN' -c 'CREATE ROLE check_boss' -c 'CREATE ROLE check_gone'
    fresh_database check_filled 'CREATE EXTENSION attribution'
    sql check_filled >/dev/null <<'SQL'
INSERT INTO attribution.tenants (id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'a');
SELECT attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-01Z', 1000, 'shop:order:1');
SELECT attribution.allocate_event(tenant_id, id, '1.0.0', '{x,y}', '{1,1}') FROM attribution.attribution_events;
SELECT attribution.post_allocations('aaaaaaaa-0000-4000-8000-000000000000', '1.0.0');
SELECT attribution.bind_tenant('check_reader', 'aaaaaaaa-0000-4000-8000-000000000000'), attribution.grant_access('check_reader', 'operator');
CALL attribution.refresh_all();
SQL
    an_owners_objects_are_restored
    findings_are_losses
    local case
    for case in member schema_member schema_owner boss search_path let_go; do breaks "$case"; done
    forced_row_security_stops_a_dump
    unlogged_tables_are_dumped
    settings_need_create
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'DROP DATABASE IF EXISTS check_copy' -c 'DROP DATABASE check_case' -c 'DROP DATABASE check_filled' \
        -c 'DROP ROLE check_reader' -c 'DROP ROLE check_boss' -c 'DROP ROLE IF EXISTS check_gone'
    suite_end
}

# --- Cases --------------------------------------------------------------------------------------------

an_owners_objects_are_restored() {
    case_database healthy
    is "$(findings)" '' 'a database with objects of its owner, bindings and grants has no finding'
    restore
    is "$(restore_errors)" '' 'it is restored without an error'
    is "$(lost)" '' 'and nothing of it is lost'
}

# What can be restored, but not as it was.
findings_are_losses() {
    case_database parts
    findings >"$work/found"
    restore
    lost >"$work/lost"
    # Before 18 a publication of such a table is lost as well.
    is "$(wc -l <"$work/found")" "$(if [ "$PG_MAJOR" -lt 18 ]; then echo 36; else echo 35; fi)" 'each object that the owner has changed is found'
    is "$(cat "$work/found")" "$(cat "$work/lost")" 'what is found is what is lost'
    ask 'SET allow_system_table_mods = on; DELETE FROM pg_seclabel'
    cure
    is "$(findings)" '' 'the remedies leave no finding'
    restore
    is "$(lost)" '' 'and nothing is lost any more'

}

# breaks CASE: the restore fails, or the tables refuse to be used afterwards; check_backup() names the case's objects.
breaks() {
    local object uses
    uses="SELECT attribution.ingest_event('aaaaaaaa-0000-4000-8000-000000000000', 'shop', 'conversion', '2026-01-01Z', 1, 'shop:order:2')"
    case_database "$1"
    while read -r object; do
        is "$(findings | grep -cFx "$object")" 1 "$1: $object is found"
    done < <(case_sql "$1" | sed -n 's/^-- finding: //p')
    restore
    if [ -n "$(restore_errors)" ] || ! sql check_copy >"$work/use" 2>&1 <<<"$uses"; then
        ok "$1: the restore is not complete"
    else
        not_ok "$1: the restore is not complete"
    fi
    cure
    restore
    is "$(findings; restore_errors; lost)" '' "$1: with its remedy, everything is restored"
}

# Of a superuser it does not, so the owner is none here, which is a finding itself.
forced_row_security_stops_a_dump() {
    case_database forced
    is "$(ask "SELECT object FROM attribution.check_backup() WHERE problem LIKE 'has row security%'")" 'table attribution.tenants' 'row security for the owner is found'
    is "$(PGUSER=check_boss pg_dump --table=attribution.tenants check_case 2>&1 >/dev/null | grep -c 'affected by row-level security')" 1 \
        'pg_dump by that owner ends with an error'
    ask "SELECT remedy || ';' FROM attribution.check_backup() WHERE remedy LIKE '% ROW LEVEL %'" | sql check_case
    is "$(PGUSER=check_boss pg_dump --table=attribution.tenants check_case 2>&1 >/dev/null)" '' 'with the remedy it does not'
}

unlogged_tables_are_dumped() {
    case_database unlogged
    is "$(ask "SELECT object || ' ' || carried_by FROM attribution.check_backup()")" 'table attribution.settlement_differences pg_dump' \
        'an unlogged table is found, and that pg_dump has its rows'
    restore
    is "$(lost)" '' 'pg_dump has its rows'
    is "$(ask 'SELECT remedy FROM attribution.check_backup()' | sql check_case; findings)" '' 'with the remedy it is not found'
}

settings_need_create() {
    case_database settings
    is "$(ask "SELECT object || ', ' || carried_by FROM attribution.check_backup() ORDER BY 1")" \
        "$(printf '%s, pg_dump --create\n' 'database check_case' 'role check_reader in database check_case')" 'settings of the database are found'
    pg_dump --schema-only check_case >"$work/plain"
    pg_dump --schema-only --create check_case >"$work/create"
    is "$(grep -c 'SET "attribution\.' "$work/plain" || true) $(grep -c 'SET "attribution\.' "$work/create")" '0 2' 'pg_dump --create has them, plain pg_dump does not'
}

# case_sql CASE: what the owner does.
case_sql() {
    case $1 in
        healthy) cat <<'SQL' ;;
ALTER TABLE attribution.tenants ADD COLUMN note text DEFAULT 'x', ADD COLUMN twice text GENERATED ALWAYS AS (note || note) STORED;
ALTER TABLE attribution.tenants ADD CONSTRAINT owner_check CHECK (note <> 'y') NOT VALID;
CREATE FUNCTION public.checks(text) RETURNS boolean LANGUAGE sql AS 'SELECT $1 ~ ''.''';
CREATE FUNCTION public.named(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN public.checks($1); END';
CREATE FUNCTION public.found(text) RETURNS boolean LANGUAGE plpgsql SET search_path = public AS 'BEGIN RETURN checks($1); END';
ALTER TABLE attribution.tenants ADD CHECK (public.checks(name)), ADD CHECK (public.named(name)), ADD CHECK (public.found(name));
CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM checks(''''); RETURN NEW; END';
CREATE TRIGGER owner_trigger BEFORE INSERT ON attribution.tenants FOR EACH ROW EXECUTE FUNCTION public.fires();
ALTER TABLE attribution.tenants DISABLE TRIGGER owner_trigger, SET (fillfactor = 70), REPLICA IDENTITY FULL, CLUSTER ON tenants_pkey;
ALTER TABLE attribution.tenants ALTER name SET STATISTICS 7, ALTER name SET (n_distinct = 5), ALTER name SET STORAGE EXTERNAL;
CREATE RULE owner_rule AS ON DELETE TO attribution.tenants DO INSTEAD NOTHING;
CREATE POLICY owner_policy ON attribution.tenants TO check_reader USING (true);
CREATE INDEX owner_index ON attribution.mv_realtime_revenue (tenant_id) WITH (fillfactor = 60);
CREATE STATISTICS attribution.owner_statistics ON tenant_id, channel FROM attribution.attribution_events;
ALTER STATISTICS attribution.owner_statistics SET STATISTICS 7;
COMMENT ON TABLE attribution.tenants IS 'mine';
COMMENT ON TRIGGER touch_updated_at ON attribution.tenants IS 'mine';
COMMENT ON SCHEMA attribution IS 'mine';
COMMENT ON TABLE attribution.dead_events IS NULL;
CREATE MATERIALIZED VIEW public.owner_view AS SELECT id, public.checks(name) FROM attribution.tenants;
CREATE PUBLICATION owner_some FOR TABLE attribution.tenants (id, name) WHERE (id IS NOT NULL);
CREATE PUBLICATION owner_schema FOR TABLES IN SCHEMA attribution, attribution_internal;
CREATE TABLE public.child () INHERITS (attribution.dead_events);
CREATE TABLE public.child_of_log () INHERITS (attribution_internal.refresh_log);
CREATE FUNCTION attribution.owner_function() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION attribution.depends() RETURNS integer LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION attribution.depends() DEPENDS ON EXTENSION attribution;
CREATE FUNCTION public.of_row(attribution_internal.refresh_log) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE EVENT TRIGGER owner_event ON ddl_command_end EXECUTE FUNCTION attribution_internal.notice_refresh();
ALTER EVENT TRIGGER owner_event DISABLE;
CREATE TABLE attribution_internal.owner_table AS SELECT 1 AS a;
CREATE VIEW attribution_internal.owner_view AS SELECT * FROM attribution_internal.refresh_log;
ALTER DEFAULT PRIVILEGES IN SCHEMA attribution, attribution_internal GRANT SELECT ON TABLES TO check_reader;
GRANT SELECT ON attribution_internal.refresh_log TO check_reader;
GRANT SELECT (installed_at) ON attribution_internal.installation TO check_reader;
GRANT USAGE ON SCHEMA attribution_internal TO check_reader;
GRANT EXECUTE ON FUNCTION attribution.check_backup() TO check_boss;
REVOKE EXECUTE ON FUNCTION attribution.current_tenant() FROM PUBLIC;
ALTER TABLE attribution.ledger_books SET SCHEMA public;
ALTER TABLE public.ledger_books SET SCHEMA attribution;
ALTER EXTENSION plpgsql ADD TABLE attribution.currencies;
ALTER EXTENSION plpgsql DROP TABLE attribution.currencies;
SQL
        parts) cat <<'SQL' ;;
CREATE INDEX owner_index ON attribution_internal.refresh_log (started_at);
CREATE INDEX owner_index_too ON attribution_internal.refresh_state (view_name);
CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER owner_trigger BEFORE INSERT ON attribution_internal.refresh_log FOR EACH ROW EXECUTE FUNCTION public.fires();
CREATE RULE owner_rule AS ON DELETE TO attribution_internal.refresh_log DO INSTEAD NOTHING;
CREATE POLICY owner_policy ON attribution_internal.refresh_log TO check_reader USING (true);
CREATE STATISTICS attribution_internal.owner_statistics ON id, started_at FROM attribution_internal.refresh_log;
CREATE STATISTICS public."Owner's" ON id, started_at FROM attribution_internal.refresh_log;
CREATE PUBLICATION owner_some FOR TABLE attribution_internal.refresh_log, attribution.tenants;
ALTER TABLE attribution_internal.refresh_log ADD COLUMN "owner's" text;
ALTER TABLE attribution_internal.refresh_log ADD CONSTRAINT owner_check CHECK (id IS NOT NULL);
ALTER TABLE attribution_internal.refresh_log ALTER started_at SET STATISTICS 500;
ALTER TABLE attribution_internal.refresh_log ALTER error SET STORAGE EXTERNAL;
ALTER TABLE attribution_internal.refresh_log ALTER outcome SET DEFAULT 'x';
ALTER TABLE attribution_internal.refresh_log ALTER mode DROP NOT NULL;
ALTER TABLE attribution_internal.refresh_log SET (fillfactor = 70);
ALTER TABLE attribution_internal.refresh_log REPLICA IDENTITY FULL, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER MATERIALIZED VIEW attribution_internal.refresh_state SET (fillfactor = 60);
ALTER MATERIALIZED VIEW attribution_internal.refresh_doubts OWNER TO check_boss;
COMMENT ON TABLE attribution_internal.refresh_log IS 'it''s mine';
COMMENT ON COLUMN attribution_internal.installation.installed_at IS NULL;
COMMENT ON SCHEMA attribution_internal IS 'mine';
ALTER FUNCTION attribution.conservation(uuid) SET work_mem = '1GB';
ALTER FUNCTION attribution.realtime_revenue(uuid) RESET ALL;
ALTER FUNCTION attribution.current_tenant() COST 1000;
ALTER FUNCTION attribution.check_index_plan() ROWS 3;
ALTER FUNCTION attribution.uuid_v7() OWNER TO check_boss;
ALTER FUNCTION attribution.bind_tenant(name, uuid) STABLE;
ALTER FUNCTION attribution.refresh(text, text) SECURITY INVOKER STRICT PARALLEL SAFE LEAKPROOF;
ALTER FUNCTION attribution_internal.doubt_view() SECURITY DEFINER;
ALTER PROCEDURE attribution.refresh_all(text) SET lock_timeout = '1s';
CREATE OR REPLACE FUNCTION attribution_internal.table_version() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '0.1.0'::text || '';
COMMENT ON PROCEDURE attribution.refresh_all(text) IS NULL;
COMMENT ON FUNCTION attribution.grant_access(name, text) IS 'mine';
ALTER EVENT TRIGGER attribution_notices_refresh DISABLE;
COMMENT ON EVENT TRIGGER attribution_notices_refresh IS 'mine';
CREATE FUNCTION attribution.owner_function() RETURNS integer LANGUAGE sql AS 'SELECT 1';
ALTER EXTENSION attribution ADD FUNCTION attribution.owner_function();
CREATE FUNCTION attribution.of_another() RETURNS integer LANGUAGE sql AS 'SELECT 1';
ALTER EXTENSION plpgsql ADD FUNCTION attribution.of_another();
ALTER TABLE attribution.dead_events DISABLE TRIGGER ALL;
ALTER TABLE attribution.dead_events ENABLE TRIGGER USER;
SELECT FROM attribution.create_tables();
CREATE INDEX owner_index_that_failed ON attribution.attribution_allocations (weight);
SET allow_system_table_mods = on;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'attribution.owner_index_that_failed'::regclass;
-- A provider of labels is a module of its own, which the remedy asks for.
INSERT INTO pg_seclabel VALUES ('attribution_internal.installation'::regclass, 'pg_class'::regclass, 0, 'nobody', 'secret');
SQL
        member) cat <<'SQL' ;;
-- finding: table attribution.dead_events
ALTER EXTENSION attribution ADD TABLE attribution.dead_events;
CREATE TABLE public.owner_table AS SELECT 1 AS a;
CREATE INDEX owner_index ON public.owner_table (a);
ALTER EXTENSION attribution ADD TABLE public.owner_table;
-- finding: table attribution.attribution_events
ALTER EXTENSION plpgsql ADD TABLE attribution.attribution_events;
SQL
        schema_member) cat <<'SQL' ;;
-- finding: schema attribution
ALTER EXTENSION attribution ADD SCHEMA attribution;
SQL
        schema_owner) cat <<'SQL' ;;
-- finding: schema attribution
ALTER SCHEMA attribution OWNER TO check_boss;
SQL
        boss) cat <<'SQL' ;;
-- finding: table attribution.revenue_ledger
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s OWNER TO check_boss', oid::regclass) FROM pg_class
        WHERE relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace) AND relkind IN ('r', 'v', 'm')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO check_boss', oid::regprocedure) FROM pg_proc
        WHERE pronamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
    LOOP
        EXECUTE command;
    END LOOP;
END;
$$;
GRANT ALL ON SCHEMA attribution, attribution_internal TO check_boss;
SQL
        search_path) cat <<'SQL' ;;
-- finding: function public.checks(pg_catalog.text)
CREATE FUNCTION public.helper(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.checks(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN helper($1); END';
ALTER TABLE attribution.tenants ADD CONSTRAINT owner_check CHECK (public.checks(name));
SQL
        let_go) cat <<'SQL' ;;
-- finding: function attribution.index_report(interval)
ALTER EXTENSION attribution DROP FUNCTION attribution.index_report(interval);
SQL
        forced) case_sql boss; cat <<'SQL' ;;
ALTER TABLE attribution.tenants FORCE ROW LEVEL SECURITY;
ALTER ROLE check_boss LOGIN;
SQL
        unlogged) echo 'ALTER TABLE attribution.settlement_differences SET UNLOGGED;' ;;
        settings) cat <<'SQL' ;;
ALTER DATABASE check_case SET attribution.redacted_keys = 'email';
ALTER ROLE check_reader IN DATABASE check_case SET attribution.tenant_id = 'aaaaaaaa-0000-4000-8000-000000000000';
ALTER ROLE check_reader IN DATABASE check_case SET work_mem = '1MB';
SQL
    esac
}

# --- Tools --------------------------------------------------------------------------------------------

# A copy of the filled database in which the owner has done what CASE says.
case_database() {
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'DROP DATABASE IF EXISTS check_case' -c 'CREATE DATABASE check_case TEMPLATE check_filled STRATEGY file_copy'
    case_sql "$1" | sql check_case >/dev/null
}

sql() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1
}

ask() {
    psql -XqAtd check_case -v ON_ERROR_STOP=1 -c "$1"
}

findings() {
    ask 'SELECT DISTINCT object COLLATE "C" FROM attribution.check_backup() ORDER BY 1'
}

# Runs the remedies; one of them may bring out another finding.
cure() {
    local round
    for round in 1 2; do
        ask "SELECT remedy || ';' FROM attribution.check_backup()" >"$work/remedies.$round"
        sql check_case <"$work/remedies.$round" >/dev/null
    done
}

restore() {
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'DROP DATABASE IF EXISTS check_copy' -c 'CREATE DATABASE check_copy TEMPLATE template0 STRATEGY file_copy'
    pg_dump check_case >"$work/dump" 2>"$work/dump.log" || { cat "$work/dump.log"; not_ok 'pg_dump succeeds'; }
    psql -Xqd check_copy -f "$work/dump" >"$work/restore.log" 2>&1
}

restore_errors() {
    grep 'ERROR:' "$work/restore.log" | head -n 3 || true
}

# The objects that are not the same in the copy.
lost() {
    psql -XqAtd check_case -v ON_ERROR_STOP=1 -f "$work/state.sql" | sort >"$work/case.state"
    psql -XqAtd check_copy -v ON_ERROR_STOP=1 -f "$work/state.sql" | sort >"$work/copy.state"
    [ "$(wc -l <"$work/case.state")" -gt 1000 ] || not_ok 'the state of a database is more than that'
    comm -3 "$work/case.state" "$work/copy.state" | sed 's/^\t//' | cut -f 1 | sort -u
}

# Everything that is not PostgreSQL's own: a line for each row of a catalog, of the object it describes and what is in
# it but numbers that each database gives anew. It knows nothing of what check_backup() looks at.
write_state_query() {
    cat >"$work/state.sql" <<'SQL'
SET search_path = pg_catalog;
CREATE TEMP VIEW space AS SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema';
CREATE TEMP VIEW r AS SELECT c.* FROM pg_class c JOIN space s ON s.oid = c.relnamespace;
CREATE FUNCTION pg_temp.names(acl aclitem[]) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(array_agg(a::text ORDER BY a::text)) FROM unnest(acl) a';
SELECT i.type || ' ' || i.identity || chr(9) || f.state
FROM (
    SELECT 'pg_namespace'::regclass, n.oid, 0, jsonb_build_array(nspowner::regrole, pg_temp.names(coalesce(nspacl, acldefault('n', nspowner))))
    FROM pg_namespace n JOIN space USING (oid)
    UNION ALL
    SELECT 'pg_class'::regclass, r.oid, 0, (to_jsonb(r) - '{oid,relnamespace,reltype,reloftype,relfilenode,relpages,reltuples,relallvisible,relallfrozen,reltoastrelid,relfrozenxid,relminmxid,relam,relacl,relowner,relnatts,relchecks,relhasindex,relhastriggers,relhasrules,relhassubclass}'::text[])
        || jsonb_build_object('owner', relowner::regrole, 'acl', pg_temp.names(coalesce(relacl, acldefault('r', relowner))),
            'relpersistence', CASE WHEN relkind <> 'i' THEN relpersistence END, -- an index is like its table
            'definition', CASE WHEN relkind IN ('i', 'I') THEN pg_get_indexdef(oid) WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
    FROM r
    UNION ALL
    SELECT 'pg_class'::regclass, r.oid, a.attnum, (to_jsonb(a) - '{attrelid,attnum,atttypid,attcollation,attcacheoff,attmissingval,atthasmissing,attacl,attoptions}'::text[])
        || jsonb_build_object('options', (SELECT array_agg(o) FROM unnest(attoptions) o WHERE o !~ '^pg_attver='), 'acl', pg_temp.names(attacl),
            'type', format_type(atttypid, atttypmod), 'default', (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE (d.adrelid, d.adnum) = (r.oid, a.attnum)))
    FROM r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attnum > 0 AND NOT attisdropped AND relkind NOT IN ('i', 'I')
    UNION ALL
    SELECT 'pg_class'::regclass, indexrelid, 0, jsonb_build_array('index', indisclustered, indisvalid, indisreplident) FROM r JOIN pg_index ON indexrelid = r.oid
    UNION ALL -- not whether it is valid: a child's comes back not valid when its parent's is not
    SELECT 'pg_constraint'::regclass, k.oid, 0, jsonb_build_array(pg_get_constraintdef(k.oid), (SELECT array_agg(DISTINCT tgenabled) FROM pg_trigger WHERE tgconstraint = k.oid))
    FROM pg_constraint k JOIN space s ON s.oid = connamespace WHERE contype <> 'n' -- from 18 on; columns have them as well
    UNION ALL
    SELECT 'pg_trigger'::regclass, t.oid, 0, jsonb_build_array(pg_get_triggerdef(t.oid), tgenabled) FROM pg_trigger t JOIN r ON r.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid, 0, jsonb_build_array(pg_get_ruledef(w.oid), ev_enabled) FROM pg_rewrite w JOIN r ON r.oid = ev_class
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, 0, jsonb_build_array(polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), polroles::regrole[])
    FROM pg_policy p JOIN r ON r.oid = polrelid
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, t.oid, 0, jsonb_build_array(pg_get_statisticsobjdef(t.oid), stxstattarget, stxowner::regrole) FROM pg_statistic_ext t
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0, (to_jsonb(p) - '{oid,pronamespace,proowner,prorettype,proargtypes,proallargtypes,prosqlbody,prolang,proacl,prosupport,protrftypes,provariadic,proargdefaults}'::text[])
        || jsonb_build_object('owner', proowner::regrole, 'acl', pg_temp.names(coalesce(proacl, acldefault('f', proowner))), 'definition', CASE WHEN prokind <> 'a' THEN pg_get_functiondef(p.oid) END)
    FROM pg_proc p JOIN space s ON s.oid = p.pronamespace
    UNION ALL
    SELECT 'pg_event_trigger'::regclass, oid, 0, jsonb_build_array(evtevent, evtowner::regrole, evtfoid::regproc, evtenabled, evttags) FROM pg_event_trigger
    UNION ALL
    SELECT classoid, objoid, objsubid, jsonb_build_array('comment', description) FROM pg_description WHERE objoid >= 16384
    UNION ALL
    SELECT classoid, objoid, objsubid, jsonb_build_array('label', provider, label) FROM pg_seclabel
    UNION ALL
    SELECT 'pg_publication'::regclass, oid, 0, to_jsonb(p) - 'oid' - 'pubowner' FROM pg_publication p
    UNION ALL
    SELECT 'pg_publication_rel'::regclass, oid, 0, jsonb_build_array(pg_get_expr(prqual, prrelid), prattrs::text) FROM pg_publication_rel
    UNION ALL
    SELECT 'pg_publication_namespace'::regclass, oid, 0, '[]' FROM pg_publication_namespace
    UNION ALL
    SELECT 'pg_default_acl'::regclass, oid, 0, jsonb_build_array(defaclrole::regrole, pg_temp.names(defaclacl)) FROM pg_default_acl
    UNION ALL
    SELECT classid, objid, 0, jsonb_build_array(deptype, extname) FROM pg_depend JOIN pg_extension e ON refobjid = e.oid AND refclassid = 'pg_extension'::regclass AND deptype IN ('e', 'x')
    UNION ALL
    SELECT 'pg_class'::regclass, r.oid, 0, jsonb_build_array('rows', (xpath('/row/x/text()', query_to_xml(format(
        'SELECT concat(count(*), chr(32), md5(string_agg(t::text, chr(10) ORDER BY t::text))) AS x FROM ONLY %s t', r.oid::regclass), true, true, '')))[1]::text)
    FROM r JOIN space s ON s.oid = relnamespace WHERE relkind = 'r' AND (nspname <> 'attribution_internal' OR relname = 'owner_table')
) AS f (classid, objid, objsubid, state), pg_identify_object(classid, objid, objsubid) AS i;
SQL
}

main
