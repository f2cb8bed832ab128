// Who listens to what.

export const THREW = Symbol('a listener threw');

export class Listeners {
  #types = new Map();

  /** Returns the function that removes it. */
  on(type, listener) {
    if (!this.#types.has(type)) this.#types.set(type, new Set());
    this.#types.get(type).add(listener);
    return () => this.#types.get(type).delete(listener);
  }

  /** What the listeners returned; THREW for one that threw, which the others do not notice. */
  emit(type, event) {
    return [...this.#types.get(type) ?? []].map((listener) => {
      try { return listener(event); } catch (error) { console.error(`listener of "${type}":`, error); return THREW; }
    });
  }
}
