// journeys: see journeys.hpp.
//
// One statement reads the touches of many conversions, one journey after the other. A journey is
// weighed as soon as the first touch of the next one arrives, so there is memory for one of them at
// a time.

#include <algorithm>

#include "core/journey.hpp"

#include "entry/allocation/journeys.hpp"

#include "pg/arena.hpp"
#include "pg/boundary.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// The conversions whose touches are read, and the journey that is being gathered.
struct JourneyReader {
    Rows* rows;
    const core::ModelDefinition* definition;
    std::span<const Event> conversions;
    std::size_t current; // the conversion whose touches are gathered
    // In rows->scratch, with room for more touches than there are.
    std::span<core::JourneyTouch> room;
    std::size_t touch_count;
};

pg::NumericDatum weight_datum(std::uint64_t weight, int decimals) {
    const Datum scaled = pg::scaled_numeric(static_cast<std::int64_t>(weight), decimals);
    return {decimals == 0 ? scaled : DirectFunctionCall1(numeric_trim_scale, scaled)};
}

[[noreturn]] void raise_too_many_channels(const Event& conversion, std::size_t count) {
    ereport(ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("journey has too many channels"),
             errdetail("%zu channels of event %s get credit, at most %zu are allowed.", count,
                       pg::uuid_text(conversion.id), max_channels),
             errhint("Shorten the lookback window or exclude channels.")));
    pg_unreachable();
}

/// All touches of the current conversion are gathered: adds its rows and goes on to the next
/// conversion. In rows->scratch, which it empties.
void finish_journey(JourneyReader* reader) {
    Assert(reader->current < reader->conversions.size());
    Assert(CurrentMemoryContext == reader->rows->scratch);
    const Event& conversion = reader->conversions[reader->current];
    const std::span<core::JourneyTouch> journey = reader->room.first(reader->touch_count);
    const core::Arena arena = pg::arena();
    core::WeighedJourney weighed;
    pg::guarded([&] {
        weighed =
            core::weigh_journey(*reader->definition, conversion.occurred_at.value, journey, arena);
    });
    if (weighed.channels.size() > max_channels)
        raise_too_many_channels(conversion, weighed.channels.size());

    const int decimals = core::weight_decimals(reader->definition->model.method);
    const auto shares = pg::make_span<ChannelShare>(weighed.channels.size());
    for (std::size_t i = 0; i < shares.size(); ++i) {
        shares[i].channel = weighed.channels[i];
        shares[i].weight = weight_datum(weighed.weights[i], decimals);
    }
    add_conversion(reader->rows, conversion, shares, weighed.weights);

    ++reader->current;
    reader->room = {};
    reader->touch_count = 0;
    MemoryContextReset(reader->rows->scratch);
}

/// Adds a touch to the journey that is being gathered, with a text of its own.
void add_touch(JourneyReader* reader, core::JourneyTouch touch) {
    if (reader->touch_count == reader->room.size()) {
        const auto larger =
            pg::make_span<core::JourneyTouch>(std::max<std::size_t>(reader->room.size() * 2, 16));
        std::copy(reader->room.begin(), reader->room.end(), larger.begin());
        if (!reader->room.empty())
            pfree(reader->room.data());
        reader->room = larger;
    }
    touch.channel = pg::copied(touch.channel);
    reader->room[reader->touch_count++] = touch;
}

/// Takes one row of the statement: a touch of the conversion number `conversion`.
void receive_touch(JourneyReader* reader, std::size_t conversion, const core::JourneyTouch& touch) {
    if (conversion < reader->current || conversion >= reader->conversions.size())
        elog(ERROR, "touches came out of order");
    const MemoryContext before = MemoryContextSwitchTo(reader->rows->scratch);
    while (reader->current < conversion)
        finish_journey(reader);
    // One more than is allowed is enough for the core to refuse the journey.
    if (reader->touch_count <= core::max_touches &&
        !core::is_excluded(*reader->definition, touch.channel))
        add_touch(reader, touch);
    MemoryContextSwitchTo(before);
}

} // namespace

void add_by_model(Rows* rows, const core::ModelDefinition& definition,
                  std::span<const Event> conversions) {
    using Row = std::tuple<std::int64_t, std::string_view, pg::Timestamptz, core::Uuid>;
    // OFFSET 0: the planner must not turn a thousand index lookups into a scan of the table. Only
    // the session is looked up: with one more condition inside, a plan may read all that the tenant
    // has in the lookback window, for each journey.
    static constinit pg::Statement<Row(core::Uuid, std::span<const std::optional<core::Uuid>>,
                                       std::span<const pg::Timestamptz>, pg::IntervalDatum)>
        find{R"sql(
        SELECT k.i, t.channel, t.occurred_at, t.id
        FROM ROWS FROM (unnest($2), unnest($3)) WITH ORDINALITY AS k (session_id, converted_at, i),
        LATERAL (
            SELECT e.tenant_id, e.event_type, e.channel, e.occurred_at, e.id
            FROM attribution.attribution_events e
            WHERE e.session_id = k.session_id
            OFFSET 0) t
        WHERE t.tenant_id = $1 AND t.event_type = 'touch'
          AND t.occurred_at <= k.converted_at AND t.occurred_at >= k.converted_at - $4)sql"};
    const auto sessions = pg::make_span<std::optional<core::Uuid>>(conversions.size());
    const auto times = pg::make_span<pg::Timestamptz>(conversions.size());
    for (std::size_t i = 0; i < conversions.size(); ++i) {
        sessions[i] = conversions[i].session_id;
        times[i] = conversions[i].occurred_at;
    }
    Interval lookback{.time = definition.lookback_us, .day = 0, .month = 0};
    JourneyReader reader{.rows = rows,
                         .definition = &definition,
                         .conversions = conversions,
                         .current = 0,
                         .room = {},
                         .touch_count = 0};
    find.stream(
        [&](const Row& row) {
            const auto& [number, channel, occurred_at, id] = row;
            receive_touch(&reader, static_cast<std::size_t>(number - 1),
                          {.channel = channel, .occurred_at_us = occurred_at.value, .id = id});
        },
        rows->tenant_id, sessions, times, pg::IntervalDatum{IntervalPGetDatum(&lookback)});
    const MemoryContext before = MemoryContextSwitchTo(rows->scratch);
    while (reader.current < conversions.size())
        finish_journey(&reader);
    MemoryContextSwitchTo(before);
}

} // namespace attribution::entry
