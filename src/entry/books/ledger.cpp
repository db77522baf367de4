// ledger: allocations are posted once, and postings never change.

#include "entry/books/ledger.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "entry/session/tenancy.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/own.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

constexpr const char* constraint_name = "ledger_is_append_only";

/// What reconciliation writes. updated_at follows by trigger.
constexpr std::array<std::string_view, 4> verification_columns = {
    "reconciliation_run_id", "is_verified", "verified_at", "updated_at"};

bool may_change(Relation relation, const char* column) {
    // ledger_books has no verification columns: nothing in it changes.
    return get_attnum(RelationGetRelid(relation), "is_verified") != InvalidAttrNumber &&
           std::find(verification_columns.begin(), verification_columns.end(), column) !=
               verification_columns.end();
}

[[noreturn]] void raise_append_only(Relation relation, const char* detail) {
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("the ledger is append-only"),
                    errdetail("%s", detail), errhint("A correction is a reversing entry."),
                    errtableconstraint(relation, constraint_name)));
    pg_unreachable();
}

void check_update(const TriggerData* trigger) {
    const Relation relation = trigger->tg_relation;
    const TupleDesc columns = RelationGetDescr(relation);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (column->attisdropped || may_change(relation, NameStr(column->attname)))
            continue;
        bool old_null, new_null;
        const Datum old_value = slot_getattr(trigger->tg_trigslot, i + 1, &old_null);
        const Datum new_value = slot_getattr(trigger->tg_newslot, i + 1, &new_null);
        if (old_null != new_null ||
            (!old_null && !datum_image_eq(old_value, new_value, column->attbyval, column->attlen)))
            raise_append_only(relation, psprintf("Column %s of \"%s\" would change.",
                                                 NameStr(column->attname),
                                                 RelationGetRelationName(relation)));
    }
}

// ---------------------------------------------------------------------------------------------
// What a new row says

/// True while post_allocations() copies allocations that it has locked: its rows need no check.
constinit bool is_copying = false;

/// The queries of a ledger, which is found by its OID: triggers fire on shards.
struct Checks {
    Oid ledger;
    bool valid;
    pg::Query posting;  // of an allocation ($2) into the book of a conversion ($3)
    pg::Query reversal; // of a posting ($2)
};
constinit Checks checks{};

extern "C" void forget_checks(Datum, Oid relation) {
    // Which relation does not matter: it may be one that the ledger refers to.
    (void)relation;
    checks.valid = false;
}

const char* row_by_id(Oid relation) {
    // A range and its order leave only the primary key to a planner without statistics.
    return psprintf("SELECT * FROM %s x WHERE x.tenant_id OPERATOR(pg_catalog.=) $1 "
                    "AND x.id OPERATOR(pg_catalog.>=) $2 AND x.id OPERATOR(pg_catalog.<=) $2 "
                    "ORDER BY x.id LIMIT 1",
                    pg::qualified_name(relation));
}

pg::Query checking_query(const char* sql, int parameter_count) {
    return {.sql = MemoryContextStrdup(TopMemoryContext, sql),
            .parameter_count = parameter_count,
            .parameter_types = {UUIDOID, UUIDOID, UUIDOID},
            .cursor_options = CURSOR_OPT_GENERIC_PLAN,
            .plan = nullptr};
}

void discard(pg::Query* query) {
    if (query->sql == nullptr)
        return;
    pg::discard(*query);
    pfree(const_cast<char*>(query->sql));
    query->sql = nullptr;
}

/// Inside an SPI connection.
void prepare_checks(const TriggerData* trigger) {
    const Oid ledger = RelationGetRelid(trigger->tg_relation);
    if (checks.valid && checks.ledger == ledger)
        return;
    const Oid own_function = trigger->tg_trigger->tgfoid;
    const Oid books = pg::referenced_relation(trigger->tg_relation, "conversion_id",
                                              pg::sibling_function(own_function, "keep_ledger"));
    const Oid allocations_id =
        pg::referenced_relation(trigger->tg_relation, "allocation_id",
                                pg::sibling_function(own_function, "check_allocation_sum"));
    Relation allocations = table_open(allocations_id, AccessShareLock);
    const Oid events = pg::referenced_relation(
        allocations, "event_id", pg::sibling_function(own_function, "check_event_revenue"));
    table_close(allocations, NoLock);

    checks.valid = false;
    discard(&checks.posting);
    discard(&checks.reversal);
    // FOR SHARE: what is posted stays as it is until the posting can be seen, and freezes it.
    checks.posting = checking_query(
        psprintf("SELECT a.allocated_revenue_cents, coalesce(e.refund_of, e.id), a.model_version, "
                 "b.model_version FROM (%s FOR SHARE) a LEFT JOIN %s b "
                 "ON b.tenant_id OPERATOR(pg_catalog.=) $1 "
                 "AND b.conversion_id OPERATOR(pg_catalog.=) $3, LATERAL "
                 "(SELECT * FROM %s y WHERE y.tenant_id OPERATOR(pg_catalog.=) $1 "
                 "AND y.id OPERATOR(pg_catalog.>=) a.event_id "
                 "AND y.id OPERATOR(pg_catalog.<=) a.event_id ORDER BY y.id LIMIT 1) e",
                 row_by_id(allocations_id), pg::qualified_name(books), pg::qualified_name(events)),
        3);
    checks.reversal = checking_query(
        psprintf("SELECT r.revenue_cents, r.conversion_id, r.reverses_id IS NOT NULL FROM (%s) r",
                 row_by_id(ledger)),
        2);
    checks.ledger = ledger;
    checks.valid = true;
}

[[noreturn]] void raise_mismatch(Relation ledger, const char* message, const char* detail) {
    ereport(ERROR,
            (errcode(ERRCODE_CHECK_VIOLATION), errmsg("%s", message), errdetail("%s", detail),
             errhint("Call post_allocations() or reverse_posting()."),
             errtableconstraint(ledger, "posting_matches_allocation")));
    pg_unreachable();
}

bool same_uuid(Datum a, Datum b) {
    return memcmp(DatumGetUUIDP(a), DatumGetUUIDP(b), UUID_LEN) == 0;
}

void check_new_row(const TriggerData* trigger) {
    const Relation ledger = trigger->tg_relation;
    const auto column = [&](const char* name, bool* isnull) {
        return slot_getattr(trigger->tg_trigslot, pg::column_number(ledger, name), isnull);
    };
    bool isnull, is_reversal, found_null;
    const Datum tenant_id = column("tenant_id", &isnull);
    const Datum conversion_id = column("conversion_id", &isnull);
    const int64 cents = DatumGetInt64(column("revenue_cents", &isnull));
    const Datum reverses_id = column("reverses_id", &isnull);
    is_reversal = !isnull;
    const Datum allocation_id = column("allocation_id", &isnull);
    if (isnull == !is_reversal)
        return; // the row's own constraint says so

    SPI_connect();
    const int settings = pg::prefer_indexes();
    const pg::OwnerRights rights = pg::act_as_owner(RelationGetRelid(ledger));
    prepare_checks(trigger);
    Datum values[] = {tenant_id, is_reversal ? reverses_id : allocation_id, conversion_id};
    pg::run_latest(is_reversal ? checks.reversal : checks.posting, values);
    pg::act_as_before(rights);
    pg::restore_settings(settings);
    if (SPI_processed > 0) { // else the foreign key says so
        const int64 found_cents = DatumGetInt64(pg::result_value(0, 1, &found_null));
        const Datum found_conversion = pg::result_value(0, 2, &found_null);
        const bool same_conversion = same_uuid(found_conversion, conversion_id);
        if (is_reversal) {
            if (DatumGetBool(pg::result_value(0, 3, &found_null)))
                raise_mismatch(
                    ledger, "a reversing entry is not reversed",
                    psprintf("Entry %s reverses another one.", pg::uuid_text(reverses_id)));
            int64 reversed;
            if (pg_sub_s64_overflow(0, found_cents, &reversed) || reversed != cents ||
                !same_conversion)
                raise_mismatch(
                    ledger, "reversing entry does not match its posting",
                    psprintf("Posting %s has " INT64_FORMAT " cents of conversion %s, the "
                             "reversing entry " INT64_FORMAT " cents of conversion %s.",
                             pg::uuid_text(reverses_id), found_cents,
                             pg::uuid_text(found_conversion), cents, pg::uuid_text(conversion_id)));
        } else {
            const std::string_view model = pg::text_of(pg::result_value(0, 3, &found_null));
            const Datum book = pg::result_value(0, 4, &found_null);
            const std::string_view book_model = found_null ? model : pg::text_of(book);
            if (found_cents != cents || !same_conversion || model != book_model)
                raise_mismatch(
                    ledger, "posting does not match its allocation",
                    psprintf("Allocation %s has " INT64_FORMAT " cents of conversion %s under "
                             "\"%.*s\", the posting " INT64_FORMAT
                             " cents in the book of conversion %s under \"%.*s\".",
                             pg::uuid_text(allocation_id), found_cents,
                             pg::uuid_text(found_conversion), static_cast<int>(model.size()),
                             model.data(), cents, pg::uuid_text(conversion_id),
                             static_cast<int>(book_model.size()), book_model.data()));
        }
    }
    SPI_finish();
}

// ---------------------------------------------------------------------------------------------
// Posting

/// What is to be posted, as found by one statement under one snapshot; on disk past work_mem.
struct Unposted {
    Tuplestorestate* rows;
    TupleDesc columns;
    int64 count;
    pg_uuid_t last_conversion;
};

TupleDesc unposted_columns() {
    TupleDesc columns = CreateTemplateTupleDesc(4);
    TupleDescInitEntry(columns, 1, "conversion_id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, 2, "id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, 3, "cents", INT8OID, -1, 0);
    TupleDescInitEntry(columns, 4, "is_other_conversion", BOOLOID, -1, 0); // than the row before
    return columns;
}

void receive_unposted(TupleTableSlot* row, void* state) {
    auto* unposted = static_cast<Unposted*>(state);
    Datum values[4];
    bool nulls[4] = {};
    for (int i = 0; i < 3; ++i)
        values[i] = slot_getattr(row, i + 1, &nulls[i]);
    const pg_uuid_t* conversion = DatumGetUUIDP(values[0]);
    values[3] = BoolGetDatum(unposted->count == 0 || memcmp(conversion, &unposted->last_conversion,
                                                            sizeof *conversion) != 0);
    tuplestore_putvalues(unposted->rows, unposted->columns, values, nulls);
    unposted->last_conversion = *conversion;
    ++unposted->count;
}

#define NOT_POSTED                                                                                 \
    "NOT EXISTS (SELECT 1 FROM attribution.revenue_ledger l "                                      \
    "WHERE l.tenant_id = $1 AND l.allocation_id >= a.id AND l.allocation_id <= a.id "              \
    "ORDER BY l.allocation_id LIMIT 1 OFFSET 0) "

/// Finds the allocations that are not posted and locks them FOR SHARE, so that they stay as they
/// are until the postings are committed and freeze them. Rows are looked up by a range of one key,
/// in its order: whatever a planner without statistics believes, only the index on that key will
/// do.
void find_unposted(Unposted* unposted, Datum* values, const char* nulls, bool is_bounded) {
    static constinit pg::Query all = {
        .sql = "SELECT coalesce(e.refund_of, e.id), a.id, a.allocated_revenue_cents "
               "FROM attribution.attribution_allocations a "
               "CROSS JOIN LATERAL (SELECT x.id, x.refund_of, x.event_type "
               "FROM attribution.attribution_events x "
               "WHERE x.tenant_id = $1 AND x.id >= a.event_id AND x.id <= a.event_id "
               "ORDER BY x.id LIMIT 1) e "
               "WHERE a.tenant_id = $1 AND a.model_version = $2 AND $3 IS NULL AND $4 IS NULL "
               "AND e.event_type <> 'touch' "
               "AND " NOT_POSTED "FOR SHARE OF a",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    // The events of the range lead to their allocations, not the allocations of all times.
    static constinit pg::Query bounded = {
        .sql = "SELECT coalesce(e.refund_of, e.id), a.id, a.cents "
               "FROM (SELECT x.id, x.refund_of FROM attribution.attribution_events x "
               "WHERE x.tenant_id = $1 AND x.occurred_at >= coalesce($3, '-infinity') "
               "AND x.occurred_at < coalesce($4, 'infinity') AND x.event_type <> 'touch' "
               "ORDER BY x.occurred_at DESC OFFSET 0) e "
               "CROSS JOIN LATERAL (SELECT y.id, y.allocated_revenue_cents AS cents "
               "FROM attribution.attribution_allocations y "
               "WHERE y.tenant_id = $1 AND y.event_id >= e.id AND y.event_id <= e.id "
               "AND y.model_version IS NOT NULL AND y.model_version COLLATE \"C\" = $2 "
               "ORDER BY y.event_id OFFSET 0 FOR SHARE) a WHERE " NOT_POSTED,
        .parameter_count = 4,
        .parameter_types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::stream(is_bounded ? bounded : all, values, nulls, receive_unposted, unposted);
}

[[noreturn]] void raise_other_book(Datum* values) {
    bool isnull;
    const Datum conversion_id = pg::result_value(0, 1, &isnull);
    const std::string_view wanted = pg::text_of(values[1]);
    const std::string_view other = pg::text_of(pg::result_value(0, 2, &isnull));
    const int64 count = DatumGetInt64(pg::result_value(0, 3, &isnull));
    const char* more = count == 1 ? "" : psprintf(" It is the first of " INT64_FORMAT ".", count);
    ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
                    errmsg("conversion is already posted under another model version"),
                    errdetail("Tenant %s: the book of conversion %s is kept under \"%.*s\", not "
                              "\"%.*s\".%s",
                              pg::uuid_text(values[0]), pg::uuid_text(conversion_id),
                              static_cast<int>(other.size()), other.data(),
                              static_cast<int>(wanted.size()), wanted.data(), more),
                    errhint("Post one model version per time range."),
                    err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
                    err_generic_string(PG_DIAG_TABLE_NAME, "ledger_books"),
                    err_generic_string(PG_DIAG_CONSTRAINT_NAME, "ledger_books_pkey")));
    pg_unreachable();
}

/// Opens the books that are missing and locks the others, in order: two sessions that post the same
/// wait for each other in turn. A book that is kept under another model version is updated by
/// nothing, which returns what it is now.
void open_books(Datum* values) {
    static constinit pg::Query open = {
        .sql =
            "WITH opened AS ("
            "INSERT INTO attribution.ledger_books AS b (tenant_id, conversion_id, model_version) "
            "SELECT DISTINCT $1, u.conversion_id, $2 FROM unposted u "
            "WHERE u.is_other_conversion ORDER BY 2 "
            "ON CONFLICT (tenant_id, conversion_id) DO UPDATE SET model_version = "
            "b.model_version "
            "WHERE b.model_version <> excluded.model_version "
            "RETURNING b.conversion_id, b.model_version) "
            "SELECT o.conversion_id, o.model_version, count(*) OVER () FROM opened o "
            "WHERE o.model_version <> $2 ORDER BY o.conversion_id LIMIT 1",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(open, values);
    if (SPI_processed > 0)
        raise_other_book(values);
}

/// Calls insert(is_unchecked) to insert postings. Neither what they say nor their foreign keys need
/// a check where nobody else's trigger has a hand in them, nor in the books: the allocations are
/// locked and so are the books, which were opened just now; the other keys are null.
template <class Insert>
void insert_unchecked_where_possible(Relation ledger, Relation books, Insert&& insert) {
    static constexpr std::array id = {"tenant_id", "id"};
    static constexpr std::array conversion = {"tenant_id", "conversion_id"};
    static constexpr std::array allocation = {"tenant_id", "allocation_id"};
    static constexpr std::array reverses = {"tenant_id", "reverses_id"};
    static constexpr std::array run = {"tenant_id", "reconciliation_run_id"};
    const pg::ForeignKey keys_of_books[] = {{conversion, pg::own_relation("attribution_events"), id}};
    const pg::ForeignKey keys_of_postings[] = {
        {conversion, RelationGetRelid(books), conversion},
        {allocation, pg::own_relation("attribution_allocations"), id},
        {reverses, RelationGetRelid(ledger), id},
        {run, pg::own_relation("reconciliation_runs"), id}};
    if (pg::inserts_run_nothing_foreign(books, keys_of_books))
        pg::insert_without_key_checks(ledger, keys_of_postings, insert);
    else
        insert(false);
}

/// Returns how many another session has not posted meanwhile.
int64 insert_postings(Relation ledger, Relation books, Datum* values) {
    static constinit pg::Query insert = {
        .sql = "INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, allocation_id, "
               "reverses_id, reconciliation_run_id, revenue_cents) "
               "SELECT $1, u.conversion_id, u.id, NULL, NULL, u.cents FROM unposted u "
               "ON CONFLICT (tenant_id, allocation_id) WHERE allocation_id IS NOT NULL DO NOTHING",
        .parameter_count = 1,
        .parameter_types = {UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    insert_unchecked_where_possible(ledger, books, [&](bool is_unchecked) {
        pg::while_set(&is_copying, is_unchecked, [&] { pg::run(insert, values); });
    });
    return static_cast<int64>(SPI_processed);
}

/// Posts what is not posted and returns the number of rows. What is posted is decided under one
/// snapshot, after all waits for tables; what follows only writes it.
int64 post(Datum* values, const char* nulls, bool is_bounded) {
    Relation books = table_open(pg::own_relation("ledger_books"), RowExclusiveLock);
    Relation ledger = table_open(pg::own_relation("revenue_ledger"), RowExclusiveLock);
    Unposted unposted{.rows = tuplestore_begin_heap(false, false, work_mem),
                      .columns = unposted_columns(),
                      .count = 0,
                      .last_conversion = {}};
    find_unposted(&unposted, values, nulls, is_bounded);
    int64 posted = 0;
    if (unposted.count > 0) {
        pg::name_rows("unposted", unposted.columns, unposted.rows);
        open_books(values);
        posted = insert_postings(ledger, books, values);
    }
    tuplestore_end(unposted.rows);
    table_close(ledger, NoLock);
    table_close(books, NoLock);
    return posted;
}

void check_tenant_and_model(Datum* values) {
    static constinit pg::Query find = {
        .sql = "SELECT EXISTS (SELECT 1 FROM attribution.tenants WHERE id = $1), "
               "EXISTS (SELECT 1 FROM attribution.attribution_models "
               "WHERE tenant_id = $1 AND model_version = $2) "
               "OR EXISTS (SELECT 1 FROM attribution.attribution_allocations "
               "WHERE tenant_id = $1 AND model_version = $2)",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(find, values);
    bool isnull;
    if (!DatumGetBool(pg::result_value(0, 1, &isnull)))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("tenant %s does not exist", pg::uuid_text(values[0]))));
    const std::string_view model = pg::text_of(values[1]);
    if (!DatumGetBool(pg::result_value(0, 2, &isnull)))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("model version \"%.*s\" does not exist",
                               static_cast<int>(model.size()), model.data()),
                        errdetail("Tenant %s has neither a definition nor allocations of it.",
                                  pg::uuid_text(values[0]))));
}

} // namespace

void watch_ledgers() {
    CacheRegisterRelcacheCallback(forget_checks, Datum{0});
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_keep_ledger) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "keep_ledger");
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
        pg::row_trigger(fcinfo, "keep_ledger");
    if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
        entry::raise_append_only(trigger->tg_relation,
                                 psprintf("A row of \"%s\" would be deleted.",
                                          RelationGetRelationName(trigger->tg_relation)));
    if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
        entry::raise_append_only(
            trigger->tg_relation,
            psprintf("\"%s\" would be truncated.", RelationGetRelationName(trigger->tg_relation)));
    entry::check_update(trigger);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_posting) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_posting", TRIGGER_EVENT_INSERT);
    if (!entry::is_copying)
        entry::check_new_row(trigger);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_reverse_posting) {
    static constexpr std::array argument_names = {"tenant_id", "ledger_id"};
    static constinit pg::Query find = {
        .sql = "SELECT l.reverses_id IS NOT NULL, (SELECT r.id FROM attribution.revenue_ledger r "
               "WHERE r.tenant_id = $1 AND r.reverses_id = $2) "
               "FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.id = $2",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query reverse = {
        .sql = "INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id, "
               "revenue_cents) SELECT l.tenant_id, l.conversion_id, l.id, -l.revenue_cents "
               "FROM attribution.revenue_ledger l WHERE l.tenant_id = $1 AND l.id = $2 "
               "ON CONFLICT (tenant_id, reverses_id) WHERE reverses_id IS NOT NULL DO NOTHING "
               "RETURNING id",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    PreventCommandIfReadOnly("reverse_posting()");
    pg::check_not_null(fcinfo, argument_names);
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
    entry::check_tenant(values[0]);
    SPI_connect();
    bool isnull;
    pg::run(find, values);
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("posting %s does not exist", pg::uuid_text(values[1])),
                        errdetail("Tenant %s has no such ledger row.", pg::uuid_text(values[0]))));
    if (DatumGetBool(pg::result_value(0, 1, &isnull)))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a reversing entry is not reversed"),
                        errdetail("Entry %s reverses another one.", pg::uuid_text(values[1]))));
    Datum reversal = pg::result_value(0, 2, &isnull);
    if (isnull) {
        pg::run(reverse, values);
        // Another session was faster.
        if (SPI_processed == 0)
            pg::run(find, values);
        reversal = pg::result_value(0, SPI_tuptable->tupdesc->natts, &isnull);
    }
    const core::Uuid id = pg::uuid_of(reversal);
    SPI_finish();
    PG_RETURN_DATUM(pg::uuid_datum(id));
}

ATTRIBUTION_FUNCTION(attribution_post_allocations) {
    PreventCommandIfReadOnly("post_allocations()");
    for (int i = 0; i < 2; ++i)
        if (PG_ARGISNULL(i))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", i == 0 ? "tenant_id" : "model_version")));
    Datum values[4];
    char nulls[4];
    for (int i = 0; i < 4; ++i) {
        values[i] = PG_ARGISNULL(i) ? Datum{0} : PG_GETARG_DATUM(i);
        nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
    }
    entry::check_tenant(values[0]);
    SPI_connect();
    entry::check_tenant_and_model(values);
    const int64 posted = entry::post(values, nulls, nulls[2] == ' ' || nulls[3] == ' ');
    SPI_finish();
    PG_RETURN_INT64(posted);
}
