// refunds: allocates refunds to the channels that got the revenue of the conversion.
//
// A refund needs to know what the refunds before it have left of each channel. So whoever allocates
// refunds locks their conversions first (lock_conversions, against refunds) and looks afterwards.
#pragma once

#include <cstdint>
#include <span>

#include "entry/allocation/rows.hpp"

namespace attribution::entry {

/// True when some refund of the conversions is not allocated.
bool refunds_wait(const Rows& rows, std::span<const core::Uuid> conversion_ids);

/// Allocates refunds of locked conversions that are not allocated yet, in the order of their time,
/// from what is left of each channel, and writes them: all, or only the next one of each
/// conversion. A conversion without allocations under the model version keeps its refunds waiting.
/// `current` is the refund at work, for whoever reports a failure. Returns the number of refunds;
/// the number of rows is added to `row_count`.
///
/// Raises 23514 for a refund of more than is left, and 40001 for one that is newer than the
/// snapshot of the transaction.
std::uint64_t allocate_refunds(Rows* rows, std::span<const core::Uuid> conversion_ids,
                               bool only_next, core::Uuid* current, std::uint64_t* row_count);

} // namespace attribution::entry
