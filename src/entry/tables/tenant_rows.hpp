// tenant_rows: which tables have rows of tenants.
#pragma once

#include <span>

#include "pg/postgres.hpp"

namespace attribution::entry {

/// The tables of tenants in schema attribution, found by the catalog: tenants, and every ordinary
/// table that has a column tenant_id; and, in whatever schema, their partitions and the tables that
/// inherit from them, but no temporary ones, which other sessions cannot read. Inside an SPI
/// connection, under pg::pin_settings(); the result lives as long as the connection.
std::span<const Oid> find_tenant_tables();

/// True when the table has a row, whosever it is: row security does not count. Rows that this
/// transaction has deleted do not count either, nor do those that another has not committed yet.
/// The lock is let go at once, so that a DROP that follows takes its stronger one from nothing, and
/// two sessions that do so wait for each other instead of failing in a deadlock.
bool has_rows(Oid table);

/// The names of those of the tables that have rows, with commas between them, palloc'd; nullptr
/// when none has.
const char* names_of_tables_with_rows(std::span<const Oid> tables);

} // namespace attribution::entry
