import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, cost, count, duration, percent, plural, relative, ticking, tokens } from '../../static/js/format.js';

const TABLES = [
  [cost, [[null, '–'], [0, '$0.00'], [0.0042, '$0.0042'], [0.00012, '$0.00012'], [0.000001, '<$0.00001'], [0.0099999, '$0.010'], [0.0612, '$0.061'], [0.5, '$0.50'], [0.84, '$0.84'], [31.4, '$31.40'], [1285, '$1,285'], [2_500_000, '$2.50M']]],
  [tokens, [[null, '–'], [0, '0'], [940, '940'], [18_420, '18.4k'], [212_000, '212k'], [999_600, '1.00M'], [4_820_000, '4.82M'], [3e9, '3.00B']]],
  [duration, [[null, '–'], [0.004, '4 ms'], [0.4, '400 ms'], [9, '9 s'], [59.7, '1 m 00 s'], [161, '2 m 41 s'], [3900, '1 h 05 m'], [273_600, '3 d 4 h']]],
  [ticking, [[null, '–'], [0.9, '0 s'], [1.99, '1 s'], [161.9, '2 m 41 s']]],
  [percent, [[null, '–'], [62, '62'], [99.7, '99'], [100, '100'], [0, '0']]],
  [bytes, [[null, '–'], [0, '0 B'], [940, '940 B'], [999.6, '1.0 kB'], [18_420, '18 kB'], [83_300_000, '83 MB'], [999_700_000, '1.0 GB'], [2_100_000_000, '2.1 GB'], [4e15, '4000 TB']]],
  [count, [[null, '–'], [1285, '1,285']]],
];

for (const [format, rows] of TABLES) {
  test(`${format.name} reads to the precision that matters`, () => {
    for (const [value, text] of rows) assert.equal(format(value), text, String(value));
  });
}

test('a rate reads full only when it is', () => {
  assert.equal(percent(99.96, 1), '99.9');
  assert.equal(percent(100, 1), '100.0');
});

test('times are told relative to now', () => {
  const now = Date.UTC(2026, 5, 15, 12);
  const ago = (seconds) => relative(now - seconds * 1000, now);

  assert.deepEqual([0, 12, 240, 3 * 3600, 2 * 86_400].map(ago), ['just now', '12 s ago', '4 min ago', '3 h ago', '2 d ago']);
  assert.match(ago(20 * 86_400), /May/);
  assert.equal(ago(-30), 'just now');
  assert.equal(relative(null, now), '–');
});

test('one is not many', () => {
  assert.equal(plural(1, 'mission'), '1 mission');
  assert.equal(plural(1200, 'mission'), '1,200 missions');
});
