#include "core/webhook/text.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "core/ascii.hpp"

namespace attribution::core {
namespace {

/// Reads exactly `count` digits and takes them off the front.
std::optional<int> take_number(std::string_view& text, std::size_t count) {
    if (text.size() < count)
        return std::nullopt;
    int number = 0;
    for (const char c : text.substr(0, count)) {
        if (!is_ascii_digit(c))
            return std::nullopt;
        number = number * 10 + (c - '0');
    }
    text.remove_prefix(count);
    return number;
}

bool take(std::string_view& text, char c) {
    if (text.empty() || text.front() != c)
        return false;
    text.remove_prefix(1);
    return true;
}

std::optional<int> hex_digit(char c) {
    if (is_ascii_digit(c))
        return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? std::optional(lower - 'a' + 10) : std::nullopt;
}

/// The offset at the end of a time, in minutes; the whole of `text` must be it.
std::optional<int> parse_offset(std::string_view text, bool assume_utc) {
    if (text.empty())
        return assume_utc ? std::optional(0) : std::nullopt;
    if (text == "Z" || text == "z")
        return 0;
    const bool west = text.front() == '-';
    if (!west && text.front() != '+')
        return std::nullopt;
    text.remove_prefix(1);
    const std::optional<int> hours = take_number(text, 2);
    take(text, ':');
    const std::optional<int> minutes = take_number(text, 2);
    if (!hours || !minutes || !text.empty() || *hours > 23 || *minutes > 59)
        return std::nullopt;
    const int offset = *hours * 60 + *minutes;
    return west ? -offset : offset;
}

/// How many bytes follow the first one of a character, and what the first of those must be within:
/// the shortest form only, no surrogates, nothing past U+10FFFF.
struct Utf8Form {
    std::size_t following = 0;
    unsigned char least = 0x80, most = 0xBF;
};

std::optional<Utf8Form> utf8_form(unsigned char first) {
    if (first >= 0x01 && first < 0x80)
        return Utf8Form{};
    if (first >= 0xC2 && first <= 0xDF)
        return Utf8Form{.following = 1};
    if (first >= 0xE0 && first <= 0xEF)
        return Utf8Form{.following = 2,
                        .least = static_cast<unsigned char>(first == 0xE0 ? 0xA0 : 0x80),
                        .most = static_cast<unsigned char>(first == 0xED ? 0x9F : 0xBF)};
    if (first >= 0xF0 && first <= 0xF4)
        return Utf8Form{.following = 3,
                        .least = static_cast<unsigned char>(first == 0xF0 ? 0x90 : 0x80),
                        .most = static_cast<unsigned char>(first == 0xF4 ? 0x8F : 0xBF)};
    return std::nullopt;
}

} // namespace

Amount parse_amount(std::string_view text, int decimals, int scale) noexcept {
    const bool negative = take(text, '-');
    std::uint64_t magnitude = 0;
    bool overflow = false;
    std::size_t whole_digits = 0;
    int exponent = decimals - scale; // of the next digit after the point: 10^(exponent - 1)
    bool after_point = false, below_unit = false;

    const auto append = [&](unsigned digit) {
        overflow = overflow || __builtin_mul_overflow(magnitude, 10U, &magnitude) ||
                   __builtin_add_overflow(magnitude, digit, &magnitude);
    };
    // With exponent < 0 the last digits before the point are below the minor unit already.
    const std::size_t point = std::min(text.find('.'), text.size());
    const std::size_t used = exponent >= 0 ? point
                             : point > static_cast<std::size_t>(-exponent)
                                 ? point + static_cast<std::size_t>(exponent)
                                 : 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '.' && !after_point && whole_digits > 0 && i + 1 < text.size()) {
            after_point = true;
            continue;
        }
        if (!is_ascii_digit(text[i]))
            return {.fault = AmountFault::malformed};
        const auto digit = static_cast<unsigned>(text[i] - '0');
        if (!after_point) {
            ++whole_digits;
            if (i < used)
                append(digit);
            else
                below_unit = below_unit || digit != 0;
        } else if (exponent > 0) {
            append(digit);
            --exponent;
        } else {
            below_unit = below_unit || digit != 0;
        }
    }
    if (whole_digits == 0)
        return {.fault = AmountFault::malformed};
    if (below_unit)
        return {.fault = AmountFault::too_many_decimals};
    for (; exponent > 0; --exponent)
        append(0);
    const std::uint64_t furthest = static_cast<std::uint64_t>(INT64_MAX) + (negative ? 1 : 0);
    if (overflow || magnitude > furthest)
        return {.fault = AmountFault::out_of_range};
    return {.cents = static_cast<Cents>(negative ? 0 - magnitude : magnitude)};
}

std::optional<std::int64_t> parse_time(std::string_view text, bool assume_utc) noexcept {
    const std::optional<int> year = take_number(text, 4);
    if (!take(text, '-'))
        return std::nullopt;
    const std::optional<int> month = take_number(text, 2);
    if (!take(text, '-'))
        return std::nullopt;
    const std::optional<int> day = take_number(text, 2);
    if (!take(text, 'T') && !take(text, 't') && !take(text, ' '))
        return std::nullopt;
    const std::optional<int> hour = take_number(text, 2);
    if (!take(text, ':'))
        return std::nullopt;
    const std::optional<int> minute = take_number(text, 2);
    if (!take(text, ':'))
        return std::nullopt;
    const std::optional<int> second = take_number(text, 2);
    if (!year || !month || !day || !hour || !minute || !second || *hour > 23 || *minute > 59 ||
        *second > 60)
        return std::nullopt;

    std::int64_t microseconds = 0;
    if (take(text, '.')) {
        std::int64_t unit = 100'000;
        std::size_t digits = 0;
        for (; digits < text.size() && is_ascii_digit(text[digits]); ++digits, unit /= 10)
            microseconds += unit * (text[digits] - '0');
        if (digits == 0)
            return std::nullopt;
        text.remove_prefix(digits);
    }
    const std::optional<int> offset = parse_offset(text, assume_utc);
    const std::chrono::year_month_day date{std::chrono::year(*year),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!offset || !date.ok())
        return std::nullopt;
    const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    const std::int64_t seconds = ((days * 24 + *hour) * 60 + *minute - *offset) * 60 + *second;
    if (seconds < 0)
        return std::nullopt;
    return seconds * 1'000'000 + microseconds;
}

std::optional<std::string_view> query_parameter(std::string_view url, std::string_view name,
                                                std::span<char> buffer) noexcept {
    url = url.substr(0, url.find('#'));
    const std::size_t question = url.find('?');
    if (question != std::string_view::npos)
        url.remove_prefix(question + 1);
    while (!url.empty()) {
        const std::string_view pair = url.substr(0, url.find('&'));
        url.remove_prefix(std::min(pair.size() + 1, url.size()));
        const std::size_t equals = pair.find('=');
        if (equals == std::string_view::npos || pair.substr(0, equals) != name)
            continue;
        std::size_t length = 0;
        for (std::size_t i = equals + 1; i < pair.size(); ++i) {
            if (length == buffer.size())
                return std::nullopt;
            char c = pair[i];
            if (c == '+') {
                c = ' ';
            } else if (c == '%' && i + 2 < pair.size()) {
                const std::optional<int> high = hex_digit(pair[i + 1]);
                const std::optional<int> low = hex_digit(pair[i + 2]);
                if (high && low) {
                    c = static_cast<char>(*high * 16 + *low);
                    i += 2;
                }
            }
            buffer[length++] = c;
        }
        if (length == 0)
            return std::nullopt;
        return std::string_view(buffer.data(), length);
    }
    return std::nullopt;
}

bool is_utf8(std::string_view text) noexcept {
    for (std::size_t at = 0; at < text.size();) {
        const std::optional<Utf8Form> form = utf8_form(static_cast<unsigned char>(text[at++]));
        if (!form || text.size() - at < form->following)
            return false;
        for (std::size_t i = 0; i < form->following; ++i, ++at) {
            const auto byte = static_cast<unsigned char>(text[at]);
            if (byte < (i == 0 ? form->least : 0x80) || byte > (i == 0 ? form->most : 0xBF))
                return false;
        }
    }
    return true;
}

} // namespace attribution::core
