// One mission as a row of the table, and the table's head.
import { Component, html } from '../html.js';
import { check, go, openMission } from '../actions.js';
import { cost, percent, tokens } from '../format.js';
import { route } from '../store.js';
import { tellsProgress } from '../missions.js';
import { Elapsed, PriorityBadge, ProgressBar, StatusBadge, Time, sayingOf, stateOf } from './bits.js';
import { takeFocus } from './card.js';

export const ROW_HEIGHT = 46;

/** The columns, and by what the ones that can be sorted are. */
const COLUMNS = /** @type {const} */ ([
  ['check', '', ''], ['status', 'Status', ''], ['title', 'Mission', ''], ['priority', 'Priority', 'priority'], ['agent', 'Agent · model', ''],
  ['progress', 'Progress', ''], ['time', 'Run time', 'duration'], ['tokens', 'Tokens', 'tokens_used'], ['cost', 'Cost', 'cost_estimate'],
  ['created', 'Created', 'created_at'],
]);

export function TableHead() {
  const { sort } = route.value;
  return html`<div class="mission-table__head" role="row">
    ${COLUMNS.map(([name, label, by]) => html`<div key=${name} role="columnheader" class="mission-table__cell" data-column=${name}
      aria-sort=${by ? (sort === by ? 'ascending' : sort === `-${by}` ? 'descending' : 'none') : undefined}>
      ${by ? html`<button type="button" class="mission-table__sort" onClick=${() => go({ sort: next(sort, by) })}>${label}
        <span aria-hidden="true">${sort === by ? '↑' : sort === `-${by}` ? '↓' : ''}</span></button>` : label || html`<span class="visually-hidden">Select</span>`}
    </div>`)}
  </div>`;
}

/** Largest first, then smallest first, then the list's own order. @param {string} sort @param {string} by */
const next = (sort, by) => (sort === `-${by}` ? by : sort === by ? '' : `-${by}`);

export class MissionRow extends Component {
  /** @param {import('./card.js').ItemProps} props */
  shouldComponentUpdate(props) {
    const before = /** @type {Record<string, any>} */ (this.props);
    return Object.entries(props).some(([name, value]) => before[name] !== value);
  }

  componentDidMount() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  componentDidUpdate() {
    takeFocus(/** @type {any} */ (this.props).mission);
  }

  render() {
    const { mission, y, place, open, current, checked, acting } = /** @type {import('./card.js').ItemProps} */ (/** @type {unknown} */ (this.props));
    const { name } = stateOf(mission);
    return html`<div class="mission-table__row" role="row" aria-rowindex=${place + 1} data-status=${name} data-open=${String(open)} data-current=${String(current)}
        data-checked=${String(checked)} style=${{ top: `${y}px` }}>
      <div role="cell" class="mission-table__cell" data-column="check"><label class="mission-table__check"><input type="checkbox" checked=${checked} onChange=${() => check(mission.id)} />
        <span class="visually-hidden">Select ${mission.title}</span></label></div>
      <div role="cell" class="mission-table__cell" data-column="status"><${StatusBadge} mission=${mission} acting=${acting} /></div>
      <div role="cell" class="mission-table__cell" data-column="title">
        <button type="button" class="mission-table__open" data-mission=${mission.id} aria-expanded=${String(open)} onClick=${() => openMission(mission.id)} title=${mission.title}><bdi>${mission.title}</bdi></button>
        <span class="mission-table__saying" dir="auto">${sayingOf(mission)}</span></div>
      <div role="cell" class="mission-table__cell" data-column="priority"><${PriorityBadge} priority=${mission.priority} /></div>
      <div role="cell" class="mission-table__cell" data-column="agent" dir="auto">${[mission.agent_type || mission.type, mission.model_used].filter(Boolean).join(' · ') || '–'}</div>
      <div role="cell" class="mission-table__cell" data-column="progress"><${ProgressBar} mission=${mission} /><span>${tellsProgress(mission) ? `${percent(mission.progress)}%` : ''}</span></div>
      <div role="cell" class="mission-table__cell" data-column="time"><${Elapsed} mission=${mission} /></div>
      <div role="cell" class="mission-table__cell" data-column="tokens">${tokens(mission.tokens_used)}</div>
      <div role="cell" class="mission-table__cell" data-column="cost">${cost(mission.cost_estimate)}</div>
      <div role="cell" class="mission-table__cell" data-column="created"><${Time} at=${mission.created_at} /></div>
    </div>`;
  }
}
