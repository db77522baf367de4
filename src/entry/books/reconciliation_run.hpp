// reconciliation_run: one comparison of a tenant's ledger with what was settled, from its start to
// its end.
//
//     start     the run is "running"; a tenant has one running run at most
//     settle    settlements come in, in as many steps as wanted            settle.cpp
//     finish    ledger and settlements are compared: "completed"           finish.cpp
//     fail      "failed", with a message
//
// A run records the server process that worked on it last. When that process is gone, nobody will
// finish the run, and the next start ends it as failed; no process that is alive loses its run to
// another.
//
// All functions run inside an SPI connection.
#pragma once

#include "pg/types.hpp"

namespace attribution::entry {

enum class ReconciliationState { idle, running, failed, completed };

/// Locks the run until the transaction ends: the steps of a run come one after the other. Raises
/// 22023 when there is none.
ReconciliationState lock_run(const core::Uuid& tenant_id, const core::Uuid& run_id);

/// Locks the run, which must be running (else 55000), and records this process as the one that
/// works on it. The run is updated even where it is recorded already: a step whose snapshot is
/// older than this one cannot finish the run without seeing it.
void join_run(const core::Uuid& tenant_id, const core::Uuid& run_id);

/// The run's row, in `memory`.
Datum run_row(const core::Uuid& tenant_id, const core::Uuid& run_id, MemoryContext memory);

/// Ends a run that this process has joined as completed, and returns its row in `memory`. The
/// result, an object of counts and sums, is added to its run_metadata.
Datum complete_run(const core::Uuid& tenant_id, const core::Uuid& run_id, pg::JsonbDatum result,
                   MemoryContext memory);

} // namespace attribution::entry
