// Relations known by OID only: triggers fire on shards and partitions, where names differ.
#pragma once

#include <span>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// "schema"."name", quoted, palloc'd.
const char* qualified_name(Oid relation);

/// True when `role` has the rights of the relation's owner.
bool is_owner(Oid relation, Oid role);

/// The function of this name, without arguments, in the schema of another function.
Oid sibling_function(Oid function, const char* name);

/// The relation that a foreign key on column `column` of `child` references and that has a trigger
/// calling `trigger_function`: users may add foreign keys of their own, on both sides. Raises when
/// there is none.
Oid referenced_relation(Relation child, const char* column, Oid trigger_function);

/// The relation that references `parent` through a foreign key on its column `column` and that has
/// a trigger calling `trigger_function`; InvalidOid when there is none.
Oid referencing_relation(Relation parent, const char* column, Oid trigger_function);

/// A foreign key: from columns of one relation to columns of `parent`.
struct ForeignKey {
    std::span<const char* const> columns;
    Oid parent;
    std::span<const char* const> referenced_columns;
};

/// True when all that an INSERT into `child` sets off is triggers of this extension, ENABLE ALWAYS
/// or for replicated rows, and the checks of these foreign keys.
bool inserts_check_only(Relation child, std::span<const ForeignKey> keys);

/// The same for one: columns `columns` to `referenced_columns` of `parent`.
bool inserts_check_only(Relation child, std::span<const char* const> columns, Oid parent,
                        std::span<const char* const> referenced_columns);

/// A btree index that finds rows by equality of its first columns, which are these: complete, or
/// without only the rows where one of them is null. InvalidOid when there is none, or where rows
/// may lie elsewhere than in a plain table (partitions, children).
Oid index_on(Relation relation, std::span<const int> columns);

/// The number of a column. Raises when the relation has none of that name.
int column_number(Relation relation, const char* column);

/// The same. Raises 42804 when values of the column may not be read as `type`: an owner may have
/// altered the column.
int column_number(Relation relation, const char* column, Oid type);

/// Who runs, before act_as_owner.
struct OwnerRights {
    Oid user;
    int security_context;
};

/// Goes on as the owner of the relation, outside row security even where it is forced: what
/// PostgreSQL's own foreign-key checks do. An error restores the user by itself.
OwnerRights act_as_owner(Oid relation);
void act_as_before(const OwnerRights& rights);

/// Goes on as the owner of the relation as REFRESH does: what indexes and queries of the owner call
/// acts with no more than the owner's rights.
OwnerRights act_as_restricted_owner(Relation relation);

/// Raises the protocol error of a trigger function that was called otherwise.
TriggerData* trigger_data(FunctionCallInfo fcinfo, const char* function_name);

/// The same for AFTER ROW triggers, of one TRIGGER_EVENT_... only unless any will do.
TriggerData* row_trigger(FunctionCallInfo fcinfo, const char* function_name, int event = -1);

} // namespace attribution::pg
