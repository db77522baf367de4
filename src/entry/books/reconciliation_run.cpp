#include "entry/books/reconciliation_run.hpp"

#include <optional>
#include <string_view>
#include <tuple>

#include "entry/allocation/model.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/advisory.hpp"
#include "pg/backend.hpp"
#include "pg/call.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

// The columns that the functions return, by their names: an owner may have added others.
#define RUN_ROW                                                                                    \
    "ROW(r.tenant_id, r.id, r.state, r.last_run_at, r.error_message, r.run_metadata, "             \
    "r.occurred_from, r.occurred_to, r.backend_pid, r.backend_start, r.created_at, r.updated_at)"

namespace attribution::entry {
namespace {

/// A copy of the only row that a statement has written. A BEFORE trigger of the user may have
/// suppressed it.
Datum written_row(const pg::Rows<pg::Composite>& rows, MemoryContext memory) {
    if (rows.empty())
        ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                        errmsg("could not write the row of the reconciliation run"),
                        errhint("A trigger on attribution.reconciliation_runs returns null.")));
    Assert(rows.size() == 1);
    return pg::copied(rows[0], memory);
}

ReconciliationState read_state(std::string_view state) {
    return state == "running"     ? ReconciliationState::running
           : state == "completed" ? ReconciliationState::completed
           : state == "failed"    ? ReconciliationState::failed
                                  : ReconciliationState::idle;
}

const char* state_name(ReconciliationState state) {
    switch (state) {
    case ReconciliationState::idle:
        return "idle";
    case ReconciliationState::running:
        return "running";
    case ReconciliationState::failed:
        return "failed";
    case ReconciliationState::completed:
        return "completed";
    }
    pg_unreachable();
}

[[noreturn]] void raise_not_running(const core::Uuid& tenant_id, const core::Uuid& run_id,
                                    ReconciliationState state) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("reconciliation run %s is not running", pg::uuid_text(run_id)),
             errdetail("Tenant %s: the run is %s.", pg::uuid_text(tenant_id), state_name(state)),
             errhint("Start another run.")));
    pg_unreachable();
}

// ---------------------------------------------------------------------------------------------
// Start

/// A run in state running, and the process that worked on it last.
struct RunningRun {
    core::Uuid id;
    std::optional<std::int32_t> process_id; // nothing in runs that were made by hand
    pg::OptionalTime process_started_at;
    pg::Timestamptz running_since;

    using Columns =
        std::tuple<core::Uuid, std::optional<std::int32_t>, pg::OptionalTime, pg::Timestamptz>;

    [[nodiscard]] bool has_process() const { return process_id && process_started_at; }
};

[[noreturn]] void raise_already_running(const char* detail) {
    ereport(ERROR,
            (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
             errmsg("another reconciliation of the tenant is running"), errdetail("%s", detail),
             errhint("Wait for its end, or end it with "
                     "attribution.fail_reconciliation().")));
    pg_unreachable();
}

/// Takes the lock of whoever starts a run of the tenant, until the transaction ends. Raises 55P03
/// when another session has it: nobody waits for another session's start.
void lock_start(const core::Uuid& tenant_id) {
    const uint64 hash =
        DatumGetUInt64(hash_any_extended(tenant_id.data(), static_cast<int>(tenant_id.size()), 0));
    const LOCKTAG tag =
        pg::advisory_lock(pg::AdvisoryClass::reconciliation, static_cast<uint32>(hash >> 32),
                          static_cast<uint32>(hash));
    if (!pg::try_lock(tag, ExclusiveLock))
        raise_already_running(psprintf("Another session is starting a reconciliation of tenant %s.",
                                       pg::uuid_text(tenant_id)));
}

/// Raises 55P03 when the process that worked on the run last is alive.
void check_abandoned(const core::Uuid& tenant_id, const RunningRun& run) {
    if (run.has_process() && pg::is_alive(*run.process_id, run.process_started_at->value))
        raise_already_running(psprintf(
            "Tenant %s: run %s of server process %d, since %s.", pg::uuid_text(tenant_id),
            pg::uuid_text(run.id), *run.process_id, timestamptz_to_str(run.running_since.value)));
}

std::optional<RunningRun> find_running(const core::Uuid& tenant_id) {
    static constinit pg::Statement<RunningRun(core::Uuid)> find{R"sql(
        SELECT r.id, r.backend_pid, r.backend_start, r.last_run_at
        FROM attribution.reconciliation_runs r
        WHERE r.tenant_id = $1 AND r.state = 'running')sql"};
    return find.run_latest(tenant_id).first();
}

/// The same, locked until the transaction ends; nothing also where another session has it locked.
std::optional<RunningRun> lock_running(const core::Uuid& tenant_id) {
    static constinit pg::Statement<RunningRun(core::Uuid)> lock{R"sql(
        SELECT r.id, r.backend_pid, r.backend_start, r.last_run_at
        FROM attribution.reconciliation_runs r
        WHERE r.tenant_id = $1 AND r.state = 'running'
        FOR NO KEY UPDATE SKIP LOCKED)sql"};
    return lock.run_latest(tenant_id).first();
}

pg::Rows<pg::Composite> end_as_failed(const core::Uuid& tenant_id, const core::Uuid& run_id,
                                      std::string_view message) {
    static constinit pg::Statement<pg::Composite(core::Uuid, core::Uuid, std::string_view)> update{
        R"sql(
        UPDATE attribution.reconciliation_runs r
        SET state = 'failed', error_message = $3
        WHERE r.tenant_id = $1 AND r.id = $2
        RETURNING )sql" RUN_ROW};
    return update.run(tenant_id, run_id, message);
}

/// Ends a run that nobody works on any more, and whose row is locked.
void end_abandoned(const core::Uuid& tenant_id, const RunningRun& run) {
    const char* message = run.has_process()
                              ? psprintf("its server process %d is gone", *run.process_id)
                              : "its server process is not known, and another run was started";
    if (end_as_failed(tenant_id, run.id, message).empty())
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access due to concurrent update"),
                        errdetail("Run %s of tenant %s was abandoned, and is newer than the "
                                  "snapshot of the transaction.",
                                  pg::uuid_text(run.id), pg::uuid_text(tenant_id)),
                        errhint("The transaction might succeed if retried.")));
}

/// Makes sure that no run of the tenant is running: ends one that was abandoned, and raises 55P03
/// for one that was not. Never waits.
void end_abandoned_run(const core::Uuid& tenant_id) {
    lock_start(tenant_id);
    const auto seen = find_running(tenant_id);
    if (!seen)
        return;
    check_abandoned(tenant_id, *seen);
    const auto locked = lock_running(tenant_id);
    if (locked) {
        // A step of the run may have been committed meanwhile.
        check_abandoned(tenant_id, *locked);
        end_abandoned(tenant_id, *locked);
        return;
    }
    // Another session has the row locked, because it works on the run from now on or ends it; or
    // it has ended the run since it was seen.
    if (const auto again = find_running(tenant_id)) {
        check_abandoned(tenant_id, *again);
        raise_already_running(psprintf("Tenant %s: another session has locked run %s.",
                                       pg::uuid_text(tenant_id), pg::uuid_text(again->id)));
    }
}

Datum insert_reconciliation_run(const core::Uuid& tenant_id, pg::OptionalTime occurred_from,
                                pg::OptionalTime occurred_to, MemoryContext memory) {
    static constinit pg::Statement<pg::Composite(core::Uuid, pg::OptionalTime, pg::OptionalTime,
                                                 std::int32_t, pg::Timestamptz)>
        insert{R"sql(
        INSERT INTO attribution.reconciliation_runs AS r (tenant_id, state, last_run_at,
            occurred_from, occurred_to, backend_pid, backend_start)
        VALUES ($1, 'running', clock_timestamp(), $2, $3, $4, $5)
        RETURNING )sql" RUN_ROW};
    return written_row(insert.run(tenant_id, occurred_from, occurred_to, MyProcPid,
                                  pg::Timestamptz{MyStartTimestamp}),
                       memory);
}

Datum end_run_as_failed(const core::Uuid& tenant_id, const core::Uuid& run_id,
                        std::string_view message, MemoryContext memory) {
    const ReconciliationState state = lock_run(tenant_id, run_id);
    if (state == ReconciliationState::completed)
        raise_not_running(tenant_id, run_id, state);
    if (state == ReconciliationState::failed)
        return run_row(tenant_id, run_id, memory);
    return written_row(end_as_failed(tenant_id, run_id, message), memory);
}

// ---------------------------------------------------------------------------------------------
// Status

/// The latest run of a tenant.
struct RunStatus {
    core::Uuid tenant_id;
    std::string_view state;
    pg::OptionalTime last_run_at;
    std::optional<core::Uuid> run_id;

    using Columns =
        std::tuple<core::Uuid, std::string_view, pg::OptionalTime, std::optional<core::Uuid>>;
};

/// As the caller's query sees it, and what its role may see. The names of operators are qualified:
/// a function that SETs its search_path would cost more than its query.
std::optional<RunStatus> find_status(const core::Uuid& tenant_id) {
    static constinit pg::Statement<RunStatus(core::Uuid)> find{R"sql(
        SELECT t.id, coalesce(r.state, 'idle'::pg_catalog.text), r.last_run_at, r.id
        FROM attribution.tenants t
        LEFT JOIN LATERAL
             (SELECT x.state, x.last_run_at, x.id
              FROM attribution.reconciliation_runs x
              WHERE x.tenant_id OPERATOR(pg_catalog.=) t.id
              ORDER BY x.last_run_at DESC, x.id DESC
              LIMIT 1) r ON true
        WHERE t.id OPERATOR(pg_catalog.=) $1)sql"};
    return find.run_stable(tenant_id).first();
}

} // namespace

ReconciliationState lock_run(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constinit pg::Statement<std::string_view(core::Uuid, core::Uuid)> lock{R"sql(
        SELECT r.state
        FROM attribution.reconciliation_runs r
        WHERE r.tenant_id = $1 AND r.id = $2
        FOR NO KEY UPDATE)sql"};
    const auto state = lock.run(tenant_id, run_id).first();
    if (!state)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("reconciliation run %s does not exist", pg::uuid_text(run_id)),
                        errdetail("Tenant %s has no run of this id.", pg::uuid_text(tenant_id)),
                        errhint("attribution.start_reconciliation() returns it.")));
    return read_state(*state);
}

void join_run(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constinit pg::Statement<void(core::Uuid, core::Uuid, std::int32_t, pg::Timestamptz)>
        update{R"sql(
        UPDATE attribution.reconciliation_runs
        SET backend_pid = $3, backend_start = $4
        WHERE tenant_id = $1 AND id = $2)sql"};
    const ReconciliationState state = lock_run(tenant_id, run_id);
    if (state != ReconciliationState::running)
        raise_not_running(tenant_id, run_id, state);
    update.run(tenant_id, run_id, MyProcPid, pg::Timestamptz{MyStartTimestamp});
}

Datum run_row(const core::Uuid& tenant_id, const core::Uuid& run_id, MemoryContext memory) {
    static constinit pg::Statement<pg::Composite(core::Uuid, core::Uuid)> find{R"sql(
        SELECT )sql" RUN_ROW R"sql(
        FROM attribution.reconciliation_runs r
        WHERE r.tenant_id = $1 AND r.id = $2)sql"};
    return pg::copied(find.run(tenant_id, run_id)[0], memory);
}

Datum complete_run(const core::Uuid& tenant_id, const core::Uuid& run_id, pg::JsonbDatum result,
                   MemoryContext memory) {
    static constinit pg::Statement<pg::Composite(core::Uuid, core::Uuid, pg::JsonbDatum)> update{
        R"sql(
        UPDATE attribution.reconciliation_runs r
        SET state = 'completed', run_metadata = coalesce(r.run_metadata, '{}') || $3
        WHERE r.tenant_id = $1 AND r.id = $2
        RETURNING )sql" RUN_ROW};
    return written_row(update.run(tenant_id, run_id, result), memory);
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_start_reconciliation) {
    entry::require_tables();
    PreventCommandIfReadOnly("start_reconciliation()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto occurred_from = pg::argument<pg::OptionalTime>(fcinfo, 1, "occurred_from");
    const auto occurred_to = pg::argument<pg::OptionalTime>(fcinfo, 2, "occurred_to");
    entry::check_tenant(tenant_id);
    const MemoryContext memory = CurrentMemoryContext;
    SPI_connect();
    entry::check_tenant_exists(tenant_id);
    entry::end_abandoned_run(tenant_id);
    const Datum run =
        entry::insert_reconciliation_run(tenant_id, occurred_from, occurred_to, memory);
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_fail_reconciliation) {
    entry::require_tables();
    PreventCommandIfReadOnly("fail_reconciliation()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto run_id = pg::argument<core::Uuid>(fcinfo, 1, "reconciliation_run_id");
    const auto message = pg::argument<std::string_view>(fcinfo, 2, "message");
    entry::check_tenant(tenant_id);
    const MemoryContext memory = CurrentMemoryContext;
    SPI_connect();
    const Datum run = entry::end_run_as_failed(tenant_id, run_id, message, memory);
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_reconciliation_status) {
    entry::require_tables();
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    pg::ResultRows rows(fcinfo);
    if (!tenant_id)
        PG_RETURN_NULL();
    SPI_connect();
    // The backend keeps the plan, which must be a look-up in the index also after the table has
    // grown.
    const int settings = pg::prefer_index_order();
    const auto status = entry::find_status(*tenant_id);
    pg::restore_settings(settings);
    if (status)
        rows.add(status->tenant_id, status->state, status->last_run_at, status->run_id);
    SPI_finish();
    PG_RETURN_NULL();
}
