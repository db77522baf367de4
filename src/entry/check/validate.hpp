// validate: the locks and checks of COMMIT, for functions that need them earlier in the
// transaction.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::entry {

/// Locks a conversion as the checks do, FOR NO KEY UPDATE until the transaction ends: no other
/// session that takes this lock can write its refunds or their allocations meanwhile. Inside an SPI
/// connection.
void lock_conversion(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// Raises now the error that COMMIT would raise if the refunds of the conversion exceed it.
void check_refunds(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// Registers the callbacks of the checks. Called when the module is loaded.
void watch_checks();

} // namespace attribution::entry
