// Stripe: payments, charges, checkouts and invoices, which announce the same sale; refunds, which
// are announced by their ids and as a sum per charge; disputes. Amounts are whole numbers.

#include <array>
#include <charconv>
#include <cstdint>

#include "core/webhook/origin.hpp"
#include "core/webhook/providers.hpp"

namespace attribution::core {
namespace {

/// An id, or the id of the object that it was expanded to.
Json id_of(Json value) {
    return value.is_object() ? value.at("id") : value;
}

/// The decimals that Stripe counts the tenant's currency in, mostly those of ISO 4217.
int decimals_of(const DeliveryReader& reader) {
    // docs.stripe.com/currencies: ariary in whole units, krona and shilling in hundredths.
    if (reader.currency() == "MGA")
        return 0;
    if (reader.currency() == "ISK" || reader.currency() == "UGX")
        return 2;
    return reader.decimals();
}

Cents read_amount(DeliveryReader& reader, Json value, std::string_view field) {
    if (value.is_string())
        reader.fail("invalid_amount", field, value.string(), "a whole number is expected");
    return reader.positive_amount(value, field, decimals_of(reader));
}

/// Names the conversion by its payment intent, and by the charge for where there is none.
void set_payment(DeliveryReader& reader, Notice& notice, Json intent, Json charge) {
    notice.conversion_correlation_id = reader.optional_key(id_of(intent), "payment_intent");
    notice.conversion_correlation_id_2 = reader.optional_key(id_of(charge), "charge");
    if (notice.conversion_correlation_id.empty())
        notice.conversion_correlation_id = notice.conversion_correlation_id_2;
    if (notice.conversion_correlation_id.empty())
        reader.fail("missing_field", "payment_intent", {},
                    "neither a payment intent nor a charge is named");
    notice.correlation_id = notice.conversion_correlation_id;
    reader.set_correlation_id(notice.correlation_id);
}

// --- sales ---------------------------------------------------------------------------------------

/// A value and the name under which a problem shows it.
struct Field {
    Json value;
    std::string_view name;
};

void read_sale(DeliveryReader& reader, Json object, Field id, Field amount) {
    Notice notice{.kind = NoticeKind::conversion};
    notice.correlation_id = reader.key("", id.value, id.name);
    reader.set_correlation_id(notice.correlation_id);
    reader.check_currency(object.at("currency"), "currency");
    notice.cents = read_amount(reader, amount.value, amount.name);
    notice.occurred_at_us = reader.unix_time(reader.payload().at("created"), "created");
    Origin origin;
    origin.read_members(object.at("metadata"));
    origin.apply(notice);
    reader.add(notice);
}

void read_intent(DeliveryReader& reader, Json intent) {
    read_sale(reader, intent, {.value = intent.at("id"), .name = "id"},
              {.value = intent.first_of({"amount_received", "amount"}), .name = "amount_received"});
}

void read_charge(DeliveryReader& reader, Json charge) {
    if (charge.at("captured").boolean() == false) // authorized only
        return;
    const Json intent = id_of(charge.at("payment_intent"));
    read_sale(reader, charge,
              {.value = intent.exists() ? intent : charge.at("id"), .name = "payment_intent"},
              {.value = charge.first_of({"amount_captured", "amount"}), .name = "amount_captured"});
}

void read_checkout(DeliveryReader& reader, Json session) {
    const std::string_view status = session.at("payment_status").string();
    if (!status.empty() && status != "paid")
        return;
    // Without a payment of its own, that of its first invoice announces it.
    const Json intent = session.at("payment_intent");
    const std::string_view mode = session.at("mode").string();
    if (!intent.exists() && !mode.empty() && mode != "payment")
        return;
    read_sale(reader, session, {.value = id_of(intent), .name = "payment_intent"},
              {.value = session.at("amount_total"), .name = "amount_total"});
}

void read_invoice(DeliveryReader& reader, Json invoice) {
    // Newer versions of the API name no payment here: its payment intent announces it.
    const Json intent = invoice.at("payment_intent");
    if (intent.exists())
        read_sale(reader, invoice, {.value = id_of(intent), .name = "payment_intent"},
                  {.value = invoice.at("amount_paid"), .name = "amount_paid"});
}

// --- refunds -------------------------------------------------------------------------------------

/// The payment that refunds are of.
struct Payment {
    Json intent, charge;
};

void read_single_refund(DeliveryReader& reader, Json refund, const Payment& payment, Json created,
                        Json payload) {
    Notice notice{.kind = NoticeKind::refund, .announced = Announced::by_id, .payload = payload};
    notice.external_event_id = reader.key("stripe:refund:", refund.at("id"), "refund id");
    set_payment(reader, notice, payment.intent, payment.charge);
    reader.check_currency(refund.at("currency"), "currency");
    notice.cents = read_amount(reader, refund.at("amount"), "amount");
    notice.occurred_at_us = reader.unix_time(created, "created");
    reader.add(notice);
}

/// Where a refund that failed was taken in before, the money is back.
void read_failed_refund(DeliveryReader& reader, Json refund, std::string_view refund_key) {
    Notice notice{.kind = NoticeKind::reversal,
                  .announced = Announced::by_id,
                  .refund_id = refund_key,
                  .refund_must_be_known = false};
    notice.external_event_id = reader.key("stripe:refund_failed:", refund.at("id"), "id");
    set_payment(reader, notice, refund.at("payment_intent"), refund.at("charge"));
    reader.check_currency(refund.at("currency"), "currency");
    notice.cents = read_amount(reader, refund.at("amount"), "amount");
    notice.occurred_at_us = reader.unix_time(reader.payload().at("created"), "created");
    reader.add(notice);
}

void read_refund(DeliveryReader& reader, Json refund) {
    const std::string_view status = refund.at("status").string();
    const std::string_view key = reader.key("stripe:refund:", refund.at("id"), "id");
    reader.set_external_event_id(key);
    if (status.empty() || status == "succeeded") {
        const Json dated = reader.topic() == "refund.created" ? refund : reader.payload();
        read_single_refund(reader, refund,
                           {.intent = refund.at("payment_intent"), .charge = refund.at("charge")},
                           dated.at("created"), {});
    } else if (status == "failed" || status == "canceled") {
        read_failed_refund(reader, refund, key);
    }
}

/// The key of a sum that is refunded of a charge: stripe:refunded:CHARGE:SUM.
std::string_view sum_key(DeliveryReader& reader, Json charge_id, Cents sum) {
    const std::string_view charge = reader.key("stripe:refunded:", charge_id, "charge");
    std::array<char, 20> digits{};
    const char* const end = std::to_chars(digits.begin(), digits.end(), sum).ptr;
    const std::string_view key = reader.arena().join(
        {charge, ":",
         std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data()))});
    if (key.size() > longest_notice_text)
        reader.fail("invalid_field", "charge", key, "the id is too long");
    return key;
}

/// The sum that is refunded of a charge in all: the refund is the difference to the sum before.
void read_refunded_sum(DeliveryReader& reader, Json charge) {
    Notice notice{.kind = NoticeKind::refund, .announced = Announced::by_sum};
    set_payment(reader, notice, charge.at("payment_intent"), charge.at("id"));
    reader.check_currency(charge.at("currency"), "currency");
    notice.sum = read_amount(reader, charge.at("amount_refunded"), "amount_refunded");
    notice.cents = notice.sum;
    const Json before = reader.payload().at({"data", "previous_attributes", "amount_refunded"});
    notice.sum_before_known = before.exists();
    if (before.exists()) {
        const Cents sum_before = read_amount(reader, before, "previous_attributes.amount_refunded");
        if (sum_before > notice.sum)
            reader.fail("invalid_amount", "previous_attributes.amount_refunded",
                        before.text().value_or(""), "less is refunded than before");
        else if (!reader.failed())
            notice.cents -= sum_before;
    }
    notice.external_event_id = sum_key(reader, charge.at("id"), notice.sum);
    notice.occurred_at_us = reader.unix_time(reader.payload().at("created"), "created");
    reader.add(notice);
}

void read_refunded_charge(DeliveryReader& reader, Json charge) {
    if (charge.at("captured").boolean() == false) // an authorization is given up: no money moved
        return;
    const Json refunds = reader.list(charge.at({"refunds", "data"}), "refunds.data");
    if (!refunds.is_array() || refunds.size() == 0) {
        read_refunded_sum(reader, charge);
        return;
    }
    // Up to API 2022-08-01 the refunds are in the charge, each with its id.
    for (const Json refund : refunds) {
        if (reader.failed())
            break;
        const Json status = refund.at("status");
        if (status.exists() && status.text() != "succeeded")
            continue;
        read_single_refund(reader, refund,
                           {.intent = charge.at("payment_intent"), .charge = charge.at("id")},
                           refund.at("created"), refund);
    }
}

// --- disputes ------------------------------------------------------------------------------------

void read_dispute(DeliveryReader& reader, Json dispute, bool is_over) {
    const std::string_view key = reader.key("stripe:dispute:", dispute.at("id"), "id");
    reader.set_external_event_id(key);
    const std::string_view status = dispute.at("status").string();
    // A warning is an inquiry: no money has moved.
    if (status.starts_with("warning_"))
        return;
    Notice notice{.kind = NoticeKind::refund, .external_event_id = key};
    set_payment(reader, notice, dispute.at("payment_intent"), dispute.at("charge"));
    reader.check_currency(dispute.at("currency"), "currency");
    notice.cents = read_amount(reader, dispute.at("amount"), "amount");
    notice.occurred_at_us = reader.unix_time(reader.payload().at("created"), "created");
    if (is_over && status == "won") {
        notice.kind = NoticeKind::reversal;
        notice.refund_id = key;
        notice.external_event_id = reader.key("stripe:dispute_won:", dispute.at("id"), "id");
    } else if (is_over && status != "lost") {
        return;
    }
    reader.add(notice);
}

// --- topics --------------------------------------------------------------------------------------

void read_open_dispute(DeliveryReader& reader, Json dispute) {
    read_dispute(reader, dispute, false);
}

void read_closed_dispute(DeliveryReader& reader, Json dispute) {
    read_dispute(reader, dispute, true);
}

struct Topic {
    std::string_view name;
    void (*read)(DeliveryReader& reader, Json object);
};

constexpr std::array<Topic, 15> topics = {{
    {.name = "payment_intent.succeeded", .read = read_intent},
    {.name = "charge.succeeded", .read = read_charge},
    {.name = "charge.captured", .read = read_charge},
    {.name = "checkout.session.completed", .read = read_checkout},
    {.name = "checkout.session.async_payment_succeeded", .read = read_checkout},
    {.name = "invoice.paid", .read = read_invoice},
    {.name = "charge.refunded", .read = read_refunded_charge},
    {.name = "refund.created", .read = read_refund},
    {.name = "refund.updated", .read = read_refund},
    {.name = "refund.failed", .read = read_refund},
    {.name = "charge.refund.updated", .read = read_refund},
    {.name = "charge.dispute.created", .read = read_open_dispute},
    {.name = "charge.dispute.funds_withdrawn", .read = read_open_dispute},
    {.name = "charge.dispute.closed", .read = read_closed_dispute},
    {.name = "charge.dispute.funds_reinstated", .read = read_closed_dispute},
}};

} // namespace

void read_stripe(DeliveryReader& reader) {
    const Json object = reader.payload().at({"data", "object"});
    for (const Topic& topic : topics) {
        if (topic.name != reader.topic())
            continue;
        if (object.is_object())
            topic.read(reader, object);
        else
            reader.fail("missing_field", "data.object", {}, "the event has no object");
        return;
    }
    reader.fail_with_unknown_topic();
}

} // namespace attribution::core
