// Named points where a test can hold a session.
//
// Only a build with -DATTRIBUTION_WAIT_POINTS in TEST_CPPFLAGS has them (test/suites/mutants.sh);
// the module that ships has neither the names nor the setting; the suite looks that it has not.
#pragma once

#include "pg/postgres.hpp"

namespace attribution::pg {

#ifdef ATTRIBUTION_WAIT_POINTS

inline constinit char* wait_point_setting = nullptr;

/// Waits, where the setting names this point, for whoever holds the advisory lock 4711.
inline void wait_point(const char* name) {
    if (strcmp(wait_point_setting, name) != 0)
        return;
    DirectFunctionCall1(pg_advisory_lock_shared_int8, Int64GetDatum(4711));
    DirectFunctionCall1(pg_advisory_unlock_shared_int8, Int64GetDatum(4711));
}

/// Defines the setting attribution.wait_point. Called when the module is loaded.
inline void define_wait_points() {
    DefineCustomStringVariable("attribution.wait_point", "Where this session waits, for tests.",
                               nullptr, &wait_point_setting, "", PGC_USERSET, 0, nullptr, nullptr,
                               nullptr);
    ereport(WARNING, (errmsg("this attribution is a test build"),
                      errdetail("It may commit wrong sums, or wait for ever."),
                      errhint("Build it without TEST_CPPFLAGS.")));
}

#else

inline void wait_point(const char*) {}
inline void define_wait_points() {}

#endif

} // namespace attribution::pg
