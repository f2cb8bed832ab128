// The canvas page in headless Chromium, against a real muster_server: what one tab does, the others see.
//
// MUSTER_CHROMIUM: the browser (default /usr/bin/chromium).  MUSTER_SCREENSHOT: where to save a picture (default: nowhere).

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { DEADLINE, startProxy, startServer, tokensFile } from './support.mjs';

const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const NEAR = 0.006;          // of the board: a few pixels

let browser, contexts = [], complaints = [], number = 0;
const newRoom = () => `test-${++number}`;

/** A tab of its own browser profile, live in the room. */
async function open(server, name, room, { width = 1280, height = 800, token, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  contexts.push(context);
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`${name}: ${error.message}`));
  page.on('console', (message) => { if (message.type() === 'error' && !/WebSocket/.test(message.text())) complaints.push(`${name}: ${message.text()}`); });
  await page.goto(`${server.url}/?name=${encodeURIComponent(name)}${token ? `&token=${token}` : ''}#${room}`);
  await live(page);
  return page;
}

const live = (page) => page.waitForFunction(() => document.querySelector('[data-test=status]').dataset.state === 'connected' && window.muster.client.room(window.muster.room)?.joined);

/** Where a point of the board, in fractions, is on this tab's screen. */
async function pixel(page, x, y) {
  const box = await page.locator('[data-test=board]').boundingBox();
  return [box.x + x * box.width, box.y + y * box.height];
}
const point = async (page, x, y) => page.mouse.move(...await pixel(page, x, y));

async function drag(page, from, to) {
  await point(page, ...from);
  await page.mouse.down();
  for (const share of [0.25, 0.5, 0.75, 1]) await point(page, from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share);
  await page.mouse.up();
}

async function draw(page, tool, from, to) {
  await page.click(`[data-test=tool-${tool}]`);
  await drag(page, from, to);
  return page.locator('[data-test=shape].selected').getAttribute('data-id');
}

/** Waits until the element's corner is at this point of the board. */
const at = (page, selector, x, y) => page.waitForFunction(([selector, x, y, near]) => {
  const element = document.querySelector(selector);
  if (!element) return false;
  const [board, box] = [document.querySelector('[data-test=board]'), element].map((it) => it.getBoundingClientRect());
  return Math.abs((box.left - board.left) / board.width - x) < near && Math.abs((box.top - board.top) / board.height - y) < near;
}, [selector, x, y, NEAR]);

const shape = (id) => `[data-test=shape][data-id="${id}"]`;
const person = (name) => `[data-test=person][data-name="${name}"]`;
const cursor = (name) => `[data-test=cursor][data-name="${name}"]`;
const gone = (page, selector) => page.waitForSelector(selector, { state: 'detached' });
const says = (page, text) => page.locator('[data-test=chat-message]', { hasText: text }).waitFor();

const log = (page) => page.$$eval('[data-test=chat-message]', (items) => items.map((item) => `${item.dataset.name}: ${item.querySelector('p').textContent}`));

/** From now on `window.flaps` has who was seen leaving: presence and awareness. */
const watch = (page) => page.evaluate(() => {
  window.flaps = [];
  window.muster.client.on('presence', ({ left }) => left.forEach(({ connection }) => window.flaps.push(`left ${connection}`)));
  window.muster.client.on('awareness', ({ changes }) => changes.forEach(({ client, state }) => { if (state === null) window.flaps.push(`null ${client}`); }));
});

/** From now on `window.heard` has what the client delivers of the chat, and `gap` where it names one. */
const hear = (page) => page.evaluate(() => {
  window.heard = [];
  window.muster.client.on('message', ({ data }) => { if (data.kind === 'chat') window.heard.push(data.text); });
  window.muster.client.on('gap', () => window.heard.push('gap'));
});

/** The tab's process ends without a word. */
async function kill(page) {
  const crashed = page.waitForEvent('crash');
  const session = await page.context().newCDPSession(page);
  session.send('Page.crash').catch(() => {});
  await crashed;
  return session;
}

async function say(page, text) {
  await page.fill('[data-test=chat-text]', text);
  await page.press('[data-test=chat-text]', 'Enter');
  await says(page, text);
}

describe('the canvas page', { timeout: 15 * DEADLINE }, () => {
  let server, known;                                         // known: by token, so that sessions resume
  before(async () => {
    server = await startServer({ flags: ['--connect-rate-per-ip', '0', '--deflate', '--deflate-min-bytes', '64'] });
    const people = Object.fromEntries(['ann', 'bob'].map((user) => [user, { user }]));
    known = await startServer({ auth: tokensFile(people), flags: ['--connect-rate-per-ip', '0', '--presence-grace', '4s'] });
    browser = await chromium.launch({ executablePath: process.env.MUSTER_CHROMIUM ?? '/usr/bin/chromium', args: QUIET });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await known?.stop();
  });
  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    assert.deepEqual(complaints.splice(0), [], 'the pages had nothing to complain about');
  });

  test('two tabs see each other, and each other\'s cursor in the same place', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room, { width: 900, height: 900 })];
    await Promise.all([ann.waitForSelector(person('Bob')), bob.waitForSelector(person('Ann'))]);
    await point(ann, 0.3, 0.4);
    await at(bob, cursor('Ann'), 0.3, 0.4);
    await point(ann, 0.7, 0.2);
    await at(bob, cursor('Ann'), 0.7, 0.2);
    await point(bob, 0.5, 0.9);
    await at(ann, cursor('Bob'), 0.5, 0.9);
    await ann.mouse.move(2, 2);                              // off the board: no cursor, still here
    await gone(bob, cursor('Ann'));
    assert.ok(await bob.isVisible(person('Ann')));
  });

  test('the browser has agreed to compress', async () => {
    const ann = await open(server, 'Ann', newRoom());
    const extensions = await ann.evaluate((url) => new Promise((done, failed) => {
      const socket = new WebSocket(url, ['muster.v1.json']);
      socket.onopen = () => { done(socket.extensions); socket.close(); };
      socket.onerror = failed;
    }), server.ws);
    assert.match(extensions, /^permessage-deflate/);
  });

  test('a shape drawn in one tab is drawn, moved and removed in both', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room, { width: 1000, height: 1100 })];
    await ann.waitForSelector('[data-test=empty]');
    const id = await draw(ann, 'rectangle', [0.2, 0.2], [0.4, 0.5]);
    await at(bob, shape(id), 0.2, 0.2);
    await gone(bob, '[data-test=empty]:not([hidden])');
    await drag(bob, [0.3, 0.3], [0.6, 0.5]);
    await at(bob, shape(id), 0.5, 0.4);
    await at(ann, shape(id), 0.5, 0.4);
    await drag(ann, [0.6, 0.5], [0.3, 0.3]);
    await at(bob, shape(id), 0.2, 0.2);
    await ann.click('[data-test=delete]');
    await Promise.all([gone(ann, shape(id)), gone(bob, shape(id))]);
  });

  test('every kind of shape, by pointer and by keyboard, with its text', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room)];
    await ann.click('[data-test=tool-ellipse]');
    await ann.mouse.click(...await pixel(ann, 0.2, 0.2));
    await bob.waitForSelector('[data-test=shape][data-type=ellipse]');
    await ann.focus('[data-test=tool-note]');
    await ann.keyboard.press('Enter');
    await ann.keyboard.type('<b>not bold</b>');
    await ann.keyboard.press('Escape');
    const note = bob.locator('[data-test=shape][data-type=note]', { hasText: '<b>not bold</b>' });
    await note.waitFor();
    await ann.keyboard.press('Delete');
    await note.waitFor({ state: 'detached' });
    assert.equal(await ann.locator('[data-test=shape]').count(), 1);
  });

  test('chat reaches everyone, in one order, as text', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room)];
    await say(ann, 'hello <img src=x onerror=alert(1)>');
    await say(bob, 'hello yourself');
    await Promise.all([says(ann, 'hello yourself'), says(bob, 'hello <img src=x onerror=alert(1)>')]);
    assert.deepEqual(await log(ann), ['Ann: hello <img src=x onerror=alert(1)>', 'Bob: hello yourself']);
    assert.deepEqual(await log(bob), await log(ann));
    assert.equal(await ann.inputValue('[data-test=chat-text]'), '');
    await bob.fill('[data-test=chat-text]', 'thinking');
    await ann.waitForFunction(() => document.querySelector('[data-test=typing]').textContent.includes('Bob'));
  });

  test('a closed tab disappears from the other', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room)];
    await point(bob, 0.5, 0.5);
    await ann.waitForSelector(cursor('Bob'));
    await bob.close();
    await Promise.all([gone(ann, cursor('Bob')), gone(ann, person('Bob'))]);
  });

  test('who comes late gets the shapes and the chat', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room)];
    const id = await draw(ann, 'ellipse', [0.1, 0.1], [0.3, 0.4]);
    await say(bob, 'before you came');
    await bob.waitForSelector(shape(id));
    const eve = await open(server, 'Eve', room);
    await Promise.all([at(eve, shape(id), 0.1, 0.1), says(eve, 'before you came')]);
    await Promise.all([ann, bob].map((page) => page.close()));
    const joe = await open(server, 'Joe', room);             // from one who was told, not from those who drew
    await Promise.all([at(joe, shape(id), 0.1, 0.1), says(joe, 'before you came')]);
  });

  test('rooms are apart', async () => {
    const ann = await open(server, 'Ann', 'lobby');
    const bob = await open(server, 'Bob', 'lobby');
    await ann.waitForSelector(person('Bob'));
    await draw(ann, 'rectangle', [0.2, 0.2], [0.3, 0.3]);
    await bob.waitForSelector('[data-test=shape]');
    await bob.click('[data-test=room-design]');
    await gone(ann, person('Bob'));
    await live(bob);
    assert.equal(await bob.locator('[data-test=shape]').count(), 0);
    assert.match(bob.url(), /#design$/);
    await ann.click('[data-test=room-design]');
    await bob.waitForSelector(person('Ann'));
    await bob.goBack();
    await bob.waitForSelector('[data-test=shape]');          // remembered by those who have been there
  });

  test('a new name is seen by the others and remembered', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(server, 'Ann', room), await open(server, 'Bob', room)];
    await ann.click('[data-test=me]');
    await ann.fill('[data-test=name]', 'Annabel');
    await ann.click('[data-test=profile-done]');
    await bob.waitForSelector(person('Annabel'));
    await ann.goto(`${server.url}/#${room}`);
    await live(ann);
    await bob.waitForSelector(person('Annabel'));
  });

  test('after a restart of the server both tabs are back, with what was drawn meanwhile', async () => {
    const room = newRoom();
    let own = await startServer();
    const [ann, bob] = [await open(own, 'Ann', room), await open(own, 'Bob', room)];
    await bob.waitForSelector(person('Ann'));
    await hear(bob);
    const kept = await draw(ann, 'rectangle', [0.1, 0.1], [0.2, 0.3]);
    await bob.waitForSelector(shape(kept));
    await say(ann, 'one');
    await say(ann, 'two');
    await says(bob, 'two');
    await own.stop();
    await Promise.all([ann, bob].map((page) => page.waitForFunction(() => document.querySelector('[data-test=status]').dataset.state !== 'connected')));
    const alone = await draw(ann, 'rectangle', [0.5, 0.5], [0.6, 0.7]);
    await ann.fill('[data-test=chat-text]', 'anybody?');
    await ann.press('[data-test=chat-text]', 'Enter');
    await ann.waitForSelector('[data-test=notice]:not([hidden])');
    assert.equal(await ann.inputValue('[data-test=chat-text]'), 'anybody?', 'what could not be sent is not lost');
    own = await startServer({ port: own.port });
    await Promise.all([live(ann), live(bob)]);
    await Promise.all([ann.waitForSelector(person('Bob')), bob.waitForSelector(person('Ann'))]);
    await at(bob, shape(alone), 0.5, 0.5);
    await at(bob, shape(kept), 0.1, 0.1);
    await ann.press('[data-test=chat-text]', 'Enter');
    await says(bob, 'anybody?');
    assert.deepEqual(await bob.evaluate(() => window.heard), ['one', 'two', 'gap', 'anybody?'], 'each once; and that nobody knows what was said meanwhile');
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await own.stop();
  });

  for (const [what, go] of [['a reload', (page) => page.reload()], ['a way off and back', async (page) => { await page.goto('about:blank'); await page.goBack(); }]]) {
    test(`${what} resumes: nobody sees it leave, and what was said meanwhile is there once`, async () => {
      const room = newRoom();
      const [ann, bob] = [await open(known, 'Ann', room, { token: 'ann' }), await open(known, 'Bob', room, { token: 'bob' })];
      const kept = await draw(ann, 'rectangle', [0.1, 0.1], [0.2, 0.3]);
      await say(ann, 'before');
      await say(bob, 'also before');
      await bob.waitForSelector(person('Ann'));
      await watch(bob);
      const id = await ann.evaluate(() => window.muster.client.id);
      const going = go(ann);
      await say(bob, 'meanwhile');
      await going;
      await live(ann);
      assert.equal(await ann.locator('[data-test=status]').getAttribute('data-resumed'), 'true');
      assert.equal(await ann.evaluate(() => window.muster.client.id), id);
      await Promise.all([at(ann, shape(kept), 0.1, 0.1), says(ann, 'also before'), says(ann, 'meanwhile')]);
      await point(ann, 0.4, 0.4);
      await at(bob, cursor('Ann'), 0.4, 0.4);
      await say(ann, 'after');
      await says(bob, 'after');
      assert.deepEqual(await log(bob), ['Ann: before', 'Bob: also before', 'Bob: meanwhile', 'Ann: after']);
      assert.deepEqual(await log(ann), await log(bob));
      assert.deepEqual(await bob.evaluate(() => window.flaps), []);
    });
  }

  test('a duplicated tab has a session of its own, and takes nothing from the first', async () => {
    const room = newRoom();
    const ann = await open(known, 'Ann', room, { token: 'ann' });
    const [twin] = await Promise.all([ann.context().waitForEvent('page'), ann.evaluate(() => { window.open(location.href); })]);
    await live(twin);
    const [one, two] = await Promise.all([ann, twin].map((page) => page.evaluate(() => [sessionStorage.getItem('muster'), window.muster.client.id])));
    assert.notEqual(one[1], two[1]);
    await Promise.all([ann.waitForFunction((id) => window.muster.client.room(window.muster.room).members.has(id), two[1]), live(ann)]);
    assert.equal(await twin.locator('[data-test=status]').getAttribute('data-resumed'), 'false');
    await twin.reload();
    await live(twin);
    assert.equal(await twin.evaluate(() => window.muster.client.id), two[1], 'each resumes its own');
    await live(ann);
  });

  test('a killed tab: the others are told once, after the grace', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(known, 'Ann', room, { token: 'ann' }), await open(known, 'Bob', room, { token: 'bob' })];
    await bob.waitForSelector(person('Ann'));
    await point(ann, 0.5, 0.5);
    await bob.waitForSelector(cursor('Ann'));
    await watch(bob);
    const id = await ann.evaluate(() => window.muster.client.id);
    await kill(ann);
    await Promise.all([gone(bob, person('Ann')), gone(bob, cursor('Ann'))]);
    const again = await open(known, 'Ann', room, { token: 'ann' });
    await bob.waitForSelector(person('Ann'));
    assert.deepEqual(await bob.evaluate(() => window.flaps), [`left ${id}`, `null ${id}`]);
    await say(bob, 'welcome back');
    await says(again, 'welcome back');
  });

  test('a tab that crashed and is loaded again resumes', async () => {
    const room = newRoom();
    const [ann, bob] = [await open(known, 'Ann', room, { token: 'ann' }), await open(known, 'Bob', room, { token: 'bob' })];
    await bob.waitForSelector(person('Ann'));
    await say(ann, 'before');
    await watch(bob);
    const id = await ann.evaluate(() => window.muster.client.id);
    const session = await kill(ann);                         // from here on by this session: the driver gives a crashed page up
    await say(bob, 'meanwhile');
    await session.send('Page.reload');
    const evaluate = async (expression) => (await session.send('Runtime.evaluate', { expression, returnByValue: true })).result.value;
    const lines = "[...document.querySelectorAll('[data-test=chat-message]')].map((item) => `${item.dataset.name}: ${item.querySelector('p').textContent}`)";
    const end = Date.now() + DEADLINE;
    for (let back = []; back[1]?.length !== 2;) {
      assert.ok(Date.now() < end, `after the reload: ${JSON.stringify(back)}`);
      back = await evaluate(`[window.muster?.client.id, ${lines}]`).catch(() => []) ?? [];
    }
    assert.equal(await evaluate('window.muster.client.id'), id);
    assert.deepEqual(await evaluate(lines), ['Ann: before', 'Bob: meanwhile']);
    assert.deepEqual(await bob.evaluate(() => window.flaps), []);
  });

  test('a network that falls silent: noticed, and back by resume with nothing lost and nothing twice', async () => {
    const room = newRoom();
    const proxy = await startProxy(known);
    const [ann, bob] = [await open(proxy, 'Ann', room, { token: 'ann' }), await open(known, 'Bob', room, { token: 'bob' })];
    await bob.waitForSelector(person('Ann'));
    await watch(bob);
    await hear(ann);
    await say(bob, 'heard');
    await says(ann, 'heard');
    proxy.silence();
    for (let n = 1; n <= 5; ++n) await say(bob, `unheard ${n}`);
    await ann.waitForSelector('[data-test=status][data-resumed=true]', { timeout: 2 * DEADLINE });
    await live(ann);
    await says(ann, 'unheard 5');
    assert.deepEqual(await ann.evaluate(() => window.heard), ['heard', 1, 2, 3, 4, 5].map((n) => (n === 'heard' ? n : `unheard ${n}`)));
    assert.deepEqual(await bob.evaluate(() => window.flaps), []);
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await proxy.close();
  });

  test('while it waits it says for how long, and when it is back in its session that too', async () => {
    const room = newRoom();
    const proxy = await startProxy(known);
    const ann = await open(proxy, 'Ann', room, { token: 'ann' });
    const texts = () => ann.evaluate(() => window.texts);
    await ann.evaluate(() => {
      window.texts = [];
      new MutationObserver(() => window.texts.push(document.getElementById('status-text').textContent)).observe(document.getElementById('status-text'), { childList: true, characterData: true, subtree: true });
    });
    proxy.cut();
    await ann.waitForFunction(() => window.texts.at(-1) === 'Resumed');
    assert.match((await texts())[0], /^Reconnecting in 1 s$/);
    if (process.env.MUSTER_SCREENSHOT) await ann.screenshot({ path: process.env.MUSTER_SCREENSHOT.replace(/\.png$/, '-resumed.png') });
    await ann.waitForFunction(() => window.texts.at(-1) === 'Live');
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];
    await proxy.close();
  });

  test('it looks like this', { skip: !process.env.MUSTER_SCREENSHOT }, async () => {
    const room = newRoom();
    const [ann, bob, eve] = [await open(server, 'Ann', room, { deviceScaleFactor: 2 }), await open(server, 'Bob', room), await open(server, 'Eve', room)];
    await draw(ann, 'rectangle', [0.08, 0.1], [0.34, 0.4]);
    await draw(bob, 'ellipse', [0.44, 0.18], [0.62, 0.48]);
    await draw(eve, 'note', [0.7, 0.5], [0.86, 0.76]);
    await eve.keyboard.type('Who writes the release notes?');
    await eve.keyboard.press('Escape');
    await say(bob, 'Morning! Shall we start with the left half?');
    await say(ann, 'Yes. I am already there.');
    await point(bob, 0.3, 0.62);
    await point(eve, 0.66, 0.3);
    await Promise.all([at(ann, cursor('Bob'), 0.3, 0.62), at(ann, cursor('Eve'), 0.66, 0.3), ann.locator('[data-test=shape]', { hasText: 'release' }).waitFor(), says(eve, 'already there')]);
    await ann.screenshot({ path: process.env.MUSTER_SCREENSHOT });
  });
});
