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
// The set of keys only saves work. A key counts as checked while no command and no rollback to a
// savepoint came after its check; any other key is checked when its row asks.
//
// All queries run as the owner of the tables, past row security, as PostgreSQL's own foreign-key
// checks do: the invoker may lack UPDATE, or may have switched the tenant before COMMIT. Relations
// are found from the OID that fired and its foreign key, never by name.

#include "entry/validate.hpp"

#include <algorithm>
#include <string_view>

#include "entry/settings.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"

namespace attribution::entry {
namespace {

constexpr const char* constraint_name = "allocation_sum_equals_revenue";
constexpr int batch_keys = 1024;
// 92 MB at a million keys, and 40 more while they are checked [measured]. A transaction that
// touches more keys has the rest checked one by one.
constexpr long max_keys = 1L << 20;
constexpr int max_model_length = 256;

// ---------------------------------------------------------------------------------------------
// What the check knows of a pair of tables

struct Tables {
    Oid allocations; // hash key
    Oid events;
    bool valid;
    int tenant_column, event_column, model_column, channel_column; // in allocations
    int id_column;
    pg::Query lock;
    pg::Query sum;
    pg::Query sum_all_models;
    pg::Query find_posting;
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
void write_queries(Tables* tables, Oid ledger) {
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
    appendStringInfo(
        &sql,
        "CROSS JOIN LATERAL (SELECT a.model_version, "
        "pg_catalog.sum(a.allocated_revenue_cents) AS allocated FROM %s a "
        "WHERE a.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
        "AND a.event_id OPERATOR(pg_catalog.=) k.event_id "
        // Not IS NOT NULL, which 17 and later drop before they look for partial indexes.
        "AND a.model_version OPERATOR(pg_catalog.>=) '' "
        "GROUP BY a.model_version OFFSET 0) s WHERE ",
        allocations);
    appendStringInfo(&sql, drifts, 3);
    appendStringInfoString(&sql, ", s.model_version");
    tables->sum_all_models = {.sql = sql.data,
                              .parameter_count = 3,
                              .parameter_types = {UUIDARRAYOID, UUIDARRAYOID, NUMERICOID},
                              .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                              .plan = nullptr};

    tables->find_posting = {};
    if (OidIsValid(ledger))
        tables->find_posting = {
            .sql = psprintf("SELECT 1 FROM %s l WHERE l.tenant_id OPERATOR(pg_catalog.=) $1 "
                            "AND l.allocation_id OPERATOR(pg_catalog.=) $2",
                            pg::qualified_name(ledger)),
            .parameter_count = 2,
            .parameter_types = {UUIDOID, UUIDOID},
            .cursor_options = CURSOR_OPT_GENERIC_PLAN,
            .plan = nullptr};
    MemoryContextSwitchTo(before);
}

void discard_queries(Tables* tables) {
    for (pg::Query* query :
         {&tables->lock, &tables->sum, &tables->sum_all_models, &tables->find_posting}) {
        pg::discard(*query);
        if (query->sql != nullptr)
            pfree(const_cast<char*>(query->sql));
        query->sql = nullptr;
    }
}

int typed_column(Relation relation, const char* column, Oid type) {
    const int number = pg::column_number(relation, column);
    if (get_atttype(RelationGetRelid(relation), static_cast<AttrNumber>(number)) != type)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("column \"%s\" of relation \"%s\" is not of type %s", column,
                               RelationGetRelationName(relation), format_type_be(type))));
    return number;
}

/// `own_function` is any function of the extension: the others are found beside it.
Tables* tables_of(Relation allocations, Oid own_function) {
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
        tables->events = pg::referenced_relation(
            allocations, "event_id", pg::sibling_function(own_function, "check_event_revenue"));
        tables->tenant_column = typed_column(allocations, "tenant_id", UUIDOID);
        tables->id_column = typed_column(allocations, "id", UUIDOID);
        tables->event_column = typed_column(allocations, "event_id", UUIDOID);
        tables->model_column = typed_column(allocations, "model_version", TEXTOID);
        tables->channel_column = typed_column(allocations, "channel", TEXTOID);
        write_queries(tables,
                      pg::referencing_relation(allocations, "allocation_id",
                                               pg::sibling_function(own_function, "keep_ledger")));
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
    bool open;            // in the list of open keys
    uint32 generation;    // of its last check
    CommandId checked_at; // the command id after the check's own commands
};

struct Model {
    char name[max_model_length]; // hash key
    uint32 number;               // from 1
};

struct Touches {
    HTAB* keys;
    Touch** open; // what must be checked
    long open_count, open_room;
    uint32 generation; // of the transaction: one more with each rollback to a savepoint
    HTAB* models;
    const char** model_names; // by number
    uint32 model_count, model_room;
};
constinit Touches* touches = nullptr; // in TopTransactionContext

extern "C" void at_transaction_end(XactEvent event, void*) {
    // The memory goes with TopTransactionContext. PRE_COMMIT and PRE_PREPARE are not yet the end.
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        touches = nullptr;
}

extern "C" void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId,
                                      void*) {
    // What was checked inside, or with what was written inside, may be wrong without it.
    if (event == SUBXACT_EVENT_ABORT_SUB && touches != nullptr)
        ++touches->generation;
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

/// Room for one more element in an array of TopTransactionContext.
template <class Element, class Count>
void make_room(Element** array, Count count, Count* room) {
    if (count < *room)
        return;
    const Count larger = *room == 0 ? 64 : *room * 2;
    const Size size = sizeof(Element) * static_cast<Size>(larger);
    *array = static_cast<Element*>(*array == nullptr
                                       ? MemoryContextAllocHuge(TopTransactionContext, size)
                                       : repalloc_huge(*array, size));
    *room = larger;
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

    make_room(&all->model_names, all->model_count, &all->model_room);
    bool found;
    auto* model = static_cast<Model*>(hash_search(all->models, name, HASH_ENTER, &found));
    if (!found) {
        all->model_names[all->model_count] = model->name;
        model->number = ++all->model_count;
    }
    return model->number;
}

const char* model_name(uint32 number) {
    return number == 0 ? "" : touches->model_names[number - 1];
}

Datum not_null(TupleTableSlot* row, int column) {
    bool isnull;
    const Datum value = slot_getattr(row, column, &isnull);
    if (isnull)
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                 errmsg("column \"%s\" must not be null",
                        NameStr(TupleDescAttr(row->tts_tupleDescriptor, column - 1)->attname))));
    return value;
}

Key key_of(const Tables* tables, TupleTableSlot* row) {
    Key key;
    key.allocations = tables->allocations;
    key.tenant_id = *DatumGetUUIDP(not_null(row, tables->tenant_column));
    key.event_id = *DatumGetUUIDP(not_null(row, tables->event_column));
    key.model = model_number(not_null(row, tables->model_column));
    return key;
}

/// The key that stands for all model versions of an updated event; false when no allocations
/// reference the relation.
bool key_of_event(const TriggerData* trigger, Key* key) {
    const Relation events = trigger->tg_relation;
    key->allocations = pg::referencing_relation(
        events, "event_id",
        pg::sibling_function(trigger->tg_trigger->tgfoid, "check_allocation_sum"));
    if (!OidIsValid(key->allocations))
        return false;
    key->model = 0;
    key->tenant_id =
        *DatumGetUUIDP(not_null(trigger->tg_newslot, typed_column(events, "tenant_id", UUIDOID)));
    key->event_id =
        *DatumGetUUIDP(not_null(trigger->tg_newslot, typed_column(events, "id", UUIDOID)));
    return true;
}

void open_touch(Touches* all, Touch* touch) {
    if (touch->open)
        return;
    make_room(&all->open, all->open_count, &all->open_room);
    all->open[all->open_count++] = touch;
    touch->open = true;
}

/// Opens the key: its sum must be checked (again).
void note(const Key& key) {
    Touches* all = current_touches();
    const bool full = hash_get_num_entries(all->keys) >= max_keys;
    bool found;
    auto* touch =
        static_cast<Touch*>(hash_search(all->keys, &key, full ? HASH_FIND : HASH_ENTER, &found));
    if (touch == nullptr)
        return;
    if (!found)
        *touch = {.key = key, .open = false, .generation = 0, .checked_at = 0};
    open_touch(all, touch);
}

/// After a rollback to a savepoint no check counts any more: opens all of them at once, so that
/// they are checked together and their events locked in order.
void open_all_outdated(Touches* all) {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, all->keys);
    while (auto* touch = static_cast<Touch*>(hash_seq_search(&scan)))
        if (touch->generation != all->generation)
            open_touch(all, touch);
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

bool same_event(const Key& a, const Key& b) {
    return memcmp(&a.tenant_id, &b.tenant_id, UUID_LEN) == 0 &&
           memcmp(&a.event_id, &b.event_id, UUID_LEN) == 0;
}

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

void collect(const List* violations, const List* own, Findings* findings) {
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

/// Locks the events of the keys, sorted, so that sessions wait for each other in one order.
void lock_events(Tables* tables, const Key* keys, long count, MemoryContext batch_memory) {
    auto* events = static_cast<Key*>(palloc(sizeof(Key) * batch_keys));
    for (long i = 0; i < count;) {
        CHECK_FOR_INTERRUPTS();
        int event_count = 0;
        for (; i < count && event_count < batch_keys; ++i)
            if (i == 0 || !same_event(keys[i - 1], keys[i]))
                events[event_count++] = keys[i];
        if (event_count == 0)
            break;
        MemoryContextSwitchTo(batch_memory);
        const Arrays arrays = arrays_of(events, event_count);
        Datum values[] = {arrays.tenants, arrays.events};
        pg::run(tables->lock, values);
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(batch_memory);
    }
    pfree(events);
}

/// Sums the keys, all with a model or all without, and collects what is wrong.
void sum_keys(Tables* tables, const Key* keys, long count, Findings* findings,
              MemoryContext batch_memory) {
    if (count == 0)
        return;
    const bool all_models = keys[0].model == 0;
    pg::Query& sum = all_models ? tables->sum_all_models : tables->sum;
    for (long from = 0; from < count; from += batch_keys) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(batch_memory);
        const Arrays arrays =
            arrays_of(keys + from, static_cast<int>(std::min<long>(batch_keys, count - from)));
        const Datum tolerance =
            DirectFunctionCall1(int4_numeric, Int32GetDatum(sum_tolerance_cents));
        Datum values[] = {arrays.tenants, arrays.events, all_models ? tolerance : arrays.models,
                          tolerance};
        pg::run_latest(sum, values);
        if (SPI_processed > 0) {
            MemoryContextSwitchTo(batch_memory);
            List* violations = read_violations(keys + from);
            List* own = violations;
            // A transaction that is right by its own snapshot may succeed when it runs again.
            if (IsolationUsesXactSnapshot()) {
                pg::run_as_of(sum, GetTransactionSnapshot(), values);
                MemoryContextSwitchTo(batch_memory);
                own = read_violations(keys + from);
            }
            collect(violations, own, findings);
        }
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(batch_memory);
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

/// Checks the keys of one pair of tables, sorted: locks all events, then sums. Reorders the keys.
void check_tables(Key* keys, long count, Oid own_function, Findings* findings,
                  MemoryContext batch_memory) {
    Relation allocations = table_open(keys[0].allocations, AccessShareLock);
    Tables* tables = tables_of(allocations, own_function);
    pg::OwnerRights rights = pg::act_as_owner(tables->events);
    lock_events(tables, keys, count, batch_memory);
    pg::act_as_before(rights);

    // A key without model covers all models of its event, and comes first.
    long all_models_count = 0;
    for (long i = 0; i < count; ++i)
        all_models_count += keys[i].model == 0 ? 1 : 0;
    auto* all_models =
        static_cast<Key*>(palloc_extended(sizeof(Key) * (all_models_count + 1), MCXT_ALLOC_HUGE));
    all_models_count = 0;
    long by_model_count = 0;
    for (long i = 0; i < count; ++i) {
        if (keys[i].model == 0)
            all_models[all_models_count++] = keys[i];
        else if (all_models_count == 0 || !same_event(all_models[all_models_count - 1], keys[i]))
            keys[by_model_count++] = keys[i];
    }
    // What the owner of the allocations may not see of another owner's events counts as missing.
    rights = pg::act_as_owner(tables->allocations);
    sum_keys(tables, keys, by_model_count, findings, batch_memory);
    sum_keys(tables, all_models, all_models_count, findings, batch_memory);
    pg::act_as_before(rights);
    table_close(allocations, AccessShareLock);
}

/// Checks the given keys; raises the first violation after counting all.
void check_keys(Key* keys, long count, Oid own_function) {
    qsort(keys, count, sizeof(Key), compare_keys);
    Findings findings{};
    findings.memory = CurrentMemoryContext;
    SPI_connect();
    const MemoryContext memory = CurrentMemoryContext;
    const MemoryContext batch_memory =
        AllocSetContextCreate(memory, "attribution check", ALLOCSET_DEFAULT_SIZES);
    const int settings = pg::prefer_indexes();
    for (long from = 0, to = 0; from < count; from = to) {
        while (to < count && keys[to].allocations == keys[from].allocations)
            ++to;
        MemoryContextSwitchTo(memory);
        check_tables(keys + from, to - from, own_function, &findings, batch_memory);
    }
    pg::restore_settings(settings);
    if (findings.count > 0 || findings.newer_count > 0)
        raise_violation(findings);
    SPI_finish();
}

/// A row asks: is its key known to be right? If not, checks all that is open.
void check_touched(const Key& key, Oid own_function) {
    Touches* all = current_touches();
    auto* touch = static_cast<Touch*>(hash_search(all->keys, &key, HASH_FIND, nullptr));
    if (touch == nullptr) {
        // Not noted: nothing would open it again.
        Key alone = key;
        check_keys(&alone, 1, own_function);
        return;
    }
    if (!touch->open) {
        if (touch->generation != all->generation)
            open_all_outdated(all);
        else if (touch->checked_at != GetCurrentCommandId(false))
            open_touch(all, touch); // a later command may have changed it without a note so far
        else
            return;
    }

    const long count = all->open_count;
    auto* keys = static_cast<Key*>(palloc_extended(sizeof(Key) * count, MCXT_ALLOC_HUGE));
    for (long i = 0; i < count; ++i)
        keys[i] = all->open[i]->key;
    check_keys(keys, count, own_function);
    for (long i = 0; i < count; ++i) {
        all->open[i]->open = false;
        all->open[i]->generation = all->generation;
        all->open[i]->checked_at = GetCurrentCommandId(false);
    }
    all->open_count = 0;
    pfree(keys);
}

/// A posted allocation does not change at all. Posting holds the rows FOR SHARE, so an update that
/// waited for it must look at what was committed meanwhile.
void refuse_change_of_posted(const TriggerData* trigger, Tables* tables) {
    if (tables->find_posting.sql == nullptr)
        return;
    Datum values[] = {not_null(trigger->tg_trigslot, tables->tenant_column),
                      not_null(trigger->tg_trigslot, tables->id_column)};
    SPI_connect();
    const int settings = pg::prefer_indexes();
    const pg::OwnerRights rights = pg::act_as_owner(tables->allocations);
    pg::run_latest(tables->find_posting, values);
    const bool posted = SPI_processed > 0;
    pg::act_as_before(rights);
    pg::restore_settings(settings);
    SPI_finish();
    if (posted)
        ereport(ERROR,
                (errcode(ERRCODE_CHECK_VIOLATION), errmsg("a posted allocation never changes"),
                 errdetail("Allocation %s is in the ledger.", pg::uuid_text(values[1])),
                 errhint("A correction is a reversing entry in the ledger."),
                 errtableconstraint(trigger->tg_relation, "posted_allocation_is_frozen")));
}

void refuse_change_of_key(const TriggerData* trigger, const Tables* tables, const Key& key) {
    const Key new_key = key_of(tables, trigger->tg_newslot);
    const std::string_view channel =
        pg::text_of(not_null(trigger->tg_trigslot, tables->channel_column));
    const std::string_view new_channel =
        pg::text_of(not_null(trigger->tg_newslot, tables->channel_column));
    if (memcmp(&key, &new_key, sizeof key) == 0 && channel == new_channel)
        return;
    ereport(ERROR,
            (errcode(ERRCODE_CHECK_VIOLATION),
             errmsg("tenant, event, model version and channel of an allocation never change"),
             errdetail("The row of event %s, model version \"%s\", channel \"%.*s\" would "
                       "become another.",
                       pg::uuid_text(UUIDPGetDatum(&key.event_id)), model_name(key.model),
                       static_cast<int>(channel.size()), channel.data()),
             errhint("Delete the allocation and insert another."),
             errtableconstraint(trigger->tg_relation, "allocation_key_is_immutable")));
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
    const TriggerData* trigger = pg::row_trigger(fcinfo, "note_allocation_change");
    entry::Tables* tables = entry::tables_of(trigger->tg_relation, trigger->tg_trigger->tgfoid);
    const entry::Key key = entry::key_of(tables, trigger->tg_trigslot);
    entry::note(key);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
        entry::refuse_change_of_key(trigger, tables, key);
        entry::refuse_change_of_posted(trigger, tables);
    }
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_allocation_sum) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_allocation_sum");
    const Oid own_function = trigger->tg_trigger->tgfoid;
    const entry::Tables* tables = entry::tables_of(trigger->tg_relation, own_function);
    entry::check_touched(entry::key_of(tables, trigger->tg_trigslot), own_function);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
        entry::check_touched(entry::key_of(tables, trigger->tg_newslot), own_function);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_note_event_revenue) {
    const TriggerData* trigger =
        pg::row_trigger(fcinfo, "note_event_revenue", TRIGGER_EVENT_UPDATE);
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::note(key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_event_revenue) {
    const TriggerData* trigger =
        pg::row_trigger(fcinfo, "check_event_revenue", TRIGGER_EVENT_UPDATE);
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::check_touched(key, trigger->tg_trigger->tgfoid);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_keep_event_key) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "keep_event_key", TRIGGER_EVENT_UPDATE);
    // Allocations belong to an event by its key: another row that takes it over would take them.
    const int id = entry::typed_column(trigger->tg_relation, "id", UUIDOID);
    ereport(ERROR,
            (errcode(ERRCODE_CHECK_VIOLATION), errmsg("tenant and id of an event never change"),
             errdetail("Event %s would become another.",
                       pg::uuid_text(entry::not_null(trigger->tg_trigslot, id))),
             errhint("Insert another event."),
             errtableconstraint(trigger->tg_relation, "event_key_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
