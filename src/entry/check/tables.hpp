// What the check knows of the tables whose triggers call it.
//
// Tables are found from the OID of the one that fired and its foreign keys, never by name: triggers
// also fire on shards. What was found is kept until one of the tables changes.
#pragma once

#include "entry/check/statements.hpp"
#include "pg/cache.hpp"

namespace attribution::entry {

/// Numbers of columns, whose types were checked.
struct AllocationColumns {
    int tenant_id, id, event_id, model_version, channel, cents;
};
struct EventColumns {
    int tenant_id, id, refund_of, revenue_cents;
};

/// A table of allocations, the events that they belong to, and what is needed to check them.
struct Tables {
    explicit constexpr Tables(Oid relation) : allocations(relation) {}

    Oid allocations; // hash key: comes first
    pg::Cached cached;
    Oid events = InvalidOid;
    AllocationColumns allocation{};
    EventColumns event{};
    CheckStatements statements;
    // On (tenant, id) and (tenant, refunded conversion) of events and (tenant, event) of
    // allocations. InvalidOid where there is none: then only the statements will do.
    Oid event_index = InvalidOid, refund_index = InvalidOid, sum_index = InvalidOid;
};

/// Raises 42P16 when the allocations have lost their foreign key, 42703 or 42804 when a column is
/// not there or not of its type.
Tables& tables_of(Relation allocations);

/// A table of events, as its own triggers read it.
struct EventTable {
    explicit constexpr EventTable(Oid relation) : events(relation) {}

    Oid events; // hash key: comes first
    pg::Cached cached;
    Oid allocations = InvalidOid;
    EventColumns columns{};
};

/// Raises as tables_of().
const EventTable& event_table_of(Relation events);

} // namespace attribution::entry
