// A WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, and on its stream the frames of RFC 6455.

import http2 from 'node:http2';
import { Receiver, Sender } from 'ws';

/** Resolves to {status, send, take, end}. `options` go to http2.connect. */
export async function connectByHttp2(authority, path, headers, options) {
  const session = http2.connect(authority, options);
  const settings = await new Promise((done, failed) => session.on('error', failed).once('remoteSettings', done));
  if (!settings.enableConnectProtocol) {
    session.destroy();
    throw new Error('the proxy does not offer RFC 8441');
  }
  const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': path, 'sec-websocket-version': '13', ...headers });
  const status = await new Promise((done, failed) => stream.on('error', failed).once('response', (head) => done(head[':status'])));
  const inbox = [], waiting = [];
  const receiver = new Receiver({ isServer: false });
  receiver.on('message', (bytes) => { inbox.push(String(bytes)); waiting.splice(0).forEach((look) => look()); });
  stream.pipe(receiver);
  const sender = new Sender(stream);
  return {
    status,
    send: (text) => sender.send(text, { fin: true, mask: true, binary: false, compress: false }),
    /** The first message that contains this, waited for. */
    take: (part) => new Promise((done) => {
      const look = () => {
        const found = inbox.find((text) => text.includes(part));
        if (found) done(found);
        else waiting.push(look);
      };
      look();
    }),
    end: () => session.destroy(),
  };
}
