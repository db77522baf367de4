// refresh: materialized views that a scheduler keeps fresh, at a cost that follows the change.
//
// Lock first, then look. PostgreSQL's REFRESH takes its snapshot before it waits for the lock: a
// refresher that waited would overwrite newer contents with older ones. Here the lock on the view
// is taken in a step of its own, then a snapshot, and everything that follows reads as of it:
// whether the view is known, the log, the tables.
//
// A failure of the refresh itself is a result: it is undone by a subtransaction, logged, and
// reported as a warning, so that refresh_all() goes on.

#include "entry/views/refresh.hpp"

#include "entry/tables/owner.hpp"
#include "entry/views/capture_triggers.hpp"
#include "entry/views/view_state.hpp"
#include "pg/advisory.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/procedure.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

constexpr std::array<const char*, 4> mode_names = {"auto", "incremental", "concurrent", "full"};

const char* mode_name(Mode mode) {
    return mode_names[static_cast<std::size_t>(mode)];
}

Mode read_mode(std::string_view argument) {
    for (std::size_t i = 0; i < mode_names.size(); ++i)
        if (argument == mode_names[i])
            return static_cast<Mode>(i);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("unknown refresh mode \"%.*s\"", static_cast<int>(argument.size()),
                           argument.data()),
                    errhint("The mode is one of %s, %s, %s, %s.", mode_names[0], mode_names[1],
                            mode_names[2], mode_names[3])));
    pg_unreachable();
}

/// True when the view has a unique index without a condition to find rows by, as REFRESH
/// CONCURRENTLY wants it.
bool has_key(Relation view) {
    bool found = false;
    List* indexes = RelationGetIndexList(view);
    ListCell* cell;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);
        const Form_pg_index form = index->rd_index;
        found = found || (form->indisunique && form->indimmediate && form->indisvalid &&
                          RelationGetIndexPredicate(index) == NIL &&
                          RelationGetIndexExpressions(index) == NIL && form->indnkeyatts > 0);
        index_close(index, AccessShareLock);
    }
    list_free(indexes);
    return found;
}

/// Why a refresh must be of the whole view.
struct Doubt {
    const char* reason;      // nullptr: it can be incremental
    const char* captured_by; // describe_capture(): the triggers that log for the view
};

/// Inside an SPI connection.
Doubt doubt_of(const TrackedView& tracked, Relation view, Snapshot snapshot) {
    // The triggers are read after the snapshot was taken, so any change of them before it is seen.
    const Capture capture = describe_capture(tracked);
    const char* reason = nullptr;
    if (!RelationIsPopulated(view))
        reason = "it is not populated";
    else if (!has_key(view))
        reason = "it has no unique index on its key";
    else if (capture.fault != nullptr)
        reason = capture.fault;
    else
        reason = why_unknown(tracked, snapshot, capture.description);
    return {.reason = reason, .captured_by = capture.description};
}

/// Refuses a refresh while a statement of this session is writing to the table whose amounts the
/// log carries: the refresh would see rows that the statement logs only at its end, and the next
/// refresh would add them a second time. Views whose logs have keys need no such check, because a
/// key may be computed twice.
void check_sums_not_in_use(const TrackedView& view) {
    if (view.summed_table == nullptr)
        return;
    Relation table = table_open(pg::own_relation(view.summed_table), AccessShareLock);
    CheckTableNotInUse(table, "refresh what is computed from");
    table_close(table, AccessShareLock);
}

/// Locks what a refresh reads and writes besides the view itself, before it takes its snapshot: a
/// table that ALTER TABLE rewrites looks empty to older snapshots. Returns why the triggers do not
/// see all rows that the view reads; nullptr when they do.
const char* lock_sources(const TrackedView& view) {
    const char* reason = nullptr;
    for (const char* name : view.tables) {
        Relation table = table_open(pg::own_relation(name), AccessShareLock);
        if (table->rd_rel->relhassubclass)
            reason =
                psprintf("tables inherit from %s, and no trigger logs changes of their rows", name);
        table_close(table, NoLock);
    }
    for (const char* name : {view.log, "refresh_state", "refresh_doubts"})
        LockRelationOid(pg::internal_relation(name), RowExclusiveLock);
    return reason;
}

/// What mode auto does.
Mode choose_mode(const TrackedView& tracked, Relation view, bool is_known, Snapshot snapshot) {
    if (is_known && is_incremental_cheaper(tracked, view, snapshot))
        return Mode::incremental;
    return RelationIsPopulated(view) && has_key(view) ? Mode::concurrent : Mode::full;
}

/// Locks the view, decides what to do under a newer snapshot, and does it; fills in the mode and
/// rows_changed.
void refresh_view(Oid view_id, Mode wanted, Run* run) {
    SPI_connect();
    // The weakest lock that keeps both forms of REFRESH out. Readers and vacuum go on; a refresh of
    // the whole view takes more below.
    Relation view = table_open(view_id, RowExclusiveLock);
    pg::check_kind(view_id, materialized_view_kinds);
    check_sums_not_in_use(*run->view);
    const char* unfollowed = lock_sources(*run->view);
    const Snapshot snapshot = newest_snapshot();
    Doubt doubt = doubt_of(*run->view, view, snapshot);
    if (doubt.reason == nullptr)
        doubt.reason = unfollowed;
    const bool is_known = doubt.reason == nullptr;
    const Mode mode =
        wanted == Mode::automatic ? choose_mode(*run->view, view, is_known, snapshot) : wanted;
    run->mode = mode_name(mode);
    if (mode == Mode::incremental) {
        if (!is_known)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("cannot refresh %s incrementally", run->view->name),
                            errdetail("It is not known what changed since its last refresh: %s.",
                                      doubt.reason),
                            errhint("Use mode auto, which refreshes it as a whole this time.")));
        refresh_incrementally(view, snapshot, doubt.captured_by, run);
    }
    UnregisterSnapshot(snapshot);
    table_close(view, NoLock);
    if (mode != Mode::incremental)
        refresh_whole(view_id, mode, is_known, run);
    SPI_finish();
}

// ---------------------------------------------------------------------------------------------
// The run

/// Errors of the refresh itself are logged; a cancel or a shutdown is raised.
bool is_logged(const ErrorData* error) {
    return ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
           ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION);
}

/// Writes the row of refresh_log and returns it, palloc'd in the caller's memory context.
Datum log_run(const Run& run) {
    static constinit pg::Statement<pg::Composite(
        std::string_view, std::string_view, std::optional<std::int64_t>, pg::Timestamptz,
        std::int64_t, std::string_view, std::optional<std::string_view>)>
        insert{R"sql(
INSERT INTO attribution_internal.refresh_log AS l
    (view_name, mode, rows_changed, started_at, elapsed_ms, outcome, error)
VALUES ($1, $2, $3, $4, $5 * 0.001, $6, $7)
RETURNING ROW(l.id, l.view_name, l.mode, l.rows_changed, l.started_at, l.elapsed_ms, l.outcome, l.error)
)sql"};
    const MemoryContext caller_memory = CurrentMemoryContext;
    std::optional<std::string_view> error;
    if (run.error != nullptr)
        error = run.error;
    SPI_connect();
    const auto rows =
        insert.run(run.view->name, run.mode, run.rows_changed, pg::Timestamptz{run.started_at},
                   GetCurrentTimestamp() - run.started_at, run.outcome, error);
    const Datum copy = pg::copied(rows[0], caller_memory);
    SPI_finish();
    return copy;
}

/// Locks the view for this transaction, which is its only refresher until it ends, and refreshes
/// it; false when another session is refreshing it.
bool refresh_if_alone(Mode mode, Run* run) {
    const Oid view = pg::find_own_relation(run->view->name);
    if (!OidIsValid(view))
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_TABLE),
                 errmsg("materialized view attribution.%s does not exist", run->view->name)));
    if (!pg::try_lock(pg::advisory_lock_on(pg::AdvisoryClass::refresher, view), ExclusiveLock))
        return false;
    refresh_view(view, mode, run);
    return true;
}

void report_failure(const ErrorData* failure, const char* view_name) {
    ereport(WARNING, (errcode(failure->sqlerrcode),
                      errmsg("could not refresh %s: %s", view_name, failure->message),
                      failure->detail != nullptr ? errdetail("%s", failure->detail) : 0,
                      failure->hint != nullptr ? errhint("%s", failure->hint) : 0));
}

/// Refreshes the view and returns the row of refresh_log.
Datum refresh_and_log(const TrackedView& tracked, Mode mode) {
    Run run{.view = &tracked,
            .mode = mode_name(mode),
            .rows_changed = std::nullopt,
            .started_at = GetCurrentTimestamp(),
            .outcome = "refreshed",
            .error = nullptr};
    bool is_alone = true;
    ErrorData* failure = pg::attempt([&] { is_alone = refresh_if_alone(mode, &run); });
    view_in_refresh = InvalidOid;
    if (failure != nullptr) {
        if (!is_logged(failure))
            ReThrowError(failure);
        run.outcome = "failed";
        run.rows_changed = std::nullopt;
        run.error = psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message);
        report_failure(failure, tracked.name);
    } else if (!is_alone) {
        run.outcome = "skipped";
        ereport(NOTICE, (errmsg("skipped %s: another session is refreshing it", tracked.name)));
    }
    return log_run(run);
}

/// Why the next refresh will be of the whole view, palloc'd; nullptr when it can be incremental.
const char* find_doubt_of(const TrackedView& tracked) {
    const Oid view_id = pg::find_own_relation(tracked.name);
    if (!OidIsValid(view_id))
        return "it does not exist";
    const MemoryContext caller_memory = CurrentMemoryContext;
    SPI_connect();
    Relation view = table_open(view_id, AccessShareLock);
    pg::check_kind(view_id, materialized_view_kinds);
    const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    const char* reason = doubt_of(tracked, view, snapshot).reason;
    if (reason != nullptr)
        reason = MemoryContextStrdup(caller_memory, reason);
    UnregisterSnapshot(snapshot);
    table_close(view, AccessShareLock);
    SPI_finish();
    return reason;
}

} // namespace

Snapshot newest_snapshot() {
    CommandCounterIncrement();
    return RegisterSnapshot(GetLatestSnapshot());
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_refresh) {
    PreventCommandIfReadOnly("refresh()");
    const auto view_name = pg::argument<std::string_view>(fcinfo, 0, "view_name");
    const auto mode_argument = pg::argument<std::string_view>(fcinfo, 1, "mode");
    const entry::TrackedView& view = entry::read_view_name(view_name);
    const entry::Mode mode = entry::read_mode(mode_argument);
    if (IsolationUsesXactSnapshot())
        ereport(
            ERROR,
            (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
             errmsg("refresh() must run at isolation level READ COMMITTED"),
             errdetail("The view would get the state that the snapshot of this transaction sees."),
             errhint("Call it in a transaction of its own.")));
    PG_RETURN_DATUM(entry::refresh_and_log(view, mode));
}

ATTRIBUTION_FUNCTION(attribution_refresh_all) {
    // Each step calls refresh() in SQL, which checks the caller's right to it and runs it as its
    // owner. A procedure that commits cannot be SECURITY DEFINER itself.
    static constinit pg::Statement<void(std::string_view, std::string_view)> refresh{
        R"sql(SELECT 1 FROM attribution.refresh($1, $2) AS l)sql", pg::Plan::chosen};
    PreventCommandIfReadOnly("refresh_all()");
    const entry::Mode mode = entry::read_mode(pg::argument<std::string_view>(fcinfo, 0, "mode"));
    pg::check_may_commit(fcinfo, "refresh_all()", "It commits after each view.",
                         "CALL it outside BEGIN ... COMMIT, or SELECT attribution.refresh(...) "
                         "for each view.");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    for (const entry::TrackedView& view : entry::tracked_views) {
        refresh.run(view.name, entry::mode_name(mode));
        SPI_commit();
    }
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_refresh_doubt) {
    const char* reason = entry::find_doubt_of(
        entry::read_view_name(pg::argument<std::string_view>(fcinfo, 0, "view_name")));
    if (reason == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(CStringGetTextDatum(reason));
}
