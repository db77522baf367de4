// What the planner sees while an index is tried.
#pragma once

namespace attribution::entry {

/// Watches the planner. Call once, when the library is loaded.
void watch_planning();

} // namespace attribution::entry
