#!/usr/bin/env bash
# Builds and runs the network bench, from a fresh clone: muster beside the least that fan-out can cost (a bare epoll
# server) and a plain websocketpp broadcast server, side by side in one table.
# usage: tests/bench/run.sh [--quick] [--only REGEX] [--repeat COUNT]
#   --quick          a few rows, in under a minute          --only REGEX   rows by their title, e.g. 'W=8|held'
#   --repeat COUNT   of each measurement; 3 by default, 1 with --quick
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

build=build/bench
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
cmake/install-deps.sh --tests
mkdir -p "$build"
quietly "configuring the bench" "$build/configure.log" cmake --preset bench
quietly "building the bench" "$build/build.log" cmake --build --preset bench --parallel "$(nproc)"
exec node tests/bench/run.mjs --build "$build" "$@"
