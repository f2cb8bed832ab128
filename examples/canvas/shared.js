// The shapes and the chat of one room, kept equal among its tabs. There is no document on the server: a newcomer asks the
// room, one member answers, and of two versions of a shape the greater (version, by) wins everywhere. An edit made while
// offline is therefore not lost: after the next join both sides tell each other what is newer.

import { throttle } from './client.js';

const COLOR = /^#[0-9a-f]{6}$/i;
const TYPES = ['rectangle', 'ellipse', 'note'];
const MOST_SHAPES = 500, MOST_REMOVED = 1000, MOST_CHAT = 100;     // beyond it new shapes are refused, the oldest of the others go
const PART = 32_000;                           // bytes of one part of an answer: well below the server's message limit
const PATIENCE = 2_000;                        // ms a newcomer waits for an answer, twice
const TURN = 250;                              // ms each member leaves to the ones before it in line to answer

const fraction = (value, most = 1) => Math.min(most, Math.max(0, value));
export const color = (value) => (COLOR.test(value) ? value : '#6b7280');
export const text = (value, most) => (typeof value === 'string' ? value.slice(0, most) : '');

/** A shape as the wire gave it, made safe to show; undefined when it is none. */
function shapeFrom(raw) {
  if (typeof raw?.id !== 'string' || raw.id.length > 64 || !Number.isSafeInteger(raw.version)) return undefined;
  const { id, version } = raw;
  const by = String(raw.by);
  if (raw.deleted) return { id, version, by, deleted: true };
  if (!TYPES.includes(raw.type) || ![raw.x, raw.y, raw.w, raw.h].every(Number.isFinite)) return undefined;
  const [x, y, w, h] = [fraction(raw.x), fraction(raw.y), fraction(raw.w), fraction(raw.h)];
  return { id, type: raw.type, x, y, w, h, z: Number(raw.z) || 0, color: color(raw.color), text: text(raw.text, 500), version, by };
}

const newer = (a, b) => !b || a.version > b.version || (a.version === b.version && a.by > b.by);

export class Shared {
  shapes = new Map();        // id -> shape, removed ones as {deleted: true}
  chat = [];                 // {id, name, color, text, at, from}
  synced = false;            // has the room's state, or knows that nobody else has it
  #client; #room; #show; #asking; #told = new Map(); #turns = new Map(); #move; #known = new Set();

  /** `show` is told: shape(shape), chat(entry), synced(), problem(error). */
  constructor(client, room, show) {
    this.#client = client;
    this.#room = room;
    this.#show = show;
    this.#move = throttle((id) => this.#tellShape(id, { delivery: { latest: `shape:${id}` }, ack: false }), 50);
  }

  visible() { return [...this.shapes.values()].filter(({ deleted }) => !deleted); }

  /** Puts a new or changed shape; `moving` when more of the same follows at once. */
  put(change, { moving = false } = {}) {
    const known = this.shapes.get(change.id);
    if (!known && this.#full()) return this.#show.problem(new Error(`this room is full: it has ${MOST_SHAPES} shapes`));
    const shape = shapeFrom({ ...known, ...change, version: (known?.version ?? 0) + 1, by: this.#client.id ?? known?.by ?? '' });
    this.#keep(shape);
    if (moving) return void this.#move(shape.id);
    this.#move.cancel();
    this.#tellShape(shape.id);
  }

  remove(id) { if (this.shapes.has(id)) this.put({ id, deleted: true }); }

  /** Resolves once the room has it, and rejects otherwise. The message itself comes back in the room's order. */
  say(message) { return this.#client.publish(this.#room, { kind: 'chat', ...message, at: Date.now() }, { echo: true }); }

  /** After each join and rejoin. */
  joined() {
    this.#told.clear();
    this.#ask(2);
    this.membersChanged();
  }

  left() {
    clearTimeout(this.#asking);
    for (const turn of this.#turns.values()) clearTimeout(turn);
    this.#turns.clear();
  }

  /** With nobody (but bots) to ask, there is nothing to wait for. */
  membersChanged() { if (!this.synced && this.#others().length === 0) this.#done(); }

  received({ from, data, at }) {
    if (data?.kind === 'shape') this.#merge(data.shape);
    else if (data?.kind === 'chat') this.#log({ ...data, at, from: from?.connection });
    else if (data?.kind === 'shapes?') this.#takeTurn(from?.connection);
    else if (data?.kind === 'shapes') this.#learn(data);
  }

  #ask(times) {
    clearTimeout(this.#asking);
    if (times === 0) return this.#done();
    this.#tell({ kind: 'shapes?' });
    this.#asking = setTimeout(() => this.#ask(times - 1), PATIENCE);
  }

  #done() {
    clearTimeout(this.#asking);
    if (this.synced) return;
    this.synced = true;
    this.#show.synced();
  }

  /** Members who can answer: everyone else who is not known to be a bot. */
  #others() {
    const { members, awareness } = this.#client.room(this.#room);
    return [...members.keys()].filter((id) => id !== this.#client.id && !awareness.get(id)?.state?.bot);
  }

  /** The member with the lowest connection id answers; the others follow in that order, should it not. */
  #takeTurn(asker) {
    if (!this.synced) return;
    const { members, memberCount } = this.#client.room(this.#room);
    const line = [this.#client.id, ...this.#others().filter((id) => id !== asker)].sort();
    const wait = memberCount > members.size ? Math.random() * PATIENCE : TURN * line.indexOf(this.#client.id);
    clearTimeout(this.#turns.get(asker));
    this.#turns.set(asker, setTimeout(() => {
      this.#turns.delete(asker);
      this.#answer([...this.shapes.values()], this.chat, asker);
    }, wait));
  }

  #answer(shapes, chat, to) {
    const parts = [{ shapes: [], chat: [] }];
    let size = 0;
    const add = (list, item) => {
      size += 3 * JSON.stringify(item).length;           // at most three bytes of UTF-8 for each UTF-16 unit
      if (size > PART) { parts.push({ shapes: [], chat: [] }); size = 0; }
      parts.at(-1)[list].push(item);
    };
    shapes.forEach((shape) => add('shapes', shape));
    chat.forEach((entry) => add('chat', entry));
    parts.forEach((part, index) => this.#tell({ kind: 'shapes', to, ...part, last: index === parts.length - 1 }));
  }

  #learn({ to, shapes = [], chat = [], last }) {
    clearTimeout(this.#turns.get(to));                   // somebody answered already
    this.#turns.delete(to);
    shapes.forEach((shape) => this.#merge(shape));
    chat.forEach((entry) => this.#log(entry));
    if (to !== this.#client.id) return;
    shapes.forEach((shape) => this.#told.set(shape.id, shape));
    if (!last) return;
    this.#done();
    const mine = [...this.shapes.values()].filter((shape) => newer(shape, this.#told.get(shape.id)));
    if (mine.length) this.#answer(mine, []);             // addressed to nobody: for all who lack it
  }

  #merge(raw) {
    const shape = shapeFrom(raw);
    if (!shape || !newer(shape, this.shapes.get(shape.id))) return;
    if (this.shapes.has(shape.id) || shape.deleted || !this.#full()) this.#keep(shape);
  }

  #full() { return this.visible().length >= MOST_SHAPES; }

  #keep(shape) {
    this.shapes.set(shape.id, shape);
    if (this.shapes.size > MOST_SHAPES + MOST_REMOVED) this.shapes.delete([...this.shapes.values()].find(({ deleted }) => deleted)?.id);
    this.#show.shape(shape);
  }

  #log(raw) {
    if (typeof raw.id !== 'string' || this.#known.has(raw.id) || !text(raw.text, 500).trim()) return;
    const entry = { id: raw.id, name: text(raw.name, 32) || 'Guest', color: color(raw.color), text: text(raw.text, 500), at: Number(raw.at) || Date.now(), from: raw.from };
    this.#known.add(entry.id);
    this.chat.push(entry);
    this.chat.sort((a, b) => a.at - b.at);
    while (this.chat.length > MOST_CHAT) this.#known.delete(this.chat.shift().id);
    this.#show.chat(entry);
  }

  #tellShape(id, options) { this.#tell({ kind: 'shape', shape: this.shapes.get(id) }, options); }

  async #tell(data, options) {
    try {
      await this.#client.publish(this.#room, data, options);
    } catch (error) {
      if (['offline', 'disconnected', 'not_in_room', 'closed'].includes(error.code)) return;     // the next join makes up for it
      if (data.kind !== 'shape' || !(error.retryAfter || error.code === 'timeout')) return void this.#show.problem(error);
      setTimeout(() => this.#tellShape(data.shape.id, options), error.retryAfter ?? 1000);
    }
  }
}
