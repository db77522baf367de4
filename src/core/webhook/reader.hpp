// Reads the values of a payload, and gathers what was read.
//
// The one idea: the first value that cannot be read is the problem of the delivery, and what is
// read after it does not count. So the readers of the providers go straight on, and look at
// failed() only where they would go on for long.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "core/webhook/delivery.hpp"

namespace attribution::core {

class DeliveryReader {
public:
    /// Delivery and arena must outlive the reader.
    DeliveryReader(const Delivery& delivery, Arena& arena) noexcept
        : delivery_(&delivery), arena_(&arena) {}

    [[nodiscard]] std::string_view topic() const noexcept { return delivery_->topic; }
    [[nodiscard]] Json payload() const noexcept { return delivery_->payload; }
    [[nodiscard]] std::string_view currency() const noexcept { return delivery_->currency; }
    [[nodiscard]] int decimals() const noexcept { return delivery_->decimals; }
    [[nodiscard]] Arena& arena() noexcept { return *arena_; }

    [[nodiscard]] bool failed() const noexcept { return !reading_.problem.code.empty(); }
    /// Records a problem, unless there is one. `field` and `message` are literals.
    void fail(std::string_view code, std::string_view field, std::string_view value,
              std::string_view message) noexcept;
    void fail_with_unknown_topic() noexcept;

    // --- values: each that is not what it must be is a problem, and reads as nothing or 0 ---

    /// A string that must be there.
    std::string_view text(Json value, std::string_view field) noexcept;
    /// A list of objects; nowhere is an empty one.
    Json list(Json value, std::string_view field) noexcept;
    /// An id, a string or a whole number, after its prefix: a key, up to longest_notice_text.
    std::string_view key(std::string_view prefix, Json value, std::string_view field);
    /// The same where it need not be there.
    std::string_view optional_key(Json value, std::string_view field);
    /// An amount in units of 10^-scale of the tenant's currency, which must be exact in it.
    Cents amount(Json value, std::string_view field, int scale = 0) noexcept;
    /// The same, which must not be below zero.
    Cents positive_amount(Json value, std::string_view field, int scale = 0) noexcept;
    /// The same without its sign: some providers write what goes back with a minus, some without.
    Cents magnitude(Json value, std::string_view field) noexcept;
    /// A code that must be that of the tenant's currency.
    void check_currency(Json value, std::string_view field) noexcept;
    /// RFC 3339, as microseconds since 1970.
    std::int64_t time(Json value, std::string_view field, bool assume_utc = false) noexcept;
    /// Whole seconds since 1970, as microseconds.
    std::int64_t unix_time(Json value, std::string_view field) noexcept;

    // --- what was read ---

    void set_external_event_id(std::string_view key) noexcept { reading_.external_event_id = key; }
    void set_correlation_id(std::string_view key) noexcept { reading_.correlation_id = key; }
    /// Adds a notice, unless it is about no money.
    void add(const Notice& notice);
    Reading finish();

private:
    const Delivery* delivery_;
    Arena* arena_;
    Reading reading_;
    std::vector<Notice> notices_;
};

/// Whether the text is one of the words.
constexpr bool is_one_of(std::string_view text,
                         std::initializer_list<std::string_view> words) noexcept {
    return std::find(words.begin(), words.end(), text) != words.end();
}

} // namespace attribution::core
