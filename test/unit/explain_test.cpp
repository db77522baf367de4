// Proves what core/explain.hpp promises.
//
// The one idea: what is explained is read back from its texts and must be the whole story: exact
// rationals that sum to the total, from which the rule, followed by hand, gives the cents.
#include "core/explain.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;
using Rational = boost::multiprecision::cpp_rational;
using Keys = std::vector<std::uint64_t>;

constexpr Cents lowest_total = std::numeric_limits<Cents>::min();
constexpr Cents highest_total = std::numeric_limits<Cents>::max();

/// A weight of base-10000 digits, and the same as a rational.
struct Weight {
    std::vector<std::int16_t> digits;
    int first_exponent = 0;

    [[nodiscard]] Decimal view() const {
        return {.digits = digits, .first_exponent = first_exponent};
    }
    [[nodiscard]] Rational exact() const {
        Rational value = 0;
        for (std::size_t i = 0; i < digits.size(); ++i) {
            const int exponent = first_exponent - static_cast<int>(i);
            const cpp_int power = boost::multiprecision::pow(
                cpp_int(10000), static_cast<unsigned>(std::abs(exponent)));
            value += exponent >= 0 ? Rational(cpp_int(digits[i]) * power, 1)
                                   : Rational(cpp_int(digits[i]), power);
        }
        return value;
    }
};

std::vector<Weight> whole(std::initializer_list<std::int16_t> values) {
    std::vector<Weight> weights;
    for (const std::int16_t value : values)
        weights.push_back({.digits = {value}});
    return weights;
}

std::vector<Decimal> views(const std::vector<Weight>& weights) {
    std::vector<Decimal> decimals;
    for (const Weight& weight : weights)
        decimals.push_back(weight.view());
    return decimals;
}

std::vector<Explanation> explained(Cents total, const std::vector<Weight>& weights,
                                   const Keys& keys = {}) {
    std::vector<Explanation> result;
    explain(total, views(weights), keys,
            [&](const Explanation& explanation) { result.push_back(explanation); });
    return result;
}

void expect_row(const Explanation& row, std::string_view exact_share, Cents floor,
                std::string_view remainder, std::size_t rank, Cents cents) {
    EXPECT_EQ(row.exact_share, exact_share);
    EXPECT_EQ(row.floor, floor);
    EXPECT_EQ(row.remainder, remainder);
    EXPECT_EQ(row.rank, rank);
    EXPECT_EQ(row.cents, cents);
}

/// Reads "n" or "n/d", and expects it as the header says: reduced, the sign in front.
Rational read(const std::string& text) {
    const std::size_t slash = text.find('/');
    const cpp_int numerator(text.substr(0, slash));
    if (slash == std::string::npos)
        return Rational(numerator);
    const cpp_int denominator(text.substr(slash + 1));
    EXPECT_GT(denominator, 1) << text;
    EXPECT_EQ(gcd(cpp_int(abs(numerator)), denominator), 1) << text;
    return {numerator, denominator};
}

/// Everything the header promises of one explanation.
void check(Cents total, const std::vector<Weight>& weights, const Keys& keys) {
    const std::vector<Explanation> rows = explained(total, weights, keys);
    ASSERT_EQ(rows.size(), weights.size());
    std::vector<Cents> cents(weights.size());
    apportion(total, views(weights), keys, cents);

    Rational weight_sum = 0;
    for (const Weight& weight : weights)
        weight_sum += weight.exact();
    const cpp_int sign = total < 0 ? -1 : 1;

    Rational sum = 0;
    cpp_int left = total;
    std::vector<Rational> remainders;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const Rational share = read(rows[i].exact_share);
        const Rational remainder = read(rows[i].remainder);
        EXPECT_EQ(share, Rational(total) * weights[i].exact() / weight_sum);
        EXPECT_GE(remainder, 0);
        EXPECT_LT(remainder, 1);
        EXPECT_EQ(share, Rational(rows[i].floor) + remainder * sign);
        EXPECT_EQ(rows[i].cents, cents[i]);
        sum += share;
        left -= rows[i].floor;
        remainders.push_back(remainder);
    }
    EXPECT_EQ(sum, Rational(total));

    std::vector<std::size_t> by_rank(rows.size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        ASSERT_GE(rows[i].rank, 1U);
        ASSERT_LE(rows[i].rank, rows.size());
        by_rank[rows[i].rank - 1] = i;
        EXPECT_EQ(rows[i].cents, cpp_int(rows[i].floor) + (rows[i].rank <= abs(left) ? sign : 0));
    }
    for (std::size_t place = 0; place < by_rank.size(); ++place) {
        ASSERT_LT(by_rank[place], rows.size()) << "nobody has rank " << place + 1;
        if (place == 0)
            continue;
        const std::size_t before = by_rank[place - 1];
        const std::size_t after = by_rank[place];
        EXPECT_GE(remainders[before], remainders[after]);
        if (remainders[before] == remainders[after]) {
            if (keys.empty() || keys[before] == keys[after])
                EXPECT_LT(before, after);
            else
                EXPECT_LT(keys[before], keys[after]);
        }
    }
}

// --- by hand
// ---------------------------------------------------------------------------------------

TEST(Explain, DealsOutTheCentLeftOver) {
    const std::vector<Explanation> rows = explained(100, whole({1, 1, 1}));
    ASSERT_EQ(rows.size(), 3U);
    expect_row(rows[0], "100/3", 33, "1/3", 1, 34);
    expect_row(rows[1], "100/3", 33, "1/3", 2, 33);
    expect_row(rows[2], "100/3", 33, "1/3", 3, 33);
}

TEST(Explain, PutsTheSmallerTieKeyFirst) {
    const std::vector<Explanation> rows = explained(-101, whole({1, 1, 1}), {7, 9, 5});
    ASSERT_EQ(rows.size(), 3U);
    expect_row(rows[0], "-101/3", -33, "2/3", 2, -34);
    expect_row(rows[1], "-101/3", -33, "2/3", 3, -33);
    expect_row(rows[2], "-101/3", -33, "2/3", 1, -34);
}

TEST(Explain, PutsTheLargerRemainderBeforeTheSmallerKey) {
    const std::vector<Explanation> rows = explained(1001, whole({50, 30, 20}), {3, 2, 1});
    ASSERT_EQ(rows.size(), 3U);
    expect_row(rows[0], "1001/2", 500, "1/2", 1, 501);
    expect_row(rows[1], "3003/10", 300, "3/10", 2, 300);
    expect_row(rows[2], "1001/5", 200, "1/5", 3, 200);
}

TEST(Explain, WritesWholeNumbersWithoutDenominator) {
    const std::vector<Explanation> rows = explained(-100, whole({3, 0, 1}));
    ASSERT_EQ(rows.size(), 3U);
    expect_row(rows[0], "-75", -75, "0", 1, -75);
    expect_row(rows[1], "0", 0, "0", 2, 0); // not -0
    expect_row(rows[2], "-25", -25, "0", 3, -25);
}

TEST(Explain, ReachesBothEnds) {
    const std::vector<Explanation> one = explained(lowest_total, whole({7}));
    ASSERT_EQ(one.size(), 1U);
    expect_row(one[0], "-9223372036854775808", lowest_total, "0", 1, lowest_total);
    const std::vector<Explanation> two = explained(highest_total, whole({1, 1}));
    ASSERT_EQ(two.size(), 2U);
    expect_row(two[0], "9223372036854775807/2", 4611686018427387903, "1/2", 1, 4611686018427387904);
    expect_row(two[1], "9223372036854775807/2", 4611686018427387903, "1/2", 2, 4611686018427387903);
}

// --- against apportion and rationals
// ----------------------------------------------------------------

TEST(Explain, TellsTheWholeStoryOfRandomCases) {
    std::mt19937_64 random(20240301);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    for (int round = 0; round < 20'000; ++round) {
        const std::size_t count = 1 + below(8);
        std::vector<Weight> weights(count);
        Keys keys;
        for (Weight& weight : weights) {
            keys.push_back(below(round % 3 == 0 ? 2 : highest_total));
            if (below(6) == 0)
                continue; // zero, of whatever exponent
            weight.first_exponent = static_cast<int>(below(6)) - 3;
            const std::size_t length = 1 + below(round % 7 == 0 ? 12 : 3);
            for (std::size_t i = 0; i < length; ++i) // zeros at either end as well
                weight.digits.push_back(
                    static_cast<std::int16_t>(below(3) == 0 ? below(3) : below(10000)));
        }
        weights[below(count)] = {.digits = {static_cast<std::int16_t>(1 + below(9))}};
        if (round % 5 == 0)
            keys.clear();
        const Cents totals[] = {static_cast<Cents>(below(20)), -static_cast<Cents>(below(100'000)),
                                static_cast<Cents>(random()),
                                highest_total - static_cast<Cents>(below(3)),
                                lowest_total + static_cast<Cents>(below(3))};
        check(totals[round % 5], weights, keys);
        if (HasFailure()) {
            FAIL() << "round " << round;
        }
    }
}

TEST(Explain, TakesWeightsFarApart) {
    std::vector<Weight> weights(3);
    weights[0] = {.digits = {1}, .first_exponent = 200};
    weights[1] = {.digits = {1, 0, 0}, .first_exponent = -200};
    weights[2] = {.digits = {0, 9999}, .first_exponent = 200};
    check(highest_total, weights, {});
    check(lowest_total, weights, {3, 2, 1});
}

// --- what is refused
// --------------------------------------------------------------------------------

TEST(Explain, RefusesWhatApportionRefuses) {
    EXPECT_THROW(explained(1, {}), Error);
    EXPECT_THROW(explained(0, whole({0, 0})), Error);
    std::vector<Weight> too_far(1000, {.digits = {1}, .first_exponent = -4096});
    too_far[0].first_exponent = 32767;
    EXPECT_THROW(explained(1, too_far), Error);
    const Weight one{.digits = {1}};
    Decimal bad = one.view();
    bad.negative = true;
    EXPECT_THROW(explain(1, std::vector{one.view(), bad}, {}, [](const Explanation&) {}), Error);
    bad = one.view();
    bad.kind = Decimal::Kind::nan;
    EXPECT_THROW(explain(1, std::vector{one.view(), bad}, {}, [](const Explanation&) {}), Error);
    const std::vector<Weight> many(max_shares + 1, one);
    EXPECT_THROW(explained(1, many), Error);
}

TEST(Explain, EndsWhereTheTakerThrows) {
    int taken = 0;
    const std::vector<Weight> weights = whole({1, 2, 3});
    EXPECT_THROW(explain(10, views(weights), {},
                         [&](const Explanation&) {
                             if (++taken == 2)
                                 throw Error(Fault::invalid_value, "enough");
                         }),
                 Error);
    EXPECT_EQ(taken, 2);
}

} // namespace
} // namespace attribution::core
