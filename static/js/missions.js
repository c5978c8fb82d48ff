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
 * @property {number | null} heartbeat_at when it was last heard of
 * @property {number | null} moved_at when it last started or reported progress
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
 * @property {string} stalled_reason the evidence
 * @property {Question | null} question what it waits for a person to answer
 * @property {string | null} control
 * @property {Receipt | null} receipt
 * @property {{cost: number | null, tokens: number | null, seconds: number | null} | null} budget
 * @property {string | null} budget_state
 * @property {number} version
 */

/**
 * @typedef {object} Question
 * @property {string} id
 * @property {string} text
 * @property {readonly string[] | null} options what may be answered; `null` is any text
 * @property {number | null} asked_at
 * @property {number | null} expires_at
 */

/**
 * What became of the last order to its agent.
 * @typedef {object} Receipt
 * @property {string} action cancel or pause
 * @property {string} cause
 * @property {string} asked_by
 * @property {string} reason
 * @property {number | null} asked_at
 * @property {number | null} deadline until when the agent should acknowledge it
 * @property {number | null} delivered_at
 * @property {number | null} acknowledged_at
 * @property {number | null} stopped_at
 * @property {boolean} unconfirmed whether the deadline passed without an acknowledgement
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
    moved_at: time(raw.moved_at),
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
    stalled_reason: text(raw.stalled_reason),
    question: question(raw.question),
    control: text(raw.control) || null,
    receipt: receipt(raw.receipt),
    budget: budget(raw.budget),
    budget_state: text(raw.budget_state) || null,
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

/** @param {any} value @returns {Question | null} */
function question(value) {
  if (!value || typeof value !== 'object' || typeof value.id !== 'string' || typeof value.text !== 'string') return null;
  // What may be answered must arrive whole: the server compares it letter by letter.
  const options = Array.isArray(value.options) ? value.options.filter((/** @type {any} */ option) => typeof option === 'string') : [];
  return { id: value.id, text: value.text, options: options.length ? options : null, asked_at: time(value.asked_at), expires_at: time(value.expires_at) };
}

/** @param {any} value @returns {Receipt | null} */
function receipt(value) {
  if (!value || typeof value !== 'object' || typeof value.action !== 'string') return null;
  return {
    action: value.action, cause: text(value.cause), asked_by: text(value.asked_by), reason: text(value.reason),
    asked_at: time(value.asked_at), deadline: time(value.deadline), delivered_at: time(value.delivered_at),
    acknowledged_at: time(value.acknowledged_at), stopped_at: time(value.stopped_at), unconfirmed: value.unconfirmed === true,
  };
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
  if (mission.status !== 'running') return ['retry'];
  return [mission.control === 'pause_requested' || mission.control === 'paused' ? 'resume' : 'pause', 'cancel'];
}
/** @typedef {'start' | 'pause' | 'resume' | 'cancel' | 'retry'} Action */
/** @type {readonly Action[]} */
export const ACTIONS = ['start', 'pause', 'resume', 'cancel', 'retry'];

/** What needs a person's eye while it lives: all living missions are here, so the page counts these itself. */
export const LIVE_NEEDS = /** @type {const} */ (['question', 'stalled', 'budget']);
/** What needs one after it ended: only the server can count these. */
export const PAST_NEEDS = /** @type {const} */ (['unconfirmed', 'over_budget']);
export const NEEDS = /** @type {const} */ ([...LIVE_NEEDS, ...PAST_NEEDS]);

/** The same answer as the server gives. @param {Mission} mission @param {string} need */
export function needs(mission, need) {
  if (need === 'question') return mission.question !== null && isAlive(mission);
  if (need === 'stalled') return mission.stalled && isAlive(mission);
  if (need === 'budget') return mission.budget_state === 'warning' && isAlive(mission);
  return need === 'over_budget' ? mission.budget_state === 'exceeded' : isUnconfirmed(mission);
}

/** Whether its agent did not confirm a cancel in time, so that it may still run. @param {Mission} mission */
export const isUnconfirmed = (mission) => mission.control === 'cancel_requested' && mission.receipt?.unconfirmed === true;

/** From which share of a limit on its use is near it. The server warns at the same. */
export const WARNING_SHARE = 0.8;

/** @typedef {{kind: 'cost' | 'tokens' | 'seconds', used: number, limit: number, share: number, level: 'ok' | 'warning' | 'exceeded'}} Use */

/** What is used of a limit. @param {Use['kind']} kind @param {number | null} used @param {number} limit @returns {Use} */
export function use(kind, used, limit) {
  const share = !used ? 0 : limit > 0 ? used / limit : 1;
  return { kind, used: used ?? 0, limit, share, level: share >= 1 ? 'exceeded' : share >= WARNING_SHARE ? 'warning' : 'ok' };
}

/** What a mission used of each of its limits. @param {Mission} mission @param {number} now milliseconds @returns {Use[]} */
export function budgetUse(mission, now) {
  const { cost, tokens, seconds: time } = mission.budget ?? { cost: null, tokens: null, seconds: null };
  const uses = [];
  if (cost !== null) uses.push(use('cost', mission.cost_estimate, cost));
  if (tokens !== null) uses.push(use('tokens', mission.tokens_used, tokens));
  if (time !== null) uses.push(use('seconds', elapsed(mission, now), time));
  return uses;
}

/** @typedef {{name: string, at: number | null, missing: string}} Step */

/**
 * What became of an order, step by step. A step without a time has not come; `missing` says so.
 * @param {Receipt} receipt @returns {Step[]}
 */
export function receiptSteps({ action, asked_at: asked, delivered_at: delivered, acknowledged_at: acknowledged, stopped_at: stopped, unconfirmed }) {
  const steps = [
    { name: 'Asked', at: asked, missing: '' },
    { name: 'Delivered', at: delivered, missing: 'not yet: the agent hears it with its next word' },
    { name: action === 'pause' ? 'Paused' : 'Acknowledged', at: acknowledged, missing: unconfirmed ? 'not in time: the agent may still run' : 'not yet' },
  ];
  if (action === 'cancel') steps.push({ name: 'Stopped', at: stopped, missing: 'the agent has not said so' });
  return steps;
}

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
  if (mission.status !== 'running' || mission.stalled || mission.question || mission.control === 'paused' || mission.progress < 5 || mission.progress >= 100) return null;
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
