// How the server does: its own numbers, read again every few seconds while somebody looks. Loaded when it is opened.
import { Sparkline } from './charts.js';
import { html, signal, useEffect, useRef, useState } from '../html.js';
import * as api from '../api.js';
import { go, sentence } from '../actions.js';
import { bytes, clock, count, duration, exact, percent, plural } from '../format.js';
import { loggedOut } from '../session.js';
import { paused } from '../store.js';
import { faults, lately, stretches, withAnswer } from '../system.js';
import { dialog } from '../ui.js';
import { Icon } from './icons.js';

/** @typedef {import('../system.js').Answer} Answer */
/** @typedef {import('../system.js').Stretch} Stretch */
/** @typedef {import('../system.js').Fault} Fault */
/**
 * @typedef {object} Storage
 * @property {number} database_bytes
 * @property {{name: string, rows: number, dead_rows: number, table_bytes: number, index_bytes: number}[]} tables
 * @property {{days: Record<string, any>, ended_at: string | null, removed: Record<string, number>}} retention
 */

const EVERY_MS = 5_000;
/** Sizes change slowly, and to measure them costs the database something. */
const STORAGE_EVERY_MS = 60_000;
const MOST_TABLES = 8;

/** What was seen since the page was opened stays while one looks elsewhere. */
const answers = signal(/** @type {readonly Answer[]} */ ([]));
const readAt = signal(/** @type {number | null} */ (null));

/**
 * Read something again and again while the page is looked at; returns what went wrong at the last try.
 * @param {() => Promise<void>} read @param {number} every
 */
function useWatch(read, every) {
  const [problem, setProblem] = useState('');
  const isPaused = paused.value || loggedOut();
  useEffect(() => {
    if (isPaused) return undefined;
    let timer = 0;
    let asking = false;
    let over = false;
    const look = async () => {
      clearTimeout(timer);
      if (document.hidden || asking || over) return;
      asking = true;
      let wait = every;
      try {
        await read();
        if (!over) setProblem('');
      } catch (error) {
        if (!over) setProblem(sentence(error));
        wait = EVERY_MS;
        if (error instanceof api.Refusal && error.retryAfter) wait = Math.max(wait, error.retryAfter * 1000);
      }
      asking = false;
      if (!over && !document.hidden) timer = window.setTimeout(look, wait);
    };
    look();
    document.addEventListener('visibilitychange', look);
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }, [isPaused]);
  return problem;
}

export function System() {
  const [storage, setStorage] = useState(/** @type {Storage | null} */ (null));
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  const problem = useWatch(async () => {
    const { system } = await api.call('/api/system');
    answers.value = withAnswer(answers.value, system);
    readAt.value = Date.now();
  }, EVERY_MS);
  const storageProblem = useWatch(async () => setStorage(await api.call('/api/system/storage')), STORAGE_EVERY_MS);
  useEffect(() => {
    window.scrollTo(0, 0);
    heading.current?.focus({ preventScroll: true });
  }, []);
  const now = answers.value.at(-1);
  return html`<section class="system" id="system" aria-labelledby="system-title">
    <header class="system__head">
      <h2 id="system-title" tabindex="-1" ref=${heading}>System</h2>
      ${now && html`<p class="system__when">${paused.value ? 'Paused: as it was at ' : 'As of '}<time>${clock(readAt.value ?? 0)}</time> · rates ${answers.value.length > 1 ? 'of the last minute' : 'since its start'}</p>`}
      <a class="button" href="/" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); go({}); }}>Back to the missions</a>
    </header>
    ${problem && html`<div class="notice" data-tone="error" role="alert"><p>${problem}${now && ' The numbers are the last that came.'}</p></div>`}
    ${now ? html`<${Numbers} now=${now} />` : !problem && html`<p class="list-note" role="status">Asking the server…</p>`}
    ${storageProblem && !problem && html`<div class="notice" data-tone="error" role="alert"><p>${storageProblem}</p></div>`}
    ${storage && html`<${Sizes} storage=${storage} />`}
  </section>`;
}

/** @param {number} value */
const rate = (value) => (value < 9.95 ? value.toFixed(1) : count(value));

/** @param {{now: Answer}} props */
function Numbers({ now }) {
  const all = answers.value;
  const recent = lately(all);
  const steps = stretches(all);
  const wrong = faults(now, recent);
  const { requests, writes, live, database, alerts } = now;
  const tellings = Object.values(wrong);
  return html`
    <div class="system__verdict" role="status" data-well=${String(!tellings.length)}>
      ${tellings.length ? html`<ul>${tellings.map(({ level, text }) => html`<li key=${text} data-level=${level}><${Icon} name=${level === 'critical' ? 'failed' : 'stalled'} />${text}</li>`)}</ul>`
        : html`<p><${Icon} name="completed" />All is within bounds.</p>`}</div>
    <div class="measures">
      <${Measure} title="Response time p95" value=${duration(recent.p95)} aside=${`p50 ${duration(recent.p50)} · p99 ${duration(recent.p99)}`}
        values=${steps.map(({ p95 }) => p95)} tone="running" fault=${wrong.requests} />
      <${Measure} title="Throughput" value=${rate(recent.perSecond)} unit="answers / s" aside=${`${count(requests.answered)} since its start`}
        values=${steps.map(({ perSecond }) => perSecond)} tone="accent" />
      <${Measure} title="Error rate" value=${percent(recent.errors, 1)} unit="%" aside=${`${plural(recent.failed, 'error')} · ${count(recent.refused)} refused`}
        values=${steps.map(({ errors }) => errors)} tone="failed" fault=${wrong.errors} />
      <${Measure} title="Processor" value=${percent(recent.cpu)} unit="% of a core" aside=${`${duration(now.cpu_s)} since its start`}
        values=${steps.map(({ cpu }) => cpu)} tone="pending" fault=${wrong.cpu} />
      <${Measure} title="Memory" value=${bytes(now.memory_bytes)} unit=${now.memory_limit_bytes ? `of ${bytes(now.memory_limit_bytes)}` : ''} aside="of this process"
        values=${all.map(({ memory_bytes: used }) => used)} tone="question" fault=${wrong.memory} />
      <${Measure} title="Writes" value=${rate(recent.events)} unit="changes / s" aside=${`commit p95 ${duration(recent.commit)}`}
        values=${steps.map(({ events }) => events)} tone="completed" />
      <${Measure} title="Queue" value=${count(writes.queue_depth)} unit=${writes.queue_depth === 1 ? 'write waits' : 'writes wait'} aside=${`the oldest for ${duration(writes.queue_age_s)}`}
        values=${all.map(({ writes: { queue_depth: depth } }) => depth)} tone="pending" fault=${wrong.queue} />
      <${Measure} title="Sockets" value=${count(live.viewers)} unit=${live.viewers === 1 ? 'viewer' : 'viewers'} aside=${`told within ${duration(recent.lag)} (p95)`}
        values=${all.map(({ live: { viewers } }) => viewers)} tone="paused" fault=${wrong.live} />
      <${Measure} title="Database" value=${database.up ? 'Up' : 'Away'} unit=${`PostgreSQL ${database.version}`} aside=${`${database.pool_in_use} of ${plural(database.pool_size, 'reading connection')} busy`}
        values=${all.map(({ database: { pool_in_use: busy } }) => busy)} tone="running" fault=${wrong.database} />
      <${Measure} title="Alerts" value=${alerts ? count(alerts.open) : '–'} unit=${alerts ? 'open' : 'not known'} aside=${alerts ? `${count(alerts.waiting)} to send · ${count(alerts.dead)} given up` : ''}
        values=${all.map((answer) => answer.alerts?.open ?? null)} tone="failed" fault=${wrong.alerts}
        act=${html`<button type="button" class="link" onClick=${() => { dialog.value = 'alerts'; }}>Open alerts</button>`} />
    </div>
    <dl class="system__facts">
      <div><dt>Up for</dt><dd>${duration(now.uptime_s)}</dd></div>
      <div><dt>Process</dt><dd class="mono">${now.process}</dd></div>
      <div><dt>Mission Dashboard</dt><dd>${now.version}</dd></div>
      <div><dt>Python</dt><dd>${now.python}</dd></div>
      <div><dt>PostgreSQL</dt><dd>${database.version}</dd></div>
    </dl>`;
}

/** @param {{title: string, value: string, unit?: string, aside: string, values: (number | null)[], tone: string, fault?: Fault, act?: any}} props */
function Measure({ title, value, unit = '', aside, values, tone, fault, act }) {
  return html`<section class="measure" data-level=${fault?.level ?? 'none'} aria-label=${title}>
    <h3 class="tile__title">${title}</h3>
    <p class="tile__value">${fault && html`<${Icon} name=${fault.level === 'critical' ? 'failed' : 'stalled'} />`}${value}${unit && html`<small>${unit}</small>`}</p>
    <p class="measure__aside">${aside}${aside && act && ' · '}${act}</p>
    <${Sparkline} values=${values} tone=${tone} />
    ${fault && html`<p class="measure__fault">${fault.text}</p>`}
  </section>`;
}

/** @param {{name: string, sizes: number[]}} props */
function Size({ name, sizes: [rows, data, indexes] }) {
  return html`<tr><th scope="row">${name}</th><td>${count(rows)}</td><td>${bytes(data)}</td><td>${bytes(indexes)}</td></tr>`;
}

/** @param {unknown} days */
const kept = (days) => (typeof days === 'number' ? plural(days, 'day') : 'for ever');

/** @param {{storage: Storage}} props */
function Sizes({ storage }) {
  const { tables, database_bytes: whole, retention } = storage;
  const { missions = {}, events, logs, spans } = retention.days;
  const keeps = [...Object.entries(missions).map(([status, days]) => `${status} missions ${kept(days)}`), `history ${kept(events)}`, `logs ${kept(logs)}`, `spans ${kept(spans)}`];
  const small = tables.slice(MOST_TABLES).map((table) => [table.rows, table.table_bytes, table.index_bytes]);
  const rest = small.reduce((sums, sizes) => sums.map((sum, index) => sum + sizes[index]), [0, 0, 0]);
  return html`<section class="system__storage" aria-labelledby="storage-title">
    <h3 id="storage-title">Storage <span>· ${bytes(whole)} in all</span></h3>
    <table class="sizes">
      <thead><tr><th scope="col">Table</th><th scope="col">Rows</th><th scope="col">Data</th><th scope="col">Indexes</th></tr></thead>
      <tbody>
        ${tables.slice(0, MOST_TABLES).map((table) => html`<${Size} key=${table.name} name=${table.name} sizes=${[table.rows, table.table_bytes, table.index_bytes]} />`)}
        ${small.length > 0 && html`<${Size} name=${`${count(small.length)} smaller ones`} sizes=${rest} />`}
      </tbody>
    </table>
    <p class="measure__aside">Kept: ${keeps.join(', ')}. ${retention.ended_at ? html`Old ones were last removed <time>${exact(Date.parse(retention.ended_at))}</time>.` : 'Nothing was removed yet.'}</p>
  </section>`;
}
