#!/usr/bin/env bash
# Builds and runs the benches, from a fresh clone: the core in memory, then muster over the network beside the least that
# fan-out can cost (a bare epoll server) and a plain websocketpp broadcast server, side by side in one table.
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
# What the core costs without sockets comes first: half a minute. Its curve is drawn beside the others.
case " $* " in
  *" --only"*) ;;
  *" --quick "*) "$build"/tests/bench/core/muster_bench_core --quick --json "$build"/core.json ;;
  *) "$build"/tests/bench/core/muster_bench_core --json "$build"/core.json ;;
esac
exec node tests/bench/run.mjs --build "$build" "$@"
