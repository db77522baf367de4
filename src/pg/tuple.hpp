// Values of rows.
//
// PostgreSQL 15.19 and its contemporaries check that a composite value has the columns that its
// reader expects: heap_getattr, which is compiled into its callers, and DatumGetHeapTupleHeader,
// which was a macro, call functions that no earlier minor release exports. A module that needs
// those functions does not load into an earlier server. The two functions here read rows that come
// straight from a scan, a trigger or a statement of this extension, which need no such check.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The value of column `number`, counted from 1, of a row whose columns are `columns`; what
/// heap_getattr gives. It points into the row where the type is passed by reference.
inline Datum attribute(HeapTuple row, int number, TupleDesc columns, bool* isnull) {
    Assert(number > 0 && number <= columns->natts);
    // A row that was written before the column was added has the column's missing value.
    if (number > HeapTupleHeaderGetNatts(row->t_data))
        return getmissingattr(columns, number, isnull);
    return fastgetattr(row, number, columns, isnull);
}

/// The row that a composite value is; what DatumGetHeapTupleHeader gives.
inline HeapTupleHeader row_of(Datum composite) {
    return reinterpret_cast<HeapTupleHeader>(PG_DETOAST_DATUM(composite));
}

} // namespace attribution::pg
