// Proves what core/model.hpp promises.
//
// The one idea: a second way to the same number. Weights are held against vectors done by hand and
// against exact fractions per touch; powers of two against whole powers of integers, which need no
// root, and against fifty decimal places.
#include "core/model.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/apportion.hpp"
#include "core/error.hpp"
#include "random.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;
using Rational = boost::multiprecision::cpp_rational;
using Real = boost::multiprecision::cpp_bin_float_50;
using Touches = std::vector<Touch>;
using Weights = std::vector<std::uint64_t>;

constexpr std::int64_t day_us = std::int64_t{24} * 3600 * 1'000'000;
constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

constexpr Model of(Method method) {
    return {.method = method, .position = {}};
}
constexpr Model position_based(std::uint32_t first, std::uint32_t middle, std::uint32_t last) {
    return {.method = Method::position_based,
            .position = {.first = first, .middle = middle, .last = last}};
}
constexpr Model half_life(std::int64_t us) {
    return {.method = Method::time_decay, .position = {}, .half_life_us = us};
}

/// A journey such as "abda": one letter per touch, channel 0 is a; d is direct. Every touch is a
/// day older than the next, the last one is a day before the conversion; channel c counts 10^c.
Touches journey(std::string_view letters) {
    Touches touches;
    std::int64_t age = static_cast<std::int64_t>(letters.size()) * day_us;
    for (const char letter : letters) {
        std::uint64_t counts = 1;
        for (char c = 'a'; c < letter; ++c)
            counts *= 10;
        touches.push_back({.channel = static_cast<std::uint32_t>(letter - 'a'),
                           .is_direct = letter == 'd',
                           .age_us = age,
                           .custom_weight = counts});
        age -= day_us;
    }
    return touches;
}

Weights weighed(const Model& model, const Touches& touches, std::size_t channels) {
    Weights weights(channels, 0x5eed); // a weight that is never written shows
    weigh(model, touches, weights);
    return weights;
}

Weights weighed(const Model& model, std::string_view letters, std::size_t channels = 4) {
    return weighed(model, journey(letters), channels);
}

// --- by hand -------------------------------------------------------------------------------------

TEST(Weigh, FirstAndLastTouch) {
    EXPECT_EQ(weighed(of(Method::first_touch), "abca"), (Weights{1, 0, 0, 0}));
    EXPECT_EQ(weighed(of(Method::first_touch), "cab"), (Weights{0, 0, 1, 0}));
    EXPECT_EQ(weighed(of(Method::last_touch), "abc"), (Weights{0, 0, 1, 0}));
    EXPECT_EQ(weighed(of(Method::last_touch), "abcd"), (Weights{0, 0, 0, 1}));
    EXPECT_EQ(weighed(of(Method::last_touch), "b"), (Weights{0, 1, 0, 0}));
}

TEST(Weigh, LastNonDirect) {
    EXPECT_EQ(weighed(of(Method::last_non_direct), "abc"), (Weights{0, 0, 1, 0}));
    EXPECT_EQ(weighed(of(Method::last_non_direct), "abcdd"), (Weights{0, 0, 1, 0}));
    EXPECT_EQ(weighed(of(Method::last_non_direct), "addd"), (Weights{1, 0, 0, 0}));
    EXPECT_EQ(weighed(of(Method::last_non_direct), "dd"), (Weights{0, 0, 0, 1}));
    // Two channels may both be direct: the last touch of all, then.
    Touches touches = journey("ab");
    for (Touch& touch : touches)
        touch.is_direct = true;
    EXPECT_EQ(weighed(of(Method::last_non_direct), touches, 2), (Weights{0, 1}));
}

TEST(Weigh, Linear) {
    EXPECT_EQ(weighed(of(Method::linear), "abcd"), (Weights{1, 1, 1, 1}));
    EXPECT_EQ(weighed(of(Method::linear), "abaca"), (Weights{3, 1, 1, 0}));
}

TEST(Weigh, PositionBased) {
    const Model usual = of(Method::position_based); // 40 / 20 / 40
    EXPECT_EQ(weighed(usual, "b"), (Weights{0, 1, 0, 0}));
    EXPECT_EQ(weighed(usual, "ab"), (Weights{40, 40, 0, 0}));
    EXPECT_EQ(weighed(usual, "abc"), (Weights{40, 20, 40, 0}));
    EXPECT_EQ(weighed(usual, "abcd"), (Weights{80, 20, 20, 80}));
    EXPECT_EQ(weighed(usual, "abca"), (Weights{160, 20, 20, 0}));
    EXPECT_EQ(weighed(usual, "abbac"), (Weights{140, 40, 120, 0}));
    EXPECT_EQ(weighed(usual, "aa"), (Weights{80, 0, 0, 0}));
    EXPECT_EQ(weighed(position_based(1, 3, 2), "abcd"), (Weights{2, 3, 3, 4}));
    EXPECT_EQ(weighed(position_based(1, 3, 2), "ab"), (Weights{1, 2, 0, 0}));
}

TEST(Weigh, PositionBasedWithoutAnyPartThatAppliesIsLinear) {
    EXPECT_EQ(weighed(position_based(0, 100, 0), "a"), (Weights{1, 0, 0, 0}));
    EXPECT_EQ(weighed(position_based(0, 100, 0), "ab"), (Weights{1, 1, 0, 0}));
    EXPECT_EQ(weighed(position_based(0, 100, 0), "aa"), (Weights{2, 0, 0, 0}));
    EXPECT_EQ(weighed(position_based(0, 100, 0), "abc"), (Weights{0, 100, 0, 0}));
    EXPECT_EQ(weighed(position_based(100, 0, 0), "ab"), (Weights{100, 0, 0, 0}));
    EXPECT_EQ(weighed(position_based(0, 0, 100), "abcd"), (Weights{0, 0, 0, 200}));
    EXPECT_EQ(weighed(position_based(0, 0, 0), "abca"), (Weights{2, 1, 1, 0}));
    EXPECT_EQ(weighed(position_based(0, 0, 0), "ab"), (Weights{1, 1, 0, 0}));
}

TEST(Weigh, TimeDecay) {
    constexpr std::uint64_t unit = decay_unit;
    EXPECT_EQ(weighed(half_life(day_us), "abcd"), (Weights{unit / 8, unit / 4, unit / 2, unit}));
    EXPECT_EQ(weighed(half_life(day_us), "aba"), (Weights{unit / 4 + unit, unit / 2, 0, 0}));
    EXPECT_EQ(weighed(half_life(2 * day_us), "abc"), (Weights{unit / 2, 707'106'781'186, unit, 0}));
    // Relative to the newest touch, however long before the conversion that was.
    Touches touches = journey("abcd");
    for (Touch& touch : touches)
        touch.age_us += 100'000 * day_us;
    EXPECT_EQ(weighed(half_life(day_us), touches, 4), weighed(half_life(day_us), "abcd"));
    // Too old to count beside the newest.
    touches.front().age_us = highest;
    EXPECT_EQ(weighed(half_life(day_us), touches, 4), (Weights{0, unit / 4, unit / 2, unit}));
    // Touches at the same time weigh the same.
    for (Touch& touch : touches)
        touch.age_us = 5;
    EXPECT_EQ(weighed(half_life(1), touches, 4), Weights(4, unit));
}

TEST(Weigh, Custom) {
    EXPECT_EQ(weighed(of(Method::custom), "abcd"), (Weights{1, 10, 100, 1000}));
    EXPECT_EQ(weighed(of(Method::custom), "abba"), (Weights{2, 20, 0, 0}));
    Touches touches = journey("abc");
    touches[1].custom_weight = 0;
    EXPECT_EQ(weighed(of(Method::custom), touches, 3), (Weights{1, 0, 100}));
    for (Touch& touch : touches)
        touch.custom_weight = 0;
    EXPECT_EQ(weighed(of(Method::custom), touches, 3), Weights(3, 0)) << "unattributed";
}

constexpr Method every_method[] = {
    Method::first_touch,    Method::last_touch, Method::last_non_direct, Method::linear,
    Method::position_based, Method::time_decay, Method::custom};

TEST(Weigh, NothingWithoutATouch) {
    for (const Method method : every_method) {
        EXPECT_EQ(weighed(of(method), "", 3), Weights(3, 0));
        EXPECT_EQ(weighed(of(method), "", 0), Weights{});
    }
}

// --- limits --------------------------------------------------------------------------------------

std::uint64_t sum_of(const Weights& weights) {
    cpp_int sum = 0;
    for (const std::uint64_t weight : weights)
        sum += weight;
    EXPECT_LE(sum, std::numeric_limits<std::uint64_t>::max());
    return static_cast<std::uint64_t>(sum);
}

TEST(Weigh, TheLargestJourneyFits) {
    const Touches touches(max_touches, Touch{.channel = 0,
                                             .is_direct = true,
                                             .age_us = highest,
                                             .custom_weight = max_model_weight});
    const std::uint64_t n = max_touches;
    EXPECT_EQ(weighed(of(Method::linear), touches, 1), Weights{n});
    EXPECT_EQ(weighed(of(Method::custom), touches, 1), Weights{n * max_model_weight});
    EXPECT_EQ(weighed(half_life(1), touches, 1), Weights{n * decay_unit});
    EXPECT_EQ(weighed(of(Method::last_non_direct), touches, 1), Weights{1});
    constexpr std::uint32_t most = max_position_weight;
    EXPECT_EQ(weighed(position_based(most, most, most), touches, 1),
              Weights{3 * std::uint64_t{most} * (n - 2)});
    EXPECT_EQ(weighed(position_based(0, 0, 1), touches, 1), Weights{n - 2});
}

TEST(Weigh, RefusesOneTouchMore) {
    const Touches touches(max_touches + 1,
                          Touch{.channel = 0, .is_direct = false, .age_us = 0, .custom_weight = 1});
    for (const Method method : every_method) {
        Weights weights(1, 0x5eed);
        try {
            weigh(of(method), touches, weights);
            FAIL() << "a journey past the limit was weighed";
        } catch (const Error& error) {
            EXPECT_EQ(error.fault(), Fault::limit_exceeded);
            EXPECT_EQ(error.detail(), "1000001 touches count, at most 1000000 are allowed.");
            EXPECT_NE(error.hint(), "");
        }
        EXPECT_EQ(weights, Weights(1, 0x5eed)) << "nothing is written";
    }
}

TEST(Weigh, BugsOfTheCallerShow) {
    const auto throws = [](const Model& model, const Touches& touches) {
        Weights weights(2, 0x5eed);
        EXPECT_THROW(weigh(model, touches, weights), std::logic_error);
        EXPECT_EQ(weights, Weights(2, 0x5eed)) << "nothing is written";
    };
    throws(of(Method::linear), journey("abc"));
    Touches touches = journey("ab");
    touches[1].age_us = -1;
    throws(of(Method::time_decay), touches);
    touches = journey("ab");
    touches[0].custom_weight = max_model_weight + 1;
    throws(of(Method::custom), touches);
    throws(half_life(0), journey("ab"));
    throws(half_life(-1), journey("ab"));
    throws(position_based(max_position_weight + 1, 0, 0), journey("ab"));
    throws(position_based(0, max_position_weight + 1, 0), journey("ab"));
    throws(position_based(0, 0, max_position_weight + 1), journey("ab"));
    EXPECT_THROW(decay_weight(-1, 1), std::logic_error);
    EXPECT_THROW(decay_weight(0, 0), std::logic_error);
    EXPECT_THROW(decay_weight(0, -1), std::logic_error);
}

// --- against exact fractions per touch -----------------------------------------------------------

/// What the touch at `place` deserves of the whole, as the definition of its method says.
Rational deserved(const Model& model, const Touches& touches, std::size_t place) {
    const std::size_t count = touches.size();
    const std::size_t last = count - 1;
    switch (model.method) {
    case Method::first_touch:
        return place == 0 ? 1 : 0;
    case Method::last_touch:
        return place == last ? 1 : 0;
    case Method::last_non_direct: {
        std::size_t winner = last;
        for (std::size_t i = 0; i < count; ++i)
            if (!touches[i].is_direct)
                winner = i;
        if (std::all_of(touches.begin(), touches.end(), [](const Touch& t) { return t.is_direct; }))
            winner = last;
        return place == winner ? 1 : 0;
    }
    case Method::linear:
        return 1;
    case Method::position_based: {
        const auto [first, middle, end] = model.position;
        const bool has_middle = count > 2;
        if (count == 1 || (first == 0 && end == 0 && (!has_middle || middle == 0)))
            return 1;
        if (place == 0)
            return first;
        if (place == last)
            return end;
        return Rational(middle) / (count - 2);
    }
    case Method::custom:
        return cpp_int(touches[place].custom_weight);
    case Method::time_decay:
        break;
    }
    throw std::logic_error("no such method here");
}

Touches random_journey(Random& random, std::size_t channels) {
    const std::size_t count = 1 + random.below(random.one_in(10) ? 60 : 6);
    Touches touches;
    for (std::size_t i = 0; i < count; ++i)
        touches.push_back({.channel = static_cast<std::uint32_t>(random.below(channels)),
                           .is_direct = random.one_in(2),
                           .age_us = static_cast<std::int64_t>(random.any_width(63)),
                           .custom_weight = random.one_in(3) ? 0 : random.any_width(39)});
    std::sort(touches.begin(), touches.end(),
              [](const Touch& a, const Touch& b) { return a.age_us > b.age_us; });
    return touches;
}

std::uint32_t random_part(Random& random) {
    return random.one_in(4)   ? 0
           : random.one_in(4) ? max_position_weight
                              : static_cast<std::uint32_t>(random.below(max_position_weight + 1));
}

TEST(Weigh, EveryChannelGetsTheFractionItDeserves) {
    Random random(1792);
    int unattributed = 0;
    for (int i = 0; i < 40'000; ++i) {
        const std::size_t channels = 1 + random.below(6);
        const Touches touches = random_journey(random, channels);
        Model model = of(every_method[random.below(7)]);
        if (model.method == Method::time_decay)
            continue;
        if (random.one_in(2))
            model.position = {random_part(random), random_part(random), random_part(random)};
        std::vector<Rational> parts(channels, 0);
        Rational whole = 0;
        for (std::size_t place = 0; place < touches.size(); ++place) {
            const Rational part = deserved(model, touches, place);
            parts[touches[place].channel] += part;
            whole += part;
        }
        const Weights weights = weighed(model, touches, channels);
        const std::uint64_t sum = sum_of(weights);
        if (whole == 0) {
            ASSERT_EQ(model.method, Method::custom);
            ASSERT_EQ(sum, 0U);
            ++unattributed;
            continue;
        }
        ASSERT_GT(sum, 0U);
        for (std::size_t channel = 0; channel < channels; ++channel)
            ASSERT_EQ(Rational(cpp_int(weights[channel])) * whole,
                      parts[channel] * Rational(cpp_int(sum)))
                << "journey " << i << ", channel " << channel;
    }
    EXPECT_GT(unattributed, 100);
}

// --- powers of two -------------------------------------------------------------------------------

TEST(DecayWeight, NeverChanges) {
    // Age, half-life, weight: done with 60 decimal places in another language.
    struct Row {
        std::int64_t age_us;
        std::int64_t half_life_us;
        std::uint64_t weight;
    };
    constexpr std::int64_t week_us = 7 * day_us;
    for (const Row& row : {
             Row{0, week_us, 1'000'000'000'000},
             Row{1, week_us, 999'999'999'998},
             Row{1'000'000, week_us, 999'998'853'923},
             Row{3'600'000'000, week_us, 995'882'623'658},
             Row{day_us, week_us, 905'723'664'263},
             Row{2 * day_us, week_us, 820'335'356'007},
             Row{3 * day_us + day_us / 2, week_us, 707'106'781'186},
             Row{week_us - 1, week_us, 500'000'000'000},
             Row{week_us, week_us, 500'000'000'000},
             Row{week_us + 1, week_us, 499'999'999'999},
             Row{2 * week_us, week_us, 250'000'000'000},
             Row{30 * day_us, week_us, 51'270'959'750},
             Row{90 * day_us, week_us, 134'776'551},
             Row{365 * day_us, week_us, 0},
             Row{day_us, 3 * day_us, 793'700'525'984},
             Row{day_us, 30 * day_us, 977'159'968'434},
             Row{1, 3, 793'700'525'984},
             Row{2, 3, 629'960'524'947},
             Row{1, 2, 707'106'781'186},
             Row{398, 10, 1},
             Row{399, 10, 0},
             Row{39, 1, 1},
             Row{40, 1, 0},
             Row{highest, 1, 0},
             Row{std::int64_t{1} << 62, highest, 707'106'781'186},
             Row{highest - 1, highest, 500'000'000'000},
             Row{highest, highest, 500'000'000'000},
             // 999999999999.99999992: the exponent is cut, so it may be above by that little.
             Row{1, highest, 1'000'000'000'000},
         })
        EXPECT_EQ(decay_weight(row.age_us, row.half_life_us), row.weight)
            << row.age_us << " of " << row.half_life_us;
}

TEST(DecayWeight, IsWithinItsBoundByPowersOfIntegers) {
    // weight <> unit * 2^(-age / life) is the same as weight^life * 2^age <> unit^life. The bounds,
    // -1.0001 and 0.0025, are in ten-thousandths.
    for (unsigned life = 1; life <= 24; ++life) {
        const cpp_int unit = pow(cpp_int(decay_unit) * 10'000, life);
        for (unsigned age = 0; age <= 41 * life; ++age) {
            const cpp_int weight = cpp_int(decay_weight(age, life)) * 10'000;
            ASSERT_GT(pow(weight + 10'001, life) << age, unit) << age << " of " << life;
            if (weight > 0) {
                ASSERT_LT(pow(weight - 25, life) << age, unit) << age << " of " << life;
            }
        }
    }
}

TEST(DecayWeight, IsWithinItsBoundByFiftyDecimals) {
    Random random(1202);
    Real most_below = 0;
    for (int i = 0; i < 20'000; ++i) {
        const auto life = static_cast<std::int64_t>(random.any_width(63) | 1);
        // Most ages within forty half-lives: beyond there is nothing to see.
        const std::uint64_t thousandths = random.below(40'000);
        const cpp_int wide =
            random.one_in(10) ? cpp_int(random.any_width(63)) : cpp_int(life) * thousandths / 1'000;
        const auto age = static_cast<std::int64_t>(wide < highest ? wide : cpp_int(highest));
        const Real exact = Real(decay_unit) * pow(Real(2), Real(-Real(age) / Real(life)));
        const Real above = Real(decay_weight(age, life)) - exact;
        ASSERT_LT(above, Real("0.0025")) << age << " of " << life;
        ASSERT_GT(above, Real("-1.0001")) << age << " of " << life;
        most_below = std::min(most_below, above);
    }
    EXPECT_LT(most_below, -0.99) << "the grid is too coarse to see the rounding";
}

TEST(DecayWeight, HalvesExactlyEachHalfLife) {
    Random random(64);
    for (int i = 0; i < 20'000; ++i) {
        const auto life = static_cast<std::int64_t>(random.any_width(50) | 1);
        const auto age = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(life)));
        const std::uint64_t young = decay_weight(age, life);
        for (int halvings = 0; halvings <= 70; ++halvings)
            if (life <= (highest - age) / std::max(halvings, 1)) {
                ASSERT_EQ(decay_weight(age + halvings * life, life),
                          halvings < 64 ? young >> halvings : 0)
                    << age << " of " << life << ", " << halvings << " halvings";
            }
    }
    for (int halvings = 0; halvings < 64; ++halvings)
        EXPECT_EQ(decay_weight(halvings * 7 * day_us, 7 * day_us), decay_unit >> halvings);
}

TEST(DecayWeight, NeverGrowsWithTheAge) {
    const auto falls = [](std::int64_t from, std::int64_t to, std::int64_t step,
                          std::int64_t life) {
        std::uint64_t before = decay_weight(from, life);
        for (std::int64_t age = from; age <= to - step;) {
            age += step;
            const std::uint64_t now = decay_weight(age, life);
            ASSERT_LE(now, before) << age << " of " << life;
            before = now;
        }
    };
    falls(0, 200'000, 1, 4'999);
    falls(0, 45 * 7 * day_us, 40'000'000'007, 7 * day_us);
    // Single steps of the 48 binary places of the exponent, where a bit carries: the product of
    // many roots gives way to one.
    constexpr std::int64_t life = std::int64_t{1} << 48;
    for (int bit = 0; bit <= 49; ++bit)
        falls(std::max<std::int64_t>((std::int64_t{1} << bit) - 300, 0),
              (std::int64_t{1} << bit) + 300, 1, life);
    Random random(48);
    for (int i = 0; i < 2'000; ++i) {
        const auto start = static_cast<std::int64_t>(random.below(std::uint64_t{40} << 48));
        falls(start, start + 30, 1, life);
    }
}

TEST(DecayWeight, NeverFallsWithTheHalfLifeAndOnlyTheRatioMatters) {
    Random random(2048);
    for (int i = 0; i < 50'000; ++i) {
        const auto age = static_cast<std::int64_t>(random.any_width(40));
        const auto life = static_cast<std::int64_t>(1 + random.any_width(40));
        const std::uint64_t weight = decay_weight(age, life);
        ASSERT_LE(weight, decay_weight(age, life + 1)) << age << " of " << life;
        const auto factor = static_cast<std::int64_t>(1 + random.below(1 << 20));
        ASSERT_EQ(weight, decay_weight(age * factor, life * factor)) << age << " of " << life;
    }
}

TEST(Weigh, TimeDecaySumsTheTouchesOfAChannel) {
    Random random(7);
    for (int i = 0; i < 3'000; ++i) {
        const std::size_t channels = 1 + random.below(5);
        const Touches touches = random_journey(random, channels);
        const auto life = static_cast<std::int64_t>(1 + random.any_width(62));
        const Weights weights = weighed(half_life(life), touches, channels);
        Weights expected(channels, 0);
        for (const Touch& touch : touches)
            expected[touch.channel] += decay_weight(touch.age_us - touches.back().age_us, life);
        ASSERT_EQ(weights, expected) << "journey " << i;
        ASSERT_GE(sum_of(weights), decay_unit);
    }
}

// --- to the cent ---------------------------------------------------------------------------------

TEST(Weigh, GivesWeightsThatApportionTakes) {
    Random random(1000);
    for (int i = 0; i < 20'000; ++i) {
        const std::size_t channels = 1 + random.below(6);
        const Touches touches = random_journey(random, channels);
        const Method method = every_method[random.below(7)];
        const Weights weights = weighed(of(method), touches, channels);
        if (sum_of(weights) == 0)
            continue;
        const auto revenue = static_cast<Cents>(random.any_width(63));
        std::vector<Cents> shares(channels);
        apportion(revenue, weights, {}, shares);
        ASSERT_EQ(std::accumulate(shares.begin(), shares.end(), Cents{0}), revenue);
    }
}

} // namespace
} // namespace attribution::core
