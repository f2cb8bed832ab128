// The page's client.js: against a real muster_server, and against a scripted socket for what a server rarely does.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { CANVAS, DEADLINE, WebSocket, startServer, tokensFile, within } from './support.mjs';

const { Client, MusterError } = await import(pathToFileURL(`${CANVAS}/client.js`));
const options = { timeout: 4 * DEADLINE };

let clients = [];
function newClient(url, more) {
  const client = new Client(url, { WebSocket, ...more });
  clients.push(client);
  return client;
}
afterEach(() => { clients.forEach((client) => client.close()); clients = []; });

/** The next event of this type that is accepted. */
function event(client, type, accepts = () => true) {
  let off;
  const found = new Promise((done) => { off = client.on(type, (detail) => { if (accepts(detail)) done(detail); }); });
  return within(found, () => `${type}: ${accepts}`).finally(() => off());
}

describe('with a server', options, () => {
  let server, number = 0;
  const newRoom = () => `client:${++number}`;
  const connect = async (more) => { const client = newClient(server.ws, more); await client.connect(); return client; };
  before(async () => { server = await startServer({ flags: ['--connect-rate-per-ip', '0'] }); });
  after(() => server.stop());

  test('connects, joins, publishes and hears', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect(), await connect()];
    assert.deepEqual([...(await ann.join(room)).members.keys()], [ann.id]);
    const came = event(ann, 'presence');
    const joined = await bob.join(room);
    assert.deepEqual([...joined.members.keys()].sort(), [ann.id, bob.id].sort());
    assert.deepEqual((await came).joined, [{ connection: bob.id, user: bob.user }]);
    assert.equal(ann.room(room).memberCount, 2);
    const heard = event(bob, 'message');
    const { seq, epoch } = await ann.publish(room, { hello: 'world' });
    assert.equal(seq, 1);
    assert.ok(epoch);
    const message = await heard;
    assert.deepEqual([message.room, message.seq, message.from.connection, message.data], [room, 1, ann.id, { hello: 'world' }]);
    assert.ok(Math.abs(message.at - Date.now()) < 60_000);
    const left = event(ann, 'presence', (presence) => presence.left.length);
    await bob.leave(room);
    assert.deepEqual((await left).left.map(({ connection }) => connection), [bob.id]);
    await assert.rejects(bob.publish(room, 1), { code: 'not_in_room' });
  });

  test('awareness: the others only, the newest of many, and null at the end', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect(), await connect()];
    await ann.join(room);
    await bob.join(room);
    const seen = [];
    bob.on('awareness', ({ changes }) => seen.push(...changes));
    ann.on('awareness', ({ changes }) => assert.ok(changes.every(({ client }) => client !== ann.id), 'not one\'s own'));
    const last = event(bob, 'awareness', ({ changes }) => changes.some(({ state }) => state?.n === 499));
    for (let n = 0; n < 500; ++n) ann.setAwareness(room, { n });
    await last;
    assert.ok(seen.length <= 3, `${seen.length} updates for 500 changes`);
    assert.equal(bob.room(room).awareness.get(ann.id).state.n, 499);
    const gone = event(bob, 'awareness', ({ changes }) => changes.some(({ state }) => state === null));
    ann.close();
    assert.equal((await gone).changes[0].client, ann.id);
    assert.equal(bob.room(room).awareness.size, 0);
  });

  test('a newcomer learns the awareness of those before', async () => {
    const room = newRoom();
    const [ann, bob] = [await connect(), await connect()];
    await ann.join(room);
    ann.setAwareness(room, { name: 'Ann' });
    await ann.ping();
    const told = event(bob, 'awareness');
    bob.join(room);
    assert.deepEqual((await told).changes.map(({ client, user, state }) => [client, user, state]), [[ann.id, ann.user, { name: 'Ann' }]]);
  });

  test('what is published offline is refused, what is joined offline is kept', async () => {
    const room = newRoom();
    const ann = newClient(server.ws);
    const joined = ann.join(room);
    await assert.rejects(ann.publish(room, 1), { name: 'MusterError', code: 'offline' });
    ann.connect();
    await within(joined, () => 'the join');
    assert.equal((await ann.publish(room, 1)).seq, 1);
  });

  test('refusals reject the command they belong to', async () => {
    const ann = await connect();
    await assert.rejects(ann.join('no such name'), (error) => error instanceof MusterError && error.code === 'invalid_room');
    assert.equal(ann.room('no such name'), undefined);
    await assert.rejects(ann.request('dance', {}), { code: 'unknown_message' });
  });

  test('measures its latency', async () => {
    const ann = newClient(server.ws, { pingInterval: 50 });
    ann.connect();
    assert.ok((await event(ann, 'latency')).ms > 0);
    assert.ok((await ann.ping()) > 0);
  });

  test('leaving before the join is answered leaves', async () => {
    const room = newRoom();
    const ann = await connect();
    const joining = ann.join(room);
    const left = ann.leave(room);
    await assert.rejects(joining, { code: 'left' });
    await left;
    assert.deepEqual((await ann.request('list_subscriptions', {})).subscriptions, []);
  });

  test('after a restart it reconnects, rejoins and announces itself again', async () => {
    let own = await startServer();
    const room = 'restart';
    const [ann, bob] = [newClient(own.ws, { backoffBase: 100, backoffCap: 400 }), newClient(own.ws, { backoffBase: 100, backoffCap: 400 })];
    await Promise.all([ann.connect(), bob.connect()]);
    await Promise.all([ann.join(room), bob.join(room)]);
    const aware = (client) => event(client, 'awareness', ({ changes }) => changes.some(({ state }) => state?.name === 'Ann'));
    const first = aware(bob);
    ann.setAwareness(room, { name: 'Ann' });
    const clock = (await first).changes[0].clock;
    const before = ann.id;

    const waiting = event(ann, 'state', ({ state }) => state === 'waiting');
    const stopping = Date.now();
    await own.stop();                                      // which may last until after the time that ann was told
    const { code, retryAt } = await waiting;
    assert.equal(code, 1001);
    assert.ok(retryAt >= stopping);
    await assert.rejects(ann.publish(room, 'lost?'), { code: 'offline' });

    const back = [event(ann, 'joined'), event(bob, 'joined')];
    const again = aware(bob);
    own = await startServer({ port: own.port });
    for (const { room: name, rejoined } of await Promise.all(back)) assert.deepEqual([name, rejoined], [room, true]);
    const { changes } = await again;
    assert.ok(changes[0].clock > clock, 'the clock goes on growing');
    assert.equal(changes[0].client, ann.id);
    assert.ok(before && ann.id);
    const heard = event(bob, 'message');
    await ann.publish(room, 'here again');
    assert.equal((await heard).data, 'here again');
    clients.forEach((client) => client.close());
    await own.stop();
  });
});

describe('with tokens', options, () => {
  let server;
  before(async () => { server = await startServer({ auth: tokensFile({ good: { user: 'ann', tenant: 'red' } }) }); });
  after(() => server.stop());

  for (const tokenIn of ['message', 'upgrade']) {
    test(`a token in the ${tokenIn}`, async () => {
      const ann = newClient(server.ws, { token: 'good', tokenIn });
      await within(ann.connect(), () => 'connection_ack');
      assert.deepEqual([ann.user, ann.tenant], ['ann', 'red']);
    });
  }

  test('a bad token ends it', async () => {
    const ann = newClient(server.ws, { token: 'bad' });
    await assert.rejects(within(ann.connect(), () => 'the refusal'), { code: 'auth_failed' });
    assert.equal(ann.state, 'closed');
  });

  test('a function is asked for a new one', async () => {
    const asked = [];
    const ann = newClient(server.ws, { token: async (code) => { asked.push(code); return asked.length === 1 ? 'bad' : 'good'; }, backoffBase: 10 });
    await within(ann.connect(), () => 'connection_ack');
    assert.deepEqual(asked, [undefined, 4002]);
  });
});

describe('with a scripted socket', options, () => {
  let sockets = [];
  class Scripted {
    readyState = 1; bufferedAmount = 0; sent = [];
    constructor(url, protocols) { this.protocols = protocols; sockets.push(this); queueMicrotask(() => this.onopen?.()); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close(code) { this.readyState = 3; this.closedWith = code; }
    tell(type, payload = {}, reply_to = undefined) { this.onmessage({ data: JSON.stringify({ type, timestamp: Date.now(), reply_to, payload }) }); }
    end(code, reason = '') { this.readyState = 3; this.onclose({ code, reason }); }
  }
  const stopClock = (t) => { const now = Date.now(); t.mock.method(Date, 'now', () => now); };       // timers run all the same
  const start = async (more) => {
    sockets = [];
    const client = newClient('ws://test/ws', { WebSocket: Scripted, pingInterval: 0, random: () => 1, ...more });
    client.connect().catch(() => {});
    await within(new Promise((done) => setImmediate(done)), () => 'the socket');
    sockets[0].tell('connection_ack', { connection: 'c1', user_id: 'ann' });
    return client;
  };

  for (const [code, state] of Object.entries({
    1000: 'closed', 1001: 'waiting', 1002: 'closed', 1003: 'closed', 1006: 'waiting', 1007: 'closed', 1008: 'waiting', 1009: 'closed', 1011: 'waiting',
    1013: 'waiting', 4001: 'closed', 4002: 'closed', 4003: 'closed', 4004: 'closed', 4005: 'closed', 4008: 'waiting', 4009: 'waiting', 4999: 'waiting',
  })) {
    test(`a close with ${code}: ${state}`, async () => {
      const client = await start();
      sockets[0].end(Number(code));
      assert.equal(client.state, state);
    });
  }

  test('4001 with a token authenticates again, 4004 does as the server says', async () => {
    const client = await start({ token: 'good' });
    assert.deepEqual(sockets[0].sent, [{ type: 'authenticate', payload: { token: 'good' } }]);
    sockets[0].end(4001);
    assert.equal(client.state, 'waiting');
    const kicked = await start();
    sockets[0].tell('kicked', { reason: 'moved', reconnect: true });
    sockets[0].end(4004);
    assert.equal(kicked.state, 'waiting');
  });

  test('waits ever longer, up to a cap, and at least as long as the server asks', async (t) => {
    stopClock(t);
    const client = await start({ backoffBase: 100, backoffCap: 1000 });
    const delays = [];
    client.on('state', ({ state, retryAt }) => { if (state === 'waiting') delays.push(retryAt - Date.now()); });
    for (let n = 0; n < 6; ++n) {
      sockets.at(-1).end(1006);
      client.retryNow();
      await new Promise((done) => setImmediate(done));
    }
    assert.deepEqual(delays, [100, 200, 400, 800, 1000, 1000]);
    sockets.at(-1).tell('connection_ack', { connection: 'c2', user_id: 'ann' });
    sockets.at(-1).tell('draining', { reconnect_after_ms: 7000 });
    sockets.at(-1).end(1001);
    assert.equal(delays.at(-1), 7000);
  });

  test('a lost connection rejects what was under way, and what is late changes nothing', async () => {
    const client = await start();
    const command = client.request('session_info', {});
    const [old] = sockets;
    old.end(1006);
    await assert.rejects(command, { code: 'disconnected' });
    client.retryNow();
    await new Promise((done) => setImmediate(done));
    old.onmessage({ data: '{"type":"connection_ack","payload":{"connection":"ghost"}}' });
    old.onclose({ code: 1000, reason: '' });
    assert.equal(client.state, 'connecting');
  });

  test('a command nobody answers times out; so does a connection', async () => {
    const client = await start({ commandTimeout: 20 });
    await assert.rejects(client.request('ping', {}), { code: 'timeout' });
    const dumb = newClient('ws://test/ws', { WebSocket: Scripted, connectTimeout: 20 });
    dumb.connect().catch(() => {});
    await event(dumb, 'state', ({ state }) => state === 'waiting');
  });

  test('presence is idempotent, and in very large rooms only a number', async () => {
    const client = await start();
    client.join('r').catch(() => {});
    const [{ id }] = sockets[0].sent;
    sockets[0].tell('room_joined', { room: 'r', seq: 0, epoch: 'e', members: [{ connection: 'c1', user: 'ann' }], member_count: 1 }, id);
    const told = [];
    client.on('presence', (presence) => told.push([presence.joined.length, presence.left.length, presence.memberCount]));
    const bob = { connection: 'c2', user: 'bob' };
    sockets[0].tell('presence', { room: 'r', joined: [bob], left: [], member_count: 2 });
    sockets[0].tell('presence', { room: 'r', joined: [bob], left: [], member_count: 2 });
    sockets[0].tell('presence', { room: 'r', joined: [], left: [bob], member_count: 1 });
    sockets[0].tell('presence', { room: 'r', joined: [], left: [bob], member_count: 1 });
    sockets[0].tell('presence', { room: 'r', member_count: 3000 });
    assert.deepEqual(told, [[1, 0, 2], [0, 0, 2], [0, 1, 1], [0, 0, 1], [0, 0, 3000]]);
    assert.deepEqual([...client.room('r').members.keys()], ['c1']);
  });

  test('a refused rejoin for now is tried again, for good it is told', async () => {
    const client = await start();
    client.join('r').catch(() => {});
    sockets[0].tell('error', { code: 'rate_limited', message: 'slow down', retry_after_ms: 10 }, sockets[0].sent[0].id);
    await within(new Promise((done) => { const send = sockets[0].send; sockets[0].send = (text) => { send.call(sockets[0], text); done(); }; }), () => 'the second join');
    assert.equal(sockets[0].sent[1].type, 'join');
    const left = event(client, 'left');
    sockets[0].tell('error', { code: 'room_full', message: 'full' }, sockets[0].sent[1].id);
    assert.equal((await left).error.code, 'room_full');
    assert.equal(client.room('r'), undefined);
  });

  const turn = () => new Promise((done) => setImmediate(done));
  /** Lost, and at once on the next socket, which is open. */
  const again = async (client, code = 1006) => {
    sockets.at(-1).end(code);
    client.retryNow();
    await turn();
    return sockets.at(-1);
  };
  const ack = { connection: 'c1', user_id: 'ann', resume_token: 't1', resume_ttl_ms: 60_000 };
  /** In room r, which is at `seq` of epoch 7, with a session to resume. */
  const inRoom = async (more) => {
    const client = await start(more);
    sockets[0].end(1006);
    client.retryNow();
    await turn();
    sockets[1].tell('connection_ack', ack);
    client.join('r').catch(() => {});
    sockets[1].tell('room_joined', { room: 'r', seq: 10, epoch: 7 }, sockets[1].sent.at(-1).id);
    client.story = [];
    client.on('message', ({ data }) => client.story.push(data));
    client.on('gap', ({ from, to, epoch }) => client.story.push(`gap ${from}-${to} of ${epoch}`));
    client.on('left', ({ room, error }) => client.story.push(`left ${room}: ${error.code}`));
    const message = (seq, data, epoch = 7) => sockets.at(-1).tell('message', { room: 'r', seq, epoch, data });
    return [client, message];
  };

  test('resumes from what it has read, own messages included, and keeps the old token until the answer', async () => {
    const [client, message] = await inRoom();
    message(11, 'a');
    client.publish('r', 'own');
    sockets.at(-1).tell('ack', { seq: 12, epoch: 7 }, sockets.at(-1).sent.at(-1).id);
    for (let attempt = 0; attempt < 2; ++attempt) {
      const socket = await again(client);
      assert.deepEqual(socket.sent, []);
      socket.tell('connection_ack', { ...ack, connection: `c${attempt + 2}`, resume_token: `t${attempt + 2}` });
      assert.equal(client.state, 'connecting', 'until the answer');
      assert.deepEqual(socket.sent.map(({ type, payload }) => [type, payload.token, payload.rooms]), [['resume', 't1', { r: { epoch: 7, seq: 12 } }]]);
    }
    const socket = sockets.at(-1);
    socket.tell('resumed', { connection: 'c1', rooms: { r: 'recovered' } }, socket.sent[0].id);
    socket.tell('room_joined', { room: 'r', seq: 14, epoch: 7 });
    message(13, 'b');
    message(13, 'b again');
    message(14, 'c');
    assert.deepEqual([client.story, client.id, client.state], [['a', 'b', 'c'], 'c1', 'connected']);
    const next = await again(client);
    next.tell('connection_ack', { ...ack, resume_token: 't4' });
    assert.deepEqual([next.sent[0].payload.token, next.sent[0].payload.rooms], ['t3', { r: { epoch: 7, seq: 14 } }]);
  });

  test('with a token, resume is the first message; bad credentials do not spend the session', async () => {
    const [client] = await inRoom({ token: async () => 'secret' });
    const socket = await again(client);
    assert.deepEqual(socket.sent.map(({ type, payload }) => [type, payload.auth, payload.token]), [['resume', 'secret', 't1']]);
    socket.tell('auth_result', { authenticated: false, error: 'expired' }, socket.sent[0].id);
    const next = await again(client, 4002);
    assert.equal(next.sent[0].payload.token, 't1');
  });

  test('a room that began anew, one with a gap, and one that is denied', async () => {
    const [client, message] = await inRoom();
    const resumed = async (state, joined) => {
      const socket = await again(client);
      socket.tell('connection_ack', ack);
      socket.tell('resumed', { connection: 'c1', rooms: { r: state } }, socket.sent[0].id);
      if (joined) socket.tell('room_joined', { room: 'r', ...joined });
      return socket;
    };
    let socket = await resumed('gap', { seq: 20, epoch: 7 });
    socket.tell('gap', { room: 'r', from: 11, to: 18 });
    message(19, 'x');
    message(20, 'y');
    socket = await resumed('gap', { seq: 2, epoch: 8 });
    message(1, 'new 1', 8);
    message(2, 'new 2', 8);
    socket = await resumed('denied');
    const join = socket.sent.find(({ type }) => type === 'join');
    socket.tell('error', { code: 'permission_denied', message: 'no longer' }, join.id);
    await turn();
    assert.deepEqual(client.story, ['gap 11-18 of 7', 'x', 'y', 'gap 21-undefined of 7', 'new 1', 'new 2', 'left r: permission_denied']);
  });

  test('after resume_failed it joins anew, and names what went by', async () => {
    const [client] = await inRoom();
    const states = [];
    client.on('state', ({ state, resumed, error }) => states.push([state, resumed, error?.code]));
    const socket = await again(client);
    socket.tell('connection_ack', { ...ack, connection: 'c9' });
    socket.tell('error', { code: 'resume_failed', message: 'gone' }, socket.sent[0].id);
    assert.deepEqual(states.at(-1), ['connected', false, 'resume_failed']);
    socket.tell('room_joined', { room: 'r', seq: 12, epoch: 7 }, socket.sent.at(-1).id);
    assert.deepEqual([client.story, client.id], [['gap 11-12 of 7'], 'c9']);
  });

  test('retryPublish: the same key again after a resume, a rejection where there is none', async () => {
    const [client] = await inRoom({ retryPublish: true });
    const [one, two] = [client.publish('r', 1), client.publish('r', 2)];
    const keys = sockets.at(-1).sent.slice(-2).map(({ payload }) => payload.idempotency_key);
    assert.ok(keys[0] && keys[0] !== keys[1] && keys[0].length <= 64);
    let socket = await again(client);
    socket.tell('connection_ack', ack);
    socket.tell('resumed', { connection: 'c1', rooms: { r: 'recovered' } }, socket.sent[0].id);
    await turn();
    const repeated = socket.sent.filter(({ type }) => type === 'publish');
    assert.deepEqual(repeated.map(({ payload }) => [payload.data, payload.idempotency_key]), [[1, keys[0]], [2, keys[1]]]);
    socket.tell('ack', { seq: 11, epoch: 7 }, repeated[0].id);
    assert.equal((await one).seq, 11);
    socket = await again(client);
    socket.tell('connection_ack', ack);
    socket.tell('error', { code: 'resume_failed', message: 'gone' }, socket.sent[0].id);
    await assert.rejects(two, { code: 'disconnected' });
  });

  test('comes back exactly when a draining server said, and a while after the time of a refusal', async (t) => {
    stopClock(t);
    const client = await start({ random: () => 0.5, backoffBase: 1000 });
    const waits = [];
    client.on('state', ({ state, retryAt }) => { if (state === 'waiting') waits.push(retryAt - Date.now()); });
    sockets[0].tell('draining', { reconnect_after_ms: 3000 });
    sockets[0].end(1001);
    client.retryNow();
    assert.equal(client.state, 'waiting', 'not sooner');
    client.close();
    const other = await start({ random: () => 0.5, backoffBase: 1000 });
    other.on('state', ({ state, retryAt }) => { if (state === 'waiting') waits.push(retryAt - Date.now()); });
    sockets[0].tell('error', { code: 'unavailable', message: 'full', retry_after_ms: 2000 });
    sockets[0].end(1013);
    assert.deepEqual(waits, [3000, 2500]);
  });
});
