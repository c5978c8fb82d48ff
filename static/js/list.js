// Which missions the list shows, in what order, and how far the server's pages have been read. Pure.
import { FINAL, needs, priorityRank, searchText, statusRank } from './missions.js';
import { FACETS, createdAfter, listKey, wantedStatuses } from './url.js';

/** @typedef {import('./missions.js').Mission} Mission */
/** @typedef {import('./url.js').Route} Route */

/**
 * A part of the list that the server pages by itself: first what runs, then what waits, then what ended.
 * @typedef {object} Segment
 * @property {readonly string[]} statuses
 * @property {boolean} begun whether a page of it has been read
 * @property {boolean} done whether all of it is known
 * @property {string | null} cursor where the next page begins
 * @property {number | null} frontier creation time of the last mission read: older ones may have gaps between them
 */

/**
 * @typedef {object} Feed
 * @property {string} key which list this is, see `listKey`
 * @property {readonly Segment[]} segments
 * @property {boolean} loading
 * @property {{sentence: string, status: number, until: number} | null} problem
 */

/** @param {Route} route @returns {Feed} */
export function newFeed(route) {
  const wanted = wantedStatuses(route);
  const groups = route.sort ? [wanted] : [['running'], ['pending'], FINAL].map((group) => group.filter((status) => wanted.includes(status)));
  const segments = groups
    .filter((statuses) => statuses.length > 0)
    .map((statuses) => ({ statuses, begun: false, done: false, cursor: null, frontier: null }));
  return { key: listKey(route), segments, loading: false, problem: null };
}

/** The first part that has more to read. @param {Feed} feed @param {boolean} aliveKnown whether every living mission is here */
export function nextSegment(feed, aliveKnown) {
  return feed.segments.find((segment) => !isRead(segment, aliveKnown)) ?? null;
}

/** @param {Segment} segment @param {boolean} aliveKnown */
function isRead(segment, aliveKnown) {
  return segment.done || (aliveKnown && segment.statuses.every((status) => status === 'running' || status === 'pending'));
}

/**
 * The feed after a page of one of its parts.
 * @param {Feed} feed @param {Segment} segment @param {string | null} cursor @param {Mission | undefined} last
 * @returns {Feed}
 */
export function withPage(feed, segment, cursor, last) {
  const read = { ...segment, begun: true, cursor, done: cursor === null, frontier: last ? last.created_at : segment.frontier };
  return { ...feed, loading: false, problem: null, segments: feed.segments.map((known) => (known.statuses === segment.statuses ? read : known)) };
}

/**
 * The feed when nothing after a mission is known any more; its part goes on from there.
 * @param {Feed} feed @param {Mission} last @returns {Feed}
 */
export function cutAfter(feed, last) {
  const at = feed.segments.findIndex(({ statuses }) => statuses.includes(last.status));
  const segments = feed.segments.map((segment, index) => {
    if (index < at) return segment;
    const frontier = index === at ? last.created_at : null;
    return { ...segment, begun: index === at, done: false, cursor: null, frontier };
  });
  return { ...feed, segments };
}

/**
 * A predicate for the missions of this list. Until a part's first page is there, all that is known of it is shown.
 * @param {Route} route @param {Feed} feed @param {boolean} aliveKnown @param {number} now
 * @returns {(mission: Mission) => boolean}
 */
export function listed(route, feed, aliveKnown, now) {
  const passes = matcher(route, now);
  /** @type {Map<string, number>} */
  const floors = new Map();
  let hidden = false;
  for (const segment of feed.segments) {
    const read = isRead(segment, aliveKnown);
    // With an order of the reader's own, the server's pages end at a value, not at a time: show what is known.
    const floor = read || !segment.begun || route.sort ? -Infinity : (segment.frontier ?? -Infinity);
    for (const status of segment.statuses) floors.set(status, hidden ? Infinity : floor);
    hidden ||= segment.begun && !read;
  }
  return (mission) => mission.created_at >= (floors.get(mission.status) ?? Infinity) && passes(mission);
}

/**
 * A predicate for the filters alone: the same answer as the server gives.
 * @param {Route} route @param {number} now
 * @returns {(mission: Mission) => boolean}
 */
export function matcher(route, now) {
  const facets = FACETS.filter((facet) => route[facet].length > 0).map((facet) => /** @type {const} */ ([facet, new Set(route[facet])]));
  const query = route.q.trim();
  const sought = query.toLowerCase().split(/\s+/).filter(Boolean);
  const prefix = /^[0-9a-f-]{8,36}$/.test(query) ? query : null;
  const after = createdAfter(route, now);
  const finishedFrom = route.from ? Date.parse(route.from) : null;
  const finishedBefore = route.to ? Date.parse(route.to) : null;
  return (mission) => {
    for (const [facet, values] of facets) if (!values.has(mission[facet])) return false;
    if (after !== null && mission.created_at < after) return false;
    if (finishedFrom !== null && (mission.completed_at ?? -Infinity) < finishedFrom) return false;
    if (finishedBefore !== null && (mission.completed_at ?? Infinity) >= finishedBefore) return false;
    if (route.parent && mission.parent_id !== route.parent) return false;
    if (route.needs && !needs(mission, route.needs)) return false;
    if (!sought.length || (prefix && mission.id.startsWith(prefix))) return true;
    const text = searchText(mission);
    return sought.every((word) => text.includes(word));
  };
}

/**
 * The comparison behind a list's order. Unknown values stand lowest, as on the server.
 * @param {string} sort @returns {(a: Mission, b: Mission) => number}
 */
export function comparator(sort) {
  if (!sort) return (a, b) => statusRank(a) - statusRank(b) || newest(a, b);
  const descending = sort.startsWith('-');
  const value = SORT_VALUES[sort.replace(/^-/, '')];
  const sign = descending ? -1 : 1;
  return (a, b) => sign * (value(a) - value(b) || compareText(a.id, b.id));
}

/** @type {Readonly<Record<string, (mission: Mission) => number>>} */
const SORT_VALUES = {
  created_at: (mission) => mission.created_at,
  priority: priorityRank,
  duration: (mission) => mission.duration ?? -1,
  tokens_used: (mission) => mission.tokens_used ?? -1,
  cost_estimate: (mission) => mission.cost_estimate ?? -1,
};

/** @param {Mission} a @param {Mission} b */
const newest = (a, b) => b.created_at - a.created_at || compareText(b.id, a.id);

/** @param {string} a @param {string} b */
const compareText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The ids of a list, in order.
 * @param {Iterable<Mission>} missions @param {(mission: Mission) => boolean} wanted @param {string} sort
 * @returns {string[]}
 */
export function order(missions, wanted, sort) {
  const found = [];
  for (const mission of missions) if (wanted(mission)) found.push(mission);
  return found.sort(comparator(sort)).map((mission) => mission.id);
}

/**
 * What a reader sees who must not be disturbed: what was there stays where it is, older missions read meanwhile join
 * at the end, and new ones wait.
 * @param {readonly string[]} shown @param {readonly string[]} fresh
 * @returns {{order: readonly string[], waiting: number}}
 */
export function undisturbed(shown, fresh) {
  const known = new Set(shown);
  const added = fresh.filter((id) => !known.has(id));
  if (added.length === 0) return { order: shown, waiting: 0 };
  // What stands after all that is shown was read by scrolling; what stands before any of it is news.
  const tail = fresh.slice(fresh.findLastIndex((id) => known.has(id)) + 1);
  return { order: tail.length ? [...shown, ...tail] : shown, waiting: added.length - tail.length };
}

/**
 * How many missions of each kind need a person.
 * @param {Iterable<Mission>} missions @param {readonly string[]} kinds
 */
export function countNeeds(missions, kinds) {
  /** @type {Record<string, number>} */
  const counts = Object.fromEntries(kinds.map((kind) => [kind, 0]));
  for (const mission of missions) for (const kind of kinds) if (needs(mission, kind)) counts[kind] += 1;
  return counts;
}

/**
 * The mission whose question stands next after that of `from`, the oldest first and round again; empty where none asks.
 * @param {Iterable<Mission>} missions @param {string} from
 */
export function nextAsking(missions, from) {
  const asking = [];
  for (const mission of missions) if (needs(mission, 'question')) asking.push(mission);
  asking.sort((a, b) => (a.question?.asked_at ?? 0) - (b.question?.asked_at ?? 0) || compareText(a.id, b.id));
  const at = asking.findIndex(({ id }) => id === from);
  return asking.length ? asking[(at + 1) % asking.length].id : '';
}
