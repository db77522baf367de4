// What kind of trouble an error is, for those who survive errors and go on.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Errors that are not those of the data at hand: cancelling, full disks, locks that were not got,
/// a transaction that may not write.
bool is_of_the_session(const ErrorData* failure);

/// Errors that may not come again: serialization failures and deadlocks.
bool may_succeed_later(const ErrorData* failure);

} // namespace attribution::pg
