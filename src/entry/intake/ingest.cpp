// ingest: an event comes in once, and a refund only up to what is left of its conversion.

#include "entry/intake/ingest.hpp"

#include "entry/check/validate.hpp"
#include "entry/intake/redact.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

// --- arguments -----------------------------------------------------------------------------------

[[noreturn]] void raise_invalid(const char* message, const char* detail, const char* hint) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
                    errdetail("%s", detail), errhint("%s", hint)));
    pg_unreachable();
}

void check_revenue(const NewEvent& event) {
    const std::string_view type = event.event_type;
    const core::Cents cents = event.revenue_cents;
    const char* detail = psprintf("revenue_cents is " INT64_FORMAT ".", cents);
    if (type == "touch") {
        if (cents != 0)
            raise_invalid("a touch cannot have revenue", detail, "Leave revenue_cents out.");
        if (!event.channel)
            raise_invalid("a touch must have a channel", "channel is null.",
                          "Pass the channel it came through.");
    } else if (type == "conversion") {
        if (cents <= 0)
            raise_invalid("the revenue of a conversion must be positive", detail,
                          "Money that goes back is a refund.");
    } else if (type == "refund") {
        if (cents >= 0)
            raise_invalid("the revenue of a refund must be negative", detail,
                          "Pass the refunded amount with a minus sign.");
    } else {
        raise_invalid(
            "unknown event type",
            psprintf("event_type is \"%.*s\".", static_cast<int>(type.size()), type.data()),
            "The type is one of touch, conversion, refund.");
    }
    if ((type == "refund") != event.refund_of.has_value())
        raise_invalid(event.refund_of ? "only a refund can name a refunded conversion"
                                      : "a refund must name the refunded conversion",
                      event.refund_of ? "refund_of is given." : "refund_of is null.",
                      event.refund_of ? "Leave refund_of out, or ingest the event as a refund."
                                      : "Pass the id of the refunded conversion as refund_of.");
}

/// pg::OptionalText argument `number`, which has 1 to 255 bytes where it is not null.
std::optional<std::string_view> text_argument(FunctionCallInfo fcinfo, int number,
                                              const char* name) {
    const auto text = pg::argument<std::optional<std::string_view>>(fcinfo, number, name);
    if (text && text->empty())
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", name),
                 errhint("Pass null where there is none.")));
    if (text)
        pg::check_text(PG_GETARG_DATUM(number), name);
    return text;
}

NewEvent read_event(FunctionCallInfo fcinfo) {
    NewEvent event{.tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id"),
                   .source = pg::argument<std::string_view>(fcinfo, 1, "source"),
                   .event_type = pg::argument<std::string_view>(fcinfo, 2, "event_type"),
                   .occurred_at = pg::argument<pg::Timestamptz>(fcinfo, 3, "occurred_at")};
    pg::check_text(PG_GETARG_DATUM(1), "source");
    event.revenue_cents =
        pg::argument<std::optional<core::Cents>>(fcinfo, 4, "revenue_cents").value_or(0);
    event.external_event_id = text_argument(fcinfo, 5, "external_event_id");
    event.correlation_id = text_argument(fcinfo, 6, "correlation_id");
    event.session_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 7, "session_id");
    event.channel = text_argument(fcinfo, 8, "channel");
    event.refund_of = pg::argument<std::optional<core::Uuid>>(fcinfo, 9, "refund_of");
    check_revenue(event);

    const TimestampTz time = event.occurred_at.value;
    if (TIMESTAMP_NOT_FINITE(time) || pg::unix_milliseconds(time) < 0)
        raise_invalid("occurred_at is out of range",
                      psprintf("occurred_at is %s.", timestamptz_to_str(time)),
                      "The time must be finite and not before 1970.");
    const auto payload = pg::argument<std::optional<pg::JsonbDatum>>(fcinfo, 10, "raw_payload");
    if (payload)
        event.raw_payload = redacted(*payload);
    return event;
}

void check_refunded_conversion(const NewEvent& event) {
    static constinit pg::Statement<std::string_view(core::Uuid, core::Uuid)> find{
        R"sql(
        SELECT event_type FROM attribution.attribution_events WHERE tenant_id = $1 AND id = $2)sql",
        pg::Plan::chosen};
    if (!event.refund_of)
        return;
    const auto type = find.run(event.tenant_id, *event.refund_of).first();
    const char* id = pg::uuid_text(*event.refund_of);
    if (!type)
        raise_invalid("the refunded conversion does not exist",
                      psprintf("Tenant %s has no event %s.", pg::uuid_text(event.tenant_id), id),
                      "Ingest the conversion first.");
    if (*type != "conversion")
        raise_invalid(
            "only a conversion can be refunded",
            psprintf("Event %s is a %.*s.", id, static_cast<int>(type->size()), type->data()),
            "Pass the id of the conversion as refund_of.");
}

// --- events that are stored ----------------------------------------------------------------------

/// The id that the key of an event gives it; none without a key.
std::optional<core::Uuid> keyed_id(const NewEvent& event) {
    if (!event.external_event_id && !event.correlation_id)
        return std::nullopt;
    const core::BusinessKeyKind kind = event.external_event_id
                                           ? core::BusinessKeyKind::external_event_id
                                           : core::BusinessKeyKind::correlation_id;
    const std::string_view key =
        event.external_event_id.value_or(event.correlation_id.value_or(std::string_view()));
    core::Uuid id;
    pg::guarded([&] { id = core::keyed_event_id(event.tenant_id, kind, key); });
    return id;
}

/// Inserts the event and returns its id; none when an event with its key or id exists. An event
/// without a key gets an id of version 7.
std::optional<core::Uuid> insert_event(const NewEvent& event, const std::optional<core::Uuid>& id) {
    using Id = std::optional<core::Uuid>;
    static constinit pg::Statement<core::Uuid(core::Uuid, std::string_view, std::string_view,
                                              pg::Timestamptz, core::Cents, pg::OptionalText,
                                              pg::OptionalText, Id, pg::OptionalText, Id,
                                              std::optional<pg::JsonbDatum>, Id)>
        insert{R"sql(
        INSERT INTO attribution.attribution_events (
            tenant_id, source, event_type, occurred_at, revenue_cents, external_event_id,
            correlation_id, session_id, channel, refund_of, raw_payload, id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12, attribution.uuid_v7()))
        ON CONFLICT DO NOTHING
        RETURNING id)sql"};
    return insert
        .run(event.tenant_id, event.source, event.event_type, event.occurred_at,
             event.revenue_cents, event.external_event_id, event.correlation_id, event.session_id,
             event.channel, event.refund_of, event.raw_payload, id)
        .first();
}

/// The event with this id, which was computed from a key. Its key may be another one now, because
/// somebody has updated it.
std::optional<StoredEvent> find_by_id(const core::Uuid& tenant_id, const core::Uuid& id) {
    static constinit pg::Statement<StoredEvent(core::Uuid, core::Uuid)> find{R"sql(
        SELECT id, event_type, revenue_cents, refund_of
        FROM attribution.attribution_events
        WHERE tenant_id = $1 AND id = $2)sql"};
    return find.run(tenant_id, id).first();
}

/// The stored event that has the key of the event, or its id.
std::optional<StoredEvent> find_stored_event(const NewEvent& event,
                                             const std::optional<core::Uuid>& id) {
    if (!id)
        return std::nullopt;
    const std::optional<StoredEvent> stored =
        event.external_event_id ? find_by_external_id(event.tenant_id, *event.external_event_id)
                                : find_by_correlation_id(event.tenant_id, *event.correlation_id);
    return stored ? stored : find_by_id(event.tenant_id, *id);
}

bool has_same_content(const NewEvent& event, const StoredEvent& stored) {
    return stored.event_type == event.event_type && stored.revenue_cents == event.revenue_cents &&
           stored.refund_of == event.refund_of;
}

/// What is left of the conversion, in cents, when that is less than the refund takes; none when it
/// is enough. The conversion is locked.
std::optional<core::Cents> find_shortage(const NewEvent& refund) {
    static constinit pg::Statement<std::tuple<core::Cents, bool>(core::Uuid, core::Uuid,
                                                                 core::Cents)>
        find{R"sql(
        SELECT least(l.cents, 9223372036854775807)::bigint, l.cents + $3 >= 0
        FROM (SELECT c.revenue_cents + coalesce((
                         SELECT sum(r.revenue_cents) FROM attribution.attribution_events r
                         WHERE r.tenant_id = $1 AND r.refund_of = $2), 0) AS cents
              FROM attribution.attribution_events c
              WHERE c.tenant_id = $1 AND c.id = $2) l)sql"};
    const auto row =
        find.run_latest(refund.tenant_id, *refund.refund_of, refund.revenue_cents).first();
    if (!row) // there is no such conversion: the foreign key of the refund raises the error
        return std::nullopt;
    const auto [left, is_enough] = *row;
    return is_enough ? std::nullopt : std::optional(left);
}

[[noreturn]] void raise_content_changed(const NewEvent& event, const StoredEvent& stored) {
    const std::string_view key =
        event.external_event_id.value_or(event.correlation_id.value_or(std::string_view()));
    const auto of = [](const std::optional<core::Uuid>& conversion) {
        return conversion ? psprintf(" of %s", pg::uuid_text(*conversion)) : "";
    };
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("event \"%.*s\" already exists with other content",
                    static_cast<int>(key.size()), key.data()),
             errdetail("Stored is event %s, a %.*s%s of " INT64_FORMAT
                       " cents; given is a %.*s%s of " INT64_FORMAT " cents.",
                       pg::uuid_text(stored.id), static_cast<int>(stored.event_type.size()),
                       stored.event_type.data(), of(stored.refund_of), stored.revenue_cents,
                       static_cast<int>(event.event_type.size()), event.event_type.data(),
                       of(event.refund_of), event.revenue_cents),
             errhint("Ingest a change of the amount as a refund, or as an event with another key."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_events"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "event_content_is_unchanged")));
    pg_unreachable();
}

} // namespace

std::optional<StoredEvent> find_by_external_id(const core::Uuid& tenant_id, std::string_view key) {
    static constinit pg::Statement<StoredEvent(core::Uuid, std::string_view)> find{R"sql(
        SELECT id, event_type, revenue_cents, refund_of
        FROM attribution.attribution_events
        WHERE tenant_id = $1 AND external_event_id = $2)sql"};
    return find.run(tenant_id, key).first();
}

std::optional<StoredEvent> find_by_correlation_id(const core::Uuid& tenant_id,
                                                  std::string_view key) {
    static constinit pg::Statement<StoredEvent(core::Uuid, std::string_view)> find{R"sql(
        SELECT id, event_type, revenue_cents, refund_of
        FROM attribution.attribution_events
        WHERE tenant_id = $1 AND correlation_id = $2 AND external_event_id IS NULL)sql"};
    return find.run(tenant_id, key).first();
}

IngestResult ingest(const NewEvent& event, OverRefund over_refund) {
    Assert((event.event_type == "refund") == event.refund_of.has_value());
    IngestResult result{};
    const std::optional<core::Uuid> id = keyed_id(event);
    if (event.refund_of) {
        lock_conversion(event.tenant_id, *event.refund_of);
        // A refund that is stored already takes nothing more.
        if (over_refund == OverRefund::returned && !find_stored_event(event, id)) {
            if (const auto left = find_shortage(event)) {
                result.outcome = IngestOutcome::over_refund;
                result.refundable_cents = *left;
                return result;
            }
        }
    }
    // When the insert meets an event of the same key or id, and that event is not found afterwards,
    // it was deleted in between: the insert is tried again.
    constexpr int max_tries = 10;
    for (int tries = 0; tries < max_tries; ++tries) {
        if (const std::optional<core::Uuid> inserted = insert_event(event, id)) {
            result.outcome = IngestOutcome::ingested;
            result.event.id = *inserted;
            if (event.refund_of)
                check_refunds(event.tenant_id, *event.refund_of);
            return result;
        }
        if (const std::optional<StoredEvent> stored = find_stored_event(event, id)) {
            result.event = *stored;
            result.outcome = has_same_content(event, *stored) ? IngestOutcome::duplicate
                                                              : IngestOutcome::content_changed;
            return result;
        }
        CHECK_FOR_INTERRUPTS();
    }
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                    errmsg("could not serialize access due to concurrent deletes of an event with "
                           "the same key"),
                    errdetail("The event was not stored in %d tries.", max_tries),
                    errhint("The transaction might succeed if retried.")));
    pg_unreachable();
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_ingest_event) {
    entry::require_tables();
    PreventCommandIfReadOnly("ingest_event()");
    const entry::NewEvent event = entry::read_event(fcinfo);
    SPI_connect();
    entry::check_refunded_conversion(event);
    const entry::IngestResult result = entry::ingest(event, entry::OverRefund::raised);
    if (result.outcome == entry::IngestOutcome::content_changed)
        entry::raise_content_changed(event, result.event);
    SPI_finish();
    const std::string_view outcome =
        result.outcome == entry::IngestOutcome::ingested ? "ingested" : "duplicate";
    return pg::row_result(fcinfo, result.event.id, outcome);
}
