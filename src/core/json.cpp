#include "core/json.hpp"

namespace attribution::core {

std::optional<std::string_view> Json::text() const noexcept {
    if (is_string() || is_number())
        return node_->text;
    return std::nullopt;
}

std::string_view Json::string() const noexcept {
    return is_string() ? node_->text : std::string_view();
}

std::optional<bool> Json::boolean() const noexcept {
    if (is(JsonKind::boolean))
        return node_->truth;
    return std::nullopt;
}

Json Json::member(std::string_view key) const noexcept {
    if (!is_object())
        return {};
    for (const Json value : *this)
        if (value.key() == key)
            return value;
    return {};
}

Json Json::at(std::initializer_list<std::string_view> path) const noexcept {
    Json value = *this;
    for (const std::string_view key : path)
        value = value.member(key);
    return value.exists() ? value : Json();
}

Json Json::first_of(std::initializer_list<std::string_view> keys) const noexcept {
    for (const std::string_view key : keys)
        if (const Json value = at(key); value.exists())
            return value;
    return {};
}

std::size_t Json::size() const noexcept {
    std::size_t count = 0;
    for (Iterator it = begin(); it != end(); ++it)
        ++count;
    return count;
}

} // namespace attribution::core
