// refresh: materialized views that a scheduler keeps fresh.
//
// Lock first, then look. PostgreSQL's REFRESH takes its snapshot before it waits for the lock: a
// refresher that waited overwrites newer contents with older ones. Here the lock on the view is
// taken in a step of its own, and REFRESH runs under a snapshot taken after it.

#include <algorithm>
#include <array>
#include <string_view>

#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"

namespace attribution::entry {
namespace {

constexpr std::array<const char*, 3> view_names = {"mv_allocation_summary", "mv_realtime_revenue",
                                                   "mv_reconciliation_status"};

/// SQL's own advisory locks use classes 1 and 2: no session can take this one by hand.
constexpr uint16 refresher_lock_class = 3;

enum class Mode { automatic, concurrent, full };

/// The row of refresh_log.
struct Run {
    const char* view_name;
    const char* mode;
    int64 rows_changed; // -1: not known
    TimestampTz started_at;
    const char* outcome;
    const char* error;
};

const char* mode_name(Mode mode) {
    switch (mode) {
    case Mode::concurrent:
        return "concurrent";
    case Mode::full:
        return "full";
    default:
        return "auto";
    }
}

Mode read_mode(std::string_view text) {
    if (text == "auto")
        return Mode::automatic;
    if (text == "concurrent")
        return Mode::concurrent;
    if (text == "full")
        return Mode::full;
    if (text == "incremental")
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("incremental refresh is not supported by this version"),
                        errhint("Use mode auto, concurrent or full.")));
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("unknown refresh mode \"%.*s\"", static_cast<int>(text.size()), text.data()),
             errhint("The mode is one of auto, concurrent, full.")));
    pg_unreachable();
}

const char* read_view_name(std::string_view text) {
    constexpr std::string_view schema = "attribution.";
    std::string_view name = text;
    if (name.substr(0, schema.size()) == schema)
        name.remove_prefix(schema.size());
    for (const char* view_name : view_names)
        if (name == view_name)
            return view_name;
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("\"%.*s\" is not a materialized view of this extension",
                    static_cast<int>(text.size()), text.data()),
             errhint("The views are %s, %s and %s.", view_names[0], view_names[1], view_names[2])));
    pg_unreachable();
}

/// True when this transaction is the view's only refresher from now to its end.
bool become_refresher(Oid view) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, view, 0, refresher_lock_class);
    return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool is_populated(Oid view) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", view);
    const bool populated = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relispopulated;
    ReleaseSysCache(tuple);
    return populated;
}

int64 single_number(const char* sql) {
    if (SPI_execute(sql, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected result of: %s", sql);
    bool isnull;
    return DatumGetInt64(pg::result_value(0, 1, &isnull));
}

/// Rows this transaction has inserted into and deleted from the view.
int64 rows_written(Oid view) {
    return single_number(psprintf("SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(%u) "
                                  "OPERATOR(pg_catalog.+) "
                                  "pg_catalog.pg_stat_get_xact_tuples_deleted(%u)",
                                  view, view));
}

/// Locks the view, then refreshes it under a newer snapshot; fills in mode and rows_changed.
void refresh_view(Oid view, Mode mode, Run* run) {
    // Whether the view is populated decides the mode and the mode decides the lock. Look first, so
    // that the lock seldom has to become stronger, which can deadlock; then again, under the lock.
    const bool full_at_first =
        mode == Mode::full || (mode == Mode::automatic && !is_populated(view));
    LockRelationOid(view, full_at_first ? AccessExclusiveLock : ExclusiveLock);
    if (mode == Mode::automatic)
        mode = is_populated(view) ? Mode::concurrent : Mode::full;
    run->mode = mode_name(mode);
    if (mode == Mode::full && !full_at_first)
        LockRelationOid(view, AccessExclusiveLock);

    const char* name = quote_qualified_identifier("attribution", run->view_name);
    SPI_connect();
    if (mode == Mode::concurrent) {
        const int64 before = rows_written(view);
        SPI_execute(psprintf("REFRESH MATERIALIZED VIEW CONCURRENTLY %s", name), false, 0);
        run->rows_changed = rows_written(view) - before;
    } else {
        SPI_execute(psprintf("REFRESH MATERIALIZED VIEW %s", name), false, 0);
        run->rows_changed = single_number(psprintf("SELECT pg_catalog.count(*) FROM %s", name));
    }
    SPI_finish();
}

/// Errors of the refresh itself are logged; a cancel or a shutdown is not ours to keep.
bool is_logged(const ErrorData* error) {
    return ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
           ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION);
}

/// Writes the log row and returns it, palloc'd in `memory`.
Datum log_run(const Run& run, MemoryContext memory) {
    static constinit pg::Query insert = {
        .sql =
            "INSERT INTO attribution.refresh_log AS l (view_name, mode, rows_changed, started_at, "
            "elapsed_ms, outcome, error) VALUES ($1, $2, $3, $4, $5 * 0.001, $6, $7) RETURNING l",
        .parameter_count = 7,
        .parameter_types = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {CStringGetTextDatum(run.view_name),
                      CStringGetTextDatum(run.mode),
                      Int64GetDatum(run.rows_changed),
                      TimestampTzGetDatum(run.started_at),
                      Int64GetDatum(GetCurrentTimestamp() - run.started_at),
                      CStringGetTextDatum(run.outcome),
                      run.error == nullptr ? Datum{0} : CStringGetTextDatum(run.error)};
    const char nulls[] = {' ', ' ', run.rows_changed < 0 ? 'n' : ' ', ' ',
                          ' ', ' ', run.error == nullptr ? 'n' : ' '};
    SPI_connect();
    pg::run(insert, values, nulls);
    bool isnull;
    const HeapTupleHeader row = DatumGetHeapTupleHeader(pg::result_value(0, 1, &isnull));
    const MemoryContext before = MemoryContextSwitchTo(memory);
    const Datum copy = datumCopy(HeapTupleHeaderGetDatum(row), false, -1);
    MemoryContextSwitchTo(before);
    SPI_finish();
    return copy;
}

Datum refresh_and_log(const char* view_name, Mode mode) {
    Run run{.view_name = view_name,
            .mode = mode_name(mode),
            .rows_changed = -1,
            .started_at = GetCurrentTimestamp(),
            .outcome = "refreshed",
            .error = nullptr};
    // A view that cannot be found fails like one that cannot be refreshed: the others go on.
    bool skipped = false;
    ErrorData* failure = pg::attempt([&] {
        const Oid view = get_relname_relid(view_name, get_namespace_oid("attribution", false));
        if (!OidIsValid(view))
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                            errmsg("materialized view attribution.%s does not exist", view_name)));
        if (become_refresher(view))
            refresh_view(view, mode, &run);
        else
            skipped = true;
    });
    if (skipped) {
        run.outcome = "skipped";
        ereport(NOTICE, (errmsg("skipped %s: another session is refreshing it", view_name)));
    }
    if (failure != nullptr) {
        if (!is_logged(failure))
            ReThrowError(failure);
        run.outcome = "failed";
        run.rows_changed = -1;
        run.error = psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message);
        ereport(WARNING, (errcode(failure->sqlerrcode),
                          errmsg("could not refresh %s: %s", view_name, failure->message),
                          failure->detail != nullptr ? errdetail("%s", failure->detail) : 0,
                          failure->hint != nullptr ? errhint("%s", failure->hint) : 0));
    }
    return log_run(run, CurrentMemoryContext);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_refresh) {
    PreventCommandIfReadOnly("refresh()");
    if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not be null", PG_ARGISNULL(0) ? "view_name" : "mode")));
    const char* view_name = entry::read_view_name(pg::text_of(PG_GETARG_DATUM(0)));
    const entry::Mode mode = entry::read_mode(pg::text_of(PG_GETARG_DATUM(1)));
    if (IsolationUsesXactSnapshot())
        ereport(ERROR,
                (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                 errmsg("refresh() needs isolation level READ COMMITTED"),
                 errdetail("The snapshot of this transaction would make an old state of the view."),
                 errhint("Call it in a transaction of its own.")));
    PG_RETURN_DATUM(entry::refresh_and_log(view_name, mode));
}

ATTRIBUTION_FUNCTION(attribution_refresh_all) {
    // Each step asks for the right to call refresh(), which acts as its owner; a procedure that
    // commits can do neither itself.
    static constinit pg::Query refresh = {.sql = "SELECT 1 FROM attribution.refresh($1, $2) AS l",
                                          .parameter_count = 2,
                                          .parameter_types = {TEXTOID, TEXTOID},
                                          .cursor_options = 0,
                                          .plan = nullptr};
    PreventCommandIfReadOnly("refresh_all()");
    if (PG_ARGISNULL(0))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("mode must not be null")));
    const entry::Mode mode = entry::read_mode(pg::text_of(PG_GETARG_DATUM(0)));
    pg::check_may_commit(fcinfo, "refresh_all()", "It commits after each view.",
                         "CALL it outside BEGIN ... COMMIT, or SELECT attribution.refresh(...) "
                         "for each view.");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    for (const char* view_name : entry::view_names) {
        Datum values[] = {CStringGetTextDatum(view_name),
                          CStringGetTextDatum(entry::mode_name(mode))};
        pg::run(refresh, values);
        SPI_commit();
    }
    SPI_finish();
    PG_RETURN_NULL();
}
