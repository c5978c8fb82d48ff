// The drawer's list of the missions that are parts of this one.
import { html, useEffect } from '../html.js';
import { go } from '../actions.js';
import { readChildren } from '../detail.js';
import { state } from '../store.js';
import { HOME } from '../url.js';
import { Elapsed, StatusBadge } from './bits.js';

/** @param {{mission: import('../missions.js').Mission, detail: import('../detail.js').Detail, open: (id: string) => void}} props */
export function SubMissions({ mission, detail, open }) {
  const { children, problem } = detail;
  useEffect(() => {
    if (!children) readChildren();
  }, [mission.id, children]);
  if (!children) return problem ? null : html`<p class="drawer__text faint">Loading…</p>`;
  if (!children.length) return html`<p class="drawer__text faint">It has no parts. A mission created with this one's id as <code>parent_id</code> appears here.</p>`;
  return html`<ul class="sub-missions">${children.map((id) => {
    const part = state.value.missions.get(id);
    return part && html`<li key=${id} class="sub-missions__item"><${StatusBadge} mission=${part} withPercent=${true} /><button type="button" class="link" onClick=${() => open(id)}><bdi>${part.title}</bdi></button><span class="faint"><${Elapsed} mission=${part} /></span></li>`;
  })}</ul>
  <button type="button" class="button button--small" onClick=${() => go({ ...HOME, parent: mission.id })}>Show them in the list</button>`;
}
