// Calls and promises that come later, and keys that come once.

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

/** Timers by name: one that is set again begins anew. */
export class Timers {
  #running = new Map();
  has(name) { return this.#running.has(name); }
  after(name, ms, run) {
    this.cancel(name);
    this.#running.set(name, setTimeout(() => { this.#running.delete(name); run(); }, ms));
  }
  cancel(name) { clearTimeout(this.#running.get(name)); this.#running.delete(name); }
  cancelAll() { for (const name of [...this.#running.keys()]) this.cancel(name); }
}

/** A promise with its ends; nobody has to look at its rejection. */
export function deferred() {
  const ends = {};
  ends.promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  ends.promise.catch(() => {});
  return ends;
}

/** A key that nobody else has. */
export const newKey = () => Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32).toString(36)).join('');
