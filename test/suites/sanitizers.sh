#!/bin/bash
# The SQL suites in a server whose copy of this module is compiled with the address and undefined-behaviour
# sanitizers: a read or write outside of what the C++ side allocated, a signed overflow or a misaligned access ends
# the session with a report. PostgreSQL itself is as the package brings it, so what palloc gives is guarded on the
# server with assertions only (test/matrix).
#
# SANITIZERS=part (what test/run without names takes) runs the tests of $part, SANITIZERS=all (the default) every
# test of regress, isolation and pgtap. Two broken copies of the module must be noticed.

# shellcheck disable=SC2031 # the subshells have their own on purpose
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

# One test or more for each piece of code that reads bytes: arrays, JSON, keys, tuples, trees of statements.
part='allocate allocate_events explain identity ingest journeys ledger model reconcile redact refresh refund share validate webhook'

work=$ATTRIBUTION_TMP/sanitizers
mkdir -p "$work"
also_remove+=("$work")

# -fno-wrapv: PostgreSQL's own flag would define signed overflow. The assertions are of libstdc++.
flags='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-wrapv -U_FORTIFY_SOURCE -D_GLIBCXX_ASSERTIONS'

main() {
    local compiler=${CXX:-g++} library
    # shellcheck disable=SC2086 # the compiler may be of two words
    for library in libasan libubsan; do
        if [ ! -e "$($compiler -print-file-name=$library.so)" ]; then
            skip "$compiler has no $library.so"
            exit 0
        fi
    done
    # The module is linked without the sanitizers, and they come into the server before everything else.
    # libgpg-error takes a lock in its constructor and then allocates, at which libasan, not yet ready, wants the
    # same lock: so a library whose constructor comes first of all allocates before.
    printf '#include <stdlib.h>\nvoid* volatile early;\n__attribute__((constructor)) static void begin(void) { early = malloc(1); }\n' >"$work/early.c"
    gcc -shared -fPIC -o "$work/early.so" "$work/early.c" -Wl,-z,initfirst
    # shellcheck disable=SC2086
    ATTRIBUTION_SERVER_ENV="LD_PRELOAD=$($compiler -print-file-name=libasan.so):$work/early.so:$($compiler -print-file-name=libubsan.so) \
ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0:detect_stack_use_after_return=0:exitcode=97 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    export ATTRIBUTION_SERVER_ENV TEST_CPPFLAGS=$flags TMPDIR=$work
    # g++ takes some of what it instruments for uninitialized: its warnings are for the build that ships.
    unset ATTRIBUTION_TMP PG_BIN WERROR

    copy_tree "$work/module"
    if [ "${SANITIZERS:-all}" = all ]; then
        run_suites regress isolation pgtap
    else
        TESTS=$(existing "$part") run_suites regress
    fi
    notices 'a read behind an array' 'heap-buffer-overflow' \
        'const char* volatile a = new char[3]; volatile char c = a[3]; (void)c; delete[] a;'
    notices 'a signed overflow' 'signed integer overflow' 'volatile int n = 2147483647; n = n + 1;'
    suite_end
}

# The tests of these that there are.
existing() {
    local name names=''
    for name in $1; do
        if [ -e "test/sql/$name.sql" ]; then names+=" $name"; fi
    done
    printf '%s' "${names# }"
}

copy_tree() {
    mkdir "$1"
    tar --create --exclude='*.o' --exclude='*.d' --exclude='*.so' --exclude=./.git --exclude=./build --exclude=./results . |
        tar --extract --directory "$1"
}

# Runs suites in the sanitized copy, and passes on what it says of each.
run_suites() {
    local log=$work/run.log name count
    ATTRIBUTION_NO_INSTALL=1 "$work/module/test/run" "$@" >"$log" 2>&1 || true
    for name; do
        count=$(sed -n "s/^ok  *$name  *\([0-9]*\) tests* .*/\1/p" "$log")
        if [ -n "$count" ]; then
            ok "$name under the sanitizers: $count tests"
        else
            not_ok "$name under the sanitizers"
            grep -B 2 -A 40 -m 1 -E 'Sanitizer|runtime error:' "$log" | sed 's/^/#   /' || true
            tail -n 60 "$log" | sed 's/^/#   /'
            return
        fi
    done
}

# notices WHAT REPORT CODE: a server whose copy of the module runs CODE when it is loaded ends with REPORT.
notices() {
    local copy=$work/broken log=$work/broken.log
    rm -rf "$copy"
    cp -a "$work/module" "$copy"
    printf 'namespace { const bool broken = [] { %s return true; }(); }\n' "$3" >>"$copy/src/entry/module.cpp"
    if (
        set -e
        # shellcheck source=test/server.sh
        . "$copy/test/server.sh"
        server_start
        psql -Xq -c "LOAD 'attribution-1'" || true
        cat "$server_dir/log"
    ) >"$log" 2>&1 && grep -q "$2" "$log"; then
        ok "noticed: $1"
    else
        not_ok "noticed: $1"
        tail -n 30 "$log" | sed 's/^/#   /'
    fi
}

main
