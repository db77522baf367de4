-- validate: the triggers that keep sums. doc/validate.md tells how; src/entry/check does it.

-- Fires before allocation_sum_equals_revenue: triggers of one event fire in the order of their names.
CREATE TRIGGER allocation_change_is_noted AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_allocations
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.note_allocation_change();
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER allocation_change_is_noted;
CREATE CONSTRAINT TRIGGER allocation_sum_equals_revenue AFTER INSERT OR UPDATE OR DELETE ON attribution.attribution_allocations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION attribution_internal.check_allocation_sum();
ALTER TABLE attribution.attribution_allocations ENABLE ALWAYS TRIGGER allocation_sum_equals_revenue;
CREATE TRIGGER allocation_change_is_noted AFTER UPDATE ON attribution.attribution_events
    FOR EACH ROW WHEN (OLD.revenue_cents IS DISTINCT FROM NEW.revenue_cents)
    EXECUTE FUNCTION attribution_internal.note_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER allocation_change_is_noted;

-- No column list: a trigger of the user may change revenue_cents in an UPDATE that does not name it.
CREATE CONSTRAINT TRIGGER allocation_sum_equals_revenue AFTER UPDATE ON attribution.attribution_events
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.revenue_cents IS DISTINCT FROM NEW.revenue_cents)
    EXECUTE FUNCTION attribution_internal.check_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER allocation_sum_equals_revenue;

-- Nothing is checked when a conversion or a touch is inserted: a restore inserts events before allocations.
CREATE TRIGGER refund_is_noted AFTER INSERT ON attribution.attribution_events
    FOR EACH ROW WHEN (NEW.refund_of IS NOT NULL)
    EXECUTE FUNCTION attribution_internal.note_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER refund_is_noted;
CREATE CONSTRAINT TRIGGER refunds_do_not_exceed_conversion AFTER INSERT ON attribution.attribution_events
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.refund_of IS NOT NULL)
    EXECUTE FUNCTION attribution_internal.check_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER refunds_do_not_exceed_conversion;

-- A deleted event takes its allocations along, and they no longer know their conversion. A conversion
-- may be deleted and inserted again with less revenue, or as something else, in one statement.
CREATE TRIGGER allocation_loss_is_noted AFTER DELETE ON attribution.attribution_events
    FOR EACH ROW WHEN (OLD.event_type <> 'touch')
    EXECUTE FUNCTION attribution_internal.note_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER allocation_loss_is_noted;
CREATE CONSTRAINT TRIGGER channel_is_not_below_zero AFTER DELETE ON attribution.attribution_events
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.event_type <> 'touch')
    EXECUTE FUNCTION attribution_internal.check_event_revenue();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER channel_is_not_below_zero;
CREATE TRIGGER event_key_is_immutable AFTER UPDATE ON attribution.attribution_events
    FOR EACH ROW WHEN (OLD.tenant_id IS DISTINCT FROM NEW.tenant_id OR OLD.id IS DISTINCT FROM NEW.id
                       OR OLD.event_type IS DISTINCT FROM NEW.event_type
                       OR OLD.refund_of IS DISTINCT FROM NEW.refund_of)
    EXECUTE FUNCTION attribution_internal.keep_event_key();
ALTER TABLE attribution.attribution_events ENABLE ALWAYS TRIGGER event_key_is_immutable;
