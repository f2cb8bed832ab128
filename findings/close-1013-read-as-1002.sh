#!/usr/bin/env bash
# "Service restart" and "try again later" are protocol errors to two clients.
#
# Software:  npm faye-websocket 0.11.4 with websocket-driver 0.8.0 (November 2026), and
#            python3-websocket 1.2.3-1 (Debian 12), against npm ws 8.23.0 as the server.
# Behaviour: the close codes 1012 and 1013, which IANA registered for servers that restart or are
#            too busy, are missing from both libraries' lists of known codes below 3000. faye
#            tells its application 1002, and sends the server 1002 with the server's own reason;
#            websocket-client calls on_error with "Invalid close opcode." and then on_close
#            without code or reason. So a server that drains politely looks broken to them, and
#            reads in the answers of faye that it is. 1011 and 4000 pass in both.
# Seen:      1012, 1013 -> faye: 1002, answer 1002; websocket-client: an error, (None, None).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
npm install --prefix "$dir" --no-audit --no-fund --silent \
  ws@8.23.0 faye-websocket@0.11.4 websocket-driver@0.8.0
cd "$dir"
apt-get download -qq python3-websocket=1.2.3-1
dpkg-deb -x python3-websocket_*.deb .

cat >client.py <<'PY'
import sys, websocket

seen = []
websocket.WebSocketApp(sys.argv[1], on_error=lambda app, error: seen.append(str(error)),
                       on_close=lambda app, *why: seen.append(str(why))).run_forever()
print('  websocket-client:', ' then '.join(seen))
PY
cat >check.mjs <<'JS'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import faye from 'faye-websocket'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
await once(server, 'listening')
const url = `ws://127.0.0.1:${server.address().port}/`
for (const code of [1011, 1012, 1013, 4000]) {
  console.log('the server closes with', code)
  server.removeAllListeners('connection')
  const answers = []
  server.on('connection', socket => {
    answers.push(once(socket, 'close'))
    socket.close(code, 'why')
  })
  const [{ code: told, reason }] = await once(new faye.Client(url), 'close')
  console.log('  faye:', told, reason + ', answering', (await answers[0]).join(' '))
  const client = await promisify(execFile)('/usr/bin/python3', ['client.py', url])
  process.stdout.write(client.stdout)
}
process.exit()
JS
PYTHONPATH=$dir/usr/lib/python3/dist-packages timeout 30 node check.mjs | tee seen
diff - seen <<'WANT' && echo "as described"
the server closes with 1011
  faye: 1011 why, answering 1011 why
  websocket-client: (1011, 'why')
the server closes with 1012
  faye: 1002 why, answering 1002 why
  websocket-client: Invalid close opcode. then (None, None)
the server closes with 1013
  faye: 1002 why, answering 1002 why
  websocket-client: Invalid close opcode. then (None, None)
the server closes with 4000
  faye: 4000 why, answering 4000 why
  websocket-client: (4000, 'why')
WANT
