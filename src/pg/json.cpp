#include <algorithm>
#include <new>

#include "pg/json.hpp"

namespace attribution::pg {
namespace {

/// The nodes of a jsonb while they are written.
class NodeWriter {
public:
    /// For a jsonb of so many bytes.
    explicit NodeWriter(std::size_t bytes) : bytes_(bytes), room_(bytes / 8 + 4) {
        nodes_ = static_cast<core::JsonNode*>(allocate(room_ * sizeof *nodes_));
        numbers_ = static_cast<Numeric*>(allocate(room_ * sizeof(Numeric)));
    }

    void key(const JsonbValue& value) { key_ = string_of(value); }

    void open(core::JsonKind kind, std::uint32_t size) {
        core::JsonNode& node = add(kind);
        node.size = size;
        // Until the container is closed its end is the number of the container around it.
        node.end = container_;
        container_ = static_cast<std::uint32_t>(count_ - 1);
    }

    void close() {
        core::JsonNode& node = nodes_[container_];
        container_ = node.end;
        node.end = static_cast<std::uint32_t>(count_);
    }

    void scalar(const JsonbValue& value) {
        switch (value.type) {
        case jbvNull:
            add(core::JsonKind::null);
            break;
        case jbvBool:
            add(core::JsonKind::boolean).truth = value.val.boolean;
            break;
        case jbvNumeric:
            add(core::JsonKind::number);
            numbers_[count_ - 1] = value.val.numeric;
            break;
        case jbvString:
            add(core::JsonKind::string).text = string_of(value);
            break;
        default:
            elog(ERROR, "unexpected kind of a jsonb scalar: %d", static_cast<int>(value.type));
        }
    }

    [[nodiscard]] JsonDocument finish() const {
        Assert(container_ == none);
        return {.nodes = {nodes_, count_}, .numbers = numbers_, .bytes = bytes_};
    }

private:
    static constexpr std::uint32_t none = PG_UINT32_MAX;

    static void* allocate(std::size_t bytes) { return palloc_extended(bytes, MCXT_ALLOC_HUGE); }

    static std::string_view string_of(const JsonbValue& value) {
        return {value.val.string.val, static_cast<std::size_t>(value.val.string.len)};
    }

    core::JsonNode& add(core::JsonKind kind) {
        if (count_ == room_) {
            room_ *= 2;
            nodes_ = static_cast<core::JsonNode*>(repalloc_huge(nodes_, room_ * sizeof *nodes_));
            numbers_ = static_cast<Numeric*>(repalloc_huge(numbers_, room_ * sizeof(Numeric)));
        }
        const auto next = static_cast<std::uint32_t>(count_ + 1);
        core::JsonNode* node = new (&nodes_[count_++]) core::JsonNode();
        node->kind = kind;
        node->end = next;
        node->key = key_;
        key_ = {};
        return *node;
    }

    core::JsonNode* nodes_;
    Numeric* numbers_;
    std::size_t bytes_, count_ = 0;
    std::size_t room_; // most nodes with their keys take more than 8 bytes; there may be more
    std::uint32_t container_ = none; // the innermost one that is open
    std::string_view key_;           // of the value that comes next
};

/// Writes an array or object, and all that is in it.
void write_container(NodeWriter* writer, JsonbContainer* container) {
    JsonbIterator* it = JsonbIteratorInit(container);
    JsonbValue value;
    for (JsonbIteratorToken token; (token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE;) {
        switch (token) {
        case WJB_KEY:
            writer->key(value);
            break;
        case WJB_VALUE:
        case WJB_ELEM:
            writer->scalar(value);
            break;
        case WJB_BEGIN_OBJECT:
            writer->open(core::JsonKind::object,
                         static_cast<std::uint32_t>(value.val.object.nPairs));
            break;
        case WJB_BEGIN_ARRAY:
            writer->open(core::JsonKind::array, static_cast<std::uint32_t>(value.val.array.nElems));
            break;
        case WJB_END_OBJECT:
        case WJB_END_ARRAY:
            writer->close();
            break;
        case WJB_DONE:
            break;
        }
    }
}

void set_string(JsonbValue* value, std::string_view text) {
    value->type = jbvString;
    value->val.string.val = const_cast<char*>(text.data());
    value->val.string.len = static_cast<int>(text.size());
}

/// Sets the value to node `at`, which is no container.
void set_scalar(JsonbValue* value, const JsonDocument& document, std::size_t at) {
    const core::JsonNode& node = document.nodes[at];
    switch (node.kind) {
    case core::JsonKind::null:
        value->type = jbvNull;
        break;
    case core::JsonKind::boolean:
        value->type = jbvBool;
        value->val.boolean = node.truth;
        break;
    case core::JsonKind::number:
        value->type = jbvNumeric;
        value->val.numeric = document.numbers[at];
        break;
    case core::JsonKind::string:
        set_string(value, node.text);
        break;
    case core::JsonKind::array:
    case core::JsonKind::object:
        pg_unreachable();
    }
}

bool is_container(const core::JsonNode& node) {
    return node.kind == core::JsonKind::array || node.kind == core::JsonKind::object;
}

/// Adds the container at node `at`; returns the whole when it is the outermost one.
JsonbValue* push_container(JsonbParseState** state, const JsonDocument& document, std::size_t at) {
    check_stack_depth();
    const core::JsonNode& container = document.nodes[at];
    const bool is_object = container.kind == core::JsonKind::object;
    pushJsonbValue(state, is_object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY, nullptr);
    for (++at; at < container.end; at = document.nodes[at].end) {
        const core::JsonNode& child = document.nodes[at];
        if (child.is_removed)
            continue;
        JsonbValue value;
        if (is_object) {
            set_string(&value, child.key);
            pushJsonbValue(state, WJB_KEY, &value);
        }
        if (is_container(child)) {
            push_container(state, document, at);
        } else {
            set_scalar(&value, document, at);
            pushJsonbValue(state, is_object ? WJB_VALUE : WJB_ELEM, &value);
        }
    }
    return pushJsonbValue(state, is_object ? WJB_END_OBJECT : WJB_END_ARRAY, nullptr);
}

/// The decimal digits of the numbers of a document. A number of a few bytes such as 1e131071 has as
/// many digits as it says, and a message of some megabytes may consist of such numbers. No key, no
/// amount and no time has many digits, so only so many long texts are made as a message without
/// bad intent can have; the long numbers after them read as words, which nobody takes for a number.
class NumberTexts {
public:
    std::string_view of(Numeric number) {
        if (!is_long(number))
            return digits_of(number);
        if (room_for_long_ == 0)
            return "a number of more than 255 digits";
        const std::string_view digits = digits_of(number);
        room_for_long_ -= std::min(room_for_long_, digits.size());
        return digits;
    }

private:
    static std::string_view digits_of(Numeric number) {
        return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
    }

    static Datum numeric_of(const char* text) {
        return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
                                   Int32GetDatum(-1));
    }

    /// Whether there are more than 255 digits before or after the point.
    [[nodiscard]] bool is_long(Numeric number) const {
        const Datum value = NumericGetDatum(number);
        return DatumGetInt32(DirectFunctionCall1(numeric_scale, value)) > 255 ||
               DatumGetBool(DirectFunctionCall2(numeric_ge, value, most_)) ||
               DatumGetBool(DirectFunctionCall2(numeric_le, value, least_));
    }

    Datum most_ = numeric_of("1e255"), least_ = numeric_of("-1e255");
    std::size_t room_for_long_ = std::size_t{1024} * 1024; // bytes
};

} // namespace

JsonDocument json_structure(Datum jsonb) {
    Jsonb* source = DatumGetJsonbP(jsonb);
    NodeWriter writer(VARSIZE(source));
    if (JB_ROOT_IS_SCALAR(source)) {
        JsonbValue value;
        JsonbExtractScalar(&source->root, &value);
        writer.scalar(value);
    } else {
        write_container(&writer, &source->root);
    }
    return writer.finish();
}

void add_number_texts(const JsonDocument& document) {
    NumberTexts texts;
    for (std::size_t i = 0; i < document.nodes.size();) {
        core::JsonNode& node = document.nodes[i];
        if (node.is_removed) {
            i = node.end;
            continue;
        }
        if (node.kind == core::JsonKind::number)
            node.text = texts.of(document.numbers[i]);
        ++i;
    }
}

JsonDocument json_document(Datum jsonb) {
    const JsonDocument document = json_structure(jsonb);
    add_number_texts(document);
    return document;
}

JsonDocument json_document(const JsonbValue& element) {
    const bool is_container = element.type == jbvBinary;
    NodeWriter writer(is_container ? static_cast<std::size_t>(element.val.binary.len) : 0);
    if (is_container)
        write_container(&writer, element.val.binary.data);
    else
        writer.scalar(element);
    const JsonDocument document = writer.finish();
    add_number_texts(document);
    return document;
}

Datum jsonb_of(const JsonDocument& document, core::Json place) {
    const std::size_t at = place.node_number();
    Assert(at < document.nodes.size() && !document.nodes[at].is_removed);
    if (is_container(document.nodes[at])) {
        JsonbParseState* state = nullptr;
        return JsonbPGetDatum(JsonbValueToJsonb(push_container(&state, document, at)));
    }
    JsonbValue value;
    set_scalar(&value, document, at);
    return JsonbPGetDatum(JsonbValueToJsonb(&value));
}

Datum jsonb_string(std::string_view text) {
    JsonbValue value{};
    set_string(&value, text);
    return JsonbPGetDatum(JsonbValueToJsonb(&value));
}

void push_text(JsonbParseState** state, std::string_view key, std::string_view text) {
    JsonbValue value{};
    set_string(&value, key);
    pushJsonbValue(state, WJB_KEY, &value);
    set_string(&value, text);
    pushJsonbValue(state, WJB_VALUE, &value);
}

} // namespace attribution::pg
