#include "core/model.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/wide.hpp"

namespace attribution::core {
namespace {

static_assert(max_touches <= UINT64_MAX / max_model_weight);
static_assert(max_touches <= UINT64_MAX / decay_unit);
static_assert(max_touches <= UINT64_MAX / (3 * std::uint64_t{max_position_weight}));

// --- time decay ----------------------------------------------------------------------------------

constexpr int fraction_bits = 48;

constexpr std::uint64_t integer_root(Uint128 square) {
    std::uint64_t root = 0;
    for (int bit = 63; bit >= 0; --bit) {
        const std::uint64_t candidate = root | std::uint64_t{1} << bit;
        if (Uint128{candidate} * candidate <= square)
            root = candidate;
    }
    return root;
}

/// 2^(-1/2), 2^(-1/4), 2^(-1/8), ... in units of 2^-64, rounded down: one factor per bit of a
/// binary fraction. Each is the root of the one before; computed here, so that no table can be
/// mistyped.
constexpr std::array<std::uint64_t, fraction_bits> make_halving_roots() {
    std::array<std::uint64_t, fraction_bits> roots{};
    Uint128 square = Uint128{1} << 127; // 1/2 in units of 2^-128
    for (std::uint64_t& root : roots) {
        root = integer_root(square);
        square = Uint128{root} << 64;
    }
    return roots;
}

constexpr std::array<std::uint64_t, fraction_bits> halving_roots = make_halving_roots();

/// 2^-(fraction / 2^48) in units of 2^-64, too small by less than 216 of them: each of at most 48
/// steps is cut by less than 1, and its root is below the true one by less than 3.5 (an error
/// halves with each root, divided by the root, and is cut by 1 again).
///
/// So it falls with every step of the fraction, which makes it smaller by 2^64 * 2^-1 * ln(2) *
/// 2^-48 = 22,713 at least, and never gets below 1/2: the next half-life starts no higher.
Uint128 halved(std::uint64_t fraction) {
    Uint128 factor = Uint128{1} << 64;
    for (int bit = 0; bit < fraction_bits; ++bit)
        if ((fraction >> (fraction_bits - 1 - bit) & 1U) != 0)
            factor = factor * halving_roots[static_cast<std::size_t>(bit)] >> 64;
    return factor;
}

void weigh_decay(std::int64_t half_life_us, std::span<const Touch> touches,
                 std::span<std::uint64_t> weights) {
    // Relative to the newest touch, which weighs 1: the ratios are the same, and a journey that
    // ended long before the conversion keeps its precision and never weighs nothing.
    const std::int64_t newest =
        std::min_element(touches.begin(), touches.end(), [](const Touch& a, const Touch& b) {
            return a.age_us < b.age_us;
        })->age_us;
    for (const Touch& touch : touches)
        weights[touch.channel] += decay_weight(touch.age_us - newest, half_life_us);
}

// --- the other methods ---------------------------------------------------------------------------

void weigh_equally(std::span<const Touch> touches, std::span<std::uint64_t> weights) {
    for (const Touch& touch : touches)
        ++weights[touch.channel];
}

void weigh_position(const Position& position, std::span<const Touch> touches,
                    std::span<std::uint64_t> weights) {
    const std::uint64_t count = touches.size();
    const std::uint64_t between = count > 2 ? count - 2 : 0;
    const std::uint64_t given =
        between > 0 ? std::uint64_t{position.first} + position.middle + position.last
                    : std::uint64_t{position.first} + position.last;
    if (count == 1 || given == 0) { // such as 0/100/0 of two touches, which have no middle
        weigh_equally(touches, weights);
        return;
    }
    // Everything times the number of touches between, so that their equal parts are whole.
    const std::uint64_t scale = std::max<std::uint64_t>(between, 1);
    weights[touches.front().channel] += position.first * scale;
    for (const Touch& touch : touches.subspan(1, between))
        weights[touch.channel] += position.middle;
    weights[touches.back().channel] += position.last * scale;
}

void check(const Model& model, std::span<const Touch> touches, std::size_t channels) {
    if (touches.size() > max_touches)
        throw Error(
            Fault::limit_exceeded, "too many touches in a journey",
            fmt::format("{} touches count, at most {} are allowed.", touches.size(), max_touches),
            "Shorten the lookback window or exclude channels.");
    ensure(std::max({model.position.first, model.position.middle, model.position.last}) <=
               max_position_weight,
           "a part of the position is above its limit");
    ensure(model.half_life_us > 0, "the half-life is not positive");
    for (const Touch& touch : touches) {
        ensure(touch.channel < channels, "a touch names no channel");
        ensure(touch.age_us >= 0, "a touch is newer than the conversion");
        ensure(touch.custom_weight <= max_model_weight, "a custom weight is above its limit");
    }
}

} // namespace

std::uint64_t decay_weight(std::int64_t age_us, std::int64_t half_life_us) {
    ensure(age_us >= 0, "the age is negative");
    ensure(half_life_us > 0, "the half-life is not positive");
    const auto age = static_cast<std::uint64_t>(age_us);
    const auto half_life = static_cast<std::uint64_t>(half_life_us);
    const std::uint64_t halvings = age / half_life;
    if (halvings >= 64)
        return 0;
    const auto fraction =
        static_cast<std::uint64_t>((Uint128{age % half_life} << fraction_bits) / half_life);
    return static_cast<std::uint64_t>(halved(fraction) * decay_unit >> 64 >> halvings);
}

void weigh(const Model& model, std::span<const Touch> touches, std::span<std::uint64_t> weights) {
    check(model, touches, weights.size());
    std::fill(weights.begin(), weights.end(), std::uint64_t{0});
    if (touches.empty())
        return;
    switch (model.method) {
    case Method::first_touch:
        weights[touches.front().channel] = 1;
        break;
    case Method::last_touch:
        weights[touches.back().channel] = 1;
        break;
    case Method::last_non_direct: {
        const auto last = std::find_if(touches.rbegin(), touches.rend(),
                                       [](const Touch& touch) { return !touch.is_direct; });
        weights[last == touches.rend() ? touches.back().channel : last->channel] = 1;
        break;
    }
    case Method::linear:
        weigh_equally(touches, weights);
        break;
    case Method::position_based:
        weigh_position(model.position, touches, weights);
        break;
    case Method::time_decay:
        weigh_decay(model.half_life_us, touches, weights);
        break;
    case Method::custom:
        for (const Touch& touch : touches)
            weights[touch.channel] += touch.custom_weight;
        break;
    }
}

} // namespace attribution::core
