#include "core/definition.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/identity.hpp"
#include "core/webhook/text.hpp"

namespace attribution::core {
namespace {

constexpr std::array<std::pair<std::string_view, Method>, 7> methods = {{
    {"first_touch", Method::first_touch},
    {"last_touch", Method::last_touch},
    {"last_non_direct", Method::last_non_direct},
    {"linear", Method::linear},
    {"position_based", Method::position_based},
    {"time_decay", Method::time_decay},
    {"custom", Method::custom},
}};

constexpr int millionths = 6; // decimals
constexpr std::int64_t us_per_millionth_day = us_per_day / 1'000'000;
constexpr std::int64_t max_channel_weight = max_model_weight / 1'000'000;

/// Channels that are direct where a model does not say which.
constexpr std::array<std::string_view, 1> usual_direct_channels = {"direct"};

[[noreturn]] void refuse(std::string_view key, std::string problem, std::string hint) {
    throw Error(Fault::invalid_value, fmt::format("invalid model parameter \"{}\"", key),
                std::move(problem), std::move(hint));
}

Method read_method(std::string_view name) {
    for (const auto& [known, method] : methods)
        if (name == known)
            return method;
    throw Error(Fault::invalid_value, fmt::format("unknown method \"{}\"", name), {},
                "The method is one of first_touch, last_touch, last_non_direct, linear, "
                "position_based, time_decay, custom.");
}

/// The numbers that a parameter may have: from `least` units of the last decimal to `most` whole.
struct Range {
    int decimals;
    std::int64_t least; // 0 or 1
    std::int64_t most;

    [[nodiscard]] std::string text() const {
        return fmt::format("It is a number {} {} with at most {} decimals.",
                           least == 0 ? "from 0 to" : "above 0, at most", most, decimals);
    }
};

constexpr Range days = {.decimals = millionths, .least = 1, .most = max_days};
constexpr Range channel_weight = {.decimals = millionths, .least = 0, .most = max_channel_weight};
constexpr Range position_weight = {.decimals = 0, .least = 0, .most = max_position_weight};

/// The number in units of the last decimal of the range.
std::int64_t read_number(std::string_view key, Json value, const Range& range) {
    if (!value.is_number())
        refuse(key, "The value is not a number.", range.text());
    const std::string_view digits = value.text().value_or(std::string_view());
    const Amount amount = parse_amount(digits, range.decimals);
    std::int64_t most = range.most;
    for (int i = 0; i < range.decimals; ++i)
        most *= 10;
    if (amount.fault != AmountFault::none || amount.cents < range.least || amount.cents > most)
        refuse(key, fmt::format("The value is {}.", digits), range.text());
    return amount.cents;
}

std::string_view read_channel(std::string_view key, std::string_view channel) {
    if (channel.empty() || channel.size() > max_text_bytes)
        refuse(key, fmt::format("A channel has {} bytes.", channel.size()),
               fmt::format("Channels have 1 to {} bytes.", max_text_bytes));
    return channel;
}

void check_object(std::string_view key, Json value) {
    if (!value.is_object())
        refuse(key, "The value is not an object.", R"(Write {"name": value, ...}.)");
}

void check_list_size(std::string_view key, Json value) {
    if (value.size() > max_listed_channels)
        refuse(key, fmt::format("It lists {} channels.", value.size()),
               fmt::format("At most {} may be listed.", max_listed_channels));
}

/// Reads the parameters of one method into a definition.
class Reader {
public:
    Reader(ModelDefinition& definition, Arena arena) : definition_(&definition), arena_(arena) {}

    /// Reads the parameter that `value` is; false when the method has no such parameter.
    bool read(Json value) {
        const std::string_view key = value.key();
        const Method method = definition_->model.method;
        if (key == "lookback_days")
            definition_->lookback_us = read_number(key, value, days) * us_per_millionth_day;
        else if (key == "exclude_channels")
            definition_->excluded_channels = read_channels(value);
        else if (key == "direct_channels" && method == Method::last_non_direct)
            definition_->direct_channels = read_channels(value);
        else if (key == "position_weights" && method == Method::position_based)
            definition_->model.position = read_position(value);
        else if (key == "half_life_days" && method == Method::time_decay)
            definition_->model.half_life_us = read_number(key, value, days) * us_per_millionth_day;
        else if (key == "channel_weights" && method == Method::custom)
            definition_->channel_weights = read_channel_weights(value);
        else if (key == "default_weight" && method == Method::custom)
            definition_->default_weight =
                static_cast<std::uint64_t>(read_number(key, value, channel_weight));
        else
            return false;
        return true;
    }

private:
    std::span<const std::string_view> read_channels(Json value) {
        if (!value.is_array())
            refuse(value.key(), "The value is not an array.", R"(Write ["channel", ...].)");
        check_list_size(value.key(), value);
        const std::span<std::string_view> channels = arena_.make<std::string_view>(value.size());
        std::size_t count = 0;
        for (const Json channel : value) {
            if (!channel.is_string())
                refuse(value.key(), "A channel is not a string.", "Channels are strings.");
            channels[count++] = read_channel(value.key(), channel.string());
        }
        std::sort(channels.begin(), channels.end());
        return channels;
    }

    std::span<const ChannelWeight> read_channel_weights(Json value) {
        check_object(value.key(), value);
        check_list_size(value.key(), value);
        const std::span<ChannelWeight> weights = arena_.make<ChannelWeight>(value.size());
        std::size_t count = 0;
        for (const Json weight : value)
            weights[count++] = {.channel = read_channel(value.key(), weight.key()),
                                .weight = static_cast<std::uint64_t>(
                                    read_number(value.key(), weight, channel_weight))};
        // jsonb has the shorter keys first.
        std::sort(weights.begin(), weights.end(),
                  [](const auto& a, const auto& b) { return a.channel < b.channel; });
        return weights;
    }

    static Position read_position(Json value) {
        const std::string_view key = value.key();
        check_object(key, value);
        check_list_size(key, value);
        Position position{.first = 0, .middle = 0, .last = 0};
        for (const Json part : value) {
            std::uint32_t* const weight = part.key() == "first"    ? &position.first
                                          : part.key() == "middle" ? &position.middle
                                          : part.key() == "last"   ? &position.last
                                                                   : nullptr;
            if (weight == nullptr)
                refuse(key, fmt::format("Unknown part \"{}\".", part.key()),
                       "The parts are first, middle and last.");
            *weight = static_cast<std::uint32_t>(read_number(key, part, position_weight));
        }
        if (value.size() != 3)
            refuse(key, fmt::format("{} parts are given.", value.size()),
                   "Give all three: first, middle and last.");
        if (position.first == 0 && position.middle == 0 && position.last == 0)
            refuse(key, "All parts are zero.", "At least one part must be positive.");
        return position;
    }

    ModelDefinition* definition_;
    Arena arena_;
};

std::string_view parameters_of(Method method) {
    switch (method) {
    case Method::last_non_direct:
        return "The parameters are lookback_days, exclude_channels and direct_channels.";
    case Method::position_based:
        return "The parameters are lookback_days, exclude_channels and position_weights.";
    case Method::time_decay:
        return "The parameters are lookback_days, exclude_channels and half_life_days.";
    case Method::custom:
        return "The parameters are lookback_days, exclude_channels, channel_weights and "
               "default_weight.";
    default:
        return "The parameters are lookback_days and exclude_channels.";
    }
}

} // namespace

ModelDefinition read_definition(std::string_view method, Json parameters, Arena arena) {
    ModelDefinition definition;
    definition.model.method = read_method(method);
    definition.direct_channels = usual_direct_channels;
    if (!parameters.is_object())
        throw Error(Fault::invalid_value, "parameters must be a JSON object");
    Reader reader(definition, arena);
    for (const Json value : parameters)
        if (!reader.read(value))
            throw Error(Fault::invalid_value,
                        fmt::format("unknown parameter \"{}\" of method {}", value.key(), method),
                        {}, std::string(parameters_of(definition.model.method)));
    if (definition.model.method != Method::custom)
        return definition;
    definition.weights_come_from_caller = parameters.size() == 0;
    if (!definition.weights_come_from_caller && definition.channel_weights.empty() &&
        definition.default_weight == 0)
        throw Error(Fault::invalid_value, "a custom model with parameters needs weights", {},
                    "Give channel_weights or default_weight, or no parameters at all "
                    "when the caller passes the weights of each event.");
    return definition;
}

int weight_decimals(Method method) noexcept {
    switch (method) {
    case Method::time_decay:
        return 12;
    case Method::custom:
        return millionths;
    default:
        return 0;
    }
}

} // namespace attribution::core
