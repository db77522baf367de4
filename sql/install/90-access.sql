-- access: rights for roles that exist. The script creates no role and grants nothing by itself.

CREATE FUNCTION attribution.grant_access(role_name name, access text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := grant_access.access;
    grantee text := quote_ident(grant_access.role_name);
BEGIN
    IF grant_access.role_name IS NULL OR wanted IS NULL THEN
        RAISE EXCEPTION 'role_name and access must not be null' USING ERRCODE = '22004';
    END IF;
    -- GRANT takes even a quoted "public" for everybody.
    IF NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = grant_access.role_name) THEN
        RAISE EXCEPTION 'role "%" does not exist', grant_access.role_name USING ERRCODE = '42704';
    END IF;
    IF wanted NOT IN ('reader', 'writer', 'operator') THEN
        RAISE EXCEPTION 'unknown access "%"', wanted
            USING ERRCODE = '22023', HINT = 'Access is one of reader, writer, operator.';
    END IF;

    -- Reader: the tenant's own rows, and functions that read.
    EXECUTE 'GRANT USAGE ON SCHEMA attribution TO ' || grantee;
    EXECUTE 'GRANT SELECT ON attribution.currencies, attribution.tenants, attribution.attribution_events, '
        'attribution.event_aliases, attribution.dead_events, attribution.dead_event_depth, attribution.attribution_models, attribution.attribution_allocations, '
        'attribution.ledger_books, attribution.revenue_ledger, attribution.reconciliation_runs, '
        'attribution.reconciliation_settlements, attribution.settlement_differences, '
        'attribution.allocation_runs, attribution.allocation_failures, attribution.allocation_progress TO ' || grantee;
    EXECUTE 'GRANT EXECUTE ON FUNCTION attribution.realtime_revenue(uuid), attribution.reconciliation_status(uuid), '
        'attribution.reconciliation_differences(uuid, uuid), '
        'attribution.channel_performance(uuid, text, timestamptz, timestamptz), '
        'attribution.explain_allocation(uuid, uuid, text), '
        'attribution.unbalanced_allocations(uuid, text), attribution.conservation(uuid) TO ' || grantee;
    IF wanted = 'reader' THEN
        RETURN;
    END IF;

    -- Writer: what an application does. The ledger is written by functions only.
    EXECUTE 'GRANT INSERT ON attribution.attribution_events, attribution.event_aliases, attribution.dead_events, '
        'attribution.attribution_models, '
        'attribution.attribution_allocations TO ' || grantee;
    EXECUTE 'GRANT UPDATE (weight, allocation_ratio, allocated_revenue_cents, model_metadata, correlation_id), DELETE '
        'ON attribution.attribution_allocations TO ' || grantee;
    EXECUTE 'GRANT EXECUTE ON FUNCTION '
        'attribution.ingest_event(uuid, text, text, timestamptz, bigint, text, text, uuid, text, uuid, jsonb), '
        'attribution.ingest_webhook(uuid, text, text, jsonb, jsonb), '
        'attribution.ingest_webhook_text(uuid, text, text, text, jsonb), '
        'attribution.retry_dead_events(uuid, text, text, integer, timestamptz, timestamptz, boolean), '
        'attribution.define_model(uuid, text, text, jsonb), '
        'attribution.allocate_event(uuid, uuid, text), attribution.allocate_event(uuid, uuid, text, text[], numeric[]), '
        'attribution.post_allocations(uuid, text, timestamptz, timestamptz) TO ' || grantee;
    EXECUTE 'GRANT EXECUTE ON PROCEDURE '
        'attribution.allocate_events(uuid, text, timestamptz, timestamptz, integer, uuid, bigint, bigint, bigint) TO ' || grantee;
    IF wanted = 'writer' THEN
        RETURN;
    END IF;

    -- Operator: what runs at night.
    EXECUTE 'GRANT SELECT ON attribution.refresh_log, attribution.refresh_status, attribution.index_plan TO ' || grantee;
    EXECUTE 'GRANT DELETE ON attribution.dead_events TO ' || grantee;
    EXECUTE 'GRANT EXECUTE ON FUNCTION attribution.refresh(text, text), attribution_internal.refresh_doubt(text), '
        'attribution.prune_refresh_log(interval), attribution.prune_dead_events(interval, boolean), '
        'attribution.check_index_plan(), '
        'attribution.index_report(interval), '
        'attribution.reverse_posting(uuid, uuid), '
        'attribution.discard_dead_events(uuid, text, text, integer, timestamptz, timestamptz, text), '
        'attribution.erase_personal_data(uuid, uuid[], text[], text), '
        'attribution.start_reconciliation(uuid, timestamptz, timestamptz), attribution.settle(uuid, uuid, jsonb), '
        'attribution.finish_reconciliation(uuid, uuid), attribution.fail_reconciliation(uuid, uuid, text), '
        'attribution.prune_tenant_settlements(uuid, interval), attribution.prune_settlements(interval) TO ' || grantee;
    EXECUTE 'GRANT EXECUTE ON PROCEDURE attribution.refresh_all(text), '
        'attribution.reconcile(uuid, jsonb, uuid, timestamptz, timestamptz) TO ' || grantee;
END;
$$;
COMMENT ON FUNCTION attribution.grant_access(name, text) IS
'Gives an existing role the rights of a reader (own rows, reading functions), writer (ingest, define models, allocate, post) or operator (refresh, reconcile). Row security still limits it to current_tenant(). For the owner of the tables. 22004 NULL argument, 22023 unknown access, 42704 unknown role.';
REVOKE ALL ON FUNCTION attribution.grant_access(name, text) FROM PUBLIC;
