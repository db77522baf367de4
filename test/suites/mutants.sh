#!/bin/bash
# The specs that race sessions must fail on checks that lose the race: one that does not lock, one that locks but
# sums with the transaction's own snapshot, and one that does neither, as a plain deferred trigger would.
# They are compiled into copies of the tree from the same source (TEST_CPPFLAGS) and run in prefixes and
# servers of their own. A copy that only has the wait points must pass them all, and
# test/isolation/wait_points, which needs those.
# shellcheck disable=SC2031 # the subshells have their own on purpose
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/mutants
mkdir -p "$work"
also_remove+=("$work")
pgxs=$("$PG_CONFIG" --pgxs)
runner=${pgxs%/makefiles/*}/test/isolation/pg_isolation_regress

specs=()
for file in test/isolation/specs/validate-*.spec test/isolation/specs/refund-guard.spec; do
    specs+=("$(basename "$file" .spec)")
done

main() {
    if [ ! -x "$runner" ]; then
        skip "there is no pg_isolation_regress beside this PostgreSQL"
        exit 0
    fi
    race wait_points '' &
    race no_lock -DATTRIBUTION_MUTANT_NO_LOCK &
    race old_snapshot -DATTRIBUTION_MUTANT_OLD_SNAPSHOT &
    race neither '-DATTRIBUTION_MUTANT_NO_LOCK -DATTRIBUTION_MUTANT_OLD_SNAPSHOT' &
    wait

    ships_none_of_it
    passes wait_points
    loses no_lock validate-race validate-delete-race validate-models-race validate-savepoint-race \
        refund-guard validate-refund-race validate-wait-points
    loses old_snapshot validate-race validate-delete-race validate-models-race validate-revenue-race \
        refund-guard validate-refund-race validate-order-race validate-prepared-race validate-savepoint-race validate-wait-points
    loses neither validate-race validate-delete-race validate-models-race validate-revenue-race \
        refund-guard validate-refund-race validate-order-race validate-prepared-race validate-savepoint-race validate-wait-points
    suite_end
}

# race NAME FLAGS: builds with the flags and the wait points, and runs the specs; what they print goes to
# NAME/specs/results and NAME/wait_points/results.
race() {
    local copy=$work/$1 log=$work/$1.log
    mkdir "$copy"
    if ! (
        set -e
        copy_tree "$copy"
        # Warned of at load: once in the server's log instead of in each session's output.
        export TEST_CPPFLAGS="-DATTRIBUTION_WAIT_POINTS $2" TMPDIR=$work
        unset ATTRIBUTION_TMP PG_BIN
        # shellcheck source=test/server.sh
        . "$copy/test/server.sh"
        server_start 'max_prepared_transactions = 10' "shared_preload_libraries = 'attribution'"
        cp "$server_dir/log" "$copy/server.log"
        run_specs "$copy/specs" "$copy/test/isolation" "$copy/expected" "${specs[@]}"
        run_specs "$copy/wait_points" "$copy/test/isolation/wait_points" "$copy/test/isolation/wait_points/expected" validate-wait-points
    ) >"$log" 2>&1; then
        echo 'ended early' >>"$log"
    fi
}

# Objects are taken along, but of what the flags change.
copy_tree() {
    locked cp -a Makefile attribution.control sql doc src expected "$1"
    locked cp -a attribution--*.sql "$1"
    mkdir "$1/test" "$1/build"
    cp -a build/pgxs-built-for "$1/build"
    cp -a test/server.sh test/isolation "$1/test"
    rm -f "$1/src/entry/check/validate.o"
}

# run_specs OUTPUT INPUT EXPECTED SPEC...: 15 looks for the expected files in OUTPUT, later ones where we are.
run_specs() {
    mkdir "$1"
    ln -s "$3" "$1/expected"
    (cd "$1" && "$runner" --inputdir="$2" --outputdir=. --bindir="$PG_BIN" --dbname=isolation_mutants "${@:4}") || true
}

ships_none_of_it() {
    if grep -q 'this attribution is a test build' "$work/wait_points/attribution.so" &&
        grep -q 'this attribution is a test build' "$work/wait_points/server.log"; then
        ok 'a test build says so when it is loaded'
    else
        not_ok 'a test build says so when it is loaded'
        tail -n 30 "$work/wait_points.log" | sed 's/^/#   /'
    fi
    if grep -qE 'this attribution is a test build|attribution\.wait_point|between_lock_and_sum' "$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)/attribution.so"; then
        not_ok 'the module that ships has none of it'
    else
        ok 'the module that ships has none of it'
    fi
}

# passes NAME: every spec prints what is expected, and no permutation ends with anything wrong.
passes() {
    local spec wrong all=0
    for spec in "${specs[@]}" validate-wait-points; do
        wrong=$(wrong_in "$1" "$spec")
        all=$((all + $(permutations_of "$spec")))
        if [ "$wrong" != 0 ] || ! spec_passed "$1" "$spec"; then
            not_ok "$1: $spec passes"
            printf '#   permutations that ended wrong: %s\n' "$wrong"
            cat "$work/$1"/*/regression.diffs 2>/dev/null | sed -n '1,60s/^/#   /p'
            tail -n 20 "$work/$1.log" | sed 's/^/#   /'
            return
        fi
    done
    ok "$1: 0 of $all permutations end wrong"
}

# loses NAME SPEC...: in each of these specs something wrong was committed, and the spec fails for it.
loses() {
    local name=$1 spec wrong all=0 sum=0
    shift
    for spec in "${specs[@]}" validate-wait-points; do
        wrong=$(wrong_in "$name" "$spec")
        all=$((all + $(permutations_of "$spec")))
        if [ "$wrong" = 0 ] && [[ " $* " != *" $spec "* ]]; then continue; fi
        if [ "$wrong" -gt 0 ] 2>/dev/null && ! spec_passed "$name" "$spec"; then
            ok "$name: $spec fails, $wrong of $(permutations_of "$spec") permutations commit what is wrong"
            sum=$((sum + wrong))
        else
            not_ok "$name: $spec fails ($wrong of $(permutations_of "$spec") permutations commit what is wrong)"
            tail -n 20 "$work/$name.log" | sed 's/^/#   /'
        fi
    done
    printf '#   %s: %s of %s permutations commit what is wrong\n' "$name" "$sum" "$all"
}

# 15 says `test NAME ... ok`, later ones `ok 1 - NAME`.
spec_passed() {
    grep -qE "^test $2 +\.\.\. ok |^ok [0-9]+ +- $2 " "$work/$1.log"
}

permutations_of() {
    cat test/isolation/specs/"$1".spec test/isolation/wait_points/specs/"$1".spec 2>/dev/null | grep -c '^permutation' || true
}

# wrong_in NAME SPEC: how many permutations end with an oracle that counts anything wrong; `none` if not all
# of them came to the oracle.
wrong_in() {
    local permutations
    permutations=$(permutations_of "$2")
    awk -F'|' -v permutations="$permutations" '
        /wrong_sums/ && /^[a-z_ |]+$/ {
            split($0, names)
            getline; getline
            ++oracles
            is_wrong = 0
            for (i = 1; i <= NF; ++i)
                if (names[i] ~ /^ *(wrong_sums|exceeded|below_zero) *$/ && $i + 0 > 0) is_wrong = 1
            wrong += is_wrong
        }
        END { if (oracles == permutations) print wrong + 0; else print "none" }
    ' "$work/$1"/*/results/"$2".out 2>/dev/null || echo none
}

main
