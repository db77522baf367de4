#include "pg/convert.hpp"

namespace attribution::pg {
namespace {

// The wire format of numeric (numeric_send): four 16-bit words in network order - number of
// digits, exponent of the first digit, sign, display scale - and the base-10000 digits.
constexpr std::uint16_t sign_negative = 0x4000;
constexpr std::uint16_t sign_nan = 0xC000;
constexpr std::uint16_t sign_plus_infinity = 0xD000;
constexpr std::uint16_t sign_minus_infinity = 0xF000;

std::uint16_t network_word(const char* bytes) {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[0]) << 8 |
                                      static_cast<unsigned char>(bytes[1]));
}

} // namespace

core::Uuid uuid_of(Datum datum) {
    core::Uuid uuid;
    memcpy(uuid.data(), DatumGetUUIDP(datum)->data, UUID_LEN);
    return uuid;
}

Datum uuid_datum(const core::Uuid& uuid) {
    auto* value = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
    memcpy(value->data, uuid.data(), UUID_LEN);
    return UUIDPGetDatum(value);
}

const char* uuid_text(Datum datum) {
    return DatumGetCString(DirectFunctionCall1(uuid_out, datum));
}

const char* uuid_text(const core::Uuid& uuid) {
    return uuid_text(PointerGetDatum(uuid.data()));
}

std::string_view text_of(Datum datum) {
    const text* value = DatumGetTextPP(datum);
    return {VARDATA_ANY(value), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(value))};
}

Datum text_datum(std::string_view text) {
    return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

core::Decimal decimal_of(Datum numeric) {
    const bytea* wire = DatumGetByteaPP(DirectFunctionCall1(numeric_send, numeric));
    const char* bytes = VARDATA_ANY(wire);
    const std::size_t count = network_word(bytes);
    const std::uint16_t sign = network_word(bytes + 4);

    core::Decimal decimal;
    decimal.first_exponent = static_cast<std::int16_t>(network_word(bytes + 2));
    decimal.negative = sign == sign_negative || sign == sign_minus_infinity;
    if (sign == sign_nan)
        decimal.kind = core::Decimal::Kind::nan;
    else if (sign == sign_plus_infinity || sign == sign_minus_infinity)
        decimal.kind = core::Decimal::Kind::infinity;
    auto* digits = static_cast<std::int16_t*>(palloc(sizeof(std::int16_t) * (count + 1)));
    for (std::size_t i = 0; i < count; ++i)
        digits[i] = static_cast<std::int16_t>(network_word(bytes + 8 + 2 * i));
    decimal.digits = {digits, count};
    return decimal;
}

Datum scaled_numeric(std::int64_t value, int decimals) {
    return NumericGetDatum(decimals == 0 ? int64_to_numeric(value)
                                         : int64_div_fast_to_numeric(value, decimals));
}

Datum tie_key_datum(std::uint64_t tie_key) {
    char digits[24];
    snprintf(digits, sizeof digits, UINT64_FORMAT, tie_key);
    return DirectFunctionCall3(numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid),
                               Int32GetDatum(-1));
}

void check_text(Datum text, const char* name) {
    check_text(text_of(text), name);
}

void check_text(std::string_view text, const char* name) {
    const std::size_t size = text.size();
    if (size == 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", name)));
    if (size > max_text_bytes)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is too long", name),
                 errdetail("It has %zu bytes, at most %zu are allowed.", size, max_text_bytes)));
}

std::span<Datum> array_elements(ArrayType* array, const char* name, std::size_t limit) {
    if (ARR_NDIM(array) > 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s must be a one-dimensional array", name),
                        errdetail("The array has %d dimensions.", ARR_NDIM(array))));
    const auto count = static_cast<std::size_t>(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)));
    if (count > limit)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s has too many elements", name),
                 errdetail("The array has %zu elements, at most %zu are allowed.", count, limit)));
    if (array_contains_nulls(array))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not contain nulls", name)));
    Datum* elements = nullptr;
    int length = 0;
    int16 width;
    bool by_value;
    char alignment;
    get_typlenbyvalalign(ARR_ELEMTYPE(array), &width, &by_value, &alignment);
    deconstruct_array(array, ARR_ELEMTYPE(array), width, by_value, alignment, &elements, nullptr,
                      &length);
    return {elements, static_cast<std::size_t>(length)};
}

std::int64_t unix_milliseconds(TimestampTz time) {
    constexpr std::int64_t epoch_ms =
        std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * (USECS_PER_DAY / 1000);
    // Divide before adding: the last years of timestamptz would overflow.
    const std::int64_t since_2000_ms = time / 1000 - (time % 1000 < 0 ? 1 : 0);
    return since_2000_ms + epoch_ms;
}

TimestampTz timestamp_of(std::int64_t unix_us) {
    return unix_us - std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;
}

} // namespace attribution::pg
