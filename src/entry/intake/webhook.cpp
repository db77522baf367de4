// webhook: deliveries of providers become events; those that cannot be read or ingested become dead
// events.

#include "entry/intake/dead_event.hpp"
#include "entry/intake/intaking.hpp"
#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/call.hpp"

namespace attribution::entry {
namespace {

/// The arguments that the functions have in common.
Intaking read_arguments(FunctionCallInfo fcinfo, const char* message_name) {
    Intaking in{};
    in.tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    in.source = pg::argument<std::string_view>(fcinfo, 1, "source");
    if (PG_ARGISNULL(3))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not be null", message_name)));
    pg::check_text(PG_GETARG_DATUM(1), "source");
    if (!PG_ARGISNULL(2)) {
        pg::check_text(PG_GETARG_DATUM(2), "topic");
        in.topic = pg::argument<std::string_view>(fcinfo, 2, "topic");
    }
    const auto headers = pg::argument<std::optional<pg::JsonbDatum>>(fcinfo, 4, "headers");
    if (headers)
        in.headers = redacted(*headers);
    return in;
}

/// Ingests the delivery, or stores it as a dead event; its result is a row.
Datum finish(FunctionCallInfo fcinfo, Intaking* in) {
    SPI_connect();
    if (in->outcome == DeliveryOutcome::dead)
        check_tenant_exists(in->tenant_id);
    else
        ingest_delivery(in);
    if (in->outcome == DeliveryOutcome::dead)
        store_dead_event(*in);
    SPI_finish();
    return pg::row_result(fcinfo, in->event_id, outcome_name(in->outcome));
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_ingest_webhook) {
    entry::require_tables();
    PreventCommandIfReadOnly("ingest_webhook()");
    entry::Intaking in = entry::read_arguments(fcinfo, "payload");
    in.payload = entry::redacted_message(PG_GETARG_DATUM(3));
    return entry::finish(fcinfo, &in);
}

ATTRIBUTION_FUNCTION(attribution_ingest_webhook_text) {
    entry::require_tables();
    PreventCommandIfReadOnly("ingest_webhook_text()");
    entry::Intaking in = entry::read_arguments(fcinfo, "body");
    entry::set_body(&in, pg::text_of(PG_GETARG_DATUM(3)));
    return entry::finish(fcinfo, &in);
}
