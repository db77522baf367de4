-- tenancy: who may see which tenant.

CREATE FUNCTION attribution_internal.touch_updated_at() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_touch_updated_at';
COMMENT ON FUNCTION attribution_internal.touch_updated_at() IS 'Trigger: sets updated_at to the time of the transaction.';
REVOKE ALL ON FUNCTION attribution_internal.touch_updated_at() FROM PUBLIC;

CREATE FUNCTION attribution_internal.keep_tenant_currency() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_keep_tenant_currency';
COMMENT ON FUNCTION attribution_internal.keep_tenant_currency() IS
'Trigger: refuses (23514, tenant_currency_is_fixed) a change of the currency of a tenant that has events.';
REVOKE ALL ON FUNCTION attribution_internal.keep_tenant_currency() FROM PUBLIC;

CREATE FUNCTION attribution_internal.forget_cached_rows() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'attribution_forget_cached_rows';
COMMENT ON FUNCTION attribution_internal.forget_cached_rows() IS 'Trigger: makes every session that has read the table read it again.';
REVOKE ALL ON FUNCTION attribution_internal.forget_cached_rows() FROM PUBLIC;

CREATE FUNCTION attribution.current_tenant() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_current_tenant';
COMMENT ON FUNCTION attribution.current_tenant() IS
'The tenant of this session: the setting attribution.tenant_id, or the tenant the login role is bound to; NULL when there is none, and then row security shows no rows. 42501 when a bound role sets another tenant.';

CREATE FUNCTION attribution.check_tenant(tenant_id uuid) RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'attribution_check_tenant';
COMMENT ON FUNCTION attribution.check_tenant(uuid) IS
'Returns tenant_id when the caller may act for it: it is current_tenant(), or the caller stands outside row security (superuser, BYPASSRLS, owner of the tables). Else 42501.';

CREATE FUNCTION attribution.bind_tenant(role_name name, tenant_id uuid) RETURNS void
    LANGUAGE c VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'attribution_bind_tenant';
COMMENT ON FUNCTION attribution.bind_tenant(name, uuid) IS
'Ties a login role to one tenant: current_tenant() then refuses every other value in its sessions. NULL as tenant_id removes the binding. For the owner of the tables. 22004 NULL role, 42704 unknown role, 23503 unknown tenant.';
REVOKE ALL ON FUNCTION attribution.bind_tenant(name, uuid) FROM PUBLIC;
