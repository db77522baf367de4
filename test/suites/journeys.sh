#!/bin/bash
# Customer journeys from a CSV file, allocated by allocate_events() under first_touch, last_touch and linear,
# against an exact computation over the file alone (test/journeys/expect.sql): every share of every event,
# every channel's credit, every total. On a file made here, and on $ATTRIBUTION_DATA/data/journeys.csv where
# there is one: the demonstration data of the R package ChannelAttribution. What was tampered with is noticed.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

[ -n "${PGHOST:-}" ] || server_start
export PGOPTIONS='-c client_min_messages=warning'
work=$(mktemp -d "$ATTRIBUTION_TMP/journeys.XXXXXX")
also_remove+=("$work")

main() {
    local real=$ATTRIBUTION_DATA/data/journeys.csv
    make_journeys 3000 >"$work/made.csv"
    check_file 'made journeys' "$work/made.csv"
    notices_tampering
    if [ -n "$ATTRIBUTION_DATA" ] && [ -r "$real" ]; then
        check_file 'real journeys' "$real"
    else
        skip 'real journeys: neither ATTRIBUTION_DATA nor ../shared has data/journeys.csv'
    fi
    suite_end
}

# The form of the real file, and more of what is hard: a unit among many channels, amounts of which all shares
# tie, amounts near the largest, values finer than a fils, of which some are half of one and some round to 0.
# The sequence is Lehmer's, exact in doubles.
make_journeys() {
    awk -v rows="$1" '
        function draw(bound) { seed = seed * 16807 % 2147483647; return seed % bound }
        BEGIN {
            seed = 20250101
            count = split("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu", letters, " ")
            print "\"path\",\"total_conversions\",\"total_conversion_value\",\"total_null\""
            for (row = 1; row <= rows; row++) {
                # Most paths are short, and most people come back the way they came.
                length_of = draw(3) == 0 ? 1 + draw(20) : 1 + draw(5)
                path = letter = letters[1 + draw(count)]
                for (place = 2; place <= length_of; place++) {
                    if (draw(5) < 3) letter = letters[1 + draw(count)]
                    path = path " > " letter
                }
                conversions = 1 + draw(4)
                kind = draw(20)
                if (kind < 3) { conversions = 0; value = "0" }
                else if (kind == 3) value = sprintf("0.%03d", draw(6))
                else if (kind == 4) value = sprintf("%d.%03d", draw(1000000), draw(1000)) sprintf("%06d", draw(1000000)) sprintf("%06d", draw(1000000))
                else if (kind == 5) value = sprintf("%d.%03d5", draw(3), draw(1000))
                else if (kind == 6) value = sprintf("0.000%d", draw(10))
                else if (kind == 7) value = sprintf("%d%07d.%03d", 1 + draw(100000), draw(10000000), draw(1000))
                else if (kind == 8) value = length_of * (1 + draw(50)) ""
                else value = sprintf("%d.%03d", draw(60), draw(1000))
                printf "\"%s\",%d,%s,%d\n", path, conversions, value, draw(40)
            }
        }'
}

# check_file NAME FILE
check_file() {
    local name=$1 model summary
    fresh_database journeys 'CREATE EXTENSION attribution' 'CREATE SCHEMA journeys' \
        'CREATE TABLE journeys.file (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             path text, total_conversions text, total_conversion_value text, total_null text)'
    psql -Xqv ON_ERROR_STOP=1 -c 'COPY journeys.file (path, total_conversions, total_conversion_value, total_null)
        FROM STDIN (FORMAT csv, HEADER match)' <"$2"
    run_file take
    run_file expect

    # Exact, from the file by other means: the digits, without a number type.
    is "$(ask "SELECT count(*), coalesce(sum(cardinality(path)), 0) FROM journeys.journeys")" \
        "$(awk -F , 'NR > 1 { rows++; touches += gsub(/ > /, "", $1) + 1 } END { printf "%d|%d", rows, touches }' "$2")" \
        "$name: every row and every touch of the file was read"
    is "$(ask "SELECT count(*) FROM journeys.journeys WHERE abs(value * 1000 - units) > 0.5 AND units > 0 OR units = 0 AND value >= 0.0005")" 0 \
        "$name: a value is rounded to the nearest fils"
    summary=$(ask "SELECT format('%s values finer than a fils rounded once, which moved their sum by %s KWD; %s rows without a conversion',
        count(*) FILTER (WHERE value * 1000 <> units), trim_scale(sum(units) * 0.001 - sum(value)), count(*) FILTER (WHERE units = 0)) FROM journeys.journeys")
    is "$(ask "SELECT count(*) FILTER (WHERE event_type = 'touch'), count(*) FILTER (WHERE event_type = 'conversion'), sum(revenue_cents) FROM attribution.attribution_events")" \
        "$(ask "SELECT sum(cardinality(path)), count(*) FILTER (WHERE units > 0), sum(units) FROM journeys.journeys")" \
        "$name: stored ($summary)"

    for model in first_touch last_touch linear; do
        is "$(allocate "$model")" "$(ask "SELECT count(*) FROM journeys.journeys WHERE units > 0")|$(ask "SELECT count(*) FROM journeys.expected WHERE model = '$model'")|0" \
            "$name: $model allocates every conversion"
        is "$(allocate "$model")" '0|0|0' "$name: $model again allocates none"
        is "$(credit stored "$model")" "$(credit expected "$model")" "$name: $model gives every channel its credit"
        is "$(ask "SELECT * FROM journeys.differences WHERE model = '$model' LIMIT 5")" '' "$name: $model gives every channel its share of every event"
        is "$(ask "SELECT sum(units) FROM journeys.stored WHERE model = '$model'")" "$(ask 'SELECT sum(units) FROM journeys.journeys')" \
            "$name: $model gives away what came in, to the fils"
    done
    is "$(ask 'SELECT * FROM journeys.wrong_shares LIMIT 5')" '' "$name: each linear share is the floor or the ceiling of its fraction"
    is "$(ask 'SELECT * FROM journeys.wrong_sums')" '' "$name: each channel's linear sum is less than a fils per event from its exact sum"
    is "$(ask 'SELECT * FROM attribution.unbalanced_allocations() LIMIT 5')" '' "$name: nothing is unbalanced"
}

# Events and rows written, and events failed.
allocate() {
    ask "CALL attribution.allocate_events('$(ask 'TABLE journeys.tenant')', '$1')" | cut -d '|' -f 2-
}

credit() {
    ask "SELECT channel, sum(units), count(*) FROM journeys.$1 WHERE model = '$2' GROUP BY channel ORDER BY channel"
}

# A check that cannot fail proves nothing. Sums stay right here, so no trigger objects.
notices_tampering() {
    local one_event="(SELECT event_id FROM journeys.stored WHERE model = 'linear' AND units > 1 GROUP BY event_id HAVING count(*) > 2 ORDER BY event_id LIMIT 1)"
    is "$(undone "UPDATE attribution.attribution_allocations a
                  SET allocated_revenue_cents = allocated_revenue_cents + CASE WHEN a.channel = p.first THEN 1 ELSE -1 END
                  FROM (SELECT event_id, min(channel) AS first, max(channel) AS last FROM journeys.stored
                        WHERE model = 'linear' AND event_id = $one_event GROUP BY event_id) AS p
                  WHERE a.model_version = 'linear' AND a.event_id = p.event_id AND a.channel IN (p.first, p.last)" \
        "SELECT count(*) FROM journeys.differences")" 2 'noticed: one fils moved from one channel of an event to another'
    is "$(undone "UPDATE attribution.attribution_allocations a SET allocated_revenue_cents = s.units
                  FROM (SELECT event_id, channel, CASE row_number() OVER (PARTITION BY event_id ORDER BY units DESC, channel)
                               WHEN 1 THEN sum(units) OVER (PARTITION BY event_id) ELSE 0 END AS units
                        FROM journeys.stored WHERE model = 'linear') AS s
                  WHERE a.model_version = 'linear' AND a.event_id = s.event_id AND a.channel = s.channel" \
        "SELECT (SELECT count(*) > 0 FROM journeys.wrong_shares), (SELECT count(*) > 0 FROM journeys.wrong_sums)")" 't|t' \
        'noticed: all of an event given to its largest channel'
    is "$(undone "DELETE FROM attribution.attribution_allocations WHERE model_version = 'first_touch' AND event_id = $one_event" \
        "SELECT count(*) FROM journeys.differences")" 1 'noticed: an event that was not allocated'
    is "$(ask "SELECT count(*) * 2 > (SELECT count(*) FROM journeys.journeys WHERE units > 0)
               FROM journeys.expected a JOIN journeys.expected b USING (event_id)
               WHERE a.model = 'first_touch' AND b.model = 'last_touch' AND a.channel <> b.channel")" t \
        'most journeys end in another channel than they begin'
}

# undone CHANGE QUESTION: the answer after the change, which is rolled back.
undone() {
    psql -XqAtv ON_ERROR_STOP=1 <<SQL
BEGIN;
$1;
$2;
ROLLBACK;
SQL
}

ask() {
    psql -XqAtv ON_ERROR_STOP=1 -c "$1"
}

run_file() {
    step psql -Xqv ON_ERROR_STOP=1 -f "test/journeys/$1.sql" >"$work/$1.log" 2>&1 || { cat "$work/$1.log"; die "test/journeys/$1.sql failed"; }
}

main
