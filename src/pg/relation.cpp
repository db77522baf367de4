#include "pg/relation.hpp"

#include <algorithm>

#include "pg/types.hpp"

namespace attribution::pg {

const char* qualified_name(Oid relation) {
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
                                      get_rel_name(relation));
}

Oid owner_of(Oid relation) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

bool is_owner(Oid relation, Oid role) {
    return has_privs_of_role(role, owner_of(relation));
}

namespace {

/// True when the index has every row in which none of the columns is null.
bool has_rows_with(Relation index, Relation relation, std::span<const int> columns) {
    const List* predicate = RelationGetIndexPredicate(index);
    if (predicate == NIL)
        return true;
    const auto* test = static_cast<const NullTest*>(linitial(predicate));
    if (list_length(predicate) != 1 || !IsA(test, NullTest) || test->nulltesttype != IS_NOT_NULL ||
        !IsA(test->arg, Var))
        return false;
    const int tested = reinterpret_cast<const Var*>(test->arg)->varattno;
    // A column of the system, or the whole row, is numbered below 1.
    return std::find(columns.begin(), columns.end(), tested) != columns.end() ||
           (tested > 0 && TupleDescAttr(RelationGetDescr(relation), tested - 1)->attnotnull);
}

bool starts_with(Relation index, Relation relation, std::span<const int> columns) {
    const Form_pg_index form = index->rd_index;
    if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
        form->indcheckxmin || form->indnkeyatts < static_cast<int>(columns.size()))
        return false;
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (form->indkey.values[i] != columns[i] ||
            index->rd_indcollation[i] !=
                TupleDescAttr(RelationGetDescr(relation), columns[i] - 1)->attcollation)
            return false;
    return true;
}

} // namespace

Oid index_on(Relation relation, std::span<const int> columns) {
    Oid found = InvalidOid;
    if (relation->rd_rel->relkind != RELKIND_RELATION || relation->rd_rel->relhassubclass)
        return found;
    List* indexes = RelationGetIndexList(relation);
    ListCell* cell;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);
        if (!OidIsValid(found) && starts_with(index, relation, columns) &&
            has_rows_with(index, relation, columns))
            found = RelationGetRelid(index);
        index_close(index, AccessShareLock);
    }
    list_free(indexes);
    return found;
}

CallerRights act_as_owner(Oid relation) {
    CallerRights rights;
    GetUserIdAndSecContext(&rights.user, &rights.security_context);
    SetUserIdAndSecContext(owner_of(relation), rights.security_context |
                                                   SECURITY_LOCAL_USERID_CHANGE |
                                                   SECURITY_NOFORCE_RLS);
    return rights;
}

CallerRights act_as_restricted_owner(Relation relation) {
    CallerRights rights;
    GetUserIdAndSecContext(&rights.user, &rights.security_context);
    SetUserIdAndSecContext(relation->rd_rel->relowner,
                           rights.security_context | SECURITY_RESTRICTED_OPERATION);
    return rights;
}

void act_as_caller(const CallerRights& rights) {
    SetUserIdAndSecContext(rights.user, rights.security_context);
}

TriggerData* trigger_data(FunctionCallInfo fcinfo, const char* function_name) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("%s() must be called as a trigger", function_name)));
    return reinterpret_cast<TriggerData*>(fcinfo->context);
}

TriggerData* row_trigger(FunctionCallInfo fcinfo, const char* function_name, int event) {
    TriggerData* trigger = trigger_data(fcinfo, function_name);
    if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
        (event >= 0 &&
         (trigger->tg_event & TRIGGER_EVENT_OPMASK) != static_cast<TriggerEvent>(event)))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("%s() is not a trigger function for this event", function_name)));
    return trigger;
}

} // namespace attribution::pg
