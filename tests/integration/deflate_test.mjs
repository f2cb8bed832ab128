// permessage-deflate as the npm client `ws` does it, against muster_server --deflate.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DEADLINE, Peer, WebSocket, startServer, within } from './support.mjs';

const compressing = { perMessageDeflate: { threshold: 0 } };
const large = { shapes: Array.from({ length: 300 }, (_, i) => ({ id: `shape-${i}`, type: 'rectangle', x: i, y: 2 * i })) };

describe('a server with --deflate', { timeout: 4 * DEADLINE }, () => {
  let server;
  before(async () => { server = await startServer({ flags: ['--deflate', '--connect-rate-per-ip', '0', '--threads', '2'] }); });
  after(() => server.stop());
  const connect = (how = {}) => Peer.connect(server.ws, { rooms: ['r'], ...compressing, ...how });

  test('agrees with ws to forget each message', async () => {
    const ann = await connect();
    assert.match(ann.socket.extensions, /^permessage-deflate/);
    assert.equal(ann.socket._extensions['permessage-deflate'].params.server_no_context_takeover, true);
    assert.equal(ann.socket._extensions['permessage-deflate'].params.client_no_context_takeover, true);
    await ann.close();
  });

  test('messages go both ways, compressed and not, to those who compress and those who do not', async () => {
    const peers = [await connect(), await connect(), await connect({ perMessageDeflate: false }), await connect({ perMessageDeflate: { serverMaxWindowBits: 9 } })];
    assert.deepEqual(peers.map(({ socket }) => Boolean(socket.extensions)), [true, true, false, true]);
    const before = peers.map(({ socket }) => socket._socket.bytesRead);
    for (const [i, sender] of peers.entries()) {
      assert.equal((await sender.ask('publish', { room: 'r', data: { ...large, i } })).type, 'ack');
      for (const other of peers) {
        if (other !== sender) assert.deepEqual((await other.take('message')).payload.data, { ...large, i });
      }
    }
    const read = peers.map(({ socket }, i) => socket._socket.bytesRead - before[i]);
    assert.ok(read[0] * 5 < read[2], `compressed ${read[0]} bytes, plain ${read[2]}`);
    assert.ok(read[3] < read[2], `small window ${read[3]} bytes, plain ${read[2]}`);
    console.log(`3 messages of ${JSON.stringify(large).length} bytes: ${read[0]} bytes compressed, ${read[3]} with a small window, ${read[2]} plain`);
    await Promise.all(peers.map((peer) => peer.close()));
  });

  test('many small messages in a row stay in order', async () => {
    const [ann, bob] = [await connect(), await connect()];
    for (let i = 0; i < 100; ++i) ann.send('publish', { room: 'r', data: { i, text: 'x'.repeat(i * 10) } });
    for (let i = 0; i < 100; ++i) assert.equal((await bob.take('message')).payload.data.i, i);
    await Promise.all([ann.close(), bob.close()]);
  });

  test('a bomb is closed with 1009, and nobody else notices', async () => {
    const [ann, eve] = [await connect(), await connect()];
    eve.raw(' '.repeat(50_000_000));
    assert.equal(await eve.code(), 1009);
    assert.equal((await ann.ask('ping', {})).type, 'pong');
    await ann.close();
  });

  test('agrees to nothing unless asked', async () => {
    const plain = await startServer();
    const socket = new WebSocket(plain.ws, compressing);
    await within(new Promise((done, failed) => socket.on('open', done).on('error', failed)), () => 'the upgrade');
    assert.equal(socket.extensions, '');
    socket.terminate();
    await plain.stop();
  });
});
