// What the server asks: what answers it, and what was answered in this session.

import { MusterError } from './protocol.js';

export class Served {
  #answers = new Map(); #asked = new Map();      // type -> function; number -> what it gave

  add(type, answer) { this.#answers.set(type, answer); }

  /** Another session: its numbers are others. */
  clear() { this.#asked.clear(); }

  /** What to say to a request, {data} or {error}. One that comes again, over a resume, gets the same, and is not done twice. */
  answer({ request, type, data, timeout_ms: timeout }) {
    const known = this.#asked.get(request);
    if (known) return known;
    const answer = this.#ask(type, data);
    this.#asked.set(request, answer);
    setTimeout(() => this.#asked.delete(request), Math.min(timeout, 2 ** 31 - 1)).unref?.();
    return answer;
  }

  /** An answer that is no JSON is a failure, and an error has a code and a message. */
  async #ask(type, data) {
    const serve = this.#answers.get(type);
    try {
      if (!serve) throw new MusterError('unknown_request', `nothing serves ${type}`);
      return JSON.parse(JSON.stringify({ data: await serve(data) ?? null }));
    } catch (error) {
      const { code = 'failed', message = error, details } = error ?? {};
      try {
        return JSON.parse(JSON.stringify({ error: { code: String(code), message: String(message), details } }));
      } catch {
        return { error: { code: String(code), message: String(message) } };
      }
    }
  }
}
