-- ingest: an event comes in once per business key, whole or not at all.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set a '''146e57ed-0000-4000-8000-00000000000a'''
\set b '''146e57ed-0000-4000-8000-00000000000b'''
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'ingest a'), (:b, 'ingest b');
CREATE VIEW pg_temp.events AS
    SELECT right(tenant_id::text, 1) AS tenant, event_type AS type, revenue_cents AS cents, external_event_id, correlation_id, channel, source, occurred_at, raw_payload
    FROM attribution.attribution_events
    WHERE tenant_id IN ('146e57ed-0000-4000-8000-00000000000a', '146e57ed-0000-4000-8000-00000000000b')
    ORDER BY tenant_id, occurred_at, event_type, revenue_cents, external_event_id, correlation_id, channel, source;

--
-- The key is the external id
--
SELECT * FROM attribution.ingest_event(:a, 'shopify', 'conversion', '2024-03-01 12:00Z', 10000,
    external_event_id => 'shopify:order:820982911946154508', raw_payload => '{"id": 820982911946154508}');
-- Its id can be computed before.
SELECT id, attribution.keyed_event_id(tenant_id, external_event_id, correlation_id) = id AS computed
FROM attribution.attribution_events WHERE tenant_id = :a;
-- Another delivery of the same order is the same event; fields that are not content may differ and change nothing.
SELECT * FROM attribution.ingest_event(:a, 'shopify webhook', 'conversion', '2024-03-01 12:00:07Z', 10000,
    external_event_id => 'shopify:order:820982911946154508', correlation_id => 'other', channel => 'email',
    session_id => '146e57ed-0000-4000-8000-000000000005', raw_payload => '{"id": 820982911946154508, "again": true}');
SELECT * FROM events;
-- Of another tenant it is another event.
SELECT outcome FROM attribution.ingest_event(:b, 'shopify', 'conversion', '2024-03-01 12:00Z', 999,
    external_event_id => 'shopify:order:820982911946154508');
-- Twice in one statement, too.
SELECT attribution.ingest_event(:a, 'paypal', 'conversion', '2024-03-01 13:00Z', 500, 'paypal:capture:1')
FROM generate_series(1, 3) AS i;

--
-- Without an external id it is the correlation id
--
SELECT * FROM attribution.ingest_event(:a, 'stripe', 'conversion', '2024-03-01 14:00Z', 2500, correlation_id => 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq');
SELECT * FROM attribution.ingest_event(:a, 'stripe', 'conversion', '2024-03-01 14:00:02Z', 2500, correlation_id => 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq');
-- An event with an external id of its own may share the correlation id: a refund of that payment.
SELECT outcome, event_id = attribution.keyed_event_id(:a, 'stripe:refund:re_1', NULL) AS keyed
FROM attribution.ingest_event(:a, 'stripe', 'refund', '2024-03-02 14:00Z', -500, 'stripe:refund:re_1', 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq',
    refund_of => attribution.keyed_event_id(:a, NULL, 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq'));
SELECT outcome FROM attribution.ingest_event(:a, 'stripe', 'refund', '2024-03-02 14:00Z', -500, 'stripe:refund:re_1', 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq',
    refund_of => attribution.keyed_event_id(:a, NULL, 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq'));
-- In the other order, too: the refund's correlation id does not stand for the payment.
SELECT outcome FROM attribution.ingest_event(:a, 'stripe', 'touch', '2024-03-02 15:00Z', NULL, 'stripe:visit:1', 'pi_later', channel => 'email');
SELECT outcome FROM attribution.ingest_event(:a, 'stripe', 'conversion', '2024-03-02 16:00Z', 100, correlation_id => 'pi_later');
-- The same text as external id and as correlation id: two events.
SELECT outcome FROM attribution.ingest_event(:a, 's', 'touch', '2024-03-03 00:00Z', external_event_id => 'same', channel => 'x');
SELECT outcome FROM attribution.ingest_event(:a, 's', 'touch', '2024-03-03 00:00Z', correlation_id => 'same', channel => 'x');

--
-- Without any key every call is a new event
--
SELECT count(DISTINCT event_id) AS events, min(outcome) AS outcome, bool_and(substr(event_id::text, 15, 1) = '7') AS version_7
FROM generate_series(1, 2) AS i,
    attribution.ingest_event(:a, repeat('site', i - i + 1), 'touch', '2024-03-04 00:00Z', channel => 'email');

--
-- The same key with other content is refused with the difference
--
CREATE FUNCTION pg_temp.order_again(event_type text, revenue_cents bigint, channel text DEFAULT NULL, refund_of uuid DEFAULT NULL, external_event_id text DEFAULT 'paypal:capture:1')
    RETURNS text LANGUAGE sql
    RETURN (SELECT outcome FROM attribution.ingest_event('146e57ed-0000-4000-8000-00000000000a', 'paypal', event_type, '2024-03-01 13:00Z', revenue_cents, external_event_id, refund_of => refund_of, channel => channel));
CALL pg_temp.attempt($$SELECT pg_temp.order_again('conversion', 500)$$);
CALL pg_temp.attempt($$SELECT pg_temp.order_again('conversion', 501)$$);
CALL pg_temp.attempt($$SELECT pg_temp.order_again('touch', 0, 'email')$$);
CALL pg_temp.attempt($$SELECT pg_temp.order_again('refund', -500, NULL, attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'paypal:capture:1', NULL))$$);
CALL pg_temp.attempt($$SELECT pg_temp.order_again('refund', -500, NULL, attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'paypal:capture:1', NULL), 'stripe:refund:re_1')$$);
CALL pg_temp.attempt($$SELECT attribution.ingest_event('146e57ed-0000-4000-8000-00000000000a', 'stripe', 'conversion', '2024-03-01 14:00Z', 2600, correlation_id => 'pi_3PKz3J2eZvKYlo2C1y9Ht2Wq')$$);

--
-- Arguments
--
CREATE FUNCTION pg_temp.ingest(event_type text DEFAULT 'conversion', revenue_cents bigint DEFAULT 100, occurred_at timestamptz DEFAULT '2024-03-01 12:00Z',
                               source text DEFAULT 'test', external_event_id text DEFAULT 'test:bad:1', correlation_id text DEFAULT NULL,
                               channel text DEFAULT NULL, refund_of uuid DEFAULT NULL, tenant_id uuid DEFAULT '146e57ed-0000-4000-8000-00000000000a')
    RETURNS text LANGUAGE sql
    RETURN (SELECT outcome FROM attribution.ingest_event(tenant_id, source, event_type, occurred_at, revenue_cents, external_event_id, correlation_id, NULL, channel, refund_of));
CALL pg_temp.attempt($$SELECT pg_temp.ingest(tenant_id => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(source => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(event_type => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(occurred_at => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(tenant_id => '146e57ed-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(event_type => 'purchase')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(event_type => '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(revenue_cents => 0)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(revenue_cents => NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(revenue_cents => -100)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('touch', 1, channel => 'email')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('touch', NULL)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', 100, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'paypal:capture:1', NULL))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', 0, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'paypal:capture:1', NULL))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', -100)$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('conversion', 100, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'paypal:capture:1', NULL))$$);
-- What is refunded must be a conversion of this tenant.
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', -100, refund_of => '146e57ed-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', -100, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000b', 'shopify:order:820982911946154508', NULL))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', -100, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'stripe:refund:re_1', NULL))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest('refund', -100, refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'same', NULL))$$);
-- Times.
CALL pg_temp.attempt($$SELECT pg_temp.ingest(occurred_at => 'infinity')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(occurred_at => '-infinity')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(occurred_at => '1969-12-31 23:59:59.999999Z')$$);
-- Texts.
CALL pg_temp.attempt($$SELECT pg_temp.ingest(source => '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(external_event_id => '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(correlation_id => '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(channel => '')$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(source => repeat('é', 128))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(external_event_id => repeat('é', 128))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(correlation_id => repeat('é', 128))$$);
CALL pg_temp.attempt($$SELECT pg_temp.ingest(channel => repeat('é', 128))$$);
-- Nothing of all that came in; the limits themselves do.
SELECT count(*) AS bad_events FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'test:bad:1';
SELECT pg_temp.ingest(occurred_at => '1970-01-01 00:00Z', source => repeat('s', 255), external_event_id => repeat('e', 255),
                      correlation_id => repeat('c', 255), channel => repeat('h', 255), revenue_cents => 9223372036854775807);
SELECT pg_temp.ingest(occurred_at => '294276-12-31 23:59:59.999999Z', external_event_id => 'test:late:1');
-- A read-only transaction, whether there is something to write or not.
BEGIN READ ONLY;
SELECT * FROM attribution.ingest_event(:a, 'paypal', 'conversion', '2024-03-01 13:00Z', 500, 'paypal:capture:1');
ROLLBACK;
-- A failed call leaves nothing, a rolled back one neither.
BEGIN;
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 1, 'test:rolled:back');
ROLLBACK;
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 2, 'test:rolled:back');
-- An event that was deleted can come again.
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'test:rolled:back';
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 3, 'test:rolled:back');
-- An event whose key was changed by hand is still known by its id.
SELECT outcome FROM attribution.ingest_event(:a, 'stripe', 'conversion', '2024-03-05 12:00Z', 7, correlation_id => 'pi_rekeyed');
UPDATE attribution.attribution_events SET external_event_id = 'stripe:charge:rekeyed' WHERE tenant_id = :a AND correlation_id = 'pi_rekeyed';
SELECT outcome FROM attribution.ingest_event(:a, 'stripe', 'conversion', '2024-03-05 12:00Z', 7, correlation_id => 'pi_rekeyed');
CALL pg_temp.attempt($$SELECT attribution.ingest_event('146e57ed-0000-4000-8000-00000000000a', 'stripe', 'conversion', '2024-03-05 12:00Z', 8, correlation_id => 'pi_rekeyed')$$);
-- Isolation levels: a duplicate is found at each of them.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 3, 'test:rolled:back');
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 3, 'test:serializable');
SELECT outcome FROM attribution.ingest_event(:a, 'x', 'conversion', '2024-03-05 12:00Z', 3, 'test:serializable');
COMMIT;
--
-- Refunds come in up to what is left of the conversion
--
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.refund(revenue_cents bigint, external_event_id text DEFAULT NULL, refund_of text DEFAULT 'test:order:refunded')
    RETURNS text LANGUAGE sql
    RETURN (SELECT outcome FROM attribution.ingest_event('146e57ed-0000-4000-8000-00000000000a', 'test', 'refund', '2024-03-07 12:00Z', revenue_cents, external_event_id,
        refund_of => attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', refund_of, NULL)));
CREATE VIEW pg_temp.refunds AS
    SELECT external_event_id, revenue_cents FROM attribution.attribution_events
    WHERE tenant_id = '146e57ed-0000-4000-8000-00000000000a' AND refund_of = attribution.keyed_event_id('146e57ed-0000-4000-8000-00000000000a', 'test:order:refunded', NULL)
    ORDER BY external_event_id;
SELECT outcome FROM attribution.ingest_event(:a, 'test', 'conversion', '2024-03-06 12:00Z', 100, 'test:order:refunded');
CALL pg_temp.attempt($$SELECT pg_temp.refund(-101, 'test:refund:1')$$);
CALL pg_temp.attempt($$SELECT pg_temp.refund(-60, 'test:refund:1')$$);
-- At once, not only at COMMIT: what was refused leaves the transaction as it was.
BEGIN;
SELECT pg_temp.refund(-1, 'test:refund:2');
SAVEPOINT s;
SELECT pg_temp.refund(-40, 'test:refund:3');
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.refund(-39, 'test:refund:3');
COMMIT;
CALL pg_temp.attempt($$SELECT pg_temp.refund(-1, 'test:refund:4')$$);
CALL pg_temp.attempt($$SELECT pg_temp.refund(-9223372036854775808, 'test:refund:4')$$);
CALL pg_temp.attempt($$SELECT pg_temp.refund(-1)$$);
SELECT * FROM refunds;
-- Known ones are duplicates, also when nothing is left; with another amount they are what they always were.
CALL pg_temp.attempt($$SELECT pg_temp.refund(-60, 'test:refund:1'), pg_temp.refund(-39, 'test:refund:3')$$);
CALL pg_temp.attempt($$SELECT pg_temp.refund(-59, 'test:refund:1')$$);
-- At the other isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.refund(-60, 'test:refund:1');
SELECT pg_temp.refund(-1, 'test:refund:4');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.refund(-60, 'test:refund:1');
SELECT pg_temp.refund(-1, 'test:refund:4');
ROLLBACK;
-- The rest of the transaction may be unfinished: what it has not allocated yet is not asked for.
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'test:refund:3';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, attribution.keyed_event_id(:a, 'test:order:refunded', NULL), '1', 'email', 50);
SELECT pg_temp.refund(-39, 'test:refund:3');
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, attribution.keyed_event_id(:a, 'test:order:refunded', NULL), '1', 'tv', 50);
COMMIT;
-- The caller needs no right to lock: a role that may read and insert.
CREATE ROLE regress_attribution_ingester;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_ingester;
GRANT SELECT, INSERT ON attribution.attribution_events TO regress_attribution_ingester;
GRANT EXECUTE ON FUNCTION attribution.ingest_event TO regress_attribution_ingester;
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND external_event_id = 'test:refund:3';
SET LOCAL ROLE regress_attribution_ingester;
SET LOCAL attribution.tenant_id = '146e57ed-0000-4000-8000-00000000000a';
SELECT pg_temp.refund(-1, 'test:refund:2');
SELECT pg_temp.refund(-39, 'test:refund:3');
SELECT current_user;
SELECT pg_temp.refund(-1, 'test:refund:4');
ROLLBACK;
-- It cannot lock, or learn of, what is another tenant's.
BEGIN;
SET LOCAL ROLE regress_attribution_ingester;
SET LOCAL attribution.tenant_id = '146e57ed-0000-4000-8000-00000000000b';
SELECT pg_temp.refund(-1, 'test:refund:4');
ROLLBACK;
DROP OWNED BY regress_attribution_ingester;
DROP ROLE regress_attribution_ingester;
SELECT * FROM refunds;
DROP VIEW refunds;
\set SHOW_CONTEXT errors
SELECT tenant, type, cents, left(external_event_id, 32) AS external_event_id, left(correlation_id, 28) AS correlation_id, left(channel, 5) AS channel, left(source, 8) AS source
FROM events;
DROP VIEW events;
