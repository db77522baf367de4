// A log that nobody consumes must not grow for ever, so a writer may leave its changes out of the
// log of a view that is unknown anyway. A refresher that is about to make the view known must not
// miss that. The fence, an advisory lock on the view, orders the two:
//
//     writer      takes the fence shared, and only if it is free; then looks whether the view is
//                 known, under a snapshot newer than that; leaves its changes out and keeps the
//                 fence until its transaction ends
//     refresher   takes the fence exclusively; then takes the snapshot it refreshes under
//
// Either the writer committed before the refresher got the fence, and the refresher's snapshot sees
// its rows; or the writer finds the fence taken, and logs; or it comes later and sees a known view.

#include "entry/views/view_state.hpp"

#include <algorithm>

#include "entry/views/capture_triggers.hpp"
#include "entry/views/stored_view.hpp"
#include "pg/columns.hpp"
#include "pg/advisory.hpp"
#include "pg/boundary.hpp"
#include "pg/matview.hpp"
#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {

constinit Oid view_in_refresh = InvalidOid;

namespace {

/// Numbers of the columns of refresh_state, and of refresh_doubts below.
enum StateColumn { state_view_name = 1, state_refreshed_at, state_captured_by, state_doubt };
constexpr pg::Column state_columns[] = {{"view_name", TEXTOID},
                                        {"refreshed_at", TIMESTAMPTZOID},
                                        {"captured_by", TEXTOID},
                                        {"doubt", TEXTOID}};
constinit pg::Cached state_layout;

enum DoubtColumn { doubt_view_name = 1, doubt_kind, doubt_reason, doubt_raised_at };
constexpr pg::Column doubt_columns[] = {
    {"view_name", TEXTOID}, {"kind", TEXTOID}, {"reason", TEXTOID}, {"raised_at", TIMESTAMPTZOID}};
constinit pg::Cached doubt_layout;

/// The kinds as refresh_doubts has them.
constexpr std::string_view kind_name(DoubtKind kind) {
    switch (kind) {
    case DoubtKind::truncated:
        return "truncated";
    case DoubtKind::replicated:
        return "replicated";
    case DoubtKind::altered:
        return "altered";
    case DoubtKind::log_full:
        return "log_full";
    case DoubtKind::refreshed_by_hand:
        return "refreshed_by_hand";
    }
    pg_unreachable();
}

Relation open_state(LOCKMODE lock) {
    return open_stored("refresh_state", state_columns, state_layout, lock);
}

Relation open_doubts(LOCKMODE lock) {
    return open_stored("refresh_doubts", doubt_columns, doubt_layout, lock);
}

/// True when the row is one of the view: of refresh_state or of refresh_doubts.
bool is_of(TupleTableSlot* row, const TrackedView& view) {
    static_assert(int{state_view_name} == int{doubt_view_name});
    return pg::column_value<std::string_view>(row, state_view_name) == view.name;
}

/// Why the view is unknown by its state alone; nullptr when it is known.
const char* why_unknown_by_state(const TrackedView& view, Snapshot snapshot,
                                 const char* captured_by) {
    const char* reason = "it was not refreshed by refresh() since it was installed or restored";
    Relation state = open_state(AccessShareLock);
    pg::each_row(state, snapshot, [&](TupleTableSlot* row) {
        using OptionalText = std::optional<std::string_view>;
        if (!is_of(row, view))
            return;
        const auto captured_then = pg::column_value<OptionalText>(row, state_captured_by);
        const auto doubt = pg::column_value<OptionalText>(row, state_doubt);
        if (doubt && (!captured_then || captured_by != nullptr))
            reason = pg::copied(*doubt).data();
        else if (captured_by != nullptr && captured_then != captured_by)
            reason = "the triggers or functions that capture its changes were changed";
        else
            reason = nullptr;
    });
    table_close(state, AccessShareLock);
    return reason;
}

/// The reason of the first doubt of the view that the snapshot sees, of this kind if one is given;
/// nullptr when there is none.
const char* find_doubt(const TrackedView& view, Snapshot snapshot,
                       std::optional<DoubtKind> kind = std::nullopt) {
    const char* reason = nullptr;
    Relation doubts = open_doubts(AccessShareLock);
    pg::each_row(doubts, snapshot, [&](TupleTableSlot* row) {
        if (reason != nullptr || !is_of(row, view))
            return;
        if (!kind || pg::column_value<std::string_view>(row, doubt_kind) == kind_name(*kind))
            reason = pg::copied(pg::column_value<std::string_view>(row, doubt_reason)).data();
    });
    table_close(doubts, AccessShareLock);
    return reason;
}

/// The place of the view's row in refresh_state; an invalid pointer when there is none.
ItemPointerData find_state(Relation state, const TrackedView& view, Snapshot snapshot) {
    ItemPointerData place;
    ItemPointerSetInvalid(&place);
    pg::each_row(state, snapshot, [&](TupleTableSlot* row) {
        if (is_of(row, view))
            place = row->tts_tid;
    });
    return place;
}

/// The (sub)transactions in which this backend last raised a doubt about a view: one of any kind,
/// and one about a REFRESH by hand. A second doubt in the same transaction is left out, since rows
/// from a publisher fire their triggers one by one.
struct RaisedDoubts {
    TransactionId any, by_hand;
};
constinit RaisedDoubts raised_doubts[tracked_view_count] = {};

void append_doubt(const TrackedView& view, DoubtKind kind, const char* reason) {
    Relation doubts = open_doubts(RowExclusiveLock);
    pg::check_has_no_index(doubts);
    pg::append_rows(doubts, 1, [&](std::size_t, Datum* values, bool* isnull) {
        values[doubt_view_name - 1] = CStringGetTextDatum(view.name);
        values[doubt_kind - 1] = pg::text_datum(kind_name(kind));
        values[doubt_reason - 1] = CStringGetTextDatum(reason);
        values[doubt_raised_at - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
        std::fill_n(isnull, std::size(doubt_columns), false);
    });
    table_close(doubts, NoLock);
}

/// True when refresh_status would still say how old the view's contents are.
bool is_age_known(const TrackedView& view) {
    const Snapshot latest = RegisterSnapshot(GetLatestSnapshot());
    Relation state = open_state(AccessShareLock);
    ItemPointerData place = find_state(state, view, latest);
    table_close(state, AccessShareLock);
    const bool is_known = ItemPointerIsValid(&place) &&
                          find_doubt(view, latest, DoubtKind::refreshed_by_hand) == nullptr;
    UnregisterSnapshot(latest);
    return is_known;
}

void write_state_row(Relation state, ItemPointer place, Snapshot snapshot,
                     std::span<const Datum> values, std::span<const bool> isnull) {
    const pg::CallerRights rights = pg::act_as_restricted_owner(state);
    pg::ViewWriter writer = pg::open_writer(state);
    ExecClearTuple(writer.row);
    std::copy(values.begin(), values.end(), writer.row->tts_values);
    std::copy(isnull.begin(), isnull.end(), writer.row->tts_isnull);
    ExecStoreVirtualTuple(writer.row);
    if (ItemPointerIsValid(place))
        pg::update_row(&writer, place, snapshot);
    else
        pg::insert_row(&writer);
    pg::close_writer(&writer);
    pg::act_as_caller(rights);
}

void delete_doubts(const TrackedView& view, Snapshot snapshot) {
    Relation doubts = open_doubts(RowExclusiveLock);
    pg::each_row(doubts, snapshot, [&](TupleTableSlot* row) {
        if (is_of(row, view))
            simple_table_tuple_delete(doubts, &row->tts_tid, snapshot);
    });
    table_close(doubts, NoLock);
    raised_doubts[number_of(view)] = {};
}

} // namespace

const char* why_unknown(const TrackedView& view, Snapshot snapshot, const char* captured_by) {
    const char* reason = why_unknown_by_state(view, snapshot, captured_by);
    return reason != nullptr ? reason : find_doubt(view, snapshot);
}

bool is_view_known(std::string_view view_name, Snapshot snapshot) {
    const TrackedView* view = find_tracked_view(view_name);
    Assert(view != nullptr);
    const Capture capture = describe_capture(*view);
    return capture.fault == nullptr && why_unknown(*view, snapshot, capture.description) == nullptr;
}

void record_state(const TrackedView& view, Snapshot snapshot, TimestampTz refreshed_at,
                  const char* captured_by, const char* doubt, bool may_be_new) {
    Assert(captured_by != nullptr || doubt != nullptr);
    Relation state = open_state(RowExclusiveLock);
    ItemPointerData place = find_state(state, view, snapshot);
    if (!ItemPointerIsValid(&place) && !may_be_new)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("refresh state of %s does not exist", view.name),
                        errdetail("attribution_internal.refresh_state was refreshed by hand.")));
    Datum values[std::size(state_columns)] = {};
    bool isnull[std::size(state_columns)] = {};
    values[state_view_name - 1] = CStringGetTextDatum(view.name);
    values[state_refreshed_at - 1] = TimestampTzGetDatum(refreshed_at);
    isnull[state_captured_by - 1] = captured_by == nullptr;
    if (captured_by != nullptr)
        values[state_captured_by - 1] = CStringGetTextDatum(captured_by);
    isnull[state_doubt - 1] = doubt == nullptr;
    if (doubt != nullptr)
        values[state_doubt - 1] = CStringGetTextDatum(doubt);
    write_state_row(state, &place, snapshot, values, isnull);
    table_close(state, NoLock);
    delete_doubts(view, snapshot);
}

void raise_doubt(const TrackedView& view, DoubtKind kind, const char* reason) {
    RaisedDoubts& raised = raised_doubts[number_of(view)];
    const bool by_hand = kind == DoubtKind::refreshed_by_hand;
    const TransactionId raised_in = by_hand ? raised.by_hand : raised.any;
    if (TransactionIdIsValid(raised_in) && raised_in == GetCurrentTransactionIdIfAny())
        return;
    // A view that is unknown already needs no second doubt, unless its age was known up to now.
    if (!ask_to_leave_out(view).may_leave_out() || (by_hand && is_age_known(view)))
        append_doubt(view, kind, reason);
    raised.any = GetCurrentTransactionIdIfAny();
    if (by_hand)
        raised.by_hand = raised.any;
}

void raise_log_full(const TrackedView& view) {
    append_doubt(view, DoubtKind::log_full,
                 "the log of changes reached attribution.change_log_limit");
}

void reset_raised_doubts() {
    std::fill_n(raised_doubts, tracked_view_count, RaisedDoubts{});
}

WriterStanding ask_to_leave_out(const TrackedView& view) {
    // find_own_relation, which raises no error: a view that was renamed has no refresher either,
    // and must not make writers fail.
    const LOCKTAG fence =
        pg::advisory_lock_on(pg::AdvisoryClass::fence, pg::find_own_relation(view.name));
    if (!pg::try_lock(fence, ShareLock))
        return {.has_fence = false, .is_view_unknown = false};
    const Snapshot latest = RegisterSnapshot(GetLatestSnapshot());
    const bool unknown = why_unknown(view, latest, nullptr) != nullptr;
    UnregisterSnapshot(latest);
    return {.has_fence = true, .is_view_unknown = unknown};
}

bool fence_writers(Oid view) {
    const LOCKTAG fence = pg::advisory_lock_on(pg::AdvisoryClass::fence, view);
    if (pg::try_lock(fence, ExclusiveLock))
        return true;
    // The refresher waits in the lock's queue instead of trying again and again: while it waits, no
    // other writer gets the lock shared, so that it only waits for the writers that have it.
    ErrorData* failure = pg::attempt([&] {
        pg::limit_lock_wait(1000);
        LockAcquire(&fence, ExclusiveLock, false, false);
    });
    if (failure != nullptr && failure->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
        failure->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
        ReThrowError(failure);
    return failure == nullptr;
}

} // namespace attribution::entry
