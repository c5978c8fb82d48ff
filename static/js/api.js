// The REST calls. Each resolves to the answer's body or throws a `Refusal` that carries the server's sentence.

/** What the server (or the network) said no with. */
export class Refusal extends Error {
  /**
   * @param {string} sentence @param {number} status 0 when there was no answer at all
   * @param {{errors?: {field: string, message: string}[], retryAfter?: number | null}} [more]
   */
  constructor(sentence, status, { errors = [], retryAfter = null } = {}) {
    super(sentence);
    this.status = status;
    this.errors = errors;
    /** Seconds to wait, `null` where the server did not say. */
    this.retryAfter = retryAfter;
  }
}

const PATIENCE_MS = 15_000;

/**
 * @param {string} path @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function call(path, { method = 'GET', body, headers = {}, signal } = {}) {
  const response = await reach(path, {
    method,
    headers: body === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    // A sign of life is no new version, so that a copy kept by the browser would be passed off as fresh.
    cache: 'no-store',
    signal: signal ? AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) : AbortSignal.timeout(PATIENCE_MS),
  });
  const said = await response.json().catch(() => null);
  if (response.ok && said && typeof said === 'object') return said;
  throw refusal(response, said);
}

/** @param {string} path @param {RequestInit} options */
async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    if (error instanceof DOMException && error.name === 'TimeoutError') {
      throw new Refusal('The server did not answer in time. It may still have done it; look before trying again.', 0);
    }
    throw new Refusal('The server cannot be reached.', 0);
  }
}

/** @param {Response} response @param {any} said */
function refusal(response, said) {
  const sentence = typeof said?.detail === 'string' && said.detail ? said.detail
    : typeof said?.error === 'string' && said.error ? said.error
      : response.ok ? 'The server sent an answer that cannot be read.' : `The server answered ${response.status}.`;
  const wait = Number(response.headers.get('Retry-After'));
  return new Refusal(sentence, response.status, {
    errors: Array.isArray(said?.errors) ? said.errors.filter((/** @type {any} */ wrong) => typeof wrong?.field === 'string') : [],
    retryAfter: Number.isFinite(wait) && wait > 0 ? wait : null,
  });
}

/** @param {string} id */
const at = (id) => `/api/missions/${encodeURIComponent(id)}`;

/** @param {URLSearchParams} query @param {AbortSignal} [signal] */
export const listMissions = (query, signal) => call(`/api/missions?${query}`, { signal });

/** @param {string} id @param {AbortSignal} [signal] */
export const getMission = (id, signal) => call(at(id), { signal });

/** @param {string} id @param {number} after version @param {AbortSignal} [signal] */
export const getEvents = (id, after, signal) => call(`${at(id)}/events?after=${after}&limit=500`, { signal });

/** @param {string} id @param {AbortSignal} [signal] */
export const getTree = (id, signal) => call(`${at(id)}/tree`, { signal });

/** @param {string} id @param {number} last how many of the newest lines @param {AbortSignal} [signal] */
export const getLastLogs = (id, last, signal) => call(`${at(id)}/logs?last=${last}`, { signal });

/** @param {string} id @param {'logs' | 'spans'} kind @param {string} after a cursor, or empty @param {number} limit @param {AbortSignal} [signal] */
export const getRecords = (id, kind, after, limit, signal) =>
  call(`${at(id)}/${kind}?${new URLSearchParams({ ...(after && { after }), limit: String(limit) })}`, { signal });

/** @param {number} minutes */
export const getHistory = (minutes) => call(`/api/metrics/history?minutes=${minutes}`);

/** @param {Record<string, unknown>} mission @param {string} key the same for each try of one wish */
export const createMission = (mission, key) =>
  call('/api/missions', { method: 'POST', body: mission, headers: { 'Idempotency-Key': key } });

/** @param {string} id @param {import('./state.js').Deed} action @param {Record<string, unknown>} [body] */
export const act = (id, action, body = {}) => call(`${at(id)}/${action}`, { method: 'POST', body });

export const getSession = () => call('/api/session');

export const listBudgets = () => call('/api/budgets');

/** @param {string} name @param {Record<string, unknown>} budget */
export const putBudget = (name, budget) => call(`/api/budgets/${encodeURIComponent(name)}`, { method: 'PUT', body: budget });

/** @param {string} name */
export const dropBudget = (name) => call(`/api/budgets/${encodeURIComponent(name)}`, { method: 'DELETE' });
