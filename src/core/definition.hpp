// The definition of a model version, read from a method and its parameters.
//
// The one idea: parameters are checked strictly, and once, when the model version is defined. A
// misspelt key that was ignored would give credit in another way than was meant, silently and for
// ever. Numbers are read from their decimal digits, so a weight of 0.1 is a tenth.
//
// The methods and parameters are listed in doc/model.md.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.hpp"
#include "core/json.hpp"
#include "core/model.hpp"

namespace attribution::core {

/// The most channels that one parameter may list.
inline constexpr std::size_t max_listed_channels = 1'000;

/// The longest time that a parameter may give, in days of 24 hours.
inline constexpr std::int64_t max_days = 36'500;

inline constexpr std::int64_t us_per_day = std::int64_t{24} * 3600 * 1'000'000;

/// What a channel weighs in a model.
struct ChannelWeight {
    std::string_view channel;
    std::uint64_t weight = 0; // millionths
};

/// A model version as the allocation uses it. Lists are sorted by the bytes of the channels.
struct ModelDefinition {
    Model model;
    std::int64_t lookback_us =
        30 * us_per_day; // from the oldest touch that counts to the conversion
    std::span<const std::string_view> excluded_channels;
    std::span<const std::string_view> direct_channels;
    std::span<const ChannelWeight> channel_weights;
    std::uint64_t default_weight = 0; // millionths, of channels that have no weight of their own
    bool weights_come_from_caller = false; // custom without parameters
};

/// Reads and checks a definition, whose lists are put into the arena; its texts are those of the
/// parameters. The keys of an object are different from each other, as in jsonb.
///
/// Throws Error: invalid_value for an unknown method, parameters that are no object, a parameter
/// that the method does not have, or a value that the parameter cannot have.
ModelDefinition read_definition(std::string_view method, Json parameters, Arena arena);

/// What one whole weight of weigh() stands for, as a power of ten: 10^-6 for custom, 10^-12 for
/// time_decay, 1 otherwise. Stored weights are divided by it.
int weight_decimals(Method method) noexcept;

} // namespace attribution::core
