// The proxies: each with its example of a configuration, as it stands there but for ports and paths.

import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEADLINE, until, within } from './support.mjs';

const CERTIFICATE = '/etc/ssl/private/app.example.pem';
const examples = process.env.MUSTER_PROXIES;
const signal = (name) => (proxy) => process.kill(proxy.pid, name);
const command = (...words) => {
  const { status, error, stdout, stderr } = spawnSync(words[0], words.slice(1), { timeout: DEADLINE, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${words.join(' ')}: ${error ?? ''}${stdout}${stderr}`);
};

/**
 * `replace(values)`: what of the example to replace by what, each at least once. `around(text, values)`: what of a whole
 * configuration the example leaves out. `command(file, values)`. `idle`: the time in the example, and one that a test can
 * wait for. `cuts`: the codes with which a reload ends open connections.
 */
export const proxies = {
  nginx: {
    file: 'nginx.conf',
    replace: ({ front, back, pem }) => [['listen 443', `listen ${front}`], ['127.0.0.1:8080', back], [CERTIFICATE, pem]],
    idle: ['75s', '2s'],
    around: (text, { scratch }) => `${process.getuid() === 0 ? 'user root;\n' : ''}pid ${scratch}/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n` +
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${scratch}/${name};\n`).join('') + `${text}\n}\n`,
    command: (file) => ['nginx', '-g', 'daemon off;', '-e', 'stderr', '-c', file],
    reload: signal('SIGHUP'),
  },
  HAProxy: {
    file: 'haproxy.cfg',
    replace: ({ front, back, pem }) => [['bind :443', `bind ${front}`], ['127.0.0.1:8080', back], [CERTIFICATE, pem]],
    idle: ['75s', '2s'],
    command: (file) => ['haproxy', '-W', '-f', file],
    reload: signal('SIGUSR2'),
    http2: true,
  },
  Apache: {
    file: 'apache.conf',
    replace: ({ front, back, pem }) => [['*:443', front], ['127.0.0.1:8080', back], [CERTIFICATE, pem]],
    idle: ['Timeout 75', 'Timeout 2'],
    around: (text, { scratch, front }) => {
      const modules = ['mpm_event', 'authz_core', ...text.match(/^# a2enmod ([^;]*);/m)[1].split(' ')];
      return modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so\n`).join('') +
        `ServerName app.example\nServerRoot ${scratch}\nDefaultRuntimeDir ${scratch}\nPidFile ${scratch}/pid\nErrorLog |/bin/cat\nListen ${front}\nThreadsPerChild 8\nMaxRequestWorkers 32\n${text}`;
    },
    command: (file) => ['apache2', '-DFOREGROUND', '-f', file],
    reload: signal('SIGUSR1'),
    http2: true,
  },
  Caddy: {
    file: 'Caddyfile',
    replace: ({ port, back, pem }) => [['app.example:443', `app.example:${port}`], ['127.0.0.1:8080', back], [CERTIFICATE, pem]],
    around: (text, { scratch }) => `{\n\tadmin unix/${scratch}/admin\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n${text}`,
    command: (file) => ['caddy', 'run', '--config', file, '--adapter', 'caddyfile'],
    cuts: [1001, 1002],                           // 1002: the server's word for the unmasked close frame that Caddy 2.6.2 sends it
    reload: ({ file, scratch }) => command('caddy', 'reload', '--force', '--config', file, '--adapter', 'caddyfile', '--address', `unix/${scratch}/admin`),
  },
  Varnish: {
    file: 'varnish.vcl',
    replace: ({ backPort }) => [['"8080"', `"${backPort}"`]],
    idle: ['pipe_timeout=75s', 'pipe_timeout=2s'],
    plain: true,
    command: (file, { front, scratch }) =>
      ['varnishd', '-j', 'none', '-F', '-n', `${scratch}/work`, '-a', front, '-f', file, '-p', /-p (pipe_timeout=\d+s)$/m.exec(readFileSync(file, 'utf8'))[1]],
    reload: ({ file, scratch }) => {
      command('varnishadm', '-n', `${scratch}/work`, 'vcl.load', 'again', file);
      command('varnishadm', '-n', `${scratch}/work`, 'vcl.use', 'again');
    },
  },
  lighttpd: {
    file: 'lighttpd.conf',
    replace: ({ front, backPort, pem }) => [['":443"', `"${front}"`], ['"port" => 8080', `"port" => ${backPort}`], [CERTIFICATE, pem]],
    idle: ['max-read-idle = 75', 'max-read-idle = 2'],
    around: (text, { scratch, front }) =>
      `server.bind = "127.0.0.1"\nserver.port = ${front.split(':')[1]}\nserver.document-root = "${scratch}"\nserver.pid-file = "${scratch}/pid"\n${text}`,
    command: (file) => ['lighttpd', '-D', '-f', file],
    cuts: [1006],
    reload: signal('SIGUSR1'),
    http2: true,
  },
};

const running = new Set();
process.on('exit', () => { for (const proxy of running) proxy.end(); });

async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => listener.on('listening', done));
  const { port } = listener.address();
  await new Promise((done) => listener.close(done));
  return port;
}

/** Starts a proxy before `server`; `impatient`: with a short time for the idle. `stop` ends it and all that it started. */
export async function startProxy(kind, server, pem, { impatient = false } = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'muster-proxy-'));
  chmodSync(scratch, 0o755);
  const port = await freePort();
  const file = join(scratch, kind.file);
  const values = { scratch, port, front: `127.0.0.1:${port}`, pem };
  const configure = (backPort) => {
    const all = { ...values, back: `127.0.0.1:${backPort}`, backPort };
    let text = readFileSync(join(examples, kind.file), 'utf8');
    for (const [from, to] of [...kind.replace(all), ...(impatient ? [kind.idle] : [])]) {
      if (!text.includes(from)) throw new Error(`${kind.file} has no ${from}`);
      text = text.replaceAll(from, to);
    }
    writeFileSync(file, kind.around ? kind.around(text, all) : text);
  };
  configure(server.port);
  const words = kind.command(file, values);
  const child = spawn(words[0], words.slice(1), { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, HOME: scratch, XDG_DATA_HOME: scratch, XDG_CONFIG_HOME: scratch } });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more) => { said += more; });
  const exited = new Promise((done) => child.on('exit', done).on('error', (error) => { said += error; done(); }));
  const proxy = {
    ...values, file, pid: child.pid,
    said: () => said.slice(-4000),
    /** From now on before another server. */
    reload: (other) => {
      configure(other.port);
      kind.reload(proxy);
    },
    end: () => { try { process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended */ } },
    async stop() {
      child.kill('SIGTERM');
      const stubborn = setTimeout(proxy.end, 2000);
      await within(exited, () => `${words[0]} to exit`);
      clearTimeout(stubborn);
      proxy.end();
      running.delete(proxy);
      rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  running.add(proxy);
  let over = false;
  exited.then(() => { over = true; });
  try {
    await until(async () => {
      if (over) throw new Error(`${words.join(' ')} ended: ${said}`);
      return new Promise((done) => net.connect(port, '127.0.0.1', function () { this.destroy(); done(true); }).on('error', () => done(false)));
    }, () => `${words[0]} to listen; it said: ${said}`);
  } catch (error) {
    await proxy.stop();
    throw error;
  }
  return proxy;
}
