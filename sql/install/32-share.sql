-- share: cents to the rows of a window.

CREATE FUNCTION attribution.allocate_share(total bigint, weight numeric) RETURNS bigint
    LANGUAGE c WINDOW IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_allocate_share';
COMMENT ON FUNCTION attribution.allocate_share(bigint, numeric) IS
'Window function: splits total (minor units) over the rows of the partition by weight so that they sum to total, whatever the frame is. Largest remainder as allocate_cents(), ties to the earlier row of the window''s order. The total is the same in every row of the partition; NULL in every row gives NULL. At most 1000000 rows. 22023 differing totals or bad weights, 22004 NULL weight or NULL total in some rows, 54000 too many.';
