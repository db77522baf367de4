// reversal: a posting is reversed by an entry of minus its cents, once.

#include <optional>
#include <tuple>

#include "entry/session/tenancy.hpp"
#include "entry/tables/require_tables.hpp"
#include "pg/call.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// A row of the ledger that is to be reversed.
struct Entry {
    bool is_reversal;                      // of another entry
    std::optional<core::Uuid> reversed_by; // the reversing entry that it has already

    using Columns = std::tuple<bool, std::optional<core::Uuid>>;
};

Entry find_entry(const core::Uuid& tenant_id, const core::Uuid& ledger_id) {
    static constinit pg::Statement<Entry(core::Uuid, core::Uuid)> find{R"sql(
        SELECT l.reverses_id IS NOT NULL,
               (SELECT r.id FROM attribution.revenue_ledger r
                WHERE r.tenant_id = $1 AND r.reverses_id = $2)
        FROM attribution.revenue_ledger l
        WHERE l.tenant_id = $1 AND l.id = $2)sql"};
    const auto found = find.run(tenant_id, ledger_id).first();
    if (!found)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("posting %s does not exist", pg::uuid_text(ledger_id)),
                        errdetail("Tenant %s has no such ledger row.", pg::uuid_text(tenant_id))));
    if (found->is_reversal)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("cannot reverse a reversing entry"),
                        errdetail("Entry %s reverses another one.", pg::uuid_text(ledger_id))));
    return *found;
}

/// Writes the reversing entry of a posting that has none, and returns its id. When another session
/// has written one meanwhile, its id is returned.
core::Uuid reverse(const core::Uuid& tenant_id, const core::Uuid& ledger_id) {
    static constinit pg::Statement<core::Uuid(core::Uuid, core::Uuid)> insert{R"sql(
        INSERT INTO attribution.revenue_ledger (tenant_id, conversion_id, reverses_id,
            revenue_cents)
        SELECT l.tenant_id, l.conversion_id, l.id, -l.revenue_cents
        FROM attribution.revenue_ledger l
        WHERE l.tenant_id = $1 AND l.id = $2
        ON CONFLICT (tenant_id, reverses_id) WHERE reverses_id IS NOT NULL DO NOTHING
        RETURNING id)sql"};
    if (const auto inserted = insert.run(tenant_id, ledger_id).first())
        return *inserted;
    const Entry entry = find_entry(tenant_id, ledger_id);
    if (!entry.reversed_by)
        ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                        errmsg("could not insert the reversing entry"),
                        errdetail("Posting %s of tenant %s has no reversing entry.",
                                  pg::uuid_text(ledger_id), pg::uuid_text(tenant_id)),
                        errhint("A trigger on attribution.revenue_ledger returns null.")));
    return *entry.reversed_by;
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_reverse_posting) {
    entry::require_tables();
    PreventCommandIfReadOnly("reverse_posting()");
    const auto tenant_id = pg::argument<core::Uuid>(fcinfo, 0, "tenant_id");
    const auto ledger_id = pg::argument<core::Uuid>(fcinfo, 1, "ledger_id");
    entry::check_tenant(tenant_id);
    SPI_connect();
    const entry::Entry found = entry::find_entry(tenant_id, ledger_id);
    const core::Uuid reversal =
        found.reversed_by ? *found.reversed_by : entry::reverse(tenant_id, ledger_id);
    SPI_finish();
    PG_RETURN_DATUM(pg::uuid_datum(reversal));
}
