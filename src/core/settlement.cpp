#include "core/settlement.hpp"

#include <utility>
#include <string>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/webhook/text.hpp"

namespace attribution::core {
namespace {

[[noreturn]] void refuse(std::string detail) {
    throw Error(Fault::invalid_value, "invalid settlements", std::move(detail),
                R"(Settlements are an array of {"key": "...", "amount_cents": ...}.)");
}

[[noreturn]] void refuse_element(std::uint64_t position, std::string_view problem) {
    refuse(fmt::format("Element {}: {}.", position, problem));
}

std::string_view read_key(Json key, std::uint64_t position) {
    if (!key.exists() && !key.is_null())
        refuse_element(position, "key is missing");
    if (!key.is_string())
        refuse_element(position, "key is not a text");
    const std::string_view bytes = key.string();
    if (bytes.empty())
        refuse_element(position, "key is empty");
    if (bytes.size() > max_settlement_key_bytes)
        refuse_element(position, fmt::format("key has {} bytes, at most {} are allowed",
                                             bytes.size(), max_settlement_key_bytes));
    return bytes;
}

Cents read_amount(Json amount, std::uint64_t position) {
    if (!amount.exists() && !amount.is_null())
        refuse_element(position, "amount_cents is missing");
    const Amount read = amount.is_number() ? parse_amount(*amount.text(), 0)
                                           : Amount{.fault = AmountFault::malformed};
    if (read.fault != AmountFault::none)
        refuse_element(position, "amount_cents is not a whole number in the range of bigint");
    return read.cents;
}

} // namespace

Settlement read_settlement(Json element, std::uint64_t position) {
    if (!element.is_object())
        refuse_element(position, "it is not an object");
    const std::string_view key = read_key(element.member("key"), position);
    return {.key = key, .amount_cents = read_amount(element.member("amount_cents"), position)};
}

void throw_not_an_array_of_settlements() {
    refuse("It is not an array.");
}

} // namespace attribution::core
