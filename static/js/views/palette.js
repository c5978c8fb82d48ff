// The command palette: everything the page can do, and the missions it knows, by typing a few letters.
import { html, useEffect, useRef, useState } from '../html.js';
import { act, clearFilters, copy, go, nextQuestion, offered, openMission, openSystem, setPaused } from '../actions.js';
import { capital } from '../format.js';
import { NEEDS, STATUSES, needs, searchText } from '../missions.js';
import { may, mayNot } from '../session.js';
import { THEMES, setTheme } from '../settings.js';
import { paused, state } from '../store.js';
import { askWhy, dialog } from '../ui.js';
import { VIEWS, isFiltered } from '../url.js';
import { ACTION_NAMES, StatusBadge } from './bits.js';
import { Dialog, closeDialog } from './dialogs.js';
import { NEED_NAMES } from './filters.js';

/** @typedef {{key: string, name: string, aside?: string, mission?: import('../missions.js').Mission, run: () => void}} Entry */

const MOST_MISSIONS = 8;
const ACTION_KEYS = { start: 's', pause: 'h', resume: 'h', cancel: 'c', retry: 'r' };

/** @returns {Entry[]} */
function commands() {
  const { route, missions, cursor } = state.value;
  const here = missions.get(route.mission || cursor);
  /** @param {string} name @param {() => void} run @param {string} [aside] @returns {Entry} */
  const command = (name, run, aside) => ({ key: name, name, aside, run });
  return [
    ...(here ? offered(here).map((action) => command(`${ACTION_NAMES[action]} “${here.title}”`, () => act(here.id, action), ACTION_KEYS[action])) : []),
    ...(here && offered(here).includes('cancel') && here.status === 'running' ? [command(`Pause or cancel “${here.title}”, saying why`, () => askWhy(here.id), 'w')] : []),
    ...([...missions.values()].some((mission) => needs(mission, 'question')) ? [command('Go to the next question', nextQuestion, 'q')] : []),
    ...(mayNot('report') ? [] : [command('New mission', () => { dialog.value = 'new'; }, 'n')]),
    command('Show all missions', () => clearFilters()),
    ...STATUSES.map((status) => command(`Show ${status} missions`, () => go({ status: [status] }))),
    ...NEEDS.map((need) => command(`Show missions: ${NEED_NAMES[need].toLowerCase()}`, () => go({ needs: need }))),
    ...(isFiltered(route) ? [command('Clear filters', clearFilters)] : []),
    ...VIEWS.map((view) => command(`View as ${view}`, () => go({ view }))),
    command(paused.value ? 'Resume updates' : 'Pause updates', () => setPaused(!paused.value), 'p'),
    command('Alerts', () => { dialog.value = 'alerts'; }),
    command('Daily budgets', () => { dialog.value = 'budgets'; }),
    ...(may('read') ? [command('System: how the server does', openSystem)] : []),
    command('Copy link to this screen', () => copy(location.href, 'the link')),
    ...THEMES.map((name) => command(`Theme: ${capital(name)}`, () => setTheme(name))),
    command('Keyboard shortcuts', () => { dialog.value = 'help'; }, '?'),
    command('API documentation', () => location.assign('/api/docs')),
  ];
}

/** @param {string} text @returns {Entry[]} */
function entries(text) {
  const sought = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = commands().filter(({ name }) => sought.every((word) => name.toLowerCase().includes(word)));
  if (!sought.length) return found;
  for (const mission of state.value.missions.values()) {
    if (found.length >= 40 || found.filter((entry) => entry.mission).length >= MOST_MISSIONS) break;
    if (sought.every((word) => searchText(mission).includes(word))) found.push({ key: mission.id, name: mission.title, mission, run: () => openMission(mission.id) });
  }
  found.push({ key: 'search', name: `Search all missions for “${text.trim()}”`, run: () => go({ q: text.trim() }) });
  return found;
}

export function Palette() {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const found = entries(text);
  const chosen = Math.min(at, found.length - 1);
  useEffect(() => list.current?.children[chosen]?.scrollIntoView({ block: 'nearest' }), [chosen]);
  /** @param {Entry | undefined} entry */
  const run = (entry) => {
    closeDialog();
    // After the dialog has given the focus back, so that what runs may take it.
    setTimeout(() => entry?.run());
  };
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((chosen + step + found.length) % found.length);
    else if (event.key === 'Enter') run(found[chosen]);
    else return;
    event.preventDefault();
  };
  return html`<${Dialog} title="Command palette" kind="palette" hideTitle=${true}>
    <input class="palette__field" data-first type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant=${`palette-${chosen}`} aria-label="Type a command or the name of a mission"
      placeholder="Type a command or the name of a mission" autocomplete="off" spellcheck="false" value=${text} onInput=${(/** @type {any} */ event) => { setText(event.target.value); setAt(0); }} onKeyDown=${key} />
    <div class="palette__list" id="palette-list" role="listbox" aria-label="Commands" ref=${list}>
      ${found.map((entry, index) => html`<div key=${entry.key} id=${`palette-${index}`} role="option" class="palette__entry" aria-selected=${String(index === chosen)}
        onPointerMove=${() => index !== chosen && setAt(index)} onClick=${() => run(entry)}>
        ${entry.mission && html`<${StatusBadge} mission=${entry.mission} />`}<bdi>${entry.name}</bdi>${entry.aside && html`<kbd>${entry.aside}</kbd>`}</div>`)}
    </div></${Dialog}>`;
}
