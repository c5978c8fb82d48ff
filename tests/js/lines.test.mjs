import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_LINES, lineMatcher, linesOf, newLog, waterfall, withLines, withSpans } from '../../static/js/lines.js';

const AT = Date.UTC(2026, 0, 1, 12);
const line = (number, said = {}) => ({ id: `l${number}`, at: new Date(AT + number).toISOString(), level: 'info', message: `line ${number}`, ...said });
const span = (id, from, to, said = {}) => ({
  id, parent_id: null, name: id, kind: 'tool', started_at: new Date(AT + from * 1000).toISOString(), ended_at: to === null ? null : new Date(AT + to * 1000).toISOString(),
  model: null, usage: null, cost: null, error: null, attributes: {}, ...said,
});
const spansOf = (...raws) => withSpans(new Map(), raws);

test('a line that comes twice is one line', () => {
  const log = withLines(withLines(newLog(), [line(1), line(2)]), [line(2), line(3)]);

  assert.deepEqual(linesOf(log).map(({ message }) => message), ['line 1', 'line 2', 'line 3']);
});

test('what is no line is left out, and a strange level is none', () => {
  const log = withLines(newLog(), [null, 7, {}, line(1, { at: 'never' }), line(2, { message: 3 }), line(3, { level: 'love' })]);

  assert.deepEqual(linesOf(log).map(({ level }) => level), ['info']);
  assert.equal(withLines(log, 'no list'), log);
});

test('only the newest lines are kept, and drawn parts that did not change are the same', () => {
  let log = withLines(newLog(), Array.from({ length: 150 }, (_, number) => line(number)));
  const [first] = log.chunks;
  log = withLines(log, [line(150)]);
  assert.equal(log.chunks[0], first);

  log = withLines(log, Array.from({ length: 2 * MOST_LINES }, (_, number) => line(1000 + number)));
  assert.equal(log.dropped, true);
  assert.ok(linesOf(log).length <= MOST_LINES + 100);
  assert.equal(log.ids.size, linesOf(log).length);
  assert.equal(linesOf(log).at(-1).message, `line ${999 + 2 * MOST_LINES}`);
});

test('a log is narrowed by level and words', () => {
  const lines = linesOf(withLines(newLog(), [line(1, { level: 'debug' }), line(2, { level: 'warning', message: 'Disk FULL' }), line(3, { level: 'critical' })]));
  const found = (level, sought) => lines.filter(lineMatcher(level, sought)).map(({ id }) => id);

  assert.deepEqual(found('debug', ''), ['l1', 'l2', 'l3']);
  assert.deepEqual(found('warning', ''), ['l2', 'l3']);
  assert.deepEqual(found('debug', 'disk full'), ['l2']);
});

test('spans stand under their parents, the earliest first, with their place in time', () => {
  const rows = waterfall(spansOf(span('b', 6, 10), span('child', 1, 3, { parent_id: 'a' }), span('a', 0, 5), span('early', 0.5, 1, { parent_id: 'a' })), AT);

  assert.deepEqual(rows.map(({ span: { id }, depth }) => [id, depth]), [['a', 0], ['early', 1], ['child', 1], ['b', 0]]);
  assert.deepEqual(rows.map(({ from, width, seconds }) => [from, width, seconds]), [[0, 50, 5], [5, 5, 0.5], [10, 20, 2], [60, 40, 4]]);
});

test('the same span again replaces, and one that runs ends now', () => {
  const spans = withSpans(spansOf(span('a', 0, null)), [span('a', 0, 4)]);

  assert.equal(waterfall(spans, AT).at(0).seconds, 4);
  assert.equal(waterfall(spansOf(span('a', 0, null)), AT + 9000).at(0).seconds, 9);
});

test('orphans and circles are shown once', () => {
  const rows = waterfall(spansOf(span('x', 0, 1, { parent_id: 'y' }), span('y', 0, 1, { parent_id: 'x' }), span('self', 0, 1, { parent_id: 'self' }), span('lost', 0, 1, { parent_id: 'nobody' })), AT);

  assert.deepEqual(rows.map(({ span: { id } }) => id).sort(), ['lost', 'self', 'x', 'y']);
});

test('a long chain of spans does not overflow', () => {
  const chain = Array.from({ length: 1900 }, (_, number) => span(`s${number}`, number, number + 1, { parent_id: number ? `s${number - 1}` : null }));

  assert.equal(waterfall(spansOf(...chain), AT).at(-1).depth, 1899);
});
