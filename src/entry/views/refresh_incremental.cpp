// The incremental refresh: it computes anew what the log of changes names, and writes what differs.
//
//     take one snapshot; is the view known as of it?
//     take the rows that the snapshot sees out of the log
//     compute the rows of their keys, compare them with the view's, write those that differ
//
// Under one snapshot, a change is in the log and in the tables, or in neither. The log rows that
// are deleted are those that were read, never "up to the last id": a change that commits late stays
// for the next run.

#include <algorithm>

#include "entry/views/change_log.hpp"
#include "entry/views/refresh.hpp"
#include "entry/views/view_state.hpp"
#include "pg/matview.hpp"
#include "pg/named_rows.hpp"
#include "pg/planning.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Columns of TrackedView::differences, counted from 0, before those of the view.
enum DifferenceColumn { place_column, is_row_column, is_unfollowed_column, leading_column_count };

/// Rows on their way from the query to the view: all are computed before the first is written, and
/// those past work_mem are on disk.
struct Differences {
    Tuplestorestate* rows;
    TupleDesc columns;    // nullptr: no row yet
    MemoryContext memory; // where both are: while rows come, the query's own is the current one
};

/// Raises an internal error unless the query returns the columns of the view after its own.
void check_difference_columns(TupleDesc found, TupleDesc view) {
    bool same = found->natts == leading_column_count + view->natts &&
                TupleDescAttr(found, place_column)->atttypid == TIDOID &&
                TupleDescAttr(found, is_row_column)->atttypid == BOOLOID &&
                TupleDescAttr(found, is_unfollowed_column)->atttypid == BOOLOID;
    for (int i = 0; same && i < view->natts; ++i)
        same = TupleDescAttr(found, leading_column_count + i)->atttypid ==
               TupleDescAttr(view, i)->atttypid;
    if (!same)
        elog(ERROR, "the differences of a view have other columns than the view");
}

void store_difference(Relation view, TupleTableSlot* row, Differences* differences) {
    if (differences->columns == nullptr) {
        check_difference_columns(row->tts_tupleDescriptor, RelationGetDescr(view));
        const MemoryContext before = MemoryContextSwitchTo(differences->memory);
        differences->columns = CreateTupleDescCopy(row->tts_tupleDescriptor);
        MemoryContextSwitchTo(before);
    }
    tuplestore_puttupleslot(differences->rows, row);
}

/// Writes the differences into the view, and returns their number. `*is_followed` becomes false
/// when the log cannot follow some row of them.
int64 write_differences(Relation view, const Differences& differences, Snapshot snapshot,
                        bool* is_followed) {
    if (differences.columns == nullptr)
        return 0;
    TupleTableSlot* row = MakeSingleTupleTableSlot(differences.columns, &TTSOpsMinimalTuple);
    pg::ViewWriter writer = pg::open_writer(view);
    const int column_count = RelationGetDescr(view)->natts;
    int64 count = 0;
    for (; tuplestore_gettupleslot(differences.rows, true, false, row); ++count) {
        CHECK_FOR_INTERRUPTS();
        slot_getallattrs(row);
        const bool is_stored = !row->tts_isnull[place_column];
        auto* place = reinterpret_cast<ItemPointer>(DatumGetPointer(row->tts_values[place_column]));
        if (DatumGetBool(row->tts_values[is_unfollowed_column]))
            *is_followed = false;
        if (!DatumGetBool(row->tts_values[is_row_column])) {
            pg::delete_row(&writer, place, snapshot);
            continue;
        }
        ExecClearTuple(writer.row);
        std::copy_n(row->tts_values + leading_column_count, column_count, writer.row->tts_values);
        std::copy_n(row->tts_isnull + leading_column_count, column_count, writer.row->tts_isnull);
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

/// The most rows that a log of its size can have.
int64 most_log_rows(const TrackedView& tracked) {
    Relation log = open_log_to_consume(tracked);
    const int64 rows =
        static_cast<int64>(RelationGetNumberOfBlocks(log)) * BLCKSZ / tracked.log_row_bytes;
    table_close(log, NoLock);
    return rows;
}

} // namespace

void refresh_incrementally(Relation view, Snapshot snapshot, const char* captured_by, Run* run) {
    CheckTableNotInUse(view, "refresh()");
    const TrackedView& tracked = *run->view;
    pg::Statement<pg::Slot()> find_differences(
        psprintf(tracked.differences, pg::view_query(RelationGetRelid(view))), pg::Plan::once);
    Relation log = open_log_to_consume(tracked);
    Tuplestorestate* changes = tuplestore_begin_heap(false, false, work_mem);
    consume_log(log, snapshot, changes);
    pg::name_rows("changes", RelationGetDescr(log), changes);

    Differences differences{.rows = tuplestore_begin_heap(false, false, work_mem),
                            .columns = nullptr,
                            .memory = CurrentMemoryContext};
    bool is_followed = true;
    // What the view's query and its indexes call acts with the rights of the view's owner.
    const pg::CallerRights rights = pg::act_as_restricted_owner(view);
    const int settings = pg::prefer_indexes();
    find_differences.stream_as_of(
        snapshot, [&](pg::Slot row) { store_difference(view, row.slot, &differences); });
    run->rows_changed = write_differences(view, differences, snapshot, &is_followed);
    pg::restore_settings(settings);
    pg::act_as_caller(rights);

    tuplestore_end(differences.rows);
    SPI_unregister_relation("changes");
    tuplestore_end(changes);
    table_close(log, NoLock);
    record_state(tracked, snapshot, run->started_at, is_followed ? captured_by : nullptr,
                 is_followed ? nullptr : unfollowed_doubt, false);
}

bool is_incremental_cheaper(const TrackedView& tracked, Relation view, Snapshot snapshot) {
    if (tracked.count_keys == nullptr)
        return true;
    const int64 view_rows = pg::estimated_rows(view);
    if (core::is_incremental_cheaper_uncounted(most_log_rows(tracked), view_rows))
        return true;
    pg::Statement<std::int64_t()> count(tracked.count_keys, pg::Plan::once);
    return core::is_incremental_cheaper(count.run_as_of(snapshot)[0], view_rows);
}

} // namespace attribution::entry
