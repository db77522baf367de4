// A delivery of a provider, and what can be read of it.
//
// The one idea: reading looks at the payload alone, so it is a function of the delivery. Whatever
// the payload is, it comes to notices or to a problem with a code (doc/webhook.md lists the codes),
// never to an error.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <span>
#include <string_view>

#include "core/arena.hpp"
#include "core/json.hpp"
#include "core/webhook/notice.hpp"
#include "core/webhook/text.hpp"

namespace attribution::core {

/// The most notices of a delivery: each refund looks at those before it.
inline constexpr std::size_t most_notices = 1000;

struct Delivery {
    std::string_view source; // shopify, stripe, paypal, woocommerce; others are a problem
    std::string_view topic;
    Json payload;
    std::string_view currency; // the tenant's, in upper case
    int decimals = 0;          // of that currency
    /// Whether bytes are text in the encoding of the payload: what a URL holds may be anything.
    bool (*is_text)(std::string_view bytes) noexcept = is_utf8;
};

/// Why a delivery cannot be taken in; `code` is empty while nothing is wrong.
struct Problem {
    std::string_view code;
    std::string_view message;
    std::string_view field; // where in the payload; empty: nowhere in particular
    std::string_view value; // what stands there, whole
};

/// What was read of a delivery. Its texts are literals, or lie in the payload or in the arena.
struct Reading {
    Problem problem; // when there is one, nothing of the delivery may be taken in
    // Of the event that the delivery is about, as far as they could be read.
    std::string_view external_event_id, correlation_id;
    std::span<const Notice> notices; // none: no money moved, or not yet
};

/// The topic that headers or payload name; empty when they name none.
std::string_view topic_of(std::string_view source, Json payload, Json headers) noexcept;

/// Reads a delivery. Throws std::bad_alloc.
Reading read_delivery(const Delivery& delivery, Arena& arena);

} // namespace attribution::core
