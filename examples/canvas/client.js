/**
 * A small muster client for browsers and Node: one connection that comes back by itself, and takes its session up again.
 *
 *   import { Client } from './client.js';
 *   const client = new Client('wss://example.org/ws', { token: () => fetchToken() });   // in Node: { WebSocket } from npm's ws
 *   client.on('message', ({ room, from, data }) => console.log(room, from.user, data));
 *   client.on('presence', ({ room, joined, left }) => console.log(room, joined, left));
 *   client.on('state', ({ state, retryAt }) => console.log(state, retryAt));
 *   await client.connect();
 *   const room = await client.join('canvas:lobby');                  // room.members: Map of connection -> {connection, user, profile?}
 *   await client.publish('canvas:lobby', { text: 'hello' });         // resolves with {seq, epoch}; rejects while offline
 *   client.setAwareness('canvas:lobby', { name: 'Ann', x: 0.5 });    // newest state wins, at most one update per 50 ms
 *   client.close();
 *
 * States, told by the event state {state, ...}:
 *   idle, connecting
 *   connected {resumed, error?}   resumed: the session goes on, and within the server's grace nobody saw this client
 *                                 leave. Otherwise it is a new one; error says why an older one did not resume
 *   waiting {retryAt, code, reason}   until the next attempt: exactly when a draining server said, not before a time that
 *                                 came with a refusal, else after a random part of a time that doubles (full jitter)
 *   closed {code, reason, error}  for good, until connect()
 *
 * After a loss the client resumes: it keeps its id, its seat in the rooms and its awareness, and gets each message it
 * missed, once. What a server holds no longer is told by `gap` {room, from, to, epoch}; without `to` nobody knows how much
 * (the room began anew, for instance because the server restarted). Where the session is gone (too late, or a restarted
 * server with its sessions in memory, whose offline queues are gone too) the client joins its rooms anew, and a gap tells
 * what went by meanwhile. With `storage: sessionStorage` a reload resumes the rooms joined before connect(). close() logs
 * out, which ends the session. Anonymous users are new on every connection, so their sessions do not resume.
 *
 * Messages of the offline queue come as `direct` {from?, data, queue_id}, each once, and are acknowledged in order when
 * every listener has returned (or its promise resolved); one that throws gets the message again on the next connection, as
 * do clients without a listener. With `acknowledge: 'manually'` call the event's ack().
 *
 * Where the server puts this client in a room, it follows: joined {room, by: 'server'}, without a join of its own. Such a
 * seat ends when the server takes it back, or with the session.
 *
 * What the server asks is answered by client.serve('confirm', async (data) => result); what that throws is a refusal, with
 * the error's `code`, message and `details`. What nobody serves is refused with `unknown_request`.
 *
 * Other events: joined {room, rejoined, resumed, by?}, left {room, error?}, message, gap, presence {room, joined, left,
 * changed, memberCount}, awareness {room, changes: [{client, user, state | null}]} (others only), reauth {expiresAt?, error?} (what
 * became of new credentials, which `token` is asked for before the old ones end), latency {ms}, error (MusterError: what no
 * pending command was waiting for), and every other server message under its own type (draining, kicked, users_online, ...).
 *
 * What it does not do: queue what is published offline (it is refused), fetch what a `gap` names, share one connection among
 * tabs. A command cut off by a loss rejects with `disconnected`: whether it arrived is unknown; with `retryPublish` a
 * publish that asks for an ack is sent again once the session was resumed, under the idempotency key it had (the server
 * must support these).
 * A browser cannot see why an upgrade was refused, nor its Retry-After: with `tokenIn: 'upgrade'` a bad token looks like an
 * unreachable server.
 */

import { Commands } from './commands.js';
import { Timers, deferred, newKey, throttle } from './later.js';
import { Listeners, THREW } from './listeners.js';
import { ADVICE, DEFAULTS, MusterError, PROTOCOL } from './protocol.js';
import { Room } from './rooms.js';
import { Served } from './served.js';
import { Inbox, Session } from './session.js';

export { MusterError, throttle };

const CONFIRMED_WITHIN = 200;                    // ms after a join in which the room's awareness has come

export class Client {
  state = 'idle';
  id; user; tenant;                               // once connected; id: the connection id others know this client by
  #url; #options; #socket; #ready; #timers = new Timers(); #attempt = 0; #connectedAt = 0; #generation = 0; #refusal; #kicked;
  #closeCode; #notBefore = 0; #drained; #commands = new Commands(); #rooms = new Map(); #listeners = new Listeners();
  #session; #inbox = new Inbox(); #offered; #held; #comeback; #expiry; #keep; #present = new Map();
  #served = new Served();

  constructor(url, options) {
    [this.#url, this.#options] = [url, { ...DEFAULTS, WebSocket: globalThis.WebSocket, ...options }];
    this.#session = new Session(this.#options);
    this.#keep = throttle(() => { if (this.#options.storage) this.#store(); }, 250);
    if (this.#options.storage) globalThis.addEventListener?.('pagehide', () => this.#store(Date.now()));
  }

  /** Adds a listener; returns the function that removes it. */
  on(type, listener) { return this.#listeners.on(type, listener); }

  /** Resolves once connected; rejects when the server's advice is to stop, or on close(). */
  connect() {
    if (this.state !== 'idle' && this.state !== 'closed') return this.#ready.promise;
    [this.#ready, this.#attempt, this.#closeCode] = [deferred(), 0, undefined];
    this.#open();
    return this.#ready.promise;
  }

  /** Ends the wait for the next attempt, for instance when the network is back; not one that the server asked for. */
  retryNow() { if (this.state === 'waiting' && Date.now() >= this.#notBefore) this.#open(); }

  /** Logs out: the others are told at once, and the session ends. */
  close() { this.#stop(1000, 'closed by this client'); }

  /** Resolves with the room once joined. A wish that outlives connections: kept while offline, and asked for again after
   *  every reconnect, until the server refuses (then it rejects), leave() or close(). */
  join(name) {
    const known = this.#rooms.get(name);
    const room = known ?? this.#add(name);
    room.given = false;                            // whoever put us there: it is our wish from now on
    if (!known && this.state === 'connected') this.#enter(room);
    return room.wished.promise;
  }

  #add(name) {
    const room = new Room(name);
    room.push = throttle(() => this.#pushAwareness(room), this.#options.awarenessInterval);
    this.#rooms.set(name, room);
    return room;
  }

  async leave(name) {
    const room = this.#forget(name, new MusterError('left', `left ${name}`));
    if (!room || this.state !== 'connected') return;
    const left = () => { if (this.#rooms.get(name)?.given) this.#forget(name, new MusterError('left', `left ${name}`)); };   // given meanwhile
    await this.request('leave', { room: name }, { then: left });
  }

  /** The room as known here, or undefined: {name, joined, members, memberCount, awareness, cursor}. Read only. */
  room(name) { return this.#rooms.get(name); }

  /** options: echo, delivery ('reliable' or {latest: key}), idempotencyKey; ack: false asks for no answer, only errors. */
  async publish(room, data, { echo, delivery, idempotencyKey, ack = true } = {}) {
    if (this.state === 'connected' && !this.#rooms.get(room)?.joined) throw new MusterError('not_in_room', `not in ${room} (yet)`);
    const insist = ack && this.#options.retryPublish;
    const payload = { room, data, echo, delivery, idempotency_key: idempotencyKey ?? (insist ? newKey() : undefined) };
    if (!ack) return this.#send('publish', payload);
    const then = (position) => { if (!echo && position.seq) this.#rooms.get(room)?.cursor.published(position); };
    for (let sent = false; ;) {
      try {
        return await this.request('publish', payload, { then });
      } catch (error) {
        sent ||= error.code === 'disconnected';
        if (!insist || !sent || !['disconnected', 'offline'].includes(error.code) || !await this.#comeback.promise) throw error;
      }
    }
  }

  /** What this client is doing in a room (an object, or null for nothing). Kept, and announced again after a reconnect. */
  setAwareness(name, state) {
    const room = this.#rooms.get(name);
    if (!room) throw new MusterError('not_in_room', `join ${name} first`);
    room.own = state;
    room.push();
  }

  /** What others are shown of this client (member.profile: an object, or null for nothing), where the server allows it. */
  async setProfile(profile) { return this.request('profile_update', { profile }); }

  /** A room's messages, from the oldest that the server has or behind a seq: {epoch, messages: [{seq, from, data}], complete,
   *  more}. */
  async history(room, { epoch, after, limit } = {}) { return this.request('history_query', { room, epoch, after, limit }); }

  /** Answers what the server asks under this name with what `answer(data)` returns, or refuses with what it throws. */
  serve(type, answer) { this.#served.add(type, answer); }

  /** Who is online: of these user ids (an array), or of this room. */
  async presence(target) {
    if (Array.isArray(target)) return this.request('presence_query', { users: target });
    this.#present.set(target, []);
    const last = await this.request('presence_query', { room: target });
    return { ...last, users: [...this.#present.get(target), ...last.users] };
  }

  /** The members of a room in pages, which is the way in a crowd: {members: [{connection, user, profile?}], more?}. With
   *  `more` the last of them is the next page's `after`, by its connection. */
  async members(room, { after, limit = 256 } = {}) { return this.request('presence_query', { room, after, limit }); }

  /** Round trip in ms. */
  async ping() { const start = performance.now(); await this.request('ping', {}); return performance.now() - start; }

  /** Any command with a reply. Rejects with the server's error, or offline, timeout, disconnected. hooks: timeout in ms, and
   *  progress(payload), called each time that the server says how far it is. */
  async request(type, payload, hooks) {
    this.#needConnection(type);
    return this.#ask(type, payload, hooks);
  }

  #ask(type, payload, { timeout = this.#options.commandTimeout, ...hooks } = {}) {
    return this.#commands.ask(this.#socket, type, payload, { timeout, ...hooks });
  }

  #needConnection(type) {
    if (this.state !== 'connected') throw new MusterError('offline', `${type} was not sent: not connected`);
  }

  #send(type, payload) {
    this.#needConnection(type);
    this.#socket.send(JSON.stringify({ type, payload }));
  }

  async #open() {
    const generation = ++this.#generation;
    let { token, tokenIn, WebSocket, connectTimeout } = this.#options, failure;
    this.#timers.cancel('retry');
    this.#setState('connecting');
    try {
      await this.#restore();
      if (typeof token === 'function') token = await token(this.#closeCode);
    } catch (error) { failure = error; }
    if (generation !== this.#generation) return;                       // closed meanwhile
    if (failure) return this.#lost(1006, `no token: ${failure.message}`);
    this.#refusal = this.#kicked = this.#offered = this.#drained = undefined;
    this.#notBefore = 0;
    this.#timers.after('connect', connectTimeout, () => this.#lost(1006, `no answer within ${connectTimeout} ms`));
    const upgrade = token && tokenIn === 'upgrade';
    const socket = this.#socket = new WebSocket(this.#session.address(this.#url), upgrade ? [PROTOCOL, 'bearer', token] : [PROTOCOL]);
    const current = (handler) => (event) => { if (socket === this.#socket) handler(event); };
    socket.onopen = current(() => {
      if (!token || upgrade) return;
      if (this.#session.resumable) this.#resume(token);
      else socket.send(JSON.stringify({ type: 'authenticate', payload: { token } }));
    });
    socket.onmessage = current(({ data }) => this.#received(JSON.parse(data)));
    socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    socket.onerror = () => {};                     // close follows, and says all there is to know
  }

  #received(message) {
    const { type, timestamp, reply_to: id, payload = {} } = message;
    this.#timers.cancel('pong');                   // whatever arrives is a sign of life
    // Of a seat or a request from before it knew who comes back: a resumed session tells its rooms and requests anew.
    if (this.#held && id === undefined && (payload.room !== undefined || type === 'request')) return void this.#held.push(message);
    this.#handlers[type]?.(payload, id, timestamp);
    if (type === 'progress') return;
    const waiting = this.#commands.answered(id);
    if (type === 'error') {
      const { code, message, details, retry_after_ms: retryAfter } = payload;
      const error = new MusterError(code, message, { details, retryAfter });
      if (waiting) {
        waiting.refused?.(error);
        waiting.reject(error);
      } else {
        if (retryAfter) this.#notBefore = Date.now() + retryAfter;     // a close may follow
        this.#emit('error', error);
      }
    } else if (waiting) {
      waiting.then?.(payload);                     // at once: the next message may be handled before a promise's turn comes
      waiting.resolve(payload);
    } else if (!this.#handlers[type]) {
      this.#emit(type, { ...payload, at: timestamp });
    }
  }

  #handlers = {
    connection_ack: ({ connection: id, user_id: user, tenant, resume_token: token, resume_ttl_ms: ttl }) => {
      Object.assign(this, { user, tenant });
      this.#timers.cancel('connect');
      const resuming = this.#offered !== undefined;
      this.#offered = { id, token, ttl };
      if (resuming) return;                        // it was the first message: its answer follows
      if (this.#session.resumable) this.#resume(); else this.#welcome();
    },
    auth_result: ({ authenticated, error }) => { if (!authenticated) this.#refusal = error; },
    progress: (payload, id) => this.#commands.progress(id, payload),
    room_left: ({ room }, id) => { if (id === undefined) this.#forget(room, new MusterError('left', `the server ended the membership in ${room}`), true); },
    room_joined: (payload, id) => {                // of a resumed session, or the server's doing; to a join, entered() is its answer's business
      if (id !== undefined) return;
      const known = this.#rooms.get(payload.room), given = payload.by === 'server';
      if (!known && given) this.#add(payload.room).given = true;
      if (known || given) this.#entered(this.#rooms.get(payload.room), payload, !given);
    },
    message: (message, id, at) => {
      if (!this.#rooms.get(message.room)?.cursor.take(message)) return;    // left meanwhile, or known
      this.#keep();
      this.#emit('message', { ...message, at });
    },
    gap: ({ room, from, to }) => {
      const cursor = this.#rooms.get(room)?.cursor;
      cursor?.skip(to);
      this.#emit('gap', { room, from, to, epoch: cursor?.epoch });
    },
    direct: (payload, id, at) => this.#direct(payload, at),
    request: (payload) => this.#serve(payload),
    presence: (payload) => {
      const told = this.#rooms.get(payload.room)?.presence(payload);
      if (told) this.#emit('presence', { room: payload.room, ...told });
    },
    presence_state: ({ room, users = [] }) => this.#present.get(room)?.push(...users),      // before the last, which is the answer
    awareness_state: (payload) => {
      this.#aware(payload);
      if (!payload.more) this.#announce(this.#rooms.get(payload.room));   // only now is the clock known under which the server has our state
    },
    awareness_update: (payload) => this.#aware(payload),
    draining: (payload) => {
      [this.#drained, this.#notBefore] = [true, Date.now() + payload.reconnect_after_ms];
      this.#emit('draining', payload);
    },
    reauth_required: (payload) => {
      this.#emit('reauth_required', payload);
      if (this.#expiry === payload.expires_at) return;                     // what `token` gave was no newer
      this.#expiry = payload.expires_at;
      this.#renew();
    },
    kicked: (payload) => { this.#kicked = payload; this.#emit('kicked', payload); },
  };

  /** Takes the session up again: as the first message where the token goes in one. */
  #resume(auth) {
    this.#offered ??= {};
    const positions = [...this.#rooms.values()].filter(({ cursor }) => cursor.epoch !== undefined).map(({ name, cursor }) => [name, cursor.position]);
    const resume = { token: this.#session.token, auth, rooms: Object.fromEntries(positions) };
    this.#held = [];
    const asked = this.#ask('resume', resume, {
      then: (answer) => {
        if (!answer.rooms) return;                 // it is about the credentials, and a close follows
        this.#held = undefined;
        this.#welcome(answer);
      },
      refused: (error) => {
        const held = this.#held;
        this.#held = undefined;
        if (!this.#offered.id) return;
        this.#welcome(undefined, error);
        held.forEach((message) => this.#received(message));
      },
    });
    asked.catch(({ code, message }) => { if (code === 'timeout') this.#lost(1006, message); });
  }

  /** Connected: with the session resumed (to the rooms it names), or as a new one. A token is spent only by now: until the
   *  answer is here, the session's older one stays good, so that a lost answer does not lose the session. */
  #welcome(resumed, error) {
    const { id, token, ttl } = this.#offered;
    this.id = resumed?.connection ?? id;
    if (!resumed) this.#served.clear();
    this.#session.begin({ token, ttl, id: this.id });
    this.#keep();
    this.#connectedAt = Date.now();
    this.#setState('connected', { resumed: Boolean(resumed), error });
    this.#ready.resolve();
    if (this.state !== 'connected') return;        // a listener closed it
    for (const room of [...this.#rooms.values()]) {
      if (room.joined || ['recovered', 'gap'].includes(resumed?.rooms[room.name])) continue;
      if (!room.given) this.#enter(room);
      else this.#forget(room.name, new MusterError('left', `the server's seat in ${room.name} went with the session`), true);
    }
    if (this.state !== 'connected') return;
    this.#comeback?.resolve(Boolean(resumed));
    this.#acknowledge();
    const { pingInterval } = this.#options;
    if (pingInterval) this.#timers.after('ping', Math.min(1000, pingInterval), () => this.#beat());
  }

  async #restore() {
    const kept = await this.#session.restore();
    if (!kept) return;
    this.#inbox.restore(kept.handled);
    for (const [name, position] of Object.entries(kept.rooms)) this.#rooms.get(name)?.cursor.restore(position);
  }

  #store(lostAt) {
    const read = [...this.#rooms.values()].filter(({ cursor }) => cursor.epoch !== undefined);
    this.#session.keep(Object.fromEntries(read.map(({ name, cursor }) => [name, cursor.position])), this.#inbox.kept, lostAt);
  }

  async #renew() {
    const { token } = this.#options, generation = this.#generation;
    try {
      if (typeof token !== 'function') throw new MusterError('no_new_token', 'the token is a fixed string');
      const fresh = await token('reauth_required');
      if (generation !== this.#generation) return;
      const { authenticated, expires_at: expiresAt, error } = await this.request('authenticate', { token: fresh });
      if (!authenticated) throw new MusterError('auth_failed', error);
      this.#emit('reauth', { expiresAt });
    } catch (error) {
      if (generation !== this.#generation && error.code !== 'auth_failed') return;
      this.#emit('reauth', { error });
      if (error.code === 'unavailable') this.#timers.after('renew', error.retryAfter ?? 1000, () => this.#renew());
    }
  }

  async #direct(payload, at) {
    const { queue_id: id, from, data } = payload;
    const event = { ...payload, at };
    if (id === undefined) return void this.#emit('direct', event);
    if (!this.#inbox.take(id, JSON.stringify([from, data]))) return this.#acknowledge();
    const done = (state) => { this.#inbox.done(id, state); this.#acknowledge(); };
    if (this.#options.acknowledge === 'manually') return void this.#emit('direct', { ...event, ack: () => done('done') });
    const results = await Promise.allSettled(this.#emit('direct', event));
    done(results.length && results.every(({ status, value }) => status === 'fulfilled' && value !== THREW) ? 'done' : 'failed');
  }

  async #serve(payload) {
    const said = await this.#served.answer(payload);
    if (this.state === 'connected') this.#send('answer', { request: payload.request, ...said });
  }

  #acknowledge() {
    const upTo = this.#inbox.acknowledgeable;
    if (upTo === undefined || this.state !== 'connected') return;        // later then, when it was told again
    this.#keep();
    this.#ask('ack', { queue_id: upTo }, { then: () => { this.#inbox.acknowledged(upTo); this.#keep(); } }).catch(() => {});
  }

  #ownClient() { return this.#options.client ?? this.id; }

  #aware({ room: name, states = [] }) {
    const room = this.#rooms.get(name);
    if (!room) return;
    const clock = room.clock;
    const changes = room.aware(states, this.#ownClient());
    if (changes.length) this.#emit('awareness', { room: name, changes });
    if (room.clock > clock) this.#announce(room);  // one of ours from before a reload
  }

  /** Says what this client does, unless the server said the same. */
  #announce(room) { if (room?.joined && room.own && room.unsaid) room.push(); }

  #pushAwareness(room) {
    if (!room.joined || room.own === undefined) return;
    if (this.#socket.bufferedAmount > 65_536) return room.push();      // a slow link: only the newest, later
    this.#send('awareness_update', { room: room.name, client: this.#ownClient(), state: room.own, clock: ++room.clock });
  }

  /** Asks for the membership; the answer is handled before any later event of the room. */
  async #enter(room) {
    const join = this.request('join', { room: room.name }, { then: (answer) => this.#entered(room, answer, false) });
    const error = await join.then(() => undefined, (refusal) => refusal);
    if (!error || error.code === 'disconnected' || this.#rooms.get(room.name) !== room) return;
    if (!['rate_limited', 'unavailable', 'timeout'].includes(error.code)) return void this.#forget(room.name, error, true);
    this.#timers.after(`join ${room.name}`, error.retryAfter ?? 1000 * (1 + this.#options.random()), () => this.#enter(room));
  }

  #entered(room, answer, resumed) {
    const { name } = room;
    if (this.#rooms.get(name) !== room) return;
    const { rejoined, lost } = room.enter(answer, resumed);
    this.#timers.after(`confirm ${name}`, CONFIRMED_WITHIN, () => {
      const changes = room.confirm();
      if (changes.length) this.#emit('awareness', { room: name, changes });
    });
    this.#keep();
    this.#emit('joined', { room: name, rejoined, resumed, by: answer.by });
    if (lost) this.#emit('gap', { room: name, ...lost });
    room.wished.resolve(room);
  }

  #forget(name, error, tell = false) {
    const room = this.#rooms.get(name);
    if (!room) return undefined;
    this.#rooms.delete(name);
    this.#timers.cancel(`join ${name}`);
    this.#timers.cancel(`confirm ${name}`);
    room.push.cancel();
    room.wished.reject(error);
    if (tell) this.#emit('left', { room: name, error });
    return room;
  }

  #beat() {
    const { pingInterval, pongTimeout } = this.#options;
    this.ping().then((ms) => this.#emit('latency', { ms }), () => {});
    if (!this.#timers.has('pong')) this.#timers.after('pong', pongTimeout, () => this.#lost(1006, 'no answer to a ping'));
    this.#timers.after('ping', pingInterval, () => this.#beat());
  }

  /** The connection is gone, or given up: what the close code advises decides what comes next. */
  #lost(code, reason) {
    this.#detach(code, reason);
    const { token, backoffBase, backoffCap, stableAfter, random } = this.#options;
    const hopeless = { stop: true, authenticate: !token, new_token: typeof token !== 'function', kicked: !this.#kicked?.reconnect };
    if (hopeless[ADVICE[code]]) return this.#stop(code, reason);
    if (this.#connectedAt && Date.now() - this.#connectedAt >= stableAfter) this.#attempt = 0;
    [this.#connectedAt, this.#closeCode] = [0, code];
    const now = Date.now();
    const backoff = random() * Math.min(backoffCap, backoffBase * 2 ** this.#attempt++);
    // A draining server gives everyone another time; one that refuses gives all the same.
    const retryAt = this.#drained && this.#notBefore > now ? this.#notBefore : Math.max(this.#notBefore, now) + backoff;
    this.#timers.after('retry', retryAt - now, () => this.#open());
    this.#setState('waiting', { retryAt, code, reason });
  }

  #stop(code, reason) {
    if (this.state === 'closed') return;
    this.#detach(code, reason);
    const codes = { 4001: 'auth_required', 4002: 'auth_failed', 4003: 'permission_denied', 4004: 'kicked', 4005: 'replaced' };
    const error = new MusterError(codes[code] ?? 'closed', this.#refusal || reason || `closed with ${code}`);
    this.#session.forget();
    this.#comeback?.resolve(false);
    for (const name of [...this.#rooms.keys()]) this.#forget(name, error);
    this.#ready?.reject(error);
    this.#setState('closed', { code, reason, error });
  }

  #detach(code, reason) {
    ++this.#generation;
    const socket = this.#socket;
    this.#socket = this.#expiry = this.#held = undefined;
    if (this.state === 'connected') {
      this.#session.lost();
      this.#comeback = deferred();
      this.#store();
    }
    // Without a code, or with 1000, a close is a goodbye that ends the session.
    if (socket && socket.readyState <= 1) socket.close(code === 1000 ? 1000 : 4000);
    this.#timers.cancelAll();
    for (const room of this.#rooms.values()) { room.joined = false; room.push.cancel(); }
    this.#keep.cancel();
    this.#inbox.lost();
    const error = new MusterError('disconnected', reason || `the connection was lost (${code})`);
    this.#commands.lose(error);
  }

  #setState(state, more = {}) { this.state = state; this.#emit('state', { state, ...more }); }
  #emit(type, event) { return this.#listeners.emit(type, event); }
}
