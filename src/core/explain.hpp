// Why each cent went where: the steps of apportion.hpp, one share at a time, as exact fractions.
//
// The one idea: apportion() selects and forgets; explain() repeats its rule step by step on the
// same numbers, keeps every intermediate value as a reduced fraction, and refuses to explain what
// is not what apportion() gives.
//
// Invariants (test/unit/explain_test.cpp): the exact shares sum to total; floor plus remainder is
// the exact share; cents is the floor, or a cent more for the ranks up to the number of cents left
// over; cents are those of apportion().
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "core/apportion.hpp"

namespace attribution::core {

/// How one share came about. Fractions are reduced and written "n/d", or "n" where they are whole.
struct Explanation {
    std::string exact_share; // total * weight / sum(weights), with its sign
    Cents floor = 0;         // the whole cents of it, toward zero
    std::string remainder;   // what is left of its absolute value: 0 or more, below 1
    std::size_t rank = 0;    // from 1: who is first to get one of the cents left over
    Cents cents = 0;         // floor, or a cent further from zero
};

/// Calls `take` once for each weight, in their order, with what apportion() does with it. What
/// `take` throws ends the explanation.
///
/// Throws as apportion() does. One explanation of the longest weights that are allowed takes
/// seconds: reducing a fraction costs the square of its digits. `take` is where to ask for
/// interrupts.
void explain(Cents total, std::span<const Decimal> weights, std::span<const std::uint64_t> tie_keys,
             const std::function<void(const Explanation&)>& take);

} // namespace attribution::core
