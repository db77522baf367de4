// Classes of errors, for callers that go on after an error in a subtransaction.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// True for errors that the data did not cause: a cancelled or terminated session, a full disk, a
/// lock timeout, a read-only transaction.
bool is_of_the_session(const ErrorData* failure);

/// True for errors that may not come again: serialization failures and deadlocks.
bool may_succeed_later(const ErrorData* failure);

} // namespace attribution::pg
