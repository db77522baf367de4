// Columns of relations that are read without a statement: their numbers, and proof that they have
// the types they are read as. An owner may alter both, so a number that is stored is guarded by a
// pg::Cached that depends on the relation.
#pragma once

#include <span>

#include "pg/types.hpp"

namespace attribution::pg {

/// The number of the column, counted from 1, whatever its type. Raises 42703 when the relation has
/// no such column.
int column_number(Relation relation, const char* column);

/// The number of the column, counted from 1, whose values may be read as `type`. Raises 42703 when
/// the relation has no such column and 42804 when it is of another type.
int column_number(Relation relation, const char* column, Oid type);

/// The same for what T stands for.
template <class T>
int column_number_of(Relation relation, const char* column) {
    return column_number(relation, column, oid_of<T>);
}

/// A column as it was installed.
struct Column {
    const char* name;
    Oid type;
};

/// Raises 42804 unless these are the columns of the relation, in this order.
void check_columns(Relation relation, std::span<const Column> columns);

namespace detail {
[[noreturn]] void raise_null_column(TupleDesc columns, int number);
}

/// The value of column `number`, counted from 1, whose type was checked. Raises 22004 for NULL
/// where T does not allow it.
template <class T>
T column_of(TupleDesc columns, int number, Datum datum, bool isnull) {
    using Value = typename detail::Nullable<T>::Value;
    if constexpr (detail::Nullable<T>::allows_null) {
        if (isnull)
            return std::nullopt;
    } else {
        if (isnull)
            detail::raise_null_column(columns, number);
    }
    return SqlType<Value>::from_datum(datum);
}

/// The same for a row of a scan or a trigger. A text points into the row.
template <class T>
T column_value(TupleTableSlot* row, int number) {
    bool isnull;
    const Datum datum = slot_getattr(row, number, &isnull);
    return column_of<T>(row->tts_tupleDescriptor, number, datum, isnull);
}

} // namespace attribution::pg
