// Six numbers with their last hour, and the missions finished per minute.
import { Sparkline, MinuteBars } from './charts.js';
import { computed, html, signal } from '../html.js';
import { go } from '../actions.js';
import { cost, count, duration, minute, percent, plural, tokens } from '../format.js';
import { history, metrics, route, state } from '../store.js';
import { HOME } from '../url.js';

/** @typedef {import('../state.js').Point} Point */
/** @typedef {{title: string, value: string, unit?: string, aside?: string, delta?: number | null, better?: number, values: readonly (number | null)[], tone: string, onClick?: () => void, hint: string}} TileProps */

const LATELY = 10;
const MINUTE = 60_000;

/** @param {Point} point */
const finished = (point) => point.completed + point.failed + point.cancelled;

/** @param {readonly number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Change from the ten minutes before to the last ten, in percent; `null` where nothing can be compared. @param {readonly number[]} values */
function change(values) {
  const lately = sum(values.slice(-LATELY));
  const before = sum(values.slice(-2 * LATELY, -LATELY));
  return before && lately ? ((lately - before) / before) * 100 : null;
}

/** The share of successes in the minutes up to each, so that quiet minutes do not read as failures. @param {readonly Point[]} points */
function successRates(points) {
  return points.map((_, index) => {
    const window = points.slice(Math.max(0, index - LATELY + 1), index + 1);
    const ended = sum(window.map((point) => point.completed + point.failed));
    return ended ? (sum(window.map((point) => point.completed)) / ended) * 100 : null;
  });
}

/** The server's medians per minute; where it sends none, those of the missions that are here. */
const durations = computed(() => {
  const points = history.value;
  if (points.some((point) => point.duration !== null)) return points.map((point) => point.duration);
  /** @type {Map<number, number[]>} */
  const byMinute = new Map(points.map(({ at }) => [at, []]));
  for (const mission of state.peek().missions.values()) {
    if (mission.completed_at === null || mission.duration === null) continue;
    byMinute.get(Math.floor(mission.completed_at / MINUTE) * MINUTE)?.push(mission.duration);
  }
  return points.map(({ at }) => {
    const found = /** @type {number[]} */ (byMinute.get(at)).sort((a, b) => a - b);
    return found.length ? found[Math.floor(found.length / 2)] : null;
  });
});

/** What the tiles draw. */
const series = computed(() => {
  const points = history.value;
  return {
    running: points.map((point) => point.running),
    finished: points.map(finished),
    success: successRates(points),
    tokens: summedUp(points.map((point) => point.tokens)),
    cost: summedUp(points.map((point) => point.cost)),
  };
});

/** Show only what a tile counts, or everything again. @param {string[]} status */
const filterBy = (status) => go({ ...HOME, view: route.value.view, mission: route.value.mission, tab: route.value.tab, status });

export function Tiles() {
  const numbers = metrics.value;
  const points = history.value;
  // The minute that has just begun would read as a drop.
  const whole = points.slice(0, -1);
  const perMinute = whole.length ? sum(whole.slice(-LATELY).map(finished)) / Math.min(LATELY, whole.length) : null;
  const hour = { tokens: sum(points.map((point) => point.tokens)), cost: sum(points.map((point) => point.cost)) };
  const rate = numbers && numbers.completed_missions + numbers.failed_missions > 0 ? numbers.finished_success_rate ?? numbers.success_rate : null;
  return html`<section class="tiles" aria-label="Metrics">
    <${Tile} title="Running" value=${count(numbers?.running_missions)} aside=${numbers ? `${count(numbers.pending_missions)} pending` : ''}
      values=${series.value.running} tone="running" onClick=${() => filterBy(['running'])} hint="Show what runs" />
    <${Tile} title="Throughput" value=${perMinute === null ? '–' : perMinute.toFixed(perMinute < 10 ? 1 : 0)} unit="/ min" delta=${change(whole.map(finished))} better=${1}
      values=${series.value.finished} tone="accent" onClick=${() => filterBy(['completed', 'failed', 'cancelled'])} hint="Show what finished" />
    <${Tile} title="Success rate" value=${percent(rate, 1)} unit="%" aside=${numbers?.failed_missions ? `${count(numbers.failed_missions)} failed` : ''}
      values=${series.value.success} tone="completed" onClick=${() => filterBy(['failed'])} hint="Show what failed" />
    <${Tile} title="Duration p50 · p95" value=${duration(numbers?.duration_p50)} aside=${numbers?.duration_p95 != null ? duration(numbers.duration_p95) : 'last hour'}
      values=${durations.value} tone="pending" onClick=${() => go({ view: 'table', sort: '-duration' })} hint="Show the longest first" />
    <${Tile} title="Tokens" value=${tokens(numbers?.total_tokens)} aside=${points.length ? `${tokens(hour.tokens)} last hour` : ''}
      values=${series.value.tokens} tone="question" onClick=${() => go({ view: 'table', sort: '-tokens_used' })} hint="Show the most tokens first" />
    <${Tile} title="Cost" value=${cost(numbers?.total_cost)} aside=${points.length ? `${cost(hour.cost)} last hour` : ''}
      values=${series.value.cost} tone="paused" onClick=${() => go({ view: 'table', sort: '-cost_estimate' })} hint="Show the dearest first" />
  </section>`;
}

/** The sum up to each. @param {readonly number[]} values */
function summedUp(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

/** @param {TileProps} props */
function Tile({ title, value, unit = '', aside = '', delta = null, better = 0, values, tone, onClick, hint }) {
  const shown = delta !== null && Math.abs(delta) >= 1 && Math.abs(delta) < 1000;
  return html`<button type="button" class="tile" onClick=${onClick} title=${hint}>
    <span class="tile__title">${title}</span>
    <span class="tile__value">${value}${unit && html`<small>${unit}</small>`}${aside && html`<small>${aside}</small>`}
      ${shown && html`<small class="tile__delta" data-good=${String((delta ?? 0) * better >= 0)} title="against the ten minutes before">${(delta ?? 0) > 0 ? '+' : '−'}${Math.abs(delta ?? 0).toFixed(0)}%</small>`}</span>
    <${Sparkline} values=${values} tone=${tone} />
    <span class="visually-hidden">${hint}</span>
  </button>`;
}

/** The minute under the pointer. */
const pointed = signal(/** @type {Point | null} */ (null));

export function Throughput() {
  const points = history.value;
  const said = pointed.value;
  const total = { completed: sum(points.map((point) => point.completed)), failed: sum(points.map((point) => point.failed)), cancelled: sum(points.map((point) => point.cancelled)) };
  return html`<section class="throughput" aria-label="Missions finished per minute">
    <header class="throughput__head">
      <h2 class="throughput__title">Missions finished per minute <span>· ${said ? `${minute(said.at)}` : 'last 60 min'}</span></h2>
      <p class="throughput__legend">
        <span data-status="completed">${said && html`<b>${said.completed}</b>`} completed</span>
        <span data-status="failed">${said && html`<b>${said.failed}</b>`} failed</span>
        <span data-status="cancelled">${said && html`<b>${said.cancelled}</b>`} cancelled</span>
      </p>
    </header>
    <${MinuteBars} points=${points} choose=${chooseTime} point=${(/** @type {Point | null} */ point) => { pointed.value = point; }} />
    <p class="visually-hidden">In the last hour ${plural(total.completed, 'mission')} completed, ${count(total.failed)} failed, ${count(total.cancelled)} were cancelled.</p>
  </section>`;
}

/** @param {number} from @param {number} to */
const chooseTime = (from, to) => go({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), since: '' });
