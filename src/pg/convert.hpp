// Values on their way between PostgreSQL and the core. Nothing here throws or owns.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "pg/library.hpp"
#include "pg/postgres.hpp"

namespace attribution::pg {

/// A function SQL can call. PostgreSQL's macro declares it without default visibility on 15.
#define ATTRIBUTION_FUNCTION(name)                                                                 \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    static Datum name##_body(PG_FUNCTION_ARGS);                                                    \
    Datum name(PG_FUNCTION_ARGS) {                                                                 \
        attribution::pg::check_first_library();                                                    \
        return name##_body(fcinfo);                                                                \
    }                                                                                              \
    static Datum name##_body([[maybe_unused]] PG_FUNCTION_ARGS)

core::Uuid uuid_of(Datum datum);
Datum uuid_datum(const core::Uuid& uuid); // palloc'd
const char* uuid_text(Datum datum);       // palloc'd
const char* uuid_text(const core::Uuid& uuid);

/// The bytes of a text value, detoasted; valid as long as the current memory context.
std::string_view text_of(Datum datum);
Datum text_datum(std::string_view text); // palloc'd

/// A numeric as the core reads it; the digits are palloc'd.
core::Decimal decimal_of(Datum numeric);

/// The numeric value * 10^-decimals, palloc'd, with that many decimals shown.
Datum scaled_numeric(std::int64_t value, int decimals);

/// A tie key as numeric: bigint has no room for its upper half. palloc'd.
Datum tie_key_datum(std::uint64_t tie_key);

using core::max_text_bytes;

/// Raises 22023 for an empty text and 54000 for one above max_text_bytes; `name` is what the user
/// calls the argument.
void check_text(std::string_view text, const char* name);
void check_text(Datum text, const char* name);

/// `count` zeroed values, palloc'd.
template <class Value>
std::span<Value> make_span(std::size_t count) {
    return {static_cast<Value*>(palloc_extended(sizeof(Value) * (count == 0 ? 1 : count),
                                                MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)),
            count};
}

/// Elements of a one-dimensional array without NULLs. Raises 22023 for more dimensions, 22004 for a
/// NULL element, 54000 for more than `limit` elements; an empty array gives no elements.
/// `name` is what the user calls the argument.
std::span<Datum> array_elements(ArrayType* array, const char* name, std::size_t limit);

/// Milliseconds since 1970, rounded down.
std::int64_t unix_milliseconds(TimestampTz time);

/// The time that is so many microseconds after 1970; at most year 9999.
TimestampTz timestamp_of(std::int64_t unix_us);

} // namespace attribution::pg
