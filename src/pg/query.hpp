// A query that is prepared once per backend and run through SPI.
#pragma once

#include "pg/failure.hpp"
#include "pg/named_rows.hpp"
#include "pg/planning.hpp"
#include "pg/procedure.hpp"

namespace attribution::pg {

/// Text and parameter types of a query, and its plan once it was prepared. Make them static and
/// constinit: one plan per backend.
struct Query {
    const char* sql;
    int parameter_count;
    Oid parameter_types[12];
    int cursor_options; // CURSOR_OPT_GENERIC_PLAN: never planned for the values
    SPIPlanPtr plan;
    bool temporary = false; // the plan goes with the SPI connection, also after an error
};

/// Prepares the query unless it is prepared. Inside an SPI connection.
SPIPlanPtr prepared(Query& query);

/// Runs the query with values (nulls as SPI takes them: 'n' or ' ', or nullptr). Sees what this
/// transaction wrote, under a new snapshot in READ COMMITTED. Inside an SPI connection; raises
/// unless the result is one of SPI_OK_*.
int run(Query& query, Datum* values, const char* nulls = nullptr, long limit = 0);

/// The same under a given snapshot: rows as of `snapshot` and what this transaction wrote.
int run_as_of(Query& query, Snapshot snapshot, Datum* values, const char* nulls = nullptr);

/// The same under the latest committed state whatever the isolation level is: what another
/// transaction committed while this one waited for a lock is seen.
int run_latest(Query& query, Datum* values, const char* nulls = nullptr);

/// The same as run, but each row goes to `receive` as it is found, so that any number of them needs
/// no memory. `receive` runs inside the query's executor: it may not use SPI.
using Receiver = void (*)(TupleTableSlot* row, void* state);
void stream(Query& query, Datum* values, const char* nulls, Receiver receive, void* state);

/// The same as the snapshot sees it; `values` where the query has parameters, none of them null.
void stream_as_of(Query& query, Snapshot snapshot, Receiver receive, void* state,
                  Datum* values = nullptr);

/// A query that is built at run time: `sql` must live as long as it is used; discard() frees the
/// plan.
Query one_uuid_query(const char* sql);
void discard(Query& query);

/// Value of column `number` (from 1) in row `row` (from 0) of the last result.
Datum result_value(uint64 row, int number, bool* isnull);

} // namespace attribution::pg
