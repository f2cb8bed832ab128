// What the operator of a muster_server decides: who is let in, and how the process starts and ends.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DEADLINE, Peer, runServer, startServer, tokensFile, within } from './support.mjs';

const options = { timeout: 4 * DEADLINE };

describe('a server with tokens', options, () => {
  let server;
  before(async () => {
    server = await startServer({ auth: tokensFile({
      'ann-secret': { user: 'ann', tenant: 'red' },
      'ann-laptop': { user: 'ann', tenant: 'red' },
      'bob-secret': { user: 'bob', tenant: 'blue' },
      'eve-secret': { user: 'eve' },
    }) });
  });
  after(() => server.stop());
  const as = (token, how) => Peer.connect(server.ws, { headers: { Authorization: `Bearer ${token}` }, ...how });

  test('authenticates by the first message', async () => {
    const peer = await Peer.open(server.ws);
    const result = await peer.ask('authenticate', { token: 'ann-secret' });
    assert.equal(result.type, 'auth_result');
    assert.equal(result.payload.authenticated, true);
    assert.equal(result.payload.user_id, 'ann');
    const { payload } = await peer.take('connection_ack');
    assert.deepEqual([payload.user_id, payload.tenant], ['ann', 'red']);
    await peer.close();
  });

  test('says nothing before that', async () => {
    const peer = await Peer.open(server.ws);
    peer.send('authenticate', { token: 'eve-secret' });
    await peer.take('connection_ack');
    assert.deepEqual(peer.inbox.map(({ type }) => type), ['auth_result']);
    await peer.close();
  });

  test('another first message closes 4001', async () => {
    const peer = await Peer.open(server.ws);
    const error = await peer.ask('join', { room: 'r' });
    assert.equal(error.payload.code, 'auth_required');
    assert.equal(await peer.code(), 4001);
  });

  test('a bad token in the first message closes 4002', async () => {
    const peer = await Peer.open(server.ws);
    const result = await peer.ask('authenticate', { token: 'guess' });
    assert.equal(result.type, 'auth_result');
    assert.equal(result.payload.authenticated, false);
    assert.ok(result.payload.error);
    assert.equal(await peer.code(), 4002);
  });

  test('authenticates by the Authorization header', async () => {
    const peer = await as('eve-secret');
    assert.equal(peer.user, 'eve');
    await peer.close();
  });

  test('authenticates by the bearer subprotocol, and echoes only a protocol', async () => {
    const peer = await Peer.connect(server.ws, { protocols: ['muster.v1.json', 'bearer', 'bob-secret'] });
    assert.equal(peer.user, 'bob');
    assert.equal(peer.socket.protocol, 'muster.v1.json');
    await peer.close();
    const bare = await Peer.connect(server.ws, { protocols: ['bearer', 'bob-secret'] });
    assert.equal(bare.socket.protocol, 'bearer');
    await bare.close();
  });

  test('a bad token at the upgrade is a 401', async () => {
    for (const how of [{ headers: { Authorization: 'Bearer guess' } }, { protocols: ['muster.v1.json', 'bearer', 'guess'] }]) {
      const refused = await Peer.open(server.ws, how).catch((error) => error);
      assert.equal(refused.status, 401);
    }
  });

  test('tenants never meet, not even in rooms of the same name', async () => {
    const room = 'shared';
    const [ann, bob, eve] = [await as('ann-secret', { rooms: [room] }), await as('bob-secret', { rooms: [room] }), await as('eve-secret')];
    assert.equal((await eve.ask('join', { room })).payload.member_count, 1);
    assert.equal((await ann.ask('publish', { room, data: 'for red', echo: true })).payload.seq, 1);
    assert.equal((await ann.take('message')).payload.data, 'for red');
    for (const other of [bob, eve]) {
      assert.equal((await other.ask('publish', { room, data: 'mine', echo: true })).payload.seq, 1, 'a room of its own');
      assert.equal((await other.take('message')).payload.data, 'mine');
      await other.settle();
      assert.deepEqual(other.left('message'), []);
      assert.deepEqual(other.left('presence'), []);
      assert.deepEqual((await other.ask('presence_query', { users: ['ann'] })).payload.users.filter(({ online }) => online), []);
    }
    for (const peer of [ann, bob, eve]) await peer.close();
  });

  test('one user on two devices stays while one of them is there', async () => {
    const room = 'devices';
    const [desk, laptop] = [await as('ann-secret', { rooms: [room] }), await as('ann-laptop', { rooms: [room] })];
    assert.notEqual(desk.connection, laptop.connection);
    const before = await desk.ask('presence_query', { users: ['ann'] });
    assert.deepEqual(before.payload.users, [{ user: 'ann', online: true, connections: 2 }]);
    await laptop.close();
    await desk.take(({ type, payload }) => type === 'presence' && payload.left?.length, 'the laptop to leave');
    const later = await desk.ask('presence_query', { users: ['ann'] });
    assert.deepEqual(later.payload.users, [{ user: 'ann', online: true, connections: 1 }]);
    await desk.close();
  });
});

describe('the process', options, () => {
  test('SIGTERM closes everyone with 1001 and exits 0', async () => {
    const server = await startServer();
    const peers = await Promise.all(Array.from({ length: 10 }, () => Peer.connect(server.ws, { rooms: ['r'] })));
    const closed = Promise.all(peers.map((peer) => peer.code()));
    await server.stop();
    assert.deepEqual(await closed, peers.map(() => 1001));
  });

  test('SIGTERM does not wait for a client that has stopped reading', async () => {
    const server = await startServer();
    const peer = await Peer.connect(server.ws);
    peer.socket.pause();
    await server.stop();
    peer.socket.terminate();
  });

  test('a wrong flag, value or file is one clear line and exit 2', async () => {
    for (const [flags, mentions] of [
      [['--no-such-flag', '1'], 'no-such-flag'],
      [['--port', 'many'], 'port'],
      [['--auth', 'tokens:/no/such/file'], '/no/such/file'],
      [['--auth', 'anonymous', '--static', '/no/such/folder'], '/no/such/folder'],
      [[], '--auth'],
    ]) {
      const { code, stderr } = await within(runServer(...flags), () => `${flags} to exit`);
      assert.equal(code, 2, `${flags}: ${stderr}`);
      assert.equal(stderr.trim().split('\n').length, 1, stderr);
      assert.ok(stderr.includes(mentions), stderr);
    }
  });
});
