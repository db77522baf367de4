#include "entry/tables/library_version.hpp"

#include "pg/own.hpp"
#include "pg/tuple.hpp"

namespace attribution::entry {
namespace {

/// The version of the extension in this database, palloc'd; nullptr when there is none.
const char* extension_version() {
    const Oid extension = pg::own_extension();
    const char* version = nullptr;
    Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyData condition;
    ScanKeyInit(&condition, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(extension));
    SysScanDesc scan =
        systable_beginscan(catalog, ExtensionOidIndexId, true, nullptr, 1, &condition);
    const HeapTuple row = systable_getnext(scan);
    if (HeapTupleIsValid(row)) {
        bool isnull;
        const Datum value =
            pg::attribute(row, Anum_pg_extension_extversion, RelationGetDescr(catalog), &isnull);
        if (!isnull)
            version = TextDatumGetCString(value);
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return version;
}

/// The number at the beginning of the text, and moves past it and the dot that follows.
unsigned long next_number(const char** text) {
    char* end;
    const unsigned long number = strtoul(*text, &end, 10);
    *text = *end == '.' ? end + 1 : end;
    return number;
}

} // namespace

bool is_older_version(const char* left, const char* right) {
    while (*left != '\0' || *right != '\0') {
        const char* const left_before = left;
        const char* const right_before = right;
        const unsigned long left_number = next_number(&left);
        const unsigned long right_number = next_number(&right);
        if (left_number != right_number)
            return left_number < right_number;
        if (left == left_before && right == right_before)
            break; // no numbers any more
    }
    return false;
}

void check_library_version() {
    const char* version = extension_version();
    if (version == nullptr || !is_older_version(ATTRIBUTION_VERSION, version))
        return;
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("library of the extension attribution is older than the extension"),
         errdetail("The library is of version %s, the extension in this database of version %s.",
                   ATTRIBUTION_VERSION, version),
         errhint("Install version %s, and connect again.", version)));
}

} // namespace attribution::entry
