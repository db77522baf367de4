#!/bin/bash
# The specs that race sessions must fail on checks that lose the race: one that does not lock, one that locks but
# sums with the transaction's own snapshot, and one that does neither, as a plain deferred trigger would.
# The mistakes are patches (test/mutants), applied to copies of the tree that are built and run in prefixes and
# servers of their own. A copy without a mistake must pass all specs, and test/isolation/wait_points, which needs
# named wait points (TEST_CPPFLAGS); so must one that is built with assertions, where the rules are asked about
# each key that the short way calls right. Mistakes in the short way stop at an assertion there.
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
assertions=-DUSE_ASSERT_CHECKING=1

specs=()
for file in test/isolation/specs/validate-*.spec test/isolation/specs/refund-guard.spec; do
    specs+=("$(basename "$file" .spec)")
done

main() {
    if [ ! -x "$runner" ]; then
        skip "there is no pg_isolation_regress beside this PostgreSQL"
        exit 0
    fi
    ensure_packages patch
    patches_apply
    in_copy wait_points '' '' race &
    in_copy assertions "$assertions" '' race &
    in_copy no_lock '' no_lock race &
    in_copy old_snapshot '' old_snapshot race &
    in_copy neither '' 'no_lock old_snapshot' race &
    wait
    for mistake in plain_cent plain_refunds; do
        in_copy "$mistake" '' "$mistake" "try_$mistake" &
        in_copy "$mistake.asserted" "$assertions" "$mistake" "try_$mistake" &
        wait
    done

    ships_none_of_it
    passes wait_points
    passes assertions
    loses no_lock validate-race validate-delete-race validate-models-race validate-savepoint-race \
        refund-guard validate-refund-race validate-wait-points
    loses old_snapshot validate-race validate-delete-race validate-models-race validate-revenue-race \
        refund-guard validate-refund-race validate-order-race validate-prepared-race validate-savepoint-race validate-wait-points
    loses neither validate-race validate-delete-race validate-models-race validate-revenue-race \
        refund-guard validate-refund-race validate-order-race validate-prepared-race validate-savepoint-race validate-wait-points
    stops_at_assertion plain_cent
    stops_at_assertion plain_refunds
    suite_end
}

# A patch whose lines are not in the source any more proves nothing.
patches_apply() {
    local patch
    for patch in test/mutants/*.patch; do
        if patch --dry-run --fuzz=0 --batch --forward -p1 -i "$patch" >"$work/patch" 2>&1; then
            ok "$patch applies"
        else
            not_ok "$patch applies"
            sed 's/^/#   /' "$work/patch"
        fi
    done
    [ -z "$suite_failed" ] || suite_end
}

# in_copy NAME FLAGS PATCHES COMMAND: builds a copy of the tree with the flags, the patches and the wait points, starts a
# server on it and runs the command with the directory of the copy.
in_copy() {
    local copy=$work/$1 log=$work/$1.log
    mkdir "$copy"
    if ! (
        set -e
        copy_tree "$copy" "$2" "$3"
        # Warned of at load: once in the server's log instead of in each session's output.
        export TEST_CPPFLAGS="-DATTRIBUTION_WAIT_POINTS $2" TMPDIR=$work
        unset ATTRIBUTION_TMP PG_BIN
        # shellcheck source=test/server.sh
        . "$copy/test/server.sh"
        server_start 'max_prepared_transactions = 10' "shared_preload_libraries = '$(library_file)'"
        cp "$server_dir/log" "$copy/server.log"
        "$4" "$copy"
        cp "$server_dir/log" "$copy/server.log"
    ) >"$log" 2>&1; then
        echo 'ended early' >>"$log"
    fi
}

# copy_tree COPY FLAGS PATCHES: objects are taken along, but of what has wait points, of what a patch changes, which is
# newer then, and with assertions those of the check.
copy_tree() {
    local patch
    locked cp -a Makefile attribution.control sql doc src expected "$1"
    locked cp -a attribution--*.sql attribution--*.control "$1"
    mkdir "$1/test" "$1/build"
    cp -a build/pgxs-built-for "$1/build"
    cp -a test/server.sh test/isolation "$1/test"
    [ -z "$2" ] || rm -f "$1"/src/entry/check/*.o
    grep -lr --include='*.d' wait_point.hpp "$1/src" | sed 's/d$/o/' | xargs rm -f
    for patch in $3; do
        patch --fuzz=0 --batch --forward --directory="$1" -p1 -i "$ATTRIBUTION_ROOT/test/mutants/$patch.patch"
    done
}

# race COPY: runs the specs; what they print goes to specs/results and wait_points/results.
race() {
    run_specs "$1/specs" "$1/test/isolation" "$1/expected" "${specs[@]}"
    run_specs "$1/wait_points" "$1/test/isolation/wait_points" "$1/test/isolation/wait_points/expected" validate-wait-points
}

# try_... COPY: writes what the mistake lets through. `committed` in the copy says whether it was.
try_plain_cent() {
    try "$1" "
        INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
        VALUES ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000001', '1', 'email', 99)" \
        'SELECT count(*) > 0 FROM attribution.unbalanced_allocations()'
}

try_plain_refunds() {
    try "$1" "
        INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents, refund_of) VALUES
            ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000002', 'refund', '2026-01-02Z', -50, 'eeeeeeee-0000-0000-0000-000000000001');
        INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents) VALUES
            ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000001', '1', 'email', 100),
            ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000002', '1', 'email', -50);
        BEGIN;
        DELETE FROM attribution.attribution_allocations WHERE allocated_revenue_cents = 100;
        INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
        VALUES ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000001', '1', 'search', 100);
        COMMIT" \
        "SELECT sum(allocated_revenue_cents) < 0 FROM attribution.attribution_allocations WHERE channel = 'email'"
}

# try COPY WRITE ORACLE
try() {
    psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION attribution' \
        -c "INSERT INTO attribution.tenants (id, name) VALUES ('11111111-1111-1111-1111-111111111111', 'mutants')" \
        -c "INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
            VALUES ('11111111-1111-1111-1111-111111111111', 'eeeeeeee-0000-0000-0000-000000000001', 'conversion', '2026-01-01Z', 100)"
    psql -Xq -v ON_ERROR_STOP=1 <<<"$2;" || true
    # Where an assertion failed, the server takes a moment to come back.
    until psql -Xqc 'SELECT' 2>/dev/null; do sleep 0.1; done
    psql -XqAtc "$3" >"$1/committed"
}

# run_specs OUTPUT INPUT EXPECTED SPEC...: 15 looks for the expected files in OUTPUT, later ones where we are.
run_specs() {
    mkdir "$1"
    ln -s "$3" "$1/expected"
    (cd "$1" && "$runner" --inputdir="$2" --outputdir=. --bindir="$PG_BIN" --dbname=isolation_mutants "${@:4}") || true
}

ships_none_of_it() {
    if grep -q 'this attribution is a test build' "$work/wait_points/$(library_file)" &&
        grep -q 'this attribution is a test build' "$work/wait_points/server.log"; then
        ok 'a test build says so when it is loaded'
    else
        not_ok 'a test build says so when it is loaded'
        tail -n 30 "$work/wait_points.log" | sed 's/^/#   /'
    fi
    if grep -qE 'this attribution is a test build|attribution\.wait_point|between_lock_and_sum' "$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)/$(library_file)"; then
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

# stops_at_assertion NAME: what the mistake lets through is committed, but not where there are assertions.
stops_at_assertion() {
    if [ "$(cat "$work/$1/committed" 2>/dev/null)" = t ]; then
        ok "$1: commits what is wrong"
    else
        not_ok "$1: commits what is wrong"
        tail -n 20 "$work/$1.log" | sed 's/^/#   /'
    fi
    if [ "$(cat "$work/$1.asserted/committed" 2>/dev/null)" != t ] &&
        grep -q 'TRAP: .*find_nothing' "$work/$1.asserted/server.log"; then
        ok "$1: an assertion stops it"
    else
        not_ok "$1: an assertion stops it"
        tail -n 20 "$work/$1.asserted.log" | sed 's/^/#   /'
    fi
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
