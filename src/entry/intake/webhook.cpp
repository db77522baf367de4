// webhook: deliveries of providers become events, and what cannot becomes a dead event.
//
// The one idea: a delivery is read, then taken in notice by notice, each under its canonical key;
// so topics and deliveries that announce the same thing meet in one event, in any order. What is
// wrong with a delivery is never an error of the caller's transaction: it is stored whole, and
// retry_dead_events() sends it through the very same code.

#include "entry/intake/webhook.hpp"

#include <algorithm>
#include <array>

#include "entry/intake/ingest.hpp"

#include "entry/intake/redact.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/check/validate.hpp"
#include "pg/boundary.hpp"
#include "pg/query.hpp"

namespace attribution::entry {
namespace {

enum class Outcome : std::uint8_t { ignored, duplicate, ingested, dead };

constexpr std::array outcome_names = {"ignored", "duplicate", "ingested", "dead"};

/// A delivery on its way in.
struct Intaking {
    Datum tenant_id;
    Oid own_function;
    Datum payload; // jsonb, redacted
    Datum headers; // jsonb, redacted
    bool has_headers;
    Delivery delivery;
    Outcome outcome = Outcome::ignored;
    bool has_event_id = false;
    pg_uuid_t event_id{};
};

struct Currency {
    std::string_view code;
    int decimals;
};

Currency currency_of(Datum tenant_id) {
    static constinit pg::Query find = {
        .sql = "SELECT t.currency::text, c.decimals::integer FROM attribution.tenants t "
               "JOIN attribution.currencies c ON c.code = t.currency WHERE t.id = $1",
        .parameter_count = 1,
        .parameter_types = {UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(find, &tenant_id);
    if (SPI_processed == 0) {
        check_tenant_exists(pg::uuid_of(tenant_id));
        elog(ERROR, "the tenant has no currency");
    }
    bool isnull;
    const Datum code = datumCopy(pg::result_value(0, 1, &isnull), false, -1);
    return {.code = pg::text_of(code), .decimals = DatumGetInt32(pg::result_value(0, 2, &isnull))};
}

/// The first problem is the delivery's.
void set_problem(Intaking* in, const char* code, const char* message, std::string_view value) {
    in->outcome = Outcome::dead;
    if (in->delivery.problem.code == nullptr)
        in->delivery.problem = {.code = code, .message = message, .field = nullptr, .value = value};
}

/// The delivery as a whole: what came in first names its event.
void note_outcome(Intaking* in, Outcome outcome, const pg_uuid_t& event_id) {
    if (!in->has_event_id || (outcome == Outcome::ingested && in->outcome < Outcome::ingested)) {
        in->event_id = event_id;
        in->has_event_id = true;
    }
    in->outcome = std::max(in->outcome, outcome);
}

// ---------------------------------------------------------------------------------------------
// Conversions and refunds that are known

/// The conversion a refund names; false, with the problem, when it is not there.
bool find_conversion(Intaking* in, const Notice& notice, Known* known) {
    const auto by = [&](std::string_view external, std::string_view correlation) {
        const Datum key = pg::text_datum(external.empty() ? correlation : external);
        return external.empty() ? find_by_key(in->tenant_id, nullptr, &key, known)
                                : find_by_key(in->tenant_id, &key, nullptr, known);
    };
    const bool found = !notice.conversion_id.empty()
                           ? by(notice.conversion_id, {})
                           : by({}, notice.conversion_correlation_id) ||
                                 (!notice.conversion_correlation_id_2.empty() &&
                                  by({}, notice.conversion_correlation_id_2));
    const std::string_view key =
        notice.conversion_id.empty() ? notice.conversion_correlation_id : notice.conversion_id;
    if (!found) {
        set_problem(in, "unknown_original", "the event it refers to is not known", key);
        return false;
    }
    if (known->event_type != "conversion") {
        set_problem(in, "unknown_original", "the event it refers to is no conversion", key);
        return false;
    }
    return true;
}

bool find_alias(Datum tenant_id, std::string_view key, pg_uuid_t* event_id, core::Cents* cents) {
    static constinit pg::Query find = {
        .sql = "SELECT e.id, e.revenue_cents FROM attribution.event_aliases a "
               "JOIN attribution.attribution_events e "
               "ON e.tenant_id = a.tenant_id AND e.id = a.event_id "
               "WHERE a.tenant_id = $1 AND a.external_event_id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, pg::text_datum(key)};
    pg::run_latest(find, values);
    if (SPI_processed == 0)
        return false;
    bool isnull;
    *event_id = *DatumGetUUIDP(pg::result_value(0, 1, &isnull));
    *cents = DatumGetInt64(pg::result_value(0, 2, &isnull));
    return true;
}

// $2, a conversion of tenant $1, and what came back of its refunds: conversions of their own, whose
// keys are those of the refunds with another word in them. OFFSET 0: one index lookup after the
// other, whatever the statistics were when the plan was made.
#define WITH_RETURNED                                                                              \
    "WITH RECURSIVE returned (id) AS (SELECT $2 UNION SELECT v.id FROM returned c "                \
    "CROSS JOIN LATERAL (SELECT r.id, r.external_event_id FROM attribution.attribution_events r "  \
    "WHERE r.tenant_id = $1 AND r.refund_of = c.id OFFSET 0) r "                                   \
    "CROSS JOIN LATERAL (SELECT r.external_event_id UNION ALL "                                    \
    "SELECT a.external_event_id FROM attribution.event_aliases a "                                 \
    "WHERE a.tenant_id = $1 AND a.event_id = r.id OFFSET 0) k (key) "                              \
    "CROSS JOIN LATERAL (SELECT v.id FROM attribution.attribution_events v "                       \
    "WHERE v.tenant_id = $1 AND v.event_type = 'conversion' AND v.external_event_id = CASE "       \
    "WHEN starts_with(k.key, 'stripe:refund:') "                                                   \
    "THEN 'stripe:refund_failed:' || substr(k.key, length('stripe:refund:') + 1) "                 \
    "WHEN starts_with(k.key, 'stripe:dispute:') "                                                  \
    "THEN 'stripe:dispute_won:' || substr(k.key, length('stripe:dispute:') + 1) "                  \
    "WHEN starts_with(k.key, 'shopify:dispute:') "                                                 \
    "THEN 'shopify:dispute_won:' || substr(k.key, length('shopify:dispute:') + 1) "                \
    "END OFFSET 0) v) "

/// A refund of the conversion with the same amount that was announced in the other way only.
bool find_other_announcement(Datum tenant_id, const pg_uuid_t& conversion_id, core::Cents cents,
                             const char* prefix, pg_uuid_t* event_id) {
    static constinit pg::Query find = {
        .sql = WITH_RETURNED "SELECT e.id FROM returned CROSS JOIN LATERAL "
                             "(SELECT * FROM attribution.attribution_events e "
                             "WHERE e.tenant_id = $1 AND e.refund_of = returned.id OFFSET 0) e "
                             "WHERE e.revenue_cents = $3 AND starts_with(e.external_event_id, $4) "
                             "AND NOT EXISTS (SELECT 1 FROM attribution.event_aliases a "
                             "WHERE a.tenant_id = $1 AND a.event_id = e.id OFFSET 0) "
                             "ORDER BY e.occurred_at, e.id LIMIT 1",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, UUIDOID, INT8OID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, UUIDPGetDatum(&conversion_id), Int64GetDatum(-cents),
                      CStringGetTextDatum(prefix)};
    pg::run_latest(find, values);
    if (SPI_processed == 0)
        return false;
    bool isnull;
    *event_id = *DatumGetUUIDP(pg::result_value(0, 1, &isnull));
    return true;
}

void add_alias(Datum tenant_id, std::string_view key, const pg_uuid_t& event_id) {
    static constinit pg::Query see = {
        .sql = "SELECT 1 FROM attribution.attribution_events WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    // The foreign key looks with the snapshot of the transaction, and would find nothing.
    Datum event[] = {tenant_id, UUIDPGetDatum(&event_id)};
    pg::run(see, event);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: another delivery has just announced "
                               "the same refund"),
                        errhint("The transaction might succeed if retried.")));
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id) "
               "VALUES ($1, $2, $3)",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, TEXTOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, pg::text_datum(key), UUIDPGetDatum(&event_id)};
    pg::run(insert, values);
}

/// What Stripe refunds of a conversion are stored and did not fail, and the last of them.
core::Cents stored_refunds(Datum tenant_id, const pg_uuid_t& conversion_id, pg_uuid_t* last) {
    static constinit pg::Query find = {
        .sql = WITH_RETURNED
        "SELECT (sum(-e.revenue_cents) OVER () - (SELECT coalesce(sum(v.revenue_cents), 0) "
        "FROM returned CROSS JOIN LATERAL (SELECT * FROM attribution.attribution_events v "
        "WHERE v.tenant_id = $1 AND v.id = returned.id OFFSET 0) v "
        "WHERE starts_with(v.external_event_id, 'stripe:refund_failed:')))::bigint, e.id "
        "FROM returned CROSS JOIN LATERAL (SELECT * FROM attribution.attribution_events e "
        "WHERE e.tenant_id = $1 AND e.refund_of = returned.id OFFSET 0) e "
        "WHERE (starts_with(e.external_event_id, 'stripe:refund:') "
        "OR starts_with(e.external_event_id, 'stripe:refunded:')) "
        "ORDER BY e.occurred_at DESC, e.id DESC LIMIT 1",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, UUIDPGetDatum(&conversion_id)};
    pg::run_latest(find, values);
    if (SPI_processed == 0)
        return 0;
    bool isnull;
    *last = *DatumGetUUIDP(pg::result_value(0, 2, &isnull));
    return DatumGetInt64(pg::result_value(0, 1, &isnull));
}

// ---------------------------------------------------------------------------------------------
// Taking in

NewEvent event_of(const Intaking& in, const Notice& notice, const char* type) {
    NewEvent event{};
    std::fill(std::begin(event.nulls), std::end(event.nulls), 'n');
    event.set(NewEvent::tenant_id, in.tenant_id);
    event.set(NewEvent::source, pg::text_datum(in.delivery.source));
    event.set(NewEvent::event_type, CStringGetTextDatum(type));
    event.set(NewEvent::occurred_at, TimestampTzGetDatum(notice.occurred_at));
    event.set(NewEvent::revenue_cents,
              Int64GetDatum(notice.kind == NoticeKind::refund ? -notice.cents : notice.cents));
    if (!notice.external_event_id.empty())
        event.set(NewEvent::external_event_id, pg::text_datum(notice.external_event_id));
    if (!notice.correlation_id.empty())
        event.set(NewEvent::correlation_id, pg::text_datum(notice.correlation_id));
    event.set(NewEvent::raw_payload, notice.payload != 0 ? redacted(notice.payload) : in.payload);
    return event;
}

void note_result(Intaking* in, const NewEvent& event, const IntakeResult& result) {
    switch (result.intake) {
    case Intake::ingested:
        note_outcome(in, Outcome::ingested, result.event.id);
        break;
    case Intake::duplicate:
        note_outcome(in, Outcome::duplicate, result.event.id);
        break;
    case Intake::content_changed:
        set_problem(in, "content_changed",
                    psprintf("event %s is known as a %.*s of " INT64_FORMAT
                             " cents, the delivery says " INT64_FORMAT,
                             pg::uuid_text(UUIDPGetDatum(&result.event.id)),
                             static_cast<int>(result.event.event_type.size()),
                             result.event.event_type.data(), result.event.revenue_cents,
                             DatumGetInt64(event.values[NewEvent::revenue_cents])),
                    {});
        break;
    case Intake::over_refund:
        set_problem(in, "over_refund",
                    psprintf("the refund takes " INT64_FORMAT " cents, " INT64_FORMAT
                             " are left of the conversion",
                             -DatumGetInt64(event.values[NewEvent::revenue_cents]),
                             result.left_to_take),
                    {});
        break;
    }
}

void take(Intaking* in, NewEvent* event) {
    note_result(in, *event, take_in(event, OverRefund::is_told, in->own_function));
}

/// The touch of a conversion that names its channel and no journey: a journey of one.
void take_touch(Intaking* in, const Notice& notice, Datum session_id) {
    const std::string_view key =
        notice.external_event_id.empty() ? notice.correlation_id : notice.external_event_id;
    const std::string_view id =
        key.substr(notice.external_event_id.empty() ? 0 : key.find(':', key.find(':') + 1) + 1);
    const char* touch_key =
        psprintf("%.*s:touch:%.*s", static_cast<int>(in->delivery.source.size()),
                 in->delivery.source.data(), static_cast<int>(id.size()), id.data());
    if (strlen(touch_key) > pg::max_text_bytes)
        return;
    NewEvent touch = event_of(*in, notice, "touch");
    touch.set(NewEvent::revenue_cents, Int64GetDatum(0));
    touch.set(NewEvent::external_event_id, CStringGetTextDatum(touch_key));
    touch.set(NewEvent::session_id, session_id);
    touch.set(NewEvent::channel, pg::text_datum(notice.channel));
    touch.nulls[NewEvent::raw_payload] = 'n';
    take_in(&touch, OverRefund::is_told, in->own_function);
}

/// The session of a conversion without one, so that its touch is found: its own, from its key.
core::Uuid own_session(Datum tenant_id, std::string_view key) {
    const core::Uuid tenant = pg::uuid_of(tenant_id);
    const char* text = psprintf("session:%.*s", static_cast<int>(key.size()), key.data());
    core::Uuid session;
    pg::guarded([&] {
        session = core::keyed_event_id(tenant, core::BusinessKeyKind::external_event_id, text);
    });
    return session;
}

void take_conversion(Intaking* in, const Notice& notice) {
    NewEvent event = event_of(*in, notice, "conversion");
    bool has_touch = false;
    if (!notice.channel.empty())
        event.set(NewEvent::channel, pg::text_datum(notice.channel));
    if (notice.has_session_id) {
        event.set(NewEvent::session_id, UUIDPGetDatum(&notice.session_id));
    } else if (!notice.channel.empty()) {
        has_touch = true;
        event.set(NewEvent::session_id,
                  pg::uuid_datum(own_session(in->tenant_id, notice.external_event_id.empty()
                                                                ? notice.correlation_id
                                                                : notice.external_event_id)));
    }
    const Outcome before = in->outcome;
    take(in, &event);
    if (has_touch && before < Outcome::ingested && in->outcome == Outcome::ingested)
        take_touch(in, notice, event.values[NewEvent::session_id]);
}

Oid events_of(const Intaking& in) {
    return get_relname_relid("attribution_events", get_func_namespace(in.own_function));
}

/// A refund that Stripe announces in two ways is one event with two keys. Which announcements
/// belong together can be told by their amounts alone; refunds of one amount stand for each other.
bool is_announced(Intaking* in, Notice* notice, const Known& conversion) {
    lock_conversion(events_of(*in), in->own_function, in->tenant_id, UUIDPGetDatum(&conversion.id));
    pg_uuid_t event_id{};
    core::Cents cents = 0;
    if (find_alias(in->tenant_id, notice->external_event_id, &event_id, &cents)) {
        if (-cents == notice->cents || !notice->sum_before_known)
            note_outcome(in, Outcome::duplicate, event_id);
        else
            set_problem(in, "content_changed",
                        psprintf("event %s is known as a refund of " INT64_FORMAT
                                 " cents, the delivery says " INT64_FORMAT,
                                 pg::uuid_text(UUIDPGetDatum(&event_id)), cents, -notice->cents),
                        {});
        return true;
    }
    Known known;
    const Datum key = pg::text_datum(notice->external_event_id);
    if (find_by_key(in->tenant_id, &key, nullptr, &known)) {
        // A sum is its key, whatever is known of the sum before it.
        if (notice->announced != Announced::by_sum)
            return false;
        note_outcome(in, Outcome::duplicate, known.id);
        return true;
    }
    if (!notice->sum_before_known) {
        notice->cents -= stored_refunds(in->tenant_id, conversion.id, &event_id);
        if (notice->cents > 0)
            return false;
        note_outcome(in, Outcome::duplicate, event_id);
        return true;
    }
    const char* other =
        notice->announced == Announced::by_id ? "stripe:refunded:" : "stripe:refund:";
    if (!find_other_announcement(in->tenant_id, conversion.id, notice->cents, other, &event_id))
        return false;
    add_alias(in->tenant_id, notice->external_event_id, event_id);
    note_outcome(in, Outcome::duplicate, event_id);
    return true;
}

/// What came back can be refunded again: the conversion that this refund took from, else the first
/// that has enough left.
bool find_returned(const NewEvent& event, const pg_uuid_t& conversion_id, pg_uuid_t* returned_id) {
    static constinit pg::Query find = {
        .sql = WITH_RETURNED
        "SELECT v.id FROM returned CROSS JOIN LATERAL "
        "(SELECT * FROM attribution.attribution_events v "
        "WHERE v.tenant_id = $1 AND v.id = returned.id OFFSET 0) v "
        "CROSS JOIN LATERAL (SELECT v.revenue_cents + coalesce(sum(r.revenue_cents), 0) AS cents, "
        "coalesce(bool_or(r.external_event_id = $4), false) AS is_known "
        "FROM attribution.attribution_events r "
        "WHERE r.tenant_id = $1 AND r.refund_of = returned.id) l "
        "WHERE returned.id <> $2 AND (l.is_known OR l.cents + $3 >= 0) "
        "ORDER BY l.is_known DESC, v.occurred_at, v.id LIMIT 1",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, UUIDOID, INT8OID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {event.values[NewEvent::tenant_id], UUIDPGetDatum(&conversion_id),
                      event.values[NewEvent::revenue_cents],
                      event.values[NewEvent::external_event_id]};
    pg::run_latest(find, values);
    if (SPI_processed == 0)
        return false;
    bool isnull;
    *returned_id = *DatumGetUUIDP(pg::result_value(0, 1, &isnull));
    return true;
}

void take_refund(Intaking* in, Notice notice) {
    Known conversion;
    if (!find_conversion(in, notice, &conversion))
        return;
    if (notice.announced != Announced::once && is_announced(in, &notice, conversion))
        return;
    NewEvent event = event_of(*in, notice, "refund");
    event.set(NewEvent::refund_of, UUIDPGetDatum(&conversion.id));
    IntakeResult result = take_in(&event, OverRefund::is_told, in->own_function);
    pg_uuid_t returned_id;
    if ((result.intake == Intake::over_refund || result.intake == Intake::content_changed) &&
        find_returned(event, conversion.id, &returned_id)) {
        event.set(NewEvent::refund_of, UUIDPGetDatum(&returned_id));
        result = take_in(&event, OverRefund::is_told, in->own_function);
    }
    note_result(in, event, result);
}

/// Gives a refund of Stripe that is known only as a part of a sum refunded its id as a second key;
/// false when there is none of that amount.
bool name_refund(Intaking* in, const Notice& notice, const pg_uuid_t& conversion_id) {
    pg_uuid_t event_id{};
    if (!find_other_announcement(in->tenant_id, conversion_id, notice.cents,
                                 "stripe:refunded:", &event_id))
        return false;
    add_alias(in->tenant_id, notice.refund_id, event_id);
    return true;
}

/// Whether a refund of Stripe waits as a dead event; what says that it failed does not count.
bool is_refund_waiting(const Intaking& in, std::string_view refund_id) {
    static constinit pg::Query find = {
        .sql = "SELECT 1 FROM attribution.dead_events d "
               "WHERE d.tenant_id = $1 AND d.external_event_id = $2 AND d.resolved_at IS NULL "
               "AND d.raw_payload #>> '{data,object,status}' = 'succeeded' LIMIT 1",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {in.tenant_id, pg::text_datum(refund_id)};
    pg::run_latest(find, values);
    return SPI_processed > 0;
}

/// A refund that is taken back is a conversion of its own, in the journey of the first one.
void take_reversal(Intaking* in, const Notice& notice) {
    // By a key of the refund, or by the conversion and what keys of such refunds begin with.
    static constinit pg::Query find = {
        .sql = "SELECT c.session_id, c.channel FROM ("
               "SELECT e.id FROM attribution.attribution_events e "
               "WHERE e.tenant_id = $1 AND e.external_event_id = $2 UNION ALL "
               "SELECT a.event_id FROM attribution.event_aliases a "
               "WHERE a.tenant_id = $1 AND a.external_event_id = $2) k "
               "JOIN attribution.attribution_events r ON r.tenant_id = $1 AND r.id = k.id "
               "JOIN attribution.attribution_events c "
               "ON c.tenant_id = $1 AND c.id = r.refund_of LIMIT 1",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query find_of_conversion = {
        .sql = "SELECT c.session_id, c.channel FROM attribution.attribution_events c "
               "WHERE c.tenant_id = $1 AND c.external_event_id = $3 "
               "AND EXISTS (SELECT 1 FROM attribution.attribution_events r "
               "WHERE r.tenant_id = $1 AND r.refund_of = c.id "
               "AND starts_with(r.external_event_id, $2))",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Known conversion{};
    if (notice.announced == Announced::by_id) {
        // Another delivery may be announcing the refund.
        if (!find_conversion(in, notice, &conversion))
            return;
        lock_conversion(events_of(*in), in->own_function, in->tenant_id,
                        UUIDPGetDatum(&conversion.id));
    }
    Datum values[] = {in->tenant_id, pg::text_datum(notice.refund_id),
                      pg::text_datum(notice.conversion_id)};
    pg::run_latest(notice.conversion_id.empty() || notice.is_sure ? find : find_of_conversion,
                   values);
    if (SPI_processed == 0 && notice.announced == Announced::by_id &&
        name_refund(in, notice, conversion.id))
        pg::run_latest(find, values);
    if (SPI_processed == 0) {
        if (notice.is_sure)
            set_problem(in, "unknown_original", "the event it refers to is not known",
                        notice.refund_id);
        else if (notice.announced == Announced::by_id && is_refund_waiting(*in, notice.refund_id))
            set_problem(in, "unknown_original", "the refund that failed is a dead event itself",
                        notice.refund_id);
        return;
    }
    NewEvent event = event_of(*in, notice, "conversion");
    for (const auto& [number, argument] :
         {std::pair{1, NewEvent::session_id}, std::pair{2, NewEvent::channel}}) {
        bool isnull;
        const Datum value = pg::result_value(0, number, &isnull);
        if (!isnull)
            event.set(argument, datumCopy(value, false, number == 1 ? UUID_LEN : -1));
    }
    take(in, &event);
}

/// Reads a delivery and takes in what it says. What fails leaves its problem, and does not keep the
/// rest out: an order is delivered with all its refunds, and may be delivered like that only.
void take_delivery(Intaking* in) {
    Delivery& delivery = in->delivery;
    const Currency currency = currency_of(in->tenant_id);
    delivery.currency = currency.code;
    delivery.decimals = currency.decimals;
    delivery.root = pg::json_root(DatumGetJsonbP(in->payload));
    if (delivery.topic.empty()) {
        const JsonbValue headers =
            in->has_headers ? pg::json_root(DatumGetJsonbP(in->headers)) : JsonbValue{};
        delivery.topic =
            topic_of(delivery.source, delivery.root, in->has_headers ? &headers : nullptr);
    }
    read_delivery(&delivery);
    if (delivery.problem.code != nullptr) {
        in->outcome = Outcome::dead;
        return;
    }
    for (std::size_t i = 0; i < delivery.notice_count; ++i) {
        CHECK_FOR_INTERRUPTS();
        const Notice& notice = delivery.notices[i];
        switch (notice.kind) {
        case NoticeKind::conversion:
            take_conversion(in, notice);
            break;
        case NoticeKind::refund:
            take_refund(in, notice);
            break;
        case NoticeKind::reversal:
            take_reversal(in, notice);
            break;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Dead events

Datum detail_of(const Problem& problem) {
    JsonbParseState* state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    pg::push_text(&state, "message", problem.message);
    if (problem.field != nullptr)
        pg::push_text(&state, "field", problem.field);
    if (!problem.value.empty())
        pg::push_text(&state, "value", problem.value);
    return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
}

/// A text where there is one, for a query.
void set_text(Datum* value, char* null, std::string_view text) {
    *null = text.empty() ? 'n' : ' ';
    *value = text.empty() ? Datum{0} : pg::text_datum(text);
}

void bury(const Intaking& in) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.dead_events (tenant_id, source, error_code, error_detail, "
               "raw_payload, topic, headers, external_event_id, correlation_id) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        .parameter_count = 9,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TEXTOID, JSONBOID,
                            TEXTOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[9] = {in.tenant_id, pg::text_datum(in.delivery.source),
                       CStringGetTextDatum(in.delivery.problem.code),
                       detail_of(in.delivery.problem), in.payload};
    char nulls[9];
    std::fill(std::begin(nulls), std::end(nulls), ' ');
    set_text(&values[5], &nulls[5], in.delivery.topic);
    values[6] = in.headers;
    nulls[6] = in.has_headers ? ' ' : 'n';
    set_text(&values[7], &nulls[7], in.delivery.external_event_id);
    set_text(&values[8], &nulls[8], in.delivery.correlation_id);
    pg::run(insert, values, nulls);
}

/// The text as JSON; false, with the problem, when it is none that can be stored. What jsonb does
/// not take is a NUL, a number beyond numeric, and what is nested deeper than the stack.
bool parse_json(std::string_view text, Datum* json, Problem* problem) {
    const char* body = pnstrdup(text.data(), text.size());
    ErrorData* failure =
        pg::attempt([&] { *json = DirectFunctionCall1(jsonb_in, CStringGetDatum(body)); });
    if (failure == nullptr)
        return true;
    const int category = ERRCODE_TO_CATEGORY(failure->sqlerrcode);
    if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
        category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
        ReThrowError(failure);
    problem->code = "invalid_json";
    problem->message = failure->message;
    return false;
}

/// A text that is no JSON, as a JSON string.
Datum text_as_json(std::string_view text) {
    JsonbValue value{};
    value.type = jbvString;
    value.val.string.val = const_cast<char*>(text.data());
    value.val.string.len = static_cast<int>(text.size());
    return JsonbPGetDatum(JsonbValueToJsonb(&value));
}

Datum finish(FunctionCallInfo fcinfo, const Intaking& in) {
    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    Datum values[] = {in.has_event_id ? UUIDPGetDatum(&in.event_id) : Datum{0},
                      CStringGetTextDatum(outcome_names[static_cast<std::size_t>(in.outcome)])};
    bool nulls[] = {!in.has_event_id, false};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

/// ingest_webhook() and ingest_webhook_text(): the body is jsonb, or text.
Datum ingest_delivery(FunctionCallInfo fcinfo, bool is_text) {
    for (const int required : {0, 1, 3})
        if (PG_ARGISNULL(required))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", required == 0   ? "tenant_id"
                                                          : required == 1 ? "source"
                                                          : is_text       ? "body"
                                                                          : "payload")));
    Intaking in{};
    in.tenant_id = PG_GETARG_DATUM(0);
    in.own_function = fcinfo->flinfo->fn_oid;
    pg::check_text(PG_GETARG_DATUM(1), "source");
    in.delivery.source = pg::text_of(PG_GETARG_DATUM(1));
    if (!PG_ARGISNULL(2)) {
        pg::check_text(PG_GETARG_DATUM(2), "topic");
        in.delivery.topic = pg::text_of(PG_GETARG_DATUM(2));
    }
    in.has_headers = !PG_ARGISNULL(4);
    in.headers = in.has_headers ? redacted(PG_GETARG_DATUM(4)) : Datum{0};

    SPI_connect();
    if (!is_text) {
        in.payload = redacted(PG_GETARG_DATUM(3));
        take_delivery(&in);
    } else {
        const std::string_view body = pg::text_of(PG_GETARG_DATUM(3));
        Datum json = 0;
        if (parse_json(body, &json, &in.delivery.problem)) {
            in.payload = redacted(json);
            take_delivery(&in);
        } else {
            in.payload = text_as_json(redacted_text(body));
            in.outcome = Outcome::dead;
            currency_of(in.tenant_id); // the tenant must be there
        }
    }
    if (in.outcome == Outcome::dead)
        bury(in);
    SPI_finish();
    return finish(fcinfo, in);
}

// ---------------------------------------------------------------------------------------------
// Retrying

/// Which dead events are meant: the arguments of retry_dead_events() in their order.
struct Selection {
    Datum values[7];
    char nulls[7];
};

struct RetryCounts {
    std::int64_t by_outcome[outcome_names.size()];
};

/// The next dead events, oldest first, locked; those that another session is at are left out.
std::span<Datum> lock_dead_events(Selection* selection) {
    static constinit pg::Query find = {
        .sql = "SELECT d.id FROM attribution.dead_events d "
               "WHERE d.tenant_id = $1 AND d.resolved_at IS NULL "
               "AND ($2 IS NULL OR d.source = $2) AND ($3 IS NULL OR d.error_code = $3) "
               "AND d.ingested_at >= coalesce($5, '-infinity') "
               "AND d.ingested_at < coalesce($6, 'infinity') "
               "AND ($7 OR d.next_retry_at IS NULL OR d.next_retry_at <= now()) "
               "ORDER BY d.ingested_at, d.id LIMIT $4 FOR UPDATE SKIP LOCKED",
        .parameter_count = 7,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
                            BOOLOID},
        .cursor_options = 0,
        .plan = nullptr};
    pg::run(find, selection->values, selection->nulls);
    const auto ids = pg::make_span<Datum>(SPI_processed);
    bool isnull;
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = datumCopy(pg::result_value(i, 1, &isnull), false, UUID_LEN);
    SPI_freetuptable(SPI_tuptable);
    return ids;
}

/// Sends one dead event through again.
void retry(Intaking* in, Datum id) {
    static constinit pg::Query find = {
        .sql = "SELECT d.source, d.topic, d.raw_payload, d.headers "
               "FROM attribution.dead_events d WHERE d.tenant_id = $1 AND d.id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {in->tenant_id, id};
    pg::run(find, values);
    bool isnull;
    in->delivery.source = pg::text_of(datumCopy(pg::result_value(0, 1, &isnull), false, -1));
    const Datum topic = pg::result_value(0, 2, &isnull);
    if (!isnull)
        in->delivery.topic = pg::text_of(datumCopy(topic, false, -1));
    const Datum headers = pg::result_value(0, 4, &isnull);
    in->has_headers = !isnull;
    if (!isnull)
        in->headers = datumCopy(headers, false, -1);
    const Datum payload = pg::result_value(0, 3, &isnull);
    if (isnull) {
        set_problem(in, "missing_field", "the message is not there any more", {});
        return;
    }
    in->payload = datumCopy(payload, false, -1);
    SPI_freetuptable(SPI_tuptable);
    const JsonbValue root = pg::json_root(DatumGetJsonbP(in->payload));
    if (pg::is_string(&root)) {
        Datum json = 0;
        if (!parse_json(*pg::json_text(&root), &json, &in->delivery.problem)) {
            in->outcome = Outcome::dead;
            return;
        }
        in->payload = redacted(json);
    }
    take_delivery(in);
}

void record_retry(const Intaking& in, Datum id, bool is_last) {
    // Waits twice as long after each try, up to a day.
    static constinit pg::Query still_dead = {
        .sql = "UPDATE attribution.dead_events SET error_code = $3, error_detail = $4, "
               "retry_count = retry_count + 1, last_retry_at = now(), "
               "next_retry_at = now() + interval '1 minute' * (2 ^ least(retry_count, 10)), "
               "external_event_id = coalesce(external_event_id, $5), "
               "correlation_id = coalesce(correlation_id, $6) "
               "WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 6,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query resolved = {
        .sql = "UPDATE attribution.dead_events SET retry_count = retry_count + 1, "
               "last_retry_at = now(), next_retry_at = NULL, resolved_at = now(), "
               "resolution = $3, resolved_by = session_user, resolved_event_id = $4 "
               "WHERE tenant_id = $1 AND id = $2",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    if (in.outcome != Outcome::dead) {
        Datum values[] = {in.tenant_id, id,
                          CStringGetTextDatum(outcome_names[static_cast<std::size_t>(in.outcome)]),
                          UUIDPGetDatum(&in.event_id)};
        pg::run(resolved, values, in.has_event_id ? "    " : "   n");
        return;
    }
    if (!is_last)
        return;
    Datum values[6] = {in.tenant_id, id, CStringGetTextDatum(in.delivery.problem.code),
                       detail_of(in.delivery.problem)};
    char nulls[] = {' ', ' ', ' ', ' ', ' ', ' '};
    set_text(&values[4], &nulls[4], in.delivery.external_event_id);
    set_text(&values[5], &nulls[5], in.delivery.correlation_id);
    pg::run(still_dead, values, nulls);
}

/// Tries each event, and those whose original was missing again as long as something came in: an
/// order may have died after its refund.
RetryCounts retry_all(const Selection& selection, std::span<Datum> ids, Oid own_function) {
    RetryCounts counts{};
    const MemoryContext memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution retry", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(memory);
    std::size_t waiting = ids.size();
    for (bool progress = true; waiting > 0;) {
        const bool is_last = !progress;
        std::size_t kept = 0;
        progress = false;
        for (std::size_t i = 0; i < waiting; ++i) {
            CHECK_FOR_INTERRUPTS();
            MemoryContextReset(memory);
            Intaking in{};
            in.tenant_id = selection.values[0];
            in.own_function = own_function;
            ErrorData* failure = pg::attempt([&] { retry(&in, ids[i]); });
            MemoryContextSwitchTo(memory);
            if (failure != nullptr) {
                if (pg::is_of_the_session(failure) || pg::may_succeed_later(failure))
                    ReThrowError(failure);
                in.delivery.problem = {
                    .code = "rejected",
                    .message =
                        psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message),
                    .field = nullptr,
                    .value = {}};
                in.outcome = Outcome::dead;
            }
            const bool may_heal = in.outcome == Outcome::dead &&
                                  strcmp(in.delivery.problem.code, "unknown_original") == 0;
            record_retry(in, ids[i], is_last || !may_heal);
            progress = progress || in.outcome == Outcome::ingested;
            if (may_heal && !is_last)
                ids[kept++] = ids[i];
            else
                ++counts.by_outcome[static_cast<std::size_t>(in.outcome)];
        }
        waiting = kept;
        if (is_last)
            break;
    }
    MemoryContextSwitchTo(before);
    MemoryContextDelete(memory);
    return counts;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_ingest_webhook) {
    PreventCommandIfReadOnly("ingest_webhook()");
    return entry::ingest_delivery(fcinfo, false);
}

ATTRIBUTION_FUNCTION(attribution_ingest_webhook_text) {
    PreventCommandIfReadOnly("ingest_webhook_text()");
    return entry::ingest_delivery(fcinfo, true);
}

ATTRIBUTION_FUNCTION(attribution_retry_dead_events) {
    constexpr int most_rows = 10000;
    PreventCommandIfReadOnly("retry_dead_events()");
    if (PG_ARGISNULL(0))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("tenant_id must not be null")));
    entry::Selection selection;
    for (int i = 0; i < 7; ++i) {
        selection.values[i] = PG_ARGISNULL(i) ? Datum{0} : PG_GETARG_DATUM(i);
        selection.nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
    }
    const int limit = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3);
    if (limit < 1 || limit > most_rows)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("limit_rows must be between 1 and %d", most_rows)));
    entry::check_tenant(selection.values[0]);
    SPI_connect();
    const std::span<Datum> ids = entry::lock_dead_events(&selection);
    const entry::RetryCounts counts = entry::retry_all(selection, ids, fcinfo->flinfo->fn_oid);
    SPI_finish();

    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    const auto count = [&](entry::Outcome outcome) {
        return Int64GetDatum(counts.by_outcome[static_cast<std::size_t>(outcome)]);
    };
    Datum values[] = {count(entry::Outcome::ingested), count(entry::Outcome::duplicate),
                      count(entry::Outcome::ignored), count(entry::Outcome::dead)};
    bool nulls[4] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
