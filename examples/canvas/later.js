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

/** A promise with its ends; nobody has to look at its rejection. */
export function deferred() {
  const ends = {};
  ends.promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  ends.promise.catch(() => {});
  return ends;
}

/** A key that nobody else has. */
export const newKey = () => Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32).toString(36)).join('');
