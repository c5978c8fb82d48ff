// The drawer's timeline: each change of the mission, in order.
import { html } from '../html.js';
import { readMoreEvents } from '../detail.js';
import { clock, cost, exact, percent, plural, tokens } from '../format.js';

/** @typedef {import('../detail.js').MissionEvent} MissionEvent */

/** @param {{detail: import('../detail.js').Detail}} props */
export function Events({ detail }) {
  const { events, more, problem } = detail;
  if (!events) return problem ? null : html`<p class="drawer__text faint">Loading…</p>`;
  return html`<p class="drawer__text faint">${plural(events.length, 'change')}, oldest first</p>
    <ol class="events">${events.map((event) => html`<${EventLine} key=${event.id} event=${event} />`)}</ol>
    ${more && html`<button type="button" class="button" onClick=${readMoreEvents}>Show later changes</button>`}`;
}

/** @type {Readonly<Record<string, [string, string]>>} */
const KINDS = {
  mission_created: ['Created', 'pending'],
  mission_repriced: ['Repriced', 'pending'],
  mission_started: ['Started', 'running'],
  mission_progress: ['Progress', 'running'],
  mission_completed: ['Completed', 'completed'],
  mission_failed: ['Failed', 'failed'],
  mission_cancelled: ['Cancelled', 'cancelled'],
};

/** @param {{event: MissionEvent}} props */
export function EventLine({ event }) {
  const [name, tone] = KINDS[event.type] ?? [event.type.replace(/^mission_/, ''), 'pending'];
  const at = Date.parse(event.at);
  return html`<li class="event" data-status=${tone}><time class="event__time" datetime=${event.at} title=${exact(at)}>${clock(at)}</time>
    <span class="event__what"><b>${name}</b>${saying(event)}</span></li>`;
}

/** @param {MissionEvent} event */
function saying({ type, changes = {} }) {
  const parts = [
    type === 'mission_progress' && changes.progress != null && html`<b> ${percent(changes.progress)}%</b>`,
    type === 'mission_started' && changes.agent_type && html` by <bdi>${changes.agent_type}</bdi>`,
    changes.model_used && type === 'mission_started' && html` on <bdi class="mono">${changes.model_used}</bdi>`,
    changes.step && html` · <bdi>${changes.step}</bdi>`,
    changes.tokens_used != null && html` · ${tokens(changes.tokens_used)} tokens`,
    changes.cost_estimate != null && html` · ${cost(changes.cost_estimate)}`,
    changes.error_message && html` · <bdi>${String(changes.error_message).slice(0, 300)}</bdi>`,
    type === 'mission_created' && changes.retry_of && html` as a retry`,
  ];
  return parts.filter(Boolean);
}
