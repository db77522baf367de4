#include "core/explain.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <fmt/format.h>

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;

/// One share of the absolute amount: quotient and rest of magnitude * weight / sum(weights).
struct Share {
    std::uint64_t floor = 0;
    cpp_int rest; // in units of 1/sum(weights)
    std::size_t rank = 0;
};

/// The power of 10000 after the last digit that is not zero in any weight.
std::int64_t lowest_exponent(std::span<const Decimal> weights) {
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    for (const Decimal& weight : weights)
        for (std::size_t i = 0; i < weight.digits.size(); ++i)
            if (weight.digits[i] != 0)
                lowest = std::min(lowest, weight.first_exponent - static_cast<std::int64_t>(i));
    return lowest;
}

/// The weight in units of 10000^lowest.
cpp_int scaled(const Decimal& weight, std::int64_t lowest) {
    // Four digits at a step: a product with the growing value costs as much for one.
    constexpr std::int64_t step = 4;
    constexpr std::uint64_t base = 10000;
    const std::int64_t above = std::int64_t{weight.first_exponent} - lowest + 1;
    const auto count = std::min(static_cast<std::int64_t>(weight.digits.size()), above);
    cpp_int value = 0;
    for (std::int64_t i = 0; i < count; i += step) { // what follows is zeros
        std::uint64_t chunk = 0;
        std::uint64_t factor = 1;
        for (std::int64_t k = i; k < std::min(i + step, count); ++k) {
            chunk = chunk * base +
                    static_cast<std::uint64_t>(weight.digits[static_cast<std::size_t>(k)]);
            factor *= base;
        }
        value *= factor;
        value += chunk;
    }
    if (value == 0)
        return value; // its exponent means nothing
    return value * boost::multiprecision::pow(cpp_int(base), static_cast<unsigned>(above - count));
}

std::vector<cpp_int> scaled(std::span<const Decimal> weights) {
    const std::int64_t lowest = lowest_exponent(weights);
    std::vector<cpp_int> values;
    values.reserve(weights.size());
    for (const Decimal& weight : weights)
        values.push_back(scaled(weight, lowest));
    return values;
}

std::string fraction(const cpp_int& numerator, const cpp_int& denominator) {
    if (denominator == 1)
        return numerator.str();
    return fmt::format("{}/{}", numerator.str(), denominator.str());
}

/// Ranks all shares: larger rest, then smaller tie key, then lower index first.
void rank(std::span<Share> shares, std::span<const std::uint64_t> tie_keys) {
    std::vector<std::size_t> order(shares.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const int compared = shares[a].rest.compare(shares[b].rest);
        if (compared != 0)
            return compared > 0;
        if (!tie_keys.empty() && tie_keys[a] != tie_keys[b])
            return tie_keys[a] < tie_keys[b];
        return a < b;
    });
    for (std::size_t place = 0; place < order.size(); ++place)
        shares[order[place]].rank = place + 1;
}

} // namespace

void explain(Cents total, std::span<const Decimal> weights, std::span<const std::uint64_t> tie_keys,
             const std::function<void(const Explanation&)>& take) {
    // Its checks are the checks of this function, and its result is what there is to explain.
    std::vector<Cents> cents(weights.size());
    apportion(total, weights, tie_keys, cents);

    const std::vector<cpp_int> scaled_weights = scaled(weights);
    const cpp_int sum = std::accumulate(scaled_weights.begin(), scaled_weights.end(), cpp_int(0));
    const bool negative = total < 0;
    const cpp_int magnitude = negative ? cpp_int(-cpp_int(total)) : cpp_int(total);

    std::vector<Share> shares(weights.size());
    cpp_int left = magnitude;
    for (std::size_t i = 0; i < shares.size(); ++i) {
        cpp_int quotient;
        divide_qr(cpp_int(magnitude * scaled_weights[i]), sum, quotient, shares[i].rest);
        shares[i].floor = static_cast<std::uint64_t>(quotient);
        left -= quotient;
    }
    rank(shares, tie_keys);

    for (std::size_t i = 0; i < shares.size(); ++i) {
        const Share& share = shares[i];
        // gcd(rest, sum) is gcd(magnitude * weight, sum): the fractions have one denominator.
        const cpp_int divisor = gcd(share.rest, sum);
        const cpp_int denominator = sum / divisor;
        const cpp_int remainder = share.rest / divisor;
        const cpp_int numerator = share.floor * denominator + remainder;
        const cpp_int earned = cpp_int(share.floor) + (share.rank <= left ? 1 : 0);
        if ((negative ? cpp_int(-earned) : earned) != cents[i])
            throw std::logic_error("explanation and allocation differ");
        const cpp_int floor = negative ? cpp_int(-cpp_int(share.floor)) : cpp_int(share.floor);
        take({.exact_share = fraction(negative ? cpp_int(-numerator) : numerator, denominator),
              .floor = static_cast<Cents>(floor),
              .remainder = fraction(remainder, denominator),
              .rank = share.rank,
              .cents = cents[i]});
    }
}

} // namespace attribution::core
