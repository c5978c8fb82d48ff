// The drawer's table of what each model used and cost.
import { html } from '../html.js';
import { costTable } from '../costs.js';

/** @param {{raw: any}} props the mission as the server sent it, `null` until it has come */
export function Costs({ raw }) {
  const { lines, notes } = costTable(raw);
  if (lines.length === 0 && notes.length === 0) return null;
  return html`<h3 class="drawer__heading">Tokens and cost by model</h3>
    ${lines.length > 0 && html`<div class="cost-table"><table class="cost-table__grid">
      <thead><tr><th scope="col">Model</th><th scope="col">Input</th><th scope="col">Output</th><th scope="col">Cost</th></tr></thead>
      <tbody>${lines.map((line) => html`<tr key=${line.model}>
        <th scope="row"><bdi class="mono">${line.model}</bdi></th><td>${line.input}</td><td>${line.output}</td>
        <td class="cost-table__cost" data-priced=${String(line.isPriced)}>${line.cost}</td></tr>`)}</tbody>
    </table></div>`}
    ${notes.map((note) => html`<p class="cost-table__note" key=${note} dir="auto">${note}</p>`)}`;
}
