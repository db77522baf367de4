// ingest: the one way by which an event comes in, for whoever brings it.
#pragma once

#include <cstdint>
#include <string_view>

#include "pg/convert.hpp"

namespace attribution::entry {

/// A new event as the queries take it: the arguments of ingest_event() in their order, and its id.
struct NewEvent {
    enum Argument {
        tenant_id,
        source,
        event_type,
        occurred_at,
        revenue_cents,
        external_event_id,
        correlation_id,
        session_id,
        channel,
        refund_of,
        raw_payload,
        argument_count
    };
    Datum values[argument_count + 1];
    char nulls[argument_count + 1];

    bool has(Argument argument) const { return nulls[argument] == ' '; }
    std::string_view text(Argument argument) const { return pg::text_of(values[argument]); }
    void set(Argument argument, Datum value) {
        values[argument] = value;
        nulls[argument] = ' ';
    }
};

/// What became of it. The first two are good; the others changed nothing.
enum class Intake : std::uint8_t {
    ingested,
    duplicate,
    content_changed, // the key is known with other content
    over_refund,     // more than is left of the conversion
};

/// The event that has the key.
struct Known {
    pg_uuid_t id;
    std::string_view event_type;
    core::Cents revenue_cents;
    bool is_refund;
    pg_uuid_t refund_of;
};

struct IntakeResult {
    Intake intake;
    Known event;              // ingested: only its id
    core::Cents left_to_take; // over_refund: what is left of the conversion
};

/// A refund of more than is left: Intake::over_refund, or the error of the check at COMMIT (23514,
/// or 40001 where only another transaction made it too much).
enum class OverRefund : std::uint8_t { is_told, is_raised };

/// Takes in an event whose arguments are right: once per key, a refund under the lock of its
/// conversion, which must exist. `own_function` is any function of the extension. Inside an SPI
/// connection.
IntakeResult take_in(NewEvent* event, OverRefund over_refund, Oid own_function);

/// The event that has the key, if any. Exactly one of the two keys. Inside an SPI connection.
bool find_by_key(Datum tenant_id, const Datum* external_event_id, const Datum* correlation_id,
                 Known* known);

} // namespace attribution::entry
