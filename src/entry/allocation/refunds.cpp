// refunds: see refunds.hpp.
//
// In the statements here an id is found by a range and its order, a model version by a COLLATE that
// the index on (tenant_id, model_version) does not have, and OFFSET 0 keeps subqueries for
// themselves: each leaves the planner only the index on the event, also where it plans for tables
// that are still small.

#include <limits>

#include "entry/allocation/refunds.hpp"
#include "entry/session/settings.hpp"
#include "pg/boundary.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

struct Refund {
    std::size_t conversion; // index into the conversions given
    Event event;
};

/// What is left of a channel of a conversion.
struct ChannelRest {
    std::string_view channel;
    core::Cents cents;
};

/// Refunds of the conversions that are not allocated under the model version, by conversion, time
/// and id.
std::span<Refund> find_refunds(const Rows& rows, std::span<const core::Uuid> conversion_ids) {
    using Found = std::tuple<std::int64_t, core::Uuid, core::Cents, pg::Timestamptz,
                             std::optional<std::string_view>>;
    static constinit pg::Statement<Found(core::Uuid, std::span<const core::Uuid>, std::string_view)>
        find{R"sql(
        SELECT k.i, r.id, r.revenue_cents, r.occurred_at, r.correlation_id
        FROM unnest($2) WITH ORDINALITY AS k (id, i),
        LATERAL (
            SELECT * FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.refund_of = k.id
              AND NOT EXISTS (
                SELECT 1 FROM attribution.attribution_allocations a
                WHERE a.tenant_id = $1 AND a.event_id >= e.id AND a.event_id <= e.id
                  AND a.model_version IS NOT NULL AND a.model_version COLLATE "C" = $3
                ORDER BY a.event_id LIMIT 1 OFFSET 0)
            OFFSET 0) r
        ORDER BY k.i, r.occurred_at, r.id)sql"};
    auto found = find.run_latest(rows.tenant_id, conversion_ids, rows.model_version);
    const auto refunds = pg::make_span<Refund>(found.size());
    for (std::size_t i = 0; i < refunds.size(); ++i) {
        const auto [number, id, revenue_cents, occurred_at, correlation_id] = found[i];
        Assert(number >= 1 && static_cast<std::size_t>(number) <= conversion_ids.size());
        refunds[i] = {.conversion = static_cast<std::size_t>(number - 1),
                      .event = copied_event({.id = id,
                                             .revenue_cents = revenue_cents,
                                             .occurred_at = occurred_at,
                                             .correlation_id = correlation_id,
                                             .session_id = std::nullopt})};
    }
    found.free();
    return refunds;
}

/// Raises 40001 where the transaction has one snapshot and a refund is newer: the foreign key of
/// its rows would not see it.
void check_refunds_are_visible(const Rows& rows, std::span<const Refund> refunds) {
    static constinit pg::Statement<std::int64_t(core::Uuid, std::span<const core::Uuid>)> count{
        R"sql(
        SELECT count(*)
        FROM unnest($2) AS k (id),
        LATERAL (
            SELECT 1 FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.id >= k.id AND e.id <= k.id
            ORDER BY e.id LIMIT 1) e)sql"};
    if (!IsolationUsesXactSnapshot())
        return;
    const auto ids = pg::make_span<core::Uuid>(refunds.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = refunds[i].event.id;
    auto counted = count.run(rows.tenant_id, ids);
    const auto visible = static_cast<std::size_t>(counted[0]);
    if (visible < refunds.size())
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: refunds were ingested concurrently"),
                        errdetail("%zu refunds are newer than the snapshot of this transaction.",
                                  refunds.size() - visible),
                        errhint("The transaction might succeed if retried.")));
    counted.free();
}

/// What is left of each channel of a conversion under the model version, in the order of the
/// channels' bytes; nothing when the conversion itself is not allocated.
std::span<ChannelRest> find_rest(const Rows& rows, const core::Uuid& conversion_id) {
    using Found = std::tuple<std::string_view, core::Cents, bool>;
    static constinit pg::Statement<Found(core::Uuid, core::Uuid, std::string_view)> find{R"sql(
        SELECT a.channel, sum(a.cents)::bigint AS cents, bool_or(f.is_conversion) AS is_allocated
        FROM (
            SELECT $2, true
            UNION ALL
            SELECT e.id, false FROM attribution.attribution_events e
            WHERE e.tenant_id = $1 AND e.refund_of = $2) AS f (id, is_conversion),
        LATERAL (
            SELECT x.channel, x.allocated_revenue_cents AS cents
            FROM attribution.attribution_allocations x
            WHERE x.tenant_id = $1 AND x.event_id >= f.id AND x.event_id <= f.id
              AND x.model_version IS NOT NULL AND x.model_version COLLATE "C" = $3
            ORDER BY x.event_id OFFSET 0) a
        GROUP BY a.channel ORDER BY a.channel COLLATE "C")sql"};
    auto found = find.run_latest(rows.tenant_id, conversion_id, rows.model_version);
    const auto rest = pg::make_span<ChannelRest>(found.size());
    bool is_conversion_allocated = false;
    for (std::size_t i = 0; i < rest.size(); ++i) {
        const auto [channel, cents, is_of_conversion] = found[i];
        rest[i] = {.channel = pg::copied(channel), .cents = cents};
        is_conversion_allocated = is_conversion_allocated || is_of_conversion;
    }
    found.free();
    return is_conversion_allocated ? rest : rest.first(0);
}

[[noreturn]] void raise_over_refund(const Rows& rows, const core::Uuid& conversion_id,
                                    const char* detail) {
    ereport(
        ERROR,
        (errcode(ERRCODE_CHECK_VIOLATION), errmsg("refund exceeds what is left of its conversion"),
         errdetail("Tenant %s, conversion %s, model version \"%.*s\": %s",
                   pg::uuid_text(rows.tenant_id), pg::uuid_text(conversion_id),
                   static_cast<int>(rows.model_version.size()), rows.model_version.data(), detail),
         errhint("The conversion has been allocated less than its revenue, or written to past "
                 "the checks."),
         err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
         err_generic_string(PG_DIAG_TABLE_NAME, "attribution_allocations"),
         err_generic_string(PG_DIAG_CONSTRAINT_NAME, "channel_is_not_below_zero")));
    pg_unreachable();
}

/// The cents that a refund takes back: its revenue, or all that is left where that is less by no
/// more than the tolerance. Raises 23514 otherwise.
core::Cents cents_to_take_back(const Rows& rows, const Event& refund,
                               const core::Uuid& conversion_id, std::span<const ChannelRest> rest) {
    Assert(refund.revenue_cents < 0);
    std::uint64_t sum = 0;
    const ChannelRest* below_zero = nullptr;
    for (const ChannelRest& channel : rest) {
        if (channel.cents < 0)
            below_zero = &channel;
        else if (__builtin_add_overflow(sum, static_cast<std::uint64_t>(channel.cents), &sum))
            sum = std::numeric_limits<std::uint64_t>::max();
    }
    if (below_zero != nullptr)
        raise_over_refund(rows, conversion_id,
                          psprintf("Channel \"%.*s\" has " INT64_FORMAT " cents.",
                                   static_cast<int>(below_zero->channel.size()),
                                   below_zero->channel.data(), below_zero->cents));
    const std::uint64_t wanted =
        std::uint64_t{0} - static_cast<std::uint64_t>(refund.revenue_cents);
    const std::uint64_t excess = wanted > sum ? wanted - sum : 0;
    if (sum == 0 || excess > static_cast<std::uint64_t>(sum_tolerance_cents))
        raise_over_refund(rows, conversion_id,
                          psprintf("Refund %s is of " INT64_FORMAT " cents, " UINT64_FORMAT
                                   " are left.",
                                   pg::uuid_text(refund.id), refund.revenue_cents, sum));
    return excess == 0 ? refund.revenue_cents : -static_cast<core::Cents>(sum);
}

/// Adds the rows of the refund and takes its cents off what is left. A channel with nothing left
/// gets no row.
void take_refund_back(Rows* rows, const Event& refund, core::Cents cents,
                      std::span<ChannelRest> rest) {
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    const auto shares = pg::make_span<ChannelShare>(rest.size());
    const auto remaining = pg::make_span<core::Cents>(rest.size());
    std::size_t count = 0;
    for (const ChannelRest& channel : rest)
        if (channel.cents > 0) {
            shares[count].channel = channel.channel;
            shares[count].weight = {pg::scaled_numeric(channel.cents, 0)};
            remaining[count++] = channel.cents;
        }
    add_refund(rows, refund, cents, shares.first(count), remaining.first(count));
    std::size_t next = 0;
    for (ChannelRest& channel : rest)
        if (channel.cents > 0)
            channel.cents = remaining[next++];
    Assert(next == count);
    MemoryContextSwitchTo(before);
    MemoryContextReset(rows->scratch);
}

} // namespace

bool refunds_wait(const Rows& rows, std::span<const core::Uuid> conversion_ids) {
    return !find_refunds(rows, conversion_ids).empty();
}

std::uint64_t allocate_refunds(Rows* rows, std::span<const core::Uuid> conversion_ids,
                               bool only_next, core::Uuid* current, std::uint64_t* row_count) {
    const std::span<Refund> refunds = find_refunds(*rows, conversion_ids);
    check_refunds_are_visible(*rows, refunds);
    std::uint64_t refund_count = 0;
    for (std::size_t i = 0; i < refunds.size();) {
        CHECK_FOR_INTERRUPTS();
        const std::size_t conversion = refunds[i].conversion;
        const core::Uuid& conversion_id = conversion_ids[conversion];
        const std::span<ChannelRest> rest = find_rest(*rows, conversion_id);
        for (bool is_first = true; i < refunds.size() && refunds[i].conversion == conversion; ++i) {
            if (rest.empty() || (only_next && !is_first))
                continue;
            is_first = false;
            const Event& refund = refunds[i].event;
            *current = refund.id;
            take_refund_back(rows, refund, cents_to_take_back(*rows, refund, conversion_id, rest),
                             rest);
            ++refund_count;
        }
    }
    *row_count += write_rows(rows, false);
    return refund_count;
}

} // namespace attribution::entry
