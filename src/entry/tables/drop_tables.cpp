// drop_tables: drops the tables and views of the extension while they are empty, before a dump
// brings its own ones or the extension goes.

#include "entry/tables/definitions.hpp"
#include "entry/tables/tenant_rows.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// What a statement of table_definitions() makes, and how it is dropped; no relation when it makes
/// none.
struct Made {
    const char* kind;
    const RangeVar* relation;
};

Made made_by(Node* statement) {
    switch (nodeTag(statement)) {
    case T_CreateStmt:
        return {.kind = "TABLE", .relation = castNode(CreateStmt, statement)->relation};
    case T_ViewStmt:
        return {.kind = "VIEW", .relation = castNode(ViewStmt, statement)->view};
    case T_CreateTableAsStmt:
        return {.kind = "MATERIALIZED VIEW",
                .relation = castNode(CreateTableAsStmt, statement)->into->rel};
    default:
        return {.kind = nullptr, .relation = nullptr};
    }
}

/// Keeps others out of the tables until they are dropped, so that no row comes after the look.
void lock_tables(const Definitions& definitions) {
    ListCell* cell;
    foreach (cell, definitions.statements) {
        const Made made = made_by(castNode(RawStmt, lfirst(cell))->stmt);
        if (made.relation == nullptr)
            continue;
        const Oid relation = pg::find_own_relation(made.relation->relname);
        if (!OidIsValid(relation))
            continue;
        if (!pg::is_owner(relation, GetUserId()))
            ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                            errmsg("must be owner of relation %s", pg::qualified_name(relation))));
        LockRelationOid(relation, AccessExclusiveLock);
    }
}

void check_tables_empty() {
    const char* names = names_of_tables_with_rows(find_tenant_tables());
    if (names != nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
                 errmsg("cannot drop the tables of the extension attribution because tenants have "
                        "rows"),
                 errdetail("These tables have rows: %s.", names),
                 errhint("Back up the database first. With attribution.allow_drop_with_rows = on "
                         "DROP SCHEMA attribution CASCADE drops all, the extension included.")));
}

/// Without CASCADE, so that a view or a key of a user is an error of the core. The later ones may
/// need the earlier ones, so the last one goes first.
void drop_all(const Definitions& definitions) {
    for (int i = list_length(definitions.statements) - 1; i >= 0; --i) {
        const Made made = made_by(castNode(RawStmt, list_nth(definitions.statements, i))->stmt);
        if (made.relation == nullptr)
            continue;
        const Oid relation = pg::find_own_relation(made.relation->relname);
        if (!OidIsValid(relation))
            continue;
        pg::Statement<void()> drop(psprintf("DROP %s %s", made.kind, pg::qualified_name(relation)),
                                   pg::Plan::once);
        drop.run();
    }
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_drop_tables) {
    PreventCommandIfReadOnly("drop_tables()");
    SPI_connect();
    const entry::Definitions definitions = entry::read_definitions();
    entry::lock_tables(definitions);
    entry::check_tables_empty();
    entry::drop_all(definitions);
    SPI_finish();
    PG_RETURN_VOID();
}
