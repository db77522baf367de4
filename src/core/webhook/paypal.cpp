// PayPal: captures and sales, their refunds and reversals, disputes that were decided. Amounts are
// decimal strings.

#include <algorithm>
#include <array>

#include "core/ascii.hpp"
#include "core/webhook/origin.hpp"
#include "core/webhook/providers.hpp"

namespace attribution::core {
namespace {

constexpr std::string_view capture_prefix = "paypal:capture:";

/// The value of the amount, whose currency is checked. Version 1 says total and currency.
Json read_money(DeliveryReader& reader, Json resource) {
    const Json amount = resource.at("amount");
    reader.check_currency(amount.first_of({"currency_code", "currency"}), "amount.currency_code");
    return amount.first_of({"value", "total"});
}

/// False while no money has moved.
bool is_settled(Json resource) {
    constexpr std::array<std::string_view, 6> open = {"PENDING", "DECLINED",  "FAILED",
                                                      "DENIED",  "CANCELLED", "VOIDED"};
    const std::string_view state = resource.first_of({"status", "state"}).string();
    return std::none_of(open.begin(), open.end(),
                        [&](std::string_view word) { return equal_ignoring_case(state, word); });
}

/// The key of the capture that a refund is of: named in it, or at the end of the link "up".
std::string_view parent_key(DeliveryReader& reader, Json resource) {
    if (const Json id = resource.first_of({"capture_id", "sale_id"}); id.exists())
        return reader.key(capture_prefix, id, "capture_id");
    const Json links = resource.at("links");
    if (links.is_array()) {
        for (const Json link : links) {
            std::string_view url = link.at("href").string();
            if (link.at("rel").string() != "up")
                continue;
            url = url.substr(0, url.find_first_of("?#"));
            const std::string_view id = url.substr(url.rfind('/') + 1);
            if (!id.empty() && capture_prefix.size() + id.size() <= longest_notice_text)
                return reader.arena().join({capture_prefix, id});
        }
    }
    reader.fail("missing_field", "links", {}, "the refund names no capture");
    return {};
}

Notice begin_notice(DeliveryReader& reader, NoticeKind kind, std::string_view prefix) {
    Notice notice{.kind = kind};
    notice.external_event_id =
        reader.key(prefix, reader.payload().at({"resource", "id"}), "resource.id");
    reader.set_external_event_id(notice.external_event_id);
    return notice;
}

void read_sale(DeliveryReader& reader, Json resource) {
    Notice notice = begin_notice(reader, NoticeKind::conversion, capture_prefix);
    if (!is_settled(resource))
        return;
    notice.cents = reader.positive_amount(read_money(reader, resource), "amount.value");
    notice.occurred_at_us = reader.time(resource.at("create_time"), "resource.create_time");
    const Json order = resource.at({"supplementary_data", "related_ids", "order_id"});
    notice.correlation_id =
        reader.optional_key(order.exists() ? order : resource.at("parent_payment"), "order_id");
    reader.set_correlation_id(notice.correlation_id);
    Origin origin;
    origin.read_query(resource.first_of({"custom_id", "custom"}).string(), reader);
    origin.apply(notice);
    reader.add(notice);
}

void read_refund_as(DeliveryReader& reader, Json resource, std::string_view prefix) {
    Notice notice = begin_notice(reader, NoticeKind::refund, prefix);
    if (!is_settled(resource))
        return;
    notice.cents = reader.magnitude(read_money(reader, resource), "amount.value");
    notice.occurred_at_us = reader.time(resource.at("create_time"), "resource.create_time");
    notice.conversion_id = parent_key(reader, resource);
    reader.add(notice);
}

void read_refund(DeliveryReader& reader, Json resource) {
    read_refund_as(reader, resource, "paypal:refund:");
}

void read_reversal(DeliveryReader& reader, Json resource) {
    read_refund_as(reader, resource, "paypal:reversal:");
}

/// A dispute that was won gives back what a reversal took; most disputes only hold the money.
void read_resolved_dispute(DeliveryReader& reader, Json dispute) {
    const std::string_view outcome = dispute.at({"dispute_outcome", "outcome_code"}).string();
    const std::string_view key =
        reader.key("paypal:dispute_won:", dispute.at("dispute_id"), "dispute_id");
    reader.set_external_event_id(key);
    if (outcome != "RESOLVED_SELLER_FAVOUR" && outcome != "CANCELED_BY_BUYER")
        return;
    const Json transactions = dispute.at("disputed_transactions");
    const Json first =
        transactions.is_array() && transactions.size() > 0 ? *transactions.begin() : Json();
    Notice notice{.kind = NoticeKind::reversal,
                  .external_event_id = key,
                  .refund_id = "paypal:reversal:",
                  .refund_must_be_known = false};
    notice.conversion_id =
        reader.key(capture_prefix, first.at("seller_transaction_id"), "seller_transaction_id");
    const Json amount = dispute.at("dispute_amount");
    reader.check_currency(amount.at("currency_code"), "dispute_amount.currency_code");
    notice.cents = reader.positive_amount(amount.at("value"), "dispute_amount.value");
    notice.occurred_at_us =
        reader.time(dispute.first_of({"update_time", "create_time"}), "update_time");
    reader.add(notice);
}

struct Topic {
    std::string_view name;
    void (*read)(DeliveryReader& reader, Json resource); // nullptr: no money moves
};

constexpr std::array<Topic, 9> topics = {{
    {.name = "PAYMENT.CAPTURE.COMPLETED", .read = read_sale},
    {.name = "PAYMENT.SALE.COMPLETED", .read = read_sale},
    {.name = "PAYMENT.CAPTURE.REFUNDED", .read = read_refund},
    {.name = "PAYMENT.SALE.REFUNDED", .read = read_refund},
    {.name = "PAYMENT.CAPTURE.REVERSED", .read = read_reversal},
    {.name = "PAYMENT.SALE.REVERSED", .read = read_reversal},
    {.name = "CUSTOMER.DISPUTE.CREATED", .read = nullptr}, // a reversal takes the money
    {.name = "CUSTOMER.DISPUTE.UPDATED", .read = nullptr},
    {.name = "CUSTOMER.DISPUTE.RESOLVED", .read = read_resolved_dispute},
}};

} // namespace

void read_paypal(DeliveryReader& reader) {
    const Json resource = reader.payload().at("resource");
    for (const Topic& topic : topics) {
        if (topic.name != reader.topic())
            continue;
        if (topic.read == nullptr)
            return;
        if (resource.is_object())
            topic.read(reader, resource);
        else
            reader.fail("missing_field", "resource", {}, "the event has no resource");
        return;
    }
    reader.fail_with_unknown_topic();
}

} // namespace attribution::core
