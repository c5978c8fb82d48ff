// Owns the Socket.IO connection: a snapshot and the changes since our cursor at every connect, an honest word on how
// the connection is, and a tick of its own that finds sockets which are open on one side only.

export const TICK_MS = 10_000;
export const ANSWER_MS = 5_000;
/** After this long without a server, 'reconnecting' would be too hopeful a word. */
export const OFFLINE_AFTER_MS = 30_000;
const SETTLE_MS = 1_000;
const WAKING_MS = 3_000;
const REFUSED_MS = 2_000;
const HURRY_MS = 1_000;
const ASK_AGAIN_MS = 400;
const CATCH_UP_MS = 10_000;

/**
 * What the rest of the page hears.
 * @typedef {object} Listener
 * @property {(payload: any, fresh: boolean) => void} snapshot `fresh`: forget what was known
 * @property {(payload: any) => void} changes what changed while we were away
 * @property {(payload: any) => void} update
 * @property {(payload: any) => void} metrics
 * @property {(payload: any) => void} service
 * @property {(connection: import('./state.js').Connection) => void} connection
 * @property {(offset_ms: number) => void} clock how far the server's clock is ahead of ours
 */

/**
 * @typedef {object} Socket the part of a Socket.IO socket that is used
 * @property {boolean} connected
 * @property {boolean} active whether it is connected or tries to be by itself
 * @property {() => unknown} connect
 * @property {() => unknown} disconnect
 * @property {(event: string, handler: (...said: any[]) => void) => unknown} on
 * @property {(event: string, handler: (...said: any[]) => void) => unknown} off
 * @property {(event: string, ...said: any[]) => unknown} emit
 */

/** @typedef {{now: () => number, after: (ms: number, run: () => void) => () => void, online: () => boolean}} World */

/**
 * Follow the server. Returns how to look again at once (after waking up), how to begin anew, and how to stop.
 * @param {Socket} socket @param {Listener} tell @param {World} world
 */
export function follow(socket, tell, world) {
  /** The cursor up to which nothing is missing. */
  let cursor = '';
  /** Whether changes since `cursor` have been asked for and not all arrived. */
  let catchingUp = false;
  let everConnected = false;
  let lastSign = world.now();
  /** @type {number | null} */
  let lostAt = null;
  /** @type {number | null} */
  let latency = null;
  let bestLatency = Infinity;
  let hurriedAt = -Infinity;
  /** @type {(() => void) | null} */
  let stopTick = null;
  /** @type {(() => void) | null} */
  let stopWaiting = null;
  /** @type {(() => void) | null} */
  let stopRetry = null;
  /** @type {(() => void) | null} */
  let stopCatchUp = null;

  /** @type {Record<string, (...said: any[]) => void>} */
  const handlers = {
    connect: () => sign(),
    disconnect: (/** @type {string} */ reason) => {
      lost();
      if (reason !== 'io client disconnect') comeBack();
    },
    connect_error: () => {
      lost();
      comeBack();
    },
    initial_data: (payload) => {
      sign();
      const resuming = everConnected && cursor !== '';
      const isAnew = everConnected && cursor === '';
      everConnected = true;
      tell.snapshot(payload, isAnew);
      if (resuming) catchUp();
      else arrived(payload?.cursor);
      // The first moments are busy with painting: an answer timed then would tell of the page, not of the line.
      stopTick?.();
      stopTick = world.after(SETTLE_MS, tick);
    },
    data_update: (payload) => {
      sign();
      if (payload?.reset) tell.snapshot(payload, true);
      else tell.changes(payload);
      if (typeof payload?.cursor === 'string') cursor = payload.cursor;
      if (payload?.more) askLater();
      else arrived(cursor);
    },
    mission_update: (payload) => {
      sign();
      // While changes are still missing, a later cursor must not hide the gap before it.
      if (!catchingUp && typeof payload?.cursor === 'string') cursor = payload.cursor;
      tell.update(payload);
    },
    metrics_update: (payload) => {
      sign();
      tell.metrics(payload);
    },
    service_state: (payload) => {
      sign();
      tell.service(payload);
    },
    request_error: () => {
      if (catchingUp) askLater();
    },
  };
  for (const [event, handler] of Object.entries(handlers)) socket.on(event, handler);
  announce();

  function sign() {
    lastSign = world.now();
  }

  function lost() {
    catchingUp = false;
    latency = null;
    bestLatency = Infinity;
    cancelTimers();
    lostAt ??= world.now();
    announce();
    stopTick = world.after(Math.max(1000, lostAt + OFFLINE_AFTER_MS - world.now()), announce);
  }

  /** Refused or told to go by the server: the client library leaves it to us to try again. */
  function comeBack() {
    if (!socket.active) stopRetry = world.after(REFUSED_MS, () => socket.connect());
  }

  function cancelTimers() {
    for (const stop of [stopTick, stopWaiting, stopRetry, stopCatchUp]) stop?.();
    stopTick = stopWaiting = stopRetry = stopCatchUp = null;
  }

  function catchUp() {
    catchingUp = true;
    socket.emit('request_update', { cursor });
    stopCatchUp?.();
    stopCatchUp = world.after(CATCH_UP_MS, reconnect);
  }

  function askLater() {
    stopCatchUp?.();
    stopCatchUp = world.after(ASK_AGAIN_MS, catchUp);
  }

  /** @param {unknown} at */
  function arrived(at) {
    catchingUp = false;
    stopCatchUp?.();
    stopCatchUp = null;
    if (typeof at === 'string') cursor = at;
    lostAt = null;
    announce();
  }

  function tick() {
    stopTick?.();
    stopTick = world.after(TICK_MS, tick);
    ping(ANSWER_MS);
  }

  /** @param {number} patience */
  function ping(patience) {
    const sent = world.now();
    stopWaiting?.();
    stopWaiting = world.after(patience, () => {
      // Other messages may still arrive while one answer is late; silence is what tells a dead socket.
      if (world.now() - lastSign >= patience) reconnect();
    });
    socket.emit('ping_live', (/** @type {any} */ answer) => {
      sign();
      stopWaiting?.();
      stopWaiting = null;
      latency = Math.max(0, world.now() - sent);
      const at = Date.parse(answer?.timestamp);
      // The quickest answer tells the clock best.
      if (Number.isFinite(at) && latency <= bestLatency) {
        bestLatency = latency;
        tell.clock(at - (sent + latency / 2));
      }
      announce();
    });
  }

  function reconnect() {
    socket.disconnect();
    lost();
    socket.connect();
  }

  function announce() {
    tell.connection({ phase: phase(), latency_ms: latency, as_of: everConnected ? lastSign : null });
  }

  /** @returns {import('./state.js').Connection['phase']} */
  function phase() {
    if (!world.online()) return 'offline';
    if (lostAt !== null) return world.now() - lostAt >= OFFLINE_AFTER_MS ? 'offline' : everConnected ? 'reconnecting' : 'connecting';
    return everConnected && socket.connected ? 'live' : 'connecting';
  }

  return {
    /** Look now whether the picture is right: the device woke up, or its network changed. */
    resync() {
      announce();
      if (socket.connected) ping(WAKING_MS);
      // A first attempt is under way at the start; later ones may be waiting for their turn.
      else if (lostAt !== null && world.online() && world.now() - hurriedAt >= HURRY_MS) {
        hurriedAt = world.now();
        reconnect();
      }
    },
    /** Forget what is known and ask for a whole new picture; where there is no connection, the next one brings it. */
    renew() {
      if (!everConnected) return;
      cursor = '';
      if (socket.connected) catchUp();
    },
    stop() {
      cancelTimers();
      for (const [event, handler] of Object.entries(handlers)) socket.off(event, handler);
      socket.disconnect();
    },
  };
}
