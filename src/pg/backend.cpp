#include "pg/backend.hpp"

namespace attribution::pg {
namespace {

const PgBackendStatus& nth_backend(int n) {
#if PG_VERSION_NUM >= 160000
    return pgstat_get_local_beentry_by_index(n)->backendStatus;
#else
    return pgstat_fetch_stat_local_beentry(n)->backendStatus;
#endif
}

} // namespace

bool is_alive(int process_id, TimestampTz started_at) {
    // A transaction keeps what it has read of other processes.
    pgstat_clear_backend_activity_snapshot();
    const int count = pgstat_fetch_stat_numbackends();
    for (int n = 1; n <= count; ++n) {
        const PgBackendStatus& backend = nth_backend(n);
        if (backend.st_procpid == process_id && backend.st_proc_start_timestamp == started_at)
            return true;
    }
    return false;
}

} // namespace attribution::pg
