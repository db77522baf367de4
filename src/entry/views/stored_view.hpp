// stored_view: materialized views in which the extension stores what belongs to this server: the
// logs of changes, the states and the doubts (README.md). Their columns are read and written by
// number.
#pragma once

#include <span>

#include "pg/cache.hpp"
#include "pg/columns.hpp"

namespace attribution::entry {

/// Opens the stored view of this name, and raises 42804 when it has other columns than these.
/// `layout` remembers that they were checked. The caller holds the lock until the transaction ends
/// if it closes the relation with NoLock.
Relation open_stored(const char* name, std::span<const pg::Column> columns, pg::Cached& layout,
                     LOCKMODE lock);

} // namespace attribution::entry
