// The keys of the check: what a changed row may have made wrong.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "pg/vector.hpp"

namespace attribution::entry {

/// One thing that must be checked, by the event or conversion that it is about. `model` says what:
/// the number of a model version stands for the sum of the event's allocations under it, and one of
/// the kinds below for what concerns an event under all of them.
struct CheckKey {
    Oid allocations; // the table
    uint32 model;
    core::Uuid tenant_id;
    core::Uuid event_id;
    friend bool operator==(const CheckKey&, const CheckKey&) = default;
};
static_assert(sizeof(CheckKey) == 40, "hashed as bytes: no padding");

// The revenue of the event changed: its sums under all model versions must be checked, and its
// refunds.
inline constexpr uint32 revenue_of_event = 0;
// A refund of the conversion was inserted: the refunds must be checked.
inline constexpr uint32 refunds_of_conversion = PG_UINT32_MAX;
// The conversion or a refund of it was deleted: the refunds must be checked, and the channels under
// all model versions.
inline constexpr uint32 family_of_conversion = PG_UINT32_MAX - 1;

/// Keys that are looked up together: between two snapshots, or in one run of a statement.
inline constexpr std::size_t max_batch = 1024;

inline bool is_of_conversion(const CheckKey& key) {
    return key.model == refunds_of_conversion || key.model == family_of_conversion;
}

inline bool names_a_model(const CheckKey& key) {
    return key.model != revenue_of_event && !is_of_conversion(key);
}

inline bool is_same_event(const CheckKey& a, const CheckKey& b) {
    return a.tenant_id == b.tenant_id && a.event_id == b.event_id;
}

/// The number that stands for a model version in the keys of this transaction, from 1.
uint32 model_number(std::string_view model_version);

/// The model version that a key names; "" for a key that names none. The text is valid until the
/// transaction ends.
const char* model_version_of(const CheckKey& key);

/// Discards the numbers of the model versions. Called when the transaction ends.
void forget_model_numbers();

/// The order in which conversions are locked and keys are checked: by table, tenant and event. Of
/// one event, a key that names no model version comes before those that do. Returns a number below,
/// at or above 0, as memcmp does.
int compare_keys(const CheckKey& a, const CheckKey& b);

void sort_keys(std::span<CheckKey> keys);

/// True for sorted keys of one table, of which there is at least one.
bool are_sorted_of_one_table(std::span<const CheckKey> keys);

/// Sorts the keys and removes duplicates.
void sort_and_deduplicate(pg::Vector<CheckKey>* keys);

/// Removes the keys of events that are also in `others`. Both are sorted; the keys of `others` name
/// no model version.
void remove_events(pg::Vector<CheckKey>* keys, std::span<const CheckKey> others);

} // namespace attribution::entry
