// ledger: what was posted.
#pragma once

namespace attribution::entry {

/// Registers the callback that forgets what is known of ledgers when relations change.
void watch_ledgers();

} // namespace attribution::entry
