// The bench itself, in little: every figure is there, nothing is lost, and what is lost is told.
// usage: node smoke_test.mjs BUILD_FOLDER

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load, measure } from './measure.mjs';
import { plot } from './plot.mjs';
import { tableFor, withTable } from './readme.mjs';
import { relay } from './relay.mjs';
import { evaluate, median, medians, table, withPools } from './report.mjs';
import { ROWS } from './rows.mjs';
import { flagsKnownTo, servers, serversOf, writeTokens } from './servers.mjs';

const build = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), 'muster-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const SUBSCRIBERS = 50;
writeTokens(join(folder, 'tokens.json'), SUBSCRIBERS + 1);
const kinds = servers(build, join(folder, 'tokens.json'));

const FIGURES = ['connections', 'connects_per_second', 'connect_cpu_us', 'rss_per_connection_bytes', 'messages', 'deliveries', 'seconds',
  'deliveries_per_second', 'cpu_us_per_delivery', 'bytes_per_delivery', 'latency_p50_us', 'latency_p95_us', 'latency_p99_us', 'latency_p99_9_us',
  'latency_max_us', 'text_bytes_per_delivery', 'bytes_per_second_each', 'connect_frames_per_second_each', 'cpu_ms_per_second', 'frames_per_second_each', 'rss_growth_bytes', 'closed', 'stuck_closed', 'lost', 'surplus'];

async function everythingArrives(name, options, perMessage = SUBSCRIBERS, setup = {}, all = kinds) {
  const { report, problem } = await measure(build, all[name], { options: { subscribers: SUBSCRIBERS, ...options }, setup });
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
    const { report, problem } = await measure(build, kinds.muster, { options, setup: { awarenessInterval, says: 'awareness' } });
    assert.equal(problem, null);
    const frames = report.frames_per_second_each;
    assert.ok(frames >= least && frames <= most, `${awarenessInterval}: ${frames} frames a second`);
    assert.ok(report.deliveries >= 50 * SUBSCRIBERS, `${report.deliveries} states arrived`);
  }
}

async function held() {
  const options = { subscribers: SUBSCRIBERS, publishers: 0, hold: 1, 'memory-at': '10,50' };
  const { report, problem } = await measure(build, kinds.muster, { options, setup: { heartbeat: '200ms' } });
  assert.equal(problem, null);
  assert.deepEqual([report.pinged, report.closed, report.lost], [SUBSCRIBERS, SUBSCRIBERS, 0]);
  assert.equal(Object.keys(report).filter((name) => name.startsWith('rss_bytes_at_')).length, 2);
}

async function tls() {
  for (const name of ['muster', 'floor']) {
    await everythingArrives(name, { window: 4, seconds: 0.3 }, SUBSCRIBERS, { tls: true });
    // Some records to each message.
    await everythingArrives(name, { window: 4, seconds: 0.3, size: 50_000 }, SUBSCRIBERS, { tls: true });
    const options = { subscribers: SUBSCRIBERS, publishers: 0, storm: 'reconnect', 'storm-share': 1 };
    const { report, problem } = await measure(build, kinds[name], { options, setup: { tls: true } });
    assert.equal(problem, null, name);
    assert.deepEqual([report.storm_clients, report.storm_tls_resumed, report.lost], [SUBSCRIBERS, SUBSCRIBERS, 0], name);
    assert.ok(report.storm_cpu_us > 0 && report.storm_per_second > 0, name);
  }
  const plain = { ...kinds.floor, flags: () => [] };
  assert.match((await measure(build, plain, { options: { subscribers: 1, deadline: 0.5 }, setup: { tls: true } })).problem, /only 0 of 2 connections/);
}

async function deflate() {
  const options = { window: 4, seconds: 0.3, size: 1024, json: true };
  const report = await everythingArrives('muster', options, SUBSCRIBERS, { says: 'json', deflate: true });
  assert.ok(report.text_bytes_per_delivery > 1024, `${report.text_bytes_per_delivery} bytes of text`);
  assert.ok(report.bytes_per_delivery < report.text_bytes_per_delivery / 2, `${report.bytes_per_delivery} bytes on the wire`);
  const without = await everythingArrives('muster', options, SUBSCRIBERS, { says: 'json' });
  assert.equal(without.bytes_per_delivery, without.text_bytes_per_delivery);
  const refusing = { ...kinds.muster, flags: (setup) => kinds.muster.flags({ ...setup, deflate: false }) };
  assert.match((await measure(build, refusing, { options: { subscribers: 1 }, setup: { deflate: true } })).problem, /permessage-deflate refused/);
}

/** Those who stay are told of those who go or come, if anybody is. */
async function crowds() {
  const options = { subscribers: SUBSCRIBERS, publishers: 0, watch: 1.2 };
  for (const storm of ['leave', 'reconnect']) {
    for (const presence of [true, false]) {
      const { report, problem } = await measure(build, kinds.muster, { options: { ...options, storm }, setup: { presence } });
      const what = `${storm}, presence ${presence}`;
      assert.equal(problem, null, what);
      assert.deepEqual([report.storm_clients, report.lost], [SUBSCRIBERS / 2, 0], what);
      const told = [report.storm_frames_per_second_each, report.storm_frames_each, report.storm_frames_most];
      assert.ok(told.every((figure) => figure > 0 === presence && figure < 100), `${what}: ${told}`);
      assert.ok(report.connect_frames_per_second_each > 0, what);
    }
  }
  const deaf = await relay({ greeting: 'room_joined' });
  const args = ['--subscribers', 10, '--publishers', 0, '--storm', 'leave', '--deadline', 1];
  const { report, problem } = await load(build, { port: deaf.port, pid: process.pid, args });
  deaf.close();
  assert.equal(report.lost, 5);
  assert.notEqual(problem, null);
}

/** An older muster_server: it knows fewer flags, and refuses the others. */
async function base() {
  const executable = join(folder, 'older_server'), newer = kinds.muster.executable;
  const unknown = '--(deflate|awareness-interval)';
  writeFileSync(executable, `#!/bin/sh
case "$*" in
  --help) "${newer}" --help | grep -vE -e '^ *${unknown}' ;;
  *--deflate*|*--awareness-interval*) echo unknown >&2; exit 2 ;;
  *) exec "${newer}" "$@" ;;
esac
`, { mode: 0o755 });
  assert.ok(flagsKnownTo(newer).has('--deflate') && !flagsKnownTo(executable).has('--deflate'));
  const all = servers(build, join(folder, 'tokens.json'), { base: executable });
  await everythingArrives('base', { window: 4, seconds: 0.3 }, SUBSCRIBERS, { awarenessInterval: '20ms' }, all);
  const named = ['muster', 'floor', 'plain'];
  assert.deepEqual(serversOf({ servers: named, options: {} }, all), [...named, 'base']);
  assert.deepEqual(serversOf({ servers: ['muster'], options: {}, setup: { tls: true } }, all), ['muster', 'base']);
  assert.deepEqual(serversOf({ servers: ['muster'], options: {}, setup: { deflate: true } }, all), ['muster']);
}

async function peer() {
  const program = `node ${fileURLToPath(new URL('relay.mjs', import.meta.url))}`;
  const free = await relay({});
  free.close();
  for (const [command, peerPort] of [[program], [`${program} ${free.port}`, String(free.port)]]) {
    const all = servers(build, '', { peer: command, peerPort });
    await everythingArrives('peer', { window: 4, seconds: 0.3, size: 64 }, SUBSCRIBERS, {}, all);
    assert.deepEqual(serversOf({ servers: ['plain'], options: {} }, all), ['plain', 'peer']);
    assert.deepEqual(serversOf({ servers: ['plain'], options: { publishers: 0 } }, all), ['plain']);
  }
  await assert.rejects(measure(build, servers(build, '', { peer: 'false' }).peer, { options: {} }), /ended with 1/);
}

async function whatIsLostIsTold() {
  for (const [times, lost, surplus] of [[() => 1, 0, 0], [(count) => (count === 17 ? 0 : 1), 1, 0], [(count) => (count === 17 ? 2 : 1), 0, 1]]) {
    const server = await relay({ times, greeting: 'room_joined' });
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
  const row = ROWS.find(({ ofFloor, ofPlain }) => ofFloor === 1.1 && ofPlain === 4);
  const judged = (muster, floor, plain) => evaluate(row, { [row.scenario.id]: {
    muster: { cpu_us_per_delivery: muster }, floor: { cpu_us_per_delivery: floor }, plain: { cpu_us_per_delivery: plain } } });
  assert.deepEqual([judged(1, 1, 5).met, judged(2, 1, 9).met, judged(1, 1, 3).met, judged(1.1, 1, 5).met], [true, false, false, true]);
  assert.equal(evaluate(row, {}), null);
  const of = (id, ...figures) => ({ [id]: { muster: figures.map((figure) => ({ figure })) } });
  const pooled = withPools({ ...of('a', 1, 2), ...of('b', 6) }, [...'xy'].map(() => POOLED));
  assert.equal(medians(pooled.both.muster).figure, 2);
  assert.match(table([judged(1, 2, 5)]), / 1\.000 +2\.000 +5\.000 +0\.50 +5\.00 /);
  assert.match(plot({ title: '', xLabel: '', yLabel: '', series: [{ name: 'one', color: '#000', points: [[1, 0.3], [64, 0.07]] }] }), /<polyline points="[\d., ]+"/);
}

function ofBase() {
  const row = ROWS.find(({ name }) => name === '9000 connected: RSS of one');
  const judged = (base) => evaluate(row, { [row.scenario.id]: {
    muster: { rss_per_connection_bytes: 1024 }, floor: { rss_per_connection_bytes: 100 }, ...(base && { base: { rss_per_connection_bytes: base } }) } });
  assert.deepEqual([judged(1024).met, judged(2048).met, judged().met], [false, true, true]);
  assert.doesNotMatch(table([judged()]), /base|peer/);
  assert.match(table([judged(2048)]), /muster\/base .* 2\.00 .* 0\.50  <= 0\.5 x base/s);
}

function theReadme() {
  const run = (more) => ({ rows: ROWS.map(({ name }) => ({ name, figures: { muster: 100, floor: 100, plain: 100 }, ratios: { ofFloor: 1, ofPlain: 1 } })).filter(more) });
  const file = fileURLToPath(new URL('../../README.md', import.meta.url));
  const readme = readFileSync(file, 'utf8');
  const changed = withTable(readme, tableFor(run(() => true)));
  const outside = (text) => text.split('\n').filter((line) => !line.startsWith('|'));
  assert.deepEqual(outside(changed), outside(readme));
  const shape = (text) => text.split('\n').map((line) => [...line.matchAll(/\|/g)].length);
  assert.deepEqual(shape(changed), shape(readme));
  assert.doesNotMatch(changed, /NaN|undefined/);
  assert.throws(() => tableFor(run(({ name }) => name !== '9000 connected: RSS of one')), /not measured: "9000 connected: RSS of one" \(muster, /);
  assert.throws(() => tableFor({ ...run(() => true), problems: ['one'] }), /lost: one/);
  assert.throws(() => withTable('no comments', ''), /there is no <!--/);
  const copy = join(folder, 'README.md'), results = join(folder, 'results.json');
  copyFileSync(file, copy);
  writeFileSync(results, JSON.stringify({ rows: [] }));
  const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('readme.mjs', import.meta.url)), results, copy], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /stays as it is/);
  assert.equal(readFileSync(copy, 'utf8'), readme);
}

for (const test of [theTable, ofBase, theReadme, whatIsLostIsTold, fanOut, rooms, storm, stuckReaders, held, tls, deflate, crowds, base, peer]) {
  await test();
  console.log(`${test.name}: ok`);
}
