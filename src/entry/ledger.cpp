// ledger: allocations are posted once, and postings never change.

#include <algorithm>
#include <array>
#include <string_view>

#include "entry/tenancy.hpp"
#include "pg/convert.hpp"
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

/// What is posted: allocations of a tenant ($1) under a model version ($2) of events in [$3, $4)
/// that the ledger does not have. Look-ups by a range of one key, in its order: whatever a planner
/// without statistics believes, only the index on that key will do.
#define UNPOSTED                                                                                   \
    "FROM attribution.attribution_allocations a "                                                  \
    "CROSS JOIN LATERAL (SELECT x.id, x.refund_of, x.occurred_at "                                 \
    "FROM attribution.attribution_events x "                                                       \
    "WHERE x.tenant_id = $1 AND x.id >= a.event_id AND x.id <= a.event_id "                        \
    "ORDER BY x.id LIMIT 1) e "                                                                    \
    "WHERE a.tenant_id = $1 AND a.model_version = $2 "                                             \
    "AND e.occurred_at >= coalesce($3, '-infinity') "                                              \
    "AND e.occurred_at < coalesce($4, 'infinity') "                                                \
    "AND NOT EXISTS (SELECT 1 FROM attribution.revenue_ledger l "                                  \
    "WHERE l.tenant_id = $1 AND l.allocation_id >= a.id AND l.allocation_id <= a.id "              \
    "ORDER BY l.allocation_id LIMIT 1 OFFSET 0) "
#define POSTING_PARAMETERS                                                                         \
    .parameter_count = 4, .parameter_types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}

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

/// One book per conversion: opened here, refused if it is open under another model version.
void open_books(Datum* values, const char* nulls) {
    // In order: two sessions that open the same books wait for each other in turn.
    static constinit pg::Query open = {
        .sql = "INSERT INTO attribution.ledger_books (tenant_id, conversion_id, model_version) "
               "SELECT DISTINCT $1, coalesce(e.refund_of, e.id), $2 " UNPOSTED
               "ORDER BY 2 ON CONFLICT (tenant_id, conversion_id) DO NOTHING",
        POSTING_PARAMETERS,
        .cursor_options = 0,
        .plan = nullptr};
    static constinit pg::Query find_other = {
        .sql = "SELECT p.conversion_id, b.model_version, count(*) OVER () "
               "FROM (SELECT DISTINCT coalesce(e.refund_of, e.id) AS conversion_id " UNPOSTED
               "OFFSET 0) p CROSS JOIN LATERAL (SELECT x.model_version "
               "FROM attribution.ledger_books x WHERE x.tenant_id = $1 "
               "AND x.conversion_id = p.conversion_id AND x.model_version <> $2 OFFSET 0) b "
               "ORDER BY p.conversion_id LIMIT 1",
        POSTING_PARAMETERS,
        .cursor_options = 0,
        .plan = nullptr};
    pg::run(open, values, nulls);
    pg::run_latest(find_other, values, nulls);
    if (SPI_processed == 0)
        return;
    bool isnull;
    const std::string_view wanted = pg::text_of(values[1]);
    const std::string_view other = pg::text_of(pg::result_value(0, 2, &isnull));
    const int64 count = DatumGetInt64(pg::result_value(0, 3, &isnull));
    const char* more = count == 1 ? "" : psprintf(" It is the first of " INT64_FORMAT ".", count);
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("conversion is already posted under another model version"),
             errdetail("Tenant %s: the book of conversion %s is kept under \"%.*s\", not "
                       "\"%.*s\".%s",
                       pg::uuid_text(values[0]), pg::uuid_text(pg::result_value(0, 1, &isnull)),
                       static_cast<int>(other.size()), other.data(),
                       static_cast<int>(wanted.size()), wanted.data(), more),
             errhint("Post one model version per time range."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "ledger_books"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "ledger_books_pkey")));
}

/// What appeared since the books were opened waits for the next call: its book may be another. FOR
/// SHARE holds the allocations as they are until the postings are committed.
int64 insert_postings(Datum* values, const char* nulls) {
    static constinit pg::Query post = {
        .sql = "INSERT INTO attribution.revenue_ledger "
               "(tenant_id, conversion_id, allocation_id, revenue_cents) "
               "SELECT $1, p.conversion_id, p.id, p.allocated_revenue_cents "
               "FROM (SELECT coalesce(e.refund_of, e.id) AS conversion_id, a.id, "
               "a.allocated_revenue_cents " UNPOSTED "FOR SHARE OF a) p "
               "CROSS JOIN LATERAL (SELECT 1 FROM attribution.ledger_books x "
               "WHERE x.tenant_id = $1 AND x.conversion_id = p.conversion_id "
               "AND x.model_version = $2 OFFSET 0) b "
               "ON CONFLICT (tenant_id, allocation_id) WHERE allocation_id IS NOT NULL DO NOTHING",
        POSTING_PARAMETERS,
        .cursor_options = 0,
        .plan = nullptr};
    pg::run(post, values, nulls);
    return static_cast<int64>(SPI_processed);
}

} // namespace
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
    entry::open_books(values, nulls);
    const int64 posted = entry::insert_postings(values, nulls);
    SPI_finish();
    PG_RETURN_INT64(posted);
}
