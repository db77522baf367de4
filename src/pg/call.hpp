// A function that SQL calls, seen from inside: typed arguments, and a row or rows as its result.
#pragma once

#include <cstddef>
#include <iterator>

#include "pg/types.hpp"

namespace attribution::pg {

/// Argument `number`, counted from 0. A NULL is std::nullopt where T allows it, else an error
/// (22004) that names the argument `name`.
template <class T>
T argument(FunctionCallInfo fcinfo, int number, const char* name) {
    const bool isnull = PG_ARGISNULL(number);
    return value_of<T>(isnull ? Datum{0} : PG_GETARG_DATUM(number), isnull, name);
}

namespace detail {

/// Raises 42804 unless the row type of a function has just these columns.
void check_result_columns(TupleDesc columns, std::span<const Oid> types);

template <class... T>
void fill(Datum* values, bool* nulls, const T&... value) {
    std::size_t number = 0;
    const auto add = [&](const auto& one) {
        values[number] = datum_of(one, &nulls[number]);
        ++number;
    };
    (add(value), ...);
}

} // namespace detail

/// The result of a function that returns one row: a record of these values.
template <class... T>
Datum row_result(FunctionCallInfo fcinfo, const T&... value) {
    static constexpr Oid types[] = {oid_of<T>...};
    Datum values[sizeof...(T)];
    bool nulls[sizeof...(T)];
    TupleDesc columns;
    if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("function returning record called in context that cannot accept "
                               "type record")));
    detail::check_result_columns(columns, types);
    detail::fill(values, nulls, value...);
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

/// A copy of the row in the memory context: what a function returns whose result is one row, once
/// the SPI connection that made the row has ended.
Datum copied(Composite row, MemoryContext memory);

/// The rows of a function that returns a set. Begin it before SPI_connect(): the rows must outlive
/// the SPI connection.
class ResultRows {
public:
    explicit ResultRows(FunctionCallInfo fcinfo);

    template <class... T>
    void add(const T&... value) {
        static constexpr Oid types[] = {oid_of<T>...};
        if (!are_columns_checked_)
            detail::check_result_columns(result_->setDesc, types);
        are_columns_checked_ = true;
        Datum values[sizeof...(T)];
        bool nulls[sizeof...(T)];
        detail::fill(values, nulls, value...);
        tuplestore_putvalues(result_->setResult, result_->setDesc, values, nulls);
    }

    /// Adds the row as a statement found it. Raises 42804 unless its columns are those of the
    /// function: an owner may have altered a column since.
    void add_slot(TupleTableSlot* row);

private:
    ReturnSetInfo* result_;
    bool are_columns_checked_ = false;
};

} // namespace attribution::pg
