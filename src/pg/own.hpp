// The extension's own objects by name: the one place that knows the schemas they live in.
//
// Tables, views and the functions that people call are in one schema, which is no part of the
// extension; trigger functions, logs of changes and states are in the other, which is one.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The extension; InvalidOid while it is not there.
Oid own_extension();

/// The schema of tables and views. Raises 3F000 when it is not there.
Oid own_schema();

/// The same, InvalidOid when it is not there.
Oid find_own_schema();

/// A relation of that schema. Raises 42P01 when it is not there.
Oid own_relation(const char* name);

/// The same, InvalidOid when the relation or the schema is not there.
Oid find_own_relation(const char* name);

/// Opens a relation of that schema, which must be of this kind (RELKIND_RELATION, ...), as
/// table_open() does. Raises 42P01 when it is not there, and 42809 when something else has its
/// name: the schema is no part of the extension, so whoever may create in it may put a view there,
/// which has no rows of its own to scan.
Relation open_own_relation(const char* name, char kind, LOCKMODE lock);

/// Raises 42809 when the relation of that schema is of none of these kinds, each a RELKIND_...
void check_kind(Oid relation, const char* kinds);

/// The schema of what only the extension uses. Raises 3F000 when it is not there.
Oid internal_schema();

/// A relation of that schema. Raises 42P01 when it is not there.
Oid internal_relation(const char* name);

/// The same, InvalidOid when the relation or the schema is not there.
Oid find_internal_relation(const char* name);

/// A function of that schema that has no arguments in SQL, as a trigger function. Raises 42883 when
/// it is not there.
Oid internal_function(const char* name);

} // namespace attribution::pg
