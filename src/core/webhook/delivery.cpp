#include "core/webhook/delivery.hpp"

#include "core/ascii.hpp"
#include "core/webhook/providers.hpp"
#include "core/webhook/reader.hpp"

namespace attribution::core {
namespace {

/// The first header of that name that is a string; HTTP sees no case in names.
std::string_view header(Json headers, std::string_view name) {
    if (!headers.is_object())
        return {};
    for (const Json value : headers)
        if (value.is_string() && equal_ignoring_case(value.key(), name))
            return value.string();
    return {};
}

} // namespace

std::string_view topic_of(std::string_view source, Json payload, Json headers) noexcept {
    if (source == "shopify")
        return header(headers, "X-Shopify-Topic");
    if (source == "woocommerce")
        return header(headers, "X-WC-Webhook-Topic");
    return payload.at(source == "stripe" ? "type" : "event_type").string();
}

Reading read_delivery(const Delivery& delivery, Arena& arena) {
    DeliveryReader reader(delivery, arena);
    if (!delivery.payload.is_object())
        reader.fail("invalid_payload", {}, {}, "the payload is no object");
    else if (delivery.source == "shopify")
        read_shopify(reader);
    else if (delivery.source == "stripe")
        read_stripe(reader);
    else if (delivery.source == "paypal")
        read_paypal(reader);
    else if (delivery.source == "woocommerce")
        read_woocommerce(reader);
    else
        reader.fail("unknown_source", {}, delivery.source, "the source is not known");
    return reader.finish();
}

} // namespace attribution::core
