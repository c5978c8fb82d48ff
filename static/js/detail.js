// The whole of the one mission that is open: its result, metadata and history, which the lists do without.
import * as api from './api.js';
import { sentence } from './actions.js';
import { signal } from './html.js';
import { takeMissions } from './state.js';
import { change } from './store.js';

/** @typedef {{id: string, type: string, at: string, version: number, changes: Record<string, any>, actor?: string | null, address?: string | null}} MissionEvent */

/** @typedef {{tokens: number, cost: number}} Use */
/** @typedef {{id: string, depth: number, title: string, status: string, progress: number, duration: number | null, own: Use, total: Use}} TreeNode */

/**
 * @typedef {object} Detail
 * @property {string} id
 * @property {any} raw the mission as the server sent it, `null` until it has come
 * @property {readonly MissionEvent[] | null} events
 * @property {boolean} more whether there are events that have not been read
 * @property {{nodes: readonly TreeNode[], truncated: boolean} | null} tree
 * @property {string} problem
 */

/** @type {Detail} */
const NOTHING = { id: '', raw: null, events: null, more: false, tree: null, problem: '' };

export const detail = signal(NOTHING);

/** Leafing quickly with j and k asks for none of the missions passed. */
const STILL_MS = 150;
const MOST_EVENTS = 2000;
/** @type {AbortController | null} */
let asked = null;

/** Show another mission, or none. @param {string} id */
export function attend(id) {
  if (detail.value.id === id) return;
  asked?.abort();
  asked = null;
  detail.value = { ...NOTHING, id };
  if (!id) return;
  asked = new AbortController();
  const { signal: stop } = asked;
  setTimeout(() => stop.aborted || read(id, stop), STILL_MS);
}

/** Read it anew, after a gap or an error. */
export function readAgain() {
  const { id } = detail.value;
  if (!id) return;
  asked?.abort();
  asked = new AbortController();
  detail.value = { ...detail.value, problem: '', tree: null };
  read(id, asked.signal);
}

/** @param {string} id @param {AbortSignal} stop */
async function read(id, stop) {
  try {
    const { mission } = await api.getMission(id, stop);
    patch(id, { raw: newer(detail.value.raw, mission) });
    change((before) => takeMissions(before, [mission]).state);
    const { events, next_cursor: next } = await api.getEvents(id, 0, stop);
    patch(id, { events: Array.isArray(events) ? events : [], more: Boolean(next) });
  } catch (error) {
    if (!stop.aborted) patch(id, { problem: sentence(error) });
  }
}

/** Read the events after those that are here. */
export async function readMoreEvents() {
  const { id, events } = detail.value;
  if (!events?.length) return;
  try {
    const answer = await api.getEvents(id, events[events.length - 1].version, asked?.signal);
    patch(id, { events: [...events, ...answer.events].slice(-MOST_EVENTS), more: Boolean(answer.next_cursor) });
  } catch (error) {
    patch(id, { problem: sentence(error) });
  }
}

/** Read the mission and all that are parts of it, with their sums. */
export async function readTree() {
  const { id } = detail.value;
  if (!id || document.hidden) return;
  try {
    const tree = await api.getTree(id, asked?.signal);
    patch(id, { tree: { nodes: Array.isArray(tree.nodes) ? tree.nodes : [], truncated: Boolean(tree.truncated) } });
  } catch (error) {
    if (!asked?.signal.aborted && !detail.value.tree) patch(id, { problem: sentence(error) });
  }
}

/** @param {string} id @param {Partial<Detail>} more */
function patch(id, more) {
  if (detail.value.id === id) detail.value = { ...detail.value, ...more };
}

/** @param {any} known @param {any} come */
const newer = (known, come) => (known && known.version > come.version ? known : come);

/** Read when the open mission was last heard of: a heartbeat is no change, so nothing else tells. */
export async function hearHeartbeat() {
  const { id, raw } = detail.value;
  if (!id || raw?.status !== 'running' || document.hidden) return;
  try {
    const { mission } = await api.getMission(id, asked?.signal);
    if (mission.version === detail.value.raw?.version) patch(id, { raw: mission });
    change((before) => takeMissions(before, [mission]).state);
  } catch {
    // What cannot be heard now is heard in a few seconds; the connection is told of elsewhere.
  }
}

const RECORDED = ['title', 'status', 'priority', 'progress', 'step', 'agent_type', 'model_used', 'tokens_used',
  'input_tokens', 'output_tokens', 'cost_estimate', 'error_message', 'control', 'receipt', 'question', 'stalled_reason', 'budget_state'];
/** What the update itself does not tell: a mission that waits no more has no question. */
const TOLD_BY_HISTORY = new Set(['mission_question_answered', 'mission_question_expired']);

/** Take in a live update of the open mission. @param {any} update */
export function heed(update) {
  const { id, raw, events } = detail.value;
  const mission = update?.mission;
  if (!id || update?.mission_id !== id || !mission || (raw && mission.version <= raw.version)) return;
  patch(id, { raw: mission });
  if (!events || detail.value.more) return;
  if ((events[events.length - 1]?.version ?? 0) + 1 !== mission.version || TOLD_BY_HISTORY.has(update.event_type)) {
    readLatestEvents();
    return;
  }
  const event = { id: `${id}:${mission.version}`, type: update.event_type, at: update.timestamp, version: mission.version, changes: between(raw, mission) };
  patch(id, { events: [...events, event].slice(-MOST_EVENTS) });
}

/** Read the events that came since the last one here, where the updates did not tell them all. */
async function readLatestEvents() {
  const { id, events } = detail.value;
  if (!events) return;
  try {
    const { events: come, next_cursor: next } = await api.getEvents(id, events[events.length - 1]?.version ?? 0, asked?.signal);
    const known = detail.value.events ?? [];
    const last = known[known.length - 1]?.version ?? 0;
    const later = come.filter((/** @type {MissionEvent} */ event) => event.version > last);
    patch(id, { events: [...known, ...later].slice(-MOST_EVENTS), more: Boolean(next) });
  } catch (error) {
    if (!asked?.signal.aborted) patch(id, { problem: sentence(error) });
  }
}

/** @param {any} before @param {any} after */
function between(before, after) {
  return Object.fromEntries(RECORDED.filter((name) => JSON.stringify(after[name]) !== JSON.stringify(before?.[name])).map((name) => [name, after[name]]));
}
