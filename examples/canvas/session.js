// What a client keeps beyond one connection: the session it may resume, and which messages of its offline queue it has
// dealt with.

import { newKey } from './later.js';

const REMEMBERED = 200;                          // dealt with, but the server was not heard to know it

/** The offline queue as seen from its end: each message is dealt with once, although the server sends it again until it
 *  knows, and acknowledged in order, because an acknowledgement covers all before it. */
export class Inbox {
  #messages = new Map();                         // queue_id -> {text, state, told: on this connection}

  /** Whether this message is to be dealt with now. A restarted server may count anew: the text tells. */
  take(id, text) {
    const known = this.#messages.get(id);
    const again = known?.text === text && known.state !== 'failed';
    this.#messages.set(id, { text, state: again ? known.state : 'open', told: true });
    return !again;
  }

  done(id, state = 'done') { if (this.#messages.has(id)) this.#messages.get(id).state = state; }

  /** Up to where all that came on this connection is dealt with; undefined: not even the first. */
  get acknowledgeable() {
    const told = [...this.#messages].filter(([, { told }]) => told).sort(([a], [b]) => a - b);
    const open = told.findIndex(([, { state }]) => state !== 'done');
    return told[(open < 0 ? told.length : open) - 1]?.[0];
  }

  /** The server knows: it will not send them again. */
  acknowledged(upTo) { for (const [id, { told }] of this.#messages) if (told && id <= upTo) this.#messages.delete(id); }

  lost() {
    for (const message of this.#messages.values()) message.told = false;
    for (const [id, { state }] of this.#messages) {
      if (this.#messages.size <= REMEMBERED) break;
      if (state === 'done') this.#messages.delete(id);
    }
  }

  get kept() { return [...this.#messages].filter(([, { state }]) => state === 'done').map(([id, { text }]) => [id, text]); }
  restore(kept) { for (const [id, text] of kept) this.#messages.set(id, { text, state: 'done', told: false }); }
}

const LOCK_PATIENCE = 500;                       // ms for the page before a reload to let go

/** The token that resumes, and where it survives a reload. One tab at a time has what is stored, by a Web Lock: a
 *  duplicated tab starts a session of its own. Without Web Locks (insecure pages) nothing is stored. */
export class Session {
  token; ttl; id;                                // id: this client's, as the others know it
  #storage; #key; #locks; #lock; #lostAt;

  constructor({ storage, storageKey }, locks = globalThis.navigator?.locks) {
    [this.#storage, this.#key, this.#locks] = [locks && storage, storageKey, locks];
  }

  get resumable() { return this.token !== undefined && !(Date.now() - this.#lostAt > this.ttl); }

  /** Says whom it comes back for, so that a full server takes it for the one it has already. */
  address(url) { return this.resumable ? `${url}${String(url).includes('?') ? '&' : '?'}resume=${this.id}` : url; }

  begin({ token, ttl, id }) { Object.assign(this, { token, ttl, id }); this.#lostAt = undefined; }
  lost() { this.#lostAt ??= Date.now(); }

  /** What was kept before a reload, {rooms, handled}; undefined: nothing, or another tab lives with it. */
  async restore() {
    if (!this.#storage || this.#lock) return undefined;
    const kept = this.#read();
    if (kept && await this.#hold(kept.lock)) {
      this.begin(kept);
      this.#lostAt = kept.lostAt;
      return kept;
    }
    await this.#hold(`muster:${newKey()}`);
    return undefined;
  }

  /** Stores it; `lostAt` when the page goes. */
  keep(rooms, handled, lostAt) {
    if (!this.#storage || !this.#lock) return;
    const { token, ttl, id } = this;
    try {
      if (token === undefined) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, JSON.stringify({ lock: this.#lock, token, ttl, id, lostAt, rooms, handled }));
    } catch { /* full or forbidden: then a reload does not resume */ }
  }

  forget() { this.token = undefined; this.keep(); }

  #read() { try { return JSON.parse(this.#storage.getItem(this.#key)); } catch { return undefined; } }

  /** Holds the lock as long as the page lives. */
  #hold(name) {
    return new Promise((done) => {
      const held = () => { this.#lock = name; done(true); return new Promise(() => {}); };
      this.#locks.request(name, { signal: AbortSignal.timeout(LOCK_PATIENCE) }, held).catch(() => done(false));
    });
  }
}
