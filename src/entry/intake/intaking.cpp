#include "entry/intake/intaking.hpp"

#include <algorithm>
#include <array>

#include "entry/check/validate.hpp"
#include "entry/intake/ingest.hpp"
#include "entry/intake/stripe_refunds.hpp"
#include "entry/session/tenancy.hpp"
#include "pg/arena.hpp"
#include "pg/boundary.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

struct Currency {
    using Columns = std::tuple<std::string_view, std::int32_t>;
    std::string_view code;
    std::int32_t decimals;
};

Currency currency_of(const core::Uuid& tenant_id) {
    static constinit pg::Statement<Currency(core::Uuid)> find{R"sql(
        SELECT t.currency::text, c.decimals::integer
        FROM attribution.tenants t
        JOIN attribution.currencies c ON c.code = t.currency
        WHERE t.id = $1)sql"};
    const std::optional<Currency> currency = find.run(tenant_id).first();
    if (!currency) {
        check_tenant_exists(tenant_id);
        elog(ERROR, "the tenant has no currency");
    }
    return *currency;
}

/// Records the outcome of a notice. The event of the delivery is the first one that was ingested,
/// else the first one that was known already.
void record_outcome(Intaking* in, DeliveryOutcome outcome, const core::Uuid& event_id) {
    if (!in->event_id ||
        (outcome == DeliveryOutcome::ingested && in->outcome < DeliveryOutcome::ingested))
        in->event_id = event_id;
    in->outcome = std::max(in->outcome, outcome);
}

void record_duplicate(Intaking* in, const core::Uuid& event_id) {
    record_outcome(in, DeliveryOutcome::duplicate, event_id);
}

/// Records what became of an event of the delivery, as its outcome or its problem.
void record_result(Intaking* in, const NewEvent& event, const IngestResult& result) {
    switch (result.outcome) {
    case IngestOutcome::ingested:
        record_outcome(in, DeliveryOutcome::ingested, result.event.id);
        break;
    case IngestOutcome::duplicate:
        record_duplicate(in, result.event.id);
        break;
    case IngestOutcome::content_changed:
        set_problem(in, "content_changed",
                    psprintf("event %s is known as a %.*s of " INT64_FORMAT
                             " cents, the delivery says " INT64_FORMAT,
                             pg::uuid_text(result.event.id),
                             static_cast<int>(result.event.event_type.size()),
                             result.event.event_type.data(), result.event.revenue_cents,
                             event.revenue_cents),
                    {});
        break;
    case IngestOutcome::over_refund:
        set_problem(in, "over_refund",
                    psprintf("the refund takes " INT64_FORMAT " cents, " INT64_FORMAT
                             " are left of the conversion",
                             -event.revenue_cents, result.refundable_cents),
                    {});
        break;
    }
}

/// The key under which a notice comes in.
std::string_view key_of(const core::Notice& notice) {
    return notice.external_event_id.empty() ? notice.correlation_id : notice.external_event_id;
}

NewEvent event_of(const Intaking& in, const core::Notice& notice, std::string_view type) {
    const Datum payload = notice.payload.exists()
                              ? pg::jsonb_of(in.payload.document, notice.payload)
                              : in.payload.jsonb;
    return {.tenant_id = in.tenant_id,
            .source = in.source,
            .event_type = type,
            .occurred_at = {pg::timestamp_of(notice.occurred_at_us)},
            .revenue_cents = type == "refund" ? -notice.cents : notice.cents,
            .external_event_id = if_any(notice.external_event_id),
            .correlation_id = if_any(notice.correlation_id),
            .raw_payload = pg::JsonbDatum{payload}};
}

// --- conversions ---------------------------------------------------------------------------------

/// The session of a conversion that names its channel and no journey: its own, from its key.
core::Uuid own_session(const core::Uuid& tenant_id, std::string_view key) {
    const char* text = psprintf("session:%.*s", static_cast<int>(key.size()), key.data());
    core::Uuid session;
    pg::guarded([&] {
        session = core::keyed_event_id(tenant_id, core::BusinessKeyKind::external_event_id, text);
    });
    return session;
}

/// Ingests the touch of a conversion that names its channel and no journey: a journey of one. Its
/// key is that of the conversion with "touch" for the kind.
void ingest_touch(const Intaking& in, const core::Notice& notice, const core::Uuid& session_id) {
    const std::string_view key = key_of(notice);
    const std::string_view id =
        key.substr(notice.external_event_id.empty() ? 0 : key.find(':', key.find(':') + 1) + 1);
    const std::string_view touch_key =
        psprintf("%.*s:touch:%.*s", static_cast<int>(in.source.size()), in.source.data(),
                 static_cast<int>(id.size()), id.data());
    if (touch_key.size() > pg::max_text_bytes)
        return;
    NewEvent touch = event_of(in, notice, "touch");
    touch.revenue_cents = 0;
    touch.external_event_id = touch_key;
    touch.session_id = session_id;
    touch.channel = notice.channel;
    touch.raw_payload.reset();
    ingest(touch, OverRefund::returned);
}

void ingest_conversion(Intaking* in, const core::Notice& notice) {
    NewEvent event = event_of(*in, notice, "conversion");
    event.channel = if_any(notice.channel);
    event.session_id = notice.session_id;
    const bool has_touch = event.channel && !event.session_id;
    if (has_touch)
        event.session_id = own_session(in->tenant_id, key_of(notice));
    const DeliveryOutcome before = in->outcome;
    record_result(in, event, ingest(event, OverRefund::returned));
    if (has_touch && before < DeliveryOutcome::ingested && in->outcome == DeliveryOutcome::ingested)
        ingest_touch(*in, notice, *event.session_id);
}

/// The conversion that a notice refers to; none, with the problem, when it is not there.
std::optional<StoredEvent> find_conversion(Intaking* in, const core::Notice& notice) {
    std::optional<StoredEvent> found;
    std::string_view key = notice.conversion_id;
    if (!key.empty()) {
        found = find_by_external_id(in->tenant_id, key);
    } else {
        key = notice.conversion_correlation_id;
        found = find_by_correlation_id(in->tenant_id, key);
        if (!found && !notice.conversion_correlation_id_2.empty())
            found = find_by_correlation_id(in->tenant_id, notice.conversion_correlation_id_2);
    }
    if (!found) {
        set_problem(in, "unknown_original", "the refunded conversion is not known", key);
    } else if (found->event_type != "conversion") {
        set_problem(in, "unknown_original", "the refunded event is not a conversion", key);
        found.reset();
    }
    return found;
}

// --- refunds -------------------------------------------------------------------------------------

void record_alias(Intaking* in, const core::Notice& notice, const StoredRefund& refund) {
    if (-refund.revenue_cents == notice.cents || !notice.sum_before_known)
        record_duplicate(in, refund.id);
    else
        set_problem(in, "content_changed",
                    psprintf("event %s is known as a refund of " INT64_FORMAT
                             " cents, the delivery says " INT64_FORMAT,
                             pg::uuid_text(refund.id), refund.revenue_cents, -notice.cents),
                    {});
}

/// True when a refund of Stripe was announced before, by its id or by a sum: then its outcome is
/// recorded. Otherwise, for a sum whose previous sum is not known, sets the amount of the notice to
/// what the sum exceeds the stored refunds by.
bool was_announced(Intaking* in, core::Notice* notice, const core::Uuid& conversion_id) {
    lock_conversion(in->tenant_id, conversion_id);
    const std::string_view key = notice->external_event_id;
    if (const std::optional<StoredRefund> refund = find_alias(in->tenant_id, key)) {
        record_alias(in, *notice, *refund);
        return true;
    }
    if (const std::optional<StoredEvent> stored = find_by_external_id(in->tenant_id, key)) {
        // The key of an announcement by sum contains the sum, so an event with this key is the same
        // announcement. Its amount may differ, because it depends on what was known of the previous
        // sum.
        if (notice->announced != core::Announced::by_sum)
            return false;
        record_duplicate(in, stored->id);
        return true;
    }
    if (!notice->sum_before_known) {
        const std::optional<RefundedSum> before = find_refunded_sum(in->tenant_id, conversion_id);
        notice->cents -= before ? before->cents : 0;
        if (notice->cents > 0)
            return false;
        Assert(before);
        record_duplicate(in, before->last_refund_id);
        return true;
    }
    const std::string_view other_way =
        notice->announced == core::Announced::by_id ? refund_by_sum : refund_by_id;
    const std::optional<core::Uuid> refund_id =
        find_announced_once(in->tenant_id, conversion_id, notice->cents, other_way);
    if (!refund_id)
        return false;
    add_alias(in->tenant_id, key, *refund_id);
    record_duplicate(in, *refund_id);
    return true;
}

void ingest_refund(Intaking* in, core::Notice notice) {
    const std::optional<StoredEvent> conversion = find_conversion(in, notice);
    if (!conversion)
        return;
    if (notice.announced != core::Announced::once && was_announced(in, &notice, conversion->id))
        return;
    NewEvent event = event_of(*in, notice, "refund");
    event.refund_of = conversion->id;
    IngestResult result = ingest(event, OverRefund::returned);
    if (result.outcome == IngestOutcome::over_refund ||
        result.outcome == IngestOutcome::content_changed) {
        // The refund may be one of a returned conversion (stripe_refunds.hpp).
        if (const auto returned_id = find_returned_conversion(event, conversion->id)) {
            event.refund_of = *returned_id;
            result = ingest(event, OverRefund::returned);
        }
    }
    record_result(in, event, result);
}

// --- reversals -----------------------------------------------------------------------------------

/// The journey of a conversion.
struct Journey {
    using Columns = std::tuple<std::optional<core::Uuid>, std::optional<std::string_view>>;
    std::optional<core::Uuid> session_id;
    std::optional<std::string_view> channel;
};

/// The journey of the conversion whose refund has the key or alias.
std::optional<Journey> find_refunded_journey(const core::Uuid& tenant_id,
                                             std::string_view refund_key) {
    static constinit pg::Statement<Journey(core::Uuid, std::string_view)> find{R"sql(
        SELECT c.session_id, c.channel
        FROM (SELECT e.id
              FROM attribution.attribution_events e
              WHERE e.tenant_id = $1 AND e.external_event_id = $2
              UNION ALL
              SELECT a.event_id
              FROM attribution.event_aliases a
              WHERE a.tenant_id = $1 AND a.external_event_id = $2) k
        JOIN attribution.attribution_events r ON r.tenant_id = $1 AND r.id = k.id
        JOIN attribution.attribution_events c ON c.tenant_id = $1 AND c.id = r.refund_of
        LIMIT 1)sql"};
    return find.run_latest(tenant_id, refund_key).first();
}

/// The journey of a conversion that has a refund whose key begins with the prefix.
std::optional<Journey> find_journey_with_refund(const core::Uuid& tenant_id,
                                                std::string_view conversion_key,
                                                std::string_view refund_prefix) {
    static constinit pg::Statement<Journey(core::Uuid, std::string_view, std::string_view)> find{
        R"sql(
        SELECT c.session_id, c.channel
        FROM attribution.attribution_events c
        WHERE c.tenant_id = $1 AND c.external_event_id = $3
          AND EXISTS (
              SELECT 1
              FROM attribution.attribution_events r
              WHERE r.tenant_id = $1 AND r.refund_of = c.id
                AND starts_with(r.external_event_id, $2)))sql"};
    return find.run_latest(tenant_id, refund_prefix, conversion_key).first();
}

/// The journey of the conversion whose refund failed at Stripe; none when the refund is not stored.
/// That is a problem when the conversion is unknown or the refund waits as a dead event. A refund
/// that is stored only as a part of a sum gets its id as an alias.
std::optional<Journey> find_journey_of_failed_refund(Intaking* in, const core::Notice& notice) {
    // Another delivery may be announcing the refund.
    const std::optional<StoredEvent> conversion = find_conversion(in, notice);
    if (!conversion)
        return std::nullopt;
    lock_conversion(in->tenant_id, conversion->id);
    std::optional<Journey> journey = find_refunded_journey(in->tenant_id, notice.refund_id);
    if (journey)
        return journey;
    if (const std::optional<core::Uuid> refund_id =
            find_announced_once(in->tenant_id, conversion->id, notice.cents, refund_by_sum)) {
        add_alias(in->tenant_id, notice.refund_id, *refund_id);
        return find_refunded_journey(in->tenant_id, notice.refund_id);
    }
    if (is_refund_dead(in->tenant_id, notice.refund_id))
        set_problem(in, "unknown_original", "the refund that failed is a dead event itself",
                    notice.refund_id);
    return std::nullopt;
}

/// A refund whose money came back is a conversion of its own, in the journey of the first one.
void ingest_reversal(Intaking* in, const core::Notice& notice) {
    std::optional<Journey> journey;
    if (notice.announced == core::Announced::by_id) {
        Assert(!notice.refund_must_be_known);
        journey = find_journey_of_failed_refund(in, notice);
    } else if (notice.refund_must_be_known) {
        journey = find_refunded_journey(in->tenant_id, notice.refund_id);
        if (!journey)
            set_problem(in, "unknown_original", "the refund that was reversed is not known",
                        notice.refund_id);
    } else {
        journey = find_journey_with_refund(in->tenant_id, notice.conversion_id, notice.refund_id);
    }
    if (!journey)
        return;
    NewEvent event = event_of(*in, notice, "conversion");
    event.session_id = journey->session_id;
    event.channel = journey->channel;
    record_result(in, event, ingest(event, OverRefund::returned));
}

// --- reading -------------------------------------------------------------------------------------

/// Parses a body; false, with the problem, when it is no JSON or none that jsonb can hold. A jsonb
/// holds no NUL, no number beyond numeric, and nothing that is nested deeper than the stack allows.
bool parse_json(std::string_view body, Datum* jsonb, core::Problem* problem) {
    const char* text = pnstrdup(body.data(), body.size());
    ErrorData* failure =
        pg::attempt([&] { *jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(text)); });
    if (failure == nullptr)
        return true;
    const int category = ERRCODE_TO_CATEGORY(failure->sqlerrcode);
    if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
        category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
        ReThrowError(failure);
    *problem = {.code = "invalid_json", .message = failure->message, .field = {}, .value = {}};
    return false;
}

/// The first 100 bytes of a value, cut at a character: the detail of a dead event shows no more.
std::string_view shown(std::string_view value) {
    constexpr int max_bytes = 100;
    const int length = pg_mbcliplen(value.data(), static_cast<int>(value.size()), max_bytes);
    return value.substr(0, static_cast<std::size_t>(length));
}

/// Whether the database can store the bytes as text. Raises nothing, so the core may call it.
bool is_text(std::string_view bytes) noexcept {
    return pg_verifymbstr(bytes.data(), static_cast<int>(bytes.size()), true);
}

core::Reading read(Intaking* in) {
    const core::Json payload = in->payload.document.root();
    pg::add_number_texts(in->payload.document);
    if (in->topic.empty()) {
        const core::Json headers =
            in->headers ? pg::json_structure(in->headers->datum).root() : core::Json();
        in->topic = core::topic_of(in->source, payload, headers);
    }
    const Currency currency = currency_of(in->tenant_id);
    const core::Delivery delivery{.source = in->source,
                                  .topic = in->topic,
                                  .payload = payload,
                                  .currency = currency.code,
                                  .decimals = currency.decimals,
                                  .is_text = is_text};
    core::Arena arena = pg::arena();
    core::Reading reading;
    pg::guarded([&] { reading = core::read_delivery(delivery, arena); });
    return reading;
}

} // namespace

std::string_view outcome_name(DeliveryOutcome outcome) {
    constexpr std::array<std::string_view, delivery_outcome_count> names = {"ignored", "duplicate",
                                                                            "ingested", "dead"};
    return names[static_cast<std::size_t>(outcome)];
}

void set_problem(Intaking* in, const char* code, const char* message, std::string_view value) {
    in->outcome = DeliveryOutcome::dead;
    if (in->problem.code.empty())
        in->problem = {.code = code, .message = message, .field = {}, .value = value};
}

void set_body(Intaking* in, std::string_view body) {
    Datum jsonb = 0;
    if (parse_json(body, &jsonb, &in->problem)) {
        in->payload = redacted_message(jsonb);
        return;
    }
    in->payload = {.jsonb = pg::jsonb_string(redacted_text(body)), .document = {}};
    in->outcome = DeliveryOutcome::dead;
}

void ingest_delivery(Intaking* in) {
    Assert(in->outcome == DeliveryOutcome::ignored);
    const core::Reading reading = read(in);
    in->external_event_id = reading.external_event_id;
    in->correlation_id = reading.correlation_id;
    if (!reading.problem.code.empty()) {
        in->problem = reading.problem;
        in->problem.value = shown(reading.problem.value);
        in->outcome = DeliveryOutcome::dead;
        return;
    }
    for (const core::Notice& notice : reading.notices) {
        CHECK_FOR_INTERRUPTS();
        switch (notice.kind) {
        case core::NoticeKind::conversion:
            ingest_conversion(in, notice);
            break;
        case core::NoticeKind::refund:
            ingest_refund(in, notice);
            break;
        case core::NoticeKind::reversal:
            ingest_reversal(in, notice);
            break;
        }
    }
}

} // namespace attribution::entry
