// Taking a refund back from the channels that got the sale.
//
// The one idea: split each refund by what is left per channel, not by the weights of the sale. A
// refund r of the R cents left takes at most ceil(r * w / R) from a channel with w cents left, and
// r <= R implies r * w / R <= w, which is whole: no channel ever goes below zero, and the refund
// that takes all leaves zero everywhere, whatever the sequence of partial refunds was.
//
// Splitting each refund by the weights of the sale is wrong in most sequences: the roundings add up
// to a cent more than a channel ever got (test/unit/refund_test.cpp counts them).
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstdint>
#include <span>

#include "core/apportion.hpp"

namespace attribution::core {

/// Splits `refund` (below zero) by the cents `remaining` per channel (none below zero) into
/// `shares` (none above zero) as apportion() does, and takes them off `remaining`. The sum of what
/// remains may be more than 64 bits hold.
///
/// `tie_keys` decide equal remainders as in apportion(), by the lower index when empty.
///
/// Throws Error: invalid_value for a refund that is not below zero, a channel that has less than
/// nothing left, or a refund of more than is left; limit_exceeded past max_shares. Spans of
/// different length are a bug of the caller: std::logic_error. Then nothing is changed.
void take_back(Cents refund, std::span<Cents> remaining, std::span<const std::uint64_t> tie_keys,
               std::span<Cents> shares);

} // namespace attribution::core
