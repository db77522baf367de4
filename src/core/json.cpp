#include "core/json.hpp"

namespace attribution::core {
namespace {

/// The first node from `node` on that is not removed; `last` when there is none.
const JsonNode* first_kept(const JsonNode* nodes, const JsonNode* node,
                           const JsonNode* last) noexcept {
    while (node != last && node->is_removed)
        node = nodes + node->end;
    return node;
}

} // namespace

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

Json::Iterator& Json::Iterator::operator++() noexcept {
    // An iterator of a value without members equals end(), and nobody moves it on.
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
    node_ = first_kept(nodes_, nodes_ + node_->end, last_);
    return *this;
}

Json::Iterator Json::begin() const noexcept {
    Iterator it;
    if (!is_container())
        return it;
    it.nodes_ = nodes_;
    it.last_ = nodes_ + node_->end;
    it.node_ = first_kept(nodes_, node_ + 1, it.last_);
    return it;
}

Json::Iterator Json::end() const noexcept {
    Iterator it;
    if (!is_container())
        return it;
    it.nodes_ = nodes_;
    it.last_ = nodes_ + node_->end;
    it.node_ = it.last_;
    return it;
}

} // namespace attribution::core
