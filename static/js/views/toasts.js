// Short words on what was done or refused. They go by themselves: the missions they speak of stay on the page.
import { html } from '../html.js';
import { dismiss, openMission } from '../actions.js';
import { toasts } from '../store.js';
import { Icon } from './icons.js';

export function Toasts() {
  return html`<section class="toasts" aria-label="Messages">
    <div class="toasts__list" role="log" aria-live="polite" aria-relevant="additions">${toasts.value.map((toast) => html`<div key=${toast.id} class="toast" data-tone=${toast.tone}>
      <${Icon} name=${toast.tone === 'error' ? 'failed' : 'completed'} />
      <div class="toast__text"><p><bdi>${toast.text}</bdi></p>${toast.detail && html`<p class="toast__detail">${toast.detail}</p>`}
        ${toast.mission && html`<button type="button" class="link" onClick=${() => { openMission(toast.mission); dismiss(toast.id); }}>Open it</button>`}</div>
      <button type="button" class="button button--icon" onClick=${() => dismiss(toast.id)}><${Icon} name="close" /><span class="visually-hidden">Dismiss</span></button>
    </div>`)}</div></section>`;
}
