#!/usr/bin/env bash
# Sets up, builds and starts the canvas demo, from a fresh clone: the page, the server and a few moving bots.
# usage: examples/run.sh [--bots N] [arguments of muster_server]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build/examples-release
mkdir -p "$build"

quietly() {
  local what=$1 log=$2
  shift 2
  echo "$what (log: $log)"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "examples/run.sh: $what failed" >&2
    exit 1
  fi
}

cmake/install-deps.sh
quietly "configuring the examples" "$build/configure.log" cmake --preset examples-release
quietly "building the examples" "$build/build.log" cmake --build --preset examples-release --target muster_server \
  --parallel "$(nproc)"
exec "$build/examples/server/muster_server" --static examples/canvas --auth anonymous "$@"
