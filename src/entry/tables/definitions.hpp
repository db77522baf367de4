// definitions: the statements that make the extension's tables, as the parser reads them.
//
// The one idea: sql/tables holds plain DDL, and the extension keeps its text as the result of
// attribution_internal.table_definitions(). From the parse tree of each statement follows what it
// makes, so one text serves three uses: create_tables() makes what is missing, its dry run says
// what is missing, and required_pieces tells a session what it must find.
#pragma once

#include <span>
#include <string_view>

#include "pg/postgres.hpp"

namespace attribution::entry {

/// The statements in their order, in the memory context in which they were read.
struct Definitions {
    const char* sql;
    List* statements; // of RawStmt
};

Definitions read_definitions();

/// The statements of a text, as read_definitions() returns those of table_definitions().
Definitions parse_definitions(const char* sql);

/// The text of one of them, without what ends it; palloc'd.
const char* definition_text(const Definitions& definitions, const RawStmt* statement);

/// The version of the tables that the extension works with; palloc'd.
const char* expected_table_version();

/// What makes tables of `version` of those of the version before it.
struct UpgradeStep {
    const char* version;
    const char* statements;
};

/// All steps, the oldest first. The first one is the first version itself and has no statements,
/// the last one leads to expected_table_version(); palloc'd.
std::span<const UpgradeStep> read_upgrade_steps();

/// Raises 55000: the tables are older or newer than the extension, with the way out of either.
[[noreturn]] void raise_other_table_version(const char* found, const char* expected);

/// Calls visit(relation, constraint) for each named constraint of a table's statement.
template <class Visit>
void for_each_constraint(const CreateStmt* table, Visit visit) {
    ListCell* cell;
    foreach (cell, table->tableElts) {
        auto* element = static_cast<Node*>(lfirst(cell));
        if (IsA(element, Constraint) && castNode(Constraint, element)->conname != nullptr)
            visit(castNode(Constraint, element));
    }
}

} // namespace attribution::entry
