// tenancy: which tenant a session acts for.
//
// current_tenant() stands in every row security policy, so it must cost next to nothing: the
// setting is checked when it is set, and the bindings of the acting roles are read once and again
// after tenant_bindings has changed. A binding restricts; it never widens.

#include "entry/session/tenancy.hpp"

#include <algorithm>
#include <array>

#include "entry/session/settings.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/columns.hpp"
#include "pg/cache.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// Who acts: the login role, the role it took on by SET ROLE, and the role whose code runs now. A
/// binding of any of them restricts: a superuser's ANALYZE runs functions of other roles.
struct Identity {
    Oid session_user, outer_user, current_user;
};

bool operator==(const Identity& left, const Identity& right) {
    return left.session_user == right.session_user && left.outer_user == right.outer_user &&
           left.current_user == right.current_user;
}

/// The tenant these roles are bound to, as tenant_bindings says.
struct Binding {
    Identity identity;
    bool is_bound;
    bool is_contradictory; // the roles are bound to different tenants
    core::Uuid tenant_id;
    NameData role_name; // whose binding it is
};
constinit Binding binding{};
constinit pg::Cached binding_cache;

/// The tenant that the setting names; none when it is empty.
std::optional<core::Uuid> tenant_of_setting() {
    if (tenant_id_setting == nullptr || tenant_id_setting[0] == '\0')
        return std::nullopt;
    return core::parse_uuid(tenant_id_setting);
}

/// Reads the bindings of the roles into `binding`, past row security: they restrict the reader
/// itself.
void look_up_binding(const Identity& identity) {
    const Oid relation = pg::find_own_relation("tenant_bindings");
    if (!OidIsValid(relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("table attribution.tenant_bindings does not exist"),
                        errhint("Run CREATE EXTENSION attribution.")));
    binding_cache.depend_on(relation);
    binding = {.identity = identity,
               .is_bound = false,
               .is_contradictory = false,
               .tenant_id = {},
               .role_name = {}};
    std::array<NameData, 3> roles;
    namestrcpy(&roles[0], GetUserNameFromId(identity.session_user, false));
    namestrcpy(&roles[1], GetUserNameFromId(identity.outer_user, false));
    namestrcpy(&roles[2], GetUserNameFromId(identity.current_user, false));

    // As a catalog is read, with a snapshot of its own: a binding holds from its COMMIT on, also in
    // a transaction begun before and in parallel workers.
    Relation table = pg::open_own_relation("tenant_bindings", RELKIND_RELATION, AccessShareLock);
    const TupleDesc columns = RelationGetDescr(table);
    const int role_column = pg::column_number(table, "role_name", NAMEOID);
    const int tenant_column = pg::column_number(table, "tenant_id", UUIDOID);
    SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
    for (HeapTuple row; HeapTupleIsValid(row = systable_getnext(scan));) {
        bool isnull;
        const Datum role = pg::attribute(row, role_column, columns, &isnull);
        if (isnull || std::none_of(roles.begin(), roles.end(), [&](const NameData& one) {
                return strcmp(NameStr(one), NameStr(*DatumGetName(role))) == 0;
            }))
            continue;
        const Datum tenant = pg::attribute(row, tenant_column, columns, &isnull);
        const auto tenant_id = pg::value_of<core::Uuid>(tenant, isnull, "tenant_id of a binding");
        binding.is_contradictory =
            binding.is_contradictory || (binding.is_bound && binding.tenant_id != tenant_id);
        binding.is_bound = true;
        binding.tenant_id = tenant_id;
        binding.role_name = *DatumGetName(role);
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
}

/// The binding of the roles that act now.
const Binding& current_binding() {
    const Identity identity = {.session_user = GetSessionUserId(),
                               .outer_user = GetOuterUserId(),
                               .current_user = GetUserId()};
    if (!(binding.identity == identity))
        binding_cache.invalidate();
    binding_cache.ensure([&] { look_up_binding(identity); });
    return binding;
}

/// The tenant of this session, if there is one.
std::optional<core::Uuid> current_tenant() {
    const std::optional<core::Uuid> set = tenant_of_setting();
    const Binding& bound = current_binding();
    if (!bound.is_bound)
        return set;
    if (bound.is_contradictory)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("cannot combine roles that are bound to different tenants"),
                        errhint("Use one bound role in a session.")));
    if (set && *set != bound.tenant_id)
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                 errmsg("role \"%s\" may not act for this tenant", NameStr(bound.role_name)),
                 errdetail("attribution.tenant_id is %s, and the role is bound to another tenant.",
                           tenant_id_setting),
                 errhint("Reset attribution.tenant_id.")));
    return bound.tenant_id;
}

/// True for a role that sees every row anyway: row security does not apply to superusers, BYPASSRLS
/// roles and the owner of the tables.
bool is_outside_row_security(Oid role) {
    if (has_bypassrls_privilege(role))
        return true;
    const Oid tenants = pg::find_own_relation("tenants");
    return OidIsValid(tenants) && pg::is_owner(tenants, role);
}

} // namespace

bool check_tenant_id_setting(char** value, void**, GucSource) {
    if (*value == nullptr || (*value)[0] == '\0' || core::parse_uuid(*value))
        return true;
    GUC_check_errdetail("\"%s\" is not a UUID.", *value);
    GUC_check_errhint("Set it to the id of a tenant, or to an empty string.");
    return false;
}

void check_tenant(const core::Uuid& tenant_id) {
    // The role that calls from outside, also where a SECURITY DEFINER function stands between.
    const Oid caller = GetOuterUserId();
    // Maintenance by a superuser runs functions of other roles: their calls are not the
    // superuser's.
    if (InSecurityRestrictedOperation())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("cannot act for a tenant within a security-restricted operation")));
    if (!current_binding().is_bound && is_outside_row_security(caller))
        return;
    if (current_tenant() == tenant_id)
        return;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("tenant %s is not the current tenant", pg::uuid_text(tenant_id)),
                    errhint("Use SET LOCAL attribution.tenant_id in the transaction.")));
}

void check_tenant_exists(const core::Uuid& tenant_id) {
    static constinit pg::Statement<std::int32_t(core::Uuid)> find{R"sql(
        SELECT 1 FROM attribution.tenants WHERE id = $1)sql"};
    if (find.run(tenant_id).empty())
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tenant %s does not exist", pg::uuid_text(tenant_id)),
                        errhint("Row security hides every tenant but attribution.tenant_id.")));
}

namespace {

/// True when the tenant has an event. Waits for sessions that are inserting its first one.
bool has_events(Oid tenants, Oid events, const core::Uuid& tenant_id) {
    // The foreign-key check of an inserted event holds the tenant FOR KEY SHARE, which FOR UPDATE
    // waits for. The second statement must then see what was committed meanwhile.
    pg::Statement<void(core::Uuid)> lock(
        psprintf("SELECT 1 FROM ONLY %s WHERE id OPERATOR(pg_catalog.=) $1 FOR UPDATE",
                 pg::qualified_name(tenants)),
        pg::Plan::once);
    pg::Statement<std::int32_t(core::Uuid)> find(
        psprintf("SELECT 1 FROM %s WHERE tenant_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
                 pg::qualified_name(events)),
        pg::Plan::once);
    SPI_connect();
    const pg::CallerRights rights = pg::act_as_owner(tenants);
    lock.run(tenant_id);
    const bool is_found = !find.run_latest(tenant_id).empty();
    pg::act_as_caller(rights);
    SPI_finish();
    return is_found;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_current_tenant) {
    const std::optional<core::Uuid> tenant_id = entry::current_tenant();
    if (!tenant_id)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(pg::uuid_datum(*tenant_id));
}

ATTRIBUTION_FUNCTION(attribution_check_tenant) {
    entry::check_tenant(pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"));
    PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

ATTRIBUTION_FUNCTION(attribution_bind_tenant) {
    entry::require_tables();
    static constinit pg::Statement<void(pg::NameDatum, core::Uuid)> bind{
        R"sql(
        INSERT INTO attribution.tenant_bindings AS b (role_name, tenant_id)
        VALUES ($1, $2)
        ON CONFLICT (role_name) DO UPDATE SET tenant_id = excluded.tenant_id)sql",
        pg::Plan::chosen};
    static constinit pg::Statement<void(pg::NameDatum)> unbind{
        R"sql(
        DELETE FROM attribution.tenant_bindings
        WHERE role_name = $1)sql",
        pg::Plan::chosen};
    PreventCommandIfReadOnly("bind_tenant()");
    const auto role_name = pg::argument<pg::NameDatum>(fcinfo, 0, "role_name");
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 1, "tenant_id");
    get_role_oid(NameStr(*DatumGetName(role_name.datum)), false);
    SPI_connect();
    if (tenant_id)
        bind.run(role_name, *tenant_id);
    else
        unbind.run(role_name);
    SPI_finish();
    PG_RETURN_VOID();
}

ATTRIBUTION_FUNCTION(attribution_forget_cached_rows) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "forget_cached_rows");
    CacheInvalidateRelcache(trigger->tg_relation);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_touch_updated_at) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "touch_updated_at");
    if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
        !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
        ereport(ERROR,
                (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                 errmsg("touch_updated_at() must be called by a BEFORE UPDATE row trigger")));
    const TupleDesc description = RelationGetDescr(trigger->tg_relation);
    int column = pg::column_number(trigger->tg_relation, "updated_at", TIMESTAMPTZOID);
    Datum now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
    bool isnull = false;
    PG_RETURN_DATUM(PointerGetDatum(
        heap_modify_tuple_by_cols(trigger->tg_newtuple, description, 1, &column, &now, &isnull)));
}

ATTRIBUTION_FUNCTION(attribution_keep_tenant_currency) {
    const TriggerData* trigger =
        pg::row_trigger(fcinfo, "keep_tenant_currency", TRIGGER_EVENT_UPDATE);
    const Relation tenants = trigger->tg_relation;
    const TupleDesc columns = RelationGetDescr(tenants);
    const Oid events = pg::referencing_relation(tenants, "tenant_id",
                                                pg::internal_function("check_event_revenue"));
    if (!OidIsValid(events))
        PG_RETURN_DATUM(PointerGetDatum(nullptr));
    bool isnull;
    const Datum id = pg::attribute(trigger->tg_trigtuple, pg::column_number(tenants, "id", UUIDOID),
                                   columns, &isnull);
    const auto tenant_id = pg::value_of<core::Uuid>(id, isnull, "id of a tenant");
    if (entry::has_events(RelationGetRelid(tenants), events, tenant_id))
        ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
                        errmsg("cannot change the currency of a tenant that has events"),
                        errdetail("The amounts of tenant %s are in %s.", pg::uuid_text(tenant_id),
                                  SPI_getvalue(trigger->tg_trigtuple, columns,
                                               pg::column_number(tenants, "currency"))),
                        errhint("Create another tenant for the other currency."),
                        errtableconstraint(tenants, "tenant_currency_is_fixed")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
