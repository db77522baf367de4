// What a delivery of a provider says of money.
//
// The one idea: every topic of every provider comes down to the same few notices (a conversion, a
// refund, a refund whose money came back), each with a canonical key, so that whoever takes them in
// knows no provider.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/apportion.hpp"
#include "core/identity.hpp"
#include "core/json.hpp"

namespace attribution::core {

/// The longest key or channel of a notice, in bytes.
inline constexpr std::size_t longest_notice_text = 255;

enum class NoticeKind : std::uint8_t {
    conversion,
    refund,
    reversal, // the money of a refund came back
};

/// How a refund is announced. Stripe announces the same refund twice: by its own id, and as the sum
/// that is refunded of the charge so far. The amount of a refund by_sum is the difference to the
/// previous sum.
enum class Announced : std::uint8_t { once, by_id, by_sum };

/// One movement of money. A text that is empty is not there.
struct Notice {
    NoticeKind kind = NoticeKind::conversion;
    Announced announced = Announced::once;
    std::string_view external_event_id = {}; // its key; a conversion of Stripe has none
    std::string_view correlation_id = {};

    // The conversion that is refunded: by its external id, or by either of two correlation ids.
    std::string_view conversion_id = {};
    std::string_view conversion_correlation_id = {}, conversion_correlation_id_2 = {};

    // Of a reversal: the external id of the refund, or what it begins with when the conversion is
    // named by its external id and the refund need not be known.
    std::string_view refund_id = {};
    bool refund_must_be_known = true;

    Cents cents = 0; // above zero, also of a refund
    Cents sum = 0;   // of a refund by_sum: what is refunded in all
    bool sum_before_known =
        true; // of a refund by_sum: `cents` is the difference to the previous sum

    std::int64_t occurred_at_us = 0; // microseconds since 1970
    std::string_view channel = {};
    std::optional<Uuid> session_id = {};
    Json payload = {}; // the part of the payload it was read from; nowhere: all of it
};

} // namespace attribution::core
