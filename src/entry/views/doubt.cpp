// doubt: triggers that raise a doubt about a view when its tables change in a way that its log does
// not contain.

#include "entry/views/view_state.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

void doubt_table(const TriggerData* trigger) {
    const TrackedView& view = view_of(trigger->tg_trigger);
    const char* table = RelationGetRelationName(trigger->tg_relation);
    if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
        raise_doubt(view, DoubtKind::truncated, psprintf("%s was truncated", table));
    else if (IsLogicalWorker())
        raise_doubt(view, DoubtKind::replicated,
                    psprintf("rows of %s came by logical replication", table));
    else
        raise_doubt(view, DoubtKind::altered, psprintf("%s was changed", table));
}

/// After a REFRESH by hand: of a view, which may have older contents now; of a log, which has lost
/// its changes; or of refresh_doubts, after which any view may have been in doubt. A REFRESH of
/// refresh_state needs no doubt, because a view without a state is unknown.
void doubt_refreshed(const RefreshMatViewStmt* refresh) {
    const Oid relation = RangeVarGetRelid(refresh->relation, NoLock, true);
    const Oid doubts = pg::find_internal_relation("refresh_doubts");
    if (!OidIsValid(relation) || !OidIsValid(doubts) || relation == view_in_refresh)
        return;
    if (relation == doubts)
        reset_raised_doubts();
    for (const TrackedView& view : tracked_views)
        if (relation == doubts || relation == pg::find_own_relation(view.name) ||
            relation == pg::find_internal_relation(view.log))
            raise_doubt(view, DoubtKind::refreshed_by_hand,
                        psprintf("REFRESH MATERIALIZED VIEW was run on %s by hand",
                                 refresh->relation->relname));
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_is_replicated_row) {
    // session_replication_role is not asked: sessions that set it fire the statement triggers as
    // well.
    PG_RETURN_BOOL(IsLogicalWorker());
}

ATTRIBUTION_FUNCTION(attribution_doubt_view) {
    entry::doubt_table(pg::trigger_data(fcinfo, "doubt_view"));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_notice_refresh) {
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("notice_refresh() must be called as an event trigger")));
    const auto* event = reinterpret_cast<EventTriggerData*>(fcinfo->context);
    if (event->parsetree != nullptr && IsA(event->parsetree, RefreshMatViewStmt))
        entry::doubt_refreshed(castNode(RefreshMatViewStmt, event->parsetree));
    PG_RETURN_NULL();
}
