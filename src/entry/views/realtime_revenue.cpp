// realtime_revenue(): the ledger revenue of a tenant as mv_realtime_revenue has it.

#include "entry/session/tenancy.hpp"
#include "entry/tables/owner.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

struct Revenue {
    using Columns = std::tuple<core::Uuid, pg::NumericDatum, pg::NumericDatum, bool,
                               std::optional<pg::NumericDatum>, std::optional<pg::Timestamptz>>;
    core::Uuid tenant_id;
    pg::NumericDatum total_revenue;
    pg::NumericDatum total_revenue_cents;
    bool verified;
    std::optional<pg::NumericDatum> data_freshness_seconds;
    std::optional<pg::Timestamptz> as_of;
};

// After a REFRESH by hand nobody knows how old the contents are: it may have put back older ones.
constinit pg::Statement<Revenue(core::Uuid)> find_revenue{R"sql(
SELECT m.tenant_id, m.total_revenue, m.total_revenue_cents, m.verified,
       extract(epoch FROM clock_timestamp() - s.refreshed_at), s.refreshed_at
FROM attribution.mv_realtime_revenue m
LEFT JOIN attribution_internal.refresh_state s
       ON s.view_name = 'mv_realtime_revenue'
      AND NOT EXISTS (SELECT FROM attribution_internal.refresh_doubts d
                      WHERE d.view_name = s.view_name AND d.kind = 'refreshed_by_hand')
WHERE m.tenant_id = $1
)sql"};

/// Raises 55000 while the view has never been filled, as after a restore of a schema and then of
/// its rows. PostgreSQL's own hint, REFRESH MATERIALIZED VIEW, would put the view in doubt.
void check_is_populated() {
    Relation view = open_own_view("mv_realtime_revenue", AccessShareLock);
    const bool is_populated = RelationIsPopulated(view);
    table_close(view, NoLock);
    if (!is_populated)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("materialized view \"mv_realtime_revenue\" has not been populated"),
                        errhint("CALL attribution.refresh_all().")));
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_realtime_revenue) {
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    entry::check_tenant(tenant_id); // before the view is opened
    entry::check_is_populated();
    pg::ResultRows rows(fcinfo);
    SPI_connect();
    const int settings = pg::prefer_indexes();
    for (const entry::Revenue& found : entry::find_revenue.run_stable(tenant_id))
        rows.add(found.tenant_id, found.total_revenue, found.total_revenue_cents, found.verified,
                 found.data_freshness_seconds, found.as_of);
    pg::restore_settings(settings);
    SPI_finish();
    return Datum{0};
}
