// The tab's title and icon: they tell failures and questions to one who looks elsewhere.
import { effect } from './html.js';
import { countNeeds } from './list.js';
import { connection, state } from './store.js';

const NAME = 'Mission Dashboard';
const LIT = { calm: '#3fcf8e', away: '#f2b84b', failed: '#ff7a7a', question: '#c792ff' };

/** Keep title and icon right. Returns how to stop. */
export function watchTitle() {
  let seen = state.value.metrics?.failed_missions ?? null;
  let drawn = '';
  const look = () => {
    const { metrics, missions } = state.value;
    const failedNow = metrics?.failed_missions ?? null;
    // Failures count from when somebody last looked.
    if (!document.hidden || seen === null) seen = failedNow;
    const failed = Math.max(0, (failedNow ?? 0) - (seen ?? 0));
    const { question } = countNeeds(missions.values(), ['question']);
    const news = [question && `${question}?`, failed && `${failed}✕`].filter(Boolean).join(' ');
    const title = news ? `(${news}) ${NAME}` : NAME;
    if (document.title !== title) document.title = title;
    const lit = connection.value.phase === 'live' ? (question ? 'question' : failed ? 'failed' : 'calm') : 'away';
    if (lit !== drawn) drawIcon(/** @type {keyof typeof LIT} */ (drawn = lit));
  };
  let due = 0;
  const stop = effect(() => {
    void state.value;
    due ||= window.setTimeout(() => {
      due = 0;
      look();
    }, 500);
  });
  document.addEventListener('visibilitychange', look);
  return () => {
    stop();
    clearTimeout(due);
    document.removeEventListener('visibilitychange', look);
  };
}

/** @param {keyof typeof LIT} lit */
function drawIcon(lit) {
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#7c9cff"/>` +
    `<circle cx="16" cy="16" r="8.500" fill="#0b0e14"/>${lit === 'calm' ? '' : `<circle cx="25" cy="7" r="7" fill="${LIT[lit]}"/>`}</svg>`;
  const link = document.querySelector('link[rel="icon"]');
  link?.setAttribute('href', `data:image/svg+xml,${encodeURIComponent(drawing)}`);
}
