// index_plan: can an index serve the query it is for? Asked of the planner, which runs nothing.
//
// The one idea: while the planner is asked, the candidate is the only index of its table, so that
// an index that is nearly as good does not win. Indexes are hidden by get_relation_info_hook. The
// hook is there only while it is needed: a backend that never asks plans as if the extension were
// not loaded.

#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/failure.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// An index that the planner is asked about.
struct Candidate {
    Oid table, index;
    bool is_partial;
};

/// What the hook needs to know while the planner is asked.
struct Asking {
    const Candidate* candidate;
    get_relation_info_hook_type next_hook; // of another library, or nullptr
};
constinit const Asking* asking = nullptr;

extern "C" void hide_other_indexes(PlannerInfo* root, Oid table, bool is_parent, RelOptInfo* rel) {
    Assert(asking != nullptr);
    if (asking->next_hook != nullptr)
        asking->next_hook(root, table, is_parent, rel);
    if (table != asking->candidate->table)
        return;
    ListCell* cell;
    foreach (cell, rel->indexlist) {
        if (static_cast<IndexOptInfo*>(lfirst(cell))->indexoid != asking->candidate->index)
            rel->indexlist = foreach_delete_current(rel->indexlist, cell);
    }
}

/// Plans the query while the candidate is the only index of its table.
PlannedStmt* plan_alone(const Candidate& candidate, Query* query, const char* sql) {
    PlannedStmt* planned = nullptr;
    // The planner evaluates constants, so what it calls may ask about an index in turn: then our
    // hook is there already and must not call itself.
    const Asking question = {
        .candidate = &candidate,
        .next_hook = asking == nullptr ? get_relation_info_hook : asking->next_hook,
    };
    pg::while_set(&asking, &question, [&] {
        pg::while_set(&get_relation_info_hook, hide_other_indexes,
                      [&] { planned = pg_plan_query(query, sql, 0, nullptr); });
    });
    return planned;
}

/// True when a scan of `index` is one of the candidate and goes straight to the rows it is asked
/// for: by a condition on the first column, or because a partial index has no other rows, so that
/// no `filter` is left. Without either the scan would read the index from end to end, which any
/// index can.
bool serves(const Candidate& candidate, Oid index, List* conditions, List* filter) {
    if (index != candidate.index)
        return false;
    Bitmapset* columns = nullptr;
    pull_varattnos(reinterpret_cast<Node*>(conditions), static_cast<Index>(INDEX_VAR), &columns);
    return (candidate.is_partial && filter == NIL) ||
           bms_is_member(1 - FirstLowInvalidHeapAttributeNumber, columns);
}

/// True when the plan reads the candidate as serves() wants it. `filter` is the condition that a
/// scan above tests on the rows of a bitmap.
bool is_served(const Candidate& candidate, Plan* plan, List* filter = NIL);

bool any_is_served(const Candidate& candidate, List* plans, List* filter = NIL) {
    ListCell* cell;
    foreach (cell, plans) {
        if (is_served(candidate, static_cast<Plan*>(lfirst(cell)), filter))
            return true;
    }
    return false;
}

bool is_served(const Candidate& candidate, Plan* plan, List* filter) {
    if (plan == nullptr)
        return false;
    check_stack_depth();
    bool found = false;
    switch (nodeTag(plan)) {
    case T_IndexScan: {
        const auto* scan = reinterpret_cast<IndexScan*>(plan);
        found = serves(candidate, scan->indexid, scan->indexqual, plan->qual);
        break;
    }
    case T_IndexOnlyScan: {
        const auto* scan = reinterpret_cast<IndexOnlyScan*>(plan);
        found = serves(candidate, scan->indexid, scan->indexqual, plan->qual);
        break;
    }
    case T_BitmapIndexScan: {
        const auto* scan = reinterpret_cast<BitmapIndexScan*>(plan);
        found = serves(candidate, scan->indexid, scan->indexqual, filter);
        break;
    }
    case T_BitmapHeapScan:
        return is_served(candidate, outerPlan(plan), plan->qual);
    case T_BitmapAnd:
        found = any_is_served(candidate, reinterpret_cast<BitmapAnd*>(plan)->bitmapplans, filter);
        break;
    case T_BitmapOr:
        found = any_is_served(candidate, reinterpret_cast<BitmapOr*>(plan)->bitmapplans, filter);
        break;
    case T_Append:
        found = any_is_served(candidate, reinterpret_cast<Append*>(plan)->appendplans);
        break;
    case T_MergeAppend:
        found = any_is_served(candidate, reinterpret_cast<MergeAppend*>(plan)->mergeplans);
        break;
    case T_SubqueryScan:
        found = is_served(candidate, reinterpret_cast<SubqueryScan*>(plan)->subplan);
        break;
    default:
        break;
    }
    return found || is_served(candidate, outerPlan(plan)) || is_served(candidate, innerPlan(plan));
}

bool is_arbiter(const Candidate& candidate, const PlannedStmt* planned) {
    return nodeTag(planned->planTree) == T_ModifyTable &&
           list_member_oid(reinterpret_cast<ModifyTable*>(planned->planTree)->arbiterIndexes,
                           candidate.index);
}

PlannedStmt* parse_and_plan(const Candidate& candidate, const char* sql,
                            std::span<const Oid> types) {
    auto* raw = linitial_node(RawStmt, pg_parse_query(sql));
    auto* query =
        linitial_node(Query, pg_analyze_and_rewrite_fixedparams(
                                 raw, sql, types.data(), static_cast<int>(types.size()), nullptr));
    return plan_alone(candidate, query, sql);
}

/// Why the candidate cannot serve the statement: a text, palloc'd, or nullptr when it can.
const char* find_obstacle(const Candidate& candidate, const char* sql, std::span<const Oid> types,
                          bool is_insertion) {
    PlannedStmt* planned = nullptr;
    ErrorData* failure = pg::attempt([&] { planned = parse_and_plan(candidate, sql, types); });
    if (failure != nullptr) {
        if (pg::is_of_the_session(failure))
            ReThrowError(failure);
        return psprintf("%s cannot be planned: %s",
                        is_insertion ? "insertion check" : "sample query", failure->message);
    }
    if (is_insertion)
        return is_arbiter(candidate, planned)
                   ? nullptr
                   : "is not chosen by ON CONFLICT of the insertion check";
    return is_served(candidate, planned->planTree) || any_is_served(candidate, planned->subplans)
               ? nullptr
               : "does not serve the sample query: the planner has no use for it";
}

/// The same for an index of the plan by its name, which may not be there. Inside an SPI connection.
const char* find_obstacle(pg::NameDatum index_name, bool is_insertion) {
    using Found = std::tuple<std::optional<std::string_view>, std::span<const Oid>,
                             std::optional<Oid>, std::optional<Oid>, std::optional<bool>>;
    static constinit pg::Statement<Found(pg::NameDatum, bool)> find{
        R"sql(
        SELECT CASE WHEN $2 THEN p.insertion_check ELSE p.sample_query END,
            ARRAY(
                SELECT to_regtype(substr(t, strpos(t, ' ') + 1))::oid
                FROM unnest(p.parameters) WITH ORDINALITY AS u (t, n)
                ORDER BY u.n),
            i.indrelid, i.indexrelid, i.indpred IS NOT NULL
        FROM attribution.index_plan p
        LEFT JOIN (pg_class c JOIN pg_index i ON i.indexrelid = c.oid)
            ON c.relname = p.index_name
            AND c.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
        WHERE p.index_name = $1)sql",
        pg::Plan::chosen};
    const auto found = find.run(index_name, is_insertion).first();
    if (!found)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                        errmsg("index \"%s\" is not in the index plan",
                               NameStr(*DatumGetName(index_name.datum)))));
    const auto [sql, types, table, index, is_partial] = *found;
    if (!sql)
        return nullptr;
    static constexpr const char* gone = "does not exist";
    if (!index)
        return gone;
    const Candidate candidate = {.table = *table, .index = *index, .is_partial = *is_partial};
    const char* obstacle = find_obstacle(candidate, pg::copied(*sql).data(), types, is_insertion);
    // Another session may drop the index also while the query is planned.
    if (obstacle != nullptr && !SearchSysCacheExists1(INDEXRELID, ObjectIdGetDatum(*index)))
        return gone;
    return obstacle;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_index_obstacle) {
    const auto index_name = pg::argument<pg::NameDatum>(fcinfo, 0, "index_name");
    const bool is_insertion = pg::argument<bool>(fcinfo, 1, "is_insertion");
    // An insertion takes a lock that a standby does not give.
    if (is_insertion && RecoveryInProgress())
        PG_RETURN_NULL();
    const MemoryContext caller = CurrentMemoryContext;
    SPI_connect();
    const char* obstacle = entry::find_obstacle(index_name, is_insertion);
    if (obstacle != nullptr)
        obstacle = MemoryContextStrdup(caller, obstacle);
    SPI_finish();
    if (obstacle == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(pg::text_datum(obstacle));
}

ATTRIBUTION_FUNCTION(attribution_lock_planned) {
    static constinit pg::Statement<Oid()> find{
        R"sql(
        SELECT DISTINCT c.oid
        FROM attribution.index_plan p
        JOIN pg_class c ON c.relname = p.relation AND c.relkind IN ('r', 'p', 'm')
            AND c.relnamespace IN ('attribution'::regnamespace, 'attribution_internal'::regnamespace)
        ORDER BY c.oid)sql",
        pg::Plan::chosen};
    SPI_connect();
    for (const Oid relation : find.run())
        LockRelationOid(relation, AccessShareLock);
    SPI_finish();
    PG_RETURN_VOID();
}
