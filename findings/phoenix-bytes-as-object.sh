#!/usr/bin/env bash
# The Phoenix client sends an ArrayBuffer as bytes, and a Uint8Array as an object of numbers.
#
# Software:  npm phoenix 1.8.16 (October 2026), the serializer of its Socket.
# Behaviour: a payload is binary if its constructor is ArrayBuffer; any view of one (Uint8Array,
#            DataView, Node's Buffer) goes the way of JSON, without an error or a warning. Typed
#            arrays become {"0":1,...}, several times their size, a DataView becomes {}, whose
#            bytes are gone, and a Buffer becomes {"type":"Buffer",...}. Whatever makes bytes
#            today (TextEncoder, most encoders of binary formats) makes a Uint8Array, so this is
#            what a push of its result does; .buffer in turn may be larger than the view.
# Seen:      the four lines below, for the bytes 1, 2, 3 pushed as event "e" on topic "t".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent phoenix@1.8.16
cd "$dir"

cat >check.mjs <<'JS'
import { Socket } from 'phoenix'

class Transport {
  static sent = []
  readyState = 1
  send(data) { Transport.sent.push(data) }
  close() {}
}
const socket = new Socket('ws://a', { transport: Transport })
socket.connect()
const bytes = Uint8Array.of(1, 2, 3)
const payloads = [bytes.buffer, bytes, new DataView(bytes.buffer), Buffer.from(bytes)]
for (const payload of payloads) {
  socket.push({ topic: 't', event: 'e', payload, ref: '2', join_ref: '1' })
  const data = Transport.sent.pop()
  const text = typeof data === 'string' ? data : new Uint8Array(data).join(' ')
  console.log(payload.constructor.name + ':', text)
}
process.exit()
JS
node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
ArrayBuffer: 0 1 1 1 1 49 50 116 101 1 2 3
Uint8Array: ["1","2","t","e",{"0":1,"1":2,"2":3}]
DataView: ["1","2","t","e",{}]
Buffer: ["1","2","t","e",{"type":"Buffer","data":[1,2,3]}]
WANT
