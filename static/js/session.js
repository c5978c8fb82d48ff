// Who looks at the page, and what they may.
import * as api from './api.js';
import { signal } from './html.js';

/** @typedef {{name: string, kind: string, scopes: string[]}} Session */

/** `null` until the server has said. */
export const session = signal(/** @type {Session | null} */ (null));

export async function readSession() {
  try {
    const { session: said } = await api.getSession();
    session.value = Array.isArray(said?.scopes) ? said : null;
  } catch {
    session.value = null;
  }
}

/** Whether the server lets nobody in with what this browser shows: the session or its key ended. */
export const loggedOut = () => session.value?.kind === 'nobody';

/** @param {string} scope */
export const may = (scope) => session.value?.scopes.includes(scope) ?? false;

/** Whether it is known that the server would refuse this; until it is, nothing is hidden. @param {string} scope */
export const mayNot = (scope) => session.value !== null && !may(scope);
