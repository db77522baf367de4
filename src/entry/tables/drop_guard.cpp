// drop_guard: a DROP does not take rows of tenants with it unless the session says so.
//
// The tables are no part of the extension, so the core lets DROP SCHEMA ... CASCADE and its like
// have them. The guard is an event trigger at the start of the statement: one at its end, which
// could ask what was dropped, would have been dropped with the rest. So it must foresee what goes.
//
// The one idea: a table goes when something goes that it stands on: its schema, a table that it
// inherits from, the type that it is made of, its access method, an extension that one of these is
// a part of. PostgreSQL keeps all that in pg_depend. So the guard begins at the tables of tenants,
// walks down, and looks whether the statement drops what it meets. The tables are few and stand on
// little, whereas all that a statement takes with it may be a whole database.
//
// This is a guard against mistakes, so no lock is kept between the look and the DROP: a row that
// comes in between goes.

#include "entry/session/settings.hpp"
#include "entry/tables/tenant_rows.hpp"
#include "pg/boundary.hpp"
#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// What a statement drops.
struct Drop {
    Oid catalog;   // that the objects are in
    List* objects; // of Oid
    List* owners;  // of Oid: DROP OWNED drops all of theirs
    bool is_cascade;
    // pg_dump --clean drops the keys of a table before the table. So a plain DROP TABLE of a table
    // without its primary key is no mistake.
    bool is_plain_drop_table;
};

// ---------------------------------------------------------------------------------------------
// The statement
//
// Names are looked up without locks: a lock on what is only looked at would have to be waited for,
// and the statement takes its own ones afterwards. They are looked up without errors, too: what is
// not there, or not visible to the user, is the statement's own business.

/// The schema in the name; InvalidOid when it is of another database, or temporary, which is
/// nobody's but the session's.
Oid schema_of_name(const List* names) {
    const int length = list_length(names);
    if (length == 3 && strcmp(strVal(linitial(names)), get_database_name(MyDatabaseId)) != 0)
        return InvalidOid;
    return length <= 3 ? get_namespace_oid(strVal(list_nth(names, length - 2)), true) : InvalidOid;
}

/// A table or type by its name: find_visible(name) by the search path, find_in(name, schema) else.
/// InvalidOid when it is not there.
template <class FindVisible, class FindIn>
Oid find_by_name(const List* names, FindVisible find_visible, FindIn find_in) {
    const char* name = strVal(llast(names));
    if (list_length(names) == 1)
        return find_visible(name);
    const Oid schema = schema_of_name(names);
    return OidIsValid(schema) ? find_in(name, schema) : InvalidOid;
}

/// The table, when one of schema attribution may go with it: when it is one, or when others inherit
/// from it. Else InvalidOid, so that a DROP of other tables costs two look-ups.
Oid find_table(const List* names) {
    const Oid table = find_by_name(
        names, [](const char* name) { return RelnameGetRelid(name); },
        [](const char* name, Oid schema) { return get_relname_relid(name, schema); });
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
    if (!HeapTupleIsValid(tuple))
        return InvalidOid;
    const auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    const bool may_matter = form->relnamespace == pg::find_own_schema() || form->relhassubclass;
    ReleaseSysCache(tuple);
    return may_matter ? table : InvalidOid;
}

/// The type, when a table may be made of it (ALTER TABLE ... OF): when it is a composite one.
Oid find_type(const List* names) {
    const Oid type = find_by_name(
        names, [](const char* name) { return TypenameGetTypid(name); },
        [](const char* name, Oid schema) {
            return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
                                   ObjectIdGetDatum(schema));
        });
    return OidIsValid(type) && get_typtype(type) == TYPTYPE_COMPOSITE ? type : InvalidOid;
}

Oid catalog_of(ObjectType kind) {
    switch (kind) {
    case OBJECT_TABLE:
    case OBJECT_FOREIGN_TABLE:
        return RelationRelationId;
    case OBJECT_SCHEMA:
        return NamespaceRelationId;
    case OBJECT_EXTENSION:
        return ExtensionRelationId;
    case OBJECT_TYPE:
        return TypeRelationId;
    case OBJECT_ACCESS_METHOD:
        return AccessMethodRelationId;
    default:
        return InvalidOid;
    }
}

Oid find_object(ObjectType kind, Node* name) {
    switch (kind) {
    case OBJECT_TABLE:
    case OBJECT_FOREIGN_TABLE:
        return find_table(castNode(List, name));
    case OBJECT_SCHEMA:
        return get_namespace_oid(strVal(name), true);
    case OBJECT_EXTENSION:
        return get_extension_oid(strVal(name), true);
    case OBJECT_TYPE:
        return find_type(castNode(TypeName, name)->names);
    case OBJECT_ACCESS_METHOD:
        return get_am_oid(strVal(name), true);
    default:
        return InvalidOid;
    }
}

Drop read_drop(const DropStmt* statement) {
    Drop drop = {.catalog = catalog_of(statement->removeType),
                 .objects = NIL,
                 .owners = NIL,
                 .is_cascade = statement->behavior == DROP_CASCADE,
                 .is_plain_drop_table =
                     statement->removeType == OBJECT_TABLE && statement->behavior != DROP_CASCADE};
    ListCell* cell;
    foreach (cell, statement->objects) {
        const Oid object = find_object(statement->removeType, static_cast<Node*>(lfirst(cell)));
        if (OidIsValid(object))
            drop.objects = lappend_oid(drop.objects, object);
    }
    return drop;
}

Drop read_drop_owned(const DropOwnedStmt* statement) {
    // An unknown role is an error here as it is there.
    return {.catalog = InvalidOid,
            .objects = NIL,
            .owners = roleSpecsToIds(statement->roles),
            .is_cascade = statement->behavior == DROP_CASCADE,
            .is_plain_drop_table = false};
}

// ---------------------------------------------------------------------------------------------
// What goes

/// A table that goes, because the object does.
struct Fall {
    Oid table;
    Oid catalog; // of the object
    Oid object;
    Oid owner; // of the object
    using Columns = std::tuple<Oid, Oid, Oid, Oid>;
};

/// Of the tables those that go, by their order in `tables`, and more than once when several of the
/// objects take one along.
///
/// A dependency of kind n is followed by CASCADE only. The triggers, policies and defaults of all
/// tables are the extension's, so they count as if they stood on it: the rows would stay, but
/// nothing would guard them. Whoever may not drop the object hears so from the core, and not what
/// has rows; an object without an owner in pg_shdepend belongs to the bootstrap superuser (10).
using FindFalls = pg::Statement<Fall(std::span<const Oid> tables, Oid extension, Oid catalog,
                                     std::span<const Oid> objects, std::span<const Oid> owners,
                                     bool is_cascade, bool needs_key)>;
constinit FindFalls find_falls{R"sql(
WITH RECURSIVE foundation (nr, table_id, class_id, object_id) AS (
    SELECT t.nr, t.id, s.class_id, s.object_id
    FROM unnest($1) WITH ORDINALITY AS t (id, nr),
         LATERAL (VALUES ('pg_class'::regclass::oid, t.id), ('pg_extension'::regclass::oid, $2)) AS s (class_id, object_id)
    WHERE s.object_id = t.id OR $6
    UNION
    SELECT f.nr, f.table_id, d.refclassid, d.refobjid
    FROM foundation f
    JOIN pg_depend d ON d.classid = f.class_id AND d.objid = f.object_id AND d.objsubid = 0
    WHERE d.deptype <> 'n' OR $6
)
SELECT f.table_id, f.class_id, f.object_id, o.id
FROM foundation f,
     LATERAL (SELECT coalesce((
         SELECT s.refobjid
         FROM pg_shdepend s
         WHERE s.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
           AND s.classid = f.class_id AND s.objid = f.object_id AND s.objsubid = 0 AND s.deptype = 'o'
         ), 10) AS id) AS o
WHERE (f.class_id = $3 AND f.object_id = ANY ($4) OR o.id = ANY ($5))
  AND (pg_has_role(o.id, 'USAGE')
       OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE f.class_id = 'pg_class'::regclass AND c.oid = f.object_id
                    AND pg_has_role(n.nspowner, 'USAGE')))
  AND (NOT $7 OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.table_id AND i.indisprimary))
ORDER BY f.nr, f.class_id, f.object_id
)sql"};

std::span<const Oid> span_of(const List* oids) {
    const auto span = pg::make_span<Oid>(static_cast<std::size_t>(list_length(oids)));
    for (std::size_t i = 0; i < span.size(); ++i)
        span[i] = list_nth_oid(oids, static_cast<int>(i));
    return span;
}

[[noreturn]] void refuse(const Drop& drop, const Fall& fall, const char* names) {
    const ObjectAddress object = {
        .classId = fall.catalog, .objectId = fall.object, .objectSubId = 0};
    const char* dropped = drop.owners == NIL ? getObjectDescription(&object, false)
                                             : psprintf("objects owned by role \"%s\"",
                                                        GetUserNameFromId(fall.owner, false));
    ereport(ERROR,
            (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
             errmsg("cannot drop %s because tenants have rows", dropped),
             fall.catalog == ExtensionRelationId && fall.object == pg::own_extension()
                 ? errdetail("The triggers, policies and defaults of these tables would be "
                             "dropped: %s.",
                             names)
                 : errdetail("These tables have rows: %s.", names),
             errhint("Back up the database first. SET attribution.allow_drop_with_rows = on lets "
                     "this session drop them.")));
    pg_unreachable();
}

/// Inside an SPI connection, under pinned settings.
void check_rows_stay(const Drop& drop) {
    const auto tables = find_tenant_tables();
    if (tables.empty())
        return;
    const Oid extension = pg::own_extension();
    const auto falls =
        find_falls.run(tables, extension, drop.catalog, span_of(drop.objects), span_of(drop.owners),
                       drop.is_cascade, drop.is_plain_drop_table);
    const auto falling = pg::make_span<Oid>(falls.size());
    std::size_t count = 0;
    for (const Fall fall : falls)
        if (count == 0 || falling[count - 1] != fall.table)
            falling[count++] = fall.table;
    const char* names = names_of_tables_with_rows(falling.first(count));
    if (names == nullptr)
        return;
    refuse(drop, falls[0], names);
}

void guard(const Drop& drop) {
    if (drop.objects == NIL && drop.owners == NIL)
        return;
    SPI_connect();
    const int settings = pg::pin_settings();
    check_rows_stay(drop);
    pg::restore_settings(settings);
    SPI_finish();
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_guard_drop) {
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("guard_drop() must be called as an event trigger")));
    const auto* event = reinterpret_cast<EventTriggerData*>(fcinfo->context);
    if (entry::allow_drop_with_rows || event->parsetree == nullptr ||
        !OidIsValid(pg::find_own_schema()))
        PG_RETURN_NULL();
    if (IsA(event->parsetree, DropStmt))
        entry::guard(entry::read_drop(castNode(DropStmt, event->parsetree)));
    else if (IsA(event->parsetree, DropOwnedStmt))
        entry::guard(entry::read_drop_owned(castNode(DropOwnedStmt, event->parsetree)));
    PG_RETURN_NULL();
}
