// Rows of materialized views, written through the table access method.
//
// SQL refuses to change a materialized view, and no publication sends one: so they hold what is to
// follow other tables, and what belongs to this server alone. Rows written here are as crash-safe,
// transactional and replicated as any other.
#pragma once

#include <algorithm>
#include <cstddef>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Calls visit(TupleTableSlot*) for each row that the snapshot sees.
template <class Visit>
void each_row(Relation relation, Snapshot snapshot, Visit visit) {
    TupleTableSlot* row = table_slot_create(relation, nullptr);
    TableScanDesc scan = table_beginscan(relation, snapshot, 0, nullptr);
    while (table_scan_getnextslot(scan, ForwardScanDirection, row))
        visit(row);
    table_endscan(scan);
    ExecDropSingleTupleTableSlot(row);
}

/// Appends `count` rows to a relation without indexes: fill(i, values, isnull) gives row i, whose
/// values must live until the end of the call.
template <class Fill>
void append_rows(Relation relation, std::size_t count, Fill fill) {
    constexpr std::size_t chunk = 128;
    TupleTableSlot* rows[chunk];
    const std::size_t slot_count = std::min(count, chunk);
    for (std::size_t i = 0; i < slot_count; ++i)
        rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
    const MemoryContext before = CurrentMemoryContext;
    const MemoryContext memory =
        AllocSetContextCreate(before, "attribution rows", ALLOCSET_DEFAULT_SIZES);
    // A ring of buffers is for what is larger than shared_buffers wants to see.
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
    TupleTableSlot* row; // virtual: fill tts_values and tts_isnull, then store_row
};

/// Opens the indexes of a locked relation. The caller acts as its owner: expressions of indexes may
/// call functions.
ViewWriter open_writer(Relation relation);
void close_writer(ViewWriter* writer);

/// Writes the writer's row as a new one, or over the row at `place`.
void insert_row(ViewWriter* writer);
void update_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot);
void delete_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot);

/// Rows of the relation, estimated from its size now.
double estimated_rows(Relation relation);

} // namespace attribution::pg
