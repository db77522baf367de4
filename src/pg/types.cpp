#include "pg/types.hpp"

namespace attribution::pg {

bool is_of_type(Oid actual, Oid expected) {
    if (actual == expected)
        return true;
    if (expected == RECORDOID)
        return type_is_rowtype(actual);
    // A domain over the type, or varchar for text: the same bytes under another name.
    return OidIsValid(actual) && IsBinaryCoercible(getBaseType(actual), expected);
}

namespace detail {

Datum make_array(std::span<Datum> elements, const bool* nulls, Oid element_type) {
    int16 width;
    bool by_value;
    char alignment;
    get_typlenbyvalalign(element_type, &width, &by_value, &alignment);
    int dimension = static_cast<int>(elements.size());
    int lower_bound = 1;
    ArrayType* array =
        nulls == nullptr
            ? construct_array(elements.data(), dimension, element_type, width, by_value, alignment)
            : construct_md_array(elements.data(), const_cast<bool*>(nulls), 1, &dimension,
                                 &lower_bound, element_type, width, by_value, alignment);
    return PointerGetDatum(array);
}

std::span<Datum> split_array(Datum array, Oid element_type) {
    int16 width;
    bool by_value;
    char alignment;
    get_typlenbyvalalign(element_type, &width, &by_value, &alignment);
    Datum* elements = nullptr;
    int count = 0;
    deconstruct_array(DatumGetArrayTypeP(array), element_type, width, by_value, alignment,
                      &elements, nullptr, &count);
    return {elements, static_cast<std::size_t>(count)};
}

} // namespace detail
} // namespace attribution::pg
