#include "pg/relation.hpp"

#include <algorithm>

#include "pg/types.hpp"

namespace attribution::pg {
namespace {

/// The foreign key behind one of PostgreSQL's own triggers, if it starts at column `column` of the
/// referencing relation.
bool starts_at_column(Oid constraint, const char* column) {
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for constraint %u", constraint);
    const auto* form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
    bool found = false;
    if (form->contype == CONSTRAINT_FOREIGN) {
        const AttrNumber wanted = get_attnum(form->conrelid, column);
        int count;
        AttrNumber columns[INDEX_MAX_KEYS];
        AttrNumber referenced[INDEX_MAX_KEYS];
        DeconstructFkConstraintRow(tuple, &count, columns, referenced, nullptr, nullptr, nullptr,
                                   nullptr, nullptr);
        for (int i = 0; i < count; ++i)
            found = found || columns[i] == wanted;
    }
    ReleaseSysCache(tuple);
    return found;
}

/// True when PostgreSQL's own trigger on the referencing relation checks just this foreign key,
/// with its columns in this order.
bool is_checked_by(const Trigger& trigger, const ForeignKey& key) {
    if (trigger.tgconstrrelid != key.parent)
        return false;
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(trigger.tgconstraint));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for constraint %u", trigger.tgconstraint);
    const auto* form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
    int count;
    AttrNumber from[INDEX_MAX_KEYS];
    AttrNumber to[INDEX_MAX_KEYS];
    DeconstructFkConstraintRow(tuple, &count, from, to, nullptr, nullptr, nullptr, nullptr,
                               nullptr);
    bool same = static_cast<std::size_t>(count) == key.columns.size();
    for (std::size_t i = 0; same && i < key.columns.size(); ++i)
        same = from[i] == get_attnum(form->conrelid, key.columns[i]) &&
               to[i] == get_attnum(form->confrelid, key.referenced_columns[i]);
    ReleaseSysCache(tuple);
    return same;
}

bool has_trigger(Oid relation_id, Oid function) {
    Relation relation = relation_open(relation_id, AccessShareLock);
    const TriggerDesc* triggers = relation->trigdesc;
    bool found = false;
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i)
        found = found || triggers->triggers[i].tgfoid == function;
    relation_close(relation, AccessShareLock);
    return found;
}

/// A copy: whoever opens another relation or reads the catalog may find the relation's own triggers
/// rebuilt afterwards, and the old ones freed.
const TriggerDesc* triggers_of(Relation relation) {
    return CopyTriggerDesc(relation->trigdesc);
}

Oid across_foreign_key(Relation relation, int trigger_kind, const char* column,
                       Oid trigger_function) {
    const TriggerDesc* triggers = triggers_of(relation);
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (RI_FKey_trigger_type(trigger.tgfoid) == trigger_kind &&
            OidIsValid(trigger.tgconstraint) && starts_at_column(trigger.tgconstraint, column) &&
            has_trigger(trigger.tgconstrrelid, trigger_function))
            return trigger.tgconstrrelid;
    }
    return InvalidOid;
}

} // namespace

const char* qualified_name(Oid relation) {
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
                                      get_rel_name(relation));
}

bool is_owner(Oid relation, Oid role) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return has_privs_of_role(role, owner);
}

Oid sibling_function(Oid function, const char* name) {
    char* schema = get_namespace_name(get_func_namespace(function));
    return LookupFuncName(list_make2(makeString(schema), makeString(pstrdup(name))), 0, nullptr,
                          false);
}

Oid referenced_relation(Relation child, const char* column, Oid trigger_function) {
    const Oid parent = across_foreign_key(child, RI_TRIGGER_FK, column, trigger_function);
    if (!OidIsValid(parent))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                 errmsg("relation \"%s\" has lost its foreign key on column %s",
                        RelationGetRelationName(child), column),
                 errdetail("Its triggers find the referenced rows through that foreign key."),
                 errhint("Restore the foreign key of the extension's installation script.")));
    return parent;
}

Oid referencing_relation(Relation parent, const char* column, Oid trigger_function) {
    return across_foreign_key(parent, RI_TRIGGER_PK, column, trigger_function);
}

bool inserts_check_only(Relation child, std::span<const ForeignKey> keys) {
    if (child->rd_rules != nullptr)
        return false;
    const TriggerDesc* triggers = triggers_of(child);
    const Oid extension = getExtensionOfObject(RelationRelationId, RelationGetRelid(child));
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (!TRIGGER_FOR_INSERT(trigger.tgtype) || trigger.tgenabled == TRIGGER_DISABLED)
            continue;
        if (RI_FKey_trigger_type(trigger.tgfoid) == RI_TRIGGER_FK &&
            std::any_of(keys.begin(), keys.end(),
                        [&](const ForeignKey& key) { return is_checked_by(trigger, key); }))
            continue;
        // What a trigger of somebody else does in turn has triggers and keys of its own.
        if ((trigger.tgenabled != TRIGGER_FIRES_ALWAYS &&
             trigger.tgenabled != TRIGGER_FIRES_ON_REPLICA) ||
            !OidIsValid(extension) ||
            getExtensionOfObject(ProcedureRelationId, trigger.tgfoid) != extension)
            return false;
    }
    return true;
}

bool inserts_check_only(Relation child, std::span<const char* const> columns, Oid parent,
                        std::span<const char* const> referenced_columns) {
    const ForeignKey key = {columns, parent, referenced_columns};
    return inserts_check_only(child, std::span(&key, 1));
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

int column_number(Relation relation, const char* column) {
    const AttrNumber number = get_attnum(RelationGetRelid(relation), column);
    if (number == InvalidAttrNumber)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                        errmsg("column \"%s\" of relation \"%s\" does not exist", column,
                               RelationGetRelationName(relation))));
    return number;
}

int column_number(Relation relation, const char* column, Oid type) {
    const int number = column_number(relation, column);
    const Oid actual = TupleDescAttr(RelationGetDescr(relation), number - 1)->atttypid;
    if (!is_of_type(actual, type))
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("column \"%s\" of relation \"%s\" is of type %s instead of %s",
                               column, RelationGetRelationName(relation), format_type_be(actual),
                               format_type_be(type)),
                        errhint("Give the column of the extension's table its type back.")));
    return number;
}

OwnerRights act_as_owner(Oid relation) {
    OwnerRights rights;
    GetUserIdAndSecContext(&rights.user, &rights.security_context);
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    SetUserIdAndSecContext(owner, rights.security_context | SECURITY_LOCAL_USERID_CHANGE |
                                      SECURITY_NOFORCE_RLS);
    return rights;
}

OwnerRights act_as_restricted_owner(Relation relation) {
    OwnerRights rights;
    GetUserIdAndSecContext(&rights.user, &rights.security_context);
    SetUserIdAndSecContext(relation->rd_rel->relowner,
                           rights.security_context | SECURITY_RESTRICTED_OPERATION);
    return rights;
}

void act_as_before(const OwnerRights& rights) {
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
