#!/bin/bash
# Runs every test with real servers, installing first what is missing; arguments go to mocha (-g PATTERN, FILE).
# Prints why what was skipped was skipped, and last a line of its own: N passed, N failed, N skipped.
# With CI=true a skipped test is a failure. Whatever a test left running or mounted is ended, named, and a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
# shellcheck source=scripts/test/leftovers.sh
. scripts/test/leftovers.sh

LIMIT=3300 # seconds; the suite must fit an hour
run_dir=$(mktemp -d /tmp/sl-test-XXXXXX)
chmod 711 "$run_dir" # a PostgreSQL under test runs as a user of its own
run_dir=$(readlink -f "$run_dir")
export STARLIGHT_TEST_RUN=${run_dir##*-}
export STARLIGHT_TEST_SUMMARY=$run_dir/summary
export TMPDIR=$run_dir/tmp
mkdir -m 1777 "$TMPDIR"
mocha_pid=
timer=
finish() {
  trap - EXIT
  trap '' INT TERM HUP # a second signal (timeout(1) sends two) must not end the cleaning up
  if [ -n "$mocha_pid" ] && kill "$mocha_pid" 2>/dev/null; then
    for _ in $(seq 100); do kill -0 "$mocha_pid" 2>/dev/null && sleep 0.1 || break; done
    kill -9 "$mocha_pid" 2>/dev/null || true
  fi
  if [ -n "$timer" ]; then kill "$timer" 2>/dev/null || true; fi
  end_leftovers "$STARLIGHT_TEST_RUN" "$TMPDIR" >&2 || end_leftovers "$STARLIGHT_TEST_RUN" "$TMPDIR" >&2 || true
  rm -rf --one-file-system "$run_dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

status=0
bin/node node_modules/mocha/bin/mocha.js --reporter ./scripts/test/reporter.ts "$@" </dev/null &
mocha_pid=$!
( # its own timer, so that mocha can be ended with what it has printed kept
  trap 'kill "$sleeper" 2>/dev/null; exit 0' TERM
  sleep "$LIMIT" & sleeper=$!
  wait "$sleeper"
  echo "tests: not done after $LIMIT s, ended" >&2
  kill "$mocha_pid" 2>/dev/null
) &
timer=$!
wait "$mocha_pid" || status=$?
mocha_pid=
kill "$timer" 2>/dev/null || true
wait "$timer" 2>/dev/null || true

wait_for_leftovers "$STARLIGHT_TEST_RUN"
if ! end_leftovers "$STARLIGHT_TEST_RUN" "$TMPDIR"; then status=1; fi
if [ ! -s "$STARLIGHT_TEST_SUMMARY" ]; then
  echo "tests: mocha ended before it was done (status $status)" >&2
  exit "$((status == 0 ? 1 : status))"
fi
if [ "${CI:-}" = true ] && ! grep -q ' 0 skipped$' "$STARLIGHT_TEST_SUMMARY"; then
  echo "tests: in CI nothing may be skipped"
  status=1
fi
cat "$STARLIGHT_TEST_SUMMARY"
exit "$status"
