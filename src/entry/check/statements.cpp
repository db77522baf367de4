#include "entry/check/statements.hpp"

#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

// To try one of these in psql, paste it as it is: the names are those of the extension's own
// tables, and only write() below puts others in their place. Operators are qualified, since the
// caller's search_path decides nothing here. See README.md for the ranges, LIMIT 1, OFFSET 0 and
// COLLATE.

constexpr const char* find_refunds_sql = R"sql(
SELECT k.i, r.refund_of
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
     WITH ORDINALITY AS k (tenant_id, event_id, i)
CROSS JOIN LATERAL (
    SELECT x.refund_of
    FROM attribution.attribution_events x
    WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
      AND x.id OPERATOR(pg_catalog.>=) k.event_id AND x.id OPERATOR(pg_catalog.<=) k.event_id
    ORDER BY x.id LIMIT 1) r
WHERE r.refund_of IS NOT NULL -- outside: inside it would offer the index on refunds
ORDER BY k.i
)sql";

constexpr const char* lock_sql = R"sql(
SELECT pg_catalog.count(*)
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
     WITH ORDINALITY AS k (tenant_id, event_id, i)
CROSS JOIN LATERAL (
    SELECT 1
    FROM attribution.attribution_events x
    WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
      AND x.id OPERATOR(pg_catalog.>=) k.event_id AND x.id OPERATOR(pg_catalog.<=) k.event_id
    ORDER BY x.id LIMIT 1
    FOR NO KEY UPDATE) l
)sql";

constexpr const char* sums_sql = R"sql(
SELECT d.i, d.model_version,
       d.revenue_cents::pg_catalog.text, d.allocated::pg_catalog.text,
       pg_catalog.abs(d.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) d.allocated)::pg_catalog.text,
       d.is_wrong, d.has_family, d.is_refund
FROM (
    SELECT k.i, k.model_version, e.revenue_cents, s.allocated,
           s.allocated IS NOT NULL
           AND (e.revenue_cents IS NULL
                OR pg_catalog.abs(e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) s.allocated)
                   OPERATOR(pg_catalog.>) $4) AS is_wrong,
           e.refund_of IS NULL
           AND (s.lowest OPERATOR(pg_catalog.<) 0
                OR EXISTS (SELECT 1
                           FROM attribution.attribution_events x
                           WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
                             AND x.refund_of OPERATOR(pg_catalog.=) k.event_id
                           OFFSET 0)) AS has_family, -- OFFSET 0: not hashed, which would read all refunds
           e.refund_of IS NOT NULL AS is_refund
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
         WITH ORDINALITY AS k (tenant_id, event_id, model_version, i)
    LEFT JOIN LATERAL (
        SELECT x.refund_of, x.revenue_cents
        FROM attribution.attribution_events x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.id OPERATOR(pg_catalog.>=) k.event_id AND x.id OPERATOR(pg_catalog.<=) k.event_id
        ORDER BY x.id LIMIT 1) e ON true
    CROSS JOIN LATERAL (
        SELECT pg_catalog.sum(x.allocated_revenue_cents) AS allocated,
               pg_catalog.min(x.allocated_revenue_cents) AS lowest
        FROM (
            SELECT x.model_version, x.allocated_revenue_cents
            FROM attribution.attribution_allocations x
            WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
              AND x.event_id OPERATOR(pg_catalog.>=) k.event_id
              AND x.event_id OPERATOR(pg_catalog.<=) k.event_id
              AND x.model_version IS NOT NULL
              AND x.model_version COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) k.model_version
            ORDER BY x.event_id OFFSET 0) x
        OFFSET 0) s
    OFFSET 0) d
WHERE d.is_wrong OR d.has_family OR d.is_refund
ORDER BY d.i, d.model_version
)sql";

constexpr const char* sums_of_all_models_sql = R"sql(
SELECT d.i, d.model_version,
       d.revenue_cents::pg_catalog.text, d.allocated::pg_catalog.text,
       pg_catalog.abs(d.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) d.allocated)::pg_catalog.text
FROM (
    SELECT k.i, s.model_version, e.revenue_cents, s.allocated,
           s.allocated IS NOT NULL
           AND (e.revenue_cents IS NULL
                OR pg_catalog.abs(e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) s.allocated)
                   OPERATOR(pg_catalog.>) $3) AS is_wrong
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
         WITH ORDINALITY AS k (tenant_id, event_id, i)
    LEFT JOIN LATERAL (
        SELECT x.revenue_cents
        FROM attribution.attribution_events x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.id OPERATOR(pg_catalog.>=) k.event_id AND x.id OPERATOR(pg_catalog.<=) k.event_id
        ORDER BY x.id LIMIT 1) e ON true
    CROSS JOIN LATERAL (
        SELECT x.model_version, pg_catalog.sum(x.allocated_revenue_cents) AS allocated
        FROM (
            SELECT x.model_version, x.allocated_revenue_cents
            FROM attribution.attribution_allocations x
            WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
              AND x.event_id OPERATOR(pg_catalog.>=) k.event_id
              AND x.event_id OPERATOR(pg_catalog.<=) k.event_id
              AND x.model_version OPERATOR(pg_catalog.>=) ''
            ORDER BY x.event_id OFFSET 0) x
        GROUP BY x.model_version
        OFFSET 0) s
    OFFSET 0) d
WHERE d.is_wrong
ORDER BY d.i, d.model_version
)sql";

constexpr const char* excess_sql = R"sql(
SELECT k.i, e.event_type, e.revenue_cents::pg_catalog.text,
       (OPERATOR(pg_catalog.-) r.cents)::pg_catalog.text,
       (OPERATOR(pg_catalog.-) (e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.+) r.cents))::pg_catalog.text
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
     WITH ORDINALITY AS k (tenant_id, event_id, i)
LEFT JOIN LATERAL (
    SELECT x.event_type, x.revenue_cents
    FROM attribution.attribution_events x
    WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
      AND x.id OPERATOR(pg_catalog.>=) k.event_id AND x.id OPERATOR(pg_catalog.<=) k.event_id
    ORDER BY x.id LIMIT 1) e ON true
CROSS JOIN LATERAL (
    SELECT pg_catalog.sum(x.revenue_cents) AS cents
    FROM attribution.attribution_events x
    WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
      AND x.refund_of OPERATOR(pg_catalog.=) k.event_id
    OFFSET 0) r
WHERE r.cents IS NOT NULL
  AND (e.revenue_cents IS NULL
       OR e.event_type OPERATOR(pg_catalog.<>) 'conversion'
       OR (e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.+) r.cents) OPERATOR(pg_catalog.<) 0)
ORDER BY k.i
)sql";

constexpr const char* channels_sql = R"sql(
SELECT k.i, k.model_version, s.channel, s.cents::pg_catalog.text
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
     WITH ORDINALITY AS k (tenant_id, event_id, model_version, i)
CROSS JOIN LATERAL (
    SELECT a.channel, pg_catalog.sum(a.cents) AS cents
    FROM (
        SELECT k.event_id AS id
        UNION ALL
        SELECT x.id
        FROM attribution.attribution_events x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.refund_of OPERATOR(pg_catalog.=) k.event_id) f
    CROSS JOIN LATERAL (
        SELECT x.channel, x.allocated_revenue_cents AS cents
        FROM attribution.attribution_allocations x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.event_id OPERATOR(pg_catalog.>=) f.id AND x.event_id OPERATOR(pg_catalog.<=) f.id
          AND x.model_version IS NOT NULL
          AND x.model_version COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) k.model_version
        ORDER BY x.event_id OFFSET 0) a
    GROUP BY a.channel
    HAVING pg_catalog.sum(a.cents) OPERATOR(pg_catalog.<) 0
    OFFSET 0) s
ORDER BY k.i, s.channel COLLATE pg_catalog."C"
)sql";

constexpr const char* channels_of_all_models_sql = R"sql(
SELECT k.i, s.model_version, s.channel, s.cents::pg_catalog.text
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
     WITH ORDINALITY AS k (tenant_id, event_id, i)
CROSS JOIN LATERAL (
    SELECT a.model_version, a.channel, pg_catalog.sum(a.cents) AS cents
    FROM (
        SELECT k.event_id AS id
        UNION ALL
        SELECT x.id
        FROM attribution.attribution_events x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.refund_of OPERATOR(pg_catalog.=) k.event_id) f
    CROSS JOIN LATERAL (
        SELECT x.model_version, x.channel, x.allocated_revenue_cents AS cents
        FROM attribution.attribution_allocations x
        WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id
          AND x.event_id OPERATOR(pg_catalog.>=) f.id AND x.event_id OPERATOR(pg_catalog.<=) f.id
          AND x.model_version OPERATOR(pg_catalog.>=) ''
        ORDER BY x.event_id OFFSET 0) a
    GROUP BY a.model_version, a.channel
    HAVING pg_catalog.sum(a.cents) OPERATOR(pg_catalog.<) 0
    OFFSET 0) s
ORDER BY k.i, s.channel COLLATE pg_catalog."C", s.model_version
)sql";

constexpr const char* find_posting_sql = R"sql(
SELECT 1
FROM attribution.revenue_ledger l
WHERE l.tenant_id OPERATOR(pg_catalog.=) $1 AND l.allocation_id OPERATOR(pg_catalog.=) $2
)sql";

/// A table under the name that the statements above have for it, and under its real one.
struct TableName {
    std::string_view written;
    const char* actual;
};

/// The statement with the actual names of the tables, palloc'd.
const char* with_actual_names(std::span<const TableName> names, const char* sql) {
    StringInfoData result;
    initStringInfo(&result);
    for (std::string_view rest = sql; !rest.empty();) {
        std::size_t length = 1;
        const char* actual = nullptr;
        for (const TableName& name : names) {
            if (rest.starts_with(name.written)) {
                length = name.written.size();
                actual = name.actual;
            }
        }
        if (actual != nullptr)
            appendStringInfoString(&result, actual);
        else
            appendStringInfoChar(&result, rest.front());
        rest.remove_prefix(length);
    }
    return result.data;
}

template <class Signature>
void discard_statement(pg::Statement<Signature>* statement) {
    statement->discard();
    if (const char* sql = statement->sql())
        pfree(const_cast<char*>(sql));
    *statement = pg::Statement<Signature>();
}

} // namespace

void CheckStatements::write(Oid allocations_id, Oid events_id, Oid ledger_id) {
    const TableName names[] = {
        {.written = "attribution.attribution_allocations",
         .actual = pg::qualified_name(allocations_id)},
        {.written = "attribution.attribution_events", .actual = pg::qualified_name(events_id)},
        {.written = "attribution.revenue_ledger",
         .actual = OidIsValid(ledger_id) ? pg::qualified_name(ledger_id) : ""}};
    const MemoryContext before = MemoryContextSwitchTo(CacheMemoryContext);
    const auto set = [&]<class Signature>(pg::Statement<Signature>* statement, const char* sql) {
        Assert(statement->sql() == nullptr);
        *statement = pg::Statement<Signature>(with_actual_names(names, sql));
    };
    set(&find_refunds, find_refunds_sql);
    set(&lock, lock_sql);
    set(&sums, sums_sql);
    set(&sums_of_all_models, sums_of_all_models_sql);
    set(&excess, excess_sql);
    set(&channels, channels_sql);
    set(&channels_of_all_models, channels_of_all_models_sql);
    if (OidIsValid(ledger_id))
        set(&find_posting, find_posting_sql);
    MemoryContextSwitchTo(before);
}

void CheckStatements::discard() {
    discard_statement(&find_refunds);
    discard_statement(&lock);
    discard_statement(&sums);
    discard_statement(&sums_of_all_models);
    discard_statement(&excess);
    discard_statement(&channels);
    discard_statement(&channels_of_all_models);
    discard_statement(&find_posting);
}

} // namespace attribution::entry
