#include "core/refresh_cost.hpp"

#include <algorithm>

namespace attribution::core {
namespace {

/// Above so many rows the pages that a key needs are seldom in memory.
constexpr std::int64_t rows_of_large_view = 300'000;

/// Computing so many keys takes a fraction of a second, however small the view is.
constexpr std::int64_t rows_of_short_log = 10'000;

} // namespace

std::int64_t rows_per_key(std::int64_t view_rows) {
    return view_rows > rows_of_large_view ? 3 : 2;
}

bool is_incremental_cheaper(std::int64_t keys, std::int64_t view_rows) {
    // keys * rows_per_key <= rows, which cannot overflow in this form. A concurrent refresh reads
    // the view as it becomes, so a view smaller than `keys` may grow to `keys` rows: those are
    // fewer than the product as well, unless there is no key at all.
    return keys <= std::max<std::int64_t>(view_rows, 0) / rows_per_key(view_rows);
}

bool is_incremental_cheaper_uncounted(std::int64_t log_rows, std::int64_t view_rows) {
    return log_rows <= rows_of_short_log || is_incremental_cheaper(log_rows, view_rows);
}

} // namespace attribution::core
