// Tells a screen reader what happened, in summary: never one word for each update.
import { effect, html, signal, useEffect } from '../html.js';
import { count } from '../format.js';
import { change, state } from '../store.js';

const EVERY_MS = 5_000;
const said = signal('');

export function Announcer() {
  useEffect(() => {
    let timer = 0;
    const stop = effect(() => {
      const { created, failed, completed } = state.value.news;
      if ((created || failed || completed) && !timer) timer = window.setTimeout(tell, EVERY_MS);
    });
    function tell() {
      timer = 0;
      const { created, failed, completed } = state.value.news;
      const parts = [created && `${count(created)} created`, completed && `${count(completed)} completed`, failed && `${count(failed)} failed`];
      said.value = `Missions: ${parts.filter(Boolean).join(', ')}.`;
      change((before) => ({ ...before, news: { created: 0, failed: 0, completed: 0 } }));
    }
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, []);
  return html`<div class="visually-hidden" role="status" aria-live="polite">${said}</div>`;
}
