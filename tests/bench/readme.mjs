// Writes the figures of a run into README.md, between the two comments that say so.
// usage: node readme.mjs RESULTS_JSON [README_MD]

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- tests/bench/readme.mjs writes this table -->\n';
const END = '<!-- up to here -->\n';
const README = fileURLToPath(new URL('../../README.md', import.meta.url));

const fixed = (value, digits) => value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const asFits = (value) => fixed(value, value >= 100 ? 0 : value >= 1 ? 1 : 2);
const digits = (count) => (value) => fixed(value, count);
const timesAsMuch = (value) => fixed(value, value >= 9.95 ? 0 : 1);

const HEAD = ['', 'muster', 'floor', 'plain', 'muster / floor', 'plain / muster'];

/** Some rows of the bench in one line, their figures side by side. */
const figures = (text, names, unit, { servers = ['floor', 'plain'], show = asFits, ofFloor = digits(2), ofPlain = timesAsMuch } = {}) => (bench) => {
  const all = (of) => names.map(of).join(' / ');
  const column = (server) => (servers.includes(server) ? all((name) => show(bench.figure(name, server))) : '');
  const ratio = (of, server, shown) => (shown && servers.includes(server) ? all((name) => shown(bench.ratio(name, of, server))) : '');
  return [text, `${all((name) => show(bench.figure(name, 'muster')))} ${unit}`, column('floor'), column('plain'),
    ratio('ofFloor', 'floor', ofFloor), ratio('ofPlain', 'plain', ofPlain)];
};

/** The name of a row that belongs to one above it. */
const under = (head, title) => `${head} … ${title}`;
const STUCK = (title) => under('1000 at 50 msg/s x 1 KiB: p99', title);
const AWARENESS = '100 x 30 awareness updates/s: writes to each';
const JOINS = '9000 join with presence: CPU of each';

/** A line in words. `say(figure)`: of a server whose figures it is given by their names. */
const words = (text, say, servers = ['muster']) => (bench) =>
  [text, ...['muster', 'floor', 'plain'].map((server) => (servers.includes(server) ? say((name) => bench.figure(name, server)) : '')), '', ''];

const fanOut = (room, windows) => windows.map((window) => `${room}, W=${window}: CPU`);

const LINES = [
  figures('CPU per delivery, 1,000 subscribers, 1 / 8 / 64 messages outstanding', fanOut('1000 x 128 B', [1, 8, 64]), 'us'),
  figures('the same, messages of 1 KiB', fanOut('1000 x 1024 B', [1, 8, 64]), 'us'),
  figures('9,000 subscribers, 128 bytes, 1 / 4 / 8 / 64 outstanding', fanOut('9000 x 128 B', [1, 4, 8, 64]), 'us'),
  figures('9,000 subscribers, 1 KiB, 8 outstanding', fanOut('9000 x 1024 B', [8]), 'us'),
  figures('latency, 1,000 subscribers at 50 messages/s: p50 / p99 / p99.9', ['p50', 'p99', 'p99.9'].map((name) => `1000 at 50 msg/s: ${name}`), 'ms'),
  words("the others' p99 when one of 1,000 stops reading, against when none does; what that one holds, the kernel's share included",
    (of) => `${fixed(of(STUCK('with / without')), 2)} x; ${fixed(of(STUCK("memory of the stuck one, with the kernel's share")), 0)} KiB`, ['muster', 'floor']),
  words('state published five times as fast as a line of 16 KB/s takes it: its age there after a minute, p99',
    (of) => `${fixed(of('state on a line of 16 KB/s: age after a minute, p99') / 1000, 1)} s`),
  figures('10 clients in one room at 1,000 messages/s: p95', ['10 in 1 room, 1000 msg/s: p95'], 'ms'),
  figures('50 clients in 10 rooms, bursts of 5,000 messages/s: p95, all delivered', ['50 in 10 rooms, bursts of 5000 msg/s: p95'], 'ms', { servers: ['floor'] }),
  figures('memory of an authenticated connection in a room (RSS), of 1,000 / 9,000', [1000, 9000].map((count) => `${count} connected: RSS of one`), 'KiB',
    { show: digits(1), ofFloor: null }),
  figures('CPU to accept, upgrade, authenticate and join, of 1,000 / 9,000', [1000, 9000].map((count) => `${count} connected: CPU of one`), 'us',
    { show: digits(0), ofFloor: digits(1) }),
  words('9,000 join one room, with presence as by default: CPU of each, frames a second to each', (of) => `${fixed(of(JOINS), 0)} us, ` +
    `${fixed(of(under(JOINS, 'with / without presence')), 1)} x that without presence; ${fixed(of(under(JOINS, 'frames to each member, the busiest second')), 0)}`),
  figures('over TLS: CPU per delivery, 1,000 subscribers, 1 / 8 / 64 outstanding', [1, 8, 64].map((window) => `TLS, 1000 x 128 B, W=${window}: CPU`), 'us', { servers: ['floor'] }),
  figures('over TLS: memory of a connection, of 1,000 (OpenSSL keeps 14 KiB)', ['TLS, 1000 connected: RSS of one'], 'KiB', { servers: ['floor'], show: digits(1) }),
  words('compressed, 1,000 subscribers, 1 KiB of JSON, 8 outstanding: CPU per delivery', (of) =>
    `${fixed(of('deflate, 1000 x 1 KiB JSON, W=8: CPU'), 2)} us; ${fixed(of(under('deflate, 1000 x 1 KiB JSON, W=8: CPU', 'size on the wire / of the text')), 2)} of the bytes`),
  words('100 clients in one room, 30 awareness updates a second each',
    (of) => `${fixed(of(AWARENESS), 0)} writes/s to each, p99 ${fixed(of(under(AWARENESS, 'staleness, p99')), 0)} ms late, ` +
      `1/${fixed(of(under(AWARENESS, 'CPU unbatched / batched')), 0)} of the CPU without batches`),
  words('19,000 connections in one process', (of) => `all answer heartbeats, ${fixed(of('19000 held: RSS of one, at 19000'), 1)} KiB each`),
];

/** Of what the lines say all or nothing. */
const WHOLE = ['19000 held: answered a heartbeat', '50 in 10 rooms, bursts of 5000 msg/s: delivered'];

/** The table of the README. Throws where it would have a hole, or say what was not so. */
export function tableFor({ rows, problems = [] }) {
  const missing = new Map();
  const found = (name, pick, what) => {
    const row = rows.find((one) => one.name === name);
    const value = row && pick(row);
    if (!Number.isFinite(value)) missing.set(name, [...(missing.get(name) ?? []), what]);
    return value ?? 0;
  };
  const bench = {
    figure: (name, server) => found(name, (row) => row.figures[server], server),
    ratio: (name, ratio, server) => found(name, (row) => row.ratios[ratio], `against ${server}`),
  };
  const inPart = WHOLE.map((name) => [name, bench.figure(name, 'muster')]).filter(([name, share]) => !missing.has(name) && share < 100);
  const lines = LINES.map((line) => line(bench));
  const wrong = [
    ...problems.map((problem) => `lost: ${problem}`),
    ...inPart.map(([name, share]) => `not all: "${name}" is ${share} %`),
    ...[...missing].map(([name, of]) => `not measured: "${name}" (${[...new Set(of)].join(', ')})`),
  ];
  if (wrong.length) throw new Error(wrong.join('\n'));
  const asText = (cells) => `|${cells.map((cell) => (cell ? ` ${cell} ` : ' ')).join('|')}|\n`;
  return asText(HEAD) + `|${HEAD.map(() => '---').join('|')}|\n` + lines.map(asText).join('');
}

/** The text with this table between the comments. */
export function withTable(text, table) {
  const begin = text.indexOf(BEGIN), end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`there is no ${BEGIN.trim()} with a ${END.trim()} after it`);
  return `${text.slice(0, begin)}${BEGIN}\n${table}\n${text.slice(end)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , results, readme = README] = process.argv;
  try {
    if (!results) throw new Error('usage: node readme.mjs RESULTS_JSON [README_MD]');
    writeFileSync(readme, withTable(readFileSync(readme, 'utf8'), tableFor(JSON.parse(readFileSync(results, 'utf8')))));
  } catch (error) {
    console.error(`README.md stays as it is:\n${error.message}`);
    process.exitCode = 1;
  }
}
