# shellcheck shell=bash disable=SC2154
# Cutting commands off in their middle: a library to source after test/server.sh, while a server of this process runs.
#
# A command is a function NAME that works in database `faults`. prepare_NAME makes the state before it, undone_NAME
# prints what must be as before when it was cut off, and is_done prints `complete` when all of it was done. `work` is
# a directory that the server may enter.
#
#   killed NAME        kill -9 at several moments
#   on_a_full_disk NAME...

# --- kill -9 ------------------------------------------------------------------------------------------

# Milliseconds that the command takes when nobody disturbs it.
duration_of() {
    local started
    "prepare_$1"
    started=${EPOCHREALTIME/./}
    "$1"
    printf '%d' $(((${EPOCHREALTIME/./} - started) / 1000))
}

# Ends the server's processes of a command after some milliseconds; true when the command was ended by it.
cut_off() {
    local command=$1 after=$2 pid
    PGAPPNAME=victim "$command" >"$work/cut" 2>&1 &
    local client=$!
    sleep "$(printf '%d.%03d' $((after / 1000)) $((after % 1000)))"
    pid=$(PGAPPNAME=killer psql -XqAtd postgres -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'victim' LIMIT 1" 2>/dev/null || true)
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    local code=0
    wait "$client" || code=$?
    until psql -Xqd postgres -c 'SELECT 1' >/dev/null 2>&1; do sleep 0.02; done
    [ "$code" != 0 ]
}

killed() {
    local command=$1 took step cut=0 undone wrong=''
    took=$(duration_of "$command")
    is "$(is_done)" complete "$command: undisturbed it completes"
    for step in 1 2 3 4; do
        "prepare_$command"
        undone=$("undone_$command")
        if cut_off "$command" $((took * step / 5)); then
            # The kill may come after the COMMIT, when only the answer is lost: then all must be there.
            if [ "$("undone_$command")" = "$undone" ]; then
                cut=$((cut + 1))
                "$command" >"$work/again" 2>&1 || wrong="$wrong not done again: $(head -n 1 "$work/again")"
            fi
        fi
        [ "$(is_done)" = complete ] || wrong="$wrong incomplete after $((took * step / 5)) ms;"
    done
    is "$wrong" '' "$command: killed at $cut of 4 moments it is undone, and the same command completes"
    if [ "$cut" = 0 ]; then not_ok "$command: no kill came in its middle"; fi
}

# --- A full disk --------------------------------------------------------------------------------------

# The database's files are in a tablespace of some megabytes, the log of the server elsewhere: a full disk
# under the log stops the server, which is another story.
on_a_full_disk() {
    local disk=$work/disk command
    trap 'if [ -n "$mounted" ]; then server_stop immediate; umount -l "$mounted"; fi; cleanup' EXIT
    mkdir "$disk"
    if ! mount -t tmpfs -o size=64m,mode=755 tmpfs "$disk" 2>/dev/null; then
        skip 'a full disk: this user may not mount one'
        return
    fi
    mounted=$disk
    mkdir "$disk/space"
    if [ ${#as_server[@]} -gt 0 ]; then chown postgres: "$disk" "$disk/space"; fi
    psql -Xqd postgres -v ON_ERROR_STOP=1 -c "CREATE TABLESPACE small LOCATION '$disk/space'"
    for command; do full_disk "$command"; done
    psql -Xqd postgres -c 'DROP DATABASE faults' -c 'DROP TABLESPACE small'
    umount "$disk"
    mounted=
}
mounted= # what must be unmounted before the directory can be removed

full_disk() {
    local command=$1 undone left full=0 wrong='' failed=''
    for left in 40 400 1200 2400; do
        "prepare_$command"
        psql -Xqd postgres -v ON_ERROR_STOP=1 -c 'ALTER DATABASE faults SET TABLESPACE small'
        undone=$("undone_$command")
        psql -Xqd postgres -c CHECKPOINT
        dd if=/dev/zero of="$mounted/filler" bs=1k count=$(($(df --output=avail -k "$mounted" | tail -n 1) - left)) status=none
        failed=''
        "$command" >"$work/full" 2>&1 || failed=1
        rm "$mounted/filler"
        if [ -n "$failed" ]; then
            full=$((full + 1))
            grep -q 'No space left on device' "$work/full" || wrong="$wrong $(head -n 1 "$work/full");"
            [ "$("undone_$command")" = "$undone" ] || wrong="$wrong half there;"
            "$command" >"$work/again" 2>&1 || wrong="$wrong not done again: $(head -n 1 "$work/again")"
        fi
        [ "$(is_done)" = complete ] || wrong="$wrong incomplete;"
    done
    is "$wrong" '' "$command: on a disk that was full $full times it is undone, and completes when there is space"
    if [ "$full" = 0 ]; then not_ok "$command: the disk was never full"; fi
}
