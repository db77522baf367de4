// Looks for parameters of a model, and for journeys weighed by it, that break a promise of the
// core.
//
// The one idea: the input's bytes choose a document, most often one that is nearly right: known
// names of parameters, channels and numbers at the ends of their ranges. What is refused says why;
// what is read is within the limits that core/definition.hpp and core/model.hpp state, and weighs
// any journey as core/journey.hpp says.
//
// A broken promise says which and aborts. Built by the preset fuzz, run by test/suites/fuzz.sh.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/arena.hpp"
#include "core/definition.hpp"
#include "core/error.hpp"
#include "core/journey.hpp"
#include "core/json.hpp"

namespace {

using namespace attribution::core;

void must(bool holds, const char* promise) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", promise);
        std::abort();
    }
}

/// Takes numbers from the input; zeros when it is at its end.
class Input {
public:
    explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    std::uint8_t byte() {
        if (bytes_.empty())
            return 0;
        const std::uint8_t first = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return first;
    }

    std::size_t below(std::size_t bound) { return byte() % bound; }

    [[nodiscard]] bool is_empty() const { return bytes_.empty(); }

private:
    std::span<const std::uint8_t> bytes_;
};

/// Memory that is freed at once, each block checked by the sanitizer.
class Memory {
public:
    Arena arena() { return {allocate, this}; }

private:
    static void* allocate(void* owner, std::size_t bytes) noexcept {
        auto& blocks = static_cast<Memory*>(owner)->blocks_;
        return blocks.emplace_back(std::make_unique<std::byte[]>(bytes)).get();
    }
    std::vector<std::unique_ptr<std::byte[]>> blocks_;
};

// --- bytes to documents --------------------------------------------------------------------------

constexpr std::array<std::string_view, 8> methods = {
    "first_touch",    "last_touch", "last_non_direct", "linear",
    "position_based", "time_decay", "custom",          "none"};
constexpr std::array<std::string_view, 16> names = {"lookback_days",
                                                    "exclude_channels",
                                                    "direct_channels",
                                                    "position_weights",
                                                    "half_life_days",
                                                    "channel_weights",
                                                    "default_weight",
                                                    "first",
                                                    "middle",
                                                    "last",
                                                    "direct",
                                                    "email",
                                                    "tv",
                                                    "",
                                                    "e",
                                                    "unattributed"};
constexpr std::array<std::string_view, 14> numbers = {
    "0",        "1",       "-1",     "0.000001",  "0.0000001",       "36500", "36500.000001",
    "999999.9", "1000000", "-0.000", "1000000.1", "0.0000000000001", "7.0",   "40"};

/// A document of what the bytes choose.
class Document {
public:
    explicit Document(Input& input) : input_(&input) { add({}, 0); }

    [[nodiscard]] Json root() const { return Json(nodes_); }

private:
    std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }

    std::string_view name() {
        const std::size_t kind = input_->below(32);
        if (kind < names.size())
            return names.at(kind);
        if (kind == names.size())
            return keep(std::string(254 + input_->below(3), 'x'));
        return keep(std::string(1 + input_->below(3), static_cast<char>(input_->byte())));
    }

    std::string_view number() {
        const std::size_t kind = input_->below(32);
        if (kind < numbers.size())
            return numbers.at(kind);
        std::string text = kind % 4 == 0 ? "-" : "";
        for (std::size_t i = 1 + input_->below(24); i > 0; --i)
            text += static_cast<char>('0' + input_->below(10));
        if (kind % 2 == 0) {
            text += '.';
            for (std::size_t i = 1 + input_->below(12); i > 0; --i)
                text += static_cast<char>('0' + input_->below(10));
        }
        return keep(std::move(text));
    }

    void add(std::string_view key, int depth) {
        const std::size_t number_of_node = nodes_.size();
        JsonNode node;
        node.key = key;
        nodes_.push_back(node);
        std::size_t kind = depth == 0 ? 0 : input_->below(8);
        if (depth == 0 && input_->below(16) == 15)
            kind = 1;
        if (kind <= 1 && depth < 4) {
            node.kind = kind == 0 ? JsonKind::object : JsonKind::array;
            node.size = add_children(kind == 0, depth);
        } else if (kind == 2) {
            node.kind = JsonKind::boolean;
            node.truth = input_->below(2) == 1;
        } else if (kind == 4 || kind == 5) {
            node.kind = JsonKind::string;
            node.text = name();
        } else if (kind >= 6) {
            node.kind = JsonKind::number;
            node.text = number();
        }
        node.end = static_cast<std::uint32_t>(nodes_.size());
        nodes_[number_of_node] = node;
    }

    /// Keys of an object are different from each other.
    std::uint32_t add_children(bool is_object, int depth) {
        std::vector<std::string_view> keys;
        std::uint32_t size = 0;
        std::size_t wanted = input_->below(6);
        if (wanted == 5 && input_->below(8) == 7)
            wanted = 990 + input_->below(20);
        for (std::size_t i = 0; i < wanted; ++i) {
            std::string_view key;
            if (is_object)
                key = wanted < 990 ? name() : keep(std::to_string(i));
            if (wanted < 990 && is_object && std::find(keys.begin(), keys.end(), key) != keys.end())
                continue;
            keys.push_back(key);
            add(key, depth + 1);
            ++size;
        }
        return size;
    }

    Input* input_;
    std::deque<std::string> texts_; // does not move
    std::vector<JsonNode> nodes_;
};

// --- promises ------------------------------------------------------------------------------------

void check_channels(std::span<const std::string_view> channels) {
    must(channels.size() <= max_listed_channels, "a list has a limit");
    must(std::is_sorted(channels.begin(), channels.end()), "lists are sorted");
    for (const std::string_view channel : channels)
        must(!channel.empty() && channel.size() <= 255, "channels have 1 to 255 bytes");
}

void check_definition(const ModelDefinition& definition, Json parameters) {
    constexpr std::int64_t longest = max_days * us_per_day;
    must(definition.lookback_us > 0 && definition.lookback_us <= longest, "a lookback is a time");
    must(definition.model.half_life_us > 0 && definition.model.half_life_us <= longest,
         "a half-life is a time");
    const Position& position = definition.model.position;
    must(position.first <= max_position_weight && position.middle <= max_position_weight &&
             position.last <= max_position_weight,
         "parts of a position have a limit");
    must(position.first > 0 || position.middle > 0 || position.last > 0, "some part is positive");
    check_channels(definition.excluded_channels);
    check_channels(definition.direct_channels);
    must(definition.channel_weights.size() <= max_listed_channels, "weights have a limit");
    must(definition.default_weight <= max_model_weight, "a weight has a limit");
    std::string_view before;
    bool has_weight = definition.default_weight > 0;
    for (const ChannelWeight& entry : definition.channel_weights) {
        must(before < entry.channel, "weighed channels are sorted and different");
        must(entry.weight <= max_model_weight, "a weight has a limit");
        before = entry.channel;
        has_weight = true;
    }
    const bool is_custom = definition.model.method == Method::custom;
    must(is_custom || !has_weight, "only custom models weigh channels");
    must(definition.weights_come_from_caller == (is_custom && parameters.size() == 0),
         "the caller gives weights where a custom model has no parameters");
    must(!is_custom || has_weight || definition.weights_come_from_caller,
         "somebody gives weights to a custom model");
}

void check_journey(Input& input, const ModelDefinition& definition) {
    std::vector<JourneyTouch> journey(input.below(12));
    for (JourneyTouch& touch : journey) {
        touch.channel = names.at(input.below(names.size()));
        touch.occurred_at_us = static_cast<std::int64_t>(input.byte()) * us_per_day;
        touch.id = {};
        touch.id[0] = static_cast<std::uint8_t>(input.byte());
        touch.id[1] = static_cast<std::uint8_t>(&touch - journey.data());
    }
    std::vector<JourneyTouch> turned(journey.rbegin(), journey.rend());
    constexpr std::int64_t converted_at_us = 255 * us_per_day;
    Memory memory;
    const WeighedJourney weighed =
        weigh_journey(definition, converted_at_us, journey, memory.arena());
    must(!weighed.channels.empty() && weighed.channels.size() == weighed.weights.size(),
         "some channel gets credit");
    for (std::size_t i = 0; i < weighed.channels.size(); ++i) {
        must(weighed.weights[i] > 0, "credit is above zero");
        must(i == 0 || weighed.channels[i - 1] < weighed.channels[i],
             "channels are sorted and different");
        const bool is_touched =
            std::any_of(journey.begin(), journey.end(), [&](const JourneyTouch& touch) {
                return touch.channel == weighed.channels[i];
            });
        must(is_touched ||
                 (weighed.channels.size() == 1 && weighed.channels[i] == unattributed_channel),
             "only channels with a touch get credit");
    }
    const WeighedJourney again = weigh_journey(definition, converted_at_us, turned, memory.arena());
    must(std::equal(weighed.channels.begin(), weighed.channels.end(), again.channels.begin(),
                    again.channels.end()) &&
             std::equal(weighed.weights.begin(), weighed.weights.end(), again.weights.begin(),
                        again.weights.end()),
         "the order in which touches were read does not matter");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input({data, size});
    const std::string_view method = methods.at(input.below(methods.size()));
    const Document document(input);
    Memory memory;
    try {
        const ModelDefinition definition = read_definition(method, document.root(), memory.arena());
        must(method != "none", "an unknown method is refused");
        check_definition(definition, document.root());
        check_journey(input, definition);
    } catch (const Error& error) {
        must(error.fault() == Fault::invalid_value, "what is refused has an invalid value");
        must(!std::string_view(error.what()).empty(), "an error says why");
    }
    return 0;
}
