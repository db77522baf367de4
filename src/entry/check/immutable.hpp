// Rows that never change: keys of allocations and events, and allocations that are in the ledger.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::entry {

struct Tables;

/// Refuses (23514) to change tenant, event, model version or channel of an allocation.
void refuse_change_of_key(const TriggerData* trigger, const Tables& tables);

/// Refuses (23514) to change an allocation that is in the ledger at all.
void refuse_change_of_posted(const TriggerData* trigger, Tables& tables);

} // namespace attribution::entry
