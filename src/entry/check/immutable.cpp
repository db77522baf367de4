#include "entry/check/immutable.hpp"

#include "entry/check/tables.hpp"
#include "pg/columns.hpp"
#include "pg/planning.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {

void refuse_change_of_key(const TriggerData* trigger, const Tables& tables) {
    const auto is_same = [&]<class T>(std::type_identity<T>, int column) {
        return pg::column_value<T>(trigger->tg_trigslot, column) ==
               pg::column_value<T>(trigger->tg_newslot, column);
    };
    const std::type_identity<core::Uuid> uuid;
    const std::type_identity<std::string_view> text;
    const AllocationColumns& columns = tables.allocation;
    if (is_same(uuid, columns.tenant_id) && is_same(uuid, columns.event_id) &&
        is_same(text, columns.model_version) && is_same(text, columns.channel))
        return;
    const auto event_id = pg::column_value<core::Uuid>(trigger->tg_trigslot, columns.event_id);
    const auto model =
        pg::column_value<std::string_view>(trigger->tg_trigslot, columns.model_version);
    const auto channel = pg::column_value<std::string_view>(trigger->tg_trigslot, columns.channel);
    ereport(
        ERROR,
        (errcode(ERRCODE_CHECK_VIOLATION),
         errmsg("cannot change tenant, event, model version or channel of an allocation"),
         errdetail("The allocation of event %s, model version \"%.*s\", channel \"%.*s\" would "
                   "become another one.",
                   pg::uuid_text(PointerGetDatum(event_id.data())), static_cast<int>(model.size()),
                   model.data(), static_cast<int>(channel.size()), channel.data()),
         errhint("Delete the allocation and insert another."),
         errtableconstraint(trigger->tg_relation, "allocation_key_is_immutable")));
}

void refuse_change_of_posted(const TriggerData* trigger, Tables& tables) {
    auto& find_posting = tables.statements.find_posting;
    if (find_posting.sql() == nullptr)
        return;
    const auto tenant_id =
        pg::column_value<core::Uuid>(trigger->tg_trigslot, tables.allocation.tenant_id);
    const auto id = pg::column_value<core::Uuid>(trigger->tg_trigslot, tables.allocation.id);
    SPI_connect();
    const int settings = pg::prefer_indexes();
    const pg::CallerRights rights = pg::act_as_owner(tables.allocations);
    // Posting holds the allocation FOR SHARE until the posting can be seen, so an update that
    // waited for it must look at what was committed meanwhile.
    const bool is_posted = !find_posting.run_latest(tenant_id, id).empty();
    pg::act_as_caller(rights);
    pg::restore_settings(settings);
    SPI_finish();
    if (is_posted)
        ereport(ERROR,
                (errcode(ERRCODE_CHECK_VIOLATION), errmsg("cannot change a posted allocation"),
                 errdetail("Allocation %s is in the ledger.",
                           pg::uuid_text(PointerGetDatum(id.data()))),
                 errhint("Reverse its posting with reverse_posting()."),
                 errtableconstraint(trigger->tg_relation, "posted_allocation_is_frozen")));
}

} // namespace attribution::entry

using namespace attribution;

// Allocations refer to their event, and refunds to their conversion, by its key. If a key could
// move from one event to another, the allocations and refunds would move with it, and no rule would
// be checked for them.
ATTRIBUTION_FUNCTION(attribution_keep_event_key) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "keep_event_key", TRIGGER_EVENT_UPDATE);
    const auto id = pg::column_value<core::Uuid>(
        trigger->tg_trigslot, pg::column_number(trigger->tg_relation, "id", UUIDOID));
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
                    errmsg("cannot change tenant, id, type or refunded conversion of an event"),
                    errdetail("Event %s would become another one.",
                              pg::uuid_text(PointerGetDatum(id.data()))),
                    errhint("Insert another event."),
                    errtableconstraint(trigger->tg_relation, "event_key_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
