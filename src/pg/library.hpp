// This library beside another one of ours in the same process.
//
// Libraries of two interfaces lie side by side for the databases of one server (doc/versions.md). A
// session works with the one that its database's extension names. It can come to load a second one:
// when ALTER EXTENSION UPDATE leads from one to the other, when pg_upgrade loads every library of a
// cluster into one session to see whether they load, or when shared_preload_libraries names both.
// PostgreSQL lets a setting be defined once in a process. So the first library works, and the
// second one can be loaded and refuses to be called.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The name of the other library that came first into this process; nullptr when this one did.
extern constinit const char* first_library;

/// Makes this library the first one, unless another is. Called when the library is loaded; false
/// when another came first, and then nothing may be defined or registered.
bool become_first_library();

/// Raises 55000: another library came first.
[[noreturn]] void refuse_second_library();

/// Every entry point begins with this.
inline void check_first_library() {
    if (first_library != nullptr) [[unlikely]]
        refuse_second_library();
}

} // namespace attribution::pg
