#include "entry/tables/definitions.hpp"

#include "entry/tables/library_version.hpp"
#include "pg/own.hpp"
#include "pg/types.hpp"

namespace attribution::entry {
namespace {

// Called without a check of rights: every session must know what it should find, and the functions
// are the extension's own.
Datum call_own(const char* function) {
    return OidFunctionCall0Coll(pg::internal_function(function), InvalidOid);
}

} // namespace

Definitions read_definitions() {
    return parse_definitions(TextDatumGetCString(call_own("table_definitions")));
}

Definitions parse_definitions(const char* sql) {
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

std::span<const UpgradeStep> read_upgrade_steps() {
    Datum* texts;
    bool* nulls;
    int count;
    deconstruct_array(DatumGetArrayTypeP(call_own("table_upgrades")), TEXTOID, -1, false,
                      TYPALIGN_INT, &texts, &nulls, &count);
    Assert(count % 2 == 0);
    const auto steps = pg::make_span<UpgradeStep>(static_cast<std::size_t>(count) / 2);
    for (std::size_t i = 0; i < steps.size(); ++i)
        steps[i] = {.version = TextDatumGetCString(texts[2 * i]),
                    .statements = TextDatumGetCString(texts[2 * i + 1])};
    return steps;
}

void raise_other_table_version(const char* found, const char* expected) {
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("tables of the extension attribution are of another version"),
         errdetail("The tables are of version %s, the extension works with those of version %s.",
                   found, expected),
         is_older_version(found, expected)
             ? errhint("Run SELECT * FROM attribution.upgrade_tables().")
             : errhint("Install the newer version of the extension and run ALTER EXTENSION "
                       "attribution UPDATE.")));
    pg_unreachable();
}

} // namespace attribution::entry
