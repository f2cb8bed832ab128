// A room as a client knows it: who is there, what they are doing, and how far its messages were read.

import { deferred } from './later.js';

/** How far a room was read. Numbers count under an epoch; under another one they say nothing. */
export class Cursor {
  epoch; seq = 0;
  #own = new Set();                              // beyond seq: published here, so never sent to us

  get position() { return { epoch: this.epoch, seq: this.seq }; }

  /** Whether a message is new. Those without a seq always are. */
  take({ epoch, seq }) {
    if (seq === undefined) return true;
    if (epoch !== this.epoch) this.#restart(epoch, seq);
    else if (seq <= this.seq) return false;
    else this.#advance(seq);
    return true;
  }

  /** The server named what it cannot give any more. */
  skip(to) { if (to > this.seq) this.#advance(to); }

  published({ epoch, seq }) {
    if (epoch !== this.epoch || seq <= this.seq) return;
    this.#own.add(seq);
    this.#advance(this.seq);
  }

  /** In the room, whose newest message has this position; `replayed`: what lies between follows. Returns what will never
   *  come, {from, to, epoch}, if there is any; without `to` where nobody knows: the room began anew. */
  enter({ epoch, seq }, replayed) {
    const { epoch: known, seq: read } = this;
    if (epoch !== known) {
      this.#restart(epoch, replayed && known !== undefined ? 0 : seq);
      return known === undefined ? undefined : { from: read + 1, to: undefined, epoch: known };
    }
    if (seq < read) this.#restart(epoch, seq);   // the server has lost what we have read
    if (seq <= read || replayed) return undefined;
    this.#advance(seq);
    return { from: read + 1, to: seq, epoch };
  }

  restore({ epoch, seq }) { this.#restart(epoch, seq); }

  #restart(epoch, seq) { [this.epoch, this.seq] = [epoch, seq]; this.#own.clear(); }

  #advance(seq) {
    this.seq = seq;
    while (this.#own.has(this.seq + 1)) ++this.seq;
    for (const own of this.#own) if (own <= this.seq) this.#own.delete(own);
  }
}

/** A room this client is in, or wants to be in. */
export class Room {
  joined = false; members = new Map(); memberCount = 0; awareness = new Map(); cursor = new Cursor();
  given = false;                                 // by the server: no wish of ours
  own; clock = 0;                                // what this client is doing here, and how often it said so
  wished = deferred();                           // settled when the wish to join is
  #stated;                                       // as which the server knows it
  #list = [];                                    // of members, as far as it has come
  #unconfirmed;                                  // awareness from before a loss, not heard of since

  constructor(name) { this.name = name; }

  /** In it (again): whether it was known, and what will never come. What is known of the others is told anew. */
  enter({ members = [], member_count: memberCount, seq, epoch }, resumed) {
    const rejoined = this.cursor.epoch !== undefined;
    const lost = this.cursor.enter({ seq, epoch }, resumed);
    Object.assign(this, { joined: true, members: new Map(members.map((member) => [member.connection, member])), memberCount });
    this.#unconfirmed = new Set(this.awareness.keys());
    this.#stated = undefined;
    this.#list = [];
    return { rejoined, lost };
  }

  /** Everything was told anew: who was not heard of is gone. Returns the changes. */
  confirm() {
    const gone = [...this.#unconfirmed].map((client) => ({ ...this.awareness.get(client), state: null }));
    gone.forEach(({ client }) => this.awareness.delete(client));
    this.#unconfirmed.clear();
    return gone;
  }

  get unsaid() { return JSON.stringify(this.own) !== this.#stated; }

  /** Returns {joined, left, changed, memberCount}, without what was known; nothing while more of a whole list is to come. */
  presence({ joined = [], left = [], changed = [], members, more, member_count: memberCount }) {
    if (members) {
      this.#list.push(...members);
      if (more) return undefined;
      const there = new Set(this.#list.map(({ connection }) => connection));
      [joined, left] = [this.#list, [...this.members.values()].filter(({ connection }) => !there.has(connection))];
      this.#list = [];
    }
    const shown = [...joined, ...changed];
    const come = shown.filter((member) => !this.members.has(member.connection));
    const other = shown.filter((member) => !come.includes(member) && this.#shows(member));
    const gone = left.map(({ connection }) => this.members.get(connection)).filter(Boolean);
    [...come, ...other].forEach((member) => this.members.set(member.connection, member));
    gone.forEach((member) => this.members.delete(member.connection));
    this.memberCount = memberCount;
    return { joined: come, left: gone, changed: other, memberCount };
  }

  #shows({ connection, profile }) {
    return JSON.stringify(this.members.get(connection)?.profile) !== JSON.stringify(profile);
  }

  /** Returns what changed for others; one's own state teaches the clock it has on the server. */
  aware(states, own) {
    const changes = [];
    for (const { client, user, state, clock } of states) {
      if (client === own) {
        this.clock = Math.max(this.clock, clock);
        this.#stated = JSON.stringify(state);
        continue;
      }
      const known = this.awareness.get(client);
      if (!this.#unconfirmed?.delete(client) && known && clock < known.clock) continue;
      const entry = { client, user: user ?? known?.user, state, clock };
      if (state === null) this.awareness.delete(client); else this.awareness.set(client, entry);
      if (state !== null || known) changes.push(entry);
    }
    return changes;
  }
}
