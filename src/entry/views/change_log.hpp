// The logs of changes: one materialized view per tracked view, which writers append to and
// refreshers consume (README.md).
#pragma once

#include "entry/views/tracked_view.hpp"

namespace attribution::entry {

/// attribution.change_log_limit, in MB.
extern int change_log_limit_mb;

/// Opens the log of the view, to append to; nullptr when the changes need not be logged, because
/// the next refresh computes the whole view anyway. Close it with NoLock.
Relation open_log_to_append(const TrackedView& view);

/// Opens the log of the view, to consume it. Close it with NoLock.
Relation open_log_to_consume(const TrackedView& view);

/// Deletes the rows that the snapshot sees from the log, and copies them into `changes` unless that
/// is nullptr.
void consume_log(Relation log, Snapshot snapshot, Tuplestorestate* changes);

} // namespace attribution::entry
