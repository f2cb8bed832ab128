// The clients: how each is started, what it cannot show, and one run of it.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { within } from './support.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const node = (...files) => [process.execPath, ...files.map((file) => file.endsWith('.mjs') ? here + file : file)];
const python = (file) => ['/usr/bin/python3', '-B', here + file];               // Debian's, which Debian's packages are for

/**
 * `lacks`: it cannot set a header, does not show the status of a refusal, the protocol chosen or the reason of a close, does
 * not wait for the answer to its own close, or cannot close without a code. `keepsContext`: it compresses when it is told
 * to, and then as if nobody had answered client_no_context_takeover.
 */
export const clients = {
  'ws (npm)': { command: node('ws.mjs'), lacks: [] },
  'undici (npm)': { command: node('undici.mjs'), lacks: ['status'] },
  'websockets (Python)': { command: python('websockets_client.py'), lacks: [] },
  'aiohttp (Python)': { command: python('aiohttp_client.py'), lacks: ['reason'] },
  'Tornado (Python)': { command: python('tornado_client.py'), lacks: [], keepsContext: true },
  'gorilla (Go)': { command: [`${here}gorilla`], lacks: [] },
  'Qt 5': { command: python('qt_client.py'), lacks: ['status', 'protocol'] },
  'libwebsockets (C)': { command: [`${here}lws`], lacks: ['answer', 'plain close'] },
  'Beast (C++)': { command: [`${here}beast`], lacks: ['status'] },
  'Mojolicious (Perl)': { command: ['perl', `${here}mojo.pl`], lacks: ['answer'], keepsContext: true },
  'java.net.http': { command: ['java', '-cp', here, '-XX:TieredStopAtLevel=1', 'Client'], lacks: [] },
  'Chromium': { command: node('browser.mjs', 'chromium'), lacks: ['header', 'status'] },
  'Firefox': { command: node('browser.mjs', 'firefox'), lacks: ['header', 'status'] },
};

const DEADLINE = 40_000;
const running = new Set();
process.on('exit', () => { for (const group of running) end(group); });
function end(group) {
  try { process.kill(-group, 'SIGKILL'); } catch { /* it has ended */ }
}

/** Runs a client with a script; resolves to what it prints. Nothing that it started outlives this. */
export async function run(client, url, script) {
  const scratch = mkdtempSync(join(tmpdir(), 'muster-client-'));
  const [program, ...flags] = client.command;
  const child = spawn(program, [...flags, url], { detached: true, cwd: scratch, env: { ...process.env, TMPDIR: scratch, HOME: scratch } });
  running.add(child.pid);
  let stdout = '', stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
  child.stderr.on('data', (bytes) => { stderr += bytes; });
  child.stdin.on('error', () => {});                                            // it may end before it has read all
  child.stdin.end(script.join('\n') + '\n');
  try {
    await within(new Promise((done, failed) => child.on('error', failed).on('close', done)), () => `the client's end; it said: ${stderr}`, DEADLINE);
    return JSON.parse(stdout);
  } catch (error) {
    throw new Error(`${error.message}; it said: ${stderr.slice(-2000) || stdout.slice(-2000)}`);
  } finally {
    end(child.pid);
    running.delete(child.pid);
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
}
