// Who this tab is: a name and a colour, from the address (?name=Ann&color=d6336c), else as remembered, else made up.
// What somebody chose is remembered for every tab, what was made up for this one.

export const COLORS = ['#6e56cf', '#2f6fde', '#0f8577', '#3a8a2e', '#b86e00', '#cf4a1c', '#d6336c', '#9c3fb4'];
const NAMES = ['Otter', 'Heron', 'Lynx', 'Marten', 'Wren', 'Badger', 'Puffin', 'Fox', 'Ibis', 'Hare', 'Kestrel', 'Newt'];
const MOODS = ['Quiet', 'Merry', 'Swift', 'Curious', 'Bold', 'Gentle', 'Bright', 'Calm', 'Witty', 'Keen'];

const any = (list) => list[Math.floor(Math.random() * list.length)];
const address = new URLSearchParams(location.search);

function remembered(key) { try { return sessionStorage.getItem(`muster.${key}`) ?? localStorage.getItem(`muster.${key}`); } catch { return null; } }
function remember(storage, values) {
  try { for (const key in values) storage().setItem(`muster.${key}`, values[key]); } catch { /* storage is switched off */ }
}

const hex = address.get('color');
const chosen = /^[0-9a-f]{6}$/i.test(hex ?? '') ? `#${hex}` : remembered('color');
export const me = {
  name: (address.get('name') || remembered('name') || `${any(MOODS)} ${any(NAMES)}`).slice(0, 32),
  color: chosen ?? any(COLORS),
  colorIsChosen: chosen !== null,
};
remember(() => sessionStorage, { name: me.name, color: me.color });

export function rename(name, color) {
  Object.assign(me, { name, color, colorIsChosen: true });
  remember(() => sessionStorage, { name, color });
  remember(() => localStorage, { name, color });
}

/** A made-up colour gives way to those already here. True if it changed. */
export function avoid(taken) {
  const free = COLORS.filter((color) => !taken.has(color));
  if (me.colorIsChosen || !taken.has(me.color) || free.length === 0) return false;
  me.color = any(free);
  remember(() => sessionStorage, { color: me.color });
  return true;
}

export const initials = (name) => name.split(/\s+/).filter(Boolean).slice(0, 2).map((word) => [...word][0].toUpperCase()).join('') || '?';

/** Black or white, whichever reads better on this colour. */
export function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.36 ? '#16171a' : '#ffffff';
}
