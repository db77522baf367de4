#include "pg/foreign_key.hpp"

#include <algorithm>
#include <array>

#include "pg/boundary.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"

namespace attribution::pg {
namespace {

/// A foreign key as pg_constraint has it.
struct Columns {
    int count;
    AttrNumber referencing[INDEX_MAX_KEYS];
    AttrNumber referenced[INDEX_MAX_KEYS];
};

/// Calls look(constraint, columns) if the constraint is a foreign key, and returns what it returns.
template <class Look>
bool look_at_foreign_key(Oid constraint, Look look) {
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for constraint %u", constraint);
    const auto* form = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
    bool answer = false;
    if (form->contype == CONSTRAINT_FOREIGN) {
        Columns columns;
        DeconstructFkConstraintRow(tuple, &columns.count, columns.referencing, columns.referenced,
                                   nullptr, nullptr, nullptr, nullptr, nullptr);
        answer = look(*form, columns);
    }
    ReleaseSysCache(tuple);
    return answer;
}

/// True when the constraint is a foreign key with this column on its referencing side.
bool starts_at_column(Oid constraint, const char* column) {
    return look_at_foreign_key(constraint,
                               [&](const FormData_pg_constraint& form, const Columns& columns) {
                                   const AttrNumber wanted = get_attnum(form.conrelid, column);
                                   const AttrNumber* end = columns.referencing + columns.count;
                                   return std::find(columns.referencing, end, wanted) != end;
                               });
}

/// True when PostgreSQL's own trigger on the referencing relation checks just this foreign key,
/// with its columns in this order.
bool is_checked_by(const Trigger& trigger, const ForeignKey& key) {
    if (trigger.tgconstrrelid != key.parent)
        return false;
    return look_at_foreign_key(trigger.tgconstraint, [&](const FormData_pg_constraint& form,
                                                         const Columns& columns) {
        bool same = static_cast<std::size_t>(columns.count) == key.columns.size();
        for (std::size_t i = 0; same && i < key.columns.size(); ++i)
            same = columns.referencing[i] == get_attnum(form.conrelid, key.columns[i]) &&
                   columns.referenced[i] == get_attnum(form.confrelid, key.referenced_columns[i]);
        return same;
    });
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

/// A copy of the relation's triggers: opening another relation or reading the catalog may rebuild
/// the relation's own list and free the old one.
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

Oid referenced_relation(Relation child, const char* column, Oid trigger_function) {
    const Oid parent = across_foreign_key(child, RI_TRIGGER_FK, column, trigger_function);
    if (!OidIsValid(parent))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                 errmsg("foreign key on column \"%s\" of relation \"%s\" does not exist", column,
                        RelationGetRelationName(child)),
                 errdetail("Triggers of the relation find the referenced table through it."),
                 errhint("Restore the foreign key of the extension's installation script.")));
    return parent;
}

Oid referencing_relation(Relation parent, const char* column, Oid trigger_function) {
    return across_foreign_key(parent, RI_TRIGGER_PK, column, trigger_function);
}

// ---------------------------------------------------------------------------------------------
// Inserting without checking keys
//
// PostgreSQL checks each foreign key of each inserted row with a statement of its own, a quarter of
// what a row of an allocation costs. Where the caller holds locks on all parents those checks
// always succeed. SQL has no way to leave them out for one statement, but they are ordinary
// triggers, and no ordinary trigger fires while the replication role is `replica`.
//
// That role is the whole session's, though. Whatever else the INSERT runs would run without its
// triggers and foreign keys, too: a column's default that writes to another table would leave
// orphans there. So the INSERT may run nothing that could write elsewhere, and the functions below
// look at all that an INSERT evaluates. What is allowed is a list; what is not on it is foreign:
//
//     functions     PostgreSQL's immutable ones and its clocks, and the extension's own in C that
//                   are not parallel unsafe, as all that write are
//     expressions   those of defaults, generated columns, CHECK constraints, policies and indexes
//                   that consist of such functions, columns and constants
//     types         PostgreSQL's base types, without casts that somebody added: a domain has
//                   constraints, another type has functions
//     triggers      the extension's own in C that fire always or on replicas, and the checks of the
//                   given keys

namespace {

bool is_built_in(Oid object) {
    return object < FirstNormalObjectId;
}

/// A function in C of `extension`, which is this one. Somebody with the rights of its owner can
/// replace a function of the extension by one in another language, which stays a member of it and
/// is not the extension's own any more.
bool is_own_function(Oid function, Oid extension) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function %u", function);
    const Oid language = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prolang;
    ReleaseSysCache(tuple);
    return language == ClanguageId && OidIsValid(extension) &&
           getExtensionOfObject(ProcedureRelationId, function) == extension;
}

/// Called by a walk over an expression; `extension` points to the OID of this one.
extern "C" bool is_foreign_function(Oid function, void* extension) {
    if (!is_built_in(function))
        return !is_own_function(function, *static_cast<const Oid*>(extension)) ||
               func_parallel(function) == PROPARALLEL_UNSAFE;
    // A volatile or stable function may read and run anything: query_to_xml() does.
    return func_volatile(function) != PROVOLATILE_IMMUTABLE && function != F_NOW &&
           function != F_CLOCK_TIMESTAMP && function != F_GEN_RANDOM_UUID;
}

/// True when the expression holds anything that is not known to be harmless.
extern "C" bool is_foreign_expression(Node* node, void* extension) {
    if (node == nullptr)
        return false;
    switch (nodeTag(node)) {
    case T_FuncExpr:
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
    case T_ScalarArrayOpExpr:
    case T_CoerceViaIO:
    case T_MinMaxExpr:
        if (check_functions_in_node(node, is_foreign_function, extension))
            return true;
        break;
    case T_List:
    case T_Var:
    case T_Const:
    case T_RelabelType:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CaseTestExpr:
    case T_CoalesceExpr:
    case T_ArrayExpr:
    case T_SQLValueFunction:
        break;
    default: // a subquery, a domain, nextval, ...
        return true;
    }
#if PG_VERSION_NUM >= 160000
    return expression_tree_walker(node, is_foreign_expression, extension);
#else
    // Declared without its parameters up to 15.
    return expression_tree_walker(
        node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(is_foreign_expression)),
        extension);
#endif
}

bool has_foreign_triggers(Relation child, std::span<const ForeignKey> keys, Oid* extension) {
    const TriggerDesc* triggers = triggers_of(child);
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (!TRIGGER_FOR_INSERT(trigger.tgtype) || trigger.tgenabled == TRIGGER_DISABLED)
            continue;
        if (RI_FKey_trigger_type(trigger.tgfoid) == RI_TRIGGER_FK &&
            std::any_of(keys.begin(), keys.end(),
                        [&](const ForeignKey& key) { return is_checked_by(trigger, key); }))
            continue;
        // Those for replicas fire as well: they ask whether the row was replicated.
        const bool fires = trigger.tgenabled == TRIGGER_FIRES_ALWAYS ||
                           trigger.tgenabled == TRIGGER_FIRES_ON_REPLICA;
        if (!fires || !is_own_function(trigger.tgfoid, *extension))
            return true;
        // PostgreSQL evaluates the WHEN condition of the extension's own triggers as well.
        if (trigger.tgqual != nullptr &&
            is_foreign_expression(static_cast<Node*>(stringToNode(trigger.tgqual)), extension))
            return true;
    }
    return false;
}

/// Defaults, generated columns and CHECK constraints.
bool has_foreign_constraints(Relation child, Oid* extension) {
    const TupleConstr* constraints = RelationGetDescr(child)->constr;
    if (constraints == nullptr)
        return false;
    for (int i = 0; i < constraints->num_defval; ++i)
        if (is_foreign_expression(static_cast<Node*>(stringToNode(constraints->defval[i].adbin)),
                                  extension))
            return true;
    for (int i = 0; i < constraints->num_check; ++i)
        if (is_foreign_expression(static_cast<Node*>(stringToNode(constraints->check[i].ccbin)),
                                  extension))
            return true;
    return false;
}

/// Policies of any role and command count, also those that do not apply to the caller.
bool has_foreign_policies(Relation child, Oid* extension) {
    if (child->rd_rsdesc == nullptr)
        return false;
    ListCell* cell;
    foreach (cell, child->rd_rsdesc->policies) {
        const auto* policy = static_cast<const RowSecurityPolicy*>(lfirst(cell));
        if (is_foreign_expression(reinterpret_cast<Node*>(policy->qual), extension) ||
            is_foreign_expression(reinterpret_cast<Node*>(policy->with_check_qual), extension))
            return true;
    }
    return false;
}

bool is_foreign_index(Relation index, Oid* extension) {
    const Form_pg_index form = index->rd_index;
    if (!is_built_in(index->rd_rel->relam) || form->indisexclusion)
        return true;
    for (int i = 0; i < form->indnkeyatts; ++i)
        if (!is_built_in(index->rd_opfamily[i]))
            return true;
    return is_foreign_expression(reinterpret_cast<Node*>(RelationGetIndexExpressions(index)),
                                 extension) ||
           is_foreign_expression(reinterpret_cast<Node*>(RelationGetIndexPredicate(index)),
                                 extension);
}

bool has_foreign_indexes(Relation child, Oid* extension) {
    bool found = false;
    List* indexes = RelationGetIndexList(child);
    ListCell* cell;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);
        found = found || is_foreign_index(index, extension);
        index_close(index, AccessShareLock);
    }
    list_free(indexes);
    return found;
}

/// True when somebody has added a cast that an INSERT of the extension's values could use.
bool has_foreign_cast_to(Oid type) {
    constexpr std::array<Oid, 6> sources = {UUIDOID, TEXTOID,        INT8OID,
                                            BOOLOID, TIMESTAMPTZOID, NUMERICOID};
    return std::any_of(sources.begin(), sources.end(), [&](Oid source) {
        return source != type &&
               !is_built_in(GetSysCacheOid2(CASTSOURCETARGET, Anum_pg_cast_oid,
                                            ObjectIdGetDatum(source), ObjectIdGetDatum(type)));
    });
}

bool has_foreign_types(Relation child) {
    const TupleDesc columns = RelationGetDescr(child);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (column->attisdropped)
            continue;
        if (!is_built_in(column->atttypid) || get_typtype(column->atttypid) != TYPTYPE_BASE ||
            has_foreign_cast_to(column->atttypid))
            return true;
    }
    return false;
}

} // namespace

bool inserts_run_nothing_foreign(Relation child, std::span<const ForeignKey> keys) {
    Assert(CheckRelationLockedByMe(child, RowExclusiveLock, true));
    Oid extension = own_extension();
    // A partition evaluates the expressions of its parent's partition key.
    return child->rd_rel->relkind == RELKIND_RELATION && !child->rd_rel->relispartition &&
           child->rd_rel->relam == HEAP_TABLE_AM_OID && child->rd_rules == nullptr &&
           !has_foreign_triggers(child, keys, &extension) &&
           !has_foreign_constraints(child, &extension) &&
           !has_foreign_policies(child, &extension) && !has_foreign_indexes(child, &extension) &&
           !has_foreign_types(child);
}

void detail::insert_without_key_checks(Relation child, std::span<const ForeignKey> keys,
                                       void (*insert)(bool is_unchecked, void* state),
                                       void* state) {
    if (!inserts_run_nothing_foreign(child, keys)) {
        insert(false, state);
        return;
    }
    // This assigns the variable behind session_replication_role. Changing the setting would discard
    // every plan of the session.
    while_set(&SessionReplicationRole, static_cast<int>(SESSION_REPLICATION_ROLE_REPLICA),
              [&] { insert(true, state); });
}

} // namespace attribution::pg
