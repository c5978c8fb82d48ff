// Small parts that cards, rows and the drawer share.
import { Icon } from './icons.js';
import { allowedActions, elapsed, isFinal, isOverBudget, tellsProgress } from '../missions.js';
import { act } from '../actions.js';
import { capital, duration, exact, percent, relative, ticking } from '../format.js';
import { html } from '../html.js';
import { now } from '../store.js';

/** @typedef {import('../missions.js').Mission} Mission */
/** @typedef {import('../missions.js').Action} Action */

/** @type {Readonly<Record<Action, string>>} */
export const ACTION_NAMES = { start: 'Start', cancel: 'Cancel', retry: 'Retry' };
/** @type {Readonly<Record<Action, string>>} */
const UNDERWAY = { start: 'Starting…', cancel: 'Cancelling…', retry: 'Retrying…' };

/** What a mission's state is called, and which colour it has. @param {Mission} mission */
export function stateOf(mission) {
  if (mission.question && !isFinal(mission)) return { name: 'question', label: 'Needs you' };
  if (mission.stalled && !isFinal(mission)) return { name: 'stalled', label: 'Stalled' };
  if (mission.control === 'paused') return { name: 'paused', label: 'Paused' };
  return { name: mission.status, label: capital(mission.status) };
}

/** @param {{mission: Mission, acting?: Action, withPercent?: boolean}} props */
export function StatusBadge({ mission, acting, withPercent }) {
  const { name, label } = stateOf(mission);
  const icon = name === 'paused' ? 'pause' : name;
  const told = withPercent && mission.status === 'running' && tellsProgress(mission) ? ` · ${percent(mission.progress)}%` : '';
  return html`<span class="status-badge" data-status=${name}><${Icon} name=${icon} />${acting ? UNDERWAY[acting] : label + told}</span>`;
}

/** @param {{priority: string}} props */
export function PriorityBadge({ priority }) {
  return html`<span class="priority-badge" data-priority=${priority}><span class="visually-hidden">Priority: </span>${priority}</span>`;
}

/** @param {{mission: Mission}} props */
export function ProgressBar({ mission }) {
  const known = tellsProgress(mission);
  const { name } = stateOf(mission);
  const text = known ? `${percent(mission.progress)}%` : 'running, how far is not known';
  return html`<div class="progress-bar" role="progressbar" data-status=${name} data-known=${String(known)} aria-label="Progress"
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${known ? Math.floor(mission.progress) : undefined} aria-valuetext=${text}>
    <div class="progress-bar__fill" style=${{ width: known ? `${mission.progress}%` : '' }}></div>
  </div>`;
}

/** How long it has run; ticks while it does. @param {{mission: Mission}} props */
export function Elapsed({ mission }) {
  return mission.status === 'running' ? html`${ticking(elapsed(mission, now.value))}` : html`${duration(elapsed(mission, 0))}`;
}

/** A time, relative; exact on hover. @param {{at: number | null, prefix?: string}} props */
export function Time({ at, prefix = '' }) {
  if (at === null) return html`<span>–</span>`;
  return html`<time datetime=${new Date(at).toISOString()} title=${exact(at)}>${prefix}${relative(at, now.value)}</time>`;
}

/** The second line of a card: what it does, or why it ended. @param {Mission} mission */
export function sayingOf(mission) {
  if (mission.question && !isFinal(mission)) return mission.question;
  if (mission.status === 'failed') return mission.error_message || 'Failed without a reason';
  if (mission.status === 'cancelled') return mission.error_message || 'Cancelled';
  if (mission.status === 'completed') return mission.step || mission.description || 'Done';
  if (mission.status === 'pending') return mission.description || 'Waiting to be started';
  return mission.step || mission.description || 'Running';
}

/** Buttons for what can be done to a mission now. @param {{mission: Mission, acting?: Action, small?: boolean}} props */
export function ActionButtons({ mission, acting, small = false }) {
  return allowedActions(mission).map((action) => html`
    <button type="button" key=${action} class=${small ? 'button button--small' : 'button'} data-tone=${action === 'cancel' ? 'danger' : action === 'start' ? 'primary' : 'plain'}
      disabled=${Boolean(acting)} onClick=${(/** @type {Event} */ event) => { event.stopPropagation(); act(mission.id, action); }}>
      ${acting === action ? UNDERWAY[action] : ACTION_NAMES[action]}<span class="visually-hidden"> ${mission.title}</span>
    </button>`);
}

/** @param {{mission: Mission}} props */
export function OverBudget({ mission }) {
  return mission.budget && isOverBudget(mission, now.value) ? html`<span class="over-budget"><${Icon} name="over_budget" />over budget</span>` : null;
}
