# shellcheck shell=bash
# A throwaway PostgreSQL with this extension in it: a library to source, from bash under `set -euo pipefail`.
#
#   . test/server.sh
#   ensure_build_packages              # only installs what is missing; needs root or sudo only then
#   server_start [conf line...]        # builds and installs into the prefix if that is still to do
#   psql -c 'CREATE EXTENSION attribution'
#   exit                               # the server and the directory go, also on Ctrl-C, TERM and HUP
#
# The idea: PostgreSQL looks for its share and lib directories relative to its own executable. So a
# directory with copies of the binaries and links to everything else is a complete installation, into
# which `make install DESTDIR=` puts our files. Nothing is written to the system's PostgreSQL, no root
# is needed, and two runs never meet:
#
#   $ATTRIBUTION_TMP/
#     usr/lib/postgresql/15/bin/      copies: the executable's own path is what counts
#     usr/lib/postgresql/15/lib/      links, and our attribution-N.so
#     usr/share/postgresql/15/        links, and our control file and script
#     server.XXXXXX/data, s, log      one server: its cluster, its unix socket, its log
#     log/                            output of steps
#
# Invariants: the server listens on a unix socket only, runs as an unprivileged user (postgres when we
# are root, else ourselves) and reads nothing outside $ATTRIBUTION_TMP and the system's PostgreSQL, so
# the clone may lie in a directory that only root can enter.
#
# Read:  PG_CONFIG (which PostgreSQL), CXX, WERROR, TMPDIR, ATTRIBUTION_DATA, ATTRIBUTION_NO_INSTALL=1
#        (trust that every package is there),
#        ATTRIBUTION_BUILT (a directory that gets what is installed, and from which prefix_add takes it),
#        ATTRIBUTION_SERVER_ENV (words NAME=VALUE: variables of the server only).
# Set:   ATTRIBUTION_ROOT, ATTRIBUTION_SERVER_SH, ATTRIBUTION_TMP, ATTRIBUTION_DATA ('' if there is
#        none), PG_CONFIG, PG_MAJOR, PG_BIN; by server_start PGHOST PGPORT PGUSER PGDATABASE PATH.
#
# The whole path is one process tree: a script started while ATTRIBUTION_TMP is exported (a test suite)
# shares the prefix and starts servers of its own in it; only the process that made the directory
# removes it.

ATTRIBUTION_SERVER_SH=$(realpath "${BASH_SOURCE[0]}")
ATTRIBUTION_ROOT=$(dirname "$(dirname "$ATTRIBUTION_SERVER_SH")")
# Real files to test on: external, so tests that want them skip where there are none.
ATTRIBUTION_DATA=${ATTRIBUTION_DATA-$ATTRIBUTION_ROOT/../shared}
if [ -d "$ATTRIBUTION_DATA" ]; then ATTRIBUTION_DATA=$(realpath "$ATTRIBUTION_DATA"); else ATTRIBUTION_DATA=; fi
export ATTRIBUTION_SERVER_SH ATTRIBUTION_ROOT ATTRIBUTION_DATA

# What a developer's psqlrc, locale or connection settings do to output is none of the tests' business.
export LC_ALL=C PSQLRC=/dev/null PGCONNECT_TIMEOUT=30
unset MAKEFLAGS MFLAGS MAKELEVEL # the tests may themselves be run by make
unset PGSERVICE PGSERVICEFILE PGPASSFILE PGPASSWORD PGOPTIONS PGAPPNAME PGSSLMODE PGHOSTADDR PGTZ PGDATESTYLE PGCLIENTENCODING
umask 022

tmp_owner=         # the pid that removes ATTRIBUTION_TMP, if it is ours
server_dir=        # the running server that this process started
server_pid=
step_pid=          # the process group of the running step
step_signal=TERM   # what ends it early; empty: it is brief and better left to finish
also_remove=()     # what else cleanup removes
apt_is_fresh=      # apt-get update was done
pg_is_foreign=     # PG_CONFIG is not of Debian's packages

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# --- Packages ----------------------------------------------------------------------------------------

# Installs the Debian packages that are missing; %V in a name stands for PostgreSQL's major version.
ensure_packages() {
    make_tmp
    [ -z "${ATTRIBUTION_NO_INSTALL:-}" ] || return 0
    command -v dpkg-query >/dev/null ||
        die "this is no Debian system: install the equivalents of '$*' and set ATTRIBUTION_NO_INSTALL=1"
    local package missing=() failed=''
    if [[ $* = *%V* ]]; then find_major; fi
    for package; do
        # A PostgreSQL that Debian's packages did not bring is its owner's to complete.
        [ -z "$pg_is_foreign" ] || [ "$package" = "${package//%V/}" ] || continue
        package=${package//%V/${PG_MAJOR:-}}
        case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
            ii*|hi*) ;;
            *) missing+=("$package") ;;
        esac
    done
    if [ ${#missing[@]} -gt 0 ]; then
        as_root "install ${missing[*]}" true
        apt_refresh
        printf 'installing %s\n' "${missing[*]}"
        without_main_cluster
        # It waits for another apt instead of failing beside it, and never asks.
        as_root '' env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
            apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
            -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "${missing[@]}" \
            </dev/null >"$(log_file packages)" 2>&1 || failed=1
        with_main_cluster
        if [ -n "$failed" ]; then
            tail -n 30 "$(log_file packages)" >&2
            die "could not install ${missing[*]}"
        fi
    fi
}

# Compiler, libraries and server: what `make install` and a server need.
ensure_build_packages() {
    ensure_packages make g++ libfmt-dev libboost-dev postgresql-%V postgresql-server-dev-%V "$@"
}

# Debian starts a cluster on port 5432 with the first PostgreSQL package: nobody asked for one. Only
# while we install: the next PostgreSQL on this machine is set up as Debian means it.
cluster_conf=/etc/postgresql-common/createcluster.conf
cluster_conf_is_ours=

without_main_cluster() {
    [ ! -e $cluster_conf ] && [ ! -e /usr/share/postgresql-common ] || return 0
    cluster_conf_is_ours=1
    as_root '' mkdir -p "${cluster_conf%/*}"
    as_root '' sh -c "echo 'create_main_cluster = false' > $cluster_conf"
}

with_main_cluster() {
    [ -n "$cluster_conf_is_ours" ] || return 0
    cluster_conf_is_ours=
    if [ -e "/usr/share/postgresql-common/${cluster_conf##*/}" ]; then
        as_root '' cp "/usr/share/postgresql-common/${cluster_conf##*/}" $cluster_conf
    else
        as_root '' rm -rf "${cluster_conf%/*}"
    fi
}

# Runs a command as root; says what for when it cannot. Keeps the terminal, since sudo may ask.
as_root() {
    local what=$1 sudo=(sudo)
    shift
    if [ "$(id -u)" = 0 ]; then
        "$@"
        return
    fi
    command -v sudo >/dev/null ||
        die "neither root nor sudo here; as root, please: apt-get ${what:-$*}"
    [ -t 0 ] || sudo=(sudo -n)
    "${sudo[@]}" "$@" || die "sudo refused; as root, please: apt-get ${what:-$*}"
}

apt_refresh() {
    [ -z "$apt_is_fresh" ] || return 0
    as_root update apt-get update -qq -o DPkg::Lock::Timeout=300 </dev/null >"$(log_file apt-update)" 2>&1 ||
        { tail -n 5 "$(log_file apt-update)" >&2; die "apt-get update failed"; }
    apt_is_fresh=1
}

# PG_MAJOR: of PG_CONFIG if it answers, else the one this Debian ships.
find_major() {
    local config=${PG_CONFIG:-pg_config}
    pg_is_foreign=
    if PG_MAJOR=$("$config" --version 2>/dev/null); then
        PG_MAJOR=$(major_of "$PG_MAJOR")
        case $("$config" --bindir) in /usr/lib/postgresql/*) ;; *) pg_is_foreign=1 ;; esac
    elif [[ $config =~ ^/usr/lib/postgresql/([0-9]+)/bin/pg_config$ ]]; then
        PG_MAJOR=${BASH_REMATCH[1]}
    elif [ -n "${PG_CONFIG:-}" ]; then
        die "PG_CONFIG=$PG_CONFIG does not run"
    else
        apt_refresh
        PG_MAJOR=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p')
        [ -n "$PG_MAJOR" ] || die "apt knows no package postgresql"
    fi
}

# PG_CONFIG, PG_MAJOR: exact from here on, whatever /usr/bin/pg_config would choose.
find_postgres() {
    find_major
    if [ -z "$pg_is_foreign" ] && [ -x "/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" ]; then
        PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
    else
        PG_CONFIG=$(command -v "${PG_CONFIG:-pg_config}") || die "no pg_config: set PG_CONFIG"
    fi
    export PG_CONFIG PG_MAJOR
}

# "PostgreSQL 15.20 (Debian ...)" is 15.
major_of() {
    [[ $1 =~ ([0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# --- Steps -------------------------------------------------------------------------------------------

# The file that a step's output goes to; make_tmp comes before.
log_file() {
    printf '%s/log/%s.log' "$ATTRIBUTION_TMP" "$1"
}

# Runs a command in a process group of its own, without standard input, and returns its exit code. bash
# runs traps only between commands, but interrupts `wait`: so a signal ends the step at once, and
# cleanup takes the whole group with it. Use it for whatever takes longer than a second.
step() {
    local code=0
    set -m
    "$@" </dev/null &
    step_pid=$!
    set +m
    wait "$step_pid" || code=$?
    step_pid=
    return $code
}

# --- Build -------------------------------------------------------------------------------------------

# Builds in the tree, for PG_CONFIG. Objects of another major or compiler would be taken for up to date
# by make, so what they were built for is kept beside them.
build() {
    make_tmp
    find_postgres
    step build_locked all >"$(log_file build)" 2>&1 || { cat "$(log_file build)" >&2; die "the build failed"; }
}

build_locked() {
    locked build_unlocked "$@"
}

build_unlocked() {
    local stamp=$ATTRIBUTION_ROOT/build/pgxs-built-for now
    now=$("$PG_CONFIG" --version && printf '%s %s' "${CXX:-}" "${WERROR:-}")
    if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$now" ]; then
        extension_make clean && mkdir -p "${stamp%/*}" && printf '%s\n' "$now" >"$stamp" || return
    fi
    extension_make -j"$(nproc)" "$@"
}

# Runs a command while no other run of this clone builds in the tree.
# shellcheck disable=SC2094 # the descriptor is the directory, only to lock
locked() (
    flock 9
    "$@" 9<&-
) 9<"$ATTRIBUTION_ROOT"

# The file of the library, attribution-INTERFACE.so, as attribution.control names it.
library_file() {
    sed -n "s|^module_pathname *= *'\$libdir/\(.*\)'|\1.so|p" "$ATTRIBUTION_ROOT/attribution.control"
}

# make as PGXS wants it: the same PostgreSQL and compiler in every call.
extension_make() {
    make -s -C "$ATTRIBUTION_ROOT" PG_CONFIG="$PG_CONFIG" with_llvm=no ${CXX:+CXX="$CXX"} ${WERROR:+WERROR="$WERROR"} "$@"
}

# --- Prefix ------------------------------------------------------------------------------------------

# ATTRIBUTION_TMP, made on first need: short enough for a socket, open enough for the server's user.
make_tmp() {
    [ -z "${ATTRIBUTION_TMP:-}" ] || return 0
    local base
    for base in "${TMPDIR:-/tmp}" /tmp; do
        # A unix socket's path has 107 bytes, of which /attribution.XXXXXX/server.XXXXXX/s/.s.PGSQL.5432.lock takes 56.
        if [ ${#base} -le 50 ] && server_can_enter "$base"; then
            ATTRIBUTION_TMP=$(mktemp -d "$base/attribution.XXXXXX")
            break
        fi
    done
    [ -n "${ATTRIBUTION_TMP:-}" ] || die "neither TMPDIR nor /tmp is a directory the server can use"
    tmp_owner=$BASHPID
    if [ "$(id -u)" = 0 ]; then chmod 755 "$ATTRIBUTION_TMP"; fi
    mkdir "$ATTRIBUTION_TMP/log"
    export ATTRIBUTION_TMP
}

# Before the package is there the user is not either: then nobody's eyes are as good.
server_can_enter() {
    [ "$(id -u)" = 0 ] || { [ -w "$1" ]; return; }
    local user=postgres
    id -u postgres >/dev/null 2>&1 || user=nobody
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups test -x "$1"
}

# as_server: the words that run a command as the server's user.
find_server_user() {
    as_server=()
    [ "$(id -u)" != 0 ] || as_server=(setpriv --reuid=postgres --regid=postgres --init-groups --reset-env)
}

# Makes the prefix and puts the extension into it. Once per run, also when suites ask again.
prefix_make() {
    make_tmp
    [ -n "${PG_BIN:-}" ] && [ -d "$PG_BIN" ] && return 0
    find_postgres
    prefix_fill
    build
    prefix_install
    prefix_keep
    PG_BIN=$prefix_bin
    export PG_BIN PATH="$PG_BIN:$PATH"
}

# prefix_add PG_CONFIG: another PostgreSQL in the prefix, with the extension in it; prefix_bin is where its programs
# are. It is built beside the tree, unless a run before it has left what it installed in ATTRIBUTION_BUILT.
prefix_add() {
    local PG_CONFIG=$1 PG_MAJOR tree
    PG_MAJOR=$(major_of "$("$1" --version)")
    tree=$ATTRIBUTION_TMP/tree.$PG_MAJOR
    prefix_fill
    if [ -n "${ATTRIBUTION_BUILT:-}" ] && [ -e "$ATTRIBUTION_BUILT$("$1" --pkglibdir)/$(library_file)" ]; then
        cp -a --remove-destination "$ATTRIBUTION_BUILT/." "$ATTRIBUTION_TMP"
        return
    fi
    mkdir "$tree"
    tar --create --directory "$ATTRIBUTION_ROOT" --exclude=./.git --exclude=./build --exclude='*.o' --exclude='*.so' . | tar --extract --directory "$tree"
    local ATTRIBUTION_ROOT=$tree
    build
    prefix_install
    prefix_keep
}

# Leaves what was built for a run that comes after this one.
prefix_keep() {
    [ -z "${ATTRIBUTION_BUILT:-}" ] || step build_locked install DESTDIR="$ATTRIBUTION_BUILT" >"$(log_file built)" 2>&1
}

# Puts the server of PG_CONFIG into the prefix, all but the extension. prefix_bin is where its programs are.
prefix_fill() {
    local t=$ATTRIBUTION_TMP bin lib share
    bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir)
    [ -x "$bin/postgres" ] || die "no server beside $PG_CONFIG: install postgresql-$PG_MAJOR"
    mkdir -p "$t$bin" "$t$lib" "$t$share/extension"
    cp -p "$bin"/* "$t$bin"
    link_entries "$lib" "$t$lib"
    link_entries "$share" "$t$share"
    link_entries "$share/extension" "$t$share/extension"
    prefix_bin=$t$bin
}

# Links all but directories that are there already and what an installed version of ours left.
link_entries() {
    local entry name
    for entry in "$1"/*; do
        name=${entry##*/}
        case $name in attribution-*|attribution.control) continue ;; esac
        [ -e "$2/$name" ] || ln -s "$entry" "$2/$name"
    done
}

# Installs the built extension (again) into the prefix.
prefix_install() {
    step build_locked install DESTDIR="$ATTRIBUTION_TMP" >"$(log_file install)" 2>&1 ||
        { cat "$(log_file install)" >&2; die "make install failed"; }
}

# --- Server ------------------------------------------------------------------------------------------

# Starts a server of a new, empty cluster; arguments are lines for postgresql.conf, the last one wins.
# Without fsync: a throwaway cluster need not survive the machine. Shared memory in the cluster's own
# directory: it goes with it, even after a SIGKILL. A benchmark says 'fsync = on',
# 'full_page_writes = on', 'dynamic_shared_memory_type = posix'.
server_start() {
    [ -z "$server_pid" ] || die "server_start: one server per process; server_stop first"
    prefix_make
    find_server_user
    local dir line
    server_make_directory
    dir=$server_dir server_dir=
    # The server's user may not be able to enter the directory we are in.
    # initdb, killed, leaves shared memory behind, so a signal waits for its end.
    step_signal=
    step in_directory "$dir" "${as_server[@]}" "$PG_BIN/initdb" -D "$dir/data" -U postgres --auth=trust \
        --no-locale --encoding=UTF8 --no-sync --no-instructions >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    step_signal=TERM
    {
        cat <<CONF
listen_addresses = ''
unix_socket_directories = '$dir/s'
port = 5432
fsync = off
full_page_writes = off
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %a '
timezone = 'UTC'
log_timezone = 'UTC'
CONF
        for line; do printf '%s\n' "$line"; done
    } >>"$dir/data/postgresql.conf"
    server_dir=$dir
    export PGHOST=$dir/s PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    server_run
}

# The directory of a new server, which server_dir is from now on: empty data, s for its socket, log.
server_make_directory() {
    server_dir=$(mktemp -d "$ATTRIBUTION_TMP/server.XXXXXX")
    chmod 755 "$server_dir"
    mkdir -m 700 "$server_dir/data" "$server_dir/s" # nobody else on the machine may connect: there is no password
    : >"$server_dir/log"
    server_owns "$server_dir"
}

# Gives what is there to the server's user, if that is not us.
server_owns() {
    find_server_user
    if [ ${#as_server[@]} -gt 0 ]; then chown -R postgres: "$@"; fi
}

# Runs a client program as the server's user: what it writes, such as a base backup, is the server's to use.
server_client() {
    step in_directory "$server_dir" "${as_server[@]}" env PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER="$PGUSER" "$PG_BIN/$1" "${@:2}"
}

# Starts another server from a base backup, of which it is a copy; arguments after it are lines for postgresql.conf.
# The server that was known before is to be parked.
server_start_from() {
    local backup=$1 line
    shift
    [ -z "$server_pid" ] || die "server_start_from: one server per process; server_park first"
    server_make_directory
    cp -a "$backup/." "$server_dir/data"
    for line in "unix_socket_directories = '$server_dir/s'" "$@"; do printf '%s\n' "$line"; done >>"$server_dir/data/postgresql.conf"
    export PGHOST=$server_dir/s
    server_run
}

# A process knows one server at a time: server_park NAME leaves it running under that name, and server_use NAME is it
# again.
declare -A server_parked=()
server_park() {
    server_parked[$1]=$server_pid:$server_dir
    server_pid='' server_dir=''
}
server_use() {
    IFS=: read -r server_pid server_dir <<<"${server_parked[$1]}"
    export PGHOST=$server_dir/s
}

# Starts the server of server_dir (again, after server_stop keep). A plain child instead of pg_ctl's
# daemon: its pid is known from the first moment on, so that no signal finds us without it.
server_run() {
    local words=("${as_server[@]}") started=$SECONDS
    # shellcheck disable=SC2206 # words
    if [ -n "${ATTRIBUTION_SERVER_ENV:-}" ]; then words+=(env $ATTRIBUTION_SERVER_ENV); fi
    words+=("$PG_BIN/postgres" -D "$server_dir/data")
    pushd "$server_dir" >/dev/null || exit 1
    set -m # a group of its own: a terminal's Ctrl-C is for us, not for the server
    "${words[@]}" </dev/null >>"$server_dir/log" 2>&1 &
    server_pid=$!
    set +m
    popd >/dev/null || exit 1
    until "$PG_BIN/pg_isready" -q -d postgres; do
        kill -0 "$server_pid" 2>/dev/null || { tail -n 20 "$server_dir/log" >&2; server_pid=; die "the server did not start"; }
        [ $((SECONDS - started)) -lt 60 ] || { tail -n 20 "$server_dir/log" >&2; die "no server after 60 s"; }
        sleep 0.05
    done
}

# Stops this process's server and removes its cluster; `server_stop keep` leaves the cluster for
# server_run. MODE: fast (default) or immediate, as pg_ctl calls them.
server_stop() {
    local keep='' mode=INT word
    for word; do
        case $word in
            keep) keep=1 ;;
            fast) mode=INT ;;
            immediate) mode=QUIT ;;
            *) die "server_stop: unknown word $word" ;;
        esac
    done
    [ -n "$server_pid" ] || return 0
    kill -"$mode" "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
    if [ -z "$keep" ]; then
        rm -rf "$server_dir"
        server_dir=
    fi
}

# Lets the server and the directory outlive this process; `server_leave` prints how to end them.
server_leave() {
    printf 'kill -INT %s; while kill -0 %s 2>/dev/null; do sleep 0.1; done; rm -rf %s\n' \
        "$server_pid" "$server_pid" "$ATTRIBUTION_TMP"
    disown "$server_pid" 2>/dev/null || true
    server_pid=
    tmp_owner=
}

in_directory() {
    cd "$1" && shift && "$@"
}

# An empty database NAME to connect to, with what the arguments after it say, e.g. the extension:
#   fresh_database shop 'CREATE EXTENSION attribution'
fresh_database() {
    local name=$1 statement
    shift
    PGOPTIONS='-c client_min_messages=warning' psql -Xqd postgres -v ON_ERROR_STOP=1 \
        -c "DROP DATABASE IF EXISTS \"$name\" (FORCE)" -c "CREATE DATABASE \"$name\" TEMPLATE template0"
    export PGDATABASE=$name
    for statement; do psql -Xqv ON_ERROR_STOP=1 -c "$statement"; done
}

# --- The end -----------------------------------------------------------------------------------------

# Ends the running step and the server and removes the directory. Safe to call at any moment, twice too.
cleanup() {
    local code=$? data pid
    trap '' INT TERM HUP
    set +e
    if [ -n "$step_pid" ]; then
        end_process "-$step_pid" "$step_signal"
        step_pid=
    fi
    with_main_cluster
    server_stop immediate
    rm -rf "${also_remove[@]}"
    if [ -n "${ATTRIBUTION_TMP:-}" ] && [ "$tmp_owner" = "$BASHPID" ]; then
        # A suite that was killed could not stop its server.
        for data in "$ATTRIBUTION_TMP"/server.*/data; do
            if pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ]; then
                end_process "$pid" QUIT
            fi
        done
        rm -rf "$ATTRIBUTION_TMP"
        unset ATTRIBUTION_TMP PG_BIN
        tmp_owner=
    fi
    return $code
}

# Signals a process, or with a minus before it its group, and waits for its end, at most 10 seconds.
end_process() {
    local deadline=$((SECONDS + 10))
    kill -"${2:-0}" -- "$1" 2>/dev/null || return 0
    while [ $SECONDS -lt $deadline ]; do
        kill -0 -- "$1" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL -- "$1" 2>/dev/null
    return 0
}

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- What a suite says -------------------------------------------------------------------------------
# A suite is a program that prints one line per test and exits non-zero if one was not kept:
#   ok - text      is GOT WANT text      skip text      not_ok text      same WANTED GOT text (two files)
# wait_for SECONDS QUERY waits until the suite's own `ask QUERY` prints t.

suite_failed=

ok() { printf 'ok - %s\n' "$*"; }
skip() { printf 'skip - %s\n' "$*"; }

not_ok() {
    printf 'not ok - %s\n' "$*"
    suite_failed=1
}

is() {
    if [ "$1" = "$2" ]; then
        ok "$3"
    else
        not_ok "$3"
        diff -u <(printf '%s\n' "$2") <(printf '%s\n' "$1") | sed '1,2d; s/^/#   /' || true
    fi
}

same() {
    if diff -U 0 "$1" "$2" >"$2.diff"; then
        ok "$3"
    else
        not_ok "$3"
        sed '1,2d; s/^/#   /' "$2.diff" | cut -c1-400 | head -n 40
    fi
}

wait_for() {
    local deadline=$((SECONDS + $1))
    until [ "$(ask "$2" 2>&1)" = t ]; do
        [ $SECONDS -lt $deadline ] || { not_ok "within $1 s: $2"; return 0; }
        sleep 0.05
    done
}

# The last line of a suite.
suite_end() {
    [ -z "$suite_failed" ] || exit 1
    exit 0
}
