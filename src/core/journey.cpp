#include "core/journey.hpp"

#include <algorithm>
#include <numeric>

namespace attribution::core {
namespace {

bool contains(std::span<const std::string_view> sorted, std::string_view channel) {
    return std::binary_search(sorted.begin(), sorted.end(), channel);
}

std::uint64_t weight_of_channel(const ModelDefinition& definition, std::string_view channel) {
    const std::span<const ChannelWeight> weights = definition.channel_weights;
    const auto found = std::lower_bound(
        weights.begin(), weights.end(), channel,
        [](const ChannelWeight& entry, std::string_view wanted) { return entry.channel < wanted; });
    return found != weights.end() && found->channel == channel ? found->weight
                                                               : definition.default_weight;
}

/// Numbers the channels in the order of their bytes into `channels`, and says of each touch what
/// weigh() wants to know. The journey is sorted by (time, id). Returns the number of channels.
std::size_t number_channels(const ModelDefinition& definition, std::int64_t converted_at_us,
                            std::span<const JourneyTouch> journey,
                            std::span<std::uint32_t> by_channel, std::span<Touch> touches,
                            std::span<std::string_view> channels) {
    std::iota(by_channel.begin(), by_channel.end(), 0U);
    std::sort(by_channel.begin(), by_channel.end(), [&](std::uint32_t a, std::uint32_t b) {
        return journey[a].channel < journey[b].channel;
    });
    std::size_t count = 0;
    for (const std::uint32_t i : by_channel) {
        const std::string_view channel = journey[i].channel;
        if (count == 0 || channels[count - 1] != channel)
            channels[count++] = channel;
        touches[i] = {.channel = static_cast<std::uint32_t>(count - 1),
                      .is_direct = contains(definition.direct_channels, channel),
                      .age_us = converted_at_us - journey[i].occurred_at_us,
                      .custom_weight = weight_of_channel(definition, channel)};
    }
    return count;
}

std::uint64_t one_whole(Method method) {
    std::uint64_t unit = 1;
    for (int i = 0; i < weight_decimals(method); ++i)
        unit *= 10;
    return unit;
}

} // namespace

bool is_excluded(const ModelDefinition& definition, std::string_view channel) {
    return contains(definition.excluded_channels, channel);
}

WeighedJourney weigh_journey(const ModelDefinition& definition, std::int64_t converted_at_us,
                             std::span<JourneyTouch> journey, Arena arena) {
    std::sort(journey.begin(), journey.end(), [](const JourneyTouch& a, const JourneyTouch& b) {
        return a.occurred_at_us != b.occurred_at_us ? a.occurred_at_us < b.occurred_at_us
                                                    : a.id < b.id;
    });
    const auto touches = arena.make<Touch>(journey.size());
    // Room for one more channel: nothing may get credit.
    const auto channels = arena.make<std::string_view>(journey.size() + 1);
    const auto weights = arena.make<std::uint64_t>(journey.size() + 1);
    const std::size_t count =
        number_channels(definition, converted_at_us, journey,
                        arena.make<std::uint32_t>(journey.size()), touches, channels);
    weigh(definition.model, touches, weights.first(count));

    // A channel without credit gets no row.
    std::size_t credited = 0;
    for (std::size_t i = 0; i < count; ++i)
        if (weights[i] > 0) {
            channels[credited] = channels[i];
            weights[credited++] = weights[i];
        }
    if (credited == 0) {
        channels[0] = unattributed_channel;
        weights[0] = one_whole(definition.model.method);
        credited = 1;
    }
    return {.channels = channels.first(credited), .weights = weights.first(credited)};
}

} // namespace attribution::core
