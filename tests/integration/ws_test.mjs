// The protocol as the npm client `ws` sees it, against a real muster_server.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { CANVAS, DEADLINE, Peer, get, startServer, within } from './support.mjs';

const options = { timeout: 4 * DEADLINE };
let number = 0;
const newRoom = () => `test:${++number}`;
const ids = (members) => members.map(({ connection }) => connection).sort();

describe('an open server', options, () => {
  let server;
  let peers = [];
  const connect = async (how) => { const peer = await Peer.connect(server.ws, how); peers.push(peer); return peer; };
  before(async () => { server = await startServer({ flags: ['--connect-rate-per-ip', '0'] }); });
  after(() => server.stop());
  afterEach(async () => {
    await Promise.all(peers.map((peer) => peer.close()));
    peers = [];
  });

  test('acknowledges a connection with its id and user', async () => {
    const ann = await connect();
    assert.equal(ann.socket.protocol, 'muster.v1.json');
    assert.ok(ann.connection && ann.user, ann.inbox);
    assert.equal(typeof ann.ack.heartbeat_ms, 'number');
    const bob = await connect();
    assert.notEqual(ann.connection, bob.connection);
    assert.notEqual(ann.user, bob.user, 'each anonymous connection has a user id of its own');
  });

  test('speaks JSON to a client that names no subprotocol', async () => {
    const ann = await connect({ protocols: [] });
    assert.equal(ann.socket.protocol, '');
  });

  test('stamps everything it sends', async () => {
    const ann = await Peer.open(server.ws);
    peers.push(ann);
    const ack = await ann.take('connection_ack');
    assert.ok(Math.abs(ack.timestamp - Date.now()) < 60_000, ack.raw);
  });

  test('a join tells who is there, the joiner included, and the others who came', async () => {
    const room = newRoom();
    const ann = await connect();
    const first = await ann.ask('join', { room });
    assert.equal(first.type, 'room_joined');
    assert.equal(first.payload.room, room);
    assert.equal(first.payload.seq, 0);
    assert.equal(first.payload.member_count, 1);
    assert.deepEqual(first.payload.members, [{ connection: ann.connection, user: ann.user }]);
    const bob = await connect();
    const second = await bob.ask('join', { room });
    assert.deepEqual(ids(second.payload.members), [ann.connection, bob.connection].sort());
    assert.equal(second.payload.epoch, first.payload.epoch);
    const told = await ann.take(({ type, payload }) => type === 'presence' && ids(payload.joined).includes(bob.connection), 'the presence of bob');
    assert.equal(told.payload.room, room);           // changes are batched: the joiner's own may be among them
    assert.deepEqual(told.payload.joined.find(({ connection }) => connection === bob.connection), { connection: bob.connection, user: bob.user });
    assert.deepEqual(told.payload.left, []);
    assert.equal(told.payload.member_count, 2);
  });

  test('joining twice changes nothing', async () => {
    const room = newRoom();
    const ann = await connect({ rooms: [room] });
    const bob = await connect({ rooms: [room] });
    await ann.take('presence');
    const again = await bob.ask('join', { room });
    assert.equal(again.type, 'room_joined');
    assert.equal(again.payload.member_count, 2);
    await bob.ask('publish', { room, data: 1 });
    await ann.take('message');
    assert.deepEqual(ann.left('presence'), []);
  });

  test('a publish reaches the others in order and is acknowledged with its seq', async () => {
    const room = newRoom();
    const [ann, bob, eve] = [await connect({ rooms: [room] }), await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    const count = 50;
    const acks = [];
    for (let i = 1; i <= count; ++i) acks.push(ann.ask('publish', { room, data: { i } }));
    for (const [i, ack] of (await Promise.all(acks)).entries()) {
      assert.equal(ack.type, 'ack');
      assert.equal(ack.payload.seq, i + 1);
      assert.ok(ack.payload.epoch);
    }
    for (const peer of [bob, eve]) {
      for (let i = 1; i <= count; ++i) {
        const { payload } = await peer.take('message');
        assert.deepEqual(payload.from, { connection: ann.connection, user: ann.user });
        assert.deepEqual([payload.room, payload.seq, payload.data], [room, i, { i }]);
      }
    }
    await ann.settle();
    assert.deepEqual(ann.left('message'), [], 'the publisher is left out');
  });

  test('two publishers are seen in one order by everyone', async () => {
    const room = newRoom();
    const [ann, bob, eve] = [await connect({ rooms: [room] }), await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    for (let i = 0; i < 20; ++i) for (const peer of [ann, bob]) peer.send('publish', { room, data: i, echo: true });
    const seen = async (peer) => {
      const order = [];
      for (let i = 1; i <= 40; ++i) {
        const { payload } = await peer.take('message');
        assert.equal(payload.seq, i);
        order.push(`${payload.from.connection} ${payload.data}`);
      }
      return order;
    };
    const order = await seen(eve);
    assert.deepEqual(await seen(ann), order);
    assert.deepEqual(await seen(bob), order);
  });

  test('echo includes the publisher', async () => {
    const room = newRoom();
    const ann = await connect({ rooms: [room] });
    ann.send('publish', { room, data: 'me too', echo: true });
    const { payload } = await ann.take('message');
    assert.equal(payload.data, 'me too');
    assert.equal(payload.from.connection, ann.connection);
  });

  test('a latest message has no seq and arrives', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    ann.send('publish', { room, data: 'here', delivery: { latest: 'cursor' } });
    const { payload } = await bob.take('message');
    assert.equal(payload.data, 'here');
    assert.equal(payload.seq, undefined);
  });

  test('application data arrives byte for byte', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    const data = String.raw`{"a" : 1.0e3,  "b":[ 1, -0.0 ,"\u00e9\/" ,"é😀" ] }`;
    ann.raw(`{"type":"publish","payload":{"room":"${room}","data":${data},"echo":false}}`);
    const message = await bob.take('message');
    assert.ok(message.raw.includes(data), message.raw);
    ann.raw(`{"type":"awareness_update","payload":{"room":"${room}","clock":1,"client":"x","state":${data}}}`);
    const update = await bob.take('awareness_update');
    assert.ok(update.raw.includes(data), update.raw);
  });

  test('every kind of JSON value is application data', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    for (const data of [null, true, 0, 'text', [], {}, [[1], { a: null }]]) {
      ann.send('publish', { room, data });
      assert.deepEqual((await bob.take('message')).payload.data, data);
    }
  });

  test('leave ends the membership and the messages', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    await ann.take('presence');
    assert.equal((await bob.ask('leave', { room })).type, 'room_left');
    const { payload } = await ann.take('presence');
    assert.deepEqual(payload.left.map(({ connection }) => connection), [bob.connection]);
    assert.equal(payload.member_count, 1);
    await ann.ask('publish', { room, data: 1 });
    await bob.settle();
    assert.deepEqual(bob.left('message'), []);
    assert.equal((await bob.ask('leave', { room })).type, 'room_left', 'leaving twice is no error');
    assert.equal((await bob.ask('publish', { room, data: 1 })).payload.code, 'not_in_room');
  });

  test('subscribe, unsubscribe and list_subscriptions', async () => {
    const room = newRoom();
    const ann = await connect();
    const subscribed = await ann.ask('subscribe', { topic: room });
    assert.equal(subscribed.type, 'ack');
    assert.deepEqual(subscribed.payload, { success: true, message: `Subscribed to ${room}` });
    assert.deepEqual((await ann.ask('list_subscriptions', {})).payload.subscriptions, [room]);
    assert.equal((await ann.ask('unsubscribe', { topic: room })).type, 'ack');
    assert.deepEqual((await ann.ask('list_subscriptions', {})).payload.subscriptions, []);
  });

  test('session_info and presence_query answer', async () => {
    const room = newRoom();
    const ann = await connect({ rooms: [room] });
    const { payload } = await ann.ask('session_info', {});
    assert.equal(payload.connection, ann.connection);
    assert.equal(payload.user, ann.user);
    assert.deepEqual(payload.rooms, [room]);
    const presence = await ann.ask('presence_query', { room });
    assert.deepEqual(presence.payload.users, [{ user: ann.user, online: true, connections: 1 }]);
  });

  test('awareness reaches the others, and newcomers get all of it', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    ann.send('awareness_update', { room, client: 'ann-1', state: { x: 1 }, clock: 1 });
    const about = (client) => (message) => message.type === 'awareness_update' && message.payload.states.some((entry) => entry.client === client);
    const { payload } = await bob.take(about('ann-1'), 'the awareness of ann-1');
    assert.deepEqual(payload, { room, states: [{ client: 'ann-1', state: { x: 1 }, clock: 1 }] });
    const eve = await connect();
    await eve.ask('join', { room });
    const all = await eve.take('awareness_state');
    assert.deepEqual(all.payload, { room, states: [{ client: 'ann-1', user: ann.user, state: { x: 1 }, clock: 1 }] });
    ann.send('awareness_update', { room, client: 'ann-1', state: null, clock: 2 });
    const gone = await bob.take((message) => about('ann-1')(message) && message.payload.states[0].clock === 2, 'the removal');
    assert.deepEqual(gone.payload.states, [{ client: 'ann-1', state: null, clock: 2 }]);
    assert.deepEqual((await eve.ask('awareness_query', { room })).payload.states, []);
  });

  test('an old clock is dropped silently, another owner is refused', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    ann.send('awareness_update', { room, client: 'pen', state: { v: 5 }, clock: 5 });
    ann.send('awareness_update', { room, client: 'pen', state: { v: 4 }, clock: 4 });
    await ann.settle();
    assert.deepEqual(ann.left('error'), []);
    const stored = (await ann.ask('awareness_query', { room })).payload.states;
    assert.deepEqual(stored.map(({ state, clock }) => [state.v, clock]), [[5, 5]]);
    const refused = await bob.ask('awareness_update', { room, client: 'pen', state: {}, clock: 9 });
    assert.equal(refused.payload.code, 'not_owner');
  });

  for (const [how, leave] of [['closes', (peer) => peer.close(1000)], ['vanishes', (peer) => peer.socket.terminate()]]) {
    test(`a client that ${how} leaves and its awareness goes, told exactly once`, async () => {
      const room = newRoom();
      const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
      bob.send('awareness_update', { room, client: 'bob-1', state: { x: 1 }, clock: 7 });
      const about = (message) => message.type === 'awareness_update' && message.payload.states.some(({ client }) => client === 'bob-1');
      await ann.take(about, 'the awareness of bob-1');
      leave(bob);
      const gone = await ann.take(about, 'the end of bob-1');
      assert.deepEqual(gone.payload.states, [{ client: 'bob-1', state: null, clock: 8 }]);
      const left = await ann.take(({ type, payload }) => type === 'presence' && payload.left?.length, 'the presence of bob to end');
      assert.deepEqual(left.payload.left, [{ connection: bob.connection, user: bob.user }]);
      assert.equal(left.payload.member_count, 1);
      const eve = await connect();                       // what a later change brings, came after any repetition
      assert.deepEqual(ids((await eve.ask('join', { room })).payload.members), [ann.connection, eve.connection].sort());
      eve.send('awareness_update', { room, client: 'eve-1', state: {}, clock: 1 });
      await ann.take((message) => message.payload.states?.some(({ client }) => client === 'eve-1'), 'the awareness of eve-1');
      assert.deepEqual(ann.inbox.filter(about), []);
      assert.deepEqual(ann.left('presence').filter(({ payload }) => payload.left?.length), []);
    });
  }

  test('ping is answered with pong and its payload', async () => {
    const ann = await connect();
    const pong = await ann.ask('ping', { sent: 42 });
    assert.equal(pong.type, 'pong');
    assert.deepEqual(pong.payload, { sent: 42 });
    ann.send('ping', { sent: 43 });
    assert.deepEqual((await ann.take('pong')).payload, { sent: 43 }, 'without an id too');
  });

  test('a WebSocket ping is answered', async () => {
    const ann = await connect();
    const pong = new Promise((done) => ann.socket.once('pong', (bytes) => done(String(bytes))));
    ann.socket.ping('alive');
    assert.equal(await within(pong, () => 'a pong'), 'alive');
  });

  test('errors name the command and the reason, and the connection goes on', async () => {
    const ann = await connect();
    const refused = async (type, payload, code, mentions = '') => {
      const { type: kind, payload: error } = await ann.ask(type, payload);
      assert.equal(kind, 'error', `${type} ${JSON.stringify(payload)}`);
      assert.equal(error.code, code, error.message);
      assert.ok(error.message.includes(mentions), `"${error.message}" names "${mentions}"`);
    };
    await refused('dance', {}, 'unknown_message', 'dance');
    await refused('publish', { room: newRoom(), data: 1 }, 'not_in_room');
    await refused('awareness_update', { room: newRoom(), state: {}, clock: 1 }, 'not_in_room');
    await ann.ask('ping', {});
    for (const room of ['', 'white space', 'é', 'x'.repeat(257)]) await refused('join', { room }, 'invalid_room');
    await refused('join', {}, 'invalid_message', 'room');
    await refused('join', { room: 7 }, 'invalid_message', 'room');
    const room = newRoom();
    await ann.ask('join', { room });
    await refused('publish', { room }, 'invalid_message', 'data');
    await refused('awareness_update', { room, state: { big: 'x'.repeat(5000) }, clock: 1 }, 'too_large');
    await refused('awareness_update', { room, state: 'text', clock: 1 }, 'invalid_message', 'state');
    assert.equal((await ann.ask('ping', {})).type, 'pong');
  });

  test('errors of commands without an id come without reply_to', async () => {
    const ann = await connect();
    ann.send('publish', { room: newRoom(), data: 1 });
    const error = await ann.take('error');
    assert.equal(error.payload.code, 'not_in_room');
    assert.ok(!('reply_to' in error), error.raw);
  });

  test('ids come back as the same text', async () => {
    const ann = await connect();
    for (const id of ['7', '"seven"', '"\\u00e9 \\" \\\\"', '-1', '9007199254740993']) {
      ann.raw(`{"type":"ping","id":${id},"payload":{}}`);
      const pong = await ann.take('pong');
      assert.ok(pong.raw.includes(`"reply_to":${id}`), pong.raw);
    }
    for (const id of ['true', '{}', '[]', '1.5', `"${'x'.repeat(129)}"`]) {
      ann.raw(`{"type":"ping","id":${id},"payload":{}}`);
      assert.equal((await ann.take('error')).payload.code, 'invalid_message', id);
    }
  });

  test('malformed JSON is refused; the tenth in a row closes', async () => {
    const bad = ['{', '[]', '"text"', '{"type":"ping","type":"ping"}', '{"type":1}', '{"type":"ping","payload":[]}', '{}', '{"type":"ping"} x', '', `{"type":"ping","payload":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`];
    const ann = await connect();
    for (const text of bad.slice(0, 9)) {
      ann.raw(text);
      const error = await ann.take('error', `an error for ${text}`);
      assert.equal(error.payload.code, 'invalid_message', `${text}: ${error.raw}`);
    }
    assert.equal((await ann.ask('ping', {})).type, 'pong', 'a good one in between starts the count anew');
    for (const text of bad) ann.raw(text);
    assert.equal(await ann.code(), 1008);
    assert.equal(ann.left('error').length, 10);
  });

  test('a binary frame closes 1003', async () => {
    const ann = await connect();
    ann.socket.send(Buffer.from('{"type":"ping"}'), { binary: true });
    assert.equal(await ann.code(), 1003);
  });

  test('64 KiB is a message, one byte more closes 1009', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect({ rooms: [room] }), await connect({ rooms: [room] })];
    const frame = (bytes) => {
      const [head, tail] = [`{"type":"publish","id":"big","payload":{"room":"${room}","data":"`, '"}}'];
      return head + 'x'.repeat(bytes - head.length - tail.length) + tail;
    };
    ann.raw(frame(65_536));
    assert.equal((await ann.take(({ reply_to: id }) => id === 'big', 'the reply')).type, 'ack');
    assert.ok((await bob.take('message')).payload.data.length > 65_000);
    ann.raw(frame(65_537));
    assert.equal(await ann.code(), 1009);
  });

  test('commands nobody allowed are refused', async () => {
    const [ann, bob] = [await connect(), await connect()];
    const { type, payload } = await ann.ask('send', { user: bob.user, data: 'psst' });
    assert.equal(type, 'error');
    assert.ok(['permission_denied', 'not_supported'].includes(payload.code), payload.code);
  });

  test('health, readiness and metrics', async () => {
    const ann = await connect();
    for (const path of ['/healthz', '/readyz']) assert.equal((await get(server.url, path)).status, 200, path);
    const { status, headers, body } = await get(server.url, '/metrics');
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^text\/plain/);
    const value = (name) => Number(new RegExp(`^${name}(?:{[^}]*})? ([0-9.e+]+)$`, 'm').exec(body)?.[1]);
    assert.ok(value('muster_connections') >= 1, body);
    assert.ok(value('muster_connections_total') >= value('muster_connections'), body);
    assert.ok(value('muster_rooms') >= 0, body);
    assert.equal(ann.socket.readyState, 1);
  });

  test('serves its page, and nothing beside it', async () => {
    const page = await get(server.url, '/');
    assert.equal(page.status, 200);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.equal(page.body, readFileSync(`${CANVAS}/index.html`, 'utf8'));
    const script = await get(server.url, '/client.js?v=1');
    assert.equal(script.status, 200);
    assert.match(script.headers['content-type'], /javascript/);
    assert.match((await get(server.url, '/style.css')).headers['content-type'], /^text\/css/);
    assert.equal((await get(server.url, '/nothing')).status, 404);
    for (const path of ['/../CMakeLists.txt', '/../canvas/../CMakeLists.txt', '/%2e%2e/CMakeLists.txt', '/..%2fCMakeLists.txt', '//etc/passwd', '/%2fetc/passwd', '/index.html%00.js']) {
      const { status } = await get(server.url, path);
      assert.ok(status >= 400, `${path}: ${status}`);
    }
  });

  test('only /ws is a WebSocket', async () => {
    const refused = await Peer.open(`${server.ws}x`).catch((error) => error);
    assert.ok(refused instanceof Error && refused.status >= 400, `status ${refused.status}`);
  });

  test('another site is refused', async () => {
    const refused = await Peer.open(server.ws, { headers: { Origin: 'http://evil.example' } }).catch((error) => error);
    assert.equal(refused.status, 403);
    const ann = await connect({ headers: { Origin: server.url } });
    assert.ok(ann.connection);
  });
});
