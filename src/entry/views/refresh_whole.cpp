// The refresh of a whole view: PostgreSQL's REFRESH, under a snapshot newer than its lock.

#include "entry/views/capture_triggers.hpp"
#include "entry/views/change_log.hpp"
#include "entry/views/refresh.hpp"
#include "entry/views/view_state.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Rows that this transaction has inserted into and deleted from the view.
int64 rows_written(Oid view) {
    static constinit pg::Statement<std::int64_t(Oid)> count{R"sql(
SELECT pg_stat_get_xact_tuples_inserted($1) + pg_stat_get_xact_tuples_deleted($1)
)sql"};
    return count.run(view)[0];
}

/// Rows of the view. A table of the extension's own: its name needs no quotes.
int64 rows_of(const TrackedView& view) {
    pg::Statement<std::int64_t()> count(psprintf("SELECT count(*) FROM attribution.%s", view.name),
                                        pg::Plan::once);
    return count.run()[0];
}

/// True when the log cannot follow some row of the view.
bool has_unfollowed_rows(const TrackedView& view) {
    if (view.unfollowed_rows == nullptr)
        return false;
    pg::Statement<pg::Slot()> find(view.unfollowed_rows, pg::Plan::once);
    bool found = false;
    find.stream([&](pg::Slot) { found = true; });
    return found;
}

/// Runs REFRESH, which sees what the snapshot sees.
void run_refresh(Oid view, const TrackedView& tracked, Mode mode, Snapshot snapshot) {
    pg::Statement<void()> refresh(psprintf("REFRESH MATERIALIZED VIEW %sattribution.%s",
                                           mode == Mode::concurrent ? "CONCURRENTLY " : "",
                                           tracked.name),
                                  pg::Plan::once);
    // PostgreSQL's concurrent refresh puts names together as text, and gets them wrong where all
    // identifiers are quoted.
    const int settings = pg::pin_texts();
    view_in_refresh = view;
    refresh.run_as_of(snapshot);
    view_in_refresh = InvalidOid; // after an error, refresh() does that
    pg::restore_settings(settings);
}

} // namespace

void refresh_whole(Oid view, Mode mode, bool was_known, Run* run) {
    Assert(mode == Mode::concurrent || mode == Mode::full);
    const TrackedView& tracked = *run->view;
    // Writers that leave changes out of the log must have committed before the snapshot is taken.
    // There are none while the view is known.
    bool can_become_known = was_known || fence_writers(view);
    LockRelationOid(view, mode == Mode::full ? AccessExclusiveLock : ExclusiveLock);
    // The triggers are read before the snapshot is taken: the next refresh compares them with this
    // description, and sees any change of them after the snapshot.
    const Capture capture = describe_capture(tracked);
    Snapshot snapshot = newest_snapshot();
    if (was_known && why_unknown(tracked, snapshot, nullptr) != nullptr) {
        // A doubt was raised while this refresh waited for the lock, and since then writers may
        // have left changes out.
        UnregisterSnapshot(snapshot);
        can_become_known = fence_writers(view);
        snapshot = newest_snapshot();
    }
    const int64 before = mode == Mode::concurrent ? rows_written(view) : 0;
    run_refresh(view, tracked, mode, snapshot);
    run->rows_changed = mode == Mode::concurrent ? rows_written(view) - before : rows_of(tracked);
    Relation log = open_log_to_consume(tracked);
    consume_log(log, snapshot, nullptr);
    table_close(log, NoLock);

    const char* captured_by = nullptr;
    const char* doubt = nullptr;
    if (capture.fault != nullptr)
        doubt = capture.fault;
    else if (has_unfollowed_rows(tracked))
        doubt = unfollowed_doubt;
    else
        captured_by = capture.description;
    if (doubt == nullptr && !can_become_known)
        doubt = "transactions that did not log their changes were at work";
    record_state(tracked, snapshot, run->started_at, captured_by, doubt, true);
    UnregisterSnapshot(snapshot);
}

} // namespace attribution::entry
