// What narrows the list: tabs for the status with their counts, chips for the rest, and how the list is shown.
import { html, useState } from '../html.js';
import { clearFilters, go, toggleFacet } from '../actions.js';
import { capital, count, moment, words } from '../format.js';
import { PRIORITIES } from '../missions.js';
import { listedCount } from '../state.js';
import { counts, metrics, now, route } from '../store.js';
import { SINCE, VIEWS, hasOwnFilters, isFiltered, listKey } from '../url.js';
import { Icon } from './icons.js';
import { Menu } from './menu.js';

/** @typedef {import('../url.js').Facet} Facet */

const TABS = ['', 'running', 'pending', 'completed', 'failed', 'cancelled'];
const MANY_OPTIONS = 8;

export function FilterRow() {
  return html`<section class="filters" aria-label="Filters">
    <${StatusTabs} />
    <div class="filters__chips">
      <${FacetChip} facet="priority" name="Priority" />
      <${FacetChip} facet="type" name="Type" />
      <${FacetChip} facet="agent_type" name="Agent" />
      <${FacetChip} facet="model_used" name="Model" />
      <${TimeChip} />
      ${route.value.needs && html`<${SetChip} text=${NEED_NAMES[route.value.needs]} undo=${() => go({ needs: '' })} />`}
      ${route.value.parent && html`<${SetChip} text="Parts of one mission" undo=${() => go({ parent: '' })} />`}
      ${isFiltered(route.value) && html`<button type="button" class="button" data-tone="ghost" onClick=${clearFilters}>Clear filters</button>`}
    </div>
    <${ViewSwitch} />
  </section>`;
}

/** @type {Readonly<Record<string, string>>} */
export const NEED_NAMES = {
  question: 'Waiting for an answer', stalled: 'Stalled', budget: 'Near their budget', over_budget: 'Stopped by a budget', unconfirmed: 'Cancel unconfirmed',
};

function StatusTabs() {
  const { status } = route.value;
  const chosen = status.length === 1 ? status[0] : '';
  const several = status.length > 1;
  return html`<div class="tabs" role="group" aria-label="Status">
    ${TABS.map((name) => {
      const on = !several && name === chosen;
      const number = statusCount(name);
      return html`<button type="button" key=${name} class="tab" aria-pressed=${String(on || status.includes(name))} onClick=${() => go({ status: name ? [name] : [] })}>
        ${name ? capital(name) : 'All'}${number !== null && html`<span class="tab__count">${count(number)}</span>`}</button>`;
    })}
  </div>`;
}

/** How many missions a tab would show; `null` where only asking would tell. @param {string} name @returns {number | null} */
function statusCount(name) {
  const numbers = metrics.value;
  const here = route.value;
  if (!isFiltered({ ...here, status: [] })) return numbers && listedCount(numbers, name);
  const known = counts.value;
  if (!known || known.key !== listKey({ ...here, sort: '' })) return null;
  if (hasOwnFilters(here)) {
    // The server counts searches and times as a whole only.
    const isShown = name ? here.status.length === 1 && here.status[0] === name : here.status.length === 0;
    return isShown ? known.total : null;
  }
  const byStatus = known.facets.status ?? {};
  return name ? byStatus[name] ?? 0 : Object.values(byStatus).reduce((sum, number) => sum + number, 0);
}

/** @param {{facet: Facet, name: string}} props */
function FacetChip({ facet, name }) {
  const chosen = route.value[facet];
  const short = chosen.map((value) => (facet === 'type' ? words(value) : value)).join(', ');
  const label = chosen.length ? html`<span class="chip__text">${name}: <bdi>${short}</bdi></span>` : name;
  const options = optionsOf(facet);
  if (!options.length && !chosen.length) return null;
  return html`<${Menu} label=${label} set=${chosen.length > 0}>${() => html`<${Options} facet=${facet} name=${name} options=${options} />`}</${Menu}>`;
}

/** @param {Facet} facet @returns {{value: string, number: number | null}[]} */
function optionsOf(facet) {
  const found = counts.value?.facets[facet] ?? {};
  const exact = counts.value !== null && !hasOwnFilters(route.value);
  const values = facet === 'priority' ? [...PRIORITIES] : Object.keys(found).sort((a, b) => found[b] - found[a] || a.localeCompare(b));
  for (const value of route.value[facet]) if (!values.includes(value)) values.push(value);
  return values.map((value) => ({ value, number: exact ? found[value] ?? 0 : null }));
}

/** @param {{facet: Facet, name: string, options: {value: string, number: number | null}[]}} props */
function Options({ facet, name, options }) {
  const [sought, setSought] = useState('');
  const chosen = route.value[facet];
  const shown = options.filter(({ value }) => value.toLowerCase().includes(sought.toLowerCase()));
  return html`<fieldset class="menu__group"><legend>${name}</legend>
    ${options.length > MANY_OPTIONS && html`<input class="field__input" type="search" aria-label=${`Find ${name.toLowerCase()}`} placeholder="Find…" value=${sought} onInput=${(/** @type {any} */ event) => setSought(event.target.value)} />`}
    <div class="menu__options">${shown.map(({ value, number }) => html`<label key=${value} class="menu__choice">
      <input type="checkbox" checked=${chosen.includes(value)} onChange=${() => toggleFacet(facet, value)} />
      <bdi>${facet === 'type' ? words(value) : value}</bdi>${number !== null && html`<span class="menu__number">${count(number)}</span>`}</label>`)}</div>
    ${chosen.length > 0 && html`<button type="button" class="button button--small" onClick=${() => go({ [facet]: [] })}>Any ${name.toLowerCase()}</button>`}
  </fieldset>`;
}

function TimeChip() {
  const { since, from, to } = route.value;
  if (from || to) {
    const text = `Finished ${from ? moment(Date.parse(from), now.value) : '…'} – ${to ? moment(Date.parse(to), now.value) : 'now'}`;
    return html`<${SetChip} text=${text} undo=${() => go({ from: '', to: '' })} />`;
  }
  const label = since ? SINCE[since].label : 'Time';
  return html`<${Menu} label=${label} set=${since !== ''}>${(/** @type {() => void} */ close) => html`<fieldset class="menu__group"><legend>Created</legend>
    ${[['', 'Any time'], ...Object.entries(SINCE).map(([key, { label: name }]) => [key, name])].map(([key, name]) => html`<label key=${key} class="menu__choice">
      <input type="radio" name="since" checked=${since === key} onChange=${() => { go({ since: key }); close(); }} />${name}</label>`)}</fieldset>`}</${Menu}>`;
}

/** @param {{text: string, undo: () => void}} props */
function SetChip({ text, undo }) {
  return html`<button type="button" class="chip" data-set="true" onClick=${undo}><span class="chip__text">${text}</span><${Icon} name="close" /><span class="visually-hidden">Take this filter away</span></button>`;
}

function ViewSwitch() {
  return html`<div class="tabs filters__views" role="group" aria-label="View">
    ${VIEWS.map((name) => html`<button type="button" key=${name} class="tab" aria-pressed=${String(route.value.view === name)} onClick=${() => go({ view: name })}>${capital(name)}</button>`)}
  </div>`;
}
