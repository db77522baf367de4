#include "entry/allocation/allocation_run.hpp"

#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/procedure.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

constexpr int announcement_interval_ms = 5'000;

/// Runs `body` with the rights of the owner of a table that callers may not write to. The settings
/// are pinned: what runs with the owner's rights must not be the caller's to name.
template <class Body>
void as_owner_of(const char* table, Body body) {
    const int settings = pg::pin_settings();
    const pg::CallerRights rights = pg::act_as_owner(pg::own_relation(table));
    body();
    pg::act_as_caller(rights);
    pg::restore_settings(settings);
}

void write_state(const AllocationRun& run, std::string_view state,
                 std::optional<std::string_view> error) {
    static constinit pg::Statement<void(core::Uuid, core::Uuid, std::string_view,
                                        std::optional<std::string_view>, std::int64_t, std::int64_t,
                                        std::int64_t, std::optional<pg::Timestamptz>)>
        update{R"sql(
        UPDATE attribution.allocation_runs
        SET state = $3, error_message = $4, events_allocated = $5, allocations_written = $6,
            events_failed = $7, last_occurred_at = $8, updated_at = clock_timestamp()
        WHERE tenant_id = $1 AND id = $2)sql"};
    std::optional<pg::Timestamptz> reached;
    if (!TIMESTAMP_NOT_FINITE(run.reached.value))
        reached = run.reached;
    as_owner_of("allocation_runs", [&] {
        update.run(run.tenant_id, run.id, state, error, run.counts.events, run.counts.allocations,
                   run.counts.failed, reached);
    });
}

std::optional<std::string_view> text_or_null(const char* string) {
    if (string == nullptr)
        return std::nullopt;
    return string;
}

} // namespace

AllocationRun insert_allocation_run(const RunRequest& request) {
    static constinit pg::Statement<core::Uuid(
        core::Uuid, std::string_view, std::optional<pg::Timestamptz>,
        std::optional<pg::Timestamptz>, std::int32_t, std::int32_t)>
        insert{R"sql(
        INSERT INTO attribution.allocation_runs
            (tenant_id, model_version, occurred_from, occurred_to, batch_size, backend_pid)
        VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING id)sql"};
    AllocationRun run = {.tenant_id = request.tenant_id,
                         .model_version = request.model_version,
                         .id = {},
                         .counts = {},
                         .reached = {DT_NOBEGIN},
                         .announced_at = GetCurrentTimestamp()};
    as_owner_of("allocation_runs", [&] {
        const auto id = insert
                            .run(request.tenant_id, request.model_version, request.occurred_from,
                                 request.occurred_to, request.batch_size, MyProcPid)
                            .first();
        if (!id)
            ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                            errmsg("could not insert the row of the allocation run"),
                            errhint("A trigger on attribution.allocation_runs returns null.")));
        run.id = *id;
    });
    return run;
}

void update_run(const AllocationRun& run, AllocationRunState state) {
    write_state(run, state == AllocationRunState::running ? "running" : "completed", std::nullopt);
}

void fail_allocation_run(const AllocationRun& run, ErrorData* failure) {
    Assert(failure != nullptr);
    pg::roll_back();
    write_state(run, "failed",
                psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message));
    SPI_commit();
    ReThrowError(failure);
}

void record_failure(AllocationRun* run, const core::Uuid& event_id, const ErrorData* failure) {
    static constinit pg::Statement<void(core::Uuid, core::Uuid, core::Uuid, std::string_view,
                                        pg::OptionalText, pg::OptionalText, pg::OptionalText)>
        insert{R"sql(
        INSERT INTO attribution.allocation_failures
            (tenant_id, run_id, event_id, error_code, message, detail, hint)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, run_id, event_id) DO NOTHING)sql"};
    as_owner_of("allocation_failures", [&] {
        const std::uint64_t count =
            insert.run(run->tenant_id, run->id, event_id, unpack_sql_state(failure->sqlerrcode),
                       text_or_null(failure->message), text_or_null(failure->detail),
                       text_or_null(failure->hint));
        run->counts.failed += static_cast<std::int64_t>(count);
    });
}

void announce_progress(AllocationRun* run) {
    const TimestampTz now = GetCurrentTimestamp();
    if (!TimestampDifferenceExceeds(run->announced_at, now, announcement_interval_ms))
        return;
    run->announced_at = now;
    ereport(NOTICE,
            (errmsg("allocated " INT64_FORMAT " events so far, up to about %s", run->counts.events,
                    timestamptz_to_str(run->reached.value)),
             errdetail(INT64_FORMAT " allocations were written, " INT64_FORMAT " events failed.",
                       run->counts.allocations, run->counts.failed)));
}

void announce_result(const AllocationRun& run) {
    const std::string_view version = run.model_version;
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

} // namespace attribution::entry
