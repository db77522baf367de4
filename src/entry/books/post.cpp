// post: allocations are copied into the ledger, each once.
//
//     find         the allocations that are not posted, under one snapshot; locks them FOR SHARE
//     open books   of their conversions, in the order of the conversions; refuses the whole call
//                  when one of the books has postings under another model version
//     insert       all postings in one statement; leaves out what another session has posted
//
// What is posted is decided by the first step. The locks keep it as it is until the postings are
// committed, which freezes it, so the last step inserts rows that need no check.

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "entry/allocation/model.hpp"
#include "entry/books/posting_check.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/call.hpp"
#include "pg/foreign_key.hpp"
#include "pg/named_rows.hpp"
#include "pg/own.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// What is posted: the allocations of a tenant under a model version, of events that occurred from
/// one time on and before another.
struct PostingRequest {
    core::Uuid tenant_id;
    std::string_view model_version;
    std::optional<pg::Timestamptz> occurred_from, occurred_to; // nothing: no bound
};

/// An allocation that is not posted.
struct Unposted {
    core::Uuid conversion_id;
    core::Uuid allocation_id;
    core::Cents cents;

    using Columns = std::tuple<core::Uuid, core::Uuid, core::Cents>;
};

/// The rows that find_unposted() has found; on disk past work_mem. The statements that follow read
/// them as the relation "unposted".
struct UnpostedRows {
    Tuplestorestate* rows;
    TupleDesc columns;
    int64 count;
    core::Uuid last_conversion;
};

UnpostedRows no_unposted_rows() {
    TupleDesc columns = CreateTemplateTupleDesc(4);
    TupleDescInitEntry(columns, 1, "conversion_id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, 2, "id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, 3, "cents", INT8OID, -1, 0);
    TupleDescInitEntry(columns, 4, "is_other_conversion", BOOLOID, -1, 0); // than the row before
    return {.rows = tuplestore_begin_heap(false, false, work_mem),
            .columns = columns,
            .count = 0,
            .last_conversion = {}};
}

void add_unposted(UnpostedRows* unposted, const Unposted& row) {
    const bool is_other = unposted->count == 0 || row.conversion_id != unposted->last_conversion;
    Datum values[] = {pg::SqlType<core::Uuid>::to_datum(row.conversion_id),
                      pg::SqlType<core::Uuid>::to_datum(row.allocation_id),
                      Int64GetDatum(row.cents), BoolGetDatum(is_other)};
    bool nulls[4] = {};
    tuplestore_putvalues(unposted->rows, unposted->columns, values, nulls);
    unposted->last_conversion = row.conversion_id;
    ++unposted->count;
}

/// Finds the allocations that are not posted and locks them FOR SHARE, so that they stay as they
/// are until the postings are committed and freeze them. Rows are looked up by a range of one key,
/// in its order: whatever a planner without statistics believes, only the index on that key will
/// do. OFFSET 0 keeps a look-up apart from the rest of the statement.
void find_unposted(const PostingRequest& request, UnpostedRows* unposted) {
    static constinit pg::Statement<Unposted(core::Uuid, std::string_view)> all{R"sql(
        SELECT coalesce(e.refund_of, e.id), a.id, a.allocated_revenue_cents
        FROM attribution.attribution_allocations a
        CROSS JOIN LATERAL
             (SELECT x.id, x.refund_of, x.event_type
              FROM attribution.attribution_events x
              WHERE x.tenant_id = $1 AND x.id >= a.event_id AND x.id <= a.event_id
              ORDER BY x.id LIMIT 1) e
        WHERE a.tenant_id = $1 AND a.model_version = $2 AND e.event_type <> 'touch'
          AND NOT EXISTS (SELECT 1 FROM attribution.revenue_ledger l
                          WHERE l.tenant_id = $1
                            AND l.allocation_id >= a.id AND l.allocation_id <= a.id
                          ORDER BY l.allocation_id LIMIT 1 OFFSET 0)
        FOR SHARE OF a)sql"};
    // The events of the range lead to their allocations, not the allocations of all times.
    static constinit pg::Statement<Unposted(core::Uuid, std::string_view,
                                            std::optional<pg::Timestamptz>,
                                            std::optional<pg::Timestamptz>)>
        bounded{R"sql(
        SELECT coalesce(e.refund_of, e.id), a.id, a.cents
        FROM (SELECT x.id, x.refund_of
              FROM attribution.attribution_events x
              WHERE x.tenant_id = $1 AND x.event_type <> 'touch'
                AND x.occurred_at >= coalesce($3, '-infinity')
                AND x.occurred_at < coalesce($4, 'infinity')
              ORDER BY x.occurred_at DESC OFFSET 0) e
        CROSS JOIN LATERAL
             (SELECT y.id, y.allocated_revenue_cents AS cents
              FROM attribution.attribution_allocations y
              WHERE y.tenant_id = $1 AND y.event_id >= e.id AND y.event_id <= e.id
                AND y.model_version IS NOT NULL AND y.model_version COLLATE "C" = $2
              ORDER BY y.event_id OFFSET 0 FOR SHARE) a
        WHERE NOT EXISTS (SELECT 1 FROM attribution.revenue_ledger l
                          WHERE l.tenant_id = $1
                            AND l.allocation_id >= a.id AND l.allocation_id <= a.id
                          ORDER BY l.allocation_id LIMIT 1 OFFSET 0))sql"};
    const auto receive = [&](const Unposted& row) { add_unposted(unposted, row); };
    if (request.occurred_from || request.occurred_to)
        bounded.stream(receive, request.tenant_id, request.model_version, request.occurred_from,
                       request.occurred_to);
    else
        all.stream(receive, request.tenant_id, request.model_version);
}

/// The first of the books that have another model version, and how many such books there are.
struct OtherBook {
    core::Uuid conversion_id;
    std::string_view model_version;
    std::int64_t count;

    using Columns = std::tuple<core::Uuid, std::string_view, std::int64_t>;
};

[[noreturn]] void raise_other_book(const PostingRequest& request, const OtherBook& book) {
    const char* more =
        book.count == 1 ? "" : psprintf(" It is the first of " INT64_FORMAT ".", book.count);
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("conversion is already posted under another model version"),
             errdetail("Tenant %s: the book of conversion %s is kept under \"%.*s\", not "
                       "\"%.*s\".%s",
                       pg::uuid_text(request.tenant_id), pg::uuid_text(book.conversion_id),
                       static_cast<int>(book.model_version.size()), book.model_version.data(),
                       static_cast<int>(request.model_version.size()), request.model_version.data(),
                       more),
             errhint("Post one model version per time range."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "ledger_books"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "ledger_books_pkey")));
    pg_unreachable();
}

/// Opens the books that are missing and locks the others, in the order of their conversions: two
/// sessions that post the same wait for each other in turn. A book that has another model version
/// is "updated" to the one it has, so that the statement returns it.
void open_books(const PostingRequest& request) {
    static constinit pg::Statement<OtherBook(core::Uuid, std::string_view)> open{R"sql(
        WITH opened AS (
            INSERT INTO attribution.ledger_books AS b (tenant_id, conversion_id, model_version)
            SELECT DISTINCT $1, u.conversion_id, $2
            FROM unposted u WHERE u.is_other_conversion ORDER BY 2
            ON CONFLICT (tenant_id, conversion_id) DO UPDATE SET model_version = b.model_version
            WHERE b.model_version <> excluded.model_version
            RETURNING b.conversion_id, b.model_version)
        SELECT o.conversion_id, o.model_version, count(*) OVER ()
        FROM opened o
        WHERE o.model_version <> $2 ORDER BY o.conversion_id LIMIT 1)sql"};
    if (const auto other = open.run(request.tenant_id, request.model_version).first())
        raise_other_book(request, *other);
}

/// True when the INSERT of books ran no triggers or other code of users. Then no book was left out:
/// each conversion of the postings has one that open_books() has inserted or locked.
bool books_are_opened_by_us(Relation books) {
    static constexpr std::array conversion = {"tenant_id", "conversion_id"};
    static constexpr std::array id = {"tenant_id", "id"};
    const pg::ForeignKey keys[] = {{conversion, pg::own_relation("attribution_events"), id}};
    return pg::inserts_run_nothing_foreign(books, keys);
}

/// Inserts the postings and returns their number. Allocations that another session has posted
/// meanwhile are left out.
std::uint64_t insert_postings(const PostingRequest& request, Relation ledger, Relation books) {
    static constinit pg::Statement<void(core::Uuid)> insert{R"sql(
        INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id,
            reverses_id, reconciliation_run_id, revenue_cents)
        SELECT $1, u.conversion_id, u.id, NULL, NULL, u.cents
        FROM unposted u
        ON CONFLICT (tenant_id, allocation_id) WHERE allocation_id IS NOT NULL DO NOTHING)sql"};
    if (!books_are_opened_by_us(books))
        return insert.run(request.tenant_id);

    // The books and allocations are locked, the other keys are null.
    static constexpr std::array id = {"tenant_id", "id"};
    static constexpr std::array conversion = {"tenant_id", "conversion_id"};
    static constexpr std::array allocation = {"tenant_id", "allocation_id"};
    static constexpr std::array reverses = {"tenant_id", "reverses_id"};
    static constexpr std::array run = {"tenant_id", "reconciliation_run_id"};
    const pg::ForeignKey keys[] = {{conversion, RelationGetRelid(books), conversion},
                                   {allocation, pg::own_relation("attribution_allocations"), id},
                                   {reverses, RelationGetRelid(ledger), id},
                                   {run, pg::own_relation("reconciliation_runs"), id}};
    std::uint64_t count = 0;
    pg::insert_without_key_checks(ledger, keys, [&](bool is_unchecked) {
        if (is_unchecked)
            without_posting_check([&] { count = insert.run(request.tenant_id); });
        else
            count = insert.run(request.tenant_id);
    });
    return count;
}

/// Posts the allocations that are not posted and returns their number. The tables are locked first,
/// so that no wait for a table comes after the snapshot that decides what is posted.
std::uint64_t post(const PostingRequest& request) {
    Relation books = table_open(pg::own_relation("ledger_books"), RowExclusiveLock);
    Relation ledger = table_open(pg::own_relation("revenue_ledger"), RowExclusiveLock);
    UnpostedRows unposted = no_unposted_rows();
    find_unposted(request, &unposted);
    std::uint64_t posted = 0;
    if (unposted.count > 0) {
        pg::name_rows("unposted", unposted.columns, unposted.rows);
        open_books(request);
        posted = insert_postings(request, ledger, books);
    }
    Assert(posted <= static_cast<std::uint64_t>(unposted.count));
    tuplestore_end(unposted.rows);
    table_close(ledger, NoLock);
    table_close(books, NoLock);
    return posted;
}

void check_model_version(const PostingRequest& request) {
    static constinit pg::Statement<std::tuple<bool, bool>(core::Uuid, std::string_view)> find{R"sql(
        SELECT EXISTS (SELECT 1 FROM attribution.tenants WHERE id = $1),
               EXISTS (SELECT 1 FROM attribution.attribution_models
                       WHERE tenant_id = $1 AND model_version = $2)
               OR EXISTS (SELECT 1 FROM attribution.attribution_allocations
                          WHERE tenant_id = $1 AND model_version = $2))sql"};
    const auto [has_tenant, has_model] = find.run(request.tenant_id, request.model_version)[0];
    if (!has_tenant)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tenant %s does not exist", pg::uuid_text(request.tenant_id))));
    if (!has_model)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("model version \"%.*s\" does not exist",
                               static_cast<int>(request.model_version.size()),
                               request.model_version.data()),
                        errdetail("Tenant %s has neither a definition nor allocations of it.",
                                  pg::uuid_text(request.tenant_id))));
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_post_allocations) {
    entry::require_tables();
    PreventCommandIfReadOnly("post_allocations()");
    const entry::PostingRequest request = {
        .tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
        .model_version = pg::argument<std::string_view>(fcinfo, 1, "model_version"),
        .occurred_from = pg::argument<pg::OptionalTime>(fcinfo, 2, "occurred_from"),
        .occurred_to = pg::argument<pg::OptionalTime>(fcinfo, 3, "occurred_to")};
    entry::check_tenant(request.tenant_id);
    SPI_connect();
    entry::check_model_version(request);
    const std::uint64_t posted = entry::post(request);
    SPI_finish();
    PG_RETURN_INT64(static_cast<int64>(posted));
}
