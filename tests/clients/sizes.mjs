// Messages of every size around each of the server's buffers, in both directions.

import assert from 'node:assert/strict';

const around = (size, ...offsets) => offsets.map((offset) => size + offset);

/** Bytes of a frame's payload. A frame's header has 2 to 14 bytes, which count where a read or a write ends. */
export const targets = [
  ...around(126, -1, 0, 1),                       // 7 bits of length, or 16
  ...around(256, -1, 0, 1),                       // what is compressed
  ...around(4096, -1, 0, 1),                      // the JSON reader's memory
  ...around(16 * 1024, -14, -8, -4, -1, 0, 1),    // a TLS record, a piece of history, of what is inflated and of what the system keeps unsent
  32 * 1024, 48 * 1024, 60 * 1024,
  ...around(64 * 1024, -14, -10, -8, -4, -1, 0, 1),  // 16 bits of length, or 64; the read buffer, a block, the soft mark
  128 * 1024,                                     // the limit
];

/** Text that hardly compresses, and the same each time. */
function noise(length, seed) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  let text = '', state = seed * 2654435761 >>> 0;
  while (text.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += letters[state >>> 26];
  }
  return text;
}

const publish = (data, echo = false) => `{"type":"publish","payload":{"room":"sizes","echo":${echo},"data":"${data}"}}`;
const aware = (id) => `{"type":"awareness_update","id":"${id}","payload":{"room":"sizes","clock":1,"state":null}}`;  // of nothing: a plain ack

/**
 * The script of a client in the room "sizes", where it says m1, m2, ... and is told o1, o2, ..., each of the next size; what
 * the observer does meanwhile; and `check` of what the client got.
 */
export async function sized(observer) {
  await observer.ask('join', { room: 'sizes' });
  observer.raw(publish('', true));
  const added = (await observer.take('message')).raw.length;                   // with a number of one digit
  observer.raw(aware(''));
  const ack = (await observer.take('ack')).raw.length;

  const script = [], expected = [], answers = [];
  let seq = 1;
  for (const target of targets) {
    const mine = `m${expected.length}:`, other = `o${expected.length}:`;
    const sent = mine + noise(target - publish('').length - mine.length, target);
    expected.push(sent);
    script.push(`send ${publish(sent)}`);
    seq += 2;
    const room = target - added - (String(seq).length - 1) - other.length;
    answers.push(other + noise(Math.max(room, 0), target + 1));
    script.push(`await "${other}`);
    if (room < 0) {                                // too small for a message: an answer to a long id
      const id = noise(target - ack, target);
      script.push(`send ${aware(id)}`, `await ${id}`);
    }
  }
  return {
    script,
    async answer() {
      for (const [i, data] of answers.entries()) {
        const { payload } = await observer.take(({ raw }) => raw.includes(`"m${i}:`), `m${i}`);
        assert.ok(payload.data === expected[i], `what the client sent as ${expected[i].length} bytes came as ${payload.data.length}`);
        observer.raw(publish(data));
      }
    },
    check(messages) {
      const got = messages.map((text) => JSON.parse(text)).filter(({ type }) => type === 'message').map(({ payload }) => payload.data);
      assert.equal(got.length, answers.length);
      got.forEach((data, i) => assert.ok(data === answers[i], `message ${i} of ${answers[i].length} bytes came as ${data.length}`));
      const lengths = new Set(messages.map((text) => text.length));
      assert.deepEqual(targets.filter((target) => !lengths.has(target)), [], 'sizes that the server did not send');
    },
  };
}
