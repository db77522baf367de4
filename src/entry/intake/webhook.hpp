// webhook: what a delivery of a provider says of money.
//
// The one idea: every topic of every provider comes down to the same few notices (a conversion, a
// refund, a refund that was taken back), each with a canonical key. Reading is apart from taking
// in: the mapping looks at the payload alone, and what it cannot read is a problem with a code.
#pragma once

#include <cstdint>
#include <string_view>

#include "pg/convert.hpp"
#include "pg/json.hpp"

namespace attribution::entry {

/// Why a delivery cannot be taken in; `code` is nullptr while there is none. The texts live as long
/// as the memory context they were made in.
struct Problem {
    const char* code = nullptr;
    const char* message = nullptr;
    const char* field = nullptr; // where in the payload; nullptr: nowhere in particular
    std::string_view value;      // what stands there
};

enum class NoticeKind : std::uint8_t {
    conversion,
    refund,
    reversal, // what a refund took comes back
};

/// How a refund is announced. Stripe announces the same refund twice: by its own id, and as a sum
/// per charge, from which only the difference to the sum before can be told.
enum class Announced : std::uint8_t { once, by_id, by_sum };

struct Notice {
    NoticeKind kind;
    Announced announced = Announced::once;
    std::string_view external_event_id; // its key; a conversion of Stripe has none
    std::string_view correlation_id;
    // The conversion that is refunded: by its external id, or by either of two correlation ids.
    std::string_view conversion_id;
    std::string_view conversion_correlation_id, conversion_correlation_id_2;
    std::string_view refund_id;   // reversal: the external id of the refund, or what it begins with
    bool is_sure = true;          // reversal: a refund that is not known is a problem
    core::Cents cents = 0;        // above zero, also of a refund
    core::Cents sum = 0;          // by_sum: what is refunded in all
    bool sum_before_known = true; // by_sum: cents is the difference to it
    TimestampTz occurred_at = 0;
    std::string_view channel;
    bool has_session_id = false;
    pg_uuid_t session_id{};
    Datum payload = 0; // jsonb; 0: the whole delivery
};

/// A delivery and what was read of it.
struct Delivery {
    std::string_view source, topic;
    JsonbValue root;
    std::string_view currency; // the tenant's
    int decimals;

    Problem problem;
    // As far as they could be read, for the dead letter.
    std::string_view external_event_id, correlation_id;
    Notice* notices = nullptr; // none: the delivery says nothing of money
    std::size_t notice_count = 0, notice_room = 0;
};

/// The topic that headers or payload name; empty when they name none.
std::string_view topic_of(std::string_view source, const JsonbValue& payload,
                          const JsonbValue* headers);

/// Reads the delivery: fills in its notices or its problem. Calls PostgreSQL, but no query.
void read_delivery(Delivery* delivery);

} // namespace attribution::entry
