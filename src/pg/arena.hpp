// Memory for results of the core, in the current memory context.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

namespace detail {

/// Never an error of PostgreSQL, which would jump over the core: nullptr where memory is out.
inline void* allocate_in_context(void* context, std::size_t bytes) noexcept {
    return MemoryContextAllocExtended(static_cast<MemoryContext>(context), bytes,
                                      MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

} // namespace detail

/// What the core puts there lives as long as the memory context that is current now.
inline core::Arena arena() {
    return {detail::allocate_in_context, CurrentMemoryContext};
}

} // namespace attribution::pg
