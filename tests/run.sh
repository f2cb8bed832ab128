#!/usr/bin/env bash
# Sets up, builds and runs the tests, from a fresh clone. The last line is the count.
# usage: tests/run.sh [preset] [ctest arguments]      preset: dev (default), asan, tsan, header-only, release, clang, cxx20
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=dev
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  preset=$1
  shift
fi
build=build/$preset
jobs=$(nproc)

# quietly <what it is> <log> <command>: one line, and all of the output if it fails.
quietly() {
  local what=$1 log=$2
  shift 2
  echo "$what (log: $log)"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "tests/run.sh: $what failed" >&2
    exit 1
  fi
}

cmake/install-deps.sh --tests
mkdir -p "$build"

if [ -f tests/integration/package.json ]; then
  # npm leaves a copy of the lock file behind: as long as it is the newer one, there is nothing to do.
  installed=tests/integration/node_modules/.package-lock.json
  if [ ! -f "$installed" ] || [ tests/integration/package.json -nt "$installed" ] ||
    [ tests/integration/package-lock.json -nt "$installed" ]; then
    command=install
    [ ! -f tests/integration/package-lock.json ] || command=ci
    quietly "installing the npm packages of the tests" "$build/npm.log" \
      npm --prefix tests/integration "$command" --no-audit --no-fund
  fi
fi

quietly "configuring $preset" "$build/configure.log" cmake --preset "$preset"
grep -E '^-- muster: ' "$build/configure.log" | sed 's/^-- //' || true
quietly "building $preset" "$build/build.log" cmake --build --preset "$preset" --parallel "$jobs"

echo "testing $preset"
status=0
ctest --preset "$preset" --parallel "$jobs" "$@" >"$build/ctest.log" 2>&1 || status=$?

# Each test has one line "  3/17 Test  #5: name ....   Passed    0.05 sec"; what did not pass is shown with its output.
result='^ *[0-9]+/[0-9]+ Test +#[0-9]+: '
count() { grep -cE "$result.*$1" "$build/ctest.log" || true; }
total=$(count '')
passed=$(count ' Passed +[0-9.]+ sec$')
skipped=$(count '\*\*\*(Skipped|Not Run \(Disabled\))')
failed=$((total - passed - skipped))

grep -vE "^ +Start +[0-9]+: |$result.* Passed +[0-9.]+ sec$|^Test project |^$|^Label Time|sec\*proc|tests passed,|^Errors while" \
  "$build/ctest.log" || true
if [ "$total" -eq 0 ]; then
  echo "tests/run.sh: no test ran; see $build/ctest.log" >&2
  exit 1
fi
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
# Both say the same, unless ctest's output has another form than expected: then neither is to be trusted.
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
