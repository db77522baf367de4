// capture_triggers: whether the triggers on the tables of a view, and the functions they call, are
// those that were installed.
#pragma once

#include "entry/views/tracked_view.hpp"

namespace attribution::entry {

struct Capture {
    const char* fault;       // why changes may not be captured; nullptr: all of them are
    const char* description; // where there is no fault; palloc'd
};

/// How the changes of a view are captured, as the catalog is now. The description changes when any
/// trigger or function is dropped, disabled, altered or replaced, even if that is undone again: a
/// refresh compares it with that of the refresh before. Inside an SPI connection.
Capture describe_capture(const TrackedView& view);

} // namespace attribution::entry
