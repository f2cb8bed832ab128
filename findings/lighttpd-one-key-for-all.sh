#!/usr/bin/env bash
# A WebSocket that reached lighttpd over HTTP/2 reaches the backend with the same key each time.
#
# Software:  lighttpd 1.4.69-1 (Debian 12), mod_proxy with "upgrade" enabled; client: Node's http2.
# Behaviour: over HTTP/2 a WebSocket is opened by an extended CONNECT (RFC 8441), which has no
#            Sec-WebSocket-Key. lighttpd makes it an HTTP/1.1 upgrade for the backend, where the
#            key is required, and fills in sixteen times the digit 0 for every connection (RFC
#            6455, 4.1, has keys chosen at random). A backend that tells handshakes apart by their
#            keys, in its log or to spot repeats, sees one client that tries again and again.
# Seen:      two connections, both with "MDAwMDAwMDAwMDAwMDAwMA=="; a message gets through each.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq lighttpd=1.4.69-1 libxxhash0=0.8.1-1
for package in *.deb; do dpkg-deb -x "$package" .; done

cat >lighttpd.conf <<CONF
server.document-root = "$dir"
server.bind = "$dir/front"
server.errorlog = "$dir/log"
server.modules = ("mod_proxy")
server.feature-flags = ("server.h2proto" => "enable", "server.h2c" => "enable")
proxy.server = ("" => (("host" => "$dir/back")))
proxy.header = ("upgrade" => "enable")
CONF
cat >check.mjs <<'JS'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

const backend = net.createServer(socket => socket.once('data', head => {
  const key = String(head).match(/^sec-websocket-key: (\S+)/im)[1]
  console.log('the backend is given', key, '=', String(Buffer.from(key, 'base64')))
  const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade' +
    `\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n\x81\x01a`, 'latin1')
}))
await once(backend.listen('back'), 'listening')

const lighttpd = spawn('usr/sbin/lighttpd', ['-D', '-f', 'lighttpd.conf', '-m', 'usr/lib/lighttpd'])
for (let i = 0; i < 200 && !existsSync('front'); i++) await pause(50)
for (let i = 0; i < 2; i++) {
  const session = http2.connect('http://a', { createConnection: () => net.connect('front') })
  await once(session, 'remoteSettings')
  const stream = session.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':authority': 'a',
    ':path': '/', 'sec-websocket-version': '13'
  })
  const [{ ':status': status }] = await once(stream, 'response')
  console.log('the client is given', status, (await once(stream, 'data'))[0])
  session.destroy()
}
lighttpd.kill()
await once(lighttpd, 'exit')
process.exit()
JS
LD_LIBRARY_PATH=$(echo "$dir"/usr/lib/*-linux-gnu) timeout 30 node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
the backend is given MDAwMDAwMDAwMDAwMDAwMA== = 0000000000000000
the client is given 200 <Buffer 81 01 61>
the backend is given MDAwMDAwMDAwMDAwMDAwMA== = 0000000000000000
the client is given 200 <Buffer 81 01 61>
WANT
