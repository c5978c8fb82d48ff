import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANSWER_MS, OFFLINE_AFTER_MS, TICK_MS, follow } from '../../static/js/live.js';
import { makeSocket, makeWorld } from './make.mjs';

function followed(world = makeWorld()) {
  const socket = makeSocket();
  const heard = [];
  const note = (name) => (...said) => heard.push([name, ...said]);
  const tell = Object.fromEntries(['snapshot', 'changes', 'update', 'metrics', 'service', 'connection', 'clock'].map((name) => [name, note(name)]));
  const live = follow(socket, tell, world);
  const of = (name) => heard.filter(([kind]) => kind === name).map(([, ...said]) => said);
  return { socket, world, live, of, phase: () => of('connection').at(-1)[0].phase };
}

test('it is live only once the first picture has come', () => {
  const { socket, phase } = followed();

  assert.equal(phase(), 'connecting');
  socket.connected = true;
  socket.hear('connect');
  assert.equal(phase(), 'connecting');

  socket.hear('initial_data', { missions: [], cursor: 'a.1' });
  assert.equal(phase(), 'live');
});

test('after a break it asks for what changed since the last cursor it saw', () => {
  const { socket, of, phase } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.hear('mission_update', { cursor: 'a.7' });

  socket.drop();
  assert.equal(phase(), 'reconnecting');
  socket.open({ missions: [], cursor: 'a.20' });

  assert.deepEqual(socket.asked('request_update'), [['request_update', { cursor: 'a.7' }]]);
  assert.equal(phase(), 'reconnecting', 'not live while changes are missing');
  socket.hear('data_update', { missions: [], cursor: 'a.21' });
  assert.equal(of('changes').length, 1);
  assert.equal(phase(), 'live');
});

test('a second break while catching up does not skip the gap of the first', () => {
  const { socket } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.drop();
  socket.open({ missions: [], cursor: 'a.20' });
  socket.hear('mission_update', { cursor: 'a.22' });

  socket.drop();
  socket.open({ missions: [], cursor: 'a.30' });

  assert.deepEqual(socket.asked('request_update').map(([, said]) => said.cursor), ['a.1', 'a.1']);
});

test('more changes than fit one answer are asked for until they are all here', () => {
  const { socket, world, phase } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.drop();
  socket.open({ missions: [], cursor: 'a.9' });

  socket.hear('data_update', { missions: [], cursor: 'a.4', more: true });
  world.pass(1000);

  assert.equal(socket.asked('request_update').at(-1)[1].cursor, 'a.4');
  socket.hear('data_update', { missions: [], cursor: 'a.9' });
  assert.equal(phase(), 'live');
});

test('what was not held is made good by a whole new picture, now or at the next connection', () => {
  const { socket, live, of } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  live.renew();
  assert.deepEqual(socket.asked('request_update'), [['request_update', { cursor: '' }]]);
  socket.hear('data_update', { missions: [], cursor: 'a.5', reset: true });
  assert.deepEqual(of('snapshot').map(([, fresh]) => fresh), [false, true]);

  socket.drop();
  live.renew();
  socket.open({ missions: [], cursor: 'a.9' });
  assert.deepEqual(of('snapshot').map(([, fresh]) => fresh), [false, true, true]);
  assert.equal(socket.asked('request_update').length, 1);
});

test('a whole new picture replaces what was known', () => {
  const { socket, of } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.drop();
  socket.open({ missions: [], cursor: 'b.1' });

  socket.hear('data_update', { missions: [], cursor: 'b.1', reset: true });

  assert.deepEqual(of('snapshot').map(([, fresh]) => fresh), [false, false, true]);
});

test('a socket that is open on one side only is found and replaced', () => {
  const { socket, world, phase } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  world.pass(TICK_MS + ANSWER_MS);

  assert.equal(socket.connects, 1);
  assert.equal(phase(), 'reconnecting');
});

test('a late answer among other messages is no reason to reconnect', () => {
  const { socket, world } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  for (let second = 0; second < 20; second += 1) {
    world.pass(1000);
    socket.hear('metrics_update', {});
  }

  assert.equal(socket.connects, 0);
});

test('the answer to a tick tells latency and the server clock', () => {
  const world = makeWorld(Date.UTC(2026, 0, 1, 12));
  const { socket, of } = followed(world);
  socket.open({ missions: [], cursor: 'a.1' });
  world.pass(1000);

  world.pass(40);
  socket.answerPing('2026-01-01T13:00:01.020Z');

  assert.equal(of('connection').at(-1)[0].latency_ms, 40);
  assert.deepEqual(of('clock'), [[3_600_000]]);
});

test('after half a minute without a server it says offline', () => {
  const { socket, world, phase } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.drop();

  world.pass(OFFLINE_AFTER_MS);

  assert.equal(phase(), 'offline');
});

test('how old the picture is counts from the last sign of life', () => {
  const { socket, world, of } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  const seen = world.now();
  world.pass(500);
  socket.drop();

  assert.equal(of('connection').at(-1)[0].as_of, seen);
});

test('waking up tries at once instead of waiting for its turn', () => {
  const { socket, world, live } = followed();
  socket.open({ missions: [], cursor: 'a.1' });
  socket.drop();
  world.pass(100);

  live.resync();
  live.resync();

  assert.equal(socket.connects, 1);
});

test('looking at the page while it still connects disturbs nothing', () => {
  const { socket, live } = followed();

  live.resync();

  assert.equal(socket.connects, 0);
});

test('sent away by the server, it comes back by itself', () => {
  const { socket, world } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  socket.drop('io server disconnect');
  world.pass(3000);

  assert.equal(socket.connects, 1);
});

test('without a network it says offline at once', () => {
  const { socket, world, live, phase } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  world.isOnline = false;
  live.resync();

  assert.equal(phase(), 'offline');
});

test('stopping leaves no timer and no handler', () => {
  const { socket, world, live, of } = followed();
  socket.open({ missions: [], cursor: 'a.1' });

  live.stop();
  const before = of('connection').length;
  world.pass(60_000);
  socket.hear('metrics_update', {});

  assert.equal(of('connection').length, before);
  assert.equal(of('metrics').length, 0);
});
