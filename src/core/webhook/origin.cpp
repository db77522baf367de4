#include "core/webhook/origin.hpp"

#include <optional>
#include <span>

#include "core/webhook/text.hpp"

namespace attribution::core {
namespace {

/// The decoded value of a parameter, in the arena; empty when it is not there or is no text.
std::string_view query_text(std::string_view query, std::string_view name, DeliveryReader& reader) {
    const std::span<char> buffer = reader.arena().make<char>(longest_notice_text);
    const std::optional<std::string_view> value = query_parameter(query, name, buffer);
    return value && reader.is_text(*value) ? *value : std::string_view();
}

} // namespace

void Origin::read(std::string_view name, std::string_view value) noexcept {
    if (value.empty())
        return;
    for (const std::string_view prefix :
         {std::string_view("_"), std::string_view("wc_order_"), std::string_view("attribution_")})
        if (name.starts_with(prefix))
            name.remove_prefix(prefix.size());
    if (name == "channel")
        channel_ = value;
    else if (name == "utm_source")
        utm_source_ = value;
    else if (name == "session_id")
        session_ = value;
}

void Origin::read_pairs(Json pairs, std::string_view name_key) noexcept {
    if (!pairs.is_array())
        return;
    for (const Json pair : pairs)
        read(pair.at(name_key).string(), pair.at("value").string());
}

void Origin::read_members(Json object) noexcept {
    for (const std::string_view name :
         {"channel", "attribution_channel", "utm_source", "session_id", "attribution_session_id"})
        read(name, object.at(name).string());
}

void Origin::read_query(std::string_view query, DeliveryReader& reader) {
    for (const std::string_view name : {"channel", "utm_source", "session_id"})
        read(name, query_text(query, name, reader));
}

void Origin::read_landing_url(std::string_view url, DeliveryReader& reader) {
    landing_source_ = query_text(url, "utm_source", reader);
}

void Origin::apply(Notice& notice) const noexcept {
    for (const std::string_view channel : {channel_, utm_source_, landing_source_}) {
        if (channel.empty() || channel.size() > longest_notice_text)
            continue;
        notice.channel = channel == "(direct)" ? "direct" : channel;
        break;
    }
    notice.session_id = parse_uuid(session_);
}

} // namespace attribution::core
