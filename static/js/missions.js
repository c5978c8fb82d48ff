// What a mission is to the page: how one arrives from the server, and the questions one can ask of it.

/** @typedef {'pending' | 'running' | 'completed' | 'failed' | 'cancelled'} Status */
/** @typedef {'low' | 'medium' | 'high' | 'critical'} Priority */

/**
 * A mission as the lists need it. Results, long texts and metadata stay behind: ten thousand of these are kept, and
 * the drawer asks for the whole of the one it shows. Times are milliseconds, `null` where unknown.
 * @typedef {object} Mission
 * @property {string} id
 * @property {string} title
 * @property {string} description
 * @property {Status} status
 * @property {Priority} priority
 * @property {number} created_at
 * @property {number | null} started_at
 * @property {number | null} completed_at
 * @property {number | null} heartbeat_at
 * @property {number | null} duration
 * @property {number} progress
 * @property {string} error_message
 * @property {string} type
 * @property {string} agent_type
 * @property {string} model_used
 * @property {number | null} tokens_used
 * @property {number | null} input_tokens
 * @property {number | null} output_tokens
 * @property {number | null} cost_estimate
 * @property {string} step
 * @property {string | null} parent_id
 * @property {string | null} retry_of
 * @property {boolean} stalled
 * @property {string} question
 * @property {string | null} control
 * @property {{cost: number | null, tokens: number | null, seconds: number | null} | null} budget
 * @property {number} version
 */

/** @type {readonly Status[]} */
export const STATUSES = ['running', 'pending', 'completed', 'failed', 'cancelled'];
/** @type {readonly Status[]} */
export const ALIVE = ['running', 'pending'];
/** @type {readonly Status[]} */
export const FINAL = ['completed', 'failed', 'cancelled'];
/** @type {readonly Priority[]} */
export const PRIORITIES = ['critical', 'high', 'medium', 'low'];

const KEPT_TEXT = 1000;
const STATUS_RANK = { running: 0, pending: 1, completed: 2, failed: 2, cancelled: 2 };
const PRIORITY_RANK = { low: 1, medium: 2, high: 3, critical: 4 };

/**
 * Read a mission object of the wire; `null` for what is none, so that one bad row cannot blank the page.
 * @param {any} raw
 * @returns {Mission | null}
 */
export function parseMission(raw) {
  if (!raw || typeof raw !== 'object' || typeof raw.id !== 'string' || typeof raw.title !== 'string') return null;
  if (!STATUSES.includes(raw.status) || !PRIORITIES.includes(raw.priority)) return null;
  const created = time(raw.created_at);
  if (created === null || !Number.isInteger(raw.version)) return null;
  return {
    id: raw.id,
    title: raw.title,
    description: text(raw.description),
    status: raw.status,
    priority: raw.priority,
    created_at: created,
    started_at: time(raw.started_at),
    completed_at: time(raw.completed_at),
    heartbeat_at: time(raw.heartbeat_at),
    duration: number(raw.duration),
    progress: Math.min(100, Math.max(0, number(raw.progress) ?? 0)),
    error_message: text(raw.error_message),
    type: text(raw.metadata?.type),
    agent_type: text(raw.agent_type),
    model_used: text(raw.model_used),
    tokens_used: number(raw.tokens_used),
    input_tokens: number(raw.input_tokens),
    output_tokens: number(raw.output_tokens),
    cost_estimate: number(raw.cost_estimate),
    step: text(raw.step),
    parent_id: text(raw.parent_id) || null,
    retry_of: text(raw.retry_of) || null,
    stalled: raw.stalled === true,
    question: question(raw.question),
    control: text(raw.control) || null,
    budget: budget(raw.budget),
    version: raw.version,
  };
}

/** @param {any} value */
function time(value) {
  const at = typeof value === 'string' ? Date.parse(value) : NaN;
  return Number.isFinite(at) ? at : null;
}

/** @param {any} value */
function number(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** @param {any} value */
function text(value) {
  if (typeof value !== 'string') return '';
  if (value.length <= KEPT_TEXT) return value;
  // A slice keeps the whole string alive behind it; only a copy lets that go.
  return JSON.parse(JSON.stringify(value.slice(0, KEPT_TEXT)));
}

/** @param {any} value */
function question(value) {
  if (value && typeof value === 'object') return text(value.text ?? value.question ?? value.prompt) || 'It waits for an answer';
  return text(value);
}

/** @param {any} value */
function budget(value) {
  if (!value || typeof value !== 'object') return null;
  const read = { cost: number(value.cost), tokens: number(value.tokens), seconds: number(value.seconds) };
  return read.cost === null && read.tokens === null && read.seconds === null ? null : read;
}

/** @param {Mission} mission */
export const isFinal = (mission) => FINAL.includes(mission.status);

/** @param {Mission} mission */
export const isAlive = (mission) => !isFinal(mission);

/** What may be done to it now, in the words of the API. @param {Mission} mission @returns {Action[]} */
export function allowedActions(mission) {
  if (mission.status === 'pending') return ['start', 'cancel'];
  return mission.status === 'running' ? ['cancel'] : ['retry'];
}
/** @typedef {'start' | 'cancel' | 'retry'} Action */

/** What needs a person's eye. */
export const NEEDS = /** @type {const} */ (['question', 'stalled', 'over_budget']);

/** @param {Mission} mission @param {string} need @param {number} now milliseconds */
export function needs(mission, need, now) {
  if (!isAlive(mission)) return false;
  if (need === 'question') return mission.question !== '';
  return need === 'stalled' ? mission.stalled : isOverBudget(mission, now);
}

/** @param {Mission} mission @param {number} now milliseconds */
export function isOverBudget(mission, now) {
  if (!mission.budget) return false;
  const { cost, tokens, seconds: time } = mission.budget;
  return exceeds(mission.cost_estimate, cost) || exceeds(mission.tokens_used, tokens) || exceeds(elapsed(mission, now), time);
}

/** @param {number | null} used @param {number | null} limit */
const exceeds = (used, limit) => limit !== null && used !== null && used > limit;

/** Seconds it has run, or ran. @param {Mission} mission @param {number} now milliseconds */
export function elapsed(mission, now) {
  if (mission.started_at === null) return null;
  if (isFinal(mission)) return mission.duration ?? seconds(mission.started_at, mission.completed_at);
  return seconds(mission.started_at, now);
}

/** @param {number} from @param {number | null} to */
function seconds(from, to) {
  return to === null ? null : Math.max(0, (to - from) / 1000);
}

/** Whether a running mission has told how far it is. @param {Mission} mission */
export const tellsProgress = (mission) => mission.status !== 'running' || mission.progress > 0;

/** Seconds until its end if it goes on at the pace of its progress; `null` where that would be a guess. */
export function expectedRest(/** @type {Mission} */ mission, /** @type {number} */ now) {
  if (mission.status !== 'running' || mission.stalled || mission.progress < 5 || mission.progress >= 100) return null;
  // The pace up to the last report: between reports time passes and progress stands still.
  const ran = seconds(mission.started_at ?? now, mission.heartbeat_at ?? now);
  if (!ran || ran < 5) return null;
  const whole = ran / (mission.progress / 100);
  return Math.max(0, whole - (elapsed(mission, now) ?? 0));
}

/** @param {Mission} mission */
export const statusRank = (mission) => STATUS_RANK[mission.status];

/** @param {Mission} mission */
export const priorityRank = (mission) => PRIORITY_RANK[mission.priority];

/** @type {WeakMap<Mission, string>} */
const searchTexts = new WeakMap();

/** The text a search looks in, the same as the server's. @param {Mission} mission */
export function searchText(mission) {
  let found = searchTexts.get(mission);
  if (found === undefined) {
    const { title, description, type, agent_type: agent, model_used: model } = mission;
    found = `${title} ${description} ${type} ${agent} ${model}`.toLowerCase();
    searchTexts.set(mission, found);
  }
  return found;
}
