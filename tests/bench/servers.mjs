// Which servers are measured: how each is started, and what its clients say.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A token for each connection, so that muster authenticates every one of them as a user of its own. */
export function writeTokens(file, count) {
  const tokens = {};
  for (let i = 0; i < count; ++i) tokens[`token-${i}`] = { user: `user-${i}` };
  writeFileSync(file, JSON.stringify(tokens));
}

/** One that is made for this machine: {certificate, key}, the files. */
function selfSigned(folder) {
  const files = { certificate: join(folder, 'tls-cert.pem'), key: join(folder, 'tls-key.pem') };
  if (Object.values(files).every(existsSync)) return files;
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650',
    '-subj', '/CN=127.0.0.1', '-keyout', files.key, '-out', files.certificate], { stdio: 'pipe' });
  return files;
}

/** The options of an executable that tells them with --help, each as '--name'. */
export function flagsKnownTo(executable) {
  const { stdout, error } = spawnSync(executable, ['--help'], { encoding: 'utf8' });
  if (error) throw error;
  return new Set(stdout.match(/--[a-z][a-z0-9-]*/g));
}

/** [['--name', value]...] as arguments; a value of true: none. */
const asArguments = (flags) => flags.flatMap(([name, value]) => (value === true ? [name] : [name, value]));

const NO_LIMITS = ['max-connections', 'max-connections-per-ip', 'connect-rate-per-ip', 'message-rate', 'byte-rate', 'frame-rate', 'room-capacity']
  .map((name) => [`--${name}`, 0]);

/** Without these a scenario that wants them would be another one. */
const NEEDED = { latestBytes: '--latest-bytes-per-second', tls: '--tls-cert', deflate: '--deflate' };

/** A muster_server, today's or an older one, which is not given the flags that it does not know. */
function musterServer(executable, tokensFile, tls) {
  const known = flagsKnownTo(executable);
  const join_ = '{"type":"join","id":1,"payload":{"room":"r%r"}}';
  const publishing = (data, more) => `{"type":"publish","payload":{"room":"r%r","data":${data},${more}}}`;
  const messages = {
    // echo: whoever publishes gets it too, as from the others.
    publish: publishing('"%d"', '"echo":true'),
    json: publishing('%d', '"echo":true'),
    latest: publishing('"%d"', '"delivery":{"latest":"c%i"}'),
    awareness: '{"type":"awareness_update","payload":{"room":"r%r","client":"c%i","clock":%n,"state":{"at":"%d"}}}',
  };
  return {
    executable,
    lacks: (setup) => Object.keys(NEEDED).filter((name) => setup[name] && !known.has(NEEDED[name])),
    flags: (setup) => asArguments([
      ['--auth', `tokens:${tokensFile}`], ['--port', 0], ...NO_LIMITS, ['--threads', 1],
      ['--heartbeat', setup.heartbeat ?? '0'], ...(setup.heartbeat ? [['--pong-timeout', setup.heartbeat]] : []),
      ...(setup.awarenessInterval ? [['--awareness-interval', setup.awarenessInterval]] : []),
      ...(setup.latestBytes ? [['--latest-bytes-per-second', setup.latestBytes]] : []),
      ...(setup.presence ? [] : [['--presence-scope', 'none']]),
      ...(setup.tls ? [['--tls-cert', tls().certificate], ['--tls-key', tls().key]] : []),
      ...(setup.deflate ? [['--deflate', true]] : []),
    ].filter(([name]) => known.has(name))),
    client: (setup) => ['--path', '/ws', '--header', 'Sec-WebSocket-Protocol: muster.v1.json', '--header', 'Authorization: Bearer token-%i',
      '--hello', join_, '--publish', messages[setup.says ?? 'publish'], ...overTheWire(setup)],
  };
}

const overTheWire = (setup) => ['tls', 'deflate'].filter((name) => setup[name]).map((name) => `--${name}`);

/** A port of its own choice, or where it says in `port` that it listens always. */
const peerServer = (command, port) => ({
  executable: 'sh',
  flags: () => ['-c', `exec ${command}`],
  client: () => ['--path', '/', '--ready', ''],
  port: port ? Number(port) : undefined,
});

/** {name: server}. `build`: the folder of the preset; `base`: an older muster_server; `peer`, `peerPort`: see run.sh. */
export function servers(build, tokensFile, { base, peer, peerPort } = {}) {
  const tool = (name) => join(build, `tests/bench/muster_bench_${name}`);
  const tls = () => selfSigned(build);
  return {
    muster: musterServer(join(build, 'examples/server/muster_server'), tokensFile, tls),
    floor: {
      executable: tool('floor_server'),
      flags: (setup) => (setup.tls ? [0, tls().certificate, tls().key] : []),
      client: (setup) => ['--path', '/r%r', ...overTheWire({ tls: setup.tls })],
    },
    plain: { executable: tool('plain_server'), flags: () => [], client: () => [] },
    ...(base ? { base: musterServer(base, tokensFile, tls) } : {}),
    ...(peer ? { peer: peerServer(peer, peerPort) } : {}),
  };
}

/** The names of those that a scenario is measured with: the base wherever muster is, and the peer where the plain server
 *  is and whoever publishes does not wait for it. */
export function serversOf({ servers: named, options, setup = {} }, kinds) {
  const more = [...(named.includes('muster') ? ['base'] : []), ...(named.includes('plain') && options.publishers !== 0 ? ['peer'] : [])];
  return [...named, ...more].filter((name) => kinds[name] && !kinds[name].lacks?.(setup).length);
}
