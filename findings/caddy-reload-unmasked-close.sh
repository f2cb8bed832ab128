#!/usr/bin/env bash
# A reload of Caddy ends open WebSockets, and says so to the backend with a frame no client may send.
#
# Software:  Debian 12's caddy 2.6.2-5, as a reverse proxy before a backend that speaks WebSocket.
# Behaviour: on `caddy reload` the old configuration closes what it had upgraded: towards the
#            client with a close frame of code 1001, as a server does, and towards the backend with
#            the very same bytes. There Caddy is the client, whose frames must be masked (RFC 6455,
#            5.1: a server must close the connection on one that is not); so a backend that keeps to
#            it sees a protocol error where a goodbye was meant.
# Seen:      the client reads 88 02 03 e9, and so does the backend: no mask bit, no masking key.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq caddy=2.6.2-5
dpkg-deb -x caddy_2.6.2-5_*.deb caddy
export HOME=$dir XDG_DATA_HOME=$dir XDG_CONFIG_HOME=$dir

cat >check.mjs <<'JS'
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import net from 'node:net'

const free = () => new Promise(done => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => done(port))
  })
})
const [front, admin] = [await free(), await free()]
const hex = bytes => bytes.toString('hex').replace(/..(?=.)/g, '$& ')
const frame = socket => new Promise(done => socket.once('data', done))

// A backend that upgrades whoever asks, and then only listens.
let told
const atBackend = new Promise(done => { told = done })
const backend = net.createServer(socket => {
  socket.on('error', () => {})
  socket.once('data', head => {
    const key = /sec-websocket-key: (.*)\r\n/i.exec(String(head))[1]
    const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`)
    frame(socket).then(told)
  })
}).listen(0, '127.0.0.1')
await new Promise(done => backend.once('listening', done))

const write = grace => writeFileSync('Caddyfile', `{\n\tadmin 127.0.0.1:${admin}\n}\n` +
  `http://127.0.0.1:${front} {\n\theader X-Version ${grace}\n\treverse_proxy 127.0.0.1:${backend.address().port}\n}\n`)
write(1)
const caddy = spawn('caddy/usr/bin/caddy', ['run', '--config', 'Caddyfile'], { stdio: 'ignore' })
process.on('exit', () => caddy.kill()).on('SIGTERM', () => process.exit(1))
const upgrade = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${front}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const connect = () => new Promise((done, failed) => {
  const socket = net.connect(front, '127.0.0.1', () => { socket.write(upgrade); done(socket) })
  socket.once('error', failed)
})
let client
for (const end = Date.now() + 10_000; !client;) {
  client = await connect().catch(error => { if (Date.now() > end) throw error })
}
console.log('answered:', /^HTTP\/1\.1 \d+/.exec(String(await frame(client)))[0])
const atClient = frame(client)
write(2)
const reload = spawnSync('caddy/usr/bin/caddy', ['reload', '--config', 'Caddyfile', '--address', `127.0.0.1:${admin}`])
console.log('reload:', reload.status)
console.log('the client reads ', hex(await atClient))
console.log('the backend reads', hex(await atBackend))
process.exit(0)
JS
timeout 60 node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
answered: HTTP/1.1 101
reload: 0
the client reads  88 02 03 e9
the backend reads 88 02 03 e9
WANT
