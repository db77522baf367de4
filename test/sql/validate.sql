-- validate: no transaction commits allocations that do not sum to their event's revenue, on any path.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
\set a '''5a11da7e-0000-4000-8000-00000000000a'''
\set b '''5a11da7e-0000-4000-8000-00000000000b'''
\set e1 '''5a11da7e-0000-4000-8000-0000000000e1'''
\set e2 '''5a11da7e-0000-4000-8000-0000000000e2'''
\set e3 '''5a11da7e-0000-4000-8000-0000000000e3'''
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'validate a'), (:b, 'validate b');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, :e1, 'conversion', '2024-03-01 12:00Z', 100),
    (:a, :e2, 'conversion', '2024-03-01 12:00Z', 50),
    (:a, :e3, 'conversion', '2024-03-01 12:00Z', 9223372036854775807),
    (:b, :e1, 'conversion', '2024-03-01 12:00Z', 100);
-- Short forms of what the tests do most.
CREATE VIEW pg_temp.allocations AS SELECT * FROM attribution.attribution_allocations;
ALTER VIEW pg_temp.allocations ALTER tenant_id SET DEFAULT '5a11da7e-0000-4000-8000-00000000000a';
ALTER VIEW pg_temp.allocations ALTER event_id SET DEFAULT '5a11da7e-0000-4000-8000-0000000000e1';
ALTER VIEW pg_temp.allocations ALTER model_version SET DEFAULT '1';
ALTER VIEW pg_temp.allocations ALTER id SET DEFAULT attribution.uuid_v7();
CREATE VIEW pg_temp.stored AS
    SELECT right(tenant_id::text, 1) AS tenant, right(event_id::text, 2) AS event, model_version, channel,
           allocated_revenue_cents AS cents
    FROM attribution.attribution_allocations
    WHERE tenant_id IN ('5a11da7e-0000-4000-8000-00000000000a', '5a11da7e-0000-4000-8000-00000000000b')
    ORDER BY tenant_id, event_id, model_version COLLATE "C", channel COLLATE "C";

--
-- INSERT
--
-- Channel by channel within a transaction: checked at COMMIT.
BEGIN;
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('email', 30);
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('tv', 70);
COMMIT;
SELECT * FROM stored;
-- One cent too little, one too much, in one statement and in several.
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'email', 30), ('2', 'tv', 69);
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'email', 30), ('2', 'tv', 71);
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'email', 30);
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'tv', 60);
COMMIT;
-- Zero cents are allocations: none at all is allowed, a sum of 0 is not.
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'email', 0);
-- A channel more on what was right.
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('radio', 1);
-- Of no effect is no violation.
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('radio', 0);
-- The constraint has a name, a schema and a table.
CREATE PROCEDURE pg_temp.diagnose(statement text) LANGUAGE plpgsql AS $$
DECLARE
    state text;
    constraint_name text;
    schema_name text;
    table_name text;
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    RAISE INFO 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, constraint_name = CONSTRAINT_NAME,
        schema_name = SCHEMA_NAME, table_name = TABLE_NAME;
    RAISE INFO '% % on %.%', state, constraint_name, schema_name, table_name;
END $$;
CALL pg_temp.diagnose($$INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('2', 'email', 30)$$);
CALL pg_temp.diagnose($$UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE id = '5a11da7e-0000-4000-8000-0000000000e1'$$);
-- Sums beyond bigint are compared, not overflowed.
INSERT INTO allocations (event_id, channel, allocated_revenue_cents)
SELECT :e3, 'c' || i, 9223372036854775807 FROM generate_series(1, 3) AS i;
INSERT INTO allocations (event_id, channel, allocated_revenue_cents)
SELECT :e3, 'c' || i, (-9223372036854775808)::bigint FROM generate_series(1, 3) AS i;
-- This one sums, though not on the way there; but no channel may be below zero.
INSERT INTO allocations (event_id, channel, allocated_revenue_cents)
VALUES (:e3, 'x', 9223372036854775807), (:e3, 'y', 9223372036854775807), (:e3, 'z', -9223372036854775807);

--
-- UPDATE and DELETE
--
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 31 WHERE tenant_id = :a AND event_id = :e1 AND channel = 'email';
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 31 WHEN 'tv' THEN 69 ELSE 0 END
WHERE tenant_id = :a AND event_id = :e1;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e1 AND channel = 'email';
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e1 AND channel = 'radio';
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e1 AND channel = 'email';
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('organic', 31);
COMMIT;
SELECT * FROM stored WHERE event = 'e1';
-- All of them: allowed.
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e1;
COMMIT;
SELECT * FROM stored WHERE event = 'e1';
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('email', 30), ('tv', 70);

--
-- Other ways to write
--
COPY attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000a	5a11da7e-0000-4000-8000-0000000000e1	copy	email	30
5a11da7e-0000-4000-8000-00000000000a	5a11da7e-0000-4000-8000-0000000000e1	copy	tv	60
\.
COPY attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000a	5a11da7e-0000-4000-8000-0000000000e1	copy	email	30
5a11da7e-0000-4000-8000-00000000000a	5a11da7e-0000-4000-8000-0000000000e1	copy	tv	70
\.
-- ON CONFLICT, both arms.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'copy', 'email', 31)
ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL
DO UPDATE SET allocated_revenue_cents = excluded.allocated_revenue_cents;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'copy', 'email', 31), (:a, :e1, 'copy', 'tv', 69)
ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL
DO UPDATE SET allocated_revenue_cents = excluded.allocated_revenue_cents;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'copy', 'email', 5), (:a, :e1, 'copy', 'radio', 1)
ON CONFLICT DO NOTHING;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'copy', 'email', 5)
ON CONFLICT DO NOTHING;
-- The predicate of the unique index must be repeated.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:a, :e1, 'copy', 'email', 5)
ON CONFLICT (tenant_id, event_id, model_version, channel) DO NOTHING;
-- Statements within a statement.
WITH gone AS (DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version = 'copy' AND channel = 'email' RETURNING *)
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT tenant_id, event_id, model_version, 'newsletter', allocated_revenue_cents FROM gone;
WITH gone AS (DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version = 'copy' AND channel = 'newsletter' RETURNING *)
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
SELECT tenant_id, event_id, 'other', channel, allocated_revenue_cents FROM gone;
-- MERGE.
MERGE INTO attribution.attribution_allocations AS t
USING (VALUES ('newsletter', 30), ('tv', 69), ('radio', 1)) AS s (channel, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND t.model_version = 'copy' AND t.channel = s.channel
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = s.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000a', '5a11da7e-0000-4000-8000-0000000000e1', 'copy', s.channel, s.cents);
MERGE INTO attribution.attribution_allocations AS t
USING (VALUES ('newsletter', 30), ('tv', 69), ('radio', 2)) AS s (channel, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND t.model_version = 'copy' AND t.channel = s.channel
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = s.cents;
SELECT * FROM stored WHERE event = 'e1';

--
-- The event's side
--
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :a AND id = :e1;
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :a AND id = :e1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents - 1
WHERE tenant_id = :a AND event_id = :e1 AND channel = 'tv';
COMMIT;
-- One model version follows, the other does not.
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 100 WHERE tenant_id = :a AND id = :e1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1
WHERE tenant_id = :a AND event_id = :e1 AND channel = 'tv' AND model_version = '1';
COMMIT;
-- There and back again.
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 1 WHERE tenant_id = :a AND id = :e1;
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :a AND id = :e1;
COMMIT;
-- An event without allocations, and other columns, change freely.
UPDATE attribution.attribution_events SET revenue_cents = 51 WHERE tenant_id = :a AND id = :e2;
UPDATE attribution.attribution_events SET revenue_cents = 50 WHERE tenant_id = :a AND id = :e2;
UPDATE attribution.attribution_events SET channel = 'email', revenue_cents = revenue_cents WHERE tenant_id = :a AND id = :e1;
-- The key of an event with allocations does not change.
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET id = '5a11da7e-0000-4000-8000-0000000000ee' WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND id = '5a11da7e-0000-4000-8000-0000000000e1'$$);
-- A deleted event takes its allocations along.
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e1;
SELECT count(*) FROM stored WHERE tenant = 'a' AND event = 'e1';
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
-- ... and can be made again, with other numbers.
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e1;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e1, 'conversion', '2024-03-01 12:00Z', 7);
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('email', 7);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :a AND id = :e1;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e1, 'conversion', '2024-03-01 12:00Z', 7);
INSERT INTO allocations (channel, allocated_revenue_cents) VALUES ('email', 6);
COMMIT;

--
-- Several events, models and statements
--
BEGIN;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:e1, 'm2', 'email', 99), (:e2, 'm1', 'email', 50), (:e2, 'm2', 'tv', 50);
INSERT INTO allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'm1', 'email', 100);
COMMIT;
-- Each of them can be the wrong one ...
INSERT INTO allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, :e1, 'm3', 'email', 98), (:a, :e2, 'm3', 'email', 50), (:b, :e1, 'm3', 'email', 100);
INSERT INTO allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, :e1, 'm3', 'email', 99), (:a, :e2, 'm3', 'email', 49), (:b, :e1, 'm3', 'email', 100);
INSERT INTO allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, :e1, 'm3', 'email', 99), (:a, :e2, 'm3', 'email', 50), (:b, :e1, 'm3', 'email', 99);
-- ... and of several the first is told, in the order of tenant, event and model version, with their number.
INSERT INTO allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:b, :e1, 'm3', 'email', 99), (:a, :e2, 'm3', 'email', 49), (:a, :e1, 'm4', 'email', 98), (:a, :e1, 'm3', 'email', 98), (:a, :e2, 'm2', 'email', 0);
-- Errors that cancel out are two errors.
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES (:e1, 'm3', 'email', 100), (:e2, 'm3', 'email', 49);
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES (:e1, 'm3', 'email', 100), (:e1, 'm4', 'email', 98);
-- More keys than a batch takes, one wrong in the middle.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :a, ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, 'conversion', '2024-03-01 12:00Z', 10 FROM generate_series(1, 1100) AS i;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents)
SELECT ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, 'batch', c, 5 + CASE WHEN i = 1050 AND c = 'x' THEN 1 ELSE 0 END
FROM generate_series(1, 1100) AS i, unnest('{x, y}'::text[]) AS c;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents)
SELECT ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, 'batch', c, 5
FROM generate_series(1, 1100) AS i, unnest('{x, y}'::text[]) AS c;
UPDATE attribution.attribution_events SET revenue_cents = 11 WHERE tenant_id = :a AND id >= '5a11da7e-0000-4000-8001-000000000010' AND revenue_cents = 10;
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 11 WHERE tenant_id = :a AND revenue_cents = 10;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 6 WHERE tenant_id = :a AND model_version = 'batch' AND channel = 'y';
COMMIT;

--
-- Savepoints
--
-- Wrong inside, rolled back: right.
BEGIN;
SAVEPOINT s;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 1);
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- Right only with what was rolled back: wrong.
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 90);
SAVEPOINT s;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'tv', 9);
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- Released: counts.
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 90);
SAVEPOINT s;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'tv', 8);
RELEASE SAVEPOINT s;
COMMIT;
-- A check that passed inside a savepoint does not hold once that is rolled back ...
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 90);
SAVEPOINT s;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'tv', 9);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- ... also when the savepoint only made the sum right by deleting or updating ...
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 99), ('s1', 'tv', 1);
SAVEPOINT s;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :a AND model_version = 's1' AND channel = 'tv';
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- ... or by changing the event.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, '5a11da7e-0000-4000-8000-0000000000e4', 'conversion', '2024-03-01 12:00Z', 10);
BEGIN;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES ('5a11da7e-0000-4000-8000-0000000000e4', 's1', 'email', 90);
SAVEPOINT s;
UPDATE attribution.attribution_events SET revenue_cents = 90 WHERE tenant_id = :a AND id = '5a11da7e-0000-4000-8000-0000000000e4';
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- A check that failed inside a savepoint can be mended.
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'email', 90);
SAVEPOINT s;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s1', 'tv', 9);
COMMIT;
SELECT * FROM stored WHERE model_version = 's1';
-- Deep nesting.
BEGIN;
SAVEPOINT s1;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s2', 'email', 50);
SAVEPOINT s2;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s2', 'tv', 49);
SAVEPOINT s3;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s2', 'radio', 1);
ROLLBACK TO SAVEPOINT s3;
RELEASE SAVEPOINT s2;
RELEASE SAVEPOINT s1;
COMMIT;
SELECT * FROM stored WHERE model_version = 's2';
-- Exceptions in PL/pgSQL are savepoints.
DO $$
BEGIN
    INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s3', 'email', 90);
    BEGIN
        INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s3', 'tv', 9);
        SET CONSTRAINTS ALL IMMEDIATE;
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    SET CONSTRAINTS ALL DEFERRED;
END $$;
DO $$
BEGIN
    INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s3', 'email', 90);
    FOR i IN 1 .. 20 LOOP
        BEGIN
            INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('s3', 'tv', i);
            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;
            EXIT;
        EXCEPTION WHEN check_violation THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM stored WHERE model_version = 's3';

--
-- Checked early, and again
--
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'email', 50);
ROLLBACK;
BEGIN;
SET CONSTRAINTS attribution.allocation_sum_equals_revenue IMMEDIATE;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'email', 50), ('i1', 'tv', 49);
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 48 WHERE tenant_id = :a AND model_version = 'i1' AND channel = 'tv';
COMMIT;
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'email', 99);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'tv', 1);
COMMIT;
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'email', 99);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
UPDATE attribution.attribution_events SET revenue_cents = 98 WHERE tenant_id = :a AND id = :e1;
COMMIT;
BEGIN;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'email', 99);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('i1', 'tv', 1);
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 98 WHERE tenant_id = :a AND model_version = 'i1' AND channel = 'email';
COMMIT;
SELECT * FROM stored WHERE model_version = 'i1';

--
-- Triggers of the user: what they change is checked, whenever they do it
--
CREATE FUNCTION pg_temp.take_a_cent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.allocated_revenue_cents := NEW.allocated_revenue_cents - 1;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_before BEFORE INSERT ON attribution.attribution_allocations
    FOR EACH ROW WHEN (NEW.model_version = 't1') EXECUTE FUNCTION pg_temp.take_a_cent();
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t1', 'email', 99);
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t1', 'email', 100);
DROP TRIGGER regress_before ON attribution.attribution_allocations;
-- After, in the same statement; and deferred, with a name that fires after our check.
CREATE FUNCTION pg_temp.add_a_cent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1
        WHERE tenant_id = NEW.tenant_id AND id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER regress_after AFTER INSERT ON attribution.attribution_allocations
    FOR EACH ROW WHEN (NEW.model_version = 't2') EXECUTE FUNCTION pg_temp.add_a_cent();
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t2', 'email', 99);
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t2', 'email', 98);
DROP TRIGGER regress_after ON attribution.attribution_allocations;
CREATE CONSTRAINT TRIGGER zz_regress_deferred AFTER INSERT ON attribution.attribution_allocations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.model_version = 't3') EXECUTE FUNCTION pg_temp.add_a_cent();
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t3', 'email', 99);
DROP TRIGGER zz_regress_deferred ON attribution.attribution_allocations;
CREATE CONSTRAINT TRIGGER aa_regress_deferred AFTER INSERT ON attribution.attribution_allocations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.model_version = 't3') EXECUTE FUNCTION pg_temp.add_a_cent();
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t3', 'email', 98);
DROP TRIGGER aa_regress_deferred ON attribution.attribution_allocations;
-- A revenue that changes in an UPDATE that does not name it.
CREATE FUNCTION pg_temp.raise_revenue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revenue_cents := NEW.revenue_cents + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_before BEFORE UPDATE ON attribution.attribution_events
    FOR EACH ROW EXECUTE FUNCTION pg_temp.raise_revenue();
UPDATE attribution.attribution_events SET source = 'shop' WHERE tenant_id = :a AND id = :e1;
DROP TRIGGER regress_before ON attribution.attribution_events;
-- A row that a trigger turns away was never there.
CREATE FUNCTION pg_temp.turn_away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER regress_before BEFORE INSERT ON attribution.attribution_allocations
    FOR EACH ROW WHEN (NEW.channel = 'spam') EXECUTE FUNCTION pg_temp.turn_away();
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t4', 'spam', 1), ('t4', 'email', 99);
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t5', 'spam', 1), ('t5', 'email', 98);
DROP TRIGGER regress_before ON attribution.attribution_allocations;
SELECT * FROM stored WHERE model_version LIKE 't_';
-- Replication roles do not switch the check off.
SET session_replication_role = replica;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('t5', 'email', 98);
RESET session_replication_role;
-- TRUNCATE leaves no allocations, which is allowed; of the events it would leave orphans.
BEGIN;
TRUNCATE attribution.attribution_allocations;
ROLLBACK;

--
-- Plans are made anew when a table changes
--
BEGIN;
ALTER TABLE attribution.attribution_allocations ADD COLUMN regress_note text DEFAULT 'x';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e1, 'ddl', 'email', 99);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE attribution.attribution_allocations DROP COLUMN regress_note;
ALTER TABLE attribution.attribution_events RENAME TO regress_events;
ALTER TABLE attribution.attribution_allocations RENAME TO regress_allocations;
INSERT INTO attribution.regress_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e1, 'ddl', 'tv', 1);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('ddl', 'email', 98);
-- A search_path full of traps changes nothing.
BEGIN;
CREATE SCHEMA regress_trap;
CREATE FUNCTION regress_trap.sum(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 98::bigint';
CREATE FUNCTION regress_trap.abs(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric';
CREATE FUNCTION regress_trap.unequal(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_trap.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = regress_trap.unequal);
CREATE FUNCTION regress_trap.never(numeric, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_trap.> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_trap.never);
CREATE OPERATOR regress_trap.<> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_trap.never);
SET LOCAL search_path = regress_trap, pg_catalog;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:a, :e1, 'trap', 'email', 98);
COMMIT;

--
-- Who writes
--
CREATE ROLE regress_attribution_writer;
SELECT attribution.grant_access('regress_attribution_writer', 'writer');
GRANT ALL ON allocations TO regress_attribution_writer;
-- A writer may not lock events nor see them after switching the tenant: the check sees them for it.
BEGIN;
SET LOCAL ROLE regress_attribution_writer;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000b';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'w1', 'email', 55);
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000a';
COMMIT;
BEGIN;
SET LOCAL ROLE regress_attribution_writer;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000b';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'w1', 'email', 55);
SET LOCAL attribution.tenant_id = '';
COMMIT;
BEGIN;
SET LOCAL ROLE regress_attribution_writer;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000b';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'w1', 'email', 55);
RESET ROLE;
RESET attribution.tenant_id;
COMMIT;
BEGIN;
SET LOCAL ROLE regress_attribution_writer;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000b';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'w1', 'email', 55), (:b, :e1, 'w1', 'tv', 45);
SET LOCAL attribution.tenant_id = '';
COMMIT;
SELECT * FROM stored WHERE model_version = 'w1';
-- A key update of another tenant's row: not seen, not written.
BEGIN;
SET LOCAL ROLE regress_attribution_writer;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000a';
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 1 WHERE tenant_id = :b;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :b;
COMMIT;
SELECT * FROM stored WHERE tenant = 'b';
-- The owner of the tables, no superuser, under FORCE ROW LEVEL SECURITY.
CREATE ROLE regress_attribution_owner;
BEGIN;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_owner;
ALTER TABLE attribution.attribution_allocations OWNER TO regress_attribution_owner;
ALTER TABLE attribution.attribution_events OWNER TO regress_attribution_owner;
ALTER TABLE attribution.attribution_allocations FORCE ROW LEVEL SECURITY;
ALTER TABLE attribution.attribution_events FORCE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_attribution_owner;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000b';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'o1', 'email', 100);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:b, :e1, 'o1', 'tv', 55);
SET LOCAL attribution.tenant_id = '';
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;

--
-- The tolerance
--
SET ROLE regress_attribution_writer;
SET attribution.sum_tolerance_cents = 1;
RESET ROLE;
SHOW attribution.sum_tolerance_cents;
BEGIN;
SET LOCAL attribution.sum_tolerance_cents = 1;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('tol1', 'email', 98), ('tol2', 'email', 100);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT model_version, event_revenue_cents, allocated_cents, drift_cents FROM attribution.unbalanced_allocations(:a) ORDER BY model_version;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('tol1', 'tv', 3);
COMMIT;
-- It is the setting at COMMIT that counts.
BEGIN;
SET LOCAL attribution.sum_tolerance_cents = 1;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('tol1', 'email', 98);
SET LOCAL attribution.sum_tolerance_cents = 0;
COMMIT;

--
-- What the owner can bypass is found
--
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER allocation_sum_equals_revenue;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('off', 'email', 40);
INSERT INTO allocations (tenant_id, model_version, channel, allocated_revenue_cents) VALUES (:b, 'off', 'email', 200);
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER allocation_sum_equals_revenue;
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id IN (:a, :b);
SELECT * FROM attribution.unbalanced_allocations(:a);
SELECT * FROM attribution.unbalanced_allocations(:b, 'off');
SELECT * FROM attribution.unbalanced_allocations(:b, '1');
SELECT * FROM attribution.unbalanced_allocations(model_version => 'off') WHERE tenant_id IN (:a, :b);
-- Whatever touches such a row must make it right.
UPDATE attribution.attribution_allocations SET model_metadata = '{}' WHERE tenant_id = :a AND model_version = 'off';
DELETE FROM attribution.attribution_allocations WHERE model_version = 'off' AND tenant_id IN (:a, :b);
SELECT * FROM attribution.unbalanced_allocations() WHERE tenant_id IN (:a, :b);
-- An event that went past its foreign keys leaves allocations of nothing.
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM attribution.attribution_events WHERE tenant_id = :b AND id = :e1;
SET LOCAL session_replication_role = origin;
SELECT * FROM attribution.unbalanced_allocations(:b);
UPDATE attribution.attribution_allocations SET model_metadata = '{}' WHERE tenant_id = :b AND model_version = 'm1';
COMMIT;
--
-- The key of an event never changes: its allocations would become another event's
--
CALL pg_temp.attempt($$UPDATE attribution.attribution_events
    SET id = CASE id WHEN '5a11da7e-0000-4000-8000-0000000000e1'::uuid THEN '5a11da7e-0000-4000-8000-0000000000ff'::uuid
                     ELSE '5a11da7e-0000-4000-8000-0000000000e1'::uuid END
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000a'
      AND id IN ('5a11da7e-0000-4000-8000-0000000000e1', '5a11da7e-0000-4000-8000-0000000000e2')$$);

--
-- A key that was checked is checked again after every later command, noted or not: a trigger that
-- makes the checks early comes before the notes of its statement
--
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.eager() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    RETURN NULL;
END $$;
BEGIN;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES (:e1, 'early', 'email', 99), (:e2, 'early', 'email', 50);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
CREATE TRIGGER a_eager AFTER UPDATE ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION pg_temp.eager();
UPDATE attribution.attribution_allocations
SET allocated_revenue_cents = allocated_revenue_cents + CASE event_id WHEN :e2 THEN 777 ELSE 0 END
WHERE tenant_id = :a AND model_version = 'early';
COMMIT;
\set SHOW_CONTEXT errors

--
-- Tables of users that look like ours, and owners that differ
--
CREATE SCHEMA decoy;
-- Tables made before and after others: the one whose trigger sorts first is not always the same.
CREATE TABLE decoy.forecast (tenant_id uuid, event_id uuid, model_version text, channel text, allocated_revenue_cents bigint,
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id));
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET revenue_cents = 77
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND id = '5a11da7e-0000-4000-8000-0000000000e1'$$);
-- Our own foreign key made anew comes after the other's.
BEGIN;
ALTER TABLE attribution.attribution_allocations DROP CONSTRAINT attribution_allocations_event_fkey;
ALTER TABLE attribution.attribution_allocations ADD CONSTRAINT attribution_allocations_event_fkey
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id) ON DELETE CASCADE;
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET revenue_cents = 77
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND id = '5a11da7e-0000-4000-8000-0000000000e1'$$);
ROLLBACK;
DROP SCHEMA decoy CASCADE;
BEGIN;
CREATE ROLE regress_attribution_other;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_other;
ALTER TABLE attribution.attribution_events OWNER TO regress_attribution_other;
GRANT SELECT ON attribution.attribution_allocations TO regress_attribution_other;
INSERT INTO allocations (model_version, channel, allocated_revenue_cents) VALUES ('owners', 'email', 1);
COMMIT;

--
-- Refunds do not exceed their conversion
--
\set r '''5a11da7e-0000-4000-8000-00000000000c'''
\set c1 '''5a11da7e-0000-4000-8000-0000000000c1'''
\set c2 '''5a11da7e-0000-4000-8000-0000000000c2'''
\set c3 '''5a11da7e-0000-4000-8000-0000000000c3'''
\set t1 '''5a11da7e-0000-4000-8000-000000000070'''
\set r1 '''5a11da7e-0000-4000-8000-0000000000d1'''
\set r2 '''5a11da7e-0000-4000-8000-0000000000d2'''
\set r3 '''5a11da7e-0000-4000-8000-0000000000d3'''
INSERT INTO attribution.tenants (id, name) VALUES (:r, 'validate refunds');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, channel) VALUES
    (:r, :c1, 'conversion', '2024-03-01 12:00Z', 100, NULL),
    (:r, :c2, 'conversion', '2024-03-01 12:00Z', 50, NULL),
    (:r, :c3, 'conversion', '2024-03-01 12:00Z', 9223372036854775807, NULL),
    (:r, :t1, 'touch', '2024-03-01 12:00Z', 0, 'email');
CREATE VIEW pg_temp.refunds AS SELECT * FROM attribution.attribution_events;
ALTER VIEW pg_temp.refunds ALTER tenant_id SET DEFAULT '5a11da7e-0000-4000-8000-00000000000c';
ALTER VIEW pg_temp.refunds ALTER id SET DEFAULT attribution.uuid_v7();
ALTER VIEW pg_temp.refunds ALTER event_type SET DEFAULT 'refund';
ALTER VIEW pg_temp.refunds ALTER occurred_at SET DEFAULT '2024-03-02 12:00Z';
ALTER VIEW pg_temp.refunds ALTER refund_of SET DEFAULT '5a11da7e-0000-4000-8000-0000000000c1';
CREATE VIEW pg_temp.refunded AS
    SELECT right(c.id::text, 2) AS conversion, c.revenue_cents AS revenue,
           (SELECT -sum(r.revenue_cents) FROM attribution.attribution_events r WHERE r.tenant_id = c.tenant_id AND r.refund_of = c.id) AS refunded
    FROM attribution.attribution_events c
    WHERE c.tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND c.event_type = 'conversion' AND c.id < '5a11da7e-0000-4000-8001-000000000000'
    ORDER BY c.id;
-- At once, one after the other, and exactly.
INSERT INTO refunds (revenue_cents) VALUES (-101);
INSERT INTO refunds (revenue_cents) VALUES (-60), (-41);
INSERT INTO refunds (id, revenue_cents) VALUES (:r1, -60);
INSERT INTO refunds (revenue_cents) VALUES (-60);
INSERT INTO refunds (id, revenue_cents) VALUES (:r2, -40);
INSERT INTO refunds (revenue_cents) VALUES (-1);
SELECT * FROM refunded;
-- The revenue of a refund, and that of the conversion.
UPDATE attribution.attribution_events SET revenue_cents = -61 WHERE tenant_id = :r AND id = :r1;
UPDATE attribution.attribution_events SET revenue_cents = -50 WHERE tenant_id = :r AND id = :r1;
UPDATE attribution.attribution_events SET revenue_cents = 89 WHERE tenant_id = :r AND id = :c1;
UPDATE attribution.attribution_events SET revenue_cents = 90 WHERE tenant_id = :r AND id = :c1;
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 30 WHERE tenant_id = :r AND id = :c1;
UPDATE attribution.attribution_events SET revenue_cents = revenue_cents / 5 WHERE tenant_id = :r AND refund_of = :c1;
COMMIT;
SELECT * FROM refunded;
BEGIN;
INSERT INTO refunds (revenue_cents) VALUES (-100);
UPDATE attribution.attribution_events SET revenue_cents = 117 WHERE tenant_id = :r AND id = :c1;
COMMIT;
BEGIN;
INSERT INTO refunds (revenue_cents) VALUES (-100);
UPDATE attribution.attribution_events SET revenue_cents = 118 WHERE tenant_id = :r AND id = :c1;
COMMIT;
-- Other ways to write.
COPY attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000c	refund	2024-03-02 12:00Z	5a11da7e-0000-4000-8000-0000000000c2	-50
5a11da7e-0000-4000-8000-00000000000c	refund	2024-03-02 12:00Z	5a11da7e-0000-4000-8000-0000000000c2	-1
\.
-- In any order, the conversion last: as a restore does.
COPY attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000f2	refund	2024-03-02 12:00Z	5a11da7e-0000-4000-8000-0000000000f1	-50
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000f1	conversion	2024-03-01 12:00Z	\N	50
\.
MERGE INTO attribution.attribution_events AS t
USING (VALUES ('5a11da7e-0000-4000-8000-0000000000d1'::uuid, -11), ('5a11da7e-0000-4000-8000-0000000000d9', -1)) AS s (id, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND t.id = s.id
WHEN MATCHED THEN UPDATE SET revenue_cents = s.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000c', s.id, 'refund', '2024-03-02 12:00Z', '5a11da7e-0000-4000-8000-0000000000c1', s.cents);
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents)
VALUES (:r, :r1, 'refund', '2024-03-02 12:00Z', :c1, -1)
ON CONFLICT (tenant_id, id) DO UPDATE SET revenue_cents = -11;
-- Of several the first is told, in the order of tenant and conversion, with their number; they do not cancel out.
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c2, -51), (:c1, -1), (:c3, -1);
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c2, -51), (:c3, -1);
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c2, -20), (:c2, -30), (:c3, -1);
SELECT * FROM refunded;
-- Beyond bigint.
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c3, -9223372036854775808);
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c3, -9223372036854775808), (:c3, -9223372036854775808), (:c3, -9223372036854775808);
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c3, -9223372036854775806);
-- Only a conversion is refunded.
CALL pg_temp.attempt($$INSERT INTO refunds (refund_of, revenue_cents) VALUES ('5a11da7e-0000-4000-8000-000000000070', -1)$$);
CALL pg_temp.attempt($$INSERT INTO refunds (refund_of, revenue_cents) VALUES ('5a11da7e-0000-4000-8000-0000000000d1', -1)$$);
CALL pg_temp.attempt($$INSERT INTO refunds (id, refund_of, revenue_cents) VALUES ('5a11da7e-0000-4000-8000-0000000000d9', '5a11da7e-0000-4000-8000-0000000000d9', -1)$$);
-- What an event is, and what it refunds, never changes.
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET refund_of = '5a11da7e-0000-4000-8000-0000000000c3'
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND id = '5a11da7e-0000-4000-8000-0000000000d1'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET event_type = 'touch', channel = 'x', revenue_cents = 0
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND id = '5a11da7e-0000-4000-8000-0000000000c1'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET event_type = 'refund', refund_of = '5a11da7e-0000-4000-8000-0000000000c1', revenue_cents = -1
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND id = '5a11da7e-0000-4000-8000-000000000070'$$);
UPDATE attribution.attribution_events SET event_type = event_type, refund_of = refund_of, source = 'same' WHERE tenant_id = :r;
-- A conversion that goes and comes again in one statement keeps its refunds: with less revenue, as something else, as it was.
WITH gone AS (DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :c1 RETURNING *)
INSERT INTO refunds (id, event_type, refund_of, revenue_cents) SELECT id, event_type, NULL, revenue_cents - 1 FROM gone;
WITH gone AS (DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :c1 RETURNING *)
INSERT INTO refunds (id, event_type, refund_of, revenue_cents, channel) SELECT id, 'touch', NULL, 0, 'x' FROM gone;
WITH gone AS (DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :c1 RETURNING *)
INSERT INTO refunds (id, event_type, refund_of, revenue_cents) SELECT id, event_type, NULL, revenue_cents FROM gone;
-- Savepoints, and checks made early.
BEGIN;
SAVEPOINT s;
INSERT INTO refunds (revenue_cents) VALUES (-1);
ROLLBACK TO SAVEPOINT s;
COMMIT;
BEGIN;
INSERT INTO refunds (revenue_cents) VALUES (-1);
SAVEPOINT s;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :r1;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
BEGIN;
INSERT INTO refunds (revenue_cents) VALUES (-1);
SAVEPOINT s;
UPDATE attribution.attribution_events SET revenue_cents = 119 WHERE tenant_id = :r AND id = :c1;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
BEGIN;
SET CONSTRAINTS attribution.refunds_do_not_exceed_conversion IMMEDIATE;
INSERT INTO refunds (revenue_cents) VALUES (-1);
ROLLBACK;
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :r1;
INSERT INTO refunds (id, revenue_cents) VALUES (:r1, -10);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO refunds (revenue_cents) VALUES (-1);
COMMIT;
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :r1;
INSERT INTO refunds (id, revenue_cents) VALUES (:r1, -9);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO refunds (revenue_cents) VALUES (-1);
COMMIT;
SELECT * FROM refunded;
-- A trigger of the user, the role of a replica, the tolerance, a search_path full of traps.
CREATE FUNCTION pg_temp.take_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revenue_cents := NEW.revenue_cents - 50;
    RETURN NEW;
END $$;
CREATE TRIGGER regress_before BEFORE INSERT ON attribution.attribution_events
    FOR EACH ROW WHEN (NEW.event_type = 'refund') EXECUTE FUNCTION pg_temp.take_more();
INSERT INTO refunds (refund_of, revenue_cents) VALUES (:c2, -1);
DROP TRIGGER regress_before ON attribution.attribution_events;
SET session_replication_role = replica;
INSERT INTO refunds (revenue_cents) VALUES (-1);
INSERT INTO refunds (refund_of, revenue_cents) VALUES ('5a11da7e-0000-4000-8000-0000000000ff', -1);
RESET session_replication_role;
BEGIN;
SET LOCAL attribution.sum_tolerance_cents = 1;
INSERT INTO refunds (revenue_cents) VALUES (-1);
COMMIT;
BEGIN;
CREATE SCHEMA regress_trap;
CREATE FUNCTION regress_trap.never(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_trap.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = regress_trap.never);
CREATE FUNCTION regress_trap.never(numeric, integer) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_trap.< (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = regress_trap.never);
CREATE FUNCTION regress_trap.much(numeric, numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 1000::numeric';
CREATE OPERATOR regress_trap.+ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_trap.much);
SET LOCAL search_path = regress_trap, pg_catalog;
INSERT INTO pg_temp.refunds (revenue_cents) VALUES (-1);
COMMIT;
-- More conversions than a batch takes, one of them refunded too much.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
SELECT :r, ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, 'conversion', '2024-03-01 12:00Z', 10 FROM generate_series(1, 1100) AS i;
INSERT INTO refunds (refund_of, revenue_cents)
SELECT ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, CASE i WHEN 1050 THEN -6 ELSE -5 END
FROM generate_series(1, 1100) AS i, generate_series(1, 2);
INSERT INTO refunds (id, refund_of, revenue_cents)
SELECT ('5a11da7e-0000-4000-8002-' || lpad(i::text, 12, '0'))::uuid, ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, -5 FROM generate_series(1, 1100) AS i;
UPDATE attribution.attribution_events SET revenue_cents = 4 WHERE tenant_id = :r AND revenue_cents = 10 AND id > '5a11da7e-0000-4000-8001-000000001000';

--
-- No channel is below zero, refunds included
--
CREATE VIEW pg_temp.taken AS SELECT * FROM attribution.attribution_allocations;
ALTER VIEW pg_temp.taken ALTER tenant_id SET DEFAULT '5a11da7e-0000-4000-8000-00000000000c';
ALTER VIEW pg_temp.taken ALTER model_version SET DEFAULT '1';
ALTER VIEW pg_temp.taken ALTER id SET DEFAULT attribution.uuid_v7();
CREATE VIEW pg_temp.left_over AS
    SELECT right(coalesce(e.refund_of, e.id)::text, 2) AS conversion, a.model_version, a.channel, sum(a.allocated_revenue_cents) AS cents
    FROM attribution.attribution_allocations a JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
    WHERE a.tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND a.model_version <> 'batch'
    GROUP BY 1, 2, 3 ORDER BY 1, a.model_version COLLATE "C", a.channel COLLATE "C";
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND refund_of IN (:c1, :c2, :c3);
UPDATE attribution.attribution_events SET revenue_cents = 100 WHERE tenant_id = :r AND id IN (:c1, :c2);
INSERT INTO refunds (id, revenue_cents) VALUES (:r1, -30), (:r2, -30);
INSERT INTO refunds (id, refund_of, revenue_cents) VALUES (:r3, :c2, -100);
-- A conversion gives nothing negative, and a touch, which has no cents, none at all.
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:c1, 'email', 101), (:c1, 'tv', -1);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:t1, 'email', 1), (:t1, 'tv', -1);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:c1, 'email', 60), (:c1, 'tv', 40), (:t1, 'email', 0);
-- A refund takes from a channel at most what it has, one after the other; under another model version there may be nothing.
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r1, 'radio', -30);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r1, 'email', -40), (:r1, 'tv', 10), (:r2, 'email', -30);
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:r1, '2', 'email', -30);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r1, 'email', -30);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r2, 'email', -31), (:r2, 'tv', 1);
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r2, 'email', -30);
SELECT * FROM left_over;
-- The refund before its conversion, in one transaction and in one statement.
BEGIN;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:r1, '2', 'email', -30);
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:c1, '2', 'email', 100);
COMMIT;
BEGIN;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:r3, '2', 'email', -100);
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:c2, '2', 'tv', 100);
COMMIT;
COPY attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000d3	copy	email	-100
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000c2	copy	email	99
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000c2	copy	tv	1
\.
COPY attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) FROM stdin;
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000d3	copy	email	-99
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000d3	copy	tv	-1
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000c2	copy	email	99
5a11da7e-0000-4000-8000-00000000000c	5a11da7e-0000-4000-8000-0000000000c2	copy	tv	1
\.
-- UPDATE on either side, sums kept.
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 59 ELSE 41 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN -100 ELSE 0 END
WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :r3;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 61 ELSE 39 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 60 ELSE 40 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
BEGIN;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = -50
WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :r3;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 50
WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :c2;
COMMIT;
SELECT * FROM left_over;
-- ON CONFLICT and MERGE.
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
VALUES (:r, :r3, 'copy', 'email', -40), (:r, :r3, 'copy', 'radio', -10)
ON CONFLICT (tenant_id, event_id, model_version, channel) WHERE model_version IS NOT NULL
DO UPDATE SET allocated_revenue_cents = excluded.allocated_revenue_cents;
MERGE INTO attribution.attribution_allocations AS t
USING (VALUES ('email', -40), ('radio', -10)) AS s (channel, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND t.event_id = '5a11da7e-0000-4000-8000-0000000000d3' AND t.model_version = 'copy' AND t.channel = s.channel
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = s.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000c', '5a11da7e-0000-4000-8000-0000000000d3', 'copy', s.channel, s.cents);
-- DELETE: what a refund takes from stays; both go together.
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :c2;
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :c2;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = 'copy' AND event_id = :r3;
COMMIT;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = '2';
SELECT * FROM left_over;
-- A deleted refund gives back what it took ...
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id = :r2;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
-- ... and takes back what it gave, here 10 to email. Its allocations go by CASCADE.
BEGIN;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = '1' AND event_id IN (:r1, :r2);
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 20 ELSE 80 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
INSERT INTO taken (event_id, channel, allocated_revenue_cents) VALUES (:r1, 'email', 10), (:r1, 'tv', -40), (:r2, 'email', -30);
COMMIT;
SELECT * FROM left_over;
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND id = '5a11da7e-0000-4000-8000-0000000000d1'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND id = '5a11da7e-0000-4000-8000-0000000000d1';
    UPDATE attribution.attribution_allocations SET model_metadata = '{}' WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000c' AND event_id = '5a11da7e-0000-4000-8000-0000000000c1'$$);
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND id IN (:r1, :r2);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
BEGIN;
DELETE FROM attribution.attribution_events WHERE tenant_id = :r AND (id = :c1 OR refund_of = :c1);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
-- The revenue and the allocations of a conversion change together.
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :r AND id = :c1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 19 ELSE 80 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
COMMIT;
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = 99 WHERE tenant_id = :r AND id = :c1;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = CASE channel WHEN 'email' THEN 20 ELSE 79 END
WHERE tenant_id = :r AND model_version = '1' AND event_id = :c1;
COMMIT;
BEGIN;
UPDATE attribution.attribution_events SET revenue_cents = -31 WHERE tenant_id = :r AND id = :r2;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = -31 WHERE tenant_id = :r AND model_version = '1' AND event_id = :r2;
COMMIT;
-- Of several the first is told, in the order of tenant, conversion, model version and channel, with their number; a wrong sum comes first.
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:c2, '3', 'email', 101), (:c2, '3', 'tv', -1), (:r1, '4', 'tv', -20), (:r1, '4', 'email', -10), (:r1, '3', 'tv', -30);
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:c2, '3', 'email', 101), (:c2, '3', 'tv', -1), (:r1, '4', 'email', -10), (:r1, '4', 'tv', -19);
-- More refunds than a batch takes, one of them wrong.
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents)
SELECT ('5a11da7e-0000-4000-8001-' || lpad(i::text, 12, '0'))::uuid, 'batch', c, 5 FROM generate_series(1, 1100) AS i, unnest('{x, y}'::text[]) AS c;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents)
SELECT ('5a11da7e-0000-4000-8002-' || lpad(i::text, 12, '0'))::uuid, 'batch', CASE i WHEN 1050 THEN 'z' WHEN 1060 THEN 'y' ELSE 'x' END, -5 FROM generate_series(1, 1100) AS i;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents)
SELECT ('5a11da7e-0000-4000-8002-' || lpad(i::text, 12, '0'))::uuid, 'batch', 'x', -5 FROM generate_series(1, 1100) AS i;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = 'batch' AND event_id < '5a11da7e-0000-4000-8002-000000000000';
-- Savepoints.
BEGIN;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:r1, '5', 'email', -30);
SAVEPOINT s;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:c1, '5', 'email', 99);
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT s;
COMMIT;
BEGIN;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:c1, '5', 'email', 99), (:r1, '5', 'email', -30);
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = '5' AND event_id = :c1;
COMMIT;
BEGIN;
INSERT INTO taken (event_id, model_version, channel, allocated_revenue_cents) VALUES (:c1, '5', 'email', 99), (:r1, '5', 'email', -30);
SAVEPOINT s;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = '5' AND event_id = :c1;
ROLLBACK TO SAVEPOINT s;
COMMIT;
-- The role of a replica; TRUNCATE.
SET session_replication_role = replica;
DELETE FROM attribution.attribution_allocations WHERE tenant_id = :r AND model_version = '5' AND event_id = :c1;
RESET session_replication_role;
SELECT * FROM left_over;

--
-- Who refunds: a role that may only insert, and has switched the tenant before COMMIT
--
CREATE ROLE regress_attribution_inserter;
GRANT USAGE ON SCHEMA attribution TO regress_attribution_inserter;
GRANT INSERT ON attribution.attribution_events, attribution.attribution_allocations TO regress_attribution_inserter;
BEGIN;
SET LOCAL ROLE regress_attribution_inserter;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000c';
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) VALUES (:r, 'refund', '2024-03-03 12:00Z', :c1, -40);
SET LOCAL attribution.tenant_id = '';
COMMIT;
BEGIN;
SET LOCAL ROLE regress_attribution_inserter;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000c';
INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, refund_of, revenue_cents) VALUES (:r, 'refund', '2024-03-03 12:00Z', :c1, -39);
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000a';
COMMIT;
SELECT * FROM refunded WHERE conversion = 'c1';
BEGIN;
SET LOCAL ROLE regress_attribution_inserter;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000c';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:r, :r2, '5', 'email', -30), (:r, :r3, '5', 'email', -100);
SET LOCAL attribution.tenant_id = '';
COMMIT;
BEGIN;
SET LOCAL ROLE regress_attribution_inserter;
SET LOCAL attribution.tenant_id = '5a11da7e-0000-4000-8000-00000000000c';
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES (:r, :r2, '5', 'email', -30), (:r, :r3, '5', 'email', -100), (:r, :c2, '5', 'email', 100);
SET LOCAL attribution.tenant_id = '';
COMMIT;
SELECT * FROM left_over WHERE model_version = '5';
SELECT * FROM attribution.unbalanced_allocations(:r);
DROP OWNED BY regress_attribution_inserter;
DROP ROLE regress_attribution_inserter;
DROP VIEW left_over, taken, refunded, refunds;

--
-- Cursors, MERGE that deletes, transactions that PL/pgSQL ends, COMMIT AND CHAIN
--
\set e5 '''5a11da7e-0000-4000-8000-0000000000e5'''
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES (:a, :e5, 'conversion', '2024-03-01 12:00Z', 10);
INSERT INTO allocations (event_id, channel, allocated_revenue_cents) VALUES (:e5, 'email', 6), (:e5, 'tv', 4);
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e5 ORDER BY channel FOR UPDATE;
MOVE NEXT FROM c;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 5 WHERE CURRENT OF c;
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e5 ORDER BY channel FOR UPDATE;
MOVE NEXT FROM c;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 5 WHERE CURRENT OF c;
MOVE NEXT FROM c;
UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 5 WHERE CURRENT OF c;
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :e5 ORDER BY channel FOR UPDATE;
MOVE NEXT FROM c;
DELETE FROM attribution.attribution_allocations WHERE CURRENT OF c;
COMMIT;
SELECT * FROM stored WHERE event = 'e5';
MERGE INTO attribution.attribution_allocations AS t
USING (VALUES ('email', 5), ('tv', NULL), ('radio', 4)) AS s (channel, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND t.event_id = '5a11da7e-0000-4000-8000-0000000000e5' AND t.channel = s.channel
WHEN MATCHED AND s.cents IS NULL THEN DELETE
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = s.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000a', '5a11da7e-0000-4000-8000-0000000000e5', '1', s.channel, s.cents);
MERGE INTO attribution.attribution_allocations AS t
USING (VALUES ('email', 5), ('tv', NULL), ('radio', 5)) AS s (channel, cents)
ON t.tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND t.event_id = '5a11da7e-0000-4000-8000-0000000000e5' AND t.channel = s.channel
WHEN MATCHED AND s.cents IS NULL THEN DELETE
WHEN MATCHED THEN UPDATE SET allocated_revenue_cents = s.cents
WHEN NOT MATCHED THEN INSERT (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000a', '5a11da7e-0000-4000-8000-0000000000e5', '1', s.channel, s.cents);
SELECT * FROM stored WHERE event = 'e5';
\set SHOW_CONTEXT never
DO $$
BEGIN
    FOR cents IN 8 .. 10 LOOP
        INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents)
        VALUES ('5a11da7e-0000-4000-8000-0000000000e5', 'do' || cents, 'email', cents);
        COMMIT;
    END LOOP;
END $$;
DO $$
BEGIN
    FOR cents IN 10 .. 12 LOOP
        INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents)
        VALUES ('5a11da7e-0000-4000-8000-0000000000e5', 'do' || cents, 'email', cents);
        COMMIT;
    END LOOP;
END $$;
\set SHOW_CONTEXT errors
BEGIN;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES (:e5, 'chain', 'email', 10);
COMMIT AND CHAIN;
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES (:e5, 'chain', 'tv', 1);
COMMIT;
SELECT * FROM stored WHERE event = 'e5';
-- The key of an allocation, to which the channel belongs.
UPDATE attribution.attribution_allocations SET channel = 'sms' WHERE tenant_id = :a AND event_id = :e5 AND model_version = 'chain';
UPDATE attribution.attribution_allocations SET channel = 'email' WHERE tenant_id = :a AND event_id = :e5 AND model_version = 'chain';
-- Without the notes, which only save work, everything is checked when its row asks.
BEGIN;
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER allocation_change_is_noted;
CALL pg_temp.attempt($$INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES
    ('5a11da7e-0000-4000-8000-0000000000e5', 'n1', 'email', 10), ('5a11da7e-0000-4000-8000-0000000000e5', 'n2', 'email', 9)$$);
CALL pg_temp.attempt($$INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents) VALUES
    ('5a11da7e-0000-4000-8000-0000000000e5', 'n1', 'email', 10), ('5a11da7e-0000-4000-8000-0000000000e5', 'n2', 'email', 10)$$);
ROLLBACK;
-- One check for all rows of a key, also after a rollback to a savepoint: 40 rows are summed as often as 2 rows.
INSERT INTO allocations (event_id, model_version, channel, allocated_revenue_cents)
SELECT :e5, 'rows' || n, 'c' || i, 10 / n + CASE WHEN i = 1 THEN 10 % n ELSE 0 END FROM (VALUES (2), (40)) AS v (n), generate_series(1, n) AS i;
CREATE FUNCTION pg_temp.scans(version text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    before numeric := (SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index WHERE indrelid = 'attribution.attribution_allocations'::regclass);
BEGIN
    UPDATE attribution.attribution_allocations SET model_metadata = '{}'
    WHERE tenant_id = '5a11da7e-0000-4000-8000-00000000000a' AND event_id = '5a11da7e-0000-4000-8000-0000000000e5' AND model_version = version;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    RETURN (SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index WHERE indrelid = 'attribution.attribution_allocations'::regclass) - before;
END $$;
BEGIN;
SELECT pg_temp.scans('rows2') = pg_temp.scans('rows40') AS same, pg_temp.scans('rows40') > 0 AS any;
SAVEPOINT s;
SELECT pg_temp.scans('rows2') = pg_temp.scans('rows40') AS same;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.scans('rows2') > 0 AS any; -- and all that is open again
SELECT pg_temp.scans('rows2') = pg_temp.scans('rows40') AS same, pg_temp.scans('rows40') > 0 AS any;
COMMIT;

-- Null keys, which only the owner can make possible, and triggers in wrong places.
BEGIN;
ALTER TABLE attribution.attribution_allocations ALTER event_id DROP NOT NULL;
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000a', NULL, '1', 'tv', 1)$$);
ROLLBACK;
CREATE TABLE pg_temp.misused (id uuid, tenant_id uuid, event_id uuid, model_version text, channel text, updated_at integer);
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH STATEMENT EXECUTE FUNCTION attribution_internal.note_allocation_change();
INSERT INTO misused DEFAULT VALUES;
DROP TRIGGER misused ON misused;
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH ROW EXECUTE FUNCTION attribution_internal.note_event_revenue();
INSERT INTO misused DEFAULT VALUES;
DROP TRIGGER misused ON misused;
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH ROW EXECUTE FUNCTION attribution_internal.note_allocation_change();
INSERT INTO misused DEFAULT VALUES;
DROP TABLE misused;

-- The trigger functions are for triggers.
SELECT attribution_internal.check_allocation_sum();
SELECT attribution_internal.check_event_revenue();
SELECT attribution_internal.note_allocation_change();
SELECT attribution_internal.note_event_revenue();

DROP VIEW stored, allocations;
DROP OWNED BY regress_attribution_writer, regress_attribution_owner;
DROP ROLE regress_attribution_writer, regress_attribution_owner;
