// The alerts that wait for somebody: read at the start and whenever one begins or ends, told in a message and, if wished, by the browser.
import { notify } from './actions.js';
import { Refusal, acknowledgeAlert, listAlerts } from './api.js';
import { signal } from './html.js';
import { personName, remember, remembered } from './settings.js';

/** @typedef {{id: string, rule_name: string, severity: string, mission_id: string | null, summary: string, state: string, is_quiet: boolean, fired_at: string}} Alert */

export const alerts = signal(/** @type {Alert[]} */ ([]));
export const alertsProblem = signal('');

export async function readAlerts() {
  try {
    alerts.value = (await listAlerts()).alerts;
    alertsProblem.value = '';
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    alertsProblem.value = error.message;
  }
}

/** @param {string} id */
export async function acknowledge(id) {
  try {
    await acknowledgeAlert(id, personName.value);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    alertsProblem.value = error.message;
    return;
  }
  await readAlerts();
}

/** Whether this browser tells of alerts while the page is in the background. */
export const tells = signal(remembered('notify', 'off') === 'on' && globalThis.Notification?.permission === 'granted');

/** @param {boolean} wished */
export async function setTells(wished) {
  const allowed = wished && 'Notification' in globalThis && (await Notification.requestPermission()) === 'granted';
  tells.value = allowed;
  remember('notify', allowed ? 'on' : 'off');
  if (wished && !allowed) notify({ tone: 'error', text: 'This browser does not let the page notify you.' });
}

/** Follow over this connection. @param {import('./live.js').Socket} socket */
export function followAlerts(socket) {
  socket.on('connect', readAlerts);
  socket.on('alert', (payload) => {
    const alert = payload?.alert;
    if (typeof alert?.summary !== 'string') return;
    readAlerts();
    if (alert.is_quiet || alert.state === 'resolved') return;
    notify({ tone: alert.severity === 'info' ? 'info' : 'error', text: alert.rule_name, detail: alert.summary, mission: alert.mission_id ?? '' });
    if (tells.value && document.hidden) new Notification(alert.rule_name, { body: alert.summary, tag: alert.id });
  });
}
