// Pausing or cancelling a mission with a reason, and a name, for its receipt.
import { html, useState } from '../html.js';
import { act } from '../actions.js';
import { allowedActions } from '../missions.js';
import { state } from '../store.js';
import { stopped } from '../ui.js';
import { ACTION_NAMES } from './bits.js';
import { Dialog, closeDialog } from './dialogs.js';
import { PersonName } from './question.js';

const MAX_REASON = 1000;

export function Why() {
  const [reason, setReason] = useState('');
  const mission = state.value.missions.get(stopped.value);
  if (!mission) return null;
  const actions = allowedActions(mission).filter((action) => action === 'pause' || action === 'cancel');
  /** @param {import('../missions.js').Action} action */
  const run = (action) => {
    closeDialog();
    act(mission.id, action, reason);
  };
  return html`<${Dialog} title="Pause or cancel, saying why"><div class="form">
    <p><bdi>${mission.title}</bdi></p>
    <div class="form__field"><label for="why-reason">Reason</label>
      <textarea id="why-reason" class="field__input" rows="2" dir="auto" data-first maxlength=${MAX_REASON} value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.target.value)}></textarea></div>
    <${PersonName} id="why-by" label="Asked by" />
    ${!actions.length && html`<p class="notice">It has ended meanwhile: there is nothing to stop.</p>`}
    <footer class="dialog__foot"><button type="button" class="button" onClick=${closeDialog}>Close</button>
      ${actions.map((action) => html`<button type="button" key=${action} class="button" data-tone=${action === 'cancel' ? 'danger-filled' : 'plain'} onClick=${() => run(action)}>${ACTION_NAMES[action]} it</button>`)}</footer>
  </div></${Dialog}>`;
}
