// The settings of the extension, defined in module.cpp.
#pragma once

namespace attribution::entry {

extern char* tenant_id_setting;   // attribution.tenant_id, "" when unset
extern int sum_tolerance_cents;   // attribution.sum_tolerance_cents
extern bool allow_drop_with_rows; // attribution.allow_drop_with_rows

} // namespace attribution::entry
