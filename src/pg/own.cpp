#include "pg/own.hpp"

namespace attribution::pg {
namespace {

constexpr const char* schema_name = "attribution";

} // namespace

Oid own_schema() {
    return get_namespace_oid(schema_name, false);
}

Oid find_own_relation(const char* name) {
    const Oid schema = get_namespace_oid(schema_name, true);
    return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

Oid own_relation(const char* name) {
    const Oid relation = find_own_relation(name);
    if (!OidIsValid(relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation %s.%s does not exist", schema_name, name),
                        errdetail("It is part of the extension attribution."),
                        errhint("Restore it from the extension's installation script.")));
    return relation;
}

Oid own_trigger_function(const char* name) {
    // Not LookupFuncName(), which asks for the caller's USAGE of the schema: who writes through a
    // view of somebody else needs none, and fires the triggers all the same.
    oidvector* no_arguments = buildoidvector(nullptr, 0);
    const Oid function =
        GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
                        PointerGetDatum(no_arguments), ObjectIdGetDatum(own_schema()));
    pfree(no_arguments);
    if (!OidIsValid(function))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("function %s.%s() does not exist", schema_name, name),
                        errdetail("It is part of the extension attribution."),
                        errhint("Restore it from the extension's installation script.")));
    return function;
}

} // namespace attribution::pg
