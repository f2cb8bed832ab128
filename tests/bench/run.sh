#!/usr/bin/env bash
# Builds and runs the benches, from a fresh clone: the core in memory, then muster over the network beside the least that
# fan-out can cost (a bare epoll server) and a plain websocketpp broadcast server, side by side in one table.
# usage: tests/bench/run.sh [--quick] [--only REGEX] [--repeat COUNT] [--base COMMIT] [--readme]
#   --quick          a few rows, in under a minute          --only REGEX   rows by their title, e.g. 'W=8|held'
#   --repeat COUNT   of each measurement; 3 by default, 1 with --quick
#   --base COMMIT    one more column: muster_server of that commit, built in build/bench-base (or MUSTER_BENCH_BASE)
#   --readme         then writes the figures into README.md, if all that it shows were measured
# MUSTER_PEER="COMMAND" adds the column of any other server. The command is one program with its arguments, which stays
# in its process and listens on 127.0.0.1: at a port that it tells in a line with "listening on http://HOST:PORT", or
# always at MUSTER_PEER_PORT. It lets 9,000 connections upgrade at "/" without more, and relays each text frame to
# everyone, or everyone else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

build=build/bench
base=${MUSTER_BENCH_BASE:-}
readme=
arguments=()
while (($#)); do
  case $1 in
    --base) base=${2:?--base needs a commit}; shift ;;
    --base=*) base=${1#*=} ;;
    --readme) readme=1 ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
set -- "${arguments[@]}"

# Of the commit in $base, in a work tree of its own.
build_base() {
  local commit source=build/bench-base/source
  commit=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "--base: there is no commit $base" >&2; exit 2; }
  git worktree prune
  if [ -e "$source/.git" ]; then
    git -C "$source" checkout --quiet --force --detach "$commit"
  else
    git worktree add --quiet --force --detach "$source" "$commit"
  fi
  quietly "configuring the base, $base" build/bench-base/configure.log \
    env -C "$source" CCACHE_BASEDIR="$PWD/$source" cmake --preset bench
  quietly "building the base, $base" build/bench-base/build.log \
    env -C "$source" CCACHE_BASEDIR="$PWD/$source" \
    cmake --build --preset bench --target muster_server --parallel "$(nproc)"
  set_base=(--base-server "$source/build/bench/examples/server/muster_server" --base-commit "$base")
}

export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
cmake/install-deps.sh --tests
mkdir -p "$build"
quietly "configuring the bench" "$build/configure.log" cmake --preset bench
quietly "building the bench" "$build/build.log" cmake --build --preset bench --parallel "$(nproc)"
set_base=()
[ -z "$base" ] || build_base
# What the core costs without sockets comes first: half a minute. Its curve is drawn beside the others.
case " $* " in
  *" --only"*) ;;
  *" --quick "*) "$build"/tests/bench/core/muster_bench_core --quick --json "$build"/core.json ;;
  *) "$build"/tests/bench/core/muster_bench_core --json "$build"/core.json ;;
esac
node tests/bench/run.mjs --build "$build" "${set_base[@]}" "$@"
[ -z "$readme" ] || node tests/bench/readme.mjs "$build/results.json"
