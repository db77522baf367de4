// refresh: what the incremental refresh and the refresh of the whole view share.
#pragma once

#include "entry/views/tracked_view.hpp"

namespace attribution::entry {

enum class Mode : std::uint8_t { automatic, incremental, concurrent, full };

/// A run, as refresh_log will have it.
struct Run {
    const TrackedView* view;
    const char* mode;
    std::optional<std::int64_t> rows_changed;
    TimestampTz started_at;
    const char* outcome;
    const char* error;
};

/// The doubt about a view that has a row which its log cannot follow
/// (TrackedView::unfollowed_rows).
inline constexpr const char* unfollowed_doubt = "it has allocations whose event is gone";

/// A snapshot that sees what is committed now, and what this transaction did; registered.
Snapshot newest_snapshot();

/// Refreshes a known view by its log, as of the snapshot, which is newer than the lock on the view.
/// `captured_by` describes the triggers now (describe_capture). Fills in rows_changed. Inside an
/// SPI connection.
void refresh_incrementally(Relation view, Snapshot snapshot, const char* captured_by, Run* run);

/// True when an incremental refresh costs less than one of the whole view. Inside an SPI
/// connection.
bool is_incremental_cheaper(const TrackedView& tracked, Relation view, Snapshot snapshot);

/// Refreshes the view by REFRESH, concurrently or in full, under a snapshot newer than the lock
/// that REFRESH takes. `was_known`: the view was known when the run looked. Fills in rows_changed.
/// Inside an SPI connection.
void refresh_whole(Oid view, Mode mode, bool was_known, Run* run);

} // namespace attribution::entry
