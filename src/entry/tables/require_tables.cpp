#include "entry/tables/require_tables.hpp"

#include <cstdlib>

#include "entry/tables/definitions.hpp"
#include "entry/tables/library_version.hpp"
#include "pg/boundary.hpp"
#include "pg/cache.hpp"
#include "pg/columns.hpp"
#include "pg/own.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// A table that must be there, and the names of its keys and triggers.
struct RequiredTable {
    const char* name;
    List* constraints; // of char*
    List* triggers;    // of char*
};

/// What table_definitions() demands, parsed once per session and version of that function.
struct Required {
    MemoryContext memory; // nullptr: not parsed yet
    DefinitionsVersion version;
    const char* table_version;
    RequiredTable* tables;
    int table_count;
};
constinit Required required{};
constinit pg::Cached tables_cache;

constexpr int max_tables = 64;

RequiredTable* find_required(Required* all, const char* name) {
    for (int i = 0; i < all->table_count; ++i)
        if (strcmp(all->tables[i].name, name) == 0)
            return &all->tables[i];
    return nullptr;
}

void add_required(Required* all, Node* statement) {
    if (IsA(statement, CreateStmt)) {
        const auto* table = castNode(CreateStmt, statement);
        if (all->table_count == max_tables)
            elog(ERROR, "the extension has more than %d tables", max_tables);
        RequiredTable* one = &all->tables[all->table_count++];
        *one = {.name = pstrdup(table->relation->relname), .constraints = NIL, .triggers = NIL};
        for_each_constraint(table, [&](const Constraint* constraint) {
            if (constraint->contype != CONSTR_CHECK)
                one->constraints = lappend(one->constraints, pstrdup(constraint->conname));
        });
    } else if (IsA(statement, CreateTrigStmt)) {
        const auto* trigger = castNode(CreateTrigStmt, statement);
        RequiredTable* table = find_required(all, trigger->relation->relname);
        if (table != nullptr)
            table->triggers = lappend(table->triggers, pstrdup(trigger->trigname));
    }
}

/// Parses the definitions unless that was done.
void read_required() {
    const DefinitionsVersion version = definitions_version();
    if (required.memory != nullptr && required.version == version)
        return;
    const MemoryContext scratch = AllocSetContextCreate(
        CurrentMemoryContext, "attribution table definitions", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext memory =
        AllocSetContextCreate(scratch, "attribution required tables", ALLOCSET_SMALL_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(scratch);
    const Definitions definitions = read_definitions();
    const char* table_version = expected_table_version();
    MemoryContextSwitchTo(memory);
    Required now = {.memory = memory,
                    .version = version,
                    .table_version = pstrdup(table_version),
                    .tables =
                        static_cast<RequiredTable*>(palloc0(max_tables * sizeof(RequiredTable))),
                    .table_count = 0};
    ListCell* cell;
    foreach (cell, definitions.statements)
        add_required(&now, castNode(RawStmt, lfirst(cell))->stmt);
    MemoryContextSwitchTo(before);
    // From here on nothing can fail.
    if (required.memory != nullptr)
        MemoryContextDelete(required.memory);
    MemoryContextSetParent(memory, CacheMemoryContext);
    required = now;
    MemoryContextDelete(scratch);
}

/// Raises 55000: a piece of the tables is not there.
void raise_incomplete(const char* piece) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("tables of the extension attribution are incomplete"),
                    errdetail("%s is missing.", piece),
                    errhint("While a dump is being restored, wait for its end. Else run SELECT * "
                            "FROM attribution.create_tables().")));
}

/// Removes from the names those that a catalog has for the table.
List* without_found(List* names, Oid catalog_id, Oid index_id, AttrNumber key, AttrNumber name,
                    Oid table) {
    if (names == NIL)
        return NIL;
    List* missing = list_copy(names);
    Relation catalog = table_open(catalog_id, AccessShareLock);
    ScanKeyData condition;
    ScanKeyInit(&condition, key, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, index_id, true, nullptr, 1, &condition);
    for (HeapTuple row; HeapTupleIsValid(row = systable_getnext(scan));) {
        bool isnull;
        const Datum found = pg::attribute(row, name, RelationGetDescr(catalog), &isnull);
        ListCell* cell;
        foreach (cell, missing) {
            if (strcmp(static_cast<const char*>(lfirst(cell)), NameStr(*DatumGetName(found))) == 0)
                missing = foreach_delete_current(missing, cell);
        }
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return missing;
}

void check_pieces(const RequiredTable& wanted, Oid table) {
    List* keys =
        without_found(wanted.constraints, ConstraintRelationId, ConstraintRelidTypidNameIndexId,
                      Anum_pg_constraint_conrelid, Anum_pg_constraint_conname, table);
    if (keys != NIL)
        raise_incomplete(psprintf("Constraint \"%s\" of table attribution.%s",
                                  static_cast<const char*>(linitial(keys)), wanted.name));
    List* triggers = without_found(wanted.triggers, TriggerRelationId, TriggerRelidNameIndexId,
                                   Anum_pg_trigger_tgrelid, Anum_pg_trigger_tgname, table);
    if (triggers != NIL)
        raise_incomplete(psprintf("Trigger \"%s\" of table attribution.%s",
                                  static_cast<const char*>(linitial(triggers)), wanted.name));
}

Oid owner_of_relation(Oid relation) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", relation);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

Oid owner_of_functions() {
    HeapTuple tuple =
        SearchSysCache1(PROCOID, ObjectIdGetDatum(pg::internal_function("table_definitions")));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function table_definitions");
    const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;
    ReleaseSysCache(tuple);
    return owner;
}

/// Functions act as the owner of the tables or as their own, and a trigger of either runs with the
/// rights of the other: so both are one role, or the tables' owner may do everything anyway.
void check_owner(const char* table_name, Oid owner, Oid first_owner) {
    if (owner != first_owner)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution belong to several roles"),
                        errdetail("Table attribution.%s belongs to role \"%s\", others to \"%s\".",
                                  table_name, GetUserNameFromId(owner, false),
                                  GetUserNameFromId(first_owner, false)),
                        errhint("Give them one owner: ALTER TABLE ... OWNER TO.")));
    const Oid functions = owner_of_functions();
    if (owner != functions && !superuser_arg(owner))
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("tables of the extension attribution belong to another role than its "
                        "functions"),
                 errdetail("The tables belong to role \"%s\", the functions to \"%s\".",
                           GetUserNameFromId(owner, false), GetUserNameFromId(functions, false)),
                 errhint("Give the tables to the owner of the functions: ALTER TABLE ... OWNER "
                         "TO.")));
}

/// The version that the tables say they are of, past row security; palloc'd.
const char* found_table_version(Oid relation) {
    const char* version = nullptr;
    Relation table = table_open(relation, AccessShareLock);
    const int column = pg::column_number(table, "version", TEXTOID);
    SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
    for (HeapTuple row; HeapTupleIsValid(row = systable_getnext(scan));) {
        bool isnull;
        const Datum value = pg::attribute(row, column, RelationGetDescr(table), &isnull);
        if (!isnull)
            version = TextDatumGetCString(value);
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return version;
}

void check_version(const char* found) {
    if (found == nullptr)
        raise_incomplete("The row of attribution.schema_version");
    if (strcmp(found, required.table_version) == 0)
        return;
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("tables of the extension attribution are of another version"),
         errdetail("The tables are of version %s, the extension works with those of version %s.",
                   found, required.table_version),
         is_older_version(found, required.table_version)
             ? errhint("Run SELECT attribution.upgrade_tables().")
             : errhint("Install the newer version of the extension and run ALTER EXTENSION "
                       "attribution UPDATE.")));
}

/// Looks at the catalogs; takes no lock on the tables, so it waits for nobody who changes them.
void look_up_tables() {
    check_library_version();
    read_required();
    Oid first_owner = InvalidOid;
    int found = 0;
    for (int i = 0; i < required.table_count; ++i)
        found += OidIsValid(pg::find_own_relation(required.tables[i].name)) ? 1 : 0;
    if (found == 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution do not exist"),
                        errhint("While a dump is being restored, wait for its end. Else run SELECT "
                                "* FROM attribution.create_tables().")));
    for (int i = 0; i < required.table_count; ++i) {
        const RequiredTable& wanted = required.tables[i];
        const Oid table = pg::find_own_relation(wanted.name);
        if (!OidIsValid(table))
            raise_incomplete(psprintf("Table attribution.%s", wanted.name));
        tables_cache.depend_on(table);
        check_pieces(wanted, table);
        const Oid owner = owner_of_relation(table);
        if (!OidIsValid(first_owner))
            first_owner = owner;
        check_owner(wanted.name, owner, first_owner);
    }
    check_version(found_table_version(pg::own_relation("schema_version")));
}

} // namespace

void require_tables() {
    if (tables_cache.is_valid())
        return;
    const MemoryContext scratch =
        AllocSetContextCreate(CurrentMemoryContext, "attribution tables", ALLOCSET_SMALL_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(scratch);
    tables_cache.ensure(look_up_tables);
    MemoryContextSwitchTo(before);
    MemoryContextDelete(scratch);
}

} // namespace attribution::entry
