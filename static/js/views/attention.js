// What needs a person, in one line; absent when nothing does. Each part opens exactly the list it counts.
import { computed, html } from '../html.js';
import { go } from '../actions.js';
import { count } from '../format.js';
import { NEEDS_SINCE } from '../feed.js';
import { countNeeds } from '../list.js';
import { LIVE_NEEDS, PAST_NEEDS } from '../missions.js';
import { route, shape, state } from '../store.js';
import { HOME } from '../url.js';
import { Icon } from './icons.js';

/** @type {Readonly<Record<string, (number: number) => string>>} */
const SAY = {
  question: (number) => `${count(number)} ${number === 1 ? 'question' : 'questions'}`,
  stalled: (number) => `${count(number)} stalled`,
  budget: (number) => `${count(number)} near ${number === 1 ? 'its' : 'their'} budget`,
  unconfirmed: (number) => `${count(number)} ${number === 1 ? 'cancel' : 'cancels'} unconfirmed`,
  over_budget: (number) => `${count(number)} stopped by budget`,
};
/** @type {Readonly<Record<string, string>>} */
const ICONS = { budget: 'over_budget', unconfirmed: 'stalled' };

const needy = computed(() => {
  void shape.value;
  return countNeeds(state.peek().missions.values(), LIVE_NEEDS);
});

const ended = computed(() => state.value.recentNeeds);
const failures = computed(() => state.value.recentFailures);

export function Attention() {
  const failed = failures.value ?? 0;
  const present = LIVE_NEEDS.filter((kind) => needy.value[kind] > 0);
  const past = PAST_NEEDS.filter((kind) => ended.value[kind] > 0);
  if (!present.length && !past.length && !failed) return null;
  /** @param {Partial<import('../url.js').Route>} filters */
  const open = (filters) => () => go({ ...HOME, view: route.value.view, ...filters });
  return html`<nav class="attention" aria-label="Needs attention"><span class="attention__title">Needs attention</span>
    ${present.map((kind) => html`<button type="button" key=${kind} class="attention__item" data-status=${kind} onClick=${open({ needs: kind })}><${Icon} name=${ICONS[kind] ?? kind} />${SAY[kind](needy.value[kind])}</button>`)}
    ${past.map((kind) => html`<button type="button" key=${kind} class="attention__item" data-status=${kind} onClick=${open({ needs: kind, since: NEEDS_SINCE })}><${Icon} name=${ICONS[kind] ?? kind} />${SAY[kind](ended.value[kind])} <span title="of the missions created in the last 24 hours">last 24 h</span></button>`)}
    ${failed > 0 && html`<button type="button" class="attention__item" data-status="failed" onClick=${open({ status: ['failed'], since: '1h' })}><${Icon} name="failed" />${count(failed)} failed <span title="of the missions created in the last hour">last hour</span></button>`}
  </nav>`;
}
