// The page's whole state and every way it changes: pure functions from a state to the next. Knows no page and no network.
//
// One thing is changed in place: the map of missions. To copy ten thousand entries sixty times a second would cost
// more than all the rest; `revision` tells that it changed.
import { cutAfter, newFeed, listed, order, undisturbed } from './list.js';
import { isFinal, isUnconfirmed, parseMission } from './missions.js';
import { HOME, listKey } from './url.js';

/** @typedef {import('./missions.js').Mission} Mission */
/** @typedef {import('./missions.js').Action | 'answer'} Deed */
/** @typedef {import('./url.js').Route} Route */
/** @typedef {import('./list.js').Feed} Feed */

/**
 * @typedef {object} Connection
 * @property {'connecting' | 'live' | 'reconnecting' | 'offline'} phase
 * @property {number | null} latency_ms
 * @property {number | null} as_of browser time at which the picture was last known to be right
 */

/** @typedef {{id: number, tone: 'info' | 'success' | 'error', text: string, detail: string, mission: string}} Toast */
/** @typedef {{at: number, created: number, completed: number, failed: number, cancelled: number, running: number, tokens: number, cost: number, duration: number | null}} Point */

/**
 * @typedef {object} State
 * @property {Map<string, Mission>} missions
 * @property {number} revision +1 whenever a mission changed
 * @property {number} shape +1 whenever what is listed, or its order, may have changed
 * @property {boolean} aliveKnown whether every living mission is here
 * @property {boolean} loaded whether the first picture has come
 * @property {number} unreadable how many things the server sent that made no sense
 * @property {Record<string, any> | null} metrics
 * @property {readonly Point[]} history one a minute, the newest last
 * @property {{key: string, total: number, facets: Record<string, Record<string, number>>} | null} counts
 * @property {number | null} recentFailures failed among those created in the last hour
 * @property {Readonly<Record<string, number>>} recentNeeds of each of `PAST_NEEDS`, how many among those created in the last day
 * @property {Connection} connection
 * @property {{status: string, detail: string}} service
 * @property {Route} route
 * @property {Feed} feed
 * @property {readonly string[]} order ids as shown
 * @property {number} waiting how many new ones wait behind the pill
 * @property {number} passed how many of these have been forgotten again, for there were too many
 * @property {{scrolled: boolean, pointing: boolean}} reading
 * @property {string} cursor id of the mission the keyboard is at
 * @property {ReadonlySet<string>} checked
 * @property {ReadonlyMap<string, Deed>} acting what was asked and not yet answered
 * @property {boolean} paused
 * @property {ReadonlyMap<string, any>} held newest update of each mission while paused
 * @property {boolean} overfull while paused more came than is held; none is, and all is read anew afterwards
 * @property {number} renewals how often everything had to be read anew
 * @property {number} away changes that came after a gap, until dismissed
 * @property {readonly Toast[]} toasts
 * @property {{created: number, failed: number, completed: number, asked: readonly string[]}} news since it was last announced; of what asks, the ids
 */

/** Beyond this many missions some are forgotten: at the top of the list its last, elsewhere the new ones that ended. */
export const MOST_MISSIONS = 12_000;
const KEPT_MISSIONS = 10_000;
/** Missions of which changes are held while paused. */
export const MOST_HELD = 2000;
const MOST_TOASTS = 4;

/** @type {State['news']} */
export const NO_NEWS = Object.freeze({ created: 0, failed: 0, completed: 0, asked: [] });

/** @param {Route} [route] @returns {State} */
export function initialState(route = HOME) {
  return {
    missions: new Map(), revision: 0, shape: 0, aliveKnown: false, loaded: false, unreadable: 0,
    metrics: null, history: [], counts: null, recentFailures: null, recentNeeds: {},
    connection: { phase: 'connecting', latency_ms: null, as_of: null },
    service: { status: 'healthy', detail: '' },
    route, feed: newFeed(route), order: [], waiting: 0, passed: 0, reading: { scrolled: false, pointing: false },
    cursor: '', checked: new Set(), acting: new Map(), paused: false, held: new Map(), overfull: false, renewals: 0, away: 0, toasts: [],
    news: NO_NEWS,
  };
}

/**
 * Take missions in as the server sends them. One that is known applies only when its version is newer.
 * @param {State} state @param {unknown} raws
 * @returns {{state: State, changed: number}}
 */
export function takeMissions(state, raws) {
  if (!Array.isArray(raws)) return { state: { ...state, unreadable: state.unreadable + 1 }, changed: 0 };
  let { unreadable } = state;
  let changed = 0;
  let reshaped = false;
  for (const raw of raws) {
    const mission = parseMission(raw);
    if (!mission) {
      unreadable += 1;
      continue;
    }
    const known = state.missions.get(mission.id);
    if (known && !isNewer(mission, known)) continue;
    state.missions.set(mission.id, mission);
    changed += 1;
    reshaped ||= !known || movesInLists(known, mission) || state.route.sort !== '';
  }
  if (!changed) return { state: unreadable === state.unreadable ? state : { ...state, unreadable }, changed };
  return { state: { ...state, unreadable, revision: state.revision + 1, shape: state.shape + (reshaped ? 1 : 0) }, changed };
}

/**
 * Take in a page of the list. While paused, a newer version of what is shown waits as a live update would: the page may
 * have been asked for before the pause.
 * @param {State} state @param {unknown} raws @returns {State}
 */
export function takePage(state, raws) {
  if (!state.paused || !Array.isArray(raws)) return takeMissions(state, raws).state;
  /** @param {any} raw */
  const isShown = (raw) => state.missions.has(raw?.id);
  /** @param {any} raw */
  const isNews = (raw) => raw.version > Math.max(state.missions.get(raw.id)?.version ?? 0, state.held.get(raw.id)?.mission.version ?? 0);
  const newer = raws.filter((raw) => isShown(raw) && isNews(raw)).map((mission) => ({ mission_id: mission.id, mission }));
  const { state: taken } = takeMissions(state, raws.filter((raw) => !isShown(raw)));
  return takeUpdates(taken, newer);
}

/** A sign of life is news without being a new version. @param {Mission} come @param {Mission} known */
function isNewer(come, known) {
  return come.version > known.version || (come.version === known.version && (come.heartbeat_at ?? 0) > (known.heartbeat_at ?? 0));
}

/** @param {Mission} before @param {Mission} after */
function movesInLists(before, after) {
  return before.status !== after.status || before.agent_type !== after.agent_type || before.model_used !== after.model_used ||
    before.type !== after.type || before.stalled !== after.stalled || before.question?.id !== after.question?.id ||
    before.priority !== after.priority || before.budget_state !== after.budget_state || isUnconfirmed(before) !== isUnconfirmed(after);
}

/**
 * The picture at connect, or a whole new one. `fresh` forgets what was known before.
 * @param {State} state @param {any} payload @param {boolean} fresh
 * @returns {State}
 */
export function takeSnapshot(state, payload, fresh) {
  let before = state;
  if (fresh) {
    before = { ...state, missions: new Map(), feed: newFeed(state.route), order: [], waiting: 0, passed: 0, counts: null, shape: state.shape + 1, revision: state.revision + 1 };
  }
  const { state: taken, changed } = takeMissions(before, payload?.missions);
  const metrics = readMetrics(payload?.metrics) ?? taken.metrics;
  const away = state.loaded && !fresh ? state.away + changed : state.away;
  const next = { ...taken, metrics, away, loaded: true };
  // A server whose database is away says so right after this.
  const service = fresh ? state.service : { status: 'healthy', detail: '' };
  return { ...next, service, aliveKnown: (!fresh && state.aliveKnown) || holdsAllAlive(next), shape: next.shape + 1 };
}

/**
 * What changed while the connection was away.
 * @param {State} state @param {any} payload @returns {State}
 */
export function takeChanges(state, payload) {
  const { state: taken, changed } = takeMissions(state, payload?.missions);
  return { ...takeMetrics(taken, payload?.metrics), away: state.away + changed };
}

/** @param {State} state */
function holdsAllAlive({ missions, metrics }) {
  if (!metrics) return false;
  let alive = 0;
  for (const mission of missions.values()) alive += isFinal(mission) ? 0 : 1;
  return alive >= metrics.running_missions + (metrics.pending_missions ?? 0);
}

/**
 * One or more live updates, in order.
 * @param {State} state @param {readonly any[]} updates payloads of `mission_update`
 * @returns {State}
 */
export function takeUpdates(state, updates) {
  if (state.paused) return state.overfull ? state : withHeld(state, holding(state.held, updates));
  /** @type {any[]} */
  const newer = updates.filter((update) => (state.missions.get(update?.mission_id)?.version ?? 0) < update?.mission?.version);
  const before = new Map(newer.map((update) => [update.mission_id, state.missions.get(update.mission_id)]));
  const { state: taken } = takeMissions(state, updates.map((update) => update?.mission));
  return { ...taken, history: withUpdates(taken.history, newer, before), news: withNews(taken.news, newer) };
}

/** What is held for a tab that is paused and forgotten must not grow for days. @param {State} state @param {ReadonlyMap<string, any>} held @returns {State} */
const withHeld = (state, held) => (held.size > MOST_HELD ? { ...state, held: new Map(), overfull: true } : { ...state, held });

/** @param {ReadonlyMap<string, any>} held @param {readonly any[]} updates */
function holding(held, updates) {
  const next = new Map(held);
  for (const update of updates) {
    const known = next.get(update?.mission_id);
    if (update?.mission && !((known?.mission.version ?? 0) > update.mission.version)) next.set(update.mission_id, update);
  }
  return next;
}

/** @param {State['news']} news @param {readonly any[]} updates */
function withNews(news, updates) {
  /** @param {string} type */
  const many = (type) => updates.reduce((sum, update) => sum + (update.event_type === type ? 1 : 0), 0);
  const more = { created: many('mission_created'), failed: many('mission_failed'), completed: many('mission_completed') };
  const asked = updates.filter((update) => update.event_type === 'mission_question_asked').map((update) => update.mission_id);
  if (!more.created && !more.failed && !more.completed && !asked.length) return news;
  return { asked: asked.length ? [...new Set([...news.asked, ...asked])] : news.asked, created: news.created + more.created, failed: news.failed + more.failed, completed: news.completed + more.completed };
}

/** @type {Readonly<Record<string, 'created' | 'completed' | 'failed' | 'cancelled'>>} */
const COUNTED = {
  mission_created: 'created', mission_completed: 'completed', mission_failed: 'failed', mission_cancelled: 'cancelled',
};

/**
 * The minutes with these updates counted in, so that the newest bar moves; the server's own count replaces it each minute.
 * @param {readonly Point[]} history @param {readonly any[]} updates @param {Map<string, Mission | undefined>} before
 * @returns {readonly Point[]}
 */
function withUpdates(history, updates, before) {
  if (!history.length || !updates.length) return history;
  const last = { ...history[history.length - 1] };
  const rest = history.slice(0, -1);
  for (const update of updates) {
    const at = Math.floor(Date.parse(update.timestamp) / 60_000) * 60_000;
    if (at !== last.at) continue;
    const counted = COUNTED[update.event_type];
    if (counted) last[counted] += 1;
    const known = before.get(update.mission_id);
    last.tokens += Math.max(0, (update.mission.tokens_used ?? 0) - (known?.tokens_used ?? 0));
    last.cost += Math.max(0, (update.mission.cost_estimate ?? 0) - (known?.cost_estimate ?? 0));
  }
  return [...rest, last];
}

/** Stop or go on painting what arrives. @param {State} state @param {boolean} paused @returns {State} */
export function pause(state, paused) {
  if (paused) return { ...state, paused };
  const held = [...state.held.values()];
  return takeUpdates({ ...state, paused, held: new Map(), overfull: false, renewals: state.renewals + Number(state.overfull) }, held);
}

/** @param {any} raw */
export function readMetrics(raw) {
  if (!raw || typeof raw !== 'object' || typeof raw.total_missions !== 'number') return null;
  return raw;
}

/**
 * How many missions a list would show, of one status or of all: the metrics count those too that retention removed.
 * @param {Record<string, any>} metrics @param {string} [status] @returns {number | null}
 */
export function listedCount(metrics, status) {
  const removed = metrics.removed_missions ?? {};
  if (status) return metrics[`${status}_missions`] === undefined ? null : metrics[`${status}_missions`] - (removed[status] ?? 0);
  return Object.values(removed).reduce((left, number) => left - number, metrics.total_missions);
}

/** @param {State} state @param {any} raw @returns {State} */
export function takeMetrics(state, raw) {
  const metrics = readMetrics(raw);
  if (!metrics) return { ...state, unreadable: state.unreadable + 1 };
  return state.paused ? state : { ...state, metrics };
}

/** @param {State} state @param {any} raws @returns {State} */
export function takeHistory(state, raws) {
  if (!Array.isArray(raws)) return { ...state, unreadable: state.unreadable + 1 };
  /** @param {any} value */
  const number = (value) => (Number.isFinite(value) ? Number(value) : 0);
  const history = raws
    .filter((raw) => Number.isFinite(Date.parse(raw?.at)))
    .map((raw) => ({
      at: Date.parse(raw.at), created: number(raw.created), completed: number(raw.completed), failed: number(raw.failed),
      cancelled: number(raw.cancelled), running: number(raw.running), tokens: number(raw.tokens), cost: number(raw.cost),
      duration: Number.isFinite(raw.duration_p50) ? raw.duration_p50 : null,
    }));
  return { ...state, history };
}

/** The minutes up to now, so that the bars move on while nothing happens. @param {State} state @param {number} now @returns {State} */
export function advanceMinutes(state, now) {
  const { history, metrics, paused } = state;
  const newest = history[history.length - 1];
  const minute = Math.floor(now / 60_000) * 60_000;
  if (!newest || paused || minute <= newest.at || minute > newest.at + 3_600_000) return state;
  const added = [];
  for (let at = newest.at + 60_000; at <= minute; at += 60_000) {
    added.push({ at, created: 0, completed: 0, failed: 0, cancelled: 0, running: metrics?.running_missions ?? 0, tokens: 0, cost: 0, duration: null });
  }
  return { ...state, history: [...history, ...added].slice(-history.length) };
}

/** Go somewhere else. @param {State} state @param {Route} route @returns {State} */
export function goTo(state, route) {
  if (listKey(route) === listKey(state.route)) return { ...state, route };
  return {
    ...state, route, feed: newFeed(route), shape: state.shape + 1, order: [], waiting: 0, passed: 0, checked: new Set(),
    counts: null,
  };
}

/**
 * Put the list in order: at once for one who looks at its top, without moving anything for one who reads.
 * @param {State} state @param {number} now @returns {State}
 */
export function arrange(state, now) {
  const reading = (state.reading.scrolled || state.reading.pointing) && state.order.length > 0;
  const before = state.passed && !reading ? startOver(state) : state;
  const fresh = order(before.missions.values(), listed(before.route, before.feed, before.aliveKnown, now), before.route.sort);
  const tooMany = before.missions.size > MOST_MISSIONS && !before.route.sort;
  if (reading) {
    const { order: shown, waiting } = undisturbed(before.order, fresh);
    const next = { ...before, order: shown, waiting: waiting + before.passed };
    return tooMany ? forgetNews(next, fresh) : next;
  }
  return tooMany ? forgetLast(before, fresh) : { ...before, order: fresh, waiting: 0 };
}

/**
 * Forget what came and ended while somebody read on; it is only counted.
 * @param {State} state @param {readonly string[]} listedIds @returns {State}
 */
function forgetNews(state, listedIds) {
  const listed = new Set(listedIds);
  const passed = forgetFinal(state, state.order).filter((id) => listed.has(id)).length;
  return { ...state, passed: state.passed + passed };
}

/** Read the list anew from its top: the newest of it have been forgotten. @param {State} state @returns {State} */
function startOver(state) {
  forgetFinal(state, []);
  return { ...state, feed: newFeed(state.route), passed: 0 };
}

/** @param {State} state @param {readonly string[]} but the ids to keep; what is open or chosen stays anyway */
function forgetFinal({ missions, route, cursor, checked }, but) {
  const kept = new Set([...but, route.mission, cursor, ...checked]);
  const forgotten = [...missions.values()].filter((mission) => isFinal(mission) && !kept.has(mission.id)).map(({ id }) => id);
  for (const id of forgotten) missions.delete(id);
  return forgotten;
}

/**
 * Keep the first of the list and everything alive; what is forgotten is read again by scrolling to it.
 * @param {State} state @param {readonly string[]} listedIds @returns {State}
 */
function forgetLast(state, listedIds) {
  const order = listedIds.slice(0, KEPT_MISSIONS);
  forgetFinal(state, order);
  const last = state.missions.get(order[order.length - 1] ?? '');
  const feed = last && order.length < listedIds.length ? cutAfter(state.feed, last) : state.feed;
  return { ...state, order, waiting: 0, feed };
}

/** Show what waited behind the pill. @param {State} state @param {number} now @returns {State} */
export function showNew(state, now) {
  return arrange({ ...state, reading: { scrolled: false, pointing: false } }, now);
}

/** The mission that stands `steps` after the keyboard's. @param {State} state @param {number} steps */
export function neighbour({ order: ids, cursor, route }, steps) {
  if (!ids.length) return '';
  const at = ids.indexOf(cursor || route.mission);
  if (at < 0) return steps > 0 ? ids[0] : ids[ids.length - 1];
  return ids[Math.min(ids.length - 1, Math.max(0, at + steps))];
}

/** @param {State} state @param {string} id @returns {State} */
export function toggleChecked(state, id) {
  const checked = new Set(state.checked);
  if (!checked.delete(id)) checked.add(id);
  return { ...state, checked };
}

/** @param {State} state @param {string} id @param {Deed | null} action @returns {State} */
export function setActing(state, id, action) {
  const acting = new Map(state.acting);
  if (action) acting.set(id, action);
  else acting.delete(id);
  return { ...state, acting };
}

/** @param {State} state @param {Omit<Toast, 'id'>} toast @param {number} id @returns {State} */
export function addToast(state, toast, id) {
  const others = state.toasts.filter((known) => known.text !== toast.text || known.detail !== toast.detail);
  return { ...state, toasts: [...others, { ...toast, id }].slice(-MOST_TOASTS) };
}

/** @param {State} state @param {number} id @returns {State} */
export function dropToast(state, id) {
  return { ...state, toasts: state.toasts.filter((toast) => toast.id !== id) };
}
