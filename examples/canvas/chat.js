// The chat: a log in the room's order, who is writing, and a line to write. What could not be sent stays in the line.

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const TOGETHER = 3 * 60_000;         // ms within which messages of one person share a heading
const TYPING = 4_000;                // ms after the last key in which one counts as writing

export class Chat {
  #log; #typing; #own; #draft = newId(); #pause;

  /** `act.say(message)` returns a promise, `act.typing(yes)` is told; `own()` is this tab's connection id. */
  constructor({ log, typing, form, input }, act, own) {
    [this.#log, this.#typing, this.#own] = [log, typing, own];
    const stop = () => { clearTimeout(this.#pause); act.typing(false); };
    input.addEventListener('input', () => {
      clearTimeout(this.#pause);
      act.typing(input.value !== '');
      this.#pause = setTimeout(stop, TYPING);
    });
    input.addEventListener('blur', stop);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      stop();
      try {
        await act.say({ id: this.#draft, text });
        this.#draft = newId();                   // a draft that failed keeps its id: sent again, it shows once
        if (input.value.trim() === text) input.value = '';
      } catch (error) {
        act.failed(error);
      }
    });
  }

  show(entries) {
    this.#log.replaceChildren();
    let last;
    for (const entry of entries) { this.#append(entry, last); last = entry; }
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** One more entry; the newest is appended, so that it alone is read out. */
  add(entry, entries) {
    if (entry !== entries.at(-1)) return this.show(entries);
    const following = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 80;
    this.#append(entry, entries.at(-2));
    if (following || entry.from === this.#own()) this.#log.scrollTop = this.#log.scrollHeight;
  }

  typing(names) {
    const [first, second] = names;
    this.#typing.textContent = names.length === 0 ? '' : names.length === 1 ? `${first} is writing` : names.length === 2 ? `${first} and ${second} are writing` : 'Several people are writing';
    this.#typing.classList.toggle('on', names.length > 0);
  }

  #append({ id, name, color, text, at, from }, last) {
    const item = document.createElement('li');
    Object.assign(item.dataset, { test: 'chat-message', id, name });
    item.classList.toggle('own', from === this.#own());
    item.style.setProperty('--c', color);
    if (!last || last.from !== from || last.name !== name || at - last.at > TOGETHER) {
      const heading = document.createElement('h3');
      const when = Object.assign(document.createElement('time'), { dateTime: new Date(at).toISOString(), textContent: time.format(at) });
      heading.append(name, when);
      item.append(heading);
    }
    item.append(Object.assign(document.createElement('p'), { textContent: text }));
    this.#log.append(item);
  }
}

const newId = () => crypto.getRandomValues(new Uint32Array(2)).reduce((id, part) => id + part.toString(36), '');
