// One mission as a card of fixed height.
import { Component, html } from '../html.js';
import { check, openMission } from '../actions.js';
import { cost, percent, tokens } from '../format.js';
import { focusWanted } from '../ui.js';
import { tellsProgress } from '../missions.js';
import { ActionButtons, Elapsed, Flag, PriorityBadge, ProgressBar, StatusBadge, Time, sayingOf, stateOf } from './bits.js';
import { CardAnswers } from './question.js';

export const CARD_HEIGHT = 166;
export const GAP = 12;

/**
 * @typedef {object} ItemProps
 * @property {import('../missions.js').Mission} mission
 * @property {number} x @property {number} y @property {number} width
 * @property {number} place @property {number} of
 * @property {boolean} open @property {boolean} current @property {boolean} checked
 * @property {import('../state.js').Deed | undefined} acting
 */

/** Draws again only when something about its own mission changed. */
export class MissionCard extends Component {
  /** @param {ItemProps} next */
  shouldComponentUpdate(next) {
    const before = /** @type {Record<string, any>} */ (this.props);
    return Object.entries(next).some(([name, value]) => before[name] !== value);
  }

  componentDidMount() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  componentDidUpdate() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  render() {
    const { mission, x, y, width, place, of, open, current, checked, acting } = /** @type {ItemProps} */ (/** @type {unknown} */ (this.props));
    const { name } = stateOf(mission);
    return html`<div class="mission-card" role="listitem" aria-setsize=${of} aria-posinset=${place} data-status=${name}
        data-open=${String(open)} data-current=${String(current)} data-checked=${String(checked)}
        style=${{ left: `${x}px`, top: `${y}px`, width: `${width}px` }}>
      <div class="mission-card__top">
        <${StatusBadge} mission=${mission} acting=${acting} />
        <${Flag} mission=${mission} />
        <label class="mission-card__check"><input type="checkbox" checked=${checked} onChange=${() => check(mission.id)} />
          <span class="visually-hidden">Select ${mission.title}</span></label>
        <${PriorityBadge} priority=${mission.priority} />
      </div>
      <h3 class="mission-card__title"><button type="button" class="mission-card__open" data-mission=${mission.id} aria-expanded=${String(open)} title=${mission.title}
        onClick=${() => openMission(mission.id)}><bdi>${mission.title}</bdi></button></h3>
      <p class="mission-card__saying" dir="auto" data-tone=${name}>${sayingOf(mission)}</p>
      <${ProgressBar} mission=${mission} />
      ${name === 'question' ? html`<${CardAnswers} mission=${mission} acting=${acting} />` : html`<div class="mission-card__numbers">
        ${tellsProgress(mission) && html`<b>${percent(mission.progress)}%</b>`}
        ${mission.status === 'pending'
          ? html`<span><${Time} at=${mission.created_at} prefix="created " /></span>`
          : html`<span title="Run time"><${Elapsed} mission=${mission} /></span>`}
        ${mission.tokens_used !== null && html`<span title="Tokens">${tokens(mission.tokens_used)} tok</span>`}
        ${mission.cost_estimate !== null && html`<span title="Cost">${cost(mission.cost_estimate)}${mission.budget?.cost ? ` of ${cost(mission.budget.cost)}` : ''}</span>`}
      </div>
      <div class="mission-card__bottom">
        <span class="mission-card__tags">
          ${(mission.agent_type || mission.type) && html`<span class="tag" dir="auto">${mission.agent_type || mission.type}</span>`}
          ${mission.model_used && html`<span class="tag" dir="auto">${mission.model_used}</span>`}
        </span>
        <span class="mission-card__actions"><${ActionButtons} mission=${mission} acting=${acting} small=${true} /></span>
      </div>`}
    </div>`;
  }
}

/** Take the focus that was promised to this mission. @param {import('../missions.js').Mission} mission */
export function takeFocus({ id }) {
  if (focusWanted.peek() !== id) return;
  focusWanted.value = '';
  /** @type {HTMLElement | null} */ (document.querySelector(`[data-mission="${CSS.escape(id)}"]`))?.focus({ preventScroll: true });
}
