// The bar that stays: name, how live the picture is, search, and what concerns the whole page.
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';
import { clock, count, plural } from '../format.js';
import { go, openSystem, setPaused } from '../actions.js';
import { alertCounts } from '../alerts.js';
import { loggedOut, may, mayNot, readSession, session } from '../session.js';
import { MOST_HELD } from '../state.js';
import { connection, now, paused, route, state } from '../store.js';
import { THEMES, setTheme, theme } from '../settings.js';
import { dialog, searchBox } from '../ui.js';
import { formatRoute } from '../url.js';
import { Icon } from './icons.js';
import { Menu } from './menu.js';
import { PersonName } from './question.js';

/** @param {{covered: boolean}} props */
export function TopBar({ covered }) {
  return html`<header class="top-bar" inert=${covered}>
    <h1 class="top-bar__brand"><span class="top-bar__mark" aria-hidden="true"></span>Mission Dashboard</h1>
    <${LiveState} />
    <${Search} />
    <${AlertsButton} />
    <${PageMenu} />
    ${!mayNot('report') && html`<button type="button" class="button top-bar__new" data-tone="primary" onClick=${() => { dialog.value = 'new'; }}>New mission</button>`}
  </header>`;
}

function AlertsButton() {
  const { unseen, critical } = alertCounts.value;
  return html`<button type="button" class="button top-bar__alerts" data-tone="ghost" data-level=${critical ? 'critical' : unseen ? 'warning' : 'none'} onClick=${() => { dialog.value = 'alerts'; }}>
    <${Icon} name="alert" /><span class="top-bar__word">Alerts</span>${unseen > 0 && html`<span class="top-bar__number">${count(unseen)}<span class="visually-hidden"> to look after</span></span>`}</button>`;
}

const PHASES = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', offline: 'Offline' };

function LiveState() {
  const { phase, latency_ms: latency, as_of: asOf } = connection.value;
  if (paused.value) {
    const { held, overfull } = state.value;
    const waiting = overfull ? `over ${plural(MOST_HELD, 'change')}` : plural(held.size, 'change');
    return html`<button type="button" class="live-state" data-phase="paused" onClick=${() => setPaused(false)} title="Go on painting what arrives">
      <${Icon} name="play" />Paused<span class="live-state__more"> · ${waiting} waiting</span></button>`;
  }
  const more = phase === 'live' ? (latency === null ? '' : `${Math.round(latency)} ms`) : asOf === null ? '' : `as of ${clock(asOf)}`;
  return html`<span class="live-state" data-phase=${phase} role="status">
    <span class="live-state__dot" aria-hidden="true"></span>${phase !== 'live' && loggedOut() ? 'Logged out' : PHASES[phase]}
    ${more && html`<span class="live-state__more" aria-hidden=${phase === 'live' ? 'true' : undefined}> · ${more}</span>`}
  </span>`;
}

const TYPING_MS = 120;

function Search() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [text, setText] = useState(route.value.q);
  const typing = useRef(0);
  useLayoutEffect(() => {
    searchBox.focus = () => {
      field.current?.focus();
      field.current?.select();
    };
  }, []);
  // Back, forward and 'clear filters' change the search from elsewhere.
  useEffect(() => {
    if (document.activeElement !== field.current || !typing.current) setText(route.value.q);
  }, [route.value.q]);
  /** @param {string} value */
  const search = (value) => {
    setText(value);
    clearTimeout(typing.current);
    typing.current = window.setTimeout(() => {
      typing.current = 0;
      go({ q: value.trim() ? value : '' }, { replace: route.value.q !== '' });
    }, TYPING_MS);
  };
  return html`<form class="search" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <${Icon} name="search" />
    <label class="visually-hidden" for="search">Search missions</label>
    <input id="search" class="search__field" type="search" ref=${field} value=${text} maxlength="200" autocomplete="off" spellcheck="false" dir="auto"
      placeholder="Search title, type, agent, model or id"
      onInput=${(/** @type {any} */ event) => search(event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        if (text) search('');
        else field.current?.blur();
      }} />
    <kbd aria-hidden="true">/</kbd>
    <button type="button" class="search__palette" onClick=${() => { dialog.value = 'palette'; }} title="Command palette">
      <kbd aria-hidden="true">${isApple ? '⌘K' : 'Ctrl K'}</kbd><span class="visually-hidden">Open the command palette</span></button>
  </form>`;
}

export const isApple = /Mac|iPhone|iPad/.test(navigator.userAgent);

function PageMenu() {
  return html`<${Menu} label=${html`<${Icon} name="menu" /><span class="visually-hidden">Page menu</span>`} kind="icon" align="end">
    ${(/** @type {() => void} */ close) => html`
      <button type="button" class="menu__item" onClick=${() => { setPaused(!paused.value); close(); }}>
        <${Icon} name=${paused.value ? 'play' : 'pause'} />${paused.value ? 'Resume updates' : 'Pause updates'}<kbd>p</kbd></button>
      <button type="button" class="menu__item" onClick=${() => { close(); dialog.value = 'palette'; }}><${Icon} name="search" />Command palette<kbd>${isApple ? '⌘K' : 'Ctrl K'}</kbd></button>
      <button type="button" class="menu__item" onClick=${() => { close(); dialog.value = 'help'; }}><${Icon} name="question" />Keyboard shortcuts<kbd>?</kbd></button>
      <button type="button" class="menu__item" onClick=${() => { close(); dialog.value = 'budgets'; }}><${Icon} name="over_budget" />Daily budgets</button>
      ${may('read') && html`<a class="menu__item" href="/?page=system" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); close(); openSystem(); }}><${Icon} name="pulse" />System</a>`}
      <a class="menu__item" href="/api/docs"><${Icon} name="copy" />API documentation</a>
      <${Account} />
      <fieldset class="menu__group"><legend>You</legend><${PersonName} id="person-name" label="Answers and orders are recorded as from" /></fieldset>
      <fieldset class="menu__group"><legend>Theme</legend>
        ${THEMES.map((name) => html`<label key=${name} class="menu__choice"><input type="radio" name="theme" checked=${theme.value === name} onChange=${() => setTheme(name)} />${name}</label>`)}
      </fieldset>`}
  </${Menu}>`;
}

/** Who is logged in, how to leave, and the way to keys for those who may manage them. */
function Account() {
  useEffect(() => { readSession(); }, []);
  const person = session.value;
  if (!person) return null;
  return html`${may('admin') && html`<a class="menu__item" href="/access"><${Icon} name="key" />Keys and audit log</a>`}
    ${person.kind === 'person' && html`<form method="post" action="/logout"><button class="menu__item"><${Icon} name="close" />Log out ${person.name}</button></form>`}`;
}

/** How old the picture is, said over the page while it cannot be trusted. */
export function ConnectionBanner() {
  const { phase, as_of: asOf } = connection.value;
  const { service, unreadable, away } = state.value;
  if (phase !== 'live' && loggedOut()) return html`<${LoggedOut} asOf=${asOf} />`;
  if (phase === 'reconnecting' || phase === 'offline') {
    // Reading the clock draws this again each second; what it says is this device's own time, as `as_of` is.
    const age = asOf === null || !now.value ? 0 : (Date.now() - asOf) / 1000;
    if (phase === 'reconnecting' && age < 2) return null;
    const what = phase === 'offline' ? 'The server cannot be reached.' : 'The connection is lost; trying to get it back.';
    return html`<div class="banner" data-tone="warning" role="alert"><${Icon} name="stalled" /><span>${what}
      ${asOf !== null && html` You see the missions as they were at <time>${clock(asOf)}</time>. What changed since comes by itself.`}</span></div>`;
  }
  if (service.status === 'degraded') {
    return html`<div class="banner" data-tone="warning" role="alert"><${Icon} name="stalled" /><span>${service.detail || 'The server works with limits just now.'}</span></div>`;
  }
  if (unreadable > 0) {
    return html`<div class="banner" data-tone="error" role="alert"><${Icon} name="failed" /><span>The server sent ${plural(unreadable, 'thing')} this page cannot read, and shows the rest. Reload the page; if it stays so, the server and the page are of different versions.</span></div>`;
  }
  if (away > 0) return html`<${AwayNote} changes=${away} />`;
  return null;
}

/** @param {{asOf: number | null}} props */
function LoggedOut({ asOf }) {
  const here = location.pathname + formatRoute(route.value);
  return html`<div class="banner" data-tone="warning" role="alert"><${Icon} name="key" /><span>You are not logged in any more: your session or its key ended.
    ${asOf !== null && html` You see the missions as they were at <time>${clock(asOf)}</time>.`}</span>
    <a class="button button--small" href=${`/login?next=${encodeURIComponent(here)}`}>Log in</a></div>`;
}

/** @param {{changes: number}} props */
function AwayNote({ changes }) {
  return html`<div class="banner" data-tone="info" role="status"><${Icon} name="completed" /><span>Caught up: ${count(changes)} ${changes === 1 ? 'mission' : 'missions'} changed while you were away.</span></div>`;
}
