// Measures muster beside the floor and a plain websocketpp server, in turns, and prints one table. See run.sh.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileLimit, loadCore, measure, serverCore } from './measure.mjs';
import { plot } from './plot.mjs';
import { evaluate, medians, table, withPools } from './report.mjs';
import { PLOTTED, ROWS, scenarios } from './rows.mjs';
import { servers, serversOf, writeTokens } from './servers.mjs';

const { values: given } = parseArgs({
  options: {
    build: { type: 'string', default: 'build/bench' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    repeat: { type: 'string' },
    'base-server': { type: 'string' },
    'base-commit': { type: 'string' },
  },
});
const { build, quick } = given;
const repetitions = Number(given.repeat ?? (quick ? 1 : 3));
const SPARE_FILES = 100;
/** The load client has a core of its own: it never sleeps, or the servers would be charged for waking it. */
const spin = serverCore === loadCore ? {} : { spin: true };

/** Those that --only selects by the name of a row, and that this machine has files enough for. */
function chosen() {
  const only = new RegExp(given.only);
  const wanted = ROWS.filter((row) => only.test(row.name)).flatMap((row) => [...(row.scenario.pooled ?? [row.scenario.id]), row.beside?.id]);
  return scenarios(quick).filter((scenario) => {
    if (!wanted.includes(scenario.id)) return false;
    const needed = scenario.options.subscribers + SPARE_FILES;
    if (needed <= fileLimit()) return true;
    console.error(`left out: "${scenario.id}" needs ${needed} open files, and the limit (ulimit -Hn) is ${fileLimit()}`);
    return false;
  });
}

/** Each repetition goes through all scenarios, and each scenario through its servers: what disturbs one disturbs all. */
async function measureAll(list) {
  const kinds = servers(build, join(build, 'tokens.json'), {
    base: given['base-server'], peer: process.env.MUSTER_PEER, peerPort: process.env.MUSTER_PEER_PORT });
  const turns = [];
  for (let repetition = 0; repetition < repetitions; ++repetition) {
    for (const scenario of list) {
      if (repetition > 0 && scenario.once) continue;
      for (const server of serversOf(scenario, kinds)) turns.push({ scenario, server });
    }
  }
  const runs = {}, problems = [], wireSize = {}, asSmall = {};
  for (const [done, { scenario, server }] of turns.entries()) {
    process.stderr.write(`[${done + 1}/${turns.length}] ${scenario.id}: ${server}\n`);
    // muster adds an envelope to what is published: the others are given messages that are as large as what it sends.
    const isMuster = server === 'muster' || server === 'base';
    const wanted = isMuster ? asSmall[scenario.asSmallAs] : wireSize[scenario.id];
    const size = wanted ? { size: wanted } : {};
    const options = { ...scenario.options, ...size, ...spin };
    // A server that does not even start is no reason to lose what the others were measured at.
    const { report, problem } = await measure(build, kinds[server], { ...scenario, options }).catch((error) => ({ problem: error.message }));
    if (problem) problems.push(`${scenario.id}: ${server}: ${problem}`);
    if (!report) continue;
    if (server === 'muster' && report.bytes_per_delivery) wireSize[scenario.id] = Math.round(report.bytes_per_delivery);
    if (server === 'muster' && report.text_bytes_per_delivery) {
      asSmall[scenario.id] = Math.round(scenario.options.size - report.text_bytes_per_delivery + report.bytes_per_delivery);
    }
    ((runs[scenario.id] ??= {})[server] ??= []).push(report);
  }
  return { runs, problems, wireSize };
}

function drawFanOut(results) {
  const series = [['muster', '#0969da'], ['plain', '#bc4c00'], ['floor', '#8c959f']].map(([name, color]) => ({
    name,
    color,
    points: PLOTTED.filter(({ id }) => results[id]?.[name]).map(({ id, options }) => [options.window, results[id][name].cpu_us_per_delivery]),
  }));
  if (series.some(({ points }) => points.length < 2)) return null;
  return plot({ title: 'Server CPU per delivery, 1,000 subscribers x 128 B', xLabel: 'messages outstanding (W)', yLabel: 'us per delivery', series });
}

/** The core's bench leaves its figures beside ours: {publish: [{members, publishes_per_turn?, ns_per_member}, ...]}. */
function drawCore() {
  const file = join(build, 'core.json');
  if (!existsSync(file)) return null;
  const points = (JSON.parse(readFileSync(file, 'utf8')).publish ?? [])
    .filter(({ publishes_per_turn: publishes = 1 }) => publishes === 1)
    .map(({ members, ns_per_member: cost }) => [members, cost]);
  if (points.length < 2) return null;
  return plot({ title: 'Publish and flush in memory', xLabel: 'members of the room', yLabel: 'ns per member', series: [{ name: 'muster', color: '#0969da', points }] });
}

mkdirSync(build, { recursive: true });
const list = chosen();
if (list.length === 0) {
  console.error(`nothing is selected by --only ${given.only}`);
  process.exit(2);
}
writeTokens(join(build, 'tokens.json'), Math.max(...list.map(({ options }) => options.subscribers)) + 1);
const loadBefore = loadavg()[0];
const { runs, problems, wireSize } = await measureAll(list);
const results = Object.fromEntries(Object.entries(withPools(runs, ROWS)).map(([id, byServer]) =>
  [id, Object.fromEntries(Object.entries(byServer).map(([server, reports]) => [server, medians(reports)]))]));
const rows = ROWS.map((row) => evaluate(row, results)).filter((row) => row !== null);

console.log(`\n${cpus()[0].model}, ${cpus().length} cores, Linux ${release()}; load average before: ${loadBefore.toFixed(1)}`);
console.log(`Medians of ${repetitions}; servers in turns on core ${serverCore}, the load client on core ${loadCore}. muster: --auth tokens, muster.v1.json.`);
if (given['base-server']) console.log(`base: muster_server of ${given['base-commit'] ?? given['base-server']}.`);
if (process.env.MUSTER_PEER) console.log(`peer: ${process.env.MUSTER_PEER}`);
console.log(`The others are sent what muster's envelope makes of a message: ${[...new Set(Object.values(wireSize))].join(', ')} B.\n`);
console.log(table(rows));
for (const problem of problems) console.log(`LOST: ${problem}`);

const written = [['results.json', JSON.stringify({ cpu: cpus()[0].model, cores: cpus().length, repetitions, rows, base: given['base-commit'], peer: process.env.MUSTER_PEER, problems, wire_size: wireSize, medians: results, runs }, null, 1)],
  ['fan_out.svg', drawFanOut(results)], ['core.svg', drawCore()]].filter(([, content]) => content);
for (const [name, content] of written) writeFileSync(join(build, name), content);
console.log(`\nwritten: ${written.map(([name]) => join(build, name)).join(', ')}`);
process.exitCode = problems.length ? 1 : 0;
