-- Makes a copy of the template into the variant :variant: which triggers are on, and how rows are written.

SELECT :'variant' IN ('batches', 'ours', 'captured') AS all_triggers,
       :'variant' = 'check' AS without_capture,
       :'variant' IN ('today', 'row_trigger') AS row_trigger,
       :'variant' = 'statement_trigger' AS statement_trigger,
       :'variant' = 'batches' AS writes_batches,
       :'variant' = 'ours' AS writes_ours,
       :'variant' = 'today' AS writes_today \gset

\if :all_triggers
\elif :without_capture
DO $$
DECLARE
    disable text;
BEGIN
    FOR disable IN
        SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
        FROM pg_trigger t
        WHERE t.tgfoid IN ('attribution_internal.capture_summary_change()'::regprocedure,
                           'attribution_internal.capture_revenue_change()'::regprocedure,
                           'attribution_internal.capture_status_change()'::regprocedure,
                           'attribution_internal.doubt_view()'::regprocedure)
    LOOP
        EXECUTE disable;
    END LOOP;
END $$;
\else
-- USER: foreign keys stay.
ALTER TABLE attribution.attribution_allocations DISABLE TRIGGER USER;
\endif

-- The check that people write: no lock, so two sessions can both insert 100 %.
\if :row_trigger
CREATE FUNCTION bench.check_row() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    revenue bigint;
    allocated bigint;
BEGIN
    SELECT e.revenue_cents INTO revenue
    FROM attribution.attribution_events e
    WHERE e.tenant_id = NEW.tenant_id AND e.id = NEW.event_id;
    SELECT sum(a.allocated_revenue_cents) INTO allocated
    FROM attribution.attribution_allocations a
    WHERE a.tenant_id = NEW.tenant_id AND a.event_id = NEW.event_id AND a.model_version = NEW.model_version;
    IF allocated IS DISTINCT FROM revenue THEN
        RAISE EXCEPTION 'allocated % of %', allocated, revenue USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_row AFTER INSERT OR UPDATE ON attribution.attribution_allocations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bench.check_row();
\endif

-- The same per statement: faster, but every statement must leave whole events.
\if :statement_trigger
CREATE FUNCTION bench.check_statement() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT k.event_id, min(e.revenue_cents) AS revenue, sum(a.allocated_revenue_cents) AS allocated INTO wrong
    FROM (SELECT DISTINCT tenant_id, event_id, model_version FROM added) k
        JOIN attribution.attribution_events e ON e.tenant_id = k.tenant_id AND e.id = k.event_id
        JOIN attribution.attribution_allocations a
            ON a.tenant_id = k.tenant_id AND a.event_id = k.event_id AND a.model_version = k.model_version
    GROUP BY k.tenant_id, k.event_id, k.model_version
    HAVING sum(a.allocated_revenue_cents) <> min(e.revenue_cents)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocated % of %', wrong.allocated, wrong.revenue USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_statement AFTER INSERT ON attribution.attribution_allocations
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bench.check_statement();
\endif

-- bench.write_all() writes every event in one statement, bench.write_one(number) one event.
CREATE PROCEDURE bench.define_write(statement text)
    LANGUAGE plpgsql AS $define$
BEGIN
    EXECUTE format('CREATE PROCEDURE bench.write_all() LANGUAGE plpgsql AS $$ BEGIN %s; END $$',
                   replace(statement, ':which', 'true'));
    EXECUTE format('CREATE PROCEDURE bench.write_one(which integer) LANGUAGE plpgsql AS $$ BEGIN %s; END $$',
                   replace(statement, ':which', 'j.number = which'));
END $define$;

\if :writes_batches
-- One statement writes one event, all of them take allocate_events(), a transaction per thousand: so
-- bench.write_all() can only be called at top level, and bench.write_one() only makes plans.
DELETE FROM attribution.attribution_models; -- custom: what bench/data.sql has allocated by
SELECT count(attribution.define_model(t.id, '1.0.0', 'linear')) AS models FROM attribution.tenants t \gset
CREATE PROCEDURE bench.write_one(which integer)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*)
    FROM bench.journeys j, LATERAL attribution.allocate_event(j.tenant_id, j.event_id, '1.0.0')
    WHERE j.number = which;
END $$;
CREATE PROCEDURE bench.write_all()
    LANGUAGE plpgsql AS $$
DECLARE
    tenants uuid[] := (SELECT array_agg(t.id ORDER BY t.id) FROM attribution.tenants t);
    tenant uuid;
    run uuid;
    events bigint;
    allocations bigint;
    failed bigint;
BEGIN
    FOREACH tenant IN ARRAY tenants LOOP
        CALL attribution.allocate_events(tenant, '1.0.0', NULL, NULL, 1000, run, events, allocations, failed);
    END LOOP;
END $$;
\elif :writes_ours
CALL bench.define_write($$
    PERFORM count(*)
    FROM bench.journeys j,
         LATERAL attribution.allocate_event(j.tenant_id, j.event_id, '1.0.0', j.channels, j.weights)
    WHERE :which
$$);
\elif :writes_today
CALL bench.define_write($$
    INSERT INTO attribution.attribution_allocations
        (tenant_id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents, correlation_id)
    SELECT tenant_id, event_id, '1.0.0', channel, weight, round(weight / total_weight, 5),
           whole + CASE WHEN row_number() OVER (PARTITION BY tenant_id, event_id ORDER BY remainder DESC, channel)
                             <= revenue_cents - sum(whole) OVER (PARTITION BY tenant_id, event_id)
                        THEN 1 ELSE 0 END,
           correlation_id
    FROM (SELECT *, div(revenue_cents * weight, total_weight) AS whole,
                 mod(revenue_cents * weight, total_weight) AS remainder
          FROM (SELECT e.tenant_id, e.id AS event_id, e.revenue_cents, e.correlation_id, t.channel,
                       count(*)::numeric AS weight,
                       sum(count(*)) OVER (PARTITION BY e.tenant_id, e.id) AS total_weight
                FROM bench.journeys j
                    JOIN attribution.attribution_events e ON e.tenant_id = j.tenant_id AND e.id = j.event_id
                    JOIN attribution.attribution_events t ON t.tenant_id = e.tenant_id
                        AND t.session_id = e.session_id AND t.event_type = 'touch'
                        AND t.occurred_at BETWEEN e.occurred_at - interval '30 days' AND e.occurred_at
                WHERE :which
                GROUP BY e.tenant_id, e.id, t.channel) AS weighted) AS divided
$$);
\else
CALL bench.define_write($$
    INSERT INTO attribution.attribution_allocations
        (tenant_id, id, event_id, model_version, channel, weight, allocation_ratio, allocated_revenue_cents, correlation_id)
    SELECT j.tenant_id, j.id, j.event_id, j.model_version, j.channel, j.weight, j.allocation_ratio,
           j.allocated_revenue_cents, j.correlation_id
    FROM bench.allocations j
    WHERE :which
$$);
\endif

CREATE PROCEDURE bench.write(shape text, events integer)
    LANGUAGE plpgsql AS $$
BEGIN
    IF shape = 'statement' THEN
        CALL bench.write_all();
        RETURN;
    END IF;
    FOR which IN 1 .. events LOOP
        CALL bench.write_one(which);
        IF shape = 'transactions' THEN
            COMMIT;
        END IF;
    END LOOP;
END $$;
