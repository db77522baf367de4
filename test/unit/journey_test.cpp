// Proves what core/journey.hpp promises.
//
// The one idea: a second way to the same credit. The oracle walks over the touches of a journey one
// by one, in fractions per touch, and adds them up in a map under the names of their channels: it
// numbers no channels and asks no weigh().
#include "core/journey.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "json_text.hpp"
#include "random.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_rational;
using Journey = std::vector<JourneyTouch>;
using Credit = std::map<std::string, cpp_rational>; // std::map compares chars as bytes below 128

constexpr std::int64_t day_us = us_per_day;

Uuid id(std::uint8_t number) {
    Uuid id{};
    id[15] = number;
    return id;
}

struct Weighed {
    std::vector<std::string> channels;
    std::vector<std::uint64_t> weights;
    bool operator==(const Weighed&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Weighed& weighed) {
    for (std::size_t i = 0; i < weighed.channels.size(); ++i)
        out << (i == 0 ? "" : ", ") << weighed.channels[i] << ' ' << weighed.weights[i];
    return out;
}

Weighed weighed(const ModelDefinition& definition, std::int64_t converted_at_us, Journey journey) {
    ArenaMemory memory;
    const WeighedJourney result =
        weigh_journey(definition, converted_at_us, journey, memory.arena());
    return {.channels = {result.channels.begin(), result.channels.end()},
            .weights = {result.weights.begin(), result.weights.end()}};
}

ModelDefinition of(Method method) {
    ModelDefinition definition;
    definition.model.method = method;
    return definition;
}

// --- the oracle ----------------------------------------------------------------------------------

bool is_in(std::span<const std::string_view> list, std::string_view channel) {
    return std::find(list.begin(), list.end(), channel) != list.end();
}

cpp_rational custom_weight(const ModelDefinition& definition, std::string_view channel) {
    for (const ChannelWeight& entry : definition.channel_weights)
        if (entry.channel == channel)
            return entry.weight;
    return definition.default_weight;
}

/// What touch number `i` of a journey in order weighs, by doc/model.md; half-lives are a day and
/// touches are whole days apart.
cpp_rational touch_weight(const ModelDefinition& definition, const Journey& journey,
                          std::size_t i) {
    const std::size_t last = journey.size() - 1;
    const Position& position = definition.model.position;
    switch (definition.model.method) {
    case Method::first_touch:
        return i == 0 ? 1 : 0;
    case Method::last_touch:
        return i == last ? 1 : 0;
    case Method::last_non_direct: {
        std::size_t wanted = journey.size();
        while (wanted > 0 && is_in(definition.direct_channels, journey[wanted - 1].channel))
            --wanted;
        return i == (wanted == 0 ? last : wanted - 1) ? 1 : 0;
    }
    case Method::linear:
        return 1;
    case Method::position_based: // all parts above zero here
        if (last == 0)
            return 1;
        if (last == 1)
            return i == 0 ? position.first : position.last;
        return i == 0      ? cpp_rational(position.first)
               : i == last ? cpp_rational(position.last)
                           : cpp_rational(position.middle) / (last - 1);
    case Method::time_decay: {
        cpp_rational weight = 1;
        for (std::int64_t age = journey[last].occurred_at_us - journey[i].occurred_at_us; age > 0;
             age -= day_us)
            weight /= 2;
        return weight;
    }
    case Method::custom:
        return custom_weight(definition, journey[i].channel);
    }
    return 0;
}

/// The share of each channel that gets credit.
Credit shares_by_hand(const ModelDefinition& definition, Journey journey) {
    for (std::size_t i = 0; i < journey.size(); ++i) // the touches in order, by selection
        for (std::size_t j = i + 1; j < journey.size(); ++j)
            if (std::pair(journey[j].occurred_at_us, journey[j].id) <
                std::pair(journey[i].occurred_at_us, journey[i].id))
                std::swap(journey[i], journey[j]);
    Credit credit;
    cpp_rational sum = 0;
    for (std::size_t i = 0; i < journey.size(); ++i) {
        const cpp_rational weight = touch_weight(definition, journey, i);
        credit[std::string(journey[i].channel)] += weight;
        sum += weight;
    }
    if (sum == 0)
        return {{"unattributed", 1}};
    std::erase_if(credit, [](const auto& entry) { return entry.second == 0; });
    for (auto& [channel, share] : credit)
        share /= sum;
    return credit;
}

Credit shares_of(const Weighed& weighed) {
    cpp_rational sum = 0;
    for (const std::uint64_t weight : weighed.weights)
        sum += weight;
    Credit credit;
    for (std::size_t i = 0; i < weighed.channels.size(); ++i)
        credit[weighed.channels[i]] = weighed.weights[i] / sum;
    return credit;
}

// --- random journeys -----------------------------------------------------------------------------

constexpr std::array<std::string_view, 7> channels = {"direct",      "email", "Email", "e",
                                                      "paid search", "tv",    "\x7f"};

struct RandomModel {
    std::vector<std::string_view> direct;
    std::vector<ChannelWeight> weights;
    ModelDefinition definition;

    explicit RandomModel(Random& random) {
        definition.model.method = static_cast<Method>(random.below(7));
        definition.model.half_life_us = day_us;
        definition.model.position = {.first = static_cast<std::uint32_t>(1 + random.below(50)),
                                     .middle = static_cast<std::uint32_t>(1 + random.below(50)),
                                     .last = static_cast<std::uint32_t>(1 + random.below(50))};
        for (const std::string_view channel : channels) {
            if (random.one_in(3))
                direct.push_back(channel);
            if (random.one_in(3))
                weights.push_back({.channel = channel, .weight = random.below(3)});
        }
        std::sort(direct.begin(), direct.end());
        std::sort(weights.begin(), weights.end(),
                  [](const auto& a, const auto& b) { return a.channel < b.channel; });
        definition.direct_channels = direct;
        definition.channel_weights = weights;
        definition.default_weight = random.one_in(2) ? 0 : random.any_width(39);
    }
};

Journey random_journey(Random& random) {
    Journey journey(random.below(12));
    std::uint8_t number = 0;
    for (JourneyTouch& touch : journey)
        touch = {.channel = channels[random.below(channels.size())],
                 .occurred_at_us = -static_cast<std::int64_t>(random.below(8)) * day_us,
                 .id = id(++number)};
    for (std::size_t i = journey.size(); i > 1; --i)
        std::swap(journey[i - 1].id, journey[random.below(i)].id);
    return journey;
}

TEST(Journey, AgreesWithTouchesOneByOne) {
    Random random(7);
    int unattributed = 0;
    for (int i = 0; i < 30'000; ++i) {
        const RandomModel model(random);
        Journey journey = random_journey(random);
        const Weighed result = weighed(model.definition, 5, journey);
        ASSERT_EQ(shares_of(result), shares_by_hand(model.definition, journey)) << result;
        ASSERT_TRUE(std::is_sorted(result.channels.begin(), result.channels.end())) << result;
        ASSERT_EQ(std::count(result.weights.begin(), result.weights.end(), 0U), 0) << result;
        unattributed += result.channels.front() == "unattributed" ? 1 : 0;
        // In whatever order the touches were read.
        for (std::size_t n = journey.size(); n > 1; --n)
            std::swap(journey[n - 1], journey[random.below(n)]);
        ASSERT_EQ(weighed(model.definition, 5, journey), result);
    }
    EXPECT_GT(unattributed, 1'000);
}

// --- by hand -------------------------------------------------------------------------------------

TEST(Journey, WithoutCreditOneWholeIsUnattributed) {
    const Journey touched = {{.channel = "tv", .occurred_at_us = 0, .id = id(1)}};
    for (const auto& [method, unit] :
         std::vector<std::pair<Method, std::uint64_t>>{{Method::first_touch, 1},
                                                       {Method::last_touch, 1},
                                                       {Method::last_non_direct, 1},
                                                       {Method::linear, 1},
                                                       {Method::position_based, 1},
                                                       {Method::time_decay, 1'000'000'000'000},
                                                       {Method::custom, 1'000'000}})
        EXPECT_EQ(weighed(of(method), 9, {}),
                  (Weighed{.channels = {"unattributed"}, .weights = {unit}}));
    EXPECT_EQ(weighed(of(Method::custom), 9, touched),
              (Weighed{.channels = {"unattributed"}, .weights = {1'000'000}}));
    // A touch of that name is a channel like others.
    const Journey named = {{.channel = "unattributed", .occurred_at_us = 0, .id = id(1)}};
    EXPECT_EQ(weighed(of(Method::linear), 9, named),
              (Weighed{.channels = {"unattributed"}, .weights = {1}}));
}

TEST(Journey, TouchesOfOneMomentAreInTheOrderOfTheirIds) {
    const Journey journey = {{.channel = "b", .occurred_at_us = 3, .id = id(200)},
                             {.channel = "a", .occurred_at_us = 3, .id = id(100)},
                             {.channel = "c", .occurred_at_us = 3, .id = id(150)}};
    EXPECT_EQ(weighed(of(Method::first_touch), 3, journey).channels.front(), "a");
    EXPECT_EQ(weighed(of(Method::last_touch), 3, journey).channels.front(), "b");
}

TEST(Journey, ChannelsAreInTheOrderOfTheirBytes) {
    Journey journey;
    for (const std::string_view channel : {"\xc3\xa4rger", "a", "", "Z", "\xff", "ab"})
        journey.push_back({.channel = channel,
                           .occurred_at_us = 0,
                           .id = id(static_cast<std::uint8_t>(journey.size()))});
    EXPECT_EQ(weighed(of(Method::linear), 0, journey).channels,
              (std::vector<std::string>{"", "Z", "a", "ab", "\xc3\xa4rger", "\xff"}));
}

TEST(Journey, AgesAreBeforeTheConversion) {
    // The newest touch weighs one whole, however long before the conversion it was.
    const Journey journey = {{.channel = "a", .occurred_at_us = 0, .id = id(1)},
                             {.channel = "b", .occurred_at_us = 7 * day_us, .id = id(2)}};
    const Weighed expected = {.channels = {"a", "b"},
                              .weights = {500'000'000'000, 1'000'000'000'000}};
    EXPECT_EQ(weighed(of(Method::time_decay), 7 * day_us, journey), expected);
    EXPECT_EQ(weighed(of(Method::time_decay), 99 * day_us, journey), expected);
}

TEST(Journey, ExcludedChannels) {
    const std::vector<std::string_view> excluded = {"Email", "email", "tv"};
    ModelDefinition definition;
    EXPECT_FALSE(is_excluded(definition, "email"));
    definition.excluded_channels = excluded;
    for (const std::string_view channel : excluded)
        EXPECT_TRUE(is_excluded(definition, channel));
    for (const std::string_view channel : {"", "EMAIL", "emai", "emails", "zz"})
        EXPECT_FALSE(is_excluded(definition, channel));
}

TEST(Journey, TooManyTouchesAreRefused) {
    Journey journey(max_touches + 1, {.channel = "tv", .occurred_at_us = 0, .id = {}});
    ArenaMemory memory;
    try {
        weigh_journey(of(Method::linear), 0, journey, memory.arena());
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::limit_exceeded);
    }
    journey.pop_back();
    EXPECT_EQ(weighed(of(Method::linear), 0, journey),
              (Weighed{.channels = {"tv"}, .weights = {max_touches}}));
}

} // namespace
} // namespace attribution::core
