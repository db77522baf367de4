// validate: no transaction commits allocations that do not sum to their event's revenue, refunds
// that exceed their conversion, or a channel below zero.
//
// The one idea: the guarantee is a deferred row trigger, so every changed row asks at COMMIT, on
// whatever path it came; but the first one that asks has all touched keys checked together.
//
//     statement   a note                one call per row: remember the key as open
//        ...
//     COMMIT      the constraint        one call per row: key checked? then done,
//                                       else check all open keys at once:
//                    1. lock their conversions FOR NO KEY UPDATE, in (tenant, event) order
//                    2. take a snapshot newer than the locks, at every isolation level
//                    3. sum, compare, raise
//
// The order 1, 2, 3 is what two sessions that each insert 100 % cannot slip through: the second
// one waits at 1 and sees the first one's rows at 3. FOR UPDATE at 1 would deadlock with the FOR
// KEY SHARE that the foreign-key checks of both sessions hold.
//
// A family is a conversion and its refunds. Three rules hold for it, and its conversion's row is
// the one lock for all of them; the refunds' own rows need none, since whoever checks them has
// locked the conversion. Who belongs to which family never changes (event_key_is_immutable), so it
// may be asked before the lock.
//
//     rule                              of                                  asked by a change of
//     allocation_sum_equals_revenue     an event and model version          allocations, revenue
//     refunds_do_not_exceed_conversion  a conversion                        refunds, revenue
//     channel_is_not_below_zero         a conversion, model version,        allocations, refunds
//                                       channel                             that are deleted
//
// The set of keys only saves work. A key counts as checked while no command and no rollback to a
// savepoint came after its check; any other key is checked when its row asks.
//
// All queries run as the owner of the tables, past row security, as PostgreSQL's own foreign-key
// checks do: the invoker may lack UPDATE, or may have switched the tenant before COMMIT. Relations
// are found from the OID that fired and its foreign key, never by name.

#include "entry/check/validate.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "entry/session/settings.hpp"
#include "pg/convert.hpp"
#include "pg/query.hpp"
#include "pg/relation.hpp"
#include "pg/tuple.hpp"

// Test builds only (test/suites/mutants.sh): checks that lose the race, and points around the sums
// where a test can hold a session. None of it is in a module that ships.
#ifdef ATTRIBUTION_MUTANT_NO_LOCK
#define LOCKED ""
#else
#define LOCKED "FOR NO KEY UPDATE"
#endif
#ifdef ATTRIBUTION_MUTANT_OLD_SNAPSHOT
#define run_latest run
#define GetLatestSnapshot GetTransactionSnapshot
#endif

namespace attribution::entry {
namespace {

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
    int id_column, cents_column;
    int event_tenant, event_id, event_refund_of, event_cents; // columns of events
    Oid event_index, refund_index, sum_index; // what index scans need; InvalidOid: use the queries
    pg::Query find_refunds;
    pg::Query lock;
    pg::Query sum;
    pg::Query sum_all_models;
    pg::Query refunds;
    pg::Query channels;
    pg::Query channels_all_models;
    pg::Query find_posting;
};
constinit HTAB* known_tables = nullptr;
constinit uint64 invalidations = 0;

extern "C" void forget_tables(Datum, Oid relation) {
    ++invalidations;
    if (known_tables == nullptr)
        return;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, known_tables);
    while (auto* tables = static_cast<Tables*>(hash_seq_search(&scan)))
        if (relation == InvalidOid || relation == tables->allocations || relation == tables->events)
            tables->valid = false;
}

/// `$1` and on as arrays of one length: a row k per key, numbered by i.
#define EVENT_KEYS                                                                                 \
    "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY "                    \
    "AS k (tenant_id, event_id, i) "
#define MODEL_KEYS                                                                                 \
    "ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) "             \
    "WITH ORDINALITY AS k (tenant_id, event_id, model_version, i) "
// At most one event. A range, its order and LIMIT instead of = keep a planner that takes the table
// for tiny to the primary key: to it any index on tenant_id is as good, and would read all events
// of the tenant.
#define EVENT_OF_KEY                                                                               \
    "x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND x.id OPERATOR(pg_catalog.>=) k.event_id "  \
    "AND x.id OPERATOR(pg_catalog.<=) k.event_id ORDER BY x.id LIMIT 1 "
#define REFUNDS_OF_KEY                                                                             \
    "x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "                                              \
    "AND x.refund_of OPERATOR(pg_catalog.=) k.event_id "
// COLLATE keeps a planner without statistics from the index on (tenant_id, model_version), which
// looks as good to it as the one on the event, and would read all allocations of the tenant.
#define MODEL_OF_KEY                                                                               \
    "AND x.model_version IS NOT NULL AND x.model_version COLLATE pg_catalog.\"C\" "                \
    "OPERATOR(pg_catalog.=) k.model_version "
// Not IS NOT NULL, which 17 and later drop before they look for partial indexes.
#define ANY_MODEL "AND x.model_version OPERATOR(pg_catalog.>=) '' "

pg::Query keys_query(const char* sql, bool by_model, bool with_tolerance) {
    pg::Query query{.sql = sql,
                    .parameter_count = 0,
                    .parameter_types = {},
                    .cursor_options = CURSOR_OPT_GENERIC_PLAN,
                    .plan = nullptr};
    for (int i = 0; i < 2; ++i)
        query.parameter_types[query.parameter_count++] = UUIDARRAYOID;
    if (by_model)
        query.parameter_types[query.parameter_count++] = TEXTARRAYOID;
    if (with_tolerance)
        query.parameter_types[query.parameter_count++] = NUMERICOID;
    return query;
}

/// The sums that differ from the revenue; by model version, also (not `drifts`) the keys of
/// conversions whose channels must be looked at: they have refunds, or less than nothing; and those
/// of refunds.
const char* sum_sql(const char* allocations, const char* events, bool by_model) {
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql,
                     "SELECT d.i, d.model_version, NULL, d.revenue_cents::pg_catalog.text, "
                     "d.allocated::pg_catalog.text, "
                     "pg_catalog.abs(d.revenue_cents::pg_catalog.numeric "
                     "OPERATOR(pg_catalog.-) d.allocated)::pg_catalog.text, d.drifts%s "
                     "FROM (SELECT k.i, %s.model_version, e.revenue_cents, s.allocated, "
                     "s.allocated IS NOT NULL AND (e.revenue_cents IS NULL OR pg_catalog.abs("
                     "e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.-) s.allocated) "
                     "OPERATOR(pg_catalog.>) $%d) AS drifts",
                     by_model ? ", d.has_family, d.is_refund" : "", by_model ? "k" : "s",
                     by_model ? 4 : 3);
    // OFFSET 0 in EXISTS: not hashed, which would read all refunds.
    if (by_model)
        appendStringInfo(&sql,
                         ", e.refund_of IS NULL AND (s.lowest OPERATOR(pg_catalog.<) 0 OR EXISTS "
                         "(SELECT 1 FROM %s x WHERE " REFUNDS_OF_KEY "OFFSET 0)) AS has_family, "
                         "e.refund_of IS NOT NULL AS is_refund",
                         events);
    appendStringInfo(&sql,
                     " FROM %s LEFT JOIN LATERAL (SELECT x.refund_of, x.revenue_cents FROM %s x "
                     "WHERE " EVENT_OF_KEY ") e ON true "
                     "CROSS JOIN LATERAL (SELECT %spg_catalog.sum(x.allocated_revenue_cents) "
                     "AS allocated, pg_catalog.min(x.allocated_revenue_cents) AS lowest FROM ("
                     "SELECT x.model_version, x.allocated_revenue_cents FROM %s x "
                     "WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
                     "AND x.event_id OPERATOR(pg_catalog.>=) k.event_id "
                     "AND x.event_id OPERATOR(pg_catalog.<=) k.event_id %s"
                     "ORDER BY x.event_id OFFSET 0) x %sOFFSET 0) s OFFSET 0) d "
                     "WHERE d.drifts%s ORDER BY d.i, d.model_version",
                     by_model ? MODEL_KEYS : EVENT_KEYS, events,
                     by_model ? "" : "x.model_version, ", allocations,
                     by_model ? MODEL_OF_KEY : ANY_MODEL,
                     by_model ? "" : "GROUP BY x.model_version ",
                     by_model ? " OR d.has_family OR d.is_refund" : "");
    return sql.data;
}

/// The channels of a conversion and its refunds that are below zero.
const char* channels_sql(const char* allocations, const char* events, bool by_model) {
    return psprintf(
        "SELECT k.i, %s.model_version, s.channel, NULL, s.cents::pg_catalog.text, NULL "
        "FROM %s CROSS JOIN LATERAL (SELECT %sa.channel, pg_catalog.sum(a.cents) AS cents "
        "FROM (SELECT k.event_id AS id UNION ALL SELECT x.id FROM %s x WHERE " REFUNDS_OF_KEY
        ") f CROSS JOIN LATERAL (SELECT x.model_version, x.channel, x.allocated_revenue_cents "
        "AS cents FROM %s x WHERE x.tenant_id OPERATOR(pg_catalog.=) k.tenant_id "
        "AND x.event_id OPERATOR(pg_catalog.>=) f.id AND x.event_id OPERATOR(pg_catalog.<=) f.id "
        "%sORDER BY x.event_id OFFSET 0) a GROUP BY %sa.channel "
        "HAVING pg_catalog.sum(a.cents) OPERATOR(pg_catalog.<) 0 OFFSET 0) s "
        "ORDER BY k.i, s.channel COLLATE pg_catalog.\"C\"%s",
        by_model ? "k" : "s", by_model ? MODEL_KEYS : EVENT_KEYS,
        by_model ? "" : "a.model_version, ", events, allocations,
        by_model ? MODEL_OF_KEY : ANY_MODEL, by_model ? "" : "a.model_version, ",
        by_model ? "" : ", s.model_version");
}

/// All queries take arrays in key order and look each key up by LATERAL with OFFSET 0: the planner
/// must not turn a thousand index lookups into a scan of the table. Operators are qualified: the
/// caller's search_path decides nothing here. What a rule finds wrong has the columns: number of
/// the key, model version, what else names it, revenue, amount, difference.
void write_queries(Tables* tables, Oid ledger) {
    const char* allocations = pg::qualified_name(tables->allocations);
    const char* events = pg::qualified_name(tables->events);

    const MemoryContext before = MemoryContextSwitchTo(CacheMemoryContext);
    // refund_of IS NOT NULL outside: inside it would offer the index on refunds.
    tables->find_refunds =
        keys_query(psprintf("SELECT k.i, r.refund_of FROM " EVENT_KEYS
                            "CROSS JOIN LATERAL (SELECT x.refund_of FROM %s x WHERE " EVENT_OF_KEY
                            ") r WHERE r.refund_of IS NOT NULL ORDER BY k.i",
                            events),
                   false, false);
    tables->lock =
        keys_query(psprintf("SELECT pg_catalog.count(*) FROM " EVENT_KEYS
                            ", LATERAL (SELECT 1 FROM %s x WHERE " EVENT_OF_KEY LOCKED ") l",
                            events),
                   false, false);
    tables->sum = keys_query(sum_sql(allocations, events, true), true, true);
    tables->sum_all_models = keys_query(sum_sql(allocations, events, false), false, true);
    tables->refunds = keys_query(
        psprintf("SELECT k.i, '', e.event_type, e.revenue_cents::pg_catalog.text, "
                 "(OPERATOR(pg_catalog.-) r.cents)::pg_catalog.text, "
                 "(OPERATOR(pg_catalog.-) (e.revenue_cents::pg_catalog.numeric "
                 "OPERATOR(pg_catalog.+) r.cents))::pg_catalog.text "
                 "FROM " EVENT_KEYS
                 "LEFT JOIN LATERAL (SELECT x.event_type, x.revenue_cents FROM %s x "
                 "WHERE " EVENT_OF_KEY ") e ON true "
                 "CROSS JOIN LATERAL (SELECT pg_catalog.sum(x.revenue_cents) AS cents FROM %s x "
                 "WHERE " REFUNDS_OF_KEY "OFFSET 0) r "
                 "WHERE r.cents IS NOT NULL AND (e.revenue_cents IS NULL "
                 "OR e.event_type OPERATOR(pg_catalog.<>) 'conversion' "
                 "OR (e.revenue_cents::pg_catalog.numeric OPERATOR(pg_catalog.+) r.cents) "
                 "OPERATOR(pg_catalog.<) 0) ORDER BY k.i",
                 events, events),
        false, false);
    tables->channels = keys_query(channels_sql(allocations, events, true), true, false);
    tables->channels_all_models =
        keys_query(channels_sql(allocations, events, false), false, false);

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
    for (pg::Query* query : {&tables->find_refunds, &tables->lock, &tables->sum,
                             &tables->sum_all_models, &tables->refunds, &tables->channels,
                             &tables->channels_all_models, &tables->find_posting}) {
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

/// What the check without queries needs to know of the tables.
void find_indexes(Tables* tables, Relation allocations) {
    Relation events = table_open(tables->events, AccessShareLock);
    tables->event_tenant = typed_column(events, "tenant_id", UUIDOID);
    tables->event_id = typed_column(events, "id", UUIDOID);
    tables->event_refund_of = typed_column(events, "refund_of", UUIDOID);
    tables->event_cents = typed_column(events, "revenue_cents", INT8OID);
    const std::array event_key = {tables->event_tenant, tables->event_id};
    const std::array refund_key = {tables->event_tenant, tables->event_refund_of};
    // Not the model version: bytes do not change their order with a library of the system.
    const std::array sum_key = {tables->tenant_column, tables->event_column};
    tables->event_index = pg::index_on(events, event_key);
    tables->refund_index = pg::index_on(events, refund_key);
    tables->sum_index = pg::index_on(allocations, sum_key);
    table_close(events, AccessShareLock);
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
    // Entries stay where they are, and rows come from one table at a time.
    static constinit Tables* last = nullptr;
    if (last != nullptr && last->allocations == relation && last->valid)
        return last;
    bool found;
    auto* tables = static_cast<Tables*>(hash_search(known_tables, &relation, HASH_ENTER, &found));
    if (!found)
        *tables = {.allocations = relation, .events = InvalidOid, .valid = false};
    // What is looked up may change while it is looked up; what changes all the time is looked up
    // again by the next one who asks.
    for (int attempt = 0; !tables->valid && attempt < 3; ++attempt) {
        const uint64 before = invalidations;
        discard_queries(tables);
        tables->events = pg::referenced_relation(
            allocations, "event_id", pg::sibling_function(own_function, "check_event_revenue"));
        tables->tenant_column = typed_column(allocations, "tenant_id", UUIDOID);
        tables->id_column = typed_column(allocations, "id", UUIDOID);
        tables->event_column = typed_column(allocations, "event_id", UUIDOID);
        tables->cents_column = typed_column(allocations, "allocated_revenue_cents", INT8OID);
        tables->model_column = typed_column(allocations, "model_version", TEXTOID);
        tables->channel_column = typed_column(allocations, "channel", TEXTOID);
        find_indexes(tables, allocations);
        write_queries(tables,
                      pg::referencing_relation(allocations, "allocation_id",
                                               pg::sibling_function(own_function, "keep_ledger")));
        tables->valid = invalidations == before;
    }
    last = tables;
    return tables;
}

// ---------------------------------------------------------------------------------------------
// The touched keys of the transaction

/// What may have become wrong: the allocations of an (event, model version), or one of these.
struct Key {
    Oid allocations;
    uint32 model; // a number of a model version, from 1, or:
    pg_uuid_t tenant_id;
    pg_uuid_t event_id;
};
static_assert(sizeof(Key) == 40, "hashed as bytes: no padding");

// The revenue of the event changed: sums under all model versions, and the refunds.
constexpr uint32 revenue_of_event = 0;
// A refund of the conversion came: the refunds.
constexpr uint32 refunds_of_conversion = PG_UINT32_MAX;
// An event of the conversion's family went: the refunds, and the channels under all model versions.
constexpr uint32 family_of_conversion = PG_UINT32_MAX - 1;

bool is_of_conversion(const Key& key) {
    return key.model == refunds_of_conversion || key.model == family_of_conversion;
}

bool names_a_model(const Key& key) {
    return key.model != revenue_of_event && !is_of_conversion(key);
}

struct Touch {
    Key key;
    bool open;            // in the list of open keys
    uint32 generation;    // of its last check
    CommandId checked_at; // the command id after the check's own commands
};

struct Model {
    char name[max_model_length]; // hash key
    uint32 number;
};

struct Touches {
    HTAB* keys;
    Touch** open; // what must be checked
    long open_count, open_room;
    uint32 generation; // of the transaction: one more with each rollback to a savepoint
    HTAB* models;
    const char** model_names; // by number
    uint32 model_count, model_room;
    Touch* last;           // found last: rows of one key mostly come together
    bool may_have_refunds; // an event, or an allocation below zero, was touched
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

/// Room for one more element in an array of a memory context.
template <class Element, class Count>
void make_room(Element** array, Count count, Count* room, MemoryContext memory) {
    if (count < *room)
        return;
    const Count larger = *room == 0 ? 64 : *room * 2;
    const Size size = sizeof(Element) * static_cast<Size>(larger);
    *array = static_cast<Element*>(*array == nullptr ? MemoryContextAllocHuge(memory, size)
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

    make_room(&all->model_names, all->model_count, &all->model_room, TopTransactionContext);
    bool found;
    auto* model = static_cast<Model*>(hash_search(all->models, name, HASH_ENTER, &found));
    if (!found) {
        all->model_names[all->model_count] = model->name;
        model->number = ++all->model_count;
    }
    return model->number;
}

const char* model_name(const Key& key) {
    return names_a_model(key) ? touches->model_names[key.model - 1] : "";
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

/// The allocations of a table of events.
Oid allocations_of(Relation events, Oid own_function) {
    const Oid allocations = pg::referencing_relation(
        events, "event_id", pg::sibling_function(own_function, "check_allocation_sum"));
    if (!OidIsValid(allocations))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                 errmsg("relation \"%s\" has lost the foreign key of its allocations",
                        RelationGetRelationName(events)),
                 errdetail("Its triggers find the allocations through that foreign key."),
                 errhint("Restore the foreign key of the extension's installation script.")));
    return allocations;
}

/// What a refund that came, a revenue that changed or an event that went may have made wrong; false
/// when that is nothing.
bool key_of_event(const TriggerData* trigger, Key* key) {
    const Relation events = trigger->tg_relation;
    const bool updated = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
    TupleTableSlot* row = updated ? trigger->tg_newslot : trigger->tg_trigslot;
    bool isnull;
    const Datum refund_of = slot_getattr(row, typed_column(events, "refund_of", UUIDOID), &isnull);
    if (isnull && TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
        return false;
    key->allocations = allocations_of(events, trigger->tg_trigger->tgfoid);
    key->model = updated                                      ? revenue_of_event
                 : TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? refunds_of_conversion
                                                              : family_of_conversion;
    key->tenant_id = *DatumGetUUIDP(not_null(row, typed_column(events, "tenant_id", UUIDOID)));
    key->event_id = *DatumGetUUIDP(
        updated || isnull ? not_null(row, typed_column(events, "id", UUIDOID)) : refund_of);
    return true;
}

void open_touch(Touches* all, Touch* touch) {
    if (touch->open)
        return;
    make_room(&all->open, all->open_count, &all->open_room, TopTransactionContext);
    all->open[all->open_count++] = touch;
    touch->open = true;
}

/// The touch of the key, made if it is to be; nullptr when there is none, or no room.
Touch* find_touch(Touches* all, const Key& key, bool make) {
    if (all->last != nullptr && memcmp(&all->last->key, &key, sizeof key) == 0)
        return all->last;
    make = make && hash_get_num_entries(all->keys) < max_keys;
    bool found;
    auto* touch =
        static_cast<Touch*>(hash_search(all->keys, &key, make ? HASH_ENTER : HASH_FIND, &found));
    if (touch != nullptr && !found)
        *touch = {.key = key, .open = false, .generation = 0, .checked_at = 0};
    if (touch != nullptr)
        all->last = touch;
    return touch;
}

/// Opens the key: its sum must be checked (again).
void note(const Key& key) {
    Touches* all = current_touches();
    Touch* touch = find_touch(all, key, true);
    if (touch == nullptr)
        return;
    open_touch(all, touch);
    all->may_have_refunds |= !names_a_model(key);
}

/// Allocations of refunds are below zero, but for a cent of tolerance or what somebody wrote by
/// hand; the check notices when this guess is wrong.
void note_cents(const Tables* tables, TupleTableSlot* row) {
    if (DatumGetInt64(not_null(row, tables->cents_column)) < 0)
        current_touches()->may_have_refunds = true;
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

/// In the order in which they are told.
enum Rule { sum_rule, refunds_rule, channels_rule, rule_count };

struct Violation {
    Rule rule;
    Oid relation; // that the rule is of
    pg_uuid_t tenant_id;
    pg_uuid_t event_id;
    const char* model_version; // not nullptr
    const char* name;          // of the channel, or the type of what was refunded
    const char* revenue;       // nullptr: the event is not there
    const char* amount;
    const char* difference;
};

struct Findings {
    MemoryContext memory; // outlives the batches
    // Wrong for this transaction: the first of each rule, and how many.
    Violation first[rule_count];
    long count[rule_count];
    // Right for this transaction's snapshot, wrong for the newest.
    Violation first_newer[rule_count];
    long newer_count[rule_count];
};

bool same_uuid(const pg_uuid_t& a, const pg_uuid_t& b) {
    return memcmp(&a, &b, UUID_LEN) == 0;
}

bool same_event(const Key& a, const Key& b) {
    return same_uuid(a.tenant_id, b.tenant_id) && same_uuid(a.event_id, b.event_id);
}

/// By table, tenant and event; of one event first what is not of one model version.
int compare_keys(const void* left, const void* right) {
    const Key& a = *static_cast<const Key*>(left);
    const Key& b = *static_cast<const Key*>(right);
    if (a.allocations != b.allocations)
        return a.allocations < b.allocations ? -1 : 1;
    if (const int tenant = memcmp(&a.tenant_id, &b.tenant_id, UUID_LEN))
        return tenant;
    if (const int event = memcmp(&a.event_id, &b.event_id, UUID_LEN))
        return event;
    if (const int model = strcmp(model_name(a), model_name(b)))
        return model;
    return a.model < b.model ? -1 : a.model > b.model ? 1 : 0;
}

/// A key of the conversion that an event belongs to.
Key conversion_key(const Key& event, const pg_uuid_t& conversion_id, uint32 model) {
    return {.allocations = event.allocations,
            .model = model,
            .tenant_id = event.tenant_id,
            .event_id = conversion_id};
}

/// Keys that grow, in a memory context.
struct KeyList {
    MemoryContext memory;
    Key* keys;
    long count, room;
};

void add(KeyList* list, const Key& key) {
    make_room(&list->keys, list->count, &list->room, list->memory);
    list->keys[list->count++] = key;
}

/// In key order, each once.
void sort(KeyList* list) {
    if (list->count == 0)
        return;
    qsort(list->keys, list->count, sizeof(Key), compare_keys);
    long kept = 1;
    for (long i = 1; i < list->count; ++i)
        if (compare_keys(&list->keys[kept - 1], &list->keys[i]) != 0)
            list->keys[kept++] = list->keys[i];
    list->count = kept;
}

/// Takes out the keys of events that `others`, sorted as well, has under all model versions.
void take_out_covered(KeyList* list, const KeyList& others) {
    long kept = 0, other = 0;
    for (long i = 0; i < list->count; ++i) {
        while (other < others.count && compare_keys(&others.keys[other], &list->keys[i]) < 0)
            ++other;
        if (other == 0 || !same_event(others.keys[other - 1], list->keys[i]))
            list->keys[kept++] = list->keys[i];
    }
    list->count = kept;
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
        models[i] = CStringGetTextDatum(model_name(keys[i]));
    }
    return {
        PointerGetDatum(construct_array(tenants, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(events, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(construct_array(models, count, TEXTOID, -1, false, TYPALIGN_INT))};
}

/// The first of `keys` as arguments of a query, in the current memory context.
int batch_of(const Key* keys, long count, Arrays* arrays) {
    CHECK_FOR_INTERRUPTS();
    const int batch = static_cast<int>(std::min<long>(batch_keys, count));
    *arrays = arrays_of(keys, batch);
    return batch;
}

/// The key of a refund, by its place among the keys, and its conversion.
struct Refund {
    long place;
    pg_uuid_t conversion_id;
};

struct RefundList {
    Refund* refunds;
    long count, room;
};

/// Which of the keys are of refunds, also of events that came after this transaction's snapshot. A
/// key that is of a conversion by its kind is none, whatever it was that a refund took for one.
RefundList find_refunds(Tables* tables, const Key* keys, long count, MemoryContext batch_memory) {
    RefundList list{};
    const MemoryContext memory = CurrentMemoryContext;
    for (long from = 0; from < count; from += batch_keys) {
        MemoryContextSwitchTo(batch_memory);
        Arrays arrays;
        batch_of(keys + from, count - from, &arrays);
        Datum values[] = {arrays.tenants, arrays.events};
        pg::run_latest(tables->find_refunds, values);
        for (uint64 row = 0; row < SPI_processed; ++row) {
            bool isnull;
            const long place = from + DatumGetInt64(pg::result_value(row, 1, &isnull)) - 1;
            if (is_of_conversion(keys[place]))
                continue;
            make_room(&list.refunds, list.count, &list.room, memory);
            list.refunds[list.count++] = {
                .place = place, .conversion_id = *DatumGetUUIDP(pg::result_value(row, 2, &isnull))};
        }
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(batch_memory);
    }
    MemoryContextSwitchTo(memory);
    return list;
}

/// Locks the conversions of the keys, in the order of their ids, so that sessions wait for each
/// other in one order: merges the conversions among the keys with those of the refunds.
void lock_conversions(Tables* tables, const Key* keys, long count, const RefundList& refunds,
                      MemoryContext batch_memory) {
    const MemoryContext memory = CurrentMemoryContext;
    KeyList others{.memory = memory, .keys = nullptr, .count = 0, .room = 0};
    for (long i = 0; i < refunds.count; ++i)
        add(&others, conversion_key(keys[refunds.refunds[i].place],
                                    refunds.refunds[i].conversion_id, refunds_of_conversion));
    sort(&others);

    auto* batch = static_cast<Key*>(palloc(sizeof(Key) * batch_keys));
    long key = 0, refund = 0, other = 0;
    for (bool more = true; more;) {
        int size = 0;
        while (size < batch_keys) {
            for (; refund < refunds.count && refunds.refunds[refund].place == key; ++refund)
                ++key;
            more = key < count || other < others.count;
            if (!more)
                break;
            const bool take_key =
                other == others.count ||
                (key < count && compare_keys(&keys[key], &others.keys[other]) < 0);
            const Key& next = take_key ? keys[key++] : others.keys[other++];
            if (size == 0 || !same_event(batch[size - 1], next))
                batch[size++] = next;
        }
        if (size == 0)
            break;
        MemoryContextSwitchTo(batch_memory);
        Arrays arrays;
        batch_of(batch, size, &arrays);
        Datum values[] = {arrays.tenants, arrays.events};
        pg::run_latest(tables->lock, values);
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(batch_memory);
    }
    MemoryContextSwitchTo(memory);
    pfree(batch);
}

/// What the sum query finds besides: conversions whose channels must be looked at, and whether any
/// key is of a refund.
struct Families {
    KeyList conversions;
    bool has_refund;
};

/// What the last query found wrong with the keys, in key order; of the sum query also the families,
/// unless they are nullptr.
List* read_violations(Rule rule, Oid relation, const Key* keys, Families* families) {
    List* violations = NIL;
    for (uint64 row = 0; row < SPI_processed; ++row) {
        HeapTuple tuple = SPI_tuptable->vals[row];
        const TupleDesc columns = SPI_tuptable->tupdesc;
        bool isnull;
        const Key& key = keys[DatumGetInt64(SPI_getbinval(tuple, columns, 1, &isnull)) - 1];
        if (families != nullptr) {
            if (DatumGetBool(SPI_getbinval(tuple, columns, 8, &isnull)))
                add(&families->conversions, key);
            families->has_refund |= DatumGetBool(SPI_getbinval(tuple, columns, 9, &isnull));
        }
        if (rule == sum_rule && !DatumGetBool(SPI_getbinval(tuple, columns, 7, &isnull)))
            continue;
        auto* violation = static_cast<Violation*>(palloc(sizeof(Violation)));
        *violation = {.rule = rule,
                      .relation = relation,
                      .tenant_id = key.tenant_id,
                      .event_id = key.event_id,
                      .model_version = SPI_getvalue(tuple, columns, 2),
                      .name = SPI_getvalue(tuple, columns, 3),
                      .revenue = SPI_getvalue(tuple, columns, 4),
                      .amount = SPI_getvalue(tuple, columns, 5),
                      .difference = SPI_getvalue(tuple, columns, 6)};
        violations = lappend(violations, violation);
    }
    return violations;
}

/// Of the same thing, whatever the numbers.
bool contains(const List* violations, const Violation* wanted) {
    ListCell* cell;
    foreach (cell, violations) {
        const auto* violation = static_cast<const Violation*>(lfirst(cell));
        if (same_uuid(violation->tenant_id, wanted->tenant_id) &&
            same_uuid(violation->event_id, wanted->event_id) &&
            strcmp(violation->model_version, wanted->model_version) == 0 &&
            (wanted->rule != channels_rule || strcmp(violation->name, wanted->name) == 0))
            return true;
    }
    return false;
}

Violation kept(Violation violation, MemoryContext memory) {
    for (const char** text : {&violation.model_version, &violation.name, &violation.revenue,
                              &violation.amount, &violation.difference})
        if (*text != nullptr)
            *text = MemoryContextStrdup(memory, *text);
    return violation;
}

void collect(const List* violations, const List* own, Findings* findings) {
    ListCell* cell;
    foreach (cell, violations) {
        const auto* violation = static_cast<const Violation*>(lfirst(cell));
        if (own == violations || contains(own, violation)) {
            if (findings->count[violation->rule]++ == 0)
                findings->first[violation->rule] = kept(*violation, findings->memory);
        } else if (findings->newer_count[violation->rule]++ == 0) {
            findings->first_newer[violation->rule] = kept(*violation, findings->memory);
        }
    }
}

/// Holds the keys, sorted, against a rule and collects what is wrong.
void apply(Rule rule, pg::Query& query, Oid relation, const Key* keys, long count,
           Families* families, Findings* findings, MemoryContext batch_memory) {
    const MemoryContext memory = CurrentMemoryContext;
    for (long from = 0; from < count;) {
        MemoryContextSwitchTo(batch_memory);
        Arrays arrays;
        const int batch = batch_of(keys + from, count - from, &arrays);
        const bool by_model = names_a_model(keys[from]);
        const Datum tolerance =
            DirectFunctionCall1(int4_numeric, Int32GetDatum(sum_tolerance_cents));
        Datum values[] = {arrays.tenants, arrays.events, by_model ? arrays.models : tolerance,
                          tolerance};
        pg::run_latest(query, values);
        if (SPI_processed > 0) {
            MemoryContextSwitchTo(batch_memory);
            List* violations = read_violations(rule, relation, keys + from, families);
            List* own = violations;
            // A transaction that is right by its own snapshot may succeed when it runs again.
            if (violations != NIL && IsolationUsesXactSnapshot()) {
                pg::run_as_of(query, GetTransactionSnapshot(), values);
                MemoryContextSwitchTo(batch_memory);
                own = read_violations(rule, relation, keys + from, nullptr);
            }
            collect(violations, own, findings);
        }
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(batch_memory);
        from += batch;
    }
    MemoryContextSwitchTo(memory);
}

#ifdef ATTRIBUTION_WAIT_POINTS
constinit char* wait_point_setting = nullptr;

/// Waits, where the setting names this point, for whoever holds the advisory lock 4711.
void wait_point(const char* name) {
    if (strcmp(wait_point_setting, name) != 0)
        return;
    DirectFunctionCall1(pg_advisory_lock_shared_int8, Int64GetDatum(4711));
    DirectFunctionCall1(pg_advisory_unlock_shared_int8, Int64GetDatum(4711));
}
#else
void wait_point(const char*) {}
#endif

// ---------------------------------------------------------------------------------------------
// Without queries
//
// Most keys are of conversions without refunds whose sums are right. They are locked and summed by
// bare index scans, in the same order as by the queries below; starting those costs ten times what
// they find for one event. Nothing is judged here: what is not plainly right is left to the
// queries, which know the rules and what to say.

/// What a scan looks for: a column equal to a value.
ScanKeyData equal(int column, const pg_uuid_t& value) {
    ScanKeyData key;
    ScanKeyInit(&key, static_cast<AttrNumber>(column), BTEqualStrategyNumber, F_UUID_EQ,
                UUIDPGetDatum(&value));
    return key;
}

/// Calls visit(tuple) for the rows that the index finds, until it returns false.
template <std::size_t count, class Visit>
void scan_index(Relation relation, Oid index, Snapshot snapshot,
                std::array<ScanKeyData, count> keys, Visit visit) {
    SysScanDesc scan = systable_beginscan(relation, index, true, snapshot, count, keys.data());
    for (HeapTuple row = systable_getnext(scan); row != nullptr && visit(row);)
        row = systable_getnext(scan);
    systable_endscan(scan);
}

std::array<ScanKeyData, 2> uuid_keys(int tenant_column, int column, const Key& key) {
    return {equal(tenant_column, key.tenant_id), equal(column, key.event_id)};
}

/// Locks an event FOR NO KEY UPDATE, as a query does; false when it is gone.
bool lock_row(Relation events, ItemPointer place, Snapshot snapshot, TupleTableSlot* locked) {
    const bool one_snapshot = IsolationUsesXactSnapshot();
    const int flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS |
                      (one_snapshot ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION);
    TM_FailureData failure;
    switch (table_tuple_lock(events, place, snapshot, locked, GetCurrentCommandId(true),
                             LockTupleNoKeyExclusive, LockWaitBlock, flags, &failure)) {
    case TM_Ok:
        return true;
    case TM_Updated:
    case TM_Deleted:
        if (one_snapshot)
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not serialize access due to concurrent update")));
        return false;
    default:
        return false; // by this transaction itself
    }
}

/// Locks the conversion of a key. False when that is for the queries to do: there is none, or the
/// event is a refund.
bool lock_plain(const Tables* tables, Relation events, const Key& key, Snapshot snapshot,
                TupleTableSlot* locked, int64* revenue_cents) {
    ItemPointerData place;
    ItemPointerSetInvalid(&place);
    scan_index(events, tables->event_index, snapshot,
               uuid_keys(tables->event_tenant, tables->event_id, key), [&](HeapTuple row) {
                   if (heap_attisnull(row, tables->event_refund_of, RelationGetDescr(events)))
                       place = row->t_self;
                   return false;
               });
    if (!ItemPointerIsValid(&place))
        return false;
#ifdef ATTRIBUTION_MUTANT_NO_LOCK
    if (!table_tuple_fetch_row_version(events, &place, snapshot, locked))
        return false;
#else
    if (!lock_row(events, &place, snapshot, locked))
        return false;
#endif
    bool isnull;
    *revenue_cents = DatumGetInt64(slot_getattr(locked, tables->event_cents, &isnull));
    return true;
}

bool has_refunds(const Tables* tables, Relation events, const Key& key, Snapshot snapshot) {
    bool found = false;
    scan_index(events, tables->refund_index, snapshot,
               uuid_keys(tables->event_tenant, tables->event_refund_of, key), [&](HeapTuple) {
                   found = true;
                   return false;
               });
    return found;
}

/// True when the allocations of the key sum to the revenue, or there are none, and none of them is
/// below zero.
bool sums_to(const Tables* tables, Relation allocations, const Key& key, int64 revenue_cents,
             Snapshot snapshot) {
    const TupleDesc columns = RelationGetDescr(allocations);
    const std::string_view model = model_name(key);
    int128 sum = 0;
    bool is_plain = true, is_there = false;
    scan_index(allocations, tables->sum_index, snapshot,
               uuid_keys(tables->tenant_column, tables->event_column, key), [&](HeapTuple row) {
                   bool isnull;
                   if (pg::text_of(pg::attribute(row, tables->model_column, columns, &isnull)) !=
                       model)
                       return true;
                   const int64 cents =
                       DatumGetInt64(pg::attribute(row, tables->cents_column, columns, &isnull));
                   is_there = true;
                   is_plain = cents >= 0;
                   sum += cents;
                   return is_plain;
               });
    const int128 drift = sum < revenue_cents ? revenue_cents - sum : sum - revenue_cents;
    return is_plain && (!is_there || drift <= sum_tolerance_cents);
}

/// Locks the conversions of the keys, sorted, and takes out the keys that are plainly right.
/// Returns how many are left, or `count` untouched when something is missing for it.
long take_out_plain(Key* keys, long count, Oid own_function) {
    Relation allocations = table_open(keys[0].allocations, AccessShareLock);
    Relation events = table_open(tables_of(allocations, own_function)->events, RowShareLock);
    // Again, under both locks: from here on no index is dropped.
    const Tables* tables = tables_of(allocations, own_function);
    if (tables->events != RelationGetRelid(events) || !OidIsValid(tables->event_index) ||
        !OidIsValid(tables->refund_index) || !OidIsValid(tables->sum_index)) {
        table_close(events, NoLock);
        table_close(allocations, AccessShareLock);
        return count;
    }
    TupleTableSlot* locked = table_slot_create(events, nullptr);
    struct Conversion {
        int64 revenue_cents;
        bool is_plain;
    };
    const int room = static_cast<int>(std::min<long>(count, batch_keys));
    auto* conversions = static_cast<Conversion*>(palloc(sizeof(Conversion) * room));
    long left = 0;
    for (long from = 0; from < count; from += batch_keys) {
        const long size = std::min<long>(batch_keys, count - from);
        const Key* batch = keys + from;
        CHECK_FOR_INTERRUPTS();
        CommandCounterIncrement();
        Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
        for (long i = 0; i < size; ++i) {
            if (i > 0 && same_event(batch[i - 1], batch[i])) {
                conversions[i] = conversions[i - 1];
                continue;
            }
            conversions[i].is_plain =
                names_a_model(batch[i]) && lock_plain(tables, events, batch[i], snapshot, locked,
                                                      &conversions[i].revenue_cents);
            ExecClearTuple(locked);
        }
        UnregisterSnapshot(snapshot);
        wait_point("between_lock_and_sum");
        CommandCounterIncrement();
        snapshot = RegisterSnapshot(GetLatestSnapshot());
        for (long i = 0; i < size; ++i)
            if (!conversions[i].is_plain || has_refunds(tables, events, batch[i], snapshot) ||
                !sums_to(tables, allocations, batch[i], conversions[i].revenue_cents, snapshot))
                keys[left++] = batch[i];
        UnregisterSnapshot(snapshot);
        wait_point("after_sum");
    }
    pfree(conversions);
    ExecDropSingleTupleTableSlot(locked);
    table_close(events, NoLock);
    table_close(allocations, AccessShareLock);
    return left;
}

// ---------------------------------------------------------------------------------------------

/// Checks the keys of one pair of tables, sorted: locks all conversions, then applies the rules.
/// Reorders the keys. Where none is believed to be of a refund, nobody asks which are, which costs
/// as much as the lock; false when one is nevertheless, and then nothing is found or reordered.
bool check_tables(Key* keys, long count, bool may_have_refunds, Oid own_function,
                  Findings* findings, MemoryContext batch_memory) {
    Relation allocations = table_open(keys[0].allocations, AccessShareLock);
    Tables* tables = tables_of(allocations, own_function);
    pg::OwnerRights rights = pg::act_as_owner(tables->events);
    const RefundList found =
        may_have_refunds ? find_refunds(tables, keys, count, batch_memory) : RefundList{};
    lock_conversions(tables, keys, count, found, batch_memory);
    wait_point("between_lock_and_sum");

    const KeyList none{.memory = CurrentMemoryContext, .keys = nullptr, .count = 0, .room = 0};
    KeyList all_models = none, refunds = none, channels_all_models = none;
    Families families{.conversions = none, .has_refund = false};
    KeyList& channels = families.conversions;
    long by_model = 0;
    for (long i = 0, refund = 0; i < count; ++i) {
        const Key key = keys[i];
        Key conversion = key;
        const bool is_refund = refund < found.count && found.refunds[refund].place == i;
        if (is_refund)
            conversion.event_id = found.refunds[refund++].conversion_id;
        if (!names_a_model(key)) {
            if (key.model == revenue_of_event)
                add(&all_models, key);
            if (key.model == family_of_conversion)
                add(&channels_all_models, key);
            add(&refunds, conversion_key(key, conversion.event_id, refunds_of_conversion));
            continue;
        }
        // A key without model version comes first and covers all of its event.
        const bool covered =
            all_models.count > 0 && same_event(all_models.keys[all_models.count - 1], key);
        if (is_refund || covered)
            add(&channels, conversion);
        if (!covered)
            keys[by_model++] = key;
    }
    sort(&refunds);
    apply(refunds_rule, tables->refunds, tables->events, refunds.keys, refunds.count, nullptr,
          findings, batch_memory);
    pg::act_as_before(rights);

    // What the owner of the allocations may not see of another owner's events counts as missing.
    rights = pg::act_as_owner(tables->allocations);
    const Findings before = *findings;
    apply(sum_rule, tables->sum, tables->allocations, keys, by_model, &families, findings,
          batch_memory);
    if (families.has_refund && !may_have_refunds) {
        *findings = before;
        pg::act_as_before(rights);
        table_close(allocations, AccessShareLock);
        return false;
    }
    apply(sum_rule, tables->sum_all_models, tables->allocations, all_models.keys, all_models.count,
          nullptr, findings, batch_memory);
    sort(&channels);
    take_out_covered(&channels, channels_all_models);
    apply(channels_rule, tables->channels, tables->allocations, channels.keys, channels.count,
          nullptr, findings, batch_memory);
    apply(channels_rule, tables->channels_all_models, tables->allocations, channels_all_models.keys,
          channels_all_models.count, nullptr, findings, batch_memory);
    pg::act_as_before(rights);
    wait_point("after_sum");
    table_close(allocations, AccessShareLock);
    return true;
}

/// What a user reads of a violation.
struct Report {
    const char* constraint;
    const char* message;
    const char* message_newer;
    const char* detail;
    const char* hint;
};

Report report_of(const Violation& violation) {
    pg_uuid_t tenant_id = violation.tenant_id;
    pg_uuid_t event_id = violation.event_id;
    const char* tenant = pg::uuid_text(UUIDPGetDatum(&tenant_id));
    const char* event = pg::uuid_text(UUIDPGetDatum(&event_id));
    if (violation.rule == sum_rule) {
        const char* numbers =
            violation.revenue == nullptr
                ? psprintf("allocated %s cents, the event is missing.", violation.amount)
                : psprintf("revenue %s, allocated %s, drift %s cents.", violation.revenue,
                           violation.amount, violation.difference);
        return {.constraint = "allocation_sum_equals_revenue",
                .message = "allocations do not sum to the revenue of the event",
                .message_newer = "allocations of the event were changed concurrently",
                .detail = psprintf("Tenant %s, event %s, model version \"%s\": %s", tenant, event,
                                   violation.model_version, numbers),
                .hint = "Insert, change or delete allocations until they sum to the revenue, in "
                        "one transaction."};
    }
    if (violation.rule == channels_rule)
        return {.constraint = "channel_is_not_below_zero",
                .message = "a channel of the conversion is below zero",
                .message_newer =
                    "allocations of the conversion or its refunds were changed concurrently",
                .detail = psprintf("Tenant %s, conversion %s, model version \"%s\", channel "
                                   "\"%s\": %s cents, refunds included.",
                                   tenant, event, violation.model_version, violation.name,
                                   violation.amount),
                .hint = "Give each channel zero or more, and let refunds take from it at most what "
                        "is left, in one transaction."};
    const char* newer = "refunds of the conversion were changed concurrently";
    if (violation.name == nullptr || strcmp(violation.name, "conversion") != 0)
        return {.constraint = "refund_names_conversion",
                .message = "only a conversion can be refunded",
                .message_newer = newer,
                .detail = violation.name == nullptr
                              ? psprintf("Tenant %s, event %s: refunded %s cents, the event is "
                                         "missing.",
                                         tenant, event, violation.amount)
                              : psprintf("Tenant %s, event %s: refunded %s cents, it is a %s.",
                                         tenant, event, violation.amount, violation.name),
                .hint = "Let refund_of name the conversion."};
    return {.constraint = "refunds_do_not_exceed_conversion",
            .message = "refunds exceed the conversion",
            .message_newer = newer,
            .detail =
                psprintf("Tenant %s, conversion %s: revenue %s, refunded %s, excess %s cents.",
                         tenant, event, violation.revenue, violation.amount, violation.difference),
            .hint = "Refund at most what is left of the conversion."};
}

/// Raises the first violation: what is wrong before what only became wrong, rule by rule.
void raise_first(const Findings& findings) {
    for (const bool wrong : {true, false}) {
        for (int rule = 0; rule < rule_count; ++rule) {
            const long count = wrong ? findings.count[rule] : findings.newer_count[rule];
            if (count == 0)
                continue;
            const Violation& violation = wrong ? findings.first[rule] : findings.first_newer[rule];
            const Report report = report_of(violation);
            const char* more =
                count == 1 ? "" : psprintf(" It is the first of %ld in this transaction.", count);
            Relation relation = table_open(violation.relation, AccessShareLock);
            if (wrong)
                ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("%s", report.message),
                                errdetail("%s%s", report.detail, more), errhint("%s", report.hint),
                                errtableconstraint(relation, report.constraint)));
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not serialize access: %s", report.message_newer),
                            errdetail("%s%s", report.detail, more),
                            errhint("The transaction might succeed if retried."),
                            errtableconstraint(relation, report.constraint)));
        }
    }
}

/// Checks the given keys; raises the first violation after counting all.
void check_keys(Key* keys, long count, bool may_have_refunds, Oid own_function) {
    qsort(keys, count, sizeof(Key), compare_keys);
    if (!may_have_refunds) {
        long left = 0;
        for (long from = 0, to = 0; from < count; from = to) {
            while (to < count && keys[to].allocations == keys[from].allocations)
                ++to;
            const long kept = take_out_plain(keys + from, to - from, own_function);
            memmove(keys + left, keys + from, sizeof(Key) * kept);
            left += kept;
        }
        count = left;
        if (count == 0)
            return;
    }
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
        if (!check_tables(keys + from, to - from, may_have_refunds, own_function, &findings,
                          batch_memory))
            check_tables(keys + from, to - from, true, own_function, &findings, batch_memory);
    }
    pg::restore_settings(settings);
    raise_first(findings);
    SPI_finish();
}

/// A row asks: is its key known to be right? If not, checks all that is open.
void check_touched(const Key& key, Oid own_function) {
    Touches* all = current_touches();
    Touch* touch = find_touch(all, key, false);
    if (touch == nullptr) {
        // Not noted: nothing would open it again.
        Key alone = key;
        check_keys(&alone, 1, true, own_function);
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
    check_keys(keys, count, all->may_have_refunds, own_function);
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
                       pg::uuid_text(UUIDPGetDatum(&key.event_id)), model_name(key),
                       static_cast<int>(channel.size()), channel.data()),
             errhint("Delete the allocation and insert another."),
             errtableconstraint(trigger->tg_relation, "allocation_key_is_immutable")));
}

} // namespace

void lock_conversion(Oid events_relation, Oid own_function, Datum tenant_id, Datum conversion_id) {
    Relation events = table_open(events_relation, RowShareLock);
    Relation allocations = table_open(allocations_of(events, own_function), AccessShareLock);
    Tables* tables = tables_of(allocations, own_function);
    Datum values[] = {
        PointerGetDatum(construct_array(&tenant_id, 1, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)),
        PointerGetDatum(
            construct_array(&conversion_id, 1, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR))};
    const int settings = pg::prefer_indexes();
    const pg::OwnerRights rights = pg::act_as_owner(events_relation);
    pg::run_latest(tables->lock, values);
    pg::act_as_before(rights);
    pg::restore_settings(settings);
    SPI_freetuptable(SPI_tuptable);
    table_close(allocations, AccessShareLock);
    table_close(events, RowShareLock);
}

void check_refunds(Oid events_relation, Oid own_function, Datum tenant_id, Datum conversion_id) {
    Relation events = table_open(events_relation, AccessShareLock);
    Key key{.allocations = allocations_of(events, own_function),
            .model = refunds_of_conversion,
            .tenant_id = *DatumGetUUIDP(tenant_id),
            .event_id = *DatumGetUUIDP(conversion_id)};
    table_close(events, AccessShareLock);
    check_keys(&key, 1, true, own_function);
}

void watch_transactions() {
#ifdef ATTRIBUTION_WAIT_POINTS
    DefineCustomStringVariable("attribution.wait_point", "Where this session waits, for tests.",
                               nullptr, &wait_point_setting, "", PGC_USERSET, 0, nullptr, nullptr,
                               nullptr);
#endif
#if defined(ATTRIBUTION_MUTANT_NO_LOCK) || defined(ATTRIBUTION_MUTANT_OLD_SNAPSHOT) ||             \
    defined(ATTRIBUTION_WAIT_POINTS)
    ereport(WARNING, (errmsg("this attribution is a test build"),
                      errdetail("It may commit wrong sums, or wait for ever."),
                      errhint("Build it without TEST_CPPFLAGS.")));
#endif
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
    entry::note_cents(tables, trigger->tg_trigslot);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
        entry::note_cents(tables, trigger->tg_newslot);
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
    const TriggerData* trigger = pg::row_trigger(fcinfo, "note_event_revenue");
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::note(key);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_check_event_revenue) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "check_event_revenue");
    entry::Key key;
    if (entry::key_of_event(trigger, &key))
        entry::check_touched(key, trigger->tg_trigger->tgfoid);
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}

ATTRIBUTION_FUNCTION(attribution_keep_event_key) {
    const TriggerData* trigger = pg::row_trigger(fcinfo, "keep_event_key", TRIGGER_EVENT_UPDATE);
    // Allocations belong to an event by its key, refunds to a conversion by theirs: another row
    // that takes one over would take them, unchecked.
    const int id = entry::typed_column(trigger->tg_relation, "id", UUIDOID);
    ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
                    errmsg("tenant, id, type and refunded conversion of an event never change"),
                    errdetail("Event %s would become another.",
                              pg::uuid_text(entry::not_null(trigger->tg_trigslot, id))),
                    errhint("Insert another event."),
                    errtableconstraint(trigger->tg_relation, "event_key_is_immutable")));
    PG_RETURN_DATUM(PointerGetDatum(nullptr));
}
