// ledger: rows of revenue_ledger and ledger_books are only ever added.
//
// A trigger on both tables refuses DELETE, TRUNCATE and every UPDATE but that of the columns in
// which reconciliation records that a row was verified. What a new row may say is judged in
// posting_check.cpp; post.cpp and reversal.cpp are what writes them.

#include <algorithm>
#include <array>
#include <string_view>

#include "pg/convert.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

/// The columns that reconciliation writes; a trigger of the table sets updated_at.
constexpr std::array<std::string_view, 4> verification_columns = {
    "reconciliation_run_id", "is_verified", "verified_at", "updated_at"};

/// True for the verification columns of revenue_ledger. A book is never verified, so ledger_books
/// has no column that may change, whatever columns a user adds to it.
bool may_change(Relation relation, std::string_view column) {
    return std::find(verification_columns.begin(), verification_columns.end(), column) !=
               verification_columns.end() &&
           get_attnum(RelationGetRelid(relation), "is_verified") != InvalidAttrNumber;
}

[[noreturn]] void raise_append_only(Relation relation, const char* detail) {
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("the ledger is append-only"),
                    errdetail("%s", detail), errhint("Reverse a posting with reverse_posting()."),
                    errtableconstraint(relation, "ledger_is_append_only")));
    pg_unreachable();
}

void check_update(const TriggerData* trigger) {
    const Relation relation = trigger->tg_relation;
    const TupleDesc columns = RelationGetDescr(relation);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (column->attisdropped)
            continue;
        bool old_null, new_null;
        const Datum old_value = slot_getattr(trigger->tg_trigslot, i + 1, &old_null);
        const Datum new_value = slot_getattr(trigger->tg_newslot, i + 1, &new_null);
        const bool is_unchanged =
            old_null == new_null &&
            (old_null || datum_image_eq(old_value, new_value, column->attbyval, column->attlen));
        if (!is_unchanged && !may_change(relation, NameStr(column->attname)))
            raise_append_only(relation, psprintf("Column %s of \"%s\" would change.",
                                                 NameStr(column->attname),
                                                 RelationGetRelationName(relation)));
    }
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_keep_ledger) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "keep_ledger");
    const char* relation = RelationGetRelationName(trigger->tg_relation);
    if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
        entry::raise_append_only(trigger->tg_relation,
                                 psprintf("A row of \"%s\" would be deleted.", relation));
    if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
        entry::raise_append_only(trigger->tg_relation,
                                 psprintf("\"%s\" would be truncated.", relation));
    entry::check_update(pg::row_trigger(fcinfo, "keep_ledger", TRIGGER_EVENT_UPDATE));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
