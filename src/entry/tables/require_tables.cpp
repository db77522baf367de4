#include "entry/tables/require_tables.hpp"

#include <algorithm>

#include "entry/tables/definitions.hpp"
#include "entry/tables/library_version.hpp"
#include "entry/tables/owner.hpp"
#include "entry/views/tracked_view.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/cache.hpp"
#include "pg/columns.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// A table that must be there, and the names of its keys and triggers.
struct RequiredTable {
    const char* name;
    List* constraints; // of char*
    List* triggers;    // of char*
};

/// The rows of required_pieces.
struct Required {
    const char* version;
    List* tables; // of RequiredTable*
};

constinit pg::Cached tables_cache;

RequiredTable* find_required(Required* required, const char* name) {
    ListCell* cell;
    foreach (cell, required->tables) {
        auto* table = static_cast<RequiredTable*>(lfirst(cell));
        if (strcmp(table->name, name) == 0)
            return table;
    }
    auto* table = static_cast<RequiredTable*>(palloc(sizeof(RequiredTable)));
    *table = {.name = name, .constraints = NIL, .triggers = NIL};
    required->tables = lappend(required->tables, table);
    return table;
}

void add_required(Required* required, std::string_view kind, const char* table_name,
                  const char* piece_name) {
    if (kind == "version") {
        required->version = piece_name;
        return;
    }
    RequiredTable* table = find_required(required, table_name);
    if (kind == "constraint")
        table->constraints = lappend(table->constraints, const_cast<char*>(piece_name));
    else if (kind == "trigger")
        table->triggers = lappend(table->triggers, const_cast<char*>(piece_name));
}

/// Reads what is required, as a catalog is read: past the caller's rights and without statements.
Required read_required() {
    Required required = {.version = nullptr, .tables = NIL};
    Relation table = table_open(pg::internal_relation("required_pieces"), AccessShareLock);
    const TupleDesc columns = RelationGetDescr(table);
    tables_cache.depend_on(RelationGetRelid(table));
    const int kind_column = pg::column_number(table, "kind", TEXTOID);
    const int table_column = pg::column_number(table, "table_name", NAMEOID);
    const int piece_column = pg::column_number(table, "piece_name", NAMEOID);
    SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
    for (HeapTuple row; HeapTupleIsValid(row = systable_getnext(scan));) {
        bool isnull;
        const auto kind =
            pg::copied(pg::text_of(pg::attribute(row, kind_column, columns, &isnull)));
        const Datum table_name = pg::attribute(row, table_column, columns, &isnull);
        const Datum piece_name = pg::attribute(row, piece_column, columns, &isnull);
        add_required(&required, kind, pstrdup(NameStr(*DatumGetName(table_name))),
                     pstrdup(NameStr(*DatumGetName(piece_name))));
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    if (required.version == nullptr || required.tables == NIL)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("extension attribution is incomplete"),
                 errdetail("Materialized view attribution_internal.required_pieces lacks rows."),
                 errhint("REFRESH MATERIALIZED VIEW attribution_internal.required_pieces.")));
    return required;
}

/// Raises 55000: a piece of the tables is not there, as `lack` says.
void raise_incomplete(const char* lack) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("tables of the extension attribution are incomplete"), errdetail("%s.", lack),
             errhint("While a dump is being restored, wait for its end. Else run SELECT * "
                     "FROM attribution.create_tables().")));
}

/// Removes from the names those that a catalog has for the table.
List* without_found(List* names, Oid catalog_id, Oid index_id, AttrNumber key, AttrNumber name,
                    bool (*counts)(HeapTuple row), Oid table) {
    if (names == NIL)
        return NIL;
    List* missing = list_copy(names);
    Relation catalog = table_open(catalog_id, AccessShareLock);
    ScanKeyData condition;
    ScanKeyInit(&condition, key, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, index_id, true, nullptr, 1, &condition);
    for (HeapTuple row; HeapTupleIsValid(row = systable_getnext(scan));) {
        if (!counts(row))
            continue;
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

/// True when the trigger logs what changes a materialized view. While such a trigger is disabled
/// its view is in doubt, and refresh() computes all of it.
bool is_for_views(Oid function) {
    if (function == pg::internal_function("doubt_view"))
        return true;
    return std::any_of(tracked_views.begin(), tracked_views.end(), [&](const TrackedView& view) {
        return function == pg::internal_function(view.capture_function);
    });
}

/// A disabled trigger guards nothing: a restore of rows by --disable-triggers that was cut off
/// leaves all of them so.
bool guards(HeapTuple trigger) {
    const auto* form = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(trigger));
    return form->tgenabled != TRIGGER_DISABLED || is_for_views(form->tgfoid);
}

void check_pieces(const RequiredTable& wanted, Oid table) {
    List* keys = without_found(
        wanted.constraints, ConstraintRelationId, ConstraintRelidTypidNameIndexId,
        Anum_pg_constraint_conrelid, Anum_pg_constraint_conname, [](HeapTuple) { return true; },
        table);
    if (keys != NIL)
        raise_incomplete(psprintf("Constraint \"%s\" of table attribution.%s is missing",
                                  static_cast<const char*>(linitial(keys)), wanted.name));
    List* triggers = without_found(wanted.triggers, TriggerRelationId, TriggerRelidNameIndexId,
                                   Anum_pg_trigger_tgrelid, Anum_pg_trigger_tgname, guards, table);
    if (triggers != NIL)
        raise_incomplete(psprintf("Trigger \"%s\" of table attribution.%s is missing or disabled",
                                  static_cast<const char*>(linitial(triggers)), wanted.name));
}

/// The version that the tables say they are of, past row security; palloc'd.
const char* found_table_version() {
    const char* version = nullptr;
    Relation table = pg::open_own_relation("schema_version", RELKIND_RELATION, AccessShareLock);
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

void check_version(const char* found, const char* expected) {
    if (strcmp(found, expected) != 0)
        raise_other_table_version(found, expected);
}

/// Looks at the catalogs; takes no lock on the tables of tenants, so it waits for nobody who
/// changes them.
void look_up_pieces() {
    check_library_version();
    const Required required = read_required();
    bool is_any_there = false;
    ListCell* cell;
    foreach (cell, required.tables)
        is_any_there =
            is_any_there ||
            OidIsValid(pg::find_own_relation(static_cast<RequiredTable*>(lfirst(cell))->name));
    if (!is_any_there)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution do not exist"),
                        errhint("While a dump is being restored, wait for its end. Else run SELECT "
                                "* FROM attribution.create_tables().")));
    // First of all: tables of another version lack pieces too, and create_tables() is not what they
    // need. In the middle of a restore there may be no version yet.
    const bool has_versions = OidIsValid(pg::find_own_relation("schema_version"));
    const char* version = has_versions ? found_table_version() : nullptr;
    if (version != nullptr)
        check_version(version, required.version);
    Oid first_owner = InvalidOid;
    foreach (cell, required.tables) {
        const auto* wanted = static_cast<RequiredTable*>(lfirst(cell));
        const Oid table = pg::find_own_relation(wanted->name);
        if (!OidIsValid(table))
            raise_incomplete(psprintf("Table attribution.%s is missing", wanted->name));
        tables_cache.depend_on(table);
        pg::check_kind(table, table_kinds);
        check_pieces(*wanted, table);
        const Oid owner = pg::owner_of(table);
        if (!OidIsValid(first_owner))
            first_owner = owner;
        check_owner(wanted->name, owner, first_owner);
    }
    if (version == nullptr)
        raise_incomplete("The row of attribution.schema_version is missing");
}

} // namespace

void require_tables() {
    if (tables_cache.is_valid())
        return;
    const MemoryContext scratch =
        AllocSetContextCreate(CurrentMemoryContext, "attribution tables", ALLOCSET_SMALL_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(scratch);
    tables_cache.ensure(look_up_pieces);
    MemoryContextSwitchTo(before);
    MemoryContextDelete(scratch);
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_parse_required_pieces) {
    pg::ResultRows rows(fcinfo);
    const auto add = [&](const char* kind, const char* table, const char* piece) {
        NameData table_name;
        NameData piece_name;
        namestrcpy(&table_name, table);
        namestrcpy(&piece_name, piece);
        rows.add(std::string_view(kind), pg::NameDatum{NameGetDatum(&table_name)},
                 pg::NameDatum{NameGetDatum(&piece_name)});
    };
    add("version", "schema_version", entry::expected_table_version());
    const entry::Definitions definitions = entry::read_definitions();
    ListCell* cell;
    foreach (cell, definitions.statements) {
        Node* statement = castNode(RawStmt, lfirst(cell))->stmt;
        if (IsA(statement, CreateStmt)) {
            const auto* table = castNode(CreateStmt, statement);
            const char* name = table->relation->relname;
            add("table", name, name);
            entry::for_each_constraint(table, [&](const Constraint* constraint) {
                if (constraint->contype != CONSTR_CHECK)
                    add("constraint", name, constraint->conname);
            });
        } else if (IsA(statement, CreateTrigStmt)) {
            const auto* trigger = castNode(CreateTrigStmt, statement);
            add("trigger", trigger->relation->relname, trigger->trigname);
        }
    }
    PG_RETURN_NULL();
}
