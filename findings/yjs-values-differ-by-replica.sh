#!/usr/bin/env bash
# Yjs keeps a Date or a large BigInt as given where it was set, and sends something else.
#
# Software:  npm yjs 13.6.33 with lib0 0.2.120 (releases of September and November 2026).
# Behaviour: Y.Map and Y.Array accept Date and BigInt (others, such as Map, are refused with
#            "Unexpected content type"), but the encoding on the wire has no date, and 64 bits for
#            a BigInt. A Date goes out as an object without fields, a BigInt is cut to its low
#            64 bits and read as signed. Neither side gets an error, and the one that set the
#            value goes on reading what it meant: the replicas hold the same history and different
#            values, for good. Inside plain objects that goes for Map and Set too.
# Seen:      a Date arrives as {}, 2n**63n as -2n**63n, 2n**64n + 5n as 5n, a Map within an
#            object as {}; the state vectors of both documents are equal.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent yjs@13.6.33 lib0@0.2.120
cd "$dir"

cat >check.mjs <<'JS'
import * as Y from 'yjs'

const here = new Y.Doc()
const there = new Y.Doc()
const set = here.getMap('m')
set.set('date', new Date(0))
set.set('2^63', 2n ** 63n)
set.set('2^64+5', 2n ** 64n + 5n)
set.set('nested', { map: new Map([['a', 1]]) })
try {
  set.set('map', new Map())
} catch (error) {
  console.log('a Map by itself:', error.message)
}
Y.applyUpdate(there, Y.encodeStateAsUpdate(here))

const got = there.getMap('m')
for (const key of set.keys()) console.log(key, 'set:', set.get(key), 'received:', got.get(key))
const [a, b] = [here, there].map(doc => Buffer.from(Y.encodeStateVector(doc)).toString('hex'))
console.log('same history:', a === b)
JS
node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
a Map by itself: Unexpected content type
date set: 1970-01-01T00:00:00.000Z received: {}
2^63 set: 9223372036854775808n received: -9223372036854775808n
2^64+5 set: 18446744073709551621n received: 5n
nested set: { map: Map(1) { 'a' => 1 } } received: { map: {} }
same history: true
WANT
