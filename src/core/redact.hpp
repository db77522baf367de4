// What of a message is never stored: the values of listed keys.
//
// The one idea: payloads are full of names and addresses that nobody here needs. A key that holds
// one goes together with its value, wherever it stands: in an object at any depth, as a pair such
// as {"name": "email", "value": "..."}, and inside of a string, which may be a URL, a form, or JSON
// once more. Everything else stays byte for byte.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstdint>
#include <span>
#include <string_view>

#include "core/json.hpp"

namespace attribution::core {

/// A hash of the name of a key that does not see case, '_', '-' and blanks: first_name, FirstName
/// and "first-name" are one. FNV-1a with 64 bits.
std::uint64_t key_hash(std::string_view name) noexcept;

/// Which keys are to be removed: sorted hashes.
struct KeySet {
    std::span<const std::uint64_t> hashes;

    [[nodiscard]] bool contains(std::string_view name) const noexcept;
};

/// Removes the values of listed keys from a text that is no JSON, as far as it looks like some: a
/// quoted key, a colon and a value, wherever they stand; or key=value, between '&' or at the ends,
/// also of the query of a URL.
/// What goes is the value, "" or 0 or nothing stands for it. Writes to `target`, which has at least
/// as many bytes as `text`, and returns what was written.
std::string_view redact_text(std::string_view text, const KeySet& keys,
                             std::span<char> target) noexcept;

/// Marks the members of listed keys as removed, and lets strings that held such keys point to what
/// is left of them. That lies in `target`, which has at least as many bytes as all strings of the
/// document together. Returns whether anything was removed; if not, the document is unchanged.
bool redact(std::span<JsonNode> document, const KeySet& keys, std::span<char> target) noexcept;

} // namespace attribution::core
