// Any JSON as text that can be read, copied, and is not longer than a reader asked for.
import { html, useMemo, useState } from '../html.js';
import { copy } from '../actions.js';
import { count } from '../format.js';
import { Icon } from './icons.js';

const SHOWN = 20_000;

/** @param {{value: unknown, name: string}} props */
export function Json({ value, name }) {
  const [all, setAll] = useState(false);
  const text = useMemo(() => (typeof value === 'string' ? value : JSON.stringify(value, null, 2)), [value]);
  const long = text.length > SHOWN;
  return html`<div class="json">
    <button type="button" class="button button--icon json__copy" onClick=${() => copy(text, name)} title=${`Copy ${name}`}><${Icon} name="copy" /><span class="visually-hidden">Copy ${name}</span></button>
    <pre class="json__text" dir="auto" tabindex="0">${long && !all ? text.slice(0, SHOWN) : text}</pre>
    ${long && !all && html`<button type="button" class="button button--small" onClick=${() => setAll(true)}>Show all ${count(text.length)} characters</button>`}
  </div>`;
}
