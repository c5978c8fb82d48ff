import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextSegment } from '../../static/js/list.js';
import {
  MOST_HELD, MOST_MISSIONS, addToast, advanceMinutes, arrange, goTo, initialState, listedCount, neighbour, pause, showNew, takeChanges, takeHistory, takeMetrics, takeMissions, takePage, takeSnapshot,
  takeUpdates, toggleChecked,
} from '../../static/js/state.js';
import { HOME } from '../../static/js/url.js';
import { makeMetrics, makeRaw, makeUpdate } from './make.mjs';

const NOW = Date.UTC(2026, 0, 1, 13);

function stateWith(raws, metrics = {}) {
  return arrange(takeSnapshot(initialState(), { missions: raws, metrics: makeMetrics(metrics) }, false), NOW);
}

const titles = (state) => state.order.map((id) => state.missions.get(id).title);

test('an update applies only when its version is newer', () => {
  const raw = makeRaw({ title: 'second', version: 2 });
  const state = stateWith([raw]);

  const late = takeMissions(state, [{ ...raw, title: 'first', version: 1 }]);
  const again = takeMissions(state, [{ ...raw, title: 'again', version: 2 }]);
  assert.deepEqual([late.changed, again.changed], [0, 0]);

  const next = takeMissions(state, [{ ...raw, title: 'third', version: 3 }]);
  assert.equal(next.state.missions.get(raw.id).title, 'third');
  assert.equal(next.changed, 1);
});

test('what runs comes first, then what waits, then the newest', () => {
  const state = stateWith([
    makeRaw({ title: 'old end', status: 'completed' }), makeRaw({ title: 'waits' }), makeRaw({ title: 'runs', status: 'running' }),
    makeRaw({ title: 'new end', status: 'failed' }), makeRaw({ title: 'runs too', status: 'running' }),
  ]);

  assert.deepEqual(titles(state), ['runs too', 'runs', 'waits', 'new end', 'old end']);
});

test('progress moves nothing in the list', () => {
  const raws = [makeRaw({ status: 'running' }), makeRaw({ status: 'running' })];
  const state = stateWith(raws);

  const next = takeUpdates(state, [makeUpdate({ ...raws[0], progress: 50, version: 2 })]);

  assert.equal(next.shape, state.shape);
  assert.equal(next.revision, state.revision + 1);
});

test('nothing moves for one who points at the list, and new missions wait', () => {
  const raws = [makeRaw({ title: 'a', status: 'running' }), makeRaw({ title: 'b', status: 'running' })];
  const reading = { ...stateWith(raws), reading: { scrolled: false, pointing: true } };

  const ended = takeUpdates(reading, [makeUpdate({ ...raws[1], status: 'completed', version: 2 }), makeUpdate(makeRaw({ title: 'c' }))]);
  const shown = arrange(ended, NOW);

  assert.deepEqual(titles(shown), ['b', 'a']);
  assert.equal(shown.waiting, 1);
  assert.deepEqual(titles(showNew(shown, NOW)), ['a', 'c', 'b']);
});

test('older missions read by scrolling join at the end, though somebody reads', () => {
  const old = makeRaw({ title: 'old', status: 'completed' });
  const raws = [makeRaw({ title: 'newer', status: 'completed' })];
  const reading = { ...stateWith(raws), reading: { scrolled: true, pointing: false } };

  const shown = arrange(takeMissions(reading, [old]).state, NOW);

  assert.deepEqual(titles(shown), ['newer', 'old']);
  assert.equal(shown.waiting, 0);
});

test('a whole new picture forgets what was known', () => {
  const before = stateWith([makeRaw({ title: 'gone' })]);

  const after = arrange(takeSnapshot(before, { missions: [makeRaw({ title: 'here' })], metrics: makeMetrics() }, true), NOW);

  assert.deepEqual(titles(after), ['here']);
});

test('what changed while away is counted, whether the snapshot or the catching up brought it', () => {
  const raws = [makeRaw({ status: 'running' }), makeRaw({ status: 'running' })];
  const before = stateWith(raws);
  assert.equal(before.away, 0);

  const connected = takeSnapshot(before, { missions: [{ ...raws[0], version: 2 }], metrics: makeMetrics() }, false);
  const caughtUp = takeChanges(connected, { missions: [{ ...raws[0], version: 2 }, { ...raws[1], version: 5 }], metrics: makeMetrics() });

  assert.equal(caughtUp.away, 2);
});

test('every living mission is known when as many came as the metrics tell', () => {
  assert.equal(stateWith([makeRaw()], { pending_missions: 1 }).aliveKnown, true);
  assert.equal(stateWith([makeRaw()], { pending_missions: 2 }).aliveKnown, false);
});

test('what makes no sense is counted, and the rest is shown', () => {
  const state = stateWith([null, 7, { id: 1 }, makeRaw({ status: 'exploded' }), makeRaw({ title: 'fine' })]);

  assert.deepEqual(titles(state), ['fine']);
  assert.equal(state.unreadable, 4);
  assert.equal(takeMissions(state, 'nonsense').state.unreadable, 5);
  assert.equal(takeMetrics(state, null).unreadable, 5);
});

test('while paused what arrives is held, and all of it shows on resuming', () => {
  const raw = makeRaw({ status: 'running' });
  const paused = pause(stateWith([raw]), true);

  const held = takeUpdates(takeUpdates(paused, [makeUpdate({ ...raw, progress: 10, version: 2 })]), [makeUpdate({ ...raw, progress: 20, version: 3 })]);
  assert.equal(held.missions.get(raw.id).progress, 0);
  assert.equal(held.held.size, 1);

  const resumed = pause(held, false);
  assert.equal(resumed.missions.get(raw.id).progress, 20);
  assert.equal(resumed.held.size, 0);
});

test('while paused a page of the list shows what was not known; newer versions of what is shown wait', () => {
  const known = makeRaw({ status: 'running' });
  const older = makeRaw({ status: 'completed' });
  const heard = takeUpdates(pause(stateWith([known]), true), [makeUpdate({ ...known, progress: 30, version: 3 })]);

  const read = takePage(heard, [{ ...known, progress: 20, version: 2 }, older]);
  const later = takePage(read, [{ ...known, progress: 40, version: 4 }]);

  assert.deepEqual([...later.missions.values()].map(({ id, progress }) => [id, progress]), [[known.id, 0], [older.id, older.progress]]);
  assert.deepEqual([read.held.get(known.id).mission.version, later.held.get(known.id).mission.version], [3, 4]);
  assert.equal(pause(later, false).missions.get(known.id).progress, 40);
});

test('a page that stays paused holds so much and no more, and then begins anew', () => {
  const updates = Array.from({ length: MOST_HELD }, () => makeUpdate(makeRaw()));

  const full = takeUpdates(pause(stateWith([]), true), updates);
  assert.equal(full.held.size, MOST_HELD);
  assert.equal(pause(full, false).renewals, 0);

  const over = takeUpdates(takeUpdates(full, [makeUpdate(makeRaw())]), [makeUpdate(makeRaw())]);
  assert.deepEqual([over.held.size, over.overfull], [0, true]);
  const resumed = pause(over, false);
  assert.deepEqual([resumed.renewals, resumed.overfull, resumed.paused], [1, false, false]);
});

test('a finished mission grows the newest bar, once', () => {
  const raw = makeRaw({ status: 'running', tokens_used: 5 });
  const state = takeHistory(stateWith([raw]), [{ at: '2026-01-01T12:00:00Z', completed: 1, tokens: 10 }]);
  const done = makeUpdate({ ...raw, status: 'completed', tokens_used: 25, version: 2 }, { event_type: 'mission_completed' });

  const next = takeUpdates(takeUpdates(state, [done]), [done]);

  assert.equal(next.history.at(-1).completed, 2);
  assert.equal(next.history.at(-1).tokens, 30);
});

test('of very many missions the last are forgotten, and can be read again', () => {
  const raws = Array.from({ length: MOST_MISSIONS + 1 }, () => makeRaw({ status: 'completed' }));
  const alive = makeRaw({ status: 'running' });

  const state = stateWith([...raws, alive], { running_missions: 1 });

  assert.equal(state.order.length, 10_000);
  assert.equal(state.missions.size, 10_000);
  assert.ok(state.missions.has(alive.id));
  const last = state.missions.get(state.order.at(-1));
  assert.deepEqual(nextSegment(state.feed, state.aliveKnown), { statuses: ['completed', 'failed', 'cancelled'], begun: true, done: false, cursor: null, frontier: last.created_at });
});

test('for one who reads on, new missions that ended are forgotten but counted, and the list is read anew at its top', () => {
  const shown = Array.from({ length: 100 }, () => makeRaw({ status: 'completed' }));
  const alive = makeRaw({ status: 'running' });
  const news = Array.from({ length: MOST_MISSIONS }, () => makeRaw({ status: 'completed' }));
  const before = { ...stateWith([...shown, alive], { running_missions: 1 }), reading: { scrolled: true, pointing: false } };

  const reading = arrange(takeMissions(before, news).state, NOW);
  assert.deepEqual(reading.order, before.order);
  assert.deepEqual([reading.missions.size, reading.waiting], [101, MOST_MISSIONS]);
  const more = arrange(takeMissions(reading, [makeRaw({ status: 'failed' })]).state, NOW);
  assert.equal(more.waiting, MOST_MISSIONS + 1);

  const top = showNew(more, NOW);
  assert.deepEqual([top.order, top.waiting, top.passed], [[alive.id], 0, 0]);
  assert.deepEqual(nextSegment(top.feed, top.aliveKnown)?.statuses, ['completed', 'failed', 'cancelled']);
});

test('the minutes move on while nothing happens', () => {
  const state = takeHistory(stateWith([], { running_missions: 3 }), [{ at: '2026-01-01T11:59:00Z' }, { at: '2026-01-01T12:00:00Z', completed: 4 }]);

  const next = advanceMinutes(state, Date.UTC(2026, 0, 1, 12, 1, 5));

  assert.deepEqual(next.history.map((point) => [point.at, point.completed, point.running]), [
    [Date.UTC(2026, 0, 1, 12, 0), 4, 0], [Date.UTC(2026, 0, 1, 12, 1), 0, 3],
  ]);
});

test('other filters begin another list; opening a mission does not', () => {
  const state = stateWith([makeRaw({ title: 'high', priority: 'high' }), makeRaw({ title: 'low', priority: 'low' })]);

  const filtered = arrange(goTo(state, { ...HOME, priority: ['high'] }), NOW);
  assert.deepEqual(titles(filtered), ['high']);

  const opened = goTo(state, { ...HOME, mission: state.order[0] });
  assert.equal(opened.order, state.order);
});

test('the keyboard walks the list and stops at its ends', () => {
  const state = stateWith([makeRaw(), makeRaw(), makeRaw()]);

  assert.equal(neighbour(state, 1), state.order[0]);
  assert.equal(neighbour({ ...state, cursor: state.order[0] }, 1), state.order[1]);
  assert.equal(neighbour({ ...state, cursor: state.order[2] }, 1), state.order[2]);
  assert.equal(neighbour(initialState(), 1), '');
});

test('a mission is selected and let go by the same key', () => {
  const once = toggleChecked(initialState(), 'a');

  assert.deepEqual([...once.checked], ['a']);
  assert.deepEqual([...toggleChecked(once, 'a').checked], []);
});

test('the same message twice is one message', () => {
  const toast = { tone: 'info', text: 'Copied', detail: '', mission: '' };

  const state = addToast(addToast(initialState(), toast, 1), toast, 2);

  assert.deepEqual(state.toasts.map(({ id }) => id), [2]);
});

test('what retention removed counts in the metrics but on no tab of the list', () => {
  const metrics = makeMetrics({ total_missions: 10, completed_missions: 7, running_missions: 3, removed_missions: { completed: 5, failed: 0, cancelled: 0 } });

  assert.equal(listedCount(metrics), 5);
  assert.equal(listedCount(metrics, ''), 5);
  assert.equal(listedCount(metrics, 'completed'), 2);
  assert.equal(listedCount(metrics, 'running'), 3);
  assert.equal(listedCount(makeMetrics({ total_missions: 4 })), 4);
});
