#include "pg/matview.hpp"

namespace attribution::pg {
namespace {

/// Makes an entry in each index for the writer's row, which was written to the table. After an
/// update that changed no indexed value, PostgreSQL says that none is needed (a heap-only tuple),
/// or only entries of indexes that summarize blocks.
void insert_index_entries(ViewWriter* writer, bool updated,
                          [[maybe_unused]] bool only_summarizing) {
    if (writer->target->ri_NumIndices == 0)
        return;
#if PG_VERSION_NUM >= 190000
    const uint32 flags =
        (updated ? EIIT_IS_UPDATE : 0) | (only_summarizing ? EIIT_ONLY_SUMMARIZING : 0);
    ExecInsertIndexTuples(writer->target, writer->executor, flags, writer->row, NIL, nullptr);
#elif PG_VERSION_NUM >= 160000
    ExecInsertIndexTuples(writer->target, writer->row, writer->executor, updated, false, nullptr,
                          NIL, only_summarizing);
#else
    ExecInsertIndexTuples(writer->target, writer->row, writer->executor, updated, false, nullptr,
                          NIL);
#endif
}

} // namespace

void check_has_no_index(Relation relation) {
    if (relation->rd_rel->relhasindex && RelationGetIndexList(relation) != NIL)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("cannot append to \"%s\", which has an index",
                               RelationGetRelationName(relation)),
                        errdetail("Rows are appended to it without entries in indexes."),
                        errhint("Drop the index.")));
}

ViewWriter open_writer(Relation relation) {
    Assert(relation->rd_rel->relkind == RELKIND_MATVIEW);
    Assert(CheckRelationLockedByMe(relation, RowExclusiveLock, true));
    ViewWriter writer{};
    writer.relation = relation;
    writer.executor = CreateExecutorState();
    writer.target = makeNode(ResultRelInfo);
    // Range table index 0: there is no range table to look into for updated columns.
    InitResultRelInfo(writer.target, relation, 0, nullptr, 0);
    ExecOpenIndices(writer.target, false);
    writer.row = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
    return writer;
}

void close_writer(ViewWriter* writer) {
    ExecCloseIndices(writer->target);
    ExecDropSingleTupleTableSlot(writer->row);
    FreeExecutorState(writer->executor);
}

void insert_row(ViewWriter* writer) {
    Assert(!TTS_EMPTY(writer->row));
    simple_table_tuple_insert(writer->relation, writer->row);
    insert_index_entries(writer, false, false);
    ResetPerTupleExprContext(writer->executor);
}

void update_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot) {
    Assert(!TTS_EMPTY(writer->row) && ItemPointerIsValid(place));
#if PG_VERSION_NUM >= 160000
    TU_UpdateIndexes indexes;
    simple_table_tuple_update(writer->relation, place, writer->row, snapshot, &indexes);
    if (indexes != TU_None)
        insert_index_entries(writer, true, indexes == TU_Summarizing);
#else
    bool indexes;
    simple_table_tuple_update(writer->relation, place, writer->row, snapshot, &indexes);
    if (indexes)
        insert_index_entries(writer, true, false);
#endif
    ResetPerTupleExprContext(writer->executor);
}

void delete_row(ViewWriter* writer, ItemPointer place, Snapshot snapshot) {
    simple_table_tuple_delete(writer->relation, place, snapshot);
}

int64 estimated_rows(Relation relation) {
    BlockNumber pages;
    double rows;
    double all_visible;
    estimate_rel_size(relation, nullptr, &pages, &rows, &all_visible);
    return rows < 1e18 ? static_cast<int64>(rows) : PG_INT64_MAX;
}

} // namespace attribution::pg
