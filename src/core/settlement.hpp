// settlement: what a payment provider says was paid for one conversion, read from JSON.
//
// The one idea: a list of settlements may have millions of elements, so one element is read at a
// time, and an element that cannot be read is refused with its position in the list.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/apportion.hpp"
#include "core/json.hpp"

namespace attribution::core {

/// The longest key of a settlement, in bytes.
inline constexpr std::size_t max_settlement_key_bytes = 255;

struct Settlement {
    std::string_view key; // of the conversion; belongs to whoever made the nodes of the document
    Cents amount_cents;   // paid net of refunds, in minor units of the tenant's currency
};

/// Reads element `position` (counted from 1) of a list of settlements:
///
///     {"key": "shop:order:1", "amount_cents": 100}
///
/// The key has 1 to max_settlement_key_bytes bytes. The amount is a whole number of any spelling
/// (100, 100.00) in the range of 64 bits, and never passes through floating point. Other members
/// are ignored. Throws Error (invalid_value) for anything else; its detail names the position.
Settlement read_settlement(Json element, std::uint64_t position);

/// Throws the Error (invalid_value) of a document that is not an array.
[[noreturn]] void throw_not_an_array_of_settlements();

} // namespace attribution::core
