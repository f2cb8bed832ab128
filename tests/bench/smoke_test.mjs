// The bench itself, in little: every figure is there, nothing is lost, and what is lost is told.
// usage: node smoke_test.mjs BUILD_FOLDER

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load, measure } from './measure.mjs';
import { plot } from './plot.mjs';
import { evaluate, median, medians, table, withPools } from './report.mjs';
import { ROWS } from './rows.mjs';
import { servers, writeTokens } from './servers.mjs';

const build = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), 'muster-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const SUBSCRIBERS = 50;
writeTokens(join(folder, 'tokens.json'), SUBSCRIBERS + 1);
const kinds = servers(build, join(folder, 'tokens.json'));

const FIGURES = ['connections', 'connects_per_second', 'connect_cpu_us', 'rss_per_connection_bytes', 'messages', 'deliveries', 'seconds',
  'deliveries_per_second', 'cpu_us_per_delivery', 'bytes_per_delivery', 'latency_p50_us', 'latency_p95_us', 'latency_p99_us', 'latency_p99_9_us',
  'latency_max_us', 'cpu_ms_per_second', 'frames_per_second_each', 'rss_growth_bytes', 'closed', 'stuck_closed', 'lost', 'surplus'];

async function everythingArrives(name, options, perMessage = SUBSCRIBERS) {
  const { report, problem } = await measure(build, kinds[name], { options: { subscribers: SUBSCRIBERS, ...options } });
  assert.equal(problem, null, name);
  for (const figure of FIGURES) assert.ok(Number.isFinite(report[figure]), `${name}: ${figure} is ${report[figure]}`);
  for (const figure of ['connects_per_second', 'connect_cpu_us', 'messages', 'cpu_us_per_delivery', 'bytes_per_delivery', 'latency_p50_us']) {
    assert.ok(report[figure] > 0, `${name}: ${figure} is ${report[figure]}`);
  }
  assert.equal(report.deliveries, report.messages * perMessage, name);
  assert.ok(report.latency_p50_us <= report.latency_p99_us && report.latency_p99_us <= report.latency_max_us, name);
  return report;
}

async function fanOut() {
  for (const name of ['muster', 'floor', 'plain']) {
    await everythingArrives(name, { window: 4, seconds: 0.4 });
    const report = await everythingArrives(name, { rate: 100, messages: 20, spin: true });
    assert.equal(report.messages, 20, name);
  }
}

async function rooms() {
  for (const name of ['muster', 'floor']) {
    const report = await everythingArrives(name, { rooms: 5, publishers: 0, rate: 500, burst: 0.1, seconds: 0.4 }, SUBSCRIBERS / 5);
    // Half of the time is pauses.
    assert.ok(report.messages <= 0.2 * 500 + 10, `${name}: ${report.messages} messages`);
  }
}

async function stuckReaders() {
  for (const name of ['muster', 'floor']) {
    await everythingArrives(name, { stuck: 2, window: 4, size: 16_384, messages: 200 }, SUBSCRIBERS - 2);
  }
}

/** What replaces each other may travel together, and is timed one by one. */
async function storm() {
  const options = { subscribers: SUBSCRIBERS, publishers: 0, rate: 200, seconds: 1, size: 64, conflated: true };
  for (const [awarenessInterval, least, most] of [['100ms', 4, 11], ['0ms', 40, 210]]) {
    const { report, problem } = await measure(build, kinds.muster, { options, muster: { awarenessInterval } });
    assert.equal(problem, null);
    const frames = report.frames_per_second_each;
    assert.ok(frames >= least && frames <= most, `${awarenessInterval}: ${frames} frames a second`);
    assert.ok(report.deliveries >= 50 * SUBSCRIBERS, `${report.deliveries} states arrived`);
  }
}

async function held() {
  const options = { subscribers: SUBSCRIBERS, publishers: 0, hold: 1, 'memory-at': '10,50' };
  const { report, problem } = await measure(build, kinds.muster, { options, muster: { heartbeat: '200ms' } });
  assert.equal(problem, null);
  assert.deepEqual([report.pinged, report.closed, report.lost], [SUBSCRIBERS, SUBSCRIBERS, 0]);
  assert.equal(Object.keys(report).filter((name) => name.startsWith('rss_bytes_at_')).length, 2);
}

/** Relays to everyone, except that `times(count)` says how often the count-th delivery is made. */
function unreliableServer(times) {
  const sockets = new Set();
  let deliveries = 0;
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
        socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0broom_joined', 'latin1');
      }
      // A short masked text frame with a key of zeros, as the load client sends them.
      while (open && unread.length >= 6 && unread.length >= 6 + (unread[1] & 0x7f)) {
        const size = unread[1] & 0x7f;
        const frame = Buffer.concat([Buffer.from([0x81, size]), unread.subarray(6, 6 + size)]);
        unread = unread.subarray(6 + size);
        for (const each of sockets) for (let i = times(++deliveries); i > 0; --i) each.write(frame);
      }
    });
  });
  return new Promise((done) => listener.listen(0, '127.0.0.1', () => done({ port: listener.address().port, close: () => listener.close() })));
}

async function whatIsLostIsTold() {
  for (const [times, lost, surplus] of [[() => 1, 0, 0], [(count) => (count === 17 ? 0 : 1), 1, 0], [(count) => (count === 17 ? 2 : 1), 0, 1]]) {
    const server = await unreliableServer(times);
    // The subscribers publish, so that every delivery counts.
    const args = ['--subscribers', 5, '--publishers', 0, '--messages', 10, '--rate', 1000, '--size', 64, '--deadline', 1];
    const { report, problem } = await load(build, { port: server.port, pid: process.pid, args });
    server.close();
    assert.deepEqual([report.messages, report.lost, report.surplus], [10, lost, surplus]);
    assert.equal(problem === null, lost + surplus === 0, `${lost} lost, ${surplus} surplus: ${problem}`);
  }
}

const POOLED = { scenario: { id: 'both', pooled: ['a', 'b', 'not measured'] } };

function theTable() {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  const row = ROWS.find(({ ofFloor, ofPlain }) => ofFloor === 1.25 && ofPlain === 4);
  const judged = (muster, floor, plain) => evaluate(row, { [row.scenario.id]: {
    muster: { cpu_us_per_delivery: muster }, floor: { cpu_us_per_delivery: floor }, plain: { cpu_us_per_delivery: plain } } });
  assert.deepEqual([judged(1, 1, 5).met, judged(2, 1, 9).met, judged(1, 1, 3).met, judged(1.25, 1, 5).met], [true, false, false, true]);
  assert.equal(evaluate(row, {}), null);
  const of = (id, ...figures) => ({ [id]: { muster: figures.map((figure) => ({ figure })) } });
  const pooled = withPools({ ...of('a', 1, 2), ...of('b', 6) }, [...'xy'].map(() => POOLED));
  assert.equal(medians(pooled.both.muster).figure, 2);
  assert.match(table([judged(1, 2, 5)]), / 1\.000 +2\.000 +5\.000 +0\.50 +5\.00 /);
  assert.match(plot({ title: '', xLabel: '', yLabel: '', series: [{ name: 'one', color: '#000', points: [[1, 0.3], [64, 0.07]] }] }), /<polyline points="[\d., ]+"/);
}

for (const test of [theTable, whatIsLostIsTold, fanOut, rooms, storm, stuckReaders, held]) {
  await test();
  console.log(`${test.name}: ok`);
}
