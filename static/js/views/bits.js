// Small parts that cards, rows and the drawer share.
import { Icon } from './icons.js';
import { WARNING_SHARE, budgetUse, elapsed, isFinal, isUnconfirmed, tellsProgress } from '../missions.js';
import { act, offered } from '../actions.js';
import { capital, duration, exact, percent, relative, ticking } from '../format.js';
import { html } from '../html.js';
import { mayNot } from '../session.js';
import { now } from '../store.js';

/** @typedef {import('../missions.js').Mission} Mission */
/** @typedef {import('../missions.js').Action} Action */
/** @typedef {import('../state.js').Deed} Deed */

/** @type {Readonly<Record<Action, string>>} */
export const ACTION_NAMES = { start: 'Start', pause: 'Pause', resume: 'Resume', cancel: 'Cancel', retry: 'Retry' };
/** @type {Readonly<Record<Deed, string>>} */
const UNDERWAY = { start: 'Starting…', pause: 'Pausing…', resume: 'Resuming…', cancel: 'Cancelling…', retry: 'Retrying…', answer: 'Answering…' };

/** What a mission's state is called, and which colour it has. @param {Mission} mission */
export function stateOf(mission) {
  if (mission.question && !isFinal(mission)) return { name: 'question', label: 'Needs you' };
  if (mission.stalled && !isFinal(mission)) return { name: 'stalled', label: 'Stalled' };
  if (mission.control === 'paused') return { name: 'paused', label: 'Paused' };
  if (mission.control === 'pause_requested') return { name: 'paused', label: 'Pause requested' };
  return { name: mission.status, label: capital(mission.status) };
}

/** @param {{mission: Mission, acting?: Deed, withPercent?: boolean}} props */
export function StatusBadge({ mission, acting, withPercent }) {
  const { name, label } = stateOf(mission);
  const icon = name === 'paused' ? 'pause' : name;
  const told = withPercent && mission.status === 'running' && tellsProgress(mission) ? ` · ${percent(mission.progress)}%` : '';
  return html`<span class="status-badge" data-status=${name} title=${name === 'stalled' ? mission.stalled_reason : undefined}><${Icon} name=${icon} />${acting ? UNDERWAY[acting] : label + told}</span>`;
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
  if (mission.question && !isFinal(mission)) return mission.question.text;
  if (mission.stalled && mission.stalled_reason && !isFinal(mission)) return mission.stalled_reason;
  if (mission.status === 'failed') return mission.error_message || 'Failed without a reason';
  if (mission.status === 'cancelled') return mission.error_message || 'Cancelled';
  if (mission.status === 'completed') return mission.step || mission.description || 'Done';
  if (mission.status === 'pending') return mission.description || 'Waiting to be started';
  return mission.step || mission.description || 'Running';
}

/** What is shown only to whom the server would not refuse it. @param {{scope: string, children?: any}} props */
export const Needs = ({ scope, children }) => (mayNot(scope) ? null : children);

/** Buttons for what can be done to a mission now. @param {{mission: Mission, acting?: Deed, small?: boolean}} props */
export function ActionButtons({ mission, acting, small = false }) {
  return offered(mission).map((action) => html`
    <button type="button" key=${action} class=${small ? 'button button--small' : 'button'} data-tone=${action === 'cancel' ? 'danger' : action === 'start' ? 'primary' : 'plain'}
      disabled=${Boolean(acting)} onClick=${(/** @type {Event} */ event) => { event.stopPropagation(); act(mission.id, action); }}>
      ${acting === action ? UNDERWAY[action] : ACTION_NAMES[action]}<span class="visually-hidden"> ${mission.title}</span>
    </button>`);
}

/** What else needs an eye: a budget nearly used up or exceeded, a cancel that nobody confirmed. @param {{mission: Mission}} props */
export function Flag({ mission }) {
  if (isUnconfirmed(mission)) return html`<span class="flag" data-status="unconfirmed" title="The agent did not acknowledge the cancel in time and may still run"><${Icon} name="stalled" /><span>unconfirmed</span></span>`;
  if (mission.budget_state === 'exceeded') return html`<span class="flag" data-status="over_budget"><${Icon} name="over_budget" /><span>over budget</span></span>`;
  if (isFinal(mission) || (!mission.budget && mission.budget_state !== 'warning')) return null;
  // The clock moves on for a budget of time alone.
  const most = Math.max(0, ...budgetUse(mission, mission.budget?.seconds ? now.value : now.peek()).map(({ share }) => share));
  if (most >= WARNING_SHARE) return html`<span class="flag" data-status="budget" title="near its budget"><${Icon} name="over_budget" /><span>${percent(Math.min(999, most * 100))}% of budget</span></span>`;
  return mission.budget_state === 'warning' ? html`<span class="flag" data-status="budget" title="near its own or a daily budget"><${Icon} name="over_budget" /><span>near budget</span></span>` : null;
}
