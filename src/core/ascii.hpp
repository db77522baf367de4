// Letters without a locale: only those of ASCII have two cases.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <algorithm>
#include <string_view>

namespace attribution::core {

constexpr bool is_ascii_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

constexpr char ascii_upper(char c) noexcept {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Whether two texts differ at most in the case of letters.
constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return ascii_upper(x) == ascii_upper(y); });
}

} // namespace attribution::core
