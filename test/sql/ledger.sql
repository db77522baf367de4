-- ledger: allocations are posted once, and postings never change.
\set ECHO none
\getenv inputdir PG_ABS_SRCDIR
\set prelude :inputdir '/sql/include/prelude.sql'
\i :prelude
SET timezone = 'UTC';
\set a '''1ed6e200-0000-4000-8000-00000000000a'''
\set b '''1ed6e200-0000-4000-8000-00000000000b'''
\set e1 '''1ed6e200-0000-4000-8000-0000000000e1'''
\set e2 '''1ed6e200-0000-4000-8000-0000000000e2'''
\set e3 '''1ed6e200-0000-4000-8000-0000000000e3'''
\set r1 '''1ed6e200-0000-4000-8000-0000000000f1'''
INSERT INTO attribution.tenants (id, name) VALUES (:a, 'ledger a'), (:b, 'ledger b');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, refund_of, revenue_cents) VALUES
    (:a, :e1, 'conversion', '2024-03-01 00:00Z', NULL, 100),
    (:a, :e2, 'conversion', '2024-03-02 00:00Z', NULL, 50),
    (:a, :e3, 'conversion', '2024-03-03 00:00Z', NULL, 7),
    (:a, :r1, 'refund',     '2024-03-04 00:00Z', :e1, -40),
    (:b, :e1, 'conversion', '2024-03-01 00:00Z', NULL, 1000);
SELECT count(*) FROM attribution.allocate_event(:a, :e1, '1', '{email, tv}', '{3, 7}');
SELECT count(*) FROM attribution.allocate_event(:a, :e2, '1', '{email, tv}', '{1, 1}');
SELECT count(*) FROM attribution.allocate_event(:a, :e3, '1', '{tv}', '{1}');
SELECT count(*) FROM attribution.allocate_event(:a, :e2, '2', '{radio}', '{1}');
SELECT count(*) FROM attribution.allocate_event(:b, :e1, '1', '{email}', '{1}');
-- The refund was allocated with its conversion.
SELECT channel, allocated_revenue_cents FROM attribution.attribution_allocations WHERE tenant_id = :a AND event_id = :r1 ORDER BY channel;
CREATE VIEW pg_temp.postings AS
    SELECT right(l.tenant_id::text, 1) AS tenant, right(l.conversion_id::text, 2) AS conversion, right(a.event_id::text, 2) AS event,
           a.channel, l.revenue_cents AS cents, b.model_version, l.is_verified
    FROM attribution.revenue_ledger AS l
    JOIN attribution.ledger_books AS b ON b.tenant_id = l.tenant_id AND b.conversion_id = l.conversion_id
    LEFT JOIN attribution.attribution_allocations AS a ON a.tenant_id = l.tenant_id AND a.id = l.allocation_id
    WHERE l.tenant_id IN ('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-00000000000b')
    ORDER BY l.tenant_id, l.conversion_id, a.event_id, a.channel;

--
-- Posting
--
-- A time range is half open: from is in, to is out.
SELECT attribution.post_allocations(:a, '1', '2024-03-01 00:00Z', '2024-03-02 00:00Z');
SELECT * FROM postings;
SELECT attribution.post_allocations(:a, '1', '2024-03-01 00:00Z', '2024-03-02 00:00Z');
SELECT attribution.post_allocations(:a, '1', '2024-03-02 00:00:00.000001Z', '2024-03-03 00:00Z');
SELECT attribution.post_allocations(:a, '1', '2024-03-02 00:00Z', '2024-03-02 00:00Z');
SELECT attribution.post_allocations(:a, '1', '2024-03-04 00:00Z', '2024-03-01 00:00Z');
SELECT attribution.post_allocations(:a, '1', '-infinity', '2024-03-01 00:00Z');
-- NULL is no bound, on either side; what is posted already is left alone.
SELECT attribution.post_allocations(:a, '1', NULL, '2024-03-03 00:00Z');
SELECT attribution.post_allocations(:a, '1', '2024-03-03 00:00Z', NULL);
SELECT attribution.post_allocations(:a, '1');
SELECT * FROM postings;
-- The refund is in the book of its conversion; the other tenant's event of the same id was not touched.
SELECT right(conversion_id::text, 2) AS conversion, model_version FROM attribution.ledger_books WHERE tenant_id = :a ORDER BY 1;
SELECT attribution.post_allocations(:b, '1');
SELECT tenant, cents FROM postings WHERE tenant = 'b';
-- One book: a second model version of a posted conversion is refused, whatever the range.
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', '2')$$);
SELECT attribution.post_allocations(:a, '2', '2024-03-10 00:00Z');
-- Several at once: the first is told and counted; nothing of the others is posted.
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000e4', 'conversion', '2024-03-05 00:00Z', 4);
SELECT count(*) FROM attribution.allocate_event(:a, '1ed6e200-0000-4000-8000-0000000000e4', '2', '{radio}', '{1}');
SELECT count(*) FROM attribution.allocate_event(:a, :e1, '2', '{radio, tv}', '{1, 1}');
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', '2')$$);
SELECT attribution.post_allocations(:a, '2', '2024-03-05 00:00Z');
SELECT * FROM postings WHERE model_version = '2';

-- Arguments.
CALL pg_temp.attempt($$SELECT attribution.post_allocations(NULL, '1')$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', NULL)$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-0000000000ff', '1')$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', '3')$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000b', '2')$$);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', '')$$);
BEGIN READ ONLY;
SELECT attribution.post_allocations(:a, '1');
ROLLBACK;
-- A model that is defined and was never used posts nothing.
INSERT INTO attribution.attribution_models (tenant_id, model_version, method) VALUES (:b, '7', 'linear');
SELECT attribution.post_allocations(:b, '7');

--
-- Append-only
--
CREATE TEMP TABLE before AS SELECT * FROM attribution.revenue_ledger WHERE tenant_id = :a;
CALL pg_temp.attempt($$DELETE FROM attribution.revenue_ledger WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.ledger_books WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND conversion_id = '1ed6e200-0000-4000-8000-0000000000e3'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET revenue_cents = revenue_cents + 1 WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET conversion_id = '1ed6e200-0000-4000-8000-0000000000e3' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET allocation_id = NULL, reverses_id = id WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET posted_at = '2020-01-01' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET created_at = '2020-01-01' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET id = attribution.uuid_v7() WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.revenue_ledger SET tenant_id = '1ed6e200-0000-4000-8000-00000000000b' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND conversion_id = '1ed6e200-0000-4000-8000-0000000000e3'$$);
CALL pg_temp.attempt($$UPDATE attribution.ledger_books SET model_version = '9' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.ledger_books SET created_at = '2020-01-01' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$TRUNCATE attribution.revenue_ledger$$);
CALL pg_temp.attempt($$TRUNCATE attribution.ledger_books, attribution.revenue_ledger$$);
SET client_min_messages = warning;
CALL pg_temp.attempt($$TRUNCATE attribution.ledger_books CASCADE$$);
CALL pg_temp.attempt($$TRUNCATE attribution.attribution_allocations CASCADE$$);
CALL pg_temp.attempt($$TRUNCATE attribution.attribution_events CASCADE$$);
CALL pg_temp.attempt($$TRUNCATE attribution.tenants CASCADE$$);
CALL pg_temp.attempt($$TRUNCATE attribution.currencies CASCADE$$);
RESET client_min_messages;
CALL pg_temp.attempt($$INSERT INTO attribution.revenue_ledger SELECT * FROM before ON CONFLICT (tenant_id, id) DO UPDATE SET revenue_cents = 0$$);
CALL pg_temp.attempt($$MERGE INTO attribution.revenue_ledger AS l USING before AS b ON l.tenant_id = b.tenant_id AND l.id = b.id WHEN MATCHED THEN DELETE$$);
-- Neither through what the rows refer to ...
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_allocations WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND event_id = '1ed6e200-0000-4000-8000-0000000000e3'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_events WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND id = '1ed6e200-0000-4000-8000-0000000000e3'$$);
-- ... nor as a replica.
SET session_replication_role = replica;
CALL pg_temp.attempt($$DELETE FROM attribution.revenue_ledger WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$UPDATE attribution.ledger_books SET model_version = '9' WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a'$$);
CALL pg_temp.attempt($$TRUNCATE attribution.revenue_ledger$$);
RESET session_replication_role;
-- Nothing of that left a trace.
(SELECT * FROM before EXCEPT ALL SELECT * FROM attribution.revenue_ledger WHERE tenant_id = :a)
UNION ALL
(SELECT * FROM attribution.revenue_ledger WHERE tenant_id = :a EXCEPT ALL SELECT * FROM before);
-- Verification may be written, and taken back.
BEGIN;
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = '2024-04-01 00:00Z' WHERE tenant_id = :b RETURNING is_verified, verified_at;
UPDATE attribution.revenue_ledger SET is_verified = false, verified_at = NULL WHERE tenant_id = :b RETURNING is_verified, verified_at;
ROLLBACK;
-- A correction is a reversing entry.
BEGIN;
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
SELECT tenant_id, conversion_id, id, -revenue_cents FROM attribution.revenue_ledger WHERE tenant_id = :b AND reverses_id IS NULL
RETURNING revenue_cents, allocation_id;
SELECT sum(revenue_cents) FROM attribution.revenue_ledger WHERE tenant_id = :b;
ROLLBACK;

--
-- A row is what it says: the database compares it with its allocation, its event and its book
--
BEGIN;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d1', 'conversion', '2024-03-07 00:00Z', 70),
    (:a, '1ed6e200-0000-4000-8000-0000000000d2', 'conversion', '2024-03-07 00:00Z', 80);
INSERT INTO attribution.attribution_allocations (tenant_id, id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-00000000aa11', '1ed6e200-0000-4000-8000-0000000000d1', 'm1', 'tv', 70),
    (:a, '1ed6e200-0000-4000-8000-00000000aa12', '1ed6e200-0000-4000-8000-0000000000d1', 'm2', 'tv', 70),
    (:a, '1ed6e200-0000-4000-8000-00000000aa21', '1ed6e200-0000-4000-8000-0000000000d2', 'm1', 'tv', 80);
INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d1', 'm1'), (:a, '1ed6e200-0000-4000-8000-0000000000d2', 'm1');
CREATE FUNCTION pg_temp.book(conversion text, allocation text, cents bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO attribution.revenue_ledger (tenant_id, id, conversion_id, allocation_id, revenue_cents)
    VALUES ('1ed6e200-0000-4000-8000-00000000000a', ('1ed6e200-0000-4000-8000-0000000b' || allocation)::uuid, ('1ed6e200-0000-4000-8000-0000000000' || conversion)::uuid,
            ('1ed6e200-0000-4000-8000-00000000' || allocation)::uuid, cents)
$$;
CREATE FUNCTION pg_temp.take_back(conversion text, posting text, cents bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO attribution.revenue_ledger (tenant_id, id, conversion_id, reverses_id, revenue_cents)
    VALUES ('1ed6e200-0000-4000-8000-00000000000a', ('1ed6e200-0000-4000-8000-0000000c' || posting)::uuid, ('1ed6e200-0000-4000-8000-0000000000' || conversion)::uuid,
            ('1ed6e200-0000-4000-8000-0000000b' || posting)::uuid, cents)
$$;
CALL pg_temp.attempt($$SELECT pg_temp.book('d1', 'aa11', 71)$$);
CALL pg_temp.attempt($$SELECT pg_temp.book('d2', 'aa11', 70)$$);
CALL pg_temp.attempt($$SELECT pg_temp.book('d1', 'aa12', 70)$$);
CALL pg_temp.attempt($$SELECT pg_temp.book('d1', 'aa21', 80)$$);
CALL pg_temp.attempt($$SELECT pg_temp.book('d1', 'aa11', 70)$$);
CALL pg_temp.attempt($$SELECT pg_temp.book('d2', 'aa21', 80)$$);
CALL pg_temp.attempt($$SELECT pg_temp.take_back('d1', 'aa11', 70)$$);
CALL pg_temp.attempt($$SELECT pg_temp.take_back('d2', 'aa11', -70)$$);
CALL pg_temp.attempt($$SELECT pg_temp.take_back('d1', 'aa11', -70)$$);
CALL pg_temp.attempt($$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents)
    VALUES ('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-0000000000d1', '1ed6e200-0000-4000-8000-0000000caa11', 70)$$);
-- Nor does post_allocations() trust a row that a trigger of the user has changed on its way.
SAVEPOINT before_trigger;
CREATE FUNCTION pg_temp.double() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.revenue_cents := 2 * NEW.revenue_cents; RETURN NEW; END $$;
CREATE TRIGGER a_double BEFORE INSERT ON attribution.revenue_ledger FOR EACH ROW EXECUTE FUNCTION pg_temp.double();
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d3', 'conversion', '2024-03-07 00:00Z', 90);
INSERT INTO attribution.attribution_allocations (tenant_id, id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-00000000aa31', '1ed6e200-0000-4000-8000-0000000000d3', 'm3', 'tv', 90);
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', 'm3')$$);
SELECT count(*) AS posted FROM attribution.revenue_ledger WHERE tenant_id = :a AND conversion_id = '1ed6e200-0000-4000-8000-0000000000d3';
ROLLBACK TO before_trigger;
SET session_replication_role = replica;
CALL pg_temp.attempt($$INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id, revenue_cents)
    VALUES ('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-0000000000d1', '1ed6e200-0000-4000-8000-00000000aa12', 70)$$);
RESET session_replication_role;
-- reverse_posting(): once, and it says what it cannot do.
SELECT attribution.reverse_posting(:a, '1ed6e200-0000-4000-8000-0000000baa21') = attribution.reverse_posting(:a, '1ed6e200-0000-4000-8000-0000000baa21') AS the_same;
SELECT attribution.reverse_posting(:a, '1ed6e200-0000-4000-8000-0000000baa11') AS by_hand_before;
SELECT sum(revenue_cents), count(*) FROM attribution.revenue_ledger WHERE tenant_id = :a AND conversion_id IN ('1ed6e200-0000-4000-8000-0000000000d1', '1ed6e200-0000-4000-8000-0000000000d2');
CALL pg_temp.attempt($$SELECT attribution.reverse_posting('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-0000000caa11')$$);
CALL pg_temp.attempt($$SELECT attribution.reverse_posting('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-0000000000ff')$$);
CALL pg_temp.attempt($$SELECT attribution.reverse_posting('1ed6e200-0000-4000-8000-00000000000b', '1ed6e200-0000-4000-8000-0000000baa11')$$);
CALL pg_temp.attempt($$SELECT attribution.reverse_posting(NULL, '1ed6e200-0000-4000-8000-0000000baa11')$$);
CALL pg_temp.attempt($$SELECT attribution.reverse_posting('1ed6e200-0000-4000-8000-00000000000a', NULL)$$);
ROLLBACK;

--
-- post_allocations holds what its rows refer to, and leaves those checks out; not what somebody else has to say
--
CREATE FUNCTION pg_temp.books_read() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'attribution.ledger_books'::regclass
$$;
BEGIN;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d3', 'conversion', '2024-03-08 00:00Z', 90);
SELECT count(*) FROM attribution.allocate_event(:a, '1ed6e200-0000-4000-8000-0000000000d3', 'm3', '{email, tv}', '{1, 2}');
SAVEPOINT allocated;
SELECT pg_temp.books_read() AS before \gset
SELECT attribution.post_allocations(:a, 'm3');
SELECT pg_temp.books_read() - :before AS books_read;
-- A trigger of the user's, which may do anything.
ROLLBACK TO allocated;
CREATE FUNCTION public.regress_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER regress_look BEFORE INSERT ON attribution.revenue_ledger FOR EACH ROW EXECUTE FUNCTION public.regress_look();
SELECT pg_temp.books_read() AS before \gset
SELECT attribution.post_allocations(:a, 'm3');
SELECT pg_temp.books_read() - :before > 0 AS keys_are_checked;
ROLLBACK TO allocated;
CREATE FUNCTION public.regress_spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 90 - allocated_revenue_cents
    WHERE tenant_id = NEW.tenant_id AND model_version = NEW.model_version;
    RETURN NULL;
END $$;
CREATE TRIGGER regress_spoil AFTER INSERT ON attribution.ledger_books FOR EACH ROW EXECUTE FUNCTION public.regress_spoil();
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', 'm3')$$);
ROLLBACK TO allocated;
CREATE FUNCTION public.regress_turn_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER regress_turn_away BEFORE INSERT ON attribution.ledger_books FOR EACH ROW EXECUTE FUNCTION public.regress_turn_away();
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', 'm3')$$);
-- A foreign key of the user's.
ROLLBACK TO allocated;
CREATE TABLE public.regress_known (id uuid PRIMARY KEY);
ALTER TABLE attribution.revenue_ledger ADD CONSTRAINT regress_known_fkey FOREIGN KEY (tenant_id) REFERENCES public.regress_known NOT VALID;
CALL pg_temp.attempt($$SELECT attribution.post_allocations('1ed6e200-0000-4000-8000-00000000000a', 'm3')$$);
ROLLBACK;

--
-- A column of another type is an error that names it
--
BEGIN;
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d4', 'conversion', '2024-03-08 00:00Z', 90);
INSERT INTO attribution.attribution_allocations (tenant_id, id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-00000000aa41', '1ed6e200-0000-4000-8000-0000000000d4', 'm4', 'tv', 90);
INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES (:a, '1ed6e200-0000-4000-8000-0000000000d4', 'm4');
SET CONSTRAINTS ALL IMMEDIATE;
CREATE FUNCTION pg_temp.post_to(ledger regclass, cents bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('INSERT INTO %s (tenant_id, id, conversion_id, allocation_id, revenue_cents) VALUES ($1, $2, $3, $4, $5)', ledger)
    USING '1ed6e200-0000-4000-8000-00000000000a'::uuid, '1ed6e200-0000-4000-8000-0000000baa41'::uuid,
          '1ed6e200-0000-4000-8000-0000000000d4'::uuid, '1ed6e200-0000-4000-8000-00000000aa41'::uuid, cents;
END $$;
SAVEPOINT allocated;
DROP VIEW pg_temp.postings;
ALTER TABLE attribution.ledger_books ALTER COLUMN model_version TYPE bytea USING model_version::bytea;
CALL pg_temp.attempt($$SELECT pg_temp.post_to('attribution.revenue_ledger', 90)$$);
ROLLBACK TO allocated;
-- Views keep an owner from altering the cents of the ledger; not those of a shard of it, which has another name.
CREATE TABLE public.regress_shard (LIKE attribution.revenue_ledger INCLUDING ALL,
    FOREIGN KEY (tenant_id, conversion_id) REFERENCES attribution.ledger_books,
    FOREIGN KEY (tenant_id, allocation_id) REFERENCES attribution.attribution_allocations (tenant_id, id));
CREATE TRIGGER posting_matches_allocation AFTER INSERT ON public.regress_shard FOR EACH ROW EXECUTE FUNCTION attribution_internal.check_posting();
CALL pg_temp.attempt($$SELECT pg_temp.post_to('public.regress_shard', 91)$$);
CALL pg_temp.attempt($$SELECT pg_temp.post_to('attribution.revenue_ledger', 91)$$);
CALL pg_temp.attempt($$SELECT pg_temp.post_to('public.regress_shard', 90)$$);
DELETE FROM public.regress_shard;
ALTER TABLE public.regress_shard ALTER COLUMN revenue_cents TYPE numeric;
CALL pg_temp.attempt($$SELECT pg_temp.post_to('public.regress_shard', 90)$$);
ALTER TABLE public.regress_shard ALTER COLUMN revenue_cents TYPE bigint;
ALTER TABLE public.regress_shard DROP COLUMN reverses_id CASCADE;
CALL pg_temp.attempt($$SELECT pg_temp.post_to('public.regress_shard', 90)$$);
ALTER TABLE public.regress_shard ADD COLUMN reverses_id uuid;
CALL pg_temp.attempt($$SELECT pg_temp.post_to('public.regress_shard', 90)$$);
CALL pg_temp.attempt($$SELECT pg_temp.post_to('attribution.revenue_ledger', 90)$$);
-- A trigger of the user's may suppress a reversing entry: then there is none to return.
CREATE FUNCTION pg_temp.suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER a_suppress BEFORE INSERT ON attribution.revenue_ledger FOR EACH ROW EXECUTE FUNCTION pg_temp.suppress();
CALL pg_temp.attempt($$SELECT attribution.reverse_posting('1ed6e200-0000-4000-8000-00000000000a', '1ed6e200-0000-4000-8000-0000000baa41')$$);
ROLLBACK;

--
-- channel_performance
--
SELECT * FROM attribution.channel_performance(:a, '1');
SELECT * FROM attribution.channel_performance(:a, '2');
SELECT * FROM attribution.channel_performance(:a, '1', '2024-03-02 00:00Z', '2024-03-04 00:00Z');
SELECT * FROM attribution.channel_performance(:a, '1', '2024-03-04 00:00Z');
SELECT * FROM attribution.channel_performance(:b, '1');
SELECT * FROM attribution.channel_performance(:a, 'none');
SELECT * FROM attribution.channel_performance(NULL, '1');

--
-- A posted allocation is frozen, and with it the revenue of its event
--
CALL pg_temp.attempt($$UPDATE attribution.attribution_allocations SET model_metadata = '{}'
    WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND model_version = '1'
      AND event_id = '1ed6e200-0000-4000-8000-0000000000e1'$$);
CALL pg_temp.attempt($$DELETE FROM attribution.attribution_allocations
    WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND model_version = '1'
      AND event_id = '1ed6e200-0000-4000-8000-0000000000e1' AND channel = 'tv'$$);
CALL pg_temp.attempt($$UPDATE attribution.attribution_events SET revenue_cents = revenue_cents + 1
    WHERE tenant_id = '1ed6e200-0000-4000-8000-00000000000a' AND id = '1ed6e200-0000-4000-8000-0000000000e1'$$);

--
-- A touch has no revenue and no book, though a writer may allocate its nothing
--
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, channel) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d1', 'touch', '2024-02-01 00:00Z', 'tv');
INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000d1', '1', 'tv', 0);
SELECT attribution.post_allocations(:a, '1') AS whole, attribution.post_allocations(:a, '1', '2024-01-01Z', '2024-03-01Z') AS bounded;

--
-- Who posts: post_allocations runs as the owner of the tables, for the caller's tenant only
--
CREATE ROLE regress_attribution_poster;
SELECT attribution.grant_access('regress_attribution_poster', 'writer');
INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents) VALUES
    (:a, '1ed6e200-0000-4000-8000-0000000000e5', 'conversion', '2024-03-06 00:00Z', 5),
    (:b, '1ed6e200-0000-4000-8000-0000000000e5', 'conversion', '2024-03-06 00:00Z', 6);
SELECT count(*) FROM attribution.allocate_event(:a, '1ed6e200-0000-4000-8000-0000000000e5', '1', '{tv}', '{1}');
SELECT count(*) FROM attribution.allocate_event(:b, '1ed6e200-0000-4000-8000-0000000000e5', '1', '{tv}', '{1}');
SET ROLE regress_attribution_poster;
SELECT attribution.post_allocations(:a, '1');
SET attribution.tenant_id = '1ed6e200-0000-4000-8000-00000000000a';
SELECT attribution.post_allocations(:b, '1');
SELECT attribution.post_allocations(:a, '1');
INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, revenue_cents) SELECT tenant_id, conversion_id, id, 0 FROM attribution.revenue_ledger;
UPDATE attribution.revenue_ledger SET is_verified = true, verified_at = now();
INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) VALUES (:a, :e1, '2');
RESET ROLE;
RESET attribution.tenant_id;
SELECT tenant, conversion, cents FROM postings WHERE conversion = 'e5';
DROP VIEW postings;
DROP OWNED BY regress_attribution_poster;
DROP ROLE regress_attribution_poster;
