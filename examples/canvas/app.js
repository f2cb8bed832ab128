// The page: one connection, one room at a time, and the parts that show it.

import { Board } from './board.js';
import { Chat } from './chat.js';
import { Client } from './client.js';
import { COLORS, avoid, initials, inkOn, me, rename } from './me.js';
import { People, personFrom } from './people.js';
import { Shared } from './shared.js';

const ROOMS = ['lobby', 'design', 'games'];
const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search);

const client = new Client(`${location.protocol.replace('http', 'ws')}//${location.host}/ws`, { token, pingInterval: 5_000, storage: sessionStorage });
const rooms = new Map();             // what this tab knows of each room it has visited, by name
let shared, name;                    // of the room shown now
let newcomer;                        // who has not yet seen the others there
let known = false;                   // by a token: only then can a session be resumed
let doing = {};                      // our awareness beside name and colour: x, y, holds, typing

// ---- the room shown

const board = new Board({ stage: $('stage'), world: $('world'), layer: $('shapes'), tools: $('tools'), remove: $('delete') }, {
  add: (shape) => {
    const id = `${client.id}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 6)}`;
    shared.put({ id, color: me.color, text: '', ...shape });
    return id;
  },
  put: (shape, options) => shared.put(shape, options),
  remove: (id) => shared.remove(id),
  point: (at, holds) => announce({ x: at?.x, y: at?.y, holds }),
  hold: (id) => announce({ holds: id }),
});
const people = new People({ list: $('people'), layer: $('cursors') });
const chat = new Chat({ log: $('log'), typing: $('typing'), form: $('say'), input: $('text') }, {
  say: (message) => shared.say({ ...message, name: me.name, color: me.color }),
  typing: (typing) => announce({ typing: typing || undefined }),
  failed: (error) => notice(error.code === 'offline' || error.code === 'not_in_room' ? 'Not sent: you are offline. Your message is still in the line.' : `Not sent: ${error.message}`),
}, () => client.id);

function knowledgeOf(room) {
  if (!rooms.has(room)) {
    const mine = new Shared(client, room, {
      shape: (shape) => { if (shared === mine) { board.draw(shape); showEmpty(); } },
      chat: (entry) => { if (shared === mine) chat.add(entry, mine.chat); },
      synced: () => { if (shared === mine) showEmpty(); },
      problem: (error) => notice(error.message),
    });
    rooms.set(room, mine);
  }
  return rooms.get(room);
}

function enter() {
  const label = /^#[A-Za-z0-9_.-]{1,64}$/.test(location.hash) ? location.hash.slice(1) : ROOMS[0];
  if (name === `canvas:${label}`) return;
  if (name) {
    shared.left();
    client.leave(name).catch(() => {});          // lost meanwhile: then we are not in it either
  }
  name = `canvas:${label}`;
  shared = knowledgeOf(name);
  document.title = `${label} · muster canvas`;
  $('chat-room').textContent = `#${label}`;
  $('rooms').replaceChildren(...[...new Set([...ROOMS, label])].map((room) => {
    const link = Object.assign(document.createElement('a'), { href: `#${room}`, textContent: room });
    link.dataset.test = `room-${room}`;
    if (room === label) link.setAttribute('aria-current', 'page');
    return link;
  }));
  board.show(shared.visible());
  chat.show(shared.chat);
  client.join(name).catch((error) => { if (error.code !== 'left') notice(`#${label}: ${error.message}`); });
  doing = {};
  announce({});
  showPeople();
  showEmpty();
}

function announce(change) {
  doing = { ...doing, ...change };
  if (client.room(name)) client.setAwareness(name, { name: me.name, color: me.color, ...doing });
}

// ---- what the server tells

client.on('message', (message) => { if (message.room === name) shared.received(message); });
client.on('joined', ({ room, resumed }) => { if (room === name) { shared.joined(); showPeople(); newcomer = !resumed; } });
client.on('left', ({ room, error }) => { if (room === name) { notice(error.message); showPeople(); } });
client.on('gap', ({ room }) => { if (room === name) notice('You were away for a while: some chat messages may be missing.'); });
client.on('error', (error) => notice(error.message));
client.on('latency', ({ ms }) => { $('latency').textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`; });
for (const type of ['presence', 'awareness']) {
  client.on(type, ({ room }) => {
    if (room !== name) return;
    shared.membersChanged();
    showPeople();
    if (newcomer && type === 'awareness') {
      newcomer = false;
      if (avoid(new Set([...client.room(name).awareness.values()].map(({ state }) => state.color)))) { showMe(); announce({}); }
    }
  });
}

let countdown;                       // of the wait, or until "Resumed" has been read
client.on('state', ({ state, retryAt, resumed, error }) => {
  clearInterval(countdown);
  clearTimeout(countdown);
  const status = $('status');
  status.dataset.state = state;
  document.body.toggleAttribute('data-live', state === 'connected');        // what was seen of the others is no longer true
  const tell = (text) => { $('status-text').textContent = text; };
  if (state !== 'connected') $('latency').textContent = '';
  if (state === 'connecting') tell(client.id ? 'Reconnecting' : 'Connecting');
  if (state === 'connected') {
    tell(resumed ? 'Resumed' : 'Live');
    if (resumed) countdown = setTimeout(() => tell('Live'), 3_000);
    status.dataset.resumed = resumed;
  }
  if (state === 'closed') tell('Offline');
  if (state === 'waiting') {
    shared.left();
    const tick = () => tell(`Reconnecting in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s`);
    tick();
    countdown = setInterval(tick, 250);
  }
  status.title = error?.message ?? (resumed ? 'Back in the same session: nobody saw you leave' : '');
  if (state === 'closed' && error?.code !== 'closed') notice(`The server ended the connection: ${error.message}`);
});

/** Asked before each attempt, and before a token ends. A server that wants a token says so by its close code; then the person is asked. */
async function token(closeCode) {
  if (closeCode === 4001 || closeCode === 4002) {
    $('token').value = '';
    $('login').showModal();
    await new Promise((done) => $('login').addEventListener('close', done, { once: true }));
    sessionStorage.setItem('muster.token', $('token').value);
    params.delete('token');
  }
  const token = params.get('token') || sessionStorage.getItem('muster.token') || undefined;
  known = token !== undefined;
  return token;
}

// ---- showing it

function showPeople() {
  const room = client.room(name);
  people.show(room, client.id);
  const others = [...(room?.awareness ?? [])].map(([id, { state }]) => ({ ...personFrom(id, state), holds: state.holds, typing: state.typing }));
  board.held(new Map(others.filter(({ holds }) => typeof holds === 'string').map(({ holds, color }) => [holds, color])));
  chat.typing(others.filter(({ typing }) => typing).map((person) => person.name));
}

function showMe() {
  const button = $('me');
  button.textContent = initials(me.name);
  button.title = `${me.name} (you)`;
  button.setAttribute('aria-label', `You are ${me.name}. Change name and colour`);
  document.documentElement.style.setProperty('--me', me.color);
  document.documentElement.style.setProperty('--me-ink', inkOn(me.color));
}

function showEmpty() { $('empty').hidden = !shared.synced || shared.visible().length > 0; }

let hideNotice;
function notice(text) {
  clearTimeout(hideNotice);
  Object.assign($('notice'), { textContent: text, hidden: false });
  hideNotice = setTimeout(() => { $('notice').hidden = true; }, 6_000);
}

$('invite').addEventListener('click', async () => {
  const label = $('invite').lastElementChild;
  try { await navigator.clipboard.writeText(location.origin + location.pathname + location.hash); label.textContent = 'Copied'; } catch { label.textContent = location.href; }
});

// ---- oneself

$('swatches').append(...COLORS.map((color) => {
  const swatch = Object.assign(document.createElement('input'), { type: 'radio', name: 'color', value: color, ariaLabel: color });
  swatch.style.setProperty('--c', color);
  return swatch;
}));
$('me').addEventListener('click', () => {
  $('name').value = me.name;
  for (const swatch of $('swatches').children) swatch.checked = swatch.value === me.color;
  $('profile').showModal();
});
$('profile').addEventListener('close', () => {
  rename($('name').value.trim().slice(0, 32) || me.name, [...$('swatches').children].find(({ checked }) => checked)?.value ?? me.color);
  showMe();
  announce({});
});

// ---- the tab's life: hidden, it points nowhere; gone, it may be back in a moment, unless nobody could tell that it is the same

document.addEventListener('visibilitychange', () => { if (document.hidden) announce({ x: undefined, y: undefined, typing: undefined }); });
addEventListener('pagehide', () => { if (!known) client.close(); });
addEventListener('pageshow', ({ persisted }) => {
  if (!persisted) return;
  if (client.state !== 'closed') return client.retryNow();
  name = undefined;
  enter();
  client.connect().catch(() => {});
});
addEventListener('online', () => client.retryNow());
addEventListener('hashchange', enter);

showMe();
enter();
client.connect().catch(() => {});            // the state event tells what happened

window.muster = { client, me, get room() { return name; }, get shared() { return shared; } };     // for the curious, and for tests
