// index_plan: can an index serve the query it is for? Asked of the planner, which runs nothing.

#include "entry/index_plan.hpp"

#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"

namespace attribution::entry {
namespace {

/// While `is_alone`, the planner sees `index` and no other of `table`.
struct Candidate {
    Oid table, index;
    bool is_partial, is_alone;
};
constinit Candidate candidate{};
constinit get_relation_info_hook_type next_hook = nullptr;

extern "C" void hide_other_indexes(PlannerInfo* root, Oid table, bool is_parent, RelOptInfo* rel) {
    if (next_hook != nullptr)
        next_hook(root, table, is_parent, rel);
    if (!candidate.is_alone || table != candidate.table)
        return;
    ListCell* cell;
    foreach (cell, rel->indexlist) {
        if (static_cast<IndexOptInfo*>(lfirst(cell))->indexoid != candidate.index)
            rel->indexlist = foreach_delete_current(rel->indexlist, cell);
    }
}

/// A scan that goes to its rows: by a condition on the first column, or because the index has no
/// others, so that no `filter` is left. Without either it would read the index from end to end,
/// which any index can.
bool serves(Oid index, List* conditions, List* filter) {
    if (index != candidate.index)
        return false;
    Bitmapset* columns = nullptr;
    pull_varattnos(reinterpret_cast<Node*>(conditions), INDEX_VAR, &columns);
    return (candidate.is_partial && filter == NIL) ||
           bms_is_member(1 - FirstLowInvalidHeapAttributeNumber, columns);
}

/// `filter` is what a scan above leaves of the rows of a bitmap.
bool is_served(Plan* plan, List* filter = NIL);

bool any_is_served(List* plans, List* filter = NIL) {
    ListCell* cell;
    foreach (cell, plans) {
        if (is_served(static_cast<Plan*>(lfirst(cell)), filter))
            return true;
    }
    return false;
}

bool is_served(Plan* plan, List* filter) {
    if (plan == nullptr)
        return false;
    check_stack_depth();
    bool found = false;
    switch (nodeTag(plan)) {
    case T_IndexScan: {
        const auto* scan = reinterpret_cast<IndexScan*>(plan);
        found = serves(scan->indexid, scan->indexqual, plan->qual);
        break;
    }
    case T_IndexOnlyScan: {
        const auto* scan = reinterpret_cast<IndexOnlyScan*>(plan);
        found = serves(scan->indexid, scan->indexqual, plan->qual);
        break;
    }
    case T_BitmapIndexScan: {
        const auto* scan = reinterpret_cast<BitmapIndexScan*>(plan);
        found = serves(scan->indexid, scan->indexqual, filter);
        break;
    }
    case T_BitmapHeapScan:
        return is_served(outerPlan(plan), plan->qual);
    case T_BitmapAnd:
        found = any_is_served(reinterpret_cast<BitmapAnd*>(plan)->bitmapplans, filter);
        break;
    case T_BitmapOr:
        found = any_is_served(reinterpret_cast<BitmapOr*>(plan)->bitmapplans, filter);
        break;
    case T_Append:
        found = any_is_served(reinterpret_cast<Append*>(plan)->appendplans);
        break;
    case T_MergeAppend:
        found = any_is_served(reinterpret_cast<MergeAppend*>(plan)->mergeplans);
        break;
    case T_SubqueryScan:
        found = is_served(reinterpret_cast<SubqueryScan*>(plan)->subplan);
        break;
    default:
        break;
    }
    return found || is_served(outerPlan(plan)) || is_served(innerPlan(plan));
}

bool is_arbiter(PlannedStmt* planned) {
    return nodeTag(planned->planTree) == T_ModifyTable &&
           list_member_oid(reinterpret_cast<ModifyTable*>(planned->planTree)->arbiterIndexes,
                           candidate.index);
}

PlannedStmt* planned_alone(const char* sql, const Oid* types, int type_count) {
    auto* raw = linitial_node(RawStmt, pg_parse_query(sql));
    auto* query = linitial_node(
        Query, pg_analyze_and_rewrite_fixedparams(raw, sql, types, type_count, nullptr));
    PlannedStmt* planned = nullptr;
    pg::while_set(&candidate.is_alone, true,
                  [&] { planned = pg_plan_query(query, sql, 0, nullptr); });
    return planned;
}

/// Text, palloc'd, or nullptr when there is no obstacle.
const char* obstacle(const char* sql, const Oid* types, int type_count, bool is_insertion) {
    PlannedStmt* planned = nullptr;
    ErrorData* failure = pg::attempt([&] { planned = planned_alone(sql, types, type_count); });
    if (failure != nullptr) {
        if (pg::is_of_the_session(failure))
            ReThrowError(failure);
        return psprintf("%s cannot be planned: %s",
                        is_insertion ? "insertion check" : "sample query", failure->message);
    }
    if (is_insertion)
        return is_arbiter(planned) ? nullptr
                                   : "is not chosen by ON CONFLICT of the insertion check";
    return is_served(planned->planTree) || any_is_served(planned->subplans)
               ? nullptr
               : "does not serve the sample query: the planner has no use for it";
}

} // namespace

void watch_planning() {
    next_hook = get_relation_info_hook;
    get_relation_info_hook = hide_other_indexes;
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_index_obstacle) {
    static constinit pg::Query find = {
        .sql = "SELECT CASE WHEN $2 THEN p.insertion_check ELSE p.sample_query END, "
               "ARRAY(SELECT to_regtype(substr(t, strpos(t, ' ') + 1))::oid "
               "FROM unnest(p.parameters) WITH ORDINALITY AS u (t, n) ORDER BY u.n), "
               "i.indrelid, i.indexrelid, i.indpred IS NOT NULL "
               "FROM attribution.index_plan p LEFT JOIN (pg_class c "
               "JOIN pg_index i ON i.indexrelid = c.oid) ON c.relname = p.index_name "
               "AND c.relnamespace = 'attribution'::regnamespace "
               "WHERE p.index_name = $1",
        .parameter_count = 2,
        .parameter_types = {NAMEOID, BOOLOID},
        .cursor_options = 0,
        .plan = nullptr};
    Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
    const bool is_insertion = PG_GETARG_BOOL(1);
    // An insertion takes a lock that a standby does not give.
    if (is_insertion && RecoveryInProgress())
        PG_RETURN_NULL();
    const MemoryContext caller = CurrentMemoryContext;
    SPI_connect();
    pg::run(find, values);
    bool isnull;
    if (SPI_processed == 0)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                        errmsg("the plan has no index \"%s\"", NameStr(*DatumGetName(values[0])))));
    const Datum sql = pg::result_value(0, 1, &isnull);
    if (isnull) {
        SPI_finish();
        PG_RETURN_NULL();
    }
    // Also while the plan is checked another session may drop it.
    static constexpr const char* gone = "does not exist";
    const Datum table = pg::result_value(0, 3, &isnull);
    if (isnull) {
        SPI_finish();
        PG_RETURN_DATUM(CStringGetTextDatum(gone));
    }
    const char* statement = TextDatumGetCString(sql);
    Datum* types;
    int type_count;
    deconstruct_array(DatumGetArrayTypeP(pg::result_value(0, 2, &isnull)), OIDOID, sizeof(Oid),
                      true, TYPALIGN_INT, &types, nullptr, &type_count);
    auto* type_ids = static_cast<Oid*>(palloc(sizeof(Oid) * (type_count + 1)));
    for (int i = 0; i < type_count; ++i)
        type_ids[i] = DatumGetObjectId(types[i]);
    entry::candidate = {
        .table = DatumGetObjectId(table),
        .index = DatumGetObjectId(pg::result_value(0, 4, &isnull)),
        .is_partial = DatumGetBool(pg::result_value(0, 5, &isnull)),
        .is_alone = false,
    };
    const char* text = entry::obstacle(statement, type_ids, type_count, is_insertion);
    if (text != nullptr &&
        !SearchSysCacheExists1(INDEXRELID, ObjectIdGetDatum(entry::candidate.index)))
        text = gone;
    Datum result = 0;
    if (text != nullptr) {
        MemoryContextSwitchTo(caller);
        result = CStringGetTextDatum(text);
    }
    SPI_finish();
    if (text == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(result);
}

ATTRIBUTION_FUNCTION(attribution_lock_planned) {
    static constinit pg::Query find = {
        .sql = "SELECT DISTINCT c.oid FROM attribution.index_plan p "
               "JOIN pg_class c ON c.relname = p.relation "
               "AND c.relnamespace = 'attribution'::regnamespace ORDER BY c.oid",
        .parameter_count = 0,
        .parameter_types = {},
        .cursor_options = 0,
        .plan = nullptr};
    (void)fcinfo;
    SPI_connect();
    pg::run(find, nullptr);
    bool isnull;
    for (uint64 row = 0; row < SPI_processed; ++row)
        LockRelationOid(DatumGetObjectId(pg::result_value(row, 1, &isnull)), AccessShareLock);
    SPI_finish();
    PG_RETURN_VOID();
}
