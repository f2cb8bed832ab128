/**
 * A small muster client for browsers and Node: one connection that comes back by itself, and rooms that come back with it.
 *
 *   import { Client } from './client.js';
 *   const client = new Client('wss://example.org/ws', { token: () => fetchToken() });   // in Node: { WebSocket } from npm's ws
 *   client.on('message', ({ room, from, data }) => console.log(room, from.user, data));
 *   client.on('presence', ({ room, joined, left }) => console.log(room, joined, left));
 *   client.on('state', ({ state, retryAt }) => console.log(state, retryAt));
 *   await client.connect();
 *   const room = await client.join('canvas:lobby');                  // room.members: Map of connection -> {connection, user}
 *   await client.publish('canvas:lobby', { text: 'hello' });         // resolves with {seq, epoch}; rejects while offline
 *   client.setAwareness('canvas:lobby', { name: 'Ann', x: 0.5 });    // newest state wins, at most one update per 50 ms
 *   client.close();
 *
 * Events: state {state, retryAt?, code?, reason?, error?}, joined {room, rejoined}, left {room, error?}, message, direct, gap,
 * presence {room, joined, left, memberCount}, awareness {room, changes: [{client, user, state | null}]} (others only),
 * latency {ms}, error (MusterError: what no pending command was waiting for), and every other server message under its own
 * type (draining, kicked, reauth_required, user_online, ...).
 * States: idle, connecting, connected, waiting (for the next attempt, at retryAt), closed.
 *
 * What it does not do yet: resume (after a loss it rejoins; what was published meanwhile is not replayed), reauthentication
 * on a live connection (it reconnects with a fresh token instead), an offline queue (publishing while offline is refused),
 * fetching the messages a `gap` names. A command cut off by a loss rejects with `disconnected`: whether it arrived is unknown.
 * A browser cannot see why an upgrade was refused: with `tokenIn: 'upgrade'` a bad token looks like an unreachable server.
 */

const PROTOCOL = 'muster.v1.json';

/** What the server's close code asks of us. Every other one, and a lost connection: try again, when it says so not before. */
const ADVICE = {
  1000: 'stop', 1002: 'stop', 1003: 'stop', 1007: 'stop', 1009: 'stop', 4003: 'stop', 4005: 'stop',
  4001: 'authenticate', 4002: 'new_token', 4004: 'kicked', 4008: 'resume', 4009: 'resume',
};

/** The server's error codes, and our own: offline, disconnected, timeout, closed. */
export class MusterError extends Error {
  constructor(code, message, { details, retryAfter } = {}) {
    super(message || code);
    Object.assign(this, { name: 'MusterError', code, details, retryAfter });
  }
}

/** At most one call per `interval` ms; the first at once, then always the newest arguments. `.cancel()` drops what waits. */
export function throttle(call, interval) {
  let last = -Infinity, timer, newest;
  const run = () => { timer = undefined; last = Date.now(); call(...newest); };
  const throttled = (...args) => {
    newest = args;
    if (timer !== undefined) return;
    const wait = last + interval - Date.now();
    if (wait <= 0) run(); else timer = setTimeout(run, wait);
  };
  throttled.cancel = () => { clearTimeout(timer); timer = undefined; };
  return throttled;
}

const DEFAULTS = {
  token: undefined,          // string, or a function (may be async) asked before every attempt, told the last close code
  tokenIn: 'message',        // 'message': first message `authenticate`; 'upgrade': subprotocol pair `bearer, <token>`
  client: undefined,         // awareness client id; by default the connection id
  connectTimeout: 10_000,    // ms until connection_ack, else the next attempt
  commandTimeout: 10_000,    // ms until a command without reply rejects with `timeout`
  pingInterval: 15_000,      // ms between application pings (0 = off); an unanswered one means the connection is lost
  awarenessInterval: 50,     // ms between two awareness updates of one room
  backoffBase: 500,          // the n-th attempt waits a random time up to backoffBase * 2^n, at most backoffCap
  backoffCap: 30_000,
  stableAfter: 5_000,        // ms a connection must live to start the backoff anew
  random: Math.random,
};

export class Client {
  state = 'idle';
  connection; user; tenant;                       // set by connection_ack
  #url; #options; #socket; #ready; #timers = new Map(); #attempt = 0; #connectedAt = 0; #notBefore = 0; #generation = 0;
  #refusal; #kicked; #closeCode; #pending = new Map(); #nextId = 1; #rooms = new Map(); #listeners = new Map();

  constructor(url, options) { [this.#url, this.#options] = [url, { ...DEFAULTS, WebSocket: globalThis.WebSocket, ...options }]; }

  /** Adds a listener; returns the function that removes it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  /** Resolves with the first connection_ack; rejects when the server's advice is to stop, or on close(). */
  connect() {
    if (this.state !== 'idle' && this.state !== 'closed') return this.#ready.promise;
    [this.#ready, this.#attempt, this.#closeCode] = [deferred(), 0, undefined];
    this.#open();
    return this.#ready.promise;
  }

  /** Ends the wait for the next attempt, for instance when the network is back. */
  retryNow() { if (this.state === 'waiting') this.#open(); }

  /** Logs out: the others are told at once. */
  close() { this.#stop(1000, 'closed by this client'); }

  /** Resolves with the room once joined. A wish that outlives connections: kept while offline, and asked for again after
   *  every reconnect, until the server refuses (then it rejects), leave() or close(). */
  join(name) {
    if (this.#rooms.has(name)) return this.#rooms.get(name).wished.promise;
    const room = { name, joined: false, members: new Map(), memberCount: 0, awareness: new Map(), seq: 0, clock: 0, wished: deferred() };
    room.push = throttle(() => this.#pushAwareness(room), this.#options.awarenessInterval);
    this.#rooms.set(name, room);
    if (this.state === 'connected') this.#enter(room);
    return room.wished.promise;
  }

  async leave(name) {
    const room = this.#forget(name, new MusterError('left', `left ${name}`));
    if (room && this.state === 'connected') await this.request('leave', { room: name });
  }

  /** The room as known here, or undefined: {name, joined, members, memberCount, awareness, seq, epoch}. Read only. */
  room(name) { return this.#rooms.get(name); }

  /** options: echo, delivery ('reliable' or {latest: key}), idempotencyKey; ack: false asks for no answer, only errors. */
  async publish(room, data, { echo, delivery, idempotencyKey, ack = true } = {}) {
    if (this.state === 'connected' && !this.#rooms.get(room)?.joined) throw new MusterError('not_in_room', `not in ${room} (yet)`);
    const payload = { room, data, echo, delivery, idempotency_key: idempotencyKey };
    return ack ? this.request('publish', payload) : this.#send('publish', payload);
  }

  /** What this client is doing in a room (an object, or null for nothing). Kept, and announced again after a reconnect. */
  setAwareness(name, state) {
    const room = this.#rooms.get(name);
    if (!room) throw new MusterError('not_in_room', `join ${name} first`);
    room.own = state;
    room.push();
  }

  /** Who is online: of these user ids (an array), or of this room. */
  presence(target) { return this.request('presence_query', Array.isArray(target) ? { users: target } : { room: target }); }

  /** Round trip in ms. */
  async ping() { const start = performance.now(); await this.request('ping', {}); return performance.now() - start; }

  /** Any command with a reply. Rejects with the server's error, or offline, timeout, disconnected. */
  async request(type, payload, { timeout = this.#options.commandTimeout, then } = {}) {
    const id = this.#nextId++;
    this.#send(type, payload, id);
    const reply = deferred();
    const giveUp = () => this.#answered(id)?.reject(new MusterError('timeout', `no reply to ${type} within ${timeout} ms`));
    this.#pending.set(id, { ...reply, then, timer: setTimeout(giveUp, timeout) });
    return reply.promise;
  }

  #answered(id) {
    const waiting = this.#pending.get(id);
    clearTimeout(waiting?.timer);
    this.#pending.delete(id);
    return waiting;
  }

  #send(type, payload, id) {
    if (this.state !== 'connected') throw new MusterError('offline', `${type} was not sent: not connected`);
    this.#socket.send(JSON.stringify({ type, id, payload }));
  }

  async #open() {
    const generation = ++this.#generation;
    let { token, tokenIn, WebSocket, connectTimeout } = this.#options, failure;
    this.#cancel('retry');
    this.#setState('connecting');
    try { if (typeof token === 'function') token = await token(this.#closeCode); } catch (error) { failure = error; }
    if (generation !== this.#generation) return;                       // closed meanwhile
    if (failure) return this.#lost(1006, `no token: ${failure.message}`);
    this.#refusal = this.#kicked = undefined;
    this.#after('connect', connectTimeout, () => this.#lost(1006, `no answer within ${connectTimeout} ms`));
    const upgrade = token && tokenIn === 'upgrade';
    const socket = this.#socket = new WebSocket(this.#url, upgrade ? [PROTOCOL, 'bearer', token] : [PROTOCOL]);
    const current = (handler) => (event) => { if (socket === this.#socket) handler(event); };
    socket.onopen = current(() => token && !upgrade && socket.send(JSON.stringify({ type: 'authenticate', payload: { token } })));
    socket.onmessage = current(({ data }) => this.#received(JSON.parse(data)));
    socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    socket.onerror = () => {};                     // close follows, and says all there is to know
  }

  #received({ type, timestamp, reply_to: id, payload = {} }) {
    this.#cancel('pong');                          // whatever arrives is a sign of life
    this.#handlers[type]?.(payload, id, timestamp);
    const waiting = this.#answered(id);
    if (type === 'error') {
      const { code, message, details, retry_after_ms: retryAfter } = payload;
      if (retryAfter) this.#notBefore = Date.now() + retryAfter;
      const error = new MusterError(code, message, { details, retryAfter });
      if (waiting) waiting.reject(error); else this.#emit('error', error);
    } else if (waiting) {
      waiting.then?.(payload);                     // at once: the next message may be handled before a promise's turn comes
      waiting.resolve(payload);
    } else if (!this.#handlers[type]) {
      this.#emit(type, { ...payload, at: timestamp });
    }
  }

  #handlers = {
    connection_ack: (ack) => {
      Object.assign(this, { connection: ack.connection, user: ack.user_id, tenant: ack.tenant });
      this.#cancel('connect');
      this.#connectedAt = Date.now();
      this.#setState('connected');
      this.#ready.resolve(ack);
      for (const room of this.#rooms.values()) this.#enter(room);
      if (this.#options.pingInterval) this.#after('ping', Math.min(1000, this.#options.pingInterval), () => this.#beat());
    },
    auth_result: ({ authenticated, error }) => { if (!authenticated) this.#refusal = error; },
    room_left: ({ room }, id) => { if (id === undefined) this.#forget(room, new MusterError('left', `the server ended the membership in ${room}`), true); },
    message: (message, id, at) => {
      const room = this.#rooms.get(message.room);
      if (!room) return;                           // left meanwhile
      room.seq = message.seq ?? room.seq;
      this.#emit('message', { ...message, at });
    },
    presence: ({ room: name, joined = [], left = [], member_count: memberCount }) => {
      const room = this.#rooms.get(name);
      if (!room) return;
      const come = joined.filter((member) => !room.members.has(member.connection));
      const gone = left.map(({ connection }) => room.members.get(connection)).filter(Boolean);
      come.forEach((member) => room.members.set(member.connection, member));
      gone.forEach((member) => room.members.delete(member.connection));
      room.memberCount = memberCount;
      this.#emit('presence', { room: name, joined: come, left: gone, memberCount });
    },
    awareness_state: (payload) => this.#aware(payload),
    awareness_update: (payload) => this.#aware(payload),
    draining: (payload) => { this.#notBefore = Date.now() + payload.reconnect_after_ms; this.#emit('draining', payload); },
    kicked: (payload) => { this.#kicked = payload; this.#emit('kicked', payload); },
  };

  #ownClient() { return this.#options.client ?? this.connection; }

  #aware({ room: name, states = [] }) {
    const room = this.#rooms.get(name);
    if (!room) return;
    const changes = [];
    for (const { client, user, state, clock } of states) {
      if (client === this.#ownClient()) { room.clock = Math.max(room.clock, clock); continue; }
      const known = room.awareness.get(client);
      if (known && clock < known.clock) continue;
      const entry = { client, user: user ?? known?.user, state, clock };
      if (state === null) room.awareness.delete(client); else room.awareness.set(client, entry);
      if (state !== null || known) changes.push(entry);
    }
    if (changes.length) this.#emit('awareness', { room: name, changes });
  }

  #pushAwareness(room) {
    if (!room.joined || room.own === undefined) return;
    if (this.#socket.bufferedAmount > 65_536) return room.push();      // a slow link: only the newest, later
    this.#send('awareness_update', { room: room.name, client: this.#ownClient(), state: room.own, clock: ++room.clock });
  }

  /** Asks for the membership; the answer is handled before any later event of the room. */
  async #enter(room) {
    const join = this.request('join', { room: room.name }, { then: (answer) => this.#entered(room, answer) });
    const error = await join.then(() => undefined, (refusal) => refusal);
    if (!error || error.code === 'disconnected' || this.#rooms.get(room.name) !== room) return;
    if (!['rate_limited', 'unavailable', 'timeout'].includes(error.code)) return void this.#forget(room.name, error, true);
    this.#after(`join ${room.name}`, error.retryAfter ?? 1000 * (1 + this.#options.random()), () => this.#enter(room));
  }

  #entered(room, { members = [], member_count: memberCount, seq, epoch }) {
    if (this.#rooms.get(room.name) !== room) return;
    const rejoined = room.epoch !== undefined;
    const gone = [...room.awareness.values()].map((entry) => ({ ...entry, state: null }));
    room.awareness.clear();
    Object.assign(room, { joined: true, members: new Map(members.map((member) => [member.connection, member])), memberCount, seq, epoch });
    if (gone.length) this.#emit('awareness', { room: room.name, changes: gone });
    this.#emit('joined', { room: room.name, rejoined });
    room.wished.resolve(room);
    if (room.own) room.push();
  }

  #forget(name, error, tell = false) {
    const room = this.#rooms.get(name);
    if (!room) return undefined;
    this.#rooms.delete(name);
    this.#cancel(`join ${name}`);
    room.push.cancel();
    room.wished.reject(error);
    if (tell) this.#emit('left', { room: name, error });
    return room;
  }

  #beat() {
    const { pingInterval } = this.#options;
    this.ping().then((ms) => this.#emit('latency', { ms }), () => {});
    if (!this.#timers.has('pong')) this.#after('pong', Math.max(pingInterval, 5000), () => this.#lost(1006, 'no answer to a ping'));
    this.#after('ping', pingInterval, () => this.#beat());
  }

  /** The connection is gone, or given up: what the close code advises decides what comes next. */
  #lost(code, reason) {
    this.#detach(code, reason);
    const { token, backoffBase, backoffCap, stableAfter, random } = this.#options;
    const hopeless = { stop: true, authenticate: !token, new_token: typeof token !== 'function', kicked: !this.#kicked?.reconnect };
    if (hopeless[ADVICE[code]]) return this.#stop(code, reason);
    if (this.#connectedAt && Date.now() - this.#connectedAt >= stableAfter) this.#attempt = 0;
    [this.#connectedAt, this.#closeCode] = [0, code];
    const backoff = random() * Math.min(backoffCap, backoffBase * 2 ** this.#attempt++);
    const retryAt = Math.max(this.#notBefore, Date.now() + backoff);
    this.#after('retry', retryAt - Date.now(), () => this.#open());
    this.#setState('waiting', { retryAt, code, reason });
  }

  #stop(code, reason) {
    if (this.state === 'closed') return;
    this.#detach(code, reason);
    const codes = { 4001: 'auth_required', 4002: 'auth_failed', 4003: 'permission_denied', 4004: 'kicked', 4005: 'replaced' };
    const error = new MusterError(codes[code] ?? 'closed', this.#refusal || reason || `closed with ${code}`);
    for (const name of [...this.#rooms.keys()]) this.#forget(name, error);
    this.#ready?.reject(error);
    this.#setState('closed', { code, reason, error });
  }

  #detach(code, reason) {
    ++this.#generation;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket && socket.readyState <= 1) socket.close(code === 1000 ? 1000 : undefined);
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    for (const room of this.#rooms.values()) { room.joined = false; room.push.cancel(); }
    const error = new MusterError('disconnected', reason || `the connection was lost (${code})`);
    for (const id of [...this.#pending.keys()]) this.#answered(id).reject(error);
  }

  #setState(state, more = {}) { this.state = state; this.#emit('state', { state, ...more }); }
  #after(name, ms, run) {
    this.#cancel(name);
    this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); run(); }, ms));
  }
  #cancel(name) { clearTimeout(this.#timers.get(name)); this.#timers.delete(name); }

  #emit(type, event) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try { listener(event); } catch (error) { console.error(`listener of "${type}":`, error); }
    }
  }
}

/** A promise with its ends; nobody has to look at its rejection. */
function deferred() {
  const ends = {};
  ends.promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  ends.promise.catch(() => {});
  return ends;
}
