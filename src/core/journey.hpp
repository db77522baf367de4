// The journey of one conversion: from the touches that count to the channels that get credit.
//
// The one idea: weigh() knows touches by the number of their channel; a journey knows channels by
// their names. So the touches are put in the order of (time, id), their channels are numbered in
// the order of their bytes, and what weigh() gives comes back under the names.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/arena.hpp"
#include "core/definition.hpp"
#include "core/identity.hpp"

namespace attribution::core {

/// The channel of a conversion that no touch gets credit for.
inline constexpr std::string_view unattributed_channel = "unattributed";

/// A touch of a journey as it was read. Times are in microseconds since any moment, the same one
/// for all.
struct JourneyTouch {
    std::string_view channel;
    std::int64_t occurred_at_us;
    Uuid id;
};

/// Whether the model leaves out touches of the channel, as if they were not there.
bool is_excluded(const ModelDefinition& definition, std::string_view channel);

/// What weighing a journey gives: the channels that get credit, in the order of their bytes, and
/// what each weighs, above 0, in units of 10^-weight_decimals(method).
struct WeighedJourney {
    std::span<const std::string_view> channels;
    std::span<const std::uint64_t> weights;
};

/// Weighs the touches of a journey, which it sorts, by the model. Where no channel gets credit the
/// only one is unattributed_channel, which weighs one whole. The result is in the arena, its texts
/// are those of the journey.
///
/// The touches are those that count: not excluded, in the lookback window, and none later than
/// `converted_at_us`. Throws Error: limit_exceeded past max_touches.
WeighedJourney weigh_journey(const ModelDefinition& definition, std::int64_t converted_at_us,
                             std::span<JourneyTouch> journey, Arena arena);

} // namespace attribution::core
