// upgrade_tables: makes tables of this version of those of an older one.
//
// The one idea: the tables say which version they are of, and the extension has a step from each
// version to the next. ALTER EXTENSION UPDATE calls this at the end of its script, and whoever has
// restored the dump of an older version calls it by hand: both run the same steps. A step says what
// to drop and what to change; what is then missing, create_tables() makes.

#include "entry/tables/create_tables.hpp"
#include "entry/tables/definitions.hpp"
#include "entry/tables/library_version.hpp"
#include "pg/boundary.hpp"
#include "pg/call.hpp"
#include "pg/own.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

// ---------------------------------------------------------------------------------------------
// What others have put on views

/// A statement that gives a view a right, a trigger or a rule, or a materialized view an index,
/// that it has now.
struct ViewAttachment {
    using Columns = std::tuple<Oid, std::string_view, std::string_view>;
    Oid view;
    std::string_view view_name;
    std::string_view statement;
};

/// A view whose definition changes is dropped and made again, and what the extension has not made
/// would go with it: rights, triggers and rules, and indexes that are not in the plan of the
/// extension.
pg::Rows<ViewAttachment> find_view_attachments() {
    pg::Statement<ViewAttachment()> find(R"sql(
        SELECT v.oid, v.relname::text, a.statement
        FROM pg_class v, LATERAL (
            SELECT format('GRANT %s ON %s TO %s%s', r.privilege_type, v.oid::regclass,
                          CASE r.grantee WHEN 0 THEN 'PUBLIC'
                               ELSE quote_ident(pg_get_userbyid(r.grantee)) END,
                          CASE WHEN r.is_grantable THEN ' WITH GRANT OPTION' END)
            FROM aclexplode(v.relacl) r
            WHERE r.grantee <> v.relowner
            UNION ALL
            SELECT format('GRANT %s (%I) ON %s TO %s%s', r.privilege_type, c.attname,
                          v.oid::regclass,
                          CASE r.grantee WHEN 0 THEN 'PUBLIC'
                               ELSE quote_ident(pg_get_userbyid(r.grantee)) END,
                          CASE WHEN r.is_grantable THEN ' WITH GRANT OPTION' END)
            FROM pg_attribute c, aclexplode(c.attacl) r
            WHERE c.attrelid = v.oid AND NOT c.attisdropped AND r.grantee <> v.relowner
            UNION ALL
            SELECT pg_get_triggerdef(t.oid)
            FROM pg_trigger t WHERE t.tgrelid = v.oid AND NOT t.tgisinternal
            UNION ALL
            SELECT pg_get_ruledef(w.oid)
            FROM pg_rewrite w WHERE w.ev_class = v.oid AND w.rulename <> '_RETURN'
            UNION ALL
            SELECT pg_get_indexdef(i.indexrelid)
            FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = v.oid
              AND NOT EXISTS (SELECT FROM attribution.index_plan p
                              WHERE p.index_name = x.relname AND p.is_shipped)) a (statement)
        WHERE v.relnamespace = 'attribution'::regnamespace AND v.relkind IN ('v', 'm')
        ORDER BY v.oid, a.statement)sql",
                                         pg::Plan::once);
    return find.run();
}

/// Gives the views that have been made again what they had.
void attach_again(const pg::Rows<ViewAttachment>& attachments) {
    for (const ViewAttachment& attachment : attachments) {
        const Oid now = pg::find_own_relation(pg::copied(attachment.view_name).data());
        if (!OidIsValid(now) || now == attachment.view)
            continue;
        pg::Statement<void()> attach(pg::copied(attachment.statement).data(), pg::Plan::once);
        attach.run();
    }
}

// ---------------------------------------------------------------------------------------------
// Steps

void run_step(const UpgradeStep& step) {
    const Definitions statements = parse_definitions(step.statements);
    ListCell* cell;
    foreach (cell, statements.statements) {
        pg::Statement<void()> one(definition_text(statements, castNode(RawStmt, lfirst(cell))),
                                  pg::Plan::once);
        one.run();
    }
}

/// The steps that come after the version of the tables.
std::span<const UpgradeStep> later_steps(const char* found) {
    const auto steps = read_upgrade_steps();
    const char* expected = expected_table_version();
    Assert(!steps.empty() && strcmp(steps.back().version, expected) == 0);
    for (std::size_t i = 0; i < steps.size(); ++i) {
        Assert(i == 0 || is_older_version(steps[i - 1].version, steps[i].version));
        if (strcmp(steps[i].version, found) == 0)
            return steps.subspan(i + 1);
    }
    if (is_older_version(expected, found))
        raise_other_table_version(found, expected);
    ereport(
        ERROR,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("version \"%s\" of the tables of the extension attribution is not known", found),
         errdetail("Tables have had the versions from %s to %s.", steps[0].version, expected),
         errhint("Restore the row of attribution.schema_version from the dump that the "
                 "tables came with.")));
    pg_unreachable();
}

/// The version that the tables say they are of, as it was last committed; palloc'd.
const char* locked_table_version() {
    const Oid versions = pg::find_own_relation("schema_version");
    if (!OidIsValid(versions))
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution do not say their version"),
                        errdetail("Table attribution.schema_version is missing."),
                        errhint("While a dump is being restored, wait for its end. Where there are "
                                "no tables, run SELECT * FROM attribution.create_tables().")));
    // The weakest lock that excludes itself and every writer: a second upgrade waits here, before
    // it has looked at anything, and a restore cannot bring another version meanwhile. Sessions go
    // on reading the version until they meet a table that is being changed.
    LockRelationOid(versions, ShareRowExclusiveLock);
    pg::Statement<std::string_view()> find("SELECT v.version FROM attribution.schema_version v",
                                           pg::Plan::once);
    const auto version = find.run_latest().first();
    if (!version)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("tables of the extension attribution do not say their version"),
                        errdetail("Table attribution.schema_version has no row."),
                        errhint("While a dump is being restored, wait for its end.")));
    return pg::copied(*version).data();
}

/// Inside an SPI connection and outside a script of an extension.
void upgrade(pg::ResultRows* findings) {
    const pg::CallerRights caller = act_as_owner_of_tables();
    const auto steps = later_steps(locked_table_version());
    if (!steps.empty()) {
        const auto attachments = find_view_attachments();
        for (const UpgradeStep& step : steps) {
            findings->add(std::string_view("tables"),
                          std::string_view(psprintf("were older than version %s", step.version)));
            run_step(step);
        }
        make_missing_tables(findings, false);
        attach_again(attachments);
        pg::Statement<void(std::string_view)> set_version(
            "UPDATE attribution.schema_version SET version = $1, changed_at = now()",
            pg::Plan::once);
        set_version.run(std::string_view(steps.back().version));
    }
    // Also where the functions alone have changed: a session that has loaded the library of an
    // older version must look again whether it may go on.
    CacheInvalidateRelcacheByRelid(pg::own_relation("schema_version"));
    pg::act_as_caller(caller);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_upgrade_tables) {
    PreventCommandIfReadOnly("upgrade_tables()");
    entry::check_library_version();
    pg::ResultRows findings(fcinfo);
    SPI_connect();
    // As in create_tables(): the tables belong to no extension, whoever's script this runs in.
    pg::while_set(&creating_extension, false, [&] { entry::upgrade(&findings); });
    SPI_finish();
    PG_RETURN_NULL();
}

ATTRIBUTION_FUNCTION(attribution_check_library_version) {
    entry::check_library_version();
    PG_RETURN_VOID();
}
