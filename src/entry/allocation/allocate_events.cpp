// allocate_events: everything of a tenant that waits for allocation, in batches that commit.
//
//     page     the next events by (occurred_at, id), and which of them are not allocated
//     batch    a few statements in one transaction:
//                  lock the conversions as a foreign-key check does, sorted by id
//                  read the touches, weigh, split, insert          (add_by_model, write_rows)
//                  lock those with refunds against refunds, allocate the refunds (allocate_refunds)
//                  check the sums now, write down the progress, COMMIT
//
// The stronger lock comes after the rows, as it does at the COMMIT of everybody else: a batch that
// held it while it waits for another session's row would deadlock with that session's check.
//
// What is allocated stays as it is, so a run that was killed needs no repair: the next run finds
// what is missing.
//
// A batch that fails is undone and tried in halves, down to the one event that cannot be allocated;
// that event is recorded and the others go on.
//
// A refund stands or falls with its conversion: the unit of all this is the conversion with its
// refunds, a family.

#include <algorithm>
#include <array>
#include <span>

#include "core/definition.hpp"

#include "entry/allocation/allocation_run.hpp"
#include "entry/allocation/journeys.hpp"
#include "entry/allocation/model.hpp"
#include "entry/allocation/refunds.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/failure.hpp"
#include "pg/planning.hpp"
#include "pg/procedure.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

constexpr std::int32_t max_batch_size = 100'000;
constexpr std::int64_t page_size = 65'536;
constexpr int max_tries = 5;

/// A conversion with its refunds, of which some event waits for allocation.
struct Family {
    core::Uuid conversion_id;
    bool conversion_waits;       // else only refunds do
    pg::Timestamptz occurred_at; // of the event that waits
};

/// The events of a time span, page by page in the order of (occurred_at, id).
struct Pages {
    // The next page starts after this event; the first one at its time, whatever the id.
    pg::Timestamptz occurred_at;
    core::Uuid id;
    bool is_first;
    pg::Timestamptz occurred_to; // events before this time
};

struct Page {
    Family* families; // in the order of the time of the event that waits
    std::size_t count, room;
    std::int64_t event_count; // waiting or not
};

/// What a run works with. Only the member `run` changes.
struct Job {
    AllocationRun run;
    const core::ModelDefinition* definition;
    std::size_t batch_size;
    MemoryContext page_memory;  // for one page at a time
    MemoryContext batch_memory; // for one try of a batch at a time
};

// ---------------------------------------------------------------------------------------------
// Pages

/// Adds a family to the page. The array lives in `memory`.
void add_family(Page* page, const Family& family, MemoryContext memory) {
    if (page->count == page->room) {
        const MemoryContext before = MemoryContextSwitchTo(memory);
        const auto larger = pg::make_span<Family>(std::max<std::size_t>(page->room * 2, 1024));
        std::copy_n(page->families, page->count, larger.data());
        if (page->families != nullptr)
            pfree(page->families);
        page->families = larger.data();
        page->room = larger.size();
        MemoryContextSwitchTo(before);
    }
    page->families[page->count++] = family;
}

/// Reads the next page and moves on. A page counts events, allocated or not: so its cost does not
/// depend on how many are allocated. The events of one moment are read again for each page of that
/// moment.
void read_page(const Job& job, Pages* pages, Page* page) {
    // id, occurred_at, id of the conversion, is_conversion, is_allocated
    using Event = std::tuple<core::Uuid, pg::Timestamptz, core::Uuid, bool, bool>;
    // The range of event ids and OFFSET 0 keep EXISTS to the indexes on the event.
    static constinit pg::Statement<Event(core::Uuid, pg::Timestamptz, core::Uuid, pg::Timestamptz,
                                         std::string_view, std::int64_t, bool, bool)>
        find{R"sql(
        SELECT p.id, p.occurred_at, coalesce(p.refund_of, p.id), p.refund_of IS NULL,
            EXISTS (
                SELECT 1
                FROM attribution.attribution_allocations a
                WHERE a.tenant_id = $1 AND a.event_id >= p.id AND a.event_id <= p.id
                    AND a.model_version IS NOT NULL AND a.model_version COLLATE "C" = $5
                ORDER BY a.event_id
                LIMIT 1 OFFSET 0)
        FROM (
            SELECT e.id, e.occurred_at, e.refund_of
            FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.occurred_at >= $2 AND e.occurred_at < $4
                AND ((e.occurred_at, e.id) > ($2, $3) OR $8)
                AND e.event_type <> 'touch' AND (e.event_type = 'refund' OR $7)
            ORDER BY e.occurred_at, e.id
            LIMIT $6) p)sql"};
    const Pages from = *pages;
    // When the weights of conversions come from the caller of allocate_event(), only refunds are
    // allocated here.
    const bool with_conversions = !job.definition->weights_come_from_caller;
    const int settings = pg::pin_settings();
    find.stream(
        [&](const Event& event) {
            const auto& [id, occurred_at, conversion_id, is_conversion, is_allocated] = event;
            ++page->event_count;
            pages->id = id;
            pages->occurred_at = occurred_at;
            if (!is_allocated)
                add_family(page,
                           {.conversion_id = conversion_id,
                            .conversion_waits = is_conversion,
                            .occurred_at = occurred_at},
                           job.page_memory);
        },
        job.run.tenant_id, from.occurred_at, from.id, from.occurred_to, job.run.model_version,
        page_size, with_conversions, from.is_first);
    pg::restore_settings(settings);
    pages->is_first = false;
}

// ---------------------------------------------------------------------------------------------
// Batches

/// Sorts by conversion and makes one family of the events of one conversion.
std::span<Family> merge_families(std::span<Family> families) {
    std::sort(families.begin(), families.end(), [](const Family& left, const Family& right) {
        return left.conversion_id < right.conversion_id;
    });
    std::size_t count = 0;
    for (const Family& family : families) {
        if (count > 0 && families[count - 1].conversion_id == family.conversion_id)
            families[count - 1].conversion_waits |= family.conversion_waits;
        else
            families[count++] = family;
    }
    return families.first(count);
}

std::span<const core::Uuid> conversion_ids(std::span<const Family> families) {
    const auto ids = pg::make_span<core::Uuid>(families.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = families[i].conversion_id;
    return ids;
}

/// Finds the conversions that another session has allocated since the page was read: they do not
/// wait any more.
void skip_allocated(const AllocationRun& run, std::span<Family> families) {
    // OFFSET 0 keeps EXISTS from becoming a join of all that the tenant has; the range and its
    // order keep it to the indexes on the event.
    static constinit pg::Statement<std::int64_t(core::Uuid, std::span<const core::Uuid>,
                                                std::string_view)>
        find{R"sql(
        SELECT k.i
        FROM unnest($2) WITH ORDINALITY AS k (id, i)
        WHERE EXISTS (
            SELECT 1
            FROM attribution.attribution_allocations a
            WHERE a.tenant_id = $1 AND a.event_id >= k.id AND a.event_id <= k.id
                AND a.model_version IS NOT NULL AND a.model_version COLLATE "C" = $3
            ORDER BY a.event_id
            LIMIT 1 OFFSET 0))sql"};
    auto found = find.run(run.tenant_id, conversion_ids(families), run.model_version);
    for (const std::int64_t number : found)
        families[static_cast<std::size_t>(number) - 1].conversion_waits = false;
    found.free();
}

/// Deferred checks run now, so that what they refuse can be undone with the rows it concerns.
void check_now() {
    static constinit pg::Statement<void()> check{"SET CONSTRAINTS ALL IMMEDIATE"};
    static constinit pg::Statement<void()> defer{"SET CONSTRAINTS ALL DEFERRED"};
    check.run();
    defer.run();
}

/// The locked conversions that wait. Families and locked conversions are sorted by id; a family
/// whose conversion is gone has none.
std::span<const Event> waiting_conversions(std::span<const Family> families,
                                           std::span<const Event> locked) {
    const auto waiting = pg::make_span<Event>(locked.size());
    std::size_t count = 0;
    auto family = families.begin();
    for (const Event& conversion : locked) {
        while (family->conversion_id != conversion.id) {
            ++family;
            Assert(family != families.end());
        }
        if (family->conversion_waits)
            waiting[count++] = conversion;
    }
    return waiting.first(count);
}

/// Which part of a family to allocate.
enum class Part : std::uint8_t { all, conversion, next_refund };

/// Allocates the families, sorted by conversion; all or nothing. `is_repeated`: it is not the first
/// try since the page was read. `current` is the refund at work.
RunCounts allocate_families(const Job& job, std::span<Family> families, bool is_repeated, Part part,
                            core::Uuid* current) {
    Assert(
        std::is_sorted(families.begin(), families.end(), [](const auto& left, const auto& right) {
            return left.conversion_id < right.conversion_id;
        }));
    const AllocationRun& run = job.run;
    const int settings = pg::pin_settings();
    if (is_repeated)
        skip_allocated(run, families);
    const std::span<const core::Uuid> ids = conversion_ids(families);
    const std::span<const Event> locked =
        lock_conversions(run.tenant_id, ids, LockAgainst::deletion);
    Rows* rows = start_rows(run.tenant_id, run.model_version);
    std::uint64_t row_count = 0;
    std::uint64_t event_count = 0;
    if (part != Part::next_refund) {
        const std::span<const Event> waiting = waiting_conversions(families, locked);
        add_by_model(rows, *job.definition, waiting);
        event_count = waiting.size();
        row_count = write_rows(rows, true);
    }
    if (part != Part::conversion && refunds_wait(*rows, ids)) {
        lock_conversions(run.tenant_id, ids, LockAgainst::refunds);
        event_count += allocate_refunds(rows, ids, part == Part::next_refund, current, &row_count);
    }
    if (row_count > 0)
        check_now();
    pg::restore_settings(settings);
    return {.events = static_cast<std::int64_t>(event_count),
            .allocations = static_cast<std::int64_t>(row_count),
            .failed = 0};
}

/// The same in a subtransaction. Adds what was done to the counts of the run, and to `*done`;
/// returns the error that undid it, or nullptr.
ErrorData* try_families(Job* job, std::span<Family> families, bool is_repeated, Part part,
                        RunCounts* done, core::Uuid* current) {
    RunCounts counts{};
    // Memory of its own, so that thousands of tries in a batch that is halved leave nothing behind.
    const MemoryContext memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution try", ALLOCSET_DEFAULT_SIZES);
    ErrorData* failure = pg::attempt([&] {
        MemoryContextSwitchTo(memory);
        counts = allocate_families(*job, families, is_repeated, part, current);
    });
    MemoryContextDelete(memory);
    if (failure == nullptr) {
        *done = counts;
        job->run.counts.events += counts.events;
        job->run.counts.allocations += counts.allocations;
    }
    return failure;
}

/// True for an error that the events of the batch have caused, so that other events may succeed.
bool is_of_the_events(const ErrorData* failure) {
    return !pg::is_of_the_session(failure) && !pg::may_succeed_later(failure);
}

/// Allocates one family that fails as a whole: first the conversion, then one refund after the
/// other, up to the one that fails. The refunds after that one wait, since the order of refunds
/// matters. Returns an error that the family has not caused.
ErrorData* allocate_piecemeal(Job* job, std::span<Family> family) {
    Assert(family.size() == 1);
    RunCounts done{};
    core::Uuid current = family[0].conversion_id;
    ErrorData* failure = try_families(job, family, true, Part::conversion, &done, &current);
    // Another session has allocated the conversion meanwhile: the second try finds its rows.
    if (failure != nullptr && failure->sqlerrcode == ERRCODE_UNIQUE_VIOLATION)
        failure = try_families(job, family, true, Part::conversion, &done, &current);
    if (failure == nullptr) {
        do {
            done = {};
            failure = try_families(job, family, true, Part::next_refund, &done, &current);
        } while (failure == nullptr && done.events > 0);
    }
    if (failure == nullptr || !is_of_the_events(failure))
        return failure;
    record_failure(&job->run, current, failure);
    FreeErrorData(failure);
    return nullptr;
}

/// Allocates families of which some fail: halves them until those that fail are alone. Returns an
/// error that the families have not caused.
ErrorData* allocate_halves(Job* job, std::span<Family> families) {
    CHECK_FOR_INTERRUPTS();
    if (families.size() == 1)
        return allocate_piecemeal(job, families);
    RunCounts done{};
    core::Uuid current{};
    ErrorData* failure = try_families(job, families, true, Part::all, &done, &current);
    if (failure == nullptr || !is_of_the_events(failure))
        return failure;
    FreeErrorData(failure);
    const std::size_t half = families.size() / 2;
    failure = allocate_halves(job, families.first(half));
    return failure != nullptr ? failure : allocate_halves(job, families.subspan(half));
}

/// True for errors that every event is likely to meet, such as a missing privilege.
bool is_likely_of_all(const ErrorData* failure) {
    return ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
           ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION);
}

/// Allocates a batch and records the progress; the caller commits. Raises errors that end the run,
/// and those after which the transaction is tried again.
void allocate_batch(Job* job, std::span<Family> families, bool is_repeated) {
    RunCounts done{};
    core::Uuid current{};
    ErrorData* failure = try_families(job, families, is_repeated, Part::all, &done, &current);
    if (failure != nullptr && is_of_the_events(failure)) {
        const std::int64_t events_before = job->run.counts.events;
        ErrorData* first = failure;
        failure = allocate_halves(job, families);
        if (failure == nullptr && is_likely_of_all(first) &&
            job->run.counts.events == events_before)
            failure = first;
    }
    if (failure != nullptr)
        ReThrowError(failure);
    update_run(job->run, AllocationRunState::running);
}

/// Allocates and commits a batch in one transaction, which is tried again after a serialization
/// failure or a deadlock.
void commit_batch(Job* job, std::span<Family> batch) {
    Assert(!batch.empty());
    const AllocationRun before = job->run;
    job->run.reached = batch.back().occurred_at;
    const std::span<Family> families = merge_families(batch);
    for (int tries = 1;; ++tries) {
        MemoryContextReset(job->batch_memory);
        MemoryContextSwitchTo(job->batch_memory);
        ErrorData* failure = pg::attempt([&] {
            CHECK_FOR_INTERRUPTS();
            allocate_batch(job, families, tries > 1);
        });
        if (failure == nullptr)
            break;
        job->run.counts = before.counts;
        if (tries == max_tries || !pg::may_succeed_later(failure))
            fail_allocation_run(before, failure);
        pg::roll_back();
    }
    pg::commit();
}

// ---------------------------------------------------------------------------------------------
// The run

/// Checks what was asked for and inserts the row of the run, which lives in the current memory
/// context.
Job* start_job(const RunRequest& request) {
    auto* job = static_cast<Job*>(palloc0(sizeof(Job)));
    job->batch_size = static_cast<std::size_t>(request.batch_size);
    job->page_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution page", ALLOCSET_DEFAULT_SIZES);
    job->batch_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution batch", ALLOCSET_DEFAULT_SIZES);
    const int settings = pg::pin_settings();
    check_tenant_exists(request.tenant_id);
    job->definition = find_model(request.tenant_id, request.model_version, CurrentMemoryContext);
    if (job->definition == nullptr)
        raise_unknown_model(request.tenant_id, request.model_version);
    job->run = insert_allocation_run(request);
    pg::restore_settings(settings);
    return job;
}

/// Allocates all that waits, and commits it.
void run_job(Job* job, Pages pages) {
    const MemoryContext memory = CurrentMemoryContext;
    for (;;) {
        MemoryContextReset(job->page_memory);
        MemoryContextSwitchTo(memory);
        Page page{};
        ErrorData* failure = pg::attempt([&] { read_page(*job, &pages, &page); });
        if (failure != nullptr)
            fail_allocation_run(job->run, failure);
        std::span<Family> families(page.families, page.count);
        while (!families.empty()) {
            const std::size_t size = std::min(families.size(), job->batch_size);
            commit_batch(job, families.first(size));
            announce_progress(&job->run);
            families = families.subspan(size);
        }
        if (page.event_count < page_size)
            break;
    }
    MemoryContextSwitchTo(memory);
    ErrorData* failure = pg::attempt([&] { update_run(job->run, AllocationRunState::completed); });
    if (failure != nullptr)
        fail_allocation_run(job->run, failure);
}

/// The arguments, checked. The text points into them.
RunRequest read_run_request(FunctionCallInfo fcinfo) {
    const RunRequest request = {
        .tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
        .model_version = pg::argument<std::string_view>(fcinfo, 1, "model_version"),
        .occurred_from = pg::argument<std::optional<pg::Timestamptz>>(fcinfo, 2, "occurred_from"),
        .occurred_to = pg::argument<std::optional<pg::Timestamptz>>(fcinfo, 3, "occurred_to"),
        .batch_size = pg::argument<std::int32_t>(fcinfo, 4, "batch_size")};
    pg::check_text(request.model_version, "model_version");
    if (request.batch_size < 1 || request.batch_size > max_batch_size)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("batch_size must be between 1 and %d", max_batch_size),
                        errdetail("batch_size is %d.", request.batch_size)));
    return request;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_allocate_events) {
    entry::require_tables();
    PreventCommandIfReadOnly("allocate_events()");
    entry::RunRequest request = entry::read_run_request(fcinfo);
    pg::check_may_commit(fcinfo, "allocate_events()", "It commits after each batch.",
                         "CALL it outside BEGIN ... COMMIT, or SELECT "
                         "attribution.allocate_event(...) for each event.");

    SPI_connect_ext(SPI_OPT_NONATOMIC);
    request.model_version = pg::copied(request.model_version);
    if (XactIsoLevel != XACT_READ_COMMITTED)
        pg::commit();
    entry::Job* job = entry::start_job(request);
    pg::commit();
    entry::run_job(job, {.occurred_at = request.occurred_from.value_or(pg::Timestamptz{DT_NOBEGIN}),
                         .id = {},
                         .is_first = true,
                         .occurred_to = request.occurred_to.value_or(pg::Timestamptz{DT_NOEND})});
    entry::announce_result(job->run);
    const entry::AllocationRun run = job->run;
    SPI_commit(); // not pg::commit(): the next transaction has the isolation level of the caller
    SPI_finish();
    PG_RETURN_DATUM(pg::row_result(fcinfo, run.id, run.counts.events, run.counts.allocations,
                                   run.counts.failed));
}
