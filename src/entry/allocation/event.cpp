// event: see event.hpp.

#include "entry/allocation/event.hpp"

#include "entry/session/tenancy.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

// The range of ids and its order leave the planner only the primary key. With an equality, another
// index that begins with the tenant looks as good while the table is small, and the plan is kept
// after the table grew.

using LockConversions = pg::Statement<Event(core::Uuid, std::span<const core::Uuid>)>;

constinit LockConversions lock_against_deletion{R"sql(
    SELECT e.id, e.revenue_cents, e.occurred_at, e.correlation_id, e.session_id
    FROM unnest($2) AS k (id),
    LATERAL (
        SELECT * FROM attribution.attribution_events x
        WHERE x.tenant_id = $1 AND x.id >= k.id AND x.id <= k.id
        ORDER BY x.id LIMIT 1 FOR KEY SHARE) e
    WHERE e.event_type = 'conversion')sql"};

constinit LockConversions lock_against_refunds{R"sql(
    SELECT e.id, e.revenue_cents, e.occurred_at, e.correlation_id, e.session_id
    FROM unnest($2) AS k (id),
    LATERAL (
        SELECT * FROM attribution.attribution_events x
        WHERE x.tenant_id = $1 AND x.id >= k.id AND x.id <= k.id
        ORDER BY x.id LIMIT 1 FOR NO KEY UPDATE) e
    WHERE e.event_type = 'conversion')sql"};

} // namespace

Event copied_event(Event event) {
    if (event.correlation_id)
        event.correlation_id = pg::copied(*event.correlation_id);
    return event;
}

std::span<Event> lock_conversions(const core::Uuid& tenant_id, std::span<const core::Uuid> ids,
                                  LockAgainst against) {
    LockConversions& lock =
        against == LockAgainst::deletion ? lock_against_deletion : lock_against_refunds;
    const pg::CallerRights rights = pg::act_as_owner(pg::own_relation("attribution_events"));
    auto locked = lock.run(tenant_id, ids);
    pg::act_as_caller(rights);
    const auto events = pg::make_span<Event>(locked.size());
    for (std::size_t i = 0; i < events.size(); ++i)
        events[i] = copied_event(locked[i]);
    locked.free();
    Assert(events.size() <= ids.size());
    return events;
}

void raise_unknown_event(const core::Uuid& tenant_id, const core::Uuid& event_id) {
    check_tenant_exists(tenant_id);
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("event %s does not exist", pg::uuid_text(event_id)),
                    errdetail("Tenant %s has no such event.", pg::uuid_text(tenant_id)),
                    errhint("Ingest the event first.")));
    pg_unreachable();
}

} // namespace attribution::entry
