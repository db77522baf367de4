-- prepared: PREPARE TRANSACTION checks the sums; what is prepared is right. (prepared_1.out is for servers
-- with max_prepared_transactions = 0: wrong sums are refused before that is.)
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
-- A transaction that looked at temporary objects cannot be prepared.
\c -
-- Whatever goes wrong: wait for nobody, and leave nothing prepared behind.
SET lock_timeout = '10s';
\set a '''94e9a4ed-0000-4000-8000-00000000000a'''
\set e1 '''94e9a4ed-0000-4000-8000-0000000000e1'''
\set e2 '''94e9a4ed-0000-4000-8000-0000000000e2'''
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'prepared');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, :e1, 'conversion', '2024-03-01 12:00Z', 100),
    (:a, :e2, 'conversion', '2024-03-01 12:00Z', 100);
BEGIN;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, '1', 'email', 99);
PREPARE TRANSACTION 'regress_attribution_wrong';
SELECT count(*) AS prepared FROM pg_prepared_xacts WHERE gid LIKE 'regress_attribution%';
BEGIN;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, '1', 'email', 100);
PREPARE TRANSACTION 'regress_attribution_right';
-- What the session noted went with the transaction: the next one starts from nothing. (Of the
-- prepared event it would wait for the lock.)
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e2, '2', 'email', 98);
COMMIT PREPARED 'regress_attribution_right';
SELECT model_version, channel, allocated_revenue_cents FROM attribution.attribution_allocations WHERE tenant_id = :a ORDER BY 1, 2;
-- Checked before, changed after: still checked at PREPARE.
BEGIN;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, '3', 'email', 100);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :a AND id = :e1;
PREPARE TRANSACTION 'regress_attribution_wrong';
SELECT count(*) AS prepared FROM pg_prepared_xacts WHERE gid LIKE 'regress_attribution%';
SELECT count(*) AS wrong FROM attribution.unbalanced_allocations(:a);
ROLLBACK PREPARED 'regress_attribution_wrong';
