#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a time, as many at once as there are processors. A line for each, then the count.
# usage: tests/fuzz/run.sh [seconds] [target...]      60 seconds and all targets by default
# What a target has learned and what it found stay in build/fuzz/NAME/ (corpus, findings, log).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

seconds=60
if [ $# -gt 0 ] && [[ $1 =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
build=build/fuzz
all=()
for source in tests/fuzz/*_target.cpp; do
  name=${source##*/}
  all+=("${name%_target.cpp}")
done
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [[ " ${all[*]} " == *" $target "* ]] || { echo "tests/fuzz/run.sh: no target $target; there are ${all[*]}" >&2; exit 2; }
done

export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
export ASAN_OPTIONS=malloc_context_size=12 UBSAN_OPTIONS=print_stacktrace=1
cmake/install-deps.sh --tests
mkdir -p "$build"
quietly "configuring fuzz" "$build/configure.log" cmake --preset fuzz
quietly "building fuzz" "$build/build.log" cmake --build --preset fuzz --parallel "$(nproc)" \
  --target "${targets[@]/#/fuzz_}"

# One input may take 5 s, one allocation 64 MiB, the process 1 GiB: what takes more is a finding.
fuzz() {
  local name=$1 home=$build/$1 status=0 started=$SECONDS entropic=1
  # Weighing inputs by what is rare in them costs more than to run them, where there is so much to see.
  [ "$name" != server ] || entropic=0
  mkdir -p "$home/corpus" "$home/findings"
  rm -rf "$home/seeds"
  "$build/tests/fuzz/fuzz_$name" --write-seeds="$home/seeds" >"$home/log" 2>&1
  timeout --kill-after=10 $((seconds + 120)) "$build/tests/fuzz/fuzz_$name" \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=16384 -len_control=20 -entropic="$entropic" \
    -print_final_stats=1 -artifact_prefix="$home/findings/" "$home/corpus" "$home/seeds" >>"$home/log" 2>&1 || status=$?
  local inputs kept found
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$home/log" | tail -n 1)
  kept=$(sed -n 's/^#[0-9]*\tDONE *cov: \([0-9]*\) ft: \([0-9]*\) corp: \([0-9]*\).*/\1 places, \2 features, \3 inputs kept/p' "$home/log")
  if [ "$status" -eq 0 ]; then
    echo "$name: passed after $((SECONDS - started)) s, ${inputs:-?} inputs, ${kept:-nothing learned}"
    return 0
  fi
  found=$(sed -n "s/.*Test unit written to //p" "$home/log" | tail -n 1)
  echo "$name: FAILED after $((SECONDS - started)) s: $(grep -m 1 -E '^BROKEN: |runtime error: |^SUMMARY: |^==[0-9]+== *ERROR' "$home/log" || echo "status $status") (log: $home/log)"
  [ -z "$found" ] || echo "  again with: $build/tests/fuzz/fuzz_$name $found"
  return 1
}

echo "fuzzing ${#targets[@]} targets, $seconds s each"
running=0 failed=0
for target in "${targets[@]}"; do
  if [ "$running" -ge "$(nproc)" ]; then
    wait -n || failed=$((failed + 1))
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=$((failed + 1))
  running=$((running - 1))
done
echo "$((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
