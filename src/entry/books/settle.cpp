// settle: adds settlements to a running reconciliation, and deletes those of runs that ended long
// ago.
//
// A list of settlements may have a million elements. It is read one element at a time into rows
// that go to disk past work_mem, and one statement inserts the rows.

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "entry/books/reconciliation_run.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/foreign_key.hpp"
#include "pg/json.hpp"
#include "pg/named_rows.hpp"
#include "pg/own.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

static_assert(core::max_settlement_key_bytes == pg::max_text_bytes);

TupleDesc settlement_columns() {
    TupleDesc columns = CreateTemplateTupleDesc(3);
    TupleDescInitEntry(columns, 1, "position", INT8OID, -1, 0);
    TupleDescInitEntry(columns, 2, "key", TEXTOID, -1, 0);
    TupleDescInitEntry(columns, 3, "amount_cents", INT8OID, -1, 0);
    return columns;
}

/// Settlements that were read; the statements that follow read them as the relation "settlements".
struct SettlementRows {
    Tuplestorestate* rows;
    TupleDesc columns;
    std::int64_t count;
};

void add_settlement(SettlementRows* settlements, const core::Settlement& settlement) {
    Datum values[] = {Int64GetDatum(settlements->count), pg::text_datum(settlement.key),
                      Int64GetDatum(settlement.amount_cents)};
    bool nulls[3] = {};
    tuplestore_putvalues(settlements->rows, settlements->columns, values, nulls);
}

core::Settlement read_settlement(const JsonbValue& element, std::int64_t position) {
    const pg::JsonDocument document = pg::json_document(element);
    core::Settlement settlement{};
    pg::guarded([&] {
        settlement = core::read_settlement(document.root(), static_cast<std::uint64_t>(position));
    });
    return settlement;
}

/// Reads and checks the settlements. What an element needs while it is read is freed before the
/// next one.
SettlementRows read_settlements(Jsonb* document) {
    if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document))
        pg::guarded([] { core::throw_not_an_array_of_settlements(); });
    SettlementRows settlements = {.rows = tuplestore_begin_heap(false, false, work_mem),
                                  .columns = settlement_columns(),
                                  .count = 0};
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "attribution settlement",
                                                 ALLOCSET_DEFAULT_SIZES);
    JsonbIterator* iterator = JsonbIteratorInit(&document->root);
    JsonbValue element;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE;) {
        if (token != WJB_ELEM)
            continue;
        CHECK_FOR_INTERRUPTS();
        const MemoryContext before = MemoryContextSwitchTo(memory);
        ++settlements.count;
        add_settlement(&settlements, read_settlement(element, settlements.count));
        MemoryContextSwitchTo(before);
        MemoryContextReset(memory);
    }
    MemoryContextDelete(memory);
    Assert(static_cast<std::uint64_t>(settlements.count) == JB_ROOT_COUNT(document));
    return settlements;
}

/// Inserts the settlements whose keys the run does not have, and returns their number. Planned for
/// each call, like the statement below: the number of settlements decides.
std::uint64_t insert_settlements(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constexpr const char* insert_sql = R"sql(
        INSERT INTO attribution.reconciliation_settlements
            (tenant_id, reconciliation_run_id, key, amount_cents)
        SELECT $1, $2, s.key, s.amount_cents
        FROM settlements s
        ON CONFLICT (tenant_id, reconciliation_run_id, key) DO NOTHING)sql";
    pg::Statement<void(core::Uuid, core::Uuid)> insert{insert_sql, pg::Plan::once};
    // The run is locked, so the foreign key to it needs no check for each of a million rows.
    static constexpr std::array run = {"tenant_id", "reconciliation_run_id"};
    static constexpr std::array id = {"tenant_id", "id"};
    const pg::ForeignKey keys[] = {{run, pg::own_relation("reconciliation_runs"), id}};
    Relation table = table_open(pg::own_relation("reconciliation_settlements"), RowExclusiveLock);
    std::uint64_t count = 0;
    pg::insert_without_key_checks(table, keys,
                                  [&](bool) { count = insert.run(tenant_id, run_id); });
    table_close(table, NoLock);
    return count;
}

/// A settlement whose key the run has with another amount.
struct ChangedSettlement {
    std::int64_t position;
    std::string_view key;
    core::Cents amount_cents, stored_cents;

    using Columns = std::tuple<std::int64_t, std::string_view, core::Cents, core::Cents>;
};

/// Raises 23505 for the first settlement whose key the run has with another amount.
void check_unchanged(const core::Uuid& tenant_id, const core::Uuid& run_id) {
    static constexpr const char* find_sql = R"sql(
        SELECT s.position, s.key, s.amount_cents, x.amount_cents
        FROM settlements s
        JOIN attribution.reconciliation_settlements x ON x.key = s.key
        WHERE x.tenant_id = $1 AND x.reconciliation_run_id = $2
          AND x.amount_cents <> s.amount_cents
        ORDER BY s.position LIMIT 1)sql";
    pg::Statement<ChangedSettlement(core::Uuid, core::Uuid)> find{find_sql, pg::Plan::once};
    const auto changed = find.run(tenant_id, run_id).first();
    if (!changed)
        return;
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("settlement \"%.*s\" already exists with another amount",
                           static_cast<int>(changed->key.size()), changed->key.data()),
                    errdetail("Run %s of tenant %s has " INT64_FORMAT
                              " cents, element " INT64_FORMAT " says " INT64_FORMAT ".",
                              pg::uuid_text(run_id), pg::uuid_text(tenant_id),
                              changed->stored_cents, changed->position, changed->amount_cents),
                    errhint("Settle each key once, with what was paid net of refunds."),
                    err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
                    err_generic_string(PG_DIAG_TABLE_NAME, "reconciliation_settlements"),
                    err_generic_string(PG_DIAG_CONSTRAINT_NAME, "settlement_is_unchanged")));
}

/// Planned for each call: the tables may have grown, and nobody may have analyzed them.
std::uint64_t prune(const core::Uuid& tenant_id, pg::IntervalDatum older_than) {
    static constexpr const char* remove_sql = R"sql(
        DELETE FROM attribution.reconciliation_settlements s
        WHERE s.tenant_id = $1
          AND s.reconciliation_run_id IN (
              SELECT r.id FROM attribution.reconciliation_runs r
              WHERE r.tenant_id = $1 AND r.state IN ('completed', 'failed')
                AND r.updated_at < now() - $2))sql";
    pg::Statement<void(core::Uuid, pg::IntervalDatum)> remove{remove_sql, pg::Plan::once};
    return remove.run(tenant_id, older_than);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_settle) {
    entry::require_tables();
    PreventCommandIfReadOnly("settle()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto run_id = pg::argument<core::Uuid>(fcinfo, 1, "reconciliation_run_id");
    const auto document = pg::argument<pg::JsonbDatum>(fcinfo, 2, "settlements");
    entry::check_tenant(tenant_id);
    SPI_connect();
    entry::join_run(tenant_id, run_id);
    const entry::SettlementRows settlements =
        entry::read_settlements(DatumGetJsonbP(document.datum));
    pg::name_rows("settlements", settlements.columns, settlements.rows);
    const std::int64_t received = settlements.count;
    const auto added =
        received == 0 ? std::int64_t{0}
                      : static_cast<std::int64_t>(entry::insert_settlements(tenant_id, run_id));
    Assert(added <= received);
    if (added < received)
        entry::check_unchanged(tenant_id, run_id);
    tuplestore_end(settlements.rows);
    SPI_finish();
    PG_RETURN_DATUM(pg::row_result(fcinfo, received, added, received - added));
}

ATTRIBUTION_FUNCTION(attribution_prune_tenant_settlements) {
    entry::require_tables();
    PreventCommandIfReadOnly("prune_tenant_settlements()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto older_than = pg::argument<pg::IntervalDatum>(fcinfo, 1, "older_than");
    entry::check_tenant(tenant_id);
    SPI_connect();
    const std::uint64_t pruned = entry::prune(tenant_id, older_than);
    SPI_finish();
    PG_RETURN_INT64(static_cast<int64>(pruned));
}

ATTRIBUTION_FUNCTION(attribution_prune_settlements) {
    entry::require_tables();
    // Row security chooses the tenants, as for every query of the caller's.
    static constinit pg::Statement<core::Uuid()> find_tenants{R"sql(
        SELECT t.id FROM attribution.tenants t)sql"};
    static constinit pg::Statement<std::int64_t(core::Uuid, pg::IntervalDatum)> prune{R"sql(
        SELECT attribution.prune_tenant_settlements($1, $2))sql"};
    PreventCommandIfReadOnly("prune_settlements()");
    const auto older_than = pg::argument<pg::IntervalDatum>(fcinfo, 0, "older_than");
    std::int64_t pruned = 0;
    SPI_connect();
    for (const core::Uuid& tenant_id : find_tenants.run()) {
        CHECK_FOR_INTERRUPTS();
        auto rows = prune.run(tenant_id, older_than);
        pruned += rows[0];
        rows.free();
    }
    SPI_finish();
    PG_RETURN_INT64(pruned);
}
