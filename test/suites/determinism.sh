#!/bin/bash
# The same bytes from every compiler at every optimization level: test/unit/digest.cpp, compiled with the
# core each way, prints what is frozen below. What is frozen never changes: stored ids and past cents
# depend on it. Two broken copies of the core must print something else.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/determinism
mkdir -p "$work"
also_remove+=("$work")

# Subject, number of values, digest.
frozen='decay_weights 112966 73b7cec91a964e05
weights 174812 b63468602d541f07
cents_and_ratios 1063316 c241bb9eb075c423
cents_by_decimals 104942 80c6bd8da0fddc1e
refunds 613255 be49d13f88ee9e4a
ids_and_tie_keys 350000 465a4122b5f28ee7'

main() {
    local compiler level
    for compiler in g++ clang++; do
        if ! command -v "$compiler" >/dev/null; then
            skip "$compiler is not installed"
            continue
        fi
        # Two at a time: most of it is the compiler.
        for level in -O0 -O3; do digest_of src "$work/$compiler$level" "$compiler" "$level" & done
        wait
        for level in -O0 -O3; do agrees "$compiler" "$level"; done
    done
    broken core/apportion.cpp 's/a\.tie_key < b\.tie_key/a.tie_key > b.tie_key/' &
    broken core/model.cpp 's/fraction_bits = 48/fraction_bits = 30/' &
    wait
    notices core/apportion.cpp 'ties to the larger key' cents_and_ratios cents_by_decimals refunds
    notices core/model.cpp 'a coarser exponent' decay_weights weights
    suite_end
}

# digest_of SRC NAME COMPILER LEVEL: what the program prints, into NAME.out; errors into NAME.log.
digest_of() {
    if "$3" -std=c++20 "$4" -I "$1" -I test/unit -o "$2" test/unit/digest.cpp "$1"/core/*.cpp "$1"/core/*/*.cpp -lfmt >"$2.log" 2>&1; then
        "$2" >"$2.out" 2>>"$2.log" || echo "ended with $?" >>"$2.out"
    else
        echo 'did not compile' >"$2.out"
    fi
}

agrees() {
    local name=$work/$1$2
    if [ "$(cat "$name.out")" = "$frozen" ]; then
        ok "$1 $2 prints what is frozen"
    else
        not_ok "$1 $2 prints something else"
        diff <(printf '%s\n' "$frozen") "$name.out" | sed 's/^/#   /' || true
        tail -n 20 "$name.log" | sed 's/^/#   /'
    fi
}

# broken FILE PERL: a copy of the core with that edit, and what it prints.
broken() {
    local copy=$work/${1//\//_}
    mkdir "$copy"
    cp -r src/core "$copy/core"
    perl -pi -e "$2" "$copy/$1"
    if cmp -s "src/$1" "$copy/$1"; then echo 'the edit changes nothing' >"$copy.out"; return; fi
    digest_of "$copy" "$copy/digest" "${CXX:-g++}" -O1
    mv "$copy/digest.out" "$copy.out"
}

# notices FILE WHAT SUBJECT...: of the frozen lines exactly those of the subjects have changed.
notices() {
    local changed
    changed=$(join -j 1 -o 1.1,1.3,2.3 <(printf '%s\n' "$frozen" | sort) <(sort "$work/${1//\//_}.out") |
        awk '$2 != $3 { print $1 }' | sort)
    if [ "$changed" = "$(printf '%s\n' "${@:3}" | sort)" ]; then
        ok "noticed: $2"
    else
        not_ok "noticed: $2"
        printf '%s\n' "$changed" | sed 's/^/#   changed: /'
        sed 's/^/#   /' "$work/${1//\//_}.out"
    fi
}

main
