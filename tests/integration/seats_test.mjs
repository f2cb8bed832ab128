// The page's client.js where the server gives it seats, takes its time, and refuses in words of its own. The server is played
// by the test, frame by frame: muster_server gives nobody a seat.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { CANVAS, until, within } from './support.mjs';

const { Client } = await import(pathToFileURL(`${CANVAS}/client.js`));

/** The server's end of a connection. */
class Socket {
  static all = [];
  readyState = 1; sent = []; bufferedAmount = 0;
  constructor(url) {
    this.url = url;
    Socket.all.push(this);
    queueMicrotask(() => this.onopen?.({}));
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close(code = 1000, reason = '') { this.readyState = 3; queueMicrotask(() => this.onclose?.({ code, reason })); }
  tell(type, payload, id) { this.onmessage({ data: JSON.stringify({ type, timestamp: 1, reply_to: id, payload }) }); }
  asked(type) { return this.sent.findLast((message) => message.type === type); }
}

const EPOCH = 7;
const joined = (room, seq, more = {}) => ({ room, seq, epoch: EPOCH, members: [], member_count: 1, recovered: false, ...more });
const GIVEN = { by: 'server' };

let client, story;
function newClient() {
  client = new Client('ws://server/ws', { WebSocket: Socket, token: 'ann', pingInterval: 0, backoffBase: 1, backoffCap: 1 });
  story = [];
  client.on('joined', ({ room, by }) => story.push(`joined ${room}${by ? ` by ${by}` : ''}`));
  client.on('left', ({ room }) => story.push(`left ${room}`));
  client.on('message', ({ room, data }) => story.push(`${room}: ${data}`));
  client.on('gap', ({ room, from, to }) => story.push(`${room}: gap ${from} to ${to}`));
  client.on('error', ({ message }) => story.push(`error ${message}`));
}
/** The next socket that the client opens, once it has said something. */
async function opened(before) {
  await until(() => Socket.all.length > before && Socket.all.at(-1).sent.length > 0, () => 'the client to connect');
  return Socket.all.at(-1);
}
const welcome = (socket, number) => socket.tell('connection_ack', { connection: `c${number}`, user_id: 'ann', tenant: '', resume_token: `t${number}`, resume_ttl_ms: 60_000 });
async function connected() {
  newClient();
  const before = Socket.all.length;
  client.connect();
  const socket = await opened(before);
  welcome(socket, 1);
  assert.equal(client.state, 'connected');
  return socket;
}
/** Another connection, which has asked for the session. */
async function back(socket) {
  const before = Socket.all.length;
  socket.onclose({ code: 1006, reason: '' });
  const next = await opened(before);
  assert.equal(next.asked('resume').payload.token, 't1');
  story.length = 0;
  return next;
}
const take = () => story.splice(0);

afterEach(() => { client?.close(); client = undefined; });

test('a seat that the server gives is a room like any other, until the server takes it back', async () => {
  const socket = await connected();
  socket.tell('room_joined', joined('lobby', 3, GIVEN));
  socket.tell('message', { room: 'lobby', seq: 4, epoch: EPOCH, data: 'hello' });
  assert.deepEqual(take(), ['joined lobby by server', 'lobby: hello']);
  assert.equal(client.room('lobby').joined, true);
  assert.equal(socket.asked('join'), undefined);
  const published = client.publish('lobby', 1);
  socket.tell('ack', { seq: 5, epoch: EPOCH }, socket.asked('publish').id);
  assert.deepEqual(await within(published, () => 'the ack'), { seq: 5, epoch: EPOCH });
  assert.equal(await within(client.join('lobby'), () => 'what it has already'), client.room('lobby'));
  socket.tell('room_left', { room: 'lobby', ...GIVEN });
  assert.deepEqual(take(), ['left lobby']);
  assert.equal(client.room('lobby'), undefined);
});

test('a session that is resumed names the seats it was given, and reads on where it was', async () => {
  const first = await connected();
  first.tell('room_joined', joined('lobby', 5, GIVEN));
  const socket = await back(first);
  assert.deepEqual(socket.asked('resume').payload.rooms, { lobby: { epoch: EPOCH, seq: 5 } });
  // on_connected gave the new connection its seat before it was known who comes back.
  welcome(socket, 2);
  socket.tell('room_joined', joined('lobby', 9, GIVEN));
  socket.tell('awareness_state', { room: 'lobby', states: [] });
  socket.tell('message', { room: 'lobby', seq: 10, epoch: EPOCH, data: 'live' });
  assert.deepEqual(take(), []);
  socket.tell('resumed', { connection: 'c1', rooms: { lobby: 'recovered' } }, socket.asked('resume').id);
  socket.tell('room_joined', joined('lobby', 10, { recovered: true }));
  for (const seq of [6, 7, 8, 9, 10]) socket.tell('message', { room: 'lobby', seq, epoch: EPOCH, data: seq });
  assert.deepEqual(take(), ['joined lobby', ...[6, 7, 8, 9, 10].map((seq) => `lobby: ${seq}`)]);
});

test('a seat that the session had and the client never heard of is told behind the resume', async () => {
  const socket = await back(await connected());
  welcome(socket, 2);
  socket.tell('resumed', { connection: 'c1', rooms: {} }, socket.asked('resume').id);
  socket.tell('room_joined', joined('team', 2, GIVEN));
  assert.deepEqual(take(), ['joined team by server']);
});

test('in a new session the server decides anew: what it does not give again is left, and not asked for', async () => {
  const first = await connected();
  first.tell('room_joined', joined('lobby', 5, GIVEN));
  first.tell('room_joined', joined('team', 5, GIVEN));
  const socket = await back(first);
  welcome(socket, 2);
  socket.tell('room_joined', joined('lobby', 0, GIVEN));
  socket.tell('error', { code: 'resume_failed', message: 'too late' }, socket.asked('resume').id);
  assert.equal(client.room('lobby').joined, true);
  assert.equal(client.room('team'), undefined);
  assert.equal(socket.asked('join'), undefined);
  assert.deepEqual(take(), ['left lobby', 'left team', 'joined lobby by server']);
});

test('a given room that a resume denies is left, and not asked for', async () => {
  const first = await connected();
  first.tell('room_joined', joined('lobby', 5, GIVEN));
  const socket = await back(first);
  welcome(socket, 2);
  socket.tell('resumed', { connection: 'c1', rooms: { lobby: 'denied' } }, socket.asked('resume').id);
  assert.deepEqual(take(), ['left lobby']);
  assert.equal(socket.asked('join'), undefined);
});

test('progress is told before the answer, and an error has the details of the program', async () => {
  const socket = await connected();
  const far = [];
  const rendered = client.request('render', {}, { progress: ({ done }) => far.push(done) });
  await until(() => socket.asked('render'), () => 'the command');
  const { id } = socket.asked('render');
  socket.tell('progress', { done: 0.5 }, id);
  socket.tell('progress', { done: 0.9 }, id);
  socket.tell('ack', { frames: 24 }, id);
  assert.deepEqual(await within(rendered, () => 'the answer'), { frames: 24 });
  assert.deepEqual(far, [0.5, 0.9]);
  const refused = client.request('move', {}).catch((error) => error);
  await until(() => socket.asked('move'), () => 'the command');
  socket.tell('error', { code: 'not_your_turn', message: 'Bob first', details: { turn: 'bob' } }, socket.asked('move').id);
  const { code, details } = await within(refused, () => 'the error');
  assert.deepEqual([code, details], ['not_your_turn', { turn: 'bob' }]);
  assert.deepEqual(take(), []);
});

test('what the server asks is answered by what serves it, once, also when it is asked again over a resume', async () => {
  const socket = await connected();
  const prices = [];
  let agree;
  client.serve('confirm', ({ price }) => {
    prices.push(price);
    return new Promise((resolve) => { agree = resolve; });
  });
  client.serve('refuse', () => { throw Object.assign(new Error('Not for that'), { code: 'too_dear', details: { most: 5 } }); });
  socket.tell('request', { request: 1, type: 'confirm', data: { price: 7 }, timeout_ms: 5000 });
  socket.tell('request', { request: 2, type: 'refuse', data: null, timeout_ms: 5000 });
  await until(() => socket.asked('answer'), () => 'the refusal');
  assert.deepEqual(socket.asked('answer').payload, { request: 2, error: { code: 'too_dear', message: 'Not for that', details: { most: 5 } } });
  socket.tell('request', { request: 3, type: 'nobody', data: null, timeout_ms: 5000 });
  await until(() => socket.asked('answer').payload.request === 3, () => 'another refusal');
  assert.equal(socket.asked('answer').payload.error.code, 'unknown_request');

  const next = await back(socket);
  welcome(next, 2);
  next.tell('resumed', { connection: 'c1', rooms: {} }, next.asked('resume').id);
  next.tell('request', { request: 1, type: 'confirm', data: { price: 7 }, timeout_ms: 4000 });
  agree({ agreed: true });
  await until(() => next.asked('answer'), () => 'the answer');
  assert.deepEqual(next.asked('answer').payload, { request: 1, data: { agreed: true } });
  assert.deepEqual(prices, [7]);
});

test('a profile that changes is kept with its member, and told', async () => {
  const socket = await connected();
  const told = [];
  client.on('presence', ({ changed }) => told.push(...changed));
  socket.tell('room_joined', joined('lobby', 0, { ...GIVEN, members: [{ connection: 'c9', user: 'bob' }] }));
  socket.tell('presence', { room: 'lobby', joined: [], left: [], changed: [{ connection: 'c9', user: 'bob', profile: { colour: 'red' } }], member_count: 2 });
  assert.deepEqual(client.room('lobby').members.get('c9').profile, { colour: 'red' });
  assert.equal(told.length, 1);
  const set = client.setProfile({ name: 'Ann' });
  assert.deepEqual(socket.asked('profile_update').payload, { profile: { name: 'Ann' } });
  socket.tell('ack', {}, socket.asked('profile_update').id);
  await set;
});

test('what a served handler gives that is no JSON is a refusal, and so is whatever it throws', async () => {
  const socket = await connected();
  client.serve('big', () => 10n);
  client.serve('nothing', () => { throw undefined; });
  client.serve('odd', () => { throw { code: 7, message: { a: 1 }, details: 10n }; });
  for (const [request, type] of [[1, 'big'], [2, 'nothing'], [3, 'odd']]) {
    socket.tell('request', { request, type, data: null, timeout_ms: 2 ** 40 });
    await until(() => socket.asked('answer')?.payload.request === request, () => `the answer to ${type}`);
    const { code, message } = socket.asked('answer').payload.error;
    assert.equal(typeof code, 'string');
    assert.equal(typeof message, 'string');
  }
});

test('reads the members of a crowd in pages, and takes a changed member that it does not know', async () => {
  const socket = await connected();
  socket.tell('room_joined', { room: 'hall', seq: 0, epoch: EPOCH, member_count: 900, recovered: false, ...GIVEN });
  const page = client.members('hall', { after: 'c7', limit: 2 });
  assert.deepEqual(socket.asked('presence_query').payload, { room: 'hall', after: 'c7', limit: 2 });
  const members = [{ connection: 'c8', user: 'bob' }, { connection: 'c9', user: 'cat' }];
  socket.tell('presence_state', { room: 'hall', members, more: true }, socket.asked('presence_query').id);
  assert.deepEqual(await page, { room: 'hall', members, more: true });
  const told = [];
  client.on('presence', ({ joined }) => told.push(...joined));
  socket.tell('presence', { room: 'hall', joined: [], left: [], changed: [{ connection: 'c5', user: 'dan' }], member_count: 3 });
  assert.deepEqual(told.map(({ user }) => user), ['dan']);
});
