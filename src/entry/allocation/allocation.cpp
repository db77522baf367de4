// allocation: see allocation.hpp.

#include "entry/allocation/allocation.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "entry/session/settings.hpp"
#include "pg/boundary.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

// ---------------------------------------------------------------------------------------------
// Parts and rows

/// One channel of an allocation: what it weighs and what it gets.
struct Part {
    std::string_view channel;
    Datum weight; // numeric
    core::AllocationIdentity identity;
    core::Cents cents;
    core::Cents ratio; // hundred-thousandths
};

/// All streams, so that computed_allocations() knows a pointer to one from any other number.
constinit Rows* all_rows = nullptr;

extern "C" void forget_rows(void* gone) {
    for (Rows** rows = &all_rows; *rows != nullptr; rows = &(*rows)->next)
        if (*rows == gone) {
            *rows = (*rows)->next;
            return;
        }
}

enum Column {
    id_column,
    event_column,
    channel_column,
    weight_column,
    ratio_column,
    cents_column,
    correlation_column,
    column_count
};

TupleDesc make_columns() {
    TupleDesc columns = CreateTemplateTupleDesc(column_count);
    TupleDescInitEntry(columns, id_column + 1, "id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, event_column + 1, "event_id", UUIDOID, -1, 0);
    TupleDescInitEntry(columns, channel_column + 1, "channel", TEXTOID, -1, 0);
    TupleDescInitEntry(columns, weight_column + 1, "weight", NUMERICOID, -1, 0);
    TupleDescInitEntry(columns, ratio_column + 1, "ratio", NUMERICOID, -1, 0);
    TupleDescInitEntry(columns, cents_column + 1, "cents", INT8OID, -1, 0);
    TupleDescInitEntry(columns, correlation_column + 1, "correlation_id", TEXTOID, -1, 0);
    return columns;
}

constexpr int ratio_decimals = 5;

Datum scaled_numeric(std::int64_t value, int decimals) {
    if (decimals == 0)
        return NumericGetDatum(int64_to_numeric(value));
    return DirectFunctionCall1(numeric_trim_scale,
                               NumericGetDatum(int64_div_fast_to_numeric(value, decimals)));
}

/// Identity and ratio of the parts, whose channels and whole or decimal weights are given, and the
/// cents that `split` makes of (tie keys, cents).
template <class Weight, class Split>
void complete_parts(const Rows& rows, const Event& event, std::span<const Weight> weights,
                    std::span<Part> parts, Split&& split) {
    const core::Uuid tenant_id = pg::uuid_of(rows.tenant_id);
    const core::Uuid event_id = pg::uuid_of(event.id);
    const std::string_view model_version = pg::text_of(rows.model_version);
    const std::int64_t occurred_at_ms = pg::unix_milliseconds(event.occurred_at);
    const auto tie_keys = pg::make_span<std::uint64_t>(parts.size());
    const auto cents = pg::make_span<core::Cents>(parts.size());
    pg::guarded([&] {
        const core::AllocationIdentifier identifier(tenant_id, event_id, model_version,
                                                    occurred_at_ms);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            parts[i].identity = identifier.of(parts[i].channel);
            tie_keys[i] = parts[i].identity.tie_key;
        }
        core::apportion(core::ratio_units, weights, tie_keys, cents);
        for (std::size_t i = 0; i < parts.size(); ++i)
            parts[i].ratio = cents[i];
        split(tie_keys, cents);
        for (std::size_t i = 0; i < parts.size(); ++i)
            parts[i].cents = cents[i];
    });
}

template <class Weight>
void complete_conversion(const Rows& rows, const Event& event, std::span<const Weight> weights,
                         std::span<Part> parts) {
    complete_parts(rows, event, weights, parts, [&](auto tie_keys, auto cents) {
        core::apportion(event.revenue_cents, weights, tie_keys, cents);
    });
}

void add_parts(Rows* rows, const Event& event, std::span<const Part> parts) {
    if (rows->store == nullptr) {
        const MemoryContext before = MemoryContextSwitchTo(rows->memory);
        rows->store = tuplestore_begin_heap(false, false, work_mem);
        MemoryContextSwitchTo(before);
    }
    for (const Part& part : parts) {
        Datum values[column_count];
        bool nulls[column_count] = {};
        values[id_column] =
            UUIDPGetDatum(reinterpret_cast<const pg_uuid_t*>(part.identity.id.data()));
        values[event_column] = event.id;
        values[channel_column] = pg::text_datum(part.channel);
        values[weight_column] = part.weight;
        values[ratio_column] =
            NumericGetDatum(int64_div_fast_to_numeric(part.ratio, ratio_decimals));
        values[cents_column] = Int64GetDatum(part.cents);
        values[correlation_column] = event.correlation_id;
        nulls[correlation_column] = !event.has_correlation_id;
        tuplestore_putvalues(rows->store, rows->columns, values, nulls);
    }
}

// ---------------------------------------------------------------------------------------------
// Conversions by model

struct JourneyTouch {
    std::string_view channel;
    TimestampTz occurred_at;
    pg_uuid_t id;
};

/// Reads the touches of many conversions, one journey after the other.
struct JourneyReader {
    Rows* rows;
    const ModelDefinition* definition;
    std::span<const Event> events;
    std::size_t current; // the event whose touches are gathered
    JourneyTouch* touches;
    std::size_t touch_count, touch_room;
};

bool contains(std::span<const std::string_view> sorted, std::string_view channel) {
    return std::binary_search(sorted.begin(), sorted.end(), channel);
}

std::uint64_t weight_of_channel(const ModelDefinition& definition, std::string_view channel) {
    const auto found = std::lower_bound(
        definition.channel_weights.begin(), definition.channel_weights.end(), channel,
        [](const auto& entry, std::string_view wanted) { return entry.channel < wanted; });
    return found != definition.channel_weights.end() && found->channel == channel
               ? found->weight
               : definition.default_weight;
}

/// What weighing a journey needs besides its touches.
struct Weighing {
    std::span<std::uint32_t> order;       // touches by channel
    std::span<core::Touch> touches;       // by time
    std::span<std::string_view> channels; // sorted
    std::span<std::uint64_t> weights;     // per channel
    std::size_t channel_count;
};

/// Sorts the touches, numbers their channels and weighs them. C++ only.
void weigh_journey(const ModelDefinition& definition, TimestampTz converted_at,
                   std::uint64_t weight_unit, std::span<JourneyTouch> journey, Weighing* weighing) {
    std::sort(journey.begin(), journey.end(), [](const JourneyTouch& a, const JourneyTouch& b) {
        return a.occurred_at != b.occurred_at ? a.occurred_at < b.occurred_at
                                              : memcmp(&a.id, &b.id, sizeof a.id) < 0;
    });
    for (std::size_t i = 0; i < journey.size(); ++i)
        weighing->order[i] = static_cast<std::uint32_t>(i);
    std::sort(
        weighing->order.begin(), weighing->order.end(),
        [&](std::uint32_t a, std::uint32_t b) { return journey[a].channel < journey[b].channel; });
    std::size_t count = 0;
    for (const std::uint32_t i : weighing->order) {
        const std::string_view channel = journey[i].channel;
        if (count == 0 || weighing->channels[count - 1] != channel)
            weighing->channels[count++] = channel;
        weighing->touches[i] = {.channel = static_cast<std::uint32_t>(count - 1),
                                .is_direct = contains(definition.direct_channels, channel),
                                .age_us = converted_at - journey[i].occurred_at,
                                .custom_weight = weight_of_channel(definition, channel)};
    }
    core::weigh(definition.model, weighing->touches, weighing->weights.first(count));

    // Channels without credit get no row.
    weighing->channel_count = 0;
    for (std::size_t i = 0; i < count; ++i)
        if (weighing->weights[i] > 0) {
            weighing->channels[weighing->channel_count] = weighing->channels[i];
            weighing->weights[weighing->channel_count++] = weighing->weights[i];
        }
    if (weighing->channel_count == 0) {
        weighing->channels[0] = "unattributed";
        weighing->weights[0] = weight_unit;
        weighing->channel_count = 1;
    }
}

/// All touches of the current event are there: adds its rows and goes on to the next event.
void finish_journey(JourneyReader* reader) {
    const Event& event = reader->events[reader->current];
    const std::size_t count = reader->touch_count;
    const std::span<JourneyTouch> journey(reader->touches, count);
    Weighing weighing{.order = pg::make_span<std::uint32_t>(count),
                      .touches = pg::make_span<core::Touch>(count),
                      .channels = pg::make_span<std::string_view>(count + 1),
                      .weights = pg::make_span<std::uint64_t>(count + 1),
                      .channel_count = 0};
    const int decimals = weight_decimals(reader->definition->model.method);
    std::uint64_t weight_unit = 1;
    for (int i = 0; i < decimals; ++i)
        weight_unit *= 10;
    pg::guarded([&] {
        weigh_journey(*reader->definition, event.occurred_at, weight_unit, journey, &weighing);
    });

    if (weighing.channel_count > max_channels)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("journey has too many channels"),
                 errdetail("%zu channels of event %s get credit, at most %zu are allowed.",
                           weighing.channel_count, pg::uuid_text(event.id), max_channels),
                 errhint("Shorten the lookback window or exclude channels.")));
    const auto parts = pg::make_span<Part>(weighing.channel_count);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        parts[i].channel = weighing.channels[i];
        parts[i].weight = scaled_numeric(static_cast<std::int64_t>(weighing.weights[i]), decimals);
    }
    const std::span<const std::uint64_t> weights = weighing.weights.first(parts.size());
    complete_conversion(*reader->rows, event, weights, parts);
    add_parts(reader->rows, event, parts);

    ++reader->current;
    reader->touches = nullptr;
    reader->touch_count = reader->touch_room = 0;
    MemoryContextReset(reader->rows->scratch);
}

void add_touch(JourneyReader* reader, const JourneyTouch& touch) {
    if (reader->touch_count == reader->touch_room) {
        const std::size_t room = std::max<std::size_t>(reader->touch_room * 2, 16);
        const auto larger = pg::make_span<JourneyTouch>(room);
        std::copy_n(reader->touches, reader->touch_count, larger.data());
        if (reader->touches != nullptr)
            pfree(reader->touches);
        reader->touches = larger.data();
        reader->touch_room = room;
    }
    reader->touches[reader->touch_count++] = touch;
}

void receive_touch(TupleTableSlot* row, void* state) {
    auto* reader = static_cast<JourneyReader*>(state);
    bool isnull;
    const auto number = static_cast<std::size_t>(DatumGetInt64(slot_getattr(row, 1, &isnull))) - 1;
    if (number < reader->current)
        elog(ERROR, "touches came out of order");
    const MemoryContext before = MemoryContextSwitchTo(reader->rows->scratch);
    while (reader->current < number)
        finish_journey(reader);
    const std::string_view channel = pg::text_of(slot_getattr(row, 2, &isnull));
    // One more than allowed is enough for the core to refuse.
    if (reader->touch_count <= core::max_touches &&
        !contains(reader->definition->excluded_channels, channel)) {
        auto* copy = static_cast<char*>(palloc(channel.size() + 1));
        std::copy_n(channel.data(), channel.size(), copy);
        add_touch(reader, {.channel = {copy, channel.size()},
                           .occurred_at = DatumGetTimestampTz(slot_getattr(row, 3, &isnull)),
                           .id = *DatumGetUUIDP(slot_getattr(row, 4, &isnull))});
    }
    MemoryContextSwitchTo(before);
}

// ---------------------------------------------------------------------------------------------
// Refunds

struct Refund {
    Event event;
    std::size_t conversion; // index into the conversions given
};

/// What is left of a channel.
struct Left {
    std::string_view channel;
    core::Cents cents;
};

/// Refunds of the conversions that are not allocated under the model version, by conversion, time
/// and id.
std::span<Refund> find_refunds(const Rows& rows, std::span<const Datum> conversion_ids) {
    static constinit pg::Query find = {
        .sql = "SELECT k.i, r.id, r.revenue_cents, r.occurred_at, r.correlation_id "
               "FROM unnest($2) WITH ORDINALITY AS k (id, i), "
               "LATERAL (SELECT * FROM attribution.attribution_events e "
               "WHERE e.tenant_id = $1 AND e.refund_of = k.id "
               "AND NOT EXISTS (SELECT 1 FROM attribution.attribution_allocations a "
               "WHERE a.tenant_id = $1 AND a.event_id >= e.id AND a.event_id <= e.id "
               "AND a.model_version IS NOT NULL AND a.model_version COLLATE \"C\" = $3 "
               "ORDER BY a.event_id LIMIT 1 OFFSET 0) OFFSET 0) r "
               "ORDER BY k.i, r.occurred_at, r.id",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDARRAYOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {rows.tenant_id, uuid_array(conversion_ids), rows.model_version};
    pg::run_latest(find, values);
    const auto refunds = pg::make_span<Refund>(SPI_processed);
    for (std::size_t row = 0; row < refunds.size(); ++row) {
        bool isnull;
        Refund& refund = refunds[row];
        refund.conversion =
            static_cast<std::size_t>(DatumGetInt64(pg::result_value(row, 1, &isnull))) - 1;
        refund.event.id = datumCopy(pg::result_value(row, 2, &isnull), false, UUID_LEN);
        refund.event.revenue_cents = DatumGetInt64(pg::result_value(row, 3, &isnull));
        refund.event.occurred_at = DatumGetTimestampTz(pg::result_value(row, 4, &isnull));
        const Datum correlation_id = pg::result_value(row, 5, &isnull);
        refund.event.has_correlation_id = !isnull;
        if (!isnull)
            refund.event.correlation_id = datumCopy(correlation_id, false, -1);
    }
    SPI_freetuptable(SPI_tuptable);
    return refunds;
}

/// Under REPEATABLE READ and SERIALIZABLE a foreign key sees no event newer than the transaction.
void check_refunds_are_visible(const Rows& rows, std::span<const Refund> refunds) {
    static constinit pg::Query find = {
        .sql = "SELECT count(*) FROM unnest($2) AS k (id), "
               "LATERAL (SELECT 1 FROM attribution.attribution_events e "
               "WHERE e.tenant_id = $1 AND e.id >= k.id AND e.id <= k.id ORDER BY e.id LIMIT 1) e",
        .parameter_count = 2,
        .parameter_types = {UUIDOID, UUIDARRAYOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    if (!IsolationUsesXactSnapshot())
        return;
    const auto ids = pg::make_span<Datum>(refunds.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = refunds[i].event.id;
    Datum values[] = {rows.tenant_id, uuid_array(ids)};
    pg::run(find, values);
    bool isnull;
    const auto visible = static_cast<std::size_t>(DatumGetInt64(pg::result_value(0, 1, &isnull)));
    if (visible < refunds.size())
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("could not serialize access: refunds were ingested concurrently"),
                        errdetail("%zu refunds are newer than the snapshot of this transaction.",
                                  refunds.size() - visible),
                        errhint("The transaction might succeed if retried.")));
    SPI_freetuptable(SPI_tuptable);
}

/// What is left per channel of a conversion under the model version, in the order of the channels'
/// bytes; nothing when the conversion itself is not allocated.
std::span<Left> find_left(const Rows& rows, Datum conversion_id) {
    static constinit pg::Query find = {
        .sql = "SELECT a.channel, sum(a.cents)::bigint, bool_or(f.is_conversion) "
               "FROM (SELECT $2, true UNION ALL "
               "SELECT e.id, false FROM attribution.attribution_events e "
               "WHERE e.tenant_id = $1 AND e.refund_of = $2) AS f (id, is_conversion), "
               "LATERAL (SELECT x.channel, x.allocated_revenue_cents AS cents "
               "FROM attribution.attribution_allocations x "
               "WHERE x.tenant_id = $1 AND x.event_id >= f.id AND x.event_id <= f.id "
               "AND x.model_version IS NOT NULL AND x.model_version COLLATE \"C\" = $3 "
               "ORDER BY x.event_id OFFSET 0) a "
               "GROUP BY a.channel ORDER BY a.channel COLLATE \"C\"",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, UUIDOID, TEXTOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    Datum values[] = {rows.tenant_id, conversion_id, rows.model_version};
    pg::run_latest(find, values);
    const auto left = pg::make_span<Left>(SPI_processed);
    bool is_allocated = false;
    for (std::size_t row = 0; row < left.size(); ++row) {
        bool isnull;
        left[row].channel = pg::text_of(datumCopy(pg::result_value(row, 1, &isnull), false, -1));
        left[row].cents = DatumGetInt64(pg::result_value(row, 2, &isnull));
        is_allocated |= DatumGetBool(pg::result_value(row, 3, &isnull));
    }
    SPI_freetuptable(SPI_tuptable);
    return is_allocated ? left : left.first(0);
}

/// Raises unless the refund can be taken from what is left, or all of it by the tolerance. Returns
/// what is taken.
core::Cents check_refund(const Rows& rows, const Event& refund, Datum conversion_id,
                         std::span<const Left> left) {
    constexpr const char* constraint_name = "channel_is_not_below_zero";
    const std::string_view version = pg::text_of(rows.model_version);
    std::uint64_t sum = 0;
    const Left* negative = nullptr;
    for (const Left& channel : left) {
        if (channel.cents < 0)
            negative = &channel;
        else if (__builtin_add_overflow(sum, static_cast<std::uint64_t>(channel.cents), &sum))
            sum = std::numeric_limits<std::uint64_t>::max();
    }
    const std::uint64_t wanted =
        std::uint64_t{0} - static_cast<std::uint64_t>(refund.revenue_cents);
    const std::uint64_t excess = wanted > sum ? wanted - sum : 0;
    const char* detail = nullptr;
    if (negative != nullptr)
        detail = psprintf("Channel \"%.*s\" has " INT64_FORMAT " cents.",
                          static_cast<int>(negative->channel.size()), negative->channel.data(),
                          negative->cents);
    else if (sum == 0 || excess > static_cast<std::uint64_t>(sum_tolerance_cents))
        detail = psprintf("Refund %s is of " INT64_FORMAT " cents, " UINT64_FORMAT " are left.",
                          pg::uuid_text(refund.id), refund.revenue_cents, sum);
    if (detail != nullptr)
        ereport(
            ERROR,
            (errcode(ERRCODE_CHECK_VIOLATION),
             errmsg("refund exceeds what is left of its conversion"),
             errdetail("Tenant %s, conversion %s, model version \"%.*s\": %s",
                       pg::uuid_text(rows.tenant_id), pg::uuid_text(conversion_id),
                       static_cast<int>(version.size()), version.data(), detail),
             errhint("The conversion has been allocated less than its revenue, or written to past "
                     "the checks."),
             err_generic_string(PG_DIAG_SCHEMA_NAME, "attribution"),
             err_generic_string(PG_DIAG_TABLE_NAME, "attribution_allocations"),
             err_generic_string(PG_DIAG_CONSTRAINT_NAME, constraint_name)));
    return excess == 0 ? refund.revenue_cents : -static_cast<core::Cents>(sum);
}

/// Adds the refund and takes it off what is left.
void add_refund(Rows* rows, const Event& refund, core::Cents taken, std::span<Left> left) {
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    const auto parts = pg::make_span<Part>(left.size());
    const auto weights = pg::make_span<std::uint64_t>(left.size());
    const auto remaining = pg::make_span<core::Cents>(left.size());
    std::size_t count = 0;
    for (const Left& channel : left)
        if (channel.cents > 0) { // nothing can be taken from the others: no row
            parts[count].channel = channel.channel;
            parts[count].weight = scaled_numeric(channel.cents, 0);
            weights[count] = static_cast<std::uint64_t>(channel.cents);
            remaining[count++] = channel.cents;
        }
    complete_parts(*rows, refund, std::span<const std::uint64_t>(weights.first(count)),
                   parts.first(count), [&](auto tie_keys, auto cents) {
                       core::take_back(taken, remaining.first(count), tie_keys, cents);
                   });
    std::size_t next = 0;
    for (Left& channel : left)
        if (channel.cents > 0)
            channel.cents = remaining[next++];
    add_parts(rows, refund, parts.first(count));
    MemoryContextSwitchTo(before);
    MemoryContextReset(rows->scratch);
}

} // namespace

Datum uuid_array(std::span<const Datum> ids) {
    return PointerGetDatum(construct_array(const_cast<Datum*>(ids.data()),
                                           static_cast<int>(ids.size()), UUIDOID, UUID_LEN, false,
                                           TYPALIGN_CHAR));
}

Rows* start_rows(Datum tenant_id, Datum model_version) {
    auto* rows = static_cast<Rows*>(palloc(sizeof(Rows)));
    *rows = {.tenant_id = tenant_id,
             .model_version = model_version,
             .memory = CurrentMemoryContext,
             .scratch = AllocSetContextCreate(CurrentMemoryContext, "attribution event",
                                              ALLOCSET_DEFAULT_SIZES),
             .columns = make_columns(),
             .store = nullptr,
             .next = all_rows,
             .forget = {.func = forget_rows, .arg = rows, .next = nullptr}};
    all_rows = rows;
    MemoryContextRegisterResetCallback(CurrentMemoryContext, &rows->forget);
    return rows;
}

void discard_rows(Rows* rows) {
    if (rows->store != nullptr)
        tuplestore_end(rows->store);
    rows->store = nullptr;
}

void raise_turned_away(std::uint64_t expected, std::uint64_t inserted) {
    ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                    errmsg("allocations were turned away"),
                    errdetail("Of " UINT64_FORMAT " rows " UINT64_FORMAT " were inserted.",
                              expected, inserted),
                    errhint("A trigger on the table returns null for the others.")));
    pg_unreachable();
}

namespace {

/// A rule would read the stream again, or something else instead.
void refuse_rules(Relation allocations) {
    if (allocations->rd_rules != nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("cannot allocate into a table with rules"),
                 errdetail("Relation \"%s\" has rules.", RelationGetRelationName(allocations)),
                 errhint("Write the rule as a trigger.")));
}

} // namespace

#define INSERT_ROWS                                                                                \
    "INSERT INTO attribution.attribution_allocations AS a (tenant_id, id, event_id, "              \
    "model_version, channel, weight, allocation_ratio, allocated_revenue_cents, correlation_id) "  \
    "SELECT $1, r.id, r.event_id, $2, r.channel, r.weight, r.ratio, r.cents, r.correlation_id "    \
    "FROM attribution.computed_allocations($3) AS r "

std::uint64_t write_rows(Rows* rows, bool parents_are_locked) {
    static constinit pg::Query insert = {.sql = INSERT_ROWS,
                                         .parameter_count = 3,
                                         .parameter_types = {UUIDOID, TEXTOID, INT8OID},
                                         .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                                         .plan = nullptr};
    if (rows->store == nullptr)
        return 0;
    Datum values[] = {rows->tenant_id, rows->model_version,
                      Int64GetDatum(reinterpret_cast<std::intptr_t>(rows))};
    const auto expected = static_cast<std::uint64_t>(tuplestore_tuple_count(rows->store));
    Relation allocations = table_open(own_table("attribution_allocations"), RowExclusiveLock);
    refuse_rules(allocations);
    static constexpr std::array key = {"tenant_id", "event_id"};
    static constexpr std::array referenced = {"tenant_id", "id"};
    const pg::ForeignKey keys[] = {{key, own_table("attribution_events"), referenced}};
    if (parents_are_locked)
        pg::insert_without_key_checks(allocations, keys, [&](bool) { pg::run(insert, values); });
    else
        pg::run(insert, values);
    table_close(allocations, NoLock);
    if (SPI_processed < expected)
        raise_turned_away(expected, SPI_processed);
    return SPI_processed;
}

bool write_rows_unless_stored(Rows* rows) {
    static constinit pg::Query insert = {
        .sql = INSERT_ROWS "ON CONFLICT (tenant_id, event_id, model_version, channel) "
                           "WHERE model_version IS NOT NULL DO NOTHING "
                           "RETURNING a.channel, a.weight, a, a.id",
        .parameter_count = 3,
        .parameter_types = {UUIDOID, TEXTOID, INT8OID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    static constinit pg::Query undo = {.sql = "DELETE FROM attribution.attribution_allocations "
                                              "WHERE tenant_id = $1 AND id = ANY ($2)",
                                       .parameter_count = 2,
                                       .parameter_types = {UUIDOID, UUIDARRAYOID},
                                       .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                                       .plan = nullptr};
    const auto expected = static_cast<std::uint64_t>(tuplestore_tuple_count(rows->store));
    Datum values[] = {rows->tenant_id, rows->model_version,
                      Int64GetDatum(reinterpret_cast<std::intptr_t>(rows))};
    Relation allocations = table_open(own_table("attribution_allocations"), RowExclusiveLock);
    refuse_rules(allocations);
    table_close(allocations, NoLock);
    pg::run(insert, values);
    if (SPI_processed == expected)
        return true;
    // Another session was faster, and may have had other channels: what it stored stands alone.
    const auto ids = pg::make_span<Datum>(SPI_processed);
    for (std::size_t row = 0; row < ids.size(); ++row) {
        bool isnull;
        ids[row] = pg::result_value(row, 4, &isnull);
    }
    Datum undo_values[] = {rows->tenant_id, uuid_array(ids)};
    const pg::OwnerRights rights = pg::act_as_owner(own_table("attribution_allocations"));
    pg::run(undo, undo_values);
    pg::act_as_before(rights);
    return false;
}

void add_by_weights(Rows* rows, const Event& event, std::span<const GivenWeight> given) {
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    const auto parts = pg::make_span<Part>(given.size());
    const auto weights = pg::make_span<core::Decimal>(given.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
        parts[i].channel = given[i].channel;
        parts[i].weight = given[i].datum;
        weights[i] = given[i].weight;
    }
    complete_conversion(*rows, event, std::span<const core::Decimal>(weights), parts);
    add_parts(rows, event, parts);
    MemoryContextSwitchTo(before);
    MemoryContextReset(rows->scratch);
}

void add_by_model(Rows* rows, const ModelDefinition& definition, std::span<const Event> events) {
    // OFFSET 0: the planner must not turn a thousand index lookups into a scan of the table. Only
    // the session is looked up: a condition more inside, and a plan may read all that the tenant
    // has in the lookback window, for each journey.
    static constinit pg::Query find = {
        .sql = "SELECT k.i, t.channel, t.occurred_at, t.id "
               "FROM ROWS FROM (unnest($2), unnest($3)) WITH ORDINALITY "
               "AS k (session_id, converted_at, i), "
               "LATERAL (SELECT e.tenant_id, e.event_type, e.channel, e.occurred_at, e.id "
               "FROM attribution.attribution_events e "
               "WHERE e.session_id = k.session_id OFFSET 0) t "
               "WHERE t.tenant_id = $1 AND t.event_type = 'touch' "
               "AND t.occurred_at <= k.converted_at AND t.occurred_at >= k.converted_at - $4",
        .parameter_count = 4,
        .parameter_types = {UUIDOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, INTERVALOID},
        .cursor_options = CURSOR_OPT_GENERIC_PLAN,
        .plan = nullptr};
    const auto sessions = pg::make_span<Datum>(events.size());
    const auto no_session = pg::make_span<bool>(events.size());
    const auto times = pg::make_span<Datum>(events.size());
    for (std::size_t i = 0; i < events.size(); ++i) {
        sessions[i] = events[i].session_id;
        no_session[i] = !events[i].has_session_id;
        times[i] = TimestampTzGetDatum(events[i].occurred_at);
    }
    int dimension = static_cast<int>(events.size());
    int lower_bound = 1;
    Interval lookback{.time = definition.lookback_us, .day = 0, .month = 0};
    Datum values[] = {
        rows->tenant_id,
        PointerGetDatum(construct_md_array(sessions.data(), no_session.data(), 1, &dimension,
                                           &lower_bound, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(times.data(), dimension, TIMESTAMPTZOID,
                                        sizeof(TimestampTz), true, TYPALIGN_DOUBLE)),
        IntervalPGetDatum(&lookback)};
    JourneyReader reader{.rows = rows,
                         .definition = &definition,
                         .events = events,
                         .current = 0,
                         .touches = nullptr,
                         .touch_count = 0,
                         .touch_room = 0};
    pg::stream(find, values, nullptr, receive_touch, &reader);
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    while (reader.current < events.size())
        finish_journey(&reader);
    MemoryContextSwitchTo(before);
}

Oid own_table(const char* name) {
    const Oid table = get_relname_relid(name, get_namespace_oid("attribution", false));
    if (!OidIsValid(table))
        elog(ERROR, "relation attribution.%s does not exist", name);
    return table;
}

std::span<Event> lock_conversions(Datum tenant_id, std::span<const Datum> ids,
                                  LockAgainst against) {
    // A range and its order leave only the primary key: planned while the table is small, with an
    // equality, another index that starts with the tenant looks as good, and the plan is kept.
#define LOCK_CONVERSIONS(strength)                                                                 \
    {                                                                                              \
        .sql = "SELECT e.id, e.revenue_cents, e.occurred_at, e.correlation_id, e.session_id "      \
               "FROM unnest($2) AS k (id), "                                                       \
               "LATERAL (SELECT * FROM attribution.attribution_events x "                          \
               "WHERE x.tenant_id = $1 AND x.id >= k.id AND x.id <= k.id ORDER BY x.id LIMIT "     \
               "1 " strength ") e WHERE e.event_type = 'conversion'",                              \
        .parameter_count = 2, .parameter_types = {UUIDOID, UUIDARRAYOID},                          \
        .cursor_options = CURSOR_OPT_GENERIC_PLAN, .plan = nullptr                                 \
    }
    static constinit pg::Query against_deletion = LOCK_CONVERSIONS("FOR KEY SHARE");
    static constinit pg::Query against_refunds = LOCK_CONVERSIONS("FOR NO KEY UPDATE");
    Datum values[] = {tenant_id, uuid_array(ids)};
    const pg::OwnerRights rights = pg::act_as_owner(own_table("attribution_events"));
    pg::run(against == LockAgainst::deletion ? against_deletion : against_refunds, values);
    pg::act_as_before(rights);
    const auto events = pg::make_span<Event>(SPI_processed);
    for (std::size_t row = 0; row < events.size(); ++row) {
        bool isnull;
        Event& event = events[row];
        event.id = datumCopy(pg::result_value(row, 1, &isnull), false, UUID_LEN);
        event.revenue_cents = DatumGetInt64(pg::result_value(row, 2, &isnull));
        event.occurred_at = DatumGetTimestampTz(pg::result_value(row, 3, &isnull));
        const Datum correlation_id = pg::result_value(row, 4, &isnull);
        event.has_correlation_id = !isnull;
        if (!isnull)
            event.correlation_id = datumCopy(correlation_id, false, -1);
        const Datum session_id = pg::result_value(row, 5, &isnull);
        event.has_session_id = !isnull;
        if (!isnull)
            event.session_id = datumCopy(session_id, false, UUID_LEN);
    }
    SPI_freetuptable(SPI_tuptable);
    return events;
}

bool refunds_wait(const Rows& rows, std::span<const Datum> conversion_ids) {
    return !find_refunds(rows, conversion_ids).empty();
}

std::uint64_t allocate_refunds(Rows* rows, std::span<const Datum> conversion_ids, bool only_next,
                               pg_uuid_t* current, std::uint64_t* row_count) {
    const std::span<Refund> refunds = find_refunds(*rows, conversion_ids);
    check_refunds_are_visible(*rows, refunds);
    std::uint64_t taken = 0;
    for (std::size_t i = 0; i < refunds.size();) {
        CHECK_FOR_INTERRUPTS();
        const std::size_t conversion = refunds[i].conversion;
        const std::span<Left> left = find_left(*rows, conversion_ids[conversion]);
        for (bool first = true; i < refunds.size() && refunds[i].conversion == conversion; ++i) {
            if (left.empty() || (only_next && !first))
                continue;
            first = false;
            *current = *DatumGetUUIDP(refunds[i].event.id);
            const core::Cents cents =
                check_refund(*rows, refunds[i].event, conversion_ids[conversion], left);
            add_refund(rows, refunds[i].event, cents, left);
            ++taken;
        }
    }
    *row_count += write_rows(rows, false);
    return taken;
}

} // namespace attribution::entry

using namespace attribution;

// The way of computed rows into a query. The argument is the address of the stream.
ATTRIBUTION_FUNCTION(attribution_computed_allocations) {
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    if (result == nullptr || !IsA(result, ReturnSetInfo) ||
        (result->allowedModes & SFRM_Materialize) == 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("set-valued function called in context that cannot accept a set")));
    entry::Rows* rows = entry::all_rows;
    while (rows != nullptr && reinterpret_cast<std::intptr_t>(rows) != PG_GETARG_INT64(0))
        rows = rows->next;
    if (rows == nullptr || rows->store == nullptr)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("no computed allocations wait to be written"),
                        errhint("This function is for the allocating functions alone.")));
    result->returnMode = SFRM_Materialize;
    result->setDesc = CreateTupleDescCopy(rows->columns);
    result->setResult = rows->store; // the executor frees it
    rows->store = nullptr;
    PG_RETURN_NULL();
}
