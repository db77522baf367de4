// Memory for results that outlive the code that made them.
//
// The one idea: what the core computes inside pg::guarded() is used after that by code over which
// PostgreSQL may longjmp, so the results must own nothing. They lie in memory that somebody else
// frees at once: pg/arena.hpp takes it from the current memory context, the tests from a list.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>

namespace attribution::core {

class Arena {
public:
    /// Returns `bytes` bytes that are aligned for every type, or nullptr when there are none.
    using Allocate = void* (*)(void* owner, std::size_t bytes) noexcept;

    constexpr Arena(Allocate function, void* owner) noexcept : allocate_(function), owner_(owner) {}

    /// `count` values without content yet. Throws std::bad_alloc.
    template <class Value>
    [[nodiscard]] std::span<Value> make(std::size_t count) {
        static_assert(std::is_trivially_copyable_v<Value> &&
                          std::is_trivially_destructible_v<Value>,
                      "nobody runs destructors of what is in an arena");
        auto* const values = static_cast<Value*>(allocate(count * sizeof(Value)));
        std::uninitialized_default_construct_n(values, count);
        return {values, count};
    }

    /// A copy of the values. Throws std::bad_alloc.
    template <class Value>
    [[nodiscard]] std::span<Value> copy(std::span<const Value> values) {
        const std::span<Value> result = make<Value>(values.size());
        std::copy(values.begin(), values.end(), result.begin());
        return result;
    }

    /// The texts one after the other. Throws std::bad_alloc.
    [[nodiscard]] std::string_view join(std::initializer_list<std::string_view> parts) {
        std::size_t size = 0;
        for (const std::string_view part : parts)
            size += part.size();
        const std::span<char> result = make<char>(size);
        auto end = result.begin();
        for (const std::string_view part : parts)
            end = std::copy(part.begin(), part.end(), end);
        return {result.data(), result.size()};
    }

private:
    void* allocate(std::size_t bytes) {
        void* const memory = allocate_(owner_, std::max<std::size_t>(bytes, 1));
        if (memory == nullptr)
            throw std::bad_alloc();
        return memory;
    }

    Allocate allocate_;
    void* owner_;
};

} // namespace attribution::core
