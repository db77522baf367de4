// How other libraries split money: the numbers of their own test suites, beside what we answer.
//
// The one idea: where a library agrees with Hamilton's rule (on the absolute amount, the lower
// index winning ties) we give its very numbers; where it does not, the difference is written down
// here, so that it is a decision and not a surprise.
//
// Numbers are texts so that 0.3 is never a double. "3*1" stands for "1 1 1". Fractions such as 1/7
// are restated as whole weights of the same ratios: a decimal cannot hold them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace attribution::test {

/// Stands for a list of parts where there is none: the input is turned away.
inline constexpr std::string_view refused = "refused";

struct RoundingVector {
    std::int64_t total;
    std::string_view weights;
    std::string_view theirs;
    std::string_view ours;

    constexpr RoundingVector(std::int64_t total_units, std::string_view weight_list,
                             std::string_view their_parts)
        : RoundingVector(total_units, weight_list, their_parts, their_parts) {}
    constexpr RoundingVector(std::int64_t total_units, std::string_view weight_list,
                             std::string_view their_parts, std::string_view our_parts)
        : total(total_units), weights(weight_list), theirs(their_parts), ours(our_parts) {}
};

struct RoundingGroup {
    std::string_view source;
    std::string_view rule; // theirs, in short
    std::span<const RoundingVector> vectors;
};

inline constexpr auto moneyphp = std::to_array<RoundingVector>({
    {100, "1 1 1", "34 33 33"}, {101, "1 1 1", "34 34 33"}, {5, "3 7", "2 3"},
    {5, "7 3", "4 1"},          {5, "7 3 0", "4 1 0"},      {-5, "7 3", "-3 -2", "-4 -1"},
    {5, "0 7 3", "0 4 1"},      {5, "7 0 3", "4 0 1"},      {5, "0 0 1", "0 0 5"},
    {5, "0 3 7", "0 2 3"},      {0, "0 0 1", "0 0 0"},      {2, "1 1 1", "1 1 0"},
    {1, "1 1", "1 0"},          {1, "0.33 0.66", "0 1"},    {101, "3 7", "30 71"},
    {101, "7 3", "71 30"},      {15, "1 1", "8 7"},         {10, "1 1", "5 5"},
    {15, "1 1 1", "5 5 5"},     {10, "1 1 1", "4 3 3"},     {100, "-1", refused},
    {100, "0 0", refused},
});

inline constexpr auto rubymoney = std::to_array<RoundingVector>({
    {5, "1 1", "3 2"},
    {2, "1 1 1", "1 1 0"},
    {100, "1 1 1", "34 33 33"},
    {100, "6*1", "17 17 17 17 16 16"},
    {100, "1 1 2", "25 25 50"},
    {100, "7 3", "70 30"},
    {10, "1 1 2", "3 2 5"},
    {10, "0.1 0.2 0.1", "3 5 2"},
    {100, "1 1 0", "50 50 0"},
    {100, "0 1 1", "0 50 50"},
    {5, "0.03 0.07", "2 3"},
    {5, "3 7", "2 3"},
    {5, "0.3 0.7", "2 3"},
    {100, "0.333 0.333 0.333", "34 33 33"},
    {-100, "0.333 0.333 0.333", "-34 -33 -33"},
    {1000, "0.6667 0.3333", "667 333"},
    {-1000, "0.6667 0.3333", "-667 -333"},
    {6650, "7*1", "7*950"},
    {100, "0 0", "50 50", refused},
    {100, "", refused},
    {700273, "7*1.1818583143661 1.170126087450276 1.0 1.0 1.0 1.0",
     "61566 6*61565 60953 52091 52091 52091 52091", "7*61565 60954 52091 52091 52091 52091"},
    {-700273, "7*1.1818583143661 1.170126087450276 1.0 1.0 1.0 1.0",
     "-61566 6*-61565 -60953 -52091 -52091 -52091 -52091",
     "7*-61565 -60954 -52091 -52091 -52091 -52091"},
});

inline constexpr auto gomoney = std::to_array<RoundingVector>({
    {100, "50 50", "50 50"},
    {100, "30 30 30", "34 33 33"},
    {200, "25 25 50", "50 50 100"},
    {5, "50 25 25", "3 1 1"},
    {0, "50 10", "0 0"},
    {10, "0 100", "0 10"},
    {100, "33 33 33", "34 33 33"},
    {0, "0 0 0 0", "0 0 0 0", refused},
    {10, "0 0", "0 0", refused},
    {100, "1 1 1", "34 33 33"},
    {100, "1 1 1 1", "25 25 25 25"},
    {5, "1 1 1", "2 2 1"},
    {-101, "1 1 1 1", "-26 -25 -25 -25"},
    {-2, "1 1 1", "-1 -1 0"},
    {9223372036854775807, "9223372036854775807 1", refused, "9223372036854775806 1"},
});

inline constexpr auto shopify_nearest = std::to_array<RoundingVector>({
    {5, "0.3 0.7", "2 3"},
    {100, "0.333 0.333 0.333", "34 33 33"},
    {85899345612, "1 0", "85899345612 0"},
    {300, "1 5", "50 250"},
    {100, "0.02 0.98", "2 98"},
    {1200, "0.1 0.2", "400 800"},
    {48851, "0.111 0.05 0.5", "8204 3695 36952"},
    {48851, "0.05 0.111 0.5", "3695 8204 36952"},
    {3, "0.5 0.5", "2 1"},
    {1055, "0.25 0.5 0.25", "264 527 264"},
    {10100, "0.25 0.25 0.25 0.25", "2525 2525 2525 2525"},
    {31, "0.5 0.5", "16 15"},
    {19535, "0.025 0.025 0.125 0.125 0.4 0.3", "488 488 2442 2442 7814 5861"},
    {5, "0.5 0.6", refused, "2 3"},
    {5, "", refused},
});

inline constexpr auto shopify_roundrobin = std::to_array<RoundingVector>({
    {225, "128400 20439 14589 14589 25936", "142 23 16 16 28", "142 22 16 16 29"},
    {5, "0.33 0.34 0.33", "2 2 1"},
    {3, "0.5 0.5", "2 1"},
    {1055, "0.25 0.5 0.25", "264 528 263", "264 527 264"},
    {19535, "0.025 0.025 0.125 0.125 0.4 0.3", "489 489 2442 2441 7814 5860",
     "488 488 2442 2442 7814 5861"},
});

inline constexpr auto shopify_roundrobin_reverse = std::to_array<RoundingVector>({
    {48851, "0.111 0.05 0.5", "8203 3695 36953", "8204 3695 36952"},
    {5, "0.3 0.7", "1 4", "2 3"},
    {1055, "0.25 0.5 0.25", "263 528 264", "264 527 264"},
    {31, "0.5 0.5", "15 16", "16 15"},
    {19535, "0.025 0.025 0.125 0.125 0.4 0.3", "488 488 2441 2442 7815 5861",
     "488 488 2442 2442 7814 5861"},
});

inline constexpr auto shopify_max_amounts = std::to_array<RoundingVector>({
    {3075, "2600 475", "2600 475"},
    {3075, "2600 474", "2600 474", "2601 474"},
    {3000, "1500 1500", "1500 1500"},
    {100, "3300 3300 3300", "34 33 33"},
    {10000, "500 200", "500 200", "7143 2857"},
    {2420, "4600 4600 5000 5000 5000", "460 460 500 500 500"},
});

inline constexpr auto shopify_split = std::to_array<RoundingVector>({
    {10000, "1 1 1", "3334 3333 3333"},
    {5000, "1 1 1", "1667 1667 1666"},
    {2, "1 1", "1 1"},
    {2, "1 1 1", "1 1 0"},
    {5, "1 1", "3 2"},
    {4, "1 1 1", "2 1 1"},
});

inline constexpr auto dinero = std::to_array<RoundingVector>({
    {1003, "50 50", "502 501"},
    {100, "1 3", "25 75"},
    {-1003, "50 50", "-502 -501"},
    {1003, "0 50 50", "0 502 501"},
    {5, "100 101 100 100", "1 2 1 1"},
    {801, "1 3", "200 601"},
    {5, "50 50", "3 2"},
    {5, "1 3", "1 4"},
    {1000000000000000025, "50 50", "500000000000000013 500000000000000012"},
    {100, "0 0", refused},
    {100, "-50 -50", refused},
    {100, "", refused},
});

inline constexpr auto elixirmoney = std::to_array<RoundingVector>({
    {200, "1 1", "100 100"},
    {201, "1 1", "101 100"},
    {302, "1 1 1", "101 101 100"},
    {100, "1 1 1", "34 33 33"},
    {-7, "1 1", "-4 -3"},
    {-1, "1 1", "-1 0"},
});

inline constexpr auto jsmoney = std::to_array<RoundingVector>({
    {1000, "1 1 1", "334 333 333"},
});

inline constexpr auto currencyjs = std::to_array<RoundingVector>({
    {100, "1 1 1 1", "25 25 25 25"},
    {101, "1 1 1 1", "26 25 25 25"},
    {-123, "1 1 1 1", "-31 -31 -31 -30"},
    {-1, "1 1", "-1 0"},
    {1234, "1 1 1 1", "309 309 308 308"},
    {1, "1 1 1 1", "1 0 0 0"},
});

inline constexpr auto rusty_money = std::to_array<RoundingVector>({
    {10000, "70 20 10", "7000 2000 1000"},
    {1100, "1 1 1", "367 367 366"},
    {1000, "1 0 0", "1000 0 0"},
    {1000, "1 1 1", "334 333 333"},
    {100, "101*1", "100*1 0"},
    {100, "0 0 0", refused},
});

inline constexpr auto nmoneys_first_to_last = std::to_array<RoundingVector>({
    {4000, "1 1 1 1", "1000 1000 1000 1000"},
    {5, "0.3 0.7", "2 3"},
});

inline constexpr auto nmoneys_last_to_first = std::to_array<RoundingVector>({
    {4000, "1 1 1", "1333 1333 1334", "1334 1333 1333"},
    {5, "0.3 0.7", "1 4", "2 3"},
});

inline constexpr auto rounding_groups = std::to_array<RoundingGroup>({
    {"moneyphp/money d49ee62, tests/MoneyTest.php",
     "largest remainder, but floors go toward -infinity: a refund does not mirror its sale",
     moneyphp},
    {"RubyMoney/money a7c8360, spec/money/{allocation,money}_spec.rb",
     "from the last part on, a truncated share of what is left; all-zero weights split evenly",
     rubymoney},
    {"Rhymond/go-money c078490, money_test.go",
     "spare cents go round from the first part; all-zero weights lose the money", gomoney},
    {"Shopify/money ac0610b, spec/allocator_spec.rb: nearest", "largest remainder",
     shopify_nearest},
    {"Shopify/money ac0610b, spec/allocator_spec.rb: roundrobin",
     "spare cents go round from the first part", shopify_roundrobin},
    {"Shopify/money ac0610b, spec/allocator_spec.rb: roundrobin_reverse",
     "spare cents go round from the last part", shopify_roundrobin_reverse},
    {"Shopify/money ac0610b, spec/allocator_spec.rb: allocate_max_amounts",
     "weights are also caps, so the parts may miss the total", shopify_max_amounts},
    {"Shopify/money ac0610b, spec/splitter_spec.rb", "equal parts, the larger first",
     shopify_split},
    {"dinerojs/dinero.js 76b969e5, {distribute,allocate}.test.ts",
     "spare cents to the largest weights first", dinero},
    {"elixirmoney/money 3fb99e1, test/money_test.exs",
     "truncated, spare cents from the first part on", elixirmoney},
    {"davidkalosi/js-money 10a4870", "floor, spare cents from the first part on", jsmoney},
    {"scurker/currency.js 72898ce, test/test.js", "truncated, spare cents from the first part on",
     currencyjs},
    {"varunsrin/rusty_money 2e91f47, src/money.rs", "floor, spare cents from the first part on",
     rusty_money},
    {"dgg/nmoneys 845bc10, AllocateOperationsTester.cs: FirstToLast",
     "spare cents from the first part on", nmoneys_first_to_last},
    {"dgg/nmoneys 845bc10, AllocateOperationsTester.cs: LastToFirst",
     "spare cents from the last part on", nmoneys_last_to_first},
});

} // namespace attribution::test
