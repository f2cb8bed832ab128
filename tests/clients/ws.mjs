// ws, of npm.
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';
import { play } from './whatwg.js';

const [, , url] = process.argv;
const result = await play(({ protocols = [], bearer }) => {
  const socket = new WebSocket(url, protocols, { headers: bearer ? { Authorization: `Bearer ${bearer}` } : {} });
  socket.refused = new Promise((done) => socket.on('unexpected-response', (request, { statusCode }) => {
    request.destroy();
    done(statusCode);
  }));
  return socket;
}, readFileSync(0, 'utf8'));
console.log(JSON.stringify(result));
