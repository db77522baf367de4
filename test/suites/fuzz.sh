#!/bin/bash
# The core under libFuzzer with sanitizers, for FUZZ_SECONDS (60): test/fuzz/apportion_fuzz.cpp has the
# promises inside. FUZZ_SEED chooses another sequence of inputs. What it finds stays in
# build/fuzz/findings; run it again with build/fuzz/attribution_fuzz FILE. A core with its ties turned
# round must be found out.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/fuzz
mkdir -p "$work/seeds" "$work/corpus"
also_remove+=("$work")

main() {
    if ! has_fuzzer; then
        skip "clang++ with libFuzzer is not installed (clang)"
        suite_end
    fi
    make_seeds
    if ! { locked cmake --preset fuzz && locked cmake --build --preset fuzz -j "$(nproc)"; } >"$work/build.log" 2>&1; then
        tail -n 40 "$work/build.log"
        die "the fuzzer does not build"
    fi
    finds_nothing "${FUZZ_SECONDS:-60}"
    finds_turned_ties
    suite_end
}

has_fuzzer() {
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$work/probe.cpp"
    command -v clang++ >/dev/null && clang++ -fsanitize=fuzzer,address -o "$work/probe" "$work/probe.cpp" 2>/dev/null
}

# The first byte chooses the case.
make_seeds() {
    local case length
    for case in 0 1 2 3 4 5; do
        for length in 10 60 200; do
            perl -e 'print chr $ARGV[0], map { chr(($_ * $_ * 37 + $ARGV[1]) % 256) } 1 .. $ARGV[1]' "$case" "$length" \
                >"$work/seeds/$case.$length"
        done
    done
}

# fuzz PROGRAM SECONDS LOG: a finding is written beside the log.
fuzz() {
    "$1" -seed="${FUZZ_SEED:-1}" -max_len=512 -max_total_time="$2" -print_final_stats=1 \
        -artifact_prefix="$3." "$work/corpus" "$work/seeds" >"$3" 2>&1
}

finds_nothing() {
    local log=$work/run code=0 runs
    fuzz build/fuzz/attribution_fuzz "$1" "$log" || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
        ok "$runs executions in $1 s, 0 findings"
    else
        not_ok "a finding after ${runs:-?} executions"
        mkdir -p build/fuzz/findings
        cp "$log".* build/fuzz/findings/ 2>/dev/null || true
        grep -E '^broken: |ERROR|runtime error|what\(\)' "$log" | sed 's/^/#   /' || true
        tail -n 40 "$log" | sed 's/^/#   /'
    fi
}

finds_turned_ties() {
    mkdir -p "$work/copy"
    cp -r src/core "$work/copy/core"
    perl -pi -e 's/a\.tie_key < b\.tie_key/a.tie_key > b.tie_key/' "$work/copy/core/apportion.cpp"
    ! cmp -s src/core/apportion.cpp "$work/copy/core/apportion.cpp" || die "the edit changes nothing"
    clang++ -std=c++20 -O1 -fsanitize=fuzzer -I "$work/copy" -o "$work/broken" test/fuzz/apportion_fuzz.cpp \
        "$work"/copy/core/*.cpp -lfmt
    rm -rf "$work/corpus"
    mkdir "$work/corpus"
    if ! fuzz "$work/broken" 60 "$work/broken.log" && grep -q '^broken: the cent goes to' "$work/broken.log"; then
        ok "found: ties to the larger key"
    else
        not_ok "found: ties to the larger key"
        tail -n 20 "$work/broken.log" | sed 's/^/#   /'
    fi
}

main
