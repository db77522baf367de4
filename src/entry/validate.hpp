// validate: the sum check at COMMIT.
#pragma once

namespace attribution::entry {

/// Registers the callbacks that forget the touched keys when a transaction or subtransaction ends.
void watch_transactions();

} // namespace attribution::entry
