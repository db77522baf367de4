// Proves what core/apportion.hpp promises.
//
// The one idea: an oracle that is plain and slow. It divides exact rationals and sorts all
// remainders, as a textbook has it; the core scales integers and selects. Where both agree on a
// million cases, neither repeats the mistake of the other. Each invariant is checked beside the
// oracle as well, so that a wrong oracle would be noticed too.
#include "core/apportion.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <limits>
#include <new>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "rounding_vectors.hpp"

// Every allocation of this program is counted, to hold the core to "no allocation up to 32
// weights".
namespace {
std::size_t allocations = 0; // the tests run on one thread

void* counted_allocation(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size == 0 ? 1 : size))
        return memory;
    throw std::bad_alloc();
}
} // namespace

void* operator new(std::size_t size) {
    return counted_allocation(size);
}
void* operator new[](std::size_t size) {
    return counted_allocation(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;
using Rational = boost::multiprecision::cpp_rational;
using Shares = std::vector<Cents>;
using Keys = std::vector<std::uint64_t>;
using Weights = std::vector<std::uint64_t>;

constexpr Cents lowest_total = std::numeric_limits<Cents>::min();
constexpr Cents highest_total = std::numeric_limits<Cents>::max();
constexpr std::uint64_t highest_weight = std::numeric_limits<std::uint64_t>::max();

// --- numbers -------------------------------------------------------------------------------------

/// A Decimal that owns its digits.
struct Number {
    std::vector<std::int16_t> digits;
    int first_exponent = 0;
    bool negative = false;

    [[nodiscard]] Decimal view() const {
        return {.digits = digits, .first_exponent = first_exponent, .negative = negative};
    }
};

/// "-12345.67" in base 10000, without leading and trailing zero digits, as numeric keeps it.
Number parse_number(std::string_view text) {
    Number number;
    number.negative = text.starts_with('-');
    if (number.negative)
        text.remove_prefix(1);
    const std::size_t point = text.find('.');
    std::string whole(text.substr(0, point));
    std::string fraction(point == std::string_view::npos ? "" : text.substr(point + 1));
    whole.insert(0, (4 - whole.size() % 4) % 4, '0');
    fraction.append((4 - fraction.size() % 4) % 4, '0');
    const std::string places = whole + fraction;
    for (std::size_t i = 0; i < places.size(); i += 4)
        number.digits.push_back(static_cast<std::int16_t>(std::stoi(places.substr(i, 4))));
    number.first_exponent = static_cast<int>(whole.size() / 4) - 1;
    while (!number.digits.empty() && number.digits.back() == 0)
        number.digits.pop_back();
    while (!number.digits.empty() && number.digits.front() == 0) {
        number.digits.erase(number.digits.begin());
        --number.first_exponent;
    }
    return number;
}

Rational sum_of(const std::vector<Rational>& values) {
    return std::accumulate(values.begin(), values.end(), Rational(0));
}

Rational exact(std::uint64_t weight) {
    return {weight};
}

/// The sum that defines a Decimal, by Horner's rule.
Rational exact(const Number& number) {
    cpp_int value = 0;
    for (const std::int16_t digit : number.digits)
        value = value * 10000 + digit;
    const int shift = number.first_exponent + 1 - static_cast<int>(number.digits.size());
    const cpp_int power = pow(cpp_int(10000), static_cast<unsigned>(std::abs(shift)));
    return shift < 0 ? Rational(value, power) : Rational(value * power);
}

/// A rational to be compared by cross multiplication: Boost develops continued fractions instead,
/// which took most of the time of these tests.
struct Fraction {
    cpp_int over;
    cpp_int under;

    explicit Fraction(const Rational& value) : over(numerator(value)), under(denominator(value)) {}

    [[nodiscard]] int compare(const Fraction& other) const {
        return cpp_int(over * other.under).compare(cpp_int(other.over * under));
    }
    bool operator<(const Fraction& other) const { return compare(other) < 0; }
    bool operator==(const Fraction& other) const {
        return over == other.over && under == other.under; // both in lowest terms
    }
    bool operator==(int whole) const { return under == 1 && over == whole; }
};

template <class Weight>
std::vector<Rational> exact_all(const std::vector<Weight>& weights) {
    std::vector<Rational> values;
    values.reserve(weights.size());
    for (const Weight& weight : weights)
        values.push_back(exact(weight));
    return values;
}

Number number_of(std::uint64_t weight) {
    return parse_number(std::to_string(weight));
}

/// number * factor * 10000^shift: another number, the same ratios when done to all of them.
Number multiplied(const Number& number, unsigned factor, int shift) {
    Number product = number;
    unsigned carry = 0;
    for (std::size_t i = product.digits.size(); i-- > 0;) {
        carry += static_cast<unsigned>(product.digits[i]) * factor;
        product.digits[i] = static_cast<std::int16_t>(carry % 10000);
        carry /= 10000;
    }
    product.first_exponent += shift;
    while (carry > 0) {
        product.digits.insert(product.digits.begin(), static_cast<std::int16_t>(carry % 10000));
        ++product.first_exponent;
        carry /= 10000;
    }
    return product;
}

std::vector<Number> multiplied(const std::vector<Number>& numbers, unsigned factor, int shift) {
    std::vector<Number> products;
    products.reserve(numbers.size());
    for (const Number& number : numbers)
        products.push_back(multiplied(number, factor, shift));
    return products;
}

// --- calling the core ----------------------------------------------------------------------------

std::vector<Decimal> views(const std::vector<Number>& numbers) {
    std::vector<Decimal> decimals;
    decimals.reserve(numbers.size());
    for (const Number& number : numbers)
        decimals.push_back(number.view());
    return decimals;
}

Shares split(Cents total, const Weights& weights, const Keys& keys = {}) {
    Shares shares(weights.size(), 0x5eed); // a share that is never written shows
    apportion(total, weights, keys, shares);
    return shares;
}

Shares split(Cents total, const std::vector<Decimal>& weights, const Keys& keys = {}) {
    Shares shares(weights.size(), 0x5eed);
    apportion(total, weights, keys, shares);
    return shares;
}

Shares split(Cents total, const std::vector<Number>& weights, const Keys& keys = {}) {
    return split(total, views(weights), keys);
}

Shares split_into(Cents total, std::size_t parts) {
    Shares shares(parts, 0x5eed);
    split_equally(total, shares);
    return shares;
}

bool agree(const std::vector<Number>& left, const std::vector<Number>& right) {
    return same_ratios(views(left), views(right));
}

std::string_view name_of(Fault fault) {
    switch (fault) {
    case Fault::invalid_value:
        return "invalid_value";
    case Fault::null_value:
        return "null_value";
    case Fault::out_of_range:
        return "out_of_range";
    case Fault::limit_exceeded:
        return "limit_exceeded";
    }
    return "unknown";
}

/// The name of the fault that `call` throws, "none" when it returns.
template <class Call>
std::string_view fault_of(Call call) {
    try {
        call();
    } catch (const Error& error) {
        EXPECT_NE(std::string_view(error.what()), "");
        return name_of(error.fault());
    }
    return "none";
}

// --- the oracle ----------------------------------------------------------------------------------

std::uint64_t magnitude(Cents cents) {
    const auto bits = static_cast<std::uint64_t>(cents);
    return cents < 0 ? 0 - bits : bits;
}

/// The exact share of one weight in the absolute total, cut at the last whole cent.
struct Quota {
    cpp_int whole;
    Rational remainder;
};

std::vector<Quota> quotas(Cents total, const std::vector<Rational>& weights, const Rational& sum) {
    const Rational cents_per_weight = Rational(cpp_int(magnitude(total))) / sum;
    std::vector<Quota> parts;
    parts.reserve(weights.size());
    for (const Rational& weight : weights) {
        Rational part = weight * cents_per_weight;
        cpp_int whole = numerator(part) / denominator(part);
        part -= whole;
        parts.push_back({std::move(whole), std::move(part)});
    }
    return parts;
}

struct Claim {
    Fraction remainder;
    std::uint64_t key;
    std::size_t index;

    bool operator<(const Claim& other) const {
        const int order = remainder.compare(other.remainder);
        return order != 0 ? order > 0 : std::tie(key, index) < std::tie(other.key, other.index);
    }
};

/// Hamilton's rule: everyone gets the whole part, then one cent each down the list of remainders.
Shares oracle(Cents total, const std::vector<Quota>& exact_shares, const Keys& keys) {
    std::vector<cpp_int> parts;
    std::vector<Claim> claims;
    parts.reserve(exact_shares.size());
    claims.reserve(exact_shares.size());
    for (std::size_t i = 0; i < exact_shares.size(); ++i) {
        parts.push_back(exact_shares[i].whole);
        claims.push_back({Fraction(exact_shares[i].remainder), keys.empty() ? 0 : keys[i], i});
    }
    std::sort(claims.begin(), claims.end());
    cpp_int left = magnitude(total);
    for (const cpp_int& part : parts)
        left -= part;
    for (auto claim = claims.begin(); left > 0; ++claim, --left)
        ++parts[claim->index];

    Shares shares;
    shares.reserve(parts.size());
    for (const cpp_int& part : parts)
        shares.push_back(static_cast<Cents>(total < 0 ? cpp_int(-part) : part));
    return shares;
}

// --- the invariants ------------------------------------------------------------------------------

bool sums_to(const Shares& shares, Cents total) {
    cpp_int sum = 0;
    for (const Cents share : shares)
        sum += share;
    return sum == total;
}

/// The whole part or the next cent, and on the side of zero where the total is.
bool is_floor_or_ceiling(Cents share, Cents total, const Quota& exact_share) {
    if (share != 0 && (share < 0) != (total < 0))
        return false;
    const cpp_int above_floor = magnitude(share) - exact_share.whole;
    return above_floor == 0 || (above_floor == 1 && exact_share.remainder != 0);
}

Shares negated(const Shares& shares) {
    Shares negatives;
    negatives.reserve(shares.size());
    for (const Cents share : shares)
        negatives.push_back(-share);
    return negatives;
}

std::vector<std::size_t> positions(std::size_t count) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    return order;
}

/// Zero gets zero, equal weights differ by one cent at most, a larger weight never gets less.
/// `sizes` are the weights or anything in proportion to them.
template <class Size>
std::string_view broken_order(const std::vector<Size>& sizes, const Shares& shares) {
    std::vector<std::size_t> order = positions(sizes.size());
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return sizes[a] < sizes[b]; });
    std::uint64_t most_of_smaller = 0;
    for (auto first = order.begin(); first != order.end();) {
        std::uint64_t least = highest_weight;
        std::uint64_t most = 0;
        const Size& size = sizes[*first];
        for (; first != order.end() && sizes[*first] == size; ++first) {
            least = std::min(least, magnitude(shares[*first]));
            most = std::max(most, magnitude(shares[*first]));
        }
        if (size == 0 && most > 0)
            return "weight 0 gets cents";
        if (most - least > 1)
            return "equal weights differ by more than a cent";
        if (least < most_of_smaller)
            return "a larger weight gets less";
        most_of_smaller = most;
    }
    return {};
}

template <class Item>
std::vector<Item> permuted(const std::vector<Item>& items, const std::vector<std::size_t>& order) {
    std::vector<Item> result;
    result.reserve(items.size());
    for (const std::size_t i : order)
        result.push_back(items[i]);
    return result;
}

// --- random cases --------------------------------------------------------------------------------

/// Random choices that are the same with every standard library: the engine is specified exactly,
/// the distributions of <random> are not.
class Draw {
public:
    explicit Draw(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t bits() { return engine_(); }

    /// 0 .. bound - 1
    std::uint64_t below(std::uint64_t bound) {
        const std::uint64_t usable = highest_weight - highest_weight % bound;
        std::uint64_t value = bits();
        while (value >= usable)
            value = bits();
        return value % bound;
    }

    int between(int low, int high) {
        return low + static_cast<int>(below(static_cast<std::uint64_t>(high - low) + 1));
    }

    bool one_in(std::uint64_t count) { return below(count) == 0; }

    /// 0 .. 2^64 - 1, every number of bits equally often.
    std::uint64_t any_width() {
        const std::uint64_t width = below(65);
        return width == 0 ? 0 : bits() >> (64 - width);
    }

    /// Mostly a handful, as journeys have it, up to 64.
    std::size_t count() {
        const std::uint64_t most = one_in(20) ? 64 : one_in(6) ? 10 : 4;
        return static_cast<std::size_t>(1 + below(most));
    }

    Cents total() {
        switch (below(8)) {
        case 0:
            return between(-3, 3);
        case 1:
        case 2:
            return between(-100, 100);
        case 3:
        case 4:
            return between(-10'000'000, 10'000'000);
        case 5:
            return lowest_total + between(0, 20);
        case 6:
            return highest_total - between(0, 20);
        default:
            return static_cast<Cents>(one_in(2) ? any_width() : 0 - any_width());
        }
    }

    std::vector<std::size_t> permutation(std::size_t count) {
        std::vector<std::size_t> order = positions(count);
        for (std::size_t i = count; i > 1; --i)
            std::swap(order[i - 1], order[below(i)]);
        return order;
    }

    Keys distinct_keys(std::size_t count) {
        Keys keys;
        for (const std::size_t place : permutation(count))
            keys.push_back((bits() & ~std::uint64_t{0xff}) | place);
        return keys;
    }

    /// None, all different, with duplicates, or all the same.
    Keys keys(std::size_t count) {
        switch (below(4)) {
        case 0:
            return {};
        case 1:
            return distinct_keys(count);
        case 2: {
            Keys few;
            for (std::size_t i = 0; i < count; ++i)
                few.push_back(highest_weight - below(3));
            return few;
        }
        default:
            return Keys(count, bits());
        }
    }

private:
    std::mt19937_64 engine_;
};

Weights whole_weights(Draw& draw) {
    const std::size_t count = draw.count();
    const std::uint64_t kind = draw.below(6);
    const std::uint64_t unit = draw.any_width();
    Weights weights;
    for (std::size_t i = 0; i < count; ++i) {
        switch (kind) {
        case 0: // many zeros and ties
            weights.push_back(draw.below(5));
            break;
        case 1: // percentages
            weights.push_back(draw.below(101));
            break;
        case 2: // cents
            weights.push_back(draw.below(10'000'000));
            break;
        case 3: // equal
            weights.push_back(unit);
            break;
        case 4: // the sum needs more than 64 bits
            weights.push_back(highest_weight - draw.below(4));
            break;
        default:
            weights.push_back(draw.any_width());
        }
    }
    weights[draw.below(count)] |= 1; // one at least is positive
    return weights;
}

/// `places` of decimals, as somebody types them.
Number typed_number(Draw& draw, int places) {
    std::string text = std::to_string(draw.below(1000));
    if (places > 0)
        text += '.';
    for (int i = 0; i < places; ++i)
        text += static_cast<char>('0' + draw.below(10));
    return parse_number(text);
}

/// Any digits anywhere, also with zero digits at either end, which numeric strips but Decimal
/// allows.
Number raw_number(Draw& draw, int width, int reach) {
    Number number;
    const int length = draw.between(0, width);
    for (int i = 0; i < length; ++i) {
        const std::uint64_t extreme = draw.below(6);
        const auto digit = static_cast<std::int16_t>(draw.below(10000));
        number.digits.push_back(extreme == 0   ? std::int16_t{0}
                                : extreme == 1 ? std::int16_t{9999}
                                               : digit);
    }
    number.first_exponent = draw.between(-reach, reach);
    return number;
}

std::vector<Number> decimal_weights(Draw& draw) {
    const std::size_t count = draw.count();
    const std::uint64_t kind = draw.below(5);
    const int places = draw.between(0, 12);
    const Number unit = parse_number("0." + std::to_string(draw.bits()));
    std::vector<Number> weights;
    for (std::size_t i = 0; i < count; ++i) {
        switch (kind) {
        case 0:
            weights.push_back(typed_number(draw, places));
            break;
        case 1: // a scale of its own for each weight
            weights.push_back(typed_number(draw, draw.between(0, 12)));
            break;
        case 2: // ties: small multiples of one long number
            weights.push_back(multiplied(unit, static_cast<unsigned>(draw.below(4)), 0));
            break;
        case 3:
            weights.push_back(raw_number(draw, 4, 2));
            break;
        default:
            weights.push_back(raw_number(draw, 8, draw.one_in(20) ? 40 : 5));
        }
    }
    weights[draw.below(count)] = multiplied(unit, 1, 0);
    return weights;
}

template <class Weight>
struct Case {
    Cents total;
    std::vector<Weight> weights;
    Keys keys;
};

// --- saying what went wrong ----------------------------------------------------------------------

void write(std::ostream& out, std::uint64_t weight) {
    out << weight;
}

void write(std::ostream& out, const Number& number) {
    out << '{';
    for (const std::int16_t digit : number.digits)
        out << digit << ' ';
    out << "e" << number.first_exponent << '}';
}

template <class Item>
std::string listed(const std::vector<Item>& items) {
    std::ostringstream out;
    for (const Item& item : items) {
        if constexpr (std::is_same_v<Item, Cents>)
            out << item;
        else
            write(out, item);
        out << ' ';
    }
    return out.str();
}

template <class Weight>
std::string described(const Case<Weight>& c) {
    return "total " + std::to_string(c.total) + "\n  weights " + listed(c.weights) +
           "\n  tie keys " + listed(c.keys);
}

// --- one case against everything that is promised ------------------------------------------------

Weights rescaled(const Weights& weights, unsigned factor) {
    const std::uint64_t largest = *std::max_element(weights.begin(), weights.end());
    Weights products = weights;
    for (std::uint64_t& product : products)
        product *= largest <= highest_weight / factor ? factor : 1;
    return products;
}

std::vector<Number> rescaled(const std::vector<Number>& weights, unsigned factor) {
    return multiplied(weights, factor, static_cast<int>(factor % 7) - 3);
}

std::vector<Number> as_decimals(const Weights& weights) {
    std::vector<Number> numbers;
    numbers.reserve(weights.size());
    for (const std::uint64_t weight : weights)
        numbers.push_back(number_of(weight));
    return numbers;
}

std::vector<Number> as_decimals(const std::vector<Number>& weights) {
    return multiplied(weights, 1, 1);
}

/// Empty when everything holds, else what does not.
template <class Weight>
std::string broken_promise(const Case<Weight>& c, const std::vector<Rational>& weights,
                           const Rational& sum, Draw& draw) {
    const std::vector<Quota> exact_shares = quotas(c.total, weights, sum);
    const Shares expected = oracle(c.total, exact_shares, c.keys);
    const Shares shares = split(c.total, c.weights, c.keys);

    if (!sums_to(shares, c.total))
        return "the shares do not add up to the total: " + listed(shares);
    for (std::size_t i = 0; i < shares.size(); ++i)
        if (!is_floor_or_ceiling(shares[i], c.total, exact_shares[i]))
            return "neither floor nor ceiling: share " + std::to_string(i);
    if (shares != expected)
        return "the oracle says " + listed(expected) + "\n  and the core " + listed(shares);
    std::string_view order;
    if constexpr (std::is_same_v<Weight, std::uint64_t>)
        order = broken_order(c.weights, shares);
    else
        order = broken_order(std::vector<Fraction>(weights.begin(), weights.end()), shares);
    if (!order.empty())
        return std::string(order);
    if (c.total != lowest_total && split(-c.total, c.weights, c.keys) != negated(shares))
        return "a refund does not mirror the sale";

    const auto factor = static_cast<unsigned>(1 + draw.below(1000));
    if (split(c.total, rescaled(c.weights, factor), c.keys) != shares)
        return "weights times " + std::to_string(factor) + " change the shares";
    if (draw.one_in(4) && split(c.total, as_decimals(c.weights), c.keys) != shares)
        return "the same weights on another scale change the shares";

    const Keys keys = draw.distinct_keys(c.weights.size());
    const std::vector<std::size_t> permutation = draw.permutation(c.weights.size());
    if (permuted(split(c.total, c.weights, keys), permutation) !=
        split(c.total, permuted(c.weights, permutation), permuted(keys, permutation)))
        return "the order of the input changes the shares despite tie keys";
    return {};
}

/// Draws weights `draws` times and takes four totals for each of them.
template <class MakeWeights>
void expect_promises_kept(std::uint64_t seed, int draws, MakeWeights make_weights) {
    Draw draw(seed);
    for (int i = 0; i < draws; ++i) {
        const auto weights = make_weights(draw);
        const std::vector<Rational> exact_weights = exact_all(weights);
        const Rational sum = sum_of(exact_weights);
        for (int j = 0; j < 4; ++j) {
            const Case<typename decltype(weights)::value_type> c{draw.total(), weights,
                                                                 draw.keys(weights.size())};
            const std::string broken = broken_promise(c, exact_weights, sum, draw);
            ASSERT_EQ(broken, "") << "seed " << seed << ", draw " << i << ", total " << j << "\n  "
                                  << described(c);
        }
    }
}

// --- texts to lists ------------------------------------------------------------------------------

/// "3*0.5 1" is "0.5 0.5 0.5 1".
std::vector<std::string_view> items(std::string_view text) {
    std::vector<std::string_view> list;
    while (!text.empty()) {
        const std::size_t space = std::min(text.find(' '), text.size());
        std::string_view item = text.substr(0, space);
        text.remove_prefix(std::min(space + 1, text.size()));
        std::size_t repeats = 1;
        if (const std::size_t star = item.find('*'); star != std::string_view::npos) {
            std::from_chars(item.data(), item.data() + star, repeats);
            item.remove_prefix(star + 1);
        }
        list.insert(list.end(), repeats, item);
    }
    return list;
}

std::vector<Number> numbers(std::string_view text) {
    std::vector<Number> list;
    for (const std::string_view item : items(text))
        list.push_back(parse_number(item));
    return list;
}

Shares cents(std::string_view text) {
    Shares list;
    for (const std::string_view item : items(text))
        list.push_back(std::stoll(std::string(item)));
    return list;
}

bool all_whole(std::string_view weights) {
    return weights.find_first_of(".-") == std::string_view::npos;
}

Weights wholes(std::string_view text) {
    Weights list;
    for (const std::string_view item : items(text))
        list.push_back(std::stoull(std::string(item)));
    return list;
}

bool all_equal(const Weights& weights) {
    return std::adjacent_find(weights.begin(), weights.end(), std::not_equal_to<>()) ==
           weights.end();
}

// --- other libraries -----------------------------------------------------------------------------

TEST(RoundingVectors, AreReproducedOrDifferAsStated) {
    std::size_t rows = 0;
    for (const test::RoundingGroup& group : test::rounding_groups) {
        for (const test::RoundingVector& vector : group.vectors) {
            SCOPED_TRACE(testing::Message() << group.source << ": " << vector.total << " by ["
                                            << vector.weights << "]");
            ++rows;
            if (vector.ours == test::refused) {
                EXPECT_EQ(fault_of([&] { split(vector.total, numbers(vector.weights)); }),
                          "invalid_value");
                if (all_whole(vector.weights)) {
                    EXPECT_EQ(fault_of([&] { split(vector.total, wholes(vector.weights)); }),
                              "invalid_value");
                }
                continue;
            }
            EXPECT_EQ(split(vector.total, numbers(vector.weights)), cents(vector.ours));
            if (!all_whole(vector.weights))
                continue;
            const Weights weights = wholes(vector.weights);
            EXPECT_EQ(split(vector.total, weights), cents(vector.ours));
            if (all_equal(weights)) {
                EXPECT_EQ(split_into(vector.total, weights.size()), cents(vector.ours));
            }
        }
    }
    EXPECT_EQ(rows, 131U);
}

// --- splits worth reading ------------------------------------------------------------------------

TEST(Apportion, TakesTheWholeRangeOfTotals) {
    EXPECT_EQ(split(lowest_total, wholes("1")), Shares{lowest_total});
    EXPECT_EQ(split(highest_total, wholes("1")), Shares{highest_total});
    EXPECT_EQ(split(lowest_total, wholes("1 1 1")),
              (Shares{-3074457345618258603, -3074457345618258603, -3074457345618258602}));
    EXPECT_EQ(split(highest_total, wholes("1 1 1")),
              (Shares{3074457345618258603, 3074457345618258602, 3074457345618258602}));
    EXPECT_EQ(split(lowest_total, Weights{highest_weight, highest_weight}),
              (Shares{lowest_total / 2, lowest_total / 2}));
    EXPECT_EQ(split(lowest_total, Weights{highest_weight, 1}),
              (Shares{lowest_total, 0})); // 2^63/2^64 is a tie, the lower index wins
    EXPECT_EQ(split(lowest_total, Weights{1, highest_weight}), (Shares{-1, lowest_total + 1}));
    EXPECT_EQ(split(0, wholes("1 2 3")), (Shares{0, 0, 0}));
}

TEST(Apportion, AddsTheLastCentToTheLargestMagnitude) {
    // The floor of the first share is 2^63 - 1, its ceiling 2^63.
    const Weights weights = {highest_weight, 1};
    EXPECT_EQ(split(lowest_total, weights), (Shares{lowest_total, 0}));
    EXPECT_EQ(split(lowest_total, weights, {2, 1}), (Shares{lowest_total + 1, -1}))
        << "the exact shares are 2^63 - 1/2 and 1/2";
    EXPECT_EQ(split(highest_total, weights), (Shares{highest_total, 0}));
}

TEST(Apportion, GivesTiesToTheSmallerKeyThenToTheLowerIndex) {
    EXPECT_EQ(split(1, wholes("1 1 1")), (Shares{1, 0, 0}));
    EXPECT_EQ(split(1, wholes("1 1 1"), Keys{2, 1, 0}), (Shares{0, 0, 1}));
    EXPECT_EQ(split(2, wholes("1 1 1"), Keys{2, 1, 0}), (Shares{0, 1, 1}));
    EXPECT_EQ(split(-1, wholes("1 1 1"), Keys{2, 1, 0}), (Shares{0, 0, -1}));
    EXPECT_EQ(split(1, wholes("1 1 1"), Keys{7, 7, 7}), (Shares{1, 0, 0}));
    EXPECT_EQ(split(1, wholes("1 1 1"), Keys{9, 7, 7}), (Shares{0, 1, 0}));
    // Keys are unsigned: the largest one loses.
    EXPECT_EQ(split(1, wholes("1 1"), Keys{highest_weight, 0}), (Shares{0, 1}));
    // A larger remainder beats the smaller key.
    EXPECT_EQ(split(1, wholes("1 2"), Keys{0, 1}), (Shares{0, 1}));
    // Weight 0 never takes part, whatever its key.
    EXPECT_EQ(split(1, wholes("0 1 1"), Keys{0, 2, 1}), (Shares{0, 0, 1}));
}

TEST(Apportion, NeverPassesThroughADouble) {
    // As doubles both weights are the same and the first would win.
    EXPECT_EQ(split(1, numbers("0.1 0.1000000000000000055")), (Shares{0, 1}));
    EXPECT_EQ(split(1, wholes("9007199254740992 9007199254740993")), (Shares{0, 1}));
    EXPECT_EQ(split(1, numbers("1 1.0000000000000000000000000000000000000000001")), (Shares{0, 1}));
    EXPECT_EQ(split(1, numbers("0.1 0.1000000000000000000")), (Shares{1, 0}));
}

TEST(Apportion, TakesTheWidestNumericsPostgresHas) {
    // 131072 digits before the point, 16383 after it.
    const Number huge{.digits = {9999}, .first_exponent = 32767};
    const Number tiny{.digits = {10}, .first_exponent = -4096};
    EXPECT_EQ(split(100, std::vector{huge, tiny}), (Shares{100, 0}));
    EXPECT_EQ(split(-100, std::vector{tiny, huge}), (Shares{0, -100}));
    EXPECT_EQ(split(3, std::vector{tiny, tiny}), (Shares{2, 1}));
    EXPECT_EQ(split(3, std::vector{huge, huge}), (Shares{2, 1}));
    const Number long_number{.digits = std::vector<std::int16_t>(4000, 9999),
                             .first_exponent = 1000};
    EXPECT_EQ(split(9, std::vector{long_number, multiplied(long_number, 2, 0)}), (Shares{3, 6}));
}

// --- what is refused -----------------------------------------------------------------------------

TEST(Refused, NoWeights) {
    EXPECT_EQ(fault_of([] { split(1, Weights{}); }), "invalid_value");
    EXPECT_EQ(fault_of([] { split(0, Weights{}); }), "invalid_value");
    EXPECT_EQ(fault_of([] { split(1, std::vector<Number>{}); }), "invalid_value");
    EXPECT_EQ(fault_of([] { split_into(1, 0); }), "invalid_value");
    EXPECT_EQ(fault_of([] { agree({}, numbers("1")); }), "invalid_value");
    EXPECT_EQ(fault_of([] { agree(numbers("1"), {}); }), "invalid_value");
}

TEST(Refused, AllZeroWeightsEvenOfNothing) {
    for (const Cents total : {Cents{0}, Cents{5}, lowest_total}) {
        EXPECT_EQ(fault_of([&] { split(total, wholes("0")); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { split(total, wholes("0 0 0")); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { split(total, numbers("0 0.000 0")); }), "invalid_value");
    }
    EXPECT_EQ(fault_of([] { agree(numbers("0 0"), numbers("0 0")); }), "invalid_value");
}

TEST(Refused, NegativeWeightsWhereverTheyStand) {
    for (const std::string_view weights :
         {"-1", "-1 2", "2 -1", "1 1 -0.0000000000001", "-1 -1", "-99999999999999999999 1"}) {
        SCOPED_TRACE(weights);
        EXPECT_EQ(fault_of([&] { split(10, numbers(weights)); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { split(0, numbers(weights)); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { agree(numbers(weights), numbers(weights)); }), "invalid_value");
    }
}

TEST(Refused, WeightsThatAreNotFinite) {
    const Number one = parse_number("1");
    const Decimal bad[] = {
        {.digits = {}, .kind = Decimal::Kind::nan},
        {.digits = {}, .kind = Decimal::Kind::infinity},
        {.digits = {}, .negative = true, .kind = Decimal::Kind::infinity},
    };
    for (const Decimal& weight : bad) {
        EXPECT_EQ(fault_of([&] { split(10, std::vector{weight}); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { split(0, std::vector{one.view(), weight}); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { split(10, std::vector{weight, one.view()}); }), "invalid_value");
        const std::vector<Decimal> mixed{one.view(), weight};
        const std::vector<Decimal> good{one.view(), one.view()};
        EXPECT_EQ(fault_of([&] { same_ratios(good, mixed); }), "invalid_value");
        EXPECT_EQ(fault_of([&] { same_ratios(mixed, good); }), "invalid_value");
    }
}

TEST(Refused, MoreSharesThanTheLimit) {
    const std::size_t count = max_shares + 1;
    const Number one = parse_number("1");
    const std::vector<Decimal> ones(count, one.view());
    EXPECT_EQ(fault_of([&] { split(1, Weights(count, 1)); }), "limit_exceeded");
    EXPECT_EQ(fault_of([&] { split(1, ones); }), "limit_exceeded");
    EXPECT_EQ(fault_of([&] { split_into(1, count); }), "limit_exceeded");
    EXPECT_EQ(fault_of([&] { same_ratios(ones, ones); }), "limit_exceeded");
}

TEST(Refused, WeightsTooFarApart) {
    // 2^14 weights on 2^10 digits are just allowed; one place more is not.
    constexpr std::size_t count = std::size_t{1} << 14;
    constexpr int width = static_cast<int>(max_scaled_digits / count);
    const Number large{.digits = {1}, .first_exponent = 5};
    const Number small{.digits = {1}, .first_exponent = 5 - width + 1};
    const Number too_small{.digits = {1}, .first_exponent = 5 - width};

    std::vector<Decimal> weights(count, large.view());
    weights.back() = small.view();
    EXPECT_EQ(split(static_cast<Cents>(count), weights)[count - 2], 1);
    weights.back() = too_small.view();
    EXPECT_EQ(fault_of([&] { split(1, weights); }), "limit_exceeded");
    EXPECT_EQ(fault_of([&] { same_ratios(weights, weights); }), "limit_exceeded");

    const Number far{.digits = {1}, .first_exponent = 5 - static_cast<int>(max_scaled_digits)};
    EXPECT_EQ(fault_of([&] { split(1, std::vector{large, far}); }), "limit_exceeded");
    EXPECT_EQ(split(1, std::vector{far, far}), (Shares{1, 0})); // both far out: not far apart
}

TEST(Refused, WeightsTooLong) {
    // Few weights, each long: within the digits that fit, but the time would be minutes.
    constexpr int width = 36'864; // the widest numeric of PostgreSQL
    const Number large{.digits = {1}, .first_exponent = width - 1};
    const Number small{.digits = {1}, .first_exponent = 0};
    EXPECT_EQ(split(3, std::vector{large.view(), small.view()}), (Shares{3, 0}));
    std::vector<Decimal> weights(400, large.view());
    weights.back() = small.view();
    static_assert(400 * width < max_scaled_digits);
    EXPECT_EQ(fault_of([&] { split(1, weights); }), "limit_exceeded");

    // Exponents that no numeric has do not overflow on the way to the refusal.
    const Number highest{.digits = {1}, .first_exponent = std::numeric_limits<int>::max()};
    const Number lowest{.digits = {1}, .first_exponent = std::numeric_limits<int>::min()};
    EXPECT_EQ(fault_of([&] {
                  split(1, std::vector{highest.view(), lowest.view()});
              }),
              "limit_exceeded");
}

TEST(Refused, SaysWhatIsWrong) {
    try {
        split(10, numbers("0 0"));
        FAIL() << "all-zero weights were accepted";
    } catch (const Error& error) {
        EXPECT_TRUE(std::islower(static_cast<unsigned char>(error.what()[0]))) << error.what();
        EXPECT_NE(error.detail(), "");
        EXPECT_NE(error.hint(), "");
    }
}

// --- every invariant on many cases ---------------------------------------------------------------

TEST(Invariants, HoldForEverySmallCase) {
    // Up to 5 weights of 0 .. 4, totals of -30 .. 30.
    for (std::size_t count = 1; count <= 5; ++count) {
        Keys falling_keys;
        for (std::size_t i = 0; i < count; ++i)
            falling_keys.push_back(count - i);
        const std::vector<std::size_t> backwards = [&] {
            std::vector<std::size_t> order = positions(count);
            std::reverse(order.begin(), order.end());
            return order;
        }();
        Weights weights(count, 0);
        const auto next = [&weights] { // counts up in base 5; false after the last
            for (std::uint64_t& weight : weights) {
                if (++weight < 5)
                    return true;
                weight = 0;
            }
            return false;
        };
        while (next()) {
            const std::vector<Rational> exact_weights = exact_all(weights);
            const Rational sum = sum_of(exact_weights);
            for (Cents total = 0; total <= 30; ++total) {
                SCOPED_TRACE(testing::Message() << total << " by " << listed(weights));
                const std::vector<Quota> exact_shares = quotas(total, exact_weights, sum);
                const Shares shares = split(total, weights);
                ASSERT_EQ(shares, oracle(total, exact_shares, {}));
                ASSERT_TRUE(sums_to(shares, total));
                ASSERT_EQ(broken_order(weights, shares), "");
                ASSERT_EQ(split(-total, weights), negated(shares));
                // Falling keys decide ties as if the list stood the other way round.
                ASSERT_EQ(permuted(split(total, weights, falling_keys), backwards),
                          split(total, permuted(weights, backwards)));
            }
        }
    }
}

TEST(Invariants, HoldForRandomWholeWeights) {
    expect_promises_kept(20240607, 200'000, whole_weights);
}

TEST(Invariants, HoldForRandomDecimalWeights) {
    expect_promises_kept(17920614, 45'000, decimal_weights);
}

TEST(Invariants, HoldForAsManySharesAsAllowed) {
    Draw draw(1'000'000);
    Keys keys;
    for (std::size_t i = 0; i < max_shares; ++i)
        keys.push_back(draw.bits());

    // 2^63 = 9223372036854 * 10^6 + 775808: so many of the smallest keys get a cent more.
    Keys sorted_keys = keys;
    std::sort(sorted_keys.begin(), sorted_keys.end());
    const std::uint64_t first_loser = sorted_keys[775'808];
    const Shares equal = split(lowest_total, Weights(max_shares, 1), keys);
    for (std::size_t i = 0; i < max_shares; ++i)
        ASSERT_EQ(equal[i], keys[i] < first_loser ? -9223372036855 : -9223372036854) << i;

    const std::vector<Number> sizes = numbers("0 0.5 1.25 3.00000001");
    std::vector<Decimal> weights;
    Weights ranks;
    for (std::size_t i = 0; i < max_shares; ++i) {
        ranks.push_back(draw.below(sizes.size()));
        weights.push_back(sizes[ranks.back()].view());
    }
    for (const Cents total : {Cents{12'345'678}, Cents{-999'999}, highest_total}) {
        const Shares shares = split(total, weights, keys);
        EXPECT_TRUE(sums_to(shares, total));
        EXPECT_EQ(broken_order(ranks, shares), "");
    }
}

TEST(Invariants, AllocateNothingUpTo32Weights) {
    const Weights whole(32, 3);
    const std::vector<Number> numbers32 = numbers("30*0.3333 99999999.9999 12345678.1234");
    const std::vector<Decimal> decimals = views(numbers32);
    const Keys keys(32, 1);
    Shares shares(32);
    const std::size_t before = allocations;
    apportion(highest_total, whole, keys, shares);
    apportion(-7, whole, {}, shares);
    apportion(highest_total, decimals, keys, shares);
    apportion(-7, decimals, {}, shares);
    split_equally(100, shares);
    EXPECT_EQ(allocations, before);
}

// --- equal parts, refunds, ratios ----------------------------------------------------------------

TEST(SplitEqually, IsApportionWithEqualWeights) {
    Draw draw(4242);
    for (std::size_t parts = 1; parts <= 200; ++parts) {
        for (int i = 0; i < 50; ++i) {
            const Cents total = draw.total();
            SCOPED_TRACE(testing::Message() << total << " into " << parts);
            const Shares shares = split_into(total, parts);
            ASSERT_EQ(shares, split(total, Weights(parts, 1)));
            ASSERT_EQ(shares, split(total, Weights(parts, draw.any_width() | 1)));
            ASSERT_EQ(shares, split(total, std::vector<Number>(parts, parse_number("0.07"))));
        }
    }
    EXPECT_EQ(split_into(lowest_total, 3),
              (Shares{-3074457345618258603, -3074457345618258603, -3074457345618258602}));
    EXPECT_EQ(split_into(highest_total, max_shares), split(highest_total, Weights(max_shares, 1)));
}

TEST(Refunds, TakenFromWhatIsLeftNeverGoBelowZero) {
    // A refund r of the R that is left takes at most ceil(r * w / R) <= w from a channel with w.
    Draw draw(6040);
    for (int i = 0; i < 20'000; ++i) {
        const Shares sale = split(1 + static_cast<Cents>(draw.below(1000)), whole_weights(draw));
        Weights left(sale.begin(), sale.end());
        std::uint64_t sum = std::accumulate(left.begin(), left.end(), std::uint64_t{0});
        while (sum > 0) {
            const std::uint64_t refund = 1 + draw.below(sum);
            const Shares taken = split(-static_cast<Cents>(refund), left, draw.keys(left.size()));
            for (std::size_t channel = 0; channel < left.size(); ++channel) {
                ASSERT_LE(magnitude(taken[channel]), left[channel]) << "sequence " << i;
                left[channel] -= magnitude(taken[channel]);
            }
            sum -= refund;
        }
        ASSERT_EQ(left, Weights(left.size(), 0)) << "sequence " << i;
    }
}

std::vector<Rational> fractions_of_whole(std::vector<Rational> values) {
    const Rational sum = sum_of(values);
    for (Rational& value : values)
        value /= sum;
    return values;
}

TEST(SameRatios, ComparesFractionsOfTheWholeByPosition) {
    const auto same = [](std::string_view left, std::string_view right) {
        return agree(numbers(left), numbers(right));
    };
    EXPECT_TRUE(same("1 1", "2 2"));
    EXPECT_TRUE(same("1 1", "0.5 0.50"));
    EXPECT_TRUE(same("5", "0.0001"));
    EXPECT_TRUE(same("1 2 0", "50 100 0.000"));
    EXPECT_TRUE(same("0.1 0.2", "1000000000000000000000000000001 2000000000000000000000000000002"));
    EXPECT_FALSE(same("1 2", "2 1"));
    EXPECT_FALSE(same("1 0", "0 1"));
    EXPECT_FALSE(same("1 0", "1 0.0000000000000000000000000001"));
    EXPECT_FALSE(same("1 2 3", "1 2 4"));
    EXPECT_FALSE(same("0.3333 0.3333 0.3334", "1 1 1"));
    EXPECT_FALSE(same("1 1", "9007199254740992 9007199254740993"));
    // Lists of different length never agree, not even by a zero.
    EXPECT_FALSE(same("1 1", "1 1 0"));
    EXPECT_FALSE(same("1", "1 1"));
}

TEST(SameRatios, AgreesWithExactFractions) {
    Draw draw(31337);
    int agreements = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::vector<Number> left = decimal_weights(draw);
        std::vector<Number> right =
            multiplied(left, static_cast<unsigned>(1 + draw.below(100)), draw.between(-3, 3));
        if (draw.one_in(2)) // perhaps another ratio, perhaps a change that leaves it alone
            right[draw.below(right.size())] = left[draw.below(left.size())];
        const std::vector<Rational> left_values = exact_all(left);
        const std::vector<Rational> right_values = exact_all(right);
        const Rational zero = 0;
        if (std::count(right_values.begin(), right_values.end(), zero) ==
            static_cast<std::ptrdiff_t>(right.size()))
            continue;
        const bool expected = fractions_of_whole(left_values) == fractions_of_whole(right_values);
        agreements += expected ? 1 : 0;
        ASSERT_EQ(agree(left, right), expected)
            << "draw " << i << "\n  " << listed(left) << "\n  " << listed(right);
        ASSERT_EQ(agree(right, left), expected) << "draw " << i;
    }
    EXPECT_GT(agreements, 4'000);
    EXPECT_LT(agreements, 9'000);
}

} // namespace
} // namespace attribution::core
