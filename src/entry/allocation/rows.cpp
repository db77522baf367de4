// rows: see rows.hpp.

#include "entry/allocation/rows.hpp"

#include <array>

#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/foreign_key.hpp"
#include "pg/named_rows.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

// ---------------------------------------------------------------------------------------------
// Into the stream

constexpr int ratio_decimals = 5;

enum Column {
    id_column,
    event_column,
    channel_column,
    weight_column,
    ratio_column,
    cents_column,
    correlation_column,
    column_count
};

TupleDesc make_columns() {
    TupleDesc columns = CreateTemplateTupleDesc(column_count);
    TupleDescInitEntry(columns, id_column + 1, "id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, event_column + 1, "event_id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, channel_column + 1, "channel", TEXTOID, -1, 0);
    TupleDescInitEntry(columns, weight_column + 1, "weight", NUMERICOID, -1, 0);
    TupleDescInitEntry(columns, ratio_column + 1, "ratio", NUMERICOID, -1, 0);
    TupleDescInitEntry(columns, cents_column + 1, "cents", INT8OID, -1, 0);
    TupleDescInitEntry(columns, correlation_column + 1, "correlation_id", TEXTOID, -1, 0);
    return columns;
}

/// Fills in identity, ratio and cents of the shares. Ratios are split by the weights; the cents are
/// what split(tie keys, cents) makes.
template <class Weight, class Split>
void complete_shares(const Rows& rows, const Event& event, std::span<const Weight> weights,
                     std::span<ChannelShare> shares, Split&& split) {
    Assert(weights.size() == shares.size());
    const std::int64_t occurred_at_ms = pg::unix_milliseconds(event.occurred_at.value);
    const auto tie_keys = pg::make_span<std::uint64_t>(shares.size());
    const auto cents = pg::make_span<core::Cents>(shares.size());
    pg::guarded([&] {
        const core::AllocationIdentifier identifier(rows.tenant_id, event.id, rows.model_version,
                                                    occurred_at_ms);
        for (std::size_t i = 0; i < shares.size(); ++i) {
            shares[i].identity = identifier.of(shares[i].channel);
            tie_keys[i] = shares[i].identity.tie_key;
        }
        core::apportion(core::ratio_units, weights, tie_keys, cents);
        for (std::size_t i = 0; i < shares.size(); ++i)
            shares[i].ratio = cents[i];
        split(tie_keys, cents);
        for (std::size_t i = 0; i < shares.size(); ++i)
            shares[i].cents = cents[i];
    });
}

void add_shares(Rows* rows, const Event& event, std::span<const ChannelShare> shares) {
    if (rows->store == nullptr) {
        const MemoryContext before = MemoryContextSwitchTo(rows->memory);
        rows->store = tuplestore_begin_heap(false, false, work_mem);
        MemoryContextSwitchTo(before);
    }
    for (const ChannelShare& share : shares) {
        Datum values[column_count];
        bool nulls[column_count] = {};
        values[id_column] = pg::datum_of(share.identity.id, &nulls[id_column]);
        values[event_column] = pg::datum_of(event.id, &nulls[event_column]);
        values[channel_column] = pg::datum_of(share.channel, &nulls[channel_column]);
        values[weight_column] = pg::datum_of(share.weight, &nulls[weight_column]);
        values[ratio_column] = pg::scaled_numeric(share.ratio, ratio_decimals);
        values[cents_column] = pg::datum_of(share.cents, &nulls[cents_column]);
        values[correlation_column] = pg::datum_of(event.correlation_id, &nulls[correlation_column]);
        tuplestore_putvalues(rows->store, rows->columns, values, nulls);
    }
}

template <class Weight>
void add_weighed(Rows* rows, const Event& conversion, std::span<ChannelShare> shares,
                 std::span<const Weight> weights) {
    complete_shares(*rows, conversion, weights, shares, [&](auto tie_keys, auto cents) {
        core::apportion(conversion.revenue_cents, weights, tie_keys, cents);
    });
    add_shares(rows, conversion, shares);
}

// ---------------------------------------------------------------------------------------------
// Out of the stream

constexpr std::array tenant_and_event = {"tenant_id", "event_id"};
constexpr std::array tenant_and_id = {"tenant_id", "id"};

/// Opens the table of allocations for an INSERT. A table with rules is refused: a rule would read
/// the stream again, or write something else instead.
Relation open_allocations() {
    const Oid relation = pg::own_relation("attribution_allocations");
    Relation allocations = table_open(relation, RowExclusiveLock);
    if (allocations->rd_rules != nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("cannot allocate into a table with rules"),
                 errdetail("Relation \"%s\" has rules.", RelationGetRelationName(allocations)),
                 errhint("Write the rule as a trigger.")));
    return allocations;
}

std::uint64_t waiting_rows(const Rows& rows) {
    return rows.store == nullptr ? 0
                                 : static_cast<std::uint64_t>(tuplestore_tuple_count(rows.store));
}

/// Calls body() where statements can read the rows that wait as the relation computed_allocations.
/// The SPI connection is one of its own, because the name goes with it, also after an error that a
/// subtransaction undoes: the next stream has the same name.
template <class Body>
void with_computed_allocations(const Rows& rows, Body&& body) {
    Assert(rows.store != nullptr);
    SPI_connect();
    pg::name_rows("computed_allocations", rows.columns, rows.store);
    body();
    SPI_finish();
}

/// Deletes rows that were just inserted, with the owner's rights: callers may only insert.
void delete_rows(const Rows& rows, std::span<const core::Uuid> ids) {
    static constinit pg::Statement<void(core::Uuid, std::span<const core::Uuid>)> remove{R"sql(
        DELETE FROM attribution.attribution_allocations
        WHERE tenant_id = $1 AND id = ANY ($2))sql"};
    const pg::CallerRights rights = pg::act_as_owner(pg::own_relation("attribution_allocations"));
    remove.run(rows.tenant_id, ids);
    pg::act_as_caller(rights);
}

} // namespace

Rows* start_rows(const core::Uuid& tenant_id, std::string_view model_version) {
    auto* rows = static_cast<Rows*>(palloc(sizeof(Rows)));
    *rows = {.tenant_id = tenant_id,
             .model_version = model_version,
             .memory = CurrentMemoryContext,
             .scratch = AllocSetContextCreate(CurrentMemoryContext, "attribution event",
                                              ALLOCSET_DEFAULT_SIZES),
             .columns = make_columns(),
             .store = nullptr};
    return rows;
}

void add_conversion(Rows* rows, const Event& conversion, std::span<ChannelShare> shares,
                    std::span<const std::uint64_t> weights) {
    add_weighed(rows, conversion, shares, weights);
}

void add_conversion(Rows* rows, const Event& conversion, std::span<ChannelShare> shares,
                    std::span<const core::Decimal> weights) {
    add_weighed(rows, conversion, shares, weights);
}

void add_refund(Rows* rows, const Event& refund, core::Cents cents, std::span<ChannelShare> shares,
                std::span<core::Cents> remaining) {
    Assert(cents < 0);
    const auto weights = pg::make_span<std::uint64_t>(remaining.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        Assert(remaining[i] > 0);
        weights[i] = static_cast<std::uint64_t>(remaining[i]);
    }
    complete_shares(
        *rows, refund, std::span<const std::uint64_t>(weights), shares,
        [&](auto tie_keys, auto split) { core::take_back(cents, remaining, tie_keys, split); });
    add_shares(rows, refund, shares);
}

void discard_rows(Rows* rows) {
    if (rows->store != nullptr)
        tuplestore_end(rows->store);
    rows->store = nullptr;
}

std::uint64_t write_rows(Rows* rows, bool parents_are_locked) {
    static constinit pg::Statement<void(core::Uuid, std::string_view)> insert{R"sql(
        INSERT INTO attribution.attribution_allocations (
            tenant_id, id, event_id, model_version, channel, weight, allocation_ratio,
            allocated_revenue_cents, correlation_id)
        SELECT $1, r.id, r.event_id, $2, r.channel, r.weight, r.ratio, r.cents, r.correlation_id
        FROM computed_allocations r)sql"};
    const std::uint64_t expected = waiting_rows(*rows);
    if (expected == 0)
        return 0;
    Relation allocations = open_allocations();
    std::uint64_t inserted = 0;
    const auto run_insert = [&](bool) {
        inserted = insert.run(rows->tenant_id, rows->model_version);
    };
    const pg::ForeignKey keys[] = {
        {tenant_and_event, pg::own_relation("attribution_events"), tenant_and_id}};
    with_computed_allocations(*rows, [&] {
        if (parents_are_locked)
            pg::insert_without_key_checks(allocations, keys, run_insert);
        else
            run_insert(false);
    });
    table_close(allocations, NoLock);
    if (inserted < expected)
        ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                        errmsg("could not insert all allocations"),
                        errdetail(UINT64_FORMAT " of " UINT64_FORMAT " rows were inserted.",
                                  inserted, expected),
                        errhint("A trigger on attribution.attribution_allocations returns null for "
                                "the others.")));
    Assert(inserted == expected);
    discard_rows(rows);
    return inserted;
}

void add_stored(const StoredAllocation& row, pg::ResultRows* result) {
    result->add(row.tenant_id, row.id, row.event_id, row.model_version, row.channel, row.weight,
                row.ratio, row.cents, row.metadata, row.correlation_id, row.created_at,
                row.updated_at);
}

bool write_rows_unless_stored(Rows* rows, pg::ResultRows* result) {
    // ON CONFLICT names no index: while another session inserts the same row, that row may be in
    // the index of the primary key and not yet in the one on (event, model version, channel).
    static constinit pg::Statement<StoredAllocation(core::Uuid, std::string_view)> insert{R"sql(
        INSERT INTO attribution.attribution_allocations AS a (
            tenant_id, id, event_id, model_version, channel, weight, allocation_ratio,
            allocated_revenue_cents, correlation_id)
        SELECT $1, r.id, r.event_id, $2, r.channel, r.weight, r.ratio, r.cents, r.correlation_id
        FROM computed_allocations r
        ON CONFLICT DO NOTHING
        RETURNING )sql" STORED_ALLOCATION_COLUMNS};
    const std::uint64_t expected = waiting_rows(*rows);
    bool is_complete = false;
    table_close(open_allocations(), NoLock);
    with_computed_allocations(*rows, [&] {
        const auto inserted = insert.run(rows->tenant_id, rows->model_version);
        is_complete = inserted.size() == expected;
        if (is_complete) {
            for (const StoredAllocation& row : inserted)
                add_stored(row, result);
            return;
        }
        // Another session has stored rows of the event, perhaps with other channels. The rows
        // inserted here are deleted, so that its rows stand alone.
        const auto ids = pg::make_span<core::Uuid>(inserted.size());
        for (std::size_t i = 0; i < ids.size(); ++i)
            ids[i] = inserted[i].id;
        delete_rows(*rows, ids);
    });
    if (is_complete)
        discard_rows(rows);
    return is_complete;
}

} // namespace attribution::entry
