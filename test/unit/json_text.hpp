// JSON documents from texts, for the tests of what reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"

namespace attribution {

/// A document parsed from a text, which owns its nodes. Numbers stay as they are written, escapes
/// in strings are those of one character after a backslash. A text that is no JSON is a bug of the
/// test: it aborts.
class JsonText {
public:
    explicit JsonText(std::string text) : text_(std::move(text)) {
        read_value({});
        skip_blanks();
        must(at_ == text_.size());
    }
    JsonText(const JsonText&) = delete;
    JsonText& operator=(const JsonText&) = delete;

    [[nodiscard]] core::Json root() const { return core::Json(nodes_); }

private:
    static void must(bool holds) {
        if (!holds)
            std::abort();
    }

    void skip_blanks() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n'))
            ++at_;
    }

    [[nodiscard]] char peek() {
        skip_blanks();
        must(at_ < text_.size());
        return text_[at_];
    }

    [[nodiscard]] bool take(char c) {
        if (peek() != c)
            return false;
        ++at_;
        return true;
    }

    std::string_view read_string() {
        must(take('"'));
        std::string string;
        while (text_.at(at_) != '"') {
            if (text_[at_] == '\\')
                ++at_;
            string += text_.at(at_++);
        }
        ++at_;
        return strings_.emplace_back(std::move(string));
    }

    std::string_view read_word() {
        const std::size_t begin = at_;
        while (at_ < text_.size() &&
               std::string_view(",]} \n").find(text_[at_]) == std::string_view::npos)
            ++at_;
        must(at_ > begin);
        return std::string_view(text_).substr(begin, at_ - begin);
    }

    void read_value(std::string_view key) {
        const std::size_t number = nodes_.size();
        core::JsonNode node;
        node.key = key;
        nodes_.push_back(node);
        const char first = peek();
        if (first == '{' || first == '[') {
            node.kind = first == '{' ? core::JsonKind::object : core::JsonKind::array;
            node.size = read_container(first == '{');
        } else if (first == '"') {
            node.kind = core::JsonKind::string;
            node.text = read_string();
        } else {
            node.text = read_word();
            node.truth = node.text == "true";
            node.kind = node.text == "null"                  ? core::JsonKind::null
                        : node.truth || node.text == "false" ? core::JsonKind::boolean
                                                             : core::JsonKind::number;
        }
        node.end = static_cast<std::uint32_t>(nodes_.size());
        nodes_[number] = node;
    }

    std::uint32_t read_container(bool is_object) {
        const char last = is_object ? '}' : ']';
        ++at_;
        std::uint32_t size = 0;
        while (!take(last)) {
            must(size == 0 || take(','));
            std::string_view key;
            if (is_object) {
                skip_blanks();
                key = read_string();
                must(take(':'));
            }
            read_value(key);
            ++size;
        }
        return size;
    }

    std::string text_;
    std::size_t at_ = 0;
    std::deque<std::string> strings_; // does not move
    std::vector<core::JsonNode> nodes_;
};

} // namespace attribution
