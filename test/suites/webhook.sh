#!/bin/bash
# Webhooks from many sessions at once, and the published samples of four providers in $ATTRIBUTION_DATA/data/payloads
# where there are some.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

[ -n "${PGHOST:-}" ] || server_start
export PGOPTIONS='-c client_min_messages=warning'
work=$(mktemp -d "$ATTRIBUTION_TMP/webhook.XXXXXX")
also_remove+=("$work")

ask() {
    psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

main() {
    createdb webhook
    export PGDATABASE=webhook
    ask "CREATE EXTENSION attribution;
         INSERT INTO attribution.tenants (id, name, currency) VALUES
             ('aaaaaaaa-0000-4000-8000-000000000000', 'dollars', 'USD'), ('bbbbbbbb-0000-4000-8000-000000000000', 'shekels', 'ILS')"
    many_sessions
    other_encoding
    if [ -n "$ATTRIBUTION_DATA" ] && [ -d "$ATTRIBUTION_DATA/data/payloads" ]; then
        samples
    else
        skip 'published samples: neither ATTRIBUTION_DATA nor ../shared has data/payloads'
    fi
    suite_end
}

# What a URL holds is text where the database can store it, and a name in the database's encoding stays what it is.
other_encoding() {
    createdb -E LATIN1 -T template0 webhook_latin1
    is "$(PGDATABASE=webhook_latin1 PGCLIENTENCODING=UTF8 ask "CREATE EXTENSION attribution;
            INSERT INTO attribution.tenants (id, name, currency) VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'dollars', 'USD');
            SELECT attribution.ingest_webhook('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'orders/paid',
                jsonb_build_object('id', n, 'currency', 'USD', 'total_price', '10.00', 'processed_at', '2026-03-01T00:00:00Z', 'landing_site', url))
            FROM unnest('{/?utm_source=m%FCller,/?utm_source=müller,/?utm_source=m%00ller}'::text[]) WITH ORDINALITY AS u (url, n)" >/dev/null &&
        PGDATABASE=webhook_latin1 PGCLIENTENCODING=UTF8 ask "SELECT string_agg(external_event_id || ' ' || coalesce(channel, '-'), ', ' ORDER BY external_event_id)
            FROM attribution.attribution_events WHERE event_type = 'conversion'")" \
        'shopify:order:1 müller, shopify:order:2 müller, shopify:order:3 -' 'channels of URLs in a database of another encoding'
}

# Eight sessions deliver the same 100 orders and their refunds, each in an order of its own and most of them too early.
# One transaction each: who waits for whom is left to chance.
many_sessions() {
    ask "CREATE FUNCTION deliver(n integer) RETURNS text LANGUAGE sql AS \$\$
            SELECT CASE WHEN n < 100 THEN (attribution.ingest_webhook('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'orders/paid',
                    jsonb_build_object('id', n, 'currency', 'USD', 'total_price', '10.00', 'processed_at', '2026-03-01T00:00:00Z',
                                       'landing_site', '/?utm_source=google'))).outcome
                ELSE (attribution.ingest_webhook('aaaaaaaa-0000-4000-8000-000000000000', 'shopify', 'refunds/create',
                    jsonb_build_object('id', n, 'order_id', n % 100, 'created_at', '2026-03-02T00:00:00Z',
                        'transactions', '[{\"kind\": \"refund\", \"status\": \"success\", \"amount\": \"4.00\"}]'::jsonb))).outcome END
         \$\$;
         CREATE TABLE outcomes (outcome text);"
    # 100 orders, two refunds of each.
    printf '%s\n' '\set n random(0, 299)' 'INSERT INTO outcomes SELECT deliver(:n);' >"$work/deliver.pgbench"
    pgbench -n -c 8 -j 2 -t 400 -f "$work/deliver.pgbench" >"$work/pgbench.out" 2>&1 || { cat "$work/pgbench.out"; exit 1; }
    ask 'INSERT INTO outcomes SELECT deliver(n) FROM generate_series(0, 299) AS n'
    is "$(ask "SELECT count(*), min(revenue_cents), max(revenue_cents) FROM attribution.attribution_events WHERE event_type = 'conversion'")" '100|1000|1000' \
        'eight sessions at once: each order is one event'
    is "$(ask "SELECT count(*) FROM attribution.attribution_events WHERE event_type = 'touch'")" 100 'and one touch'
    # What came before its order waits, once or several times; then nothing does.
    ask "SELECT attribution.retry_dead_events('aaaaaaaa-0000-4000-8000-000000000000', limit_rows => 10000)" >/dev/null
    is "$(ask "SELECT count(*), sum(revenue_cents) FROM attribution.attribution_events WHERE event_type = 'refund'")" '200|-80000' \
        'each refund is one event, those that came before their order among them'
    is "$(ask 'SELECT count(*) FROM attribution.dead_events WHERE resolved_at IS NULL')" 0 'nothing is dead that could be taken in'
    is "$(ask "SELECT count(*) = 3500, bool_and(outcome IN ('ingested', 'duplicate', 'dead')) FROM outcomes")" 't|t' 'every delivery had its outcome'
    is "$(ask "SELECT count(*) FILTER (WHERE outcome = 'ingested')
                   + (SELECT count(*) FROM attribution.dead_events WHERE resolution = 'ingested') FROM outcomes")" 300 \
        'and one delivery of each thing was the first'
}

sample() {
    local tenant=$1 name=$2
    psql -XqAt -v ON_ERROR_STOP=1 -v tenant="$tenant" -v message="$(cat "$ATTRIBUTION_DATA/data/payloads/$name.json")" <<'SQL'
SELECT w.outcome, e.event_type, e.revenue_cents, e.external_event_id, e.correlation_id, e.occurred_at AT TIME ZONE 'UTC'
FROM (SELECT :'message'::jsonb AS m) AS file, attribution.ingest_webhook(:'tenant', m #>> '{_meta,provider}', m #>> '{_meta,topic}', m -> 'body', m -> 'headers') AS w
LEFT JOIN LATERAL (SELECT * FROM attribution.attribution_events e WHERE e.tenant_id = :'tenant' AND e.id = w.event_id) AS e ON true
SQL
}

# The join sees events as of its beginning: what is new shows the second time.
samples() {
    local usd=aaaaaaaa-0000-4000-8000-000000000000 ils=bbbbbbbb-0000-4000-8000-000000000000
    sample $usd shopify_refunds_create >"$work/early"
    is "$(cut -d '|' -f 1 "$work/early")" dead 'a refund before its order is dead'
    local name expected tenant
    while read -r tenant name expected; do
        is "$(sample "${!tenant}" "$name" | cut -d '|' -f 1)" ingested "$name is taken in"
        is "$(sample "${!tenant}" "$name")" "$expected" 'and is a duplicate after that'
    done <<'END'
usd shopify_orders_paid duplicate|conversion|40495|shopify:order:820982911946154508||2022-01-01 00:00:00
usd shopify_refunds_create duplicate|refund|-8500|shopify:refund:890088186047892319||2022-01-01 00:00:00
usd stripe_payment_intent_succeeded duplicate|conversion|1099||pi_1PgafyB7WZ01zgkWSjxsAJo3|2024-07-25 23:03:20
usd paypal_payment_capture_completed duplicate|conversion|2112|paypal:capture:9XF14200T8003681K|10581139X0233013B|2024-05-14 09:11:50
usd woocommerce_order_updated_processing duplicate|conversion|2935|woocommerce:order:727|wc_order_58d2d042d1d|2017-03-22 19:28:08
END
    ask "SELECT attribution.ingest_webhook('$ils', 'stripe', 'charge.succeeded', '{\"created\": 1473318565, \"data\": {\"object\":
        {\"id\": \"ch_18rMf3FzKb8aMux1h2gjCzWm\", \"amount\": 61798, \"captured\": true, \"currency\": \"ils\"}}}')" >/dev/null
    is "$(sample $ils stripe_charge_refunded | cut -d '|' -f 1)" ingested 'stripe_charge_refunded is taken in after its charge'
    is "$(sample $ils stripe_charge_refunded)" \
        'duplicate|refund|-10000|stripe:refund:re_18rMfgFzKb8aMux1MENpRk3T|ch_18rMf3FzKb8aMux1h2gjCzWm|2016-09-08 07:10:04' 'and is a duplicate after that'
    is "$(ask "SELECT ingested, duplicate, dead FROM attribution.retry_dead_events('$usd')")" '0|1|0' 'the early refund is a duplicate by now'
}

main
