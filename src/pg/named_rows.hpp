// Rows that C++ has computed, as a relation that statements can read by a name, in the way trigger
// functions read transition tables.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Lets queries read the rows as a relation of this name, until the SPI connection ends.
void name_rows(const char* name, TupleDesc columns, Tuplestorestate* rows);

} // namespace attribution::pg
