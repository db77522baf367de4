#include "entry/views/change_log.hpp"

#include <algorithm>

#include "entry/views/stored_view.hpp"
#include "entry/views/view_state.hpp"
#include "pg/matview.hpp"
#include "pg/own.hpp"

namespace attribution::entry {

int change_log_limit_mb = 256;

namespace {

constexpr BlockNumber blocks_per_mb = (1 << 20) / BLCKSZ;

/// Up to this size a log is appended to without a look at the state of its view.
constexpr BlockNumber small_log_blocks = blocks_per_mb;

/// A row of the widest log takes some 75 bytes.
constexpr double log_row_bytes = 75;

/// What a backend remembers of one log.
struct LogMemory {
    pg::Cached layout;

    // Up to this size, but not past the limit, the backend appends without asking again whether the
    // log is needed: it was when the backend asked last, and rows in a log that is not needed do no
    // harm. A REFRESH of the log, the states or the doubts makes the backend ask again.
    pg::Cached answer;
    BlockNumber needed_up_to = 0;
};
constinit LogMemory log_memory[tracked_view_count];

double statistic_of(PGFunction statistic, Oid relation) {
    return static_cast<double>(
        DatumGetInt64(DirectFunctionCall1(statistic, ObjectIdGetDatum(relation))));
}

/// True when the log has reached attribution.change_log_limit. Its size alone does not say so,
/// because dead rows take space until they are vacuumed: the number of live rows, as the statistics
/// have it, must reach the limit as well.
bool is_full(Relation log, BlockNumber blocks) {
    const double limit = change_log_limit_mb * 1048576.0;
    const double size = static_cast<double>(blocks) * BLCKSZ;
    if (size <= limit)
        return false;
    const Oid id = RelationGetRelid(log);
    const double rows = statistic_of(pg_stat_get_live_tuples, id) +
                        statistic_of(pg_stat_get_xact_tuples_inserted, id) -
                        statistic_of(pg_stat_get_xact_tuples_deleted, id);
    return rows * log_row_bytes > limit || size > 8 * limit;
}

/// True when a log of this size must be appended to. False when the next refresh computes the whole
/// view anyway; a full log becomes such a case, by a doubt that is raised here.
bool is_log_needed(const TrackedView& view, Relation log, BlockNumber blocks) {
    const WriterStanding standing = ask_to_leave_out(view);
    if (standing.may_leave_out())
        return false;
    if (!standing.has_fence || !is_full(log, blocks))
        return true;
    raise_log_full(view);
    return false;
}

} // namespace

Relation open_log_to_append(const TrackedView& view) {
    LogMemory& memory = log_memory[number_of(view)];
    Relation log = open_stored(view.log, view.log_columns, memory.layout, RowExclusiveLock);
    pg::check_has_no_index(log);
    memory.answer.ensure([&] {
        memory.needed_up_to = 0;
        memory.answer.depend_on(RelationGetRelid(log));
        memory.answer.depend_on(pg::internal_relation("refresh_state"));
        memory.answer.depend_on(pg::internal_relation("refresh_doubts"));
    });
    const BlockNumber limit = static_cast<BlockNumber>(change_log_limit_mb) * blocks_per_mb;
    const BlockNumber blocks = RelationGetNumberOfBlocks(log);
    if (blocks <= std::max(small_log_blocks, std::min(memory.needed_up_to, limit)))
        return log;
    if (is_log_needed(view, log, blocks)) {
        memory.needed_up_to = blocks + small_log_blocks;
        return log;
    }
    table_close(log, NoLock);
    return nullptr;
}

Relation open_log_to_consume(const TrackedView& view) {
    return open_stored(view.log, view.log_columns, log_memory[number_of(view)].layout,
                       RowExclusiveLock);
}

void consume_log(Relation log, Snapshot snapshot, Tuplestorestate* changes) {
    pg::each_row(log, snapshot, [&](TupleTableSlot* row) {
        CHECK_FOR_INTERRUPTS();
        if (changes != nullptr)
            tuplestore_puttupleslot(changes, row);
        simple_table_tuple_delete(log, &row->tts_tid, snapshot);
    });
}

} // namespace attribution::entry
