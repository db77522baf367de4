// Looks for a payload that breaks a promise of core/webhook or core/redact: coverage-guided, with
// the promises inside.
//
// The one idea: the input is a choice of provider, topic and currency in its first three bytes, and
// a JSON text in the others; test/fuzz/webhook.dict has the words of the providers. Whatever the
// payload is:
//   read_delivery   a problem or notices, never both; keys, amounts, times and channels within what
//                   notice.hpp says; after redaction, too
//   redact          no listed key is seen any more, nor the value of a pair that names one; what
//                   else is in the document is as it was
//
// A broken promise says which and aborts. Built by the preset fuzz, run by test/suites/fuzz.sh.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "../unit/json_text.hpp"
#include "core/ascii.hpp"
#include "core/redact.hpp"
#include "core/webhook/delivery.hpp"
#include "core/webhook/text.hpp"

namespace {

using namespace attribution::core;

void must(bool holds, const char* promise) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", promise);
        std::abort();
    }
}

struct Topic {
    std::string_view source, name;
};

constexpr std::array<Topic, 41> topics = {{
    {"shopify", "orders/paid"},
    {"shopify", "orders/create"},
    {"shopify", "orders/updated"},
    {"shopify", "orders/cancelled"},
    {"shopify", "refunds/create"},
    {"shopify", "disputes/create"},
    {"shopify", "disputes/update"},
    {"shopify", "products/update"},
    {"stripe", "payment_intent.succeeded"},
    {"stripe", "charge.succeeded"},
    {"stripe", "charge.captured"},
    {"stripe", "checkout.session.completed"},
    {"stripe", "checkout.session.async_payment_succeeded"},
    {"stripe", "invoice.paid"},
    {"stripe", "charge.refunded"},
    {"stripe", "refund.created"},
    {"stripe", "refund.updated"},
    {"stripe", "refund.failed"},
    {"stripe", "charge.refund.updated"},
    {"stripe", "charge.dispute.created"},
    {"stripe", "charge.dispute.closed"},
    {"stripe", "charge.dispute.funds_withdrawn"},
    {"stripe", "charge.dispute.funds_reinstated"},
    {"stripe", "customer.created"},
    {"paypal", "PAYMENT.CAPTURE.COMPLETED"},
    {"paypal", "PAYMENT.SALE.COMPLETED"},
    {"paypal", "PAYMENT.CAPTURE.REFUNDED"},
    {"paypal", "PAYMENT.SALE.REFUNDED"},
    {"paypal", "PAYMENT.CAPTURE.REVERSED"},
    {"paypal", "PAYMENT.SALE.REVERSED"},
    {"paypal", "CUSTOMER.DISPUTE.CREATED"},
    {"paypal", "CUSTOMER.DISPUTE.UPDATED"},
    {"paypal", "CUSTOMER.DISPUTE.RESOLVED"},
    {"woocommerce", "order.created"},
    {"woocommerce", "order.updated"},
    {"woocommerce", "order.restored"},
    {"woocommerce", "order.completed"},
    {"woocommerce", "order.refunded"},
    {"woocommerce", "order.deleted"},
    {"woocommerce", ""},
    {"etsy", "orders/paid"},
}};

struct Currency {
    std::string_view code;
    int decimals;
};

constexpr std::array<Currency, 6> currencies = {
    {{"USD", 2}, {"JPY", 0}, {"KWD", 3}, {"ISK", 0}, {"MGA", 2}, {"CLF", 4}}};

// --- reading -------------------------------------------------------------------------------------

void check_key(std::string_view key) {
    must(key.size() <= longest_notice_text, "a key fits");
}

void check_notice(const Notice& notice, bool is_text) {
    constexpr std::int64_t year_10000_us = 253'402'300'800'000'000;
    must(notice.cents > 0, "a notice is about money");
    must(notice.occurred_at_us >= 0 && notice.occurred_at_us <= year_10000_us,
         "a time is in range");
    for (const std::string_view key :
         {notice.external_event_id, notice.correlation_id, notice.conversion_id,
          notice.conversion_correlation_id, notice.conversion_correlation_id_2, notice.refund_id,
          notice.channel})
        check_key(key);
    must(!notice.external_event_id.empty() || !notice.correlation_id.empty(), "a notice has a key");
    must(!is_text || is_utf8(notice.channel), "a channel of a text is a text");
    const bool has_conversion =
        !notice.conversion_id.empty() || !notice.conversion_correlation_id.empty();
    must(has_conversion == (notice.kind != NoticeKind::conversion),
         "a refund or a reversal, and nothing else, has a conversion");
    must((notice.kind == NoticeKind::reversal) == !notice.refund_id.empty(),
         "a reversal, and nothing else, has a refund");
    if (notice.announced == Announced::by_sum)
        must(notice.cents <= notice.sum, "a refund is a part of its sum");
}

void check_reading(const Delivery& delivery, bool is_text) {
    ArenaMemory memory;
    Arena arena = memory.arena();
    const Reading reading = read_delivery(delivery, arena);
    check_key(reading.external_event_id);
    check_key(reading.correlation_id);
    must(reading.notices.size() <= most_notices, "at most 1000 notices");
    if (!reading.problem.code.empty()) {
        must(reading.notices.empty(), "a problem, or notices");
        must(!reading.problem.message.empty(), "a problem has a message");
    }
    for (const Notice& notice : reading.notices)
        check_notice(notice, is_text);
}

// --- redacting -----------------------------------------------------------------------------------

/// Whether a document has no listed key, by a walk that shares nothing with redact().
bool is_clean(Json value, const KeySet& keys) {
    bool names_listed = false;
    bool has_value = false;
    for (const Json child : value) {
        if (!is_clean(child, keys))
            return false;
        if (!value.is_object())
            continue;
        if (keys.contains(child.key()))
            return false;
        const bool is_name =
            equal_ignoring_case(child.key(), "name") || equal_ignoring_case(child.key(), "key");
        names_listed = names_listed || (is_name && keys.contains(child.string()));
        has_value = has_value || equal_ignoring_case(child.key(), "value");
    }
    return !names_listed || !has_value;
}

/// The document without what a listed key holds; strings as they are.
std::string write_unlisted(Json value, const KeySet& keys) {
    if (!value.is_object() && !value.is_array())
        return value.is_string() ? "s" : JsonText::write(value);
    bool names_listed = false;
    for (const Json child : value)
        if (value.is_object() && !keys.contains(child.key()) &&
            (equal_ignoring_case(child.key(), "name") || equal_ignoring_case(child.key(), "key")))
            names_listed = names_listed || keys.contains(child.string());
    std::string text(1, value.is_object() ? '{' : '[');
    for (const Json child : value) {
        if (value.is_object() && (keys.contains(child.key()) ||
                                  (names_listed && equal_ignoring_case(child.key(), "value"))))
            continue;
        text += std::string(child.key()) + ':' + write_unlisted(child, keys) + ',';
    }
    return text + (value.is_object() ? '}' : ']');
}

void check_redaction(JsonText& payload, std::span<char> target, std::uint8_t choice) {
    constexpr std::array<std::string_view, 6> names = {"email", "customer", "id",
                                                       "note",  "metadata", "amount"};
    std::vector<std::uint64_t> hashes;
    for (std::size_t i = 0; i < names.size(); ++i)
        if ((choice >> i & 1U) != 0)
            hashes.push_back(key_hash(names.at(i)));
    std::sort(hashes.begin(), hashes.end());
    const KeySet keys{hashes};
    const std::string before = payload.write();
    const std::string expected = write_unlisted(payload.root(), keys);
    const bool has_removed = redact(payload.nodes(), keys, target);
    must(has_removed == (payload.write() != before), "redact() says whether it changed anything");
    must(is_clean(payload.root(), keys), "no listed key is seen after redaction");
    must(write_unlisted(payload.root(), KeySet{}) == expected, "all else is as it was");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3)
        return 0;
    const Topic& topic = topics.at(data[0] % topics.size());
    const Currency& currency = currencies.at(data[1] % currencies.size());
    std::string text;
    std::transform(data + 3, data + size, std::back_inserter(text),
                   [](std::uint8_t byte) { return static_cast<char>(byte); });
    JsonText payload(text);
    if (!payload.is_valid())
        return 0;
    const bool is_text = is_utf8(text);
    const Delivery delivery{.source = topic.source,
                            .topic = topic.name,
                            .payload = payload.root(),
                            .currency = currency.code,
                            .decimals = currency.decimals};
    (void)topic_of(topic.source, payload.root(), payload.root());
    check_reading(delivery, is_text);
    std::vector<char> target(text.size()); // strings of the payload point to it after redaction
    check_redaction(payload, target, data[2]);
    check_reading(delivery, is_text);
    return 0;
}
