#include "pg/index_scan.hpp"

namespace attribution::pg {
namespace {

constexpr int key_count = 2;

} // namespace

UuidIndexScan::UuidIndexScan(Relation relation, Oid index, Snapshot snapshot)
    : index_(index_open(index, AccessShareLock)),
#if PG_VERSION_NUM >= 180000
      scan_(index_beginscan(relation, index_, snapshot, nullptr, key_count, 0)),
#else
      scan_(index_beginscan(relation, index_, snapshot, key_count, 0)),
#endif
      row_(table_slot_create(relation, nullptr)) {
    for (int i = 0; i < key_count; ++i) {
        Assert(TupleDescAttr(RelationGetDescr(index_), i)->atttypid == UUIDOID);
        ScanKeyInit(&keys_[i], static_cast<AttrNumber>(i + 1), BTEqualStrategyNumber, F_UUID_EQ,
                    Datum{0});
    }
}

void UuidIndexScan::find(const core::Uuid& first, const core::Uuid& second) {
    keys_[0].sk_argument = PointerGetDatum(first.data());
    keys_[1].sk_argument = PointerGetDatum(second.data());
    index_rescan(scan_, keys_, key_count, nullptr, 0);
}

TupleTableSlot* UuidIndexScan::next() {
    return index_getnext_slot(scan_, ForwardScanDirection, row_) ? row_ : nullptr;
}

void UuidIndexScan::release() {
    ExecClearTuple(row_);
    index_rescan(scan_, keys_, key_count, nullptr, 0);
}

void UuidIndexScan::end() {
    ExecDropSingleTupleTableSlot(row_);
    index_endscan(scan_);
    index_close(index_, AccessShareLock);
}

} // namespace attribution::pg
