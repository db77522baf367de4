// The rules, as statements: what is wrong with the keys of one pair of tables.
#pragma once

#include "entry/check/key.hpp"
#include "entry/check/violation.hpp"

namespace attribution::entry {

struct Tables;

/// Locks the conversions of the keys, which are sorted and of one table, then adds to `findings`
/// what the rules find wrong. Reorders the keys. `may_have_refunds`: some keys may be of refunds or
/// of conversions that have refunds; a wrong false costs a second pass. Inside an SPI connection
/// and prefer_indexes(); `batch_memory` is reset between batches.
void apply_rules(std::span<CheckKey> keys, bool may_have_refunds, Findings* findings,
                 MemoryContext batch_memory);

/// Locks one conversion as the rules do. Inside an SPI connection.
void lock_one(Tables& tables, const core::Uuid& tenant_id, const core::Uuid& conversion_id);

/// True when the rules, under this snapshot, find nothing wrong with the keys and nothing that
/// would have them look further. The conversions are locked. For assertions.
bool find_nothing(Tables& tables, std::span<const CheckKey> keys, Snapshot snapshot);

} // namespace attribution::entry
