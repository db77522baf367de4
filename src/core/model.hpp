// Giving credit: from the touches of a journey to one weight per channel.
//
// The one idea: a model is a rule that makes whole weights. Cents come from weights by apportion()
// and nowhere else, so every model is exact for the same reason.
//
// Invariants (test/unit/model_test.cpp): only channels with a touch get a weight; some weight is
// positive unless there is no touch or a custom model gives nothing to any of them; no sum of
// weights leaves 64 bits within the limits below; no floating point, so the bytes are the same from
// every compiler at every optimization level.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <span>

namespace attribution::core {

enum class Method : std::uint8_t {
    first_touch,
    last_touch,
    last_non_direct, // the last touch whose channel is not direct; the last one if all are
    linear,
    position_based,
    time_decay,
    custom, // each touch counts what its channel counts
};

/// A touch that counts, in the order of (time, id). Which touches count (window, excluded channels)
/// is decided before.
struct Touch {
    std::uint32_t channel;       // index into the weights; touches of one channel share it
    bool is_direct;              // for last_non_direct
    std::int64_t age_us;         // for time_decay: from the touch to the conversion, >= 0
    std::uint64_t custom_weight; // for custom: what its channel counts, up to max_model_weight
};

/// Whole parts of the conversion; only ratios matter. The touches between the first and the last
/// share the middle part equally. Two touches share first : last, one touch gets everything. Where
/// the parts that apply are all zero, every touch counts the same.
struct Position {
    std::uint32_t first = 40;
    std::uint32_t middle = 20;
    std::uint32_t last = 40;
};

struct Model {
    Method method = Method::linear;
    Position position;
    std::int64_t half_life_us = std::int64_t{7} * 24 * 3600 * 1'000'000; // > 0
};

/// The largest number of touches one journey may have. More is Fault::limit_exceeded.
inline constexpr std::size_t max_touches = 1'000'000;

/// The largest weight of a channel in a custom model, and of a part of position_based. With
/// max_touches they keep every sum of weights below 2^64.
inline constexpr std::uint64_t max_model_weight = 1'000'000'000'000;
inline constexpr std::uint32_t max_position_weight = 1'000'000;

/// What a touch weighs that is not older than the newest.
inline constexpr std::uint64_t decay_unit = 1'000'000'000'000;

/// What a touch weighs that is `age_us` older than the newest:
/// decay_unit * 2^(-age_us / half_life_us), rounded down.
///
/// - More than the exact value by less than 0.0025, less by less than 1.0001 (units of 10^-12): the
///   exponent is cut after 48 binary places, the product after 64, the result at the unit.
/// - n half-lives later it is exactly weight >> n; so floor(decay_unit / 2^n) at n whole ones, and
///   0 from 40 on.
/// - It never grows with the age and never falls with the half-life, and only their ratio matters.
///
/// A negative age or a half-life that is not positive is a bug of the caller: std::logic_error.
std::uint64_t decay_weight(std::int64_t age_us, std::int64_t half_life_us);

/// Adds up the weights of the touches per channel into `weights` (set to zero first); its size is
/// the number of channels. Only ratios matter. All weights stay zero when there is no touch, or
/// when a custom model gives nothing to any of them: then the conversion is unattributed.
///
/// Throws Error: limit_exceeded past max_touches. What the structs above exclude is a bug of the
/// caller: std::logic_error. Thrown before any weight is written.
void weigh(const Model& model, std::span<const Touch> touches, std::span<std::uint64_t> weights);

} // namespace attribution::core
