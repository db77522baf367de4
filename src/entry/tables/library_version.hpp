// library_version: does the library know the extension that this database has?
//
// One file of the library serves all databases of a server whose extension has the same interface
// (doc/versions.md), so a library may be newer than the extension, but never older: it would not
// know what the newer one expects.
#pragma once

namespace attribution::entry {

/// Raises 55000 when the extension in this database is newer than the library.
void check_library_version();

/// True when `left` comes before `right`; both are numbers with dots, as 1.2.3, and what follows
/// them does not count.
bool is_older_version(const char* left, const char* right);

} // namespace attribution::entry
