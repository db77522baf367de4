# Writes transactions for psql: random ones, right and wrong, on few events. The same seed writes the same.
#
#   awk -f soak.awk -v seed=1 -v count=50 -v kind=any    any way to write, any isolation level
#   awk -f soak.awk -v seed=1 -v count=50 -v kind=own    the extension's functions, each its own transaction

function pick(n) { return int(rand() * n) }
# A word of the list; _ in it stands for a space.
function one_of(list,    words, word) {
    word = words[1 + pick(split(list, words, " "))]
    gsub(/_/, " ", word)
    return word
}
function say(sql) { print sql ";" }

BEGIN {
    srand(seed)
    for (i = 0; i < count; ++i) {
        if (kind == "own") own()
        else any()
    }
}

function any(    i, which) {
    print "BEGIN ISOLATION LEVEL " one_of("READ_COMMITTED REPEATABLE_READ SERIALIZABLE") ";"
    if (pick(4) == 0) say("SET CONSTRAINTS ALL IMMEDIATE")
    if (pick(3) == 0) say("SELECT pg_sleep(0.01)") # a snapshot that grows old
    for (i = 1 + pick(2); i > 0; --i) {
        event = one_of("01 02 03 04 05 06 07 08 09 10")
        model = one_of("1 2")
        which = pick(10)
        if (which == 0) savepoint()
        else if (which == 1) race()
        else act(pick(24))
    }
    if (pick(6) == 0) say("SET CONSTRAINTS ALL IMMEDIATE")
    say(pick(20) == 0 ? "ROLLBACK" : "COMMIT")
}

function savepoint() {
    say("SAVEPOINT s")
    act(pick(15))
    if (pick(2)) say("SET CONSTRAINTS ALL IMMEDIATE")
    say(one_of("ROLLBACK_TO RELEASE") " SAVEPOINT s")
    act(pick(15))
}

function id() { return "'eeeeeeee-0000-4000-8000-0000000000" event "'" }
function tenant() { return "'11111111-1111-4111-8111-111111111111'" }
function of_event() { return "tenant_id = " tenant() " AND event_id = " id() " AND model_version = '" model "'" }
function channel() { return "'" one_of("ads email radio tv") "'" }
function refund() { return "coalesce((SELECT id FROM attribution.attribution_events WHERE tenant_id = " tenant() " AND refund_of = " id() " ORDER BY id LIMIT 1), " id() ")" }
function insert(select) {
    say("INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) " \
        "SELECT e.tenant_id, e.id, m, c, cents FROM attribution.attribution_events e, " select)
}
# `parts` of the revenue, `extra` cents more than there are.
function allocate(parts, extra) {
    insert("(VALUES ('" model "')) v (m), LATERAL (SELECT c, e.revenue_cents / " parts " + CASE WHEN n = 1 THEN e.revenue_cents % " parts " + " extra \
        " ELSE 0 END FROM unnest('{" (pick(2) ? "ads,email,radio,tv" : "tv,radio,email,ads") "}'::text[]) WITH ORDINALITY u (c, n) WHERE n <= " parts \
        ") s (c, cents) WHERE e.tenant_id = " tenant() " AND e.id = " id())
}
function delete_all() { say("DELETE FROM attribution.attribution_allocations WHERE " of_event()) }
function reallocate(extra) { delete_all(); allocate(1 + pick(4), extra) }
function change_revenue() {
    say("UPDATE attribution.attribution_events SET revenue_cents = greatest(revenue_cents + " (pick(2) ? "" : "-") (1 + pick(900)) ", 1) WHERE tenant_id = " tenant() " AND id = " id())
}

# All of the revenue, once more, of what is new to all sessions that come within 50 ms.
function race() {
    event = "11"
    insert("(SELECT 'race ' || (extract(epoch FROM clock_timestamp()) * 20)::bigint) v (m), LATERAL (VALUES (" channel() ", e.revenue_cents)) s (c, cents) WHERE e.tenant_id = " \
        tenant() " AND e.id = " id())
    say("SELECT pg_sleep(0.02)")
}

function act(which) {
    if (which < 3) allocate(1 + pick(4), 0)                         # right, if there are none
    else if (which == 3) allocate(2, -1 - pick(50))                 # part of it
    else if (which == 4) { allocate(1, 0); allocate(1, 0) }         # twice
    else if (which == 5) say("DELETE FROM attribution.attribution_allocations WHERE " of_event() " AND channel = " channel())
    else if (which < 8) delete_all()
    else if (which < 11) reallocate(0)
    else if (which == 11) reallocate(1)
    else if (which == 12) say("UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + 1 WHERE " of_event() " AND channel = " channel())
    else if (which == 13) say("UPDATE attribution.attribution_allocations SET allocated_revenue_cents = allocated_revenue_cents + CASE channel WHEN 'ads' THEN 10 ELSE -10 END WHERE " \
        of_event() " AND channel IN ('ads', 'tv')")                 # right, if both are there
    else if (which == 14) say("UPDATE attribution.attribution_allocations SET channel = 'sms' WHERE " of_event())
    else if (which == 15) change_revenue()                          # nothing follows
    else if (which == 16) { change_revenue(); model = "1"; reallocate(0); model = "2"; reallocate(0) }
    else if (which == 17) { change_revenue(); model = "1"; reallocate(0) }
    else if (which == 18) say("INSERT INTO attribution.attribution_events (tenant_id, event_type, occurred_at, revenue_cents, refund_of) VALUES (" \
        tenant() ", 'refund', now(), " (-1 - pick(2500)) ", " id() ")")
    else if (which == 19) say("SELECT outcome FROM attribution.ingest_event(" tenant() ", 'soak', 'refund', '2026-01-02Z', " (-1 - pick(1500)) \
        ", external_event_id => 'soak:refund:" pick(100000) "', refund_of => " id() ")")
    else if (which == 20) say("INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) " \
        "SELECT tenant_id, id, '" model "', " channel() ", revenue_cents FROM attribution.attribution_events WHERE tenant_id = " tenant() " AND id = " refund())
    else if (which == 21) say("SELECT count(*) FROM attribution.allocate_event(" tenant() ", " (pick(2) ? id() : refund()) ", '" model "')")
    else if (which == 22) say("DELETE FROM attribution.attribution_events WHERE tenant_id = " tenant() " AND refund_of = " id() (pick(2) ? "" : " AND id = " refund()))
    else insert("(VALUES ('" model "')) v (m), LATERAL (VALUES ('ads', e.revenue_cents + 5), ('tv', -5)) s (c, cents) WHERE e.tenant_id = " tenant() " AND e.id = " id())
}

# One call each: of what they lock they take in one order, so none is ended by a deadlock.
function own(    which) {
    which = pick(6)
    event = one_of("01 02 03 04 05 06 07 08 09 10")
    model = "own" pick(50)
    say("SET default_transaction_isolation = '" one_of("read_committed repeatable_read serializable") "'")
    if (which < 2) say("SELECT count(*) FROM attribution.allocate_event(" tenant() ", " id() ", '" model "')")
    else if (which == 2) say("SELECT count(*) FROM attribution.allocate_event(" tenant() ", " refund() ", '" model "')")
    else if (which == 3) say("CALL attribution.allocate_events(" tenant() ", '" model "', NULL, NULL, " (1 + pick(5)) ", NULL, NULL, NULL, NULL)")
    else say("SELECT outcome FROM attribution.ingest_event(" tenant() ", 'soak', 'refund', '2026-01-02Z', " (-1 - pick(20)) \
        ", external_event_id => 'soak:own:" pick(1000) "', refund_of => " id() ")")
}
