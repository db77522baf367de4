// Settings under which the extension plans and runs its statements, whatever the caller has set.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Plans made until restore_settings() avoid scans of whole tables: a plan that was made while a
/// table was empty is kept after it grew. Returns what restore_settings() takes; an error restores
/// by itself.
int prefer_indexes();
void restore_settings(int settings);

/// The same, and rows are read in the order of an index and no further than a LIMIT, rather than
/// all that match, which are sorted then.
int prefer_index_order();

/// Until restore_settings(): names in queries are the system's, whatever the caller's search_path
/// is, and plans are those of prefer_index_order(). For procedures that commit, which may not SET.
int pin_settings();

/// Until the subtransaction ends, no lock is waited for longer than that.
void limit_lock_wait(int milliseconds);

} // namespace attribution::pg
