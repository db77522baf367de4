// What the payloads of webhooks say, read exactly: amounts, times, query strings.
//
// The one idea: text in, integers out, and whatever is not plainly one of the forms below is said
// to be so instead of being guessed at. Nothing passes through floating point, a locale or a clock.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/apportion.hpp"

namespace attribution::core {

enum class AmountFault : std::uint8_t {
    none,
    malformed,         // not [-]digits[.digits]
    too_many_decimals, // a digit other than 0 below the minor unit
    out_of_range,      // more than 64 bits hold
};

struct Amount {
    Cents cents = 0;
    AmountFault fault = AmountFault::none;
};

/// The amount `text` * 10^-`scale` in minor units of a currency with `decimals` decimals: exact, or
/// a fault. Zeros below the minor unit are no fault: "10.00" is 10 yen. `scale` is what the sender
/// counts in: 0 for units of the currency, 2 for hundredths of it.
Amount parse_amount(std::string_view text, int decimals, int scale = 0) noexcept;

/// Microseconds since 1970 of an RFC 3339 time, 1970 to 9999: "2026-03-01T12:00:00[.123456]" and
/// "Z" or an offset such as "-05:00" or "-0500"; a blank may stand for the T. Without an offset
/// only where `assume_utc`. Digits below the microsecond are cut off; second 60 is the next one.
std::optional<std::int64_t> parse_time(std::string_view text, bool assume_utc) noexcept;

/// The value of the first parameter `name` in a query string, or in the query of a URL; decoded
/// ("%20" and "+" are blanks) into `buffer`. Nothing when it is not there, is empty or has no room.
/// The bytes may be any: whether they are text in some encoding is the caller's to check.
std::optional<std::string_view> query_parameter(std::string_view url, std::string_view name,
                                                std::span<char> buffer) noexcept;

/// Whether the bytes are text in UTF-8 that a database can store: valid, and without a NUL.
bool is_utf8(std::string_view text) noexcept;

} // namespace attribution::core
