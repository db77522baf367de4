// redact: removes personal data from messages before they are stored.
#pragma once

#include <string_view>

#include "pg/json.hpp"
#include "pg/types.hpp"

namespace attribution::entry {

extern char* redacted_keys_setting; // attribution.redacted_keys

/// The default of the setting.
extern const char* const default_redacted_keys;

/// Hooks of attribution.redacted_keys: at most 512 keys, which assigning hashes.
bool check_redacted_keys(char** value, void** extra, GucSource source);
void assign_redacted_keys(const char* value, void* extra);

/// A message without the listed keys at any depth.
struct Message {
    Datum jsonb;               // the same value when nothing was removed
    pg::JsonDocument document; // the same content; its numbers have no text yet
};
Message redacted_message(Datum jsonb);

/// A jsonb without the listed keys at any depth; the same value when it has none of them.
pg::JsonbDatum redacted(pg::JsonbDatum jsonb);

/// The same for a text that is no JSON, as far as keys can be recognized in it; palloc'd.
std::string_view redacted_text(std::string_view text);

} // namespace attribution::entry
