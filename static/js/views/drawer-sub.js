// The drawer's tree: the mission and all that are parts of it, with what each used itself and together.
import { html, useEffect } from '../html.js';
import { go } from '../actions.js';
import { readTree } from '../detail.js';
import { cost, count, duration, tokens } from '../format.js';
import { isAlive } from '../missions.js';
import { state } from '../store.js';
import { HOME } from '../url.js';
import { Elapsed, StatusBadge } from './bits.js';

const LOOK_AGAIN_MS = 5_000;
const DEEPEST = 8;

/** @param {{mission: import('../missions.js').Mission, detail: import('../detail.js').Detail, open: (id: string) => void}} props */
export function SubMissions({ mission, detail, open }) {
  const { tree, problem } = detail;
  const moves = !tree || tree.nodes.some(({ status }) => isAlive(/** @type {any} */ ({ status })));
  useEffect(() => {
    readTree();
  }, [mission.id]);
  // Parts join and spend without telling their parent.
  useEffect(() => {
    if (!moves) return undefined;
    const timer = setInterval(readTree, LOOK_AGAIN_MS);
    return () => clearInterval(timer);
  }, [mission.id, moves]);
  if (!tree) return problem ? null : html`<p class="drawer__text faint">Loading…</p>`;
  const [root, ...parts] = tree.nodes;
  if (!root || !parts.length) return html`<p class="drawer__text faint">It has no parts. A mission created with this one's id as <code>parent_id</code> appears here.</p>`;
  return html`<p class="drawer__text">${count(parts.length)} ${parts.length === 1 ? 'part' : 'parts'}; together ${tokens(root.total.tokens)} tokens, ${cost(root.total.cost)}
      <span class="faint"> · itself ${tokens(root.own.tokens)}, ${cost(root.own.cost)}</span></p>
    ${tree.truncated && html`<p class="drawer__text faint">There are more than are shown and counted here.</p>`}
    <ul class="sub-missions">${parts.map((node) => html`<${Part} key=${node.id} node=${node} open=${open} />`)}</ul>
    <button type="button" class="button button--small" onClick=${() => go({ ...HOME, parent: mission.id })}>Show its direct parts in the list</button>`;
}

/** @param {{node: import('../detail.js').TreeNode, open: (id: string) => void}} props */
function Part({ node, open }) {
  const known = state.value.missions.get(node.id);
  const shown = known ?? /** @type {any} */ ({ status: node.status, progress: node.progress });
  const sums = node.total.tokens !== node.own.tokens || node.total.cost !== node.own.cost;
  return html`<li class="sub-missions__item" style=${{ paddingInlineStart: `${(Math.min(node.depth, DEEPEST) - 1) * 14}px` }} aria-label=${`Level ${node.depth}`}>
    <${StatusBadge} mission=${shown} withPercent=${true} /><button type="button" class="link" onClick=${() => open(node.id)}><bdi>${node.title}</bdi></button>
    <span class="sub-missions__use" title=${sums ? 'itself, and with its parts' : undefined}>${known ? html`<${Elapsed} mission=${known} />` : duration(node.duration)} · ${tokens(node.own.tokens)} tok · ${cost(node.own.cost)}${sums && html` <b>Σ ${tokens(node.total.tokens)} · ${cost(node.total.cost)}</b>`}</span></li>`;
}
