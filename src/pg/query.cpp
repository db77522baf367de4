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

void name_rows(const char* name, TupleDesc columns, Tuplestorestate* rows) {
    auto* relation =
        static_cast<EphemeralNamedRelation>(palloc0(sizeof(EphemeralNamedRelationData)));
    relation->md.name = pstrdup(name);
    relation->md.reliddesc = InvalidOid;
    relation->md.tupdesc = columns;
    relation->md.enrtype = ENR_NAMED_TUPLESTORE;
    relation->md.enrtuples = static_cast<double>(tuplestore_tuple_count(rows));
    relation->reldata = rows;
    if (const int result = SPI_register_relation(relation); result != SPI_OK_REL_REGISTER)
        elog(ERROR, "SPI_register_relation: %s", SPI_result_code_string(result));
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

namespace {

void set_until_restored(const char* name, const char* value) {
    set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace

int prefer_indexes() {
    const int level = NewGUCNestLevel();
    set_until_restored("enable_seqscan", "off");
    // What is switched off counts as costly where nothing else will do, and would be compiled.
    set_until_restored("jit", "off");
    return level;
}

int pin_settings() {
    const int level = prefer_indexes();
    set_until_restored("search_path", "pg_catalog, pg_temp");
    // In the order of an index and no further than the limit, not all that matches and sorted.
    set_until_restored("enable_bitmapscan", "off");
    set_until_restored("enable_sort", "off");
    return level;
}

void limit_lock_wait(int milliseconds) {
    if (LockTimeout == 0 || LockTimeout > milliseconds)
        set_until_restored("lock_timeout", psprintf("%d", milliseconds));
}

void restore_settings(int settings) {
    AtEOXact_GUC(true, settings);
}

void check_may_commit(FunctionCallInfo fcinfo, const char* procedure, const char* reason,
                      const char* hint) {
    if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
        castNode(CallContext, fcinfo->context)->atomic)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
                        errmsg("%s cannot run inside a transaction block", procedure),
                        errdetail("%s", reason), errhint("%s", hint)));
}

namespace {

void set_isolation() {
    if (XactIsoLevel == XACT_READ_COMMITTED)
        return;
    if (SPI_execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", false, 0) != SPI_OK_UTILITY)
        elog(ERROR, "could not set the isolation level");
}

} // namespace

void commit() {
    SPI_commit();
    set_isolation();
}

void roll_back() {
    SPI_rollback();
    set_isolation();
}

Datum result_value(uint64 row, int number, bool* isnull) {
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

bool is_of_the_session(const ErrorData* failure) {
    switch (ERRCODE_TO_CATEGORY(failure->sqlerrcode)) {
    case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):            // cancelled, shut down
    case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):           // disk, memory
    case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):                     // input and output
    case ERRCODE_TO_CATEGORY(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE): // lock_timeout
    case ERRCODE_TO_CATEGORY(ERRCODE_INVALID_TRANSACTION_STATE):        // read-only
        return true;
    default:
        return false;
    }
}

bool may_succeed_later(const ErrorData* failure) {
    return ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
           ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK);
}

} // namespace attribution::pg
