// Reads a payload that is written as JSON text, and says in one line what came of it: for the tests
// of the four providers.
#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "../json_text.hpp"
#include "core/webhook/delivery.hpp"

namespace attribution::core {

/// " name=value" where there is one.
inline std::string part(std::string_view name, std::string_view value) {
    return value.empty() ? "" : " " + std::string(name) + "=" + std::string(value);
}

/// A notice as "kind cents @seconds", and what else it says.
inline std::string describe(const Notice& notice) {
    std::string text = notice.kind == NoticeKind::conversion ? "conversion"
                       : notice.kind == NoticeKind::refund   ? "refund"
                                                             : "reversal";
    if (notice.announced != Announced::once)
        text += notice.announced == Announced::by_id ? " by id" : " by sum";
    text += " " + std::to_string(notice.cents) + " @" +
            std::to_string(notice.occurred_at_us / 1'000'000);
    text += part("key", notice.external_event_id) + part("correlation", notice.correlation_id) +
            part("of", notice.conversion_id) + part("of1", notice.conversion_correlation_id) +
            part("of2", notice.conversion_correlation_id_2) + part("refund", notice.refund_id);
    if (notice.kind == NoticeKind::reversal && !notice.refund_must_be_known)
        text += " if known";
    if (notice.announced == Announced::by_sum)
        text +=
            " sum=" + std::to_string(notice.sum) + (notice.sum_before_known ? "" : " of unknown");
    text += part("channel", notice.channel);
    if (notice.session_id)
        text += " session=" + std::to_string(notice.session_id->front());
    if (notice.payload.exists())
        text += " part=" + JsonText::write(notice.payload.at("id"));
    return text;
}

/// A problem as "code field [value]: message", notices one after the other, or "nothing"; after
/// that the keys of the delivery, in brackets.
inline std::string describe(const Reading& reading) {
    std::string text;
    const Problem& problem = reading.problem;
    if (!problem.code.empty()) {
        text = std::string(problem.code) +
               (problem.field.empty() ? "" : " " + std::string(problem.field)) +
               (problem.value.empty() ? "" : " [" + std::string(problem.value) + "]");
        EXPECT_TRUE(reading.notices.empty());
        EXPECT_FALSE(problem.message.empty());
    } else {
        for (const Notice& notice : reading.notices)
            text += (text.empty() ? "" : "; ") + describe(notice);
        if (text.empty())
            text = "nothing";
    }
    const std::string keys =
        part("", reading.external_event_id) + part("correlation", reading.correlation_id);
    return keys.empty() ? text : text + " (" + keys.substr(keys[1] == '=' ? 2 : 1) + ")";
}

/// What is read of a delivery to a tenant whose currency has so many decimals.
inline std::string read(std::string_view source, std::string_view topic, const std::string& json,
                        std::string_view currency = "USD", int decimals = 2) {
    const JsonText payload(json);
    EXPECT_TRUE(payload.is_valid()) << json;
    ArenaMemory memory;
    Arena arena = memory.arena();
    return describe(read_delivery({.source = source,
                                   .topic = topic,
                                   .payload = payload.root(),
                                   .currency = currency,
                                   .decimals = decimals},
                                  arena));
}

/// The text with the first `from` in it replaced.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
}

} // namespace attribution::core
