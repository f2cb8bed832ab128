// The same with what lies between muster and the socket: TLS, and permessage-deflate.

import { kib } from './units.mjs';

const TLS_FLOOR_LIMIT = { 1: 1.1, 8: 1.15, 64: 1.3 };
const TLS_FAN_OUT = [1, 8, 64].map((window) => ({
  id: `TLS fan-out 1000 x 128 B, W=${window}`,
  options: { subscribers: 1000, size: 128, window, seconds: 2 },
  servers: ['muster', 'floor'],
  setup: { tls: true },
}));
const TLS_CONNECTED = { id: '1000 connected over TLS', pooled: TLS_FAN_OUT.map(({ id }) => id), servers: ['muster', 'floor'] };
/** All of them, each with the session that it had. */
const TLS_RECONNECT = {
  id: '1000 reconnect over TLS',
  options: { subscribers: 1000, publishers: 0, storm: 'reconnect', 'storm-share': 1 },
  servers: ['muster', 'floor'],
  setup: { tls: true },
};

const deflated = (id, deflate, more = {}) => ({
  id,
  options: { subscribers: 1000, size: 1024, window: 8, seconds: 3, json: true },
  servers: ['muster'],
  setup: { says: 'json', deflate },
  ...more,
});
const DEFLATED = deflated('deflate 1000 x 1 KiB JSON, W=8', true);
/** Messages that are on the wire as large as the compressed ones are. */
const AS_SMALL = deflated('as small without deflate, W=8', false, { asSmallAs: DEFLATED.id });

export const WIRES = [...TLS_FAN_OUT, TLS_RECONNECT, DEFLATED, AS_SMALL];

export const WIRE_ROWS = [
  ...TLS_FAN_OUT.map((scenario) => ({
    title: `TLS, 1000 x 128 B, W=${scenario.options.window}: CPU`,
    unit: 'us/delivery',
    figure: (run) => run.cpu_us_per_delivery,
    scenario,
    digits: 3,
    ofFloor: TLS_FLOOR_LIMIT[scenario.options.window],
  })),
  { title: 'TLS, 1000 connected: RSS of one', unit: 'KiB', figure: (run) => kib(run.rss_per_connection_bytes), scenario: TLS_CONNECTED, ofBase: 0.55 },
  { title: 'TLS, 1000 connected: CPU of one', unit: 'us', figure: (run) => run.connect_cpu_us, scenario: TLS_CONNECTED, digits: 0 },
  ...[['fresh', 'connect_cpu_us', 'connects_per_second'], ['resumed', 'storm_cpu_us', 'storm_per_second']].flatMap(([how, cpu, speed]) => [
    { title: `TLS, 1000 connect, ${how}: CPU of one`, unit: 'us', figure: (run) => run[cpu], scenario: TLS_RECONNECT, digits: 0 },
    { title: `TLS, 1000 connect, ${how}: speed`, unit: 'connects/s', figure: (run) => run[speed], scenario: TLS_RECONNECT, digits: 0 },
  ]),
  { title: '… sessions that were resumed', unit: '%', figure: (run) => (100 * run.storm_tls_resumed) / run.storm_clients, scenario: TLS_RECONNECT, digits: 1, atLeast: 100 },
  { title: 'deflate, 1000 x 1 KiB JSON, W=8: CPU', unit: 'us/delivery', figure: (run) => run.cpu_us_per_delivery, scenario: DEFLATED, digits: 3 },
  { title: '… size on the wire / of the text', unit: 'x', figure: (run) => run.bytes_per_delivery / run.text_bytes_per_delivery, scenario: DEFLATED },
  { title: '… CPU / that of messages as small without deflate', unit: 'x', figure: (run, small) => run.cpu_us_per_delivery / small.cpu_us_per_delivery, scenario: DEFLATED, beside: AS_SMALL, atMost: 1.1 },
];
