// What is wrong: how many alerts are open, the list of them while it is looked at, and telling the reader's desktop.
import * as api from './api.js';
import { signal } from './html.js';
import { remember, remembered } from './settings.js';

/** @typedef {{open: number, unseen: number, critical: number}} Counts */
/**
 * @typedef {object} Alert
 * @property {string} id @property {'firing' | 'resolved'} state @property {string | null} rule_id @property {string} rule_name
 * @property {string} severity @property {string} summary @property {string | null} mission_id @property {number} count
 * @property {string} fired_at @property {string | null} resolved_at @property {string | null} acknowledged_at
 * @property {string | null} acknowledged_by @property {boolean} silenced
 */

export const alertCounts = signal(/** @type {Counts} */ ({ open: 0, unseen: 0, critical: 0 }));

/** Rises when something about alerts changed; whoever shows them reads them again. */
export const alertNews = signal(0);

/** Whether this browser shows notifications: the reader asked for it here, and the browser allows it. */
export const notifying = signal(remembered('alerts', 'off') === 'on' && permission() === 'granted');

/** @returns {NotificationPermission | 'missing'} */
export function permission() {
  return 'Notification' in window ? Notification.permission : 'missing';
}

/** Turn notifications on or off; resolves to a sentence about what stands in the way, or to nothing. @param {boolean} on */
export async function setNotifying(on) {
  const allowed = on && permission() === 'default' ? await Notification.requestPermission() : permission();
  notifying.value = on && allowed === 'granted';
  remember('alerts', notifying.value ? 'on' : 'off');
  if (!on || notifying.value) return '';
  return allowed === 'missing' ? 'This browser shows notifications only on pages served over HTTPS or from this machine.'
    : 'This browser does not allow notifications of this page; allow them in its settings.';
}

/** @param {any} said */
function takeCounts(said) {
  const { open, unseen, critical } = said ?? {};
  if ([open, unseen, critical].every(Number.isInteger)) alertCounts.value = { open, unseen, critical };
}

/** Listen for alerts. Returns how to stop. @param {import('./live.js').Socket} socket @param {(mission: string) => void} open */
export function followAlerts(socket, open) {
  const read = async () => {
    try {
      takeCounts((await api.call('/api/alerts?limit=1')).counts);
    } catch {
      // Without an answer the last known count stands; the next change or connection brings another.
    }
    alertNews.value += 1;
  };
  /** @param {any} said */
  const changed = (said) => {
    takeCounts(said);
    alertNews.value += 1;
  };
  /** @param {any} said */
  const told = (said) => {
    const { alert, id, kind } = said ?? {};
    if (!notifying.value || typeof alert?.summary !== 'string') return;
    const shown = new Notification(kind === 'resolved' ? 'Resolved' : String(alert.rule), { body: alert.summary, tag: String(id) });
    shown.addEventListener('click', () => {
      window.focus();
      if (alert.mission_id) open(alert.mission_id);
      shown.close();
    });
  };
  socket.on('connect', read);
  socket.on('alerts_update', changed);
  socket.on('alert', told);
  return () => {
    socket.off('connect', read);
    socket.off('alerts_update', changed);
    socket.off('alert', told);
  };
}

/** @param {'POST' | 'PUT' | 'DELETE'} method @param {string} path below /api/alerts @param {unknown} [body] */
export const change = (method, path, body) => api.call(`/api/alerts${path}`, { method, body: method === 'DELETE' ? undefined : body ?? {} });

/** @param {string} path below /api/alerts */
export const read = (path) => api.call(`/api/alerts${path}`);
