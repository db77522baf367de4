// The open keys of the transaction: what must be checked before it commits.
//
// The set only saves work. A key counts as checked while no command and no rollback to a savepoint
// came after its check; any other key is checked when the deferred trigger fires for one of its
// rows. The set is in TopTransactionContext: 92 MB at a million keys, and 40 more while they are
// checked [measured].
#pragma once

#include <span>

#include "entry/check/key.hpp"

namespace attribution::entry {

/// Opens the key: what it is about must be checked (again). A transaction tracks 1,048,576 keys;
/// further keys are checked one by one.
void open_key(const CheckKey& key);

/// Tells the check that an allocation of a refund may have been written: its amount is below zero.
/// Without this hint the check still finds refunds, but in a second pass (rules.cpp).
void expect_refunds();

enum class KeyState {
    untracked, // never opened, or no room was left for it: it must be checked by itself
    checked,   // no command and no rollback to a savepoint came after its check
    open,
};

/// The state of a key, for the deferred trigger that fires for one of its rows. A key whose check
/// no longer counts is opened again. After a rollback to a savepoint all such keys are opened with
/// it, so that they are checked together and their conversions are locked in order.
KeyState state_of(const CheckKey& key);

struct OpenKeys {
    std::span<CheckKey> keys; // palloc'd, not sorted
    bool may_have_refunds;    // some keys may be of refunds, or of conversions that have refunds
};

/// A copy of the open keys.
OpenKeys copy_open_keys();

/// Says that all open keys were checked and found right.
void close_keys();

/// Registers the callbacks that discard the keys when a transaction ends, and that count rollbacks
/// to savepoints. Called when the module is loaded.
void watch_transactions();

} // namespace attribution::entry
