// Who this tab is: a name and a colour, from the address (?name=Ann&color=d6336c), else as remembered, else made up.

export const COLORS = ['#6e56cf', '#2f6fde', '#0f8577', '#3a8a2e', '#b86e00', '#cf4a1c', '#d6336c', '#9c3fb4'];
const NAMES = ['Otter', 'Heron', 'Lynx', 'Marten', 'Wren', 'Badger', 'Puffin', 'Fox', 'Ibis', 'Hare', 'Kestrel', 'Newt'];
const MOODS = ['Quiet', 'Merry', 'Swift', 'Curious', 'Bold', 'Gentle', 'Bright', 'Calm', 'Witty', 'Keen'];

const any = (list) => list[Math.floor(Math.random() * list.length)];
const address = new URLSearchParams(location.search);

function remembered(key) { try { return localStorage.getItem(`muster.${key}`); } catch { return null; } }
function remember(key, value) { try { localStorage.setItem(`muster.${key}`, value); } catch { /* private mode: not remembered */ } }

const hex = address.get('color');
export const me = {
  name: (address.get('name') || remembered('name') || `${any(MOODS)} ${any(NAMES)}`).slice(0, 32),
  color: /^[0-9a-f]{6}$/i.test(hex ?? '') ? `#${hex}` : remembered('color') || any(COLORS),
};

export function rename(name, color) {
  Object.assign(me, { name, color });
  remember('name', name);
  remember('color', color);
}

export const initials = (name) => name.split(/\s+/).filter(Boolean).slice(0, 2).map((word) => [...word][0].toUpperCase()).join('') || '?';

/** Black or white, whichever reads better on this colour. */
export function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.36 ? '#16171a' : '#ffffff';
}
