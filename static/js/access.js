// The page of those who manage access: keys, who is logged in, and what was changed or refused.
import { Refusal, call } from './api.js';
import { copyText } from './clipboard.js';
import { exact } from './format.js';
import { html, render, signal, useEffect } from './html.js';

const SCOPES = /** @type {const} */ ([
  ['report', 'report missions: what agents do'],
  ['read', 'see everything but this page'],
  ['operate', 'steer missions too; includes report and read'],
  ['admin', 'manage access; includes all'],
]);
const AUDIT_PAGE = 50;

// `null` until the server has said.
const keys = signal(/** @type {any[] | null} */ (null));
const sessions = signal(/** @type {any[] | null} */ (null));
const entries = signal(/** @type {any[] | null} */ (null));
const following = signal(/** @type {number | null} */ (null));
const onlyRefused = signal(false);
const made = signal(/** @type {{name: string, secret: string} | null} */ (null));
const copied = signal('');
const problem = signal('');
const loggedOut = signal(false);
const asked = signal('');

/** @param {() => Promise<void>} work */
async function attempt(work) {
  problem.value = '';
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    loggedOut.value = error.status === 401;
    problem.value = loggedOut.value ? 'You are not logged in any more: your session or its key ended.' : error.message;
  }
}

async function loadAll() {
  const [known, open] = await Promise.all([call('/api/keys'), call('/api/keys/sessions'), loadEntries(false)]);
  keys.value = known.keys;
  sessions.value = open.sessions;
}

/** @param {boolean} more */
async function loadEntries(more) {
  const query = new URLSearchParams({ limit: String(AUDIT_PAGE), ...(onlyRefused.value && { refused: 'true' }), ...(more && following.value && { before: String(following.value) }) });
  const page = await call(`/api/audit?${query}`);
  entries.value = more ? [...(entries.value ?? []), ...page.entries] : page.entries;
  following.value = page.next_before;
}

/** @param {SubmitEvent} event */
function create(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.currentTarget);
  const said = new FormData(form);
  const days = String(said.get('days') ?? '').trim();
  if (!said.has('scopes')) {
    loggedOut.value = false;
    problem.value = 'Choose what the key may do.';
    return;
  }
  attempt(async () => {
    const answer = await call('/api/keys', { method: 'POST', body: { name: said.get('name'), scopes: said.getAll('scopes'), ...(days && { expires_in_days: Number(days) }) } });
    made.value = { name: answer.key.name, secret: answer.secret };
    copied.value = '';
    form.reset();
    await loadAll();
  });
}

async function copyKey() {
  copied.value = (await copyText(made.value?.secret ?? '')) ? 'Copied.' : 'It could not be copied: select it and copy it by hand.';
}

/** Asks once more before what cannot be taken back. @param {string} path */
function drop(path) {
  if (asked.value !== path) {
    asked.value = path;
    return;
  }
  asked.value = '';
  attempt(async () => {
    await call(path, { method: 'DELETE' });
    await loadAll();
  });
}

/** @param {string | null} at */
const time = (at) => (at ? html`<time datetime=${at}>${exact(Date.parse(at))}</time>` : '–');

/** @param {{path: string, word: string, name: string}} props */
function Drop({ path, word, name }) {
  const sure = asked.value === path;
  return html`<button type="button" class="button button--small" data-tone=${sure ? 'danger-filled' : 'danger'} onClick=${() => drop(path)}
    onBlur=${() => { asked.value = ''; }}>${sure ? `Really ${word.toLowerCase()}?` : word}<span class="visually-hidden"> ${name}</span></button>`;
}

/** @param {{names: string[]}} props */
function Head({ names }) {
  return html`<thead><tr>${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>`;
}

/** @param {any} key */
function stateOf(key) {
  if (key.revoked_at) return 'revoked';
  return key.expires_at && Date.parse(key.expires_at) < Date.now() ? 'expired' : 'good';
}

function Keys() {
  return html`<section><h2>Keys</h2>
    <div class="access__scroll" tabindex="0" role="region" aria-label="Keys"><table>
      <${Head} names=${['Name', 'Begins', 'May', 'State', 'Ends', 'Last used', 'Made', 'Revoke']} />
      <tbody>${keys.value?.map((key) => html`<tr key=${key.id} data-state=${stateOf(key)}>
        <th scope="row">${key.name}</th><td class="access__begins"><code>${key.shown}…</code></td><td>${key.scopes.join(', ')}</td><td>${stateOf(key)}</td>
        <td>${key.expires_at ? time(key.expires_at) : 'never'}</td>
        <td>${key.last_used_at ? html`${time(key.last_used_at)} from ${key.last_used_from}` : 'never'}</td>
        <td>${time(key.created_at)} by ${key.created_by}</td>
        <td>${stateOf(key) === 'good' && html`<${Drop} path=${`/api/keys/${key.id}`} word="Revoke" name=${key.name} />`}</td></tr>`)}
      ${keys.value?.length === 0 ? html`<tr key="none"><td colspan="8">No keys yet.</td></tr>` : false}</tbody></table></div>
    ${made.value !== null && html`<div class="access__made" role="status"><p>The key <b>${made.value.name}</b>. It is shown this once; keep it now.</p><code>${made.value.secret}</code>
      <button type="button" class="button button--small" onClick=${copyKey}>Copy</button>
      <button type="button" class="button button--small" onClick=${() => { made.value = null; }}>Done</button>${copied.value !== '' && html`<span>${copied.value}</span>`}</div>`}
    <form class="access__form" onSubmit=${create}><h3>New key</h3>
      <label>Name <input name="name" required maxlength="200" placeholder="what it is for" /></label>
      <label>Ends after <input name="days" type="number" min="1" max="3660" placeholder="never" /> days</label>
      <fieldset><legend>May</legend>${SCOPES.map(([name, says]) => html`<label key=${name} class="access__scope"><input type="checkbox" name="scopes" value=${name} defaultChecked=${name === 'report'} /> <b>${name}</b> ${says}</label>`)}</fieldset>
      <button class="button" data-tone="primary">Make the key</button></form></section>`;
}

function Sessions() {
  return html`<section><h2>Logged in</h2>
    <div class="access__scroll" tabindex="0" role="region" aria-label="Logged in"><table>
      <${Head} names=${['Who', 'Role', 'From', 'Since', 'Until', 'End']} />
      <tbody>${sessions.value?.map((session) => html`<tr key=${session.id}><th scope="row">${session.name}</th><td>${session.role ?? 'as the key'}</td><td>${session.address}</td>
        <td>${time(session.created_at)}</td><td>${time(session.expires_at)}</td><td><${Drop} path=${`/api/keys/sessions/${session.id}`} word="Log out" name=${session.name} /></td></tr>`)}
      ${sessions.value?.length === 0 ? html`<tr key="none"><td colspan="6">Nobody is logged in.</td></tr>` : false}</tbody></table></div></section>`;
}

function AuditLog() {
  return html`<section><h2>Audit log</h2>
    <p class="access__tools"><label><input type="checkbox" checked=${onlyRefused.value} onChange=${(/** @type {any} */ event) => {
      onlyRefused.value = event.target.checked;
      attempt(() => loadEntries(false));
    }} /> only what was refused</label>
      <a class="button button--small" href="/api/audit/export?format=csv" download>CSV</a> <a class="button button--small" href="/api/audit/export?format=jsonl" download>JSON lines</a></p>
    <div class="access__scroll" tabindex="0" role="region" aria-label="Audit log"><table>
      <${Head} names=${['When', 'Who', 'From', 'What', 'Answer', 'Times']} />
      <tbody>${entries.value?.map((entry) => html`<tr key=${entry.id} data-refused=${entry.status >= 400}><td>${time(entry.at)}</td><td>${entry.actor}</td><td>${entry.address}</td><td class="access__what"><code>${entry.action}</code></td>
        <td>${entry.status >= 400 ? `refused (${entry.status})` : 'done'}</td><td>${entry.count}</td></tr>`)}
      ${entries.value?.length === 0 ? html`<tr key="none"><td colspan="6">Nothing yet.</td></tr>` : false}</tbody></table></div>
    ${following.value !== null && html`<button type="button" class="button" onClick=${() => attempt(() => loadEntries(true))}>Older lines</button>`}</section>`;
}

function Access() {
  useEffect(() => { attempt(loadAll); }, []);
  return html`<div class="access">${problem.value ? html`<p class="access__problem" role="alert">${problem.value}${loggedOut.value && html` <a href="/login?next=/access">Log in</a>`}</p>` : false}<${Keys} /><${Sessions} /><${AuditLog} /></div>`;
}

const place = /** @type {HTMLElement} */ (document.getElementById('access'));
place.textContent = '';
render(html`<${Access} />`, place);
