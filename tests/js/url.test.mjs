import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOME, formatRoute, isFiltered, listKey, listQuery, parseRoute, unfiltered, wantedStatuses } from '../../static/js/url.js';

const EVERYTHING = {
  ...HOME, status: ['running', 'failed'], priority: ['high'], type: ['data analysis'], agent_type: ['A&B'], model_used: ['m=1'], q: 'naïve 🚀 “x”',
  since: '24h', needs: 'stalled', sort: '-duration', view: 'table', page: 'system', mission: 'abc', tab: 'timeline', parent: 'p', from: '2026-01-01T00:00:00.000Z', to: '2026-01-02T00:00:00.000Z',
};

test('every state of the page survives its address', () => {
  assert.deepEqual(parseRoute(formatRoute(EVERYTHING)), EVERYTHING);
  assert.deepEqual(parseRoute(''), HOME);
  assert.equal(formatRoute(HOME), '');
});

test('nonsense in the address is left out', () => {
  const route = parseRoute('?status=exploded&status=failed&status=failed&priority=urgent&view=hologram&tab=9&sort=drop table&since=1y&from=never&needs=love&x=1');

  assert.deepEqual(route, { ...HOME, status: ['failed'] });
});

test('the same list in another view is the same list', () => {
  assert.equal(listKey({ ...HOME, q: 'a' }), listKey({ ...HOME, q: 'a', view: 'table', page: 'system', mission: 'x', tab: 'result' }));
  assert.notEqual(listKey({ ...HOME, q: 'a' }), listKey({ ...HOME, q: 'b' }));
});

test('clearing the filters keeps the view and the open mission', () => {
  const cleared = unfiltered(EVERYTHING);

  assert.equal(isFiltered(cleared), false);
  assert.deepEqual([cleared.view, cleared.mission, cleared.tab], ['table', 'abc', 'timeline']);
});

test('the query speaks the names of the API', () => {
  const query = listQuery({ ...EVERYTHING, from: '' }, ['running'], Date.UTC(2026, 0, 2));

  assert.equal(query.toString(), new URLSearchParams([
    ['status', 'running'], ['priority', 'high'], ['type', 'data analysis'], ['agent_type', 'A&B'], ['model_used', 'm=1'], ['q', 'naïve 🚀 “x”'],
    ['parent_id', 'p'], ['needs', 'stalled'], ['created_after', '2026-01-01T00:00:00.000Z'], ['finished_before', '2026-01-02T00:00:00.000Z'],
  ]).toString());
});

test('a time chosen on the bars is when missions finished', () => {
  const route = { ...HOME, from: '2026-01-01T10:00:00.000Z', to: '2026-01-01T11:00:00.000Z' };

  assert.deepEqual(wantedStatuses(route), ['completed', 'failed', 'cancelled']);
  assert.deepEqual(wantedStatuses({ ...route, status: ['running', 'failed'] }), ['failed']);
  assert.equal(listQuery(route, ['failed'], 0).get('finished_after'), route.from);
  assert.equal(listQuery(route, ['failed'], 0).get('created_after'), null);
});

test('what needs somebody while it lives runs, and the rest was cancelled', () => {
  assert.deepEqual(wantedStatuses({ ...HOME, needs: 'stalled' }), ['running']);
  assert.deepEqual(wantedStatuses({ ...HOME, needs: 'unconfirmed' }), ['cancelled']);
  assert.equal(listQuery({ ...HOME, needs: 'question' }, ['running'], 0).get('needs'), 'question');
});
