// Relations known by OID only: triggers fire on shards and partitions, where names differ.
#pragma once

#include <span>

#include "pg/foreign_key.hpp"

namespace attribution::pg {

/// "schema"."name", quoted, palloc'd.
const char* qualified_name(Oid relation);

/// True when `role` has the rights of the relation's owner.
bool is_owner(Oid relation, Oid role);

/// A btree index that finds rows by equality of its first columns, which are these: complete, or
/// without only the rows where one of them is null. InvalidOid when there is none, or where rows
/// may lie elsewhere than in a plain table (partitions, children).
Oid index_on(Relation relation, std::span<const int> columns);

/// The user that runs and how it is restricted, before the code acts as somebody else.
struct CallerRights {
    Oid user;
    int security_context;
};

/// Goes on as the owner of the relation, outside row security even where it is forced: what
/// PostgreSQL's own foreign-key checks do. An error restores the user by itself.
CallerRights act_as_owner(Oid relation);

/// Goes on as the caller did before.
void act_as_caller(const CallerRights& rights);

/// Goes on as the owner of the relation as REFRESH does: what indexes and queries of the owner call
/// acts with no more than the owner's rights.
CallerRights act_as_restricted_owner(Relation relation);

/// Raises the protocol error of a trigger function that was called otherwise.
TriggerData* trigger_data(FunctionCallInfo fcinfo, const char* function_name);

/// The same for AFTER ROW triggers, of one TRIGGER_EVENT_... only unless any will do.
TriggerData* row_trigger(FunctionCallInfo fcinfo, const char* function_name, int event = -1);

} // namespace attribution::pg
