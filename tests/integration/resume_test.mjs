// The page's client.js across losses, against a real muster_server: sessions, cursors, credentials, the offline queue, drain.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { CANVAS, DEADLINE, WebSocket, startProxy, startServer, tokensFile, within } from './support.mjs';

const { Client } = await import(pathToFileURL(`${CANVAS}/client.js`));
const options = { timeout: 4 * DEADLINE };
const people = { ann: { user: 'ann' }, bob: { user: 'bob' }, cat: { user: 'cat' }, dan: { user: 'dan' }, eve: { user: 'eve' } };
const UNLIMITED = ['--connect-rate-per-ip', '0', '--max-connections-per-ip', '0', '--message-rate', '0'];
const QUICK = { backoffBase: 20, backoffCap: 200 };
const BETWEEN_LOOKS = 50;                                  // ms, between two readings of the clock on a busy machine

let clients = [], closing = [];
function newClient(url, more) {
  const client = new Client(url, { WebSocket, ...QUICK, ...more });
  client.seen = [];                                        // [room's message data], in order
  client.gaps = [];
  client.on('message', ({ data }) => client.seen.push(data));
  client.on('gap', (gap) => client.gaps.push(gap));
  clients.push(client);
  return client;
}
async function connect(url, token, rooms = [], more = {}) {
  const client = newClient(url, { token, ...more });
  const joined = rooms.map((room) => client.join(room));
  await within(client.connect(), () => `${token} to connect`);
  await within(Promise.all(joined), () => `${token} to join ${rooms}`);
  return client;
}
afterEach(async () => {
  clients.forEach((client) => client.close());
  clients = [];
  for (const end of closing.splice(0)) await end();
});

/** The next event of this type that is accepted. */
function event(client, type, accepts = () => true) {
  let off;
  const found = new Promise((done) => { off = client.on(type, (detail) => { if (accepts(detail)) done(detail); }); });
  return within(found, () => `${type}: ${accepts}`).finally(() => off());
}
const state = (client, name) => event(client, 'state', (detail) => detail.state === name);
const saw = (client, count) => (client.seen.length >= count ? Promise.resolve() : event(client, 'message', () => client.seen.length >= count));

/** A stand-in for sessionStorage. */
function memoryStorage() {
  const items = new Map();
  return { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => items.set(key, value), removeItem: (key) => items.delete(key), items };
}

describe('resume', options, () => {
  let server, number = 0;
  const newRoom = () => `resume:${++number}`;
  const proxied = async () => { const proxy = await startProxy(server); closing.push(() => proxy.close()); return proxy; };
  before(async () => { server = await startServer({ auth: tokensFile(people), flags: [...UNLIMITED, '--allow-send'] }); });
  after(() => server.stop());

  for (const tokenIn of ['message', 'upgrade']) {
    test(`keeps id, seats, presence and awareness, and replays what was missed once (token in the ${tokenIn})`, async () => {
      const [room, proxy] = [newRoom(), await proxied()];
      const bob = await connect(server.ws, 'bob', [room]);
      const ann = await connect(proxy.ws, 'ann', [room], { tokenIn });
      const told = event(bob, 'awareness');
      ann.setAwareness(room, { name: 'Ann' });
      await told;
      const flaps = [];
      bob.on('presence', ({ left }) => flaps.push(...left));
      bob.on('awareness', ({ changes }) => flaps.push(...changes.filter(({ state }) => state === null)));
      await bob.publish(room, 1);
      await ann.publish(room, 'own');
      await saw(ann, 1);
      const { id } = ann;
      for (let round = 0; round < 3; ++round) {
        const waiting = state(ann, 'waiting');
        proxy.cut();
        await waiting;
        const back = state(ann, 'connected');
        for (let n = 0; n < 10; ++n) await bob.publish(room, `${round}.${n}`);
        const { resumed, error } = await back;
        assert.ok(resumed, `resumed; ${error}`);
        await saw(ann, 1 + 10 * (round + 1));
      }
      assert.deepEqual(ann.seen, [1, ...[0, 1, 2].flatMap((round) => Array.from({ length: 10 }, (_, n) => `${round}.${n}`))]);
      assert.deepEqual([ann.id, ann.gaps], [id, []]);
      const [heard, stated] = [event(bob, 'message'), event(bob, 'awareness')];
      await ann.publish(room, 'back');
      assert.equal((await heard).from.connection, id);
      ann.setAwareness(room, { name: 'Annabel' });
      assert.deepEqual((await stated).changes.map(({ client, state: doing }) => [client, doing.name]), [[id, 'Annabel']]);
      assert.deepEqual(flaps, [], 'nobody saw it leave');
      assert.deepEqual([...ann.room(room).members.keys()].sort(), [id, bob.id].sort());
    });
  }

  test('a network that falls silent without FIN: noticed by its pings, and back with nothing lost or twice', async () => {
    const [room, proxy] = [newRoom(), await proxied()];
    const bob = await connect(server.ws, 'bob', [room]);
    const ann = await connect(proxy.ws, 'ann', [room], { pingInterval: 100, pongTimeout: 300 });
    const flaps = [];
    bob.on('presence', ({ left }) => flaps.push(...left));
    await bob.publish(room, 0);
    await saw(ann, 1);
    const back = event(ann, 'state', ({ state: name, resumed }) => name === 'connected' && resumed);
    proxy.silence();
    for (let n = 1; n <= 50; ++n) await bob.publish(room, n);
    await back;
    await bob.publish(room, 51);
    await saw(ann, 52);
    assert.deepEqual(ann.seen, Array.from({ length: 52 }, (_, n) => n));
    assert.deepEqual([ann.gaps, flaps], [[], []]);
  });

  test('losses at any moment, also while resuming: every message once, in order', async () => {
    const [room, proxy] = [newRoom(), await proxied()];
    const bob = await connect(server.ws, 'bob', [room]);
    const ann = await connect(proxy.ws, 'ann', [room], { connectTimeout: 500 });
    let random = 7;
    const next = (most) => { random = (random * 16807) % 2147483647; return random % most; };
    for (let n = 0; n < 400; ++n) {
      await bob.publish(room, n);
      if (next(8) === 0) proxy.cut();
      if (next(4) === 0) await new Promise((done) => setTimeout(done, next(15)));     // so that cuts meet every stage of coming back
    }
    await saw(ann, 400);
    assert.deepEqual(ann.seen, Array.from({ length: 400 }, (_, n) => n));
    assert.deepEqual(ann.gaps, []);
  });

  test('what the room holds no longer is a gap, and the rest follows', async () => {
    const own = await startServer({ auth: tokensFile(people), flags: [...UNLIMITED, '--history-messages', '5'] });
    closing.push(() => own.stop());
    const proxy = await startProxy(own);
    closing.unshift(() => proxy.close());
    const bob = await connect(own.ws, 'bob', ['r']);
    const ann = await connect(proxy.ws, 'ann', ['r'], { random: () => 1, backoffBase: 300, backoffCap: 300 });
    const back = event(ann, 'state', ({ state: name, resumed }) => name === 'connected' && resumed);
    const [waiting, last] = [state(ann, 'waiting'), event(ann, 'message', ({ data }) => data === 20)];
    proxy.cut();
    for (let n = 1; n <= 20; ++n) await bob.publish('r', n);
    await Promise.all([waiting, back, last]);
    assert.deepEqual(ann.seen.slice(-5), [16, 17, 18, 19, 20]);
    assert.ok(ann.gaps.length > 0);
    const missed = ann.gaps.reduce((sum, { from, to }) => sum + to - from + 1, 0);
    assert.equal(missed + ann.seen.length, 20, 'each message, or named');
  });

  test('a room left while offline is not resumed, one joined while offline is joined', async () => {
    const [left, kept, fresh, proxy] = [newRoom(), newRoom(), newRoom(), await proxied()];
    const bob = await connect(server.ws, 'bob', [left]);
    const came = event(bob, 'presence');
    const ann = await connect(proxy.ws, 'ann', [left, kept]);
    await came;
    const waiting = state(ann, 'waiting');
    const gone = event(bob, 'presence', (presence) => presence.left.length);
    proxy.cut();
    await waiting;
    await ann.leave(left);
    const joined = ann.join(fresh);
    await within(joined, () => 'the join');
    assert.deepEqual((await ann.request('list_subscriptions', {})).subscriptions.sort(), [fresh, kept].sort());
    await gone;
  });

  test('a session that is too old is not asked for; one the server no longer knows is told, and its rooms joined anew', async () => {
    const own = await startServer({ auth: tokensFile(people), flags: [...UNLIMITED, '--resume-window', '300ms', '--presence-grace', '300ms'] });
    closing.push(() => own.stop());
    const proxy = await startProxy(own);
    closing.unshift(() => proxy.close());
    const bob = await connect(own.ws, 'bob', ['r']);
    const ann = await connect(proxy.ws, 'ann', ['r'], { random: () => 1, backoffBase: 600, backoffCap: 600 });
    const { id } = ann;
    const [back, gap] = [state(ann, 'connected'), event(ann, 'gap')];
    const left = event(bob, 'presence', (presence) => presence.left.some(({ connection }) => connection === id));
    proxy.cut();
    await bob.publish('r', 'missed');
    const { resumed, error } = await back;
    assert.deepEqual([resumed, error], [false, undefined], 'not even asked');
    const { from, to } = await gap;
    assert.deepEqual([from, to], [1, 1]);
    await left;
    assert.notEqual(ann.id, id);
  });

  test('after a restart the session is gone: told, joined anew, and the gap says that nobody knows', async () => {
    let own = await startServer({ auth: tokensFile(people), flags: UNLIMITED });
    const ann = await connect(own.ws, 'ann', ['r']);
    const bob = await connect(own.ws, 'bob', ['r']);
    await bob.publish('r', 'before');
    await saw(ann, 1);
    const waiting = [state(ann, 'waiting'), state(bob, 'waiting')];
    await own.kill();
    await Promise.all(waiting);
    const [back, gap, joined] = [state(ann, 'connected'), event(ann, 'gap'), event(ann, 'joined')];
    const bobs = event(bob, 'joined');
    own = await startServer({ auth: tokensFile(people), flags: UNLIMITED, port: own.port });
    closing.push(() => own.stop());
    const { resumed, error } = await back;
    assert.deepEqual([resumed, error?.code], [false, 'resume_failed']);
    assert.deepEqual([(await joined).rejoined, (await gap).to], [true, undefined]);
    await bobs;
    await bob.publish('r', 'after');
    await saw(ann, 2);
    assert.deepEqual(ann.seen, ['before', 'after']);
  });

  test('publishes that a loss cut off: rejected by default', async () => {
    const [room, proxy] = [newRoom(), await proxied()];
    const ann = await connect(proxy.ws, 'ann', [room]);
    proxy.silence();
    const publishing = ann.publish(room, 'lost?');
    proxy.cut();
    await assert.rejects(publishing, { code: 'disconnected' });
  });

  test('with retryPublish they are repeated, and heard once whether or not they had arrived', async (t) => {
    const [room, proxy] = [newRoom(), await proxied()];
    const bob = await connect(server.ws, 'bob', [room]);
    const ann = await connect(proxy.ws, 'ann', [room], { retryPublish: true });
    const first = await ann.publish(room, 0).catch((error) => error);
    if (first.code === 'not_supported') return t.skip('this server does not support idempotency keys');
    proxy.deafen();                                        // arrives, but the answer does not
    const arrived = ann.publish(room, 1);
    await saw(bob, 2);
    proxy.silence();                                       // does not arrive
    const lost = ann.publish(room, 2);
    proxy.cut();
    assert.deepEqual((await within(Promise.all([arrived, lost]), () => 'both answers')).map(({ seq }) => seq), [2, 3]);
    await saw(bob, 3);
    assert.deepEqual(bob.seen, [0, 1, 2]);
  });

  test('a lost answer to resume does not lose the session', async () => {
    const [room, proxy] = [newRoom(), await proxied()];
    const bob = await connect(server.ws, 'bob', [room]);
    const flaps = [];
    bob.on('presence', ({ left }) => flaps.push(...left));
    const ann = await connect(proxy.ws, 'ann', [room], { connectTimeout: 200 });
    const { id } = ann;
    const connecting = state(ann, 'connecting');
    proxy.cut();
    await connecting;
    proxy.deafenNext();
    const back = state(ann, 'connected');
    await bob.publish(room, 'meanwhile');
    assert.ok((await back).resumed);
    await saw(ann, 1);
    assert.deepEqual([ann.id, ann.seen, flaps], [id, ['meanwhile'], []]);
  });
});

describe('credentials', options, () => {
  test('are renewed on the live connection before they end', async () => {
    const soon = Date.now() + 10_000;
    const server = await startServer({
      auth: tokensFile({ short: { user: 'ann', expires_at: soon }, long: { user: 'ann', expires_at: soon + 3_600_000 } }),
      flags: [...UNLIMITED, '--reauth-lead', '9s', '--reauth-grace', '1s'],
    });
    closing.push(() => server.stop());
    const asked = [];
    const ann = newClient(server.ws, { token: (why) => { asked.push(why); return asked.length === 1 ? 'short' : 'long'; } });
    const renewed = event(ann, 'reauth');
    await ann.connect();
    const { expiresAt, error } = await renewed;
    assert.deepEqual([expiresAt, error], [soon + 3_600_000, undefined]);
    assert.deepEqual(asked, [undefined, 'reauth_required']);
    await ann.ping();
    assert.equal(ann.state, 'connected');
  });

  test('that are no newer are told, and end the connection in the end; a new token brings it back', async () => {
    const soon = Date.now() + 2000;
    const server = await startServer({
      auth: tokensFile({ short: { user: 'ann', expires_at: soon }, long: { user: 'ann' } }),
      flags: [...UNLIMITED, '--reauth-lead', '1900ms', '--reauth-grace', '200ms'],
    });
    closing.push(() => server.stop());
    const asked = [];
    const ann = newClient(server.ws, { token: (why) => { asked.push(why); return why === 4001 ? 'long' : 'short'; } });
    const lost = state(ann, 'waiting');
    await ann.connect();
    assert.equal((await lost).code, 4001);
    await state(ann, 'connected');
    assert.deepEqual(asked, [undefined, 'reauth_required', 4001]);
  });

  test('of another user, and none at all, are told', async () => {
    const soon = Date.now() + 10_000;
    const server = await startServer({
      auth: tokensFile({ short: { user: 'ann', expires_at: soon }, bob: { user: 'bob' } }),
      flags: [...UNLIMITED, '--reauth-lead', '9s', '--reauth-grace', '5s'],
    });
    closing.push(() => server.stop());
    const ann = newClient(server.ws, { token: (why) => (why === 'reauth_required' ? 'bob' : 'short') });
    const fixed = newClient(server.ws, { token: 'short' });
    const [refused, none] = [event(ann, 'reauth'), event(fixed, 'reauth')];
    const closed = state(ann, 'waiting');
    await Promise.all([ann.connect(), fixed.connect()]);
    assert.equal((await refused).error.code, 'auth_failed');
    assert.equal((await closed).code, 4002);
    assert.equal((await none).error.code, 'no_new_token');
    assert.equal(fixed.state, 'connected');
  });
});

describe('the offline queue', options, () => {
  let server;
  before(async () => { server = await startServer({ auth: tokensFile(people), flags: [...UNLIMITED, '--allow-send'] }); });
  after(() => server.stop());
  const send = (from, user, data) => from.request('send', { user, data, queued: true });
  const collect = (client, handle = () => {}) => {
    const got = [];
    client.on('direct', (direct) => { got.push(direct.data); return handle(direct); });
    return got;
  };
  const got = (client, list, count) => (list.length >= count ? Promise.resolve() : event(client, 'direct', () => list.length >= count));

  test('waits for who is offline, comes in order and once, and is acknowledged', async () => {
    const bob = await connect(server.ws, 'bob');
    for (let n = 0; n < 5; ++n) await send(bob, 'ann', n);
    const ann = newClient(server.ws, { token: 'ann' });
    const list = collect(ann);
    await ann.connect();
    await got(ann, list, 5);
    assert.deepEqual(list, [0, 1, 2, 3, 4]);
    await ann.ping();                                      // the acknowledgement came before it
    ann.close();
    const again = newClient(server.ws, { token: 'ann' });
    const second = collect(again);
    await again.connect();
    await again.ping();
    assert.deepEqual(second, [], 'acknowledged ones do not come again');
  });

  test('comes once also when the connection is lost before the acknowledgement arrives', async () => {
    const proxy = await startProxy(server);
    closing.push(() => proxy.close());
    const bob = await connect(server.ws, 'bob');
    const ann = newClient(proxy.ws, { token: 'dan' });
    const list = collect(ann, ({ data }) => { if (data % 3 === 0) proxy.cut(); });
    await ann.connect();
    for (let n = 1; n <= 12; ++n) await send(bob, 'dan', n);
    await got(ann, list, 12);
    assert.deepEqual(list, Array.from({ length: 12 }, (_, n) => n + 1));
    while (!await ann.ping().catch(() => undefined)) if (ann.state !== 'connected') await state(ann, 'connected');
    const cleared = newClient(server.ws, { token: 'dan' });
    const rest = collect(cleared);
    await cleared.connect();
    await cleared.ping();
    assert.deepEqual(rest, []);
  });

  test('a listener that throws, or a promise that rejects, gets it again; nothing after it is acknowledged before', async () => {
    const proxy = await startProxy(server);
    closing.push(() => proxy.close());
    const bob = await connect(server.ws, 'bob');
    const ann = newClient(proxy.ws, { token: 'eve' });
    let fails = 1;
    const list = collect(ann, async ({ data }) => { if (data === 'b' && fails-- > 0) throw new Error('not now'); });
    await ann.connect();
    for (const data of ['a', 'b', 'c']) await send(bob, 'eve', data);
    await got(ann, list, 3);
    const back = state(ann, 'connected');
    proxy.cut();
    await back;
    await got(ann, list, 4);
    assert.deepEqual(list, ['a', 'b', 'c', 'b']);
    await ann.ping();
  });

  test('of a server that keeps it in memory is gone with it, and the next one counts anew without being ignored', async () => {
    const flags = [...UNLIMITED, '--allow-send'];
    let own = await startServer({ auth: tokensFile(people), flags });
    const bob = await connect(own.ws, 'bob');
    const ann = newClient(own.ws, { token: 'ann' });
    const list = collect(ann);
    await ann.connect();
    await send(bob, 'ann', 'one');
    await send(bob, 'cat', 'never');                       // who is not there
    await got(ann, list, 1);
    const back = [ann, bob].map((client) => state(client, 'waiting').then(() => state(client, 'connected')));
    await own.kill();
    own = await startServer({ auth: tokensFile(people), flags, port: own.port });
    closing.push(() => own.stop());
    await Promise.all(back);
    await send(bob, 'ann', 'two');
    await got(ann, list, 2);
    assert.deepEqual(list, ['one', 'two']);
    const cat = newClient(own.ws, { token: 'cat' });
    const none = collect(cat);
    await cat.connect();
    await cat.ping();
    assert.deepEqual(none, []);
  });

  test('acknowledged by hand: kept until then', async () => {
    const bob = await connect(server.ws, 'bob');
    const cat = newClient(server.ws, { token: 'cat', acknowledge: 'manually' });
    const events = [];
    cat.on('direct', (direct) => events.push(direct));
    await cat.connect();
    for (const data of ['x', 'y']) await send(bob, 'cat', data);
    await cat.ping();
    assert.deepEqual(events.map(({ data }) => data), ['x', 'y']);
    events[1].ack();                                       // covers the first only once that is dealt with
    await cat.ping();
    const other = newClient(server.ws, { token: 'cat', acknowledge: 'manually' });
    const list = collect(other);
    await other.connect();
    await other.ping();
    assert.deepEqual(list, ['x', 'y']);
    events[0].ack();
    await cat.ping();
    const last = newClient(server.ws, { token: 'cat' });
    const none = collect(last);
    await last.connect();
    await last.ping();
    assert.deepEqual(none, []);
  });
});

describe('a server that drains', options, () => {
  test('tells each when to come back, and that is when it does', async () => {
    let server = await startServer({ auth: tokensFile(people), flags: [...UNLIMITED, '--drain-deadline', '200ms', '--reconnect-window', '2s'] });
    const ann = await connect(server.ws, 'ann', ['r']);
    let told;                                              // by this test's look at the clock, a moment after the client's
    ann.on('draining', ({ reconnect_after_ms: after }) => { told = Date.now() + after; });
    const waiting = state(ann, 'waiting');
    const connecting = event(ann, 'state', ({ state: name }) => name === 'connecting').then(() => Date.now());
    const { port } = server;
    const stopped = server.stop();
    const { code, retryAt } = await waiting;
    const early = told - BETWEEN_LOOKS <= Date.now();      // drawn so soon that it may have been over before the close
    if (!early) {
      assert.ok(retryAt <= told && retryAt >= told - BETWEEN_LOOKS, `${told - retryAt} ms before it was told`);
      ann.retryNow();
      assert.equal(ann.state, 'waiting', 'not sooner, whoever asks');
    }
    await stopped;
    assert.equal(code, 1001);
    server = await startServer({ auth: tokensFile(people), flags: UNLIMITED, port });
    closing.push(() => server.stop());
    const at = await connecting;
    if (!early) assert.ok(at >= retryAt - 2 && at < retryAt + 1000, `${at - retryAt} ms after`);
    if (ann.state !== 'connected') await state(ann, 'connected');
  });
});
