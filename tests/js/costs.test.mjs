import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costTable } from '../../static/js/costs.js';
import { makeRaw } from './make.mjs';

const used = (input, cached, output, reasoning, cost) => ({ input_tokens: input, cached_tokens: cached, output_tokens: output, reasoning_tokens: reasoning, cost });

test('each model shows its tokens by class and its cost', () => {
  const { lines, notes } = costTable(makeRaw({ usage: { 'gpt-4o': used(12_000, 4000, 900, 100, 0.0421), local: used(5, 0, 0, 0, 0) }, cost_computed: 0.0421 }));

  assert.deepEqual(lines, [
    { model: 'gpt-4o', input: '12,000 (4,000 cached)', output: '900 (100 reasoning)', cost: '$0.042', isPriced: true },
    { model: 'local', input: '5', output: '0', cost: '$0.00', isPriced: true },
  ]);
  assert.deepEqual(notes, ['Computed from tokens and prices.']);
});

test('a model without a price is unpriced, which is not free', () => {
  const { lines, notes } = costTable(makeRaw({ usage: { a: used(1, 0, 1, 0, null), b: used(1, 0, 1, 0, 2) }, cost_computed: 2, unpriced_models: ['a'] }));

  assert.deepEqual(lines.map(({ cost, isPriced }) => [cost, isPriced]), [['unpriced', false], ['$2.00', true]]);
  assert.deepEqual(notes, ['Computed from tokens and prices.', 'Unpriced: no price is known for a; its tokens are in no cost.']);
});

test('a reported cost stands beside the computed one', () => {
  const notesOf = (reported, computed) => costTable(makeRaw({ usage: { a: used(1, 0, 1, 0, computed) }, cost_reported: reported, cost_computed: computed })).notes[0];

  assert.equal(notesOf(2, 3), 'Reported $2.00, computed $3.00, 50% more. The reported cost counts.');
  assert.equal(notesOf(2, 1), 'Reported $2.00, computed $1.00, 50% less. The reported cost counts.');
  assert.equal(notesOf(2, 2), 'Reported $2.00, computed $2.00. The reported cost counts.');
  assert.equal(notesOf(0, 2), 'Reported $0.00, computed $2.00. The reported cost counts.');
  assert.equal(notesOf(2, null), 'As its agent reported.');
});

test('without usage it says what the cost rests on', () => {
  const notesOf = (said) => costTable(makeRaw(said)).notes;

  assert.deepEqual(notesOf({ cost_computed: 1 }), ['Computed from input and output alone, as if nothing came from a cache.']);
  assert.deepEqual(notesOf({ unpriced_models: ['x'] }), ['Unpriced: x has no price, or only the total of its tokens is known.']);
  assert.deepEqual(notesOf({}), []);
});

test('nonsense shows as unknown and breaks nothing', () => {
  for (const raw of [null, undefined, 7, 'x', {}, { usage: 3, unpriced_models: 'x' }, { usage: [], unpriced_models: [3] }]) assert.deepEqual(costTable(raw), { lines: [], notes: [] });
  assert.deepEqual(costTable({ usage: { a: null } }).lines, [{ model: 'a', input: '–', output: '–', cost: 'unpriced', isPriced: false }]);
});
