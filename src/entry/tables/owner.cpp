#include "entry/tables/owner.hpp"

#include "pg/own.hpp"

namespace attribution::entry {
namespace {

Oid owner_of_functions() {
    HeapTuple tuple =
        SearchSysCache1(PROCOID, ObjectIdGetDatum(pg::internal_function("table_definitions")));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function table_definitions");
    const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;
    ReleaseSysCache(tuple);
    return owner;
}

} // namespace

void check_owner(const char* table_name, Oid owner, Oid first_owner) {
    if (owner != first_owner)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution belong to several roles"),
                        errdetail("Table attribution.%s belongs to role \"%s\", others to \"%s\".",
                                  table_name, GetUserNameFromId(owner, false),
                                  GetUserNameFromId(first_owner, false)),
                        errhint("Give them one owner: ALTER TABLE ... OWNER TO.")));
    const Oid functions = owner_of_functions();
    if (owner != functions && !superuser_arg(owner))
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("tables of the extension attribution belong to another role than its "
                        "functions"),
                 errdetail("The tables belong to role \"%s\", the functions to \"%s\".",
                           GetUserNameFromId(owner, false), GetUserNameFromId(functions, false)),
                 errhint("Give the tables to the owner of the functions: ALTER TABLE ... OWNER "
                         "TO.")));
}

Relation open_own_view(const char* name, LOCKMODE lock) {
    Relation view = pg::open_own_relation(name, RELKIND_MATVIEW, lock);
    check_owner(name, view->rd_rel->relowner, view->rd_rel->relowner);
    return view;
}

} // namespace attribution::entry
