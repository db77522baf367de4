// The open keys of the transaction: what must be checked before it commits.
//
// The set only saves work. A key counts as checked while no command and no rollback to a savepoint
// came after its check; any other key is checked when a row of it asks. It is kept in
// TopTransactionContext: 92 MB at a million keys, and 40 more while they are checked [measured].
#pragma once

#include <span>

#include "entry/check/key.hpp"

namespace attribution::entry {

/// Opens the key: what it is about must be checked (again). A transaction tracks 1,048,576 keys;
/// what comes after them is checked one by one.
void open_key(const CheckKey& key);

/// Says that a row of a refund may have been written: an amount below zero. The check finds out by
/// itself when nobody has said so.
void expect_refunds();

enum class KeyState {
    untracked, // nobody opened it, or there was no room: it must be checked by itself
    checked,   // nothing came after its check
    open,
};

/// The state of a key whose row asks at COMMIT. A key whose check no longer counts is opened again,
/// after a rollback to a savepoint with all that are like it, so that they are checked together and
/// their conversions locked in order.
KeyState state_of(const CheckKey& key);

struct OpenKeys {
    std::span<CheckKey> keys; // palloc'd, not sorted
    bool may_have_refunds;    // some may be of refunds or of conversions that have some
};

/// A copy of the open keys.
OpenKeys copy_open_keys();

/// Says that all open keys were checked and found right.
void close_keys();

/// Registers the callbacks that forget the keys when a transaction or subtransaction ends. When the
/// module is loaded.
void watch_transactions();

} // namespace attribution::entry
