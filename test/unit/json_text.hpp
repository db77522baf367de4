// JSON texts for tests: a parser that makes the nodes of core/json.hpp, and a writer that shows
// what a cursor sees. Small and plain: it is the other half of the tests, not under test itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/arena.hpp"
#include "core/json.hpp"

namespace attribution::core {

/// A document and the memory of its texts. Numbers must be written without an exponent.
class JsonText {
public:
    explicit JsonText(std::string text) : text_(std::move(text)) {
        skip_blanks();
        is_valid_ = read_value({}, 0);
        skip_blanks();
        is_valid_ = is_valid_ && at_ == text_.size();
        if (!is_valid_)
            nodes_.clear();
    }

    [[nodiscard]] bool is_valid() const { return is_valid_; }
    [[nodiscard]] std::span<JsonNode> nodes() { return nodes_; }
    [[nodiscard]] Json root() const { return Json(std::span<const JsonNode>(nodes_)); }

    /// What is not removed, without blanks; bytes that are no ASCII as they are.
    [[nodiscard]] std::string write() const { return nodes_.empty() ? "" : write(root()); }

    static std::string write(Json value) {
        if (value.is_null())
            return "null";
        if (value.boolean())
            return *value.boolean() ? "true" : "false";
        if (value.is_number())
            return std::string(value.text().value_or(""));
        if (value.is_string())
            return quoted(value.string());
        std::string result(1, value.is_object() ? '{' : '[');
        bool is_first = true;
        for (const Json child : value) {
            if (!is_first)
                result += ',';
            is_first = false;
            if (value.is_object())
                result += quoted(child.key()) + ':';
            result += write(child);
        }
        return result + (value.is_object() ? '}' : ']');
    }

private:
    static constexpr int max_depth = 200;

    static std::string quoted(std::string_view text) {
        std::string result = "\"";
        for (const char c : text) {
            if (c == '"' || c == '\\')
                result += '\\';
            result += c;
        }
        return result + '"';
    }

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool skip(std::string_view word) {
        if (std::string_view(text_).substr(at_, word.size()) != word)
            return false;
        at_ += word.size();
        return true;
    }

    void skip_blanks() {
        while (at_ < text_.size() &&
               std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
            ++at_;
    }

    bool read_value(std::string_view key, int depth) {
        if (depth > max_depth)
            return false;
        const std::size_t number = nodes_.size();
        nodes_.emplace_back();
        nodes_[number].key = key;
        const bool is_good = read_content(number, depth);
        nodes_[number].end = static_cast<std::uint32_t>(nodes_.size());
        return is_good;
    }

    bool read_content(std::size_t number, int depth) {
        const char c = peek();
        if (c == '{' || c == '[')
            return read_container(number, depth);
        if (c == '"') {
            nodes_[number].kind = JsonKind::string;
            return read_string(&nodes_[number].text);
        }
        if (skip("true") || skip("false")) {
            nodes_[number].kind = JsonKind::boolean;
            nodes_[number].truth = c == 't';
            return true;
        }
        if (skip("null"))
            return true;
        nodes_[number].kind = JsonKind::number;
        return read_number(&nodes_[number].text);
    }

    bool read_container(std::size_t number, int depth) {
        const bool is_object = peek() == '{';
        const char last = is_object ? '}' : ']';
        nodes_[number].kind = is_object ? JsonKind::object : JsonKind::array;
        ++at_;
        for (bool is_first = true;; is_first = false) {
            skip_blanks();
            if (is_first && peek() == last)
                break;
            std::string_view key;
            if (is_object) {
                if (!read_string(&key))
                    return false;
                skip_blanks();
                if (!skip(":"))
                    return false;
                skip_blanks();
            }
            if (!read_value(key, depth + 1))
                return false;
            ++nodes_[number].size;
            skip_blanks();
            if (peek() == last)
                break;
            if (!skip(","))
                return false;
        }
        ++at_;
        return true;
    }

    bool read_number(std::string_view* result) {
        const std::size_t start = at_;
        const auto digits = [&] {
            const std::size_t from = at_;
            while (peek() >= '0' && peek() <= '9')
                ++at_;
            return at_ > from;
        };
        (void)skip("-");
        if (!digits() || (skip(".") && !digits()))
            return false;
        *result = std::string_view(text_).substr(start, at_ - start);
        return true;
    }

    bool read_string(std::string_view* result) {
        if (!skip("\""))
            return false;
        std::string& string = strings_.emplace_back();
        while (at_ < text_.size() && text_[at_] != '"') {
            char c = text_[at_++];
            if (c == '\\') {
                if (at_ == text_.size())
                    return false;
                c = text_[at_++];
                if (c == 'n')
                    c = '\n';
                else if (c == 't')
                    c = '\t';
                else if (c != '"' && c != '\\' && c != '/')
                    return false;
            }
            string += c;
        }
        *result = string;
        return skip("\"");
    }

    std::string text_;
    std::size_t at_ = 0;
    std::vector<JsonNode> nodes_;
    std::deque<std::string> strings_; // a deque: they do not move
    bool is_valid_ = false;
};

/// Memory of an arena, freed with it.
class ArenaMemory {
public:
    Arena arena() { return {allocate, this}; }

    /// The arena has no more memory after so many requests.
    void fail_after(std::size_t requests) { requests_left_ = requests; }

private:
    static void* allocate(void* owner, std::size_t bytes) noexcept {
        auto& self = *static_cast<ArenaMemory*>(owner);
        if (self.requests_left_-- == 0) {
            self.requests_left_ = 0;
            return nullptr;
        }
        return self.blocks_.emplace_back(bytes / sizeof(std::max_align_t) + 1).data();
    }

    std::deque<std::vector<std::max_align_t>> blocks_;
    std::size_t requests_left_ = SIZE_MAX;
};

} // namespace attribution::core
