// The open mission: what it is, why it is in its state, what happened to it, and what came out.
import { html, useEffect, useLayoutEffect, useRef } from '../html.js';
import { closeMission, copy, go, openMission } from '../actions.js';
import { detail, readAgain } from '../detail.js';
import { words } from '../format.js';
import { parseMission } from '../missions.js';
import { mayNot } from '../session.js';
import { acting, loaded, route, state } from '../store.js';
import { askWhy } from '../ui.js';
import { ActionButtons, PriorityBadge, ProgressBar, StatusBadge } from './bits.js';
import { Icon } from './icons.js';
import { Overview } from './drawer-overview.js';
import { Events } from './drawer-events.js';
import { Logs } from './drawer-logs.js';
import { Result } from './drawer-result.js';
import { Spans } from './drawer-spans.js';
import { SubMissions } from './drawer-sub.js';

/** @type {Readonly<Record<string, string>>} */
const TAB_NAMES = { overview: 'Overview', timeline: 'Timeline', spans: 'Spans', logs: 'Logs', result: 'Result', sub: 'Sub-missions' };
/** @type {Readonly<Record<string, (props: any) => any>>} */
const PANELS = { overview: Overview, timeline: Events, spans: Spans, logs: Logs, result: Result, sub: SubMissions };

export function Drawer() {
  const { mission: id, tab } = route.value;
  const { raw, problem } = detail.value;
  const known = state.value.missions.get(id) ?? (raw?.id === id ? parseMission(raw) : null);
  const whole = useRef(/** @type {HTMLElement | null} */ (null));
  // Opening takes the focus; a link that opens it, and leafing through, do not.
  useLayoutEffect(() => {
    if (loaded.peek()) whole.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => whole.current?.querySelector('.drawer__body')?.scrollTo(0, 0), [id, tab]);
  const Panel = PANELS[tab] ?? Overview;
  return html`<aside class="drawer" ref=${whole} tabindex="-1" aria-label=${known ? `Mission ${known.title}` : 'Mission'}>
    <header class="drawer__head">
      <div class="drawer__line">
        ${known && html`<${StatusBadge} mission=${known} acting=${acting.value.get(id)} withPercent=${true} /><${PriorityBadge} priority=${known.priority} />`}
        <span class="drawer__space"></span>
        <button type="button" class="button button--icon" onClick=${closeMission} title="Close (Esc)"><${Icon} name="close" /><span class="visually-hidden">Close</span></button>
      </div>
      <h2 class="drawer__title" dir="auto">${known?.title ?? (problem ? 'This mission cannot be shown' : 'Loading…')}</h2>
      <div class="drawer__id"><button type="button" class="drawer__copy" onClick=${() => copy(id, 'the id')} title="Copy the id">${id}</button>${known?.type && html`<span> · <bdi>${words(known.type)}</bdi></span>`}</div>
      ${known && html`<${ProgressBar} mission=${known} />`}
      <div class="drawer__tabs" role="tablist" aria-label="Mission">
        ${Object.keys(TAB_NAMES).map((name) => html`<button type="button" key=${name} role="tab" id=${`tab-${name}`} class="drawer__tab" aria-selected=${String(tab === name)} aria-controls="drawer-panel"
          tabindex=${tab === name ? 0 : -1} onClick=${() => go({ tab: name }, { replace: true })} onKeyDown=${leaf}>${TAB_NAMES[name]}</button>`)}
      </div>
    </header>
    <div class="drawer__body" id="drawer-panel" role="tabpanel" aria-labelledby=${`tab-${tab}`} tabindex="0">
      ${problem && html`<div class="notice" data-tone="error"><p>${problem}</p><button type="button" class="button button--small" onClick=${readAgain}>Try again</button></div>`}
      ${known && html`<${Panel} mission=${known} detail=${detail.value} open=${openMission} />`}
    </div>
    ${known && html`<footer class="drawer__foot"><${ActionButtons} mission=${known} acting=${acting.value.get(id)} />
      ${known.status === 'running' && !mayNot('report') && html`<button type="button" class="button" data-tone="ghost" onClick=${() => askWhy(id)} title="Pause or cancel, saying why (w)">Say why…</button>`}
      <span class="drawer__space"></span>
      <button type="button" class="button" onClick=${() => copy(location.href, 'the link')}>Copy link</button></footer>`}
  </aside>`;
}

/** Arrow keys move between tabs, as everywhere. @param {KeyboardEvent} event */
function leaf(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tabs = [.../** @type {HTMLElement} */ (event.currentTarget).parentElement?.children ?? []];
  const next = /** @type {HTMLElement} */ (tabs.at((tabs.indexOf(/** @type {Element} */ (event.currentTarget)) + step) % tabs.length));
  next.focus();
  next.click();
}
