#include "pg/query.hpp"

namespace attribution::pg {
namespace {

/// Ends a call into SPI, which leaves the memory context of its connection behind: in a procedure
/// that lasts for all its transactions, so what is allocated next must not land there.
int checked(int result, const Query& query, MemoryContext memory) {
    MemoryContextSwitchTo(memory);
    if (result < 0)
        elog(ERROR, "%s: %s", SPI_result_code_string(result), query.sql);
    return result;
}

} // namespace

SPIPlanPtr prepared(Query& query) {
    if (query.plan == nullptr) {
        const MemoryContext memory = CurrentMemoryContext;
        SPIPlanPtr plan = SPI_prepare_cursor(query.sql, query.parameter_count,
                                             query.parameter_types, query.cursor_options);
        if (plan == nullptr)
            elog(ERROR, "%s: %s", SPI_result_code_string(SPI_result), query.sql);
        if (!query.temporary)
            SPI_keepplan(plan);
        MemoryContextSwitchTo(memory);
        query.plan = plan;
    }
    return query.plan;
}

int run(Query& query, Datum* values, const char* nulls, long limit) {
    const MemoryContext memory = CurrentMemoryContext;
    return checked(SPI_execute_plan(prepared(query), values, nulls, false, limit), query, memory);
}

int run_as_of(Query& query, Snapshot snapshot, Datum* values, const char* nulls) {
    const MemoryContext memory = CurrentMemoryContext;
    return checked(SPI_execute_snapshot(prepared(query), values, nulls, snapshot, InvalidSnapshot,
                                        false, false, 0),
                   query, memory);
}

int run_latest(Query& query, Datum* values, const char* nulls) {
    if (!IsolationUsesXactSnapshot())
        return run(query, values, nulls);
    // As PostgreSQL's foreign-key checks: a snapshot newer than the transaction's own.
    CommandCounterIncrement();
    return run_as_of(query, GetLatestSnapshot(), values, nulls);
}

namespace {

/// A receiver of rows as the executor knows it.
struct StreamReceiver {
    DestReceiver base;
    Receiver receive;
    void* state;
};

extern "C" void start_stream(DestReceiver*, int, TupleDesc) {}
extern "C" void end_stream(DestReceiver*) {}
extern "C" bool receive_row(TupleTableSlot* row, DestReceiver* self) {
    const auto* receiver = reinterpret_cast<StreamReceiver*>(self);
    receiver->receive(row, receiver->state);
    return true;
}

} // namespace

namespace {

ParamListInfo parameters_of(const Query& query, Datum* values, const char* nulls) {
    if (query.parameter_count == 0)
        return nullptr;
    ParamListInfo parameters = makeParamList(query.parameter_count);
    for (int i = 0; i < query.parameter_count; ++i)
        parameters->params[i] = {.value = values[i],
                                 .isnull = nulls != nullptr && nulls[i] == 'n',
                                 .pflags = PARAM_FLAG_CONST,
                                 .ptype = query.parameter_types[i]};
    return parameters;
}

/// A read-only query sees the active snapshot.
void stream_to(Query& query, ParamListInfo parameters, bool read_only, Receiver receive,
               void* state) {
    StreamReceiver receiver{};
    receiver.base.receiveSlot = receive_row;
    receiver.base.rStartup = start_stream;
    receiver.base.rShutdown = end_stream;
    receiver.base.rDestroy = end_stream;
    receiver.base.mydest = DestNone;
    receiver.receive = receive;
    receiver.state = state;
    const MemoryContext memory = CurrentMemoryContext;
    SPIExecuteOptions options{};
    options.params = parameters;
    options.read_only = read_only;
    options.dest = &receiver.base;
    checked(SPI_execute_plan_extended(prepared(query), &options), query, memory);
}

} // namespace

void stream(Query& query, Datum* values, const char* nulls, Receiver receive, void* state) {
    stream_to(query, parameters_of(query, values, nulls), false, receive, state);
}

void stream_as_of(Query& query, Snapshot snapshot, Receiver receive, void* state, Datum* values) {
    PushActiveSnapshot(snapshot);
    stream_to(query, parameters_of(query, values, nullptr), true, receive, state);
    PopActiveSnapshot();
}

Query one_uuid_query(const char* sql) {
    return {.sql = sql,
            .parameter_count = 1,
            .parameter_types = {UUIDOID},
            .cursor_options = 0,
            .plan = nullptr};
}

void discard(Query& query) {
    if (query.plan != nullptr)
        SPI_freeplan(query.plan);
    query.plan = nullptr;
}

Datum result_value(uint64 row, int number, bool* isnull) {
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

} // namespace attribution::pg
