// Memory of an arena that the test frees.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "core/arena.hpp"

namespace attribution {

class TestArena {
public:
    core::Arena arena() { return {allocate, this}; }

private:
    static void* allocate(void* owner, std::size_t bytes) noexcept {
        auto& blocks = static_cast<TestArena*>(owner)->blocks_;
        return blocks.emplace_back(new (std::nothrow) std::byte[bytes]).get();
    }

    std::vector<std::unique_ptr<std::byte[]>> blocks_;
};

} // namespace attribution
