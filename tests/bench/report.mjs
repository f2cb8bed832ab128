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

/** One row with its figures, or null where its scenario was not measured. `results`: scenario id -> server -> medians. */
export function evaluate(row, results) {
  const measured = results[row.scenario.id];
  const beside = row.beside ? results[row.beside.id] : {};
  if (!measured?.muster || (row.beside && !beside?.muster)) return null;
  const figures = {};
  for (const server of row.scenario.servers) {
    if (measured[server] && (!row.beside || beside[server])) figures[server] = row.figure(measured[server], beside[server]);
  }
  const { muster, floor, plain } = figures;
  const ratios = row.unit === '%' || row.unit === 'x' ? {} : { ofFloor: muster / floor, ofPlain: plain / muster };
  const checks = [
    ['ofFloor', (limit) => `<= ${limit} x floor`, (limit) => ratios.ofFloor <= limit],
    ['ofPlain', (limit) => `plain >= ${limit} x`, (limit) => ratios.ofPlain >= limit],
    ['atMost', (limit) => `<= ${limit} ${row.unit}`, (limit) => muster <= limit],
    ['atLeast', (limit) => `>= ${limit} ${row.unit}`, (limit) => muster >= limit],
  ].filter(([name]) => row[name] !== undefined);
  return {
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
  const head = ['', 'unit', 'muster', 'floor', 'plain', 'muster/floor', 'plain/muster', 'target', 'met'];
  const lines = rows.map((row) => [
    row.title, row.unit,
    ...['muster', 'floor', 'plain'].map((server) => number(row.figures[server], row.digits)),
    number(row.ratios.ofFloor, 2), number(row.ratios.ofPlain, 2),
    row.target, row.met === null ? '' : row.met ? 'yes' : 'NO',
  ]);
  const widths = head.map((name, column) => Math.max(name.length, ...lines.map((line) => line[column].length)));
  const isNumber = (column) => column >= 2 && column <= 6;
  const text = (line) => line.map((cell, i) => (isNumber(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ').trimEnd();
  return [text(head), text(widths.map((width) => '-'.repeat(width))), ...lines.map(text)].join('\n');
}
