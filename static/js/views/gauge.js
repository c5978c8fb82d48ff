// How much of a limit is used: a bar, the numbers, and a word once it nears its end.
import { html } from '../html.js';
import { cost, count, duration, percent, ticking } from '../format.js';

/** @typedef {import('../missions.js').Use} Use */

const NAMES = { cost: 'Cost', tokens: 'Tokens', seconds: 'Run time' };
const WORDS = { ok: '', warning: 'near its limit', exceeded: 'used up' };
/** @type {Readonly<Record<Use['kind'], (value: number) => string>>} */
const SAY = { cost, tokens: count, seconds: (value) => (value < 1 ? duration(value) : ticking(value)) };

/** @param {{use: Use}} props */
export function Gauge({ use }) {
  const { kind, used, limit, share, level } = use;
  const say = SAY[kind];
  const shown = `${percent(Math.min(9.99, share) * 100)}%`;
  const text = `${say(used)} of ${say(limit)}`;
  return html`<div class="gauge" data-level=${level} data-kind=${kind}>
    <div class="gauge__line"><span class="gauge__name">${NAMES[kind]}</span><span>${text}</span>
      <b class="gauge__share">${shown}${WORDS[level] && html` · ${WORDS[level]}`}</b></div>
    <div class="gauge__bar" role="meter" aria-label=${`${NAMES[kind]} budget`} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.min(100, Math.floor(share * 100))}
      aria-valuetext=${`${text}${WORDS[level] && `, ${WORDS[level]}`}`}><div class="gauge__fill" style=${{ width: `${Math.min(100, share * 100)}%` }}></div></div>
  </div>`;
}
