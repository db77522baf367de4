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

Datum copied(Composite row, MemoryContext memory) {
    const HeapTupleHeader header = row_of(row.datum);
    const MemoryContext before = MemoryContextSwitchTo(memory);
    const Datum copy = datumCopy(HeapTupleHeaderGetDatum(header), false, -1);
    MemoryContextSwitchTo(before);
    return copy;
}

ResultRows::ResultRows(FunctionCallInfo fcinfo) {
    InitMaterializedSRF(fcinfo, 0);
    result_ = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
}

void ResultRows::add_slot(TupleTableSlot* row) {
    if (!are_columns_checked_) {
        const TupleDesc found = row->tts_tupleDescriptor;
        const TupleDesc declared = result_->setDesc;
        if (found->natts != declared->natts)
            elog(ERROR, "a statement returns %d columns instead of %d", found->natts,
                 declared->natts);
        for (int i = 0; i < found->natts; ++i) {
            const FormData_pg_attribute* column = TupleDescAttr(declared, i);
            const Oid type = TupleDescAttr(found, i)->atttypid;
            if (!is_of_type(type, column->atttypid))
                ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                                errmsg("column \"%s\" is of type %s instead of %s",
                                       NameStr(column->attname), format_type_be(type),
                                       format_type_be(column->atttypid)),
                                errhint("Give the column of the extension's table its type "
                                        "back.")));
        }
        are_columns_checked_ = true;
    }
    slot_getallattrs(row);
    tuplestore_putvalues(result_->setResult, result_->setDesc, row->tts_values, row->tts_isnull);
}

} // namespace attribution::pg
