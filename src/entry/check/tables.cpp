#include "entry/check/tables.hpp"

#include <array>
#include <new>

#include "pg/columns.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

/// What is known of a relation, made if it was not there, in a hash table of the backend. It stays
/// where it is as long as the backend lives.
template <class Known>
Known& known_by(HTAB** all, Oid relation) {
    // Rows come from one table at a time.
    static constinit Oid last_relation = InvalidOid;
    static constinit Known* last = nullptr;
    if (last_relation == relation)
        return *last;
    if (*all == nullptr) {
        HASHCTL control{};
        control.keysize = sizeof(Oid);
        control.entrysize = sizeof(Known);
        control.hcxt = CacheMemoryContext;
        *all =
            hash_create("attribution tables", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    bool found;
    void* entry = hash_search(*all, &relation, HASH_ENTER, &found);
    last = found ? static_cast<Known*>(entry) : new (entry) Known(relation);
    last_relation = relation;
    return *last;
}

constinit HTAB* known_tables = nullptr;
constinit HTAB* known_event_tables = nullptr;

EventColumns event_columns(Relation events) {
    return {.tenant_id = pg::column_number(events, "tenant_id", UUIDOID),
            .id = pg::column_number(events, "id", UUIDOID),
            .refund_of = pg::column_number(events, "refund_of", UUIDOID),
            .revenue_cents = pg::column_number(events, "revenue_cents", INT8OID)};
}

AllocationColumns allocation_columns(Relation allocations) {
    return {.tenant_id = pg::column_number(allocations, "tenant_id", UUIDOID),
            .id = pg::column_number(allocations, "id", UUIDOID),
            .event_id = pg::column_number(allocations, "event_id", UUIDOID),
            .model_version = pg::column_number(allocations, "model_version", TEXTOID),
            .channel = pg::column_number(allocations, "channel", TEXTOID),
            .cents = pg::column_number(allocations, "allocated_revenue_cents", INT8OID)};
}

void look_up_tables(Tables& tables, Relation allocations) {
    tables.statements.discard();
    tables.cached.depend_on(tables.allocations);
    tables.events = pg::referenced_relation(allocations, "event_id",
                                            pg::internal_function("check_event_revenue"));
    tables.cached.depend_on(tables.events);
    tables.allocation = allocation_columns(allocations);
    Relation events = table_open(tables.events, AccessShareLock);
    tables.event = event_columns(events);
    // No index that continues with the model version is looked for: texts may change their order
    // with a library of the system, and then an index on them finds nothing until it is rebuilt.
    // The order of UUIDs never changes.
    tables.event_index = pg::index_on(events, std::array{tables.event.tenant_id, tables.event.id});
    tables.refund_index =
        pg::index_on(events, std::array{tables.event.tenant_id, tables.event.refund_of});
    tables.sum_index = pg::index_on(
        allocations, std::array{tables.allocation.tenant_id, tables.allocation.event_id});
    table_close(events, AccessShareLock);

    const Oid ledger = pg::referencing_relation(allocations, "allocation_id",
                                                pg::internal_function("keep_ledger"));
    if (OidIsValid(ledger))
        tables.cached.depend_on(ledger);
    tables.statements.write(tables.allocations, tables.events, ledger);
}

void look_up_event_table(EventTable& table, Relation events) {
    table.cached.depend_on(table.events);
    table.columns = event_columns(events);
    table.allocations =
        pg::referencing_relation(events, "event_id", pg::internal_function("check_allocation_sum"));
    if (!OidIsValid(table.allocations))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                 errmsg("foreign key from allocations to relation \"%s\" does not exist",
                        RelationGetRelationName(events)),
                 errdetail("Triggers of the relation find the allocations through it."),
                 errhint("Restore the foreign key of the extension's installation script.")));
    table.cached.depend_on(table.allocations);
}

} // namespace

Tables& tables_of(Relation allocations) {
    auto& tables = known_by<Tables>(&known_tables, RelationGetRelid(allocations));
    tables.cached.ensure([&] { look_up_tables(tables, allocations); });
    return tables;
}

const EventTable& event_table_of(Relation events) {
    auto& table = known_by<EventTable>(&known_event_tables, RelationGetRelid(events));
    table.cached.ensure([&] { look_up_event_table(table, events); });
    return table;
}

} // namespace attribution::entry
