// allocate_events: everything of a tenant that waits for allocation, in batches that commit.
//
//     page     the next events by (occurred_at, id), and which of them are not allocated
//     batch    a few statements in one transaction:
//                  lock the conversions as a foreign-key check does, sorted by id
//                  read the touches, weigh, split, insert          (add_by_model, write_rows)
//                  lock those with refunds for good, take the refunds  (allocate_refunds)
//                  check the sums now, note the progress, COMMIT
//
// The stronger lock comes after the rows, as it does at the COMMIT of everybody else: a batch that
// held it while it waits for another session's row would deadlock with that session's check.
//
// What is allocated is never looked at again, so a run that was killed needs no repair: the next
// one finds what is missing.
//
// A batch that fails is undone and tried in halves, down to the one event that cannot be allocated;
// that one is recorded and the others go on.
//
// A refund stands or falls with its conversion: the unit of all this is the conversion with its
// refunds, a family.

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "entry/allocation/journeys.hpp"
#include "entry/allocation/model.hpp"
#include "entry/allocation/refunds.hpp"
#include "entry/session/tenancy.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/own.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/types.hpp"

namespace attribution::entry {
namespace {

constexpr int max_batch_size = 100'000;
constexpr std::int64_t page_size = 65'536;
constexpr int max_tries = 5;
constexpr long notice_interval_ms = 5'000;

struct Counts {
    std::int64_t events, allocations, failed;
};

struct Run {
    Datum tenant_id, model_version, id;
    const core::ModelDefinition* definition;
    Counts counts;
    // The next page starts after (occurred_at, id), the first one at occurred_at.
    TimestampTz page_occurred_at, occurred_to;
    pg_uuid_t page_id;
    bool is_first_page;
    TimestampTz done_occurred_at; // events up to here have been dealt with, but for concurrent ones
    TimestampTz last_notice_at;
    MemoryContext page_memory, batch_memory;
};

/// A conversion with its refunds, of which some event waits.
struct Family {
    pg_uuid_t conversion_id;
    bool conversion_waits;   // else only refunds do
    TimestampTz occurred_at; // of the event that waits
};

struct Page {
    Family* families; // in the order of their events' time
    std::size_t count, room;
    std::int64_t event_count; // waiting or not
};

// ---------------------------------------------------------------------------------------------
// The run's row

/// Writes to a table that callers may not write to. Pinned: what runs with the owner's rights must
/// not be the caller's to name.
void run_as_owner(const char* table, pg::Query& query, Datum* values, const char* nulls) {
    const int settings = pg::pin_settings();
    const pg::OwnerRights rights = pg::act_as_owner(pg::own_relation(table));
    pg::run(query, values, nulls);
    pg::act_as_before(rights);
    pg::restore_settings(settings);
}

void insert_run(Run* run, FunctionCallInfo fcinfo) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.allocation_runs (tenant_id, model_version, occurred_from, "
               "occurred_to, batch_size, backend_pid) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        .parameter_count = 6,
        .parameter_types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {run->tenant_id,     run->model_version, PG_GETARG_DATUM(2),
                      PG_GETARG_DATUM(3), PG_GETARG_DATUM(4), Int32GetDatum(MyProcPid)};
    const char nulls[] = {' ', ' ', PG_ARGISNULL(2) ? 'n' : ' ', PG_ARGISNULL(3) ? 'n' : ' ',
                          ' ', ' '};
    run_as_owner("allocation_runs", insert, values, nulls);
    bool isnull;
    run->id = datumCopy(pg::result_value(0, 1, &isnull), false, UUID_LEN);
}

void update_run(const Run& run, const char* state, const char* error) {
    static constinit pg::Query update = {
        .sql = "UPDATE attribution.allocation_runs SET state = $3, error_message = $4, "
               "events_allocated = $5, allocations_written = $6, events_failed = $7, "
               "last_occurred_at = $8, updated_at = clock_timestamp() "
               "WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 8,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID,
                            TIMESTAMPTZOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {run.tenant_id,
                      run.id,
                      CStringGetTextDatum(state),
                      error == nullptr ? Datum{0} : CStringGetTextDatum(error),
                      Int64GetDatum(run.counts.events),
                      Int64GetDatum(run.counts.allocations),
                      Int64GetDatum(run.counts.failed),
                      TimestampTzGetDatum(run.done_occurred_at)};
    const char nulls[] = {' ', ' ', ' ', error == nullptr ? 'n' : ' ',
                          ' ', ' ', ' ', TIMESTAMP_NOT_FINITE(run.done_occurred_at) ? 'n' : ' '};
    run_as_owner("allocation_runs", update, values, nulls);
}

/// Remembers why an event could not be allocated; once per run.
void record_failure(Run* run, const core::Uuid* event_id, const ErrorData* failure) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.allocation_failures (tenant_id, run_id, event_id, "
               "error_code, message, detail, hint) VALUES ($1, $2, $3, $4, $5, $6, $7) "
               "ON CONFLICT (tenant_id, run_id, event_id) DO NOTHING",
        .parameter_count = 7,
        .parameter_types = {UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    const auto text = [](const char* string) {
        return string == nullptr ? Datum{0} : CStringGetTextDatum(string);
    };
    Datum values[] = {run->tenant_id,
                      run->id,
                      PointerGetDatum(event_id),
                      CStringGetTextDatum(unpack_sql_state(failure->sqlerrcode)),
                      text(failure->message),
                      text(failure->detail),
                      text(failure->hint)};
    const char nulls[] = {' ',
                          ' ',
                          ' ',
                          ' ',
                          failure->message == nullptr ? 'n' : ' ',
                          failure->detail == nullptr ? 'n' : ' ',
                          failure->hint == nullptr ? 'n' : ' '};
    run_as_owner("allocation_failures", insert, values, nulls);
    run->counts.failed += static_cast<std::int64_t>(SPI_processed);
}

// ---------------------------------------------------------------------------------------------
// Transactions

/// Errors of everybody, as a missing privilege is, unless some events do not have them.
bool is_likely_of_all(const ErrorData* failure) {
    return ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
           ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION);
}

/// The run's row says why, then the error goes on to the caller.
[[noreturn]] void fail(Run* run, ErrorData* failure) {
    pg::roll_back();
    update_run(*run, "failed",
               psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message));
    SPI_commit();
    ReThrowError(failure);
}

// ---------------------------------------------------------------------------------------------
// Pages

void receive_event(TupleTableSlot* row, void* state) {
    const auto& [run, page] = *static_cast<std::pair<Run*, Page*>*>(state);
    bool isnull;
    ++page->event_count;
    run->page_id = *DatumGetUUIDP(slot_getattr(row, 1, &isnull));
    run->page_occurred_at = DatumGetTimestampTz(slot_getattr(row, 2, &isnull));
    if (DatumGetBool(slot_getattr(row, 5, &isnull)))
        return; // allocated
    if (page->count == page->room) {
        const MemoryContext before = MemoryContextSwitchTo(run->page_memory);
        const std::size_t room = std::max<std::size_t>(page->room * 2, 1024);
        const auto larger = pg::make_span<Family>(room);
        std::copy_n(page->families, page->count, larger.data());
        if (page->families != nullptr)
            pfree(page->families);
        page->families = larger.data();
        page->room = room;
        MemoryContextSwitchTo(before);
    }
    page->families[page->count++] = {.conversion_id = *DatumGetUUIDP(slot_getattr(row, 3, &isnull)),
                                     .conversion_waits =
                                         DatumGetBool(slot_getattr(row, 4, &isnull)),
                                     .occurred_at = run->page_occurred_at};
}

/// Reads the next page and moves on. A page counts events, allocated or not: so its cost does not
/// depend on how many are. The events of one moment are read again for each page of that moment.
void read_page(Run* run, Page* page) {
    static constinit pg::Query find = {
        .sql = "SELECT p.id, p.occurred_at, coalesce(p.refund_of, p.id), p.refund_of IS NULL, "
               "EXISTS (SELECT 1 FROM attribution.attribution_allocations a "
               "WHERE a.tenant_id = $1 AND a.event_id >= p.id AND a.event_id <= p.id "
               "AND a.model_version IS NOT NULL AND a.model_version COLLATE \"C\" = $5 "
               "ORDER BY a.event_id LIMIT 1 OFFSET 0) "
               "FROM (SELECT e.id, e.occurred_at, e.refund_of "
               "FROM attribution.attribution_events e "
               "WHERE e.tenant_id = $1 AND e.occurred_at >= $2 AND e.occurred_at < $4 "
               "AND ((e.occurred_at, e.id) > ($2, $3) OR $8) AND e.event_type <> 'touch' "
               "AND (e.event_type = 'refund' OR $7) "
               "ORDER BY e.occurred_at, e.id LIMIT $6) p",
        .parameter_count = 8,
        .parameter_types = {UUIDOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, TEXTOID, INT8OID,
                            BOOLOID, BOOLOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg_uuid_t page_id = run->page_id;
    Datum values[] = {
        run->tenant_id, TimestampTzGetDatum(run->page_occurred_at), UUIDPGetDatum(&page_id),
        TimestampTzGetDatum(run->occurred_to), run->model_version, Int64GetDatum(page_size),
        // Weights of conversions come from the caller: only refunds are ours to do.
        BoolGetDatum(!run->definition->weights_come_from_caller), BoolGetDatum(run->is_first_page)};
    std::pair<Run*, Page*> state(run, page);
    const int settings = pg::pin_settings();
    pg::stream(find, values, nullptr, receive_event, &state);
    pg::restore_settings(settings);
    run->is_first_page = false;
}

// ---------------------------------------------------------------------------------------------
// Batches

extern "C" int compare_families(const void* left, const void* right) {
    return memcmp(static_cast<const Family*>(left), static_cast<const Family*>(right), UUID_LEN);
}

/// Sorts by conversion and takes the events of one conversion together.
std::span<Family> merge_families(std::span<Family> families) {
    qsort(families.data(), families.size(), sizeof(Family), compare_families);
    std::size_t count = 0;
    for (const Family& family : families) {
        if (count > 0 && compare_families(&families[count - 1], &family) == 0)
            families[count - 1].conversion_waits |= family.conversion_waits;
        else
            families[count++] = family;
    }
    return families.first(count);
}

std::span<const core::Uuid> conversion_ids(std::span<Family> families) {
    const auto ids = pg::make_span<core::Uuid>(families.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = pg::uuid_of(UUIDPGetDatum(&families[i].conversion_id));
    return ids;
}

/// Conversions that another session has allocated since the page was read do not wait any more.
/// OFFSET 0 keeps EXISTS from becoming a join of all that the tenant has; the range and its order
/// keep it to the indexes on the event.
void look_again(const Run& run, std::span<Family> families) {
    static constinit pg::Query find = {
        .sql = "SELECT k.i FROM unnest($2) WITH ORDINALITY AS k (id, i) "
               "WHERE EXISTS (SELECT 1 FROM attribution.attribution_allocations a "
               "WHERE a.tenant_id = $1 AND a.event_id >= k.id AND a.event_id <= k.id "
               "AND a.model_version IS NOT NULL AND a.model_version COLLATE \"C\" = $3 "
               "ORDER BY a.event_id LIMIT 1 OFFSET 0)",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDARRAYOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {run.tenant_id,
                      pg::SqlType<std::span<const core::Uuid>>::to_datum(conversion_ids(families)),
                      run.model_version};
    pg::run(find, values);
    for (uint64 row = 0; row < SPI_processed; ++row) {
        bool isnull;
        families[DatumGetInt64(pg::result_value(row, 1, &isnull)) - 1].conversion_waits = false;
    }
    SPI_freetuptable(SPI_tuptable);
}

/// Deferred checks run now, so that what they refuse can be undone with the rows it concerns.
void check_now() {
    const MemoryContext memory = CurrentMemoryContext;
    for (const char* statement : {"SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"})
        if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
            elog(ERROR, "could not run: %s", statement);
    MemoryContextSwitchTo(memory); // SPI leaves its own behind
}

/// Which part of a family to allocate.
enum class Part { all, conversion, next_refund };

/// Allocates the families, sorted by conversion; all or nothing. `current` is the refund at work.
Counts allocate_families(const Run& run, std::span<Family> families, bool is_repeated, Part part,
                         core::Uuid* current) {
    const int settings = pg::pin_settings();
    if (is_repeated)
        look_again(run, families);
    const core::Uuid tenant_id = pg::uuid_of(run.tenant_id);
    const std::span<const core::Uuid> ids = conversion_ids(families);
    const std::span<Event> locked = lock_conversions(tenant_id, ids, LockAgainst::deletion);
    Rows* rows = start_rows(tenant_id, pg::text_of(run.model_version));
    std::uint64_t row_count = 0;
    std::uint64_t event_count = 0;
    if (part != Part::next_refund) {
        const auto waiting = pg::make_span<Event>(locked.size());
        std::size_t next = 0;
        for (const Event& event : locked) {
            while (memcmp(&event.id, &families[next].conversion_id, UUID_LEN) != 0)
                ++next; // gone
            if (families[next].conversion_waits)
                waiting[event_count++] = event;
        }
        add_by_model(rows, *run.definition, waiting.first(event_count));
        row_count = write_rows(rows, true);
    }
    if (part != Part::conversion && refunds_wait(*rows, ids)) {
        lock_conversions(tenant_id, ids, LockAgainst::refunds);
        event_count += allocate_refunds(rows, ids, part == Part::next_refund, current, &row_count);
    }
    if (row_count > 0)
        check_now();
    pg::restore_settings(settings);
    return {.events = static_cast<std::int64_t>(event_count),
            .allocations = static_cast<std::int64_t>(row_count),
            .failed = 0};
}

/// The same in a subtransaction; the error that undid it, or nullptr.
ErrorData* try_families(Run* run, std::span<Family> families, bool is_repeated, Part part,
                        Counts* done, core::Uuid* current) {
    Counts counts{};
    // Of its own, so that thousands of tries in a batch that is halved leave nothing behind.
    const MemoryContext memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution try", ALLOCSET_DEFAULT_SIZES);
    ErrorData* failure = pg::attempt([&] {
        MemoryContextSwitchTo(memory);
        counts = allocate_families(*run, families, is_repeated, part, current);
    });
    MemoryContextDelete(memory);
    if (failure == nullptr) {
        *done = counts;
        run->counts.events += counts.events;
        run->counts.allocations += counts.allocations;
    }
    return failure;
}

/// One family that fails as a whole: the conversion for itself, then one refund after the other,
/// up to the one that fails; those after it wait, since order matters. Returns an error that is
/// not the family's.
ErrorData* allocate_piecemeal(Run* run, std::span<Family> family) {
    Counts done{};
    core::Uuid current = pg::uuid_of(UUIDPGetDatum(&family[0].conversion_id));
    ErrorData* failure = try_families(run, family, true, Part::conversion, &done, &current);
    // Another session has just allocated it: seen when looking again.
    if (failure != nullptr && failure->sqlerrcode == ERRCODE_UNIQUE_VIOLATION)
        failure = try_families(run, family, true, Part::conversion, &done, &current);
    if (failure == nullptr) {
        do {
            done = {};
            failure = try_families(run, family, true, Part::next_refund, &done, &current);
        } while (failure == nullptr && done.events > 0);
    }
    if (failure == nullptr || pg::is_of_the_session(failure) || pg::may_succeed_later(failure))
        return failure;
    record_failure(run, &current, failure);
    FreeErrorData(failure);
    return nullptr;
}

/// Families among which some cannot be allocated. Returns an error that is not theirs.
ErrorData* allocate_halves(Run* run, std::span<Family> families) {
    CHECK_FOR_INTERRUPTS();
    if (families.size() == 1)
        return allocate_piecemeal(run, families);
    Counts done{};
    core::Uuid current{};
    ErrorData* failure = try_families(run, families, true, Part::all, &done, &current);
    if (failure == nullptr || pg::is_of_the_session(failure) || pg::may_succeed_later(failure))
        return failure;
    FreeErrorData(failure);
    const std::size_t half = families.size() / 2;
    failure = allocate_halves(run, families.first(half));
    return failure != nullptr ? failure : allocate_halves(run, families.subspan(half));
}

/// What belongs to a batch, up to its COMMIT. Raises what ends the run or the transaction.
void allocate_batch(Run* run, std::span<Family> families, bool is_repeated) {
    Counts done{};
    core::Uuid current{};
    ErrorData* failure = try_families(run, families, is_repeated, Part::all, &done, &current);
    if (failure != nullptr && !pg::is_of_the_session(failure) && !pg::may_succeed_later(failure)) {
        const std::int64_t events_before = run->counts.events;
        ErrorData* first = failure;
        failure = allocate_halves(run, families);
        if (failure == nullptr && is_likely_of_all(first) && run->counts.events == events_before)
            failure = first;
    }
    if (failure != nullptr)
        ReThrowError(failure);
    update_run(*run, "running", nullptr);
}

/// One transaction; tried again where it lost against another one.
void commit_batch(Run* run, std::span<Family> batch) {
    const Run before = *run;
    run->done_occurred_at = batch.back().occurred_at;
    const std::span<Family> families = merge_families(batch);
    for (int tries = 1;; ++tries) {
        MemoryContextReset(run->batch_memory);
        MemoryContextSwitchTo(run->batch_memory);
        ErrorData* failure = pg::attempt([&] {
            CHECK_FOR_INTERRUPTS();
            allocate_batch(run, families, tries > 1);
        });
        if (failure == nullptr)
            break;
        run->counts = before.counts;
        if (tries == max_tries || !pg::may_succeed_later(failure)) {
            run->done_occurred_at = before.done_occurred_at;
            fail(run, failure);
        }
        pg::roll_back();
    }
    pg::commit();
}

void notice_progress(Run* run) {
    const TimestampTz now = GetCurrentTimestamp();
    if (!TimestampDifferenceExceeds(run->last_notice_at, now, notice_interval_ms))
        return;
    run->last_notice_at = now;
    ereport(NOTICE,
            (errmsg("allocated " INT64_FORMAT " events so far, those up to about %s",
                    run->counts.events, timestamptz_to_str(run->done_occurred_at)),
             errdetail(INT64_FORMAT " allocations were written, " INT64_FORMAT " events failed.",
                       run->counts.allocations, run->counts.failed)));
}

void report_result(const Run& run) {
    const std::string_view version = pg::text_of(run.model_version);
    const auto many = [](std::int64_t count) { return count == 1 ? 1UL : 2UL; };
    ereport(NOTICE, (errmsg_plural("allocated " INT64_FORMAT " event under model version \"%.*s\"",
                                   "allocated " INT64_FORMAT " events under model version \"%.*s\"",
                                   many(run.counts.events), run.counts.events,
                                   static_cast<int>(version.size()), version.data()),
                     errdetail_plural(INT64_FORMAT " allocation was written.",
                                      INT64_FORMAT " allocations were written.",
                                      many(run.counts.allocations), run.counts.allocations)));
    if (run.counts.failed > 0)
        ereport(WARNING, (errmsg_plural(INT64_FORMAT " event could not be allocated",
                                        INT64_FORMAT " events could not be allocated",
                                        many(run.counts.failed), run.counts.failed),
                          errhint("attribution.allocation_failures says why, for run %s.",
                                  pg::uuid_text(run.id))));
}

Run* start_run(FunctionCallInfo fcinfo) {
    auto* run = static_cast<Run*>(palloc0(sizeof(Run)));
    run->tenant_id = datumCopy(PG_GETARG_DATUM(0), false, UUID_LEN);
    run->model_version = pg::text_datum(pg::text_of(PG_GETARG_DATUM(1)));
    run->page_occurred_at = PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2);
    run->is_first_page = true;
    run->done_occurred_at = DT_NOBEGIN;
    run->occurred_to = PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3);
    run->last_notice_at = GetCurrentTimestamp();
    run->page_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution page", ALLOCSET_DEFAULT_SIZES);
    run->batch_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution batch", ALLOCSET_DEFAULT_SIZES);
    const int settings = pg::pin_settings();
    const core::Uuid tenant_id = pg::uuid_of(run->tenant_id);
    const std::string_view model_version = pg::text_of(run->model_version);
    check_tenant_exists(tenant_id);
    run->definition = find_model(tenant_id, model_version, CurrentMemoryContext);
    if (run->definition == nullptr)
        raise_unknown_model(tenant_id, model_version);
    insert_run(run, fcinfo);
    pg::restore_settings(settings);
    return run;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_allocate_events) {
    PreventCommandIfReadOnly("allocate_events()");
    for (const auto& [argument, name] :
         {std::pair(0, "tenant_id"), std::pair(1, "model_version"), std::pair(4, "batch_size")})
        if (PG_ARGISNULL(argument))
            ereport(ERROR,
                    (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
    pg::check_text(PG_GETARG_DATUM(1), "model_version");
    const int batch_size = PG_GETARG_INT32(4);
    if (batch_size < 1 || batch_size > entry::max_batch_size)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("batch_size is out of range"),
                 errdetail("batch_size is %d.", batch_size),
                 errhint("It is from 1 to %d.", entry::max_batch_size)));
    pg::check_may_commit(fcinfo, "allocate_events()", "It commits after each batch.",
                         "CALL it outside BEGIN ... COMMIT, or SELECT "
                         "attribution.allocate_event(...) for each event.");

    SPI_connect_ext(SPI_OPT_NONATOMIC);
    const MemoryContext memory = CurrentMemoryContext;
    if (XactIsoLevel != XACT_READ_COMMITTED)
        pg::commit();
    entry::Run* run = entry::start_run(fcinfo);
    pg::commit();
    for (;;) {
        MemoryContextReset(run->page_memory);
        MemoryContextSwitchTo(memory);
        entry::Page page{};
        ErrorData* failure = pg::attempt([&] { entry::read_page(run, &page); });
        if (failure != nullptr)
            entry::fail(run, failure);
        const std::span<entry::Family> families(page.families, page.count);
        for (std::size_t from = 0; from < families.size();
             from += static_cast<std::size_t>(batch_size)) {
            entry::commit_batch(
                run, families.subspan(from, std::min(families.size() - from,
                                                     static_cast<std::size_t>(batch_size))));
            entry::notice_progress(run);
        }
        if (page.event_count < entry::page_size)
            break;
    }
    MemoryContextSwitchTo(memory);
    ErrorData* failure = pg::attempt([&] { entry::update_run(*run, "completed", nullptr); });
    if (failure != nullptr)
        entry::fail(run, failure);
    entry::report_result(*run);
    const entry::Counts counts = run->counts;
    core::Uuid run_id = pg::uuid_of(run->id);
    SPI_commit(); // what comes next is not ours, nor is its isolation level
    SPI_finish();

    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    Datum values[] = {pg::uuid_datum(run_id), Int64GetDatum(counts.events),
                      Int64GetDatum(counts.allocations), Int64GetDatum(counts.failed)};
    bool nulls[4] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
