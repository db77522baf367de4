// What happens when PostgreSQL loads the library: settings and callbacks.

#include "entry/views/change_log.hpp"
#include "entry/intake/redact.hpp"
#include "entry/session/settings.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/check/validate.hpp"

#include "pg/cache.hpp"
#include "pg/library.hpp"

extern "C" {
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "attribution", .version = ATTRIBUTION_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);
}

namespace attribution::entry {

char* tenant_id_setting = nullptr;
int sum_tolerance_cents = 0;
bool allow_drop_with_rows = false;

} // namespace attribution::entry

void _PG_init(void) {
    using namespace attribution::entry;
    if (!attribution::pg::become_first_library())
        return;
    DefineCustomStringVariable(
        "attribution.tenant_id", "The tenant this session acts for, a UUID.",
        "Row security shows and accepts rows of this tenant only; empty means no rows.",
        &tenant_id_setting, "", PGC_USERSET, 0, check_tenant_id_setting, nullptr, nullptr);
    DefineCustomIntVariable(
        "attribution.sum_tolerance_cents",
        "Largest difference between allocations and revenue that may be committed, in cents.",
        "0 is exact. 1 accepts imports from systems that round.", &sum_tolerance_cents, 0, 0,
        1000000, PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable(
        "attribution.allow_drop_with_rows",
        "Lets this session drop tables that have rows of tenants.",
        "Off, a DROP that would lose such rows, or what guards them, is an error.",
        &allow_drop_with_rows, false, PGC_USERSET, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "attribution.change_log_limit",
        "Size up to which the changes of a materialized view are logged until it is refreshed.",
        "Past it changes are no longer logged, and the next refresh computes the whole view.",
        &change_log_limit_mb, 256, 1, 1 << 20, PGC_SUSET, GUC_UNIT_MB, nullptr, nullptr, nullptr);
    DefineCustomStringVariable(
        "attribution.redacted_keys",
        "Keys that are removed from payloads, at any depth, before they are stored.",
        "Separated by commas; case, underscores and hyphens do not count. Empty: nothing is "
        "removed.",
        &redacted_keys_setting, default_redacted_keys, PGC_SUSET, 0, check_redacted_keys,
        assign_redacted_keys, nullptr);
    MarkGUCPrefixReserved("attribution");
    attribution::pg::watch_relations();
    watch_checks();
}
