#include "entry/check/plain.hpp"

#include <algorithm>

#include "entry/check/rules.hpp"
#include "entry/check/tables.hpp"
#include "entry/session/settings.hpp"
#include "pg/columns.hpp"
#include "pg/index_scan.hpp"
#include "pg/relation.hpp"
#include "pg/wait_point.hpp"

namespace attribution::entry {
namespace {

/// The tables of the keys, open.
struct OpenTables {
    Tables& tables;
    Relation events, allocations;
};

/// A conversion as it was locked.
struct Conversion {
    core::Cents revenue_cents;
    bool is_locked; // else it is for the rules: it is not there, or it is a refund
};

/// Locks a row FOR NO KEY UPDATE, as a statement does; false when it is gone.
bool lock_row(Relation events, ItemPointer place, Snapshot snapshot, TupleTableSlot* locked) {
    const bool has_one_snapshot = IsolationUsesXactSnapshot();
    const int flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS |
                      (has_one_snapshot ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION);
    TM_FailureData failure;
    switch (table_tuple_lock(events, place, snapshot, locked, GetCurrentCommandId(true),
                             LockTupleNoKeyExclusive, LockWaitBlock, static_cast<uint8>(flags),
                             &failure)) {
    case TM_Ok:
        return true;
    case TM_Updated:
    case TM_Deleted:
        if (has_one_snapshot)
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not serialize access due to concurrent update")));
        return false;
    default:
        return false; // by this transaction itself
    }
}

/// Locks the conversion of a key, unless it is for the rules.
Conversion lock_conversion_of(const OpenTables& open, pg::UuidIndexScan* scan, const CheckKey& key,
                              Snapshot snapshot, TupleTableSlot* locked) {
    const EventColumns& columns = open.tables.event;
    Conversion conversion = {.revenue_cents = 0, .is_locked = false};
    scan->find(key.tenant_id, key.event_id);
    TupleTableSlot* row = scan->next();
    if (row == nullptr || !slot_attisnull(row, columns.refund_of))
        return conversion;
    ItemPointerData place = row->tts_tid;
    scan->release();
    if (!lock_row(open.events, &place, snapshot, locked))
        return conversion;
    conversion = {.revenue_cents = pg::column_value<core::Cents>(locked, columns.revenue_cents),
                  .is_locked = true};
    ExecClearTuple(locked);
    return conversion;
}

/// Locks the conversions of the keys, under a snapshot of its own. Keys of one event share one.
void lock_plainly(const OpenTables& open, std::span<const CheckKey> keys,
                  std::span<Conversion> conversions) {
    CommandCounterIncrement();
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    TupleTableSlot* locked = table_slot_create(open.events, nullptr);
    pg::UuidIndexScan scan(open.events, open.tables.event_index, snapshot);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        Assert(names_a_model(keys[i]));
        conversions[i] = i > 0 && is_same_event(keys[i - 1], keys[i])
                             ? conversions[i - 1]
                             : lock_conversion_of(open, &scan, keys[i], snapshot, locked);
    }
    scan.end();
    ExecDropSingleTupleTableSlot(locked);
    UnregisterSnapshot(snapshot);
}

/// True when the allocations of the key sum to the revenue, or there are none, and none of them is
/// below zero.
bool sums_to(const OpenTables& open, pg::UuidIndexScan* scan, const CheckKey& key,
             core::Cents revenue_cents) {
    const AllocationColumns& columns = open.tables.allocation;
    const std::string_view model = model_version_of(key);
    int128 sum = 0;
    bool is_there = false;
    scan->find(key.tenant_id, key.event_id);
    while (TupleTableSlot* row = scan->next()) {
        if (pg::column_value<std::string_view>(row, columns.model_version) != model)
            continue;
        const auto cents = pg::column_value<core::Cents>(row, columns.cents);
        if (cents < 0)
            return false;
        is_there = true;
        sum += cents;
    }
    const int128 drift = sum < revenue_cents ? revenue_cents - sum : sum - revenue_cents;
    return !is_there || drift <= sum_tolerance_cents;
}

#ifdef USE_ASSERT_CHECKING
/// Asks the rules about the keys that were called certainly right, under the same snapshot. They
/// read the events as the owner of the allocations, who may see fewer of another owner's: then they
/// cannot be compared.
void compare_with_rules(const OpenTables& open, std::span<const CheckKey> keys,
                        std::span<const Verdict> verdicts, Snapshot snapshot) {
    if (open.events->rd_rel->relowner != open.allocations->rd_rel->relowner)
        return;
    pg::Vector<CheckKey> right(CurrentMemoryContext);
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (verdicts[i] == Verdict::certainly_right)
            right.push_back(keys[i]);
    Assert(find_nothing(open.tables, right.span(), snapshot));
}
#endif

/// Sums the keys under a snapshot newer than the locks.
void judge_locked(const OpenTables& open, std::span<const CheckKey> keys,
                  std::span<const Conversion> conversions, std::span<Verdict> verdicts) {
    CommandCounterIncrement();
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    pg::UuidIndexScan refunds(open.events, open.tables.refund_index, snapshot);
    pg::UuidIndexScan sums(open.allocations, open.tables.sum_index, snapshot);
    const auto is_right = [&](const CheckKey& key, const Conversion& conversion) {
        if (!conversion.is_locked)
            return false;
        refunds.find(key.tenant_id, key.event_id);
        return refunds.next() == nullptr && sums_to(open, &sums, key, conversion.revenue_cents);
    };
    for (std::size_t i = 0; i < keys.size(); ++i)
        verdicts[i] =
            is_right(keys[i], conversions[i]) ? Verdict::certainly_right : Verdict::left_to_rules;
    refunds.end();
    sums.end();
#ifdef USE_ASSERT_CHECKING
    compare_with_rules(open, keys, verdicts, snapshot);
#endif
    UnregisterSnapshot(snapshot);
}

/// A batch is locked and then summed, so that the snapshot of each sum is newer than its lock.
void judge_in_batches(const OpenTables& open, std::span<const CheckKey> keys,
                      std::span<Verdict> verdicts) {
    const auto conversions = pg::make_span<Conversion>(std::min(keys.size(), max_batch));
    for (std::size_t from = 0; from < keys.size(); from += max_batch) {
        CHECK_FOR_INTERRUPTS();
        const auto batch = keys.subspan(from, std::min(max_batch, keys.size() - from));
        lock_plainly(open, batch, conversions.first(batch.size()));
        pg::wait_point("between_lock_and_sum");
        judge_locked(open, batch, conversions.first(batch.size()),
                     verdicts.subspan(from, batch.size()));
        pg::wait_point("after_sum");
    }
    pfree(conversions.data());
}

bool has_indexes(const Tables& tables) {
    return OidIsValid(tables.event_index) && OidIsValid(tables.refund_index) &&
           OidIsValid(tables.sum_index);
}

} // namespace

void judge_plainly(std::span<const CheckKey> keys, std::span<Verdict> verdicts) {
    Assert(are_sorted_of_one_table(keys));
    Assert(keys.size() == verdicts.size());
    Relation allocations = table_open(keys.front().allocations, AccessShareLock);
    Relation events = table_open(tables_of(allocations).events, RowShareLock);
    // Looked up again under both locks: from here on no index is dropped.
    Tables& tables = tables_of(allocations);
    if (tables.events == RelationGetRelid(events) && has_indexes(tables))
        judge_in_batches({.tables = tables, .events = events, .allocations = allocations}, keys,
                         verdicts);
    else
        std::fill(verdicts.begin(), verdicts.end(), Verdict::left_to_rules);
    table_close(events, NoLock); // as after a statement that locks rows
    table_close(allocations, AccessShareLock);
}

} // namespace attribution::entry
