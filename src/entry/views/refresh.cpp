// refresh: materialized views that a scheduler keeps fresh, at a cost that follows the change.
//
// An incremental refresh computes anew what the log of changes names and writes what differs:
//
//     lock the view (readers and vacuum go on, both forms of REFRESH wait)
//     take one snapshot; is the view known as of it?
//     take the rows that the snapshot sees out of the log
//     compute the rows of their keys, compare, write
//
// Under one snapshot, a change is in the log and in the tables, or in neither. The rows deleted are
// those that were looked at, never "up to the last id": what commits late stays for the next run.
//
// Lock first, then look. PostgreSQL's REFRESH takes its snapshot before it waits for the lock: a
// refresher that waited overwrites newer contents with older ones. Here the lock on the view is
// taken in a step of its own, and REFRESH, too, runs under a snapshot taken after it, the one that
// the log is consumed under.

#include <algorithm>
#include <array>
#include <string_view>

#include "entry/views/capture.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/matview.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// SQL's own advisory locks use classes 1 and 2: no session can take this one by hand.
constexpr uint16 refresher_lock_class = 3;

/// Computing a key anew costs as much as so many rows of the view in a concurrent refresh, which
/// reads them all and compares [bench/refresh]: look-ups grow dearer than reading in order.
constexpr double rows_per_key(double view_rows) {
    return view_rows > 300'000 ? 3 : 2;
}

constexpr const char* not_captured =
    "a trigger that captures its changes is missing or not enabled as it was installed";

enum class Mode { automatic, incremental, concurrent, full };

constexpr std::array<const char*, 4> mode_names = {"auto", "incremental", "concurrent", "full"};

const char* mode_name(Mode mode) {
    return mode_names[static_cast<std::size_t>(mode)];
}

Mode read_mode(std::string_view text) {
    for (std::size_t i = 0; i < mode_names.size(); ++i)
        if (text == mode_names[i])
            return static_cast<Mode>(i);
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("unknown refresh mode \"%.*s\"", static_cast<int>(text.size()), text.data()),
             errhint("The mode is one of %s, %s, %s, %s.", mode_names[0], mode_names[1],
                     mode_names[2], mode_names[3])));
    pg_unreachable();
}

/// The row of refresh_log.
struct Run {
    const TrackedView* view;
    const char* mode;
    int64 rows_changed; // -1: not known
    TimestampTz started_at;
    const char* outcome;
    const char* error;
};

const TrackedView& read_view_name(std::string_view text) {
    constexpr std::string_view schema = "attribution.";
    std::string_view name = text;
    if (name.substr(0, schema.size()) == schema)
        name.remove_prefix(schema.size());
    for (const TrackedView& view : tracked_views)
        if (name == view.name)
            return view;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("\"%.*s\" is not a materialized view of this extension",
                           static_cast<int>(text.size()), text.data()),
                    errhint("The views are %s, %s and %s.", tracked_views[0].name,
                            tracked_views[1].name, tracked_views[2].name)));
    pg_unreachable();
}

/// True when this transaction is the view's only refresher from now to its end.
bool become_refresher(Oid view) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, view, 0, refresher_lock_class);
    return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
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

/// A snapshot that sees what is committed now, and what this transaction did.
Snapshot newest_snapshot() {
    CommandCounterIncrement();
    return RegisterSnapshot(GetLatestSnapshot());
}

/// True when a unique index without a condition is there to find rows by, as CONCURRENTLY wants it.
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

// ---------------------------------------------------------------------------------------------
// Incremental

/// The keys that changed, each once, in key order: neighbours share pages. `changes` is what was
/// taken out of the log.
const char* keys_sql(const TrackedView& view) {
    if (strcmp(view.name, "mv_allocation_summary") == 0)
        // A key without model version stands for all of the event: those it has and those it had.
        return "SELECT c.tenant_id, c.event_id, c.model_version "
               "FROM changes c WHERE c.model_version IS NOT NULL "
               "UNION "
               "SELECT c.tenant_id, c.event_id, x.model_version "
               "FROM (SELECT DISTINCT c.tenant_id, c.event_id "
               "FROM changes c WHERE c.model_version IS NULL) c "
               "CROSS JOIN LATERAL (SELECT a.model_version "
               "FROM attribution.attribution_allocations a WHERE a.tenant_id = c.tenant_id "
               "AND a.event_id = c.event_id AND a.model_version >= '' "
               "UNION ALL SELECT m.model_version FROM attribution.mv_allocation_summary m "
               "WHERE m.tenant_id = c.tenant_id AND m.event_id = c.event_id OFFSET 0) x "
               "ORDER BY 1, 2, 3";
    return "SELECT DISTINCT c.tenant_id FROM changes c ORDER BY 1";
}

/// The rows that differ: where the old one is, whether there is a new one, whether the view is in
/// doubt for it, and the new one. OFFSET 0 keeps the view's query inside the loop over the keys,
/// where indexes find what it reads; outside it would be computed whole.
const char* differences_sql(const TrackedView& view, Oid view_id) {
    const char* query =
        TextDatumGetCString(DirectFunctionCall1(pg_get_viewdef, ObjectIdGetDatum(view_id)));
    query = pnstrdup(query, strlen(query) - 1); // its semicolon
    const char* compared = "WHERE (m.r IS NULL) <> (q.tenant_id IS NULL) OR m.r *<> q";
    if (strcmp(view.name, "mv_allocation_summary") == 0)
        // No index is to find the model version: without statistics the one on (tenant_id,
        // model_version) looks as good as those of the event, and reads the whole model version
        // for each key.
        return psprintf(
            "SELECT m.ctid, q.tenant_id IS NOT NULL, "
            "q.tenant_id IS NOT NULL AND q.event_revenue_cents IS NULL, q.* FROM (%s) k "
            "LEFT JOIN LATERAL (SELECT v.* FROM (%s) v WHERE v.tenant_id = k.tenant_id "
            "AND v.event_id = k.event_id AND v.model_version || '' = k.model_version "
            "OFFSET 0) q ON true "
            "LEFT JOIN LATERAL (SELECT m.ctid, m AS r FROM attribution.mv_allocation_summary m "
            "WHERE m.tenant_id = k.tenant_id AND m.event_id = k.event_id "
            "AND m.model_version = k.model_version OFFSET 0) m ON true %s",
            keys_sql(view), query, compared);
    if (strcmp(view.name, "mv_reconciliation_status") == 0)
        return psprintf(
            "SELECT m.ctid, q.tenant_id IS NOT NULL, false, q.* FROM (%s) k "
            "LEFT JOIN LATERAL (SELECT v.* FROM (%s) v WHERE v.tenant_id = k.tenant_id "
            "OFFSET 0) q ON true "
            "LEFT JOIN LATERAL (SELECT m.ctid, m AS r FROM attribution.mv_reconciliation_status m "
            "WHERE m.tenant_id = k.tenant_id OFFSET 0) m ON true %s",
            keys_sql(view), query, compared);
    // Sums of a tenant that has a row are carried on; of one that has none they are computed. What
    // is no sum is looked up.
    return psprintf(
        "SELECT m.ctid, q.tenant_id IS NOT NULL, false, q.* "
        "FROM (SELECT c.tenant_id, sum(c.revenue_cents) AS revenue_cents, "
        "sum(c.verified_cents) AS verified_cents, sum(c.posting_count)::bigint AS posting_count, "
        "sum(c.verified_count)::bigint AS verified_count "
        "FROM changes c GROUP BY c.tenant_id ORDER BY 1) k "
        "LEFT JOIN LATERAL (SELECT m.ctid, m AS r, m.* FROM attribution.mv_realtime_revenue m "
        "WHERE m.tenant_id = k.tenant_id OFFSET 0) m ON true "
        "LEFT JOIN LATERAL (SELECT t.id AS tenant_id, "
        "(m.total_revenue_cents + k.revenue_cents) * c.unit AS total_revenue, "
        "m.posting_count + k.posting_count > 0 "
        "AND m.verified_count + k.verified_count = m.posting_count + k.posting_count AS verified, "
        "m.total_revenue_cents + k.revenue_cents AS total_revenue_cents, "
        "m.verified_revenue_cents + k.verified_cents AS verified_revenue_cents, "
        "m.posting_count + k.posting_count AS posting_count, "
        "m.verified_count + k.verified_count AS verified_count, "
        "(SELECT max(l.updated_at) FROM attribution.revenue_ledger l WHERE l.tenant_id = t.id) "
        "AS last_updated_at "
        "FROM attribution.tenants t JOIN attribution.currencies c ON c.code = t.currency "
        "WHERE t.id = k.tenant_id AND m.tenant_id IS NOT NULL "
        "UNION ALL SELECT v.* FROM (%s) v WHERE v.tenant_id = k.tenant_id AND m.tenant_id IS NULL "
        "OFFSET 0) q ON true %s",
        query, compared);
}

constexpr int leading_columns = 3; // of differences_sql, before the row

/// Rows on their way from the query to the view; on disk past work_mem.
struct Differences {
    Tuplestorestate* rows;
    TupleDesc columns;    // nullptr: no row yet
    MemoryContext memory; // where both are: a receiver's own is the query's
};

extern "C" void keep_difference(TupleTableSlot* row, void* state) {
    auto* differences = static_cast<Differences*>(state);
    if (differences->columns == nullptr) {
        const MemoryContext before = MemoryContextSwitchTo(differences->memory);
        differences->columns = CreateTupleDescCopy(row->tts_tupleDescriptor);
        MemoryContextSwitchTo(before);
    }
    tuplestore_puttupleslot(differences->rows, row);
}

/// Writes the differences into the view. `*in_doubt`: for some row of it.
int64 write_differences(Relation view, const Differences& differences, Snapshot snapshot,
                        bool* in_doubt) {
    if (differences.columns == nullptr)
        return 0;
    TupleTableSlot* row = MakeSingleTupleTableSlot(differences.columns, &TTSOpsMinimalTuple);
    pg::ViewWriter writer = pg::open_writer(view);
    const int column_count = RelationGetDescr(view)->natts;
    int64 count = 0;
    for (; tuplestore_gettupleslot(differences.rows, true, false, row); ++count) {
        CHECK_FOR_INTERRUPTS();
        slot_getallattrs(row);
        const bool is_stored = !row->tts_isnull[0];
        auto* place = reinterpret_cast<ItemPointer>(DatumGetPointer(row->tts_values[0]));
        *in_doubt = *in_doubt || DatumGetBool(row->tts_values[2]);
        if (!DatumGetBool(row->tts_values[1])) {
            pg::delete_row(&writer, place, snapshot);
            continue;
        }
        ExecClearTuple(writer.row);
        std::copy_n(row->tts_values + leading_columns, column_count, writer.row->tts_values);
        std::copy_n(row->tts_isnull + leading_columns, column_count, writer.row->tts_isnull);
        ExecStoreVirtualTuple(writer.row);
        if (is_stored)
            pg::update_row(&writer, place, snapshot);
        else
            pg::insert_row(&writer);
    }
    pg::close_writer(&writer);
    ExecDropSingleTupleTableSlot(row);
    return count;
}

Relation open_log(const TrackedView& view) {
    return table_open(get_relname_relid(view.changes, get_namespace_oid("attribution", false)),
                      RowExclusiveLock);
}

/// Takes what the snapshot sees out of the log, into `changes` unless that is null.
void consume_log(Relation log, Snapshot snapshot, Tuplestorestate* changes) {
    pg::each_row(log, snapshot, [&](TupleTableSlot* row) {
        CHECK_FOR_INTERRUPTS();
        if (changes != nullptr)
            tuplestore_puttupleslot(changes, row);
        simple_table_tuple_delete(log, &row->tts_tid, snapshot);
    });
}

/// Lets queries read the rows as the relation `changes`, until the SPI connection ends.
void name_changes(Relation log, Tuplestorestate* changes) {
    auto* relation =
        static_cast<EphemeralNamedRelation>(palloc0(sizeof(EphemeralNamedRelationData)));
    relation->md.name = pstrdup("changes");
    relation->md.reliddesc = RelationGetRelid(log);
    relation->md.enrtype = ENR_NAMED_TUPLESTORE;
    relation->md.enrtuples = static_cast<double>(tuplestore_tuple_count(changes));
    relation->reldata = changes;
    if (const int result = SPI_register_relation(relation); result != SPI_OK_REL_REGISTER)
        elog(ERROR, "SPI_register_relation: %s", SPI_result_code_string(result));
}

void refresh_incrementally(Relation view, Snapshot snapshot, const char* captured_by, Run* run) {
    CheckTableNotInUse(view, "refresh()");
    pg::Query query = {.sql = differences_sql(*run->view, RelationGetRelid(view)),
                       .parameter_count = 0,
                       .parameter_types = {},
                       .cursor_options = 0,
                       .plan = nullptr,
                       .temporary = true};
    Differences differences{.rows = tuplestore_begin_heap(false, false, work_mem),
                            .columns = nullptr,
                            .memory = CurrentMemoryContext};
    Relation log = open_log(*run->view);
    Tuplestorestate* changes = tuplestore_begin_heap(false, false, work_mem);
    consume_log(log, snapshot, changes);
    name_changes(log, changes);
    bool in_doubt = false;
    const pg::OwnerRights rights = pg::act_as_restricted_owner(view);
    const int settings = pg::prefer_indexes();
    pg::stream_as_of(query, snapshot, keep_difference, &differences);
    run->rows_changed = write_differences(view, differences, snapshot, &in_doubt);
    pg::restore_settings(settings);
    pg::act_as_before(rights);
    tuplestore_end(differences.rows);
    SPI_unregister_relation("changes");
    tuplestore_end(changes);
    table_close(log, NoLock);
    record_state(*run->view, snapshot, run->started_at, in_doubt ? nullptr : captured_by,
                 in_doubt ? "it has allocations whose event is gone" : nullptr, false);
}

/// Whether looking at what changed costs less than looking at everything. The log is looked at only
/// where its size leaves a doubt.
bool is_cheaper(const TrackedView& tracked, Relation view, Snapshot snapshot) {
    if (strcmp(tracked.name, "mv_realtime_revenue") == 0)
        return true; // everything is the ledger
    constexpr double log_rows_per_block = 8192 / 60.0;
    const double view_rows = pg::estimated_rows(view);
    Relation log = open_log(tracked);
    const double most = RelationGetNumberOfBlocks(log) * log_rows_per_block;
    table_close(log, NoLock);
    if (most * rows_per_key(view_rows) <= view_rows || most <= 10'000)
        return true;
    // A key without model version is one of those of its event, or stands for about one.
    const char* keys_of_view =
        strcmp(tracked.name, "mv_allocation_summary") == 0
            ? "SELECT coalesce(sum(greatest(e.versions, 1)), 0)::bigint FROM "
              "(SELECT count(DISTINCT c.model_version) AS versions "
              "FROM attribution.allocation_summary_changes c GROUP BY c.tenant_id, c.event_id) e"
            : "SELECT count(DISTINCT c.tenant_id) FROM attribution.reconciliation_status_changes c";
    pg::Query count = {.sql = keys_of_view,
                       .parameter_count = 0,
                       .parameter_types = {},
                       .cursor_options = 0,
                       .plan = nullptr,
                       .temporary = true};
    pg::run_as_of(count, snapshot, nullptr);
    bool isnull;
    const auto keys = static_cast<double>(DatumGetInt64(pg::result_value(0, 1, &isnull)));
    // What a concurrent refresh reads and compares is the view as it becomes.
    return keys * rows_per_key(view_rows) <= std::max(view_rows, keys);
}

// ---------------------------------------------------------------------------------------------
// Concurrent and full

/// True when the view holds allocations whose event is gone: an event of that id may come again,
/// and no trigger logs that.
bool has_orphans(const TrackedView& view) {
    return strcmp(view.name, "mv_allocation_summary") == 0 &&
           single_number("SELECT count(*) FROM (SELECT FROM attribution.mv_allocation_summary m "
                         "WHERE m.event_revenue_cents IS NULL LIMIT 1) o") > 0;
}

/// REFRESH under a snapshot newer than the lock, and than what is compared with it later.
void refresh_whole(Oid view, Mode mode, bool was_known, Run* run) {
    // Who leaves changes out of the log must have committed before the snapshot. A known view has
    // nobody who does.
    bool can_know = was_known || fence_writers(view);
    LockRelationOid(view, mode == Mode::full ? AccessExclusiveLock : ExclusiveLock);
    // Read before the snapshot: triggers that change after it are noticed as changed.
    const char* captured_by = describe_capture(*run->view);
    Snapshot snapshot = newest_snapshot();
    if (was_known && why_unknown(*run->view, snapshot, nullptr) != nullptr) {
        // A doubt was raised while we waited for the lock; since then changes may be left out.
        UnregisterSnapshot(snapshot);
        can_know = fence_writers(view);
        snapshot = newest_snapshot();
    }
    const char* name = quote_qualified_identifier("attribution", run->view->name);
    pg::Query refresh = {.sql = psprintf("REFRESH MATERIALIZED VIEW %s%s",
                                         mode == Mode::concurrent ? "CONCURRENTLY " : "", name),
                         .parameter_count = 0,
                         .parameter_types = {},
                         .cursor_options = 0,
                         .plan = nullptr,
                         .temporary = true};
    const int64 before = mode == Mode::concurrent ? rows_written(view) : 0;
    own_refresh = view;
    pg::run_as_of(refresh, snapshot, nullptr);
    own_refresh = InvalidOid;
    run->rows_changed = mode == Mode::concurrent
                            ? rows_written(view) - before
                            : single_number(psprintf("SELECT count(*) FROM %s", name));
    Relation log = open_log(*run->view);
    consume_log(log, snapshot, nullptr);
    table_close(log, NoLock);
    const char* doubt = captured_by == nullptr    ? not_captured
                        : has_orphans(*run->view) ? "it has allocations whose event is gone"
                                                  : nullptr;
    if (doubt != nullptr)
        captured_by = nullptr;
    else if (!can_know)
        doubt = "transactions that did not log their changes were at work";
    record_state(*run->view, snapshot, run->started_at, captured_by, doubt, true);
    UnregisterSnapshot(snapshot);
}

/// Refuses what a statement of this session would have counted twice: it has written to the ledger,
/// which a refresh sees, and logs that at its end.
void check_ledger_not_in_use(const TrackedView& view) {
    if (strcmp(view.name, "mv_realtime_revenue") != 0)
        return; // keys may be looked at twice
    Relation ledger =
        table_open(get_relname_relid("revenue_ledger", get_namespace_oid("attribution", false)),
                   AccessShareLock);
    CheckTableNotInUse(ledger, "refresh what is computed from");
    table_close(ledger, AccessShareLock);
}

/// Why a refresh cannot be incremental; nullptr when it can: then `*captured_by` describes the
/// triggers that log for the view. Inside an SPI connection.
const char* why_whole(const TrackedView& tracked, Relation view, Snapshot snapshot,
                      const char** captured_by) {
    // Read after the snapshot: triggers that changed before it are noticed.
    *captured_by = describe_capture(tracked);
    if (!RelationIsPopulated(view))
        return "it is not populated";
    if (!has_key(view))
        return "it has no unique index on its key";
    if (*captured_by == nullptr)
        return not_captured;
    return why_unknown(tracked, snapshot, *captured_by);
}

/// Locks the view, decides what to do under a newer snapshot, and does it; fills in mode and
/// rows_changed.
void refresh_view(Oid view_id, Mode wanted, Run* run) {
    SPI_connect();
    // The weakest lock that keeps REFRESH out: who needs more takes more below.
    Relation view = table_open(view_id, RowExclusiveLock);
    check_ledger_not_in_use(*run->view);
    const char* unfollowed = lock_sources(*run->view);
    const Snapshot snapshot = newest_snapshot();
    const char* captured_by;
    const char* reason = why_whole(*run->view, view, snapshot, &captured_by);
    if (reason == nullptr)
        reason = unfollowed;
    Mode mode = wanted;
    if (mode == Mode::automatic)
        mode = reason == nullptr && is_cheaper(*run->view, view, snapshot) ? Mode::incremental
               : RelationIsPopulated(view) && has_key(view)                ? Mode::concurrent
                                                                           : Mode::full;
    run->mode = mode_name(mode);
    if (mode == Mode::incremental) {
        if (reason != nullptr)
            ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                            errmsg("what changed since the last refresh of %s is not known",
                                   run->view->name),
                            errdetail("The reason: %s.", reason),
                            errhint("Use mode auto, which refreshes it as a whole this time.")));
        refresh_incrementally(view, snapshot, captured_by, run);
    }
    UnregisterSnapshot(snapshot);
    table_close(view, NoLock);
    if (mode != Mode::incremental)
        refresh_whole(view_id, mode, reason == nullptr, run);
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
    Datum values[] = {CStringGetTextDatum(run.view->name),
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
    const HeapTupleHeader row = pg::row_of(pg::result_value(0, 1, &isnull));
    const MemoryContext before = MemoryContextSwitchTo(memory);
    const Datum copy = datumCopy(HeapTupleHeaderGetDatum(row), false, -1);
    MemoryContextSwitchTo(before);
    SPI_finish();
    return copy;
}

Datum refresh_and_log(const TrackedView& tracked, Mode mode) {
    const char* view_name = tracked.name;
    Run run{.view = &tracked,
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
    own_refresh = InvalidOid;
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
    const entry::TrackedView& view = entry::read_view_name(pg::text_of(PG_GETARG_DATUM(0)));
    const entry::Mode mode = entry::read_mode(pg::text_of(PG_GETARG_DATUM(1)));
    if (IsolationUsesXactSnapshot())
        ereport(ERROR,
                (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                 errmsg("refresh() needs isolation level READ COMMITTED"),
                 errdetail("The snapshot of this transaction would make an old state of the view."),
                 errhint("Call it in a transaction of its own.")));
    PG_RETURN_DATUM(entry::refresh_and_log(view, mode));
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
    for (const entry::TrackedView& view : entry::tracked_views) {
        Datum values[] = {CStringGetTextDatum(view.name),
                          CStringGetTextDatum(entry::mode_name(mode))};
        pg::run(refresh, values);
        SPI_commit();
    }
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_refresh_doubt) {
    const entry::TrackedView& tracked = entry::read_view_name(pg::text_of(PG_GETARG_DATUM(0)));
    const Oid view_id = get_relname_relid(tracked.name, get_namespace_oid("attribution", false));
    if (!OidIsValid(view_id))
        PG_RETURN_DATUM(CStringGetTextDatum("it does not exist"));
    const MemoryContext memory = CurrentMemoryContext;
    SPI_connect();
    Relation view = table_open(view_id, AccessShareLock);
    const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    const char* captured_by;
    const char* reason = entry::why_whole(tracked, view, snapshot, &captured_by);
    if (reason != nullptr)
        reason = MemoryContextStrdup(memory, reason);
    UnregisterSnapshot(snapshot);
    table_close(view, AccessShareLock);
    SPI_finish();
    if (reason == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(CStringGetTextDatum(reason));
}
