#include "core/refund.hpp"

#include <cstddef>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/wide.hpp"

namespace attribution::core {
namespace {

Uint128 sum_of(std::span<const Cents> remaining) {
    Uint128 sum = 0;
    for (std::size_t i = 0; i < remaining.size(); ++i) {
        if (remaining[i] < 0)
            throw Error(Fault::invalid_value, "a channel has less than nothing left",
                        fmt::format("Channel {} has {} cents left.", i + 1, remaining[i]),
                        "Take refunds from what earlier refunds have left, in their order.");
        sum += static_cast<std::uint64_t>(remaining[i]);
    }
    return sum;
}

void check(Cents refund, std::span<const Cents> remaining) {
    if (refund >= 0)
        throw Error(Fault::invalid_value, "a refund must be below zero",
                    fmt::format("The refund is {} cents.", refund), "Pass it with a minus sign.");
    const Uint128 sum = sum_of(remaining);
    if (Uint128{0} - static_cast<Uint128>(refund) > sum)
        throw Error(Fault::invalid_value, "refund is more than is left",
                    fmt::format("The refund is {} cents, {} are left.", refund, sum),
                    "Refunds of a conversion may add up to its revenue at most.");
}

/// The same cents as weights: a signed integer may be read as the unsigned one of its size.
std::span<const std::uint64_t> as_weights(std::span<const Cents> cents) {
    return {reinterpret_cast<const std::uint64_t*>(cents.data()), cents.size()};
}

} // namespace

void take_back(Cents refund, std::span<Cents> remaining, std::span<const std::uint64_t> tie_keys,
               std::span<Cents> shares) {
    check(refund, remaining);
    apportion(refund, as_weights(remaining), tie_keys, shares);
    for (std::size_t i = 0; i < shares.size(); ++i)
        ensure(shares[i] <= 0 && remaining[i] + shares[i] >= 0,
               "a refund left a channel below zero");
    for (std::size_t i = 0; i < shares.size(); ++i)
        remaining[i] += shares[i];
}

} // namespace attribution::core
