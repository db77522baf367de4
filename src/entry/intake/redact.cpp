// redact: personal data is removed before anything is stored.
//
// The one idea: payloads are full of names and addresses that nobody here needs. Keys that hold
// them go, whole, wherever they stand; what the mapping of webhooks reads is not among them, so a
// dead letter can still be retried.

#include "entry/intake/redact.hpp"

#include <algorithm>
#include <array>

#include "pg/boundary.hpp"
#include "pg/convert.hpp"

namespace attribution::entry {

char* redacted_keys_setting = nullptr;

// Of Shopify, Stripe, PayPal and WooCommerce; and what others call the same.
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

constexpr std::size_t max_keys = 512;
std::array<std::uint64_t, max_keys> hashes; // sorted
std::size_t hash_count = 0;

/// Calls `take` with each name in a list with commas; blanks around names do not count.
template <class Take>
void each_name(std::string_view list, Take take) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        std::string_view name = list.substr(0, comma);
        list.remove_prefix(std::min(comma + 1, list.size()));
        while (!name.empty() && (name.front() == ' ' || name.front() == '\n'))
            name.remove_prefix(1);
        while (!name.empty() && (name.back() == ' ' || name.back() == '\n'))
            name.remove_suffix(1);
        if (!name.empty())
            take(name);
    }
}

core::KeySet listed_keys() {
    return {{hashes.data(), hash_count}};
}

bool is_listed(const JsonbValue& name) {
    return name.type == jbvString &&
           listed_keys().contains(
               {name.val.string.val, static_cast<std::size_t>(name.val.string.len)});
}

/// Whether the key is the name, whatever its case.
bool is_key(const JsonbValue& key, std::string_view name) {
    return static_cast<std::size_t>(key.val.string.len) == name.size() &&
           pg_strncasecmp(key.val.string.val, name.data(), name.size()) == 0;
}

/// Removes what a string holds under listed keys: it may be a URL, a form, or JSON once more.
bool redact_string(JsonbValue* value) {
    const auto size = static_cast<std::size_t>(value->val.string.len);
    const std::string_view text(value->val.string.val, size);
    if (text.find('=') == text.npos && text.find('"') == text.npos)
        return false;
    const std::string_view rest = core::redact_text(text, listed_keys(), pg::make_span<char>(size));
    if (rest == text)
        return false;
    value->val.string.val = const_cast<char*>(rest.data());
    value->val.string.len = static_cast<int>(rest.size());
    return true;
}

/// Walks over a message and says of each token whether it stays. What a listed key holds goes, also
/// inside a string; so does the value of a pair such as {"name": "email", "value": "..."}: jsonb
/// has its keys in the order of their lengths, so the name comes first.
class Walk {
public:
    explicit Walk(Jsonb* message) : it_(JsonbIteratorInit(&message->root)) {}

    /// The next token that stays.
    JsonbIteratorToken next(JsonbValue* value) {
        for (;;) {
            const JsonbIteratorToken token = JsonbIteratorNext(&it_, value, false);
            if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
                enter();
            else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
                --depth_;
            else if (token == WJB_VALUE)
                names_listed_[depth_] |= names_something_ && is_listed(*value);
            if ((token == WJB_VALUE || token == WJB_ELEM) && value->type == jbvString)
                removed_ |= redact_string(value);
            if (token != WJB_KEY)
                return token;
            names_something_ = is_key(*value, "name") || is_key(*value, "key");
            if (!is_listed(*value) && !(names_listed_[depth_] && is_key(*value, "value")))
                return token;
            removed_ = true;
            JsonbIteratorNext(&it_, value, true);
        }
    }

    [[nodiscard]] bool removed() const { return removed_; }

private:
    void enter() {
        names_something_ = false;
        if (++depth_ == room_) {
            const std::size_t room = room_ * 2;
            bool* larger = pg::make_span<bool>(room).data();
            std::copy_n(names_listed_, room_, larger);
            names_listed_ = larger;
            room_ = room;
        }
        names_listed_[depth_] = false;
    }

    JsonbIterator* it_;
    std::size_t depth_ = 0, room_ = 64;
    bool* names_listed_ = pg::make_span<bool>(64).data(); // per depth
    bool names_something_ = false;                        // the last key was "name" or "key"
    bool removed_ = false;
};

} // namespace

bool check_redacted_keys(char** value, void**, GucSource) {
    std::size_t count = 0;
    each_name(*value == nullptr ? "" : *value, [&](std::string_view) { ++count; });
    if (count <= max_keys)
        return true;
    GUC_check_errdetail("%zu keys are listed, at most %zu are allowed.", count, max_keys);
    return false;
}

void assign_redacted_keys(const char* value, void*) {
    hash_count = 0;
    each_name(value == nullptr ? "" : value, [&](std::string_view name) {
        if (hash_count < max_keys)
            hashes[hash_count++] = core::key_hash(name);
    });
    std::sort(hashes.begin(), hashes.begin() + hash_count);
}

Datum redacted(Datum jsonb) {
    if (hash_count == 0)
        return jsonb;
    Jsonb* message = DatumGetJsonbP(jsonb);
    JsonbValue value;
    if (JB_ROOT_IS_SCALAR(message)) {
        // JSON that was encoded twice, for example.
        JsonbExtractScalar(&message->root, &value);
        return value.type == jbvString && redact_string(&value)
                   ? JsonbPGetDatum(JsonbValueToJsonb(&value))
                   : jsonb;
    }
    Walk look(message);
    while (!look.removed() && look.next(&value) != WJB_DONE)
        ;
    if (!look.removed())
        return jsonb;

    Walk walk(message);
    JsonbParseState* state = nullptr;
    JsonbValue* result = nullptr;
    for (JsonbIteratorToken token; (token = walk.next(&value)) != WJB_DONE;) {
        const bool has_value = token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM;
        result = pushJsonbValue(&state, token, has_value ? &value : nullptr);
    }
    return JsonbPGetDatum(JsonbValueToJsonb(result));
}

std::string_view redacted_text(std::string_view text) {
    if (hash_count == 0)
        return text;
    const auto target = pg::make_span<char>(text.size());
    return core::redact_text(text, listed_keys(), target);
}

} // namespace attribution::entry
