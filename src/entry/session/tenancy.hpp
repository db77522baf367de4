// tenancy: which tenant a session acts for.
#pragma once

#include "pg/convert.hpp"

namespace attribution::entry {

/// GUC check hook: accepts a UUID or nothing.
bool check_tenant_id_setting(char** value, void** extra, GucSource source);

/// Raises 42501 unless the caller may act for the tenant.
void check_tenant(const core::Uuid& tenant_id);

/// Raises 22023 when there is no such tenant, or none that the caller may see. Inside an SPI
/// connection.
void check_tenant_exists(const core::Uuid& tenant_id);

} // namespace attribution::entry
