// What needs a person, in one line; absent when nothing does. Each part opens exactly the list it counts.
import { computed, html } from '../html.js';
import { go } from '../actions.js';
import { count } from '../format.js';
import { countNeeds } from '../list.js';
import { NEEDS } from '../missions.js';
import { now, route, shape, state } from '../store.js';
import { HOME } from '../url.js';
import { Icon } from './icons.js';

const LOOK_AGAIN_MS = 5_000;

/** @type {Readonly<Record<string, (number: number) => string>>} */
const SAY = {
  question: (number) => `${count(number)} ${number === 1 ? 'question' : 'questions'}`,
  stalled: (number) => `${count(number)} stalled`,
  over_budget: (number) => `${count(number)} over budget`,
};

/** Time budgets are exceeded by time alone, so it is looked at now and then. */
const moment = computed(() => Math.floor(now.value / LOOK_AGAIN_MS) * LOOK_AGAIN_MS);

const needy = computed(() => {
  void shape.value;
  return countNeeds(state.peek().missions.values(), NEEDS, moment.value);
});

const failures = computed(() => state.value.recentFailures);

export function Attention() {
  const failed = failures.value ?? 0;
  const present = NEEDS.filter((kind) => needy.value[kind] > 0);
  if (!present.length && !failed) return null;
  /** @param {Partial<import('../url.js').Route>} filters */
  const open = (filters) => () => go({ ...HOME, view: route.value.view, ...filters });
  return html`<nav class="attention" aria-label="Needs attention"><span class="attention__title">Needs attention</span>
    ${present.map((kind) => html`<button type="button" key=${kind} class="attention__item" data-status=${kind} onClick=${open({ needs: kind })}><${Icon} name=${kind} />${SAY[kind](needy.value[kind])}</button>`)}
    ${failed > 0 && html`<button type="button" class="attention__item" data-status="failed" onClick=${open({ status: ['failed'], since: '1h' })}><${Icon} name="failed" />${count(failed)} failed <span title="of the missions created in the last hour">last hour</span></button>`}
  </nav>`;
}
