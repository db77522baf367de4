// Proves what core/definition.hpp promises: numbers against exact fractions, everything else, and
// each way of being wrong, by hand.
#include "core/definition.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "json_text.hpp"
#include "random.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;
using Channels = std::vector<std::string_view>;

/// A definition with all that it points to.
struct Read {
    JsonText parameters;
    ArenaMemory memory;
    ModelDefinition definition;

    Read(std::string_view method, std::string text)
        : parameters(std::move(text)),
          definition(read_definition(method, parameters.root(), memory.arena())) {}
};

struct Texts {
    std::string message, detail, hint;
    bool operator==(const Texts&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Texts& texts) {
    return out << texts.message << " | " << texts.detail << " | " << texts.hint;
}

/// The texts of the error; empty when there is none.
Texts refusal(std::string_view method, const std::string& parameters) {
    try {
        const Read read(method, parameters);
        return {};
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::invalid_value);
        return {error.what(), error.detail(), error.hint()};
    }
}

Texts bad_parameter(const std::string& key, const std::string& detail, const std::string& hint) {
    return {"invalid model parameter \"" + key + "\"", detail, hint};
}

Channels list(std::span<const std::string_view> channels) {
    return {channels.begin(), channels.end()};
}

/// Lists `count` channels, as an array or, with a value each, as an object.
std::string listed(std::size_t count, bool is_object) {
    std::string text = is_object ? "{" : "[";
    for (std::size_t i = 0; i < count; ++i)
        text += (i == 0 ? "\"c" : ", \"c") + std::to_string(i) + (is_object ? "\": 1" : "\"");
    return text + (is_object ? "}" : "]");
}

// --- what is read --------------------------------------------------------------------------------

TEST(Definition, Methods) {
    const std::vector<std::pair<std::string_view, Method>> methods = {
        {"first_touch", Method::first_touch},
        {"last_touch", Method::last_touch},
        {"last_non_direct", Method::last_non_direct},
        {"linear", Method::linear},
        {"position_based", Method::position_based},
        {"time_decay", Method::time_decay},
        {"custom", Method::custom}};
    for (const auto& [name, method] : methods)
        EXPECT_EQ(Read(name, "{}").definition.model.method, method) << name;
    for (const std::string name : {"", "Linear", "linear ", "first", "custom\n"})
        EXPECT_EQ(refusal(name, "{}"),
                  (Texts{"unknown method \"" + name + "\"", "",
                         "The method is one of first_touch, last_touch, last_non_direct, linear, "
                         "position_based, time_decay, custom."}));
}

TEST(Definition, WhatIsUsual) {
    const Read read("last_non_direct", "{}");
    EXPECT_EQ(read.definition.lookback_us, std::int64_t{30} * 86'400 * 1'000'000);
    EXPECT_EQ(list(read.definition.excluded_channels), Channels{});
    EXPECT_EQ(list(read.definition.direct_channels), Channels{"direct"});
    EXPECT_TRUE(read.definition.channel_weights.empty());
    EXPECT_EQ(read.definition.default_weight, 0U);
    EXPECT_FALSE(read.definition.weights_come_from_caller);
    const Model model = Read("time_decay", "{}").definition.model;
    EXPECT_EQ(model.half_life_us, std::int64_t{7} * 86'400 * 1'000'000);
    const Position position = Read("position_based", "{}").definition.model.position;
    EXPECT_EQ(position.first, 40U);
    EXPECT_EQ(position.middle, 20U);
    EXPECT_EQ(position.last, 40U);
}

TEST(Definition, Parameters) {
    const Read linear(
        "linear", R"({"lookback_days": 0.000001, "exclude_channels": ["b", "a", "B", "ä", "b"]})");
    EXPECT_EQ(linear.definition.lookback_us, 86'400);
    EXPECT_EQ(list(linear.definition.excluded_channels), (Channels{"B", "a", "b", "b", "ä"}));

    const Read direct("last_non_direct", R"({"direct_channels": []})");
    EXPECT_TRUE(direct.definition.direct_channels.empty());

    const Read position("position_based",
                        R"({"position_weights": {"last": 1000000, "first": 0, "middle": 7.0}})");
    EXPECT_EQ(position.definition.model.position.first, 0U);
    EXPECT_EQ(position.definition.model.position.middle, 7U);
    EXPECT_EQ(position.definition.model.position.last, 1'000'000U);

    const Read decay("time_decay", R"({"half_life_days": 36500})");
    EXPECT_EQ(decay.definition.model.half_life_us, std::int64_t{36'500} * 86'400 * 1'000'000);

    const Read custom("custom", R"({"channel_weights": {"tv": 0.5, "email": 1000000, "a": 0},
                                    "default_weight": 0.000001})");
    const std::span<const ChannelWeight> weights = custom.definition.channel_weights;
    ASSERT_EQ(weights.size(), 3U);
    EXPECT_EQ(weights[0].channel, "a");
    EXPECT_EQ(weights[0].weight, 0U);
    EXPECT_EQ(weights[1].channel, "email");
    EXPECT_EQ(weights[1].weight, max_model_weight);
    EXPECT_EQ(weights[2].channel, "tv");
    EXPECT_EQ(weights[2].weight, 500'000U);
    EXPECT_EQ(custom.definition.default_weight, 1U);
    EXPECT_FALSE(custom.definition.weights_come_from_caller);
}

TEST(Definition, CustomHasWeightsOrTheCallerHas) {
    EXPECT_TRUE(Read("custom", "{}").definition.weights_come_from_caller);
    EXPECT_FALSE(Read("linear", "{}").definition.weights_come_from_caller);
    const Texts without = {"a custom model with parameters needs weights", "",
                           "Give channel_weights or default_weight, or no parameters at all when "
                           "the caller passes the weights of each event."};
    EXPECT_EQ(refusal("custom", R"({"lookback_days": 1})"), without);
    EXPECT_EQ(refusal("custom", R"({"default_weight": 0})"), without);
    EXPECT_EQ(refusal("custom", R"({"channel_weights": {}})"), without);
    // All weights that are listed may be 0: then everything is unattributed.
    EXPECT_EQ(refusal("custom", R"({"channel_weights": {"a": 0}})"), Texts{});
}

// --- numbers -------------------------------------------------------------------------------------

/// Whether the digits are k / 10^decimals for a whole k from `least` to most * 10^decimals.
bool is_in_range(const std::string& digits, unsigned decimals, unsigned least, unsigned most,
                 cpp_int* scaled) {
    const bool is_negative = digits.front() == '-';
    std::string whole = digits.substr(is_negative ? 1 : 0);
    const std::size_t point = whole.find('.');
    const std::size_t places = point == std::string::npos ? 0 : whole.size() - point - 1;
    if (point != std::string::npos)
        whole.erase(point, 1);
    whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size() - 1));
    const cpp_int numerator = cpp_int(whole) * pow(cpp_int(10), decimals);
    const cpp_int denominator = pow(cpp_int(10), static_cast<unsigned>(places));
    *scaled = numerator / denominator * (is_negative ? -1 : 1);
    return numerator % denominator == 0 && *scaled >= least &&
           *scaled <= cpp_int(most) * pow(cpp_int(10), decimals);
}

std::string random_digits(Random& random) {
    std::string digits = random.one_in(8) ? "-" : "";
    const std::uint64_t whole = random.one_in(4) ? 36'500 : random.any_width(30);
    digits += std::to_string(whole);
    if (random.one_in(16))
        digits += std::string(random.below(40), '0');
    if (random.one_in(2)) {
        digits += '.';
        for (std::uint64_t i = 1 + random.below(9); i > 0; --i)
            digits += static_cast<char>('0' + (random.one_in(2) ? 0 : random.below(10)));
    }
    return digits;
}

TEST(Definition, NumbersAgreeWithFractions) {
    Random random(12);
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        const std::string digits = random_digits(random);
        cpp_int scaled;
        const bool is_days = is_in_range(digits, 6, 1, 36'500, &scaled);
        EXPECT_EQ(refusal("linear", R"({"lookback_days": )" + digits + "}"),
                  is_days ? Texts{}
                          : bad_parameter("lookback_days", "The value is " + digits + ".",
                                          "It is a number above 0, at most 36500 with at most 6 "
                                          "decimals."));
        if (is_days) {
            ++accepted;
            const Read read("time_decay", R"({"half_life_days": )" + digits + "}");
            EXPECT_EQ(cpp_int(read.definition.model.half_life_us), scaled * 86'400) << digits;
        }
        const bool is_weight = is_in_range(digits, 6, 0, 1'000'000, &scaled);
        EXPECT_EQ(refusal("custom", R"({"channel_weights": {"a": )" + digits + "}}"),
                  is_weight ? Texts{}
                            : bad_parameter("channel_weights", "The value is " + digits + ".",
                                            "It is a number from 0 to 1000000 with at most 6 "
                                            "decimals."));
        if (is_weight) {
            const Read read("custom", R"({"channel_weights": {"a": )" + digits + "}}");
            EXPECT_EQ(cpp_int(read.definition.channel_weights[0].weight), scaled) << digits;
        }
        const bool is_part = is_in_range(digits, 0, 0, 1'000'000, &scaled);
        EXPECT_EQ(refusal("position_based", R"({"position_weights": {"first": 1, "middle": )" +
                                                digits + R"(, "last": 1}})"),
                  is_part
                      ? Texts{}
                      : bad_parameter("position_weights", "The value is " + digits + ".",
                                      "It is a number from 0 to 1000000 with at most 0 decimals."));
    }
    EXPECT_GT(accepted, 2'000);
}

TEST(Definition, NumbersFarOutOfRange) {
    const std::string many_digits = "1" + std::string(131'000, '0');
    const std::string many_decimals = "1." + std::string(16'382, '0') + "1";
    for (const std::string& digits : {many_digits, many_decimals, "-" + many_digits})
        EXPECT_EQ(refusal("linear", R"({"lookback_days": )" + digits + "}").detail,
                  "The value is " + digits + ".");
    // Zeros after the last decimal change nothing.
    EXPECT_EQ(Read("linear", R"({"lookback_days": 1.)" + std::string(16'000, '0') + "}")
                  .definition.lookback_us,
              us_per_day);
}

// --- what is refused -----------------------------------------------------------------------------

TEST(Definition, ParametersOfOtherMethodsAreUnknown) {
    const std::vector<std::pair<std::string, std::string>> hints = {
        {"first_touch", "lookback_days and exclude_channels."},
        {"last_touch", "lookback_days and exclude_channels."},
        {"linear", "lookback_days and exclude_channels."},
        {"last_non_direct", "lookback_days, exclude_channels and direct_channels."},
        {"position_based", "lookback_days, exclude_channels and position_weights."},
        {"time_decay", "lookback_days, exclude_channels and half_life_days."},
        {"custom", "lookback_days, exclude_channels, channel_weights and default_weight."}};
    const std::vector<std::string> names = {
        "direct_channels", "position_weights", "half_life_days", "channel_weights",
        "default_weight",  "lookback_day",     "Lookback_days",  ""};
    int refused = 0;
    for (const auto& [method, parameters] : hints) {
        for (const std::string& name : names) {
            if (name.size() > 12 && name != "Lookback_days" &&
                parameters.find(name) != std::string::npos)
                continue; // the method has it
            EXPECT_EQ(refusal(method, "{\"" + name + "\": 1}"),
                      (Texts{"unknown parameter \"" + name + "\" of method " + method, "",
                             "The parameters are " + parameters}));
            ++refused;
        }
    }
    EXPECT_EQ(refused, 7 * 8 - 5);
}

TEST(Definition, ParametersAreAnObject) {
    for (const std::string text : {"[]", "1", "null", "\"{}\"", R"([{"lookback_days": 1}])"})
        EXPECT_EQ(refusal("linear", text), (Texts{"parameters must be a JSON object", "", ""}));
}

TEST(Definition, ValuesOfOtherTypes) {
    const std::string days = "It is a number above 0, at most 36500 with at most 6 decimals.";
    for (const std::string value : {"\"1\"", "null", "true", "[1]", "{}"})
        EXPECT_EQ(refusal("linear", R"({"lookback_days": )" + value + "}"),
                  bad_parameter("lookback_days", "The value is not a number.", days));
    for (const std::string value : {"1", "null", "\"a\"", "{}", R"({"a": 1})"})
        EXPECT_EQ(refusal("linear", R"({"exclude_channels": )" + value + "}"),
                  bad_parameter("exclude_channels", "The value is not an array.",
                                R"(Write ["channel", ...].)"));
    for (const std::string value : {"1", "null", "\"a\"", "[]", R"(["a"])"}) {
        EXPECT_EQ(refusal("custom", R"({"channel_weights": )" + value + "}"),
                  bad_parameter("channel_weights", "The value is not an object.",
                                R"(Write {"name": value, ...}.)"));
        EXPECT_EQ(refusal("position_based", R"({"position_weights": )" + value + "}"),
                  bad_parameter("position_weights", "The value is not an object.",
                                R"(Write {"name": value, ...}.)"));
    }
    for (const std::string element : {"1", "null", "[\"a\"]", "{}"})
        EXPECT_EQ(refusal("linear", R"({"exclude_channels": ["a", )" + element + "]}"),
                  bad_parameter("exclude_channels", "A channel is not a string.",
                                "Channels are strings."));
}

TEST(Definition, ChannelsHaveALength) {
    const std::string longest(255, 'x');
    const std::string hint = "Channels have 1 to 255 bytes.";
    EXPECT_EQ(refusal("linear", R"({"exclude_channels": [")" + longest + "\"]}"), Texts{});
    EXPECT_EQ(refusal("linear", R"({"exclude_channels": ["y)" + longest + "\"]}"),
              bad_parameter("exclude_channels", "A channel has 256 bytes.", hint));
    EXPECT_EQ(refusal("last_non_direct", R"({"direct_channels": [""]})"),
              bad_parameter("direct_channels", "A channel has 0 bytes.", hint));
    EXPECT_EQ(refusal("custom", R"({"channel_weights": {")" + longest + "\": 1}}"), Texts{});
    EXPECT_EQ(refusal("custom", R"({"channel_weights": {"y)" + longest + "\": 1}}"),
              bad_parameter("channel_weights", "A channel has 256 bytes.", hint));
}

TEST(Definition, ListsHaveALength) {
    const std::string hint = "At most 1000 may be listed.";
    EXPECT_EQ(refusal("linear", R"({"exclude_channels": )" + listed(1'000, false) + "}"), Texts{});
    EXPECT_EQ(refusal("linear", R"({"exclude_channels": )" + listed(1'001, false) + "}"),
              bad_parameter("exclude_channels", "It lists 1001 channels.", hint));
    EXPECT_EQ(refusal("custom", R"({"channel_weights": )" + listed(1'000, true) + "}"), Texts{});
    EXPECT_EQ(refusal("custom", R"({"channel_weights": )" + listed(1'001, true) + "}"),
              bad_parameter("channel_weights", "It lists 1001 channels.", hint));
}

TEST(Definition, PositionsAreThree) {
    const auto position = [](const std::string& parts) {
        return refusal("position_based", R"({"position_weights": {)" + parts + "}}");
    };
    EXPECT_EQ(position(R"("first": 1, "last": 1)"),
              bad_parameter("position_weights", "2 parts are given.",
                            "Give all three: first, middle and last."));
    EXPECT_EQ(position(""), bad_parameter("position_weights", "0 parts are given.",
                                          "Give all three: first, middle and last."));
    EXPECT_EQ(position(R"("first": 1, "last": 1, "centre": 1)"),
              bad_parameter("position_weights", "Unknown part \"centre\".",
                            "The parts are first, middle and last."));
    EXPECT_EQ(position(R"("first": 0, "last": 0.0, "middle": 0)"),
              bad_parameter("position_weights", "All parts are zero.",
                            "At least one part must be positive."));
}

TEST(Definition, WeightDecimals) {
    EXPECT_EQ(weight_decimals(Method::custom), 6);
    EXPECT_EQ(weight_decimals(Method::time_decay), 12);
    for (const Method method : {Method::first_touch, Method::last_touch, Method::last_non_direct,
                                Method::linear, Method::position_based})
        EXPECT_EQ(weight_decimals(method), 0);
}

} // namespace
} // namespace attribution::core
