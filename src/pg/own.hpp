// The extension's own objects by name: the one place that knows the schema they live in.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The schema of the extension's objects. Raises 3F000 when it is not there.
Oid own_schema();

/// A relation of the extension. Raises 42P01 when it is not there.
Oid own_relation(const char* name);

/// The same, InvalidOid when the relation or the schema is not there.
Oid find_own_relation(const char* name);

/// A function of the extension that has no arguments in SQL: a trigger function. Raises 42883 when
/// it is not there.
Oid own_trigger_function(const char* name);

} // namespace attribution::pg
