// The keyboard map, and the switch for those whom single keys disturb.
import { html } from '../html.js';
import { SHORTCUTS } from '../keyboard.js';
import { setSingleKeys, singleKeys } from '../settings.js';
import { Dialog } from './dialogs.js';

export function Help() {
  return html`<${Dialog} title="Keyboard shortcuts">
    <table class="help"><tbody>${SHORTCUTS.map(({ keys, says }) => html`<tr key=${says}><th scope="row">${keys.map((key, index) => html`${index > 0 && ' or '}<kbd>${key}</kbd>`)}</th><td>${says}</td></tr>`)}</tbody></table>
    <label class="menu__choice"><input type="checkbox" data-first checked=${singleKeys.value} onChange=${(/** @type {any} */ event) => setSingleKeys(event.target.checked)} />Single keys are shortcuts</label>
  </${Dialog}>`;
}
