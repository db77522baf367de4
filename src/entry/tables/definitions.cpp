#include "entry/tables/definitions.hpp"

#include "pg/own.hpp"

namespace attribution::entry {
namespace {

// Called without a check of rights: every session must know what it should find, and the functions
// are the extension's own.
Datum call_own(const char* function) {
    return OidFunctionCall0Coll(pg::internal_function(function), InvalidOid);
}

} // namespace

Definitions read_definitions() {
    const char* sql = TextDatumGetCString(call_own("table_definitions"));
    return {.sql = sql, .statements = raw_parser(sql, RAW_PARSE_DEFAULT)};
}

const char* definition_text(const Definitions& definitions, const RawStmt* statement) {
    const char* begin = definitions.sql + statement->stmt_location;
    return statement->stmt_len == 0 ? pstrdup(begin)
                                    : pnstrdup(begin, static_cast<Size>(statement->stmt_len));
}

const char* expected_table_version() {
    return TextDatumGetCString(call_own("table_version"));
}

} // namespace attribution::entry
