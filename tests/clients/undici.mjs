// undici, of npm: the client of fetch and WebSocket in Node.
import { readFileSync } from 'node:fs';
import { WebSocket } from 'undici';
import { play } from './whatwg.js';

const [, , url] = process.argv;
const result = await play(({ protocols = [], bearer }) =>
  new WebSocket(url, { protocols, headers: bearer ? { Authorization: `Bearer ${bearer}` } : {} }), readFileSync(0, 'utf8'));
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());
