// model: see model.hpp. How a definition is read and checked: core/definition.hpp.

#include "entry/allocation/model.hpp"

#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/arena.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/json.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Reads and checks a definition, in the current memory context but for the method.
core::ModelDefinition read_definition(std::string_view method, pg::JsonbDatum parameters) {
    const core::Json root = pg::json_document(parameters.datum).root();
    const core::Arena arena = pg::arena();
    core::ModelDefinition definition;
    pg::guarded([&] { definition = core::read_definition(method, root, arena); });
    return definition;
}

/// A model version as it was given.
struct GivenModel {
    core::Uuid tenant_id;
    std::string_view model_version, method;
    pg::JsonbDatum parameters;
};

[[noreturn]] void raise_defined_otherwise(const GivenModel& given, std::string_view stored_method,
                                          std::string_view stored_parameters,
                                          std::string_view given_parameters) {
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("model version \"%.*s\" already exists with another definition",
                    static_cast<int>(given.model_version.size()), given.model_version.data()),
             errdetail("Stored is %.*s %.*s; given is %.*s %.*s.",
                       static_cast<int>(stored_method.size()), stored_method.data(),
                       static_cast<int>(stored_parameters.size()), stored_parameters.data(),
                       static_cast<int>(given.method.size()), given.method.data(),
                       static_cast<int>(given_parameters.size()), given_parameters.data()),
             errhint("Define a new model version."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_models"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "attribution_models_pkey")));
    pg_unreachable();
}

/// What is stored under a model version, beside what was given.
struct StoredModel {
    std::string_view method, parameters;
    bool is_same;
    std::string_view given_parameters;
    using Columns = std::tuple<std::string_view, std::string_view, bool, std::string_view>;
};

/// Raises unless what is stored under the model version is what was given.
void compare_with_stored_model(const GivenModel& given) {
    static constinit pg::Statement<StoredModel(core::Uuid, std::string_view, std::string_view,
                                               pg::JsonbDatum)>
        find{R"sql(
        SELECT m.method, m.parameters::text, m.method = $3 AND m.parameters = $4 AS is_same, $4::text
        FROM attribution.attribution_models m
        WHERE m.tenant_id = $1 AND m.model_version = $2)sql"};
    const std::optional<StoredModel> stored =
        find.run(given.tenant_id, given.model_version, given.method, given.parameters).first();
    if (!stored)
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: the model version was defined "
                               "concurrently"),
                        errhint("The transaction might succeed if retried.")));
    if (!stored->is_same)
        raise_defined_otherwise(given, stored->method, stored->parameters,
                                stored->given_parameters);
}

} // namespace

const core::ModelDefinition* find_model(const core::Uuid& tenant_id, std::string_view model_version,
                                        MemoryContext memory) {
    // The concatenation makes a value that needs no snapshot to be read.
    static constinit pg::Statement<std::tuple<std::string_view, pg::JsonbDatum>(core::Uuid,
                                                                                std::string_view)>
        find{R"sql(
        SELECT method, parameters || '{}' AS parameters
        FROM attribution.attribution_models
        WHERE tenant_id = $1 AND model_version = $2)sql"};
    auto found = find.run(tenant_id, model_version);
    if (found.empty())
        return nullptr;
    const auto [method, parameters] = found[0];
    const MemoryContext before = MemoryContextSwitchTo(memory);
    auto* definition = static_cast<core::ModelDefinition*>(palloc(sizeof(core::ModelDefinition)));
    *definition = read_definition(method, {JsonbPGetDatum(DatumGetJsonbPCopy(parameters.datum))});
    MemoryContextSwitchTo(before);
    found.free();
    return definition;
}

void raise_unknown_model(const core::Uuid& tenant_id, std::string_view model_version) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("model version \"%.*s\" does not exist",
                           static_cast<int>(model_version.size()), model_version.data()),
                    errdetail("Tenant %s has no such model version.", pg::uuid_text(tenant_id)),
                    errhint("Define it with define_model().")));
    pg_unreachable();
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_define_model) {
    entry::require_tables();
    static constinit pg::Statement<void(core::Uuid, std::string_view, std::string_view,
                                        pg::JsonbDatum)>
        insert{R"sql(
        INSERT INTO attribution.attribution_models (tenant_id, model_version, method, parameters)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING)sql"};
    PreventCommandIfReadOnly("define_model()");
    const entry::GivenModel given{
        .tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
        .model_version = pg::argument<std::string_view>(fcinfo, 1, "model_version"),
        .method = pg::argument<std::string_view>(fcinfo, 2, "method"),
        .parameters = pg::argument<pg::JsonbDatum>(fcinfo, 3, "parameters")};
    pg::check_text(given.model_version, "model_version");
    entry::read_definition(given.method, given.parameters);

    SPI_connect();
    entry::check_tenant_exists(given.tenant_id);
    if (insert.run(given.tenant_id, given.model_version, given.method, given.parameters) == 0)
        entry::compare_with_stored_model(given);
    SPI_finish();
    PG_RETURN_VOID();
}

ATTRIBUTION_FUNCTION(attribution_keep_model) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "keep_model");
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("cannot change a model version"),
                    errdetail("A row of \"%s\" would be updated.",
                              RelationGetRelationName(trigger->tg_relation)),
                    errhint("Define a new model version."),
                    errtableconstraint(trigger->tg_relation, "model_version_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
