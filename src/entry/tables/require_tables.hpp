// require_tables: are the tables there that the functions work with?
//
// The tables are no part of the extension. A dump brings them piece by piece, somebody may drop a
// trigger, and a dump of an older version brings older ones. A function that wrote meanwhile would
// write past a rule that is not there yet. So each function that reads or writes the tables asks
// first; a session looks once, and again after one of the tables has changed.
#pragma once

namespace attribution::entry {

/// Raises 55000 while a table, a key or a trigger of the extension is missing, when the tables are
/// of another version, or do not all belong to one role that may act for the functions; and when
/// the library is older than the extension.
void require_tables();

} // namespace attribution::entry
