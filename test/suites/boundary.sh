#!/bin/bash
# The boundary between C++ and PostgreSQL: every kind of exception, from a module made for it.
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"

locked extension_make boundary-test
cp "$ATTRIBUTION_ROOT/test/boundary/boundary_test.so" "$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)/"
psql -q -c 'CREATE EXTENSION pgtap'
psql -X -q -t -A -v ON_ERROR_STOP=1 -f "$ATTRIBUTION_ROOT/test/boundary/boundary.sql"
