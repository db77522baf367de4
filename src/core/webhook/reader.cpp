#include "core/webhook/reader.hpp"

#include <limits>
#include <optional>

#include "core/ascii.hpp"
#include "core/webhook/text.hpp"

namespace attribution::core {

void DeliveryReader::fail(std::string_view code, std::string_view field, std::string_view value,
                          std::string_view message) noexcept {
    if (!failed())
        reading_.problem = {.code = code, .message = message, .field = field, .value = value};
}

void DeliveryReader::fail_with_unknown_topic() noexcept {
    fail("unknown_topic", {}, topic(), "the topic is not known");
}

std::string_view DeliveryReader::text(Json value, std::string_view field) noexcept {
    if (!value.exists()) {
        fail("missing_field", field, {}, "a field is missing");
        return {};
    }
    if (!value.is_string()) {
        fail("invalid_field", field, value.text().value_or(""), "a string is expected");
        return {};
    }
    const std::string_view text = value.string();
    if (text.empty())
        fail("missing_field", field, {}, "a field is empty");
    return text;
}

Json DeliveryReader::list(Json value, std::string_view field) noexcept {
    if (!value.exists())
        return {};
    bool is_good = value.is_array();
    if (is_good)
        for (const Json element : value)
            is_good = is_good && element.is_object();
    if (!is_good)
        fail("invalid_field", field, value.text().value_or(""), "a list of objects is expected");
    return value;
}

std::string_view DeliveryReader::key(std::string_view prefix, Json value, std::string_view field) {
    if (!value.exists()) {
        fail("missing_field", field, {}, "an id is missing");
        return {};
    }
    const std::optional<std::string_view> id = value.text();
    if (!id || id->empty() ||
        (value.is_number() && id->find_first_not_of("0123456789") != std::string_view::npos)) {
        fail("invalid_field", field, id.value_or(""),
             "an id is expected, a string or a whole number");
        return {};
    }
    if (prefix.size() + id->size() > longest_notice_text) {
        fail("invalid_field", field, *id, "the id is too long");
        return {};
    }
    return arena_->join({prefix, *id});
}

std::string_view DeliveryReader::optional_key(Json value, std::string_view field) {
    return value.exists() ? key("", value, field) : std::string_view();
}

Cents DeliveryReader::amount(Json value, std::string_view field, int scale) noexcept {
    if (!value.exists()) {
        fail("missing_field", field, {}, "an amount is missing");
        return 0;
    }
    const std::optional<std::string_view> text = value.text();
    if (!text) {
        fail("invalid_amount", field, {}, "an amount is expected, a string or a number");
        return 0;
    }
    const Amount amount = parse_amount(*text, decimals(), scale);
    switch (amount.fault) {
    case AmountFault::none:
        break;
    case AmountFault::malformed:
        fail("invalid_amount", field, *text, "the amount is no decimal number");
        break;
    case AmountFault::too_many_decimals:
        fail("invalid_amount", field, *text, "the amount has more decimals than its currency");
        break;
    case AmountFault::out_of_range:
        fail("invalid_amount", field, *text, "the amount is out of range");
        break;
    }
    return amount.cents;
}

Cents DeliveryReader::positive_amount(Json value, std::string_view field, int scale) noexcept {
    const Cents cents = amount(value, field, scale);
    if (cents < 0)
        fail("invalid_amount", field, value.text().value_or(""), "the amount is negative");
    return cents;
}

Cents DeliveryReader::magnitude(Json value, std::string_view field) noexcept {
    const Cents cents = amount(value, field);
    if (cents == std::numeric_limits<Cents>::min()) {
        fail("invalid_amount", field, value.text().value_or(""), "the amount is out of range");
        return 0;
    }
    return cents < 0 ? -cents : cents;
}

void DeliveryReader::check_currency(Json value, std::string_view field) noexcept {
    const std::string_view given = text(value, field);
    if (!failed() && !equal_ignoring_case(given, currency()))
        fail("currency_mismatch", field, given, "the currency is not the tenant's");
}

std::int64_t DeliveryReader::time(Json value, std::string_view field, bool assume_utc) noexcept {
    const std::string_view given = text(value, field);
    if (failed())
        return 0;
    const std::optional<std::int64_t> unix_us = parse_time(given, assume_utc);
    if (!unix_us)
        fail("invalid_field", field, given, "a time is expected, with its offset");
    return unix_us.value_or(0);
}

std::int64_t DeliveryReader::unix_time(Json value, std::string_view field) noexcept {
    if (!value.exists()) {
        fail("missing_field", field, {}, "a time is missing");
        return 0;
    }
    constexpr std::int64_t year_10000 = 253402300800;
    const std::string_view given = value.text().value_or("");
    const Amount seconds = parse_amount(given, 0);
    if (seconds.fault != AmountFault::none || seconds.cents < 0 || seconds.cents >= year_10000) {
        fail("invalid_field", field, given, "seconds since 1970 are expected");
        return 0;
    }
    return seconds.cents * 1'000'000;
}

void DeliveryReader::add(const Notice& notice) {
    if (notice.cents <= 0)
        return;
    if (notices_.size() == most_notices)
        fail("invalid_payload", {}, {}, "more than 1000 things are announced at once");
    if (!failed())
        notices_.push_back(notice);
}

Reading DeliveryReader::finish() {
    if (!failed())
        reading_.notices = arena_->copy<Notice>(notices_);
    return reading_;
}

} // namespace attribution::core
