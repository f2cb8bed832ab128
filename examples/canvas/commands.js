// Commands under way: each has one reply, or runs out of time.

import { deferred } from './later.js';
import { MusterError } from './protocol.js';

export class Commands {
  #waiting = new Map(); #nextId = 1;

  /** `then(reply)`, `refused(error)` and, before them, `progress(payload)` are called before any later message is handled. */
  ask(socket, type, payload, { timeout, then, refused, progress }) {
    const id = this.#nextId++;
    socket.send(JSON.stringify({ type, id, payload }));
    const reply = deferred();
    const giveUp = () => this.answered(id)?.reject(new MusterError('timeout', `no reply to ${type} within ${timeout} ms`));
    this.#waiting.set(id, { ...reply, then, refused, progress, timer: setTimeout(giveUp, timeout) });
    return reply.promise;
  }

  /** The server says how far it is. */
  progress(id, payload) { this.#waiting.get(id)?.progress?.(payload); }

  /** Who waits for this reply, if anybody still does. */
  answered(id) {
    const waiting = this.#waiting.get(id);
    clearTimeout(waiting?.timer);
    this.#waiting.delete(id);
    return waiting;
  }

  /** No reply will come any more. */
  lose(error) { for (const id of [...this.#waiting.keys()]) this.answered(id).reject(error); }
}
