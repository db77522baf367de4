#include "core/apportion.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <fmt/format.h>

#include "core/error.hpp"
#include "core/wide.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;

/// Room for a few values on the stack and for many on the heap: most conversions have a handful of
/// channels, and a malloc per event, or clearing what is about to be written, would cost more than
/// the arithmetic.
template <class Value>
class Scratch {
public:
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): left uninitialized, that is the point
    explicit Scratch(std::size_t count) {
        if (count > inline_count)
            heap_ =
                std::make_unique_for_overwrite<Value[]>(count); // NOLINT(modernize-avoid-c-arrays)
        values_ = {heap_ ? heap_.get() : inline_.data(), count};
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    std::span<Value> span() { return values_; }

private:
    static constexpr std::size_t inline_count = 32;
    std::array<Value, inline_count> inline_;
    std::unique_ptr<Value[]> heap_; // NOLINT(modernize-avoid-c-arrays)
    std::span<Value> values_;
};

std::uint64_t magnitude_of(Cents total) {
    const auto bits = static_cast<std::uint64_t>(total);
    return total < 0 ? std::uint64_t{0} - bits : bits; // right for -2^63 as well
}

Cents with_sign_of(Cents total, std::uint64_t magnitude) {
    return static_cast<Cents>(total < 0 ? std::uint64_t{0} - magnitude : magnitude);
}

void check_count(std::size_t count) {
    if (count == 0)
        throw Error(Fault::invalid_value, "no weights given", "There is nothing to allocate to.",
                    "Pass at least one positive weight.");
    if (count > max_shares)
        throw Error(Fault::limit_exceeded, "too many shares",
                    fmt::format("{} shares asked for, at most {} are allowed.", count, max_shares));
}

void check_lengths(std::size_t weights, std::size_t tie_keys, std::size_t shares) {
    ensure(shares == weights && (tie_keys == 0 || tie_keys == weights),
           "weights, tie keys and shares differ in number");
}

[[noreturn]] void throw_all_zero(std::size_t count) {
    throw Error(Fault::invalid_value, "all weights are zero",
                fmt::format("None of the {} weights is positive.", count),
                "At least one weight must be positive.");
}

/// Division of a product by the sum of the weights; the remainder replaces the product.
template <class Wide>
class Divisor {
public:
    explicit Divisor(const Wide& sum) : sum_(sum) {}

    std::uint64_t divide(Wide& product) const {
        const Wide quotient = product / sum_;
        product -= quotient * sum_;
        return static_cast<std::uint64_t>(quotient);
    }

private:
    const Wide& sum_;
};

/// In 64 bits one division serves all: it makes a reciprocal, floor((2^64 - 1) / sum).
/// product * reciprocal / 2^64 is below product / sum by less than 1, so its floor is the quotient
/// or one less, and the remainder tells which.
template <>
class Divisor<std::uint64_t> {
public:
    explicit Divisor(std::uint64_t sum)
        : sum_(sum), reciprocal_(std::numeric_limits<std::uint64_t>::max() / sum) {}

    std::uint64_t divide(std::uint64_t& product) const {
        auto quotient = static_cast<std::uint64_t>(Uint128{product} * reciprocal_ >> 64);
        product -= quotient * sum_;
        const bool one_less = product >= sum_;
        quotient += one_less ? 1 : 0;
        product -= one_less ? sum_ : 0;
        return quotient;
    }

private:
    std::uint64_t sum_;
    std::uint64_t reciprocal_;
};

/// What is left of one exact share after its floor: its claim to a cent.
/// Arrays of it are filled element by element, so it is not set to zero first.
template <class Wide>
struct Claim { // NOLINT(cppcoreguidelines-pro-type-member-init)
    Wide remainder;
    std::uint64_t tie_key;
    std::uint32_t index;
};

/// Adds one cent each to the magnitudes in `shares` that have the `left` best claims. The order is
/// total, since no two indexes are equal: which claims are best depends on no library.
template <class Wide>
void give_left(std::size_t left, std::span<Claim<Wide>> claims, std::span<Cents> shares) {
    const auto earns_first = [](const Claim<Wide>& a, const Claim<Wide>& b) {
        if (a.remainder != b.remainder)
            return a.remainder > b.remainder;
        if (a.tie_key != b.tie_key)
            return a.tie_key < b.tie_key;
        return a.index < b.index;
    };
    std::nth_element(claims.begin(), claims.begin() + static_cast<std::ptrdiff_t>(left),
                     claims.end(), earns_first);
    for (const Claim<Wide>& claim : claims.first(left)) {
        Cents& share = shares[claim.index];
        share = static_cast<Cents>(static_cast<std::uint64_t>(share) + 1); // may become 2^63
    }
}

/// Hamilton's rule on non-negative integers. `Wide` holds magnitude * weight and the sum of the
/// weights without overflow; the callers choose it so.
template <class Wide, class Weight>
void largest_remainder(std::uint64_t magnitude, std::span<const Weight> weights, const Wide& sum,
                       std::span<const std::uint64_t> tie_keys, Cents total,
                       std::span<Cents> shares) {
    const std::size_t count = weights.size();
    Scratch<Claim<Wide>> room(count);
    const std::span<Claim<Wide>> claims = room.span();
    const Divisor<Wide> divisor(sum);

    // The magnitudes are gathered in `shares`, modulo 2^64.
    std::uint64_t given = 0;
    for (std::size_t i = 0; i < count; ++i) {
        Claim<Wide>& claim = claims[i];
        claim.remainder = Wide(magnitude) * Wide(weights[i]);
        claim.tie_key = tie_keys.empty() ? 0 : tie_keys[i];
        claim.index = static_cast<std::uint32_t>(i);
        const std::uint64_t floor = divisor.divide(claim.remainder);
        shares[i] = static_cast<Cents>(floor);
        given += floor;
    }

    // The remainders add up to left * sum and each is below sum: fewer than `count` cents are left,
    // and every one of them goes to a positive remainder, so weight 0 stays at 0.
    const auto left = static_cast<std::size_t>(magnitude - given);
    ensure(left < count, "more cents left over than weights");
    if (left > 0)
        give_left(left, claims, shares);
    if (total < 0)
        for (Cents& share : shares)
            share = with_sign_of(total, static_cast<std::uint64_t>(share));
}

/// The powers of 10000 that a list of weights spans, and whether it may be used at all.
struct Scale {
    std::int64_t highest = 0; // exponent of the first place of the largest weight
    std::int64_t lowest = 0;  // exponent of the last place that is not zero in any weight
    [[nodiscard]] std::size_t width() const {
        return static_cast<std::size_t>(highest - lowest) + 1;
    }
};

std::size_t significant_digits(const Decimal& weight) {
    std::size_t count = weight.digits.size();
    while (count > 0 && weight.digits[count - 1] == 0)
        --count;
    return count;
}

Scale common_scale(std::span<const Decimal> weights) {
    check_count(weights.size());
    std::optional<Scale> scale;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const Decimal& weight = weights[i];
        if (weight.kind != Decimal::Kind::finite)
            throw Error(Fault::invalid_value, "weight is not a finite number",
                        fmt::format("Weight {} is {}.", i + 1,
                                    weight.kind == Decimal::Kind::nan ? "NaN" : "infinite"),
                        "Weights must be finite and not negative.");
        const std::size_t count = significant_digits(weight);
        if (count == 0)
            continue; // zero, of whatever sign
        if (weight.negative)
            throw Error(Fault::invalid_value, "weight is negative",
                        fmt::format("Weight {} is below zero.", i + 1),
                        "Weights must be finite and not negative.");
        const std::int64_t highest = weight.first_exponent;
        const std::int64_t lowest = highest - static_cast<std::int64_t>(count) + 1;
        if (!scale)
            scale = Scale{highest, lowest};
        scale->highest = std::max(scale->highest, highest);
        scale->lowest = std::min(scale->lowest, lowest);
    }
    if (!scale)
        throw_all_zero(weights.size());
    const std::size_t width = scale->width();
    if (width > max_scaled_digits / weights.size() ||
        width > max_scaled_work / weights.size() / width)
        throw Error(Fault::limit_exceeded, "weights are too far apart or too long",
                    fmt::format("{} weights need {} digits each on a common scale.", weights.size(),
                                width * 4),
                    "Round the weights to fewer digits or pass fewer of them.");
    return *scale;
}

/// The weight in units of 10000^scale.lowest.
std::uint64_t scaled(const Decimal& weight, const Scale& scale) {
    const std::size_t count = significant_digits(weight);
    std::uint64_t value = 0;
    for (const std::int16_t digit : weight.digits.first(count))
        value = value * 10000U + static_cast<std::uint64_t>(digit);
    if (count > 0)
        for (std::int64_t place = weight.first_exponent - static_cast<std::int64_t>(count) + 1;
             place > scale.lowest; --place)
            value *= 10000U;
    return value;
}

cpp_int scaled_wide(const Decimal& weight, const Scale& scale) {
    // Four digits at a step: a product with the growing value costs as much for one.
    constexpr std::size_t step = 4;
    const std::size_t count = significant_digits(weight);
    cpp_int value = 0;
    if (count == 0)
        return value;
    for (std::size_t i = 0; i < count; i += step) {
        std::uint64_t chunk = 0;
        std::uint64_t factor = 1;
        for (const std::int16_t digit : weight.digits.subspan(i, std::min(step, count - i))) {
            chunk = chunk * 10000U + static_cast<std::uint64_t>(digit);
            factor *= 10000U;
        }
        value *= factor;
        value += chunk;
    }
    const std::int64_t shift =
        weight.first_exponent - static_cast<std::int64_t>(count) + 1 - scale.lowest;
    return value * boost::multiprecision::pow(cpp_int(10000), static_cast<unsigned>(shift));
}

std::vector<cpp_int> scaled_wide(std::span<const Decimal> weights, const Scale& scale) {
    std::vector<cpp_int> wide;
    wide.reserve(weights.size());
    for (const Decimal& weight : weights)
        wide.push_back(scaled_wide(weight, scale));
    return wide;
}

} // namespace

void apportion(Cents total, std::span<const std::uint64_t> weights,
               std::span<const std::uint64_t> tie_keys, std::span<Cents> shares) {
    check_lengths(weights.size(), tie_keys.size(), shares.size());
    check_count(weights.size());

    Uint128 sum = 0;
    std::uint64_t largest = 0;
    for (const std::uint64_t weight : weights) {
        sum += weight;
        largest = std::max(largest, weight);
    }
    if (sum == 0)
        throw_all_zero(weights.size());

    const std::uint64_t magnitude = magnitude_of(total);
    const bool fits_64_bits = std::bit_width(magnitude) + std::bit_width(largest) <= 64 &&
                              sum <= std::numeric_limits<std::uint64_t>::max();
    if (fits_64_bits)
        largest_remainder<std::uint64_t>(magnitude, weights, static_cast<std::uint64_t>(sum),
                                         tie_keys, total, shares);
    else
        largest_remainder<Uint128>(magnitude, weights, sum, tie_keys, total, shares);
}

void apportion(Cents total, std::span<const Decimal> weights,
               std::span<const std::uint64_t> tie_keys, std::span<Cents> shares) {
    check_lengths(weights.size(), tie_keys.size(), shares.size());
    const Scale scale = common_scale(weights);

    constexpr std::size_t digits_in_64_bits = 4; // 10000^4 = 10^16 < 2^64
    if (scale.width() <= digits_in_64_bits) {
        Scratch<std::uint64_t> room(weights.size());
        for (std::size_t i = 0; i < weights.size(); ++i)
            room.span()[i] = scaled(weights[i], scale);
        apportion(total, std::span<const std::uint64_t>(room.span()), tie_keys, shares);
        return;
    }
    const std::vector<cpp_int> wide = scaled_wide(weights, scale);
    const cpp_int sum = std::accumulate(wide.begin(), wide.end(), cpp_int(0));
    largest_remainder<cpp_int, cpp_int>(magnitude_of(total), wide, sum, tie_keys, total, shares);
}

void split_equally(Cents total, std::span<Cents> shares) {
    check_count(shares.size());
    const std::uint64_t magnitude = magnitude_of(total);
    const std::uint64_t each = magnitude / shares.size();
    const std::uint64_t left = magnitude % shares.size();
    for (std::size_t i = 0; i < shares.size(); ++i)
        shares[i] = with_sign_of(total, each + (i < left ? 1 : 0));
}

bool same_ratios(std::span<const Decimal> left, std::span<const Decimal> right) {
    const std::vector<cpp_int> a = scaled_wide(left, common_scale(left));
    const std::vector<cpp_int> b = scaled_wide(right, common_scale(right));
    if (a.size() != b.size())
        return false;
    // a[i] / sum(a) = b[i] / sum(b) without dividing.
    const cpp_int sum_a = std::accumulate(a.begin(), a.end(), cpp_int(0));
    const cpp_int sum_b = std::accumulate(b.begin(), b.end(), cpp_int(0));
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] * sum_b != b[i] * sum_a)
            return false;
    return true;
}

} // namespace attribution::core
