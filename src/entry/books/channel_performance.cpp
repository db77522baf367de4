// channel_performance: what each channel has brought, from the allocations, posted or not.

#include <optional>
#include <string_view>

#include "pg/call.hpp"
#include "pg/statement.hpp"

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_channel_performance) {
    // The events of the time lead to their allocations. Each is looked up by a range of one key, in
    // the order of that key: whatever a planner without statistics believes, only the index on that
    // key will do, and the plan that is kept stays right when the tables grow. OFFSET 0 keeps the
    // look-ups apart.
    static constinit pg::Statement<pg::Slot(core::Uuid, std::string_view, pg::Timestamptz,
                                            pg::Timestamptz)>
        find{R"sql(
        SELECT a.channel, sum(a.cents), count(*) FILTER (WHERE e.event_type = 'conversion')
        FROM (SELECT x.id, x.event_type
              FROM attribution.attribution_events x
              WHERE x.tenant_id = $1 AND x.event_type <> 'touch'
                AND x.occurred_at >= $3 AND x.occurred_at < $4
              ORDER BY x.occurred_at DESC OFFSET 0) e
        CROSS JOIN LATERAL
             (SELECT y.channel, y.allocated_revenue_cents AS cents
              FROM attribution.attribution_allocations y
              WHERE y.tenant_id = $1 AND y.event_id >= e.id AND y.event_id <= e.id
                AND y.model_version IS NOT NULL AND y.model_version COLLATE "C" = $2
              ORDER BY y.event_id OFFSET 0) a
        GROUP BY a.channel
        ORDER BY 2 DESC, 1)sql"};
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto model_version =
        pg::argument<std::optional<std::string_view>>(fcinfo, 1, "model_version");
    const pg::Timestamptz occurred_from = pg::argument<pg::OptionalTime>(fcinfo, 2, "occurred_from")
                                              .value_or(pg::Timestamptz{DT_NOBEGIN});
    const pg::Timestamptz occurred_to = pg::argument<pg::OptionalTime>(fcinfo, 3, "occurred_to")
                                            .value_or(pg::Timestamptz{DT_NOEND});
    pg::ResultRows rows(fcinfo);
    if (!tenant_id || !model_version)
        PG_RETURN_NULL();
    SPI_connect();
    find.stream_as_of(
        GetActiveSnapshot(), [&](pg::Slot row) { rows.add_slot(row.slot); }, *tenant_id,
        *model_version, occurred_from, occurred_to);
    SPI_finish();
    PG_RETURN_NULL();
}
