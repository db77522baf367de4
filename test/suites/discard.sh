#!/bin/bash
# Tests of test/sql in sessions that throw away every entry of every cache as soon as PostgreSQL allows it
# (debug_discard_caches): what the module keeps of relations, types, plans and functions must be looked up again or
# be held. Only a server with assertions can do this (test/matrix); every statement takes a thousand times as long
# there, so the tests are few and the extension is created before.

set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

tests=${TESTS:-prepared}

if [ "$(psql -XAtc 'SHOW debug_assertions')" != on ]; then
    skip 'this server has no assertions'
    exit 0
fi

out=$ATTRIBUTION_TMP/discard
rm -rf "$out"
mkdir -p "$out"
also_remove+=("$out")
ln -s "$ATTRIBUTION_ROOT/expected" "$out/expected"
fresh_database contrib_regression 'CREATE EXTENSION attribution'

code=0
PGOPTIONS='-c debug_discard_caches=1' extension_make installcheck ISOLATION= REGRESS="$tests" \
    EXTRA_REGRESS_OPTS="--use-existing --outputdir=$out" >"$out/log" 2>&1 || code=$?
# 15 says `test NAME ... ok`, later ones `ok 1 - NAME`.
for name in $tests; do
    if grep -qE "^test $name +\.\.\. ok |^ok [0-9]+ +- $name " "$out/log"; then
        ok "$name passes without caches"
    else
        not_ok "$name passes without caches"
    fi
done
grep -E '^test |^(not )?ok ' "$out/log" | sed 's/^/#   /'
if [ "$code" != 0 ]; then
    tail -n 30 "$out/log" | sed 's/^/#   /'
    head -n 60 "$out/regression.diffs" 2>/dev/null | sed 's/^/#   /' || true
fi
suite_end
