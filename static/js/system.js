// What the server says of itself over time: what happened between two answers, and what of it is out of bounds. Pure.
import { bytes, count, percent, plural } from './format.js';

/**
 * An answer of GET /api/system, as far as it is read here.
 * @typedef {object} Answer
 * @property {string} version @property {string} python @property {string} process
 * @property {number} uptime_s @property {number} cpu_s @property {number | null} memory_bytes @property {number | null} memory_limit_bytes
 * @property {number[]} bucket_bounds_s
 * @property {{answered: number, failed: number, refused: number, buckets: number[]}} requests
 * @property {{commits: number, events: number, commit_buckets: number[], queue_depth: number, queue_age_s: number, queue_limit: number}} writes
 * @property {{viewers: number, lag_buckets: number[]}} live
 * @property {{up: boolean, version: string, pool_size: number, pool_in_use: number}} database
 * @property {{open: number, unseen: number, critical: number, waiting: number, dead: number} | null} alerts
 */

/**
 * What happened between two answers; `null` where nothing did that could be measured.
 * @typedef {object} Stretch
 * @property {number} seconds
 * @property {number} perSecond @property {number} answered @property {number} failed @property {number} refused @property {number | null} errors percent
 * @property {number | null} p50 @property {number | null} p95 @property {number | null} p99
 * @property {number} cpu percent of one core
 * @property {number} events per second @property {number | null} commit @property {number | null} lag
 */

/** @typedef {{level: 'warning' | 'critical', text: string}} Fault */
/** @typedef {'requests' | 'errors' | 'cpu' | 'memory' | 'writes' | 'queue' | 'live' | 'database' | 'alerts'} Measure */

/** Ten minutes of an answer each five seconds. */
export const MOST_ANSWERS = 120;
const MINUTE_S = 60;
const SLOW_S = 1;
const ERRORS_PERCENT = 1;
const QUEUE_AGE_S = 1;
const NEARLY_FULL = 0.8;
const BUSY_PERCENT = 90;
const LITTLE_MEMORY = 0.9;
const FEWEST_ANSWERS = 20;
const SHORTEST_S = 15;

/** Add an answer. One of another process, or of one that started anew, begins a new story. @param {readonly Answer[]} answers @param {Answer} answer @returns {readonly Answer[]} */
export function withAnswer(answers, answer) {
  const last = answers.at(-1);
  const goesOn = last && last.process === answer.process && answer.uptime_s > last.uptime_s;
  return goesOn ? [...answers.slice(1 - MOST_ANSWERS), answer] : [answer];
}

/** @param {Answer} from @param {Answer} to @returns {Stretch} */
export function between(from, to) {
  const seconds = to.uptime_s - from.uptime_s;
  const answered = to.requests.answered - from.requests.answered;
  const failed = to.requests.failed - from.requests.failed;
  const asked = minus(to.requests.buckets, from.requests.buckets);
  const bounds = to.bucket_bounds_s;
  return {
    seconds, answered, failed,
    refused: to.requests.refused - from.requests.refused,
    perSecond: answered / seconds,
    errors: answered ? (failed / answered) * 100 : null,
    p50: quantile(bounds, asked, 0.5), p95: quantile(bounds, asked, 0.95), p99: quantile(bounds, asked, 0.99),
    cpu: ((to.cpu_s - from.cpu_s) / seconds) * 100,
    events: (to.writes.events - from.writes.events) / seconds,
    commit: quantile(bounds, minus(to.writes.commit_buckets, from.writes.commit_buckets), 0.95),
    lag: quantile(bounds, minus(to.live.lag_buckets, from.live.lag_buckets), 0.95),
  };
}

/** What a process has done since its start, for when there is one answer alone. @param {Answer} answer @returns {Answer} */
const nothing = (answer) => ({
  ...answer, uptime_s: 0, cpu_s: 0,
  requests: { answered: 0, failed: 0, refused: 0, buckets: answer.requests.buckets.map(() => 0) },
  writes: { ...answer.writes, commits: 0, events: 0, commit_buckets: answer.writes.commit_buckets.map(() => 0) },
  live: { ...answer.live, lag_buckets: answer.live.lag_buckets.map(() => 0) },
});

/** The last minute, or as much of it as was seen; with one answer, all since the start. @param {readonly Answer[]} answers @returns {Stretch} */
export function lately(answers) {
  const last = answers[answers.length - 1];
  const from = answers.findLast((answer) => last.uptime_s - answer.uptime_s >= MINUTE_S) ?? answers[0];
  return between(from === last ? nothing(last) : from, last);
}

/** Each step from one answer to the next. @param {readonly Answer[]} answers */
export const stretches = (answers) => answers.slice(1).map((answer, index) => between(answers[index], answer));

/** @param {readonly number[]} after @param {readonly number[]} before */
const minus = (after, before) => after.map((value, index) => value - before[index]);

/** As Prometheus estimates it: even within a bucket. @param {readonly number[]} bounds @param {readonly number[]} counts @param {number} share */
export function quantile(bounds, counts, share) {
  const rank = share * counts.reduce((sum, value) => sum + value, 0);
  if (!rank) return null;
  let before = 0;
  for (const [index, value] of counts.entries()) {
    if (value && before + value >= rank) {
      const low = index ? bounds[index - 1] : 0;
      return index === bounds.length ? low : low + ((bounds[index] - low) * (rank - before)) / value;
    }
    before += value;
  }
  return bounds[bounds.length - 1];
}

/**
 * What is out of bounds, in words; the bounds are those of the Prometheus rules in deploy/.
 * @param {Answer} now @param {Stretch} recent @returns {Partial<Record<Measure, Fault>>}
 */
export function faults(now, recent) {
  const { writes, database, alerts, memory_bytes: used, memory_limit_bytes: limit } = now;
  /** @type {Partial<Record<Measure, Fault>>} */
  const found = {};
  /** @param {boolean | null} wrong @param {Measure} measure @param {Fault['level']} level @param {string} text */
  const when = (wrong, measure, level, text) => {
    if (wrong) found[measure] = { level, text };
  };
  const enough = recent.answered >= FEWEST_ANSWERS;
  when(!database.up, 'database', 'critical', 'The database is away: writes are refused until it is back.');
  when(database.up && database.pool_in_use >= database.pool_size, 'database', 'warning', 'All connections for reading are busy: readers wait.');
  when(writes.queue_age_s > QUEUE_AGE_S, 'queue', 'warning', 'Writes wait longer than a second: the database is slow, or its disk is full.');
  when(writes.queue_depth >= NEARLY_FULL * writes.queue_limit, 'queue', 'critical', `Writes are refused once ${count(writes.queue_limit)} wait.`);
  when(enough && (recent.p99 ?? 0) > SLOW_S, 'requests', 'warning', 'One answer in a hundred takes longer than a second.');
  when(enough && (recent.errors ?? 0) > ERRORS_PERCENT, 'errors', 'critical', `${percent(recent.errors, 1)}% of the answers are errors of the server; its log tells which.`);
  when(recent.seconds >= SHORTEST_S && recent.cpu > BUSY_PERCENT, 'cpu', 'warning', 'This process has no processor time to spare.');
  when(used !== null && limit !== null && used > LITTLE_MEMORY * limit, 'memory', 'critical', `Hardly any of its ${bytes(limit)} of memory is left.`);
  when((recent.lag ?? 0) > SLOW_S, 'live', 'warning', 'Viewers hear of changes more than a second late.');
  when(alerts !== null && alerts.dead > 0, 'alerts', 'warning', `${plural(alerts?.dead ?? 0, 'notification')} could not be delivered; they can be sent again.`);
  return found;
}
