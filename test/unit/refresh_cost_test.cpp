// Proves what core/refresh_cost.hpp promises.
//
// The one idea: the rule is restated as a comparison of two costs in 128 bits, as it reads, and
// held against the functions around every place where they may turn over.
#include "core/refresh_cost.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;

constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

/// The cost of each key in rows, against the rows of the view as it becomes.
bool costs_no_more(std::int64_t keys, std::int64_t view_rows) {
    const cpp_int key_cost = cpp_int(keys) * (view_rows > 300'000 ? 3 : 2);
    return key_cost <= std::max(cpp_int(view_rows), cpp_int(keys));
}

TEST(RefreshCost, AKeyOfALargeViewCostsMore) {
    EXPECT_EQ(rows_per_key(0), 2);
    EXPECT_EQ(rows_per_key(300'000), 2);
    EXPECT_EQ(rows_per_key(300'001), 3);
    EXPECT_EQ(rows_per_key(highest), 3);
}

TEST(RefreshCost, TurnsOverWhereTheCostsMeet) {
    EXPECT_TRUE(is_incremental_cheaper(500, 1000));
    EXPECT_FALSE(is_incremental_cheaper(501, 1000));
    EXPECT_FALSE(is_incremental_cheaper(501, 1001));
    EXPECT_TRUE(is_incremental_cheaper(501, 1002));
    EXPECT_TRUE(is_incremental_cheaper(150'000, 300'000));
    EXPECT_FALSE(is_incremental_cheaper(150'000, 300'001));
    EXPECT_TRUE(is_incremental_cheaper(100'000, 300'001));
    EXPECT_FALSE(is_incremental_cheaper(100'001, 300'001));
}

TEST(RefreshCost, NothingToDoIsCheap) {
    EXPECT_TRUE(is_incremental_cheaper(0, 0));
    EXPECT_TRUE(is_incremental_cheaper(0, 1'000'000));
    EXPECT_FALSE(is_incremental_cheaper(1, 0));
    EXPECT_TRUE(is_incremental_cheaper(0, -1)); // an estimate may be anything
    EXPECT_FALSE(is_incremental_cheaper(1, -1));
}

TEST(RefreshCost, IsTheComparisonOfTheCosts) {
    for (const std::int64_t rows :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{999},
          std::int64_t{300'000}, std::int64_t{300'001}, std::int64_t{1} << 40, highest}) {
        for (const std::int64_t middle : {std::int64_t{0}, rows / 3, rows / 2, rows})
            for (std::int64_t keys = std::max<std::int64_t>(middle - 3, 0);
                 keys <= std::min(middle, highest - 4) + 3; ++keys)
                EXPECT_EQ(is_incremental_cheaper(keys, rows), costs_no_more(keys, rows))
                    << keys << " keys, " << rows << " rows";
    }
}

TEST(RefreshCost, AShortLogIsNotCounted) {
    EXPECT_TRUE(is_incremental_cheaper_uncounted(10'000, 0));
    EXPECT_FALSE(is_incremental_cheaper_uncounted(10'001, 0));
    EXPECT_FALSE(is_incremental_cheaper_uncounted(10'001, 20'001));
    EXPECT_TRUE(is_incremental_cheaper_uncounted(10'001, 20'002));
    EXPECT_TRUE(is_incremental_cheaper_uncounted(highest / 3, highest));
    EXPECT_FALSE(is_incremental_cheaper_uncounted(highest, highest));
}

} // namespace
} // namespace attribution::core
