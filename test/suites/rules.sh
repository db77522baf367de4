#!/bin/bash
# What the source and the library themselves must say: exported symbols, layers, one home of the
# version, an installation script that adopts nothing. Each rule is also shown a broken copy, which it
# must refuse: a check that cannot fail proves nothing.

# The edits are evaluated in the copy, and by eval only.
# shellcheck disable=SC2016,SC2317,SC2001
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"

work=$ATTRIBUTION_TMP/rules
mkdir -p "$work"
also_remove+=("$work")

main() {
    keeps 'the library exports entry points only' test/check_symbols "$(library)"
    keeps 'layers: core <- pg <- entry' test/check_layers
    keeps 'attribution.control is the only home of version and interface, META.json is valid' test/check_version
    keeps 'the installation script adopts nothing' adopts_nothing .
    keeps 'what is installed lies in places of our own, and its links lead somewhere' installs_its_own

    refuses 'core that includes pg' test/check_layers 'say src/core/error.hpp "#include \"pg/convert.hpp\""'
    refuses 'core that includes a server header' test/check_layers 'say src/core/error.hpp "#include <utils/uuid.h>"'
    refuses 'pg that includes entry' test/check_layers 'say src/pg/query.cpp "#include \"entry/settings.hpp\""'
    refuses 'a server header outside its door' test/check_layers 'say src/entry/books/ledger.cpp "#include \"utils/acl.h\""'
    refuses 'try in entry' test/check_layers 'say src/entry/books/ledger.cpp "void f() { try { } catch (...) { } }"'
    refuses 'PG_TRY in pg' test/check_layers 'say src/pg/query.cpp "void f() { PG_TRY(); }"'
    refuses 'sigsetjmp in entry' test/check_layers 'say src/entry/books/ledger.cpp "int n = sigsetjmp(b, 0);"'
    refuses 'throw in pg' test/check_layers 'say src/pg/query.cpp "void f() { throw 1; }"'
    refuses 'throw after a number with separators' test/check_layers "say src/pg/query.cpp \"int n = 10'000; void f() { throw 1; } int m = 20'000;\""
    refuses 'a source file outside the layers' test/check_layers 'touch src/helpers.cpp'
    accepts 'try, throw and catch in comments and strings' test/check_layers \
        'say src/pg/query.cpp "// try" "/* throw" "catch */ auto s = \"try \\\" catch\";" "auto r = R\"x(throw \" catch)x\";"'

    house_rule files 'no file has more than 600 lines'
    house_rule functions 'no function has more than 70 lines'
    house_rule homes 'calls that have one home are made nowhere else'
    house_rule names 'no name is defined in two files of src/entry'
    house_rule nouns 'every file belongs to one noun of the table in CONTRIBUTING.md'

    local rule
    for rule in files functions homes names nouns; do house_accepts $rule "a small house: $rule" :; done
    house_refuses files 'a source file of 601 lines' 'lines 601 >src/core/long.cpp'
    house_refuses files 'an SQL fragment of 601 lines' 'lines 601 >sql/install/40-validate.sql'
    house_refuses files 'a fragment of tables of 601 lines' 'lines 601 >sql/tables/40-validate.sql'
    house_refuses functions 'a function of 71 lines' '{ echo "int f(int a) {"; lines 69; echo "}"; } >src/core/long.cpp'
    house_refuses functions 'a member of 71 lines' '{ echo "struct S {"; echo "    int f(int a) const noexcept {"; lines 69; echo "    }"; echo "};"; } >src/core/long.cpp'
    house_refuses functions 'an entry point of 71 lines' '{ echo "ATTRIBUTION_FUNCTION(attribution_f) {"; lines 69; echo "}"; } >src/entry/long.cpp'
    house_refuses functions 'a function of 71 lines whose arguments take two' '{ echo "int f(int a,"; echo "      int b) {"; lines 68; echo "}"; } >src/core/long.cpp'
    house_accepts functions 'a function of 70 lines' '{ echo "int f(int a) {"; lines 68; echo "}"; } >src/core/long.cpp'
    house_accepts functions 'a struct and a table of 82 lines' '{ echo "struct S {"; lines 80; echo "};"; echo "constexpr int a[] = {"; lines 80; echo "};"; } >src/core/long.cpp'
    house_refuses homes 'a second relcache callback' 'say src/entry/module.cpp "void f() { CacheRegisterRelcacheCallback(g, Datum{0}); }"'
    house_refuses homes 'a lock class that is not in the list' 'say src/entry/module.cpp "void f() { SET_LOCKTAG_ADVISORY(tag, 0, 0, 0, 9); }"'
    house_refuses homes 'a result that is read by position' 'say src/entry/module.cpp "Datum f() { return pg::result_value(0, 1, nullptr); }"'
    house_refuses homes 'heap_getattr' 'say src/pg/call.cpp "Datum f() { return heap_getattr(row, 1, columns, nullptr); }"'
    house_accepts homes 'such a call in a comment' 'say src/entry/module.cpp "// not result_value(row, 1)"'
    house_refuses names 'a function in two files' 'say src/entry/check/validate.cpp "int posted(int b) {" "    return b;" "}"'
    house_refuses names 'a function with arguments on two lines' 'say src/entry/check/validate.cpp "std::span<const int> posted(int a," "                            int b) {" "}"'
    house_refuses names 'a struct in two files' 'say src/entry/books/ledger.cpp "struct Sum {" "};"'
    house_refuses names 'a constant in two files' 'say src/entry/books/ledger.cpp "constexpr std::size_t limit = 1;"'
    house_refuses names 'a statement in two files' \
        'say src/entry/books/ledger.cpp "constinit pg::Statement<void()> find{R\"sql(" "SELECT)sql\"};"; say src/entry/check/validate.cpp "constinit pg::Statement<void(pg_uuid_t)> find{"'
    house_accepts names 'a name used, declared and overloaded' \
        'say src/entry/books/ledger.cpp "bool is_right(int a);" "int posted() {" "    return posted(is_right(1));" "}"'
    house_refuses nouns 'a file of no noun' 'touch src/entry/check/helpers.cpp'
    house_refuses nouns 'a fragment of no noun' 'touch sql/install/44-helpers.sql'
    house_refuses nouns 'a fragment of tables of no noun' 'touch sql/tables/44-helpers.sql'
    house_accepts nouns 'a noun that has tables only' 'mv sql/install/42-unbalanced.sql sql/tables'
    house_refuses nouns 'a page of no noun' 'touch doc/helpers.md'
    house_refuses nouns 'a noun whose page is missing' 'rm doc/ledger.md'
    house_refuses nouns 'a page that does not name its noun' 'say doc/ledger.md x; edit CONTRIBUTING.md "s/42-unbalanced . validate/42-unbalanced | ledger/"'
    house_refuses nouns 'a noun without its file' 'edit CONTRIBUTING.md "s/validate . - /validate | rules /"'
    house_refuses nouns 'a file of two nouns' 'edit CONTRIBUTING.md "s/unbalanced . - /unbalanced | validate /"'
    house_refuses nouns 'a noun in two rows' 'say CONTRIBUTING.md "| books | ledger | - | - | ledger |"'
    house_refuses nouns 'a fragment among those of another wing' 'mv sql/install/42-unbalanced.sql sql/install/60-unbalanced.sql; edit CONTRIBUTING.md "s/42-unbalanced/60-unbalanced/"'
    house_refuses nouns 'no table' 'edit CONTRIBUTING.md "s/wing/x/"'

    refuses 'META.json of another version' test/check_version 'edit META.json "s/(\"version\": \")0/\${1}9/"'
    refuses 'a new version in the control file only' test/check_version 'edit attribution.control "s/(default_version = .)/\${1}9/"'
    refuses 'a Makefile that repeats the version' test/check_version 'say Makefile "V = $(version)"'
    refuses 'a CMake project with a version' test/check_version 'edit CMakeLists.txt "s/project\(attribution /project(attribution VERSION 3.2.1 /"'
    refuses 'tables of a later version' test/check_version 'mv sql/tables/upgrade/0.1.0.sql sql/tables/upgrade/9.1.0.sql'
    refuses 'an interface that is no number' test/check_version 'edit attribution.control "s/attribution-[0-9]+/attribution/"'
    refuses 'two names of the library' test/check_version 'say attribution.control "module_pathname = x"'
    refuses 'a Makefile that repeats the interface' test/check_version 'edit Makefile "s/^INTERFACE .*/INTERFACE = 1/m"'
    refuses 'a Makefile that sets the interface twice' test/check_version 'say Makefile "override INTERFACE := 1"'
    refuses 'a Makefile that names the library otherwise' test/check_version 'edit Makefile "s/^MODULE_big = .*/MODULE_big = attribution/m"'
    refuses 'a source that repeats the interface' test/check_version 'edit src/pg/library.cpp "s/attribution-\" ATTRIBUTION_INTERFACE/attribution-1\"/"'
    refuses 'META.json that asks for another PostgreSQL' test/check_version 'edit META.json "s/15\.1\.0/15.0.0/"'
    refuses 'a list of symbols that promises no release' test/check_version 'edit test/needed_symbols "s/^# oldest.*\n//"'
    refuses 'META.json without a license' test/check_version 'edit META.json "s/.*license.*\n//"'
    refuses 'META.json with a license of no known name' test/check_version 'edit META.json "s/\"postgresql\"/\"PostgreSQL\"/"'
    refuses 'META.json that names a missing file' test/check_version 'edit META.json "s/(\"file\": \")/\${1}no-/"'
    refuses 'META.json with a prerequisite of no version' test/check_version 'edit META.json "s/\"15.1.0\"/\"fifteen\"/"'
    refuses 'META.json with an unknown field' test/check_version 'edit META.json "s/\"tags\"/\"keywords\"/"'
    refuses 'META.json that is not JSON' test/check_version 'say META.json "}"'

    refuses 'CREATE OR REPLACE in the installation script' adopts_nothing \
        'say sql/install/90-access.sql "CREATE or" "  REPLACE FUNCTION attribution.f() RETURNS int LANGUAGE sql AS \$\$ SELECT 1 \$\$;"'
    refuses 'IF NOT EXISTS in the installation script' adopts_nothing \
        'say sql/install/90-access.sql "CREATE TABLE if not exists attribution.t ();"'
    refuses 'ADD COLUMN IF NOT EXISTS in the installation script' adopts_nothing \
        'say sql/install/90-access.sql "ALTER TABLE attribution.tenants ADD COLUMN IF NOT EXISTS x int;"'
    refuses 'IF NOT EXISTS among the tables' adopts_nothing \
        'say sql/tables/10-tenancy.sql "CREATE TABLE if not exists attribution.t ();"'
    accepts 'IF NOT EXISTS of a function' adopts_nothing \
        'say sql/install/90-access.sql "BEGIN" "IF NOT EXISTS (SELECT FROM pg_roles) THEN" "END IF; END;"'
    accepts 'CREATE OR REPLACE in a comment' adopts_nothing 'say sql/install/90-access.sql "-- no CREATE OR REPLACE"'

    refuses_installed 'a page among those of other extensions' 'mv */attribution/doc/share.md .'
    refuses_installed 'a script with a name of no extension' "touch '$work/copy$("$PG_CONFIG" --sharedir)/extension/validate.sql'"
    refuses_installed 'a library with a name of its own' "touch '$work/copy$("$PG_CONFIG" --pkglibdir)/attribution.so'"
    refuses_installed 'a second library' "touch '$work/copy$("$PG_CONFIG" --pkglibdir)/helpers.so'"
    refuses_installed 'a page whose picture is missing' 'rm */attribution/doc/refresh.svg'
    refuses_installed 'a link to a page that is not installed' 'say */attribution/doc/share.md "[x](../demo/run)"'
    refuses_installed 'a link that leaves the pages' 'say */attribution/doc/share.md "[x](../../../../../../../../etc/passwd)"'
    refuses_installed 'a link to a heading that is not there' 'say */attribution/README.md "[x](doc/share.md#no-such-heading)"'
    refuses_installed 'a heading that was renamed' 'edit */attribution/README.md "s/^(#+) Numbers/\${1} Figures/m"'

    libraries_with_more_are_refused
    builds_that_differ_are_refused
    suite_end
}

# The library as it was installed for this run, else the one in the tree.
library() {
    prefix_make
    printf '%s%s/%s' "$ATTRIBUTION_TMP" "$("$PG_CONFIG" --pkglibdir)" "$(library_file)"
}

version() {
    sed -n "s/^default_version *= *'\(.*\)'/\1/p" attribution.control
}

# Installs into an empty directory and looks at what came.
installs_its_own() {
    rm -rf "$work/installed"
    locked extension_make install DESTDIR="$work/installed" && test/check_installed "$work/installed"
}

# refuses_installed TEXT EDIT: the check fails on a copy of what was installed in which EDIT was made, in the
# directory of the extensions' pages.
refuses_installed() {
    rm -rf "$work/copy"
    cp -r "$work/installed" "$work/copy"
    (cd "$work/copy$("$PG_CONFIG" --docdir)" && eval "$2")
    if diff -rq "$work/installed" "$work/copy" >/dev/null; then die "the edit changes nothing: $2"; fi
    if test/check_installed "$work/copy" >"$work/output" 2>&1; then not_ok "refused: $1"; else ok "refused: $1"; fi
}

# What CREATE OR REPLACE or IF NOT EXISTS finds already there becomes part of the extension, with the
# rights of whoever made it.
adopts_nothing() {
    local found
    found=$(cd "$1" && grep -c . sql/install/*.sql sql/tables/*.sql >/dev/null &&
        perl -0ne 's{^\s*--.*}{}mg; while (/\b(create\s+or\s+replace|(?:create|add)(?:\s+\w+){1,4}?\s+if\s+not\s+exists|add\s+if\s+not\s+exists)\b/gi) { print "$ARGV: $1\n" }' sql/install/*.sql sql/tables/*.sql)
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        return 1
    fi
}

# --- Broken copies -----------------------------------------------------------------------------------

keeps() {
    local text=$1 output
    shift
    if output=$("$@" 2>&1); then ok "$text"; else not_ok "$text"; sed 's/^/#   /' <<<"$output"; fi
}

# refuses TEXT CHECK EDIT: CHECK fails on a copy of the tree in which EDIT was made.
refuses() {
    broken_copy "$3"
    if "$2" "$work/copy" >"$work/output" 2>&1; then not_ok "refused: $1"; else ok "refused: $1"; fi
}

accepts() {
    broken_copy "$3"
    if "$2" "$work/copy" >"$work/output" 2>&1; then ok "accepted: $1"; else not_ok "accepted: $1"; sed 's/^/#   /' "$work/output"; fi
}

# A rule of the house holds here.
house_rule() {
    keeps "$2" test/check_house . "$1"
}

# house_refuses RULE TEXT EDIT, house_accepts: RULE fails, or passes, on a small house in which EDIT was made.
house_refuses() {
    small_house "$3"
    if test/check_house "$work/house" "$1" >"$work/output" 2>&1; then not_ok "refused: $2"; else ok "refused: $2"; fi
}

house_accepts() {
    small_house "$3"
    if test/check_house "$work/house" "$1" >"$work/output" 2>&1; then ok "accepted: $2"; else not_ok "accepted: $2"; sed 's/^/#   /' "$work/output"; fi
}

small_house() {
    rm -rf "$work/house"
    mkdir -p "$work/house"
    (
        cd "$work/house"
        mkdir -p src/core src/pg src/entry/check src/entry/books sql/install sql/tables doc
        say src/core/cents.cpp 'int half(int a) {' '    return a / 2;' '}'
        say src/pg/cache.cpp 'void watch() {' '    CacheRegisterRelcacheCallback(f, Datum{0});' '}'
        say src/entry/module.cpp 'void _PG_init() {' '}'
        say src/entry/check/validate.hpp '#pragma once' 'bool is_right(int a);'
        say src/entry/check/validate.cpp 'namespace {' '/// A sum.' 'struct Sum {' '    int cents;' '};' 'constexpr int limit = 1;' '} // namespace' \
            'bool is_right(int a) {' '    return a < limit;' '}'
        say src/entry/books/ledger.cpp 'namespace {' 'int posted(int a) {' '    return a;' '}' '} // namespace'
        touch sql/install/{00-schema,40-validate,42-unbalanced,50-ledger}.sql sql/tables/50-ledger.sql
        say doc/validate.md '# validate' 'and unbalanced'
        touch doc/ledger.md
        say CONTRIBUTING.md '| wing | noun | with | SQL | page |' '|---|---|---|---|---|' \
            '| check | validate | - | 40-validate | validate |' '| check | unbalanced | - | 42-unbalanced | validate |' \
            '| books | ledger | - | 50-ledger | ledger |'
        eval "$1"
    )
}

# lines N: so many, each a statement.
lines() { awk -v n="$1" 'BEGIN { while (n-- > 0) print ";" }'; }

broken_copy() {
    rm -rf "$work/copy"
    mkdir "$work/copy"
    tar --create --exclude='*.o' --exclude='*.d' src sql attribution.control META.json Makefile CMakeLists.txt test/needed_symbols |
        tar --extract --directory "$work/copy"
    (
        cd "$work/copy"
        before=$(contents)
        eval "$1"
        [ "$before" != "$(contents)" ] || die "the edit changes nothing: $1"
    )
}

# Names and checksums of all files here.
contents() { find . -type f -exec cksum {} + | sort; }

# say FILE LINE...: the lines come after the file's own.
say() { printf '%s\n' "${@:2}" >>"$1"; }

# edit FILE PERL
edit() { perl -0pi -e "$2" "$1"; }

libraries_with_more_are_refused() {
    local good='extern "C" { int Pg_magic_func() { return 1; } int _PG_init() { return 1; }
        int attribution_f() { return 1; } int pg_finfo_attribution_f() { return 1; } }'
    library_of 'extern "C" int palloc();'"${good/return 1;/return palloc();}"
    keeps 'accepted: a library of entry points' test/check_symbols "$work/library.so"
    library_of "$good"' int helper() { return 1; }'
    refused_library 'a function'
    library_of "$good"' int attribution_counter = 0;'
    refused_library 'a variable with our prefix'
    library_of "$good"' template <class T> struct S { virtual ~S() = default; }; S<int>* s() { static S<int> x; return &x; }'
    refused_library 'a weak virtual table and a unique static'
    library_of "$good"' extern "C" int attribution_helper() { return 1; }'
    refused_library 'a helper that SQL does not call'
    library_of 'extern "C" int heap_datum_check();'"${good/return 1;/return heap_datum_check();}"
    refused_library 'a library that needs what earlier minor releases do not have'
    printf '# oldest: %s.9\n%s %s\n' "$PG_MAJOR" palloc 14 >"$work/list"
    library_of 'extern "C" int palloc();'"${good/return 1;/return palloc();}"
    refused_library 'a library that needs what is listed for another major' "$work/list"
    refuses_server 'a list of what this server lacks' "$(printf '# oldest: %s.9\nno_such_function' "$PG_MAJOR")"
    refuses_server 'a list that does not promise this major' "$(printf '# oldest: 14.9\npalloc')"
    library_of 'extern "C" int attribution_f() { return 1; } extern "C" int pg_finfo_attribution_f() { return 1; }'
    refused_library 'a library PostgreSQL cannot load'
}

library_of() {
    printf '%s\n' "$1" >"$work/library.cpp"
    # shellcheck disable=SC2086 # the compiler may be of two words
    ${CXX:-g++} -shared -fPIC -o "$work/library.so" "$work/library.cpp"
}

# Copies of this build, of which .ci/run compares a whole one from elsewhere.
builds_that_differ_are_refused() {
    local library
    library=$(library_file)
    copy_build
    keeps 'accepted: a build that is equal' test/check_reproducible . "$work/build"
    printf x >"$work/x"
    objcopy --update-section ".comment=$work/x" "$work/build/$library"
    refused_build 'a build with another section' ' \.comment$'
    copy_build
    say "$work/build/attribution--$(version).sql" '--'
    refused_build 'a build with another script' '\.sql differ|EOF on .*\.sql'
    copy_build
    rm "$work/build/$library"
    refused_build 'a build without the library' "$library"
    copy_build
    say "$work/build/attribution.control" '#'
    refused_build 'another control file' 'attribution\.control'
}

copy_build() {
    rm -rf "$work/build"
    mkdir "$work/build"
    locked cp attribution*.so attribution*.sql attribution*.control "$work/build"
}

# refused_build TEXT PATTERN: what is said of the difference matches the pattern.
refused_build() {
    if ! test/check_reproducible . "$work/build" >"$work/output" 2>&1 && grep -qE "$2" "$work/output"; then
        ok "refused: $1"
    else
        not_ok "refused: $1"
        sed 's/^/#   /' "$work/output"
    fi
}

refused_library() {
    if test/check_symbols "$work/library.so" "${@:2}" >/dev/null 2>&1; then not_ok "refused: $1"; else ok "refused: $1"; fi
}

# refuses_server TEXT LIST
refuses_server() {
    printf '%s\n' "$2" >"$work/list"
    if test/check_symbols --server "$PG_BIN/postgres" "$work/list" >/dev/null 2>&1; then not_ok "refused: $1"; else ok "refused: $1"; fi
}

main
