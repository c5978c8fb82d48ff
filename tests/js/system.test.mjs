import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOST_ANSWERS, between, faults, lately, quantile, stretches, withAnswer } from '../../static/js/system.js';

const BOUNDS = [0.1, 1, 10];

function makeAnswer({ requests = {}, writes = {}, live = {}, database = {}, ...said } = {}) {
  return {
    version: '1', python: '3', process: 'host:1', uptime_s: 100, cpu_s: 1, memory_bytes: 100, memory_limit_bytes: 1000, bucket_bounds_s: BOUNDS,
    requests: { answered: 0, failed: 0, refused: 0, buckets: [0, 0, 0, 0], ...requests },
    writes: { commits: 0, events: 0, commit_buckets: [0, 0, 0, 0], queue_depth: 0, queue_age_s: 0, queue_limit: 1000, ...writes },
    live: { viewers: 0, lag_buckets: [0, 0, 0, 0], ...live },
    database: { up: true, version: '18', pool_size: 8, pool_in_use: 0, ...database },
    alerts: { open: 0, unseen: 0, critical: 0, waiting: 0, dead: 0 }, ...said,
  };
}

const judged = (said) => faults(makeAnswer(said), lately([makeAnswer(said)]));

test('what is shown happened between two answers, not since the start', () => {
  const before = makeAnswer({ cpu_s: 1, requests: { answered: 1000, failed: 900, buckets: [0, 0, 1000, 0] }, writes: { events: 500 } });
  const after = makeAnswer({ uptime_s: 110, cpu_s: 6, requests: { answered: 1100, failed: 901, refused: 2, buckets: [100, 0, 1000, 0] }, writes: { events: 520 } });

  const stretch = between(before, after);

  assert.deepEqual([stretch.perSecond, stretch.errors, stretch.cpu, stretch.events, stretch.refused], [10, 1, 50, 2, 2]);
  assert.equal(stretch.p95, 0.095);
  assert.equal(stretch.commit, null);
});

test('the last minute counts, and since the start where there is one answer alone', () => {
  const at = (second) => makeAnswer({ uptime_s: 100 + second, requests: { answered: second * second } });
  const answers = [0, 30, 60, 90, 120].map(at);

  assert.equal(lately(answers).answered, 120 ** 2 - 60 ** 2);
  assert.equal(lately(answers.slice(0, 2)).answered, 900);
  assert.equal(lately([at(30)]).perSecond, 900 / 130);
  assert.equal(stretches(answers).length, 4);
});

test('a restart, or another process behind the same address, begins anew', () => {
  const answers = withAnswer([makeAnswer(), makeAnswer({ uptime_s: 105 })], makeAnswer({ uptime_s: 110 }));

  assert.equal(answers.length, 3);
  assert.equal(withAnswer(answers, makeAnswer({ uptime_s: 3 })).length, 1);
  assert.equal(withAnswer(answers, makeAnswer({ uptime_s: 200, process: 'host:2' })).length, 1);
});

test('answers are forgotten after ten minutes', () => {
  let answers = [];
  for (let second = 1; second <= MOST_ANSWERS * 2; second += 1) answers = withAnswer(answers, makeAnswer({ uptime_s: second }));

  assert.equal(answers.length, MOST_ANSWERS);
  assert.equal(answers.at(-1).uptime_s, MOST_ANSWERS * 2);
});

test('quantiles are those of Prometheus', () => {
  assert.equal(quantile(BOUNDS, [0, 0, 0, 0], 0.5), null);
  assert.equal(quantile(BOUNDS, [10, 0, 0, 0], 0.5), 0.05);
  assert.equal(quantile(BOUNDS, [0, 10, 0, 0], 0.5), 0.55);
  assert.equal(quantile(BOUNDS, [0, 0, 0, 5], 0.99), 10);
});

test('a server that does well has nothing said of it', () => {
  assert.deepEqual(judged({ requests: { answered: 100, refused: 90, buckets: [100, 0, 0, 0] } }), {});
  assert.deepEqual(judged({ alerts: null, memory_limit_bytes: null, memory_bytes: null }), {});
});

const BROKEN = [
  ['database', { database: { up: false, pool_in_use: 8 } }, /away/],
  ['database', { database: { pool_in_use: 8 } }, /busy/],
  ['queue', { writes: { queue_age_s: 1.1 } }, /longer than a second/],
  ['queue', { writes: { queue_depth: 800 } }, /refused once 1,000 wait/],
  ['requests', { requests: { answered: 100, buckets: [95, 0, 5, 0] } }, /longer than a second/],
  ['errors', { requests: { answered: 100, failed: 2 } }, /^2.0% of the answers/],
  ['cpu', { cpu_s: 95 }, /processor/],
  ['memory', { memory_bytes: 950 }, /1.0 kB of memory/],
  ['live', { live: { lag_buckets: [0, 0, 5, 0] } }, /late/],
  ['alerts', { alerts: { open: 0, unseen: 0, critical: 0, waiting: 0, dead: 1 } }, /^1 notification could not/],
];

for (const [measure, said, text] of BROKEN) {
  test(`what is wrong is said: ${measure} ${text.source}`, () => {
    const found = judged(said);

    assert.deepEqual(Object.keys(found), [measure]);
    assert.match(found[measure].text, text);
  });
}
