// Proves how payloads of WooCommerce are read. They have the shapes of WooCommerce's and are made
// up.
#include <string>

#include <gtest/gtest.h>

#include "read.hpp"

namespace attribution::core {
namespace {

const std::string order =
    R"({"id":727,"status":"processing","currency":"USD","total":"29.35","order_key":"wc_1","date_paid_gmt":"2026-03-01T12:00:00",
    "date_modified_gmt":"2026-03-02T12:00:00","refunds":[]})";
const std::string sale = "conversion 2935 @1772366400 key=woocommerce:order:727 correlation=wc_1";
const std::string keys = " (woocommerce:order:727 correlation=wc_1)";

std::string read_order(const std::string& json, std::string_view topic = "order.updated") {
    return read("woocommerce", topic, json);
}

TEST(WooCommerce, AnOrderIsAConversionOncePaid) {
    for (const char* topic :
         {"order.created", "order.updated", "order.restored", "order.completed", "order.refunded"})
        EXPECT_EQ(read_order(order, topic), sale + keys) << topic;
    EXPECT_EQ(read_order(order, "order.deleted"), "nothing");
    for (const char* status : {"completed", "refunded", "cancelled"})
        EXPECT_EQ(read_order(with(order, "processing", status)), sale + keys) << status;
    for (const char* status : {"pending", "on-hold", "failed", "trash"})
        EXPECT_EQ(read_order(with(order, "processing", status)), "nothing (woocommerce:order:727)")
            << status;
    for (const char* status : {R"("")", "7", "null"})
        EXPECT_EQ(read_order(with(order, R"("processing")", status)),
                  "missing_field status (woocommerce:order:727)")
            << status;
}

TEST(WooCommerce, WhenItWasPaidDecides) {
    const std::string unpaid = with(order, R"("2026-03-01T12:00:00")", "null");
    const std::string silent = with(order, "date_paid_gmt", "date_completed_gmt");
    EXPECT_EQ(read_order(unpaid), "nothing (woocommerce:order:727)"); // cash on delivery
    EXPECT_EQ(read_order(silent), sale + keys); // an older version names no payment
    EXPECT_EQ(read_order(with(unpaid, "processing", "cancelled")),
              "nothing (woocommerce:order:727)");
    EXPECT_EQ(read_order(with(silent, "processing", "cancelled")),
              "nothing (woocommerce:order:727)");
    EXPECT_EQ(read_order(with(with(unpaid, "processing", "completed"), "date_modified_gmt",
                              "date_created_gmt")),
              with(sale, "1772366400", "1772452800") + keys);
    EXPECT_EQ(read_order(with(unpaid, "processing", "completed")),
              "missing_field date_paid_gmt" + keys);
}

TEST(WooCommerce, TheChannelIsInTheMetaData) {
    const auto channel = [](const std::string& pairs) {
        return with(with(read_order(with(order, "{", R"({"meta_data":)" + pairs + ",")), sale, ""),
                    keys, "");
    };
    EXPECT_EQ(channel(R"([{"id":1,"key":"_wc_order_attribution_utm_source","value":"google"}])"),
              " channel=google");
    EXPECT_EQ(channel(R"j([{"key":"_wc_order_attribution_utm_source","value":"(direct)"}])j"),
              " channel=direct");
    EXPECT_EQ(
        channel(
            R"([{"key":"_attribution_session_id","value":"7f000000-0000-4000-8000-000000000000"},{"key":"channel","value":"tv"}])"),
        " channel=tv session=127");
    EXPECT_EQ(channel(R"([{"name":"channel","value":"tv"}])"), ""); // the name is under "key"
    EXPECT_EQ(channel("{}"), "");
}

TEST(WooCommerce, AnOrderBringsItsRefunds) {
    const auto refunds = [](const std::string& list) {
        const std::string text = read_order(with(order, R"("refunds":[])", R"("refunds":)" + list));
        return text.substr(0, text.find(" (woo"));
    };
    EXPECT_EQ(
        refunds(R"([{"id":1,"total":"-4.00"},{"id":2,"total":"0.50"},{"id":3,"total":"0"}])"),
        sale + "; refund 400 @1772452800 key=woocommerce:refund:1 of=woocommerce:order:727 part=1; "
               "refund 50 @1772452800 key=woocommerce:refund:2 of=woocommerce:order:727 part=2");
    EXPECT_EQ(refunds("null"), sale);
    EXPECT_EQ(refunds("{}"), "invalid_field refunds");
    EXPECT_EQ(refunds("[7]"), "invalid_field refunds");
    EXPECT_EQ(refunds(R"([{"total":"1"}])"), "missing_field refunds.id");
    EXPECT_EQ(refunds(R"([{"id":1}])"), "missing_field refunds.total");
    EXPECT_EQ(refunds(R"([{"id":1,"total":"x"}])"), "invalid_amount refunds.total [x]");
}

TEST(WooCommerce, SaysWhatIsMissing) {
    EXPECT_EQ(read_order(with(order, R"("id":727,)", "")), "missing_field id (correlation=wc_1)");
    EXPECT_EQ(read_order(with(order, R"("total":"29.35",)", "")), "missing_field total" + keys);
    EXPECT_EQ(read_order(with(order, "USD", "EUR")), "currency_mismatch currency [EUR]" + keys);
    EXPECT_EQ(read_order(with(order, "29.35", "-29.35")), "invalid_amount total [-29.35]" + keys);
    EXPECT_EQ(read_order(with(order, R"("wc_1")", "true")),
              "invalid_field order_key (woocommerce:order:727)");
    EXPECT_EQ(read_order(with(order, R"("order_key":"wc_1",)", "")),
              "conversion 2935 @1772366400 key=woocommerce:order:727 (woocommerce:order:727)");
}

} // namespace
} // namespace attribution::core
