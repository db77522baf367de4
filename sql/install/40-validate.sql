-- validate: no transaction commits allocations that do not sum to their event's revenue, refunds that
-- exceed their conversion, or a channel below zero. doc/validate.md tells how; src/entry/check does it.

CREATE FUNCTION attribution_internal.note_allocation_change() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_note_allocation_change';
COMMENT ON FUNCTION attribution_internal.note_allocation_change() IS
'Trigger: remembers which (tenant, event, model version) were touched, so that COMMIT checks them together; refuses (23514) a change of a key column (allocation_key_is_immutable) or of a posted allocation (posted_allocation_is_frozen).';
REVOKE ALL ON FUNCTION attribution_internal.note_allocation_change() FROM PUBLIC;

CREATE FUNCTION attribution_internal.check_allocation_sum() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_check_allocation_sum';
COMMENT ON FUNCTION attribution_internal.check_allocation_sum() IS
'Constraint trigger: the allocations of each touched (tenant, event, model version) sum to the revenue of the event, or there are none (23514 allocation_sum_equals_revenue), and no channel of a conversion is below zero, its refunds included (23514 channel_is_not_below_zero). 40001 where only a concurrent transaction made it wrong.';
REVOKE ALL ON FUNCTION attribution_internal.check_allocation_sum() FROM PUBLIC;

CREATE FUNCTION attribution_internal.check_event_revenue() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_check_event_revenue';
COMMENT ON FUNCTION attribution_internal.check_event_revenue() IS
'Constraint trigger: the refunds of a conversion do not exceed it (23514 refunds_do_not_exceed_conversion) and name a conversion (23514 refund_names_conversion); the allocations of an event whose revenue changed sum to it under each model version; no channel of a conversion whose refund was deleted is below zero. Errors as check_allocation_sum().';
REVOKE ALL ON FUNCTION attribution_internal.check_event_revenue() FROM PUBLIC;

CREATE FUNCTION attribution_internal.note_event_revenue() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_note_event_revenue';
COMMENT ON FUNCTION attribution_internal.note_event_revenue() IS
'Trigger: remembers which refunds were inserted, which events changed their revenue and which were deleted, so that COMMIT checks them together.';
REVOKE ALL ON FUNCTION attribution_internal.note_event_revenue() FROM PUBLIC;

CREATE FUNCTION attribution_internal.keep_event_key() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_keep_event_key';
COMMENT ON FUNCTION attribution_internal.keep_event_key() IS
'Trigger: refuses (23514, event_key_is_immutable) a change of tenant, id, type or refunded conversion of an event: its allocations and refunds would become another''s.';
REVOKE ALL ON FUNCTION attribution_internal.keep_event_key() FROM PUBLIC;

CREATE FUNCTION attribution.unbalanced_allocations(
    INOUT tenant_id uuid DEFAULT NULL, INOUT model_version text DEFAULT NULL,
    OUT event_id uuid, OUT event_revenue_cents bigint, OUT allocated_cents numeric, OUT drift_cents numeric)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_unbalanced_allocations';
COMMENT ON FUNCTION attribution.unbalanced_allocations(uuid, text) IS
'Every (tenant, event, model version) whose allocations do not sum to the revenue of the event, read from the tables now. NULL means all tenants, or all model versions; row security applies to the caller. Cents are minor units; drift is absolute. An event that is gone counts as revenue 0 and shows as NULL.';
REVOKE ALL ON FUNCTION attribution.unbalanced_allocations(uuid, text) FROM PUBLIC;
