// Whether somebody reads the list just now, so that nothing moves under their eyes or pointer.
import { change } from './store.js';

/** @typedef {import('./state.js').State['reading']} Reading */

/** @type {Reading} */
let wanted = { scrolled: false, pointing: false };

/** @param {Partial<Reading>} patch */
export function setReading(patch) {
  const reading = { ...wanted, ...patch };
  if (reading.scrolled === wanted.scrolled && reading.pointing === wanted.pointing) return;
  wanted = reading;
  // Coming to rest lets in what waited.
  const released = !reading.scrolled && !reading.pointing;
  change((before) => ({ ...before, reading, shape: before.shape + (released ? 1 : 0) }));
}

