#!/usr/bin/env bash
# Clients that others wrote, against muster_server, from a fresh clone. The last line is the count.
# usage: tests/clients/run.sh [part of a client's name...]      all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

server=build/dev
build=build/clients
cmake/install-deps.sh --tests --clients
mkdir -p "$build"
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
quietly "configuring the server" "$build/configure.log" cmake --preset dev
quietly "building the server" "$build/build.log" cmake --build "$server" --target muster_server --parallel "$(nproc)"

cp tests/clients/*.* tests/integration/support.mjs "$build"
home=$PWD/$build
in_build() {
  (cd "$home" && "$@")
}
quietly "fetching the clients of npm" "$build/npm.log" in_build npm ci --no-audit --no-fund
quietly "building the client in Go" "$build/go.log" in_build \
  env GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE="$home/go" go build -o gorilla gorilla.go
quietly "building the client in Java" "$build/java.log" in_build javac Client.java
quietly "building the client of libwebsockets" "$build/lws.log" in_build g++ -std=c++17 lws.cpp -o lws -lwebsockets
quietly "building the client of Beast" "$build/beast.log" in_build g++ -std=c++17 beast.cpp -o beast -pthread

status=0
export MUSTER_CLIENTS="$*" MUSTER_SERVER=$PWD/$server/examples/server/muster_server MUSTER_CANVAS=$PWD/examples/canvas
(cd "$build" && timeout --kill-after=10 600 node --test --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination=result.tap clients_test.mjs) || status=$?

counted() { sed -n "s/^# $1 //p" "$build/result.tap"; }
passed=$(counted pass)
failed=$(($(counted fail) + $(counted cancelled)))
[ "$(counted skipped)" = 0 ] || echo "$(counted skipped) skipped"
echo "${passed:-0} passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ] && [ "${passed:-0}" -gt 0 ]
