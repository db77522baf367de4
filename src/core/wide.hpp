// 128 bits, which g++ and clang have and the standard does not name.
#pragma once

#ifdef POSTGRES_H
#error "core headers come before postgres.h"
#endif

namespace attribution::core {

__extension__ typedef unsigned __int128 Uint128; // NOLINT(modernize-use-using)

} // namespace attribution::core
