// Starts the page and joins its parts: the connection feeds the state, the state is painted, the address follows.
import { io } from '../vendor/socket.io.js';
import { attend, detail, hearHeartbeat, heed, readAgain } from './detail.js';
import { effect, html, render } from './html.js';
import { heedNeeds, readCounts, readHistory, readMore } from './feed.js';
import { openMission } from './actions.js';
import { followAlerts } from './alerts.js';
import { listenToKeys } from './keyboard.js';
import { follow } from './live.js';
import { attendRecords, followRecords } from './records.js';
import { loggedOut, readSession } from './session.js';
import { setTheme, theme } from './settings.js';
import { advanceMinutes, goTo, takeChanges, takeMetrics, takeSnapshot } from './state.js';
import { change, correctClock, gather, renewals, route, serverNow, startClock, state } from './store.js';
import { watchTitle } from './title.js';
import { parseRoute } from './url.js';
import { App } from './views/app.js';
import { ageOut } from './views/mission-list.js';

const HISTORY_EVERY_S = 60;
const SLEPT_MS = 5_000;
const AWAY_NOTE_MS = 8_000;
const HEARTBEAT_EVERY_S = 5;

/** @type {import('./live.js').Listener} */
const listener = {
  snapshot(payload, fresh) {
    change((before) => takeSnapshot(before, payload, fresh));
    readHistory();
    if (fresh) readAgain();
  },
  changes(payload) {
    change((before) => takeChanges(before, payload));
    setTimeout(() => change((before) => ({ ...before, away: 0 })), AWAY_NOTE_MS);
    readAgain();
  },
  update(payload) {
    gather(payload);
    heedNeeds(payload);
    if (!state.value.paused) heed(payload);
  },
  metrics: (payload) => change((before) => takeMetrics(before, payload?.metrics)),
  service(payload) {
    change((before) => ({ ...before, service: { status: String(payload?.status), detail: String(payload?.detail ?? '') } }));
    if (payload?.status !== 'healthy') return;
    readHistory();
    if (detail.value.problem) readAgain();
  },
  connection: (connection) => change((before) => ({ ...before, connection })),
  clock: correctClock,
};

const socket = io({ transports: ['websocket', 'polling'], tryAllTransports: true, reconnectionDelay: 500, reconnectionDelayMax: 5000, timeout: 8000 });
const live = follow(/** @type {any} */ (socket), listener, {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  online: () => navigator.onLine,
});

setTheme(theme.value);
effect(() => {
  if (renewals.value) live.renew();
});
effect(() => attend(route.value.mission));
followRecords(/** @type {any} */ (socket));
followAlerts(/** @type {any} */ (socket), openMission);
// What one may do can change while one was away.
socket.on('connect', readSession);
// Who has to log in again gets no connection however often it is tried, and each try is in the audit log.
socket.on('connect_error', async () => {
  await readSession();
  if (loggedOut()) socket.disconnect();
});
effect(() => attendRecords(route.value.mission, route.value.tab));
let passed = 0;
startClock(() => {
  passed += 1;
  change((before) => advanceMinutes(before, serverNow()));
  ageOut();
  readCounts();
  if (state.value.feed.problem && state.value.feed.problem.until < Date.now()) readMore();
  if (passed % HEARTBEAT_EVERY_S === 0 && state.value.connection.phase === 'live') hearHeartbeat();
  if (passed % HISTORY_EVERY_S === 0 && state.value.connection.phase === 'live') readHistory();
});
effect(() => {
  void route.value;
  void state.value.loaded;
  queueMicrotask(readCounts);
});

window.addEventListener('popstate', () => change((before) => goTo(before, parseRoute(location.search))));
for (const [target, event] of /** @type {[EventTarget, string][]} */ ([[window, 'online'], [window, 'offline'], [window, 'pageshow']])) {
  target.addEventListener(event, () => live.resync());
}
document.addEventListener('visibilitychange', () => document.hidden || live.resync());

// A laptop that slept tells nobody; its clock jumps.
let looked = Date.now();
setInterval(() => {
  if (Date.now() - looked > SLEPT_MS) live.resync();
  looked = Date.now();
}, 1000);

listenToKeys();
watchTitle();
const place = /** @type {HTMLElement} */ (document.querySelector('.app'));
place.replaceChildren();
render(html`<${App} />`, place);
