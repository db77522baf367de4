// A vector in a memory context: it grows like std::vector, and an error may jump over it, since the
// context frees the elements.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Elements in `memory`, which must outlive the last use. May grow past a gigabyte.
template <class Element>
class Vector {
    static_assert(std::is_trivially_copyable_v<Element>, "moved as bytes when the vector grows");

public:
    explicit Vector(MemoryContext memory) : memory_(memory) {}

    void push_back(const Element& element) {
        if (size_ == capacity_) {
            const Element copy = element; // it may be one of those that move
            grow();
            elements_[size_++] = copy;
        } else {
            elements_[size_++] = element;
        }
    }

    /// Forgets the elements from number `size` on.
    void truncate(std::size_t size) {
        Assert(size <= size_);
        size_ = size;
    }

    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::span<Element> span() const { return {elements_, size_}; }

    [[nodiscard]] Element& operator[](std::size_t number) const {
        Assert(number < size_);
        return elements_[number];
    }
    [[nodiscard]] Element& back() const { return (*this)[size_ - 1]; }

private:
    void grow() {
        capacity_ = capacity_ == 0 ? 64 : capacity_ * 2;
        // The elements may be pointers.
        const Size bytes = sizeof(Element) * capacity_; // NOLINT(bugprone-sizeof-expression)
        elements_ =
            static_cast<Element*>(elements_ == nullptr ? MemoryContextAllocHuge(memory_, bytes)
                                                       : repalloc_huge(elements_, bytes));
    }

    MemoryContext memory_;
    Element* elements_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

} // namespace attribution::pg
