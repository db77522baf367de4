// ingest: an event comes in once, and a refund only up to what is left of its conversion.

#include "entry/intake/ingest.hpp"

#include <array>
#include <cstring>
#include <string_view>

#include "entry/intake/redact.hpp"
#include "entry/check/validate.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"

namespace attribution::entry {
namespace {

constexpr auto tenant_id = NewEvent::tenant_id;
constexpr auto source = NewEvent::source;
constexpr auto event_type = NewEvent::event_type;
constexpr auto occurred_at = NewEvent::occurred_at;
constexpr auto revenue_cents = NewEvent::revenue_cents;
constexpr auto external_event_id = NewEvent::external_event_id;
constexpr auto correlation_id = NewEvent::correlation_id;
constexpr auto channel = NewEvent::channel;
constexpr auto refund_of = NewEvent::refund_of;
constexpr auto raw_payload = NewEvent::raw_payload;
constexpr auto argument_count = NewEvent::argument_count;

constexpr std::array argument_names = {"tenant_id",      "source",        "event_type",
                                       "occurred_at",    "revenue_cents", "external_event_id",
                                       "correlation_id", "session_id",    "channel",
                                       "refund_of",      "raw_payload"};

[[noreturn]] void raise_bad(const char* message, const char* detail, const char* hint) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
                    errdetail("%s", detail), errhint("%s", hint)));
    pg_unreachable();
}

void check_revenue(const NewEvent& event) {
    const std::string_view type = event.text(event_type);
    const int64 cents = DatumGetInt64(event.values[revenue_cents]);
    const char* detail = psprintf("revenue_cents is " INT64_FORMAT ".", cents);
    if (type == "touch") {
        if (cents != 0)
            raise_bad("a touch has no revenue", detail, "Leave revenue_cents out.");
        if (!event.has(channel))
            raise_bad("a touch needs a channel", "channel is null.",
                      "Pass the channel it came through.");
    } else if (type == "conversion") {
        if (cents <= 0)
            raise_bad("the revenue of a conversion must be positive", detail,
                      "Money that goes back is a refund.");
    } else if (type == "refund") {
        if (cents >= 0)
            raise_bad("the revenue of a refund must be negative", detail,
                      "Pass the refunded amount with a minus sign.");
    } else {
        raise_bad("unknown event type",
                  psprintf("event_type is \"%.*s\".", static_cast<int>(type.size()), type.data()),
                  "It is one of touch, conversion, refund.");
    }
    if ((type == "refund") != event.has(refund_of))
        raise_bad("a refund, and only a refund, names a conversion",
                  event.has(refund_of) ? "refund_of is given." : "refund_of is null.",
                  event.has(refund_of) ? "Leave refund_of out, or ingest the event as a refund."
                                       : "Pass the id of the refunded conversion as refund_of.");
}

NewEvent read_event(FunctionCallInfo fcinfo) {
    NewEvent event{};
    for (int i = 0; i < argument_count; ++i) {
        event.values[i] = PG_ARGISNULL(i) ? Datum{0} : PG_GETARG_DATUM(i);
        event.nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
    }
    for (const NewEvent::Argument required : {tenant_id, source, event_type, occurred_at})
        if (!event.has(required))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", argument_names[required])));
    for (const NewEvent::Argument text : {source, external_event_id, correlation_id, channel}) {
        if (!event.has(text))
            continue;
        const std::size_t length = event.text(text).size();
        if (length == 0)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("%s must not be empty", argument_names[text]),
                            text == source ? 0 : errhint("Pass null where there is none.")));
        if (length > pg::max_text_bytes)
            ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                            errmsg("%s is too long", argument_names[text]),
                            errdetail("It has %zu bytes, at most %zu are allowed.", length,
                                      pg::max_text_bytes)));
    }
    if (!event.has(revenue_cents)) {
        event.values[revenue_cents] = Int64GetDatum(0);
        event.nulls[revenue_cents] = ' ';
    }
    check_revenue(event);

    const TimestampTz time = DatumGetTimestampTz(event.values[occurred_at]);
    if (TIMESTAMP_NOT_FINITE(time) || pg::unix_milliseconds(time) < 0)
        raise_bad("occurred_at is out of range",
                  psprintf("occurred_at is %s.", timestamptz_to_str(time)),
                  "It must be finite and not before 1970.");
    if (event.has(raw_payload))
        event.values[raw_payload] = redacted(event.values[raw_payload]);
    return event;
}

/// The deterministic id of a keyed event; without a key the insert draws one.
void set_id(NewEvent* event) {
    event->nulls[argument_count] = 'n';
    if (!event->has(external_event_id) && !event->has(correlation_id))
        return;
    const bool external = event->has(external_event_id);
    const core::Uuid tenant = pg::uuid_of(event->values[tenant_id]);
    const std::string_view key = event->text(external ? external_event_id : correlation_id);
    core::Uuid id;
    pg::guarded([&] {
        id = core::keyed_event_id(tenant,
                                  external ? core::BusinessKeyKind::external_event_id
                                           : core::BusinessKeyKind::correlation_id,
                                  key);
    });
    event->values[argument_count] = pg::uuid_datum(id);
    event->nulls[argument_count] = ' ';
}

void check_refunded_conversion(const NewEvent& event) {
    static constinit pg::Query find = {.sql =
                                           "SELECT event_type FROM attribution.attribution_events "
                                           "WHERE tenant_id = $1 AND id = $2",
                                       .parameter_count = 2,
                                       .parameter_types = {UUIDOID, UUIDOID},
                                       .cursor_options = 0,
                                       .plan = nullptr};
    if (!event.has(refund_of))
        return;
    Datum values[] = {event.values[tenant_id], event.values[refund_of]};
    pg::run(find, values);
    const char* id = pg::uuid_text(event.values[refund_of]);
    bool isnull;
    if (SPI_processed == 0)
        raise_bad(
            "the refunded conversion does not exist",
            psprintf("Tenant %s has no event %s.", pg::uuid_text(event.values[tenant_id]), id),
            "Ingest the conversion first.");
    const std::string_view type = pg::text_of(pg::result_value(0, 1, &isnull));
    if (type != "conversion")
        raise_bad("only a conversion can be refunded",
                  psprintf("Event %s is a %.*s.", id, static_cast<int>(type.size()), type.data()),
                  "Pass the id of the conversion as refund_of.");
}

/// The id of the new event, 0 when the key exists.
Datum insert_event(NewEvent* event) {
    static constinit pg::Query insert = {
        .sql =
            "INSERT INTO attribution.attribution_events (tenant_id, source, event_type, "
            "occurred_at, revenue_cents, external_event_id, correlation_id, session_id, channel, "
            "refund_of, raw_payload, id) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
            "coalesce($12, attribution.uuid_v7())) "
            "ON CONFLICT DO NOTHING RETURNING id",
        .parameter_count = 12,
        .parameter_types = {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID,
                            UUIDOID, TEXTOID, UUIDOID, JSONBOID, UUIDOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    pg::run(insert, event->values, event->nulls);
    bool isnull;
    return SPI_processed == 0 ? Datum{0} : pg::result_value(0, 1, &isnull);
}

/// The event in the last result.
bool read_known(Known* known) {
    if (SPI_processed == 0)
        return false;
    bool isnull;
    known->id = *DatumGetUUIDP(pg::result_value(0, 1, &isnull));
    known->event_type = pg::text_of(pg::result_value(0, 2, &isnull));
    known->revenue_cents = DatumGetInt64(pg::result_value(0, 3, &isnull));
    const Datum refund_of_value = pg::result_value(0, 4, &isnull);
    known->is_refund = !isnull;
    known->refund_of = isnull ? pg_uuid_t{} : *DatumGetUUIDP(refund_of_value);
    return true;
}

#define FIND_EVENT(condition, key_type)                                                            \
    {                                                                                              \
        .sql = "SELECT id, event_type, revenue_cents, refund_of "                                  \
               "FROM attribution.attribution_events WHERE tenant_id = $1 AND " condition,          \
        .parameter_count = 2, .parameter_types = {UUIDOID, key_type},                              \
        .cursor_options = CURSOR_OPT_GENERIC_PLAN, .plan = nullptr                                 \
    }

/// The event that has the id of the key: its own key may have been changed since.
bool find_by_id(const NewEvent& event, Known* known) {
    static constinit pg::Query by_id = FIND_EVENT("id = $2", UUIDOID);
    Datum values[] = {event.values[tenant_id], event.values[argument_count]};
    pg::run(by_id, values);
    return read_known(known);
}

bool find_known(const NewEvent& event, Known* known) {
    if (event.nulls[argument_count] == 'n')
        return false; // no key
    const bool external = event.has(external_event_id);
    return find_by_key(event.values[tenant_id],
                       external ? &event.values[external_event_id] : nullptr,
                       external ? nullptr : &event.values[correlation_id], known) ||
           find_by_id(event, known);
}

bool same_content(const NewEvent& event, const Known& known) {
    return known.event_type == event.text(event_type) &&
           known.revenue_cents == DatumGetInt64(event.values[revenue_cents]) &&
           known.is_refund == event.has(refund_of) &&
           (!known.is_refund ||
            memcmp(&known.refund_of, DatumGetUUIDP(event.values[refund_of]), UUID_LEN) == 0);
}

/// What is left of a locked conversion, and false when that is less than the refund takes.
bool leaves_enough(const NewEvent& event, core::Cents* left) {
    static constinit pg::Query find = {
        .sql = "SELECT least(l.cents, 9223372036854775807)::bigint, l.cents + $3 >= 0 "
               "FROM (SELECT c.revenue_cents + coalesce((SELECT sum(r.revenue_cents) "
               "FROM attribution.attribution_events r "
               "WHERE r.tenant_id = $1 AND r.refund_of = $2), 0) AS cents "
               "FROM attribution.attribution_events c WHERE c.tenant_id = $1 AND c.id = $2) l",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, INT8OID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {event.values[tenant_id], event.values[refund_of],
                      event.values[revenue_cents]};
    pg::run_latest(find, values);
    if (SPI_processed == 0)
        return true; // the insert says what is wrong
    bool isnull;
    *left = DatumGetInt64(pg::result_value(0, 1, &isnull));
    return DatumGetBool(pg::result_value(0, 2, &isnull));
}

[[noreturn]] void raise_content_changed(const NewEvent& event, const Known& known) {
    const std::string_view type = event.text(event_type);
    const std::string_view key =
        event.text(event.has(external_event_id) ? external_event_id : correlation_id);
    const char* known_of =
        known.is_refund ? psprintf(" of %s", pg::uuid_text(UUIDPGetDatum(&known.refund_of))) : "";
    const char* given_of =
        event.has(refund_of) ? psprintf(" of %s", pg::uuid_text(event.values[refund_of])) : "";
    ereport(ERROR,
            (errcode(ERRCODE_UNIQUE_VIOLATION),
             errmsg("event \"%.*s\" is already known with other content",
                    static_cast<int>(key.size()), key.data()),
             errdetail("Stored is event %s, a %.*s%s of " INT64_FORMAT
                       " cents; given is a %.*s%s of " INT64_FORMAT " cents.",
                       pg::uuid_text(UUIDPGetDatum(&known.id)),
                       static_cast<int>(known.event_type.size()), known.event_type.data(), known_of,
                       known.revenue_cents, static_cast<int>(type.size()), type.data(), given_of,
                       DatumGetInt64(event.values[revenue_cents])),
             errhint("A change of the amount is a refund or another event with its own key."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_events"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, "event_content_is_unchanged")));
    pg_unreachable();
}

} // namespace

bool find_by_key(Datum tenant, const Datum* external, const Datum* correlation, Known* known) {
    static constinit pg::Query by_external_event_id = FIND_EVENT("external_event_id = $2", TEXTOID);
    static constinit pg::Query by_correlation_id =
        FIND_EVENT("correlation_id = $2 AND external_event_id IS NULL", TEXTOID);
    Datum values[] = {tenant, external != nullptr ? *external : *correlation};
    pg::run(external != nullptr ? by_external_event_id : by_correlation_id, values);
    return read_known(known);
}

IntakeResult take_in(NewEvent* event, OverRefund over_refund, Oid own_function) {
    IntakeResult result{};
    const bool is_refund = event->has(refund_of);
    const Oid events = get_relname_relid("attribution_events", get_func_namespace(own_function));
    set_id(event);
    if (is_refund) {
        // Refunds of a conversion come one after another. One that is known takes nothing.
        lock_conversion(events, own_function, event->values[tenant_id], event->values[refund_of]);
        if (over_refund == OverRefund::is_told && !find_known(*event, &result.event) &&
            !leaves_enough(*event, &result.left_to_take)) {
            result.intake = Intake::over_refund;
            return result;
        }
    }
    // A row that was in the way and is gone by now was deleted in between: try again.
    for (int tries = 1;; ++tries) {
        const Datum id = insert_event(event);
        if (id != 0) {
            result.intake = Intake::ingested;
            result.event.id = *DatumGetUUIDP(id);
            if (is_refund)
                check_refunds(events, own_function, event->values[tenant_id],
                              event->values[refund_of]);
            return result;
        }
        if (find_known(*event, &result.event)) {
            result.intake =
                same_content(*event, result.event) ? Intake::duplicate : Intake::content_changed;
            return result;
        }
        CHECK_FOR_INTERRUPTS();
        if (tries == 10)
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not ingest: an event with the same key comes and goes"),
                            errhint("The transaction might succeed if retried.")));
    }
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_ingest_event) {
    PreventCommandIfReadOnly("ingest_event()");
    const Oid own_function = fcinfo->flinfo->fn_oid;
    entry::NewEvent event = entry::read_event(fcinfo);

    SPI_connect();
    entry::check_refunded_conversion(event);
    const entry::IntakeResult result =
        entry::take_in(&event, entry::OverRefund::is_raised, own_function);
    if (result.intake == entry::Intake::content_changed)
        entry::raise_content_changed(event, result.event);
    const core::Uuid event_id = pg::uuid_of(UUIDPGetDatum(&result.event.id));
    SPI_finish();

    TupleDesc columns;
    get_call_result_type(fcinfo, nullptr, &columns);
    Datum values[] = {
        pg::uuid_datum(event_id),
        CStringGetTextDatum(result.intake == entry::Intake::ingested ? "ingested" : "duplicate")};
    bool nulls[] = {false, false};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
