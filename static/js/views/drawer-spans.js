// The drawer's spans: the calls and steps inside the mission, each under its parent, on one time axis.
import { html, useState } from '../html.js';
import { cost, count, duration, exact, tokens } from '../format.js';
import { MOST_SPANS, waterfall } from '../lines.js';
import { readRecordsAgain, records } from '../records.js';
import { now } from '../store.js';
import { Json } from './json.js';

const SHOWN = 300;
const DEEPEST = 8;

export function Spans() {
  const { spans, read, cut, problem, id } = records.value;
  const [all, setAll] = useState(false);
  const [open, setOpen] = useState('');
  // Only what still runs grows with the clock.
  const runs = [...spans.values()].some(({ ended_at: ended }) => ended === null);
  const rows = waterfall(spans, runs ? now.value : now.peek());
  const shown = all ? rows : rows.slice(0, SHOWN);
  return html`<div class="spans">
    ${problem && html`<div class="notice" data-tone="error"><p>${problem}</p><button type="button" class="button button--small" onClick=${readRecordsAgain}>Try again</button></div>`}
    ${!read && !problem && html`<p class="drawer__text faint">Loading…</p>`}
    ${read && !rows.length && html`<p class="drawer__text faint">It has told no spans. Calls and steps sent to <code>POST /api/missions/${id}/spans</code>, or by OpenTelemetry, appear here.</p>`}
    ${(cut || spans.size >= MOST_SPANS) && html`<p class="drawer__text faint">The first ${count(spans.size)} spans; all are in <a href=${`/api/missions/${encodeURIComponent(id)}/spans`}>the API</a>.</p>`}
    <ol class="spans__rows" aria-label="Spans">${shown.map((row) => html`<${SpanRow} key=${row.span.id} row=${row} open=${open === row.span.id} toggle=${() => setOpen(open === row.span.id ? '' : row.span.id)} />`)}</ol>
    ${rows.length > shown.length && html`<button type="button" class="button button--small" onClick=${() => setAll(true)}>Show all ${count(rows.length)} spans</button>`}
  </div>`;
}

/** @param {{row: ReturnType<typeof waterfall>[number], open: boolean, toggle: () => void}} props */
function SpanRow({ row, open, toggle }) {
  const { span, depth, from, width, seconds } = row;
  const state = span.error ? 'failed' : span.ended_at === null ? 'running' : 'completed';
  const aside = [span.tokens !== null && `${tokens(span.tokens)} tok`, span.cost !== null && cost(span.cost), span.ended_at === null ? 'running' : duration(seconds)];
  return html`<li class="spans__row" data-status=${state}>
    <button type="button" class="spans__open" aria-expanded=${String(open)} onClick=${toggle}>
      <span class="spans__name" style=${{ paddingInlineStart: `${Math.min(depth, DEEPEST) * 12}px` }}><bdi>${span.name}</bdi>${span.kind && html` <span class="tag">${span.kind}</span>`}${span.error && html` <b class="spans__error">error</b>`}</span>
      <span class="spans__aside">${aside.filter(Boolean).join(' · ')}</span>
      <span class="spans__track" aria-hidden="true"><span class="spans__bar" style=${{ insetInlineStart: `${from}%`, width: `${Math.max(0.5, width)}%` }}></span></span>
    </button>
    ${open && html`<div class="spans__more">
      <p class="faint">${exact(span.started_at)}${span.model && html` · <bdi class="mono">${span.model}</bdi>`}</p>
      ${span.error && html`<pre class="drawer__error" dir="auto" data-status="failed">${span.error}</pre>`}
      ${Object.keys(span.attributes).length > 0 && html`<${Json} value=${span.attributes} name="the attributes" />`}
    </div>`}</li>`;
}
