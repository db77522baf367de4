#include "pg/json.hpp"

namespace attribution::pg {

JsonbValue json_root(Jsonb* document) {
    JsonbValue root{};
    if (JB_ROOT_IS_SCALAR(document)) {
        JsonbExtractScalar(&document->root, &root);
        return root;
    }
    root.type = jbvBinary;
    root.val.binary.data = &document->root;
    root.val.binary.len = static_cast<int>(VARSIZE_ANY_EXHDR(document));
    return root;
}

bool is_object(const JsonbValue* value) {
    return value != nullptr && value->type == jbvBinary &&
           JsonContainerIsObject(value->val.binary.data);
}

const JsonbValue* json_at(const JsonbValue* value, std::initializer_list<std::string_view> path) {
    for (const std::string_view key : path) {
        if (!is_object(value))
            return nullptr;
        value = getKeyJsonValueFromContainer(value->val.binary.data, key.data(),
                                             static_cast<int>(key.size()), nullptr);
    }
    return value == nullptr || value->type == jbvNull ? nullptr : value;
}

std::uint32_t json_count(const JsonbValue* value) {
    return value != nullptr && value->type == jbvBinary &&
                   JsonContainerIsArray(value->val.binary.data)
               ? JsonContainerSize(value->val.binary.data)
               : 0;
}

const JsonbValue* json_element(const JsonbValue* array, std::uint32_t index) {
    return getIthJsonbValueFromContainer(array->val.binary.data, index);
}

bool is_string(const JsonbValue* value) {
    return value != nullptr && value->type == jbvString;
}

std::optional<std::string_view> json_text(const JsonbValue* value) {
    if (is_string(value))
        return std::string_view(value->val.string.val,
                                static_cast<std::size_t>(value->val.string.len));
    if (value != nullptr && value->type == jbvNumeric)
        return std::string_view(
            DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
    return std::nullopt;
}

std::optional<bool> json_bool(const JsonbValue* value) {
    if (value == nullptr || value->type != jbvBool)
        return std::nullopt;
    return value->val.boolean;
}

void push_text(JsonbParseState** state, std::string_view key, std::string_view text) {
    JsonbValue value{};
    value.type = jbvString;
    value.val.string.val = const_cast<char*>(key.data());
    value.val.string.len = static_cast<int>(key.size());
    pushJsonbValue(state, WJB_KEY, &value);
    value.val.string.val = const_cast<char*>(text.data());
    value.val.string.len = static_cast<int>(text.size());
    pushJsonbValue(state, WJB_VALUE, &value);
}

} // namespace attribution::pg
