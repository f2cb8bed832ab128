#!/usr/bin/env bash
# Sets up, builds and starts the canvas demo, from a fresh clone: the page, the server and a few moving bots.
# usage: examples/run.sh [flags of muster_server, e.g. --port 9000 --bots 10]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

build=build/examples-release
mkdir -p "$build"

# given <flag> <arguments>: whether the flag is among them.
given() {
  local flag=$1 argument
  shift
  for argument in "$@"; do
    case "$argument" in "$flag" | "$flag="*) return 0 ;; esac
  done
  return 1
}

arguments=()
given --static "$@" || arguments+=(--static examples/canvas)
if ! given --auth "$@"; then
  arguments+=(--auth anonymous)
  given --bots "$@" || arguments+=(--bots 3)
fi

cmake/install-deps.sh
quietly "configuring the examples" "$build/configure.log" cmake --preset examples-release
quietly "building the server" "$build/build.log" cmake --build --preset examples-release --target muster_server \
  --parallel "$(nproc)"
# The server says where it listens, and stays in the foreground: Ctrl-C ends it.
exec "$build/examples/server/muster_server" "${arguments[@]}" "$@"
