// Proves what core/webhook/text.hpp promises: amounts against an oracle of wide integers, times
// against the calendar of <chrono>, the rest by hand.
#include "core/webhook/text.hpp"

#include <array>
#include <chrono>
#include <limits>
#include <string>

#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "../random.hpp"

namespace attribution::core {
namespace {

using boost::multiprecision::cpp_int;

void expect_cents(Cents cents, const std::string& text, int decimals, int scale = 0) {
    const Amount amount = parse_amount(text, decimals, scale);
    EXPECT_EQ(amount.fault, AmountFault::none) << text << ' ' << decimals << ' ' << scale;
    EXPECT_EQ(amount.cents, cents) << text << ' ' << decimals << ' ' << scale;
}

void expect_fault(AmountFault fault, const std::string& text, int decimals, int scale = 0) {
    EXPECT_EQ(parse_amount(text, decimals, scale).fault, fault)
        << text << ' ' << decimals << ' ' << scale;
}

TEST(ParseAmount, ReadsDecimalsExactly) {
    expect_cents(40495, "404.95", 2);
    expect_cents(40490, "404.9", 2);
    expect_cents(40400, "404", 2);
    expect_cents(-1000, "-10.00", 2);
    expect_cents(0, "0", 2);
    expect_cents(0, "-0.00", 2);
    expect_cents(7, "0.07", 2);
    expect_cents(7, "000.07", 2);
    expect_cents(1000, "1000", 0);
    expect_cents(12345, "12.345", 3);
    expect_cents(12340, "12.34", 3);
    expect_cents(123456, "12.3456", 4);
    // The cent that a double loses: 0.29 * 100 is 28.999999999999996.
    expect_cents(29, "0.29", 2);
    expect_cents(int64_t{9007199254740993}, "90071992547409.93", 2);
}

TEST(ParseAmount, TakesZerosBelowTheMinorUnit) {
    expect_cents(1000, "1000.00", 0);
    expect_cents(1050, "10.5000", 2);
    expect_fault(AmountFault::too_many_decimals, "10.005", 2);
    expect_fault(AmountFault::too_many_decimals, "10.5", 0);
    expect_fault(AmountFault::too_many_decimals, "0.0000000000000000000000000001", 4);
}

TEST(ParseAmount, ReadsWhatStripeCounts) {
    expect_cents(1099, "1099", 2, 2);
    expect_cents(1099, "1099", 0, 0); // yen
    expect_cents(5, "500", 0, 2);     // krona: in hundredths, and stored whole
    expect_fault(AmountFault::too_many_decimals, "550", 0, 2);
    expect_fault(AmountFault::too_many_decimals, "5", 0, 2);
    expect_cents(0, "0", 0, 2);
    expect_cents(50000, "500", 2, 0); // ariary: whole, and stored in hundredths
    expect_cents(1230, "1230", 3, 3);
    expect_fault(AmountFault::too_many_decimals, "10.5", 2, 2);
    expect_cents(10, "10.0", 2, 2);
}

TEST(ParseAmount, RefusesWhatIsNoDecimal) {
    for (const char* text : {"", "-", "+1", "1.", ".5", ".", "1,50", "1.5.0", "1e3", "0x10", " 1",
                             "1 ", "--1", "NaN", "Infinity", "１", "1_000"})
        expect_fault(AmountFault::malformed, text, 2);
    expect_fault(AmountFault::malformed, std::string("1\0", 2), 2);
}

TEST(ParseAmount, KnowsItsRange) {
    expect_cents(std::numeric_limits<Cents>::max(), "92233720368547758.07", 2);
    expect_cents(-std::numeric_limits<Cents>::max(), "-92233720368547758.07", 2);
    expect_cents(std::numeric_limits<Cents>::min(), "-92233720368547758.08", 2);
    expect_fault(AmountFault::out_of_range, "-92233720368547758.09", 2);
    expect_fault(AmountFault::out_of_range, "92233720368547758.08", 2);
    expect_fault(AmountFault::out_of_range, "9223372036854775807", 1);
    expect_fault(AmountFault::out_of_range, std::string(100000, '9'), 2);
    expect_cents(1, std::string(100000, '0') + "1", 0);
}

TEST(ParseAmount, AgreesWithWideIntegers) {
    Random random(20261126);
    for (int round = 0; round < 200000; ++round) {
        const int decimals = static_cast<int>(random.below(5));
        const int scale = static_cast<int>(random.below(4));
        const std::size_t whole = 1 + random.below(round % 2 == 0 ? 4 : 19);
        const std::size_t fraction = random.below(7);
        std::string text, digits;
        for (std::size_t i = 0; i < whole + fraction; ++i) {
            if (i == whole)
                text += '.';
            // Many zeros, so that cutting off is often allowed.
            const char digit =
                static_cast<char>('0' + (random.below(2) == 0 ? 0 : random.below(10)));
            text += digit;
            digits += digit;
        }
        const bool negative = random.below(2) == 0;
        // digits * 10^(decimals - scale - fraction)
        cpp_int value = 0;
        for (const char digit : digits)
            value = value * 10 + (digit - '0');
        AmountFault fault = AmountFault::none;
        for (int e = decimals - scale - static_cast<int>(fraction); e != 0;) {
            if (e > 0) {
                value *= 10;
                --e;
            } else {
                if (value % 10 != 0)
                    fault = AmountFault::too_many_decimals;
                value /= 10;
                ++e;
            }
        }
        if (fault == AmountFault::none &&
            value > cpp_int(std::numeric_limits<Cents>::max()) + (negative ? 1 : 0))
            fault = AmountFault::out_of_range;
        const Amount amount = parse_amount((negative ? "-" : "") + text, decimals, scale);
        ASSERT_EQ(amount.fault, fault) << text << ' ' << decimals << ' ' << scale;
        if (fault == AmountFault::none) {
            ASSERT_EQ(cpp_int(amount.cents), negative ? cpp_int(-value) : value)
                << text << ' ' << decimals << ' ' << scale;
        }
    }
}

TEST(ParseTime, ReadsRfc3339) {
    EXPECT_EQ(parse_time("1970-01-01T00:00:00Z", false), 0);
    EXPECT_EQ(parse_time("2021-12-31T19:00:00-05:00", false), int64_t{1640995200000000});
    EXPECT_EQ(parse_time("2021-12-31T19:00:00-0500", false), int64_t{1640995200000000});
    EXPECT_EQ(parse_time("2022-01-01 00:00:00z", false), int64_t{1640995200000000});
    EXPECT_EQ(parse_time("2022-01-01T05:30:00+05:30", false), int64_t{1640995200000000});
    EXPECT_EQ(parse_time("2017-03-22T19:28:08", true), int64_t{1490210888000000});
    EXPECT_EQ(parse_time("2017-03-22T19:28:08", false), std::nullopt);
    EXPECT_EQ(parse_time("2017-03-22T19:28:08.1234567Z", false), int64_t{1490210888123456});
    EXPECT_EQ(parse_time("2016-12-31T23:59:60Z", false), parse_time("2017-01-01T00:00:00Z", false));
    EXPECT_EQ(parse_time("2024-02-29T00:00:00Z", false), int64_t{1709164800000000});
    EXPECT_EQ(parse_time("9999-12-31T23:59:59Z", false), int64_t{253402300799000000});
}

TEST(ParseTime, RefusesTheRest) {
    for (const char* text : {"",
                             "2023-02-29T00:00:00Z",
                             "2021-13-01T00:00:00Z",
                             "2021-00-01T00:00:00Z",
                             "2021-01-01T24:00:00Z",
                             "2021-01-01T00:60:00Z",
                             "2021-01-01T00:00:61Z",
                             "2021-01-01T00:00:00",
                             "2021-01-01T00:00:00 Z",
                             "2021-01-01T00:00:00+24:00",
                             "2021-01-01T00:00:00+05:3",
                             "2021-01-01",
                             "2021-01-01T00:00Z",
                             "1969-12-31T23:59:59Z",
                             "1970-01-01T00:00:00+00:01",
                             "01/02/2021",
                             "infinity",
                             "now",
                             "20210101T000000Z",
                             "2021-01-01T00:00:00.Z",
                             "-021-01-01T00:00:00Z",
                             "12021-01-01T00:00:00Z"})
        EXPECT_EQ(parse_time(text, false), std::nullopt) << text;
}

TEST(ParseTime, AgreesWithTheCalendar) {
    Random random(7);
    for (int round = 0; round < 100000; ++round) {
        const auto seconds = static_cast<std::int64_t>(random.below(253402300800U));
        const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
        const auto day = std::chrono::floor<std::chrono::days>(time);
        const std::chrono::year_month_day date(day);
        const std::chrono::hh_mm_ss clock(time - day);
        std::array<char, 64> text{};
        (void)snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ",
                       static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                       static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                       static_cast<int>(clock.minutes().count()),
                       static_cast<int>(clock.seconds().count()));
        ASSERT_EQ(parse_time(text.data(), false), seconds * 1'000'000) << text.data();
    }
}

TEST(QueryParameter, FindsAndDecodes) {
    std::array<char, 16> buffer{};
    const auto find = [&](std::string_view url, std::string_view name) {
        const auto value = query_parameter(url, name, buffer);
        return value ? std::string(*value) : std::string("(none)");
    };
    EXPECT_EQ(find("https://x.example/p?utm_source=google&utm_medium=cpc", "utm_source"), "google");
    EXPECT_EQ(find("/p?a=1&utm_source=two+words%21#utm_source=no", "utm_source"), "two words!");
    EXPECT_EQ(find("utm_source=bare", "utm_source"), "bare");
    EXPECT_EQ(find("/p?utm_source=first&utm_source=second", "utm_source"), "first");
    EXPECT_EQ(find("/p?xutm_source=no", "utm_source"), "(none)");
    EXPECT_EQ(find("/p?utm_source=", "utm_source"), "(none)");
    EXPECT_EQ(find("/p?utm_source", "utm_source"), "(none)");
    EXPECT_EQ(find("/p#?utm_source=no", "utm_source"), "(none)");
    EXPECT_EQ(find("/p?utm_source=%zz%4", "utm_source"), "%zz%4");
    EXPECT_EQ(find("/p?utm_source=0123456789abcdef", "utm_source"), "0123456789abcdef");
    EXPECT_EQ(find("/p?utm_source=0123456789abcdefg", "utm_source"), "(none)");
    EXPECT_EQ(find("", "utm_source"), "(none)");
}

TEST(IsUtf8, AcceptsTheShortestFormsOfAllCharacters) {
    for (const char* text : {"", "plain", "\x7f", "\u00e9", "\u20ac", "\ud7ff", "\ue000", "\uffff",
                             "\U00010000", "\U0010ffff", "a\u00e9\u20ac\U0001f600b"})
        EXPECT_TRUE(is_utf8(text)) << text;
}

TEST(IsUtf8, RefusesTheRest) {
    EXPECT_FALSE(is_utf8(std::string_view("a\0b", 3)));
    for (const char* text : {"\x80",
                             "\xbf",
                             "\xc0\x80",
                             "\xc1\xbf",
                             "\xe0\x80\x80",
                             "\xe0\x9f\xbf",
                             "\xed\xa0\x80",
                             "\xed\xbf\xbf",
                             "\xf0\x80\x80\x80",
                             "\xf0\x8f\xbf\xbf",
                             "\xf4\x90\x80\x80",
                             "\xf5\x80\x80\x80",
                             "\xff",
                             "\xc3",
                             "\xe2\x82",
                             "\xf0\x9f\x98",
                             "\xc3\x28",
                             "\xe2\x28\xa1",
                             "\xe2\x82\x28",
                             "a\xfc"})
        EXPECT_FALSE(is_utf8(text)) << text;
}

/// Every character, encoded by the definition of UTF-8, and none of the surrogates.
TEST(IsUtf8, AgreesWithTheDefinition) {
    for (std::uint32_t c = 1; c <= 0x110000; ++c) {
        std::string text;
        const auto add = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
        if (c < 0x80) {
            add(c);
        } else if (c < 0x800) {
            add(0xC0 | c >> 6U);
            add(0x80 | (c & 0x3FU));
        } else if (c < 0x10000) {
            add(0xE0 | c >> 12U);
            add(0x80 | (c >> 6U & 0x3FU));
            add(0x80 | (c & 0x3FU));
        } else {
            add(0xF0 | c >> 18U);
            add(0x80 | (c >> 12U & 0x3FU));
            add(0x80 | (c >> 6U & 0x3FU));
            add(0x80 | (c & 0x3FU));
        }
        const bool is_character = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
        ASSERT_EQ(is_utf8(text), is_character) << std::hex << c;
    }
}

} // namespace
} // namespace attribution::core
