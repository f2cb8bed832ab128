// Chromium and Firefox, headless: the scene runs in a page of the server's, which is how its origin is right.
// usage: browser.mjs chromium|firefox URL
import { spawn } from 'node:child_process';
import { readFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { play } from './whatwg.js';

const [, , name, url] = process.argv;
const profile = mkdtempSync(join(tmpdir(), 'profile-'));
const page = new URL('/healthz', url.replace('ws', 'http')).href;
const connect = `({ protocols = [] }) => new WebSocket(${JSON.stringify(url)}, protocols)`;
const scene = `(${play})(${connect}, ${JSON.stringify(readFileSync(0, 'utf8'))}).then(JSON.stringify)`;

/** Starts a browser and resolves to what it says after `pattern`. */
function start(command, flags, pattern) {
  const child = spawn(command, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  process.on('exit', () => child.kill('SIGKILL'));
  return new Promise((found, failed) => {
    let said = '';
    child.on('exit', () => failed(new Error(`${command} ended: ${said}`)));
    child.stderr.on('data', (bytes) => { const match = pattern.exec(said += bytes); if (match) found(match[1]); });
  });
}

/** Commands with ids and their answers, as both of the browsers' protocols have them. */
async function remote(address) {
  const socket = new WebSocket(address, { perMessageDeflate: false });
  const waiting = new Map(), events = new Map();
  let last = 0;
  socket.on('message', (bytes) => {
    const { id, method, error, result } = JSON.parse(bytes);
    if (id === undefined) return events.get(method)?.();
    const [done, failed] = waiting.get(id);
    if (error) failed(new Error(JSON.stringify(error)));
    else done(result);
  });
  await new Promise((done, failed) => socket.on('open', done).on('error', failed));
  return {
    ask: (method, params = {}) => new Promise((done, failed) => {
      waiting.set(++last, [done, failed]);
      socket.send(JSON.stringify({ id: last, method, params }));
    }),
    once: (method) => new Promise((done) => events.set(method, done)),
  };
}

async function chromium() {
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank'];
  const address = await start('chromium', flags, /DevTools listening on (ws:\S+)/);
  const pages = await (await fetch(`http://${new URL(address).host}/json/list`)).json();
  const tab = await remote(pages.find(({ type }) => type === 'page').webSocketDebuggerUrl);
  await tab.ask('Page.enable');
  const loaded = tab.once('Page.loadEventFired');
  await tab.ask('Page.navigate', { url: page });
  await loaded;
  const { result, exceptionDetails } = await tab.ask('Runtime.evaluate', { expression: scene, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
  return result.value;
}

async function firefox() {
  const flags = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', 'about:blank'];
  const address = await start('firefox-esr', flags, /WebDriver BiDi listening on (ws:\S+)/);
  const session = await remote(`${address}/session`);
  await session.ask('session.new', { capabilities: {} });
  const { contexts: [{ context }] } = await session.ask('browsingContext.getTree');
  await session.ask('browsingContext.navigate', { context, url: page, wait: 'complete' });
  const { type, result, exceptionDetails } = await session.ask('script.evaluate', { expression: scene, awaitPromise: true, target: { context } });
  if (type !== 'success') throw new Error(JSON.stringify(exceptionDetails));
  return result.value;
}

process.stdout.write(`${await { chromium, firefox }[name]()}\n`, () => process.exit());
