// reconcile: start, settle and finish in one procedure, with a commit after each, so that others
// see the run while it is running.

#include <optional>
#include <string_view>
#include <tuple>

#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/procedure.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Checks the user's deferred constraints while the step can still be undone.
void check_deferred_constraints() {
    if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
        elog(ERROR, "could not check the constraints");
}

/// Starts the run, commits, and returns its id.
core::Uuid start_run(const core::Uuid& tenant_id, pg::OptionalTime occurred_from,
                     pg::OptionalTime occurred_to) {
    static constexpr const char* start_sql = R"sql(
        SELECT r.id FROM attribution.start_reconciliation($1, $2, $3) AS r)sql";
    static constinit pg::Statement<core::Uuid(core::Uuid, pg::OptionalTime, pg::OptionalTime)>
        start{start_sql, pg::Plan::chosen};
    const core::Uuid run_id = start.run(tenant_id, occurred_from, occurred_to)[0];
    pg::commit();
    return run_id;
}

void settle_run(const core::Uuid& tenant_id, const core::Uuid& run_id, pg::JsonbDatum settlements) {
    static constexpr const char* settle_sql = R"sql(
        SELECT attribution.settle($1, $2, $3))sql";
    static constinit pg::Statement<void(core::Uuid, core::Uuid, pg::JsonbDatum)> settle{
        settle_sql, pg::Plan::chosen};
    settle.run(tenant_id, run_id, settlements);
    check_deferred_constraints();
}

void finish_run(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constexpr const char* finish_sql = R"sql(
        SELECT attribution.finish_reconciliation($1, $2))sql";
    static constinit pg::Statement<void(core::Uuid, core::Uuid)> finish{finish_sql,
                                                                        pg::Plan::chosen};
    finish.run(tenant_id, run_id);
    check_deferred_constraints();
}

/// SQLSTATE, message and detail of the failure, for the run's row.
const char* describe(const ErrorData* failure) {
    const char* state = unpack_sql_state(failure->sqlerrcode);
    return failure->detail == nullptr
               ? psprintf("%s: %s", state, failure->message)
               : psprintf("%s: %s. %s", state, failure->message, failure->detail);
}

/// Ends the run as failed and commits. The failure is in the row of the run, so the caller gets
/// only a WARNING; but when the session was cancelled or terminated, the error is raised.
void fail_run(const core::Uuid& tenant_id, const core::Uuid& run_id, ErrorData* failure) {
    static constexpr const char* fail_sql = R"sql(
        SELECT attribution.fail_reconciliation($1, $2, $3))sql";
    static constinit pg::Statement<void(core::Uuid, core::Uuid, std::string_view)> fail{
        fail_sql, pg::Plan::chosen};
    pg::roll_back();
    fail.run(tenant_id, run_id, describe(failure));
    SPI_commit();
    if (ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
        ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION))
        ReThrowError(failure);
    ereport(WARNING,
            (errcode(failure->sqlerrcode), errmsg("reconciliation failed: %s", failure->message),
             failure->detail != nullptr ? errdetail("%s", failure->detail) : 0,
             failure->hint != nullptr ? errhint("%s", failure->hint) : 0));
}

/// Returns the id of the run, completed or failed.
core::Uuid reconcile(const core::Uuid& tenant_id, pg::JsonbDatum settlements,
                     pg::OptionalTime occurred_from, pg::OptionalTime occurred_to) {
    const core::Uuid run_id = start_run(tenant_id, occurred_from, occurred_to);
    ErrorData* failure = pg::attempt([&] { settle_run(tenant_id, run_id, settlements); });
    if (failure == nullptr) {
        pg::commit();
        failure = pg::attempt([&] { finish_run(tenant_id, run_id); });
    }
    if (failure == nullptr)
        SPI_commit(); // not pg::commit(): the next transaction has the isolation level of the
                      // caller
    else
        fail_run(tenant_id, run_id, failure);
    return run_id;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_reconcile) {
    entry::require_tables();
    PreventCommandIfReadOnly("reconcile()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto settlements = pg::argument<pg::JsonbDatum>(fcinfo, 1, "settlements");
    const auto occurred_from = pg::argument<pg::OptionalTime>(fcinfo, 3, "occurred_from");
    const auto occurred_to = pg::argument<pg::OptionalTime>(fcinfo, 4, "occurred_to");
    pg::check_may_commit(fcinfo, "reconcile()", "It commits after each step.",
                         "CALL it outside BEGIN ... COMMIT, or call start_reconciliation(), "
                         "settle() and finish_reconciliation().");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    if (XactIsoLevel != XACT_READ_COMMITTED)
        pg::commit();
    // A toasted value cannot be read once the transaction that read it has ended.
    const pg::JsonbDatum plain{PointerGetDatum(PG_DETOAST_DATUM(settlements.datum))};
    const core::Uuid run_id = entry::reconcile(tenant_id, plain, occurred_from, occurred_to);
    SPI_finish();
    PG_RETURN_DATUM(pg::row_result(fcinfo, run_id));
}
