// A WebSocket server in little for the smoke test: relays short text frames, as well as it is told to.
// usage: node relay.mjs [PORT]   to everyone else; without a port it takes one and tells it

import net from 'node:net';
import { fileURLToPath } from 'node:url';

/** `times(count)`: how often the count-th delivery is made. It never ends a connection. */
export function relay({ port = 0, times = () => 1, greeting, echo = true }) {
  const sockets = new Set();
  let deliveries = 0;
  const frameOf = (text) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);
  const listener = net.createServer((socket) => {
    let unread = Buffer.alloc(0), open = false;
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      unread = Buffer.concat([unread, bytes]);
      if (!open && unread.includes('\r\n\r\n')) {
        open = true;
        unread = unread.subarray(unread.indexOf('\r\n\r\n') + 4);
        sockets.add(socket);
        socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
        if (greeting) socket.write(frameOf(greeting));
      }
      // A short masked text frame with a key of zeros, as the load client sends them.
      while (open && unread.length >= 6 && unread.length >= 6 + (unread[1] & 0x7f)) {
        const size = unread[1] & 0x7f;
        const frame = Buffer.concat([Buffer.from([0x81, size]), unread.subarray(6, 6 + size)]);
        unread = unread.subarray(6 + size);
        for (const each of sockets) {
          if (each === socket && !echo) continue;
          for (let i = times(++deliveries); i > 0; --i) each.write(frame);
        }
      }
    });
  });
  return new Promise((done) => listener.listen(port, '127.0.0.1', () => done({ port: listener.address().port, close: () => listener.close() })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = process.argv[2];
  const server = await relay({ port: Number(port ?? 0), echo: false });
  if (!port) console.log(`listening on http://127.0.0.1:${server.port}`);
}
