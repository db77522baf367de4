// create_tables: makes what is missing of the extension's tables.
#pragma once

#include "pg/call.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {

/// Makes what is missing of the tables, views and what belongs to them, and adds a row (object,
/// problem) for each piece; a dry run only adds the rows. Inside an SPI connection, as the owner of
/// the tables, and outside a script of an extension (creating_extension).
void make_missing_tables(pg::ResultRows* findings, bool is_dry_run);

/// Acts as the owner of the tables that are there, to whom new ones shall belong, and returns whose
/// rights to go back to. Raises 42501 when the caller does not have that owner's rights.
pg::CallerRights act_as_owner_of_tables();

} // namespace attribution::entry
