import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowedActions, budgetUse, parseMission, receiptSteps } from '../../static/js/missions.js';
import { initialState, takeMissions, takeUpdates } from '../../static/js/state.js';
import { makeQuestion, makeRaw, makeReceipt, makeUpdate } from './make.mjs';

const NOW = Date.UTC(2026, 0, 1, 13);
const mission = (said) => parseMission(makeRaw(said));

test('a question arrives whole, and what is none is none', () => {
  const long = 'x'.repeat(5000);
  const { question } = mission({ status: 'running', question: makeQuestion({ text: long, options: [long, 'no'] }) });

  assert.equal(question.text, long);
  assert.deepEqual(question.options, [long, 'no'], 'an answer that is cut is no answer the server takes');
  assert.equal(mission({ question: makeQuestion({ options: null }) }).question.options, null);
  for (const broken of ['Refund?', 7, [], { text: 'no id' }, { id: 'q', text: 3 }]) assert.equal(mission({ question: broken }).question, null);
});

test('only what can be done now is offered', () => {
  assert.deepEqual(allowedActions(mission({ status: 'pending' })), ['start', 'cancel']);
  assert.deepEqual(allowedActions(mission({ status: 'running' })), ['pause', 'cancel']);
  assert.deepEqual(allowedActions(mission({ status: 'running', control: 'pause_requested' })), ['resume', 'cancel']);
  assert.deepEqual(allowedActions(mission({ status: 'running', control: 'paused' })), ['resume', 'cancel']);
  assert.deepEqual(allowedActions(mission({ status: 'cancelled', control: 'cancel_requested' })), ['retry']);
});

test('the use of a budget warns at 80 percent and is used up at 100', () => {
  const levels = (said) => budgetUse(mission({ status: 'running', started_at: new Date(NOW - 30_000).toISOString(), ...said }), NOW).map(({ kind, level, share }) => [kind, level, share]);

  assert.deepEqual(levels({}), []);
  assert.deepEqual(levels({ budget: { cost: 1, tokens: null, seconds: null }, cost_estimate: 0.79 }), [['cost', 'ok', 0.79]]);
  assert.deepEqual(levels({ budget: { cost: 1, tokens: 100, seconds: 60 }, cost_estimate: 0.8, tokens_used: 100 }),
    [['cost', 'warning', 0.8], ['tokens', 'exceeded', 1], ['seconds', 'ok', 0.5]]);
  assert.deepEqual(levels({ budget: { cost: 0, tokens: null, seconds: null } }), [['cost', 'ok', 0]], 'nothing of nothing is used');
  assert.deepEqual(levels({ budget: { cost: 0, tokens: null, seconds: null }, cost_estimate: 0.01 }), [['cost', 'exceeded', 1]]);
});

test('a receipt tells each step and what has not come', () => {
  const steps = (said) => receiptSteps(mission({ receipt: makeReceipt(said) }).receipt);

  assert.deepEqual(steps({}).map(({ name, at }) => [name, at !== null]), [['Asked', true], ['Delivered', false], ['Acknowledged', false], ['Stopped', false]]);
  assert.match(steps({ unconfirmed: true })[2].missing, /may still run/);
  assert.deepEqual(steps({ action: 'pause', acknowledged_at: '2026-01-01T12:00:12Z' }).map(({ name }) => name), ['Asked', 'Delivered', 'Paused']);
});

test('a sign of life is news without a new version, and an older one is not', () => {
  const raw = makeRaw({ status: 'running', version: 3, heartbeat_at: '2026-01-01T12:00:00Z' });
  const { state } = takeMissions(initialState(), [raw]);

  assert.equal(takeMissions(state, [{ ...raw, heartbeat_at: '2026-01-01T12:00:30Z' }]).changed, 1);
  assert.equal(takeMissions(state, [{ ...raw, heartbeat_at: '2026-01-01T12:00:10Z' }]).changed, 0);
  assert.equal(takeMissions(state, [{ ...raw, version: 2, heartbeat_at: '2026-01-01T12:01:00Z' }]).changed, 0);
});

test('each question is announced once', () => {
  const raw = makeRaw({ status: 'running', version: 2, question: makeQuestion() });
  const update = makeUpdate(raw, { event_type: 'mission_question_asked' });
  const heard = takeUpdates(initialState(), [update]);

  assert.deepEqual(heard.news.asked, [raw.id]);
  assert.deepEqual(takeUpdates(heard, [update]).news.asked, [raw.id]);
});
