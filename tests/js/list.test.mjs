import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparator, countNeeds, listed, matcher, newFeed, nextAsking, nextSegment, undisturbed, withPage } from '../../static/js/list.js';
import { NEEDS, expectedRest, parseMission, tellsProgress } from '../../static/js/missions.js';
import { HOME } from '../../static/js/url.js';
import { makeQuestion, makeRaw, makeReceipt } from './make.mjs';

const NOW = Date.UTC(2026, 0, 1, 13);
const mission = (said) => parseMission(makeRaw(said));

test('filters answer as the server does', () => {
  const found = mission({ title: 'Index the Corpus', description: 'nightly', priority: 'high', agent_type: 'RetrievalAgent', metadata: { type: 'document_processing' } });
  const passes = (filters) => matcher({ ...HOME, ...filters }, NOW)(found);

  for (const filters of [{}, { status: ['pending', 'running'] }, { priority: ['high'] }, { type: ['document_processing'] }, { q: 'corpus NIGHTLY' }, { q: 'retrievalagent' }, { q: found.id.slice(0, 13) }, { since: '1h' }]) {
    assert.equal(passes(filters), true, JSON.stringify(filters));
  }
  for (const filters of [{ status: ['failed'] }, { priority: ['low'] }, { type: ['other'] }, { q: 'corpus weekly' }, { since: '15m' }, { to: '2026-01-01T11:00:00.000Z' }, { parent: 'x' }, { needs: 'stalled' }]) {
    assert.equal(passes(filters), false, JSON.stringify(filters));
  }
});

test('missions are told by when they finished', () => {
  const ended = mission({ status: 'failed', created_at: '2026-01-01T08:00:00Z', completed_at: '2026-01-01T10:30:00Z' });
  const passes = (filters, one = ended) => matcher({ ...HOME, ...filters }, NOW)(one);

  assert.equal(passes({ from: '2026-01-01T10:30:00.000Z', to: '2026-01-01T10:31:00.000Z' }), true);
  assert.equal(passes({ from: '2026-01-01T10:31:00.000Z' }), false);
  assert.equal(passes({ to: '2026-01-01T10:30:00.000Z' }), false);
  assert.equal(passes({ from: '2026-01-01T00:00:00.000Z' }, mission({})), false);
});

test('the parts of a list are read one after the other', () => {
  const feed = newFeed(HOME);
  assert.deepEqual(feed.segments.map(({ statuses }) => statuses), [['running'], ['pending'], ['completed', 'failed', 'cancelled']]);

  const afterRunning = withPage(feed, nextSegment(feed, false), null, undefined);
  assert.deepEqual(nextSegment(afterRunning, false).statuses, ['pending']);

  assert.deepEqual(nextSegment(feed, true).statuses, ['completed', 'failed', 'cancelled'], 'what lives is known already');
});

test('a list of one status has one part, and an order of its own has one part', () => {
  assert.equal(newFeed({ ...HOME, status: ['failed'] }).segments.length, 1);
  assert.equal(newFeed({ ...HOME, sort: '-duration' }).segments.length, 1);
  assert.deepEqual(newFeed({ ...HOME, needs: 'stalled', status: ['failed'] }).segments, []);
});

test('older missions than the pages read are not shown, for there may be gaps between them', () => {
  const old = mission({ status: 'completed', created_at: '2026-01-01T01:00:00Z' });
  const last = mission({ status: 'completed', created_at: '2026-01-01T02:00:00Z' });
  const feed = newFeed({ ...HOME, status: ['completed'] });
  const shows = (read) => listed({ ...HOME, status: ['completed'] }, read, true, NOW)(old);

  assert.equal(shows(feed), true, 'until the first page is there, what is known is shown');
  const read = withPage(feed, feed.segments[0], 'next', last);
  assert.equal(shows(read), false);
  assert.equal(shows(withPage(read, read.segments[0], null, last)), true);
});

test('what ended waits until all that runs has been read', () => {
  const ended = mission({ status: 'completed' });
  const feed = newFeed(HOME);
  const read = withPage(feed, feed.segments[0], 'more', mission({ status: 'running' }));

  assert.equal(listed(HOME, read, false, NOW)(ended), false);
});

test('unknown values stand lowest in any order', () => {
  const dear = mission({ cost_estimate: 2 });
  const free = mission({ cost_estimate: 0 });
  const unknown = mission({ cost_estimate: null });

  assert.deepEqual([unknown, dear, free].sort(comparator('-cost_estimate')), [dear, free, unknown]);
  assert.deepEqual([free, unknown, dear].sort(comparator('cost_estimate')), [unknown, free, dear]);
});

test('what stands before the last one shown is news, what stands after it was read', () => {
  assert.deepEqual(undisturbed(['b', 'd'], ['a', 'b', 'c', 'd', 'e']), { order: ['b', 'd', 'e'], waiting: 2 });
  assert.deepEqual(undisturbed(['b', 'a'], ['a', 'b']), { order: ['b', 'a'], waiting: 0 });
});

test('what needs somebody is counted by kind', () => {
  const missions = [
    mission({ status: 'running', stalled: true }), mission({ status: 'failed', stalled: true }), mission({ status: 'running', question: makeQuestion() }),
    mission({ status: 'running', budget_state: 'warning' }), mission({ status: 'completed', budget_state: 'warning' }), mission({ status: 'cancelled', budget_state: 'exceeded' }),
    mission({ status: 'cancelled', control: 'cancel_requested', receipt: makeReceipt({ unconfirmed: true }) }),
    mission({ status: 'cancelled', control: 'cancel_requested', receipt: makeReceipt() }), mission({ status: 'cancelled', control: null, receipt: makeReceipt() }),
  ];

  assert.deepEqual(countNeeds(missions, NEEDS), { question: 1, stalled: 1, budget: 1, unconfirmed: 1, over_budget: 1 });
});

test('the next question is the one that waits longest, and then round again', () => {
  const asked = (minute) => mission({ status: 'running', question: makeQuestion({ asked_at: `2026-01-01T12:0${minute}:00Z` }) });
  const [second, first, quiet] = [asked(2), asked(1), mission({ status: 'running' })];
  const all = [second, first, quiet];

  assert.equal(nextAsking(all, ''), first.id);
  assert.equal(nextAsking(all, first.id), second.id);
  assert.equal(nextAsking(all, second.id), first.id);
  assert.equal(nextAsking(all, quiet.id), first.id);
  assert.equal(nextAsking([quiet], ''), '');
});

test('an expected end is told only where progress bears it', () => {
  const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();
  const running = { status: 'running', started_at: at(-60), heartbeat_at: at(0) };

  assert.equal(expectedRest(mission({ ...running, progress: 50 }), NOW), 60);
  assert.equal(expectedRest(mission({ ...running, progress: 2 }), NOW), null);
  assert.equal(expectedRest(mission({ ...running, progress: 50, stalled: true }), NOW), null);
  assert.equal(expectedRest(mission({ ...running, progress: 50, control: 'paused' }), NOW), null);
  assert.equal(expectedRest(mission({ ...running, progress: 50, question: makeQuestion() }), NOW), null);
  assert.equal(tellsProgress(mission({ ...running, progress: 0 })), false);
});
