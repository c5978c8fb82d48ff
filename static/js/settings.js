// What this browser remembers for its reader: theme, name, and whether single keys are shortcuts.
import { signal } from './html.js';

export const THEMES = /** @type {const} */ (['dark', 'light', 'system']);

/** @param {string} name @param {string} otherwise */
export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(`mission-dashboard.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`mission-dashboard.${name}`, value);
  } catch {
    // Private windows may refuse storage; the choice then holds until the page is closed.
  }
}

export const theme = signal(remembered('theme', 'dark'));
export const singleKeys = signal(remembered('keys', 'on') === 'on');

/** Who answers and asks here, as the records will say; empty where the reader does not. */
export const personName = signal(remembered('name', ''));
/** How long a name the server takes. */
export const MAX_NAME = 200;

/** @param {string} value */
export function setPersonName(value) {
  personName.value = value.slice(0, MAX_NAME);
  remember('name', personName.value);
}

/** @param {string} value */
export function setTheme(value) {
  theme.value = value;
  document.documentElement.dataset.theme = value;
  remember('theme', value);
}

/** @param {boolean} on */
export function setSingleKeys(on) {
  singleKeys.value = on;
  remember('keys', on ? 'on' : 'off');
}
