// Look-ups in an index without a statement: one scan that is started again for each key.
//
// Starting a statement costs ten times as much as finding the rows of one key. This reads a table
// as the executor does in the inner side of a nested loop, under a snapshot that the caller
// chooses.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// The rows whose first two indexed columns, of type uuid, are equal to two values. Owns nothing:
/// an error ends the scan as it ends those of statements.
class UuidIndexScan {
public:
    /// `index` is one that index_on() found for the two columns of `relation`. The snapshot must be
    /// registered, and both relations locked, until end().
    UuidIndexScan(Relation relation, Oid index, Snapshot snapshot);

    /// Looks for the rows of two values, which must stay where they are until the next call.
    void find(const core::Uuid& first, const core::Uuid& second);

    /// The next row; nullptr when there is no other. The row is valid until the next call.
    TupleTableSlot* next();

    /// Unpins the pages of the row found last: called before waiting for a lock.
    void release();

    void end();

private:
    Relation index_;
    IndexScanDesc scan_;
    TupleTableSlot* row_;
    ScanKeyData keys_[2];
};

} // namespace attribution::pg
