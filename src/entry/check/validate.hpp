// validate: the checks at COMMIT, for those who want them earlier.
#pragma once

#include "pg/convert.hpp"

namespace attribution::entry {

/// Locks a conversion as the checks do: who holds it has its refunds and their allocations to
/// itself. Inside an SPI connection.
void lock_conversion(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// Raises now what COMMIT would if the refunds of the conversion exceed it.
void check_refunds(const core::Uuid& tenant_id, const core::Uuid& conversion_id);

// The same for callers that still hold Datums.
inline void lock_conversion(Oid, Oid, Datum tenant_id, Datum conversion_id) {
    lock_conversion(pg::uuid_of(tenant_id), pg::uuid_of(conversion_id));
}
inline void check_refunds(Oid, Oid, Datum tenant_id, Datum conversion_id) {
    check_refunds(pg::uuid_of(tenant_id), pg::uuid_of(conversion_id));
}

/// Registers what the checks need to hear of. When the module is loaded.
void watch_checks();

} // namespace attribution::entry
