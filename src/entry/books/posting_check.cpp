// posting_check: a new row of the ledger agrees with its allocation, its event and its book, or
// reverses a posting exactly.
//
// A trigger compares each new row as it is inserted, whoever inserts it and under whatever role:
//
//     posting          allocation_id   the allocation's cents, the conversion of its event, and the
//                                      model version of the conversion's book
//     reversing entry  reverses_id     minus the cents of the posting, in the same book; that is
//                                      no reversing entry itself
//
// The trigger fires on shards as well, whose names differ, so it knows the ledger by its OID and
// finds the other tables through the ledger's foreign keys.

#include "entry/books/posting_check.hpp"

#include <optional>
#include <string_view>
#include <tuple>

#include "pg/columns.hpp"
#include "pg/cache.hpp"
#include "pg/foreign_key.hpp"
#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {

constinit bool detail::are_postings_checked_by_caller = false;

namespace {

/// What an allocation says of the row that posts it.
struct AllocationToPost {
    core::Cents cents;
    core::Uuid conversion_id;
    std::string_view model_version;
    std::optional<std::string_view> book_model_version; // nothing: the conversion has no book

    using Columns =
        std::tuple<core::Cents, core::Uuid, std::string_view, std::optional<std::string_view>>;
};

/// What a posting says of the row that reverses it.
struct PostingToReverse {
    core::Cents cents;
    core::Uuid conversion_id;
    bool is_reversal;

    using Columns = std::tuple<core::Cents, core::Uuid, bool>;
};

using FindAllocation = pg::Statement<AllocationToPost(
    core::Uuid tenant_id, core::Uuid allocation_id, core::Uuid conversion_id)>;
using FindPosting = pg::Statement<PostingToReverse(core::Uuid tenant_id, core::Uuid ledger_id)>;

/// What was looked up about the ledger on which the trigger fires.
struct LedgerCache {
    pg::Cached validity;
    Oid ledger;
    int tenant_id, conversion_id, allocation_id, reverses_id, revenue_cents; // column numbers
    FindAllocation find_allocation;
    FindPosting find_posting;
};
constinit LedgerCache cache{};

/// Replaces the statement by one with this text, which is copied.
template <class Statement>
void replace(Statement* statement, const char* sql) {
    const char* copy = MemoryContextStrdup(TopMemoryContext, sql);
    const char* replaced = statement->sql();
    statement->discard();
    *statement = Statement(copy);
    if (replaced != nullptr)
        pfree(const_cast<char*>(replaced));
}

/// The allocation is locked FOR SHARE, so that it stays as it is until the posting is committed,
/// which freezes it. A row is looked up by a range of one key, in the order of that key: whatever a
/// planner without statistics believes, only the index on that key will do.
const char* allocation_query(Oid allocations, Oid books, Oid events) {
    return psprintf(R"sql(
        SELECT a.allocated_revenue_cents, coalesce(e.refund_of, e.id), a.model_version,
               b.model_version
        FROM (SELECT * FROM %s x
              WHERE x.tenant_id OPERATOR(pg_catalog.=) $1
                AND x.id OPERATOR(pg_catalog.>=) $2 AND x.id OPERATOR(pg_catalog.<=) $2
              ORDER BY x.id LIMIT 1 FOR SHARE) a
        LEFT JOIN %s b ON b.tenant_id OPERATOR(pg_catalog.=) $1
                      AND b.conversion_id OPERATOR(pg_catalog.=) $3
        CROSS JOIN LATERAL
             (SELECT * FROM %s y
              WHERE y.tenant_id OPERATOR(pg_catalog.=) $1
                AND y.id OPERATOR(pg_catalog.>=) a.event_id
                AND y.id OPERATOR(pg_catalog.<=) a.event_id
              ORDER BY y.id LIMIT 1) e)sql",
                    pg::qualified_name(allocations), pg::qualified_name(books),
                    pg::qualified_name(events));
}

const char* posting_query(Oid ledger) {
    return psprintf(R"sql(
        SELECT r.revenue_cents, r.conversion_id, r.reverses_id IS NOT NULL
        FROM %s r
        WHERE r.tenant_id OPERATOR(pg_catalog.=) $1
          AND r.id OPERATOR(pg_catalog.>=) $2 AND r.id OPERATOR(pg_catalog.<=) $2
        ORDER BY r.id LIMIT 1)sql",
                    pg::qualified_name(ledger));
}

void look_up(Relation ledger) {
    const Oid ledger_id = RelationGetRelid(ledger);
    const Oid books_id =
        pg::referenced_relation(ledger, "conversion_id", pg::internal_function("keep_ledger"));
    const Oid allocations_id = pg::referenced_relation(
        ledger, "allocation_id", pg::internal_function("check_allocation_sum"));
    Relation allocations = table_open(allocations_id, AccessShareLock);
    const Oid events_id = pg::referenced_relation(allocations, "event_id",
                                                  pg::internal_function("check_event_revenue"));
    table_close(allocations, NoLock);
    for (const Oid relation : {ledger_id, books_id, allocations_id, events_id})
        cache.validity.depend_on(relation);

    cache.tenant_id = pg::column_number(ledger, "tenant_id", UUIDOID);
    cache.conversion_id = pg::column_number(ledger, "conversion_id", UUIDOID);
    cache.allocation_id = pg::column_number(ledger, "allocation_id", UUIDOID);
    cache.reverses_id = pg::column_number(ledger, "reverses_id", UUIDOID);
    cache.revenue_cents = pg::column_number(ledger, "revenue_cents", INT8OID);
    replace(&cache.find_allocation, allocation_query(allocations_id, books_id, events_id));
    replace(&cache.find_posting, posting_query(ledger_id));
    cache.ledger = ledger_id;
}

/// A new row of the ledger.
struct NewRow {
    core::Uuid tenant_id, conversion_id;
    std::optional<core::Uuid> allocation_id, reverses_id;
    core::Cents cents;
};

template <class T>
T read_column(TupleTableSlot* row, int number, const char* name) {
    bool isnull;
    const Datum datum = slot_getattr(row, number, &isnull);
    return pg::value_of<T>(datum, isnull, name);
}

NewRow read_new_row(TupleTableSlot* row) {
    return {.tenant_id = read_column<core::Uuid>(row, cache.tenant_id, "tenant_id"),
            .conversion_id = read_column<core::Uuid>(row, cache.conversion_id, "conversion_id"),
            .allocation_id =
                read_column<std::optional<core::Uuid>>(row, cache.allocation_id, "allocation_id"),
            .reverses_id =
                read_column<std::optional<core::Uuid>>(row, cache.reverses_id, "reverses_id"),
            .cents = read_column<core::Cents>(row, cache.revenue_cents, "revenue_cents")};
}

[[noreturn]] void raise_mismatch(Relation ledger, const char* message, const char* detail) {
    ereport(ERROR,
            (errcode(ERRCODE_CHECK_VIOLATION), errmsg("%s", message), errdetail("%s", detail),
             errhint("Call post_allocations() or reverse_posting()."),
             errtableconstraint(ledger, "posting_matches_allocation")));
    pg_unreachable();
}

void check_posting(Relation ledger, const NewRow& row, const AllocationToPost& allocation) {
    const std::string_view book_model =
        allocation.book_model_version.value_or(allocation.model_version);
    if (allocation.cents == row.cents && allocation.conversion_id == row.conversion_id &&
        allocation.model_version == book_model)
        return;
    raise_mismatch(
        ledger, "posting does not match its allocation",
        psprintf("Allocation %s has " INT64_FORMAT " cents of conversion %s under \"%.*s\", "
                 "the posting " INT64_FORMAT " cents in the book of conversion %s under \"%.*s\".",
                 pg::uuid_text(*row.allocation_id), allocation.cents,
                 pg::uuid_text(allocation.conversion_id),
                 static_cast<int>(allocation.model_version.size()), allocation.model_version.data(),
                 row.cents, pg::uuid_text(row.conversion_id), static_cast<int>(book_model.size()),
                 book_model.data()));
}

void check_reversal(Relation ledger, const NewRow& row, const PostingToReverse& posting) {
    if (posting.is_reversal)
        raise_mismatch(ledger, "cannot reverse a reversing entry",
                       psprintf("Entry %s reverses another one.", pg::uuid_text(*row.reverses_id)));
    core::Cents reversed;
    if (!pg_sub_s64_overflow(0, posting.cents, &reversed) && reversed == row.cents &&
        posting.conversion_id == row.conversion_id)
        return;
    raise_mismatch(ledger, "reversing entry does not match its posting",
                   psprintf("Posting %s has " INT64_FORMAT " cents of conversion %s, the "
                            "reversing entry " INT64_FORMAT " cents of conversion %s.",
                            pg::uuid_text(*row.reverses_id), posting.cents,
                            pg::uuid_text(posting.conversion_id), row.cents,
                            pg::uuid_text(row.conversion_id)));
}

/// Compares the row with the allocation or posting that it names. When that does not exist, the
/// foreign key of the row raises the error; a row that names both or neither was refused by a CHECK
/// constraint before.
void check_new_row(const TriggerData* trigger) {
    const Relation ledger = trigger->tg_relation;
    SPI_connect();
    const int settings = pg::prefer_indexes();
    const pg::CallerRights rights = pg::act_as_owner(RelationGetRelid(ledger));
    if (cache.ledger != RelationGetRelid(ledger))
        cache.validity.invalidate();
    cache.validity.ensure([&] { look_up(ledger); });
    Assert(cache.ledger == RelationGetRelid(ledger));
    const NewRow row = read_new_row(trigger->tg_trigslot);
    std::optional<AllocationToPost> allocation;
    std::optional<PostingToReverse> posting;
    if (row.allocation_id)
        allocation =
            cache.find_allocation.run_latest(row.tenant_id, *row.allocation_id, row.conversion_id)
                .first();
    if (row.reverses_id)
        posting = cache.find_posting.run_latest(row.tenant_id, *row.reverses_id).first();
    pg::act_as_caller(rights);
    pg::restore_settings(settings);
    if (allocation)
        check_posting(ledger, row, *allocation);
    if (posting)
        check_reversal(ledger, row, *posting);
    SPI_finish();
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_check_posting) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_posting", TRIGGER_EVENT_INSERT);
    if (!entry::detail::are_postings_checked_by_caller)
        entry::check_new_row(trigger);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
