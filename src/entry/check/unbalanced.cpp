// unbalanced_allocations: events whose allocations do not sum to the revenue, because they were
// written past the check or within its tolerance.
//
// It reads the tables as the caller may see them, not as their owner, and under the caller's
// snapshot.

#include <optional>
#include <string_view>
#include <tuple>

#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

struct Unbalanced {
    using Columns = std::tuple<core::Uuid, std::string_view, core::Uuid, std::optional<core::Cents>,
                               pg::NumericDatum, pg::NumericDatum>;
    core::Uuid tenant_id;
    std::string_view model_version;
    core::Uuid event_id;
    std::optional<core::Cents> event_revenue_cents; // none: the event is missing
    pg::NumericDatum allocated_cents;
    pg::NumericDatum drift_cents;
};

using ModelVersion = std::optional<std::string_view>;

// There are two statements, because a condition on the tenant with OR could not use the index on
// the tenant. They are planned for the values, so that a NULL as model version is planned as no
// condition.

constinit pg::Statement<Unbalanced(ModelVersion)> of_all_tenants{R"sql(
SELECT t.tenant_id, t.model_version, t.event_id, e.revenue_cents, t.allocated_cents,
       abs(t.allocated_cents - coalesce(e.revenue_cents, 0))
FROM (SELECT a.tenant_id, a.event_id, a.model_version, sum(a.allocated_revenue_cents) AS allocated_cents
      FROM attribution.attribution_allocations a
      WHERE $1 IS NULL OR a.model_version = $1
      GROUP BY a.tenant_id, a.event_id, a.model_version) t
LEFT JOIN attribution.attribution_events e ON e.tenant_id = t.tenant_id AND e.id = t.event_id
WHERE t.allocated_cents IS DISTINCT FROM e.revenue_cents
ORDER BY t.tenant_id, t.event_id, t.model_version
)sql",
                                                                 pg::Plan::chosen};

// The condition on the tenant stands on both sides of the join; otherwise the events of all tenants
// would be read.
constinit pg::Statement<Unbalanced(core::Uuid, ModelVersion)> of_one_tenant{R"sql(
SELECT t.tenant_id, t.model_version, t.event_id, e.revenue_cents, t.allocated_cents,
       abs(t.allocated_cents - coalesce(e.revenue_cents, 0))
FROM (SELECT a.tenant_id, a.event_id, a.model_version, sum(a.allocated_revenue_cents) AS allocated_cents
      FROM attribution.attribution_allocations a
      WHERE a.tenant_id = $1 AND ($2 IS NULL OR a.model_version = $2)
      GROUP BY a.tenant_id, a.event_id, a.model_version) t
LEFT JOIN attribution.attribution_events e ON e.tenant_id = $1 AND e.id = t.event_id
WHERE t.allocated_cents IS DISTINCT FROM e.revenue_cents
ORDER BY t.tenant_id, t.event_id, t.model_version
)sql",
                                                                            pg::Plan::chosen};

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_unbalanced_allocations) {
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto model_version = pg::argument<entry::ModelVersion>(fcinfo, 1, "model_version");
    pg::ResultRows result(fcinfo);
    SPI_connect();
    const auto add = [&](const entry::Unbalanced& row) {
        result.add(row.tenant_id, row.model_version, row.event_id, row.event_revenue_cents,
                   row.allocated_cents, row.drift_cents);
    };
    if (tenant_id)
        entry::of_one_tenant.stream_as_of(GetActiveSnapshot(), add, *tenant_id, model_version);
    else
        entry::of_all_tenants.stream_as_of(GetActiveSnapshot(), add, model_version);
    SPI_finish();
    PG_RETURN_NULL();
}
