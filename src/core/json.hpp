// A JSON document that can be looked at, whoever parsed it.
//
// The one idea: whoever has a document (pg/json.cpp a jsonb, the unit tests a text) writes it out
// once as a flat list of nodes, and all who read it share a cursor over that list. So what decides
// about payloads, parameters and settlements needs neither PostgreSQL nor a parser, and looking at
// what is not there or is of another type is never an error.
//
//     {"a": [1, true], "b": null}      node  kind     key  size  end
//                                        0   object          2    5
//                                        1   array     a     2    4
//                                        2   number          0    3
//                                        3   boolean         0    4
//                                        4   null      b     0    5
//
// A node's first child is the node after it, its next sibling the node at its end.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

namespace attribution::core {

enum class JsonKind : std::uint8_t { null, boolean, number, string, array, object };

/// One value of a document. Texts belong to whoever made the nodes.
struct JsonNode {
    JsonKind kind = JsonKind::null;
    bool truth = false;      // of a boolean
    bool is_removed = false; // no cursor sees it, nor what is in it
    std::uint32_t size = 0;  // elements of an array, members of an object; removed ones count
    std::uint32_t end = 0;   // number of the first node after this one and all that is in it
    std::string_view key;    // of a member of an object
    std::string_view text;   // of a string; of a number its decimal digits, without an exponent
};

/// A place in a document, or nowhere. A cursor is a copy of two pointers and owns nothing; it is
/// good as long as the nodes are.
class Json {
public:
    constexpr Json() noexcept = default;
    constexpr explicit Json(std::span<const JsonNode> document) noexcept
        : nodes_(document.data()), node_(document.empty() ? nullptr : document.data()) {}

    /// False for what is not there, and for null, which says no more.
    [[nodiscard]] constexpr bool exists() const noexcept {
        return node_ != nullptr && node_->kind != JsonKind::null;
    }
    /// True for null, which stands where a member is announced and has no value.
    [[nodiscard]] constexpr bool is_null() const noexcept { return is(JsonKind::null); }
    [[nodiscard]] constexpr bool is_object() const noexcept { return is(JsonKind::object); }
    [[nodiscard]] constexpr bool is_array() const noexcept { return is(JsonKind::array); }
    [[nodiscard]] constexpr bool is_string() const noexcept { return is(JsonKind::string); }
    [[nodiscard]] constexpr bool is_number() const noexcept { return is(JsonKind::number); }

    /// A string as it is, a number as decimal digits; nothing for everything else.
    [[nodiscard]] std::optional<std::string_view> text() const noexcept;
    /// A string as it is; empty for everything else.
    [[nodiscard]] std::string_view string() const noexcept;
    [[nodiscard]] std::optional<bool> boolean() const noexcept;

    /// The member of an object, also one that is null; nowhere when there is none.
    [[nodiscard]] Json member(std::string_view key) const noexcept;
    /// What stands under the keys, one inside the other; nowhere when it is not there or null.
    [[nodiscard]] Json at(std::initializer_list<std::string_view> path) const noexcept;
    [[nodiscard]] Json at(std::string_view key) const noexcept { return at({key}); }
    /// The first of the members that exists.
    [[nodiscard]] Json first_of(std::initializer_list<std::string_view> keys) const noexcept;

    /// Number of elements of an array or members of an object; 0 for everything else.
    [[nodiscard]] std::size_t size() const noexcept;

    /// The elements of an array, or the members of an object, in their order:
    ///     for (const Json refund : order.at("refunds"))
    class Iterator {
    public:
        [[nodiscard]] Json operator*() const noexcept { return {nodes_, node_}; }
        Iterator& operator++() noexcept {
            node_ = nodes_ + node_->end;
            skip_removed();
            return *this;
        }
        [[nodiscard]] bool operator==(const Iterator& other) const noexcept {
            return node_ == other.node_;
        }

    private:
        friend class Json;
        constexpr Iterator() noexcept = default;
        Iterator(const JsonNode* nodes, const JsonNode* node, const JsonNode* last) noexcept
            : nodes_(nodes), node_(node), last_(last) {
            skip_removed();
        }
        void skip_removed() noexcept {
            while (node_ != last_ && node_->is_removed)
                node_ = nodes_ + node_->end;
        }

        const JsonNode* nodes_ = nullptr;
        const JsonNode* node_ = nullptr;
        const JsonNode* last_ = nullptr; // the node after the container
    };
    [[nodiscard]] Iterator begin() const noexcept {
        return is_container() ? Iterator(nodes_, node_ + 1, nodes_ + node_->end) : Iterator();
    }
    [[nodiscard]] Iterator end() const noexcept {
        if (!is_container())
            return {};
        const JsonNode* const last = nodes_ + node_->end;
        return {nodes_, last, last};
    }

    /// The key under which it stands in its object.
    [[nodiscard]] std::string_view key() const noexcept {
        return node_ == nullptr ? std::string_view() : node_->key;
    }
    /// The number of its node in the document; only of what is somewhere.
    [[nodiscard]] std::size_t node_number() const noexcept {
        return static_cast<std::size_t>(node_ - nodes_);
    }

private:
    constexpr Json(const JsonNode* nodes, const JsonNode* node) noexcept
        : nodes_(nodes), node_(node) {}
    [[nodiscard]] constexpr bool is(JsonKind kind) const noexcept {
        return node_ != nullptr && node_->kind == kind;
    }
    [[nodiscard]] constexpr bool is_container() const noexcept {
        return is(JsonKind::object) || is(JsonKind::array);
    }

    const JsonNode* nodes_ = nullptr;
    const JsonNode* node_ = nullptr; // nullptr: nowhere
};

} // namespace attribution::core
