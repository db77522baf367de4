#!/bin/bash
# What the library needs of PostgreSQL is listed for this major, and this server has it: so test/matrix sees it for
# every major, on releases that are often older than the ones whose headers were compiled.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"
prefix_make

holds() {
    local output
    if output=$("${@:2}" 2>&1); then ok "$1: $output"; else not_ok "$1"; sed 's/^/#   /' <<<"$output"; fi
}

holds 'the library' test/check_symbols "$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)/$(library_file)"
holds 'the server' test/check_symbols --server "$PG_BIN/postgres"
suite_end
