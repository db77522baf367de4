// Proves what core/refund.hpp promises.
//
// The one idea: sequences of refunds until nothing is left, every step held against exact fractions
// that know nothing of apportion(). The rule that others use, each refund by the weights of the
// sale, goes through the same sequences and must fail: so the sequences are hard enough.
#include "core/refund.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "random.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;
using Shares = std::vector<Cents>;
using Keys = std::vector<std::uint64_t>;

constexpr Cents lowest = std::numeric_limits<Cents>::min();
constexpr Cents highest = std::numeric_limits<Cents>::max();

cpp_int sum_of(const Shares& cents) {
    cpp_int sum = 0;
    for (const Cents value : cents)
        sum += value;
    return sum;
}

Shares taken(Cents refund, Shares& remaining, const Keys& keys = {}) {
    Shares shares(remaining.size(), 0x5eed); // a share that is never written shows
    take_back(refund, remaining, keys, shares);
    return shares;
}

// --- by hand -------------------------------------------------------------------------------------

TEST(TakeBack, SplitsByWhatIsLeft) {
    Shares remaining = {70, 20, 10};
    EXPECT_EQ(taken(-10, remaining), (Shares{-7, -2, -1}));
    EXPECT_EQ(remaining, (Shares{63, 18, 9}));
    EXPECT_EQ(taken(-1, remaining), (Shares{-1, 0, 0}));
    EXPECT_EQ(remaining, (Shares{62, 18, 9}));
    // 88 of 89: 61.30, 17.80, 8.90, so the last two cents go to the larger remainders.
    EXPECT_EQ(taken(-88, remaining), (Shares{-61, -18, -9}));
    EXPECT_EQ(remaining, (Shares{1, 0, 0}));
    EXPECT_EQ(taken(-1, remaining), (Shares{-1, 0, 0}));
    EXPECT_EQ(remaining, (Shares{0, 0, 0}));
}

TEST(TakeBack, GivesTiesToTheSmallerKeyThenToTheLowerIndex) {
    Shares remaining = {5, 5, 5};
    EXPECT_EQ(taken(-1, remaining, {9, 3, 7}), (Shares{0, -1, 0}));
    remaining = {5, 5, 5};
    EXPECT_EQ(taken(-2, remaining, {9, 3, 7}), (Shares{0, -1, -1}));
    remaining = {5, 5, 5};
    EXPECT_EQ(taken(-1, remaining), (Shares{-1, 0, 0}));
}

TEST(TakeBack, TakesTheWholeRange) {
    Shares remaining = {highest, highest, highest, 0}; // three times 2^63 - 1 is more than 64 bits
    EXPECT_EQ(taken(lowest, remaining),
              (Shares{-3074457345618258603, -3074457345618258603, -3074457345618258602, 0}));
    EXPECT_EQ(sum_of(remaining), 3 * cpp_int(highest) + cpp_int(lowest));
    remaining = {highest, 1};
    EXPECT_EQ(taken(lowest, remaining), (Shares{-highest, -1}));
    EXPECT_EQ(remaining, (Shares{0, 0}));
    remaining = Shares(1000, highest);
    EXPECT_EQ(sum_of(taken(-1, remaining)), -1);
}

// --- refused, and nothing changed ----------------------------------------------------------------

void expect_refused(Cents refund, const Shares& remaining, const std::string& detail) {
    Shares left = remaining;
    Shares shares(remaining.size(), 0x5eed);
    try {
        take_back(refund, left, {}, shares);
        FAIL() << "accepted: " << refund;
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::invalid_value);
        EXPECT_EQ(error.detail(), detail);
        EXPECT_NE(std::string(error.what()), "");
        EXPECT_NE(error.hint(), "");
    }
    EXPECT_EQ(left, remaining);
    EXPECT_EQ(shares, Shares(remaining.size(), 0x5eed));
}

TEST(TakeBack, RefusesWhatIsNoRefund) {
    expect_refused(0, {1, 2}, "The refund is 0 cents.");
    expect_refused(1, {1, 2}, "The refund is 1 cents.");
    expect_refused(highest, {1, 2}, "The refund is 9223372036854775807 cents.");
}

TEST(TakeBack, RefusesMoreThanIsLeft) {
    expect_refused(-4, {1, 2}, "The refund is -4 cents, 3 are left.");
    expect_refused(-1, {0, 0}, "The refund is -1 cents, 0 are left.");
    expect_refused(-1, {}, "The refund is -1 cents, 0 are left.");
    expect_refused(lowest, {highest},
                   "The refund is -9223372036854775808 cents, 9223372036854775807 are left.");
    expect_refused(lowest, {highest, 0},
                   "The refund is -9223372036854775808 cents, 9223372036854775807 are left.");
}

TEST(TakeBack, RefusesChannelsBelowZero) {
    expect_refused(-1, {5, -1}, "Channel 2 has -1 cents left.");
    expect_refused(-1, {lowest, highest}, "Channel 1 has -9223372036854775808 cents left.");
}

TEST(TakeBack, SpansOfDifferentLengthAreABugOfTheCaller) {
    Shares remaining = {1, 2};
    Shares shares(3, 0x5eed);
    EXPECT_THROW(take_back(-1, remaining, {}, shares), std::logic_error);
    shares.resize(2);
    EXPECT_THROW(take_back(-1, remaining, Keys{1}, shares), std::logic_error);
    EXPECT_EQ(remaining, (Shares{1, 2}));
    EXPECT_EQ(shares, Shares(2, 0x5eed));
}

TEST(TakeBack, RefusesMoreSharesThanTheLimit) {
    Shares remaining(max_shares + 1, 1);
    Shares shares(max_shares + 1, 0x5eed);
    try {
        take_back(-1, remaining, {}, shares);
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::limit_exceeded);
    }
    EXPECT_EQ(remaining, Shares(max_shares + 1, 1));
}

// --- sequences -----------------------------------------------------------------------------------

/// What a channel got of the sale: often little, sometimes nothing, sometimes all there can be.
Cents random_amount(Random& random) {
    switch (random.below(8)) {
    case 0:
        return 0;
    case 1:
    case 2:
    case 3:
        return static_cast<Cents>(random.below(6));
    case 4:
    case 5:
        return static_cast<Cents>(random.below(100'000));
    case 6:
        return highest - static_cast<Cents>(random.below(3));
    default:
        return static_cast<Cents>(random.any_width(63));
    }
}

Shares random_sale(Random& random) {
    Shares sale(1 + random.below(12));
    const bool small = random.one_in(2);
    for (Cents& cents : sale)
        cents = small ? static_cast<Cents>(random.below(20)) : random_amount(random);
    return sale;
}

Keys random_keys(Random& random, std::size_t count) {
    Keys keys(random.one_in(3) ? 0 : count);
    const bool few = random.one_in(2);
    for (std::uint64_t& key : keys)
        key = few ? random.below(3) : random.bits();
    return keys;
}

/// Some of what is left, at the `step`th of at most eight refunds of a sale; the last takes all
/// that 64 bits allow.
Cents random_refund(Random& random, const cpp_int& left, int step) {
    const cpp_int most = left < -cpp_int(lowest) ? left : -cpp_int(lowest);
    cpp_int refund = most;
    if (step < 7 && !random.one_in(8))
        refund = random.one_in(2) ? 1 + most * random.below(1'000) / 1'000
                                  : cpp_int(1 + random.any_width(63));
    return static_cast<Cents>(-(refund < most ? refund : most));
}

/// Hamilton's rule by sorting exact remainders, scaled by what is left; no division of the core's.
Shares oracle(Cents refund, const Shares& remaining, const Keys& keys) {
    const cpp_int sum = sum_of(remaining);
    const cpp_int amount = -cpp_int(refund);
    std::vector<cpp_int> floors;
    std::vector<std::size_t> order(remaining.size());
    std::vector<cpp_int> remainders;
    cpp_int left = amount;
    for (const Cents cents : remaining) {
        const cpp_int product = amount * cents;
        floors.push_back(product / sum);
        remainders.push_back(product % sum);
        left -= floors.back();
    }
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        if (remainders[a] != remainders[b])
            return remainders[a] > remainders[b];
        if (!keys.empty() && keys[a] != keys[b])
            return keys[a] < keys[b];
        return a < b;
    });
    for (auto next = order.begin(); left > 0; ++next, --left)
        ++floors[*next];
    Shares shares;
    for (const cpp_int& floor : floors)
        shares.push_back(static_cast<Cents>(-floor));
    return shares;
}

TEST(TakeBack, NeverGoesBelowZeroAndEndsAtZeroInAnySequence) {
    Random random(50'000);
    int steps = 0;
    int wide = 0; // steps with more left than 64 bits hold
    for (int i = 0; i < 60'000; ++i) {
        Shares remaining = random_sale(random);
        cpp_int left = sum_of(remaining);
        const Keys keys = random_keys(random, remaining.size());
        for (int step = 0; left > 0; ++step, ++steps) {
            wide += left > std::numeric_limits<std::uint64_t>::max() ? 1 : 0;
            const Shares before = remaining;
            const Cents refund = random_refund(random, left, step);
            const Shares shares = taken(refund, remaining, keys);
            SCOPED_TRACE(testing::Message() << "sequence " << i << ", step " << step);
            ASSERT_EQ(sum_of(shares), refund);
            for (std::size_t channel = 0; channel < shares.size(); ++channel) {
                ASSERT_GE(remaining[channel], 0);
                ASSERT_LE(shares[channel], 0);
                ASSERT_EQ(remaining[channel], before[channel] + shares[channel]);
                // Less than a cent beside refund * before / left: its floor or its ceiling.
                const cpp_int beside =
                    shares[channel] * left - cpp_int(refund) * cpp_int(before[channel]);
                ASSERT_LT(abs(beside), left);
            }
            ASSERT_EQ(shares, oracle(refund, before, keys));
            left += refund;
            ASSERT_EQ(sum_of(remaining), left);
        }
        ASSERT_EQ(remaining, Shares(remaining.size(), 0)) << "sequence " << i;
    }
    EXPECT_GT(steps, 150'000);
    EXPECT_GT(wide, 10'000);
}

/// The mistake that take_back() is for: sales split by weights, each refund by the same weights.
TEST(TakeBack, SplittingByTheWeightsOfTheSaleGoesWrong) {
    Random random(50'000);
    int sequences = 0;
    int wrong = 0;
    for (int i = 0; i < 5'000; ++i) {
        Keys weights(2 + random.below(5));
        for (std::uint64_t& weight : weights)
            weight = 1 + random.below(10);
        const auto revenue = static_cast<Cents>(1 + random.below(10'000));
        Shares remaining(weights.size());
        apportion(revenue, weights, {}, remaining);
        Shares by_the_rule = remaining;
        bool below_zero = false;
        cpp_int left = revenue;
        for (int step = 0; left > 0; ++step) {
            const Cents refund = random_refund(random, left, step);
            Shares shares(weights.size());
            apportion(refund, weights, {}, shares);
            for (std::size_t channel = 0; channel < shares.size(); ++channel) {
                remaining[channel] += shares[channel];
                below_zero = below_zero || remaining[channel] < 0;
            }
            taken(refund, by_the_rule);
            left += refund;
        }
        ++sequences;
        wrong += below_zero || remaining != Shares(weights.size(), 0) ? 1 : 0;
        ASSERT_EQ(by_the_rule, Shares(weights.size(), 0)) << "sequence " << i;
    }
    EXPECT_GT(wrong, sequences / 4); // a third, as it happens
}

} // namespace
} // namespace attribution::core
