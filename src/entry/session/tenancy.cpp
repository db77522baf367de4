// tenancy: which tenant a session acts for.
//
// current_tenant() stands in every row security policy, so it must cost nothing: the setting is
// checked when it is set, and the bindings of the acting roles are read once and forgotten when
// tenant_bindings changes. A binding restricts; it never widens.

#include "entry/session/tenancy.hpp"

#include "entry/session/settings.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// Who acts: the login role, the role it took on by SET ROLE, and the one whose code runs now. A
/// binding of any of them restricts: a superuser's ANALYZE runs functions of other roles.
struct Identity {
    Oid session_user, outer_user, current_user;
};

/// The tenant these roles are bound to, as last read from tenant_bindings.
struct Binding {
    bool known;
    bool bound;
    bool contradictory; // bound to different tenants
    Identity identity;
    Oid relation;
    pg_uuid_t tenant_id;
    NameData role_name; // whose binding it is
};
constinit Binding binding{};

extern "C" void forget_binding(Datum, Oid relation) {
    if (relation == InvalidOid || relation == binding.relation)
        binding.known = false;
}

/// Reads the setting; false when it is empty.
bool tenant_of_setting(pg_uuid_t* tenant_id) {
    return tenant_id_setting != nullptr && tenant_id_setting[0] != '\0' &&
           pg::parse_uuid(tenant_id_setting, tenant_id);
}

/// Reads the bindings past row security: they restrict the reader itself.
void read_binding() {
    const Identity identity = {GetSessionUserId(), GetOuterUserId(), GetUserId()};
    if (binding.known && memcmp(&binding.identity, &identity, sizeof identity) == 0)
        return;
    const Oid schema = get_namespace_oid("attribution", true);
    const Oid relation =
        OidIsValid(schema) ? get_relname_relid("tenant_bindings", schema) : InvalidOid;
    if (!OidIsValid(relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("table attribution.tenant_bindings does not exist"),
                        errhint("Run CREATE EXTENSION attribution.")));
    binding = {.known = false,
               .bound = false,
               .contradictory = false,
               .identity = identity,
               .relation = relation,
               .tenant_id = {},
               .role_name = {}};
    NameData names[3];
    namestrcpy(&names[0], GetUserNameFromId(identity.session_user, false));
    namestrcpy(&names[1], GetUserNameFromId(identity.outer_user, false));
    namestrcpy(&names[2], GetUserNameFromId(identity.current_user, false));

    // As a catalog is read, with a snapshot of its own: a binding holds from its COMMIT on, also in
    // a transaction begun before and in parallel workers.
    Relation table = table_open(relation, AccessShareLock);
    SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
    for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));) {
        bool isnull;
        const char* name =
            NameStr(*DatumGetName(pg::attribute(tuple, 1, RelationGetDescr(table), &isnull)));
        bool is_ours = false;
        for (const NameData& ours : names)
            is_ours = is_ours || strcmp(NameStr(ours), name) == 0;
        if (!is_ours)
            continue;
        const pg_uuid_t tenant_id =
            *DatumGetUUIDP(pg::attribute(tuple, 2, RelationGetDescr(table), &isnull));
        binding.contradictory =
            binding.contradictory ||
            (binding.bound && memcmp(&binding.tenant_id, &tenant_id, UUID_LEN) != 0);
        binding.bound = true;
        binding.tenant_id = tenant_id;
        namestrcpy(&binding.role_name, name);
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    binding.known = true;
}

/// The tenant of this session; false when there is none.
bool current_tenant(pg_uuid_t* tenant_id) {
    const bool set = tenant_of_setting(tenant_id);
    read_binding();
    if (!binding.bound)
        return set;
    if (binding.contradictory)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("roles bound to different tenants act together"),
                        errhint("Use one bound role in a session.")));
    if (set && memcmp(tenant_id->data, binding.tenant_id.data, UUID_LEN) != 0)
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                 errmsg("role \"%s\" may not act for this tenant", NameStr(binding.role_name)),
                 errdetail("attribution.tenant_id is %s, and the role is bound to another tenant.",
                           tenant_id_setting),
                 errhint("Reset attribution.tenant_id.")));
    *tenant_id = binding.tenant_id;
    return true;
}

/// True for who sees every row anyway: row security does not apply to superusers, BYPASSRLS roles
/// and the owner of the tables.
bool outside_row_security(Oid role) {
    if (has_bypassrls_privilege(role))
        return true;
    const Oid schema = get_namespace_oid("attribution", false);
    const Oid relation = get_relname_relid("tenants", schema);
    return OidIsValid(relation) && pg::is_owner(relation, role);
}

} // namespace

bool check_tenant_id_setting(char** value, void**, GucSource) {
    if (*value == nullptr || (*value)[0] == '\0')
        return true;
    pg_uuid_t tenant_id;
    if (pg::parse_uuid(*value, &tenant_id))
        return true;
    GUC_check_errdetail("\"%s\" is not a UUID.", *value);
    GUC_check_errhint("Set it to the id of a tenant, or to an empty string.");
    return false;
}

void watch_tenant_bindings() {
    CacheRegisterRelcacheCallback(forget_binding, Datum{0});
}

void check_tenant(Datum tenant_id) {
    // The role that calls from outside, also where a SECURITY DEFINER function stands between.
    const Oid caller = GetOuterUserId();
    // Maintenance by a superuser runs functions of other roles: their calls are not the
    // superuser's.
    if (InSecurityRestrictedOperation())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("cannot act for a tenant within a security-restricted operation")));
    read_binding();
    if (outside_row_security(caller) && !binding.bound)
        return;
    pg_uuid_t current;
    if (current_tenant(&current) &&
        memcmp(current.data, DatumGetUUIDP(tenant_id)->data, UUID_LEN) == 0)
        return;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("tenant %s is not the current tenant", pg::uuid_text(tenant_id)),
                    errhint("Use SET LOCAL attribution.tenant_id in the transaction.")));
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_current_tenant) {
    pg_uuid_t tenant_id;
    if (!entry::current_tenant(&tenant_id))
        PG_RETURN_NULL();
    core::Uuid uuid;
    memcpy(uuid.data(), tenant_id.data, UUID_LEN);
    PG_RETURN_DATUM(pg::uuid_datum(uuid));
}

ATTRIBUTION_FUNCTION(attribution_check_tenant) {
    entry::check_tenant(PG_GETARG_DATUM(0));
    PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

ATTRIBUTION_FUNCTION(attribution_bind_tenant) {
    static constinit pg::Query bind = {
        .sql =
            "INSERT INTO attribution.tenant_bindings AS b (role_name, tenant_id) VALUES ($1, $2) "
            "ON CONFLICT (role_name) DO UPDATE SET tenant_id = excluded.tenant_id",
        .parameter_count = 2,
        .parameter_types = {NAMEOID, UUIDOID},
        .cursor_options = 0,
        .plan = nullptr};
    static constinit pg::Query unbind = {
        .sql = "DELETE FROM attribution.tenant_bindings WHERE role_name = $1",
        .parameter_count = 1,
        .parameter_types = {NAMEOID},
        .cursor_options = 0,
        .plan = nullptr};
    PreventCommandIfReadOnly("bind_tenant()");
    if (PG_ARGISNULL(0))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("role_name must not be null")));
    get_role_oid(NameStr(*PG_GETARG_NAME(0)), false);
    Datum values[] = {PG_GETARG_DATUM(0), PG_ARGISNULL(1) ? Datum{0} : PG_GETARG_DATUM(1)};
    SPI_connect();
    pg::run(PG_ARGISNULL(1) ? unbind : bind, values);
    SPI_finish();
    PG_RETURN_VOID();
}

ATTRIBUTION_FUNCTION(attribution_forget_tenant_bindings) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "forget_tenant_bindings");
    CacheInvalidateRelcache(trigger->tg_relation);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_touch_updated_at) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "touch_updated_at");
    if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
        !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("touch_updated_at() must be called before an update of a row")));
    const TupleDesc description = RelationGetDescr(trigger->tg_relation);
    int column = pg::column_number(trigger->tg_relation, "updated_at");
    Datum now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
    bool isnull = false;
    PG_RETURN_DATUM(PointerGetDatum(
        heap_modify_tuple_by_cols(trigger->tg_newtuple, description, 1, &column, &now, &isnull)));
}

ATTRIBUTION_FUNCTION(attribution_keep_tenant_currency) {
    const TriggerData* trigger =
        pg::row_trigger(fcinfo, "keep_tenant_currency", TRIGGER_EVENT_UPDATE);
    const Relation tenants = trigger->tg_relation;
    const Oid tenants_id = RelationGetRelid(tenants);
    const Oid events_id = pg::referencing_relation(
        tenants, "tenant_id",
        pg::sibling_function(trigger->tg_trigger->tgfoid, "check_event_revenue"));
    if (!OidIsValid(events_id))
        PG_RETURN_DATUM(PointerGetDatum(nullptr));

    // FOR UPDATE waits for sessions that are inserting a first event: their foreign-key check holds
    // the tenant FOR KEY SHARE. The second query must then see what they committed.
    pg::Query lock = pg::one_uuid_query(
        psprintf("SELECT 1 FROM ONLY %s WHERE id OPERATOR(pg_catalog.=) $1 FOR UPDATE",
                 pg::qualified_name(tenants_id)));
    pg::Query find = pg::one_uuid_query(
        psprintf("SELECT 1 FROM %s WHERE tenant_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
                 pg::qualified_name(events_id)));
    bool isnull;
    Datum tenant_id = pg::attribute(trigger->tg_trigtuple, pg::column_number(tenants, "id"),
                                    RelationGetDescr(tenants), &isnull);
    SPI_connect();
    const pg::OwnerRights rights = pg::act_as_owner(tenants_id);
    pg::run(lock, &tenant_id);
    pg::run_latest(find, &tenant_id);
    const bool has_events = SPI_processed > 0;
    pg::act_as_before(rights);
    pg::discard(lock);
    pg::discard(find);
    SPI_finish();
    if (has_events)
        ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
                        errmsg("the currency of a tenant with events cannot change"),
                        errdetail("The amounts of tenant %s are in %s.", pg::uuid_text(tenant_id),
                                  SPI_getvalue(trigger->tg_trigtuple, RelationGetDescr(tenants),
                                               pg::column_number(tenants, "currency"))),
                        errhint("Create another tenant for the other currency."),
                        errtableconstraint(tenants, "tenant_currency_is_fixed")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
