#include "pg/library.hpp"

namespace attribution::pg {

namespace {

/// The name of this library's file.
constexpr const char* own_library = "attribution-" ATTRIBUTION_INTERFACE;

} // namespace

constinit const char* first_library = nullptr;

bool become_first_library() {
    // What libraries find each other by. No library is ever unloaded, so its name stays where it
    // is.
    void** rendezvous = find_rendezvous_variable("attribution library");
    if (*rendezvous == nullptr)
        *rendezvous = const_cast<char*>(own_library);
    const auto* first = static_cast<const char*>(*rendezvous);
    // A load that was interrupted by an error comes again.
    first_library = strcmp(first, own_library) == 0 ? nullptr : first;
    return first_library == nullptr;
}

void refuse_second_library() {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("cannot use library \"%s\" in a session that has loaded \"%s\"", own_library,
                    first_library),
             errdetail("The extension was updated since this session began, or the server loads "
                       "\"%s\" into every session.",
                       first_library),
             errhint("Connect again. If this does not help, remove \"%s\" from "
                     "shared_preload_libraries, session_preload_libraries and "
                     "local_preload_libraries.",
                     first_library)));
}

} // namespace attribution::pg
