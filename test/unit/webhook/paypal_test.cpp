// Proves how payloads of PayPal are read. They have the shapes of PayPal's and are made up.
#include <string>

#include <gtest/gtest.h>

#include "read.hpp"

namespace attribution::core {
namespace {

std::string read_resource(std::string_view topic, const std::string& resource) {
    return read("paypal", topic, R"({"id":"WH-1","resource":)" + resource + "}");
}

const std::string capture =
    R"({"id":"C1","status":"COMPLETED","create_time":"2026-03-01T12:00:00Z","amount":{"value":"21.12","currency_code":"USD"}})";

TEST(PayPal, NeedsAResource) {
    for (const char* topic :
         {"PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED", "PAYMENT.CAPTURE.REFUNDED",
          "PAYMENT.SALE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.SALE.REVERSED",
          "CUSTOMER.DISPUTE.RESOLVED"})
        EXPECT_EQ(read("paypal", topic, "{}"), "missing_field resource") << topic;
    for (const char* topic :
         {"CUSTOMER.DISPUTE.CREATED", "CUSTOMER.DISPUTE.UPDATED"}) // a reversal moves the money
        EXPECT_EQ(read("paypal", topic, "{}"), "nothing") << topic;
    EXPECT_EQ(read("paypal", "PAYMENT.CAPTURE.PENDING", R"({"resource":{}})"),
              "unknown_topic [PAYMENT.CAPTURE.PENDING]");
}

TEST(PayPal, ACaptureIsAConversion) {
    const std::string sale = "conversion 2112 @1772366400 key=paypal:capture:C1";
    for (const char* topic : {"PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED"}) {
        EXPECT_EQ(read_resource(topic, capture), sale + " (paypal:capture:C1)");
        // Version 1 of the API.
        EXPECT_EQ(
            read_resource(
                topic,
                R"({"id":"C1","state":"completed","create_time":"2026-03-01T12:00:00Z","parent_payment":"PAY-1","amount":{"total":"21.12","currency":"usd"}})"),
            sale + " correlation=PAY-1 (paypal:capture:C1 correlation=PAY-1)");
        EXPECT_EQ(
            read_resource(
                topic,
                with(
                    capture, "{",
                    R"({"supplementary_data":{"related_ids":{"order_id":"O1"}},"parent_payment":"PAY-1",)")),
            sale + " correlation=O1 (paypal:capture:C1 correlation=O1)");
        for (const char* status :
             {"PENDING", "declined", "Failed", "DENIED", "CANCELLED", "VOIDED"})
            EXPECT_EQ(read_resource(topic, with(capture, "COMPLETED", status)),
                      "nothing (paypal:capture:C1)")
                << status;
        EXPECT_EQ(read_resource(topic, with(capture, R"("status":"COMPLETED",)", "")),
                  sale + " (paypal:capture:C1)");
    }
    EXPECT_EQ(read_resource("PAYMENT.CAPTURE.COMPLETED", with(capture, "21.12", "-21.12")),
              "invalid_amount amount.value [-21.12] (paypal:capture:C1)");
    EXPECT_EQ(read_resource("PAYMENT.CAPTURE.COMPLETED", with(capture, "USD", "EUR")),
              "currency_mismatch amount.currency_code [EUR] (paypal:capture:C1)");
    EXPECT_EQ(read_resource("PAYMENT.CAPTURE.COMPLETED", "{}"), "missing_field resource.id");
    EXPECT_EQ(read_resource("PAYMENT.CAPTURE.COMPLETED", R"({"id":"C1"})"),
              "missing_field amount.currency_code (paypal:capture:C1)");
    EXPECT_EQ(read_resource("PAYMENT.CAPTURE.COMPLETED", with(capture, "create_time", "x")),
              "missing_field resource.create_time (paypal:capture:C1)");
}

TEST(PayPal, TheChannelIsInAQueryString) {
    const auto channel = [](const std::string& custom) {
        return with(
            with(read_resource("PAYMENT.CAPTURE.COMPLETED", with(capture, "{", "{" + custom + ",")),
                 "conversion 2112 @1772366400 key=paypal:capture:C1", ""),
            " (paypal:capture:C1)", "");
    };
    EXPECT_EQ(
        channel(
            R"("custom_id":"channel=tv&utm_source=google&session_id=7f000000-0000-4000-8000-000000000000")"),
        " channel=tv session=127");
    EXPECT_EQ(channel(R"("custom":"utm_source=google")"), " channel=google");
    EXPECT_EQ(channel(R"("custom_id":"channel=%ff&utm_source=google")"), " channel=google");
    EXPECT_EQ(channel(R"("custom_id":"order 7")"), "");
    EXPECT_EQ(channel(R"("custom_id":7)"), "");
}

TEST(PayPal, ARefundNamesItsCapture) {
    const std::string refund =
        R"({"id":"R1","status":"COMPLETED","create_time":"2026-03-02T12:00:00Z","amount":{"value":"5.00","currency_code":"USD"},"capture_id":"C1"})";
    for (const char* topic : {"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.SALE.REFUNDED"}) {
        EXPECT_EQ(
            read_resource(topic, refund),
            "refund 500 @1772452800 key=paypal:refund:R1 of=paypal:capture:C1 (paypal:refund:R1)");
        EXPECT_EQ(
            read_resource(topic, with(refund, "5.00", "-5.00")),
            "refund 500 @1772452800 key=paypal:refund:R1 of=paypal:capture:C1 (paypal:refund:R1)");
        EXPECT_EQ(read_resource(topic, with(refund, "COMPLETED", "PENDING")),
                  "nothing (paypal:refund:R1)");
    }
    for (const char* topic : {"PAYMENT.CAPTURE.REVERSED", "PAYMENT.SALE.REVERSED"})
        EXPECT_EQ(read_resource(topic, with(refund, "capture_id", "sale_id")),
                  "refund 500 @1772452800 key=paypal:reversal:R1 of=paypal:capture:C1 "
                  "(paypal:reversal:R1)");
    const auto links = [&](const std::string& list) {
        const std::string text = read_resource(
            "PAYMENT.CAPTURE.REFUNDED", with(refund, R"("capture_id":"C1")", R"("links":)" + list));
        return text.substr(0, text.find(" ("));
    };
    EXPECT_EQ(
        links(
            R"([{"rel":"self","href":"https://x/refunds/R1"},{"rel":"up","href":"https://x/captures/C1?a=/b#/c"}])"),
        "refund 500 @1772452800 key=paypal:refund:R1 of=paypal:capture:C1");
    EXPECT_EQ(links(R"([{"rel":"up","href":"C1"}])"),
              "refund 500 @1772452800 key=paypal:refund:R1 of=paypal:capture:C1");
    for (const char* none :
         {"[]", "{}", "7", "[7]", R"([{"rel":"up","href":"https://x/captures/"}])",
          R"([{"rel":"up"}])", R"([{"href":"https://x/C1"}])"})
        EXPECT_EQ(links(none), "missing_field links") << none;
    EXPECT_EQ(links(R"([{"rel":"up","href":"https://x/)" + std::string(300, 'c') +
                    R"("},{"rel":"up","href":"https://x/C2"}])"),
              "refund 500 @1772452800 key=paypal:refund:R1 of=paypal:capture:C2");
}

TEST(PayPal, ADisputeThatIsWonGivesBack) {
    const std::string dispute =
        R"({"dispute_id":"PP-1","dispute_outcome":{"outcome_code":"RESOLVED_SELLER_FAVOUR"},"disputed_transactions":[{"seller_transaction_id":"C1"}],
        "dispute_amount":{"currency_code":"USD","value":"5.00"},"update_time":"2026-03-02T12:00:00Z","create_time":"2026-03-01T12:00:00Z"})";
    const std::string won =
        "reversal 500 @1772452800 key=paypal:dispute_won:PP-1 of=paypal:capture:C1 "
        "refund=paypal:reversal: if known (paypal:dispute_won:PP-1)";
    EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED", dispute), won);
    EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED",
                            with(dispute, "RESOLVED_SELLER_FAVOUR", "CANCELED_BY_BUYER")),
              won);
    for (const char* outcome : {"RESOLVED_BUYER_FAVOUR", "RESOLVED_WITH_PAYOUT", ""})
        EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED",
                                with(dispute, "RESOLVED_SELLER_FAVOUR", outcome)),
                  "nothing (paypal:dispute_won:PP-1)");
    EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED", with(dispute, "update_time", "x")),
              with(won, "1772452800", "1772366400"));
    for (const char* none : {"[]", "{}", "null", "[7]"})
        EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED",
                                with(dispute, R"([{"seller_transaction_id":"C1"}])", none)),
                  "missing_field seller_transaction_id (paypal:dispute_won:PP-1)")
            << none;
    EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED", with(dispute, "USD", "EUR")),
              "currency_mismatch dispute_amount.currency_code [EUR] (paypal:dispute_won:PP-1)");
    EXPECT_EQ(read_resource("CUSTOMER.DISPUTE.RESOLVED", "{}"), "missing_field dispute_id");
}

} // namespace
} // namespace attribution::core
