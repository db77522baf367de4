// capture: what has changed since the materialized views were refreshed, and whether that is known.
//
// Writers log their changes in their own transactions, refreshers consume the log:
//
//     INSERT, UPDATE, DELETE     a statement trigger appends what changed     one log per view:
//                                                                             attribution.<...>_changes
//     TRUNCATE, replicated       a trigger raises a doubt: the log no longer
//     attribution.refresh_doubts rows, REFRESH by hand      tells how the view differs from its
//     query
//
// A view's contents are known when the log tells all that they lack: a full refresh by refresh()
// has recorded them in attribution.refresh_state, no doubt was raised since, and the triggers are
// still those of then. Only then can a refresh be incremental.
//
// Logs, doubts and states belong to this server, whatever is replicated or dumped: they are
// materialized views, which no publication sends, no dump fills and no SQL statement changes.
#pragma once

#include <array>

#include "pg/postgres.hpp"

namespace attribution::entry {

struct TrackedView {
    const char* name;
    const char* changes;               // its log
    int trigger_count;                 // that log for it or raise doubts
    std::array<const char*, 3> tables; // that its query reads; nullptr: no more
};

inline constexpr std::array<TrackedView, 3> tracked_views = {
    {{"mv_allocation_summary",
      "allocation_summary_changes",
      9,
      {"attribution_allocations", "attribution_events", nullptr}},
     {"mv_realtime_revenue",
      "realtime_revenue_changes",
      12,
      {"revenue_ledger", "tenants", "currencies"}},
     {"mv_reconciliation_status",
      "reconciliation_status_changes",
      5,
      {"reconciliation_runs", nullptr, nullptr}}}};

/// Registers the invalidation that lets writers look at their logs again.
void watch_logs();

/// attribution.change_log_limit, in MB.
extern int change_log_limit_mb;

/// Columns of refresh_state, which has a row per view that was ever refreshed by refresh().
enum StateColumn { state_view_name, state_refreshed_at, state_captured_by, state_doubt };

/// Why the contents of the view are not known as the snapshot sees it; nullptr: they are.
/// `captured_by` describes the triggers as they are now (describe_capture); nullptr is not
/// compared.
const char* why_unknown(const TrackedView& view, Snapshot snapshot, const char* captured_by);

/// The triggers that log for the view, in words that change when any of them is dropped, disabled
/// or made anew; nullptr when they do not capture everything. Inside an SPI connection.
const char* describe_capture(const TrackedView& view);

/// Locks what a refresh reads and writes besides the view itself, before it takes its snapshot: a
/// table that ALTER TABLE rewrites looks empty to older snapshots. Returns why not all of the rows
/// below the view are followed; nullptr when they are.
const char* lock_sources(const TrackedView& view);

/// Writes the view's row of refresh_state: known when captured_by is given without a doubt. The
/// doubts that the snapshot sees are gone with it. `may_be_new`: there may be no row yet.
void record_state(const TrackedView& view, Snapshot snapshot, TimestampTz refreshed_at,
                  const char* captured_by, const char* doubt, bool may_be_new);

/// Waits, a second at most, for transactions that left changes out of the log because the view was
/// unknown anyway, and lets none begin until this transaction ends. False: some are still at work,
/// so what is refreshed now cannot become known.
bool fence_writers(Oid view);

/// The view or log that this backend refreshes by itself: its REFRESH raises no doubt.
extern Oid own_refresh;

} // namespace attribution::entry
