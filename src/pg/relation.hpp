// Relations known by OID only: triggers fire on shards and partitions, where names differ.
#pragma once

#include <span>

#include "pg/foreign_key.hpp"

namespace attribution::pg {

/// "schema"."name", quoted, palloc'd.
const char* qualified_name(Oid relation);

Oid owner_of(Oid relation);

/// True when `role` has the rights of the relation's owner.
bool is_owner(Oid relation, Oid role);

/// A btree index whose first columns are these, and that has every row in which none of them is
/// null. InvalidOid when there is none, or when the relation is no plain table (it has partitions
/// or children).
Oid index_on(Relation relation, std::span<const int> columns);

/// The current user and its restrictions, before the code acts as another user.
struct CallerRights {
    Oid user;
    int security_context;
};

/// Acts as the owner of the relation from now on, outside row security even where it is forced, as
/// PostgreSQL's own foreign-key checks do. An error restores the user by itself.
CallerRights act_as_owner(Oid relation);

/// Acts as the caller again.
void act_as_caller(const CallerRights& rights);

/// Acts as the owner of the relation in a security-restricted operation, as REFRESH does: functions
/// that indexes and queries call have no more than the owner's rights.
CallerRights act_as_restricted_owner(Relation relation);

/// The data of the trigger that has called the function. Raises 39P01 when no trigger has.
TriggerData* trigger_data(FunctionCallInfo fcinfo, const char* function_name);

/// The same for an AFTER ROW trigger. `event`: one of TRIGGER_EVENT_..., which the trigger must be
/// for; -1 accepts all of them.
TriggerData* row_trigger(FunctionCallInfo fcinfo, const char* function_name, int event = -1);

} // namespace attribution::pg
