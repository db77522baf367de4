#include "entry/check/key.hpp"

#include <algorithm>

#include "pg/convert.hpp"

namespace attribution::entry {
namespace {

constexpr std::size_t max_model_length = 256;
static_assert(pg::max_text_bytes < max_model_length, "with a zero at the end");

struct ModelNumber {
    char name[max_model_length]; // hash key
    uint32 number;
};

/// The model versions of the transaction, in TopTransactionContext.
struct ModelNumbers {
    HTAB* by_name;
    pg::Vector<const char*> names; // number n is at n - 1
};
constinit ModelNumbers* model_numbers = nullptr;

ModelNumbers& current_model_numbers() {
    if (model_numbers != nullptr)
        return *model_numbers;
    HASHCTL control{};
    control.keysize = max_model_length;
    control.entrysize = sizeof(ModelNumber);
    control.hcxt = TopTransactionContext;
    auto* fresh =
        static_cast<ModelNumbers*>(MemoryContextAlloc(TopTransactionContext, sizeof(ModelNumbers)));
    *fresh = {.by_name = hash_create("attribution model versions", 16, &control,
                                     HASH_ELEM | HASH_STRINGS | HASH_CONTEXT),
              .names = pg::Vector<const char*>(TopTransactionContext)};
    model_numbers = fresh;
    return *fresh;
}

int compare_uuids(const core::Uuid& a, const core::Uuid& b) {
    return memcmp(a.data(), b.data(), a.size());
}

int compare_for_sort(const void* a, const void* b) {
    return compare_keys(*static_cast<const CheckKey*>(a), *static_cast<const CheckKey*>(b));
}

} // namespace

uint32 model_number(std::string_view model_version) {
    ModelNumbers& all = current_model_numbers();
    // The rows of one statement mostly have the same model version.
    if (!all.names.empty() && all.names.back() == model_version)
        return static_cast<uint32>(all.names.size());
    // The table's own check allows 255 bytes.
    if (model_version.size() >= max_model_length)
        elog(ERROR, "model version is too long");
    char name[max_model_length] = {};
    std::copy(model_version.begin(), model_version.end(), name);
    bool found;
    auto* model = static_cast<ModelNumber*>(hash_search(all.by_name, name, HASH_FIND, &found));
    if (!found) {
        // The name's place comes first: an error in between must not leave a number without a name.
        const auto number = static_cast<uint32>(all.names.size() + 1);
        all.names.push_back(nullptr);
        model = static_cast<ModelNumber*>(hash_search(all.by_name, name, HASH_ENTER, &found));
        model->number = number;
        all.names[number - 1] = model->name;
    }
    return model->number;
}

const char* model_version_of(const CheckKey& key) {
    if (!names_a_model(key))
        return "";
    Assert(model_numbers != nullptr && key.model <= model_numbers->names.size());
    return model_numbers->names[key.model - 1];
}

void forget_model_numbers() {
    model_numbers = nullptr;
}

int compare_keys(const CheckKey& a, const CheckKey& b) {
    if (a.allocations != b.allocations)
        return a.allocations < b.allocations ? -1 : 1;
    if (const int tenant = compare_uuids(a.tenant_id, b.tenant_id))
        return tenant;
    if (const int event = compare_uuids(a.event_id, b.event_id))
        return event;
    if (const int model = strcmp(model_version_of(a), model_version_of(b)))
        return model;
    return a.model < b.model ? -1 : a.model > b.model ? 1 : 0;
}

void sort_keys(std::span<CheckKey> keys) {
    // PostgreSQL's qsort looks first whether its input is sorted, and keys mostly come sorted.
    qsort(keys.data(), keys.size(), sizeof(CheckKey), compare_for_sort);
}

bool are_sorted_of_one_table(std::span<const CheckKey> keys) {
    const auto is_before = [](const CheckKey& a, const CheckKey& b) {
        return compare_keys(a, b) < 0;
    };
    return !keys.empty() && keys.front().allocations == keys.back().allocations &&
           std::is_sorted(keys.begin(), keys.end(), is_before);
}

void sort_and_deduplicate(pg::Vector<CheckKey>* keys) {
    const std::span<CheckKey> all = keys->span();
    sort_keys(all);
    const auto end = std::unique(all.begin(), all.end());
    keys->truncate(static_cast<std::size_t>(end - all.begin()));
}

void remove_events(pg::Vector<CheckKey>* keys, std::span<const CheckKey> others) {
    std::size_t left = 0, other = 0;
    for (const CheckKey& key : keys->span()) {
        while (other < others.size() && compare_keys(others[other], key) < 0)
            ++other;
        // The key of `others` that is of the same event, if there is one, comes just before.
        if (other == 0 || !is_same_event(others[other - 1], key))
            (*keys)[left++] = key;
    }
    keys->truncate(left);
}

} // namespace attribution::entry
