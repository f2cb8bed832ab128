// Figures of many runs as one table: medians, ratios, targets, and whether they are met.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** {figure: median over the runs} of all that the load client reported. */
export function medians(runs) {
  return Object.fromEntries(Object.keys(runs[0]).map((name) => [name, median(runs.map((run) => run[name]))]));
}

/** The runs {scenario id -> server -> reports}, and those of each row's scenario that pools the runs of others. */
export function withPools(runs, rows) {
  const all = { ...runs };
  for (const { id, pooled } of new Set(rows.map(({ scenario }) => scenario).filter(({ pooled }) => pooled))) {
    for (const [server, reports] of pooled.flatMap((one) => Object.entries(runs[one] ?? {}))) {
      ((all[id] ??= {})[server] ??= []).push(...reports);
    }
  }
  return all;
}

/** The columns of the table; those that nothing was measured of are left out. */
const SERVERS = ['muster', 'floor', 'plain', 'base', 'peer'];
const RATIOS = [
  ['ofFloor', 'muster/floor', ({ muster, floor }) => muster / floor],
  ['ofPlain', 'plain/muster', ({ muster, plain }) => plain / muster],
  ['ofBase', 'muster/base', ({ muster, base }) => muster / base],
  ['ofPeer', 'peer/muster', ({ muster, peer }) => peer / muster],
];
const OPTIONAL = ['base', 'peer'];

/** One row with its figures, or null where its scenario was not measured. `results`: scenario id -> server -> medians. */
export function evaluate(row, results) {
  const measured = results[row.scenario.id];
  const beside = row.beside ? results[row.beside.id] : {};
  if (!measured?.muster || (row.beside && !beside?.muster)) return null;
  const figures = {};
  for (const server of SERVERS) {
    if (measured[server] && (!row.beside || beside[server])) figures[server] = row.figure(measured[server], beside[server] ?? {});
  }
  const ratios = row.unit === '%' || row.unit === 'x' ? {} : Object.fromEntries(RATIOS.map(([name, , of]) => [name, of(figures)]));
  const checks = [
    ['ofFloor', (limit) => `<= ${limit} x floor`, (limit) => ratios.ofFloor <= limit],
    ['ofPlain', (limit) => `plain >= ${limit} x`, (limit) => ratios.ofPlain >= limit],
    ['ofBase', (limit) => `<= ${limit} x base`, (limit) => ratios.ofBase <= limit],
    ['atMost', (limit) => `<= ${limit} ${row.unit}`, (limit) => figures.muster <= limit],
    ['atLeast', (limit) => `>= ${limit} ${row.unit}`, (limit) => figures.muster >= limit],
  ].filter(([name]) => row[name] !== undefined && (name !== 'ofBase' || figures.base !== undefined));
  return {
    name: row.name,
    title: row.title,
    unit: row.unit,
    digits: row.digits ?? 2,
    figures,
    ratios,
    target: checks.map(([name, text]) => text(row[name])).join(', '),
    met: checks.length ? checks.every(([name, , holds]) => holds(row[name])) : null,
  };
}

const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '-');

export function table(rows) {
  const has = (server) => !OPTIONAL.includes(server) || rows.some(({ figures }) => figures[server] !== undefined);
  const shown = SERVERS.filter(has);
  const ratios = RATIOS.filter(([, head]) => head.split('/').every(has));
  const head = ['', 'unit', ...shown, ...ratios.map(([, name]) => name), 'target', 'met'];
  const lines = rows.map((row) => [
    row.title, row.unit,
    ...shown.map((server) => number(row.figures[server], row.digits)),
    ...ratios.map(([name]) => number(row.ratios[name], 2)),
    row.target, row.met === null ? '' : row.met ? 'yes' : 'NO',
  ]);
  const widths = head.map((name, column) => Math.max(name.length, ...lines.map((line) => line[column].length)));
  const isNumber = (column) => column >= 2 && column < head.length - 2;
  const text = (line) => line.map((cell, i) => (isNumber(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ').trimEnd();
  return [text(head), text(widths.map((width) => '-'.repeat(width))), ...lines.map(text)].join('\n');
}
