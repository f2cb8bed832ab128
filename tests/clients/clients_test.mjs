// One set of scenes, played by every client against a muster_server of its own. README.md says how.

import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { clients, run } from './clients.mjs';
import { sized, targets } from './sizes.mjs';
import { DEADLINE, Peer, get, startServer, tokensFile, until, within } from './support.mjs';

const TOKEN = 'ann-secret';
const LIMIT = 128 * 1024;
const flags = ['--heartbeat', '1s', '--pong-timeout', '1s', '--max-message-bytes', String(LIMIT), '--message-rate', '0', '--byte-rate', '0', '--frame-rate', '0',
  '--connect-rate-per-ip', '0', '--drain-deadline', '1s', '--log-level', 'error'];
const start = (...more) => startServer({ auth: tokensFile({ [TOKEN]: { user: 'ann' }, 'eve-secret': { user: 'eve' } }), flags: [...flags, ...more] });

/** A server for one scene, gone after it whatever happened. */
async function own(use, ...more) {
  const server = await start(...more);
  try {
    await use(server);
  } finally {
    await server.kill();
  }
}

/** A connection of ours beside the client's: it sees who is there and how time goes by. */
const observe = (server, ...rooms) => Peer.connect(server.ws, { headers: { Authorization: 'Bearer eve-secret' }, rooms });
const join = (room) => [`send {"type":"join","id":"joining","payload":{"room":"${room}"}}`, 'await "joining"'];
const comes = (observer) => observer.take(({ type, payload }) => type === 'presence' && payload.joined?.some(({ user }) => user === 'ann'), 'the client in the room');
const metric = async (server, name) => Number(new RegExp(`^muster_${name} (\\d+)$`, 'm').exec((await get(server.url, '/metrics')).body.replaceAll('"', ''))[1]);
const rises = (server, name, before) => until(async () => await metric(server, name) > before, () => `${name} to rise above ${before}`);

function play(name, client) {
  const can = (what) => !client.lacks.includes(what);
  const hello = can('header') ? ['offer muster.v1.json', `bearer ${TOKEN}`] : [`offer muster.v1.json,bearer,${TOKEN}`];
  const shows = (seen, what, expected) => assert.equal(seen[what], can(what) ? expected : seen[what], what);
  const closed = (seen, code, reason = '') => {
    assert.equal(seen.code, code);
    shows(seen, 'reason', reason);
  };
  /** Its own close was answered, and the server took it for what it is. */
  const leaves = async (server, script, code, reason, kind = 'normal') => {
    const counter = `closed_total{reason=${kind}}`;
    const before = await metric(server, counter);
    const seen = await run(client, server.ws, script);
    if (can('answer')) closed(seen, code, reason);
    await rises(server, counter, before);
    return seen;
  };
  const acknowledged = (seen) => assert.equal(JSON.parse(seen.messages.find((message) => message.includes('"connection_ack"'))).payload.user_id, 'ann');
  const sizes = (more = [], first = []) => own(async (server) => {
    const observer = await observe(server);
    const { script, answer, check } = await sized(observer);
    const done = run(client, server.ws, [...first, ...hello, ...join('sizes'), ...script, 'close 1000 done']);
    await Promise.race([done, answer()]);
    check((await done).messages);
  }, ...more);

  describe(name, { concurrency: 1, timeout: 20 * DEADLINE }, () => {
    let server;
    before(async () => { server = await start(); });
    after(() => server.stop());

    test('authenticates by its first message, without a subprotocol', async () => {
      const seen = await leaves(server, [`send {"type":"authenticate","id":1,"payload":{"token":"${TOKEN}"}}`, 'await "connection_ack"', 'close 1000 done'], 1000, 'done');
      acknowledged(seen);
      assert.equal(seen.protocol, '');
    });

    test('brings its token as a subprotocol', async () => {
      const seen = await run(client, server.ws, [`offer muster.v1.json,bearer,${TOKEN}`, 'await "connection_ack"', 'close 1000']);
      acknowledged(seen);
      shows(seen, 'protocol', 'muster.v1.json');
    });

    if (can('header')) test('brings its token in a header', async () => {
      acknowledged(await run(client, server.ws, [`bearer ${TOKEN}`, 'await "connection_ack"', 'close 1000']));
    });

    test('is given the subprotocol that the server knows', async () => {
      const seen = await run(client, server.ws, ['offer nothing.v9,muster.v1.json', `send {"type":"authenticate","payload":{"token":"${TOKEN}"}}`, 'await "connection_ack"', 'close 1000']);
      acknowledged(seen);
      shows(seen, 'protocol', 'muster.v1.json');
    });

    test('gets 200 messages in order', async () => {
      const numbers = Array.from({ length: 200 }, (_, i) => i + 1);
      const sends = numbers.map((n) => `send {"type":"publish","payload":{"room":"order","echo":true,"data":{"n":${n},"text":"größer ✓ 😀"}}}`);
      const seen = await run(client, server.ws, [...hello, ...join('order'), ...sends, 'await "n":200', 'close 1000 done']);
      const messages = seen.messages.map((text) => JSON.parse(text)).filter(({ type }) => type === 'message').map(({ payload }) => payload);
      assert.deepEqual(messages.map(({ data }) => data.n), numbers);
      assert.deepEqual(messages.map(({ seq }) => seq), numbers);
      assert.ok(messages.every(({ data }) => data.text === 'größer ✓ 😀'));
    });

    test(`carries ${targets.length} sizes both ways`, () => sizes());
    test(`carries ${targets.length} sizes both ways where the server compresses`, () => sizes(['--deflate']));

    if (client.keepsContext) test(`carries ${targets.length} sizes both ways, compressed with its context where the server bears that`, () =>
      sizes(['--deflate', '--deflate-client-window-bits', '15'], ['compress']));

    if (client.keepsContext) test('is told that it keeps a context where the server bears none', () => own(async (server) => {
      const seen = await run(client, server.ws, ['compress', ...hello, ...join('context'), ...join('context'), 'closed']);
      closed(seen, 1002, 'client_no_context_takeover was agreed, yet a compressed message refers to an earlier one: keep to it, or do not compress');
    }, '--deflate'));

    test('stays while nothing is said for two heartbeats', async () => {
      const observer = await observe(server, 'idle');
      const done = leaves(server, [...hello, ...join('idle'), 'await wake up', 'close 1000 done'], 1000, 'done');
      await Promise.race([done, comes(observer)]);
      let beats = 0;
      const idle = new Promise((passed) => observer.socket.on('ping', () => { if (++beats === 3) passed(); }));
      await Promise.race([done, within(idle, () => `${beats} heartbeats`)]);
      await observer.ask('publish', { room: 'idle', data: 'wake up' });
      const seen = await done;
      assert.ok(seen.messages.some((message) => message.includes('wake up')), JSON.stringify(seen));
      await observer.close();
    });

    test('closes with a code of its own', () => leaves(server, [...hello, 'await "connection_ack"', 'close 4321 so long'], 4321, 'so long', 'going_away'));

    if (can('plain close')) test('closes without a code', async () => {
      const before = await metric(server, 'closed_total{reason=normal}');
      await run(client, server.ws, [...hello, 'await "connection_ack"', 'close']);
      await rises(server, 'closed_total{reason=normal}', before);
    });

    test('is closed with 1009 for a message beyond the limit', async () => {
      const seen = await run(client, server.ws, [...hello, 'await "connection_ack"', `send ${' '.repeat(LIMIT + 1)}`, 'closed']);
      assert.equal(seen.code, 1009);
    });

    test('is refused with a token that is wrong', async () => {
      const before = await metric(server, 'refused_total{reason=auth}');
      const seen = await run(client, server.ws, can('header') ? ['bearer guess', 'closed'] : ['offer muster.v1.json,bearer,guess', 'closed']);
      assert.deepEqual([seen.messages, seen.protocol, seen.code], [[], '', 0]);
      shows(seen, 'status', 401);
      assert.equal(await metric(server, 'refused_total{reason=auth}'), before + 1);
    });

    test('is refused at another path', async () => {
      const seen = await run(client, `${server.ws}x`, [...hello, 'closed']);
      assert.deepEqual([seen.messages, seen.protocol, seen.code], [[], '', 0]);
      shows(seen, 'status', 404);
    });

    test('is told when to come back by a server that drains', () => own(async (draining) => {
      const observer = await observe(draining, 'drain');
      const done = run(client, draining.ws, [...hello, ...join('drain'), 'closed']);
      await Promise.race([done, comes(observer)]);
      await draining.stop();
      const seen = await done;
      assert.equal(seen.code, 1001);
      const told = seen.messages.map((text) => JSON.parse(text)).find(({ payload }) => payload.reconnect_after_ms !== undefined);
      assert.ok(told?.payload.reconnect_after_ms >= 0, JSON.stringify(seen.messages));
    }));
  });
}

const only = (process.env.MUSTER_CLIENTS ?? '').toLowerCase().split(' ').filter(Boolean);
describe('clients that others wrote', { concurrency: availableParallelism() }, () => {
  for (const [name, client] of Object.entries(clients)) {
    if (only.length === 0 || only.some((part) => name.toLowerCase().includes(part))) play(name, client);
  }
});
