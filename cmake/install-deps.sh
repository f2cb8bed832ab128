#!/usr/bin/env bash
# Installs what is missing to build muster on Debian or Ubuntu; with --tests also what its tests need, with --clients or
# --proxies what tests/clients or tests/proxies need. Says what it does.
# A tool that is already on PATH, from wherever, is left alone.
set -euo pipefail

usage="usage: cmake/install-deps.sh [--tests] [--clients] [--proxies]"
tests=no clients=no proxies=no
for argument in "$@"; do
  case "$argument" in
    --tests) tests=yes ;;
    --clients) clients=yes ;;
    --proxies) proxies=yes ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) echo "install-deps: unknown argument $argument; $usage" >&2; exit 2 ;;
  esac
done

missing=()

# need_command <command> <packages>: unless the command can be run.
need_command() {
  local command=$1
  shift
  command -v "$command" >/dev/null || missing+=("$@")
}

# need_package <packages>: libraries and headers, which have no command to look for.
need_package() {
  local package
  for package in "$@"; do
    case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" in
      installed) ;;
      *) missing+=("$package") ;;
    esac
  done
}

if ! command -v apt-get >/dev/null; then
  echo "install-deps: there is no apt-get here. Install with this system's packages: g++ >= 12 or clang >= 14, cmake >= 3.21," >&2
  echo "  ninja, pkg-config, Asio, websocketpp 0.8.2, RapidJSON, Catch2, OpenSSL 3, libjwt 1, zlib, CLI11; for the tests: Boost, node, npm, chromium." >&2
  exit 1
fi

need_command g++ g++
need_command cmake cmake
need_command ninja ninja-build
need_command pkg-config pkg-config
need_package libasio-dev libwebsocketpp-dev rapidjson-dev libssl-dev libjwt-dev zlib1g-dev libcli11-dev
if [ "$tests" = yes ]; then
  need_package catch2 libboost-dev
  need_command node nodejs
  need_command npm npm
  need_command chromium chromium
  need_command clang++ clang
  need_command clang-format clang-format
  need_command clang-tidy clang-tidy
  # libFuzzer of the clang that is there, or that comes.
  compgen -G "$(clang++ -print-runtime-dir 2>/dev/null || true)/libclang_rt.fuzzer*.a" >/dev/null || need_package libclang-rt-dev
  need_command openssl openssl
  need_command ccache ccache
  need_command python3 python3
  need_command valgrind valgrind
  need_command objdump binutils
fi

if [ "$clients" = yes ]; then
  need_command node nodejs
  need_command npm npm
  need_command go golang-go
  need_command javac default-jdk-headless
  need_command chromium chromium
  need_command firefox-esr firefox-esr
  need_package python3 python3-websockets python3-aiohttp python3-tornado python3-pyqt5.qtwebsockets libmojolicious-perl \
    golang-github-gorilla-websocket-dev libwebsockets-dev libboost-dev
fi

# Daemons that come with their packages, and are not wanted.
services=()
if [ "$proxies" = yes ]; then
  need_package apache2-bin
  PATH=$PATH:/usr/sbin:/sbin
  for service in nginx haproxy caddy varnish lighttpd; do
    command=$service package=$service
    [ "$service" != nginx ] || package=nginx-light
    [ "$service" != varnish ] || command=varnishd
    command -v "$command" >/dev/null || { missing+=("$package") && services+=("$service"); }
  done
  need_package lighttpd-mod-openssl
fi

if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: nothing is missing"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: not root, and there is no sudo. Run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run <what it is> <command>: shows the output only of what failed.
run() {
  echo "install-deps: $1"
  shift
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "install-deps: this failed: $*" >&2
    exit 1
  fi
}

run "updating the package lists" apt-get update
run "installing ${missing[*]}" apt-get install -y --no-install-recommends "${missing[@]}"
for service in ${services[@]+"${services[@]}"}; do
  echo "install-deps: $service is not to run by itself"
  "${as_root[@]}" service "$service" stop >"$log" 2>&1 || true  # it may not have been started
  "${as_root[@]}" update-rc.d "$service" disable >"$log" 2>&1 || true
done
