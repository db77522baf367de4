// channel_performance: the revenue of each channel, from the allocations, posted or not.

#include <optional>
#include <string_view>

#include "entry/tables/require_tables.hpp"
#include "pg/call.hpp"
#include "pg/planning.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// Adds the channels of the events that occurred in [occurred_from, occurred_to). The events of
/// that time lead to their allocations. Each is looked up by a range of one key, in the order of
/// that key: whatever a planner without statistics believes, only the index on that key will do,
/// and the plan that is kept stays right when the tables grow. OFFSET 0 keeps the look-ups apart.
void add_channels_of_time(const core::Uuid& tenant_id, std::string_view model_version,
                          pg::Timestamptz occurred_from, pg::Timestamptz occurred_to,
                          pg::ResultRows* rows) {
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
    const int settings = pg::prefer_index_order();
    find.stream_as_of(
        GetActiveSnapshot(), [&](pg::Slot row) { rows->add_slot(row.slot); }, tenant_id,
        model_version, occurred_from, occurred_to);
    pg::restore_settings(settings);
}

/// Adds the channels of all events. Both tables are read once and joined by hash, which takes less
/// than a look-up for each event where most of them count. The statement is planned in each call,
/// since a kept plan could read the whole table of a small tenant.
void add_channels_of_all_time(const core::Uuid& tenant_id, std::string_view model_version,
                              pg::ResultRows* rows) {
    pg::Statement<pg::Slot(core::Uuid, std::string_view)> find{R"sql(
        SELECT a.channel, sum(a.allocated_revenue_cents), count(*) FILTER (WHERE e.event_type = 'conversion')
        FROM attribution.attribution_allocations a
        JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
        WHERE a.tenant_id = $1 AND a.model_version = $2
          AND e.tenant_id = $1 AND e.event_type <> 'touch'
        GROUP BY a.channel
        ORDER BY 2 DESC, 1)sql",
                                                               pg::Plan::once};
    const int settings = pg::avoid_nested_loops();
    find.stream_as_of(
        GetActiveSnapshot(), [&](pg::Slot row) { rows->add_slot(row.slot); }, tenant_id,
        model_version);
    pg::restore_settings(settings);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_channel_performance) {
    entry::require_tables();
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto model_version = pg::argument<pg::OptionalText>(fcinfo, 1, "model_version");
    const auto occurred_from = pg::argument<pg::OptionalTime>(fcinfo, 2, "occurred_from");
    const auto occurred_to = pg::argument<pg::OptionalTime>(fcinfo, 3, "occurred_to");
    pg::ResultRows rows(fcinfo);
    if (!tenant_id || !model_version)
        PG_RETURN_NULL();
    SPI_connect();
    if (occurred_from || occurred_to)
        entry::add_channels_of_time(*tenant_id, *model_version,
                                    occurred_from.value_or(pg::Timestamptz{DT_NOBEGIN}),
                                    occurred_to.value_or(pg::Timestamptz{DT_NOEND}), &rows);
    else
        entry::add_channels_of_all_time(*tenant_id, *model_version, &rows);
    SPI_finish();
    PG_RETURN_NULL();
}
