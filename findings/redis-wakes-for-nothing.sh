#!/usr/bin/env bash
# A blocked XREAD of Redis can be woken with a stream that holds no entries.
#
# Software:  redis-tools 5:7.0.15-1~deb12u10 (Debian 12; the server's program is in it).
# Behaviour: a waiting reader is served when the stream's last id has grown, not when there is an
#            entry to give it. Where an entry is gone again before readers are looked at (XADD and
#            XDEL in one MULTI, or XADD with MAXLEN 0) the reader gets the stream's name with an
#            empty list: neither entries nor the nil of a timeout. The same XREAD without a
#            waiting reader answers nil, so code that takes the first entry of what came back is
#            right in every test without a race, and a reader that takes "not nil" for progress
#            and asks again from the last id it saw stays where it was.
# Seen:      "1) 1) s  2) (empty array)" for the blocked reader in both cases, (nil) for the one
#            that asks afterwards, the latter although the last id is beyond the one it gave.
set -euo pipefail
dir=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq redis-tools=5:7.0.15-1~deb12u10 liblzf1=3.6-3 libjemalloc2=5.3.0-1
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(echo "$dir"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
ln -s redis-check-rdb usr/bin/redis-server
usr/bin/redis-server --port 0 --unixsocket "$dir/socket" --save '' --logfile log &
server=$!

redis() { usr/bin/redis-cli -s "$dir/socket" --no-raw "$@"; }
until_true() {
  for _ in $(seq 200); do
    if "$@"; then return; fi
    sleep 0.05
  done
  echo "timed out: $*" >&2
  exit 2
}
serves() { redis ping >/dev/null 2>&1; }
reader_waits() { redis info clients | grep -q '^blocked_clients:1'; }

until_true serves
woken_by() {
  redis xread block 20000 streams s '$' >reader &
  local reader=$!
  until_true reader_waits
  redis >/dev/null
  wait "$reader"
  cat reader
}
{
  echo "added and deleted at once:"
  woken_by <<<$'multi\nxadd s 5-1 field value\nxdel s 5-1\nexec'
  echo "added with maxlen 0:"
  woken_by <<<$'xadd s maxlen 0 6-1 field value'
  echo "asked afterwards:"
  redis xread streams s 4-1
} | tee seen
diff - seen <<'WANT' && echo "as described"
added and deleted at once:
1) 1) "s"
   2) (empty array)
added with maxlen 0:
1) 1) "s"
   2) (empty array)
asked afterwards:
(nil)
WANT
