// rows: the rows of allocations, on their way from the computation into the table.
//
// The one idea: conversions and refunds end alike, as shares of channels that go into one stream of
// rows, and one INSERT writes the stream, be it one event or a thousand.
//
//     conversion   touches of its journey -> weights by the model -> shares     journeys.hpp
//                  or weights from the caller                     -> shares     allocate.cpp
//     refund       cents that are left of each channel            -> shares     refunds.hpp
//
// All functions here run inside an SPI connection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>

#include "entry/allocation/event.hpp"
#include "pg/types.hpp"

namespace attribution::pg {
class ResultRows;
}

namespace attribution::entry {

/// The most channels that one event may be allocated to.
inline constexpr std::size_t max_channels = 10'000;

/// What one channel gets of an event. The caller sets `channel` and `weight`; add_conversion() and
/// add_refund() set the others.
struct ChannelShare {
    std::string_view channel;
    pg::NumericDatum weight;
    core::AllocationIdentity identity;
    core::Cents ratio; // share of the whole in hundred-thousandths
    core::Cents cents;
};

/// The rows of one tenant and model version that wait to be written.
struct Rows {
    core::Uuid tenant_id;
    std::string_view model_version; // not a copy
    MemoryContext memory;           // where the stream lives
    MemoryContext scratch;          // for one event at a time; empty between events
    TupleDesc columns;
    Tuplestorestate* store; // spills to disk past work_mem; nullptr: no row waits
};

/// A stored row, with the columns that allocate_event() returns, in its order.
struct StoredAllocation {
    core::Uuid tenant_id, id, event_id;
    std::string_view model_version, channel;
    std::optional<pg::NumericDatum> weight; // none where the allocation was imported
    std::optional<pg::NumericDatum> ratio;
    std::int64_t cents;
    std::optional<pg::JsonbDatum> metadata;
    pg::OptionalText correlation_id;
    pg::Timestamptz created_at, updated_at;

    using Columns =
        std::tuple<core::Uuid, core::Uuid, core::Uuid, std::string_view, std::string_view,
                   std::optional<pg::NumericDatum>, std::optional<pg::NumericDatum>, std::int64_t,
                   std::optional<pg::JsonbDatum>, pg::OptionalText, pg::Timestamptz,
                   pg::Timestamptz>;
};

/// The columns of a StoredAllocation in a statement where the table is called `a`.
#define STORED_ALLOCATION_COLUMNS                                                                  \
    "a.tenant_id, a.id, a.event_id, a.model_version, a.channel, a.weight, a.allocation_ratio, "    \
    "a.allocated_revenue_cents, a.model_metadata, a.correlation_id, a.created_at, a.updated_at"

/// Adds the row to the result of allocate_event().
void add_stored(const StoredAllocation& row, pg::ResultRows* result);

/// An empty stream in the current memory context.
Rows* start_rows(const core::Uuid& tenant_id, std::string_view model_version);

/// Adds the rows of a conversion: its revenue, split by the weights of the channels.
void add_conversion(Rows* rows, const Event& conversion, std::span<ChannelShare> shares,
                    std::span<const std::uint64_t> weights);
void add_conversion(Rows* rows, const Event& conversion, std::span<ChannelShare> shares,
                    std::span<const core::Decimal> weights);

/// Adds the rows of a refund: `cents`, which are below zero, are split by the cents that remain of
/// each channel and taken off them.
void add_refund(Rows* rows, const Event& refund, core::Cents cents, std::span<ChannelShare> shares,
                std::span<core::Cents> remaining);

/// Frees the rows that wait.
void discard_rows(Rows* rows);

/// Inserts the rows that wait and returns their number. A row whose key is stored already is an
/// error (23505), and so is one that a trigger does not let in (27000). `parents_are_locked`: the
/// events of the rows are locked, so their foreign key needs no check.
std::uint64_t write_rows(Rows* rows, bool parents_are_locked);

/// Inserts the rows that wait, adds them to `result` and returns true; or inserts nothing and
/// returns false when something keeps a row out, as a row that another session has stored does.
/// Then the rows still wait.
bool write_rows_unless_stored(Rows* rows, pg::ResultRows* result);

} // namespace attribution::entry
