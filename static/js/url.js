// The page's state that lives in its address: what is filtered, how it is shown, and which mission is open.
import { FINAL, NEEDS, PAST_NEEDS, PRIORITIES, STATUSES } from './missions.js';

/**
 * @typedef {object} Route
 * @property {readonly string[]} status
 * @property {readonly string[]} priority
 * @property {readonly string[]} type
 * @property {readonly string[]} agent_type
 * @property {readonly string[]} model_used
 * @property {string} q
 * @property {string} since a key of `SINCE`, or empty
 * @property {string} from when it finished at the earliest, RFC 3339, or empty
 * @property {string} to before when it finished
 * @property {string} parent
 * @property {string} needs one of `NEEDS`, or empty
 * @property {string} sort one of `SORTS`, with '-' for the largest first; empty is the list's own order
 * @property {string} view
 * @property {string} page one of `PAGES`, or empty: the missions
 * @property {string} mission id of the open one
 * @property {string} tab
 */

export const VIEWS = /** @type {const} */ (['cards', 'table', 'timeline']);
/** What there is besides the missions. */
export const PAGES = /** @type {const} */ (['system']);
export const TABS = /** @type {const} */ (['overview', 'timeline', 'spans', 'logs', 'result', 'sub']);
export const SORTS = /** @type {const} */ (['created_at', 'priority', 'duration', 'tokens_used', 'cost_estimate']);
/** @type {Readonly<Record<string, {label: string, minutes: number}>>} */
export const SINCE = {
  '15m': { label: 'Last 15 min', minutes: 15 },
  '1h': { label: 'Last hour', minutes: 60 },
  '24h': { label: 'Last 24 h', minutes: 1440 },
  '7d': { label: 'Last 7 days', minutes: 10080 },
};
/** The filters that hold several values. */
export const FACETS = /** @type {const} */ (['status', 'priority', 'type', 'agent_type', 'model_used']);
/** @typedef {typeof FACETS[number]} Facet */

const MAX_TEXT = 200;

/** @type {Route} */
export const HOME = Object.freeze({
  status: [], priority: [], type: [], agent_type: [], model_used: [],
  q: '', since: '', from: '', to: '', parent: '', needs: '', sort: '', view: 'cards', page: '', mission: '', tab: 'overview',
});

/** @param {string} search @returns {Route} */
export function parseRoute(search) {
  const given = new URLSearchParams(search);
  /** @param {string} name @param {readonly string[]} [allowed] */
  const many = (name, allowed) =>
    [...new Set(given.getAll(name))].filter((value) => value && value.length <= MAX_TEXT && (!allowed || allowed.includes(value)));
  /** @param {string} name @param {readonly string[]} allowed @param {string} [otherwise] */
  const one = (name, allowed, otherwise = '') => {
    const value = given.get(name) ?? '';
    return allowed.includes(value) ? value : otherwise;
  };
  /** @param {string} name */
  const moment = (name) => (Number.isFinite(Date.parse(given.get(name) ?? '')) ? new Date(given.get(name) ?? '').toISOString() : '');
  const sort = given.get('sort') ?? '';
  return {
    status: many('status', STATUSES),
    priority: many('priority', PRIORITIES),
    type: many('type'),
    agent_type: many('agent'),
    model_used: many('model'),
    q: (given.get('q') ?? '').slice(0, MAX_TEXT),
    since: one('since', Object.keys(SINCE)),
    from: moment('from'),
    to: moment('to'),
    parent: (given.get('parent') ?? '').slice(0, 255),
    needs: one('needs', NEEDS),
    sort: /** @type {readonly string[]} */ (SORTS).includes(sort.replace(/^-/, '')) ? sort : '',
    view: one('view', VIEWS, HOME.view),
    page: one('page', PAGES),
    mission: (given.get('mission') ?? '').slice(0, 255),
    tab: one('tab', TABS, HOME.tab),
  };
}

/** @param {Route} route @returns {string} empty, or beginning with '?' */
export function formatRoute(route) {
  const said = new URLSearchParams();
  for (const facet of FACETS) for (const value of route[facet]) said.append(NAMES[facet] ?? facet, value);
  for (const name of /** @type {const} */ (['q', 'since', 'from', 'to', 'parent', 'needs', 'sort', 'view', 'page', 'mission', 'tab'])) {
    if (route[name] === HOME[name] || (name === 'tab' && !route.mission)) continue;
    said.set(name, route[name]);
  }
  const text = said.toString();
  return text && `?${text}`;
}

/** @type {Readonly<Record<string, string>>} */
const NAMES = { agent_type: 'agent', model_used: 'model' };

/** Whether anything hides missions. @param {Route} route */
export function isFiltered(route) {
  return FACETS.some((facet) => route[facet].length > 0) || hasOwnFilters(route);
}

/** Whether it is filtered by more than counted values, so that totals cannot tell how many there are. @param {Route} route */
export function hasOwnFilters(route) {
  return Boolean(route.q || route.since || route.from || route.to || route.parent || route.needs);
}

/** The route with every filter taken away. @param {Route} route @returns {Route} */
export function unfiltered(route) {
  return { ...HOME, view: route.view, sort: route.sort, mission: route.mission, tab: route.tab };
}

/** What identifies the list: two routes with the same key show the same missions in the same order. @param {Route} route */
export function listKey(route) {
  return formatRoute({ ...route, view: HOME.view, page: '', mission: '', tab: HOME.tab });
}

/**
 * The query of GET /api/missions for these filters.
 * @param {Route} route @param {readonly string[]} statuses @param {number} now milliseconds
 */
export function listQuery(route, statuses, now) {
  const query = new URLSearchParams();
  for (const status of statuses) query.append('status', status);
  for (const facet of FACETS) if (facet !== 'status') for (const value of route[facet]) query.append(facet, value);
  if (route.q.trim()) query.set('q', route.q.trim());
  if (route.parent) query.set('parent_id', route.parent);
  if (route.needs) query.set('needs', route.needs);
  const after = createdAfter(route, now);
  if (after !== null) query.set('created_after', new Date(after).toISOString());
  if (route.from) query.set('finished_after', route.from);
  if (route.to) query.set('finished_before', route.to);
  return query;
}

/** @param {Route} route @param {number} now */
export function createdAfter(route, now) {
  return route.since ? now - SINCE[route.since].minutes * 60_000 : null;
}

/** The statuses a route wants to see, all where it does not say. @param {Route} route @returns {readonly string[]} */
export function wantedStatuses(route) {
  const chosen = route.status.length ? route.status : STATUSES;
  const wanted = route.from || route.to ? chosen.filter((status) => /** @type {readonly string[]} */ (FINAL).includes(status)) : chosen;
  if (!route.needs) return wanted;
  const ended = /** @type {readonly string[]} */ (PAST_NEEDS).includes(route.needs);
  return wanted.filter((status) => status === (ended ? 'cancelled' : 'running'));
}
