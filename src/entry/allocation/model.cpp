// model: define_model and the reading of parameters.
//
// Parameters are checked strictly, once, when the version is defined: a misspelt key would
// otherwise give credit silently in another way, for ever.

#include "entry/allocation/model.hpp"

#include <algorithm>
#include <array>

#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

constexpr std::array<const char*, 7> method_names = {
    "first_touch",    "last_touch", "last_non_direct", "linear",
    "position_based", "time_decay", "custom"};

constexpr std::int64_t us_per_day = std::int64_t{86'400} * 1'000'000;
constexpr std::int64_t max_days = 36'500;
constexpr int max_listed_channels = 1'000;

[[noreturn]] void raise_parameter(const char* key, const char* problem, const char* hint) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("invalid model parameter \"%s\"", key), errdetail("%s", problem),
                    errhint("%s", hint)));
    pg_unreachable();
}

core::Method read_method(std::string_view name) {
    for (std::size_t i = 0; i < method_names.size(); ++i)
        if (name == method_names[i])
            return static_cast<core::Method>(i);
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("unknown method \"%.*s\"", static_cast<int>(name.size()), name.data()),
             errhint("The method is one of first_touch, last_touch, last_non_direct, linear, "
                     "position_based, time_decay, custom.")));
    pg_unreachable();
}

/// value * 10^decimals as a whole number in [least, most]; anything else is refused.
std::int64_t read_number(const char* key, const JsonbValue& value, int decimals, std::int64_t least,
                         std::int64_t most) {
    const char* range = psprintf("It is a number %s " INT64_FORMAT " with at most %d decimals.",
                                 least == 0 ? "from 0 to" : "above 0, at most", most, decimals);
    if (value.type != jbvNumeric)
        raise_parameter(key, "The value is not a number.", range);
    const Datum number = NumericGetDatum(value.val.numeric);
    const char* shown =
        psprintf("The value is %s.", DatumGetCString(DirectFunctionCall1(numeric_out, number)));
    // Compared before it is scaled: the product might not be a number any more.
    const auto is_above = [](Datum left, std::int64_t right) {
        return DatumGetBool(DirectFunctionCall2(
            numeric_gt, left, DirectFunctionCall1(int8_numeric, Int64GetDatum(right))));
    };
    if (is_above(number, most) || !is_above(number, -1))
        raise_parameter(key, shown, range);
    std::int64_t scale = 1;
    for (int i = 0; i < decimals; ++i)
        scale *= 10;
    const Datum scaled = DirectFunctionCall2(
        numeric_mul, number, DirectFunctionCall1(int8_numeric, Int64GetDatum(scale)));
    if (!is_above(scaled, least - 1) ||
        !DatumGetBool(DirectFunctionCall2(
            numeric_eq, scaled, DirectFunctionCall2(numeric_trunc, scaled, Int32GetDatum(0)))))
        raise_parameter(key, shown, range);
    return DatumGetInt64(DirectFunctionCall1(numeric_int8, scaled));
}

std::string_view read_channel(const char* key, const JsonbValue& value) {
    if (value.type != jbvString)
        raise_parameter(key, "A channel is not a string.", "Channels are strings.");
    const std::string_view text(value.val.string.val,
                                static_cast<std::size_t>(value.val.string.len));
    if (text.empty() || text.size() > pg::max_text_bytes)
        raise_parameter(key, psprintf("A channel has %zu bytes.", text.size()),
                        "Channels have 1 to 255 bytes.");
    return text;
}

/// Iterates over an object or array: the container's size, or raises when it is neither.
JsonbIterator* open_container(const char* key, const JsonbValue& value, bool object,
                              std::size_t* size) {
    JsonbContainer* container = value.type == jbvBinary ? value.val.binary.data : nullptr;
    if (container == nullptr ||
        !(object ? JsonContainerIsObject(container) : JsonContainerIsArray(container)))
        raise_parameter(key, psprintf("The value is not an %s.", object ? "object" : "array"),
                        object ? "Write {\"name\": value, ...}." : "Write [\"channel\", ...].");
    *size = JsonContainerSize(container);
    if (*size > max_listed_channels)
        raise_parameter(key, psprintf("It lists %zu channels.", *size),
                        psprintf("At most %d may be listed.", max_listed_channels));
    return JsonbIteratorInit(container);
}

std::span<std::string_view> read_channels(const char* key, const JsonbValue& value) {
    std::size_t size;
    JsonbIterator* iterator = open_container(key, value, false, &size);
    const auto channels = pg::make_span<std::string_view>(size);
    std::size_t count = 0;
    JsonbValue element;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE;)
        if (token == WJB_ELEM)
            channels[count++] = read_channel(key, element);
    pg::guarded([&] { std::sort(channels.begin(), channels.end()); });
    return channels;
}

std::span<ModelDefinition::ChannelWeight> read_channel_weights(const char* key,
                                                               const JsonbValue& value) {
    std::size_t size;
    JsonbIterator* iterator = open_container(key, value, true, &size);
    const auto weights = pg::make_span<ModelDefinition::ChannelWeight>(size);
    std::size_t count = 0;
    JsonbValue element;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE;) {
        if (token == WJB_KEY)
            weights[count].channel = read_channel(key, element);
        else if (token == WJB_VALUE)
            weights[count++].weight = static_cast<std::uint64_t>(
                read_number(key, element, 6, 0, core::max_model_weight / 1'000'000));
    }
    // jsonb orders keys by length first.
    pg::guarded([&] {
        std::sort(weights.begin(), weights.end(),
                  [](const auto& a, const auto& b) { return a.channel < b.channel; });
    });
    return weights;
}

core::Position read_position(const char* key, const JsonbValue& value) {
    std::size_t size;
    JsonbIterator* iterator = open_container(key, value, true, &size);
    core::Position position{.first = 0, .middle = 0, .last = 0};
    std::uint32_t* part = nullptr;
    int parts = 0;
    JsonbValue element;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE;) {
        if (token == WJB_KEY) {
            const std::string_view name(element.val.string.val,
                                        static_cast<std::size_t>(element.val.string.len));
            part = name == "first"    ? &position.first
                   : name == "middle" ? &position.middle
                   : name == "last"   ? &position.last
                                      : nullptr;
            if (part == nullptr)
                raise_parameter(
                    key,
                    psprintf("Unknown part \"%.*s\".", static_cast<int>(name.size()), name.data()),
                    "The parts are first, middle and last.");
            ++parts;
        } else if (token == WJB_VALUE) {
            *part = static_cast<std::uint32_t>(
                read_number(key, element, 0, 0, core::max_position_weight));
        }
    }
    if (parts != 3)
        raise_parameter(key, psprintf("%d parts are given.", parts),
                        "Give all three: first, middle and last.");
    if (position.first == 0 && position.middle == 0 && position.last == 0)
        raise_parameter(key, "All parts are zero.", "At least one part must be positive.");
    return position;
}

/// Takes one parameter into the definition; false when the method has no such parameter.
bool read_parameter(std::string_view name, const char* key, const JsonbValue& value,
                    ModelDefinition* definition) {
    const core::Method method = definition->model.method;
    if (name == "lookback_days") {
        definition->lookback_us =
            read_number(key, value, 6, 1, max_days) * (us_per_day / 1'000'000);
        return true;
    }
    if (name == "exclude_channels") {
        definition->excluded_channels = read_channels(key, value);
        return true;
    }
    if (name == "direct_channels" && method == core::Method::last_non_direct) {
        definition->direct_channels = read_channels(key, value);
        return true;
    }
    if (name == "position_weights" && method == core::Method::position_based) {
        definition->model.position = read_position(key, value);
        return true;
    }
    if (name == "half_life_days" && method == core::Method::time_decay) {
        definition->model.half_life_us =
            read_number(key, value, 6, 1, max_days) * (us_per_day / 1'000'000);
        return true;
    }
    if (name == "channel_weights" && method == core::Method::custom) {
        definition->channel_weights = read_channel_weights(key, value);
        return true;
    }
    if (name == "default_weight" && method == core::Method::custom) {
        definition->default_weight = static_cast<std::uint64_t>(
            read_number(key, value, 6, 0, core::max_model_weight / 1'000'000));
        return true;
    }
    return false;
}

const char* parameter_hint(core::Method method) {
    switch (method) {
    case core::Method::last_non_direct:
        return "The parameters are lookback_days, exclude_channels and direct_channels.";
    case core::Method::position_based:
        return "The parameters are lookback_days, exclude_channels and position_weights.";
    case core::Method::time_decay:
        return "The parameters are lookback_days, exclude_channels and half_life_days.";
    case core::Method::custom:
        return "The parameters are lookback_days, exclude_channels, channel_weights and "
               "default_weight.";
    default:
        return "The parameters are lookback_days and exclude_channels.";
    }
}

} // namespace

int weight_decimals(core::Method method) {
    switch (method) {
    case core::Method::time_decay:
        return 12;
    case core::Method::custom:
        return 6;
    default:
        return 0;
    }
}

ModelDefinition read_model(std::string_view method, Jsonb* parameters) {
    static constinit std::string_view direct[] = {"direct"};
    ModelDefinition definition{};
    definition.model.method = read_method(method);
    definition.lookback_us = 30 * us_per_day;
    definition.direct_channels = direct;
    if (!JB_ROOT_IS_OBJECT(parameters))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("parameters must be a JSON object")));

    JsonbIterator* iterator = JsonbIteratorInit(&parameters->root);
    JsonbValue value;
    const char* key = "";
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE;) {
        if (token == WJB_KEY)
            key = pnstrdup(value.val.string.val, value.val.string.len);
        else if (token == WJB_VALUE && !read_parameter(key, key, value, &definition))
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("unknown parameter \"%s\" of method %.*s", key,
                                   static_cast<int>(method.size()), method.data()),
                            errhint("%s", parameter_hint(definition.model.method))));
    }
    const bool has_weights = !definition.channel_weights.empty() || definition.default_weight > 0;
    definition.weights_come_from_caller =
        definition.model.method == core::Method::custom && JB_ROOT_COUNT(parameters) == 0;
    if (definition.model.method == core::Method::custom && !has_weights &&
        !definition.weights_come_from_caller)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a custom model with parameters needs weights"),
                        errhint("Give channel_weights or default_weight, or no parameters at all "
                                "when the caller passes the weights of each event.")));
    return definition;
}

const ModelDefinition* find_model(Datum tenant_id, Datum model_version, MemoryContext memory) {
    // The concatenation makes a value that needs no snapshot to be read.
    static constinit pg::Query find = {
        .sql = "SELECT method, parameters || '{}' FROM attribution.attribution_models "
               "WHERE tenant_id = $1 AND model_version = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {tenant_id, model_version};
    pg::run(find, values);
    if (SPI_processed == 0)
        return nullptr;
    bool isnull;
    const MemoryContext before = MemoryContextSwitchTo(memory);
    const std::string_view method =
        pg::text_of(datumCopy(pg::result_value(0, 1, &isnull), false, -1));
    auto* definition = static_cast<ModelDefinition*>(palloc(sizeof(ModelDefinition)));
    *definition = read_model(method, DatumGetJsonbPCopy(pg::result_value(0, 2, &isnull)));
    MemoryContextSwitchTo(before);
    return definition;
}

void raise_unknown_model(Datum tenant_id, Datum model_version) {
    const std::string_view name = pg::text_of(model_version);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("model version \"%.*s\" does not exist", static_cast<int>(name.size()),
                           name.data()),
                    errdetail("Tenant %s has no such model version.", pg::uuid_text(tenant_id)),
                    errhint("Define it with define_model().")));
    pg_unreachable();
}

void check_tenant_exists(Datum tenant_id) {
    static constinit pg::Query find = {.sql = "SELECT 1 FROM attribution.tenants WHERE id = $1",
                                       .parameter_count = 1,
                                       .parameter_types = {UUIDOID},
                                       .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                                       .plan = nullptr};
    pg::run(find, &tenant_id);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tenant %s does not exist", pg::uuid_text(tenant_id)),
                        errhint("Row security hides every tenant but attribution.tenant_id.")));
}

void raise_unknown_event(Datum tenant_id, Datum event_id) {
    check_tenant_exists(tenant_id);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("event %s does not exist", pg::uuid_text(event_id)),
                    errdetail("Tenant %s has no such event.", pg::uuid_text(tenant_id)),
                    errhint("Ingest the event first.")));
    pg_unreachable();
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_define_model) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.attribution_models (tenant_id, model_version, method, "
               "parameters) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID, JSONBOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query find = {
        .sql = "SELECT m.method, m.parameters::text, m.method = $3 AND m.parameters = $4, $4::text "
               "FROM attribution.attribution_models m "
               "WHERE m.tenant_id = $1 AND m.model_version = $2",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID, JSONBOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constexpr std::array argument_names = {"tenant_id", "model_version", "method",
                                                  "parameters"};
    PreventCommandIfReadOnly("define_model()");
    pg::check_not_null(fcinfo, argument_names);
    pg::check_text(PG_GETARG_DATUM(1), "model_version");
    entry::read_model(pg::text_of(PG_GETARG_DATUM(2)), PG_GETARG_JSONB_P(3));

    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
                      PG_GETARG_DATUM(3)};
    SPI_connect();
    entry::check_tenant_exists(values[0]);
    pg::run(insert, values);
    if (SPI_processed == 0) {
        pg::run(find, values);
        bool isnull;
        if (SPI_processed == 0)
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not serialize access: the model version was defined "
                                   "concurrently"),
                            errhint("The transaction might succeed if retried.")));
        if (!DatumGetBool(pg::result_value(0, 3, &isnull))) {
            const std::string_view version = pg::text_of(values[1]);
            const std::string_view stored_method = pg::text_of(pg::result_value(0, 1, &isnull));
            const std::string_view stored = pg::text_of(pg::result_value(0, 2, &isnull));
            const std::string_view method = pg::text_of(values[2]);
            const std::string_view given = pg::text_of(pg::result_value(0, 4, &isnull));
            ereport(ERROR,
                    (errcode(ERRCODE_UNIQUE_VIOLATION),
                     errmsg("model version \"%.*s\" is already defined otherwise",
                            static_cast<int>(version.size()), version.data()),
                     errdetail("Stored is %.*s %.*s; given is %.*s %.*s.",
                               static_cast<int>(stored_method.size()), stored_method.data(),
                               static_cast<int>(stored.size()), stored.data(),
                               static_cast<int>(method.size()), method.data(),
                               static_cast<int>(given.size()), given.data()),
                     errhint("Changing your mind is a new model version."),
                     err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
                     err_generic_string(PG_DIAG_TABLE_NAME, "attribution_models"),
                     err_generic_string(PG_DIAG_CONSTRAINT_NAME, "attribution_models_pkey")));
        }
    }
    SPI_finish();
    PG_RETURN_VOID();
}

ATTRIBUTION_FUNCTION(attribution_keep_model) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "keep_model");
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("a model version never changes"),
                    errdetail("A row of \"%s\" would be updated.",
                              RelationGetRelationName(trigger->tg_relation)),
                    errhint("Changing your mind is a new model version."),
                    errtableconstraint(trigger->tg_relation, "model_version_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
