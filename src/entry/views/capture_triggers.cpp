// The rule: the tables that a view reads have the triggers that tracked_views requires, each once,
// enabled as they were installed, on whole tables, and calling the C functions of this module. One
// trigger too many is as wrong as one too few, since it would log sums twice.

#include "entry/views/capture_triggers.hpp"

#include <array>

#include "pg/own.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// A trigger that names the view in its first argument; more arguments are allowed, and ignored.
struct CapturingTrigger {
    using Columns = std::tuple<Oid, Oid, std::int32_t, std::string_view,
                               std::optional<std::string_view>, bool, bool, bool, std::string_view>;
    Oid table;
    Oid function;
    std::int32_t type;        // TRIGGER_TYPE_...
    std::string_view enabled; // TRIGGER_FIRES_...
    std::optional<std::string_view> condition;
    bool is_of_columns; // fires for updates of some columns only
    bool has_old_rows;
    bool has_new_rows;
    std::string_view identity;
};

// Conditions are read without what settings add to names: quotes, and a schema that is not in the
// search path. xmin and ctid: a trigger that was disabled and enabled again is another version of
// its row.
constexpr const char* find_triggers_sql = R"sql(
SELECT t.tgrelid, t.tgfoid, t.tgtype::integer, t.tgenabled::text,
       CASE WHEN t.tgqual IS NOT NULL THEN
           substring(replace(replace(pg_get_triggerdef(t.oid), '"', ''), 'attribution_internal.', '')
                     FROM 'WHEN [(](.*)[)] EXECUTE ') END,
       t.tgattr::text <> '', t.tgoldtable IS NOT NULL, t.tgnewtable IS NOT NULL,
       format('%s %s %s %s', t.oid, t.xmin, t.ctid, t.tgenabled)
FROM pg_catalog.pg_trigger t
WHERE NOT t.tgisinternal AND t.tgfoid = ANY ($1)
  AND substr(t.tgargs, 1, octet_length($2) + 1)
      = convert_to($2, 'UTF8') || decode('00', 'hex') -- arguments end with a zero
ORDER BY t.oid
)sql";
constinit pg::Statement<CapturingTrigger(std::span<const Oid>, std::string_view)> find_triggers{
    find_triggers_sql};

/// What the functions of this module are now.
struct FoundFunctions {
    using Columns = std::tuple<std::optional<std::string_view>, bool>;
    std::optional<std::string_view> versions; // NULL: there are none
    bool are_ours;                            // all of them are C functions of this module
};

// All functions of the module are in the library that refresh() is in.
constexpr const char* find_functions_sql = R"sql(
SELECT string_agg(format('%s %s %s', p.oid, p.xmin, p.ctid), ', ' ORDER BY p.oid),
       count(*) = cardinality($2)
           AND coalesce(bool_and(p.prolang = r.prolang AND p.probin = r.probin
                                 AND p.prosrc = 'attribution_' || p.proname
                                 AND NOT p.prosecdef AND p.proconfig IS NULL), false)
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_proc r ON r.pronamespace = $1 AND r.proname = 'refresh'
                         AND r.proargtypes = '25 25'::oidvector -- (text, text)
WHERE p.oid = ANY ($2)
)sql";
constinit pg::Statement<FoundFunctions(Oid, std::span<const Oid>)> find_functions{
    find_functions_sql};

constexpr const char* find_event_trigger_sql = R"sql(
SELECT format('%s %s %s', e.oid, e.xmin, e.ctid)
FROM pg_catalog.pg_event_trigger e
WHERE e.evtfoid = $1 AND e.evtenabled = 'A' AND e.evtevent = 'ddl_command_end'
  AND (e.evttags IS NULL OR 'REFRESH MATERIALIZED VIEW' = ANY (e.evttags))
ORDER BY e.oid
)sql";
constinit pg::Statement<std::string_view(Oid)> find_event_trigger{find_event_trigger_sql};

constexpr const char* trigger_fault =
    "a trigger that captures its changes is missing or not enabled as it was installed";
constexpr const char* function_fault =
    "a function that captures its changes is not the one that was installed";

bool is_each_row(const RequiredTrigger& required) {
    // A doubt about rows is raised by each of them, since those that a publisher sends fire no
    // statement trigger.
    return required.duty != Duty::log_rows && (required.events & TRIGGER_TYPE_TRUNCATE) == 0;
}

/// The condition of the trigger, as PostgreSQL writes it; none when it has none.
std::optional<std::string_view> condition_of(const RequiredTrigger& required) {
    switch (required.duty) {
    case Duty::log_altered_rows:
        return required.altered;
    case Duty::raise_doubt_if_replicated:
        return "is_replicated_row()";
    case Duty::log_rows:
    case Duty::raise_doubt:
        return std::nullopt;
    }
    pg_unreachable();
}

/// True when the trigger does what is required; the table and the function are compared by the
/// caller.
bool does_duty(const CapturingTrigger& found, const RequiredTrigger& required) {
    const bool gets_rows = required.duty == Duty::log_rows;
    const int type = required.events | (is_each_row(required) ? TRIGGER_TYPE_ROW : 0);
    const char enabled = required.duty == Duty::raise_doubt_if_replicated ? TRIGGER_FIRES_ON_REPLICA
                                                                          : TRIGGER_FIRES_ALWAYS;
    return found.type == type && found.enabled.size() == 1 && found.enabled[0] == enabled &&
           !found.is_of_columns && found.condition == condition_of(required) &&
           found.has_old_rows == (gets_rows && (required.events & (TRIGGER_TYPE_UPDATE |
                                                                   TRIGGER_TYPE_DELETE)) != 0) &&
           found.has_new_rows ==
               (gets_rows && (required.events & (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE)) != 0);
}

/// True when the triggers are those required, each of them once.
bool are_as_required(const pg::Rows<CapturingTrigger>& triggers, const TrackedView& view,
                     Oid capture_function, Oid doubt_function) {
    if (triggers.size() != view.triggers.size())
        return false;
    for (const RequiredTrigger& required : view.triggers) {
        const Oid table = pg::find_own_relation(required.table);
        const bool logs =
            required.duty == Duty::log_rows || required.duty == Duty::log_altered_rows;
        int count = 0;
        for (const CapturingTrigger& found : triggers)
            if (found.table == table &&
                found.function == (logs ? capture_function : doubt_function) &&
                does_duty(found, required))
                ++count;
        if (count != 1)
            return false;
    }
    return true;
}

} // namespace

Capture describe_capture(const TrackedView& view) {
    const Oid capture_function = pg::internal_function(view.capture_function);
    const Oid doubt_function = pg::internal_function("doubt_view");
    const Oid refresh_function = pg::internal_function("notice_refresh");
    const Oid trigger_functions[] = {capture_function, doubt_function};
    const auto triggers = find_triggers.run(trigger_functions, view.name);
    const auto event_trigger = find_event_trigger.run(refresh_function).first();
    if (!event_trigger || !are_as_required(triggers, view, capture_function, doubt_function))
        return {.fault = trigger_fault, .description = nullptr};
    const Oid functions[] = {capture_function, doubt_function, refresh_function,
                             pg::internal_function("is_replicated_row")};
    const FoundFunctions found = find_functions.run(pg::own_schema(), functions)[0];
    if (!found.are_ours)
        return {.fault = function_fault, .description = nullptr};
    StringInfoData description;
    initStringInfo(&description);
    appendStringInfo(&description, "%u %u:", pg::own_relation(view.name),
                     pg::internal_relation(view.log));
    for (const CapturingTrigger& trigger : triggers)
        appendStringInfo(&description, " %.*s,", static_cast<int>(trigger.identity.size()),
                         trigger.identity.data());
    appendStringInfo(&description, "; %.*s; %.*s", static_cast<int>(event_trigger->size()),
                     event_trigger->data(), static_cast<int>(found.versions->size()),
                     found.versions->data());
    return {.fault = nullptr, .description = description.data};
}

} // namespace attribution::entry
