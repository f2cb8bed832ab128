#!/usr/bin/env bash
# msgpackr writes whole numbers beyond 32 bits as floating point, so a timestamp arrives as one.
#
# Software:  npm msgpackr 2.1.4 (November 2026); @msgpack/msgpack 3.1.3 and notepack.io 3.0.1
#            beside it; read by python3-msgpack 1.0.3-2+b1 (Debian 12).
# Behaviour: MessagePack has 64-bit integers, and the two others use them for every whole number
#            that JavaScript holds exactly. msgpackr does so for BigInt only: a number from 2^32
#            on (or below -2^31) becomes a float64. The value is right and JavaScript sees no
#            difference, but a typed reader does: the type of one field changes with its size, and
#            milliseconds since 1970 are always beyond. Python gets a float, which it prints with
#            ".0" and cannot use as an index; stricter readers refuse it for an integer field.
# Seen:      4294967295 is an int from all three; 4294967296 and 1700000000000 are a float from
#            msgpackr and an int from the two others; 1700000000000n is an int from msgpackr.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent \
  msgpackr@2.1.4 @msgpack/msgpack@3.1.3 notepack.io@3.0.1
cd "$dir"
apt-get download -qq python3-msgpack=1.0.3-2+b1
dpkg-deb -x python3-msgpack_*.deb .

cat >pack.mjs <<'JS'
import { encode } from '@msgpack/msgpack'
import { pack } from 'msgpackr'
import notepack from 'notepack.io'

const show = (name, bytes) => console.log(name, Buffer.from(bytes).toString('hex'))
for (const number of [4294967295, 4294967296, 1700000000000]) {
  show('msgpackr', pack(number))
  show('@msgpack/msgpack', encode(number))
  show('notepack.io', notepack.encode(number))
}
show('msgpackr,BigInt', pack(1700000000000n))
JS
cat >read.py <<'PY'
import msgpack, sys

for name, data in map(str.split, sys.stdin):
    print(name, data, repr(msgpack.unpackb(bytes.fromhex(data))))
PY
node pack.mjs | PYTHONPATH=$dir/usr/lib/python3/dist-packages /usr/bin/python3 read.py | tee seen
diff - seen <<'WANT' && echo "as described"
msgpackr ceffffffff 4294967295
@msgpack/msgpack ceffffffff 4294967295
notepack.io ceffffffff 4294967295
msgpackr cb41f0000000000000 4294967296.0
@msgpack/msgpack cf0000000100000000 4294967296
notepack.io cf0000000100000000 4294967296
msgpackr cb4278bcfe56800000 1700000000000.0
@msgpack/msgpack cf0000018bcfe56800 1700000000000
notepack.io cf0000018bcfe56800 1700000000000
msgpackr,BigInt d30000018bcfe56800 1700000000000
WANT
