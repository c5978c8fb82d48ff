// How numbers and times read. Pure; times are milliseconds, durations seconds, costs US dollars.

export const UNKNOWN = '–';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const exactForm = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short',
});
const clockForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minuteForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayForm = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** @param {number | null | undefined} value */
export function count(value) {
  return value == null ? UNKNOWN : grouped.format(value);
}

/** To the precision that matters: $0.0042, $0.061, $31.40, $1,285. @param {number | null | undefined} value */
export function cost(value) {
  if (value == null) return UNKNOWN;
  if (value === 0) return '$0.00';
  if (value < 0.00001) return '<$0.00001';
  const rounded = Number(value.toPrecision(2));
  if (rounded < 0.01) return `$${rounded.toFixed(Math.min(5, 1 - Math.floor(Math.log10(rounded))))}`;
  if (value < 1) return `$${value.toFixed(value < 0.0995 ? 3 : 2)}`;
  if (value < 1000) return `$${value.toFixed(2)}`;
  return value < 1e6 ? `$${grouped.format(value)}` : `$${scaled(value)}`;
}

/** 940, 18.4k, 212k, 4.82M. @param {number | null | undefined} value */
export function tokens(value) {
  if (value == null) return UNKNOWN;
  return value < 1000 ? String(Math.round(value)) : scaled(value);
}

/** @param {number} value */
function scaled(value) {
  for (const [unit, size] of /** @type {const} */ ([['k', 1e3], ['M', 1e6], ['B', 1e9], ['T', 1e12]])) {
    const part = value / size;
    // 999.5k must not read 1000k.
    if (part < 999.5 || unit === 'T') return `${digits3(part, unit === 'k' ? 1 : 2)}${unit}`;
  }
  return String(value);
}

/** 940 B, 18 kB, 83 MB, 2.1 GB. @param {number | null | undefined} value */
export function bytes(value) {
  if (value == null) return UNKNOWN;
  let [size, unit] = [value, 'B'];
  for (const next of ['kB', 'MB', 'GB', 'TB']) {
    if (size < 999.5) break;
    [size, unit] = [size / 1000, next];
  }
  return `${size.toFixed(size < 9.95 && unit !== 'B' ? 1 : 0)} ${unit}`;
}

/** @param {number} value @param {number} most */
function digits3(value, most) {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? Math.min(1, most) : most);
}

/** 400 ms, 42 s, 2 m 41 s, 1 h 05 m, 3 d 4 h. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds == null) return UNKNOWN;
  if (seconds < 0.95) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${pad(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** Whole seconds only, for what ticks. @param {number | null} seconds */
export function ticking(seconds) {
  return seconds === null ? UNKNOWN : seconds < 1 ? '0 s' : duration(Math.floor(seconds));
}

/** @param {number} value */
const pad = (value) => String(value).padStart(2, '0');

/** just now, 12 s ago, 4 min ago, 3 h ago, then the day. @param {number | null} at @param {number} now */
export function relative(at, now) {
  if (at === null) return UNKNOWN;
  const seconds = Math.floor((now - at) / 1000);
  if (seconds < 2) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 7 * 86_400) return `${Math.floor(seconds / 86_400)} d ago`;
  return dayForm.format(at);
}

/** Date, time and zone, in the reader's. @param {number | null} at */
export const exact = (at) => (at === null ? UNKNOWN : exactForm.format(at));

/** @param {number} at */
export const clock = (at) => clockForm.format(at);

/** @param {number} at */
export const minute = (at) => minuteForm.format(at);

/** Hours and minutes, with the day where it is not today. @param {number} at @param {number} now */
export function moment(at, now) {
  const isToday = new Date(at).toDateString() === new Date(now).toDateString();
  return isToday ? minuteForm.format(at) : `${dayForm.format(at)} ${minuteForm.format(at)}`;
}

/** @param {number | null | undefined} value */
export function percent(value, decimals = 0) {
  if (value == null) return UNKNOWN;
  // 99.96 is not 100: a rate reads full only when it is.
  const shown = value < 100 ? Math.min(value, 100 - 10 ** -decimals) : value;
  return shown.toFixed(decimals);
}

/** @param {number} number @param {string} one @param {string} [many] */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** The first characters of an id, as people say it. The end differs first: ids begin with their time. @param {string} id */
export const shortId = (id) => (id.length > 12 ? id.slice(-8) : id);

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** `document_processing` as `document processing`. @param {string} name */
export const words = (name) => name.replaceAll('_', ' ');
