// intaking: a delivery of a provider on its way in.
//
// The one idea: a delivery is read, then its notices come in one by one, each under its canonical
// key; so topics and deliveries that announce the same thing meet in one event, in any order. What
// is wrong with a delivery is never an error of the caller's transaction: it is the problem of the
// delivery, which becomes a dead event.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "entry/intake/redact.hpp"

namespace attribution::entry {

/// What became of a delivery. When its notices have different outcomes, the last of them in this
/// order is that of the delivery.
enum class DeliveryOutcome : std::uint8_t { ignored, duplicate, ingested, dead };

inline constexpr std::size_t delivery_outcome_count = 4;

/// The name of the outcome in SQL.
std::string_view outcome_name(DeliveryOutcome outcome);

/// A delivery, and what became of it so far. Its texts live as long as the memory context.
struct Intaking {
    core::Uuid tenant_id;
    std::string_view source;
    std::string_view topic;                // empty: read from the headers or the payload
    Message payload;                       // without personal data
    std::optional<pg::JsonbDatum> headers; // without personal data

    DeliveryOutcome outcome = DeliveryOutcome::ignored;
    std::optional<core::Uuid> event_id; // of the first event that came in, else of the first known
    core::Problem problem;              // why the delivery is dead
    std::string_view external_event_id, correlation_id; // as far as they could be read
};

/// The text, or nothing when it is empty: for a column that may be null.
inline std::optional<std::string_view> if_any(std::string_view text) {
    return text.empty() ? std::nullopt : std::optional(text);
}

/// Makes the delivery dead. Only the first problem of a delivery is stored.
void set_problem(Intaking* in, const char* code, const char* message, std::string_view value);

/// Sets the payload from a body that came as text. A body that is no JSON, or none that jsonb can
/// hold, is stored as a JSON string, and the delivery is dead.
void set_body(Intaking* in, std::string_view body);

/// Reads the delivery and ingests its notices. A notice that cannot be ingested makes the delivery
/// dead, but the notices after it are ingested all the same: a shop may send a refund only as a
/// part of its order. Raises 22023 when there is no such tenant. Inside an SPI connection.
void ingest_delivery(Intaking* in);

} // namespace attribution::entry
