// Log lines and spans as the page keeps and lays them out. Pure.

/** @typedef {{id: string, at: number, level: string, message: string}} Line */
/** @typedef {{key: number, lines: readonly Line[]}} Chunk lines that are drawn together */
/** @typedef {{chunks: readonly Chunk[], ids: Set<string>, dropped: boolean}} Log the ids are changed in place */

/**
 * @typedef {object} Span
 * @property {string} id
 * @property {string | null} parent_id
 * @property {string} name
 * @property {string} kind
 * @property {number} started_at
 * @property {number | null} ended_at
 * @property {string} model
 * @property {number | null} tokens
 * @property {number | null} cost
 * @property {string} error
 * @property {any} attributes
 */

export const LEVELS = /** @type {const} */ (['debug', 'info', 'warning', 'error', 'critical']);
/** How many lines are kept; the oldest go first. */
export const MOST_LINES = 3000;
export const MOST_SPANS = 2000;
const CHUNK = 100;

/** @returns {Log} */
export const newLog = () => ({ chunks: [], ids: new Set(), dropped: false });

/** @param {any} raw @returns {Line | null} */
function parseLine(raw) {
  const at = Date.parse(raw?.at);
  if (typeof raw?.id !== 'string' || typeof raw.message !== 'string' || !Number.isFinite(at)) return null;
  return { id: raw.id, at, level: LEVELS.includes(raw.level) ? raw.level : 'info', message: raw.message };
}

/**
 * The log with lines added at its end; what is there already is not added again.
 * @param {Log} log @param {unknown} raws @returns {Log}
 */
export function withLines(log, raws) {
  if (!Array.isArray(raws)) return log;
  const added = [];
  for (const raw of raws) {
    const line = parseLine(raw);
    if (!line || log.ids.has(line.id)) continue;
    log.ids.add(line.id);
    added.push(line);
  }
  if (!added.length) return log;
  const chunks = [...log.chunks];
  for (const line of added) {
    const last = chunks[chunks.length - 1];
    if (last && last.lines.length < CHUNK) chunks[chunks.length - 1] = { key: last.key, lines: [...last.lines, line] };
    else chunks.push({ key: (last?.key ?? -1) + 1, lines: [line] });
  }
  return shortened({ ...log, chunks });
}

/** @param {Log} log @returns {Log} */
function shortened(log) {
  const spare = log.chunks.length - 1 - MOST_LINES / CHUNK;
  if (spare <= 0) return log;
  for (const { lines } of log.chunks.slice(0, spare)) for (const { id } of lines) log.ids.delete(id);
  return { ...log, chunks: log.chunks.slice(spare), dropped: true };
}

/** @param {Log} log */
export const linesOf = ({ chunks }) => chunks.flatMap(({ lines }) => lines);

/** A predicate for the lines a reader wants. @param {string} level the least that matters @param {string} sought */
export function lineMatcher(level, sought) {
  const least = LEVELS.indexOf(/** @type {any} */ (level));
  const words = sought.toLowerCase();
  return (/** @type {Line} */ line) => LEVELS.indexOf(/** @type {any} */ (line.level)) >= least && (!words || line.message.toLowerCase().includes(words));
}

/** @param {any} raw @returns {Span | null} */
function parseSpan(raw) {
  const started = Date.parse(raw?.started_at);
  const ended = Date.parse(raw?.ended_at);
  if (typeof raw?.id !== 'string' || typeof raw.name !== 'string' || !Number.isFinite(started)) return null;
  const { input_tokens: input, output_tokens: output } = raw.usage ?? {};
  return {
    id: raw.id, parent_id: typeof raw.parent_id === 'string' ? raw.parent_id : null, name: raw.name, kind: String(raw.kind ?? ''),
    started_at: started, ended_at: Number.isFinite(ended) ? ended : null, model: String(raw.model ?? ''),
    tokens: Number.isFinite(input) || Number.isFinite(output) ? (input ?? 0) + (output ?? 0) : null,
    cost: Number.isFinite(raw.cost) ? raw.cost : null, error: String(raw.error ?? ''), attributes: raw.attributes ?? {},
  };
}

/**
 * The spans with others added; the same id again replaces.
 * @param {ReadonlyMap<string, Span>} spans @param {unknown} raws @returns {ReadonlyMap<string, Span>}
 */
export function withSpans(spans, raws) {
  if (!Array.isArray(raws) || !raws.length) return spans;
  const next = new Map(spans);
  for (const raw of raws) {
    const span = parseSpan(raw);
    if (span && (next.has(span.id) || next.size < MOST_SPANS)) next.set(span.id, span);
  }
  return next;
}

/**
 * The spans as rows of a waterfall: each under its parent, the earliest first, with its place in time in percent.
 * One whose parent is not here, or is below itself, stands on its own.
 * @param {ReadonlyMap<string, Span>} spans @param {number} now milliseconds
 * @returns {{span: Span, depth: number, from: number, width: number, seconds: number}[]}
 */
export function waterfall(spans, now) {
  if (!spans.size) return [];
  /** @type {Map<string, Span[]>} */
  const parts = new Map();
  let from = Infinity;
  let to = -Infinity;
  for (const span of spans.values()) {
    const parent = span.parent_id !== null && spans.has(span.parent_id) ? span.parent_id : '';
    const siblings = parts.get(parent);
    if (siblings) siblings.push(span);
    else parts.set(parent, [span]);
    from = Math.min(from, span.started_at);
    to = Math.max(to, span.ended_at ?? Math.max(now, span.started_at));
  }
  const whole = Math.max(1, to - from);
  /** @type {{span: Span, depth: number, from: number, width: number, seconds: number}[]} */
  const rows = [];
  const seen = new Set();
  /** @param {readonly Span[]} siblings @param {number} depth */
  const lay = (siblings, depth) => {
    const waiting = [...siblings].sort(laterFirst).map((span) => ({ span, depth }));
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      if (seen.has(next.span.id)) continue;
      seen.add(next.span.id);
      const end = next.span.ended_at ?? Math.max(now, next.span.started_at);
      const ran = Math.max(0, end - next.span.started_at);
      rows.push({ ...next, from: ((next.span.started_at - from) / whole) * 100, width: (ran / whole) * 100, seconds: ran / 1000 });
      const below = next.depth + 1;
      for (const part of [...(parts.get(next.span.id) ?? [])].sort(laterFirst)) waiting.push({ span: part, depth: below });
    }
  };
  lay(parts.get('') ?? [], 0);
  // What is left is in a circle.
  if (seen.size < spans.size) lay([...spans.values()].filter(({ id }) => !seen.has(id)), 0);
  return rows;
}

/** @param {Span} a @param {Span} b */
const laterFirst = (a, b) => b.started_at - a.started_at || (a.id < b.id ? 1 : -1);
