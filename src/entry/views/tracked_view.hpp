// The materialized views that refresh() maintains, and everything that differs between them.
//
// The one idea: one table of views. All that differs between the views is in their rows; no other
// code compares names of views. README.md beside this file says how the parts work together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "pg/columns.hpp"

namespace attribution::entry {

/// What a trigger below a view does.
enum class Duty : std::uint8_t {
    log_rows,         // logs the rows of a statement
    log_altered_rows, // logs a row, but only where its WHEN finds a column altered
    raise_doubt,
    raise_doubt_if_replicated, // for each row that logical replication applies
};

/// A trigger that a table below the view must have, for some of INSERT, UPDATE, DELETE and TRUNCATE
/// (TRIGGER_TYPE_INSERT and so on): without it a change of the table would go unnoticed.
struct RequiredTrigger {
    const char* table;
    std::uint8_t events;
    Duty duty;
    const char* altered = nullptr; // of Duty::log_altered_rows: its WHEN, as PostgreSQL writes it
};

struct TrackedView {
    const char* name;
    const char* log;
    std::span<const pg::Column> log_columns;
    int log_row_bytes;            // the least that a row of the log takes in its file
    const char* capture_function; // the trigger function that writes the log
    std::span<const RequiredTrigger> triggers;
    std::span<const char* const> tables; // those that the view's query reads

    /// The table whose amounts the log carries and a refresh adds up; nullptr where the log has
    /// keys, which may be computed again without harm.
    const char* summed_table;

    /// Counts the changed keys in the log; nullptr where an incremental refresh always costs less.
    const char* count_keys;

    /// Finds the rows of the view that differ from its query, for the keys in the relation
    /// `changes`. %s stands for the view's query. Columns: where the row is (tid, NULL for a new
    /// one); whether there is to be a row (boolean); whether the log cannot follow that row
    /// (boolean); and the columns of the view as they should be.
    const char* differences;

    /// Returns a row when the log cannot follow some row of the view; nullptr where it always can.
    const char* unfollowed_rows;
};

inline constexpr std::size_t tracked_view_count = 3;
extern const std::array<TrackedView, tracked_view_count> tracked_views;

/// The view's place in tracked_views, for what a backend remembers of each.
std::size_t number_of(const TrackedView& view);

/// The view of this name, without its schema; nullptr when there is none.
const TrackedView* find_tracked_view(std::string_view name);

/// The view that the first argument of a trigger names. Raises 39P01 when it names none.
const TrackedView& view_of(const Trigger* trigger);

/// The view that an argument of refresh() names, with or without its schema. Raises 22023 for any
/// other name.
const TrackedView& read_view_name(std::string_view argument);

} // namespace attribution::entry
