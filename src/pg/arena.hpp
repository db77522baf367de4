// Memory for results of the core, in the current memory context.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

namespace detail {

/// Returns nullptr when there is no memory left. An error of PostgreSQL would jump over frames of
/// the core.
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
