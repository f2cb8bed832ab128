#!/usr/bin/env bash
# Sets up, builds and runs the tests, from a fresh clone. The last line is the count.
# usage: tests/run.sh [preset] [ctest arguments]      preset: dev (default), asan, tsan, header-only, release, clang, cxx20
# MUSTER_TEST_SUITES="unit;contract" in the environment: these folders of tests/ alone, and no examples.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

preset=dev
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  preset=$1
  shift
fi
build=build/$preset
jobs=$(nproc)

# ThreadSanitizer of g++ 12 and clang 14 cannot start where the kernel randomises more bits of addresses than this.
as_is=()
if [ "$preset" = tsan ] && [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 28 ]; then
  as_is=(setarch --addr-no-randomize)
fi

# What was compiled in one checkout serves another: paths count from the root.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

cmake/install-deps.sh --tests
mkdir -p "$build"

suites=("-DMUSTER_TEST_SUITES=${MUSTER_TEST_SUITES:-}")
[ -z "${MUSTER_TEST_SUITES:-}" ] || suites+=(-DMUSTER_BUILD_EXAMPLES=OFF)
quietly "configuring $preset" "$build/configure.log" cmake --preset "$preset" "${suites[@]}"
grep -E '^-- muster: ' "$build/configure.log" | sed 's/^-- //' || true
quietly "building $preset" "$build/build.log" "${as_is[@]}" cmake --build --preset "$preset" --parallel "$jobs"

echo "testing $preset"
status=0
"${as_is[@]}" ctest --preset "$preset" --parallel "$jobs" "$@" >"$build/ctest.log" 2>&1 || status=$?

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
