#include "pg/planning.hpp"

namespace attribution::pg {
namespace {

void set_until_restored(const char* name, const char* value) {
    set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace

int pin_texts() {
    const int level = NewGUCNestLevel();
    set_until_restored("standard_conforming_strings", "on");
    set_until_restored("backslash_quote", "safe_encoding");
    set_until_restored("transform_null_equals", "off");
    set_until_restored("array_nulls", "on");
    set_until_restored("DateStyle", "ISO, YMD");
    set_until_restored("IntervalStyle", "postgres");
    set_until_restored("quote_all_identifiers", "off");
    set_until_restored("extra_float_digits", "1");
    set_until_restored("bytea_output", "hex");
    return level;
}

int prefer_indexes() {
    const int level = NewGUCNestLevel();
    set_until_restored("enable_seqscan", "off");
    // What is switched off counts as costly where nothing else will do, and would be compiled.
    set_until_restored("jit", "off");
    return level;
}

int prefer_index_order() {
    const int level = prefer_indexes();
    set_until_restored("enable_bitmapscan", "off");
    set_until_restored("enable_sort", "off");
    return level;
}

int avoid_nested_loops() {
    const int level = NewGUCNestLevel();
    set_until_restored("enable_nestloop", "off");
    return level;
}

int pin_settings() {
    const int level = prefer_index_order();
    set_until_restored("search_path", "pg_catalog, pg_temp");
    return level;
}

void limit_lock_wait(int milliseconds) {
    if (LockTimeout == 0 || LockTimeout > milliseconds)
        set_until_restored("lock_timeout", psprintf("%d", milliseconds));
}

void restore_settings(int settings) {
    AtEOXact_GUC(true, settings);
}

const char* view_query(Oid view) {
    const int settings = pin_texts();
    const char* query =
        TextDatumGetCString(DirectFunctionCall1(pg_get_viewdef, ObjectIdGetDatum(view)));
    restore_settings(settings);
    const std::size_t length = strlen(query);
    Assert(length > 0 && query[length - 1] == ';');
    return pnstrdup(query, length - 1);
}

} // namespace attribution::pg
