// One mission as a line on the time axis, and the axis.
import { Component, html } from '../html.js';
import { openMission } from '../actions.js';
import { clock, minute, ticking } from '../format.js';
import { elapsed } from '../missions.js';
import { now, state } from '../store.js';
import { StatusBadge, stateOf } from './bits.js';
import { takeFocus } from './card.js';

export const SPAN_HEIGHT = 38;
const SHORTEST_MS = 5 * 60_000;
const LONGEST_MS = 24 * 3_600_000;
const LOOKED_AT = 200;
const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360].map((minutes) => minutes * 60_000);

/** The stretch of time the first missions of the list cover. @returns {{from: number, to: number}} */
export function stretch() {
  const { order, missions } = state.value;
  const to = now.value;
  let from = to - SHORTEST_MS;
  for (const id of order.slice(0, LOOKED_AT)) from = Math.min(from, missions.get(id)?.created_at ?? to);
  return { from: Math.max(from, to - LONGEST_MS), to };
}

/** @param {{from: number, to: number}} props */
export function TimeAxis({ from, to }) {
  const step = STEPS_MS.find((size) => (to - from) / size <= 8) ?? STEPS_MS[STEPS_MS.length - 1];
  const marks = [];
  // Whole hours of the reader's zone, not of UTC.
  const shift = new Date(to).getTimezoneOffset() * 60_000;
  for (let at = Math.ceil((from - shift) / step) * step + shift; at < to; at += step) marks.push(at);
  return html`<div class="mission-spans__axis" aria-hidden="true"><div class="mission-spans__scale">
    ${marks.map((at) => html`<span key=${at} class="mission-spans__mark" style=${{ left: place(at, from, to) }}>${minute(at)}</span>`)}
  </div></div>`;
}

/** @param {number} at @param {number} from @param {number} to */
const place = (at, from, to) => `${((Math.min(to, Math.max(from, at)) - from) / (to - from)) * 100}%`;

export class MissionSpan extends Component {
  componentDidMount() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  componentDidUpdate() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  render() {
    const { mission, y, place: position, of, open, current, acting, from, to } = /** @type {import('./card.js').ItemProps & {from: number, to: number}} */ (/** @type {unknown} */ (this.props));
    const { name } = stateOf(mission);
    const began = mission.started_at ?? mission.created_at;
    const ended = mission.completed_at ?? to;
    const said = mission.started_at === null ? 'not started' : ticking(elapsed(mission, to));
    return html`<div class="mission-span" role="listitem" aria-setsize=${of} aria-posinset=${position} data-status=${name} data-open=${String(open)} data-current=${String(current)}
        style=${{ top: `${y}px` }}>
      <div class="mission-span__name"><${StatusBadge} mission=${mission} acting=${acting} />
        <button type="button" class="mission-span__open" data-mission=${mission.id} aria-expanded=${String(open)} onClick=${() => openMission(mission.id)} title=${mission.title}><bdi>${mission.title}</bdi></button></div>
      <div class="mission-span__track" title=${`${clock(began)} – ${mission.completed_at ? clock(ended) : 'now'} · ${said}`}>
        ${mission.created_at < began && html`<span class="mission-span__wait" style=${{ left: place(mission.created_at, from, to), right: `calc(100% - ${place(began, from, to)})` }}></span>`}
        <span class="mission-span__bar" data-waiting=${String(mission.started_at === null)} style=${{ left: place(began, from, to), right: `calc(100% - ${place(ended, from, to)})` }}></span>
        <span class="visually-hidden">${said}</span>
      </div>
    </div>`;
  }
}
