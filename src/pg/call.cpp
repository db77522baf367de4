#include "pg/call.hpp"

#include "pg/tuple.hpp"

namespace attribution::pg {

void detail::check_result_columns(TupleDesc columns, std::span<const Oid> types) {
    bool same = static_cast<std::size_t>(columns->natts) == types.size();
    for (std::size_t i = 0; same && i < types.size(); ++i)
        same = is_of_type(TupleDescAttr(columns, static_cast<int>(i))->atttypid, types[i]);
    if (!same)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("function returns other columns than it was declared with"),
                        errdetail("The library returns %zu columns, the declaration has %d.",
                                  types.size(), columns->natts),
                        errhint("Install the SQL script that belongs to the library.")));
}

ResultRows::ResultRows(FunctionCallInfo fcinfo) {
    InitMaterializedSRF(fcinfo, 0);
    result_ = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
}

void ResultRows::add_row(Composite row) {
    const HeapTupleHeader header = row_of(row.datum);
    Assert(HeapTupleHeaderGetTypeId(header) == result_->setDesc->tdtypeid);
    HeapTupleData tuple{};
    tuple.t_len = HeapTupleHeaderGetDatumLength(header);
    tuple.t_data = header;
    tuplestore_puttuple(result_->setResult, &tuple);
}

void ResultRows::add_slot(TupleTableSlot* row) {
    slot_getallattrs(row);
    tuplestore_putvalues(result_->setResult, result_->setDesc, row->tts_values, row->tts_isnull);
}

} // namespace attribution::pg
