// Rows that were computed here, on their way into a statement: it reads them as a relation with a
// name, as a trigger function reads its transition tables.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// Lets queries read the rows as a relation of this name, until the SPI connection ends.
void name_rows(const char* name, TupleDesc columns, Tuplestorestate* rows);

} // namespace attribution::pg
