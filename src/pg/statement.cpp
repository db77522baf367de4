#include "pg/statement.hpp"

#include "pg/planning.hpp"

namespace attribution::pg {
namespace detail {
namespace {

/// Ends a call into SPI, which leaves the memory context of its connection behind: in a procedure
/// that lasts for all its transactions, so what is allocated next must not land there.
void check_result(int result, const Prepared& statement, MemoryContext memory) {
    MemoryContextSwitchTo(memory);
    if (result < 0)
        elog(ERROR, "%s: %s", SPI_result_code_string(result), statement.sql);
}

/// Raises 42804 unless the columns are of the types that will be read.
void check_columns(TupleDesc columns, const Prepared& statement, const Call& call) {
    if (call.any_columns)
        return;
    if (columns == nullptr || static_cast<std::size_t>(columns->natts) != call.columns.size())
        elog(ERROR, "a statement returns %d columns instead of %zu: %s",
             columns == nullptr ? 0 : columns->natts, call.columns.size(), statement.sql);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        const Oid expected = call.columns[static_cast<std::size_t>(i)];
        if (!is_of_type(column->atttypid, expected))
            ereport(ERROR,
                    (errcode(ERRCODE_DATATYPE_MISMATCH),
                     errmsg("column \"%s\" is of type %s instead of %s", NameStr(column->attname),
                            format_type_be(column->atttypid), format_type_be(expected)),
                     errdetail("It is read by: %s", statement.sql),
                     errhint("Give the column of the extension's table its type back.")));
    }
}

/// Prepares the statement unless it is prepared.
SPIPlanPtr prepared(Prepared& statement, std::span<const Oid> types) {
    Assert(statement.sql != nullptr);
    if (statement.plan == nullptr) {
        const MemoryContext memory = CurrentMemoryContext;
        const int settings = pin_texts();
        SPIPlanPtr plan = SPI_prepare_cursor(
            statement.sql, static_cast<int>(types.size()), const_cast<Oid*>(types.data()),
            statement.kind == Plan::generic  ? CURSOR_OPT_GENERIC_PLAN
            : statement.kind == Plan::chosen ? CURSOR_OPT_PARALLEL_OK // for those who read much
                                             : 0);
        restore_settings(settings);
        if (plan == nullptr)
            elog(ERROR, "%s: %s", SPI_result_code_string(SPI_result), statement.sql);
        if (statement.kind != Plan::once)
            SPI_keepplan(plan);
        MemoryContextSwitchTo(memory);
        statement.plan = plan;
    }
    return statement.plan;
}

Result result_of(const Prepared& statement, const Call& call) {
    if (!call.any_columns)
        check_columns(SPI_tuptable == nullptr ? nullptr : SPI_tuptable->tupdesc, statement, call);
    return {.table = SPI_tuptable, .count = SPI_processed};
}

Result execute(Prepared& statement, const Call& call, bool read_only) {
    const MemoryContext memory = CurrentMemoryContext;
    check_result(
        SPI_execute_plan(prepared(statement, call.types), call.values, call.nulls, read_only, 0),
        statement, memory);
    return result_of(statement, call);
}

} // namespace

Result run(Prepared& statement, const Call& call) {
    return execute(statement, call, false);
}

Result run_stable(Prepared& statement, const Call& call) {
    return execute(statement, call, true);
}

Result run_as_of(Prepared& statement, Snapshot snapshot, const Call& call) {
    const MemoryContext memory = CurrentMemoryContext;
    check_result(SPI_execute_snapshot(prepared(statement, call.types), call.values, call.nulls,
                                      snapshot, InvalidSnapshot, false, false, 0),
                 statement, memory);
    return result_of(statement, call);
}

Result run_latest(Prepared& statement, const Call& call) {
    if (!IsolationUsesXactSnapshot())
        return run(statement, call);
    // As PostgreSQL's foreign-key checks: a snapshot newer than the transaction's own.
    CommandCounterIncrement();
    return run_as_of(statement, GetLatestSnapshot(), call);
}

void discard(Prepared& statement) {
    if (statement.plan != nullptr)
        SPI_freeplan(statement.plan);
    statement.plan = nullptr;
}

namespace {

/// A receiver of rows as the executor knows it.
struct StreamReceiver {
    DestReceiver base;
    const Prepared* statement;
    const Call* call;
    Receiver receive;
    void* state;
};

extern "C" void start_statement_stream(DestReceiver* self, int, TupleDesc columns) {
    const auto* receiver = reinterpret_cast<const StreamReceiver*>(self);
    check_columns(columns, *receiver->statement, *receiver->call);
}

extern "C" void end_statement_stream(DestReceiver*) {}

extern "C" bool receive_statement_row(TupleTableSlot* row, DestReceiver* self) {
    const auto* receiver = reinterpret_cast<const StreamReceiver*>(self);
    receiver->receive(row, receiver->state);
    return true;
}

ParamListInfo parameters_of(const Call& call) {
    if (call.types.empty())
        return nullptr;
    ParamListInfo parameters = makeParamList(static_cast<int>(call.types.size()));
    for (std::size_t i = 0; i < call.types.size(); ++i)
        parameters->params[i] = {.value = call.values[i],
                                 .isnull = call.nulls[i] == 'n',
                                 .pflags = PARAM_FLAG_CONST,
                                 .ptype = call.types[i]};
    return parameters;
}

} // namespace

void stream(Prepared& statement, Snapshot snapshot, const Call& call, Receiver receive,
            void* state) {
    StreamReceiver receiver{};
    receiver.base.receiveSlot = receive_statement_row;
    receiver.base.rStartup = start_statement_stream;
    receiver.base.rShutdown = end_statement_stream;
    receiver.base.rDestroy = end_statement_stream;
    receiver.base.mydest = DestNone;
    receiver.statement = &statement;
    receiver.call = &call;
    receiver.receive = receive;
    receiver.state = state;
    const MemoryContext memory = CurrentMemoryContext;
    SPIExecuteOptions options{};
    options.params = parameters_of(call);
    options.read_only = snapshot != nullptr; // a read-only statement sees the active snapshot
    options.dest = &receiver.base;
    if (snapshot != nullptr)
        PushActiveSnapshot(snapshot);
    check_result(SPI_execute_plan_extended(prepared(statement, call.types), &options), statement,
                 memory);
    if (snapshot != nullptr)
        PopActiveSnapshot();
}

} // namespace detail

std::string_view copied(std::string_view text) {
    return {pnstrdup(text.data(), text.size()), text.size()};
}

} // namespace attribution::pg
