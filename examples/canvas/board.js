// The shapes on screen, and what pointer and keyboard do with them. Knows nothing of the network: it asks `act` to
// put and remove shapes, and tells it where the pointer is and what it holds.

const WORLD = { width: 1600, height: 1000 };
const SIZE = { rectangle: [0.14, 0.14], ellipse: [0.13, 0.17], note: [0.13, 0.19] };     // of a shape placed by a click
const SMALLEST = 0.02;
const STEP = 0.01;
const KEYS = { v: 'select', r: 'rectangle', o: 'ellipse', n: 'note' };

const clamp = (value, most) => Math.min(Math.max(0, value), most);
const round = (value) => Math.round(value * 10_000) / 10_000;

export class Board {
  #act; #world; #layer; #tools; #delete; #tool = 'select'; #selected; #gesture; #elements = new Map(); #shapes = new Map();

  constructor({ stage, world, layer, tools, remove }, act) {
    this.#act = act;
    [this.#world, this.#layer, this.#tools, this.#delete] = [world, layer, tools, remove];
    new ResizeObserver(() => this.#fit(stage)).observe(stage);
    world.addEventListener('pointerdown', (event) => this.#down(event));
    world.addEventListener('pointermove', (event) => this.#moved(event));
    world.addEventListener('pointerup', () => this.#up());
    world.addEventListener('pointercancel', () => this.#up());
    world.addEventListener('pointerleave', () => { if (!this.#gesture) act.point(undefined); });
    world.addEventListener('dblclick', ({ target }) => this.#edit(target.closest('.shape')?.dataset.id));
    layer.addEventListener('focusin', ({ target }) => this.#select(target.closest('.shape').dataset.id));
    tools.addEventListener('click', ({ target, detail }) => {
      const tool = target.closest('[data-tool]')?.dataset.tool;
      if (!tool) return;
      if (detail === 0 && tool !== 'select') this.#place(tool, 0.5, 0.45);              // by keyboard: in the middle
      else this.#use(tool);
    });
    remove.addEventListener('click', () => this.#remove());
    addEventListener('keydown', (event) => this.#key(event));
  }

  /** Starts anew with these shapes: another room. */
  show(shapes) {
    this.#select(undefined);
    this.#use('select');
    this.#shapes.clear();
    this.#elements.clear();
    this.#layer.replaceChildren();
    shapes.forEach((shape) => this.draw(shape));
  }

  draw(shape) {
    const { id } = shape;
    let element = this.#elements.get(id);
    if (shape.deleted) {
      if (this.#selected === id) this.#select(undefined);
      if (this.#gesture?.id === id) this.#gesture = undefined;
      element?.remove();
      this.#elements.delete(id);
      this.#shapes.delete(id);
      return;
    }
    this.#shapes.set(id, shape);
    if (!element) {
      element = document.createElement('div');
      element.append(document.createElement('span'), Object.assign(document.createElement('i'), { className: 'resize' }));
      element.tabIndex = 0;
      element.setAttribute('role', 'group');
      element.setAttribute('aria-roledescription', 'shape');
      Object.assign(element.dataset, { id, test: 'shape' });
      this.#elements.set(id, element);
      this.#layer.append(element);
    }
    element.className = `shape ${shape.type}${this.#selected === id ? ' selected' : ''}${this.#gesture?.id === id ? ' held' : ''}`;
    element.dataset.type = shape.type;
    element.setAttribute('aria-label', `${shape.type} ${shape.text || ''}, at ${Math.round(shape.x * 100)} ${Math.round(shape.y * 100)}. Arrow keys move, Enter writes, Delete removes.`);
    const { style, firstChild } = element;
    for (const [name, value] of [['left', shape.x], ['top', shape.y], ['width', shape.w], ['height', shape.h]]) style[name] = `${value * 100}%`;
    style.zIndex = shape.z;
    style.setProperty('--c', shape.color);
    if (firstChild.textContent !== shape.text && firstChild !== document.activeElement) firstChild.textContent = shape.text;
  }

  /** Outlines what others hold: a map of shape id -> colour. */
  held(holders) {
    for (const [id, element] of this.#elements) {
      const color = holders.get(id);
      element.classList.toggle('theirs', color !== undefined);
      if (color) element.style.setProperty('--holder', color); else element.style.removeProperty('--holder');
    }
  }

  /** The world keeps its proportions; --u is one of its units in pixels. */
  #fit(stage) {
    const { paddingLeft, paddingTop, paddingBottom } = getComputedStyle(stage);
    const width = stage.clientWidth - 2 * parseFloat(paddingLeft);
    const height = stage.clientHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
    const unit = Math.max(0.1, Math.min(width / WORLD.width, height / WORLD.height));
    this.#world.style.width = `${Math.floor(unit * WORLD.width)}px`;
    this.#world.style.height = `${Math.floor(unit * WORLD.height)}px`;
    this.#world.style.setProperty('--u', `${unit}px`);
  }

  #at({ clientX, clientY }) {
    const { left, top, width, height } = this.#world.getBoundingClientRect();
    return { x: round((clientX - left) / width), y: round((clientY - top) / height) };
  }

  #use(tool) {
    this.#tool = this.#world.dataset.tool = tool;
    for (const button of this.#tools.querySelectorAll('[data-tool]')) button.setAttribute('aria-pressed', button.dataset.tool === tool);
  }

  #select(id) {
    this.#elements.get(this.#selected)?.classList.remove('selected');
    this.#selected = id;
    this.#elements.get(id)?.classList.add('selected');
    this.#delete.disabled = id === undefined;
  }

  #top() { return Math.max(0, ...[...this.#shapes.values()].map(({ z }) => z)) + 1; }

  #down(event) {
    const { target, button, pointerId } = event;
    if (button !== 0 || target.isContentEditable || target.closest('button')) return;
    const { x, y } = this.#at(event);
    this.#world.setPointerCapture(pointerId);
    if (this.#tool !== 'select') {
      event.preventDefault();
      this.#gesture = { draw: this.#tool, x, y };
      return;
    }
    const id = target.closest('.shape')?.dataset.id;
    if (!id) { document.activeElement?.blur(); this.#select(undefined); return; }
    const shape = this.#shapes.get(id);
    this.#gesture = { id, resize: target.classList.contains('resize'), dx: x - shape.x, dy: y - shape.y, dw: x - shape.w, dh: y - shape.h };
    this.#select(id);
  }

  #moved(event) {
    const { x, y } = this.#at(event);
    const gesture = this.#gesture;
    if (gesture?.draw) this.#stretch(gesture, x, y);
    else if (gesture) this.#drag(gesture, x, y);
    this.#act.point({ x: clamp(x, 1), y: clamp(y, 1) }, this.#gesture?.moved ? this.#gesture.id : undefined);
  }

  #drag(gesture, x, y) {
    const { id, resize, dx, dy, dw, dh } = gesture;
    const shape = this.#shapes.get(id);
    const change = resize
      ? { w: clamp(Math.max(SMALLEST, x - dw), 1 - shape.x), h: clamp(Math.max(SMALLEST, y - dh), 1 - shape.y) }
      : { x: clamp(x - dx, 1 - shape.w), y: clamp(y - dy, 1 - shape.h) };
    for (const name in change) change[name] = round(change[name]);
    if (!gesture.moved) change.z = this.#top();
    gesture.moved = true;
    this.#act.put({ id, ...change }, { moving: true });
  }

  #stretch(gesture, x, y) {
    const [left, top, right, bottom] = [Math.min(gesture.x, x), Math.min(gesture.y, y), Math.max(gesture.x, x), Math.max(gesture.y, y)].map((value) => clamp(value, 1));
    if (!gesture.id && (right - left < SMALLEST || bottom - top < SMALLEST)) return;       // not yet more than a click
    const change = { x: left, y: top, w: Math.max(SMALLEST, round(right - left)), h: Math.max(SMALLEST, round(bottom - top)) };
    if (!gesture.id) gesture.id = this.#act.add({ type: gesture.draw, z: this.#top(), ...change });
    else this.#act.put({ id: gesture.id, ...change }, { moving: true });
    gesture.moved = true;
  }

  #up() {
    const gesture = this.#gesture;
    this.#gesture = undefined;
    if (!gesture) return;
    if (gesture.draw && !gesture.id) return this.#place(gesture.draw, gesture.x, gesture.y);
    this.#elements.get(gesture.id)?.classList.remove('held');
    if (gesture.moved && this.#shapes.has(gesture.id)) this.#act.put({ id: gesture.id });
    this.#act.hold(undefined);
    if (gesture.draw) this.#placed(gesture.id);
  }

  #place(type, x, y) {
    const [w, h] = SIZE[type];
    this.#placed(this.#act.add({ type, x: round(clamp(x - w / 2, 1 - w)), y: round(clamp(y - h / 2, 1 - h)), w, h, z: this.#top() }));
  }

  #placed(id) {
    this.#use('select');
    if (!this.#shapes.has(id)) return;
    this.#elements.get(id).focus({ preventScroll: true });
    if (this.#shapes.get(id).type === 'note') this.#edit(id);
  }

  #remove() {
    const id = this.#selected;
    if (id === undefined) return;
    this.#select(undefined);
    this.#act.remove(id);
  }

  #edit(id) {
    const label = this.#elements.get(id)?.firstChild;
    if (!label) return;
    label.contentEditable = 'plaintext-only';
    label.setAttribute('role', 'textbox');
    label.setAttribute('aria-label', 'Text');
    label.focus();
    getSelection().selectAllChildren(label);
    const done = () => {
      label.contentEditable = 'false';
      label.removeAttribute('role');
      const text = label.innerText.trim().slice(0, 500);
      if (this.#shapes.has(id) && text !== this.#shapes.get(id).text) this.#act.put({ id, text });
      else label.textContent = this.#shapes.get(id)?.text ?? '';
    };
    label.addEventListener('blur', done, { once: true });
  }

  #key(event) {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    if (target.isContentEditable && (key === 'Escape' || (key === 'Enter' && !event.shiftKey))) {
      event.preventDefault();
      return target.closest('.shape').focus();
    }
    if (target.closest('input, textarea, dialog, [contenteditable="plaintext-only"]') || ctrlKey || metaKey || altKey) return;
    const shape = this.#shapes.get(this.#selected);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (KEYS[key.toLowerCase()]) this.#use(KEYS[key.toLowerCase()]);
    else if (key === 'Escape') { this.#use('select'); document.activeElement?.blur(); this.#select(undefined); }
    else if (!shape || target.closest('button, a')) return;
    else if (key === 'Delete' || key === 'Backspace') this.#remove();
    else if (key === 'Enter') this.#edit(shape.id);
    else if (way) this.#act.put({ id: shape.id, x: round(clamp(shape.x + way[0] * STEP, 1 - shape.w)), y: round(clamp(shape.y + way[1] * STEP, 1 - shape.h)) });
    else return;
    event.preventDefault();
  }
}
