// A line plot with logarithmic axes, as SVG.

const WIDTH = 720, HEIGHT = 440;
const AREA = { left: 76, right: WIDTH - 120, top: 56, bottom: HEIGHT - 60 };
const INK = '#1f2328', MUTED = '#656d76', GRID = '#e3e6ea';

const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;');

const text = (x, y, content, { anchor = 'middle', size = 12, fill = MUTED, weight = 'normal', turn = '' } = {}) =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="${fill}"${turn && ` transform="rotate(${turn} ${x} ${y})"`}>${escape(content)}</text>`;

const line = (x1, y1, x2, y2) => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${GRID}"/>`;

/** Maps [low, high] to [from, to] by the logarithm. */
const logarithmic = (low, high, from, to) => (value) => from + (Math.log(value / low) / Math.log(high / low)) * (to - from);

/** 1, 2 and 5 times each power of ten from low to high, both included. */
function ticks(low, high) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    for (const digit of [1, 2, 5]) {
      const value = Number((digit * power).toPrecision(1));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found;
}

/** The nearest of 1, 2, 5 times a power of ten, downwards or upwards. */
function round(value, up) {
  const all = ticks(value / 20, value * 20);
  return up ? all.find((tick) => tick >= value) : all.findLast((tick) => tick <= value);
}

/** `series`: [{name, color, points: [[x, y], ...]}], each with two points at least; x values are the ticks of their axis. */
export function plot({ title, xLabel, yLabel, series }) {
  const points = series.flatMap((one) => one.points);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const [low, high] = [round(Math.min(...points.map(([, y]) => y)), false), round(Math.max(...points.map(([, y]) => y)), true)];
  const x = logarithmic(xs[0], xs.at(-1), AREA.left, AREA.right);
  const y = logarithmic(low, high > low ? high : low * 10, AREA.bottom, AREA.top);
  const at = ([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`;

  const parts = [
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(AREA.left, 28, title, { anchor: 'start', size: 16, fill: INK, weight: '600' }),
    ...ticks(low, high).flatMap((tick) => [line(AREA.left, y(tick), AREA.right, y(tick)), text(AREA.left - 8, y(tick) + 4, tick, { anchor: 'end' })]),
    ...xs.map((tick) => text(x(tick), AREA.bottom + 20, tick.toLocaleString('en'))),
    text((AREA.left + AREA.right) / 2, HEIGHT - 16, xLabel),
    text(20, (AREA.top + AREA.bottom) / 2, yLabel, { turn: '-90' }),
  ];
  // Names stand at the ends of the lines, pushed apart where they would touch.
  let above = -Infinity;
  for (const one of [...series].sort((a, b) => b.points.at(-1)[1] - a.points.at(-1)[1])) {
    parts.push(`<polyline points="${one.points.map(at).join(' ')}" fill="none" stroke="${one.color}" stroke-width="2"/>`);
    for (const point of one.points) {
      const [cx, cy] = at(point).split(',');
      parts.push(`<circle cx="${cx}" cy="${cy}" r="4" fill="${one.color}" stroke="#ffffff" stroke-width="2"/>`);
    }
    above = Math.max(y(one.points.at(-1)[1]) + 4, above + 16);
    parts.push(text(AREA.right + 12, above, one.name, { anchor: 'start', fill: INK, size: 13 }));
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif">\n${parts.join('\n')}\n</svg>\n`;
}
