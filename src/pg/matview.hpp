// Rows of materialized views, written through the table access method.
//
// The one idea: a materialized view may be storage of the extension's own. SQL refuses to change
// one, no publication sends one, and a dump restores it empty; but its rows are as crash-safe,
// transactional, replicated to standbys and vacuumed as those of any table. So materialized views
// hold what follows other tables (the views that users read, which an incremental refresh changes
// row by row) and what belongs to this server alone (logs of changes, states and doubts: see
// src/entry/views/README.md). The other half of that bargain is paid here: nothing but this file
// keeps the indexes of such a row in step.
//
// A caller has locked the relation (RowExclusiveLock at least, to the end of the transaction).
#pragma once

#include <algorithm>
#include <cstddef>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Calls visit(TupleTableSlot*) for each row that the snapshot sees. A visit may delete its row.
template <class Visit>
void each_row(Relation relation, Snapshot snapshot, Visit visit) {
    TupleTableSlot* row = table_slot_create(relation, nullptr);
    TableScanDesc scan = table_beginscan(relation, snapshot, 0, nullptr);
    while (table_scan_getnextslot(scan, ForwardScanDirection, row))
        visit(row);
    table_endscan(scan);
    ExecDropSingleTupleTableSlot(row);
}

/// Raises 55000 when somebody has created an index on the relation: append_rows() would leave it
/// without the rows.
void check_has_no_index(Relation relation);

/// Appends `count` rows to a relation without indexes: fill(i, values, isnull) gives row i, whose
/// values must live until the end of the call.
template <class Fill>
void append_rows(Relation relation, std::size_t count, Fill fill) {
    Assert(CheckRelationLockedByMe(relation, RowExclusiveLock, true));
    Assert(RelationGetIndexList(relation) == NIL);
    constexpr std::size_t chunk = 128;
    TupleTableSlot* rows[chunk];
    const std::size_t slot_count = std::min(count, chunk);
    for (std::size_t i = 0; i < slot_count; ++i)
        rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
    const MemoryContext before = CurrentMemoryContext;
    const MemoryContext memory =
        AllocSetContextCreate(before, "attribution rows", ALLOCSET_DEFAULT_SIZES);
    // A bulk insert writes through a small ring of buffers, so that many rows do not push other
    // pages out of shared_buffers. For a few rows the ring costs more than it saves.
    BulkInsertState bulk = count > 8 * chunk ? GetBulkInsertState() : nullptr;
    const CommandId command = GetCurrentCommandId(true);
    MemoryContextSwitchTo(memory);
    for (std::size_t from = 0; from < count; from += chunk) {
        const std::size_t size = std::min(chunk, count - from);
        for (std::size_t i = 0; i < size; ++i) {
            ExecClearTuple(rows[i]);
            fill(from + i, rows[i]->tts_values, rows[i]->tts_isnull);
            ExecStoreVirtualTuple(rows[i]);
        }
        if (size == 1)
            simple_table_tuple_insert(relation, rows[0]);
        else
            table_multi_insert(relation, rows, static_cast<int>(size), command, 0, bulk);
        MemoryContextReset(memory);
        CHECK_FOR_INTERRUPTS();
    }
    MemoryContextSwitchTo(before);
    if (bulk != nullptr)
        FreeBulkInsertState(bulk);
    MemoryContextDelete(memory);
    for (std::size_t i = 0; i < slot_count; ++i)
        ExecDropSingleTupleTableSlot(rows[i]);
}

/// A materialized view that is written row by row, its indexes with it.
struct ViewWriter {
    Relation relation;
    EState* executor;
    ResultRelInfo* target;
    TupleTableSlot* row; // a virtual slot, which insert_row() and update_row() store and write
};

/// Opens the indexes of the relation. The caller acts as its owner: expressions of indexes may call
/// functions.
ViewWriter open_writer(Relation relation);
void close_writer(ViewWriter* writer);

/// Writes the writer's row as a new one, or over the row at `place`: the caller has cleared the
/// slot, filled tts_values and tts_isnull, and stored it. `snapshot` is the one that found the row;
/// a row that another transaction has changed since is an error.
void insert_row(ViewWriter* writer);
void update_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot);
void delete_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot);

/// Rows of the relation, estimated from its size now.
int64 estimated_rows(Relation relation);

} // namespace attribution::pg
