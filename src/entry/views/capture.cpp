// capture: writers log what a refresh must look at.
//
// A log that nobody consumes must not grow for ever, so a writer may leave its changes out of a log
// that is not worth keeping: the view is unknown anyway, or the log has reached its limit and a
// doubt is raised. That must not be missed by a refresher that is about to make the view known:
//
//     writer      takes the fence shared, and only if it is free; then looks whether the view is
//                 known, under a snapshot newer than that; leaves its changes out and keeps the
//                 fence until its transaction ends
//     refresher   takes the fence exclusively; then takes the snapshot it refreshes under
//
// Either the writer committed before the refresher got the fence, and the snapshot sees its rows;
// or the writer finds the fence taken and logs; or it comes later and sees a known view.

#include "entry/views/capture.hpp"

#include <algorithm>
#include <string_view>

#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/matview.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {

int change_log_limit_mb = 256;
Oid own_refresh = InvalidOid;

namespace {

/// SQL's own advisory locks use classes 1 and 2: no session can take this one by hand.
constexpr uint16 fence_lock_class = 4;

/// Up to this size a log is kept without a look at the state.
constexpr BlockNumber small_log_blocks = (1 << 20) / BLCKSZ;

/// A row of the widest log takes some 75 bytes.
constexpr double log_row_bytes = 75;

/// How many keys of one statement are held at a time: 2.4 MB, and as much for finding them.
constexpr int max_held = 1 << 16;

Oid own_relation(const char* name) {
    return get_relname_relid(name, get_namespace_oid("attribution", false));
}

Relation open_own(const char* name, LOCKMODE lock) {
    const Oid relation = own_relation(name);
    if (!OidIsValid(relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation attribution.%s does not exist", name),
                        errdetail("Changes are captured into it."),
                        errhint("Restore it from the extension's installation script.")));
    return table_open(relation, lock);
}

/// Opens a log to append to. Nothing keeps an index on it in step.
Relation open_to_append(const char* name) {
    Relation relation = open_own(name, RowExclusiveLock);
    if (relation->rd_rel->relhasindex && RelationGetIndexList(relation) != NIL)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("\"%s\" has an index", name),
                        errdetail("Changes are appended to it without regard to indexes."),
                        errhint("Drop the index.")));
    return relation;
}

const TrackedView& view_of(const Trigger* trigger, int argument) {
    for (const TrackedView& view : tracked_views)
        if (argument < trigger->tgnargs && strcmp(trigger->tgargs[argument], view.name) == 0)
            return view;
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("trigger \"%s\" names no materialized view of this extension",
                           trigger->tgname)));
    pg_unreachable();
}

bool is_of(TupleTableSlot* row, const TrackedView& view) {
    bool isnull;
    return pg::text_of(slot_getattr(row, 1, &isnull)) == view.name;
}

LOCKTAG fence_of(Oid view) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, view, 0, fence_lock_class);
    return tag;
}

/// True when this transaction may leave changes out: the view is not known, and no refresh makes it
/// known before this transaction ends. `*fenced`: the fence is ours, known or not.
bool may_leave_out(const TrackedView& view, bool* fenced) {
    const LOCKTAG tag = fence_of(own_relation(view.name));
    *fenced = LockAcquire(&tag, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
    if (!*fenced)
        return false;
    const Snapshot latest = RegisterSnapshot(GetLatestSnapshot());
    const bool unknown = why_unknown(view, latest, nullptr) != nullptr;
    UnregisterSnapshot(latest);
    return unknown;
}

void append_doubt(const TrackedView& view, const char* reason) {
    Relation doubts = open_to_append("refresh_doubts");
    pg::append_rows(doubts, 1, [&](std::size_t, Datum* values, bool* isnull) {
        values[0] = CStringGetTextDatum(view.name);
        values[1] = CStringGetTextDatum(reason);
        values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
        std::fill_n(isnull, 3, false);
    });
    table_close(doubts, NoLock);
}

/// The (sub)transaction that has raised a doubt that is still there. Rows come from a publisher one
/// by one: the first has said it.
TransactionId& raised_in(const TrackedView& view) {
    static constinit TransactionId raised[tracked_views.size()] = {};
    return raised[&view - tracked_views.data()];
}

/// The log no longer tells how the view differs from its query, once this transaction commits.
void raise_doubt(const TrackedView& view, const char* reason) {
    TransactionId& raised = raised_in(view);
    if (TransactionIdIsValid(raised) && raised == GetCurrentTransactionIdIfAny())
        return;
    bool fenced;
    if (!may_leave_out(view, &fenced))
        append_doubt(view, reason);
    raised = GetCurrentTransactionIdIfAny();
}

double number_of(PGFunction statistic, Oid relation) {
    return static_cast<double>(
        DatumGetInt64(DirectFunctionCall1(statistic, ObjectIdGetDatum(relation))));
}

/// Dead rows take space until they are vacuumed, which says nothing of what waits: so the rows
/// count, too, as far as the statistics know them.
bool is_full(Relation log, BlockNumber blocks) {
    const double limit = change_log_limit_mb * 1048576.0;
    const double size = static_cast<double>(blocks) * BLCKSZ;
    if (size <= limit)
        return false;
    const Oid id = RelationGetRelid(log);
    const double rows = number_of(pg_stat_get_live_tuples, id) +
                        number_of(pg_stat_get_xact_tuples_inserted, id) -
                        number_of(pg_stat_get_xact_tuples_deleted, id);
    return rows * log_row_bytes > limit || size > 8 * limit;
}

/// Up to this size, but not past the limit, this backend logs without another look: to log in vain
/// does no harm.
constinit BlockNumber looked_up_to[tracked_views.size()] = {};

extern "C" void forget_looks(Datum, Oid) {
    // One of the relations may have been made anew.
    std::fill_n(looked_up_to, tracked_views.size(), 0);
}

/// The log of the view, to append to; nullptr when the changes need not be logged.
Relation open_log(const TrackedView& view) {
    BlockNumber& looked = looked_up_to[&view - tracked_views.data()];
    const BlockNumber limit = change_log_limit_mb * small_log_blocks;
    Relation log = open_to_append(view.changes);
    const BlockNumber blocks = RelationGetNumberOfBlocks(log);
    if (blocks <= std::max(small_log_blocks, std::min(looked, limit)))
        return log;
    bool fenced;
    bool leave_out = may_leave_out(view, &fenced);
    if (!leave_out && fenced && is_full(log, blocks)) {
        append_doubt(view, "the log of changes reached attribution.change_log_limit");
        leave_out = true;
    }
    if (!leave_out) {
        looked = blocks + small_log_blocks;
        return log;
    }
    table_close(log, NoLock);
    return nullptr;
}

// ---------------------------------------------------------------------------------------------
// Keys of one statement, each once

/// Entries of a statement by key, which comes first in an entry and has no padding. A few are
/// looked through, many are found by hash.
template <class Entry>
struct Entries {
    using Key = decltype(Entry::key);
    struct Place {
        Key key;
        int number;
    };

    Entry* entries;
    int count, room;
    HTAB* places;

    /// The entry of the key, made zero if it was not there: then *found is false.
    Entry* find(const Key& key, bool* found) {
        if (count > 0 && memcmp(&entries[count - 1].key, &key, sizeof key) == 0) {
            *found = true; // rows of one key mostly come together
            return &entries[count - 1];
        }
        if (places == nullptr && count == few)
            hash_all();
        if (places != nullptr) {
            auto* place = static_cast<Place*>(hash_search(places, &key, HASH_ENTER, found));
            if (*found)
                return &entries[place->number];
            place->number = count;
        } else {
            for (int i = 0; i < count; ++i)
                if (memcmp(&entries[i].key, &key, sizeof key) == 0) {
                    *found = true;
                    return &entries[i];
                }
            *found = false;
        }
        if (count == room) {
            const int larger = room == 0 ? few : room * 2;
            entries =
                static_cast<Entry*>(entries == nullptr ? palloc(sizeof(Entry) * larger)
                                                       : repalloc(entries, sizeof(Entry) * larger));
            room = larger;
        }
        Entry* entry = &entries[count++];
        *entry = {};
        entry->key = key;
        return entry;
    }

    void clear() {
        if (places != nullptr)
            hash_destroy(places);
        places = nullptr;
        count = 0;
    }

private:
    static constexpr int few = 8;

    void hash_all() {
        HASHCTL control{};
        control.keysize = sizeof(Key);
        control.entrysize = sizeof(Place);
        control.hcxt = CurrentMemoryContext;
        places = hash_create("attribution changes", 256, &control,
                             HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
        for (int i = 0; i < count; ++i) {
            bool found;
            auto* place =
                static_cast<Place*>(hash_search(places, &entries[i].key, HASH_ENTER, &found));
            place->number = i;
        }
    }
};

/// Calls visit(row, is_new) for the rows before and after the change: of a row trigger the row
/// itself, else those of the transition tables.
template <class Visit>
void each_changed_row(const TriggerData* trigger, Visit visit) {
    if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event)) {
        visit(trigger->tg_trigslot, false);
        return;
    }
    for (const bool is_new : {false, true}) {
        Tuplestorestate* rows = is_new ? trigger->tg_newtable : trigger->tg_oldtable;
        if (rows == nullptr)
            continue;
        TupleTableSlot* row =
            MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
        // Shared with the other triggers of the statement, which rewind it as well.
        tuplestore_select_read_pointer(rows, 0);
        tuplestore_rescan(rows);
        while (tuplestore_gettupleslot(rows, true, false, row))
            visit(row, is_new);
        ExecDropSingleTupleTableSlot(row);
    }
}

pg_uuid_t uuid_in(TupleTableSlot* row, int column) {
    bool isnull;
    return *DatumGetUUIDP(slot_getattr(row, column, &isnull));
}

struct SummaryEntry {
    struct {
        pg_uuid_t tenant_id, event_id;
        uint32 model; // number of a text, from 1; 0: all model versions of the event
    } key;
};

/// The model versions of one statement by number.
struct Texts {
    static constexpr int limit = 64; // they are looked through
    Datum texts[limit];
    int count;

    /// The number of the text, from 1; 0 when there is no room.
    uint32 number(Datum text) {
        const std::string_view wanted = pg::text_of(text);
        for (int i = count; i > 0; --i)
            if (pg::text_of(texts[i - 1]) == wanted)
                return static_cast<uint32>(i);
        if (count == limit)
            return 0;
        texts[count++] = pg::text_datum(wanted);
        return static_cast<uint32>(count);
    }
};

void write_summary(Relation log, Entries<SummaryEntry>* entries, Texts* models) {
    pg::append_rows(log, static_cast<std::size_t>(entries->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        const auto& key = entries->entries[i].key;
                        values[0] = UUIDPGetDatum(&key.tenant_id);
                        values[1] = UUIDPGetDatum(&key.event_id);
                        values[2] = key.model == 0 ? Datum{0} : models->texts[key.model - 1];
                        isnull[0] = isnull[1] = false;
                        isnull[2] = key.model == 0;
                    });
    entries->clear();
    models->count = 0;
}

void capture_summary(const TriggerData* trigger, Relation log) {
    // Of the events themselves: their revenue under all model versions.
    const bool of_events =
        get_attnum(RelationGetRelid(trigger->tg_relation), "event_id") == InvalidAttrNumber;
    const int tenant = pg::column_number(trigger->tg_relation, "tenant_id");
    const int event = pg::column_number(trigger->tg_relation, of_events ? "id" : "event_id");
    const int model = of_events ? 0 : pg::column_number(trigger->tg_relation, "model_version");
    Entries<SummaryEntry> entries{};
    Texts models{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool) {
        bool isnull, found;
        const Datum version = of_events ? Datum{0} : slot_getattr(row, model, &isnull);
        uint32 number = of_events ? 0 : models.number(version);
        if (entries.count == max_held || (!of_events && number == 0)) {
            write_summary(log, &entries, &models);
            number = of_events ? 0 : models.number(version);
        }
        entries.find(
            {.tenant_id = uuid_in(row, tenant), .event_id = uuid_in(row, event), .model = number},
            &found);
    });
    write_summary(log, &entries, &models);
}

struct RevenueEntry {
    struct {
        pg_uuid_t tenant_id;
    } key;
    int64 revenue_cents, verified_cents, posting_count, verified_count;
};

void write_revenue(Relation log, Entries<RevenueEntry>* entries) {
    pg::append_rows(log, static_cast<std::size_t>(entries->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        const RevenueEntry& entry = entries->entries[i];
                        values[0] = UUIDPGetDatum(&entry.key.tenant_id);
                        values[1] = Int64GetDatum(entry.revenue_cents);
                        values[2] = Int64GetDatum(entry.verified_cents);
                        values[3] = Int64GetDatum(entry.posting_count);
                        values[4] = Int64GetDatum(entry.verified_count);
                        std::fill_n(isnull, 5, false);
                    });
    entries->clear();
}

/// False when the sum would leave the range of bigint.
bool add_posting(RevenueEntry* entry, int64 cents, bool verified, int64 count) {
    RevenueEntry sum = *entry;
    if (pg_add_s64_overflow(sum.revenue_cents, cents, &sum.revenue_cents) ||
        (verified && pg_add_s64_overflow(sum.verified_cents, cents, &sum.verified_cents)))
        return false;
    sum.posting_count += count;
    sum.verified_count += verified ? count : 0;
    *entry = sum;
    return true;
}

void capture_revenue(const TriggerData* trigger, Relation log) {
    const bool of_tenants =
        get_attnum(RelationGetRelid(trigger->tg_relation), "tenant_id") == InvalidAttrNumber;
    const int tenant = pg::column_number(trigger->tg_relation, of_tenants ? "id" : "tenant_id");
    const int revenue = of_tenants ? 0 : pg::column_number(trigger->tg_relation, "revenue_cents");
    const int verified = of_tenants ? 0 : pg::column_number(trigger->tg_relation, "is_verified");
    Entries<RevenueEntry> entries{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool is_new) {
        bool isnull, found;
        if (entries.count == max_held)
            write_revenue(log, &entries);
        RevenueEntry* entry = entries.find({.tenant_id = uuid_in(row, tenant)}, &found);
        if (of_tenants)
            return;
        const bool is_verified = DatumGetBool(slot_getattr(row, verified, &isnull));
        const int64 cents = DatumGetInt64(slot_getattr(row, revenue, &isnull));
        // -2^63 has no negative: it is taken back in two parts.
        const bool in_two = !is_new && cents == PG_INT64_MIN;
        const int64 parts[] = {is_new ? cents : in_two ? PG_INT64_MAX : -cents, in_two ? 1 : 0};
        const int64 counts[] = {is_new ? 1 : -1, 0};
        for (int i = 0; i < (in_two ? 2 : 1); ++i) {
            if (add_posting(entry, parts[i], is_verified, counts[i]))
                continue;
            write_revenue(log, &entries);
            entry = entries.find({.tenant_id = uuid_in(row, tenant)}, &found);
            add_posting(entry, parts[i], is_verified, counts[i]);
        }
    });
    write_revenue(log, &entries);
}

struct StatusEntry {
    struct {
        pg_uuid_t tenant_id;
    } key;
};

void write_status(Relation log, Entries<StatusEntry>* entries) {
    pg::append_rows(log, static_cast<std::size_t>(entries->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        values[0] = UUIDPGetDatum(&entries->entries[i].key.tenant_id);
                        isnull[0] = false;
                    });
    entries->clear();
}

void capture_status(const TriggerData* trigger, Relation log) {
    const int tenant = pg::column_number(trigger->tg_relation, "tenant_id");
    Entries<StatusEntry> entries{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool) {
        bool found;
        if (entries.count == max_held)
            write_status(log, &entries);
        entries.find({.tenant_id = uuid_in(row, tenant)}, &found);
    });
    write_status(log, &entries);
}

/// The trigger function of one view: logs what `capture` finds in the changed rows.
Datum captured(FunctionCallInfo fcinfo, const char* function_name,
               void (*capture)(const TriggerData*, Relation)) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, function_name);
    if (!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
        (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) && trigger->tg_newtable == nullptr &&
         trigger->tg_oldtable == nullptr))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("%s() needs rows that were changed", function_name)));
    if (Relation log = open_log(view_of(trigger->tg_trigger, 0)); log != nullptr) {
        capture(trigger, log);
        table_close(log, NoLock);
    }
    return PointerGetDatum(nullptr);
}

} // namespace

void watch_logs() {
    CacheRegisterRelcacheCallback(forget_looks, Datum{0});
}

// ---------------------------------------------------------------------------------------------
// What is known

const char* why_unknown(const TrackedView& view, Snapshot snapshot, const char* captured_by) {
    const char* reason = "it was not refreshed by refresh() since it was installed or restored";
    Relation state = open_own("refresh_state", AccessShareLock);
    pg::each_row(state, snapshot, [&](TupleTableSlot* row) {
        if (!is_of(row, view))
            return;
        bool isnull;
        const Datum captured = slot_getattr(row, state_captured_by + 1, &isnull);
        bool is_sure;
        const Datum doubt = slot_getattr(row, state_doubt + 1, &is_sure);
        if (isnull || (!is_sure && captured_by != nullptr))
            reason = TextDatumGetCString(doubt);
        else if (captured_by != nullptr && pg::text_of(captured) != captured_by)
            reason = "the triggers that capture its changes were changed";
        else
            reason = nullptr;
    });
    table_close(state, AccessShareLock);
    if (reason != nullptr)
        return reason;
    Relation doubts = open_own("refresh_doubts", AccessShareLock);
    pg::each_row(doubts, snapshot, [&](TupleTableSlot* row) {
        bool isnull;
        if (reason == nullptr && is_of(row, view))
            reason = TextDatumGetCString(slot_getattr(row, 2, &isnull));
    });
    table_close(doubts, AccessShareLock);
    return reason;
}

const char* describe_capture(const TrackedView& view) {
    // Rows from a publisher fire row triggers that are enabled for replicas. xmin and ctid: a
    // trigger that was disabled and enabled again is another row; a frozen row keeps its own.
    static constinit pg::Query describe = {
        .sql = "SELECT count(*) FILTER (WHERE t.tgenabled = CASE WHEN t.tgfoid = $3 "
               "AND t.tgqual IS NOT NULL THEN 'R'::\"char\" ELSE 'A'::\"char\" END), "
               "string_agg(format('%s %s %s %s', t.oid, t.xmin, t.ctid, t.tgenabled), ', ' "
               "ORDER BY t.oid), "
               "(SELECT format('%s %s %s', e.oid, e.xmin, e.ctid) FROM pg_event_trigger e "
               "WHERE e.evtfoid = $4 AND e.evtenabled = 'A') "
               "FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgfoid = ANY ($1) "
               "AND t.tgargs = convert_to($2, 'UTF8') || '\\x00'::bytea",
        .parameter_count = 4,
        .parameter_types = {OIDARRAYOID, TEXTOID, OIDOID, OIDOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum functions[5];
    int count = 0;
    for (const char* name : {"capture_summary_change", "capture_revenue_change",
                             "capture_status_change", "doubt_view", "notice_refresh"}) {
        List* function = list_make2(makeString(pstrdup("attribution")), makeString(pstrdup(name)));
        functions[count++] = ObjectIdGetDatum(LookupFuncName(function, 0, nullptr, false));
    }
    Datum values[] = {PointerGetDatum(construct_array(functions, count - 1, OIDOID, sizeof(Oid),
                                                      true, TYPALIGN_INT)),
                      CStringGetTextDatum(view.name), functions[count - 2], functions[count - 1]};
    pg::run(describe, values);
    bool isnull;
    const int64 trigger_count = DatumGetInt64(pg::result_value(0, 1, &isnull));
    const Datum triggers = pg::result_value(0, 2, &isnull);
    const Datum event_trigger = pg::result_value(0, 3, &isnull);
    if (trigger_count != view.trigger_count || isnull)
        return nullptr;
    return psprintf("%u %u: %s; %s", own_relation(view.name), own_relation(view.changes),
                    TextDatumGetCString(triggers), TextDatumGetCString(event_trigger));
}

const char* lock_sources(const TrackedView& view) {
    const char* reason = nullptr;
    for (const char* name : view.tables) {
        if (name == nullptr)
            break;
        Relation table = open_own(name, AccessShareLock);
        if (table->rd_rel->relhassubclass)
            reason = psprintf("tables inherit from %s, and nothing follows their rows", name);
        table_close(table, NoLock);
    }
    for (const char* name : {view.changes, "refresh_state", "refresh_doubts"})
        table_close(open_own(name, RowExclusiveLock), NoLock);
    return reason;
}

void record_state(const TrackedView& view, Snapshot snapshot, TimestampTz refreshed_at,
                  const char* captured_by, const char* doubt, bool may_be_new) {
    Relation state = open_own("refresh_state", RowExclusiveLock);
    ItemPointerData place;
    ItemPointerSetInvalid(&place);
    pg::each_row(state, snapshot, [&](TupleTableSlot* row) {
        if (is_of(row, view))
            place = row->tts_tid;
    });
    if (!ItemPointerIsValid(&place) && !may_be_new)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("the state of %s is gone", view.name),
                        errdetail("Somebody refreshed attribution.refresh_state by hand.")));
    const pg::OwnerRights rights = pg::act_as_restricted_owner(state);
    pg::ViewWriter writer = pg::open_writer(state);
    Datum* values = writer.row->tts_values;
    bool* isnull = writer.row->tts_isnull;
    values[state_view_name] = CStringGetTextDatum(view.name);
    values[state_refreshed_at] = TimestampTzGetDatum(refreshed_at);
    values[state_captured_by] =
        captured_by == nullptr ? Datum{0} : CStringGetTextDatum(captured_by);
    values[state_doubt] = doubt == nullptr ? Datum{0} : CStringGetTextDatum(doubt);
    isnull[state_view_name] = isnull[state_refreshed_at] = false;
    isnull[state_captured_by] = captured_by == nullptr;
    isnull[state_doubt] = doubt == nullptr;
    ExecStoreVirtualTuple(writer.row);
    if (ItemPointerIsValid(&place))
        pg::update_row(&writer, &place, snapshot);
    else
        pg::insert_row(&writer);
    pg::close_writer(&writer);
    pg::act_as_before(rights);
    table_close(state, NoLock);

    Relation doubts = open_own("refresh_doubts", RowExclusiveLock);
    pg::each_row(doubts, snapshot, [&](TupleTableSlot* row) {
        if (is_of(row, view))
            simple_table_tuple_delete(doubts, &row->tts_tid, snapshot);
    });
    table_close(doubts, NoLock);
    raised_in(view) = InvalidTransactionId;
}

bool fence_writers(Oid view) {
    const LOCKTAG tag = fence_of(view);
    if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
        return true;
    // Waiting in the queue, not asking again and again: while somebody waits, no writer begins to
    // leave changes out, so that those at work come to an end.
    ErrorData* failure = pg::attempt([&] {
        pg::limit_lock_wait(1000);
        LockAcquire(&tag, ExclusiveLock, false, false);
    });
    if (failure != nullptr && failure->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
        failure->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
        ReThrowError(failure);
    return failure == nullptr;
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_capture_summary_change) {
    return entry::captured(fcinfo, "capture_summary_change", entry::capture_summary);
}

ATTRIBUTION_FUNCTION(attribution_capture_revenue_change) {
    return entry::captured(fcinfo, "capture_revenue_change", entry::capture_revenue);
}

ATTRIBUTION_FUNCTION(attribution_capture_status_change) {
    return entry::captured(fcinfo, "capture_status_change", entry::capture_status);
}

ATTRIBUTION_FUNCTION(attribution_is_replicated_row) {
    // Not what session_replication_role says: its sessions fire the statement triggers as well.
    PG_RETURN_BOOL(IsLogicalWorker());
}

ATTRIBUTION_FUNCTION(attribution_doubt_view) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "doubt_view");
    const char* reason = TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) ? "%s was truncated"
                         : IsLogicalWorker() ? "rows of %s came by logical replication"
                                             : "%s was changed";
    entry::raise_doubt(entry::view_of(trigger->tg_trigger, 0),
                       psprintf(reason, RelationGetRelationName(trigger->tg_relation)));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_notice_refresh) {
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("notice_refresh() must be called as an event trigger")));
    const auto* event = reinterpret_cast<EventTriggerData*>(fcinfo->context);
    const Oid schema = get_namespace_oid("attribution", true);
    if (event->parsetree == nullptr || !IsA(event->parsetree, RefreshMatViewStmt) ||
        !OidIsValid(schema) || !OidIsValid(get_relname_relid("refresh_doubts", schema)))
        PG_RETURN_NULL();
    const auto* refresh = castNode(RefreshMatViewStmt, event->parsetree);
    const Oid relation = RangeVarGetRelid(refresh->relation, NoLock, true);
    if (relation == entry::own_refresh)
        PG_RETURN_NULL();
    const bool of_all = relation == get_relname_relid("refresh_doubts", schema);
    for (const entry::TrackedView& view : entry::tracked_views) {
        if (of_all)
            entry::raised_in(view) = InvalidTransactionId; // it went with the others
        if (of_all || relation == get_relname_relid(view.name, schema) ||
            relation == get_relname_relid(view.changes, schema))
            entry::raise_doubt(view, psprintf("REFRESH MATERIALIZED VIEW was run on %s by hand",
                                              refresh->relation->relname));
    }
    PG_RETURN_NULL();
}
