#!/usr/bin/env bash
# undici's WebSocket agrees on compression and then compresses nothing it sends.
#
# Software:  npm undici 7.30.2 (November 2026; Node's built-in WebSocket is undici), against npm
#            ws 8.23.0 as a server with perMessageDeflate, threshold 0.
# Behaviour: the client offers "permessage-deflate; client_max_window_bits" and inflates what it
#            gets, but has no compressor: however large and repetitive, each of its messages goes
#            out as it is, which RFC 7692 (6) permits and no option changes. A server that keeps
#            a window for what such a client will send keeps it for nothing, and bytes counted on
#            the wire and on the client differ by direction. The server has no way of seeing it
#            in the negotiation: ws as a client offers the very same line and compresses.
# Seen:      30000 bytes of one letter, echoed: undici sends 30008 bytes for them and receives a
#            few dozen; ws as the client, after the same offer and answer, sends as few.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent undici@7.30.2 ws@8.23.0
cd "$dir"

cat >check.mjs <<'JS'
import { once } from 'node:events'
import { WebSocket as Undici } from 'undici'
import Ws, { WebSocketServer } from 'ws'

const server = new WebSocketServer({
  host: '127.0.0.1', port: 0, perMessageDeflate: { threshold: 0 }
})
await once(server, 'listening')
server.on('connection', (socket, request) => {
  console.log(' offers', request.headers['sec-websocket-extensions'])
  const { bytesRead, bytesWritten } = request.socket
  socket.on('message', data => socket.send(data, () => {
    const grown = n => n < 1000 ? 'little' : n
    console.log(' agreed:', socket.extensions)
    console.log(' sent', grown(request.socket.bytesRead - bytesRead), 'and received',
      grown(request.socket.bytesWritten - bytesWritten), 'for', data.length)
  }))
})
for (const [name, Client] of Object.entries({ undici: Undici, ws: Ws })) {
  console.log(name)
  const client = new Client(`ws://127.0.0.1:${server.address().port}`)
  client.onopen = () => client.send('a'.repeat(30000))
  await new Promise(done => (client.onmessage = done))
  client.close()
}
process.exit()
JS
node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
undici
 offers permessage-deflate; client_max_window_bits
 agreed: permessage-deflate
 sent 30008 and received little for 30000
ws
 offers permessage-deflate; client_max_window_bits
 agreed: permessage-deflate
 sent little and received little for 30000
WANT
