// WooCommerce: orders, with the refunds in them. Amounts are decimal strings, times are UTC.

#include "core/webhook/origin.hpp"
#include "core/webhook/providers.hpp"

namespace attribution::core {
namespace {

/// Paid by its status; cancelled, by when it was paid before that. Cash on delivery is processing
/// before anybody paid: then the time of payment is there and null.
bool is_paid(Json order, std::string_view status) {
    const Json paid_at = order.member("date_paid_gmt");
    if (status == "processing")
        return !paid_at.is_null();
    if (status == "cancelled")
        return paid_at.exists();
    return status == "completed" || status == "refunded";
}

void read_refund(DeliveryReader& reader, Json refund, std::string_view order_key) {
    const Json order = reader.payload();
    Notice notice{.kind = NoticeKind::refund, .conversion_id = order_key, .payload = refund};
    notice.external_event_id = reader.key("woocommerce:refund:", refund.at("id"), "refunds.id");
    notice.cents = reader.magnitude(refund.at("total"), "refunds.total");
    notice.occurred_at_us =
        reader.time(order.first_of({"date_modified_gmt", "date_completed_gmt", "date_paid_gmt"}),
                    "date_modified_gmt", true);
    reader.add(notice);
}

void read_order(DeliveryReader& reader) {
    const Json order = reader.payload();
    Notice notice{.kind = NoticeKind::conversion};
    notice.external_event_id = reader.key("woocommerce:order:", order.at("id"), "id");
    reader.set_external_event_id(notice.external_event_id);
    const std::string_view status = order.at("status").string();
    if (status.empty())
        reader.fail("missing_field", "status", {}, "a field is missing");
    if (!is_paid(order, status))
        return;
    notice.correlation_id = reader.optional_key(order.at("order_key"), "order_key");
    reader.set_correlation_id(notice.correlation_id);
    reader.check_currency(order.at("currency"), "currency");
    notice.cents = reader.positive_amount(order.at("total"), "total");
    notice.occurred_at_us =
        reader.time(order.first_of({"date_paid_gmt", "date_completed_gmt", "date_created_gmt"}),
                    "date_paid_gmt", true);
    Origin origin;
    origin.read_pairs(order.at("meta_data"), "key");
    origin.apply(notice);
    reader.add(notice);

    for (const Json refund : reader.list(order.at("refunds"), "refunds")) {
        if (reader.failed())
            break;
        read_refund(reader, refund, notice.external_event_id);
    }
}

} // namespace

void read_woocommerce(DeliveryReader& reader) {
    const std::string_view topic = reader.topic();
    if (topic == "order.deleted")
        return;
    if (is_one_of(topic, {"order.created", "order.updated", "order.restored", "order.completed",
                          "order.refunded"}))
        read_order(reader);
    else
        reader.fail_with_unknown_topic();
}

} // namespace attribution::core
