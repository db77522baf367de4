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

-- Null keys, which only the owner can make possible, and triggers in wrong places.
BEGIN;
ALTER TABLE attribution.attribution_allocations ALTER event_id DROP NOT NULL;
CALL pg_temp.attempt($$INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    VALUES ('5a11da7e-0000-4000-8000-00000000000a', NULL, '1', 'tv', 1)$$);
ROLLBACK;
CREATE TABLE pg_temp.misused (id uuid, tenant_id uuid, event_id uuid, model_version text, channel text, updated_at integer);
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH STATEMENT EXECUTE FUNCTION attribution.note_allocation_change();
INSERT INTO misused DEFAULT VALUES;
DROP TRIGGER misused ON misused;
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH ROW EXECUTE FUNCTION attribution.note_event_revenue();
INSERT INTO misused DEFAULT VALUES;
DROP TRIGGER misused ON misused;
CREATE TRIGGER misused AFTER INSERT ON misused FOR EACH ROW EXECUTE FUNCTION attribution.note_allocation_change();
INSERT INTO misused DEFAULT VALUES;
DROP TABLE misused;

-- The trigger functions are for triggers.
SELECT attribution.check_allocation_sum();
SELECT attribution.check_event_revenue();
SELECT attribution.note_allocation_change();
SELECT attribution.note_event_revenue();

DROP VIEW stored, allocations;
DROP OWNED BY regress_attribution_writer, regress_attribution_owner;
DROP ROLE regress_attribution_writer, regress_attribution_owner;
