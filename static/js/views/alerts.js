// The alerts that nobody looks after yet. Rules and channels are made over the API: docs/alerts.md.
import { html, useEffect } from '../html.js';
import { acknowledge, alerts, alertsProblem, readAlerts, setTells, tells } from '../alerts.js';
import { openMission } from '../actions.js';
import { Time } from './bits.js';
import { closeDialog, Dialog } from './dialogs.js';

export function Alerts() {
  useEffect(() => { readAlerts(); }, []);
  const waiting = alerts.value;
  return html`<${Dialog} title="Alerts">
    ${alertsProblem.value ? html`<p class="form__problem" role="alert">${alertsProblem.value}</p>` : false}
    ${waiting.length === 0 ? html`<p class="faint">No alert waits for anybody.</p>` : html`<ul class="alerts">${waiting.map((alert) => html`<${One} key=${alert.id} alert=${alert} />`)}</ul>`}
    <footer class="dialog__foot alerts__foot"><label class="menu__choice"><input type="checkbox" checked=${tells.value} onChange=${(/** @type {any} */ event) => setTells(event.target.checked)} />Notify me in this browser while the page is in the background</label></footer>
  </${Dialog}>`;
}

/** @param {{alert: import('../alerts.js').Alert}} props */
function One({ alert }) {
  return html`<li class="alerts__one" data-severity=${alert.severity}>
    <p><b>${alert.severity}</b> · <bdi>${alert.rule_name}</bdi> · <${Time} at=${Date.parse(alert.fired_at)} /></p>
    <p class="alerts__summary"><bdi>${alert.summary}</bdi></p>
    <p class="alerts__acts">
      ${alert.mission_id ? html`<button type="button" class="button button--small" onClick=${() => { closeDialog(); openMission(alert.mission_id ?? ''); }}>Open the mission</button>` : false}
      <button type="button" class="button button--small" onClick=${() => acknowledge(alert.id)}>Acknowledge</button></p></li>`;
}
