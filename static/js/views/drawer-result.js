// The drawer's result: any JSON, shown as text.
import { html } from '../html.js';
import { isFinal } from '../missions.js';
import { Json } from './json.js';

/** @param {{mission: import('../missions.js').Mission, detail: import('../detail.js').Detail}} props */
export function Result({ mission, detail }) {
  if (!detail.raw) return detail.problem ? null : html`<p class="drawer__text faint">Loading…</p>`;
  const { result } = detail.raw;
  if (result === null || result === undefined) {
    return html`<p class="drawer__text faint">${isFinal(mission) ? 'It ended without a result.' : 'There is no result yet. An agent may report one while it runs.'}</p>`;
  }
  return html`${!isFinal(mission) && html`<p class="drawer__text faint">What there is so far:</p>`}<${Json} value=${result} name="the result" />`;
}
