// What stands where the list would be: first run, loading, nothing found, an error. Each says what to do next.
import { html } from '../html.js';
import { clearFilters, copy } from '../actions.js';
import { tryAgain } from '../feed.js';
import { session } from '../session.js';
import { listedCount } from '../state.js';
import { connection, loaded, metrics, route, state } from '../store.js';
import { dialog } from '../ui.js';
import { isFiltered } from '../url.js';
import { Needs } from './bits.js';
import { Icon } from './icons.js';

const SKELETONS = 9;
const NOT_ALLOWED = [401, 403];

export function ListState() {
  const { order, feed } = state.value;
  if (feed.problem && NOT_ALLOWED.includes(feed.problem.status)) return html`<${NotAllowed} sentence=${feed.problem.sentence} />`;
  if (feed.problem) {
    return html`<div class="notice" data-tone="error" role="alert"><p>${feed.problem.sentence}</p><button type="button" class="button button--small" onClick=${tryAgain}>Try again</button></div>`;
  }
  if (order.length > 0) return feed.loading ? html`<p class="list-note">Loading more…</p>` : null;
  if (!loaded.value) return connection.value.phase === 'offline' ? html`<${Unreachable} />` : html`<${Loading} />`;
  if (isFiltered(route.value)) return feed.loading ? html`<p class="list-note">Searching…</p>` : html`<${NoMatch} />`;
  return metrics.value && (listedCount(metrics.value) ?? 0) > 0 ? html`<${Loading} />` : html`<${FirstRun} />`;
}

function Loading() {
  return html`<div class="skeletons" aria-label="Loading missions" role="status">${Array.from({ length: SKELETONS }, (_, index) => html`<div key=${index} class="skeleton"></div>`)}</div>`;
}

function Unreachable() {
  return html`<div class="empty"><h2>The server cannot be reached</h2><p>The page tries again by itself. Is the dashboard still running, and is this device on its network?</p></div>`;
}

/** @param {{sentence: string}} props */
function NotAllowed({ sentence }) {
  return html`<div class="empty" role="alert"><h2>You may not see these missions</h2><p>${sentence}</p>
    <p>Log in, or ask whoever runs this dashboard to let you in.</p>
    <a class="button" data-tone="primary" href="/login">Log in</a> <button type="button" class="button" onClick=${tryAgain}>Try again</button></div>`;
}

function NoMatch() {
  return html`<div class="empty"><h2>No mission matches</h2>
    <p>${route.value.q ? 'Every word of a search must be found in title, description, type, agent or model. ' : ''}Missions that match later appear here by themselves.</p>
    <button type="button" class="button" onClick=${clearFilters}>Clear filters</button></div>`;
}

function FirstRun() {
  const needsKey = session.value !== null && session.value.kind !== 'local';
  const line = `curl -X POST ${location.origin}/api/missions${needsKey ? " -H 'Authorization: Bearer mdk_...'" : ''} -H 'Content-Type: application/json' -d '{"title": "My first mission"}'`;
  return html`<div class="empty"><h2>No missions yet</h2>
    <p>Create the first with this line in a terminal. It appears here the moment it is stored.${needsKey && html` In place of <code>mdk_...</code> goes a key that may report.`}</p>
    <div class="empty__line"><code>${line}</code><button type="button" class="button" onClick=${() => copy(line, 'the line')}><${Icon} name="copy" />Copy</button></div>
    <p class="empty__waiting"><span class="live-state__dot" aria-hidden="true"></span>Waiting for the first mission…</p>
    <p><${Needs} scope="report"><button type="button" class="button" data-tone="primary" onClick=${() => { dialog.value = 'new'; }}>New mission</button> </${Needs}><a class="button" href="/api/docs">Read the API</a></p></div>`;
}
