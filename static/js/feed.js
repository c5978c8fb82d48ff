// Reads what the page does not have yet: pages of the list, the counts on the filters, and the minutes of the last hour.
import * as api from './api.js';
import { sentence } from './actions.js';
import { nextSegment, withPage } from './list.js';
import { LIVE_NEEDS, PAST_NEEDS, parseMission } from './missions.js';
import { advanceMinutes, takeHistory, takePage } from './state.js';
import { change, changeNow, serverNow, state } from './store.js';
import { HOME, isFiltered, listKey, listQuery } from './url.js';

const FIRST_PAGE = 100;
const PAGE = 200;
/** Of each kind; nobody looks after more one by one. */
const MOST_WAITING = 1_000;
const SEARCH_PAUSE_MS = 200;
const COUNTS_EVERY_MS = 5_000;
const COUNTS_AFTER_FAULT_MS = 60_000;
const HISTORY_MINUTES = 60;
const TRY_AGAIN_MS = 5_000;

/** The key of the list that is being read. @type {string | null} */
let asking = null;
/** @type {AbortController | null} */
let asked = null;

/** Read the next page of the list, unless that is under way or there is none. */
export async function readMore() {
  const { feed, aliveKnown, route } = state.value;
  const segment = nextSegment(feed, aliveKnown);
  if (!segment || asking === feed.key || (feed.problem && feed.problem.until > Date.now())) return;
  asked?.abort();
  asked = new AbortController();
  asking = feed.key;
  const { signal } = asked;
  try {
    // Words are still being typed: only the last of them is worth a question.
    if (route.q && !segment.begun) await pause(SEARCH_PAUSE_MS, signal);
    change((before) => (before.feed.key === feed.key ? { ...before, feed: { ...before.feed, loading: true } } : before));
    const query = listQuery(route, segment.statuses, serverNow());
    query.set('limit', String(segment.begun ? PAGE : FIRST_PAGE));
    if (route.sort) query.set('sort', route.sort);
    if (segment.cursor) query.set('cursor', segment.cursor);
    else if (segment.begun && segment.frontier !== null) query.set('created_before', new Date(segment.frontier + 1).toISOString());
    const answer = await api.listMissions(query, signal);
    changeNow((before) => withAnswer(before, feed.key, segment, answer));
  } catch (error) {
    if (!signal.aborted) changeNow((before) => withProblem(before, feed.key, error));
  } finally {
    if (asking === feed.key && asked?.signal === signal) asking = null;
  }
}

/** @param {import('./state.js').State} before @param {string} key @param {import('./list.js').Segment} segment @param {any} answer */
function withAnswer(before, key, segment, answer) {
  const taken = takePage(before, answer.missions);
  if (taken.feed.key !== key) return taken;
  const cursor = typeof answer.next_cursor === 'string' ? answer.next_cursor : null;
  const last = parseMission(answer.missions?.at?.(-1)) ?? undefined;
  return { ...taken, feed: withPage(taken.feed, segment, cursor, last), shape: taken.shape + 1 };
}

/** @param {import('./state.js').State} before @param {string} key @param {unknown} error */
function withProblem(before, key, error) {
  if (before.feed.key !== key) return before;
  const wait = error instanceof api.Refusal ? waitFor(error) : TRY_AGAIN_MS;
  return { ...before, feed: { ...before.feed, loading: false, problem: { sentence: sentence(error), status: error instanceof api.Refusal ? error.status : 0, until: Date.now() + wait } } };
}

/** How long to wait before trying again; what the server calls wrong stays wrong. @param {api.Refusal} refusal */
function waitFor({ status, retryAfter }) {
  if (retryAfter) return retryAfter * 1000;
  return status >= 400 && status < 500 ? Infinity : TRY_AGAIN_MS;
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Try again now what failed. */
export function tryAgain() {
  change((before) => ({ ...before, feed: { ...before.feed, problem: null } }));
  setTimeout(readMore, 50);
}

let countsAsked = { key: '', at: 0, revision: -1 };

/** Read the counts on the filters, if this list's are not known or things have changed since. */
export async function readCounts() {
  const { route, revision, connection } = state.value;
  const key = listKey({ ...route, sort: '' });
  const isNew = countsAsked.key !== key;
  if (connection.phase !== 'live') return;
  if (!isNew && (countsAsked.revision === revision || Date.now() - countsAsked.at < (isFiltered(route) ? COUNTS_EVERY_MS : 12 * COUNTS_EVERY_MS))) return;
  countsAsked = { key, at: Date.now(), revision };
  if (isNew && route.q) await new Promise((resolve) => setTimeout(resolve, 2 * SEARCH_PAUSE_MS));
  if (countsAsked.key !== key) return;
  const query = listQuery(route, route.status, serverNow());
  query.set('limit', '1');
  query.set('facets', 'true');
  try {
    const { total, facets } = await api.listMissions(query);
    if (Number.isFinite(total)) change((before) => ({ ...before, counts: { key, total, facets: facets ?? {} } }));
  } catch {
    // The list itself tells what is wrong; counts that are not known are not shown.
    countsAsked.at = Date.now() + COUNTS_AFTER_FAULT_MS;
  }
}

/** Read the minutes of the last hour, and how many of its missions failed. */
export async function readHistory() {
  try {
    const { points } = await api.getHistory(HISTORY_MINUTES);
    change((before) => advanceMinutes(takeHistory(before, points), serverNow()));
    const query = listQuery({ ...HOME, since: '1h' }, ['failed'], serverNow());
    query.set('limit', '1');
    const { total } = await api.listMissions(query);
    change((before) => ({ ...before, recentFailures: Number.isFinite(total) ? total : null }));
    await readNeeds();
    await readWaiting();
  } catch {
    // Read again in a minute; until then the bars go on with what comes live.
  }
}

/** Read the missions that wait for a person now, where not all that are alive are known: the strip counts known ones. */
async function readWaiting() {
  for (const need of state.value.aliveKnown ? [] : LIVE_NEEDS) {
    const query = listQuery({ ...HOME, needs: need }, ['running'], serverNow());
    query.set('limit', String(PAGE));
    for (let page = 0; page < MOST_WAITING / PAGE; page += 1) {
      const { missions, next_cursor: cursor } = await api.listMissions(query);
      change((before) => takePage(before, missions));
      if (typeof cursor !== 'string') break;
      query.set('cursor', cursor);
    }
  }
}

/** From when on a mission that ended and needs a look is counted: what is older would stay in the strip for ever. */
export const NEEDS_SINCE = '24h';
const NEEDS_EVERY_MS = 3_000;
let needsDue = 0;
let needsAt = 0;

/** Read how many missions that ended need a look. */
async function readNeeds() {
  /** @type {Record<string, number>} */
  const found = {};
  for (const need of PAST_NEEDS) {
    const query = listQuery({ ...HOME, needs: need, since: NEEDS_SINCE }, ['cancelled'], serverNow());
    query.set('limit', '1');
    const { total } = await api.listMissions(query);
    if (Number.isFinite(total) && total > 0) found[need] = total;
  }
  change((before) => ({ ...before, recentNeeds: found }));
}

/** Read them soon, where this update may change them. @param {any} update */
export function heedNeeds(update) {
  const isOne = update?.event_type === 'mission_cancel_unconfirmed' || update?.event_type === 'mission_order_acknowledged' ||
    (update?.event_type === 'mission_cancelled' && update.mission?.budget_state === 'exceeded');
  if (!isOne || needsDue) return;
  needsDue = window.setTimeout(() => {
    needsDue = 0;
    needsAt = Date.now();
    readNeeds().catch(() => undefined);
  }, Math.max(SEARCH_PAUSE_MS, needsAt + NEEDS_EVERY_MS - Date.now()));
}
