// What a mission's models used and cost, in words: by class and model, what has no price, what was reported.
import { cost, count, percent } from './format.js';

/**
 * @typedef {object} CostLine
 * @property {string} model
 * @property {string} input
 * @property {string} output
 * @property {string} cost
 * @property {boolean} isPriced
 */

/**
 * @typedef {object} CostTable
 * @property {readonly CostLine[]} lines one for each model; none where its agent did not tell them apart
 * @property {readonly string[]} notes what has to be known to read the cost rightly
 */

const UNPRICED = 'unpriced';

/**
 * Read usage and costs of a mission object of the wire; what is missing or odd shows as unknown.
 * @param {any} raw
 * @returns {CostTable}
 */
export function costTable(raw) {
  if (!raw || typeof raw !== 'object') return { lines: [], notes: [] };
  const usage = raw.usage && typeof raw.usage === 'object' ? Object.entries(raw.usage) : [];
  return { lines: usage.map(([model, used]) => line(model, used)), notes: [...notes(raw, usage.length > 0)] };
}

/** @param {string} model @param {any} used @returns {CostLine} */
function line(model, used) {
  const price = number(used?.cost);
  return {
    model,
    input: parted(used?.input_tokens, used?.cached_tokens, 'cached'),
    output: parted(used?.output_tokens, used?.reasoning_tokens, 'reasoning'),
    cost: price === null ? UNPRICED : cost(price),
    isPriced: price !== null,
  };
}

/** A number with the part of it that is of another class. @param {any} all @param {any} part @param {string} name */
function parted(all, part, name) {
  const special = number(part);
  return special ? `${count(number(all))} (${count(special)} ${name})` : count(number(all));
}

/** @param {any} raw @param {boolean} hasUsage */
function* notes(raw, hasUsage) {
  const reported = number(raw.cost_reported);
  const computed = number(raw.cost_computed);
  const unpriced = Array.isArray(raw.unpriced_models) ? raw.unpriced_models.filter((/** @type {any} */ name) => typeof name === 'string') : [];
  if (reported !== null && computed !== null) yield `Reported ${cost(reported)}, computed ${cost(computed)}${apart(reported, computed)}. The reported cost counts.`;
  else if (reported !== null && hasUsage) yield 'As its agent reported.';
  else if (computed !== null && hasUsage) yield 'Computed from tokens and prices.';
  else if (computed !== null) yield 'Computed from input and output alone, as if nothing came from a cache.';
  if (unpriced.length === 0) return;
  if (!hasUsage) yield `Unpriced: ${unpriced.join(', ')} has no price, or only the total of its tokens is known.`;
  else yield `Unpriced: no price is known for ${unpriced.join(', ')}; ${unpriced.length === 1 ? 'its' : 'their'} tokens are in no cost.`;
}

/** @param {number} reported @param {number} computed */
function apart(reported, computed) {
  if (reported === 0 || reported === computed) return '';
  const share = (computed / reported - 1) * 100;
  if (Math.abs(share) < 0.5) return '';
  return `, ${percent(Math.min(Math.abs(share), 99_999))}% ${share > 0 ? 'more' : 'less'}`;
}

/** @param {any} value */
function number(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
