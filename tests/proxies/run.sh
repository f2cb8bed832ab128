#!/usr/bin/env bash
# Proxies that others wrote before muster_server, each as examples/proxies configures it, from a fresh clone. The last line is
# the count.
# usage: tests/proxies/run.sh [part of a proxy's name...]      all by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=cmake/quietly.sh
. cmake/quietly.sh

server=build/dev
build=build/proxies
cmake/install-deps.sh --tests --proxies
mkdir -p "$build"
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
quietly "configuring the server" "$build/configure.log" cmake --preset dev
quietly "building the server" "$build/build.log" cmake --build "$server" --target muster_server --parallel "$(nproc)"

cp tests/proxies/*.mjs tests/integration/{support.mjs,certificates.mjs,package.json,package-lock.json} "$build"
quietly "fetching the client" "$build/npm.log" npm --prefix "$build" ci --no-audit --no-fund

status=0
export MUSTER_ONLY="$*" MUSTER_SERVER=$PWD/$server/examples/server/muster_server MUSTER_CANVAS=$PWD/examples/canvas
export MUSTER_PROXIES=${MUSTER_PROXIES:-$PWD/examples/proxies}
(cd "$build" && timeout --kill-after=10 600 node --test --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination=result.tap proxies_test.mjs) || status=$?

counted() { sed -n "s/^# $1 //p" "$build/result.tap"; }
passed=$(counted pass)
failed=$(($(counted fail) + $(counted cancelled)))
[ "$(counted skipped)" = 0 ] || echo "$(counted skipped) skipped"
echo "${passed:-0} passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ] && [ "${passed:-0}" -gt 0 ]
