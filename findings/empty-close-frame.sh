#!/usr/bin/env bash
# A clean close without a code is reported as 1005, 1006, 1000, 0 or an error, by who reports it.
#
# Software:  npm ws 8.23.0 as the server, which like browsers sends an empty close frame for
#            close(); as clients ws, websocket 1.0.35 (its w3cwebsocket), faye-websocket 0.11.4
#            (websocket-driver 0.8.0), python3-websockets 10.4-1, python3-aiohttp 3.8.4.
# Behaviour: RFC 6455 (7.1.5) calls the absence of a code 1005, and both close frames came, so
#            that the close was clean. w3cwebsocket says 1006, "Connection dropped by remote
#            peer.", wasClean false (so does the client object below it); faye says 1000;
#            aiohttp says 0, which is no code at all; websockets has 1005, and takes it for a
#            failure that ends "async for" with ConnectionClosedError (in 10.4 only 1000 and 1001
#            are fine). An application that reconnects "after anything but a clean close", or
#            counts 1006 as lost connections, so depends on whose client it is.
# Seen:      the six lines below; w3cwebsocket, faye and aiohttp answer 1000.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent \
  ws@8.23.0 websocket@1.0.35 faye-websocket@0.11.4 websocket-driver@0.8.0
cd "$dir"
apt-get download -qq python3-websockets=10.4-1 python3-aiohttp=3.8.4-1+deb12u2 \
  python3-aiosignal=1.3.1-1 python3-async-timeout=4.0.2-1 python3-attr=22.2.0-1 \
  python3-charset-normalizer=3.0.1-2 python3-frozenlist=1.3.3-1+b1 \
  python3-idna=3.3-1+deb12u1 python3-multidict=6.0.4-1+b1 python3-yarl=1.8.2-1+b1
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >client.py <<'PY'
import aiohttp, asyncio, sys, websockets

async def main():
    async with aiohttp.ClientSession() as session, session.ws_connect(sys.argv[1]) as client:
        await client.receive()
        print('aiohttp', client.close_code)
    async with websockets.connect(sys.argv[1]) as client:
        try:
            async for _ in client:
                pass
        except websockets.ConnectionClosedError:
            print('websockets', client.close_code, 'ConnectionClosedError')

asyncio.run(main())
PY
cat >check.mjs <<'JS'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import faye from 'faye-websocket'
import WebSocket, { WebSocketServer } from 'ws'
import websocket from 'websocket'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
await once(server, 'listening')
const answers = []
server.on('connection', socket => {
  socket.on('close', code => answers.push(code))
  socket.close()
})
const url = `ws://127.0.0.1:${server.address().port}/`
const clients = { ws: WebSocket, w3cwebsocket: websocket.w3cwebsocket, faye: faye.Client }
for (const [name, Client] of Object.entries(clients)) {
  const { code, reason, wasClean } = await new Promise(done => (new Client(url).onclose = done))
  console.log(name, code, reason || '-', wasClean)
}
process.stdout.write((await promisify(execFile)('/usr/bin/python3', ['client.py', url])).stdout)
console.log('answered:', ...answers)
process.exit()
JS
PYTHONPATH=$dir/usr/lib/python3/dist-packages timeout 30 node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
ws 1005 - true
w3cwebsocket 1006 Connection dropped by remote peer. false
faye 1000 - undefined
aiohttp 0
websockets 1005 ConnectionClosedError
answered: 1005 1000 1000 1000 1005
WANT
