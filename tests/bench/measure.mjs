// Runs one server on a core and the load client on another.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const START_DEADLINE = 15_000;

/** Cores this process may use, e.g. [0, 1]. */
function usableCores() {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

const cores = usableCores();
export const serverCore = cores[0];
export const loadCore = cores[Math.min(1, cores.length - 1)];

/** How many files a process may open. */
export function fileLimit() {
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))[1];
  return limit === 'unlimited' ? Infinity : Number(limit);
}

/** With taskset, which becomes the program: the process id is the program's own. */
const startOn = (core, executable, args) =>
  spawn('taskset', ['--cpu-list', String(core), executable, ...args.map(String)], { stdio: ['ignore', 'pipe', 'pipe'] });

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/** Once somebody answers there, or the time is over. */
async function answers(port, deadline) {
  for (;;) {
    const open = await new Promise((done) => {
      const socket = connect(port, '127.0.0.1', () => { socket.destroy(); done(true); });
      socket.on('error', () => done(false));
    });
    if (open) return;
    if (Date.now() > deadline) throw new Error(`nobody listens on port ${port}`);
    await pause(50);
  }
}

/** A fresh process, once it listens. */
async function start(server, setup) {
  const child = startOn(serverCore, server.executable, server.flags(setup));
  running.add(child);
  let output = '';
  const saysPort = new Promise((found, failed) => {
    const timer = setTimeout(() => failed(new Error(`${server.executable} does not listen: ${output}`)), START_DEADLINE);
    const look = (bytes) => {
      output += bytes;
      const match = /listening on https?:\/\/[^:]+:(\d+)/.exec(output);
      if (match) { clearTimeout(timer); found(Number(match[1])); }
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('error', failed);
    child.on('exit', (code) => { clearTimeout(timer); failed(new Error(`${server.executable} ended with ${code}: ${output}`)); });
  });
  const opened = server.port && answers(server.port, Date.now() + START_DEADLINE).then(() => server.port);
  const port = await (opened ? Promise.race([opened, saysPort.then(() => opened)]) : saysPort);
  const stop = () => new Promise((done) => {
    child.on('close', () => { running.delete(child); done(); });
    child.kill('SIGKILL');
  });
  return { port, pid: child.pid, stop };
}

/** Runs the load client: {report, problem}; the problem is what it said if it found anything lost, else null. */
export async function load(build, { port, pid, args }) {
  const child = startOn(loadCore, join(build, 'tests/bench/muster_bench_load'), ['--port', port, '--pid', pid, ...args]);
  running.add(child);
  let out = '', errors = '';
  child.stdout.on('data', (bytes) => { out += bytes; });
  child.stderr.on('data', (bytes) => { errors += bytes; });
  const code = await new Promise((done, failed) => { child.on('close', done); child.on('error', failed); });
  running.delete(child);
  const report = out ? JSON.parse(out) : null;
  return { report, problem: code === 0 ? null : errors.trim() || `lost ${report?.lost}, surplus ${report?.surplus}, closed ${report?.closed}` };
}

/** One measurement: a fresh server, loaded with these options ({subscribers: 1000, ...} as the load client's flags).
 *  `setup`: what is particular about the server. */
export async function measure(build, server, { options, setup = {} }) {
  const process_ = await start(server, setup);
  try {
    const flags = Object.entries(options).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, value]));
    return await load(build, { ...process_, args: [...server.client(setup), ...flags] });
  } finally {
    await process_.stop();
  }
}
