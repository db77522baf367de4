# shellcheck shell=bash
# For suites that copy a database: all that a copy must have, and how it behaves in its first hour.

state() {
    psql -XqAt -F ' ' -f "$ATTRIBUTION_ROOT/test/backup/state.sql" 2>&1
}

# Of errors only their SQLSTATE and constraint.
promises() {
    psql -XqAt -F ' ' -v VERBOSITY=verbose -f "$ATTRIBUTION_ROOT/test/backup/promises.sql" 2>&1 |
        sed -nE '/^(DETAIL|HINT|LOCATION|SCHEMA NAME|TABLE NAME|CONTEXT|QUERY): /d
                 s/^CONSTRAINT NAME:  /constraint /
                 /^LINE [0-9]+:|^ +\^$/d
                 s/^psql:.* ERROR:  ([0-9A-Z]{5}): (new row|duplicate|insert or|update or) .*/\1/
                 s/^psql:.* ERROR:  ([0-9A-Z]{5}): /\1 /
                 p'
}
