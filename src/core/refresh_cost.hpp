// Whether a refresh that computes only the changed keys of a view costs less than one that computes
// the whole view.
//
// The one idea: the cost of a key is stated in rows of the view. A concurrent refresh reads every
// row of the view and compares it; computing one key anew costs as much as reading a few of those
// rows. The rates were measured by bench/refresh. They choose between two ways to the same
// contents, so an error in them costs time and no money.
//
// Everything is counted in whole keys and rows. Negative counts count as zero.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstdint>

namespace attribution::core {

/// How many rows of the view a concurrent refresh reads in the time that computing one key takes.
/// Looking a key up grows dearer with the view; reading its rows in order does not.
[[nodiscard]] std::int64_t rows_per_key(std::int64_t view_rows);

/// True when computing `keys` keys costs at most as much as a concurrent refresh of a view of
/// `view_rows` rows.
[[nodiscard]] bool is_incremental_cheaper(std::int64_t keys, std::int64_t view_rows);

/// True when it is not worth counting the different keys in a log of at most `log_rows` rows: the
/// log is short, or the incremental refresh is cheaper even if every row is a key of its own.
[[nodiscard]] bool is_incremental_cheaper_uncounted(std::int64_t log_rows, std::int64_t view_rows);

} // namespace attribution::core
