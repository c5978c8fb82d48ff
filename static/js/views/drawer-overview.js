// The drawer's first tab: why the mission is in its state, its numbers, and the last that happened.
import { html } from '../html.js';
import { capital, cost, count, duration, ticking } from '../format.js';
import { budgetUse, elapsed, expectedRest, isFinal } from '../missions.js';
import { acting, now } from '../store.js';
import { Elapsed, Flag, Time } from './bits.js';
import { Costs } from './drawer-costs.js';
import { EventLine } from './drawer-events.js';
import { Gauge } from './gauge.js';
import { Icon } from './icons.js';
import { Json } from './json.js';
import { QuestionPanel } from './question.js';
import { ReceiptSteps } from './receipt.js';

/** @typedef {import('../missions.js').Mission} Mission */

const LATEST = 5;

/** @param {{mission: Mission, detail: import('../detail.js').Detail, open: (id: string) => void}} props */
export function Overview({ mission, detail, open }) {
  const { raw, events } = detail;
  const rest = expectedRest(mission, now.value);
  const error = raw?.error_message ?? mission.error_message;
  const uses = budgetUse(mission, now.value);
  const { type: _type, ...metadata } = raw?.metadata ?? {};
  return html`
    <${QuestionPanel} key=${mission.question?.id} mission=${mission} acting=${acting.value.get(mission.id)} />
    ${!mission.question && html`<${LastAnswer} events=${events} />`}
    <p class="drawer__why" dir="auto">${whyOf(mission)}</p>
    ${error && html`<pre class="drawer__error" dir="auto" data-status=${mission.status}>${error}</pre>`}
    ${uses.length > 0 && html`<section class="gauges" aria-label="Budget">${uses.map((one) => html`<${Gauge} key=${one.kind} use=${one} />`)}</section>`}
    ${mission.receipt && html`<${ReceiptSteps} receipt=${mission.receipt} control=${mission.control} />`}
    <dl class="facts">
      <${Fact} name="Agent" value=${mission.agent_type && html`<bdi>${mission.agent_type}</bdi>`} />
      <${Fact} name="Model" value=${mission.model_used && html`<bdi class="mono">${mission.model_used}</bdi>`} />
      <${Fact} name="Created" value=${html`<${Time} at=${mission.created_at} />`} />
      <${Fact} name="Started" value=${mission.started_at !== null && html`<${Time} at=${mission.started_at} />`} />
      <${Fact} name=${mission.status === 'running' ? 'Expected end' : ''} value=${rest !== null && html`in about ${ticking(rest)} <span class="faint">(at the pace of its progress)</span>`} />
      <${Fact} name=${capital(mission.status)} value=${mission.completed_at !== null && html`<${Time} at=${mission.completed_at} />`} />
      <${Fact} name="Run time" value=${mission.started_at !== null && html`<${Elapsed} mission=${mission} />`} />
      <${Fact} name="Tokens" value=${mission.tokens_used !== null && html`${count(mission.tokens_used)} <span class="faint">${tokenParts(mission)}</span>`} />
      <${Fact} name="Cost" value=${mission.cost_estimate !== null && html`${cost(mission.cost_estimate)} <${Flag} mission=${mission} />`} />
      <${Fact} name="Last heard of" value=${!isFinal(mission) && mission.heartbeat_at !== null && html`<${Time} at=${mission.heartbeat_at} />`} />
      <${Fact} name="Last moved" value=${!isFinal(mission) && mission.moved_at !== null && html`<${Time} at=${mission.moved_at} /> <span class="faint">(start or progress)</span>`} />
      <${Fact} name="Retry of" value=${mission.retry_of && html`<${MissionLink} id=${mission.retry_of} open=${open} />`} />
      <${Fact} name="Part of" value=${mission.parent_id && html`<${MissionLink} id=${mission.parent_id} open=${open} />`} />
    </dl>
    <${Costs} raw=${raw} />
    ${(raw?.description ?? mission.description) && html`<h3 class="drawer__heading">Description</h3><p class="drawer__text" dir="auto">${raw?.description ?? mission.description}</p>`}
    ${events && events.length > 0 && html`<h3 class="drawer__heading">Latest</h3>
      <ol class="events">${events.slice(-LATEST).reverse().map((event) => html`<${EventLine} key=${event.id} event=${event} />`)}</ol>`}
    ${Object.keys(metadata).length > 0 && html`<h3 class="drawer__heading">Metadata</h3><${Json} value=${metadata} name="the metadata" />`}`;
}

/** The last question and what became of it, from the history. @param {{events: readonly import('../detail.js').MissionEvent[] | null}} props */
function LastAnswer({ events }) {
  const question = events?.findLast((event) => event.changes?.question?.text)?.changes.question;
  if (!question || question.state === 'open') return null;
  const at = Date.parse(question.answered_at);
  return html`<section class="question" data-closed="true" aria-label="Last question">
    <p class="question__text" dir="auto"><${Icon} name="question" /><span>${question.text}</span></p>
    <p class="question__about">${question.state === 'answered'
      ? html`<span>Answered <b><bdi>${question.answer}</bdi></b>${question.answered_by && html` by <bdi>${question.answered_by}</bdi>`}${Number.isFinite(at) && html`, <${Time} at=${at} />`}</span>`
      : html`<span>${question.state === 'expired' ? 'Its time ran out without an answer.' : 'The mission ended without an answer.'}</span>`}</p>
  </section>`;
}

/** @param {{name: string, value: any}} props */
function Fact({ name, value }) {
  return name && value ? html`<dt>${name}</dt><dd>${value}</dd>` : null;
}

/** @param {{id: string, open: (id: string) => void}} props */
function MissionLink({ id, open }) {
  return html`<button type="button" class="link mono" onClick=${() => open(id)}>${id}</button>`;
}

/** @param {Mission} mission */
function tokenParts({ input_tokens: input, output_tokens: output }) {
  const parts = [input !== null && `${count(input)} in`, output !== null && `${count(output)} out`];
  return parts.filter(Boolean).join(' · ');
}

/** The state in a sentence, with what it rests on. @param {Mission} mission */
function whyOf(mission) {
  const at = now.value;
  const ran = duration(elapsed(mission, at));
  if (mission.status === 'pending') return `Created ${ticking((at - mission.created_at) / 1000)} ago and not started yet.`;
  if (mission.status === 'completed') return mission.started_at === null ? 'Completed.' : `Completed after ${ran}.`;
  if (mission.status === 'failed') return `Failed after ${ran}${mission.error_message ? ':' : ', without a reason.'}`;
  if (mission.status === 'cancelled') return `Cancelled ${mission.started_at === null ? 'before it started' : `after ${ran}`}${mission.error_message ? ':' : '.'}`;
  if (mission.question) return 'It waits for an answer.';
  if (mission.control === 'paused') return 'Paused: its agent waits until it is resumed.';
  if (mission.control === 'pause_requested') return 'Asked to pause: its agent goes on until it hears of it.';
  const quiet = mission.heartbeat_at === null ? null : (at - mission.heartbeat_at) / 1000;
  const heard = quiet === null ? '' : ` Heard of ${quiet < 2 ? 'just now' : `${ticking(quiet)} ago`}.`;
  return mission.stalled ? `Stalled. ${mission.stalled_reason}` : `${mission.step || 'Running.'}${/[.!?…:]$/.test(mission.step) || !mission.step ? '' : '.'}${heard}`;
}

