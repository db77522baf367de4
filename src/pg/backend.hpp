// Server processes. A process is known by its id and the time it started, since ids are reused.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// True while the process with this id and start time runs, whatever its role is.
bool is_alive(int process_id, TimestampTz started_at);

} // namespace attribution::pg
