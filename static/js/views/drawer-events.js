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
  mission_pause_requested: ['Pause requested', 'paused'],
  mission_paused: ['Paused', 'paused'],
  mission_resumed: ['Resumed', 'running'],
  mission_order_delivered: ['Order delivered', 'cancelled'],
  mission_order_acknowledged: ['Order acknowledged', 'cancelled'],
  mission_cancel_unconfirmed: ['Cancel unconfirmed', 'stalled'],
  mission_question_asked: ['Question asked', 'question'],
  mission_question_answered: ['Question answered', 'question'],
  mission_question_expired: ['Question expired', 'question'],
  mission_stalled: ['Stalled', 'stalled'],
  mission_recovered: ['Heard of again', 'running'],
  mission_budget_warning: ['Near its budget', 'stalled'],
  mission_adopted: ['Found its parent', 'pending'],
  mission_use_counted: ['Use counted', 'running'],
};

/** @param {{event: MissionEvent}} props */
export function EventLine({ event }) {
  const [name, tone] = KINDS[event.type] ?? [event.type.replace(/^mission_/, ''), 'pending'];
  const at = Date.parse(event.at);
  return html`<li class="event" data-status=${tone}><time class="event__time" datetime=${event.at} title=${exact(at)}>${clock(at)}</time>
    <span class="event__what" title=${event.actor ? `asked for by ${event.actor}${event.address ? ` from ${event.address}` : ''}` : undefined}><b>${name}</b>${saying(event)}</span></li>`;
}

/** @param {MissionEvent} event */
function saying({ type, changes = {} }) {
  const { receipt, question } = changes;
  const asks = type === 'mission_pause_requested' || type === 'mission_cancelled';
  const parts = [
    asks && receipt?.asked_by && html` by <bdi>${receipt.asked_by}</bdi>`,
    type === 'mission_pause_requested' && receipt?.reason && html` · <bdi>${receipt.reason}</bdi>`,
    type === 'mission_order_acknowledged' && receipt?.stopped_at && html`, the agent stopped`,
    type === 'mission_cancel_unconfirmed' && html` · the agent did not acknowledge it in time and may still run`,
    type === 'mission_question_asked' && question && html` · <bdi>${question.text}</bdi>`,
    type === 'mission_question_answered' && question && html`: <b><bdi>${question.answer}</bdi></b>${question.answered_by && html` by <bdi>${question.answered_by}</bdi>`}`,
    changes.stalled_reason && html` · ${changes.stalled_reason}`,
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
