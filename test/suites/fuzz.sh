#!/bin/bash
# The core under libFuzzer with sanitizers: each of test/fuzz, which have the promises inside, for
# FUZZ_SECONDS (60). FUZZ_SEED chooses another sequence of inputs. What NAME_fuzz finds stays in
# build/fuzz/findings; run it again with build/fuzz/NAME_fuzz FILE. For each there is a core with a
# mistake that it must find out.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/fuzz
mkdir -p "$work"
also_remove+=("$work")

main() {
    local name
    if ! has_fuzzer; then
        skip "clang++ with libFuzzer is not installed (clang)"
        suite_end
    fi
    if ! { locked cmake --preset fuzz && locked cmake --build --preset fuzz -j "$(nproc)"; } >"$work/build.log" 2>&1; then
        tail -n 40 "$work/build.log"
        die "the fuzzers do not build"
    fi
    for name in test/fuzz/*_fuzz.cpp; do
        name=$(basename "$name" .cpp)
        if [ "$name" = webhook_fuzz ]; then make_payloads; else make_seeds "$name"; fi
        finds_nothing "$name" "${FUZZ_SECONDS:-60}"
    done
    finds apportion_fuzz "ties to the larger key" 'the cent goes to' apportion.cpp \
        's/a\.tie_key < b\.tie_key/a.tie_key > b.tie_key/'
    finds definition_fuzz "lists of channels in any order" 'lists are sorted' definition.cpp \
        's/^\s*std::sort\(channels\.begin\(\), channels\.end\(\)\);$//'
    finds webhook_fuzz 'values of pairs are left in' 'no listed key' redact.cpp 's/"value"/"valve"/'
    finds definition_fuzz "touches of one moment in any order" 'the order in which touches were read' journey.cpp \
        's/: a\.id < b\.id/: false/'
    suite_end
}

has_fuzzer() {
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$work/probe.cpp"
    command -v clang++ >/dev/null && clang++ -fsanitize=fuzzer,address -o "$work/probe" "$work/probe.cpp" 2>/dev/null
}

# make_seeds NAME: the first byte chooses the case.
make_seeds() {
    local case length
    mkdir -p "$work/$1.seeds"
    for case in 0 1 2 3 4 5 6; do
        for length in 10 60 200; do
            perl -e 'print chr $ARGV[0], map { chr(($_ * $_ * 37 + $ARGV[1]) % 256) } 1 .. $ARGV[1]' "$case" "$length" \
                >"$work/$1.seeds/$case.$length"
        done
    done
}

# The first byte chooses the topic by its number in webhook_fuzz.cpp, the second the currency, the third the keys
# that are removed.
make_payloads() {
    local topic payload
    mkdir -p "$work/webhook_fuzz.seeds"
    while read -r topic payload; do
        perl -e 'print chr $ARGV[0], "\0", chr 63, $ARGV[1]' "$topic" "$payload" >"$work/webhook_fuzz.seeds/$topic"
    done <<'END'
0 {"id":7,"currency":"USD","total_price":"10.00","processed_at":"2026-03-01T12:00:00Z","note_attributes":[{"name":"utm_source","value":"bing"}],"landing_site":"/?utm_source=x"}
2 {"id":7,"financial_status":"paid","total_price_set":{"shop_money":{"amount":"9","currency_code":"USD"}},"created_at":"2026-03-01T12:00:00Z","refunds":[{"id":8,"created_at":"2026-03-01T12:00:00Z","transactions":[{"kind":"refund","status":"success","amount":"4"}]}]}
5 {"id":9,"order_id":7,"type":"chargeback","amount":"5","currency":"USD","status":"won","initiated_at":"2026-03-01T12:00:00Z"}
9 {"created":1772366400,"data":{"object":{"id":"ch","payment_intent":"pi","captured":true,"amount":9,"currency":"usd","metadata":{"channel":"tv"}}}}
14 {"created":1772366400,"data":{"object":{"id":"ch","amount_refunded":9,"currency":"usd"},"previous_attributes":{"amount_refunded":4}}}
15 {"data":{"object":{"id":"re","charge":"ch","amount":9,"currency":"usd","status":"failed","created":1772366400}},"created":1772366400}
20 {"created":1772366400,"data":{"object":{"id":"dp","charge":"ch","amount":9,"currency":"usd","status":"won"}}}
24 {"resource":{"id":"C","status":"COMPLETED","create_time":"2026-03-01T12:00:00Z","custom_id":"channel=tv","amount":{"value":"9","currency_code":"USD"}}}
26 {"resource":{"id":"R","create_time":"2026-03-01T12:00:00Z","amount":{"total":"9","currency":"USD"},"links":[{"rel":"up","href":"https://x/C"}]}}
32 {"resource":{"dispute_id":"P","dispute_outcome":{"outcome_code":"CANCELED_BY_BUYER"},"disputed_transactions":[{"seller_transaction_id":"C"}],"dispute_amount":{"value":"9","currency_code":"USD"},"create_time":"2026-03-01T12:00:00Z"}}
34 {"id":7,"status":"processing","currency":"USD","total":"9","date_paid_gmt":"2026-03-01T12:00:00","meta_data":[{"key":"email","value":"a"}],"refunds":[{"id":1,"total":"-1"}]}
40 {"email":"a@b.c","note":"{\"email\":\"a\"}","x":[{"name":"email","value":1}]}
END
}

# fuzz NAME PROGRAM SECONDS LOG: a finding is written beside the log.
fuzz() {
    rm -rf "$work/corpus"
    mkdir "$work/corpus"
    local options=(-max_len=512)
    [ "$1" != webhook_fuzz ] || options=(-max_len=2048 -dict=test/fuzz/webhook.dict)
    "$2" -seed="${FUZZ_SEED:-1}" "${options[@]}" -max_total_time="$3" -print_final_stats=1 \
        -artifact_prefix="$4." "$work/corpus" "$work/$1.seeds" >"$4" 2>&1
}

# finds_nothing NAME SECONDS
finds_nothing() {
    local log=$work/$1.log code=0 runs
    fuzz "$1" "build/fuzz/$1" "$2" "$log" || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        ok "$1: $runs executions in $2 s, 0 findings"
    else
        not_ok "$1: a finding after ${runs:-?} executions"
        mkdir -p build/fuzz/findings
        find "$work" -maxdepth 1 -type f -name "$1.*" -exec cp {} build/fuzz/findings/ \; 2>/dev/null || true
        grep -E '^broken: |ERROR|runtime error|what\(\)' "$log" | sed 's/^/#   /' || true
        tail -n 40 "$log" | sed 's/^/#   /'
    fi
}

# finds NAME MISTAKE PROMISE FILE EDIT: an edit of a file of the core is a mistake that NAME finds out by
# a broken promise.
finds() {
    local log=$work/broken.log
    rm -rf "$work/copy"
    mkdir "$work/copy"
    cp -r src/core "$work/copy/core"
    perl -pi -e "$5" "$work/copy/core/$4"
    ! cmp -s "src/core/$4" "$work/copy/core/$4" || die "the edit of $4 changes nothing"
    clang++ -std=c++20 -O1 -fsanitize=fuzzer -I "$work/copy" -o "$work/broken" "test/fuzz/$1.cpp" \
        "$work"/copy/core/*.cpp "$work"/copy/core/*/*.cpp -lfmt
    if ! fuzz "$1" "$work/broken" 60 "$log" && grep -q "^broken: $3" "$log"; then
        ok "found: $2"
    else
        not_ok "found: $2"
        tail -n 20 "$log" | sed 's/^/#   /'
    fi
}

finds_turned_ties() {
    finds 'ties to the larger key' attribution_fuzz 'the cent goes to' apportion.cpp 's/a\.tie_key < b\.tie_key/a.tie_key > b.tie_key/'
}

finds_values_of_pairs() {
    finds 'values of pairs are left in' attribution_webhook_fuzz 'no listed key' redact.cpp 's/"value"/"valve"/'
}

main
