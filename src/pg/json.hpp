// jsonb and the documents of the core: a jsonb is written out as a flat list of nodes, once, and a
// list of nodes becomes jsonb again. Numbers stay decimal.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// A jsonb as the cursor of the core reads it. Texts of strings and keys lie in the jsonb, numbers
/// stay with it as numeric: all of it lives as long as the memory context it was made in.
struct JsonDocument {
    std::span<core::JsonNode> nodes;
    Numeric* numbers;  // of each node that is a number; unset for all others
    std::size_t bytes; // of the jsonb: no more are in all its strings together

    [[nodiscard]] core::Json root() const { return core::Json(nodes); }
};

/// The nodes of a jsonb. Its numbers have no text yet.
JsonDocument json_structure(Datum jsonb);

/// Gives the numbers that are not removed their texts: decimal, without exponent. Numbers of more
/// than 255 digits get them only up to 1 MB in all, then words that are no number.
void add_number_texts(const JsonDocument& document);

/// Both: the nodes of a jsonb, with the texts of its numbers.
JsonDocument json_document(Datum jsonb);

/// The same of one element of an array, as an iterator over the array gives it.
JsonDocument json_document(const JsonbValue& element);

/// What stands at a place of the document, without its removed nodes, as jsonb; palloc'd.
Datum jsonb_of(const JsonDocument& document, core::Json place);

/// The text as a JSON string; palloc'd.
Datum jsonb_string(std::string_view text);

/// Adds a key and a string to the object that is being built.
void push_text(JsonbParseState** state, std::string_view key, std::string_view text);

} // namespace attribution::pg
