// The short way of the check: without statements, for keys that need none.
//
// Most keys are of conversions without refunds whose sums are right. They are locked and summed by
// bare index scans, in the same order as by the statements of the rules; starting those costs ten
// times what they find for one event [measured].
//
// Nothing is decided here. The short way may say that a key is certainly right; there is no word
// for wrong, so whatever else it sees is left to the rules. A build with assertions asks the rules
// about each key that it called right.
#pragma once

#include <cstdint>
#include <span>

#include "entry/check/key.hpp"

namespace attribution::entry {

enum class Verdict : std::uint8_t { left_to_rules, certainly_right };

/// Locks the conversions of the keys, which are sorted, of one table and each name a model version,
/// and sets a verdict for each. Locks nothing and leaves all to the rules where the tables lack an
/// index for it.
void judge_plainly(std::span<const CheckKey> keys, std::span<Verdict> verdicts);

} // namespace attribution::entry
