#!/bin/bash
# The core under libFuzzer with sanitizers, for FUZZ_SECONDS (60): the programs of test/fuzz have the
# promises inside, and run side by side. FUZZ_SEED chooses another sequence of inputs. What they find
# stays in build/fuzz/findings; run it again with build/fuzz/PROGRAM FILE. A core with its ties turned
# round must be found out, one that leaves the values of pairs in, and two that put channels or touches
# into no order.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/fuzz
programs=(attribution_fuzz attribution_webhook_fuzz attribution_definition_fuzz)
mkdir -p "$work"
also_remove+=("$work")

main() {
    if ! has_fuzzer; then
        skip "clang++ with libFuzzer is not installed (clang)"
        suite_end
    fi
    make_seeds
    make_payloads
    if ! { locked cmake --preset fuzz && locked cmake --build --preset fuzz -j "$(nproc)"; } >"$work/build.log" 2>&1; then
        tail -n 40 "$work/build.log"
        die "the fuzzer does not build"
    fi
    find_nothing "${FUZZ_SECONDS:-60}"
    finds_turned_ties
    finds_values_of_pairs
    finds_lists_without_order
    finds_touches_without_order
    suite_end
}

has_fuzzer() {
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$work/probe.cpp"
    command -v clang++ >/dev/null && clang++ -fsanitize=fuzzer,address -o "$work/probe" "$work/probe.cpp" 2>/dev/null
}

# seeds_of PROGRAM: the directory of its first inputs.
seeds_of() {
    printf '%s' "$work/seeds/$1"
}

# The first byte chooses the case.
make_seeds() {
    local program case length
    for program in attribution_fuzz attribution_definition_fuzz; do
        mkdir -p "$(seeds_of "$program")"
        for case in 0 1 2 3 4 5 6; do
            for length in 10 60 200; do
                perl -e 'print chr $ARGV[0], map { chr(($_ * $_ * 37 + $ARGV[1]) % 256) } 1 .. $ARGV[1]' "$case" "$length" \
                    >"$(seeds_of "$program")/$case.$length"
            done
        done
    done
}

# The first byte chooses the topic by its number in webhook_fuzz.cpp, the second the currency, the third the keys
# that are removed.
make_payloads() {
    local topic payload
    mkdir -p "$(seeds_of attribution_webhook_fuzz)"
    while read -r topic payload; do
        perl -e 'print chr $ARGV[0], "\0", chr 63, $ARGV[1]' "$topic" "$payload" >"$(seeds_of attribution_webhook_fuzz)/$topic"
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

# fuzz FILE PROGRAM SECONDS LOG: runs FILE, a build of the program; a finding is written beside the log.
fuzz() {
    local options=(-max_len=512)
    [ "$2" != attribution_webhook_fuzz ] || options=(-max_len=2048 -dict=test/fuzz/webhook.dict)
    mkdir -p "$4.corpus"
    "$1" -seed="${FUZZ_SEED:-1}" "${options[@]}" -max_total_time="$3" -print_final_stats=1 \
        -artifact_prefix="$4." "$4.corpus" "$(seeds_of "$2")" >"$4" 2>&1
}

find_nothing() {
    local program pid pids=()
    for program in "${programs[@]}"; do
        fuzz "build/fuzz/$program" "$program" "$1" "$work/$program" &
        pids+=($!)
    done
    for program in "${programs[@]}"; do
        pid=${pids[0]}
        pids=("${pids[@]:1}")
        report_run "$program" "$pid" "$1"
    done
}

# report_run PROGRAM PID SECONDS
report_run() {
    local log=$work/$1 code=0 runs
    wait "$2" || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        ok "$1: $runs executions in $3 s, 0 findings"
    else
        not_ok "$1: a finding after ${runs:-?} executions"
        mkdir -p build/fuzz/findings
        find "$work" -maxdepth 1 -type f -name "$1.*" -exec cp {} build/fuzz/findings/ \; 2>/dev/null || true
        grep -E '^broken: |ERROR|runtime error|what\(\)' "$log" | sed 's/^/#   /' || true
        tail -n 40 "$log" | sed 's/^/#   /'
    fi
}

# finds WHAT PROGRAM PROMISE FILE EDIT: a core with this edit of a file breaks the promise.
finds() {
    local what=$1 program=$2 promise=$3 file=$4 edit=$5
    local copy=$work/copy.$program source=apportion_fuzz.cpp
    [ "$program" = attribution_fuzz ] || source=${program#attribution_}.cpp
    rm -rf "$copy"
    mkdir -p "$copy"
    cp -r src/core "$copy/core"
    perl -pi -e "$edit" "$copy/core/$file"
    ! cmp -s "src/core/$file" "$copy/core/$file" || die "the edit changes nothing"
    clang++ -std=c++20 -O1 -fsanitize=fuzzer -I "$copy" -o "$copy/broken" "test/fuzz/$source" \
        "$copy"/core/*.cpp "$copy"/core/webhook/*.cpp -lfmt
    if ! fuzz "$copy/broken" "$program" 60 "$copy/log" && grep -q "^broken: $promise" "$copy/log"; then
        ok "found: $what"
    else
        not_ok "found: $what"
        tail -n 20 "$copy/log" | sed 's/^/#   /'
    fi
}

finds_turned_ties() {
    finds 'ties to the larger key' attribution_fuzz 'the cent goes to' apportion.cpp 's/a\.tie_key < b\.tie_key/a.tie_key > b.tie_key/'
}

finds_values_of_pairs() {
    finds 'values of pairs are left in' attribution_webhook_fuzz 'no listed key' redact.cpp 's/"value"/"valve"/'
}

finds_lists_without_order() {
    finds 'lists of channels in any order' attribution_definition_fuzz 'lists are sorted' definition.cpp \
        's/^\s*std::sort\(channels\.begin\(\), channels\.end\(\)\);$//'
}

finds_touches_without_order() {
    finds 'touches of one moment in any order' attribution_definition_fuzz 'the order in which touches were read' \
        journey.cpp 's/: a\.id < b\.id/: false/'
}

main
