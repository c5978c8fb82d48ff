// Builds what the tests speak of: state only what matters.

let made = 0;

/** A mission as the server sends it. */
export function makeRaw(said = {}) {
  made += 1;
  return {
    id: `01a20000-0000-7000-8000-${String(made).padStart(12, '0')}`, title: `Mission ${made}`, description: null, status: 'pending',
    priority: 'medium', created_at: new Date(Date.UTC(2026, 0, 1, 12, 0, made)).toISOString(), started_at: null, completed_at: null,
    duration: null, progress: 0, error_message: null, result: null, metadata: {}, agent_type: null, model_used: null, tokens_used: null,
    cost_estimate: null, version: 1, updated_at: null, parent_id: null, retry_of: null, step: null, input_tokens: null, output_tokens: null,
    heartbeat_at: null, moved_at: null, stalled: false, stalled_reason: null, budget: null, budget_state: null, question: null, control: null,
    receipt: null, ...said,
  };
}

export const makeMetrics = (said = {}) => ({
  total_missions: 0, completed_missions: 0, failed_missions: 0, running_missions: 0, pending_missions: 0, cancelled_missions: 0,
  average_duration: 0, success_rate: 0, total_tokens: 0, total_cost: 0, finished_success_rate: 0, error_rate: 0, ...said,
});

export const makeUpdate = (mission, said = {}) => ({
  event_type: 'mission_progress', mission_id: mission.id, mission, cursor: '0.1', timestamp: '2026-01-01T12:00:30Z', ...said,
});

export const makeQuestion = (said = {}) => ({
  id: 'q1', text: 'Refund $412.00?', options: ['approve', 'deny'], asked_at: '2026-01-01T12:00:10Z', expires_at: null, ...said,
});

export const makeReceipt = (said = {}) => ({
  action: 'cancel', cause: 'person', asked_by: 'Ada', reason: 'Too dear', asked_at: '2026-01-01T12:00:10Z', deadline: '2026-01-01T12:00:40Z',
  delivered_at: null, acknowledged_at: null, stopped_at: null, unconfirmed: false, ...said,
});

/** Time that moves only when told to. */
export function makeWorld(start = 1_000_000) {
  let now = start;
  let timers = [];
  return {
    isOnline: true,
    now: () => now,
    online() {
      return this.isOnline;
    },
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    pass(ms) {
      const end = now + ms;
      for (;;) {
        const due = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        timers = timers.filter((timer) => timer !== due);
        now = due.at;
        due.run();
      }
      now = end;
    },
  };
}

/** A socket whose server is the test. */
export function makeSocket() {
  const handlers = new Map();
  const socket = {
    connected: false,
    active: true,
    sent: [],
    connects: 0,
    on: (event, handler) => handlers.set(event, handler),
    off: (event) => handlers.delete(event),
    emit: (...said) => socket.sent.push(said),
    connect() {
      socket.connects += 1;
      socket.active = true;
    },
    disconnect() {
      const was = socket.connected;
      socket.connected = socket.active = false;
      if (was) handlers.get('disconnect')?.('io client disconnect');
    },
    /** What the server says. */
    hear: (event, payload) => handlers.get(event)?.(payload),
    open(payload) {
      socket.connected = socket.active = true;
      socket.hear('connect');
      socket.hear('initial_data', payload);
    },
    drop(reason = 'transport close') {
      socket.connected = false;
      socket.active = reason !== 'io server disconnect';
      socket.hear('disconnect', reason);
    },
    answerPing(timestamp) {
      const asked = socket.sent.findLast(([event]) => event === 'ping_live');
      asked[1]({ timestamp });
    },
    asked: (event) => socket.sent.filter(([name]) => name === event),
  };
  return socket;
}
