-- explain: why each cent went where.

CREATE FUNCTION attribution.explain_allocation(tenant_id uuid, event_id uuid, model_version text)
    RETURNS TABLE (channel text, weight numeric, exact_share text, floor_cents bigint, remainder text,
                   rank integer, tie_key numeric, cents bigint, stored_cents bigint)
    LANGUAGE c STABLE CALLED ON NULL INPUT ROWS 5
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while the table was empty is kept after it grew
    AS 'MODULE_PATHNAME', 'attribution_explain_allocation';
COMMENT ON FUNCTION attribution.explain_allocation(uuid, uuid, text) IS
'One row per channel of a stored allocation, in the order of their bytes, computed again from the stored weights and the revenue of the event: the exact share in minor units as a reduced fraction, its whole cents, the remainder of its absolute value, the rank for the cents left over (1 is first; ties to the smaller tie_key), and the cents. stored_cents is what the table holds; rows made by the extension agree. 22023 unknown tenant or event, not allocated, rows without weights; 22004 NULL argument.';
REVOKE ALL ON FUNCTION attribution.explain_allocation(uuid, uuid, text) FROM PUBLIC;
