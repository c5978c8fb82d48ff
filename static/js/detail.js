// The whole of the one mission that is open: its result, metadata and history, which the lists do without.
import * as api from './api.js';
import { sentence } from './actions.js';
import { signal } from './html.js';
import { takeMissions } from './state.js';
import { change } from './store.js';

/** @typedef {{id: string, type: string, at: string, version: number, changes: Record<string, any>}} MissionEvent */

/**
 * @typedef {object} Detail
 * @property {string} id
 * @property {any} raw the mission as the server sent it, `null` until it has come
 * @property {readonly MissionEvent[] | null} events
 * @property {boolean} more whether there are events that have not been read
 * @property {readonly any[] | null} children
 * @property {string} problem
 */

/** @type {Detail} */
const NOTHING = { id: '', raw: null, events: null, more: false, children: null, problem: '' };

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
  detail.value = { ...detail.value, problem: '', children: null };
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

/** Read the missions that are parts of this one. */
export async function readChildren() {
  const { id } = detail.value;
  try {
    const { missions } = await api.listMissions(new URLSearchParams({ parent_id: id, limit: '200' }), asked?.signal);
    change((before) => takeMissions(before, missions).state);
    patch(id, { children: missions.map((/** @type {any} */ mission) => mission.id) });
  } catch (error) {
    if (!asked?.signal.aborted) patch(id, { problem: sentence(error) });
  }
}

/** @param {string} id @param {Partial<Detail>} more */
function patch(id, more) {
  if (detail.value.id === id) detail.value = { ...detail.value, ...more };
}

/** @param {any} known @param {any} come */
const newer = (known, come) => (known && known.version > come.version ? known : come);

const RECORDED = ['title', 'status', 'priority', 'progress', 'step', 'agent_type', 'model_used', 'tokens_used',
  'input_tokens', 'output_tokens', 'cost_estimate', 'error_message'];

/** Take in a live update of the open mission. @param {any} update */
export function heed(update) {
  const { id, raw, events } = detail.value;
  const mission = update?.mission;
  if (!id || update?.mission_id !== id || !mission || (raw && mission.version <= raw.version)) return;
  const event = { id: `${id}:${mission.version}`, type: update.event_type, at: update.timestamp, version: mission.version, changes: between(raw, mission) };
  const isNext = events && (events[events.length - 1]?.version ?? 0) < mission.version && !detail.value.more;
  patch(id, { raw: mission, events: isNext ? [...events, event].slice(-MOST_EVENTS) : events });
}

/** @param {any} before @param {any} after */
function between(before, after) {
  return Object.fromEntries(RECORDED.filter((name) => after[name] !== before?.[name]).map((name) => [name, after[name]]));
}
