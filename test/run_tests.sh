#!/usr/bin/env bash
# run_tests.sh - scripts/run-tests counts rightly whatever a program does, refuses what it cannot run
# with, and leaves nothing running behind it.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0
ok() { echo "ok run-tests: $1"; }
not_ok() {
    echo "not ok run-tests: $1: $2"
    bad=1
}

# sums NAME LINE STATUS BODY: a program of that text alone
sums() {
    local got status
    printf '%s\n' "$4" >"$dir/$1"
    chmod +x "$dir/$1"
    got=$(scripts/run-tests "$(realpath --relative-to=. "$dir")/$1" 2>&1)
    status=$?
    [ "$(tail -n 1 <<<"$got")" = "$2" ] && [ $status = "$3" ] && ok "$1" || not_ok "$1" "status $status: $got"
}
sums all_well.sh '2 passed, 0 failed, 1 skipped' 0 'echo ok a; echo ok b; echo skip c'
sums failed.sh '1 passed, 1 failed, 0 skipped' 1 'echo ok a; echo not ok b; exit 1'
sums status_alone.sh '1 passed, 1 failed, 0 skipped' 1 'echo ok a; exit 3'
sums silent.sh '0 passed, 1 failed, 0 skipped' 1 ':'
sums killed.sh '1 passed, 1 failed, 0 skipped' 1 'echo ok a; kill -SEGV $$'
# cmocka's words: whole; cut in the middle, with the status of a program that went well
run='[==========] Running 2 test(s).' over='[==========] 2 test(s) run.' passed='[  PASSED  ] 2 test(s).'
sums whole '2 passed, 0 failed, 0 skipped' 0 $'#!/bin/sh\n'"echo '$run'; echo '$over'; echo '$passed'"
sums cut '2 passed, 1 failed, 0 skipped' 1 $'#!/bin/sh\n'"echo '$run'; echo '$over'; echo '$passed'; echo '$run'"
got=$(scripts/run-tests build/no_such_test 2>&1)
[ $? = 1 ] && grep -q 'is not there' <<<"$got" && ok 'a program that was not built' || not_ok 'a program that was not built' "$got"

for number in TEST_JOBS=0 TEST_JOBS=-1 TEST_JOBS=many TEST_LIMIT=0 TEST_LIMIT=1h; do
    got=$(env "$number" timeout 20 scripts/run-tests "$dir/all_well.sh" 2>&1)
    [ $? = 1 ] && [ "$got" = "run-tests: $number: must be a whole number from 1 to 999999" ] && ok "$number" || not_ok "$number" "$got"
done

# one that is ended takes what it runs with it
printf 'echo $$ >%q\nsleep 600 &\necho $! >>%q\nwait\n' "$dir/pids" "$dir/pids" >"$dir/slow.sh"
scripts/run-tests "$dir/slow.sh" >"$dir/out" 2>&1 &
for _ in $(seq 100); do
    [ "$(wc -l 2>/dev/null <"$dir/pids")" = 2 ] && break
    sleep 0.1
done
kill -TERM $!
wait $!
status=$?
left=$(for _ in $(seq 50); do kill -0 $(cat "$dir/pids") 2>/dev/null || break; sleep 0.1; done
    for pid in $(cat "$dir/pids"); do kill -0 "$pid" 2>/dev/null && echo "$pid"; done)
[ $status = 143 ] && [ -z "$left" ] && ok 'ended: nothing is left running' || not_ok 'ended' "status $status, left: $left"
# shellcheck disable=SC2086 # numbers are words
[ -z "$left" ] || kill -KILL $left
exit $bad
