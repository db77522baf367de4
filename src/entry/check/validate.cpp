// validate: no transaction commits allocations that do not sum to their event's revenue, refunds
// that exceed their conversion, or a channel below zero.
//
// The one idea: the guarantee is a deferred row trigger, so every changed row asks at COMMIT, on
// whatever path it came; but the first one that asks has all open keys checked together.
//
//     statement   note_allocation_change, note_event_revenue    one call per row: opens its key
//        ...
//     COMMIT      check_allocation_sum, check_event_revenue     one call per row: is the key
//                                       checked? then done, else check all open keys at once:
//                    1. lock their conversions FOR NO KEY UPDATE, in (tenant, event) order
//                    2. take a snapshot newer than the locks, at every isolation level
//                    3. sum, compare, raise
//
// The order 1, 2, 3 is what two sessions that each insert 100 % cannot slip through: the second
// one waits at 1 and sees the first one's rows at 3. FOR UPDATE at 1 would deadlock with the FOR
// KEY SHARE that the foreign-key checks of both sessions hold.
//
// A family is a conversion and its refunds. Three rules hold for it, and its conversion's row is
// the one lock for all of them; the refunds' own rows need none, since whoever checks them has
// locked the conversion. Which family an event belongs to never changes (event_key_is_immutable),
// so it may be looked up before the lock.
//
//     rule                              of                                  asked by a change of
//     allocation_sum_equals_revenue     an event and model version          allocations, revenue
//     refunds_do_not_exceed_conversion  a conversion                        refunds, revenue
//     channel_is_not_below_zero         a conversion, model version,        allocations, refunds
//                                       channel                             that are deleted
//
// All statements run as the owner of the tables, past row security, as PostgreSQL's own foreign-key
// checks do: the invoker may lack UPDATE, or may have switched the tenant before COMMIT.
//
//     key.hpp         what a changed row may have made wrong
//     open_keys.hpp   the keys that the transaction must still check
//     plain.hpp       the short way for keys that are certainly right
//     rules.hpp       the statements that decide about all other keys
//     violation.hpp   what a user reads
//     tables.hpp      the tables, found from the one that fired
//     immutable.hpp   refuses changes of the keys that the check relies on
//
// README.md says why the statements are written as they are, and who takes which locks in which
// order.

#include "entry/check/validate.hpp"

#include "entry/check/immutable.hpp"
#include "entry/check/open_keys.hpp"
#include "entry/check/plain.hpp"
#include "entry/check/rules.hpp"
#include "entry/check/tables.hpp"
#include "pg/columns.hpp"
#include "pg/own.hpp"
#include "pg/planning.hpp"
#include "pg/relation.hpp"
#include "pg/wait_point.hpp"

namespace attribution::entry {
namespace {

// ---------------------------------------------------------------------------------------------
// Which keys a changed row concerns

CheckKey key_of_allocation(const Tables& tables, TupleTableSlot* row) {
    const AllocationColumns& columns = tables.allocation;
    return {.allocations = tables.allocations,
            .model = model_number(pg::column_value<std::string_view>(row, columns.model_version)),
            .tenant_id = pg::column_value<core::Uuid>(row, columns.tenant_id),
            .event_id = pg::column_value<core::Uuid>(row, columns.event_id)};
}

/// The key of what may be wrong after the change of an event: a refund was inserted, a revenue was
/// changed, or an event was deleted. None when an event other than a refund was inserted.
std::optional<CheckKey> key_of_event(const TriggerData* trigger) {
    const EventTable& table = event_table_of(trigger->tg_relation);
    const EventColumns& columns = table.columns;
    const bool is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
    const bool is_insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
    TupleTableSlot* row = is_update ? trigger->tg_newslot : trigger->tg_trigslot;
    const auto refund_of = pg::column_value<std::optional<core::Uuid>>(row, columns.refund_of);
    if (is_insert && !refund_of)
        return std::nullopt;
    return CheckKey{.allocations = table.allocations,
                    .model = is_update   ? revenue_of_event
                             : is_insert ? refunds_of_conversion
                                         : family_of_conversion,
                    .tenant_id = pg::column_value<core::Uuid>(row, columns.tenant_id),
                    .event_id = is_update || !refund_of
                                    ? pg::column_value<core::Uuid>(row, columns.id)
                                    : *refund_of};
}

/// Opens the key of an allocation. An amount below zero is taken for that of a refund. The guess
/// may miss a refund (an amount of 0, or rows written by hand); the check then finds the refund
/// itself.
void open_allocation(const Tables& tables, TupleTableSlot* row, const CheckKey& key) {
    open_key(key);
    if (pg::column_value<core::Cents>(row, tables.allocation.cents) < 0)
        expect_refunds();
}

// ---------------------------------------------------------------------------------------------
// The check

/// Calls check(keys) for the keys of each pair of tables. The keys are sorted.
template <class Check>
void each_table(std::span<CheckKey> keys, Check check) {
    while (!keys.empty()) {
        std::size_t count = 1;
        while (count < keys.size() && keys[count].allocations == keys.front().allocations)
            ++count;
        check(keys.first(count));
        keys = keys.subspan(count);
    }
}

/// Removes the keys that the short way finds certainly right. The keys are sorted; their
/// conversions are locked. Returns the keys that are left to the rules, moved to the front in their
/// order.
std::span<CheckKey> take_out_certain(std::span<CheckKey> keys) {
    std::size_t left = 0;
    each_table(keys, [&](std::span<CheckKey> of_table) {
        const auto verdicts = pg::make_span<Verdict>(of_table.size());
        judge_plainly(of_table, verdicts);
        for (std::size_t i = 0; i < of_table.size(); ++i)
            if (verdicts[i] == Verdict::left_to_rules)
                keys[left++] = of_table[i];
        pfree(verdicts.data());
    });
    return keys.first(left);
}

/// Checks the keys, which it reorders. Raises the first violation, with the number of all.
void check_keys(std::span<CheckKey> keys, bool may_have_refunds) {
    sort_keys(keys);
    if (!may_have_refunds)
        keys = take_out_certain(keys);
    if (keys.empty())
        return;
    SPI_connect();
    Findings findings(CurrentMemoryContext);
    const MemoryContext batch_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution check", ALLOCSET_DEFAULT_SIZES);
    const int settings = pg::prefer_indexes();
    each_table(keys, [&](std::span<CheckKey> of_table) {
        apply_rules(of_table, may_have_refunds, &findings, batch_memory);
    });
    pg::restore_settings(settings);
    findings.raise_first();
    SPI_finish();
}

/// For a row whose deferred trigger fires: returns at once when its key is checked, else checks all
/// open keys, or this one alone when it is not tracked.
void check_row(const CheckKey& key) {
    switch (state_of(key)) {
    case KeyState::checked:
        return;
    case KeyState::untracked: {
        CheckKey alone = key;
        check_keys(std::span(&alone, 1), true);
        return;
    }
    case KeyState::open: {
        const OpenKeys open = copy_open_keys();
        check_keys(open.keys, open.may_have_refunds);
        close_keys();
        pfree(open.keys.data());
    }
    }
}

} // namespace

void lock_conversion(const core::Uuid& tenant_id, const core::Uuid& conversion_id) {
    Relation events = table_open(pg::own_relation("attribution_events"), RowShareLock);
    Relation allocations = table_open(event_table_of(events).allocations, AccessShareLock);
    const int settings = pg::prefer_indexes();
    lock_one(tables_of(allocations), tenant_id, conversion_id);
    pg::restore_settings(settings);
    table_close(allocations, AccessShareLock);
    table_close(events, RowShareLock);
}

void check_refunds(const core::Uuid& tenant_id, const core::Uuid& conversion_id) {
    Relation events = table_open(pg::own_relation("attribution_events"), AccessShareLock);
    CheckKey key = {.allocations = event_table_of(events).allocations,
                    .model = refunds_of_conversion,
                    .tenant_id = tenant_id,
                    .event_id = conversion_id};
    table_close(events, AccessShareLock);
    check_keys(std::span(&key, 1), true);
}

void watch_checks() {
    watch_transactions();
    pg::define_wait_points();
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_note_allocation_change) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "note_allocation_change");
    entry::Tables& tables = entry::tables_of(trigger->tg_relation);
    const entry::CheckKey key = entry::key_of_allocation(tables, trigger->tg_trigslot);
    entry::open_allocation(tables, trigger->tg_trigslot, key);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
        entry::open_allocation(tables, trigger->tg_newslot, key);
        entry::refuse_change_of_key(trigger, tables);
        entry::refuse_change_of_posted(trigger, tables);
    }
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_allocation_sum) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_allocation_sum");
    const entry::Tables& tables = entry::tables_of(trigger->tg_relation);
    entry::check_row(entry::key_of_allocation(tables, trigger->tg_trigslot));
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
        entry::check_row(entry::key_of_allocation(tables, trigger->tg_newslot));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_note_event_revenue) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "note_event_revenue");
    if (const auto key = entry::key_of_event(trigger))
        entry::open_key(*key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_event_revenue) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_event_revenue");
    if (const auto key = entry::key_of_event(trigger))
        entry::check_row(*key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
