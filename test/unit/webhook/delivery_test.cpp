// Proves what core/webhook/delivery.hpp promises of every delivery: topics, limits, memory.
#include "core/webhook/delivery.hpp"

#include <new>
#include <string>

#include <gtest/gtest.h>

#include "read.hpp"

namespace attribution::core {
namespace {

std::string topic(std::string_view source, const std::string& payload, const std::string& headers) {
    const JsonText body(payload), head(headers);
    return std::string(topic_of(source, body.root(), head.root()));
}

TEST(TopicOf, IsInAHeaderOrInThePayload) {
    EXPECT_EQ(topic("shopify", "{}", R"({"X-Shopify-Topic":"orders/paid"})"), "orders/paid");
    EXPECT_EQ(topic("shopify", "{}", R"({"x-SHOPIFY-topic":"orders/paid"})"), "orders/paid");
    EXPECT_EQ(topic("woocommerce", "{}", R"({"x-wc-webhook-topic":"order.updated"})"),
              "order.updated");
    EXPECT_EQ(topic("stripe", R"({"type":"charge.succeeded"})", "{}"), "charge.succeeded");
    EXPECT_EQ(topic("paypal", R"({"event_type":"PAYMENT.CAPTURE.COMPLETED"})", "{}"),
              "PAYMENT.CAPTURE.COMPLETED");
    // The first that is a string.
    EXPECT_EQ(
        topic("shopify", "{}", R"({"x-shopify-topic":["a"],"X-Shopify-Topic":"orders/paid"})"),
        "orders/paid");
}

TEST(TopicOf, MayBeMissing) {
    EXPECT_EQ(topic("shopify", R"({"type":"x"})", "{}"), "");
    EXPECT_EQ(topic("shopify", "{}", "[]"), "");
    EXPECT_EQ(topic("shopify", "{}", R"({"X-Shopify-Topics":"x","Shopify-Topic":"y"})"), "");
    EXPECT_EQ(topic("woocommerce", "{}", R"({"X-Shopify-Topic":"orders/paid"})"), "");
    EXPECT_EQ(topic("stripe", R"({"type":7})", "{}"), "");
    EXPECT_EQ(topic("stripe", "[]", "{}"), "");
    EXPECT_EQ(topic_of("shopify", Json(), Json()), "");
}

TEST(ReadDelivery, NeedsAKnownSourceAndAnObject) {
    EXPECT_EQ(read("etsy", "orders/paid", "{}"), "unknown_source [etsy]");
    for (const char* payload : {"[]", "null", "7", R"("{}")", "true"})
        EXPECT_EQ(read("shopify", "orders/paid", payload), "invalid_payload");
    for (const char* source : {"shopify", "stripe", "paypal", "woocommerce"}) {
        EXPECT_EQ(read(source, "something/else", "{}"), "unknown_topic [something/else]");
        EXPECT_EQ(read(source, "", "{}"), "unknown_topic");
    }
}

/// An order with so many refunds of one cent.
std::string order(std::size_t refunds) {
    std::string text =
        R"({"id":1,"currency":"USD","total_price":"9999","processed_at":"2026-03-01T12:00:00Z","refunds":[)";
    for (std::size_t i = 0; i < refunds; ++i)
        text +=
            (i > 0 ? "," : "") + std::string(R"({"id":)") + std::to_string(i) +
            R"(,"created_at":"2026-03-01T12:00:00Z","transactions":[{"kind":"refund","status":"success","amount":"0.01"}]})";
    return text + "]}";
}

TEST(ReadDelivery, TakesAThousandNotices) {
    const JsonText payload(order(most_notices - 1)), larger(order(most_notices));
    ArenaMemory memory;
    Arena arena = memory.arena();
    Delivery delivery{.source = "shopify",
                      .topic = "orders/paid",
                      .payload = payload.root(),
                      .currency = "USD",
                      .decimals = 2};
    EXPECT_EQ(read_delivery(delivery, arena).notices.size(), most_notices);
    delivery.payload = larger.root();
    EXPECT_EQ(describe(read_delivery(delivery, arena)), "invalid_payload (shopify:order:1)");
}

TEST(ReadDelivery, AsksWhetherBytesOfAUrlAreText) {
    const JsonText payload(
        R"({"id":1,"currency":"USD","total_price":"1","processed_at":"2026-03-01T12:00:00Z","landing_site":"/?utm_source=%FC"})");
    ArenaMemory memory;
    Arena arena = memory.arena();
    Delivery delivery{.source = "shopify",
                      .topic = "orders/paid",
                      .payload = payload.root(),
                      .currency = "USD",
                      .decimals = 2};
    EXPECT_EQ(read_delivery(delivery, arena).notices.front().channel, "");
    delivery.is_text = [](std::string_view bytes) noexcept { return bytes == "\xFC"; };
    EXPECT_EQ(read_delivery(delivery, arena).notices.front().channel, "\xFC");
}

TEST(ReadDelivery, ThrowsWhenMemoryIsOut) {
    const JsonText payload(order(2));
    const Delivery delivery{.source = "shopify",
                            .topic = "orders/paid",
                            .payload = payload.root(),
                            .currency = "USD",
                            .decimals = 2};
    std::size_t failures = 0;
    for (std::size_t requests = 0;; ++requests) {
        ArenaMemory memory;
        memory.fail_after(requests);
        Arena arena = memory.arena();
        try {
            EXPECT_EQ(read_delivery(delivery, arena).notices.size(), 3U);
            break;
        } catch (const std::bad_alloc&) {
            ++failures;
        }
    }
    EXPECT_GE(failures, 4U); // three keys and the notices
}

TEST(ReadDelivery, ChecksKeys) {
    const std::string payload =
        R"({"id":7,"currency":"USD","total_price":"1.00","processed_at":"2026-03-01T12:00:00Z"})";
    const auto read_with = [&](const std::string& id) {
        return read("shopify", "orders/paid", with(payload, "7", id));
    };
    EXPECT_EQ(read_with("9007199254740993"),
              "conversion 100 @1772366400 key=shopify:order:9007199254740993 "
              "(shopify:order:9007199254740993)");
    EXPECT_EQ(read_with(R"("gid")"),
              "conversion 100 @1772366400 key=shopify:order:gid (shopify:order:gid)");
    EXPECT_EQ(read_with("null"), "missing_field id");
    EXPECT_EQ(read_with("-7"), "invalid_field id [-7]");
    EXPECT_EQ(read_with("7.5"), "invalid_field id [7.5]");
    EXPECT_EQ(read_with(R"("")"), "invalid_field id");
    EXPECT_EQ(read_with("true"), "invalid_field id");
    EXPECT_EQ(read_with("{}"), "invalid_field id");
    const std::string longest(longest_notice_text - std::string("shopify:order:").size(), 'x');
    const std::string key = "shopify:order:" + longest;
    EXPECT_EQ(read_with('"' + longest + '"'),
              "conversion 100 @1772366400 key=" + key + " (" + key + ")");
    EXPECT_EQ(read_with('"' + longest + "x\""), "invalid_field id [" + longest + "x]");
}

TEST(ReadDelivery, ChecksAmountsCurrenciesAndTimes) {
    const std::string payload =
        R"({"id":7,"currency":"USD","total_price":"1.00","processed_at":"2026-03-01T12:00:00Z"})";
    const auto problem = [&](std::string_view from, std::string_view to,
                             std::string_view currency = "USD", int decimals = 2) {
        const std::string text =
            read("shopify", "orders/paid", with(payload, from, to), currency, decimals);
        return text.substr(0, text.find(" ("));
    };
    EXPECT_EQ(problem(R"("1.00")", "1"), "conversion 100 @1772366400 key=shopify:order:7");
    EXPECT_EQ(problem(R"("1.00")", "0"), "nothing");
    EXPECT_EQ(problem(R"("1.00")", "null"), "missing_field total_price");
    EXPECT_EQ(problem(R"("1.00")", "true"), "invalid_amount total_price");
    EXPECT_EQ(problem(R"("1.00")", R"("1,00")"), "invalid_amount total_price [1,00]");
    EXPECT_EQ(problem(R"("1.00")", R"("1.005")"), "invalid_amount total_price [1.005]");
    EXPECT_EQ(problem(R"("1.00")", R"("99999999999999999999")"),
              "invalid_amount total_price [99999999999999999999]");
    EXPECT_EQ(problem(R"("1.00")", R"("-1.00")"), "invalid_amount total_price [-1.00]");
    EXPECT_EQ(problem("USD", "usd"), "conversion 100 @1772366400 key=shopify:order:7");
    EXPECT_EQ(problem("USD", "EUR"), "currency_mismatch currency [EUR]");
    EXPECT_EQ(problem("USD", "USDT"), "currency_mismatch currency [USDT]");
    EXPECT_EQ(problem("USD", ""), "missing_field currency");
    EXPECT_EQ(problem(R"("USD")", "840"), "invalid_field currency [840]");
    EXPECT_EQ(problem(R"("USD")", "null"), "missing_field currency");
    EXPECT_EQ(problem("USD", "JPY", "JPY", 0), "conversion 1 @1772366400 key=shopify:order:7");
    EXPECT_EQ(problem("USD", "KWD", "KWD", 3), "conversion 1000 @1772366400 key=shopify:order:7");
    EXPECT_EQ(problem("12:00:00Z", "12:00:00"), "invalid_field processed_at [2026-03-01T12:00:00]");
    EXPECT_EQ(problem(R"("2026-03-01T12:00:00Z")", "1772366400"),
              "invalid_field processed_at [1772366400]");
    EXPECT_EQ(problem(R"("2026-03-01T12:00:00Z")", R"("")"), "missing_field processed_at");
    EXPECT_EQ(problem("processed_at", "other"), "missing_field processed_at");
}

TEST(ReadDelivery, TheFirstProblemCounts) {
    EXPECT_EQ(read("shopify", "orders/paid", R"({"id":7,"currency":"EUR","total_price":"x"})"),
              "currency_mismatch currency [EUR] (shopify:order:7)");
}

} // namespace
} // namespace attribution::core
