#include "entry/check/rules.hpp"

#include <algorithm>

#include "entry/check/tables.hpp"
#include "entry/session/settings.hpp"
#include "pg/relation.hpp"
#include "pg/planning.hpp"
#include "pg/wait_point.hpp"

namespace attribution::entry {
namespace {

/// What all steps of a check of one pair of tables share.
struct Check {
    Tables& tables;
    Findings* findings;
    MemoryContext batch_memory;
};

/// Keys as the arguments of a statement, palloc'd.
struct Arguments {
    std::span<core::Uuid> tenants, events;
    std::span<std::string_view> models;
};

Arguments arguments_of(std::span<const CheckKey> keys) {
    const Arguments arguments = {.tenants = pg::make_span<core::Uuid>(keys.size()),
                                 .events = pg::make_span<core::Uuid>(keys.size()),
                                 .models = pg::make_span<std::string_view>(keys.size())};
    for (std::size_t i = 0; i < keys.size(); ++i) {
        arguments.tenants[i] = keys[i].tenant_id;
        arguments.events[i] = keys[i].event_id;
        arguments.models[i] = model_version_of(keys[i]);
    }
    return arguments;
}

pg::NumericDatum tolerance() {
    return {DirectFunctionCall1(int4_numeric, Int32GetDatum(sum_tolerance_cents))};
}

/// Calls run(batch, arguments) for the keys, a batch at a time, in memory that goes with the batch.
template <class Run>
void each_batch(const Check& check, std::span<const CheckKey> keys, Run run) {
    const MemoryContext memory = MemoryContextSwitchTo(check.batch_memory);
    for (; !keys.empty(); keys = keys.subspan(std::min(max_batch, keys.size()))) {
        CHECK_FOR_INTERRUPTS();
        const auto batch = keys.first(std::min(max_batch, keys.size()));
        run(batch, arguments_of(batch));
        MemoryContextReset(check.batch_memory);
    }
    MemoryContextSwitchTo(memory);
}

// ---------------------------------------------------------------------------------------------
// Conversions and refunds

/// A conversion that the event of the key at a place among the keys refunds.
struct RefundedConversion {
    std::size_t place;
    core::Uuid conversion_id;
};

CheckKey key_of_conversion(const CheckKey& key, const core::Uuid& conversion_id, uint32 kind) {
    return {.allocations = key.allocations,
            .model = kind,
            .tenant_id = key.tenant_id,
            .event_id = conversion_id};
}

/// The keys whose events are refunds, also those that were inserted after this transaction's
/// snapshot, in the order of the keys. A key of the kinds refunds_of_conversion and
/// family_of_conversion is left out even where its event is itself a refund: then a refund names
/// another refund, which the refunds rule reports.
pg::Vector<RefundedConversion> find_refunded(const Check& check, std::span<const CheckKey> keys) {
    pg::Vector<RefundedConversion> found(CurrentMemoryContext);
    std::size_t first = 0;
    each_batch(check, keys, [&](std::span<const CheckKey> batch, const Arguments& arguments) {
        auto rows =
            check.tables.statements.find_refunds.run_latest(arguments.tenants, arguments.events);
        for (const RefundRow& row : rows) {
            const std::size_t place = first + static_cast<std::size_t>(row.number) - 1;
            if (!is_of_conversion(keys[place]))
                found.push_back({.place = place, .conversion_id = row.conversion_id});
        }
        rows.free();
        first += batch.size();
    });
    return found;
}

/// Locks the conversions of the keys in the order of their ids, so that sessions wait for each
/// other in one order: the conversions among the keys, merged with those of the refunds.
void lock_families(const Check& check, std::span<const CheckKey> keys,
                   std::span<const RefundedConversion> refunds) {
    pg::Vector<CheckKey> refunded(CurrentMemoryContext);
    for (const RefundedConversion& refund : refunds)
        refunded.push_back(
            key_of_conversion(keys[refund.place], refund.conversion_id, refunds_of_conversion));
    sort_and_deduplicate(&refunded);

    const auto batch = pg::make_span<CheckKey>(max_batch);
    std::size_t key = 0, refund = 0, other = 0, size = 0;
    const auto lock_batch = [&] {
        each_batch(check, batch.first(size), [&](auto, const Arguments& arguments) {
            check.tables.statements.lock.run_latest(arguments.tenants, arguments.events).free();
        });
        size = 0;
    };
    for (;;) {
        for (; refund < refunds.size() && refunds[refund].place == key; ++refund)
            ++key; // the refund's own row needs no lock
        if (key == keys.size() && other == refunded.size())
            break;
        const bool is_key_next =
            other == refunded.size() ||
            (key < keys.size() && compare_keys(keys[key], refunded[other]) < 0);
        const CheckKey& next = is_key_next ? keys[key++] : refunded[other++];
        Assert(size == 0 || compare_keys(batch[size - 1], next) <= 0);
        if (size > 0 && is_same_event(batch[size - 1], next))
            continue;
        if (size == batch.size())
            lock_batch();
        batch[size++] = next;
    }
    lock_batch();
    pfree(batch.data());
}

// ---------------------------------------------------------------------------------------------
// Violations

const char* copied_or_null(const std::optional<std::string_view>& value) {
    return value ? pg::copied(*value).data() : nullptr;
}

const char* copied_text(std::string_view value) {
    return pg::copied(value).data();
}

Violation violation_of(const Tables& tables, const CheckKey& key, std::string_view model_version,
                       const Amount& revenue, const Amount& allocated, const Amount& drift) {
    return {.rule = Rule::sum,
            .relation = tables.allocations,
            .tenant_id = key.tenant_id,
            .event_id = key.event_id,
            .model_version = copied_text(model_version),
            .name = nullptr,
            .revenue = copied_or_null(revenue),
            .amount = copied_or_null(allocated),
            .difference = copied_or_null(drift)};
}

Violation violation_of(const Tables& tables, const CheckKey& key, const SumRow& row) {
    return violation_of(tables, key, row.model_version, row.revenue, row.allocated, row.drift);
}

Violation violation_of(const Tables& tables, const CheckKey& key, const AnySumRow& row) {
    return violation_of(tables, key, row.model_version, row.revenue, row.allocated, row.drift);
}

Violation violation_of(const Tables& tables, const CheckKey& key, const ExcessRow& row) {
    return {.rule = Rule::refunds,
            .relation = tables.events,
            .tenant_id = key.tenant_id,
            .event_id = key.event_id,
            .model_version = "",
            .name = copied_or_null(row.event_type),
            .revenue = copied_or_null(row.revenue),
            .amount = copied_or_null(row.refunded),
            .difference = copied_or_null(row.excess)};
}

Violation violation_of(const Tables& tables, const CheckKey& key, const ChannelRow& row) {
    return {.rule = Rule::channels,
            .relation = tables.allocations,
            .tenant_id = key.tenant_id,
            .event_id = key.event_id,
            .model_version = copied_text(row.model_version),
            .name = copied_text(row.channel),
            .revenue = nullptr,
            .amount = copied_or_null(row.cents),
            .difference = nullptr};
}

template <class Row>
bool is_wrong(const Row&) {
    return true;
}

bool is_wrong(const SumRow& row) {
    return row.is_wrong;
}

/// What the rows of a rule say is wrong with the keys, palloc'd.
template <class Row>
std::span<const Violation> violations_of(const Tables& tables, std::span<const CheckKey> keys,
                                         const pg::Rows<Row>& rows) {
    const auto violations = pg::make_span<Violation>(rows.size());
    std::size_t count = 0;
    for (const Row& row : rows)
        if (is_wrong(row))
            violations[count++] =
                violation_of(tables, keys[static_cast<std::size_t>(row.number) - 1], row);
    return violations.first(count);
}

/// Runs a statement under the latest snapshot, or under the one that is given.
template <class Row, class... Parameter, class... Argument>
pg::Rows<Row> run_under(Snapshot snapshot, pg::Statement<Row(Parameter...)>& statement,
                        const Argument&... arguments) {
    return snapshot == nullptr ? statement.run_latest(arguments...)
                               : statement.run_as_of(snapshot, arguments...);
}

/// Applies a rule to the keys and adds what it finds wrong to the findings. run(arguments,
/// snapshot) runs the statement of the rule; a snapshot of nullptr stands for the latest one.
/// visit(batch, rows) is called with the rows found under the latest snapshot.
template <class Run, class Visit>
void apply(const Check& check, std::span<const CheckKey> keys, Run run, Visit visit) {
    each_batch(check, keys, [&](std::span<const CheckKey> batch, const Arguments& arguments) {
        auto rows = run(arguments, nullptr);
        visit(batch, rows);
        const auto latest = violations_of(check.tables, batch, rows);
        rows.free();
        // What is wrong under the latest snapshot only was made wrong by a concurrent transaction:
        // this transaction may succeed when it runs again, so its error is 40001.
        if (!latest.empty() && IsolationUsesXactSnapshot()) {
            auto own_rows = run(arguments, GetTransactionSnapshot());
            check.findings->add(latest, violations_of(check.tables, batch, own_rows));
            own_rows.free();
        } else {
            check.findings->add(latest, latest);
        }
    });
}

template <class Run>
void apply(const Check& check, std::span<const CheckKey> keys, Run run) {
    apply(check, keys, run, [](auto, const auto&) {});
}

// ---------------------------------------------------------------------------------------------
// The rules in turn

/// Which keys each rule is asked about. Those of sums stay at the front of the keys themselves.
struct KeysByRule {
    std::span<const CheckKey> sums;
    pg::Vector<CheckKey> sums_of_all_models;
    pg::Vector<CheckKey> refunds;
    pg::Vector<CheckKey> channels;
    pg::Vector<CheckKey> channels_of_all_models;
};

KeysByRule keys_by_rule(std::span<CheckKey> keys, std::span<const RefundedConversion> refunds) {
    const pg::Vector<CheckKey> none(CurrentMemoryContext);
    KeysByRule by_rule = {.sums = {},
                          .sums_of_all_models = none,
                          .refunds = none,
                          .channels = none,
                          .channels_of_all_models = none};
    std::size_t sums = 0, refund = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const CheckKey key = keys[i];
        const bool is_refund = refund < refunds.size() && refunds[refund].place == i;
        const core::Uuid conversion_id = is_refund ? refunds[refund++].conversion_id : key.event_id;
        if (!names_a_model(key)) {
            if (key.model == revenue_of_event)
                by_rule.sums_of_all_models.push_back(key);
            if (key.model == family_of_conversion)
                by_rule.channels_of_all_models.push_back(key);
            by_rule.refunds.push_back(key_of_conversion(key, conversion_id, refunds_of_conversion));
            continue;
        }
        // A key without model version comes before those of the same event and covers them.
        const bool is_covered = !by_rule.sums_of_all_models.empty() &&
                                is_same_event(by_rule.sums_of_all_models.back(), key);
        if (is_refund || is_covered)
            by_rule.channels.push_back(key_of_conversion(key, conversion_id, key.model));
        if (!is_covered)
            keys[sums++] = key;
    }
    by_rule.sums = keys.first(sums);
    sort_and_deduplicate(&by_rule.refunds);
    return by_rule;
}

void apply_refunds_rule(const Check& check, const KeysByRule& keys) {
    auto& statements = check.tables.statements;
    apply(check, keys.refunds.span(), [&](const Arguments& arguments, Snapshot snapshot) {
        return run_under(snapshot, statements.excess, arguments.tenants, arguments.events);
    });
}

/// Applies the sum rule. Adds to keys->channels the conversions that have refunds or an amount
/// below zero, whose channels must be checked as well. Returns true when one of the keys is of a
/// refund.
bool apply_sum_rule(const Check& check, KeysByRule* keys) {
    auto& statements = check.tables.statements;
    bool has_refund = false;
    apply(
        check, keys->sums,
        [&](const Arguments& arguments, Snapshot snapshot) {
            return run_under(snapshot, statements.sums, arguments.tenants, arguments.events,
                             arguments.models, tolerance());
        },
        [&](std::span<const CheckKey> batch, const pg::Rows<SumRow>& rows) {
            for (const SumRow& row : rows) {
                if (row.has_family)
                    keys->channels.push_back(batch[static_cast<std::size_t>(row.number) - 1]);
                has_refund = has_refund || row.is_refund;
            }
        });
    return has_refund;
}

void apply_all_models_sum_rule(const Check& check, const KeysByRule& keys) {
    auto& statements = check.tables.statements;
    apply(check, keys.sums_of_all_models.span(),
          [&](const Arguments& arguments, Snapshot snapshot) {
              return run_under(snapshot, statements.sums_of_all_models, arguments.tenants,
                               arguments.events, tolerance());
          });
}

void apply_channels_rule(const Check& check, KeysByRule* keys) {
    auto& statements = check.tables.statements;
    sort_and_deduplicate(&keys->channels);
    remove_events(&keys->channels, keys->channels_of_all_models.span());
    apply(check, keys->channels.span(), [&](const Arguments& arguments, Snapshot snapshot) {
        return run_under(snapshot, statements.channels, arguments.tenants, arguments.events,
                         arguments.models);
    });
    apply(check, keys->channels_of_all_models.span(),
          [&](const Arguments& arguments, Snapshot snapshot) {
              return run_under(snapshot, statements.channels_of_all_models, arguments.tenants,
                               arguments.events);
          });
}

/// Applies the rules to the keys of one pair of tables. Looking up which keys are of refunds costs
/// as much as the lock, so it is left out unless `may_have_refunds`. If the sum rule then finds
/// that a key is of a refund, this function restores keys and findings and returns false; the
/// caller calls it again with `may_have_refunds`.
bool try_rules(const Check& check, std::span<CheckKey> keys, bool may_have_refunds) {
    pg::CallerRights rights = pg::act_as_owner(check.tables.events);
    const auto refunds = may_have_refunds ? find_refunded(check, keys)
                                          : pg::Vector<RefundedConversion>(CurrentMemoryContext);
    lock_families(check, keys, refunds.span());
    pg::wait_point("between_lock_and_sum");

    KeysByRule by_rule = keys_by_rule(keys, refunds.span());
    apply_refunds_rule(check, by_rule);
    pg::act_as_caller(rights);

    // What the owner of the allocations may not see of another owner's events counts as missing.
    rights = pg::act_as_owner(check.tables.allocations);
    const Findings before = *check.findings;
    const bool has_refund = apply_sum_rule(check, &by_rule);
    if (has_refund && !may_have_refunds) {
        Assert(by_rule.sums.size() == keys.size());
        *check.findings = before;
        pg::act_as_caller(rights);
        return false;
    }
    apply_all_models_sum_rule(check, by_rule);
    apply_channels_rule(check, &by_rule);
    pg::act_as_caller(rights);
    pg::wait_point("after_sum");
    return true;
}

} // namespace

void apply_rules(std::span<CheckKey> keys, bool may_have_refunds, Findings* findings,
                 MemoryContext batch_memory) {
    Assert(are_sorted_of_one_table(keys));
    Relation allocations = table_open(keys.front().allocations, AccessShareLock);
    const Check check = {
        .tables = tables_of(allocations), .findings = findings, .batch_memory = batch_memory};
    if (!try_rules(check, keys, may_have_refunds))
        try_rules(check, keys, true);
    table_close(allocations, AccessShareLock);
}

void lock_one(Tables& tables, const core::Uuid& tenant_id, const core::Uuid& conversion_id) {
    const pg::CallerRights rights = pg::act_as_owner(tables.events);
    tables.statements.lock.run_latest(Uuids(&tenant_id, 1), Uuids(&conversion_id, 1)).free();
    pg::act_as_caller(rights);
}

bool find_nothing(Tables& tables, std::span<const CheckKey> keys, Snapshot snapshot) {
    SPI_connect();
    const int settings = pg::prefer_indexes();
    const pg::CallerRights rights = pg::act_as_owner(tables.allocations);
    const Arguments arguments = arguments_of(keys);
    auto& statements = tables.statements;
    const bool is_nothing =
        statements.sums
            .run_as_of(snapshot, arguments.tenants, arguments.events, arguments.models, tolerance())
            .empty() &&
        statements.channels
            .run_as_of(snapshot, arguments.tenants, arguments.events, arguments.models)
            .empty();
    pg::act_as_caller(rights);
    pg::restore_settings(settings);
    SPI_finish();
    return is_nothing;
}

} // namespace attribution::entry
