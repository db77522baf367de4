#include "entry/views/tracked_view.hpp"

namespace attribution::entry {
namespace {

constexpr std::uint8_t on_insert = TRIGGER_TYPE_INSERT;
constexpr std::uint8_t on_update = TRIGGER_TYPE_UPDATE;
constexpr std::uint8_t on_delete = TRIGGER_TYPE_DELETE;
constexpr std::uint8_t on_truncate = TRIGGER_TYPE_TRUNCATE;
constexpr std::uint8_t on_rows = on_insert | on_update | on_delete;

// ---------------------------------------------------------------------------------------------
// mv_allocation_summary: keys (tenant, event, model version)

constexpr pg::Column summary_log_columns[] = {
    {"tenant_id", UUIDOID}, {"event_id", UUIDOID}, {"model_version", TEXTOID}};

// The insert of an event is no change: it has no allocations yet.
constexpr RequiredTrigger summary_triggers[] = {
    {"attribution_allocations", on_insert, Duty::log_rows},
    {"attribution_allocations", on_update, Duty::log_rows},
    {"attribution_allocations", on_delete, Duty::log_rows},
    {"attribution_allocations", on_truncate, Duty::raise_doubt},
    {"attribution_allocations", on_rows, Duty::raise_doubt_if_replicated},
    {"attribution_events", on_update, Duty::log_altered_rows,
     "(old.revenue_cents IS DISTINCT FROM new.revenue_cents)"},
    {"attribution_events", on_delete, Duty::log_rows},
    {"attribution_events", on_truncate, Duty::raise_doubt},
    {"attribution_events", on_rows, Duty::raise_doubt_if_replicated}};

constexpr const char* summary_tables[] = {"attribution_allocations", "attribution_events"};

// A logged key without a model version stands for all model versions of its event. It is counted as
// those of them that are logged too, or as one: more are not known without reading the allocations.
constexpr const char* summary_count_keys = R"sql(
SELECT coalesce(sum(greatest(e.versions, 1)), 0)::bigint
FROM (SELECT count(DISTINCT c.model_version) AS versions
      FROM attribution_internal.allocation_summary_changes c
      GROUP BY c.tenant_id, c.event_id) e
)sql";

// A key without a model version stands for all model versions of the event: those of its
// allocations and those of its rows in the view. Keys are looked up in their order, since
// neighbours share pages. OFFSET 0 keeps the view's query inside the loop over the keys, where
// indexes find what it reads; outside it would be computed whole. The expression around the model
// version keeps indexes from finding it: without statistics the one on (tenant_id, model_version)
// looks as good as those of the event, and reads the whole model version for each key.
constexpr const char* summary_differences = R"sql(
SELECT m.ctid AS place,
       q.tenant_id IS NOT NULL AS is_row,
       q.tenant_id IS NOT NULL AND q.event_revenue_cents IS NULL AS is_unfollowed,
       q.*
FROM (SELECT c.tenant_id, c.event_id, c.model_version
      FROM changes c
      WHERE c.model_version IS NOT NULL
      UNION
      SELECT c.tenant_id, c.event_id, x.model_version
      FROM (SELECT DISTINCT c.tenant_id, c.event_id
            FROM changes c
            WHERE c.model_version IS NULL) c
      CROSS JOIN LATERAL (
            SELECT a.model_version
            FROM attribution.attribution_allocations a
            WHERE a.tenant_id = c.tenant_id AND a.event_id = c.event_id AND a.model_version >= ''
            UNION ALL
            SELECT m.model_version
            FROM attribution.mv_allocation_summary m
            WHERE m.tenant_id = c.tenant_id AND m.event_id = c.event_id
            OFFSET 0) x
      ORDER BY 1, 2, 3) k
LEFT JOIN LATERAL (
      SELECT v.*
      FROM (%s) v
      WHERE v.tenant_id = k.tenant_id AND v.event_id = k.event_id
        AND v.model_version || '' = k.model_version
      OFFSET 0) q ON true
LEFT JOIN LATERAL (
      SELECT m.ctid, m AS r
      FROM attribution.mv_allocation_summary m
      WHERE m.tenant_id = k.tenant_id AND m.event_id = k.event_id
        AND m.model_version = k.model_version
      OFFSET 0) m ON true
WHERE (m.r IS NULL) <> (q.tenant_id IS NULL) OR m.r *<> q
)sql";

// Allocations whose event is gone: an event of that id may come again, and its insert is not
// logged.
constexpr const char* summary_unfollowed_rows = R"sql(
SELECT FROM attribution.mv_allocation_summary m WHERE m.event_revenue_cents IS NULL LIMIT 1
)sql";

// ---------------------------------------------------------------------------------------------
// mv_realtime_revenue: by how much the sums of a tenant changed

constexpr pg::Column revenue_log_columns[] = {{"tenant_id", UUIDOID},
                                              {"revenue_cents", INT8OID},
                                              {"verified_cents", INT8OID},
                                              {"posting_count", INT8OID},
                                              {"verified_count", INT8OID}};

// The decimals of a currency concern all tenants that have it, so a change of a currency raises a
// doubt instead of logging them.
constexpr RequiredTrigger revenue_triggers[] = {
    {"revenue_ledger", on_insert, Duty::log_rows},
    {"revenue_ledger", on_update, Duty::log_rows},
    {"revenue_ledger", on_delete, Duty::log_rows},
    {"revenue_ledger", on_truncate, Duty::raise_doubt},
    {"revenue_ledger", on_rows, Duty::raise_doubt_if_replicated},
    {"tenants", on_insert, Duty::log_rows},
    {"tenants", on_update, Duty::log_rows},
    {"tenants", on_delete, Duty::log_rows},
    {"tenants", on_truncate, Duty::raise_doubt},
    {"tenants", on_rows, Duty::raise_doubt_if_replicated},
    {"currencies", on_rows, Duty::raise_doubt},
    {"currencies", on_truncate, Duty::raise_doubt}};

constexpr const char* revenue_tables[] = {"revenue_ledger", "tenants", "currencies"};

// The logged changes are added to the sums of a tenant that has a row in the view; a tenant without
// one is computed whole. Columns that are no sums are looked up. OFFSET 0 as above.
constexpr const char* revenue_differences = R"sql(
SELECT m.ctid AS place,
       q.tenant_id IS NOT NULL AS is_row,
       false AS is_unfollowed,
       q.*
FROM (SELECT c.tenant_id,
             sum(c.revenue_cents) AS revenue_cents,
             sum(c.verified_cents) AS verified_cents,
             sum(c.posting_count)::bigint AS posting_count,
             sum(c.verified_count)::bigint AS verified_count
      FROM changes c
      GROUP BY c.tenant_id
      ORDER BY 1) k
LEFT JOIN LATERAL (
      SELECT m.ctid, m AS r, m.*
      FROM attribution.mv_realtime_revenue m
      WHERE m.tenant_id = k.tenant_id
      OFFSET 0) m ON true
LEFT JOIN LATERAL (
      SELECT t.id AS tenant_id,
             (m.total_revenue_cents + k.revenue_cents) * c.unit AS total_revenue,
             m.posting_count + k.posting_count > 0
                 AND m.verified_count + k.verified_count = m.posting_count + k.posting_count
                 AS verified,
             m.total_revenue_cents + k.revenue_cents AS total_revenue_cents,
             m.verified_revenue_cents + k.verified_cents AS verified_revenue_cents,
             m.posting_count + k.posting_count AS posting_count,
             m.verified_count + k.verified_count AS verified_count,
             (SELECT max(l.updated_at)
              FROM attribution.revenue_ledger l
              WHERE l.tenant_id = t.id) AS last_updated_at
      FROM attribution.tenants t
      JOIN attribution.currencies c ON c.code = t.currency
      WHERE t.id = k.tenant_id AND m.tenant_id IS NOT NULL
      UNION ALL
      SELECT v.*
      FROM (%s) v
      WHERE v.tenant_id = k.tenant_id AND m.tenant_id IS NULL
      OFFSET 0) q ON true
WHERE (m.r IS NULL) <> (q.tenant_id IS NULL) OR m.r *<> q
)sql";

// ---------------------------------------------------------------------------------------------
// mv_reconciliation_status: tenants

constexpr pg::Column status_log_columns[] = {{"tenant_id", UUIDOID}};

constexpr RequiredTrigger status_triggers[] = {
    {"reconciliation_runs", on_insert, Duty::log_rows},
    {"reconciliation_runs", on_update, Duty::log_rows},
    {"reconciliation_runs", on_delete, Duty::log_rows},
    {"reconciliation_runs", on_truncate, Duty::raise_doubt},
    {"reconciliation_runs", on_rows, Duty::raise_doubt_if_replicated}};

constexpr const char* status_tables[] = {"reconciliation_runs"};

constexpr const char* status_count_keys = R"sql(
SELECT count(DISTINCT c.tenant_id) FROM attribution_internal.reconciliation_status_changes c
)sql";

constexpr const char* status_differences = R"sql(
SELECT m.ctid AS place,
       q.tenant_id IS NOT NULL AS is_row,
       false AS is_unfollowed,
       q.*
FROM (SELECT DISTINCT c.tenant_id FROM changes c ORDER BY 1) k
LEFT JOIN LATERAL (
      SELECT v.*
      FROM (%s) v
      WHERE v.tenant_id = k.tenant_id
      OFFSET 0) q ON true
LEFT JOIN LATERAL (
      SELECT m.ctid, m AS r
      FROM attribution.mv_reconciliation_status m
      WHERE m.tenant_id = k.tenant_id
      OFFSET 0) m ON true
WHERE (m.r IS NULL) <> (q.tenant_id IS NULL) OR m.r *<> q
)sql";

} // namespace

// A row of a log takes 4 bytes for its place in the page, 24 for its header and its columns.
constinit const std::array<TrackedView, tracked_view_count> tracked_views = {
    {{.name = "mv_allocation_summary",
      .log = "allocation_summary_changes",
      .log_columns = summary_log_columns,
      .log_row_bytes = 60, // without a model version
      .capture_function = "capture_summary_change",
      .triggers = summary_triggers,
      .tables = summary_tables,
      .summed_table = nullptr,
      .count_keys = summary_count_keys,
      .differences = summary_differences,
      .unfollowed_rows = summary_unfollowed_rows},
     {.name = "mv_realtime_revenue",
      .log = "realtime_revenue_changes",
      .log_columns = revenue_log_columns,
      .log_row_bytes = 76,
      .capture_function = "capture_revenue_change",
      .triggers = revenue_triggers,
      .tables = revenue_tables,
      .summed_table = "revenue_ledger",
      .count_keys = nullptr, // the whole view would read the whole ledger
      .differences = revenue_differences,
      .unfollowed_rows = nullptr},
     {.name = "mv_reconciliation_status",
      .log = "reconciliation_status_changes",
      .log_columns = status_log_columns,
      .log_row_bytes = 44,
      .capture_function = "capture_status_change",
      .triggers = status_triggers,
      .tables = status_tables,
      .summed_table = nullptr,
      .count_keys = status_count_keys,
      .differences = status_differences,
      .unfollowed_rows = nullptr}}};

std::size_t number_of(const TrackedView& view) {
    const std::ptrdiff_t number = &view - tracked_views.data();
    Assert(number >= 0 && static_cast<std::size_t>(number) < tracked_view_count);
    return static_cast<std::size_t>(number);
}

const TrackedView* find_tracked_view(std::string_view name) {
    for (const TrackedView& view : tracked_views)
        if (name == view.name)
            return &view;
    return nullptr;
}

const TrackedView& view_of(const Trigger* trigger) {
    const TrackedView* view =
        trigger->tgnargs > 0 ? find_tracked_view(trigger->tgargs[0]) : nullptr;
    if (view == nullptr)
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("first argument of trigger \"%s\" must name a materialized view of "
                               "this extension",
                               trigger->tgname)));
    return *view;
}

const TrackedView& read_view_name(std::string_view argument) {
    constexpr std::string_view schema = "attribution.";
    const TrackedView* view =
        find_tracked_view(argument.starts_with(schema) ? argument.substr(schema.size()) : argument);
    if (view == nullptr)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("\"%.*s\" is not a materialized view of this extension",
                               static_cast<int>(argument.size()), argument.data()),
                        errhint("The views are %s, %s and %s.", tracked_views[0].name,
                                tracked_views[1].name, tracked_views[2].name)));
    return *view;
}

} // namespace attribution::entry
