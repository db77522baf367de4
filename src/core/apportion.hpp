// Splitting a whole number of cents by weights so that the parts add up to the whole.
//
// The one idea: Hamilton's largest remainder (A. Hamilton, 1792; Balinski & Young, "Fair
// Representation", 1982) on the absolute amount, the sign restored afterwards, in integers only.
// Each share starts at the floor of its exact value total * weight / sum(weights); the cents left
// over go one each to the largest remainders.
//
// Invariants (test/unit/apportion_test.cpp proves each against an independent rational oracle):
//   sum(shares) = total; each share is the floor or the ceiling of its exact value;
//   apportion(-x) = -apportion(x); weight 0 gets 0; only the ratios of the weights matter;
//   with tie keys the order of the input does not matter; equal weights differ by at most one cent;
//   a larger weight never gets less; the whole range of 64 bits works, -2^63 included.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <span>

namespace attribution::core {

using Cents = std::int64_t; // minor units of the tenant's currency

/// The most shares one call makes. More is Fault::limit_exceeded.
inline constexpr std::size_t max_shares = 1'000'000;

/// The most base-10000 digits that the weights of one call may take together when they are written
/// on one common scale (number of weights x digits from the largest first to the smallest last
/// place). More is Fault::limit_exceeded: it would need tens of megabytes outside work_mem.
inline constexpr std::size_t max_scaled_digits = std::size_t{1} << 24;

/// The most work those weights may be: number of weights x digits x digits, what writing them on
/// the common scale costs. Two weights at the two ends of PostgreSQL's numeric are within it; what
/// would take more than a second or two is not. More is Fault::limit_exceeded.
inline constexpr std::size_t max_scaled_work = std::size_t{1} << 34;

/// allocation_ratio is stored in hundred-thousandths: numeric(6,5).
inline constexpr Cents ratio_units = 100'000;

/// A number as PostgreSQL's numeric stores and sends it: an exact decimal in base 10000,
/// most significant digit first. value = sum(digits[i] * 10000^(first_exponent - i)).
struct Decimal {
    enum class Kind : std::uint8_t { finite, nan, infinity };

    std::span<const std::int16_t> digits; // each 0 .. 9999; empty is zero
    int first_exponent = 0;               // power of 10000 of digits[0]
    bool negative = false;
    Kind kind = Kind::finite;
};

/// Splits `total` by `weights` into `shares` (same length).
///
/// Cents left over go to the largest remainders; equal remainders are decided by the smaller tie
/// key, equal or absent tie keys (an empty span) by the lower index.
///
/// Throws Error: invalid_value for no weights, a negative or non-finite weight, or weights that are
/// all zero (even when total is 0: there is no exact share then); limit_exceeded past max_shares,
/// max_scaled_digits or max_scaled_work.
///
/// Spans of different length are a bug of the caller: std::logic_error.
///
/// O(n) on average, no allocation up to 32 weights whose common scale has at most four base-10000
/// digits.
void apportion(Cents total, std::span<const Decimal> weights,
               std::span<const std::uint64_t> tie_keys, std::span<Cents> shares);

/// The same for whole weights, the fast path (the cents left per channel, counts of touches, ...).
void apportion(Cents total, std::span<const std::uint64_t> weights,
               std::span<const std::uint64_t> tie_keys, std::span<Cents> shares);

/// Splits `total` into shares.size() equal parts; the first ones take the cents left over.
/// Throws as apportion does.
void split_equally(Cents total, std::span<Cents> shares);

/// True when both lists give every position the same exact fraction of the whole: 1,1 and 2,2 do.
/// Throws as apportion does; lists of different length never agree.
bool same_ratios(std::span<const Decimal> left, std::span<const Decimal> right);

} // namespace attribution::core
