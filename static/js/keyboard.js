// The keyboard map of the whole page. Keys are left alone where somebody types, and single keys can be switched off.
import { act, check, closeMission, go, nextQuestion, openMission, setPaused, uncheckAll } from './actions.js';
import { allowedActions } from './missions.js';
import { neighbour } from './state.js';
import { changeNow, paused, state } from './store.js';
import { singleKeys } from './settings.js';
import { askWhy, dialog, focusWanted, searchBox } from './ui.js';

/** @type {readonly {keys: string[], says: string}[]} */
export const SHORTCUTS = [
  { keys: ['/'], says: 'Search' },
  { keys: ['q'], says: 'Go to the next question' },
  { keys: ['j', '↓'], says: 'Next mission' },
  { keys: ['k', '↑'], says: 'Previous mission' },
  { keys: ['Enter'], says: 'Open the mission' },
  { keys: ['Esc'], says: 'Close what is open, go back to the missions, then clear the selection' },
  { keys: ['n'], says: 'New mission' },
  { keys: ['x'], says: 'Select or unselect the mission' },
  { keys: ['s'], says: 'Start the mission' },
  { keys: ['h'], says: 'Hold the mission (pause it), or let it go on' },
  { keys: ['c'], says: 'Cancel the mission' },
  { keys: ['w'], says: 'Pause or cancel the mission, saying why' },
  { keys: ['r'], says: 'Retry the mission' },
  { keys: ['p'], says: 'Pause or resume updates' },
  { keys: ['Ctrl K', '⌘ K'], says: 'Command palette' },
  { keys: ['?'], says: 'This list' },
];

/** @param {(id: string) => void} run */
const onCurrent = (run) => () => {
  const id = state.value.route.mission || state.value.cursor;
  if (id) run(id);
};

/** @param {string} id */
function hold(id) {
  const mission = state.value.missions.get(id);
  const action = mission && allowedActions(mission).find((name) => name === 'pause' || name === 'resume');
  if (action) act(id, action);
}

/** @param {string} id */
function why(id) {
  const mission = state.value.missions.get(id);
  if (mission && allowedActions(mission).includes('cancel')) askWhy(id);
}

/** @param {number} steps */
const move = (steps) => () => {
  const id = neighbour(state.value, steps);
  if (!id) return;
  if (state.value.route.mission) {
    openMission(id);
    return;
  }
  focusWanted.value = id;
  changeNow((before) => ({ ...before, cursor: id }));
};

/** @type {Readonly<Record<string, () => void>>} */
const SINGLE = {
  '/': () => searchBox.focus(),
  j: move(1),
  k: move(-1),
  ArrowDown: move(1),
  ArrowUp: move(-1),
  Enter: onCurrent(openMission),
  n: () => { dialog.value = 'new'; },
  '?': () => { dialog.value = 'help'; },
  x: onCurrent(check),
  s: onCurrent((id) => act(id, 'start')),
  q: nextQuestion,
  h: onCurrent(hold),
  w: onCurrent(why),
  c: onCurrent((id) => act(id, 'cancel')),
  r: onCurrent((id) => act(id, 'retry')),
  p: () => setPaused(!paused.value),
};

/** What makes sense where no missions are shown. */
const ANYWHERE = '/n?pq';

/** Listen to the whole page. Returns how to stop. */
export function listenToKeys() {
  document.addEventListener('keydown', onKey);
  return () => document.removeEventListener('keydown', onKey);
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    dialog.value = dialog.value === 'palette' ? '' : 'palette';
    return;
  }
  if (event.ctrlKey || event.metaKey || dialog.value) return;
  if (event.key === 'Escape') {
    escape();
    return;
  }
  const target = /** @type {HTMLElement} */ (event.target);
  if (!singleKeys.value || isTyping(target)) return;
  const run = SINGLE[event.key];
  if (!run || belongsElsewhere(event.key, target) || (state.value.route.page && !ANYWHERE.includes(event.key))) return;
  event.preventDefault();
  run();
}

/** Arrows scroll the page unless a mission has the focus, and Enter presses what has it. @param {string} key @param {HTMLElement} target */
function belongsElsewhere(key, target) {
  if (key === 'Enter') return target !== document.body;
  return key.startsWith('Arrow') && !target.closest('.mission-list__items');
}

/** @param {HTMLElement} target */
function isTyping(target) {
  return target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (target instanceof HTMLInputElement && !/^(checkbox|radio|button)$/.test(target.type));
}

function escape() {
  if (state.value.route.page) go({});
  else if (state.value.route.mission) closeMission();
  else uncheckAll();
}
