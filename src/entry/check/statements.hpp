// The statements of the check, written for a pair of tables that are known by their OIDs.
//
// Each takes arrays of one length, a key at each place, and finds the rows of a key by its number,
// counted from 1. README.md says how the statements are written so that their plans stay look-ups
// whatever the planner believes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>

#include "pg/statement.hpp"

namespace attribution::entry {

using Uuids = std::span<const core::Uuid>;
using Texts = std::span<const std::string_view>;
using Amount = std::optional<std::string_view>; // of cents, as text: it may not fit 64 bits

/// A key whose event is a refund, and the conversion that it refunds.
struct RefundRow {
    using Columns = std::tuple<std::int64_t, core::Uuid>;
    std::int64_t number;
    core::Uuid conversion_id;
};

/// A sum that differs from the revenue (`is_wrong`), or one that is right, where the channels must
/// be looked at as well: the conversion has refunds, or an amount below zero (`has_family`), or the
/// event is itself a refund.
struct SumRow {
    using Columns =
        std::tuple<std::int64_t, std::string_view, Amount, Amount, Amount, bool, bool, bool>;
    std::int64_t number;
    std::string_view model_version;
    Amount revenue; // none: the event is missing
    Amount allocated;
    Amount drift;
    bool is_wrong, has_family, is_refund;
};

/// A sum that differs from the revenue, under any model version.
struct AnySumRow {
    using Columns = std::tuple<std::int64_t, std::string_view, Amount, Amount, Amount>;
    std::int64_t number;
    std::string_view model_version;
    Amount revenue, allocated, drift;
};

/// A conversion whose refunds exceed it, or something refunded that is no conversion.
struct ExcessRow {
    using Columns =
        std::tuple<std::int64_t, std::optional<std::string_view>, Amount, Amount, Amount>;
    std::int64_t number;
    std::optional<std::string_view> event_type; // none: the event is missing
    Amount revenue, refunded, excess;
};

/// A channel that a conversion and its refunds leave below zero.
struct ChannelRow {
    using Columns = std::tuple<std::int64_t, std::string_view, std::string_view, Amount>;
    std::int64_t number;
    std::string_view model_version;
    std::string_view channel;
    Amount cents;
};

struct CheckStatements {
    /// Which of the events are refunds, in the order of the keys.
    pg::Statement<RefundRow(Uuids tenants, Uuids events)> find_refunds;
    /// Locks the events FOR NO KEY UPDATE, in the order of the keys; how many there are.
    pg::Statement<std::int64_t(Uuids tenants, Uuids events)> lock;

    // The rules. They return what is wrong in the order of the keys.
    pg::Statement<SumRow(Uuids tenants, Uuids events, Texts models, pg::NumericDatum tolerance)>
        sums;
    pg::Statement<AnySumRow(Uuids tenants, Uuids events, pg::NumericDatum tolerance)>
        sums_of_all_models;
    pg::Statement<ExcessRow(Uuids tenants, Uuids conversions)> excess;
    pg::Statement<ChannelRow(Uuids tenants, Uuids conversions, Texts models)> channels;
    pg::Statement<ChannelRow(Uuids tenants, Uuids conversions)> channels_of_all_models;

    /// Finds a row for an allocation that is in the ledger. The statement has no text where no
    /// ledger references the table of allocations.
    pg::Statement<std::int32_t(core::Uuid tenant, core::Uuid allocation)> find_posting;

    /// Writes the texts for these tables, into CacheMemoryContext. `ledger` may be InvalidOid.
    void write(Oid allocations, Oid events, Oid ledger);

    /// Frees plans and texts.
    void discard();
};

} // namespace attribution::entry
