// muster_server behind other people's proxies, each with the configuration of examples/proxies.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { authority } from './certificates.mjs';
import { connectByHttp2 } from './http2.mjs';
import { proxies, startProxy } from './proxies.mjs';
import { CANVAS, DEADLINE, Peer, get, startServer, tokensFile, until, within } from './support.mjs';

const SITE = 'app.example';
const ours = authority('proxies');
const { cert, key } = ours.sign('site', [`DNS:${SITE}`]);
const pem = join(process.cwd(), 'site.pem');
writeFileSync(pem, readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 });

const auth = tokensFile({ 'ann-secret': { user: 'ann' } });
const flags = ['--trusted-proxy', '127.0.0.1', '--allowed-host', SITE, '--allowed-origin', SITE, '--max-connections-per-ip', '2', '--connect-rate-per-ip', '0',
  '--drain-deadline', '1s', '--reconnect-window', '1s', '--log-level', 'error'];
const start = (...more) => startServer({ auth, flags: [...flags, ...more] });
const again = (server) => startServer({ auth, flags, port: server.port });

/** A client's way to the proxy: the site's name, from any address of the loopback. */
const dial = (from) => ({
  ca: ours.ca, servername: SITE, localAddress: from,
  lookup: (_, { all }, done) => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)),
});

function play(name, kind) {
  const scheme = kind.plain ? 'http' : 'https';
  const through = (proxy, { from = '127.0.0.1', token = 'ann-secret', headers } = {}) => Peer.open(`${kind.plain ? 'ws' : 'wss'}://${SITE}:${proxy.port}/ws`,
    { tls: dial(from), headers: { Origin: `${scheme}://${SITE}:${proxy.port}`, Authorization: `Bearer ${token}`, ...headers } });
  const page = (proxy, path) => within(new Promise((done, failed) => {
    (kind.plain ? http : https).get(`${scheme}://${SITE}:${proxy.port}${path}`, { ...dial(), agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => done({ status: answer.statusCode, body }));
    }).on('error', failed);
  }), () => `GET ${path}`);
  const metric = async (server, name) => Number(new RegExp(`^muster_${name} (\\d+)$`, 'm').exec((await get(server.url, '/metrics')).body)[1]);
  const talks = async (peer) => assert.equal((await peer.ask('session_info', {})).reply_to !== undefined, true);
  /** Once the proxy has noticed that the server is there again. */
  const returns = async (proxy) => {
    let peer;
    await until(async () => { peer = await through(proxy).catch(() => undefined); return peer; }, () => `${name} to find the server again; it said: ${proxy.said()}`);
    return peer;
  };

  describe(name, { timeout: 10 * DEADLINE }, () => {
    let server, proxy, peers = [];
    const connect = async (how) => { const peer = await through(proxy, how); peers.push(peer); return peer; };
    before(async () => {
      server = await start();
      try {
        proxy = await startProxy(kind, server, pem);
        (await returns(proxy)).socket.terminate();
      } catch (error) {                           // no test runs, nor what comes after them
        await end();
        throw error;
      }
    });
    const end = async () => {
      await proxy?.stop();
      await server.stop();
    };
    after(end);
    afterEach(async () => {
      for (const peer of peers.splice(0)) peer.socket.terminate();
      await until(async () => await metric(server, 'reserved_connections') <= 1, () => 'the connections to be gone');
    });

    test('passes the page on, and no metrics', async () => {
      const { status, body } = await page(proxy, '/');
      assert.equal(status, 200, body);
      assert.equal(body, readFileSync(join(CANVAS, 'index.html'), 'utf8'));
      assert.ok([403, 404].includes((await page(proxy, '/metrics')).status));
      assert.equal((await page(proxy, '/readyz')).status, 200);
    });

    test('passes an upgrade on, and what is said', async () => {
      const ann = await connect();
      assert.equal(ann.socket.protocol, 'muster.v1.json');
      assert.equal((await ann.take('connection_ack')).payload.user_id, 'ann');
      await ann.ask('join', { room: 'r' });
      const data = 'x'.repeat(60_000);
      ann.send('publish', { room: 'r', echo: true, data });
      assert.equal((await ann.take('message')).payload.data, data);
      assert.equal(await ann.close(), 1000);
    });

    test('passes a refusal on', async () => {
      assert.equal((await connect({ token: 'guess' }).catch((error) => error)).status, 401);
    });

    test('tells whose connection it is: limits count by address, whatever a client says', async () => {
      const from = '127.0.0.2', headers = { 'X-Forwarded-For': '127.0.0.9' };
      for (const peer of [await connect({ from }), await connect({ from, headers })]) await talks(peer);
      assert.equal((await connect({ from, headers }).catch((error) => error)).status, 429);
      await talks(await connect({ from: '127.0.0.3' }));
    });

    if (kind.http2) test('takes WebSockets over HTTP/2', async () => {
      const ann = await within(connectByHttp2(`https://${SITE}:${proxy.port}`, '/ws', { origin: `https://${SITE}:${proxy.port}`, authorization: 'Bearer ann-secret' }, dial('127.0.0.4')), () => 'the upgrade');
      try {
        assert.equal(ann.status, 200);
        ann.send('{"type":"session_info","id":"here"}');
        await within(ann.take('"here"'), () => 'the answer');
      } finally {
        ann.end();
      }
    });

    test(`a reload ${kind.cuts ? 'cuts' : 'keeps'} open connections, and takes new ones`, async () => {
      const other = await start();
      const before = server;
      try {
        const old = await connect();
        await talks(old);
        proxy.reload(other);
        await until(async () => {
          const young = await through(proxy).catch(() => undefined);
          await young?.take('connection_ack').catch(() => {});
          young?.socket.terminate();
          return await metric(other, 'connections_total') > 0;
        }, () => 'the other server to be asked');
        if (kind.cuts) assert.ok(kind.cuts.includes(await old.code()));
        else await talks(old);
      } finally {
        server = other;
        await before.stop();
      }
    });

    test('passes a drain on, and finds the server again', async () => {
      const ann = await returns(proxy);           // the reload may not be over
      peers.push(ann);
      await talks(ann);
      await server.stop();
      assert.equal(typeof (await ann.take(({ payload }) => payload?.reconnect_after_ms !== undefined, 'when to come back')).payload.reconnect_after_ms, 'number');
      assert.equal(await ann.code(), 1001);
      await assert.rejects(through(proxy), 'there is no server now');
      assert.ok((await page(proxy, '/')).status >= 500);
      server = await again(server);
      const back = await returns(proxy);
      peers.push(back);
      await talks(back);
    });
  });

  if (kind.idle) describe(`${name}, impatient`, { timeout: 10 * DEADLINE }, () => {
    const idle = async (heartbeat, meanwhile) => {
      const server = await start('--heartbeat', heartbeat, '--pong-timeout', '1s');
      const proxy = await startProxy(kind, server, pem, { impatient: true });
      let ann;
      try {
        ann = await returns(proxy);
        await talks(ann);
        await meanwhile(ann);
      } finally {
        ann?.socket.terminate();
        await proxy.stop();
        await server.stop();
      }
    };

    test('cuts who says nothing for longer than its time', () => idle('0', (ann) => ann.code()));

    test('keeps who is idle for longer than its time, by the heartbeat', () => idle('1s', async (ann) => {
      let beats = 0;
      await within(Promise.race([ann.closed, new Promise((done) => ann.socket.on('ping', () => { if (++beats === 4) done(); }))]), () => `${beats} heartbeats`);
      assert.equal(beats, 4, 'closed before');
      await talks(ann);
    }));
  });
}

const only = (process.env.MUSTER_ONLY ?? '').toLowerCase().split(' ').filter(Boolean);
describe('proxies that others wrote', { concurrency: false }, () => {
  for (const [name, kind] of Object.entries(proxies)) {
    if (only.length === 0 || only.some((part) => name.toLowerCase().includes(part))) play(name, kind);
  }
});
