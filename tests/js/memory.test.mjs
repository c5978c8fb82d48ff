import assert from 'node:assert/strict';
import { test } from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';
import { parseMission } from '../../static/js/missions.js';
import { makeRaw } from './make.mjs';

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

test('of long texts only what is shown is kept in memory', () => {
  const LONG = 500_000;
  collect();
  const before = process.memoryUsage().heapUsed;

  const missions = Array.from({ length: 100 }, (_, number) => parseMission(JSON.parse(JSON.stringify(makeRaw({ error_message: `${number}`.padEnd(LONG, 'x') })))));

  collect();
  const kept = process.memoryUsage().heapUsed - before;
  assert.ok(kept < 100 * LONG * 0.1, `${kept} bytes are kept`);
  assert.deepEqual([missions.length, missions[99].error_message.length], [100, 1000]);
});
