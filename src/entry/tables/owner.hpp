// owner: who may own a table that the functions of the extension work with?
//
// The schema of the tables is no part of the extension, so a role that may create in it may put a
// table or a view there under one of our names while ours is missing. Whoever reads or writes it
// runs code of its owner: functions in a view, in triggers, in expressions of indexes.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::entry {

/// What a table of the extension may be: its owner may have partitioned it.
constexpr char table_kinds[] = {RELKIND_RELATION, RELKIND_PARTITIONED_TABLE, '\0'};

constexpr char materialized_view_kinds[] = {RELKIND_MATVIEW, '\0'};

/// Functions act as the owner of the tables or as their own, and a trigger of either runs with the
/// rights of the other: so both are one role, or the tables' owner may do everything anyway. Raises
/// 55000 when that is not so, or when the owner is not the one of the tables before this one.
void check_owner(const char* name, Oid owner, Oid first_owner);

/// Opens a materialized view of the extension to read it. Raises 42P01 when it is not there, 42809
/// when it is none, and 55000 when its owner is not to be trusted.
Relation open_own_view(const char* name, LOCKMODE lock);

} // namespace attribution::entry
