// allocation_run: a run of allocate_events(), as allocation_runs and allocation_failures show it.
//
// Both tables belong to their owner alone: callers of allocate_events() write to them through the
// functions here. Those run inside an SPI connection, and their statements belong to the caller's
// transaction: what a run has done and what its row says of it are committed together.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "pg/types.hpp"

namespace attribution::entry {

/// What a run has done so far.
struct RunCounts {
    std::int64_t events;      // conversions and refunds that were allocated
    std::int64_t allocations; // rows that were written for them
    std::int64_t failed;      // events that could not be allocated
};

/// A run. Its text must live as long as the run.
struct AllocationRun {
    core::Uuid tenant_id;
    std::string_view model_version;
    core::Uuid id;
    RunCounts counts;
    pg::Timestamptz reached;  // events up to this time have been dealt with; -infinity at first
    TimestampTz announced_at; // when the client last got a NOTICE of the progress
};

/// What the caller of a run has asked for.
struct RunRequest {
    core::Uuid tenant_id;
    std::string_view model_version;
    std::optional<pg::Timestamptz> occurred_from, occurred_to; // no bound where there is none
    std::int32_t batch_size;
};

/// Inserts the row of a new run.
AllocationRun insert_allocation_run(const RunRequest& request);

enum class AllocationRunState : std::uint8_t { running, completed };

/// Writes the state, the counts and the time reached into the row of the run.
void update_run(const AllocationRun& run, AllocationRunState state);

/// Ends the run because of an error: undoes the transaction, commits the error into the row of the
/// run and raises it.
[[noreturn]] void fail_allocation_run(const AllocationRun& run, ErrorData* failure);

/// Records why an event could not be allocated; once per run and event.
void record_failure(AllocationRun* run, const core::Uuid& event_id, const ErrorData* failure);

/// Tells the client every few seconds how far the run is.
void announce_progress(AllocationRun* run);

/// Tells the client what the run has done: a NOTICE, and a WARNING when events have failed.
void announce_result(const AllocationRun& run);

} // namespace attribution::entry
