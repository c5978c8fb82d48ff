// What is open on the page besides its address: dialogs, and which element gets the focus back.
import { signal } from './html.js';

/** @typedef {'new' | 'palette' | 'help' | 'confirm' | 'why' | 'budgets' | 'alerts' | ''} DialogName */

/** The dialog that is open. @type {import('../vendor/signals.js').Signal<DialogName>} */
export const dialog = signal(/** @type {DialogName} */ (''));

/** What the confirm dialog asks. @type {import('../vendor/signals.js').Signal<{title: string, text: string, yes: string, run: () => void} | null>} */
export const question = signal(/** @type {any} */ (null));

/** The card or row to focus once it is there. */
export const focusWanted = signal('');

/** The mission whose question's controls get the focus once they are there. */
export const answerWanted = signal('');

/** The mission that the dialog 'why' speaks of. */
export const stopped = signal('');

/** Ask why a mission shall pause or be cancelled. @param {string} id */
export function askWhy(id) {
  stopped.value = id;
  dialog.value = 'why';
}

/** Whether the page is scrolled to the list, so that the list's own keys make sense. */
export const searchBox = { focus() {} };

/** @param {NonNullable<typeof question.value>} asked */
export function confirm(asked) {
  question.value = asked;
  dialog.value = 'confirm';
}
