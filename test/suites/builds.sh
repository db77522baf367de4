#!/bin/bash
# The libraries of two interfaces serve the databases of one server, each its own, while a database goes over from one
# to the other, and in one session as far as that can be. The second one is this code under the next number, in a copy
# of the tree that lies elsewhere; and what is compiled there is equal to what is compiled here.

# shellcheck disable=SC2031 # the subshell has its own prefix on purpose
set -euo pipefail
# shellcheck source=test/server.sh
. "$ATTRIBUTION_SERVER_SH"
cd "$ATTRIBUTION_ROOT"
find_postgres

work=$ATTRIBUTION_TMP/builds
mkdir -p "$work"
also_remove+=("$work")

old=$(library_file)
old=${old%.so}
new=attribution-$((${old##*-} + 1))
old_version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" attribution.control)
new_version=999.0.0

main() {
    # In a prefix of its own, since the newer version stays in it.
    export TMPDIR=$work
    unset ATTRIBUTION_TMP PG_BIN
    # shellcheck source=test/server.sh
    . "$ATTRIBUTION_SERVER_SH"
    copy_tree "$work/a copy"
    compiles_equal_objects "$work/a copy"

    server_start
    local library extension
    library=$ATTRIBUTION_TMP$("$PG_CONFIG" --pkglibdir)
    extension=$ATTRIBUTION_TMP$("$PG_CONFIG" --sharedir)/extension
    fresh_database veteran 'CREATE EXTENSION attribution'
    install_next "$work/a copy"
    is "$(cd "$library" && echo attribution-*)" "$old.so $new.so" 'make install leaves the library of an earlier interface'
    is "$(cd "$extension" && echo attribution--*.sql)" "attribution--$old_version--$new_version.sql attribution--$old_version.sql attribution--$new_version.sql" \
        'and its script'

    fresh_database newcomer 'CREATE EXTENSION attribution'
    fresh_database latecomer "CREATE EXTENSION attribution VERSION '$old_version'"
    is "$(names veteran)" "$old" 'a database of before names the old library'
    is "$(names newcomer)" "$new" 'a new database names the new one'
    is "$(names latecomer)" "$old" 'the old version, made now, names the old library'
    work_together
    load_both
    update
}

# names DATABASE: the libraries that its functions name.
names() {
    psql -XAtq -d "$1" -c "SELECT string_agg(DISTINCT replace(probin, '\$libdir/', ''), ' ') FROM pg_proc WHERE probin LIKE '%attribution%'"
}

# copy_tree COPY: the tree with its objects, as the next version, whose library has the next interface. Objects are made
# anew where these numbers are in them.
copy_tree() {
    mkdir "$1"
    locked tar --create --exclude=./.git --exclude=./build --exclude=./results --exclude='./attribution-*' . |
        tar --extract --directory "$1"
    sed -i "s/^default_version.*/default_version = '$new_version'/; s/$old/$new/" "$1/attribution.control"
    # What matches these names is made anew, whichever files they are.
    grep -lrE --include='*.cpp' --include='*.hpp' 'ATTRIBUTION_(VERSION|INTERFACE)' "$1/src" | sed 's/\.[ch]pp$/.o/' | tr '\n' '\0' | xargs -0 rm -f
}

# make_copy COPY ARG...: otherwise than the tree was made: one job, other rights, language and time zone.
make_copy() (
    umask 077
    export LC_ALL=C.UTF-8 TZ=Asia/Tokyo
    make -s -j1 -C "$1" PG_CONFIG="$PG_CONFIG" with_llvm=no ${CXX:+CXX="$CXX"} "${@:2}"
)

# Objects of code that reports where in the source it stands, and of code that does not. test/check_reproducible
# compares whole builds, which .ci/run makes anyway.
compiles_equal_objects() {
    local objects=(src/pg/procedure.o src/core/redact.o) object
    for object in "${objects[@]}"; do rm "$1/$object"; done
    make_copy "$1" "${objects[@]}" || die 'the copy does not compile'
    for object in "${objects[@]}"; do
        if cmp "$object" "$1/$object"; then ok "$object is equal in another directory"; else not_ok "$object is equal in another directory"; fi
    done
    for object in "${objects[@]}"; do rm "$1/$object"; done
    make_copy "$1" REPRODUCIBLE= "${objects[@]}" || die 'the copy does not compile'
    for object in "${objects[@]}"; do
        if cmp --silent "$object" "$1/$object"; then not_ok "refused: $object with paths in it"; else ok "refused: $object with paths in it"; fi
    done
}

# install_next COPY: with a script that brings databases to it, whose functions are those of the new library.
install_next() {
    cat >"$1/sql/upgrade-script" <<'SQL'
DO $update$
DECLARE
    definition text;
BEGIN
    FOR definition IN
        SELECT regexp_replace(pg_get_functiondef(oid), '\$libdir/attribution-\d+', 'MODULE_PATHNAME') FROM pg_proc
        WHERE probin ~ '^\$libdir/attribution-\d+$'
    LOOP
        EXECUTE definition;
    END LOOP;
END;
$update$;
SQL
    mkdir -p "$1/sql/upgrade"
    mv "$1/sql/upgrade-script" "$1/sql/upgrade/attribution--$old_version--$new_version.sql"
    step make_copy "$1" install DESTDIR="$ATTRIBUTION_TMP" >"$(log_file next)" 2>&1 || { cat "$(log_file next)" >&2; die 'the next version does not install'; }
}

# A sum that is right, one that is wrong, and what the session has loaded.
right="
    INSERT INTO attribution.tenants (id, name) VALUES ('11111111-0000-4000-8000-000000000000', 'x');
    INSERT INTO attribution.attribution_events (tenant_id, id, event_type, occurred_at, revenue_cents)
    SELECT '11111111-0000-4000-8000-000000000000', md5(n::text)::uuid, 'conversion', '2026-01-01Z', 100 FROM generate_series(1, 100) AS n;
    INSERT INTO attribution.attribution_allocations (tenant_id, event_id, model_version, channel, allocated_revenue_cents)
    SELECT tenant_id, id, '1', 'email', revenue_cents FROM attribution.attribution_events;"
wrong='UPDATE attribution.attribution_allocations SET allocated_revenue_cents = 99;'
sums='SELECT count(*), sum(allocated_revenue_cents) FROM attribution.attribution_allocations;'
loaded="SELECT string_agg(DISTINCT m[1], ' ') FROM regexp_matches(pg_read_file('/proc/self/maps', 0, 10000000), '/(attribution-\d+)\.so', 'g') AS m;"

# run DATABASE: runs the statements of standard input, and prints what they return or the SQLSTATE of their error.
run() {
    psql -XAtq -d "$1" -v VERBOSITY="${2:-sqlstate}" -f - 2>&1 | sed 's/^psql:[^ ]* //; /^$/d'
}

# In sessions of all three databases that are there at the same time.
work_together() {
    local database pids=()
    for database in veteran newcomer latecomer; do
        run "$database" <<<"BEGIN; $right SELECT pg_sleep(0.5); COMMIT; $wrong $sums $loaded" >"$work/$database" &
        pids+=($!)
    done
    wait "${pids[@]}"
    is "$(cat "$work/veteran")" "$(printf 'ERROR:  23514\n100|10000\n%s' "$old")" 'the database of before writes and refuses by the old library'
    is "$(cat "$work/newcomer")" "$(printf 'ERROR:  23514\n100|10000\n%s' "$new")" 'the new one by the new library'
    is "$(cat "$work/latecomer")" "$(printf 'ERROR:  23514\n100|10000\n%s' "$old")" 'the old version, made now, by the old library'
}

# pg_upgrade loads all libraries of a cluster into one session.
load_both() {
    is "$(run newcomer <<<"LOAD '$new'; LOAD '$old'; $sums $wrong SELECT attribution.current_tenant() IS NULL;")" \
        "$(printf '100|10000\nERROR:  23514\nt')" 'both can be loaded, and the first one works'
    is "$(run veteran <<<"LOAD '$new'; LOAD '$old'; $wrong SELECT attribution.current_tenant(); $sums")" \
        "$(printf 'ERROR:  55000\nERROR:  55000\n100|10000')" 'the second one refuses'
    is "$(run veteran default <<<"LOAD '$new'; SELECT attribution.current_tenant();")" "ERROR:  cannot use library \"$old\" in a session that has loaded \"$new\"
DETAIL:  The extension was updated since this session began, or the server loads \"$new\" into every session.
HINT:  Connect again. If this does not help, remove \"$new\" from shared_preload_libraries, session_preload_libraries and local_preload_libraries." \
        'and says how to go on'
    is "$(run veteran <<<"LOAD '$old'; LOAD '$new'; SHOW attribution.sum_tolerance_cents; SET attribution.sum_tolerance_cents = -1;")" \
        "$(printf '0\nERROR:  22023')" 'settings are those of the first'
}

# A database goes over while a session that has the old library stays.
update() {
    local session=$work/session
    cat >"$session" <<SQL
$wrong
\\! psql -XAtq -d veteran -v ON_ERROR_STOP=1 -c "SELECT attribution.current_tenant() IS NULL" -c "ALTER EXTENSION attribution UPDATE" -c "SELECT 'updated'"
$wrong
SELECT attribution.current_tenant();
SQL
    is "$(run veteran <"$session")" "$(printf 'ERROR:  23514\nt\nupdated\nERROR:  55000\nERROR:  55000')" \
        'a session that has the old library may update the extension, and others refuse to write until they connect again'
    is "$(names veteran)" "$new" 'the database names the new library'
    is "$(run veteran <<<"$wrong $sums $loaded")" "$(printf 'ERROR:  23514\n100|10000\n%s' "$new")" 'a new session has the rows and the rules, by the new library'
    is "$(names latecomer)" "$old" 'another database stays with the old one'
}

main
suite_end
