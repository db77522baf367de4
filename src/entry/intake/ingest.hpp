// ingest: stores events. ingest_event() and the webhooks both store their events through it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

#include "pg/types.hpp"

namespace attribution::entry {

/// An event that is to be stored. Its texts have 1 to 255 bytes, its amount has the sign of its
/// type, and a refund, and no other event, has `refund_of`.
struct NewEvent {
    core::Uuid tenant_id;
    std::string_view source, event_type;
    pg::Timestamptz occurred_at;
    core::Cents revenue_cents = 0;
    std::optional<std::string_view> external_event_id = {}, correlation_id = {};
    std::optional<core::Uuid> session_id = {};
    std::optional<std::string_view> channel = {};
    std::optional<core::Uuid> refund_of = {};
    std::optional<pg::JsonbDatum> raw_payload = {}; // without personal data
};

/// What became of an event. Only `ingested` has stored something.
enum class IngestOutcome : std::uint8_t {
    ingested,
    duplicate,
    content_changed, // the key is known with other content
    over_refund,     // more than is left of the conversion
};

/// An event that is stored, as far as it decides whether another one is the same.
struct StoredEvent {
    using Columns =
        std::tuple<core::Uuid, std::string_view, core::Cents, std::optional<core::Uuid>>;
    core::Uuid id;
    std::string_view event_type;
    core::Cents revenue_cents;
    std::optional<core::Uuid> refund_of;
};

struct IngestResult {
    IngestOutcome outcome;
    StoredEvent event;            // ingested: only its id; over_refund: nothing
    core::Cents refundable_cents; // over_refund: what is left of the conversion
};

/// What a refund of more than is left leads to: IngestOutcome::over_refund, or the error of the
/// check at COMMIT (23514, or 40001 where only another transaction made it too much).
enum class OverRefund : std::uint8_t { returned, raised };

/// Stores an event, once per key: its external_event_id, else its correlation_id; without a key
/// every call stores one. A refund is stored under the lock of its conversion, which must exist.
/// Inside an SPI connection.
IngestResult ingest(const NewEvent& event, OverRefund over_refund);

/// The event that has the external id. Inside an SPI connection.
std::optional<StoredEvent> find_by_external_id(const core::Uuid& tenant_id, std::string_view key);

/// The event without an external id that has the correlation id. Inside an SPI connection.
std::optional<StoredEvent> find_by_correlation_id(const core::Uuid& tenant_id,
                                                  std::string_view key);

} // namespace attribution::entry
