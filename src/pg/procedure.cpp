#include "pg/procedure.hpp"

namespace attribution::pg {

void check_may_commit(FunctionCallInfo fcinfo, const char* procedure, const char* reason,
                      const char* hint) {
    if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
        castNode(CallContext, fcinfo->context)->atomic)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
                        errmsg("%s cannot run inside a transaction block", procedure),
                        errdetail("%s", reason), errhint("%s", hint)));
}

namespace {

void set_isolation() {
    if (XactIsoLevel == XACT_READ_COMMITTED)
        return;
    if (SPI_execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", false, 0) != SPI_OK_UTILITY)
        elog(ERROR, "could not set the isolation level");
}

} // namespace

void commit() {
    SPI_commit();
    set_isolation();
}

void roll_back() {
    SPI_rollback();
    set_isolation();
}

} // namespace attribution::pg
