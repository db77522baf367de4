// validate: no transaction commits allocations that do not sum to their event's revenue.
//
// The one idea: the guarantee is a deferred row trigger, so every changed row asks at COMMIT, on
// whatever path it came; but the first one that asks has all touched keys checked together.
//
//     statement   allocation_change_is_noted        one call per row: remember the key as open
//        ...
//     COMMIT      allocation_sum_equals_revenue     one call per row: key checked? then done,
//                                                   else check all open keys at once:
//                    1. lock their events FOR NO KEY UPDATE, in (tenant, event) order
//                    2. take a snapshot newer than the locks, at every isolation level
//                    3. sum, compare, raise
//
// The order 1, 2, 3 is what two sessions that each insert 100 % cannot slip through: the second
// one waits at 1 and sees the first one's rows at 3. FOR UPDATE at 1 would deadlock with the FOR
// KEY SHARE that the foreign-key checks of both sessions hold.
//
// The set of keys only saves work: a key that is not in it is checked when its row asks. It is
// forgotten when a subtransaction aborts and at the end of the transaction, and every change opens
// its key again.
//
// All queries run as the owner of the tables, past row security, as PostgreSQL's own foreign-key
// checks do: the invoker may lack UPDATE, or may have switched the tenant before COMMIT. Relations
// are found from the OID that fired and its foreign key, never by name.

#include "entry/validate.hpp"

#include "entry/settings.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

constexpr const char* constraint_name = "allocation_sum_equals_revenue";
constexpr int batch_keys = 1024;
// 40 bytes of key and some 32 of hash table each: at most some 80 MB. A transaction that touches
// more keys has the rest checked one by one.
constexpr long max_keys = 1L << 20;
constexpr int max_model_length = 256;

// ---------------------------------------------------------------------------------------------
// What the check knows of a pair of tables

struct Tables {
    Oid allocations; // hash key
    Oid events;
    bool valid;
    int tenant_column, event_column, model_column, channel_column; // in allocations
    pg::Query lock;
    pg::Query sum;
    pg::Query sum_all_models;
};
constinit HTAB* known_tables = nullptr;

extern "C" void forget_tables(Datum, Oid relation) {
    if (known_tables == nullptr)
        return;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, known_tables);
    while (auto* tables = static_cast<Tables*>(hash_seq_search(&scan)))
        if (relation == InvalidOid || relation == tables->allocations || relation == tables->events)
            tables->valid = false;
}

/// All queries take arrays in key order and look each key up by LATERAL with OFFSET 0: the planner
/// must not turn a thousand index lookups into a scan of the table. COLLATE keeps it from the index
/// on (tenant_id, model_version), which looks as good as the one on the event to a planner without
/// statistics, and reads all allocations of the tenant for every event. Operators are qualified:
/// the caller's search_path decides nothing here.
void write_queries(Tables* tables) {
    const char* allocations = pg::qualified_name(tables->allocations);
    const char* events = pg::qualified_name(tables->events);
    const char* violation = "SELECT k.i, %s, e.revenue_cents::pg_catalog.text, "
                            "s.allocated::pg_catalog.text, "
                            "pg_catalog.abs(e.revenue_cents::pg_catalog.numeric "
                            "OPERATOR(pg_catalog.-) s.allocated)::pg_catalog.text ";
    const char* event = "LEFT JOIN LATERAL (SELECT x.revenue_cents FROM %s x "
                        "WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
                        "AND x.id OPERATOR(pg_catalog.=) k.event_id OFFSET 0) e ON true ";
    const char* drifts = "(e.revenue_cents IS NULL OR pg_catalog.abs("
                         "e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) s.allocated) "
                         "OPERATOR(pg_catalog.>) $%d) ORDER BY k.i";

    const MemoryContext before = MemoryContextSwitchTo(CacheMemoryContext);
    tables->lock = {.sql =
                        psprintf("SELECT pg_catalog.count(*) FROM ROWS FROM "
                                 "(pg_catalog.unnest($1), pg_catalog.unnest($2)) "
                                 "AS k (tenant_id, event_id), "
                                 "LATERAL (SELECT 1 FROM %s x "
                                 "WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
                                 "AND x.id OPERATOR(pg_catalog.=) k.event_id FOR NO KEY UPDATE) l",
                                 events),
                    .parameter_count = 2,
                    .parameter_types = {UUIDARRAYOID, UUIDARRAYOID},
                    .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                    .plan = nullptr};

    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql, violation, "k.model_version");
    appendStringInfoString(&sql, "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), "
                                 "pg_catalog.unnest($3)) WITH ORDINALITY "
                                 "AS k (tenant_id, event_id, model_version, i) ");
    appendStringInfo(&sql, event, events);
    appendStringInfo(&sql,
                     "CROSS JOIN LATERAL (SELECT pg_catalog.sum(a.allocated_revenue_cents) "
                     "AS allocated FROM %s a "
                     "WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
                     "AND a.event_id OPERATOR(pg_catalog.=) k.event_id "
                     "AND a.model_version IS NOT NULL "
                     "AND a.model_version COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) "
                     "k.model_version OFFSET 0) s "
                     "WHERE s.allocated IS NOT NULL AND ",
                     allocations);
    appendStringInfo(&sql, drifts, 4);
    tables->sum = {.sql = sql.data,
                   .parameter_count = 4,
                   .parameter_types = {UUIDARRAYOID, UUIDARRAYOID, TEXTARRAYOID, NUMERICOID},
                   .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                   .plan = nullptr};

    initStringInfo(&sql);
    appendStringInfo(&sql, violation, "s.model_version");
    appendStringInfoString(&sql, "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) "
                                 "WITH ORDINALITY AS k (tenant_id, event_id, i) ");
    appendStringInfo(&sql, event, events);
    appendStringInfo(&sql,
                     "CROSS JOIN LATERAL (SELECT a.model_version, "
                     "pg_catalog.sum(a.allocated_revenue_cents) AS allocated FROM %s a "
                     "WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
                     "AND a.event_id OPERATOR(pg_catalog.=) k.event_id "
                     "AND a.model_version IS NOT NULL GROUP BY a.model_version OFFSET 0) s WHERE ",
                     allocations);
    appendStringInfo(&sql, drifts, 3);
    appendStringInfoString(&sql, ", s.model_version");
    tables->sum_all_models = {.sql = sql.data,
                              .parameter_count = 3,
                              .parameter_types = {UUIDARRAYOID, UUIDARRAYOID, NUMERICOID},
                              .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                              .plan = nullptr};
    MemoryContextSwitchTo(before);
}

void discard_queries(Tables* tables) {
    for (pg::Query* query : {&tables->lock, &tables->sum, &tables->sum_all_models}) {
        pg::discard(*query);
        if (query->sql != nullptr)
            pfree(const_cast<char*>(query->sql));
        query->sql = nullptr;
    }
}

Tables* tables_of(Relation allocations) {
    if (known_tables == nullptr) {
        HASHCTL control{};
        control.keysize = sizeof(Oid);
        control.entrysize = sizeof(Tables);
        control.hcxt = CacheMemoryContext;
        known_tables =
            hash_create("attribution tables", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    const Oid relation = RelationGetRelid(allocations);
    bool found;
    auto* tables = static_cast<Tables*>(hash_search(known_tables, &relation, HASH_ENTER, &found));
    if (!found)
        *tables = {.allocations = relation, .events = InvalidOid, .valid = false};
    if (!tables->valid) {
        discard_queries(tables);
        tables->events = pg::referenced_relation(allocations, "event_id");
        tables->tenant_column = pg::column_number(allocations, "tenant_id");
        tables->event_column = pg::column_number(allocations, "event_id");
        tables->model_column = pg::column_number(allocations, "model_version");
        tables->channel_column = pg::column_number(allocations, "channel");
        write_queries(tables);
        tables->valid = true;
    }
    return tables;
}

// ---------------------------------------------------------------------------------------------
// The touched keys of the transaction

/// An (event, model version) whose sum may have changed; model 0 stands for all of the event.
struct Key {
    Oid allocations;
    uint32 model;
    pg_uuid_t tenant_id;
    pg_uuid_t event_id;
};
static_assert(sizeof(Key) == 40, "hashed as bytes: no padding");

struct Touch {
    Key key;
    bool open;
};

struct Model {
    char name[max_model_length]; // hash key
    uint32 number;               // from 1
};

struct Touches {
    HTAB* keys;
    HTAB* models;
    const char** model_names; // by number
    uint32 model_count;
    uint32 model_room;
};
constinit Touches* touches = nullptr; // in TopTransactionContext

/// Everything noted is forgotten; rows that ask later are checked one by one.
void forget_touches() {
    if (touches == nullptr)
        return;
    hash_destroy(touches->keys);
    hash_destroy(touches->models);
    touches = nullptr;
}

extern "C" void at_transaction_end(XactEvent event, void*) {
    // The memory goes with TopTransactionContext. PRE_COMMIT and PRE_PREPARE are not yet the end.
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        touches = nullptr;
}

extern "C" void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId,
                                      void*) {
    // What was checked inside may be wrong without it.
    if (event == SUBXACT_EVENT_ABORT_SUB)
        forget_touches();
}

Touches* current_touches() {
    if (touches != nullptr)
        return touches;
    HASHCTL keys{};
    keys.keysize = sizeof(Key);
    keys.entrysize = sizeof(Touch);
    keys.hcxt = TopTransactionContext;
    HASHCTL models{};
    models.keysize = max_model_length;
    models.entrysize = sizeof(Model);
    models.hcxt = TopTransactionContext;
    auto* fresh =
        static_cast<Touches*>(MemoryContextAllocZero(TopTransactionContext, sizeof(Touches)));
    fresh->keys =
        hash_create("attribution touched keys", 256, &keys, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    fresh->models = hash_create("attribution touched models", 16, &models,
                                HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
    touches = fresh;
    return touches;
}

uint32 model_number(Datum model_version) {
    Touches* all = current_touches();
    const std::string_view text = pg::text_of(model_version);
    // The table's check allows 255 bytes.
    if (text.size() >= max_model_length)
        elog(ERROR, "model version is too long");
    char name[max_model_length] = {};
    memcpy(name, text.data(), text.size());
    if (all->model_count > 0 && strcmp(all->model_names[all->model_count - 1], name) == 0)
        return all->model_count; // rows of one statement mostly share it

    bool found;
    auto* model = static_cast<Model*>(hash_search(all->models, name, HASH_ENTER, &found));
    if (!found) {
        if (all->model_count == all->model_room) {
            all->model_room = all->model_room == 0 ? 16 : all->model_room * 2;
            const Size size = sizeof(const char*) * all->model_room;
            all->model_names = static_cast<const char**>(
                all->model_names == nullptr ? MemoryContextAlloc(TopTransactionContext, size)
                                            : repalloc(all->model_names, size));
        }
        all->model_names[all->model_count] = model->name;
        model->number = ++all->model_count;
    }
    return model->number;
}

const char* model_name(uint32 number) {
    return number == 0 ? "" : touches->model_names[number - 1];
}

Key key_of(const Tables* tables, TupleTableSlot* row) {
    bool isnull;
    Key key;
    key.allocations = tables->allocations;
    key.tenant_id = *DatumGetUUIDP(slot_getattr(row, tables->tenant_column, &isnull));
    key.event_id = *DatumGetUUIDP(slot_getattr(row, tables->event_column, &isnull));
    key.model = model_number(slot_getattr(row, tables->model_column, &isnull));
    return key;
}

/// The key that stands for all model versions of an updated event; false when nothing references
/// the relation, so that there are no allocations.
bool key_of_event(const TriggerData* trigger, Key* key) {
    const Relation events = trigger->tg_relation;
    key->allocations = pg::referencing_relation(events, "event_id", "allocated_revenue_cents");
    if (!OidIsValid(key->allocations))
        return false;
    bool isnull;
    key->model = 0;
    key->tenant_id = *DatumGetUUIDP(
        slot_getattr(trigger->tg_newslot, pg::column_number(events, "tenant_id"), &isnull));
    key->event_id =
        *DatumGetUUIDP(slot_getattr(trigger->tg_newslot, pg::column_number(events, "id"), &isnull));
    return true;
}

/// Opens the key: its sum must be checked (again).
void note(const Key& key) {
    Touches* all = current_touches();
    const bool full = hash_get_num_entries(all->keys) >= max_keys;
    auto* touch =
        static_cast<Touch*>(hash_search(all->keys, &key, full ? HASH_FIND : HASH_ENTER, nullptr));
    if (touch != nullptr)
        touch->open = true;
}

// ---------------------------------------------------------------------------------------------
// The check

struct Violation {
    Key key;
    const char* model_version;
    const char* revenue; // nullptr: the event is not there
    const char* allocated;
    const char* drift;
};

struct Findings {
    MemoryContext memory;  // outlives the batches
    Violation first;       // wrong for this transaction
    long count;            // how many
    Violation first_newer; // right for this transaction's snapshot, wrong for the newest
    long newer_count;
};

int compare_keys(const void* left, const void* right) {
    const Key& a = *static_cast<const Key*>(left);
    const Key& b = *static_cast<const Key*>(right);
    if (a.allocations != b.allocations)
        return a.allocations < b.allocations ? -1 : 1;
    if (const int tenant = memcmp(&a.tenant_id, &b.tenant_id, UUID_LEN))
        return tenant;
    if (const int event = memcmp(&a.event_id, &b.event_id, UUID_LEN))
        return event;
    return strcmp(model_name(a.model), model_name(b.model));
}

/// The arrays that go into the queries.
struct Arrays {
    Datum tenants, events, models;
};

Arrays arrays_of(const Key* keys, int count) {
    auto* tenants = static_cast<Datum*>(palloc(sizeof(Datum) * count));
    auto* events = static_cast<Datum*>(palloc(sizeof(Datum) * count));
    auto* models = static_cast<Datum*>(palloc(sizeof(Datum) * count));
    for (int i = 0; i < count; ++i) {
        tenants[i] = UUIDPGetDatum(&keys[i].tenant_id);
        events[i] = UUIDPGetDatum(&keys[i].event_id);
        models[i] = CStringGetTextDatum(model_name(keys[i].model));
    }
    return {
        PointerGetDatum(construct_array(tenants, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(events, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(models, count, TEXTOID, -1, false, TYPALIGN_INT))};
}

/// The violations of the last query, in key order.
List* read_violations(const Key* keys) {
    List* violations = NIL;
    for (uint64 row = 0; row < SPI_processed; ++row) {
        HeapTuple tuple = SPI_tuptable->vals[row];
        const TupleDesc columns = SPI_tuptable->tupdesc;
        bool isnull;
        const int64 number = DatumGetInt64(SPI_getbinval(tuple, columns, 1, &isnull));
        auto* violation = static_cast<Violation*>(palloc(sizeof(Violation)));
        *violation = {.key = keys[number - 1],
                      .model_version = SPI_getvalue(tuple, columns, 2),
                      .revenue = SPI_getvalue(tuple, columns, 3),
                      .allocated = SPI_getvalue(tuple, columns, 4),
                      .drift = SPI_getvalue(tuple, columns, 5)};
        violations = lappend(violations, violation);
    }
    return violations;
}

bool contains(const List* violations, const Violation* wanted) {
    ListCell* cell;
    foreach (cell, violations) {
        const auto* violation = static_cast<const Violation*>(lfirst(cell));
        if (memcmp(&violation->key, &wanted->key, sizeof(Key)) == 0 &&
            strcmp(violation->model_version, wanted->model_version) == 0)
            return true;
    }
    return false;
}

Violation kept(Violation violation, MemoryContext memory) {
    for (const char** text :
         {&violation.model_version, &violation.revenue, &violation.allocated, &violation.drift})
        if (*text != nullptr)
            *text = MemoryContextStrdup(memory, *text);
    return violation;
}

/// Checks keys of one pair of tables, at most batch_keys, sorted, all with a model or all without.
void check_batch(Tables* tables, const Key* keys, int count, Findings* findings) {
    CHECK_FOR_INTERRUPTS();
    const bool all_models = keys[0].model == 0;
    const Arrays arrays = arrays_of(keys, count);
    Datum lock_values[] = {arrays.tenants, arrays.events};
    const Datum tolerance = DirectFunctionCall1(int4_numeric, Int32GetDatum(sum_tolerance_cents));
    Datum sum_values[] = {arrays.tenants, arrays.events, all_models ? tolerance : arrays.models,
                          tolerance};
    pg::Query& sum = all_models ? tables->sum_all_models : tables->sum;

    pg::run(tables->lock, lock_values);
    SPI_freetuptable(SPI_tuptable);
    pg::run_latest(sum, sum_values);
    List* violations = read_violations(keys);
    SPI_freetuptable(SPI_tuptable);
    if (violations == NIL)
        return;

    // A transaction that is right by its own snapshot may succeed when it runs again.
    List* own = violations;
    if (IsolationUsesXactSnapshot()) {
        pg::run_as_of(sum, GetTransactionSnapshot(), sum_values);
        own = read_violations(keys);
    }
    ListCell* cell;
    foreach (cell, violations) {
        const auto* violation = static_cast<const Violation*>(lfirst(cell));
        if (own == violations || contains(own, violation)) {
            if (findings->count++ == 0)
                findings->first = kept(*violation, findings->memory);
        } else if (findings->newer_count++ == 0) {
            findings->first_newer = kept(*violation, findings->memory);
        }
    }
}

[[noreturn]] void raise_violation(const Findings& findings) {
    const bool wrong = findings.count > 0;
    const Violation& violation = wrong ? findings.first : findings.first_newer;
    const long count = wrong ? findings.count : findings.newer_count;
    pg_uuid_t tenant_id = violation.key.tenant_id;
    pg_uuid_t event_id = violation.key.event_id;
    const char* where = psprintf("Tenant %s, event %s, model version \"%s\"",
                                 pg::uuid_text(UUIDPGetDatum(&tenant_id)),
                                 pg::uuid_text(UUIDPGetDatum(&event_id)), violation.model_version);
    const char* numbers =
        violation.revenue == nullptr
            ? psprintf("allocated %s cents, the event is missing.", violation.allocated)
            : psprintf("revenue %s, allocated %s, drift %s cents.", violation.revenue,
                       violation.allocated, violation.drift);
    const char* more =
        count == 1 ? "" : psprintf(" It is the first of %ld in this transaction.", count);
    Relation allocations = table_open(violation.key.allocations, AccessShareLock);
    if (wrong)
        ereport(ERROR,
                (errcode(ERRCODE_CHECK_VIOLATION),
                 errmsg("allocations do not sum to the revenue of the event"),
                 errdetail("%s: %s%s", where, numbers, more),
                 errhint("Insert, change or delete allocations until they sum to the revenue, in "
                         "one transaction."),
                 errtableconstraint(allocations, constraint_name)));
    ereport(
        ERROR,
        (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
         errmsg("could not serialize access: allocations of the event were changed concurrently"),
         errdetail("%s: %s%s", where, numbers, more),
         errhint("The transaction might succeed if retried."),
         errtableconstraint(allocations, constraint_name)));
    pg_unreachable();
}

/// Checks the given keys; raises at the first violation after counting all.
void check_keys(Key* keys, long count) {
    qsort(keys, count, sizeof(Key), compare_keys);
    Findings findings{};
    findings.memory = CurrentMemoryContext;
    SPI_connect();
    const MemoryContext batch_memory =
        AllocSetContextCreate(CurrentMemoryContext, "attribution check", ALLOCSET_DEFAULT_SIZES);
    for (long from = 0; from < count;) {
        long to = from + 1;
        while (to < count && to - from < batch_keys &&
               keys[to].allocations == keys[from].allocations &&
               (keys[to].model == 0) == (keys[from].model == 0))
            ++to;
        Relation allocations = table_open(keys[from].allocations, AccessShareLock);
        Tables* tables = tables_of(allocations);
        const pg::OwnerRights rights = pg::act_as_owner(tables->events);
        const MemoryContext before = MemoryContextSwitchTo(batch_memory);
        check_batch(tables, keys + from, static_cast<int>(to - from), &findings);
        MemoryContextSwitchTo(before);
        MemoryContextReset(batch_memory);
        pg::act_as_before(rights);
        table_close(allocations, AccessShareLock);
        from = to;
    }
    if (findings.count > 0 || findings.newer_count > 0)
        raise_violation(findings);
    SPI_finish();
}

/// A row asks: is its key known to be right? If not, checks all that is open.
void check_touched(const Key& key) {
    Touches* all = current_touches();
    const auto* touch = static_cast<Touch*>(hash_search(all->keys, &key, HASH_FIND, nullptr));
    if (touch == nullptr) {
        // Not remembered: nothing would open it again.
        Key alone = key;
        check_keys(&alone, 1);
        return;
    }
    if (!touch->open)
        return;

    auto* open = static_cast<Key*>(MemoryContextAllocHuge(
        CurrentMemoryContext, sizeof(Key) * hash_get_num_entries(all->keys)));
    long count = 0;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, all->keys);
    while (auto* entry = static_cast<Touch*>(hash_seq_search(&scan)))
        if (entry->open)
            open[count++] = entry->key;
    check_keys(open, count);
    // Our own queries change nothing: what was open is right until the next change.
    for (long i = 0; i < count; ++i)
        static_cast<Touch*>(hash_search(all->keys, &open[i], HASH_FIND, nullptr))->open = false;
    pfree(open);
}

} // namespace

void watch_transactions() {
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
    CacheRegisterRelcacheCallback(forget_tables, Datum{0});
}

} // namespace attribution::entry

using namespace attribution;

ATTRIBUTION_FUNCTION(attribution_note_allocation_change) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "note_allocation_change");
    const entry::Tables* tables = entry::tables_of(trigger->tg_relation);
    const entry::Key key = entry::key_of(tables, trigger->tg_trigslot);
    entry::note(key);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
        const entry::Key new_key = entry::key_of(tables, trigger->tg_newslot);
        bool isnull;
        const std::string_view channel =
            pg::text_of(slot_getattr(trigger->tg_trigslot, tables->channel_column, &isnull));
        const std::string_view new_channel =
            pg::text_of(slot_getattr(trigger->tg_newslot, tables->channel_column, &isnull));
        if (memcmp(&key, &new_key, sizeof key) != 0 || channel != new_channel)
            ereport(
                ERROR,
                (errcode(ERRCODE_CHECK_VIOLATION),
                 errmsg("tenant, event, model version and channel of an allocation never change"),
                 errdetail("The row of event %s, model version \"%s\", channel \"%.*s\" would "
                           "become another.",
                           pg::uuid_text(UUIDPGetDatum(&key.event_id)),
                           entry::model_name(key.model), static_cast<int>(channel.size()),
                           channel.data()),
                 errhint("Delete the allocation and insert another."),
                 errtableconstraint(trigger->tg_relation, "allocation_key_is_immutable")));
    }
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_allocation_sum) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "check_allocation_sum");
    const entry::Tables* tables = entry::tables_of(trigger->tg_relation);
    entry::check_touched(entry::key_of(tables, trigger->tg_trigslot));
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
        entry::check_touched(entry::key_of(tables, trigger->tg_newslot));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_note_event_revenue) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "note_event_revenue");
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::note(key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_event_revenue) {
    const TriggerData* trigger = pg::trigger_data(fcinfo, "check_event_revenue");
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::check_touched(key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
