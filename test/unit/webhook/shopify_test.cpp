// Proves how payloads of Shopify are read. They have the shapes of Shopify's and are made up.
#include <string>

#include <gtest/gtest.h>

#include "read.hpp"

namespace attribution::core {
namespace {

const std::string order =
    R"({"id":7,"currency":"USD","financial_status":"paid","processed_at":"2026-03-01T12:00:00Z","total_price":"10.00"})";

std::string read_order(const std::string& topic, const std::string& json) {
    return read("shopify", topic, json);
}

/// The order with more members.
std::string order_with(const std::string& members) {
    return with(order, R"({"id":7)", R"({"id":7,)" + members);
}

TEST(Shopify, AnOrderIsAConversionOncePaid) {
    const std::string conversion =
        "conversion 1000 @1772366400 key=shopify:order:7 (shopify:order:7)";
    for (const char* topic : {"orders/paid", "orders/create", "orders/updated", "orders/cancelled"})
        EXPECT_EQ(read_order(topic, order), conversion) << topic;
    for (const char* status : {"partially_refunded", "refunded"})
        EXPECT_EQ(
            read_order("orders/updated", with(order, R"("paid")", '"' + std::string(status) + '"')),
            conversion);
    for (const char* status : {"pending", "authorized", "partially_paid", "voided", "", "Paid"}) {
        const std::string unpaid = with(order, R"("paid")", '"' + std::string(status) + '"');
        EXPECT_EQ(read_order("orders/updated", unpaid), "nothing (shopify:order:7)") << status;
        EXPECT_EQ(read_order("orders/paid", unpaid), conversion) << status;
    }
}

TEST(Shopify, TheMoneyOfTheShopCounts) {
    const auto money = [](const std::string& text) {
        return read_order("orders/paid", order_with(R"("total_price_set":)" + text));
    };
    EXPECT_EQ(money("null"), "conversion 1000 @1772366400 key=shopify:order:7 (shopify:order:7)");
    EXPECT_EQ(
        money(
            R"({"shop_money":{"amount":"12.34","currency_code":"USD"},"presentment_money":{"amount":"9","currency_code":"EUR"}})"),
        "conversion 1234 @1772366400 key=shopify:order:7 (shopify:order:7)");
    EXPECT_EQ(money(R"({"shop_money":{"amount":"12.34","currency_code":"EUR"}})"),
              "currency_mismatch shop_money.currency_code [EUR] (shopify:order:7)");
    EXPECT_EQ(money(R"({"shop_money":{"currency_code":"USD"}})"),
              "missing_field total_price (shopify:order:7)");
}

TEST(Shopify, TheChannelIsWhereverItStands) {
    const auto channel = [](const std::string& members) {
        const std::string text = read_order("orders/paid", order_with(members));
        return with(with(text, "conversion 1000 @1772366400 key=shopify:order:7", ""),
                    " (shopify:order:7)", "");
    };
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=google&x=1")"), " channel=google");
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=%ff")"), "");
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=a%00b")"), "");
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=caf%C3%A9")"), " channel=caf\xc3\xa9");
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=)" + std::string(255, 'x') + '"'),
              " channel=" + std::string(255, 'x'));
    EXPECT_EQ(channel(R"("landing_site":"/p?utm_source=)" + std::string(256, 'x') + '"'), "");
    EXPECT_EQ(
        channel(
            R"("landing_site":"/p?utm_source=google","note_attributes":[{"name":"utm_source","value":"bing"}])"),
        " channel=bing");
    EXPECT_EQ(
        channel(
            R"("note_attributes":[{"name":"channel","value":"tv"},{"name":"utm_source","value":"bing"}])"),
        " channel=tv");
    EXPECT_EQ(channel(R"j("note_attributes":[{"name":"attribution_channel","value":"(direct)"}])j"),
              " channel=direct");
    EXPECT_EQ(
        channel(
            R"("note_attributes":[{"name":"_channel","value":"a"},{"name":"channel","value":""},{"name":"channel","value":7}])"),
        " channel=a");
    // One that is too long leaves the next best.
    EXPECT_EQ(channel(R"("note_attributes":[{"name":"channel","value":")" + std::string(256, 'x') +
                      R"("},{"name":"utm_source","value":"bing"}])"),
              " channel=bing");
    EXPECT_EQ(
        channel(
            R"("note_attributes":[{"name":"session_id","value":"7f000000-0000-4000-8000-000000000000"}])"),
        " session=127");
    EXPECT_EQ(channel(R"("note_attributes":[{"name":"session_id","value":"no uuid"}])"), "");
    EXPECT_EQ(channel(R"("note_attributes":{"name":"channel","value":"tv"})"), "");
    EXPECT_EQ(channel(R"("note_attributes":[7,null,[]],"landing_site":7)"), "");
}

const std::string refund =
    R"({"id":71,"order_id":7,"created_at":"2026-03-02T12:00:00Z","transactions":[{"kind":"refund","status":"success","amount":"4.00","currency":"USD"}]})";

TEST(Shopify, ARefundIsWhatItsTransactionsGiveBack) {
    const auto read_refund = [](const std::string& json) {
        return read("shopify", "refunds/create", json);
    };
    EXPECT_EQ(
        read_refund(refund),
        "refund 400 @1772452800 key=shopify:refund:71 of=shopify:order:7 (shopify:refund:71)");
    const auto transactions = [&](const std::string& list) {
        const std::string text = read_refund(with(
            refund, R"([{"kind":"refund","status":"success","amount":"4.00","currency":"USD"}])",
            list));
        return text.substr(0, text.find(" ("));
    };
    EXPECT_EQ(
        transactions(
            R"([{"kind":"refund","status":"success","amount":"-4.00"},{"kind":"refund","status":"success","amount":0.5}])"),
        "refund 450 @1772452800 key=shopify:refund:71 of=shopify:order:7");
    for (const char* none : {"[]", R"([{"kind":"void","status":"success","amount":"4.00"}])",
                             R"([{"kind":"refund","status":"pending","amount":"4.00"}])",
                             R"([{"kind":"refund","status":"success","amount":"0.00"}])"})
        EXPECT_EQ(transactions(none), "nothing") << none;
    EXPECT_EQ(transactions("null"), "missing_field transactions");
    EXPECT_EQ(transactions("{}"), "invalid_field transactions");
    EXPECT_EQ(transactions("7"), "invalid_field transactions [7]");
    EXPECT_EQ(transactions("[7]"), "invalid_field transactions");
    EXPECT_EQ(transactions(R"([{"status":"success"}])"), "missing_field transactions.kind");
    EXPECT_EQ(transactions(R"([{"kind":"refund"}])"), "missing_field transactions.status");
    EXPECT_EQ(transactions(R"([{"kind":"refund","status":"success"}])"),
              "missing_field transactions.amount");
    EXPECT_EQ(
        transactions(R"([{"kind":"refund","status":"success","amount":"1","currency":"EUR"}])"),
        "currency_mismatch transactions.currency [EUR]");
    const std::string most =
        R"({"kind":"refund","status":"success","amount":"92233720368547758.07"})";
    EXPECT_EQ(transactions("[" + most + "]"),
              "refund 9223372036854775807 @1772452800 key=shopify:refund:71 of=shopify:order:7");
    EXPECT_EQ(transactions("[" + most + "," + most + "]"), "invalid_amount transactions.amount");
    EXPECT_EQ(
        transactions(R"([{"kind":"refund","status":"success","amount":"-92233720368547758.08"}])"),
        "invalid_amount transactions.amount [-92233720368547758.08]");
    EXPECT_EQ(read_refund(with(refund, R"("order_id":7,)", "")),
              "missing_field order_id (shopify:refund:71)");
    EXPECT_EQ(read_refund(with(refund, R"("created_at")", R"("processed_at")")),
              read_refund(refund));
}

TEST(Shopify, AnOrderBringsItsRefunds) {
    EXPECT_EQ(read_order("orders/updated", order_with(R"("refunds":[)" + refund + "," +
                                                      with(refund, "71", "72") + "]")),
              "conversion 1000 @1772366400 key=shopify:order:7; "
              "refund 400 @1772452800 key=shopify:refund:71 of=shopify:order:7 part=71; "
              "refund 400 @1772452800 key=shopify:refund:72 of=shopify:order:7 part=72 "
              "(shopify:order:7)");
    EXPECT_EQ(read_order("orders/updated", order_with(R"("refunds":[7])")),
              "invalid_field refunds (shopify:order:7)");
    EXPECT_EQ(read_order("orders/updated", order_with(R"("refunds":[{"id":1}])")),
              "missing_field transactions (shopify:order:7)");
}

const std::string dispute =
    R"({"id":91,"order_id":7,"type":"chargeback","amount":"5.00","currency":"USD","status":"needs_response","initiated_at":"2026-03-02T12:00:00Z","finalized_on":"2026-03-03T12:00:00Z"})";

TEST(Shopify, AChargebackTakesAndAWonOneGivesBack) {
    for (const char* topic : {"disputes/create", "disputes/update"}) {
        EXPECT_EQ(read("shopify", topic, dispute), "refund 500 @1772452800 key=shopify:dispute:91 "
                                                   "of=shopify:order:7 (shopify:dispute:91)");
        EXPECT_EQ(read("shopify", topic, with(dispute, "needs_response", "lost")),
                  "refund 500 @1772452800 key=shopify:dispute:91 of=shopify:order:7 "
                  "(shopify:dispute:91)");
        EXPECT_EQ(read("shopify", topic, with(dispute, "needs_response", "won")),
                  "reversal 500 @1772539200 key=shopify:dispute_won:91 of=shopify:order:7 "
                  "refund=shopify:dispute:91 (shopify:dispute:91)");
        EXPECT_EQ(read("shopify", topic, with(dispute, "chargeback", "inquiry")),
                  "nothing (shopify:dispute:91)");
    }
    EXPECT_EQ(read("shopify", "disputes/update",
                   with(with(dispute, "needs_response", "won"), "finalized_on", "x")),
              "reversal 500 @1772452800 key=shopify:dispute_won:91 of=shopify:order:7 "
              "refund=shopify:dispute:91 (shopify:dispute:91)");
    EXPECT_EQ(read("shopify", "disputes/create", with(dispute, "initiated_at", "x")),
              "missing_field initiated_at (shopify:dispute:91)");
    EXPECT_EQ(read("shopify", "disputes/create", with(dispute, "order_id", "x")),
              "missing_field order_id (shopify:dispute:91)");
}

} // namespace
} // namespace attribution::core
