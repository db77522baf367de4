// Server processes, known by their process id and when they started: ids are given out again.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

/// True while the process that started then is at work, whatever role it has logged in as.
bool is_alive(int process_id, TimestampTz started_at);

} // namespace attribution::pg
