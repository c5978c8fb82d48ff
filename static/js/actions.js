// Everything a person can make happen: going places, and asking the server to create, start, stop, retry and answer.
import * as api from './api.js';
import { copyText } from './clipboard.js';
import { plural } from './format.js';
import { allowedActions } from './missions.js';
import { nextAsking } from './list.js';
import { mayNot } from './session.js';
import { personName } from './settings.js';
import { addToast, dropToast, goTo, pause, setActing, showNew, takeMissions, toggleChecked } from './state.js';
import { change, changeNow, now, serverNow, state } from './store.js';
import { answerWanted, focusWanted } from './ui.js';
import { formatRoute, unfiltered } from './url.js';

/** @typedef {import('./url.js').Route} Route */
/** @typedef {import('./missions.js').Action} Action */
/** @typedef {import('./state.js').Deed} Deed */

const TOAST_MS = 6000;
const ERROR_TOAST_MS = 12_000;
const BULK_AT_ONCE = 4;
let toastId = 0;

/**
 * Go to another state of the page, back to the missions unless it names another part. A step to go back over is left
 * unless `replace` says otherwise.
 * @param {Partial<Route>} patch @param {{replace?: boolean}} [how]
 */
export function go(patch, { replace = false } = {}) {
  const route = { ...state.value.route, page: '', ...patch };
  const address = location.pathname + formatRoute(route);
  if (address === location.pathname + location.search) return;
  if (replace) window.history.replaceState(null, '', address);
  else window.history.pushState(null, '', address);
  changeNow((before) => goTo(before, route));
}

/** @param {import('./url.js').Facet} facet @param {string} value */
export function toggleFacet(facet, value) {
  const chosen = state.value.route[facet];
  go({ [facet]: chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value] });
}

export function clearFilters() {
  go(unfiltered(state.value.route));
}

/** @param {string} id @param {string} [tab] */
export function openMission(id, tab) {
  const wasOpen = state.value.route.mission !== '';
  change((before) => ({ ...before, cursor: id }));
  // Leafing from one to the next is one step back, not twenty.
  go({ mission: id, tab: tab ?? (wasOpen ? state.value.route.tab : 'overview') }, { replace: wasOpen });
}

/** Go to the System page. */
export const openSystem = () => go({ page: 'system', mission: '', tab: 'overview' });

export function closeMission() {
  const id = state.value.route.mission;
  if (!id) return;
  focusWanted.value = id;
  go({ mission: '', tab: 'overview' });
}

export function showWaiting() {
  window.scrollTo({ top: Math.min(window.scrollY, listTop()), behavior: 'instant' });
  changeNow((before) => showNew(before, serverNow()));
}

function listTop() {
  const list = document.querySelector('.mission-list');
  return list ? list.getBoundingClientRect().top + window.scrollY - 140 : 0;
}

/** @param {boolean} on */
export function setPaused(on) {
  changeNow((before) => pause(before, on));
  if (!on) now.value = serverNow();
}

/** @param {string} id */
export function check(id) {
  change((before) => toggleChecked(before, id));
}

export function uncheckAll() {
  change((before) => ({ ...before, checked: new Set() }));
}

/** @param {Partial<import('./state.js').Toast> & {text: string}} toast */
export function notify(toast) {
  const id = ++toastId;
  const { tone = 'info', text, detail = '', mission = '' } = toast;
  change((before) => addToast(before, { tone, text, detail, mission }, id));
  setTimeout(() => dismiss(id), tone === 'error' ? ERROR_TOAST_MS : TOAST_MS);
}

/** @param {number} id */
export function dismiss(id) {
  change((before) => dropToast(before, id));
}

/** @type {Readonly<Record<Deed, string>>} */
const DONE = { start: 'Started', pause: 'Asked to pause', resume: 'Resumed', cancel: 'Cancelled', retry: 'Queued to run again', answer: 'Answered' };
/** @type {Readonly<Record<Deed, string>>} */
const REFUSED = { start: 'Not started', pause: 'Not paused', resume: 'Not resumed', cancel: 'Not cancelled', retry: 'Not retried', answer: 'Not answered' };

/** The scope that each needs. @type {Readonly<Record<Action, string>>} */
const NEEDED = { start: 'report', cancel: 'report', pause: 'operate', resume: 'operate', retry: 'operate' };

/** What this person can do to a mission now. @param {import('./missions.js').Mission} mission */
export const offered = (mission) => allowedActions(mission).filter((action) => !mayNot(NEEDED[action]));

/** What the server is told with an action: who asks, and why. @param {Deed} action @param {string} [reason] */
function told(action, reason = '') {
  /** @type {Record<string, unknown>} */
  const said = {};
  const by = personName.value.trim();
  if (by && (action === 'pause' || action === 'resume' || action === 'cancel' || action === 'answer')) said.by = by;
  if (reason.trim()) said.reason = reason.trim();
  return said;
}

/**
 * Ask the server; what was asked shows at once, and goes again with the server's sentence if it refuses.
 * @param {string} id @param {Action} action @param {string} [reason] why, for the records
 */
export async function act(id, action, reason) {
  const mission = state.value.missions.get(id);
  if (mission && !allowedActions(mission).includes(action)) return;
  await ask(id, action, told(action, reason));
}

/** Answer a mission's question; resolves to whether this answer was taken. @param {string} id @param {string} question its id @param {string} answer */
export const answer = (id, question, answer) => ask(id, 'answer', { ...told('answer'), question_id: question, answer });

/** @param {string} id @param {Deed} deed @param {Record<string, unknown>} said */
async function ask(id, deed, said) {
  const mission = state.value.missions.get(id);
  if (state.value.acting.has(id)) return false;
  change((before) => setActing(before, id, deed));
  try {
    const answered = await api.act(id, deed, said);
    change((before) => takeMissions(before, [answered.mission]).state);
    const what = deed === 'answer' ? `${DONE.answer} “${said.answer}”` : DONE[deed];
    notify({ tone: 'success', text: `${what}: ${answered.mission?.title ?? ''}`, mission: deed === 'retry' ? (answered.mission_id ?? '') : '' });
    return true;
  } catch (error) {
    notify({ tone: 'error', text: `${REFUSED[deed]}: ${mission?.title ?? 'this mission'}`, detail: sentence(error), mission: id });
    // Somebody was first, or it ended: show what is true now.
    if (deed === 'answer' && error instanceof api.Refusal && error.status === 409) await look(id);
    return false;
  } finally {
    change((before) => setActing(before, id, null));
  }
}

/** Read one mission as it is now. @param {string} id */
async function look(id) {
  try {
    const { mission } = await api.getMission(id);
    change((before) => takeMissions(before, [mission]).state);
  } catch {
    // The live updates bring it.
  }
}

/** Open the question that waits longest, or the next after the one that is open. */
export function nextQuestion() {
  const id = nextAsking(state.value.missions.values(), state.value.route.mission);
  if (!id) {
    notify({ text: 'No mission waits for an answer.' });
    return;
  }
  answerWanted.value = id;
  openMission(id, 'overview');
}

/** The checked missions to which an action can be done now. @param {Action} action */
export function checkedFor(action) {
  const { checked, missions } = state.value;
  return [...checked].filter((id) => {
    const mission = missions.get(id);
    return mission && offered(mission).includes(action);
  });
}

/** Do it to each, a few at a time; a rate limit is waited out. @param {readonly string[]} ids @param {Action} action */
export async function actOnMany(ids, action) {
  const queue = [...ids];
  let done = 0;
  /** @type {unknown} */
  let problem = null;
  let refused = 0;
  const work = async () => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        const answered = await patiently(() => api.act(/** @type {string} */ (id), action, told(action)));
        change((before) => takeMissions(before, [answered.mission]).state);
        done += 1;
      } catch (error) {
        problem = error;
        refused += 1;
      } finally {
        const asked = id;
        change((before) => setActing(before, asked, null));
      }
    }
  };
  for (const id of ids) change((before) => setActing(before, id, action));
  await Promise.all(Array.from({ length: Math.min(BULK_AT_ONCE, ids.length) }, work));
  uncheckAll();
  const text = `${DONE[action]}: ${plural(done, 'mission')}${refused ? `, ${refused} refused` : ''}`;
  notify({ tone: refused ? 'error' : 'success', text, detail: problem ? sentence(problem) : '' });
}

/** @param {() => Promise<any>} ask */
async function patiently(ask) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof api.Refusal) || error.status !== 429 || tries === 3) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(60, error.retryAfter ?? 10) * 1000));
    }
  }
}

/** @param {Record<string, unknown>} wish @param {string} key */
export async function create(wish, key) {
  const answer = await api.createMission(wish, key);
  change((before) => takeMissions(before, [answer.mission]).state);
  notify({ tone: 'success', text: `Created: ${answer.mission?.title ?? ''}`, mission: answer.mission_id });
  return answer;
}

/** @param {unknown} error */
export const sentence = (error) => (error instanceof Error ? error.message : 'Something went wrong on this page.');

/** @param {string} text @param {string} what */
export async function copy(text, what) {
  const copied = await copyText(text);
  notify(copied ? { text: `Copied ${what}` } : { tone: 'error', text: `Could not copy ${what}`, detail: 'Select the text and copy it by hand.' });
}
