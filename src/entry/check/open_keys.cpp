#include "entry/check/open_keys.hpp"

#include <algorithm>

#include "pg/convert.hpp"

namespace attribution::entry {
namespace {

constexpr long max_open_keys = 1L << 20;

struct TrackedKey {
    CheckKey key; // hash key
    bool is_open;
    uint32 rollbacks;     // TransactionKeys::rollbacks at the last check of the key
    CommandId checked_at; // the command id after the check's own commands
};

/// The keys of a transaction, in TopTransactionContext.
struct TransactionKeys {
    HTAB* keys;
    pg::Vector<TrackedKey*> open;
    uint32 rollbacks;       // to savepoints, in this transaction
    TrackedKey* found_last; // rows of one key mostly come together
    bool may_have_refunds;
};
constinit TransactionKeys* transaction_keys = nullptr;

extern "C" void at_transaction_end(XactEvent event, void*) {
    // The memory goes with TopTransactionContext. PRE_COMMIT and PRE_PREPARE are not yet the end.
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) {
        transaction_keys = nullptr;
        forget_model_numbers();
    }
}

extern "C" void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId,
                                      void*) {
    // The rollback undoes what the subtransaction wrote. A key that was checked together with those
    // writes may be wrong without them.
    if (event == SUBXACT_EVENT_ABORT_SUB && transaction_keys != nullptr)
        ++transaction_keys->rollbacks;
}

TransactionKeys& current_keys() {
    if (transaction_keys != nullptr)
        return *transaction_keys;
    HASHCTL control{};
    control.keysize = sizeof(CheckKey);
    control.entrysize = sizeof(TrackedKey);
    control.hcxt = TopTransactionContext;
    auto* fresh = static_cast<TransactionKeys*>(
        MemoryContextAlloc(TopTransactionContext, sizeof(TransactionKeys)));
    *fresh = {.keys = hash_create("attribution open keys", 256, &control,
                                  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT),
              .open = pg::Vector<TrackedKey*>(TopTransactionContext),
              .rollbacks = 0,
              .found_last = nullptr,
              .may_have_refunds = false};
    transaction_keys = fresh;
    return *fresh;
}

/// The tracked key; nullptr when it is not tracked. With HASH_ENTER a key that is not tracked yet
/// becomes so, unless max_keys are.
TrackedKey* find_key(TransactionKeys& all, const CheckKey& key, HASHACTION action) {
    if (all.found_last != nullptr && all.found_last->key == key)
        return all.found_last;
    if (action == HASH_ENTER && hash_get_num_entries(all.keys) >= max_open_keys)
        action = HASH_FIND;
    bool found;
    auto* tracked = static_cast<TrackedKey*>(hash_search(all.keys, &key, action, &found));
    if (tracked == nullptr)
        return nullptr;
    if (!found)
        *tracked = {.key = key, .is_open = false, .rollbacks = 0, .checked_at = 0};
    all.found_last = tracked;
    return tracked;
}

void open_tracked(TransactionKeys& all, TrackedKey* tracked) {
    if (tracked->is_open)
        return;
    all.open.push_back(tracked);
    tracked->is_open = true;
}

/// Opens all keys that were checked before the last rollback to a savepoint: those checks no longer
/// count.
void open_all_outdated(TransactionKeys& all) {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, all.keys);
    while (auto* tracked = static_cast<TrackedKey*>(hash_seq_search(&scan)))
        if (tracked->rollbacks != all.rollbacks)
            open_tracked(all, tracked);
}

} // namespace

void open_key(const CheckKey& key) {
    TransactionKeys& all = current_keys();
    TrackedKey* tracked = find_key(all, key, HASH_ENTER);
    if (tracked == nullptr)
        return;
    open_tracked(all, tracked);
    all.may_have_refunds = all.may_have_refunds || !names_a_model(key);
}

void expect_refunds() {
    current_keys().may_have_refunds = true;
}

KeyState state_of(const CheckKey& key) {
    TransactionKeys& all = current_keys();
    TrackedKey* tracked = find_key(all, key, HASH_FIND);
    if (tracked == nullptr)
        return KeyState::untracked;
    if (!tracked->is_open) {
        if (tracked->rollbacks != all.rollbacks)
            open_all_outdated(all);
        else if (tracked->checked_at != GetCurrentCommandId(false))
            // A command after the check may have changed a row of the key, and a trigger asks
            // before that row has opened the key.
            open_tracked(all, tracked);
        else
            return KeyState::checked;
    }
    Assert(tracked->is_open);
    return KeyState::open;
}

OpenKeys copy_open_keys() {
    const TransactionKeys& all = current_keys();
    const auto keys = pg::make_span<CheckKey>(all.open.size());
    std::transform(all.open.span().begin(), all.open.span().end(), keys.begin(),
                   [](const TrackedKey* tracked) { return tracked->key; });
    return {.keys = keys, .may_have_refunds = all.may_have_refunds};
}

void close_keys() {
    TransactionKeys& all = current_keys();
    const CommandId now = GetCurrentCommandId(false);
    for (TrackedKey* tracked : all.open.span()) {
        tracked->is_open = false;
        tracked->rollbacks = all.rollbacks;
        tracked->checked_at = now;
    }
    all.open.truncate(0);
}

void watch_transactions() {
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
}

} // namespace attribution::entry
