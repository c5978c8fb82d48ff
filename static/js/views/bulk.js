// What can be done to the missions that are selected.
import { html } from '../html.js';
import { actOnMany, checkedFor, copy, uncheckAll } from '../actions.js';
import { plural } from '../format.js';
import { ACTIONS } from '../missions.js';
import { checked, state } from '../store.js';
import { confirm } from '../ui.js';
import { ACTION_NAMES } from './bits.js';

/** @typedef {import('../missions.js').Action} Action */

export function BulkBar() {
  const number = checked.value.size;
  if (!number) return null;
  return html`<section class="bulk-bar" aria-label="Selected missions"><b role="status">${plural(number, 'mission')} selected</b>
    ${ACTIONS.map((action) => {
      const ids = checkedFor(action);
      return ids.length > 0 && html`<button type="button" key=${action} class="button" data-tone=${action === 'cancel' ? 'danger' : 'plain'} onClick=${() => ask(action, ids)}>${ACTION_NAMES[action]} ${ids.length}</button>`;
    })}
    <button type="button" class="button" onClick=${() => copy([...checked.value].join('\n'), 'the ids')}>Copy ids</button>
    <button type="button" class="button" data-tone="ghost" onClick=${uncheckAll}>Clear selection</button></section>`;
}

/** @param {Action} action @param {readonly string[]} ids */
function ask(action, ids) {
  const run = () => actOnMany(ids, action);
  if (action !== 'cancel') {
    run();
    return;
  }
  const running = ids.filter((id) => state.value.missions.get(id)?.status === 'running').length;
  confirm({
    title: `Cancel ${plural(ids.length, 'mission')}?`,
    text: `${running ? `${plural(running, 'of them runs', 'of them run')} now. ` : ''}A cancelled mission does not go on; it can be retried as a new one.`,
    yes: `Cancel ${plural(ids.length, 'mission')}`,
    run,
  });
}
