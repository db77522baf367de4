#include "entry/intake/stripe_refunds.hpp"

#include <algorithm>
#include <cstddef>

#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// A part of a statement; parts are put together when the module is compiled.
template <std::size_t size>
struct SqlPart {
    char text[size]; // with the zero at its end

    // NOLINTNEXTLINE(google-explicit-constructor): a literal is a part.
    constexpr SqlPart(const char (&literal)[size]) { std::copy_n(literal, size, text); }
    constexpr SqlPart() = default;
};

template <std::size_t first, std::size_t second>
consteval SqlPart<first + second - 1> operator+(const SqlPart<first>& a, const SqlPart<second>& b) {
    SqlPart<first + second - 1> both{};
    std::copy_n(a.text, first - 1, both.text);
    std::copy_n(b.text, second, both.text + first - 1);
    return both;
}

// The conversion $2 of tenant $1, and its returned conversions. The key of a returned conversion is
// that of its refund with refund_failed in place of refund, or dispute_won in place of dispute.
// OFFSET 0 makes each LATERAL a look-up in an index, whatever the statistics were when the plan was
// made.
constexpr SqlPart with_returned = R"sql(
        WITH RECURSIVE returned (id) AS (
            SELECT $2
            UNION
            SELECT v.id
            FROM returned c
            CROSS JOIN LATERAL (
                SELECT r.id, r.external_event_id
                FROM attribution.attribution_events r
                WHERE r.tenant_id = $1 AND r.refund_of = c.id
                OFFSET 0) r
            CROSS JOIN LATERAL (
                SELECT r.external_event_id
                UNION ALL
                SELECT a.external_event_id
                FROM attribution.event_aliases a
                WHERE a.tenant_id = $1 AND a.event_id = r.id
                OFFSET 0) k (key)
            CROSS JOIN LATERAL (
                SELECT v.id
                FROM attribution.attribution_events v
                WHERE v.tenant_id = $1 AND v.event_type = 'conversion'
                  AND v.external_event_id = CASE
                      WHEN starts_with(k.key, 'stripe:refund:')
                      THEN 'stripe:refund_failed:' || substr(k.key, length('stripe:refund:') + 1)
                      WHEN starts_with(k.key, 'stripe:dispute:')
                      THEN 'stripe:dispute_won:' || substr(k.key, length('stripe:dispute:') + 1)
                      WHEN starts_with(k.key, 'shopify:dispute:')
                      THEN 'shopify:dispute_won:' || substr(k.key, length('shopify:dispute:') + 1)
                      END
                OFFSET 0) v))sql";

constexpr auto find_announced_once_sql = with_returned + SqlPart(R"sql(
        SELECT e.id
        FROM returned
        CROSS JOIN LATERAL (
            SELECT *
            FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.refund_of = returned.id
            OFFSET 0) e
        WHERE e.revenue_cents = $3 AND starts_with(e.external_event_id, $4)
          AND NOT EXISTS (
              SELECT 1
              FROM attribution.event_aliases a
              WHERE a.tenant_id = $1 AND a.event_id = e.id
              OFFSET 0)
        ORDER BY e.occurred_at, e.id
        LIMIT 1)sql");

constexpr auto find_refunded_sum_sql = with_returned + SqlPart(R"sql(
        SELECT (sum(-e.revenue_cents) OVER () - (
                    SELECT coalesce(sum(v.revenue_cents), 0)
                    FROM returned
                    CROSS JOIN LATERAL (
                        SELECT *
                        FROM attribution.attribution_events v
                        WHERE v.tenant_id = $1 AND v.id = returned.id
                        OFFSET 0) v
                    WHERE starts_with(v.external_event_id, 'stripe:refund_failed:')))::bigint,
               e.id
        FROM returned
        CROSS JOIN LATERAL (
            SELECT *
            FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.refund_of = returned.id
            OFFSET 0) e
        WHERE starts_with(e.external_event_id, 'stripe:refund:')
           OR starts_with(e.external_event_id, 'stripe:refunded:')
        ORDER BY e.occurred_at DESC, e.id DESC
        LIMIT 1)sql");

constexpr auto find_returned_conversion_sql = with_returned + SqlPart(R"sql(
        SELECT v.id
        FROM returned
        CROSS JOIN LATERAL (
            SELECT *
            FROM attribution.attribution_events v
            WHERE v.tenant_id = $1 AND v.id = returned.id
            OFFSET 0) v
        CROSS JOIN LATERAL (
            SELECT v.revenue_cents + coalesce(sum(r.revenue_cents), 0) AS cents,
                   coalesce(bool_or(r.external_event_id = $4), false) AS is_known
            FROM attribution.attribution_events r
            WHERE r.tenant_id = $1 AND r.refund_of = returned.id) l
        WHERE returned.id <> $2 AND (l.is_known OR l.cents + $3 >= 0)
        ORDER BY l.is_known DESC, v.occurred_at, v.id
        LIMIT 1)sql");

} // namespace

std::optional<StoredRefund> find_alias(const core::Uuid& tenant_id, std::string_view key) {
    static constinit pg::Statement<StoredRefund(core::Uuid, std::string_view)> find{R"sql(
        SELECT e.id, e.revenue_cents
        FROM attribution.event_aliases a
        JOIN attribution.attribution_events e ON e.tenant_id = a.tenant_id AND e.id = a.event_id
        WHERE a.tenant_id = $1 AND a.external_event_id = $2)sql"};
    return find.run_latest(tenant_id, key).first();
}

void add_alias(const core::Uuid& tenant_id, std::string_view key, const core::Uuid& event_id) {
    static constinit pg::Statement<void(core::Uuid, core::Uuid)> find{R"sql(
        SELECT 1 FROM attribution.attribution_events WHERE tenant_id = $1 AND id = $2)sql"};
    static constinit pg::Statement<void(core::Uuid, std::string_view, core::Uuid)> insert{R"sql(
        INSERT INTO attribution.event_aliases (tenant_id, external_event_id, event_id)
        VALUES ($1, $2, $3))sql"};
    // Where the snapshot of the transaction does not see the event, the foreign key would not find
    // it either, and would raise 23503, which clients do not retry.
    if (find.run(tenant_id, event_id) == 0)
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: another delivery has just announced "
                               "the same refund"),
                        errhint("The transaction might succeed if retried.")));
    insert.run(tenant_id, key, event_id);
}

std::optional<core::Uuid> find_announced_once(const core::Uuid& tenant_id,
                                              const core::Uuid& conversion_id, core::Cents cents,
                                              std::string_view prefix) {
    static constinit pg::Statement<core::Uuid(core::Uuid, core::Uuid, core::Cents,
                                              std::string_view)>
        find{find_announced_once_sql.text};
    Assert(cents > 0);
    return find.run_latest(tenant_id, conversion_id, -cents, prefix).first();
}

std::optional<RefundedSum> find_refunded_sum(const core::Uuid& tenant_id,
                                             const core::Uuid& conversion_id) {
    static constinit pg::Statement<RefundedSum(core::Uuid, core::Uuid)> find{
        find_refunded_sum_sql.text};
    return find.run_latest(tenant_id, conversion_id).first();
}

std::optional<core::Uuid> find_returned_conversion(const NewEvent& refund,
                                                   const core::Uuid& conversion_id) {
    static constinit pg::Statement<core::Uuid(core::Uuid, core::Uuid, core::Cents,
                                              std::optional<std::string_view>)>
        find{find_returned_conversion_sql.text};
    return find
        .run_latest(refund.tenant_id, conversion_id, refund.revenue_cents, refund.external_event_id)
        .first();
}

bool is_refund_dead(const core::Uuid& tenant_id, std::string_view refund_key) {
    static constinit pg::Statement<void(core::Uuid, std::string_view)> find{R"sql(
        SELECT 1
        FROM attribution.dead_events d
        WHERE d.tenant_id = $1 AND d.external_event_id = $2 AND d.resolved_at IS NULL
          AND d.raw_payload #>> '{data,object,status}' = 'succeeded'
        LIMIT 1)sql"};
    return find.run_latest(tenant_id, refund_key) > 0;
}

} // namespace attribution::entry
