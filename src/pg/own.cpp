#include "pg/own.hpp"

namespace attribution::pg {
namespace {

constexpr const char* extension_name = "attribution";
constexpr const char* schema_name = "attribution";
constexpr const char* internal_schema_name = "attribution_internal";

Oid find_relation(const char* schema, const char* name) {
    const Oid schema_id = get_namespace_oid(schema, true);
    return OidIsValid(schema_id) ? get_relname_relid(name, schema_id) : InvalidOid;
}

Oid require_relation(const char* schema, const char* name, const char* hint) {
    const Oid relation = find_relation(schema, name);
    if (!OidIsValid(relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation %s.%s does not exist", schema, name),
                        errdetail("The extension attribution needs it."), errhint("%s", hint)));
    return relation;
}

} // namespace

Oid own_extension() {
    return get_extension_oid(extension_name, true);
}

Oid own_schema() {
    return get_namespace_oid(schema_name, false);
}

Oid find_own_schema() {
    return get_namespace_oid(schema_name, true);
}

Oid find_own_relation(const char* name) {
    return find_relation(schema_name, name);
}

Oid own_relation(const char* name) {
    return require_relation(schema_name, name, "SELECT * FROM attribution.create_tables();");
}

Relation open_own_relation(const char* name, char kind, LOCKMODE lock) {
    Relation relation = table_open(own_relation(name), lock);
    const char kinds[] = {kind, '\0'};
    check_kind(RelationGetRelid(relation), kinds);
    return relation;
}

void check_kind(Oid relation, const char* kinds) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const char kind = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relkind;
    ReleaseSysCache(tuple);
    if (strchr(kinds, kind) != nullptr)
        return;
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("relation %s.%s is not what the extension attribution has made",
                           schema_name, get_rel_name(relation)),
                    errhint("Drop it or rename it, and run SELECT * FROM "
                            "attribution.create_tables().")));
}

Oid internal_schema() {
    return get_namespace_oid(internal_schema_name, false);
}

Oid find_internal_relation(const char* name) {
    return find_relation(internal_schema_name, name);
}

Oid internal_relation(const char* name) {
    return require_relation(internal_schema_name, name,
                            "Restore it from the extension's installation script.");
}

Oid internal_function(const char* name) {
    // Not LookupFuncName(), which asks for the caller's USAGE of the schema: who writes through a
    // view of somebody else needs none, and fires the triggers all the same.
    oidvector* no_arguments = buildoidvector(nullptr, 0);
    const Oid function =
        GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
                        PointerGetDatum(no_arguments), ObjectIdGetDatum(internal_schema()));
    pfree(no_arguments);
    if (!OidIsValid(function))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("function %s.%s() does not exist", internal_schema_name, name),
                        errdetail("It is part of the extension attribution."),
                        errhint("Restore it from the extension's installation script.")));
    return function;
}

} // namespace attribution::pg
