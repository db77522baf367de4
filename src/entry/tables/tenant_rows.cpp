#include "entry/tables/tenant_rows.hpp"

#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {

std::span<const Oid> find_tenant_tables() {
    static constinit pg::Statement<Oid(Oid)> find{
        R"sql(
        WITH RECURSIVE tenant_table (id) AS (
            SELECT c.oid
            FROM pg_class c
            WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p')
              AND (c.relname = 'tenants'
                   OR EXISTS (SELECT FROM pg_attribute a
                              WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
            UNION
            SELECT i.inhrelid FROM tenant_table t JOIN pg_inherits i ON i.inhparent = t.id
        )
        SELECT c.oid FROM tenant_table t JOIN pg_class c ON c.oid = t.id
        WHERE c.relkind = 'r' AND c.relpersistence <> 't'
        ORDER BY c.relname, c.oid)sql"};
    const auto rows = find.run(pg::find_own_schema());
    const auto tables = pg::make_span<Oid>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        tables[i] = rows[i];
    return tables;
}

bool has_rows(Oid table_id) {
    Relation table = try_relation_open(table_id, AccessShareLock);
    if (table == nullptr)
        return false;
    // Without a snapshot of the caller's: the latest one, which sees what others have committed
    // since this transaction began.
    SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
    const bool is_found = HeapTupleIsValid(systable_getnext(scan));
    systable_endscan(scan);
    relation_close(table, AccessShareLock);
    return is_found;
}

const char* names_of_tables_with_rows(std::span<const Oid> tables) {
    StringInfoData names;
    initStringInfo(&names);
    for (const Oid table : tables)
        if (has_rows(table))
            appendStringInfo(&names, "%s%s", names.len == 0 ? "" : ", ", pg::qualified_name(table));
    return names.len == 0 ? nullptr : names.data;
}

} // namespace attribution::entry
