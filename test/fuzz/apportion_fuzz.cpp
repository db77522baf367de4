// Looks for an input that breaks a promise of the core: coverage-guided, with the promises inside.
//
// The one idea: the input's bytes are drawn from as numbers, so that every input is a case, and
// each case is held against exact arithmetic that shares nothing with the core but the definition:
//   apportion   sum, floor or ceiling, sign, zero for zero, order, who wins a tie, permutation,
//               negation; decimals and whole weights agree
//   split_equally, same_ratios
//   take_back   sum, floor or ceiling, nothing below zero, all gives zero; nothing changed on throw
//   weigh       its weights apportion; only channels that were touched
//   read_settlement  reads just the whole numbers in range, and says what is wrong with the rest
//
// A broken promise says which and aborts. Built by the preset fuzz, run by test/suites/fuzz.sh.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>

#include "core/apportion.hpp"
#include "core/error.hpp"
#include "core/model.hpp"
#include "core/refund.hpp"
#include "core/settlement.hpp"

namespace {

using namespace attribution::core;
using boost::multiprecision::cpp_int;
using Shares = std::vector<Cents>;
using Keys = std::vector<std::uint64_t>;
using Weights = std::vector<std::uint64_t>;

void must(bool holds, const char* promise) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", promise);
        std::abort();
    }
}

// --- bytes to cases ------------------------------------------------------------------------------

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

    /// Small, near a power of two or the end of the range, or any: where arithmetic breaks.
    std::uint64_t number() {
        const std::uint8_t kind = byte();
        if (kind < 96)
            return kind % 16;
        if (kind < 128)
            return ~std::uint64_t{0} - kind % 16;
        if (kind < 192)
            return (std::uint64_t{1} << (kind % 64)) + byte() - 128;
        std::uint64_t any = 0;
        for (int i = 0; i < 1 + kind % 8; ++i)
            any = any << 8 | byte();
        return any;
    }

    Cents total() { return static_cast<Cents>(number()); }

    Keys keys(std::size_t count) {
        Keys keys(below(3) == 0 ? 0 : count);
        for (std::uint64_t& key : keys)
            key = byte() % 4;
        return keys;
    }

private:
    std::span<const std::uint8_t> bytes_;
};

// --- exact arithmetic ----------------------------------------------------------------------------

cpp_int sum_of(const Shares& cents) {
    cpp_int sum = 0;
    for (const Cents value : cents)
        sum += value;
    return sum;
}

/// Everything that holds for a total split by exact whole weights.
void check_shares(const cpp_int& total, const std::vector<cpp_int>& weights, const Keys& keys,
                  const Shares& shares) {
    const std::size_t count = weights.size();
    const cpp_int sum = std::accumulate(weights.begin(), weights.end(), cpp_int(0));
    const cpp_int amount = abs(total);
    const int sign = total < 0 ? -1 : 1;
    must(sum_of(shares) == total, "the shares add up to the total");
    std::vector<bool> has_more(count);
    std::vector<cpp_int> remainders(count);
    for (std::size_t i = 0; i < count; ++i) {
        const cpp_int magnitude = cpp_int(shares[i]) * sign;
        must(magnitude >= 0, "no share has the other sign");
        const cpp_int product = amount * weights[i];
        const cpp_int above = magnitude - product / sum;
        remainders[i] = product % sum;
        must(above == 0 || (above == 1 && remainders[i] != 0), "a share is floor or ceiling");
        must(weights[i] != 0 || magnitude == 0, "weight 0 gets nothing");
        has_more[i] = above == 1;
    }
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t j = 0; j < count; ++j) {
            if (weights[i] > weights[j])
                must(cpp_int(shares[i]) * sign >= cpp_int(shares[j]) * sign,
                     "a larger weight gets no less");
            if (!has_more[i] && has_more[j])
                must(remainders[i] < remainders[j] ||
                         (remainders[i] == remainders[j] &&
                          (keys.empty() || keys[i] == keys[j] ? i > j : keys[i] > keys[j])),
                     "the cent goes to the larger remainder, then to the smaller key, then to the "
                     "lower index");
        }
}

std::vector<cpp_int> wide(const Weights& weights) {
    return {weights.begin(), weights.end()};
}

bool all_zero(const Weights& weights) {
    return std::all_of(weights.begin(), weights.end(), [](std::uint64_t w) { return w == 0; });
}

template <class Call>
void must_throw(Fault fault, Call call) {
    try {
        call();
    } catch (const Error& error) {
        must(error.fault() == fault, "the fault is the one that is stated");
        must(!std::string(error.what()).empty() && !error.detail().empty(), "an error says why");
        return;
    }
    must(false, "what must be refused is refused");
}

// --- apportion -----------------------------------------------------------------------------------

Shares negated(Shares shares) {
    for (Cents& share : shares)
        share = -share;
    return shares;
}

/// The same weights as numeric writes them, some with zero digits that it would not keep.
struct Decimals {
    std::vector<std::vector<std::int16_t>> digits;
    std::vector<Decimal> values;

    Decimals(const Weights& weights, int shift, std::size_t zeros) : digits(weights.size()) {
        for (std::size_t i = 0; i < weights.size(); ++i) {
            for (std::uint64_t rest = weights[i]; rest > 0; rest /= 10'000)
                digits[i].insert(digits[i].begin(), static_cast<std::int16_t>(rest % 10'000));
            const int first = static_cast<int>(digits[i].size()) - 1 + shift;
            digits[i].resize(digits[i].size() + zeros);
            values.push_back({.digits = digits[i], .first_exponent = first});
        }
    }
};

Weights read_weights(Input& input) {
    Weights weights(1 + input.below(12));
    for (std::uint64_t& weight : weights)
        weight = input.number();
    return weights;
}

void fuzz_apportion(Input& input) {
    const Weights weights = read_weights(input);
    const Cents total = input.total();
    const Keys keys = input.keys(weights.size());
    Shares shares(weights.size());
    if (all_zero(weights)) {
        must_throw(Fault::invalid_value, [&] { apportion(total, weights, keys, shares); });
        return;
    }
    apportion(total, weights, keys, shares);
    check_shares(total, wide(weights), keys, shares);

    if (total != std::numeric_limits<Cents>::min()) {
        Shares opposite(weights.size());
        apportion(-total, weights, keys, opposite);
        must(opposite == negated(shares), "the opposite total gives the opposite shares");
    }

    // Another order, with keys that are all different: the same shares in that order.
    const std::size_t shift = input.below(weights.size());
    Keys distinct(weights.size());
    for (std::size_t i = 0; i < distinct.size(); ++i)
        distinct[i] = std::uint64_t{input.byte()} << 8 | i;
    Weights rotated_weights = weights;
    Keys rotated_keys = distinct;
    const auto middle = static_cast<std::ptrdiff_t>(shift);
    std::rotate(rotated_weights.begin(), rotated_weights.begin() + middle, rotated_weights.end());
    std::rotate(rotated_keys.begin(), rotated_keys.begin() + middle, rotated_keys.end());
    std::reverse(rotated_weights.begin(), rotated_weights.end());
    std::reverse(rotated_keys.begin(), rotated_keys.end());
    Shares straight(weights.size());
    Shares rotated(weights.size());
    apportion(total, weights, distinct, straight);
    apportion(total, rotated_weights, rotated_keys, rotated);
    std::rotate(straight.begin(), straight.begin() + middle, straight.end());
    std::reverse(straight.begin(), straight.end());
    must(straight == rotated, "with tie keys the order of the input does not matter");

    const Decimals decimals(weights, static_cast<int>(input.byte()) - 128, input.below(4));
    Shares by_decimals(weights.size());
    apportion(total, decimals.values, keys, by_decimals);
    must(by_decimals == shares, "decimals and whole weights agree");
    must(same_ratios(decimals.values, Decimals(weights, 0, 0).values), "the ratios are the same");
}

/// Decimals of any shape: far apart, many digits, now and then one that must be refused.
void fuzz_decimals(Input& input) {
    std::vector<std::vector<std::int16_t>> digits(1 + input.below(6));
    std::vector<Decimal> weights;
    bool refused = false;
    int lowest = 0;
    for (std::vector<std::int16_t>& places : digits) {
        places.resize(input.below(7));
        for (std::int16_t& place : places)
            place = static_cast<std::int16_t>((input.byte() << 8 | input.byte()) % 10'000);
        Decimal weight{.digits = places, .first_exponent = static_cast<int>(input.below(8)) - 4};
        lowest = std::min(lowest, weight.first_exponent - 6);
        const std::uint8_t kind = input.byte();
        weight.negative = kind % 32 == 1;
        if (kind == 34)
            weight.kind = Decimal::Kind::nan;
        if (kind == 66)
            weight.kind = Decimal::Kind::infinity;
        const bool positive =
            std::any_of(places.begin(), places.end(), [](std::int16_t d) { return d != 0; });
        refused = refused || weight.kind != Decimal::Kind::finite || (weight.negative && positive);
        weights.push_back(weight);
    }
    const Cents total = input.total();
    const Keys keys = input.keys(weights.size());
    Shares shares(weights.size());
    std::vector<cpp_int> exact; // in units of 10000^lowest
    for (const Decimal& weight : weights) {
        cpp_int value = 0;
        for (const std::int16_t digit : weight.digits)
            value = value * 10'000 + digit;
        const int shift =
            weight.first_exponent - static_cast<int>(weight.digits.size()) + 1 - lowest;
        exact.push_back(value * pow(cpp_int(10'000), static_cast<unsigned>(shift)));
    }
    refused = refused || std::all_of(exact.begin(), exact.end(),
                                     [](const cpp_int& weight) { return weight == 0; });
    if (refused) {
        must_throw(Fault::invalid_value, [&] { apportion(total, weights, keys, shares); });
        return;
    }
    apportion(total, weights, keys, shares);
    check_shares(total, exact, keys, shares);
}

void fuzz_equal_parts(Input& input) {
    Shares shares(1 + input.below(200));
    const Cents total = input.total();
    split_equally(total, shares);
    check_shares(total, std::vector<cpp_int>(shares.size(), 1), {}, shares);
}

// --- take_back -----------------------------------------------------------------------------------

void fuzz_refunds(Input& input) {
    Shares remaining(input.below(13));
    for (Cents& cents : remaining)
        cents = input.total();
    const Keys keys = input.keys(remaining.size());
    const bool below_zero =
        std::any_of(remaining.begin(), remaining.end(), [](Cents cents) { return cents < 0; });
    for (int step = 0; step < 8; ++step) {
        const cpp_int left = sum_of(remaining);
        const Shares before = remaining;
        Shares shares(remaining.size(), 0x5eed);
        Cents refund = input.total();
        if (step == 7 && left > 0) // all of it, or all that 64 bits hold
            refund = left >= cpp_int(1) << 63 ? std::numeric_limits<Cents>::min()
                                              : static_cast<Cents>(-left);
        if (refund >= 0 || below_zero || -cpp_int(refund) > left) {
            must_throw(Fault::invalid_value, [&] { take_back(refund, remaining, keys, shares); });
            must(remaining == before && shares == Shares(remaining.size(), 0x5eed),
                 "a refund that is refused changes nothing");
            continue;
        }
        take_back(refund, remaining, keys, shares);
        check_shares(refund, {before.begin(), before.end()}, keys, shares);
        for (std::size_t i = 0; i < shares.size(); ++i) {
            must(remaining[i] >= 0, "no channel goes below zero");
            must(remaining[i] == before[i] + shares[i], "what is taken is no longer left");
        }
        if (-cpp_int(refund) == left)
            must(remaining == Shares(remaining.size(), 0), "a full refund leaves nothing");
    }
}

// --- weigh ---------------------------------------------------------------------------------------

void fuzz_models(Input& input) {
    Model model;
    model.method = static_cast<Method>(input.below(7));
    const auto part = [&] {
        return static_cast<std::uint32_t>(input.number() % (max_position_weight + 1));
    };
    model.position.first = part();
    model.position.middle = part();
    model.position.last = part();
    model.half_life_us = static_cast<std::int64_t>(input.number() >> 1 | 1);
    Weights weights(1 + input.below(8));
    std::vector<Touch> touches(input.below(20));
    std::vector<bool> is_touched(weights.size());
    cpp_int custom = 0;
    for (Touch& touch : touches) {
        touch.channel = static_cast<std::uint32_t>(input.below(weights.size()));
        touch.is_direct = input.below(2) == 0;
        touch.age_us = static_cast<std::int64_t>(input.number() >> 1);
        touch.custom_weight = input.number() % (max_model_weight + 1);
        is_touched[touch.channel] = true;
        custom += touch.custom_weight;
    }
    const Cents total = input.total();
    weigh(model, touches, weights);
    for (std::size_t i = 0; i < weights.size(); ++i)
        must(is_touched[i] || weights[i] == 0, "only channels with a touch have a weight");
    const bool unattributed = touches.empty() || (model.method == Method::custom && custom == 0);
    must(all_zero(weights) == unattributed, "there is a positive weight unless nothing is given");
    if (unattributed)
        return;
    Shares shares(weights.size());
    apportion(total, weights, {}, shares);
    check_shares(total, wide(weights), {}, shares);
    if (model.method == Method::time_decay) {
        const std::int64_t age = touches.front().age_us;
        const std::uint64_t weight = decay_weight(age, model.half_life_us);
        must(weight <= decay_unit, "nothing weighs more than the newest");
        if (age < std::numeric_limits<std::int64_t>::max())
            must(decay_weight(age + 1, model.half_life_us) <= weight, "older weighs no more");
        if (age <= std::numeric_limits<std::int64_t>::max() - model.half_life_us)
            must(decay_weight(age + model.half_life_us, model.half_life_us) == weight / 2,
                 "a half-life later it is half");
    }
}

// --- read_settlement -----------------------------------------------------------------------------

/// A whole number as numeric writes it, with `decimals` zeros after the point.
std::string spelled(const cpp_int& number, std::size_t decimals) {
    const std::string digits = number.str();
    return decimals == 0 ? digits : digits + "." + std::string(decimals, '0');
}

JsonNode member(JsonKind kind, std::uint32_t end, std::string_view key, std::string_view text) {
    JsonNode node;
    node.kind = kind;
    node.end = end;
    node.key = key;
    node.text = text;
    return node;
}

/// A settlement of any kind of key and amount, its members in either order.
void fuzz_settlements(Input& input) {
    constexpr std::array kinds = {JsonKind::string, JsonKind::number, JsonKind::null,
                                  JsonKind::array};
    const cpp_int amount = (cpp_int(input.total()) << input.below(3)) + input.byte();
    std::string digits = spelled(amount, input.below(3));
    const bool has_cents = input.below(8) == 0;
    if (has_cents)
        digits += digits.find('.') == std::string::npos ? ".01" : "01";
    const std::string key(input.below(2) == 0 ? 1 + input.byte() : input.below(2), 'k');
    const JsonKind key_kind = kinds.at(std::min<std::size_t>(input.below(16), 4) % kinds.size());
    const JsonKind amount_kind = kinds.at((1 + input.below(8) / 5) % kinds.size());
    const bool key_is_first = input.below(2) == 0;
    std::vector<JsonNode> nodes = {member(JsonKind::object, 3, "", ""),
                                   key_is_first ? member(key_kind, 2, "key", key)
                                                : member(amount_kind, 2, "amount_cents", digits),
                                   key_is_first ? member(amount_kind, 3, "amount_cents", digits)
                                                : member(key_kind, 3, "key", key)};

    const bool is_right =
        key_kind == JsonKind::string && !key.empty() && key.size() <= max_settlement_key_bytes &&
        amount_kind == JsonKind::number && !has_cents &&
        amount >= std::numeric_limits<Cents>::min() && amount <= std::numeric_limits<Cents>::max();
    if (!is_right) {
        must_throw(Fault::invalid_value, [&] { read_settlement(Json(nodes), 1); });
        return;
    }
    const Settlement settlement = read_settlement(Json(nodes), 1);
    must(settlement.key == key, "a settlement has the key that it was given");
    must(cpp_int(settlement.amount_cents) == amount, "and exactly the amount");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input({data, size});
    constexpr std::array<void (*)(Input&), 6> cases = {fuzz_apportion,   fuzz_decimals,
                                                       fuzz_equal_parts, fuzz_refunds,
                                                       fuzz_models,      fuzz_settlements};
    cases.at(input.below(cases.size()))(input);
    return 0;
}
