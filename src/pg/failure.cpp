#include "pg/failure.hpp"

namespace attribution::pg {

bool is_of_the_session(const ErrorData* failure) {
    switch (ERRCODE_TO_CATEGORY(failure->sqlerrcode)) {
    case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):            // cancelled, shut down
    case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):           // disk, memory
    case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):                     // input and output
    case ERRCODE_TO_CATEGORY(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE): // lock_timeout
    case ERRCODE_TO_CATEGORY(ERRCODE_INVALID_TRANSACTION_STATE):        // read-only
        return true;
    default:
        return false;
    }
}

bool may_succeed_later(const ErrorData* failure) {
    return ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
           ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK);
}

} // namespace attribution::pg
