// create_tables: makes what is missing of the extension's tables.
//
// The one idea: each statement of table_definitions() says in its parse tree what it makes. What is
// there is left as it is, so the function makes the tables of a new database, mends those that a
// restore or a DROP EXTENSION CASCADE has left incomplete, and, when it may not write, says what is
// missing.

#include "entry/tables/create_tables.hpp"

#include "entry/tables/definitions.hpp"
#include "entry/tables/owner.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// One call of make_missing_tables().
struct Making {
    Definitions definitions;
    bool is_dry_run;
    pg::ResultRows* findings;
    List* made_relations; // of Oid
    List* made_columns;   // of ObjectAddress*
    // The trigger that was made or enabled last: ALTER TABLE ... ENABLE ALWAYS TRIGGER follows it.
    const CreateTrigStmt* made_trigger;
};

// ---------------------------------------------------------------------------------------------
// Saying and doing

void report(const Making& making, const char* object, const char* problem) {
    making.findings->add(std::string_view(object), std::string_view(problem));
}

/// Runs the statement as it stands in the definitions, and returns the number of rows it wrote.
std::uint64_t run_text(const Making& making, const RawStmt* statement) {
    pg::Statement<void()> one(definition_text(making.definitions, statement), pg::Plan::once);
    return one.run();
}

/// Runs a statement that was made of a part of another one, as ALTER TABLE ... ADD CONSTRAINT is
/// made of a constraint in CREATE TABLE.
void run_node(const Making& making, Node* statement) {
    PlannedStmt* wrapper = makeNode(PlannedStmt);
    wrapper->commandType = CMD_UTILITY;
    wrapper->utilityStmt = statement;
    wrapper->stmt_location = -1;
    ProcessUtility(wrapper, making.definitions.sql, false, PROCESS_UTILITY_QUERY, nullptr, nullptr,
                   None_Receiver, nullptr);
    CommandCounterIncrement();
}

void alter_table(const Making& making, const RangeVar* table, AlterTableType what,
                 const char* column, const void* definition) {
    AlterTableCmd* command = makeNode(AlterTableCmd);
    command->subtype = what;
    command->name = column == nullptr ? nullptr : pstrdup(column);
    command->def = static_cast<Node*>(copyObjectImpl(definition));
    command->behavior = DROP_RESTRICT;
    AlterTableStmt* statement = makeNode(AlterTableStmt);
    statement->relation = static_cast<RangeVar*>(copyObjectImpl(table));
    statement->cmds = list_make1(command);
    statement->objtype = OBJECT_TABLE;
    run_node(making, reinterpret_cast<Node*>(statement));
}

const char* name_of(const RangeVar* relation) {
    return psprintf("%s.%s", quote_identifier(relation->schemaname),
                    quote_identifier(relation->relname));
}

Oid find(const RangeVar* relation) {
    return RangeVarGetRelid(relation, NoLock, true);
}

// ---------------------------------------------------------------------------------------------
// Relations

void make_relation(Making* making, const RawStmt* statement, const char* kind,
                   const RangeVar* relation) {
    report(*making, psprintf("%s %s", kind, name_of(relation)), "is missing");
    if (making->is_dry_run)
        return;
    run_text(*making, statement);
    making->made_relations = lappend_oid(making->made_relations, find(relation));
}

/// The constraint of that kind in a column's definition; nullptr when it has none.
const Constraint* column_constraint(const ColumnDef* column, ConstrType kind) {
    ListCell* cell;
    foreach (cell, column->constraints) {
        const auto* constraint = castNode(Constraint, lfirst(cell));
        if (constraint->contype == kind)
            return constraint;
    }
    return nullptr;
}

void add_column(Making* making, const RangeVar* table, Oid table_id, const ColumnDef* wanted) {
    alter_table(*making, table, AT_AddColumn, nullptr, wanted);
    auto* address = static_cast<ObjectAddress*>(palloc(sizeof(ObjectAddress)));
    ObjectAddressSubSet(*address, RelationRelationId, table_id,
                        get_attnum(table_id, wanted->colname));
    making->made_columns = lappend(making->made_columns, address);
}

void mend_column(Making* making, const RangeVar* table, Oid table_id, const ColumnDef* wanted) {
    const char* name =
        psprintf("column %s of table %s", quote_identifier(wanted->colname), name_of(table));
    HeapTuple found = SearchSysCacheAttName(table_id, wanted->colname);
    if (!HeapTupleIsValid(found)) {
        report(*making, name, "is missing");
        if (!making->is_dry_run)
            add_column(making, table, table_id, wanted);
        return;
    }
    const FormData_pg_attribute column = *reinterpret_cast<Form_pg_attribute>(GETSTRUCT(found));
    ReleaseSysCache(found);
    const Constraint* default_value = column_constraint(wanted, CONSTR_DEFAULT);
    if (default_value != nullptr && !column.atthasdef) {
        report(*making, name, "has no default");
        if (!making->is_dry_run)
            alter_table(*making, table, AT_ColumnDefault, wanted->colname, default_value->raw_expr);
    }
    if (column_constraint(wanted, CONSTR_NOTNULL) != nullptr && !column.attnotnull) {
        report(*making, name, "accepts null");
        if (!making->is_dry_run)
            alter_table(*making, table, AT_SetNotNull, wanted->colname, nullptr);
    }
}

/// Mends what a table that is there lacks.
void mend_table(Making* making, const CreateStmt* wanted, Oid table_id) {
    ListCell* cell;
    foreach (cell, wanted->tableElts) {
        auto* element = static_cast<Node*>(lfirst(cell));
        if (IsA(element, ColumnDef))
            mend_column(making, wanted->relation, table_id, castNode(ColumnDef, element));
    }
    for_each_constraint(wanted, [&](const Constraint* constraint) {
        if (OidIsValid(get_relation_constraint_oid(table_id, constraint->conname, true)))
            return;
        report(*making,
               psprintf("constraint %s of table %s", quote_identifier(constraint->conname),
                        name_of(wanted->relation)),
               "is missing");
        if (!making->is_dry_run)
            alter_table(*making, wanted->relation, AT_AddConstraint, nullptr, constraint);
    });
}

void make_table(Making* making, const RawStmt* statement) {
    const auto* table = castNode(CreateStmt, statement->stmt);
    const Oid found = find(table->relation);
    if (!OidIsValid(found))
        make_relation(making, statement, "table", table->relation);
    else
        mend_table(making, table, found);
}

void make_index(const Making& making, const RawStmt* statement) {
    const auto* index = castNode(IndexStmt, statement->stmt);
    const Oid table = find(index->relation);
    if (OidIsValid(table) &&
        OidIsValid(get_relname_relid(index->idxname, get_rel_namespace(table))))
        return;
    report(making,
           psprintf("index %s on %s", quote_identifier(index->idxname), name_of(index->relation)),
           "is missing");
    if (!making.is_dry_run)
        run_text(making, statement);
}

// ---------------------------------------------------------------------------------------------
// What belongs to a table

/// The function that the trigger calls and when it fires; function InvalidOid when there is none.
struct FoundTrigger {
    Oid function;
    char enabled;
};

FoundTrigger find_trigger(Oid table, const char* name) {
    FoundTrigger found = {.function = InvalidOid, .enabled = '\0'};
    if (!OidIsValid(table))
        return found;
    Relation catalog = table_open(TriggerRelationId, AccessShareLock);
    ScanKeyData conditions[2];
    ScanKeyInit(&conditions[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(table));
    ScanKeyInit(&conditions[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum(name));
    SysScanDesc scan =
        systable_beginscan(catalog, TriggerRelidNameIndexId, true, nullptr, 2, conditions);
    const HeapTuple row = systable_getnext(scan);
    if (HeapTupleIsValid(row)) {
        const auto* form = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(row));
        found = {.function = form->tgfoid, .enabled = form->tgenabled};
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

void make_trigger(Making* making, const RawStmt* statement) {
    const auto* trigger = castNode(CreateTrigStmt, statement->stmt);
    const FoundTrigger found = find_trigger(find(trigger->relation), trigger->trigname);
    const char* name = psprintf("trigger %s on %s", quote_identifier(trigger->trigname),
                                name_of(trigger->relation));
    if (!OidIsValid(found.function)) {
        report(*making, name, "is missing");
        if (!making->is_dry_run)
            run_text(*making, statement);
        making->made_trigger = trigger;
    } else if (found.function != LookupFuncName(trigger->funcname, 0, nullptr, true)) {
        // Dropping it would be to drop what somebody has made on purpose.
        report(*making, name, "calls another function; drop it to have it made again");
    } else if (found.enabled == TRIGGER_DISABLED) {
        // When it fires always or on replicas, the statement that follows says so.
        report(*making, name, "is disabled");
        if (!making->is_dry_run)
            alter_table(*making, trigger->relation, AT_EnableTrig, trigger->trigname, nullptr);
        making->made_trigger = trigger;
    }
}

void make_policy(const Making& making, const RawStmt* statement) {
    const auto* policy = castNode(CreatePolicyStmt, statement->stmt);
    const Oid table = find(policy->table);
    if (OidIsValid(table) && OidIsValid(get_relation_policy_oid(table, policy->policy_name, true)))
        return;
    report(
        making,
        psprintf("policy %s on %s", quote_identifier(policy->policy_name), name_of(policy->table)),
        "is missing");
    if (!making.is_dry_run)
        run_text(making, statement);
}

bool has_row_security(Oid relation) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const bool has = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relrowsecurity;
    ReleaseSysCache(tuple);
    return has;
}

/// When a trigger of this kind of ALTER TABLE fires, as pg_trigger says it.
char firing_of(AlterTableType what) {
    return what == AT_EnableAlwaysTrig ? TRIGGER_FIRES_ALWAYS : TRIGGER_FIRES_ON_REPLICA;
}

/// ALTER TABLE ... ENABLE ALWAYS TRIGGER, ENABLE REPLICA TRIGGER or ENABLE ROW LEVEL SECURITY.
void make_alteration(const Making& making, const RawStmt* statement) {
    const auto* alteration = castNode(AlterTableStmt, statement->stmt);
    const auto* command = linitial_node(AlterTableCmd, alteration->cmds);
    const Oid table = find(alteration->relation);
    if (!OidIsValid(table))
        return; // of a dry run
    const char* object;
    const char* problem;
    if (command->subtype == AT_EnableRowSecurity) {
        if (has_row_security(table))
            return;
        object = psprintf("table %s", name_of(alteration->relation));
        problem = "has no row security";
    } else {
        Assert(command->subtype == AT_EnableAlwaysTrig || command->subtype == AT_EnableReplicaTrig);
        const FoundTrigger found = find_trigger(table, command->name);
        if (!OidIsValid(found.function) || found.enabled == firing_of(command->subtype))
            return;
        object = psprintf("trigger %s on %s", quote_identifier(command->name),
                          name_of(alteration->relation));
        problem = command->subtype == AT_EnableAlwaysTrig ? "does not fire always"
                                                          : "does not fire on replicas";
    }
    const bool is_new = command->subtype == AT_EnableRowSecurity
                            ? list_member_oid(making.made_relations, table)
                            : making.made_trigger != nullptr &&
                                  strcmp(making.made_trigger->trigname, command->name) == 0 &&
                                  find(making.made_trigger->relation) == table;
    if (!is_new)
        report(making, object, problem);
    if (!making.is_dry_run)
        run_text(making, statement);
}

/// The relation that the comment is on, or on a column of; InvalidOid when it is not there.
Oid find_commented(const CommentStmt* comment) {
    List* names = list_copy(castNode(List, comment->object));
    if (comment->objtype == OBJECT_COLUMN)
        names = list_truncate(names, list_length(names) - 1);
    return find(makeRangeVarFromNameList(names));
}

/// True for a relation that this call has made, its columns, and a column that it has added.
bool is_made(const Making& making, const ObjectAddress& address) {
    ListCell* cell;
    foreach (cell, making.made_columns) {
        const auto* column = static_cast<const ObjectAddress*>(lfirst(cell));
        if (column->objectId == address.objectId && column->objectSubId == address.objectSubId)
            return true;
    }
    return list_member_oid(making.made_relations, address.objectId);
}

void make_comment(const Making& making, const RawStmt* statement) {
    const auto* comment = castNode(CommentStmt, statement->stmt);
    if (!OidIsValid(find_commented(comment)))
        return; // of a dry run; get_object_address() would fail for a column of no relation
    Relation relation = nullptr;
    const ObjectAddress address =
        get_object_address(comment->objtype, comment->object, &relation, AccessShareLock, true);
    const bool is_there = OidIsValid(address.objectId);
    const bool has_comment =
        is_there && GetComment(address.objectId, address.classId, address.objectSubId) != nullptr;
    const char* object = is_there ? getObjectDescription(&address, false) : nullptr;
    const bool is_new = relation != nullptr && is_made(making, address);
    if (relation != nullptr)
        relation_close(relation, AccessShareLock);
    if (!is_there || has_comment)
        return;
    if (!is_new)
        report(making, object, "has no comment");
    if (!making.is_dry_run)
        run_text(making, statement);
}

/// Rows that the extension brings along, or what is computed from them. Rows are not looked for by
/// a dry run, which writes nothing.
void make_rows(const Making& making, const RawStmt* statement) {
    if (making.is_dry_run)
        return;
    const std::uint64_t written = run_text(making, statement);
    if (written == 0 || !IsA(statement->stmt, InsertStmt))
        return;
    const RangeVar* table = castNode(InsertStmt, statement->stmt)->relation;
    if (!list_member_oid(making.made_relations, find(table)))
        report(making, psprintf("table %s", name_of(table)),
               psprintf("lacked rows of the extension or had others for them: " UINT64_FORMAT,
                        written));
}

void make(Making* making, const RawStmt* statement) {
    switch (nodeTag(statement->stmt)) {
    case T_CreateStmt:
        return make_table(making, statement);
    case T_IndexStmt:
        return make_index(*making, statement);
    case T_CreateTrigStmt:
        return make_trigger(making, statement);
    case T_CreatePolicyStmt:
        return make_policy(*making, statement);
    case T_AlterTableStmt:
        return make_alteration(*making, statement);
    case T_CommentStmt:
        return make_comment(*making, statement);
    case T_ViewStmt: {
        const RangeVar* view = castNode(ViewStmt, statement->stmt)->view;
        if (!OidIsValid(find(view)))
            make_relation(making, statement, "view", view);
        return;
    }
    case T_CreateTableAsStmt: {
        const RangeVar* view = castNode(CreateTableAsStmt, statement->stmt)->into->rel;
        if (!OidIsValid(find(view)))
            make_relation(making, statement, "materialized view", view);
        return;
    }
    case T_InsertStmt:
    case T_DoStmt:
        return make_rows(*making, statement);
    default:
        elog(ERROR, "table_definitions() has a statement of kind %d",
             static_cast<int>(nodeTag(statement->stmt)));
    }
}

// ---------------------------------------------------------------------------------------------
// Rights

/// Default privileges of the role would open what was just made, the materialized views of all
/// tenants among it.
void revoke_default_privileges(const Making& making) {
    static constinit pg::Statement<std::string_view(std::span<const Oid>)> find_rights{
        R"sql(
        SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
                               CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                    ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = ANY ($1) AND a.grantee <> c.relowner)sql",
        pg::Plan::chosen};
    const int count = list_length(making.made_relations);
    const auto relations = pg::make_span<Oid>(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        relations[static_cast<std::size_t>(i)] = list_nth_oid(making.made_relations, i);
    for (const std::string_view revocation : find_rights.run(relations)) {
        pg::Statement<void()> revoke(pg::copied(revocation).data(), pg::Plan::once);
        revoke.run();
    }
}

/// One of the tables that are there; InvalidOid when there is none.
Oid find_any_table(const Definitions& definitions) {
    ListCell* cell;
    foreach (cell, definitions.statements) {
        Node* statement = castNode(RawStmt, lfirst(cell))->stmt;
        if (!IsA(statement, CreateStmt))
            continue;
        const Oid table = find(castNode(CreateStmt, statement)->relation);
        if (OidIsValid(table))
            return table;
    }
    return InvalidOid;
}

/// Raises 42809 or 55000 unless what is there under the names of our tables and views is a table or
/// a view, and belongs to an owner who is to be trusted: filling a table runs its triggers, and an
/// index on a view is made again when the view is.
void check_what_is_there(const Definitions& definitions) {
    Oid first_owner = InvalidOid;
    ListCell* cell;
    foreach (cell, definitions.statements) {
        Node* statement = castNode(RawStmt, lfirst(cell))->stmt;
        const RangeVar* name;
        const char* kinds;
        switch (nodeTag(statement)) {
        case T_CreateStmt:
            name = castNode(CreateStmt, statement)->relation;
            kinds = table_kinds;
            break;
        case T_CreateTableAsStmt:
            name = castNode(CreateTableAsStmt, statement)->into->rel;
            kinds = materialized_view_kinds;
            break;
        default:
            continue;
        }
        const Oid relation = find(name);
        if (!OidIsValid(relation))
            continue;
        pg::check_kind(relation, kinds);
        const Oid owner = pg::owner_of(relation);
        if (IsA(statement, CreateStmt) && !OidIsValid(first_owner))
            first_owner = owner;
        check_owner(name->relname, owner, IsA(statement, CreateStmt) ? first_owner : owner);
    }
}

/// Tables of an older version need other statements than those that are missing.
void check_tables_version() {
    if (!OidIsValid(pg::find_own_relation("schema_version")))
        return;
    pg::Statement<std::string_view()> find_version(
        "SELECT v.version FROM attribution.schema_version v", pg::Plan::once);
    const auto version = find_version.run().first();
    const char* expected = expected_table_version();
    if (version && *version != expected)
        raise_other_table_version(pg::copied(*version).data(), expected);
}

} // namespace

void make_missing_tables(pg::ResultRows* findings, bool is_dry_run) {
    Making making = {.definitions = read_definitions(),
                     .is_dry_run = is_dry_run,
                     .findings = findings,
                     .made_relations = NIL,
                     .made_columns = NIL,
                     .made_trigger = nullptr};
    ListCell* cell;
    foreach (cell, making.definitions.statements)
        make(&making, castNode(RawStmt, lfirst(cell)));
    if (making.made_relations != NIL)
        revoke_default_privileges(making);
}

pg::CallerRights act_as_owner_of_tables() {
    const Definitions definitions = read_definitions();
    const Oid table = find_any_table(definitions);
    pg::CallerRights caller;
    GetUserIdAndSecContext(&caller.user, &caller.security_context);
    if (!OidIsValid(table))
        return caller;
    if (!pg::is_owner(table, caller.user))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("must be owner of table %s", pg::qualified_name(table))));
    check_what_is_there(definitions);
    return pg::act_as_owner(table);
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_create_tables) {
    const bool is_dry_run = pg::argument<bool>(fcinfo, 0, "dry_run");
    pg::ResultRows findings(fcinfo);
    if (!is_dry_run)
        PreventCommandIfReadOnly("create_tables()");
    SPI_connect();
    // What is made inside a script of an extension becomes a part of it, and pg_dump would leave
    // its rows out. These tables belong to no extension.
    pg::while_set(&creating_extension, false, [&] {
        if (is_dry_run) {
            entry::check_what_is_there(entry::read_definitions());
            entry::check_tables_version();
            entry::make_missing_tables(&findings, true);
            return;
        }
        const pg::CallerRights caller = entry::act_as_owner_of_tables();
        entry::check_tables_version();
        entry::make_missing_tables(&findings, false);
        pg::act_as_caller(caller);
    });
    SPI_finish();
    PG_RETURN_NULL();
}
