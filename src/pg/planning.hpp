// Settings under which the extension reads, plans and runs its statements, whatever the caller has
// set. What a caller may set falls into three groups:
//
//     what a text means      standard_conforming_strings, backslash_quote (literals),
//                            transform_null_equals (= NULL), array_nulls, DateStyle, IntervalStyle
//                            (values in literals); and for definitions that PostgreSQL writes as
//                            text also quote_all_identifiers, extra_float_digits, bytea_output
//     what a name means      search_path
//     how rows are found     enable_seqscan and the other enable_... settings, jit, plan_cache_mode
//
// The first group is pinned by pin_texts() wherever a text becomes a statement: in pg::Statement,
// whose plans never read their text again, and around definitions that PostgreSQL writes
// (view_query). Functions in SQL were parsed when they were created. The second is pinned by the
// SET clauses of the functions and by pin_settings(). The third changes only the time that a
// statement takes; prefer_indexes() and pin_settings() pin what costs most.
//
// How values are printed (DateStyle, bytea_output and others) stays the caller's wish: results have
// types, and no function makes text of a time or an interval.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Until restore_settings(): texts of statements mean what they mean under PostgreSQL's defaults.
/// Returns what restore_settings() takes; an error restores by itself.
int pin_texts();

/// Plans made until restore_settings() avoid scans of whole tables: a plan that was made while a
/// table was empty is kept after it grew. Returns what restore_settings() takes; an error restores
/// by itself.
int prefer_indexes();
void restore_settings(int settings);

/// The same, and rows are read in the order of an index and no further than a LIMIT, rather than
/// all that match, which are sorted then.
int prefer_index_order();

/// Plans made until restore_settings() join by hash or merge, so that their cost follows the size
/// of the tables whatever the planner knows of it.
int avoid_nested_loops();

/// Until restore_settings(): names in queries are the system's, whatever the caller's search_path
/// is, and plans are those of prefer_index_order(). For procedures that commit, which may not SET.
int pin_settings();

/// Until the subtransaction ends, no lock is waited for longer than that.
void limit_lock_wait(int milliseconds);

/// The query of a view or materialized view, without a semicolon, palloc'd: to be part of the text
/// of a statement. The search_path must be pinned.
const char* view_query(Oid view);

} // namespace attribution::pg
