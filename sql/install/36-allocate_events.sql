-- allocate_events: allocating in bulk.

CREATE PROCEDURE attribution.allocate_events(
    tenant_id uuid, model_version text,
    occurred_from timestamptz DEFAULT NULL, occurred_to timestamptz DEFAULT NULL, batch_size integer DEFAULT 1000,
    INOUT run_id uuid DEFAULT NULL, INOUT events_allocated bigint DEFAULT NULL,
    INOUT allocations_written bigint DEFAULT NULL, INOUT events_failed bigint DEFAULT NULL)
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_allocate_events';
COMMENT ON PROCEDURE attribution.allocate_events(uuid, text, timestamptz, timestamptz, integer, uuid, bigint, bigint, bigint) IS
'Allocates every conversion of the tenant that occurred in [occurred_from, occurred_to) and is not allocated under the model version, with its refunds, and the refunds in that range of conversions that are; NULL means no bound. Commits after each batch of batch_size (1 to 100000) events; a repeat goes on where one was stopped. An event that cannot be allocated is recorded in allocation_failures and the others go on. What is passed for the last four parameters is ignored; they return the run. 22004 NULL argument, 22023 batch_size out of range, unknown tenant or model version, 2D000 inside a transaction block.';
REVOKE ALL ON PROCEDURE attribution.allocate_events(uuid, text, timestamptz, timestamptz, integer, uuid, bigint, bigint, bigint) FROM PUBLIC;
