#!/usr/bin/env bash
# Tornado loses the permessage-deflate parameters that have no value.
#
# Software:  python3-tornado 6.2.0-3+deb12u4 (Debian 12), as client and as server.
# Behaviour: extensions are read by a parser of MIME parameters, which drops whatever has no "=".
#            A client whose server answered client_no_context_takeover goes on compressing with
#            the context of earlier messages. A server offered server_no_context_takeover accepts
#            without repeating it, as who accepts it has to (RFC 7692, 7.1.1.1), and keeps its
#            context too. A peer that forgets its window after each message, as was agreed or
#            asked, reads the first message and not the second.
# Seen:      of two equal messages from either side, the second cannot be inflated alone.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq python3-tornado=6.2.0-3+deb12u4
dpkg-deb -x python3-tornado_*.deb .
cat >check.py <<'PY'
import asyncio, base64, hashlib, random, re, zlib
import tornado.httpserver, tornado.netutil, tornado.web, tornado.websocket
TEXT = ''.join(random.Random(1).choices('abcdefghijklmnopqrstuvwxyz', k=100))
UPGRADE = (b'Upgrade: websocket\r\nConnection: Upgrade\r\n'
           b'Sec-WebSocket-Extensions: permessage-deflate; ')

async def show_messages(reader):
    for _ in range(2):
        first, length = await reader.readexactly(2)
        assert first == 0xc1 and length & 127 < 126
        mask = await reader.readexactly(4) if length & 128 else bytes(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length & 127)))
        try:
            assert zlib.decompressobj(-15).decompress(data + b'\0\0\xff\xff').decode() == TEXT
            print('  inflates alone')
        except zlib.error as error:
            print(' ', str(error).split(': ')[1])

async def plain_server(reader, writer):
    key = re.search(rb'(?i)sec-websocket-key: (\S+)', await reader.readuntil(b'\r\n\r\n'))[1]
    accept = hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest()
    writer.write(b'HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ' +
                 base64.b64encode(accept) + b'\r\n' +
                 UPGRADE + b'client_no_context_takeover\r\n\r\n')
    print('the client, answered client_no_context_takeover:')
    await show_messages(reader)
    writer.close()

class Twice(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}
    def open(self):
        self.write_message(TEXT)
        self.write_message(TEXT)
async def main():
    listening = await asyncio.start_server(plain_server, '127.0.0.1', 0)
    url = 'ws://127.0.0.1:%d/' % listening.sockets[0].getsockname()[1]
    client = await tornado.websocket.websocket_connect(url, compression_options={})
    client.write_message(TEXT)
    client.write_message(TEXT)
    await client.read_message()
    sockets = tornado.netutil.bind_sockets(0, '127.0.0.1')
    tornado.httpserver.HTTPServer(tornado.web.Application([('/', Twice)])).add_sockets(sockets)
    reader, writer = await asyncio.open_connection(*sockets[0].getsockname())
    writer.write(b'GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
                 b'A' * 22 + b'==\r\n' + UPGRADE + b'server_no_context_takeover\r\n\r\n')
    answer = (await reader.readuntil(b'\r\n\r\n')).decode()
    print('the server, answering', re.search('(?i)extensions: (.*)\r', answer)[1] + ':')
    await show_messages(reader)

asyncio.run(asyncio.wait_for(main(), 20))
PY
PYTHONPATH=$dir/usr/lib/python3/dist-packages /usr/bin/python3 check.py | tee seen
diff - seen <<'WANT' && echo "as described"
the client, answered client_no_context_takeover:
  inflates alone
  invalid distance too far back
the server, answering permessage-deflate:
  inflates alone
  invalid distance too far back
WANT
