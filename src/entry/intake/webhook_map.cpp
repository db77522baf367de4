// webhook: the topics of Shopify, Stripe, PayPal and WooCommerce. doc/webhook.md has the tables.

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "entry/intake/webhook.hpp"

#include "pg/boundary.hpp"

namespace attribution::entry {
namespace {

using pg::is_object;
using pg::json_at;
using pg::json_bool;
using pg::json_count;
using pg::json_element;
using pg::json_text;
using Json = const JsonbValue*;
using Path = std::initializer_list<std::string_view>;

constexpr std::size_t longest_shown = 100; // bytes of a value in a problem
constexpr std::size_t most_notices = 1000; // in a delivery: each refund looks at those before it

std::string_view copied(std::string_view text) {
    auto* copy = static_cast<char*>(palloc(text.size() + 1));
    std::copy_n(text.data(), text.size(), copy);
    copy[text.size()] = '\0';
    return {copy, text.size()};
}

std::string_view joined(std::string_view prefix, std::string_view id) {
    auto* text = static_cast<char*>(palloc(prefix.size() + id.size() + 1));
    std::copy_n(prefix.data(), prefix.size(), text);
    std::copy_n(id.data(), id.size(), text + prefix.size());
    text[prefix.size() + id.size()] = '\0';
    return {text, prefix.size() + id.size()};
}

template <std::size_t count>
bool is_one_of(std::string_view text, const std::array<std::string_view, count>& words) {
    return std::find(words.begin(), words.end(), text) != words.end();
}

/// Reads values; the first that cannot be read is the delivery's problem, and those after it are
/// read for nothing.
struct Reader {
    Delivery* delivery;

    [[nodiscard]] bool failed() const { return delivery->problem.code != nullptr; }

    void fail(const char* code, const char* field, std::string_view value, const char* message) {
        if (failed())
            return;
        // A cut in the middle of a character would be no text.
        const std::size_t shown = static_cast<std::size_t>(pg_mbcliplen(
            value.data(), static_cast<int>(value.size()), static_cast<int>(longest_shown)));
        delivery->problem = {
            .code = code, .message = message, .field = field, .value = value.substr(0, shown)};
    }

    /// A string that must be there.
    std::string_view text(Json value, const char* field) {
        if (value == nullptr) {
            fail("missing_field", field, {}, "a field is missing");
            return {};
        }
        if (!pg::is_string(value)) {
            fail("invalid_field", field, json_text(value).value_or(""), "a string is expected");
            return {};
        }
        const std::string_view text = *json_text(value);
        if (text.empty())
            fail("missing_field", field, {}, "a field is empty");
        return text;
    }

    /// A list of objects, of which money is read; nullptr is an empty one.
    Json list(Json value, const char* field) {
        if (value == nullptr)
            return nullptr;
        bool is_good = value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
        for (std::uint32_t i = 0; i < json_count(value) && is_good; ++i)
            is_good = is_object(json_element(value, i));
        if (!is_good)
            fail("invalid_field", field, json_text(value).value_or(""),
                 "a list of objects is expected");
        return value;
    }

    /// An id, a string or a whole number, after its prefix: a key.
    std::string_view key(std::string_view prefix, Json value, const char* field) {
        if (value == nullptr) {
            fail("missing_field", field, {}, "an id is missing");
            return {};
        }
        const std::optional<std::string_view> id = json_text(value);
        if (!id || id->empty() ||
            (!pg::is_string(value) && id->find_first_not_of("0123456789") != id->npos)) {
            fail("invalid_field", field, id.value_or(""),
                 "an id is expected, a string or a whole number");
            return {};
        }
        if (prefix.size() + id->size() > pg::max_text_bytes) {
            fail("invalid_field", field, *id, "the id is too long");
            return {};
        }
        return joined(prefix, *id);
    }

    /// The same where it need not be there.
    std::string_view optional_key(Json value, const char* field) {
        return value == nullptr ? std::string_view() : key("", value, field);
    }

    /// An amount in units of 10^-scale of the tenant's currency.
    core::Cents amount(Json value, const char* field, int scale = 0) {
        if (value == nullptr) {
            fail("missing_field", field, {}, "an amount is missing");
            return 0;
        }
        const std::optional<std::string_view> text = json_text(value);
        if (!text) {
            fail("invalid_amount", field, {}, "an amount is expected, a string or a number");
            return 0;
        }
        const core::Amount amount = core::parse_amount(*text, delivery->decimals, scale);
        switch (amount.fault) {
        case core::AmountFault::none:
            break;
        case core::AmountFault::malformed:
            fail("invalid_amount", field, *text, "the amount is no decimal number");
            break;
        case core::AmountFault::too_many_decimals:
            fail("invalid_amount", field, *text, "the amount has more decimals than its currency");
            break;
        case core::AmountFault::out_of_range:
            fail("invalid_amount", field, *text, "the amount is out of range");
            break;
        }
        return amount.cents;
    }

    core::Cents positive_amount(Json value, const char* field, int scale = 0) {
        const core::Cents cents = amount(value, field, scale);
        if (cents < 0)
            fail("invalid_amount", field, *json_text(value), "the amount is negative");
        return cents;
    }

    /// Some providers write what goes back with a minus sign, some without.
    core::Cents magnitude(Json value, const char* field) {
        const core::Cents cents = amount(value, field);
        if (cents == std::numeric_limits<core::Cents>::min()) {
            fail("invalid_amount", field, *json_text(value), "the amount is out of range");
            return 0;
        }
        return cents < 0 ? -cents : cents;
    }

    /// Must be the tenant's currency.
    void currency(Json value, const char* field) {
        const std::string_view given = text(value, field);
        if (failed())
            return;
        const bool same = given.size() == delivery->currency.size() &&
                          std::equal(given.begin(), given.end(), delivery->currency.begin(),
                                     [](char a, char b) { return pg_ascii_toupper(a) == b; });
        if (!same)
            fail("currency_mismatch", field, given, "the currency is not the tenant's");
    }

    TimestampTz time(Json value, const char* field, bool assume_utc = false) {
        const std::string_view given = text(value, field);
        if (failed())
            return 0;
        const std::optional<std::int64_t> unix_us = core::parse_time(given, assume_utc);
        if (!unix_us) {
            fail("invalid_field", field, given, "a time is expected, with its offset");
            return 0;
        }
        return from_unix(*unix_us);
    }

    /// Whole seconds since 1970.
    TimestampTz unix_time(Json value, const char* field) {
        if (value == nullptr) {
            fail("missing_field", field, {}, "a time is missing");
            return 0;
        }
        const std::string_view text = json_text(value).value_or("");
        const core::Amount seconds = core::parse_amount(text, 0);
        constexpr std::int64_t year_10000 = 253402300800;
        if (seconds.fault != core::AmountFault::none || seconds.cents < 0 ||
            seconds.cents >= year_10000) {
            fail("invalid_field", field, text, "seconds since 1970 are expected");
            return 0;
        }
        return from_unix(seconds.cents * USECS_PER_SEC);
    }

    static TimestampTz from_unix(std::int64_t unix_us) {
        return unix_us - std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;
    }

    Notice* add(const Notice& notice) {
        Delivery& d = *delivery;
        if (d.notice_count == most_notices)
            fail("invalid_payload", nullptr, {}, "more than 1000 things are announced at once");
        if (failed())
            return nullptr;
        if (d.notice_count == d.notice_room) {
            const std::size_t room = std::max<std::size_t>(d.notice_room * 2, 4);
            const auto larger = pg::make_span<Notice>(room);
            std::copy_n(d.notices, d.notice_count, larger.data());
            d.notices = larger.data();
            d.notice_room = room;
        }
        d.notices[d.notice_count] = notice;
        return &d.notices[d.notice_count++];
    }

    /// Of a conversion, unless it is about nothing.
    void add_conversion(const Notice& notice) {
        if (notice.cents > 0)
            add(notice);
    }

    void add_refund(Notice notice) {
        notice.kind = NoticeKind::refund;
        if (notice.cents > 0)
            add(notice);
    }
};

Json first_of(Json object, std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys)
        if (Json value = json_at(object, {key}); value != nullptr)
            return value;
    return nullptr;
}

std::string_view text_at(Json object, Path path) {
    Json value = json_at(object, path);
    return pg::is_string(value) ? *json_text(value) : std::string_view();
}

// ---------------------------------------------------------------------------------------------
// Where a customer came from

/// In the order of what counts more.
struct Origin {
    std::string_view channel, utm_source, landing_source;
    std::string_view session;
};

void note_origin(Origin* origin, std::string_view name, std::string_view value) {
    if (value.empty())
        return;
    for (const std::string_view prefix :
         {std::string_view("_"), std::string_view("wc_order_"), std::string_view("attribution_")})
        if (name.substr(0, prefix.size()) == prefix)
            name.remove_prefix(prefix.size());
    if (name == "channel")
        origin->channel = value;
    else if (name == "utm_source")
        origin->utm_source = value;
    else if (name == "session_id")
        origin->session = value;
}

/// Pairs such as {"name": ..., "value": ...}.
void note_pairs(Origin* origin, Json pairs, std::string_view name_key) {
    for (std::uint32_t i = 0; i < json_count(pairs); ++i) {
        Json pair = json_element(pairs, i);
        note_origin(origin, text_at(pair, {name_key}), text_at(pair, {"value"}));
    }
}

void note_members(Origin* origin, Json object) {
    for (const std::string_view name :
         {"channel", "attribution_channel", "utm_source", "session_id", "attribution_session_id"})
        note_origin(origin, name, text_at(object, {name}));
}

void note_query(Origin* origin, std::string_view url, std::string_view name,
                std::string_view Origin::*member) {
    auto* buffer = static_cast<char*>(palloc(pg::max_text_bytes));
    const std::optional<std::string_view> value =
        core::query_parameter(url, name, {buffer, pg::max_text_bytes});
    // Decoded bytes may be anything.
    if (value && pg_verifymbstr(value->data(), static_cast<int>(value->size()), true))
        origin->*member = *value;
}

void set_origin(Notice* notice, const Origin& origin) {
    for (std::string_view channel : {origin.channel, origin.utm_source, origin.landing_source}) {
        if (channel.empty() || channel.size() > pg::max_text_bytes)
            continue;
        notice->channel = channel == "(direct)" ? "direct" : channel;
        break;
    }
    if (origin.session.size() <= 38)
        notice->has_session_id = pg::parse_uuid(copied(origin.session).data(), &notice->session_id);
}

// ---------------------------------------------------------------------------------------------
// Shopify

/// shop_money where it is there, else the plain field and the currency of `currency_of`.
core::Cents shopify_money(Reader* reader, Json object, std::string_view name, const char* field) {
    const std::string_view set = joined(name, "_set");
    Json money = json_at(object, {set, "shop_money"});
    if (money != nullptr) {
        reader->currency(json_at(money, {"currency_code"}), "shop_money.currency_code");
        return reader->positive_amount(json_at(money, {"amount"}), field);
    }
    reader->currency(json_at(object, {"currency"}), "currency");
    return reader->positive_amount(json_at(object, {name}), field);
}

void read_shopify_refund(Reader* reader, Json refund, std::string_view order_key, Datum payload) {
    Notice notice{.kind = NoticeKind::refund};
    notice.external_event_id = reader->key("shopify:refund:", json_at(refund, {"id"}), "refund id");
    notice.conversion_id = order_key;
    notice.payload = payload;
    // What is given back is in the transactions; the lines may say otherwise.
    Json transactions = reader->list(json_at(refund, {"transactions"}), "transactions");
    if (transactions == nullptr)
        reader->fail("missing_field", "transactions", {}, "a field is missing");
    for (std::uint32_t i = 0; i < json_count(transactions) && !reader->failed(); ++i) {
        Json transaction = json_element(transactions, i);
        const std::string_view kind =
            reader->text(json_at(transaction, {"kind"}), "transactions.kind");
        const std::string_view status =
            reader->text(json_at(transaction, {"status"}), "transactions.status");
        if (kind != "refund" || status != "success")
            continue;
        if (Json currency = json_at(transaction, {"currency"}); currency != nullptr)
            reader->currency(currency, "transactions.currency");
        const core::Cents cents =
            reader->magnitude(json_at(transaction, {"amount"}), "transactions.amount");
        if (__builtin_add_overflow(notice.cents, cents, &notice.cents))
            reader->fail("invalid_amount", "transactions.amount", {}, "the sum is out of range");
    }
    notice.occurred_at =
        reader->time(first_of(refund, {"processed_at", "created_at"}), "processed_at");
    reader->add_refund(notice);
}

Datum document_of(Json value) {
    return JsonbPGetDatum(JsonbValueToJsonb(const_cast<JsonbValue*>(value)));
}

void read_shopify_order(Reader* reader, Json order, bool is_paid) {
    Notice notice{.kind = NoticeKind::conversion};
    notice.external_event_id = reader->key("shopify:order:", json_at(order, {"id"}), "id");
    reader->delivery->external_event_id = notice.external_event_id;
    constexpr std::array<std::string_view, 3> paid = {"paid", "partially_refunded", "refunded"};
    if (!is_paid && !is_one_of(text_at(order, {"financial_status"}), paid))
        return;
    notice.cents = shopify_money(reader, order, "total_price", "total_price");
    notice.occurred_at =
        reader->time(first_of(order, {"processed_at", "created_at"}), "processed_at");
    Origin origin{};
    note_pairs(&origin, json_at(order, {"note_attributes"}), "name");
    note_query(&origin, text_at(order, {"landing_site"}), "utm_source", &Origin::landing_source);
    set_origin(&notice, origin);
    reader->add_conversion(notice);

    Json refunds = reader->list(json_at(order, {"refunds"}), "refunds");
    for (std::uint32_t i = 0; i < json_count(refunds) && !reader->failed(); ++i) {
        Json refund = json_element(refunds, i);
        read_shopify_refund(reader, refund, notice.external_event_id, document_of(refund));
    }
}

/// A chargeback takes the money at once; an inquiry does not.
void read_shopify_dispute(Reader* reader, Json dispute) {
    const std::string_view key = reader->key("shopify:dispute:", json_at(dispute, {"id"}), "id");
    reader->delivery->external_event_id = key;
    if (text_at(dispute, {"type"}) == "inquiry")
        return;
    Notice notice{.kind = NoticeKind::refund};
    notice.external_event_id = key;
    notice.conversion_id =
        reader->key("shopify:order:", json_at(dispute, {"order_id"}), "order_id");
    reader->currency(json_at(dispute, {"currency"}), "currency");
    notice.cents = reader->magnitude(json_at(dispute, {"amount"}), "amount");
    const bool is_won = text_at(dispute, {"status"}) == "won";
    notice.occurred_at = reader->time(is_won ? first_of(dispute, {"finalized_on", "initiated_at"})
                                             : json_at(dispute, {"initiated_at"}),
                                      is_won ? "finalized_on" : "initiated_at");
    if (!is_won) {
        reader->add_refund(notice);
        return;
    }
    notice.kind = NoticeKind::reversal;
    notice.refund_id = key;
    notice.external_event_id = reader->key("shopify:dispute_won:", json_at(dispute, {"id"}), "id");
    reader->add_conversion(notice);
}

void read_shopify(Reader* reader) {
    const std::string_view topic = reader->delivery->topic;
    Json root = &reader->delivery->root;
    if (topic == "orders/paid") {
        read_shopify_order(reader, root, true);
    } else if (topic == "orders/create" || topic == "orders/updated" ||
               topic == "orders/cancelled") {
        read_shopify_order(reader, root, false);
    } else if (topic == "refunds/create") {
        reader->delivery->external_event_id =
            reader->key("shopify:refund:", json_at(root, {"id"}), "id");
        read_shopify_refund(reader, root,
                            reader->key("shopify:order:", json_at(root, {"order_id"}), "order_id"),
                            0);
    } else if (topic == "disputes/create" || topic == "disputes/update") {
        read_shopify_dispute(reader, root);
    } else {
        reader->fail("unknown_topic", nullptr, topic, "the topic is not known");
    }
}

// ---------------------------------------------------------------------------------------------
// Stripe

/// An id, or the object it was expanded to.
Json id_of(Json value) {
    return is_object(value) ? json_at(value, {"id"}) : value;
}

/// The decimals that Stripe counts a currency in, mostly those of ISO 4217.
int stripe_decimals(std::string_view currency, int decimals) {
    // docs.stripe.com/currencies: ariary in whole units, krona and shilling in hundredths.
    if (currency == "MGA")
        return 0;
    if (currency == "ISK" || currency == "UGX")
        return 2;
    return decimals;
}

core::Cents stripe_amount(Reader* reader, Json value, const char* field) {
    const int scale = stripe_decimals(reader->delivery->currency, reader->delivery->decimals);
    if (pg::is_string(value))
        reader->fail("invalid_amount", field, *json_text(value), "a whole number is expected");
    return reader->positive_amount(value, field, scale);
}

/// The payment intent, or the charge where there is none.
void set_stripe_payment(Reader* reader, Notice* notice, Json intent, Json charge) {
    notice->conversion_correlation_id = reader->optional_key(id_of(intent), "payment_intent");
    notice->conversion_correlation_id_2 = reader->optional_key(id_of(charge), "charge");
    if (notice->conversion_correlation_id.empty())
        notice->conversion_correlation_id = notice->conversion_correlation_id_2;
    if (notice->conversion_correlation_id.empty())
        reader->fail("missing_field", "payment_intent", {},
                     "neither a payment intent nor a charge is named");
    notice->correlation_id = notice->conversion_correlation_id;
    reader->delivery->correlation_id = notice->correlation_id;
}

void read_stripe_sale(Reader* reader, Json event, Json object, Json id, const char* id_field,
                      Json amount, const char* amount_field) {
    Notice notice{.kind = NoticeKind::conversion};
    notice.correlation_id = reader->key("", id, id_field);
    reader->delivery->correlation_id = notice.correlation_id;
    reader->currency(json_at(object, {"currency"}), "currency");
    notice.cents = stripe_amount(reader, amount, amount_field);
    notice.occurred_at = reader->unix_time(first_of(event, {"created"}), "created");
    Origin origin{};
    note_members(&origin, json_at(object, {"metadata"}));
    set_origin(&notice, origin);
    reader->add_conversion(notice);
}

void read_stripe_refund(Reader* reader, Json refund, Json intent, Json charge, Json created,
                        Datum payload) {
    Notice notice{.kind = NoticeKind::refund, .announced = Announced::by_id};
    notice.external_event_id = reader->key("stripe:refund:", json_at(refund, {"id"}), "refund id");
    set_stripe_payment(reader, &notice, intent, charge);
    reader->currency(json_at(refund, {"currency"}), "currency");
    notice.cents = stripe_amount(reader, json_at(refund, {"amount"}), "amount");
    notice.occurred_at = reader->unix_time(created, "created");
    notice.payload = payload;
    reader->add_refund(notice);
}

/// The charge says what is refunded of it in all.
void read_stripe_charge_refunded(Reader* reader, Json event, Json charge) {
    Json intent = json_at(charge, {"payment_intent"});
    Json id = json_at(charge, {"id"});
    Json refunds = reader->list(json_at(charge, {"refunds", "data"}), "refunds.data");
    if (json_count(refunds) > 0) {
        // Up to API 2022-08-01 the refunds are in it, each with its id.
        for (std::uint32_t i = 0; i < json_count(refunds) && !reader->failed(); ++i) {
            Json refund = json_element(refunds, i);
            Json status = json_at(refund, {"status"});
            if (status != nullptr && json_text(status) != "succeeded")
                continue;
            read_stripe_refund(reader, refund, intent, id, json_at(refund, {"created"}),
                               document_of(refund));
        }
        return;
    }
    Notice notice{.kind = NoticeKind::refund, .announced = Announced::by_sum};
    set_stripe_payment(reader, &notice, intent, id);
    reader->currency(json_at(charge, {"currency"}), "currency");
    notice.sum = stripe_amount(reader, json_at(charge, {"amount_refunded"}), "amount_refunded");
    Json before = json_at(event, {"data", "previous_attributes", "amount_refunded"});
    notice.sum_before_known = before != nullptr;
    notice.cents = notice.sum;
    if (before != nullptr) {
        const core::Cents sum_before =
            stripe_amount(reader, before, "previous_attributes.amount_refunded");
        if (sum_before > notice.sum)
            reader->fail("invalid_amount", "previous_attributes.amount_refunded",
                         *json_text(before), "less is refunded than before");
        notice.cents -= sum_before;
    }
    notice.external_event_id = joined(reader->key("stripe:refunded:", id, "charge"),
                                      psprintf(":" INT64_FORMAT, notice.sum));
    if (notice.external_event_id.size() > pg::max_text_bytes)
        reader->fail("invalid_field", "charge", notice.external_event_id, "the id is too long");
    notice.occurred_at = reader->unix_time(json_at(event, {"created"}), "created");
    reader->add_refund(notice);
}

void read_stripe_dispute(Reader* reader, Json event, Json dispute, bool is_over) {
    const std::string_view key = reader->key("stripe:dispute:", json_at(dispute, {"id"}), "id");
    reader->delivery->external_event_id = key;
    const std::string_view status = text_at(dispute, {"status"});
    // A warning is an inquiry: no money has moved.
    if (status.substr(0, 8) == "warning_")
        return;
    Notice notice{.kind = NoticeKind::refund};
    notice.external_event_id = key;
    set_stripe_payment(reader, &notice, json_at(dispute, {"payment_intent"}),
                       json_at(dispute, {"charge"}));
    reader->currency(json_at(dispute, {"currency"}), "currency");
    notice.cents = stripe_amount(reader, json_at(dispute, {"amount"}), "amount");
    notice.occurred_at = reader->unix_time(json_at(event, {"created"}), "created");
    if (!is_over || status == "lost") {
        reader->add_refund(notice);
    } else if (status == "won") {
        notice.kind = NoticeKind::reversal;
        notice.refund_id = key;
        notice.external_event_id =
            reader->key("stripe:dispute_won:", json_at(dispute, {"id"}), "id");
        reader->add_conversion(notice);
    }
}

void read_stripe(Reader* reader) {
    const std::string_view topic = reader->delivery->topic;
    Json event = &reader->delivery->root;
    Json object = json_at(event, {"data", "object"});
    constexpr std::array<std::string_view, 15> known = {"payment_intent.succeeded",
                                                        "charge.succeeded",
                                                        "charge.captured",
                                                        "checkout.session.completed",
                                                        "invoice.paid",
                                                        "checkout.session.async_payment_succeeded",
                                                        "charge.refunded",
                                                        "refund.created",
                                                        "refund.updated",
                                                        "refund.failed",
                                                        "charge.refund.updated",
                                                        "charge.dispute.created",
                                                        "charge.dispute.closed",
                                                        "charge.dispute.funds_withdrawn",
                                                        "charge.dispute.funds_reinstated"};
    if (!is_one_of(topic, known)) {
        reader->fail("unknown_topic", nullptr, topic, "the topic is not known");
        return;
    }
    if (!is_object(object)) {
        reader->fail("missing_field", "data.object", {}, "the event has no object");
        return;
    }
    const auto at = [&](std::string_view name) { return json_at(object, {name}); };
    if (topic == "payment_intent.succeeded") {
        read_stripe_sale(reader, event, object, at("id"), "id",
                         first_of(object, {"amount_received", "amount"}), "amount_received");
    } else if (topic == "charge.succeeded" || topic == "charge.captured") {
        if (json_bool(at("captured")) == false) // authorized, not taken yet
            return;
        Json intent = id_of(at("payment_intent"));
        read_stripe_sale(reader, event, object, intent != nullptr ? intent : at("id"),
                         "payment_intent", first_of(object, {"amount_captured", "amount"}),
                         "amount_captured");
    } else if (topic == "checkout.session.completed" ||
               topic == "checkout.session.async_payment_succeeded") {
        if (const std::string_view status = text_at(object, {"payment_status"});
            !status.empty() && status != "paid")
            return;
        // Without a payment of its own, that of its first invoice announces it.
        if (at("payment_intent") == nullptr && !text_at(object, {"mode"}).empty() &&
            text_at(object, {"mode"}) != "payment")
            return;
        read_stripe_sale(reader, event, object, id_of(at("payment_intent")), "payment_intent",
                         at("amount_total"), "amount_total");
    } else if (topic == "invoice.paid") {
        // Newer versions of the API name no payment here: its payment intent announces it.
        if (at("payment_intent") != nullptr)
            read_stripe_sale(reader, event, object, id_of(at("payment_intent")), "payment_intent",
                             at("amount_paid"), "amount_paid");
    } else if (topic == "charge.refunded") {
        if (json_bool(at("captured")) == false) // an authorization is given up, nothing was taken
            return;
        read_stripe_charge_refunded(reader, event, object);
    } else if (topic.find("refund") != std::string_view::npos) {
        const std::string_view status = text_at(object, {"status"});
        Json created =
            topic == "refund.created" ? first_of(object, {"created"}) : json_at(event, {"created"});
        reader->delivery->external_event_id = reader->key("stripe:refund:", at("id"), "id");
        if (status.empty() || status == "succeeded") {
            read_stripe_refund(reader, object, at("payment_intent"), at("charge"), created, 0);
        } else if (status == "failed" || status == "canceled") {
            // Where it was taken in before, the money is back.
            Notice notice{.kind = NoticeKind::reversal, .announced = Announced::by_id};
            notice.external_event_id = reader->key("stripe:refund_failed:", at("id"), "id");
            notice.refund_id = reader->delivery->external_event_id;
            notice.is_sure = false;
            set_stripe_payment(reader, &notice, at("payment_intent"), at("charge"));
            reader->currency(at("currency"), "currency");
            notice.cents = stripe_amount(reader, at("amount"), "amount");
            notice.occurred_at = reader->unix_time(json_at(event, {"created"}), "created");
            reader->add_conversion(notice);
        }
    } else {
        read_stripe_dispute(reader, event, object,
                            topic == "charge.dispute.closed" ||
                                topic == "charge.dispute.funds_reinstated");
    }
}

// ---------------------------------------------------------------------------------------------
// PayPal

core::Cents paypal_money(Reader* reader, Json resource, bool is_refund) {
    Json amount = json_at(resource, {"amount"});
    // Version 1 says total and currency.
    reader->currency(first_of(amount, {"currency_code", "currency"}), "amount.currency_code");
    Json value = first_of(amount, {"value", "total"});
    return is_refund ? reader->magnitude(value, "amount.value")
                     : reader->positive_amount(value, "amount.value");
}

bool is_settled(Json resource) {
    constexpr std::array<std::string_view, 6> open = {"PENDING", "DECLINED",  "FAILED",
                                                      "DENIED",  "CANCELLED", "VOIDED"};
    Json state = first_of(resource, {"status", "state"});
    const std::string_view text = pg::is_string(state) ? *json_text(state) : std::string_view();
    return std::none_of(open.begin(), open.end(), [&](std::string_view word) {
        return text.size() == word.size() &&
               std::equal(text.begin(), text.end(), word.begin(),
                          [](char a, char b) { return pg_ascii_toupper(a) == b; });
    });
}

/// What a refund is of: named in it, or at the end of the link "up".
std::string_view paypal_parent(Reader* reader, Json resource) {
    if (Json id = first_of(resource, {"capture_id", "sale_id"}); id != nullptr)
        return reader->key("paypal:capture:", id, "capture_id");
    Json links = json_at(resource, {"links"});
    for (std::uint32_t i = 0; i < json_count(links); ++i) {
        Json link = json_element(links, i);
        std::string_view href = text_at(link, {"href"});
        if (text_at(link, {"rel"}) != "up")
            continue;
        href = href.substr(0, href.find_first_of("?#"));
        const std::string_view id = href.substr(href.rfind('/') + 1);
        constexpr std::string_view prefix = "paypal:capture:";
        if (!id.empty() && prefix.size() + id.size() <= pg::max_text_bytes)
            return joined(prefix, id);
    }
    reader->fail("missing_field", "links", {}, "the refund names no capture");
    return {};
}

void read_paypal_dispute(Reader* reader, Json dispute) {
    const std::string_view outcome = text_at(dispute, {"dispute_outcome", "outcome_code"});
    reader->delivery->external_event_id =
        reader->key("paypal:dispute_won:", json_at(dispute, {"dispute_id"}), "dispute_id");
    if (outcome != "RESOLVED_SELLER_FAVOUR" && outcome != "CANCELED_BY_BUYER")
        return;
    Json transactions = json_at(dispute, {"disputed_transactions"});
    Json first = json_count(transactions) > 0 ? json_element(transactions, 0) : nullptr;
    Notice notice{.kind = NoticeKind::reversal};
    notice.external_event_id = reader->delivery->external_event_id;
    notice.conversion_id = reader->key("paypal:capture:", json_at(first, {"seller_transaction_id"}),
                                       "seller_transaction_id");
    notice.refund_id = "paypal:reversal:";
    notice.is_sure = false; // most disputes only hold the money
    Json amount = json_at(dispute, {"dispute_amount"});
    reader->currency(json_at(amount, {"currency_code"}), "dispute_amount.currency_code");
    notice.cents = reader->positive_amount(json_at(amount, {"value"}), "dispute_amount.value");
    notice.occurred_at =
        reader->time(first_of(dispute, {"update_time", "create_time"}), "update_time");
    reader->add_conversion(notice);
}

void read_paypal(Reader* reader) {
    const std::string_view topic = reader->delivery->topic;
    Json resource = json_at(&reader->delivery->root, {"resource"});
    const bool is_sale = topic == "PAYMENT.CAPTURE.COMPLETED" || topic == "PAYMENT.SALE.COMPLETED";
    const bool is_reversal =
        topic == "PAYMENT.CAPTURE.REVERSED" || topic == "PAYMENT.SALE.REVERSED";
    const bool is_refund = topic == "PAYMENT.CAPTURE.REFUNDED" || topic == "PAYMENT.SALE.REFUNDED";
    if (topic == "CUSTOMER.DISPUTE.CREATED" || topic == "CUSTOMER.DISPUTE.UPDATED")
        return; // money moves by a reversal
    if (!is_sale && !is_reversal && !is_refund && topic != "CUSTOMER.DISPUTE.RESOLVED") {
        reader->fail("unknown_topic", nullptr, topic, "the topic is not known");
        return;
    }
    if (!is_object(resource)) {
        reader->fail("missing_field", "resource", {}, "the event has no resource");
        return;
    }
    if (topic == "CUSTOMER.DISPUTE.RESOLVED") {
        read_paypal_dispute(reader, resource);
        return;
    }
    Notice notice{.kind = is_sale ? NoticeKind::conversion : NoticeKind::refund};
    notice.external_event_id = reader->key(is_sale       ? "paypal:capture:"
                                           : is_reversal ? "paypal:reversal:"
                                                         : "paypal:refund:",
                                           json_at(resource, {"id"}), "resource.id");
    reader->delivery->external_event_id = notice.external_event_id;
    if (!is_settled(resource))
        return;
    notice.cents = paypal_money(reader, resource, !is_sale);
    notice.occurred_at = reader->time(json_at(resource, {"create_time"}), "resource.create_time");
    if (!is_sale) {
        notice.conversion_id = paypal_parent(reader, resource);
        reader->add_refund(notice);
        return;
    }
    Json related = json_at(resource, {"supplementary_data", "related_ids", "order_id"});
    notice.correlation_id = reader->optional_key(
        related != nullptr ? related : json_at(resource, {"parent_payment"}), "order_id");
    reader->delivery->correlation_id = notice.correlation_id;
    Origin origin{};
    Json custom = first_of(resource, {"custom_id", "custom"});
    if (pg::is_string(custom)) {
        note_query(&origin, *json_text(custom), "channel", &Origin::channel);
        note_query(&origin, *json_text(custom), "utm_source", &Origin::utm_source);
        note_query(&origin, *json_text(custom), "session_id", &Origin::session);
    }
    set_origin(&notice, origin);
    reader->add_conversion(notice);
}

// ---------------------------------------------------------------------------------------------
// WooCommerce

void read_woocommerce(Reader* reader) {
    const std::string_view topic = reader->delivery->topic;
    Json order = &reader->delivery->root;
    constexpr std::array<std::string_view, 5> known = {
        "order.created", "order.updated", "order.restored", "order.completed", "order.refunded"};
    if (topic == "order.deleted")
        return;
    if (!is_one_of(topic, known)) {
        reader->fail("unknown_topic", nullptr, topic, "the topic is not known");
        return;
    }
    Notice notice{.kind = NoticeKind::conversion};
    notice.external_event_id = reader->key("woocommerce:order:", json_at(order, {"id"}), "id");
    reader->delivery->external_event_id = notice.external_event_id;

    // Paid by its status; cancelled, by when it was paid before that. Cash on delivery is
    // processing before anybody paid: then the field is there and null.
    const std::string_view status = text_at(order, {"status"});
    if (status.empty())
        reader->fail("missing_field", "status", {}, "a field is missing");
    Json paid_at = first_of(order, {"date_paid_gmt"});
    const bool names_payment = order->type == jbvBinary &&
                               getKeyJsonValueFromContainer(order->val.binary.data, "date_paid_gmt",
                                                            13, nullptr) != nullptr;
    const bool is_paid = status == "completed" || status == "refunded" ||
                         (status == "processing" && (paid_at != nullptr || !names_payment)) ||
                         (status == "cancelled" && paid_at != nullptr);
    if (!is_paid)
        return;
    notice.correlation_id = reader->optional_key(json_at(order, {"order_key"}), "order_key");
    reader->delivery->correlation_id = notice.correlation_id;
    reader->currency(json_at(order, {"currency"}), "currency");
    notice.cents = reader->positive_amount(json_at(order, {"total"}), "total");
    notice.occurred_at =
        reader->time(first_of(order, {"date_paid_gmt", "date_completed_gmt", "date_created_gmt"}),
                     "date_paid_gmt", true);
    Origin origin{};
    note_pairs(&origin, json_at(order, {"meta_data"}), "key");
    set_origin(&notice, origin);
    reader->add_conversion(notice);

    Json refunds = reader->list(json_at(order, {"refunds"}), "refunds");
    for (std::uint32_t i = 0; i < json_count(refunds) && !reader->failed(); ++i) {
        Json element = json_element(refunds, i);
        Notice refund{.kind = NoticeKind::refund};
        refund.external_event_id =
            reader->key("woocommerce:refund:", json_at(element, {"id"}), "refunds.id");
        refund.conversion_id = notice.external_event_id;
        refund.cents = reader->magnitude(json_at(element, {"total"}), "refunds.total");
        refund.occurred_at = reader->time(
            first_of(order, {"date_modified_gmt", "date_completed_gmt", "date_paid_gmt"}),
            "date_modified_gmt", true);
        refund.payload = document_of(element);
        reader->add_refund(refund);
    }
}

std::string_view header(const JsonbValue* headers, std::string_view name) {
    if (!is_object(headers))
        return {};
    JsonbIterator* it = JsonbIteratorInit(headers->val.binary.data);
    JsonbValue value;
    bool found = false;
    for (JsonbIteratorToken token; (token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE;) {
        if (token == WJB_KEY)
            found = static_cast<std::size_t>(value.val.string.len) == name.size() &&
                    pg_strncasecmp(value.val.string.val, name.data(), name.size()) == 0;
        else if (token == WJB_VALUE && found && value.type == jbvString)
            return {value.val.string.val, static_cast<std::size_t>(value.val.string.len)};
    }
    return {};
}

} // namespace

std::string_view topic_of(std::string_view source, const JsonbValue& payload,
                          const JsonbValue* headers) {
    if (source == "shopify")
        return header(headers, "X-Shopify-Topic");
    if (source == "woocommerce")
        return header(headers, "X-WC-Webhook-Topic");
    return text_at(&payload, {source == "stripe" ? "type" : "event_type"});
}

void read_delivery(Delivery* delivery) {
    Reader reader{delivery};
    if (!is_object(&delivery->root)) {
        reader.fail("invalid_payload", nullptr, {}, "the payload is no object");
        return;
    }
    if (delivery->source == "shopify")
        read_shopify(&reader);
    else if (delivery->source == "stripe")
        read_stripe(&reader);
    else if (delivery->source == "paypal")
        read_paypal(&reader);
    else if (delivery->source == "woocommerce")
        read_woocommerce(&reader);
    else
        reader.fail("unknown_source", nullptr, delivery->source, "the source is not known");
}

} // namespace attribution::entry
