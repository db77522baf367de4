-- schema: the extension comes and goes as a whole, and every constraint of every table holds.
-- In a database of its own: the extension comes and goes in it.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_schema;
CREATE DATABASE regression_schema;
\set home :DBNAME
\c regression_schema
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude

-- Inserts a row: good values, over them pairs of a column and its value.
CREATE PROCEDURE pg_temp.insert(table_name text, good jsonb, columns text[]) LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOR i IN 1 .. cardinality(columns) BY 2 LOOP
        good := good || jsonb_build_object(columns[i], columns[i + 1]);
    END LOOP;
    SELECT format('INSERT INTO attribution.%1$I (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::attribution.%1$I, %3$L)',
                  table_name, string_agg(key, ', ' ORDER BY key), good)
    INTO statement FROM jsonb_object_keys(good) AS key;
    CALL pg_temp.attempt(statement);
END $$;

--
-- CREATE and DROP EXTENSION
--
-- What depends on it would not work without it. The list of what depends on it is long.
\set VERBOSITY terse
DROP EXTENSION attribution;
\set VERBOSITY default
CREATE EXTENSION attribution;
ALTER EXTENSION attribution SET SCHEMA public;
-- It goes with what depends on it; the tables stay, which are no part of it.
SET client_min_messages = warning;
DROP EXTENSION attribution CASCADE;
RESET client_min_messages;
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'attribution%';
SELECT relkind, count(*) > 0 AS some FROM pg_class WHERE relnamespace = 'attribution'::regnamespace GROUP BY relkind ORDER BY relkind;
SELECT count(*) AS functions_left FROM pg_proc WHERE pronamespace = 'attribution'::regnamespace;
SELECT count(*) AS roles_made FROM pg_roles WHERE rolname LIKE 'attribution%';
SET client_min_messages = warning;
DROP SCHEMA attribution CASCADE;
RESET client_min_messages;
SELECT count(*) AS objects_left FROM pg_namespace WHERE nspname LIKE 'attribution%';
CREATE EXTENSION attribution SCHEMA public;
CREATE EXTENSION attribution;
-- Functions are parts of it, tables and the schema they are in are none. What only the extension uses is one with its schema.
SELECT d.classid::regclass AS catalog, n.nspname AS schema, count(*) > 0 AS has_members
FROM pg_depend AS d
JOIN pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'attribution'
LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
LEFT JOIN pg_namespace AS n ON n.oid IN (p.pronamespace, c.relnamespace, t.typnamespace) OR d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
WHERE d.deptype = 'e'
  -- From 17 on the row types of tables are members as well.
  AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid AND o.deptype = 'i')
GROUP BY 1, 2 ORDER BY 1::text COLLATE "C", 2;
-- Unpopulated until the first refresh.
SELECT relname, relispopulated FROM pg_class
WHERE relnamespace = 'attribution'::regnamespace AND relkind = 'm' ORDER BY relname;
-- The settings are the extension's own: an unknown name in its prefix is refused.
CALL pg_temp.attempt($$SET attribution.tenant = 'x'$$);
CALL pg_temp.attempt($$SET attribution.sum_tolerance_cents = -1$$);
CALL pg_temp.attempt($$SET attribution.sum_tolerance_cents = 1000001$$);

--
-- currencies
--
SELECT decimals, count(*) AS currencies, min(code) AS first, max(code) AS last
FROM attribution.currencies WHERE is_shipped GROUP BY decimals ORDER BY decimals;
SELECT code, decimals FROM attribution.currencies WHERE code IN ('EUR', 'USD', 'JPY', 'KWD', 'CLF') ORDER BY code;
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('usd', 2)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('US', 2)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('USDX', 2)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('USD', 2)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 5)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', -1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', NULL)$$);

--
-- tenants
--
\set tenant '''5c4e3a00-0000-4000-8000-00000000000a'''
\set other '''5c4e3a00-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:tenant, 'schema'), (:other, 'schema, other');
SELECT name, currency FROM attribution.tenants WHERE id = :tenant;
-- A new tenant gets an id of version 7.
BEGIN;
INSERT INTO attribution.tenants (name, currency) VALUES ('drawn', 'EUR') RETURNING substr(id::text, 15, 1) AS version, currency;
ROLLBACK;
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name) VALUES (NULL)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name) VALUES ('')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name) VALUES (E' \t\n')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name) VALUES (repeat('é', 128))$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name, currency) VALUES ('x', 'XTS')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (name, currency) VALUES ('x', 'usd')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (id, name) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 'again')$$);
-- updated_at is kept by a trigger, whatever the caller writes.
BEGIN;
UPDATE attribution.tenants SET name = 'renamed', updated_at = 'epoch' WHERE id = :tenant
RETURNING name, updated_at = now() AS updated_now;
ROLLBACK;
-- The currency may change until the first event.
UPDATE attribution.tenants SET currency = 'EUR' WHERE id = :other RETURNING currency;

--
-- attribution_events
--
CREATE PROCEDURE pg_temp.event(VARIADIC columns text[]) LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.insert('attribution_events',
        '{"tenant_id": "5c4e3a00-0000-4000-8000-00000000000a", "event_type": "conversion",
                     "occurred_at": "2024-03-01 12:00Z", "revenue_cents": 100}', columns);
END $$;
CALL pg_temp.event('id', '5c4e3a00-0000-4000-8000-0000000000e1');
CALL pg_temp.event('id', '5c4e3a00-0000-4000-8000-0000000000e1');
CALL pg_temp.event('tenant_id', '5c4e3a00-0000-4000-8000-0000000000ff');
CALL pg_temp.event('tenant_id', NULL);
CALL pg_temp.event('event_type', 'purchase');
CALL pg_temp.event('event_type', NULL);
CALL pg_temp.event('occurred_at', NULL);
CALL pg_temp.event('revenue_cents', NULL);
-- The sign follows from the type.
CALL pg_temp.event('revenue_cents', '0');
CALL pg_temp.event('revenue_cents', '-1');
CALL pg_temp.event('event_type', 'touch', 'channel', 'email', 'revenue_cents', '1');
CALL pg_temp.event('event_type', 'touch', 'channel', 'email', 'revenue_cents', '-1');
CALL pg_temp.event('event_type', 'refund', 'refund_of', '5c4e3a00-0000-4000-8000-0000000000e1', 'revenue_cents', '0');
CALL pg_temp.event('event_type', 'refund', 'refund_of', '5c4e3a00-0000-4000-8000-0000000000e1', 'revenue_cents', '1');
CALL pg_temp.event('revenue_cents', '9223372036854775808');
-- A touch has a channel; a refund, and only a refund, names a conversion of the same tenant.
CALL pg_temp.event('event_type', 'touch', 'revenue_cents', '0');
CALL pg_temp.event('event_type', 'refund', 'revenue_cents', '-1');
CALL pg_temp.event('refund_of', '5c4e3a00-0000-4000-8000-0000000000e1');
CALL pg_temp.event('event_type', 'refund', 'refund_of', '5c4e3a00-0000-4000-8000-0000000000ff', 'revenue_cents', '-1');
CALL pg_temp.event('tenant_id', '5c4e3a00-0000-4000-8000-00000000000b', 'event_type', 'refund',
                   'refund_of', '5c4e3a00-0000-4000-8000-0000000000e1', 'revenue_cents', '-1');
-- Finite and not before 1970.
CALL pg_temp.event('occurred_at', 'infinity');
CALL pg_temp.event('occurred_at', '-infinity');
CALL pg_temp.event('occurred_at', '1969-12-31 23:59:59.999999Z');
CALL pg_temp.event('occurred_at', '1970-01-01 00:00Z', 'id', '5c4e3a00-0000-4000-8000-0000000000e2');
CALL pg_temp.event('occurred_at', '294276-12-31 23:59:59.999999Z', 'id', '5c4e3a00-0000-4000-8000-0000000000e3');
-- Texts have a byte to 255.
CALL pg_temp.event('external_event_id', '');
CALL pg_temp.event('external_event_id', repeat('é', 128));
CALL pg_temp.event('correlation_id', '');
CALL pg_temp.event('correlation_id', repeat('é', 128));
CALL pg_temp.event('channel', '');
CALL pg_temp.event('channel', repeat('é', 128));
CALL pg_temp.event('source', '');
CALL pg_temp.event('source', repeat('é', 128));
CALL pg_temp.event('id', '5c4e3a00-0000-4000-8000-0000000000e4', 'external_event_id', repeat('x', 255),
                   'correlation_id', repeat('y', 255), 'channel', repeat('z', 255), 'source', repeat('s', 255));
-- Business keys are unique per tenant: the external id, or the correlation id where there is none.
CALL pg_temp.event('external_event_id', repeat('x', 255));
CALL pg_temp.event('id', '5c4e3a00-0000-4000-8000-0000000000e5', 'correlation_id', repeat('y', 255));
CALL pg_temp.event('correlation_id', repeat('y', 255));
CALL pg_temp.event('tenant_id', '5c4e3a00-0000-4000-8000-00000000000b', 'id', '5c4e3a00-0000-4000-8000-0000000000e6',
                   'external_event_id', repeat('x', 255));
-- What refers to a row keeps it.
CALL pg_temp.event('id', '5c4e3a00-0000-4000-8000-0000000000e7', 'event_type', 'refund',
                   'refund_of', '5c4e3a00-0000-4000-8000-0000000000e1', 'revenue_cents', '-1');
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events WHERE id = '5c4e3a00-0000-4000-8000-0000000000e1'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.tenants WHERE id = '5c4e3a00-0000-4000-8000-00000000000a'$$);
-- With its first event the currency of a tenant is fixed; renaming is free.
CALL pg_temp.attempt($$UPDATE attribution.tenants SET currency = 'EUR' WHERE id = '5c4e3a00-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.tenants SET currency = 'USD', name = 'renamed' WHERE id = '5c4e3a00-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenants (id, name, currency) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 'x', 'EUR')
    ON CONFLICT (id) DO UPDATE SET currency = excluded.currency$$);

--
-- dead_events
--
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-0000000000ff', 's', 'e')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', NULL, 'e')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 's', NULL)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '', 'e')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 's', repeat('e', 256))$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, source, error_code, retry_count) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 's', 'e', -1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000d1', 's', 'e')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.dead_events (tenant_id, id, source, error_code) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000d1', 's', 'e')$$);

--
-- attribution_models
--
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('5c4e3a00-0000-4000-8000-0000000000ff', '1', 'linear')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '1', 'magic')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '', 'linear')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', repeat('1', 256), 'linear')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method, parameters) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '1', 'linear', '[]')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method, parameters) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '1', 'linear', NULL)$$);
INSERT INTO attribution.attribution_models (tenant_id, model_version, method)
SELECT :tenant, method, method
FROM unnest('{first_touch, last_touch, last_non_direct, linear, position_based, time_decay, custom}'::text[]) AS method;
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 'linear', 'linear')$$);
-- A model version never changes, not even to what it is.
CALL pg_temp.attempt($$UPDATE attribution.attribution_models SET method = 'linear' WHERE tenant_id = '5c4e3a00-0000-4000-8000-00000000000a' AND model_version = 'linear'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_models SET parameters = '{"half_life_days": 7}' WHERE tenant_id = '5c4e3a00-0000-4000-8000-00000000000a' AND model_version = 'time_decay'$$);

--
-- attribution_allocations
--
CREATE PROCEDURE pg_temp.allocation(VARIADIC columns text[]) LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.insert('attribution_allocations',
        '{"tenant_id": "5c4e3a00-0000-4000-8000-00000000000a", "event_id": "5c4e3a00-0000-4000-8000-0000000000e1",
                     "model_version": "1", "channel": "email", "allocated_revenue_cents": 100}', columns);
END $$;
CALL pg_temp.allocation('id', '5c4e3a00-0000-4000-8000-0000000000a1');
CALL pg_temp.allocation('id', '5c4e3a00-0000-4000-8000-0000000000a1', 'channel', 'tv');
CALL pg_temp.allocation('id', '5c4e3a00-0000-4000-8000-0000000000a2');
CALL pg_temp.allocation('event_id', '5c4e3a00-0000-4000-8000-0000000000ff');
CALL pg_temp.allocation('tenant_id', '5c4e3a00-0000-4000-8000-00000000000b');
CALL pg_temp.allocation('event_id', NULL);
CALL pg_temp.allocation('model_version', NULL);
CALL pg_temp.allocation('channel', NULL);
CALL pg_temp.allocation('allocated_revenue_cents', NULL);
CALL pg_temp.allocation('model_version', '2', 'weight', '-0.1');
CALL pg_temp.allocation('model_version', '2', 'weight', 'NaN');
CALL pg_temp.allocation('model_version', '2', 'weight', 'Infinity');
CALL pg_temp.allocation('model_version', '2', 'allocation_ratio', '1.00001');
CALL pg_temp.allocation('model_version', '2', 'allocation_ratio', '-0.00001');
CALL pg_temp.allocation('model_version', '2', 'allocation_ratio', 'NaN');
CALL pg_temp.allocation('model_version', '');
CALL pg_temp.allocation('model_version', repeat('é', 128));
CALL pg_temp.allocation('model_version', '2', 'channel', '');
CALL pg_temp.allocation('model_version', '2', 'channel', repeat('é', 128));
CALL pg_temp.allocation('model_version', '2', 'correlation_id', '');
CALL pg_temp.allocation('model_version', '2', 'correlation_id', repeat('é', 128));

--
-- ledger_books and revenue_ledger
--
CALL pg_temp.attempt($$INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000ff', '1')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000e1', '')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000e1', '1')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000e1', '2')$$);
CREATE PROCEDURE pg_temp.posting(VARIADIC columns text[]) LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.insert('revenue_ledger',
        '{"tenant_id": "5c4e3a00-0000-4000-8000-00000000000a", "conversion_id": "5c4e3a00-0000-4000-8000-0000000000e1",
                     "allocation_id": "5c4e3a00-0000-4000-8000-0000000000a1", "revenue_cents": 100}', columns);
END $$;
CALL pg_temp.posting('id', '5c4e3a00-0000-4000-8000-0000000000b1');
CALL pg_temp.posting('id', '5c4e3a00-0000-4000-8000-0000000000b2');
CALL pg_temp.posting('id', '5c4e3a00-0000-4000-8000-0000000000b1', 'allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1');
CALL pg_temp.posting('conversion_id', '5c4e3a00-0000-4000-8000-0000000000e2');
CALL pg_temp.posting('allocation_id', '5c4e3a00-0000-4000-8000-0000000000ff');
CALL pg_temp.posting('allocation_id', NULL);
CALL pg_temp.posting('reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1');
CALL pg_temp.posting('allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000ff');
CALL pg_temp.posting('allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1', 'is_verified', 'true');
CALL pg_temp.posting('allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1', 'verified_at', '2024-03-01 12:00Z');
CALL pg_temp.posting('allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1', 'reconciliation_run_id', '5c4e3a00-0000-4000-8000-0000000000ff');
CALL pg_temp.posting('revenue_cents', NULL);
-- A posting is reversed once.
CALL pg_temp.posting('id', '5c4e3a00-0000-4000-8000-0000000000b3', 'allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1', 'revenue_cents', '-100');
CALL pg_temp.posting('id', '5c4e3a00-0000-4000-8000-0000000000b4', 'allocation_id', NULL, 'reverses_id', '5c4e3a00-0000-4000-8000-0000000000b1', 'revenue_cents', '-100');
-- An allocation that was posted stays, and so does its event.
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_allocations WHERE id = '5c4e3a00-0000-4000-8000-0000000000a1'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events WHERE id IN ('5c4e3a00-0000-4000-8000-0000000000e1', '5c4e3a00-0000-4000-8000-0000000000e7')$$);

--
-- reconciliation_runs
--
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_runs (tenant_id) VALUES ('5c4e3a00-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_runs (tenant_id, state) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', 'paused')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_runs (tenant_id, id, state) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c1', 'running')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_runs (tenant_id, id, state) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c2', 'running')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_runs (tenant_id, id, state) VALUES
    ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c3', 'idle'),
    ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c4', 'failed'),
    ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c5', 'completed'),
    ('5c4e3a00-0000-4000-8000-00000000000b', '5c4e3a00-0000-4000-8000-0000000000c2', 'running')$$);

--
-- reconciliation_settlements and settlement_differences
--
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c1', 'k', 1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c1', 'k', 2)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents) VALUES ('5c4e3a00-0000-4000-8000-00000000000b', '5c4e3a00-0000-4000-8000-0000000000c1', 'k', 1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c1', '', 1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.reconciliation_settlements (tenant_id, reconciliation_run_id, key, amount_cents) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c1', repeat('é', 128), 1)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c5', 'amount_mismatch')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind) VALUES ('5c4e3a00-0000-4000-8000-00000000000a', '5c4e3a00-0000-4000-8000-0000000000c5', 'late')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.settlement_differences (tenant_id, reconciliation_run_id, kind) VALUES ('5c4e3a00-0000-4000-8000-00000000000b', '5c4e3a00-0000-4000-8000-0000000000c5', 'amount_mismatch')$$);
-- They go with their run.
BEGIN;
DELETE FROM attribution.reconciliation_runs WHERE tenant_id = :tenant AND id IN ('5c4e3a00-0000-4000-8000-0000000000c1', '5c4e3a00-0000-4000-8000-0000000000c5');
SELECT (SELECT count(*) FROM attribution.reconciliation_settlements WHERE tenant_id = :tenant) AS settlements,
       (SELECT count(*) FROM attribution.settlement_differences WHERE tenant_id = :tenant) AS differences;
ROLLBACK;

--
-- tenant_bindings and refresh_log
--
CALL pg_temp.attempt($$INSERT INTO attribution.tenant_bindings VALUES ('regress_attribution_nobody', '5c4e3a00-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.tenant_bindings VALUES (NULL, '5c4e3a00-0000-4000-8000-00000000000a')$$);
CALL pg_temp.attempt($$INSERT INTO attribution.refresh_log (view_name, mode, started_at, elapsed_ms, outcome) VALUES ('mv', 'full', now(), 0, 'done')$$);

-- Nothing above left a wrong sum.
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id IN (:tenant, :other);
\c :home
DROP DATABASE regression_schema;
