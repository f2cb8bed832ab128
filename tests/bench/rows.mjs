// What is measured, and which figures of it the table shows, with their targets.

import { CROWD_ROWS, CROWDS } from './rows_crowds.mjs';
import { kib, ms } from './units.mjs';
import { WIRE_ROWS, WIRES } from './rows_wire.mjs';

const fanOut = (subscribers, size, window, seconds = 2) => ({
  id: `fan-out ${subscribers} x ${size} B, W=${window}`,
  options: { subscribers, size, window, seconds },
  servers: ['muster', 'floor', 'plain'],
});

const atRate = (id, options, servers) => ({ id, options: { seconds: 5, ...options }, servers });

/** Within seconds this is more than the system keeps for a stuck reader, and long enough for muster to close it. */
const slow = { subscribers: 1000, size: 1024, rate: 50, seconds: 14 };

const held = (subscribers) => ({
  id: `hold ${subscribers}`,
  options: { subscribers, publishers: 0, hold: 12, 'memory-at': [0.25, 0.5, 1].map((share) => subscribers * share).join() },
  servers: ['muster'],
  setup: { heartbeat: '5s' },
  once: true,
});

const FAN_OUT = [
  ...[128, 1024].flatMap((size) => [1, 8, 64].map((window) => fanOut(1000, size, window))),
  ...[1, 4, 8, 64].map((window) => fanOut(9000, 128, window, 3)),
  fanOut(9000, 1024, 8, 3),
];

const LATENCY = atRate('1000 at 50 msg/s', { subscribers: 1000, rate: 50 }, ['muster', 'floor', 'plain']);
const NOBODY_STUCK = { id: 'stuck 0 of 1000', options: slow, servers: ['muster', 'floor'] };
const ONE_STUCK = { id: 'stuck 1 of 1000', options: { ...slow, stuck: 1 }, servers: ['muster', 'floor'] };
/** Its sockets are cut close_timeout after their connections were closed. */
const MANY_STUCK = { id: 'stuck 100 of 1000', options: { ...slow, stuck: 100, seconds: 20 }, servers: ['muster'] };
/** State that is published five times as fast as the line takes it. */
const SLOW_LINE = {
  id: 'slow line',
  options: { subscribers: 1, rate: 20, size: 4096, line: 16 * 1024, seconds: 60, last: 10, conflated: true },
  servers: ['muster'],
  setup: { says: 'latest' },
};
const SMALL_ROOM = atRate('10 in 1 room', { subscribers: 10, publishers: 0, rate: 1000 }, ['muster', 'floor', 'plain']);
const TEN_ROOMS = atRate('50 in 10 rooms', { subscribers: 50, publishers: 0, rooms: 10, rate: 5000, burst: 0.5 }, ['muster', 'floor']);
const HELD = held(19_000);

/** Everybody in a room moves a cursor 30 times a second; `awarenessInterval` of 0: nothing is batched. */
const storm = (awarenessInterval, title) => ({
  ...atRate(`awareness storm, ${title}`, { subscribers: 100, publishers: 0, rate: 3000, size: 64, conflated: true }, ['muster']),
  setup: { awarenessInterval, says: 'awareness' },
});
const STORM = storm('50ms', 'batched'), STORM_UNBATCHED = storm('0ms', 'unbatched');

const shorter = (scenario) => ({ ...scenario, options: { ...scenario.options, seconds: 1 } });
const HELD_FEW = held(2000);

export const scenarios = (quick) => (quick
  ? [...FAN_OUT.slice(0, 3), LATENCY, SMALL_ROOM, TEN_ROOMS].map(shorter).concat({ ...HELD_FEW, options: { ...HELD_FEW.options, hold: 6 } })
  : [...FAN_OUT, LATENCY, NOBODY_STUCK, ONE_STUCK, MANY_STUCK, SLOW_LINE, SMALL_ROOM, TEN_ROOMS, STORM, STORM_UNBATCHED, ...CROWDS, ...WIRES, HELD]);

/** The targets: muster's figure at most so many times the floor's; the plain server's at least so many times muster's. */
const FLOOR_LIMIT = { 1: 1.15, 4: 1.15, 8: 1.25, 64: 1.6 };
const PLAIN_LIMIT = { 1: 1.4, 8: 4, 64: 15 };

function fanOutRows(scenario) {
  const { subscribers, size, window } = scenario.options;
  const isMain = subscribers === 1000 && size === 128;
  return [{
    title: `${subscribers} x ${size} B, W=${window}: CPU`,
    unit: 'us/delivery',
    figure: (run) => run.cpu_us_per_delivery,
    scenario,
    digits: 3,
    ofFloor: window === 8 && isMain ? 1.1 : window === 8 && size === 1024 ? 1.15 : FLOOR_LIMIT[window],
    ofPlain: isMain ? PLAIN_LIMIT[window] : undefined,
  }];
}

/** What connections cost, over all runs of the scenarios that connect so many. */
const connected = (count) => {
  const pooled = FAN_OUT.filter(({ options }) => options.subscribers === count);
  return { id: `${count} connected`, pooled: pooled.map(({ id }) => id), servers: pooled[0].servers };
};

function connectionRows(count) {
  const scenario = connected(count);
  const [memory, cpu] = count === 9000 ? [{ atMost: 1.7, ofBase: 0.5 }, { ofFloor: 1.7, ofBase: 0.65 }] : [{ atMost: 5 }, { ofFloor: 2.5 }];
  return [
    { title: `${count} connected: RSS of one`, unit: 'KiB', figure: (run) => kib(run.rss_per_connection_bytes), scenario, ...memory },
    { title: `${count} connected: CPU of one`, unit: 'us', figure: (run) => run.connect_cpu_us, scenario, digits: 1, ...cpu },
    { title: `${count} connected: speed`, unit: 'connects/s', figure: (run) => run.connects_per_second, scenario, digits: 0 },
  ];
}

const LATENCY_ROWS = [['p50', 'latency_p50_us'], ['p99', 'latency_p99_us', 1.25], ['p99.9', 'latency_p99_9_us'], ['max', 'latency_max_us']]
  .map(([name, figure, ofFloor]) => ({ title: `1000 at 50 msg/s: ${name}`, unit: 'ms', figure: (run) => ms(run[figure]), scenario: LATENCY, ofFloor }));

/** KiB: --unsent-hard-bytes. */
const HARD_MARK = 1024;
const heldFor = (run, without) => kib(run.rss_growth_bytes - without.rss_growth_bytes + run.stuck_kernel_peak_bytes);

/** Two figures of one server, beside each other. */
const STUCK_ROWS = [
  { title: '1000 at 50 msg/s x 1 KiB: p99', unit: 'ms', figure: (run) => ms(run.latency_p99_us), scenario: NOBODY_STUCK },
  { title: '… one of them stuck: p99 of the others', unit: 'ms', figure: (run) => ms(run.latency_p99_us), scenario: ONE_STUCK },
  { title: '… with / without', unit: 'x', figure: (run, without) => run.latency_p99_us / without.latency_p99_us, scenario: ONE_STUCK, beside: NOBODY_STUCK, atMost: 1.1 },
  { title: '… memory of the stuck one, with the kernel\'s share', unit: 'KiB', figure: heldFor, scenario: ONE_STUCK, beside: NOBODY_STUCK, digits: 0, atMost: HARD_MARK + 256 },
  { title: '… 100 of them stuck: memory of each, with the kernel\'s share', unit: 'KiB', figure: (run, without) => heldFor(run, without) / 100, scenario: MANY_STUCK, beside: NOBODY_STUCK, digits: 0, atMost: HARD_MARK + 256 },
  { title: '… 100 of them stuck: closed', unit: '%', figure: (run) => run.stuck_closed, scenario: MANY_STUCK, digits: 0, atLeast: 100 },
  { title: 'state on a line of 16 KB/s: age after a minute, p99', unit: 'ms', figure: (run) => ms(run.latency_p99_us), scenario: SLOW_LINE, digits: 0, atMost: 2000 },
];

const STORM_ROWS = [
  { title: '100 x 30 awareness updates/s: writes to each', unit: '/s', figure: (run) => run.frames_per_second_each, scenario: STORM, digits: 1, atMost: 20 },
  { title: '… staleness, p99', unit: 'ms', figure: (run) => ms(run.latency_p99_us), scenario: STORM, digits: 1, atMost: 60 },
  { title: '… CPU', unit: 'ms/s', figure: (run) => run.cpu_ms_per_second, scenario: STORM, digits: 0 },
  { title: '… CPU unbatched / batched', unit: 'x', figure: (run, unbatched) => unbatched.cpu_ms_per_second / run.cpu_ms_per_second, scenario: STORM, beside: STORM_UNBATCHED, digits: 1, atLeast: 8 },
];

const roomRows = (scenario, title) => [
  { title: `${title}: delivered`, unit: '%', figure: (run) => 100 * (1 - run.lost / (run.deliveries + run.lost)), scenario, digits: 1, atLeast: 100 },
  { title: `${title}: p95`, unit: 'ms', figure: (run) => ms(run.latency_p95_us), scenario, ofFloor: 1.5 },
];

function heldRows(scenario) {
  const counts = scenario.options['memory-at'].split(',');
  const bytes = (run, count) => run[Object.keys(run).filter((name) => name.startsWith('rss_bytes_at_'))[counts.indexOf(count)]] / count;
  const title = `${scenario.options.subscribers} held`;
  return [
    { title: `${title}: answered a heartbeat`, unit: '%', figure: (run) => (100 * run.pinged) / run.connections, scenario, digits: 1, atLeast: 100 },
    { title: `${title}: closed when asked`, unit: '%', figure: (run) => (100 * run.closed) / run.connections, scenario, digits: 1, atLeast: 100 },
    ...counts.map((count) => ({ title: `${title}: RSS of one, at ${count}`, unit: 'KiB', figure: (run) => kib(bytes(run, count)), scenario, atMost: 5 })),
    { title: `${title}: RSS of one, at all / at a quarter`, unit: 'x', figure: (run) => bytes(run, counts[2]) / bytes(run, counts[0]), scenario, atMost: 1.15 },
  ];
}

/** A title that begins with … goes on from the last one that does not: its name has both. */
function named(rows) {
  let head = '';
  return rows.map((row) => {
    const isMore = row.title.startsWith('…');
    if (!isMore) head = row.title;
    return { ...row, name: isMore ? `${head} ${row.title}` : row.title };
  });
}

/** In the order of the table. A row: `figure(run, run beside it)` of each server of a scenario, and its targets. */
export const ROWS = named([
  ...FAN_OUT.flatMap(fanOutRows),
  ...[1000, 9000].flatMap(connectionRows),
  ...LATENCY_ROWS,
  ...STUCK_ROWS,
  ...roomRows(SMALL_ROOM, '10 in 1 room, 1000 msg/s'),
  ...roomRows(TEN_ROOMS, '50 in 10 rooms, bursts of 5000 msg/s'),
  ...STORM_ROWS,
  ...CROWD_ROWS,
  ...WIRE_ROWS,
  ...[HELD_FEW, HELD].flatMap(heldRows),
]);

/** CPU of a delivery against W: {subscribers, size} of the fan-out that is drawn. */
export const PLOTTED = FAN_OUT.filter(({ options }) => options.subscribers === 1000 && options.size === 128);
