// reconcile: the ledger beside what the payment provider says was paid.
//
//     start    a run that others see; one at work per tenant
//     settle   settlements come in, as often as wanted, each key once
//     finish   one statement, hence one snapshot:
//                  net of each book <-> settlement, by business key
//                  agree: the book's rows are verified; differ: the difference is recorded
//
// What is posted while a run finishes is in neither the net nor the rows that are verified, so it
// waits for the next run. What is verified is never looked at again, but for its part of the net.
//
// A run knows the process that was last at work on it. When that is gone, nobody will finish the
// run, and the next one may start; no process that is alive loses a run to another.

#include <array>
#include <span>
#include <string_view>

#include "core/webhook/text.hpp"
#include "entry/session/tenancy.hpp"
#include "pg/backend.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/own.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// SQL's own advisory locks use classes 1 and 2: no session can take this one by hand.
constexpr uint16 start_lock_class = 5;

void check_arguments(FunctionCallInfo fcinfo, const char* function,
                     std::span<const char* const> names) {
    PreventCommandIfReadOnly(function);
    pg::check_not_null(fcinfo, names);
    check_tenant(PG_GETARG_DATUM(0));
}

/// The first column of the only row of the last result, copied to where the caller wants it.
Datum single_row(MemoryContext memory) {
    bool isnull;
    const HeapTupleHeader row = pg::row_of(pg::result_value(0, 1, &isnull));
    const MemoryContext before = MemoryContextSwitchTo(memory);
    const Datum copy = datumCopy(HeapTupleHeaderGetDatum(row), false, -1);
    MemoryContextSwitchTo(before);
    return copy;
}

// ---------------------------------------------------------------------------------------------
// Start

/// False while another session is starting a run of the tenant.
bool become_starter(Datum tenant_id) {
    const uint64 hash =
        DatumGetUInt64(hash_any_extended(DatumGetUUIDP(tenant_id)->data, UUID_LEN, 0));
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, static_cast<uint32>(hash >> 32),
                         static_cast<uint32>(hash), start_lock_class);
    return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

[[noreturn]] void raise_at_work(const char* detail) {
    ereport(ERROR,
            (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
             errmsg("another reconciliation of the tenant is at work"), errdetail("%s", detail),
             errhint("Wait for its end, or end it with "
                     "attribution.fail_reconciliation().")));
    pg_unreachable();
}

void end_as_failed(Datum* values) {
    static constinit pg::Query update = {
        .sql = "UPDATE attribution.reconciliation_runs r SET state = 'failed', error_message = $3 "
               "WHERE r.tenant_id = $1 AND r.id = $2 RETURNING r",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(update, values);
}

/// The run that the last result tells of; raises 55P03 when its process is alive. `*process_id` is
/// 0 when it is not known.
Datum read_running(Datum tenant_id, int* process_id) {
    bool no_process, no_start, isnull;
    const Datum run_id = datumCopy(pg::result_value(0, 1, &isnull), false, UUID_LEN);
    *process_id = DatumGetInt32(pg::result_value(0, 2, &no_process));
    const TimestampTz started_at = DatumGetTimestampTz(pg::result_value(0, 3, &no_start));
    const TimestampTz since = DatumGetTimestampTz(pg::result_value(0, 4, &isnull));
    if (no_process || no_start)
        *process_id = 0;
    else if (pg::is_alive(*process_id, started_at))
        raise_at_work(psprintf("Tenant %s: run %s of server process %d, since %s.",
                               pg::uuid_text(tenant_id), pg::uuid_text(run_id), *process_id,
                               timestamptz_to_str(since)));
    return run_id;
}

/// Raises 55P03 when the tenant has a run at work; ends one whose process is gone. Never waits.
void clear_the_way(Datum tenant_id) {
    static constinit pg::Query find = {
        .sql = "SELECT r.id, r.backend_pid, r.backend_start, r.last_run_at "
               "FROM attribution.reconciliation_runs r "
               "WHERE r.tenant_id = $1 AND r.state = 'running'",
        .parameter_count = 1,
        .parameter_types = {UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query lock = {
        .sql = "SELECT r.id, r.backend_pid, r.backend_start, r.last_run_at "
               "FROM attribution.reconciliation_runs r "
               "WHERE r.tenant_id = $1 AND r.state = 'running' FOR NO KEY UPDATE SKIP LOCKED",
        .parameter_count = 1,
        .parameter_types = {UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    int process_id;
    if (!become_starter(tenant_id))
        raise_at_work(
            psprintf("Another session is starting one of tenant %s.", pg::uuid_text(tenant_id)));
    pg::run_latest(find, &tenant_id);
    if (SPI_processed == 0)
        return;
    read_running(tenant_id, &process_id);
    // Who has its row locked has just taken it up, or has just ended it.
    pg::run_latest(lock, &tenant_id);
    if (SPI_processed == 0) {
        pg::run_latest(find, &tenant_id);
        if (SPI_processed == 0)
            return;
        raise_at_work(psprintf("Tenant %s: another session is taking up run %s.",
                               pg::uuid_text(tenant_id),
                               pg::uuid_text(read_running(tenant_id, &process_id))));
    }
    const Datum run_id = read_running(tenant_id, &process_id);
    const char* message = process_id == 0
                              ? "its server process is not known, and another run was started"
                              : psprintf("its server process %d is gone", process_id);
    Datum values[] = {tenant_id, run_id, CStringGetTextDatum(message)};
    end_as_failed(values);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access due to concurrent update"),
                        errdetail("Run %s of tenant %s is left behind, and newer than the "
                                  "snapshot of the transaction.",
                                  pg::uuid_text(run_id), pg::uuid_text(tenant_id)),
                        errhint("The transaction might succeed if retried.")));
}

void insert_run(Datum* values, const char* nulls) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.reconciliation_runs AS r (tenant_id, state, last_run_at, "
               "occurred_from, occurred_to, backend_pid, backend_start) "
               "VALUES ($1, 'running', clock_timestamp(), $2, $3, $4, $5) RETURNING r",
        .parameter_count = 5,
        .parameter_types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(insert, values, nulls);
}

// ---------------------------------------------------------------------------------------------
// A run that was started

enum class State { idle, running, failed, completed };

State read_state(std::string_view text) {
    return text == "running"     ? State::running
           : text == "completed" ? State::completed
           : text == "failed"    ? State::failed
                                 : State::idle;
}

/// Locks the run until the transaction ends: its steps come one after the other. Raises 22023 when
/// there is none.
State lock_run(Datum tenant_id, Datum run_id) {
    static constinit pg::Query lock = {.sql =
                                           "SELECT r.state FROM attribution.reconciliation_runs r "
                                           "WHERE r.tenant_id = $1 AND r.id = $2 FOR NO KEY UPDATE",
                                       .parameter_count = 2,
                                       .parameter_types = {UUIDOID, UUIDOID},
                                       .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                                       .plan = nullptr};
    Datum values[] = {tenant_id, run_id};
    pg::run(lock, values);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("reconciliation run %s does not exist", pg::uuid_text(run_id)),
                        errdetail("Tenant %s has no run of this id.", pg::uuid_text(tenant_id)),
                        errhint("attribution.start_reconciliation() returns it.")));
    bool isnull;
    return read_state(pg::text_of(pg::result_value(0, 1, &isnull)));
}

[[noreturn]] void raise_not_running(Datum tenant_id, Datum run_id, const char* state) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("reconciliation run %s is not running", pg::uuid_text(run_id)),
                    errdetail("Tenant %s: the run is %s.", pg::uuid_text(tenant_id), state),
                    errhint("Start another one.")));
    pg_unreachable();
}

/// Locks a run that must be at work, and makes it this session's. Updates it even where it is that
/// already: who has a snapshot from before this step cannot finish the run without seeing it.
void take_run(Datum tenant_id, Datum run_id) {
    static constinit pg::Query take = {
        .sql = "UPDATE attribution.reconciliation_runs SET backend_pid = $3, backend_start = $4 "
               "WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, UUIDOID, INT4OID, TIMESTAMPTZOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    const State state = lock_run(tenant_id, run_id);
    if (state != State::running)
        raise_not_running(tenant_id, run_id,
                          state == State::completed ? "completed"
                          : state == State::failed  ? "failed"
                                                    : "idle");
    Datum values[] = {tenant_id, run_id, Int32GetDatum(MyProcPid),
                      TimestampTzGetDatum(MyStartTimestamp)};
    pg::run(take, values);
}

Datum row_of_run(Datum tenant_id, Datum run_id, MemoryContext memory) {
    static constinit pg::Query find = {.sql = "SELECT r FROM attribution.reconciliation_runs r "
                                              "WHERE r.tenant_id = $1 AND r.id = $2",
                                       .parameter_count = 2,
                                       .parameter_types = {UUIDOID, UUIDOID},
                                       .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                                       .plan = nullptr};
    Datum values[] = {tenant_id, run_id};
    pg::run(find, values);
    return single_row(memory);
}

// ---------------------------------------------------------------------------------------------
// Settle

[[noreturn]] void raise_bad_settlement(const char* detail) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid settlements"),
                    errdetail("%s", detail),
                    errhint("They are an array of {\"key\": \"...\", \"amount_cents\": ...}.")));
    pg_unreachable();
}

[[noreturn]] void raise_bad_element(int64 position, const char* problem) {
    raise_bad_settlement(psprintf("Element " INT64_FORMAT ": %s.", position, problem));
}

/// A whole number of any spelling: 100, 100.00, 1e2. Exact: jsonb keeps numbers as they are.
core::Amount read_cents(Numeric number) {
    return core::parse_amount(
        DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number))), 0);
}

struct Settlement {
    std::string_view key;
    int64 amount_cents;
};

Settlement read_settlement(const JsonbValue& element, int64 position) {
    if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
        raise_bad_element(position, "it is not an object");
    JsonbContainer* object = element.val.binary.data;
    const JsonbValue* key = getKeyJsonValueFromContainer(object, "key", 3, nullptr);
    if (key == nullptr || key->type != jbvString)
        raise_bad_element(position, key == nullptr ? "key is missing" : "key is not a text");
    if (key->val.string.len == 0)
        raise_bad_element(position, "key is empty");
    if (static_cast<std::size_t>(key->val.string.len) > pg::max_text_bytes)
        raise_bad_element(position, psprintf("key has %d bytes, and %zu are the most",
                                             key->val.string.len, pg::max_text_bytes));
    const JsonbValue* amount = getKeyJsonValueFromContainer(object, "amount_cents", 12, nullptr);
    if (amount == nullptr)
        raise_bad_element(position, "amount_cents is missing");
    const core::Amount cents = amount->type == jbvNumeric
                                   ? read_cents(amount->val.numeric)
                                   : core::Amount{.fault = core::AmountFault::malformed};
    if (cents.fault != core::AmountFault::none)
        raise_bad_element(position, "amount_cents is not a whole number in the range of bigint");
    return {.key = {key->val.string.val, static_cast<std::size_t>(key->val.string.len)},
            .amount_cents = cents.cents};
}

/// Reads and checks all of them; on disk past work_mem.
Tuplestorestate* read_settlements(Jsonb* settlements, TupleDesc columns, int64* count) {
    if (!JB_ROOT_IS_ARRAY(settlements) || JB_ROOT_IS_SCALAR(settlements))
        raise_bad_settlement("It is not an array.");
    Tuplestorestate* rows = tuplestore_begin_heap(false, false, work_mem);
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "attribution settlement",
                                                 ALLOCSET_DEFAULT_SIZES);
    JsonbIterator* iterator = JsonbIteratorInit(&settlements->root);
    JsonbValue element;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE;) {
        if (token != WJB_ELEM)
            continue;
        CHECK_FOR_INTERRUPTS();
        const MemoryContext before = MemoryContextSwitchTo(memory);
        const Settlement settlement = read_settlement(element, ++*count);
        Datum values[] = {Int64GetDatum(*count), pg::text_datum(settlement.key),
                          Int64GetDatum(settlement.amount_cents)};
        bool nulls[3] = {};
        tuplestore_putvalues(rows, columns, values, nulls);
        MemoryContextSwitchTo(before);
        MemoryContextReset(memory);
    }
    MemoryContextDelete(memory);
    return rows;
}

TupleDesc settlement_columns() {
    TupleDesc columns = CreateTemplateTupleDesc(3);
    TupleDescInitEntry(columns, 1, "position", INT8OID, -1, 0);
    TupleDescInitEntry(columns, 2, "key", TEXTOID, -1, 0);
    TupleDescInitEntry(columns, 3, "amount_cents", INT8OID, -1, 0);
    return columns;
}

pg::Query query_of_run(const char* sql) {
    return {.sql = sql,
            .parameter_count = 2,
            .parameter_types = {UUIDOID, UUIDOID},
            .cursor_options = 0,
            .plan = nullptr,
            .temporary = true};
}

int64 insert_settlements(Datum* values) {
    pg::Query insert =
        query_of_run("INSERT INTO attribution.reconciliation_settlements "
                     "(tenant_id, reconciliation_run_id, key, amount_cents) "
                     "SELECT $1, $2, s.key, s.amount_cents FROM settlements s "
                     "ON CONFLICT (tenant_id, reconciliation_run_id, key) DO NOTHING");
    static constexpr std::array key = {"tenant_id", "reconciliation_run_id"};
    static constexpr std::array referenced = {"tenant_id", "id"};
    Relation table = table_open(pg::own_relation("reconciliation_settlements"), RowExclusiveLock);
    // The run is locked: a million checks that it exists would tell nothing.
    const pg::ForeignKey keys[] = {{key, pg::own_relation("reconciliation_runs"), referenced}};
    pg::insert_without_key_checks(table, keys, [&](bool) { pg::run(insert, values); });
    table_close(table, NoLock);
    return static_cast<int64>(SPI_processed);
}

/// Raises 23505 for the first settlement whose key the run has with another amount.
void check_unchanged(Datum* values) {
    pg::Query find =
        query_of_run("SELECT s.position, s.key, s.amount_cents, x.amount_cents FROM settlements s "
                     "JOIN attribution.reconciliation_settlements x ON x.key = s.key "
                     "WHERE x.tenant_id = $1 AND x.reconciliation_run_id = $2 "
                     "AND x.amount_cents <> s.amount_cents ORDER BY s.position LIMIT 1");
    pg::run(find, values);
    if (SPI_processed == 0)
        return;
    bool isnull;
    const std::string_view key = pg::text_of(pg::result_value(0, 2, &isnull));
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("settlement \"%.*s\" is known with another amount",
                           static_cast<int>(key.size()), key.data()),
                    errdetail("Run %s of tenant %s has " INT64_FORMAT
                              " cents, element " INT64_FORMAT " says " INT64_FORMAT ".",
                              pg::uuid_text(values[1]), pg::uuid_text(values[0]),
                              DatumGetInt64(pg::result_value(0, 4, &isnull)),
                              DatumGetInt64(pg::result_value(0, 1, &isnull)),
                              DatumGetInt64(pg::result_value(0, 3, &isnull))),
                    errhint("Settle each key once, with what was paid net of refunds."),
                    err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
                    err_generic_string(PG_DIAG_TABLE_NAME, "reconciliation_settlements"),
                    err_generic_string(PG_DIAG_CONSTRAINT_NAME, "settlement_is_unchanged")));
}

// ---------------------------------------------------------------------------------------------
// Finish

/// Compares, verifies and records. $1 tenant, $2 run, $3 and $4 bounds of what must be settled.
/// Look-ups in loops are those of a unique index for each settlement, and OFFSET 0 keeps them
/// apart; everything else is joined by hash (enable_nestloop is off), which spills. A key is an
/// external_event_id before it is a correlation_id, which only counts where there is no other.
/// Planned for each call: the tables may have grown, and nobody may have analyzed them.
constexpr const char* finish_sql =
    "WITH settled AS MATERIALIZED ("
    "SELECT s.key, s.amount_cents, coalesce(x.id, y.id) AS conversion_id "
    "FROM attribution.reconciliation_settlements s "
    "LEFT JOIN LATERAL (SELECT e.id FROM attribution.attribution_events e "
    "WHERE e.tenant_id = $1 AND e.external_event_id = s.key AND e.event_type = 'conversion' "
    "OFFSET 0) x ON true "
    "LEFT JOIN LATERAL (SELECT e.id FROM attribution.attribution_events e "
    "WHERE x.id IS NULL AND e.tenant_id = $1 AND e.correlation_id = s.key "
    "AND e.external_event_id IS NULL AND e.event_type = 'conversion' OFFSET 0) y ON true "
    "WHERE s.tenant_id = $1 AND s.reconciliation_run_id = $2), "
    "book AS MATERIALIZED ("
    "SELECT l.conversion_id, sum(l.revenue_cents) AS cents, "
    "count(*) FILTER (WHERE NOT l.is_verified) AS unverified "
    "FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 GROUP BY l.conversion_id), "
    "pair AS MATERIALIZED ("
    "SELECT s.key IS NOT NULL AS is_settled, s.key, s.amount_cents, "
    "coalesce(b.conversion_id, s.conversion_id) AS conversion_id, b.cents, b.unverified "
    "FROM settled s FULL JOIN book b ON b.conversion_id = s.conversion_id), "
    "judged AS MATERIALIZED ("
    "SELECT p.is_settled, coalesce(p.key, e.key) AS key, p.amount_cents, p.conversion_id, p.cents, "
    "p.unverified, CASE WHEN p.cents IS NULL THEN "
    "CASE WHEN p.amount_cents <> 0 THEN 'missing_in_ledger' END "
    "WHEN p.is_settled THEN CASE WHEN p.cents <> p.amount_cents THEN 'amount_mismatch' END "
    "WHEN p.cents <> 0 THEN 'missing_in_settlement' END AS kind "
    "FROM pair p LEFT JOIN LATERAL ("
    "SELECT coalesce(e.external_event_id, e.correlation_id) AS key, e.occurred_at "
    "FROM attribution.attribution_events e WHERE NOT p.is_settled AND p.unverified > 0 "
    "AND e.tenant_id = $1 AND e.id = p.conversion_id OFFSET 0) e ON true "
    "WHERE p.is_settled OR (e.occurred_at >= coalesce($3, '-infinity') "
    "AND e.occurred_at < coalesce($4, 'infinity'))), "
    "recorded AS (INSERT INTO attribution.settlement_differences "
    "(tenant_id, reconciliation_run_id, kind, key, conversion_id, ledger_cents, settlement_cents) "
    "SELECT $1, $2, j.kind, j.key, j.conversion_id, j.cents::bigint, j.amount_cents "
    "FROM judged j WHERE j.kind IS NOT NULL), "
    "verified AS (UPDATE attribution.revenue_ledger l "
    "SET is_verified = true, verified_at = now(), reconciliation_run_id = $2 "
    "FROM judged j WHERE j.kind IS NULL AND j.unverified > 0 AND l.tenant_id = $1 "
    "AND l.conversion_id = j.conversion_id AND NOT l.is_verified RETURNING l.revenue_cents) "
    "SELECT jsonb_build_object("
    "'settlements', count(*) FILTER (WHERE j.is_settled), "
    "'settled_cents', coalesce(sum(j.amount_cents), 0), "
    "'matched', count(*) FILTER (WHERE j.is_settled AND j.kind IS NULL AND j.cents IS NOT NULL), "
    "'missing_in_ledger', count(*) FILTER (WHERE j.kind = 'missing_in_ledger'), "
    "'missing_in_settlement', count(*) FILTER (WHERE j.kind = 'missing_in_settlement'), "
    "'amount_mismatch', count(*) FILTER (WHERE j.kind = 'amount_mismatch'), "
    "'verified_entries', (SELECT count(*) FROM verified), "
    "'verified_cents', (SELECT coalesce(sum(v.revenue_cents), 0) FROM verified v)) "
    "FROM judged j";

Datum compare(Datum tenant_id, Datum run_id) {
    static constinit pg::Query find = {
        .sql = "SELECT r.occurred_from, r.occurred_to FROM attribution.reconciliation_runs r "
               "WHERE r.tenant_id = $1 AND r.id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::Query finish = {.sql = finish_sql,
                        .parameter_count = 4,
                        .parameter_types = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
                        .cursor_options = 0,
                        .plan = nullptr,
                        .temporary = true};
    Datum values[4] = {tenant_id, run_id};
    pg::run(find, values);
    bool isnull[2];
    values[2] = pg::result_value(0, 1, &isnull[0]);
    values[3] = pg::result_value(0, 2, &isnull[1]);
    const char nulls[] = {' ', ' ', isnull[0] ? 'n' : ' ', isnull[1] ? 'n' : ' '};
    pg::run(finish, values, nulls);
    bool none;
    return datumCopy(pg::result_value(0, 1, &none), false, -1);
}

void end_as_completed(Datum* values) {
    static constinit pg::Query update = {
        .sql = "UPDATE attribution.reconciliation_runs r SET state = 'completed', "
               "run_metadata = coalesce(r.run_metadata, '{}') || $3 "
               "WHERE r.tenant_id = $1 AND r.id = $2 RETURNING r",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, JSONBOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(update, values);
}

// ---------------------------------------------------------------------------------------------
// All in one

/// Deferred constraints of the user are checked while the step can still be undone.
void check_now() {
    if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
        elog(ERROR, "could not check the constraints");
}

/// The run as a transaction of its own, and what is to be known of it afterwards.
void start_run(FunctionCallInfo fcinfo, pg_uuid_t* run_id) {
    static constinit pg::Query start = {
        .sql = "SELECT r.id FROM attribution.start_reconciliation($1, $2, $3) AS r",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(3), PG_GETARG_DATUM(4)};
    const char nulls[] = {' ', PG_ARGISNULL(3) ? 'n' : ' ', PG_ARGISNULL(4) ? 'n' : ' '};
    pg::run(start, values, nulls);
    bool isnull;
    *run_id = *DatumGetUUIDP(pg::result_value(0, 1, &isnull));
    pg::commit();
}

void settle_run(Datum* values) {
    static constinit pg::Query settle = {.sql = "SELECT attribution.settle($1, $2, $3)",
                                         .parameter_count = 3,
                                         .parameter_types = {UUIDOID, UUIDOID, JSONBOID},
                                         .cursor_options = 0,
                                         .plan = nullptr};
    pg::run(settle, values);
    check_now();
}

void finish_run(Datum* values) {
    static constinit pg::Query finish = {.sql = "SELECT attribution.finish_reconciliation($1, $2)",
                                         .parameter_count = 2,
                                         .parameter_types = {UUIDOID, UUIDOID},
                                         .cursor_options = 0,
                                         .plan = nullptr};
    pg::run(finish, values);
    check_now();
}

/// The run's row says why. A failure is told; who cancelled wants to hear that.
void fail_run(Datum* values, ErrorData* failure) {
    static constinit pg::Query fail = {.sql = "SELECT attribution.fail_reconciliation($1, $2, $3)",
                                       .parameter_count = 3,
                                       .parameter_types = {UUIDOID, UUIDOID, TEXTOID},
                                       .cursor_options = 0,
                                       .plan = nullptr};
    pg::roll_back();
    values[2] = CStringGetTextDatum(
        failure->detail == nullptr
            ? psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message)
            : psprintf("%s: %s. %s", unpack_sql_state(failure->sqlerrcode), failure->message,
                       failure->detail));
    pg::run(fail, values);
    SPI_commit();
    if (ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
        ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION))
        ReThrowError(failure);
    ereport(WARNING,
            (errcode(failure->sqlerrcode), errmsg("reconciliation failed: %s", failure->message),
             failure->detail != nullptr ? errdetail("%s", failure->detail) : 0,
             failure->hint != nullptr ? errhint("%s", failure->hint) : 0));
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_start_reconciliation) {
    static constexpr std::array names = {"tenant_id"};
    entry::check_arguments(fcinfo, "start_reconciliation()", names);
    const MemoryContext memory = CurrentMemoryContext;
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
                      Int32GetDatum(MyProcPid), TimestampTzGetDatum(MyStartTimestamp)};
    const char nulls[] = {' ', PG_ARGISNULL(1) ? 'n' : ' ', PG_ARGISNULL(2) ? 'n' : ' ', ' ', ' '};
    SPI_connect();
    entry::check_tenant_exists(pg::uuid_of(values[0]));
    entry::clear_the_way(values[0]);
    entry::insert_run(values, nulls);
    const Datum run = entry::single_row(memory);
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_settle) {
    static constexpr std::array names = {"tenant_id", "reconciliation_run_id", "settlements"};
    entry::check_arguments(fcinfo, "settle()", names);
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
    int64 received = 0;
    SPI_connect();
    entry::take_run(values[0], values[1]);
    TupleDesc settlement_columns = entry::settlement_columns();
    Tuplestorestate* rows =
        entry::read_settlements(PG_GETARG_JSONB_P(2), settlement_columns, &received);
    pg::name_rows("settlements", settlement_columns, rows);
    const int64 added = received == 0 ? 0 : entry::insert_settlements(values);
    if (added < received)
        entry::check_unchanged(values);
    tuplestore_end(rows);
    SPI_finish();

    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    Datum counts[] = {Int64GetDatum(received), Int64GetDatum(added),
                      Int64GetDatum(received - added)};
    bool nulls[3] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), counts, nulls)));
}

ATTRIBUTION_FUNCTION(attribution_finish_reconciliation) {
    static constexpr std::array names = {"tenant_id", "reconciliation_run_id"};
    entry::check_arguments(fcinfo, "finish_reconciliation()", names);
    const MemoryContext memory = CurrentMemoryContext;
    Datum values[3] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
    Datum run;
    SPI_connect();
    if (entry::lock_run(values[0], values[1]) == entry::State::completed) {
        run = entry::row_of_run(values[0], values[1], memory);
    } else {
        entry::take_run(values[0], values[1]);
        values[2] = entry::compare(values[0], values[1]);
        entry::end_as_completed(values);
        run = entry::single_row(memory);
    }
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_fail_reconciliation) {
    static constexpr std::array names = {"tenant_id", "reconciliation_run_id", "message"};
    entry::check_arguments(fcinfo, "fail_reconciliation()", names);
    const MemoryContext memory = CurrentMemoryContext;
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
    Datum run;
    SPI_connect();
    const entry::State state = entry::lock_run(values[0], values[1]);
    if (state == entry::State::completed)
        entry::raise_not_running(values[0], values[1], "completed");
    if (state == entry::State::failed) {
        run = entry::row_of_run(values[0], values[1], memory);
    } else {
        entry::end_as_failed(values);
        run = entry::single_row(memory);
    }
    SPI_finish();
    PG_RETURN_DATUM(run);
}

ATTRIBUTION_FUNCTION(attribution_reconcile) {
    static constexpr std::array names = {"tenant_id", "settlements"};
    PreventCommandIfReadOnly("reconcile()");
    pg::check_not_null(fcinfo, names);
    pg::check_may_commit(fcinfo, "reconcile()", "It commits after each step.",
                         "CALL it outside BEGIN ... COMMIT, or call start_reconciliation(), "
                         "settle() and finish_reconciliation().");
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    if (XactIsoLevel != XACT_READ_COMMITTED)
        pg::commit();
    // A toasted value is not to be had once the transaction that read it has ended.
    Datum settlements = PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(1)));
    pg_uuid_t run_id;
    entry::start_run(fcinfo, &run_id);
    Datum values[] = {PG_GETARG_DATUM(0), UUIDPGetDatum(&run_id), settlements};
    ErrorData* failure = pg::attempt([&] { entry::settle_run(values); });
    if (failure == nullptr) {
        pg::commit();
        failure = pg::attempt([&] { entry::finish_run(values); });
    }
    if (failure == nullptr)
        SPI_commit(); // what comes next is not ours, nor is its isolation level
    else
        entry::fail_run(values, failure);
    SPI_finish();

    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    Datum result[] = {pg::uuid_datum(pg::uuid_of(UUIDPGetDatum(&run_id)))};
    bool nulls[1] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), result, nulls)));
}
