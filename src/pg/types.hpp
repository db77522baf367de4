// SQL types and the C++ types that stand for them: the one table that statements, arguments and
// results are typed by.
//
//     C++                        SQL              as a parameter       as a column or argument
//     bool                       boolean
//     std::int32_t               integer
//     std::int64_t, core::Cents  bigint
//     Oid                        oid
//     core::Uuid                 uuid             points to the value  a copy
//     std::string_view           text             palloc'd             points into the row
//     Timestamptz                timestamptz
//     NumericDatum               numeric          as PostgreSQL has it, not looked into
//     JsonbDatum                 jsonb            the same
//     IntervalDatum              interval         the same
//     NameDatum                  name             the same
//     std::span<const T>         T[]              palloc'd             palloc'd
//     Composite                  a row            -                    points into the row
//     std::optional<T>           T or NULL
//
// Nothing here owns anything: an error may jump over all of it.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "pg/convert.hpp"

namespace attribution::pg {

/// A time as PostgreSQL has it: microseconds since 2000, or infinite. Not a plain number, so that
/// no amount is taken for a time.
struct Timestamptz {
    TimestampTz value;
    friend constexpr auto operator<=>(const Timestamptz&, const Timestamptz&) = default;
};

/// What an argument or column is that may be NULL.
using OptionalTime = std::optional<Timestamptz>;
using OptionalText = std::optional<std::string_view>;

/// A value of the SQL type that is passed on as it is.
template <Oid type>
struct Opaque {
    Datum datum;
};
using NumericDatum = Opaque<NUMERICOID>;
using JsonbDatum = Opaque<JSONBOID>;
using IntervalDatum = Opaque<INTERVALOID>;
using NameDatum = Opaque<NAMEOID>;

/// A row, as ROW(...) makes it; a column of a result only.
struct Composite {
    Datum datum;
};

/// How a C++ type stands for an SQL type. The primary template has no members: a type without an
/// entry of its own does not compile.
template <class T>
struct SqlType;

template <>
struct SqlType<bool> {
    static constexpr Oid oid = BOOLOID;
    static Datum to_datum(bool value) { return BoolGetDatum(value); }
    static bool from_datum(Datum datum) { return DatumGetBool(datum); }
};

template <>
struct SqlType<std::int32_t> {
    static constexpr Oid oid = INT4OID;
    static Datum to_datum(std::int32_t value) { return Int32GetDatum(value); }
    static std::int32_t from_datum(Datum datum) { return DatumGetInt32(datum); }
};

template <>
struct SqlType<std::int64_t> {
    static constexpr Oid oid = INT8OID;
    static Datum to_datum(std::int64_t value) { return Int64GetDatum(value); }
    static std::int64_t from_datum(Datum datum) { return DatumGetInt64(datum); }
};

template <>
struct SqlType<Oid> {
    static constexpr Oid oid = OIDOID;
    static Datum to_datum(Oid value) { return ObjectIdGetDatum(value); }
    static Oid from_datum(Datum datum) { return DatumGetObjectId(datum); }
};

template <>
struct SqlType<core::Uuid> {
    static constexpr Oid oid = UUIDOID;
    static Datum to_datum(const core::Uuid& value) { return PointerGetDatum(value.data()); }
    static core::Uuid from_datum(Datum datum) { return uuid_of(datum); }
};

template <>
struct SqlType<std::string_view> {
    static constexpr Oid oid = TEXTOID;
    static Datum to_datum(std::string_view value) { return text_datum(value); }
    static std::string_view from_datum(Datum datum) { return text_of(datum); }
};

template <>
struct SqlType<Timestamptz> {
    static constexpr Oid oid = TIMESTAMPTZOID;
    static Datum to_datum(Timestamptz value) { return TimestampTzGetDatum(value.value); }
    static Timestamptz from_datum(Datum datum) { return {DatumGetTimestampTz(datum)}; }
};

template <Oid type>
struct SqlType<Opaque<type>> {
    static constexpr Oid oid = type;
    static Datum to_datum(Opaque<type> value) { return value.datum; }
    static Opaque<type> from_datum(Datum datum) { return {datum}; }
};

template <>
struct SqlType<Composite> {
    static constexpr Oid oid = RECORDOID; // any row type: see is_of_type
    static Composite from_datum(Datum datum) { return {datum}; }
};

namespace detail {

/// The array type of an element type.
constexpr Oid array_oid(Oid element) {
    switch (element) {
    case BOOLOID:
        return BOOLARRAYOID;
    case INT4OID:
        return INT4ARRAYOID;
    case INT8OID:
        return INT8ARRAYOID;
    case OIDOID:
        return OIDARRAYOID;
    case UUIDOID:
        return UUIDARRAYOID;
    case TEXTOID:
        return TEXTARRAYOID;
    case TIMESTAMPTZOID:
        return TIMESTAMPTZARRAYOID;
    case NUMERICOID:
        return NUMERICARRAYOID;
    default:
        return InvalidOid;
    }
}

Datum make_array(std::span<Datum> elements, const bool* nulls, Oid element_type);
std::span<Datum> split_array(Datum array, Oid element_type);

template <class T>
struct Nullable {
    using Value = T;
    static constexpr bool allows_null = false;
};
template <class T>
struct Nullable<std::optional<T>> {
    using Value = T;
    static constexpr bool allows_null = true;
};

} // namespace detail

template <class T>
struct SqlType<std::span<const T>> {
    using Element = typename detail::Nullable<T>::Value;
    static constexpr Oid oid = detail::array_oid(SqlType<Element>::oid);
    static_assert(oid != InvalidOid, "add the array type to array_oid");

    static Datum to_datum(std::span<const T> values) {
        const auto elements = make_span<Datum>(values.size());
        if constexpr (detail::Nullable<T>::allows_null) {
            const auto nulls = make_span<bool>(values.size());
            for (std::size_t i = 0; i < values.size(); ++i) {
                nulls[i] = !values[i].has_value();
                if (values[i])
                    elements[i] = SqlType<Element>::to_datum(*values[i]);
            }
            return detail::make_array(elements, nulls.data(), SqlType<Element>::oid);
        } else {
            for (std::size_t i = 0; i < values.size(); ++i)
                elements[i] = SqlType<Element>::to_datum(values[i]);
            return detail::make_array(elements, nullptr, SqlType<Element>::oid);
        }
    }

    static std::span<const T> from_datum(Datum datum) requires(!detail::Nullable<T>::allows_null) {
        const std::span<Datum> elements = detail::split_array(datum, SqlType<Element>::oid);
        const auto values = make_span<T>(elements.size());
        for (std::size_t i = 0; i < elements.size(); ++i)
            values[i] = SqlType<Element>::from_datum(elements[i]);
        return values;
    }
};

/// The SQL type that a C++ type stands for, NULL allowed or not.
template <class T>
inline constexpr Oid oid_of = SqlType<typename detail::Nullable<T>::Value>::oid;

/// True when values of the SQL type `actual` may be read as `expected`: the same type, one with the
/// same bytes (varchar as text), or any row type where RECORDOID is expected.
bool is_of_type(Oid actual, Oid expected);

/// The value, or NULL where the C++ type allows it. `what` names it in the error of a NULL that is
/// not expected.
template <class T>
T value_of(Datum datum, bool isnull, const char* what) {
    using Value = typename detail::Nullable<T>::Value;
    if constexpr (detail::Nullable<T>::allows_null) {
        if (isnull)
            return std::nullopt;
    } else {
        if (isnull)
            ereport(ERROR,
                    (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what)));
    }
    return SqlType<Value>::from_datum(datum);
}

/// The Datum of a value; `*isnull` when there is none.
template <class T>
Datum datum_of(const T& value, bool* isnull) {
    using Value = typename detail::Nullable<T>::Value;
    if constexpr (detail::Nullable<T>::allows_null) {
        *isnull = !value.has_value();
        return value ? SqlType<Value>::to_datum(*value) : Datum{0};
    } else {
        *isnull = false;
        return SqlType<Value>::to_datum(value);
    }
}

} // namespace attribution::pg
