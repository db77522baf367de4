// dead_event: deliveries that could not be taken in, and what becomes of them.
//
// The one idea: a dead event is sent through ingest_delivery() again, as if it came now. When the
// retry fails, the row gets the new problem and a longer wait; a resolved row stays for audits
// until it is pruned.

#include "entry/intake/dead_event.hpp"

#include <algorithm>

#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/failure.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// What was wrong, as dead_events.error_detail has it.
pg::JsonbDatum detail_of(const core::Problem& problem) {
    JsonbParseState* state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    pg::push_text(&state, "message", problem.message);
    if (!problem.field.empty())
        pg::push_text(&state, "field", problem.field);
    if (!problem.value.empty())
        pg::push_text(&state, "value", problem.value);
    return {JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)))};
}

// --- which dead events ---------------------------------------------------------------------------

/// The dead events that a call is about.
struct Selection {
    core::Uuid tenant_id;
    pg::OptionalText source, error_code;
    std::int32_t limit_rows;
    pg::OptionalTime ingested_from, ingested_to; // [from, to)
    bool ignore_backoff;                         // also those that wait for their next try
};

/// The ids of the selected dead events, the oldest first, locked; those that another session has
/// locked are left out.
std::span<core::Uuid> lock_dead_events(const Selection& selection) {
    static constinit pg::Statement<core::Uuid(core::Uuid, pg::OptionalText, pg::OptionalText,
                                              std::int32_t, pg::OptionalTime, pg::OptionalTime,
                                              bool)>
        find{R"sql(
        SELECT d.id
        FROM attribution.dead_events d
        WHERE d.tenant_id = $1 AND d.resolved_at IS NULL
          AND ($2 IS NULL OR d.source = $2) AND ($3 IS NULL OR d.error_code = $3)
          AND d.ingested_at >= coalesce($5, '-infinity')
          AND d.ingested_at < coalesce($6, 'infinity')
          AND ($7 OR d.next_retry_at IS NULL OR d.next_retry_at <= now())
        ORDER BY d.ingested_at, d.id
        LIMIT $4
        FOR UPDATE SKIP LOCKED)sql",
             pg::Plan::chosen};
    Assert(selection.limit_rows >= 0);
    auto rows =
        find.run(selection.tenant_id, selection.source, selection.error_code, selection.limit_rows,
                 selection.ingested_from, selection.ingested_to, selection.ignore_backoff);
    const auto ids = pg::make_span<core::Uuid>(rows.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = rows[i];
    rows.free();
    return ids;
}

// --- retrying ------------------------------------------------------------------------------------

/// A delivery as it was stored.
struct StoredDelivery {
    using Columns = std::tuple<std::string_view, pg::OptionalText, std::optional<pg::JsonbDatum>,
                               std::optional<pg::JsonbDatum>>;
    std::string_view source;
    pg::OptionalText topic;
    std::optional<pg::JsonbDatum> payload, headers;
};

pg::JsonbDatum copied_jsonb(pg::JsonbDatum jsonb) {
    return {datumCopy(jsonb.datum, false, -1)};
}

/// Sends one dead event through again.
void retry(Intaking* in, const core::Uuid& id) {
    static constinit pg::Statement<StoredDelivery(core::Uuid, core::Uuid)> find{R"sql(
        SELECT d.source, d.topic, d.raw_payload, d.headers
        FROM attribution.dead_events d
        WHERE d.tenant_id = $1 AND d.id = $2)sql"};
    auto rows = find.run(in->tenant_id, id);
    const std::optional<StoredDelivery> row = rows.first();
    if (!row) // it is locked: a trigger of this transaction deleted it
        elog(ERROR, "dead event %s does not exist", pg::uuid_text(id));
    const StoredDelivery& stored = *row;
    in->source = pg::copied(stored.source);
    in->topic = pg::copied(stored.topic.value_or(std::string_view()));
    if (stored.headers)
        in->headers = copied_jsonb(*stored.headers);
    if (!stored.payload) {
        set_problem(in, "missing_field", "the payload was erased", {});
        return;
    }
    const pg::JsonbDatum payload = copied_jsonb(*stored.payload);
    rows.free();
    // A JSON string holds a text that was no JSON, or none that could be stored, at that time.
    const core::Json root = pg::json_structure(payload.datum).root();
    if (root.is_string())
        set_body(in, root.string());
    else
        in->payload = redacted_message(payload.datum);
    if (in->outcome != DeliveryOutcome::dead)
        ingest_delivery(in);
}

/// The same in a subtransaction: an error of the event is its problem. Errors of the session, and
/// those that may not come again, are raised.
void retry_surviving_errors(Intaking* in, const core::Uuid& id) {
    ErrorData* failure = pg::attempt([&] { retry(in, id); });
    if (failure == nullptr)
        return;
    if (pg::is_of_the_session(failure) || pg::may_succeed_later(failure))
        ReThrowError(failure);
    in->problem = {.code = "rejected",
                   .message =
                       psprintf("%s: %s", unpack_sql_state(failure->sqlerrcode), failure->message),
                   .field = {},
                   .value = {}};
    in->outcome = DeliveryOutcome::dead;
}

void record_resolution(const Intaking& in, const core::Uuid& id) {
    static constinit pg::Statement<void(core::Uuid, core::Uuid, std::string_view,
                                        std::optional<core::Uuid>)>
        update{R"sql(
        UPDATE attribution.dead_events
        SET retry_count = retry_count + 1, last_retry_at = now(), next_retry_at = NULL,
            resolved_at = now(), resolution = $3, resolved_by = session_user,
            resolved_event_id = $4
        WHERE tenant_id = $1 AND id = $2)sql"};
    update.run(in.tenant_id, id, outcome_name(in.outcome), in.event_id);
}

void record_failed_retry(const Intaking& in, const core::Uuid& id) {
    // Waits twice as long after each try, up to 1024 minutes.
    static constinit pg::Statement<void(core::Uuid, core::Uuid, std::string_view, pg::JsonbDatum,
                                        pg::OptionalText, pg::OptionalText)>
        update{R"sql(
        UPDATE attribution.dead_events
        SET error_code = $3, error_detail = $4, retry_count = retry_count + 1,
            last_retry_at = now(),
            next_retry_at = now() + interval '1 minute' * (2 ^ least(retry_count, 10)),
            external_event_id = coalesce(external_event_id, $5),
            correlation_id = coalesce(correlation_id, $6)
        WHERE tenant_id = $1 AND id = $2)sql"};
    update.run(in.tenant_id, id, in.problem.code, detail_of(in.problem),
               if_any(in.external_event_id), if_any(in.correlation_id));
}

struct RetryCounts {
    std::int64_t by_outcome[delivery_outcome_count];

    [[nodiscard]] std::int64_t of(DeliveryOutcome outcome) const {
        return by_outcome[static_cast<std::size_t>(outcome)];
    }
};

/// Retries the dead events of a round. Those whose original is not known yet are moved to the front
/// of `ids` instead of being counted, unless the round is the last one; their number is returned.
std::size_t retry_round(const core::Uuid& tenant_id, std::span<core::Uuid> ids, bool is_last,
                        RetryCounts* counts, MemoryContext event_memory) {
    std::size_t waiting = 0;
    for (const core::Uuid id : ids) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextReset(event_memory);
        Intaking in{};
        in.tenant_id = tenant_id;
        retry_surviving_errors(&in, id);
        const bool may_wait = !is_last && in.outcome == DeliveryOutcome::dead &&
                              in.problem.code == "unknown_original";
        if (may_wait) {
            ids[waiting++] = id;
            continue;
        }
        if (in.outcome == DeliveryOutcome::dead)
            record_failed_retry(in, id);
        else
            record_resolution(in, id);
        ++counts->by_outcome[static_cast<std::size_t>(in.outcome)];
    }
    return waiting;
}

/// Retries each dead event, and those whose original was not known again as long as something comes
/// in: an order may have died after its refund.
RetryCounts retry_all(const core::Uuid& tenant_id, std::span<core::Uuid> ids) {
    RetryCounts counts{};
    const MemoryContext event_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution retry", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(event_memory);
    for (bool is_last = false; !ids.empty();) {
        const std::int64_t ingested_before = counts.of(DeliveryOutcome::ingested);
        ids = ids.first(retry_round(tenant_id, ids, is_last, &counts, event_memory));
        is_last = counts.of(DeliveryOutcome::ingested) == ingested_before;
    }
    MemoryContextSwitchTo(before);
    MemoryContextDelete(event_memory);
    return counts;
}

// --- discarding and pruning ----------------------------------------------------------------------

std::int64_t discard_events(const core::Uuid& tenant_id, std::span<const core::Uuid> ids,
                            const pg::OptionalText& note) {
    static constinit pg::Statement<void(core::Uuid, std::span<const core::Uuid>, pg::OptionalText)>
        update{
            R"sql(
        UPDATE attribution.dead_events
        SET resolved_at = now(), resolution = 'discarded', resolved_by = session_user,
            resolution_note = $3, next_retry_at = NULL
        WHERE tenant_id = $1 AND id = ANY ($2))sql"};
    return static_cast<std::int64_t>(update.run(tenant_id, ids, note));
}

} // namespace

void store_dead_event(const Intaking& in) {
    static constinit pg::Statement<void(
        core::Uuid, std::string_view, std::string_view, pg::JsonbDatum, pg::JsonbDatum,
        pg::OptionalText, std::optional<pg::JsonbDatum>, pg::OptionalText, pg::OptionalText)>
        insert{R"sql(
        INSERT INTO attribution.dead_events (
            tenant_id, source, error_code, error_detail, raw_payload, topic, headers,
            external_event_id, correlation_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9))sql"};
    Assert(in.outcome == DeliveryOutcome::dead && !in.problem.code.empty());
    insert.run(in.tenant_id, in.source, in.problem.code, detail_of(in.problem),
               pg::JsonbDatum{in.payload.jsonb}, if_any(in.topic), in.headers,
               if_any(in.external_event_id), if_any(in.correlation_id));
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_retry_dead_events) {
    entry::require_tables();
    constexpr int max_rows = 10000;
    PreventCommandIfReadOnly("retry_dead_events()");
    const entry::Selection selection{
        .tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
        .source = pg::argument<pg::OptionalText>(fcinfo, 1, "source"),
        .error_code = pg::argument<pg::OptionalText>(fcinfo, 2, "error_code"),
        .limit_rows =
            pg::argument<std::optional<std::int32_t>>(fcinfo, 3, "limit_rows").value_or(0),
        .ingested_from = pg::argument<pg::OptionalTime>(fcinfo, 4, "ingested_from"),
        .ingested_to = pg::argument<pg::OptionalTime>(fcinfo, 5, "ingested_to"),
        .ignore_backoff =
            pg::argument<std::optional<bool>>(fcinfo, 6, "ignore_backoff").value_or(false)};
    if (selection.limit_rows < 1 || selection.limit_rows > max_rows)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("limit_rows must be between 1 and %d", max_rows)));
    entry::check_tenant(selection.tenant_id);
    SPI_connect();
    const std::span<core::Uuid> ids = entry::lock_dead_events(selection);
    const entry::RetryCounts counts = entry::retry_all(selection.tenant_id, ids);
    SPI_finish();
    return pg::row_result(fcinfo, counts.of(entry::DeliveryOutcome::ingested),
                          counts.of(entry::DeliveryOutcome::duplicate),
                          counts.of(entry::DeliveryOutcome::ignored),
                          counts.of(entry::DeliveryOutcome::dead));
}

ATTRIBUTION_FUNCTION(attribution_discard_dead_events) {
    entry::require_tables();
    PreventCommandIfReadOnly("discard_dead_events()");
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto limit = pg::argument<std::optional<std::int32_t>>(fcinfo, 3, "limit_rows");
    if (!tenant_id) // nobody's events
        PG_RETURN_INT64(0);
    const entry::Selection selection{
        .tenant_id = *tenant_id,
        .source = pg::argument<pg::OptionalText>(fcinfo, 1, "source"),
        .error_code = pg::argument<pg::OptionalText>(fcinfo, 2, "error_code"),
        .limit_rows = std::max(limit.value_or(0), 0),
        .ingested_from = pg::argument<pg::OptionalTime>(fcinfo, 4, "ingested_from"),
        .ingested_to = pg::argument<pg::OptionalTime>(fcinfo, 5, "ingested_to"),
        .ignore_backoff = true};
    const auto note = pg::argument<pg::OptionalText>(fcinfo, 6, "note");
    entry::check_tenant(selection.tenant_id);
    SPI_connect();
    const std::span<core::Uuid> ids = entry::lock_dead_events(selection);
    const std::int64_t discarded = entry::discard_events(selection.tenant_id, ids, note);
    SPI_finish();
    PG_RETURN_INT64(discarded);
}

ATTRIBUTION_FUNCTION(attribution_prune_dead_events) {
    entry::require_tables();
    // Planned for each call, like the query of a user: how much is deleted differs widely.
    pg::Statement<void(std::optional<pg::IntervalDatum>, std::optional<bool>)> prune(
        R"sql(
        DELETE FROM attribution.dead_events d
        WHERE coalesce(d.resolved_at, d.ingested_at) < now() - $1
          AND (d.resolved_at IS NOT NULL OR $2))sql",
        pg::Plan::once);
    PreventCommandIfReadOnly("prune_dead_events()");
    const auto older_than = pg::argument<std::optional<pg::IntervalDatum>>(fcinfo, 0, "older_than");
    const auto include_unresolved =
        pg::argument<std::optional<bool>>(fcinfo, 1, "include_unresolved");
    SPI_connect();
    const std::uint64_t deleted = prune.run(older_than, include_unresolved);
    SPI_finish();
    PG_RETURN_INT64(static_cast<std::int64_t>(deleted));
}
