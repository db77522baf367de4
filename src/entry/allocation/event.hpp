// event: conversions and refunds as the allocation reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>

#include "pg/types.hpp"

namespace attribution::entry {

/// A conversion or refund as it is stored. Its text lives in the memory context it was read in.
struct Event {
    core::Uuid id;
    core::Cents revenue_cents;
    pg::Timestamptz occurred_at;
    std::optional<std::string_view> correlation_id;
    std::optional<core::Uuid> session_id;

    using Columns = std::tuple<core::Uuid, core::Cents, pg::Timestamptz,
                               std::optional<std::string_view>, std::optional<core::Uuid>>;
};

/// The event with a text of its own in the current memory context.
Event copied_event(Event event);

/// What other sessions cannot do with locked conversions until the transaction ends.
enum class LockAgainst : std::uint8_t {
    deletion, // delete them (FOR KEY SHARE, as a foreign-key check; others may hold it as well)
    refunds,  // delete them, or allocate their refunds (FOR NO KEY UPDATE)
};

/// Locks conversions, as the owner of the table and in the order given: sort the ids, so that
/// sessions wait for each other in turn. Returns the conversions as they are under the lock;
/// those that are gone by then are left out.
std::span<Event> lock_conversions(const core::Uuid& tenant_id, std::span<const core::Uuid> ids,
                                  LockAgainst against);

/// Raises 22023: the tenant, or an event of it, does not exist.
[[noreturn]] void raise_unknown_event(const core::Uuid& tenant_id, const core::Uuid& event_id);

} // namespace attribution::entry
