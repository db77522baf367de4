// Advisory locks of the extension: their classes, and what each is for.
//
// SQL's own advisory locks use the classes 1 and 2, so no session can take one of these by hand.
// All of them are released when the transaction ends. src/entry/check/README.md says who waits for
// which.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

enum class AdvisoryClass : uint16 {
    refresher = 3, // on a materialized view: who refreshes it
    fence = 4,     // on a materialized view: shared by writers that leave changes out of its log
    reconciliation = 5, // on a tenant: who starts a reconciliation of it
};

/// The lock of this class on an object of the database that has 64 bits of identity.
inline LOCKTAG advisory_lock(AdvisoryClass lock_class, uint32 high, uint32 low) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, high, low, static_cast<uint16>(lock_class));
    return tag;
}

/// The lock on a relation.
inline LOCKTAG advisory_lock_on(AdvisoryClass lock_class, Oid relation) {
    return advisory_lock(lock_class, relation, 0);
}

/// Takes the lock until the transaction ends; false, without waiting, when another session has it.
inline bool try_lock(const LOCKTAG& tag, LOCKMODE mode) {
    return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

} // namespace attribution::pg
