// model: the model versions of a tenant.
#pragma once

#include <string_view>

#include "core/definition.hpp"

#include "pg/postgres.hpp"

namespace attribution::entry {

/// Reads the model version of a tenant, with its texts, into `memory`; nullptr when there is none.
/// Inside an SPI connection.
const core::ModelDefinition* find_model(const core::Uuid& tenant_id, std::string_view model_version,
                                        MemoryContext memory);

/// Raises 22023: the tenant has no such model version.
[[noreturn]] void raise_unknown_model(const core::Uuid& tenant_id, std::string_view model_version);

} // namespace attribution::entry
