// validate: the checks at COMMIT.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::entry {

/// Locks a conversion as the checks do: who holds it has its refunds and their allocations to
/// itself. `events` is the table; `own_function` any function of the extension. Inside an SPI
/// connection.
void lock_conversion(Oid events, Oid own_function, Datum tenant_id, Datum conversion_id);

/// Raises now what COMMIT would if the refunds of the conversion exceed it.
void check_refunds(Oid events, Oid own_function, Datum tenant_id, Datum conversion_id);

/// Registers the callbacks that forget the touched keys when a transaction or subtransaction ends.
void watch_transactions();

} // namespace attribution::entry
