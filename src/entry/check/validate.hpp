// validate: the checks at COMMIT, for those who want them earlier.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::entry {

/// Locks a conversion as the checks do: who holds it has its refunds and their allocations to
/// itself. Inside an SPI connection.
void lock_conversion(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// Raises now what COMMIT would if the refunds of the conversion exceed it.
void check_refunds(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// Registers what the checks need to hear of. When the module is loaded.
void watch_checks();

} // namespace attribution::entry
