// What is open on the page besides its address: dialogs, and which element gets the focus back.
import { signal } from './html.js';

/** @typedef {'new' | 'palette' | 'help' | 'confirm' | ''} DialogName */

/** The dialog that is open. @type {import('../vendor/signals.js').Signal<DialogName>} */
export const dialog = signal(/** @type {DialogName} */ (''));

/** What the confirm dialog asks. @type {import('../vendor/signals.js').Signal<{title: string, text: string, yes: string, run: () => void} | null>} */
export const question = signal(/** @type {any} */ (null));

/** The card or row to focus once it is there. */
export const focusWanted = signal('');

/** Whether the page is scrolled to the list, so that the list's own keys make sense. */
export const searchBox = { focus() {} };

/** @param {NonNullable<typeof question.value>} asked */
export function confirm(asked) {
  question.value = asked;
  dialog.value = 'confirm';
}
