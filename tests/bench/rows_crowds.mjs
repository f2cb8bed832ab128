// Many who come, go or tell at once: presence of a crowd, and state of many senders.

import { ms } from './units.mjs';

/** Presence is as it is by default, or nobody is told of anybody. `watch`: what is told later is waited for. */
const crowd = (id, presence, options) => ({
  id,
  options: { subscribers: 9000, publishers: 0, watch: 1.5, ...options },
  servers: ['muster'],
  setup: { presence },
});
const LEAVE = crowd('9000 join, half leave', true, { storm: 'leave' });
const LEAVE_UNTOLD = crowd('9000 join, half leave, no presence', false, { storm: 'leave' });
/** Longer than --presence-grace: their earlier connections are told as gone. */
const RECONNECT = crowd('half of 9000 reconnect', true, { storm: 'reconnect', watch: 12 });
const RECONNECT_UNTOLD = crowd('half of 9000 reconnect, no presence', false, { storm: 'reconnect', watch: 12 });

const MANY_SENDERS = {
  id: 'latest state of 1000 senders',
  options: { subscribers: 1000, publishers: 0, rate: 10_000, size: 64, seconds: 5, conflated: true },
  servers: ['muster'],
  setup: { says: 'latest' },
};

const BOUNDED_SENDERS = { ...MANY_SENDERS, id: 'latest state of 1000 senders, bounded', setup: { says: 'latest', latestBytes: 100_000 } };

export const CROWDS = [LEAVE, LEAVE_UNTOLD, RECONNECT, RECONNECT_UNTOLD, MANY_SENDERS, BOUNDED_SENDERS];

const stormRows = (title, scenario, beside, cpu, frames, ofNone) => [
  { title: `${title}: CPU of each`, unit: 'us', figure: (run) => run[cpu], scenario, digits: 1 },
  { title: '… with / without presence', unit: 'x', figure: (run, untold) => run[cpu] / untold[cpu], scenario, beside, atMost: ofNone },
  { title: '… frames to each member, the busiest second', unit: '/s', figure: (run) => run[frames], scenario, digits: 1, atMost: 25 },
];

export const CROWD_ROWS = [
  ...stormRows('9000 join with presence', LEAVE, LEAVE_UNTOLD, 'connect_cpu_us', 'connect_frames_per_second_each', 1.5),
  ...stormRows('4500 of 9000 leave', LEAVE, LEAVE_UNTOLD, 'storm_cpu_us', 'storm_frames_per_second_each'),
  ...stormRows('4500 of 9000 are cut and reconnect', RECONNECT, RECONNECT_UNTOLD, 'storm_cpu_us', 'storm_frames_per_second_each'),
  ...[MANY_SENDERS, BOUNDED_SENDERS].flatMap((scenario, bounded) => [
    ['bytes to each member', 'KB/s', (run) => run.bytes_per_second_each / 1000, 0],
    ['staleness, p50', 'ms', (run) => ms(run.latency_p50_us), 1],
    ['staleness, p99', 'ms', (run) => ms(run.latency_p99_us), 1],
    ['CPU', 'ms/s', (run) => run.cpu_ms_per_second, 0],
  ].map(([title, unit, figure, digits], i) => ({
    title: `${i ? '…' : `1000 x 10 latest states/s${bounded ? ', at most 100 KB/s' : ''}:`} ${title}`, unit, figure, scenario, digits,
    ...(bounded && i === 0 ? { atMost: 110 } : {}) }))),
];
