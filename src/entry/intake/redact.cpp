// redact: personal data is removed before anything is stored, and from what is stored.
//
// The one idea: keys that hold names and addresses are removed, wherever they stand in a message.
// The readers of webhooks use none of these keys, so a message that was stored can be read again.

#include "entry/intake/redact.hpp"

#include <algorithm>
#include <array>

#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {

char* redacted_keys_setting = nullptr;

// Keys that Shopify, Stripe, PayPal and WooCommerce use for personal data, and usual other names of
// such keys.
const char* const default_redacted_keys =
    "email,email_address,contact_email,customer_email,receipt_email,billing_email,payer_email,"
    "phone,phone_number,mobile,telephone,"
    "first_name,last_name,full_name,given_name,family_name,surname,middle_name,nickname,"
    "customer,customer_name,customer_note,customer_details,customer_ip_address,customer_user_agent,"
    "customer_locale,customer_address,customer_phone,customer_shipping,customer_tax_ids,buyer,"
    "payer,payer_info,subscriber,"
    "billing,billing_address,billing_details,shipping,shipping_address,shipping_details,"
    "default_address,address,addresses,address1,address2,address_1,address_2,address_line_1,"
    "address_line_2,street,"
    "client_details,browser_ip,ip,ip_address,remote_addr,user_agent,x_forwarded_for,"
    "wc_order_attribution_user_agent,"
    "card,credit_card_name,credit_card_number,payment_details,payment_method_details,iban,"
    "date_of_birth,birth_date,tax_id,passport,ssn,"
    "note,order_status_url,cookie,authorization,password";

namespace {

constexpr std::size_t max_redacted_keys = 512;
std::array<std::uint64_t, max_redacted_keys> hashes; // sorted
std::size_t hash_count = 0;

/// Calls visit(name) for each name in a list with commas; blanks around names do not count.
template <class Visit>
void each_name(std::string_view list, Visit visit) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        std::string_view name = list.substr(0, comma);
        list.remove_prefix(std::min(comma + 1, list.size()));
        while (!name.empty() && (name.front() == ' ' || name.front() == '\n'))
            name.remove_prefix(1);
        while (!name.empty() && (name.back() == ' ' || name.back() == '\n'))
            name.remove_suffix(1);
        if (!name.empty())
            visit(name);
    }
}

core::KeySet listed_keys() {
    return {{hashes.data(), hash_count}};
}

} // namespace

bool check_redacted_keys(char** value, void**, GucSource) {
    std::size_t count = 0;
    each_name(*value == nullptr ? "" : *value, [&](std::string_view) { ++count; });
    if (count <= max_redacted_keys)
        return true;
    GUC_check_errdetail("%zu keys are listed, at most %zu are allowed.", count, max_redacted_keys);
    return false;
}

void assign_redacted_keys(const char* value, void*) {
    hash_count = 0;
    each_name(value == nullptr ? "" : value, [&](std::string_view name) {
        Assert(hash_count < max_redacted_keys); // check_redacted_keys()
        if (hash_count < max_redacted_keys)
            hashes[hash_count++] = core::key_hash(name);
    });
    std::sort(hashes.begin(), hashes.begin() + hash_count);
}

Message redacted_message(Datum jsonb) {
    Message message{.jsonb = jsonb, .document = pg::json_structure(jsonb)};
    if (hash_count == 0)
        return message;
    const std::span<char> rest(
        static_cast<char*>(palloc_extended(message.document.bytes, MCXT_ALLOC_HUGE)),
        message.document.bytes);
    if (core::redact(message.document.nodes, listed_keys(), rest))
        message.jsonb = pg::jsonb_of(message.document, message.document.root());
    return message;
}

pg::JsonbDatum redacted(pg::JsonbDatum jsonb) {
    return hash_count == 0 ? jsonb : pg::JsonbDatum{redacted_message(jsonb.datum).jsonb};
}

std::string_view redacted_text(std::string_view text) {
    if (hash_count == 0)
        return text;
    return core::redact_text(text, listed_keys(), pg::make_span<char>(text.size()));
}

namespace {

constexpr const char* erase_sql = R"sql(
    WITH wanted AS MATERIALIZED (
        SELECT $1 AS tenant_id, coalesce($2, '{}') AS session_ids, coalesce($3, '{}') AS keys,
               nullif($4, '') AS containing),
    matched AS MATERIALIZED (
        SELECT e.tenant_id, e.id, e.session_id, e.refund_of
        FROM wanted w JOIN attribution.attribution_events e ON e.tenant_id = w.tenant_id
        WHERE e.session_id = ANY (w.session_ids)
           OR e.external_event_id = ANY (w.keys) OR e.correlation_id = ANY (w.keys)
           OR strpos(lower(e.raw_payload::text), lower(w.containing)) > 0),
    -- With the conversion of a refund, the rest of the journey, and the refunds of its
    -- conversions.
    conversions AS MATERIALIZED (
        SELECT m.tenant_id, m.id, m.session_id FROM matched m
        UNION
        SELECT e.tenant_id, e.id, e.session_id
        FROM matched m
        JOIN attribution.attribution_events e
            ON e.tenant_id = m.tenant_id AND e.id = m.refund_of),
    journeys AS MATERIALIZED (
        SELECT c.tenant_id, c.id FROM conversions c
        UNION
        SELECT e.tenant_id, e.id
        FROM conversions c
        JOIN attribution.attribution_events e
            ON e.session_id = c.session_id AND e.tenant_id = c.tenant_id),
    family AS MATERIALIZED (
        SELECT j.tenant_id, j.id FROM journeys j
        UNION
        SELECT e.tenant_id, e.id
        FROM journeys j
        JOIN attribution.attribution_events e
            ON e.tenant_id = j.tenant_id AND e.refund_of = j.id),
    erased AS (
        UPDATE attribution.attribution_events e
        SET raw_payload = NULL, session_id = NULL
        FROM family f
        WHERE e.tenant_id = f.tenant_id AND e.id = f.id
          AND (e.raw_payload IS NOT NULL OR e.session_id IS NOT NULL)
        RETURNING 1),
    erased_dead AS (
        UPDATE attribution.dead_events d
        SET raw_payload = NULL, headers = NULL, error_detail = NULL, next_retry_at = NULL,
            resolution_note = NULL, resolved_at = coalesce(d.resolved_at, now()),
            resolution = CASE WHEN d.resolved_at IS NULL THEN 'erased' ELSE d.resolution END,
            resolved_by = CASE WHEN d.resolved_at IS NULL THEN session_user
                               ELSE d.resolved_by END
        FROM wanted w
        WHERE d.tenant_id = w.tenant_id
          AND (d.raw_payload IS NOT NULL OR d.headers IS NOT NULL)
          AND (d.external_event_id = ANY (w.keys) OR d.correlation_id = ANY (w.keys)
               OR EXISTS (
                   SELECT
                   FROM family f
                   JOIN attribution.attribution_events e
                       ON e.tenant_id = f.tenant_id AND e.id = f.id
                   WHERE d.external_event_id = e.external_event_id
                      OR d.correlation_id = e.correlation_id)
               OR EXISTS (
                   SELECT FROM unnest(w.session_ids) AS s (id)
                   WHERE strpos(lower(d.raw_payload::text), s.id::text) > 0)
               OR strpos(lower(d.raw_payload::text), lower(w.containing)) > 0
               OR strpos(lower(d.headers::text), lower(w.containing)) > 0)
        RETURNING 1)
    SELECT (SELECT count(*) FROM erased), (SELECT count(*) FROM erased_dead))sql";

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_erase_personal_data) {
    entry::require_tables();
    using Uuids = std::optional<pg::Opaque<UUIDARRAYOID>>;
    using Texts = std::optional<pg::Opaque<TEXTARRAYOID>>;
    // Planned for each call, like the query of a user: how much is erased differs widely.
    pg::Statement<std::tuple<std::int64_t, std::int64_t>(core::Uuid, Uuids, Texts,
                                                         pg::OptionalText)>
        erase(entry::erase_sql, pg::Plan::once);
    PreventCommandIfReadOnly("erase_personal_data()");
    const auto tenant_id = pg::argument<std::optional<core::Uuid>>(fcinfo, 0, "tenant_id");
    const auto session_ids = pg::argument<Uuids>(fcinfo, 1, "session_ids");
    const auto keys = pg::argument<Texts>(fcinfo, 2, "keys");
    const auto containing = pg::argument<pg::OptionalText>(fcinfo, 3, "containing");
    if (!tenant_id) // nobody's data
        return pg::row_result(fcinfo, std::int64_t{0}, std::int64_t{0});
    entry::check_tenant(*tenant_id);
    SPI_connect();
    const auto [events, dead_events] = erase.run(*tenant_id, session_ids, keys, containing)[0];
    SPI_finish();
    return pg::row_result(fcinfo, events, dead_events);
}
