// A deploy and a crash with 200 clients: all of them come back, and they do not come all at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { CANVAS, WebSocket, startServer, tokensFile, within } from './support.mjs';

const { Client } = await import(pathToFileURL(`${CANVAS}/client.js`));
const CLIENTS = 200;
const WINDOW = 4_000;                // ms, the server's reconnect window
const SLACK = 2_000;                 // ms for two busy cores, and for attempts while the server was away
const BUCKETS = 10;

const auth = tokensFile(Object.fromEntries(Array.from({ length: CLIENTS }, (_, n) => [`token-${n}`, { user: `user-${n}` }])));
const flags = ['--connect-rate-per-ip', '0', '--max-connections-per-ip', '0', '--room-capacity', '0', '--drain-deadline', '1s', '--reconnect-window', `${WINDOW}ms`];

/** All in their rooms; closed when the test ends, however it ends. */
async function connectAll(server, t) {
  const clients = Array.from({ length: CLIENTS }, (_, n) => new Client(server.ws, { WebSocket, token: `token-${n}` }));
  t.after(() => clients.forEach((client) => client.close()));
  await Promise.all(clients.map((client, n) => {
    const joined = client.join(`room-${n % 10}`);
    return within(client.connect().then(() => joined), () => `client ${n} to join`);
  }));
  return clients;
}

/** When each is back in its room, ms after `from()`; every attempt counts as one that hits the server. */
function arrivals(clients, from) {
  const back = clients.map((client, n) => within(new Promise((done) => {
    const off = client.on('joined', () => { off(); done(Date.now() - from()); });
  }), () => `client ${n} (${client.state}) to be back`, 30_000));
  return Promise.all(back);
}

/** Prints how many came when, in buckets from the first to the 95th of a hundred (who comes later is in the last), so that
 *  one straggler does not make the others look like a herd. No bucket may hold more than `most` times the mean. */
function histogram(title, times, most) {
  const sorted = [...times].sort((a, b) => a - b);
  const first = sorted[0], last = sorted[Math.floor(0.95 * sorted.length)];
  const width = Math.max(1, (last - first) / BUCKETS);
  const counts = new Array(BUCKETS).fill(0);
  for (const time of times) ++counts[Math.min(BUCKETS - 1, Math.floor((time - first) / width))];
  console.log(`${title}: ${times.length} clients from ${first} to ${sorted.at(-1)} ms, 95 % by ${last} ms`);
  counts.forEach((count, n) => console.log(`${String(Math.round(first + n * width)).padStart(6)} ms ${String(count).padStart(4)} ${'#'.repeat(count)}`));
  assert.ok(Math.max(...counts) <= (most * CLIENTS) / BUCKETS, `a herd: ${counts}`);
  return last;
}

test('SIGTERM: told when to come back, closed one after another, and back within the window', { timeout: 55_000 }, async (t) => {
  let server = await startServer({ auth, flags });
  const clients = await connectAll(server, t);
  const closes = [], codes = {};
  let told = 0, lastTold = 0;
  for (const client of clients) {
    client.on('draining', () => { ++told; lastTold = Date.now(); });
  }
  const lost = Promise.all(clients.map((client, n) => within(new Promise((done) => {
    const off = client.on('state', ({ state, code }) => {
      if (state !== 'waiting') return;
      off();
      closes.push(Date.now());
      codes[code] = (codes[code] ?? 0) + 1;
      done();
    });
  }), () => `client ${n} to be closed`)));
  const start = Date.now();
  const back = arrivals(clients, () => start);
  await server.stop();
  await lost;
  assert.equal(told, CLIENTS);
  assert.ok(codes[1001] >= 0.95 * CLIENTS, `closed with 1001, but for stragglers that were cut: ${JSON.stringify(codes)}`);
  assert.ok(closes.at(-1) - closes[0] > 250, `paced over the deadline, not ${closes.at(-1) - closes[0]} ms`);
  console.log(`codes ${JSON.stringify(codes)}, told within ${lastTold - start} ms, closed from ${closes[0] - start} to ${closes.at(-1) - start} ms`);
  server = await startServer({ auth, flags, port: server.port });
  const times = await back;
  const last = histogram('SIGTERM', times, 3);         // who was told a time before the server was back has to try again
  assert.ok(last <= WINDOW + SLACK, `most after ${last} ms`);
  await server.stop();
});

for (const [failed, outage] of [[1, 'a short'], [3, 'a longer']]) {
  test(`SIGKILL and ${outage} outage: nobody is told anything, and jitter parts them`, { timeout: 55_000 }, async (t) => {
    let server = await startServer({ auth, flags });
    const clients = await connectAll(server, t);
    let listening = 0;
    const back = arrivals(clients, () => listening);
    const waits = clients.map((client, n) => within(new Promise((done) => {
      let times = 0;
      const off = client.on('state', ({ state }) => { if (state === 'waiting' && ++times === failed) { off(); done(); } });
    }), () => `client ${n} to have failed ${failed} times`));
    const start = Date.now();
    await server.kill();
    await Promise.all(waits);
    server = await startServer({ auth, flags, port: server.port });
    listening = Date.now();
    console.log(`listening again after ${listening - start} ms`);
    const last = histogram(`SIGKILL, ${outage} outage`, await back, 4);        // a uniform time's rest is not uniform
    assert.ok(last <= WINDOW + SLACK, `most after ${last} ms`);
    await server.stop();
  });
}
