// allocation: what one event's allocation is made of, and how it is written.
//
// The one idea: conversions and refunds end alike, as parts (channel, weight, cents) that go into
// one stream of rows, and one INSERT writes the stream, be it one event or a thousand.
//
//     conversion   touches of its journey -> weights by the model -> parts
//                  or weights from the caller                     -> parts
//     refund       cents that are left per channel                -> parts
//
// A refund needs to know what the refunds before it have left, so whoever allocates refunds first
// locks their conversion (lock_conversions) and looks afterwards.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "entry/allocation/model.hpp"

#include "pg/postgres.hpp"

namespace attribution::entry {

/// The most channels that one event may be allocated to.
inline constexpr std::size_t max_channels = 10'000;

/// A conversion or refund as it is stored; Datums live in the memory context it was read in.
struct Event {
    Datum id;
    core::Cents revenue_cents;
    TimestampTz occurred_at;
    Datum correlation_id, session_id;
    bool has_correlation_id, has_session_id;
};

/// A channel and what it weighs, from the caller.
struct GivenWeight {
    std::string_view channel;
    Datum datum; // numeric
    core::Decimal weight;
};

/// The rows of one tenant and model version that wait to be written.
struct Rows {
    Datum tenant_id, model_version;
    MemoryContext memory;  // where the stream lives
    MemoryContext scratch; // for one event at a time
    TupleDesc columns;
    Tuplestorestate* store; // spills to disk past work_mem; nullptr: no row waits
    Rows* next;             // in the list of all streams
    MemoryContextCallback forget;
};

/// An empty stream in the current memory context.
Rows* start_rows(Datum tenant_id, Datum model_version);

/// Forgets what waits.
void discard_rows(Rows* rows);

/// Inserts what waits and returns the number of rows. A row whose key is stored is an error
/// (23505). `parents_are_locked`: the events of the rows are locked, so their foreign key needs no
/// check.
std::uint64_t write_rows(Rows* rows, bool parents_are_locked);

/// Raises 27000: of the rows that were to be inserted some were not.
[[noreturn]] void raise_turned_away(std::uint64_t expected, std::uint64_t inserted);

/// Inserts what waits, or nothing when a row's key is stored; true when inserted. Then the rows are
/// the last result: channel, weight, whole row.
bool write_rows_unless_stored(Rows* rows);

/// Adds a conversion by weights from the caller, which are in the order of the channels' bytes.
void add_by_weights(Rows* rows, const Event& event, std::span<const GivenWeight> weights);

/// Adds conversions by the model, from the touches of their journeys.
void add_by_model(Rows* rows, const ModelDefinition& definition, std::span<const Event> events);

/// Locks conversions until the transaction ends, as the owner of the table and in the order given:
/// sorted by id, so that sessions wait for each other in turn.
///     deletion  the lock of a foreign-key check: others may hold it too
///     refunds   and against whoever else takes refunds of them
enum class LockAgainst { deletion, refunds };

/// Returns the conversions as they are under the lock; what is gone by then is left out.
std::span<Event> lock_conversions(Datum tenant_id, std::span<const Datum> ids, LockAgainst against);

/// True when some refund of the conversions is not allocated.
bool refunds_wait(const Rows& rows, std::span<const Datum> conversion_ids);

/// Allocates refunds of locked conversions that are not allocated yet, in the order of their time,
/// from what is left per channel, and writes them: all, or only the next one of each conversion.
/// A conversion without allocations under the model version keeps its refunds waiting. `current`
/// is the refund at work, for whoever reports a failure. Returns the number of refunds; the number
/// of rows is added to `row_count`.
std::uint64_t allocate_refunds(Rows* rows, std::span<const Datum> conversion_ids, bool only_next,
                               pg_uuid_t* current, std::uint64_t* row_count);

/// A table of the extension by name.
Oid own_table(const char* name);

/// A uuid[] of the ids, palloc'd.
Datum uuid_array(std::span<const Datum> ids);

} // namespace attribution::entry
