// The log and the spans of the open mission: read when their tab is opened, and followed live while it is.
import * as api from './api.js';
import { sentence } from './actions.js';
import { signal } from './html.js';
import { newLog, withLines, withSpans } from './lines.js';

/** @typedef {'logs' | 'spans'} Kind */

/**
 * @typedef {object} Records
 * @property {string} id the mission's
 * @property {Kind | ''} kind
 * @property {import('./lines.js').Log} log
 * @property {ReadonlyMap<string, import('./lines.js').Span>} spans
 * @property {boolean} read whether what was there has come
 * @property {boolean} cut whether there is more before what is here
 * @property {string} problem
 */

const LAST_LINES = 500;
const PAGE = 1000;
const MOST_PAGES = 3;
const GATHER_MS = 120;
const STILL_MS = 150;

/** @returns {Records} */
const nothing = () => ({ id: '', kind: '', log: newLog(), spans: new Map(), read: false, cut: false, problem: '' });

export const records = signal(nothing());

/** Where to read on. */
let cursor = '';
/** What came live and is not painted yet. @type {any[]} */
let waiting = [];
let due = 0;
let readingOn = false;
/** @type {AbortController | null} */
let asked = null;
/** @type {{emit: (event: string, ...said: any[]) => unknown, on: (event: string, heard: (payload?: any) => void) => unknown} | null} */
let socket = null;

/** Follow over this connection. @param {NonNullable<typeof socket>} connection */
export function followRecords(connection) {
  socket = connection;
  socket.on('connect', () => {
    if (!records.value.id) return;
    watch();
    if (records.value.read) readOn();
  });
  socket.on('mission_logs', (payload) => hear('logs', payload, payload?.lines));
  socket.on('mission_spans', (payload) => hear('spans', payload, payload?.spans));
}

/** Attend to the log or the spans of a mission, or to nothing. @param {string} id @param {string} tab */
export function attendRecords(id, tab) {
  const kind = tab === 'logs' || tab === 'spans' ? tab : '';
  const wanted = kind ? id : '';
  const before = records.peek();
  if (before.id === wanted && before.kind === kind) return;
  asked?.abort();
  clearTimeout(due);
  due = 0;
  waiting = [];
  cursor = '';
  if (before.id && before.id !== wanted) socket?.emit('unwatch_mission', { mission_id: before.id });
  records.value = { ...nothing(), id: wanted, kind: wanted ? kind : '' };
  if (!wanted) return;
  asked = new AbortController();
  const { signal: stop } = asked;
  // Leafing quickly from mission to mission asks for none of those passed.
  setTimeout(() => stop.aborted || begin(), STILL_MS);
}

/** Try again after a fault. */
export function readRecordsAgain() {
  const { id, kind } = records.value;
  attendRecords('', '');
  attendRecords(id, kind);
}

function watch() {
  const { id } = records.value;
  socket?.emit('watch_mission', { mission_id: id }, (/** @type {any} */ answer) => {
    if (answer?.error) patch(id, { problem: `What is new does not come by itself: ${answer.error}` });
  });
}

/** First listen, then read, so that nothing falls between. */
async function begin() {
  watch();
  const { id, kind } = records.value;
  const { signal: stop } = /** @type {AbortController} */ (asked);
  try {
    if (kind === 'logs') {
      const answer = await api.getLastLogs(id, LAST_LINES, stop);
      cursor = answer.cursor;
      patch(id, { log: withLines(newLog(), answer.lines), read: true, cut: answer.lines.length >= LAST_LINES });
    } else {
      await readPages(id, 'spans', stop);
      patch(id, { read: true });
    }
    paint();
  } catch (error) {
    if (!stop.aborted) patch(id, { problem: sentence(error) });
  }
}

/** Read what came since the cursor. */
async function readOn() {
  const { id, kind } = records.value;
  const stop = asked?.signal;
  if (!kind || !stop || readingOn) return;
  readingOn = true;
  try {
    await readPages(id, kind, stop);
  } catch (error) {
    if (!stop.aborted) patch(id, { problem: sentence(error) });
  } finally {
    readingOn = false;
    paint();
  }
}

/** @param {string} id @param {Kind} kind @param {AbortSignal} stop */
async function readPages(id, kind, stop) {
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const answer = await api.getRecords(id, kind, cursor, PAGE, stop);
    cursor = answer.cursor;
    const before = records.value;
    patch(id, kind === 'logs' ? { log: withLines(before.log, answer.lines) } : { spans: withSpans(before.spans, answer.spans) });
    if (!answer.more) return;
  }
  patch(id, { cut: true });
}

/** @param {Kind} kind @param {any} payload @param {unknown} items */
function hear(kind, payload, items) {
  const { id, kind: open } = records.peek();
  if (payload?.mission_id !== id || kind !== open || !Array.isArray(items)) return;
  waiting.push(payload);
  due ||= window.setTimeout(paint, document.hidden ? 10 * GATHER_MS : GATHER_MS);
}

function paint() {
  due = 0;
  const { id, kind, read } = records.value;
  // What was there before goes first.
  if (!read || readingOn) return;
  const news = waiting;
  waiting = [];
  let { log, spans } = records.value;
  let missed = false;
  for (const payload of news) {
    missed ||= payload.missed === true;
    if (missed) break;
    if (kind === 'logs') log = withLines(log, payload.lines);
    else spans = withSpans(spans, payload.spans);
    cursor = payload.cursor;
  }
  patch(id, { log, spans });
  if (missed) readOn();
}

/** @param {string} id @param {Partial<Records>} more */
function patch(id, more) {
  if (records.value.id === id) records.value = { ...records.value, ...more };
}
