// Reading jsonb: from a value down to what stands at a path. Nothing here raises for what is not
// there or of another type, and numbers stay decimal.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The whole document.
JsonbValue json_root(Jsonb* document);

/// What stands under the keys, one inside the other; nullptr when it is not there or null.
const JsonbValue* json_at(const JsonbValue* value, std::initializer_list<std::string_view> path);

bool is_object(const JsonbValue* value);

/// Elements of an array; 0 for everything else.
std::uint32_t json_count(const JsonbValue* value);
const JsonbValue* json_element(const JsonbValue* array, std::uint32_t index);

/// A string as it is, a number as numeric writes it: decimal, without exponent.
std::optional<std::string_view> json_text(const JsonbValue* value);
bool is_string(const JsonbValue* value);
std::optional<bool> json_bool(const JsonbValue* value);

/// Adds a key and a string to the object that is being built.
void push_text(JsonbParseState** state, std::string_view key, std::string_view text);

} // namespace attribution::pg
