-- A database worth a backup: rows in every table, some of them in an order that a careless restore stumbles over, the
-- largest amounts, rights of roles, and objects of the owner on the tables of the extension.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE ROLE backup_reader;
CREATE ROLE backup_writer;
CREATE ROLE "backup's ""bound""" LOGIN;

INSERT INTO attribution.currencies (code, decimals) VALUES ('XTS', 3), ('XXX', 0);
INSERT INTO attribution.tenants (id, name, currency) VALUES
    ('aaaaaaaa-0000-4000-8000-000000000000', E'quotes '' " \\ and\nlines', 'USD'),
    ('bbbbbbbb-0000-4000-8000-000000000000', 'Ünïcode 漢字', 'JPY'),
    ('cccccccc-0000-4000-8000-000000000000', 'own currency', 'XTS');

-- 200 journeys of each tenant, and a refund of every tenth sale.
SELECT count(attribution.ingest_event(t.id, 'web', 'touch', '2026-01-01Z'::timestamptz + n * interval '1 hour',
    session_id => ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, channel => (ARRAY['email', 'paid search', 'direct'])[n % 3 + 1]))
FROM attribution.tenants t, generate_series(1, 200) AS n;
SELECT count(attribution.ingest_event(t.id, 'shopify', 'conversion', '2026-01-02Z'::timestamptz + n * interval '1 hour', n * 97 + 1,
    'shopify:order:' || n, CASE WHEN n % 2 = 0 THEN 'pi_' || n END, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    raw_payload => jsonb_build_object('id', n, 'note', E'tab\t newline\n \\ "ü"')))
FROM attribution.tenants t, generate_series(1, 200) AS n;
SELECT count(attribution.ingest_event(t.id, 'stripe', 'conversion', '2026-02-01Z', 9223372036854775807, NULL, 'pi_max')) FROM attribution.tenants t;
SELECT count(attribution.ingest_event(e.tenant_id, 'shopify', 'refund', e.occurred_at + interval '1 day', -e.revenue_cents,
    coalesce(e.external_event_id, e.correlation_id) || ':refund', refund_of => e.id))
FROM attribution.attribution_events e WHERE e.event_type = 'conversion' AND (e.revenue_cents % 10 = 0 OR e.correlation_id = 'pi_max');

-- Allocations by weights of the caller under two model versions, refunds by what is left, and in bulk by a model.
SELECT count(*) FROM attribution.attribution_events e,
    (VALUES ('1.0.0', ARRAY[1, 1, 1, 1, 1]), ('2.0.0', ARRAY[0.4, 0.2, 0, 0.2, 0.2])) AS m (version, weights),
    attribution.allocate_event(e.tenant_id, e.id, m.version, ARRAY['email', 'paid search', 'social', 'direct', 'affiliate'], m.weights) a
WHERE e.event_type = 'conversion';
SELECT count(*) FROM attribution.attribution_events e, attribution.allocate_event(e.tenant_id, e.id, '1.0.0') a
WHERE e.event_type = 'refund' AND e.revenue_cents % 20 = 0 OR e.event_type = 'refund' AND e.revenue_cents = -9223372036854775807;
SELECT attribution.define_model(id, 'linear', 'linear', '{"lookback_days": 7, "exclude_channels": ["direct"]}') FROM attribution.tenants;
-- One event of the run cannot be allocated, which is kept in allocation_failures.
CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.model_version = 'linear' AND NEW.allocated_revenue_cents = 9701 THEN
        RAISE EXCEPTION 'not this one' USING HINT = 'some hint';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER spoil BEFORE INSERT ON attribution.attribution_allocations FOR EACH ROW EXECUTE FUNCTION public.spoil();
CALL attribution.allocate_events('aaaaaaaa-0000-4000-8000-000000000000', 'linear');
DROP TRIGGER spoil ON attribution.attribution_allocations;
DROP FUNCTION public.spoil();

-- The ledger: posted, reversed, settled and verified.
SELECT attribution.post_allocations(id, '1.0.0', NULL, '2026-02-10Z') FROM attribution.tenants;
SELECT attribution.reverse_posting(tenant_id, id) FROM (SELECT DISTINCT ON (tenant_id) * FROM attribution.revenue_ledger ORDER BY tenant_id, posted_at, id) l;
SELECT jsonb_agg(jsonb_build_object('key', 'shopify:order:' || n, 'amount_cents', n * 97 + 1 + (n % 50 = 0)::int)) AS settlements
FROM generate_series(1, 150) AS n \gset
CALL attribution.reconcile('aaaaaaaa-0000-4000-8000-000000000000', :'settlements');
INSERT INTO attribution.reconciliation_runs (tenant_id, state, last_run_at, error_message, run_metadata)
SELECT t.id, s.state, s.at, s.error, '{"rows": 1}' FROM attribution.tenants t, (VALUES
    ('idle', '2026-03-01Z'::timestamptz, NULL), ('failed', '2026-03-03Z', 'no answer'), ('running', '2026-03-03Z', NULL)) AS s (state, at, error);
INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id)
SELECT e.tenant_id, 'alias of ' || e.external_event_id, e.id FROM attribution.attribution_events e WHERE e.event_type = 'refund' AND e.external_event_id IS NOT NULL;

-- Deliveries that waited, were retried, and were given up.
SELECT count(attribution.ingest_webhook(t.id, 'paypal', 'PAYMENT.CAPTURE.COMPLETED', jsonb_build_object('id', 'WH-' || n, 'note', E'\n\t'), '{"x": "y"}'))
FROM attribution.tenants t, generate_series(1, 5) AS n;
SELECT count(attribution.ingest_webhook_text(t.id, 'shopify', 'orders/paid', E'no json \\ at all\n')) FROM attribution.tenants t;
SELECT attribution.retry_dead_events('aaaaaaaa-0000-4000-8000-000000000000', ignore_backoff => true);
SELECT attribution.discard_dead_events('bbbbbbbb-0000-4000-8000-000000000000', limit_rows => 2, note => 'of no use');

SELECT attribution.grant_access('backup_reader', 'reader'), attribution.grant_access('backup_writer', 'writer'), attribution.grant_access('backup''s "bound"', 'operator'),
       attribution.bind_tenant('backup''s "bound"', 'aaaaaaaa-0000-4000-8000-000000000000');

-- What is updated moves behind what refers to it: refunds now come before their conversions, reversing entries before
-- what they reverse.
UPDATE attribution.attribution_events SET source = 'shop' WHERE event_type = 'conversion';
UPDATE attribution.revenue_ledger l SET is_verified = true, verified_at = '2026-03-02Z', reconciliation_run_id = r.id
FROM attribution.reconciliation_runs r WHERE r.tenant_id = l.tenant_id AND r.state = 'idle' AND l.allocation_id IS NOT NULL AND NOT l.is_verified;

-- The owner's own: columns with data, an index with its plan, a trigger, a CHECK, a policy, a publication, statistics,
-- storage parameters, a replica identity, comments, a view, and tables and views elsewhere that refer to ours.
ALTER TABLE attribution.attribution_events ADD COLUMN dba_note text DEFAULT 'of the owner';
ALTER TABLE attribution.attribution_allocations ADD COLUMN "Dba Rank" integer NOT NULL DEFAULT 7;
ALTER TABLE attribution.revenue_ledger ADD COLUMN dba_at timestamptz DEFAULT '2026-05-05Z';
ALTER TABLE attribution.tenants ADD COLUMN dba_tags text[] NOT NULL DEFAULT '{"a b"}';
ALTER TABLE attribution.dead_events ADD COLUMN dba_size integer GENERATED ALWAYS AS (length(error_code)) STORED;
UPDATE attribution.attribution_events SET dba_note = E'note\t' || id WHERE event_type = 'touch';
ALTER TABLE attribution.attribution_events ADD CONSTRAINT dba_note_is_short CHECK (length(dba_note) < 100 AND (revenue_cents BETWEEN -9223372036854775807 AND 9223372036854775807));
CREATE INDEX dba_note ON attribution.attribution_events (tenant_id, lower(dba_note)) WHERE dba_note <> 'of the owner';
CREATE INDEX of_mine ON attribution.tenants (updated_at);
COMMENT ON INDEX attribution.of_mine IS 'of mine';
INSERT INTO attribution.index_plan (index_name, relation, state, serves, target_p95_ms, definition, query_path, answer, parameters, sample_query, justification)
VALUES ('of_mine', 'tenants', 'active', 'query', 50, 'CREATE INDEX of_mine ON attribution.tenants USING btree (updated_at)', 'tenants that changed', 'page',
        '{updated_since timestamptz}', 'SELECT t.id FROM attribution.tenants t WHERE t.updated_at >= $1 ORDER BY t.updated_at LIMIT 50', 'one of mine');
CREATE TABLE public.journal (tenant_id uuid, event_id uuid, what text);
CREATE FUNCTION public.write_journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.source = 'journal' THEN
        INSERT INTO public.journal VALUES (NEW.tenant_id, NEW.id, TG_NAME);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER dba_journal AFTER INSERT ON attribution.attribution_events FOR EACH ROW EXECUTE FUNCTION public.write_journal();
CREATE TRIGGER dba_journal_off AFTER UPDATE ON attribution.attribution_events FOR EACH ROW EXECUTE FUNCTION public.write_journal();
ALTER TABLE attribution.attribution_events DISABLE TRIGGER dba_journal_off;
CREATE TRIGGER dba_journal_always AFTER INSERT ON attribution.attribution_events FOR EACH ROW EXECUTE FUNCTION public.write_journal();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER dba_journal_always;
COMMENT ON TRIGGER dba_journal ON attribution.attribution_events IS 'of mine';
CREATE POLICY dba_policy ON attribution.dead_events AS RESTRICTIVE FOR SELECT TO backup_reader USING (source <> 'secret');
CREATE PUBLICATION dba_publication FOR TABLE attribution.attribution_events, attribution.revenue_ledger WITH (publish = 'insert');
CREATE STATISTICS attribution.dba_statistics (dependencies, mcv) ON source, channel FROM attribution.attribution_events;
ALTER TABLE attribution.attribution_events ALTER COLUMN source SET STATISTICS 500;
ALTER TABLE attribution.attribution_events ALTER COLUMN raw_payload SET STORAGE EXTERNAL;
ALTER TABLE attribution.attribution_events SET (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 90);
ALTER TABLE attribution.dead_events REPLICA IDENTITY FULL;
ALTER TABLE attribution.attribution_models REPLICA IDENTITY USING INDEX attribution_models_pkey;
ALTER TABLE attribution.revenue_ledger CLUSTER ON idx_revenue_ledger_tenant_updated_at;
COMMENT ON TABLE attribution.attribution_events IS 'what the owner says';
COMMENT ON COLUMN attribution.attribution_events.dba_note IS 'what the owner says of it';
GRANT SELECT (tenant_id, occurred_at) ON attribution.attribution_events TO PUBLIC;
GRANT SELECT ON attribution.mv_allocation_summary TO backup_reader WITH GRANT OPTION;
CREATE VIEW attribution.dba_view AS SELECT tenant_id, count(*) AS notes FROM attribution.attribution_events WHERE dba_note LIKE 'note%' GROUP BY tenant_id;
GRANT SELECT ON attribution.dba_view TO backup_reader;
CREATE TABLE public.notes (id int PRIMARY KEY, tenant_id uuid, event_id uuid, note text,
    FOREIGN KEY (tenant_id, event_id) REFERENCES attribution.attribution_events (tenant_id, id));
INSERT INTO public.notes SELECT row_number() OVER (ORDER BY e.tenant_id, e.id), e.tenant_id, e.id, 'big' FROM attribution.attribution_events e WHERE e.revenue_cents > 10000;
CREATE VIEW public.big_sales AS SELECT * FROM attribution.attribution_events WHERE revenue_cents > 10000;
CALL attribution.refresh_all();
