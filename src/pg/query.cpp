#include "pg/query.hpp"

namespace attribution::pg {
namespace {

int checked(int result, const Query& query) {
    if (result < 0)
        elog(ERROR, "%s: %s", SPI_result_code_string(result), query.sql);
    return result;
}

} // namespace

SPIPlanPtr prepared(Query& query) {
    if (query.plan == nullptr) {
        SPIPlanPtr plan = SPI_prepare_cursor(query.sql, query.parameter_count,
                                             query.parameter_types, query.cursor_options);
        if (plan == nullptr)
            elog(ERROR, "%s: %s", SPI_result_code_string(SPI_result), query.sql);
        SPI_keepplan(plan);
        query.plan = plan;
    }
    return query.plan;
}

int run(Query& query, Datum* values, const char* nulls, long limit) {
    return checked(SPI_execute_plan(prepared(query), values, nulls, false, limit), query);
}

int run_as_of(Query& query, Snapshot snapshot, Datum* values, const char* nulls) {
    return checked(SPI_execute_snapshot(prepared(query), values, nulls, snapshot, InvalidSnapshot,
                                        false, false, 0),
                   query);
}

int run_latest(Query& query, Datum* values, const char* nulls) {
    if (!IsolationUsesXactSnapshot())
        return run(query, values, nulls);
    // As PostgreSQL's foreign-key checks: a snapshot newer than the transaction's own.
    CommandCounterIncrement();
    return run_as_of(query, GetLatestSnapshot(), values, nulls);
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

int prefer_indexes() {
    const int level = NewGUCNestLevel();
    set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                      false);
    return level;
}

void restore_settings(int settings) {
    AtEOXact_GUC(true, settings);
}

Datum result_value(uint64 row, int number, bool* isnull) {
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

} // namespace attribution::pg
