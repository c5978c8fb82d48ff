// Holds the state and paints it: changes gather and are applied together, once a frame.
import { computed, signal } from './html.js';
import { arrange, initialState, takeUpdates } from './state.js';
import { parseRoute } from './url.js';

/** @typedef {import('./state.js').State} State */

const HIDDEN_MS = 500;
const HISTORY_MS = 950;
/** To order ten thousand missions takes milliseconds, and nobody can follow more than a few new orders a second. */
const ARRANGE_MS = 250;

export const state = signal(initialState(parseRoute(location.search)));

/** How far the server's clock is ahead of this device's, in milliseconds. */
let offset = 0;

/** The time as the server has it, moved on by one timer for the whole page. */
export const now = signal(Date.now());

/** The minutes of the last hour. Charts are dear to draw, so they follow at most once a second. */
export const history = signal(state.peek().history);
let historyAt = 0;

/** @type {((state: State) => State)[]} */
let waiting = [];
/** @type {any[]} */
let updates = [];
let scheduled = false;
let arrangedAt = 0;
let arrangeLater = false;

/** The shape that the list was last put in order for. */
export const shape = signal(-1);

/** Change the state at the next frame. @param {(state: State) => State} step */
export function change(step) {
  waiting.push(step);
  schedule();
}

/** Take in a live update at the next frame. @param {any} payload */
export function gather(payload) {
  updates.push(payload);
  schedule();
}

/** Change the state and paint it now, where what follows reads it. @param {(state: State) => State} step */
export function changeNow(step) {
  waiting.push(step);
  flush();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  // A hidden page is given no frames, but its title still tells failures.
  if (document.hidden) setTimeout(flush, HIDDEN_MS);
  else requestAnimationFrame(flush);
}

document.addEventListener('visibilitychange', () => {
  if (scheduled) flush();
});

function flush() {
  scheduled = false;
  let next = state.value;
  const steps = waiting;
  const news = updates;
  waiting = [];
  updates = [];
  for (const step of steps) next = step(next);
  if (news.length) next = takeUpdates(next, news);
  const due = next.shape !== shape.peek() && isDue(steps.length > 0);
  if (due) next = arrange(next, serverNow());
  state.value = next;
  if (due) shape.value = next.shape;
  followHistory();
}

/** Whether to put the list in order now; else it will be soon. @param {boolean} asked by more than live updates */
function isDue(asked) {
  const rest = arrangedAt + ARRANGE_MS - performance.now();
  if (asked || rest <= 0) {
    arrangedAt = performance.now();
    return true;
  }
  if (!arrangeLater) setTimeout(arrangeNow, rest);
  arrangeLater = true;
  return false;
}

function arrangeNow() {
  arrangeLater = false;
  schedule();
}

function followHistory() {
  const { history: points } = state.peek();
  const newMinute = points[0]?.at !== history.peek()[0]?.at;
  if (points === history.peek() || (!newMinute && Date.now() - historyAt < HISTORY_MS)) return;
  historyAt = Date.now();
  history.value = points;
}

/** Milliseconds since 1970 by the server's clock. */
export const serverNow = () => Date.now() + offset;

/** @param {number} ms */
export function correctClock(ms) {
  // Below a second the difference is the network's, and moving the clock would make times jump.
  if (Math.abs(ms - offset) > 1000) offset = ms;
}

/** Move the page's clock on, each second. Returns how to stop. @param {() => void} each */
export function startClock(each) {
  const timer = setInterval(() => {
    if (state.value.paused) return;
    now.value = serverNow();
    each();
  }, 1000);
  return () => clearInterval(timer);
}

export const route = computed(() => state.value.route);
export const metrics = computed(() => state.value.metrics);
export const connection = computed(() => state.value.connection);
export const service = computed(() => state.value.service);
export const toasts = computed(() => state.value.toasts);
export const checked = computed(() => state.value.checked);
export const paused = computed(() => state.value.paused);
export const loaded = computed(() => state.value.loaded);
export const away = computed(() => state.value.away);
export const counts = computed(() => state.value.counts);
export const renewals = computed(() => state.value.renewals);
export const acting = computed(() => state.value.acting);
