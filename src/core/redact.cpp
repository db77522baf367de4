#include "core/redact.hpp"

#include <algorithm>
#include <cstddef>

#include "core/ascii.hpp"

namespace attribution::core {
namespace {

constexpr std::size_t longest_key = 256; // in quotes, in redact_text()

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// The first place after the string that opens at `at`; the end of the text when it is cut off.
std::size_t end_of_string(std::string_view text, std::size_t at) {
    for (++at; at < text.size() && text[at] != '"'; ++at)
        if (text[at] == '\\' && at + 1 < text.size())
            ++at;
    return std::min(at + 1, text.size());
}

/// The first place after the value that starts at `at`: a string, something in brackets, or a word.
std::size_t end_of_value(std::string_view text, std::size_t at) {
    std::size_t depth = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (c == '"') {
            at = end_of_string(text, at);
            if (depth == 0)
                return at;
            continue;
        }
        if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || is_blank(c))) {
            return at;
        }
        ++at;
    }
    return at;
}

/// Copies a text to a target of the same size, without the values of listed keys.
class TextRedaction {
public:
    TextRedaction(std::string_view text, const KeySet& keys, std::span<char> target)
        : text_(text), keys_(keys), target_(target) {}

    std::string_view run() {
        while (at_ < text_.size()) {
            if (text_[at_] == '"')
                redact_member();
            else if (begins_pair())
                redact_pair();
            else
                copy_to(at_ + 1);
        }
        return {target_.data(), length_};
    }

private:
    void copy_to(std::size_t end) {
        for (; at_ < end; ++at_)
            put(text_[at_]);
    }

    void put(char c) { target_[length_++] = c; }

    /// Whether a form or the query of a URL may name a key here.
    [[nodiscard]] bool begins_pair() const {
        return at_ == 0 || std::string_view("&?#\n").find(text_[at_ - 1]) != std::string_view::npos;
    }

    /// "key": value.
    void redact_member() {
        // No name of a key is longer; looking further for each quote would be quadratic.
        const std::size_t end = end_of_value(text_.substr(0, at_ + longest_key), at_);
        std::size_t colon = end;
        while (colon < text_.size() && is_blank(text_[colon]))
            ++colon;
        const bool is_key = colon < text_.size() && text_[colon] == ':' && end - at_ >= 2;
        if (!is_key) {
            // Not past the string: a quote that closes may have been taken for one that opens.
            copy_to(at_ + 1);
            return;
        }
        const bool is_listed = keys_.contains(text_.substr(at_ + 1, end - at_ - 2));
        copy_to(colon + 1);
        if (!is_listed)
            return;
        while (at_ < text_.size() && is_blank(text_[at_]))
            copy_to(at_ + 1);
        const std::size_t value = at_;
        at_ = end_of_value(text_, at_);
        if (at_ - value >= 2) {
            put('"');
            put('"');
        } else if (at_ > value) {
            put('0'); // no room for quotes, and JSON stays JSON
        }
    }

    /// key=value.
    void redact_pair() {
        const std::string_view pair = text_.substr(at_, longest_key);
        const std::size_t equals = pair.find_first_of("=&?#\n");
        if (equals == std::string_view::npos || pair[equals] != '=' ||
            !keys_.contains(pair.substr(0, equals))) {
            copy_to(at_ + 1);
            return;
        }
        copy_to(at_ + equals + 1);
        at_ = std::min(text_.find_first_of("&#\n", at_), text_.size());
    }

    std::string_view text_;
    const KeySet& keys_;
    std::span<char> target_;
    std::size_t length_ = 0, at_ = 0;
};

/// Whether a text may hold a key: a pair has '=' in it, a member a quote.
bool may_hold_key(std::string_view text) {
    return text.find('=') != std::string_view::npos || text.find('"') != std::string_view::npos;
}

/// Redacts the nodes of a document in their order, so that what is inside of a removed node is not
/// looked at.
class DocumentRedaction {
public:
    DocumentRedaction(std::span<JsonNode> nodes, const KeySet& keys, std::span<char> target)
        : nodes_(nodes), keys_(keys), target_(target) {}

    bool run() {
        for (std::size_t at = 0; at < nodes_.size();) {
            JsonNode& node = nodes_[at];
            if (node.is_removed) {
                at = node.end;
                continue;
            }
            if (node.kind == JsonKind::object)
                redact_members(at);
            else if (node.kind == JsonKind::string)
                redact_string(node);
            ++at;
        }
        return has_removed_;
    }

private:
    template <class See>
    void each_member(std::size_t object, See see) {
        for (std::size_t at = object + 1; at < nodes_[object].end; at = nodes_[at].end)
            if (!nodes_[at].is_removed)
                see(nodes_[at]);
    }

    void remove(JsonNode& node) {
        node.is_removed = true;
        has_removed_ = true;
    }

    void redact_members(std::size_t object) {
        bool names_listed = false; // {"name": "email", "value": ...}
        each_member(object, [&](JsonNode& member) {
            if (keys_.contains(member.key))
                remove(member);
            else if (member.kind == JsonKind::string && (equal_ignoring_case(member.key, "name") ||
                                                         equal_ignoring_case(member.key, "key")))
                names_listed = names_listed || keys_.contains(member.text);
        });
        if (!names_listed)
            return;
        each_member(object, [&](JsonNode& member) {
            if (equal_ignoring_case(member.key, "value"))
                remove(member);
        });
    }

    void redact_string(JsonNode& node) {
        if (!may_hold_key(node.text))
            return;
        const std::string_view rest = redact_text(node.text, keys_, target_);
        if (rest == node.text)
            return;
        node.text = rest;
        target_ = target_.subspan(rest.size());
        has_removed_ = true;
    }

    std::span<JsonNode> nodes_;
    const KeySet& keys_;
    std::span<char> target_;
    bool has_removed_ = false;
};

} // namespace

std::uint64_t key_hash(std::string_view name) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (char c : name) {
        if (c == '_' || c == '-' || c == ' ')
            continue;
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c | 0x20);
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    return hash;
}

bool KeySet::contains(std::string_view name) const noexcept {
    return std::binary_search(hashes.begin(), hashes.end(), key_hash(name));
}

std::string_view redact_text(std::string_view text, const KeySet& keys,
                             std::span<char> target) noexcept {
    return TextRedaction(text, keys, target).run();
}

bool redact(std::span<JsonNode> document, const KeySet& keys, std::span<char> target) noexcept {
    return DocumentRedaction(document, keys, target).run();
}

} // namespace attribution::core
