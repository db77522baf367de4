// Shopify: orders with the refunds in them, refunds, disputes. Amounts are decimal strings.

#include <cstdint>

#include "core/webhook/origin.hpp"
#include "core/webhook/providers.hpp"

namespace attribution::core {
namespace {

/// The total of an order: shop_money where it is there, else the plain field and currency.
Cents order_total(DeliveryReader& reader, Json order) {
    if (const Json money = order.at({"total_price_set", "shop_money"}); money.exists()) {
        reader.check_currency(money.at("currency_code"), "shop_money.currency_code");
        return reader.positive_amount(money.at("amount"), "total_price");
    }
    reader.check_currency(order.at("currency"), "currency");
    return reader.positive_amount(order.at("total_price"), "total_price");
}

/// What a refund gives back: its transactions say it, the lines of the order may say otherwise.
Cents refunded_amount(DeliveryReader& reader, Json refund) {
    Cents total = 0;
    const Json transactions = reader.list(refund.at("transactions"), "transactions");
    if (!transactions.exists())
        reader.fail("missing_field", "transactions", {}, "a field is missing");
    for (const Json transaction : transactions) {
        if (reader.failed())
            break;
        const std::string_view kind = reader.text(transaction.at("kind"), "transactions.kind");
        const std::string_view status =
            reader.text(transaction.at("status"), "transactions.status");
        if (kind != "refund" || status != "success")
            continue;
        if (const Json currency = transaction.at("currency"); currency.exists())
            reader.check_currency(currency, "transactions.currency");
        const Cents cents = reader.magnitude(transaction.at("amount"), "transactions.amount");
        if (__builtin_add_overflow(total, cents, &total))
            reader.fail("invalid_amount", "transactions.amount", {}, "the sum is out of range");
    }
    return total;
}

void read_refund(DeliveryReader& reader, Json refund, std::string_view order_key, Json payload) {
    Notice notice{.kind = NoticeKind::refund, .conversion_id = order_key, .payload = payload};
    notice.external_event_id = reader.key("shopify:refund:", refund.at("id"), "refund id");
    notice.cents = refunded_amount(reader, refund);
    notice.occurred_at_us =
        reader.time(refund.first_of({"processed_at", "created_at"}), "processed_at");
    reader.add(notice);
}

void read_order(DeliveryReader& reader, bool is_paid) {
    const Json order = reader.payload();
    Notice notice{.kind = NoticeKind::conversion};
    notice.external_event_id = reader.key("shopify:order:", order.at("id"), "id");
    reader.set_external_event_id(notice.external_event_id);
    if (!is_paid && !is_one_of(order.at("financial_status").string(),
                               {"paid", "partially_refunded", "refunded"}))
        return;
    notice.cents = order_total(reader, order);
    notice.occurred_at_us =
        reader.time(order.first_of({"processed_at", "created_at"}), "processed_at");
    Origin origin;
    origin.read_pairs(order.at("note_attributes"), "name");
    origin.read_landing_url(order.at("landing_site").string(), reader);
    origin.apply(notice);
    reader.add(notice);

    for (const Json refund : reader.list(order.at("refunds"), "refunds")) {
        if (reader.failed())
            break;
        read_refund(reader, refund, notice.external_event_id, refund);
    }
}

void read_single_refund(DeliveryReader& reader) {
    const Json refund = reader.payload();
    reader.set_external_event_id(reader.key("shopify:refund:", refund.at("id"), "id"));
    const std::string_view order_key =
        reader.key("shopify:order:", refund.at("order_id"), "order_id");
    read_refund(reader, refund, order_key, {});
}

/// A chargeback takes the money at once; an inquiry does not.
void read_dispute(DeliveryReader& reader) {
    const Json dispute = reader.payload();
    const std::string_view key = reader.key("shopify:dispute:", dispute.at("id"), "id");
    reader.set_external_event_id(key);
    if (dispute.at("type").string() == "inquiry")
        return;
    Notice notice{.kind = NoticeKind::refund, .external_event_id = key};
    notice.conversion_id = reader.key("shopify:order:", dispute.at("order_id"), "order_id");
    reader.check_currency(dispute.at("currency"), "currency");
    notice.cents = reader.magnitude(dispute.at("amount"), "amount");
    if (dispute.at("status").string() == "won") {
        notice.kind = NoticeKind::reversal;
        notice.refund_id = key;
        notice.occurred_at_us =
            reader.time(dispute.first_of({"finalized_on", "initiated_at"}), "finalized_on");
        notice.external_event_id = reader.key("shopify:dispute_won:", dispute.at("id"), "id");
    } else {
        notice.occurred_at_us = reader.time(dispute.at("initiated_at"), "initiated_at");
    }
    reader.add(notice);
}

} // namespace

void read_shopify(DeliveryReader& reader) {
    const std::string_view topic = reader.topic();
    if (topic == "orders/paid")
        read_order(reader, true);
    else if (is_one_of(topic, {"orders/create", "orders/updated", "orders/cancelled"}))
        read_order(reader, false);
    else if (topic == "refunds/create")
        read_single_refund(reader);
    else if (is_one_of(topic, {"disputes/create", "disputes/update"}))
        read_dispute(reader);
    else
        reader.fail_with_unknown_topic();
}

} // namespace attribution::core
