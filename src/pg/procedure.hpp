// Procedures that commit: what they need to be called, and how they end a transaction.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Raises 2D000 when the procedure was called inside a transaction block, where it may not commit.
/// `procedure` is its name with "()"; reason and hint become DETAIL and HINT.
void check_may_commit(FunctionCallInfo fcinfo, const char* procedure, const char* reason,
                      const char* hint);

/// Ends the transaction of a procedure and begins the next one, READ COMMITTED whatever the default
/// is: each of its statements must see what was committed before the locks it waited for.
void commit();
void roll_back();

} // namespace attribution::pg
