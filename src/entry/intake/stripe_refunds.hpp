// stripe_refunds: refunds that Stripe announces in two ways, and refunds whose money came back.
//
// The one idea: Stripe announces a refund by its own id (stripe:refund:RE), and as a part of the
// sum that is refunded of a charge (stripe:refunded:CH:SUM). Both are one event with two keys: the
// key that came first is the event's, the other one is an alias of it. Only the amounts show which
// announcements belong together, so refunds of the same amount are interchangeable. The functions
// here are called under the lock of the conversion.
//
// A refund whose money came back, of Stripe or another provider, is a conversion of its own, a
// returned one, which can be refunded again. Below, the refunds of a conversion include those of
// its returned conversions.
#pragma once

#include <optional>
#include <string_view>

#include "entry/intake/ingest.hpp"

namespace attribution::entry {

/// What the keys of refunds by id, and of refunds by sum, begin with.
inline constexpr std::string_view refund_by_id = "stripe:refund:";
inline constexpr std::string_view refund_by_sum = "stripe:refunded:";

/// A refund that is stored: its id, and its amount below zero.
struct StoredRefund {
    using Columns = std::tuple<core::Uuid, core::Cents>;
    core::Uuid id;
    core::Cents revenue_cents;
};

/// The refund that has the alias.
std::optional<StoredRefund> find_alias(const core::Uuid& tenant_id, std::string_view key);

/// Gives an event another key. Raises 40001 when the transaction does not see the event yet.
void add_alias(const core::Uuid& tenant_id, std::string_view key, const core::Uuid& event_id);

/// The first refund of the conversion with this amount, above zero, whose key begins with `prefix`
/// and that was announced in that way only.
std::optional<core::Uuid> find_announced_once(const core::Uuid& tenant_id,
                                              const core::Uuid& conversion_id, core::Cents cents,
                                              std::string_view prefix);

/// The sum of the refunds of Stripe that are stored for a conversion.
struct RefundedSum {
    using Columns = std::tuple<core::Cents, core::Uuid>;
    core::Cents cents; // of those that did not fail; above zero
    core::Uuid last_refund_id;
};
std::optional<RefundedSum> find_refunded_sum(const core::Uuid& tenant_id,
                                             const core::Uuid& conversion_id);

/// The returned conversion that a refund of the conversion takes from: the one it is stored for,
/// else the first one that has enough left.
std::optional<core::Uuid> find_returned_conversion(const NewEvent& refund,
                                                   const core::Uuid& conversion_id);

/// True when the announcement of a refund of Stripe that succeeded waits as a dead event.
/// Announcements that the refund failed do not count.
bool is_refund_dead(const core::Uuid& tenant_id, std::string_view refund_key);

} // namespace attribution::entry
