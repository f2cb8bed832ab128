// wss and https: muster_server with a certificate, and the npm client `ws` that checks it.

import assert from 'node:assert/strict';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { authority } from './certificates.mjs';
import { DEADLINE, Peer, runServer, startServer, within } from './support.mjs';

const ours = authority('ours');
const good = ours.sign('good', ['IP:127.0.0.1', 'DNS:localhost']);
const flagsOf = ({ cert, key }, ...more) => ['--tls-cert', cert, '--tls-key', key, ...more];

/** Resolves to all the server said once the socket is closed. */
const ended = (socket, what) => within(new Promise((done) => {
  let bytes = 0;
  socket.on('data', (data) => { bytes += data.length; }).on('error', () => {}).on('close', () => done(bytes));
}), () => `the end of ${what}`);

describe('wss', { timeout: 4 * DEADLINE }, () => {
  let server;
  before(async () => { server = await startServer({ flags: flagsOf(good, '--handshake-timeout', '2s', '--deflate', '--threads', '2') }); });
  after(() => server.stop());

  test('a client that trusts the authority connects, joins and talks', async () => {
    assert.match(server.ws, /^wss:/);
    const [ann, bob] = [await Peer.connect(server.ws, { tls: { ca: ours.ca }, rooms: ['r'] }), await Peer.connect(server.ws, { tls: { ca: ours.ca }, rooms: ['r'] })];
    const data = 'encrypted '.repeat(2000);
    await ann.ask('publish', { room: 'r', data });
    assert.equal((await bob.take('message')).payload.data, data);
    assert.match(ann.socket._socket.getProtocol(), /^TLSv1\.[23]$/);
    assert.equal(await ann.close(), 1000);
    assert.equal(await bob.close(), 1000);
  });

  test('a client that does not trust it refuses', async () => {
    await assert.rejects(Peer.open(server.ws), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
    await assert.rejects(Peer.open(server.ws, { tls: { ca: authority('another').ca } }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  });

  test('a certificate for another host is refused', async () => {
    const elsewhere = await startServer({ flags: flagsOf(ours.sign('elsewhere', ['DNS:elsewhere.example'])) });
    await assert.rejects(Peer.open(elsewhere.ws, { tls: { ca: ours.ca } }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    await elsewhere.stop();
  });

  test('TLS 1.1 is not spoken', async () => {
    const old = tls.connect({ port: server.port, host: '127.0.0.1', ca: ours.ca, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    const error = await within(new Promise((done) => old.on('error', done).on('secureConnect', () => done(null))), () => 'an answer to TLS 1.1');
    assert.equal(error?.code, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');  // the server's word, not the client's
  });

  test('half a handshake, a silent socket and a plain request are let go by the handshake timeout', async () => {
    const sockets = ['', '\x16\x03\x01\x02\x00\x01\x00', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'].map((bytes) => {
      const socket = net.connect(server.port, '127.0.0.1');
      socket.write(bytes, 'latin1');
      return ended(socket, JSON.stringify(bytes));
    });
    // Handshake done, and then no request.
    sockets.push(ended(tls.connect({ port: server.port, host: '127.0.0.1', ca: ours.ca }), 'a connection without a request'));
    await Promise.all(sockets);
    const { payload } = await (await Peer.connect(server.ws, { tls: { ca: ours.ca } })).ask('session_info', {});
    assert.ok(payload);                                      // and nobody else noticed
  });

  test('pages and health checks are https', async () => {
    const body = await within(new Promise((done, failed) => {
      https.get(`${server.url}/healthz`, { ca: ours.ca, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => done(text));
      }).on('error', failed);
    }), () => 'GET /healthz');
    assert.match(body, /^ok/);
  });
});

test('a certificate or key that cannot be used is one line that names the file, and exit 2', { timeout: 4 * DEADLINE }, async () => {
  const other = ours.sign('other', ['DNS:localhost']);
  const broken = `${other.cert}.broken`;
  writeFileSync(broken, readFileSync(other.cert, 'utf8').slice(0, 200));
  for (const [pair, mentions] of [
    [{ cert: good.cert, key: other.key }, [good.cert, other.key, 'does not belong']],
    [{ cert: '/no/such/cert.pem', key: good.key }, ['/no/such/cert.pem']],
    [{ cert: good.cert, key: '/no/such/key.pem' }, ['/no/such/key.pem']],
    [{ cert: broken, key: other.key }, [broken]],
    [{ cert: good.key, key: good.key }, [good.key]],
  ]) {
    const { code, stderr } = await within(runServer('--auth', 'anonymous', '--port', '0', ...flagsOf(pair)), () => 'the server to exit');
    assert.equal(code, 2, stderr);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
    for (const text of mentions) assert.ok(stderr.includes(text), stderr);
  }
});
