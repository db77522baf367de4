-- ledger: what was posted, once, and never changed.

CREATE FUNCTION attribution_internal.keep_ledger() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_keep_ledger';
COMMENT ON FUNCTION attribution_internal.keep_ledger() IS
'Trigger: refuses (23514, ledger_is_append_only) DELETE, TRUNCATE and every UPDATE but that of the verification columns.';
REVOKE ALL ON FUNCTION attribution_internal.keep_ledger() FROM PUBLIC;
CREATE FUNCTION attribution_internal.check_posting() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_check_posting';
COMMENT ON FUNCTION attribution_internal.check_posting() IS
'Trigger: refuses (23514, posting_matches_allocation) a posting with other cents than its allocation has, in the book of another conversion or under another model version; and a reversing entry that is not minus its posting, or reverses another reversing entry.';
REVOKE ALL ON FUNCTION attribution_internal.check_posting() FROM PUBLIC;

CREATE FUNCTION attribution.post_allocations(
    tenant_id uuid, model_version text,
    occurred_from timestamptz DEFAULT NULL, occurred_to timestamptz DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off -- a plan made while a table was empty is kept after it grew
    SET enable_bitmapscan = off
    AS 'MODULE_PATHNAME', 'attribution_post_allocations';
COMMENT ON FUNCTION attribution.post_allocations(uuid, text, timestamptz, timestamptz) IS
'Copies the allocations of a tenant under a model version into the ledger, those of events that occurred in [occurred_from, occurred_to); NULL means no bound. Returns the number of rows posted; a repeat posts 0. A conversion already posted under another model version is refused (23505, ledger_books_pkey). 22004 NULL tenant or model version, 22023 unknown tenant or model version, 42501 not the current tenant.';
REVOKE ALL ON FUNCTION attribution.post_allocations(uuid, text, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION attribution.reverse_posting(tenant_id uuid, ledger_id uuid) RETURNS uuid
    LANGUAGE c VOLATILE SECURITY DEFINER CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    AS 'MODULE_PATHNAME', 'attribution_reverse_posting';
COMMENT ON FUNCTION attribution.reverse_posting(uuid, uuid) IS
'Takes a posting back: writes its reversing entry, of minus its cents, and returns its id. A repeat returns the same one. A reversing entry cannot be reversed (22023). The allocation stays posted. 22004 NULL argument, 22023 unknown posting, 42501 not the current tenant, 27000 when a trigger suppresses the entry.';
REVOKE ALL ON FUNCTION attribution.reverse_posting(uuid, uuid) FROM PUBLIC;

CREATE FUNCTION attribution.channel_performance(
    tenant_id uuid, model_version text,
    occurred_from timestamptz DEFAULT NULL, occurred_to timestamptz DEFAULT NULL,
    OUT channel text, OUT revenue_cents numeric, OUT conversions bigint)
    RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL SAFE CALLED ON NULL INPUT
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS 'MODULE_PATHNAME', 'attribution_channel_performance';
COMMENT ON FUNCTION attribution.channel_performance(uuid, text, timestamptz, timestamptz) IS
'Per channel: allocated cents net of refunds (minor units) and the number of conversions it took part in, for events that occurred in [occurred_from, occurred_to); NULL means no bound. Best channel first.';
REVOKE ALL ON FUNCTION attribution.channel_performance(uuid, text, timestamptz, timestamptz) FROM PUBLIC;
