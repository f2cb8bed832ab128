#!/usr/bin/env bash
# Sets up, builds and starts the canvas demo, from a fresh clone: the page, the server and a few moving bots.
# usage: examples/run.sh [--bots N] [arguments of muster_server]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

build=build/examples-release
mkdir -p "$build"

cmake/install-deps.sh
quietly "configuring the examples" "$build/configure.log" cmake --preset examples-release
quietly "building the examples" "$build/build.log" cmake --build --preset examples-release --target muster_server \
  --parallel "$(nproc)"
exec "$build/examples/server/muster_server" --static examples/canvas --auth anonymous "$@"
