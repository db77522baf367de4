#!/bin/bash
# A dump is a copy: whatever way it is made and restored, the new database holds the same rows under the
# same rights, still refuses what the old one refused, and its views are right after the first refresh.
#
# pg_dump does not dump an extension's tables but rows of registered ones, and CREATE EXTENSION makes
# keys and triggers before those rows come: so foreign keys and the sum check are at work during the
# restore, which happens table by table in a transaction each.

# shellcheck disable=SC2317 # called by name
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

[ -n "${PGHOST:-}" ] || server_start
work=$(mktemp -d "$ATTRIBUTION_TMP/dump.XXXXXX")
also_remove+=("$work")

main() {
    make_source
    state_of "$source" >"$work/source"
    is "$(grep -c '^rows ' "$work/source") $(grep '^rows ' "$work/source" | grep ' 0 ' || true)" '12 ' 'every table of the source has rows'

    # It warns that events refer to events and postings to postings. Within one COPY they may.
    {
        pg_dump "$source" >"$work/plain.sql"
        pg_dump --format=custom --file="$work/custom" "$source"
        pg_dump --format=directory --jobs=2 --file="$work/directory" "$source"
        pg_dump --schema-only "$source" >"$work/schema.sql"
        pg_dump --data-only "$source" >"$work/data.sql"
    } 2>"$work/pg_dump.log"
    is "$(grep -vE 'circular foreign-key|detail: (attribution_events|revenue_ledger)$|hint:' "$work/pg_dump.log" || true)" '' \
        'pg_dump warns of nothing but rows that refer to their own table'

    is "$(cat "$work/plain.sql" <(pg_restore -l "$work/custom") | grep -E '^COPY .*(refresh|_changes)|MATERIALIZED VIEW| DATA .*(refresh|_changes)' || true)" '' \
        'no materialized view is dumped, hence neither changes nor state'

    restored 'plain, psql' from_psql plain.sql
    restored 'plain, psql --single-transaction' from_psql plain.sql --single-transaction
    restored 'custom, pg_restore' from_pg_restore custom
    restored 'custom, pg_restore --single-transaction' from_pg_restore custom --single-transaction
    restored 'directory of two jobs, pg_restore' from_pg_restore directory
    restored 'plain, schema first, then data' from_psql_twice
    restored 'custom, schema first, then data' from_pg_restore_twice
    restored_by_two_jobs
    suite_end
}

# --- Ways to restore ----------------------------------------------------------------------------------

from_psql() {
    psql -Xqd copy -v ON_ERROR_STOP=1 "${@:2}" -f "$work/$1"
}

from_pg_restore() {
    pg_restore --exit-on-error --dbname=copy "${@:2}" "$work/$1"
}

from_psql_twice() {
    from_psql schema.sql && from_psql data.sql
}

from_pg_restore_twice() {
    from_pg_restore custom --schema-only && from_pg_restore custom --data-only "$@"
}

# Parallel jobs load tables in any order, and the keys of an extension's tables are there before their
# rows: so some orders fail. What matters is that they do so aloud, and that one job then mends it.
restored_by_two_jobs() {
    local way='directory, pg_restore of two jobs' code=0
    fresh_database copy
    from_pg_restore directory --jobs=2 >"$work/jobs.log" 2>&1 || code=$?
    if [ "$code" = 0 ]; then
        is "$(state_of copy)" "$(cat "$work/source")" "$way: the same rows, rights, triggers and user objects"
    elif grep -q 'violates foreign key constraint\|allocations do not sum' "$work/jobs.log"; then
        ok "$way: an order that cannot be loaded is an error"
    else
        not_ok "$way: an order that cannot be loaded is an error"
        sed 's/^/#   /' "$work/jobs.log"
    fi
    restored 'directory, pg_restore of two jobs but one for the data' in_three_steps
    restored 'directory, two jobs and --disable-triggers, triggers mended' without_triggers
}

in_three_steps() {
    from_pg_restore directory --jobs=2 --section=pre-data &&
        from_pg_restore directory --section=data &&
        from_pg_restore directory --jobs=2 --section=post-data
}

# ENABLE TRIGGER ALL, with which this ends, makes ordinary triggers of those that were enabled always, or for
# rows from a publisher.
without_triggers() {
    from_pg_restore directory --schema-only && from_pg_restore directory --jobs=2 --data-only --disable-triggers &&
        psql -Xqd copy -v ON_ERROR_STOP=1 <<'SQL'
SELECT format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
              CASE WHEN t.tgname LIKE '%\_follows\_replication' THEN 'REPLICA' ELSE 'ALWAYS' END, t.tgname)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'attribution'::regnamespace AND NOT t.tgisinternal AND t.tgname <> 'touch_updated_at' \gexec
SQL
}

# --- What must hold -----------------------------------------------------------------------------------

restored() {
    local way=$1 output
    shift
    fresh_database copy
    if ! output=$("$@" 2>&1 >/dev/null); then
        not_ok "$way: no error"
        printf '%s\n' "$output" | sed 's/^/#   /'
        return
    fi
    is "$output" '' "$way: no error, no warning"
    is "$(state_of copy)" "$(cat "$work/source")" "$way: the same rows, rights, triggers and user objects"
    # PostgreSQL does not dump an index on a table of an extension: the plan has it.
    is "$(ask copy "SELECT string_agg(c.index_name || ' ' || c.problem, ',') FROM attribution.check_index_plan() c WHERE c.problem IS NOT NULL")" 'of_mine does not exist' \
        "$way: an index of a user is missed"
    is "$(ask copy 'SELECT count(*) FROM attribution.refresh_log') $(ask copy 'SELECT count(*) FROM attribution_internal.refresh_state')" '0 0' \
        "$way: the log of refreshes is not part of a dump, nor what is known of the views"
    is "$(ask copy 'SELECT DISTINCT s.doubt FROM attribution.refresh_status s')" 'it is not populated' \
        "$way: so nothing is known of them"
    is "$(views_of copy | grep -v ' unpopulated$' | grep -v ' 0 different' || true)" '' "$way: no view is populated and wrong"
    promises_hold "$way"
    psql -Xqd copy -v ON_ERROR_STOP=1 -c 'CALL attribution.refresh_all()'
    is "$(views_of copy)" "$(views_of "$source")" "$way: the first refresh_all() makes the views what they were"
    psql -Xqd copy -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
INSERT INTO attribution.reconciliation_runs (tenant_id, state) SELECT id, 'failed' FROM attribution.tenants;
INSERT INTO attribution.tenants (name) VALUES ('new');
DELETE FROM attribution.attribution_allocations WHERE model_version = '2.0.0' AND tenant_id = 'aaaaaaaa-0000-4000-8000-000000000000';
CALL attribution.refresh_all();
SQL
    is "$(ask copy "SELECT string_agg(DISTINCT s.mode || ' ' || (s.rows_changed > 0), ', ') FROM attribution.refresh_status s")" 'incremental true' \
        "$way: the next one follows what changed"
    is "$(views_of copy | grep -v ' 0 different' || true)" '' "$way: and is right"
}

# Everything the old database refused is refused, and what was done there is known.
promises_hold() {
    local way=$1
    refuses 23514 allocation_sum_equals_revenue "UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1
        WHERE (tenant_id, id) = (SELECT tenant_id, id FROM attribution.attribution_allocations WHERE model_version = '2.0.0' LIMIT 1)" "$way: a wrong sum"
    refuses 23514 posted_allocation_is_frozen "UPDATE attribution.attribution_allocations SET weight = 2
        WHERE (tenant_id, id) = (SELECT tenant_id, allocation_id FROM attribution.revenue_ledger WHERE allocation_id IS NOT NULL LIMIT 1)" \
        "$way: a change of what is posted"
    refuses 23514 allocation_sum_equals_revenue "UPDATE attribution.attribution_events SET revenue_cents = revenue_cents + 1
        WHERE (tenant_id, id) = (SELECT tenant_id, event_id FROM attribution.attribution_allocations WHERE allocated_revenue_cents > 0 LIMIT 1)" \
        "$way: another revenue"
    refuses 23514 ledger_is_append_only 'DELETE FROM attribution.revenue_ledger' "$way: a shorter ledger"
    refuses 23514 model_version_is_immutable "UPDATE attribution.attribution_models SET method = 'linear'" "$way: another model of the same name"
    refuses 23514 tenant_currency_is_fixed "UPDATE attribution.tenants SET currency = 'EUR'" "$way: another currency"
    refuses 23505 idx_reconciliation_runs_one_running "INSERT INTO attribution.reconciliation_runs (tenant_id, state)
        SELECT tenant_id, state FROM attribution.reconciliation_runs WHERE state = 'running'" "$way: a second run"
    is "$(ask copy "
        SELECT string_agg(DISTINCT r.outcome, ' ') FROM attribution.attribution_events e,
            attribution.ingest_event(e.tenant_id, e.source, e.event_type, e.occurred_at, e.revenue_cents, e.external_event_id,
                                     e.correlation_id, refund_of => e.refund_of) r
        WHERE e.external_event_id IS NOT NULL OR e.correlation_id IS NOT NULL
        UNION ALL SELECT sum(attribution.post_allocations(id, '1.0.0', NULL, '2026-01-20Z'))::text FROM attribution.tenants
        UNION SELECT count(*)::text FROM attribution.unbalanced_allocations()" | sort -u | paste -sd' ')" '0 duplicate' \
        "$way: what was ingested is a duplicate, what was posted stays posted, every sum is right"
}

refuses() {
    local said
    said=$(psql -Xqd copy -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -c "$3" 2>&1) || true
    case $said in
        *"$1: "*"$2"*) ok "$4 is refused" ;;
        *) not_ok "$4 is refused"; printf '#   %s\n' "$said" ;;
    esac
}

ask() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -c "$2"
}

# One line per table with the number and the digest of its rows, and what else a copy must have.
state_of() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -F ' ' <<'SQL'
SELECT format('SELECT ''rows %1$s'', count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM %1$s t', name)
FROM (SELECT oid::regclass::text AS name FROM pg_class
      WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'r' AND relname NOT IN ('currencies', 'index_plan', 'refresh_log', 'allocation_runs', 'allocation_failures')) n ORDER BY name \gexec
SELECT 'currencies', count(*), md5(string_agg(c::text, ' ' ORDER BY c.code)) FROM attribution.currencies c;
SELECT 'index_plan', count(*), md5(string_agg(to_jsonb(p)::text, ' ' ORDER BY p.index_name) FILTER (WHERE NOT p.is_shipped)) FROM attribution.index_plan p;
SELECT 'right', c.oid::regclass, a.grantee::regrole, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'attribution'::regnamespace GROUP BY 2, 3 ORDER BY 2, 3;
SELECT 'right', c.attrelid::regclass, c.attname, a.grantee::regrole, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type)
FROM pg_attribute c, aclexplode(c.attacl) a WHERE c.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'attribution'::regnamespace)
GROUP BY 2, 3, 4 ORDER BY 2, 3, 4;
SELECT 'right', p.oid::regprocedure, a.grantee::regrole, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type)
FROM pg_proc p, aclexplode(p.proacl) a WHERE p.pronamespace = 'attribution'::regnamespace GROUP BY 2, 3 ORDER BY 2, 3;
SELECT 'trigger', t.tgrelid::regclass, t.tgname, t.tgenabled FROM pg_trigger t WHERE NOT t.tgisinternal ORDER BY 2, 3;
SELECT 'row security', c.oid::regclass, c.relrowsecurity FROM pg_class c WHERE c.relnamespace = 'attribution'::regnamespace AND c.relkind = 'r' ORDER BY 2;
SELECT 'user table', count(*), md5(string_agg(n::text, ' ' ORDER BY n.id)) FROM public.notes n;
SELECT 'user view', count(*) FROM public.big_sales;
SQL
}

# One line per materialized view: unpopulated, or how many of its rows differ from those of its query.
views_of() {
    psql -XqAtd "$1" -v ON_ERROR_STOP=1 -F ' ' <<'SQL'
SELECT CASE WHEN relispopulated THEN
    format('SELECT %1$L, count(*), ''rows,'', (SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL (%2$s)) UNION ALL ((%2$s) EXCEPT ALL TABLE %1$s)) d), ''different,'', md5(string_agg(v::text, '' '' ORDER BY v::text)) FROM %1$s v',
           oid::regclass, rtrim(pg_get_viewdef(oid), ';'))
    ELSE format('SELECT %L, ''unpopulated''', oid::regclass) END
FROM pg_class WHERE relkind = 'm' AND relname LIKE 'mv\_%' AND relnamespace = 'attribution'::regnamespace ORDER BY relname \gexec
SQL
}

# --- What is dumped -----------------------------------------------------------------------------------

# Rows in every table, some of them in an order that a careless restore stumbles over.
make_source() {
    source=suite_dump_source
    fresh_database "$source" 'CREATE EXTENSION attribution'
    psql -Xqd "$source" -v ON_ERROR_STOP=1 >"$work/source.log" <<'SQL'
CREATE ROLE dump_reader;
CREATE ROLE dump_writer;
CREATE ROLE "dump's ""bound""";
INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 3), ('XXX', 0);
CREATE INDEX of_mine ON attribution.tenants (updated_at);
INSERT INTO attribution.index_plan (index_name, relation, state, serves, target_p95_ms, definition, query_path, answer, parameters, sample_query, justification)
VALUES ('of_mine', 'tenants', 'active', 'query', 50, 'CREATE INDEX of_mine ON attribution.tenants USING btree (updated_at)', 'tenants that changed', 'page',
        '{updated_since timestamptz}', 'SELECT t.id FROM attribution.tenants t WHERE t.updated_at >= $1 ORDER BY t.updated_at LIMIT 50', 'one of mine');
INSERT INTO attribution.tenants (id, name, currency) VALUES
    ('aaaaaaaa-0000-4000-8000-000000000000', E'quotes '' " \\ and\nlines', 'USD'),
    ('bbbbbbbb-0000-4000-8000-000000000000', 'Ünïcode 漢字', 'JPY'),
    ('cccccccc-0000-4000-8000-000000000000', 'own currency', 'XTS');

-- 200 journeys per tenant.
SELECT count(attribution.ingest_event(t.id, 'web', 'touch', '2026-01-01Z'::timestamptz + n * interval '1 hour',
    session_id => ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, channel => (ARRAY['email', 'paid search', 'direct'])[n % 3 + 1]))
FROM attribution.tenants t, generate_series(1, 200) AS n;
SELECT count(attribution.ingest_event(t.id, 'shopify', 'conversion', '2026-01-02Z'::timestamptz + n * interval '1 hour', n * 97 + 1,
    'shopify:order:' || n, CASE WHEN n % 2 = 0 THEN 'pi_' || n END, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    raw_payload => jsonb_build_object('id', n, 'note', E'tab\t newline\n')))
FROM attribution.tenants t, generate_series(1, 200) AS n;
SELECT count(attribution.ingest_event(t.id, 'stripe', 'conversion', '2026-02-01Z', 9223372036854775807, NULL, 'pi_max')) FROM attribution.tenants t;
SELECT count(attribution.ingest_event(e.tenant_id, 'shopify', 'refund', e.occurred_at + interval '1 day', -e.revenue_cents,
    'shopify:refund:' || e.external_event_id, refund_of => e.id))
FROM attribution.attribution_events e WHERE e.event_type = 'conversion' AND e.revenue_cents % 10 = 0;

SELECT count(*) FROM attribution.attribution_events e,
    (VALUES ('1.0.0', ARRAY[1, 1, 1, 1, 1]), ('2.0.0', ARRAY[0.4, 0.2, 0, 0.2, 0.2])) AS m (version, weights),
    attribution.allocate_event(e.tenant_id, e.id, m.version, ARRAY['email', 'paid search', 'social', 'direct', 'affiliate'], m.weights) a
WHERE e.event_type = 'conversion';
SELECT attribution.define_model(id, 'linear', 'linear', '{"lookback_days": 7, "exclude_channels": ["direct"]}') FROM attribution.tenants;
CALL attribution.allocate_events('aaaaaaaa-0000-4000-8000-000000000000', 'linear');

SELECT attribution.post_allocations(id, '1.0.0', NULL, '2026-01-20Z') FROM attribution.tenants;
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
SELECT DISTINCT ON (tenant_id) tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger ORDER BY tenant_id, posted_at, id;
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at, error_message, run_metadata)
SELECT t.id, s.state, s.at, s.error, '{"rows": 1}' FROM attribution.tenants t, (VALUES
    ('idle', '2026-03-01Z'::timestamptz, NULL), ('completed', '2026-03-02Z', NULL), ('failed', '2026-03-03Z', 'no answer'), ('running', '2026-03-03Z', NULL)) AS s (state, at, error);
INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id)
SELECT e.tenant_id, 'alias of ' || e.external_event_id, e.id FROM attribution.attribution_events e WHERE e.event_type = 'refund';
INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents)
SELECT r.tenant_id, r.id, 'shopify:order:' || n, n * 97 + 1 FROM attribution.reconciliation_runs r, generate_series(1, 10) AS n WHERE r.state IN ('completed', 'running');
INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind, key, conversion_id, settlement_cents)
SELECT r.tenant_id, r.id, 'missing_in_ledger', E'tab\t newline\n', r.id, 7 FROM attribution.reconciliation_runs r WHERE r.state = 'completed';
INSERT INTO attribution.dead_events (tenant_id, source, error_code, error_detail, raw_payload, retry_count, last_retry_at, resolved_at)
SELECT t.id, 'paypal', 'no amount', '{"path": "resource.amount"}', '{"id": "WH-1"}', n % 3, CASE WHEN n % 3 > 0 THEN '2026-03-04Z'::timestamptz END,
    CASE WHEN n = 5 THEN '2026-03-05Z'::timestamptz END
FROM attribution.tenants t, generate_series(1, 5) AS n;
SELECT attribution.grant_access('dump_reader', 'reader'), attribution.grant_access('dump_writer', 'writer'), attribution.grant_access('dump''s "bound"', 'operator'),
       attribution.bind_tenant('dump''s "bound"', 'aaaaaaaa-0000-4000-8000-000000000000');

-- What is updated moves behind what refers to it: refunds now come before their conversions, reversing
-- entries before what they reverse.
UPDATE attribution.attribution_events SET source = 'shop' WHERE event_type = 'conversion';
UPDATE attribution.revenue_ledger l SET is_verified = true, verified_at = '2026-03-02Z', reconciliation_run_id = r.id
FROM attribution.reconciliation_runs r WHERE r.tenant_id = l.tenant_id AND r.state = 'completed' AND l.allocation_id IS NOT NULL;

CREATE TABLE public.notes (id int PRIMARY KEY, tenant_id uuid, event_id uuid, note text,
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id));
INSERT INTO public.notes SELECT row_number() OVER (ORDER BY e.tenant_id, e.id), e.tenant_id, e.id, 'big' FROM attribution.attribution_events e WHERE e.revenue_cents > 10000;
CREATE VIEW public.big_sales AS SELECT * FROM attribution.attribution_events WHERE revenue_cents > 10000;
CALL attribution.refresh_all();
SQL
}

main
