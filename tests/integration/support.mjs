// A muster_server of one's own and raw WebSocket peers; every wait has a deadline and says what it was waiting for.
//
// MUSTER_SERVER: path of the built muster_server.  MUSTER_CANVAS: the folder with the page and client.js.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';

export { WebSocket };
export const DEADLINE = 15_000;
export const CANVAS = resolve(process.env.MUSTER_CANVAS ?? fileURLToPath(new URL('../../examples/canvas', import.meta.url)));

const executable = process.env.MUSTER_SERVER;
if (!executable) {
  console.error('set MUSTER_SERVER to the path of a built muster_server');
  process.exit(2);
}

/** Rejects after the deadline with what `describe()` says then. */
export function within(promise, describe, ms = DEADLINE) {
  let timer;
  const deadline = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${describe()}`)), ms); });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** Asks again and again until `condition()` holds; rejects after the deadline. */
export async function until(condition, describe, ms = DEADLINE) {
  const end = Date.now() + ms;
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${describe()}`);
    await new Promise((again) => setTimeout(again, 10));
  }
}

const running = new Set();
after(() => { for (const server of running) server.kill('SIGKILL'); });          // a failed test leaves its own running

/** Runs muster_server until it ends by itself: {code, stdout, stderr}. */
export function runServer(...flags) {
  return launch(flags).exited;
}

/** Starts muster_server on a free port (or the given one) of the loopback and waits until it listens. */
export async function startServer({ port = 0, flags = [], auth = 'anonymous' } = {}) {
  const { child, exited, line } = launch(['--port', String(port), '--address', '127.0.0.1', '--auth', auth, '--static', CANVAS, ...flags]);
  const url = await within(line(/listening on (https?:\/\/\S+)/), () => 'the line "listening on http(s)://..."');
  return {
    url,
    ws: `${url.replace('http', 'ws')}/ws`,
    port: Number(new URL(url).port),
    /** SIGKILL: no drain, no close frames. */
    async kill() {
      child.kill('SIGKILL');
      await within(exited, () => 'the server to exit after SIGKILL');
    },
    /** SIGTERM, and a clean exit. */
    async stop() {
      child.kill('SIGTERM');
      const { code, signal, stderr } = await within(exited, () => 'the server to exit after SIGTERM');
      assert.equal(code, 0, `exit code after SIGTERM (signal ${signal}): ${stderr}`);
    },
  };
}

function launch(flags) {
  const child = spawn(executable, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let stdout = '', stderr = '';
  const waiting = [];
  child.stderr.on('data', (bytes) => { stderr += bytes; });
  child.stdout.on('data', (bytes) => { stdout += bytes; waiting.forEach((check) => check()); });
  const exited = within(new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => { running.delete(child); done({ code, signal, stdout, stderr }); });
  }), () => `${executable} to exit`, 2 ** 30);
  const line = (pattern) => new Promise((found, failed) => {
    const check = () => { const match = pattern.exec(stdout); if (match) found(match[1]); };
    waiting.push(check);
    exited.then(({ code }) => failed(new Error(`${executable} ${flags.join(' ')} exited with ${code}: ${stderr}`)), failed);
  });
  exited.catch(() => {});
  return { child, exited, line };
}

/** The network between clients and a server, which can be cut or go silent. Serves the server's page under `url` too. */
export async function startProxy(server) {
  const pairs = new Set();
  let deafNext = false;
  const listener = net.createServer((near) => {
    const far = net.connect(server.port, '127.0.0.1');
    const pair = [near, far];
    let requests = deafNext ? 0 : -1;
    deafNext = false;
    near.on('data', () => { if (requests >= 0 && ++requests === 2) pair.deaf = true; });
    pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('data', (bytes) => { if (!pair.silent && !(pair.deaf && to === near)) to.write(bytes); });
      from.on('end', () => { if (!pair.silent) to.end(); });
      from.on('error', () => { if (!pair.silent) to.destroy(); });
      from.on('close', () => { if (!pair.silent) { to.destroy(); pairs.delete(pair); } });
    }
  });
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  const { port } = listener.address();
  const cut = () => { for (const pair of pairs) pair.forEach((socket) => socket.destroy()); };
  return {
    url: `http://127.0.0.1:${port}`,
    ws: `ws://127.0.0.1:${port}/ws`,
    /** Connections of now carry nothing any more, in silence: no FIN, no RST. New ones work. */
    silence() { for (const pair of pairs) pair.silent = true; },
    /** What the server says on connections of now does not arrive; what it is told does. */
    deafen() { for (const pair of pairs) pair.deaf = true; },
    /** The same for the next connection, from its first message after the upgrade on. */
    deafenNext() { deafNext = true; },
    cut,
    async close() { cut(); await new Promise((done) => listener.close(done)); },
  };
}

export function tokensFile(tokens) {
  const path = join(mkdtempSync(join(tmpdir(), 'muster-')), 'tokens.json');
  writeFileSync(path, JSON.stringify(tokens));
  return `tokens:${path}`;
}

/** GET with the path exactly as written: {status, headers, body}. */
export function get(url, path) {
  const { hostname, port } = new URL(url);
  return within(new Promise((done, failed) => {
    http.get({ hostname, port, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; });
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body }));
    }).on('error', failed);
  }), () => `GET ${path}`);
}

/** One raw connection. Messages wait in `inbox` until somebody takes them. */
export class Peer {
  inbox = [];
  #waiting = [];
  #nextId = 1;

  /** `tls`: what goes to tls.connect. Resolves once open; rejects with the HTTP status of a refused upgrade in `error.status`. */
  static async open(url, { protocols = ['muster.v1.json'], headers, perMessageDeflate, tls } = {}) {
    const peer = new Peer();
    const socket = peer.socket = new WebSocket(url, protocols, { headers, ...tls, ...(perMessageDeflate === undefined ? {} : { perMessageDeflate }) });
    peer.closed = new Promise((done) => socket.on('close', (code, reason) => { done({ code, reason: String(reason) }); peer.#wake(); }));
    socket.on('message', (bytes, binary) => {
      const raw = String(bytes);
      peer.inbox.push({ raw, binary, ...JSON.parse(raw) });
      peer.#wake();
    });
    await within(new Promise((done, failed) => {
      socket.on('open', done);
      socket.on('unexpected-response', (_, response) => { failed(Object.assign(new Error('upgrade refused'), { status: response.statusCode, headers: response.headers })); socket.terminate(); });
      socket.on('error', failed);
    }), () => `the upgrade of ${url}`);
    return peer;
  }

  /** Connected and acknowledged, in the given rooms. */
  static async connect(url, { rooms = [], ...options } = {}) {
    const peer = await Peer.open(url, options);
    const { payload } = await peer.take('connection_ack');
    Object.assign(peer, { connection: payload.connection, user: payload.user_id, ack: payload });
    for (const room of rooms) {
      await peer.ask('join', { room });
      await peer.take('awareness_state');
    }
    return peer;
  }

  raw(text) { this.socket.send(text); }
  send(type, payload, id) { this.raw(JSON.stringify({ type, id, payload })); }

  /** Sends with an id of its own and takes the reply, whatever its type. */
  ask(type, payload) {
    const id = this.#nextId++;
    this.send(type, payload, id);
    return this.take((message) => message.reply_to === id, `the reply to ${type}`);
  }

  /** Takes the first message of this type (or that this function accepts) out of the inbox, waiting for it if need be. */
  take(match, what = match) {
    const accepts = typeof match === 'function' ? match : ({ type }) => type === match;
    const found = new Promise((done, failed) => {
      const look = () => {
        const index = this.inbox.findIndex(accepts);
        if (index >= 0) done(this.inbox.splice(index, 1)[0]);
        else if (this.socket.readyState === WebSocket.CLOSED) failed(new Error(`closed while waiting for ${what}`));
        else return false;
        return true;
      };
      if (!look()) this.#waiting.push(look);
    });
    return within(found, () => `${what}; in the inbox: ${this.inbox.map(({ raw }) => raw).join('\n') || 'nothing'}`);
  }

  /** Everything the server sent before this returns is in the inbox: replies keep the order of commands. */
  async settle() { await this.ask('session_info', {}); }

  /** Messages of one type that nobody took. */
  left(type) { return this.inbox.filter((message) => message.type === type); }

  /** The close code, once closed. */
  async code() { return (await within(this.closed, () => `a close; in the inbox: ${this.inbox.map(({ raw }) => raw).join('\n')}`)).code; }

  close(code = 1000) { this.socket.close(code); return this.code(); }

  #wake() { this.#waiting = this.#waiting.filter((look) => !look()); }
}
