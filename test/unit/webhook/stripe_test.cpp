// Proves how payloads of Stripe are read. They have the shapes of Stripe's and are made up.
#include <string>

#include <gtest/gtest.h>

#include "read.hpp"

namespace attribution::core {
namespace {

/// What is read of an event with the object, and with what its attributes were before.
std::string read_event(std::string_view topic, const std::string& object,
                       const std::string& before = "{}", std::string_view currency = "USD",
                       int decimals = 2) {
    return read("stripe", topic,
                R"({"created":1772366400,"data":{"object":)" + object +
                    R"(,"previous_attributes":)" + before + "}}",
                currency, decimals);
}

TEST(Stripe, NeedsAnObject) {
    for (const char* topic :
         {"payment_intent.succeeded", "charge.succeeded", "charge.captured",
          "checkout.session.completed", "invoice.paid", "checkout.session.async_payment_succeeded",
          "charge.refunded", "refund.created", "refund.updated", "refund.failed",
          "charge.refund.updated", "charge.dispute.created", "charge.dispute.closed",
          "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"}) {
        EXPECT_EQ(read("stripe", topic, "{}"), "missing_field data.object") << topic;
        EXPECT_EQ(read("stripe", topic, R"({"data":{"object":[]}})"), "missing_field data.object")
            << topic;
    }
    EXPECT_EQ(read("stripe", "customer.created", R"({"data":{"object":{}}})"),
              "unknown_topic [customer.created]");
    EXPECT_EQ(read("stripe", "charge.dispute.updated", R"({"data":{"object":{}}})"),
              "unknown_topic [charge.dispute.updated]");
}

TEST(Stripe, OneSaleIsAnnouncedInManyWays) {
    const std::string sale = "conversion 1099 @1772366400 correlation=pi_1 (correlation=pi_1)";
    EXPECT_EQ(read_event("payment_intent.succeeded",
                         R"({"id":"pi_1","currency":"usd","amount":2000,"amount_received":1099})"),
              sale);
    EXPECT_EQ(
        read_event("payment_intent.succeeded", R"({"id":"pi_1","currency":"usd","amount":1099})"),
        sale);
    for (const char* topic : {"charge.succeeded", "charge.captured"}) {
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"ch_1","payment_intent":"pi_1","currency":"usd","amount":2000,"amount_captured":1099,"captured":true})"),
            sale);
        EXPECT_EQ(read_event(topic, R"({"id":"pi_1","currency":"usd","amount":1099})"),
                  sale); // without an intent: the charge
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"ch_1","payment_intent":"pi_1","currency":"usd","amount":1099,"captured":false})"),
            "nothing");
    }
    for (const char* topic :
         {"checkout.session.completed", "checkout.session.async_payment_succeeded"}) {
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"cs_1","payment_intent":{"id":"pi_1"},"payment_status":"paid","currency":"usd","amount_total":1099})"),
            sale);
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"cs_1","payment_intent":"pi_1","currency":"usd","amount_total":1099})"),
            sale);
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"cs_1","payment_intent":"pi_1","payment_status":"unpaid","currency":"usd","amount_total":1099})"),
            "nothing");
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"cs_1","mode":"subscription","payment_status":"paid","currency":"usd","amount_total":1099})"),
            "nothing");
        EXPECT_EQ(
            read_event(
                topic,
                R"({"id":"cs_1","mode":"payment","payment_status":"paid","currency":"usd","amount_total":1099})"),
            "missing_field payment_intent");
    }
    EXPECT_EQ(
        read_event("invoice.paid",
                   R"({"id":"in_1","payment_intent":"pi_1","currency":"usd","amount_paid":1099})"),
        sale);
    EXPECT_EQ(read_event("invoice.paid", R"({"id":"in_1","currency":"usd","amount_paid":1099})"),
              "nothing");
}

TEST(Stripe, AmountsAreWholeNumbersOfWhatItCountsIn) {
    const auto amount = [](const std::string& text, std::string_view currency, int decimals) {
        const std::string result = read_event(
            "payment_intent.succeeded",
            R"({"id":"pi_1","currency":")" + std::string(currency) + R"(","amount":)" + text + "}",
            "{}", currency, decimals);
        return result.substr(0, result.find(" @"));
    };
    EXPECT_EQ(amount("1099", "USD", 2), "conversion 1099");
    EXPECT_EQ(amount("1099", "JPY", 0), "conversion 1099");
    EXPECT_EQ(amount("1230", "KWD", 3), "conversion 1230");
    EXPECT_EQ(amount("500", "ISK", 0), "conversion 5");
    EXPECT_EQ(amount("500", "UGX", 0), "conversion 5");
    EXPECT_EQ(amount("500", "MGA", 2), "conversion 50000");
    EXPECT_EQ(amount("550", "ISK", 0), "invalid_amount amount_received [550] (correlation=pi_1)");
    EXPECT_EQ(amount("10.5", "USD", 2), "invalid_amount amount_received [10.5] (correlation=pi_1)");
    EXPECT_EQ(amount(R"("1099")", "USD", 2),
              "invalid_amount amount_received [1099] (correlation=pi_1)");
    EXPECT_EQ(amount("-1", "USD", 2), "invalid_amount amount_received [-1] (correlation=pi_1)");
    EXPECT_EQ(amount("0", "USD", 2), "nothing (correlation=pi_1)");
}

TEST(Stripe, TimesAreWholeSeconds) {
    const auto at = [](const std::string& created) {
        const std::string text =
            read("stripe", "charge.succeeded",
                 R"({"created":)" + created +
                     R"(,"data":{"object":{"id":"ch","currency":"usd","amount":1}}})");
        return text.substr(0, text.find(" correlation"));
    };
    EXPECT_EQ(at("0"), "conversion 1 @0");
    EXPECT_EQ(at("253402300799"), "conversion 1 @253402300799");
    EXPECT_EQ(at("253402300800"), "invalid_field created [253402300800] (correlation=ch)");
    EXPECT_EQ(at("-1"), "invalid_field created [-1] (correlation=ch)");
    EXPECT_EQ(at("1.5"), "invalid_field created [1.5] (correlation=ch)");
    EXPECT_EQ(at("true"), "invalid_field created (correlation=ch)");
    EXPECT_EQ(at("null"), "missing_field created (correlation=ch)");
}

TEST(Stripe, TheChannelIsInTheMetadata) {
    const auto channel = [](const std::string& metadata) {
        return with(
            read_event("charge.succeeded",
                       R"({"id":"ch","currency":"usd","amount":1,"metadata":)" + metadata + "}"),
            "conversion 1 @1772366400 correlation=ch", "");
    };
    EXPECT_EQ(channel(R"({"utm_source":"google"})"), " channel=google (correlation=ch)");
    EXPECT_EQ(
        channel(
            R"({"utm_source":"google","channel":"tv","session_id":"7f0000000000400080000000000000ff"})"),
        " channel=tv session=127 (correlation=ch)");
    EXPECT_EQ(
        channel(
            R"({"attribution_channel":"radio","attribution_session_id":"{7f000000-0000-4000-8000-0000000000ff}"})"),
        " channel=radio session=127 (correlation=ch)");
    EXPECT_EQ(channel("[]"), " (correlation=ch)");
}

TEST(Stripe, ARefundByItsId) {
    const std::string refund =
        R"({"id":"re_1","payment_intent":"pi_1","charge":"ch_1","currency":"usd","amount":100,"status":"succeeded","created":1772452800})";
    const std::string keys = " key=stripe:refund:re_1 correlation=pi_1 of1=pi_1 of2=ch_1 "
                             "(stripe:refund:re_1 correlation=pi_1)";
    EXPECT_EQ(read_event("refund.created", refund), "refund by id 100 @1772452800" + keys);
    for (const char* topic : {"refund.updated", "charge.refund.updated", "refund.failed"}) {
        EXPECT_EQ(read_event(topic, refund), "refund by id 100 @1772366400" + keys)
            << topic; // when it became so
        EXPECT_EQ(read_event(topic, with(refund, R"("status":"succeeded",)", "")),
                  "refund by id 100 @1772366400" + keys)
            << topic;
        for (const char* status : {"pending", "requires_action"})
            EXPECT_EQ(read_event(topic, with(refund, "succeeded", status)),
                      "nothing (stripe:refund:re_1)");
        for (const char* status : {"failed", "canceled"})
            EXPECT_EQ(read_event(topic, with(refund, "succeeded", status)),
                      "reversal by id 100 @1772366400 key=stripe:refund_failed:re_1 "
                      "correlation=pi_1 of1=pi_1 of2=ch_1 refund=stripe:refund:re_1 if known "
                      "(stripe:refund:re_1 correlation=pi_1)");
    }
    EXPECT_EQ(read_event("refund.created", with(refund, R"("payment_intent":"pi_1",)", "")),
              "refund by id 100 @1772452800 key=stripe:refund:re_1 correlation=ch_1 of1=ch_1 "
              "of2=ch_1 (stripe:refund:re_1 correlation=ch_1)");
    EXPECT_EQ(read_event("refund.created", R"({"id":"re_1","currency":"usd","amount":100})"),
              "missing_field payment_intent (stripe:refund:re_1)");
    EXPECT_EQ(read_event("refund.created", "{}"), "missing_field id");
}

TEST(Stripe, ARefundAsASum) {
    const std::string charge =
        R"({"id":"ch_1","payment_intent":"pi_1","currency":"usd","amount_refunded":300})";
    const std::string keys =
        " @1772366400 key=stripe:refunded:ch_1:300 correlation=pi_1 of1=pi_1 of2=ch_1 sum=300";
    EXPECT_EQ(read_event("charge.refunded", charge, R"({"amount_refunded":100})"),
              "refund by sum 200" + keys + " (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded", charge, R"({"amount_refunded":0})"),
              "refund by sum 300" + keys + " (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded", charge),
              "refund by sum 300" + keys + " of unknown (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded", charge, R"({"amount_refunded":300})"),
              "nothing (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded", charge, R"({"amount_refunded":301})"),
              "invalid_amount previous_attributes.amount_refunded [301] (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded", charge, R"({"amount_refunded":"x"})"),
              "invalid_amount previous_attributes.amount_refunded [x] (correlation=pi_1)");
    EXPECT_EQ(read_event("charge.refunded",
                         with(charge, R"("id":"ch_1")", R"("captured":false,"id":"ch_1")")),
              "nothing");
    EXPECT_EQ(read_event("charge.refunded",
                         with(charge, R"("id":"ch_1")", R"("refunds":{"data":[]},"id":"ch_1")")),
              "refund by sum 300" + keys + " of unknown (correlation=pi_1)");
    // Each key fits alone, and with the sum it does not.
    const std::string id(longest_notice_text - std::string("stripe:refunded::12").size(), 'c');
    EXPECT_EQ(
        read_event("charge.refunded", with(with(charge, "ch_1", id), "300", "12")).substr(0, 16),
        "refund by sum 12");
    EXPECT_EQ(read_event("charge.refunded", with(charge, "ch_1", id)).substr(0, 20),
              "invalid_field charge");
}

TEST(Stripe, OldChargesHaveTheirRefundsInThem) {
    const std::string charge =
        R"({"id":"ch_1","currency":"usd","amount_refunded":300,"refunds":{"data":[
        {"id":"re_1","amount":100,"currency":"usd","created":1772452800,"status":"succeeded"},
        {"id":"re_2","amount":150,"currency":"usd","created":1772452801,"status":"pending"},
        {"id":"re_3","amount":200,"currency":"usd","created":1772452802}]}})";
    EXPECT_EQ(read_event("charge.refunded", charge),
              "refund by id 100 @1772452800 key=stripe:refund:re_1 correlation=ch_1 of1=ch_1 "
              "of2=ch_1 part=\"re_1\"; "
              "refund by id 200 @1772452802 key=stripe:refund:re_3 correlation=ch_1 of1=ch_1 "
              "of2=ch_1 part=\"re_3\" (correlation=ch_1)");
    EXPECT_EQ(read_event("charge.refunded", with(charge, R"("created":1772452800,)", "")),
              "missing_field created (correlation=ch_1)");
    EXPECT_EQ(read_event("charge.refunded", R"({"id":"ch_1","refunds":{"data":7}})"),
              "invalid_field refunds.data [7] (correlation=ch_1)");
}

TEST(Stripe, DisputesTakeAndGiveBack) {
    const std::string dispute =
        R"({"id":"dp_1","charge":"ch_1","currency":"usd","amount":500,"status":"needs_response"})";
    const std::string taken = "refund 500 @1772366400 key=stripe:dispute:dp_1 correlation=ch_1 "
                              "of1=ch_1 of2=ch_1 (stripe:dispute:dp_1 correlation=ch_1)";
    for (const char* topic : {"charge.dispute.created", "charge.dispute.funds_withdrawn"})
        for (const char* status : {"needs_response", "won", "lost"})
            EXPECT_EQ(read_event(topic, with(dispute, "needs_response", status)), taken);
    for (const char* topic : {"charge.dispute.closed", "charge.dispute.funds_reinstated"}) {
        EXPECT_EQ(read_event(topic, with(dispute, "needs_response", "lost")), taken);
        EXPECT_EQ(read_event(topic, with(dispute, "needs_response", "won")),
                  "reversal 500 @1772366400 key=stripe:dispute_won:dp_1 correlation=ch_1 of1=ch_1 "
                  "of2=ch_1 refund=stripe:dispute:dp_1 "
                  "(stripe:dispute:dp_1 correlation=ch_1)");
        EXPECT_EQ(read_event(topic, dispute), "nothing (stripe:dispute:dp_1 correlation=ch_1)");
        EXPECT_EQ(read_event(topic, with(dispute, "needs_response", "warning_closed")),
                  "nothing (stripe:dispute:dp_1)");
    }
}

} // namespace
} // namespace attribution::core
