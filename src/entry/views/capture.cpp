// capture: statement triggers that log what a refresh must look at, in the writer's transaction.
//
// Each view has a trigger function of its own. It reads the rows before and after the change and
// appends each key once to the log of the view: for mv_allocation_summary the (tenant, event, model
// version) of the rows, for mv_realtime_revenue the tenants with the changes of their sums, for
// mv_reconciliation_status the tenants.

#include <algorithm>
#include <array>
#include <new>

#include "entry/views/change_log.hpp"
#include "entry/views/changed_keys.hpp"
#include "pg/boundary.hpp"
#include "pg/cache.hpp"
#include "pg/columns.hpp"
#include "pg/matview.hpp"
#include "pg/relation.hpp"
#include "pg/statement.hpp"

namespace attribution::entry {
namespace {

/// The numbers of the columns that a trigger function reads, for the relation that it is fired on,
/// which is known by its OID only: a partition has columns of its own. Their types are checked once
/// per change of the relation.
template <std::size_t count>
struct SourceColumns {
    Oid relation; // the key
    pg::Cached validity;
    std::array<int, count> numbers;
};

/// The columns of the relation: `look_up(numbers)` fills them in. `sources` has those of all
/// relations that this backend has seen; entries stay where they are until the backend ends.
template <std::size_t count, class LookUp>
const std::array<int, count>& columns_of(HTAB*& sources, Relation relation, LookUp look_up) {
    using Source = SourceColumns<count>;
    if (sources == nullptr) {
        HASHCTL control{};
        control.keysize = sizeof(Oid);
        control.entrysize = sizeof(Source);
        control.hcxt = CacheMemoryContext;
        sources = hash_create("attribution captured relations", 8, &control,
                              HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    const Oid id = RelationGetRelid(relation);
    bool found;
    auto* source = static_cast<Source*>(hash_search(sources, &id, HASH_ENTER, &found));
    if (!found)
        new (&source->validity) pg::Cached();
    source->validity.ensure([&] {
        source->validity.depend_on(id);
        look_up(source->numbers);
    });
    return source->numbers;
}

bool has_column(Relation relation, const char* column) {
    return get_attnum(RelationGetRelid(relation), column) != InvalidAttrNumber;
}

/// Calls visit(row, is_new) for the rows before and after the change: of a row trigger the row
/// itself, else those of the transition tables.
template <class Visit>
void each_changed_row(const TriggerData* trigger, Visit visit) {
    if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event)) {
        visit(trigger->tg_trigslot, bool{TRIGGER_FIRED_BY_INSERT(trigger->tg_event)});
        if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
            visit(trigger->tg_newslot, true);
        return;
    }
    for (const bool is_new : {false, true}) {
        Tuplestorestate* rows = is_new ? trigger->tg_newtable : trigger->tg_oldtable;
        if (rows == nullptr)
            continue;
        TupleTableSlot* row =
            MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
        // The read pointer is shared with the other triggers of the statement, which rewind it as
        // well.
        tuplestore_select_read_pointer(rows, 0);
        tuplestore_rescan(rows);
        while (tuplestore_gettupleslot(rows, true, false, row))
            visit(row, is_new);
        ExecDropSingleTupleTableSlot(row);
    }
}

// ---------------------------------------------------------------------------------------------
// mv_allocation_summary

struct SummaryEntry {
    struct {
        core::Uuid tenant_id, event_id;
        std::uint32_t model; // number of a model version, from 1; 0: all of the event
    } key;
};

/// The model versions of one statement, by number. A number is found by a linear search, so only a
/// few are held at a time.
struct ModelVersions {
    static constexpr std::uint32_t limit = 64;
    std::array<std::string_view, limit> texts;
    std::uint32_t count;

    /// The number of the model version, from 1; 0 when there is no room.
    std::uint32_t number(std::string_view model_version) {
        for (std::uint32_t i = count; i > 0; --i)
            if (texts[i - 1] == model_version)
                return i;
        if (count == limit)
            return 0;
        texts[count++] = pg::copied(model_version);
        return count;
    }
};

void write_summary(Relation log, ChangedKeys<SummaryEntry>* keys, ModelVersions* models) {
    pg::append_rows(log, static_cast<std::size_t>(keys->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        const auto& key = keys->entries[i].key;
                        values[0] = PointerGetDatum(key.tenant_id.data());
                        values[1] = PointerGetDatum(key.event_id.data());
                        isnull[0] = isnull[1] = false;
                        isnull[2] = key.model == 0;
                        values[2] = key.model == 0 ? Datum{0}
                                                   : pg::text_datum(models->texts[key.model - 1]);
                    });
    keys->clear();
    models->count = 0;
}

void capture_summary(const TriggerData* trigger, Relation log) {
    enum { tenant, event, model, column_count };
    static constinit HTAB* sources = nullptr;
    const auto& columns = columns_of<column_count>(
        sources, trigger->tg_relation, [&](std::array<int, column_count>& numbers) {
            Relation relation = trigger->tg_relation;
            // The row is an event: its revenue concerns all its model versions.
            const bool of_events = !has_column(relation, "event_id");
            numbers[tenant] = pg::column_number_of<core::Uuid>(relation, "tenant_id");
            numbers[event] =
                pg::column_number_of<core::Uuid>(relation, of_events ? "id" : "event_id");
            numbers[model] =
                of_events ? 0 : pg::column_number_of<std::string_view>(relation, "model_version");
        });
    ChangedKeys<SummaryEntry> keys{};
    ModelVersions models{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool) {
        const bool has_model = columns[model] != 0;
        const std::string_view version =
            has_model ? pg::column_value<std::string_view>(row, columns[model]) : "";
        std::uint32_t number = has_model ? models.number(version) : 0;
        if (keys.is_full() || (has_model && number == 0)) {
            write_summary(log, &keys, &models);
            number = has_model ? models.number(version) : 0;
        }
        keys.find({.tenant_id = pg::column_value<core::Uuid>(row, columns[tenant]),
                   .event_id = pg::column_value<core::Uuid>(row, columns[event]),
                   .model = number});
    });
    write_summary(log, &keys, &models);
}

// ---------------------------------------------------------------------------------------------
// mv_realtime_revenue

struct RevenueEntry {
    struct {
        core::Uuid tenant_id;
    } key;
    std::int64_t revenue_cents, verified_cents, posting_count, verified_count;
};

void write_revenue(Relation log, ChangedKeys<RevenueEntry>* keys) {
    pg::append_rows(log, static_cast<std::size_t>(keys->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        const RevenueEntry& entry = keys->entries[i];
                        values[0] = PointerGetDatum(entry.key.tenant_id.data());
                        values[1] = Int64GetDatum(entry.revenue_cents);
                        values[2] = Int64GetDatum(entry.verified_cents);
                        values[3] = Int64GetDatum(entry.posting_count);
                        values[4] = Int64GetDatum(entry.verified_count);
                        std::fill_n(isnull, 5, false);
                    });
    keys->clear();
}

/// Adds to the sums of an entry; false, without adding, when one would leave the range of bigint.
bool add_posting(RevenueEntry* entry, std::int64_t cents, bool verified, std::int64_t count) {
    RevenueEntry sum = *entry;
    if (pg_add_s64_overflow(sum.revenue_cents, cents, &sum.revenue_cents) ||
        (verified && pg_add_s64_overflow(sum.verified_cents, cents, &sum.verified_cents)))
        return false;
    sum.posting_count += count;
    sum.verified_count += verified ? count : 0;
    *entry = sum;
    return true;
}

/// Adds to the sums of a tenant. Sums that would leave the range of bigint are written to the log,
/// and begin anew.
void add_to_tenant(Relation log, ChangedKeys<RevenueEntry>* keys, const core::Uuid& tenant_id,
                   std::int64_t cents, bool verified, std::int64_t count) {
    if (add_posting(keys->find({.tenant_id = tenant_id}), cents, verified, count))
        return;
    write_revenue(log, keys);
    const bool fits = add_posting(keys->find({.tenant_id = tenant_id}), cents, verified, count);
    Assert(fits);
    (void)fits;
}

void capture_revenue(const TriggerData* trigger, Relation log) {
    enum { tenant, revenue, verified, column_count };
    static constinit HTAB* sources = nullptr;
    const auto& columns = columns_of<column_count>(
        sources, trigger->tg_relation, [&](std::array<int, column_count>& numbers) {
            Relation relation = trigger->tg_relation;
            const bool of_tenants = !has_column(relation, "tenant_id");
            numbers[tenant] =
                pg::column_number_of<core::Uuid>(relation, of_tenants ? "id" : "tenant_id");
            numbers[revenue] =
                of_tenants ? 0 : pg::column_number_of<core::Cents>(relation, "revenue_cents");
            numbers[verified] =
                of_tenants ? 0 : pg::column_number_of<bool>(relation, "is_verified");
        });
    ChangedKeys<RevenueEntry> keys{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool is_new) {
        if (keys.is_full())
            write_revenue(log, &keys);
        const auto tenant_id = pg::column_value<core::Uuid>(row, columns[tenant]);
        if (columns[revenue] == 0) {
            // A change of the tenant's own row changes no sum: the log gets a row with zeros, so
            // that the tenant's row in the view is computed again.
            keys.find({.tenant_id = tenant_id});
            return;
        }
        const bool is_verified = pg::column_value<bool>(row, columns[verified]);
        const auto cents = pg::column_value<core::Cents>(row, columns[revenue]);
        if (is_new) {
            add_to_tenant(log, &keys, tenant_id, cents, is_verified, 1);
        } else if (cents != PG_INT64_MIN) {
            add_to_tenant(log, &keys, tenant_id, -cents, is_verified, -1);
        } else {
            // -2^63 has no negative in bigint: it is subtracted in two parts.
            add_to_tenant(log, &keys, tenant_id, PG_INT64_MAX, is_verified, -1);
            add_to_tenant(log, &keys, tenant_id, 1, is_verified, 0);
        }
    });
    write_revenue(log, &keys);
}

// ---------------------------------------------------------------------------------------------
// mv_reconciliation_status

struct StatusEntry {
    struct {
        core::Uuid tenant_id;
    } key;
};

void write_status(Relation log, ChangedKeys<StatusEntry>* keys) {
    pg::append_rows(log, static_cast<std::size_t>(keys->count),
                    [&](std::size_t i, Datum* values, bool* isnull) {
                        values[0] = PointerGetDatum(keys->entries[i].key.tenant_id.data());
                        isnull[0] = false;
                    });
    keys->clear();
}

void capture_status(const TriggerData* trigger, Relation log) {
    enum { tenant, column_count };
    static constinit HTAB* sources = nullptr;
    const auto& columns = columns_of<column_count>(
        sources, trigger->tg_relation, [&](std::array<int, column_count>& numbers) {
            numbers[tenant] = pg::column_number_of<core::Uuid>(trigger->tg_relation, "tenant_id");
        });
    ChangedKeys<StatusEntry> keys{};
    each_changed_row(trigger, [&](TupleTableSlot* row, bool) {
        if (keys.is_full())
            write_status(log, &keys);
        keys.find({.tenant_id = pg::column_value<core::Uuid>(row, columns[tenant])});
    });
    write_status(log, &keys);
}

// ---------------------------------------------------------------------------------------------

/// True when the trigger gets the rows before and after the change, as far as there are any.
bool has_changed_rows(const TriggerData* trigger) {
    const TriggerEvent event = trigger->tg_event;
    if (!TRIGGER_FIRED_AFTER(event) || TRIGGER_FIRED_BY_TRUNCATE(event))
        return false;
    return TRIGGER_FIRED_FOR_ROW(event) ||
           ((TRIGGER_FIRED_BY_INSERT(event) || trigger->tg_oldtable != nullptr) &&
            (TRIGGER_FIRED_BY_DELETE(event) || trigger->tg_newtable != nullptr));
}

/// The trigger function of one view: logs what `capture` finds in the changed rows.
Datum capture_change(FunctionCallInfo fcinfo, const char* function_name,
                     void (*capture)(const TriggerData*, Relation)) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, function_name);
    if (!has_changed_rows(trigger))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("%s() must be called with the rows before and after the change",
                               function_name)));
    if (Relation log = open_log_to_append(view_of(trigger->tg_trigger)); log != nullptr) {
        capture(trigger, log);
        table_close(log, NoLock);
    }
    return PointerGetDatum(nullptr);
}

} // namespace
} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_capture_summary_change) {
    return entry::capture_change(fcinfo, "capture_summary_change", entry::capture_summary);
}

ATTRIBUTION_FUNCTION(attribution_capture_revenue_change) {
    return entry::capture_change(fcinfo, "capture_revenue_change", entry::capture_revenue);
}

ATTRIBUTION_FUNCTION(attribution_capture_status_change) {
    return entry::capture_change(fcinfo, "capture_status_change", entry::capture_status);
}
