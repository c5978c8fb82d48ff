// Tells a screen reader what happened, in summary: never one word for each update.
import { effect, html, signal, useEffect } from '../html.js';
import { count } from '../format.js';
import { NO_NEWS } from '../state.js';
import { change, state } from '../store.js';

const EVERY_MS = 5_000;
const said = signal('');

/** @param {readonly string[]} ids */
function question(ids) {
  const mission = state.value.missions.get(ids[0]);
  if (ids.length > 1 || !mission?.question) return `${count(ids.length)} ${ids.length === 1 ? 'mission waits' : 'missions wait'} for an answer.`;
  return `${mission.title} asks: ${mission.question.text}`;
}

export function Announcer() {
  useEffect(() => {
    let timer = 0;
    const stop = effect(() => {
      const { created, failed, completed, asked } = state.value.news;
      // Somebody waits: that is said at once, and alone.
      if (asked.length) {
        window.clearTimeout(timer);
        timer = 0;
        said.value = question(asked);
        change((before) => ({ ...before, news: { ...before.news, asked: before.news.asked.filter((id) => !asked.includes(id)) } }));
        return;
      }
      if ((created || failed || completed) && !timer) timer = window.setTimeout(tell, EVERY_MS);
    });
    function tell() {
      timer = 0;
      const { created, failed, completed } = state.value.news;
      const parts = [created && `${count(created)} created`, completed && `${count(completed)} completed`, failed && `${count(failed)} failed`];
      said.value = `Missions: ${parts.filter(Boolean).join(', ')}.`;
      change((before) => ({ ...before, news: { ...NO_NEWS, asked: before.news.asked } }));
    }
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, []);
  return html`<div class="visually-hidden" role="status" aria-live="polite">${said}</div>`;
}
