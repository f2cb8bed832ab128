// Who is here: a face for each member in the bar, and a cursor for each one whose pointer is over the canvas.

import { initials, inkOn } from './me.js';
import { color, text } from './shared.js';

const FACES = 5;             // shown; the rest is a number
const SMOOTHING = 45;        // ms in which a cursor covers about two thirds of its way

export class People {
  #list; #layer; #faces = new Map(); #cursors = new Map(); #frame; #then = 0;
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  constructor({ list, layer }) { [this.#list, this.#layer] = [list, layer]; }

  /** Everything anew: the members of the room as known now, without oneself. */
  show(room, own) {
    const people = [...(room?.members.keys() ?? [])].filter((id) => id !== own).sort().map((id) => personFrom(id, room.awareness.get(id)?.state));
    people.sort((a, b) => a.bot - b.bot);
    this.#showFaces(people, Math.max(0, (room?.memberCount ?? 0) - 1));
    const seen = new Set();
    for (const [id, { state }] of room?.awareness ?? []) {
      if (!Number.isFinite(state.x) || !Number.isFinite(state.y)) continue;
      seen.add(id);
      this.#point(personFrom(id, state), state);
    }
    for (const [id, cursor] of this.#cursors) {
      if (seen.has(id)) continue;
      cursor.element.remove();
      this.#cursors.delete(id);
    }
  }

  #showFaces(people, count) {
    const shown = people.slice(0, FACES);
    const more = count - shown.length;
    if (more > 0) shown.push({ id: 'more', name: people.slice(FACES).map(({ name }) => name).join(', '), label: `+${more}` });
    const before = this.#faces;
    this.#faces = new Map(shown.map((person) => [person.id, showFace(before.get(person.id) ?? document.createElement('li'), person)]));
    const now = [...this.#faces.values()];
    if (now.length !== this.#list.childElementCount || now.some((face, at) => this.#list.children[at] !== face)) this.#list.replaceChildren(...now);
    this.#list.dataset.count = count;
  }

  #point({ id, name, color, bot }, { x, y }) {
    let cursor = this.#cursors.get(id);
    if (!cursor) {
      const element = document.createElement('div');
      element.className = 'cursor';
      Object.assign(element.dataset, { test: 'cursor', connection: id });
      element.innerHTML = '<svg viewBox="0 0 24 24"><path d="M4.2 2.6 20.3 9.7c1 .4.9 1.8-.1 2.1l-6.7 1.9-3.1 6.3c-.5 1-1.9.8-2.1-.2L3 3.7c-.2-.8.5-1.4 1.2-1.1z"/></svg><span></span>';
      this.#layer.append(element);
      this.#cursors.set(id, cursor = { element, x, y });
      place(cursor);
    }
    cursor.element.style.setProperty('--c', color);
    cursor.element.style.setProperty('--on', inkOn(color));
    cursor.element.classList.toggle('bot', bot);
    cursor.element.lastChild.textContent = cursor.element.dataset.name = name;
    cursor.to = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
    if (this.#still.matches) { Object.assign(cursor, cursor.to); place(cursor); }
    this.#frame ??= requestAnimationFrame((now) => { this.#then = now; this.#glide(now); });
  }

  /** Each frame brings every cursor a share of its way; without anything to move there is no next frame. */
  #glide(now) {
    const share = 1 - Math.exp(-(now - this.#then) / SMOOTHING);
    this.#then = now;
    let moving = false;
    for (const cursor of this.#cursors.values()) {
      const [dx, dy] = [cursor.to.x - cursor.x, cursor.to.y - cursor.y];
      if (dx === 0 && dy === 0) continue;
      const there = Math.abs(dx) + Math.abs(dy) < 0.02;
      cursor.x = there ? cursor.to.x : cursor.x + dx * share;
      cursor.y = there ? cursor.to.y : cursor.y + dy * share;
      place(cursor);
      moving ||= !there;
    }
    this.#frame = moving ? requestAnimationFrame((next) => this.#glide(next)) : undefined;
  }
}

export function personFrom(id, state) {
  return { id, name: text(state?.name, 32).trim() || 'Guest', color: color(state?.color), bot: Boolean(state?.bot) };
}

function place({ element, x, y }) {
  element.style.left = `${x * 100}%`;
  element.style.top = `${y * 100}%`;
  element.classList.toggle('flip', x > 0.9);
}

function showFace(item, { id, name, color, bot, label = initials(name) }) {
  const title = bot ? `${name} (bot)` : name;
  if (item.title === title && item.textContent === label && item.dataset.color === color) return item;
  item.className = label.startsWith('+') ? 'more' : bot ? 'face bot' : 'face';
  item.title = title;
  item.setAttribute('aria-label', title);
  Object.assign(item.dataset, { test: 'person', connection: id, name, color });
  if (color) {
    item.style.setProperty('--c', color);
    item.style.setProperty('--on', inkOn(color));
  }
  item.textContent = label;
  return item;
}
